//! Our own implementation passes every case, down to what is only recommended.

use clap::Parser;
use uwarp_torment::{Args, Outcome, Target, Verdict, run_to};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// The cases that ours answers in another way than the one named first.
const SECOND_CHOICES: [&str; 6] = [
    "write/other-domain",
    "msn/beyond-the-receives",
    "read/other-domain",
    "read/wrapping-sink",
    "atomic/other-domain",
    "atomic-response/msn-2",
];

fn play(arguments: &[&str]) -> (Outcome, String) {
    let cli = Cli::parse_from([&["torment"], arguments].concat());
    let mut table = Vec::new();
    let outcome = run_to(&cli.args, &mut table).unwrap();
    (outcome, String::from_utf8(table).unwrap())
}

#[test]
fn every_case_passes() {
    let target = Target::start("127.0.0.1:0").unwrap();
    let (outcome, table) = play(&[&target.local_addr().to_string(), "--patience", "8000"]);
    assert!(outcome.rows.len() >= 100);
    assert_eq!(outcome.count(Verdict::Pass), outcome.rows.len(), "{table}");
    for row in &outcome.rows {
        assert!(row.remarks.is_empty(), "{row:?}");
    }
    assert!(outcome.is_clean());
    // Where several answers are right, ours is the first, but for these.
    let others: Vec<_> = (outcome.rows.iter())
        .filter(|row| row.answer != Some(0))
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(others, SECOND_CHOICES, "{table}");
}

#[test]
fn what_is_asked_for_is_played_and_written_as_json() {
    let target = Target::start("127.0.0.1:0").unwrap();
    let address = target.local_addr().to_string();
    let (outcome, text) = play(&[&address, "--json", "--only", "version/", "--only", "qn/0x4"]);
    let names: Vec<_> = outcome.rows.iter().map(|row| row.name.as_str()).collect();
    assert!(
        names.contains(&"version/rdmap-0") && names.contains(&"qn/0x4"),
        "{names:?}"
    );
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), names.len());
    assert!(rows.iter().all(|row| row["verdict"] == "pass"));
    assert_eq!(rows[0]["requirements"][0], "D10");
}

#[test]
fn a_profile_in_a_file_says_what_is_offered_and_the_rest_is_skipped() {
    let target = Target::start("127.0.0.1:0").unwrap();
    let mut profile = target.profile();
    profile
        .regions
        .retain(|kind, _| *kind == uwarp_torment::RegionKind::Steady);
    profile.favours.clear();
    profile.markers_port = None;
    let file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&file, &profile).unwrap();
    let address = target.local_addr().to_string();
    let path = file.path().to_str().unwrap();
    let (outcome, _) = play(&[
        &address,
        "--profile",
        path,
        "--only",
        "read/",
        "--only",
        "markers/",
    ]);
    let verdict = |name: &str| {
        let row = outcome.rows.iter().find(|row| row.name == name).unwrap();
        (row.verdict, row.seen.clone())
    };
    assert_eq!(verdict("read/one-octet-too-long").0, Verdict::Pass);
    let (skipped, reason) = verdict("read/revoked-stag");
    assert_eq!(skipped, Verdict::Skipped);
    assert!(reason.contains("'revoked'"), "{reason}");
    assert!(verdict("markers/missing").1.contains("markers"));
    assert_eq!(outcome.count(Verdict::Deviates), 0);
}

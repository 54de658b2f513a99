//! Our own implementation passes every case, down to what is only recommended.

use clap::Parser;
use uwarp_torment::{Args, Outcome, Target, Verdict, run_to};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

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
}

//! The suite can fail: toy targets that do nothing right, and none of them brings it down.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use clap::Parser;
use uwarp_mpa::{Enhanced, Frame, FrameKind, RtrSet};
use uwarp_torment::{Args, Outcome, RunError, Verdict, run_to};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// A target that does `serve` with every connection, for as long as the tests run.
fn toy(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn torment(address: SocketAddr, more: &[&str]) -> Result<Outcome, RunError> {
    let address = address.to_string();
    let common = ["torment", &address, "--quiet", "5"];
    // Who does nothing right need not be given much time for it.
    let patience: &[&str] = if more.contains(&"--patience") {
        &[]
    } else {
        &["--patience", "60"]
    };
    let cli = Cli::parse_from([&common, patience, more].concat());
    run_to(&cli.args, &mut Vec::new())
}

fn verdict(outcome: &Outcome, name: &str) -> Verdict {
    let row = outcome.rows.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("{name}")).verdict
}

/// A Reply that takes whatever was asked.
fn accept(stream: &mut TcpStream) {
    let mut request = [0; 20 + 16];
    if stream.read_exact(&mut request[..20]).is_err() {
        return;
    }
    let words = Enhanced {
        ird: 8,
        ord: 8,
        peer_to_peer: false,
        rtr: RtrSet::NONE,
    };
    let reply = Frame {
        kind: FrameKind::Reply,
        markers: false,
        crc: true,
        rejected: false,
        enhanced: true,
        revision: 2,
        private_data: words.encode().to_vec(),
    };
    let _ = stream.write_all(&reply.encode().unwrap());
}

/// Takes everything and says nothing.
fn swallow(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// A profile that promises a region, receives and Reads.
const PROFILE: &str = r#"{
    "regions": {
        "open": {"stag": 1, "len": 4096}, "steady": {"stag": 2, "len": 1048576},
        "wide": {"stag": 3, "len": 131072}, "revoked": {"stag": 4, "len": 4096}
    },
    "receives": 4, "receive_len": 1024, "ird": 4, "startup_timeout_ms": 10
}"#;

fn with_profile(address: SocketAddr, only: &[&str]) -> Outcome {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(PROFILE.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let mut more = vec!["--profile", &path];
    for only in only {
        more.extend(["--only", only]);
    }
    torment(address, &more).unwrap()
}

#[test]
fn a_target_that_answers_nothing_passes_nothing() {
    let outcome = with_profile(toy(swallow), &["request/", "crc/", "length/1"]);
    assert_eq!(outcome.count(Verdict::Pass), 0);
    assert!(outcome.count(Verdict::NoAnswer) > 20);
    assert_eq!(verdict(&outcome, "request/rev-255"), Verdict::NoAnswer);
    assert!(!outcome.is_clean());
}

#[test]
fn a_target_that_closes_at_once_passes_only_where_closing_is_right() {
    let outcome = with_profile(toy(drop), &["request/", "write/"]);
    for name in ["request/rev-1", "write/wrap", "write/nothing-anywhere"] {
        assert_eq!(verdict(&outcome, name), Verdict::NoAnswer, "{name}");
    }
    assert!(!outcome.is_clean());
}

#[test]
fn a_target_that_takes_everything_deviates() {
    let address = toy(|mut stream| {
        accept(&mut stream);
        swallow(stream);
    });
    let outcome = with_profile(
        address,
        &["request/", "version/", "qn/", "t-flag/", "opcode/"],
    );
    for name in [
        "request/not-mpa",
        "request/pd-length-65535",
        "request/rev-3",
    ] {
        assert_eq!(verdict(&outcome, name), Verdict::Deviates, "{name}");
    }
    for name in ["version/ddp-2-untagged", "qn/0x4", "opcode/c-untagged"] {
        assert_eq!(verdict(&outcome, name), Verdict::NoAnswer, "{name}");
    }
}

/// One and the same Terminate, whatever came, and then something behind it.
fn one_answer_for_all(mut stream: TcpStream) {
    accept(&mut stream);
    let terminate = "0016414700000000000000020000000100000000200200007fe42585";
    let octets: Vec<u8> = (0..terminate.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&terminate[at..at + 2], 16).unwrap())
        .collect();
    let mut some = [0; 512];
    let _ = stream.read(&mut some);
    let _ = stream.write_all(&octets);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    swallow(stream);
}

#[test]
fn a_wrong_code_is_told_from_the_right_one() {
    let outcome = with_profile(
        toy(one_answer_for_all),
        &["version/ddp-2-untagged", "qn/", "terminate/proper"],
    );
    for name in [
        "version/ddp-2-untagged",
        "qn/0x4",
        "qn/send-on-1",
        "terminate/proper",
    ] {
        let row = outcome.rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row.verdict, Verdict::Deviates, "{row:?}");
        assert!(row.seen.contains("2/0/02"), "{row:?}");
    }
}

#[test]
fn noise_is_a_deviation_and_no_crash() {
    let address = toy(|mut stream| {
        let noise: Vec<u8> = (0..100_000u32).map(|at| ((at * 7919) >> 5) as u8).collect();
        let _ = stream.write_all(&noise);
        swallow(stream);
    });
    let outcome = with_profile(address, &["request/rev-1", "request/not-mpa", "msn/"]);
    assert_eq!(outcome.count(Verdict::Pass), 0);
}

#[test]
fn a_target_that_goes_away_is_reported_and_the_run_ends_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        // Enough to begin with, then nobody listens any more.
        for stream in listener.incoming().flatten().take(4) {
            drop(stream);
        }
    });
    let start = Instant::now();
    let outcome = torment(address, &[]).unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(
        outcome
            .rows
            .iter()
            .any(|row| row.seen.contains("no longer accepts"))
    );
    assert!(!outcome.is_clean());
}

#[test]
fn nobody_there_and_no_such_profile_are_errors() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert!(matches!(
        torment(nobody, &[]),
        Err(RunError::Unreachable(_))
    ));
    let address = toy(swallow);
    let missing = torment(address, &["--profile", "/nonexistent/profile.json"]);
    assert!(matches!(missing, Err(RunError::Profile(_))));
}

/// A target that takes everything, until a Request of revision 255 comes: then it stops listening
/// for a while, or for ever.
fn fragile(back: Option<Duration>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut listener = listener;
        loop {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let mut head = [0; 20];
            let known = stream.peek(&mut head).is_ok_and(|count| count == 20);
            if known && head[17] == 255 {
                drop(listener);
                drop(stream);
                let Some(back) = back else { return };
                std::thread::sleep(back);
                listener = TcpListener::bind(address).unwrap();
                continue;
            }
            std::thread::spawn(move || {
                let mut stream = stream;
                accept(&mut stream);
                swallow(stream);
            });
        }
    });
    address
}

#[test]
fn a_target_that_is_away_for_a_while_is_waited_for() {
    let address = fragile(Some(Duration::from_millis(200)));
    let more = ["--only", "request/rev-", "--recovery", "20000"];
    let outcome = torment(address, &more).unwrap();
    let row = |name: &str| outcome.rows.iter().find(|row| row.name == name).unwrap();
    let fell = row("request/rev-255");
    // To close was right.
    assert_eq!(fell.verdict, Verdict::Pass, "{fell:?}");
    assert!(fell.remarks[0].contains("took no connection"), "{fell:?}");
    assert_eq!(row("request/rev-3").verdict, Verdict::Deviates);
}

#[test]
fn a_target_that_is_gone_is_told_from_one_that_deviates() {
    let address = fragile(None);
    let more = [
        "--only",
        "request/rev-",
        "--only",
        "request/s-with",
        "--only",
        "crc/",
        "--recovery",
        "100",
    ];
    let outcome = torment(address, &more).unwrap();
    let row = |name: &str| outcome.rows.iter().find(|row| row.name == name).unwrap();
    let fell = row("request/rev-255");
    assert_eq!(fell.verdict, Verdict::Gone, "{fell:?}");
    assert!(fell.seen.contains("afterwards: no TCP"), "{fell:?}");
    assert_eq!(row("request/s-with-0-octets").verdict, Verdict::NoAnswer);
    // After a few of them there is no point in going on.
    assert_eq!(outcome.rows.last().unwrap().verdict, Verdict::Skipped);
    assert!(!outcome.is_clean());
}

#[test]
fn a_target_that_is_gone_can_be_started_again() {
    let address = fragile(Some(Duration::from_millis(100)));
    let mark = tempfile::NamedTempFile::new().unwrap();
    let restart = format!("echo again >> {}", mark.path().display());
    let more = [
        "--only",
        "request/rev-255",
        "--only",
        "request/pd-length-513",
        "--recovery",
        "20000",
        "--restart",
        &restart,
    ];
    let outcome = torment(address, &more).unwrap();
    // It came back because of the command, for all that is known.
    assert_eq!(verdict(&outcome, "request/rev-255"), Verdict::Gone);
    let after = verdict(&outcome, "request/pd-length-513");
    assert_eq!(after, Verdict::Deviates);
    assert_eq!(std::fs::read_to_string(mark.path()).unwrap(), "again\n");
}

#[test]
fn a_command_tells_what_is_offered_now_and_what_was_harmed() {
    let target = uwarp_torment::Target::start("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, profile: &uwarp_torment::Profile| {
        let file = std::fs::File::create(directory.path().join(name)).unwrap();
        serde_json::to_writer(file, profile).unwrap();
    };
    let mut profile = target.profile();
    write("before", &profile);
    profile.damage.insert(uwarp_torment::RegionKind::Steady);
    write("after", &profile);
    // The second time it is run, something has happened.
    let command = format!(
        "cd {}; cat before; cp after before",
        directory.path().display()
    );
    let more = [
        "--only",
        "write/read-only",
        "--profile-command",
        &command,
        "--patience",
        "8000",
    ];
    let outcome = torment(target.local_addr(), &more).unwrap();
    let row = &outcome.rows[0];
    assert_eq!(row.verdict, Verdict::Deviates, "{row:?}");
    assert!(row.seen.contains("'steady' has changed"), "{row:?}");

    let failing = torment(target.local_addr(), &["--profile-command", "exit 4"]);
    assert!(matches!(failing, Err(RunError::Profile(_))));
}

#[test]
fn a_profile_that_would_mislead_is_refused() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(br#"{"regions": {"steady": {"stag": 2, "len": 4096}}}"#)
        .unwrap();
    let path = file.path().to_str().unwrap();
    let error = torment(toy(swallow), &["--profile", path]).unwrap_err();
    assert!(error.to_string().contains("'steady'"), "{error}");
}

#[test]
fn a_target_that_offers_little_is_still_tormented() {
    // What a program over verbs may have: regions and receives, and no favours at all.
    let target = uwarp_torment::Target::start("127.0.0.1:0").unwrap();
    let mut profile = target.profile();
    profile.favours.clear();
    profile.atomics = false;
    profile.immediate_data = false;
    profile.markers_port = None;
    profile.startup_timeout_ms = None;
    profile
        .regions
        .remove(&uwarp_torment::RegionKind::OtherStream);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&mut file, &profile).unwrap();
    file.flush().unwrap();
    let path = file.path().to_str().unwrap();
    let outcome = torment(
        target.local_addr(),
        &["--profile", path, "--patience", "8000"],
    )
    .unwrap();
    assert!(outcome.is_clean(), "{}", outcome.summary());
    let skipped = outcome.count(Verdict::Skipped);
    assert!(skipped * 2 < outcome.rows.len(), "{}", outcome.summary());
    let unsure = |name: &str| {
        let row = outcome.rows.iter().find(|row| row.name == name).unwrap();
        row.remarks
            .iter()
            .any(|remark| remark.contains("not known"))
    };
    assert!(unsure("send/segments"));
    assert!(!unsure("write/one-octet-too-long"));
}

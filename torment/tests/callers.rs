//! Initiators that are made to call: ours passes, one that dies is found out, one that does not come is told of.
//!
//! The initiator is this test executable, started again by the command of `--on-call`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use uwarp::{Domain, Options, Rights, SendFlags, WaitError};
use uwarp_torment::{Args, Outcome, Verdict, run_to};

/// What the child does: the name of a mode, or nothing for the tests' own process.
const CHILD: &str = "UWARP_TORMENT_CALLER";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Not a test of its own: what the child process does.
#[test]
fn child() {
    let Ok(mode) = std::env::var(CHILD) else {
        return;
    };
    let address = std::env::var("TORMENT_ADDRESS").unwrap().parse().unwrap();
    assert!(!std::env::var("TORMENT_CASE").unwrap().is_empty());
    call(address, mode == "peer-to-peer");
    if mode == "dies" {
        std::process::abort();
    }
}

/// Connects, says something, and stays until the end.
fn call(address: SocketAddr, peer_to_peer: bool) {
    let domain = Domain::new();
    let options = Options::new(&domain)
        .peer_to_peer(peer_to_peer)
        .startup_timeout(Duration::from_millis(400))
        .close_timeout(Duration::from_millis(800));
    let Ok(socket) = uwarp::connect(address, &options) else {
        return;
    };
    let inbox = domain.register(vec![0u8; 256], Rights::empty()).unwrap();
    let words = domain
        .register(b"good day".to_vec(), Rights::empty())
        .unwrap();
    let _ = socket.post_recv(0, &[inbox.slice(..).unwrap()]);
    let _ = socket.post_send(0, &[words.slice(..).unwrap()], SendFlags::default());
    loop {
        match socket.wait(Some(Duration::from_secs(20))) {
            Ok(_) => {}
            Err(WaitError::TimedOut) => panic!("the connection does not end"),
            Err(_) => return,
        }
    }
}

fn torment(arguments: &[&str]) -> Outcome {
    let cli = Cli::parse_from([&["torment"], arguments].concat());
    run_to(&cli.args, &mut Vec::new()).unwrap()
}

/// Torments initiators that run as `mode`, one for each case.
fn on_call(mode: &str, more: &[&str]) -> Outcome {
    let this = std::env::current_exe().unwrap();
    let command = format!("{CHILD}={mode} exec '{}' --exact child", this.display());
    let common = ["--call-me", "127.0.0.1:0", "--on-call", &command];
    torment(&[&common, more].concat())
}

fn verdicts(outcome: &Outcome, prefix: &str) -> Vec<Verdict> {
    let rows = outcome.rows.iter();
    rows.filter(|row| row.name.starts_with(prefix))
        .map(|row| row.verdict)
        .collect()
}

#[test]
fn our_initiators_pass_in_both_modes_and_what_does_not_fit_is_skipped() {
    let patience = ["--patience", "4000"];
    let one = on_call("peer-to-peer", &patience);
    let other = on_call("client-server", &patience);
    for (mode, outcome) in [("peer-to-peer", &one), ("client-server", &other)] {
        let failed = |verdict| outcome.count(verdict) > 0;
        assert!(
            outcome.is_clean() && !failed(Verdict::Gone),
            "{mode}: {:#?}",
            outcome.rows
        );
        assert!(outcome.count(Verdict::Pass) > 30, "{}", outcome.summary());
    }
    let verdict = |outcome: &Outcome, name: &str| verdicts(outcome, name)[0];
    assert_eq!(verdict(&one, "reply/write-rtr"), Verdict::Pass);
    assert_eq!(verdict(&other, "reply/write-rtr"), Verdict::Skipped);
    assert_eq!(verdict(&one, "reply/a-unasked"), Verdict::Skipped);
    assert_eq!(verdict(&other, "reply/a-unasked"), Verdict::Pass);
    // There is nobody to call for the others.
    assert_eq!(verdict(&one, "write/wrap"), Verdict::Skipped);
}

#[test]
fn an_initiator_that_calls_in_a_loop_needs_no_command() {
    // Nobody else is given this port so soon.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let stop = Arc::new(AtomicBool::new(false));
    let calling = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                call(address, false);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let name = address.to_string();
    let outcome = torment(&["--call-me", &name, "--only", "call/", "--patience", "8000"]);
    stop.store(true, Ordering::Relaxed);
    calling.join().unwrap();
    assert!(outcome.is_clean(), "{:#?}", outcome.rows);
    assert!(outcome.count(Verdict::Pass) > 10);
}

#[test]
fn an_initiator_that_dies_is_gone() {
    let outcome = on_call("dies", &["--only", "call/queue-4"]);
    let row = &outcome.rows[0];
    assert_eq!(row.verdict, Verdict::Gone, "{row:?}");
    assert!(row.seen.contains("signal 6"), "{row:?}");
    assert!(!outcome.is_clean());
}

#[test]
fn a_command_that_fails_and_one_that_does_not_call_are_told_of() {
    // The one is told of as soon as the command has ended, however long that takes; the other when patience does.
    let play = |command: &str, patience: &str| {
        let outcome = torment(&[
            "--call-me",
            "127.0.0.1:0",
            "--on-call",
            command,
            "--call-patience",
            patience,
            "--only",
            "reply/rev-3",
        ]);
        (outcome.rows[0].verdict, outcome.rows[0].seen.clone())
    };
    let (verdict, seen) = play("exit 3", "20000");
    assert_eq!(verdict, Verdict::NoAnswer);
    assert!(seen.contains("has failed"), "{seen}");
    let (verdict, seen) = play("exit 0", "50");
    assert_eq!(verdict, Verdict::NoAnswer);
    assert!(seen.contains("did not call"), "{seen}");
}

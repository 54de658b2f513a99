//! `uwarp demo`: everything between two processes, with a verdict.

mod common;

use std::io::{BufRead, BufReader};

use common::{Running, file, run, uwarp};

/// The demo succeeded, and told the rate of every operation.
fn complete(out: &str, sends: bool) {
    for operation in ["Write  ", "Read   "] {
        let line = out.lines().find(|line| line.starts_with(operation));
        assert!(line.is_some_and(|line| line.ends_with("/s")), "{out}");
    }
    assert_eq!(out.contains("Sends/s"), sends, "{out}");
    assert!(out.contains("blake3 "), "{out}");
    let last = out.lines().last();
    assert_eq!(last, Some("ok: all that arrived is what was sent"));
}

#[test]
fn generated_data_goes_there_and_back() {
    let out = run(["demo", "--size", "20M", "--sends", "500"]).succeeded();
    complete(&out, true);
    assert!(out.contains("20.0 MiB") && out.contains("CRC on, markers off"));
}

#[test]
fn a_file_of_any_size_goes_there_and_back() {
    let directory = tempfile::tempdir().unwrap();
    for len in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 9 << 20] {
        let path = file(directory.path(), "file", len);
        let mut command = uwarp(["demo", "--sends", "10"]);
        command.arg(&path);
        complete(&Running::start(command).outcome().succeeded(), true);
    }
}

#[test]
fn with_markers_and_without_crc_or_sends() {
    let size = ["demo", "--size", "3M", "--sends", "0"];
    let out = run(size.iter().copied().chain(["--no-crc"])).succeeded();
    complete(&out, false);
    assert!(out.contains("CRC off, markers off"), "{out}");
    let out = run(size.iter().copied().chain(["--markers"])).succeeded();
    complete(&out, false);
    assert!(
        out.contains("CRC on, markers on (sent) and on (received)"),
        "{out}"
    );
}

#[test]
fn the_digest_is_that_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "file", 12345);
    let digest = blake3::hash(&std::fs::read(&path).unwrap());
    let mut command = uwarp(["demo"]);
    command.arg(&path);
    let out = Running::start(command).outcome().succeeded();
    assert!(out.contains(&digest.to_string()), "{out}");
}

#[test]
fn nothing_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = uwarp(["demo", "--size", "1M", "--sends", "1"]);
    command.env("TMPDIR", directory.path());
    Running::start(command).outcome().succeeded();
    assert_eq!(common::names(directory.path()), [""; 0]);
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_behind_and_no_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = uwarp(["demo", "--size", "1T"]);
    command.env("TMPDIR", directory.path());
    let mut demo = Running::start(command);
    let out = demo.child().stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).unwrap();
    assert!(line.contains(" listens on "), "{line}");
    assert_eq!(common::names(directory.path()).len(), 1);
    demo.kill();
    common::eventually("the listening process has cleaned up", || {
        common::names(directory.path()).is_empty()
    });
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let line = run(["demo", "/nowhere/file"]).failed();
    assert!(line.contains("cannot read /nowhere/file"), "{line}");
    assert!(line.contains("No such file"), "{line}");
    let line = run(["demo", "/"]).failed();
    assert!(line.contains("no regular file"), "{line}");
}

#[test]
fn a_reader_that_has_gone_away_is_an_error_and_no_panic() {
    let mut demo = Running::start(uwarp(["demo", "--size", "1M"]));
    drop(demo.child().stdout.take());
    let line = demo.outcome().failed();
    assert!(line.contains("cannot write the report"), "{line}");
}

//! A file larger than what the processes may use moves in bounded memory.

mod common;

use common::{Running, sparse, uwarp};
use nix::sys::resource::{UsageWho, getrusage};

/// Octets of memory that a process may have at its peak.
const MEMORY: i64 = 256 << 20;

/// The test's limit is generous, since the machine may be busy with other tests.
#[test]
fn four_gibioctets_go_there_and_back_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse(directory.path(), "sparse", 4 << 30);
    let mut command = uwarp(["demo", "--sends", "10"]);
    command.arg(path).env("TMPDIR", directory.path());
    let out = Running::start(command)
        .outcome_within(std::time::Duration::from_secs(600))
        .succeeded();
    assert!(out.contains("4.0 GiB"), "{out}");
    // The kernel keeps the largest of the peaks (VmHWM) of both processes, as they have been waited for.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let peak = usage.max_rss() * 1024;
    assert!(peak > 1 << 20, "the peak is known");
    assert!(peak < MEMORY, "{peak} octets of memory at the peak");
}

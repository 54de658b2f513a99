//! `uwarp run`: what the program that it becomes is told.

mod common;

use std::fs;

use common::uwarp;

#[test]
fn the_program_gets_the_library_and_what_is_wanted() {
    let directory = tempfile::tempdir().expect("a directory");
    // No library at all: the loader says so and goes on.
    let library = directory.path().join("library.so");
    fs::write(&library, b"").expect("written");
    let script = "echo $LD_PRELOAD; echo ddp $UWARP_DDP listen $UWARP_LISTEN fallback $UWARP_FALLBACK \
                  crc $UWARP_CRC wait $UWARP_SERVER_FIRST_WAIT_MS; exit 7";
    let arguments = "run --ddp 80,10.0.0.1 --listen 6000-6010 --fallback --no-crc --server-first-wait 50 -- sh -c";
    let output = uwarp(arguments.split(' ').chain([script]))
        .env("UWARP_PRELOAD", &library)
        .env("LD_PRELOAD", "/nowhere.so")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = said.lines();
    let canonical = library.canonicalize().expect("it is there");
    assert_eq!(
        lines.next(),
        Some(format!("{}:/nowhere.so", canonical.display()).as_str())
    );
    assert_eq!(
        lines.next(),
        Some("ddp 80,10.0.0.1 listen 6000-6010 fallback 1 crc 0 wait 50")
    );
}

#[test]
fn without_the_library_or_the_program_it_says_so() {
    let mut command = uwarp(["run", "--", "true"]);
    command.env("UWARP_PRELOAD", "/nowhere/library.so");
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/nowhere/library.so"), "{said}");

    let directory = tempfile::tempdir().expect("a directory");
    let library = directory.path().join("library.so");
    fs::write(&library, b"").expect("written");
    let mut command = uwarp(["run", "--", "/nowhere/program"]);
    command.env("UWARP_PRELOAD", &library);
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/nowhere/program"), "{said}");
}

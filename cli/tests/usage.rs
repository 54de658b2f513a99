//! The command line: wrong ones are refused with status 2, and help is there.

mod common;

use common::run;

#[test]
fn wrong_arguments_are_refused() {
    for args in [
        &["copy"][..],
        &["put", "file"],
        &["get", "name"],
        &["put", "file", "host:port"],
        &["put", "file", ":1"],
        &["ping", "host:1", "--count", "0"],
        &["ping", "host:1", "--size", "2M"],
        &["ping", "host:1", "--timeout", "0"],
        &["demo", "--size", "much"],
        &["demo", "file", "--size", "1M"],
        &["serve"],
        &["serve", ".", "--listen", "nowhere"],
        &["serve", ".", "--clients", "0"],
        &["bench", "--rounds", "0"],
        &["run"],
        &["run", "--ddp"],
    ] {
        let outcome = run(args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
        assert!(outcome.err.contains("--help"), "{args:?}: {outcome:?}");
        assert_eq!(outcome.out, "");
    }
}

#[test]
fn without_arguments_it_says_what_it_can_do() {
    let outcome = run([""; 0]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.err.contains("Commands:"), "{outcome:?}");
}

#[test]
fn help_names_every_command_but_not_the_hidden_ones() {
    let out = run(["--help"]).succeeded();
    for command in ["demo", "serve", "put", "get", "ping", "bench", "run"] {
        let named = |line: &str| line.trim_start().starts_with(command);
        assert!(out.lines().any(named), "{command} in {out}");
        let own = run([command, "--help"]).succeeded();
        assert!(own.contains("Usage: uwarp"), "{own}");
    }
    assert!(!out.contains("demo-listener") && !out.contains("bench-peer"));
}

#[test]
fn the_version_is_told() {
    let out = run(["--version"]).succeeded();
    assert_eq!(out.trim_end(), concat!("uwarp ", env!("CARGO_PKG_VERSION")));
}

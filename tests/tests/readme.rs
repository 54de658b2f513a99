//! README.md promises nothing that is not checked: its commands are run by `.ci/run`, its links lead somewhere. (Its
//! example in Rust is a doctest of this crate.)

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The commands in the shell blocks, without comments.
fn commands(readme: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in readme.lines() {
        match (in_block, line) {
            (false, "```sh") => in_block = true,
            (true, "```") => in_block = false,
            (true, _) => found.extend(without_comment(line)),
            (false, _) => {}
        }
    }
    assert!(!in_block, "a block is not closed");
    found
}

fn without_comment(line: &str) -> Option<&str> {
    let command = line.split(" #").next()?.trim();
    (!command.is_empty() && !command.starts_with('#')).then_some(command)
}

/// The commands that `.ci/run` gives to its function `run`.
fn run_by_ci(script: &str) -> Vec<&str> {
    script
        .lines()
        .filter_map(|line| line.trim().strip_prefix("run '")?.strip_suffix('\''))
        .collect()
}

#[test]
fn every_command_is_run_by_ci() {
    let (readme, script) = (read("README.md"), read(".ci/run"));
    let run = run_by_ci(&script);
    let commands = commands(&readme);
    assert!(commands.len() > 5, "README.md has lost its commands");
    for command in commands {
        // This is who runs it.
        let known = command == ".ci/run" || run.contains(&command);
        assert!(known, "`{command}` stands in README.md, but not in .ci/run");
    }
}

#[test]
fn the_first_command_that_ci_runs_passes_the_tests() {
    let (readme, script) = (read("README.md"), read(".ci/run"));
    let first = run_by_ci(&script)[0];
    assert!(first.starts_with("cargo test"), "{first}");
    assert!(
        commands(&readme)[..2].contains(&first),
        "a newcomer is told so at once"
    );
}

#[test]
fn every_link_leads_somewhere() {
    let readme = read("README.md");
    let targets = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let mut inside = 0;
    for target in targets.filter(|target| !target.contains("://")) {
        let path = target.split('#').next().unwrap_or_default();
        assert!(root().join(path).exists(), "{target}");
        inside += 1;
    }
    assert!(inside > 0, "README.md links to nothing in the tree");
}

#[test]
fn comments_and_prose_are_no_commands() {
    let text = "cargo no\n```sh\n# why\nmake # how\n\n  ls -l\n```\n```text\n$ out\n```\n";
    assert_eq!(commands(text), ["make", "ls -l"]);
}

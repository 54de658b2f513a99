//! What programs expect of a TCP socket, of one in DDPMODE: the cases of `c/semantics.c`.

mod common;

use std::sync::OnceLock;

use common::Program;

fn case(name: &str, variables: &[(&str, &str)]) {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM
        .get_or_init(|| Program::compile("semantics.c"))
        .case(name, variables);
}

#[test]
fn option() {
    case("option", &[]);
}

#[test]
fn connected() {
    case("connected", &[]);
}

#[test]
fn both_kinds() {
    case("both_kinds", &[]);
}

#[test]
fn reads() {
    case("reads", &[]);
}

#[test]
fn writes() {
    case("writes", &[]);
}

#[test]
fn half_close() {
    case("half_close", &[]);
}

#[test]
fn broken_pipe() {
    case("broken_pipe", &[]);
}

#[test]
fn reset() {
    case("reset", &[]);
}

#[test]
fn nonblocking() {
    case("nonblocking", &[]);
}

#[test]
fn part_of_a_key() {
    case("part_of_a_key", &[]);
}

#[test]
fn connect_timeout() {
    case("connect_timeout", &[]);
}

#[test]
fn dups() {
    case("dups", &[]);
}

#[test]
fn ranges() {
    case("ranges", &[]);
}

#[test]
fn sends_files() {
    case("sends_files", &[]);
}

#[test]
fn connects_before_accept() {
    case("connects_before_accept", &[]);
}

#[test]
fn connects() {
    case("connects", &[]);
}

#[test]
fn writes_before_accept() {
    case(
        "writes_before_accept",
        &[("UWARP_STARTUP_TIMEOUT_MS", "2000")],
    );
}

#[test]
fn interrupted() {
    case("interrupted", &[]);
}

#[test]
fn cancelled() {
    case("cancelled", &[]);
}

#[test]
fn both_write() {
    case("both_write", &[]);
}

#[test]
fn last_octets() {
    case("last_octets", &[]);
}

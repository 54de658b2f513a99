//! Forks, other programs, and ends: the cases of `c/processes.c`.

mod common;

use std::sync::OnceLock;

use common::Program;

fn case(name: &str, variables: &[(&str, &str)]) {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM
        .get_or_init(|| Program::compile("processes.c"))
        .case(name, variables);
}

#[test]
fn child_serves() {
    case("child_serves", &[]);
}

#[test]
fn parent_serves() {
    case("parent_serves", &[]);
}

#[test]
fn both_hold() {
    case("both_hold", &[]);
}

#[test]
fn exec_undecided() {
    case("exec_undecided", &[]);
}

#[test]
fn hidden_numbers() {
    case("hidden_numbers", &[]);
}

#[test]
fn passed_undecided() {
    case("passed_undecided", &[("UWARP_LISTEN", "all")]);
}

#[test]
fn passed_connected() {
    let variables = [
        ("UWARP_LISTEN", "all"),
        ("UWARP_SERVER_FIRST_WAIT_MS", "600000"),
    ];
    case("passed_connected", &variables);
}

#[test]
fn passed_to_itself() {
    case("passed_to_itself", &[]);
    case("passed_to_itself", &[("UWARP_LISTEN", "all")]);
}

#[test]
fn forks_at_the_limit() {
    case("forks_at_the_limit", &[]);
}

#[test]
fn passed_stream() {
    case("passed_stream", &[]);
}

#[test]
fn exec_stream() {
    case("exec_stream", &[]);
}

#[test]
fn cloexec() {
    case("cloexec", &[]);
}

#[test]
fn ends() {
    case("ends", &[]);
}

#[test]
fn exit_in_a_call() {
    case("exit_in_a_call", &[]);
}

#[test]
fn killed() {
    case("killed", &[]);
}

#[test]
fn killed_with_child() {
    case("killed_with_child", &[]);
}

#[test]
fn falls_back() {
    case("falls_back", &[("UWARP_FALLBACK", "1")]);
}

#[test]
fn falls_back_waiting() {
    case("falls_back_waiting", &[("UWARP_FALLBACK", "1")]);
}

#[test]
fn does_not_fall_back() {
    case("does_not_fall_back", &[]);
}

#[test]
fn server_first() {
    case("server_first", &[]);
}

#[test]
fn no_numbers() {
    case("no_numbers", &[]);
}

#[test]
fn no_numbers_to_poll() {
    case("no_numbers_to_poll", &[]);
}

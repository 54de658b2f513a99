//! What programs expect of poll, select and epoll on a socket in DDPMODE: the cases of `c/waiting.c`.

mod common;

use std::sync::OnceLock;

use common::Program;

fn case(name: &str) {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM
        .get_or_init(|| Program::compile("waiting.c"))
        .case(name, &[]);
}

#[test]
fn epoll_level() {
    case("epoll_level");
}

#[test]
fn epoll_edge() {
    case("epoll_edge");
}

#[test]
fn epoll_undecided() {
    case("epoll_undecided");
}

#[test]
fn epoll_before_connect() {
    case("epoll_before_connect");
}

#[test]
fn selects() {
    case("selects");
}

#[test]
fn select_undecided() {
    case("select_undecided");
}

#[test]
fn polled_twice() {
    case("polled_twice");
}

//! The fine print of TCP sockets: the cases of `c/fine.c`, most of which also run on plain TCP, to show that it is TCP's.

mod common;

use std::sync::OnceLock;

use common::Program;

fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| Program::compile("fine.c"))
}

/// Of a connection in DDPMODE, and of a plain one.
fn as_tcp(name: &str) {
    program().without_library(name, &[("PLAIN", "1")]);
    program().case(name, &[]);
}

#[test]
fn flags() {
    as_tcp("flags");
}

#[test]
fn peeks_all() {
    as_tcp("peeks_all");
}

#[test]
fn shutdowns() {
    as_tcp("shutdowns");
}

#[test]
fn shutdown_wakes() {
    as_tcp("shutdown_wakes");
}

#[test]
fn half_written() {
    as_tcp("half_written");
}

#[test]
fn number_used_again() {
    as_tcp("number_used_again");
}

#[test]
fn writer_does_not_follow() {
    as_tcp("writer_does_not_follow");
}

#[test]
fn epoll_sets() {
    as_tcp("epoll_sets");
}

#[test]
fn polls() {
    as_tcp("polls");
}

#[test]
fn requests() {
    as_tcp("requests");
}

#[test]
fn refused() {
    as_tcp("refused");
}

#[test]
fn stdio() {
    as_tcp("stdio");
}

#[test]
fn stdio_inherited() {
    program().case(
        "stdio_inherited",
        &[("UWARP_LISTEN", "all"), ("UWARP_DDP", "all")],
    );
}

#[test]
fn failed_set_up() {
    program().case("failed_set_up", &[]);
}

#[test]
fn server_first_nonblocking() {
    program().case("server_first_nonblocking", &[]);
}

#[test]
fn dup_before_connect() {
    program().case("dup_before_connect", &[]);
}

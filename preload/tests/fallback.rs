//! What a plain connection that takes the place of one in DDPMODE keeps of it: the cases of `c/fallback.c`.

mod common;

use std::sync::OnceLock;

use common::Program;

fn case(name: &str) {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM
        .get_or_init(|| Program::compile("fallback.c"))
        .case(name, &[("UWARP_FALLBACK", "1")]);
}

#[test]
fn keeps_options() {
    case("keeps_options");
}

#[test]
fn one_shot() {
    case("one_shot");
}

#[test]
fn number() {
    case("number");
}

#[test]
fn refused_again() {
    case("refused_again");
}

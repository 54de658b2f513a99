//! The committed seeds: small inputs made for one path each, under names that say which.
//!
//! `UWARP_WRITE_SEEDS=1 cargo test -p uwarp-fuzz-harness --test seeds` writes them to `fuzz/corpus/`; without
//! the variable the files are compared with what would be written. Inputs that a fuzzer found are kept
//! beside them under other names.

mod seeds {
    pub(crate) mod arrivals;
    pub(crate) mod messages;
    pub(crate) mod pair;
    pub(crate) mod segments;
    pub(crate) mod streams;
}

use std::fs;
use std::path::{Path, PathBuf};

/// A file name and what is in it.
type Seed = (&'static str, Vec<u8>);

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target)
}

fn committed(target: &str, seeds: Vec<Seed>) {
    let directory = corpus(target);
    let write = std::env::var_os("UWARP_WRITE_SEEDS").is_some();
    for (name, octets) in seeds {
        let path = directory.join(name);
        if write {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&path, &octets).unwrap();
        }
        let there = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            there == octets,
            "{} is not what this test makes of it",
            path.display()
        );
    }
}

#[test]
fn startup_seeds_are_committed() {
    committed("startup", seeds::messages::startup());
}

#[test]
fn terminate_seeds_are_committed() {
    committed("terminate", seeds::messages::terminate());
}

#[test]
fn deframer_seeds_are_committed() {
    committed("deframer", seeds::streams::deframer());
}

#[test]
fn segments_seeds_are_committed() {
    committed("segments", seeds::segments::segments());
}

#[test]
fn arrivals_seeds_are_committed() {
    committed("arrivals", seeds::arrivals::arrivals());
}

#[test]
fn control_seeds_are_committed() {
    committed("control", seeds::messages::control());
}

#[test]
fn pair_seeds_are_committed() {
    committed("pair", seeds::pair::pair());
}

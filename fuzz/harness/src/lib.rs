//! What the fuzz targets do with their input.
//!
//! Each module is the body of one target: its `run` takes arbitrary octets, drives one part of the
//! protocol with them and panics when a rule is broken. What is a rule here never depends on the
//! input being sensible. libFuzzer calls these functions through `fuzz/fuzz_targets/`; ordinary
//! tests call them over every file of `fuzz/corpus/`, so that what was found once stays found.
//!
//! | Target | What it drives | What it demands |
//! |---|---|---|
//! | [`startup`] | reading, answering and concluding startup frames | cuts change nothing; the two ends' agreements mirror each other |
//! | [`deframer`] | finding FPDUs, with markers and CRC on or off | the same as a slow model, however the stream is cut |
//! | [`arrivals`] | the receiver for raw TCP segments | every order gives the same stream; FPDUs arrive as soon as they can be known; memory stays bounded |
//! | [`segments`] | a whole connection after set-up | no octet lands where it may not; every request completes once; one Terminate at most |
//! | [`pair`] | two connections and the programs that use them | memory and completions are those of a model; nothing waits for ever; memory stays bounded |
//! | [`terminate`] | reading and writing Terminate messages | what was read can be written and read again |
//! | [`control`] | the messages to a worker | what is no message is none; every message has one form |
//!
//! A `run` returns what its input reached. The fuzzers ignore it; the replay test uses it to see that
//! the corpora still reach the depths for which they were made.
#![forbid(unsafe_code)]

mod arena;
pub mod arrivals;
pub mod control;
pub mod deframer;
pub mod input;
pub mod memory;
pub mod pair;
mod peer;
pub mod segments;
pub mod startup;
pub mod terminate;
pub mod wire;

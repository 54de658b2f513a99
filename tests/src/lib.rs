//! A harness for tests of more than one room.
//!
//! Two [`Connection`](uwarp_stream::Connection)s, each with a driver of a few lines and memory of
//! plain vectors, are joined by a link that cuts and holds up what passes, under a clock that moves
//! only when nothing else does. No socket, no thread, no real time: a test is a function of its
//! seed.
//!
//! | What | Module |
//! |---|---|
//! | Regions with their STags, and the buffers of requests | [`memory`] |
//! | One direction of a TCP connection | [`link`] |
//! | Two ends, two links, one clock | [`pair`] |
//! | Two programs, and a model of what their operations do | [`model`] |
//! | A peer made by hand, that may break any rule | [`stranger`] |
#![forbid(unsafe_code)]

mod drive;
pub mod link;
pub mod memory;
pub mod model;
pub mod pair;
pub mod stranger;

/// The example in the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

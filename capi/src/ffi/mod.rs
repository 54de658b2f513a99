//! The functions. Their documentation is written for the header: it says what a C program may do.
//!
//! What holds for all of them stands in the manual page `uwarp(3)`: handles may be used by any thread at any time;
//! pointers have to be valid for the length of the call, but for the memory of a region, which has to be there until
//! `uwarp_deregister` has succeeded; what a pointer leads to must not be registered memory, but for that of
//! `uwarp_register`.

pub mod domain;
pub mod options;
pub mod post;
pub mod queue;
pub mod region;
pub mod remote;
pub mod setup;
pub mod socket;
pub mod text;

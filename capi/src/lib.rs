//! The C interface of uwarp.
//!
//! | what | module |
//! |---|---|
//! | who owns what: handles, and the tables behind them | [`handle`] |
//! | numbers for what went wrong, texts for it, and no panic across the border | [`failure`] |
//! | what C's pointers have to be before they are used | [`raw`] |
//! | what forks do to the tables | [`fork`] |
//! | structures and numbers that both languages know | [`types`] |
//! | the functions | [`ffi`] |
//!
//! The functions' contract stands in `uwarp.h`, which is made from their documentation, and in the manual page
//! `uwarp(3)`. Everything of it that can be checked is checked: handles are numbers that are looked up, so that a
//! stale one, or one of another kind, is an error; pointers must not be null where octets are behind them. What
//! cannot be checked is that pointers are valid for as long as the contract says.
#![deny(unsafe_op_in_unsafe_fn)]
#![allow(
    non_camel_case_types,
    reason = "types are called as C programs call them"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is that of the header, and stands in `ffi` and uwarp(3)"
)]

mod failure;
pub mod ffi;
mod fork;
mod handle;
mod raw;
pub mod types;

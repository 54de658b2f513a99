//! The functions that stand before those of the C library, by what they are for.
//!
//! Each has the contract of the C function whose name it has: pointers are valid for what that function reads or
//! writes. Where the number is none of ours, the arguments go on as they are.
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is that of the C function"
)]

pub(crate) mod numbers;
pub(crate) mod options;
pub(crate) mod own;
pub(crate) mod receive;
pub(crate) mod send;
pub(crate) mod setup;
pub(crate) mod stdio;
pub(crate) mod waiting;

/// A result of C's: the number, or -1 and errno.
fn failed(number: std::ffi::c_int) -> std::ffi::c_int {
    crate::errno::set(number);
    -1
}

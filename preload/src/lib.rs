//! A library to preload: DDPMODE as a socket option, and under programs that know nothing of it.
//!
//! It stands before the C library's socket functions (`real`). A number of the program's that is a TCP connection in
//! DDPMODE is in its `table`: it does not refer to the TCP socket any more but to a `signal`, a kernel object that
//! poll, select and epoll see readable and writable when the stream is. Calls for other numbers go on to the C library.
//!
//! | what | module |
//! |---|---|
//! | the one list of what is interposed | `list.rs` |
//! | the exported functions, and the ways to the C library's | `real` |
//! | what they do for a stream | `exports` |
//! | no panic crosses the border, and nothing waits but in the outermost frame | `border` |
//! | which numbers are ours | `table` |
//! | one connection: its stream and its signal | `endpoint`, `signal` |
//! | from plain TCP to DDPMODE and back | `convert`, `fallback` |
//! | what calls that wait find when they go on | `fate` |
//! | accepted, and not yet known what it is | `undecided` |
//! | connections that a program begins without waiting | `connector` |
//! | fork, exec, the beginning and the end | `fork`, `process` |
//! | what the environment asks for | `config` |
//!
//! # What it does not see
//!
//! Calls that do not go through the C library's exported functions: system calls made directly (Go, io_uring), and programs that
//! are linked statically.
#![deny(unsafe_op_in_unsafe_fn)]
#![cfg_attr(
    test,
    allow(
        dead_code,
        reason = "unit tests export nothing, or they would run under the library themselves"
    )
)]

mod border;
mod config;
mod connector;
mod convert;
mod endpoint;
mod errno;
mod exports;
mod fallback;
mod fate;
mod fork;
mod process;
mod real;
mod signal;
mod sys;
mod table;
mod undecided;
mod wait;

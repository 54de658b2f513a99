//! Queues between the threads of one process: descriptors one way, completions the other.
//!
//! - [`Ring`](mpmc::Ring) is a bounded queue that any number of threads push to and pop from without a lock.
//! - [`Slab`](slab::Slab) keeps what is too large to be moved through a ring; a [`Ticket`] goes instead.
//! - `Wakeup` is the agreement by which whoever pushes knows whether somebody must be woken; it knows of no system
//!   call, only of a [`Doorbell`].
//! - [`BelledRing`] is the two together, and what the model checker runs.
//! - `CompletionRing` is a belled ring whose doorbell is an eventfd: completions that a program waits for in its own
//!   `poll`, `epoll` or `select`.
//! - [`Baton`] is the agreement on who uses what the queues lead to: one thread at a time, and nobody waits for it.
//! - `Attendance` is the agreement on who looks at a socket's input.
//! - [`Credits`] count what may be outstanding, so that a completion finds room when its time comes.
//! - [`Intake`] is what these make together on the side of those who post: a socket's queues towards whoever drives it.
//!
//! Nothing here knows what a descriptor or a completion is. Built with `--cfg loom`, everything but the eventfd runs
//! under the loom model checker: `RUSTFLAGS="--cfg loom" cargo test -p uwarp --release --lib loom_`.

mod attendance;
mod baton;
mod belled;
#[cfg(not(loom))]
mod completion;
mod credits;
mod doorbell;
#[cfg(not(loom))]
mod eventfd;
mod intake;
#[cfg(all(test, loom))]
mod loom_handover;
#[cfg(all(test, loom))]
mod loom_posting;
#[cfg(all(test, loom))]
mod loom_tests;
mod mpmc;
mod slab;
mod sync;

pub(crate) use attendance::{Attendance, Leave};
pub(crate) use baton::{Baton, Driven};
pub(crate) use belled::BelledRing;
#[cfg(not(loom))]
pub(crate) use completion::CompletionRing;
pub(crate) use credits::Credits;
pub(crate) use doorbell::Doorbell;
#[cfg(not(loom))]
pub(crate) use eventfd::EventBell;
pub(crate) use intake::{Intake, Queue, Refusal};
pub(crate) use slab::Ticket;

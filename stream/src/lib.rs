//! One iWARP connection as a single object, without I/O.
//!
//! [`Connection`] joins the three protocol rooms: MPA finds FPDUs in a stream of octets, DDP says
//! where each segment belongs, RDMAP says what it means. Octets, posted requests and the time go
//! in; octets to send, placements and completions come out. The driver owns the socket, the memory
//! and the clock: it reads and writes, and lends this crate a [`Memory`] that moves payload.
//!
//! What feeds a connection:
//! * [`Connection::receive`] with the octets that came, [`Connection::end_of_stream`],
//!   [`Connection::transport_lost`];
//! * [`Connection::post`], [`Connection::post_receive`], [`Connection::accept`],
//!   [`Connection::reject`], [`Connection::close`], [`Connection::abort`];
//! * [`Connection::written`] and [`Connection::timeout`].
//!
//! What drains it, after any of these:
//! * [`Connection::transmit`] fills a [`Batch`] with what is to be written;
//! * [`Connection::poll_event`] and [`Connection::poll_completion`];
//! * [`Connection::wants_shutdown`], [`Connection::is_over`] and [`Connection::deadline`].
//!
//! The driver of the `uwarp` crate runs it over TCP sockets; the tests run two of them under a
//! virtual clock.
#![forbid(unsafe_code)]

mod batch;
mod config;
mod connection;
mod direct;
mod event;
mod fault;
mod memory;
mod receive;
mod reminder;
mod startup;
mod stats;
mod transmit;

pub use batch::{Batch, Piece};
pub use config::Config;
pub use connection::{Connection, Role};
pub use direct::Direct;
pub use event::{End, Established, Event};
pub use fault::Fault;
pub use memory::{Memory, Source};
pub use receive::Received;
pub use startup::AnswerError;
pub use stats::Stats;

pub use uwarp_ddp as ddp;
pub use uwarp_mpa as mpa;
pub use uwarp_rdmap as rdmap;

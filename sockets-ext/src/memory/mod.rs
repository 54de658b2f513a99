//! Registered memory: octets that a remote peer, the kernel and this program reach at the same time.
//!
//! While memory is registered a peer may write into it whenever it likes, so Rust's promise that a `&[u8]` does not
//! change, and that nobody else sees through a `&mut [u8]`, cannot be kept. This room therefore never makes such a
//! reference over registered memory. It has two sides:
//!
//! - [`Memory`] is an owned buffer *outside* registration: an ordinary value that derefs to `[u8]`.
//! - [`RegionMemory`] is the same buffer *inside* registration: bounds-checked copying in and out, 64-bit atomics for
//!   flags and counters, a checksum, and a span for the kernel. [`RegionMemory::into_memory`] leads back.
//!
//! ```text
//!   Vec<u8> / Box<[u8]> / zeroed pages
//!            |  From, Memory::zeroed
//!            v
//!         Memory  -- RegionMemory::new -->  RegionMemory  (shared behind an Arc while connections use it)
//!            ^                                   |
//!            +---------- into_memory ------------+        (taken out of the Arc by whoever holds it last)
//! ```
//!
//! # What a racing access means
//!
//! Every copy and every checksum is made of relaxed atomic accesses to single octets (or of instructions that stand
//! for such); so any two at once are no data race, wherever they begin and end. They may tear: whoever reads octets
//! that are being written gets some old and some new ones. On x86-64 aligned 64-bit words do not tear in copies of
//! fewer than 256 octets, nor in the last 64 octets of longer ones written; so an aligned flag is seen whole.
//!
//! The 64-bit atomics of [`RegionMemory`] may race with each other. When one races with a copy, two accesses of
//! different size meet. Processors and the compiler back end define what happens then (either may come first, octet by
//! octet), but the Rust reference promises nothing yet.
//!
//! # What this room is not
//!
//! It knows no `STag`, no right and no peer: whether an access is *allowed* is decided before it comes here. It only
//! makes sure that no access leaves the buffer and that none is unsound.

mod copy;
mod crc;
mod owned;
mod region;

pub use owned::{Memory, MemoryError};
pub(crate) use region::Span;
pub use region::{RegionMemory, SpanError};

//! A byte stream over a socket in DDPMODE, with the semantics of a TCP socket.
//!
//! A [`StreamSocket`] carries a stream of octets in both directions, by the protocol of rsockets: RDMA Writes into the
//! peer's ring, told by Sends, with credits. The other end may be another of ours, or a program that uses rsockets on
//! Linux's siw or on a network card.
//!
//! What a program does with it, is what it does with a non-blocking TCP socket: [`try_read`](StreamSocket::try_read),
//! [`try_write`](StreamSocket::try_write), [`shutdown`](StreamSocket::shutdown), [`close`](StreamSocket::close). A
//! [`Watch`] is told when the stream becomes readable or writable; [`wait`](StreamSocket::wait) blocks.
//!
//! There is no thread and no descriptor besides the TCP socket's. The uwarp worker that serves the socket makes the
//! stream progress, whether the program attends to it or not: a stream that nobody reads still answers one-sided
//! operations ([`OneSided`]), and takes the peer's control messages.
//!
//! # Memory
//!
//! A stream holds the two rings of its [`StreamOptions`], whose pages cost nothing before they are used, and the
//! descriptors of its posted requests. What the peer sends decides about none of it.
//!
//! # Ends
//!
//! | what happens at the peer | here |
//! |---|---|
//! | it shuts its sending half down | reads give 0 at the end |
//! | it closes | reads give 0 at the end, writes [`BrokenPipe`](std::io::ErrorKind::BrokenPipe) |
//! | it is killed, aborts, or the network fails | [`ConnectionReset`](std::io::ErrorKind::ConnectionReset) once, behind what had come; then 0 and [`BrokenPipe`](std::io::ErrorKind::BrokenPipe) |
//! | it breaks a rule | the same with `EPROTO` |
//!
//! # Fork
//!
//! A stream belongs to the process that made it. In a forked child every method fails, or says that there is nothing,
//! and dropping it does nothing to the connection.
//!
//! # Example
//!
//! ```
//! use std::io::{IoSlice, IoSliceMut};
//! use std::net::{TcpListener, TcpStream};
//! use std::sync::Arc;
//! use uwarp_streams::{StreamOptions, StreamSocket, Unwatched, Wants};
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let client = TcpStream::connect(listener.local_addr()?)?;
//! let (server, _) = listener.accept()?;
//! let options = StreamOptions::default();
//! let server = StreamSocket::respond(server, &options, Arc::new(Unwatched))?;
//! let client = StreamSocket::initiate(client, &options, Arc::new(Unwatched))?;
//!
//! client.wait(Wants::WRITABLE, None)?;
//! client.try_write(&[IoSlice::new(b"hello")])?;
//! client.close(None);
//!
//! server.wait(Wants::READABLE, None)?;
//! let mut octets = [0; 16];
//! assert_eq!(server.try_read(&mut [IoSliceMut::new(&mut octets)], false)?, 5);
//! assert_eq!(&octets[..5], b"hello");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

#[cfg_attr(
    loom,
    allow(dead_code, reason = "only the hand-over is under test then")
)]
mod handover;
mod sync;

#[cfg(not(loom))]
mod buffers;
#[cfg(not(loom))]
mod failure;
#[cfg(not(loom))]
mod inner;
#[cfg(not(loom))]
mod mapped;
#[cfg(not(loom))]
mod one_sided;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod readiness;
#[cfg(not(loom))]
mod socket;
#[cfg(not(loom))]
mod state;

#[cfg(not(loom))]
pub use api::*;

#[cfg(not(loom))]
mod api {
    pub use crate::one_sided::OneSided;
    pub use crate::options::StreamOptions;
    pub use crate::readiness::{Readiness, Unwatched, Wants, Watch};
    pub use crate::socket::StreamSocket;
}

//! The byte stream of rsockets, as an object.
//!
//! rsockets is what librdmacm offers to programs that use sockets: a stream of octets in both directions over
//! an RDMA connection. Each end writes into a ring of the other's and tells it by a Send of four octets; the
//! other end gives free room back by writing into a small table and telling that by a Send as well. What goes
//! over the wire is that of rsockets on iWARP octet by octet, so the other end may be an rsockets program on siw
//! or on a network card.
//!
//! [`Stream`] does no I/O, reads no clock and holds no octet of the stream. A driver tells it what has happened and
//! posts what it asks for:
//!
//! | the driver | tells | and then |
//! |---|---|---|
//! | registers a table, zeroed, and a ring | [`Stream::request`], [`Stream::responder`], [`Stream::initiator`] | exchanges private data, posts [`Config::receives`] receives of 4 octets |
//! | has octets of the program's | [`Stream::write`] | copies those that were taken to their place in the send ring |
//! | has a Send | [`Stream::received`] | posts the receive again; looks at [`Stream::readable`] and [`Stream::read_end`] |
//! | has copied octets to the program | [`Stream::consumed`] | |
//! | has a completion | [`Stream::completed`] | looks at [`Stream::writable`] |
//! | has lost the connection | [`Stream::lost`] | |
//! | any of these | | posts each [`Stream::next_request`] until there is none |
//!
//! That a Write has landed is never told. What a Send announces was placed before it, as RDMAP delivers in
//! order.
//!
//! # One direction
//!
//! ```text
//!  sender                                                  receiver
//!    | <--- private data: table, first half of the ring, credits --- |
//!    | ---- Write "octets" into the ring ---------------------------> |
//!    | ---- Send DATA 6 --------------------------------------------> |  6 octets are readable
//!    | <--- Write the other half into entry 1 of the table ---------- |
//!    | <--- Send GRANT 384 ------------------------------------------ |  may send 384 messages in all
//! ```
//!
//! A half is given out anew when the program has read it to the end, credits when half of them are used. So the
//! memory of a stream is its two rings, its table, and a few words for each credit and each request.
//!
//! # What rsockets gets wrong
//!
//! rsockets fetches messages only while its program is inside one of its calls, and has one receive for each
//! credit, though grants cost none. On iWARP a Send without a receive ends the connection. So a part of the
//! peer's credits is not used for data, and grants wait for proof that earlier ones were fetched, unless the peer
//! could not go on without them. In the other direction [`Config::receives`] has some to spare, and the driver
//! posts them again at once.
//!
//! # Example
//!
//! ```
//! use uwarp_rsockets::{Config, Memory, Post, Stream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (config, memory) = (Config::default(), Memory::default());
//! let request = Stream::request(&config, &memory)?;
//! let (mut server, reply) = Stream::responder(&config, &memory, &request)?;
//! let mut client = Stream::initiator(&config, &memory, &reply)?;
//!
//! assert_eq!(client.write(5)?, 0..5);
//! let mut posted = Vec::new();
//! while let Some(request) = client.next_request() {
//!     // A real driver posts it. Here only the Sends matter: nothing was written into the table.
//!     if let Post::Message(octets) = request.post {
//!         server.received(&octets, |_| [0; 16])?;
//!     }
//!     posted.push(request.post);
//! }
//! // The second half of the client's ring and a Send, the octets and a Send.
//! assert_eq!(posted.len(), 4);
//! assert!(matches!(posted[2], Post::Data { from: 0, len: 5, .. }));
//! assert_eq!(server.readable(), 0..5);
//! server.consumed(5);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod budget;
mod config;
mod connect;
mod entry;
mod error;
mod iomap;
mod message;
mod order;
mod receiver;
mod ring;
mod sender;
mod stream;

pub use config::{CREDITS_MAX, CREDITS_MIN, Config, SPARE_RECEIVES};
pub use connect::{Hello, Memory, PRIVATE_DATA_LEN, TABLE_ENTRIES};
pub use entry::{ENTRY_LEN, Entry, IOMAP_ENTRY_LEN, IomapEntry, Place};
pub use error::{ConfigError, ConnectError, Fault, IomapError, WriteError};
pub use message::{DATA_MAX, MESSAGE_LEN, Message};
pub use order::ByteOrder;
pub use ring::pieces;
pub use stream::{Post, ReadEnd, Request, Stream};

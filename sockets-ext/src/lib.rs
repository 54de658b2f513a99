//! iWARP for TCP sockets: remote direct memory access in user space.
//!
//! A TCP connection that is set to DDPMODE carries DDP from then on: each end can write into, and
//! read from, memory that the other end has registered, without the other end's application taking
//! part; and it can send messages into buffers that the other end has posted. The wire is standard
//! iWARP (RFC 5040, 5041, 5044, 6581), so the other end may be Linux's siw or a network card. It
//! needs no device, no kernel module and no privilege.
//!
//! # The pieces
//!
//! * [`Domain`] is a protection domain. [`Domain::register`] turns an owned buffer into a [`Region`]
//!   with an STag; [`Region::remote`] describes it to the peer.
//! * [`Listener`] and [`connect()`], or [`DdpMode`] on a TCP connection of your own, make a [`Socket`];
//!   [`Options`] holds its policies.
//! * [`Socket::post_send`], [`post_recv`](Socket::post_recv), [`post_write`](Socket::post_write) and
//!   [`post_read`](Socket::post_read) queue work. Each request ends in exactly one [`Completion`], in
//!   the socket's [`CompletionQueue`].
//! * [`Workers`] are the threads that serve the sockets; the first socket starts one.
//!
//! # Security
//!
//! There is no encryption, and nobody asks who a peer is: use this on networks that you trust, or under IPsec
//! (RFC 5042 s5.4). What a peer asks for is checked to the octet, against the domain, the socket, the rights and the
//! bounds, on every access. What it is allowed is up to the application (RFC 5042 s6.2, s6.3, App. A):
//!
//! * *Open little, and for a short time.* An STag opens the whole region. So register the octets that the peer needs
//!   and no more, with no more [`Rights`] than it needs, for its socket alone ([`Domain::register_for`]), when it needs
//!   them; and [`revoke`](Region::revoke) as soon as it is done. Rights are apart: a buffer that the peer fills needs no
//!   [`REMOTE_READ`](Rights::REMOTE_READ). One that it does Atomics on shows it the words there.
//! * *Leave nothing old in what may be read.* A buffer that was used before is cleared or filled before it is registered
//!   with [`REMOTE_READ`](Rights::REMOTE_READ); [`Memory::zeroed`] makes a clean one.
//! * *Revoke before you use what was written.* As long as the peer may write, it may also change what has been checked
//!   already. When [`Region::revoke`] has returned, nothing changes any more; its documentation has an example. Data
//!   that must not change in between but stay open are copied out first ([`Region::read_at`]) and checked in the copy.
//! * *Peers who distrust each other share no buffer.* A region made by [`Domain::register`] is open to the peers of all
//!   sockets of its domain, so give each such peer a region of its own, or a [`Domain`]. No buffer can be reached by two
//!   STags: it goes into one region, and a region has one STag at a time. (The Reads that peers ask for wait in a queue
//!   of each socket's own, and a [`CompletionQueue`] is shared only if you say so: then its places are shared as well.)
//! * *An advertised region is not a secret.* STags are random and come back late, but they cross the network in the
//!   clear. What keeps others out is the domain, and the socket of [`register_for`](Domain::register_for).
//!
//! # Example
//!
//! One end writes into the other's memory, and tells it by a Send.
//!
//! ```
//! use uwarp::{Domain, Listener, Options, Rights, SendFlags};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server_domain = Domain::new();
//! let listener = Listener::bind("127.0.0.1:0", &Options::new(&server_domain))?;
//! let address = listener.local_addr();
//!
//! let server = std::thread::spawn(move || -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
//!     let target = server_domain.register(vec![0u8; 16], Rights::REMOTE_WRITE)?;
//!     let inbox = server_domain.register(vec![0u8; 16], Rights::empty())?;
//!     // The region's description travels as private data of the set-up.
//!     let description = target.remote().ok_or("revoked")?.to_bytes();
//!     let incoming = listener.accept()?;
//!     // A receive is posted before the peer may send.
//!     incoming.post_recv(1, &[inbox.slice(..)?])?;
//!     let socket = incoming.accept(&description)?;
//!     socket.wait(None)?;
//!     let mut seen = vec![0; 5];
//!     target.read_at(0, &mut seen)?;
//!     socket.close()?;
//!     Ok(seen)
//! });
//!
//! let domain = Domain::new();
//! let socket = uwarp::connect(address, &Options::new(&domain))?;
//! let description = socket.established().ok_or("not set up")?.private_data;
//! let remote = uwarp::RemoteRegion::from_bytes(description.as_slice().try_into()?);
//! let source = domain.register(b"hello, done".to_vec(), Rights::empty())?;
//! socket.post_write(1, &[source.slice(..5)?], remote)?;
//! socket.post_send(2, &[source.slice(7..)?], SendFlags::default())?;
//! assert!(socket.wait(None)?.is_success());
//! assert!(socket.wait(None)?.is_success());
//! socket.close()?;
//! assert_eq!(server.join().unwrap().unwrap(), b"hello");
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg_attr(
    loom,
    allow(dead_code, reason = "only the loom tests use the table then")
)]
mod access;
#[cfg_attr(
    loom,
    allow(
        dead_code,
        unused_imports,
        reason = "only the rings are under test then"
    )
)]
pub mod memory;
#[cfg_attr(
    loom,
    allow(
        dead_code,
        unused_imports,
        reason = "only the loom tests use the rings then"
    )
)]
mod ring;

#[cfg(not(loom))]
mod attend;
#[cfg(not(loom))]
mod batch;
#[cfg(not(loom))]
mod bell;
#[cfg(not(loom))]
mod completion;
#[cfg(not(loom))]
mod connect;
#[cfg(not(loom))]
pub mod control;
#[cfg(not(loom))]
mod descriptor;
#[cfg(not(loom))]
mod domain;
#[cfg(not(loom))]
mod engine;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
pub mod fork;
#[cfg(not(loom))]
mod iov;
#[cfg(not(loom))]
mod link;
#[cfg(not(loom))]
mod listener;
#[cfg(not(loom))]
mod notify;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod poll;
#[cfg(not(loom))]
mod setup;
#[cfg(not(loom))]
mod socket;
#[cfg(not(loom))]
mod staging;
#[cfg(not(loom))]
mod worker;

#[cfg(not(loom))]
pub use api::*;

#[cfg(not(loom))]
mod api {
    pub use crate::batch::Batch;
    pub use crate::bell::{Attendant, Bell};
    pub use crate::completion::{Completion, CompletionQueue, SocketId};
    pub use crate::connect::{DdpMode, Outgoing, connect};
    pub use crate::descriptor::MAX_SGE;
    pub use crate::domain::{Domain, Region, RegisterError, RemoteRegion, Sge, StillInUse};
    pub use crate::error::{EndText, Error, PostError, WaitError};
    pub use crate::listener::{Incoming, Listener};
    pub use crate::memory::{Memory, MemoryError, RegionMemory, SpanError};
    pub use crate::notify::Notify;
    pub use crate::options::{Keepalive, Options};
    pub use crate::setup::SettingUp;
    pub use crate::socket::{SendFlags, Socket};
    pub use crate::worker::Workers;
    pub use uwarp_ddp::{Rights, Stag};
    pub use uwarp_mpa::{Agreement, PeerRequest, Rtr, RtrSet};
    pub use uwarp_rdmap::{AtomicOperation, OperationKind, Status, TerminateCode};
    pub use uwarp_stream::{End, Established, Fault, Stats};
}

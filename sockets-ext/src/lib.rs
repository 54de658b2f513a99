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
mod completion;
#[cfg(not(loom))]
mod connect;
#[cfg(not(loom))]
mod control;
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
mod options;
#[cfg(not(loom))]
mod poll;
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
    pub use crate::completion::{Completion, CompletionQueue, SocketId};
    pub use crate::connect::{DdpMode, connect};
    pub use crate::descriptor::MAX_SGE;
    pub use crate::domain::{Domain, Region, RegisterError, RemoteRegion, Sge, StillInUse};
    pub use crate::error::{EndText, Error, PostError, WaitError};
    pub use crate::listener::{Incoming, Listener};
    pub use crate::memory::{Memory, MemoryError, RegionMemory, SpanError};
    pub use crate::options::{Keepalive, Options};
    pub use crate::socket::{SendFlags, Socket};
    pub use crate::worker::Workers;
    pub use uwarp_ddp::{Rights, Stag};
    pub use uwarp_mpa::{Agreement, PeerRequest, Rtr, RtrSet};
    pub use uwarp_rdmap::{AtomicOperation, OperationKind, Status, TerminateCode};
    pub use uwarp_stream::{End, Established, Fault, Stats};
}

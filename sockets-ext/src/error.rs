//! What can go wrong, with the cause and, where there is one, the remedy in the message.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use uwarp_mpa::{LocalError, StartupError};
use uwarp_stream::End;

/// Setting up a connection, or a listener, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The TCP connection could not be made.
    #[error("cannot connect to {address}: {source}{}", connect_hint(source))]
    Connect {
        /// Where to.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The listener could not be made.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The peer closed or reset the connection during set-up.
    #[error(
        "the peer closed the connection during the MPA set-up: it probably does not speak iWARP on this port, or it \
         refused our Request"
    )]
    SetupClosed,
    /// What the peer sent is no MPA startup frame.
    #[error("{0}: the peer does not speak iWARP (MPA) on this port")]
    NotMpa(StartupError),
    /// The peer did not send its startup frame in time.
    #[error(
        "no MPA startup frame from the peer within {0:?}: it probably does not speak iWARP on this port; if it is only \
         slow, raise the startup timeout"
    )]
    SetupTimeout(Duration),
    /// The peer rejected the connection; the TCP connection is open and the application's again
    /// (RFC 5044 s7.1.2 r3).
    #[error(
        "the peer rejected the connection ({} octets of private data{})",
        private_data.len(),
        required_ord.map(|ord| format!(", it needs an IRD of {ord} here")).unwrap_or_default()
    )]
    Rejected {
        /// The peer's private data.
        private_data: Vec<u8>,
        /// The ORD that the peer says it needs (RFC 6581 s9.1).
        required_ord: Option<u16>,
        /// The IRD that the peer stated.
        peer_ird: Option<u16>,
        /// The TCP connection.
        stream: TcpStream,
    },
    /// Our own settings cannot be put into a startup frame.
    #[error("the options of the socket are not valid: {0}")]
    Options(LocalError),
    /// The private data does not fit its frame (RFC 5044 s7.1.1, U10).
    #[error("{len} octets of private data, but at most {limit} fit into the frame")]
    PrivateDataTooLong {
        /// Octets that fit.
        limit: usize,
        /// Octets given.
        len: usize,
    },
    /// The set-up failed in another way.
    #[error("the MPA set-up failed: {}", EndText(.0))]
    Setup(End),
    /// Nobody connected within the time.
    #[error("no connection request within {0:?}")]
    AcceptTimeout(Duration),
    /// The listener has been closed.
    #[error("the listener is closed")]
    ListenerClosed,
    /// The object belongs to another process: this one was forked from it.
    #[error(
        "this uwarp object belongs to the parent process: a forked child has to make its own, or exec (see the \
         documentation of the `fork` module)"
    )]
    Forked,
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    pub(crate) fn connect(address: &SocketAddr) -> impl Fn(io::Error) -> Self {
        let address = address.to_string();
        move |source| Self::Connect {
            address: address.clone(),
            source,
        }
    }

    /// What the end of a connection during set-up means.
    pub(crate) fn from_end(end: End, timeout: Duration) -> Self {
        match end {
            End::Lost => Self::SetupClosed,
            End::StartupTimeout => Self::SetupTimeout(timeout),
            End::Fault(uwarp_stream::Fault::Startup(error)) => Self::NotMpa(error),
            other => Self::Setup(other),
        }
    }
}

fn connect_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            " (nobody listens there: check the port, and that the server runs)"
        }
        io::ErrorKind::TimedOut => " (no answer: check the address and the firewall)",
        _ => "",
    }
}

/// Posting a work request failed; nothing has been queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The work queue, or the completion queue that reserves a place for the result, is full.
    #[error(
        "the queue is full: poll completions to free places, or ask for a deeper queue in the options"
    )]
    Full,
    /// The connection is closing or over.
    #[error("the connection is closing or closed: no further work is accepted")]
    Closed,
    /// The list has more than [`MAX_SGE`](crate::MAX_SGE) elements.
    #[error(
        "a gather or scatter list may have {} elements at the most",
        crate::MAX_SGE
    )]
    TooManyElements,
    /// The list holds 2^32 octets or more (RFC 5041 s5.2).
    #[error("a message may have 4,294,967,295 octets at the most: post several")]
    TooLong,
    /// A slice of a region that belongs to another domain than the socket.
    #[error(
        "the region is registered in another domain than the socket's: register the memory in the socket's domain"
    )]
    OtherDomain,
    /// The peer accepts no RDMA Reads.
    #[error(
        "the peer accepts no RDMA Reads (the negotiated ORD is 0): raise the IRD at the peer, or the ORD here"
    )]
    ReadsDisabled,
    /// The length of the local list is not within the remote slice.
    #[error("the remote slice has {remote} octets, the local list {local}")]
    RemoteTooShort {
        /// Octets of the remote slice.
        remote: u32,
        /// Octets of the local list.
        local: u32,
    },
    /// The tagged offset plus the length exceeds 2^64.
    #[error("the remote offset plus the length exceeds 2^64: check the remote region's descriptor")]
    OffsetWrap,
    /// The socket belongs to the parent process.
    #[error(
        "this socket belongs to the parent process: a forked child has to make its own connections"
    )]
    Forked,
}

impl From<uwarp_rdmap::PostError> for PostError {
    fn from(error: uwarp_rdmap::PostError) -> Self {
        match error {
            uwarp_rdmap::PostError::Full => Self::Full,
            uwarp_rdmap::PostError::Closed => Self::Closed,
            uwarp_rdmap::PostError::ReadsDisabled => Self::ReadsDisabled,
            uwarp_rdmap::PostError::OffsetWrap => Self::OffsetWrap,
        }
    }
}

/// Waiting for a completion, or for the end of a connection, gave none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is up.
    #[error("nothing happened within the time given")]
    TimedOut,
    /// The connection is over, and every completion has been taken.
    #[error("the connection is over: {}", EndText(.0))]
    Over(End),
    /// The socket belongs to the parent process.
    #[error("this socket belongs to the parent process")]
    Forked,
    /// The operating system does not let us wait, mostly for want of a descriptor.
    #[error("cannot wait: {0}")]
    System(io::ErrorKind),
}

/// Says in words how a connection ended.
pub struct EndText<'a>(pub &'a End);

impl std::fmt::Display for EndText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            End::Graceful => f.write_str("closed in order by both ends"),
            End::Aborted => f.write_str("aborted by this end"),
            End::Fault(fault) => write!(
                f,
                "the peer broke a rule: {fault} (told it {})",
                fault.code()
            ),
            End::Terminated(code) => write!(f, "the peer sent Terminate {code}{}", remedy(code)),
            End::Lost => f.write_str("TCP connection lost: the peer went away, or the network did"),
            End::StartupTimeout => f.write_str("the peer did not finish the set-up in time"),
            End::CloseTimeout => f.write_str("the peer did not take part in closing in time"),
        }
    }
}

/// What the receiver of a Terminate can do about it.
fn remedy(code: &uwarp_rdmap::TerminateCode) -> &'static str {
    match (code.layer.bits(), code.etype, code.code) {
        (1, 1, 0) | (0, 1, 0) => {
            "; an STag that was never issued, has been invalidated, or lacks the right: fetch a fresh region descriptor"
        }
        (1, 1, 1) | (0, 1, 1) => {
            "; the access left the region: check offset and length against its descriptor"
        }
        (0, 1, 2) => "; the region was registered without the right of remote read",
        (1, 2, 2) => {
            "; the peer had no receive posted: it must post receives before we send, or we send less ahead"
        }
        (1, 2, 5) => "; the peer's posted receive is smaller than the message",
        _ => "",
    }
}

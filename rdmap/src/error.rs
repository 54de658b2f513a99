//! What a peer can do wrong at this layer, and what a caller can ask in vain.

use uwarp_ddp::{AccessError, DdpError};

/// Why an atomic operation is not performed; memory is then unchanged (RFC 7306 s5.1, X06).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AtomicError {
    /// The peer may not reach the word.
    #[error("{0}")]
    Access(#[from] AccessError),
    /// The word's address is not a multiple of 8.
    #[error("the word is not aligned to 8 octets")]
    Misaligned,
}

/// A message of the peer's that breaks a rule of RDMAP or DDP.
///
/// The Terminate code of each is assigned by the `uwarp-stream` crate, in one table for all
/// layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RdmapError {
    /// DDP refused the segment.
    #[error("{0}")]
    Ddp(#[from] DdpError),
    /// The RDMAP version is not 1 (RFC 5040 s7.2, R41).
    #[error("RDMAP version {0}, expected 1")]
    Version(u8),
    /// The opcode is unknown, or came with the wrong T bit or queue (RFC 5040 s4.1, R03; G4).
    #[error("unexpected opcode {0:#x}")]
    UnexpectedOpcode(u8),
    /// A fixed-size message has another size (G3).
    #[error("message of {actual} octets where {expected} are required")]
    MessageSize {
        /// Octets that the message should have.
        expected: u32,
        /// Octets that it has.
        actual: u32,
    },
    /// The source of an RDMA Read Request may not be read (RFC 5040 s7.2, R42).
    #[error("RDMA Read source: {0}")]
    ReadSource(AccessError),
    /// The word of an Atomic Request may not be changed (RFC 7306 s8.2, X06; G22).
    #[error("atomic operation: {0}")]
    AtomicTarget(AtomicError),
    /// The AOpCode of an Atomic Request is unknown (RFC 7306 s5.2.1, X09; G23).
    #[error("unknown atomic operation {0:#x}")]
    AtomicOperation(u8),
    /// An Atomic Response does not match the oldest unanswered request.
    #[error("Atomic Response does not match the outstanding request")]
    AtomicMismatch,
    /// The STag of a Send with Invalidate cannot be invalidated (RFC 5040 s5.3, R22).
    #[error("Send with Invalidate: {0}")]
    Invalidate(AccessError),
    /// A Read Response came although no Read is outstanding (G10).
    #[error("Read Response without an outstanding Read")]
    UnsolicitedResponse,
    /// A Read Response lies outside what the outstanding Read asked for, or ends early (G10).
    #[error("Read Response does not match the outstanding Read")]
    ResponseMismatch,
    /// The Terminate message is malformed; it is never answered by another (G3).
    #[error("malformed Terminate message")]
    BadTerminate,
}

/// Why a work request was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The queue holds as many requests as it may.
    #[error("the work queue is full: poll completions to free places")]
    Full,
    /// The stream is closing or closed.
    #[error("the connection is closing or closed: no further work is accepted")]
    Closed,
    /// The negotiated ORD is 0, so an RDMA Read can never start (RFC 5040 s6.1, R37).
    #[error(
        "the peer accepts no RDMA Reads (the negotiated ORD is 0): connect with a larger IRD at the peer"
    )]
    ReadsDisabled,
    /// Tagged offset plus length goes past 2^64.
    #[error("the tagged offset plus the length exceeds 2^64: check the remote region's descriptor")]
    OffsetWrap,
}

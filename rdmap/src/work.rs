//! Work requests as this room sees them: what to do, how long, and whose buffer.

use uwarp_ddp::Stag;

use crate::atomic::AtomicOperation;
use crate::header::IMMEDIATE_LEN;
use crate::terminate::TerminateCode;

/// The driver's name for one posted work request and the buffers that belong to it.
///
/// It is opaque here: it comes back in every [`Target`](crate::Target),
/// [`Payload`](crate::Payload) and [`Completion`] that concerns the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// What a work request asks for (RFC 5040 s5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A Send in one of its four forms (RFC 5040 s5.3).
    Send {
        /// Ask the peer to raise an event on delivery (the Solicited Event forms).
        solicited: bool,
        /// Invalidate this STag of the peer's on delivery (the Invalidate forms).
        invalidate: Option<Stag>,
    },
    /// Immediate Data: 8 octets that arrive in the completion of a posted receive (RFC 7306 s6).
    Immediate {
        /// The octets, as they go on the wire.
        data: [u8; IMMEDIATE_LEN],
        /// Ask the peer to raise an event on delivery.
        solicited: bool,
    },
    /// An atomic operation on a 64-bit word of the peer's (RFC 7306 s5).
    Atomic {
        /// The peer's STag.
        stag: Stag,
        /// Tagged offset of the word, whose address is a multiple of 8.
        to: u64,
        /// What to do to it.
        operation: AtomicOperation,
    },
    /// RDMA Write to the peer's tagged buffer (RFC 5040 s5.1).
    Write {
        /// The peer's STag.
        stag: Stag,
        /// Tagged offset of the first octet in the peer's buffer.
        to: u64,
    },
    /// RDMA Read from the peer's tagged buffer (RFC 5040 s5.2).
    Read {
        /// The peer's STag.
        stag: Stag,
        /// Tagged offset of the first octet in the peer's buffer.
        to: u64,
    },
}

impl Operation {
    /// Whether the peer answers it, so that it counts against the ORD.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Atomic { .. })
    }

    /// The kind without its parameters, as completions report it.
    #[must_use]
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Send { .. } => OperationKind::Send,
            Self::Immediate { .. } => OperationKind::Immediate,
            Self::Atomic { .. } => OperationKind::Atomic,
            Self::Write { .. } => OperationKind::Write,
            Self::Read { .. } => OperationKind::Read,
        }
    }
}

/// The kind of operation that a [`Completion`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// A posted Send.
    Send,
    /// A posted RDMA Write.
    Write,
    /// A posted RDMA Read.
    Read,
    /// A posted receive buffer.
    Receive,
    /// Posted Immediate Data.
    Immediate,
    /// A posted atomic operation.
    Atomic,
}

/// One posted request for the send queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// The driver's name for the request.
    pub slot: Slot,
    /// What to do.
    pub operation: Operation,
    /// Octets of the request's buffers to move, at most 2^32 - 1 (RFC 5041 s5.2, D18); 0 for Immediate
    /// Data and atomic operations, which use none.
    pub len: u32,
}

/// How a work request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did what it was asked to do.
    Success,
    /// The stream ended before the request was done; how far it came is not known
    /// (RFC 5040 s6.2.1, R38).
    Flushed,
    /// The peer refused this very request and said why in its Terminate message.
    Refused(TerminateCode),
}

/// The end of one work request; each request has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The request.
    pub slot: Slot,
    /// What it was.
    pub kind: OperationKind,
    /// How it ended.
    pub status: Status,
    /// Octets sent, read or received; 0 unless `status` is [`Status::Success`].
    pub len: u32,
    /// For a receive: the peer asked for an event (Send with Solicited Event).
    pub solicited: bool,
    /// For a receive: this STag of ours has been invalidated by the message.
    pub invalidated: Option<Stag>,
    /// For a receive that Immediate Data has used: the data. Its buffer is not touched.
    pub immediate: Option<[u8; IMMEDIATE_LEN]>,
    /// For an atomic operation: the word before it.
    pub original: Option<u64>,
}

impl Completion {
    /// A completion of `slot` that moved `len` octets and has nothing more to tell.
    pub(crate) const fn success(slot: Slot, kind: OperationKind, len: u32) -> Self {
        Self {
            slot,
            kind,
            status: Status::Success,
            len,
            solicited: false,
            invalidated: None,
            immediate: None,
            original: None,
        }
    }

    /// A completion of `slot` that tells of no success.
    #[must_use]
    pub const fn failed(slot: Slot, kind: OperationKind, status: Status) -> Self {
        Self {
            status,
            ..Self::success(slot, kind, 0)
        }
    }
}

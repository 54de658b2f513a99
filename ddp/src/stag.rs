//! What an STag stands for, and who may do what with it (RFC 5041 s8.2, s8.3; RFC 5042).
//!
//! These are the words; the decision itself is made by [`StagTable::check`](crate::StagTable::check).

use bitflags::bitflags;
use thiserror::Error;

/// A steering tag: the 32-bit name of a buffer that a remote peer may reach.
///
/// It is shown as eight hexadecimal digits:
///
/// ```
/// assert_eq!(uwarp_ddp::Stag(0x2a).to_string(), "0x0000002a");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stag(pub u32);

impl std::fmt::Display for Stag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

bitflags! {
    /// What a remote peer may do with a buffer (RFC 5041 s8.3.1, D40). Each right stands for
    /// itself: a buffer may well be written to but not read (RFC 5042 s6.3.5, S04).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// It may be the source of an RDMA Read.
        const REMOTE_READ = 0x01;
        /// It may be the sink of an RDMA Write.
        const REMOTE_WRITE = 0x02;
        /// It may be the target of an atomic operation (G22).
        const REMOTE_ATOMIC = 0x04;
        /// Its STag may be invalidated by the peer, if its scope is a single stream.
        const REMOTE_INVALIDATE = 0x08;
    }
}

/// A protection domain: a local name for a set of streams and the buffers they may reach
/// (RFC 5041 s8.2, D38). It never appears on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub u64);

/// A DDP stream's local name (RFC 5041 s8.2, D38). It never appears on the wire, and must not be
/// given to another stream as long as an STag is tied to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Which streams of its domain may use an STag (RFC 5041 s8.2, D38).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of them.
    Domain,
    /// This one.
    Stream(StreamId),
}

/// Who asks: the stream that a segment came in on, and the domain of that stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The stream's protection domain.
    pub domain: DomainId,
    /// The stream.
    pub stream: StreamId,
}

/// What a peer wants to do with octets of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read them (the source of an RDMA Read).
    Read,
    /// Write them (the sink of an RDMA Write).
    Write,
    /// Read and modify them in one step.
    Atomic,
}

impl Access {
    /// The right that it takes.
    #[must_use]
    pub const fn right(self) -> Rights {
        match self {
            Self::Read => Rights::REMOTE_READ,
            Self::Write => Rights::REMOTE_WRITE,
            Self::Atomic => Rights::REMOTE_ATOMIC,
        }
    }
}

/// A buffer, as far as deciding about access to it goes (RFC 5041 s8.3, D39).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Registration {
    /// The protection domain.
    pub domain: DomainId,
    /// The streams of that domain that may use it.
    pub scope: Scope,
    /// What they may do.
    pub rights: Rights,
    /// Tagged offset of the first octet.
    pub base: u64,
    /// Length in octets.
    pub len: u64,
}

impl Registration {
    /// Whether `peer` may use the STag at all (RFC 5042 s6.1.1, S01).
    pub(crate) fn is_associated(&self, peer: Peer) -> bool {
        let in_scope = match self.scope {
            Scope::Domain => true,
            Scope::Stream(stream) => stream == peer.stream,
        };
        in_scope && self.domain == peer.domain
    }

    /// Where in the buffer `len` octets at tagged offset `to` begin. That the sum does not wrap is
    /// looked at before the range (RFC 5041 s7.1, D35; T18).
    pub(crate) fn offset_of(&self, to: u64, len: u32) -> Result<u64, AccessError> {
        let end = to.checked_add(u64::from(len)).ok_or(AccessError::Wrap)?;
        let offset = to.checked_sub(self.base).ok_or(AccessError::Bounds)?;
        // Not below `base`, since `to` is not.
        if end - self.base > self.len {
            return Err(AccessError::Bounds);
        }
        Ok(offset)
    }

    /// Whether a peer may invalidate the STag. One that several streams may use never is: each
    /// would hold the others to ransom (RFC 5042 s6.4.5, S05; RFC 5040 s8.1.1, R43).
    pub(crate) fn is_remotely_invalidable(&self) -> bool {
        matches!(self.scope, Scope::Stream(_)) && self.rights.contains(Rights::REMOTE_INVALIDATE)
    }
}

/// Why a remote access is not allowed; the first reason that applies, in this order.
///
/// Which code it has on the wire depends on the operation: see [`DdpError`](crate::DdpError) for a
/// tagged segment, RFC 5040 s4.8 for an RDMA Read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum AccessError {
    /// There is no such STag, or not any more.
    #[error("the STag is not valid")]
    InvalidStag,
    /// The STag belongs to another protection domain or another stream.
    #[error("the STag is not associated with this stream")]
    NotAssociated,
    /// The buffer does not grant the right.
    #[error("the access is not among the rights that the buffer grants")]
    Rights,
    /// Tagged offset plus length is 2^64 or more.
    #[error("the tagged offset wraps")]
    Wrap,
    /// Some of the octets are outside of the buffer.
    #[error("the access is outside of the buffer")]
    Bounds,
    /// The STag is valid here, but a peer may not invalidate it.
    #[error("the STag cannot be invalidated by a peer")]
    CannotInvalidate,
}

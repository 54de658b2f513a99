//! The error codes that DDP has on the wire (RFC 5041 s7.2).
//!
//! The other modules say what is wrong in their own terms; here it gets its number. A
//! [`DdpError`] is always the peer's doing, except for [`DdpError::LocalCatastrophic`].

use thiserror::Error;

use crate::header::HeaderError;
use crate::queue::QueueError;
use crate::stag::AccessError;

/// An error of DDP, layer 1 in a Terminate message (RFC 5041 s7.2, D37; RFC 5040 s4.8).
///
/// ```
/// use uwarp_ddp::{AccessError, DdpError};
///
/// let error = DdpError::from(AccessError::Bounds);
/// assert_eq!((DdpError::LAYER, error.etype(), error.code()), (1, 1, 0x01));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum DdpError {
    /// We cannot go on; also said of a ULPDU without room for a header, which has no code (G1).
    #[error("local catastrophic error")]
    LocalCatastrophic,
    /// Tagged: there is no such STag, or it does not allow the access.
    #[error("invalid STag")]
    InvalidStag,
    /// Tagged: octets outside of the buffer.
    #[error("base or bounds violation")]
    Bounds,
    /// Tagged: the STag belongs to another protection domain or stream.
    #[error("STag not associated with the DDP stream")]
    NotAssociated,
    /// Tagged: the offset wraps.
    #[error("tagged offset wrap")]
    Wrap,
    /// Tagged: the version is not 1.
    #[error("invalid DDP version in a tagged segment")]
    TaggedVersion,
    /// Untagged: there is no such queue.
    #[error("invalid queue number")]
    InvalidQn,
    /// Untagged: no buffer is posted for the message.
    #[error("invalid MSN: no buffer available")]
    NoBuffer,
    /// Untagged: the message is over, or it is not its turn.
    #[error("invalid MSN: out of range")]
    MsnRange,
    /// Untagged: the offset is not valid.
    #[error("invalid message offset")]
    InvalidMo,
    /// Untagged: the message does not fit its buffer.
    #[error("message too long for the available buffer")]
    TooLong,
    /// Untagged: the version is not 1.
    #[error("invalid DDP version in an untagged segment")]
    UntaggedVersion,
}

impl DdpError {
    /// The Layer field of a Terminate message with any of these errors.
    pub const LAYER: u8 = 1;

    /// The EType field: 0 local, 1 tagged, 2 untagged.
    #[must_use]
    pub const fn etype(self) -> u8 {
        self.numbers().0
    }

    /// The Error Code field.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.numbers().1
    }

    const fn numbers(self) -> (u8, u8) {
        match self {
            Self::LocalCatastrophic => (0, 0x00),
            Self::InvalidStag => (1, 0x00),
            Self::Bounds => (1, 0x01),
            Self::NotAssociated => (1, 0x02),
            Self::Wrap => (1, 0x03),
            Self::TaggedVersion => (1, 0x04),
            Self::InvalidQn => (2, 0x01),
            Self::NoBuffer => (2, 0x02),
            Self::MsnRange => (2, 0x03),
            Self::InvalidMo => (2, 0x04),
            Self::TooLong => (2, 0x05),
            Self::UntaggedVersion => (2, 0x06),
        }
    }
}

/// A tagged segment that may not be placed.
impl From<AccessError> for DdpError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::InvalidStag => Self::InvalidStag,
            AccessError::NotAssociated => Self::NotAssociated,
            // DDP has no code for rights; to this peer, for this access, the STag is no good
            // (G5, T20).
            AccessError::Rights => Self::InvalidStag,
            AccessError::Wrap => Self::Wrap,
            AccessError::Bounds => Self::Bounds,
            // Not an outcome of placing. RDMAP, whose operation it is, has its own code.
            AccessError::CannotInvalidate => Self::InvalidStag,
        }
    }
}

/// An untagged segment that may not be placed or delivered.
impl From<QueueError> for DdpError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::NoBuffer => Self::NoBuffer,
            QueueError::MsnRange => Self::MsnRange,
            QueueError::Mo => Self::InvalidMo,
            QueueError::TooLong => Self::TooLong,
        }
    }
}

/// A segment without a header that we can read.
impl From<HeaderError> for DdpError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Short => Self::LocalCatastrophic,
            HeaderError::Version { tagged: true } => Self::TaggedVersion,
            HeaderError::Version { tagged: false } => Self::UntaggedVersion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(error: impl Into<DdpError>) -> (u8, u8) {
        let error = error.into();
        (error.etype(), error.code())
    }

    /// The table of RFC 5041 s7.2, by hand.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let table = [
            (DdpError::LocalCatastrophic, 0, 0),
            (DdpError::InvalidStag, 1, 0),
            (DdpError::Bounds, 1, 1),
            (DdpError::NotAssociated, 1, 2),
            (DdpError::Wrap, 1, 3),
            (DdpError::TaggedVersion, 1, 4),
            (DdpError::InvalidQn, 2, 1),
            (DdpError::NoBuffer, 2, 2),
            (DdpError::MsnRange, 2, 3),
            (DdpError::InvalidMo, 2, 4),
            (DdpError::TooLong, 2, 5),
            (DdpError::UntaggedVersion, 2, 6),
        ];
        for (error, etype, code) in table {
            assert_eq!(numbers(error), (etype, code), "{error}");
        }
    }

    #[test]
    fn refused_accesses_have_tagged_codes() {
        let table = [
            (AccessError::InvalidStag, 0),
            (AccessError::Rights, 0),
            (AccessError::Bounds, 1),
            (AccessError::NotAssociated, 2),
            (AccessError::Wrap, 3),
        ];
        for (error, code) in table {
            assert_eq!(numbers(error), (1, code), "{error}");
        }
    }

    #[test]
    fn refused_messages_have_untagged_codes() {
        let table = [
            (QueueError::NoBuffer, 2),
            (QueueError::MsnRange, 3),
            (QueueError::Mo, 4),
            (QueueError::TooLong, 5),
        ];
        for (error, code) in table {
            assert_eq!(numbers(error), (2, code), "{error}");
        }
    }

    #[test]
    fn unreadable_headers_have_a_code_by_their_kind() {
        assert_eq!(numbers(HeaderError::Short), (0, 0));
        assert_eq!(numbers(HeaderError::Version { tagged: true }), (1, 4));
        assert_eq!(numbers(HeaderError::Version { tagged: false }), (2, 6));
    }
}

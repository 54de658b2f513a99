//! Everything that can go wrong in MPA, and the code each error has on the wire.
//!
//! The kinds are kept apart because they are answered differently:
//!
//! * [`StartupError`]: the peer's startup frame is improper. The TCP connection is closed at once and
//!   nothing is sent (RFC 5044 s8, F36).
//! * [`FpduError`]: the stream of FPDUs is broken. MPA passes nothing more up (F37), but closing TCP is left
//!   to the ULP, which may want to send a Terminate first (F38).
//! * [`LocalError`], [`FrameError`]: the caller asked for something that cannot be sent. Nothing has
//!   happened on the wire.
//!
//! (Of a reply that is proper but not acceptable, see [`AbortReason`](crate::AbortReason).)

use crate::mulpdu::MULPDU_MAX;
use crate::startup::FrameKind;
use thiserror::Error;

/// The error codes of layer 2 (LLP), error type 0 (MPA), as a Terminate message carries them
/// (RFC 5044 s8, RFC 6581 s8, RFC 6580 s3.3; F34).
///
/// ```
/// use uwarp_mpa::{FpduError, LlpErrorCode};
/// assert_eq!(FpduError::Crc.code(), Some(LlpErrorCode::Crc));
/// assert_eq!(LlpErrorCode::Crc.code(), 0x02);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum LlpErrorCode {
    /// The TCP connection was closed, terminated or lost.
    ConnectionLost = 1,
    /// The CRC of an FPDU is wrong.
    Crc = 2,
    /// A marker and the ULPDU_Length disagree on where an FPDU starts.
    Marker = 3,
    /// A Request or Reply frame is improper.
    StartupFrame = 4,
    /// An error for which no other code is defined (RFC 6581).
    LocalCatastrophic = 5,
    /// There is no room for the inbound reads the peer wants to issue (RFC 6581).
    InsufficientIrd = 6,
    /// None of the peer's ready-to-receive indications can be generated (RFC 6581).
    NoMatchingRtr = 7,
}

impl LlpErrorCode {
    /// The Layer field of a Terminate message with any of these codes.
    pub const LAYER: u8 = 2;
    /// The EType field of a Terminate message with any of these codes.
    pub const ETYPE: u8 = 0;

    /// The Error Code field.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// A Request or Reply frame that must not be answered: close the TCP connection (RFC 5044 s8, F36).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartupError {
    /// The key of a startup frame is wrong: the peer does not speak MPA (U04, U05).
    #[error("the peer does not speak MPA: octet {at} is not that of a startup key")]
    Key {
        /// Which octet of the stream was the first wrong one, 0..=15.
        at: u8,
    },
    /// The frame is that of the other role: two initiators, or two responders (U20).
    #[error("the peer sent a {got} where the other startup frame was due: both ends have one role")]
    Role {
        /// What came.
        got: FrameKind,
    },
    /// The revision is none we can interoperate with (U09, G11, E23).
    #[error("the peer's MPA revision {got} is not supported")]
    Revision {
        /// The revision in the frame.
        got: u8,
    },
    /// PD_Length is above 512 (U10).
    #[error("the peer announced {len} octets of private data, 512 is the limit")]
    PrivateDataTooLong {
        /// PD_Length of the frame.
        len: u16,
    },
    /// The frame is enhanced but has no room for the enhanced words (G12).
    #[error("an enhanced startup frame needs 4 octets of private data, the peer announced {len}")]
    EnhancedDataMissing {
        /// PD_Length of the frame.
        len: u16,
    },
    /// The Reply's revision is not that of the Request (G11).
    #[error("the peer answered a request of revision {asked} in revision {got}")]
    RevisionMismatch {
        /// The revision of our Request.
        asked: u8,
        /// The revision of its Reply.
        got: u8,
    },
    /// An enhanced Request was answered unenhanced, or the other way round (G12, E21).
    #[error("the peer answered an {} request in the other format", enhanced_word(*.asked))]
    EnhancedMismatch {
        /// Whether our Request was enhanced.
        asked: bool,
    },
    /// More octets came than PD_Length said, where no FPDU could have been sent yet (U21, G13).
    ///
    /// Raised by the owner of the stream: a [`StartupReader`](crate::StartupReader) leaves such octets alone.
    #[error("the peer sent more than the startup frame it announced")]
    TrailingOctets,
    /// The stream ended inside a startup frame.
    #[error("the connection ended inside a startup frame")]
    Truncated,
}

fn enhanced_word(enhanced: bool) -> &'static str {
    if enhanced { "enhanced" } else { "unenhanced" }
}

impl StartupError {
    /// The code to report locally. It is never sent: there is no stream yet to send it on.
    #[must_use]
    pub const fn code(self) -> LlpErrorCode {
        match self {
            Self::Truncated => LlpErrorCode::ConnectionLost,
            _ => LlpErrorCode::StartupFrame,
        }
    }
}

/// The incoming stream of FPDUs is broken; nothing after this point is passed up (RFC 5044 s8, F37).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FpduError {
    /// The CRC does not match (F25).
    #[error("the CRC of an FPDU is wrong")]
    Crc,
    /// A marker does not point at the start of its FPDU (F35).
    #[error("a marker disagrees with ULPDU_Length on where the FPDU starts")]
    Marker,
    /// ULPDU_Length is above 64768 in a stream with markers, which could not point so far (F04, G2).
    #[error("ULPDU_Length is above {MULPDU_MAX}, further than markers can point")]
    TooLong,
    /// The stream ended inside an FPDU.
    #[error("the connection ended inside an FPDU")]
    Truncated,
}

impl FpduError {
    /// The code to report, and to put in a Terminate message where one can still be sent. MPA has none
    /// for an oversized ULPDU (G2).
    #[must_use]
    pub const fn code(self) -> Option<LlpErrorCode> {
        match self {
            Self::Crc => Some(LlpErrorCode::Crc),
            Self::Marker => Some(LlpErrorCode::Marker),
            Self::TooLong => None,
            Self::Truncated => Some(LlpErrorCode::ConnectionLost),
        }
    }
}

/// A startup frame that we may not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// Too much private data: 512 octets, or 508 in an enhanced frame (U10, E05).
    #[error("{len} octets of private data are more than the {max} there is room for")]
    PrivateDataTooLong {
        /// Octets given.
        len: usize,
        /// Octets possible.
        max: usize,
    },
    /// An enhanced frame whose private data does not begin with the enhanced words (E04).
    #[error("an enhanced frame begins its private data with 4 octets of its own")]
    EnhancedDataMissing,
    /// An enhanced frame of a revision below 2 (E02).
    #[error("revision {revision} has no enhanced frames")]
    EnhancedRevision {
        /// The revision given.
        revision: u8,
    },
    /// An IRD or ORD that 14 bits cannot carry, or the reserved 0x3FFF (E04, T14).
    #[error("an IRD or ORD of {depth} is above 16382")]
    Depth {
        /// The value given.
        depth: u16,
    },
    /// Revision 2 without any ready-to-receive indication that could be used (E14, E15).
    #[error("revision 2 needs at least one usable ready-to-receive indication")]
    NoRtr,
}

/// A ULPDU that cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A ULPDU has at least one octet (RFC 5044 s3, F04).
    #[error("a ULPDU has at least one octet")]
    Empty,
    /// A ULPDU has at most 64768 octets (RFC 5044 s3, F04).
    #[error("a ULPDU of {len} octets is above the limit of {MULPDU_MAX}")]
    TooLong {
        /// Octets of header and payload together.
        len: usize,
    },
    /// The payload range ends before it begins.
    #[error("the payload range ends before it begins")]
    PayloadRange,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_code_of_the_registry() {
        for (error, code) in [
            (FpduError::Truncated, Some(1)),
            (FpduError::Crc, Some(2)),
            (FpduError::Marker, Some(3)),
            (FpduError::TooLong, None),
        ] {
            assert_eq!(error.code().map(LlpErrorCode::code), code, "{error}");
        }
        let got = FrameKind::Request;
        for (error, code) in [
            (StartupError::Truncated, 1),
            (StartupError::Key { at: 3 }, 4),
            (StartupError::Role { got }, 4),
            (StartupError::Revision { got: 9 }, 4),
            (StartupError::PrivateDataTooLong { len: 513 }, 4),
            (StartupError::TrailingOctets, 4),
        ] {
            assert_eq!(error.code().code(), code, "{error}");
        }
        assert_eq!(LlpErrorCode::InsufficientIrd.code(), 6);
        assert_eq!(LlpErrorCode::NoMatchingRtr.code(), 7);
    }

    #[test]
    fn messages_say_what_happened() {
        assert_eq!(
            StartupError::EnhancedMismatch { asked: true }.to_string(),
            "the peer answered an enhanced request in the other format"
        );
        assert_eq!(
            StartupError::Role {
                got: FrameKind::Request
            }
            .to_string(),
            "the peer sent a Request where the other startup frame was due: both ends have one role"
        );
    }
}

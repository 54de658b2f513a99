//! The Request and Reply frames that open a connection (RFC 5044 s7.1.1, RFC 6581 s6).
//!
//! ```text
//!    octet 0                                                      16      17       18        20
//!   +------------------------------------------------------------+-------+--------+---------+---------
//!   | Key: "MPA ID Req Frame" or "MPA ID Rep Frame"              |MCRS...|  Rev   |PD_Length| Private
//!   +------------------------------------------------------------+-------+--------+---------+ Data ...
//!
//!    M 0x80  markers wanted by the sender of the frame, in what it receives
//!    C 0x40  CRC wanted; one wish is enough for both directions
//!    R 0x20  in a Reply: the connection is rejected
//!    S 0x10  revision 2: Private Data begins with 4 octets of IRD, ORD and flags
//!    .. 0x0F reserved: sent as 0 and not checked
//! ```
//!
//! This module is about octets: a [`Frame`] and how it is written and read. What the two ends make of the
//! frames is in [`negotiate`](crate::negotiate). Frames have no CRC, no markers and no padding.

mod enhanced;
mod reader;

pub use enhanced::{Enhanced, MAX_DEPTH, NO_NEGOTIATION, Rtr, RtrSet};
pub use reader::{Progress, StartupReader};

use crate::error::LocalError;
use std::fmt;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets of a frame before its private data.
pub const HEADER_LEN: usize = 20;

/// Octets of a frame's key.
pub const KEY_LEN: usize = 16;

/// The most private data a user may send in an unenhanced frame, and the most PD_Length may say
/// (RFC 5044 s7.1.1, U10). Octets.
pub const MAX_PRIVATE_DATA: usize = 512;

/// The most private data a user may send in an enhanced frame (RFC 6581 s9, E05). Octets.
pub const MAX_PRIVATE_DATA_ENHANCED: usize = MAX_PRIVATE_DATA - Enhanced::LEN;

/// The most octets a startup frame can have.
pub const MAX_FRAME_LEN: usize = HEADER_LEN + MAX_PRIVATE_DATA;

/// Which of the two startup frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// From the initiator.
    Request,
    /// From the responder.
    Reply,
}

impl FrameKind {
    /// The key that opens such a frame (U04, U05).
    #[must_use]
    pub const fn key(self) -> &'static [u8; KEY_LEN] {
        match self {
            Self::Request => b"MPA ID Req Frame",
            Self::Reply => b"MPA ID Rep Frame",
        }
    }

    /// The frame the other role sends.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Request => Self::Reply,
            Self::Reply => Self::Request,
        }
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "Request",
            Self::Reply => "Reply",
        })
    }
}

/// Whether a stream that begins with `prefix` begins with an MPA Request.
///
/// `None` as long as both are possible; decided at the first wrong octet, or when the whole key is there. For a
/// listener that serves MPA and something else on one port.
///
/// ```
/// use uwarp_mpa::looks_like_request;
/// assert_eq!(looks_like_request(b"MPA ID Req Frame\x40\x01"), Some(true));
/// assert_eq!(looks_like_request(b"MPA"), None);
/// assert_eq!(looks_like_request(b"GET / HTTP/1.1\r\n"), Some(false));
/// ```
#[must_use]
pub fn looks_like_request(prefix: &[u8]) -> Option<bool> {
    let key = FrameKind::Request.key();
    match prefix.iter().zip(key).all(|(got, due)| got == due) {
        false => Some(false),
        true if prefix.len() >= key.len() => Some(true),
        true => None,
    }
}

/// A startup frame.
///
/// ```
/// use uwarp_mpa::{Frame, FrameKind, Progress, StartupReader};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let frame = Frame {
///     kind: FrameKind::Request,
///     markers: false,
///     crc: true,
///     rejected: false,
///     enhanced: false,
///     revision: 1,
///     private_data: b"hello".to_vec(),
/// };
/// let wire = frame.encode()?;
/// assert_eq!(&wire[16..], b"\x40\x01\x00\x05hello");
///
/// let read = StartupReader::new(FrameKind::Request).read(&wire)?;
/// assert_eq!(read, Progress::Frame { frame, consumed: 25 });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Request or Reply.
    pub kind: FrameKind,
    /// M: the sender wants markers in what it receives (U06).
    pub markers: bool,
    /// C: the sender wants CRC (U07).
    pub crc: bool,
    /// R: the responder declines (U13). Always false in a Request, where the bit means nothing.
    pub rejected: bool,
    /// S: the private data begins with an [`Enhanced`] (E04).
    pub enhanced: bool,
    /// Rev: 1 for RFC 5044, 2 for RFC 6581 (U09, E02).
    pub revision: u8,
    /// Private data as on the wire: the four enhanced octets first if there are any. At most 512.
    pub private_data: Vec<u8>,
}

impl Frame {
    /// The frame as it is sent.
    ///
    /// # Errors
    /// If there is too much private data, or the frame is enhanced and has no room or no right to be
    /// (U10, E02, E04).
    pub fn encode(&self) -> Result<Vec<u8>, LocalError> {
        let len = self.private_data.len();
        let pd_length = match u16::try_from(len) {
            Ok(short) if len <= MAX_PRIVATE_DATA => short,
            _ => {
                return Err(LocalError::PrivateDataTooLong {
                    len,
                    max: MAX_PRIVATE_DATA,
                });
            }
        };
        if self.enhanced && self.revision < 2 {
            return Err(LocalError::EnhancedRevision {
                revision: self.revision,
            });
        }
        if self.enhanced && len < Enhanced::LEN {
            return Err(LocalError::EnhancedDataMissing);
        }
        let header = Header {
            key: *self.kind.key(),
            flags: Flags::of(self),
            revision: self.revision,
            pd_length: pd_length.into(),
        };
        Ok([header.as_bytes(), &self.private_data].concat())
    }

    /// The enhanced words, if the frame has them.
    #[must_use]
    pub fn enhanced_data(&self) -> Option<Enhanced> {
        let words = self.private_data.first_chunk().filter(|_| self.enhanced)?;
        Some(Enhanced::decode(*words))
    }

    /// The private data without the enhanced words: what the user of the other end sent.
    #[must_use]
    pub fn user_data(&self) -> &[u8] {
        let skip = if self.enhanced { Enhanced::LEN } else { 0 };
        self.private_data.get(skip..).unwrap_or_default()
    }
}

/// The first 20 octets of a frame; see the figure at the top of this module.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    key: [u8; KEY_LEN],
    flags: Flags,
    revision: u8,
    pd_length: U16,
}

/// Octet 16 of a frame.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
struct Flags(u8);

impl Flags {
    const M: u8 = 0x80;
    const C: u8 = 0x40;
    const R: u8 = 0x20;
    const S: u8 = 0x10;

    fn of(frame: &Frame) -> Self {
        let rejected = frame.rejected && frame.kind == FrameKind::Reply;
        let bits = [
            (frame.markers, Self::M),
            (frame.crc, Self::C),
            (rejected, Self::R),
            (frame.enhanced, Self::S),
        ];
        Self(
            bits.into_iter()
                .filter(|(set, _)| *set)
                .map(|(_, bit)| bit)
                .sum(),
        )
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Frame {
        Frame {
            kind: FrameKind::Request,
            markers: false,
            crc: true,
            rejected: false,
            enhanced: false,
            revision: 1,
            private_data: Vec::new(),
        }
    }

    #[test]
    fn every_flag_has_its_bit() {
        type Set = fn(&mut Frame);
        let table: [(Set, u8); 5] = [
            (|_| (), 0x00),
            (|frame| frame.markers = true, 0x80),
            (|frame| frame.crc = true, 0x40),
            (|frame| frame.rejected = true, 0x20),
            (|frame| frame.enhanced = true, 0x10),
        ];
        for (set, bit) in table {
            let mut frame = Frame {
                kind: FrameKind::Reply,
                crc: false,
                revision: 2,
                private_data: vec![0; 4],
                ..request()
            };
            set(&mut frame);
            assert_eq!(frame.encode().unwrap()[16], bit);
        }
    }

    #[test]
    fn a_request_is_never_a_rejection() {
        let frame = Frame {
            rejected: true,
            ..request()
        };
        assert_eq!(frame.encode().unwrap()[16], 0x40);
    }

    #[test]
    fn frames_that_may_not_be_sent() {
        let table = [
            (
                Frame {
                    private_data: vec![0; 513],
                    ..request()
                },
                LocalError::PrivateDataTooLong { len: 513, max: 512 },
            ),
            (
                Frame {
                    private_data: vec![0; 70_000],
                    ..request()
                },
                LocalError::PrivateDataTooLong {
                    len: 70_000,
                    max: 512,
                },
            ),
            (
                Frame {
                    enhanced: true,
                    private_data: vec![0; 4],
                    ..request()
                },
                LocalError::EnhancedRevision { revision: 1 },
            ),
            (
                Frame {
                    enhanced: true,
                    revision: 2,
                    private_data: vec![0; 3],
                    ..request()
                },
                LocalError::EnhancedDataMissing,
            ),
        ];
        for (frame, error) in table {
            assert_eq!(frame.encode(), Err(error));
        }
        let largest = Frame {
            private_data: vec![7; 512],
            ..request()
        };
        assert_eq!(largest.encode().unwrap().len(), MAX_FRAME_LEN);
    }

    #[test]
    fn a_listener_decides_at_the_first_wrong_octet() {
        let key = FrameKind::Request.key();
        for len in 0..KEY_LEN {
            assert_eq!(looks_like_request(&key[..len]), None);
            let mut wrong = key[..=len].to_vec();
            wrong[len] ^= 0x20;
            assert_eq!(looks_like_request(&wrong), Some(false));
        }
        assert_eq!(looks_like_request(key), Some(true));
        assert_eq!(looks_like_request(FrameKind::Reply.key()), Some(false));
    }
}

//! The header in front of every DDP segment (RFC 5041 s4, D17).
//!
//! There are two of them. A *tagged* segment names a buffer of the receiver and an offset in it; an
//! *untagged* one names a queue of the receiver's and a message on it. What the octets behind the
//! header are, and whether the header may be obeyed, is decided elsewhere.

use thiserror::Error;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::stag::Stag;

/// Octets of a tagged segment's header.
pub const TAGGED_LEN: usize = 14;

/// Octets of an untagged segment's header, the longer of the two.
pub const UNTAGGED_LEN: usize = 18;

/// The first octet of every segment (RFC 5041 s4.1, D06, D07, D09, D10).
///
/// ```text
///    0x80   0x40   0x20 .. 0x04   0x02  0x01
///  +------+------+--------------+------------+
///  |  T   |  L   |   reserved   |  version   |
///  +------+------+--------------+------------+
/// ```
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Control(pub u8);

impl Control {
    /// T: the segment is tagged.
    pub const TAGGED: u8 = 0x80;
    /// L: the segment is the last of its message.
    pub const LAST: u8 = 0x40;
    /// DV: the bits that hold the version.
    pub const VERSION_MASK: u8 = 0x03;
    /// The version spoken here.
    pub const VERSION: u8 = 1;

    /// A control octet of our version, its reserved bits 0.
    #[must_use]
    pub const fn new(tagged: bool, last: bool) -> Self {
        let t = if tagged { Self::TAGGED } else { 0 };
        let l = if last { Self::LAST } else { 0 };
        Self(t | l | Self::VERSION)
    }

    /// Whether the segment is tagged.
    #[must_use]
    pub const fn is_tagged(self) -> bool {
        self.0 & Self::TAGGED != 0
    }

    /// Whether the segment is the last of its message.
    #[must_use]
    pub const fn is_last(self) -> bool {
        self.0 & Self::LAST != 0
    }

    /// The version, 0..=3.
    #[must_use]
    pub const fn version(self) -> u8 {
        self.0 & Self::VERSION_MASK
    }

    /// Octets of the header that begins with this octet.
    #[must_use]
    pub const fn header_len(self) -> usize {
        if self.is_tagged() {
            TAGGED_LEN
        } else {
            UNTAGGED_LEN
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Control({:#04x})", self.0)
    }
}

/// A tagged header as it stands on the wire (RFC 5041 s4.2, D11, D12).
///
/// ```text
///   octet  0          1          2 ..  5       6 .. 13
///        +----------+----------+-------------+-----------------------+
///        | control  | RsvdULP  |    STag     |          TO           |
///        +----------+----------+-------------+-----------------------+
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TaggedWire {
    control: Control,
    ulp: u8,
    stag: U32,
    to: U64,
}

/// An untagged header as it stands on the wire (RFC 5041 s4.3, D13 to D16).
///
/// ```text
///   octet  0          1          2 ..  5        6 ..  9       10 .. 13      14 .. 17
///        +----------+----------+-------------+-------------+-------------+-------------+
///        | control  |       RsvdULP          |     QN      |     MSN     |     MO      |
///        +----------+----------+-------------+-------------+-------------+-------------+
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct UntaggedWire {
    control: Control,
    ulp: u8,
    ulp_word: U32,
    qn: U32,
    msn: U32,
    mo: U32,
}

const _: () = assert!(size_of::<TaggedWire>() == TAGGED_LEN);
const _: () = assert!(size_of::<UntaggedWire>() == UNTAGGED_LEN);

/// What a tagged header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tagged {
    /// Whether this is the last segment of its message (L).
    pub last: bool,
    /// The octet that belongs to the layer above (RsvdULP).
    pub ulp: u8,
    /// The receiver's buffer. Means nothing if the segment has no payload (s5.2, D21).
    pub stag: Stag,
    /// Tagged offset of the first octet of payload. Means nothing if there is none.
    pub to: u64,
}

/// What an untagged header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Untagged {
    /// Whether this is the last segment of its message (L).
    pub last: bool,
    /// The first of five octets that belong to the layer above (RsvdULP bits 0 to 7).
    pub ulp: u8,
    /// The other four of them (RsvdULP bits 8 to 39).
    pub ulp_word: u32,
    /// Queue number: which of the receiver's queues the message is for.
    pub qn: u32,
    /// Message sequence number on that queue; the first is 1, after 0xFFFFFFFF comes 0 (D15).
    pub msn: u32,
    /// Message offset of the first octet of payload, in octets.
    pub mo: u32,
}

/// The header of a segment, in a form that is easy to work with.
///
/// ```
/// use uwarp_ddp::{Header, Untagged};
///
/// # fn main() -> Result<(), uwarp_ddp::HeaderError> {
/// // An empty Send, the first one on queue 0.
/// let wire = [0x41, 0x43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
/// let (header, header_len) = Header::parse(&wire, wire.len())?;
/// assert_eq!(header_len, 18);
/// let expected = Untagged { last: true, ulp: 0x43, ulp_word: 0, qn: 0, msn: 1, mo: 0 };
/// assert_eq!(header, Header::Untagged(expected));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Header {
    /// The segment goes to a buffer that it names (T = 1).
    Tagged(Tagged),
    /// The segment goes to a buffer of the receiver's choice (T = 0).
    Untagged(Untagged),
}

impl Header {
    /// Reads the header at the beginning of a ULPDU of `ulpdu_len` octets, and tells how many
    /// octets it takes. What is behind them is payload.
    ///
    /// `ulpdu_prefix` need not be the whole ULPDU: its first [`UNTAGGED_LEN`] octets (or all, if
    /// there are fewer) are enough. Reserved bits are not looked at (RFC 5041 s4.1, D09).
    ///
    /// # Errors
    /// * [`HeaderError::Short`] when the ULPDU, or the part of it that was given, does not hold a
    ///   header.
    /// * [`HeaderError::Version`] when it does but is not of version 1 (s4.1, D10). The octets of
    ///   that header are what [`Header::octets`] tells.
    pub fn parse(ulpdu_prefix: &[u8], ulpdu_len: usize) -> Result<(Self, usize), HeaderError> {
        let prefix = &ulpdu_prefix[..ulpdu_prefix.len().min(ulpdu_len)];
        let octets = Self::octets(prefix).ok_or(HeaderError::Short)?;
        let control = Control(octets[0]);
        let tagged = control.is_tagged();
        if control.version() != Control::VERSION {
            return Err(HeaderError::Version { tagged });
        }
        let header = if tagged {
            Self::read_tagged(octets)
        } else {
            Self::read_untagged(octets)
        };
        header
            .map(|header| (header, octets.len()))
            .ok_or(HeaderError::Short)
    }

    /// The octets of the header at the beginning of a ULPDU, 14 or 18 as its own T bit says,
    /// whatever its version: what a Terminate message quotes (RFC 5040 s4.8). `None` if there are
    /// too few.
    #[must_use]
    pub fn octets(ulpdu_prefix: &[u8]) -> Option<&[u8]> {
        let control = Control(*ulpdu_prefix.first()?);
        ulpdu_prefix.get(..control.header_len())
    }

    fn read_tagged(octets: &[u8]) -> Option<Self> {
        let wire = TaggedWire::ref_from_bytes(octets).ok()?;
        Some(Self::Tagged(Tagged {
            last: wire.control.is_last(),
            ulp: wire.ulp,
            stag: Stag(wire.stag.get()),
            to: wire.to.get(),
        }))
    }

    fn read_untagged(octets: &[u8]) -> Option<Self> {
        let wire = UntaggedWire::ref_from_bytes(octets).ok()?;
        Some(Self::Untagged(Untagged {
            last: wire.control.is_last(),
            ulp: wire.ulp,
            ulp_word: wire.ulp_word.get(),
            qn: wire.qn.get(),
            msn: wire.msn.get(),
            mo: wire.mo.get(),
        }))
    }

    /// Writes the header to the beginning of `out` and tells how many octets it takes. Reserved
    /// bits are 0 (RFC 5041 s4.1, D09); octets of `out` behind the header stay as they are.
    pub fn encode(&self, out: &mut [u8; UNTAGGED_LEN]) -> usize {
        match self {
            Self::Tagged(header) => {
                let wire = TaggedWire {
                    control: Control::new(true, header.last),
                    ulp: header.ulp,
                    stag: header.stag.0.into(),
                    to: header.to.into(),
                };
                out[..TAGGED_LEN].copy_from_slice(wire.as_bytes());
                TAGGED_LEN
            }
            Self::Untagged(header) => {
                let wire = UntaggedWire {
                    control: Control::new(false, header.last),
                    ulp: header.ulp,
                    ulp_word: header.ulp_word.into(),
                    qn: header.qn.into(),
                    msn: header.msn.into(),
                    mo: header.mo.into(),
                };
                out.copy_from_slice(wire.as_bytes());
                UNTAGGED_LEN
            }
        }
    }

    /// Octets that the header takes on the wire.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        match self {
            Self::Tagged(_) => TAGGED_LEN,
            Self::Untagged(_) => UNTAGGED_LEN,
        }
    }

    /// Whether the segment is the last of its message (RFC 5041 s4.1, D07).
    #[must_use]
    pub const fn is_last(&self) -> bool {
        match self {
            Self::Tagged(header) => header.last,
            Self::Untagged(header) => header.last,
        }
    }

    /// The octet of RsvdULP that both kinds have, where RDMAP keeps its opcode.
    #[must_use]
    pub const fn ulp(&self) -> u8 {
        match self {
            Self::Tagged(header) => header.ulp,
            Self::Untagged(header) => header.ulp,
        }
    }
}

/// A ULPDU does not begin with a header that we can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum HeaderError {
    /// The ULPDU ends before its header does. RFC 5041 has no code for it (G1).
    #[error("the ULPDU is too short for a DDP header")]
    Short,
    /// The version is not 1.
    #[error("DDP version other than 1 in {} segment", if *.tagged { "a tagged" } else { "an untagged" })]
    Version {
        /// Whether the T bit is set, which decides on the code (RFC 5041 s7.2).
        tagged: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_header() -> impl Strategy<Value = Header> {
        prop_oneof![
            any::<(bool, u8, u32, u64)>().prop_map(|(last, ulp, stag, to)| Header::Tagged(
                Tagged {
                    last,
                    ulp,
                    stag: Stag(stag),
                    to
                }
            )),
            any::<(bool, u8, u32, u32, u32, u32)>().prop_map(
                |(last, ulp, ulp_word, qn, msn, mo)| Header::Untagged(Untagged {
                    last,
                    ulp,
                    ulp_word,
                    qn,
                    msn,
                    mo
                })
            ),
        ]
    }

    fn encoded(header: &Header) -> Vec<u8> {
        let mut out = [0xaa; UNTAGGED_LEN];
        let len = header.encode(&mut out);
        assert!(
            out[len..].iter().all(|&octet| octet == 0xaa),
            "wrote behind the header"
        );
        out[..len].to_vec()
    }

    #[test]
    fn a_control_octet_is_shown_as_it_stands_on_the_wire() {
        assert_eq!(format!("{:?}", Control::new(true, true)), "Control(0xc1)");
    }

    /// The wire form and the meaning of headers, written down by hand from the figures.
    #[test]
    fn headers_stand_on_the_wire_as_the_figures_say() {
        let table = [
            (
                "c14011223344aabbccddeeff0102",
                Header::Tagged(Tagged {
                    last: true,
                    ulp: 0x40,
                    stag: Stag(0x1122_3344),
                    to: 0xaabb_ccdd_eeff_0102,
                }),
            ),
            (
                "8142000000000000000000000000",
                Header::Tagged(Tagged {
                    last: false,
                    ulp: 0x42,
                    stag: Stag(0),
                    to: 0,
                }),
            ),
            (
                "4144deadbeef000000000000000100000000",
                Header::Untagged(Untagged {
                    last: true,
                    ulp: 0x44,
                    ulp_word: 0xdead_beef,
                    qn: 0,
                    msn: 1,
                    mo: 0,
                }),
            ),
            (
                "0143010203041112131421222324313233ff",
                Header::Untagged(Untagged {
                    last: false,
                    ulp: 0x43,
                    ulp_word: 0x0102_0304,
                    qn: 0x1112_1314,
                    msn: 0x2122_2324,
                    mo: 0x3132_33ff,
                }),
            ),
        ];
        for (wire, header) in table {
            assert_eq!(hex::encode(encoded(&header)), wire);
            let octets = hex::decode(wire).unwrap();
            assert_eq!(
                Header::parse(&octets, octets.len()),
                Ok((header, octets.len()))
            );
            assert_eq!(header.wire_len(), octets.len());
            assert_eq!(
                (header.ulp(), header.is_last()),
                (octets[1], octets[0] & 0x40 != 0)
            );
        }
    }

    #[test]
    fn other_versions_are_refused_and_still_quotable() {
        for version in [0, 2, 3] {
            for (control, tagged, len) in [(0x80, true, TAGGED_LEN), (0x00, false, UNTAGGED_LEN)] {
                let mut wire = [0x5a; UNTAGGED_LEN + 3];
                wire[0] = control | version;
                assert_eq!(
                    Header::parse(&wire, wire.len()),
                    Err(HeaderError::Version { tagged }),
                    "version {version}"
                );
                assert_eq!(Header::octets(&wire), Some(&wire[..len]));
            }
        }
    }

    #[test]
    fn a_header_that_does_not_fit_is_short_whatever_its_version() {
        for (control, len) in [(0x81, TAGGED_LEN), (0x01, UNTAGGED_LEN), (0x80, TAGGED_LEN)] {
            let wire = [control; 64];
            for ulpdu_len in 0..len {
                assert_eq!(Header::parse(&wire, ulpdu_len), Err(HeaderError::Short));
                assert_eq!(
                    Header::parse(&wire[..ulpdu_len], 64),
                    Err(HeaderError::Short)
                );
                assert_eq!(Header::octets(&wire[..ulpdu_len]), None);
            }
        }
        assert_eq!(
            Header::parse(&[0x81; TAGGED_LEN], TAGGED_LEN).unwrap().1,
            TAGGED_LEN
        );
        assert_eq!(
            Header::parse(&[0x01; UNTAGGED_LEN], usize::MAX).unwrap().1,
            UNTAGGED_LEN
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(header in any_header(), payload in 0usize..100) {
            let wire = encoded(&header);
            prop_assert_eq!(
                Header::parse(&wire, wire.len() + payload),
                Ok((header, wire.len()))
            );
        }

        #[test]
        fn reserved_bits_are_zero_when_sent_and_ignored_when_received(
            header in any_header(),
            reserved in any::<u8>(),
        ) {
            let mut wire = encoded(&header);
            prop_assert_eq!(wire[0] & 0x3c, 0);
            wire[0] |= reserved & 0x3c;
            prop_assert_eq!(Header::parse(&wire, wire.len()).map(|parsed| parsed.0), Ok(header));
        }

        #[test]
        fn any_octets_are_read_or_refused(
            octets in proptest::collection::vec(any::<u8>(), 0..40),
            ulpdu_len in 0usize..70_000,
        ) {
            if let Ok((header, len)) = Header::parse(&octets, ulpdu_len) {
                prop_assert!(len <= octets.len() && len <= ulpdu_len);
                let mut again = octets[..len].to_vec();
                again[0] &= !0x3c;
                prop_assert_eq!(encoded(&header), again);
            }
        }
    }
}

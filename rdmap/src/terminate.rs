//! The Terminate message and its codes (RFC 5040 s4.8).

use uwarp_ddp::{TAGGED_LEN, UNTAGGED_LEN};

use crate::header::READ_REQUEST_LEN;

/// The longest Terminate header: code word, segment length, untagged DDP header, Read Request.
pub const TERMINATE_MAX: usize = 4 + 2 + UNTAGGED_LEN + READ_REQUEST_LEN;

const HAS_LENGTH: u16 = 0x8000;
const HAS_DDP_HEADER: u16 = 0x4000;
const HAS_RDMA_HEADER: u16 = 0x2000;

/// The layer that found the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// RDMAP itself.
    Rdmap,
    /// DDP.
    Ddp,
    /// The lower layer protocol: MPA over TCP.
    Llp,
    /// A layer that no RFC assigns, as a peer sent it.
    Other(u8),
}

impl Layer {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Rdmap,
            1 => Self::Ddp,
            2 => Self::Llp,
            other => Self::Other(other),
        }
    }

    /// The four bits of the Layer field.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Rdmap => 0,
            Self::Ddp => 1,
            Self::Llp => 2,
            Self::Other(bits) => bits & 0x0f,
        }
    }
}

/// Layer, error type and error code, written `layer/etype/code` as in `1/2/02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TerminateCode {
    /// Which layer found the error.
    pub layer: Layer,
    /// Error type within the layer, 0 to 15.
    pub etype: u8,
    /// Error code within the type.
    pub code: u8,
}

impl TerminateCode {
    /// The code for `layer`, `etype` and `code`.
    #[must_use]
    pub const fn new(layer: Layer, etype: u8, code: u8) -> Self {
        Self { layer, etype, code }
    }

    /// What the code means, in the terms of RFC 5040 s4.8, RFC 5041 s7.2, RFC 5044 s8 and
    /// RFC 6581 s8.
    #[must_use]
    pub const fn meaning(&self) -> &'static str {
        match (self.layer.bits(), self.etype, self.code) {
            (0, 0, _) => "local catastrophic error at the peer",
            (0, 1, 0x00) => "invalid STag",
            (0, 1, 0x01) => "base or bounds violation",
            (0, 1, 0x02) => "access rights violation",
            (0, 1, 0x03) => "STag not associated with the RDMAP stream",
            (0, 1, 0x04) => "tagged offset wrap",
            (0, 1 | 2, 0x09) => "STag cannot be invalidated",
            (0, 1, 0xff) => "unspecified remote protection error",
            (0, 2, 0x05) => "invalid RDMAP version",
            (0, 2, 0x06) => "unexpected opcode",
            (0, 2, 0x07) => "catastrophic error, localized to the stream",
            (0, 2, 0x08) => "catastrophic error, global",
            (0, 2, 0xff) => "unspecified remote operation error",
            (1, 0, _) => "DDP local catastrophic error",
            (1, 1, 0x00) => "tagged buffer: invalid STag",
            (1, 1, 0x01) => "tagged buffer: base or bounds violation",
            (1, 1, 0x02) => "tagged buffer: STag not associated with the DDP stream",
            (1, 1, 0x03) => "tagged buffer: tagged offset wrap",
            (1, 1, 0x04) => "tagged buffer: invalid DDP version",
            (1, 2, 0x01) => "untagged buffer: invalid queue number",
            (1, 2, 0x02) => "untagged buffer: no receive buffer available",
            (1, 2, 0x03) => "untagged buffer: message sequence number out of range",
            (1, 2, 0x04) => "untagged buffer: invalid message offset",
            (1, 2, 0x05) => "untagged buffer: message too long for the receive buffer",
            (1, 2, 0x06) => "untagged buffer: invalid DDP version",
            (2, 0, 0x01) => "TCP connection closed, terminated or lost",
            (2, 0, 0x02) => "MPA CRC error",
            (2, 0, 0x03) => "MPA marker and ULPDU length disagree",
            (2, 0, 0x04) => "invalid MPA Request or Reply frame",
            (2, 0, 0x05) => "MPA local catastrophic error",
            (2, 0, 0x06) => "insufficient IRD resources",
            (2, 0, 0x07) => "no matching RTR option",
            _ => "unknown error",
        }
    }
}

impl std::fmt::Display for TerminateCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}/{:02x} ({})",
            self.layer.bits(),
            self.etype,
            self.code,
            self.meaning()
        )
    }
}

/// A copy of the DDP header that a Terminate blames, as it stood on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlamedHeader {
    octets: [u8; UNTAGGED_LEN],
    len: u8,
}

impl BlamedHeader {
    /// The DDP header at the beginning of `ulpdu`; `None` when the segment is too short to hold
    /// one.
    #[must_use]
    pub fn of(ulpdu: &[u8]) -> Option<Self> {
        let len = header_len(*ulpdu.first()?);
        let mut octets = [0; UNTAGGED_LEN];
        octets[..len].copy_from_slice(ulpdu.get(..len)?);
        Some(Self {
            octets,
            len: len as u8,
        })
    }

    /// The header's octets, 14 or 18 of them.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

/// Length of the DDP header that begins with `control`, by its T bit.
const fn header_len(control: u8) -> usize {
    if control & 0x80 != 0 {
        TAGGED_LEN
    } else {
        UNTAGGED_LEN
    }
}

/// A Terminate message (RFC 5040 s4.8, R08).
///
/// ```text
///  0      3 4     7 8            15 16 17 18 19                   31
/// +--------+-------+---------------+--+--+--+-----------------------+
/// | Layer  | EType |  Error Code   |M |D |R |       Reserved        |
/// +--------+-------+---------------+--+--+--+-----------------------+
/// | DDP Segment Length (16), if M or D                              |
/// | Terminated DDP header (14 or 18 octets), if D                   |
/// | Terminated RDMA Read Request header (28 octets), if R           |
/// +-----------------------------------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminate {
    /// What went wrong.
    pub code: TerminateCode,
    /// Length of the offending DDP segment in octets (its ULPDU_Length).
    pub segment_len: Option<u16>,
    /// DDP header of the offending segment.
    pub ddp_header: Option<BlamedHeader>,
    /// The RDMA Read Request at fault; of a partly served one, what was left.
    pub read_request: Option<[u8; READ_REQUEST_LEN]>,
}

impl Terminate {
    /// A Terminate that carries no headers.
    #[must_use]
    pub const fn bare(code: TerminateCode) -> Self {
        Self {
            code,
            segment_len: None,
            ddp_header: None,
            read_request: None,
        }
    }

    /// Writes the message and returns its length.
    pub fn encode(&self, out: &mut [u8; TERMINATE_MAX]) -> usize {
        let mut flags = 0;
        let mut len = 4;
        if let Some(segment_len) = self.segment_len {
            flags |= HAS_LENGTH;
            out[4..6].copy_from_slice(&segment_len.to_be_bytes());
            len = 6;
        }
        if let Some(header) = &self.ddp_header {
            flags |= HAS_DDP_HEADER;
            if self.segment_len.is_none() {
                out[4..6].fill(0);
                len = 6;
            }
            let octets = header.octets();
            out[len..len + octets.len()].copy_from_slice(octets);
            len += octets.len();
        }
        if let Some(request) = &self.read_request {
            flags |= HAS_RDMA_HEADER;
            out[len..len + READ_REQUEST_LEN].copy_from_slice(request);
            len += READ_REQUEST_LEN;
        }
        out[0] = self.code.layer.bits() << 4 | self.code.etype & 0x0f;
        out[1] = self.code.code;
        out[2..4].copy_from_slice(&u16::to_be_bytes(flags));
        len
    }

    /// Reads a Terminate; `None` when it is shorter than its own flags demand.
    ///
    /// Octets behind what the flags announce are ignored (G20). Linux siw writes the first and
    /// third octet with their bits in the wrong order; that form is recognised, since in a
    /// well-formed message the low 13 bits of the word are zero.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let (&[first, code, flags_high, flags_low], rest) = octets.split_first_chunk::<4>()?;
        let swapped = flags_low == 0
            && match flags_high {
                0x01..=0x07 => true,
                // 0/2/01 to 0/2/04 are not assigned, 2/0/01 to 2/0/04 are; nor is 2/1/06, but 1/2/06.
                0 => matches!((first, code), (0x02, 0x01..=0x04) | (0x21, 0x06)),
                _ => false,
            };
        let (layer, etype, flags) = if swapped {
            (first & 0x0f, first >> 4, unswap_flags(flags_high))
        } else {
            (
                first >> 4,
                first & 0x0f,
                u16::from_be_bytes([flags_high, flags_low]),
            )
        };
        let code = TerminateCode::new(Layer::from_bits(layer), etype, code);
        let mut message = Self::bare(code);
        let mut rest = rest;
        if flags & HAS_LENGTH != 0 || flags & HAS_DDP_HEADER != 0 {
            let (&len, tail) = rest.split_first_chunk::<2>()?;
            message.segment_len = (flags & HAS_LENGTH != 0).then_some(u16::from_be_bytes(len));
            rest = tail;
        }
        if flags & HAS_DDP_HEADER != 0 {
            let header = BlamedHeader::of(rest)?;
            rest = &rest[header.octets().len()..];
            message.ddp_header = Some(header);
        }
        if flags & HAS_RDMA_HEADER != 0 {
            message.read_request = Some(*rest.first_chunk::<READ_REQUEST_LEN>()?);
        }
        Some(message)
    }
}

/// The header flags of siw's octet: M, D, R in its low bits, lowest first.
const fn unswap_flags(octet: u8) -> u16 {
    let mut flags = 0;
    if octet & 0x01 != 0 {
        flags |= HAS_LENGTH;
    }
    if octet & 0x02 != 0 {
        flags |= HAS_DDP_HEADER;
    }
    if octet & 0x04 != 0 {
        flags |= HAS_RDMA_HEADER;
    }
    flags
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(message: &Terminate) -> String {
        let mut out = [0; TERMINATE_MAX];
        let len = message.encode(&mut out);
        hex::encode(&out[..len])
    }

    #[test]
    fn crc_error_carries_no_headers() {
        let message = Terminate::bare(TerminateCode::new(Layer::Llp, 0, 2));
        assert_eq!(encode(&message), "20020000");
    }

    #[test]
    fn invalid_stag_of_a_write_carries_its_ddp_header() {
        let blamed = hex::decode("c14000000bad0000000000000040").unwrap();
        let message = Terminate {
            code: TerminateCode::new(Layer::Ddp, 1, 0),
            segment_len: Some(22),
            ddp_header: BlamedHeader::of(&blamed),
            read_request: None,
        };
        assert_eq!(encode(&message), "1100c0000016c14000000bad0000000000000040");
    }

    #[test]
    fn bounds_of_a_read_carry_both_headers() {
        let wire = "0101e000002e41410000000000000001000000010000000011223344000000000000100000001000556677880000000000002000";
        let octets = hex::decode(wire).unwrap();
        let message = Terminate::parse(&octets).unwrap();
        assert_eq!(message.code, TerminateCode::new(Layer::Rdmap, 1, 1));
        assert_eq!(message.segment_len, Some(46));
        assert_eq!(message.ddp_header.unwrap().octets().len(), 18);
        assert_eq!(encode(&message), wire);
    }

    #[test]
    fn the_form_that_siw_sends_is_understood() {
        let message =
            Terminate::parse(&hex::decode("210503000016c14000000bad0000000000000040").unwrap())
                .unwrap();
        assert_eq!(message.code, TerminateCode::new(Layer::Ddp, 2, 5));
        assert_eq!(message.segment_len, Some(22));
        assert!(message.ddp_header.is_some());
    }

    #[test]
    fn a_bare_llp_error_of_siw_is_understood() {
        let message = Terminate::parse(&hex::decode("02020000").unwrap()).unwrap();
        assert_eq!(
            message,
            Terminate::bare(TerminateCode::new(Layer::Llp, 0, 2))
        );
        let message = Terminate::parse(&hex::decode("02060000").unwrap()).unwrap();
        assert_eq!(message.code, TerminateCode::new(Layer::Rdmap, 2, 6));
    }

    /// siw sends no headers where the version is wrong, and so nothing else tells the order of its bits.
    #[test]
    fn a_bare_version_error_of_siw_is_understood() {
        let message = Terminate::parse(&hex::decode("21060000").unwrap()).unwrap();
        assert_eq!(message.code, TerminateCode::new(Layer::Ddp, 2, 6));
        // Both are assigned: an RDMAP version of siw's is taken for what the RFC has there.
        let message = Terminate::parse(&hex::decode("20050000").unwrap()).unwrap();
        assert_eq!(message.code, TerminateCode::new(Layer::Llp, 0, 5));
    }

    #[test]
    fn every_header_of_siw_is_understood() {
        let rest = "002e41410000000000000001000000010000000011223344000000000000100000001000556677880000000000002000";
        let theirs = Terminate::parse(&hex::decode(format!("10010700{rest}")).unwrap()).unwrap();
        let ours = Terminate::parse(&hex::decode(format!("0101e000{rest}")).unwrap()).unwrap();
        assert_eq!(theirs, ours);
    }

    /// M and D stand for themselves, though the length is there if either is set (RFC 5040 s4.8).
    #[test]
    fn a_ddp_header_without_a_length_has_the_lengths_octets() {
        let wire = "110040000000c14000000bad0000000000000040";
        let message = Terminate::parse(&hex::decode(wire).unwrap()).unwrap();
        assert_eq!(message.segment_len, None);
        assert_eq!(message.ddp_header.unwrap().octets().len(), 14);
        assert_eq!(encode(&message), wire);
        let wire = "100080000003";
        let message = Terminate::parse(&hex::decode(wire).unwrap()).unwrap();
        assert_eq!((message.segment_len, message.ddp_header), (Some(3), None));
        assert_eq!(encode(&message), wire);
    }

    /// Layers and types have four bits each; those that no RFC assigns are kept as they came.
    #[test]
    fn all_codes_come_back() {
        for first in 0..=0xff_u8 {
            let octets = [first, 0xab, 0, 0];
            let message = Terminate::parse(&octets).unwrap();
            assert_eq!(message.code.layer.bits(), first >> 4);
            let mut out = [0; TERMINATE_MAX];
            assert_eq!(message.encode(&mut out), 4);
            assert_eq!(out[..4], octets);
        }
        // What has no place in the field does not spill out of it.
        assert_eq!(Layer::Other(0xf3).bits(), 3);
        let code = TerminateCode::new(Layer::Ddp, 0xf2, 2);
        assert_eq!(encode(&Terminate::bare(code)), "12020000");
    }

    /// The codes that RFC 5040 s4.8, RFC 5041 s7.2, RFC 5044 s8 and RFC 6581 s8 assign: layer, type, codes.
    const ASSIGNED: [(Layer, u8, &[u8]); 7] = [
        (Layer::Rdmap, 1, &[0, 1, 2, 3, 4, 9, 0xff]),
        (Layer::Rdmap, 2, &[5, 6, 7, 8, 9, 0xff]),
        (Layer::Ddp, 1, &[0, 1, 2, 3, 4]),
        (Layer::Ddp, 2, &[1, 2, 3, 4, 5, 6]),
        (Layer::Llp, 0, &[1, 2, 3, 4, 5, 6, 7]),
        // Local catastrophic errors have no codes of their own: any will do.
        (Layer::Rdmap, 0, &[0, 7, 0xff]),
        (Layer::Ddp, 0, &[0, 7, 0xff]),
    ];

    #[test]
    fn exactly_the_assigned_codes_have_a_meaning() {
        let unknown = TerminateCode::new(Layer::Other(9), 0, 0).meaning();
        for (layer, etype, codes) in ASSIGNED {
            for code in 0..=0xff {
                let known = codes.contains(&code) || etype == 0 && layer != Layer::Llp;
                let meaning = TerminateCode::new(layer, etype, code).meaning();
                assert_eq!(meaning != unknown, known, "{layer:?} {etype} {code}");
                assert!(meaning.contains(' '), "it is told in words");
            }
        }
        for layer in (0..=0xf).map(Layer::from_bits) {
            for etype in 0..=0xf {
                let listed = ASSIGNED.iter().any(|&(l, e, _)| (l, e) == (layer, etype));
                let meaning = TerminateCode::new(layer, etype, 1).meaning();
                assert!(listed || meaning == unknown, "{layer:?} {etype}");
            }
        }
    }

    #[test]
    fn meanings_tell_codes_apart() {
        let mut seen = std::collections::HashMap::new();
        for (layer, etype, codes) in ASSIGNED {
            for &code in codes {
                let code = TerminateCode::new(layer, etype, code);
                let before = seen.insert(code.meaning(), code);
                // RFC 5040 has this one in two types, and the others have no codes.
                let shared = code.code == 9 || etype == 0 && layer != Layer::Llp;
                assert!(before.is_none() || shared, "{before:?} {code:?}");
            }
        }
    }

    #[test]
    fn a_code_is_shown_as_the_rfcs_write_it_and_in_words() {
        let code = TerminateCode::new(Layer::Ddp, 2, 2);
        let text = code.to_string();
        assert_eq!(text, format!("1/2/02 ({})", code.meaning()));
    }

    #[test]
    fn a_terminate_that_promises_more_than_it_has_is_refused() {
        for wire in [
            "2002",
            "1100c000",
            "1100c0000016",
            "1100c0000016c140",
            "0101e000002e4141",
        ] {
            assert_eq!(
                Terminate::parse(&hex::decode(wire).unwrap()),
                None,
                "{wire}"
            );
        }
    }

    #[test]
    fn octets_behind_the_headers_are_ignored() {
        let message = Terminate::parse(&hex::decode("20020000ffffffff").unwrap());
        assert_eq!(
            message,
            Some(Terminate::bare(TerminateCode::new(Layer::Llp, 0, 2)))
        );
    }

    proptest! {
        #[test]
        fn parse_never_panics(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Terminate::parse(&octets);
        }
    }
}

//! The RDMAP control octet and the headers that follow a DDP header (RFC 5040 s4).

use uwarp_ddp::{Header, Stag, UNTAGGED_LEN, Untagged};
use zerocopy::byteorder::network_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Queue of Sends and Immediate Data.
pub const QN_SEND: u32 = 0;
/// Queue of RDMA Read Requests and Atomic Requests.
pub const QN_READ_REQUEST: u32 = 1;
/// Queue of Terminate messages.
pub const QN_TERMINATE: u32 = 2;
/// Queue of Atomic Responses (RFC 7306 s5.2.2).
pub const QN_ATOMIC_RESPONSE: u32 = 3;
/// Octets of Immediate Data (RFC 7306 s6).
pub const IMMEDIATE_LEN: usize = 8;
/// Octets of an RDMA Read Request header.
pub const READ_REQUEST_LEN: usize = 28;
/// The RDMAP version of RFC 5040 (R04).
pub const VERSION: u8 = 1;

/// The operation code, low four bits of the control octet (RFC 5040 s4.1; RFC 7306 s4.1).
///
/// Open: a code that this crate does not know is still a value, so that it can be reported.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opcode(u8);

impl Opcode {
    /// RDMA Write, tagged.
    pub const WRITE: Self = Self(0x0);
    /// RDMA Read Request, untagged on queue 1.
    pub const READ_REQUEST: Self = Self(0x1);
    /// RDMA Read Response, tagged.
    pub const READ_RESPONSE: Self = Self(0x2);
    /// Send, untagged on queue 0.
    pub const SEND: Self = Self(0x3);
    /// Send with Invalidate.
    pub const SEND_INVALIDATE: Self = Self(0x4);
    /// Send with Solicited Event.
    pub const SEND_SOLICITED: Self = Self(0x5);
    /// Send with Solicited Event and Invalidate.
    pub const SEND_SOLICITED_INVALIDATE: Self = Self(0x6);
    /// Terminate, untagged on queue 2.
    pub const TERMINATE: Self = Self(0x7);

    /// Immediate Data, untagged on queue 0 (RFC 7306 s6).
    pub const IMMEDIATE: Self = Self(0x8);
    /// Immediate Data with Solicited Event.
    pub const IMMEDIATE_SOLICITED: Self = Self(0x9);
    /// Atomic Request, untagged on queue 1 (RFC 7306 s5.2).
    pub const ATOMIC_REQUEST: Self = Self(0xa);
    /// Atomic Response, untagged on queue 3.
    pub const ATOMIC_RESPONSE: Self = Self(0xb);

    /// The Send opcode with these two properties.
    #[must_use]
    pub const fn send(solicited: bool, invalidate: bool) -> Self {
        match (solicited, invalidate) {
            (false, false) => Self::SEND,
            (false, true) => Self::SEND_INVALIDATE,
            (true, false) => Self::SEND_SOLICITED,
            (true, true) => Self::SEND_SOLICITED_INVALIDATE,
        }
    }

    /// The four bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether this is one of the four Sends.
    #[must_use]
    pub const fn is_send(self) -> bool {
        self.0 >= 0x3 && self.0 <= 0x6
    }

    /// Whether this is one of the two Immediate Data messages.
    #[must_use]
    pub const fn is_immediate(self) -> bool {
        matches!(self, Self::IMMEDIATE | Self::IMMEDIATE_SOLICITED)
    }

    /// Whether this Send or Immediate Data asks for an event.
    #[must_use]
    pub const fn is_solicited(self) -> bool {
        matches!(
            self,
            Self::SEND_SOLICITED | Self::SEND_SOLICITED_INVALIDATE | Self::IMMEDIATE_SOLICITED
        )
    }

    /// Whether this Send invalidates an STag.
    #[must_use]
    pub const fn invalidates(self) -> bool {
        matches!(
            self,
            Self::SEND_INVALIDATE | Self::SEND_SOLICITED_INVALIDATE
        )
    }
}

impl std::fmt::Debug for Opcode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match *self {
            Self::WRITE => "Write",
            Self::READ_REQUEST => "ReadRequest",
            Self::READ_RESPONSE => "ReadResponse",
            Self::SEND => "Send",
            Self::SEND_INVALIDATE => "SendInvalidate",
            Self::SEND_SOLICITED => "SendSolicited",
            Self::SEND_SOLICITED_INVALIDATE => "SendSolicitedInvalidate",
            Self::TERMINATE => "Terminate",
            Self::IMMEDIATE => "Immediate",
            Self::IMMEDIATE_SOLICITED => "ImmediateSolicited",
            Self::ATOMIC_REQUEST => "AtomicRequest",
            Self::ATOMIC_RESPONSE => "AtomicResponse",
            Self(other) => return write!(f, "Opcode({other:#x})"),
        };
        f.write_str(name)
    }
}

/// The RDMAP control octet, carried as DDP's first RsvdULP octet (RFC 5040 s4.1, R02).
///
/// ```text
///   0   1   2   3   4   5   6   7
/// +---+---+---+---+---+---+---+---+
/// |  RV   |  Rsv  |    Opcode     |
/// +---+---+---+---+---+---+---+---+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control(pub u8);

impl Control {
    /// The octet that we send for `opcode`: version 1, reserved bits zero.
    #[must_use]
    pub const fn new(opcode: Opcode) -> Self {
        Self(VERSION << 6 | opcode.0)
    }

    /// The RDMAP version, 0 to 3.
    #[must_use]
    pub const fn version(self) -> u8 {
        self.0 >> 6
    }

    /// The operation code; the reserved bits are not looked at.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        Opcode(self.0 & 0x0f)
    }
}

/// What an RDMA Read Request asks for (RFC 5040 s4.4).
///
/// ```text
/// +---------------------------------------+
/// | Data Sink STag                (4)     |
/// | Data Sink Tagged Offset       (8)     |
/// | RDMA Read Message Size        (4)     |
/// | Data Source STag              (4)     |
/// | Data Source Tagged Offset     (8)     |
/// +---------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Where the requester wants the data: its STag, not interpreted by the responder.
    pub sink_stag: Stag,
    /// Tagged offset of the first octet at the requester.
    pub sink_to: u64,
    /// Octets to read.
    pub size: u32,
    /// The responder's STag to read from.
    pub source_stag: Stag,
    /// Tagged offset of the first octet at the responder.
    pub source_to: u64,
}

/// The DDP header of the Read or Atomic Request with this MSN, as it came: for a Terminate that blames
/// a Request after its segment has gone.
#[must_use]
pub fn request_ddp_header(opcode: Opcode, msn: u32) -> [u8; UNTAGGED_LEN] {
    let header = Header::Untagged(Untagged {
        last: true,
        ulp: Control::new(opcode).0,
        ulp_word: 0,
        qn: QN_READ_REQUEST,
        msn,
        mo: 0,
    });
    let mut octets = [0; UNTAGGED_LEN];
    header.encode(&mut octets);
    octets
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReadRequestWire {
    sink_stag: U32,
    sink_to: U64,
    size: U32,
    source_stag: U32,
    source_to: U64,
}

impl ReadRequest {
    /// Reads the header; `None` unless `octets` has exactly [`READ_REQUEST_LEN`] octets.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let wire = ReadRequestWire::ref_from_bytes(octets).ok()?;
        Some(Self {
            sink_stag: Stag(wire.sink_stag.get()),
            sink_to: wire.sink_to.get(),
            size: wire.size.get(),
            source_stag: Stag(wire.source_stag.get()),
            source_to: wire.source_to.get(),
        })
    }

    /// The header as it goes on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; READ_REQUEST_LEN] {
        let wire = ReadRequestWire {
            sink_stag: U32::new(self.sink_stag.0),
            sink_to: U64::new(self.sink_to),
            size: U32::new(self.size),
            source_stag: U32::new(self.source_stag.0),
            source_to: U64::new(self.source_to),
        };
        let mut out = [0; READ_REQUEST_LEN];
        out.copy_from_slice(wire.as_bytes());
        out
    }

    /// The request that would fetch what is left after `done` octets (RFC 5040 s4.8).
    #[must_use]
    pub const fn remainder(&self, done: u32) -> Self {
        Self {
            sink_stag: self.sink_stag,
            sink_to: self.sink_to.wrapping_add(done as u64),
            size: self.size.saturating_sub(done),
            source_stag: self.source_stag,
            source_to: self.source_to.wrapping_add(done as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_octets_of_every_opcode() {
        let octets: Vec<u8> = (0..12).map(|bits| Control::new(Opcode(bits)).0).collect();
        assert_eq!(
            octets,
            [
                0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b
            ]
        );
    }

    /// What a Terminate quotes of a Request whose segment has gone: T is 0, L is 1, queue 1, offset 0.
    #[test]
    fn the_header_of_a_request_can_be_quoted_later() {
        let quoted = |opcode| hex::encode(request_ddp_header(opcode, 0x0102_0304));
        assert_eq!(
            quoted(Opcode::READ_REQUEST),
            "414100000000000000010102030400000000"
        );
        assert_eq!(
            quoted(Opcode::ATOMIC_REQUEST),
            "414a00000000000000010102030400000000"
        );
    }

    #[test]
    fn opcodes_are_shown_by_name_or_number() {
        let names: std::collections::HashSet<String> =
            (0..16).map(|bits| format!("{:?}", Opcode(bits))).collect();
        assert_eq!(names.len(), 16);
        assert!(names.contains("SendInvalidate") && names.contains("Opcode(0xc)"));
    }

    #[test]
    fn reserved_bits_of_the_control_octet_are_ignored() {
        let control = Control(0x40 | 0x30 | 0x03);
        assert_eq!(control.version(), 1);
        assert_eq!(control.opcode(), Opcode::SEND);
    }

    #[test]
    fn read_request_matches_the_figure() {
        let request = ReadRequest {
            sink_stag: Stag(0x1122_3344),
            sink_to: 0x1000,
            size: 4096,
            source_stag: Stag(0x5566_7788),
            source_to: 0x2000,
        };
        let wire = request.encode();
        assert_eq!(
            hex::encode(wire),
            "1122334400000000000010000000100055667788".to_owned() + "0000000000002000"
        );
        assert_eq!(ReadRequest::parse(&wire), Some(request));
        assert_eq!(ReadRequest::parse(&wire[..27]), None);
        assert_eq!(ReadRequest::parse(&[0; 29]), None);
    }

    #[test]
    fn a_partly_served_read_is_described_by_what_is_left() {
        let request = ReadRequest {
            sink_stag: Stag(1),
            sink_to: 0x100,
            size: 5000,
            source_stag: Stag(2),
            source_to: 0x9000,
        };
        let rest = request.remainder(2048);
        assert_eq!(
            (rest.sink_to, rest.size, rest.source_to),
            (0x100 + 2048, 2952, 0x9000 + 2048)
        );
    }
}

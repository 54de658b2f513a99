//! What is told about a capture, one record a line; as text and, by serde, as JSON.

use serde::Serialize;

use crate::control::ControlInfo;
use crate::rule::Rule;

/// Which end of a connection sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// The end that sent the MPA Request.
    Initiator,
    /// The end that sent the MPA Reply.
    Responder,
    /// The end whose packet is the first of the connection in the capture; roles are not known.
    First,
    /// The other one.
    Second,
}

impl Sender {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Nanoseconds since 1970, of the packet that brought it to light.
    pub time: u64,
    /// Number of the connection in this capture, from 1.
    pub connection: u32,
    /// Who sent it.
    pub sender: Sender,
    /// Octets of that direction before it, counted from the start of Full Operation; of a startup
    /// frame, from the first octet seen.
    pub position: u64,
    /// The start of the FPDUs was guessed, and so all of this is.
    pub guess: bool,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What a [`Record`] tells of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A connection that is followed from here on.
    Connection {
        /// Address and port of the first end.
        first: String,
        /// Address and port of the other end.
        second: String,
    },
    /// A Request or Reply.
    Frame(FrameInfo),
    /// A whole FPDU.
    Fpdu(FpduInfo),
    /// A message of which the last segment has come.
    Message(MessageInfo),
    /// A rule that the sender has broken.
    Violation {
        /// The requirement's id.
        id: Rule,
        /// What was found.
        detail: String,
    },
    /// Something worth knowing that breaks no rule.
    Note {
        /// What it is.
        text: String,
    },
}

/// A startup frame (RFC 5044 s7.1.1, RFC 6581 s6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameInfo {
    /// `Request` or `Reply`.
    pub frame: String,
    /// Address and port of the end that sent it: who is the initiator, who the responder.
    pub source: String,
    /// Rev.
    pub revision: u8,
    /// M.
    pub markers: bool,
    /// C.
    pub crc: bool,
    /// R.
    pub rejected: bool,
    /// S, in a revision that has it.
    pub enhanced: bool,
    /// The enhanced words, if there are any.
    #[serde(flatten)]
    pub words: Option<WordsInfo>,
    /// PD_Length.
    pub private_data_length: usize,
    /// The private data without the enhanced words, in hexadecimal.
    pub private_data: String,
}

/// The first four octets of an enhanced frame's private data (RFC 6581 s9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WordsInfo {
    /// IRD.
    pub ird: u16,
    /// ORD.
    pub ord: u16,
    /// A: the initiator opens with an RTR.
    pub peer_to_peer: bool,
    /// B: an empty Send may be the RTR.
    pub rtr_send: bool,
    /// C: an empty RDMA Write may be.
    pub rtr_write: bool,
    /// D: an empty RDMA Read may be.
    pub rtr_read: bool,
}

/// Whether the CRC of an FPDU says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrcState {
    /// It is in use, and right. (A wrong one is a violation, F25.)
    Checked,
    /// It is not in use, and its field is 0.
    Absent,
    /// It is not in use, and its field holds something.
    Unused,
}

/// A whole FPDU and the DDP segment in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FpduInfo {
    /// ULPDU_Length.
    pub ulpdu_length: u16,
    /// Octets of the FPDU with markers, padding and CRC.
    pub wire_octets: u32,
    /// Markers in it.
    pub markers: u32,
    /// Octets of padding.
    pub pad: u8,
    /// Whether the CRC was checked.
    pub crc: CrcState,
    /// Its octets were whole, and known to be an FPDU, while octets before it were missing.
    pub early: bool,
    /// The DDP header, if there is one.
    #[serde(flatten)]
    pub header: Option<HeaderInfo>,
    /// Octets behind the DDP header.
    pub payload: u32,
    /// CRC-32C of these octets, to compare placements by.
    pub payload_crc32c: u32,
    /// What the segment says to RDMAP, if it is a control message.
    #[serde(flatten)]
    pub control: Option<ControlInfo>,
}

/// A DDP header and the RDMAP octet in it (RFC 5041 s4, RFC 5040 s4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderInfo {
    /// The operation.
    pub operation: &'static str,
    /// The RDMAP opcode.
    pub opcode: u8,
    /// L.
    pub last: bool,
    /// DV.
    pub ddp_version: u8,
    /// RV.
    pub rdmap_version: u8,
    /// The buffer or queue.
    #[serde(flatten)]
    pub target: TargetInfo,
}

/// Where a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum TargetInfo {
    /// To a buffer that it names.
    Tagged {
        /// The buffer.
        stag: u32,
        /// Tagged offset.
        to: u64,
    },
    /// To a queue.
    Untagged {
        /// RsvdULP bits 8 to 39: the STag that a Send with Invalidate invalidates.
        ulp_word: u32,
        /// Queue number.
        qn: u32,
        /// Message sequence number.
        msn: u32,
        /// Message offset.
        mo: u32,
    },
}

/// A message that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageInfo {
    /// The operation.
    pub operation: &'static str,
    /// Octets of all its segments behind their DDP headers.
    pub octets: u64,
    /// Its segments.
    pub segments: u32,
    /// Where it begins.
    #[serde(flatten)]
    pub target: TargetInfo,
}

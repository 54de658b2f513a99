//! The startup frames: what is wrong with each by itself, with the two together, and what they settle.

use uwarp_mpa::{Enhanced, Frame, FrameKind, NO_NEGOTIATION, StartupError};

use crate::exchange::Terms;
use crate::record::{FrameInfo, WordsInfo};
use crate::rule::{Fault, Rule};

const A_OR_B: u16 = 0x8000;
const B_OR_D: u16 = 0x4000;
const DEPTH: u16 = 0x3fff;

/// The octets of a frame that its decoded form does not keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawFlags(pub(crate) u8);

impl RawFlags {
    const REJECTED: u8 = 0x20;
    const ENHANCED: u8 = 0x10;
    const RESERVED: u8 = 0x0f;
}

/// A frame as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) frame: Frame,
    pub(crate) flags: RawFlags,
}

/// Why a frame was refused, by the rule it breaks.
pub(crate) fn refusal(kind: FrameKind, error: StartupError) -> Fault {
    let rule = match (error, kind) {
        (StartupError::Revision { .. }, _) => Rule::U09,
        (StartupError::PrivateDataTooLong { .. } | StartupError::Truncated, _) => Rule::U10,
        (StartupError::EnhancedDataMissing { .. }, _) => Rule::E04,
        (StartupError::Role { .. }, _) => Rule::U20,
        (_, FrameKind::Request) => Rule::U04,
        (_, FrameKind::Reply) => Rule::U05,
    };
    (rule, error.to_string())
}

/// The first four octets of an enhanced frame's private data, with all their bits.
fn raw_words(frame: &Frame) -> Option<[u16; 2]> {
    let &[i0, i1, o0, o1] = frame
        .private_data
        .first_chunk::<{ Enhanced::LEN }>()
        .filter(|_| frame.enhanced)?;
    Some([u16::from_be_bytes([i0, i1]), u16::from_be_bytes([o0, o1])])
}

fn words(frame: &Frame) -> Option<WordsInfo> {
    raw_words(frame).map(|[inbound, outbound]| WordsInfo {
        ird: inbound & DEPTH,
        ord: outbound & DEPTH,
        peer_to_peer: inbound & A_OR_B != 0,
        rtr_send: inbound & B_OR_D != 0,
        rtr_write: outbound & A_OR_B != 0,
        rtr_read: outbound & B_OR_D != 0,
    })
}

/// What a frame of `source` says.
pub(crate) fn describe(frame: &Frame, source: &str) -> FrameInfo {
    FrameInfo {
        source: source.to_owned(),
        frame: frame.kind.to_string(),
        revision: frame.revision,
        markers: frame.markers,
        crc: frame.crc,
        rejected: frame.rejected,
        enhanced: frame.enhanced,
        words: words(frame),
        private_data_length: frame.private_data.len(),
        private_data: hex::encode(frame.user_data()),
    }
}

/// What is wrong with a frame by itself.
pub(crate) fn check(seen: &Seen, faults: &mut Vec<Fault>) {
    let flags = seen.flags.0;
    if flags & RawFlags::RESERVED != 0 {
        faults.push((Rule::U08, format!("reserved bits are set: {flags:#04x}")));
    }
    if seen.frame.kind == FrameKind::Request && flags & RawFlags::REJECTED != 0 {
        faults.push((Rule::U08, "R is set in a Request".to_owned()));
    }
    if flags & RawFlags::ENHANCED != 0 && seen.frame.revision < 2 {
        let revision = seen.frame.revision;
        faults.push((
            Rule::E02,
            format!("S is set in a frame of revision {revision}"),
        ));
    }
    let stray = words(&seen.frame)
        .filter(|words| !words.peer_to_peer)
        .is_some_and(|words| words.rtr_send || words.rtr_write || words.rtr_read);
    if stray {
        faults.push((Rule::E19, "A is clear, and B, C or D is set".to_owned()));
    }
    let offers_nothing = words(&seen.frame)
        .filter(|words| words.peer_to_peer)
        .is_some_and(|words| !(words.rtr_send || words.rtr_write || words.rtr_read));
    if offers_nothing {
        let rule = match seen.frame.kind {
            FrameKind::Request => Rule::E14,
            FrameKind::Reply => Rule::E17,
        };
        faults.push((rule, "A is set, and none of B, C and D is".to_owned()));
    }
}

/// What is wrong with a Reply, given the Request.
pub(crate) fn check_reply(request: &Frame, reply: &Frame, faults: &mut Vec<Fault>) {
    if request.revision != reply.revision {
        let (asked, got) = (request.revision, reply.revision);
        faults.push((Rule::G11, format!("revision {asked} is answered by {got}")));
    }
    if request.enhanced != reply.enhanced {
        let text = "an enhanced frame is answered by one that is not, or the other way round";
        faults.push((Rule::E21, text.to_owned()));
    }
    let (Some(asked), Some(got)) = (words(request), words(reply)) else {
        return;
    };
    if asked.peer_to_peer != got.peer_to_peer {
        let rule = if asked.peer_to_peer {
            Rule::E16
        } else {
            Rule::E19
        };
        faults.push((rule, "A differs between Request and Reply".to_owned()));
    }
    check_depths(asked, got, reply.rejected, faults);
}

fn check_depths(asked: WordsInfo, got: WordsInfo, rejected: bool, faults: &mut Vec<Fault>) {
    // A rejecting Reply says what it would need (E10).
    let beyond = asked.ird != NO_NEGOTIATION && got.ord != NO_NEGOTIATION && got.ord > asked.ird;
    if beyond && !rejected {
        let (ord, ird) = (got.ord, asked.ird);
        faults.push((
            Rule::E08,
            format!("the Reply's ORD {ord} exceeds the IRD {ird}"),
        ));
    }
    if (asked.ird == NO_NEGOTIATION) != (got.ord == NO_NEGOTIATION) && !rejected {
        let text = format!("IRD {:#x} is answered by ORD {:#x}", asked.ird, got.ord);
        faults.push((Rule::E13, text));
    }
    if (asked.ord == NO_NEGOTIATION) != (got.ird == NO_NEGOTIATION) && !rejected {
        let text = format!("ORD {:#x} is answered by IRD {:#x}", asked.ord, got.ird);
        faults.push((Rule::E13, text));
    }
}

/// What the two frames settle for the exchange.
pub(crate) fn terms(request: &Frame, reply: &Frame) -> Terms {
    let (Some(asked), Some(got)) = (words(request), words(reply)) else {
        return Terms::default();
    };
    let depth = |taken: u16, issued: u16| {
        [taken, issued]
            .into_iter()
            .filter(|&depth| depth != NO_NEGOTIATION)
            .min()
    };
    let mut initiator = depth(got.ird, asked.ord);
    let peer_to_peer = asked.peer_to_peer && got.peer_to_peer;
    // A zero-length Read as RTR takes a place even where the user wants none (G16).
    if peer_to_peer && got.rtr_read {
        initiator = initiator.map(|depth| depth.max(1));
    }
    let rtr = [
        asked.rtr_send && got.rtr_send,
        asked.rtr_write && got.rtr_write,
        asked.rtr_read && got.rtr_read,
    ];
    // Where none is common, the initiator has to give up (E18).
    Terms {
        depth: [initiator, depth(asked.ird, got.ord)],
        rtr: peer_to_peer.then_some(rtr),
    }
}

//! The messages that RDMAP reads itself: Read Request, Terminate, atomics and Immediate Data.

use serde::Serialize;
use uwarp_rdmap::atomic::{
    ATOMIC_REQUEST_LEN, ATOMIC_RESPONSE_LEN, AtomicRequest, AtomicRequestError, AtomicResponse,
};
use uwarp_rdmap::header::{IMMEDIATE_LEN, READ_REQUEST_LEN, ReadRequest};
use uwarp_rdmap::terminate::{TERMINATE_MAX, Terminate, TerminateCode};
use uwarp_rdmap::{AtomicOperation, Opcode};

use crate::rule::{Fault, Rule};

/// The longest control message; a Terminate and an Atomic Request have as many octets.
pub(crate) const CONTROL_MAX: usize = TERMINATE_MAX;

const _: () = assert!(CONTROL_MAX >= ATOMIC_REQUEST_LEN);

/// What a control message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum ControlInfo {
    /// RDMA Read Request (RFC 5040 s4.4).
    ReadRequest {
        /// Where the requester wants the octets.
        sink_stag: u32,
        /// Offset there.
        sink_to: u64,
        /// How many.
        size: u32,
        /// Where they are.
        source_stag: u32,
        /// Offset there.
        source_to: u64,
    },
    /// Terminate (RFC 5040 s4.8).
    Terminate {
        /// Layer/EType/Code, as in `1/2/02`.
        code: String,
        /// What the code means.
        meaning: &'static str,
        /// The nibbles and flags are in the order that Linux siw sends them in.
        siw_layout: bool,
        /// DDP Segment Length.
        segment_length: Option<u16>,
        /// The DDP header that is blamed, in hexadecimal.
        ddp_header: Option<String>,
        /// The Read Request that is blamed, in hexadecimal.
        read_request: Option<String>,
    },
    /// Atomic Request (RFC 7306 s5.2.1).
    AtomicRequest {
        /// Request Identifier.
        id: u32,
        /// The buffer.
        remote_stag: u32,
        /// Offset of the word.
        remote_to: u64,
        /// `FetchAdd` or `CmpSwap`.
        atomic: &'static str,
        /// Add Data or Swap Data.
        data: u64,
        /// Add Mask or Swap Mask.
        mask: u64,
        /// Compare Data.
        compare: Option<u64>,
        /// Compare Mask.
        compare_mask: Option<u64>,
    },
    /// Atomic Response (RFC 7306 s5.2.2).
    AtomicResponse {
        /// Original Request Identifier.
        id: u32,
        /// The word before the operation.
        original: u64,
    },
    /// Immediate Data (RFC 7306 s6).
    Immediate {
        /// The octets, in hexadecimal.
        data: String,
    },
}

/// Reads the body of a control message. `None` if this is none.
pub(crate) fn read(
    opcode: Opcode,
    body: &[u8],
    len: usize,
    faults: &mut Vec<Fault>,
) -> Option<ControlInfo> {
    match opcode {
        Opcode::READ_REQUEST => read_request(body, len, faults),
        Opcode::TERMINATE => terminate(body, faults),
        Opcode::ATOMIC_REQUEST => atomic_request(body, len, faults),
        Opcode::ATOMIC_RESPONSE => atomic_response(body, len, faults),
        Opcode::IMMEDIATE | Opcode::IMMEDIATE_SOLICITED => immediate(body, len, faults),
        _ => None,
    }
}

fn wrong_size(what: &str, len: usize, due: usize) -> String {
    format!("{what} of {len} octets, {due} are due")
}

fn read_request(body: &[u8], len: usize, faults: &mut Vec<Fault>) -> Option<ControlInfo> {
    if len != READ_REQUEST_LEN {
        faults.push((
            Rule::R06,
            wrong_size("a Read Request", len, READ_REQUEST_LEN),
        ));
    }
    let request = ReadRequest::parse(body.get(..READ_REQUEST_LEN)?)?;
    let size = request.size;
    for (end, to) in [("sink", request.sink_to), ("source", request.source_to)] {
        if to.checked_add(size.into()).is_none() {
            let text = format!("{size} octets at {end} TO {to:#x} wrap");
            faults.push((Rule::R42, text));
        }
    }
    Some(ControlInfo::ReadRequest {
        sink_stag: request.sink_stag.0,
        sink_to: request.sink_to,
        size: request.size,
        source_stag: request.source_stag.0,
        source_to: request.source_to,
    })
}

fn atomic_request(body: &[u8], len: usize, faults: &mut Vec<Fault>) -> Option<ControlInfo> {
    const DUE: usize = ATOMIC_REQUEST_LEN;
    if len != DUE {
        faults.push((Rule::X08, wrong_size("an Atomic Request", len, DUE)));
    }
    let request = match AtomicRequest::parse(body.get(..DUE)?) {
        Ok(request) => request,
        Err(AtomicRequestError::Operation(code)) => {
            faults.push((Rule::X09, format!("AOpCode {code:#x} is not defined")));
            return None;
        }
        Err(AtomicRequestError::Length) => return None,
    };
    if body[..4] != u32::from(body[3] & 0x0f).to_be_bytes() {
        let text = "reserved bits of the Atomic Request are set";
        faults.push((Rule::X08, text.to_owned()));
    }
    // Compare Data and Compare Mask of a FetchAdd.
    let unused = body.get(36..DUE).unwrap_or_default();
    if matches!(request.operation, AtomicOperation::FetchAdd { .. })
        && unused != [[0; 8], [0xff; 8]].concat()
    {
        let text = "Compare Data of a FetchAdd is not 0, or its Compare Mask not all ones";
        faults.push((Rule::X08, text.to_owned()));
    }
    let (atomic, data, mask, compare, compare_mask) = match request.operation {
        AtomicOperation::FetchAdd { add, mask } => ("FetchAdd", add, mask, None, None),
        AtomicOperation::CompareSwap {
            compare,
            compare_mask,
            swap,
            swap_mask,
        } => (
            "CmpSwap",
            swap,
            swap_mask,
            Some(compare),
            Some(compare_mask),
        ),
    };
    Some(ControlInfo::AtomicRequest {
        id: request.id,
        remote_stag: request.stag.0,
        remote_to: request.to,
        atomic,
        data,
        mask,
        compare,
        compare_mask,
    })
}

fn atomic_response(body: &[u8], len: usize, faults: &mut Vec<Fault>) -> Option<ControlInfo> {
    const DUE: usize = ATOMIC_RESPONSE_LEN;
    if len != DUE {
        faults.push((Rule::X10, wrong_size("an Atomic Response", len, DUE)));
    }
    let response = AtomicResponse::parse(body.get(..DUE)?)?;
    Some(ControlInfo::AtomicResponse {
        id: response.id,
        original: response.original,
    })
}

fn immediate(body: &[u8], len: usize, faults: &mut Vec<Fault>) -> Option<ControlInfo> {
    if len != IMMEDIATE_LEN {
        faults.push((Rule::X13, wrong_size("Immediate Data", len, IMMEDIATE_LEN)));
    }
    Some(ControlInfo::Immediate {
        data: hex::encode(body.get(..IMMEDIATE_LEN)?),
    })
}

fn terminate(body: &[u8], faults: &mut Vec<Fault>) -> Option<ControlInfo> {
    let Some(message) = Terminate::parse(body) else {
        faults.push((
            Rule::R08,
            "a Terminate ends before its headers do".to_owned(),
        ));
        return None;
    };
    let siw_layout = is_siw_layout(body, &message);
    if siw_layout {
        faults.push((
            Rule::R08,
            "the Terminate word has its nibbles and flags in siw's order".to_owned(),
        ));
    } else if body[2] & 0x1f != 0 || body[3] != 0 {
        faults.push((
            Rule::R08,
            "reserved bits of the Terminate word are set".to_owned(),
        ));
    }
    check_code(message.code, faults);
    check_headers(&message, faults);
    Some(ControlInfo::Terminate {
        code: format!(
            "{}/{}/{:02x}",
            message.code.layer.bits(),
            message.code.etype,
            message.code.code
        ),
        meaning: message.code.meaning(),
        siw_layout,
        segment_length: message.segment_len,
        ddp_header: message
            .ddp_header
            .map(|header| hex::encode(header.octets())),
        read_request: message.read_request.map(hex::encode),
    })
}

/// Whether the code is one of those that RFC 5040 Figure 9, RFC 5041 s7.2, RFC 5044 s8 and RFC 6581 s8 list.
fn check_code(code: TerminateCode, faults: &mut Vec<Fault>) {
    let known = match (code.layer.bits(), code.etype) {
        (0, 0) | (1, 0 | 3) => true,
        (0, 1) => matches!(code.code, 0x00..=0x04 | 0x09 | 0xff),
        (0, 2) => matches!(code.code, 0x05..=0x09 | 0xff),
        (1, 1) => matches!(code.code, 0x00..=0x04),
        (1, 2) => matches!(code.code, 0x01..=0x06),
        (2, 0) => matches!(code.code, 0x01..=0x07),
        _ => false,
    };
    if !known {
        let rule = if code.layer.bits() == 1 {
            Rule::D37
        } else {
            Rule::R06
        };
        faults.push((rule, format!("the code {code} is not assigned")));
    }
}

/// Whether the first octet was taken with its nibbles exchanged, or the third with its flags.
fn is_siw_layout(body: &[u8], message: &Terminate) -> bool {
    let by_the_rfc = message.code.layer.bits() << 4 | message.code.etype;
    body[0] != by_the_rfc || body[2] & 0x07 != 0 && body[3] == 0 && body[2] & 0xe0 == 0
}

/// Which headers a Terminate carries, by Figure 10 of RFC 5040.
fn check_headers(message: &Terminate, faults: &mut Vec<Fault>) {
    let (layer, etype) = (message.code.layer.bits(), message.code.etype);
    let carries_ddp = message.ddp_header.is_some();
    let must_not = layer == 2 || layer == 0 && etype == 0;
    if must_not && (carries_ddp || message.segment_len.is_some()) {
        faults.push((
            Rule::R08,
            format!("a Terminate {} carries headers of a segment", message.code),
        ));
    }
    // A segment too short for a header has none to quote (G1).
    let headless = layer == 1 && etype == 0;
    if layer == 1 && !carries_ddp && !headless {
        faults.push((
            Rule::R08,
            format!("a Terminate {} carries no DDP header", message.code),
        ));
    }
    if carries_ddp != message.segment_len.is_some() && !must_not && !headless {
        faults.push((
            Rule::R08,
            "a Terminate has only one of segment length and DDP header".to_owned(),
        ));
    }
    let tagged = message
        .ddp_header
        .map(|header| header.octets()[0] & 0x80 != 0);
    if layer == 1 && tagged.is_some_and(|tagged| matches!((etype, tagged), (1, false) | (2, true)))
    {
        faults.push((
            Rule::R08,
            format!(
                "a Terminate {} quotes a segment of the other kind",
                message.code
            ),
        ));
    }
    if message.read_request.is_some() && !(layer == 0 && etype == 1) {
        faults.push((
            Rule::R08,
            format!("a Terminate {} carries a Read Request header", message.code),
        ));
    }
}

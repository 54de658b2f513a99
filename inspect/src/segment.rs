//! The DDP header of an FPDU: what it says, and what is wrong with it by itself.

use uwarp_ddp::{Control as DdpControl, Header};
use uwarp_mpa::MULPDU_MAX;
use uwarp_rdmap::Opcode;
use uwarp_rdmap::header::{
    Control, QN_ATOMIC_RESPONSE, QN_READ_REQUEST, QN_SEND, QN_TERMINATE, VERSION,
};

use crate::fpdu::Arrival;
use crate::record::{HeaderInfo, TargetInfo};
use crate::rule::{Fault, Rule};

const DDP_RESERVED: u8 = 0x3c;
const RDMAP_RESERVED: u8 = 0x30;

/// What the framing of an FPDU breaks.
pub(crate) fn check_framing(arrival: &Arrival, faults: &mut Vec<Fault>) {
    if arrival.ulpdu_len == 0 {
        faults.push((Rule::F04, "ULPDU_Length is 0".to_owned()));
    }
    if arrival.ulpdu_len > MULPDU_MAX {
        let len = arrival.ulpdu_len;
        faults.push((
            Rule::F04,
            format!("ULPDU_Length is {len}, {MULPDU_MAX} is the most"),
        ));
    }
    if arrival.bad_pad {
        let pad = arrival.pad;
        faults.push((Rule::F09, format!("{pad} octets of padding are not all 0")));
    }
    if arrival.bad_marker {
        faults.push((
            Rule::F11,
            "the reserved half of a marker is not 0".to_owned(),
        ));
    }
    if arrival.odd_pointer {
        faults.push((
            Rule::F12,
            "the low two bits of FPDUPTR are not 0".to_owned(),
        ));
    }
}

/// Reads the header of a segment, whatever its version. `None` if the ULPDU is too short for one.
pub(crate) fn read(arrival: &Arrival, faults: &mut Vec<Fault>) -> Option<(HeaderInfo, usize)> {
    let Some(octets) = Header::octets(&arrival.head) else {
        if arrival.ulpdu_len > 0 {
            let len = arrival.ulpdu_len;
            faults.push((
                Rule::G1,
                format!("a ULPDU of {len} octets holds no DDP header"),
            ));
        }
        return None;
    };
    let control = DdpControl(octets[0]);
    // A header of another version is read as if it were of ours, to have something to show.
    let mut readable = octets.to_vec();
    readable[0] = control.0 & !DdpControl::VERSION_MASK | DdpControl::VERSION;
    let (header, header_len) = Header::parse(&readable, readable.len()).ok()?;
    let rdmap = Control(header.ulp());
    let info = HeaderInfo {
        operation: operation(rdmap.opcode()),
        opcode: rdmap.opcode().bits(),
        last: header.is_last(),
        ddp_version: control.version(),
        rdmap_version: rdmap.version(),
        target: match header {
            Header::Tagged(header) => TargetInfo::Tagged {
                stag: header.stag.0,
                to: header.to,
            },
            Header::Untagged(header) => TargetInfo::Untagged {
                ulp_word: header.ulp_word,
                qn: header.qn,
                msn: header.msn,
                mo: header.mo,
            },
        },
    };
    check_versions(control, rdmap, faults);
    check_opcode(&info, rdmap.opcode(), faults);
    Some((info, header_len))
}

fn check_versions(ddp: DdpControl, rdmap: Control, faults: &mut Vec<Fault>) {
    if ddp.version() != DdpControl::VERSION {
        faults.push((Rule::D10, format!("DV is {}", ddp.version())));
    }
    if ddp.0 & DDP_RESERVED != 0 {
        let octet = ddp.0;
        faults.push((
            Rule::D09,
            format!("reserved DDP bits are set: {octet:#04x}"),
        ));
    }
    if rdmap.version() != VERSION {
        faults.push((Rule::R04, format!("RV is {}", rdmap.version())));
    }
    if rdmap.0 & RDMAP_RESERVED != 0 {
        let octet = rdmap.0;
        faults.push((
            Rule::R04,
            format!("reserved RDMAP bits are set: {octet:#04x}"),
        ));
    }
}

/// Whether a message with this opcode is tagged, or else its queue (RFC 5040 Figure 4; RFC 7306).
fn due(opcode: Opcode) -> Option<Option<u32>> {
    Some(match opcode {
        Opcode::WRITE | Opcode::READ_RESPONSE => None,
        Opcode::READ_REQUEST | Opcode::ATOMIC_REQUEST => Some(QN_READ_REQUEST),
        Opcode::TERMINATE => Some(QN_TERMINATE),
        Opcode::ATOMIC_RESPONSE => Some(QN_ATOMIC_RESPONSE),
        opcode if opcode.is_send() || opcode.is_immediate() => Some(QN_SEND),
        _ => return None,
    })
}

/// Whether the header could be one at all: what a guess goes by.
pub(crate) fn plausible(ulpdu: &[u8]) -> bool {
    let (Some(&ddp), Some(&rdmap)) = (ulpdu.first(), ulpdu.get(1)) else {
        return false;
    };
    let (ddp, rdmap) = (DdpControl(ddp), Control(rdmap));
    let sound = ddp.version() == DdpControl::VERSION
        && ddp.0 & DDP_RESERVED == 0
        && rdmap.version() == VERSION
        && rdmap.0 & RDMAP_RESERVED == 0;
    let queue = ulpdu.get(6..10).and_then(<[u8]>::first_chunk::<4>);
    sound
        && match due(rdmap.opcode()) {
            Some(None) => ddp.is_tagged(),
            Some(Some(qn)) => {
                !ddp.is_tagged() && queue.is_none_or(|&queue| u32::from_be_bytes(queue) == qn)
            }
            None => false,
        }
}

fn check_opcode(info: &HeaderInfo, opcode: Opcode, faults: &mut Vec<Fault>) {
    let Some(due) = due(opcode) else {
        faults.push((
            Rule::R03,
            format!("opcode {:#x} is not assigned", info.opcode),
        ));
        return;
    };
    let operation = info.operation;
    match (info.target, due) {
        (TargetInfo::Tagged { .. }, Some(_)) => {
            faults.push((Rule::R03, format!("{operation} in a tagged segment")));
        }
        (TargetInfo::Untagged { .. }, None) => {
            faults.push((Rule::R03, format!("{operation} in an untagged segment")));
        }
        (TargetInfo::Untagged { qn, .. }, Some(due)) if qn != due => {
            faults.push((
                Rule::R03,
                format!("{operation} on queue {qn}, {due} is its queue"),
            ));
        }
        _ => {}
    }
    if let TargetInfo::Untagged { ulp_word, .. } = info.target
        && ulp_word != 0
        && !opcode.invalidates()
    {
        let rule = if opcode.bits() < Opcode::IMMEDIATE.bits() {
            Rule::R05
        } else {
            Rule::X02
        };
        faults.push((rule, format!("RsvdULP of {operation} is {ulp_word:#010x}")));
    }
}

/// The name of an operation.
pub(crate) const fn operation(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::WRITE => "Write",
        Opcode::READ_REQUEST => "ReadRequest",
        Opcode::READ_RESPONSE => "ReadResponse",
        Opcode::SEND => "Send",
        Opcode::SEND_INVALIDATE => "SendInvalidate",
        Opcode::SEND_SOLICITED => "SendSolicited",
        Opcode::SEND_SOLICITED_INVALIDATE => "SendSolicitedInvalidate",
        Opcode::TERMINATE => "Terminate",
        Opcode::IMMEDIATE => "Immediate",
        Opcode::IMMEDIATE_SOLICITED => "ImmediateSolicited",
        Opcode::ATOMIC_REQUEST => "AtomicRequest",
        Opcode::ATOMIC_RESPONSE => "AtomicResponse",
        _ => "Unknown",
    }
}

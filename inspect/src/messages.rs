//! Segments into messages: sequence numbers, offsets and the L bit of one direction.

use crate::control::Fault;
use crate::record::{HeaderInfo, MessageInfo, TargetInfo};

/// Queues whose numbering is followed.
const QUEUES: usize = 4;

/// A message of which the last segment has not come.
#[derive(Debug)]
struct Open {
    info: MessageInfo,
    opcode: u8,
}

/// The messages of one direction.
#[derive(Debug)]
pub(crate) struct Messages {
    open: Option<Open>,
    /// The next message sequence number of each queue; `None` until one has been seen, in a
    /// direction whose beginning has not.
    next_msn: [Option<u32>; QUEUES],
}

impl Messages {
    /// From the first FPDU on.
    pub(crate) const fn new() -> Self {
        Self {
            open: None,
            next_msn: [Some(1); QUEUES],
        }
    }

    /// From somewhere in the middle.
    pub(crate) const fn guessed() -> Self {
        Self {
            open: None,
            next_msn: [None; QUEUES],
        }
    }

    /// Takes the next segment; gives the message if it is the last one of it.
    pub(crate) fn segment(
        &mut self,
        header: &HeaderInfo,
        payload: u32,
        faults: &mut Vec<Fault>,
    ) -> Option<MessageInfo> {
        let mut open = match self.open.take() {
            Some(open) if continues(&open, header) => {
                check_continuation(&open, header, payload, faults);
                open
            }
            Some(open) => {
                faults.push(unfinished(&open, header));
                self.begin(header, faults)
            }
            None => self.begin(header, faults),
        };
        open.info.octets += u64::from(payload);
        open.info.segments += 1;
        if header.last {
            return Some(open.info);
        }
        self.open = Some(open);
        None
    }

    fn begin(&mut self, header: &HeaderInfo, faults: &mut Vec<Fault>) -> Open {
        if let TargetInfo::Untagged { qn, msn, mo, .. } = header.target {
            let mid_stream = self.number(qn, msn, faults);
            if mo != 0 && !mid_stream {
                faults.push(("D16", format!("a message begins with MO {mo}")));
            }
        }
        Open {
            info: MessageInfo {
                operation: header.operation,
                octets: 0,
                segments: 0,
                target: header.target,
            },
            opcode: header.opcode,
        }
    }

    /// Checks the number of a new message; tells whether it is the first of a queue whose beginning
    /// has not been seen.
    fn number(&mut self, qn: u32, msn: u32, faults: &mut Vec<Fault>) -> bool {
        let Some(next) = self.next_msn.get_mut(qn as usize) else {
            return false;
        };
        let due = next.replace(msn.wrapping_add(1));
        if let Some(due) = due.filter(|&due| due != msn) {
            faults.push(("D15", format!("MSN {msn} on queue {qn}, {due} is due")));
        }
        due.is_none()
    }
}

/// Whether a segment belongs to the message that is under way.
fn continues(open: &Open, header: &HeaderInfo) -> bool {
    match (open.info.target, header.target) {
        (TargetInfo::Tagged { stag, .. }, TargetInfo::Tagged { stag: next, .. }) => {
            stag == next && open.opcode == header.opcode
        }
        (
            TargetInfo::Untagged { qn, msn, .. },
            TargetInfo::Untagged {
                qn: next_qn,
                msn: next_msn,
                ..
            },
        ) => qn == next_qn && msn == next_msn,
        _ => false,
    }
}

fn check_continuation(open: &Open, header: &HeaderInfo, payload: u32, faults: &mut Vec<Fault>) {
    let done = open.info.octets;
    match (open.info.target, header.target) {
        (TargetInfo::Tagged { to: first, .. }, TargetInfo::Tagged { to, .. }) => {
            let due = first.wrapping_add(done);
            if to != due && payload > 0 {
                faults.push((
                    "D20",
                    format!("TO {to:#x} within a message, {due:#x} is due"),
                ));
            }
        }
        (TargetInfo::Untagged { mo: first, .. }, TargetInfo::Untagged { mo, .. }) => {
            let due = u64::from(first) + done;
            if u64::from(mo) != due {
                faults.push(("D20", format!("MO {mo} within a message, {due} is due")));
            }
        }
        _ => {}
    }
    if open.opcode != header.opcode {
        let (was, is) = (open.info.operation, header.operation);
        faults.push((
            "D13",
            format!("RsvdULP changes within a message: {was}, then {is}"),
        ));
    }
}

/// Another message begins although the one before it has had no L.
fn unfinished(open: &Open, header: &HeaderInfo) -> Fault {
    let (was, octets, is) = (open.info.operation, open.info.octets, header.operation);
    (
        "D07",
        format!("{is} begins while {was} has had {octets} octets and no last segment"),
    )
}

//! Segments into messages: sequence numbers, offsets and the L bit of one direction.

use uwarp_rdmap::header::Control;

use crate::record::{HeaderInfo, MessageInfo, TargetInfo};
use crate::rule::{Fault, Rule};
use crate::spread::Spread;

/// Queues whose numbering is followed.
const QUEUES: usize = 4;

/// A message of which the last segment has not come.
#[derive(Debug)]
struct Open {
    info: MessageInfo,
    opcode: u8,
    spread: Spread,
    /// The first offset that was not due, where that was, and the rule that it breaks if no other
    /// segment makes up for it.
    jump: Option<(u64, Fault)>,
}

/// The messages of one direction.
#[derive(Debug)]
pub(crate) struct Messages {
    open: Option<Open>,
    /// The next message sequence number of each queue; `None` until one has been seen, in a
    /// direction whose beginning has not.
    next_msn: [Option<u32>; QUEUES],
    /// The message under way may have begun before anything was seen.
    mid_message: bool,
}

/// What a segment has brought to an end.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) message: Option<MessageInfo>,
    /// A rule that an earlier segment has broken, and the position of that one.
    pub(crate) earlier: Option<(u64, Fault)>,
    /// The segments of the message came in another order than that of their offsets.
    pub(crate) shuffled: bool,
}

impl Messages {
    /// From the first FPDU on.
    pub(crate) const fn new() -> Self {
        Self {
            open: None,
            next_msn: [Some(1); QUEUES],
            mid_message: false,
        }
    }

    /// From somewhere in the middle.
    pub(crate) const fn guessed() -> Self {
        Self {
            open: None,
            next_msn: [None; QUEUES],
            mid_message: true,
        }
    }

    /// Takes the next segment, of an FPDU at `position`.
    pub(crate) fn segment(
        &mut self,
        position: u64,
        header: &HeaderInfo,
        payload: u32,
        faults: &mut Vec<Fault>,
    ) -> Outcome {
        let mut open = match self.open.take() {
            Some(open) if continues(&open, header) => {
                check_continuation(&open, header, faults);
                open
            }
            Some(open) if changes_stag(&open, header, payload) => {
                let text = "the STag changes within a message";
                faults.push((Rule::D12, text.to_owned()));
                let info = MessageInfo {
                    target: header.target,
                    ..open.info
                };
                Open { info, ..open }
            }
            Some(open) => {
                faults.push(unfinished(&open, header));
                self.begin(header, faults)
            }
            None => self.begin(header, faults),
        };
        let partial = std::mem::take(&mut self.mid_message) && offset(header) != 0;
        open.info.octets += u64::from(payload);
        open.info.segments += 1;
        if !partial {
            open.place(position, header, payload, faults);
        } else if payload > 0 {
            // Where it began is not known: what came before counts as there.
            open.spread
                .insert(0, offset(header).saturating_add(payload.into()));
        }
        if header.last {
            return open.end(faults);
        }
        self.open = Some(open);
        Outcome::default()
    }

    /// The message whose last segment has not come.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let open = self.open.as_ref()?;
        let (operation, octets) = (open.info.operation, open.info.octets);
        Some(format!("{operation}, of which {octets} octets were sent"))
    }

    fn begin(&mut self, header: &HeaderInfo, faults: &mut Vec<Fault>) -> Open {
        if let TargetInfo::Untagged { qn, msn, .. } = header.target {
            self.number(qn, msn, faults);
        }
        Open {
            info: MessageInfo {
                operation: header.operation,
                octets: 0,
                segments: 0,
                target: header.target,
            },
            opcode: header.opcode,
            spread: Spread::default(),
            jump: None,
        }
    }

    /// Checks the number of a new message.
    fn number(&mut self, qn: u32, msn: u32, faults: &mut Vec<Fault>) {
        let Some(next) = self.next_msn.get_mut(qn as usize) else {
            return;
        };
        let due = next.replace(msn.wrapping_add(1));
        if let Some(due) = due.filter(|&due| due != msn) {
            faults.push((Rule::D15, format!("MSN {msn} on queue {qn}, {due} is due")));
        }
    }
}

impl Open {
    /// Checks where a segment's payload goes.
    fn place(&mut self, position: u64, header: &HeaderInfo, payload: u32, faults: &mut Vec<Fault>) {
        let start = offset(header);
        let untagged = matches!(header.target, TargetInfo::Untagged { .. });
        let Some(end) = start.checked_add(payload.into()) else {
            faults.push((
                Rule::D35,
                format!("TO {start:#x} and {payload} octets wrap"),
            ));
            return;
        };
        if untagged && end > u32::MAX.into() {
            faults.push((
                Rule::D18,
                format!("MO {start} and {payload} octets: no message is as long as that"),
            ));
            return;
        }
        // A segment without payload goes nowhere (G19); but a message begins at MO 0 (D16).
        if payload == 0 && !(untagged && self.info.segments == 1) {
            return;
        }
        let due = self.spread.end();
        let name = if untagged { "MO" } else { "TO" };
        let fault = match due {
            None if untagged && start != 0 => {
                Some((Rule::D16, format!("a message begins with MO {start}")))
            }
            Some(due) if start != due => Some((
                Rule::D20,
                format!("{name} {start:#x} within a message, {due:#x} is due"),
            )),
            _ => None,
        };
        if payload > 0 && !self.spread.insert(start, end) {
            let text = format!("octets {start:#x} to {end:#x} of a message come again");
            faults.push((Rule::D20, text));
        } else if let Some(fault) = fault
            && self.jump.is_none()
        {
            self.jump = Some((position, fault));
        }
        if header.last && untagged && self.spread.end().is_some_and(|most| most > end) {
            let text = format!("the last segment ends at {end}, others lie behind");
            faults.push((Rule::D07, text));
            self.jump = None;
        }
    }

    fn end(self, faults: &[Fault]) -> Outcome {
        let tagged = matches!(self.info.target, TargetInfo::Tagged { .. });
        let start = self.spread.whole_from();
        let whole = start.is_some_and(|start| tagged || start == 0) || self.spread.scattered;
        // An overlap has been told of, and is enough.
        let told = faults.iter().any(|(rule, _)| *rule == Rule::D20);
        let shuffled = whole && self.jump.is_some();
        Outcome {
            message: Some(self.info),
            earlier: self.jump.filter(|_| !whole && !told),
            shuffled,
        }
    }
}

/// Where a segment's payload goes within its message or its buffer.
fn offset(header: &HeaderInfo) -> u64 {
    match header.target {
        TargetInfo::Tagged { to, .. } => to,
        TargetInfo::Untagged { mo, .. } => mo.into(),
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

/// Whether a segment goes on right behind the last one, but in another buffer.
fn changes_stag(open: &Open, header: &HeaderInfo, payload: u32) -> bool {
    let tagged = |target| matches!(target, TargetInfo::Tagged { .. });
    tagged(open.info.target)
        && tagged(header.target)
        && open.opcode == header.opcode
        && payload > 0
        && open.spread.end() == Some(offset(header))
}

fn check_continuation(open: &Open, header: &HeaderInfo, faults: &mut Vec<Fault>) {
    if open.opcode != header.opcode {
        let (was, is) = (open.info.operation, header.operation);
        faults.push((
            Rule::D13,
            format!("RsvdULP changes within a message: {was}, then {is}"),
        ));
    } else if let (
        TargetInfo::Untagged { ulp_word: was, .. },
        TargetInfo::Untagged { ulp_word: is, .. },
    ) = (open.info.target, header.target)
        && was != is
        && Control(header.opcode).opcode().invalidates()
    {
        faults.push((
            Rule::D13,
            format!("RsvdULP changes within a message: {was:#010x}, then {is:#010x}"),
        ));
    }
}

/// Another message begins although the one before it has had no L.
fn unfinished(open: &Open, header: &HeaderInfo) -> Fault {
    let (was, octets, is) = (open.info.operation, open.info.octets, header.operation);
    (
        Rule::D07,
        format!("{is} begins while {was} has had {octets} octets and no last segment"),
    )
}

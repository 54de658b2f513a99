//! What the two directions of a connection owe each other: answers to requests, limits, the order
//! in which the ends may speak, and silence after a Terminate.

use std::collections::VecDeque;

use uwarp_rdmap::Opcode;

use crate::control::ControlInfo;
use crate::record::{HeaderInfo, TargetInfo};
use crate::rule::{Fault, Rule};

/// Requests without an answer that are remembered: more than any IRD can be.
const REQUESTS_MAX: usize = 1 << 14;

/// A request that has not been answered.
#[derive(Clone, Copy, Debug)]
enum Request {
    Read {
        stag: u32,
        to: u64,
        left: u64,
        size: u32,
    },
    Atomic {
        id: u32,
    },
}

/// What the startup frames have settled, as far as it can be watched.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Most requests of the initiator and of the responder that may wait for their answers.
    pub(crate) depth: [Option<u16>; 2],
    /// The initiator opens with an RTR: an empty Send, Write or Read, as allowed here.
    pub(crate) rtr: Option<[bool; 3]>,
}

/// The state that both directions share. Index 0 is the initiator.
#[derive(Debug)]
pub(crate) struct Exchange {
    terms: Terms,
    /// Nothing is known of what came before.
    guess: bool,
    /// FPDUs delivered.
    fpdus: [u64; 2],
    terminates: [u32; 2],
    requests: [VecDeque<Request>; 2],
    /// Requests were lost to view: answers can no longer be matched.
    blind: [bool; 2],
}

impl Exchange {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            guess: false,
            fpdus: [0; 2],
            terminates: [0; 2],
            requests: [VecDeque::new(), VecDeque::new()],
            blind: [false; 2],
        }
    }

    /// An exchange whose beginning has not been seen.
    pub(crate) fn guessed() -> Self {
        Self {
            guess: true,
            blind: [true; 2],
            ..Self::new(Terms::default())
        }
    }

    /// Octets of `who` are missing in the capture: its first FPDU may be among them.
    pub(crate) fn lose_from(&mut self, who: usize) {
        self.fpdus[who] = self.fpdus[who].max(1);
        self.lose();
    }

    /// What was asked and answered is no longer known.
    fn lose(&mut self) {
        self.blind = [true; 2];
        self.requests = [VecDeque::new(), VecDeque::new()];
    }

    /// Whether an end has sent a Terminate, so that the rest of what was under way may be missing.
    pub(crate) fn is_terminated(&self) -> bool {
        self.terminates.iter().any(|&count| count > 0)
    }

    /// Requests that `who` has sent and that have no answer.
    pub(crate) fn unanswered(&self, who: usize) -> usize {
        self.requests[who].len()
    }

    /// What its memory is counted as.
    pub(crate) fn memory(&self) -> usize {
        let requests = self.requests.iter();
        requests
            .map(|requests| requests.capacity() * size_of::<Request>())
            .sum()
    }

    /// An FPDU from `who`, in the order of the stream; `other_in_doubt` when octets of the other
    /// direction are missing, so that its silence proves nothing.
    pub(crate) fn fpdu(
        &mut self,
        who: usize,
        header: Option<&HeaderInfo>,
        payload: u32,
        other_in_doubt: bool,
        faults: &mut Vec<Fault>,
    ) {
        let first = self.fpdus[who] == 0 && !self.guess;
        self.fpdus[who] += 1;
        if first && who == 1 && self.fpdus[0] == 0 && !other_in_doubt {
            let text = "the responder sends an FPDU before the initiator's first one";
            faults.push((Rule::U18, text.to_owned()));
        }
        if first && who == 0 {
            self.check_rtr(header, payload, faults);
        }
        let Some(header) = header else { return };
        let terminate = header.opcode == Opcode::TERMINATE.bits();
        if self.terminates[who] > 0 {
            let (rule, text) = if terminate {
                (Rule::R23, "a second Terminate".to_owned())
            } else {
                (Rule::R25, format!("{} after a Terminate", header.operation))
            };
            faults.push((rule, text));
        }
        self.terminates[who] += u32::from(terminate);
    }

    /// The first FPDU of a peer-to-peer set-up is one of the negotiated RTRs.
    fn check_rtr(&self, header: Option<&HeaderInfo>, payload: u32, faults: &mut Vec<Fault>) {
        let Some(allowed) = self.terms.rtr else {
            return;
        };
        // An initiator that cannot go on says why, and nothing else (E12, E18, E20).
        if header.is_some_and(|header| header.opcode == Opcode::TERMINATE.bits()) {
            return;
        }
        let form = header.and_then(|header| match header.operation {
            "Send" if payload == 0 => Some(0),
            "Write" if payload == 0 => Some(1),
            // The body tells whether it reads nothing; that is looked at with the request.
            "ReadRequest" => Some(2),
            _ => None,
        });
        match form {
            None => faults.push((Rule::E01, "the first FPDU is no RTR".to_owned())),
            Some(form) if !allowed[form] => {
                let text = "the RTR is of a kind that has not been agreed on";
                faults.push((Rule::E18, text.to_owned()));
            }
            Some(_) => {}
        }
    }

    /// A request or an answer from `who`, in the order of the stream. When octets of the other direction
    /// are missing, what does not fit proves nothing, and nothing more is known from then on.
    pub(crate) fn message(
        &mut self,
        who: usize,
        header: &HeaderInfo,
        payload: u32,
        control: Option<&ControlInfo>,
        other_in_doubt: bool,
        faults: &mut Vec<Fault>,
    ) {
        let mut found = Vec::new();
        self.judge(who, header, payload, control, &mut found);
        if other_in_doubt && found.iter().any(|(rule, _)| *rule != Rule::E01) {
            self.lose();
        } else {
            faults.append(&mut found);
        }
    }

    fn judge(
        &mut self,
        who: usize,
        header: &HeaderInfo,
        payload: u32,
        control: Option<&ControlInfo>,
        faults: &mut Vec<Fault>,
    ) {
        match control {
            Some(&ControlInfo::ReadRequest {
                sink_stag,
                sink_to,
                size,
                ..
            }) => {
                if self.fpdus[who] == 1 && who == 0 && self.terms.rtr.is_some() && size > 0 {
                    faults.push((Rule::E01, format!("the RTR reads {size} octets")));
                }
                let request = Request::Read {
                    stag: sink_stag,
                    to: sink_to,
                    left: size.into(),
                    size,
                };
                self.request(who, request, faults);
            }
            Some(&ControlInfo::AtomicRequest { id, .. }) => {
                self.request(who, Request::Atomic { id }, faults);
            }
            Some(&ControlInfo::AtomicResponse { id, .. }) => {
                self.atomic_response(1 - who, id, faults);
            }
            _ if header.opcode == Opcode::READ_RESPONSE.bits() => {
                self.read_response(1 - who, header, payload, faults);
            }
            _ => {}
        }
    }

    fn request(&mut self, who: usize, request: Request, faults: &mut Vec<Fault>) {
        let waiting = self.requests[who].len();
        if waiting >= REQUESTS_MAX || self.blind[who] {
            self.blind[who] = true;
            return;
        }
        self.requests[who].push_back(request);
        if let Some(depth) = self.terms.depth[who].filter(|&depth| waiting >= usize::from(depth)) {
            let text = format!("{} requests wait for answers, {depth} may", waiting + 1);
            faults.push((Rule::R37, text));
        }
    }

    fn atomic_response(&mut self, requester: usize, id: u32, faults: &mut Vec<Fault>) {
        if self.blind[requester] {
            return;
        }
        match self.requests[requester].front() {
            Some(&Request::Atomic { id: due }) => {
                if id != due {
                    faults.push((Rule::X10, format!("Request Identifier {id}, {due} is due")));
                }
                self.requests[requester].pop_front();
            }
            Some(Request::Read { .. }) => {
                let text = "an Atomic Response while a Read is to be answered first";
                faults.push((Rule::X14, text.to_owned()));
            }
            None => faults.push((Rule::X10, "an Atomic Response without a request".to_owned())),
        }
    }

    fn read_response(
        &mut self,
        requester: usize,
        header: &HeaderInfo,
        payload: u32,
        faults: &mut Vec<Fault>,
    ) {
        if self.blind[requester] {
            return;
        }
        let TargetInfo::Tagged { stag, to } = header.target else {
            return;
        };
        let out_of_order = payload > 0 && self.is_out_of_order(requester, stag, to);
        match self.requests[requester].front_mut() {
            Some(Request::Read { .. }) if out_of_order => {
                let text = format!("answer at {stag:#x}/{to:#x}, an earlier Read is due first");
                faults.push((Rule::R35, text));
                let requests = &mut self.requests[requester];
                if let Some(at) = requests.iter().position(|other| other.is_at(stag, to)) {
                    requests.swap(0, at);
                    self.answer(requester, header.last, payload, faults);
                }
            }
            Some(Request::Read {
                stag: due,
                to: next,
                ..
            }) => {
                // Without payload, STag and TO mean nothing.
                if payload > 0 && (stag != *due || to != *next) {
                    let text = format!("answer at {stag:#x}/{to:#x}, {due:#x}/{next:#x} is due");
                    faults.push((Rule::R18, text));
                }
                self.answer(requester, header.last, payload, faults);
            }
            Some(Request::Atomic { .. }) => {
                let text = "a Read Response while an atomic operation is to be answered first";
                faults.push((Rule::X14, text.to_owned()));
            }
            None => faults.push((
                Rule::R16,
                "a Read Response without a Read Request".to_owned(),
            )),
        }
    }

    /// Whether a Response is not for the first Read, but for a later one that is not begun.
    fn is_out_of_order(&self, requester: usize, stag: u32, to: u64) -> bool {
        let mut requests = self.requests[requester].iter();
        let first = requests.next();
        let begun =
            matches!(first, Some(Request::Read { left, size, .. }) if *left < u64::from(*size));
        !begun
            && first.is_some_and(|first| !first.is_at(stag, to))
            && requests.any(|other| other.is_at(stag, to))
    }

    /// Takes octets off the Read that is answered.
    fn answer(&mut self, requester: usize, last: bool, payload: u32, faults: &mut Vec<Fault>) {
        let Some(Request::Read { to, left, size, .. }) = self.requests[requester].front_mut()
        else {
            return;
        };
        let len = u64::from(payload);
        if len > *left || last && len < *left {
            let got = u64::from(*size) - *left + len;
            faults.push((Rule::R18, format!("{got} octets answer a Read of {size}")));
        }
        *left = left.saturating_sub(len);
        *to = to.wrapping_add(len);
        if last {
            self.requests[requester].pop_front();
        }
    }
}

impl Request {
    /// Whether it reads to this place.
    fn is_at(&self, place: u32, offset: u64) -> bool {
        matches!(self, Self::Read { stag, to, size, .. }
            if *stag == place && *to == offset && *size > 0)
    }
}

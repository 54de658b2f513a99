//! The sending half: which message goes next, and when a posted request is done.
//!
//! Messages are handed to DDP whole and one after the other, never interleaved (RFC 5041 s5.3,
//! D22): posted requests in the order of posting, Read Responses in the order of their Requests,
//! and the two kinds by turns, so that neither starves. A Terminate goes before anything that has
//! not begun.

use std::collections::VecDeque;
use std::ops::Range;

use uwarp_ddp::{Header, Segmenter, Stag, UNTAGGED_LEN};

use crate::atomic::{AtomicRequest, AtomicResponse};
use crate::endpoint::Limits;
use crate::error::PostError;
use crate::header::{
    Control, Opcode, QN_ATOMIC_RESPONSE, QN_READ_REQUEST, QN_SEND, QN_TERMINATE, READ_REQUEST_LEN,
    ReadRequest,
};
use crate::pending::Pending;
use crate::terminate::{TERMINATE_MAX, Terminate};
use crate::work::{Completion, Operation, Slot, Status, Work};

/// Longest run of octets that this room writes at the head of a segment: an untagged DDP header
/// and a whole Terminate.
const HEAD_MAX: usize = UNTAGGED_LEN + TERMINATE_MAX;

/// One DDP segment that is ready to be framed.
#[derive(Debug)]
pub struct Outgoing {
    head: [u8; HEAD_MAX],
    head_len: u8,
    /// The octets that follow the head, by reference.
    pub payload: Payload,
    /// Present on the last segment of a Send or Write: give it to
    /// [`Endpoint::sent`](crate::Endpoint::sent) once the segment is in the transport's hands.
    pub token: Option<SentToken>,
}

impl Outgoing {
    fn new(header: &Header, body: &[u8], payload: Payload, token: Option<SentToken>) -> Self {
        let mut head = [0; HEAD_MAX];
        let mut ddp = [0; UNTAGGED_LEN];
        let ddp_len = header.encode(&mut ddp);
        head[..ddp_len].copy_from_slice(&ddp[..ddp_len]);
        head[ddp_len..ddp_len + body.len()].copy_from_slice(body);
        Self {
            head,
            head_len: (ddp_len + body.len()) as u8,
            payload,
            token,
        }
    }

    /// The DDP header and, for control messages, the RDMAP header behind it.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }
}

/// Where the payload of a segment lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// There is none.
    None,
    /// In the buffers of a posted request.
    Work {
        /// The request.
        slot: Slot,
        /// Octets of its gather list, counted from its beginning.
        range: Range<u32>,
    },
    /// In a region that the peer reads from. It is to be looked up afresh, since the STag may
    /// have been revoked after the Request was accepted (RFC 5042 s6.2.2, S03).
    Region {
        /// Our STag.
        stag: Stag,
        /// Tagged offset of the first octet.
        to: u64,
        /// Octets, more than 0.
        len: u32,
    },
}

/// Names a Send or Write whose last octet is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SentToken(u64);

/// A posted request between posting and completion.
#[derive(Debug)]
struct Entry {
    work: Work,
    done: Option<Status>,
    /// What an atomic operation has found.
    original: Option<u64>,
}

impl Entry {
    fn completion(&self, status: Status) -> Completion {
        let kind = self.work.operation.kind();
        if status == Status::Success {
            Completion {
                original: self.original,
                ..Completion::success(self.work.slot, kind, self.work.len)
            }
        } else {
            Completion::failed(self.work.slot, kind, status)
        }
    }
}

/// A Request of the peer's that is being, or waits to be, answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response {
    pub(crate) request: Request,
    /// MSN of the Request, for a Terminate that has to blame it.
    pub(crate) msn: u32,
}

/// What a Request of the peer's asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// An RDMA Read.
    Read(ReadRequest),
    /// An atomic operation.
    Atomic(AtomicRequest),
}

#[derive(Debug)]
enum Current {
    Work {
        seq: u64,
        slot: Slot,
        segmenter: Segmenter,
    },
    Response {
        request: ReadRequest,
        msn: u32,
        segmenter: Segmenter,
        before: u32,
    },
}

#[derive(Debug)]
pub(crate) struct Outbound {
    limits: Limits,
    works: VecDeque<Entry>,
    /// Sequence number of `works[0]`; requests are numbered from 0 as they are posted.
    head: u64,
    /// Sequence number of the first request that has not begun.
    cursor: u64,
    /// Reads and atomic operations that wait for their answers.
    pending: VecDeque<Pending>,
    sink_stag: Stag,
    next_sink_to: u64,
    responses: VecDeque<Response>,
    response_turn: bool,
    current: Option<Current>,
    last_words: Option<Terminate>,
    /// Set once a Terminate has been handed out or the stream is over: nothing follows.
    silenced: bool,
    send_msn: u32,
    request_msn: u32,
    atomic_response_msn: u32,
    next_atomic_id: u32,
}

impl Outbound {
    pub(crate) fn new(limits: Limits, sink_stag: Stag) -> Self {
        Self {
            limits,
            works: VecDeque::with_capacity(limits.send_queue),
            head: 0,
            cursor: 0,
            pending: VecDeque::with_capacity(usize::from(limits.ord)),
            sink_stag,
            next_sink_to: 0,
            responses: VecDeque::with_capacity(usize::from(limits.ird)),
            response_turn: false,
            current: None,
            last_words: None,
            silenced: false,
            send_msn: 1,
            request_msn: 1,
            atomic_response_msn: 1,
            next_atomic_id: 0,
        }
    }

    pub(crate) fn post(&mut self, work: Work) -> Result<(), PostError> {
        if self.silenced || self.last_words.is_some() {
            return Err(PostError::Closed);
        }
        if self.works.len() >= self.limits.send_queue {
            return Err(PostError::Full);
        }
        match work.operation {
            operation if operation.is_answered() && self.limits.ord == 0 => {
                return Err(PostError::ReadsDisabled);
            }
            Operation::Read { to, .. } | Operation::Write { to, .. }
                if to.checked_add(u64::from(work.len)).is_none() =>
            {
                return Err(PostError::OffsetWrap);
            }
            _ => {}
        }
        self.works.push_back(Entry {
            work,
            done: None,
            original: None,
        });
        Ok(())
    }

    /// Queues the answer to a Read Request; the caller has checked the limit.
    pub(crate) fn respond(&mut self, response: Response) {
        self.responses.push_back(response);
    }

    /// Responses that are queued or under way, which is what counts against the IRD.
    pub(crate) fn responses_owed(&self) -> usize {
        self.responses.len() + usize::from(matches!(self.current, Some(Current::Response { .. })))
    }

    /// Octets of the Reads of those responses.
    pub(crate) fn octets_owed(&self) -> u64 {
        let current = match &self.current {
            Some(Current::Response { request, .. }) => u64::from(request.size),
            _ => 0,
        };
        let queued = self
            .responses
            .iter()
            .map(|response| match response.request {
                Request::Read(request) => u64::from(request.size),
                Request::Atomic(_) => 0,
            });
        current + queued.sum::<u64>()
    }

    pub(crate) fn pending(&self) -> &VecDeque<Pending> {
        &self.pending
    }

    pub(crate) fn oldest_pending(&mut self) -> Option<&mut Pending> {
        self.pending.front_mut()
    }

    /// The oldest Read or atomic operation has its whole answer.
    pub(crate) fn finish_oldest(
        &mut self,
        original: Option<u64>,
        completions: &mut VecDeque<Completion>,
    ) {
        let Some(seq) = self.pending.pop_front().and_then(|pending| pending.seq()) else {
            return;
        };
        if let Some(entry) = self.entry(seq) {
            entry.original = original;
        }
        self.complete(seq, Status::Success, completions);
    }

    /// The Read whose sink begins at `sink_to` was refused by the peer.
    pub(crate) fn refuse_read(&mut self, sink_to: u64, status: Status) {
        let owner = self
            .pending
            .iter()
            .find(|pending| pending.holds(sink_to))
            .and_then(Pending::seq);
        if let Some(seq) = owner {
            self.set_status(seq, status);
        }
    }

    pub(crate) fn sent(&mut self, token: SentToken, completions: &mut VecDeque<Completion>) {
        self.complete(token.0, Status::Success, completions);
    }

    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        seq.checked_sub(self.head)
            .and_then(|index| self.works.get_mut(index as usize))
    }

    fn set_status(&mut self, seq: u64, status: Status) {
        if let Some(entry) = self.entry(seq) {
            entry.done.get_or_insert(status);
        }
    }

    /// Marks a request done and reports every request that now has nothing undone before it
    /// (RFC 5040 s5.5, R33).
    fn complete(&mut self, seq: u64, status: Status, completions: &mut VecDeque<Completion>) {
        self.set_status(seq, status);
        while let Some(entry) = self
            .works
            .front()
            .filter(|entry| entry.done == Some(Status::Success))
        {
            completions.push_back(entry.completion(Status::Success));
            self.works.pop_front();
            self.head += 1;
        }
    }

    /// Ends every request that is left, in order of posting (RFC 5040 s6.2.1, R38).
    pub(crate) fn flush(&mut self, completions: &mut VecDeque<Completion>) {
        self.silenced = true;
        self.current = None;
        self.responses.clear();
        self.pending.clear();
        for entry in self.works.drain(..) {
            completions.push_back(entry.completion(entry.done.unwrap_or(Status::Flushed)));
        }
        // Nothing is posted any more, so that nothing is left to begin.
        self.cursor = self.head;
    }

    /// Says `message` next, at the coming message boundary, and nothing after it (R25).
    pub(crate) fn terminate(&mut self, message: Terminate) {
        if !self.silenced && self.last_words.is_none() {
            self.last_words = Some(message);
            self.responses.clear();
        }
    }

    /// Whether nothing will be sent unless something new is posted or received.
    pub(crate) fn is_idle(&self) -> bool {
        self.current.is_none()
            && self.last_words.is_none()
            && self.responses.is_empty()
            && self.cursor == self.head + self.works.len() as u64
            && self.pending.is_empty()
    }

    /// Whether a Read or atomic operation has not been answered.
    pub(crate) fn expects_response(&self) -> bool {
        let open = |entry: &Entry| entry.work.operation.is_answered() && entry.done.is_none();
        !self.pending.is_empty() || self.works.iter().any(open)
    }

    /// Whether [`next`](Self::next) has a segment to give.
    pub(crate) fn has_output(&self) -> bool {
        !self.silenced
            && (self.current.is_some()
                || self.last_words.is_some()
                || !self.responses.is_empty()
                || self.next_work().is_some())
    }

    /// The request that may begin now, if the ORD allows (R37; Reads and atomic operations count
    /// together, G21).
    fn next_work(&self) -> Option<&Work> {
        let work = &self.works.get((self.cursor - self.head) as usize)?.work;
        let may_begin =
            !work.operation.is_answered() || self.pending.len() < usize::from(self.limits.ord);
        may_begin.then_some(work)
    }

    /// The atomic operation whose turn to be performed has come: everything asked before it has been
    /// answered (RFC 7306 s5.4, X12). Its answer goes to [`answer_atomic`](Self::answer_atomic).
    pub(crate) fn atomic_due(&self) -> Option<AtomicRequest> {
        if self.silenced || self.last_words.is_some() || self.current.is_some() {
            return None;
        }
        match self.responses.front()?.request {
            Request::Atomic(request) => Some(request),
            Request::Read(_) => None,
        }
    }

    /// The answer to the atomic operation that was due.
    pub(crate) fn answer_atomic(&mut self, original: u64) -> Option<Outgoing> {
        let Response {
            request: Request::Atomic(request),
            ..
        } = self.responses.pop_front()?
        else {
            return None;
        };
        self.response_turn = false;
        let msn = next_msn(&mut self.atomic_response_msn);
        let header = control_header(Opcode::ATOMIC_RESPONSE, QN_ATOMIC_RESPONSE, msn);
        let body = AtomicResponse {
            id: request.id,
            original,
        }
        .encode();
        Some(Outgoing::new(&header, &body, Payload::None, None))
    }

    /// The next segment of at most `mulpdu` octets.
    pub(crate) fn next(&mut self, mulpdu: u16) -> Option<Outgoing> {
        if self.silenced {
            return None;
        }
        if self.current.is_none() {
            if let Some(message) = self.last_words.take() {
                self.silenced = true;
                return Some(terminate_segment(&message));
            }
            if let Some(control) = self.begin() {
                return Some(control);
            }
        }
        self.continue_current(mulpdu)
    }

    /// Begins the next message; one that fits a single segment by definition is returned whole.
    fn begin(&mut self) -> Option<Outgoing> {
        let work = self.next_work().copied();
        if self.response_turn || work.is_none() {
            self.response_turn = false;
            if self.begin_response() {
                return None;
            }
        }
        self.response_turn = true;
        let work = work?;
        let seq = self.cursor;
        self.cursor += 1;
        let segmenter = match work.operation {
            Operation::Send {
                solicited,
                invalidate,
            } => {
                let control = Control::new(Opcode::send(solicited, invalidate.is_some()));
                let msn = next_msn(&mut self.send_msn);
                let word = invalidate.map_or(0, |stag| stag.0);
                Segmenter::untagged(control.0, word, QN_SEND, msn, work.len)
            }
            Operation::Write { stag, to } => {
                // `post` has refused what wraps; an empty message is the harmless answer.
                Segmenter::tagged(Control::new(Opcode::WRITE).0, stag, to, work.len).ok()?
            }
            Operation::Immediate { data, solicited } => {
                let opcode = if solicited {
                    Opcode::IMMEDIATE_SOLICITED
                } else {
                    Opcode::IMMEDIATE
                };
                let header = control_header(opcode, QN_SEND, next_msn(&mut self.send_msn));
                return Some(Outgoing::new(
                    &header,
                    &data,
                    Payload::None,
                    Some(SentToken(seq)),
                ));
            }
            Operation::Read { stag, to } => {
                return Some(self.read_request(Some((seq, work.slot)), stag, to, work.len));
            }
            Operation::Atomic {
                stag,
                to,
                operation,
            } => {
                let id = self.next_atomic_id;
                self.next_atomic_id = id.wrapping_add(1);
                self.pending
                    .push_back(Pending::atomic((seq, work.slot), id));
                let header = control_header(
                    Opcode::ATOMIC_REQUEST,
                    QN_READ_REQUEST,
                    next_msn(&mut self.request_msn),
                );
                let body = AtomicRequest {
                    id,
                    stag,
                    to,
                    operation,
                }
                .encode();
                return Some(Outgoing::new(&header, &body, Payload::None, None));
            }
        };
        self.current = Some(Current::Work {
            seq,
            slot: work.slot,
            segmenter,
        });
        None
    }

    /// Begins the Read Response that is next, if one is. An atomic operation is answered by
    /// [`answer_atomic`](Self::answer_atomic), before anything else is asked for.
    fn begin_response(&mut self) -> bool {
        let Some(&Response {
            request: Request::Read(request),
            msn,
        }) = self.responses.front()
        else {
            return false;
        };
        self.responses.pop_front();
        let ReadRequest {
            sink_stag,
            sink_to,
            size,
            ..
        } = request;
        // A sink whose offsets wrap is the requester's own mistake: it cannot be answered, and
        // `inbound` refuses it before it comes here.
        let Ok(segmenter) = Segmenter::tagged(
            Control::new(Opcode::READ_RESPONSE).0,
            sink_stag,
            sink_to,
            size,
        ) else {
            return false;
        };
        self.current = Some(Current::Response {
            request,
            msn,
            segmenter,
            before: 0,
        });
        true
    }

    fn continue_current(&mut self, mulpdu: u16) -> Option<Outgoing> {
        match self.current.as_mut()? {
            Current::Work {
                seq,
                slot,
                segmenter,
            } => {
                let segment = segmenter.next(mulpdu)?;
                let payload = if segment.payload.is_empty() {
                    Payload::None
                } else {
                    Payload::Work {
                        slot: *slot,
                        range: segment.payload,
                    }
                };
                let done = segmenter.is_done();
                let token = done.then_some(SentToken(*seq));
                if done {
                    self.current = None;
                }
                Some(Outgoing::new(&segment.header, &[], payload, token))
            }
            Current::Response {
                request,
                segmenter,
                before,
                ..
            } => {
                let segment = segmenter.next(mulpdu)?;
                *before = segment.payload.start;
                let len = segment.payload.end - segment.payload.start;
                let payload = if len == 0 {
                    Payload::None
                } else {
                    Payload::Region {
                        stag: request.source_stag,
                        to: request
                            .source_to
                            .wrapping_add(u64::from(segment.payload.start)),
                        len,
                    }
                };
                Some(Outgoing::new(&segment.header, &[], payload, None))
            }
        }
    }

    /// To be called when the segment that [`next`](Self::next) gave has been framed.
    pub(crate) fn framed(&mut self) {
        if let Some(Current::Response { segmenter, .. }) = &self.current
            && segmenter.is_done()
        {
            self.current = None;
        }
    }

    /// Gives up the answer under way or due, since its region may no longer be reached; returns what is
    /// left of the Request, and its MSN.
    pub(crate) fn abandon_response(&mut self) -> Option<Response> {
        match self.current.take() {
            Some(Current::Response {
                request,
                msn,
                before,
                ..
            }) => Some(Response {
                request: Request::Read(request.remainder(before)),
                msn,
            }),
            None => self.responses.pop_front(),
            other => {
                self.current = other;
                None
            }
        }
    }

    fn read_request(
        &mut self,
        owner: Option<(u64, Slot)>,
        stag: Stag,
        to: u64,
        size: u32,
    ) -> Outgoing {
        let request = ReadRequest {
            sink_stag: self.sink_stag,
            sink_to: self.next_sink_to,
            size,
            source_stag: stag,
            source_to: to,
        };
        // A gap of one keeps an empty Read apart from the next one.
        self.next_sink_to += u64::from(size) + 1;
        self.pending.push_back(Pending::read(owner, request));
        let msn = next_msn(&mut self.request_msn);
        let header = control_header(Opcode::READ_REQUEST, QN_READ_REQUEST, msn);
        Outgoing::new(&header, &request.encode(), Payload::None, None)
    }

    /// The RTR frame of a peer-to-peer set-up (RFC 6581 s9.2, E18): an empty Send.
    pub(crate) fn rtr_send(&mut self) -> Outgoing {
        let header = control_header(Opcode::SEND, QN_SEND, next_msn(&mut self.send_msn));
        Outgoing::new(&header, &[], Payload::None, None)
    }

    /// The RTR frame as an empty RDMA Write, which needs no STag (RFC 5041 s5.2, D21).
    pub(crate) fn rtr_write() -> Outgoing {
        let header = Header::Tagged(uwarp_ddp::Tagged {
            last: true,
            ulp: Control::new(Opcode::WRITE).0,
            stag: Stag(0),
            to: 0,
        });
        Outgoing::new(&header, &[], Payload::None, None)
    }

    /// The RTR frame as an empty RDMA Read; it takes one place of the ORD until its answer comes
    /// (G16).
    pub(crate) fn rtr_read(&mut self) -> Outgoing {
        self.read_request(None, Stag(0), 0, 0)
    }
}

fn next_msn(counter: &mut u32) -> u32 {
    let msn = *counter;
    *counter = msn.wrapping_add(1);
    msn
}

fn control_header(opcode: Opcode, qn: u32, msn: u32) -> Header {
    Header::Untagged(uwarp_ddp::Untagged {
        last: true,
        ulp: Control::new(opcode).0,
        ulp_word: 0,
        qn,
        msn,
        mo: 0,
    })
}

fn terminate_segment(message: &Terminate) -> Outgoing {
    let mut body = [0; TERMINATE_MAX];
    let len = message.encode(&mut body);
    Outgoing::new(
        &control_header(Opcode::TERMINATE, QN_TERMINATE, 1),
        &body[..len],
        Payload::None,
        None,
    )
}

const _: () = assert!(READ_REQUEST_LEN <= TERMINATE_MAX);

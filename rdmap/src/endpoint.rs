//! One RDMAP stream, both halves.

use std::collections::VecDeque;

use uwarp_ddp::{Header, Stag};

use crate::atomic::AtomicRequest;
use crate::error::{PostError, RdmapError};
use crate::inbound::{Inbound, Notice, Regions, Target};
use crate::outbound::{Outbound, Outgoing, Request, SentToken};
use crate::terminate::Terminate;
use crate::work::{Completion, Slot, Status, Work};

/// What a stream may hold; all of it bounds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Posted Sends, Writes and Reads that are not complete.
    pub send_queue: usize,
    /// Posted receive buffers that are not complete.
    pub receive_queue: usize,
    /// Read Requests of the peer's that may be unanswered (RFC 5040 s6.1, R37).
    pub ird: u16,
    /// Reads of ours that may be unanswered.
    pub ord: u16,
}

/// The RDMAP state of one stream.
///
/// Calls that feed it: [`post`](Self::post), [`post_receive`](Self::post_receive),
/// [`place`](Self::place) and [`deliver`](Self::deliver) for every segment that arrives,
/// [`sent`](Self::sent), [`terminate`](Self::terminate), [`flush_sends`](Self::flush_sends),
/// [`flush_receives`](Self::flush_receives).
/// Calls that drain it: [`next_segment`](Self::next_segment) and
/// [`poll_completion`](Self::poll_completion).
#[derive(Debug)]
pub struct Endpoint {
    inbound: Inbound,
    outbound: Outbound,
    completions: VecDeque<Completion>,
}

impl Endpoint {
    /// A stream with these limits.
    ///
    /// `sink_stag` names the sinks of this stream's RDMA Reads on the wire. It is not in any STag
    /// table: only a Read Response that answers an outstanding Read is placed through it, so that a
    /// sink needs no right of remote write. It should be unpredictable (RFC 5042 s6.1.1, S10).
    #[must_use]
    pub fn new(limits: Limits, sink_stag: Stag) -> Self {
        Self {
            inbound: Inbound::new(limits),
            outbound: Outbound::new(limits, sink_stag),
            completions: VecDeque::with_capacity(limits.send_queue + limits.receive_queue),
        }
    }

    /// Takes a Send, Write or Read; requests start and complete in the order of posting
    /// (RFC 5040 s5.5, R31, R33).
    ///
    /// # Errors
    /// When the queue is full, the stream is ending, no Reads are allowed or the offset wraps.
    pub fn post(&mut self, work: Work) -> Result<(), PostError> {
        self.outbound.post(work)
    }

    /// Takes a receive buffer of `len` octets for one incoming Send.
    ///
    /// # Errors
    /// [`PostError::Full`] when the receive queue is full.
    pub fn post_receive(&mut self, slot: Slot, len: u32) -> Result<(), PostError> {
        self.inbound.post(slot, len)
    }

    /// Decides where `len` octets of payload behind `header` go; any order, any number of times.
    ///
    /// # Errors
    /// What the peer did wrong.
    pub fn place(&mut self, header: &Header, len: u32) -> Result<Target, RdmapError> {
        self.inbound.place(header, len, &self.outbound)
    }

    /// Takes note of a segment whose payload has been placed: once each, in stream order. `body` is
    /// the payload where [`place`](Self::place) said [`Target::Control`], else it is not looked at.
    ///
    /// # Errors
    /// What the peer did wrong.
    pub fn deliver<R: Regions>(
        &mut self,
        header: &Header,
        len: u32,
        body: &[u8],
        regions: &mut R,
    ) -> Result<Option<Notice>, RdmapError> {
        self.inbound.deliver(
            header,
            len,
            body,
            &mut self.outbound,
            regions,
            &mut self.completions,
        )
    }

    /// The next segment to frame, of at most `mulpdu` octets.
    ///
    /// After framing it, call [`framed`](Self::framed); if its source may no longer be read, call
    /// [`abandon_response`](Self::abandon_response) instead.
    pub fn next_segment(&mut self, mulpdu: u16) -> Option<Outgoing> {
        self.outbound.next(mulpdu)
    }

    /// The segment that [`next_segment`](Self::next_segment) gave is framed.
    pub fn framed(&mut self) {
        self.outbound.framed();
    }

    /// Gives up the answer under way or due; returns what was left of the peer's Request, and its MSN.
    pub fn abandon_response(&mut self) -> Option<(Request, u32)> {
        self.outbound
            .abandon_response()
            .map(|response| (response.request, response.msn))
    }

    /// The peer's atomic operation whose turn has come. The driver performs it, and gives the word as
    /// it was before to [`answer_atomic`](Self::answer_atomic); nothing is asked of
    /// [`next_segment`](Self::next_segment) in between.
    #[must_use]
    pub fn atomic_due(&self) -> Option<AtomicRequest> {
        self.outbound.atomic_due()
    }

    /// The segment that answers the atomic operation that was due.
    pub fn answer_atomic(&mut self, original: u64) -> Option<Outgoing> {
        self.outbound.answer_atomic(original)
    }

    /// The last octet of this request has been accepted by the transport (R32).
    pub fn sent(&mut self, token: SentToken) {
        self.outbound.sent(token, &mut self.completions);
    }

    /// Whether [`next_segment`](Self::next_segment) has something to give.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.outbound.has_output()
    }

    /// Octets of the Reads of the peer's that have not been answered in full.
    #[must_use]
    pub fn octets_owed(&self) -> u64 {
        self.outbound.octets_owed()
    }

    /// Whether everything posted is handed over, answered and answering.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outbound.is_idle()
    }

    /// Whether a Read of ours, begun or not, has not been answered.
    #[must_use]
    pub fn expects_response(&self) -> bool {
        self.outbound.expects_response()
    }

    /// Sends `message` at the next message boundary and nothing after it (RFC 5040 s5.4, R25). Only
    /// the first call counts (R40).
    pub fn terminate(&mut self, message: Terminate) {
        self.outbound.terminate(message);
    }

    /// The peer's Terminate blames the Read whose sink holds `sink_to`.
    pub fn refuse_read(&mut self, sink_to: u64, status: Status) {
        self.outbound.refuse_read(sink_to, status);
    }

    /// Completes every posted Send, Write and Read that is not complete; nothing is sent after it.
    pub fn flush_sends(&mut self) {
        self.outbound.flush(&mut self.completions);
    }

    /// Completes every posted receive that is not complete.
    pub fn flush_receives(&mut self) {
        self.inbound.flush(&mut self.completions);
    }

    /// The next completion.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    /// The RTR frame of a peer-to-peer set-up as an empty Send (RFC 6581 s9.2, E18).
    pub fn rtr_send(&mut self) -> Outgoing {
        self.outbound.rtr_send()
    }

    /// The RTR frame as an empty RDMA Write.
    pub fn rtr_write(&mut self) -> Outgoing {
        Outbound::rtr_write()
    }

    /// The RTR frame as an empty RDMA Read.
    pub fn rtr_read(&mut self) -> Outgoing {
        self.outbound.rtr_read()
    }

    /// An empty Send arrived as RTR: it uses its MSN but no posted receive (G15).
    pub fn skip_rtr_send(&mut self) {
        self.inbound.skip_rtr_send();
    }
}

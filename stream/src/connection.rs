//! The connection object: its state, and the calls of the application's side.

use std::collections::VecDeque;
use std::time::Instant;

use uwarp_ddp::Stag;
use uwarp_mpa::{Agreement, Deframer, FpduError, Framer, mulpdu};
use uwarp_rdmap::{
    Completion, Endpoint, Limits, PostError, SentToken, Slot, Status, Terminate, Work,
};

use crate::config::Config;
use crate::event::{End, Event};
use crate::fault::{Fault, Headers};
use crate::reminder::Reminder;
use crate::startup::Startup;
use crate::stats::Stats;

/// Which MPA frame a connection sends; it does not matter who made the TCP connection
/// (RFC 5044 s7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends the Request.
    Initiator,
    /// Waits for the Request and answers it.
    Responder,
}

/// The receiving half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiving {
    /// Startup frames are expected.
    Startup,
    /// FPDUs are expected.
    Open,
    /// The peer's FIN has come.
    Ended,
    /// After a fault or a Terminate: octets are read and dropped, so that TCP does not answer
    /// them with a reset that would overtake our Terminate (RFC 5041 s7.1, D36; G24).
    Discarding,
}

/// The sending half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Only startup frames may be sent.
    Startup,
    /// A responder that has not received an FPDU (RFC 5044 s7.1.2 r4, U18).
    Silent,
    /// As [`Silent`](Self::Silent), with work that goes out before the connection is closed.
    SilentFinishing,
    /// FPDUs may be sent.
    Open,
    /// Closing: what is queued goes out, nothing more is accepted.
    Finishing,
    /// A Terminate goes out, and nothing after it.
    LastWords,
    /// The FIN is due.
    Fin,
    /// The FIN has been sent.
    Ended,
}

/// What exists once both ends agree.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) framer: Framer,
    pub(crate) deframer: Deframer,
    pub(crate) endpoint: Endpoint,
    pub(crate) mulpdu: u16,
    /// Ends of messages in the stream of octets that we send: when so much has been written, the
    /// message is the transport's (RFC 5040 s5.5, R32).
    pub(crate) marks: VecDeque<(u64, SentToken)>,
    /// The RTR frame is still to be sent (initiator) or received (responder).
    pub(crate) rtr_pending: bool,
    pub(crate) agreement: Agreement,
}

/// One iWARP connection; see the crate's documentation for the calls that feed and drain it.
#[derive(Debug)]
pub struct Connection {
    pub(crate) config: Config,
    pub(crate) role: Role,
    pub(crate) sink_stag: Stag,
    pub(crate) receiving: Receiving,
    pub(crate) sending: Sending,
    pub(crate) startup: Startup,
    pub(crate) link: Option<Link>,
    pub(crate) events: VecDeque<Event>,
    /// A startup frame that waits for its batch.
    pub(crate) frame: Option<Vec<u8>>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) reminder: Reminder,
    /// When a responder speaks though it has not been spoken to.
    pub(crate) unasked_at: Option<Instant>,
    /// Octets put into batches, and octets of these that the transport has taken.
    pub(crate) batched: u64,
    pub(crate) written: u64,
    /// What waits in the batch is not wanted any more.
    pub(crate) drop_batch: bool,
    pub(crate) over: bool,
    /// What will be reported when both halves are done.
    pub(crate) verdict: Option<End>,
    pub(crate) stats: Stats,
    pub(crate) scratch: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(
        role: Role,
        config: Config,
        sink_stag: Stag,
        startup: Startup,
        now: Instant,
    ) -> Self {
        let deadline = now.checked_add(config.startup_timeout);
        Self {
            config,
            role,
            sink_stag,
            receiving: Receiving::Startup,
            sending: Sending::Startup,
            startup,
            link: None,
            events: VecDeque::new(),
            frame: None,
            deadline,
            reminder: match role {
                Role::Initiator => Reminder::Idle,
                Role::Responder => Reminder::Over,
            },
            unasked_at: None,
            batched: 0,
            written: 0,
            drop_batch: false,
            over: false,
            verdict: None,
            stats: Stats::default(),
            scratch: Vec::new(),
        }
    }

    /// Which frame this end sends.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The terms, once the connection is set up.
    #[must_use]
    pub fn agreement(&self) -> Option<&Agreement> {
        self.link.as_ref().map(|link| &link.agreement)
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Largest ULPDU that is sent now, in octets (RFC 5044 s4.5).
    #[must_use]
    pub fn mulpdu(&self) -> Option<u16> {
        self.link.as_ref().map(|link| link.mulpdu)
    }

    /// The TCP connection's effective maximum segment size, in octets.
    #[must_use]
    pub const fn emss(&self) -> u32 {
        self.config.emss
    }

    /// The TCP connection's effective maximum segment size has changed (RFC 5041 s3, D01).
    pub fn set_emss(&mut self, emss: u32) {
        self.config.emss = emss;
        if let Some(link) = &mut self.link {
            link.mulpdu = mulpdu(emss, link.agreement.tx_markers);
        }
    }

    /// Posts a Send, Write or Read. It is transmitted by the next calls of
    /// [`transmit`](Self::transmit), as soon as the rules of the stream allow.
    ///
    /// # Errors
    /// [`PostError::Closed`] before the connection is set up and from the moment it begins to end;
    /// else what [`Endpoint::post`] says.
    pub fn post(&mut self, work: Work) -> Result<(), PostError> {
        let is_answered = work.operation.is_answered();
        match (self.sending, self.receiving, &mut self.link) {
            // An answer can no longer arrive.
            (_, Receiving::Ended, _) if is_answered => Err(PostError::Closed),
            (Sending::Silent | Sending::Open, _, Some(link)) => link.endpoint.post(work),
            _ => Err(PostError::Closed),
        }
    }

    /// Posts a receive buffer of `len` octets.
    ///
    /// # Errors
    /// [`PostError::Full`], or [`PostError::Closed`] when nothing can arrive any more.
    pub fn post_receive(&mut self, slot: Slot, len: u32) -> Result<(), PostError> {
        match (self.receiving, &mut self.link) {
            (Receiving::Open, Some(link)) => link.endpoint.post_receive(slot, len),
            _ => Err(PostError::Closed),
        }
    }

    /// The next completion of a posted request.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.link.as_mut()?.endpoint.poll_completion()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`timeout`](Self::timeout) wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.deadline, self.reminder.deadline(), self.unasked_at];
        deadlines.into_iter().flatten().min()
    }

    /// Whether the connection is over: the driver closes the socket, or, after
    /// [`Event::Rejected`], gives it back.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the startup phase is still going on.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.link.is_none() && !self.over
    }

    /// Whether FPDUs may be sent, and nothing but posted work decides which.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sending == Sending::Open
    }

    /// Whether FPDUs of the peer are expected.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.receiving == Receiving::Open
    }

    /// Octets that may be read while the connection starts: as many as the startup frame needs and no
    /// more, since what follows a rejecting Reply belongs to the application. 0 while the application
    /// decides, and after the startup.
    #[must_use]
    pub fn startup_need(&self) -> usize {
        match &self.startup {
            Startup::Reading { need, .. } => *need,
            Startup::Deciding(_) | Startup::Done => 0,
        }
    }

    /// Closes in order: what is posted goes out, outstanding Reads get their answers, then comes
    /// the FIN, and the connection is over when the peer's FIN has come too (RFC 5040 s6.2,
    /// RFC 5041 s6.2.1, D28). Takes at most the configured time.
    pub fn close(&mut self, now: Instant) {
        match self.sending {
            Sending::Startup => self.abort(),
            Sending::Silent => {
                // The peer's RTR frame is on its way, and may be a Read that wants its answer.
                let idle = (self.link.as_ref())
                    .is_none_or(|link| link.endpoint.is_idle() && !link.rtr_pending);
                self.sending = if idle {
                    Sending::Fin
                } else {
                    Sending::SilentFinishing
                };
                self.arm_close(now);
            }
            Sending::Open => {
                self.sending = Sending::Finishing;
                self.arm_close(now);
            }
            Sending::SilentFinishing
            | Sending::Finishing
            | Sending::LastWords
            | Sending::Fin
            | Sending::Ended => {}
        }
    }

    /// Ends the connection at once; whatever is posted completes as flushed. The driver resets the
    /// TCP connection.
    pub fn abort(&mut self) {
        self.finish(End::Aborted);
    }

    /// TCP reported an error: reset, timeout, unreachable (RFC 5044 s8, error 1).
    pub fn transport_lost(&mut self) {
        let end = self.verdict.take().unwrap_or(End::Lost);
        self.finish(end);
    }

    /// The peer's FIN has come; `leftover` octets were read that are no whole frame or FPDU.
    pub fn end_of_stream(&mut self, leftover: usize) {
        match self.receiving {
            Receiving::Startup => self.finish(End::Lost),
            Receiving::Open => {
                let link_done = self
                    .link
                    .as_ref()
                    .is_none_or(|link| !link.endpoint.expects_response());
                if leftover > 0 || !link_done {
                    return self.finish(End::Lost);
                }
                self.receiving = Receiving::Ended;
                self.reminder.stop();
                self.unasked_at = None;
                if let Some(link) = &mut self.link {
                    link.endpoint.flush_receives();
                }
                if matches!(self.sending, Sending::Silent | Sending::SilentFinishing) {
                    // The FPDU that would let us speak can no longer come.
                    self.flush_sends();
                    self.sending = Sending::Fin;
                }
                self.events.push_back(Event::PeerClosed);
            }
            Receiving::Discarding => self.receiving = Receiving::Ended,
            Receiving::Ended => {}
        }
        self.settle();
    }

    /// Whether the FIN is due: `true` when everything that was batched has been written. The
    /// driver shuts the sending half of the socket down and calls
    /// [`shut_down`](Self::shut_down).
    #[must_use]
    pub const fn wants_shutdown(&self) -> bool {
        matches!(self.sending, Sending::Fin)
            && self.written == self.batched
            && self.frame.is_none()
            && !self.over
    }

    /// The FIN has been sent.
    pub fn shut_down(&mut self) {
        if self.sending == Sending::Fin {
            self.sending = Sending::Ended;
            self.flush_sends();
            self.settle();
        }
    }

    /// `count` more octets of the batch have been taken by the transport.
    pub fn written(&mut self, count: usize) {
        self.written += count as u64;
        let Some(link) = &mut self.link else { return };
        while let Some(&(end, token)) = link.marks.front() {
            if end > self.written {
                break;
            }
            link.marks.pop_front();
            link.endpoint.sent(token);
        }
    }

    /// The deadline may have passed.
    pub fn timeout(&mut self, now: Instant) {
        self.reminder.elapse(now);
        if self.unasked_at.is_some_and(|at| at <= now) {
            self.may_speak();
        }
        if self.over || self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        let end = match self.sending {
            Sending::Startup | Sending::Silent => End::StartupTimeout,
            _ => self.verdict.take().unwrap_or(End::CloseTimeout),
        };
        self.finish(end);
    }

    /// Makes the link once the terms are known.
    pub(crate) fn open_link(&mut self, agreement: Agreement) {
        let limits = Limits {
            send_queue: self.config.send_queue,
            receive_queue: self.config.receive_queue,
            ird: agreement.ird,
            ord: agreement.ord,
        };
        self.link = Some(Link {
            framer: Framer::new(agreement.tx_markers, agreement.crc),
            deframer: Deframer::new(agreement.rx_markers, agreement.crc),
            endpoint: Endpoint::new(limits, self.sink_stag),
            mulpdu: mulpdu(self.config.emss, agreement.tx_markers),
            marks: VecDeque::with_capacity(self.config.send_queue),
            rtr_pending: agreement.peer_to_peer,
            agreement,
        });
    }

    /// The peer broke a rule: tell it if it can be told, drop what it says from now on, and end
    /// (RFC 5040 s7.1, R40; RFC 5041 s7.1, D36).
    ///
    /// `ulpdu` is the beginning of the offending segment, `ulpdu_len` its length.
    pub(crate) fn fail(&mut self, fault: Fault, ulpdu: &[u8], ulpdu_len: u16, now: Instant) {
        let (code, headers) = fault.verdict();
        let mut message = Terminate::bare(code);
        if headers != Headers::None {
            message.segment_len = Some(ulpdu_len);
        }
        if matches!(headers, Headers::Ddp | Headers::DdpAndRead) {
            message.ddp_header = uwarp_rdmap::terminate::BlamedHeader::of(ulpdu);
        }
        if headers == Headers::DdpAndRead {
            message.read_request = ulpdu
                .get(uwarp_ddp::UNTAGGED_LEN..)
                .and_then(|body| body.first_chunk().copied());
        }
        let speechless = matches!(
            fault,
            Fault::Startup(_)
                | Fault::Fpdu(FpduError::Truncated)
                | Fault::Rdmap(uwarp_rdmap::RdmapError::BadTerminate)
        );
        self.end_with((!speechless).then_some(message), End::Fault(fault), now);
    }

    /// Ends the stream for a reason that is already known, with or without a Terminate.
    pub(crate) fn end_with(&mut self, message: Option<Terminate>, end: End, now: Instant) {
        if self.verdict.is_some() || self.over {
            return;
        }
        self.verdict = Some(end);
        self.reminder.stop();
        self.unasked_at = None;
        if self.receiving != Receiving::Ended {
            self.receiving = Receiving::Discarding;
        }
        self.arm_close(now);
        let Some(link) = &mut self.link else {
            let end = self.verdict.take().unwrap_or(End::Lost);
            return self.finish(end);
        };
        link.endpoint.flush_receives();
        match (self.sending, message) {
            (Sending::Open | Sending::Finishing, Some(message)) => {
                link.endpoint.terminate(message);
                self.sending = Sending::LastWords;
            }
            (Sending::Ended, _) => {}
            _ => {
                self.flush_sends();
                self.drop_batch = true;
                self.batched = self.written;
                self.sending = Sending::Fin;
            }
        }
        self.settle();
    }

    /// The peer's Terminate: no answer is owed to it, nothing more is said (RFC 5040 s5.4, R25).
    pub(crate) fn terminated(&mut self, message: &Terminate, now: Instant) {
        if let Some(link) = &mut self.link
            && let Some(request) = message
                .read_request
                .as_ref()
                .and_then(|octets| uwarp_rdmap::header::ReadRequest::parse(octets))
        {
            link.endpoint
                .refuse_read(request.sink_to, Status::Refused(message.code));
        }
        self.end_with(None, End::Terminated(message.code), now);
    }

    pub(crate) fn flush_sends(&mut self) {
        if let Some(link) = &mut self.link {
            link.endpoint.flush_sends();
            link.marks.clear();
        }
    }

    pub(crate) fn arm_close(&mut self, now: Instant) {
        self.deadline = now.checked_add(self.config.close_timeout);
    }

    /// Both halves done?
    pub(crate) fn settle(&mut self) {
        if !self.over && self.sending == Sending::Ended && self.receiving == Receiving::Ended {
            let end = self.verdict.take().unwrap_or(End::Graceful);
            self.finish(end);
        }
    }

    /// The end: everything posted completes, and the driver is told.
    pub(crate) fn finish(&mut self, end: End) {
        if self.over {
            return;
        }
        self.over = true;
        self.drop_batch = true;
        self.deadline = None;
        self.reminder.stop();
        self.unasked_at = None;
        self.startup = Startup::Done;
        self.frame = None;
        self.sending = Sending::Ended;
        self.receiving = Receiving::Ended;
        self.flush_sends();
        if let Some(link) = &mut self.link {
            link.endpoint.flush_receives();
        }
        self.events.push_back(Event::Over(end));
    }
}

//! What a program may choose for a socket.

use std::time::Duration;

use uwarp_mpa::{Policy, Revision, RtrSet};

use crate::completion::CompletionQueue;
use crate::domain::Domain;
use crate::error::Error;
use crate::worker::Workers;

/// How a silently dead peer is found: TCP keep-alive on an idle connection, and a limit on how long
/// sent octets may stay unacknowledged (TCP_USER_TIMEOUT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe, in whole seconds.
    pub idle: Duration,
    /// Time between probes, in whole seconds.
    pub interval: Duration,
    /// Probes without an answer after which the connection is lost.
    pub probes: u32,
    /// How long octets may stay unacknowledged.
    pub unacknowledged: Duration,
}

impl Default for Keepalive {
    /// 10 s idle, 5 s between probes, 4 probes, 30 s unacknowledged: a dead peer is found within
    /// half a minute.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            interval: Duration::from_secs(5),
            probes: 4,
            unacknowledged: Duration::from_secs(30),
        }
    }
}

/// The options of a DDPMODE socket. Each is a policy of that socket alone.
///
/// ```
/// use uwarp::{Domain, Options};
///
/// let domain = Domain::new();
/// let options = Options::new(&domain).crc(true).ird(16).ord(16).private_data(b"hello");
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) domain: Domain,
    pub(crate) policy: Policy,
    pub(crate) private_data: Vec<u8>,
    pub(crate) send_queue: u32,
    pub(crate) receive_queue: u32,
    pub(crate) startup_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) completion_queue: Option<CompletionQueue>,
    pub(crate) workers: Option<Workers>,
    pub(crate) mulpdu_emss: Option<u32>,
    pub(crate) half_close: bool,
    pub(crate) speak_unasked: Option<Duration>,
    pub(crate) remind_always: bool,
    pub(crate) busy_poll: Option<Duration>,
}

impl Options {
    /// The defaults for sockets of `domain`: revision 2, CRC on, markers sent if the peer asks for
    /// them and not asked for, peer-to-peer set-up with a Write or Read as RTR, IRD and ORD 32,
    /// queues of 128, 5 s for set-up and closing, keep-alive on.
    #[must_use]
    pub fn new(domain: &Domain) -> Self {
        Self {
            domain: domain.clone(),
            policy: Policy::default(),
            private_data: Vec::new(),
            send_queue: 128,
            receive_queue: 128,
            startup_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            keepalive: Some(Keepalive::default()),
            completion_queue: None,
            workers: None,
            mulpdu_emss: None,
            half_close: false,
            speak_unasked: None,
            remind_always: false,
            busy_poll: None,
        }
    }

    /// Whether we want a CRC32c on every FPDU. It is off only when both ends decline it
    /// (RFC 5044 s4.4, F19); decline it only where the path is known to protect data as well.
    #[must_use]
    pub fn crc(mut self, on: bool) -> Self {
        self.policy.crc = on;
        self
    }

    /// Whether we ask the peer to put markers into what it sends (RFC 5044 s4.3, F13).
    #[must_use]
    pub fn markers(mut self, on: bool) -> Self {
        self.policy.markers = on;
        self
    }

    /// Use revision 1 of the startup frames, without IRD and ORD (RFC 5044 s7.1.1). Peer-to-peer
    /// set-up is then not available.
    #[must_use]
    pub fn revision_1(mut self) -> Self {
        self.policy.revision = Revision::One;
        self.policy.peer_to_peer = false;
        self
    }

    /// As initiator: ask for the peer-to-peer model, in which the accepting side may send first
    /// (RFC 6581 s9.2).
    #[must_use]
    pub fn peer_to_peer(mut self, on: bool) -> Self {
        self.policy.peer_to_peer = on;
        self
    }

    /// The RTR frames that this end can send as initiator and accepts as responder
    /// (RFC 6581 s9.2, E14, E15). An empty Send uses no posted receive.
    #[must_use]
    pub fn rtr(mut self, kinds: RtrSet) -> Self {
        self.policy.rtr = kinds;
        self
    }

    /// As initiator: whether IRD and ORD are negotiated. If not, the Request says so (0x3FFF), and both
    /// ends keep what they are configured to (RFC 6581 s9.1, E13).
    #[must_use]
    pub fn negotiate_depths(mut self, on: bool) -> Self {
        self.policy.negotiate_depths = on;
        self
    }

    /// RDMA Reads of the peer's that we answer at a time, 0 to 16,382 (RFC 6581 s9.1).
    #[must_use]
    pub fn ird(mut self, ird: u16) -> Self {
        self.policy.ird = ird;
        self
    }

    /// RDMA Reads of ours that may be outstanding, 0 to 16,382 (RFC 6581 s9.1); the peer's IRD
    /// limits it too.
    #[must_use]
    pub fn ord(mut self, ord: u16) -> Self {
        self.policy.ord = ord;
        self
    }

    /// Private data for the Request, at most 508 octets (RFC 5044 s7.1.1, U10; 512 with
    /// revision 1).
    #[must_use]
    pub fn private_data(mut self, octets: &[u8]) -> Self {
        self.private_data = octets.to_vec();
        self
    }

    /// Sends, Writes and Reads that may be posted and incomplete, at least 1.
    #[must_use]
    pub fn send_queue(mut self, depth: u32) -> Self {
        self.send_queue = depth.max(1);
        self
    }

    /// Receives that may be posted and incomplete, at least 1.
    #[must_use]
    pub fn receive_queue(mut self, depth: u32) -> Self {
        self.receive_queue = depth.max(1);
        self
    }

    /// How long the peer may take for its startup frame.
    #[must_use]
    pub fn startup_timeout(mut self, time: Duration) -> Self {
        self.startup_timeout = time;
        self
    }

    /// How long closing may take.
    #[must_use]
    pub fn close_timeout(mut self, time: Duration) -> Self {
        self.close_timeout = time;
        self
    }

    /// How a silently dead peer is found; `None` leaves it to TCP's own patience.
    #[must_use]
    pub fn keepalive(mut self, keepalive: Option<Keepalive>) -> Self {
        self.keepalive = keepalive;
        self
    }

    /// Complete into this queue, which several sockets may share; without it a socket has its own.
    #[must_use]
    pub fn completion_queue(mut self, queue: &CompletionQueue) -> Self {
        self.completion_queue = Some(queue.clone());
        self
    }

    /// Serve the socket by these workers instead of the process's own.
    #[must_use]
    pub fn workers(mut self, workers: &Workers) -> Self {
        self.workers = Some(workers.clone());
        self
    }

    /// Compute the MULPDU from this segment size in octets instead of TCP's own, which the
    /// connection would otherwise follow (RFC 5044 s4.5, F28). A larger one than TCP's gives up the
    /// alignment of FPDUs with TCP segments.
    #[must_use]
    pub fn emss(mut self, octets: u32) -> Self {
        self.mulpdu_emss = Some(octets);
        self
    }

    /// Whether the socket stays open for sending when the peer has closed (RFC 5041 s6.2.1, D30). By
    /// default it then closes by itself, after what has been posted: a program that only serves its
    /// memory need not attend to its sockets.
    #[must_use]
    pub fn half_close(mut self, on: bool) -> Self {
        self.half_close = on;
        self
    }

    /// As responder to an initiator that does not ask for peer-to-peer mode: send so long after accepting
    /// though it has sent nothing.
    ///
    /// RFC 5044 s7.1.2 forbids it (r4, U18), and by default the socket waits to be spoken to. It is for
    /// applications whose server speaks first, over peers like Linux's siw that never ask for peer-to-peer mode and
    /// bear it. Allow some 100 ms: siw fails if a message waits right behind our Reply.
    #[must_use]
    pub fn speak_unasked(mut self, after: Duration) -> Self {
        self.speak_unasked = Some(after);
        self
    }

    /// How long [`Socket::wait`](crate::Socket::wait) looks for itself before it sleeps: that saves the time of
    /// being woken, several microseconds, and costs a processor meanwhile. Zero is never. By default it is 50 us where
    /// there is more than one processor, and rarely as long as looking is in vain.
    #[must_use]
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = Some(time);
        self
    }

    /// As initiator: send an empty Write 50, 250 and 1250 ms after our first FPDU though the peer has been heard.
    ///
    /// By default they are sent only to a peer that says nothing. Linux's siw as responder overlooks what comes before
    /// it is ready, until more comes; where its application speaks without being asked, hearing it proves nothing.
    #[must_use]
    pub fn remind_always(mut self, on: bool) -> Self {
        self.remind_always = on;
        self
    }

    /// A forked child has to make its own domain, workers and queues.
    pub(crate) fn check_owner(&self) -> Result<(), Error> {
        let queue_is_ours = (self.completion_queue.as_ref()).is_none_or(CompletionQueue::is_ours);
        let workers_are_ours = self.workers.as_ref().is_none_or(Workers::are_ours);
        if self.domain.is_ours() && queue_is_ours && workers_are_ours {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    pub(crate) fn stream_config(&self, emss: u32) -> uwarp_stream::Config {
        uwarp_stream::Config {
            policy: self.policy,
            send_queue: self.send_queue as usize,
            receive_queue: self.receive_queue as usize,
            emss: self.mulpdu_emss.unwrap_or(emss),
            startup_timeout: self.startup_timeout,
            close_timeout: self.close_timeout,
            speak_unasked: self.speak_unasked,
            remind_always: self.remind_always,
        }
    }
}

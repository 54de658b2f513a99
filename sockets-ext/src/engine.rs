//! The driver of one connection: socket on one side, protocol object in the middle, rings on the
//! other side.

mod input;
mod memory;

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::Instant;

use uwarp_ddp::Peer;
use uwarp_rdmap::{Operation, PostError, Slot, Status, Work};
use uwarp_stream::{Batch, Connection, End, Event};

use crate::completion::Completion;
use crate::descriptor::{Descriptor, Works};
use crate::domain::Domain;
use crate::iov::{self, Sent, Vectors};
use crate::link::{Command, Link, Phase};
use crate::memory::RegionMemory;
use crate::poll::Interest;
use crate::staging::Staging;
use memory::EngineMemory;

/// Octets put into a batch before it is written. TCP makes more of one long write than of several: fewer wake-ups of
/// the reader, and fewer acknowledgements.
const BATCH_OCTETS: usize = 512 * 1024;

/// Octets of the first batch of a turn: the peer has something to do while the next one is made, which under a
/// CRC takes its time.
const FIRST_BATCH_OCTETS: usize = 128 * 1024;

/// Half of what the peer has asked for by Reads is the first batch that answers them, but at least so many octets; each
/// one behind it is twice as long. The peer, which may have no more Requests under way, works on the first answers
/// while the others are made.
const ANSWER_OCTETS: usize = 32 * 1024;

/// Octets that a caller takes upon itself to send along with its own request.
const CARRY_OCTETS: usize = 64 * 1024;

/// Octets read or written in one turn; then other connections have theirs.
const TURN_OCTETS: usize = 1024 * 1024;

/// Writes between two looks at TCP's segment size.
const EMSS_INTERVAL: u32 = 256;

/// What the worker has to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Wait for the socket or for posts.
    Wait,
    /// Come back soon: there is more to do.
    Again,
    /// The connection is over.
    Over,
}

/// What the turn of a caller came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attended {
    /// There is more to do at once.
    pub(crate) again: bool,
    /// The worker has something to do.
    pub(crate) worker: bool,
    /// Only the worker may drive it: nothing has been done.
    pub(crate) refused: bool,
    /// Octets have come or gone.
    pub(crate) moved: bool,
    /// Octets have gone, which the peer may answer.
    pub(crate) sent: bool,
}

/// What the options say about driving a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Follow TCP's segment size; off when the application has chosen one.
    pub(crate) follow_emss: bool,
    /// Stay open for sending when the peer has closed.
    pub(crate) half_close: bool,
}

/// One connection and its socket.
#[derive(Debug)]
pub(crate) struct Engine {
    connection: Connection,
    /// `None` once it has been closed or given back.
    socket: Option<Arc<TcpStream>>,
    peer: Peer,
    domain: Domain,
    works: Works,
    /// Completions that the queue could not take yet.
    held: VecDeque<Completion>,
    batch: Batch<Arc<RegionMemory>>,
    staging: Staging,
    vectors: Vectors,
    readable: bool,
    writable: bool,
    /// The poll has said that the stream ends, so reading goes on until the end is seen.
    read_closed: bool,
    end_of_stream: bool,
    /// The poll has reported an error of the TCP connection.
    failed: bool,
    /// The last FPDU was placed straight from the socket, so another of its kind is expected.
    direct_run: bool,
    /// The last FPDUs were small, so as much as there is may be read at once.
    bulk: bool,
    /// So many octets at least wait in the socket.
    unread: usize,
    over_reported: bool,
    /// What the worker's poll watches the socket for; `None` before it does, and [`Interest::NONE`] while callers do.
    interest: Option<Interest>,
    /// The deadline that the worker knows of.
    armed: Option<Instant>,
    /// A Request has come that the listener should hear of.
    announce: bool,
    policy: Policy,
    /// Writes since the segment size was last looked at.
    writes: u32,
    /// What [`glance`](Self::glance) has read into the staging buffer, and how much there was room for.
    glanced: Option<(io::Result<usize>, usize)>,
    /// Octets read and written in the last turn.
    read: usize,
    written: usize,
}

impl Engine {
    pub(crate) fn new(
        connection: Connection,
        socket: TcpStream,
        peer: Peer,
        domain: Domain,
        works: Works,
        policy: Policy,
    ) -> Self {
        Self {
            connection,
            socket: Some(Arc::new(socket)),
            peer,
            domain,
            works,
            held: VecDeque::new(),
            batch: Batch::new(),
            staging: Staging::new(),
            vectors: Vectors::default(),
            readable: true,
            writable: true,
            read_closed: false,
            end_of_stream: false,
            failed: false,
            direct_run: false,
            bulk: false,
            unread: 0,
            over_reported: false,
            interest: None,
            armed: None,
            announce: false,
            policy,
            writes: 0,
            glanced: None,
            read: 0,
            written: 0,
        }
    }

    /// Whether a Request has come since the last call.
    pub(crate) const fn take_announcement(&mut self) -> bool {
        std::mem::replace(&mut self.announce, false)
    }

    /// When the worker has to come by, which it will.
    pub(crate) fn arm(&mut self) -> Option<Instant> {
        self.armed = self.connection.deadline();
        self.armed
    }

    /// The worker forgets the connection, which is over, for good: nothing can be posted any more. What was
    /// posted since the last turn completes here.
    pub(crate) fn retire(&mut self, link: &Link) {
        self.take_posts(link);
        self.report_completions(link);
        while !self.tell(link) {
            std::thread::yield_now();
        }
        link.attendance.stop_ticking();
    }

    /// Whether no request is incomplete, of those that have been taken, and all completions are in the queue.
    pub(crate) fn is_idle(&self) -> bool {
        self.works.is_empty() && self.held.is_empty()
    }

    /// Whether completions wait for the queue to take them: the worker must come by soon.
    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether there is more to do than the poll of the worker would tell: octets that wait though there may be room,
    /// completions that the queue has not taken, a deadline that the worker does not know of.
    pub(crate) fn has_rest(&self) -> bool {
        !self.batch.is_empty()
            || self.connection.has_output()
            || self.has_held()
            || self.connection.deadline() != self.armed
    }

    /// The socket, while it is not closed or given back.
    pub(crate) fn socket(&self) -> Weak<TcpStream> {
        self.socket.as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// Takes what the worker's poll has said.
    fn hear(&mut self, link: &Link) {
        let heard = link.take_readiness();
        self.readable |= heard.readable;
        self.writable |= heard.writable;
        self.read_closed |= heard.read_closed;
        self.failed |= heard.failed;
    }

    /// One turn of the worker: takes what the application wants, reads, writes, reports.
    pub(crate) fn turn(&mut self, link: &Link, now: Instant) -> Turn {
        self.obey(link, now);
        let turn = self.run(link, now);
        self.watch(link, turn)
    }

    /// Whether callers may attend to it: it is set up, and not over.
    fn is_attendable(&self) -> bool {
        self.interest.is_some() && !self.connection.is_starting() && !self.connection.is_over()
    }

    /// Whether it is over and nobody has been told: the poll has failed since the last turn.
    fn has_end_to_tell(&self, link: &Link) -> bool {
        self.connection.is_over() && !link.is_closed()
    }

    /// One turn of a caller that waits for a completion. Whatever only the worker can do is left to it, and
    /// `worker` says so.
    pub(crate) fn attend(&mut self, link: &Link) -> Attended {
        if self.glance(link) {
            return Attended::default();
        }
        if !self.is_attendable() {
            return Attended {
                worker: self.has_end_to_tell(link),
                refused: true,
                ..Attended::default()
            };
        }
        let turn = self.run(link, Instant::now());
        let turn = self.watch(link, turn);
        Attended {
            again: turn == Turn::Again,
            worker: turn == Turn::Over
                || self.has_end_to_tell(link)
                || self.connection.deadline() != self.armed
                || self.has_held(),
            refused: false,
            moved: self.read + self.written > 0,
            sent: self.written > 0,
        }
    }

    /// Takes the input away from the worker's poll, for callers that `keep` it by the rules of
    /// [`Attendance`](crate::ring::Attendance). `None` if they may not now; [`Turn::Again`] if the poll has failed, and a
    /// turn has to tell of the end that this brings about.
    pub(crate) fn take_input(&mut self, link: &Link, keep: impl FnOnce()) -> Option<Turn> {
        if !self.is_attendable() {
            return None;
        }
        keep();
        Some(self.watch(link, Turn::Wait))
    }

    /// Gives the input back to the worker's poll, if it is not taken any more. [`Turn::Again`] if the poll has failed,
    /// and a turn has to tell of the end that this brings about.
    #[must_use]
    pub(crate) fn give_input(&mut self, link: &Link) -> Turn {
        self.watch(link, Turn::Wait)
    }

    fn run(&mut self, link: &Link, now: Instant) -> Turn {
        self.hear(link);
        // The poll does not tell then.
        self.readable |= link.attendance.is_taken();
        self.connection.timeout(now);
        self.take_posts(link);
        (self.read, self.written) = (0, 0);
        loop {
            let read = self.read(link, now);
            // The peer may know of what has arrived as soon as something is written.
            link.set_stats(self.connection.stats());
            let wrote = self.write(link, now);
            self.report(link, now);
            self.read += read;
            self.written += wrote;
            if self.connection.is_over() {
                self.take_posts(link);
                self.report(link, now);
                return Turn::Over;
            }
            if read + wrote == 0 || self.is_settled(link) {
                return Turn::Wait;
            }
            if self.read + self.written >= TURN_OCTETS {
                return Turn::Again;
            }
            self.take_posts(link);
        }
    }

    /// Whether nothing but news can bring about more to do: what there was has been read, and all is written.
    fn is_settled(&self, link: &Link) -> bool {
        !self.readable
            && self.batch.is_empty()
            && self.connection.is_open()
            && self.connection.is_receiving()
            && !self.connection.has_output()
            && !link.has_sends()
    }

    /// Has the worker's poll tell what the engine waits for. What is ready by then it tells at once, so
    /// nothing is lost between the last look at the socket and this.
    fn watch(&mut self, link: &Link, turn: Turn) -> Turn {
        let (Some(socket), Some(token)) = (&self.socket, link.token()) else {
            return turn;
        };
        let Some(now) = self.interest else {
            let wanted = Interest {
                input: true,
                output: !self.writable,
            };
            return match link.poll().add(&**socket, token, wanted) {
                Ok(()) => {
                    self.interest = Some(wanted);
                    turn
                }
                Err(error) => {
                    tracing::error!(%error, "cannot poll a socket");
                    self.connection.transport_lost();
                    Turn::Again
                }
            };
        };
        // An interest in output is dropped only along with another change: the next wait for room is
        // likely to come, and an edge that nobody waits for does not happen.
        let wanted = Interest {
            // Behind the peer's last octet nobody reads: only the poll tells of a reset.
            input: !link.attendance.is_taken() || self.end_of_stream,
            output: !self.writable,
        };
        if wanted.input != now.input || wanted.output && !now.output {
            // A socket that the poll knows has it called for every arrival, whatever it wants to be told.
            let changed = match (now, wanted) {
                (_, Interest::NONE) => link.poll().remove(&**socket),
                (Interest::NONE, _) => link.poll().add(&**socket, token, wanted),
                _ => link.poll().change(&**socket, token, wanted),
            };
            match changed {
                Ok(()) => self.interest = Some(wanted),
                Err(error) => {
                    tracing::error!(%error, "cannot poll a socket");
                    self.connection.transport_lost();
                    return Turn::Again;
                }
            }
        }
        turn
    }

    /// For a caller that posts: sends what is queued, and tells what is complete by that. Returns whether
    /// nothing is left to do. Only what takes no lock is done here: nothing is read, and no memory but that of
    /// posted requests is used.
    pub(crate) fn carry(&mut self, link: &Link, now: Instant) -> bool {
        let idle = self.interest.is_some()
            && self.connection.is_open()
            && !self.connection.has_output()
            && self.batch.is_empty();
        if !idle || !self.writable {
            return false;
        }
        let mut octets = 0;
        while octets < CARRY_OCTETS
            && let Some(slot) = self.works.take_send()
        {
            octets += self.hand_over(link, slot) as usize;
        }
        let flushed = self.flush(now);
        self.report_completions(link);
        let done = flushed.is_ok() && self.watch(link, Turn::Wait) == Turn::Wait;
        done && !self.has_rest() && !link.has_sends()
    }

    fn obey(&mut self, link: &Link, now: Instant) {
        for command in link.take_commands() {
            match command {
                // A failure here means that there is no Request any more, or that no Reply can answer it;
                // overlong private data have been refused by the socket's methods.
                Command::Accept(private_data) => {
                    self.refuse_early_octets(now);
                    if self.connection.accept(&private_data, now).is_err() {
                        self.connection.abort();
                    }
                }
                Command::Reject(private_data, required_ord) => {
                    if self.connection.reject(&private_data, required_ord).is_err() {
                        self.connection.abort();
                    }
                }
                Command::Close => {
                    // What was posted before closing is part of what closing finishes.
                    self.take_posts(link);
                    self.connection.close(now);
                }
                Command::Abort => self.connection.abort(),
            }
        }
    }

    /// Octets that wait behind a Request before it is answered make it improper (RFC 5044 s7.1.1,
    /// U10; G13).
    fn refuse_early_octets(&mut self, now: Instant) {
        let Some(socket) = &self.socket else { return };
        if iov::unread(socket.as_fd()).is_ok_and(|count| count > 0) {
            let mut memory = EngineMemory {
                domain: &self.domain,
                peer: self.peer,
                works: &self.works,
            };
            self.connection.receive(&[0], &mut memory, now);
        }
    }

    /// Moves what has been posted from the rings into the connection.
    fn take_posts(&mut self, link: &Link) {
        self.take_receives(link);
        if self.connection.is_starting() {
            return;
        }
        while let Some(slot) = self.works.take_send() {
            self.hand_over(link, slot);
        }
    }

    fn take_receives(&mut self, link: &Link) {
        if self.connection.is_starting() {
            return;
        }
        while let Some(slot) = self.works.take_receive() {
            self.hand_over(link, slot);
        }
    }

    /// Gives a request that has been taken to the connection; returns its length.
    fn hand_over(&mut self, link: &Link, slot: Slot) -> u32 {
        let Some(&Descriptor { operation, len, .. }) = self.works.get(slot) else {
            return 0;
        };
        let posted = match operation {
            Some(operation) => self.connection.post(Work {
                slot,
                operation,
                len,
            }),
            None => self.connection.post_receive(slot, len),
        };
        if let Err(error) = posted {
            debug_assert_ne!(
                error,
                PostError::Full,
                "the places are counted when posting"
            );
            // Those posted earlier complete first.
            self.report_completions(link);
            let kind = operation
                .as_ref()
                .map_or(uwarp_rdmap::OperationKind::Receive, Operation::kind);
            self.complete(
                link,
                uwarp_rdmap::Completion::failed(slot, kind, Status::Flushed),
            );
        }
        len
    }

    fn complete(&mut self, link: &Link, done: uwarp_rdmap::Completion) {
        // The references to the memory go first, and so does the place: who sees the completion may deregister,
        // and post the next request.
        let Some(id) = self.works.remove(done.slot) else {
            return;
        };
        let completion = Completion {
            id,
            socket: link.socket_id(),
            kind: done.kind,
            status: done.status,
            len: done.len,
            solicited: done.solicited,
            invalidated: done.invalidated,
            immediate: done.immediate,
            original: done.original,
        };
        if !self.held.is_empty() {
            self.held.push_back(completion);
        } else if let Err(completion) = link.completions.push(completion) {
            self.held.push_back(completion);
        }
    }

    /// Puts the completions into the queue, in their order. Whether it has taken all.
    fn tell(&mut self, link: &Link) -> bool {
        while let Some(completion) = self.held.pop_front() {
            if let Err(completion) = link.completions.push(completion) {
                self.held.push_front(completion);
                return false;
            }
        }
        true
    }

    /// Writes what is due; returns the octets written, at least 1 if anything happened.
    fn write(&mut self, link: &Link, now: Instant) -> usize {
        let moved = match self.flush(now) {
            Ok(moved) => moved,
            Err(error) => {
                tracing::debug!(%error, "writing to the TCP connection failed");
                // The peer may have said why before it went: read that first.
                self.write_failed(link, now);
                return 1;
            }
        };
        if let Some(socket) = &self.socket
            && self.connection.wants_shutdown()
        {
            // An error means that the connection has gone; reading will find that out.
            let _ = socket.shutdown(std::net::Shutdown::Write);
            self.connection.shut_down();
            return moved + 1;
        }
        moved
    }

    /// Fills the batch and writes it, until there is nothing left, the socket takes no more, or it is time for
    /// somebody else; returns the octets written.
    fn flush(&mut self, now: Instant) -> io::Result<usize> {
        let mut moved = 0;
        let mut budget = match self.connection.octets_owed() {
            0 => FIRST_BATCH_OCTETS,
            owed => usize::try_from(owed / 2)
                .unwrap_or(FIRST_BATCH_OCTETS)
                .clamp(ANSWER_OCTETS, FIRST_BATCH_OCTETS),
        };
        loop {
            {
                let mut memory = EngineMemory {
                    domain: &self.domain,
                    peer: self.peer,
                    works: &self.works,
                };
                self.connection
                    .transmit(&mut self.batch, &mut memory, budget, now);
            }
            budget = match budget {
                FIRST_BATCH_OCTETS.. => BATCH_OCTETS,
                answers => 2 * answers,
            };
            let Some(socket) = &self.socket else {
                return Ok(moved);
            };
            if self.batch.is_empty() || !self.writable || moved >= TURN_OCTETS {
                return Ok(moved);
            }
            let segment = self.connection.emss() as usize;
            match self
                .vectors
                .send(socket.as_fd(), &self.batch, &self.works, segment)
            {
                Ok(Sent { taken, offered }) => {
                    self.batch.advance(taken);
                    self.connection.written(taken);
                    moved += taken;
                    self.follow_emss();
                    if taken < offered {
                        self.writable = false;
                        return Ok(moved);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return Ok(moved);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// TCP's segment size changes with the path, and the MULPDU with it (RFC 5041 s3, D01).
    fn follow_emss(&mut self) {
        self.writes = self.writes.wrapping_add(1);
        if self.policy.follow_emss && self.writes % EMSS_INTERVAL == 1 {
            let emss = self
                .socket
                .as_ref()
                .and_then(|socket| socket2::SockRef::from(&**socket).tcp_mss().ok());
            if let Some(emss) = emss.filter(|&emss| emss > 0) {
                self.connection.set_emss(emss);
            }
        }
    }

    /// The peer does not take octets any more. A Terminate of its may wait to be read.
    fn write_failed(&mut self, link: &Link, now: Instant) {
        self.readable = true;
        self.writable = false;
        self.read(link, now);
        if !self.connection.is_over() {
            self.connection.transport_lost();
        }
    }

    /// Tells the application what has happened.
    fn report(&mut self, link: &Link, now: Instant) {
        self.report_completions(link);
        while let Some(event) = self.connection.poll_event() {
            self.report_event(link, event, now);
        }
        if !self.connection.is_receiving() && link.wake_receives() {
            self.take_receives(link);
            self.report_completions(link);
        }
    }

    fn report_completions(&mut self, link: &Link) {
        link.set_stats(self.connection.stats());
        if self.connection.is_over() {
            // Pieces of the batch refer to works that are about to go.
            self.batch.clear();
        }
        self.tell(link);
        while let Some(done) = self.connection.poll_completion() {
            self.complete(link, done);
        }
    }

    fn report_event(&mut self, link: &Link, event: Event, now: Instant) {
        tracing::debug!(stream = link.id.0, ?event, "connection");
        match event {
            Event::Request(request) => {
                link.update(|state| state.phase = Phase::Requested(request));
                self.announce = true;
            }
            Event::Established(established) => {
                link.rest_receives();
                link.establish(established);
            }
            Event::Rejected {
                private_data,
                required_ord,
                peer_ird,
            } => {
                let stream = self.give_back(link);
                link.set_closed();
                link.leave_listener();
                link.update(|state| {
                    state.phase = Phase::Rejected {
                        private_data,
                        required_ord,
                        peer_ird,
                        stream,
                    }
                });
            }
            Event::PeerClosed => {
                link.update(|state| state.peer_closed = true);
                if !self.policy.half_close {
                    self.connection.close(now);
                }
                link.completions.wake();
            }
            Event::Over(end) => {
                link.set_closed();
                link.leave_listener();
                self.hang_up(&end);
                if !self.over_reported {
                    self.over_reported = true;
                    link.update(|state| state.phase = Phase::Over(end));
                }
                link.completions.wake();
            }
        }
    }

    /// Closes the socket: with a reset if the connection did not end in order.
    fn hang_up(&mut self, end: &End) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        if matches!(
            end,
            End::Aborted | End::CloseTimeout | End::StartupTimeout | End::Lost
        ) {
            let _ = socket2::SockRef::from(&*socket).set_linger(Some(std::time::Duration::ZERO));
        }
        crate::fork::forget(socket.as_fd());
        let kept = Arc::downgrade(&socket);
        drop(socket);
        if let Some(kept) = kept.upgrade() {
            // A caller that sleeps on it keeps it open. This sends nothing, but wakes the caller, also one that is only
            // about to sleep. Looked at after the drop: nobody can come by a socket that nobody keeps.
            let _ = kept.shutdown(std::net::Shutdown::Read);
        }
    }

    /// The socket is the application's again.
    fn give_back(&mut self, link: &Link) -> Option<TcpStream> {
        let socket = self.socket.take()?;
        crate::fork::forget(socket.as_fd());
        // The descriptor lives on, so closing does not take it out of the poll.
        if (self.interest).is_some_and(|interest| interest != Interest::NONE) {
            link.poll().remove(&*socket).ok()?;
        }
        // Nobody else refers to the socket of a connection that is not set up.
        let stream = Arc::into_inner(socket)?;
        stream.set_nonblocking(false).ok()?;
        Some(stream)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            crate::fork::forget(socket.as_fd());
        }
    }
}

//! What a socket's handle and its worker share.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use uwarp_ddp::StreamId;
use uwarp_mpa::PeerRequest;
use uwarp_stream::{End, Established, Stats};

use crate::attend::Habits;
use crate::completion::{CompletionQueue, SocketId};
use crate::connect::Addresses;
use crate::descriptor::{Descriptor, Posts};
use crate::domain::Domain;
use crate::engine::Engine;
use crate::error::PostError;
use crate::listener::{Pending, Place};
use crate::poll::Readiness;
use crate::ring::{Attendance, Baton, Driven, Queue, Refusal};
use crate::worker::WorkerHandle;

/// How far a connection has come, as its application sees it.
#[derive(Debug)]
pub(crate) enum Phase {
    Starting,
    Requested(PeerRequest),
    Established,
    Rejected {
        private_data: Vec<u8>,
        required_ord: Option<u16>,
        peer_ird: Option<u16>,
        stream: Option<std::net::TcpStream>,
    },
    Over(End),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) peer_closed: bool,
}

/// What the application asks of the worker, posts apart.
#[derive(Debug)]
pub(crate) enum Command {
    Accept(Vec<u8>),
    Reject(Vec<u8>, Option<u16>),
    Close,
    Abort,
}

/// One socket: rings towards the engine, the engine, which one thread at a time drives, and its state.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: StreamId,
    pub(crate) domain: Domain,
    pub(crate) completions: CompletionQueue,
    worker: WorkerHandle,
    posts: Arc<Posts>,
    commands: Mutex<Vec<Command>>,
    /// Commands wait.
    commanded: AtomicBool,
    /// What the worker's poll has said and the engine has not heard: bits of [`Readiness`].
    readiness: AtomicU32,
    /// The worker's number for this connection, or [`NO_TOKEN`].
    token: AtomicUsize,
    /// The worker has forgotten the connection for good.
    retired: AtomicBool,
    /// The peer's last octet has been read.
    read_all: AtomicBool,
    state: Mutex<State>,
    /// How often the completion queue had been found empty when a request was last posted.
    idled: AtomicUsize,
    /// Kept beyond the end of the connection.
    established: Mutex<Option<Established>>,
    changed: Condvar,
    engine: Baton<Engine>,
    /// Who looks at the input.
    pub(crate) attendance: Attendance,
    /// How the callers have been waiting.
    pub(crate) habits: Habits,
    /// The TCP socket, as long as the engine has it.
    socket: Weak<TcpStream>,
    stats: SharedStats,
    /// The listener that wants to hear of the Request.
    pub(crate) listener: Option<Weak<Pending>>,
    /// The place among the listener's connections, until the application has taken the Request or
    /// the connection has ended.
    place: Mutex<Option<Place>>,
    pub(crate) addresses: Addresses,
    pub(crate) startup_timeout: Duration,
    /// How long a caller that waits looks for itself before it sleeps, if the application has chosen.
    pub(crate) busy_poll: Option<Duration>,
    /// The ORD agreed on, or [`ORD_UNKNOWN`] before that.
    ord: AtomicU32,
}

const ORD_UNKNOWN: u32 = u32::MAX;

/// What has become of the requests that a caller carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    /// Nothing is left to do.
    All,
    /// Something is left to do.
    Left,
    /// Somebody came in vain meanwhile.
    Called,
}

/// So many queued requests make a batch worth a system call, though the caller will soon be back.
const CARRY_QUEUED: usize = 64;

/// A request of more octets is not carried by the caller: sending it would take longer than waking the
/// worker.
const CARRY_MAX: u32 = 64 * 1024;

const NO_TOKEN: usize = usize::MAX;

/// Counters as the engine has last told them.
#[derive(Debug, Default)]
struct SharedStats {
    fpdus_sent: AtomicU64,
    fpdus_received: AtomicU64,
    payload_sent: AtomicU64,
    payload_copied: AtomicU64,
    payload_direct: AtomicU64,
}

impl SharedStats {
    fn store(&self, stats: &Stats) {
        self.fpdus_sent.store(stats.fpdus_sent, Ordering::Relaxed);
        self.fpdus_received
            .store(stats.fpdus_received, Ordering::Relaxed);
        self.payload_sent
            .store(stats.payload_sent, Ordering::Relaxed);
        self.payload_copied
            .store(stats.payload_copied, Ordering::Relaxed);
        self.payload_direct
            .store(stats.payload_direct, Ordering::Relaxed);
    }

    fn load(&self) -> Stats {
        Stats {
            fpdus_sent: self.fpdus_sent.load(Ordering::Relaxed),
            fpdus_received: self.fpdus_received.load(Ordering::Relaxed),
            payload_sent: self.payload_sent.load(Ordering::Relaxed),
            payload_copied: self.payload_copied.load(Ordering::Relaxed),
            payload_direct: self.payload_direct.load(Ordering::Relaxed),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`Link::new`] needs.
pub(crate) struct LinkParts {
    pub(crate) id: StreamId,
    pub(crate) domain: Domain,
    pub(crate) completions: CompletionQueue,
    pub(crate) worker: WorkerHandle,
    pub(crate) posts: Arc<Posts>,
    pub(crate) engine: Engine,
    pub(crate) listener: Option<Weak<Pending>>,
    pub(crate) place: Option<Place>,
    pub(crate) addresses: Addresses,
    pub(crate) startup_timeout: Duration,
    /// How long a caller that waits looks for itself before it sleeps, if the application has chosen.
    pub(crate) busy_poll: Option<Duration>,
}

impl Link {
    pub(crate) fn new(parts: LinkParts) -> Arc<Self> {
        Arc::new(Self {
            id: parts.id,
            domain: parts.domain,
            completions: parts.completions,
            worker: parts.worker,
            posts: parts.posts,
            commands: Mutex::new(Vec::new()),
            commanded: AtomicBool::new(false),
            readiness: AtomicU32::new(0),
            token: AtomicUsize::new(NO_TOKEN),
            retired: AtomicBool::new(false),
            read_all: AtomicBool::new(false),
            state: Mutex::new(State {
                phase: Phase::Starting,
                peer_closed: false,
            }),
            idled: AtomicUsize::new(0),
            established: Mutex::new(None),
            changed: Condvar::new(),
            socket: parts.engine.socket(),
            engine: Baton::new(parts.engine),
            attendance: Attendance::new(),
            habits: Habits::default(),
            stats: SharedStats::default(),
            listener: parts.listener,
            place: Mutex::new(parts.place),
            addresses: parts.addresses,
            startup_timeout: parts.startup_timeout,
            busy_poll: parts.busy_poll,
            ord: AtomicU32::new(ORD_UNKNOWN),
        })
    }

    /// Queues a descriptor of `len` octets for the engine, and sees to it that the engine is driven. Takes no lock and does
    /// not block.
    #[inline]
    pub(crate) fn post(
        self: &Arc<Self>,
        queue: Queue,
        len: u32,
        descriptor: impl FnOnce() -> Descriptor,
    ) -> Result<(), PostError> {
        self.enqueue(queue, descriptor)?;
        // If the link has closed meanwhile, a turn flushes what has just been queued.
        match queue {
            Queue::Sends => self.set_out(len),
            Queue::Receives if self.posts.rests(queue) => {}
            Queue::Receives => self.schedule(),
        }
        Ok(())
    }

    /// Queues a descriptor without telling anybody: the worker may not know of the link yet.
    #[inline]
    pub(crate) fn enqueue(
        &self,
        queue: Queue,
        descriptor: impl FnOnce() -> Descriptor,
    ) -> Result<(), PostError> {
        self.posts
            .post(queue, descriptor, self.completions.places())
            .map_err(|refusal| match refusal {
                Refusal::Closed => PostError::Closed,
                Refusal::Full => PostError::Full,
            })
    }

    /// A request of `len` octets has been queued to be sent.
    ///
    /// The caller carries it itself if it is small and the first since the caller had nothing else to do. Those
    /// that follow at once become batches: of callers that come back soon, when they next wait, or when enough
    /// are queued, or at the worker's next tick; of others the worker makes them.
    pub(crate) fn set_out(self: &Arc<Self>, len: u32) {
        let idled = self.completions.idled();
        let ticking = self.attendance.is_ticking();
        let mut now = self.idled.load(Ordering::Relaxed) != idled;
        if ticking && now && !self.completions.is_empty() {
            // What the caller has not yet taken may lead to more requests.
            now = false;
        }
        if now {
            self.idled.store(idled, Ordering::Relaxed);
        }
        now |= ticking && self.posts.waiting(Queue::Sends) >= CARRY_QUEUED;
        let carried = match now && len <= CARRY_MAX {
            true => self.carry(),
            false => Carried::Left,
        };
        match carried {
            Carried::All => {}
            Carried::Left if ticking && self.attendance.leave_to_tick() => {
                crate::attend::leave_behind(self);
            }
            Carried::Left | Carried::Called => self.schedule(),
        }
    }

    /// Drives the engine to send what is queued.
    fn carry(&self) -> Carried {
        match self.try_drive(|engine| engine.carry(self, Instant::now())) {
            Some(Driven { called: true, .. }) => Carried::Called,
            Some(Driven { result: false, .. }) => Carried::Left,
            // If somebody else drives it, that one has been called and looks again.
            Some(Driven { result: true, .. }) | None => Carried::All,
        }
    }

    pub(crate) fn is_commanded(&self) -> bool {
        self.commanded.load(Ordering::SeqCst)
    }

    /// The TCP socket, to sleep on.
    pub(crate) fn socket(&self) -> Option<Arc<TcpStream>> {
        self.socket.upgrade()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.posts.is_closed()
    }

    /// Nothing more comes from the peer, though TCP goes on saying that the socket is readable.
    pub(crate) fn set_read_all(&self) {
        self.read_all.store(true, Ordering::Release);
    }

    /// Whether nothing more comes from the peer.
    pub(crate) fn has_read_all(&self) -> bool {
        self.read_all.load(Ordering::Acquire)
    }

    /// From now on a receive waits in its ring until the engine takes it.
    pub(crate) fn rest_receives(&self) {
        self.posts.rest_receives();
    }

    /// From now on every receive asks for a turn. Whether that is new; if so, the engine takes those that
    /// are queued already.
    #[must_use]
    pub(crate) fn wake_receives(&self) -> bool {
        self.posts.wake_receives()
    }

    /// Whether requests wait to be sent.
    pub(crate) fn has_sends(&self) -> bool {
        self.posts.waiting(Queue::Sends) > 0
    }

    /// Whether the connection has ended and the completion of every request is in the queue.
    pub(crate) fn is_complete(self: &Arc<Self>) -> bool {
        let waiting = |queue| self.posts.waiting(queue) > 0;
        if !self.is_closed() || waiting(Queue::Sends) || waiting(Queue::Receives) {
            return false;
        }
        // Whoever drives may have freed the last place and not told yet.
        self.try_drive(|engine| engine.is_idle())
            .is_some_and(|driven| {
                if driven.called {
                    self.schedule();
                }
                driven.result
            })
    }

    pub(crate) fn socket_id(&self) -> SocketId {
        SocketId(self.id.0)
    }

    /// Makes the worker look at this link soon.
    pub(crate) fn schedule(self: &Arc<Self>) {
        if self.posts.schedule() {
            self.worker.run(Arc::clone(self));
        }
    }

    pub(crate) fn command(self: &Arc<Self>, command: Command) {
        if matches!(command, Command::Close) {
            self.posts.set_closing();
        }
        lock(&self.commands).push(command);
        self.commanded.store(true, Ordering::SeqCst);
        self.schedule();
    }

    /// What has been commanded. For the worker alone.
    pub(crate) fn take_commands(&self) -> Vec<Command> {
        if self.commanded.swap(false, Ordering::SeqCst) {
            std::mem::take(&mut *lock(&self.commands))
        } else {
            Vec::new()
        }
    }

    /// For the worker: whatever is queued from here on schedules the link anew.
    pub(crate) fn unschedule(&self) {
        self.posts.unschedule();
    }

    /// Drives the engine if nobody does; whoever does is called otherwise.
    pub(crate) fn try_drive<R>(&self, drive: impl FnOnce(&mut Engine) -> R) -> Option<Driven<R>> {
        let driven = self.engine.try_drive(drive);
        // The notifier may post, and so drive in its turn.
        self.completions.tell();
        driven
    }

    /// The worker's poll has said something; the next one to drive the engine hears it.
    pub(crate) fn note_readiness(&self, readiness: Readiness) {
        self.readiness.fetch_or(readiness.bits(), Ordering::AcqRel);
    }

    /// Whether the poll has said something that the engine has not heard.
    pub(crate) fn has_readiness(&self) -> bool {
        self.readiness.load(Ordering::Acquire) != 0
    }

    pub(crate) fn take_readiness(&self) -> Readiness {
        if self.readiness.load(Ordering::Acquire) == 0 {
            return Readiness::default();
        }
        Readiness::from_bits(self.readiness.swap(0, Ordering::AcqRel))
    }

    /// The worker's number for this connection, once it has one.
    pub(crate) fn token(&self) -> Option<usize> {
        Some(self.token.load(Ordering::Acquire)).filter(|&token| token != NO_TOKEN)
    }

    pub(crate) fn set_token(&self, token: usize) {
        self.token.store(token, Ordering::Release);
    }

    /// The worker has forgotten the connection for good.
    pub(crate) fn retire(&self) {
        self.token.store(NO_TOKEN, Ordering::Release);
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(crate) fn poll(&self) -> &crate::poll::Poll {
        self.worker.poll()
    }

    pub(crate) fn set_closed(&self) {
        self.posts.set_closed();
    }

    pub(crate) fn orphan(self: &Arc<Self>) {
        self.posts.set_orphaned();
        self.command(Command::Close);
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.posts.is_orphaned()
    }

    /// The connection is no longer one of those that its listener counts.
    pub(crate) fn leave_listener(&self) {
        drop(lock(&self.place).take());
    }

    /// The connection is set up.
    pub(crate) fn establish(&self, established: Established) {
        self.leave_listener();
        self.ord
            .store(u32::from(established.agreement.ord), Ordering::Relaxed);
        *lock(&self.established) = Some(established);
        self.update(|state| state.phase = Phase::Established);
    }

    pub(crate) fn ord(&self) -> Option<u16> {
        u16::try_from(self.ord.load(Ordering::Relaxed)).ok()
    }

    pub(crate) fn established(&self) -> Option<Established> {
        lock(&self.established).clone()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats.load()
    }

    /// What the engine has counted, before anybody can learn of it otherwise.
    pub(crate) fn set_stats(&self, stats: &Stats) {
        self.stats.store(stats);
    }

    /// Changes the state and wakes whoever waits for a change.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
        self.completions.note();
    }

    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut lock(&self.state))
    }

    /// Waits until `done` gives something, or until the deadline.
    pub(crate) fn wait_state<T>(
        &self,
        deadline: Option<Instant>,
        mut done: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(value) = done(&mut state) {
                return Some(value);
            }
            state = match deadline {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    self.changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

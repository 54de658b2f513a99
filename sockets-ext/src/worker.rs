//! The asynchronous worker: one thread, one poll over the UNIX socket and all sockets it serves.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::control::Message;
use crate::engine::Turn;
use crate::error::Error;
use crate::link::Link;
use crate::listener::ListenerEntry;
use crate::poll::{Events, Interest, Poll, Readiness};
use crate::ring::{BelledRing, Doorbell};

/// Sockets that one worker serves at the most; also the places of its run queue.
const SOCKETS_MAX: usize = 1 << 15;

/// The token of the UNIX socket; all others are places among a worker's entries.
const CONTROL: usize = usize::MAX;

/// The token of the clock.
const CLOCK: usize = usize::MAX - 1;

/// Time between two looks at a socket whose callers come and go: what they leave to be sent waits so long at
/// the most, and what arrives when they have gone twice as long.
const TICK: Duration = Duration::from_micros(500);

/// How long a listener rests when the process is out of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

const CANNOT_START: &str = "cannot start a uwarp worker";

/// A set of workers that sockets are shared out to.
///
/// A process has one set of its own, with one worker, that starts with the first socket set to
/// DDPMODE. Cloning makes another handle to the same set.
#[derive(Clone, Debug)]
pub struct Workers(Arc<Set>);

#[derive(Debug)]
struct Set {
    handles: Vec<WorkerHandle>,
    next: AtomicUsize,
}

impl Workers {
    /// Starts `count` worker threads, at least 1.
    ///
    /// # Errors
    /// When a thread, its UNIX socket or its poll cannot be made.
    pub fn start(count: usize) -> Result<Self, Error> {
        let handles = (0..count.max(1))
            .map(WorkerHandle::start)
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Set {
            handles,
            next: AtomicUsize::new(0),
        })))
    }

    /// The process's own set.
    ///
    /// # Errors
    /// As [`start`](Self::start), at the first call.
    pub fn global() -> Result<Self, Error> {
        /// Never freed: others may be reading it.
        struct Own {
            generation: u32,
            workers: Workers,
        }
        // No lock: a thread that forks meanwhile would leave it locked in its child.
        static OWN: AtomicPtr<Own> = AtomicPtr::new(std::ptr::null_mut());
        let generation = crate::fork::generation();
        let before = OWN.load(Ordering::Acquire);
        // SAFETY: what has been stored here is complete and lives for ever.
        let own = unsafe { before.as_ref() };
        // A forked child does not have its parent's threads and starts its own.
        if let Some(own) = own.filter(|own| own.generation == generation) {
            return Ok(own.workers.clone());
        }
        let workers = Self::start(1)?;
        let new = Box::into_raw(Box::new(Own {
            generation,
            workers: workers.clone(),
        }));
        match OWN.compare_exchange(before, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(workers),
            Err(first) => {
                // SAFETY: nobody else has seen it. Its worker ends.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: as above. Another thread of this process has stored it.
                Ok(unsafe { &*first }.workers.clone())
            }
        }
    }

    /// Whether they are threads of this process.
    pub(crate) fn are_ours(&self) -> bool {
        self.0.handles.iter().all(WorkerHandle::is_ours)
    }

    pub(crate) fn next(&self) -> WorkerHandle {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.handles[turn % self.0.handles.len()].clone()
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.stop();
        }
    }
}

/// What other threads know of a worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Links that want a turn; each is in it once at the most.
    run: BelledRing<Arc<Link>, ControlBell>,
    /// What the worker waits on. Others only change what it is told of their socket.
    poll: Poll,
    listeners: Mutex<Vec<ListenerEntry>>,
    sockets: AtomicUsize,
    /// The listeners are to be looked at.
    review: AtomicBool,
    /// The worker is to end.
    stop: AtomicBool,
}

/// The UNIX socket to a worker, which wakes it from its poll.
#[derive(Debug)]
struct ControlBell {
    socket: UnixDatagram,
    /// The process that the worker is a thread of.
    generation: u32,
}

impl ControlBell {
    /// Sends a message. From a forked child, which shares the UNIX socket but is none of the worker's
    /// business, it sends none.
    fn tell(&self, message: Message) -> io::Result<()> {
        if crate::fork::check(self.generation).is_err() {
            return Ok(());
        }
        self.socket.send(&message.encode()).map(|_| ())
    }
}

impl Doorbell for ControlBell {
    fn ring(&self) {
        // When the socket is full, messages that wake the worker are in it already.
        let _ = self.tell(Message::Wake);
    }

    /// The worker empties the socket when its poll says that there is something in it; a message too
    /// many does no harm.
    fn silence(&self) {}
}

impl WorkerHandle {
    fn start(index: usize) -> Result<Self, Error> {
        let worker = Worker::make()?;
        let handle = Self(Arc::clone(&worker.shared));
        std::thread::Builder::new()
            .name(format!("uwarp-{index}"))
            .spawn(move || worker.run())
            .map_err(Error::system(CANNOT_START))?;
        Ok(handle)
    }

    /// Gives `link` a turn soon. Takes no lock and does not block.
    pub(crate) fn run(&self, link: Arc<Link>) {
        // There is a place for every link that `admit` has let in.
        let pushed = self.0.run.push(link);
        debug_assert!(pushed.is_ok());
    }

    pub(crate) fn poll(&self) -> &Poll {
        &self.0.poll
    }

    fn is_ours(&self) -> bool {
        crate::fork::check(self.0.run.bell().generation).is_ok()
    }

    /// Counts a new socket.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        if self.0.sockets.fetch_add(1, Ordering::Relaxed) < SOCKETS_MAX {
            return Ok(());
        }
        self.0.sockets.fetch_sub(1, Ordering::Relaxed);
        Err(Error::system(
            "the uwarp worker serves as many sockets as it can: start more workers",
        )(io::ErrorKind::QuotaExceeded.into()))
    }

    pub(crate) fn listen(&self, listener: ListenerEntry) {
        self.0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listener);
        self.review_listeners();
    }

    /// A listener is new, has been closed, or has a place free again.
    pub(crate) fn review_listeners(&self) {
        self.0.review.store(true, Ordering::SeqCst);
        self.tell(Message::Listeners);
    }

    /// Ends the worker once every socket that it serves is over.
    fn stop(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
        self.tell(Message::Stop);
    }

    /// Sends a message whose order stands in a flag already. When the socket is full the worker reads it
    /// anyway, and looks at the flags when it has; so nobody waits here, least of all the worker itself.
    fn tell(&self, message: Message) {
        if let Err(error) = self.0.run.bell().tell(message)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::error!(%error, "cannot reach a uwarp worker");
        }
    }
}

/// What a token of the poll stands for.
#[derive(Debug)]
enum Entry {
    Link {
        link: Arc<Link>,
        armed: Option<Instant>,
        /// It is among those to be looked at when the clock ticks.
        ticking: bool,
    },
    Listener {
        listener: ListenerEntry,
        resting: Option<Instant>,
    },
}

struct Worker {
    shared: Arc<Shared>,
    inbox: UnixDatagram,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    timers: BTreeSet<(Instant, usize)>,
    /// Ticks while there is something in `ticking`.
    clock: TimerFd,
    /// Entries whose links are looked at when the clock ticks.
    ticking: Vec<usize>,
    /// Entries that are listeners.
    listeners: Vec<usize>,
    stopping: bool,
}

impl Worker {
    /// A worker that no thread runs yet.
    fn make() -> Result<Self, Error> {
        let system = Error::system(CANNOT_START);
        let (control, inbox) = UnixDatagram::pair().map_err(&system)?;
        control.set_nonblocking(true).map_err(&system)?;
        inbox.set_nonblocking(true).map_err(&system)?;
        let bell = ControlBell {
            socket: control,
            generation: crate::fork::generation(),
        };
        let shared = Arc::new(Shared {
            run: BelledRing::new(SOCKETS_MAX, bell),
            poll: Poll::new().map_err(&system)?,
            listeners: Mutex::new(Vec::new()),
            sockets: AtomicUsize::new(0),
            review: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        Self::new(shared, inbox).map_err(system)
    }

    fn new(shared: Arc<Shared>, inbox: UnixDatagram) -> io::Result<Self> {
        shared.poll.add(&inbox, CONTROL, Interest::INPUT)?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let clock = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        shared.poll.add(&clock, CLOCK, Interest::INPUT)?;
        Ok(Self {
            shared,
            inbox,
            entries: Vec::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            clock,
            ticking: Vec::new(),
            listeners: Vec::new(),
            stopping: false,
        })
    }

    fn run(mut self) {
        let mut events = Events::new();
        while !self.has_ended() {
            self.round(&mut events);
        }
    }

    /// Waits until there is something to do, and does it.
    fn round(&mut self, events: &mut Events) {
        self.sleep(events);
        for (token, readiness) in events.iter() {
            match token {
                CONTROL => self.read_control(),
                CLOCK => self.tick(),
                index => self.socket_ready(index, readiness),
            }
        }
        self.run_queue();
        self.run_timers();
    }

    /// Whether the worker has been told to stop, and has nothing left to do: a socket may have been made
    /// that has had no turn yet.
    fn has_ended(&self) -> bool {
        self.stopping
            && self.timers.is_empty()
            && self.free.len() == self.entries.len()
            && self.shared.sockets.load(Ordering::Relaxed) == 0
    }

    /// Waits for the sockets, the UNIX socket, or the next deadline. Whoever queues a link after the
    /// sleep has been announced wakes the worker; what was queued before is seen here.
    fn sleep(&mut self, events: &mut Events) {
        let _asleep = self.shared.run.sleep();
        let run = &self.shared.run;
        let timeout = if run.ring().is_empty() && run.is_silent() {
            (self.timers.first())
                .map(|&(deadline, _)| deadline.saturating_duration_since(Instant::now()))
        } else {
            if run.ring().is_empty() {
                // Somebody is about to finish ringing, and may be waiting for this very processor.
                std::thread::yield_now();
            }
            Some(Duration::ZERO)
        };
        if let Err(error) = self.shared.poll.wait(events, timeout) {
            tracing::error!(%error, "the poll of a uwarp worker failed");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn read_control(&mut self) {
        let mut octets = [0; Message::LEN + 1];
        while let Ok(count) = self.inbox.recv(&mut octets) {
            match Message::decode(&octets[..count]) {
                Some(Message::Wake | Message::Listeners | Message::Stop) => {}
                None => tracing::warn!("a uwarp worker got a message that is none"),
            }
        }
        // After the messages: whoever found the socket full has set its flag before that.
        self.stopping |= self.shared.stop.load(Ordering::SeqCst);
        if self.shared.review.swap(false, Ordering::SeqCst) {
            self.review_listeners();
        }
    }

    fn socket_ready(&mut self, index: usize, readiness: Readiness) {
        match self.entries.get(index) {
            Some(Some(Entry::Link { link, .. })) => {
                let link = Arc::clone(link);
                link.note_readiness(readiness);
                self.turn(&link);
            }
            Some(Some(Entry::Listener { .. })) => self.accept(index),
            _ => {}
        }
    }

    /// Takes the links that are queued now, and not many of those that are queued meanwhile, so that
    /// the sockets get their turn.
    fn run_queue(&mut self) {
        // Once more than there are: finding the queue empty is what silences the bell.
        for _ in 0..=self.shared.run.ring().len() {
            let Some(link) = self.shared.run.pop() else {
                return;
            };
            link.unschedule();
            self.turn(&link);
        }
    }

    /// Gives a link its turn, unless a caller drives it: that caller is told to look again.
    fn turn(&mut self, link: &Arc<Link>) {
        let now = Instant::now();
        let Some(index) = link.token().or_else(|| self.adopt(link)) else {
            return;
        };
        if link.attendance.is_ticking() {
            self.start_ticking(index);
        }
        let driven = link.try_drive(|engine| {
            let turn = engine.turn(link, now);
            // The connection is over, and nothing more can be posted: this takes the last of what has been. Else the
            // link stays, so that what is posted too late is completed as well.
            let retired = turn == Turn::Over && link.is_orphaned();
            if retired {
                engine.retire(link);
            }
            let again = turn == Turn::Again || engine.has_held();
            (again, retired, engine.arm(), engine.take_announcement())
        });
        let Some(driven) = driven else { return };
        let (again, retired, deadline, announced) = driven.result;
        if retired {
            return self.forget(link, index);
        }
        self.arm(index, deadline);
        if announced
            && let Some(listener) = link.listener.as_ref().and_then(std::sync::Weak::upgrade)
        {
            listener.announce(link);
        }
        if driven.called || again {
            link.schedule();
        }
    }

    fn start_ticking(&mut self, index: usize) {
        let Some(Some(Entry::Link { ticking, .. })) = self.entries.get_mut(index) else {
            return;
        };
        if !std::mem::replace(ticking, true) {
            self.ticking.push(index);
            if self.ticking.len() == 1 {
                self.set_clock(true);
            }
        }
    }

    fn set_clock(&mut self, on: bool) {
        let set = if on {
            let interval = Expiration::Interval(TimeSpec::from_duration(TICK));
            self.clock.set(interval, TimerSetTimeFlags::empty())
        } else {
            self.clock.unset()
        };
        if let Err(error) = set {
            tracing::error!(%error, "cannot set the clock of a uwarp worker");
        }
    }

    /// The clock has ticked: looks at the links whose callers come and go.
    fn tick(&mut self) {
        // Only when its count has been read does it tick again.
        let _ = self.clock.wait();
        let mut at = 0;
        while let Some(&index) = self.ticking.get(at) {
            let keep = self.tick_link(index);
            // The turn may have taken links out of the list.
            if self.ticking.get(at) != Some(&index) {
                continue;
            }
            if keep {
                at += 1;
                continue;
            }
            self.ticking.swap_remove(at);
            if let Some(Some(Entry::Link { ticking, .. })) = self.entries.get_mut(index) {
                *ticking = false;
            }
        }
        if self.ticking.is_empty() {
            self.set_clock(false);
        }
    }

    /// Whether the link goes on ticking.
    fn tick_link(&mut self, index: usize) -> bool {
        let Some(Some(Entry::Link { link, .. })) = self.entries.get(index) else {
            return false;
        };
        let link = Arc::clone(link);
        let end = || {
            let ended = link.try_drive(|engine| {
                let ended = link.attendance.end_ticking();
                // The turn behind this tells if it fails, or if there was a call.
                let _ = engine.give_input(&link);
                ended
            });
            ended.is_some_and(|driven| driven.result)
        };
        link.attendance.at_tick(end, || self.turn(&link))
    }

    /// Gives a new link its number; the poll watches it from its first turn on.
    fn adopt(&mut self, link: &Arc<Link>) -> Option<usize> {
        if link.is_retired() {
            return None;
        }
        let index = self.insert(Entry::Link {
            link: Arc::clone(link),
            armed: None,
            ticking: false,
        });
        link.set_token(index);
        Some(index)
    }

    fn insert(&mut self, entry: Entry) -> usize {
        if let Some(index) = self.free.pop() {
            self.entries[index] = Some(entry);
            return index;
        }
        self.entries.push(Some(entry));
        self.entries.len() - 1
    }

    fn remove(&mut self, index: usize) {
        self.arm(index, None);
        self.ticking.retain(|&ticking| ticking != index);
        self.entries[index] = None;
        self.free.push(index);
    }

    /// Nobody has anything to do with the link any more.
    fn forget(&mut self, link: &Arc<Link>, index: usize) {
        self.remove(index);
        link.retire();
        self.shared.sockets.fetch_sub(1, Ordering::Relaxed);
    }

    fn arm(&mut self, index: usize, deadline: Option<Instant>) {
        let Some(Some(Entry::Link { armed, .. } | Entry::Listener { resting: armed, .. })) =
            self.entries.get_mut(index)
        else {
            return;
        };
        if *armed == deadline {
            return;
        }
        if let Some(old) = std::mem::replace(armed, deadline) {
            self.timers.remove(&(old, index));
        }
        if let Some(new) = deadline {
            self.timers.insert((new, index));
        }
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some(&(deadline, index)) = self.timers.first() {
            if deadline > now {
                return;
            }
            self.timers.pop_first();
            match self.entries.get_mut(index) {
                Some(Some(Entry::Link { link, armed, .. })) => {
                    *armed = None;
                    let link = Arc::clone(link);
                    self.turn(&link);
                }
                Some(Some(Entry::Listener { resting, .. })) => {
                    *resting = None;
                    self.accept(index);
                }
                _ => {}
            }
        }
    }

    /// Adopts new listeners, drops closed ones, and lets those go on that waited for a place.
    fn review_listeners(&mut self) {
        let new = std::mem::take(
            &mut *self
                .shared
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for listener in new {
            let index = self.free.pop().unwrap_or(self.entries.len());
            if let Err(error) = self
                .shared
                .poll
                .add(&listener.socket, index, Interest::INPUT)
            {
                tracing::error!(%error, "cannot poll a listener");
            }
            if index == self.entries.len() {
                self.entries.push(None);
            }
            self.entries[index] = Some(Entry::Listener {
                listener,
                resting: None,
            });
            self.listeners.push(index);
        }
        for index in std::mem::take(&mut self.listeners) {
            match &self.entries[index] {
                Some(Entry::Listener { listener, .. }) if !listener.pending.is_closed() => {
                    self.listeners.push(index);
                    self.accept(index);
                }
                _ => self.remove(index),
            }
        }
    }

    /// Takes the connections that wait, as many as the listener lets be under way.
    fn accept(&mut self, index: usize) {
        let mut rest = None;
        loop {
            let Some(Some(Entry::Listener { listener, .. })) = self.entries.get_mut(index) else {
                return;
            };
            match listener.accept() {
                Ok(Some(link)) => link.schedule(),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    rest = Some(Instant::now() + ACCEPT_REST);
                    break;
                }
            }
        }
        self.arm(index, rest);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

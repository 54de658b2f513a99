//! What a stream's handle and its connection's worker share.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uwarp::fork::Owner;
use uwarp::{Bell, CompletionQueue, Domain, Notify, Options, SettingUp};
use uwarp_rsockets::Stream;

use crate::buffers::Buffers;
use crate::failure;
use crate::handover::Handover;
use crate::options::StreamOptions;
use crate::readiness::{Readiness, Wants, Watch};
use crate::state::{State, post_receive};

/// One end of a stream.
///
/// Its completion queue refers to it as long as the connection lives, so that a stream that the program has closed is
/// brought to its end. Nobody refers to it from there when the connection is over.
pub(crate) struct Inner {
    owner: Owner,
    buffers: Buffers,
    options: StreamOptions,
    state: Handover<State>,
    /// The latest readiness, packed; written by whoever holds the state.
    ready: AtomicU64,
    told: Handover<Told>,
    /// Counts what may matter to somebody who sleeps.
    changes: AtomicUsize,
    /// The program wants to be told no more.
    unwatched: AtomicBool,
    /// Threads that sleep, or are about to: those that only want to read, to write, and others.
    sleepers: [AtomicUsize; 3],
    gate: Mutex<()>,
    changed: Condvar,
    /// Wakes the thread that sleeps on the connection itself, which is none of `sleepers`: one at the most, that waits
    /// for what `attends` says.
    bell: Bell,
    attends: AtomicUsize,
    /// `changes` when that thread was last woken.
    rung: AtomicUsize,
}

/// Whom to tell, and what was told last.
struct Told {
    watch: Option<Arc<dyn Watch>>,
    last: u64,
}

/// Which end sends the Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// Kinds of waiters: places in [`Inner::sleepers`].
const READER: usize = 0;
const WRITER: usize = 1;
const OTHER: usize = 2;
/// No kind.
const NOBODY: usize = 3;

impl Inner {
    /// Begins the set-up.
    pub(crate) fn begin(
        tcp: TcpStream,
        role: Role,
        options: &StreamOptions,
        watch: Arc<dyn Watch>,
    ) -> io::Result<(Arc<Self>, Addresses)> {
        let config = options.config();
        config.check().map_err(failure::unfit)?;
        let buffers = Buffers::new(options)?;
        let private_data = buffers
            .places()
            .ok_or_else(failure::forked)
            .and_then(|memory| Stream::request(&config, &memory).map_err(failure::unfit))?;
        let inner = Arc::new(Self {
            owner: Owner::here(),
            buffers,
            options: options.clone(),
            state: Handover::new(State::new(options)),
            ready: AtomicU64::new(0),
            told: Handover::new(Told {
                watch: Some(watch),
                last: 0,
            }),
            changes: AtomicUsize::new(0),
            unwatched: AtomicBool::new(false),
            sleepers: [const { AtomicUsize::new(0) }; 3],
            gate: Mutex::new(()),
            changed: Condvar::new(),
            bell: Bell::default(),
            attends: AtomicUsize::new(NOBODY),
            rung: AtomicUsize::new(0),
        });
        let socket_options = inner.socket_options(&private_data);
        let setup = match role {
            Role::Initiator => SettingUp::initiator(tcp, &socket_options),
            Role::Responder => SettingUp::responder(tcp, &socket_options),
        }
        .map_err(failure::of_begin)?;
        // The peer's first message may follow right behind its startup frame.
        for index in 0..inner.buffers.receives() {
            post_receive(&inner.buffers, index, |id, list| setup.post_recv(id, list))?;
        }
        let addresses = Addresses {
            local: setup.local_addr(),
            peer: setup.peer_addr(),
        };
        inner.with(|state| state.begin(setup, inner.buffers.receives()));
        Ok((inner, addresses))
    }

    fn socket_options(self: &Arc<Self>, private_data: &[u8]) -> Options {
        let options = &self.options;
        let sends = options.send_queue.saturating_add(options.one_sided_queue);
        let receives = self.buffers.receives();
        let queue = CompletionQueue::with_notify(
            sends.saturating_add(receives),
            Arc::clone(self) as Arc<dyn Notify>,
        );
        let mut socket = Options::new(self.buffers.domain())
            .crc(options.crc)
            // The initiator's first grant does what an RTR does: it lets the responder speak.
            .peer_to_peer(false)
            // Grants come without being asked for.
            .remind_always(true)
            .private_data(private_data)
            .send_queue(sends)
            .receive_queue(receives)
            .ird(options.read_depth)
            .ord(options.read_depth)
            .startup_timeout(options.startup_timeout)
            .close_timeout(options.close_timeout)
            .keepalive(options.keepalive)
            .completion_queue(&queue);
        if let Some(workers) = &options.workers {
            socket = socket.workers(workers);
        }
        socket
    }

    /// Whether this process made the stream.
    pub(crate) fn check_owner(&self) -> io::Result<()> {
        if self.owner.is_here() {
            Ok(())
        } else {
            Err(failure::forked())
        }
    }

    pub(crate) fn domain(&self) -> &Domain {
        self.buffers.domain()
    }

    pub(crate) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Acts on the state, and tells those who want to know.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let act = |state: &mut State| {
            let outcome = act(state);
            self.publish(state);
            outcome
        };
        let outcome = self.state.with(act, |state| self.progress(state));
        self.tell();
        outcome
    }

    fn progress(&self, state: &mut State) {
        state.progress(&self.buffers, &self.options);
        self.publish(state);
        self.changes.fetch_add(1, SeqCst);
    }

    /// Wakes those who wait, so that they look again.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, SeqCst);
        self.wake(true);
    }

    /// Wakes those who have something to wake for, or all who sleep.
    fn wake(&self, all: bool) {
        let now = self.readiness();
        let [readers, writers, others] = &self.sleepers;
        match self.attends.load(SeqCst) {
            NOBODY => {}
            READER if !all && !now.readable => {}
            WRITER if !all && !now.writable => {}
            _ => {
                // The attending thread comes by here itself whenever it looks, and must not wake itself for nothing.
                let changes = self.changes.load(SeqCst);
                if self.rung.swap(changes, SeqCst) != changes || all {
                    self.bell.ring();
                }
            }
        }
        // Whoever is about to sleep has counted itself first, and looks once more.
        let sleep = |sleepers: &AtomicUsize| sleepers.load(SeqCst) > 0;
        if sleep(others)
            || sleep(readers) && (all || now.readable)
            || sleep(writers) && (all || now.writable)
        {
            drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }

    fn publish(&self, state: &State) {
        let now = state.readiness(&self.buffers).pack();
        if self.ready.swap(now, SeqCst) != now {
            self.changes.fetch_add(1, SeqCst);
        }
    }

    /// The latest readiness.
    pub(crate) fn readiness(&self) -> Readiness {
        Readiness::unpack(self.ready.load(SeqCst))
    }

    fn tell(&self) {
        self.wake(false);
        self.told.call(|told| {
            if self.unwatched.load(SeqCst) {
                told.watch = None;
                return;
            }
            let now = self.ready.load(SeqCst);
            if now != told.last {
                told.last = now;
                if let Some(watch) = &told.watch {
                    watch.changed(Readiness::unpack(now));
                }
            }
        });
    }

    /// The watch is let go: at once, or by the thread that is calling it.
    pub(crate) fn unwatch(&self) {
        self.unwatched.store(true, SeqCst);
        self.tell();
    }

    /// Waits until `done` gives something, at most `timeout` (for ever if `None`). It is asked after each change, or
    /// if it only looks whether the stream is readable, or writable, and `wants` says so, when that is the case.
    pub(crate) fn wait<R>(
        &self,
        wants: Option<Wants>,
        timeout: Option<Duration>,
        mut done: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if let Some(outcome) = done() {
            return Some(outcome);
        }
        let kind = match wants {
            Some(Wants::READABLE) => READER,
            Some(Wants::WRITABLE) => WRITER,
            _ => OTHER,
        };
        if let Some(attended) = self.attend(kind, deadline, &mut done) {
            return attended;
        }
        let _sleeper = Sleeper::new(&self.sleepers[kind]);
        loop {
            let seen = self.changes.load(SeqCst);
            if let Some(outcome) = done() {
                return Some(outcome);
            }
            let left = match deadline {
                None => Duration::MAX,
                Some(deadline) => deadline
                    .checked_duration_since(Instant::now())
                    .filter(|left| !left.is_zero())?,
            };
            let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            // What changed since is not slept over: whoever changed it sees that we are here, and takes the gate.
            if self.changes.load(SeqCst) == seen {
                drop(
                    self.changed
                        .wait_timeout(gate, left)
                        .unwrap_or_else(PoisonError::into_inner),
                );
            }
        }
    }

    /// As [`wait`](Self::wait), by driving the connection, which saves the worker its wake-up; `None` if that cannot be,
    /// or not any more.
    fn attend<R>(
        &self,
        kind: usize,
        deadline: Option<Instant>,
        mut done: impl FnMut() -> Option<R>,
    ) -> Option<Option<R>> {
        let order = self.attends.compare_exchange(NOBODY, kind, SeqCst, SeqCst);
        let _attends = order.ok().map(|_| Attends(&self.attends))?;
        let connection = self.with(|state| state.attendant())?;
        loop {
            let outcome = connection
                .wait_until(&self.bell, deadline, &mut done)?
                .ok()?;
            if outcome.is_some() {
                return Some(outcome);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Some(None);
            }
        }
    }
}

/// Ends the attendance of a caller.
struct Attends<'a>(&'a AtomicUsize);

impl Drop for Attends<'_> {
    fn drop(&mut self) {
        self.0.store(NOBODY, SeqCst);
    }
}

/// Counts a thread that is about to sleep.
struct Sleeper<'a>(&'a AtomicUsize);

impl<'a> Sleeper<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Notify for Inner {
    fn notify(&self) {
        self.state.call(|state| self.progress(state));
        self.tell();
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("readiness", &self.readiness())
            .finish_non_exhaustive()
    }
}

/// The two ends of the TCP connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::Unwatched;
    use std::net::TcpListener;
    use std::sync::Weak;

    fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn begin(tcp: TcpStream, role: Role) -> Arc<Inner> {
        Inner::begin(tcp, role, &StreamOptions::default(), Arc::new(Unwatched))
            .unwrap()
            .0
    }

    fn until(done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(30), "it never is");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn close(inner: Arc<Inner>, abort: bool) -> Weak<Inner> {
        inner.with(|state| state.close(abort, &inner.buffers));
        Arc::downgrade(&inner)
    }

    /// A stream and the queue of its connection refer to each other, but not for ever.
    #[test]
    fn nothing_is_left_of_a_stream_that_is_over() {
        for abort in [false, true] {
            let (client, server) = tcp();
            let ends = [
                begin(server, Role::Responder),
                begin(client, Role::Initiator),
            ];
            for end in &ends {
                until(|| end.readiness().established);
            }
            for end in ends.map(|end| close(end, abort)) {
                until(|| end.strong_count() == 0);
            }
        }
    }

    #[test]
    fn nothing_is_left_of_a_stream_that_never_began() {
        for role in [Role::Responder, Role::Initiator] {
            let (client, _server) = tcp();
            let end = close(begin(client, role), false);
            until(|| end.strong_count() == 0);
        }
    }
}

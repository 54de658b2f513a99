//! What a socket's handle and its worker share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use uwarp_ddp::StreamId;
use uwarp_mpa::PeerRequest;
use uwarp_stream::{End, Established, Stats};

use crate::completion::{Completion, CompletionQueue, SocketId};
use crate::connect::Addresses;
use crate::descriptor::Descriptor;
use crate::domain::Domain;
use crate::engine::Engine;
use crate::error::PostError;
use crate::listener::{Pending, Place};
use crate::ring::{Intake, Queue, Refusal};
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

/// One socket: rings towards the worker, the engine that the worker drives, and its state.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: StreamId,
    pub(crate) domain: Domain,
    pub(crate) completions: CompletionQueue,
    worker: WorkerHandle,
    intake: Intake<Descriptor>,
    commands: Mutex<Vec<Command>>,
    state: Mutex<State>,
    /// Kept beyond the end of the connection.
    established: Mutex<Option<Established>>,
    changed: Condvar,
    engine: Mutex<Engine>,
    /// The listener that wants to hear of the Request.
    pub(crate) listener: Option<Weak<Pending>>,
    /// The place among the listener's connections, until the application has taken the Request or
    /// the connection has ended.
    place: Mutex<Option<Place>>,
    pub(crate) addresses: Addresses,
    pub(crate) startup_timeout: Duration,
    /// The ORD agreed on, or [`ORD_UNKNOWN`] before that.
    ord: AtomicU32,
}

const ORD_UNKNOWN: u32 = u32::MAX;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`Link::new`] needs.
pub(crate) struct LinkParts {
    pub(crate) id: StreamId,
    pub(crate) domain: Domain,
    pub(crate) completions: CompletionQueue,
    pub(crate) worker: WorkerHandle,
    pub(crate) send_queue: u32,
    pub(crate) receive_queue: u32,
    pub(crate) engine: Engine,
    pub(crate) listener: Option<Weak<Pending>>,
    pub(crate) place: Option<Place>,
    pub(crate) addresses: Addresses,
    pub(crate) startup_timeout: Duration,
}

impl Link {
    pub(crate) fn new(parts: LinkParts) -> Arc<Self> {
        Arc::new(Self {
            id: parts.id,
            domain: parts.domain,
            completions: parts.completions,
            worker: parts.worker,
            intake: Intake::new(parts.send_queue as usize, parts.receive_queue as usize),
            commands: Mutex::new(Vec::new()),
            state: Mutex::new(State {
                phase: Phase::Starting,
                peer_closed: false,
            }),
            established: Mutex::new(None),
            changed: Condvar::new(),
            engine: Mutex::new(parts.engine),
            listener: parts.listener,
            place: Mutex::new(parts.place),
            addresses: parts.addresses,
            startup_timeout: parts.startup_timeout,
            ord: AtomicU32::new(ORD_UNKNOWN),
        })
    }

    /// Queues a descriptor for the worker. Takes no lock and does not block.
    pub(crate) fn post(self: &Arc<Self>, descriptor: Descriptor) -> Result<(), PostError> {
        self.enqueue(descriptor)?;
        // If the link has closed meanwhile, this makes the worker flush what has just been queued.
        self.schedule();
        Ok(())
    }

    /// Queues a descriptor without telling the worker, who may not know of the link yet.
    pub(crate) fn enqueue(&self, descriptor: Descriptor) -> Result<(), PostError> {
        let queue = match descriptor.operation {
            Some(_) => Queue::Sends,
            None => Queue::Receives,
        };
        self.intake
            .post(queue, descriptor, self.completions.places())
            .map_err(|refusal| match refusal {
                Refusal::Closed => PostError::Closed,
                Refusal::Full => PostError::Full,
            })
    }

    /// The next descriptor posted, for the engine: receives before sends, so that an answer finds
    /// its buffer.
    pub(crate) fn take_receive(&self) -> Option<Descriptor> {
        self.intake.take(Queue::Receives)
    }

    /// The next Send, Write or Read posted.
    pub(crate) fn take_send(&self) -> Option<Descriptor> {
        self.intake.take(Queue::Sends)
    }

    /// A request is complete: frees its place and tells the application.
    pub(crate) fn complete(&self, completion: Completion) {
        if completion.kind == uwarp_rdmap::OperationKind::Receive {
            self.intake.completed(Queue::Receives);
        } else {
            self.intake.completed(Queue::Sends);
        }
        self.completions.push(completion);
    }

    pub(crate) fn socket_id(&self) -> SocketId {
        SocketId(self.id.0)
    }

    /// Makes the worker look at this link soon.
    pub(crate) fn schedule(self: &Arc<Self>) {
        if self.intake.schedule() {
            self.worker.run(Arc::clone(self));
        }
    }

    pub(crate) fn command(self: &Arc<Self>, command: Command) {
        if matches!(command, Command::Close) {
            self.intake.set_closing();
        }
        lock(&self.commands).push(command);
        self.schedule();
    }

    pub(crate) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut *lock(&self.commands))
    }

    /// For the worker: whatever is queued from here on schedules the link anew.
    pub(crate) fn unschedule(&self) {
        self.intake.unschedule();
    }

    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    pub(crate) fn set_closed(&self) {
        self.intake.set_closed();
    }

    pub(crate) fn orphan(self: &Arc<Self>) {
        self.intake.set_orphaned();
        self.command(Command::Close);
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.intake.is_orphaned()
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
        self.engine().stats()
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

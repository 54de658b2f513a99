//! Completion queues: where the ends of posted work arrive.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use uwarp_ddp::Stag;
use uwarp_rdmap::{OperationKind, Status};

use crate::error::Error;
use crate::notify::{Notifier, Notify};
use crate::ring::{CompletionRing, Credits};

/// Names a socket in the completions of a shared queue; never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// The end of one posted work request. Each request has exactly one, in the order of posting for
/// Sends, Writes and Reads of one socket, and in the order of arrival for its receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The caller's number for the request.
    pub id: u64,
    /// The socket that it was posted to.
    pub socket: SocketId,
    /// What it was.
    pub kind: OperationKind,
    /// How it ended.
    pub status: Status,
    /// Octets sent, read or received; 0 unless it succeeded.
    pub len: u32,
    /// For a receive: the peer asked for an event (Send with Solicited Event, RFC 5040 s5.3).
    pub solicited: bool,
    /// For a receive: this STag of ours was invalidated by the message.
    pub invalidated: Option<Stag>,
    /// For a receive that Immediate Data has used: the data (RFC 7306 s6). Its buffers are not touched.
    pub immediate: Option<[u8; 8]>,
    /// For an atomic operation: the word as it was before (RFC 7306 s5).
    pub original: Option<u64>,
}

impl Completion {
    /// Whether the request did what it was asked to do.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status == Status::Success
    }
}

/// A queue of completions, of one socket or shared by several.
///
/// It never overflows: posting reserves the place of the completion, and fails if there is none.
/// Cloning it makes another handle to the same queue.
#[derive(Clone)]
pub struct CompletionQueue(Arc<Inner>);

/// How long a waiter sleeps before it looks whether its socket has come to its end, in case another
/// thread has taken the token that was meant to wake it.
pub(crate) const NAP: Duration = Duration::from_millis(250);

struct Inner {
    /// `None` is a token that wakes a waiter: a socket of the queue has come to its end.
    ring: CompletionRing<Option<Completion>>,
    places: Credits,
    /// A token is in the ring; there is never more than one, for which the ring has a place.
    token: AtomicBool,
    /// How often it was found empty, wrapping.
    idled: AtomicUsize,
    capacity: u32,
    notifier: Option<Notifier>,
    /// The process that made it.
    generation: u32,
}

impl Inner {
    fn token_taken(&self) {
        self.token.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for CompletionQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompletionQueue")
            .field("capacity", &self.0.capacity)
            .finish_non_exhaustive()
    }
}

impl CompletionQueue {
    /// A queue for `capacity` completions, at least 1: so many requests may be posted, over all its
    /// sockets, whose completions have not been taken.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self::build(capacity, None)
    }

    /// As [`new`](Self::new), with somebody to tell when there is news, by whatever thread has made it.
    #[must_use]
    pub fn with_notify(capacity: u32, notify: Arc<dyn Notify>) -> Self {
        Self::build(capacity, Some(Notifier::new(notify)))
    }

    fn build(capacity: u32, notifier: Option<Notifier>) -> Self {
        let capacity = capacity.max(1);
        Self(Arc::new(Inner {
            // One place more, for a token.
            ring: CompletionRing::with_capacity(capacity as usize + 1),
            places: Credits::new(capacity as usize),
            token: AtomicBool::new(false),
            idled: AtomicUsize::new(1),
            capacity,
            notifier,
            generation: crate::fork::generation(),
        }))
    }

    /// Whether this process made it. A forked child shares the descriptor beside the ring with its
    /// parent, and would take the parent's wake-ups.
    pub(crate) fn is_ours(&self) -> bool {
        crate::fork::check(self.0.generation).is_ok()
    }

    fn check_owner(&self) -> std::io::Result<()> {
        if self.is_ours() {
            Ok(())
        } else {
            Err(std::io::Error::other(Error::Forked))
        }
    }

    /// Takes completions that are there, up to the length of `out`, and returns how many. Never
    /// blocks.
    pub fn poll(&self, out: &mut [Completion]) -> usize {
        if !self.is_ours() {
            return 0;
        }
        let mut count = 0;
        while let Some(place) = out.get_mut(count) {
            match self.0.ring.pop() {
                Some(Some(completion)) => {
                    *place = completion;
                    count += 1;
                }
                Some(None) => self.0.token_taken(),
                None => {
                    self.found_empty();
                    break;
                }
            }
        }
        if count > 0 {
            self.0.places.give(count);
        }
        count
    }

    /// Takes one completion if there is one. Never blocks.
    #[must_use]
    pub fn poll_one(&self) -> Option<Completion> {
        if !self.is_ours() {
            return None;
        }
        let completion = self.take();
        if completion.is_none() {
            self.found_empty();
        }
        completion
    }

    /// Takes one completion if there is one; finding none does not count as having nothing to do.
    pub(crate) fn take(&self) -> Option<Completion> {
        loop {
            if let Some(completion) = self.0.ring.pop()? {
                self.0.places.give(1);
                return Some(completion);
            }
            self.0.token_taken();
        }
    }

    /// Whoever takes from the queue has nothing else to do than to wait.
    pub(crate) fn found_empty(&self) {
        self.0.idled.fetch_add(1, Ordering::Relaxed);
    }

    /// Sleeps until a completion waits, `input` has input, or `deadline` has passed, or for no reason. For a
    /// caller that has just found nothing to take.
    pub(crate) fn doze(
        &self,
        input: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> std::io::Result<()> {
        self.0.ring.doze(input, deadline)
    }

    /// Whether no completion waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.ring.is_empty()
    }

    /// Whether somebody may sleep on the descriptor.
    pub(crate) fn is_watched(&self) -> bool {
        self.0.ring.is_watched()
    }

    /// Takes one completion, waiting for it at most `timeout` (for ever if `None`). Returns `None`
    /// when the time is up, or when a socket of this queue has come to its end.
    ///
    /// # Errors
    /// When the process has no descriptor left to wait on, or was forked from the one that made the
    /// queue.
    pub fn wait_one(&self, timeout: Option<Duration>) -> std::io::Result<Option<Completion>> {
        self.check_owner()?;
        if self.0.ring.is_empty() {
            self.found_empty();
        }
        match self.0.ring.wait(timeout)? {
            Some(Some(completion)) => {
                self.0.places.give(1);
                Ok(Some(completion))
            }
            Some(None) => {
                self.0.token_taken();
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// A descriptor that is readable while completions wait, for the caller's own poll, select or
    /// epoll. Do not read from it; [`poll`](Self::poll) until it gives nothing.
    ///
    /// # Errors
    /// When the process has no descriptor left, or was forked from the one that made the queue.
    pub fn descriptor(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.check_owner()?;
        self.0.ring.fd()
    }

    /// How often the queue was found empty, wrapping: as long as it does not change, nobody who takes from
    /// it had to wait.
    pub(crate) fn idled(&self) -> usize {
        self.0.idled.load(Ordering::Relaxed)
    }

    /// The places for completions, one of which is taken by each request that is posted.
    pub(crate) fn places(&self) -> &Credits {
        &self.0.places
    }

    /// There is news for the notifier.
    pub(crate) fn note(&self) {
        if let Some(notifier) = &self.0.notifier {
            notifier.note();
        }
    }

    /// Tells the notifier what has been noted. To be called when the engine has been let go.
    pub(crate) fn tell(&self) {
        if let Some(notifier) = &self.0.notifier {
            notifier.tell();
        }
    }

    /// Adds a completion whose place has been reserved. It comes back if a thread that takes an earlier completion is
    /// in the midst of that: the caller tries again later, and keeps the order.
    pub(crate) fn push(&self, completion: Completion) -> Result<(), Completion> {
        match self.0.ring.push(Some(completion)) {
            Err(Some(completion)) => Err(completion),
            Ok(()) | Err(None) => {
                self.note();
                Ok(())
            }
        }
    }

    /// Wakes whoever waits, though there may be no completion.
    pub(crate) fn wake(&self) {
        // Whoever takes a token looks at its socket afterwards, so that one serves all ends so far.
        if !self.0.token.swap(true, Ordering::AcqRel) && self.0.ring.push(None).is_err() {
            self.0.token_taken();
        }
    }

    /// Waits for a while, at most until the deadline.
    pub(crate) fn nap(&self, deadline: Option<Instant>) -> std::io::Result<Option<Completion>> {
        let left = deadline.map_or(NAP, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        self.wait_one(Some(left.min(NAP)))
    }
}

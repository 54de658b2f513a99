//! The socket in DDPMODE.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use uwarp_ddp::{Stag, StreamId};
use uwarp_rdmap::atomic::ATOMIC_WORD;
use uwarp_rdmap::{AtomicOperation, Operation};
use uwarp_stream::{End, Established, Stats};

use crate::batch::Batch;
use crate::bell::Attendant;
use crate::completion::{Completion, CompletionQueue, SocketId};
use crate::descriptor::{Descriptor, MAX_SGE};
use crate::domain::{Domain, RemoteRegion, Sge};
use crate::error::{Error, PostError, WaitError};
use crate::link::{Command, Link, Phase, State};
use crate::ring::Queue;

/// What a Send asks of the receiver besides taking its data (RFC 5040 s5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFlags {
    /// Raise an event on delivery.
    pub solicited: bool,
    /// Invalidate this STag of the receiver's on delivery.
    pub invalidate: Option<Stag>,
}

/// Rounds of [`Socket::spin_until`] between two looks at the clock, some tens of microseconds.
const SPINS: u32 = 32;

/// A TCP connection in DDPMODE.
///
/// Work is posted and completes later: [`poll`](Self::poll) and [`wait`](Self::wait) give the
/// completions, each with the number that the request was posted with. The buffers of a request
/// must not be reused, nor changed, before its completion.
///
/// Posting takes no lock and never blocks; all methods may be called from several threads at once.
/// Dropping the socket closes it in order, in the background.
#[derive(Debug)]
pub struct Socket {
    link: Arc<Link>,
    generation: u32,
    /// Dropping it closes the connection.
    armed: AtomicBool,
}

impl Socket {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            generation: crate::fork::generation(),
            armed: AtomicBool::new(true),
        }
    }

    /// Whether this process made it.
    pub(crate) fn check_owner(&self) -> Result<(), ()> {
        crate::fork::check(self.generation)
    }

    pub(crate) const fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Another handle has taken the connection over.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    pub(crate) fn domain(&self) -> &Domain {
        &self.link.domain
    }

    pub(crate) fn stream_id(&self) -> StreamId {
        self.link.id
    }

    /// The name of this socket in completions.
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.link.socket_id()
    }

    /// Our TCP address.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.link.addresses.local
    }

    /// The peer's TCP address.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.link.addresses.peer
    }

    /// The terms that both ends agreed, and the peer's private data.
    #[must_use]
    pub fn established(&self) -> Option<Established> {
        self.check_owner().ok()?;
        self.link.established()
    }

    /// Posts a Send of the octets of `list`, of which the peer must have posted a receive.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_send(&self, id: u64, list: &[Sge], flags: SendFlags) -> Result<(), PostError> {
        let operation = Operation::Send {
            solicited: flags.solicited,
            invalidate: flags.invalidate,
        };
        self.post(id, list, Some(operation), None)
    }

    /// Posts buffers for one incoming Send. Receives are used in the order of posting.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_recv(&self, id: u64, list: &[Sge]) -> Result<(), PostError> {
        self.post(id, list, None, None)
    }

    /// Posts an RDMA Write of the octets of `list` to the beginning of `remote`. The peer is not
    /// told; a Send that follows tells it.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_write(&self, id: u64, list: &[Sge], remote: RemoteRegion) -> Result<(), PostError> {
        let operation = Operation::Write {
            stag: remote.stag,
            to: remote.to,
        };
        self.post(id, list, Some(operation), Some(remote.len))
    }

    /// Posts an RDMA Read from the beginning of `remote` into the buffers of `list`.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_read(&self, id: u64, list: &[Sge], remote: RemoteRegion) -> Result<(), PostError> {
        if self.link.ord() == Some(0) {
            return Err(PostError::ReadsDisabled);
        }
        let operation = Operation::Read {
            stag: remote.stag,
            to: remote.to,
        };
        self.post(id, list, Some(operation), Some(remote.len))
    }

    /// Posts 8 octets that arrive in the completion of a receive of the peer's (RFC 7306 s6). The peer
    /// must have posted one; its buffers are not touched.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_immediate(&self, id: u64, data: [u8; 8], solicited: bool) -> Result<(), PostError> {
        self.post(
            id,
            &[],
            Some(Operation::Immediate { data, solicited }),
            None,
        )
    }

    /// Posts an atomic operation on the 64-bit word at the beginning of `remote`, whose address is a
    /// multiple of 8 and whose region gives the right of remote atomics (RFC 7306 s5). The completion
    /// has the word as it was before; the word's byte order is that of the peer.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_atomic(
        &self,
        id: u64,
        operation: AtomicOperation,
        remote: RemoteRegion,
    ) -> Result<(), PostError> {
        if self.link.ord() == Some(0) {
            return Err(PostError::ReadsDisabled);
        }
        if remote.len < ATOMIC_WORD {
            return Err(PostError::RemoteTooShort {
                remote: remote.len,
                local: ATOMIC_WORD,
            });
        }
        let operation = Operation::Atomic {
            stag: remote.stag,
            to: remote.to,
            operation,
        };
        self.post(id, &[], Some(operation), None)
    }

    fn post(
        &self,
        id: u64,
        list: &[Sge],
        operation: Option<Operation>,
        remote_len: Option<u32>,
    ) -> Result<(), PostError> {
        let len = self.check(list, operation, remote_len)?;
        let queue = match operation {
            Some(_) => Queue::Sends,
            None => Queue::Receives,
        };
        let descriptor = || Descriptor::new(id, operation, list, len);
        self.link.post(queue, len, descriptor)
    }

    /// Posts buffers for one incoming Send on a socket that its worker does not know of yet.
    pub(crate) fn post_early_recv(&self, id: u64, list: &[Sge]) -> Result<(), PostError> {
        let len = self.check(list, None, None)?;
        let descriptor = || Descriptor::new(id, None, list, len);
        self.link.enqueue(Queue::Receives, descriptor)
    }

    /// Whether a request may be posted; gives the octets of its list.
    pub(crate) fn check(
        &self,
        list: &[Sge],
        operation: Option<Operation>,
        remote_len: Option<u32>,
    ) -> Result<u32, PostError> {
        self.check_owner().map_err(|()| PostError::Forked)?;
        if list.len() > MAX_SGE {
            return Err(PostError::TooManyElements);
        }
        let mut len = 0u32;
        for element in list {
            if element.domain != self.domain().id() {
                return Err(PostError::OtherDomain);
            }
            len = len.checked_add(element.len).ok_or(PostError::TooLong)?;
        }
        if let Some(remote) = remote_len.filter(|&remote| remote < len) {
            return Err(PostError::RemoteTooShort { remote, local: len });
        }
        if let Some(Operation::Write { to, .. } | Operation::Read { to, .. }) = operation {
            to.checked_add(u64::from(len))
                .ok_or(PostError::OffsetWrap)?;
        }
        Ok(len)
    }

    /// Begins a batch of requests that are sent together.
    #[must_use = "what is posted to a batch leaves when that is dropped"]
    pub const fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// The queue that completions of this socket go to.
    #[must_use]
    pub fn completion_queue(&self) -> &CompletionQueue {
        &self.link.completions
    }

    /// A descriptor that is readable while completions wait, for the caller's own poll or epoll.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn completion_descriptor(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.link.completions.descriptor()
    }

    /// The connection, for a caller that waits for something else than a completion.
    #[must_use]
    pub fn attendant(&self) -> Attendant {
        Attendant::new(Arc::clone(&self.link))
    }

    /// Takes a completion if there is one. Never blocks.
    #[must_use]
    pub fn poll(&self) -> Option<Completion> {
        self.check_owner().ok()?;
        crate::attend::poll(&self.link)
    }

    /// Waits for a completion, at most `timeout` (for ever if `None`).
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], or [`WaitError::Over`] when the connection has ended and every
    /// completion has been taken.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Completion, WaitError> {
        self.check_owner().map_err(|()| WaitError::Forked)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // The order matters: every completion is taken before the end is told.
            let complete = self.link.is_complete();
            let end = complete.then(|| self.end()).flatten();
            if let Some(completion) = self.link.completions.take() {
                return Ok(completion);
            }
            if let Some(end) = end {
                // Another thread may wait for the same end.
                self.link.completions.wake();
                return Err(WaitError::Over(end));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(WaitError::TimedOut);
            }
            if let Some(completion) = crate::attend::wait(&self.link, deadline)
                .map_err(|error| WaitError::System(error.kind()))?
            {
                return Ok(completion);
            }
        }
    }

    /// Waits until `look` gives something, driving the connection all the time and without sleeping, at most `timeout`
    /// (for ever if `None`). For memory that the peer writes to without a message: `look` reads it. Completions stay
    /// in their queue.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], or [`WaitError::Over`] when the connection has ended and `look` gives nothing.
    pub fn spin_until<T>(
        &self,
        timeout: Option<Duration>,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        self.check_owner().map_err(|()| WaitError::Forked)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut round = 0u32;
        loop {
            let end = self.end();
            if let Some(seen) = look() {
                return Ok(seen);
            }
            if let Some(end) = end {
                return Err(WaitError::Over(end));
            }
            // The clock is not looked at every time.
            if round.is_multiple_of(SPINS)
                && deadline.is_some_and(|deadline| deadline <= Instant::now())
            {
                return Err(WaitError::TimedOut);
            }
            crate::attend::spin(&self.link);
            round = round.wrapping_add(1);
        }
    }

    /// How the connection ended; `None` while it lives.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.check_owner().ok()?;
        // Set before the end is told, and asked for more often than not by somebody who polls.
        if !self.link.is_closed() {
            return None;
        }
        self.link.with_state(|state| match &state.phase {
            Phase::Over(end) => Some(end.clone()),
            _ => None,
        })
    }

    /// Whether the peer has sent its last octet. Sending is still possible if the options say so
    /// ([`Options::half_close`](crate::Options::half_close)).
    #[must_use]
    pub fn peer_closed(&self) -> bool {
        self.check_owner().is_ok() && self.link.with_state(|state| state.peer_closed)
    }

    /// What the connection has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match self.check_owner() {
            Ok(()) => self.link.stats(),
            Err(()) => Stats::default(),
        }
    }

    /// Closes in order and waits for the end: posted work is finished, then both ends say that they
    /// have no more (the other end does so by itself, unless it chose to half-close). Takes no longer than the close timeout of the options.
    ///
    /// # Errors
    /// How the connection ended, if not in order.
    pub fn close(&self) -> Result<(), WaitError> {
        self.shutdown()?;
        let end = self.link.wait_state(None, |state| match &state.phase {
            Phase::Over(end) => Some(end.clone()),
            _ => None,
        });
        match end {
            Some(End::Graceful) => Ok(()),
            Some(end) => Err(WaitError::Over(end)),
            None => Err(WaitError::TimedOut),
        }
    }

    /// Begins to close in order; does not wait.
    ///
    /// # Errors
    /// [`WaitError::Forked`] in a forked child.
    pub fn shutdown(&self) -> Result<(), WaitError> {
        self.check_owner().map_err(|()| WaitError::Forked)?;
        self.link.command(Command::Close);
        Ok(())
    }

    /// Ends the connection at once with a TCP reset; what is posted completes as flushed.
    pub fn abort(&self) {
        if self.check_owner().is_ok() {
            self.link.command(Command::Abort);
        }
    }

    /// Waits until the set-up has come to an end.
    pub(crate) fn await_established(&self) -> Result<(), Error> {
        let outcome = self
            .link
            .wait_state(None, |state| self.setup_outcome(state));
        outcome.unwrap_or(Err(Error::SetupClosed))
    }

    /// What has become of the set-up; `None` while it is under way.
    pub(crate) fn setup_outcome(&self, state: &mut State) -> Option<Result<(), Error>> {
        match &mut state.phase {
            Phase::Starting | Phase::Requested(_) => None,
            Phase::Established => Some(Ok(())),
            // Set up and over already: the socket tells, and has what was received.
            Phase::Over(_) if self.link.established().is_some() => Some(Ok(())),
            Phase::Over(end) => Some(Err(Error::from_end(end.clone(), self.link.startup_timeout))),
            Phase::Rejected {
                private_data,
                required_ord,
                peer_ird,
                stream,
            } => Some(match stream.take() {
                Some(stream) => Err(Error::Rejected {
                    private_data: std::mem::take(private_data),
                    required_ord: *required_ord,
                    peer_ird: *peer_ird,
                    stream,
                }),
                None => Err(Error::SetupClosed),
            }),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if *self.armed.get_mut() && self.check_owner().is_ok() {
            self.link.orphan();
        }
    }
}

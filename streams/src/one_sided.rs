//! One-sided operations beside a stream.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use uwarp::{AtomicOperation, Completion, Domain, PostError, RemoteRegion, Sge, Socket};

use crate::inner::Inner;

/// RDMA Writes, Reads and atomic operations over the connection of a stream, which it carries beside the stream.
///
/// What is registered in [`domain`](Self::domain) can be reached by the peer of this stream and by nobody else; it is
/// served whether this end's program attends to the stream or not. Sends and receives are the stream's own: there is
/// none to post. The ends tell each other of their regions in the stream, or before it.
#[derive(Clone, Copy, Debug)]
pub struct OneSided<'a> {
    inner: &'a Inner,
}

impl<'a> OneSided<'a> {
    pub(crate) const fn new(inner: &'a Inner) -> Self {
        Self { inner }
    }

    /// The protection domain of the stream, to register memory in.
    #[must_use]
    pub fn domain(&self) -> &'a Domain {
        self.inner.domain()
    }

    /// Posts an RDMA Write, as [`Socket::post_write`] does. What is written to the stream later comes later.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then. [`PostError::Closed`] also before the stream is set up.
    pub fn post_write(&self, id: u64, list: &[Sge], remote: RemoteRegion) -> Result<(), PostError> {
        self.post(id, |socket, id| socket.post_write(id, list, remote))
    }

    /// Posts an RDMA Read, as [`Socket::post_read`] does.
    ///
    /// # Errors
    /// As [`post_write`](Self::post_write).
    pub fn post_read(&self, id: u64, list: &[Sge], remote: RemoteRegion) -> Result<(), PostError> {
        self.post(id, |socket, id| socket.post_read(id, list, remote))
    }

    /// Posts an atomic operation, as [`Socket::post_atomic`] does.
    ///
    /// # Errors
    /// As [`post_write`](Self::post_write).
    pub fn post_atomic(
        &self,
        id: u64,
        operation: AtomicOperation,
        remote: RemoteRegion,
    ) -> Result<(), PostError> {
        self.post(id, |socket, id| socket.post_atomic(id, operation, remote))
    }

    fn post(
        &self,
        id: u64,
        post: impl FnOnce(&Socket, u64) -> Result<(), PostError>,
    ) -> Result<(), PostError> {
        self.inner.check_owner().map_err(|_| PostError::Forked)?;
        self.inner.with(|state| state.post_beside(id, post))
    }

    /// Takes the completion of an operation posted here, if there is one. Never blocks.
    #[must_use]
    pub fn poll(&self) -> Option<Completion> {
        self.inner.check_owner().ok()?;
        self.inner.with(|state| state.beside.take())
    }

    /// Takes a completion, waiting for it at most `timeout` (for ever if `None`). `None` when the time is up, or when
    /// the connection is over and every completion has been taken.
    ///
    /// # Errors
    /// In a forked child.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<Completion>> {
        self.inner.check_owner()?;
        let taken = self.inner.wait(None, timeout, || {
            self.inner.with(|state| match state.beside.take() {
                Some(completion) => Some(Some(completion)),
                None => state.is_over().then_some(None),
            })
        });
        Ok(taken.flatten())
    }
}

/// The one-sided operations that are posted or whose completions wait for the program.
#[derive(Debug)]
pub(crate) struct Beside {
    limit: usize,
    /// The program's number of each operation that is posted.
    posted: Vec<Option<u64>>,
    under_way: usize,
    done: VecDeque<Completion>,
}

impl Beside {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: limit as usize,
            posted: Vec::new(),
            under_way: 0,
            done: VecDeque::new(),
        }
    }

    pub(crate) fn reserve(&mut self, id: u64) -> Option<u64> {
        if self.under_way + self.done.len() >= self.limit {
            return None;
        }
        self.under_way += 1;
        let free = self.posted.iter().position(Option::is_none);
        let number = free.unwrap_or_else(|| {
            self.posted.push(None);
            self.posted.len() - 1
        });
        self.posted[number] = Some(id);
        Some(number as u64)
    }

    pub(crate) fn release(&mut self, number: u64) -> Option<u64> {
        let id = self.posted.get_mut(number as usize)?.take()?;
        self.under_way -= 1;
        Some(id)
    }

    pub(crate) fn completed(&mut self, number: u64, completion: &Completion) {
        if let Some(id) = self.release(number) {
            self.done.push_back(Completion { id, ..*completion });
        }
    }

    fn take(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }
}

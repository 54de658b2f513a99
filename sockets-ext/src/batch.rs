//! Requests that are sent together.

use crate::descriptor::Descriptor;
use crate::domain::{RemoteRegion, Sge};
use crate::error::PostError;
use crate::ring::Queue;
use crate::socket::{SendFlags, Socket};
use uwarp_rdmap::Operation;

/// Requests posted one after the other, of which nothing is sent before the batch is dropped, unless another thread drives
/// the connection meanwhile: a Write and the Send that tells of it then leave in one system call.
///
/// ```no_run
/// # fn example(socket: &uwarp::Socket, octets: &[uwarp::Sge], news: &[uwarp::Sge], remote: uwarp::RemoteRegion)
/// # -> Result<(), uwarp::PostError> {
/// let mut batch = socket.batch();
/// batch.post_write(1, octets, remote)?;
/// batch.post_send(2, news, uwarp::SendFlags::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batch<'a> {
    socket: &'a Socket,
    /// Octets of the longest request, if there is one.
    longest: Option<u32>,
}

impl<'a> Batch<'a> {
    pub(crate) const fn new(socket: &'a Socket) -> Self {
        Self {
            socket,
            longest: None,
        }
    }

    /// As [`Socket::post_send`].
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_send(&mut self, id: u64, list: &[Sge], flags: SendFlags) -> Result<(), PostError> {
        let operation = Operation::Send {
            solicited: flags.solicited,
            invalidate: flags.invalidate,
        };
        self.queue(id, list, operation, None)
    }

    /// As [`Socket::post_write`].
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_write(
        &mut self,
        id: u64,
        list: &[Sge],
        remote: RemoteRegion,
    ) -> Result<(), PostError> {
        let operation = Operation::Write {
            stag: remote.stag,
            to: remote.to,
        };
        self.queue(id, list, operation, Some(remote.len))
    }

    fn queue(
        &mut self,
        id: u64,
        list: &[Sge],
        operation: Operation,
        remote_len: Option<u32>,
    ) -> Result<(), PostError> {
        let len = self.socket.check(list, Some(operation), remote_len)?;
        let descriptor = || Descriptor::new(id, Some(operation), list, len);
        self.socket.link().enqueue(Queue::Sends, descriptor)?;
        self.longest = Some(self.longest.map_or(len, |longest| longest.max(len)));
        Ok(())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(len) = self.longest {
            self.socket.link().set_out(len);
        }
    }
}

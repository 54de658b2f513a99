//! The stream as a program has it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uwarp::End;

use crate::failure;
use crate::inner::{Addresses, Inner, Role};
use crate::one_sided::OneSided;
use crate::options::StreamOptions;
use crate::readiness::{Readiness, Wants, Watch};
use crate::state::Readable;

/// Octets that are copied into the send ring before the peer is told of them, so that a long write is under way
/// before it has been copied to its end.
const COPY_MAX: usize = 1 << 16;

/// A byte stream over a TCP connection in DDPMODE.
///
/// All methods may be called from several threads. None but [`wait`](Self::wait) and [`close`](Self::close) with a
/// time blocks. Dropping the last handle closes the stream as [`close`](Self::close) does.
#[derive(Debug)]
pub struct StreamSocket {
    pub(crate) inner: Arc<Inner>,
    addresses: Addresses,
    /// Readers take their turns, so that none reads what another has.
    reading: Mutex<()>,
    /// Writers, too. Octets written since the beginning.
    writing: Mutex<u64>,
}

impl StreamSocket {
    /// Begins the set-up as MPA initiator over a connected TCP socket. Does not block; `watch` is told when the stream
    /// is [`established`](Readiness::established), or that it cannot be.
    ///
    /// # Errors
    /// When the options cannot be met, or memory, or a worker, is not to be had. A peer that does not take part shows
    /// as [`Readiness::error`].
    pub fn initiate(
        tcp: TcpStream,
        options: &StreamOptions,
        watch: Arc<dyn Watch>,
    ) -> io::Result<Arc<Self>> {
        Self::begin(tcp, Role::Initiator, options, watch)
    }

    /// Begins the set-up as MPA responder over a connected TCP socket. The peer's Request may be in the socket's buffer
    /// already, or come later. Does not block.
    ///
    /// # Errors
    /// As [`initiate`](Self::initiate).
    pub fn respond(
        tcp: TcpStream,
        options: &StreamOptions,
        watch: Arc<dyn Watch>,
    ) -> io::Result<Arc<Self>> {
        Self::begin(tcp, Role::Responder, options, watch)
    }

    fn begin(
        tcp: TcpStream,
        role: Role,
        options: &StreamOptions,
        watch: Arc<dyn Watch>,
    ) -> io::Result<Arc<Self>> {
        let (inner, addresses) = Inner::begin(tcp, role, options, watch)?;
        Ok(Arc::new(Self {
            inner,
            addresses,
            reading: Mutex::new(()),
            writing: Mutex::new(0),
        }))
    }

    /// Takes octets of the stream into `bufs`, in their order, and returns how many; with `peek` they are left for the
    /// next read. 0 is the end of the stream, or no room in `bufs`.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is nothing yet.
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset) once when the connection ended without a word, and the
    /// number of [`Readiness::error`] in general.
    pub fn try_read(&self, bufs: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<usize> {
        self.inner.check_owner()?;
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let octets = self.inner.with(|state| match state.readable() {
            Readable::Octets(octets) => Ok(Some(octets)),
            other => match (state.take_read_error(), other) {
                (Some(error), _) => Err(failure::errno(error)),
                (None, Readable::Nothing) => Err(failure::would_block()),
                (None, _) => Ok(None),
            },
        })?;
        let Some(octets) = octets else {
            return Ok(0);
        };
        // Copied without the state: the peer writes nowhere here before the octets are said to be consumed.
        let count = self.inner.buffers().drain(octets, bufs)?;
        if !peek {
            self.inner
                .with(|state| state.consumed(count, self.inner.buffers()));
        }
        Ok(count)
    }

    /// Writes as much of `bufs` to the stream as there is room for, and returns how much.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room, or the stream is not set up yet.
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) when this end or the other takes no more; a program that has not asked
    /// otherwise then gets SIGPIPE from whoever acts for the kernel. The number of [`Readiness::error`] goes before.
    pub fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.check_owner()?;
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut written = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        loop {
            let room = self.inner.with(|state| {
                // One that comes meanwhile is for the next call.
                let error = if done == 0 {
                    state.take_write_error()
                } else {
                    None
                };
                error.map_or_else(|| state.room(), |error| Err(failure::errno(error)))
            });
            let len = match room {
                Ok(0) if done == 0 && total > 0 => return Err(failure::would_block()),
                Ok(room) => (total - done).min(room as usize).min(COPY_MAX),
                Err(error) if done == 0 => return Err(error),
                Err(_) => 0,
            };
            if len == 0 {
                return Ok(done);
            }
            // Copied without the state: this is nobody's place but that of the writer whose turn it is.
            let buffers = self.inner.buffers();
            buffers.fill(*written..*written + len as u64, bufs, done)?;
            let taken = match self.inner.with(|state| state.write(len, buffers)) {
                Ok(taken) => taken,
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(failure::of_write(error)),
            };
            *written += taken as u64;
            done += taken;
        }
    }

    /// Waits until any of `wants` is the case, at most `timeout` (for ever if `None`), and returns whether it is. An
    /// error makes the stream readable and writable.
    ///
    /// # Errors
    /// In a forked child.
    pub fn wait(&self, wants: Wants, timeout: Option<Duration>) -> io::Result<bool> {
        self.inner.check_owner()?;
        let met = self.inner.wait(Some(wants), timeout, || {
            let met = self.inner.readiness().meets(wants)
                || wants.contains(Wants::CLOSED) && self.inner.with(|state| state.is_over());
            met.then_some(())
        });
        Ok(met.is_some())
    }

    /// What the stream is ready for. In a forked child, for nothing.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match self.inner.check_owner() {
            Ok(()) => self.inner.readiness(),
            Err(_) => Readiness::default(),
        }
    }

    /// Octets that can be read now.
    #[must_use]
    pub fn readable_octets(&self) -> usize {
        if self.inner.check_owner().is_err() {
            return 0;
        }
        self.inner.with(|state| match state.readable() {
            Readable::Octets(octets) => (octets.end - octets.start) as usize,
            Readable::End | Readable::Nothing => 0,
        })
    }

    /// Ends one direction or both. The peer is told behind what was written; what it sends to an end that reads no more
    /// is thrown away.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the stream is not set up, or was reset; and in a forked child.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.check_owner()?;
        let buffers = self.inner.buffers();
        self.inner.with(|state| {
            if state.is_reset() || !state.is_established() {
                return Err(failure::errno(libc::ENOTCONN));
            }
            if matches!(how, Shutdown::Write | Shutdown::Both) {
                state.shutdown_write(buffers);
            }
            if matches!(how, Shutdown::Read | Shutdown::Both) {
                state.shutdown_read(buffers);
            }
            Ok(())
        })?;
        self.inner.changed();
        Ok(())
    }

    /// Closes the stream: what was written is still delivered, in the background, and the watch is let go. With
    /// `linger` it waits so long for everything to be handed to TCP; with a `linger` of zero the connection is reset
    /// instead, and what was written may be lost.
    pub fn close(&self, linger: Option<Duration>) {
        if self.inner.check_owner().is_err() {
            return;
        }
        self.inner.unwatch();
        let abort = linger.is_some_and(|linger| linger.is_zero());
        let buffers = self.inner.buffers();
        self.inner.with(|state| state.close(abort, buffers));
        self.inner.changed();
        if let Some(linger) = linger.filter(|linger| !linger.is_zero()) {
            self.inner.wait(None, Some(linger), || {
                self.inner.with(|state| state.is_drained()).then_some(())
            });
        }
    }

    /// Takes the error that the program has not been told of (SO_ERROR): a number of errno.
    #[must_use]
    pub fn take_error(&self) -> Option<i32> {
        self.inner.check_owner().ok()?;
        self.inner.with(|state| state.take_error())
    }

    /// How the connection ended: what lies behind the error that a read or a write has told. `None` while it lives, and
    /// when the set-up failed.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.inner.check_owner().ok()?;
        self.inner.with(|state| state.end())
    }

    /// One-sided operations beside the stream.
    #[must_use]
    pub fn one_sided(&self) -> OneSided<'_> {
        OneSided::new(&self.inner)
    }

    /// Our TCP address.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.local
    }

    /// The peer's TCP address.
    #[must_use]
    pub const fn peer_addr(&self) -> Option<SocketAddr> {
        self.addresses.peer
    }
}

impl Drop for StreamSocket {
    fn drop(&mut self) {
        self.close(None);
    }
}

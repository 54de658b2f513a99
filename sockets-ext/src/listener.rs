//! Accepting connections.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use uwarp_mpa::{MAX_PRIVATE_DATA, MAX_PRIVATE_DATA_ENHANCED, PeerRequest};

use crate::connect::{Adopted, adopt};
use crate::domain::Sge;
use crate::error::{Error, PostError};
use crate::link::{Command, Link, Phase};
use crate::options::Options;
use crate::socket::Socket;
use crate::worker::{WorkerHandle, Workers};
use uwarp_stream::Role;

/// Connections of one listener that may be between TCP and a Request that the application has
/// taken. Further ones wait in the kernel's queue, so that peers who say nothing cost nothing.
const UNDER_WAY_MAX: usize = 256;

/// Requests that wait for the application, and the listener's state.
#[derive(Debug)]
pub(crate) struct Pending {
    ready: Mutex<VecDeque<Arc<Link>>>,
    changed: Condvar,
    under_way: AtomicUsize,
    closed: AtomicBool,
}

impl Pending {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A connection has a valid Request.
    pub(crate) fn announce(&self, link: &Arc<Link>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock: a listener that is dropped takes what is ready after it has closed.
        if self.is_closed() {
            drop(ready);
            return link.orphan();
        }
        ready.push_back(Arc::clone(link));
        self.changed.notify_one();
    }

    fn take(&self, deadline: Option<Instant>) -> Option<Arc<Link>> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(link) = ready.pop_front() {
                return Some(link);
            }
            ready = match deadline {
                None => self
                    .changed
                    .wait(ready)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    self.changed
                        .wait_timeout(ready, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// Gives a place among the connections under way back when the connection has left that state.
#[derive(Debug)]
pub(crate) struct Place {
    pending: Arc<Pending>,
    worker: WorkerHandle,
}

impl Place {
    pub(crate) fn listener(&self) -> Weak<Pending> {
        Arc::downgrade(&self.pending)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.pending.under_way.fetch_sub(1, Ordering::AcqRel) >= UNDER_WAY_MAX {
            self.worker.review_listeners();
        }
    }
}

/// A listener as its worker has it.
#[derive(Debug)]
pub(crate) struct ListenerEntry {
    pub(crate) socket: TcpListener,
    pub(crate) pending: Arc<Pending>,
    options: Box<Options>,
    worker: WorkerHandle,
}

impl ListenerEntry {
    /// The next connection, if there is one and a place for it.
    pub(crate) fn accept(&mut self) -> io::Result<Option<Arc<Link>>> {
        if self.pending.under_way.load(Ordering::Acquire) >= UNDER_WAY_MAX {
            return Ok(None);
        }
        let (stream, _) = match self.socket.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        self.pending.under_way.fetch_add(1, Ordering::AcqRel);
        let place = Place {
            pending: Arc::clone(&self.pending),
            worker: self.worker.clone(),
        };
        let adopted = Adopted {
            stream: stream.into(),
            role: Role::Responder,
            worker: self.worker.clone(),
            place: Some(place),
        };
        adopt(adopted, &self.options)
            .map(Some)
            .map_err(io::Error::other)
    }
}

impl Drop for ListenerEntry {
    fn drop(&mut self) {
        // Its number may soon be that of a descriptor that a forked child needs.
        crate::fork::forget(self.socket.as_fd());
    }
}

/// Listens for iWARP connections.
///
/// The worker accepts TCP connections and reads their MPA Requests, so that a peer that connects
/// and says nothing holds nobody up; [`accept`](Self::accept) gives those whose Request has come.
#[derive(Debug)]
pub struct Listener {
    pending: Arc<Pending>,
    address: SocketAddr,
    worker: WorkerHandle,
    generation: u32,
}

impl Listener {
    /// Listens on `address`; accepted sockets have `options`.
    ///
    /// # Errors
    /// [`Error::Listen`] when the address cannot be used.
    pub fn bind(
        address: impl ToSocketAddrs + std::fmt::Debug,
        options: &Options,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Listen {
            address: format!("{address:?}").trim_matches('"').to_owned(),
            source,
        };
        let socket = TcpListener::bind(&address).map_err(failed)?;
        Self::from_tcp(socket, options)
    }

    /// Listens on a TCP listener of the caller's.
    ///
    /// # Errors
    /// When the listener cannot be made non-blocking, or no worker can be started.
    pub fn from_tcp(socket: TcpListener, options: &Options) -> Result<Self, Error> {
        options.check_owner()?;
        let system = Error::system("cannot use the TCP listener");
        socket.set_nonblocking(true).map_err(&system)?;
        let address = socket.local_addr().map_err(&system)?;
        let worker = match &options.workers {
            Some(workers) => workers.next(),
            None => Workers::global()?.next(),
        };
        crate::fork::guard(socket.as_fd());
        let pending = Arc::new(Pending {
            ready: Mutex::new(VecDeque::new()),
            changed: Condvar::new(),
            under_way: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        worker.listen(ListenerEntry {
            socket,
            pending: Arc::clone(&pending),
            options: Box::new(options.clone()),
            worker: worker.clone(),
        });
        Ok(Self {
            pending,
            address,
            worker,
            generation: crate::fork::generation(),
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a connection with a valid MPA Request.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn accept(&self) -> Result<Incoming, Error> {
        self.accept_until(None)?.ok_or(Error::ListenerClosed)
    }

    /// As [`accept`](Self::accept), but waits at most `timeout`.
    ///
    /// # Errors
    /// [`Error::AcceptTimeout`] when nobody came, [`Error::Forked`] in a forked child.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Incoming, Error> {
        self.accept_until(Instant::now().checked_add(timeout))?
            .ok_or(Error::AcceptTimeout(timeout))
    }

    fn accept_until(&self, deadline: Option<Instant>) -> Result<Option<Incoming>, Error> {
        crate::fork::check(self.generation).map_err(|()| Error::Forked)?;
        while let Some(link) = self.pending.take(deadline) {
            if let Some(incoming) = Incoming::new(link) {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if crate::fork::check(self.generation).is_err() {
            return;
        }
        self.pending.closed.store(true, Ordering::Release);
        for link in std::mem::take(
            &mut *self
                .pending
                .ready
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        ) {
            link.orphan();
        }
        self.worker.review_listeners();
    }
}

/// A connection whose Request waits for an answer. Dropping it closes the connection.
#[derive(Debug)]
pub struct Incoming {
    socket: Option<Socket>,
    request: PeerRequest,
}

impl Incoming {
    /// `None` when the connection has ended while it waited.
    pub(crate) fn new(link: Arc<Link>) -> Option<Self> {
        let socket = Socket::new(link);
        let request = socket.link().with_state(|state| match &state.phase {
            Phase::Requested(request) => Some(request.clone()),
            _ => None,
        })?;
        Some(Self {
            socket: Some(socket),
            request,
        })
    }

    /// The peer's private data.
    #[must_use]
    pub fn private_data(&self) -> &[u8] {
        &self.request.private_data
    }

    /// The Request, with the peer's IRD and ORD as it stated them (RFC 6581 s9.1, E07).
    #[must_use]
    pub const fn request(&self) -> &PeerRequest {
        &self.request
    }

    /// The peer's TCP address.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.socket.as_ref().and_then(Socket::peer_addr)
    }

    /// Posts buffers for one incoming Send, before the peer is told that it may send. The completion
    /// arrives at the socket that [`accept`](Self::accept) gives.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_recv(&self, id: u64, list: &[Sge]) -> Result<(), PostError> {
        self.socket
            .as_ref()
            .map_or(Err(PostError::Closed), |socket| socket.post_recv(id, list))
    }

    /// Accepts, with private data for the Reply of at most 508 octets (512 for a revision 1 peer).
    ///
    /// The socket may be posted to at once; what is posted is sent when the peer's first FPDU has
    /// come (RFC 5044 s7.1.2 r4).
    ///
    /// # Errors
    /// When the private data is too long, or the connection has ended.
    pub fn accept(mut self, private_data: &[u8]) -> Result<Socket, Error> {
        let socket = self.take_socket(private_data)?;
        socket
            .link()
            .command(Command::Accept(private_data.to_vec()));
        socket.await_established()?;
        Ok(socket)
    }

    /// Rejects, with private data, and gives the TCP connection back, open
    /// (RFC 5044 s7.1.2 r2, U13). `required_ord` tells the peer which ORD our side would need.
    ///
    /// # Errors
    /// When the private data is too long, or the connection has ended.
    pub fn reject(
        mut self,
        private_data: &[u8],
        required_ord: Option<u16>,
    ) -> Result<TcpStream, Error> {
        let socket = self.take_socket(private_data)?;
        socket
            .link()
            .command(Command::Reject(private_data.to_vec(), required_ord));
        match socket.await_established() {
            Err(Error::Rejected { stream, .. }) => Ok(stream),
            Err(error) => Err(error),
            Ok(()) => Err(Error::ListenerClosed),
        }
    }

    /// The socket, to be answered with `private_data`.
    fn take_socket(&mut self, private_data: &[u8]) -> Result<Socket, Error> {
        check_private_data(&self.request, private_data)?;
        let socket = self.socket.take().ok_or(Error::ListenerClosed)?;
        socket.check_owner().map_err(|()| Error::Forked)?;
        Ok(socket)
    }
}

/// Whether the private data fit into the Reply.
pub(crate) fn check_private_data(request: &PeerRequest, private_data: &[u8]) -> Result<(), Error> {
    let (limit, len) = (max_private_data(request), private_data.len());
    if len > limit {
        return Err(Error::PrivateDataTooLong { limit, len });
    }
    Ok(())
}

/// Private data that fits into the Reply, besides the words of RFC 6581.
const fn max_private_data(request: &PeerRequest) -> usize {
    if request.enhanced {
        MAX_PRIVATE_DATA_ENHANCED
    } else {
        MAX_PRIVATE_DATA
    }
}

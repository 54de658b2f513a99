//! From a TCP connection to a socket in DDPMODE.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use uwarp_ddp::{Peer, StreamId};
use uwarp_stream::{Connection, Role};

use crate::completion::CompletionQueue;
use crate::descriptor::{Posts, Works};
use crate::domain::Sge;
use crate::engine::{Engine, Policy};
use crate::error::{Error, PostError};
use crate::link::{Link, LinkParts, Phase};
use crate::listener::{Incoming, Place};
use crate::options::{Keepalive, Options};
use crate::socket::Socket;
use crate::worker::{WorkerHandle, Workers};

/// TCP's segment size where it cannot be asked for: that of an Ethernet of 1,500 octets, with
/// timestamps (RFC 5044 s5.1, F28).
const EMSS_UNKNOWN: u32 = 1448;

/// Connects to `address` over TCP and sets the connection to DDPMODE as initiator.
///
/// # Errors
/// [`Error::Connect`] when there is no TCP connection to be had, else as
/// [`DdpMode::set_ddp_mode`].
pub fn connect(
    address: impl ToSocketAddrs + std::fmt::Debug,
    options: &Options,
) -> Result<Socket, Error> {
    Outgoing::dial(address, options)?.connect()
}

/// A connection of ours whose Request has not been sent yet.
///
/// Receives that are posted now are there when the peer's first message comes, which may follow right
/// behind its Reply in peer-to-peer mode (RFC 6581 s5), and with some peers in any mode. Whoever lets the
/// peer wait for a message of ours has no need of this, and uses [`connect`]. Dropping it closes the TCP connection.
///
/// ```no_run
/// use uwarp::{Domain, Options, Outgoing, Rights};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let domain = Domain::new();
/// let inbox = domain.register(vec![0; 64], Rights::empty())?;
/// let outgoing = Outgoing::dial("192.0.2.1:7174", &Options::new(&domain))?;
/// outgoing.post_recv(1, &[inbox.slice(..)?])?;
/// let socket = outgoing.connect()?;
/// // The server says the first word.
/// socket.wait(None)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Outgoing {
    socket: Socket,
}

impl Outgoing {
    /// Connects to `address` over TCP.
    ///
    /// # Errors
    /// [`Error::Connect`] when there is no TCP connection to be had, else as [`new`](Self::new).
    pub fn dial(
        address: impl ToSocketAddrs + std::fmt::Debug,
        options: &Options,
    ) -> Result<Self, Error> {
        dial(&address).and_then(|stream| Self::new(stream, options))
    }

    /// Makes use of a TCP connection of the caller's.
    ///
    /// # Errors
    /// When the options cannot be met, or the process has no worker or no place for another socket.
    pub fn new(stream: TcpStream, options: &Options) -> Result<Self, Error> {
        prepared(stream, Role::Initiator, options).map(|socket| Self { socket })
    }

    /// Posts buffers for one incoming Send. The completion arrives at the socket that
    /// [`connect`](Self::connect) gives.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_recv(&self, id: u64, list: &[Sge]) -> Result<(), PostError> {
        self.socket.post_early_recv(id, list)
    }

    /// Sends the MPA Request and waits for the Reply. The time that this may take is counted from when
    /// the object was made.
    ///
    /// # Errors
    /// As [`DdpMode::set_ddp_mode`], and [`Error::Forked`] in a forked child.
    pub fn connect(self) -> Result<Socket, Error> {
        self.socket.check_owner().map_err(|()| Error::Forked)?;
        self.socket.link().schedule();
        self.socket.await_established()?;
        Ok(self.socket)
    }
}

fn dial(address: &(impl ToSocketAddrs + std::fmt::Debug)) -> Result<TcpStream, Error> {
    let name = || format!("{address:?}").trim_matches('"').to_owned();
    let candidates = address.to_socket_addrs().map_err(|source| Error::Connect {
        address: name(),
        source,
    })?;
    let mut last = Error::Connect {
        address: name(),
        source: std::io::ErrorKind::AddrNotAvailable.into(),
    };
    for candidate in candidates {
        match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(source) => last = Error::connect(&candidate)(source),
        }
    }
    Err(last)
}

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The socket option DDPMODE on an ordinary TCP connection.
///
/// A socket that never asks for it is not touched in any way. Who was the TCP client does not
/// matter: either end may be the MPA initiator, but one must be the responder (RFC 5044 s7.1).
pub trait DdpMode {
    /// Sets DDPMODE as initiator: sends the MPA Request and waits for the Reply.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the peer declined, which gives the TCP connection back;
    /// [`Error::NotMpa`], [`Error::SetupTimeout`] or [`Error::SetupClosed`] when the peer does not
    /// speak iWARP.
    fn set_ddp_mode(self, options: &Options) -> Result<Socket, Error>;

    /// Sets DDPMODE as responder: waits for the MPA Request, which the caller then accepts or
    /// rejects.
    ///
    /// # Errors
    /// As [`set_ddp_mode`](Self::set_ddp_mode).
    fn await_ddp_mode(self, options: &Options) -> Result<Incoming, Error>;
}

impl DdpMode for TcpStream {
    fn set_ddp_mode(self, options: &Options) -> Result<Socket, Error> {
        Outgoing::new(self, options)?.connect()
    }

    fn await_ddp_mode(self, options: &Options) -> Result<Incoming, Error> {
        let socket = prepared(self, Role::Responder, options)?;
        socket.link().schedule();
        let timeout = options.startup_timeout;
        let link = Arc::clone(socket.link());
        let outcome = link.wait_state(None, |state| match &state.phase {
            Phase::Starting => None,
            Phase::Over(end) => Some(Err(Error::from_end(end.clone(), timeout))),
            _ => Some(Ok(())),
        });
        outcome.unwrap_or(Err(Error::SetupTimeout(timeout)))?;
        socket.disarm();
        Incoming::new(link).ok_or(Error::SetupClosed)
    }
}

impl DdpMode for socket2::Socket {
    fn set_ddp_mode(self, options: &Options) -> Result<Socket, Error> {
        TcpStream::from(self).set_ddp_mode(options)
    }

    fn await_ddp_mode(self, options: &Options) -> Result<Incoming, Error> {
        TcpStream::from(self).await_ddp_mode(options)
    }
}

/// A socket that its worker does not know of yet.
pub(crate) fn prepared(stream: TcpStream, role: Role, options: &Options) -> Result<Socket, Error> {
    options.check_owner()?;
    let worker = match &options.workers {
        Some(workers) => workers.next(),
        None => Workers::global()?.next(),
    };
    let link = adopt(
        Adopted {
            stream: OwnedFd::from(stream),
            role,
            worker,
            place: None,
        },
        options,
    )?;
    Ok(Socket::new(link))
}

/// A TCP connection that is about to be served by a worker.
pub(crate) struct Adopted {
    pub(crate) stream: OwnedFd,
    pub(crate) role: Role,
    pub(crate) worker: WorkerHandle,
    /// Its place among a listener's connections.
    pub(crate) place: Option<Place>,
}

/// Makes the link and its engine; the worker registers the socket at the link's first turn.
pub(crate) fn adopt(adopted: Adopted, options: &Options) -> Result<Arc<Link>, Error> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let Adopted {
        stream,
        role,
        worker,
        place,
    } = adopted;
    let stream = TcpStream::from(stream);
    let emss = prepare(&stream, options).map_err(Error::system("cannot set the TCP socket up"))?;
    let domain = options.domain.clone();
    let config = options.stream_config(emss);
    let sink = domain.random_stag();
    let now = Instant::now();
    let connection = match role {
        Role::Initiator => Connection::initiator(config, &options.private_data, sink, now)
            .map_err(Error::Options)?,
        Role::Responder => Connection::responder(config, sink, now),
    };
    worker.admit()?;
    crate::fork::guard(stream.as_fd());
    let id = StreamId(NEXT.fetch_add(1, Ordering::Relaxed));
    let peer = Peer {
        domain: domain.id(),
        stream: id,
    };
    let addresses = Addresses {
        local: stream.local_addr().ok(),
        peer: stream.peer_addr().ok(),
    };
    let (sends, receives) = (options.send_queue, options.receive_queue);
    let posts = Arc::new(Posts::new(sends, receives));
    let engine = Engine::new(
        connection,
        stream,
        peer,
        domain.clone(),
        Works::new(Arc::clone(&posts), sends, receives),
        Policy {
            follow_emss: options.mulpdu_emss.is_none(),
            half_close: options.half_close,
        },
    );
    let completions = options.completion_queue.clone().unwrap_or_else(|| {
        CompletionQueue::new(options.send_queue.saturating_add(options.receive_queue))
    });
    let listener = place.as_ref().map(Place::listener);
    Ok(Link::new(LinkParts {
        id,
        domain,
        completions,
        worker,
        posts,
        engine,
        listener,
        place,
        addresses,
        startup_timeout: options.startup_timeout,
        busy_poll: options.busy_poll,
    }))
}

/// The two ends of the TCP connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
}

/// Sets the TCP options that DDPMODE implies; returns the segment size.
fn prepare(stream: &TcpStream, options: &Options) -> std::io::Result<u32> {
    stream.set_nonblocking(true)?;
    // FPDUs leave when they are complete: a batch is one write already (RFC 5044 s5.1, F29).
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(keepalive) = &options.keepalive {
        let Keepalive {
            idle,
            interval,
            probes,
            unacknowledged,
        } = *keepalive;
        let probing = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(probes);
        socket.set_tcp_keepalive(&probing)?;
        socket.set_tcp_user_timeout(Some(unacknowledged))?;
    }
    Ok(socket.tcp_mss().unwrap_or(EMSS_UNKNOWN))
}

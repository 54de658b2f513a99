//! Setting a connection up without waiting.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use uwarp_mpa::PeerRequest;
use uwarp_stream::Role;

use crate::connect::prepared;
use crate::domain::Sge;
use crate::error::{Error, PostError};
use crate::link::{Command, Phase};
use crate::listener::check_private_data;
use crate::options::Options;
use crate::socket::Socket;

/// A TCP connection on its way to DDPMODE, for a program that cannot wait for it.
///
/// [`begin`](Self::begin) starts the set-up; what has become of it is asked for whenever the completion queue's
/// notifier tells that something has changed ([`CompletionQueue::with_notify`](crate::CompletionQueue::with_notify)).
/// Programs that can wait use [`connect`](crate::connect()) or [`DdpMode`](crate::DdpMode). Dropping it closes the TCP
/// connection.
#[derive(Debug)]
pub struct SettingUp {
    socket: Socket,
    /// The worker knows of it.
    begun: AtomicBool,
}

impl SettingUp {
    /// To be set up as initiator. Nothing is sent before [`begin`](Self::begin).
    ///
    /// # Errors
    /// When the options cannot be met, or the process has no worker or no place for another socket.
    pub fn initiator(stream: TcpStream, options: &Options) -> Result<Self, Error> {
        prepared(stream, Role::Initiator, options).map(Self::new)
    }

    /// To be set up as responder: the peer sends the Request.
    ///
    /// # Errors
    /// As [`initiator`](Self::initiator).
    pub fn responder(stream: TcpStream, options: &Options) -> Result<Self, Error> {
        prepared(stream, Role::Responder, options).map(Self::new)
    }

    const fn new(socket: Socket) -> Self {
        Self {
            socket,
            begun: AtomicBool::new(false),
        }
    }

    /// Posts buffers for one incoming Send, before the peer may send. The completion is the later socket's.
    ///
    /// # Errors
    /// See [`PostError`]; nothing has been queued then.
    pub fn post_recv(&self, id: u64, list: &[Sge]) -> Result<(), PostError> {
        self.socket.post_early_recv(id, list)?;
        if self.begun.load(Ordering::Acquire) {
            // The connection may be ending.
            self.socket.link().schedule();
        }
        Ok(())
    }

    /// Has the worker send the Request, or wait for it. The time that the set-up may take is counted from when the
    /// object was made.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.socket.link().schedule();
    }

    /// The peer's Request, if it waits for an answer.
    #[must_use]
    pub fn request(&self) -> Option<PeerRequest> {
        self.socket.check_owner().ok()?;
        self.socket.link().with_state(|state| match &state.phase {
            Phase::Requested(request) => Some(request.clone()),
            _ => None,
        })
    }

    /// Accepts the Request, with private data for the Reply of at most 508 octets (512 for a revision 1 peer).
    ///
    /// # Errors
    /// When there is no Request, or the private data is too long.
    pub fn accept(&self, private_data: &[u8]) -> Result<(), Error> {
        self.answer(private_data, Command::Accept(private_data.to_vec()))
    }

    /// Rejects the Request, with private data. The TCP connection is then in what [`outcome`](Self::outcome) gives.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn reject(&self, private_data: &[u8]) -> Result<(), Error> {
        self.answer(private_data, Command::Reject(private_data.to_vec(), None))
    }

    fn answer(&self, private_data: &[u8], command: Command) -> Result<(), Error> {
        self.socket.check_owner().map_err(|()| Error::Forked)?;
        let request = self.request().ok_or(Error::SetupClosed)?;
        check_private_data(&request, private_data)?;
        self.socket.link().command(command);
        Ok(())
    }

    /// What has become of the set-up; `None` while it is under way.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        if self.socket.check_owner().is_err() {
            return Some(Err(Error::Forked));
        }
        self.socket
            .link()
            .with_state(|state| self.socket.setup_outcome(state))
    }

    /// Our TCP address.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr()
    }

    /// The peer's TCP address.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The socket, which is one when the set-up has come to a good end.
    #[must_use]
    pub fn into_socket(self) -> Socket {
        self.socket
    }
}

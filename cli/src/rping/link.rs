//! What both ends of a ping have: a connection, small messages that say where data is, and waiting.

use std::time::Duration;

use uwarp::{
    Domain, End, Incoming, Memory, OperationKind, Outgoing, Region, RemoteRegion, Rights,
    SendFlags, Socket, Stag, Status, WaitError,
};

use super::Args;
use crate::session::{ConnectError, SessionError};

/// Octets of a message: address (8), STag (4), length (4), all big-endian.
const MESSAGE: usize = 16;
/// Receives that are kept posted: neither end is ever more than a message ahead.
const RECEIVES: u64 = 2;
/// The number of work that is not a receive.
const WORK: u64 = u64::MAX;

/// One end of the pings.
pub(super) struct Link {
    socket: Socket,
    inbox: Region,
    outbox: Region,
    /// Messages that have come while something else was awaited.
    come: Vec<RemoteRegion>,
    patience: Duration,
}

impl Link {
    pub(super) fn connect(args: &Args, domain: &Domain) -> Result<Self, ConnectError> {
        let boxes = Boxes::new(domain)?;
        let terms = args.terms.terms();
        // As the original asks for it.
        let options = terms.options(domain).ird(1).ord(1);
        let outgoing =
            Outgoing::dial(args.socket_address(), &options).map_err(ConnectError::Setup)?;
        for index in 0..RECEIVES {
            outgoing
                .post_recv(index, &[boxes.receive(index)?])
                .map_err(SessionError::from)?;
        }
        let socket = outgoing.connect().map_err(ConnectError::Setup)?;
        Ok(boxes.join(socket, terms.patience))
    }

    pub(super) fn accept(
        args: &Args,
        domain: &Domain,
        incoming: Incoming,
    ) -> Result<Self, ConnectError> {
        let boxes = Boxes::new(domain)?;
        for index in 0..RECEIVES {
            incoming
                .post_recv(index, &[boxes.receive(index)?])
                .map_err(SessionError::from)?;
        }
        let socket = incoming.accept(b"").map_err(ConnectError::Setup)?;
        Ok(boxes.join(socket, args.terms.terms().patience))
    }

    /// Says where data is, or goes to.
    pub(super) fn say(&mut self, region: &Region, size: u32) -> Result<(), SessionError> {
        let place = region
            .remote()
            .ok_or(SessionError::Unexpected("a region was invalidated"))?;
        self.send(RemoteRegion { len: size, ..place })
    }

    /// Says that the client may go on: what the message has in it does not matter.
    pub(super) fn go_ahead(&mut self) -> Result<(), SessionError> {
        self.send(RemoteRegion {
            stag: Stag(0),
            to: 0,
            len: 0,
        })
    }

    fn send(&mut self, place: RemoteRegion) -> Result<(), SessionError> {
        let mut message = [0; MESSAGE];
        message[..8].copy_from_slice(&place.to.to_be_bytes());
        message[8..12].copy_from_slice(&place.stag.0.to_be_bytes());
        message[12..].copy_from_slice(&place.len.to_be_bytes());
        self.outbox.write_at(0, &message)?;
        let list = [self.outbox.slice(..)?];
        self.socket.post_send(WORK, &list, SendFlags::default())?;
        self.work_done()
    }

    /// Reads the data that the peer has named.
    pub(super) fn read(&mut self, into: &Region, place: RemoteRegion) -> Result<(), SessionError> {
        let list = [into.slice(..place.len as usize)?];
        self.socket.post_read(WORK, &list, place)?;
        self.work_done()
    }

    /// Writes the data to where the peer wants it.
    pub(super) fn write(
        &mut self,
        from: &Region,
        size: u32,
        place: RemoteRegion,
    ) -> Result<(), SessionError> {
        let list = [from.slice(..size as usize)?];
        self.socket.post_write(WORK, &list, place)?;
        self.work_done()
    }

    fn work_done(&mut self) -> Result<(), SessionError> {
        loop {
            match self.step()? {
                Step::Message(place) => self.come.push(place),
                Step::Work => return Ok(()),
                Step::Over => return Err(SessionError::PeerClosed),
            }
        }
    }

    /// The peer's next message; `None` when it has closed the connection in order instead.
    pub(super) fn message(&mut self) -> Result<Option<RemoteRegion>, SessionError> {
        if !self.come.is_empty() {
            return Ok(Some(self.come.remove(0)));
        }
        match self.step()? {
            Step::Message(place) => Ok(Some(place)),
            Step::Work => Err(SessionError::Unexpected("work that was not posted")),
            Step::Over => Ok(None),
        }
    }

    fn step(&self) -> Result<Step, SessionError> {
        let done = match self.socket.wait(Some(self.patience)) {
            Ok(done) => done,
            Err(WaitError::Over(End::Graceful)) => return Ok(Step::Over),
            Err(WaitError::Over(end)) => return Err(SessionError::Over(end)),
            Err(WaitError::TimedOut) => return Err(SessionError::Silent(self.patience)),
            Err(error) => return Err(SessionError::Wait(error)),
        };
        match (done.status, done.kind) {
            // How the connection has ended comes behind the last of these.
            (Status::Flushed, _) => self.step(),
            (Status::Refused(code), _) => Err(SessionError::Refused(code)),
            (Status::Success, OperationKind::Receive) => {
                if done.len as usize != MESSAGE {
                    return Err(SessionError::Unexpected("a message is not of 16 octets"));
                }
                let mut message = [0; MESSAGE];
                self.inbox
                    .read_at(done.id * MESSAGE as u64, &mut message)
                    .map_err(SessionError::from)?;
                self.socket
                    .post_recv(done.id, &[receive(&self.inbox, done.id)?])?;
                let [to @ .., s0, s1, s2, s3, l0, l1, l2, l3] = message;
                Ok(Step::Message(RemoteRegion {
                    stag: Stag(u32::from_be_bytes([s0, s1, s2, s3])),
                    to: u64::from_be_bytes(to),
                    len: u32::from_be_bytes([l0, l1, l2, l3]),
                }))
            }
            (Status::Success, _) => Ok(Step::Work),
        }
    }

    pub(super) fn close(&self) -> Result<(), SessionError> {
        match self.socket.close() {
            Ok(()) => Ok(()),
            Err(WaitError::Over(end)) => Err(SessionError::Over(end)),
            Err(error) => Err(SessionError::Wait(error)),
        }
    }
}

enum Step {
    Message(RemoteRegion),
    Work,
    Over,
}

/// The buffers of the messages.
struct Boxes {
    inbox: Region,
    outbox: Region,
}

impl Boxes {
    fn new(domain: &Domain) -> Result<Self, SessionError> {
        Ok(Self {
            inbox: region(domain, RECEIVES as usize * MESSAGE, Rights::empty())?,
            outbox: region(domain, MESSAGE, Rights::empty())?,
        })
    }

    fn receive(&self, index: u64) -> Result<uwarp::Sge, SessionError> {
        receive(&self.inbox, index)
    }

    fn join(self, socket: Socket, patience: Duration) -> Link {
        Link {
            socket,
            inbox: self.inbox,
            outbox: self.outbox,
            come: Vec::new(),
            patience,
        }
    }
}

fn receive(inbox: &Region, index: u64) -> Result<uwarp::Sge, SessionError> {
    let at = index as usize * MESSAGE;
    Ok(inbox.slice(at..at + MESSAGE)?)
}

/// A new region.
pub(super) fn region(domain: &Domain, len: usize, rights: Rights) -> Result<Region, SessionError> {
    let memory = Memory::zeroed(len).map_err(|error| SessionError::Memory(error.to_string()))?;
    Ok(domain.register(memory, rights)?)
}

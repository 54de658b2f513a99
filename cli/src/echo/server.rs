//! The server's side of an echo connection.

use std::time::Duration;

use uwarp::{
    Completion, Domain, End, Incoming, OperationKind, Region, RemoteRegion, Rights, SendFlags,
    Socket, SpanError, Status, WaitError,
};

use super::{NO_BUFFER, depth, register};
use crate::session::{ConnectError, SessionError};
use crate::wire::{EchoWelcome, Place, Welcome};

/// Answers a client until it closes the connection.
pub(crate) fn serve(
    incoming: Incoming,
    domain: &Domain,
    size: u32,
    place: Place,
    patience: Duration,
) -> Result<(), ConnectError> {
    let depth = depth(size);
    let receives = 2 * depth;
    let buffers = register(domain, (receives * size) as usize, Rights::empty())?;
    let target = register(
        domain,
        size as usize,
        Rights::REMOTE_WRITE | Rights::REMOTE_READ,
    )?;
    let described = target
        .remote()
        .ok_or(SessionError::Unexpected("the region was invalidated"))?;
    for index in 0..receives {
        let list = [buffer(&buffers, index.into(), size, size).map_err(SessionError::from)?];
        incoming
            .post_recv(index.into(), &list)
            .map_err(SessionError::from)?;
    }
    let welcome = Welcome::new(Some(EchoWelcome {
        place: described.into(),
        depth,
    }));
    let socket = incoming
        .accept(&welcome.to_private_data())
        .map_err(ConnectError::Setup)?;
    let server = Server {
        socket,
        buffers,
        target,
        peer: place.into(),
        size,
    };
    Ok(server.run(patience)?)
}

struct Server {
    socket: Socket,
    buffers: Region,
    /// Where the client writes.
    target: Region,
    /// Where the client wants to be written to.
    peer: RemoteRegion,
    size: u32,
}

impl Server {
    fn run(&self, patience: Duration) -> Result<(), SessionError> {
        loop {
            let done = match self.socket.wait(Some(patience)) {
                Ok(done) => done,
                Err(WaitError::Over(End::Graceful)) => return Ok(()),
                Err(WaitError::Over(end)) => return Err(SessionError::Over(end)),
                Err(WaitError::TimedOut) => return Err(SessionError::Silent(patience)),
                Err(other) => return Err(SessionError::Wait(other)),
            };
            match done.status {
                Status::Success => self.answer(&done)?,
                Status::Refused(code) => return Err(SessionError::Refused(code)),
                // The client has closed; what else is flushed comes to the same.
                Status::Flushed => return Ok(()),
            }
        }
    }

    fn answer(&self, done: &Completion) -> Result<(), SessionError> {
        match (done.kind, done.len) {
            (OperationKind::Receive, 0) => {
                self.receive(done.id)?;
                let list = [self.target.slice(..)?];
                self.socket.post_write(NO_BUFFER, &list, self.peer)?;
                self.socket
                    .post_send(NO_BUFFER, &[], SendFlags::default())?;
            }
            (OperationKind::Receive, len) => {
                let list = [buffer(&self.buffers, done.id, self.size, len)?];
                self.socket
                    .post_send(done.id, &list, SendFlags::default())?;
            }
            _ if done.id == NO_BUFFER => {}
            _ => self.receive(done.id)?,
        }
        Ok(())
    }

    fn receive(&self, index: u64) -> Result<(), SessionError> {
        let list = [buffer(&self.buffers, index, self.size, self.size)?];
        Ok(self.socket.post_recv(index, &list)?)
    }
}

/// The first `len` octets of a buffer.
fn buffer(buffers: &Region, index: u64, size: u32, len: u32) -> Result<uwarp::Sge, SpanError> {
    let start = index.saturating_mul(size.into()) as usize;
    buffers.slice(start..start.saturating_add(len as usize))
}

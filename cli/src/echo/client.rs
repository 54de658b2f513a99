//! The client's side of an echo connection.

use std::time::Duration;

use uwarp::{
    Completion, Domain, Established, OperationKind, Region, RemoteRegion, Rights, SendFlags,
    Socket, Status, WaitError,
};

use super::{NO_BUFFER, register};
use crate::session::{ConnectError, SessionError};
use crate::terms::Terms;
use crate::wire::{Hello, Purpose, Welcome};

/// A connection whose other end answers.
#[derive(Debug)]
pub(crate) struct Echo {
    socket: Socket,
    /// What is sent and written, `depth` buffers of it.
    source: Region,
    /// Where echoes arrive, `depth` buffers of it.
    inbox: Region,
    /// Where reads go, and where the server writes to.
    target: Region,
    peer: RemoteRegion,
    size: u32,
    depth: u32,
    patience: Duration,
    /// Sends, Writes and Reads under way.
    posted: u32,
}

impl Echo {
    pub(crate) fn connect(peer: &str, size: u32, terms: &Terms) -> Result<Self, ConnectError> {
        let domain = Domain::new();
        let target = register(&domain, size as usize, Rights::REMOTE_WRITE)?;
        let place = target
            .remote()
            .ok_or(SessionError::Unexpected("the region was invalidated"))?
            .into();
        let hello = Hello::new(Purpose::Echo { size, place }).to_private_data();
        let options = terms.options(&domain).private_data(&hello);
        let socket = uwarp::connect(peer, &options).map_err(ConnectError::Setup)?;
        let private_data = socket
            .established()
            .map(|established| established.private_data)
            .unwrap_or_default();
        let welcome = Welcome::from_private_data(&private_data).map_err(SessionError::from)?;
        let welcome = welcome
            .echo
            .ok_or(SessionError::Unexpected("the server has no echo for us"))?;
        let buffers = (welcome.depth * size) as usize;
        let echo = Self {
            source: register(&domain, buffers, Rights::empty())?,
            inbox: register(&domain, buffers, Rights::empty())?,
            target,
            socket,
            peer: welcome.place.into(),
            size,
            depth: welcome.depth,
            patience: terms.patience,
            posted: 0,
        };
        for index in 0..echo.depth {
            echo.receive(index)?;
        }
        Ok(echo)
    }

    pub(crate) fn established(&self) -> Option<Established> {
        self.socket.established()
    }

    /// Sends a message of `len` octets and waits for its echo.
    pub(crate) fn send(&mut self, len: u32) -> Result<(), SessionError> {
        let list = [self.source.slice(..len.min(self.size) as usize)?];
        self.socket
            .post_send(NO_BUFFER, &list, SendFlags::default())?;
        self.posted += 1;
        self.await_message().map(drop)
    }

    /// Writes, tells of it, and waits until the server has done the same.
    pub(crate) fn write_and_send(&mut self) -> Result<(), SessionError> {
        self.write()?;
        self.socket
            .post_send(NO_BUFFER, &[], SendFlags::default())?;
        self.posted += 1;
        self.await_message().map(drop)
    }

    /// Reads, and waits until it is there.
    pub(crate) fn read(&mut self) -> Result<(), SessionError> {
        let list = [self.target.slice(..)?];
        self.socket.post_read(NO_BUFFER, &list, self.peer)?;
        self.posted += 1;
        self.settle(0)
    }

    fn write(&mut self) -> Result<(), SessionError> {
        let list = [self.source.slice(..self.size as usize)?];
        self.socket.post_write(NO_BUFFER, &list, self.peer)?;
        self.posted += 1;
        Ok(())
    }

    /// Sends `count` messages, as many at a time as the server takes, and checks that each comes back
    /// as it went.
    pub(crate) fn flood(&mut self, count: u32) -> Result<(), SessionError> {
        let (mut sent, mut back) = (0u32, 0u32);
        let (mut expected, mut arrived) = (Vec::new(), vec![0; self.size as usize]);
        while back < count {
            while sent < count && sent - back < self.depth {
                fill(&mut expected, sent, self.size);
                let start = (sent % self.depth * self.size) as usize;
                self.source.write_at(start as u64, &expected)?;
                let list = [self.source.slice(start..start + self.size as usize)?];
                self.socket
                    .post_send(NO_BUFFER, &list, SendFlags::default())?;
                self.posted += 1;
                sent += 1;
            }
            let done = self.await_message_unposted()?;
            let arrived = &mut arrived[..done.len as usize];
            self.inbox
                .read_at(done.id * u64::from(self.size), arrived)?;
            fill(&mut expected, back, self.size);
            if *arrived != *expected {
                return Err(SessionError::Unexpected("an echo differs from its message"));
            }
            self.receive(done.id as u32)?;
            back += 1;
        }
        self.settle(0)
    }

    /// Waits for the next message of the server's.
    fn await_message(&mut self) -> Result<Completion, SessionError> {
        let done = self.await_message_unposted()?;
        self.receive(done.id as u32)?;
        Ok(done)
    }

    /// As [`await_message`](Self::await_message), but leaves the message in its buffer.
    fn await_message_unposted(&mut self) -> Result<Completion, SessionError> {
        loop {
            let done = self.completion()?;
            if done.kind == OperationKind::Receive {
                return Ok(done);
            }
            self.posted -= 1;
        }
    }

    /// Waits until no more than `left` of our own operations are under way.
    fn settle(&mut self, left: u32) -> Result<(), SessionError> {
        while self.posted > left {
            let done = self.completion()?;
            if done.kind == OperationKind::Receive {
                return Err(SessionError::Unexpected("a message that nobody asked for"));
            }
            self.posted -= 1;
        }
        Ok(())
    }

    fn completion(&self) -> Result<Completion, SessionError> {
        let done = match self.socket.wait(Some(self.patience)) {
            Ok(done) => done,
            Err(WaitError::Over(end)) => return Err(SessionError::Over(end)),
            Err(WaitError::TimedOut) => return Err(SessionError::Silent(self.patience)),
            Err(other) => return Err(SessionError::Wait(other)),
        };
        match done.status {
            Status::Success => Ok(done),
            Status::Refused(code) => Err(SessionError::Refused(code)),
            Status::Flushed => Err(SessionError::PeerClosed),
        }
    }

    fn receive(&self, index: u32) -> Result<(), SessionError> {
        let start = (index * self.size) as usize;
        let list = [self.inbox.slice(start..start + self.size as usize)?];
        Ok(self.socket.post_recv(index.into(), &list)?)
    }

    /// Closes in order.
    pub(crate) fn close(self) -> Result<(), SessionError> {
        self.socket.close().map_err(|error| match error {
            WaitError::Over(end) => SessionError::Over(end),
            other => SessionError::Wait(other),
        })
    }
}

/// What message number `number` holds.
fn fill(message: &mut Vec<u8>, number: u32, size: u32) {
    message.clear();
    message.extend(number.to_be_bytes().iter().cycle().take(size as usize));
}

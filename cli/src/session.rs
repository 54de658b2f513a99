//! A connection for files: messages in Sends, blocks by RDMA Write and Read, and what became of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwarp::{
    Completion, Domain, End, EndText, Incoming, Memory, OperationKind, PostError, Region,
    RegisterError, RemoteRegion, Rights, SendFlags, Sge, Socket, SpanError, Status, TerminateCode,
    WaitError,
};

use crate::terms::Terms;
use crate::wire::{Hello, MESSAGE_MAX, Message, MessageError, Purpose, SLOTS_MAX, Welcome};

/// Receives that are kept posted; the peer has fewer messages under way.
const RECEIVES: usize = SLOTS_MAX as usize + 4;

/// Messages of ours that may be under way.
const SENDS: usize = SLOTS_MAX as usize + 4;

/// How long after a flushed completion the cause of it may take to show.
const CAUSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a peer may take to read why it was refused.
const LINGER: Duration = Duration::from_secs(5);

/// Completions with this number are those of blocks; those of messages have their buffer's number.
const BLOCK: u64 = u64::MAX;

/// What came of waiting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The peer has said something.
    Message(Message),
    /// The oldest Write or Read under way is complete.
    Moved,
}

/// A connection for files.
#[derive(Debug)]
pub(crate) struct Session {
    socket: Socket,
    domain: Domain,
    inbox: Region,
    outbox: Region,
    /// Buffers of the outbox that are not in use.
    free: Vec<usize>,
    /// What has happened and has not been asked for yet.
    happened: VecDeque<Event>,
    patience: Duration,
}

impl Session {
    /// Connects as client.
    pub(crate) fn connect(peer: &str, terms: &Terms) -> Result<Self, ConnectError> {
        let domain = Domain::new();
        let hello = Hello::new(Purpose::Files).to_private_data();
        let options = terms.options(&domain).private_data(&hello);
        let inbox = mailbox(&domain, RECEIVES)?;
        let outbox = mailbox(&domain, SENDS)?;
        let socket = uwarp::connect(peer, &options).map_err(ConnectError::Setup)?;
        // The server says nothing before it has been asked something.
        for index in 0..RECEIVES {
            socket
                .post_recv(index as u64, &[buffer(&inbox, index, MESSAGE_MAX)?])
                .map_err(SessionError::from)?;
        }
        let private_data = socket
            .established()
            .map(|established| established.private_data);
        Welcome::from_private_data(&private_data.unwrap_or_default())
            .map_err(SessionError::from)?;
        Ok(Self::new(socket, domain, inbox, outbox, terms.patience))
    }

    /// Accepts a client.
    pub(crate) fn accept(
        incoming: Incoming,
        domain: &Domain,
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        let inbox = mailbox(domain, RECEIVES)?;
        let outbox = mailbox(domain, SENDS)?;
        for index in 0..RECEIVES {
            incoming
                .post_recv(index as u64, &[buffer(&inbox, index, MESSAGE_MAX)?])
                .map_err(SessionError::from)?;
        }
        let welcome = Welcome::new(None).to_private_data();
        let socket = incoming.accept(&welcome).map_err(ConnectError::Setup)?;
        Ok(Self::new(socket, domain.clone(), inbox, outbox, patience))
    }

    fn new(
        socket: Socket,
        domain: Domain,
        inbox: Region,
        outbox: Region,
        patience: Duration,
    ) -> Self {
        Self {
            socket,
            domain,
            inbox,
            outbox,
            free: (0..SENDS).collect(),
            happened: VecDeque::new(),
            patience,
        }
    }

    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Registers memory that only this peer can reach, with the rights given.
    pub(crate) fn region(&self, len: usize, rights: Rights) -> Result<Region, SessionError> {
        let memory =
            Memory::zeroed(len).map_err(|error| SessionError::Memory(error.to_string()))?;
        Ok(self.domain.register_for(&self.socket, memory, rights)?)
    }

    /// Says something to the peer.
    pub(crate) fn send(&mut self, message: &Message) -> Result<(), SessionError> {
        let octets = message.encode();
        if octets.len() > MESSAGE_MAX {
            return Err(MessageError::TooLong(octets.len()).into());
        }
        let index = loop {
            match self.free.pop() {
                Some(index) => break index,
                None => self.advance(self.patience)?,
            }
        };
        self.outbox
            .write_at((index * MESSAGE_MAX) as u64, &octets)?;
        let list = [buffer(&self.outbox, index, octets.len())?];
        self.socket
            .post_send(index as u64, &list, SendFlags::default())?;
        Ok(())
    }

    /// Begins to write a block; [`Event::Moved`] tells when it is gone.
    pub(crate) fn write(&self, from: Sge, to: RemoteRegion) -> Result<(), SessionError> {
        Ok(self.socket.post_write(BLOCK, &[from], to)?)
    }

    /// Begins to read a block; [`Event::Moved`] tells when it is there.
    pub(crate) fn read(&self, into: Sge, from: RemoteRegion) -> Result<(), SessionError> {
        Ok(self.socket.post_read(BLOCK, &[into], from)?)
    }

    /// Waits for what happens next.
    pub(crate) fn next(&mut self) -> Result<Event, SessionError> {
        self.next_within(self.patience)
    }

    /// As [`next`](Self::next), for what takes the peer longer or shorter than usual.
    pub(crate) fn next_within(&mut self, patience: Duration) -> Result<Event, SessionError> {
        loop {
            if let Some(event) = self.happened.pop_front() {
                return Ok(event);
            }
            self.advance(patience)?;
        }
    }

    /// Waits for a message; a block that completes meanwhile is an error of ours.
    pub(crate) fn message(&mut self, patience: Duration) -> Result<Message, SessionError> {
        match self.next_within(patience)? {
            Event::Message(Message::Failed { reason }) => Err(SessionError::Failed(reason)),
            Event::Message(message) => Ok(message),
            Event::Moved => Err(SessionError::Unexpected("a block is complete out of turn")),
        }
    }

    /// Takes one completion.
    fn advance(&mut self, patience: Duration) -> Result<(), SessionError> {
        let done = match self.socket.wait(Some(patience)) {
            Ok(done) => done,
            Err(error) => return Err(self.wait_error(error, patience)),
        };
        match done.status {
            Status::Success => self.dispatch(&done),
            Status::Refused(code) => Err(SessionError::Refused(code)),
            Status::Flushed => Err(self.cause_of_flush()),
        }
    }

    fn dispatch(&mut self, done: &Completion) -> Result<(), SessionError> {
        if done.kind == OperationKind::Receive {
            let message = self.open(done)?;
            if self.happened.len() > RECEIVES + SENDS {
                return Err(SessionError::Unexpected(
                    "more messages than there are slots",
                ));
            }
            self.happened.push_back(Event::Message(message));
        } else if done.id == BLOCK {
            self.happened.push_back(Event::Moved);
        } else if let Ok(index) = usize::try_from(done.id) {
            self.free.push(index);
        }
        Ok(())
    }

    /// Copies a message out of its buffer and posts the buffer again.
    fn open(&self, done: &Completion) -> Result<Message, SessionError> {
        let mut octets = [0; MESSAGE_MAX];
        let octets = octets
            .get_mut(..done.len as usize)
            .ok_or(MessageError::TooLong(done.len as usize))?;
        let index = usize::try_from(done.id).unwrap_or(usize::MAX);
        self.inbox
            .read_at((index.saturating_mul(MESSAGE_MAX)) as u64, octets)?;
        let message = Message::decode(octets)?;
        let list = [buffer(&self.inbox, index, MESSAGE_MAX)?];
        match self.socket.post_recv(done.id, &list) {
            // The last messages of a peer that has closed are still worth reading.
            Ok(()) | Err(PostError::Closed) => Ok(message),
            Err(error) => Err(error.into()),
        }
    }

    fn wait_error(&self, error: WaitError, patience: Duration) -> SessionError {
        match error {
            WaitError::TimedOut if self.socket.peer_closed() => SessionError::PeerClosed,
            WaitError::TimedOut => SessionError::Silent(patience),
            WaitError::Over(End::Graceful) => SessionError::PeerClosed,
            WaitError::Over(end) => SessionError::Over(end),
            other => SessionError::Wait(other),
        }
    }

    /// Requests are flushed when the connection has come to an end; this finds out how.
    fn cause_of_flush(&self) -> SessionError {
        let deadline = Instant::now() + CAUSE_TIMEOUT;
        loop {
            match self.socket.end() {
                Some(End::Graceful) => return SessionError::PeerClosed,
                Some(end) => return SessionError::Over(end),
                None if self.socket.peer_closed() => return SessionError::PeerClosed,
                None if Instant::now() >= deadline => {
                    return SessionError::Unexpected("requests were flushed for no visible reason");
                }
                // What else is flushed says no more than this one did.
                None => drop(self.socket.wait(Some(Duration::from_millis(50)))),
            }
        }
    }

    /// Tells the peer that its request has failed in the middle, and lets it read that before the
    /// connection is closed.
    pub(crate) fn give_up(&mut self, reason: impl std::fmt::Display) {
        if self.send(&Message::failed(reason)).is_err() {
            return;
        }
        let deadline = Instant::now() + LINGER;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            if self.next_within(left).is_err() {
                return;
            }
        }
    }

    /// Closes a connection whose work is done, so that it does not matter how that goes.
    pub(crate) fn leave(self) {
        if let Err(error) = self.close() {
            tracing::debug!(%error, "closing the connection failed");
        }
    }

    /// Closes in order.
    pub(crate) fn close(self) -> Result<(), SessionError> {
        match self.socket.close() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.wait_error(error, self.patience)),
        }
    }
}

fn mailbox(domain: &Domain, messages: usize) -> Result<Region, SessionError> {
    let memory = Memory::zeroed(messages * MESSAGE_MAX)
        .map_err(|error| SessionError::Memory(error.to_string()))?;
    Ok(domain.register(memory, Rights::empty())?)
}

/// The first `len` octets of one of a mailbox's buffers.
fn buffer(mailbox: &Region, index: usize, len: usize) -> Result<Sge, SessionError> {
    let start = index.saturating_mul(MESSAGE_MAX);
    Ok(mailbox.slice(start..start.saturating_add(len))?)
}

/// A connection for files could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Setup(uwarp::Error),
    #[error("{0}")]
    Session(#[from] SessionError),
}

/// A connection for files came to an early end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{}", EndText(.0))]
    Over(End),
    #[error("the peer closed the connection before all was done")]
    PeerClosed,
    #[error("nothing came from the peer within {0:?}")]
    Silent(Duration),
    #[error("the peer refused an operation with Terminate {0}")]
    Refused(TerminateCode),
    #[error("{0}")]
    Message(#[from] MessageError),
    #[error("the peer broke the protocol of this command: {0}")]
    Unexpected(&'static str),
    #[error("the peer says: {0}")]
    Failed(String),
    #[error("{0}")]
    Post(#[from] PostError),
    #[error("{0}")]
    Wait(WaitError),
    #[error("{0}")]
    Register(#[from] RegisterError),
    #[error("{0}")]
    Span(#[from] SpanError),
    #[error("cannot get memory: {0}")]
    Memory(String),
}

impl SessionError {
    /// What the user can do about it.
    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::Over(_) | Self::PeerClosed => "look at what happened to the peer, then try again",
            Self::Silent(_) => "see whether the peer still works, or raise --timeout",
            Self::Message(MessageError::Version(_)) => "install the same version at both ends",
            Self::Refused(_) | Self::Message(_) | Self::Unexpected(_) => {
                "the peer may not be `uwarp serve`, or not of this version"
            }
            Self::Failed(_) => "look at what the server serves and allows",
            Self::Post(_) | Self::Wait(_) | Self::Register(_) | Self::Span(_) => {
                "this is a fault of this command: please report it"
            }
            Self::Memory(_) => "free some memory",
        }
    }
}

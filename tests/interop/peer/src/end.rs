//! One end of a connection, with its messages and completions sorted.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

use uwarp::{
    Completion, Domain, End as Ending, Incoming, Listener, OperationKind, Options, Outgoing,
    PostError, Region, RemoteRegion, Rights, SendFlags, Socket, Stag, Status, WaitError,
};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Longer than anything takes, even in a guest on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Listen(SocketAddr),
    Connect(SocketAddr),
}

/// Listens, and says so to whoever has started this program.
pub(crate) fn listen(address: SocketAddr, options: &Options) -> Outcome<Listener> {
    let listener = Listener::bind(address, options)?;
    println!("listening on {}", listener.local_addr());
    Ok(listener)
}

/// The connection is over: no message and no completion will come any more.
#[derive(Clone, Debug)]
pub(crate) struct Over {
    pub(crate) end: Ending,
    /// What did not succeed first.
    first: Option<Completion>,
}

impl Display for Over {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", WaitError::Over(self.end.clone()))?;
        match &self.first {
            Some(first) => write!(f, ", {first:?}"),
            None => Ok(()),
        }
    }
}

impl Error for Over {}

/// A message that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) octets: Vec<u8>,
    pub(crate) solicited: bool,
    pub(crate) invalidated: Option<Stag>,
}

/// Receives that are kept posted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receives {
    pub(crate) count: usize,
    pub(crate) len: usize,
}

/// One end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) socket: Socket,
    pub(crate) domain: Domain,
    inbox: Region,
    receives: Receives,
    /// Whether receives are posted again after use.
    pub(crate) reposts: bool,
    messages: VecDeque<Message>,
    works: VecDeque<Completion>,
    /// Requests and receives posted, and their completions that have come.
    pub(crate) posted: u64,
    completed: u64,
}

/// The number of work that is not a receive.
const WORK: u64 = u64::MAX - 1;

impl End {
    /// Connects.
    pub(crate) fn connect(
        address: SocketAddr,
        domain: &Domain,
        options: &Options,
        receives: Receives,
    ) -> Outcome<Self> {
        let outgoing = Outgoing::dial(address, options)?;
        let inbox = inbox(domain, receives)?;
        for index in 0..receives.count {
            outgoing.post_recv(index as u64, &[buffer(&inbox, receives, index)?])?;
        }
        Ok(Self::new(outgoing.connect()?, domain, inbox, receives))
    }

    /// Accepts.
    pub(crate) fn accept(
        incoming: Incoming,
        domain: &Domain,
        private_data: &[u8],
        receives: Receives,
    ) -> Outcome<Self> {
        let inbox = inbox(domain, receives)?;
        for index in 0..receives.count {
            incoming.post_recv(index as u64, &[buffer(&inbox, receives, index)?])?;
        }
        let socket = incoming.accept(private_data)?;
        Ok(Self::new(socket, domain, inbox, receives))
    }

    fn new(socket: Socket, domain: &Domain, inbox: Region, receives: Receives) -> Self {
        Self {
            socket,
            domain: domain.clone(),
            inbox,
            receives,
            reposts: true,
            messages: VecDeque::new(),
            works: VecDeque::new(),
            posted: receives.count as u64,
            completed: 0,
        }
    }

    /// A region with these octets.
    pub(crate) fn region(&self, octets: Vec<u8>, rights: Rights) -> Outcome<Region> {
        Ok(self.domain.register(octets, rights)?)
    }

    /// Posts a Send of octets, and waits until they have left.
    pub(crate) fn send(&mut self, octets: &[u8]) -> Outcome<()> {
        self.send_with(octets, SendFlags::default())
    }

    pub(crate) fn send_with(&mut self, octets: &[u8], flags: SendFlags) -> Outcome<()> {
        let region = self.region(octets.to_vec(), Rights::empty())?;
        self.socket.post_send(WORK, &[region.slice(..)?], flags)?;
        self.posted += 1;
        self.work().map(drop)
    }

    /// Posts a Send without waiting.
    pub(crate) fn post_send(&self, region: &Region) -> Outcome<()> {
        let list = [region.slice(..)?];
        Ok(self.socket.post_send(WORK, &list, SendFlags::default())?)
    }

    /// Writes a whole region.
    pub(crate) fn write(&mut self, region: &Region, remote: RemoteRegion) -> Outcome<()> {
        self.socket.post_write(WORK, &[region.slice(..)?], remote)?;
        self.work().map(drop)
    }

    /// Fills a whole region by a Read.
    pub(crate) fn read(&mut self, region: &Region, remote: RemoteRegion) -> Outcome<()> {
        self.socket.post_read(WORK, &[region.slice(..)?], remote)?;
        self.work().map(drop)
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Outcome<Message> {
        while self.messages.is_empty() {
            self.step()?;
        }
        Ok(self.messages.pop_front().ok_or("no message")?)
    }

    /// The next Send, Write or Read that is complete; one that has failed is an error.
    pub(crate) fn work(&mut self) -> Outcome<Completion> {
        while self.works.is_empty() {
            self.step()?;
        }
        Ok(self.works.pop_front().ok_or("no completion")?)
    }

    /// A message that has come already.
    pub(crate) fn poll_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// A completion that has come already.
    pub(crate) fn poll_work(&mut self) -> Option<Completion> {
        self.works.pop_front()
    }

    /// Waits for whatever comes next.
    pub(crate) fn step(&mut self) -> Outcome<()> {
        let done = match self.socket.wait(Some(PATIENCE)) {
            Ok(done) => done,
            Err(error) => return Err(over(error, None)),
        };
        self.completed += 1;
        if !done.is_success() {
            return Err(self.drain(Some(done)));
        }
        if done.kind != OperationKind::Receive {
            self.works.push_back(done);
            return Ok(());
        }
        let mut octets = vec![0; done.len as usize];
        let at = done.id * self.receives.len as u64;
        self.inbox.read_at(at, &mut octets)?;
        self.messages.push_back(Message {
            octets,
            solicited: done.solicited,
            invalidated: done.invalidated,
        });
        if !self.reposts {
            return Ok(());
        }
        let list = [buffer(&self.inbox, self.receives, done.id as usize)?];
        // The peer may have closed meanwhile; then it has no more to say.
        match self.socket.post_recv(done.id, &list) {
            Ok(()) => self.posted += 1,
            Err(PostError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes all that comes until the connection is over, and gives that as an error.
    pub(crate) fn drain(&mut self, first: Option<Completion>) -> Box<dyn Error + Send + Sync> {
        loop {
            match self.socket.wait(Some(PATIENCE)) {
                Ok(_) => self.completed += 1,
                Err(error) => return over(error, first),
            }
        }
    }

    /// Once it is over: whether each request and receive was completed, and once only. Only those are counted
    /// that the methods here and the mix have posted.
    pub(crate) fn all_completed(&self) -> Outcome<()> {
        if self.posted == self.completed {
            return Ok(());
        }
        Err(format!("{} posted, {} completed", self.posted, self.completed).into())
    }

    /// Waits until the peer has closed in order.
    pub(crate) fn closed_by_peer(&mut self) -> Outcome<()> {
        loop {
            match self.socket.wait(Some(PATIENCE)) {
                Ok(done) if done.kind == OperationKind::Receive && !done.is_success() => {}
                Ok(done) if done.status == Status::Success => {
                    return Err(format!("it has not closed, but {done:?}").into());
                }
                Ok(_) => {}
                Err(WaitError::Over(Ending::Graceful)) => return Ok(()),
                Err(error) => return Err(error.to_string().into()),
            }
        }
    }

    /// Whether TCP has lost the connection.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.socket.end(), Some(Ending::Lost))
    }

    /// Closes in order, if the peer does not do so within a second.
    ///
    /// When siw is told the end just after what it sent last, while it has not yet taken note that this has left,
    /// the program at its end is told that the operation failed.
    pub(crate) fn close_after_peer(&self) -> Outcome<()> {
        loop {
            match self.socket.wait(Some(Duration::from_secs(1))) {
                Ok(_) => {}
                Err(WaitError::Over(Ending::Graceful)) => return Ok(()),
                Err(WaitError::TimedOut) => return self.close(),
                Err(error) => return Err(error.to_string().into()),
            }
        }
    }

    /// Closes in order.
    pub(crate) fn close(&self) -> Outcome<()> {
        Ok(self.socket.close()?)
    }
}

fn over(error: WaitError, first: Option<Completion>) -> Box<dyn Error + Send + Sync> {
    match error {
        WaitError::Over(end) => Over { end, first }.into(),
        error => error.to_string().into(),
    }
}

fn inbox(domain: &Domain, receives: Receives) -> Outcome<Region> {
    let octets = vec![0; receives.count * receives.len];
    Ok(domain.register(octets, Rights::empty())?)
}

fn buffer(inbox: &Region, receives: Receives, index: usize) -> Outcome<uwarp::Sge> {
    let at = index * receives.len;
    Ok(inbox.slice(at..at + receives.len)?)
}

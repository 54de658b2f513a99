//! The work over uwarp.

use std::time::Duration;

use uwarp::{
    Completion, Domain, Error, Incoming, OperationKind, Options, PostError, Region, RemoteRegion,
    Rights, SendFlags, Sge, Socket, WaitError, connect,
};

use super::task::{Kind, Task};

/// How long the other end may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Receives that each end has posted.
const RECEIVES: u32 = 4096;

/// After so many messages the receiver says that their receives are posted anew.
const CREDIT: u32 = RECEIVES / 4;

/// Requests that may be posted and incomplete.
const QUEUE: u32 = 1024;

/// Reads that may be outstanding.
const READS: u32 = 16;

/// Octets that are posted at a time, unless the queue is full before.
const WINDOW: u32 = 8 << 20;

const NO_MESSAGES: &str = "this is for a stream";

/// What a task ends with when something goes wrong.
pub(super) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The options for both ends.
pub(super) fn options(domain: &Domain, crc: bool, emss: Option<u32>) -> Options {
    let options = Options::new(domain);
    let options = match emss {
        Some(emss) => options.emss(emss),
        None => options,
    };
    options
        .crc(crc)
        .send_queue(QUEUE)
        .receive_queue(RECEIVES)
        .ird(READS as u16)
        .ord(READS as u16)
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Rdma {
    socket: Socket,
    task: Task,
    memory: Regions,
    out: Sge,
    sink: Sge,
    /// What this end writes to.
    remote: RemoteRegion,
    /// What this end reads.
    source: RemoteRegion,
    /// Requests under way.
    open: u32,
    /// Messages that the peer has receives for.
    credit: u32,
    /// Messages received since the peer was last given credit.
    used: u32,
    /// Messages with data that have come.
    taken: u32,
    /// Empty messages with an event that have come: the peer has done its part.
    signals: u32,
    /// Turns of a ping-pong by Writes that this end has written, and that it has seen.
    turn: u64,
    seen: u64,
}

/// Memory for a task. What peers read they may not write to, as it should be: so it needs no copy under a CRC.
#[derive(Debug)]
struct Regions {
    /// What is sent, and what the peer reads.
    out: Region,
    /// What is received, and what the peer writes to.
    sink: Region,
}

impl Regions {
    /// The octets of both on the wire.
    const WIRE_LEN: usize = 2 * RemoteRegion::WIRE_LEN;

    fn register(domain: &Domain, task: &Task) -> Result<Self, uwarp::RegisterError> {
        let octets = || vec![0; task.size.max(8) as usize];
        Ok(Self {
            out: domain.register(octets(), Rights::REMOTE_READ)?,
            sink: domain.register(octets(), Rights::REMOTE_WRITE)?,
        })
    }

    /// For the peer.
    fn to_bytes(&self) -> Outcome<Vec<u8>> {
        let out = self.out.remote().ok_or("revoked")?;
        let sink = self.sink.remote().ok_or("revoked")?;
        Ok([out.to_bytes(), sink.to_bytes()].concat())
    }
}

impl Rdma {
    pub(super) fn connect(
        address: &str,
        task: Task,
        crc: bool,
        emss: Option<u32>,
    ) -> Outcome<Self> {
        let domain = Domain::new();
        let memory = Regions::register(&domain, &task)?;
        let mut data = memory.to_bytes()?;
        data.extend(task.encode());
        let socket = connect(address, &options(&domain, crc, emss).private_data(&data))?;
        let established = socket.established().ok_or(Error::SetupClosed)?;
        let end = Self::new(socket, task, memory, &established.private_data)?;
        for id in 0..RECEIVES {
            end.post_receive(u64::from(id))?;
        }
        Ok(end)
    }

    /// The other end, which reads what the task is.
    pub(super) fn accept(incoming: Incoming, domain: &Domain) -> Outcome<Self> {
        let data = incoming.private_data().to_vec();
        let (_, order) = data.split_at_checked(Regions::WIRE_LEN).ok_or("no task")?;
        let task = Task::decode(order).ok_or("no task")?;
        let memory = Regions::register(domain, &task)?;
        let sink = memory.sink.slice(..)?;
        for id in 0..RECEIVES {
            incoming.post_recv(u64::from(id), std::slice::from_ref(&sink))?;
        }
        let socket = incoming.accept(&memory.to_bytes()?)?;
        Self::new(socket, task, memory, &data)
    }

    fn new(socket: Socket, task: Task, memory: Regions, theirs: &[u8]) -> Outcome<Self> {
        let (source, theirs) = theirs.split_first_chunk().ok_or("no region")?;
        let (remote, _) = theirs.split_first_chunk().ok_or("no region")?;
        Ok(Self {
            socket,
            task,
            out: memory.out.slice(..)?,
            sink: memory.sink.slice(..)?,
            memory,
            remote: RemoteRegion::from_bytes(remote),
            source: RemoteRegion::from_bytes(source),
            open: 0,
            credit: RECEIVES - 8,
            used: 0,
            taken: 0,
            signals: 0,
            turn: 0,
            seen: 0,
        })
    }

    pub(super) const fn task(&self) -> &Task {
        &self.task
    }

    /// Does the task `count` times; returns when the other end has done its part.
    pub(super) fn lead(&mut self, count: u32) -> Outcome<()> {
        match self.task.kind {
            Kind::SendPing | Kind::Ping => {
                for _ in 0..count {
                    self.send()?;
                    self.receive()?;
                }
                return self.settle();
            }
            Kind::WritePing => {
                for _ in 0..count {
                    self.write_turn()?;
                    self.await_turn()?;
                }
                return self.settle();
            }
            Kind::Write | Kind::Read | Kind::Send | Kind::Stream => {}
            Kind::Bytes | Kind::BytesPing => return Err(NO_MESSAGES.into()),
        }
        let window = (WINDOW / self.task.size.max(1)).clamp(READS, QUEUE - 8);
        let mut left = count;
        while left > 0 {
            let ready = match self.task.kind {
                Kind::Read => self.open < READS,
                Kind::Send => self.open < window && self.credit > 0,
                _ => self.open < window,
            };
            if ready {
                self.post_one()?;
                left -= 1;
            } else {
                self.next()?;
            }
        }
        if self.task.kind != Kind::Send {
            self.signal()?;
        }
        self.await_signal()?;
        self.settle()
    }

    /// The other end's part.
    pub(super) fn follow(&mut self, count: u32) -> Outcome<()> {
        match self.task.kind {
            Kind::SendPing | Kind::Ping => {
                for _ in 0..count {
                    self.receive()?;
                    self.send()?;
                }
            }
            Kind::WritePing => {
                for _ in 0..count {
                    self.await_turn()?;
                    self.write_turn()?;
                }
            }
            Kind::Send => {
                for _ in 0..count {
                    self.receive()?;
                }
                self.signal()?;
            }
            Kind::Bytes | Kind::BytesPing => return Err(NO_MESSAGES.into()),
            Kind::Write | Kind::Read | Kind::Stream => {
                self.await_signal()?;
                self.signal()?;
            }
        }
        self.settle()
    }

    /// Waits for the other end to close.
    pub(super) fn finish(&self) {
        while self.socket.wait(Some(PATIENCE)).is_ok() {}
    }

    pub(super) fn close(self) -> Outcome<()> {
        Ok(self.socket.close()?)
    }

    fn list(&self) -> [Sge; 1] {
        [self.out.clone()]
    }

    fn post_one(&mut self) -> Result<(), PostError> {
        match self.task.kind {
            Kind::Read => {
                let sink = std::slice::from_ref(&self.sink);
                self.socket.post_read(0, sink, self.source)?;
            }
            Kind::Send => {
                self.credit -= 1;
                return self.send();
            }
            _ => self.socket.post_write(0, &self.list(), self.remote)?,
        }
        self.open += 1;
        Ok(())
    }

    fn send(&mut self) -> Result<(), PostError> {
        self.socket
            .post_send(0, &self.list(), SendFlags::default())?;
        self.open += 1;
        Ok(())
    }

    /// An empty message; with an event it says that this end has done its part, without that it gives credit.
    fn tell(&mut self, solicited: bool) -> Result<(), PostError> {
        let flags = SendFlags {
            solicited,
            invalidate: None,
        };
        self.socket.post_send(0, &[], flags)?;
        self.open += 1;
        Ok(())
    }

    fn signal(&mut self) -> Result<(), PostError> {
        self.tell(true)
    }

    fn post_receive(&self, id: u64) -> Result<(), PostError> {
        self.socket.post_recv(id, std::slice::from_ref(&self.sink))
    }

    /// Takes one completion and does what follows from it.
    fn next(&mut self) -> Outcome<()> {
        let completion = if self.task.busy {
            self.poll()?
        } else {
            self.socket.wait(Some(PATIENCE))?
        };
        self.note(&completion)
    }

    fn poll(&self) -> Result<Completion, WaitError> {
        loop {
            if let Some(completion) = self.socket.poll() {
                return Ok(completion);
            }
            if let Some(end) = self.socket.end() {
                return Err(WaitError::Over(end));
            }
        }
    }

    fn note(&mut self, completion: &Completion) -> Outcome<()> {
        if !completion.is_success() {
            return Err(format!("{:?} failed: {:?}", completion.kind, completion.status).into());
        }
        if completion.kind != OperationKind::Receive {
            self.open -= 1;
            return Ok(());
        }
        self.post_receive(completion.id)?;
        match (completion.len, completion.solicited) {
            (0, true) => self.signals += 1,
            (0, false) => self.credit += CREDIT,
            _ => {
                self.taken += 1;
                self.used += 1;
                if self.used == CREDIT {
                    self.used = 0;
                    self.tell(false)?;
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Outcome<()> {
        while self.taken == 0 {
            self.next()?;
        }
        self.taken -= 1;
        Ok(())
    }

    fn await_signal(&mut self) -> Outcome<()> {
        while self.signals == 0 {
            self.next()?;
        }
        self.signals -= 1;
        Ok(())
    }

    /// Waits until everything posted is complete.
    fn settle(&mut self) -> Outcome<()> {
        while self.open > 0 {
            self.next()?;
        }
        Ok(())
    }

    /// Where the word is that says whose turn it is: at the end, which arrives last.
    fn word(&self) -> u64 {
        u64::from(self.out.len()) - 8
    }

    fn write_turn(&mut self) -> Outcome<()> {
        while self.open > 0 {
            self.next()?;
        }
        self.turn += 1;
        let turn = self.turn.to_be_bytes();
        self.memory.out.write_at(self.word(), &turn)?;
        self.socket.post_write(0, &self.list(), self.remote)?;
        self.open += 1;
        Ok(())
    }

    fn await_turn(&mut self) -> Outcome<()> {
        let (sink, at) = (&self.memory.sink, self.word());
        let next = (self.seen + 1).to_be_bytes();
        let mut word = [0; 8];
        self.socket.spin_until(Some(PATIENCE), || {
            sink.read_at(at, &mut word).ok()?;
            (word == next).then_some(())
        })?;
        self.seen += 1;
        Ok(())
    }
}

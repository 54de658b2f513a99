//! Many connections, all busy with messages of 4 KiB, between two threads: over plain TCP both use `epoll`.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use uwarp::{
    CompletionQueue, Domain, Listener, OperationKind, Options, Outgoing, PostError, Rights,
    SendFlags, Sge, Socket, Workers,
};

use super::super::rdma::Outcome;
use super::super::results::Spread;
use super::Crowd;

/// Octets of a message.
const SIZE: usize = 4 << 10;
/// Messages on each connection in a round.
const EACH: usize = 40;
/// Receives that each connection has posted, and the messages after which its peer hears that they are posted anew.
const RECEIVES: usize = 16;
const CREDIT: usize = 8;
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(connections: usize, rounds: usize) -> Outcome<Crowd> {
    raise_limit();
    let mut plain = Plain::new(connections)?;
    let mut with = Rdma::new(connections, true)?;
    let mut without = Rdma::new(connections, false)?;
    let mut rates: [Vec<f64>; 3] = Default::default();
    let rate = |time: Duration| (connections * EACH) as f64 / time.as_secs_f64();
    // The first round is for getting warm.
    for round in 0..=rounds {
        for turn in 0..3 {
            let who = (round + turn) % 3;
            let begun = Instant::now();
            match who {
                0 => plain.round()?,
                1 => with.round()?,
                _ => without.round()?,
            }
            if round > 0 {
                rates[who].push(rate(begun.elapsed()));
            }
        }
    }
    let ratio = |who: usize| {
        let ratios: Vec<f64> = (rates[who].iter().zip(&rates[0]))
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        Spread::of(&ratios).ok_or("no rounds")
    };
    let [tcp, crc, no_crc] = [0, 1, 2].map(|who| Spread::of(&rates[who]).ok_or("no rounds"));
    Ok(Crowd {
        connections,
        messages_per_second: [tcp?, crc?, no_crc?],
        ratios: [ratio(1)?, ratio(2)?],
    })
}

/// Lets this process have as many descriptors as it may, and tells how many.
pub(super) fn raise_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return usize::MAX;
    };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    let limit = if raised.is_ok() { most } else { now };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Connections over plain TCP, and the thread that reads them.
struct Plain {
    streams: Vec<TcpStream>,
    /// Has an edge for each stream that can be written to again.
    writable: Epoll,
    reader: TcpStream,
}

impl Plain {
    fn new(connections: usize) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let writable = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for index in 0..connections {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let flags = EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            writable.add(&stream, EpollEvent::new(flags, index as u64))?;
            near.push(stream);
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            far.push(stream);
        }
        let reader = TcpStream::connect(address)?;
        let (answers, _) = listener.accept()?;
        // It ends with its connections.
        thread::spawn(move || drop(read_all(&far, answers)));
        Ok(Self {
            streams: near,
            writable,
            reader,
        })
    }

    /// Writes a message to each connection in turn, where there is room, until each has had its messages.
    fn round(&mut self) -> Outcome<()> {
        let message = [7; SIZE];
        let connections = self.streams.len();
        let mut left = vec![EACH * SIZE; connections];
        let mut ready: Vec<usize> = (0..connections).collect();
        let mut events = vec![EpollEvent::empty(); 256];
        let mut unfinished = connections;
        while unfinished > 0 {
            ready.retain(|&index| {
                let rest = left[index];
                let next = (rest - 1) % SIZE + 1;
                match (&self.streams[index]).write(&message[..next]) {
                    Ok(count) => left[index] -= count,
                    Err(error) => return error.kind() == io::ErrorKind::Interrupted,
                }
                unfinished -= usize::from(left[index] == 0);
                left[index] > 0
            });
            if ready.is_empty() && unfinished > 0 {
                let count = self.writable.wait(&mut events, 30_000u16)?;
                if count == 0 {
                    return Err("nothing moves over plain TCP".into());
                }
                let writable = events[..count].iter().map(|event| event.data() as usize);
                ready.extend(writable.filter(|&index| left[index] > 0));
            }
        }
        // The other end says when it has all.
        self.reader.set_read_timeout(Some(PATIENCE))?;
        self.reader.read_exact(&mut [0])?;
        Ok(())
    }
}

/// Reads what comes on any of the connections, and says so after each round.
fn read_all(streams: &[TcpStream], mut answers: TcpStream) -> Outcome<()> {
    let readable = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, stream) in streams.iter().enumerate() {
        readable.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let mut events = vec![EpollEvent::empty(); 256];
    let mut buffer = vec![0; SIZE];
    let mut come = 0;
    loop {
        let count = readable.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match (&streams[event.data() as usize]).read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => come += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        if come == streams.len() * EACH * SIZE {
            come = 0;
            answers.write_all(&[0])?;
        }
    }
}

/// One end of the connections, with one completion queue.
struct End {
    queue: CompletionQueue,
    sockets: Vec<Socket>,
    /// Messages that each peer has receives for.
    credit: Vec<usize>,
    out: Sge,
    sink: Sge,
}

/// Connections over uwarp, and the thread that receives.
struct Rdma {
    end: End,
    other: Option<JoinHandle<()>>,
}

fn options(domain: &Domain, queue: &CompletionQueue, crc: bool) -> Outcome<Options> {
    Ok(Options::new(domain)
        .crc(crc)
        .send_queue(2 * RECEIVES as u32)
        .receive_queue(2 * RECEIVES as u32)
        .completion_queue(queue)
        .workers(&Workers::start(1)?))
}

impl End {
    fn new(domain: &Domain, queue: CompletionQueue, sockets: Vec<Socket>) -> Outcome<Self> {
        let region = domain.register(vec![7; 2 * SIZE], Rights::empty())?;
        Ok(Self {
            queue,
            credit: vec![RECEIVES - 2; sockets.len()],
            sockets,
            out: region.slice(..SIZE)?,
            sink: region.slice(SIZE..)?,
        })
    }

    /// Takes one completion: what has arrived at which socket, empty messages being credit.
    fn next(&mut self) -> Outcome<Option<usize>> {
        let completion = self.queue.wait_one(Some(PATIENCE))?;
        let completion = completion.ok_or("nothing moves over uwarp")?;
        if !completion.is_success() {
            return Err(format!("{completion:?}").into());
        }
        if completion.kind != OperationKind::Receive {
            return Ok(None);
        }
        let index = completion.id as usize;
        self.sockets[index].post_recv(completion.id, std::slice::from_ref(&self.sink))?;
        if completion.len == 0 {
            self.credit[index] += CREDIT;
            return Ok(None);
        }
        Ok(Some(index))
    }

    fn send(&self, index: usize, list: &[Sge]) -> Result<(), PostError> {
        self.sockets[index].post_send(index as u64, list, SendFlags::default())
    }
}

impl Rdma {
    fn new(connections: usize, crc: bool) -> Outcome<Self> {
        let domain = Domain::new();
        let queue = CompletionQueue::new((connections * 4 * RECEIVES) as u32);
        let listener = Listener::bind("127.0.0.1:0", &options(&domain, &queue, crc)?)?;
        let address = listener.local_addr();
        let accepting = thread::spawn(move || -> Outcome<End> {
            let region = domain.register(vec![0; SIZE], Rights::empty())?;
            let sink = [region.slice(..)?];
            let mut sockets = Vec::new();
            for index in 0..connections {
                let incoming = listener.accept()?;
                for _ in 0..RECEIVES {
                    incoming.post_recv(index as u64, &sink)?;
                }
                sockets.push(incoming.accept(b"")?);
            }
            End::new(&domain, queue, sockets)
        });
        let near = Domain::new();
        let queue = CompletionQueue::new((connections * 4 * RECEIVES) as u32);
        let options = options(&near, &queue, crc)?;
        let region = near.register(vec![0; SIZE], Rights::empty())?;
        let sink = [region.slice(..)?];
        let mut sockets = Vec::new();
        for index in 0..connections {
            let outgoing = Outgoing::dial(address, &options)?;
            for _ in 0..RECEIVES {
                outgoing.post_recv(index as u64, &sink)?;
            }
            sockets.push(outgoing.connect()?);
        }
        let end = End::new(&near, queue, sockets)?;
        let far = accepting.join().map_err(|_| "the other end panicked")??;
        Ok(Self {
            end,
            other: Some(thread::spawn(move || drop(receive_all(far)))),
        })
    }

    /// Sends a message on each connection in turn, where there is credit, until each has had its messages and the
    /// other end has said that they have come.
    fn round(&mut self) -> Outcome<()> {
        let end = &mut self.end;
        let connections = end.sockets.len();
        let mut left = vec![EACH; connections];
        let (mut unfinished, mut done) = (connections * EACH, false);
        let mut ready: Vec<usize> = (0..connections).collect();
        let list = [end.out.clone()];
        while !done {
            for index in std::mem::take(&mut ready) {
                if left[index] == 0 || end.credit[index] == 0 {
                    continue;
                }
                match end.send(index, &list) {
                    Ok(()) => {}
                    Err(PostError::Full) => continue,
                    Err(error) => return Err(error.into()),
                }
                end.credit[index] -= 1;
                left[index] -= 1;
                unfinished -= 1;
                ready.push(index);
            }
            if ready.is_empty() {
                let seen = end.next()?;
                // A message with octets says that all have come.
                done = seen.is_some();
                if unfinished > 0 {
                    let can = |&index: &usize| left[index] > 0 && end.credit[index] > 0;
                    ready.extend((0..connections).filter(can));
                }
            }
        }
        if unfinished > 0 {
            return Err("the other end counts wrong".into());
        }
        Ok(())
    }
}

impl Drop for Rdma {
    fn drop(&mut self) {
        self.end.sockets.clear();
        if let Some(other) = self.other.take() {
            drop(other.join());
        }
    }
}

/// Receives all messages, gives credit, and says after each round that all have come.
fn receive_all(mut end: End) -> Outcome<()> {
    let mut taken = vec![0_usize; end.sockets.len()];
    let mut come = 0;
    let list = [end.out.clone()];
    loop {
        let Some(index) = end.next()? else { continue };
        taken[index] += 1;
        come += 1;
        if taken[index].is_multiple_of(CREDIT) {
            end.send(index, &[])?;
        }
        if come == end.sockets.len() * EACH {
            come = 0;
            end.send(0, &list)?;
        }
    }
}

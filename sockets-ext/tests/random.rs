//! Many connections at once, random operations on each, and a simple model that says what must come of them.

mod common;

use std::collections::VecDeque;
use std::sync::Barrier;
use std::thread;

use common::{Node, contents, noise, pair_with, remote};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uwarp::{OperationKind, PostError, Region, Rights, SendFlags, Workers};

const CONNECTIONS: u64 = 18;
const OPERATIONS: u64 = 150;
const REGION: usize = 300_000;
const RECEIVES: u64 = 16;

/// One direction of a connection: what this end has, and what the model says of it.
struct Mover<'a> {
    from: &'a Node,
    to: &'a Node,
    random: SmallRng,
    source: Region,
    source_model: Vec<u8>,
    /// The peer's, written to by Writes, read by Reads.
    target: Region,
    target_model: Vec<u8>,
    /// Ours, filled by Reads.
    sink: Region,
    sink_model: Vec<u8>,
    /// The peer's, one part for each Send under way.
    inbox: Region,
    inbox_model: Vec<u8>,
    expected: VecDeque<(u64, OperationKind, usize)>,
    received: VecDeque<(u64, usize)>,
}

impl<'a> Mover<'a> {
    fn new(from: &'a Node, to: &'a Node, seed: u64) -> Self {
        let source_model = noise(REGION, seed);
        let zero = vec![0; REGION];
        Self {
            from,
            to,
            random: SmallRng::seed_from_u64(seed),
            source: from.local(source_model.clone()),
            source_model,
            target: to.shared(zero.clone(), Rights::REMOTE_WRITE | Rights::REMOTE_READ),
            target_model: zero.clone(),
            sink: from.local(zero.clone()),
            sink_model: zero.clone(),
            inbox: to.local(zero.clone()),
            inbox_model: zero,
            expected: VecDeque::new(),
            received: VecDeque::new(),
        }
    }

    /// A random part of `0..whole`, small ones and large ones alike.
    fn part(&mut self, whole: usize) -> std::ops::Range<usize> {
        let most = match self.random.random_range(0..4) {
            0 => 4,
            1 => 2_000,
            2 => 70_000,
            _ => whole,
        };
        let len = self.random.random_range(0..=most.min(whole));
        let start = self.random.random_range(0..=whole - len);
        start..start + len
    }

    /// Posts one operation and works out what it will do. Everything posted before must have been done: a Read
    /// behind a Write would see it, but a Write behind a Read may overtake it.
    fn step(&mut self, id: u64) {
        let part = self.part(REGION);
        let len = part.len();
        let kind = match self.random.random_range(0..3) {
            0 => self.write(id, part),
            1 => self.read(id, part),
            _ => self.send(id, part),
        };
        let Some((kind, len)) = kind.map(|kind| (kind, len)) else {
            return;
        };
        self.expected.push_back((id, kind, len));
        if kind == OperationKind::Read || self.random.random_range(0..4) == 0 {
            self.settle();
        }
    }

    fn write(&mut self, id: u64, part: std::ops::Range<usize>) -> Option<OperationKind> {
        let to = self.random.random_range(0..=REGION - part.len());
        let place = remote(&self.target).slice(to as u32, part.len() as u32)?;
        let list = [self.source.slice(part.clone()).unwrap()];
        posted(self.from.socket.post_write(id, &list, place));
        self.target_model[to..to + part.len()].copy_from_slice(&self.source_model[part]);
        Some(OperationKind::Write)
    }

    fn read(&mut self, id: u64, part: std::ops::Range<usize>) -> Option<OperationKind> {
        let from = self.random.random_range(0..=REGION - part.len());
        let place = remote(&self.target).slice(from as u32, part.len() as u32)?;
        let middle = self.random.random_range(part.clone().start..=part.end);
        let list = [part.start..middle, middle..part.end].map(|it| self.sink.slice(it).unwrap());
        posted(self.from.socket.post_read(id, &list, place));
        self.sink_model[part.clone()].copy_from_slice(&self.target_model[from..from + part.len()]);
        Some(OperationKind::Read)
    }

    fn send(&mut self, id: u64, part: std::ops::Range<usize>) -> Option<OperationKind> {
        if self.received.len() as u64 == RECEIVES {
            self.settle();
        }
        let room = REGION / RECEIVES as usize;
        let part = part.start..part.start + part.len().min(room);
        let place = id as usize % RECEIVES as usize * room;
        let inbox = [self.inbox.slice(place..place + room).unwrap()];
        posted(self.to.socket.post_recv(id, &inbox));
        let list = [self.source.slice(part.clone()).unwrap()];
        posted(self.from.socket.post_send(id, &list, SendFlags::default()));
        self.received.push_back((id, part.len()));
        self.inbox_model[place..place + part.len()]
            .copy_from_slice(&self.source_model[part.clone()]);
        self.expected
            .push_back((id, OperationKind::Send, part.len()));
        None
    }

    /// Waits for everything posted, and compares completions with the model.
    fn settle(&mut self) {
        while let Some((id, kind, len)) = self.expected.pop_front() {
            let done = self.from.done(id);
            assert_eq!((done.kind, done.len as usize), (kind, len));
        }
        while let Some((id, len)) = self.received.pop_front() {
            let done = self.to.done(id);
            assert_eq!(
                (done.kind, done.len as usize),
                (OperationKind::Receive, len)
            );
        }
    }

    /// Compares memory with the model.
    fn compare(mut self) {
        self.settle();
        // An empty Read behind the Writes: when it is answered they have been placed.
        let place = remote(&self.target).slice(0, 0).unwrap();
        posted(self.from.socket.post_read(0, &[], place));
        self.expected.push_back((0, OperationKind::Read, 0));
        self.settle();
        assert!(contents(&self.target) == self.target_model);
        assert!(contents(&self.sink) == self.sink_model);
        assert!(contents(&self.inbox) == self.inbox_model);
        assert!(contents(&self.source) == self.source_model);
    }
}

fn posted(result: Result<(), PostError>) {
    result.expect("room");
}

fn one_connection(workers: &Workers, start: &Barrier, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed ^ 0x5eed);
    let (near_markers, far_markers, crc) = random.random();
    let (client, server) = pair_with(
        |options| options.workers(workers).markers(near_markers).crc(crc),
        |options| options.workers(workers).markers(far_markers).crc(crc),
    );
    let (from, to) = if random.random() {
        (&client, &server)
    } else {
        (&server, &client)
    };
    start.wait();
    let mut mover = Mover::new(from, to, seed);
    for id in 1..=OPERATIONS {
        mover.step(id);
    }
    mover.compare();
    thread::scope(|scope| {
        scope.spawn(|| client.socket.close().unwrap());
        server.socket.close().unwrap();
    });
}

#[test]
fn random_operations_on_many_connections_do_what_the_model_says() {
    // The seed of a failure is in its thread's name; the operations follow from it, not the interleaving.
    let chosen = std::env::var("UWARP_TEST_SEED").map(|seed| seed.parse().unwrap());
    let base: u32 = chosen.unwrap_or_else(|_| SmallRng::from_os_rng().random());
    let workers = Workers::start(2).unwrap();
    let start = Barrier::new(CONNECTIONS as usize);
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let seed = u64::from(base) + connection;
            let (workers, start) = (&workers, &start);
            thread::Builder::new()
                .name(format!("seed {seed}"))
                .spawn_scoped(scope, move || one_connection(workers, start, seed))
                .unwrap();
        }
    });
}

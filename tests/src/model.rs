//! What the operations of a script ought to do: applied in order to plain vectors.

use std::collections::VecDeque;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore};
use uwarp_ddp::{Rights, Stag};
use uwarp_rdmap::{Completion, Operation, OperationKind, PostError, Slot, Status};
use uwarp_stream::{End, Event};

use crate::pair::{Host, Pair, RESPONDER};

/// An operation of one end, on the regions of the other.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// A Send of `len` octets.
    Send {
        /// Octets.
        len: u32,
        /// With Solicited Event.
        solicited: bool,
        /// The region to invalidate.
        invalidate: Option<usize>,
    },
    /// An RDMA Write.
    Write {
        /// The region.
        region: usize,
        /// Offset of the first octet in it.
        offset: u64,
        /// Octets.
        len: u32,
    },
    /// An RDMA Read.
    Read {
        /// The region.
        region: usize,
        /// Offset of the first octet in it.
        offset: u64,
        /// Octets.
        len: u32,
    },
}

impl Op {
    /// The region it touches, if it touches one.
    const fn region(&self) -> Option<usize> {
        match *self {
            Self::Send { invalidate, .. } => invalidate,
            Self::Write { region, .. } | Self::Read { region, .. } => Some(region),
        }
    }
}

/// A region of one end as it will be when all operations of the other that have been posted are done.
#[derive(Clone, Debug)]
struct Region {
    stag: Stag,
    base: u64,
    octets: Vec<u8>,
}

/// A posted request that has not completed.
#[derive(Debug)]
struct Posted {
    slot: Slot,
    kind: OperationKind,
    len: u32,
    /// The region that a Read reads, and what it will find.
    reads: Option<(usize, Vec<u8>)>,
}

/// A Send that the other end has posted.
#[derive(Debug)]
struct Arrival {
    payload: Vec<u8>,
    solicited: bool,
    invalidated: Option<Stag>,
}

/// The program at one end.
#[derive(Debug, Default)]
struct Program {
    todo: VecDeque<Op>,
    /// Lengths of the receives that are still to be posted.
    receives_due: VecDeque<u32>,
    receives_posted: usize,
    sends_posted: usize,
    works: VecDeque<Posted>,
    receives: VecDeque<Slot>,
    arrivals: VecDeque<Arrival>,
    regions: Vec<Region>,
    /// A receive has not succeeded, so none behind it can.
    receives_ended: bool,
    succeeded: usize,
    flushed: usize,
}

/// Two programs that use a [`Pair`], and what should come of it.
#[derive(Debug)]
pub struct World {
    /// The pair.
    pub pair: Pair,
    programs: [Program; 2],
}

impl World {
    /// Two programs without anything to do.
    #[must_use]
    pub fn new(pair: Pair) -> Self {
        Self {
            pair,
            programs: Default::default(),
        }
    }

    /// Gives one end a region; it is known by its number, counted from 0.
    pub fn region(&mut self, side: usize, rights: Rights, base: u64, len: usize) {
        let octets = random_octets(&mut self.pair.rng, len);
        let ram = &mut self.pair.hosts[side].ram;
        let stag = ram.register(rights, base, octets.clone());
        self.programs[side]
            .regions
            .push(Region { stag, base, octets });
    }

    /// Gives one end something to do, and the other the receives that it takes.
    pub fn script(&mut self, side: usize, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            if let Op::Send { len, .. } = op {
                let spare = self.pair.rng.random_range(0..=64);
                self.programs[1 - side].receives_due.push_back(len + spare);
            }
            self.programs[side].todo.push_back(op);
        }
    }

    /// Both programs and both drivers do something; `false` when there is nothing to do now.
    pub fn turn(&mut self) -> bool {
        let posted = self.post(0) | self.post(1);
        let moved = self.pair.turn();
        self.take_reports(0);
        self.take_reports(1);
        posted || moved
    }

    /// Goes on until nothing will ever happen, or `done` says that it is enough.
    pub fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        while !done(self) {
            if !self.turn() && !self.pair.wait() {
                return;
            }
        }
    }

    /// Whether everything has been posted and has completed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.programs.iter().all(|program| {
            program.todo.is_empty()
                && program.receives_due.is_empty()
                && program.works.is_empty()
                && program.receives.is_empty()
        })
    }

    /// Whether one end has been set up.
    #[must_use]
    pub fn is_set_up(&self, side: usize) -> bool {
        self.pair.hosts[side].connection.agreement().is_some()
    }

    /// Requests of one end that succeeded, and that did not.
    #[must_use]
    pub fn account(&self, side: usize) -> (usize, usize) {
        (self.programs[side].succeeded, self.programs[side].flushed)
    }

    /// One end posts nothing any more.
    pub fn stop(&mut self, side: usize) {
        self.programs[side].todo.clear();
        self.programs[side].receives_due.clear();
    }

    /// How one end ended.
    #[must_use]
    pub fn end(&self, side: usize) -> Option<&End> {
        self.pair.hosts[side].end.as_ref().map(|(end, _)| end)
    }

    /// Every region holds what it should when all has been done.
    pub fn assert_memory(&self) {
        for (program, host) in self.programs.iter().zip(&self.pair.hosts) {
            for region in &program.regions {
                let same = host.ram.region(region.stag) == region.octets;
                assert!(same, "region {} holds what it should", region.stag);
            }
        }
    }

    /// Nothing is left that was posted.
    pub fn assert_all_complete(&self) {
        for program in &self.programs {
            assert!(program.works.is_empty(), "{:?}", program.works);
            assert!(program.receives.is_empty(), "{:?}", program.receives);
        }
    }

    /// One end posts what it may, or a part of it. Whether it posted anything.
    fn post(&mut self, side: usize) -> bool {
        if !self.is_set_up(side) || self.pair.hosts[side].end.is_some() {
            return false;
        }
        let mut posted = false;
        while self.pair.rng.random_range(0..4) > 0 && self.post_receive(side) {
            posted = true;
        }
        while self.pair.rng.random_range(0..4) > 0 && self.post_work(side) {
            posted = true;
        }
        // What could be posted but was not is a reason to come back.
        posted || self.could_post(side)
    }

    /// Whether something is left to post that nothing else will bring to pass.
    fn could_post(&self, side: usize) -> bool {
        let program = &self.programs[side];
        let receive = !program.receives_due.is_empty() && program.receives.is_empty();
        let work = self.next_op(side).is_some() && program.works.is_empty();
        receive || work
    }

    fn post_receive(&mut self, side: usize) -> bool {
        let program = &mut self.programs[side];
        let Some(&len) = program.receives_due.front() else {
            return false;
        };
        match self.pair.hosts[side].post_receive(len) {
            Ok(slot) => {
                program.receives_due.pop_front();
                program.receives.push_back(slot);
                program.receives_posted += 1;
                true
            }
            Err(PostError::Closed) => {
                program.receives_due.clear();
                false
            }
            Err(error) => {
                assert_eq!(error, PostError::Full);
                false
            }
        }
    }

    /// The next operation, if it may begin: a Send needs a receive at the other end, and what changes
    /// a region waits for the Reads of it, whose result would be anybody's guess (RFC 5040 s5.5).
    fn next_op(&self, side: usize) -> Option<Op> {
        let (program, peer) = (&self.programs[side], &self.programs[1 - side]);
        let op = *program.todo.front()?;
        let being_read = |region| {
            let mut works = program.works.iter();
            works.any(|work| matches!(work.reads, Some((read, _)) if read == region))
        };
        let changes = !matches!(op, Op::Read { .. });
        let may_begin = match op {
            Op::Send { .. } => peer.receives_posted > program.sends_posted,
            Op::Write { .. } | Op::Read { .. } => true,
        };
        (may_begin && !(changes && op.region().is_some_and(being_read))).then_some(op)
    }

    fn post_work(&mut self, side: usize) -> bool {
        let Some(op) = self.next_op(side) else {
            return false;
        };
        let (operation, octets) = self.work_of(side, op);
        let payload = octets.clone();
        let (kind, len) = (operation.kind(), octets.len() as u32);
        match self.pair.hosts[side].post(operation, octets) {
            Ok(slot) => {
                let reads = self.apply(side, op, payload);
                let program = &mut self.programs[side];
                program.todo.pop_front();
                program.works.push_back(Posted {
                    slot,
                    kind,
                    len,
                    reads,
                });
                true
            }
            Err(PostError::Closed) => {
                self.programs[side].todo.clear();
                false
            }
            Err(error) => {
                assert_eq!(error, PostError::Full);
                false
            }
        }
    }

    /// What to post for `op`, and the octets of its buffer.
    fn work_of(&mut self, side: usize, op: Op) -> (Operation, Vec<u8>) {
        let regions = &self.programs[1 - side].regions;
        let rng = &mut self.pair.rng;
        match op {
            Op::Send {
                len,
                solicited,
                invalidate,
            } => {
                let invalidate = invalidate.map(|region| regions[region].stag);
                let operation = Operation::Send {
                    solicited,
                    invalidate,
                };
                (operation, random_octets(rng, len as usize))
            }
            Op::Write {
                region,
                offset,
                len,
            } => {
                let Region { stag, base, .. } = regions[region];
                let to = base + offset;
                (
                    Operation::Write { stag, to },
                    random_octets(rng, len as usize),
                )
            }
            Op::Read {
                region,
                offset,
                len,
            } => {
                let Region { stag, base, .. } = regions[region];
                let to = base + offset;
                (Operation::Read { stag, to }, vec![0; len as usize])
            }
        }
    }

    /// The effect of `op` on the model; what a Read will find.
    fn apply(&mut self, side: usize, op: Op, payload: Vec<u8>) -> Option<(usize, Vec<u8>)> {
        let [left, right] = &mut self.programs;
        let (program, peer) = if side == RESPONDER {
            (right, left)
        } else {
            (left, right)
        };
        match op {
            Op::Send {
                solicited,
                invalidate,
                ..
            } => {
                program.sends_posted += 1;
                peer.arrivals.push_back(Arrival {
                    payload,
                    solicited,
                    invalidated: invalidate.map(|region| peer.regions[region].stag),
                });
                None
            }
            Op::Write { region, offset, .. } => {
                let at = offset as usize;
                peer.regions[region].octets[at..at + payload.len()].copy_from_slice(&payload);
                None
            }
            Op::Read {
                region,
                offset,
                len,
            } => {
                let at = offset as usize;
                let found = &peer.regions[region].octets[at..at + len as usize];
                Some((region, found.to_vec()))
            }
        }
    }

    fn take_reports(&mut self, side: usize) {
        let host = &mut self.pair.hosts[side];
        for event in std::mem::take(&mut host.events) {
            match event {
                Event::Request(request) => {
                    assert_eq!(request.private_data, b"may I");
                    let accepted = host.connection.accept(b"you may", self.pair.now);
                    accepted.expect("the Request can be accepted");
                }
                Event::Established(_) | Event::Over(_) => {}
                Event::PeerClosed => host.connection.close(self.pair.now),
                Event::Rejected { .. } => panic!("nobody rejects here"),
            }
        }
        for completion in std::mem::take(&mut self.pair.hosts[side].completions) {
            self.complete(side, &completion);
        }
    }

    /// Holds a completion against what was posted: each request once, in the order of posting.
    fn complete(&mut self, side: usize, completion: &Completion) {
        let (host, program) = (&mut self.pair.hosts[side], &mut self.programs[side]);
        if completion.status == Status::Success {
            program.succeeded += 1;
        } else {
            assert_eq!(completion.status, Status::Flushed);
            assert_eq!((completion.len, completion.solicited), (0, false));
            program.receives_ended |= completion.kind == OperationKind::Receive;
            program.flushed += 1;
        }
        if completion.kind == OperationKind::Receive {
            assert_eq!(program.receives.pop_front(), Some(completion.slot));
            if completion.status == Status::Success {
                assert!(!program.receives_ended, "receives end in order");
                received(host, program, completion);
            }
        } else {
            let work = program.works.pop_front().expect("something was posted");
            assert_eq!((work.slot, work.kind), (completion.slot, completion.kind));
            if completion.status == Status::Success {
                assert_eq!(work.len, completion.len);
                if let Some((_, found)) = work.reads {
                    assert!(host.ram.buffer(work.slot) == found, "the Read found it");
                }
            }
        }
        host.ram.release(completion.slot);
    }
}

/// A receive has completed with the next Send of the other end.
fn received(host: &Host, program: &mut Program, completion: &Completion) {
    let sent = program.arrivals.pop_front().expect("something was sent");
    let len = completion.len as usize;
    let payload = &host.ram.buffer(completion.slot)[..len];
    assert!(payload == sent.payload, "the Send arrives whole");
    assert_eq!(completion.solicited, sent.solicited);
    assert_eq!(completion.invalidated, sent.invalidated);
    if let Some(stag) = sent.invalidated {
        assert!(!host.ram.is_registered(stag));
    }
}

fn random_octets(rng: &mut SmallRng, len: usize) -> Vec<u8> {
    let mut octets = vec![0; len];
    rng.fill_bytes(&mut octets);
    octets
}

//! Two connections, the link between them, and a clock that moves only when nothing else does.

use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uwarp_ddp::Stag;
use uwarp_mpa::max_wire_len;
use uwarp_rdmap::{Completion, Operation, PostError, Slot, Work};
use uwarp_stream::{Batch, Config, Connection, End, Event};

use crate::drive::gather;
use crate::link::{Link, Weather};
use crate::memory::Ram;

/// The end that sends the Request.
pub const INITIATOR: usize = 0;
/// The end that waits for it.
pub const RESPONDER: usize = 1;

/// The longest startup frame; it is not counted against the budget of a batch.
const STARTUP_MAX: usize = 20 + 512;

/// One end: a connection and the driver's side of it.
#[derive(Debug)]
pub struct Host {
    /// The connection.
    pub connection: Connection,
    /// Its memory.
    pub ram: Ram,
    /// How much a batch may hold.
    pub budget: usize,
    /// Events that the test has not taken.
    pub events: Vec<Event>,
    /// Completions that the test has not taken.
    pub completions: Vec<Completion>,
    /// How the connection ended, and when.
    pub end: Option<(End, Instant)>,
    batch: Batch<usize>,
    staged: Vec<u8>,
    saw_fin: bool,
    closed: bool,
    /// The largest MULPDU that there has been.
    mulpdu: u16,
    /// Its process is stopped: it neither reads nor writes, and TCP goes on without it.
    pub stopped: bool,
}

impl Host {
    fn new(connection: Connection, budget: usize) -> Self {
        Self {
            connection,
            ram: Ram::default(),
            budget,
            events: Vec::new(),
            completions: Vec::new(),
            end: None,
            batch: Batch::new(),
            staged: Vec::new(),
            saw_fin: false,
            closed: false,
            mulpdu: 0,
            stopped: false,
        }
    }

    /// Posts a Send, Write or Read of a new buffer.
    ///
    /// # Errors
    /// Those of [`Connection::post`].
    pub fn post(&mut self, operation: Operation, octets: Vec<u8>) -> Result<Slot, PostError> {
        let len = octets.len() as u32;
        let slot = self.ram.slot(octets);
        let work = Work {
            slot,
            operation,
            len,
        };
        self.connection.post(work).map(|()| slot)
    }

    /// Posts a receive buffer of `len` octets.
    ///
    /// # Errors
    /// Those of [`Connection::post_receive`].
    pub fn post_receive(&mut self, len: u32) -> Result<Slot, PostError> {
        let slot = self.ram.slot(vec![0; len as usize]);
        self.connection.post_receive(slot, len).map(|()| slot)
    }

    fn take_reports(&mut self, now: Instant) {
        while let Some(event) = self.connection.poll_event() {
            assert!(self.end.is_none(), "{event:?} after the end");
            if let Event::Over(end) = &event {
                self.end = Some((end.clone(), now));
            }
            self.events.push(event);
        }
        while let Some(completion) = self.connection.poll_completion() {
            self.completions.push(completion);
        }
    }

    /// Fills the batch, within bounds whatever has been posted.
    fn fill_batch(&mut self, now: Instant) {
        self.connection
            .transmit(&mut self.batch, &mut self.ram, self.budget, now);
        // Segments that were framed before it became smaller are still there.
        self.mulpdu = self.mulpdu.max(self.connection.mulpdu().unwrap_or(0));
        let mulpdu = usize::from(self.mulpdu);
        // Markers and padding add less than a fiftieth to what is not tiny.
        let fpdu = (mulpdu + mulpdu / 50 + 64).min(max_wire_len(true));
        let most = self.budget + fpdu.max(STARTUP_MAX);
        assert!(self.batch.len() <= most, "{} > {most}", self.batch.len());
    }
}

/// Two ends and what lies between them. `links[i]` carries what `hosts[i]` sends.
#[derive(Debug)]
pub struct Pair {
    /// [`INITIATOR`] and [`RESPONDER`].
    pub hosts: [Host; 2],
    /// Both directions.
    pub links: [Link; 2],
    /// The virtual time.
    pub now: Instant,
    /// What chance there is comes from here.
    pub rng: SmallRng,
}

impl Pair {
    /// An initiator and a responder, neither of which has said anything.
    ///
    /// # Panics
    /// When the initiator's policy cannot be put into a Request.
    #[must_use]
    pub fn new(configs: [Config; 2], weather: Weather, seed: u64) -> Self {
        let now = Instant::now();
        let [ours, theirs] = configs;
        let initiator = Connection::initiator(ours, b"may I", Stag(0x51_4b_00_01), now);
        let responder = Connection::responder(theirs, Stag(0x51_4b_00_02), now);
        Self {
            hosts: [
                Host::new(initiator.expect("the policy is sound"), 1 << 16),
                Host::new(responder, 1 << 16),
            ],
            links: [Link::new(weather), Link::new(weather)],
            now,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Both ends do something, if there is something to do.
    pub fn turn(&mut self) -> bool {
        let first = self.rng.random_range(0..2);
        let one = self.drive(first);
        let other = self.drive(1 - first);
        one || other
    }

    /// Moves the clock to the next thing that happens; `false` if nothing will.
    pub fn wait(&mut self) -> bool {
        let now = self.now;
        let arrivals = self.links.iter().filter_map(|link| link.next_arrival(now));
        let deadlines = (self.hosts.iter())
            .filter(|host| !host.closed && !host.stopped)
            .filter_map(|host| host.connection.deadline());
        let Some(next) = arrivals.chain(deadlines).min() else {
            return false;
        };
        self.now = next.max(now);
        for host in self.hosts.iter_mut().filter(|host| !host.stopped) {
            host.connection.timeout(self.now);
        }
        true
    }

    /// One end's process dies: TCP closes its half after what it has written.
    pub fn kill(&mut self, side: usize) {
        if self.hosts[side].closed {
            return;
        }
        self.hosts[side].connection.abort();
        self.hosts[side].take_reports(self.now);
        self.hosts[side].closed = true;
        self.links[side].finish();
        self.links[1 - side].deafen();
    }

    /// The network resets the connection.
    pub fn reset(&mut self) {
        for link in &mut self.links {
            link.reset();
        }
    }

    /// The driver's turn of one end; whether anything happened.
    fn drive(&mut self, side: usize) -> bool {
        if self.hosts[side].closed || self.hosts[side].stopped {
            return false;
        }
        let moved = if self.links[side].is_reset() {
            self.hosts[side].connection.transport_lost();
            true
        } else {
            // Both, always.
            self.read(side) | self.write(side)
        };
        let host = &mut self.hosts[side];
        host.take_reports(self.now);
        if host.connection.is_over() {
            self.close_socket(side);
            return true;
        }
        moved
    }

    fn read(&mut self, side: usize) -> bool {
        let (now, host) = (self.now, &mut self.hosts[side]);
        let most = if host.connection.is_starting() {
            host.connection.startup_need()
        } else {
            usize::MAX
        };
        let link = &mut self.links[1 - side];
        let octets = link.read(most, now, &mut self.rng);
        if octets.is_empty() {
            if link.is_finished() && !host.saw_fin {
                host.saw_fin = true;
                host.connection.end_of_stream(host.staged.len());
                return true;
            }
            return false;
        }
        host.staged.extend_from_slice(&octets);
        let received = host.connection.receive(&host.staged, &mut host.ram, now);
        host.staged.drain(..received.consumed);
        true
    }

    fn write(&mut self, side: usize) -> bool {
        let (now, host) = (self.now, &mut self.hosts[side]);
        if host.connection.is_over() {
            return false;
        }
        host.fill_batch(now);
        let link = &mut self.links[side];
        let octets = gather(&host.batch, &host.ram, link.grain());
        let count = if octets.is_empty() {
            0
        } else {
            link.write(&octets, now, &mut self.rng)
        };
        host.batch.advance(count);
        host.connection.written(count);
        if host.connection.wants_shutdown() {
            link.finish();
            host.connection.shut_down();
            return true;
        }
        count > 0
    }

    /// The driver gives the socket up. A connection that did not end in order is reset, unless MPA
    /// has given the socket back.
    fn close_socket(&mut self, side: usize) {
        let host = &mut self.hosts[side];
        host.closed = true;
        let in_order = host.saw_fin && self.links[side].has_fin();
        if host.end.is_some() && !in_order {
            self.reset();
        }
    }
}

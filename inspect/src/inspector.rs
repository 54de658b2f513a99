//! All connections of a capture.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::capture::{Packet, link};
use crate::connection::{Connection, Output};
use crate::packet::{Segment, segment};
use crate::record::Record;

/// TCP connections that are watched at a time; when there are more, those longest silent are given up.
const CONNECTIONS_MAX: usize = 4096;

/// What the connections may take together, in octets; see [`Inspector`].
const MEMORY_MAX: usize = 256 << 20;

/// What went by, apart from what records tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets in the capture.
    pub packets: u64,
    /// Packets of which the capture does not hold all octets.
    pub cut: u64,
    /// Packets of a link type that is not understood.
    pub unknown_link: u64,
    /// The link type of the last of these.
    pub link: i32,
    /// TCP segments.
    pub segments: u64,
    /// TCP connections.
    pub tcp_connections: u64,
    /// Connections that were given up since there were too many at a time.
    pub given_up: u64,
}

/// Follows every iWARP connection in a stream of packets.
///
/// It takes packets in the order of the capture and gives [`Record`]s.
///
/// # Memory
///
/// Memory is bounded, whatever the packets say:
///
/// | What | Most |
/// |---|---|
/// | TCP connections that are watched at a time | 4096 |
/// | a direction of which it is not known what it is: what is kept to look for a startup frame, or to guess by | 512 KiB |
/// | a direction that waits for the other end's startup frame | 256 KiB |
/// | a direction whose FPDUs are read, or looked for again: 256 KiB behind holes, the FPDUs that are known there, the last 1024 headers | 2 MiB |
/// | requests of a connection that have no answer | 1 MiB |
/// | all connections together | 256 MiB, or what [`Inspector::with_memory`] says |
///
/// When the connections reach their number or their memory, those that have been silent longest are
/// given up, an eighth of all; [`Traffic::given_up`] counts them. Beside this there are the records that one packet
/// brings up, which the caller takes away: when a hole closes, these are those of 256 KiB of FPDUs.
/// The same holds for [`Inspector::finish_one`], while [`Inspector::finish`] brings up all there are.
#[derive(Debug)]
pub struct Inspector {
    connections: HashMap<(SocketAddr, SocketAddr), Entry>,
    records: Vec<Record>,
    numbers: u32,
    traffic: Traffic,
    time: u64,
    /// What the connections take together.
    memory: usize,
    memory_max: usize,
}

impl Default for Inspector {
    fn default() -> Self {
        Self::with_memory(MEMORY_MAX)
    }
}

#[derive(Debug)]
struct Entry {
    /// The end that was seen first.
    first: SocketAddr,
    connection: Box<Connection>,
    /// What it took after its last segment.
    memory: usize,
}

impl Inspector {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One whose connections take at most `octets` of memory together. Below 4 MiB some connections
    /// cannot be followed at all.
    #[must_use]
    pub fn with_memory(octets: usize) -> Self {
        Self {
            connections: HashMap::new(),
            records: Vec::new(),
            numbers: 0,
            traffic: Traffic::default(),
            time: 0,
            memory: 0,
            memory_max: octets,
        }
    }

    /// What the connections take now, in octets: an upper bound, which buffers count with as if they
    /// were full where that is simpler.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.memory
    }

    /// Takes the next packet.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        self.traffic.packets += 1;
        self.traffic.cut += u64::from(packet.octets.len() < packet.original);
        self.time = packet.time;
        if !link::is_known(packet.link) {
            self.traffic.unknown_link += 1;
            self.traffic.link = packet.link;
        }
        if let Some(segment) = segment(packet) {
            self.segment(&segment);
        }
    }

    /// Takes the next TCP segment.
    pub fn segment(&mut self, segment: &Segment<'_>) {
        self.traffic.segments += 1;
        let (low, high) = (
            segment.source.min(segment.destination),
            segment.source.max(segment.destination),
        );
        // Which end of a connection with itself has sent something cannot be told.
        if low == high {
            return;
        }
        let key = (low, high);
        let who = |entry: &Entry| usize::from(entry.first != segment.source);
        if let Some(entry) = self.connections.get(&key)
            && entry.connection.is_superseded(who(entry), segment)
        {
            self.close(key);
        }
        if !self.connections.contains_key(&key) {
            if segment.payload.is_empty() && !segment.syn {
                return;
            }
            self.make_room();
            self.traffic.tcp_connections += 1;
            let entry = Entry {
                first: segment.source,
                connection: Box::new(Connection::new(segment)),
                memory: 0,
            };
            self.connections.insert(key, entry);
        }
        let Some(entry) = self.connections.get_mut(&key) else {
            return;
        };
        let mut out = Output {
            records: &mut self.records,
            numbers: &mut self.numbers,
            time: segment.time,
        };
        let who = usize::from(entry.first != segment.source);
        entry.connection.segment(who, segment, &mut out);
        let memory = entry.connection.memory();
        self.memory = self.memory - entry.memory + memory;
        entry.memory = memory;
        if self.memory > self.memory_max {
            let enough = self.memory_max / 8 * 7;
            self.give_up(|inspector| inspector.memory <= enough);
        }
    }

    fn make_room(&mut self) {
        if self.connections.len() >= CONNECTIONS_MAX {
            let enough = CONNECTIONS_MAX / 8 * 7;
            self.give_up(|inspector| inspector.connections.len() <= enough);
        }
    }

    /// Gives connections up until it is enough: first those that are over, then those that have been silent
    /// longest. It goes on for a while, so that looking for them is not the work of every packet.
    fn give_up(&mut self, enough: impl Fn(&Self) -> bool) {
        let mut keys: Vec<_> = self
            .connections
            .iter()
            .map(|(key, entry)| (!entry.connection.is_over(), entry.connection.seen, *key))
            .collect();
        keys.sort();
        for (followed, _, key) in keys {
            if enough(self) {
                break;
            }
            self.traffic.given_up += u64::from(followed);
            self.close(key);
        }
    }

    fn close(&mut self, key: (SocketAddr, SocketAddr)) {
        if let Some(mut entry) = self.connections.remove(&key) {
            self.memory -= entry.memory;
            entry.connection.finish(&mut Output {
                records: &mut self.records,
                numbers: &mut self.numbers,
                time: self.time,
            });
        }
    }

    /// The capture has ended: tells what is left of every connection.
    pub fn finish(&mut self) {
        while self.finish_one() {}
    }

    /// The same for one connection, the first of those that are left. Tells whether there was one. Whoever
    /// takes the records after each call never has those of many connections at a time.
    pub fn finish_one(&mut self) -> bool {
        let first = self
            .connections
            .iter()
            .map(|(key, entry)| (entry.connection.number, *key))
            .min();
        let Some((_, key)) = first else {
            return false;
        };
        self.close(key);
        true
    }

    /// The records that have come up since the last call.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// What went by so far.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }
}

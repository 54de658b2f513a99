//! All connections of a capture.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::capture::Packet;
use crate::connection::{Connection, Output};
use crate::packet::{Segment, segment};
use crate::record::Record;

/// TCP connections that are watched at a time; of more, the one longest silent is given up.
const CONNECTIONS_MAX: usize = 1024;

/// Of these, the ones whose FPDUs are read.
const FOLLOWED_MAX: usize = 128;

/// What went by, apart from what records tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets in the capture.
    pub packets: u64,
    /// Packets of which the capture does not hold all octets.
    pub cut: u64,
    /// TCP segments.
    pub segments: u64,
    /// TCP connections.
    pub tcp_connections: u64,
    /// Connections that were given up since there were too many at a time.
    pub given_up: u64,
}

/// Follows every iWARP connection in a stream of packets.
///
/// It takes packets in the order of the capture and gives [`Record`]s. Memory is bounded whatever
/// the packets say: at most 1024 TCP connections are watched at a time, with at most 300 KiB for
/// each while it may still turn out to be iWARP; of at most 128 are FPDUs read, with 512 KiB for
/// each direction. A connection that is over takes nothing.
#[derive(Debug, Default)]
pub struct Inspector {
    connections: HashMap<(SocketAddr, SocketAddr), Entry>,
    records: Vec<Record>,
    numbers: u32,
    traffic: Traffic,
    time: u64,
}

#[derive(Debug)]
struct Entry {
    /// The end that was seen first.
    first: SocketAddr,
    connection: Connection,
}

impl Inspector {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next packet.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        self.traffic.packets += 1;
        self.traffic.cut += u64::from(packet.octets.len() < packet.original);
        self.time = packet.time;
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
                connection: Connection::new(segment),
            };
            self.connections.insert(key, entry);
        }
        let followed = self.followed();
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
        if entry.connection.is_followed() && followed > FOLLOWED_MAX {
            self.traffic.given_up += 1;
            self.close(key);
        } else if entry.connection.is_over() && segment.rst {
            self.connections.remove(&key);
        }
    }

    fn followed(&self) -> usize {
        let followed = |entry: &&Entry| entry.connection.is_followed();
        self.connections.values().filter(followed).count()
    }

    fn make_room(&mut self) {
        if self.connections.len() < CONNECTIONS_MAX {
            return;
        }
        let oldest = self
            .connections
            .iter()
            .min_by_key(|(key, entry)| (!entry.connection.is_over(), entry.connection.seen, **key))
            .map(|(key, _)| *key);
        if let Some(key) = oldest {
            let over = self
                .connections
                .get(&key)
                .is_some_and(|entry| entry.connection.is_over());
            self.traffic.given_up += u64::from(!over);
            self.close(key);
        }
    }

    fn close(&mut self, key: (SocketAddr, SocketAddr)) {
        if let Some(mut entry) = self.connections.remove(&key) {
            entry.connection.finish(&mut Output {
                records: &mut self.records,
                numbers: &mut self.numbers,
                time: self.time,
            });
        }
    }

    /// The capture has ended.
    pub fn finish(&mut self) {
        let mut keys: Vec<_> = self
            .connections
            .iter()
            .map(|(key, entry)| (entry.connection.number, *key))
            .collect();
        keys.sort();
        for (_, key) in keys {
            self.close(key);
        }
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

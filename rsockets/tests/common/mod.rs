//! Two ends of a stream on a link that the test moves: what is posted leaves, arrives, is looked at and completes
//! when the test says so, in order.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod reference;

use std::collections::VecDeque;

use uwarp_rsockets::{
    Config, ENTRY_LEN, Fault, Memory, Place, Post, ReadEnd, Request, Stream, pieces,
};

pub(crate) const TABLE_STAG: u32 = 0x0102_0304;
pub(crate) const RING_STAG: u32 = 0x0506_0708;
pub(crate) const PROGRAM_STAG: u32 = 0x090a_0b0c;
/// Tagged offsets begin where nobody expects it.
pub(crate) const TABLE_TO: u64 = 0x7777;
pub(crate) const RING_TO: u64 = 1 << 40;

pub(crate) fn memory() -> Memory {
    Memory {
        table: Place {
            to: TABLE_TO,
            stag: TABLE_STAG,
        },
        ring: Place {
            to: RING_TO,
            stag: RING_STAG,
        },
    }
}

/// What crosses the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Write { to: Place, octets: Vec<u8> },
    Send(Vec<u8>),
}

/// Registered memory: what a peer writes to is checked as an STag table would.
pub(crate) struct Registered {
    pub(crate) at: Place,
    pub(crate) octets: Vec<u8>,
}

impl Registered {
    pub(crate) fn write(&mut self, to: Place, octets: &[u8]) -> bool {
        let Some(start) = to.to.checked_sub(self.at.to).map(|start| start as usize) else {
            return false;
        };
        let fits = to.stag == self.at.stag && start + octets.len() <= self.octets.len();
        if fits {
            self.octets[start..start + octets.len()].copy_from_slice(octets);
        }
        fits
    }
}

/// The octet at each position of a stream; `seed` tells the streams of two ends apart.
pub(crate) fn pattern(seed: u8, at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ seed
}

pub(crate) struct End {
    pub(crate) stream: Stream,
    pub(crate) config: Config,
    pub(crate) send_ring: Vec<u8>,
    pub(crate) ring: Registered,
    pub(crate) table: Registered,
    /// Requests that have been given out and have not left.
    pub(crate) posted: VecDeque<Request>,
    /// Requests that have left and have not completed.
    pub(crate) left: usize,
    /// Sends that have come and have not been looked at.
    pub(crate) inbox: VecDeque<Vec<u8>>,
    /// The most that ever waited there.
    pub(crate) inbox_most: usize,
    /// Receives that are posted.
    pub(crate) receives: usize,
    pub(crate) seed: u8,
    pub(crate) written: u64,
    pub(crate) read: u64,
}

impl End {
    pub(crate) fn new(stream: Stream, config: Config, seed: u8) -> Self {
        Self {
            stream,
            config,
            send_ring: vec![0; config.send_ring as usize],
            ring: Registered {
                at: memory().ring,
                octets: vec![0; config.receive_ring as usize],
            },
            table: Registered {
                at: memory().table,
                octets: vec![0; config.table_len()],
            },
            posted: VecDeque::new(),
            left: 0,
            inbox: VecDeque::new(),
            inbox_most: 0,
            receives: config.receives() as usize,
            seed,
            written: 0,
            read: 0,
        }
    }

    /// What a driver does after each thing that it has told.
    pub(crate) fn pump(&mut self) {
        while let Some(request) = self.stream.next_request() {
            self.posted.push_back(request);
        }
        assert!(self.stream.outstanding() <= self.config.send_queue as usize);
        assert_eq!(self.stream.outstanding(), self.posted.len() + self.left);
    }

    /// The program writes up to `len` octets; returns how many were taken.
    pub(crate) fn write(&mut self, len: usize) -> usize {
        let Ok(taken) = self.stream.write(len) else {
            return 0;
        };
        assert_eq!(taken.start, self.written);
        let mut at = taken.start;
        for piece in pieces(taken.clone(), self.config.send_ring) {
            for place in piece {
                self.send_ring[place as usize] = pattern(self.seed, at);
                at += 1;
            }
        }
        self.written = taken.end;
        self.pump();
        (taken.end - taken.start) as usize
    }

    /// The program reads up to `len` octets, which have to be those that the other end wrote.
    pub(crate) fn read(&mut self, len: usize, other_seed: u8) -> usize {
        let mut range = self.stream.readable();
        range.end = range.end.min(range.start + len as u64);
        if range.is_empty() {
            return 0;
        }
        assert_eq!(range.start, self.read);
        let mut at = range.start;
        for piece in pieces(range.clone(), self.config.receive_ring) {
            for place in piece {
                let octet = self.ring.octets[place as usize];
                assert_eq!(octet, pattern(other_seed, at), "octet {at} of the stream");
                at += 1;
            }
        }
        self.read = range.end;
        self.stream.consumed(range.end - range.start);
        self.pump();
        (range.end - range.start) as usize
    }

    /// The oldest posted request leaves; its octets are those that are there now.
    pub(crate) fn transmit(&mut self) -> Option<Packet> {
        let request = self.posted.pop_front()?;
        self.left += 1;
        Some(match request.post {
            Post::Data { from, len, to } => {
                let mut octets = Vec::new();
                for piece in pieces(from..from + u64::from(len), self.config.send_ring) {
                    octets.extend(&self.send_ring[piece.start as usize..piece.end as usize]);
                }
                Packet::Write { to, octets }
            }
            Post::Entry { octets, to } => Packet::Write {
                to,
                octets: octets.to_vec(),
            },
            Post::Iomap { octets, to } => Packet::Write {
                to,
                octets: octets.to_vec(),
            },
            Post::Direct { len, to } => Packet::Write {
                to,
                octets: vec![0xdd; len as usize],
            },
            Post::Keepalive => Packet::Write {
                to: Place::default(),
                octets: Vec::new(),
            },
            Post::Message(octets) => Packet::Send(octets.to_vec()),
        })
    }

    /// A packet of the other end's arrives.
    pub(crate) fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::Write { octets, .. } if octets.is_empty() => (),
            Packet::Write { to, octets } => assert!(
                self.ring.write(to, &octets) || self.table.write(to, &octets),
                "{} octets to {to:?}, where nobody may write",
                octets.len()
            ),
            Packet::Send(octets) => {
                assert!(
                    self.receives > 0,
                    "a Send, but no receive: the connection is dead"
                );
                self.receives -= 1;
                self.inbox.push_back(octets);
                self.inbox_most = self.inbox_most.max(self.inbox.len());
            }
        }
    }

    /// The driver looks at the oldest Send, and posts its receive again.
    pub(crate) fn process(&mut self) -> Option<Result<(), Fault>> {
        let octets = self.inbox.pop_front()?;
        self.receives += 1;
        let table = &mut self.table.octets;
        let outcome = self.stream.received(&octets, |index| {
            let at = index as usize * ENTRY_LEN;
            let entry = table[at..at + ENTRY_LEN].try_into().expect("16 octets");
            table[at..at + ENTRY_LEN].fill(0);
            entry
        });
        self.pump();
        Some(outcome)
    }

    /// The oldest request that has left completes.
    pub(crate) fn complete(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.stream.completed();
        self.pump();
        true
    }

    pub(crate) fn read_end(&self) -> Option<ReadEnd> {
        self.stream.read_end()
    }
}

/// Two ends and the link between them.
pub(crate) struct Pair {
    pub(crate) ends: [End; 2],
    /// What is under way from each end.
    pub(crate) wire: [VecDeque<Packet>; 2],
}

impl Pair {
    pub(crate) fn new(configs: [Config; 2]) -> Self {
        let request = Stream::request(&configs[0], &memory()).expect("a good configuration");
        let (responder, reply) =
            Stream::responder(&configs[1], &memory(), &request).expect("a good request");
        let initiator = Stream::initiator(&configs[0], &memory(), &reply).expect("a good reply");
        let mut pair = Self {
            ends: [
                End::new(initiator, configs[0], 0x11),
                End::new(responder, configs[1], 0x22),
            ],
            wire: [VecDeque::new(), VecDeque::new()],
        };
        pair.ends[0].pump();
        pair.ends[1].pump();
        pair
    }

    pub(crate) fn read(&mut self, end: usize, len: usize) -> usize {
        let seed = self.ends[1 - end].seed;
        self.ends[end].read(len, seed)
    }

    pub(crate) fn transmit(&mut self, end: usize) -> bool {
        let packet = self.ends[end].transmit();
        packet.is_some_and(|packet| {
            self.wire[end].push_back(packet);
            true
        })
    }

    pub(crate) fn deliver(&mut self, from: usize) -> bool {
        let packet = self.wire[from].pop_front();
        packet.is_some_and(|packet| {
            self.ends[1 - from].arrive(packet);
            true
        })
    }

    /// Moves everything but the programs, until nothing moves. No end may find a fault.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for end in [0, 1] {
                while self.transmit(end) {
                    moved = true;
                }
                while self.deliver(end) {
                    moved = true;
                }
                while let Some(outcome) = self.ends[1 - end].process() {
                    assert_eq!(outcome, Ok(()));
                    moved = true;
                }
                while self.ends[end].complete() {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Settles, and has both programs read all that there is, until nothing moves.
    pub(crate) fn drain(&mut self) {
        loop {
            self.settle();
            let read = self.read(0, usize::MAX >> 1) + self.read(1, usize::MAX >> 1);
            if read == 0 {
                return;
            }
        }
    }
}

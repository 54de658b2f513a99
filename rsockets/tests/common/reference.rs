//! A model of rsockets itself, made from what is known of it, so that our end is tried against the other
//! program's habits: it looks at what has come only while its program is inside a call; it has one receive for each
//! credit; it reads its table whenever it wants to send; and it never checks anything.

use std::collections::VecDeque;

use uwarp_rsockets::{ByteOrder, ENTRY_LEN, Entry, Hello, Memory, Message, Place, TABLE_ENTRIES};

use super::{Packet, Registered, pattern};

pub(crate) struct Reference {
    peer: Hello,
    half: u32,
    rq_size: u16,
    pub(crate) table: Registered,
    pub(crate) ring: Registered,
    out: VecDeque<Packet>,
    /// Sends that have come and have not been fetched, and the receives that are left.
    inbox: VecDeque<[u8; 4]>,
    receives: u32,
    sseq: u16,
    limit: u16,
    current: u32,
    rseq: u16,
    rseq_comp: u16,
    freed: u32,
    next_half: u32,
    next_index: u32,
    /// Messages that have come and have not been read to their end.
    messages: VecDeque<u32>,
    ring_at: u32,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) ended: bool,
    seed: u8,
}

impl Reference {
    /// The end of a program with a ring of `rbuf` octets and `rq_size` receives, whose peer said `hello`.
    pub(crate) fn new(hello: &[u8], memory: &Memory, rbuf: u32, rq_size: u16, seed: u8) -> Self {
        let peer = Hello::decode(hello).expect("the private data of our end");
        let mut table = vec![0; TABLE_ENTRIES as usize * ENTRY_LEN];
        // The first buffer comes with the private data, and is put into the table.
        table[..ENTRY_LEN].copy_from_slice(&peer.buffer.encode(ByteOrder::Little));
        Self {
            peer,
            half: rbuf / 2,
            rq_size,
            table: Registered {
                at: memory.table,
                octets: table,
            },
            ring: Registered {
                at: memory.ring,
                octets: vec![0; rbuf as usize],
            },
            out: VecDeque::new(),
            inbox: VecDeque::new(),
            receives: u32::from(rq_size),
            sseq: 0,
            limit: peer.credits,
            current: 0,
            rseq: 0,
            rseq_comp: rq_size / 2,
            freed: rbuf / 2,
            next_half: 1,
            next_index: 1,
            messages: VecDeque::new(),
            ring_at: 0,
            sent: 0,
            received: 0,
            ended: false,
            seed,
        }
    }

    pub(crate) fn hello(memory: &Memory, rbuf: u32, rq_size: u16) -> Vec<u8> {
        let hello = Hello {
            order: ByteOrder::Little,
            credits: rq_size,
            iomap: 0,
            table: Entry {
                place: memory.table,
                len: TABLE_ENTRIES,
            },
            buffer: Entry {
                place: memory.ring,
                len: rbuf / 2,
            },
        };
        hello.encode().to_vec()
    }

    pub(crate) fn transmit(&mut self) -> Option<Packet> {
        self.out.pop_front()
    }

    /// The network card's part: it needs no program.
    pub(crate) fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::Write { octets, .. } if octets.is_empty() => (),
            Packet::Write { to, octets } => {
                assert!(self.ring.write(to, &octets) || self.table.write(to, &octets));
            }
            Packet::Send(octets) => {
                assert!(
                    self.receives > 0,
                    "more Sends than receives while the program slept: Terminate"
                );
                self.receives -= 1;
                self.inbox
                    .push_back(octets.try_into().expect("4 octets each"));
            }
        }
    }

    fn say(&mut self, message: Message) {
        let octets = message.encode(ByteOrder::Little);
        self.out.push_back(Packet::Send(octets.to_vec()));
    }

    fn write(&mut self, to: Place, octets: Vec<u8>) {
        self.out.push_back(Packet::Write { to, octets });
    }

    /// A pass over the completion queue, as it happens inside the program's calls only.
    pub(crate) fn poll(&mut self) {
        while let Some(octets) = self.inbox.pop_front() {
            self.receives += 1;
            match Message::decode(octets, ByteOrder::Little) {
                Message::Data(len) => self.messages.push_back(len),
                Message::Grant(limit) => self.limit = limit,
                Message::Disconnect | Message::Shutdown => self.ended = true,
                _ => (),
            }
        }
        self.grant();
    }

    fn grant(&mut self) {
        let whole_half = self.freed >= self.half;
        if !whole_half && (self.rseq.wrapping_sub(self.rseq_comp) as i16) < 0 {
            return;
        }
        if whole_half {
            let mut at = self.ring.at;
            at.to += u64::from(self.next_half * self.half);
            let entry = Entry {
                place: at,
                len: self.half,
            };
            let mut to = self.peer.table.place;
            to.to += u64::from(self.next_index) * ENTRY_LEN as u64;
            self.write(to, entry.encode(ByteOrder::Little).to_vec());
            self.next_half = 1 - self.next_half;
            self.next_index = (self.next_index + 1) % self.peer.table.len;
            self.freed -= self.half;
        }
        self.say(Message::Grant(self.rseq.wrapping_add(self.rq_size)));
        self.rseq_comp = self.rseq.wrapping_add(self.rq_size / 2);
    }

    /// What a non-blocking rsend of `len` octets does; returns what was taken.
    pub(crate) fn send(&mut self, len: usize) -> usize {
        let (mut chunk, mut taken) = (2048, 0);
        while taken < len {
            let at = self.current as usize * ENTRY_LEN;
            let octets = &self.table.octets[at..at + ENTRY_LEN];
            let entry = Entry::decode(octets.try_into().expect("16"), ByteOrder::Little);
            if self.sseq == self.limit || entry.len == 0 {
                self.poll();
                let octets = &self.table.octets[at..at + ENTRY_LEN];
                let entry = Entry::decode(octets.try_into().expect("16"), ByteOrder::Little);
                if self.sseq == self.limit || entry.len == 0 {
                    return taken;
                }
                continue;
            }
            let n = (len - taken).min(chunk).min(entry.len as usize);
            chunk = (chunk * 2).min(65536);
            let octets = (0..n as u64)
                .map(|by| pattern(self.seed, self.sent + by))
                .collect();
            self.write(entry.place, octets);
            let left = Entry {
                place: Place {
                    to: entry.place.to + n as u64,
                    ..entry.place
                },
                len: entry.len - n as u32,
            };
            self.table.octets[at..at + ENTRY_LEN].copy_from_slice(&left.encode(ByteOrder::Little));
            if left.len == 0 {
                self.current = (self.current + 1) % TABLE_ENTRIES;
            }
            self.sseq = self.sseq.wrapping_add(1);
            self.say(Message::Data(n as u32));
            self.sent += n as u64;
            taken += n;
        }
        taken
    }

    /// What a non-blocking rrecv of up to `len` octets does; the octets have to be those of `other_seed`.
    pub(crate) fn recv(&mut self, len: usize, other_seed: u8) -> usize {
        if self.messages.is_empty() {
            self.poll();
        }
        let mut read = 0;
        while read < len {
            let Some(message) = self.messages.front_mut() else {
                break;
            };
            let n = (*message).min((len - read) as u32);
            *message -= n;
            for _ in 0..n {
                let octet = self.ring.octets[self.ring_at as usize];
                assert_eq!(octet, pattern(other_seed, self.received));
                self.ring_at = (self.ring_at + 1) % (2 * self.half);
                self.received += 1;
            }
            if *message == 0 {
                self.messages.pop_front();
                self.rseq = self.rseq.wrapping_add(1);
            }
            self.freed += n;
            read += n as usize;
        }
        read
    }

    pub(crate) fn close(&mut self) {
        self.say(Message::Disconnect);
    }
}

//! Our end and rsockets' habits.

mod common;

use common::reference::Reference;
use common::{End, Packet, memory};
use proptest::prelude::*;
use uwarp_rsockets::{Config, Place, Post, ReadEnd, Stream};

struct Mixed {
    ours: End,
    theirs: Reference,
}

const OURS: u8 = 0x33;
const THEIRS: u8 = 0x44;

impl Mixed {
    fn new(config: Config, rbuf: u32, rq_size: u16) -> Self {
        let hello = Reference::hello(&memory(), rbuf, rq_size);
        let (stream, reply) =
            Stream::responder(&config, &memory(), &hello).expect("a good request");
        let mut ours = End::new(stream, config, OURS);
        ours.pump();
        Self {
            ours,
            theirs: Reference::new(&reply, &memory(), rbuf, rq_size, THEIRS),
        }
    }

    /// The network and our driver do what they can; their program sleeps.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(packet) = self.ours.transmit() {
                self.theirs.arrive(packet);
                moved = true;
            }
            while self.ours.complete() {
                moved = true;
            }
            while let Some(packet) = self.theirs.transmit() {
                self.ours.arrive(packet);
                moved = true;
            }
            while let Some(outcome) = self.ours.process() {
                assert_eq!(outcome, Ok(()));
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    fn drain(&mut self) {
        let mut idle_rounds = 0;
        loop {
            assert!(idle_rounds < 10, "the streams are stuck");
            self.settle();
            self.theirs.poll();
            let read = self.ours.read(usize::MAX >> 1, THEIRS) + self.theirs.recv(usize::MAX, OURS);
            if read == 0 {
                if self.theirs_is_idle() {
                    return;
                }
                idle_rounds += 1;
            } else {
                idle_rounds = 0;
            }
        }
    }

    fn theirs_is_idle(&mut self) -> bool {
        self.settle();
        self.ours.stream.readable().is_empty() && self.theirs.received == self.ours.written
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    OurWrite(usize),
    OurRead(usize),
    TheirSend(usize),
    TheirRecv(usize),
    TheirPoll,
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..20_000usize).prop_map(Step::OurWrite),
        4 => (1..20usize).prop_map(Step::OurWrite),
        2 => (1..20_000usize).prop_map(Step::OurRead),
        2 => (1..20_000usize).prop_map(Step::TheirSend),
        2 => (1..20usize).prop_map(Step::TheirSend),
        2 => (1..20_000usize).prop_map(Step::TheirRecv),
        1 => Just(Step::TheirPoll),
        6 => Just(Step::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the programs do, and however long rsockets' program looks away, every octet arrives and no Send of
    /// ours finds it without a receive.
    #[test]
    fn octets_pass_both_ways(
        steps in prop::collection::vec(step(), 0..400),
        rbuf in prop_oneof![Just(1u32 << 17), 1000..5000u32],
        rq_size in prop_oneof![Just(384u16), 16..64u16],
        ring in 500..40_000u32,
    ) {
        let config = Config { receive_ring: ring * 2, ..Config::default() };
        let mut mixed = Mixed::new(config, rbuf / 2 * 2, rq_size);
        for step in steps {
            match step {
                Step::OurWrite(len) => { mixed.ours.write(len); }
                Step::OurRead(len) => { mixed.ours.read(len, THEIRS); }
                Step::TheirSend(len) => { mixed.theirs.send(len); }
                Step::TheirRecv(len) => { mixed.theirs.recv(len, OURS); }
                Step::TheirPoll => mixed.theirs.poll(),
                Step::Settle => mixed.settle(),
            }
        }
        mixed.drain();
        prop_assert_eq!(mixed.ours.read, mixed.theirs.sent);
        prop_assert_eq!(mixed.theirs.received, mixed.ours.written);
    }
}

/// With its default sizes rsockets is killed by rsockets this way.
#[test]
fn a_program_that_sleeps_is_not_overrun() {
    let mut mixed = Mixed::new(Config::default(), 1 << 17, 384);
    for _ in 0..600 {
        assert_eq!(mixed.ours.write(1), 1);
        mixed.settle();
    }
    mixed.drain();
    assert_eq!(mixed.theirs.received, 600);
}

/// Grants cost no credit, but each takes a receive of a peer that only sends.
#[test]
fn a_peer_that_only_sends_is_not_overrun_by_grants() {
    for (rq_size, ring) in [(384, 1 << 17), (16, 1 << 17), (16, 1 << 12)] {
        let config = Config {
            receive_ring: ring,
            ..Config::default()
        };
        let mut mixed = Mixed::new(config, 1 << 17, rq_size);
        let mut sent = 0;
        while sent < 4 << 20 {
            sent += mixed.theirs.send(10_000);
            mixed.settle();
            mixed.ours.read(usize::MAX >> 1, THEIRS);
            mixed.settle();
        }
        mixed.drain();
        assert_eq!(mixed.ours.read, sent as u64);
    }
}

#[test]
fn its_last_word_ends_the_stream() {
    let mut mixed = Mixed::new(Config::default(), 1 << 17, 384);
    assert_eq!(mixed.theirs.send(5000), 5000);
    mixed.theirs.close();
    mixed.settle();
    assert_eq!(mixed.ours.read_end(), None);
    assert_eq!(mixed.ours.read(9999, THEIRS), 5000);
    assert_eq!(mixed.ours.read_end(), Some(ReadEnd::Eof));
    assert!(mixed.ours.stream.is_finished());
}

#[test]
fn our_last_word_ends_theirs() {
    let mut mixed = Mixed::new(Config::default(), 1 << 17, 384);
    mixed.ours.write(5000);
    mixed.ours.stream.close();
    mixed.ours.pump();
    mixed.drain();
    assert!(mixed.theirs.ended && mixed.ours.stream.is_finished());
}

/// What one rsockets program said to another in a capture, from the private data on.
#[test]
fn the_first_octets_are_those_of_a_capture() {
    let client_hello = "0102018000000000\
                        0000555d653ac000310c220000000002\
                        00007f0e696060001f59f80000080000";
    let server_hello = "0102018000000000\
                        00007f7eec003000cca90d0000000002\
                        00007f7ef2322000e097f10000080000";
    let config = Config {
        receive_ring: 1 << 20,
        send_ring: 1 << 20,
        ..Config::default()
    };
    let place = |stag, to| Place { to, stag };
    let client_memory = uwarp_rsockets::Memory {
        table: place(0x310c_2200, 0x555d_653a_c000),
        ring: place(0x1f59_f800, 0x7f0e_6960_6000),
    };
    let server_memory = uwarp_rsockets::Memory {
        table: place(0xcca9_0d00, 0x7f7e_ec00_3000),
        ring: place(0xe097_f100, 0x7f7e_f232_2000),
    };
    let request = Stream::request(&config, &client_memory).expect("a good configuration");
    assert_eq!(hex::encode(request), client_hello);
    let (mut server, reply) =
        Stream::responder(&config, &server_memory, &request).expect("a good request");
    assert_eq!(hex::encode(reply), server_hello);
    let mut client = Stream::initiator(&config, &client_memory, &reply).expect("a good reply");

    let posts = |stream: &mut Stream| -> Vec<Post> {
        std::iter::from_fn(|| stream.next_request().map(|request| request.post)).collect()
    };
    let octets = |text: &str| hex::decode(text).expect("it is hex");
    let entry = |text: &str| octets(text).try_into().expect("16 octets");
    let grant = Post::Message([0x80, 1, 0, 0x80]);
    let data = Post::Message([0x10, 0, 0, 0]);

    // The client's first grant and its first 16 octets (frames 8 to 14).
    let first = Post::Entry {
        octets: entry("006068690e7f000000f8591f00000800"),
        to: place(0xcca9_0d00, 0x7f7e_ec00_3010),
    };
    assert_eq!(posts(&mut client), [first, grant]);
    assert_eq!(client.write(16), Ok(0..16));
    let written = Post::Data {
        from: 0,
        len: 16,
        to: place(0xe097_f100, 0x7f7e_f232_2000),
    };
    assert_eq!(posts(&mut client), [written, data]);

    // The server's grant and answer (frames 16 to 20).
    let table = entry("006068690e7f000000f8591f00000800");
    assert_eq!(server.received(&[0x80, 1, 0, 0x80], |_| table), Ok(()));
    assert_eq!(server.received(&[0x10, 0, 0, 0], |_| [0; 16]), Ok(()));
    let answer = Post::Entry {
        octets: entry("00203af27e7f000000f197e000000800"),
        to: place(0x310c_2200, 0x555d_653a_c010),
    };
    assert_eq!(posts(&mut server), [answer, grant]);
    assert_eq!(server.write(16), Ok(0..16));
    let written = Post::Data {
        from: 0,
        len: 16,
        to: place(0x1f59_f800, 0x7f0e_6960_6000),
    };
    assert_eq!(posts(&mut server), [written, data]);
}

/// A keep-alive writes nothing, and nothing answers it.
#[test]
fn a_keep_alive_is_an_empty_write() {
    let mut mixed = Mixed::new(Config::default(), 1 << 17, 384);
    mixed.settle();
    mixed.ours.stream.keep_alive();
    mixed.ours.pump();
    let empty = Packet::Write {
        to: Place::default(),
        octets: Vec::new(),
    };
    assert_eq!(mixed.ours.transmit(), Some(empty));
    assert_eq!(mixed.ours.transmit(), None);
}

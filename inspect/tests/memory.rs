//! What packets say does not make the inspector take more memory than it states.
//!
//! The allocator of this program counts. So all of it is one test: nothing else may run beside it.

use std::net::SocketAddr;

use peak_alloc::PeakAlloc;
use uwarp_inspect::{Inspector, Segment};
use uwarp_mpa::{Enhanced, FpduSink, Frame, FrameKind, Framer, RtrSet};
use uwarp_rdmap::header::{Control, Opcode};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What the inspector may take for connections.
const LIMIT: usize = 8 << 20;

/// And beside that: the table of connections, and the records of one packet.
const BESIDE: usize = 4 << 20;

/// A stream of segments for the inspector, and a watch over its memory.
struct Hostile {
    inspector: Inspector,
    time: u64,
    before: usize,
    segments: u64,
    most: usize,
}

impl Hostile {
    fn new() -> Self {
        Self {
            before: ALLOCATOR.current_usage(),
            inspector: Inspector::with_memory(LIMIT),
            time: 0,
            segments: 0,
            most: 0,
        }
    }

    /// A segment of a connection, one way or the other.
    fn segment(&mut self, connection: u32, back: bool, sequence: u32, syn: bool, payload: &[u8]) {
        let client = SocketAddr::from(([10, (connection >> 16) as u8, 0, 1], connection as u16));
        let server = SocketAddr::from(([10, 0, 0, 2], 5000));
        let (source, destination) = if back {
            (server, client)
        } else {
            (client, server)
        };
        self.time += 1;
        self.segments += 1;
        self.inspector.segment(&Segment {
            time: self.time,
            source,
            destination,
            sequence,
            acknowledgment: 0,
            syn,
            ack: false,
            fin: false,
            rst: false,
            mss: None,
            payload,
            missing: 0,
        });
        drop(self.inspector.take_records());
        let taken = ALLOCATOR.current_usage().saturating_sub(self.before);
        self.most = self.most.max(taken);
        assert!(self.inspector.memory() <= LIMIT);
        assert!(
            taken <= self.inspector.memory() + BESIDE,
            "{taken} octets are taken, {} are counted, after {} segments",
            self.inspector.memory(),
            self.segments
        );
    }

    /// SYNs and startup frames; sequence numbers are 0 for the first octet of Full Operation.
    fn set_up(&mut self, connection: u32, markers: bool) {
        let request = frame(FrameKind::Request, false);
        let reply = frame(FrameKind::Reply, markers);
        let first = 0u32.wrapping_sub(request.len() as u32);
        self.segment(connection, false, first.wrapping_sub(1), true, &[]);
        self.segment(connection, true, first.wrapping_sub(1), true, &[]);
        self.segment(connection, false, first, false, &request);
        self.segment(connection, true, first, false, &reply);
    }

    /// The end of a scenario: everything is given back.
    fn finish(mut self, name: &str) {
        let mut records = 0;
        while self.inspector.finish_one() {
            records += self.inspector.take_records().len();
            let taken = ALLOCATOR.current_usage().saturating_sub(self.before);
            assert!(taken <= self.inspector.memory() + BESIDE, "{name}: {taken}");
        }
        drop(self.inspector);
        let left = ALLOCATOR.current_usage().saturating_sub(self.before);
        println!(
            "{name}: {} segments, at most {} KiB, {records} records at the end",
            self.segments,
            self.most >> 10
        );
        assert!(left < 64 << 10, "{name} leaves {left} octets");
    }
}

fn frame(kind: FrameKind, markers: bool) -> Vec<u8> {
    let words = Enhanced {
        ird: 0x3fff,
        ord: 0x3fff,
        peer_to_peer: false,
        rtr: RtrSet::NONE,
    };
    Frame {
        kind,
        markers,
        crc: false,
        rejected: false,
        enhanced: true,
        revision: 2,
        private_data: words.encode().to_vec(),
    }
    .encode()
    .unwrap()
}

struct Sink(Vec<u8>);

impl FpduSink for Sink {
    fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }
    fn payload(&mut self, _: std::ops::Range<u32>) {}
    fn payload_crc(&mut self, crc: u32, _: std::ops::Range<u32>) -> u32 {
        crc
    }
}

/// A stream of Read Requests, or of empty Writes.
fn stream(markers: bool, octets: usize, reads: bool) -> Vec<u8> {
    let mut framer = Framer::new(markers, false);
    let mut sink = Sink(Vec::new());
    let mut msn = 0u32;
    while sink.0.len() < octets {
        let mut ulpdu = vec![0; 46];
        if reads {
            msn += 1;
            ulpdu[..2].copy_from_slice(&[0x41, Control::new(Opcode::READ_REQUEST).0]);
            ulpdu[9] = 1;
            ulpdu[10..14].copy_from_slice(&msn.to_be_bytes());
        } else {
            ulpdu[..2].copy_from_slice(&[0xc1, Control::new(Opcode::WRITE).0]);
            ulpdu.truncate(14);
        }
        framer.frame(&ulpdu, 0..0, &mut sink).unwrap();
    }
    sink.0
}

#[test]
fn memory_is_bounded() {
    syns();
    noise_in_the_middle();
    noise_in_small_pieces();
    octets_behind_requests();
    holes_that_never_close();
    fpdus_behind_a_hole();
    requests_without_answers();
}

/// More connections than are watched.
fn syns() {
    let mut hostile = Hostile::new();
    for connection in 0..20_000 {
        hostile.segment(connection, false, 1, true, &[]);
    }
    hostile.finish("SYNs");
}

/// Connections without a beginning, so that FPDUs are looked for in what is none.
fn noise_in_the_middle() {
    let mut hostile = Hostile::new();
    let noise = vec![0xff; 60_000];
    for connection in 0..30 {
        for part in 0..4 {
            let sequence = part * noise.len() as u32;
            hostile.segment(connection, part % 2 == 1, sequence, false, &noise);
        }
    }
    hostile.finish("noise");
}

/// The same behind a hole, in pieces of one octet none of which touches another.
fn noise_in_small_pieces() {
    let mut hostile = Hostile::new();
    for connection in 0..60 {
        hostile.segment(connection, false, 0, true, &[]);
        for piece in 0..1000 {
            hostile.segment(connection, false, 1000 + 2 * piece, false, &[1]);
        }
    }
    hostile.finish("pieces");
}

/// Requests that nobody answers, and octets behind them.
fn octets_behind_requests() {
    let mut hostile = Hostile::new();
    let request = frame(FrameKind::Request, false);
    for connection in 0..60 {
        hostile.segment(connection, false, 0, true, &[]);
        hostile.segment(connection, false, 1, false, &request);
        let first = 1 + request.len() as u32;
        for piece in 0..300 {
            let len = if connection % 2 == 0 { 1 } else { 2000 };
            hostile.segment(
                connection,
                false,
                first + 5000 * piece,
                false,
                &vec![1; len],
            );
        }
    }
    hostile.finish("behind Requests");
}

/// Connections that are followed, all octets of which are behind holes.
fn holes_that_never_close() {
    let mut hostile = Hostile::new();
    for connection in 0..30 {
        hostile.set_up(connection, connection % 2 == 0);
        for piece in 0..300u32 {
            let back = piece % 2 == 1;
            hostile.segment(connection, back, 100 + 800 * piece, false, &[0xaa; 700]);
        }
    }
    hostile.finish("holes");
}

/// Small FPDUs that markers make known behind a hole.
fn fpdus_behind_a_hole() {
    let stream = stream(true, 250_000, false);
    let mut hostile = Hostile::new();
    for connection in 0..6 {
        hostile.set_up(connection, true);
        for (index, piece) in stream.chunks(1024).enumerate().skip(1) {
            hostile.segment(connection, false, 1024 * index as u32, false, piece);
        }
    }
    // One of these holes closes: its records come all at once.
    hostile.segment(5, false, 0, false, &stream[..512]);
    hostile.finish("FPDUs behind a hole");
}

/// Reads without end, and no answers.
fn requests_without_answers() {
    let stream = stream(false, 1_000_000, true);
    let mut hostile = Hostile::new();
    for connection in 0..4 {
        hostile.set_up(connection, false);
        for (index, piece) in stream.chunks(20_000).enumerate() {
            hostile.segment(connection, false, 20_000 * index as u32, false, piece);
        }
    }
    hostile.finish("requests");
}

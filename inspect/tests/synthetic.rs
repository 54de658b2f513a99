//! Captures of our own, with markers, CRC and every kind of message: decoded as tshark decodes them,
//! and the same in every order, cut and repetition of their TCP segments. And noise, which must not
//! do any harm.

mod common;

use etherparse::PacketBuilder;
use proptest::prelude::*;
use serde_json::Value;
use uwarp_ddp::{Segmenter, Stag, UNTAGGED_LEN};
use uwarp_inspect::{Inspector, Packet, Record, Summary, What};
use uwarp_mpa::{Enhanced, FpduSink, Frame, FrameKind, Framer, RtrSet, crc};
use uwarp_rdmap::header::{Control, Opcode};

const ETHERNET: i32 = 1;

#[derive(Default)]
struct Wire(Vec<u8>, Vec<u8>);

impl FpduSink for Wire {
    fn octets(&mut self, octets: &[u8]) {
        self.1.extend_from_slice(octets);
    }
    fn payload(&mut self, range: std::ops::Range<u32>) {
        self.1
            .extend_from_slice(&self.0[range.start as usize..range.end as usize]);
    }
    fn payload_crc(&mut self, crc: u32, range: std::ops::Range<u32>) -> u32 {
        crc::append(crc, &self.0[range.start as usize..range.end as usize])
    }
}

fn startup(kind: FrameKind, markers: bool, crc: bool) -> Vec<u8> {
    let words = Enhanced {
        ird: 4,
        ord: 4,
        peer_to_peer: false,
        rtr: RtrSet::NONE,
    };
    Frame {
        kind,
        markers,
        crc,
        rejected: false,
        enhanced: true,
        revision: 2,
        private_data: words.encode().to_vec(),
    }
    .encode()
    .unwrap()
}

/// FPDUs of messages with these opcodes and lengths.
fn fpdus(messages: &[(Opcode, usize)], markers: bool, crc: bool, mulpdu: u16) -> Vec<u8> {
    let mut framer = Framer::new(markers, crc);
    let (mut wire, mut msn) = (Vec::new(), 0);
    for (index, &(opcode, len)) in messages.iter().enumerate() {
        let payload: Vec<u8> = (0..len).map(|at| (at * 3 + index * 17) as u8).collect();
        let ulp = Control::new(opcode).0;
        let mut segmenter = if opcode == Opcode::WRITE {
            Segmenter::tagged(
                ulp,
                Stag(0x1000 + index as u32),
                0x7f00_0000_0000,
                len as u32,
            )
            .unwrap()
        } else {
            msn += 1;
            let word = if opcode.invalidates() { 0xabcd } else { 0 };
            Segmenter::untagged(ulp, word, 0, msn, len as u32)
        };
        while let Some(segment) = segmenter.next(mulpdu) {
            let mut head = [0; UNTAGGED_LEN];
            let head_len = segment.header.encode(&mut head);
            let mut sink = Wire(payload.clone(), Vec::new());
            framer
                .frame(&head[..head_len], segment.payload, &mut sink)
                .unwrap();
            wire.append(&mut sink.1);
        }
    }
    wire
}

/// One TCP segment from the initiator or the responder.
fn packet(initiator: bool, sequence: u32, syn: bool, payload: &[u8]) -> Vec<u8> {
    let (from, to) = if initiator { (1, 2) } else { (2, 1) };
    let ports = if initiator {
        (40_000, 5000)
    } else {
        (5000, 40_000)
    };
    let builder = PacketBuilder::ethernet2([from; 6], [to; 6])
        .ipv4([10, 0, 0, from], [10, 0, 0, to], 64)
        .tcp(ports.0, ports.1, sequence, 60_000);
    // Without ACK, so that no octets count as lost to the capture because the other end has had them.
    let builder = if syn { builder.syn() } else { builder };
    let mut out = Vec::new();
    builder.write(&mut out, payload).unwrap();
    out
}

/// A connection whose initiator sends `stream`, in these pieces.
struct Case {
    stream: Vec<u8>,
    markers: bool,
    crc: bool,
    first: u32,
}

impl Case {
    fn packets(&self, pieces: &[(usize, usize)]) -> Vec<Vec<u8>> {
        let request = startup(FrameKind::Request, false, self.crc);
        let reply = startup(FrameKind::Reply, self.markers, self.crc);
        let begin = self.first.wrapping_add(1);
        let mut packets = vec![
            packet(true, self.first, true, &[]),
            packet(false, 77, true, &[]),
            packet(true, begin, false, &request),
            packet(false, 78, false, &reply),
        ];
        let begin = begin.wrapping_add(request.len() as u32);
        packets.extend(pieces.iter().map(|&(start, end)| {
            packet(
                true,
                begin.wrapping_add(start as u32),
                false,
                &self.stream[start..end],
            )
        }));
        packets
    }
}

fn inspect(packets: &[Vec<u8>]) -> Vec<Record> {
    let mut inspector = Inspector::new();
    for (at, octets) in packets.iter().enumerate() {
        inspector.packet(&Packet {
            time: at as u64 * 1000,
            link: ETHERNET,
            octets,
            original: octets.len(),
        });
    }
    inspector.finish();
    inspector.take_records()
}

/// What does not depend on when the segments came.
fn timeless(records: &[Record]) -> Vec<(u64, What)> {
    let timeless = records.iter().map(|record| {
        let mut what = record.what.clone();
        if let What::Fpdu(fpdu) = &mut what {
            fpdu.early = false;
        }
        (record.position, what)
    });
    timeless.collect()
}

fn summary(records: &[Record]) -> Summary {
    let mut summary = Summary::default();
    records.iter().for_each(|record| summary.count(record));
    summary
}

fn messages() -> impl Strategy<Value = Vec<(Opcode, usize)>> {
    let opcode = prop_oneof![
        Just(Opcode::WRITE),
        Just(Opcode::SEND),
        Just(Opcode::SEND_SOLICITED),
        Just(Opcode::SEND_INVALIDATE),
    ];
    proptest::collection::vec((opcode, 0usize..3000), 1..10)
}

/// The stream cut every `step` octets.
fn cut(len: usize, step: usize) -> Vec<(usize, usize)> {
    (0..len)
        .step_by(step)
        .map(|at| (at, (at + step).min(len)))
        .collect()
}

fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for end in (1..items.len()).rev() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        items.swap(end, (seed >> 33) as usize % (end + 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_order_gives_the_same_messages(
        messages in messages(),
        markers: bool,
        crc: bool,
        first in prop_oneof![any::<u32>(), Just(u32::MAX - 500)],
        step in 50usize..1400,
        again in proptest::collection::vec((any::<prop::sample::Index>(), 1usize..1400), 0..20),
        seed: u64,
    ) {
        let stream = fpdus(&messages, markers, crc, 1400);
        let total = stream.len();
        let case = Case { stream, markers, crc, first };
        let ordered = inspect(&case.packets(&cut(total, 1400)));
        let summary = summary(&ordered);
        prop_assert!(summary.violations.is_empty(), "{:?}", summary.violations);
        let told: u64 = summary.operations.values().map(|operations| operations.messages).sum();
        prop_assert_eq!(told, messages.len() as u64);
        prop_assert_eq!(summary.fpdu_octets, total as u64);
        prop_assert_eq!(summary.markers, if markers { total.div_ceil(512) as u64 } else { 0 });
        let checked = if crc { summary.fpdus } else { 0 };
        prop_assert_eq!(summary.crc.checked, checked);

        let mut pieces = cut(total, step);
        pieces.extend(again.iter().map(|(at, len)| (at.index(total), (at.index(total) + len).min(total))));
        shuffle(&mut pieces, seed);
        prop_assert_eq!(timeless(&inspect(&case.packets(&pieces))), timeless(&ordered));
    }

    #[test]
    fn noise_does_no_harm(
        packets in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..200), prop_oneof![Just(1), Just(0), Just(101), Just(113), Just(276), Just(7)]),
            0..60,
        ),
        payloads in proptest::collection::vec((any::<bool>(), any::<u32>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..900)), 0..60),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let mut inspector = Inspector::new();
        for (octets, link) in &packets {
            inspector.packet(&Packet { time: 0, link: *link, octets, original: 0 });
        }
        for (initiator, sequence, syn, payload) in &payloads {
            let octets = packet(*initiator, sequence % 5000, *syn, payload);
            inspector.packet(&Packet { time: 0, link: ETHERNET, octets: &octets, original: 0 });
        }
        // A sound connection in which octets are changed, headers and frames included.
        let stream = fpdus(&[(Opcode::SEND, 900), (Opcode::WRITE, 2000)], true, true, 700);
        let case = Case { markers: true, crc: true, first: 9, stream };
        let mut sound = case.packets(&cut(case.stream.len(), 500));
        for (which, at, value) in &flips {
            let index = which.index(sound.len());
            let at = at.index(sound[index].len());
            sound[index][at] ^= value;
        }
        for octets in &sound {
            inspector.packet(&Packet { time: 0, link: ETHERNET, octets, original: 0 });
        }
        inspector.finish();
        prop_assert!(inspector.take_records().len() < 2000);
        let _ = uwarp_inspect::read(std::io::Cursor::new(packets.concat_octets()), |_| {});
    }
}

trait Octets {
    fn concat_octets(&self) -> Vec<u8>;
}

impl Octets for Vec<(Vec<u8>, i32)> {
    fn concat_octets(&self) -> Vec<u8> {
        let mut out = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
        self.iter().for_each(|(octets, _)| out.extend(octets));
        out
    }
}

/// A pcap file with these packets.
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 1 << 18, ETHERNET as u32] {
        out.extend(word.to_le_bytes());
    }
    for (at, packet) in packets.iter().enumerate() {
        let len = packet.len() as u32;
        for word in [1, at as u32, len, len] {
            out.extend(word.to_le_bytes());
        }
        out.extend(packet);
    }
    out
}

/// Sends of one segment each: put together from several, tshark 4.0 reports a "BoundError" on these
/// (the real captures have Sends of several segments that it does read).
fn all_kinds() -> Vec<(Opcode, usize)> {
    let opcodes = [
        (Opcode::SEND, 1000),
        (Opcode::WRITE, 4000),
        (Opcode::SEND_SOLICITED, 1000),
        (Opcode::SEND_INVALIDATE, 1000),
        (Opcode::SEND_SOLICITED_INVALIDATE, 1000),
    ];
    opcodes
        .iter()
        .flat_map(|&(opcode, most)| [(opcode, 0), (opcode, 33), (opcode, most)])
        .collect()
}

/// tshark puts segments in order itself, if it is told to. Of these streams with markers tshark 4.0
/// shows no FPDU, so there is nothing to compare with; `every_order_gives_the_same_messages` has them.
#[test]
fn fpdus_are_those_of_tshark() {
    if !common::tshark::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (markers, crc, first) in [
        (false, true, 1),
        (false, false, 5),
        (false, true, u32::MAX - 3000),
    ] {
        let stream = fpdus(&all_kinds(), markers, crc, 1400);
        let total = stream.len();
        let case = Case {
            stream,
            markers,
            crc,
            first,
        };
        // One FPDU a segment: of segments that begin with one FPDU and end in another, tshark 4.0
        // makes a "BoundError".
        let whole: Vec<_> = inspect(&case.packets(&[(0, total)]))
            .iter()
            .filter_map(|record| match &record.what {
                What::Fpdu(fpdu) => {
                    let start = record.position as usize;
                    Some((start, start + fpdu.wire_octets as usize))
                }
                _ => None,
            })
            .collect();
        let fpdus = whole.len();
        let mut swapped = whole.clone();
        swapped.swap(3, 4);
        let mut repeated = whole.clone();
        repeated.insert(5, repeated[4]);
        let recut = whole
            .iter()
            .flat_map(|&(start, end)| [(start, end - 4), (end - 4, end)])
            .collect();
        for (name, pieces) in [
            ("ordered", whole),
            ("recut", recut),
            ("swapped", swapped),
            ("repeated", repeated),
        ] {
            let packets = case.packets(&pieces);
            let path = dir
                .path()
                .join(format!("{name}-{markers}-{crc}-{first}.pcap"));
            std::fs::write(&path, pcap(&packets)).unwrap();
            let lines: Vec<Value> = inspect(&packets)
                .iter()
                .map(|record| serde_json::to_value(record).unwrap())
                .collect();
            let compared = common::tshark::compare(&path, &lines, true);
            assert_eq!(compared, fpdus + 2, "{path:?}");
        }
    }
}

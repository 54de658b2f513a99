//! Any octets as a capture, and captures that have been changed: it always ends, never panics, takes no
//! more memory than stated, and tells no more than there is.

mod common;

use std::io::Cursor;

use common::file::{ETHERNET, Format, Stamped};
use common::talk::{I, R, Talk, WORDS, startup};
use common::ulpdu::{
    SINK, atomic, atomic_response, immediate, read, response, send, send_part, tagged, terminate,
    write,
};
use proptest::prelude::*;
use proptest::sample::Index;
use uwarp_inspect::{Inspector, Packet, Record, Rule, Summary, What, read as read_capture};
use uwarp_mpa::{Enhanced, FrameKind, RtrSet};
use uwarp_rdmap::Opcode;

/// What the inspector may take for connections here.
const MEMORY: usize = 4 << 20;

/// A record needs octets to come from: an FPDU has at least 8, and brings up a few records; and then
/// there are those of connections.
fn check(file: &[u8]) -> (Vec<Record>, Summary) {
    let mut inspector = Inspector::with_memory(MEMORY);
    let mut records = Vec::new();
    let mut packets = 0;
    let _ = read_capture(Cursor::new(file), |packet: &Packet<'_>| {
        packets += 1;
        inspector.packet(packet);
        assert!(inspector.memory() <= MEMORY);
        records.append(&mut inspector.take_records());
    });
    inspector.finish();
    records.append(&mut inspector.take_records());
    assert_eq!(inspector.memory(), 0);
    assert!(records.len() <= 16 + packets * 8 + file.len());
    let mut summary = Summary::default();
    for record in &records {
        summary.count(record);
        // Every record can be shown, and has a connection that has been told of.
        assert!(!serde_json::to_string(record).unwrap().is_empty());
        assert!(record.connection > 0 && u64::from(record.connection) <= summary.connections);
        if let What::Fpdu(fpdu) = &record.what {
            assert!(u64::from(fpdu.wire_octets) >= 8);
        }
    }
    summary.traffic(inspector.traffic(), false);
    assert!(!summary.to_string().is_empty());
    assert!(summary.fpdu_octets <= file.len() as u64);
    (records, summary)
}

/// Connections that use every operation, framed in every way.
fn sound(markers: bool, crc: bool, peers: bool) -> Vec<Stamped> {
    let mut talk = Talk::new(1);
    let words = Enhanced {
        peer_to_peer: peers,
        rtr: if peers { RtrSet::ALL } else { RtrSet::NONE },
        ..WORDS
    };
    let mut request = startup(FrameKind::Request, words);
    let mut reply = startup(FrameKind::Reply, words);
    (request.crc, reply.crc) = (crc, false);
    (request.markers, reply.markers) = (markers, markers);
    talk.set_up_with(&request, &reply);
    talk.say(I, &tagged(Opcode::WRITE, true, SINK, 0, b""));
    talk.say(I, &send_part(1, 0, false, &[1; 700]));
    talk.say(I, &send_part(1, 700, true, &[2; 90]));
    talk.say(R, &write(0x1000, &[3; 1200]));
    for msn in 1..=2 {
        talk.say(I, &read(2 * msn - 1, 0, 600));
        talk.say(I, &atomic(2 * msn, msn));
        talk.say(R, &response(0, &[4; 600]));
        talk.say(R, &atomic_response(msn, msn));
    }
    talk.say(R, &immediate(1, &[5; 8]));
    talk.say(R, &send(2, b"that is all"));
    talk.say(I, &terminate(&[0x20, 5, 0, 0]));
    talk.fin(I);
    talk.fin(R);
    talk.packets
}

/// What is done to the packets of a capture.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, Index, u8),
    Insert(Index, Index, Vec<u8>),
    Cut(Index, Index),
    Remove(Index),
    Repeat(Index, Index),
    Swap(Index, Index),
    /// Sequence and acknowledgment numbers, and the flags.
    Header(Index, u8, u32),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), index(), any::<u8>()).prop_map(|(a, b, c)| Change::Flip(a, b, c)),
        1 => (index(), index(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(a, b, c)| Change::Insert(a, b, c)),
        1 => (index(), index()).prop_map(|(a, b)| Change::Cut(a, b)),
        2 => index().prop_map(Change::Remove),
        1 => (index(), index()).prop_map(|(a, b)| Change::Repeat(a, b)),
        2 => (index(), index()).prop_map(|(a, b)| Change::Swap(a, b)),
        1 => (index(), 4u8..14, any::<u32>()).prop_map(|(a, b, c)| Change::Header(a, b, c)),
    ]
}

fn apply(change: &Change, packets: &mut Vec<Stamped>) {
    if packets.is_empty() {
        return;
    }
    let len = packets.len();
    match change {
        Change::Flip(which, at, value) => {
            let packet = &mut packets[which.index(len)].1;
            let at = at.index(packet.len());
            packet[at] ^= value;
        }
        Change::Insert(which, at, octets) => {
            let packet = &mut packets[which.index(len)].1;
            let at = at.index(packet.len());
            packet.splice(at..at, octets.iter().copied());
        }
        Change::Cut(which, at) => {
            let packet = &mut packets[which.index(len)].1;
            packet.truncate(at.index(packet.len()).max(1));
        }
        Change::Remove(which) => {
            packets.remove(which.index(len));
        }
        Change::Repeat(which, to) => {
            let packet = packets[which.index(len)].clone();
            packets.insert(to.index(len), packet);
        }
        Change::Swap(a, b) => packets.swap(a.index(len), b.index(len)),
        Change::Header(which, at, value) => {
            let packet = &mut packets[which.index(len)].1;
            let at = 34 + usize::from(*at);
            if let Some(field) = packet.get_mut(at..at + 4) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        }
    }
}

/// Without changes these captures are sound, so that what a change does is its own doing.
#[test]
fn what_is_changed_is_sound() {
    for bits in 0..8 {
        let packets = sound(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
        let (_, summary) = check(&Format::PLAIN.write(ETHERNET, 1 << 18, &packets));
        assert!(summary.violations.is_empty(), "{summary}");
        assert_eq!(
            (summary.fpdus, summary.guessed, summary.notes),
            (15, 0, 0),
            "{summary}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_octets_are_survived(
        octets in proptest::collection::vec(any::<u8>(), 0..2000),
        bits in 0usize..9,
    ) {
        let start = Format::all().nth(bits).map(|format| format.write(ETHERNET, 1 << 18, &[]));
        check(&[start.unwrap_or_default(), octets].concat());
    }

    #[test]
    fn changed_packets_are_survived(
        bits in 0usize..8,
        first in 0usize..8,
        changes in proptest::collection::vec(change(), 1..12),
    ) {
        let mut packets = sound(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
        packets.drain(..first);
        for change in &changes {
            apply(change, &mut packets);
        }
        check(&Format::PLAIN.write(ETHERNET, 1 << 18, &packets));
    }

    #[test]
    fn changed_files_are_survived(
        bits in 0usize..8,
        flips in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..20),
        cut in any::<Index>(),
    ) {
        let packets = sound(bits & 1 != 0, bits & 2 != 0, true);
        let mut file = Format::all().nth(bits).unwrap().write(ETHERNET, 1 << 18, &packets);
        for (at, value) in &flips {
            let at = at.index(file.len());
            file[at] ^= value;
        }
        file.truncate(cut.index(file.len() * 2));
        check(&file);
    }

    /// A kernel's capture, changed.
    #[test]
    fn changed_kernel_captures_are_survived(
        flips in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..50),
    ) {
        let mut file = include_bytes!("data/siw-ibwlat.pcap").to_vec();
        for (at, value) in &flips {
            // The header stays, so that something is left to read.
            let at = 24 + at.index(file.len() - 24);
            file[at] ^= value;
        }
        check(&file);
    }

    /// What a capture does to packets: some are missing, some are there twice, some are out of order.
    /// None of it is anybody's fault.
    #[test]
    fn what_a_capture_does_is_nobodys_fault(
        bits in 0usize..8,
        first in 0usize..8,
        missing in proptest::collection::vec(any::<Index>(), 0..4),
        twice in proptest::collection::vec((any::<Index>(), 0usize..4), 0..4),
        swapped in proptest::collection::vec((any::<Index>(), 0usize..4), 0..6),
    ) {
        let mut packets = sound(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
        packets.drain(..first);
        for (which, later) in &swapped {
            let at = which.index(packets.len());
            let to = (at + later).min(packets.len() - 1);
            packets.swap(at, to);
        }
        for (which, later) in &twice {
            let at = which.index(packets.len());
            let packet = packets[at].clone();
            packets.insert((at + later).min(packets.len()), packet);
        }
        for which in &missing {
            packets.remove(which.index(packets.len()));
        }
        let (records, summary) = check(&Format::PLAIN.write(ETHERNET, 1 << 18, &packets));
        prop_assert!(summary.violations.is_empty(), "{summary} {records:#?}");
    }

    /// Captures of the kernel's iWARP that begin later, and lack packets: what is found to be broken is what
    /// is broken, and no more.
    #[test]
    fn kernel_captures_may_lack_packets(
        which in 0usize..4,
        first in any::<Index>(),
        begins_late: bool,
        missing in proptest::collection::vec(any::<Index>(), 0..12),
    ) {
        let (file, broken) = [
            (&include_bytes!("data/siw-ibwlat.pcap")[..], &[Rule::F09, Rule::U18][..]),
            (include_bytes!("data/siw-rping.pcap"), &[]),
            (include_bytes!("data/siw-ibread.pcap"), &[Rule::F09]),
            (include_bytes!("data/uwarp-markers-long.pcap"), &[]),
        ][which];
        let mut packets: Vec<Stamped> = Vec::new();
        read_capture(Cursor::new(file), |packet: &Packet<'_>| {
            packets.push((packet.time, packet.octets.to_vec()));
        })
        .unwrap();
        if begins_late {
            packets.drain(..first.index(packets.len()));
        }
        for index in &missing {
            packets.remove(index.index(packets.len()));
            if packets.is_empty() {
                break;
            }
        }
        let (records, _) = check(&Format::PLAIN.write(ETHERNET, 1 << 18, &packets));
        for record in &records {
            if let What::Violation { id, detail } = &record.what {
                prop_assert!(broken.contains(id), "{id} {detail}");
            }
        }
    }

    /// One octet behind the startup frames is changed, under CRC: found, whatever it is.
    #[test]
    fn under_crc_no_change_goes_unseen(markers: bool, at: Index, value in 1u8..) {
        let mut packets = sound(markers, true, false);
        // Of the first FPDU to the last; each packet has 54 octets of headers.
        let carriers: Vec<_> = (4..packets.len() - 2).collect();
        let total: usize = carriers.iter().map(|&index| packets[index].1.len() - 54).sum();
        let mut at = at.index(total);
        for &index in &carriers {
            let len = packets[index].1.len() - 54;
            if at < len {
                packets[index].1[54 + at] ^= value;
                break;
            }
            at -= len;
        }
        let (records, summary) = check(&Format::PLAIN.write(ETHERNET, 1 << 18, &packets));
        let judged = summary.violations.len() + summary.guessed_violations.len();
        prop_assert!(judged > 0 || summary.fpdus < 15, "{summary} {records:?}");
    }
}

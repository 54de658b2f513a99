//! Captures that lack something: their beginning, packets in the middle, whole directions. And TCP at
//! its worst: sequence numbers that wrap, repetitions, resets, ports that are used again.

mod common;

use common::dump::{dump, of_kind};
use common::file::{ETHERNET, Format};
use common::talk::{Flags, I, R, Talk, WORDS, startup};
use common::ulpdu::{SINK, read, response, send, tagged, write};
use serde_json::Value;
use uwarp_inspect::{CLEAN, Summary, VIOLATIONS, status};
use uwarp_mpa::FrameKind;
use uwarp_rdmap::Opcode;

fn inspect(talk: &Talk) -> (Vec<Value>, Summary) {
    dump(&Format::PLAIN.write(ETHERNET, 1 << 18, &talk.packets)).unwrap()
}

/// The four kinds of framing: markers and CRC.
fn framings() -> [(bool, bool); 4] {
    [(false, false), (false, true), (true, false), (true, true)]
}

/// A connection with markers from the initiator, and with CRC, or without.
fn open(markers: bool, crc: bool) -> Talk {
    let mut talk = Talk::new(1);
    let mut request = startup(FrameKind::Request, WORDS);
    let mut reply = startup(FrameKind::Reply, WORDS);
    (request.crc, reply.crc, reply.markers) = (crc, crc, markers);
    talk.set_up_with(&request, &reply);
    talk
}

/// Sends and Writes of several sizes, one FPDU a packet. Returns where each FPDU begins.
fn chatter(talk: &mut Talk, first: u32, count: u32) -> Vec<u64> {
    let mut starts = Vec::new();
    for msn in first..first + count {
        starts.push(talk.position(I));
        talk.say(
            I,
            &send(msn, &vec![msn as u8; 40 + 97 * (msn as usize % 9)]),
        );
        starts.push(talk.position(I));
        talk.say(I, &write(u64::from(msn) << 12, &[9; 333]));
    }
    starts
}

fn positions(lines: &[Value]) -> Vec<u64> {
    let fpdus = of_kind(lines, "fpdu");
    fpdus
        .iter()
        .filter(|line| line["sender"] != "responder" && line["sender"] != "second")
        .map(|line| line["position"].as_u64().unwrap())
        .collect()
}

/// A capture that begins in the middle, even inside an FPDU: FPDUs are found, and said to be guessed.
#[test]
fn a_capture_may_begin_in_the_middle() {
    for (markers, crc) in framings() {
        for begin in 4..12 {
            let mut talk = open(markers, crc);
            let starts = chatter(&mut talk, 1, 20);
            talk.fin(I);
            let end = talk.position(I);
            let mut packets = talk.packets.split_off(begin);
            if begin % 2 == 1 {
                // The first packet is a fragment of a segment, or so it seems.
                let mut half = Talk::silent(1);
                let wire = vec![0x55; 99];
                let first = first_sequence(&packets[0].1);
                half.packet(I, first.wrapping_sub(99), &wire, Flags::default());
                packets.insert(0, half.packets.remove(0));
            }
            talk.packets = packets;
            let (lines, summary) = inspect(&talk);
            let told = format!("markers {markers}, crc {crc}, from packet {begin}");
            let found = positions(&lines);
            let seen = starts.len() - (begin - 4);
            // With markers, an FPDU has to hold one to be found.
            let late = if markers { 4 } else { 0 };
            assert!(found.len() + late >= seen, "{told}: {found:?}");
            // Positions are counted from the first octet seen: the last FPDU is as far from the end.
            let skipped = found[0];
            let offset = end - starts[starts.len() - found.len()];
            let last = *found.last().unwrap();
            assert_eq!(
                last - skipped,
                offset - (end - starts[starts.len() - 1]),
                "{told}"
            );
            assert_eq!(summary.guessed, summary.fpdus, "{told}");
            assert_eq!(summary.fpdus, found.len() as u64, "{told}");
            if markers {
                assert!(summary.markers > 10, "{told}");
            }
            assert_eq!(summary.crc.checked > 0, crc, "{told}");
            assert!(summary.violations.is_empty(), "{told}: {summary}");
            assert!(summary.guessed_violations.is_empty(), "{told}: {summary}");
            assert_eq!(status(&summary), CLEAN);
        }
    }
}

fn first_sequence(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[14 + 20 + 4..][..4].try_into().unwrap())
}

/// What a guess brings to light does not count, and is told all the same.
#[test]
fn violations_of_a_guess_are_apart() {
    for (markers, crc) in [(false, true), (true, true), (false, false)] {
        let mut talk = open(markers, crc);
        chatter(&mut talk, 1, 9);
        talk.say(I, &send(77, b"an MSN that is not due"));
        chatter(&mut talk, 78, 2);
        talk.packets.drain(..6);
        let (lines, summary) = inspect(&talk);
        assert!(summary.violations.is_empty());
        assert_eq!(summary.guessed_violations["D15"].count, 1, "{summary}");
        assert_eq!(status(&summary), CLEAN);
        assert!(of_kind(&lines, "violation")[0]["guess"] == true);
    }
}

/// Packets that the capture lacks: with markers the next FPDUs are found for certain, without they are
/// guessed. Nobody is blamed for what is missing.
#[test]
fn a_capture_may_lack_packets() {
    for (markers, crc) in framings() {
        for lost in 1..5 {
            let mut talk = open(markers, crc);
            chatter(&mut talk, 1, 10);
            for part in 0..lost {
                let wire = talk.fpdu(I, &write(part, &[8; 700]));
                talk.lose(I, &wire);
            }
            let gap = talk.position(I);
            let starts = chatter(&mut talk, 11, 30);
            talk.say(R, &send(1, b"and back"));
            let (lines, summary) = inspect(&talk);
            let told = format!("markers {markers}, crc {crc}, {lost} lost");
            let found = positions(&lines);
            let behind: Vec<_> = found.iter().filter(|&&at| at >= gap).copied().collect();
            assert_eq!(found.len() - behind.len(), 20, "{told}");
            // With markers, an FPDU has to hold one to be found.
            assert!(behind.len() + 2 >= starts.len(), "{told}: {behind:?}");
            assert_eq!(behind, starts[starts.len() - behind.len()..], "{told}");
            let guessed = if markers { 0 } else { behind.len() as u64 };
            assert_eq!(summary.guessed, guessed, "{told}");
            assert!(summary.violations.is_empty(), "{told}: {summary}");
            assert!(summary.guessed_violations.is_empty(), "{told}: {summary}");
            let notes = of_kind(&lines, "note");
            let missing = notes.iter().filter(|note| {
                note["text"]
                    .as_str()
                    .unwrap()
                    .contains("missing in the capture")
            });
            assert_eq!(missing.count(), 1, "{told}: {notes:?}");
        }
    }
}

/// A hole is passed at once when the other end has had what is missing, not at the end of the capture.
#[test]
fn a_hole_is_passed_when_the_other_end_has_had_it() {
    let mut talk = open(false, true);
    chatter(&mut talk, 1, 2);
    let wire = talk.fpdu(I, &write(0, &[8; 700]));
    talk.lose(I, &wire);
    chatter(&mut talk, 3, 10);
    talk.acknowledge(R);
    chatter(&mut talk, 13, 100);
    let (lines, _) = inspect(&talk);
    let note = of_kind(&lines, "note")[0];
    let last = talk.packets.last().unwrap().0;
    assert!(note["time"].as_u64().unwrap() < last - 50 * 1_234_000);
}

/// So many octets are missing that those behind are out of reach.
#[test]
fn a_large_hole_is_passed() {
    for markers in [false, true] {
        let mut talk = open(markers, true);
        chatter(&mut talk, 1, 2);
        let mut lost = 0;
        while lost < 1 << 20 {
            let wire = talk.fpdu(I, &write(0, &[8; 60_000]));
            lost += wire.len();
            talk.lose(I, &wire);
        }
        chatter(&mut talk, 3, 40);
        talk.acknowledge(R);
        let starts = chatter(&mut talk, 43, 40);
        let (lines, summary) = inspect(&talk);
        let found = positions(&lines);
        assert!(
            found.contains(starts.last().unwrap()),
            "{markers} {found:?}"
        );
        assert!(summary.violations.is_empty(), "{summary}");
    }
}

/// The state behind a hole is not known: neither answers nor limits are judged, but framing is.
#[test]
fn behind_a_hole_only_what_can_be_known_is_judged() {
    let mut talk = open(true, true);
    talk.say(I, &send(1, b"x"));
    for msn in 1..=3 {
        talk.say(I, &read(msn, 0, 8));
    }
    let wire = talk.fpdu(R, &response(0, &[1; 8]));
    talk.lose(R, &wire);
    for _ in 0..2 {
        talk.say(R, &response(0, &[1; 8]));
    }
    for msn in 4..=7 {
        talk.say(I, &read(msn, 0, 8));
    }
    for _ in 0..40 {
        talk.say(R, &tagged(Opcode::WRITE, true, SINK, 0, &[1; 8]));
        talk.acknowledge(I);
    }
    // And a rule that is broken all the same.
    talk.say(I, &send(2, b"x"));
    talk.say(I, &send(9, b"x"));
    let (_, summary) = inspect(&talk);
    assert_eq!(
        summary.violations.keys().collect::<Vec<_>>(),
        ["D15"],
        "{summary}"
    );
    assert_eq!(status(&summary), VIOLATIONS);
}

/// The Request is not in the capture, or neither frame is, or one direction is not.
#[test]
fn frames_may_be_missing() {
    for missing in [vec![2], vec![3], vec![2, 3], vec![0, 2], vec![0, 1, 2, 3]] {
        let mut talk = open(false, true);
        let starts = chatter(&mut talk, 1, 60);
        talk.say(R, &send(1, &[1; 900]));
        for &index in missing.iter().rev() {
            talk.packets.remove(index);
        }
        let (lines, summary) = inspect(&talk);
        assert_eq!(summary.connections, 1, "{missing:?}");
        let told = of_kind(&lines, "violation");
        assert!(summary.violations.is_empty(), "{missing:?} {told:?}");
        assert!(
            summary.fpdus >= starts.len() as u64,
            "{missing:?} {summary}"
        );
        assert_eq!(summary.guessed, summary.fpdus, "{missing:?}");
        assert!(summary.violations.is_empty(), "{missing:?} {summary}");
    }
    let mut talk = open(false, true);
    chatter(&mut talk, 1, 60);
    talk.packets
        .retain(|(_, packet)| packet[14 + 20..][..2] == 40_001u16.to_be_bytes());
    let (_, summary) = inspect(&talk);
    assert_eq!(summary.connections, 1);
    assert!(summary.violations.is_empty(), "{summary}");
    assert_eq!((summary.fpdus, summary.guessed), (120, 120));
}

/// The Reply stands before the Request in the capture, which has packets of both directions in the
/// wrong order.
#[test]
fn the_reply_may_be_captured_first() {
    let mut talk = open(true, true);
    chatter(&mut talk, 1, 5);
    talk.packets.swap(2, 3);
    let (_, summary) = inspect(&talk);
    assert_eq!((summary.fpdus, summary.guessed, summary.frames), (10, 0, 2));
    assert!(summary.violations.is_empty(), "{summary}");
}

#[test]
fn sequence_numbers_may_wrap() {
    for back in [10, 40, 400, 5000] {
        let mut talk = Talk::silent(1);
        talk.next = [0u32.wrapping_sub(back), 0u32.wrapping_sub(back / 2)];
        talk.connect();
        let mut reply = startup(FrameKind::Reply, WORDS);
        reply.markers = true;
        talk.set_up_with(&startup(FrameKind::Request, WORDS), &reply);
        chatter(&mut talk, 1, 20);
        talk.say(R, &send(1, &[1; 3000]));
        talk.fin(I);
        let (_, summary) = inspect(&talk);
        assert_eq!((summary.fpdus, summary.guessed), (41, 0));
        assert!(summary.violations.is_empty(), "{summary}");
        assert_eq!(summary.notes, 0);
    }
}

/// Of octets that come again with other contents, the first ones count: those that the receiver most
/// likely had.
#[test]
fn a_repetition_changes_nothing() {
    let mut talk = open(false, true);
    let wire = talk.fpdu(I, &send(1, b"the first time"));
    let at = talk.next[I];
    talk.send(I, &wire);
    let mut other = wire.clone();
    other[25] ^= 0xff;
    talk.packet(I, at, &other, Flags::default());
    talk.say(I, &send(2, b"on"));
    // And where the repetition comes while the first one still waits behind a hole.
    let hole = talk.fpdu(I, &send(3, b"late"));
    let wire = talk.fpdu(I, &send(4, b"early"));
    let at = talk.next[I];
    let behind = at.wrapping_add(hole.len() as u32);
    talk.packet(I, behind, &wire, Flags::default());
    let other = vec![0xaa; wire.len()];
    talk.packet(I, behind, &other, Flags::default());
    talk.packet(I, at, &hole, Flags::default());
    let (_, summary) = inspect(&talk);
    assert_eq!(summary.operations["Send"].messages, 4);
    assert!(summary.violations.is_empty(), "{summary}");
}

/// The same segment again and again, while the one before it is late: nothing is given up for it.
#[test]
fn repetitions_behind_a_hole_use_no_room_up() {
    let mut talk = Talk::new(1);
    let request = startup(FrameKind::Request, WORDS).encode().unwrap();
    let at = talk.next[I];
    talk.next[I] = at.wrapping_add(10);
    for _ in 0..1000 {
        talk.packet(I, at.wrapping_add(10), &request[10..], Flags::default());
    }
    talk.packet(I, at, &request[..10], Flags::default());
    talk.next[I] = at.wrapping_add(request.len() as u32);
    talk.frame(R, &startup(FrameKind::Reply, WORDS));
    chatter(&mut talk, 1, 2);
    let (_, summary) = inspect(&talk);
    assert_eq!((summary.frames, summary.fpdus, summary.guessed), (2, 4, 0));
    assert!(summary.violations.is_empty(), "{summary}");
}

/// After a reset nothing is read, what still comes makes no new connection, and nobody is blamed for
/// what was under way.
#[test]
fn a_reset_ends_a_connection() {
    let mut talk = open(false, true);
    talk.say(I, &send(1, b"x"));
    let wire = talk.fpdu(I, &send(2, &[1; 500]));
    talk.send(I, &wire[..100]);
    talk.reset(R);
    talk.send(I, &wire[100..]);
    chatter(&mut talk, 3, 5);
    let (_, summary) = inspect(&talk);
    assert_eq!(
        (summary.tcp_connections, summary.connections, summary.fpdus),
        (1, 1, 1)
    );
    assert!(summary.violations.is_empty(), "{summary}");
}

/// The same ports, again and again: each SYN makes a connection of its own, whatever the one before
/// was in the middle of.
#[test]
fn ports_may_be_used_again() {
    let mut all = Vec::new();
    for round in 0..5u32 {
        let mut talk = Talk::silent(1);
        talk.next = [1000 + round * 77, 9_000_000u32.wrapping_mul(round)];
        talk.connect();
        talk.set_up();
        talk.say(I, &send(1, b"x"));
        let wire = talk.fpdu(I, &send(2, b"never whole"));
        talk.send(I, &wire[..wire.len() - 3]);
        if round % 2 == 0 {
            talk.fin(R);
        }
        all.extend(talk.packets);
    }
    let mut talk = Talk::silent(1);
    talk.packets = all;
    let (lines, summary) = inspect(&talk);
    assert_eq!((summary.connections, summary.tcp_connections), (5, 5));
    assert_eq!((summary.fpdus, summary.frames), (5, 10));
    let numbers: Vec<_> = of_kind(&lines, "fpdu")
        .iter()
        .map(|line| line["connection"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert!(summary.violations.is_empty(), "{summary}");
}

/// Connections that are something else, beside one that is iWARP, packet by packet.
#[test]
fn other_connections_are_left_alone() {
    let mut iwarp = open(true, true);
    chatter(&mut iwarp, 1, 30);
    let mut web = Talk::new(2);
    let mut stranger = Talk::silent(3);
    for turn in 0..40u8 {
        web.send(I, b"GET / HTTP/1.1\r\nHost: MPA ID Req Frame\r\n\r\n");
        web.send(
            R,
            b"The Key is \"MPA ID Rep Frame\", and then come the flags.",
        );
        web.send(R, &[turn; 1400]);
        // Its beginning is not in the capture, so it might be anything.
        let noise: Vec<u8> = (0..1400u32)
            .map(|at| ((at * at * 31) >> 5) as u8 ^ turn)
            .collect();
        stranger.send(R, &noise);
    }
    let mut packets = Vec::new();
    for index in 0..90 {
        for talk in [&iwarp, &web, &stranger] {
            packets.extend(talk.packets.get(index).cloned());
        }
    }
    iwarp.packets = packets;
    let (_, summary) = inspect(&iwarp);
    assert_eq!((summary.tcp_connections, summary.fpdus), (3, 60));
    assert!(
        summary.guessed == 0 && summary.connections <= 2,
        "{summary}"
    );
}

/// iWARP may follow some other talk on the same connection (RFC 5044 s7.1, U02).
#[test]
fn the_frames_may_come_late() {
    let mut talk = Talk::new(1);
    talk.send(R, b"220 ready, say START to go on in another tongue\r\n");
    talk.send(I, b"START\r\n");
    talk.send(R, b"354 go ahead\r\n");
    talk.set_up();
    chatter(&mut talk, 1, 3);
    let (_, summary) = inspect(&talk);
    assert_eq!((summary.frames, summary.fpdus, summary.guessed), (2, 6, 0));
    assert!(summary.violations.is_empty(), "{summary}");
}

/// Segments of a message in another order than their offsets: allowed, and noted (D22).
#[test]
fn segments_in_another_order_break_no_rule() {
    let mut talk = open(false, true);
    for mo in [200, 0, 100] {
        talk.say(I, &common::ulpdu::send_part(1, mo, false, &[1; 100]));
    }
    talk.say(I, &common::ulpdu::send_part(1, 300, true, &[1; 100]));
    for to in [0x300, 0x100, 0x200] {
        talk.say(
            I,
            &tagged(Opcode::WRITE, to == 0x200, SINK, to, &[1; 0x100]),
        );
    }
    let (lines, summary) = inspect(&talk);
    assert!(summary.violations.is_empty(), "{summary}");
    let notes = of_kind(&lines, "note");
    assert!(
        notes
            .iter()
            .all(|note| note["text"].as_str().unwrap().starts_with("D22"))
    );
    assert_eq!(notes.len(), 2);
}

/// Every other FPDU is none, and it all comes at once, behind a hole: each has to be found anew, without more
/// stack or memory for the later ones.
#[test]
fn what_is_lost_at_every_other_fpdu_is_read_on_a_small_stack() {
    const ROUNDS: usize = 2000;
    let run = || {
        let mut talk = open(false, true);
        let first = talk.fpdu(I, &write(0, &[]));
        let mut octets = Vec::new();
        for _ in 0..ROUNDS {
            let good = talk.fpdu(I, &write(0, &[]));
            octets.extend_from_slice(&good);
            octets.extend_from_slice(&[0; 8]);
        }
        let start = talk.next[I];
        let behind = start.wrapping_add(first.len() as u32);
        for (index, piece) in octets.chunks(1400).enumerate() {
            let sequence = behind.wrapping_add(index as u32 * 1400);
            talk.packet(I, sequence, piece, Flags::default());
        }
        talk.packet(I, start, &first, Flags::default());
        let (lines, _) = inspect(&talk);
        assert_eq!(of_kind(&lines, "fpdu").len(), 1 + ROUNDS);
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

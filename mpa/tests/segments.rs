//! The receiver for raw TCP segments: whatever the order, the cuts and the repetitions, every FPDU
//! arrives once, as soon as it can be known, and is delivered once and in order.

mod common;

use std::collections::BTreeMap;

use proptest::prelude::*;
use uwarp_mpa::{Arrivals, Fpdu, FpduError, Framer, SegmentReceiver, Taken, max_wire_len};

use common::frame;

/// Records what the receiver says, and checks that it says nothing twice.
#[derive(Default)]
struct Record {
    arrived: BTreeMap<u64, Vec<u8>>,
    delivered: Vec<u64>,
}

impl Arrivals for Record {
    fn arrived(&mut self, position: u64, fpdu: &Fpdu, wire: &[u8]) {
        let mut ulpdu = vec![0; fpdu.ulpdu_len()];
        fpdu.copy_ulpdu(wire, 0..fpdu.ulpdu_len(), &mut ulpdu);
        assert_eq!(
            self.arrived.insert(position, ulpdu),
            None,
            "an FPDU arrives once"
        );
    }

    fn deliver(&mut self, position: u64) {
        assert!(
            self.arrived.contains_key(&position),
            "delivered before it arrived"
        );
        self.delivered.push(position);
    }
}

struct Stream {
    wire: Vec<u8>,
    /// Start, end and ULPDU of each FPDU.
    fpdus: Vec<(u64, u64, Vec<u8>)>,
}

fn stream(lens: &[usize], markers: bool, crc: bool) -> Stream {
    let mut framer = Framer::new(markers, crc);
    let (mut wire, mut fpdus) = (Vec::new(), Vec::new());
    for (index, &len) in lens.iter().enumerate() {
        let ulpdu: Vec<u8> = (0..len)
            .map(|octet| (octet * 7 + index * 13) as u8)
            .collect();
        let start = framer.position();
        wire.extend(frame(&mut framer, &ulpdu, len.min(18)));
        fpdus.push((start, framer.position(), ulpdu));
    }
    Stream { wire, fpdus }
}

/// Which FPDUs can be known, by the rule alone: all octets there, and either the one before it is
/// known, or it is the first, or one of its own markers has come.
fn knowable(stream: &Stream, seen: &[bool], markers: bool) -> Vec<u64> {
    let mut known = Vec::new();
    let mut previous = true;
    for (start, end, _) in &stream.fpdus {
        let whole = seen[*start as usize..*end as usize]
            .iter()
            .all(|&octet| octet);
        let marked = markers && (*start..*end).any(|at| at % 512 == 0);
        previous = whole && (previous || marked);
        if previous {
            known.push(*start);
        }
    }
    known
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_order_gives_the_same_stream(
        lens in proptest::collection::vec(prop_oneof![1usize..60, 400usize..700, 1000usize..3000], 1..14),
        markers: bool,
        crc: bool,
        first in prop_oneof![any::<u32>(), Just(u32::MAX - 700)],
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 1usize..2000), 0..40),
        order in any::<u64>(),
    ) {
        let stream = stream(&lens, markers, crc);
        let total = stream.wire.len();
        // Arbitrary overlapping pieces, and pieces that make sure of every octet.
        let mut pieces: Vec<(usize, usize)> = (0..total).step_by(300).map(|at| (at, (at + 300).min(total))).collect();
        pieces.extend(cuts.iter().map(|(at, len)| {
            let at = at.index(total);
            (at, (at + len).min(total))
        }));
        let mut seed = order | 1;
        pieces.sort_by_cached_key(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 20
        });
        let mut receiver = SegmentReceiver::new(markers, crc, first, 1 << 20);
        let mut record = Record::default();
        let mut seen = vec![false; total];
        for (start, end) in pieces {
            let new = seen[start..end].iter().filter(|&&octet| !octet).count();
            seen[start..end].fill(true);
            let taken = receiver
                .receive(first.wrapping_add(start as u32), &stream.wire[start..end], &mut record)
                .unwrap();
            prop_assert_eq!(taken, Taken { new, dropped: 0 });
            let arrived: Vec<u64> = record.arrived.keys().copied().collect();
            prop_assert_eq!(arrived, knowable(&stream, &seen, markers));
            let in_order = seen.iter().take_while(|&&octet| octet).count() as u64;
            let due: Vec<u64> = stream.fpdus.iter().filter(|fpdu| fpdu.1 <= in_order).map(|fpdu| fpdu.0).collect();
            prop_assert_eq!(&record.delivered, &due);
        }
        prop_assert_eq!(record.arrived.len(), stream.fpdus.len());
        for (start, _, ulpdu) in &stream.fpdus {
            prop_assert_eq!(&record.arrived[start], ulpdu);
        }
        prop_assert_eq!((receiver.held(), receiver.early()), (0, 0));
        prop_assert_eq!(receiver.delivered(), total as u64);
    }

    #[test]
    fn noise_neither_panics_nor_grows(
        segments in proptest::collection::vec((any::<u32>(), proptest::collection::vec(any::<u8>(), 0..600)), 0..80),
        markers: bool,
        crc: bool,
    ) {
        let mut receiver = SegmentReceiver::new(markers, crc, 5, 0);
        let mut record = Record::default();
        for (sequence, octets) in segments {
            let near = sequence % 70_000;
            let _ = receiver.receive(near, &octets, &mut record);
            prop_assert!(receiver.held() <= max_wire_len(markers) as u64);
        }
    }
}

#[test]
fn behind_a_hole_a_marker_shows_the_way() {
    let stream = stream(&[100, 600, 100], true, true);
    let (mut receiver, mut record) = (SegmentReceiver::new(true, true, 0, 0), Record::default());
    let second = stream.fpdus[1].0 as usize;
    receiver
        .receive(second as u32, &stream.wire[second..], &mut record)
        .unwrap();
    assert_eq!(
        record.arrived.keys().copied().collect::<Vec<_>>(),
        [stream.fpdus[1].0, stream.fpdus[2].0]
    );
    assert_eq!(record.delivered, []);
    let held = (stream.wire.len() - second) as u64;
    assert_eq!((receiver.early(), receiver.held()), (2, held));
    receiver
        .receive(0, &stream.wire[..second], &mut record)
        .unwrap();
    assert_eq!(record.delivered.len(), 3);
    assert_eq!((receiver.early(), receiver.held()), (0, 0));
}

/// More octets than the window holds at a time, so that it is used again and again from its beginning; each pair of
/// segments comes in the wrong order.
#[test]
fn a_long_stream_passes_through_a_small_window() {
    for (markers, len) in [(true, 3001), (false, 2999), (true, 500), (false, 60_000)] {
        let stream = stream(&vec![len; 280_000 / len], markers, true);
        let (mut receiver, mut record) = (
            SegmentReceiver::new(markers, true, 77, 0),
            Record::default(),
        );
        let starts: Vec<usize> = (0..stream.wire.len()).step_by(1009).collect();
        for pair in starts.chunks(2) {
            for &start in pair.iter().rev() {
                let end = (start + 1009).min(stream.wire.len());
                let taken =
                    receiver.receive(77 + start as u32, &stream.wire[start..end], &mut record);
                let new = end - start;
                assert_eq!(taken, Ok(Taken { new, dropped: 0 }));
            }
        }
        for (start, _, ulpdu) in &stream.fpdus {
            assert!(&record.arrived[start] == ulpdu, "{len} at {start}");
        }
        assert_eq!(record.delivered.len(), stream.fpdus.len());
    }
}

/// A marker between two FPDUs belongs to the second (F17): without it the second is not whole, whatever its other
/// markers say.
#[test]
fn an_fpdu_without_its_leading_marker_is_not_whole() {
    for crc in [true, false] {
        let stream = stream(&[502, 1000, 1000], true, crc);
        assert_eq!(
            (stream.fpdus[1].0, &stream.wire[512..516]),
            (512, &[0; 4][..])
        );
        for (from, known) in [(512, 2), (513, 1), (515, 1), (516, 1), (520, 1)] {
            let (mut receiver, mut record) =
                (SegmentReceiver::new(true, crc, 0, 0), Record::default());
            receiver
                .receive(from as u32, &stream.wire[from..], &mut record)
                .unwrap();
            let arrived: Vec<u64> = record.arrived.keys().copied().collect();
            let starts = stream.fpdus.iter().map(|fpdu| fpdu.0);
            assert!(starts.skip(3 - known).eq(arrived), "{from}");
            receiver
                .receive(0, &stream.wire[..from], &mut record)
                .unwrap();
            assert_eq!(record.delivered.len(), 3);
        }
    }
}

#[test]
fn without_markers_what_cannot_be_anchored_is_held() {
    let stream = stream(&[100, 600, 100], false, true);
    let (mut receiver, mut record) = (SegmentReceiver::new(false, true, 0, 0), Record::default());
    let second = stream.fpdus[1].0 as usize;
    receiver
        .receive(second as u32, &stream.wire[second..], &mut record)
        .unwrap();
    assert!(record.arrived.is_empty());
    assert_eq!(receiver.held(), (stream.wire.len() - second) as u64);
}

#[test]
fn a_broken_fpdu_behind_a_hole_is_judged_when_its_turn_comes() {
    let mut stream = stream(&[100, 600, 100], true, true);
    let (second, third) = (stream.fpdus[1].0 as usize, stream.fpdus[2].0 as usize);
    stream.wire[second + 40] ^= 1;
    let (mut receiver, mut record) = (SegmentReceiver::new(true, true, 9, 0), Record::default());
    receiver
        .receive(9 + second as u32, &stream.wire[second..], &mut record)
        .unwrap();
    assert!(!record.arrived.contains_key(&(second as u64)));
    let refused = receiver.receive(9, &stream.wire[..second], &mut record);
    assert_eq!(refused, Err(FpduError::Crc));
    assert_eq!(record.delivered, [0]);
    assert_eq!(
        receiver.receive(9 + third as u32, &stream.wire[third..], &mut record),
        Err(FpduError::Crc)
    );
}

#[test]
fn once_misled_behind_a_hole_it_waits_for_the_hole_to_close() {
    let mut stream = stream(&[100, 600, 600, 600], true, true);
    let starts: Vec<usize> = stream.fpdus.iter().map(|fpdu| fpdu.0 as usize).collect();
    stream.wire[starts[2] + 40] ^= 1;
    let (mut receiver, mut record) = (SegmentReceiver::new(true, true, 0, 0), Record::default());
    for piece in [starts[2]..stream.wire.len(), starts[1]..starts[2]] {
        receiver
            .receive(piece.start as u32, &stream.wire[piece], &mut record)
            .unwrap();
        assert_eq!((record.arrived.len(), receiver.early()), (0, 0));
    }
    let refused = receiver.receive(0, &stream.wire[..starts[1]], &mut record);
    assert_eq!(refused, Err(FpduError::Crc));
    assert_eq!(record.delivered, [0, starts[1] as u64]);
}

#[test]
fn a_repetition_does_not_change_what_has_come() {
    let stream = stream(&[100, 100], true, false);
    let (mut receiver, mut record) = (SegmentReceiver::new(true, false, 0, 0), Record::default());
    receiver
        .receive(50, &stream.wire[50..], &mut record)
        .unwrap();
    let forged = vec![0xee; stream.wire.len() - 50];
    assert_eq!(
        receiver.receive(50, &forged, &mut record),
        Ok(Taken { new: 0, dropped: 0 })
    );
    receiver
        .receive(0, &stream.wire[..50], &mut record)
        .unwrap();
    assert_eq!(record.arrived[&0], stream.fpdus[0].2);
}

#[test]
fn octets_beyond_the_window_are_dropped() {
    let (mut receiver, mut record) = (SegmentReceiver::new(false, true, 0, 0), Record::default());
    let window = max_wire_len(false) as u32;
    let taken = receiver
        .receive(window - 10, &[1; 100], &mut record)
        .unwrap();
    assert_eq!(
        taken,
        Taken {
            new: 10,
            dropped: 90
        }
    );
    let taken = receiver
        .receive(window + 10, &[1; 100], &mut record)
        .unwrap();
    assert_eq!(
        taken,
        Taken {
            new: 0,
            dropped: 100
        }
    );
}

#[test]
fn one_hole_too_many_drops_the_segment() {
    // What has been delivered is no run any more.
    let first = stream(&[1], false, true).wire;
    let len = first.len() as u32;
    let (mut receiver, mut record) = (
        SegmentReceiver::new(false, true, 0u32.wrapping_sub(len), 0),
        Record::default(),
    );
    receiver
        .receive(0u32.wrapping_sub(len), &first, &mut record)
        .unwrap();
    assert_eq!(record.delivered.len(), 1);
    let taken: usize = (1..1000u32)
        .map(|at| receiver.receive(2 * at, &[1], &mut record).unwrap().new)
        .sum();
    assert_eq!(taken, 256);
    assert_eq!(receiver.held(), 256);
    // What touches a run makes no new one: before the first, behind the last, between two.
    for (at, new, held) in [(1, 1, 257), (513, 1, 258), (3, 1, 259), (2, 0, 259)] {
        let taken = receiver.receive(at, &[1], &mut record).unwrap();
        assert_eq!(taken, Taken { new, dropped: 0 }, "{at}");
        assert_eq!(receiver.held(), held, "{at}");
    }
    // The last one has closed a hole, so there may be another.
    let taken = receiver.receive(2000, &[1; 3], &mut record).unwrap();
    assert_eq!(taken, Taken { new: 3, dropped: 0 });
    let taken = receiver.receive(3000, &[1; 3], &mut record).unwrap();
    assert_eq!(taken, Taken { new: 0, dropped: 3 });
}

/// A hole that will never close is passed by: from the octets behind it, another receiver goes on at
/// any FPDU, and finds all that follow.
#[test]
fn behind_a_hole_another_receiver_goes_on() {
    for markers in [false, true] {
        let Stream { wire, fpdus } = stream(&[300, 700, 44, 600, 900], markers, true);
        let mut receiver = SegmentReceiver::new(markers, true, u32::MAX - 50, 1 << 20);
        let mut lost = Record::default();
        let sequence = |at: u64| (u32::MAX - 50).wrapping_add(at as u32);
        // The second FPDU lacks its end.
        let hole = fpdus[1].1 - 8..fpdus[1].1;
        for range in [0..hole.start, hole.end..wire.len() as u64] {
            let octets = &wire[range.start as usize..range.end as usize];
            receiver
                .receive(sequence(range.start), octets, &mut lost)
                .unwrap();
        }
        assert_eq!(receiver.delivered(), fpdus[0].1);
        assert_eq!(receiver.behind_hole(), Some(hole.end));
        let held: Vec<_> = receiver.held_octets().collect();
        let before = fpdus[0].1 as usize..hole.start as usize;
        assert_eq!(held[0], (fpdus[0].1, wire[before].to_vec()));
        assert_eq!(held[1], (hole.end, wire[hole.end as usize..].to_vec()));

        for (start, end, _) in &fpdus[2..] {
            let mut found = Record::default();
            let mut receiver =
                SegmentReceiver::resume(markers, true, sequence(*start), *start, 1 << 20);
            assert_eq!((receiver.behind_hole(), receiver.held()), (None, 0));
            for (position, octets) in &held {
                receiver
                    .receive(sequence(*position), octets, &mut found)
                    .unwrap();
            }
            let due: Vec<_> = fpdus
                .iter()
                .map(|fpdu| fpdu.0)
                .filter(|at| at >= start)
                .collect();
            assert_eq!(found.delivered, due, "from {start} to {end}");
            assert_eq!(receiver.delivered(), wire.len() as u64);
        }
    }
}

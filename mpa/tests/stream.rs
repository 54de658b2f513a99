//! Streams of FPDUs: framed, cut, damaged and deframed, against a model that follows the text.

mod common;

use common::{NaiveSender, deframe, frame};
use proptest::collection::vec;
use proptest::prelude::*;
use uwarp_mpa::{Deframed, Deframer, FpduError, Framer};

/// A ULPDU of this length in which no two places look alike.
fn ulpdu(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 31 + at / 251) as u8 ^ seed)
        .collect()
}

/// Lengths that are short, or near where a marker matters, or long.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![1..64_usize, 480..530_usize, 990..1040_usize, 1..4000_usize]
}

fn stream() -> impl Strategy<Value = Vec<(Vec<u8>, usize)>> {
    let message = (length(), any::<u8>(), any::<prop::sample::Index>())
        .prop_map(|(len, seed, header)| (ulpdu(len, seed), header.index(len.min(60) + 1)));
    vec(message, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// F08-F18, F24, F30: the wire is the model's, and gives back what went in however it is cut.
    #[test]
    fn a_stream_survives_framing_and_cutting(
        messages in stream(),
        markers: bool,
        crc: bool,
        mut cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut framer = Framer::new(markers, crc);
        let mut model = NaiveSender::new(markers, crc);
        let mut wire = Vec::new();
        for (ulpdu, header) in &messages {
            wire.extend(frame(&mut framer, ulpdu, *header));
            model.send(ulpdu);
        }
        prop_assert_eq!(&wire, &model.sent);
        prop_assert_eq!(wire.len() % 4, 0);

        cuts.sort_by_key(|cut| cut.index(wire.len()));
        let cuts = cuts.iter().map(|cut| cut.index(wire.len()));
        let mut deframer = Deframer::new(markers, crc);
        let got = deframe(&mut deframer, &wire, cuts).unwrap();
        let sent: Vec<Vec<u8>> = messages.into_iter().map(|(ulpdu, _)| ulpdu).collect();
        prop_assert_eq!(got, sent);
        prop_assert_eq!(deframer.position(), framer.position());
    }

    /// F25, F37: with CRC on no flipped bit gets through, wherever it is.
    #[test]
    fn a_flipped_bit_is_refused(
        len in length(),
        seed: u8,
        markers: bool,
        at: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let mut framer = Framer::new(markers, true);
        let good = frame(&mut framer, &ulpdu(len, seed), 0);
        let mut wire = [good.clone(), frame(&mut framer, &ulpdu(len, !seed), 0)].concat();
        let at = at.index(good.len());
        wire[at] ^= 1 << bit;
        let mut deframer = Deframer::new(markers, true);
        match deframe(&mut deframer, &wire, []) {
            Err(FpduError::Crc | FpduError::TooLong | FpduError::Truncated) => (),
            other => prop_assert!(false, "octet {} bit {}: {:?}", at, bit, other),
        }
    }

    /// F31, F37: whatever comes, there is no panic, no FPDU beyond the buffer, and no word after an error.
    #[test]
    fn noise_is_survived(noise in vec(any::<u8>(), 0..3000), markers: bool, crc: bool) {
        let mut deframer = Deframer::new(markers, crc);
        let mut rest = &noise[..];
        loop {
            match deframer.next(rest) {
                Ok(Deframed::Need(need)) => {
                    prop_assert!(need > rest.len() && need <= uwarp_mpa::max_wire_len(markers));
                    break;
                }
                Ok(Deframed::Fpdu(fpdu)) => {
                    prop_assert!(fpdu.wire_len() >= 8);
                    deframer.consume(&fpdu);
                    rest = &rest[fpdu.wire_len()..];
                }
                Err(error) => {
                    prop_assert_eq!(deframer.next(rest), Err(error));
                    prop_assert_eq!(deframer.next(&[]), Err(error));
                    break;
                }
            }
        }
    }
}

/// Every single bit of one FPDU, so that the place of no field is left to chance.
#[test]
fn every_flipped_bit_of_an_fpdu_is_refused() {
    let mut wrong = frame(&mut Framer::new(true, true), &ulpdu(507, 3), 18);
    let len = wrong.len();
    // A longer length would wait for octets that never come.
    wrong.resize(70_000, 0);
    for at in 0..len {
        for bit in 0..8 {
            wrong[at] ^= 1 << bit;
            match Deframer::new(true, true).next(&wrong) {
                Err(FpduError::Crc | FpduError::TooLong) => (),
                other => panic!("octet {at} bit {bit}: {other:?}"),
            }
            wrong[at] ^= 1 << bit;
        }
    }
}

/// F12, F35: without CRC a wrong pointer is found; its two low bits and the reserved half are not part of it.
#[test]
fn a_corrupted_marker_is_found_without_crc() {
    let wire = frame(&mut Framer::new(true, false), &ulpdu(1500, 9), 14);
    let markers = [0, 512, 1024];
    for marker in markers {
        for bit in 0..32 {
            let mut wrong = wire.clone();
            wrong[marker + bit / 8] ^= 0x80 >> (bit % 8);
            let is_pointer = (16..30).contains(&bit);
            let result = Deframer::new(true, false).next(&wrong);
            assert_eq!(
                result == Err(FpduError::Marker),
                is_pointer,
                "{marker} bit {bit}"
            );
            assert_eq!(result.is_ok(), !is_pointer, "{marker} bit {bit}");
        }
    }
}

/// Trap T2: the marker between two FPDUs comes with the second one, and is in its CRC.
#[test]
fn a_marker_between_fpdus_belongs_to_the_second() {
    let mut framer = Framer::new(true, true);
    let first = frame(&mut framer, &ulpdu(502, 0), 18);
    assert_eq!(first.len(), 512);
    let second = frame(&mut framer, &ulpdu(42, 0), 18);
    assert_eq!(second[..6], [0, 0, 0, 0, 0, 42]);

    let mut deframer = Deframer::new(true, true);
    assert_eq!(deframe(&mut deframer, &first, []).unwrap().len(), 1);
    assert_eq!(deframer.next(&[]), Ok(Deframed::Need(6)));
    let mut wrong = second.clone();
    wrong[0] = 1;
    assert_eq!(deframer.clone().next(&wrong), Err(FpduError::Crc));
    assert_eq!(deframe(&mut deframer, &second, []).unwrap().len(), 1);
}

/// F33, section 2: where the stream ends decides whether that is an error.
#[test]
fn a_stream_that_ends_inside_an_fpdu_is_truncated() {
    let wire = frame(&mut Framer::new(true, true), &ulpdu(600, 1), 18);
    for end in 1..wire.len() {
        let result = deframe(&mut Deframer::new(true, true), &wire[..end], []);
        assert_eq!(result, Err(FpduError::Truncated), "{end}");
    }
    assert_eq!(deframe(&mut Deframer::new(true, true), &[], []), Ok(vec![]));
}

/// T3: the period runs on over FPDUs of any size.
#[test]
fn markers_keep_their_period_over_a_long_stream() {
    let mut framer = Framer::new(true, true);
    let mut wire = Vec::new();
    let mut starts = Vec::new();
    for len in 1..300 {
        starts.push(wire.len());
        wire.extend(frame(&mut framer, &vec![0xee; len], 0));
    }
    for at in (0..wire.len()).step_by(512) {
        let pointer = usize::from(u16::from_be_bytes([wire[at + 2], wire[at + 3]]));
        assert_eq!(wire[at..at + 2], [0, 0]);
        let length_at = at - pointer;
        let points_at_a_start = starts.contains(&length_at) && pointer != 0;
        assert!(points_at_a_start || starts.contains(&at) || starts.contains(&(length_at - 4)));
    }
}

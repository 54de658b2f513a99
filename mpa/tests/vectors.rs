//! The published and derived vectors of `data/vectors.json`.
//!
//! Every entry of the file is looked at, and one of a kind unknown here fails. The counts at the end keep an entry
//! from being skipped by accident.

mod common;

use common::{bitwise_crc, deframe, frame};
use serde_json::Value;
use uwarp_mpa::{
    Deframer, Enhanced, FpduLayout, Frame, FrameKind, Framer, NO_NEGOTIATION, Piece, Progress,
    RtrSet, StartupReader, crc, mulpdu,
};

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("data/vectors.json")).unwrap()
}

fn text<'v>(vector: &'v Value, key: &str) -> &'v str {
    vector[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} of {vector}"))
}

fn octets(vector: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(vector, key)).unwrap()
}

fn numbers(vector: &Value, key: &str) -> Vec<usize> {
    vector[key]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap() as usize)
        .collect()
}

fn hex_number(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

fn find(name: &str) -> Value {
    vectors()
        .into_iter()
        .find(|v| text(v, "name").starts_with(name))
        .unwrap()
}

/// RFC 3720 B.4, by both ways of computing it.
fn check_crc(vector: &Value) {
    let input = octets(vector, "input");
    let wire = octets(vector, "crc_wire_bytes");
    assert_eq!(crc::to_wire(crc::crc32c(&input)), wire[..], "{vector}");
    assert_eq!(bitwise_crc(&input).to_le_bytes(), wire[..]);
}

fn check_mulpdu(vector: &Value) {
    let emss = vector["emss"].as_u64().unwrap() as u32;
    for (key, markers) in [("no_markers", false), ("markers", true)] {
        let clamped = numbers(vector, key)[1];
        assert_eq!(usize::from(mulpdu(emss, markers)), clamped, "{vector}");
    }
}

/// Where the FPDUs of a stream with such ULPDUs begin, their markers, and the end of the stream.
fn check_layouts(vector: &Value, markers: bool) {
    let mut at = 0;
    let mut starts = Vec::new();
    let mut pointers = Vec::new();
    for len in numbers(vector, "ulpdu_lengths") {
        let layout = FpduLayout::new(at, len as u16, markers).unwrap();
        starts.push(at);
        let fpduptrs = layout.pieces().filter_map(|piece| match piece {
            Piece::Marker { fpduptr } => Some(u64::from(fpduptr)),
            _ => None,
        });
        pointers.extend(
            layout
                .marker_offsets()
                .map(|offset| at + offset as u64)
                .zip(fpduptrs),
        );
        at = layout.end();
    }
    let due: Vec<u64> = vector["fpdu_offsets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|offset| hex_number(offset.as_str().unwrap()))
        .collect();
    assert_eq!(starts, due, "{vector}");
    let mut due: Vec<(u64, u64)> = vector["markers_at_fpduptr"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(at, pointer)| (hex_number(at), pointer.as_u64().unwrap()))
        .collect();
    due.sort_unstable();
    assert_eq!(pointers, due, "{vector}");
    assert_eq!(at, vector["total"].as_u64().unwrap(), "{vector}");
}

/// The wire is taken apart and put together again, with every place to cut header from payload.
fn check_wire(vector: &Value, markers: bool) {
    let wire = octets(vector, "wire");
    let crcs: Vec<&str> = vector["crc_wire"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c.as_str().unwrap())
        .collect();
    let crc = crcs.iter().any(|crc| *crc != "00000000");
    let ulpdus = deframe(&mut Deframer::new(markers, crc), &wire, []).unwrap();
    let lengths: Vec<usize> = ulpdus.iter().map(Vec::len).collect();
    assert_eq!(lengths, numbers(vector, "ulpdu_lengths"), "{vector}");

    let shortest = lengths.iter().min().copied().unwrap();
    for header in 0..=shortest {
        let mut framer = Framer::new(markers, crc);
        let mut again = Vec::new();
        for (ulpdu, crc) in ulpdus.iter().zip(&crcs) {
            again.extend(frame(&mut framer, ulpdu, header));
            assert_eq!(&hex::encode(&again[again.len() - 4..]), crc, "{vector}");
        }
        assert_eq!(again, wire, "{vector}");
    }
    assert_eq!(
        hex::encode(crc::crc32c(&wire).to_be_bytes()),
        text(vector, "wire_crc32c")
    );
}

fn check_stream(vector: &Value) {
    let markers = !vector["markers_at_fpduptr"].as_object().unwrap().is_empty();
    check_layouts(vector, markers);
    if !vector["wire"].is_null() {
        check_wire(vector, markers);
    }
}

fn startup(vector: &Value) -> Frame {
    let wire = octets(vector, "wire");
    let kind = if text(vector, "name").starts_with("MPA Request") {
        FrameKind::Request
    } else {
        FrameKind::Reply
    };
    let Ok(Progress::Frame { frame, consumed }) = StartupReader::new(kind).read(&wire) else {
        panic!("{vector}");
    };
    assert_eq!(consumed, wire.len());
    assert_eq!(frame.encode().unwrap(), wire, "{vector}");
    frame
}

#[test]
fn every_vector_of_this_layer() {
    let [mut crcs, mut mulpdus, mut streams, mut startups, mut others] = [0; 5];
    for vector in vectors() {
        let name = text(&vector, "name");
        if vector.get("crc_wire_bytes").is_some() {
            check_crc(&vector);
            crcs += 1;
        } else if name == "MULPDU" {
            check_mulpdu(&vector);
            mulpdus += 1;
        } else if vector.get("ulpdu_lengths").is_some() {
            check_stream(&vector);
            streams += 1;
        } else if name.starts_with("MPA Re") {
            startup(&vector);
            startups += 1;
        } else {
            let elsewhere = [
                "RFC 5044 Fig",
                "largest ULPDU",
                "IRD/ORD word",
                "FetchAdd",
                "CmpSwap",
            ];
            assert!(
                elsewhere.iter().any(|start| name.starts_with(start)),
                "unknown: {name}"
            );
            others += 1;
        }
    }
    // The others: three figures, the largest ULPDU and the IRD/ORD word have tests below; the six
    // results of atomics are not of this layer.
    assert_eq!(
        (crcs, mulpdus, streams, startups, others),
        (5, 16, 18, 5, 11)
    );
}

/// RFC 5044 Figure 5: the first FPDU of a stream, behind its marker.
#[test]
fn figure_5() {
    let wire = octets(&find("RFC 5044 Figure 5"), "wire");
    let ulpdus = deframe(&mut Deframer::new(true, true), &wire, []).unwrap();
    assert_eq!((ulpdus.len(), ulpdus[0].len()), (1, 42));
    assert_eq!(frame(&mut Framer::new(true, true), &ulpdus[0], 18), wire);
}

/// RFC 5044 Figure 6: the second FPDU at 0x1ec, with a marker 20 octets in.
#[test]
fn figure_6() {
    let vector = find("RFC 5044 Figure 6");
    let first = octets(&vector, "first_fpdu_wire_derived_payload_zero");
    let second = octets(&vector, "wire");
    assert_eq!(first.len(), 0x1ec);
    let wire = [first.clone(), second.clone()].concat();
    let ulpdus = deframe(&mut Deframer::new(true, true), &wire, []).unwrap();
    assert_eq!(ulpdus.iter().map(Vec::len).collect::<Vec<_>>(), [482, 42]);

    let mut framer = Framer::new(true, true);
    assert_eq!(frame(&mut framer, &ulpdus[0], 18), first);
    assert_eq!(frame(&mut framer, &ulpdus[1], 18), second);
}

/// RFC 5044 Figure 4: 16 octets of ULPDU around a marker, in an FPDU that begins at 500.
#[test]
fn figure_4() {
    let due = octets(&find("RFC 5044 Figure 4"), "wire");
    let ulpdu: Vec<u8> = (0..16).collect();
    let mut framer = Framer::new(true, true);
    let before = frame(&mut framer, &[0; 490], 18);
    assert_eq!(framer.position(), 500);
    for header in 0..=16 {
        assert_eq!(frame(&mut framer.clone(), &ulpdu, header), due);
    }
    let wire = [before, due].concat();
    assert_eq!(
        deframe(&mut Deframer::new(true, true), &wire, []).unwrap()[1],
        ulpdu
    );
}

#[test]
fn largest_ulpdu_with_markers() {
    let vector = find("largest ULPDU");
    let ulpdu: Vec<u8> = (0..64768_u32).map(|at| (at * 7 + at / 256) as u8).collect();
    let wire = frame(&mut Framer::new(true, true), &ulpdu, 14);
    assert_eq!(wire.len() as u64, vector["fpdu_len"].as_u64().unwrap());
    let last = &wire[wire.len() / 512 * 512..][..4];
    assert_eq!(last[..2], [0, 0]);
    let pointer = u64::from(u16::from_be_bytes([last[2], last[3]]));
    assert_eq!(pointer, vector["last_marker_ptr"].as_u64().unwrap());
    assert_eq!(
        deframe(&mut Deframer::new(true, true), &wire, []).unwrap(),
        [ulpdu]
    );
}

#[test]
fn the_startup_frames_say_what_their_names_say() {
    let plain = startup(&find("MPA Request rev1 C=1 M=0 no PD"));
    assert_eq!(
        (plain.revision, plain.crc, plain.markers, plain.rejected),
        (1, true, false, false)
    );
    assert!(plain.private_data.is_empty());

    let accepted = startup(&find("MPA Reply rev1 C=1 M=1 PD"));
    assert_eq!(
        (accepted.crc, accepted.markers, accepted.rejected),
        (true, true, false)
    );
    assert_eq!(accepted.user_data(), b"ok");

    let rejected = startup(&find("MPA Reply rev1 reject C=1"));
    assert!(rejected.rejected && rejected.crc);

    let enhanced = startup(&find("MPA Request rev2"));
    assert_eq!(enhanced.user_data(), b"hi");
    let rtr = RtrSet::WRITE | RtrSet::READ;
    let words = Enhanced {
        ird: 16,
        ord: 32,
        peer_to_peer: true,
        rtr,
    };
    assert_eq!(enhanced.enhanced_data(), Some(words));

    let reply = startup(&find("MPA Reply rev2"));
    let words = Enhanced {
        ird: 32,
        ord: 16,
        peer_to_peer: true,
        rtr: RtrSet::READ,
    };
    assert_eq!(reply.enhanced_data(), Some(words));

    let open = Enhanced {
        ird: NO_NEGOTIATION,
        ord: NO_NEGOTIATION,
        peer_to_peer: false,
        rtr: RtrSet::NONE,
    };
    assert_eq!(
        hex::encode(open.encode()),
        text(&find("IRD/ORD word all-ones"), "wire")
    );
}

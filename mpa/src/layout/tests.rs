//! The closed formulas against the definition, octet by octet.

use super::*;

/// What one octet of the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Octet {
    Marker(usize),
    Length,
    Ulpdu(usize),
    Pad,
    Crc,
}

fn layout(start: u64, ulpdu_len: u16, markers: bool) -> FpduLayout {
    FpduLayout::new(start, ulpdu_len, markers).unwrap()
}

/// Lays an FPDU out by walking the stream one octet at a time.
fn walk(layout: &FpduLayout) -> Vec<Octet> {
    let len = layout.ulpdu_len();
    let mut content = vec![Octet::Length; 2];
    content.extend((0..len).map(Octet::Ulpdu));
    while !content.len().is_multiple_of(4) {
        content.push(Octet::Pad);
    }
    content.extend([Octet::Crc; 4]);

    let mut wire = Vec::new();
    let mut length_at = None;
    for octet in content {
        if layout.markers() && (layout.start() + wire.len() as u64).is_multiple_of(512) {
            let distance = length_at.map_or(0, |at| wire.len() - at);
            wire.extend([Octet::Marker(distance); 4]);
        }
        length_at.get_or_insert(wire.len());
        wire.push(octet);
    }
    wire
}

fn expand(layout: &FpduLayout) -> Vec<Octet> {
    let mut wire = Vec::new();
    for piece in layout.pieces() {
        match piece {
            Piece::Marker { fpduptr } => wire.extend([Octet::Marker(fpduptr.into()); 4]),
            Piece::Length => wire.extend([Octet::Length; 2]),
            Piece::Ulpdu(range) => wire.extend(range.map(Octet::Ulpdu)),
            Piece::Pad(len) => wire.extend(vec![Octet::Pad; len]),
            Piece::Crc => wire.extend([Octet::Crc; 4]),
        }
    }
    wire
}

fn check(layout: &FpduLayout) {
    let wire = walk(layout);
    assert_eq!(layout.wire_len(), wire.len(), "{layout:?}");
    assert_eq!(expand(layout), wire, "{layout:?}");
    assert_eq!(
        layout.pad(),
        wire.iter().filter(|o| **o == Octet::Pad).count()
    );
    assert_eq!(layout.leading_marker(), matches!(wire[0], Octet::Marker(_)));
    assert_eq!(wire[layout.length_offset()], Octet::Length);
    let markers: Vec<usize> = layout.marker_offsets().collect();
    let walked: Vec<usize> = (0..wire.len())
        .filter(|at| matches!(wire[*at], Octet::Marker(_)))
        .step_by(4)
        .collect();
    assert_eq!(markers, walked, "{layout:?}");
}

#[test]
fn the_formulas_agree_with_the_walk_at_every_phase() {
    for start in (0..512).step_by(4) {
        for ulpdu_len in (0..24).chain(480..520).chain([1218, 1500, 3001]) {
            check(&layout(start, ulpdu_len, true));
        }
    }
}

#[test]
fn the_formulas_agree_with_the_walk_without_markers() {
    for ulpdu_len in (0..1100).chain([64767, 64768, 64769, 65534, 65535]) {
        check(&layout(4, ulpdu_len, false));
    }
}

#[test]
fn spans_find_every_octet_of_every_range() {
    for start in [0, 4, 12, 500, 504, 508] {
        for ulpdu_len in [1, 18, 498, 502, 503, 506, 507, 1218] {
            let layout = layout(start, ulpdu_len, true);
            let wire = walk(&layout);
            for from in 0..=layout.ulpdu_len() {
                for to in [
                    from,
                    from + 1,
                    from + 507,
                    from + 508,
                    from + 509,
                    usize::MAX,
                ] {
                    let spans = layout.ulpdu_spans(from..to);
                    assert_eq!(spans.len(), spans.clone().count());
                    let mut next = from;
                    for span in spans {
                        // What is between the first and the last of as many octets can only be the rest.
                        assert_eq!(
                            wire[span.start],
                            Octet::Ulpdu(next),
                            "{layout:?} {from}..{to}"
                        );
                        next += span.len();
                        assert_eq!(wire[span.end - 1], Octet::Ulpdu(next - 1));
                    }
                    assert_eq!(next, to.min(layout.ulpdu_len()), "{layout:?} {from}..{to}");
                }
            }
        }
    }
}

#[test]
fn one_span_without_markers() {
    let layout = layout(0, 64768, false);
    assert!(layout.ulpdu_spans(14..64768).eq(Some(16..64770)));
    assert_eq!(layout.ulpdu_spans(64768..70000).count(), 0);
    let layout = self::layout(0, 65535, false);
    assert!(layout.ulpdu_spans(14..70000).eq(Some(16..65537)));
}

/// RFC 5044 s4.3: with the first marker at 11, the next ones are at 523 and 1035.
#[test]
fn markers_are_512_octets_apart() {
    let first = 11;
    let offsets: Vec<usize> = layout(0, 1218, true)
        .marker_offsets()
        .map(|at| first + at)
        .collect();
    assert_eq!(offsets, [11, 523, 1035]);
}

#[test]
fn the_largest_ulpdu_fits_its_pointers() {
    for start in [0, 4, 8, 252, 256, 500, 504, 508] {
        let layout = layout(start, 64768, true);
        check(&layout);
        assert!(layout.wire_len() <= max_wire_len(true));
    }
    let first = layout(0, 64768, true);
    assert_eq!(first.wire_len(), 65288);
    let last = first.pieces().filter_map(|piece| match piece {
        Piece::Marker { fpduptr } => Some(fpduptr),
        _ => None,
    });
    assert_eq!(last.last(), Some(65020));
}

#[test]
fn a_longer_ulpdu_has_no_layout_with_markers() {
    for start in [0, 4, 508] {
        for ulpdu_len in [64769, u16::MAX] {
            assert_eq!(FpduLayout::new(start, ulpdu_len, true), None);
        }
    }
}

#[test]
fn the_largest_fpdu_is_one_without_markers() {
    assert_eq!(layout(0, u16::MAX, false).wire_len(), 65544);
    assert_eq!(FPDU_MAX, 65544);
}

#[test]
fn an_impossible_start_is_rounded_down() {
    for start in 500..504 {
        assert_eq!(layout(start, 16, true), layout(500, 16, true));
    }
}

#[test]
fn the_stream_position_may_wrap() {
    let last = layout(u64::MAX - 3, 18, true);
    assert!(!last.leading_marker());
    assert_eq!(last.marker_offsets().collect::<Vec<_>>(), [4]);
    assert_eq!(last.end(), 24);
}

//! Seeds that are one frame or one message.

use crate::Seed;

/// Two default policies, and octets that arrive two at a time.
const DEFAULTS: [u8; 7] = [0, 32, 32, 0, 32, 32, 1];

fn with(policies: [u8; 7], wire: &str) -> Vec<u8> {
    [&policies[..], &hex::decode(wire).unwrap()].concat()
}

const REQUEST: &str = "4d504120494420526571204672616d65";
const REPLY: &str = "4d504120494420526570204672616d65";

/// Inputs of the target `startup`.
pub(crate) fn startup() -> Vec<Seed> {
    let frame = |key: &str, rest: &str| with(DEFAULTS, &format!("{key}{rest}"));
    // Bit 0 of a policy is revision 1, bit 3 no peer-to-peer, bit 4 no negotiation.
    let first = |bits: u8, ird: u8| [bits, ird, 32, 0, 32, 32, 30];
    vec![
        ("request_rev1", frame(REQUEST, "40010000")),
        ("request_rev1_markers", frame(REQUEST, "c0010000")),
        ("request_rev2", frame(REQUEST, "500200068010c0206869")),
        (
            "request_rev2_no_numbers",
            frame(REQUEST, "500200043fff3fff"),
        ),
        ("request_rev2_send_only", frame(REQUEST, "50020004c0100020")),
        (
            "request_rev2_words_missing",
            frame(REQUEST, "50020003801000"),
        ),
        ("request_rev3", frame(REQUEST, "40030000")),
        ("request_cut_short", frame(REQUEST, "400100056869")),
        ("request_too_long", frame(REQUEST, "40010201")),
        ("request_reserved_bits", frame(REQUEST, "2f010000")),
        (
            "request_longest",
            frame(REQUEST, &format!("40010200{}", "61".repeat(512))),
        ),
        (
            "request_then_more",
            frame(REQUEST, "40010000485454502f312e31"),
        ),
        ("reply_rev2", frame(REPLY, "500200048020c010")),
        ("reply_rev2_rejected", frame(REPLY, "700200048020c010")),
        ("reply_rev2_no_rtr", frame(REPLY, "5002000480200010")),
        (
            "reply_rev2_wants_many_reads",
            frame(REPLY, "500200048020d000"),
        ),
        ("reply_rev2_other_model", frame(REPLY, "5002000400200010")),
        (
            "reply_rev1_to_rev1",
            with(first(1, 32), &format!("{REPLY}c00100026f6b")),
        ),
        (
            "reply_rev1_rejected",
            with(first(1, 32), &format!("{REPLY}60010000")),
        ),
        (
            "reply_without_negotiation",
            with(first(0x18, 32), &format!("{REPLY}500200043fff3fff")),
        ),
        (
            "reply_only_a_read_fits",
            with(first(0x60, 0), &format!("{REPLY}5002000480014000")),
        ),
        ("http", with(DEFAULTS, "474554202f20485454502f312e310d0a")),
        ("crc_of_one_side", with([0, 32, 32, 2, 32, 32, 1], "")),
        ("crc_of_the_other_side", with([2, 32, 32, 0, 32, 32, 1], "")),
        ("no_common_rtr", with([0x20, 32, 32, 0x40, 32, 32, 1], "")),
        (
            "revision_2_to_revision_1",
            with([0, 32, 32, 1, 32, 32, 1], ""),
        ),
        ("nothing", Vec::new()),
    ]
}

/// Inputs of the target `terminate`.
pub(crate) fn terminate() -> Vec<Seed> {
    [
        ("bare_crc_error", "20020000"),
        ("insufficient_ird", "20060000"),
        (
            "tagged_invalid_stag",
            "1100c0000016c14000000bad0000000000000040",
        ),
        (
            "read_bounds",
            "0101e000002e41410000000000000001000000010000000011223344000000000000100000001000\
             556677880000000000002000",
        ),
        ("only_length", "100080000005"),
        (
            "header_without_length",
            "110040000000c14000000bad0000000000000040",
        ),
        (
            "only_read_request",
            "010120001122334400000000000010000000100055667788000000000000200000",
        ),
        ("siw_tagged", "210503000016c14000000bad0000000000000040"),
        ("siw_bare", "02020000"),
        ("reserved_bits", "20021fff"),
        ("unknown_layer", "ff00ffff"),
        ("promises_too_much", "0101e000002e4141"),
        ("too_short", "2002"),
        ("trailing_octets", "20020000ffffffff"),
        ("looks_like_siw", "0202000100"),
        // Not a message: the fields of one, first which of them there are.
        (
            "fields_without_length",
            "120100c14000000bad0000000000000040",
        ),
        (
            "fields_with_all",
            "170100001241410000000000000001000000010000000011223344",
        ),
    ]
    .map(|(name, wire)| (name, hex::decode(wire).unwrap()))
    .into()
}

/// Inputs of the target `control`: for each datagram an octet that says what it is, as in `control.rs`.
pub(crate) fn control() -> Vec<Seed> {
    let (wake, listeners, stop) = (0, 1 << 2, 2 << 2);
    let (whole, resized, flipped) = (1, 2, 3);
    vec![
        ("wake", vec![wake | whole]),
        ("listeners", vec![listeners | whole]),
        ("stop", vec![stop | whole]),
        (
            "all_in_turn",
            vec![wake | whole, stop | whole, listeners | whole],
        ),
        ("empty", vec![wake | resized, 0]),
        ("short", vec![wake | resized, 4, stop | resized, 7]),
        ("one_too_long", vec![wake | resized, 9]),
        ("cut", vec![stop | resized, 31]),
        ("another_kind", vec![wake | flipped, 3, 5]),
        ("no_kind", vec![wake | flipped, 3, 1]),
        ("wide_kind", vec![wake | flipped, 0, 1]),
        ("reserved_octets", vec![listeners | flipped, 7, 0x80]),
        ("by_hand", [&[0, 8][..], &[0, 0, 0, 3, 0, 0, 0, 0]].concat()),
        ("noise", [&[0, 40][..], &[0xa5; 40]].concat()),
        (
            "noise_between",
            vec![wake | whole, 0, 3, 9, 9, 9, stop | whole, 0, 0],
        ),
    ]
}

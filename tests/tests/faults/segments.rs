//! One segment that is wrong.

use uwarp_ddp::{Stag, Untagged};
use uwarp_mpa::Policy;
use uwarp_rdmap::atomic::AtomicRequest;
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{AtomicOperation, Opcode};
use uwarp_tests::stranger::{
    SINK_STAG, fix_crc, raw_fpdu, read, send, single, tagged, untagged, write,
};

use super::{BASE, Carries, Ground, LEN, RECEIVE_LEN, assert_refused, code};

const UNKNOWN: Stag = Stag(0x0bad_0bad);

/// A segment for a ground, the three numbers of the code.
type Case = (&'static str, fn(&Ground) -> Vec<u8>, (u8, u8, u8));

fn run(cases: &[Case], carries: Carries) {
    for (name, segment, (layer, etype, number)) in cases {
        println!("{name}");
        let ground = Ground::new();
        let ulpdu = segment(&ground);
        assert_refused(ground, &ulpdu, code(*layer, *etype, *number), carries);
    }
}

/// A Read Request for a source; its sink is nobody's business.
fn request(source_stag: Stag, source_to: u64, size: u32) -> ReadRequest {
    ReadRequest {
        sink_stag: Stag(0x77),
        sink_to: 0,
        size,
        source_stag,
        source_to,
    }
}

/// `ulpdu` with other bits in one of its first octets.
fn with(mut ulpdu: Vec<u8>, octet: usize, clear: u8, set: u8) -> Vec<u8> {
    ulpdu[octet] = ulpdu[octet] & !clear | set;
    ulpdu
}

/// RFC 5044 s8 (F25, F38): the diagnostic can still be sent.
#[test]
fn a_wrong_crc() {
    let mut ground = Ground::new();
    let before = ground.bench.ram.snapshot();
    let mut fpdu = ground.bench.frame(&write(ground.open, BASE, b"spoilt"));
    let last = fpdu.len() - 1;
    fpdu[last] ^= 0x10;
    ground.bench.feed(&fpdu);
    assert!(ground.bench.ram.snapshot() == before, "nothing lands");
    ground.assert_told(code(2, 0, 2), Carries::Nothing, &[]);
}

/// RFC 5044 s4.3 (F15, F35).
#[test]
fn a_marker_that_points_elsewhere() {
    let policy = Policy {
        markers: true,
        ..Policy::default()
    };
    let mut ground = Ground::of(policy, &Policy::default());
    let before = ground.bench.ram.snapshot();
    // The stream begins with a marker and the empty Write: 24 octets. The next marker is at 512.
    let mut fpdu = ground.bench.frame(&write(ground.open, BASE, &[0; 600]));
    let pointer = 512 - 24 + 3;
    assert_eq!(usize::from(fpdu[pointer]), (512 - 24) & 0xff);
    fpdu[pointer] ^= 0x04;
    fix_crc(&mut fpdu);
    ground.bench.feed(&fpdu);
    assert!(ground.bench.ram.snapshot() == before, "nothing lands");
    ground.assert_told(code(2, 0, 3), Carries::Nothing, &[]);
}

/// A ULPDU without room for its header has no code of its own (G1).
#[test]
fn a_ulpdu_of_impossible_length() {
    let fits = |control: u8, len: u16| (len, vec![control; len.into()]);
    let cases = [
        fits(0xc1, 0),
        fits(0xc1, 1),
        fits(0xc1, 13),
        fits(0x41, 13),
        fits(0x41, 17),
    ];
    for (len, ulpdu) in cases {
        println!("{len}");
        let mut ground = Ground::new();
        let before = ground.bench.ram.snapshot();
        ground.bench.feed(&raw_fpdu(len, &ulpdu));
        assert!(ground.bench.ram.snapshot() == before, "nothing lands");
        ground.assert_told(code(1, 0, 0), Carries::Length, &ulpdu);
    }
}

/// Where there are markers, so has one that is longer than they can point (F04, G2); it is refused as soon as its
/// length is there.
#[test]
fn a_ulpdu_that_markers_cannot_point_over() {
    for len in [64_769, 65_480, 65_535] {
        for there in [2, usize::from(len)] {
            println!("{len}, {there} octets of it");
            let policy = Policy {
                markers: true,
                ..Policy::default()
            };
            let mut ground = Ground::of(policy, &Policy::default());
            let before = ground.bench.ram.snapshot();
            let ulpdu = write(ground.open, BASE, &vec![0; usize::from(len) - 14]);
            ground.bench.feed(&raw_fpdu(len, &ulpdu)[..there]);
            assert!(ground.bench.ram.snapshot() == before, "nothing lands");
            ground.assert_told(code(1, 0, 0), Carries::Length, &ulpdu);
        }
    }
}

/// RFC 5041 s4.1 (D10).
#[test]
fn a_ddp_version_other_than_one() {
    for version in [0, 2, 3] {
        let ground = Ground::new();
        let ulpdu = with(write(ground.open, BASE, b"x"), 0, 3, version);
        assert_refused(ground, &ulpdu, code(1, 1, 4), Carries::Ddp);
        let ulpdu = with(send(1, b"x"), 0, 3, version);
        assert_refused(Ground::new(), &ulpdu, code(1, 2, 6), Carries::Ddp);
    }
}

/// RFC 5040 s7.2 (R41).
#[test]
fn an_rdmap_version_other_than_one() {
    for version in [0, 2, 3] {
        let ground = Ground::new();
        let ulpdu = with(write(ground.open, BASE, b"x"), 1, 0xc0, version << 6);
        assert_refused(ground, &ulpdu, code(0, 2, 5), Carries::Ddp);
        let ulpdu = with(send(1, b"x"), 1, 0xc0, version << 6);
        assert_refused(Ground::new(), &ulpdu, code(0, 2, 5), Carries::Ddp);
    }
}

/// RFC 5040 s4.1 (R03, R41; G4): opcodes that are not assigned, or not where they came.
#[test]
fn an_opcode_that_is_not_expected() {
    for opcode in 8..16 {
        let ground = Ground::new();
        let ulpdu = with(write(ground.open, BASE, b"x"), 1, 0x0f, opcode);
        assert_refused(ground, &ulpdu, code(0, 2, 6), Carries::Ddp);
        // Immediate Data and Atomic Requests have queues of their own.
        let home = match opcode {
            0x8 | 0x9 => Some(0),
            0xa => Some(1),
            0xb => Some(3),
            _ => None,
        };
        for qn in (0..4).filter(|&qn| Some(qn) != home) {
            let ulpdu = untagged(single(Opcode::WRITE, qn, 1), b"x");
            let ulpdu = with(ulpdu, 1, 0x0f, opcode);
            assert_refused(Ground::new(), &ulpdu, code(0, 2, 6), Carries::Ddp);
        }
    }
    for opcode in [Opcode::SEND, Opcode::READ_REQUEST, Opcode::TERMINATE] {
        let ground = Ground::new();
        let ulpdu = tagged(opcode, ground.open, BASE, &[0; 28], true);
        assert_refused(ground, &ulpdu, code(0, 2, 6), Carries::Ddp);
    }
    let strays = [
        (Opcode::WRITE, 0),
        (Opcode::READ_RESPONSE, 0),
        (Opcode::SEND, 1),
        (Opcode::SEND, 2),
        (Opcode::READ_REQUEST, 0),
        (Opcode::READ_REQUEST, 2),
        (Opcode::TERMINATE, 0),
        (Opcode::TERMINATE, 1),
    ];
    for (opcode, qn) in strays {
        let ulpdu = untagged(single(opcode, qn, 1), &[0; 28]);
        assert_refused(Ground::new(), &ulpdu, code(0, 2, 6), Carries::Ddp);
    }
}

/// RFC 5041 s7.1 (D33): the five questions about an untagged segment.
#[test]
fn an_untagged_segment_without_a_place() {
    fn on(qn: u32) -> Vec<u8> {
        untagged(single(Opcode::SEND, qn, 1), b"x")
    }
    fn at(mo: u32, len: u32) -> Vec<u8> {
        let header = Untagged {
            mo,
            ..single(Opcode::SEND, 0, 1)
        };
        untagged(header, &vec![1; len as usize])
    }
    run(
        &[
            ("queue 4", |_| on(4), (1, 2, 1)),
            ("the last queue", |_| on(u32::MAX), (1, 2, 1)),
            ("no receive is posted", |_| send(3, b"x"), (1, 2, 2)),
            ("not even for nothing", |_| send(3, b""), (1, 2, 2)),
            ("far ahead", |_| send(0x7fff_ffff, b"x"), (1, 2, 2)),
            ("just behind", |_| send(0, b"x"), (1, 2, 3)),
            ("far behind", |_| send(0x8000_0002, b"x"), (1, 2, 3)),
            ("behind the buffer", |_| at(RECEIVE_LEN + 1, 1), (1, 2, 4)),
            ("at the far end", |_| at(u32::MAX, 1), (1, 2, 4)),
            ("too long", |_| at(0, RECEIVE_LEN + 1), (1, 2, 5)),
            ("one octet too long", |_| at(RECEIVE_LEN, 1), (1, 2, 5)),
            ("a gap before it", |_| at(1, 0), (1, 2, 4)),
        ],
        Carries::Ddp,
    );
}

/// RFC 5041 s7.1, s8.2 (D35, D38, D40; G5; S01, S02, S04, T18).
#[test]
fn a_write_where_none_may_be() {
    const X: &[u8] = b"four";
    run(
        &[
            ("unknown", |_| write(UNKNOWN, BASE, X), (1, 1, 0)),
            ("zero", |_| write(Stag(0), BASE, X), (1, 1, 0)),
            ("revoked", |g| write(g.revoked, BASE, X), (1, 1, 0)),
            ("read only", |g| write(g.readable, BASE, X), (1, 1, 0)),
            ("no access", |g| write(g.fleeting, BASE, X), (1, 1, 0)),
            ("a Read's sink", |_| write(SINK_STAG, 0, X), (1, 1, 0)),
            ("stream", |g| write(g.of_other_stream, BASE, X), (1, 1, 2)),
            ("domain", |g| write(g.of_other_domain, BASE, X), (1, 1, 2)),
            ("before", |g| write(g.open, BASE - 1, X), (1, 1, 1)),
            ("at zero", |g| write(g.open, 0, X), (1, 1, 1)),
            ("across", |g| write(g.open, BASE + LEN - 3, X), (1, 1, 1)),
            ("behind", |g| write(g.open, BASE + LEN, X), (1, 1, 1)),
            ("wrap", |g| write(g.high, u64::MAX - 2, X), (1, 1, 3)),
            ("wrap first", |g| write(g.open, u64::MAX, X), (1, 1, 3)),
        ],
        Carries::Ddp,
    );
}

/// RFC 5040 s7.2 (R42): the source of a Read, with both headers (Figure 10).
#[test]
fn a_read_where_none_may_be() {
    fn of(stag: Stag, to: u64) -> Vec<u8> {
        read(1, &request(stag, to, 4))
    }
    run(
        &[
            ("unknown", |_| of(UNKNOWN, BASE), (0, 1, 0)),
            ("revoked", |g| of(g.revoked, BASE), (0, 1, 0)),
            ("before", |g| of(g.open, BASE - 1), (0, 1, 1)),
            ("across", |g| of(g.open, BASE + LEN - 3), (0, 1, 1)),
            ("write only", |g| of(g.writable, BASE), (0, 1, 2)),
            ("no access", |g| of(g.fleeting, BASE), (0, 1, 2)),
            ("other stream", |g| of(g.of_other_stream, BASE), (0, 1, 3)),
            ("other domain", |g| of(g.of_other_domain, BASE), (0, 1, 3)),
            ("wrap", |g| of(g.high, u64::MAX - 2), (0, 1, 4)),
            // An answer to it could not be put on the wire.
            (
                "the sink wraps",
                |g| {
                    let mut request = request(g.open, BASE, 4);
                    request.sink_to = u64::MAX - 2;
                    read(1, &request)
                },
                (0, 1, 4),
            ),
        ],
        Carries::DdpAndRead,
    );
}

/// RFC 5041 s7.1, RFC 5040 s4.4 (D33, R06; G3, G9).
#[test]
fn a_read_request_that_is_none() {
    fn sized(len: usize) -> Vec<u8> {
        untagged(single(Opcode::READ_REQUEST, 1, 1), &vec![0; len])
    }
    fn numbered(msn: u32) -> Vec<u8> {
        read(msn, &request(Stag(0), 0, 0))
    }
    run(
        &[
            ("nothing", |_| sized(0), (0, 2, 0xff)),
            ("too short", |_| sized(27), (0, 2, 0xff)),
            ("too long", |_| sized(29), (0, 2, 0xff)),
            ("much too long", |_| sized(1000), (0, 2, 0xff)),
            (
                "unfinished",
                |_| with(numbered(1), 0, 0x40, 0),
                (0, 2, 0xff),
            ),
            ("offset", |_| with(numbered(1), 17, 0, 1), (1, 2, 4)),
            ("behind", |_| numbered(0), (1, 2, 3)),
            ("out of turn", |_| numbered(2), (1, 2, 3)),
            ("beyond the IRD", |_| numbered(3), (1, 2, 2)),
        ],
        Carries::Ddp,
    );
}

/// Read Responses are held against the Read that was asked for (RFC 5040 s5.2.2, R18; G10, T19).
#[test]
fn a_read_response_that_was_not_asked_for() {
    fn to(ground: &Ground, offset: u64, len: u32) -> Vec<u8> {
        let to = ground.asked.sink_to.wrapping_add(offset);
        let payload = vec![1; len as usize];
        tagged(Opcode::READ_RESPONSE, SINK_STAG, to, &payload, true)
    }
    fn through(stag: Stag, to: u64) -> Vec<u8> {
        tagged(Opcode::READ_RESPONSE, stag, to, b"x", true)
    }
    run(
        &[
            ("too long", |g| to(g, 0, 101), (1, 1, 1)),
            ("across", |g| to(g, 99, 2), (1, 1, 1)),
            ("behind", |g| to(g, 100, 1), (1, 1, 1)),
            ("before", |g| to(g, u64::MAX, 1), (1, 1, 1)),
            (
                "other STag",
                |g| through(UNKNOWN, g.asked.sink_to),
                (1, 1, 1),
            ),
            ("a region", |g| through(g.open, BASE), (1, 1, 1)),
            ("nothing, and the end", |g| to(g, 0, 0), (1, 1, 1)),
        ],
        Carries::Ddp,
    );
}

/// RFC 5040 s5.3, s7.2 (R22, R41; S05): the Send itself was good, so that it took its receive.
#[test]
fn an_invalidation_that_may_not_be() {
    fn of(stag: Stag) -> Vec<u8> {
        let header = Untagged {
            ulp_word: stag.0,
            ..single(Opcode::SEND_INVALIDATE, 0, 1)
        };
        untagged(header, b"")
    }
    run(
        &[
            ("unknown", |_| of(UNKNOWN), (0, 1, 9)),
            ("revoked", |g| of(g.revoked), (0, 1, 9)),
            ("no right", |g| of(g.open), (0, 1, 9)),
            ("of many streams", |g| of(g.shared), (0, 1, 9)),
            ("of another stream", |g| of(g.of_other_stream), (0, 1, 9)),
            ("of another domain", |g| of(g.of_other_domain), (0, 1, 9)),
        ],
        Carries::Ddp,
    );
    let stag = Ground::new().shared;
    let solicited = with(of(stag), 1, 0x0f, Opcode::SEND_SOLICITED_INVALIDATE.bits());
    assert_refused(Ground::new(), &solicited, code(0, 1, 9), Carries::Ddp);
}

/// RFC 7306 s8.1 (X15): of an Atomic Request at fault the DDP header comes back, and no more.
#[test]
fn an_atomic_where_none_may_be() {
    let request = AtomicRequest {
        id: 1,
        stag: UNKNOWN,
        to: BASE,
        operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
    };
    let ulpdu = untagged(single(Opcode::ATOMIC_REQUEST, 1, 1), &request.encode());
    assert_refused(Ground::new(), &ulpdu, code(0, 1, 0), Carries::Ddp);
    let mut unknown = ulpdu;
    unknown[18 + 3] = 0x0f;
    assert_refused(Ground::new(), &unknown, code(0, 2, 6), Carries::Ddp);
}

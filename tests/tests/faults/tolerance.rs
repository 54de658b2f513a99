//! What looks odd and is right.

use uwarp_ddp::{Header, Rights, Stag, Untagged};
use uwarp_mpa::{FrameKind, Policy};
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{Opcode, Status};
use uwarp_stream::{Config, End, Event};
use uwarp_tests::stranger::{
    Bench, fix_crc, raw_fpdu, read, response, send, single, tagged, untagged, write,
};

use super::{BASE, Ground};

/// A connection that has not heard of any trouble.
fn assert_well(ground: &mut Ground) {
    assert_eq!(ground.bench.events.len(), 0, "{:?}", ground.bench.events);
    assert!(!ground.bench.fin && !ground.bench.connection.is_over());
}

/// No sender may send ULPDUs above 64,768 octets, but siw does where TCP's segments have room for them; without
/// markers no harm comes of it (F04, G2).
#[test]
fn a_ulpdu_that_is_longer_than_it_may_be() {
    for crc in [true, false] {
        let policy = Policy {
            crc,
            ..Policy::default()
        };
        let config = Config {
            policy,
            ..Config::default()
        };
        let mut bench = Bench::accepted(config, &policy);
        let region = (bench.ram).register(Rights::REMOTE_WRITE, 0, vec![0; 1 << 17]);
        for (msn, len) in (1..).zip([64_768, 64_769, 65_480, 65_534, 65_535]) {
            let octets: Vec<u8> = (0..usize::from(len)).map(|at| (at % 253) as u8).collect();
            let (written, sent) = (&octets[14..], &octets[18..]);
            let to = u64::from(msn) * 3;
            bench.feed(&raw_fpdu(len, &write(region, to, written)));
            assert!(bench.ram.region(region)[to as usize..].starts_with(written));
            let slot = bench.post_receive(66_000).expect("there is room");
            bench.feed(&raw_fpdu(len, &send(msn, sent)));
            let done = bench.completions.pop().expect("it arrives");
            assert_eq!((done.slot, done.status), (slot, Status::Success));
            assert_eq!(done.len as usize, sent.len());
            assert!(bench.ram.buffer(slot).starts_with(sent), "{len}");
        }
        assert_eq!((bench.hear(), bench.events.len()), (vec![], 0));
        assert!(!bench.fin && !bench.connection.is_over());
    }
}

/// RFC 5041 s5.2 (D21, T9): an empty Write is not held against anything.
#[test]
fn an_empty_write_anywhere() {
    for (stag, to) in [(Stag(0), 0), (Stag(1), u64::MAX), (Stag(2), BASE)] {
        let mut ground = Ground::new();
        let before = ground.bench.ram.snapshot();
        ground.bench.send(&write(stag, to, b""));
        assert!(ground.bench.ram.snapshot() == before);
        assert_eq!(ground.bench.hear(), []);
        assert_well(&mut ground);
    }
}

/// RFC 5040 s5.2.1 (R15, T9; S04): an empty Read is answered, whatever it reads.
#[test]
fn an_empty_read_of_anything() {
    let mut ground = Ground::new();
    let sources = [
        (Stag(0), 0),
        (ground.writable, BASE),
        (ground.revoked, u64::MAX),
        (ground.of_other_domain, 0),
    ];
    for (msn, (source_stag, source_to)) in (1..).zip(sources) {
        let request = ReadRequest {
            sink_stag: Stag(0x77),
            sink_to: u64::MAX,
            size: 0,
            source_stag,
            source_to,
        };
        ground.bench.send(&read(msn, &request));
        let heard = ground.bench.hear();
        assert_eq!((heard.len(), heard[0].body.len()), (1, 0));
        assert_eq!(heard[0].opcode(), Opcode::READ_RESPONSE);
        let Header::Tagged(header) = heard[0].header else {
            panic!("a Response is tagged");
        };
        assert_eq!(
            (header.last, header.stag, header.to),
            (true, Stag(0x77), u64::MAX)
        );
        assert_well(&mut ground);
    }
}

/// RFC 5040 s5.3 (R21, T9): an empty Send takes a receive.
#[test]
fn an_empty_send_takes_a_receive() {
    let mut ground = Ground::new();
    for msn in 1..=2 {
        ground.bench.send(&send(msn, b""));
        let done = ground.bench.completions.pop().expect("it arrives");
        assert_eq!(done.slot, ground.receives[msn as usize - 1]);
        assert_eq!((done.status, done.len), (Status::Success, 0));
    }
    assert_well(&mut ground);
}

/// Segments without octets are allowed anywhere in a message (G19).
#[test]
fn empty_segments_of_a_message() {
    let mut ground = Ground::new();
    let segment = |mo, payload: &[u8], last| {
        let header = Untagged {
            last,
            mo,
            ..single(Opcode::SEND, 0, 1)
        };
        untagged(header, payload)
    };
    ground.bench.send(&segment(0, b"", false));
    ground.bench.send(&segment(0, b"abc", false));
    ground.bench.send(&segment(3, b"", true));
    let done = ground.bench.completions.pop().expect("it arrives");
    assert_eq!((done.slot, done.len), (ground.receives[0], 3));
    ground
        .bench
        .send(&tagged(Opcode::WRITE, Stag(9), 9, b"", false));
    let asked = ground.asked;
    ground.bench.send(&response(&asked, 0, &[8; 100], false));
    assert!(ground.bench.completions.is_empty(), "the end is not here");
    ground.bench.send(&response(&asked, 0, &[], true));
    let done = ground
        .bench
        .completions
        .pop()
        .expect("the Read is answered");
    assert_eq!((done.slot, done.len), (ground.works[0], 100));
    assert_eq!(ground.bench.ram.buffer(ground.works[0]), [8; 100]);
    assert_well(&mut ground);
}

/// RFC 5041 s5.3, s5.4 (D22, D23; G7): segments may come in any order, and overlap.
#[test]
fn segments_out_of_order() {
    let mut ground = Ground::new();
    let segment = |mo, payload: &[u8], last| {
        let header = Untagged {
            last,
            mo,
            ..single(Opcode::SEND, 0, 1)
        };
        untagged(header, payload)
    };
    ground.bench.send(&segment(3, b"def", false));
    ground.bench.send(&segment(0, b"abc", false));
    ground.bench.send(&segment(2, b"cd", false));
    ground.bench.send(&segment(6, b"ghi", true));
    let done = ground.bench.completions.pop().expect("it arrives");
    assert_eq!(&ground.bench.ram.buffer(done.slot)[..9], b"abcdefghi");
    assert_eq!(done.len, 9);
    assert_well(&mut ground);
}

/// A sender may not do it (RFC 5041 s5.3, D22; T13), but messages for different buffers do not get into each other's way.
#[test]
fn messages_that_interleave() {
    let mut ground = Ground::new();
    let segment = |mo, payload: &[u8], last| {
        let header = Untagged {
            last,
            mo,
            ..single(Opcode::SEND, 0, 1)
        };
        untagged(header, payload)
    };
    let request = ReadRequest {
        sink_stag: Stag(0x77),
        sink_to: 0,
        size: 4,
        source_stag: ground.readable,
        source_to: BASE,
    };
    let (open, asked) = (ground.open, ground.asked);
    ground.bench.send(&segment(0, b"abc", false));
    (ground.bench).send(&tagged(Opcode::WRITE, open, BASE, b"wr", false));
    ground.bench.send(&read(1, &request));
    assert_eq!(ground.bench.hear().len(), 1, "it is served");
    (ground.bench).send(&response(&asked, 0, &[8; 60], false));
    (ground.bench).send(&tagged(Opcode::WRITE, open, BASE + 2, b"ite", true));
    (ground.bench).send(&response(&asked, 60, &[8; 40], true));
    assert_eq!(
        ground.bench.completions.pop().map(|done| done.slot),
        Some(ground.works[0]),
        "the Send does not hold it up"
    );
    ground.bench.send(&segment(3, b"def", true));
    let done = ground.bench.completions.pop().expect("it arrives");
    assert_eq!((done.slot, done.len), (ground.receives[0], 6));
    assert_eq!(&ground.bench.ram.region(open)[..5], b"write");
    assert_well(&mut ground);
}

/// Reserved bits are not looked at (RFC 5041 s4.1, D09; RFC 5040 s4.1, R04, R05; RFC 5044 s4.1, F09),
/// nor are those of a startup frame (RFC 5044 s7.1.1, U08).
#[test]
fn reserved_bits() {
    let mut ground = Ground::new();
    let mut spoilt = write(ground.open, BASE, b"tagged");
    spoilt[0] |= 0x3c;
    spoilt[1] |= 0x30;
    ground.bench.send(&spoilt);
    assert_eq!(&ground.bench.ram.region(ground.open)[..6], b"tagged");
    let mut spoilt = send(1, b"odd");
    spoilt[0] |= 0x3c;
    spoilt[1] |= 0x30;
    spoilt[2..6].fill(0xff);
    // Three octets of padding that are not zero.
    let mut fpdu = ground.bench.frame(&spoilt);
    let end = fpdu.len() - 4;
    assert_eq!(&fpdu[end - 1..end], [0]);
    fpdu[end - 1] = 0xee;
    fix_crc(&mut fpdu);
    ground.bench.feed(&fpdu);
    let done = ground.bench.completions.pop().expect("it arrives");
    assert_eq!((done.len, done.invalidated), (3, None));
    assert_well(&mut ground);

    let key = FrameKind::Request.key();
    let wire = [key, &[0x40 | 0x20 | 0x1f, 1, 0, 0][..]].concat();
    let mut bench = Bench::responder(Config::default());
    bench.feed(&wire);
    let Some(Event::Request(request)) = bench.events.pop() else {
        panic!("it is a proper Request");
    };
    assert!(request.crc && !request.enhanced && !request.markers);
}

/// RFC 5041 s4.3 (D15, T10) does not say that a Read Request may not be answered late: the IRD counts
/// those that are not answered, not those that have been sent (RFC 5040 s6.1, R37).
#[test]
fn as_many_reads_as_the_ird_again_and_again() {
    let mut ground = Ground::new();
    let request = ReadRequest {
        sink_stag: Stag(0x77),
        sink_to: 0,
        size: 100,
        source_stag: ground.readable,
        source_to: BASE,
    };
    for msn in (1..20).step_by(2) {
        let fpdus = [msn, msn + 1].map(|msn| ground.bench.frame(&read(msn, &request)));
        ground.bench.feed(&fpdus.concat());
        assert_eq!(ground.bench.hear().len(), 2);
    }
    assert_well(&mut ground);
}

/// RFC 5044 s4.4 (F23, U07): without CRC the field may hold anything.
#[test]
fn any_crc_when_there_is_none() {
    let policy = Policy {
        crc: false,
        ..Policy::default()
    };
    let mut ground = Ground::of(policy, &policy);
    let mut fpdu = ground.bench.frame(&write(ground.open, BASE, b"unchecked"));
    let end = fpdu.len();
    fpdu[end - 4..].fill(0xaa);
    ground.bench.feed(&fpdu);
    assert_eq!(&ground.bench.ram.region(ground.open)[..9], b"unchecked");
    assert_well(&mut ground);
}

/// RFC 5041 s6.2.1 (D30, T24): a FIN is a half close; what is posted still goes out.
#[test]
fn a_fin_is_no_error() {
    let mut bench = Bench::accepted(Config::default(), &Policy::default());
    let receive = bench.post_receive(5).expect("it may be posted");
    bench.finish();
    assert!(matches!(bench.events[..], [Event::PeerClosed]));
    assert_eq!(bench.completions[0].slot, receive);
    assert_eq!(bench.completions[0].status, Status::Flushed);
    let operation = uwarp_rdmap::Operation::Write {
        stag: Stag(1),
        to: 0,
    };
    let slot = bench.post(operation, 5).expect("it may be posted");
    bench.drain();
    assert_eq!(bench.hear().len(), 1);
    assert_eq!(bench.completions[1].slot, slot);
    assert_eq!(bench.completions[1].status, Status::Success);
    bench.connection.close(bench.now);
    bench.drain();
    assert_eq!(bench.end(), Some(&End::Graceful));
}

/// RFC 5044 s8 (F33, T24): a FIN inside an FPDU is an error, and nothing of the FPDU lands.
#[test]
fn a_fin_inside_an_fpdu() {
    let policy = Policy {
        crc: false,
        ..Policy::default()
    };
    for theirs in [Policy::default(), policy] {
        let mut ground = Ground::of(policy, &theirs);
        let before = ground.bench.ram.snapshot();
        let fpdu = ground
            .bench
            .frame(&write(ground.open, BASE, b"never whole"));
        ground.bench.feed(&fpdu[..fpdu.len() - 1]);
        ground.bench.finish();
        assert!(ground.bench.ram.snapshot() == before, "nothing lands");
        assert_eq!(ground.bench.end(), Some(&End::Lost));
        ground.assert_flushed();
    }
}

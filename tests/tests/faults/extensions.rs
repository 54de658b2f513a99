//! Mistakes with the messages of RFC 7306: atomic operations and Immediate Data.

use uwarp_ddp::{Rights, Stag, UNTAGGED_LEN, Untagged};
use uwarp_mpa::Policy;
use uwarp_rdmap::atomic::{ATOMIC_REQUEST_LEN, AtomicRequest, AtomicResponse};
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{AtomicOperation, Opcode, Operation, Status};
use uwarp_stream::Config;
use uwarp_tests::stranger::{Bench, read, single, untagged};

use super::{BASE, Carries, Ground, LEN, assert_refused, code};

const ADD: AtomicOperation = AtomicOperation::FetchAdd { add: 1, mask: 0 };

/// An Atomic Request for the word at `to`.
fn atomic(msn: u32, stag: Stag, to: u64) -> Vec<u8> {
    let request = AtomicRequest {
        id: 1,
        stag,
        to,
        operation: ADD,
    };
    let header = single(Opcode::ATOMIC_REQUEST, 1, msn);
    untagged(header, &request.encode())
}

/// A ground with a region whose words the other end may change.
fn ground() -> (Ground, Stag) {
    let mut ground = Ground::new();
    let octets = vec![0; LEN as usize];
    let words = (ground.bench.ram).register(Rights::REMOTE_ATOMIC, BASE, octets);
    (ground, words)
}

/// RFC 7306 s5.1, s8.1, s8.2 (X06, X15, X16; G22, T21): the word stays as it is, and the DDP header alone is quoted.
#[test]
fn an_atomic_on_a_word_that_may_not_be_changed() {
    type Aim = fn(&Ground, Stag) -> (Stag, u64);
    let cases: [(&str, Aim, (u8, u8, u8)); 13] = [
        ("misaligned by 1", |_, words| (words, BASE + 1), (0, 2, 7)),
        ("misaligned by 4", |_, words| (words, BASE + 4), (0, 2, 7)),
        ("revoked", |g, _| (g.revoked, BASE), (0, 1, 0)),
        ("before", |_, words| (words, BASE - 8), (0, 1, 1)),
        ("across", |_, words| (words, BASE + LEN - 4), (0, 1, 1)),
        ("behind", |_, words| (words, BASE + LEN), (0, 1, 1)),
        ("open to Reads and Writes", |g, _| (g.open, BASE), (0, 1, 2)),
        ("read only", |g, _| (g.readable, BASE), (0, 1, 2)),
        ("write only", |g, _| (g.writable, BASE), (0, 1, 2)),
        ("stream", |g, _| (g.of_other_stream, BASE), (0, 1, 3)),
        ("domain", |g, _| (g.of_other_domain, BASE), (0, 1, 3)),
        ("wrap", |_, words| (words, u64::MAX - 6), (0, 1, 4)),
        ("a Read's sink", |g, _| (g.asked.sink_stag, 0), (0, 1, 0)),
    ];
    for (name, aim, (layer, etype, number)) in cases {
        println!("{name}");
        let (ground, words) = ground();
        let (stag, to) = aim(&ground, words);
        let expected = code(layer, etype, number);
        assert_refused(ground, &atomic(1, stag, to), expected, Carries::Ddp);
    }
}

/// RFC 7306 s5.2.1 (X08, X16; G3, G9, T10): Atomic Requests have one size, and are numbered together with Reads.
#[test]
fn an_atomic_request_that_is_none() {
    let whole = |words| atomic(1, words, BASE)[UNTAGGED_LEN..].to_vec();
    let request = single(Opcode::ATOMIC_REQUEST, 1, 1);
    for len in [0, 28, ATOMIC_REQUEST_LEN - 1, ATOMIC_REQUEST_LEN + 1] {
        let (ground, words) = ground();
        let mut body = whole(words);
        body.resize(len, 0);
        let ulpdu = untagged(request, &body);
        assert_refused(ground, &ulpdu, code(0, 2, 0xff), Carries::Ddp);
    }
    let cases = [
        (
            Untagged {
                last: false,
                ..request
            },
            code(0, 2, 0xff),
        ),
        (Untagged { mo: 4, ..request }, code(1, 2, 4)),
        (Untagged { msn: 0, ..request }, code(1, 2, 3)),
        (Untagged { msn: 2, ..request }, code(1, 2, 3)),
        (Untagged { msn: 3, ..request }, code(1, 2, 2)),
    ];
    for (header, expected) in cases {
        let (ground, words) = ground();
        let ulpdu = untagged(header, &whole(words));
        assert_refused(ground, &ulpdu, expected, Carries::Ddp);
    }
    // All codes but two (X09; G23).
    for operation in (0..16).filter(|code| ![0, 2].contains(code)) {
        let (ground, words) = ground();
        let mut ulpdu = atomic(1, words, BASE);
        ulpdu[UNTAGGED_LEN + 3] = operation;
        assert_refused(ground, &ulpdu, code(0, 2, 6), Carries::Ddp);
    }
}

/// RFC 7306 s5.2.2 (X11; G9, G21, T12): Reads and Atomics share the IRD, which is 2.
#[test]
fn more_reads_and_atomics_than_the_ird() {
    let (mut ground, words) = ground();
    let request = ReadRequest {
        sink_stag: Stag(1),
        sink_to: 0,
        size: 0,
        source_stag: Stag(0),
        source_to: 0,
    };
    let third = atomic(3, words, BASE);
    let ulpdus = [
        atomic(1, words, BASE),
        read(2, &request),
        third.clone(),
        atomic(4, words, BASE),
    ];
    let fpdus = ulpdus.map(|ulpdu| ground.bench.frame(&ulpdu));
    ground.bench.feed(&fpdus.concat());
    assert_eq!(ground.bench.ram.region(words)[..8], [0; 8], "none was due");
    ground.assert_told(code(1, 2, 2), Carries::Ddp, &third);
}

/// The word goes away while its Request waits behind a Read: the Request is blamed by the DDP header that it had, the
/// Read before it is answered to its end (RFC 7306 s8.1, X15; RFC 5042 s6.2.2, S03).
#[test]
fn a_word_revoked_while_its_atomic_waits() {
    let (mut ground, words) = ground();
    let octets = vec![0xcd; 5000];
    let source = (ground.bench.ram).register(Rights::REMOTE_READ, BASE, octets);
    let request = ReadRequest {
        sink_stag: Stag(0x77),
        sink_to: 0,
        size: 5000,
        source_stag: source,
        source_to: BASE,
    };
    let ulpdu = atomic(2, words, BASE);
    let fpdus = [read(1, &request), ulpdu.clone()].map(|ulpdu| ground.bench.frame(&ulpdu));
    ground.bench.take(&fpdus.concat());
    ground.bench.drain_one();
    ground.bench.ram.revoke(words);
    ground.bench.drain();
    let mut heard = ground.bench.hear();
    let terminate = heard.pop().expect("a Terminate");
    let served: usize = heard.iter().map(|heard| heard.body.len()).sum();
    assert_eq!(served, 5000);
    assert_eq!(ground.bench.ram.region(words)[..8], [0; 8]);
    let told = terminate.terminate().expect("a Terminate");
    let body = super::terminate_body(code(0, 1, 0), Carries::Ddp, &ulpdu);
    assert_eq!((told.code, terminate.body), (code(0, 1, 0), body));
    ground.assert_ended();
}

/// RFC 7306 s5.2.2 (X10, X11): an Atomic Response answers the oldest Request, or nothing.
#[test]
fn an_atomic_response_that_was_not_asked_for() {
    let response = |id| AtomicResponse { id, original: 7 }.encode();
    let header = single(Opcode::ATOMIC_RESPONSE, 3, 1);
    // What is awaited is the answer to a Read.
    let cases = [
        (header, response(0).to_vec(), code(0, 2, 6)),
        (header, response(1)[..11].to_vec(), code(0, 2, 0xff)),
        (header, [&response(1)[..], &[0]].concat(), code(0, 2, 0xff)),
        (
            Untagged { mo: 1, ..header },
            response(0).to_vec(),
            code(1, 2, 4),
        ),
        (
            Untagged { msn: 0, ..header },
            response(0).to_vec(),
            code(1, 2, 3),
        ),
        (
            Untagged { msn: 2, ..header },
            response(0).to_vec(),
            code(1, 2, 2),
        ),
    ];
    for (header, body, expected) in cases {
        let ulpdu = untagged(header, &body);
        assert_refused(Ground::new(), &ulpdu, expected, Carries::Ddp);
    }
    // Nothing is awaited.
    let mut bench = Bench::accepted(Config::default(), &Policy::default());
    bench.send(&untagged(header, &response(0)));
    let told = bench.hear()[0].terminate().expect("a Terminate");
    assert_eq!(told.code, code(1, 2, 2));
}

/// The answer of our atomic operation, and the same again (RFC 7306 s5.2.2, X10; T10): queue 3 has numbers of its own.
#[test]
fn an_atomic_response_that_comes_twice() {
    let mut bench = Bench::accepted(Config::default(), &Policy::default());
    let operation = Operation::Atomic {
        stag: Stag(9),
        to: 0,
        operation: ADD,
    };
    let slots = [(); 2].map(|()| bench.post(operation, 0).expect("it may be posted"));
    bench.drain();
    let heard = bench.hear();
    let ids: Vec<u32> = (heard.iter())
        .map(|heard| AtomicRequest::parse(&heard.body).expect("a Request").id)
        .collect();
    let response = |msn, id| {
        let body = AtomicResponse { id, original: 7 }.encode();
        untagged(single(Opcode::ATOMIC_RESPONSE, 3, msn), &body)
    };
    bench.send(&response(1, ids[0]));
    let done = bench.completions.pop().expect("it is answered");
    assert_eq!(
        (done.slot, done.status, done.original),
        (slots[0], Status::Success, Some(7))
    );
    bench.send(&response(1, ids[1]));
    let told = bench.hear()[0].terminate().expect("a Terminate");
    assert_eq!(told.code, code(1, 2, 3));
    bench.finish();
    let done = bench.completions.pop().expect("it is flushed");
    assert_eq!((done.slot, done.status), (slots[1], Status::Flushed));
}

/// RFC 7306 s6.3 (X13; T22): eight octets, in one segment, for which a receive is posted.
#[test]
fn immediate_data_that_is_none() {
    for opcode in [Opcode::IMMEDIATE, Opcode::IMMEDIATE_SOLICITED] {
        let header = single(opcode, 0, 1);
        let cases = [
            (header, 0, code(0, 2, 0xff)),
            (header, 7, code(0, 2, 0xff)),
            (header, 9, code(0, 2, 0xff)),
            (
                Untagged {
                    last: false,
                    ..header
                },
                8,
                code(0, 2, 0xff),
            ),
            (Untagged { mo: 8, ..header }, 8, code(1, 2, 4)),
            (Untagged { msn: 0, ..header }, 8, code(1, 2, 3)),
            (Untagged { msn: 2, ..header }, 8, code(1, 2, 3)),
            (Untagged { msn: 3, ..header }, 8, code(1, 2, 2)),
        ];
        for (header, len, expected) in cases {
            let ulpdu = untagged(header, &vec![1; len]);
            assert_refused(Ground::new(), &ulpdu, expected, Carries::Ddp);
        }
    }
}

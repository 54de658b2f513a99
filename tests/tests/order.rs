//! What must not happen too early, to the octet: completing, answering, changing a word (RFC 5040 s5.5, RFC 7306 s5.4).

use uwarp_ddp::{Header, Rights, Stag};
use uwarp_mpa::Policy;
use uwarp_rdmap::atomic::AtomicRequest;
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{AtomicOperation, Opcode, Operation, Status};
use uwarp_stream::Config;
use uwarp_tests::stranger::{Bench, Heard, read, response, single, untagged};

fn bench() -> Bench {
    Bench::accepted(Config::default(), &Policy::default())
}

fn request(source_stag: Stag, size: u32, sink_to: u64) -> ReadRequest {
    ReadRequest {
        sink_stag: Stag(0x77),
        sink_to,
        size,
        source_stag,
        source_to: 0,
    }
}

fn add(stag: Stag) -> AtomicRequest {
    AtomicRequest {
        id: 1,
        stag,
        to: 0,
        operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
    }
}

/// R32: TCP has to take the CRC of the last segment too.
#[test]
fn a_message_is_complete_when_its_last_octet_is_taken() {
    let send = Operation::Send {
        solicited: false,
        invalidate: None,
    };
    let write = Operation::Write {
        stag: Stag(7),
        to: 0,
    };
    let immediate = Operation::Immediate {
        data: [1; 8],
        solicited: false,
    };
    for (operation, len) in [(send, 0), (send, 5000), (write, 5000), (immediate, 0)] {
        let mut bench = bench();
        let before = bench.unread.len();
        let slot = bench.post(operation, len).unwrap();
        bench.fill(usize::MAX);
        assert_eq!(bench.completions, [], "it is framed and not written");
        // How long it is shows in a connection that writes all at once.
        let whole = {
            let mut other = self::bench();
            let before = other.unread.len();
            other.post(operation, len).unwrap();
            other.drain();
            other.unread.len() - before
        };
        bench.write(whole - 1);
        assert_eq!(bench.unread.len() - before, whole - 1);
        assert_eq!(bench.connection.poll_completion(), None, "an octet is left");
        bench.write(1);
        let done = bench.connection.poll_completion().expect("it is complete");
        assert_eq!((done.slot, done.status), (slot, Status::Success));
    }
}

/// R29, X12: a Request that is not whole, or whose CRC has not come, is not served, not even an empty one.
#[test]
fn no_request_is_served_before_its_last_octet_has_come() {
    let mut bench = bench();
    let rights = Rights::REMOTE_READ | Rights::REMOTE_ATOMIC;
    let stag = bench.ram.register(rights, 0, vec![0; 100]);
    let atomic = untagged(single(Opcode::ATOMIC_REQUEST, 1, 3), &add(stag).encode());
    let requests = [
        read(1, &request(Stag(0), 0, 0)),
        read(2, &request(stag, 100, 0)),
        atomic,
    ];
    for ulpdu in requests {
        let fpdu = bench.frame(&ulpdu);
        let (last, rest) = fpdu.split_last().unwrap();
        bench.feed(rest);
        assert_eq!(bench.hear(), []);
        assert_eq!(bench.ram.region(stag), [0; 100]);
        bench.feed(&[*last]);
        assert_eq!(bench.hear().len(), 1);
    }
    assert_eq!(bench.ram.region(stag)[..8], 1u64.to_ne_bytes());
}

/// R35, X14: answers leave in the order of their Requests, whole and one after the other, whatever their kind and length.
#[test]
fn answers_leave_in_the_order_of_their_requests() {
    let mut bench = bench();
    let rights = Rights::REMOTE_READ | Rights::REMOTE_ATOMIC;
    let stag = bench.ram.register(rights, 0, vec![0; 9000]);
    let atomic = |msn| untagged(single(Opcode::ATOMIC_REQUEST, 1, msn), &add(stag).encode());
    let requests = [
        read(1, &request(stag, 9000, 1000)),
        atomic(2),
        read(3, &request(stag, 0, 20_000)),
        atomic(4),
        read(5, &request(stag, 8, 30_000)),
    ];
    let fpdus = requests.map(|ulpdu| bench.frame(&ulpdu));
    bench.feed(&fpdus.concat());
    let heard = bench.hear();
    let ends: Vec<&Heard> = heard
        .iter()
        .filter(|heard| heard.header.is_last())
        .collect();
    let kinds: Vec<Opcode> = ends.iter().map(|heard| heard.opcode()).collect();
    let (read, atomic) = (Opcode::READ_RESPONSE, Opcode::ATOMIC_RESPONSE);
    assert_eq!(kinds, [read, atomic, read, atomic, read]);
    let tagged: Vec<u64> = (heard.iter())
        .filter_map(|heard| match heard.header {
            Header::Tagged(header) => Some(header.to),
            Header::Untagged(_) => None,
        })
        .collect();
    assert!(tagged.is_sorted(), "{tagged:?}");
    // The Reads see the additions before them and no other.
    assert_eq!(heard[0].body[..8], 0u64.to_ne_bytes());
    assert_eq!(ends[4].body, 2u64.to_ne_bytes());
}

/// R33, R34, T11: what is posted behind a Read waits for the Read's answer, though it has long been sent.
#[test]
fn what_is_behind_a_read_completes_after_it() {
    let mut bench = bench();
    let read = Operation::Read {
        stag: Stag(7),
        to: 0,
    };
    let write = Operation::Write {
        stag: Stag(7),
        to: 0,
    };
    let slots = [read, write].map(|operation| bench.post(operation, 10).unwrap());
    bench.drain();
    let heard = bench.hear();
    assert_eq!(heard.len(), 2, "both have been sent");
    let asked = heard[0].read_request().expect("a Read Request");
    bench.send(&response(&asked, 0, &[5; 9], false));
    assert_eq!(bench.completions, [], "an octet of the answer is missing");
    bench.send(&response(&asked, 9, &[5], true));
    let done: Vec<_> = bench.completions.iter().map(|done| done.slot).collect();
    assert_eq!(done, slots);
    assert_eq!(bench.ram.buffer(slots[0]), [5; 10]);
}

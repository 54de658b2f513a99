//! What Linux's siw does otherwise than the rules have it, and what becomes of us: see `spec-notes/siw.md`.

use uwarp_ddp::Stag;
use uwarp_mpa::Policy;
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{Opcode, Operation, Status};
use uwarp_stream::{Config, End};
use uwarp_tests::stranger::{Bench, Heard, response, single, terminate, untagged};

use super::{Ground, code};

/// An initiator that has posted a Read of `len` octets.
fn reading(len: u32) -> (Bench, ReadRequest) {
    let mut bench = Bench::connected(Config::default(), &Policy::default());
    let read = Operation::Read {
        stag: Stag(7),
        to: 0,
    };
    bench.post(read, len).expect("there is room");
    bench.drain();
    let asked = bench.hear().iter().find_map(Heard::read_request);
    (bench, asked.expect("a Read Request"))
}

/// Its Terminates about Reads have the bits of two octets in the wrong order, say the length of the payload where that
/// of the segment is due, and as number of the message the length that was asked for. The Read is found by its sink.
#[test]
fn a_terminate_that_blames_a_read_wrongly() {
    let mut ground = Ground::new();
    let mut body = vec![0x10, 0x01, 0x07, 0x00, 0, 0];
    let asked = ground.asked;
    body.extend(untagged(single(Opcode::READ_REQUEST, 1, asked.size), &[]));
    body.extend(asked.encode());
    ground.bench.send(&terminate(&body));
    let blamed = ground.works.remove(0);
    let mut completions = ground.bench.completions.iter();
    let at = completions.position(|done| done.slot == blamed);
    let done = ground.bench.completions.remove(at.expect("it completes"));
    assert_eq!(done.status, Status::Refused(code(0, 1, 1)));
    ground.assert_ended();
    assert_eq!(ground.bench.end(), Some(&End::Terminated(code(0, 1, 1))));
}

/// While it is busy it answers a Read of nothing with octets that it sent before.
#[test]
fn an_empty_read_that_is_answered_with_octets() {
    let (mut bench, asked) = reading(0);
    let before = bench.ram.snapshot();
    bench.send(&response(&asked, 0, b"stale", true));
    assert!(bench.ram.snapshot() == before, "nothing lands");
    let heard = bench.hear();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].opcode(), Opcode::TERMINATE);
    bench.finish();
    let end = bench.end();
    assert!(matches!(end, Some(End::Fault(_))), "{end:?}");
}

/// It answers where a region may only be written. Whoever asked gets what was asked for.
#[test]
fn a_read_that_ought_to_be_refused() {
    let (mut bench, asked) = reading(5);
    bench.send(&response(&asked, 0, b"octet", true));
    assert_eq!(bench.completions.len(), 1);
    assert_eq!(bench.completions[0].status, Status::Success);
    assert!(bench.end().is_none() && bench.hear().is_empty());
}

/// It does not wait for the end of a message of its own before it terminates. That is told all the same.
#[test]
fn a_terminate_amid_an_answer() {
    let (mut bench, asked) = reading(10);
    bench.send(&response(&asked, 0, b"half", false));
    bench.send(&terminate(&[0x11, 0x00, 0x00, 0x00]));
    assert!(bench.hear().is_empty(), "nothing is answered");
    assert_eq!(bench.completions[0].status, Status::Flushed);
    bench.finish();
    assert_eq!(bench.end(), Some(&End::Terminated(code(1, 1, 0))));
}

//! Mistakes that take more than one segment to make.

use uwarp_ddp::{Stag, UNTAGGED_LEN, Untagged};
use uwarp_mpa::Policy;
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{Opcode, Operation};
use uwarp_stream::Config;
use uwarp_tests::stranger::{Bench, read, response, send, single, untagged, write};

use super::{BASE, Carries, Ground, LEN, code};

fn segment(msn: u32, mo: u32, payload: &[u8], last: bool) -> Vec<u8> {
    let header = Untagged {
        last,
        mo,
        ..single(Opcode::SEND, 0, msn)
    };
    untagged(header, payload)
}

/// What has been delivered cannot come again (RFC 5041 s5.3, D23; G6).
#[test]
fn a_message_sent_twice() {
    let mut ground = Ground::new();
    ground.bench.send(&send(1, b"once"));
    let first = ground.receives.remove(0);
    let done = ground.bench.completions.pop().expect("it has arrived");
    assert_eq!((done.slot, done.len), (first, 4));
    let again = send(1, b"twice");
    ground.bench.send(&again);
    assert_eq!(&ground.bench.ram.buffer(first)[..5], b"once\0");
    ground.assert_told(code(1, 2, 3), Carries::Ddp, &again);
}

/// TCP keeps the order, so the message before it will never be finished (G6).
#[test]
fn a_message_before_the_one_that_is_not_finished() {
    let mut ground = Ground::new();
    ground.bench.send(&segment(1, 0, b"begun", false));
    let next = segment(2, 0, b"next", true);
    ground.bench.send(&next);
    ground.assert_told(code(1, 2, 3), Carries::Ddp, &next);
}

/// RFC 5041 s4.1, s5.4 (D07, D24; G7): octets that never came must not count as received.
#[test]
fn a_message_with_a_hole() {
    let mut ground = Ground::new();
    ground.bench.send(&segment(1, 0, b"four", false));
    let last = segment(1, 5, b"rest", true);
    ground.bench.send(&last);
    ground.assert_told(code(1, 2, 4), Carries::Ddp, &last);
}

/// RFC 5040 s5.3 (R22): afterwards the STag is as good as unknown.
#[test]
fn a_write_through_an_stag_that_has_been_invalidated() {
    let mut ground = Ground::new();
    let header = Untagged {
        ulp_word: ground.fleeting.0,
        ..single(Opcode::SEND_INVALIDATE, 0, 1)
    };
    ground.bench.send(&untagged(header, b""));
    let done = ground.bench.completions.pop().expect("it has arrived");
    assert_eq!(done.invalidated, Some(ground.fleeting));
    ground.receives.remove(0);
    let late = write(ground.fleeting, BASE, b"late");
    ground.bench.send(&late);
    ground.assert_told(code(1, 1, 0), Carries::Ddp, &late);
}

/// RFC 5040 s6.1 (R37; G9, T12): the third Request of two.
#[test]
fn more_reads_than_the_ird() {
    let mut ground = Ground::new();
    let request = ReadRequest {
        sink_stag: Stag(1),
        sink_to: 0,
        size: 0,
        source_stag: Stag(0),
        source_to: 0,
    };
    let fpdus = [1, 2, 3].map(|msn| ground.bench.frame(&read(msn, &request)));
    ground.bench.feed(&fpdus.concat());
    ground.assert_told(code(1, 2, 2), Carries::Ddp, &read(3, &request));
}

/// Answers are due, but the mistake is told first and alone (RFC 5040 s5.4, R25).
#[test]
fn nothing_is_answered_behind_a_mistake() {
    let mut ground = Ground::new();
    let request = ReadRequest {
        sink_stag: Stag(1),
        sink_to: 0,
        size: LEN as u32,
        source_stag: ground.open,
        source_to: BASE,
    };
    let wrong = send(0, b"x");
    let fpdus = [read(1, &request), wrong.clone()].map(|ulpdu| ground.bench.frame(&ulpdu));
    ground.bench.feed(&fpdus.concat());
    ground.assert_told(code(1, 2, 3), Carries::Ddp, &wrong);
}

/// The first mistake counts, and is told once (RFC 5040 s5.4, s7.1; R25, R40).
#[test]
fn two_mistakes() {
    let mut ground = Ground::new();
    let first = send(0, b"x");
    let second = write(ground.revoked, BASE, b"x");
    let fpdus = [&first, &second].map(|ulpdu| ground.bench.frame(ulpdu));
    ground.bench.feed(&fpdus.concat());
    ground.assert_told(code(1, 2, 3), Carries::Ddp, &first);
}

/// The answer must be whole (G10).
#[test]
fn a_read_response_that_ends_early() {
    let mut ground = Ground::new();
    let asked = ground.asked;
    ground.bench.send(&response(&asked, 0, &[1; 50], false));
    let last = response(&asked, 50, &[1; 49], true);
    ground.bench.send(&last);
    ground.assert_told(code(1, 1, 1), Carries::Ddp, &last);
}

/// Octets that never came must not count as read (G10).
#[test]
fn a_read_response_with_a_hole() {
    let mut ground = Ground::new();
    let asked = ground.asked;
    ground.bench.send(&response(&asked, 0, &[1; 50], false));
    let last = response(&asked, 60, &[1; 40], true);
    ground.bench.send(&last);
    ground.assert_told(code(1, 1, 1), Carries::Ddp, &last);
}

/// RFC 5040 s5.2.2 (G10, T19): nobody asked for anything.
#[test]
fn a_read_response_without_a_read() {
    let mut bench = Bench::accepted(Config::default(), &Policy::default());
    let asked = ReadRequest {
        sink_stag: Stag(1),
        sink_to: 0,
        size: 1,
        source_stag: Stag(0),
        source_to: 0,
    };
    bench.send(&response(&asked, 0, b"x", true));
    let heard = bench.hear();
    let told = heard[0].terminate().expect("a Terminate");
    assert_eq!((heard.len(), told.code), (1, code(0, 2, 6)));
    assert!(told.ddp_header.is_some() && told.read_request.is_none());
}

/// The source goes away while it is being read: what is left of the Request is blamed
/// (RFC 5040 s4.8, R08; RFC 5042 s6.2.2, S03).
#[test]
fn a_source_revoked_while_it_is_read() {
    let mut ground = Ground::new();
    let octets = vec![0xcd; 5000];
    let ram = &mut ground.bench.ram;
    let source = ram.register(uwarp_ddp::Rights::REMOTE_READ, BASE, octets);
    let request = ReadRequest {
        sink_stag: Stag(0x77),
        sink_to: 0x500,
        size: 5000,
        source_stag: source,
        source_to: BASE,
    };
    let ulpdu = read(1, &request);
    let fpdu = ground.bench.frame(&ulpdu);
    ground.bench.take(&fpdu);
    ground.bench.drain_one();
    ground.bench.drain_one();
    let sent: usize = ground
        .bench
        .hear()
        .iter()
        .map(|heard| heard.body.len())
        .sum();
    assert!(0 < sent && sent < 5000, "it is being read");
    ground.bench.ram.revoke(source);
    ground.bench.drain();
    let mut blamed = ulpdu[..UNTAGGED_LEN].to_vec();
    blamed.extend_from_slice(&request.remainder(sent as u32).encode());
    ground.assert_told(code(0, 1, 0), Carries::DdpAndRead, &blamed);
}

/// What has begun is finished before the Terminate, which stands between messages (RFC 5041 s5.2,
/// D18; G18).
#[test]
fn a_mistake_while_a_message_goes_out() {
    let mut bench = Bench::accepted(Config::default(), &Policy::default());
    let operation = Operation::Write {
        stag: Stag(1),
        to: 0,
    };
    bench.post(operation, 5000).expect("it may be posted");
    bench.post(operation, 5000).expect("it may be posted");
    bench.drain_one();
    let fpdu = bench.frame(&send(0, b"x"));
    bench.take(&fpdu);
    bench.drain();
    let heard = bench.hear();
    let Some((terminate, message)) = heard.split_last() else {
        panic!("nothing has been said");
    };
    assert!(terminate.terminate().is_some());
    let (last, begun) = message.split_last().expect("a message has begun");
    assert!(last.header.is_last() && begun.iter().all(|heard| !heard.header.is_last()));
    let sent: usize = message.iter().map(|heard| heard.body.len()).sum();
    assert_eq!(sent, 5000, "the second has not begun");
    assert!(bench.fin);
}

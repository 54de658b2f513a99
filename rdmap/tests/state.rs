//! What an endpoint says of itself: whether it has something to send, whether an answer is awaited, whether all is
//! done. Closing in order depends on these (RFC 5040 s6.2, RFC 5041 s6.2.1), and a driver that does not ask in vain.

mod common;

use common::{MULPDU, Side, limits, settle, terminate_of};
use uwarp_ddp::{DdpError, Header, Stag, Tagged};
use uwarp_rdmap::atomic::AtomicRequest;
use uwarp_rdmap::header::{Control, ReadRequest};
use uwarp_rdmap::{
    AtomicOperation, Layer, Opcode, Operation, RdmapError, Request, Status, Terminate,
    TerminateCode,
};

/// What an endpoint says: has it output, does it expect an answer, is it idle.
fn says(side: &Side) -> (bool, bool, bool) {
    let endpoint = &side.endpoint;
    (
        endpoint.has_output(),
        endpoint.expects_response(),
        endpoint.is_idle(),
    )
}

const IDLE: (bool, bool, bool) = (false, false, true);
/// There is output, and no answer is awaited.
const OUTPUT: (bool, bool, bool) = (true, false, false);
/// There is output, and an answer is awaited.
const ASKING: (bool, bool, bool) = (true, true, false);
/// All that may be sent has been sent, and an answer is awaited.
const WAITING: (bool, bool, bool) = (false, true, false);

fn write(stag: Stag) -> Operation {
    Operation::Write { stag, to: 0 }
}

fn read(stag: Stag) -> Operation {
    Operation::Read { stag, to: 0 }
}

fn add(stag: Stag) -> Operation {
    Operation::Atomic {
        stag,
        to: 0,
        operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
    }
}

fn terminate() -> Terminate {
    Terminate::bare(TerminateCode::new(Layer::Rdmap, 2, 6))
}

fn pair() -> (Side, Side, Stag) {
    let mut b = Side::new(limits());
    let stag = b.region(5, &[7; 1000]);
    (Side::new(limits()), b, stag)
}

/// Moves one segment.
fn step(from: &mut Side, to: &mut Side) {
    let octets = from.transmit().expect("a segment");
    to.take(&octets).expect("a good one");
}

#[test]
fn nothing_is_to_be_done_at_the_beginning() {
    let (a, mut b, _) = pair();
    b.receive(10);
    assert_eq!((says(&a), says(&b)), (IDLE, IDLE));
}

#[test]
fn a_message_is_output_until_its_last_segment() {
    let (mut a, mut b, stag) = pair();
    a.post(write(stag), &[1; 300]).unwrap();
    for _ in 0..3 {
        assert_eq!(says(&a), OUTPUT);
        step(&mut a, &mut b);
    }
    assert_eq!((says(&a), says(&b)), (IDLE, IDLE));
}

#[test]
fn each_message_that_waits_is_output() {
    let (mut a, mut b, stag) = pair();
    for left in [2, 1] {
        a.post(write(stag), b"x").unwrap();
        a.post(write(stag), b"x").unwrap();
        step(&mut a, &mut b);
        assert_eq!(says(&a), OUTPUT, "{left}");
        step(&mut a, &mut b);
        assert_eq!(says(&a), IDLE);
    }
}

#[test]
fn an_answer_is_awaited_from_posting_to_its_last_segment() {
    for (operation, buffer, segments) in [
        (read as fn(Stag) -> Operation, 1000, 9),
        (read, 0, 1),
        (add, 0, 1),
    ] {
        let (mut a, mut b, stag) = pair();
        a.post(operation(stag), &vec![0; buffer]).unwrap();
        assert_eq!((says(&a), says(&b)), (ASKING, IDLE));
        step(&mut a, &mut b);
        for _ in 0..segments {
            assert_eq!((says(&a), says(&b)), (WAITING, OUTPUT));
            step(&mut b, &mut a);
        }
        assert_eq!((says(&a), says(&b)), (IDLE, IDLE));
        assert_eq!(a.completions().len(), 1);
    }
}

#[test]
fn what_waits_behind_the_ord_is_awaited_but_is_no_output() {
    let (mut a, mut b, stag) = pair();
    for _ in 0..3 {
        a.post(read(stag), b"x").unwrap();
    }
    a.post(write(stag), b"x").unwrap();
    step(&mut a, &mut b);
    step(&mut a, &mut b);
    assert_eq!(says(&a), WAITING, "two Reads are all that may be out");
    step(&mut b, &mut a);
    assert_eq!(says(&a), ASKING);
    settle(&mut a, &mut b);
    assert_eq!((says(&a), says(&b)), (IDLE, IDLE));
}

/// A Read that has its answer is not awaited, though it cannot complete before what was posted before it.
#[test]
fn what_is_answered_is_not_awaited() {
    let (mut a, mut b, stag) = pair();
    a.post(write(stag), b"x").unwrap();
    a.post(read(stag), b"x").unwrap();
    // The Write is framed, and the transport has not taken it.
    let write = a.endpoint.next_segment(MULPDU).unwrap();
    a.endpoint.framed();
    step(&mut a, &mut b);
    step(&mut b, &mut a);
    assert_eq!((says(&a), a.completions()), (IDLE, vec![]));
    a.endpoint.sent(write.token.unwrap());
    assert_eq!(a.completions().len(), 2);
}

#[test]
fn a_terminate_is_output_even_if_nothing_else_is() {
    let (mut a, _, _) = pair();
    a.endpoint.terminate(terminate());
    assert_eq!(says(&a), OUTPUT);
    assert_eq!(terminate_of(&a.transmit().unwrap()), Some(terminate()));
    assert_eq!(says(&a), IDLE);
}

/// Posted work is not output behind a Terminate, though it is not done either (RFC 5040 s5.4, R25).
#[test]
fn nothing_is_output_behind_a_terminate() {
    let (mut a, _, stag) = pair();
    a.post(write(stag), b"x").unwrap();
    a.endpoint.terminate(terminate());
    assert_eq!(terminate_of(&a.transmit().unwrap()), Some(terminate()));
    assert_eq!(says(&a), (false, false, false));
    assert!(a.transmit().is_none());
    a.endpoint.flush_sends();
    assert_eq!(says(&a), IDLE);
}

#[test]
fn after_flushing_there_is_nothing_to_do_whatever_was_under_way() {
    let (mut a, mut b, stag) = pair();
    a.post(read(stag), &[0; 500]).unwrap();
    let slot = a.post(write(stag), &[0; 500]).unwrap();
    step(&mut a, &mut b);
    let outgoing = a.endpoint.next_segment(MULPDU).unwrap();
    assert!(outgoing.token.is_none());
    step(&mut b, &mut a);
    for side in [&mut a, &mut b] {
        side.endpoint.flush_sends();
        assert_eq!(says(side), IDLE);
        assert!(side.transmit().is_none());
    }
    assert_eq!(a.outcomes().last(), Some(&(slot, Status::Flushed)));
}

/// A Request that comes behind a mistake is not served (RFC 5040 s5.4, R25; RFC 7306 s5.4, X12).
#[test]
fn no_atomic_is_due_behind_a_terminate() {
    let request = |msn| {
        let header = Header::Untagged(uwarp_ddp::Untagged {
            last: true,
            ulp: Control::new(Opcode::ATOMIC_REQUEST).0,
            ulp_word: 0,
            qn: 1,
            msn,
            mo: 0,
        });
        let body = AtomicRequest {
            id: 1,
            stag: Stag(5),
            to: 0,
            operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
        };
        let mut head = [0; 18];
        header.encode(&mut head);
        [&head[..], &body.encode()].concat()
    };
    let (_, mut b, _) = pair();
    b.take(&request(1)).unwrap();
    assert!(b.endpoint.atomic_due().is_some());
    b.endpoint.terminate(terminate());
    assert!(b.endpoint.atomic_due().is_none(), "it has been given up");
    b.take(&request(2)).unwrap();
    assert!(
        b.endpoint.atomic_due().is_none(),
        "the Terminate goes first"
    );
    assert_eq!(terminate_of(&b.transmit().unwrap()), Some(terminate()));
    assert!(b.endpoint.atomic_due().is_none(), "nothing follows it");
    assert_eq!(b.memory.regions[&Stag(5)][..8], [7; 8]);
}

/// Between two messages, an atomic operation is done; in the middle of one it is not (RFC 5041 s5.3, D22).
#[test]
fn an_atomic_is_not_due_while_a_message_goes_out() {
    let (mut a, mut b, stag) = pair();
    a.receive(500);
    b.send(&[1; 300]);
    b.transmit().unwrap();
    a.post(add(stag), b"").unwrap();
    step(&mut a, &mut b);
    assert!(b.endpoint.atomic_due().is_none());
    b.transmit().unwrap();
    b.transmit().unwrap();
    assert!(b.endpoint.atomic_due().is_some());
}

/// An answer that is not framed to its end still has its place of the IRD (RFC 5040 s6.1, R37; T12).
#[test]
fn an_answer_under_way_counts_against_the_ird() {
    let (mut a, mut b, stag) = pair();
    for _ in 0..2 {
        a.post(read(stag), &[0; 300]).unwrap();
        step(&mut a, &mut b);
    }
    // The first answer has begun, the second one waits.
    b.transmit().unwrap();
    let third = {
        let mut other = Side::new(uwarp_rdmap::Limits { ord: 9, ..limits() });
        let requests: Vec<_> = (0..3)
            .map(|_| {
                other.post(read(stag), &[0; 300]).unwrap();
                other.transmit().unwrap()
            })
            .collect();
        requests[2].clone()
    };
    assert_eq!(
        b.take(&third),
        Err(RdmapError::Ddp(DdpError::NoBuffer)),
        "two are owed"
    );
    b.transmit().unwrap();
    b.transmit().unwrap();
    assert_eq!(b.take(&third), Ok(None), "one has been given");
}

/// Every Read has offsets of its own at its sink, an empty one too, so that a Terminate can say which it means.
#[test]
fn an_offset_of_a_sink_names_one_read() {
    let mut side = Side::new(uwarp_rdmap::Limits { ord: 4, ..limits() });
    let lens = [0, 10, 0, 5];
    let slots = lens.map(|len| side.post(read(Stag(1)), &vec![0; len]).unwrap());
    let starts = lens.map(|_| {
        let octets = side.transmit().unwrap();
        ReadRequest::parse(&octets[18..]).unwrap().sink_to
    });
    let code = TerminateCode::new(Layer::Rdmap, 1, 0);
    let refused = |offset: u64, expected: Option<usize>| {
        let mut side = Side::new(uwarp_rdmap::Limits { ord: 4, ..limits() });
        for len in lens {
            side.post(read(Stag(1)), &vec![0; len]).unwrap();
            side.transmit().unwrap();
        }
        side.endpoint.refuse_read(offset, Status::Refused(code));
        side.endpoint.flush_sends();
        let outcomes: Vec<_> = side.outcomes().into_iter().map(|(_, how)| how).collect();
        let refused = outcomes
            .iter()
            .position(|how| *how == Status::Refused(code));
        assert_eq!(refused, expected, "{offset}");
    };
    assert_eq!(slots.len(), starts.len());
    for (index, (start, len)) in starts.into_iter().zip(lens).enumerate() {
        refused(start, Some(index));
        // As far as it was served, the Terminate names a later offset (RFC 5040 s4.8).
        if len > 0 {
            refused(start + len as u64 - 1, Some(index));
        }
    }
    // Behind the sink of the second is nobody's.
    refused(starts[1] + 10, None);
    refused(starts[3] + 5, None);
}

/// Where an empty segment says that it belongs is not looked at (RFC 5041 s5.2, D21; G19).
#[test]
fn an_empty_last_segment_of_an_answer_may_name_anything() {
    let mut side = Side::new(limits());
    let slot = side.post(read(Stag(1)), &[0; 4]).unwrap();
    let request = ReadRequest::parse(&side.transmit().unwrap()[18..]).unwrap();
    let segment = |stag, to, last, payload: &[u8]| {
        let header = Header::Tagged(Tagged {
            last,
            ulp: Control::new(Opcode::READ_RESPONSE).0,
            stag,
            to,
        });
        let mut head = [0; 18];
        let len = header.encode(&mut head);
        [&head[..len], payload].concat()
    };
    let octets = segment(request.sink_stag, request.sink_to, false, b"four");
    side.take(&octets).unwrap();
    side.take(&segment(Stag(0xdead), u64::MAX, true, b""))
        .unwrap();
    assert_eq!(side.outcomes(), [(slot, Status::Success)]);
    assert_eq!(side.buffers[&slot], b"four");
}

/// An atomic operation is done or it is not: there is no rest of it (RFC 7306 s8.1, X15).
#[test]
fn an_atomic_that_is_given_up_is_told_whole() {
    let (mut a, mut b, stag) = pair();
    a.post(add(stag), b"").unwrap();
    step(&mut a, &mut b);
    let due = b.endpoint.atomic_due().unwrap();
    let (given_up, msn) = b.endpoint.abandon_response().unwrap();
    assert_eq!((given_up, msn), (Request::Atomic(due), 1));
    assert_eq!(says(&b), IDLE);
    assert_eq!(b.endpoint.abandon_response(), None);
}

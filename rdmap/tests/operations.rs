//! What operations do, in which order they complete, and which limits hold (RFC 5040 s5, RFC 7306).

mod common;

use common::{Side, limits, settle};
use uwarp_ddp::Stag;
use uwarp_rdmap::{AtomicOperation, Limits, Operation, OperationKind, PostError, Slot, Status};

fn pair() -> (Side, Side) {
    (Side::new(limits()), Side::new(limits()))
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len)
        .map(|octet| (octet * 31 + octet / 251) as u8)
        .collect()
}

#[test]
fn sends_fill_receives_in_order() {
    for len in [0, 1, 109, 110, 111, 5000] {
        let (mut a, mut b) = pair();
        let (first, second) = (b.receive(len), b.receive(len + 7));
        let sends = [a.send(&numbered(len)), a.send(b"")];
        settle(&mut a, &mut b);
        assert_eq!(
            a.outcomes(),
            sends.map(|slot| (slot, Status::Success)),
            "{len}"
        );
        let received = b.completions();
        let lens: Vec<_> = received
            .iter()
            .map(|done| (done.slot, done.kind, done.len))
            .collect();
        assert_eq!(
            lens,
            [
                (first, OperationKind::Receive, len as u32),
                (second, OperationKind::Receive, 0)
            ]
        );
        assert_eq!(b.buffers[&first], numbered(len));
    }
}

#[test]
fn the_forms_of_send_differ_in_what_they_ask_for() {
    for (solicited, invalidates) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut a, mut b) = pair();
        let stag = b.region(77, b"region");
        b.receive(10);
        let invalidate = invalidates.then_some(stag);
        a.post(
            Operation::Send {
                solicited,
                invalidate,
            },
            b"hello",
        )
        .unwrap();
        settle(&mut a, &mut b);
        let done = b.completions()[0];
        assert_eq!(
            (done.solicited, done.invalidated, done.len),
            (solicited, invalidate, 5)
        );
        assert_eq!(b.memory.invalidated, Vec::from_iter(invalidate));
    }
}

#[test]
fn a_write_reaches_memory_and_nobody_is_told() {
    let (mut a, mut b) = pair();
    let stag = b.region(9, &[0; 1000]);
    let write = a
        .post(Operation::Write { stag, to: 300 }, &numbered(400))
        .unwrap();
    settle(&mut a, &mut b);
    let done = a.completions()[0];
    assert_eq!(
        (done.slot, done.kind, done.status, done.len),
        (write, OperationKind::Write, Status::Success, 400)
    );
    assert_eq!(b.completions(), []);
    assert_eq!(b.memory.regions[&stag][300..700], numbered(400));
    assert_eq!(b.memory.regions[&stag][..300], [0; 300]);
    assert_eq!(b.memory.regions[&stag][700..], [0; 300]);
}

#[test]
fn an_empty_write_or_read_needs_no_stag() {
    let (mut a, mut b) = pair();
    let nowhere = Stag(0xdead);
    let write = a
        .post(
            Operation::Write {
                stag: nowhere,
                to: u64::MAX,
            },
            b"",
        )
        .unwrap();
    let read = a
        .post(
            Operation::Read {
                stag: nowhere,
                to: u64::MAX,
            },
            b"",
        )
        .unwrap();
    settle(&mut a, &mut b);
    assert_eq!(
        a.outcomes(),
        [(write, Status::Success), (read, Status::Success)]
    );
}

#[test]
fn a_read_fetches_and_later_work_completes_after_it() {
    let (mut a, mut b) = pair();
    let stag = b.region(5, &numbered(3000));
    b.receive(4);
    let read = a
        .post(Operation::Read { stag, to: 1000 }, &[0; 500])
        .unwrap();
    let send = a.send(b"last");
    // Both requests go out before the answer comes.
    while let Some(octets) = a.transmit() {
        b.take(&octets).unwrap();
    }
    assert_eq!(a.completions(), [], "the Send waits for the Read before it");
    settle(&mut a, &mut b);
    assert_eq!(
        a.outcomes(),
        [(read, Status::Success), (send, Status::Success)]
    );
    assert_eq!(a.buffers[&read], numbered(3000)[1000..1500]);
}

#[test]
fn no_more_requests_wait_than_the_ord_allows() {
    let (mut a, mut b) = pair();
    let stag = b.region(5, &numbered(100));
    let posted: Vec<Slot> = (0..5)
        .map(|_| a.post(Operation::Read { stag, to: 0 }, &[0; 100]).unwrap())
        .collect();
    let outstanding = std::iter::from_fn(|| a.transmit())
        .map(|octets| b.take(&octets).unwrap())
        .count();
    assert_eq!(outstanding, 2);
    assert!(!a.endpoint.has_output() && a.endpoint.expects_response());
    assert_eq!(
        (a.endpoint.octets_owed(), b.endpoint.octets_owed()),
        (0, 200)
    );
    settle(&mut a, &mut b);
    assert_eq!(b.endpoint.octets_owed(), 0);
    assert_eq!(
        a.outcomes(),
        posted
            .iter()
            .map(|&slot| (slot, Status::Success))
            .collect::<Vec<_>>()
    );
    assert!(a.endpoint.is_idle() && !a.endpoint.expects_response());
}

#[test]
fn work_behind_a_waiting_read_keeps_its_place() {
    let (mut a, mut b) = pair();
    let stag = b.region(5, &numbered(10));
    b.receive(1);
    for _ in 0..3 {
        a.post(Operation::Read { stag, to: 0 }, &[0; 10]).unwrap();
    }
    a.send(b"x");
    let before: Vec<_> = std::iter::from_fn(|| a.transmit()).collect();
    assert_eq!(
        before.len(),
        2,
        "the Send is not sent before the third Read"
    );
    for octets in before {
        b.take(&octets).unwrap();
    }
    settle(&mut a, &mut b);
    assert_eq!(a.outcomes().len(), 4);
}

#[test]
fn answers_and_own_messages_take_turns() {
    let (mut a, mut b) = pair();
    let stag = b.region(5, &numbered(1000));
    for _ in 0..2 {
        a.post(Operation::Read { stag, to: 0 }, &[0; 1000]).unwrap();
        a.receive(2000);
    }
    while let Some(octets) = a.transmit() {
        b.take(&octets).unwrap();
    }
    b.send(&numbered(1000));
    b.send(&numbered(1000));
    let mut order = Vec::new();
    while let Some(octets) = b.transmit() {
        // The T bit tells a Read Response from a Send; L ends the message.
        if octets[0] & 0x40 != 0 {
            order.push(octets[0] & 0x80 != 0);
        }
        a.take(&octets).unwrap();
    }
    assert_eq!(order.len(), 4);
    assert_ne!(order[0], order[1]);
    assert_ne!(order[2], order[3]);
}

#[test]
fn a_full_queue_and_impossible_requests_are_refused() {
    let (mut a, _) = pair();
    let wrap = a.post(
        Operation::Write {
            stag: Stag(1),
            to: u64::MAX,
        },
        b"x",
    );
    assert_eq!(wrap, Err(PostError::OffsetWrap));
    let wrap = a.post(
        Operation::Read {
            stag: Stag(1),
            to: u64::MAX,
        },
        b"x",
    );
    assert_eq!(wrap, Err(PostError::OffsetWrap));
    for _ in 0..16 {
        a.send(b"");
    }
    assert_eq!(
        a.post(
            Operation::Write {
                stag: Stag(1),
                to: 0
            },
            b""
        ),
        Err(PostError::Full)
    );
    for _ in 0..4 {
        a.receive(1);
    }
    assert_eq!(a.endpoint.post_receive(Slot(99), 1), Err(PostError::Full));

    let mut unread = Side::new(Limits { ord: 0, ..limits() });
    let read = Operation::Read {
        stag: Stag(1),
        to: 0,
    };
    assert_eq!(unread.post(read, b""), Err(PostError::ReadsDisabled));
    let operation = AtomicOperation::FetchAdd { add: 1, mask: 0 };
    let atomic = Operation::Atomic {
        stag: Stag(1),
        to: 0,
        operation,
    };
    assert_eq!(unread.post(atomic, b""), Err(PostError::ReadsDisabled));
    unread.send(b"");
}

#[test]
fn atomics_and_reads_are_answered_in_the_order_asked() {
    let (mut a, mut b) = pair();
    let stag = b.region(5, &[0; 16]);
    let add = Operation::Atomic {
        stag,
        to: 8,
        operation: AtomicOperation::FetchAdd { add: 3, mask: 0 },
    };
    let read = Operation::Read { stag, to: 8 };
    let steps = [
        a.post(add, b""),
        a.post(read, &[0; 8]),
        a.post(add, b""),
        a.post(read, &[0; 8]),
    ]
    .map(Result::unwrap);
    settle(&mut a, &mut b);
    let done = a.completions();
    assert_eq!(done.iter().map(|done| done.slot).collect::<Vec<_>>(), steps);
    assert_eq!(
        done.iter().map(|done| done.original).collect::<Vec<_>>(),
        [Some(0), None, Some(3), None]
    );
    assert_eq!(done[0].kind, OperationKind::Atomic);
    let seen = |slot: Slot| u64::from_ne_bytes(a.buffers[&slot].as_slice().try_into().unwrap());
    assert_eq!((seen(steps[1]), seen(steps[3])), (3, 6));
}

#[test]
fn an_atomic_waits_for_the_answer_before_it() {
    let (mut a, mut b) = pair();
    let stag = b.region(5, &[0; 1000]);
    a.post(Operation::Read { stag, to: 0 }, &[0; 1000]).unwrap();
    let operation = AtomicOperation::FetchAdd { add: 1, mask: 0 };
    a.post(
        Operation::Atomic {
            stag,
            to: 0,
            operation,
        },
        b"",
    )
    .unwrap();
    while let Some(octets) = a.transmit() {
        b.take(&octets).unwrap();
    }
    assert!(
        b.endpoint.atomic_due().is_none(),
        "the Read before it has not been answered"
    );
    for _ in 0..8 {
        let octets = b.transmit().unwrap();
        a.take(&octets).unwrap();
        assert_eq!(
            b.memory.regions[&stag][0], 0,
            "the Read sees the word as it was"
        );
    }
    settle(&mut a, &mut b);
    assert_eq!(b.memory.regions[&stag][..8], 1u64.to_ne_bytes());
}

#[test]
fn immediate_data_uses_a_receive_and_leaves_its_buffer_alone() {
    let (mut a, mut b) = pair();
    let slots = [b.receive(8), b.receive(0), b.receive(3)];
    for (data, solicited) in [(*b"abcdefgh", false), (*b"12345678", true)] {
        a.post(Operation::Immediate { data, solicited }, b"")
            .unwrap();
    }
    a.send(b"end");
    settle(&mut a, &mut b);
    let kinds: Vec<_> = a.completions().iter().map(|done| done.kind).collect();
    assert_eq!(
        kinds,
        [
            OperationKind::Immediate,
            OperationKind::Immediate,
            OperationKind::Send
        ]
    );
    let told: Vec<_> = b
        .completions()
        .iter()
        .map(|done| (done.slot, done.immediate, done.solicited, done.len))
        .collect();
    assert_eq!(
        told,
        [
            (slots[0], Some(*b"abcdefgh"), false, 0),
            (slots[1], Some(*b"12345678"), true, 0),
            (slots[2], None, false, 3),
        ]
    );
    assert_eq!(b.buffers[&slots[0]], [0; 8]);
}

#[test]
fn flushing_completes_everything_once_and_in_order() {
    let (mut a, mut b) = pair();
    let stag = b.region(5, &[0; 10]);
    let receives = [a.receive(1), a.receive(1)];
    let read = a.post(Operation::Read { stag, to: 0 }, &[0; 10]).unwrap();
    let write = a.post(Operation::Write { stag, to: 0 }, b"x").unwrap();
    let send = a.send(b"y");
    for _ in 0..2 {
        a.transmit().unwrap();
    }
    a.endpoint.flush_receives();
    a.endpoint.flush_sends();
    let flushed = [receives[0], receives[1]].map(|slot| (slot, Status::Flushed));
    let works = [
        (read, Status::Flushed),
        (write, Status::Success),
        (send, Status::Flushed),
    ];
    assert_eq!(a.outcomes(), [&flushed[..], &works[..]].concat());
    a.endpoint.flush_receives();
    a.endpoint.flush_sends();
    assert_eq!(a.outcomes(), []);
    assert!(a.transmit().is_none() && !a.endpoint.has_output());
    assert_eq!(
        a.post(Operation::Write { stag, to: 0 }, b""),
        Err(PostError::Closed)
    );
}

/// RFC 5040 s4.1 (R05), RFC 7306 s4.1 (X02): octets 2 to 5 of a control or Send header say something only where
/// an STag is to be invalidated.
#[test]
fn unused_header_octets_are_zero() {
    let read = Operation::Read {
        stag: Stag(u32::MAX),
        to: 0,
    };
    let plain = |solicited| Operation::Send {
        solicited,
        invalidate: None,
    };
    let immediate = |solicited| Operation::Immediate {
        data: [0xff; 8],
        solicited,
    };
    let (mut a, mut b) = pair();
    let stag = b.region(u32::MAX, &[0; 8]);
    let atomic = Operation::Atomic {
        stag,
        to: 0,
        operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
    };
    a.post(atomic, b"").unwrap();
    let request = a.transmit().unwrap();
    assert_eq!(request[2..6], [0; 4]);
    b.take(&request).unwrap();
    assert_eq!(b.transmit().unwrap()[2..6], [0; 4], "the answer to it");
    let operations = [
        plain(false),
        plain(true),
        read,
        immediate(false),
        immediate(true),
    ];
    for operation in operations {
        let (mut a, _) = pair();
        a.post(operation, b"x").unwrap();
        assert_eq!(a.transmit().unwrap()[2..6], [0; 4], "{operation:?}");
    }
    let (mut a, _) = pair();
    let invalidate = Some(Stag(0x0102_0304));
    a.post(
        Operation::Send {
            solicited: true,
            invalidate,
        },
        b"x",
    )
    .unwrap();
    assert_eq!(a.transmit().unwrap()[2..6], [1, 2, 3, 4]);
    let code = uwarp_rdmap::TerminateCode::new(uwarp_rdmap::Layer::Llp, 0, 2);
    a.endpoint.terminate(uwarp_rdmap::Terminate::bare(code));
    assert_eq!(a.transmit().unwrap()[2..6], [0; 4]);
}

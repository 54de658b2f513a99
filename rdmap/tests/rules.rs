//! What a peer may not do, and what happens then (RFC 5040 s7, RFC 7306 s8).

mod common;

use common::{Side, limits, settle, terminate_of};
use uwarp_ddp::{AccessError, DdpError, Header, Stag, Tagged, Untagged};
use uwarp_rdmap::atomic::{AtomicRequest, AtomicResponse};
use uwarp_rdmap::header::{Control, ReadRequest};
use uwarp_rdmap::{
    AtomicError, AtomicOperation, Layer, Limits, Notice, Opcode, Operation, PostError, RdmapError,
    Status, Terminate, TerminateCode,
};

fn segment(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut out = [0; 18];
    let len = header.encode(&mut out);
    [&out[..len], payload].concat()
}

fn untagged(opcode: Opcode, qn: u32, msn: u32) -> Untagged {
    Untagged {
        last: true,
        ulp: Control::new(opcode).0,
        ulp_word: 0,
        qn,
        msn,
        mo: 0,
    }
}

fn tagged(opcode: Opcode, stag: Stag, to: u64) -> Tagged {
    Tagged {
        last: true,
        ulp: Control::new(opcode).0,
        stag,
        to,
    }
}

fn read_request(size: u32, source_stag: Stag, source_to: u64) -> ReadRequest {
    ReadRequest {
        sink_stag: Stag(1),
        sink_to: 0,
        size,
        source_stag,
        source_to,
    }
}

fn refused(side: &mut Side, header: impl Into<Wire>, payload: &[u8]) -> RdmapError {
    side.take(&segment(&header.into().0, payload)).unwrap_err()
}

struct Wire(Header);

impl From<Untagged> for Wire {
    fn from(header: Untagged) -> Self {
        Self(Header::Untagged(header))
    }
}

impl From<Tagged> for Wire {
    fn from(header: Tagged) -> Self {
        Self(Header::Tagged(header))
    }
}

#[test]
fn every_version_but_one_is_refused() {
    for version in [0u8, 2, 3] {
        let mut side = Side::new(limits());
        side.receive(10);
        let ulp = version << 6 | Opcode::SEND.bits();
        assert_eq!(
            refused(
                &mut side,
                Untagged {
                    ulp,
                    ..untagged(Opcode::SEND, 0, 1)
                },
                b""
            ),
            RdmapError::Version(version)
        );
        let ulp = version << 6 | Opcode::WRITE.bits();
        assert_eq!(
            refused(
                &mut side,
                Tagged {
                    ulp,
                    ..tagged(Opcode::WRITE, Stag(1), 0)
                },
                b""
            ),
            RdmapError::Version(version)
        );
    }
}

/// RFC 5040 s4.1, RFC 7306 s4.1 (R04, R05, X02): nor is there an STag where none is to be invalidated.
#[test]
fn what_is_reserved_is_ignored() {
    let mut side = Side::new(limits());
    let stag = side.region(7, &[0; 8]);
    let slots = [side.receive(10), side.receive(10), side.receive(10)];
    let atomic = AtomicRequest {
        id: 1,
        stag,
        to: 0,
        operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
    };
    let cases = [
        (Opcode::SEND, 0, 1, b"abc".to_vec()),
        (Opcode::SEND_SOLICITED, 0, 2, b"abc".to_vec()),
        (Opcode::IMMEDIATE, 0, 3, b"12345678".to_vec()),
        (
            Opcode::READ_REQUEST,
            1,
            1,
            read_request(8, stag, 0).encode().to_vec(),
        ),
        (Opcode::ATOMIC_REQUEST, 1, 2, atomic.encode().to_vec()),
    ];
    for (opcode, qn, msn, body) in cases {
        let header = Untagged {
            ulp: Control::new(opcode).0 | 0x30,
            ulp_word: stag.0,
            ..untagged(opcode, qn, msn)
        };
        let taken = side.take(&segment(&Header::Untagged(header), &body));
        assert_eq!(taken, Ok(None), "{opcode:?}");
    }
    let done = side.completions();
    assert_eq!(done.iter().map(|done| done.slot).collect::<Vec<_>>(), slots);
    assert!(done.iter().all(|done| done.invalidated.is_none()));
    assert_eq!(side.memory.invalidated, []);
    assert!(side.transmit().is_some() && side.transmit().is_some());
}

/// RFC 5040 s5.5, RFC 7306 s5.4 (R29, X12): a Request may be looked at as often as one likes, and is served when it is
/// delivered.
#[test]
fn a_request_that_is_not_delivered_is_not_served() {
    let mut side = Side::new(limits());
    let stag = side.region(7, &[0; 8]);
    let atomic = AtomicRequest {
        id: 1,
        stag,
        to: 0,
        operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
    };
    let requests = [
        (
            untagged(Opcode::READ_REQUEST, 1, 1),
            read_request(0, Stag(0), 0).encode().to_vec(),
        ),
        (
            untagged(Opcode::ATOMIC_REQUEST, 1, 2),
            atomic.encode().to_vec(),
        ),
    ];
    for (header, body) in requests {
        let header = Header::Untagged(header);
        for _ in 0..2 {
            side.place(&header, &body).unwrap();
            assert!(!side.endpoint.has_output() && side.endpoint.atomic_due().is_none());
        }
        side.take(&segment(&header, &body)).unwrap();
        assert!(side.endpoint.has_output());
        side.transmit().unwrap();
    }
}

#[test]
fn an_opcode_belongs_to_its_queue_and_its_kind_of_buffer() {
    let queue = |opcode: Opcode| match opcode.bits() {
        0x3..=0x6 | 0x8 | 0x9 => Some(0),
        0x1 | 0xa => Some(1),
        0x7 => Some(2),
        0xb => Some(3),
        _ => None,
    };
    for bits in 0..16u8 {
        let ulp = 0x40 | bits;
        let opcode = Control(ulp).opcode();
        for qn in 0..4 {
            let mut side = Side::new(limits());
            side.receive(100);
            if Some(qn) != queue(opcode) {
                let error = refused(
                    &mut side,
                    Untagged {
                        ulp,
                        ..untagged(opcode, qn, 1)
                    },
                    b"",
                );
                assert_eq!(error, RdmapError::UnexpectedOpcode(bits), "queue {qn}");
            }
        }
        if !matches!(opcode, Opcode::WRITE | Opcode::READ_RESPONSE) {
            let error = refused(
                &mut Side::new(limits()),
                Tagged {
                    ulp,
                    ..tagged(opcode, Stag(1), 0)
                },
                b"",
            );
            assert_eq!(error, RdmapError::UnexpectedOpcode(bits));
        }
    }
}

#[test]
fn there_are_four_queues() {
    for qn in [4, 5, u32::MAX] {
        let error = refused(&mut Side::new(limits()), untagged(Opcode::SEND, qn, 1), b"");
        assert_eq!(error, DdpError::InvalidQn.into());
    }
}

#[test]
fn a_send_needs_its_buffer() {
    let mut side = Side::new(limits());
    assert_eq!(
        refused(&mut side, untagged(Opcode::SEND, 0, 1), b""),
        DdpError::NoBuffer.into()
    );
    side.receive(3);
    assert_eq!(
        refused(&mut side, untagged(Opcode::SEND, 0, 1), b"four"),
        DdpError::TooLong.into()
    );
    assert_eq!(
        refused(&mut side, untagged(Opcode::SEND, 0, 0), b"x"),
        DdpError::MsnRange.into()
    );
    assert_eq!(
        refused(
            &mut side,
            Untagged {
                mo: 9,
                ..untagged(Opcode::SEND, 0, 1)
            },
            b"x"
        ),
        DdpError::InvalidMo.into()
    );
}

#[test]
fn an_invalidation_that_fails_flushes_the_receive() {
    let mut side = Side::new(limits());
    let slot = side.receive(3);
    let header = Untagged {
        ulp_word: 0xbad,
        ..untagged(Opcode::SEND_INVALIDATE, 0, 1)
    };
    assert_eq!(
        refused(&mut side, header, b"x"),
        RdmapError::Invalidate(AccessError::InvalidStag)
    );
    assert_eq!(side.outcomes(), [(slot, Status::Flushed)]);
}

#[test]
fn a_read_request_is_checked_before_it_is_answered() {
    let mut side = Side::new(limits());
    let stag = side.region(7, &[0; 100]);
    let header = untagged(Opcode::READ_REQUEST, 1, 1);
    let cases = [
        (
            read_request(1, Stag(8), 0),
            RdmapError::ReadSource(AccessError::InvalidStag),
        ),
        (
            read_request(101, stag, 0),
            RdmapError::ReadSource(AccessError::Bounds),
        ),
        (
            read_request(2, stag, u64::MAX),
            RdmapError::ReadSource(AccessError::Wrap),
        ),
        (
            ReadRequest {
                sink_to: u64::MAX,
                ..read_request(2, stag, 0)
            },
            RdmapError::ReadSource(AccessError::Wrap),
        ),
    ];
    for (request, error) in cases {
        assert_eq!(refused(&mut side, header, &request.encode()), error);
    }
    let octets = read_request(1, stag, 0).encode();
    let size = |actual| RdmapError::MessageSize {
        expected: 28,
        actual,
    };
    assert_eq!(refused(&mut side, header, &octets[..27]), size(27));
    assert_eq!(
        refused(&mut side, header, &[&octets[..], &[0]].concat()),
        size(29)
    );
    assert_eq!(
        refused(
            &mut side,
            Untagged {
                last: false,
                ..header
            },
            &octets
        ),
        size(28)
    );
    assert_eq!(
        refused(&mut side, Untagged { mo: 4, ..header }, &octets),
        DdpError::InvalidMo.into()
    );
    assert!(side.transmit().is_none(), "nothing of this is answered");
}

#[test]
fn no_more_requests_are_taken_than_the_ird_allows() {
    let mut side = Side::new(limits());
    let stag = side.region(7, &[0; 100]);
    let octets = read_request(100, stag, 0).encode();
    let request = |msn| {
        segment(
            &Header::Untagged(untagged(Opcode::READ_REQUEST, 1, msn)),
            &octets,
        )
    };
    assert_eq!(
        side.take(&request(3)),
        Err(DdpError::NoBuffer.into()),
        "too far ahead"
    );
    assert_eq!(
        side.take(&request(2)),
        Err(DdpError::MsnRange.into()),
        "the one before it is missing"
    );
    assert_eq!(side.take(&request(1)), Ok(None));
    assert_eq!(
        side.take(&request(1)),
        Err(DdpError::MsnRange.into()),
        "it has been"
    );
    assert_eq!(side.take(&request(2)), Ok(None));
    assert_eq!(
        side.take(&request(3)),
        Err(DdpError::NoBuffer.into()),
        "two are owed"
    );
    assert!(side.transmit().is_some());
    assert_eq!(side.take(&request(3)), Ok(None), "one has been answered");
}

#[test]
fn an_answer_must_have_been_asked_for() {
    let mut side = Side::new(limits());
    let response = tagged(Opcode::READ_RESPONSE, Stag(0x5151_5151), 0);
    assert_eq!(
        refused(&mut side, response, b"x"),
        RdmapError::UnsolicitedResponse
    );
    assert_eq!(
        refused(&mut side, response, b""),
        RdmapError::UnsolicitedResponse
    );
    side.post(
        Operation::Read {
            stag: Stag(1),
            to: 0,
        },
        &[0; 10],
    )
    .unwrap();
    let request = side.transmit().unwrap();
    let sink_to = ReadRequest::parse(&request[18..]).unwrap().sink_to;
    let wrong = [
        (
            Tagged {
                stag: Stag(2),
                to: sink_to,
                ..response
            },
            10,
        ),
        (
            Tagged {
                to: sink_to + 1,
                ..response
            },
            10,
        ),
        (
            Tagged {
                to: sink_to,
                ..response
            },
            11,
        ),
        (
            Tagged {
                to: u64::MAX,
                ..response
            },
            1,
        ),
        (
            Tagged {
                to: sink_to,
                ..response
            },
            9,
        ),
        (
            Tagged {
                to: sink_to,
                ..response
            },
            0,
        ),
    ];
    for (header, len) in wrong {
        assert_eq!(
            refused(&mut side, header, &vec![1; len]),
            RdmapError::ResponseMismatch,
            "{header:?} {len}"
        );
    }
    assert_eq!(side.completions(), []);
}

#[test]
fn answers_come_in_the_order_of_their_requests() {
    let mut side = Side::new(limits());
    for _ in 0..2 {
        side.post(
            Operation::Read {
                stag: Stag(1),
                to: 0,
            },
            &[0; 4],
        )
        .unwrap();
    }
    side.transmit().unwrap();
    let second = side.transmit().unwrap();
    let sink_to = ReadRequest::parse(&second[18..]).unwrap().sink_to;
    let header = tagged(Opcode::READ_RESPONSE, Stag(0x5151_5151), sink_to);
    assert_eq!(
        refused(&mut side, header, b"late"),
        RdmapError::ResponseMismatch
    );
}

#[test]
fn atomic_requests_are_checked() {
    let mut side = Side::new(limits());
    let stag = side.region(7, &[0; 16]);
    let header = untagged(Opcode::ATOMIC_REQUEST, 1, 1);
    let request = |stag, to| {
        let operation = AtomicOperation::FetchAdd { add: 1, mask: 0 };
        AtomicRequest {
            id: 5,
            stag,
            to,
            operation,
        }
        .encode()
    };
    let target = |error| RdmapError::AtomicTarget(error);
    let access = |error| target(AtomicError::Access(error));
    assert_eq!(
        refused(&mut side, header, &request(Stag(1), 0)),
        access(AccessError::InvalidStag)
    );
    assert_eq!(
        refused(&mut side, header, &request(stag, 16)),
        access(AccessError::Bounds)
    );
    assert_eq!(
        refused(&mut side, header, &request(stag, 4)),
        target(AtomicError::Misaligned)
    );
    let mut unknown = request(stag, 0);
    unknown[3] = 1;
    assert_eq!(
        refused(&mut side, header, &unknown),
        RdmapError::AtomicOperation(1)
    );
    let size = RdmapError::MessageSize {
        expected: 52,
        actual: 51,
    };
    assert_eq!(refused(&mut side, header, &request(stag, 0)[..51]), size);
    assert_eq!(side.memory.regions[&stag], [0; 16]);
    assert!(side.endpoint.atomic_due().is_none());
    assert_eq!(
        side.take(&segment(&Header::Untagged(header), &request(stag, 0))),
        Ok(None)
    );
    assert_eq!(side.endpoint.atomic_due().map(|due| due.id), Some(5));
}

#[test]
fn reads_and_atomics_share_the_ird_and_their_queue() {
    let mut side = Side::new(limits());
    let stag = side.region(7, &[0; 16]);
    let operation = AtomicOperation::FetchAdd { add: 1, mask: 0 };
    let atomic = AtomicRequest {
        id: 5,
        stag,
        to: 0,
        operation,
    }
    .encode();
    let read = read_request(8, stag, 0).encode();
    let next = |opcode, msn| Header::Untagged(untagged(opcode, 1, msn));
    side.take(&segment(&next(Opcode::ATOMIC_REQUEST, 1), &atomic))
        .unwrap();
    side.take(&segment(&next(Opcode::READ_REQUEST, 2), &read))
        .unwrap();
    let third = side.take(&segment(&next(Opcode::ATOMIC_REQUEST, 3), &atomic));
    assert_eq!(third, Err(DdpError::NoBuffer.into()));
}

#[test]
fn atomic_responses_are_checked() {
    let response = |id| AtomicResponse { id, original: 1 }.encode();
    let header = untagged(Opcode::ATOMIC_RESPONSE, 3, 1);
    let mut side = Side::new(limits());
    assert_eq!(
        refused(&mut side, header, &response(0)),
        DdpError::NoBuffer.into(),
        "nothing was asked"
    );
    let operation = AtomicOperation::FetchAdd { add: 1, mask: 0 };
    side.post(
        Operation::Atomic {
            stag: Stag(1),
            to: 0,
            operation,
        },
        b"",
    )
    .unwrap();
    let request = side.transmit().unwrap();
    let id = AtomicRequest::parse(&request[18..]).unwrap().id;
    assert_eq!(
        refused(&mut side, header, &response(id + 1)),
        RdmapError::AtomicMismatch
    );
    assert_eq!(
        refused(&mut side, Untagged { msn: 0, ..header }, &response(id)),
        DdpError::MsnRange.into()
    );
    assert_eq!(
        refused(&mut side, Untagged { msn: 2, ..header }, &response(id)),
        DdpError::NoBuffer.into()
    );
    let size = RdmapError::MessageSize {
        expected: 12,
        actual: 11,
    };
    assert_eq!(refused(&mut side, header, &response(id)[..11]), size);
    assert_eq!(
        side.take(&segment(&Header::Untagged(header), &response(id))),
        Ok(None)
    );
    assert_eq!(side.completions()[0].original, Some(1));
}

#[test]
fn a_read_is_not_answered_by_an_atomic_nor_the_reverse() {
    let mut side = Side::new(limits());
    side.post(
        Operation::Read {
            stag: Stag(1),
            to: 0,
        },
        b"",
    )
    .unwrap();
    side.transmit().unwrap();
    let response = AtomicResponse { id: 0, original: 1 }.encode();
    assert_eq!(
        refused(
            &mut side,
            untagged(Opcode::ATOMIC_RESPONSE, 3, 1),
            &response
        ),
        RdmapError::AtomicMismatch
    );

    let mut side = Side::new(limits());
    let operation = AtomicOperation::FetchAdd { add: 1, mask: 0 };
    side.post(
        Operation::Atomic {
            stag: Stag(1),
            to: 0,
            operation,
        },
        b"",
    )
    .unwrap();
    side.transmit().unwrap();
    let read = tagged(Opcode::READ_RESPONSE, Stag(0), 0);
    assert_eq!(refused(&mut side, read, b""), RdmapError::ResponseMismatch);
}

#[test]
fn immediate_data_has_eight_octets() {
    for len in [0, 7, 9, 16] {
        let mut side = Side::new(limits());
        side.receive(100);
        let error = refused(&mut side, untagged(Opcode::IMMEDIATE, 0, 1), &vec![0; len]);
        assert_eq!(
            error,
            RdmapError::MessageSize {
                expected: 8,
                actual: len as u32
            }
        );
    }
    let mut side = Side::new(limits());
    let error = refused(&mut side, untagged(Opcode::IMMEDIATE, 0, 1), &[0; 8]);
    assert_eq!(error, DdpError::NoBuffer.into());
}

#[test]
fn a_terminate_is_told_and_a_bad_one_is_refused() {
    let code = TerminateCode::new(Layer::Ddp, 2, 2);
    let mut body = [0; 52];
    let len = Terminate::bare(code).encode(&mut body);
    let header = untagged(Opcode::TERMINATE, 2, 1);
    let mut side = Side::new(limits());
    let told = side.take(&segment(&Header::Untagged(header), &body[..len]));
    assert_eq!(told, Ok(Some(Notice::Terminated(Terminate::bare(code)))));
    assert_eq!(
        refused(&mut side, header, &body[..3]),
        RdmapError::BadTerminate
    );
    assert_eq!(
        refused(
            &mut side,
            Untagged {
                last: false,
                ..header
            },
            &body[..4]
        ),
        RdmapError::BadTerminate
    );
    assert_eq!(
        refused(&mut side, Untagged { mo: 4, ..header }, &body[..4]),
        RdmapError::BadTerminate
    );
    assert_eq!(
        refused(&mut side, header, &[0; 53]),
        RdmapError::BadTerminate
    );
    // The longest one that there can be.
    let told = side.take(&segment(&Header::Untagged(header), &body));
    assert_eq!(told, Ok(Some(Notice::Terminated(Terminate::bare(code)))));
    assert_eq!(
        refused(&mut side, Untagged { msn: 2, ..header }, &body[..4]),
        DdpError::MsnRange.into()
    );
}

#[test]
fn a_terminate_follows_the_message_under_way_and_nothing_follows_it() {
    let mut side = Side::new(limits());
    let under_way = side
        .post(
            Operation::Write {
                stag: Stag(1),
                to: 0,
            },
            &[0; 300],
        )
        .unwrap();
    let waiting = side.send(b"never sent");
    side.transmit().unwrap();
    let code = TerminateCode::new(Layer::Rdmap, 2, 6);
    side.endpoint.terminate(Terminate::bare(code));
    side.endpoint
        .terminate(Terminate::bare(TerminateCode::new(Layer::Rdmap, 2, 5)));
    assert_eq!(
        side.post(
            Operation::Write {
                stag: Stag(1),
                to: 0
            },
            b""
        ),
        Err(PostError::Closed)
    );
    let rest: Vec<_> = std::iter::from_fn(|| side.transmit()).collect();
    assert_eq!(
        rest.len(),
        3,
        "two segments of the Write, and the Terminate"
    );
    assert_eq!(
        rest.iter()
            .filter_map(|octets| terminate_of(octets))
            .collect::<Vec<_>>(),
        [Terminate::bare(code)]
    );
    assert_eq!(terminate_of(&rest[2]), Some(Terminate::bare(code)));
    side.endpoint.flush_sends();
    assert_eq!(
        side.outcomes(),
        [(under_way, Status::Success), (waiting, Status::Flushed)]
    );
}

#[test]
fn an_answer_that_is_given_up_tells_what_was_left() {
    let mut side = Side::new(Limits { ird: 4, ..limits() });
    let stag = side.region(7, &[0; 1000]);
    let request = ReadRequest {
        sink_stag: Stag(9),
        sink_to: 500,
        ..read_request(1000, stag, 0)
    };
    side.take(&segment(
        &Header::Untagged(untagged(Opcode::READ_REQUEST, 1, 1)),
        &request.encode(),
    ))
    .unwrap();
    // Two segments of 114 octets are out, the third is asked for and cannot be read any more.
    for _ in 0..2 {
        side.transmit().unwrap();
    }
    side.endpoint.next_segment(common::MULPDU).unwrap();
    let (rest, msn) = side.endpoint.abandon_response().unwrap();
    assert_eq!(
        (rest, msn),
        (uwarp_rdmap::Request::Read(request.remainder(228)), 1)
    );
    assert!(side.transmit().is_none());
}

#[test]
fn the_blamed_read_is_refused_and_the_others_are_flushed() {
    let mut side = Side::new(limits());
    let first = side
        .post(
            Operation::Read {
                stag: Stag(1),
                to: 0,
            },
            &[0; 10],
        )
        .unwrap();
    let second = side
        .post(
            Operation::Read {
                stag: Stag(1),
                to: 0,
            },
            &[0; 10],
        )
        .unwrap();
    side.transmit().unwrap();
    let request = side.transmit().unwrap();
    let sink_to = ReadRequest::parse(&request[18..]).unwrap().sink_to;
    let code = TerminateCode::new(Layer::Rdmap, 1, 1);
    side.endpoint
        .refuse_read(sink_to + 4, Status::Refused(code));
    side.endpoint.flush_sends();
    assert_eq!(
        side.outcomes(),
        [(first, Status::Flushed), (second, Status::Refused(code))]
    );
}

#[test]
fn the_rtr_frames_leave_no_completion() {
    let (mut a, mut b) = (Side::new(limits()), Side::new(limits()));
    b.receive(5);
    let head = |outgoing: uwarp_rdmap::Outgoing| outgoing.head().to_vec();
    let write = head(a.endpoint.rtr_write());
    let read = head(a.endpoint.rtr_read());
    let _send = head(a.endpoint.rtr_send());
    b.take(&write).unwrap();
    b.take(&read).unwrap();
    b.endpoint.skip_rtr_send();
    settle(&mut a, &mut b);
    assert_eq!((a.completions(), b.completions()), (vec![], vec![]));
    a.send(b"hello");
    settle(&mut a, &mut b);
    assert_eq!(
        b.completions()[0].len,
        5,
        "the Send behind the RTR has MSN 2 and the first receive"
    );
}

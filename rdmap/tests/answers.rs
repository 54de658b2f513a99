//! What a peer may not do with Reads and atomic operations, as the one who asks and the one who answers (RFC 5040 s7, RFC
//! 7306 s8).

mod common;

use common::wire::{read_request, refused, segment, tagged, untagged};
use common::{Side, limits};
use uwarp_ddp::{AccessError, DdpError, Header, Stag, Tagged, Untagged};
use uwarp_rdmap::atomic::{AtomicRequest, AtomicResponse};
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{AtomicError, AtomicOperation, Opcode, Operation, RdmapError};

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

//! What a peer may not do, and what happens then (RFC 5040 s7, RFC 7306 s8): headers, Sends, and Immediate Data.

mod common;

use common::wire::{read_request, refused, segment, tagged, untagged};
use common::{Side, limits, settle};
use uwarp_ddp::{AccessError, DdpError, Header, Stag, Tagged, Untagged};
use uwarp_rdmap::atomic::AtomicRequest;
use uwarp_rdmap::header::Control;
use uwarp_rdmap::{AtomicOperation, Opcode, RdmapError, Status};

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

//! Terminates: who is told what, and what becomes of the messages under way (RFC 5040 s4.8, s7).

mod common;

use common::wire::{read_request, refused, segment, untagged};
use common::{Side, limits, terminate_of};
use uwarp_ddp::{DdpError, Header, Stag, Untagged};
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{
    Layer, Limits, Notice, Opcode, Operation, PostError, RdmapError, Status, Terminate,
    TerminateCode,
};

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

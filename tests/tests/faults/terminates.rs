//! The other end has found something wrong with us, or says so.

use uwarp_ddp::{Stag, UNTAGGED_LEN, Untagged};
use uwarp_rdmap::header::{READ_REQUEST_LEN, request_ddp_header};
use uwarp_rdmap::terminate::{BlamedHeader, TERMINATE_MAX};
use uwarp_rdmap::{Opcode, RdmapError, Status, Terminate, TerminateCode};
use uwarp_stream::{End, Fault};
use uwarp_tests::stranger::{read, single, terminate, untagged, write};

use super::{Carries, Ground, assert_refused, code, terminate_body};

fn encode(message: &Terminate) -> Vec<u8> {
    let mut octets = [0; TERMINATE_MAX];
    let len = message.encode(&mut octets);
    octets[..len].to_vec()
}

/// It is not answered, and ends the connection (RFC 5040 s5.4, R24, R25).
fn assert_terminated(mut ground: Ground, body: &[u8], code: TerminateCode) {
    ground.bench.send(&terminate(body));
    assert_eq!(ground.bench.hear(), [], "a Terminate is not answered");
    ground.assert_ended();
    assert_eq!(ground.bench.end(), Some(&End::Terminated(code)));
}

#[test]
fn a_terminate_without_headers() {
    let code = code(2, 0, 2);
    assert_terminated(Ground::new(), &encode(&Terminate::bare(code)), code);
}

#[test]
fn a_terminate_that_blames_a_send() {
    let code = code(1, 2, 2);
    let message = Terminate {
        code,
        segment_len: Some(28),
        ddp_header: BlamedHeader::of(&untagged(single(Opcode::SEND, 0, 1), &[0; 10])),
        read_request: None,
    };
    assert_terminated(Ground::new(), &encode(&message), code);
}

/// Of each form that Figure 10 of RFC 5040 s4.8 has, one that says what we did: a header of either kind, a length
/// without a header, a Request of an atomic operation.
#[test]
fn a_terminate_with_the_headers_of_each_form() {
    let tagged = write(Stag(7), 0, b"four");
    let atomic = untagged(single(Opcode::ATOMIC_REQUEST, 1, 1), &[0; 52]);
    let cases = [
        (code(0, 0, 0), Carries::Nothing, &tagged),
        (code(1, 0, 0), Carries::Length, &tagged),
        (code(1, 1, 1), Carries::Ddp, &tagged),
        (code(0, 2, 5), Carries::Ddp, &tagged),
        (code(0, 2, 7), Carries::Ddp, &atomic),
        (code(2, 0, 3), Carries::Nothing, &tagged),
    ];
    for (code, carries, blamed) in cases {
        assert_terminated(Ground::new(), &terminate_body(code, carries, blamed), code);
    }
}

/// A Read that was never asked for is nobody's fault: all is flushed.
#[test]
fn a_terminate_that_blames_a_read_of_nobody() {
    let code = code(0, 1, 1);
    let ground = Ground::new();
    let mut request = ground.asked;
    request.sink_to += u64::from(request.size);
    let blamed = read(1, &request);
    assert_terminated(
        ground,
        &terminate_body(code, Carries::DdpAndRead, &blamed),
        code,
    );
}

/// Linux siw writes the bits of two octets in the wrong order.
#[test]
fn a_terminate_as_siw_writes_it() {
    let swapped = [0x21, 0x02, 0x03, 0x00, 0x00, 0x1c];
    let blamed = untagged(single(Opcode::SEND, 0, 1), &[]);
    let body = [&swapped[..], &blamed].concat();
    assert_terminated(Ground::new(), &body, code(1, 2, 2));
}

/// The Read that is blamed tells why it failed; all else is flushed (R38).
#[test]
fn a_terminate_that_blames_a_read() {
    let code = code(0, 1, 1);
    // The same Read, before and after part of it has been served (RFC 5040 s4.8).
    for served in [0, 40] {
        let mut ground = Ground::new();
        let message = Terminate {
            code,
            segment_len: Some((UNTAGGED_LEN + READ_REQUEST_LEN) as u16),
            ddp_header: BlamedHeader::of(&request_ddp_header(Opcode::READ_REQUEST, 1)),
            read_request: Some(ground.asked.remainder(served).encode()),
        };
        ground.bench.send(&terminate(&encode(&message)));
        let blamed = ground.works.remove(0);
        let mut completions = ground.bench.completions.iter();
        let at = completions.position(|done| done.slot == blamed);
        let done = ground.bench.completions.remove(at.expect("it completes"));
        assert_eq!(done.status, Status::Refused(code));
        assert_eq!(ground.bench.hear(), []);
        ground.assert_ended();
        assert_eq!(ground.bench.end(), Some(&End::Terminated(code)));
    }
}

/// A Terminate that makes no sense is not answered either: two ends that do would never stop (G3).
#[test]
fn a_terminate_that_makes_no_sense() {
    let longer = vec![0; TERMINATE_MAX + 1];
    let promises = terminate_body(code(1, 1, 0), Carries::Length, &[0; 9]);
    let bodies: [&[u8]; 5] = [
        &[],
        &[0x20, 0x02, 0x00],
        &promises[..4],
        &promises[..5],
        &longer,
    ];
    let mut segments: Vec<_> = bodies.iter().map(|body| terminate(body)).collect();
    let unfinished = Untagged {
        last: false,
        ..single(Opcode::TERMINATE, 2, 1)
    };
    let displaced = Untagged {
        mo: 4,
        ..single(Opcode::TERMINATE, 2, 1)
    };
    segments.push(untagged(unfinished, &[0x20, 0x02, 0x00, 0x00]));
    segments.push(untagged(displaced, &[0x20, 0x02, 0x00, 0x00]));
    for segment in segments {
        println!("{:02x?}", &segment[UNTAGGED_LEN..]);
        let mut ground = Ground::new();
        ground.bench.send(&segment);
        assert_eq!(ground.bench.hear(), [], "it is not answered");
        ground.assert_ended();
        let fault = Fault::Rdmap(RdmapError::BadTerminate);
        assert_eq!(ground.bench.end(), Some(&End::Fault(fault)));
    }
}

/// There is one in a connection's life, and its number is 1 (RFC 5040 s5.4, R23).
#[test]
fn a_terminate_with_another_number() {
    for (msn, number) in [(0, 3), (2, 3)] {
        let ulpdu = untagged(single(Opcode::TERMINATE, 2, msn), &[0x20, 0x02, 0, 0]);
        assert_refused(Ground::new(), &ulpdu, code(1, 2, number), Carries::Ddp);
    }
}

//! Set-up that goes wrong (RFC 5044 s7.1, RFC 6581).

use std::time::Duration;

use uwarp_ddp::Stag;
use uwarp_mpa::{
    Enhanced, Frame, FrameKind, LlpErrorCode, Policy, Revision, Rtr, RtrSet, StartupError,
    negotiate,
};
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{Opcode, Operation, PostError, Status};
use uwarp_stream::{AnswerError, Config, End, Event, Fault};
use uwarp_tests::stranger::{
    Bench, SINK_STAG, empty_write, read, response, send, single, terminate, untagged, write,
};

use super::code;

fn config(policy: Policy) -> Config {
    Config {
        policy,
        startup_timeout: Duration::from_secs(5),
        close_timeout: Duration::from_secs(7),
        ..Config::default()
    }
}

fn plain() -> Policy {
    Policy {
        revision: Revision::One,
        peer_to_peer: false,
        ..Policy::default()
    }
}

/// A startup frame, octet for octet.
fn octets(kind: FrameKind, flags: u8, revision: u8, data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u16).to_be_bytes();
    [kind.key(), &[flags, revision][..], &len, data].concat()
}

/// It is closed at once, and nothing is said (RFC 5044 s8, F36).
fn assert_closed(mut bench: Bench, wire: &[u8], error: StartupError) {
    bench.drain();
    bench.unread.clear();
    bench.feed(wire);
    assert_eq!(bench.unread, [], "nothing is answered");
    let end = End::Fault(Fault::Startup(error));
    assert_eq!(bench.end(), Some(&end));
    assert!(bench.connection.is_over() && !bench.fin);
}

/// U04, U05, U09, U10, U20, U21; G11, G12, G13.
#[test]
fn an_improper_frame() {
    let responder = || Bench::responder(Config::default());
    let initiator = || Bench::initiator(Config::default());
    let (request, reply) = (FrameKind::Request, FrameKind::Reply);
    let http = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    assert_closed(responder(), http, StartupError::Key { at: 0 });
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    assert_closed(initiator(), http, StartupError::Key { at: 0 });
    assert_closed(responder(), b"MPA ID Ref", StartupError::Key { at: 9 });
    let words = [0x80, 1, 0xc0, 1];
    let twin = octets(request, 0x50, 2, &words);
    let error = StartupError::Role { got: request };
    assert_closed(initiator(), &twin, error);
    let twin = octets(reply, 0x50, 2, &words);
    assert_closed(responder(), &twin, StartupError::Role { got: reply });
    for got in [0, 3, 255] {
        let wire = octets(request, 0x40, got, &[]);
        assert_closed(responder(), &wire, StartupError::Revision { got });
    }
    for len in [513, 65_535] {
        let mut wire = octets(request, 0x40, 1, &[]);
        wire[18..].copy_from_slice(&u16::to_be_bytes(len));
        let error = StartupError::PrivateDataTooLong { len };
        assert_closed(responder(), &wire, error);
    }
    let wire = octets(request, 0x50, 2, &[0, 0]);
    let error = StartupError::EnhancedDataMissing { len: 2 };
    assert_closed(responder(), &wire, error);
    let mut wire = octets(request, 0x40, 1, b"data");
    wire.push(0);
    assert_closed(responder(), &wire, StartupError::TrailingOctets);
    let wire = octets(reply, 0x40, 1, &[]);
    let error = StartupError::RevisionMismatch { asked: 2, got: 1 };
    assert_closed(initiator(), &wire, error);
    let wire = octets(reply, 0x40, 2, &[]);
    let error = StartupError::EnhancedMismatch { asked: true };
    assert_closed(initiator(), &wire, error);
}

/// While the application decides, nothing can be due from the initiator (U10, G13).
#[test]
fn octets_behind_a_request_that_is_being_decided() {
    let mut bench = Bench::responder(Config::default());
    bench.feed(&octets(FrameKind::Request, 0x40, 1, &[]));
    assert!(matches!(bench.events.pop(), Some(Event::Request(_))));
    assert_eq!(bench.connection.startup_need(), 0);
    bench.feed(&[0]);
    let fault = Fault::Startup(StartupError::TrailingOctets);
    assert_eq!(bench.end(), Some(&End::Fault(fault)));
    let answer = bench.connection.accept(b"", bench.now);
    assert_eq!(
        (answer, bench.unread.len()),
        (Err(AnswerError::NoRequest), 0)
    );
}

/// RFC 5044 s7.1.2 r10 (U22): the time is for the whole frame, however it trickles.
#[test]
fn a_frame_that_trickles() {
    let wire = octets(FrameKind::Request, 0x40, 1, &[7; 100]);
    let mut bench = Bench::responder(config(plain()));
    for octet in &wire[..9] {
        bench.feed(&[*octet]);
        bench.pass(Duration::from_millis(550));
        assert_eq!(bench.end(), None);
    }
    bench.pass(Duration::from_millis(550));
    assert_eq!(bench.end(), Some(&End::StartupTimeout));
    assert_eq!(bench.unread, []);
}

#[test]
fn a_peer_that_says_nothing() {
    let benches = [
        Bench::responder(config(plain())),
        Bench::initiator(config(plain())),
        // Its RTR is awaited (RFC 6581 s9.2).
        Bench::silent(config(Policy::default()), &Policy::default()),
    ];
    for mut bench in benches {
        bench.drain();
        let due = bench.connection.deadline().expect("there is a limit");
        assert_eq!(due - bench.now, Duration::from_secs(5));
        bench.pass(Duration::from_millis(4999));
        assert_eq!(bench.end(), None);
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.end(), Some(&End::StartupTimeout));
    }
}

#[test]
fn a_peer_that_leaves() {
    let request = octets(FrameKind::Request, 0x40, 1, b"data");
    for len in 0..=request.len() {
        let mut bench = Bench::responder(config(plain()));
        bench.feed(&request[..len]);
        bench.finish();
        assert_eq!(bench.end(), Some(&End::Lost), "after {len}");
        let answer = bench.connection.accept(b"", bench.now);
        assert!(answer.is_err(), "there is nobody to answer");
    }
}

/// A frame of what the initiator under test gets for an answer; what is said then, and how it ends.
fn assert_not_agreed(ours: Policy, words: Enhanced, error: LlpErrorCode) {
    for (crc, markers) in [(true, false), (false, true)] {
        let ours = Policy { crc, ..ours };
        let mut bench = Bench::initiator(config(ours));
        let request = bench.take_frame(FrameKind::Request);
        let reply = Frame {
            kind: FrameKind::Reply,
            markers,
            crc: false,
            rejected: false,
            enhanced: true,
            revision: 2,
            private_data: words.encode().to_vec(),
        };
        let peer = Policy {
            crc: false,
            markers,
            ..Policy::default()
        };
        let seen = negotiate::examine_request(&peer, &request).expect("a proper Request");
        let (_, theirs) = negotiate::accept(&peer, &seen, b"").expect("acceptable");
        bench.feed(&reply.encode().expect("it can be sent"));
        let events = bench.events.len();
        bench.open(&theirs);
        assert_eq!(events, bench.events.len(), "it is not established");
        let heard = bench.hear();
        let told = heard[0].terminate().expect("a Terminate");
        assert_eq!((heard.len(), heard[0].body.len()), (1, 4));
        assert_eq!(told.code, code(2, 0, error.code()));
        assert!(bench.fin);
        bench.finish();
        let fault = Fault::Setup(error);
        assert_eq!(bench.end(), Some(&End::Fault(fault)));
    }
}

/// RFC 6581 s9.1 to s9.3 (E12, E18, E20; G14).
#[test]
fn an_acceptance_that_does_not_do() {
    let ours = Policy {
        ird: 4,
        rtr: RtrSet::WRITE,
        ..Policy::default()
    };
    let good = Enhanced {
        ird: 8,
        ord: 4,
        peer_to_peer: true,
        rtr: RtrSet::WRITE,
    };
    let greedy = Enhanced { ord: 5, ..good };
    assert_not_agreed(ours, greedy, LlpErrorCode::InsufficientIrd);
    let deaf = Enhanced {
        rtr: RtrSet::SEND | RtrSet::READ,
        ..good
    };
    assert_not_agreed(ours, deaf, LlpErrorCode::NoMatchingRtr);
    let other_model = Enhanced {
        peer_to_peer: false,
        ..good
    };
    assert_not_agreed(ours, other_model, LlpErrorCode::LocalCatastrophic);
    let client = Policy {
        peer_to_peer: false,
        ..ours
    };
    assert_not_agreed(client, good, LlpErrorCode::LocalCatastrophic);
}

/// RFC 6581 s9.2 (E18): the first FPDU is an RTR that was agreed on, or nothing goes on.
#[test]
fn a_first_fpdu_that_is_no_rtr() {
    let request = ReadRequest {
        sink_stag: Stag(1),
        sink_to: 0,
        size: 0,
        source_stag: Stag(0),
        source_to: 0,
    };
    let cases = [
        (RtrSet::WRITE, write(Stag(1), 0, b"x")),
        (RtrSet::WRITE, read(1, &request)),
        (RtrSet::WRITE, send(1, b"")),
        (RtrSet::READ, empty_write()),
        (RtrSet::READ, send(1, b"")),
        (RtrSet::SEND, empty_write()),
        (RtrSet::SEND, read(1, &request)),
        (RtrSet::SEND, send(1, b"x")),
        (RtrSet::SEND, send(2, b"")),
        (RtrSet::ALL, response(&request, 0, b"", true)),
        (RtrSet::ALL, untagged(single(Opcode::SEND, 1, 1), b"")),
    ];
    for (rtr, first) in cases {
        println!("{rtr:?} {first:02x?}");
        let policy = Policy {
            rtr,
            ..Policy::default()
        };
        let mut bench = Bench::silent(config(policy), &policy);
        bench.post_receive(10).expect("it may be posted");
        bench.send(&first);
        let heard = bench.hear();
        let told = heard[0].terminate().expect("a Terminate");
        assert_eq!((heard.len(), told.code), (1, code(2, 0, 7)));
        assert_eq!(heard[0].body.len(), 4, "without headers");
        assert!(bench.fin);
        bench.finish();
        let fault = Fault::Setup(LlpErrorCode::NoMatchingRtr);
        assert_eq!(bench.end(), Some(&End::Fault(fault)));
        assert_eq!(bench.completions[0].status, Status::Flushed);
    }
}

/// Nothing is said to a peer that has ended it, not even the RTR (RFC 5040 s5.4, R25).
#[test]
fn a_terminate_right_behind_the_reply() {
    let theirs = Policy::default();
    let mut bench = Bench::initiator(config(Policy::default()));
    let request = bench.take_frame(FrameKind::Request);
    let seen = negotiate::examine_request(&theirs, &request).expect("a proper Request");
    let (reply, agreement) = negotiate::accept(&theirs, &seen, b"").expect("acceptable");
    bench.take(&reply.encode().expect("it can be sent"));
    bench.open(&agreement);
    bench.send(&terminate(&[0x20, 0x05, 0, 0]));
    assert_eq!((bench.unread.len(), bench.fin), (0, true));
    bench.finish();
    assert_eq!(bench.end(), Some(&End::Terminated(code(2, 0, 5))));
}

/// Each RTR, in its place, leaves no trace: the messages behind it are numbered as they should be, and
/// no receive is used (G15, G16).
#[test]
fn every_rtr_leaves_no_trace() {
    for (rtr, set) in [
        (Rtr::Write, RtrSet::WRITE),
        (Rtr::Read, RtrSet::READ),
        (Rtr::Send, RtrSet::SEND),
    ] {
        let policy = Policy {
            rtr: set,
            ..Policy::default()
        };
        let mut bench = Bench::connected(config(policy), &policy);
        assert_eq!(
            bench.connection.agreement().and_then(|terms| terms.rtr),
            Some(rtr)
        );
        let send_one = Operation::Send {
            solicited: false,
            invalidate: None,
        };
        let slot = bench.post(send_one, 3).expect("it may be posted");
        bench.drain();
        assert_eq!(bench.hear().len(), 1);
        let done = bench
            .completions
            .pop()
            .expect("the RTR does not stand before it");
        assert_eq!((done.slot, done.status), (slot, Status::Success));

        let mut bench = Bench::silent(config(policy), &policy);
        let slot = bench.post_receive(10).expect("it may be posted");
        let request = ReadRequest {
            sink_stag: SINK_STAG,
            sink_to: 0,
            size: 0,
            source_stag: Stag(0),
            source_to: 0,
        };
        let (opening, next) = match rtr {
            Rtr::Write => (empty_write(), 1),
            Rtr::Read => (read(1, &request), 1),
            Rtr::Send => (send(1, b""), 2),
        };
        bench.send(&opening);
        assert!(bench.completions.is_empty() && bench.connection.deadline().is_none());
        assert_eq!(bench.hear().len(), usize::from(rtr == Rtr::Read));
        bench.send(&send(next, b"first"));
        let done = bench.completions.pop().expect("it arrives");
        assert_eq!((done.slot, done.len), (slot, 5));
    }
}

/// RFC 5044 s7.1.2 r4 (U18, T7; G17): who has not validated an FPDU stays silent, and closes.
#[test]
fn a_first_fpdu_with_a_wrong_crc() {
    for theirs in [plain(), Policy::default()] {
        let mut bench = Bench::silent(config(Policy::default()), &theirs);
        let mut fpdu = bench.frame(&empty_write());
        fpdu[19] ^= 1;
        bench.feed(&fpdu);
        assert_eq!(bench.unread, [], "nothing is said");
        assert!(bench.fin);
        bench.finish();
        let Some(End::Fault(fault)) = bench.end() else {
            panic!("{:?}", bench.end());
        };
        assert_eq!(fault.code(), code(2, 0, 2));
    }
    let mut bench = Bench::connected(config(Policy::default()), &Policy::default());
    let mut fpdu = bench.frame(&empty_write());
    fpdu[19] ^= 1;
    bench.feed(&fpdu);
    let heard = bench.hear();
    let told = heard[0].terminate().expect("the initiator may speak");
    assert_eq!((heard.len(), told.code), (1, code(2, 0, 2)));
}

/// RFC 5044 s7.1.2 r4 (U18, T7): neither what is posted nor a close makes a responder speak first.
#[test]
fn a_responder_stays_silent() {
    for theirs in [plain(), Policy::default()] {
        let mut bench = Bench::silent(config(Policy::default()), &theirs);
        let operation = Operation::Write {
            stag: Stag(1),
            to: 0,
        };
        bench.post(operation, 10).expect("it may be posted");
        bench.drain();
        assert_eq!((bench.unread.len(), bench.completions.len()), (0, 0));
        bench.connection.close(bench.now);
        bench.drain();
        assert_eq!((bench.unread.len(), bench.fin), (0, false));
        bench.send(&empty_write());
        assert_eq!(bench.hear().len(), 1);
        assert!(bench.fin);
        assert_eq!(bench.completions[0].status, Status::Success);
    }
}

/// Whoever asks for it speaks first after a while, but not in peer-to-peer mode, where an RTR is due.
#[test]
fn a_responder_that_was_told_not_to_wait() {
    let pause = Duration::from_millis(100);
    for (theirs, speaks) in [(plain(), true), (Policy::default(), false)] {
        let config = Config {
            speak_unasked: Some(pause),
            ..config(Policy::default())
        };
        let mut bench = Bench::silent(config, &theirs);
        let operation = Operation::Send {
            solicited: false,
            invalidate: None,
        };
        bench.post(operation, 10).expect("it may be posted");
        bench.pass(pause - Duration::from_millis(1));
        assert!(bench.hear().is_empty(), "too early");
        assert_eq!(
            bench.connection.deadline() == Some(bench.now + Duration::from_millis(1)),
            speaks
        );
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.hear().len(), usize::from(speaks));
        assert!(bench.end().is_none());
    }
}

/// The Reply goes out before the FIN, however soon the close comes.
#[test]
fn a_close_behind_the_accept() {
    let mut bench = Bench::responder(config(plain()));
    bench.feed(&octets(FrameKind::Request, 0x40, 1, &[]));
    bench.events.clear();
    bench.connection.accept(b"", bench.now).expect("acceptable");
    bench.connection.close(bench.now);
    assert!(
        !bench.connection.wants_shutdown(),
        "the Reply is still here"
    );
    bench.drain();
    assert_eq!(bench.unread.len(), 20);
    assert!(bench.fin);
}

/// Nothing may be posted before there is somebody to send it to.
#[test]
fn posting_too_early() {
    let mut bench = Bench::initiator(Config::default());
    let send = Operation::Send {
        solicited: false,
        invalidate: None,
    };
    assert_eq!(bench.post(send, 1), Err(PostError::Closed));
    assert_eq!(bench.post_receive(1), Err(PostError::Closed));
    let answer = bench.connection.accept(b"", bench.now);
    assert_eq!(answer, Err(AnswerError::NoRequest));
}

/// A rejection is an answer, after which TCP belongs to the application (RFC 5044 s7.1.2 r2, r3; U13,
/// U16). It may say which ORD would do (RFC 6581 s9.1, E10).
#[test]
fn a_rejection_leaves_tcp_to_the_application() {
    let mut responder = Bench::responder(Config::default());
    let mut initiator = Bench::initiator(Config::default());
    initiator.drain();
    let request = std::mem::take(&mut initiator.unread);
    responder.feed(&request);
    assert!(matches!(responder.events.pop(), Some(Event::Request(_))));
    let rejected = responder.connection.reject(b"no", Some(77));
    rejected.expect("it may be rejected");
    responder.drain();
    initiator.feed(&std::mem::take(&mut responder.unread));
    for (bench, data, ord) in [(&responder, &b""[..], None), (&initiator, b"no", Some(77))] {
        let [
            Event::Rejected {
                private_data,
                required_ord,
                peer_ird,
            },
        ] = &bench.events[..]
        else {
            panic!("{:?}", bench.events);
        };
        assert_eq!((private_data.as_slice(), *required_ord), (data, ord));
        assert_eq!(peer_ird.is_some(), ord.is_some());
        assert!(bench.connection.is_over() && !bench.fin);
    }
}

//! A connection whose MULPDU changes while a message is under way (RFC 5041 s3, D01; RFC 5044 s4.5).
//!
//! What has been framed stays as it was cut, even if nothing or only a part of it has been written; what is cut
//! afterwards has the new length; and the message is still one message.

use uwarp_ddp::{Header, Rights, Stag, TAGGED_LEN, UNTAGGED_LEN};
use uwarp_mpa::{Policy, mulpdu};
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{Completion, Operation, Status};
use uwarp_stream::Config;
use uwarp_tests::stranger::{Bench, read};

const LEN: u32 = 30_000;

/// What the segments of the message have in front of their payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Write,
    Send,
    Response,
}

impl Message {
    const fn header_len(self) -> u32 {
        match self {
            Self::Write | Self::Response => TAGGED_LEN as u32,
            Self::Send => UNTAGGED_LEN as u32,
        }
    }

    /// Has the connection send it.
    fn begin(self, bench: &mut Bench) {
        match self {
            Self::Write => {
                let (stag, to) = (Stag(7), 1000);
                bench.post(Operation::Write { stag, to }, LEN).unwrap();
            }
            Self::Send => {
                let send = Operation::Send {
                    solicited: false,
                    invalidate: None,
                };
                bench.post(send, LEN).unwrap();
            }
            Self::Response => {
                let octets = vec![0x5a; LEN as usize];
                let source_stag = bench.ram.register(Rights::REMOTE_READ, 0, octets);
                let request = ReadRequest {
                    sink_stag: Stag(7),
                    sink_to: 1000,
                    size: LEN,
                    source_stag,
                    source_to: 0,
                };
                let fpdu = bench.frame(&read(1, &request));
                bench.take(&fpdu);
            }
        }
    }
}

/// Where in the message a segment begins, and whether it is the last.
fn place(header: &Header) -> (u32, bool) {
    match *header {
        Header::Tagged(tagged) => ((tagged.to - 1000) as u32, tagged.last),
        Header::Untagged(untagged) => {
            assert_eq!((untagged.qn, untagged.msn), (0, 1), "one message");
            (untagged.mo, untagged.last)
        }
    }
}

fn changes(message: Message, markers: bool, before: u32, after: u32) {
    let theirs = Policy {
        markers,
        ..Policy::default()
    };
    let config = Config {
        emss: before,
        ..Config::default()
    };
    let mut bench = Bench::accepted(config, &theirs);
    bench.drain();
    let said = bench.connection.stats().fpdus_sent;
    message.begin(&mut bench);
    // Several segments are framed, and the first is half written.
    bench.fill(3 * before as usize);
    let framed = (bench.connection.stats().fpdus_sent - said) as usize;
    assert!(framed >= 2);
    bench.write(before as usize / 2);

    bench.connection.set_emss(after);
    assert_eq!(bench.connection.mulpdu(), Some(mulpdu(after, markers)));
    bench.drain();

    let room = |emss| u32::from(mulpdu(emss, markers)) - message.header_len();
    let mut sent = 0;
    for (index, segment) in bench.hear().iter().enumerate() {
        let most = if index < framed {
            room(before)
        } else {
            room(after)
        };
        let len = segment.body.len() as u32;
        assert_eq!(len, most.min(LEN - sent), "segment {index}");
        assert_eq!(place(&segment.header), (sent, sent + len == LEN));
        assert!(segment.body.iter().all(|&octet| octet == 0x5a));
        sent += len;
    }
    assert_eq!(sent, LEN);
    let done = |done: &Completion| (done.status, done.len);
    let expected = (message != Message::Response).then_some((Status::Success, LEN));
    assert_eq!(bench.completions.first().map(done), expected);
}

#[test]
fn what_is_framed_keeps_its_length_and_the_rest_gets_the_new_one() {
    for message in [Message::Write, Message::Send, Message::Response] {
        for markers in [false, true] {
            for (before, after) in [(1460, 536), (536, 1460), (1460, 1), (9000, 8960)] {
                changes(message, markers, before, after);
            }
        }
    }
}

/// Before the connection is set up there is no MULPDU to change, but the size counts from the beginning.
#[test]
fn a_size_that_changes_during_set_up_is_used() {
    let mut bench = Bench::silent(Config::default(), &Policy::default());
    bench.connection.set_emss(600);
    assert_eq!(bench.connection.mulpdu(), Some(mulpdu(600, false)));
    let mut bench = Bench::responder(Config::default());
    bench.connection.set_emss(600);
    assert_eq!(bench.connection.mulpdu(), None);
    let request = uwarp_mpa::negotiate::request(&Policy::default(), b"").unwrap();
    bench.feed(&request.encode().unwrap());
    bench.accept();
    assert_eq!(bench.connection.mulpdu(), Some(mulpdu(600, false)));
}

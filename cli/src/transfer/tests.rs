//! Transfers with ends that break the protocol, cheat about the contents, or go away.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::thread;

use indicatif::ProgressBar;
use uwarp::{Domain, Listener, Options, Rights};

use super::*;
use crate::content::{Sink, Source};
use crate::session::Event;
use crate::terms::Terms;
use crate::wire::Message;

const PATIENCE: Duration = Duration::from_secs(10);

const TERMS: Terms = Terms {
    crc: true,
    markers: false,
    patience: PATIENCE,
};

/// Runs `server` and `client` at the two ends of a session.
fn meet<T>(server: impl FnOnce(&mut Session) + Send, client: impl FnOnce(&mut Session) -> T) -> T {
    let domain = Domain::new();
    let listener = Listener::bind(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        &Options::new(&domain),
    )
    .unwrap();
    let address = listener.local_addr().to_string();
    thread::scope(|scope| {
        scope.spawn(move || {
            let incoming = listener.accept_timeout(PATIENCE).unwrap();
            let mut session = Session::accept(incoming, &domain, PATIENCE).unwrap();
            server(&mut session);
        });
        let mut session = Session::connect(&address, &TERMS).unwrap();
        client(&mut session)
    })
}

fn source(octets: &[u8]) -> Source {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(octets).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    Source::file(file).unwrap()
}

fn put(session: &mut Session, octets: &[u8]) -> Result<Moved, TransferError> {
    let bar = ProgressBar::hidden();
    push(session, "name", &mut source(octets), PATIENCE, &bar)
}

fn get(session: &mut Session, sink: &mut Sink<'_>) -> Result<Moved, TransferError> {
    pull(session, "name", sink, PATIENCE, &ProgressBar::hidden())
}

/// Takes the client's first message.
fn request(session: &mut Session) -> Message {
    session.message(PATIENCE).unwrap()
}

fn digest(octets: &[u8]) -> Digest {
    Digest(blake3::hash(octets))
}

#[test]
fn what_lands_is_what_was_pushed() {
    let octets: Vec<u8> = (0..u64::from(SLOT_LEN) * 3 + 5)
        .map(|at| (at % 251) as u8)
        .collect();
    let landed = tempfile::NamedTempFile::new().unwrap();
    let file = File::options().write(true).open(landed.path()).unwrap();
    let moved = meet(
        |session| {
            let Message::Put { size, .. } = request(session) else {
                panic!("no put")
            };
            let moved = land(session, size, &mut Sink::file(&file)).unwrap();
            session
                .send(&Message::Stored {
                    digest: moved.digest,
                })
                .unwrap();
            assert!(matches!(session.next(), Err(SessionError::PeerClosed)));
        },
        |session| put(session, &octets).unwrap(),
    );
    assert_eq!(
        (moved.octets, moved.digest),
        (octets.len() as u64, digest(&octets))
    );
    assert!(std::fs::read(landed.path()).unwrap() == octets);
}

#[test]
fn a_server_that_stored_something_else_is_found_out() {
    let error = meet(
        |session| {
            let Message::Put { size, .. } = request(session) else {
                panic!("no put")
            };
            land(session, size, &mut Sink::Discard).unwrap();
            session
                .send(&Message::Stored {
                    digest: digest(b"abd"),
                })
                .unwrap();
            let _ = session.next();
        },
        |session| put(session, b"abc").unwrap_err(),
    );
    let TransferError::Digest { sent, arrived } = error else {
        panic!("{error}")
    };
    assert_eq!((sent, arrived), (digest(b"abc"), digest(b"abd")));
}

#[test]
fn a_client_whose_digest_is_another_stores_nothing() {
    meet(
        |session| {
            let _ = request(session);
            let error = land(session, 0, &mut Sink::Discard).unwrap_err();
            assert!(matches!(error, TransferError::Digest { .. }));
        },
        |session| {
            session
                .send(&Message::Put {
                    name: "x".to_owned(),
                    size: 0,
                })
                .unwrap();
            assert!(matches!(request(session), Message::Window { .. }));
            session
                .send(&Message::End {
                    digest: digest(b"a"),
                })
                .unwrap();
            let _ = session.next();
        },
    );
}

#[test]
fn a_file_whose_digest_is_another_is_not_taken() {
    let error = meet(
        |session| {
            let _ = request(session);
            let region = session
                .region(SLOT_LEN as usize, Rights::REMOTE_READ)
                .unwrap();
            let window = Slots::new(region, 1, SLOT_LEN);
            let message = Message::Window {
                size: 4,
                window: window.window().unwrap(),
            };
            session.send(&message).unwrap();
            session.send(&Message::Filled { len: 4 }).unwrap();
            assert_eq!(session.next().unwrap(), Event::Message(Message::Free));
            session
                .send(&Message::End {
                    digest: digest(b"else"),
                })
                .unwrap();
            let _ = session.next();
        },
        |session| get(session, &mut Sink::Discard).unwrap_err(),
    );
    assert!(matches!(error, TransferError::Digest { .. }), "{error}");
}

#[test]
fn blocks_of_a_wrong_length_or_out_of_turn_are_refused() {
    let digest = digest(b"");
    for wrong in [
        Message::Filled { len: 9 },
        Message::Filled { len: 11 },
        Message::End { digest },
        Message::Free,
        Message::Get {
            name: "x".to_owned(),
        },
    ] {
        let refused = |error: TransferError| {
            let unexpected = matches!(error, TransferError::Session(SessionError::Unexpected(_)));
            assert!(unexpected, "{wrong:?}: {error}");
        };
        meet(
            |session| {
                let _ = request(session);
                refused(land(session, 10, &mut Sink::Discard).unwrap_err());
            },
            |session| {
                session
                    .send(&Message::Put {
                        name: "x".to_owned(),
                        size: 10,
                    })
                    .unwrap();
                assert!(matches!(request(session), Message::Window { .. }));
                session.send(&wrong).unwrap();
                let _ = session.next();
            },
        );
        meet(
            |session| {
                let _ = request(session);
                let region = session.region(64, Rights::REMOTE_READ).unwrap();
                let window = Slots::new(region, 1, 64).window().unwrap();
                session.send(&Message::Window { size: 10, window }).unwrap();
                session.send(&wrong).unwrap();
                let _ = session.next();
            },
            |session| refused(get(session, &mut Sink::Discard).unwrap_err()),
        );
    }
}

#[test]
fn an_offer_is_answered_by_free_slots_and_nothing_else() {
    meet(
        |session| {
            let _ = request(session);
            let error = offer(session, &mut Source::generated(100 << 20)).unwrap_err();
            let unexpected = matches!(error, TransferError::Session(SessionError::Unexpected(_)));
            assert!(unexpected, "{error}");
        },
        |session| {
            session
                .send(&Message::Get {
                    name: "x".to_owned(),
                })
                .unwrap();
            for _ in 0..=SLOTS {
                let _ = session.next().unwrap();
            }
            session
                .send(&Message::Stored {
                    digest: digest(b""),
                })
                .unwrap();
            let _ = session.next();
        },
    );
}

#[test]
fn an_end_that_goes_away_is_an_error_at_once() {
    meet(
        |session| {
            let _ = request(session);
            let error = land(session, 1 << 30, &mut Sink::Discard).unwrap_err();
            assert!(
                matches!(error, TransferError::Session(SessionError::PeerClosed)),
                "{error}"
            );
        },
        |session| {
            session
                .send(&Message::Put {
                    name: "x".to_owned(),
                    size: 1 << 30,
                })
                .unwrap();
            assert!(matches!(request(session), Message::Window { .. }));
        },
    );
}

#[test]
fn a_reason_reaches_the_other_end() {
    let error = meet(
        |session| {
            let _ = request(session);
            session.give_up("the disk is full");
        },
        |session| put(session, b"abc").unwrap_err(),
    );
    assert_eq!(error.to_string(), "the peer says: the disk is full");
}

#[test]
fn a_digest_that_differs_is_told() {
    let [sent, arrived] = [b"abc", b"abd"].map(|text| Digest(blake3::hash(text)));
    assert!(compare(sent, sent).is_ok());
    let error = compare(sent, arrived).unwrap_err().to_string();
    assert!(error.contains(&sent.to_string()));
    assert!(error.contains(&arrived.to_string()));
}

#[test]
fn the_last_block_is_shorter() {
    let region = uwarp::Domain::new()
        .register(vec![0; 32], uwarp::Rights::empty())
        .unwrap();
    let slots = Slots::new(region, 4, 8);
    assert_eq!([9, 8, 7, 0].map(|left| slots.block_len(left)), [8, 8, 7, 0]);
    assert_eq!(slots.block_len(1 << 40), 8);
    assert_eq!([0, 3, 4, 9].map(|block| slots.start(block)), [0, 24, 0, 8]);
}

#[test]
fn waiting_for_the_disk_grows_with_the_file() {
    let patience = Duration::from_secs(30);
    assert_eq!(store_patience(patience, 0), patience);
    assert_eq!(
        store_patience(patience, 4 << 30),
        Duration::from_secs(30 + 256)
    );
}

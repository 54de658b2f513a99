//! A server and clients that ask for what they must not have, or do not speak its language.

use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uwarp::{Domain, End, Options, RemoteRegion, Rights, SendFlags, Socket, Stag, WaitError};

use super::*;
use crate::session::{Event, SessionError};
use crate::wire::{Digest, MESSAGE_MAX, Message};

const PATIENCE: Duration = Duration::from_secs(10);

const TERMS: Terms = Terms {
    crc: true,
    markers: false,
    patience: PATIENCE,
};

/// A server on a directory of its own; its thread lives as long as the tests do.
struct Served {
    directory: TempDir,
    address: String,
}

impl Served {
    fn start(writable: bool, clients: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(Config {
            directory: Some(directory.path()),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            writable,
            clients,
            terms: TERMS,
        })
        .unwrap();
        let address = server.address().to_string();
        thread::spawn(move || server.run());
        Self { directory, address }
    }

    fn session(&self) -> Session {
        Session::connect(&self.address, &TERMS).unwrap()
    }

    /// What the server says to one request.
    fn ask(&self, request: &Message) -> Result<Message, SessionError> {
        let mut session = self.session();
        session.send(request).unwrap();
        session.message(PATIENCE)
    }

    /// Connects as something that knows iWARP, but perhaps not the command's own protocol.
    fn raw(&self, private_data: &[u8]) -> Result<Socket, uwarp::Error> {
        let domain = Domain::new();
        let options = Options::new(&domain).private_data(private_data);
        uwarp::connect(self.address.as_str(), &options)
    }

    /// The server still works, and has nothing but what it had.
    fn is_well(&self, names: &[&str]) {
        let answer = self.ask(&get("missing")).unwrap_err();
        assert!(answer.to_string().contains("No such file"), "{answer}");
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let found: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(found, names);
    }
}

fn get(name: &str) -> Message {
    Message::Get {
        name: name.to_owned(),
    }
}

fn put(name: &str) -> Message {
    Message::Put {
        name: name.to_owned(),
        size: 3,
    }
}

fn hello() -> Vec<u8> {
    Hello::new(Purpose::Files).to_private_data()
}

#[test]
fn names_that_lead_elsewhere_are_refused_over_the_wire() {
    let served = Served::start(true, 8);
    let long = "x".repeat(256);
    let names = [
        "",
        "..",
        ".",
        "../evil",
        "/tmp/evil",
        "a/b",
        "a\0b",
        "a\nb",
        ".hidden",
        &long,
    ];
    for name in names {
        for request in [get(name), put(name)] {
            let answer = served.ask(&request).unwrap_err();
            assert!(matches!(answer, SessionError::Failed(_)), "{answer}");
            assert!(answer.to_string().contains("the name"), "{answer}");
        }
    }
    served.is_well(&[]);
}

#[test]
fn symbolic_links_are_neither_read_nor_replaced() {
    let served = Served::start(true, 8);
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), served.directory.path().join("link")).unwrap();
    for request in [get("link"), put("link")] {
        let answer = served.ask(&request).unwrap_err().to_string();
        assert!(answer.contains("symbolic links"), "{answer}");
    }
    served.is_well(&["link"]);
}

#[test]
fn a_request_that_is_none_of_ours_is_rejected_with_a_reason() {
    let served = Served::start(true, 8);
    let other_version = br#"{"uwarp":99,"purpose":"files"}"#;
    for (private_data, part) in [
        (&b""[..], "cannot be read"),
        (b"\xff\x00", "cannot be read"),
        (other_version, "version 99"),
    ] {
        let Err(uwarp::Error::Rejected { private_data, .. }) = served.raw(private_data) else {
            panic!("not rejected")
        };
        let reason = crate::wire::refusal(&private_data);
        assert!(reason.contains(part), "{reason}");
    }
    served.is_well(&[]);
}

#[test]
fn only_so_many_clients_are_served_at_a_time() {
    let served = Served::start(true, 1);
    let first = served.session();
    let refused = Session::connect(&served.address, &TERMS).unwrap_err();
    let ConnectError::Setup(uwarp::Error::Rejected { private_data, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(private_data, b"it already serves 1 clients");
    first.close().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Session::connect(&served.address, &TERMS).is_err() {
        assert!(Instant::now() < deadline, "the place is not given back");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_message_that_cannot_be_read_is_answered_and_ends_the_connection() {
    let served = Served::start(true, 8);
    for octets in [&b"GET / HTTP/1.1\r\n"[..], b"", b"{\"message\":\"get\"}"] {
        let domain = Domain::new();
        let options = Options::new(&domain).private_data(&hello());
        let socket = uwarp::connect(served.address.as_str(), &options).unwrap();
        let inbox = domain
            .register(vec![0; MESSAGE_MAX], Rights::empty())
            .unwrap();
        let message = domain.register(octets.to_vec(), Rights::empty()).unwrap();
        socket.post_recv(1, &[inbox.slice(..).unwrap()]).unwrap();
        socket
            .post_send(2, &[message.slice(..).unwrap()], SendFlags::default())
            .unwrap();
        let answer = loop {
            let done = socket.wait(Some(PATIENCE)).unwrap();
            assert!(done.is_success());
            if done.id == 1 {
                break done;
            }
        };
        let mut text = vec![0; answer.len as usize];
        inbox.read_at(0, &mut text).unwrap();
        let answer = Message::decode(&text).unwrap();
        assert!(matches!(answer, Message::Failed { .. }), "{answer:?}");
        socket.close().unwrap();
    }
    served.is_well(&[]);
}

#[test]
fn a_message_that_is_too_long_ends_the_connection_by_terminate() {
    let served = Served::start(true, 8);
    let domain = Domain::new();
    let options = Options::new(&domain).private_data(&hello());
    let socket = uwarp::connect(served.address.as_str(), &options).unwrap();
    let message = domain
        .register(vec![b' '; MESSAGE_MAX + 1], Rights::empty())
        .unwrap();
    socket
        .post_send(1, &[message.slice(..).unwrap()], SendFlags::default())
        .unwrap();
    assert_eq!(terminate(&socket), (1, 2, 5));
    served.is_well(&[]);
}

#[test]
fn a_write_beside_the_window_ends_the_put_and_stores_nothing() {
    let served = Served::start(true, 8);
    let mut session = served.session();
    session.send(&put("file")).unwrap();
    let Message::Window { window, .. } = session.message(PATIENCE).unwrap() else {
        panic!("no window")
    };
    let region = session.region(8, Rights::empty()).unwrap();
    let inside = RemoteRegion::from(window.place);
    let beside = RemoteRegion {
        to: inside.to + u64::from(inside.len) - 7,
        len: 8,
        ..inside
    };
    session.write(region.slice(..).unwrap(), beside).unwrap();
    assert_eq!(terminate(session.socket()), (1, 1, 1));
    served.is_well(&[]);
}

#[test]
fn a_region_that_was_never_issued_cannot_be_written() {
    let served = Served::start(true, 8);
    let session = served.session();
    let region = session.region(8, Rights::empty()).unwrap();
    let nowhere = RemoteRegion {
        stag: Stag(0xdead_beef),
        to: 0,
        len: 8,
    };
    session.write(region.slice(..).unwrap(), nowhere).unwrap();
    assert_eq!(terminate(session.socket()), (1, 1, 0));
    served.is_well(&[]);
}

#[test]
fn a_put_with_a_wrong_digest_stores_nothing() {
    let served = Served::start(true, 8);
    let mut session = served.session();
    session.send(&put("file")).unwrap();
    let Message::Window { window, .. } = session.message(PATIENCE).unwrap() else {
        panic!("no window")
    };
    let region = session.region(3, Rights::empty()).unwrap();
    let slot = window.slot(0, 3).unwrap();
    session.write(region.slice(..).unwrap(), slot).unwrap();
    session.send(&Message::Filled { len: 3 }).unwrap();
    session
        .send(&Message::End {
            digest: Digest(blake3::hash(b"abc")),
        })
        .unwrap();
    let answer = loop {
        match session.next().unwrap() {
            Event::Message(Message::Free) | Event::Moved => {}
            Event::Message(answer) => break answer,
        }
    };
    let Message::Failed { reason } = answer else {
        panic!("{answer:?}")
    };
    assert!(reason.contains("digest"), "{reason}");
    served.is_well(&[]);
}

/// The layer, type and code of the Terminate that ends the connection.
fn terminate(socket: &Socket) -> (u8, u8, u8) {
    loop {
        match socket.wait(Some(PATIENCE)) {
            Ok(_) => {}
            Err(WaitError::Over(End::Terminated(code))) => {
                return (code.layer.bits(), code.etype, code.code);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

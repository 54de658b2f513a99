//! Receives that are posted before the Request is sent, for peers that speak first.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use common::raw::read_frame;
use common::{LIMIT, contents, listen};
use uwarp::{Domain, Error, Options, Outgoing, PostError, Rights, SendFlags, WaitError, Workers};
use uwarp_mpa::{Frame, FrameKind, crc};

/// The FPDU of a whole Send.
fn send_fpdu(msn: u32, payload: &[u8]) -> Vec<u8> {
    // DDP: untagged, last, version 1. RDMAP: version 1, opcode 3. Then the STag that is not there, QN, MSN, MO.
    let mut ulpdu = vec![0x41, 0x43, 0, 0, 0, 0];
    for word in [0, msn, 0] {
        ulpdu.extend(word.to_be_bytes());
    }
    ulpdu.extend(payload);
    let mut fpdu = (ulpdu.len() as u16).to_be_bytes().to_vec();
    fpdu.extend(ulpdu);
    fpdu.resize(fpdu.len().next_multiple_of(4), 0);
    let sum = crc::crc32c(&fpdu);
    fpdu.extend(crc::to_wire(sum));
    fpdu
}

/// A responder whose messages follow right behind its Reply.
fn eager(tcp: &mut TcpStream, messages: &[&[u8]]) {
    let request = read_frame(tcp, FrameKind::Request);
    let reply = Frame {
        kind: FrameKind::Reply,
        crc: true,
        private_data: Vec::new(),
        ..request
    };
    let mut octets = reply.encode().unwrap();
    for (msn, message) in (1..).zip(messages) {
        octets.extend(send_fpdu(msn, message));
    }
    tcp.write_all(&octets).unwrap();
    // Until our end has closed.
    let _ = tcp.read_to_end(&mut Vec::new());
}

#[test]
fn what_follows_the_reply_finds_its_buffers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        for _ in 0..100 {
            eager(
                &mut listener.accept().unwrap().0,
                &[b"one", b"two", b"three"],
            );
        }
    });
    for _ in 0..100 {
        let domain = Domain::new();
        let inbox = domain.register(vec![0; 24], Rights::empty()).unwrap();
        let options = Options::new(&domain).revision_1();
        let outgoing = Outgoing::dial(address, &options).unwrap();
        for (id, at) in [(1, 0), (2, 8), (3, 16)] {
            outgoing
                .post_recv(id, &[inbox.slice(at..at + 8).unwrap()])
                .unwrap();
        }
        let socket = outgoing.connect().unwrap();
        for (id, len) in [(1, 3), (2, 3), (3, 5)] {
            let done = socket.wait(Some(LIMIT)).unwrap();
            assert!(done.is_success(), "{done:?}, {:?}", socket.end());
            assert_eq!((done.id, done.len), (id, len));
        }
        assert_eq!(contents(&inbox), b"one\0\0\0\0\0two\0\0\0\0\0three\0\0\0");
        socket.close().unwrap();
    }
    served.join().unwrap();
}

#[test]
fn posting_early_has_the_limits_of_posting() {
    let listener = listen(&Options::new(&Domain::new()));
    let domain = Domain::new();
    let inbox = domain.register(vec![0; 8], Rights::empty()).unwrap();
    let foreign = Domain::new().register(vec![0; 8], Rights::empty()).unwrap();
    let options = Options::new(&domain).receive_queue(2);
    let outgoing = Outgoing::dial(listener.local_addr(), &options).unwrap();
    let refused = outgoing.post_recv(0, &[foreign.slice(..).unwrap()]);
    assert!(matches!(refused, Err(PostError::OtherDomain)));
    for id in 1..=2 {
        outgoing.post_recv(id, &[inbox.slice(..).unwrap()]).unwrap();
    }
    let refused = outgoing.post_recv(3, &[inbox.slice(..).unwrap()]);
    assert!(matches!(refused, Err(PostError::Full)));
    // Nobody has heard of us yet.
    let none = listener.accept_timeout(std::time::Duration::from_millis(100));
    assert!(matches!(none, Err(Error::AcceptTimeout(_))));

    let server = thread::spawn(move || {
        let socket = listener.accept_timeout(LIMIT).unwrap().accept(b"").unwrap();
        socket.post_send(9, &[], SendFlags::default()).unwrap();
        assert!(socket.wait(Some(LIMIT)).unwrap().is_success());
        socket.close().unwrap();
    });
    let socket = outgoing.connect().unwrap();
    let done = socket.wait(Some(LIMIT)).unwrap();
    assert!(done.is_success() && done.id == 1);
    socket.close().unwrap();
    server.join().unwrap();
    // The other receive has come back.
    assert!(!socket.wait(Some(LIMIT)).unwrap().is_success());
    assert!(matches!(socket.wait(Some(LIMIT)), Err(WaitError::Over(_))));
}

#[test]
fn one_that_is_dropped_closes_its_tcp_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let domain = Domain::new();
    let outgoing = Outgoing::dial(listener.local_addr().unwrap(), &Options::new(&domain)).unwrap();
    let inbox = domain.register(vec![0; 8], Rights::empty()).unwrap();
    outgoing.post_recv(0, &[inbox.slice(..).unwrap()]).unwrap();
    let (mut tcp, _) = listener.accept().unwrap();
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    drop(outgoing);
    let mut octets = Vec::new();
    match tcp.read_to_end(&mut octets) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(octets.is_empty(), "no Request has been sent");
}

/// The last handle of its workers is gone before they have heard of it.
#[test]
fn workers_that_are_let_go_serve_it_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let domain = Domain::new();
    let dial = || {
        let workers = Workers::start(1).unwrap();
        let options = Options::new(&domain).workers(&workers).revision_1();
        Outgoing::dial(address, &options).unwrap()
    };
    let (dropped, kept) = (dial(), dial());
    let (mut first, _) = listener.accept().unwrap();
    let (mut second, _) = listener.accept().unwrap();
    first.set_read_timeout(Some(LIMIT)).unwrap();
    // So that a worker that ended too soon would be gone.
    thread::sleep(std::time::Duration::from_millis(50));
    drop(dropped);
    if let Err(error) = first.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let served = thread::spawn(move || eager(&mut second, &[]));
    kept.connect().unwrap().close().unwrap();
    served.join().unwrap();
}

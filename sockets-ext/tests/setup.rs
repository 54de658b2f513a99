//! Setting connections up: private data, IRD and ORD, CRC and markers, rejection, and who begins.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use common::{LIMIT, contents, listen, noise, pair_with, remote};
use uwarp::{
    Agreement, DdpMode, Domain, End, Error, Listener, Options, PostError, Rights, SendFlags,
    Socket, WaitError, connect,
};

fn options() -> Options {
    Options::new(&Domain::new())
}

fn agreements(
    initiator: impl FnOnce(Options) -> Options,
    responder: impl FnOnce(Options) -> Options,
) -> (Agreement, Agreement) {
    let (client, server) = pair_with(initiator, responder);
    let agreement = |socket: &Socket| socket.established().expect("set up").agreement;
    (agreement(&client.socket), agreement(&server.socket))
}

#[test]
fn private_data_goes_both_ways_up_to_the_limit() {
    for (revision_1, limit) in [(false, 508), (true, 512)] {
        for len in [0, 1, limit] {
            let (question, answer) = (noise(len, 1), noise(len, 2));
            let listener = listen(&options());
            let mut asking = options().private_data(&question);
            if revision_1 {
                asking = asking.revision_1();
            }
            let address = listener.local_addr();
            let client = thread::spawn(move || connect(address, &asking).unwrap());
            let incoming = listener.accept_timeout(LIMIT).unwrap();
            assert_eq!(incoming.private_data(), question);
            assert_eq!(incoming.request().enhanced, !revision_1);
            let server = incoming.accept(&answer).unwrap();
            let client = client.join().unwrap();
            assert_eq!(client.established().unwrap().private_data, answer);
            assert_eq!(server.established().unwrap().private_data, question);
        }
    }
}

#[test]
fn private_data_over_the_limit_is_refused_here() {
    let listener = listen(&options());
    let address = listener.local_addr();
    for (asking, len) in [(options(), 509), (options().revision_1(), 513)] {
        let refused = connect(address, &asking.private_data(&noise(len, 1))).unwrap_err();
        assert!(matches!(refused, Error::Options(_)), "{refused}");
        assert!(refused.to_string().contains("private data"), "{refused}");
    }

    let client = thread::spawn(move || connect(address, &options()));
    let incoming = listener.accept_timeout(LIMIT).unwrap();
    let refused = incoming.accept(&noise(509, 1)).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::PrivateDataTooLong {
                limit: 508,
                len: 509
            }
        ),
        "{refused}"
    );
    // The Request has not been answered, and the peer learns that it never will be.
    assert!(matches!(client.join().unwrap(), Err(Error::SetupClosed)));
}

#[test]
fn neither_end_reads_more_than_the_other_answers() {
    let (client, server) = agreements(
        |options| options.ird(5).ord(100),
        |options| options.ird(7).ord(3),
    );
    assert_eq!((client.ord, server.ird), (7, 7));
    assert_eq!(server.ord, 3);
    assert!(client.ird >= server.ord);
    assert_eq!((client.peer_ird, client.peer_ord), (Some(7), Some(3)));
    assert_eq!((server.peer_ird, server.peer_ord), (Some(5), Some(100)));
}

#[test]
fn no_reads_at_all_can_be_agreed_on() {
    let (client, server) = pair_with(|options| options, |options| options.ird(0).ord(0));
    let source = server.shared(vec![1; 8], Rights::REMOTE_READ);
    let sink = client.local(vec![0; 8]);
    let refused = client
        .socket
        .post_read(1, &[sink.slice(..).unwrap()], remote(&source));
    assert_eq!(refused, Err(PostError::ReadsDisabled));
}

#[test]
fn crc_is_off_only_if_both_decline_it() {
    for (near, far) in [(true, true), (true, false), (false, true), (false, false)] {
        let (client, server) = agreements(|options| options.crc(near), |options| options.crc(far));
        assert_eq!((client.crc, server.crc), (near | far, near | far));
    }
}

#[test]
fn markers_go_where_they_were_asked_for() {
    for (near, far) in [(true, true), (true, false), (false, true), (false, false)] {
        let (client, server) = agreements(
            |options| options.markers(near),
            |options| options.markers(far),
        );
        assert_eq!((client.rx_markers, client.tx_markers), (near, far));
        assert_eq!((server.rx_markers, server.tx_markers), (far, near));
    }
}

/// Both ends say something in plain octets and hear what the other said.
fn talk_plainly(one: &mut TcpStream, other: &mut TcpStream) {
    for stream in [&*one, &*other] {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
    }
    for len in [1usize, 70_000] {
        let said = noise(len, 9);
        thread::scope(|scope| {
            for (from, to) in [(&*one, &*other), (&*other, &*one)] {
                let (mut from, mut to, said) = (from, to, &said);
                scope.spawn(move || from.write_all(said).unwrap());
                scope.spawn(move || {
                    let mut heard = vec![0; said.len()];
                    to.read_exact(&mut heard).unwrap();
                    assert_eq!(&heard, said);
                });
            }
        });
    }
}

#[test]
fn a_rejection_gives_both_ends_their_tcp_connection_back() {
    let listener = listen(&options());
    let address = listener.local_addr();
    let client = thread::spawn(move || connect(address, &options()));
    let incoming = listener.accept_timeout(LIMIT).unwrap();
    let mut near = incoming.reject(b"not today", Some(17)).unwrap();
    let refused = client.join().unwrap().unwrap_err();
    assert!(refused.to_string().contains("rejected"), "{refused}");
    assert!(refused.to_string().contains("17"), "{refused}");
    let Error::Rejected {
        private_data,
        required_ord,
        peer_ird,
        stream: mut far,
    } = refused
    else {
        panic!("{refused}");
    };
    assert_eq!(
        (&private_data[..], required_ord),
        (&b"not today"[..], Some(17))
    );
    assert!(peer_ird.is_some());
    talk_plainly(&mut near, &mut far);
    // A second attempt on the same connection succeeds.
    let client = thread::spawn(move || far.set_ddp_mode(&options()));
    let server = near
        .await_ddp_mode(&options())
        .unwrap()
        .accept(b"")
        .unwrap();
    client.join().unwrap().unwrap();
    drop(server);
}

#[test]
fn what_follows_a_rejection_at_once_is_not_lost() {
    let listener = listen(&options());
    let address = listener.local_addr();
    let client = thread::spawn(move || connect(address, &options()));
    let mut near = listener
        .accept_timeout(LIMIT)
        .unwrap()
        .reject(b"", None)
        .unwrap();
    near.write_all(b"let us talk in plain octets").unwrap();
    let Err(Error::Rejected { mut stream, .. }) = client.join().unwrap() else {
        panic!("rejected");
    };
    let mut heard = [0; 27];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"let us talk in plain octets");
}

/// A plain TCP connection: the client's end and the server's.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// The end that accepted speaks first, then the other one does.
fn exchange(initiator: &Socket, responder: &Socket) {
    for (from, to) in [(responder, initiator), (initiator, responder)] {
        to.post_recv(1, &[]).unwrap();
        from.post_send(2, &[], SendFlags::default()).unwrap();
        assert_eq!(to.wait(Some(LIMIT)).unwrap().id, 1);
        assert_eq!(from.wait(Some(LIMIT)).unwrap().id, 2);
    }
}

#[test]
fn either_end_of_a_tcp_connection_may_begin() {
    for tcp_server_begins in [false, true] {
        let (client, server) = tcp_pair();
        let (begins, answers) = if tcp_server_begins {
            (server, client)
        } else {
            (client, server)
        };
        let responder = thread::spawn(move || {
            let incoming = answers.await_ddp_mode(&options()).unwrap();
            incoming.accept(b"").unwrap()
        });
        let initiator = begins.set_ddp_mode(&options()).unwrap();
        exchange(&initiator, &responder.join().unwrap());
    }
}

#[test]
fn a_connection_made_by_socket2_serves_as_well() {
    use socket2::{Domain as Family, Socket as Plain, Type};
    let listener = Plain::new(Family::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let client = Plain::new(Family::IPV4, Type::STREAM, None).unwrap();
    client.connect(&listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let initiator = thread::spawn(move || server.set_ddp_mode(&options()).unwrap());
    let responder = client.await_ddp_mode(&options()).unwrap();
    let responder = responder.accept(b"").unwrap();
    exchange(&initiator.join().unwrap(), &responder);
}

#[test]
fn a_tcp_listener_of_the_caller_s_serves_as_well() {
    let tcp = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0"));
    let listener = Listener::from_tcp(tcp.unwrap(), &options()).unwrap();
    let address = listener.local_addr();
    let client = thread::spawn(move || connect(address, &options()).unwrap());
    let server = listener.accept_timeout(LIMIT).unwrap();
    let server = server.accept(b"").unwrap();
    let client = client.join().unwrap();
    assert_eq!(client.peer_addr(), Some(address));
    assert_eq!(server.peer_addr(), client.local_addr());
    exchange(&client, &server);
}

#[test]
fn revision_1_and_client_server_set_up_work() {
    for (near, far) in [
        (options().revision_1(), options()),
        (options(), options().peer_to_peer(false)),
        (options().peer_to_peer(false), options()),
    ] {
        let listener = listen(&far);
        let address = listener.local_addr();
        let client = thread::spawn(move || connect(address, &near).unwrap());
        let incoming = listener.accept_timeout(LIMIT).unwrap();
        let server = incoming.accept(b"").unwrap();
        let client = client.join().unwrap();
        // The end that accepted may have to wait for the other's first word.
        client.post_recv(1, &[]).unwrap();
        server.post_recv(2, &[]).unwrap();
        server.post_send(3, &[], SendFlags::default()).unwrap();
        client.post_send(4, &[], SendFlags::default()).unwrap();
        for socket in [&client, &server] {
            for _ in 0..2 {
                assert!(socket.wait(Some(LIMIT)).unwrap().is_success());
            }
        }
    }
}

#[test]
fn a_receive_posted_before_accepting_takes_the_first_send() {
    let domain = Domain::new();
    let listener = listen(&Options::new(&domain));
    let address = listener.local_addr();
    let client = thread::spawn(move || {
        let domain = Domain::new();
        let socket = connect(address, &Options::new(&domain)).unwrap();
        let words = domain.register(b"first".to_vec(), Rights::empty()).unwrap();
        let list = [words.slice(..).unwrap()];
        socket.post_send(1, &list, SendFlags::default()).unwrap();
        socket.close()
    });
    let incoming = listener.accept_timeout(LIMIT).unwrap();
    let inbox = domain.register(vec![0; 5], Rights::empty()).unwrap();
    incoming.post_recv(9, &[inbox.slice(..).unwrap()]).unwrap();
    let server = incoming.accept(b"").unwrap();
    assert_eq!(server.wait(Some(LIMIT)).unwrap().id, 9);
    assert_eq!(contents(&inbox), b"first");
    assert_eq!(server.close(), Ok(()));
    assert_eq!(client.join().unwrap(), Ok(()));
}

#[test]
fn a_request_that_nobody_answers_ends_with_the_listener() {
    let listener = listen(&options());
    let address = listener.local_addr();
    let client = thread::spawn(move || connect(address, &options()));
    let incoming = listener.accept_timeout(LIMIT).unwrap();
    drop((incoming, listener));
    assert!(matches!(client.join().unwrap(), Err(Error::SetupClosed)));
}

#[test]
fn posting_after_the_end_is_refused() {
    let (client, server) = pair_with(|options| options, |options| options);
    server.socket.abort();
    assert_eq!(client.to_the_end(), (vec![], End::Lost));
    let flags = SendFlags::default();
    assert_eq!(
        client.socket.post_send(1, &[], flags),
        Err(PostError::Closed)
    );
    assert_eq!(client.socket.post_recv(1, &[]), Err(PostError::Closed));
    assert_eq!(client.socket.close(), Err(WaitError::Over(End::Lost)));
}

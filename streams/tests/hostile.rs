//! Peers that are no streams, or bad ones: the stream ends with an error, and what it had received stays.

mod common;

use std::net::TcpStream;
use std::sync::Arc;

use common::{PATIENCE, read, tcp};
use uwarp::{DdpMode, Domain, Error, Options, Region, RemoteRegion, Rights, SendFlags, Socket};
use uwarp_rsockets::{Config, Hello, Memory, Message, Place, Stream};
use uwarp_streams::{StreamOptions, StreamSocket, Unwatched, Wants};

const RING: usize = 4096;

/// A peer that says what it wants, over a socket of its own.
struct Peer {
    socket: Socket,
    domain: Domain,
    /// What the stream has said of itself.
    hello: Hello,
    /// The stream may write here.
    _memory: [Region; 2],
    _inbox: Region,
}

impl Peer {
    /// Connects with good private data.
    fn connect(tcp: TcpStream) -> Self {
        let domain = Domain::new();
        let memory =
            [32, RING].map(|len| domain.register(vec![0; len], Rights::REMOTE_WRITE).unwrap());
        let place = |region: &Region| Place {
            to: 0,
            stag: region.stag().unwrap().0,
        };
        let places = Memory {
            table: place(&memory[0]),
            ring: place(&memory[1]),
        };
        let config = Config {
            receive_ring: RING as u32,
            ..Config::default()
        };
        let private_data = Stream::request(&config, &places).unwrap();
        let inbox = domain.register(vec![0; 4], Rights::empty()).unwrap();
        let options = Options::new(&domain)
            .peer_to_peer(false)
            .private_data(&private_data)
            .receive_queue(100);
        let socket = tcp.set_ddp_mode(&options).unwrap();
        for _ in 0..100 {
            socket.post_recv(0, &[inbox.slice(..).unwrap()]).unwrap();
        }
        let hello = Hello::decode(&socket.established().unwrap().private_data).unwrap();
        Self {
            socket,
            domain,
            hello,
            _memory: memory,
            _inbox: inbox,
        }
    }

    fn send(&self, octets: &[u8]) {
        let source = self
            .domain
            .register(octets.to_vec(), Rights::empty())
            .unwrap();
        let list = [source.slice(..).unwrap()];
        self.socket
            .post_send(1, &list, SendFlags::default())
            .unwrap();
    }

    fn say(&self, message: Message) {
        self.send(&message.encode(self.hello.order));
    }

    fn write(&self, octets: &[u8]) {
        let source = self
            .domain
            .register(octets.to_vec(), Rights::empty())
            .unwrap();
        let remote = RemoteRegion {
            stag: uwarp::Stag(self.hello.buffer.place.stag),
            to: self.hello.buffer.place.to,
            len: self.hello.buffer.len,
        };
        self.socket
            .post_write(2, &[source.slice(..).unwrap()], remote)
            .unwrap();
    }
}

fn responder() -> (TcpStream, Arc<StreamSocket>) {
    let (client, server) = tcp();
    let options = StreamOptions {
        recv_buffer: RING as u32,
        ..StreamOptions::default()
    };
    let stream = StreamSocket::respond(server, &options, Arc::new(Unwatched)).unwrap();
    (client, stream)
}

#[test]
fn who_breaks_a_rule_ends_the_stream() {
    type Crime = fn(&Peer);
    let crimes: [(&str, i32, Crime); 7] = [
        ("no octets", libc::EPROTO, |peer| peer.say(Message::Data(0))),
        ("more than there is room", libc::EPROTO, |peer| {
            peer.say(Message::Data(RING as u32));
        }),
        ("a reserved operation", libc::EPROTO, |peer| {
            peer.send(&0x2000_0001u32.to_le_bytes());
        }),
        ("a limit out of reach", libc::EPROTO, |peer| {
            peer.say(Message::Grant(9999));
        }),
        ("a short message", libc::EPROTO, |peer| peer.send(b"abc")),
        ("Immediate Data", libc::EPROTO, |peer| {
            peer.socket.post_immediate(3, [0; 8], false).unwrap();
        }),
        // Told by RDMAP itself.
        ("a long message", libc::ECONNRESET, |peer| {
            peer.send(b"abcde")
        }),
    ];
    for (what, number, crime) in crimes {
        let (client, stream) = responder();
        let peer = Peer::connect(client);
        peer.write(b"good");
        peer.say(Message::Data(4));
        crime(&peer);
        // What was good is read; then the error is told.
        let mut octets = [0; 16];
        let mut all = Vec::new();
        let error = loop {
            match read(&stream, &mut octets) {
                Ok(0) => panic!("{what}: a clean end"),
                Ok(count) => all.extend_from_slice(&octets[..count]),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(number), "{what}");
        assert_eq!(all, b"good", "{what}");
        assert!(stream.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
        assert!(stream.readiness().hung_up, "{what}");
    }
}

#[test]
fn who_speaks_another_protocol_is_rejected() {
    let (client, stream) = responder();
    let domain = Domain::new();
    let options = Options::new(&domain).private_data(b"GET / HTTP/1.1");
    assert!(matches!(
        client.set_ddp_mode(&options),
        Err(Error::Rejected { .. })
    ));
    assert!(stream.wait(Wants::ESTABLISHED, Some(PATIENCE)).unwrap());
    assert_eq!(stream.take_error(), Some(libc::ECONNREFUSED));
    assert!(!stream.readiness().established);

    // And as a Reply.
    let (client, server) = tcp();
    let stream =
        StreamSocket::initiate(client, &StreamOptions::default(), Arc::new(Unwatched)).unwrap();
    let incoming = server.await_ddp_mode(&Options::new(&domain)).unwrap();
    let _socket = incoming.accept(b"hello").unwrap();
    assert!(stream.wait(Wants::READABLE, Some(PATIENCE)).unwrap());
    assert_eq!(stream.take_error(), Some(libc::EPROTO));
}

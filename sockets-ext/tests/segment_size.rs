//! How large segments are: what TCP says of its segment size, and what follows from it.

mod common;

use std::net::{TcpListener, TcpStream};
use std::thread;

use common::raw::{Audience, Heard};
use common::{Node, eventually};
use socket2::{Domain as Family, SockRef, Socket, Type};
use uwarp::{DdpMode, Domain, Options, RemoteRegion, Stag};
use uwarp_mpa::{MULPDU_MAX, Policy, mulpdu};

/// A socket that writes to an audience over loopback.
struct Stage {
    writer: Node,
    source: uwarp::Region,
    /// The writer's TCP socket, to ask for its segment size.
    tcp: TcpStream,
    audience: Audience,
}

impl Stage {
    /// `tune` sets options of both TCP sockets before there is a connection.
    fn new(
        tune: impl Fn(SockRef<'_>),
        markers: bool,
        options: impl Fn(Options) -> Options,
    ) -> Self {
        let socket = || Socket::new(Family::IPV4, Type::STREAM, None).unwrap();
        let listener = socket();
        tune(SockRef::from(&listener));
        let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&anywhere.into()).unwrap();
        listener.listen(1).unwrap();
        let listener = TcpListener::from(listener);
        let client = socket();
        tune(SockRef::from(&client));
        client
            .connect(&listener.local_addr().unwrap().into())
            .unwrap();
        let tcp = TcpStream::from(client);
        let policy = Policy {
            markers,
            ..Policy::default()
        };
        let audience =
            thread::spawn(move || Audience::accept(listener.accept().unwrap().0, &policy));
        let domain = Domain::new();
        let asked = tcp.try_clone().unwrap();
        let socket = tcp
            .set_ddp_mode(&options(Options::new(&domain)))
            .expect("a connection");
        let mut audience = audience.join().unwrap();
        assert_eq!(audience.message().len(), 1, "the RTR");
        let writer = Node { domain, socket };
        Self {
            source: writer.local(vec![0x3c; 1 << 20]),
            writer,
            tcp: asked,
            audience,
        }
    }

    fn emss(&self) -> u32 {
        SockRef::from(&self.tcp).tcp_mss().unwrap()
    }

    /// What a Write of `len` octets becomes.
    fn write(&mut self, len: usize) -> Vec<Heard> {
        let to = RemoteRegion {
            stag: Stag(0x77),
            to: 0,
            len: len as u32,
        };
        let list = [self.source.slice(..len).unwrap()];
        self.writer.socket.post_write(1, &list, to).unwrap();
        let segments = self.audience.message();
        self.writer.done(1);
        segments
    }
}

/// All segments but the last have the MULPDU of this segment size, and each FPDU fits into a TCP segment.
fn assert_fits(segments: &[Heard], emss: u32, markers: bool) {
    let (last, full) = segments.split_last().expect("segments");
    let due = mulpdu(emss, markers);
    assert!(
        full.iter().all(|segment| segment.ulpdu_len == due),
        "{emss}: {full:?}"
    );
    assert!(last.ulpdu_len <= due);
    for segment in segments {
        assert!(segment.wire_len <= emss as usize, "{emss}: {segment:?}");
    }
    // Without markers nothing else goes into such a segment; with them, not all may fall into an FPDU.
    let spare = if markers { 8 } else { 4 };
    assert!(
        full.iter()
            .all(|fpdu| fpdu.wire_len + spare > emss as usize)
    );
}

/// RFC 5044 s4.5, s5.1 (F26, F28).
#[test]
fn the_mulpdu_is_that_of_the_sockets_segment_size() {
    for markers in [false, true] {
        for mss in [536, 1_000, 1_448, 1_460, 1_461, 1_462, 8_960] {
            let tune = |socket: SockRef<'_>| socket.set_tcp_mss(mss).unwrap();
            let mut stage = Stage::new(tune, markers, |options| options);
            let emss = stage.emss();
            // TCP's own options are not part of it.
            assert!(emss <= mss && emss + 40 >= mss, "{emss} of {mss}");
            let segments = stage.write(100_000);
            assert!(segments.len() > 10);
            assert_fits(&segments, emss, markers);
            assert_eq!(stage.emss(), emss);
        }
    }
}

/// RFC 5044 s4.5 (F27, F28): TCP's segments grow with the peer's window, and the ULPDUs with them.
#[test]
fn the_mulpdu_follows_the_sockets_segment_size() {
    let tune = |socket: SockRef<'_>| socket.set_recv_buffer_size(8_192).unwrap();
    let mut stage = Stage::new(tune, false, |options| options);
    let small = stage.emss();
    assert!(small < 16_384, "{small}: half the window at the most");
    assert_fits(&stage.write(100_000), small, false);

    let peer = SockRef::from(&stage.audience.tcp);
    peer.set_recv_buffer_size(1 << 20).unwrap();
    let mut grown = 0;
    eventually("it grows, and is looked at", || {
        let before = stage.emss();
        let segments = stage.write(200_000);
        grown = stage.emss();
        // When it did not change meanwhile, and has been looked at since it has grown.
        let seen = segments[0].ulpdu_len == mulpdu(grown, false);
        grown > small && before == grown && seen
    });
    let segments = stage.write(200_000);
    let again = stage.emss();
    assert!(again >= grown);
    for (at, segment) in segments[..segments.len() - 1].iter().enumerate() {
        let due = [grown, again].map(|emss| mulpdu(emss, false));
        assert!(due.contains(&segment.ulpdu_len), "{at}: {segment:?}");
    }
}

/// RFC 5044 s3 (F04): however large TCP's segments are, no ULPDU has more than 64,768 octets. And a segment size that
/// the application has chosen is not TCP's business.
#[test]
fn a_chosen_segment_size_is_kept() {
    for (emss, due) in [(700, 694), (9_000, 8_994), (1 << 20, MULPDU_MAX)] {
        let mut stage = Stage::new(|_| (), false, |options| options.emss(emss));
        for _ in 0..3 {
            let segments = stage.write(400_000);
            let (last, full) = segments.split_last().unwrap();
            assert!(full.iter().all(|segment| segment.ulpdu_len == due));
            assert!(last.ulpdu_len <= due);
        }
    }
}

/// RFC 5044 s5.1 (F28): on an ordinary loopback, as everywhere.
#[test]
fn loopback_is_no_exception() {
    let mut stage = Stage::new(|_| (), false, |options| options);
    let emss = stage.emss();
    let segments = stage.write(emss as usize / 2 * 3);
    assert_eq!(segments[0].ulpdu_len, mulpdu(emss, false));
}

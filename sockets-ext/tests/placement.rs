//! How payload comes to its place: straight from the socket without CRC, never before the FPDU is whole, and sources
//! that change while they are read.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::raw::{RawPeer, write_segment};
use common::{LIMIT, Node, contents, eventually, listen, noise, pair, pair_with, remote};
use uwarp::{Domain, End, Options, Rights, Stats};

/// 1 MiB Writes into one region, told by an empty Read; what the receiving end counted, and the octets.
fn run_of_writes(crc: bool) -> (Stats, u64) {
    let options = |options: Options| options.crc(crc);
    let (client, server) = pair_with(options, options);
    let len = 1 << 20;
    let source = client.local(noise(len, 1));
    let target = server.shared(vec![0; len], Rights::REMOTE_WRITE | Rights::REMOTE_READ);
    let list = [source.slice(..).unwrap()];
    let rounds = 64;
    for id in 0..rounds {
        let posted = client.socket.post_write(id, &list, remote(&target));
        posted.unwrap();
    }
    let nothing = remote(&target).slice(0, 0).unwrap();
    client.socket.post_read(rounds, &[], nothing).unwrap();
    for id in 0..=rounds {
        client.done(id);
    }
    assert!(contents(&target) == contents(&source));
    (server.socket.stats(), rounds * len as u64)
}

#[test]
fn without_crc_most_payload_goes_straight_to_its_place() {
    let (stats, octets) = run_of_writes(false);
    assert_eq!(stats.payload_direct + stats.payload_copied, octets);
    // Of an FPDU that comes in parts, the parts before the last one are copied.
    assert!(stats.payload_direct > octets / 2, "{stats:?}");
}

#[test]
fn with_crc_payload_is_copied_once() {
    let (stats, octets) = run_of_writes(true);
    assert_eq!((stats.payload_direct, stats.payload_copied), (0, octets));
}

/// A server that a peer by hand has connected to, and a region that it may write.
fn by_hand(crc: bool) -> (Node, RawPeer, uwarp::Region) {
    let domain = Domain::new();
    let listener = listen(&Options::new(&domain).crc(crc));
    let address = listener.local_addr();
    let peer = thread::spawn(move || RawPeer::connect(address, crc));
    let socket = listener.accept_timeout(LIMIT).unwrap().accept(b"").unwrap();
    let region = domain
        .register(vec![0; 64_000], Rights::REMOTE_WRITE)
        .unwrap();
    (Node { domain, socket }, peer.join().unwrap(), region)
}

/// Longer than a ULPDU may be, as siw makes them on loopback (F04, G2): each is followed by another FPDU, which is
/// found, too.
#[test]
fn ulpdus_of_every_length_that_the_field_can_say() {
    for crc in [true, false] {
        let (server, mut peer, _) = by_hand(crc);
        assert!(!peer.markers);
        let region = server.shared(vec![0; 70_000], Rights::REMOTE_WRITE);
        let stag = remote(&region).stag.0;
        for (seed, len) in (0..).zip([64_768, 64_769, 65_480, 65_534, 65_535]) {
            let payload = noise(len - 14, seed);
            let mut wire = peer.frame(&write_segment(stag, 0, &payload));
            assert_eq!(wire.len(), (2 + len).next_multiple_of(4) + 4);
            wire.extend(peer.frame(&write_segment(stag, 69_999, &[seed as u8 + 1])));
            // All at once, and in pieces that end within the header, the payload, the padding and the CRC.
            for cuts in [&[][..], &[9, 40_000, 64_775, 65_538, 65_541]] {
                region.write_at(0, &vec![0; 70_000]).unwrap();
                let mut at = 0;
                for &cut in cuts.iter().filter(|&&cut| cut < wire.len()) {
                    peer.send(&wire[at..cut]);
                    thread::sleep(std::time::Duration::from_millis(1));
                    at = cut;
                }
                peer.send(&wire[at..]);
                eventually("both", || contents(&region)[69_999] == seed as u8 + 1);
                assert!(contents(&region).starts_with(&payload), "{len}");
            }
        }
        drop(peer);
        eventually("seen", || server.socket.peer_closed());
        assert_eq!(server.socket.stats().fpdus_received, 20);
    }
}

#[test]
fn a_fin_amid_an_fpdu_leaves_the_region_as_it_was() {
    for crc in [true, false] {
        for cut in [1, 2, 16, 17, 40, 30_000, 60_015, 60_019] {
            let (server, mut peer, region) = by_hand(crc);
            let stag = remote(&region).stag.0;
            // A whole one first, after which the next of its kind is expected.
            peer.send(&peer.frame(&write_segment(stag, 0, &[1; 60_000])));
            let second = peer.frame(&write_segment(stag, 0, &[2; 60_000]));
            assert_eq!(second.len(), 60_020);
            eventually("the first one", || contents(&region)[59_999] == 1);
            peer.send(&second[..cut]);
            peer.tcp.shutdown(std::net::Shutdown::Write).unwrap();
            let (completions, end) = server.to_the_end();
            assert_eq!((completions, end), (vec![], End::Lost), "cut at {cut}");
            let octets = contents(&region);
            assert!(octets[..60_000] == [1; 60_000], "cut at {cut}");
            assert!(octets[60_000..] == [0; 4_000]);
        }
    }
}

#[test]
fn an_fpdu_that_arrives_in_pieces_is_placed_whole() {
    for crc in [true, false] {
        let (server, mut peer, region) = by_hand(crc);
        let stag = remote(&region).stag.0;
        // An empty one first, after which payload may go straight to its place.
        peer.send(&peer.frame(&write_segment(stag, 0, b"")));
        let fpdu = peer.frame(&write_segment(stag, 100, &[5; 60_000]));
        for piece in fpdu[..fpdu.len() - 1].chunks(7_001) {
            peer.send(piece);
            thread::sleep(std::time::Duration::from_millis(1));
            assert!(contents(&region) == [0; 64_000], "placed too early");
        }
        peer.send(&fpdu[fpdu.len() - 1..]);
        eventually("placed", || contents(&region)[60_099] == 5);
        drop(peer);
        eventually("seen", || server.socket.peer_closed());
        assert_eq!(server.socket.stats().fpdus_received, 2);
    }
}

/// Says when it is dropped that everything is done, a failed test too.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_source_that_changes_while_it_is_read_does_not_end_the_connection() {
    let (client, server) = pair();
    let source = server.shared(vec![0; 4096], Rights::REMOTE_READ);
    let sink = client.local(vec![0; 4096]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let images = [vec![0x55; 4096], vec![0xaa; 4096]];
            while !done.load(Ordering::Relaxed) {
                for image in &images {
                    source.write_at(0, image).unwrap();
                }
            }
        });
        let _done = Done(&done);
        for round in 0..1_000u32 {
            for (id, len) in [64, 65, 500, 1_448, 4_095, 4_096].into_iter().enumerate() {
                let list = [sink.slice(..len).unwrap()];
                let place = remote(&source).slice(0, len as u32).unwrap();
                let id = u64::from(round) * 6 + id as u64;
                client.socket.post_read(id, &list, place).unwrap();
            }
            for id in 0..6 {
                client.done(u64::from(round) * 6 + id);
            }
            assert!(
                contents(&sink)
                    .iter()
                    .all(|octet| [0x55, 0xaa, 0].contains(octet))
            );
        }
    });
    assert_eq!((client.socket.end(), server.socket.end()), (None, None));
}

/// A Write may land in memory that an earlier Read is still being answered from; what the Read then
/// fetches is a mixture, but the CRC is of what is sent (RFC 5040 s5.5, R27).
#[test]
fn a_write_behind_a_read_of_the_same_memory() {
    const LEN: usize = 200_000;
    let (client, server) = pair();
    let rights = Rights::REMOTE_READ | Rights::REMOTE_WRITE;
    let target = server.shared(vec![0; LEN], rights);
    let (sink, source) = (client.local(vec![0; LEN]), client.local(noise(LEN, 7)));
    for round in 0..50 {
        let list = [sink.slice(..).unwrap()];
        client
            .socket
            .post_read(2 * round, &list, remote(&target))
            .unwrap();
        let list = [source.slice(..).unwrap()];
        client
            .socket
            .post_write(2 * round + 1, &list, remote(&target))
            .unwrap();
    }
    for id in 0..100 {
        client.done(id);
    }
    client.socket.close().unwrap();
}

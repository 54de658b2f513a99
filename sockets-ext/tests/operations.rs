//! Every operation over loopback TCP: sizes, lists, CRC and markers, and what a caller may not ask.

mod common;

use common::{Node, contents, noise, pair, pair_with, remote};
use uwarp::{
    Domain, MAX_SGE, Memory, Options, PostError, RemoteRegion, Rights, SendFlags, Sge, Stag,
};

const SIZES: [usize; 8] = [
    0,
    1,
    63,
    (64 << 10) - 1,
    64 << 10,
    (64 << 10) + 1,
    1 << 20,
    5 << 20,
];

fn both() -> Rights {
    Rights::REMOTE_READ | Rights::REMOTE_WRITE
}

/// A Send, a Write told by a Send, and a Read of the same octets, in one direction.
fn move_every_way(from: &Node, to: &Node, len: usize) {
    let octets = noise(len, len as u64);
    let source = from.local(octets.clone());
    let inbox = to.local(vec![0; len]);
    let target = to.shared(vec![0; len], both());
    let sink = from.local(vec![0; len]);
    let sends = [
        (11, source.slice(..).unwrap()),
        (12, source.slice(..0).unwrap()),
    ];

    to.socket.post_recv(1, &[inbox.slice(..).unwrap()]).unwrap();
    to.socket.post_recv(2, &[]).unwrap();
    let flags = SendFlags::default();
    from.socket
        .post_send(sends[0].0, &[sends[0].1.clone()], flags)
        .unwrap();
    from.socket
        .post_write(10, &[source.slice(..).unwrap()], remote(&target))
        .unwrap();
    from.socket
        .post_send(sends[1].0, &[sends[1].1.clone()], flags)
        .unwrap();
    from.socket
        .post_read(13, &[sink.slice(..).unwrap()], remote(&target))
        .unwrap();

    let received = to.done(1);
    assert_eq!((received.len as usize, received.solicited), (len, false));
    assert_eq!(contents(&inbox), octets);
    // What was written before a Send is there when the Send is delivered (RFC 5040 s5.5).
    assert_eq!(to.done(2).len, 0);
    assert_eq!(contents(&target), octets);
    for id in [11, 10, 12, 13] {
        let completion = from.done(id);
        let expected = if id == 12 { 0 } else { len };
        assert_eq!(completion.len as usize, expected);
    }
    assert_eq!(contents(&sink), octets);
}

fn every_size(initiator: impl Fn(Options) -> Options, responder: impl Fn(Options) -> Options) {
    let (client, server) = pair_with(initiator, responder);
    for len in SIZES {
        move_every_way(&client, &server, len);
        move_every_way(&server, &client, len);
    }
    client.socket.shutdown().unwrap();
    server.socket.close().unwrap();
    client.socket.close().unwrap();
}

#[test]
fn every_size_with_crc() {
    every_size(|options| options, |options| options);
}

#[test]
fn every_size_without_crc() {
    every_size(|options| options.crc(false), |options| options.crc(false));
}

#[test]
fn every_size_with_crc_and_markers_both_ways() {
    every_size(
        |options| options.markers(true),
        |options| options.markers(true),
    );
}

#[test]
fn every_size_with_markers_towards_the_initiator() {
    every_size(
        |options| options.markers(true).crc(false),
        |options| options.crc(false),
    );
}

#[test]
fn every_size_with_markers_towards_the_responder() {
    every_size(
        |options| options.crc(false),
        |options| options.markers(true).crc(false),
    );
}

#[test]
fn every_size_in_segments_larger_than_tcp_s() {
    every_size(
        |options| options.emss(65_000),
        |options| options.emss(1_460),
    );
}

/// Cuts `0..len` into as many pieces as a list may have, of quite different lengths.
fn cuts(len: usize) -> Vec<std::ops::Range<usize>> {
    let edges = [0, 1, 1, len / 7, len / 2, len - 3, len];
    edges.windows(2).map(|edge| edge[0]..edge[1]).collect()
}

/// The pieces of one region as a list, and the octets in the order of that list.
fn shuffled(region: &uwarp::Region, octets: &[u8]) -> (Vec<Sge>, Vec<u8>) {
    let mut pieces = cuts(octets.len());
    pieces.rotate_left(2);
    pieces.swap(0, 3);
    let list = pieces
        .iter()
        .map(|piece| region.slice(piece.clone()).unwrap())
        .collect();
    let joined = pieces
        .iter()
        .flat_map(|piece| &octets[piece.clone()])
        .copied()
        .collect();
    (list, joined)
}

#[test]
fn lists_are_gathered_and_scattered() {
    let len = 300_001;
    for crc in [true, false] {
        let (client, server) = pair_with(|options| options.crc(crc), |options| options.crc(crc));
        let octets = noise(len, 5);
        let source = client.local(octets.clone());
        let (list, joined) = shuffled(&source, &octets);
        assert_eq!(list.len(), MAX_SGE);

        let inbox = server.local(vec![0; len]);
        let target = server.shared(vec![0; len], both());
        let (inbox_list, _) = shuffled(&inbox, &joined);
        server.socket.post_recv(1, &inbox_list).unwrap();
        server.socket.post_recv(2, &[]).unwrap();
        let flags = SendFlags::default();
        client.socket.post_send(3, &list, flags).unwrap();
        client.socket.post_write(4, &list, remote(&target)).unwrap();
        client.socket.post_send(5, &[], flags).unwrap();
        assert_eq!(server.done(1).len as usize, len);
        server.done(2);
        // Gathered and scattered by the same list: everything is where it was.
        assert_eq!(contents(&inbox), octets);
        assert_eq!(contents(&target), joined);

        let sink = client.local(vec![0; len]);
        let (sink_list, _) = shuffled(&sink, &joined);
        client
            .socket
            .post_read(6, &sink_list, remote(&target))
            .unwrap();
        for id in 3..=6 {
            client.done(id);
        }
        assert_eq!(contents(&sink), octets);
    }
}

#[test]
fn more_reads_than_the_ord_wait_for_their_turn() {
    let (client, server) = pair_with(|options| options.ord(2), |options| options.ird(2));
    assert_eq!(client.socket.established().unwrap().agreement.ord, 2);
    let octets = noise(64 * 5_000, 7);
    let source = server.shared(octets.clone(), Rights::REMOTE_READ);
    let sink = client.local(vec![0; octets.len()]);
    for index in 0..64usize {
        let place = index * 5_000..(index + 1) * 5_000;
        let from = remote(&source).slice(place.start as u32, 5_000).unwrap();
        client
            .socket
            .post_read(index as u64, &[sink.slice(place).unwrap()], from)
            .unwrap();
    }
    for id in 0..64 {
        assert_eq!(client.done(id).len, 5_000);
    }
    assert_eq!(contents(&sink), octets);
}

#[test]
fn a_solicited_send_says_so() {
    let (client, server) = pair();
    let flags = SendFlags {
        solicited: true,
        invalidate: None,
    };
    server.socket.post_recv(1, &[]).unwrap();
    client.socket.post_send(2, &[], flags).unwrap();
    let received = server.done(1);
    assert!(received.solicited);
    assert_eq!(received.invalidated, None);
}

#[test]
fn a_send_invalidates_and_renewing_makes_a_new_stag() {
    let (client, server) = pair();
    let rights = both() | Rights::REMOTE_INVALIDATE;
    let target = server
        .domain
        .register_for(&server.socket, vec![0; 64], rights)
        .unwrap();
    let source = client.local(vec![7; 64]);
    for (round, solicited) in [false, true].into_iter().enumerate() {
        let description = remote(&target);
        server.socket.post_recv(1, &[]).unwrap();
        client
            .socket
            .post_write(2, &[source.slice(..).unwrap()], description)
            .unwrap();
        let flags = SendFlags {
            solicited,
            invalidate: Some(description.stag),
        };
        client.socket.post_send(3, &[], flags).unwrap();
        let received = server.done(1);
        assert_eq!(received.invalidated, Some(description.stag));
        assert_eq!(received.solicited, solicited);
        assert_eq!(contents(&target), [7; 64]);
        assert_eq!((target.stag(), target.remote()), (None, None));
        client.done(2);
        client.done(3);
        assert_ne!(target.renew().unwrap(), description.stag, "round {round}");
        target.write_at(0, &[0; 64]).unwrap();
    }
    // The new one works, the old one does not.
    let stale = remote(&target);
    let fresh = RemoteRegion {
        stag: target.renew().unwrap(),
        ..stale
    };
    let list = [source.slice(..).unwrap()];
    client.socket.post_write(4, &list, fresh).unwrap();
    client.done(4);
    client.socket.post_write(5, &list, stale).unwrap();
    let (_, end) = server.to_the_end();
    assert!(matches!(end, uwarp::End::Fault(uwarp::Fault::Write(_))));
    assert_eq!(contents(&target), [7; 64]);
}

#[test]
fn what_cannot_be_meant_is_refused_at_once() {
    let (client, server) = pair_with(|options| options.ord(0), |options| options);
    let region = client.local(vec![0; 64]);
    let whole = region.slice(..).unwrap();
    let remote = RemoteRegion {
        stag: Stag(1),
        to: 0,
        len: 64,
    };
    let list = vec![whole.clone(); MAX_SGE + 1];
    let post = &client.socket;
    assert_eq!(post.post_recv(1, &list), Err(PostError::TooManyElements));
    assert_eq!(
        post.post_read(1, &list[..1], remote),
        Err(PostError::ReadsDisabled)
    );
    let short = RemoteRegion { len: 63, ..remote };
    let too_short = PostError::RemoteTooShort {
        remote: 63,
        local: 64,
    };
    assert_eq!(post.post_write(1, &list[..1], short), Err(too_short));
    let wrapping = RemoteRegion {
        to: u64::MAX - 10,
        ..remote
    };
    assert_eq!(
        post.post_write(1, &list[..1], wrapping),
        Err(PostError::OffsetWrap)
    );
    let foreign = Domain::new().register(vec![0; 8], both()).unwrap();
    assert_eq!(
        post.post_recv(1, &[foreign.slice(..).unwrap()]),
        Err(PostError::OtherDomain)
    );
    let huge = client.local(Memory::zeroed(1 << 30).unwrap());
    let list = vec![huge.slice(..).unwrap(); 4];
    assert_eq!(post.post_recv(1, &list), Err(PostError::TooLong));
    // Nothing of it did any harm.
    server.socket.post_recv(2, &[]).unwrap();
    post.post_send(3, &[], SendFlags::default()).unwrap();
    server.done(2);
    client.done(3);
    assert_eq!(client.socket.poll(), None);
}

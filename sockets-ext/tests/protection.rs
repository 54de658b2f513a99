//! What a peer may not do: the offended end ends with the fault, the other one is told by a Terminate with the right
//! code, and every posted request completes.

mod common;

use std::io::Read;

use common::raw::{RawPeer, write_segment};
use common::{LIMIT, Node, contents, listen, noise, pair, remote};
use uwarp::{
    Domain, End, EndText, OperationKind, Options, RemoteRegion, Rights, SendFlags, Sge, Stag,
    Status, TerminateCode,
};

/// Everything that an offence may involve.
struct Scene {
    client: Node,
    server: Node,
    /// The server's, with both rights.
    target: uwarp::Region,
    /// The client's, as long as the target.
    source: uwarp::Region,
}

impl Scene {
    fn new() -> Self {
        let (client, server) = pair();
        let target = server.shared(noise(4096, 1), Rights::REMOTE_READ | Rights::REMOTE_WRITE);
        let source = client.local(noise(4096, 2));
        Self {
            client,
            server,
            target,
            source,
        }
    }

    fn list(&self) -> [Sge; 1] {
        [self.source.slice(..).unwrap()]
    }

    fn write(&self, to: RemoteRegion) {
        let posted = self.client.socket.post_write(19, &self.list(), to);
        posted.unwrap();
    }

    fn read(&self, from: RemoteRegion) {
        let posted = self.client.socket.post_read(19, &self.list(), from);
        posted.unwrap();
    }

    fn send(&self, flags: SendFlags) {
        let posted = self.client.socket.post_send(19, &self.list(), flags);
        posted.unwrap();
    }
}

/// Numbers of the layer, the type and the code.
type Numbers = (u8, u8, u8);

fn numbers(code: &TerminateCode) -> Numbers {
    (code.layer.bits(), code.etype, code.code)
}

/// Plays `offence` amid innocent work, and looks at how both ends end. Returns the texts of both ends.
fn play(expected: Numbers, offence: impl FnOnce(&Scene)) -> [String; 2] {
    let scene = Scene::new();
    let (client, server) = (&scene.client, &scene.server);
    let before = contents(&scene.target);
    let ping = client.local(vec![0; 8]);
    let list = [ping.slice(..).unwrap()];
    for id in 0..8 {
        client.socket.post_recv(id, &[]).unwrap();
        let place = remote(&scene.target).slice(8, 8).unwrap();
        client.socket.post_read(10 + id, &list, place).unwrap();
        client.done(10 + id);
    }
    offence(&scene);
    let mut posted: Vec<u64> = (0..8).chain([19]).collect();
    for id in 20..40 {
        // From the moment the Terminate has come, posting is refused.
        let place = remote(&scene.target).slice(0, 8).unwrap();
        if client.socket.post_read(id, &list, place).is_ok() {
            posted.push(id);
        }
    }

    let (completions, end) = client.to_the_end();
    let mut completed: Vec<u64> = completions.iter().map(|done| done.id).collect();
    completed.sort_unstable();
    assert_eq!(completed, posted, "each request completes once");
    assert!(
        !completions
            .iter()
            .any(|done| done.id != 19 && done.is_success())
    );
    let End::Terminated(code) = &end else {
        panic!("{end:?}");
    };
    assert_eq!(numbers(code), expected, "{code}");

    let (_, other_end) = server.to_the_end();
    let End::Fault(fault) = &other_end else {
        panic!("{other_end:?}");
    };
    assert_eq!(numbers(&fault.code()), expected, "{fault}");
    assert_eq!(contents(&scene.target), before, "nothing has been placed");
    let is_read = |done: &&uwarp::Completion| done.id == 19 && done.kind == OperationKind::Read;
    if let Some(read) = completions.iter().find(is_read) {
        assert_eq!(read.status, Status::Refused(*code));
    }
    [&end, &other_end].map(|end| EndText(end).to_string())
}

fn says(texts: &[String; 2], words: &[&str]) {
    for word in words {
        assert!(texts[0].contains(word), "{word:?} is not in {:?}", texts[0]);
    }
    assert!(texts[1].contains("the peer broke a rule"), "{}", texts[1]);
}

fn unknown() -> RemoteRegion {
    RemoteRegion {
        stag: Stag(0x0bad_cafe),
        to: 0,
        len: 4096,
    }
}

/// More than the target has.
fn beyond(scene: &Scene) -> RemoteRegion {
    RemoteRegion {
        to: 1,
        ..remote(&scene.target)
    }
}

#[test]
fn a_write_to_an_stag_that_was_never_issued() {
    let texts = play((1, 1, 0), |scene| scene.write(unknown()));
    says(&texts, &["invalid STag", "fetch a fresh region descriptor"]);
}

#[test]
fn a_read_of_an_stag_that_was_never_issued() {
    let texts = play((0, 1, 0), |scene| scene.read(unknown()));
    says(&texts, &["invalid STag", "fetch a fresh region descriptor"]);
}

#[test]
fn a_write_past_the_end() {
    let texts = play((1, 1, 1), |scene| scene.write(beyond(scene)));
    says(&texts, &["bounds", "check offset and length"]);
}

#[test]
fn a_read_past_the_end() {
    let texts = play((0, 1, 1), |scene| scene.read(beyond(scene)));
    says(&texts, &["bounds", "check offset and length"]);
}

#[test]
fn a_write_without_the_right() {
    let texts = play((1, 1, 0), |scene| {
        let other = scene.server.shared(vec![0; 4096], Rights::REMOTE_READ);
        scene.write(remote(&other));
        // It must live until the peer has been refused.
        std::mem::forget(other);
    });
    says(&texts, &["lacks the right"]);
}

#[test]
fn a_read_without_the_right() {
    let texts = play((0, 1, 2), |scene| {
        let other = scene.server.shared(vec![0; 4096], Rights::REMOTE_WRITE);
        scene.read(remote(&other));
        std::mem::forget(other);
    });
    says(&texts, &["without the right of remote read"]);
}

#[test]
fn the_stag_of_another_domain() {
    // Each domain has a table of its own, so that a foreign STag is not even known (S01).
    let other = Domain::new()
        .register(vec![0; 4096], Rights::all())
        .unwrap();
    play((1, 1, 0), |scene| scene.write(remote(&other)));
    play((0, 1, 0), |scene| scene.read(remote(&other)));
}

#[test]
fn the_stag_of_another_connection() {
    let offend = |scene: &Scene, write: bool| {
        let listener = listen(&Options::new(&scene.server.domain));
        let address = listener.local_addr();
        let client =
            std::thread::spawn(move || uwarp::connect(address, &Options::new(&Domain::new())));
        let incoming = listener.accept_timeout(LIMIT).unwrap();
        let second = incoming.accept(b"").unwrap();
        let domain = &scene.server.domain;
        let other = domain.register_for(&second, vec![0; 4096], Rights::all());
        let other = other.unwrap();
        let place = remote(&other);
        if write {
            scene.write(place);
        } else {
            scene.read(place);
        }
        std::mem::forget((other, second, client.join()));
    };
    play((1, 1, 2), |scene| offend(scene, true));
    play((0, 1, 3), |scene| offend(scene, false));
}

#[test]
fn a_send_for_which_no_receive_is_posted() {
    let texts = play((1, 2, 2), |scene| scene.send(SendFlags::default()));
    says(&texts, &["no receive", "post receives before we send"]);
}

#[test]
fn a_send_that_is_longer_than_the_receive() {
    let texts = play((1, 2, 5), |scene| {
        let inbox = scene.server.local(vec![0; 4095]);
        let list = [inbox.slice(..).unwrap()];
        scene.server.socket.post_recv(1, &list).unwrap();
        scene.send(SendFlags::default());
    });
    says(&texts, &["smaller than the message"]);
}

#[test]
fn an_invalidation_that_is_not_allowed() {
    for unknown in [true, false] {
        play((0, 1, 9), |scene| {
            let inbox = scene.server.local(vec![0; 4096]);
            let list = [inbox.slice(..).unwrap()];
            scene.server.socket.post_recv(1, &list).unwrap();
            let stag = if unknown {
                Stag(0x0bad_cafe)
            } else {
                // In force, but for the whole domain.
                scene.target.stag().unwrap()
            };
            scene.send(SendFlags {
                solicited: false,
                invalidate: Some(stag),
            });
        });
    }
}

/// A server with a region, a peer by hand that is connected to it, and the region's STag.
fn by_hand() -> (Node, RawPeer, uwarp::Region) {
    let domain = Domain::new();
    let listener = listen(&Options::new(&domain));
    let address = listener.local_addr();
    let peer = std::thread::spawn(move || RawPeer::connect(address, true));
    let incoming = listener.accept_timeout(LIMIT).unwrap();
    let socket = incoming.accept(b"").unwrap();
    let node = Node { domain, socket };
    let region = node.shared(vec![0; 4096], Rights::REMOTE_WRITE);
    (node, peer.join().unwrap(), region)
}

/// Sends a good Write and then `offence`; returns how the server ends and the Terminate's octets.
fn by_hand_offends(offence: impl FnOnce(&RawPeer, u32) -> Vec<u8>) -> (End, Vec<u8>) {
    let (server, mut peer, region) = by_hand();
    let stag = remote(&region).stag.0;
    peer.send(&peer.frame(&write_segment(stag, 4, b"good")));
    peer.send(&offence(&peer, stag));
    let mut heard = Vec::new();
    peer.tcp.read_to_end(&mut heard).unwrap();
    drop(peer);
    let (_, end) = server.to_the_end();
    let mut expected = vec![0; 4096];
    expected[4..8].copy_from_slice(b"good");
    assert_eq!(contents(&region), expected);
    // Length, DDP header of 18 octets, then the Terminate.
    (end, heard.get(20..24).unwrap_or_default().to_vec())
}

fn fault_numbers(end: &End) -> Numbers {
    match end {
        End::Fault(fault) => numbers(&fault.code()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tagged_offset_that_wraps() {
    let (end, terminate) =
        by_hand_offends(|peer, stag| peer.frame(&write_segment(stag, u64::MAX - 3, b"evil")));
    assert_eq!(fault_numbers(&end), (1, 1, 3));
    assert_eq!(terminate[..2], [0x11, 3]);
}

#[test]
fn a_wrong_crc() {
    let (end, terminate) = by_hand_offends(|peer, stag| {
        let mut fpdu = peer.frame(&write_segment(stag, 0, b"evil"));
        *fpdu.last_mut().unwrap() ^= 1;
        fpdu
    });
    assert_eq!(fault_numbers(&end), (2, 0, 2));
    assert_eq!(terminate, [0x20, 2, 0, 0]);
}

/// With markers, which could not point so far, a ULPDU above 64,768 octets is refused when its length comes (F04, G2).
#[test]
fn a_ulpdu_that_markers_cannot_point_over() {
    for len in [64_769, 65_480, 65_535_u16] {
        let domain = Domain::new();
        let listener = listen(&Options::new(&domain).markers(true));
        let address = listener.local_addr();
        let peer = std::thread::spawn(move || RawPeer::connect(address, true));
        let socket = listener.accept_timeout(LIMIT).unwrap().accept(b"").unwrap();
        let mut peer = peer.join().unwrap();
        assert!(peer.markers);
        // A marker and an FPDU, after which the server may speak; then only a length.
        let mut first = [&[0; 4][..], &peer.frame(&write_segment(0, 0, b""))].concat();
        let covered = first.len() - 4;
        let crc = uwarp_mpa::crc::crc32c(&first[..covered]);
        first[covered..].copy_from_slice(&uwarp_mpa::crc::to_wire(crc));
        peer.send(&first);
        peer.send(&len.to_be_bytes());
        let mut heard = Vec::new();
        peer.tcp.read_to_end(&mut heard).unwrap();
        drop(peer);
        let (_, end) = Node { domain, socket }.to_the_end();
        assert_eq!(fault_numbers(&end), (1, 0, 0));
        // The Terminate has the length of what it is about (G1).
        let [high, low] = len.to_be_bytes();
        assert_eq!(heard[20..26], [0x10, 0, 0x80, 0, high, low], "{len}");
    }
}

#[test]
fn an_unknown_opcode() {
    let (end, terminate) = by_hand_offends(|peer, stag| {
        let mut segment = write_segment(stag, 0, b"evil");
        segment[1] = 0x4d;
        peer.frame(&segment)
    });
    assert_eq!(fault_numbers(&end), (0, 2, 6));
    assert_eq!(terminate[..2], [0x02, 6]);
}

/// RFC 5042 s6.4.3.3 (S07, R37): the stream of who asks for too much ends, and no other.
#[test]
fn more_reads_than_the_ird_end_one_connection_and_no_other() {
    let domain = Domain::new();
    let listener = listen(&Options::new(&domain).ird(2));
    let address = listener.local_addr();
    let region = domain.register(vec![7; 64], Rights::REMOTE_READ).unwrap();
    let place = remote(&region);
    let accept = || {
        let incoming = listener.accept_timeout(LIMIT).unwrap();
        incoming.accept(b"").unwrap()
    };
    let near = Domain::new();
    let options = Options::new(&near);
    let good = std::thread::spawn(move || uwarp::connect(address, &options).unwrap());
    let _serving = accept();
    let good = Node {
        domain: near,
        socket: good.join().unwrap(),
    };
    let peer = std::thread::spawn(move || RawPeer::connect(address, true));
    let socket = accept();
    let mut peer = peer.join().unwrap();
    let server = Node { domain, socket };

    let sink = good.local(vec![0; 64]);
    let list = [sink.slice(..).unwrap()];
    good.socket.post_read(1, &list, place).unwrap();
    good.done(1);
    // Three at once, each of which is good.
    let requests = [1, 2, 3].map(|msn: u32| {
        let mut segment = vec![0x41, 0x41, 0, 0, 0, 0];
        for word in [1, msn, 0] {
            segment.extend(word.to_be_bytes());
        }
        segment.extend([0; 12]);
        segment.extend(64_u32.to_be_bytes());
        segment.extend(place.stag.0.to_be_bytes());
        segment.extend(place.to.to_be_bytes());
        peer.frame(&segment)
    });
    peer.send(&requests.concat());
    let mut heard = Vec::new();
    peer.tcp.read_to_end(&mut heard).unwrap();
    drop(peer);
    let (_, end) = server.to_the_end();
    assert_eq!(fault_numbers(&end), (1, 2, 2));
    assert_eq!(heard[20..22], [0x12, 2], "the Terminate, and no answer");

    sink.write_at(0, &[0; 64]).unwrap();
    good.socket.post_read(2, &list, place).unwrap();
    good.done(2);
    assert_eq!(contents(&sink), [7; 64]);
}

//! A worker whose UNIX socket gets what nobody ought to send keeps serving.
//!
//! Whoever is in the process may write to any descriptor by mistake. These tests do: they find the two ends of
//! the worker's socket among the descriptors of this process, and send noise, messages out of turn, and as much
//! as the socket holds.

mod common;

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, MutexGuard};

use common::{Node, contents, listen, noise, pair};
use proptest::prelude::*;
use socket2::{Domain as Family, SockRef, Type};
use uwarp::control::Message;
use uwarp::{Domain, Options, Rights, SendFlags, Workers};

/// One test at a time: a test stops its worker, and with it goes the descriptor of another.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Both ends of the sockets to the workers of this process.
fn inboxes() -> Vec<UnixDatagram> {
    // The directory stays open, so that no duplicate gets its number, which is in the list.
    let mut directory = std::fs::read_dir("/proc/self/fd").unwrap();
    let descriptors: Vec<RawFd> = directory
        .by_ref()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.parse().unwrap())
        .collect();
    let mut sockets: Vec<UnixDatagram> =
        descriptors.into_iter().filter_map(unix_datagram).collect();
    drop(directory);
    // What another thread closes meanwhile gives its number to a duplicate, which is then found once more.
    let mut known = HashSet::new();
    sockets.retain(|socket| known.insert(inode(socket)));
    sockets
}

fn inode(socket: &UnixDatagram) -> u64 {
    let file = File::from(OwnedFd::from(socket.try_clone().unwrap()));
    file.metadata().unwrap().ino()
}

/// Another descriptor of the UNIX datagram socket, if it is one.
fn unix_datagram(descriptor: RawFd) -> Option<UnixDatagram> {
    // SAFETY: the descriptor is only duplicated; if it has been closed meanwhile, that fails.
    let ours = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let ours = ours.try_clone_to_owned().ok()?;
    let socket = SockRef::from(&ours);
    let is_one = socket.domain().ok()? == Family::UNIX && socket.r#type().ok()? == Type::DGRAM;
    is_one.then(|| UnixDatagram::from(ours))
}

/// A message there and back, and a Write: everything passes the worker.
fn serves(ends: &(Node, Node), round: u8) {
    for (near, far) in [(&ends.0, &ends.1), (&ends.1, &ends.0)] {
        let inbox = far.local(vec![0; 64]);
        far.socket
            .post_recv(1, &[inbox.slice(..).unwrap()])
            .unwrap();
        let target = far.shared(vec![0; 3000], Rights::REMOTE_WRITE);
        let sent = noise(3000, round.into());
        let source = near.local(sent.clone());
        let list = [source.slice(..).unwrap()];
        let remote = common::remote(&target);
        near.socket.post_write(2, &list, remote).unwrap();
        let list = [source.slice(..64).unwrap()];
        near.socket
            .post_send(3, &list, SendFlags::default())
            .unwrap();
        near.done(2);
        near.done(3);
        assert_eq!(far.done(1).len, 64);
        assert_eq!(contents(&inbox), sent[..64]);
        assert_eq!(contents(&target), sent);
    }
}

fn closes((near, far): (Node, Node)) {
    near.socket.close().unwrap();
    far.socket.close().unwrap();
}

/// Datagrams of every kind: none of an octet, messages, almost messages, noise, and long ones.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let message = prop_oneof![
        Just(Message::Wake),
        Just(Message::Listeners),
        Just(Message::Stop)
    ];
    let messages = message.prop_map(|message| message.encode().to_vec());
    let almost = (messages.clone(), 0..Message::LEN, 1_u8..).prop_map(|(mut octets, at, flip)| {
        octets[at] ^= flip;
        octets
    });
    let longer = (messages.clone(), 1_usize..40).prop_map(|(mut octets, more)| {
        octets.resize(octets.len() + more, 0);
        octets
    });
    prop_oneof![
        messages,
        almost,
        longer,
        proptest::collection::vec(any::<u8>(), 0..20),
        proptest::collection::vec(any::<u8>(), 3000..5000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_worker_survives_any_datagram(datagrams in proptest::collection::vec(datagram(), 1..60)) {
        let _turn = alone();
        let ends = pair();
        let sockets = inboxes();
        prop_assert_eq!(sockets.len(), 2, "the worker's, and that of its callers");
        for datagram in &datagrams {
            for socket in &sockets {
                // A full socket drops it.
                let _ = socket.send(datagram);
            }
        }
        serves(&ends, 1);
        closes(ends);
    }
}

/// Messages for which there is no order in the flags change nothing: no `Stop` stops a worker that
/// has sockets to serve.
#[test]
fn an_order_is_not_in_the_message() {
    let _turn = alone();
    let ends = pair();
    for round in 0..20 {
        for socket in inboxes() {
            // The callers' end is never read, and is full after a while.
            let _ = socket.send(&Message::Stop.encode());
            let _ = socket.send(&Message::Listeners.encode());
        }
        serves(&ends, round);
    }
    closes(ends);
    // It takes new connections too, and listeners.
    let ends = pair();
    serves(&ends, 99);
    closes(ends);
}

/// A socket that is full of noise wakes the worker as well as a message does, and orders stand in flags.
#[test]
fn a_full_socket_hinders_nobody() {
    let _turn = alone();
    let ends = pair();
    for round in 0..20 {
        for socket in inboxes() {
            while socket.send(&noise(900, round.into())).is_ok() {}
        }
        serves(&ends, round);
        let domain = Domain::new();
        drop(listen(&Options::new(&domain)));
    }
    closes(ends);
}

/// A worker that got noise still ends when its last handle is gone, and gives its socket back.
#[test]
fn it_still_ends_when_it_is_told_to() {
    let _turn = alone();
    drop(pair());
    let before = inboxes().len();
    let workers = Workers::start(1).unwrap();
    for socket in inboxes() {
        let _ = socket.send(b"noise, noise, noise");
    }
    drop(workers);
    common::eventually("its descriptors are closed", || inboxes().len() == before);
}

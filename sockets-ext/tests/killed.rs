//! The peer's process is killed in the middle of a transfer: everything posted completes, and the end is told.

mod common;

use common::again::{self, Actor};
use common::{LIMIT, Node, contents, eventually, listen, remote};
use uwarp::{Completion, Domain, End, Options, RemoteRegion, Rights, Status, connect};

const LEN: usize = 1 << 20;

/// The part that is killed: connects to the address in `role`, tells of its memory, and writes into the memory that
/// the other end tells of, for ever.
fn victim(role: &str) -> ! {
    let domain = Domain::new();
    let register = |octet, rights| domain.register(vec![octet; LEN], rights).unwrap();
    let written = register(0, Rights::REMOTE_WRITE);
    let read = register(3, Rights::REMOTE_READ);
    let source = register(1, Rights::empty());
    let told = [&written, &read].map(|region| remote(region).to_bytes());
    let options = Options::new(&domain).private_data(&told.concat());
    let socket = connect(role, &options).unwrap();
    let [target] = regions(&socket.established().unwrap().private_data);
    let list = [source.slice(..).unwrap()];
    again::say("connected");
    loop {
        for id in 0..4 {
            socket.post_write(id, &list, target).unwrap();
        }
        for _ in 0..4 {
            socket.wait(None).unwrap();
        }
    }
}

/// The regions that private data describes.
fn regions<const N: usize>(private_data: &[u8]) -> [RemoteRegion; N] {
    let (descriptions, rest) = private_data.as_chunks();
    assert!(rest.is_empty());
    std::array::from_fn(|index| RemoteRegion::from_bytes(&descriptions[index]))
}

/// What a meeting with a victim consists of.
struct Meeting {
    victim: Actor,
    node: Node,
    /// Ours, that it writes to.
    region: uwarp::Region,
    /// Its region that we may write to, and the one that we may read.
    theirs: [RemoteRegion; 2],
}

/// Starts the victim and waits until it is busy.
fn meet(test: &str) -> Meeting {
    let domain = Domain::new();
    let listener = listen(&Options::new(&domain));
    let region = domain.register(vec![0; LEN], Rights::REMOTE_WRITE).unwrap();
    let mut victim = Actor::start(test, &listener.local_addr().to_string());
    let incoming = listener.accept_timeout(LIMIT).unwrap();
    let theirs = regions(incoming.private_data());
    let socket = incoming.accept(&remote(&region).to_bytes()).unwrap();
    assert_eq!(victim.hear(), "connected");
    eventually("written to", || contents(&region)[LEN - 1] == 1);
    Meeting {
        victim,
        node: Node { domain, socket },
        region,
        theirs,
    }
}

/// Each of `posted` has completed, and at least one in vain.
fn all_complete(completions: &[Completion], posted: std::ops::Range<u64>) {
    let mut ids: Vec<u64> = completions.iter().map(|done| done.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, posted.collect::<Vec<_>>());
    assert!(
        completions
            .iter()
            .any(|done| done.status == Status::Flushed)
    );
}

#[test]
fn while_it_is_written_to_and_read_from() {
    if let Some(role) = again::role() {
        victim(&role);
    }
    let mut meeting = meet("while_it_is_written_to_and_read_from");
    let node = &meeting.node;
    let [written, read] = meeting.theirs;
    let locals = [2, 0].map(|octet| node.local(vec![octet; LEN]));
    let [source, sink] = locals.each_ref().map(|local| [local.slice(..).unwrap()]);
    for id in 0..100 {
        let posted = if id % 2 == 0 {
            node.socket.post_write(id, &source, written)
        } else {
            node.socket.post_read(id, &sink, read)
        };
        posted.unwrap();
    }
    for id in 0..4 {
        node.done(id);
    }
    meeting.victim.kill();
    let (completions, end) = node.to_the_end();
    assert_eq!(end, End::Lost);
    all_complete(&completions, 4..100);
    assert_eq!(contents(&locals[1]), [3; LEN]);
    assert_eq!(contents(&meeting.region), [1; LEN]);
}

#[test]
fn while_it_writes() {
    if let Some(role) = again::role() {
        victim(&role);
    }
    let mut meeting = meet("while_it_writes");
    let node = &meeting.node;
    for id in 0..100 {
        node.socket.post_recv(id, &[]).unwrap();
    }
    meeting.victim.kill();
    let completions: Vec<_> = (0..100).map(|_| node.next()).collect();
    all_complete(&completions, 0..100);
    // A kill between two FPDUs looks like an orderly close: the kernel sends a FIN.
    if node.socket.end().is_none() {
        assert!(node.socket.peer_closed());
        let _ = node.socket.close();
    }
    let (left, end) = node.to_the_end();
    assert_eq!(left, []);
    assert!(matches!(end, End::Lost | End::Graceful), "{end:?}");
}

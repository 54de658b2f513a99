//! What the tests over real sockets share: pairs of connected sockets, data, and bounded waits.
#![allow(dead_code, reason = "every test file uses its part of this")]

pub(crate) mod again;
pub(crate) mod raw;

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use uwarp::{
    Completion, Domain, End, Listener, Memory, Options, Region, RemoteRegion, Rights, Socket,
    WaitError, connect,
};

/// Longer than anything here takes: whoever waits so long hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// One end of a connection.
pub(crate) struct Node {
    pub(crate) domain: Domain,
    pub(crate) socket: Socket,
}

impl Node {
    /// Memory that only this end reaches.
    pub(crate) fn local(&self, memory: impl Into<Memory>) -> Region {
        self.shared(memory, Rights::empty())
    }

    /// Memory that the peer reaches too.
    pub(crate) fn shared(&self, memory: impl Into<Memory>, rights: Rights) -> Region {
        self.domain.register(memory, rights).expect("room")
    }

    /// The next completion.
    pub(crate) fn next(&self) -> Completion {
        self.socket.wait(Some(LIMIT)).expect("a completion")
    }

    /// The next completion, which is the success of request `id`.
    pub(crate) fn done(&self, id: u64) -> Completion {
        let completion = self.next();
        let end = || self.socket.end();
        assert!(completion.is_success(), "{completion:?}, {:?}", end());
        assert_eq!(completion.id, id, "{completion:?}");
        completion
    }

    /// All completions that are left, and how the connection ended.
    pub(crate) fn to_the_end(&self) -> (Vec<Completion>, End) {
        let mut completions = Vec::new();
        loop {
            match self.socket.wait(Some(LIMIT)) {
                Ok(completion) => completions.push(completion),
                Err(WaitError::Over(end)) => return (completions, end),
                Err(error) => panic!("{error} after {completions:?}"),
            }
        }
    }
}

/// Two connected sockets with the default options: the initiator and the responder.
pub(crate) fn pair() -> (Node, Node) {
    pair_with(|options| options, |options| options)
}

/// Two connected sockets, each with a domain of its own.
pub(crate) fn pair_with(
    initiator: impl FnOnce(Options) -> Options,
    responder: impl FnOnce(Options) -> Options,
) -> (Node, Node) {
    let (near, far) = (Domain::new(), Domain::new());
    let listener = listen(&responder(Options::new(&far)));
    let options = initiator(Options::new(&near));
    let (near_socket, far_socket) = std::thread::scope(|scope| {
        let accepted = scope.spawn(|| {
            let incoming = listener.accept_timeout(LIMIT).expect("a Request");
            incoming.accept(b"").expect("a connection")
        });
        let near_socket = connect(listener.local_addr(), &options).expect("a connection");
        (near_socket, accepted.join().expect("no panic"))
    });
    let node = |domain, socket| Node { domain, socket };
    (node(near, near_socket), node(far, far_socket))
}

/// A listener on a free port of loopback.
pub(crate) fn listen(options: &Options) -> Listener {
    Listener::bind("127.0.0.1:0", options).expect("a free port")
}

/// `len` octets that tell their place, different for each `seed`.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut octets = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut octets);
    octets
}

/// What `region` holds.
pub(crate) fn contents(region: &Region) -> Vec<u8> {
    let mut octets = vec![0; region.len()];
    region.read_at(0, &mut octets).expect("the whole region");
    octets
}

/// What the peer of `region` would be told of it.
pub(crate) fn remote(region: &Region) -> RemoteRegion {
    region.remote().expect("an STag in force")
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

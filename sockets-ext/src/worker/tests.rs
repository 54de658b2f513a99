//! Tests of a worker that no thread runs: the test gives it its turns and its ticks.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::{Events, Set, Worker, WorkerHandle, Workers};
use crate::connect::DdpMode;
use crate::{Domain, Options, Region, Rights, SendFlags, SettingUp, Socket};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A socket whose worker is the test's, and its peer.
struct Bench {
    worker: Worker,
    domain: Domain,
    socket: Socket,
    peer: Socket,
    /// Memory of the peer's that the socket may write to.
    target: Region,
}

/// More than a caller sends itself, so that each is left to be sent.
const LEN: usize = 100_000;

impl Bench {
    fn new() -> Self {
        let mut worker = Worker::make().unwrap();
        let handle = WorkerHandle(Arc::clone(&worker.shared));
        let workers = Workers(Arc::new(Set {
            handles: vec![handle],
            next: AtomicUsize::new(0),
        }));
        let (near, far) = (Domain::new(), Domain::new());
        let target = far.register(vec![0; LEN], Rights::REMOTE_WRITE).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let options = Options::new(&near).workers(&workers);
        let setup = SettingUp::initiator(tcp, &options).unwrap();
        let responder = std::thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            let incoming = tcp.await_ddp_mode(&Options::new(&far)).unwrap();
            incoming.accept(b"").unwrap()
        });
        let mut events = Events::new();
        setup.begin();
        while setup.outcome().is_none() {
            worker.round(&mut events);
        }
        Self {
            worker,
            domain: near,
            socket: setup.into_socket(),
            peer: responder.join().unwrap(),
            target,
        }
    }

    /// The caller looks so often that it takes the input, and goes away.
    fn look(&mut self) {
        let attendance = &self.socket.link().attendance;
        while !attendance.is_ticking() {
            assert_eq!(self.socket.poll(), None);
        }
        self.worker.run_queue();
        assert_eq!(self.worker.ticking.len(), 1);
    }
}

#[test]
fn a_caller_that_posts_and_never_looks_keeps_no_tick() {
    let mut bench = Bench::new();
    bench.look();
    let source = bench
        .domain
        .register(vec![7; LEN], Rights::empty())
        .unwrap();
    let list = [source.slice(..).unwrap()];
    // It has looked before the first tick, and none after it.
    let target = bench.target.remote().unwrap();
    for id in 0..3 {
        bench.socket.post_write(id, &list, target).unwrap();
        bench.worker.tick();
    }
    assert!(bench.worker.ticking.is_empty(), "the clock still ticks");
    assert!(!bench.socket.link().attendance.is_taken());
    // The poll tells of all else, now that a thread waits for it.
    let Bench {
        worker,
        socket,
        peer,
        ..
    } = bench;
    let worker = std::thread::spawn(move || worker.run());
    peer.post_recv(0, &[]).unwrap();
    socket.post_send(3, &[], SendFlags::default()).unwrap();
    for id in 0..4 {
        let done = socket.wait(Some(LIMIT)).unwrap();
        assert!(done.is_success() && done.id == id);
    }
    assert!(peer.wait(Some(LIMIT)).unwrap().is_success());
    socket.close().unwrap();
    drop(socket);
    worker.join().unwrap();
}

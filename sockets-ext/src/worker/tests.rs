//! Tests of a worker that no thread runs: the test gives it its turns and its ticks.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Events, Interest, Set, Worker, WorkerHandle, Workers};
use crate::connect::DdpMode;
use crate::{
    Domain, End, Options, Region, Rights, SendFlags, SettingUp, Socket, Status, WaitError,
};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A worker that no thread runs, and options for sockets that it serves.
fn worker(domain: &Domain) -> (Worker, Options) {
    let worker = Worker::make().unwrap();
    let workers = Workers(Arc::new(Set {
        handles: vec![WorkerHandle(Arc::clone(&worker.shared))],
        next: AtomicUsize::new(0),
    }));
    let options = Options::new(domain).workers(&workers);
    (worker, options)
}

impl Worker {
    /// Whether a socket asks for a turn.
    fn is_asked(&self) -> bool {
        !self.shared.run.ring().is_empty()
    }
}

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
        let (near, far) = (Domain::new(), Domain::new());
        let (mut worker, options) = worker(&near);
        let target = far.register(vec![0; LEN], Rights::REMOTE_WRITE).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
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
        let (socket, peer) = (setup.into_socket(), responder.join().unwrap());
        // When the peer has been heard, the worker has no deadline to keep.
        socket.post_recv(0, &[]).unwrap();
        peer.post_send(0, &[], SendFlags::default()).unwrap();
        while socket.completion_queue().poll_one().is_none() {
            worker.round(&mut events);
        }
        assert!(peer.wait(Some(LIMIT)).unwrap().is_success());
        worker.run_queue();
        assert!(!worker.is_asked() && worker.timers.is_empty());
        Self {
            worker,
            domain: near,
            socket,
            peer,
            target,
        }
    }

    /// Posts a Write that the caller does not send itself.
    fn leave(&self, id: u64) {
        let source = self.domain.register(vec![7; LEN], Rights::empty()).unwrap();
        let (list, target) = ([source.slice(..).unwrap()], self.target.remote().unwrap());
        self.socket.post_write(id, &list, target).unwrap();
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
    // It has looked before the first tick, and not after it.
    for id in 0..3 {
        bench.leave(id);
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

#[test]
fn what_is_left_at_a_socket_goes_to_the_worker_when_its_caller_waits_at_another() {
    let mut bench = Bench::new();
    bench.look();
    bench.leave(0);
    assert!(!bench.worker.is_asked(), "it is left to the next tick");
    let waited = bench.peer.wait(Some(Duration::from_millis(1)));
    assert_eq!(waited, Err(WaitError::TimedOut));
    assert!(
        bench.worker.is_asked(),
        "there may be no tick for it any more"
    );
    let before = bench.socket.stats().fpdus_sent;
    bench.worker.run_queue();
    assert!(bench.socket.stats().fpdus_sent > before);
    assert!(!bench.socket.link().attendance.is_taken());
}

#[test]
fn a_receive_posted_while_a_set_up_is_under_way_asks_for_a_turn() {
    // The connection may have ended since its caller has looked; then it is flushed by that turn.
    let (mut worker, options) = worker(&Domain::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let setup = SettingUp::initiator(tcp, &options).unwrap();
    setup.post_recv(0, &[]).unwrap();
    assert!(!worker.is_asked(), "the worker is not to know of it yet");
    setup.begin();
    worker.run_queue();
    assert!(!worker.is_asked());
    setup.post_recv(1, &[]).unwrap();
    assert!(worker.is_asked());
    drop(listener);
    let mut events = Events::new();
    while setup.outcome().is_none() {
        worker.round(&mut events);
    }
    let socket = setup.into_socket();
    let done = || socket.completion_queue().poll_one();
    let (first, second) = (done().unwrap(), done().unwrap());
    assert_eq!((first.id, second.id), (0, 1));
    assert_eq!(
        (first.status, second.status),
        (Status::Flushed, Status::Flushed)
    );
    assert_eq!(done(), None);
}

#[test]
fn a_socket_that_cannot_be_given_back_ends_at_once() {
    for waits in [true, false] {
        let mut bench = Bench::new();
        let link = Arc::clone(bench.socket.link());
        let tcp = link.socket().unwrap();
        let token = link.token().unwrap();
        // The poll refuses a socket that it has.
        let spoil = || link.poll().add(&*tcp, token, Interest::INPUT);
        bench.socket.post_recv(0, &[]).unwrap();
        assert!(!bench.worker.is_asked());
        if waits {
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| bench.socket.wait(Some(LIMIT)));
                while spoil().is_err() {
                    std::thread::yield_now();
                }
                let sent = bench.peer.post_send(0, &[], SendFlags::default());
                sent.unwrap();
                assert!(waiter.join().unwrap().unwrap().is_success());
            });
        } else {
            bench.look();
            spoil().unwrap();
            // At another socket it gives back what it has taken here.
            let waited = bench.peer.wait(Some(Duration::from_millis(1)));
            assert_eq!(waited, Err(WaitError::TimedOut));
        }
        assert!(bench.worker.is_asked());
        bench.worker.run_queue();
        assert_eq!(bench.socket.end(), Some(End::Lost), "waits: {waits}");
    }
}

#[test]
fn a_socket_whose_room_cannot_be_waited_for_ends_at_once() {
    let mut bench = Bench::new();
    bench.look();
    let link = Arc::clone(bench.socket.link());
    let tcp = link.socket().unwrap();
    // So TCP is soon full; and the poll refuses a socket that it has.
    socket2::SockRef::from(&*tcp)
        .set_send_buffer_size(1)
        .unwrap();
    let token = link.token().unwrap();
    link.poll().add(&*tcp, token, Interest::INPUT).unwrap();
    drop(tcp);
    for id in 0..50 {
        assert!(!bench.worker.is_asked());
        bench.leave(id);
        assert_eq!(bench.socket.poll(), None);
        if bench.worker.is_asked() {
            break;
        }
    }
    bench.worker.run_queue();
    assert_eq!(bench.socket.end(), Some(End::Lost));
}

#[test]
fn whoever_sleeps_on_a_socket_that_ends_is_woken() {
    let mut bench = Bench::new();
    let kept = bench.socket.link().socket().unwrap();
    bench.socket.abort();
    bench.worker.run_queue();
    assert_eq!(bench.socket.end(), Some(End::Aborted));
    let mut ask = [PollFd::new(kept.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ask, PollTimeout::ZERO), Ok(1));
    // And nothing has been sent that would look like a proper end.
    assert_eq!(bench.peer.end(), None);
    drop(kept);
    let end = bench.peer.wait(Some(LIMIT));
    assert_eq!(end, Err(WaitError::Over(End::Lost)));
}

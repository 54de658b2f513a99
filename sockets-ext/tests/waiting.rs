//! Waiting for completions: in the caller's own poll and epoll, with a timeout, from several threads, and for the end.

mod common;

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use common::{LIMIT, Node, eventually, pair, pair_with};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use uwarp::{CompletionQueue, End, PostError, SendFlags, WaitError};

fn patience() -> u16 {
    u16::try_from(LIMIT.as_millis()).unwrap()
}

fn polled(descriptor: BorrowedFd<'_>, timeout: impl Into<PollTimeout>) -> bool {
    let mut watched = [PollFd::new(descriptor, PollFlags::POLLIN)];
    poll(&mut watched, timeout).unwrap() == 1
}

fn send(node: &Node, count: u64) {
    for id in 0..count {
        let flags = SendFlags::default();
        node.socket.post_send(id, &[], flags).unwrap();
    }
}

fn receive(node: &Node, count: u64) {
    for id in 0..count {
        node.socket.post_recv(id, &[]).unwrap();
    }
}

/// Whether the descriptor falls silent once everything has been taken. It may be readable a moment longer, while the
/// worker that has made it so has not finished saying so.
fn falls_silent(node: &Node) {
    let descriptor = node.socket.completion_descriptor().unwrap();
    eventually("silent", || {
        assert_eq!(node.socket.poll(), None);
        !polled(descriptor, 0u8)
    });
}

#[test]
fn poll_says_when_completions_wait() {
    let (client, server) = pair();
    let descriptor = server.socket.completion_descriptor().unwrap();
    receive(&server, 2);
    assert!(!polled(descriptor, 0u8));
    send(&client, 1);
    assert!(polled(descriptor, patience()));
    assert!(polled(descriptor, 0u8), "as long as nobody takes it");
    assert_eq!(server.socket.poll().unwrap().id, 0);
    falls_silent(&server);
    send(&client, 1);
    assert!(polled(descriptor, patience()));
    assert_eq!(server.socket.poll().unwrap().id, 1);
}

#[test]
fn epoll_says_when_completions_wait() {
    let (client, server) = pair();
    receive(&server, 3);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let event = EpollEvent::new(EpollFlags::EPOLLIN, 7);
    epoll
        .add(server.socket.completion_descriptor().unwrap(), event)
        .unwrap();
    let mut events = [EpollEvent::empty(); 4];
    assert_eq!(epoll.wait(&mut events, EpollTimeout::ZERO), Ok(0));
    for id in 0..3 {
        send(&client, 1);
        assert_eq!(epoll.wait(&mut events, patience()), Ok(1));
        assert_eq!(events[0].data(), 7);
        assert_eq!(server.socket.poll().unwrap().id, id);
        falls_silent(&server);
        assert_eq!(epoll.wait(&mut events, EpollTimeout::ZERO), Ok(0));
    }
}

#[test]
fn the_descriptor_also_tells_of_the_end() {
    let (client, server) = pair();
    let descriptor = server.socket.completion_descriptor().unwrap();
    client.socket.abort();
    while server.socket.end().is_none() {
        assert!(polled(descriptor, patience()));
        assert_eq!(server.socket.poll(), None);
    }
    assert_eq!(server.socket.end(), Some(End::Lost));
}

#[test]
fn one_descriptor_serves_all_sockets_of_a_queue() {
    let queue = CompletionQueue::new(100);
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            pair_with(
                |options| options,
                |options| options.completion_queue(&queue),
            )
        })
        .collect();
    let descriptor = queue.descriptor().unwrap();
    for (client, server) in &nodes {
        receive(server, 1);
        assert!(!polled(descriptor, 0u8));
        send(client, 1);
        assert!(polled(descriptor, patience()));
        assert_eq!(queue.poll_one().unwrap().socket, server.socket.id());
        falls_silent(server);
    }
}

#[test]
fn a_wait_ends_with_its_time_and_not_before() {
    let (client, _server) = pair();
    assert_eq!(
        client.socket.wait(Some(Duration::ZERO)),
        Err(WaitError::TimedOut)
    );
    for millis in [1, 30, 300] {
        let (start, time) = (Instant::now(), Duration::from_millis(millis));
        assert_eq!(client.socket.wait(Some(time)), Err(WaitError::TimedOut));
        assert!(start.elapsed() >= time);
    }
}

#[test]
fn each_completion_reaches_one_of_several_waiters_and_the_end_all() {
    let (client, server) = pair();
    let total = 2_000;
    let taken: Vec<u64> = thread::scope(|scope| {
        let waiters = [(); 3].map(|()| {
            scope.spawn(|| {
                let mut taken = Vec::new();
                loop {
                    match server.socket.wait(Some(LIMIT)) {
                        Ok(completion) => {
                            assert!(completion.is_success());
                            taken.push(completion.id);
                        }
                        Err(WaitError::Over(end)) => break (taken, end),
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        for id in 0..total {
            // What is sent may be far ahead of what has been taken.
            while server.socket.post_recv(id, &[]) == Err(PostError::Full) {
                thread::yield_now();
            }
            let flags = SendFlags::default();
            client.socket.post_send(id, &[], flags).unwrap();
            client.done(id);
        }
        // All receives have completed once the closing has been seen.
        client.socket.shutdown().unwrap();
        server.socket.close().unwrap();
        let each = waiters.map(|waiter| waiter.join().unwrap());
        let ends = each.each_ref().map(|(_, end)| end.clone());
        assert_eq!(ends, [End::Graceful, End::Graceful, End::Graceful]);
        each.into_iter().flat_map(|(taken, _)| taken).collect()
    });
    let mut taken = taken;
    taken.sort_unstable();
    assert_eq!(taken, (0..total).collect::<Vec<_>>());
}

#[test]
fn waiters_are_woken_by_the_end() {
    let (client, server) = pair();
    thread::scope(|scope| {
        let waiters = [(); 2].map(|()| scope.spawn(|| server.socket.wait(Some(LIMIT))));
        thread::sleep(Duration::from_millis(50));
        client.socket.abort();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(WaitError::Over(End::Lost)));
        }
    });
}

/// What is posted at the very moment of the end is flushed, and the end is told after that and not before.
#[test]
fn the_end_is_told_last_even_if_something_is_posted_meanwhile() {
    for round in 0..60 {
        let options = |options: uwarp::Options| options.receive_queue(4096);
        let (near, far) = pair_with(|options| options, options);
        let closing = thread::spawn(move || {
            near.socket.close().unwrap();
        });
        let mut posted = 0;
        let mut taken = 0;
        loop {
            match far.socket.post_recv(posted, &[]) {
                Ok(()) => posted += 1,
                Err(PostError::Full) => taken += u64::from(far.socket.poll().is_some()),
                Err(PostError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
            if far.socket.end().is_some() {
                break;
            }
        }
        let (rest, end) = far.to_the_end();
        assert_eq!(end, End::Graceful);
        assert_eq!(taken + rest.len() as u64, posted, "round {round}");
        closing.join().unwrap();
    }
}

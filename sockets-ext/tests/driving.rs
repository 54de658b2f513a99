//! Who drives a connection: callers that post, wait and poll, and the worker when they have gone.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::raw::{RawPeer, write_segment};
use common::{LIMIT, Node, contents, eventually, listen, pair, pair_with, remote};
use uwarp::{
    Completion, CompletionQueue, Domain, End, Options, PostError, Rights, SendFlags, WaitError,
};

/// More waits or polls than make a habit.
const HABIT: u64 = 40;

/// How a program gets its completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Wait,
    Poll,
}

impl Way {
    fn next(self, node: &Node) -> Completion {
        if self == Self::Wait {
            return node.next();
        }
        let mut next = None;
        let polled = || {
            next = node.socket.poll();
            next.is_some()
        };
        // Without a rest, so that it becomes a habit.
        let mut polled = polled;
        while !polled() {
            std::hint::spin_loop();
        }
        next.unwrap()
    }
}

fn send(node: &Node, id: u64) {
    let posted = node.socket.post_send(id, &[], SendFlags::default());
    posted.unwrap();
}

/// Sends there and back, so often that both ends' callers are known to come back.
fn get_used(client: &Node, server: &Node, way: Way) {
    for id in 0..HABIT {
        server.socket.post_recv(id, &[]).unwrap();
    }
    // Until a receive has completed; returns how many Sends have.
    let next_receive = |node: &Node, id| (0..).find(|_| way.next(node).id == id).unwrap_or(0);
    let mut sent = [0, 0];
    let [by_client, by_server] = &mut sent;
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..HABIT {
                *by_server += next_receive(server, id);
                send(server, 1000);
            }
        });
        for id in 0..HABIT {
            client.socket.post_recv(id, &[]).unwrap();
            send(client, 1000);
            *by_client += next_receive(client, id);
        }
    });
    for (node, sent) in [client, server].into_iter().zip(sent) {
        for _ in sent..HABIT {
            assert_eq!(node.next().id, 1000);
        }
    }
}

#[test]
fn a_caller_that_goes_away_is_missed_by_nobody() {
    for way in [Way::Wait, Way::Poll] {
        let (client, server) = pair();
        get_used(&client, &server, way);
        // The server's callers are gone; its memory is read and written all the same.
        let target = server.shared(vec![7; 64], Rights::REMOTE_READ | Rights::REMOTE_WRITE);
        let local = client.local(vec![0; 64]);
        let list = [local.slice(..).unwrap()];
        for id in 2000..2010 {
            client.socket.post_read(id, &list, remote(&target)).unwrap();
            while client.next().id != id {}
        }
        assert_eq!(contents(&local), [7; 64]);
        client.socket.close().unwrap();
        while server.socket.end().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(server.socket.end(), Some(End::Graceful));
    }
}

#[test]
fn requests_of_a_caller_that_goes_away_are_sent() {
    for way in [Way::Wait, Way::Poll] {
        let (client, server) = pair();
        get_used(&client, &server, way);
        let target = server.shared(vec![0; 80], Rights::REMOTE_WRITE);
        let local = client.local((0..80).collect::<Vec<u8>>());
        for at in 0..10 {
            let part = [local.slice(at * 8..at * 8 + 8).unwrap()];
            let place = remote(&target).slice(at as u32 * 8, 8).unwrap();
            client.socket.post_write(at as u64, &part, place).unwrap();
        }
        // Nobody calls on either end.
        eventually("the last Write", || contents(&target) == contents(&local));
    }
}

#[test]
fn a_peer_that_never_rests_keeps_no_caller_and_no_worker() {
    let domain = Domain::new();
    let region = domain.register(vec![0; 8], Rights::REMOTE_WRITE).unwrap();
    let listener = listen(&Options::new(&domain));
    let (mut peer, socket) = thread::scope(|scope| {
        let accepted = scope.spawn(|| listener.accept_timeout(LIMIT).unwrap().accept(b"").unwrap());
        let peer = RawPeer::connect(listener.local_addr(), true);
        (peer, accepted.join().unwrap())
    });
    let place = remote(&region);
    let write = peer.frame(&write_segment(place.stag.0, place.to, &[1; 8]));
    // To place these takes far longer than to send them, so there are always more.
    let writes = write.repeat((1 << 20) / write.len());
    let (waits, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            eventually("the wait", || waits.load(Ordering::Relaxed));
            // It is asleep by now, or soon.
            thread::sleep(Duration::from_millis(10));
            let began = Instant::now();
            while !done.load(Ordering::Relaxed) && began.elapsed() < 2 * LIMIT {
                peer.send(&writes);
            }
            done.load(Ordering::Relaxed)
        });
        waits.store(true, Ordering::Relaxed);
        for _ in 0..5 {
            let waited = socket.wait(Some(Duration::from_millis(50)));
            assert_eq!(waited, Err(WaitError::TimedOut));
        }
        assert_eq!(contents(&region), [1; 8]);
        assert!(!writer.is_finished(), "the caller was kept until the end");
        // Nobody but the worker drives these.
        let (client, server) = pair();
        let target = server.shared(vec![0; 8], Rights::REMOTE_WRITE);
        let local = client.local(vec![2; 8]);
        let list = [local.slice(..).unwrap()];
        client.socket.post_write(1, &list, remote(&target)).unwrap();
        eventually("a Write at another socket", || contents(&target) == [2; 8]);
        done.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap(), "the worker was kept until the end");
    });
}

#[test]
fn a_caller_sleeps_when_the_peer_has_said_its_last() {
    let (client, server) = pair_with(|options| options.half_close(true), |options| options);
    server.socket.shutdown().unwrap();
    eventually("the peer's FIN", || client.socket.peer_closed());
    // A deadline for each wait, and a busy one would use all of it.
    let (wall, before) = (Instant::now(), processor_time());
    let waited = client.socket.wait(Some(Duration::from_secs(1)));
    assert_eq!(waited, Err(WaitError::TimedOut));
    let (wall, busy) = (wall.elapsed(), processor_time() - before);
    assert!(busy * 2 < wall, "{busy:?} of {wall:?}");
}

#[test]
fn a_caller_that_looks_again_and_again_keeps_the_time() {
    // A responder that says nothing is reminded, after 50 ms and 250 ms (tests/tests/reminder.rs).
    let (client, server) = pair();
    let reminded = || (server.socket.stats().fpdus_received >= 3).then_some(());
    assert_eq!(client.socket.spin_until(Some(LIMIT), reminded), Ok(()));
}

#[test]
fn a_reset_behind_the_peers_last_word_is_noticed() {
    for spins in [true, false] {
        let (client, server) = pair_with(|options| options, |options| options.half_close(true));
        get_used(&client, &server, Way::Wait);
        client.socket.shutdown().unwrap();
        eventually("the peer's FIN", || server.socket.peer_closed());
        let begun = AtomicBool::new(false);
        let begins = || {
            begun.store(true, Ordering::Relaxed);
            None::<()>
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                eventually("a look", || begun.load(Ordering::Relaxed));
                // So that the look has become a habit, or a sleep.
                thread::sleep(Duration::from_millis(20));
                client.socket.abort();
            });
            let outcome = if spins {
                server.socket.spin_until(Some(LIMIT), begins)
            } else {
                begins();
                server.socket.wait(Some(LIMIT)).map(drop)
            };
            assert_eq!(outcome, Err(WaitError::Over(End::Lost)), "spins: {spins}");
        });
    }
}

/// What this thread has computed.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = stat.split(' ').next().unwrap();
    Duration::from_nanos(nanoseconds.parse().unwrap())
}

#[test]
fn one_thread_serves_two_sockets() {
    let (client, server) = pair();
    let (one, other) = pair();
    for round in 0..200 {
        for (near, far) in [(&client, &server), (&other, &one)] {
            far.socket.post_recv(round, &[]).unwrap();
            send(near, round);
            far.done(round);
            near.done(round);
        }
    }
}

#[test]
fn memory_that_the_peer_writes_to_can_be_spun_on() {
    let (client, server) = pair();
    let (near, far) = (
        client.shared(vec![0; 8], Rights::REMOTE_WRITE),
        server.shared(vec![0; 8], Rights::REMOTE_WRITE),
    );
    let echo = |node: &Node, from: &uwarp::Region, to: uwarp::RemoteRegion, value: u64| {
        let source = node.local(value.to_ne_bytes().to_vec());
        let list = [source.slice(..).unwrap()];
        node.socket.post_write(value, &list, to).unwrap();
        // The peer may be one ahead.
        let seen = || {
            let now = u64::from_ne_bytes(contents(from).try_into().unwrap());
            (now >= value).then(|| now - value)
        };
        let ahead = node.socket.spin_until(Some(LIMIT), seen).unwrap();
        assert!(ahead <= 1);
        node.done(value);
    };
    let (to_far, to_near) = (remote(&far), remote(&near));
    thread::scope(|scope| {
        scope.spawn(|| (1..200).for_each(|value| echo(&server, &far, to_near, value)));
        (1..200).for_each(|value| echo(&client, &near, to_far, value));
    });
    let never = || None::<()>;
    let (short, timed_out) = (Duration::from_millis(5), Err(WaitError::TimedOut));
    assert_eq!(client.socket.spin_until(Some(short), never), timed_out);
    server.socket.abort();
    let over = Err(WaitError::Over(End::Lost));
    assert_eq!(client.socket.spin_until(Some(LIMIT), never), over);
}

#[test]
fn threads_that_post_and_threads_that_wait_share_a_socket() {
    let total = 3_000;
    let busy = Duration::from_micros(50);
    for options in [None, Some(Duration::ZERO), Some(busy)] {
        let chosen = |base: uwarp::Options| match options {
            Some(time) => base.busy_poll(time),
            None => base,
        };
        let (client, server) = pair_with(chosen, chosen);
        let region = server.shared(vec![0; 8], Rights::REMOTE_WRITE);
        let (local, target) = (client.local(vec![1; 8]), remote(&region));
        thread::scope(|scope| {
            for poster in 0..2 {
                let (client, local) = (&client, &local);
                scope.spawn(move || {
                    for turn in 0..total {
                        let list = [local.slice(..).unwrap()];
                        let id = turn * 2 + poster;
                        while client.socket.post_write(id, &list, target) == Err(PostError::Full) {
                            thread::yield_now();
                        }
                    }
                });
            }
            let waiters = [(); 2]
                .map(|()| scope.spawn(|| (0..total).map(|_| client.next().id).collect::<Vec<_>>()));
            let mut done: Vec<_> = waiters
                .into_iter()
                .flat_map(|waiter| waiter.join().unwrap())
                .collect();
            done.sort_unstable();
            assert_eq!(done, (0..2 * total).collect::<Vec<_>>());
        });
        client.socket.close().unwrap();
    }
}

#[test]
fn threads_that_poll_one_full_queue_lose_nothing() {
    // One of them may be in the midst of taking while the others empty the queue and it fills anew.
    let (total, queue) = (20_000, CompletionQueue::new(3));
    let (client, server) = pair_with(
        |options| options.completion_queue(&queue),
        |options| options,
    );
    let region = server.shared(vec![0; 8], Rights::REMOTE_WRITE);
    let (local, target) = (client.local(vec![1; 8]), remote(&region));
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        let pollers = [(); 3].map(|()| {
            scope.spawn(|| {
                let mut mine = Vec::new();
                while taken.load(Ordering::Relaxed) < total {
                    match queue.poll_one() {
                        Some(completion) => {
                            taken.fetch_add(1, Ordering::Relaxed);
                            mine.push(completion.id);
                        }
                        None => thread::yield_now(),
                    }
                }
                mine
            })
        });
        for id in 0..total {
            let list = [local.slice(..).unwrap()];
            while client.socket.post_write(id, &list, target) == Err(PostError::Full) {
                thread::yield_now();
            }
        }
        let mut done: Vec<_> = (pollers.into_iter())
            .flat_map(|poller| poller.join().unwrap())
            .collect();
        done.sort_unstable();
        assert_eq!(done, (0..total).collect::<Vec<_>>());
    });
}

#[test]
fn what_is_accepted_while_the_connection_ends_completes_once() {
    let mut total = 0;
    for round in 0..60 {
        let (client, server) = pair();
        total += thread::scope(|scope| {
            let posters = [0, 1].map(|which| {
                let socket = &client.socket;
                scope.spawn(move || {
                    let mut accepted = Vec::new();
                    for id in (which..).step_by(2) {
                        // Sends without a receive end the connection, too.
                        let posted = match (which, round % 3) {
                            (1, 0) => socket.post_send(id, &[], SendFlags::default()),
                            _ => socket.post_recv(id, &[]),
                        };
                        match posted {
                            Ok(()) => accepted.push(id),
                            Err(PostError::Full) => thread::yield_now(),
                            Err(_) => return accepted,
                        }
                    }
                    accepted
                })
            });
            // Not always at the same time.
            (0..round * 10).for_each(|_| thread::yield_now());
            match round % 3 {
                0 => {}
                1 => server.socket.abort(),
                _ => client.socket.abort(),
            }
            let mut seen = Vec::new();
            loop {
                match client.socket.wait(Some(LIMIT)) {
                    Ok(completion) => seen.push(completion.id),
                    Err(WaitError::Over(_)) => break,
                    Err(error) => panic!("{error:?} after {} completions", seen.len()),
                }
            }
            let mut accepted: Vec<u64> = posters
                .into_iter()
                .flat_map(|poster| poster.join().unwrap())
                .collect();
            // What was posted by a call that had not returned when the end was told.
            eventually("the last completions", || {
                seen.extend(std::iter::from_fn(|| client.socket.poll()).map(|done| done.id));
                seen.len() == accepted.len()
            });
            seen.sort_unstable();
            accepted.sort_unstable();
            assert_eq!(seen, accepted);
            accepted.len()
        });
    }
    assert!(total > 0);
}

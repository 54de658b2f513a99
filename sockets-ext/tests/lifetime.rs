//! How connections end: closing with work outstanding, dropping, aborting, half closing, deregistering, and nothing
//! left behind.

mod common;

use std::thread;
use std::time::Duration;

use common::again::{self, Actor};
use common::{LIMIT, contents, eventually, listen, noise, pair, pair_with, remote};
use uwarp::{
    Completion, DdpMode, Domain, End, Incoming, Keepalive, Options, PostError, Rights, SendFlags,
    Socket, Status, WaitError, connect,
};

fn ids(completions: &[Completion], status: Status) -> Vec<u64> {
    assert!(completions.iter().all(|done| done.status == status));
    completions.iter().map(|done| done.id).collect()
}

#[test]
fn closing_finishes_what_is_posted() {
    let (client, server) = pair();
    let source = client.local(noise(1 << 20, 1));
    let target = server.shared(vec![0; 1 << 20], Rights::REMOTE_WRITE | Rights::REMOTE_READ);
    let sink = client.local(vec![0; 1 << 20]);
    let (from, to) = ([source.slice(..).unwrap()], [sink.slice(..).unwrap()]);
    server.socket.post_recv(50, &[]).unwrap();
    for id in 0..8 {
        let posted = client.socket.post_write(id, &from, remote(&target));
        posted.unwrap();
    }
    client.socket.post_read(8, &to, remote(&target)).unwrap();
    let flags = SendFlags::default();
    client.socket.post_send(9, &[], flags).unwrap();
    let (closed, other) = thread::scope(|scope| {
        let other = scope.spawn(|| {
            server.done(50);
            server.socket.close()
        });
        (client.socket.close(), other.join().unwrap())
    });
    assert_eq!((closed, other), (Ok(()), Ok(())));
    let (completions, end) = client.to_the_end();
    assert_eq!(
        ids(&completions, Status::Success),
        (0..10).collect::<Vec<_>>()
    );
    assert_eq!(end, End::Graceful);
    assert_eq!(contents(&sink), contents(&source));
    assert_eq!(contents(&target), contents(&source));
}

/// A Write and a Send are posted to `from`, and the handle is dropped at once: both arrive at `to`.
fn arrives_although_dropped(from: Socket, domain: &Domain, to: &Socket, target: &uwarp::Region) {
    let octets = noise(target.len(), 3);
    let source = domain.register(octets.clone(), Rights::empty()).unwrap();
    let list = [source.slice(..).unwrap()];
    from.post_write(1, &list, remote(target)).unwrap();
    from.post_send(2, &[], SendFlags::default()).unwrap();
    drop((from, list, source));
    let received = to.wait(Some(LIMIT)).unwrap();
    assert!(received.is_success(), "{received:?}");
    assert_eq!(contents(target), octets);
    assert_eq!(to.close(), Ok(()));
}

#[test]
fn work_goes_out_although_the_initiator_is_dropped() {
    let (client, server) = pair();
    let target = server.shared(vec![0; 3 << 20], Rights::REMOTE_WRITE);
    server.socket.post_recv(1, &[]).unwrap();
    arrives_although_dropped(client.socket, &client.domain, &server.socket, &target);
}

#[test]
fn work_goes_out_although_the_responder_is_dropped_before_it_may_speak() {
    for _ in 0..20 {
        let (near, far) = (Domain::new(), Domain::new());
        let listener = listen(&Options::new(&near));
        let address = listener.local_addr();
        let target = far
            .register(vec![0; 100_000], Rights::REMOTE_WRITE)
            .unwrap();
        let description = remote(&target);
        let server = thread::spawn(move || {
            let socket = listener.accept_timeout(LIMIT).unwrap().accept(b"").unwrap();
            let source = near.register(noise(100_000, 3), Rights::empty()).unwrap();
            let list = [source.slice(..).unwrap()];
            // The initiator posts its receive in the meantime; until then it says nothing.
            socket.post_write(1, &list, description).unwrap();
        });
        let socket = connect(address, &Options::new(&far)).unwrap();
        server.join().unwrap();
        assert_eq!(socket.close(), Ok(()));
        assert_eq!(contents(&target), noise(100_000, 3));
    }
}

#[test]
fn aborting_flushes_both_ends_in_the_order_of_posting() {
    for _ in 0..20 {
        let (client, server) = pair();
        let post = |ids: std::ops::Range<u64>| {
            for id in ids {
                server.socket.post_recv(id, &[]).unwrap();
                client.socket.post_recv(id, &[]).unwrap();
            }
        };
        // The worker has seen some of what is posted, and most likely not all of it, when it is told to abort.
        post(0..5);
        thread::sleep(Duration::from_millis(1));
        post(5..10);
        client.socket.abort();
        for (node, expected) in [(&client, End::Aborted), (&server, End::Lost)] {
            let (completions, end) = node.to_the_end();
            let posted: Vec<_> = (0..10).collect();
            assert_eq!(ids(&completions, Status::Flushed), posted);
            assert_eq!(end, expected);
        }
        let closed = client.socket.close();
        assert_eq!(closed, Err(WaitError::Over(End::Aborted)));
        assert_eq!(client.socket.post_recv(1, &[]), Err(PostError::Closed));
    }
}

#[test]
fn after_half_closing_the_other_half_works() {
    let (client, server) = pair_with(|options| options, |options| options.half_close(true));
    let inbox = client.local(vec![0; 4]);
    client
        .socket
        .post_recv(1, &[inbox.slice(..).unwrap()])
        .unwrap();
    assert!(!server.socket.peer_closed());
    client.socket.shutdown().unwrap();
    eventually("closed", || server.socket.peer_closed());
    assert_eq!(server.socket.end(), None);
    let words = server.local(b"late".to_vec());
    let list = [words.slice(..).unwrap()];
    let flags = SendFlags::default();
    server.socket.post_send(2, &list, flags).unwrap();
    server.done(2);
    client.done(1);
    assert_eq!(contents(&inbox), b"late");
    assert_eq!(client.socket.end(), None);
    server.socket.close().unwrap();
    assert_eq!(client.to_the_end(), (vec![], End::Graceful));
}

#[test]
fn a_receive_is_flushed_when_the_peer_has_closed() {
    let (client, server) = pair();
    server.socket.post_recv(1, &[]).unwrap();
    client.socket.shutdown().unwrap();
    let completion = server.next();
    assert_eq!((completion.id, completion.status), (1, Status::Flushed));
    server.socket.close().unwrap();
}

#[test]
fn a_peer_that_does_not_close_is_given_up() {
    let patience = Duration::from_millis(200);
    let (client, server) = pair_with(
        |options| options.close_timeout(patience),
        |options| options.half_close(true),
    );
    client.socket.post_recv(1, &[]).unwrap();
    let closed = client.socket.close();
    assert_eq!(closed, Err(WaitError::Over(End::CloseTimeout)));
    let (completions, _) = client.to_the_end();
    assert_eq!(ids(&completions, Status::Flushed), [1]);
    assert_eq!(server.to_the_end().1, End::Lost);
}

#[test]
fn memory_in_use_is_kept_until_the_work_is_done() {
    let (client, server) = pair();
    let inbox = server.local(vec![0; 3]);
    let list = [inbox.slice(..).unwrap()];
    server.socket.post_recv(1, &list).unwrap();
    drop(list);
    let refused = inbox.deregister().unwrap_err();
    assert!(refused.uses > 0);
    let text = refused.to_string();
    assert!(text.contains("wait for their completions"), "{text}");
    let inbox = refused.region;
    let words = client.local(b"now".to_vec());
    let list = [words.slice(..).unwrap()];
    let flags = SendFlags::default();
    client.socket.post_send(2, &list, flags).unwrap();
    server.done(1);
    client.done(2);
    assert_eq!(inbox.deregister().unwrap().into_vec(), b"now");
    drop(list);
    assert_eq!(words.deregister().unwrap().into_vec(), b"now");
}

#[test]
fn the_end_flushes_and_frees_the_memory() {
    let (client, server) = pair();
    let inbox = server.local(vec![0; 3]);
    server
        .socket
        .post_recv(1, &[inbox.slice(..).unwrap()])
        .unwrap();
    client.socket.abort();
    let (completions, _) = server.to_the_end();
    assert_eq!(ids(&completions, Status::Flushed), [1]);
    assert_eq!(inbox.deregister().unwrap().into_vec(), [0; 3]);
}

#[test]
fn a_dead_peer_will_be_looked_for() {
    let keepalive = Keepalive {
        idle: Duration::from_secs(7),
        interval: Duration::from_secs(3),
        probes: 2,
        unacknowledged: Duration::from_secs(13),
    };
    for wanted in [Some(keepalive), None] {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let far = tcp.accept().unwrap().0;
        let seen = near.try_clone().unwrap();
        let seen = socket2::SockRef::from(&seen);
        assert!(!seen.keepalive().unwrap(), "untouched before");
        let options = Options::new(&Domain::new()).keepalive(wanted);
        let other = thread::spawn(move || {
            let options = Options::new(&Domain::new());
            far.await_ddp_mode(&options)
                .and_then(|it: Incoming| it.accept(b""))
        });
        let socket = near.set_ddp_mode(&options).unwrap();
        assert_eq!(seen.keepalive().unwrap(), wanted.is_some());
        if let Some(wanted) = wanted {
            assert_eq!(seen.tcp_keepalive_time().unwrap(), wanted.idle);
            assert_eq!(seen.tcp_keepalive_interval().unwrap(), wanted.interval);
            assert_eq!(seen.tcp_keepalive_retries().unwrap(), wanted.probes);
            let patience = seen.tcp_user_timeout().unwrap();
            assert_eq!(patience, Some(wanted.unacknowledged));
        }
        drop((socket, other.join().unwrap()));
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Resident memory in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Opens and closes connections, each with a little traffic, in all the ways there are.
fn come_and_go(count: usize) {
    let server_domain = Domain::new();
    let listener = listen(&Options::new(&server_domain));
    let address = listener.local_addr();
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..count {
                let incoming = listener.accept_timeout(LIMIT).unwrap();
                if turn % 4 == 3 {
                    drop(incoming.reject(b"no", None).unwrap());
                    continue;
                }
                incoming.post_recv(1, &[]).unwrap();
                let socket = incoming.accept(b"").unwrap();
                assert!(socket.wait(Some(LIMIT)).is_ok());
                if turn % 4 == 0 {
                    socket.close().unwrap();
                }
            }
        });
        for turn in 0..count {
            let connected = connect(address, &Options::new(&Domain::new()));
            if turn % 4 == 3 {
                assert!(matches!(connected, Err(uwarp::Error::Rejected { .. })));
                continue;
            }
            let socket = connected.unwrap();
            socket.post_send(1, &[], SendFlags::default()).unwrap();
            match turn % 4 {
                0 => socket.close().unwrap(),
                1 => drop(socket),
                _ => {
                    assert!(socket.wait(Some(LIMIT)).is_ok());
                    socket.abort();
                }
            }
        }
    });
}

#[test]
fn thousands_of_connections_leave_nothing_behind() {
    if again::role().is_none() {
        // Alone in a process, since the tests beside this one have descriptors too.
        return Actor::start("thousands_of_connections_leave_nothing_behind", "all").finish();
    }
    come_and_go(400);
    // What has been dropped ends in the background.
    thread::sleep(Duration::from_millis(300));
    let (descriptors, memory) = (open_descriptors(), resident());
    come_and_go(3_000);
    eventually("all descriptors closed", || {
        open_descriptors() <= descriptors
    });
    let grown = resident().saturating_sub(memory);
    assert!(grown < 8 << 10, "{grown} KiB more than before");
}

/// A program that only serves its memory need not attend to its sockets.
#[test]
fn a_socket_closes_when_its_peer_has_closed() {
    let (client, server) = pair();
    client.socket.close().unwrap();
    assert_eq!(server.to_the_end().1, End::Graceful);
}

/// RFC 5041 s6.2.1 (D28): closing has begun as soon as it is asked for.
#[test]
fn nothing_more_is_taken_once_closing_has_begun() {
    let (client, server) = pair_with(|options| options, |options| options.half_close(true));
    let words = client.local(b"late".to_vec());
    let list = [words.slice(..).unwrap()];
    client.socket.shutdown().unwrap();
    let flags = SendFlags::default();
    let refused = client.socket.post_send(1, &list, flags);
    assert_eq!(refused, Err(PostError::Closed));
    server.socket.close().unwrap();
    assert_eq!(client.to_the_end(), (vec![], End::Graceful));
}

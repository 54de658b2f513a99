//! Queues over real sockets: full ones, one shared by several sockets, several workers.

mod common;

use std::collections::HashMap;

use common::{LIMIT, Node, contents, eventually, listen, noise, pair, pair_with, remote};
use uwarp::{
    CompletionQueue, Domain, OperationKind, Options, PostError, Rights, SendFlags, Workers, connect,
};

#[test]
fn a_full_send_queue_loses_nothing() {
    let (client, server) = pair_with(|options| options.send_queue(8), |options| options);
    let source = client.local(noise(1 << 20, 1));
    let target = server.shared(vec![0; 1 << 20], Rights::REMOTE_WRITE);
    let list = [source.slice(..).unwrap()];
    let (mut posted, mut completed) = (0, 0);
    let mut refused = false;
    while completed < 200 {
        if posted < 200 {
            match client.socket.post_write(posted, &list, remote(&target)) {
                Ok(()) => {
                    posted += 1;
                    continue;
                }
                Err(error) => assert_eq!(error, PostError::Full),
            }
            refused = true;
        }
        client.done(completed);
        completed += 1;
    }
    assert!(refused, "the queue was never full");
    assert_eq!(client.socket.poll(), None);
}

#[test]
fn a_full_receive_queue_takes_one_for_each_that_completes() {
    let (client, server) = pair_with(|options| options, |options| options.receive_queue(4));
    for id in 0..4 {
        server.socket.post_recv(id, &[]).unwrap();
    }
    assert_eq!(server.socket.post_recv(4, &[]), Err(PostError::Full));
    let message = PostError::Full.to_string();
    assert!(message.contains("poll completions"), "{message}");
    // A full receive queue does not keep Sends from being posted.
    let flags = SendFlags::default();
    client.socket.post_recv(9, &[]).unwrap();
    server.socket.post_send(8, &[], flags).unwrap();
    server.done(8);
    client.done(9);
    for id in 0..4 {
        client.socket.post_send(id, &[], flags).unwrap();
        assert_eq!(server.done(id).kind, OperationKind::Receive);
        server.socket.post_recv(4 + id, &[]).unwrap();
    }
}

#[test]
fn a_shared_queue_that_is_full_refuses_posts_and_keeps_every_completion() {
    let queue = CompletionQueue::new(4);
    let (client, server) = pair_with(|options| options.completion_queue(&queue), |o| o);
    let target = server.shared(vec![0; 8], Rights::REMOTE_WRITE);
    let source = client.local(vec![1; 8]);
    let list = [source.slice(..).unwrap()];
    for id in 0..4 {
        client
            .socket
            .post_write(id, &list, remote(&target))
            .unwrap();
    }
    // The place is taken until the completion has been, not until the work is done.
    eventually("written", || contents(&target) == [1; 8]);
    let refused = client.socket.post_write(4, &list, remote(&target));
    assert_eq!(refused, Err(PostError::Full));
    for id in 0..4 {
        assert_eq!(queue.wait_one(Some(LIMIT)).unwrap().unwrap().id, id);
    }
    client.socket.post_write(4, &list, remote(&target)).unwrap();
    assert_eq!(queue.wait_one(Some(LIMIT)).unwrap().unwrap().id, 4);
}

/// Writes `count` times in each direction of each pair, and tells by a Send.
fn busy(pairs: &[(Node, Node)], queue: &CompletionQueue, count: u64) {
    let mut expected = HashMap::new();
    let mut kept = Vec::new();
    for (index, (client, server)) in pairs.iter().enumerate() {
        let octets = noise(10_000, index as u64);
        let source = client.local(octets.clone());
        let target = server.shared(vec![0; 10_000], Rights::REMOTE_WRITE);
        server.socket.post_recv(0, &[]).unwrap();
        for id in 0..count {
            let list = [source.slice(..).unwrap()];
            client
                .socket
                .post_write(id, &list, remote(&target))
                .unwrap();
        }
        let last = SendFlags::default();
        client.socket.post_send(count, &[], last).unwrap();
        expected.insert(client.socket.id(), (0, count + 1));
        expected.insert(server.socket.id(), (0, 1));
        kept.push((octets, source, target));
    }
    let mut left: u64 = expected.values().map(|(_, total)| total).sum();
    while left > 0 {
        let Some(completion) = queue.wait_one(Some(LIMIT)).unwrap() else {
            panic!("{left} completions are missing: {expected:?}");
        };
        assert!(completion.is_success());
        // In order of posting for each socket.
        let (next, total) = expected.get_mut(&completion.socket).unwrap();
        assert_eq!(completion.id, *next);
        assert!(*next < *total);
        *next += 1;
        left -= 1;
    }
    assert_eq!(queue.poll_one(), None);
    for (octets, _, target) in &kept {
        assert_eq!(&contents(target), octets);
    }
}

#[test]
fn several_sockets_complete_into_one_queue() {
    let queue = CompletionQueue::new(10_000);
    let pairs: Vec<_> = (0..8)
        .map(|_| {
            pair_with(
                |options| options.completion_queue(&queue),
                |options| options.completion_queue(&queue),
            )
        })
        .collect();
    busy(&pairs, &queue, 100);
}

#[test]
fn several_workers_share_the_sockets() {
    let queue = CompletionQueue::new(10_000);
    let workers = Workers::start(3).unwrap();
    let pairs: Vec<_> = (0..7)
        .map(|_| {
            pair_with(
                |options| options.completion_queue(&queue).workers(&workers),
                |options| options.completion_queue(&queue).workers(&workers),
            )
        })
        .collect();
    // The sockets keep their workers.
    drop(workers);
    busy(&pairs, &queue, 100);
    for (client, server) in &pairs {
        client.socket.shutdown().unwrap();
        server.socket.close().unwrap();
        client.socket.close().unwrap();
    }
}

#[test]
fn several_threads_post_to_one_socket() {
    let (client, server) = pair();
    let target = server.shared(vec![0; 4 * 64], Rights::REMOTE_WRITE);
    std::thread::scope(|scope| {
        for part in 0..4u32 {
            let (client, target) = (&client, &target);
            scope.spawn(move || {
                let source = client.local(vec![part as u8 + 1; 64]);
                let list = [source.slice(..).unwrap()];
                let place = remote(target).slice(part * 64, 64).unwrap();
                for id in 0..250 {
                    eventually("room", || {
                        client.socket.post_write(id, &list, place).is_ok()
                    });
                }
            });
        }
        for _ in 0..1_000 {
            assert!(client.next().is_success());
        }
    });
    let expected: Vec<u8> = (1..=4).flat_map(|part| [part; 64]).collect();
    // The completion tells that the octets are TCP's; the Read that they have arrived.
    let check = server.shared(vec![], Rights::REMOTE_READ);
    let sink = client.local(vec![]);
    let list = [sink.slice(..).unwrap()];
    client.socket.post_read(1, &list, remote(&check)).unwrap();
    client.done(1);
    assert_eq!(contents(&target), expected);
}

#[test]
fn a_receive_posted_before_the_send_is_always_found() {
    // Writes keep the receiving worker busy, so that it has the Send before it has looked at what is posted.
    let workers = Workers::start(2).unwrap();
    let (client, server) = pair_with(|it| it.workers(&workers), |it| it.workers(&workers));
    let source = client.local(noise(300_000, 1));
    let target = server.shared(vec![0; 300_000], Rights::REMOTE_WRITE);
    let list = [source.slice(..).unwrap()];
    let flags = SendFlags::default();
    for round in 0..300 {
        client.socket.post_write(1, &list, remote(&target)).unwrap();
        // Not at the same moment each time.
        let moment = std::time::Instant::now() + std::time::Duration::from_micros(round % 60 * 10);
        while std::time::Instant::now() < moment {
            std::hint::spin_loop();
        }
        for id in 2..6 {
            server.socket.post_recv(id, &[]).unwrap();
            client.socket.post_send(id, &[], flags).unwrap();
        }
        client.done(1);
        for id in 2..6 {
            server.done(id);
            client.done(id);
        }
    }
}

/// However many connections come and go, a shared queue has room for every completion.
#[test]
fn strangers_leave_room_in_a_shared_queue() {
    let queue = CompletionQueue::new(3);
    let domain = Domain::new();
    let listener = listen(&Options::new(&domain).completion_queue(&queue));
    for _ in 0..40 {
        drop(std::net::TcpStream::connect(listener.local_addr()).unwrap());
    }
    let (near, far) = (Domain::new(), domain);
    let inbox = far.register(vec![0; 4], Rights::empty()).unwrap();
    let words = near.register(b"here".to_vec(), Rights::empty()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = connect(listener.local_addr(), &Options::new(&near)).unwrap();
            let list = [words.slice(..).unwrap()];
            socket.post_send(1, &list, SendFlags::default()).unwrap();
            socket.wait(Some(LIMIT)).unwrap();
            socket.close().unwrap();
        });
        let incoming = listener.accept_timeout(LIMIT).unwrap();
        incoming.post_recv(7, &[inbox.slice(..).unwrap()]).unwrap();
        let socket = incoming.accept(b"").unwrap();
        // The end, and its token, come before anything is taken.
        eventually("over", || socket.end().is_some());
        let completion = socket.wait(Some(LIMIT)).unwrap();
        assert_eq!((completion.id, completion.len), (7, 4));
    });
}

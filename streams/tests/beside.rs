//! One-sided operations beside a stream, and streams beside each other.

mod common;

use std::io::ErrorKind;
use std::thread;

use common::{PATIENCE, narrow, pair, pattern, read_to_end, write_all};
use uwarp::{AtomicOperation, PostError, RemoteRegion, Rights};
use uwarp_streams::{StreamOptions, StreamSocket, Wants};

fn finish(end: &StreamSocket, id: u64) -> uwarp::Completion {
    let completion = end.one_sided().wait(Some(PATIENCE)).unwrap().unwrap();
    assert_eq!(completion.id, id);
    assert!(completion.is_success(), "{completion:?}");
    completion
}

/// The server's program does nothing at all, and its ring is full.
#[test]
fn they_make_progress_while_the_stream_is_left_unread() {
    let (client, server) = pair(&narrow());
    let region = server
        .one_sided()
        .domain()
        .register(pattern(10_000, 1), Rights::all())
        .unwrap();
    let remote = region.remote().unwrap();
    while client
        .wait(Wants::WRITABLE, Some(std::time::Duration::from_millis(100)))
        .unwrap()
    {
        let _ = client.try_write(&[std::io::IoSlice::new(&[1; 500])]);
    }
    let beside = client.one_sided();
    let here = beside
        .domain()
        .register(vec![0; 10_000], Rights::empty())
        .unwrap();
    beside
        .post_read(7, &[here.slice(..).unwrap()], remote)
        .unwrap();
    finish(&client, 7);
    let mut octets = vec![0; 10_000];
    here.read_at(0, &mut octets).unwrap();
    assert!(octets == pattern(10_000, 1));

    here.write_at(0, &pattern(10_000, 2)).unwrap();
    beside
        .post_write(u64::MAX, &[here.slice(..).unwrap()], remote)
        .unwrap();
    finish(&client, u64::MAX);
    let word = remote.slice(0, 8).unwrap();
    beside
        .post_atomic(9, AtomicOperation::FetchAdd { add: 0, mask: 0 }, word)
        .unwrap();
    // The answer comes behind the Write.
    assert!(finish(&client, 9).original.is_some());
    region.read_at(0, &mut octets).unwrap();
    assert!(octets == pattern(10_000, 2));
}

#[test]
fn their_queue_is_their_own() {
    let options = StreamOptions {
        one_sided_queue: 2,
        ..StreamOptions::default()
    };
    let (client, server) = pair(&options);
    let region = server
        .one_sided()
        .domain()
        .register(vec![0; 8], Rights::all())
        .unwrap();
    let remote = region.remote().unwrap();
    let beside = client.one_sided();
    let add = AtomicOperation::FetchAdd { add: 1, mask: 0 };
    for id in [1, 2] {
        beside.post_atomic(id, add, remote).unwrap();
    }
    // Nothing has been taken, so that it does not matter how fast the peer is.
    assert_eq!(beside.post_atomic(3, add, remote), Err(PostError::Full));
    write_all(&client, b"the stream has places of its own").unwrap();
    assert!(server.wait(Wants::READABLE, Some(PATIENCE)).unwrap());
    finish(&client, 1);
    beside.post_atomic(3, add, remote).unwrap();
    finish(&client, 2);
    finish(&client, 3);
    client.close(None);
    assert_eq!(beside.post_atomic(4, add, remote), Err(PostError::Closed));
    assert!(client.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
    assert!(beside.wait(None).unwrap().is_none());
}

/// Nobody reaches a stream's regions over another stream, even of the same process.
#[test]
fn streams_do_not_reach_each_others_regions() {
    let ((one, other), (stranger, _held)) = (
        pair(&StreamOptions::default()),
        pair(&StreamOptions::default()),
    );
    let region = other
        .one_sided()
        .domain()
        .register(vec![0; 8], Rights::all())
        .unwrap();
    let remote = RemoteRegion::from_bytes(&region.remote().unwrap().to_bytes());
    for (end, good) in [(&one, true), (&stranger, false)] {
        let beside = end.one_sided();
        let here = beside
            .domain()
            .register(vec![9; 8], Rights::empty())
            .unwrap();
        beside
            .post_read(1, &[here.slice(..).unwrap()], remote)
            .unwrap();
        let completion = beside.wait(Some(PATIENCE)).unwrap().unwrap();
        assert_eq!(completion.is_success(), good);
    }
}

#[test]
fn named_buffers_are_written_to_without_a_word() {
    let options = StreamOptions {
        iomap: 2,
        ..narrow()
    };
    let (client, server) = pair(&options);
    let regions = [1000, 100_000].map(|len| {
        let domain = server.one_sided().domain();
        domain.register(vec![0; len], Rights::REMOTE_WRITE).unwrap()
    });
    assert_eq!(server.map(&regions[0], 0).unwrap(), 0);
    assert_eq!(server.map(&regions[1], 5000).unwrap(), 1);
    let full = server.map(&regions[0], 9).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::OutOfMemory);
    // Whatever comes later than the names.
    write_all(&server, b"!").unwrap();
    assert!(client.wait(Wants::READABLE, Some(PATIENCE)).unwrap());
    let unknown = client.write_mapped(b"x", 1000).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
    for (offset, len) in [(10, 990), (5000, 100_000)] {
        let octets = pattern(len, 8);
        let mut done = 0;
        while done < len {
            match client.write_mapped(&octets[done..], offset + done as u64) {
                Ok(count) => done += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
    write_all(&client, b"done").unwrap();
    assert!(server.wait(Wants::READABLE, Some(PATIENCE)).unwrap());
    for (region, at, len) in [(&regions[0], 10, 990), (&regions[1], 0, 100_000)] {
        let mut octets = vec![0; len];
        region.read_at(at, &mut octets).unwrap();
        assert!(octets == pattern(len, 8));
    }
    server.unmap(0);
    assert_eq!(server.map(&regions[0], 9).unwrap(), 0);
}

#[test]
fn many_streams_at_once() {
    let pairs: Vec<_> = (0..64)
        .map(|index| {
            pair(&if index % 2 == 0 {
                narrow()
            } else {
                StreamOptions::default()
            })
        })
        .collect();
    thread::scope(|scope| {
        for (index, (client, server)) in pairs.iter().enumerate() {
            let octets = pattern(100_000 + 1000 * index, index as u8);
            let there = octets.clone();
            scope.spawn(move || {
                write_all(client, &octets).unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
                assert!(read_to_end(client).unwrap() == octets);
            });
            scope.spawn(move || {
                let got = read_to_end(server).unwrap();
                assert!(got == there);
                write_all(server, &got).unwrap();
                server.close(None);
            });
        }
    });
    for (client, server) in &pairs {
        for end in [client, server] {
            assert!(end.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
            assert_eq!(end.take_error(), None);
        }
    }
}

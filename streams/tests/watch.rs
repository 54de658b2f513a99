//! Programs that act on nothing but what their watch is told.

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;

use common::{PATIENCE, narrow, pattern, tcp, watched_pair};
use uwarp_streams::{Readiness, StreamOptions, StreamSocket, Watch};

/// The last that was told, and how often.
#[derive(Default)]
struct Board {
    told: Mutex<(Readiness, u64)>,
    changed: Condvar,
}

impl Watch for Board {
    fn changed(&self, now: Readiness) {
        let mut told = self.told.lock().unwrap();
        assert_ne!(told.0, now, "told without a change");
        *told = (now, told.1 + 1);
        self.changed.notify_all();
    }
}

impl Board {
    fn wait(&self, mut done: impl FnMut(&Readiness) -> bool) -> Readiness {
        let (told, outcome) = self
            .changed
            .wait_timeout_while(self.told.lock().unwrap(), PATIENCE, |told| !done(&told.0))
            .unwrap();
        assert!(
            !outcome.timed_out(),
            "never told; the last was {:?}",
            told.0
        );
        told.0
    }
}

/// Level-triggered: as long as the last told is not ready, nothing is tried.
#[test]
fn the_last_told_is_the_truth() {
    for options in [StreamOptions::default(), narrow()] {
        let boards = [Arc::new(Board::default()), Arc::new(Board::default())];
        let (client, server) = watched_pair(
            &options,
            Arc::clone(&boards[0]) as _,
            Arc::clone(&boards[1]) as _,
        );
        let octets = pattern(2_000_000, 3);
        thread::scope(|scope| {
            for (end, board) in [&client, &server].into_iter().zip(&boards) {
                let octets = &octets;
                scope.spawn(move || {
                    let mut left = &octets[..];
                    while !left.is_empty() {
                        board.wait(|now| now.writable);
                        match end.try_write(&[IoSlice::new(&left[..left.len().min(10_000)])]) {
                            Ok(count) => left = &left[count..],
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                    end.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(move || {
                    let (mut all, mut octets_read) = (Vec::new(), [0; 7000]);
                    loop {
                        board.wait(|now| now.readable);
                        match end.try_read(&mut [IoSliceMut::new(&mut octets_read)], false) {
                            Ok(0) => break,
                            Ok(count) => all.extend_from_slice(&octets_read[..count]),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                    assert!(all == *octets);
                });
            }
        });
        for board in &boards {
            board.wait(|now| now.hung_up && now.read_closed && now.error.is_none());
        }
    }
}

/// Edge-triggered: after each change everything is read, and then nothing before the next.
#[test]
fn each_arrival_is_an_edge() {
    let board = Arc::new(Board::default());
    let (client, server) = watched_pair(
        &narrow(),
        Arc::new(uwarp_streams::Unwatched),
        Arc::clone(&board) as _,
    );
    let octets = pattern(300_000, 4);
    thread::scope(|scope| {
        scope.spawn(|| {
            for piece in octets.chunks(777) {
                common::write_all(&client, piece).unwrap();
            }
            client.shutdown(Shutdown::Write).unwrap();
        });
        let (mut all, mut out, mut seen) = (Vec::new(), [0; 100], None);
        'stream: loop {
            let now = board.wait(|now| now.readable && Some(now.arrivals) != seen);
            seen = Some(now.arrivals);
            loop {
                match server.try_read(&mut [IoSliceMut::new(&mut out)], false) {
                    Ok(0) => break 'stream,
                    Ok(count) => all.extend_from_slice(&out[..count]),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
        }
        assert!(all == octets);
    });
}

/// Echoes from within the watch.
#[derive(Default)]
struct Echo(Mutex<Weak<StreamSocket>>);

impl Watch for Echo {
    fn changed(&self, now: Readiness) {
        let stream = self.0.lock().unwrap().upgrade();
        if let Some(stream) = stream.filter(|_| now.readable) {
            let mut octets = [0; 512];
            while let Ok(count @ 1..) = stream.try_read(&mut [IoSliceMut::new(&mut octets)], false)
            {
                assert_eq!(
                    stream.try_write(&[IoSlice::new(&octets[..count])]).unwrap(),
                    count
                );
            }
            if now.read_closed {
                stream.close(None);
            }
        }
    }
}

#[test]
fn a_stream_may_be_used_and_closed_from_within_its_watch() {
    let echo = Arc::new(Echo::default());
    let (tcp_client, tcp_server) = tcp();
    let options = StreamOptions::default();
    let server = StreamSocket::respond(tcp_server, &options, Arc::clone(&echo) as _).unwrap();
    *echo.0.lock().unwrap() = Arc::downgrade(&server);
    let client =
        StreamSocket::initiate(tcp_client, &options, Arc::new(uwarp_streams::Unwatched)).unwrap();
    let mut octets = [0; 300];
    for round in 0..100 {
        let message = pattern(300, round);
        common::write_all(&client, &message).unwrap();
        let mut count = 0;
        while count < 300 {
            count += common::read(&client, &mut octets[count..]).unwrap();
        }
        assert_eq!(octets.as_slice(), message);
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(common::read(&client, &mut octets).unwrap(), 0);
    // The watch has been let go.
    while Arc::strong_count(&echo) > 1 {
        thread::yield_now();
    }
}

#[test]
fn a_peer_that_is_no_stream_is_told_as_an_error() {
    let options = StreamOptions {
        startup_timeout: std::time::Duration::from_millis(300),
        ..StreamOptions::default()
    };
    // One that says nothing, one that hangs up, one that speaks of something else.
    for (what, number) in [
        (None, libc::ETIMEDOUT),
        (Some(""), libc::ECONNRESET),
        (Some("HTTP/1.1 400 Bad Request\r\n\r\n"), libc::EPROTO),
    ] {
        let (client, mut server) = tcp();
        let board = Arc::new(Board::default());
        let stream = StreamSocket::initiate(client, &options, Arc::clone(&board) as _).unwrap();
        let held = match what {
            None => Some(server),
            Some(words) => {
                use std::io::Write;
                server.write_all(words.as_bytes()).unwrap();
                // The client may have reset it already.
                let _ = server.shutdown(Shutdown::Write);
                Some(server)
            }
        };
        let now = board.wait(|now| now.error.is_some());
        assert_eq!(now.error, Some(number));
        assert!(now.readable && now.writable && now.hung_up && !now.established);
        let error = stream.try_write(&[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(number));
        drop(held);
    }
}

//! Streams against streams over loopback.

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, narrow, pair, pattern, read, read_to_end, write_all};
use uwarp::End;
use uwarp_streams::{StreamOptions, Wants};

#[test]
fn octets_arrive_in_order() {
    let (client, server) = pair(&StreamOptions::default());
    write_all(&client, b"hello").unwrap();
    let mut octets = [0; 16];
    assert_eq!(read(&server, &mut octets).unwrap(), 5);
    assert_eq!(&octets[..5], b"hello");
    // The responder may speak now, and it does.
    write_all(&server, b"good day").unwrap();
    assert_eq!(read(&client, &mut octets).unwrap(), 8);
    assert_eq!(&octets[..8], b"good day");
}

#[test]
fn the_responder_may_speak_first() {
    let (client, server) = pair(&StreamOptions::default());
    write_all(&server, b"220 ready").unwrap();
    let mut octets = [0; 16];
    assert_eq!(read(&client, &mut octets).unwrap(), 9);
}

#[test]
fn much_goes_both_ways_at_once() {
    for options in [StreamOptions::default(), narrow()] {
        let (client, server) = pair(&options);
        let one = pattern(3_000_000, 1);
        let two = pattern(2_000_000, 2);
        thread::scope(|scope| {
            for (end, octets) in [(&client, &one), (&server, &two)] {
                scope.spawn(move || {
                    write_all(end, octets).unwrap();
                    end.shutdown(Shutdown::Write).unwrap();
                });
            }
            let reader = scope.spawn(|| read_to_end(&client).unwrap());
            assert!(read_to_end(&server).unwrap() == one);
            assert!(reader.join().unwrap() == two);
        });
    }
}

#[test]
fn both_ends_may_fill_up_before_either_reads() {
    let (client, server) = pair(&narrow());
    let mut sent = [0; 2];
    for (end, sent) in [&client, &server].into_iter().zip(&mut sent) {
        // Until nothing has moved for a while.
        while end
            .wait(Wants::WRITABLE, Some(Duration::from_millis(200)))
            .unwrap()
        {
            match end.try_write(&[IoSlice::new(&[7; 1000])]) {
                Ok(count) => *sent += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(
            end.try_write(&[IoSlice::new(&[7; 3000])])
                .map(|count| *sent += count)
                .map_err(|error| error.kind())
                .err()
                .unwrap_or(ErrorKind::WouldBlock),
            ErrorKind::WouldBlock
        );
        assert!(*sent >= 4096, "both rings are full");
        assert!(*sent <= 4096 + 3000, "and hold no more than they have");
    }
    for end in [&client, &server] {
        end.shutdown(Shutdown::Write).unwrap();
    }
    assert_eq!(read_to_end(&client).unwrap().len(), sent[1]);
    assert_eq!(read_to_end(&server).unwrap().len(), sent[0]);
}

#[test]
fn one_direction_ends_and_the_other_goes_on() {
    let (client, server) = pair(&StreamOptions::default());
    for (one, other) in [(&client, &server), (&server, &client)] {
        write_all(one, b"all of it").unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(
            one.try_write(&[IoSlice::new(b"more")]).unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        assert_eq!(read_to_end(other).unwrap(), b"all of it");
        assert!(other.readiness().read_closed);
    }
    // Now both have ended, and so has the connection.
    for end in [&client, &server] {
        assert!(end.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
        let now = end.readiness();
        assert!(now.hung_up && now.error.is_none());
        assert_eq!(read(end, &mut [0; 9]).unwrap(), 0);
    }
}

#[test]
fn what_was_written_before_a_close_arrives() {
    let (client, server) = pair(&narrow());
    let octets = pattern(1_000_000, 9);
    thread::scope(|scope| {
        scope.spawn(|| {
            write_all(&client, &octets).unwrap();
            client.close(None);
        });
        assert!(read_to_end(&server).unwrap() == octets);
    });
    assert_eq!(
        server.try_write(&[IoSlice::new(b"?")]).unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    assert!(client.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
}

#[test]
fn a_handle_that_is_dropped_closes_its_stream() {
    let (client, server) = pair(&StreamOptions::default());
    write_all(&client, b"last words").unwrap();
    drop(client);
    assert_eq!(read_to_end(&server).unwrap(), b"last words");
}

#[test]
fn octets_left_unread_at_a_close_hold_nobody_up() {
    let (client, server) = pair(&narrow());
    write_all(&client, &[1; 2000]).unwrap();
    assert!(server.wait(Wants::READABLE, Some(PATIENCE)).unwrap());
    server.close(None);
    // What is written meets a closed door, sooner or later.
    loop {
        match write_all(&client, &[2; 1000]) {
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ));
                break;
            }
        }
    }
    for end in [&client, &server] {
        assert!(end.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
    }
}

#[test]
fn an_abort_resets_the_peer() {
    let (client, server) = pair(&StreamOptions::default());
    write_all(&client, b"abc").unwrap();
    assert!(server.wait(Wants::READABLE, Some(PATIENCE)).unwrap());
    client.close(Some(Duration::ZERO));
    // What had come is read first, then the error once, then the end.
    let mut octets = [0; 8];
    assert_eq!(read(&server, &mut octets).unwrap(), 3);
    assert_eq!(
        read(&server, &mut octets).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(read(&server, &mut octets).unwrap(), 0);
    assert_eq!(
        server.try_write(&[IoSlice::new(b"?")]).unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    assert!(server.readiness().hung_up);
    assert_eq!(server.end(), Some(End::Lost));
}

#[test]
fn an_error_may_be_taken_instead() {
    let (client, server) = pair(&StreamOptions::default());
    client.close(Some(Duration::ZERO));
    assert!(server.wait(Wants::READABLE, Some(PATIENCE)).unwrap());
    assert_eq!(server.readiness().error, Some(libc::ECONNRESET));
    assert_eq!(server.take_error(), Some(libc::ECONNRESET));
    assert_eq!(server.take_error(), None);
    assert_eq!(read(&server, &mut [0; 1]).unwrap(), 0);
}

#[test]
fn peeking_takes_nothing() {
    let (client, server) = pair(&StreamOptions::default());
    write_all(&client, b"abcdef").unwrap();
    assert!(server.wait(Wants::READABLE, Some(PATIENCE)).unwrap());
    let (mut one, mut two) = ([0; 2], [0; 10]);
    for _ in 0..2 {
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert_eq!(server.try_read(&mut bufs, true).unwrap(), 6);
        assert_eq!(server.readable_octets(), 6);
        assert_eq!((&one, &two[..4]), (b"ab", b"cdef".as_slice()));
    }
    assert_eq!(read(&server, &mut two).unwrap(), 6);
    assert_eq!(server.readable_octets(), 0);
    assert_eq!(
        server
            .try_read(&mut [IoSliceMut::new(&mut two)], true)
            .unwrap_err()
            .kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn reading_may_end_while_writing_goes_on() {
    let (client, server) = pair(&narrow());
    server.shutdown(Shutdown::Read).unwrap();
    assert_eq!(read(&server, &mut [0; 8]).unwrap(), 0);
    // Far more than the rings hold.
    write_all(&client, &[3; 100_000]).unwrap();
    write_all(&server, b"still here").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client).unwrap(), b"still here");
}

#[test]
fn closing_may_wait_for_what_was_written() {
    let (client, server) = pair(&narrow());
    write_all(&client, &[5; 5000]).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(read_to_end(&server).unwrap().len(), 5000));
        client.close(Some(PATIENCE));
    });
    assert!(client.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
}

#[test]
fn who_waits_for_what_does_not_come_sleeps() {
    let (client, _server) = pair(&StreamOptions::default());
    for wants in [Wants::READABLE, Wants::CLOSED] {
        let (wall, before) = (Instant::now(), processor_time());
        assert!(
            !client
                .wait(wants, Some(Duration::from_millis(500)))
                .unwrap()
        );
        let (wall, busy) = (wall.elapsed(), processor_time() - before);
        assert!(busy * 2 < wall, "{busy:?} of {wall:?}");
    }
}

/// What this thread has computed.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = stat.split(' ').next().unwrap();
    Duration::from_nanos(nanoseconds.parse().unwrap())
}

//! A forked child has its parent's streams in name only. In a test binary of its own, as it forks.

mod common;

use std::io::{IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::time::Duration;

use common::{pair, read, write_all};
use uwarp_streams::{Readiness, StreamOptions, Wants};

/// Does `act` in a forked child and waits for it to end well.
fn in_child(act: impl FnOnce()) {
    // SAFETY: the child uses what its C library keeps usable after a fork, and ends without unwinding into its
    // parent's frames.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: sets a timer that ends the child, should it hang.
        unsafe { libc::alarm(20) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        // SAFETY: ends the child at once, without its parent's exit handlers.
        unsafe { libc::_exit(i32::from(done.is_err())) }
    }
    let mut status = 0;
    // SAFETY: waits for our own child; the status is ours.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((ended, status), (child, 0));
}

#[test]
fn a_childs_copy_is_refused_and_harms_nothing() {
    let (client, server) = pair(&StreamOptions::default());
    write_all(&client, b"before").unwrap();
    let copies = (client.clone(), server.clone());
    in_child(move || {
        let (client, server) = copies;
        for end in [&client, &server] {
            assert!(
                end.try_read(&mut [IoSliceMut::new(&mut [0; 8])], false)
                    .is_err()
            );
            assert!(end.try_write(&[IoSlice::new(b"from the child")]).is_err());
            assert!(
                end.wait(Wants::READABLE, Some(Duration::from_secs(9)))
                    .is_err()
            );
            assert!(end.shutdown(Shutdown::Both).is_err());
            assert_eq!(end.readiness(), Readiness::default());
            assert_eq!(end.readable_octets(), 0);
            assert_eq!(end.take_error(), None);
            assert!(end.one_sided().poll().is_none());
            end.close(None);
            end.close(Some(Duration::ZERO));
        }
        // It may have its own.
        let (one, other) = pair(&StreamOptions::default());
        write_all(&one, b"child").unwrap();
        assert_eq!(read(&other, &mut [0; 8]).unwrap(), 5);
        drop((client, server));
    });
    write_all(&client, b" and after").unwrap();
    let (mut all, mut octets) = (Vec::new(), [0; 32]);
    while all.len() < 16 {
        let count = read(&server, &mut octets).unwrap();
        all.extend_from_slice(&octets[..count]);
    }
    assert_eq!(all, b"before and after");
}

//! Revoking access while the peer writes: what has been revoked does not change any more.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Node, contents, eventually, pair_with, remote};
use uwarp::{End, Region, RemoteRegion, Rights, WaitError};

const LEN: usize = 60_000;

/// The peer writes into `target`, all ones and all twos by turns, until it is told that it may not; meanwhile `act`
/// runs.
fn while_written<T>(crc: bool, act: impl FnOnce(&Node, Region) -> T) -> T {
    // Segments as long as can be, so that a placement takes its time.
    let options = |options: uwarp::Options| options.crc(crc).emss(65_000);
    let (client, server) = pair_with(options, options);
    let target = server.shared(vec![0; LEN], Rights::REMOTE_WRITE);
    let place = remote(&target);
    let writing = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_until_refused(&client, place, &writing));
        eventually("the peer writes", || writing.load(Ordering::Acquire));
        eventually("memory changes", || contents(&target)[LEN - 1] != 0);
        let result = act(&server, target);
        let end = writer.join().unwrap();
        let End::Terminated(code) = end else {
            panic!("{end:?}");
        };
        assert_eq!((code.layer.bits(), code.etype, code.code), (1, 1, 0));
        result
    })
}

fn write_until_refused(client: &Node, place: RemoteRegion, writing: &AtomicBool) -> End {
    let sources = [1, 2].map(|octet| client.local(vec![octet; LEN]));
    let lists = sources.each_ref().map(|source| [source.slice(..).unwrap()]);
    for turn in 0.. {
        let posted = client
            .socket
            .post_write(turn, &lists[turn as usize % 2], place);
        writing.store(true, Ordering::Release);
        if posted.is_err() || turn >= 32 {
            match client.socket.wait(Some(common::LIMIT)) {
                Ok(_) => {}
                Err(WaitError::Over(end)) => return end,
                Err(error) => panic!("{error}"),
            }
        }
    }
    unreachable!("the peer refuses some day")
}

/// Watches `region` for a while: nothing changes.
fn stays(region: &Region) {
    // The last word at once, for a copy under way would still come to it.
    let word = || region.memory().load_u64(LEN as u64 - 8, Ordering::Acquire);
    let last = word().unwrap();
    let before = contents(region);
    assert_eq!(before[LEN - 8..], last.to_ne_bytes());
    let until = Instant::now() + Duration::from_micros(500);
    while Instant::now() < until {
        assert!(contents(region) == before, "an octet landed after revoking");
    }
}

fn revoking_is_synchronous(crc: bool) {
    for round in 0..200 {
        while_written(crc, |_, target| {
            // Not at the same moment each time.
            let moment = Instant::now() + Duration::from_micros(round % 20 * 7);
            while Instant::now() < moment {
                std::hint::spin_loop();
            }
            target.revoke();
            stays(&target);
            assert!(target.remote().is_none());
        });
    }
}

#[test]
fn nothing_lands_after_revoking_with_crc() {
    revoking_is_synchronous(true);
}

#[test]
fn nothing_lands_after_revoking_without_crc() {
    revoking_is_synchronous(false);
}

#[test]
fn renewing_revokes_first() {
    for _ in 0..10 {
        while_written(false, |_, target| {
            target.renew().unwrap();
            stays(&target);
        });
    }
}

#[test]
fn memory_that_came_back_is_the_callers_alone() {
    for round in 0..100 {
        while_written(round % 2 == 0, |_, target| {
            let mut memory = target.deregister().expect("only the peer used it");
            memory.fill(9);
            thread::sleep(Duration::from_micros(500));
            assert!(memory.iter().all(|&octet| octet == 9));
        });
    }
}

#[test]
fn a_region_may_be_dropped_while_the_peer_writes() {
    for crc in [true, false] {
        for _ in 0..10 {
            while_written(crc, |node, target| {
                drop(target);
                // Most likely at the same address.
                let next = node.local(vec![9; LEN]);
                thread::sleep(Duration::from_millis(3));
                assert!(contents(&next) == [9; LEN]);
            });
        }
    }
}

//! Two ends over a link behave as two pipes do, however the link and the programs take their turns.

mod common;

use common::Pair;
use proptest::prelude::*;
use uwarp_rsockets::{Config, ReadEnd, WriteError};

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    Transmit(u8),
    Deliver(u8),
    Process(u8),
    Complete(u8),
    KeepAlive,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        3 => (0..3000usize).prop_map(Step::Write),
        1 => (0..40usize).prop_map(Step::Write),
        2 => (0..3000usize).prop_map(Step::Read),
        3 => (1..40u8).prop_map(Step::Transmit),
        3 => (1..40u8).prop_map(Step::Deliver),
        3 => (1..40u8).prop_map(Step::Process),
        3 => (1..40u8).prop_map(Step::Complete),
        1 => Just(Step::KeepAlive),
    ];
    prop::collection::vec((0..2usize, step), 0..600)
}

/// Small and odd sizes, so that everything runs full.
fn config() -> impl Strategy<Value = Config> {
    let sizes = (
        1..700u32,
        1..900u32,
        prop_oneof![16..20u16, 16..400u16],
        8..40u32,
        1..500u32,
    );
    sizes.prop_map(|(half, send_ring, credits, send_queue, write_max)| Config {
        receive_ring: 2 * half,
        send_ring,
        credits,
        send_queue,
        write_max,
        iomap: 0,
    })
}

fn take(pair: &mut Pair, end: usize, step: Step) {
    match step {
        Step::Write(len) => {
            pair.ends[end].write(len);
        }
        Step::Read(len) => {
            pair.read(end, len);
        }
        Step::Transmit(count) => (0..count).for_each(|_| {
            pair.transmit(end);
        }),
        Step::Deliver(count) => (0..count).for_each(|_| {
            pair.deliver(end);
        }),
        Step::Process(count) => (0..count).for_each(|_| {
            assert_ne!(
                pair.ends[end].process().map(|outcome| outcome.is_ok()),
                Some(false)
            );
        }),
        Step::Complete(count) => (0..count).for_each(|_| {
            pair.ends[end].complete();
        }),
        Step::KeepAlive => {
            pair.ends[end].stream.keep_alive();
            pair.ends[end].pump();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_octet_arrives_once_and_in_order(
        configs in [config(), config()],
        steps in steps(),
        polite in any::<bool>(),
    ) {
        let mut pair = Pair::new(configs);
        for (end, step) in steps {
            take(&mut pair, end, step);
        }
        if polite {
            for end in &mut pair.ends {
                end.stream.shutdown_write();
                end.pump();
            }
        }
        pair.drain();
        for end in [0, 1] {
            prop_assert_eq!(pair.ends[end].read, pair.ends[1 - end].written);
            prop_assert_eq!(pair.ends[end].stream.outstanding(), 0);
            prop_assert_eq!(pair.ends[end].stream.is_finished(), polite);
            prop_assert_eq!(pair.ends[end].read_end(), polite.then_some(ReadEnd::Eof));
            // What is kept for control messages suffices, even when the driver is slow.
            prop_assert!(pair.ends[end].inbox_most <= usize::from(configs[end].credits));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_goes_on_for_ever(configs in [config(), config()], chunk in 1..1000usize) {
        let mut pair = Pair::new(configs);
        for _ in 0..300 {
            pair.ends[0].write(chunk);
            pair.ends[1].write(chunk / 2 + 1);
            pair.drain();
            // All of it was taken and has come: nothing is stuck.
            prop_assert_eq!(pair.ends[1].read, pair.ends[0].written);
            prop_assert_eq!(pair.ends[0].read, pair.ends[1].written);
        }
        prop_assert!(pair.ends[0].written >= 300);
    }
}

/// Writes at both ends until both are full, with nobody reading.
fn fill(pair: &mut Pair) -> u64 {
    loop {
        let taken = pair.ends[0].write(1000) + pair.ends[1].write(1000);
        pair.settle();
        if taken == 0 {
            return pair.ends[0].written + pair.ends[1].written;
        }
    }
}

#[test]
fn both_ends_may_write_first() {
    for config in [
        Config::default(),
        Config {
            receive_ring: 64,
            send_ring: 100,
            credits: 16,
            send_queue: 8,
            ..Config::default()
        },
    ] {
        let mut pair = Pair::new([config, config]);
        for _ in 0..20 {
            let before = pair.ends[0].written + pair.ends[1].written;
            let written = fill(&mut pair) - before;
            // Both rings of both directions are full, and no more is held.
            let rings = 2 * u64::from(config.receive_ring + config.send_ring);
            assert!(written <= rings);
            pair.drain();
            assert_eq!(pair.ends[1].read, pair.ends[0].written);
            assert_eq!(pair.ends[0].read, pair.ends[1].written);
        }
    }
}

#[test]
fn single_octets_wait_for_credits_and_then_go_together() {
    let config = Config::default();
    let mut pair = Pair::new([config, config]);
    // 384 credits, an eighth of them kept back; what is written after them waits in the ring.
    for _ in 0..1000 {
        assert_eq!(pair.ends[0].write(1), 1);
        pair.settle();
    }
    assert_eq!(pair.ends[1].stream.readable(), 0..336);
    pair.drain();
    assert_eq!(pair.ends[1].read, 1000);
}

/// The grants that nothing proves to be fetched use up all that is kept back for them, and none of the messages
/// that the sender may still send can prove anything.
#[test]
fn a_sender_that_waits_for_credits_gets_them_without_a_proof() {
    let config = Config {
        receive_ring: 200,
        credits: 16,
        ..Config::default()
    };
    let mut pair = Pair::new([config, config]);
    assert_eq!(pair.ends[0].write(100), 100);
    pair.drain();
    for _ in 0..13 {
        assert_eq!(pair.ends[0].write(1), 1);
        pair.settle();
    }
    assert_eq!(pair.ends[1].stream.readable(), 100..112);
    pair.drain();
    assert_eq!(pair.ends[1].read, 113);
}

#[test]
fn grants_find_room_in_a_send_queue_full_of_data() {
    let config = Config {
        send_queue: 8,
        receive_ring: 2000,
        ..Config::default()
    };
    let mut pair = Pair::new([config, config]);
    pair.settle();
    pair.ends[1].write(1000);
    pair.settle();
    // Nothing completes at the reader from here on, and it has more to send than its queue takes.
    for _ in 0..10 {
        assert_eq!(pair.ends[0].write(1), 1);
    }
    let before = pair.ends[0].stream.outstanding();
    assert_eq!(pair.read(0, 1000), 1000);
    assert_eq!(pair.ends[0].stream.outstanding(), before + 2);
}

#[test]
fn a_program_that_reads_nothing_gets_no_more_than_its_ring() {
    let config = Config {
        receive_ring: 4096,
        ..Config::default()
    };
    let mut pair = Pair::new([config, config]);
    assert!(pair.ends[0].write(100_000) == 100_000);
    pair.settle();
    assert_eq!(pair.ends[1].stream.readable(), 0..4096);
    // Half a ring less one octet makes no room, the next octet does.
    assert_eq!(pair.read(1, 2047), 2047);
    pair.settle();
    assert_eq!(pair.ends[1].stream.readable(), 2047..4096);
    assert_eq!(pair.read(1, 1), 1);
    pair.settle();
    assert_eq!(pair.ends[1].stream.readable(), 2048..6144);
}

#[test]
fn one_direction_ends_before_the_other() {
    let mut pair = Pair::new([Config::default(); 2]);
    pair.ends[0].write(100);
    pair.ends[0].stream.shutdown_write();
    assert_eq!(pair.ends[0].stream.write(1), Err(WriteError::Shut));
    pair.ends[0].pump();
    pair.settle();
    assert_eq!(pair.ends[1].read_end(), None);
    assert_eq!(pair.read(1, 1000), 100);
    assert_eq!(pair.ends[1].read_end(), Some(ReadEnd::Eof));
    assert!(!pair.ends[1].stream.is_over());

    assert_eq!(pair.ends[1].write(70_000), 70_000);
    pair.drain();
    assert_eq!(pair.ends[0].read, 70_000);
    pair.ends[1].stream.shutdown_write();
    pair.ends[1].pump();
    pair.settle();
    for end in &pair.ends {
        assert_eq!(end.read_end(), Some(ReadEnd::Eof));
        assert!(end.stream.is_finished());
    }
}

#[test]
fn both_may_end_at_once() {
    let mut pair = Pair::new([Config::default(); 2]);
    for end in &mut pair.ends {
        end.write(10);
        end.stream.shutdown_write();
        end.pump();
    }
    pair.drain();
    for end in &pair.ends {
        assert_eq!((end.read, end.read_end()), (10, Some(ReadEnd::Eof)));
        assert!(end.stream.is_finished());
    }
}

#[test]
fn closing_sends_what_was_written_and_is_not_held_up_by_what_is_unread() {
    let config = Config {
        receive_ring: 2048,
        send_ring: 8192,
        ..Config::default()
    };
    let mut pair = Pair::new([config; 2]);
    // Both are full, and only one of them reads.
    fill(&mut pair);
    let written = pair.ends[0].written;
    pair.ends[0].stream.close();
    pair.ends[0].pump();
    assert_eq!(pair.ends[0].read_end(), Some(ReadEnd::Shut));
    loop {
        pair.settle();
        if pair.read(1, 10_000) == 0 {
            break;
        }
    }
    assert_eq!(pair.ends[1].read, written);
    assert_eq!(pair.ends[1].read_end(), Some(ReadEnd::Eof));
    assert_eq!(pair.ends[1].stream.write(1), Err(WriteError::Disconnected));
    assert!(pair.ends[0].stream.is_finished());
    assert!(pair.ends[1].stream.is_finished());
}

#[test]
fn a_lost_connection_is_told_after_what_came_before() {
    let mut pair = Pair::new([Config::default(); 2]);
    pair.ends[0].write(10);
    pair.settle();
    pair.ends[1].stream.lost();
    assert_eq!(pair.ends[1].read_end(), None);
    assert_eq!(pair.read(1, 100), 10);
    assert_eq!(pair.ends[1].read_end(), Some(ReadEnd::Lost));
    assert_eq!(pair.ends[1].stream.write(1), Err(WriteError::Lost));
    assert_eq!(pair.ends[1].stream.next_request(), None);
}

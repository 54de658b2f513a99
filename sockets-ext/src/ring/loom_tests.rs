//! What the model checker is asked: over every interleaving (within its bounds) nothing is lost, nothing comes twice,
//! and nobody sleeps on. A lost wake-up shows as a deadlock, which loom reports.
//!
//! Loom looks for a race only against the *last* access to an atomic, so a thread that loads a word before it stores
//! to it hides its store from a thread that read the word earlier, and orders are left out. Tests therefore repeat,
//! yielding, until they have seen what they wait for, rather than take one look: then each order comes up by itself.

use super::mpmc::Ring;
use super::{BelledRing, Credits, Doorbell};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// A bell that keeps ringing, and that can be slept on as an eventfd is polled.
#[derive(Default)]
struct ModelBell {
    ringing: Mutex<bool>,
    changed: Condvar,
}

impl ModelBell {
    fn listen(&self) {
        let mut ringing = self.ringing.lock().expect("not poisoned");
        while !*ringing {
            ringing = self.changed.wait(ringing).expect("not poisoned");
        }
    }

    fn is_ringing(&self) -> bool {
        *self.ringing.lock().expect("not poisoned")
    }
}

impl Doorbell for ModelBell {
    fn ring(&self) {
        *self.ringing.lock().expect("not poisoned") = true;
        self.changed.notify_all();
    }

    fn silence(&self) {
        *self.ringing.lock().expect("not poisoned") = false;
    }
}

/// Takes one value as `CompletionRing::wait` does, without looking often before it sleeps.
fn wait(ring: &BelledRing<u32, ModelBell>) -> u32 {
    let _asleep = ring.sleep();
    loop {
        if let Some(value) = ring.pop() {
            return value;
        }
        ring.bell().listen();
        thread::yield_now();
    }
}

/// Repeats `look` until it sees something, letting the other threads run in between.
pub(super) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        match look() {
            Some(seen) => return seen,
            None => thread::yield_now(),
        }
    }
}

/// Runs `body` over every interleaving with at most `preemptions` forced switches of thread.
pub(super) fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn loom_ring_two_producers_lose_and_duplicate_nothing() {
    model(3, || {
        let ring = Arc::new(Ring::with_capacity(2));
        let producers = [1, 2].map(|value| {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.push(value))
        });
        let mut seen = [(); 2].map(|()| until(|| ring.pop()));
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        for producer in producers {
            assert_eq!(producer.join().expect("a producer ends"), Ok(()));
        }
        assert_eq!(ring.pop(), None);
    });
}

#[test]
fn loom_ring_two_consumers_share_without_duplicates() {
    model(3, || {
        let ring = Arc::new(Ring::with_capacity(2));
        assert_eq!((ring.push(1), ring.push(2)), (Ok(()), Ok(())));
        let consumers = [(); 2].map(|()| {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.pop())
        });
        let mut seen = consumers.map(|consumer| consumer.join().expect("a consumer ends"));
        seen.sort_unstable();
        assert_eq!(seen, [Some(1), Some(2)]);
        assert_eq!(ring.pop(), None);
    });
}

#[test]
fn loom_ring_slots_are_used_again_and_again_in_order() {
    model(3, || {
        let ring = Arc::new(Ring::with_capacity(2));
        let producer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || (1..=4).for_each(|value| until(|| ring.push(value).ok()))
        });
        assert_eq!([(); 4].map(|()| until(|| ring.pop())), [1, 2, 3, 4]);
        producer.join().expect("the producer ends");
    });
}

#[test]
fn loom_ring_drops_what_is_left_once() {
    model(3, || {
        let witness = Arc::new(());
        let ring = Arc::new(Ring::with_capacity(2));
        let producer = thread::spawn({
            let (ring, value) = (Arc::clone(&ring), Arc::clone(&witness));
            move || (0..2).for_each(|_| assert!(ring.push(Arc::clone(&value)).is_ok()))
        });
        drop(until(|| ring.pop()));
        producer.join().expect("the producer ends");
        drop(ring);
        assert_eq!(Arc::strong_count(&witness), 1);
    });
}

#[test]
fn loom_doorbell_one_sleeper_is_woken_by_two_producers() {
    model(3, || {
        let ring = Arc::new(BelledRing::new(2, ModelBell::default()));
        let producers = [1, 2].map(|value| {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.push(value))
        });
        let mut seen = [wait(&ring), wait(&ring)];
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        for producer in producers {
            assert_eq!(producer.join().expect("a producer ends"), Ok(()));
        }
        assert_eq!(ring.pop(), None);
    });
}

#[test]
fn loom_doorbell_one_producer_wakes_two_sleepers() {
    model(3, || {
        let ring = Arc::new(BelledRing::new(2, ModelBell::default()));
        let sleepers = [(); 2].map(|()| {
            let ring = Arc::clone(&ring);
            thread::spawn(move || wait(&ring))
        });
        assert_eq!((ring.push(1), ring.push(2)), (Ok(()), Ok(())));
        let mut seen = sleepers.map(|sleeper| sleeper.join().expect("a sleeper wakes"));
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn loom_doorbell_a_watched_bell_rings_while_something_waits() {
    model(3, || {
        let ring = Arc::new(BelledRing::new(2, ModelBell::default()));
        let producer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || assert_eq!((ring.push(1), ring.push(2)), (Ok(()), Ok(())))
        });
        // Handed out, and emptied once, while the producer is at work.
        ring.watch();
        until(|| ring.pop());
        let taken = 1 + std::iter::from_fn(|| ring.pop()).count();
        producer.join().expect("the producer ends");
        assert_eq!(ring.ring().len(), 2 - taken);
        assert!(
            taken == 2 || ring.bell().is_ringing(),
            "a value waits in silence"
        );
        // Level semantics: it falls silent when it has been emptied, and stays so.
        assert_eq!(std::iter::from_fn(|| ring.pop()).count(), 2 - taken);
        assert!(!ring.bell().is_ringing(), "it rings for nothing");
    });
}

#[test]
fn loom_doorbell_a_watcher_that_only_listens_gets_everything() {
    model(3, || {
        let ring = Arc::new(BelledRing::new(2, ModelBell::default()));
        let producers = [1, 2].map(|value| {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.push(value))
        });
        ring.watch();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            ring.bell().listen();
            seen.extend(std::iter::from_fn(|| ring.pop()));
            thread::yield_now();
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        for producer in producers {
            assert_eq!(producer.join().expect("a producer ends"), Ok(()));
        }
    });
}

#[test]
fn loom_doorbell_falls_silent_once_emptied() {
    model(3, || {
        let ring = Arc::new(BelledRing::new(2, ModelBell::default()));
        ring.watch();
        let producer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || assert_eq!(ring.push(1), Ok(()))
        });
        // Emptied while the producer may be about to ring: its late ring must not outlast the next emptying.
        until(|| ring.pop());
        assert_eq!(ring.pop(), None);
        producer.join().expect("the producer ends");
        assert_eq!(ring.pop(), None);
        assert!(!ring.bell().is_ringing(), "it rings for nothing");
    });
}

#[test]
fn loom_credits_are_places_in_the_ring() {
    model(3, || {
        let ring = Arc::new(Ring::with_capacity(2));
        let credits = Arc::new(Credits::new(2));
        assert!(credits.try_take(2));
        assert_eq!((ring.push(1), ring.push(2)), (Ok(()), Ok(())));
        let producer = thread::spawn({
            let (ring, credits) = (Arc::clone(&ring), Arc::clone(&credits));
            // Without a yield, after which loom would show the slot as it is now even if nothing orders it so.
            move || credits.try_take(1).then(|| ring.push(3))
        });
        assert_eq!(ring.pop(), Some(1));
        credits.give(1);
        match producer.join().expect("the producer ends") {
            Some(pushed) => assert_eq!(pushed, Ok(()), "a credit is a place"),
            None => assert_eq!(credits.available(), 1),
        }
    });
}

#[test]
fn loom_ring_a_consumer_in_the_midst_of_taking_delays_and_loses_nothing() {
    // Places are free, and still pushing may find the ring full: another consumer has not gone on. Whoever pushes
    // keeps the value and comes again, as the engine does with completions.
    model(3, || {
        let ring = Arc::new(Ring::with_capacity(2));
        assert_eq!((ring.push(1), ring.push(2)), (Ok(()), Ok(())));
        let consumer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || ring.pop().expect("there are two for two")
        });
        let here = ring.pop().expect("there are two for two");
        let mut value = 3;
        while let Err(back) = ring.push(value) {
            value = back;
            thread::yield_now();
        }
        let there = consumer.join().expect("the consumer ends");
        assert_eq!(here + there, 3);
        assert_eq!((ring.pop(), ring.pop()), (Some(3), None));
    });
}

#[test]
fn loom_credits_are_never_lent_twice() {
    model(3, || {
        let credits = Arc::new(Credits::new(3));
        let takers = [(); 2].map(|()| {
            let credits = Arc::clone(&credits);
            thread::spawn(move || credits.try_take(2))
        });
        let taken = takers.map(|taker| taker.join().expect("a taker ends"));
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
        assert_eq!(credits.available(), 1);
    });
}

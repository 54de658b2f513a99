//! A bounded queue without locks.
//!
//! Every slot carries a number that says whose turn it is. With `n` slots, position `p` (counted up for ever, modulo
//! the word) lives in slot `p mod n`:
//!
//! ```text
//!   number of the slot     meaning                       who may act
//!   p                      free for position p           the producer that claims p from `tail`
//!   p + 1                  holds the value of p          the consumer that claims p from `head`
//!   p + n                  free for position p + n       ... and so round again
//! ```
//!
//! The number is stored after the value was moved (release) and looked at before (acquire): it is all that orders the
//! value itself. Two cautions follow for callers. A producer that has claimed its position but not yet stored its
//! value hides the values behind it, so `pop` may find nothing while a later `push` has returned. And a consumer that
//! has claimed but not yet taken makes `push` find the ring full.

use super::sync::{AtomicUsize, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The least number of slots: with one, 'full' and 'free for the next round' would be the same number.
const LEAST: usize = 2;
/// The greatest number of slots, far beyond any use, so that rounding up cannot overflow.
const MOST: usize = 1 << 30;

/// Keeps a value on cache lines of its own; processors fetch lines in pairs.
#[repr(align(128))]
struct Padded<T>(T);

struct Slot<T> {
    number: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// A bounded lock-free queue for any number of producers and consumers, first in, first out.
///
/// Pushing and popping never block, never allocate, and repeat only when another thread got ahead.
pub(crate) struct Ring<T> {
    slots: Box<[Slot<T>]>,
    /// The next position to take.
    head: Padded<AtomicUsize>,
    /// The next position to fill.
    tail: Padded<AtomicUsize>,
}

// SAFETY: values are handed from thread to thread and shared with none.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: a slot's value is touched only by the one thread that claimed its position, and the slot's number orders
// one such thread after the other.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    /// An empty ring for at least `capacity` values: rounded up to a power of two, and kept between 2 and 2^30.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let slots = capacity.clamp(LEAST, MOST).next_power_of_two();
        let slot = |number| Slot {
            number: AtomicUsize::new(number),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        };
        Self {
            slots: (0..slots).map(slot).collect(),
            head: Padded(AtomicUsize::new(0)),
            tail: Padded(AtomicUsize::new(0)),
        }
    }

    /// How many values fit.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many values are in it, claimed positions included; by the time it is known it may be out of date.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.0.load(Relaxed);
        let tail = self.tail.0.load(Relaxed);
        // Head was read first and only grows, so the difference is too large at worst.
        tail.wrapping_sub(head).min(self.capacity())
    }

    /// Whether it is empty; by the time it is known it may be out of date.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts `value` at the end, or gives it back if the ring is full.
    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        let mut position = self.tail.0.load(Relaxed);
        loop {
            let Some(slot) = self.slot(position) else {
                return Err(value);
            };
            match distance(slot.number.load(Acquire), position) {
                0 => match self.tail.0.compare_exchange_weak(
                    position,
                    position.wrapping_add(1),
                    Relaxed,
                    Relaxed,
                ) {
                    Ok(_) => {
                        // SAFETY: the number said the slot is free and the exchange made it ours alone; the pointer
                        // is good while the closure runs.
                        slot.value
                            .with_mut(|at| unsafe { at.write(MaybeUninit::new(value)) });
                        slot.number.store(position.wrapping_add(1), Release);
                        return Ok(());
                    }
                    Err(now) => position = now,
                },
                // The value of one round ago is still there.
                behind if behind < 0 => return Err(value),
                // Somebody else filled this position since `tail` was read.
                _ => position = self.tail.0.load(Relaxed),
            }
        }
    }

    /// Takes the first value, if there is one.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut position = self.head.0.load(Relaxed);
        loop {
            let slot = self.slot(position)?;
            let next = position.wrapping_add(1);
            match distance(slot.number.load(Acquire), next) {
                0 => match self
                    .head
                    .0
                    .compare_exchange_weak(position, next, Relaxed, Relaxed)
                {
                    Ok(_) => {
                        // SAFETY: the number said a value is there and the exchange made it ours alone; it is read
                        // once, as the number stored next says free.
                        let value = slot.value.with_mut(|at| unsafe { at.cast::<T>().read() });
                        slot.number
                            .store(position.wrapping_add(self.slots.len()), Release);
                        return Some(value);
                    }
                    Err(now) => position = now,
                },
                // Nothing was put there yet.
                behind if behind < 0 => return None,
                // Somebody else took this position since `head` was read.
                _ => position = self.head.0.load(Relaxed),
            }
        }
    }

    /// The slot of a position. There always is one: the mask is less than the number of slots.
    fn slot(&self, position: usize) -> Option<&Slot<T>> {
        self.slots.get(position & (self.slots.len() - 1))
    }
}

/// How far `number` is ahead of `position` (negative: behind), both of which wrap.
fn distance(number: usize, position: usize) -> isize {
    number.wrapping_sub(position).cast_signed()
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Ring")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn capacity_is_rounded_to_a_power_of_two() {
        for (asked, got) in [(0, 2), (1, 2), (2, 2), (3, 4), (64, 64), (65, 128)] {
            assert_eq!(Ring::<u8>::with_capacity(asked).capacity(), got);
        }
    }

    #[test]
    fn a_full_ring_gives_the_value_back() {
        let ring = Ring::with_capacity(2);
        assert_eq!(
            (ring.push(1), ring.push(2), ring.push(3)),
            (Ok(()), Ok(()), Err(3))
        );
        assert_eq!(
            (ring.pop(), ring.push(4), ring.push(5)),
            (Some(1), Ok(()), Err(5))
        );
        assert_eq!(
            (ring.pop(), ring.pop(), ring.pop()),
            (Some(2), Some(4), None)
        );
    }

    #[test]
    fn positions_wrap_with_the_word() {
        let ring = Ring::with_capacity(4);
        // As after almost 2^64 values: the next positions are the last two before zero, and zero.
        let start = usize::MAX - 1;
        ring.head.0.store(start, Relaxed);
        ring.tail.0.store(start, Relaxed);
        for position in (0..4).map(|i| start.wrapping_add(i)) {
            ring.slot(position)
                .expect("a slot")
                .number
                .store(position, Relaxed);
        }
        for round in 0..5 {
            assert_eq!((ring.len(), ring.pop()), (0, None));
            for value in 0..4 {
                assert_eq!(ring.push((round, value)), Ok(()));
            }
            assert_eq!((ring.len(), ring.push((9, 9))), (4, Err((9, 9))));
            for value in 0..4 {
                assert_eq!(ring.pop(), Some((round, value)));
            }
        }
    }

    #[test]
    fn what_is_left_is_dropped() {
        let witness = Arc::new(());
        let ring = Ring::with_capacity(8);
        for _ in 0..5 {
            ring.push(Arc::clone(&witness)).expect("room");
        }
        drop(ring.pop());
        assert_eq!(Arc::strong_count(&witness), 5);
        drop(ring);
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn threads_lose_and_duplicate_nothing_and_keep_their_order() {
        const PRODUCERS: usize = 2;
        let each = if cfg!(miri) { 30 } else { 20_000 };
        let ring = Arc::new(Ring::with_capacity(8));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|who| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || {
                    for turn in 0..each {
                        while ring.push((who, turn)).is_err() {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; PRODUCERS];
        while next.iter().sum::<usize>() < PRODUCERS * each {
            match ring.pop() {
                Some((who, turn)) => {
                    assert_eq!(turn, next[who], "producer {who}");
                    next[who] += 1;
                }
                None => thread::yield_now(),
            }
        }
        for producer in producers {
            producer.join().expect("a producer runs to its end");
        }
        assert_eq!(ring.pop(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: if cfg!(miri) { 4 } else { 256 },
            ..ProptestConfig::default() })]

        #[test]
        fn behaves_as_a_bounded_deque(capacity in 0_usize..20, steps in prop::collection::vec(any::<Option<u8>>(), 0..200)) {
            let ring = Ring::with_capacity(capacity);
            let mut model = VecDeque::new();
            for step in steps {
                match step {
                    Some(value) if model.len() == ring.capacity() => prop_assert_eq!(ring.push(value), Err(value)),
                    Some(value) => {
                        model.push_back(value);
                        prop_assert_eq!(ring.push(value), Ok(()));
                    }
                    None => prop_assert_eq!(ring.pop(), model.pop_front()),
                }
                prop_assert_eq!(ring.len(), model.len());
            }
        }
    }
}

//! Values that stay where they are while their owner changes.
//!
//! A posted descriptor is large, and goes from the caller through a ring to whoever drives. So only a [`Ticket`] goes
//! that way: the right to use one place of the slab, which one thread has at a time. Places that nobody has are
//! linked into a stack: the one that was left last is used next, since it is in somebody's cache.
//!
//! ```text
//!      insert              ring             get              remove
//!   free ---> caller's ticket ---> driver's ticket ---> ... ---> free
//! ```
//!
//! A [`Ring`](super::mpmc::Ring) of numbers would not do, though there is a place in it for each: a thread that has claimed
//! a number and not yet taken it makes pushing fail, however many places are free.

use super::sync::{AtomicU32, AtomicU64, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The right to a place in a slab, and to the value there. There is one for each value.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ticket {
    slab: u64,
    index: u32,
}

impl Ticket {
    /// Which place it is: less than the slab's capacity, and no other ticket's of the same slab.
    pub(crate) const fn index(&self) -> u32 {
        self.index
    }
}

/// The end of the stack of free places.
const END: u32 = u32::MAX;

/// Numbers that nobody has.
struct Free {
    /// The number on top in the lower half. Above it is counted how often one was taken: so a thread that has looked
    /// at the top and what is below notices that it was away in between.
    top: AtomicU64,
    /// For each number that is in the stack the one below it.
    below: Box<[AtomicU32]>,
}

impl Free {
    /// All numbers below `count`, 0 on top.
    fn all(count: u32) -> Self {
        let below = (1..=count).map(|next| if next < count { next } else { END });
        let top = if count == 0 { END } else { 0 };
        Self {
            top: AtomicU64::new(u64::from(top)),
            below: below.map(AtomicU32::new).collect(),
        }
    }

    fn pop(&self) -> Option<u32> {
        let mut top = self.top.load(Acquire);
        loop {
            let index = top as u32;
            if index == END {
                return None;
            }
            // If it has been taken meanwhile this may be anything, and the exchange fails.
            let below = self.below[index as usize].load(Relaxed);
            let next = (top >> 32).wrapping_add(1) << 32 | u64::from(below);
            // All changes are exchanges, so this one sees what was done before any earlier push.
            match (self.top).compare_exchange_weak(top, next, Acquire, Acquire) {
                Ok(_) => return Some(index),
                Err(now) => top = now,
            }
        }
    }

    /// Gives back a number that was popped.
    fn push(&self, index: u32) {
        let mut top = self.top.load(Relaxed);
        loop {
            self.below[index as usize].store(top as u32, Relaxed);
            let next = top >> 32 << 32 | u64::from(index);
            match (self.top).compare_exchange_weak(top, next, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }
}

/// Gives a number back whose place has got no value, because making it panicked.
struct GiveBack<'a>(&'a Free, u32);

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        self.0.push(self.1);
    }
}

/// A fixed number of places that any threads put values into and take them from, without a lock.
pub(crate) struct Slab<T> {
    cells: Box<[UnsafeCell<MaybeUninit<T>>]>,
    free: Free,
    /// Tells its tickets from those of other slabs.
    id: u64,
}

// SAFETY: values are handed from thread to thread.
unsafe impl<T: Send> Send for Slab<T> {}
// SAFETY: a value is put in, changed and taken out only by whoever has the place's only ticket (or had it from the free
// stack, which orders one owner after the other); threads that share the ticket share the value, which is `Sync`.
unsafe impl<T: Send + Sync> Sync for Slab<T> {}

impl<T> Slab<T> {
    /// A slab for exactly `capacity` values, less than 2^32 - 1.
    pub(crate) fn with_capacity(capacity: u32) -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self {
            cells: (0..capacity)
                .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
                .collect(),
            free: Free::all(capacity),
            id: NEXT.fetch_add(1, Relaxed),
        }
    }

    /// Puts in what `make` gives, which is called only if there is a place.
    #[inline]
    pub(crate) fn insert_with(&self, make: impl FnOnce() -> T) -> Option<Ticket> {
        let index = self.free.pop()?;
        let back = GiveBack(&self.free, index);
        let value = make();
        std::mem::forget(back);
        self.cells[index as usize].with_mut(|place| {
            // SAFETY: the number came out of the stack, where each is once at the most, so the place is this
            // thread's alone; it holds no value.
            unsafe { place.cast::<T>().write(value) };
        });
        let slab = self.id;
        Some(Ticket { slab, index })
    }

    /// Puts a value in, or gives it back if there is no place.
    #[cfg(test)]
    pub(crate) fn insert(&self, value: T) -> Result<Ticket, T> {
        let mut value = Some(value);
        match self.insert_with(|| value.take().expect("it is called once")) {
            Some(ticket) => Ok(ticket),
            None => Err(value.take().expect("it was not called")),
        }
    }

    /// The value of a ticket.
    ///
    /// # Panics
    ///
    /// If the ticket is another slab's.
    pub(crate) fn get(&self, ticket: &Ticket) -> &T {
        assert_eq!(ticket.slab, self.id, "a ticket of another slab");
        // SAFETY: the ticket says that a value is there and stays as long as the ticket does. Nobody changes it: that
        // takes the ticket, which is borrowed.
        self.cells[ticket.index as usize].with(|place| unsafe { &*place.cast::<T>() })
    }

    /// Takes a value out: shows it to `last` once more, and drops it in its place.
    ///
    /// # Panics
    ///
    /// If the ticket is another slab's.
    #[expect(clippy::needless_pass_by_value, reason = "the ticket ends here")]
    pub(crate) fn remove<R>(&self, ticket: Ticket, last: impl FnOnce(&T) -> R) -> R {
        let result = last(self.get(&ticket));
        self.cells[ticket.index as usize].with_mut(|place| {
            // SAFETY: the ticket says that a value is there, and that it is this thread's alone. The ticket ends here,
            // so it is dropped once.
            unsafe { place.cast::<T>().drop_in_place() }
        });
        self.free.push(ticket.index);
        result
    }

    /// How many values it holds, for tests while nobody uses it.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let mut free = Vec::new();
        while let Some(index) = self.free.pop() {
            free.push(index);
        }
        let count = self.cells.len() - free.len();
        free.into_iter()
            .rev()
            .for_each(|index| self.free.push(index));
        count
    }
}

impl<T> Drop for Slab<T> {
    fn drop(&mut self) {
        let mut held = vec![true; self.cells.len()];
        while let Some(index) = self.free.pop() {
            held[index as usize] = false;
        }
        for (cell, _) in self.cells.iter().zip(held).filter(|(_, held)| *held) {
            cell.with_mut(|place| {
                // SAFETY: a number that is not in the stack is a value's. Whoever has its ticket can no longer use it.
                unsafe { place.cast::<T>().drop_in_place() }
            });
        }
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Slab")
            .field("capacity", &self.cells.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::mpmc::Ring;
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn there_are_as_many_places_as_asked_for() {
        let slab = Slab::with_capacity(3);
        let tickets: Vec<_> = (0..3)
            .map(|value| slab.insert(value).expect("room"))
            .collect();
        assert_eq!(slab.insert(9).expect_err("it is full"), 9);
        let mut indexes: Vec<_> = tickets.iter().map(Ticket::index).collect();
        indexes.sort_unstable();
        assert_eq!(indexes, [0, 1, 2]);
        assert_eq!(slab.count(), 3);
        for (value, ticket) in tickets.into_iter().enumerate() {
            assert_eq!(slab.remove(ticket, |&found| found), value);
        }
        assert_eq!(slab.count(), 0);
        assert!(Slab::with_capacity(0).insert(1).is_err());
    }

    #[test]
    fn each_value_is_dropped_once() {
        let witness = Arc::new(());
        let slab = Slab::with_capacity(4);
        let tickets = [(); 4].map(|()| slab.insert(Arc::clone(&witness)).expect("room"));
        let [first, second, ..] = tickets;
        slab.remove(second, |_| ());
        assert_eq!(Arc::strong_count(&witness), 4);
        drop(slab.insert(Arc::clone(&witness)).expect("room"));
        assert_eq!(Arc::strong_count(slab.get(&first)), 5, "a lost ticket");
        drop(slab);
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn a_value_that_cannot_be_made_leaves_its_place_free() {
        let slab = Slab::<String>::with_capacity(1);
        let make = std::panic::AssertUnwindSafe(|| slab.insert_with(|| panic!("on purpose")));
        assert!(std::panic::catch_unwind(make).is_err());
        assert!(slab.insert("a value".to_owned()).is_ok());
        assert!(slab.insert_with(|| unreachable!("it is full")).is_none());
    }

    #[test]
    #[should_panic(expected = "another slab")]
    fn a_foreign_ticket_is_refused() {
        let slabs = [Slab::with_capacity(1), Slab::with_capacity(1)];
        let ticket = slabs[0].insert(1).expect("room");
        slabs[1].get(&ticket);
    }

    #[test]
    fn values_go_from_thread_to_thread() {
        let each = if cfg!(miri) { 40 } else { 20_000 };
        let slab = Slab::with_capacity(4);
        let ring = Ring::with_capacity(4);
        thread::scope(|scope| {
            for who in 0..2_u64 {
                let (slab, ring) = (&slab, &ring);
                scope.spawn(move || {
                    for turn in 0..each {
                        let mut value = [who, turn, who ^ turn];
                        let mut ticket = loop {
                            match slab.insert(value) {
                                Ok(ticket) => break ticket,
                                Err(back) => value = back,
                            }
                            thread::yield_now();
                        };
                        while let Err(back) = ring.push(ticket) {
                            ticket = back;
                            thread::yield_now();
                        }
                    }
                });
            }
            let mut next = [0; 2];
            while next != [each; 2] {
                let Some(ticket) = ring.pop() else {
                    thread::yield_now();
                    continue;
                };
                let [who, turn, check] = slab.remove(ticket, |&value| value);
                assert_eq!((turn, check), (next[who as usize], who ^ turn));
                next[who as usize] += 1;
            }
        });
        assert_eq!(slab.count(), 0);
    }
}

//! Who owns what.
//!
//! A C program never holds a pointer to an object of the library. It holds a number, and the object belongs to the
//! table behind it from the call that made it to the call that gives it up. Each function looks its handle up and keeps
//! the object alive until it returns, so that another thread may give it up meanwhile.
//!
//! ```text
//!   63   60 59     52 51                    28 27                         0
//!  +-------+---------+------------------------+----------------------------+
//!  | kind  |  epoch  |       generation       |           index            |
//!  +-------+---------+------------------------+----------------------------+
//! ```
//!
//! The kind is never 0, and tells a region from a socket; the epoch counts forks; the generation counts how often
//! the index was used. An index whose generations are used up is not used again. So a handle that was given up is never
//! mistaken for another one: using it, or giving it up twice, is -EBADF.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use uwarp::{CompletionQueue, Domain, Incoming, Listener, Options, Region, Socket};

use crate::failure::{Failure, Outcome};
use crate::fork;

const INDEX_BITS: u32 = 28;
const GENERATION_BITS: u32 = 24;
const EPOCH_BITS: u32 = 8;

const GENERATION_MAX: u32 = (1 << GENERATION_BITS) - 1;

/// Objects of one kind at a time.
const OBJECTS_MAX: usize = 1 << INDEX_BITS;

/// A region and where its memory begins.
#[derive(Debug)]
pub(crate) struct OwnedRegion {
    pub(crate) region: Region,
    /// The address, for the program alone: the library never uses it.
    pub(crate) address: usize,
}

/// All that C programs own.
pub(crate) struct Tables {
    pub(crate) domains: Table<Domain>,
    pub(crate) regions: Table<OwnedRegion>,
    pub(crate) options: Table<Mutex<Options>>,
    pub(crate) queues: Table<CompletionQueue>,
    pub(crate) listeners: Table<Listener>,
    pub(crate) incoming: Table<Incoming>,
    pub(crate) sockets: Table<Socket>,
}

impl Tables {
    pub(crate) const fn new() -> Self {
        Self {
            domains: Table::new(1, "domain"),
            regions: Table::new(2, "region"),
            options: Table::new(3, "options"),
            queues: Table::new(4, "completion queue"),
            listeners: Table::new(5, "listener"),
            incoming: Table::new(6, "incoming connection"),
            sockets: Table::new(7, "socket"),
        }
    }
}

/// The objects of one kind.
pub(crate) struct Table<T> {
    kind: u64,
    name: &'static str,
    slots: RwLock<Slots<T>>,
}

struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    object: Option<Arc<T>>,
}

impl<T> Slots<T> {
    /// Makes the place free; handles to it are stale from now on.
    fn free(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.object = None;
        if slot.generation < GENERATION_MAX {
            slot.generation += 1;
            self.free.push(index);
        }
    }
}

impl<T> Table<T> {
    const fn new(kind: u64, name: &'static str) -> Self {
        Self {
            kind,
            name,
            slots: RwLock::new(Slots {
                slots: Vec::new(),
                free: Vec::new(),
            }),
        }
    }

    fn handle(&self, index: u32, generation: u32) -> u64 {
        let epoch = u64::from(fork::epoch()) & ((1 << EPOCH_BITS) - 1);
        self.kind << (INDEX_BITS + GENERATION_BITS + EPOCH_BITS)
            | epoch << (INDEX_BITS + GENERATION_BITS)
            | u64::from(generation) << INDEX_BITS
            | u64::from(index)
    }

    /// Index and generation, if the handle is of this kind and of this process.
    fn parse(&self, handle: u64) -> Outcome<(usize, u32)> {
        let part = |shift: u32, bits: u32| (handle >> shift) & ((1 << bits) - 1);
        if handle >> (INDEX_BITS + GENERATION_BITS + EPOCH_BITS) != self.kind {
            return Err(self.stale(handle));
        }
        let epoch = part(INDEX_BITS + GENERATION_BITS, EPOCH_BITS);
        if epoch != u64::from(fork::epoch()) & ((1 << EPOCH_BITS) - 1) {
            return Err(Failure::new(
                libc::EPERM,
                format!("this {} belongs to the parent process", self.name),
            ));
        }
        let generation = part(INDEX_BITS, GENERATION_BITS) as u32;
        Ok((part(0, INDEX_BITS) as usize, generation))
    }

    fn stale(&self, handle: u64) -> Failure {
        let name = self.name;
        Failure::new(
            libc::EBADF,
            format!("{handle:#x} is no {name}, or one that was given up"),
        )
    }

    /// Takes an object in, and gives the program its handle.
    pub(crate) fn insert(&self, object: T) -> Outcome<u64> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let index = match slots.free.pop() {
            Some(index) => index,
            None if slots.slots.len() < OBJECTS_MAX => {
                slots.slots.push(Slot {
                    generation: 0,
                    object: None,
                });
                slots.slots.len() as u32 - 1
            }
            None => {
                let text = format!("no handle is left for another {}", self.name);
                return Err(Failure::new(libc::ENOSPC, text));
            }
        };
        let slot = &mut slots.slots[index as usize];
        slot.object = Some(Arc::new(object));
        let generation = slot.generation;
        Ok(self.handle(index, generation))
    }

    /// Looks an object up.
    pub(crate) fn get(&self, handle: u64) -> Outcome<Arc<T>> {
        let (index, generation) = self.parse(handle)?;
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots
            .slots
            .get(index)
            .filter(|slot| slot.generation == generation)
            .and_then(|slot| slot.object.clone())
            .ok_or_else(|| self.stale(handle))
    }

    /// Gives an object up: the table has it no more.
    pub(crate) fn remove(&self, handle: u64) -> Outcome<Arc<T>> {
        let (index, generation) = self.parse(handle)?;
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let object = slots
            .slots
            .get_mut(index)
            .filter(|slot| slot.generation == generation)
            .and_then(|slot| slot.object.take())
            .ok_or_else(|| self.stale(handle))?;
        slots.free(index as u32);
        Ok(object)
    }

    /// Gives an object up if nobody else is using it and `last` can bring it to its end. Otherwise it stays, with
    /// the same handle.
    ///
    /// Returns whether it is gone.
    pub(crate) fn try_remove(
        &self,
        handle: u64,
        last: impl FnOnce(T) -> Result<(), T>,
    ) -> Outcome<bool> {
        let (index, generation) = self.parse(handle)?;
        // Nobody looks it up while this lock is held.
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots
            .slots
            .get_mut(index)
            .filter(|slot| slot.generation == generation)
            .ok_or_else(|| self.stale(handle))?;
        let object = slot.object.take().ok_or_else(|| self.stale(handle))?;
        let kept = match Arc::try_unwrap(object) {
            Ok(object) => last(object).err().map(Arc::new),
            Err(shared) => Some(shared),
        };
        match kept {
            Some(object) => {
                slot.object = Some(object);
                Ok(false)
            }
            None => {
                slots.free(index as u32);
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno<U>(outcome: Outcome<U>) -> i32 {
        outcome.err().map_or(0, |failure| failure.errno)
    }

    #[test]
    fn a_handle_is_good_until_it_is_given_up() {
        let table = Table::new(3, "thing");
        let first = table.insert("first").expect("there is room");
        let second = table.insert("second").expect("there is room");
        assert!(first != 0 && first != second);
        assert_eq!(*table.get(first).expect("it is there"), "first");
        let kept = table.get(first).expect("it is there");
        assert_eq!(*table.remove(first).expect("it is there"), "first");
        assert_eq!(*kept, "first");
        assert_eq!(errno(table.get(first)), libc::EBADF);
        assert_eq!(errno(table.remove(first)), libc::EBADF);
        // The place is used again, under another number.
        let third = table.insert("third").expect("there is room");
        assert_eq!(third as u32 & 0xfff_ffff, first as u32 & 0xfff_ffff);
        assert_eq!(errno(table.get(first)), libc::EBADF);
        assert_eq!(*table.get(third).expect("it is there"), "third");
    }

    #[test]
    fn numbers_that_are_no_handles() {
        let (table, other) = (Table::new(3, "thing"), Table::new(4, "other"));
        let handle = table.insert(()).expect("there is room");
        other.insert(()).expect("there is room");
        for wrong in [0, 1, u64::MAX, handle + 1, handle | 1 << 40] {
            assert_eq!(errno(table.get(wrong)), libc::EBADF, "{wrong:#x}");
        }
        assert_eq!(errno(other.get(handle)), libc::EBADF);
        assert_eq!(errno(table.get(handle ^ 1 << 52)), libc::EPERM);
    }

    #[test]
    fn an_index_is_retired_when_its_generations_are_used_up() {
        let table = Table::new(1, "thing");
        let handle = table.insert(1).expect("there is room");
        table.slots.write().unwrap().slots[0].generation = GENERATION_MAX;
        let last = handle | u64::from(GENERATION_MAX) << INDEX_BITS;
        assert_eq!(*table.remove(last).expect("it is there"), 1);
        let next = table.insert(2).expect("there is room");
        assert_eq!(next & 0xfff_ffff, 1);
        assert_eq!(errno(table.get(last)), libc::EBADF);
    }

    #[test]
    fn removing_waits_for_nobody() {
        let table = Table::new(1, "thing");
        let handle = table.insert(5).expect("there is room");
        let user = table.get(handle).expect("it is there");
        assert!(matches!(table.try_remove(handle, |_| Ok(())), Ok(false)));
        drop(user);
        assert!(matches!(table.try_remove(handle, Err), Ok(false)));
        assert_eq!(*table.get(handle).expect("it is there"), 5);
        assert!(matches!(table.try_remove(handle, |_| Ok(())), Ok(true)));
        assert_eq!(errno(table.try_remove(handle, |_| Ok(()))), libc::EBADF);
    }
}

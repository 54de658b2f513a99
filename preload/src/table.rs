//! Which of the program's numbers are ours.
//!
//! A call for a number that is not in the table looks at one bit. A number in it has an [`Entry`], which the caller
//! holds as long as it likes; nothing is freed under it. Numbers that the program has made by dup share one.
//!
//! Whoever changes the table holds [`change`]: so the table and the system's agree while he does, and forks find the
//! table whole. Looking up needs no more than a read lock on the number's place, which is held for an instant.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::fate::Fate;
use crate::sys::NUMBERS;

/// What a number of the program's is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A TCP socket, not connected, whose connections shall be in DDPMODE.
    Marked,
    /// A TCP socket, connected or not, that the program means to give to `uwarp.h`'s calls: plain TCP until then, whatever
    /// else is asked for.
    Message,
    /// A plain TCP connection that was accepted then; its first octets will tell.
    Undecided(Instant),
    /// A connection in DDPMODE, by its signal.
    Stream(Arc<Endpoint>),
}

/// What all numbers made from one by dup have in common.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    fate: Arc<Fate>,
    numbers: Mutex<Vec<c_int>>,
    registrations: Mutex<Vec<Registration>>,
}

/// What the program has asked an epoll descriptor to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub(crate) set: c_int,
    pub(crate) number: c_int,
    pub(crate) events: u32,
    pub(crate) data: u64,
}

impl Entry {
    pub(crate) fn new(kind: Kind, number: c_int) -> Self {
        Self {
            kind,
            fate: Arc::default(),
            numbers: Mutex::new(vec![number]),
            registrations: Mutex::default(),
        }
    }

    /// What becomes of it.
    pub(crate) fn fate(&self) -> &Arc<Fate> {
        &self.fate
    }

    /// The numbers that refer to it.
    pub(crate) fn numbers(&self) -> Vec<c_int> {
        locked(&self.numbers).clone()
    }

    /// What is registered for its numbers.
    pub(crate) fn registrations(&self) -> Vec<Registration> {
        locked(&self.registrations).clone()
    }

    /// Notes a registration, which replaces that of the same number with the same descriptor.
    pub(crate) fn register(&self, new: Registration) {
        self.unregister(new.set, new.number);
        locked(&self.registrations).push(new);
    }

    pub(crate) fn unregister(&self, set: c_int, number: c_int) {
        locked(&self.registrations).retain(|old| (old.set, old.number) != (set, number));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CHUNK: usize = 1024;

type Place = RwLock<Option<Arc<Entry>>>;

type Chunk = [Place; CHUNK];

/// A bit for each number in the table.
static PRESENT: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];

/// Made when they are needed, never freed.
static CHUNKS: [AtomicPtr<Chunk>; NUMBERS / CHUNK] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; NUMBERS / CHUNK];

/// 64 bits of the table, of the numbers from 64 times `word` on.
pub(crate) fn present_word(word: usize) -> u64 {
    PRESENT
        .get(word)
        .map_or(0, |bits| bits.load(Ordering::Relaxed))
}

/// Whether the number is in the table.
#[inline]
pub(crate) fn has(fd: c_int) -> bool {
    usize::try_from(fd).is_ok_and(|fd| present_word(fd / 64) >> (fd % 64) & 1 != 0)
}

/// What a number is.
#[inline]
pub(crate) fn get(fd: c_int) -> Option<Arc<Entry>> {
    if has(fd) { look_up(fd) } else { None }
}

fn look_up(fd: c_int) -> Option<Arc<Entry>> {
    let number = usize::try_from(fd).ok()?;
    let chunk = CHUNKS.get(number / CHUNK)?.load(Ordering::Acquire);
    // SAFETY: a chunk is never freed once it is in its place, and its pointer comes from a box.
    let chunk = unsafe { chunk.as_ref() }?;
    let place = chunk[number % CHUNK].read();
    place.unwrap_or_else(PoisonError::into_inner).clone()
}

/// The right to change the table, and what the table's numbers refer to.
pub(crate) struct Change {
    _private: (),
}

/// Waits for the right to change the table. The holder may make system calls that do not wait, and take locks of
/// entries and signals; nobody asks for the right while he holds one of those.
pub(crate) fn change() -> Change {
    CHANGING.lock();
    Change { _private: () }
}

impl Drop for Change {
    fn drop(&mut self) {
        CHANGING.unlock();
    }
}

impl Change {
    /// Puts a number in. What it was before, if nobody has seen the program close that, ends. False if it cannot be.
    pub(crate) fn insert(&self, fd: c_int, kind: Kind) -> bool {
        if let Some((entry, true)) = self.remove(fd)
            && let Kind::Stream(endpoint) = &entry.kind
        {
            endpoint.finish();
        }
        self.put(fd, Some(Arc::new(Entry::new(kind, fd))))
    }

    /// Says that `new` is another number for what `entry` is.
    pub(crate) fn share(&self, entry: &Arc<Entry>, new: c_int) {
        if self.put(new, Some(Arc::clone(entry))) {
            locked(&entry.numbers).push(new);
        }
    }

    /// Puts back what has just been removed.
    pub(crate) fn restore(&self, entry: &Arc<Entry>, fd: c_int) {
        self.share(entry, fd);
        entry.fate.reopen();
        if let Kind::Stream(endpoint) = &entry.kind {
            endpoint.renumber(fd);
            endpoint.has_read();
        }
    }

    /// Says that all numbers of `entry` are of another kind from now on.
    pub(crate) fn become_kind(&self, entry: &Entry, kind: Kind) {
        let numbers = entry.numbers();
        let new = Arc::new(Entry {
            kind,
            fate: Arc::clone(&entry.fate),
            numbers: Mutex::new(numbers.clone()),
            registrations: Mutex::new(entry.registrations()),
        });
        for fd in numbers {
            self.put(fd, Some(Arc::clone(&new)));
        }
    }

    /// Takes a number out. With its entry comes whether that has no number any more.
    pub(crate) fn remove(&self, fd: c_int) -> Option<(Arc<Entry>, bool)> {
        let entry = get(fd)?;
        self.put(fd, None);
        let left = {
            let mut numbers = locked(&entry.numbers);
            numbers.retain(|&number| number != fd);
            numbers.first().copied()
        };
        locked(&entry.registrations).retain(|registration| registration.number != fd);
        if left.is_none() {
            entry.fate.close();
        }
        if let Kind::Stream(endpoint) = &entry.kind {
            match left {
                Some(left) => endpoint.renumber(left),
                None => endpoint.leave(),
            }
        }
        Some((entry, left.is_none()))
    }

    fn put(&self, fd: c_int, entry: Option<Arc<Entry>>) -> bool {
        let Some(number) = usize::try_from(fd).ok().filter(|&number| number < NUMBERS) else {
            return false;
        };
        let slot = &CHUNKS[number / CHUNK];
        let mut chunk = slot.load(Ordering::Acquire);
        if chunk.is_null() {
            let fresh: Box<Chunk> = Box::new([const { RwLock::new(None) }; CHUNK]);
            chunk = Box::into_raw(fresh);
            slot.store(chunk, Ordering::Release);
        }
        // SAFETY: a chunk is never freed once it is in its place, and its pointer comes from a box.
        let chunk = unsafe { &*chunk };
        let (word, bit) = (&PRESENT[number / 64], 1 << (number % 64));
        if entry.is_some() {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
        let mut place = chunk[number % CHUNK]
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, entry);
        drop(place);
        drop(old);
        true
    }
}

/// The numbers in the table from `first` to `last`.
pub(crate) fn present(first: usize, last: usize) -> impl Iterator<Item = c_int> {
    let last = last.min(NUMBERS - 1);
    (first / 64..=last / 64)
        .flat_map(|word| {
            let bits = present_word(word);
            (0..64)
                .filter(move |bit| bits >> bit & 1 != 0)
                .map(move |bit| word * 64 + bit)
        })
        .filter(move |number| (first..=last).contains(number))
        .filter_map(|number| c_int::try_from(number).ok())
}

/// Empties the table of a forked child, whose only thread this is, and returns what was in it: each entry once.
///
/// Threads of the parent may have held places for reading, so nothing is changed there: the old chunks are left as
/// they are.
pub(crate) fn forked() -> Vec<Arc<Entry>> {
    let mut found: Vec<Arc<Entry>> = Vec::new();
    for fd in present(0, NUMBERS - 1) {
        // A place that is held for reading can still be read.
        if let Some(entry) = look_up(fd)
            && entry.numbers().first() == Some(&fd)
        {
            found.push(entry);
        }
    }
    for chunk in &CHUNKS {
        chunk.store(std::ptr::null_mut(), Ordering::Release);
    }
    for word in &PRESENT {
        if word.load(Ordering::Relaxed) != 0 {
            word.store(0, Ordering::Relaxed);
        }
    }
    found
}

/// A lock that the handlers around a fork can take and give back.
struct Changing(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex of the C library's is made for several threads.
unsafe impl Sync for Changing {}

static CHANGING: Changing = Changing(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

impl Changing {
    fn lock(&self) {
        // SAFETY: it is initialised, and never moved or destroyed.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
    }

    fn unlock(&self) {
        // SAFETY: as above, and the calling thread holds it.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

/// Before a fork: nobody changes the table.
pub(crate) fn before_fork() {
    CHANGING.lock();
}

/// After a fork, in both processes.
pub(crate) fn after_fork() {
    CHANGING.unlock();
}

/// The process that the table is of.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// Says that the table is this process's.
pub(crate) fn settle() {
    PROCESS.store(process(), Ordering::Relaxed);
}

/// Whether the calling process only has the table's memory, as a child of vfork before its exec does. What it does to
/// its numbers does not concern the table.
pub(crate) fn is_borrowed() -> bool {
    PROCESS.load(Ordering::Relaxed) != process()
}

fn process() -> c_int {
    // SAFETY: it has no condition.
    unsafe { libc::getpid() }
}

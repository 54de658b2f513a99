//! What becomes of a connection while calls wait for it.
//!
//! A call that waits does so in the kernel, with nothing of Rust's to be dropped; meanwhile other threads may close its
//! number, or give it to another connection. So it keeps a [`Fate`], and looks at it when it goes on.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use crate::endpoint::Endpoint;
use crate::table::{self, Entry};

/// Shared by a connection's entry in the table, its endpoint, and those who wait.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    state: AtomicU8,
    /// How many wait for the signal now.
    watchers: AtomicUsize,
}

const HERE: u8 = 0;
const PLAIN: u8 = 1;
const CLOSED: u8 = 2;

impl Fate {
    /// It is plain TCP from now on; its numbers are those of the TCP socket.
    pub(crate) fn become_plain(&self) {
        self.state.store(PLAIN, Ordering::Release);
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.state.load(Ordering::Acquire) == PLAIN
    }

    /// Its last number is closed.
    pub(crate) fn close(&self) {
        let order = Ordering::AcqRel;
        let _ = self
            .state
            .compare_exchange(HERE, CLOSED, order, Ordering::Relaxed);
    }

    /// It was not closed after all.
    pub(crate) fn reopen(&self) {
        let order = Ordering::AcqRel;
        let _ = self
            .state
            .compare_exchange(CLOSED, HERE, order, Ordering::Relaxed);
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn add_watcher(&self) {
        self.watchers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_watcher(&self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a call that waits keeps of its connection. It is given back by [`done`](Self::done), once; a thread that is
/// cancelled meanwhile loses some octets of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    fate: *const Fate,
}

impl Waiter {
    /// Watches the signal of `endpoint`.
    pub(crate) fn watch(endpoint: &Endpoint) -> Self {
        endpoint.watch();
        Self {
            fate: Arc::into_raw(Arc::clone(endpoint.fate())),
        }
    }

    /// Of a connection that has no signal yet.
    pub(crate) fn undecided(entry: &Entry) -> Self {
        entry.fate().add_watcher();
        Self {
            fate: Arc::into_raw(Arc::clone(entry.fate())),
        }
    }

    /// Ends the watch, and tells whether `fd` still is what it was.
    ///
    /// # Errors
    /// EBADF if somebody has closed the number, whatever it is by now.
    pub(crate) fn done(self, fd: c_int) -> Result<(), c_int> {
        // SAFETY: it comes from `into_raw` of the one call that has made this, which gives it back once.
        let fate = unsafe { Arc::from_raw(self.fate) };
        fate.remove_watcher();
        match table::get(fd) {
            Some(entry) if Arc::ptr_eq(entry.fate(), &fate) => Ok(()),
            None if fate.is_plain() => Ok(()),
            _ => Err(libc::EBADF),
        }
    }
}

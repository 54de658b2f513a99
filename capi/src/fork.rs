//! What forks do to the tables.
//!
//! A child begins with empty tables: a thread of its parent's may have held the locks of the old ones. Handles say in
//! which process they were made, so that the parent's are told from others.

use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::handle::Tables;

/// Forks between the first process and this one.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// Leaked, so that it outlives every thread; null until it is needed.
static TABLES: AtomicPtr<Tables> = AtomicPtr::new(std::ptr::null_mut());

/// The parent's tables. Nobody uses them, but what they hold is not lost.
static STALE: AtomicPtr<Tables> = AtomicPtr::new(std::ptr::null_mut());

static PREPARE: Once = Once::new();

pub(crate) fn epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// The tables of this process.
pub(crate) fn tables() -> &'static Tables {
    let mut tables = TABLES.load(Ordering::Acquire);
    if tables.is_null() {
        PREPARE.call_once(prepare);
        let fresh = Box::into_raw(Box::new(Tables::new()));
        let installed = TABLES.compare_exchange(
            std::ptr::null_mut(),
            fresh,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        tables = match installed {
            Ok(_) => fresh,
            Err(other) => {
                // SAFETY: it was made above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                other
            }
        };
    }
    // SAFETY: it comes from a box that is never freed once it has been installed.
    unsafe { &*tables }
}

fn prepare() {
    // SAFETY: the handler only uses atomics, which may be done after a fork.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

/// Runs in the child of every fork, in the only thread that is left.
extern "C" fn in_child() {
    EPOCH.fetch_add(1, Ordering::Relaxed);
    let parents = TABLES.swap(std::ptr::null_mut(), Ordering::AcqRel);
    STALE.store(parents, Ordering::Release);
}

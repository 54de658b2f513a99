//! Who drives: a value that one thread at a time may use, and nobody waits for.
//!
//! A connection is driven by its worker, by a caller that posts, or by a caller that waits, whoever comes first. Whoever
//! comes while another has it leaves a *call* and goes; the one who has it learns of the call when it lets go, and
//! then sees to it that somebody looks again. So nobody ever waits, and nothing that was queued before a call is
//! overlooked.
//!
//! | state | meaning | `try_drive` | letting go |
//! |-------|---------|-------------|------------|
//! | `FREE` | nobody drives | takes it: `HELD` | |
//! | `HELD` | one thread drives | leaves a call: `CALLED` | `FREE`, nothing is owed |
//! | `CALLED` | one thread drives, others came in vain | stays | `FREE`, [`Driven::called`]: a look is owed |

use super::sync::{AtomicUsize, UnsafeCell};
use std::fmt;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

const FREE: usize = 0;
const HELD: usize = 1;
const CALLED: usize = 2;

/// A value with one user at a time; see the [module documentation](self).
pub(crate) struct Baton<T> {
    state: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: the value is handed from thread to thread, and used by one at a time.
unsafe impl<T: Send> Send for Baton<T> {}
// SAFETY: as above; the state's exchanges order one user after the other.
unsafe impl<T: Send> Sync for Baton<T> {}

/// What a use of the value came to.
#[derive(Debug)]
#[must_use]
pub(crate) struct Driven<R> {
    /// What the user's function gave.
    pub(crate) result: R,
    /// Somebody came in vain meanwhile: what it had queued may not have been seen, and the caller owes a look.
    pub(crate) called: bool,
}

/// Lets go, also when the user's function panics.
struct Hold<'a>(&'a AtomicUsize);

impl Hold<'_> {
    fn release(self) -> bool {
        let called = self.0.swap(FREE, AcqRel) == CALLED;
        std::mem::forget(self);
        called
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.swap(FREE, AcqRel);
    }
}

impl<T> Baton<T> {
    /// A value that nobody uses.
    pub(crate) fn new(value: T) -> Self {
        Self {
            state: AtomicUsize::new(FREE),
            value: UnsafeCell::new(value),
        }
    }

    /// Lets `drive` use the value if nobody else does; otherwise leaves a call and returns `None` at once.
    pub(crate) fn try_drive<R>(&self, drive: impl FnOnce(&mut T) -> R) -> Option<Driven<R>> {
        if !self.take() {
            return None;
        }
        let hold = Hold(&self.state);
        // SAFETY: the exchange in `take` made this thread the only user until `hold` lets go.
        let result = self.value.with_mut(|value| drive(unsafe { &mut *value }));
        let called = hold.release();
        Some(Driven { result, called })
    }

    fn take(&self) -> bool {
        let mut state = FREE;
        loop {
            // The call is stored anew even if there is one: so the holder sees what this thread has queued.
            let next = if state == FREE { HELD } else { CALLED };
            match self
                .state
                .compare_exchange_weak(state, next, AcqRel, Acquire)
            {
                Ok(_) => return state == FREE,
                Err(now) => state = now,
            }
        }
    }
}

impl<T> fmt::Debug for Baton<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Baton").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_drives_and_the_others_are_heard_of() {
        let baton = Baton::new(0);
        let driven = baton
            .try_drive(|value| {
                assert!(baton.try_drive(|_| ()).is_none());
                assert!(baton.try_drive(|_| ()).is_none(), "and again");
                *value += 1;
                *value
            })
            .expect("nobody drives");
        assert_eq!((driven.result, driven.called), (1, true));
        let driven = baton.try_drive(|value| *value).expect("nobody drives");
        assert_eq!((driven.result, driven.called), (1, false));
    }

    #[test]
    fn a_panic_lets_go() {
        let baton = Baton::new(());
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = baton.try_drive(|()| panic!("on purpose"));
        }));
        assert!(panic.is_err());
        assert!(baton.try_drive(|()| ()).is_some());
    }

    #[test]
    fn threads_do_not_meet_and_no_call_is_lost() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let each = if cfg!(miri) { 50 } else { 20_000 };
        let (baton, queued) = (Baton::new(0), AtomicUsize::new(0));
        let work = || {
            for _ in 0..each {
                queued.fetch_add(1, Ordering::Relaxed);
                while let Some(driven) =
                    baton.try_drive(|done| *done += queued.swap(0, Ordering::Relaxed))
                    && driven.called
                {}
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(work);
            }
        });
        let driven = baton.try_drive(|done| *done).expect("nobody drives");
        assert_eq!((driven.result, queued.into_inner()), (3 * each, 0));
    }
}

//! A state that some threads wait for and others must not.
//!
//! The uwarp worker must not wait for a program's thread, which may hold the lock and not be running. So it leaves a
//! call, and tries the lock: if somebody holds it, that one finds the call when it leaves.
//!
//! ```text
//!     caller    swap(called, true)  -->  is the lock free?    yes: take it, do the work
//!     holder    release the lock    -->  or(called, false)    was true: take it, do the work
//! ```
//!
//! Both are exchanges, so that of any two the later one sees all that was done before the earlier one: if the holder's
//! comes first and finds no call, the caller's comes later and finds the lock released. No call is overlooked.

use crate::sync::{AtomicBool, Mutex, MutexGuard};
use std::sync::atomic::Ordering::AcqRel;
use std::sync::{PoisonError, TryLockError};

/// A state behind a lock, with work to be done on it whenever somebody has called.
#[derive(Debug)]
pub(crate) struct Handover<T> {
    state: Mutex<T>,
    called: AtomicBool,
}

impl<T> Handover<T> {
    pub(crate) fn new(state: T) -> Self {
        Self {
            state: Mutex::new(state),
            called: AtomicBool::new(false),
        }
    }

    /// Has `work` done, by this thread or by the one that holds the state. Never waits.
    pub(crate) fn call(&self, work: impl FnMut(&mut T)) {
        self.called.swap(true, AcqRel);
        self.settle(work);
    }

    /// Waits for its turn and acts; then does the `work` of those who called meanwhile.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R, work: impl FnMut(&mut T)) -> R {
        let outcome = act(&mut self.lock());
        self.settle(work);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, mut work: impl FnMut(&mut T)) {
        loop {
            // An exchange that changes nothing: a load might not see a call that has not seen the lock released.
            if !self.called.fetch_or(false, AcqRel) {
                return;
            }
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever holds it comes by here when it has let go.
                Err(TryLockError::WouldBlock) => return,
            };
            if self.called.swap(false, AcqRel) {
                work(&mut state);
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::Handover;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;
    use std::sync::atomic::Ordering::SeqCst;

    /// Takes the news. The last step is only there so that other threads run while the state is held.
    fn look(found: &mut usize, news: &AtomicUsize) {
        *found += news.swap(0, SeqCst);
        news.load(SeqCst);
    }

    /// What callers leave behind is found by somebody, whatever else goes on.
    #[test]
    fn loom_no_call_is_overlooked() {
        let mut model = loom::model::Builder::new();
        // More changes of mind than these show nothing new.
        model.preemption_bound = Some(3);
        model.check(|| {
            let news = Arc::new(AtomicUsize::new(0));
            let handover = Arc::new(Handover::new(0));
            let caller = {
                let (news, handover) = (Arc::clone(&news), Arc::clone(&handover));
                thread::spawn(move || {
                    for _ in 0..2 {
                        news.fetch_add(1, SeqCst);
                        handover.call(|found| look(found, &news));
                    }
                })
            };
            // The program's thread, which waits for its turn.
            handover.with(|found| look(found, &news), |found| look(found, &news));
            caller.join().unwrap();
            assert_eq!(handover.with(|found| *found, |_| ()), 2);
        });
    }
}

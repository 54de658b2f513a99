//! A worker that is lent to a caller that waits.
//!
//! A program with one thread and an event loop does nothing while it waits, and what it waits for is the worker's to find.
//! Each arrival then costs two wake-ups, the worker's and the program's. So the program's thread does the worker's work
//! itself while it waits, as a [`Helper`]: it polls what the worker polls and gives the sockets their turns.
//!
//! What the worker's thread owns lies in a slot while it is lent. The thread sleeps, and comes by now and then.
//!
//! | the helper | the worker's thread |
//! |------------|---------------------|
//! | works again and again, or says that it [is busy](Helper::is_busy) | sleeps from tick to tick |
//! | has not worked since the last tick | takes all back |
//! | sleeps on the poll of the worker | sleeps, and looks rarely |
//! | works while the worker has not lent | lends after its turn |
//! | goes, and [others wait](Helper::waits) | takes all back at once |
//!
//! So what arrives when the helper does something else waits for two ticks at the most.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::poll::Events;
use crate::worker::{Worker, WorkerHandle, Workers};

/// How often the worker's thread looks whether its helper still works.
const TICK: Duration = Duration::from_millis(1);

/// How often it looks while the helper sleeps: a thread that was cancelled does not say that it has gone.
const LONG_TICK: Duration = Duration::from_millis(500);

/// What a worker and its helpers share.
#[derive(Debug, Default)]
pub(crate) struct Lending {
    slot: Mutex<Slot>,
    /// The worker's thread is to look.
    due: Condvar,
    /// Somebody would help.
    wanted: AtomicBool,
    /// It is lent.
    lent: AtomicBool,
    /// It is to take itself back.
    recalled: AtomicBool,
    /// Callers that wait for what it does and do not help, by [`Alone`]'s weights.
    waiters: AtomicUsize,
    /// Counts what helpers have done.
    helped: AtomicUsize,
    /// A helper sleeps on the poll.
    asleep: AtomicBool,
    /// The worker's thread looks rarely.
    dormant: AtomicBool,
}

#[derive(Debug, Default)]
struct Slot {
    worker: Option<Worker>,
    events: Events,
}

impl Lending {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a helper has come.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
            && self.waiters.load(Ordering::SeqCst) <= Alone::Perhaps.weight()
    }

    /// The worker's thread takes all back, if it has lent it.
    pub(crate) fn recall(&self) {
        if self.lent.load(Ordering::SeqCst) {
            self.recalled.store(true, Ordering::SeqCst);
            self.wake();
        }
    }

    /// It is not lent any more, for good.
    pub(crate) fn end(&self) {
        self.waiters.fetch_add(Alone::No.weight(), Ordering::SeqCst);
        self.recall();
    }

    fn wake(&self) {
        // Whoever is about to sleep has the lock, and has looked before.
        drop(self.lock());
        self.due.notify_all();
    }

    /// Lends the worker; returns it when it is needed again.
    pub(crate) fn lend(&self, worker: Worker) -> Worker {
        let mut slot = self.lock();
        slot.worker = Some(worker);
        self.recalled.store(false, Ordering::SeqCst);
        self.lent.store(true, Ordering::SeqCst);
        // Either whoever begins to wait sees that it is lent, or this sees who waits.
        if !self.is_wanted() {
            self.recalled.store(true, Ordering::SeqCst);
        }
        let mut seen = self.helped.load(Ordering::Relaxed);
        loop {
            let dormant =
                self.asleep.load(Ordering::SeqCst) && !self.recalled.load(Ordering::SeqCst);
            self.dormant.store(dormant, Ordering::SeqCst);
            // With `Helper::woke`: either it sees that this looks rarely, or this sees that it is awake.
            let dormant = dormant && self.asleep.load(Ordering::SeqCst);
            let recalled = self.recalled.load(Ordering::SeqCst);
            if !recalled {
                let time = if dormant { LONG_TICK } else { TICK };
                slot = self
                    .due
                    .wait_timeout(slot, time)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            let now = self.helped.load(Ordering::Relaxed);
            let idle = std::mem::replace(&mut seen, now) == now;
            if has_waited(dormant, &slot) {
                // Whoever slept has gone.
                self.asleep.store(false, Ordering::SeqCst);
            }
            let helps = !idle || self.asleep.load(Ordering::SeqCst);
            if (!helps || self.recalled.load(Ordering::SeqCst))
                && let Some(worker) = slot.worker.take()
            {
                self.lent.store(false, Ordering::SeqCst);
                self.dormant.store(false, Ordering::SeqCst);
                self.wanted.store(false, Ordering::Relaxed);
                return worker;
            }
        }
    }
}

/// Whether something has waited for long, so that the helper cannot be there.
fn has_waited(dormant: bool, slot: &Slot) -> bool {
    dormant && slot.worker.as_ref().is_none_or(Worker::has_work)
}

/// A caller's way to do a worker's work while it has nothing else to do; see
/// [`Workers::helper`](crate::Workers::helper).
///
/// ```text
///     loop {
///         helper.work();
///         // Look for what the caller waits for, and go if it is there.
///         match helper.sleeps() {
///             Sleep::NotNow => {}
///             // Wait for `helper.descriptor()` as well, at most for `time`.
///             Sleep::Helping(time) => helper.woke(),
///             // Wait, between `helper.waits` and `helper.waited`.
///             Sleep::AsEver => break,
///         }
///     }
///     helper.leaves();
/// ```
#[derive(Clone, Debug)]
pub struct Helper {
    handle: WorkerHandle,
}

/// What a helper may do when there is nothing to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// Sleep, for so long at the most if it is said, until the [descriptor](Helper::descriptor) is readable or what it
    /// waits for has come; and then say that it [woke](Helper::woke).
    Helping(Option<Duration>),
    /// Not sleep: there is something to do.
    NotNow,
    /// Sleep as ever: the worker has not lent itself, or another one helps.
    AsEver,
}

/// Whether a caller that waits as ever is the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// If no other waits it will help when the worker has lent itself.
    Perhaps,
    /// It will not.
    No,
}

impl Alone {
    const fn weight(self) -> usize {
        match self {
            Self::Perhaps => 1,
            Self::No => 2,
        }
    }
}

impl Helper {
    /// Does what there is to do now, if the worker has lent itself; it will soon otherwise. Whether it has. Does not
    /// block.
    pub fn work(&self) -> bool {
        if !self.handle.is_ours() {
            return false;
        }
        let lending = self.handle.lending();
        let mut slot = match lending.slot.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another one helps, or the worker takes itself back.
            Err(TryLockError::WouldBlock) => return false,
        };
        let Slot { worker, events } = &mut *slot;
        let Some(worker) = worker else {
            if !lending.wanted.load(Ordering::Relaxed) {
                lending.wanted.store(true, Ordering::Relaxed);
            }
            return false;
        };
        worker.help(events);
        lending.helped.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Says that the caller is about to sleep, and how it may.
    #[must_use]
    pub fn sleeps(&self) -> Sleep {
        if !self.handle.is_ours() {
            return Sleep::AsEver;
        }
        let lending = self.handle.lending();
        let slot = match lending.slot.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Sleep::NotNow,
        };
        let Some(worker) = &slot.worker else {
            return Sleep::AsEver;
        };
        if lending.asleep.swap(true, Ordering::SeqCst) {
            return Sleep::AsEver;
        }
        if let Some(deadline) = worker.announce_sleep() {
            let now = Instant::now();
            return Sleep::Helping(deadline.map(|at| at.saturating_duration_since(now)));
        }
        drop(slot);
        self.woke();
        Sleep::NotNow
    }

    /// The caller does not sleep any more.
    pub fn woke(&self) {
        let lending = self.handle.lending();
        self.handle.withdraw_sleep();
        lending.asleep.store(false, Ordering::SeqCst);
        if lending.dormant.swap(false, Ordering::SeqCst) {
            // From now on it ticks.
            lending.helped.fetch_add(1, Ordering::Relaxed);
            lending.wake();
        }
    }

    /// The caller is still at work with what it has found, and will soon be back.
    pub fn is_busy(&self) {
        let lending = self.handle.lending();
        if lending.lent.load(Ordering::Relaxed) {
            lending.helped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The caller does something else now. It may come back soon.
    pub fn leaves(&self) {
        let lending = self.handle.lending();
        if lending.waiters.load(Ordering::SeqCst) > 0 && self.handle.is_ours() {
            lending.recall();
        }
    }

    /// A caller begins to wait as ever for what the worker does.
    pub fn waits(&self, alone: Alone) {
        if self.handle.is_ours() {
            let lending = self.handle.lending();
            lending.waiters.fetch_add(alone.weight(), Ordering::SeqCst);
            lending.recall();
        }
    }

    /// It waits no more.
    pub fn waited(&self, alone: Alone) {
        if self.handle.is_ours() {
            let fewer = |waiters: usize| Some(waiters.saturating_sub(alone.weight()));
            let waiters = &self.handle.lending().waiters;
            let _ = waiters.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer);
        }
    }

    /// What the worker polls: readable when there is something to do.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.handle.poll().as_fd()
    }
}

impl Workers {
    /// A way to help the worker, of which there must be one alone: `None` if there are more.
    ///
    /// # Errors
    /// When they are those of another process.
    pub fn helper(&self) -> Result<Option<Helper>, Error> {
        if !self.are_ours() {
            return Err(Error::Forked);
        }
        Ok(self.only().map(|handle| Helper { handle }))
    }
}

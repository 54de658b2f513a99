//! Attending to a connection while waiting for something else than a completion.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::link::Link;
use crate::ring::{Doorbell, EventBell};

/// The connection of a socket, for a caller that waits for what comes of it.
///
/// It keeps the connection's memory, but not the connection: that ends with its [`Socket`](crate::Socket).
#[derive(Clone, Debug)]
pub struct Attendant {
    link: Arc<Link>,
}

impl Attendant {
    pub(crate) const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Waits until `done` gives something, at most until `deadline` (for ever if `None`), and drives the connection
    /// meanwhile, as [`Socket::wait`](crate::Socket::wait) does; completions stay in their queue, or go to its
    /// [notifier](crate::Notify). Returns early, with `None`, now and then, and when the connection ends.
    ///
    /// `done` is asked whenever something has come, and when `bell` is rung. One caller at a time attends: `None` is
    /// returned to others instead of the result.
    ///
    /// # Errors
    /// When the process has no descriptor left to wait on.
    pub fn wait_until<T>(
        &self,
        bell: &Bell,
        deadline: Option<Instant>,
        done: impl FnMut() -> Option<T>,
    ) -> Option<io::Result<Option<T>>> {
        if !self.link.completions.is_ours() {
            return None;
        }
        crate::attend::wait_until(&self.link, bell, deadline, done)
    }
}

/// What wakes the caller that attends to a connection, when another thread has changed what it waits for.
///
/// It has no descriptor of its own: a thread that sleeps lends it the one that the thread has for all its waits.
#[derive(Default)]
pub struct Bell {
    /// Somebody sleeps, or is about to and looks once more.
    asleep: AtomicBool,
    lent: Mutex<Lent>,
}

/// What the sleeper has lent, and whether it has been rung.
#[derive(Default)]
struct Lent {
    bell: Option<Arc<EventBell>>,
    rung: bool,
}

thread_local! {
    /// The thread's own, and the process that made it.
    static OWN: RefCell<Option<(u32, Arc<EventBell>)>> = const { RefCell::new(None) };
}

/// The thread's own.
fn own() -> Arc<EventBell> {
    let generation = crate::fork::generation();
    OWN.try_with(|own| {
        let mut own = own.borrow_mut();
        match &*own {
            Some((made_in, bell)) if *made_in == generation => Arc::clone(bell),
            _ => {
                let bell = Arc::new(EventBell::default());
                *own = Some((generation, Arc::clone(&bell)));
                bell
            }
        }
    })
    // A thread that ends has none any more.
    .unwrap_or_default()
}

impl Bell {
    /// Wakes the caller that sleeps, if one does. To be called after the change.
    pub fn ring(&self) {
        // With `doze`: either the sleeper sees the change, or this sees the sleeper.
        if self.asleep.load(Ordering::SeqCst) {
            let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(bell) = lent.bell.clone()
                && !lent.rung
            {
                lent.rung = true;
                bell.ring();
            }
        }
    }

    /// Sleeps until it is rung, `input` has input, or `deadline` has passed, or for no reason; not at all if `look` says
    /// that there is no need.
    pub(crate) fn doze(
        &self,
        input: Option<BorrowedFd<'_>>,
        deadline: Instant,
        mut look: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let bell = own();
        bell.open()?;
        self.lend(Some(Arc::clone(&bell)));
        self.asleep.store(true, Ordering::SeqCst);
        let slept = if look() {
            Ok(true)
        } else {
            bell.listen(input, Some(deadline))
        };
        self.asleep.store(false, Ordering::SeqCst);
        if self.lend(None) {
            bell.silence();
        }
        slept.map(drop)
    }

    /// Lends a bell, or takes it back. Whether the one before has been rung.
    fn lend(&self, bell: Option<Arc<EventBell>>) -> bool {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *lent, Lent { bell, rung: false }).rung
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell")
            .field("asleep", &self.asleep)
            .finish_non_exhaustive()
    }
}

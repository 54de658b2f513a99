//! A ring that says when there is something in it.

use super::doorbell::{Doorbell, Sleeper, Wakeup};
use super::mpmc::Ring;

/// A [`Ring`] whose consumers may sleep until its doorbell rings.
///
/// Once the bell is watched or slept on, it rings as long as values wait. It may ring a little longer: it falls silent
/// when `pop` finds nothing.
#[derive(Debug)]
pub(crate) struct BelledRing<T, D> {
    ring: Ring<T>,
    wakeup: Wakeup,
    bell: D,
}

impl<T, D: Doorbell> BelledRing<T, D> {
    /// An empty ring for at least `capacity` values, and its bell.
    pub(crate) fn new(capacity: usize, bell: D) -> Self {
        Self {
            ring: Ring::with_capacity(capacity),
            wakeup: Wakeup::new(),
            bell,
        }
    }

    /// The values.
    pub(crate) fn ring(&self) -> &Ring<T> {
        &self.ring
    }

    /// The bell.
    pub(crate) fn bell(&self) -> &D {
        &self.bell
    }

    /// Puts `value` at the end and wakes whoever sleeps, or gives it back if the ring is full.
    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        self.ring.push(value)?;
        self.wakeup.filled(&self.bell);
        Ok(())
    }

    /// Takes the first value; if there is none, silences the bell.
    pub(crate) fn pop(&self) -> Option<T> {
        if let Some(value) = self.ring.pop() {
            return Some(value);
        }
        if !self.wakeup.emptied(&self.bell) {
            return None;
        }
        let value = self.ring.pop();
        self.ring_if_any();
        value
    }

    /// Has the bell ring for good whenever values wait, for somebody outside to watch.
    pub(crate) fn watch(&self) {
        self.wakeup.watch();
        self.ring_if_any();
    }

    /// Whether somebody outside watches the bell.
    pub(crate) fn is_watched(&self) -> bool {
        self.wakeup.is_watched()
    }

    /// Whether the bell does not ring; see [`Wakeup::is_silent`].
    pub(crate) fn is_silent(&self) -> bool {
        self.wakeup.is_silent()
    }

    /// Counts the caller as asleep while the guard lives; it must `pop` once more before it waits for the bell.
    pub(crate) fn sleep(&self) -> Sleeper<'_> {
        self.wakeup.sleep()
    }

    fn ring_if_any(&self) {
        if !self.ring.is_empty() {
            self.wakeup.filled(&self.bell);
        }
    }
}

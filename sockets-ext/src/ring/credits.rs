//! Counting what may be outstanding.

use super::sync::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A fixed number of places, taken before work is started and given back when its outcome has been taken away.
///
/// A descriptor that is posted takes a credit for its completion; the credit comes back after the completion was
/// popped. With no more credits than the completion ring has slots, a completion therefore always finds room: giving
/// back *releases* the slot that the pop freed, and taking *acquires* it.
#[derive(Debug)]
pub(crate) struct Credits {
    left: AtomicUsize,
    limit: usize,
}

impl Credits {
    /// `limit` credits, none taken.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            left: AtomicUsize::new(limit),
            limit,
        }
    }

    /// Takes `n` credits, or none at all if fewer are left.
    pub(crate) fn try_take(&self, n: usize) -> bool {
        self.left
            .fetch_update(Acquire, Relaxed, |left| left.checked_sub(n))
            .is_ok()
    }

    /// Gives `n` credits back. What was never taken is not added: there are never more than the limit.
    pub(crate) fn give(&self, n: usize) {
        // The closure always has an answer, so this cannot fail.
        let _ = self.left.fetch_update(Release, Relaxed, |left| {
            Some(left.saturating_add(n).min(self.limit))
        });
    }

    /// How many can be taken; by the time it is known it may be out of date.
    #[cfg(test)]
    pub(crate) fn available(&self) -> usize {
        self.left.load(Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn all_or_nothing() {
        let credits = Credits::new(5);
        assert!(credits.try_take(3));
        assert!(!credits.try_take(3));
        assert_eq!(credits.available(), 2);
        assert!(credits.try_take(2) && credits.try_take(0) && !credits.try_take(1));
        credits.give(4);
        assert_eq!(credits.available(), 4);
    }

    #[test]
    fn giving_too_much_is_not_lending() {
        let credits = Credits::new(2);
        assert!(credits.try_take(1));
        credits.give(usize::MAX);
        assert_eq!(credits.available(), 2);
    }
}

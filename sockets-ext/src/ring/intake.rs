//! The way of a request from whoever posts it to the worker of its socket.
//!
//! Three things are counted before a request is queued, and none is waited for: a place for its completion, a place in
//! its queue, a slot of the ring. Each has been given back when its request is refused for want of the next.
//!
//! A socket stands in its worker's queue once at the most; `scheduled` says that it does. Whoever posts puts the
//! request in *first* and then looks at the flag; the worker clears the flag *first* and then looks for requests:
//!
//! ```text
//!     caller    push the request  -->  swap(scheduled, true)   --> was false: queue the socket
//!     worker    take the socket   -->  swap(scheduled, false)  --> take the requests
//! ```
//!
//! Both are exchanges, so that of any two the later one sees all that was done before the earlier one: if the caller
//! finds the flag set, the worker's exchange comes later and finds the request.
//!
//! Ending goes in three steps. `closing`: no more Sends, what is posted goes out. `closed`: nothing more is accepted;
//! what is posted nevertheless, because its caller had looked a moment earlier, is flushed when the worker comes to it.
//! `orphaned`: the last handle is gone, so that nothing can be posted any more. Only a worker that has seen *that*
//! may take the rest and forget the socket.

use super::credits::Credits;
use super::mpmc::Ring;
use super::sync::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

/// Which of a socket's two queues a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Sends, Writes, Reads, atomic operations and Immediate Data.
    Sends,
    /// Receives.
    Receives,
}

/// Why a request was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The socket takes no more such requests, now or ever.
    Closed,
    /// There is no place for it, or for its completion.
    Full,
}

/// Requests on their way to a worker, and what the worker has to know of the socket.
#[derive(Debug)]
pub(crate) struct Intake<T> {
    sends: Lane<T>,
    receives: Lane<T>,
    scheduled: AtomicBool,
    closing: AtomicBool,
    closed: AtomicBool,
    orphaned: AtomicBool,
}

#[derive(Debug)]
struct Lane<T> {
    ring: Ring<T>,
    /// Requests that may be incomplete at a time.
    places: Credits,
}

impl<T> Lane<T> {
    fn new(places: usize) -> Self {
        Self {
            ring: Ring::with_capacity(places),
            places: Credits::new(places),
        }
    }
}

impl<T> Intake<T> {
    /// Queues for so many incomplete requests.
    pub(crate) fn new(sends: usize, receives: usize) -> Self {
        Self {
            sends: Lane::new(sends),
            receives: Lane::new(receives),
            scheduled: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            orphaned: AtomicBool::new(false),
        }
    }

    /// Queues a request, and takes one of `completions` for it. The caller must then [`schedule`](Self::schedule).
    ///
    /// # Errors
    /// When it is refused; nothing has been taken then.
    pub(crate) fn post(
        &self,
        queue: Queue,
        request: T,
        completions: &Credits,
    ) -> Result<(), Refusal> {
        if self.closed.load(Acquire) || queue == Queue::Sends && self.closing.load(Acquire) {
            return Err(Refusal::Closed);
        }
        let lane = self.lane(queue);
        if !completions.try_take(1) {
            return Err(Refusal::Full);
        }
        if !lane.places.try_take(1) {
            completions.give(1);
            return Err(Refusal::Full);
        }
        if lane.ring.push(request).is_err() {
            lane.places.give(1);
            completions.give(1);
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Says that there is something to do. Whether the caller has to put the socket into its worker's queue: if
    /// not, it is there already, and the worker has not yet looked.
    #[must_use]
    pub(crate) fn schedule(&self) -> bool {
        !self.scheduled.swap(true, AcqRel)
    }

    /// For the worker, when it has taken the socket from its queue and before it looks for anything: what is done from
    /// here on schedules the socket anew.
    pub(crate) fn unschedule(&self) {
        // An exchange and no store, which would not see what was done before a `schedule` that found the flag set.
        self.scheduled.swap(false, AcqRel);
    }

    /// The next request, for the worker.
    pub(crate) fn take(&self, queue: Queue) -> Option<T> {
        self.lane(queue).ring.pop()
    }

    /// A request of this queue is complete, and its place is free. To be called before its completion is shown.
    pub(crate) fn completed(&self, queue: Queue) {
        self.lane(queue).places.give(1);
    }

    /// Sends are refused from now on.
    pub(crate) fn set_closing(&self) {
        self.closing.store(true, Release);
    }

    /// Whether everything is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    /// Everything is refused from now on.
    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Release);
    }

    /// Nothing will be posted any more: the handle has been dropped. The caller must then schedule.
    pub(crate) fn set_orphaned(&self) {
        self.orphaned.store(true, Release);
    }

    /// Whether nothing will be posted any more. What has been posted is then in its queue, and can be taken.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Acquire)
    }

    fn lane(&self, queue: Queue) -> &Lane<T> {
        match queue {
            Queue::Sends => &self.sends,
            Queue::Receives => &self.receives,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use Queue::{Receives, Sends};

    #[test]
    fn what_is_refused_takes_no_place() {
        let (intake, completions) = (Intake::new(2, 1), Credits::new(4));
        assert_eq!(intake.post(Sends, 1, &completions), Ok(()));
        assert_eq!(intake.post(Sends, 2, &completions), Ok(()));
        assert_eq!(intake.post(Sends, 3, &completions), Err(Refusal::Full));
        assert_eq!(intake.post(Receives, 4, &completions), Ok(()));
        assert_eq!(intake.post(Receives, 5, &completions), Err(Refusal::Full));
        assert_eq!(completions.available(), 1);
        // Taking a request does not free its place; completing it does.
        assert_eq!(intake.take(Sends), Some(1));
        assert_eq!(intake.post(Sends, 6, &completions), Err(Refusal::Full));
        intake.completed(Sends);
        assert_eq!(intake.post(Sends, 6, &completions), Ok(()));
        // And now there is no place for a completion.
        intake.completed(Sends);
        assert_eq!(intake.take(Sends), Some(2));
        assert_eq!(intake.post(Sends, 7, &completions), Err(Refusal::Full));
        completions.give(1);
        assert_eq!(intake.post(Sends, 7, &completions), Ok(()));
        assert_eq!(
            [intake.take(Sends), intake.take(Sends)],
            [Some(6), Some(7)],
            "in the order of posting"
        );
        assert_eq!(intake.take(Receives), Some(4));
    }

    #[test]
    fn ending_goes_by_steps() {
        let (intake, completions) = (Intake::new(9, 9), Credits::new(9));
        intake.set_closing();
        assert_eq!(intake.post(Sends, 1, &completions), Err(Refusal::Closed));
        assert_eq!(intake.post(Receives, 1, &completions), Ok(()));
        intake.set_closed();
        assert_eq!(intake.post(Receives, 2, &completions), Err(Refusal::Closed));
        assert_eq!(completions.available(), 8);
        assert!(!intake.is_orphaned());
        intake.set_orphaned();
        assert!(intake.is_orphaned());
        assert_eq!(intake.take(Receives), Some(1));
    }

    #[test]
    fn a_socket_is_queued_once() {
        let intake = Intake::<()>::new(1, 1);
        assert!(intake.schedule() && !intake.schedule());
        intake.unschedule();
        assert!(intake.schedule());
    }
}

//! The way of a request from whoever posts it to whoever drives its socket, and its place until it is complete.
//!
//! Two things are taken before a request is queued, and none is waited for: a place for its completion, and a place in
//! the slab of its queue, where it stays until it is complete. The first has been given back when its request is refused
//! for want of the second. Through the ring goes the request's ticket only.
//!
//! Then somebody has to drive the socket: the caller itself, somebody who drives already and is called (see
//! [`Baton`](super::Baton)), or the worker. A socket stands in its worker's queue once at the most; `scheduled` says that it does. Whoever posts puts the
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
//! A receive that is posted need not be told of: it *rests* in its ring until the engine looks for one. That ends before
//! the connection does, since a receive that nobody uses has to be flushed:
//!
//! ```text
//!     caller    push the receive  -->  fence  -->  look at `resting`    --> is off: have the socket driven
//!     driver    resting = off     -->  fence  -->  take the receives
//! ```
//!
//! Ending goes in three steps. `closing`: no more Sends, what is posted goes out. `closed`: nothing more is accepted;
//! what is posted nevertheless, because its caller had looked a moment earlier, is flushed when the worker comes to it.
//! `orphaned`: the last handle is gone, so that nothing can be posted any more. Only a worker that has seen *that*
//! may take the rest and forget the socket.

use super::credits::Credits;
use super::mpmc::Ring;
use super::slab::{Slab, Ticket};
use super::sync::{AtomicBool, fence};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

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

/// Requests from posting to completion, and what the worker has to know of the socket.
#[derive(Debug)]
pub(crate) struct Intake<T> {
    sends: Lane<T>,
    receives: Lane<T>,
    scheduled: AtomicBool,
    closing: AtomicBool,
    closed: AtomicBool,
    orphaned: AtomicBool,
    resting: AtomicBool,
}

#[derive(Debug)]
struct Lane<T> {
    /// Those that are incomplete.
    requests: Slab<T>,
    /// Those that have not been taken, in the order of posting.
    posted: Ring<Ticket>,
}

impl<T> Lane<T> {
    fn new(places: u32) -> Self {
        Self {
            requests: Slab::with_capacity(places),
            posted: Ring::with_capacity(places as usize),
        }
    }
}

impl<T> Intake<T> {
    /// Queues for so many incomplete requests.
    pub(crate) fn new(sends: u32, receives: u32) -> Self {
        Self {
            sends: Lane::new(sends),
            receives: Lane::new(receives),
            scheduled: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            orphaned: AtomicBool::new(false),
            resting: AtomicBool::new(false),
        }
    }

    /// Queues a request, which is made when there is a place for it, and takes one of `completions` for it. The caller must then see to it that the socket is driven,
    /// unless the request [`rests`](Self::rests).
    ///
    /// # Errors
    /// When it is refused; nothing has been taken then.
    #[inline]
    pub(crate) fn post(
        &self,
        queue: Queue,
        request: impl FnOnce() -> T,
        completions: &Credits,
    ) -> Result<(), Refusal> {
        if self.closed.load(Acquire) || queue == Queue::Sends && self.closing.load(Acquire) {
            return Err(Refusal::Closed);
        }
        let lane = self.lane(queue);
        if !completions.try_take(1) {
            return Err(Refusal::Full);
        }
        let Some(ticket) = lane.requests.insert_with(request) else {
            completions.give(1);
            return Err(Refusal::Full);
        };
        // There are no more tickets than places, and one is free again only after it has left the ring.
        let pushed = lane.posted.push(ticket);
        debug_assert!(pushed.is_ok());
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

    /// The next request in the order of posting, for whoever drives.
    pub(crate) fn take(&self, queue: Queue) -> Option<Ticket> {
        self.lane(queue).posted.pop()
    }

    /// A request that has been taken from this queue.
    pub(crate) fn get(&self, queue: Queue, ticket: &Ticket) -> &T {
        self.lane(queue).requests.get(ticket)
    }

    /// A request of this queue is complete: shows it to `last`, drops it and frees its place. To be called before its
    /// completion is shown.
    pub(crate) fn complete<R>(
        &self,
        queue: Queue,
        ticket: Ticket,
        last: impl FnOnce(&T) -> R,
    ) -> R {
        self.lane(queue).requests.remove(ticket, last)
    }

    /// Requests of this queue that nobody has taken; by the time it is known it may be out of date.
    pub(crate) fn waiting(&self, queue: Queue) -> usize {
        self.lane(queue).posted.len()
    }

    /// From now on whoever drives looks for receives when it wants them.
    pub(crate) fn rest_receives(&self) {
        self.resting.store(true, Release);
    }

    /// From now on every receive that is posted has the socket driven. Whether that is new; if so, the caller, who
    /// drives, takes those that are queued already.
    #[must_use]
    pub(crate) fn wake_receives(&self) -> bool {
        if !self.resting.load(Relaxed) {
            return false;
        }
        self.resting.store(false, Relaxed);
        // Orders the store before the look for receives; the counterpart is in `rests`.
        fence(SeqCst);
        true
    }

    /// Whether nobody needs to be told of what the caller has just queued here.
    pub(crate) fn rests(&self, queue: Queue) -> bool {
        if queue != Queue::Receives {
            return false;
        }
        // Orders the push before the look; the counterpart is in `wake_receives`.
        fence(SeqCst);
        self.resting.load(Relaxed)
    }

    /// Sends are refused from now on.
    pub(crate) fn set_closing(&self) {
        self.closing.store(true, Release);
    }

    /// Everything is refused from now on.
    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Release);
    }

    /// Whether everything is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
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

    /// Takes the next request and completes it.
    fn serve(intake: &Intake<u32>, queue: Queue) -> Option<u32> {
        let ticket = intake.take(queue)?;
        Some(intake.complete(queue, ticket, |&request| request))
    }

    #[test]
    fn what_is_refused_takes_no_place() {
        let (intake, completions) = (Intake::new(2, 1), Credits::new(4));
        assert_eq!(intake.post(Sends, || 1, &completions), Ok(()));
        assert_eq!(intake.post(Sends, || 2, &completions), Ok(()));
        assert_eq!(intake.post(Sends, || 3, &completions), Err(Refusal::Full));
        assert_eq!(intake.post(Receives, || 4, &completions), Ok(()));
        assert_eq!(
            intake.post(Receives, || 5, &completions),
            Err(Refusal::Full)
        );
        assert_eq!(completions.available(), 1);
        // Taking a request does not free its place; completing it does.
        let first = intake.take(Sends).expect("it was posted");
        assert_eq!(intake.get(Sends, &first), &1);
        assert_eq!(intake.post(Sends, || 6, &completions), Err(Refusal::Full));
        intake.complete(Sends, first, |_| ());
        assert_eq!(intake.post(Sends, || 6, &completions), Ok(()));
        // And now there is no place for a completion.
        assert_eq!(serve(&intake, Sends), Some(2));
        assert_eq!(intake.post(Sends, || 7, &completions), Err(Refusal::Full));
        completions.give(1);
        assert_eq!(intake.post(Sends, || 7, &completions), Ok(()));
        assert_eq!((intake.waiting(Sends), intake.waiting(Receives)), (2, 1));
        assert_eq!(
            [serve(&intake, Sends), serve(&intake, Sends)],
            [Some(6), Some(7)],
            "in the order of posting"
        );
        assert_eq!(serve(&intake, Receives), Some(4));
    }

    #[test]
    fn receives_rest_until_they_are_woken() {
        let (intake, completions) = (Intake::new(2, 2), Credits::new(4));
        assert_eq!(intake.post(Receives, || 1, &completions), Ok(()));
        assert!(!intake.rests(Receives) && !intake.wake_receives());
        intake.rest_receives();
        assert!(intake.rests(Receives) && !intake.rests(Sends));
        assert!(intake.wake_receives() && !intake.wake_receives());
        assert!(!intake.rests(Receives));
    }

    #[test]
    fn ending_goes_by_steps() {
        let (intake, completions) = (Intake::new(9, 9), Credits::new(9));
        intake.set_closing();
        assert_eq!(intake.post(Sends, || 1, &completions), Err(Refusal::Closed));
        assert_eq!(intake.post(Receives, || 1, &completions), Ok(()));
        intake.set_closed();
        assert_eq!(
            intake.post(Receives, || 2, &completions),
            Err(Refusal::Closed)
        );
        assert_eq!(completions.available(), 8);
        assert!(!intake.is_orphaned());
        intake.set_orphaned();
        assert!(intake.is_orphaned());
        assert_eq!(serve(&intake, Receives), Some(1));
    }

    #[test]
    fn a_socket_is_queued_once() {
        let intake = Intake::<()>::new(1, 1);
        assert!(intake.schedule() && !intake.schedule());
        intake.unschedule();
        assert!(intake.schedule());
    }
}

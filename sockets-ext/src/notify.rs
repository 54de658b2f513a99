//! Being told of completions, instead of waiting for them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told by whatever thread drives a connection that there is news of a [completion queue](crate::CompletionQueue)
/// made by [`with_notify`](crate::CompletionQueue::with_notify).
pub trait Notify: Send + Sync {
    /// Completions have been added, or the state of a socket of the queue has changed: its set-up, the peer's last
    /// octet, its end.
    ///
    /// It is called after each turn in which that was so, with no lock held that a method of the socket or the queue
    /// takes; so it may take completions and post. It must not block: the thread has other connections to serve. It is
    /// called by one thread at a time and never from within itself: what happens meanwhile is told by another call.
    fn notify(&self);
}

/// The notifier of a queue, and whether it has something to tell.
pub(crate) struct Notifier {
    told: Arc<dyn Notify>,
    news: AtomicBool,
    /// A thread tells, and looks for news again when it has.
    telling: AtomicBool,
}

/// Ends the telling, also when the notifier panics.
struct Telling<'a>(&'a AtomicBool);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        // An exchange: it sees what was noted by whoever found the flag set.
        self.0.swap(false, Ordering::AcqRel);
    }
}

impl Notifier {
    pub(crate) fn new(told: Arc<dyn Notify>) -> Self {
        Self {
            told,
            news: AtomicBool::new(false),
            telling: AtomicBool::new(false),
        }
    }

    /// There is something to tell, at the end of the turn.
    pub(crate) fn note(&self) {
        self.news.store(true, Ordering::Release);
    }

    /// Tells it, if there is something.
    pub(crate) fn tell(&self) {
        while self.news.load(Ordering::Acquire) {
            if self.telling.swap(true, Ordering::AcqRel) {
                return;
            }
            let telling = Telling(&self.telling);
            while self.news.swap(false, Ordering::AcqRel) {
                self.told.notify();
            }
            drop(telling);
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier")
            .field("news", &self.news)
            .finish_non_exhaustive()
    }
}

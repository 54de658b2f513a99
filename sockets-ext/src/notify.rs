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
    /// takes; so it may take completions and post. It must not block: the thread has other connections to serve. Two
    /// threads may call it at the same time.
    fn notify(&self);
}

/// The notifier of a queue, and whether it has something to tell.
pub(crate) struct Notifier {
    told: Arc<dyn Notify>,
    news: AtomicBool,
}

impl Notifier {
    pub(crate) fn new(told: Arc<dyn Notify>) -> Self {
        Self {
            told,
            news: AtomicBool::new(false),
        }
    }

    /// There is something to tell, at the end of the turn.
    pub(crate) fn note(&self) {
        self.news.store(true, Ordering::Release);
    }

    /// Tells it, if there is something.
    pub(crate) fn tell(&self) {
        if self.news.swap(false, Ordering::AcqRel) {
            self.told.notify();
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

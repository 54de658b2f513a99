//! Who must be woken, and when: the agreement between those who fill a queue and those who wait for it.
//!
//! A doorbell is costly to ring and to silence (a system call each), so it is rung only if somebody listens and it is
//! not ringing already. What must never happen is that a value waits, somebody listens, and the bell is silent.
//!
//! One word holds it all: a phase, whether the bell was handed out to be watched, and how many sleep on it.
//!
//! ```text
//!             +----------- sleepers -----------+- watched -+- phase -+
//!             |           61 bits              |   1 bit   |  2 bits |
//!
//!                 producer, after its push,          producer, when the
//!                 if watched or slept on             bell has been rung
//!        SILENT ------------------------> RINGING ----------------------> RUNG
//!          ^                                                               |
//!          +------------------------ SILENCING <---------------------------+
//!            consumer, when the bell is               consumer that found
//!            silent; it looks again after             the queue empty
//! ```
//!
//! `RINGING` and `SILENCING` belong to the one thread that made the transition; in them nobody else touches the bell,
//! so a late ring cannot be taken for an early one. A producer that meets `RINGING` or `RUNG` may leave: the bell is
//! or will be heard. One that meets `SILENCING` may leave as well, because the consumer looks again afterwards.
//!
//! The rest is the usual argument of two parties that each write and then read: a producer stores its value, fences,
//! and reads the word; a consumer changes the word, fences, and reads the queue. At least one sees the other.

use super::sync::{AtomicUsize, fence};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

/// Something that can be rung, keeps ringing until it is silenced, and wakes those who wait for it.
pub(crate) trait Doorbell {
    /// Rings. Called only after somebody listened, by one thread at a time.
    fn ring(&self);
    /// Silences what was rung before. Called by one thread at a time, never at the same time as `ring`.
    fn silence(&self);
}

const PHASE: usize = 0b11;
const SILENT: usize = 0;
const RINGING: usize = 1;
const RUNG: usize = 2;
const SILENCING: usize = 3;
const WATCHED: usize = 0b100;
const SLEEPER: usize = 0b1000;

/// The state of a doorbell; see the [module documentation](self).
#[derive(Debug)]
pub(crate) struct Wakeup {
    word: AtomicUsize,
}

impl Wakeup {
    /// Nobody listens, nothing rings.
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicUsize::new(SILENT),
        }
    }

    /// To be called after a value was put in the queue: rings `bell` if that is needed. Returns whether it was.
    pub(crate) fn filled(&self, bell: &impl Doorbell) -> bool {
        // Pairs with the fences of `emptied`, `watch` and `sleep`.
        fence(SeqCst);
        let mut word = self.word.load(Relaxed);
        while word > PHASE && word & PHASE == SILENT {
            match self
                .word
                .compare_exchange_weak(word, word + RINGING, AcqRel, Relaxed)
            {
                Ok(_) => {
                    bell.ring();
                    self.word.fetch_add(RUNG - RINGING, Release);
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }

    /// To be called after the queue was found empty: silences `bell` if it has rung. If the answer is true, the
    /// caller must look at the queue again, and call [`filled`](Self::filled) if it leaves something there.
    #[must_use]
    pub(crate) fn emptied(&self, bell: &impl Doorbell) -> bool {
        let mut word = self.word.load(Relaxed);
        while word & PHASE == RUNG {
            match self
                .word
                .compare_exchange_weak(word, word + (SILENCING - RUNG), Acquire, Relaxed)
            {
                Ok(_) => {
                    bell.silence();
                    self.word.fetch_sub(SILENCING - SILENT, Release);
                    // Pairs with the fence of `filled`.
                    fence(SeqCst);
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }

    /// Whether the bell does not ring. A listener whose bell is heard only once for each ring must not wait for it,
    /// having announced its sleep, unless this holds: until then nobody rings again.
    pub(crate) fn is_silent(&self) -> bool {
        self.word.load(Relaxed) & PHASE == SILENT
    }

    /// Marks the bell as handed out, for good. The caller must then look whether the queue holds something, and if so
    /// call [`filled`](Self::filled).
    pub(crate) fn watch(&self) {
        self.word.fetch_or(WATCHED, Relaxed);
        // Pairs with the fence of `filled`.
        fence(SeqCst);
    }

    /// Whether the bell has been handed out.
    pub(crate) fn is_watched(&self) -> bool {
        self.word.load(Relaxed) & WATCHED != 0
    }

    /// Counts the caller as asleep until the guard is dropped. It must look at the queue once more *after* this and
    /// before it waits for the bell.
    pub(crate) fn sleep(&self) -> Sleeper<'_> {
        self.word.fetch_add(SLEEPER, Relaxed);
        // Pairs with the fence of `filled`.
        fence(SeqCst);
        Sleeper(self)
    }
}

/// Somebody who sleeps, or is about to.
#[derive(Debug)]
pub(crate) struct Sleeper<'a>(&'a Wakeup);

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.word.fetch_sub(SLEEPER, Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Counts how often it was rung and silenced.
    #[derive(Debug, Default)]
    struct Counter {
        rung: Cell<u32>,
        silenced: Cell<u32>,
    }

    impl Doorbell for Counter {
        fn ring(&self) {
            self.rung.set(self.rung.get() + 1);
        }
        fn silence(&self) {
            self.silenced.set(self.silenced.get() + 1);
        }
    }

    #[test]
    fn it_rings_for_nobody_and_only_once_for_somebody() {
        let (wakeup, bell) = (Wakeup::new(), Counter::default());
        assert!(!wakeup.filled(&bell), "nobody listens");
        let sleeper = wakeup.sleep();
        assert!(wakeup.filled(&bell));
        assert!(!wakeup.filled(&bell), "it rings already");
        assert!(wakeup.emptied(&bell) && !wakeup.emptied(&bell));
        assert!(wakeup.filled(&bell), "still asleep");
        drop(sleeper);
        assert!(wakeup.emptied(&bell));
        assert!(!wakeup.filled(&bell), "nobody listens any more");
        assert_eq!((bell.rung.get(), bell.silenced.get()), (2, 2));
    }

    #[test]
    fn who_watches_is_told_for_ever() {
        let (wakeup, bell) = (Wakeup::new(), Counter::default());
        wakeup.watch();
        drop(wakeup.sleep());
        for _ in 0..3 {
            assert!(wakeup.filled(&bell) && wakeup.emptied(&bell));
        }
        assert_eq!((bell.rung.get(), bell.silenced.get()), (3, 3));
    }

    #[test]
    fn a_bell_that_is_being_rung_is_left_alone() {
        /// Acts, while it rings and while it is silenced, as other threads might.
        struct Busy<'a>(&'a Wakeup);
        impl Doorbell for Busy<'_> {
            fn ring(&self) {
                assert!(!self.0.emptied(self), "nobody may silence it yet");
                assert!(!self.0.filled(self), "nobody may ring it twice");
                drop(self.0.sleep());
            }
            fn silence(&self) {
                assert!(!self.0.emptied(self), "one thread silences");
                assert!(
                    !self.0.filled(self),
                    "who fills leaves it to the one that will look again"
                );
                drop(self.0.sleep());
            }
        }
        let wakeup = Wakeup::new();
        wakeup.watch();
        assert!(wakeup.filled(&Busy(&wakeup)) && wakeup.emptied(&Busy(&wakeup)));
        assert!(wakeup.filled(&Busy(&wakeup)));
    }
}

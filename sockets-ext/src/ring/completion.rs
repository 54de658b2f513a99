//! Completions that can be waited for in anybody's event loop.

use super::belled::BelledRing;
use super::eventfd::EventBell;
use std::hint;
use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

/// How often `wait` looks before it sleeps: about a microsecond, less than sleeping and waking costs.
const LOOKS: u32 = 64;

/// A lock-free ring with an eventfd beside it.
///
/// Producers and consumers may be any threads. As long as nobody sleeps and the descriptor has not been handed out,
/// no operation makes a system call. After that, filling an empty ring costs one write and emptying it one read,
/// however many values pass between.
#[derive(Debug)]
pub(crate) struct CompletionRing<T> {
    belled: BelledRing<T, EventBell>,
}

impl<T> CompletionRing<T> {
    /// An empty ring for at least `capacity` completions, without a descriptor yet.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            belled: BelledRing::new(capacity, EventBell::default()),
        }
    }

    /// Whether no completion waits; by the time it is known it may be out of date.
    pub(crate) fn is_empty(&self) -> bool {
        self.belled.ring().is_empty()
    }

    /// Adds a completion and wakes whoever waits, or gives it back if the ring is full (which
    /// [`Credits`](super::Credits) taken beforehand rule out).
    pub(crate) fn push(&self, completion: T) -> Result<(), T> {
        self.belled.push(completion)
    }

    /// Takes the first completion, if there is one. Never blocks.
    pub(crate) fn pop(&self) -> Option<T> {
        self.belled.pop()
    }

    /// The descriptor to watch for input: readable whenever a completion waits. It stays so until `pop` returns
    /// `None`, so a watcher pops until then. It must not be read or written; it is closed with the ring.
    ///
    /// # Errors
    ///
    /// What the system says if it has no descriptor left.
    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        let fd = self.belled.bell().open()?;
        self.belled.watch();
        Ok(fd)
    }

    /// Takes the first completion, waiting for it up to `timeout` (`None`: for ever). `Ok(None)` means that the time
    /// is over; it is kept to the millisecond, and a wait never ends early.
    ///
    /// # Errors
    ///
    /// What the system says to `eventfd` or `poll`. No completion is lost by it.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<T>> {
        for _ in 0..LOOKS {
            if let Some(completion) = self.pop() {
                return Ok(Some(completion));
            }
            if timeout == Some(Duration::ZERO) {
                return Ok(None);
            }
            hint::spin_loop();
        }
        // A deadline beyond what the clock can say is never.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        // The bell must exist before anybody is asked to ring it.
        self.belled.bell().open()?;
        let _asleep = self.belled.sleep();
        loop {
            if let Some(completion) = self.pop() {
                return Ok(Some(completion));
            }
            if !self.belled.bell().listen(None, deadline)? {
                return Ok(None);
            }
            // The bell may be heard an instant before its ringer has said so, and then cannot be silenced yet: let
            // that thread finish rather than be woken over and over.
            if self.is_empty() {
                thread::yield_now();
            }
        }
    }

    /// Sleeps until a completion waits, `input` has input, or `deadline` has passed, or for no reason. For a caller
    /// that has just found the ring empty by `pop`.
    ///
    /// # Errors
    ///
    /// What the system says to `eventfd` or `poll`.
    pub(crate) fn doze(&self, input: Option<BorrowedFd<'_>>, deadline: Instant) -> io::Result<()> {
        self.belled.bell().open()?;
        let _asleep = self.belled.sleep();
        if self.is_empty() {
            self.belled.bell().listen(input, Some(deadline))?;
        }
        Ok(())
    }

    /// Whether the descriptor has been handed out, so that somebody may sleep on it.
    pub(crate) fn is_watched(&self) -> bool {
        self.belled.is_watched()
    }
}

// Miri has no `poll`.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::Credits;
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::sync::Arc;

    fn readable(fd: BorrowedFd<'_>) -> bool {
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    }

    #[test]
    fn the_descriptor_is_readable_while_something_waits() {
        let ring = CompletionRing::with_capacity(4);
        let fd = ring.fd().expect("a descriptor");
        assert!(!readable(fd));
        ring.push(1).expect("room");
        ring.push(2).expect("room");
        assert!(readable(fd));
        assert_eq!(ring.pop(), Some(1));
        assert!(readable(fd), "one still waits");
        assert_eq!((ring.pop(), ring.pop()), (Some(2), None));
        assert!(!readable(fd));
        ring.push(3).expect("room");
        assert!(readable(fd), "the next one rings again");
    }

    #[test]
    fn a_descriptor_asked_for_late_is_readable_at_once() {
        let ring = CompletionRing::with_capacity(4);
        ring.push(1).expect("room");
        assert!(readable(ring.fd().expect("a descriptor")));
        let again = ring.fd().expect("the same descriptor");
        assert!(readable(again));
        assert_eq!((ring.pop(), ring.pop()), (Some(1), None));
        assert!(!readable(again));
    }

    #[test]
    fn waiting_ends_with_the_time_and_not_before() {
        let ring = CompletionRing::<u8>::with_capacity(4);
        assert_eq!(ring.wait(Some(Duration::ZERO)).expect("no error"), None);
        let (start, timeout) = (Instant::now(), Duration::from_micros(20_500));
        assert_eq!(ring.wait(Some(timeout)).expect("no error"), None);
        assert!(start.elapsed() >= timeout);
    }

    #[test]
    fn what_already_waits_is_taken_whatever_the_timeout() {
        for timeout in [Some(Duration::ZERO), Some(Duration::MAX), None] {
            let ring = CompletionRing::with_capacity(4);
            ring.push(7).expect("room");
            assert_eq!(ring.wait(timeout).expect("no error"), Some(7));
        }
    }

    #[test]
    fn a_sleeper_is_woken() {
        let ring = Arc::new(CompletionRing::with_capacity(4));
        let producer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                thread::sleep(Duration::from_millis(30));
                ring.push(5)
            }
        });
        assert_eq!(ring.wait(None).expect("no error"), Some(5));
        assert_eq!(
            producer.join().expect("the producer runs to its end"),
            Ok(())
        );
    }

    #[test]
    fn every_completion_reaches_one_of_several_sleepers() {
        let total: u32 = 3_000;
        let ring = Arc::new(CompletionRing::with_capacity(4));
        let credits = Arc::new(Credits::new(4));
        let consumers = [(); 2].map(|()| {
            let (ring, credits) = (Arc::clone(&ring), Arc::clone(&credits));
            thread::spawn(move || {
                let mut sum = 0_u64;
                // Zero says that the work is over.
                while let Some(value @ 1..) = ring.wait(None).expect("no error") {
                    credits.give(1);
                    sum += u64::from(value);
                }
                sum
            })
        });
        let send = |value: u32| {
            while !credits.try_take(1) {
                thread::yield_now();
            }
            // A consumer may be in the midst of taking what was here before.
            while ring.push(value).is_err() {
                thread::yield_now();
            }
        };
        (1..=total).for_each(send);
        (0..2).for_each(|_| send(0));
        let sums = consumers.map(|consumer| consumer.join().expect("a consumer runs to its end"));
        assert_eq!(
            sums.iter().sum::<u64>(),
            u64::from(total) * u64::from(total + 1) / 2
        );
    }
}

//! Who looks at a socket's input: its worker, or the callers that come by for completions.
//!
//! A caller that waits for a completion drives the receiving side itself, so that an arrival wakes one thread and not
//! two. For that it *takes* the input: the worker's poll no longer reports it. What must never happen is that the
//! input is taken and nobody looks at it. So one of three is always true:
//!
//! | word | who looks at the input |
//! |------|------------------------|
//! | no `TAKEN` | the worker, when its poll reports input |
//! | `TAKEN`, `ATTENDED` | the one caller that waits; it sleeps on the TCP socket itself |
//! | `TAKEN`, `TICKING` | callers that come and go; between them the worker, at each tick of its clock |
//!
//! `TICKING` is for callers that come back soon: giving the input back and taking it again costs a system call each,
//! a tick costs the worker little. The worker ends it when a tick finds that nobody has looked at the input since the
//! last one (`SEEN` is unset), or that one caller has been waiting all the time. So input waits for two ticks at the
//! most. Requests that a caller has left unsent (`LEFT`) are sent at the next tick; whoever only posts and never looks
//! does not keep the clock going.
//!
//! `TAKEN` changes only while the connection's [`Baton`](super::Baton) is held, together with the interest of the
//! worker's poll. The other bits change at any time.
//!
//! ```text
//!            claim                 take_input              linger
//!   (none) --------> ATTENDED ---------------> +TAKEN ------------------> TAKEN+TICKING(+ATTENDED)
//!      ^                |                         |                            |
//!      +--- leave ------+<------ give_input ------+        tick, nobody came   |
//!      +<----------------------------------------------------------------------+
//! ```

use super::sync::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

const TAKEN: usize = 1;
const TICKING: usize = 2;
const ATTENDED: usize = 4;
const SEEN: usize = 8;
const LEFT: usize = 16;

/// What a caller that leaves has to do with the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Leave {
    /// Nothing: the worker looks at it, now or at the next tick.
    Done,
    /// It is the caller's, who must [`linger`](Attendance::linger) or give it back.
    InputTaken,
}

/// What the worker has to do at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Tick {
    /// Drive the connection, since requests were left to be sent by callers that look, and come again at the next tick.
    Drive,
    /// Come again at the next tick: a caller was here.
    Skip,
    /// Try to [`end_ticking`](Attendance::end_ticking), and drive the connection after that: nobody has looked, and
    /// requests may have been left to be sent.
    Idle,
    /// It ticks no more: a caller sleeps on it.
    Dormant,
}

/// Who looks at a socket's input; see the [module documentation](self).
#[derive(Debug)]
pub(crate) struct Attendance(AtomicUsize);

impl Attendance {
    /// The worker looks.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    fn change(&self, change: impl Fn(usize) -> Option<usize>) -> Result<usize, usize> {
        self.0.fetch_update(AcqRel, Acquire, change)
    }

    /// A caller comes to wait. `false` if another one waits already.
    pub(crate) fn claim(&self) -> bool {
        self.change(|word| (word & ATTENDED == 0).then_some(word | ATTENDED | SEEN))
            .is_ok()
    }

    /// The waiting caller goes, if it may.
    pub(crate) fn leave(&self) -> Leave {
        let gone = self.change(|word| {
            (word & TAKEN == 0 || word & TICKING != 0).then_some(word & !ATTENDED | SEEN)
        });
        match gone {
            Ok(_) => Leave::Done,
            Err(_) => Leave::InputTaken,
        }
    }

    /// The waiting caller goes and leaves the input to ticks. The worker must be told.
    pub(crate) fn linger(&self) {
        let _ = self.change(|word| Some(word & !ATTENDED | TICKING | SEEN));
    }

    /// Takes the input for callers that come and go. Only with the baton; the worker must be told.
    pub(crate) fn take_and_linger(&self) {
        let _ = self.change(|word| Some(word | TAKEN | TICKING | SEEN));
    }

    /// Takes the input. Only with the baton, and by the caller that waits.
    pub(crate) fn take_input(&self) {
        let _ = self.change(|word| Some(word | TAKEN));
    }

    /// The waiting caller gives the input back and goes, unless it is left to ticks. Only with the baton.
    pub(crate) fn give_input(&self) {
        let _ = self.change(|word| {
            let taken = if word & TICKING == 0 { 0 } else { TAKEN };
            Some(word & !(ATTENDED | TAKEN) | taken | SEEN)
        });
    }

    /// A caller is here and looks at the input. Whether ticks follow.
    pub(crate) fn touch(&self) -> bool {
        let word = self.0.load(Relaxed);
        if word & (TICKING | SEEN) == TICKING | SEEN {
            return true;
        }
        word & TICKING != 0
            && self
                .change(|word| (word & TICKING != 0).then_some(word | SEEN))
                .is_ok()
    }

    /// A caller leaves what it has queued to the next tick. Whether one follows.
    pub(crate) fn leave_to_tick(&self) -> bool {
        // Stored anew even if it is set: so the worker sees what this thread has queued.
        self.change(|word| (word & TICKING != 0).then_some(word | LEFT))
            .is_ok()
    }

    /// Whether ticks follow.
    pub(crate) fn is_ticking(&self) -> bool {
        self.0.load(Acquire) & TICKING != 0
    }

    /// Whether the input is taken. Stays true as long as the baton is held.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Acquire) & TAKEN != 0
    }

    /// The worker's clock has ticked.
    pub(crate) fn tick(&self) -> Tick {
        let before = self.change(|word| {
            if word & (SEEN | LEFT) != 0 {
                Some(word & !(SEEN | LEFT))
            } else if word & ATTENDED != 0 {
                Some(word & !TICKING)
            } else {
                None
            }
        });
        match before {
            Ok(word) if word & LEFT != 0 && word & (SEEN | ATTENDED) != 0 => Tick::Drive,
            Ok(word) if word & SEEN != 0 => Tick::Skip,
            Ok(word) if word & ATTENDED != 0 => Tick::Dormant,
            Ok(_) | Err(_) => Tick::Idle,
        }
    }

    /// What the worker does when its clock has ticked. `end` tries to drive the connection with
    /// [`end_ticking`](Self::end_ticking) in it, and says whether that has ended it; `turn` gives the connection its turn.
    /// Whether it goes on ticking.
    pub(crate) fn at_tick(&self, end: impl FnOnce() -> bool, turn: impl FnOnce()) -> bool {
        match self.tick() {
            Tick::Drive => {
                turn();
                true
            }
            Tick::Skip => true,
            Tick::Dormant => false,
            Tick::Idle => {
                let ended = end();
                // Behind it, and in any case: this tick has forgotten what was left to it, and what was left until the
                // ticking ended is told of to nobody else.
                turn();
                !ended
            }
        }
    }

    /// Ends the ticking, as far as the one who calls this is concerned: the input is given back unless a caller waits.
    /// Only with the baton.
    pub(crate) fn stop_ticking(&self) {
        let _ = self.change(|word| (word & ATTENDED == 0).then_some(0));
    }

    /// Ends the ticking and gives the input back to the worker, if still nobody has come to look. Only with the baton.
    /// What has been left to be sent meanwhile is sent by the turn that follows.
    pub(crate) fn end_ticking(&self) -> bool {
        self.change(|word| (word & (SEEN | ATTENDED) == 0).then_some(0))
            .is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_caller_waits_at_a_time() {
        let attendance = Attendance::new();
        assert!(attendance.claim() && !attendance.claim());
        assert_eq!(attendance.leave(), Leave::Done, "it took nothing");
        assert!(attendance.claim());
    }

    #[test]
    fn taken_input_is_given_back_or_left_to_ticks() {
        let attendance = Attendance::new();
        assert!(attendance.claim());
        attendance.take_input();
        assert_eq!(attendance.leave(), Leave::InputTaken);
        attendance.give_input();
        assert!(!attendance.is_taken() && attendance.claim());
        attendance.take_input();
        attendance.linger();
        assert!(attendance.is_taken() && attendance.is_ticking());
        assert!(attendance.claim(), "the next one");
        assert_eq!(attendance.leave(), Leave::Done, "ticks follow");
    }

    #[test]
    fn ticks_end_when_nobody_comes() {
        let attendance = Attendance::new();
        let two_ticks = || (attendance.tick(), attendance.tick());
        attendance.take_and_linger();
        assert_eq!(two_ticks(), (Tick::Skip, Tick::Idle), "somebody was here");
        assert!(attendance.touch());
        assert!(!attendance.end_ticking(), "somebody has come meanwhile");
        assert_eq!(two_ticks(), (Tick::Skip, Tick::Idle));
        assert!(attendance.touch() && attendance.leave_to_tick());
        assert_eq!(two_ticks(), (Tick::Drive, Tick::Idle));
        assert!(attendance.end_ticking() && !attendance.is_taken());
        assert!(!attendance.touch() && !attendance.leave_to_tick());
    }

    #[test]
    fn a_caller_that_posts_and_never_looks_keeps_no_tick() {
        let attendance = Attendance::new();
        attendance.take_and_linger();
        assert_eq!(attendance.tick(), Tick::Skip, "it has just come");
        assert!(attendance.leave_to_tick());
        assert_eq!(attendance.tick(), Tick::Idle);
        assert!(attendance.leave_to_tick(), "and again meanwhile");
        assert!(attendance.end_ticking() && !attendance.is_taken());
        assert!(!attendance.leave_to_tick(), "the next one asks for a turn");
    }

    #[test]
    fn what_is_left_is_sent_while_another_caller_sleeps() {
        let attendance = Attendance::new();
        attendance.take_and_linger();
        assert!(attendance.claim());
        assert_eq!(attendance.tick(), Tick::Skip);
        assert!(attendance.leave_to_tick());
        assert_eq!(
            (attendance.tick(), attendance.tick()),
            (Tick::Drive, Tick::Dormant)
        );
    }

    #[test]
    fn a_caller_that_stays_needs_no_ticks() {
        let attendance = Attendance::new();
        assert!(attendance.claim());
        attendance.take_input();
        attendance.linger();
        assert!(attendance.claim());
        assert_eq!(attendance.tick(), Tick::Skip);
        assert_eq!(attendance.tick(), Tick::Dormant);
        assert!(attendance.is_taken() && !attendance.is_ticking());
        assert_eq!(attendance.leave(), Leave::InputTaken);
    }
}

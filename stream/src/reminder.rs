//! Reminding a responder that may have overlooked what we sent first.
//!
//! Linux's siw, as responder, looks at the socket only when new octets arrive. What arrives between its Reply
//! and the moment when it is ready for FPDUs stays unnoticed until more comes; in peer-to-peer mode its
//! application does not learn of the connection before. An initiator that waits for an answer then waits for ever.
//! So an initiator that has heard nothing at all sends an empty RDMA Write after a while. Nobody may look at its
//! STag or offset (RFC 5041 s5.2, D21), it changes nothing, and it makes the peer look.

use std::time::{Duration, Instant};

/// How long after the one before each reminder comes. Longer than most peers take to say something, and
/// short for somebody who waits.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(1000),
];

/// The reminders of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reminder {
    /// Nothing has been sent yet.
    Idle,
    /// The reminder with this number is due at this time.
    Armed { number: usize, at: Instant },
    /// It is to be sent.
    Due { number: usize },
    /// The peer has been heard, or will not be reminded any more.
    Over,
}

impl Reminder {
    /// The first FPDU is on its way.
    pub(crate) fn begin(&mut self, now: Instant) {
        if *self == Self::Idle {
            *self = Self::pause(0, now);
        }
    }

    fn pause(number: usize, now: Instant) -> Self {
        PAUSES
            .get(number)
            .and_then(|&pause| now.checked_add(pause))
            .map_or(Self::Over, |at| Self::Armed { number, at })
    }

    /// When [`elapse`](Self::elapse) wants to be called.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Armed { at, .. } => Some(*at),
            _ => None,
        }
    }

    /// The time may have come.
    pub(crate) fn elapse(&mut self, now: Instant) {
        if let Self::Armed { number, at } = *self
            && at <= now
        {
            *self = Self::Due { number };
        }
    }

    /// Whether a reminder waits to be sent.
    pub(crate) const fn is_due(&self) -> bool {
        matches!(self, Self::Due { .. })
    }

    /// Whether a reminder is to be sent; the next one is armed.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let Self::Due { number } = *self else {
            return false;
        };
        *self = Self::pause(number + 1, now);
        true
    }

    /// The peer has been heard, or the connection ends.
    pub(crate) const fn stop(&mut self) {
        *self = Self::Over;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_with_growing_pauses() {
        let start = Instant::now();
        let mut reminder = Reminder::Idle;
        reminder.elapse(start);
        assert_eq!(reminder.deadline(), None);
        reminder.begin(start);
        let mut now = start;
        let mut times = Vec::new();
        while let Some(at) = reminder.deadline() {
            reminder.elapse(now);
            assert!(!reminder.take(now), "too early");
            now = at;
            reminder.elapse(now);
            assert!(reminder.take(now));
            assert!(!reminder.take(now), "twice");
            times.push((now - start).as_millis());
        }
        assert_eq!(times, [50, 250, 1250]);
        reminder.begin(now);
        assert_eq!(reminder, Reminder::Over);
    }

    #[test]
    fn a_peer_that_was_heard_is_not_reminded() {
        let start = Instant::now();
        let mut reminder = Reminder::Idle;
        reminder.begin(start);
        reminder.elapse(start + PAUSES[0]);
        reminder.stop();
        assert!(!reminder.take(start + PAUSES[0]));
        assert_eq!(reminder.deadline(), None);
    }
}

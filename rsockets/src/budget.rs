//! How many messages the peer may have that it has not looked at.
//!
//! The peer keeps a receive for each credit that it gives. Data costs a credit, but grants and the last words
//! do not, and they take a receive as well. On InfiniBand a Send that finds no receive is tried again; on iWARP
//! it ends the connection, and rsockets does nothing about it: it fetches what has come, and posts new
//! receives, only while its program is inside one of its calls. So the sender has to see to it that data and
//! control messages together never outnumber the credits.
//!
//! A part of the credits is therefore kept back from data. Control messages use that part, and each uses it
//! until something proves that the peer has fetched it:
//!
//! * it has consumed data that was sent after the message (its limit says so),
//! * it has sent more messages than the limit before this grant allowed,
//! * it has filled the buffers handed out before this grant, and [`PEER_SEND_RING`] octets more: an rsockets
//!   sender fetches what has come before its send ring, of that size unless its program has set `SO_SNDBUF`,
//!   is used twice.
//!
//! If all that proves nothing, a grant is still sent when the peer can send nothing without it. So what is
//! kept back never stops the stream.

use std::collections::VecDeque;

/// Octets of an rsockets program's send ring, unless it has set `SO_SNDBUF`.
const PEER_SEND_RING: u64 = 1 << 17;

/// Messages that nobody has proved to be fetched: one for the end of our data, one for the disconnection.
const LAST_WORDS: usize = 2;

/// Credits that are kept back from data.
pub(crate) fn reserve(credits: u16) -> u16 {
    (credits / 8).max(4)
}

/// What was the case when a control message was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Messages with data that had been sent.
    pub(crate) messages: u64,
    /// The limit that was in force at the peer before.
    pub(crate) limit: u64,
    /// Octets that had been handed out before.
    pub(crate) granted: u64,
}

/// What is known of the peer now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Messages with data of ours that it has consumed.
    pub(crate) acknowledged: u64,
    /// Messages with data that it has sent.
    pub(crate) messages: u64,
    /// Octets that it has sent.
    pub(crate) octets: u64,
}

/// The control messages that the peer may not have fetched.
#[derive(Debug)]
pub(crate) struct Budget {
    unproven: VecDeque<Sent>,
    places: usize,
}

impl Budget {
    pub(crate) fn new(peer_credits: u16) -> Self {
        Self {
            unproven: VecDeque::new(),
            places: usize::from(reserve(peer_credits)) - LAST_WORDS,
        }
    }

    /// Forgets the messages that are known to have been fetched.
    pub(crate) fn settle(&mut self, known: Known) {
        // They are fetched in order, so that a proof for one is a proof for those before it.
        let proven = self.unproven.iter().rposition(|sent| {
            known.acknowledged > sent.messages
                || known.messages > sent.limit
                || known.octets >= sent.granted + PEER_SEND_RING
        });
        if let Some(last) = proven {
            self.unproven.drain(..=last);
        }
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.unproven.len() < self.places
    }

    pub(crate) fn add(&mut self, sent: Sent) {
        // Sent all the same, for a peer that could not go on: so it has fetched, or will, what came before.
        if !self.has_room() {
            self.unproven.pop_front();
        }
        self.unproven.push_back(sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Known = Known {
        acknowledged: 0,
        messages: 0,
        octets: 0,
    };

    fn full(credits: u16, sent: Sent) -> Budget {
        let mut budget = Budget::new(credits);
        while budget.has_room() {
            budget.add(sent);
        }
        budget
    }

    const SENT: Sent = Sent {
        messages: 5,
        limit: 20,
        granted: 1000,
    };

    #[test]
    fn an_eighth_is_kept_back_and_at_least_four() {
        assert_eq!(reserve(384), 48);
        assert_eq!(reserve(16), 4);
        let mut count = 0;
        let mut budget = Budget::new(16);
        while budget.has_room() {
            budget.add(SENT);
            count += 1;
        }
        assert_eq!(count, 2);
    }

    #[test]
    fn each_proof_makes_room_and_one_short_of_it_does_not() {
        let proves = |known: Known| {
            let mut budget = full(384, SENT);
            budget.settle(known);
            budget.has_room()
        };
        assert!(!proves(NOTHING));
        assert!(!proves(Known {
            acknowledged: 5,
            ..NOTHING
        }));
        assert!(proves(Known {
            acknowledged: 6,
            ..NOTHING
        }));
        assert!(!proves(Known {
            messages: 20,
            ..NOTHING
        }));
        assert!(proves(Known {
            messages: 21,
            ..NOTHING
        }));
        let octets = 1000 + PEER_SEND_RING;
        assert!(!proves(Known {
            octets: octets - 1,
            ..NOTHING
        }));
        assert!(proves(Known { octets, ..NOTHING }));
    }

    #[test]
    fn a_proof_holds_for_what_was_sent_before() {
        let mut budget = full(16, SENT);
        budget.add(Sent {
            messages: 1,
            ..SENT
        });
        budget.settle(Known {
            acknowledged: 2,
            ..NOTHING
        });
        assert!(budget.unproven.is_empty());
    }

    #[test]
    fn it_never_grows() {
        let mut budget = Budget::new(16);
        for _ in 0..1000 {
            budget.add(SENT);
        }
        assert_eq!(budget.unproven.len(), 2);
    }
}

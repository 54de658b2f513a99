//! The receiving half: the ring, what the peer has put into it, and what it is given anew.

use std::collections::VecDeque;
use std::ops::Range;

use crate::budget::reserve;
use crate::connect::Hello;
use crate::entry::{Entry, Place};
use crate::error::Fault;

/// What the peer is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// A half of the ring, and the place in the peer's table that it is written to.
    pub(crate) entry: Option<(Entry, Place)>,
    /// The limit, since the beginning.
    pub(crate) limit: u64,
    /// The limit before.
    pub(crate) limit_before: u64,
    /// Octets handed out before.
    pub(crate) granted_before: u64,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    ring: Place,
    half: u32,
    credits: u16,
    peer: Hello,
    /// The entry of the peer's table that is written next.
    index: u32,
    /// Octets since the beginning: handed out, received, and consumed by the program.
    granted: u64,
    received: u64,
    consumed: u64,
    /// Messages that cost a credit, since the beginning: received, consumed, and allowed.
    messages: u64,
    messages_consumed: u64,
    limit: u64,
    /// Messages consumed when the last grant was made.
    at_grant: u64,
    /// Where in the stream each message ends that has not been consumed. There are never more than credits.
    ends: VecDeque<u64>,
}

impl Receiver {
    pub(crate) fn new(ring: Place, size: u32, credits: u16, peer: Hello) -> Self {
        let half = size / 2;
        Self {
            ring,
            half,
            credits,
            peer,
            index: 1,
            // The first half is in our private data.
            granted: u64::from(half),
            received: 0,
            consumed: 0,
            messages: 0,
            messages_consumed: 0,
            limit: u64::from(credits),
            at_grant: 0,
            ends: VecDeque::new(),
        }
    }

    /// The octets of the stream that wait for the program.
    pub(crate) fn readable(&self) -> Range<u64> {
        self.consumed..self.received
    }

    pub(crate) fn peer(&self) -> &Hello {
        &self.peer
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The peer has written `len` octets.
    pub(crate) fn data(&mut self, len: u32) -> Result<(), Fault> {
        if len == 0 {
            return Err(Fault::Empty);
        }
        // A message never runs from one buffer into the next.
        let used = (self.received % u64::from(self.half)) as u32;
        let room = if self.received == self.granted {
            0
        } else {
            self.half - used
        };
        if len > room {
            return Err(Fault::Overrun { len, room });
        }
        self.count()?;
        self.received += u64::from(len);
        self.ends.push_back(self.received);
        Ok(())
    }

    /// The peer has sent a message that costs a credit but has no octets. rsockets forgets to give the credit
    /// back; we do not.
    pub(crate) fn other(&mut self) -> Result<(), Fault> {
        self.count()?;
        self.ends.push_back(self.received);
        self.pass_ends();
        Ok(())
    }

    fn count(&mut self) -> Result<(), Fault> {
        if self.messages >= self.limit {
            return Err(Fault::Credits);
        }
        self.messages += 1;
        Ok(())
    }

    /// The program has taken `len` octets; no more than there are.
    pub(crate) fn consume(&mut self, len: u64) {
        debug_assert!(len <= self.received - self.consumed, "only what is there");
        self.consumed += len.min(self.received - self.consumed);
        self.pass_ends();
    }

    fn pass_ends(&mut self) {
        while self.ends.front().is_some_and(|&end| end <= self.consumed) {
            self.ends.pop_front();
            self.messages_consumed += 1;
        }
    }

    /// Whether a half of the ring is free that the peer does not have.
    fn half_is_free(&self) -> bool {
        self.granted - self.consumed <= u64::from(self.half)
    }

    /// Whether there is something to give: a half of the ring, or half of the credits.
    pub(crate) fn is_grant_due(&self) -> bool {
        let consumed = self.messages_consumed - self.at_grant;
        self.half_is_free() || consumed >= u64::from(self.credits / 2)
    }

    /// Whether the peer can send nothing more, or no more than it keeps for the worst.
    pub(crate) fn peer_is_starved(&self) -> bool {
        self.received == self.granted
            || self.limit - self.messages <= u64::from(reserve(self.credits))
    }

    /// Makes a grant that is due.
    pub(crate) fn grant(&mut self) -> Grant {
        let (limit_before, granted_before) = (self.limit, self.granted);
        let entry = self.half_is_free().then(|| {
            let at = self.granted % (2 * u64::from(self.half));
            let entry = Entry {
                place: self.ring.plus(at),
                len: self.half,
            };
            let place = self.peer.entry_place(self.index);
            self.index = (self.index + 1) % self.peer.table.len;
            self.granted += u64::from(self.half);
            (entry, place)
        });
        self.limit = self.messages_consumed + u64::from(self.credits);
        self.at_grant = self.messages_consumed;
        Grant {
            entry,
            limit: self.limit,
            limit_before,
            granted_before,
        }
    }
}

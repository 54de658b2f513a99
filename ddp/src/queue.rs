//! The queue of posted buffers that untagged messages go to (RFC 5041 s4.3, s5, s7.1).
//!
//! Each message takes the next buffer: the first to be posted is for MSN 1. A segment passes here
//! twice, and the two calls do not depend on each other:
//!
//! ```text
//!                    any order, repeatedly            stream order, once
//!   segment arrives ----------------------> place() ----------------------> deliver()
//!                                              |                               |
//!                                   where its octets belong         the message, if this was
//!                                                                   its last segment
//! ```
//!
//! Any error of either is fatal for the stream, of which nothing more is to be placed or delivered
//! (RFC 5041 s7.1, D36); the queue then waits for [`UntaggedQueue::flush`].

use std::collections::VecDeque;

use thiserror::Error;

use crate::coverage::Coverage;
use crate::msn::SerialMsn;

/// Buffers that room is made for in advance; a larger queue grows when it is first filled.
const PREALLOCATED_MAX: usize = 4096;

/// Receive buffers of one queue, in the order of posting, and how far the message for the first of
/// them has got.
///
/// ```
/// use uwarp_ddp::{Delivered, QueueError, UntaggedPlacement, UntaggedQueue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut queue = UntaggedQueue::new(16);
/// queue.post(77, 2048)?;
///
/// // A message of 2000 octets in two segments.
/// assert_eq!(queue.place(1, 0, 1482)?, UntaggedPlacement { token: 77, offset: 0 });
/// assert_eq!(queue.deliver(1, 0, 1482, false)?, None);
/// assert_eq!(queue.place(1, 1482, 518)?, UntaggedPlacement { token: 77, offset: 1482 });
/// assert_eq!(queue.deliver(1, 1482, 518, true)?, Some(Delivered { token: 77, len: 2000 }));
///
/// // There is no buffer for another.
/// assert_eq!(queue.place(2, 0, 1), Err(QueueError::NoBuffer));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UntaggedQueue {
    buffers: VecDeque<Buffer>,
    capacity: usize,
    /// The message that `buffers[0]` is for: the next to be delivered.
    next: SerialMsn,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
struct Buffer {
    token: u32,
    len: u32,
}

impl Buffer {
    /// Checks that `len` octets at `mo` are in the buffer, and tells where they begin.
    ///
    /// Without octets there is nothing to check (RFC 5041 s7.1, D33; G19). An offset beyond the
    /// buffer is an error of its own; one that is exactly at its end comes from a sender who just
    /// goes on with a message that is too long (G8).
    fn offset_of(self, mo: u32, len: u32) -> Result<u32, QueueError> {
        if len == 0 {
            return Ok(0);
        }
        let room = self.len.checked_sub(mo).ok_or(QueueError::Mo)?;
        if len > room {
            Err(QueueError::TooLong)
        } else {
            Ok(mo)
        }
    }
}

/// What has been seen, in stream order, of the message that is to be delivered next.
#[derive(Debug, Default)]
struct Progress {
    coverage: Coverage,
    highest_mo: u32,
}

impl Progress {
    /// Takes note of at least one octet, checked against the buffer. When there is no span to
    /// spare, an offset that asks for another counts as invalid (G7).
    fn add(&mut self, mo: u32, len: u32) -> Result<(), QueueError> {
        let end = mo.checked_add(len).ok_or(QueueError::TooLong)?;
        self.coverage.insert(mo, end).map_err(|_| QueueError::Mo)?;
        self.highest_mo = self.highest_mo.max(mo);
        Ok(())
    }

    /// The length of the message, if its last segment has `len` octets at `mo`: that segment must
    /// have the highest offset (RFC 5041 s4.1, D07), nothing may be behind it or missing before it
    /// (s5.4, D24; G7).
    fn finish(&self, mo: u32, len: u32) -> Result<u32, QueueError> {
        let end = mo.checked_add(len).ok_or(QueueError::TooLong)?;
        let is_highest = mo >= self.highest_mo && end >= self.coverage.end();
        if is_highest && self.coverage.is_complete(end) {
            Ok(end)
        } else {
            Err(QueueError::Mo)
        }
    }

    fn clear(&mut self) {
        self.coverage.clear();
        self.highest_mo = 0;
    }
}

/// Where the octets of an untagged segment belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UntaggedPlacement {
    /// The buffer, by the name it was posted with.
    pub token: u32,
    /// Where in the buffer the first octet goes. That the others fit behind it has been checked. For
    /// a segment without octets it is 0.
    pub offset: u32,
}

/// A message that is complete and next in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivered {
    /// The buffer that it is in, by the name it was posted with.
    pub token: u32,
    /// The length of the message in octets (RFC 5041 s5.4, D25).
    pub len: u32,
}

impl UntaggedQueue {
    /// An empty queue for at most `capacity` buffers, but never more than 2^31 - 1.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(SerialMsn::DISTANCE_MAX as usize);
        Self {
            buffers: VecDeque::with_capacity(capacity.min(PREALLOCATED_MAX)),
            capacity,
            next: SerialMsn::FIRST,
            progress: Progress::default(),
        }
    }

    /// Adds a buffer of `len` octets, known to the caller as `token`.
    ///
    /// # Errors
    /// [`Full`] when there are as many as there may be.
    pub fn post(&mut self, token: u32, len: u32) -> Result<(), Full> {
        if self.buffers.len() >= self.capacity {
            return Err(Full);
        }
        self.buffers.push_back(Buffer { token, len });
        Ok(())
    }

    /// Tells where the `len` octets of a segment belong (RFC 5041 s7.1, D33). May be called for
    /// segments in any order and repeatedly (s5.3, D23); it changes nothing.
    ///
    /// # Errors
    /// * [`QueueError::MsnRange`] when the message is over already.
    /// * [`QueueError::NoBuffer`] when no buffer has been posted for it, which a message without
    ///   octets needs as well (T9).
    /// * [`QueueError::Mo`] when `mo` is beyond the buffer.
    /// * [`QueueError::TooLong`] when the octets do not end in it.
    pub fn place(&self, msn: u32, mo: u32, len: u32) -> Result<UntaggedPlacement, QueueError> {
        let index = self.next.buffer_for(msn, self.posted_u32())?;
        let buffer = self
            .buffers
            .get(index as usize)
            .ok_or(QueueError::NoBuffer)?;
        Ok(UntaggedPlacement {
            token: buffer.token,
            offset: buffer.offset_of(mo, len)?,
        })
    }

    /// Takes note of a segment whose octets have been placed: once for each, in stream order.
    /// Returns the message when this was its last segment and all of it is there (RFC 5041 s5.4,
    /// D24, D25); the buffer then is the caller's again. RsvdULP, which goes with a message, is in
    /// the header that the caller has at hand (s4.3, D13).
    ///
    /// # Errors
    /// Those of [`place`](Self::place), and
    /// * [`QueueError::MsnRange`] when the segment is of a later message, though the one before it is
    ///   not finished (G6).
    /// * [`QueueError::Mo`] when octets are missing, or the last segment is not the one with the
    ///   highest offset, or the message has more gaps than can be kept track of (G7).
    pub fn deliver(
        &mut self,
        msn: u32,
        mo: u32,
        len: u32,
        last: bool,
    ) -> Result<Option<Delivered>, QueueError> {
        if self.next.buffer_for(msn, self.posted_u32())? != 0 {
            return Err(QueueError::MsnRange);
        }
        let buffer = *self.buffers.front().ok_or(QueueError::NoBuffer)?;
        if len > 0 {
            buffer.offset_of(mo, len)?;
            self.progress.add(mo, len)?;
        }
        if !last {
            return Ok(None);
        }
        let len = self.progress.finish(mo, len)?;
        self.buffers.pop_front();
        self.advance();
        Ok(Some(Delivered {
            token: buffer.token,
            len,
        }))
    }

    /// Counts a message of the peer's that takes no buffer, such as the empty Send that may release
    /// the responder of a peer-to-peer set-up (RFC 6581 s9.2; G15): the buffers that are posted are
    /// for the messages after it. To be called instead of [`deliver`](Self::deliver); what has been
    /// delivered of that message is forgotten.
    pub fn skip(&mut self) {
        self.advance();
    }

    fn advance(&mut self) {
        self.next = self.next.next();
        self.progress.clear();
    }

    /// Takes all buffers out, in the order of posting, and tells their tokens. Even those that the
    /// caller does not look at are taken out.
    pub fn flush(&mut self) -> impl Iterator<Item = u32> {
        self.progress.clear();
        self.buffers.drain(..).map(|buffer| buffer.token)
    }

    /// The MSN of the message that is to be delivered next.
    #[must_use]
    pub const fn next_msn(&self) -> u32 {
        self.next.get()
    }

    /// How many buffers there are, including the one whose message is arriving.
    #[must_use]
    pub fn posted(&self) -> usize {
        self.buffers.len()
    }

    fn posted_u32(&self) -> u32 {
        // The capacity is below 2^31.
        u32::try_from(self.buffers.len()).unwrap_or(SerialMsn::DISTANCE_MAX)
    }
}

/// A queue holds as many buffers as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("the receive queue is full")]
pub struct Full;

/// Why an untagged segment cannot be placed or delivered (RFC 5041 s7.1, s7.2; D33, D37).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum QueueError {
    /// No buffer has been posted for the message (code 0x02).
    #[error("no buffer is posted for the message")]
    NoBuffer,
    /// The message is over, or it is not its turn (code 0x03).
    #[error("the MSN is out of range")]
    MsnRange,
    /// The offset is beyond the buffer, or the offsets of the message's segments do not make a
    /// message (code 0x04).
    #[error("the MO is not valid")]
    Mo,
    /// The message does not fit the buffer (code 0x05).
    #[error("the message is too long for its buffer")]
    TooLong,
}

#[cfg(test)]
mod tests;

//! The sending half: octets that wait, the peer's buffers and credits.

use crate::budget::reserve;
use crate::connect::{Hello, TABLE_ENTRIES};
use crate::entry::{Entry, Place};
use crate::error::Fault;

/// A piece of the stream for one RDMA Write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) from: u64,
    pub(crate) len: u32,
    pub(crate) to: Place,
}

#[derive(Debug)]
pub(crate) struct Sender {
    size: u32,
    write_max: u32,
    credits: u16,
    /// What is left of the buffer in use; of length 0 when there is none.
    current: Entry,
    next: Entry,
    /// The entry of our table that the peer writes next.
    index: u32,
    /// Messages sent that cost a credit, and how many of them may have been sent, since the beginning. The
    /// wire has them modulo 2^16.
    messages: u64,
    limit: u64,
    /// Octets since the beginning: taken from the program, posted, and written to the end.
    taken: u64,
    posted: u64,
    done: u64,
}

impl Sender {
    pub(crate) fn new(peer: &Hello, size: u32, write_max: u32) -> Self {
        Self {
            size,
            write_max,
            credits: peer.credits,
            // The first buffer comes with the private data and stands for entry 0.
            current: peer.buffer,
            next: Entry::default(),
            index: 1,
            messages: 0,
            limit: u64::from(peer.credits),
            taken: 0,
            posted: 0,
            done: 0,
        }
    }

    /// Octets that the send ring has room for.
    pub(crate) fn room(&self) -> u32 {
        self.size - (self.taken - self.done) as u32
    }

    /// Takes as many octets as there is room for, and returns how many were taken before.
    pub(crate) fn take(&mut self, len: usize) -> std::ops::Range<u64> {
        let start = self.taken;
        self.taken += u64::from(u32::try_from(len).unwrap_or(u32::MAX).min(self.room()));
        start..self.taken
    }

    /// Whether everything taken has been posted.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.posted
    }

    /// Messages sent that cost a credit.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages that the peer's program has consumed. A peer that does not count messages about the iomap
    /// has consumed more.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.limit.saturating_sub(u64::from(self.credits))
    }

    /// Whether one more message that costs a credit may be sent.
    pub(crate) fn has_credit(&self) -> bool {
        let for_data = u64::from(self.credits - reserve(self.credits));
        self.messages < self.limit && self.messages - self.acknowledged() < for_data
    }

    /// Uses a credit.
    pub(crate) fn spend(&mut self) {
        self.messages += 1;
    }

    /// The next piece to write, if octets wait and the peer has room and credit for them.
    pub(crate) fn next_piece(&mut self) -> Option<Piece> {
        if self.is_empty() || self.current.len == 0 || !self.has_credit() {
            return None;
        }
        let waiting = u32::try_from(self.taken - self.posted).unwrap_or(u32::MAX);
        let len = waiting.min(self.current.len).min(self.write_max);
        let piece = Piece {
            from: self.posted,
            len,
            to: self.current.place,
        };
        self.posted += u64::from(len);
        self.current.place = self.current.place.plus(u64::from(len));
        self.current.len -= len;
        // A buffer is filled to its last octet before the next one is begun.
        if self.current.len == 0 {
            self.current = std::mem::take(&mut self.next);
        }
        self.spend();
        Some(piece)
    }

    /// So many octets have been written to the end.
    pub(crate) fn complete(&mut self, len: u32) {
        self.done += u64::from(len);
    }

    /// The entry of our table that may have been written, or `None` while both buffers are in use.
    pub(crate) fn awaited_entry(&self) -> Option<u32> {
        (self.current.len == 0 || self.next.len == 0).then_some(self.index)
    }

    /// Takes the buffer that the awaited entry names; one of length 0 is none.
    pub(crate) fn add_buffer(&mut self, entry: Entry) -> Result<(), Fault> {
        if entry.len == 0 {
            return Ok(());
        }
        if !entry.is_sound() {
            return Err(Fault::Entry {
                to: entry.place.to,
                len: entry.len,
            });
        }
        self.index = (self.index + 1) % TABLE_ENTRIES;
        if self.current.len == 0 {
            self.current = entry;
        } else {
            self.next = entry;
        }
        Ok(())
    }

    /// The peer's limit, modulo 2^16. It only grows, and never beyond what the peer has receives for.
    pub(crate) fn raise_limit(&mut self, limit: u16) -> Result<(), Fault> {
        let raised = self.limit + u64::from(limit.wrapping_sub(self.limit as u16));
        if raised > self.messages + u64::from(self.credits) {
            return Err(Fault::Limit {
                limit,
                sent: self.messages as u16,
                credits: self.credits,
            });
        }
        self.limit = raised;
        Ok(())
    }
}

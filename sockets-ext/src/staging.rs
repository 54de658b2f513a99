//! The buffer between a socket and its connection.

use uwarp_mpa::FPDU_MAX;

use crate::memory::Memory;

/// Octets that the buffer holds: a few of the largest FPDUs.
const CAPACITY: usize = 256 * 1024;

/// Octets of the next FPDU that may be read along with the end of one, when the buffer has no room
/// for a whole one behind it; they are moved to the front later.
const OVERLAP: usize = 64;

/// Octets that have been read and not yet consumed.
///
/// Payload should be copied once, from here to its place; so a partial FPDU is not moved about.
/// When what is left of the buffer could not hold another FPDU, reading stops soon after the end of
/// the present one, and the few octets behind it move to the front.
#[derive(Debug)]
pub(crate) struct Staging {
    octets: Memory,
    start: usize,
    end: usize,
    /// Octets from `start` that the connection waits for.
    need: usize,
}

impl Staging {
    pub(crate) fn new() -> Self {
        Self {
            octets: Vec::new().into(),
            start: 0,
            end: 0,
            need: 0,
        }
    }

    /// What has been read and not consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }

    /// Room to read into, at most `limit` octets of it, never empty.
    pub(crate) fn room(&mut self, limit: usize) -> &mut [u8] {
        if self.octets.is_empty() {
            // A page costs memory only once it has been used. The allocator's would not do: it clears what another
            // connection has used before, and so uses all of it.
            self.octets = Memory::zeroed(CAPACITY).unwrap_or_else(|_| vec![0; CAPACITY].into());
        }
        let held = self.end - self.start;
        if held == 0 {
            (self.start, self.end) = (0, 0);
        } else if self.start + self.need.max(held) > CAPACITY
            || (held <= OVERLAP && CAPACITY - self.start < FPDU_MAX)
        {
            self.octets.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        let fpdu_end = self.start + self.need.max(held);
        let bound = if CAPACITY - fpdu_end < FPDU_MAX {
            fpdu_end + OVERLAP
        } else {
            CAPACITY
        };
        let bound = bound
            .min(CAPACITY)
            .min(self.end.saturating_add(limit))
            .max(self.end + 1)
            .min(CAPACITY);
        &mut self.octets[self.end..bound]
    }

    /// `count` octets have been read into the room.
    pub(crate) fn grow(&mut self, count: usize) {
        self.end += count;
    }

    /// The first `consumed` octets are done with; the connection waits until `need` stand here.
    pub(crate) fn consume(&mut self, consumed: usize, need: usize) {
        self.start += consumed;
        self.need = need.min(FPDU_MAX);
    }

    /// Everything is done with.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end, self.need) = (0, 0, 0);
    }

    /// Octets that are missing until the connection can go on.
    pub(crate) fn missing(&self) -> usize {
        self.need.saturating_sub(self.end - self.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the sizes, the octets come out as they went in, and what is moved stays small
        /// as long as the connection says what it needs.
        #[test]
        fn nothing_is_lost(sizes in proptest::collection::vec(1usize..=FPDU_MAX, 1..60), chunk in 1usize..300_000) {
            let total: usize = sizes.iter().sum();
            let mut staging = Staging::new();
            let (mut sent, mut taken) = (0usize, 0usize);
            let mut sizes = sizes.into_iter();
            let mut current = sizes.next();
            while taken < total {
                let room = staging.room(chunk);
                prop_assert!(!room.is_empty());
                let count = room.len().min(total - sent);
                for octet in &mut room[..count] {
                    *octet = (sent % 251) as u8;
                    sent += 1;
                }
                staging.grow(count);
                while let Some(size) = current {
                    let filled = staging.filled();
                    if filled.len() < size {
                        staging.consume(0, size);
                        break;
                    }
                    prop_assert_eq!(filled[0], (taken % 251) as u8);
                    prop_assert_eq!(filled[size - 1], ((taken + size - 1) % 251) as u8);
                    staging.consume(size, 2);
                    taken += size;
                    current = sizes.next();
                }
            }
        }
    }
}

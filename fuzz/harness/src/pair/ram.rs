//! The memory of one end, as its connection sees it: every access is held against what has been posted.

use std::ops::Range;

use uwarp_ddp::{AccessError, Stag};
use uwarp_mpa::Octets;
use uwarp_rdmap::{AtomicError, AtomicOperation, OperationKind, Regions, Slot};
use uwarp_stream::{Memory, Source};

use super::lane::Lane;
use crate::arena::Arena;
use crate::memory::uncounted;

/// The memory of `arenas[side]` in the hands of its connection.
pub(super) struct Ram<'a> {
    pub(super) arenas: &'a mut [Arena; 2],
    pub(super) lanes: &'a mut [Lane; 2],
    pub(super) side: usize,
    /// An access has been refused.
    pub(super) denied: bool,
}

impl Ram<'_> {
    fn arena(&mut self) -> &mut Arena {
        &mut self.arenas[self.side]
    }

    /// What the peer has posted.
    fn theirs(&mut self) -> &mut Lane {
        &mut self.lanes[1 - self.side]
    }

    fn note<T, E>(&mut self, result: Result<T, E>) -> Result<T, E> {
        self.denied |= result.is_err();
        result
    }
}

fn joined(octets: Octets<'_>) -> Vec<u8> {
    octets.flatten().copied().collect()
}

impl Regions for Ram<'_> {
    fn check_read(&mut self, stag: Stag, to: u64, len: u32) -> Result<(), AccessError> {
        uncounted(|| {
            let answer = self.arena().check_read(stag, to, len);
            let found = answer.is_ok().then(|| self.arena().peek(stag, to, len));
            self.theirs().read_begins(stag, to, len, found);
            self.note(answer)
        })
    }

    fn check_atomic(&mut self, stag: Stag, to: u64) -> Result<(), AtomicError> {
        uncounted(|| {
            let answer = self.arena().check_atomic(stag, to);
            self.theirs().atomic_begins(stag, to, answer.is_ok());
            self.note(answer)
        })
    }

    fn invalidate(&mut self, stag: Stag) -> Result<(), AccessError> {
        uncounted(|| {
            let answer = self.arena().invalidate(stag);
            self.theirs().invalidates(stag);
            self.note(answer)
        })
    }
}

impl Memory for Ram<'_> {
    type Handle = usize;

    fn write(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
        octets: Octets<'_>,
    ) -> Result<(), AccessError> {
        uncounted(|| {
            let came = joined(octets.clone());
            assert_eq!(came.len(), len as usize);
            let answer = self.arena().write(stag, to, len, octets);
            self.theirs().writes(stag, to, &came, answer.is_ok());
            if answer.is_ok() {
                let at = self.arena().expect_at(stag, to, &came);
                self.theirs().region_changes(at, &came);
            }
            self.note(answer)
        })
    }

    fn fill(&mut self, slot: Slot, offset: u32, octets: Octets<'_>) {
        uncounted(|| {
            let came = joined(octets.clone());
            if self.arena().kind(slot) == OperationKind::Receive {
                self.theirs().fills(slot, offset, &came);
            } else {
                let side = self.side;
                self.lanes[side].answered(slot, offset, came.len());
            }
            self.arena().fill(slot, offset, octets);
            self.arena().expect_in(slot, offset, &came);
        });
    }

    fn crc_work(&mut self, crc: u32, slot: Slot, range: Range<u32>) -> u32 {
        self.arena().crc_work(crc, slot, range)
    }

    fn copy_work(&mut self, slot: Slot, range: Range<u32>, out: &mut Vec<u8>) {
        self.arena().copy_work(slot, range, out);
    }

    fn source(&mut self, stag: Stag, to: u64, len: u32) -> Result<Source<usize>, AccessError> {
        uncounted(|| {
            self.theirs().read_goes_on(stag, to, len);
            let answer = self.arena().source(stag, to, len);
            self.note(answer)
        })
    }

    fn atomic(
        &mut self,
        stag: Stag,
        to: u64,
        operation: &AtomicOperation,
    ) -> Result<u64, AtomicError> {
        uncounted(|| {
            let before = self.arena().check_atomic(stag, to).map(|()| {
                let (_, word) = self.arena().peek(stag, to, 8);
                u64::from_ne_bytes(word.try_into().expect("a word"))
            });
            self.theirs()
                .atomic_happens(stag, to, operation, before.ok());
            let answer = self.arena().atomic(stag, to, operation);
            assert_eq!(answer, before);
            if let Ok(before) = before {
                let word = after(operation, before).to_ne_bytes();
                let at = self.arena().expect_at(stag, to, &word);
                self.theirs().region_changes(at, &word);
            }
            self.note(answer)
        })
    }

    fn crc_source(&mut self, crc: u32, handle: &usize, range: Range<u64>) -> u32 {
        self.arena().crc_source(crc, handle, range)
    }

    fn copy_source(&mut self, handle: &usize, range: Range<u64>, out: &mut Vec<u8>) {
        self.arena().copy_source(handle, range, out);
    }
}

/// A word after an atomic operation, bit by bit as RFC 7306 s5.1 tells it.
fn after(operation: &AtomicOperation, before: u64) -> u64 {
    let mut word = 0;
    match *operation {
        AtomicOperation::FetchAdd { add, mask } => {
            let mut carry = 0;
            for bit in 0..64 {
                let sum = (before >> bit & 1) + (add >> bit & 1) + carry;
                word |= (sum & 1) << bit;
                // A field ends here: the carry out of it is dropped.
                carry = if mask >> bit & 1 == 1 { 0 } else { sum >> 1 };
            }
        }
        AtomicOperation::CompareSwap {
            compare,
            compare_mask,
            swap,
            swap_mask,
        } => {
            let equal = (0..64)
                .filter(|bit| compare_mask >> bit & 1 == 1)
                .all(|bit| compare >> bit & 1 == before >> bit & 1);
            for bit in 0..64 {
                let swaps = equal && swap_mask >> bit & 1 == 1;
                let from = if swaps { swap } else { before };
                word |= (from >> bit & 1) << bit;
            }
        }
    }
    word
}

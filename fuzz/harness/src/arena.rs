//! Memory in which every octet knows who may touch it.
//!
//! Regions and posted buffers lie in one arena, with closed octets between them. Whether an access is
//! right is thus decided twice: by the STag table that is under test, and by the octets themselves.

use std::ops::Range;

use uwarp_ddp::{
    Access, AccessError, DomainId, Peer, Placement, Registration, Rights, Scope, Stag, StagTable,
    StreamId,
};
use uwarp_mpa::{Octets, crc};
use uwarp_rdmap::atomic::ATOMIC_WORD;
use uwarp_rdmap::{AtomicError, AtomicOperation, OperationKind, Regions, Slot};
use uwarp_stream::{Memory, Source};

const ARENA_LEN: usize = 1 << 16;
const GUARD_LEN: usize = 32;

/// Our connection among the streams of the table.
const US: Peer = Peer {
    domain: DomainId(1),
    stream: StreamId(1),
};

/// What a peer may do with one octet now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Open {
    read: bool,
    write: bool,
    /// By atomic operations.
    atomic: bool,
}

/// A region, and where in the arena it lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) stag: Stag,
    pub(crate) base: u64,
    pub(crate) at: Range<usize>,
    rights: Rights,
    /// It is for our stream, and has not been revoked.
    open_to_us: bool,
}

/// A posted request that is not complete.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) kind: OperationKind,
    at: Range<usize>,
}

impl Posted {
    /// Octets of its buffer.
    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }
}

/// The memory of one end.
#[derive(Debug)]
pub(crate) struct Arena {
    octets: Vec<u8>,
    /// What they ought to be, for whoever keeps account of it.
    expected: Vec<u8>,
    open: Vec<Open>,
    free: usize,
    table: StagTable<usize>,
    pub(crate) regions: Vec<Place>,
    posted: Vec<Option<Posted>>,
    /// Octets that the peer's segments have put anywhere.
    pub(crate) placed: u64,
    /// Regions that the peer has invalidated.
    pub(crate) invalidated: usize,
}

impl Arena {
    /// An arena with regions of every kind: two of them are for another stream or domain, one is
    /// revoked.
    pub(crate) fn new() -> Self {
        let mut arena = Self {
            octets: vec![0xa5; ARENA_LEN],
            expected: vec![0xa5; ARENA_LEN],
            open: vec![Open::default(); ARENA_LEN],
            free: GUARD_LEN,
            table: StagTable::new(16, 16),
            regions: Vec::new(),
            posted: Vec::new(),
            placed: 0,
            invalidated: 0,
        };
        let both = Rights::REMOTE_READ | Rights::REMOTE_WRITE;
        let mine = Scope::Stream(US.stream);
        let brief = Rights::REMOTE_WRITE | Rights::REMOTE_INVALIDATE;
        arena.region(1, Scope::Domain, both, 0, 5000);
        arena.region(1, mine, brief, 0x1000, 300);
        arena.region(1, mine, Rights::REMOTE_READ, u64::MAX - 2000, 2000);
        arena.region(1, Scope::Stream(StreamId(2)), both, 0, 100);
        arena.region(2, Scope::Domain, both, 0, 100);
        arena.region(1, mine, Rights::REMOTE_INVALIDATE, 0, 100);
        arena.region(1, mine, Rights::REMOTE_WRITE, u64::MAX - 1000, 1000);
        arena.region(1, Scope::Domain, both, 8, 0);
        arena.region(1, Scope::Domain, both, 0, 100);
        arena.region(1, mine, both | Rights::REMOTE_ATOMIC, 0x100, 68);
        arena.revoke(8);
        arena
    }

    fn region(&mut self, domain: u64, scope: Scope, rights: Rights, base: u64, len: usize) {
        let at = self.allocate(len).expect("the regions fit");
        let mut stag = 0x1234_5600 + self.regions.len() as u32;
        let registration = Registration {
            domain: DomainId(domain),
            scope,
            rights,
            base,
            len: len as u64,
        };
        let mut random = || {
            stag = stag.wrapping_mul(0x9e37_79b1);
            stag
        };
        let stag = self
            .table
            .register(registration, at.start, &mut random)
            .expect("there is room");
        let ours = DomainId(domain) == US.domain && scope != Scope::Stream(StreamId(2));
        self.set(
            &at,
            Open {
                read: ours && rights.contains(Rights::REMOTE_READ),
                write: ours && rights.contains(Rights::REMOTE_WRITE),
                atomic: ours && rights.contains(Rights::REMOTE_ATOMIC),
            },
        );
        self.regions.push(Place {
            stag,
            base,
            at,
            rights,
            open_to_us: ours,
        });
    }

    fn allocate(&mut self, len: usize) -> Option<Range<usize>> {
        let at = self.free..self.free + len;
        (at.end + GUARD_LEN <= ARENA_LEN).then(|| {
            self.free = at.end + GUARD_LEN;
            at
        })
    }

    fn set(&mut self, at: &Range<usize>, open: Open) {
        self.open[at.clone()].fill(open);
    }

    /// The local side revokes a region.
    pub(crate) fn revoke(&mut self, region: usize) {
        let count = self.regions.len();
        let place = &mut self.regions[region % count];
        place.open_to_us = false;
        let (stag, at) = (place.stag, place.at.clone());
        self.table.revoke(stag);
        self.set(&at, Open::default());
    }

    /// Whether the peer may do this, found without the table.
    fn permits(&self, stag: Stag, to: u64, len: u32, right: Rights) -> bool {
        let mut regions = self.regions.iter();
        regions.any(|place| {
            let first = u128::from(to);
            let base = u128::from(place.base);
            let within = base <= first && first + u128::from(len) <= base + place.at.len() as u128;
            place.stag == stag && place.open_to_us && place.rights.contains(right) && within
        })
    }

    /// Asks the table, and holds its answer against ours.
    fn check(
        &self,
        stag: Stag,
        to: u64,
        len: u32,
        access: Access,
    ) -> Result<Placement<'_, usize>, AccessError> {
        let answer = self.table.check(US, stag, to, len, access);
        let permitted = self.permits(stag, to, len, access.right());
        assert_eq!(
            answer.is_ok(),
            permitted,
            "{access:?} of {len} at {stag:?} {to:#x}"
        );
        answer
    }

    /// A buffer for a request; `None` when the arena is full.
    pub(crate) fn post(&mut self, kind: OperationKind, len: usize) -> Option<Slot> {
        let at = self.allocate(len)?;
        let sink = matches!(kind, OperationKind::Receive | OperationKind::Read);
        self.set(
            &at,
            Open {
                read: !sink,
                write: sink,
                atomic: false,
            },
        );
        self.posted.push(Some(Posted { kind, at }));
        Some(Slot(self.posted.len() as u32 - 1))
    }

    /// A request is complete, or was refused: its buffer is the application's again.
    pub(crate) fn close(&mut self, slot: Slot) -> Posted {
        let posted = self.posted[slot.0 as usize].take();
        let posted = posted.expect("a request completes once");
        self.set(&posted.at, Open::default());
        posted
    }

    /// What a request's buffer holds.
    pub(crate) fn buffer(&self, slot: Slot) -> Vec<u8> {
        self.octets[self.work(slot).at.clone()].to_vec()
    }

    /// What kind of request it is.
    pub(crate) fn kind(&self, slot: Slot) -> OperationKind {
        self.work(slot).kind
    }

    /// The program writes to the buffer of a request before it is posted.
    pub(crate) fn store(&mut self, slot: Slot, octets: &[u8]) {
        let at = self.work(slot).at.clone();
        self.octets[at.clone()].copy_from_slice(octets);
        self.expected[at].copy_from_slice(octets);
    }

    /// Where in the arena a region's octets lie, and what they are.
    pub(crate) fn peek(&self, stag: Stag, to: u64, len: u32) -> (usize, Vec<u8>) {
        let at = self.place(stag, to);
        (at, self.octets[at..at + len as usize].to_vec())
    }

    fn place(&self, stag: Stag, to: u64) -> usize {
        let region = self.regions.iter().find(|place| place.stag == stag);
        let region = region.expect("a region of this arena");
        region.at.start + (to - region.base) as usize
    }

    /// These octets ought to be there; returns where that is.
    pub(crate) fn expect_at(&mut self, stag: Stag, to: u64, octets: &[u8]) -> usize {
        let at = self.place(stag, to);
        self.expected[at..at + octets.len()].copy_from_slice(octets);
        at
    }

    /// These octets ought to be in a request's buffer.
    pub(crate) fn expect_in(&mut self, slot: Slot, offset: u32, octets: &[u8]) {
        let at = self.work(slot).at.start + offset as usize;
        self.expected[at..at + octets.len()].copy_from_slice(octets);
    }

    /// Every octet, in a region, in a buffer or between them, is what it ought to be.
    pub(crate) fn assert_as_expected(&self) {
        let differs = |at: &usize| self.octets[*at] != self.expected[*at];
        if self.octets != self.expected {
            let at = (0..ARENA_LEN).find(differs);
            panic!("the octet at {at:?} is not what it ought to be");
        }
    }

    /// How many requests are not complete.
    pub(crate) fn incomplete(&self) -> usize {
        self.posted.iter().flatten().count()
    }

    fn put(&mut self, at: usize, octets: Octets<'_>) -> usize {
        let mut end = at;
        for part in octets {
            let range = end..end + part.len();
            assert!(
                self.open[range.clone()].iter().all(|octet| octet.write),
                "octets land at {range:?}, where they may not"
            );
            self.octets[range].copy_from_slice(part);
            end += part.len();
        }
        self.placed += (end - at) as u64;
        end - at
    }

    fn get(&self, at: Range<usize>) -> &[u8] {
        assert!(
            self.open[at.clone()].iter().all(|octet| octet.read),
            "octets leave from {at:?}, where they may not"
        );
        &self.octets[at]
    }

    fn work(&self, slot: Slot) -> &Posted {
        let posted = self.posted.get(slot.0 as usize).and_then(Option::as_ref);
        posted.expect("the request is not complete")
    }

    /// Octets of the gather list of a posted request, on their way out.
    pub(crate) fn outgoing(&self, slot: Slot, range: Range<u32>) -> &[u8] {
        let at = self.work(slot).at.start;
        self.get(at + range.start as usize..at + range.end as usize)
    }

    /// Octets of a region, on their way out. They have been allowed already; that the region may have
    /// been revoked since is what the handle is for.
    pub(crate) fn leaving(&self, handle: usize, range: Range<u64>) -> &[u8] {
        &self.octets[handle + range.start as usize..handle + range.end as usize]
    }
}

impl Regions for Arena {
    fn check_read(&mut self, stag: Stag, to: u64, len: u32) -> Result<(), AccessError> {
        assert!(len > 0, "an empty read is not checked");
        self.check(stag, to, len, Access::Read).map(|_| ())
    }

    fn check_atomic(&mut self, stag: Stag, to: u64) -> Result<(), AtomicError> {
        let place = self.check(stag, to, ATOMIC_WORD, Access::Atomic)?;
        if place.offset().is_multiple_of(u64::from(ATOMIC_WORD)) {
            Ok(())
        } else {
            Err(AtomicError::Misaligned)
        }
    }

    fn invalidate(&mut self, stag: Stag) -> Result<(), AccessError> {
        let answer = self.table.invalidate(US, stag);
        let mut regions = self.regions.iter();
        let region = regions.position(|place| {
            place.stag == stag
                && place.open_to_us
                && place.rights.contains(Rights::REMOTE_INVALIDATE)
        });
        assert_eq!(answer.is_ok(), region.is_some(), "invalidating {stag:?}");
        answer?;
        let region = region.expect("the STag is one of ours");
        self.revoke(region);
        self.invalidated += 1;
        Ok(())
    }
}

impl Memory for Arena {
    type Handle = usize;

    fn write(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
        octets: Octets<'_>,
    ) -> Result<(), AccessError> {
        assert!(len > 0, "an empty write places nothing");
        let place = self.check(stag, to, len, Access::Write)?;
        let at = place.handle() + place.offset() as usize;
        assert_eq!(self.put(at, octets), len as usize);
        Ok(())
    }

    fn fill(&mut self, slot: Slot, offset: u32, octets: Octets<'_>) {
        let at = self.work(slot).at.start + offset as usize;
        self.put(at, octets);
    }

    fn crc_work(&mut self, sum: u32, slot: Slot, range: Range<u32>) -> u32 {
        crc::append(sum, self.outgoing(slot, range))
    }

    fn copy_work(&mut self, slot: Slot, range: Range<u32>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.outgoing(slot, range));
    }

    fn source(&mut self, stag: Stag, to: u64, len: u32) -> Result<Source<usize>, AccessError> {
        let place = self.check(stag, to, len, Access::Read)?;
        let (handle, offset) = (*place.handle(), place.offset());
        let at = handle + offset as usize;
        self.get(at..at + len as usize);
        let writable = Rights::REMOTE_WRITE | Rights::REMOTE_ATOMIC;
        let mut regions = self.regions.iter();
        let volatile = regions.any(|place| place.stag == stag && place.rights.intersects(writable));
        Ok(Source {
            handle,
            offset,
            volatile,
        })
    }

    fn atomic(
        &mut self,
        stag: Stag,
        to: u64,
        operation: &AtomicOperation,
    ) -> Result<u64, AtomicError> {
        self.check_atomic(stag, to)?;
        let place = self.check(stag, to, ATOMIC_WORD, Access::Atomic)?;
        let at = place.handle() + place.offset() as usize;
        let word = at..at + ATOMIC_WORD as usize;
        assert!(
            self.open[word.clone()].iter().all(|octet| octet.atomic),
            "a word is changed at {word:?}, where it may not"
        );
        let word = &mut self.octets[word];
        let before = u64::from_ne_bytes(word.try_into().expect("a word has 8 octets"));
        word.copy_from_slice(&operation.apply(before).to_ne_bytes());
        Ok(before)
    }

    fn crc_source(&mut self, sum: u32, handle: &usize, range: Range<u64>) -> u32 {
        crc::append(sum, self.leaving(*handle, range))
    }

    fn copy_source(&mut self, handle: &usize, range: Range<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.leaving(*handle, range));
    }
}

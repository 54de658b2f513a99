//! Memory of one end: plain vectors behind an STag table.

use std::ops::Range;

use uwarp_ddp::{
    Access, AccessError, DomainId, Peer, Registration, Rights, Scope, Stag, StagTable, StreamId,
};
use uwarp_mpa::{Octets, crc};
use uwarp_rdmap::atomic::ATOMIC_WORD;
use uwarp_rdmap::{AtomicError, AtomicOperation, Regions, Slot};
use uwarp_stream::{Memory, Source};

/// Who the other end is, in the STag table of either.
pub const PEER: Peer = Peer {
    domain: DomainId(1),
    stream: StreamId(1),
};

/// Registered regions and the buffers of posted requests. Nothing is ever taken away, so that a test
/// can look at a region after its STag has been revoked.
#[derive(Debug)]
pub struct Ram {
    table: StagTable<usize>,
    stags: Vec<Stag>,
    regions: Vec<Vec<u8>>,
    slots: Vec<Vec<u8>>,
}

impl Default for Ram {
    fn default() -> Self {
        Self {
            table: StagTable::new(64, 64),
            stags: Vec::new(),
            regions: Vec::new(),
            slots: Vec::new(),
        }
    }
}

impl Ram {
    /// Registers `octets` for the peer's stream alone.
    pub fn register(&mut self, rights: Rights, base: u64, octets: Vec<u8>) -> Stag {
        let registration = Registration {
            domain: PEER.domain,
            scope: Scope::Stream(PEER.stream),
            rights,
            base,
            len: octets.len() as u64,
        };
        self.register_as(registration, octets)
    }

    /// Registers `octets` under any terms.
    ///
    /// # Panics
    /// When the table refuses.
    pub fn register_as(&mut self, registration: Registration, octets: Vec<u8>) -> Stag {
        let index = self.regions.len();
        // Any odd factor gives different STags; these tests do not guess them.
        let mut random = || (index as u32 + 1).wrapping_mul(0x9e37_79b1);
        let stag = self
            .table
            .register(registration, index, &mut random)
            .expect("there is room for the region");
        self.stags.push(stag);
        self.regions.push(octets);
        stag
    }

    /// The local side revokes a region.
    pub fn revoke(&mut self, stag: Stag) {
        self.table.revoke(stag);
    }

    /// Whether the peer may still use `stag`.
    #[must_use]
    pub fn is_registered(&self, stag: Stag) -> bool {
        self.table.get(stag).is_some()
    }

    /// The octets of the region that `stag` names or named.
    ///
    /// # Panics
    /// When there never was such a region.
    #[must_use]
    pub fn region(&self, stag: Stag) -> &[u8] {
        let index = self.stags.iter().position(|known| *known == stag);
        &self.regions[index.expect("a region of this memory")]
    }

    /// A buffer for a request to post.
    pub fn slot(&mut self, octets: Vec<u8>) -> Slot {
        self.slots.push(octets);
        Slot(self.slots.len() as u32 - 1)
    }

    /// The buffer of a request.
    #[must_use]
    pub fn buffer(&self, slot: Slot) -> &[u8] {
        &self.slots[slot.0 as usize]
    }

    /// Frees the buffer of a request that has completed.
    pub fn release(&mut self, slot: Slot) {
        self.slots[slot.0 as usize] = Vec::new();
    }

    /// Everything that a peer could have touched.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Vec<u8>> {
        self.regions.iter().chain(&self.slots).cloned().collect()
    }

    /// Octets of a region that go out.
    #[must_use]
    pub fn leaving(&self, region: usize, range: Range<u64>) -> &[u8] {
        &self.regions[region][range.start as usize..range.end as usize]
    }

    /// Octets of a request's buffer that go out.
    #[must_use]
    pub fn outgoing(&self, slot: Slot, range: Range<u32>) -> &[u8] {
        &self.buffer(slot)[range.start as usize..range.end as usize]
    }
}

fn scatter(to: &mut [u8], octets: Octets<'_>) {
    let mut at = 0;
    for piece in octets {
        to[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    }
    assert_eq!(at, to.len(), "the octets are as many as was said");
}

impl Regions for Ram {
    fn check_read(&mut self, stag: Stag, to: u64, len: u32) -> Result<(), AccessError> {
        self.table
            .check(PEER, stag, to, len, Access::Read)
            .map(|_| ())
    }

    fn check_atomic(&mut self, stag: Stag, to: u64) -> Result<(), AtomicError> {
        let place = self
            .table
            .check(PEER, stag, to, ATOMIC_WORD, Access::Atomic)?;
        // Regions are taken to begin at aligned addresses.
        if place.offset().is_multiple_of(u64::from(ATOMIC_WORD)) {
            Ok(())
        } else {
            Err(AtomicError::Misaligned)
        }
    }

    fn invalidate(&mut self, stag: Stag) -> Result<(), AccessError> {
        self.table.invalidate(PEER, stag)
    }
}

impl Memory for Ram {
    type Handle = usize;

    fn write(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
        octets: Octets<'_>,
    ) -> Result<(), AccessError> {
        let place = self.table.check(PEER, stag, to, len, Access::Write)?;
        let at = place.offset() as usize;
        scatter(
            &mut self.regions[*place.handle()][at..at + len as usize],
            octets,
        );
        Ok(())
    }

    fn fill(&mut self, slot: Slot, offset: u32, octets: Octets<'_>) {
        let len: usize = octets.clone().map(<[u8]>::len).sum();
        let at = offset as usize;
        scatter(&mut self.slots[slot.0 as usize][at..at + len], octets);
    }

    fn crc_work(&mut self, crc: u32, slot: Slot, range: Range<u32>) -> u32 {
        crc::append(crc, self.outgoing(slot, range))
    }

    fn copy_work(&mut self, slot: Slot, range: Range<u32>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.outgoing(slot, range));
    }

    fn source(&mut self, stag: Stag, to: u64, len: u32) -> Result<Source<usize>, AccessError> {
        let place = self.table.check(PEER, stag, to, len, Access::Read)?;
        Ok(Source {
            handle: *place.handle(),
            offset: place.offset(),
            volatile: false,
        })
    }

    fn atomic(
        &mut self,
        stag: Stag,
        to: u64,
        operation: &AtomicOperation,
    ) -> Result<u64, AtomicError> {
        self.check_atomic(stag, to)?;
        let place = self
            .table
            .check(PEER, stag, to, ATOMIC_WORD, Access::Atomic)?;
        let at = place.offset() as usize;
        let word = &mut self.regions[*place.handle()][at..at + ATOMIC_WORD as usize];
        let before = u64::from_ne_bytes(word.try_into().expect("a word has 8 octets"));
        word.copy_from_slice(&operation.apply(before).to_ne_bytes());
        Ok(before)
    }

    fn crc_source(&mut self, crc: u32, handle: &usize, range: Range<u64>) -> u32 {
        crc::append(crc, self.leaving(*handle, range))
    }

    fn copy_source(&mut self, handle: &usize, range: Range<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.leaving(*handle, range));
    }
}

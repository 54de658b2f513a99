//! Registered memory, as the peer of one connection may use it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use uwarp_ddp::{Access, AccessError, Peer, Rights, Stag};
use uwarp_mpa::Octets;
use uwarp_rdmap::atomic::ATOMIC_WORD;
use uwarp_rdmap::{AtomicError, AtomicOperation, Regions, Slot, Target};
use uwarp_stream::{Direct, Memory, Source};

use crate::descriptor::{MAX_SGE, Works};
use crate::domain::Domain;
use crate::memory::{RegionMemory, Span, SpanError};

/// The pieces of memory that one payload goes to.
pub(super) type SpanList = ArrayVec<Span, MAX_SGE>;

/// Registered memory as one connection's peer may use it.
pub(super) struct EngineMemory<'a> {
    pub(super) domain: &'a Domain,
    pub(super) peer: Peer,
    pub(super) works: &'a Works,
}

impl EngineMemory<'_> {
    /// Places the buffered part of a payload, and lets `read` fill the rest.
    pub(super) fn place_direct<T>(
        &mut self,
        direct: &Direct,
        staged: &[u8],
        read: impl FnOnce(SpanList) -> T,
    ) -> Result<T, AccessError> {
        let buffered = &staged[direct.buffered.clone()];
        let done = buffered.len();
        match direct.target {
            Target::Tagged { stag, to, len } => {
                let table = self.domain.table();
                let place = table.check(self.peer, stag, to, len, Access::Write)?;
                let memory = place.handle();
                let _ = memory.write_at(place.offset(), buffered);
                let span = memory
                    .iovec(place.offset() + done as u64, direct.missing)
                    .map_err(|_| AccessError::Bounds)?;
                Ok(read(SpanList::from_iter([span])))
            }
            Target::Work { slot, offset, .. } => {
                self.scatter(slot, offset, buffered);
                let mut spans = SpanList::new();
                self.works.pieces(
                    slot,
                    offset + done as u32,
                    direct.missing,
                    |element, offset, len| {
                        spans.extend(element.memory.iovec(offset, len));
                    },
                );
                Ok(read(spans))
            }
            Target::None | Target::Control => Err(AccessError::InvalidStag),
        }
    }

    fn scatter(&self, slot: Slot, offset: u32, octets: &[u8]) {
        let mut rest = octets;
        self.works
            .pieces(slot, offset, octets.len(), |element, offset, len| {
                let (now, later) = rest.split_at(len);
                // The element was checked against its region when it was made.
                let _ = element.memory.write_at(offset, now);
                rest = later;
            });
    }
}

impl Regions for EngineMemory<'_> {
    fn check_read(&mut self, stag: Stag, to: u64, len: u32) -> Result<(), AccessError> {
        self.domain
            .table()
            .check(self.peer, stag, to, len, Access::Read)
            .map(|_| ())
    }

    fn check_atomic(&mut self, stag: Stag, to: u64) -> Result<(), AtomicError> {
        let table = self.domain.table();
        let place = table.check(self.peer, stag, to, ATOMIC_WORD, Access::Atomic)?;
        place
            .handle()
            .load_u64(place.offset(), Ordering::Relaxed)
            .map(|_| ())
            .map_err(not_atomic)
    }

    fn invalidate(&mut self, stag: Stag) -> Result<(), AccessError> {
        self.domain.table_mut().invalidate(self.peer, stag)
    }
}

impl Memory for EngineMemory<'_> {
    type Handle = Arc<RegionMemory>;

    fn write(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
        octets: Octets<'_>,
    ) -> Result<(), AccessError> {
        // Held to the end of the copy: revoking waits for it.
        let table = self.domain.table();
        let place = table.check(self.peer, stag, to, len, Access::Write)?;
        let mut offset = place.offset();
        for part in octets {
            // `check` has compared the range with the registered length.
            let _ = place.handle().write_at(offset, part);
            offset += part.len() as u64;
        }
        Ok(())
    }

    fn fill(&mut self, slot: Slot, offset: u32, octets: Octets<'_>) {
        let mut offset = offset;
        for part in octets {
            self.scatter(slot, offset, part);
            offset += part.len() as u32;
        }
    }

    fn crc_work(&mut self, crc: u32, slot: Slot, range: Range<u32>) -> u32 {
        let mut crc = crc;
        self.works.pieces(
            slot,
            range.start,
            (range.end - range.start) as usize,
            |element, offset, len| {
                crc = element.memory.crc32c(crc, offset, len).unwrap_or(crc);
            },
        );
        crc
    }

    fn copy_work(&mut self, slot: Slot, range: Range<u32>, out: &mut Vec<u8>) {
        let len = (range.end - range.start) as usize;
        self.works
            .pieces(slot, range.start, len, |element, offset, len| {
                let start = out.len();
                out.resize(start + len, 0);
                // The element was checked against its region when it was made.
                let _ = element.memory.read_at(offset, &mut out[start..]);
            });
    }

    fn source(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
    ) -> Result<Source<Self::Handle>, AccessError> {
        let table = self.domain.table();
        let place = table.check(self.peer, stag, to, len, Access::Read)?;
        let writes = Rights::REMOTE_WRITE | Rights::REMOTE_ATOMIC;
        let volatile = (table.get(stag)).is_some_and(|(terms, _)| terms.rights.intersects(writes));
        Ok(Source {
            handle: Arc::clone(place.handle()),
            offset: place.offset(),
            volatile,
        })
    }

    fn atomic(
        &mut self,
        stag: Stag,
        to: u64,
        operation: &AtomicOperation,
    ) -> Result<u64, AtomicError> {
        // Held to the end of the operation: revoking waits for it.
        let table = self.domain.table();
        let place = table.check(self.peer, stag, to, ATOMIC_WORD, Access::Atomic)?;
        place
            .handle()
            .fetch_update_u64(place.offset(), Ordering::AcqRel, |word| {
                operation.apply(word)
            })
            .map_err(not_atomic)
    }

    fn crc_source(&mut self, crc: u32, handle: &Self::Handle, range: Range<u64>) -> u32 {
        handle
            .crc32c(crc, range.start, (range.end - range.start) as usize)
            .unwrap_or(crc)
    }

    fn copy_source(&mut self, handle: &Self::Handle, range: Range<u64>, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + (range.end - range.start) as usize, 0);
        let _ = handle.read_at(range.start, &mut out[start..]);
    }
}

const fn not_atomic(error: SpanError) -> AtomicError {
    match error {
        SpanError::Misaligned { .. } => AtomicError::Misaligned,
        SpanError::OutOfBounds { .. } => AtomicError::Access(AccessError::Bounds),
    }
}

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
                // The kernel writes before this is over: revoking waits for it.
                table.with(self.peer, stag, to, len, Access::Write, |place| {
                    let memory = place.handle();
                    let _ = memory.write_at(place.offset(), buffered);
                    let span = memory
                        .iovec(place.offset() + done as u64, direct.missing)
                        .map_err(|_| AccessError::Bounds)?;
                    Ok(read(SpanList::from_iter([span])))
                })?
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
            .with(self.peer, stag, to, len, Access::Read, |_| ())
    }

    fn check_atomic(&mut self, stag: Stag, to: u64) -> Result<(), AtomicError> {
        let table = self.domain.table();
        table
            .with(self.peer, stag, to, ATOMIC_WORD, Access::Atomic, |place| {
                place.handle().load_u64(place.offset(), Ordering::Relaxed)
            })?
            .map(|_| ())
            .map_err(not_atomic)
    }

    fn invalidate(&mut self, stag: Stag) -> Result<(), AccessError> {
        self.domain.table().invalidate(self.peer, stag)
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
        let table = self.domain.table();
        table.with(self.peer, stag, to, len, Access::Write, |place| {
            let mut offset = place.offset();
            for part in octets {
                // The range has been compared with the registered length.
                let _ = place.handle().write_at(offset, part);
                offset += part.len() as u64;
            }
        })
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
                append(&element.memory, offset, len, out);
            });
    }

    fn source(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
    ) -> Result<Source<Self::Handle>, AccessError> {
        let writes = Rights::REMOTE_WRITE | Rights::REMOTE_ATOMIC;
        let table = self.domain.table();
        table.with(self.peer, stag, to, len, Access::Read, |place| Source {
            handle: Arc::clone(place.handle()),
            offset: place.offset(),
            volatile: place.rights().intersects(writes),
        })
    }

    fn atomic(
        &mut self,
        stag: Stag,
        to: u64,
        operation: &AtomicOperation,
    ) -> Result<u64, AtomicError> {
        let table = self.domain.table();
        table
            .with(self.peer, stag, to, ATOMIC_WORD, Access::Atomic, |place| {
                let change = |word| operation.apply(word);
                (place.handle()).fetch_update_u64(place.offset(), Ordering::AcqRel, change)
            })?
            .map_err(not_atomic)
    }

    fn crc_source(&mut self, crc: u32, handle: &Self::Handle, range: Range<u64>) -> u32 {
        handle
            .crc32c(crc, range.start, (range.end - range.start) as usize)
            .unwrap_or(crc)
    }

    fn copy_source(&mut self, handle: &Self::Handle, range: Range<u64>, out: &mut Vec<u8>) {
        append(handle, range.start, (range.end - range.start) as usize, out);
    }
}

/// Appends octets of a region. The range was checked against it before, when the element was made or the source looked
/// up; if not, zeros keep the frame whole.
fn append(memory: &RegionMemory, offset: u64, len: usize, out: &mut Vec<u8>) {
    if memory.append_to(offset, len, out).is_err() {
        out.resize(out.len() + len, 0);
    }
}

const fn not_atomic(error: SpanError) -> AtomicError {
    match error {
        SpanError::Misaligned { .. } => AtomicError::Misaligned,
        SpanError::OutOfBounds { .. } => AtomicError::Access(AccessError::Bounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::Posts;
    use std::thread;
    use uwarp_ddp::StreamId;

    /// RFC 7306 s5.3 (X03): two connections, on a thread each as those of two workers are, and the program itself. The
    /// threads do nothing else, so that their steps meet all the time.
    #[test]
    #[cfg_attr(miri, ignore = "a domain asks the system to be told of forks")]
    fn no_step_of_an_atomic_operation_comes_between_two_of_another() {
        let each = 200_000;
        let domain = Domain::new();
        let memory = crate::memory::Memory::zeroed(8).expect("a small buffer");
        let region = domain
            .register(memory, Rights::REMOTE_ATOMIC)
            .expect("room");
        let stag = region.stag().expect("in force");
        // One adds to the lower half of the word, the other swaps the upper half for a greater one.
        let add = |_| AtomicOperation::FetchAdd {
            add: 1,
            mask: 1 << 31,
        };
        let swap = |turn: u64| AtomicOperation::CompareSwap {
            compare: turn << 32,
            compare_mask: 0xffff_ffff << 32,
            swap: (turn + 1) << 32,
            swap_mask: 0xffff_ffff << 32,
        };
        let connection = |stream, operation: &dyn Fn(u64) -> AtomicOperation| {
            let works = Works::new(Arc::new(Posts::new(1, 1)), 1, 1);
            let peer = Peer {
                domain: domain.id(),
                stream: StreamId(stream),
            };
            let mut memory = EngineMemory {
                domain: &domain,
                peer,
                works: &works,
            };
            for turn in 0..each {
                let found = memory.atomic(stag, 0, &operation(turn));
                assert!(found.is_ok());
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| connection(1, &add));
            scope.spawn(|| connection(2, &swap));
            for _ in 0..each {
                let added = region.memory().fetch_add_u64(0, 1, Ordering::Relaxed);
                assert!(added.is_ok());
            }
        });
        let word = region.memory().load_u64(0, Ordering::Relaxed);
        assert_eq!(word, Ok((each << 32) + 2 * each));
    }
}

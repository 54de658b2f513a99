//! Memory while it is registered: reached by copies, atomics and the kernel, never by reference.

use super::{Memory, MemoryError, copy, crc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Why a span of registered memory cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// Some of the span lies outside the region.
    #[error("{len} octets at {offset} are not inside a region of {size}")]
    OutOfBounds {
        /// Octets from the start of the region.
        offset: u64,
        /// Octets asked for.
        len: usize,
        /// Octets the region has.
        size: usize,
    },
    /// The *address* of a 64-bit word is not a multiple of eight (the offset may well be one).
    #[error("the word at {offset} is not aligned to 8 octets")]
    Misaligned {
        /// Octets from the start of the region.
        offset: u64,
    },
}

/// Memory in registration: shared, behind an `Arc`, by the program and by every connection a peer reaches it through.
///
/// Offsets count octets from the start of the region. Every method checks its span; none blocks or allocates. What
/// racing accesses mean is told in the [module documentation](super).
///
/// A [`write_at`](Self::write_at) *releases* what its thread wrote before, and a [`read_at`](Self::read_at)
/// *acquires*: who reads, by either an acquiring load or a copy, an octet that a copy wrote, also sees all that the
/// writing thread wrote earlier. That is what makes a flag behind the data work.
///
/// ```
/// use std::sync::atomic::Ordering;
/// use uwarp::memory::{Memory, RegionMemory, SpanError};
///
/// let region = RegionMemory::new(Memory::zeroed(4096)?);
/// region.write_at(100, b"ready when the flag is")?;
/// region.store_u64(0, 1, Ordering::Release)?;
///
/// assert_eq!(region.load_u64(0, Ordering::Acquire)?, 1);
/// let mut text = [0; 5];
/// region.read_at(100, &mut text)?;
/// assert_eq!(&text, b"ready");
/// assert!(matches!(region.read_at(4092, &mut text), Err(SpanError::OutOfBounds { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RegionMemory {
    ptr: NonNull<u8>,
    len: usize,
    /// Keeps the octets; `None` if whoever called [`RegionMemory::from_raw`] does.
    owner: Option<Memory>,
}

// SAFETY: the octets belong to no thread, and `owner` may be dropped by any.
unsafe impl Send for RegionMemory {}
// SAFETY: every access through `&RegionMemory` is atomic or stands for atomic ones; `owner` is not touched.
unsafe impl Sync for RegionMemory {}

/// A checked span of registered memory, to be handed to the kernel in an `iovec`.
///
/// It is a plain address: whoever holds one also holds the `Arc` of its region for as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first octet.
    pub(crate) ptr: *mut u8,
    /// How many octets there are.
    pub(crate) len: usize,
}

impl RegionMemory {
    /// Puts an owned buffer into registration.
    pub fn new(memory: Memory) -> Self {
        Self {
            ptr: memory.ptr(),
            len: memory.len(),
            owner: Some(memory),
        }
    }

    /// Registers memory that somebody else owns; meant for the C interface alone.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Null`] or [`MemoryError::TooLong`] if there can be no such memory.
    ///
    /// # Safety
    ///
    /// As long as the value lives, the `len` octets at `ptr` must be initialised, stay mapped and readable, and be
    /// writable if anything is to be stored through it. Rust code must hold no reference to them and reach them by
    /// atomic accesses only.
    pub unsafe fn from_raw(ptr: *mut u8, len: usize) -> Result<Self, MemoryError> {
        if isize::try_from(len).is_err() || ptr.addr().checked_add(len).is_none() {
            return Err(MemoryError::TooLong { len });
        }
        let ptr = match NonNull::new(ptr) {
            Some(ptr) => ptr,
            None if len == 0 => NonNull::dangling(),
            None => return Err(MemoryError::Null { len }),
        };
        Ok(Self {
            ptr,
            len,
            owner: None,
        })
    }

    /// Takes the buffer out of registration; `None` if it was never owned ([`from_raw`](Self::from_raw)).
    ///
    /// That it takes `self` is the point: while a connection holds the region's `Arc` there is no way here.
    pub fn into_memory(self) -> Option<Memory> {
        self.owner
    }

    /// Octets in the region.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the region has no octets.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies out `out.len()` octets from `offset`.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`]; then `out` is as it was.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SpanError> {
        let from = self.at(offset, out.len())?;
        // SAFETY: the span is inside the region, whose octets satisfy what copying asks while `self` lives.
        unsafe { copy::copy_out(out, from) };
        fence(Ordering::Acquire);
        Ok(())
    }

    /// Appends a copy of `len` octets from `offset` to `out`.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`]; then `out` is as it was.
    pub fn append_to(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), SpanError> {
        let from = self.at(offset, len)?;
        // SAFETY: the span is inside the region, whose octets satisfy what copying asks while `self` lives.
        unsafe { copy::append(out, from, len) };
        fence(Ordering::Acquire);
        Ok(())
    }

    /// Copies `octets` in at `offset`.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`]; then nothing was written.
    pub fn write_at(&self, offset: u64, octets: &[u8]) -> Result<(), SpanError> {
        let to = self.at(offset, octets.len())?;
        fence(Ordering::Release);
        // SAFETY: the span is inside the region, whose octets satisfy what copying asks while `self` lives.
        unsafe { copy::copy_in(to, octets) };
        Ok(())
    }

    /// Stores `value` in each of `len` octets from `offset`.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`]; then nothing was written.
    pub fn fill_at(&self, offset: u64, len: usize, value: u8) -> Result<(), SpanError> {
        let to = self.at(offset, len)?;
        fence(Ordering::Release);
        // SAFETY: the span is inside the region, whose octets satisfy what filling asks while `self` lives.
        unsafe { copy::fill(to, len, value) };
        Ok(())
    }

    /// Loads the 64-bit word at `offset`, in the byte order of this machine.
    ///
    /// Of an `order` that a load cannot have (`Release`, `AcqRel`) the part is taken that it can.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`] or [`SpanError::Misaligned`].
    pub fn load_u64(&self, offset: u64, order: Ordering) -> Result<u64, SpanError> {
        Ok(self.word(offset)?.load(load_part(order)))
    }

    /// Stores `value` in the 64-bit word at `offset`, in the byte order of this machine.
    ///
    /// Of an `order` that a store cannot have (`Acquire`, `AcqRel`) the part is taken that it can.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`] or [`SpanError::Misaligned`].
    pub fn store_u64(&self, offset: u64, value: u64, order: Ordering) -> Result<(), SpanError> {
        self.word(offset)?.store(value, store_part(order));
        Ok(())
    }

    /// Adds to the 64-bit word at `offset`, wrapping, and returns what it was before.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`] or [`SpanError::Misaligned`].
    pub fn fetch_add_u64(&self, offset: u64, add: u64, order: Ordering) -> Result<u64, SpanError> {
        Ok(self.word(offset)?.fetch_add(add, order))
    }

    /// Stores `new` in the 64-bit word at `offset` if it holds `current`; the inner result is what it held, `Ok` if
    /// the exchange was made. A failed exchange has the load's part of `order`.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`] or [`SpanError::Misaligned`].
    pub fn compare_exchange_u64(
        &self,
        offset: u64,
        current: u64,
        new: u64,
        order: Ordering,
    ) -> Result<Result<u64, u64>, SpanError> {
        Ok(self
            .word(offset)?
            .compare_exchange(current, new, order, load_part(order)))
    }

    /// Replaces the 64-bit word at `offset` by what `change` makes of it, in one atomic step, and returns what it was
    /// before. `change` is called again whenever somebody else was quicker. This serves the masked operations of
    /// RFC 7306 s5, which no processor has.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`] or [`SpanError::Misaligned`].
    pub fn fetch_update_u64(
        &self,
        offset: u64,
        order: Ordering,
        mut change: impl FnMut(u64) -> u64,
    ) -> Result<u64, SpanError> {
        let word = self.word(offset)?;
        let mut seen = word.load(load_part(order));
        loop {
            match word.compare_exchange_weak(seen, change(seen), order, load_part(order)) {
                Ok(before) => return Ok(before),
                Err(now) => seen = now,
            }
        }
    }

    /// Extends the CRC-32C `crc` by `len` octets from `offset`, reading each once. Zero starts a new checksum.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`].
    pub fn crc32c(&self, crc: u32, offset: u64, len: usize) -> Result<u32, SpanError> {
        let from = self.at(offset, len)?;
        // SAFETY: the span is inside the region, whose octets satisfy what reading asks while `self` lives.
        let crc = unsafe { crc::crc32c_raw(crc, from, len) };
        fence(Ordering::Acquire);
        Ok(crc)
    }

    /// The span of `len` octets from `offset`, for the kernel to read or write.
    ///
    /// # Errors
    ///
    /// [`SpanError::OutOfBounds`].
    pub(crate) fn iovec(&self, offset: u64, len: usize) -> Result<Span, SpanError> {
        Ok(Span {
            ptr: self.at(offset, len)?,
            len,
        })
    }

    /// The address of `len` octets from `offset`, all of them inside: the one place where bounds are checked.
    fn at(&self, offset: u64, len: usize) -> Result<*mut u8, SpanError> {
        let outside = SpanError::OutOfBounds {
            offset,
            len,
            size: self.len,
        };
        let start = usize::try_from(offset).map_err(|_| outside)?;
        match start.checked_add(len) {
            // SAFETY: `start` is at most `end`, and so inside the allocation or one past its end.
            Some(end) if end <= self.len => Ok(unsafe { self.ptr.as_ptr().add(start) }),
            _ => Err(outside),
        }
    }

    /// The aligned word at `offset`.
    fn word(&self, offset: u64) -> Result<&AtomicU64, SpanError> {
        let word = self.at(offset, size_of::<u64>())?.cast::<AtomicU64>();
        if !word.is_aligned() {
            return Err(SpanError::Misaligned { offset });
        }
        // SAFETY: eight octets at an aligned address inside the region are a valid AtomicU64 while `self` lives, and
        // nobody makes a non-atomic access to them.
        Ok(unsafe { &*word })
    }
}

/// The part of an ordering that a load can have.
fn load_part(order: Ordering) -> Ordering {
    match order {
        Ordering::AcqRel => Ordering::Acquire,
        Ordering::Release => Ordering::Relaxed,
        other => other,
    }
}

/// The part of an ordering that a store can have.
fn store_part(order: Ordering) -> Ordering {
    match order {
        Ordering::AcqRel => Ordering::Release,
        Ordering::Acquire => Ordering::Relaxed,
        other => other,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    const ORDERS: [Ordering; 5] = [
        Ordering::Relaxed,
        Ordering::Acquire,
        Ordering::Release,
        Ordering::AcqRel,
        Ordering::SeqCst,
    ];

    fn region(len: usize) -> RegionMemory {
        RegionMemory::new(Memory::zeroed(len).expect("a small buffer"))
    }

    #[test]
    fn what_is_written_is_read_and_comes_back() {
        let region = RegionMemory::new(Memory::from(vec![1; 20]));
        region.write_at(3, b"abc").expect("inside");
        region.fill_at(18, 2, 9).expect("inside");
        let mut out = [0; 5];
        region.read_at(2, &mut out).expect("inside");
        assert_eq!(&out, b"\x01abc\x01");
        let span = region.iovec(4, 6).expect("inside");
        assert_eq!(
            (span.ptr.addr() - region.ptr.addr().get(), span.len),
            (4, 6)
        );
        let back = region.into_memory().expect("owned").into_vec();
        assert_eq!(&back[3..6], b"abc");
        assert_eq!(&back[17..], [1, 9, 9]);
    }

    #[test]
    fn no_span_leaves_the_region() {
        let region = region(16);
        for (offset, len) in [
            (0, 17),
            (1, 16),
            (16, 1),
            (17, 0),
            (u64::MAX, 1),
            (u64::MAX, 0),
            (8, usize::MAX),
        ] {
            let outside = SpanError::OutOfBounds {
                offset,
                len,
                size: 16,
            };
            assert_eq!(region.iovec(offset, len), Err(outside));
            assert_eq!(region.crc32c(0, offset, len), Err(outside));
            assert_eq!(region.fill_at(offset, len, 1), Err(outside));
            if len < 100 {
                assert_eq!(region.write_at(offset, &vec![1; len]), Err(outside));
                let mut out = vec![7; len];
                assert_eq!(region.read_at(offset, &mut out), Err(outside));
                assert_eq!(out, vec![7; len], "an error must not touch the result");
            }
        }
        assert!(
            region
                .into_memory()
                .expect("owned")
                .iter()
                .all(|octet| *octet == 0)
        );
    }

    #[test]
    fn spans_that_end_at_the_end_and_empty_ones_are_inside() {
        let region = region(16);
        region.write_at(0, &[1; 16]).expect("all of it");
        region.write_at(16, &[]).expect("nothing, at the end");
        assert_eq!(region.iovec(16, 0).map(|span| span.len), Ok(0));
        let none = RegionMemory::new(Memory::from(Vec::new()));
        assert!(none.is_empty());
        none.read_at(0, &mut []).expect("nothing of nothing");
        assert_eq!(none.crc32c(5, 0, 0), Ok(5));
    }

    #[test]
    fn words_are_counted_by_address_not_by_offset() {
        let mut buffer = Memory::zeroed(64).expect("a small buffer");
        // SAFETY: 63 octets from the second one on are inside `buffer`, which outlives the region.
        let region = unsafe { RegionMemory::from_raw(buffer.as_mut_ptr().wrapping_add(1), 63) }
            .expect("real memory");
        assert_eq!(
            region.load_u64(8, Ordering::Relaxed),
            Err(SpanError::Misaligned { offset: 8 })
        );
        region
            .store_u64(7, 0x0102_0304_0506_0708, Ordering::Relaxed)
            .expect("address 8");
        assert_eq!(
            region.load_u64(7, Ordering::Relaxed),
            Ok(0x0102_0304_0506_0708)
        );
        let end = SpanError::OutOfBounds {
            offset: 63,
            len: 8,
            size: 63,
        };
        assert_eq!(region.fetch_add_u64(63, 1, Ordering::Relaxed), Err(end));
        assert!(region.into_memory().is_none());
    }

    #[test]
    fn atomics_do_what_they_say_in_every_order() {
        let region = region(16);
        for order in ORDERS {
            region.store_u64(8, u64::MAX, order).expect("a word");
            assert_eq!(region.fetch_add_u64(8, 3, order), Ok(u64::MAX));
            assert_eq!(region.load_u64(8, order), Ok(2));
            assert_eq!(region.compare_exchange_u64(8, 1, 7, order), Ok(Err(2)));
            assert_eq!(region.compare_exchange_u64(8, 2, 7, order), Ok(Ok(2)));
            assert_eq!(region.fetch_update_u64(8, order, |word| word << 4), Ok(7));
            assert_eq!(region.load_u64(8, order), Ok(0x70));
            assert_eq!(
                region.load_u64(0, order),
                Ok(0),
                "the neighbour is untouched"
            );
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_octets() {
        let region = region(3000);
        let octets: Vec<u8> = (0..2000_u32).map(|i| ((i * i) >> 3) as u8).collect();
        region.write_at(501, &octets).expect("inside");
        assert_eq!(
            region.crc32c(77, 501, 2000),
            Ok(crc32c::crc32c_append(77, &octets))
        );
    }

    #[test]
    fn raw_memory_is_looked_at_before_it_is_believed() {
        // SAFETY: none of these is accepted, except for no octets at all.
        let try_raw = |at: usize, len| unsafe {
            RegionMemory::from_raw(std::ptr::without_provenance_mut(at), len)
        };
        assert!(matches!(try_raw(0, 1), Err(MemoryError::Null { len: 1 })));
        assert!(matches!(
            try_raw(4096, usize::MAX),
            Err(MemoryError::TooLong { .. })
        ));
        assert!(matches!(
            try_raw(usize::MAX - 3, 8),
            Err(MemoryError::TooLong { len: 8 })
        ));
        assert!(try_raw(0, 0).expect("no octets").is_empty());
    }

    /// Has one thread write data and then a flag, over and over, and another read the data as soon as `flag` tells
    /// the round. Both words are 8 octets: the flag at 0, the answer at 504.
    fn publish(flag: impl Fn(&RegionMemory, u64) -> u64) {
        let region = Arc::new(region(512));
        let rounds: u64 = if cfg!(miri) { 3 } else { 2_000 };
        let writer = thread::spawn({
            let region = Arc::clone(&region);
            move || {
                for round in 1..=rounds {
                    region.write_at(8, &[round as u8; 400]).expect("inside");
                    region.write_at(0, &round.to_ne_bytes()).expect("inside");
                    while region.load_u64(504, Ordering::Acquire) != Ok(round) {
                        thread::yield_now();
                    }
                }
            }
        });
        for round in 1..=rounds {
            while flag(&region, 0) != round {
                thread::yield_now();
            }
            let mut data = [0; 400];
            region.read_at(8, &mut data).expect("inside");
            assert_eq!(data, [round as u8; 400]);
            region
                .store_u64(504, round, Ordering::Release)
                .expect("a word");
        }
        writer.join().expect("the writer runs to its end");
    }

    #[test]
    fn a_flag_behind_the_data_publishes_it() {
        publish(|region, at| {
            let mut flag = [0; 8];
            region.read_at(at, &mut flag).expect("inside");
            u64::from_ne_bytes(flag)
        });
    }

    #[test]
    #[cfg_attr(
        miri,
        ignore = "an atomic races with a copy, for which the language has no rule yet"
    )]
    fn a_flag_that_is_polled_atomically_publishes_the_data() {
        publish(|region, at| region.load_u64(at, Ordering::Acquire).expect("a word"));
    }

    #[test]
    fn readers_and_writers_may_race() {
        let region = Arc::new(region(512));
        let rounds = if cfg!(miri) { 2 } else { 500 };
        let writers = [0x11, 0x22].map(|value| {
            let region = Arc::clone(&region);
            thread::spawn(move || {
                (0..rounds).for_each(|_| region.fill_at(5, 490, value).expect("inside"))
            })
        });
        for _ in 0..rounds {
            let mut data = [0; 500];
            region.read_at(3, &mut data).expect("inside");
            assert!(data.iter().all(|octet| [0, 0x11, 0x22].contains(octet)));
            region.crc32c(0, 3, 500).expect("inside");
        }
        for writer in writers {
            writer.join().expect("the writer runs to its end");
        }
    }
}

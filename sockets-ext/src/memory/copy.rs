//! Copying between ordinary slices and memory that somebody else may change at any moment.
//!
//! The foreign side is only ever seen as a row of atomic octets ([`cells`]), never as a `&[u8]`. In the terms of the
//! language every access to it is a relaxed atomic access to one octet, so that any two of them may race, however
//! they are aligned; accesses of different size that race would be undefined. The processor is asked for more at a
//! time where it can: x86-64 moves words and, by its string instructions, long runs. That is written in assembly,
//! which stands for the octets and which no optimiser looks into.
//!
//! Each octet of a destination is stored exactly once. That matters: a program that polls a flag, sees it and clears
//! it must not find it set again by the second half of an overlapping store.

use std::slice;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Octets in a word.
const WORD: usize = size_of::<u64>();

/// From this many octets on the string instructions are used where there are any.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const STRING_MIN: usize = 256;

/// The last octets of a long run, moved word by word after the rest: a program that polls the end of a buffer sees
/// them appear last, and aligned words among them whole.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const STRING_TAIL: usize = 64;

/// Foreign memory as atomic octets: those up to an aligned address, then aligned words of them, then what is left.
pub(super) type Cells<'a> = (&'a [AtomicU8], &'a [[AtomicU8; WORD]], &'a [AtomicU8]);

/// Looks at `len` octets from `ptr` as atomic cells.
///
/// # Safety
///
/// For the lifetime `'a` the octets must be initialised, stay mapped and readable (writable too, if a store is made
/// through the cells), and be touched by nothing but atomic accesses, this module, the kernel or another process.
pub(super) unsafe fn cells<'a>(ptr: *const u8, len: usize) -> Cells<'a> {
    // SAFETY: an AtomicU8 has the size and alignment of a u8 and allows change behind a shared reference; the caller
    // vouches for validity and lifetime.
    let octets = unsafe { slice::from_raw_parts(ptr.cast::<AtomicU8>(), len) };
    let to_aligned = ptr.addr().wrapping_neg() % WORD;
    let (head, rest) = octets.split_at(to_aligned.min(len));
    let (words, tail) = rest.as_chunks();
    (head, words, tail)
}

/// Loads eight octets at once, in the byte order of this machine.
#[inline]
pub(super) fn load_word(cells: &[AtomicU8; WORD]) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    return assembly::load(cells);
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    return u64::from_ne_bytes(std::array::from_fn(|at| cells[at].load(Relaxed)));
}

/// Stores eight octets at once, in the byte order of this machine.
#[inline]
fn store_word(cells: &[AtomicU8; WORD], word: u64) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    assembly::store(cells, word);
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    for (cell, octet) in cells.iter().zip(word.to_ne_bytes()) {
        cell.store(octet, Relaxed);
    }
}

/// Copies `src` to the foreign memory at `dst`.
///
/// # Safety
///
/// `src.len()` octets from `dst` must satisfy what [`cells`] asks, and be writable.
pub(super) unsafe fn copy_in(dst: *mut u8, src: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if src.len() >= STRING_MIN {
        let (bulk, tail) = src.split_at(src.len() - STRING_TAIL);
        // SAFETY: `bulk` is a prefix of `src`, so both runs are in bounds; a slice never overlaps foreign memory.
        unsafe { assembly::copy(dst, bulk.as_ptr(), bulk.len()) };
        // SAFETY: `bulk.len()` is less than `src.len()`, for which `dst` is valid.
        let rest = unsafe { dst.add(bulk.len()) };
        // SAFETY: `tail.len()` octets from `rest` are the end of what the caller vouches for.
        return unsafe { copy_in_cells(rest, tail) };
    }
    // SAFETY: the caller's promise, passed on.
    unsafe { copy_in_cells(dst, src) }
}

/// Copies the foreign memory at `src` into the whole of `dst`.
///
/// # Safety
///
/// `dst.len()` octets from `src` must satisfy what [`cells`] asks.
pub(super) unsafe fn copy_out(dst: &mut [u8], src: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if dst.len() >= STRING_MIN {
        // SAFETY: both runs hold `dst.len()` octets; a `&mut` slice never overlaps foreign memory.
        return unsafe { assembly::copy(dst.as_mut_ptr(), src, dst.len()) };
    }
    // SAFETY: the caller's promise, passed on.
    unsafe { copy_out_cells(dst, src) }
}

/// Appends `len` octets of the foreign memory at `src` to `out`.
///
/// # Safety
///
/// `len` octets from `src` must satisfy what [`cells`] asks.
pub(super) unsafe fn append(out: &mut Vec<u8>, src: *const u8, len: usize) {
    let start = out.len();
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if len >= STRING_MIN {
        out.reserve(len);
        let room = out.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: `room` has space for `len` octets, and a vector's never overlaps foreign memory; the caller vouches for
        // the source.
        unsafe { assembly::copy(room, src, len) };
        // SAFETY: there is capacity for so many, and those from `start` on have just been written.
        return unsafe { out.set_len(start + len) };
    }
    out.resize(start + len, 0);
    // SAFETY: the caller's promise, passed on.
    unsafe { copy_out(&mut out[start..], src) }
}

/// Stores `value` in each of `len` octets of the foreign memory at `dst`.
///
/// # Safety
///
/// `len` octets from `dst` must satisfy what [`cells`] asks, and be writable.
pub(super) unsafe fn fill(dst: *mut u8, len: usize, value: u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if len >= STRING_MIN {
        // SAFETY: the caller's promise, passed on.
        return unsafe { assembly::fill(dst, len, value) };
    }
    // SAFETY: the caller's promise, passed on.
    unsafe { fill_cells(dst, len, value) }
}

/// [`copy_in`] cell by cell, on every architecture.
///
/// # Safety
///
/// As for [`copy_in`].
unsafe fn copy_in_cells(dst: *mut u8, src: &[u8]) {
    // SAFETY: the caller's promise, passed on.
    let (head, words, tail) = unsafe { cells(dst, src.len()) };
    let (first, rest) = src.split_at(head.len());
    let (middle, last) = rest.as_chunks();
    for (cell, octet) in head.iter().zip(first) {
        cell.store(*octet, Relaxed);
    }
    for (cell, word) in words.iter().zip(middle) {
        store_word(cell, u64::from_ne_bytes(*word));
    }
    for (cell, octet) in tail.iter().zip(last) {
        cell.store(*octet, Relaxed);
    }
}

/// [`copy_out`] cell by cell, on every architecture.
///
/// # Safety
///
/// As for [`copy_out`].
unsafe fn copy_out_cells(dst: &mut [u8], src: *const u8) {
    // SAFETY: the caller's promise, passed on.
    let (head, words, tail) = unsafe { cells(src, dst.len()) };
    let (first, rest) = dst.split_at_mut(head.len());
    let (middle, last) = rest.as_chunks_mut();
    for (octet, cell) in first.iter_mut().zip(head) {
        *octet = cell.load(Relaxed);
    }
    for (word, cell) in middle.iter_mut().zip(words) {
        *word = load_word(cell).to_ne_bytes();
    }
    for (octet, cell) in last.iter_mut().zip(tail) {
        *octet = cell.load(Relaxed);
    }
}

/// [`fill`] cell by cell, on every architecture.
///
/// # Safety
///
/// As for [`fill`].
unsafe fn fill_cells(dst: *mut u8, len: usize, value: u8) {
    // SAFETY: the caller's promise, passed on.
    let (head, words, tail) = unsafe { cells(dst, len) };
    let word = u64::from_ne_bytes([value; WORD]);
    head.iter().for_each(|cell| cell.store(value, Relaxed));
    words.iter().for_each(|cell| store_word(cell, word));
    tail.iter().for_each(|cell| cell.store(value, Relaxed));
}

/// Words and runs of octets in x86-64 assembly. The string instructions are as quick as `memcpy` on processors of the
/// last decade.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod assembly {
    use super::WORD;
    use std::arch::asm;
    use std::sync::atomic::AtomicU8;

    /// Loads a word, which stands for a relaxed atomic load of each octet.
    #[inline]
    pub(super) fn load(cells: &[AtomicU8; WORD]) -> u64 {
        let word;
        // SAFETY: the reference vouches for eight readable octets; nothing is written and no flag changed.
        unsafe {
            asm!(
                "mov {word}, qword ptr [{at}]",
                word = out(reg) word,
                at = in(reg) cells.as_ptr(),
                options(nostack, preserves_flags, readonly),
            );
        }
        word
    }

    /// Stores a word, which stands for a relaxed atomic store of each octet.
    #[inline]
    pub(super) fn store(cells: &[AtomicU8; WORD], word: u64) {
        // SAFETY: the reference vouches for eight octets that may change behind it; no flag is changed.
        unsafe {
            asm!(
                "mov qword ptr [{at}], {word}",
                word = in(reg) word,
                at = in(reg) cells.as_ptr(),
                options(nostack, preserves_flags),
            );
        }
    }

    /// Moves `len` octets; one side may be foreign, which stands for a relaxed atomic access to each octet of it.
    ///
    /// # Safety
    ///
    /// `src` must be readable and `dst` writable for `len` octets, and the two must not overlap.
    pub(super) unsafe fn copy(dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: the instruction touches exactly the octets the caller vouches for; the direction flag is clear on
        // entry to any asm block, and no flag is changed.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") len => _,
                inout("rdi") dst => _,
                inout("rsi") src => _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Stores `value` in `len` octets, each by what stands for a relaxed atomic store.
    ///
    /// # Safety
    ///
    /// `dst` must be writable for `len` octets.
    pub(super) unsafe fn fill(dst: *mut u8, len: usize, value: u8) {
        // SAFETY: as for `copy`.
        unsafe {
            asm!(
                "rep stosb",
                inout("rcx") len => _,
                inout("rdi") dst => _,
                in("al") value,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const GUARD: u8 = 0xA5;
    const ROOM: usize = if cfg!(miri) { 64 } else { 640 };

    /// Lengths to try: all up to 600; under miri, where each octet is dear, a few about the words.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..=600).filter(|n| !cfg!(miri) || [0, 1, 7, 8, 9, 16, 23, 40].contains(n))
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + 3) as u8).collect()
    }

    #[test]
    fn copy_in_writes_the_span_and_nothing_beside_it() {
        let src = pattern(ROOM);
        for (skew, len) in (0..16).flat_map(|s| lengths().map(move |l| (s, l))) {
            let mut room = vec![GUARD; ROOM];
            // The source is skewed the other way, so that the two sides are hardly ever aligned alike.
            let from = &src[15 - skew..][..len];
            // SAFETY: `skew + len` is less than ROOM and the vector is not otherwise touched during the call.
            unsafe { copy_in(room.as_mut_ptr().wrapping_add(skew), from) };
            assert_eq!(&room[skew..skew + len], from, "skew {skew} len {len}");
            assert!(
                room[..skew].iter().all(|o| *o == GUARD),
                "before, skew {skew} len {len}"
            );
            assert!(
                room[skew + len..].iter().all(|o| *o == GUARD),
                "after, skew {skew} len {len}"
            );
        }
    }

    #[test]
    fn copy_out_reads_the_span_and_writes_only_the_slice() {
        let mut room = pattern(ROOM);
        let at = room.as_mut_ptr();
        for (skew, len) in (0..16).flat_map(|s| lengths().map(move |l| (s, l))) {
            let mut dst = vec![GUARD; ROOM];
            // SAFETY: `skew + len` is less than ROOM and the vector is not otherwise touched during the call.
            unsafe { copy_out(&mut dst[15 - skew..][..len], at.wrapping_add(skew)) };
            let want: Vec<u8> = (skew..skew + len).map(|i| (i * 7 + 3) as u8).collect();
            assert_eq!(&dst[15 - skew..][..len], want, "skew {skew} len {len}");
            assert!(dst[..15 - skew].iter().all(|o| *o == GUARD));
            assert!(dst[15 - skew + len..].iter().all(|o| *o == GUARD));
        }
    }

    #[test]
    fn append_adds_the_span_behind_what_is_there() {
        let mut room = pattern(ROOM);
        let at = room.as_mut_ptr();
        for (skew, len) in (0..16).flat_map(|s| lengths().map(move |l| (s, l))) {
            let mut out = vec![GUARD; skew];
            // SAFETY: `skew + len` is less than ROOM and the vector is not otherwise touched during the call.
            unsafe { append(&mut out, at.wrapping_add(skew), len) };
            let want = (0..skew + len).map(|i| if i < skew { GUARD } else { (i * 7 + 3) as u8 });
            assert!(out.iter().copied().eq(want), "skew {skew} len {len}");
        }
    }

    #[test]
    fn fill_writes_the_span_and_nothing_beside_it() {
        for (skew, len) in (0..16).flat_map(|s| lengths().map(move |l| (s, l))) {
            let mut room = vec![GUARD; ROOM];
            // SAFETY: `skew + len` is less than ROOM and the vector is not otherwise touched during the call.
            unsafe { fill(room.as_mut_ptr().wrapping_add(skew), len, 0x3C) };
            let want = (0..ROOM).map(|i| {
                if (skew..skew + len).contains(&i) {
                    0x3C
                } else {
                    GUARD
                }
            });
            assert!(room.iter().copied().eq(want), "skew {skew} len {len}");
        }
    }

    #[test]
    fn the_paths_by_cells_agree_at_every_length() {
        let src = pattern(ROOM);
        for (skew, len) in (0..8).flat_map(|s| lengths().map(move |l| (s, l))) {
            let mut room = vec![GUARD; ROOM];
            let at = room.as_mut_ptr().wrapping_add(skew);
            let mut back = vec![0; len];
            // SAFETY: `skew + len` is less than ROOM and the vector is not otherwise touched during the call.
            unsafe { copy_in_cells(at, &src[..len]) };
            // SAFETY: as above.
            unsafe { copy_out_cells(&mut back, at) };
            assert_eq!(back, src[..len], "skew {skew} len {len}");
            // SAFETY: as above.
            unsafe { fill_cells(at, len, 0) };
            assert_eq!(
                room.iter().filter(|o| **o != GUARD).count(),
                len,
                "skew {skew} len {len}"
            );
        }
    }
}

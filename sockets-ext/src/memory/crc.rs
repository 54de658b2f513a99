//! CRC-32C of memory that somebody else may change meanwhile.
//!
//! The checksum functions at large take a `&[u8]`, which must not exist over registered memory; these take a pointer
//! and load each octet once, atomically. If the memory changes meanwhile the result is that of some mixture of old and
//! new octets: wrong for the peer, harmless here.
//!
//! On x86-64 three independent runs keep the `crc32` instruction busy (its result takes three cycles, one can start
//! in each). A run of `3n` words is cut in three lanes; appending `m` words of zeros to a checksum is a
//! multiplication by `x^(64m)` modulo the polynomial, which carry-less multiplication does in one instruction:
//!
//! ```text
//!     |<-- n words: a -->|<-- n words: b -->|<-- n words: c -->|
//!      crc = a * x^(64*2n)  +  b * x^(64*n)  +  c                  (mod P, over GF(2))
//! ```

use super::copy;

/// Octets copied at a time where the checksum has to go over a copy.
const SCRATCH: usize = 256;

/// Extends the CRC-32C `crc` by the `len` octets at `ptr`; `crc` means what it does for `crc32c::crc32c_append`, so
/// zero starts a new one.
///
/// # Safety
///
/// The octets must satisfy what [`copy::cells`] asks of memory that is read.
pub(super) unsafe fn crc32c_raw(crc: u32, ptr: *const u8, len: usize) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the caller's promise, passed on.
        let cells = unsafe { copy::cells(ptr, len) };
        // SAFETY: the processor has both features.
        return unsafe { lanes::extend(crc, cells) };
    }
    // SAFETY: the caller's promise, passed on.
    unsafe { over_scratch(crc, ptr, len) }
}

/// The checksum of a copy, made piece by piece.
///
/// # Safety
///
/// As for [`crc32c_raw`].
unsafe fn over_scratch(mut crc: u32, ptr: *const u8, len: usize) -> u32 {
    let mut scratch = [0; SCRATCH];
    for done in (0..len).step_by(SCRATCH) {
        let piece = &mut scratch[..SCRATCH.min(len - done)];
        // SAFETY: `done` is less than `len`.
        let from = unsafe { ptr.add(done) };
        // SAFETY: `done + piece.len()` is at most `len`.
        unsafe { copy::copy_out(piece, from) };
        crc = crc32c::crc32c_append(crc, piece);
    }
    crc
}

/// The three lanes, for processors that have `crc32` and carry-less multiplication.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod lanes {
    use super::copy::{Cells, load_word};
    use std::arch::x86_64::{
        __m128i, _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u64, _mm_cvtsi64_si128,
        _mm_cvtsi128_si64, _mm_xor_si128,
    };
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    /// A word of foreign memory.
    type Word = [AtomicU8; 8];

    /// Longest lane in words: long enough that joining the lanes costs nothing against running them.
    const LANE_MAX: usize = 512;
    /// Shortest lane that is worth a join.
    const LANE_MIN: usize = 4;
    /// CRC-32C's polynomial, bits reflected.
    const POLYNOMIAL: u32 = 0x82F6_3B78;

    /// `SHIFT[m]` multiplies a checksum as `m` words of zeros would: `x^(64m - 33)`, reflected. The missing 33 is what
    /// the product of two reflected numbers (1) and the reduction by `crc32` (32) add. `SHIFT[0]` is not used.
    static SHIFT: [u32; 2 * LANE_MAX + 1] = shifts();

    const fn shifts() -> [u32; 2 * LANE_MAX + 1] {
        let mut table = [0; 2 * LANE_MAX + 1];
        let mut power = times_x(1 << 31, 64 - 33);
        let mut words = 1;
        while words < table.len() {
            table[words] = power;
            power = times_x(power, 64);
            words += 1;
        }
        table
    }

    /// `value * x^times` modulo the polynomial, reflected.
    const fn times_x(mut value: u32, times: u32) -> u32 {
        let mut left = times;
        while left > 0 {
            value = (value >> 1) ^ (POLYNOMIAL & (value & 1).wrapping_neg());
            left -= 1;
        }
        value
    }

    /// Extends `crc` by the octets in `cells`.
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) fn extend(crc: u32, (head, mut words, tail): Cells<'_>) -> u32 {
        let mut state = !crc;
        for octet in head {
            state = _mm_crc32_u8(state, octet.load(Relaxed));
        }
        while words.len() >= 3 * LANE_MIN {
            let lane = (words.len() / 3).min(LANE_MAX);
            let (first, rest) = words.split_at(lane);
            let (second, rest) = rest.split_at(lane);
            let (third, rest) = rest.split_at(lane);
            state = three(state, first, second, third);
            words = rest;
        }
        let mut wide = u64::from(state);
        for word in words {
            wide = _mm_crc32_u64(wide, load_word(word));
        }
        state = wide as u32;
        for octet in tail {
            state = _mm_crc32_u8(state, octet.load(Relaxed));
        }
        !state
    }

    /// Runs three lanes of one length (at most `LANE_MAX` words) beside each other and joins them.
    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn three(state: u32, first: &[Word], second: &[Word], third: &[Word]) -> u32 {
        let (mut a, mut b, mut c) = (u64::from(state), 0, 0);
        for ((x, y), z) in first.iter().zip(second).zip(third) {
            a = _mm_crc32_u64(a, load_word(x));
            b = _mm_crc32_u64(b, load_word(y));
            c = _mm_crc32_u64(c, load_word(z));
        }
        let joined = _mm_xor_si128(
            shifted(a, SHIFT[2 * first.len()]),
            shifted(b, SHIFT[first.len()]),
        );
        // The instruction reduces the 64-bit sum modulo the polynomial while it takes it in.
        (_mm_crc32_u64(0, _mm_cvtsi128_si64(joined) as u64) ^ c) as u32
    }

    /// The carry-less product of a checksum and a shift, not yet reduced.
    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn shifted(state: u64, shift: u32) -> __m128i {
        let state = _mm_cvtsi64_si128(state as i64);
        _mm_clmulepi64_si128::<0>(state, _mm_cvtsi64_si128(i64::from(shift)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // These take a `&mut`, since atomic cells may not be derived from a `&[u8]`, which promises that nothing changes.

    fn ours(crc: u32, data: &mut [u8]) -> u32 {
        // SAFETY: a slice is initialised, and exclusively ours.
        unsafe { crc32c_raw(crc, data.as_mut_ptr(), data.len()) }
    }

    fn scratch(crc: u32, data: &mut [u8]) -> u32 {
        // SAFETY: a slice is initialised, and exclusively ours.
        unsafe { over_scratch(crc, data.as_mut_ptr(), data.len()) }
    }

    fn octets(len: usize) -> Vec<u8> {
        (0..len as u32)
            .map(|i| (i.wrapping_mul(0x9E37_79B1) >> 24) as u8)
            .collect()
    }

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(ours(0, &mut b"123456789".to_owned()), 0xE306_9283);
        assert_eq!(scratch(0, &mut b"123456789".to_owned()), 0xE306_9283);
        assert_eq!(ours(0x1234_5678, &mut []), 0x1234_5678);
    }

    #[test]
    fn every_short_length_at_every_alignment() {
        let mut data = octets(800);
        let (most, stride) = if cfg!(miri) { (300, 61) } else { (780, 1) };
        for (skew, len) in (0..8).flat_map(|s| (0..most).step_by(stride).map(move |l| (s, l))) {
            let span = &mut data[skew..][..len];
            let want = crc32c::crc32c_append(0xDEAD_BEEF, span);
            assert_eq!(ours(0xDEAD_BEEF, span), want, "skew {skew} len {len}");
            assert_eq!(scratch(0xDEAD_BEEF, span), want, "skew {skew} len {len}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of thousands of octets")]
    fn lengths_about_the_longest_lane() {
        let mut data = octets(3 * 512 * 8 * 3 + 64);
        for len in [
            12_280, 12_287, 12_288, 12_289, 12_296, 12_400, 24_576, 24_600, 36_900,
        ] {
            for skew in 0..8 {
                let span = &mut data[skew..][..len];
                assert_eq!(
                    ours(7, span),
                    crc32c::crc32c_append(7, span),
                    "skew {skew} len {len}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: if cfg!(miri) { 4 } else { 256 },
            ..ProptestConfig::default() })]

        #[test]
        fn equal_to_the_common_implementation(
            mut data in prop::collection::vec(any::<u8>(), 0..if cfg!(miri) { 200 } else { 20_000 }),
            crc: u32,
            skew in 0_usize..16,
        ) {
            let from = skew.min(data.len());
            let span = &mut data[from..];
            prop_assert_eq!(ours(crc, span), crc32c::crc32c_append(crc, span));
            prop_assert_eq!(scratch(crc, span), crc32c::crc32c_append(crc, span));
        }

        #[test]
        fn a_checksum_may_be_taken_in_pieces(
            mut data in prop::collection::vec(any::<u8>(), 0..if cfg!(miri) { 100 } else { 4_000 }),
            cut: prop::sample::Index,
        ) {
            let whole = crc32c::crc32c(&data);
            let cut = cut.index(data.len() + 1);
            let (front, back) = data.split_at_mut(cut);
            prop_assert_eq!(ours(ours(0, front), back), whole);
        }
    }
}

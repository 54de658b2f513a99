//! Where octets of a stream lie in a ring.

use std::ops::Range;

/// The two pieces of a ring of `size` octets, at least 1, that hold the octets `range` of a stream: no more of
/// them than the ring has. The second piece is empty unless they run across its end.
///
/// ```
/// assert_eq!(uwarp_rsockets::pieces(5..8, 10), [5..8, 0..0]);
/// assert_eq!(uwarp_rsockets::pieces(108..113, 10), [8..10, 0..3]);
/// ```
#[must_use]
pub fn pieces(range: Range<u64>, size: u32) -> [Range<u32>; 2] {
    let len = range.end.saturating_sub(range.start);
    debug_assert!(len <= u64::from(size), "a ring holds no more than it has");
    let start = (range.start % u64::from(size)) as u32;
    let len = len.min(u64::from(size)) as u32;
    let first = len.min(size - start);
    [start..start + first, 0..len - first]
}

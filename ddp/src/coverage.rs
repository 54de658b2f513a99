//! Which octets of one message have arrived.
//!
//! A sender should send a message from its beginning to its end but need not (RFC 5041 s5.3, D22;
//! G7, T23). The receiver is not obliged to notice what is missing (D26); we do, since a message
//! that is reported as received must not contain what happened to be in the buffer before.

use std::ops::Range;

use thiserror::Error;

/// A set of octets of a message, as disjoint spans.
///
/// ```text
///   octet   0         10        20        30        40
///           |#########|.........|####|.....................
///            0..10               20..25              2 spans
/// ```
///
/// It takes no memory beyond itself: at most [`Coverage::SPANS_MAX`] spans are kept apart. A message
/// that arrives in order is one span at any time.
///
/// ```
/// use uwarp_ddp::Coverage;
///
/// # fn main() -> Result<(), uwarp_ddp::TooFragmented> {
/// let mut coverage = Coverage::new();
/// coverage.insert(10, 20)?;
/// assert!(!coverage.is_complete(20));
/// coverage.insert(0, 10)?;
/// assert!(coverage.is_complete(20));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// The first `count` are in use: in rising order, none empty, none touching the next.
    spans: [Span; Self::SPANS_MAX],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Coverage {
    /// Most spans that are kept apart. It bounds what a peer can make us remember.
    pub const SPANS_MAX: usize = 16;

    /// No octets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the octets `start..end`; some of them, or all, may be there already. An empty range adds
    /// nothing.
    ///
    /// # Errors
    /// [`TooFragmented`] when there would be more than [`SPANS_MAX`](Self::SPANS_MAX) spans; then
    /// nothing has been added.
    pub fn insert(&mut self, start: u32, end: u32) -> Result<(), TooFragmented> {
        if start >= end {
            return Ok(());
        }
        let merged = self.touched(start, end);
        match self.spans.get(merged.clone()) {
            Some([first, .., last]) => {
                let span = Span {
                    start: first.start.min(start),
                    end: last.end.max(end),
                };
                self.replace(merged, span)
            }
            Some([only]) => {
                let span = Span {
                    start: only.start.min(start),
                    end: only.end.max(end),
                };
                self.replace(merged, span)
            }
            _ => self.replace(merged, Span { start, end }),
        }
    }

    /// The spans that overlap `start..end` or touch it.
    fn touched(&self, start: u32, end: u32) -> Range<usize> {
        let spans = self.spans();
        let from = spans.partition_point(|span| span.end < start);
        let to = spans.partition_point(|span| span.start <= end);
        from..to
    }

    /// Puts one span in the place of several, or of none.
    fn replace(&mut self, old: Range<usize>, new: Span) -> Result<(), TooFragmented> {
        let count = self.count - old.len() + 1;
        if count > Self::SPANS_MAX {
            return Err(TooFragmented);
        }
        self.spans.copy_within(old.end..self.count, old.start + 1);
        self.spans[old.start] = new;
        self.count = count;
        Ok(())
    }

    fn spans(&self) -> &[Span] {
        &self.spans[..self.count]
    }

    /// Whether each of the first `len` octets is there; so it is for 0 octets.
    #[must_use]
    pub fn is_complete(&self, len: u32) -> bool {
        len == 0
            || self
                .spans()
                .first()
                .is_some_and(|span| span.start == 0 && span.end >= len)
    }

    /// The end of the last octet that is there, 0 if there is none.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.spans().last().map_or(0, |span| span.end)
    }

    /// Whether there are no octets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes all octets out.
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

/// A message arrives in more pieces apart from each other than can be kept track of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error(
    "the message arrives in more than {} pieces apart from each other",
    Coverage::SPANS_MAX
)]
pub struct TooFragmented;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_covers_nothing() {
        let mut coverage = Coverage::new();
        assert!(coverage.is_empty() && coverage.is_complete(0) && !coverage.is_complete(1));
        assert_eq!(coverage.insert(5, 5), Ok(()));
        assert_eq!(coverage.insert(6, 5), Ok(()));
        assert!(coverage.is_empty());
    }

    #[test]
    fn the_last_octet_counts_too() {
        let mut coverage = Coverage::new();
        coverage.insert(0, u32::MAX - 1).unwrap();
        assert!(!coverage.is_complete(u32::MAX));
        coverage.insert(u32::MAX - 1, u32::MAX).unwrap();
        assert!(coverage.is_complete(u32::MAX));
        assert_eq!((coverage.end(), coverage.count), (u32::MAX, 1));
    }

    #[test]
    fn too_many_pieces_are_refused_and_change_nothing() {
        let mut coverage = Coverage::new();
        let spans = Coverage::SPANS_MAX as u32;
        for span in (0..spans).rev() {
            coverage.insert(span * 10 + 5, span * 10 + 6).unwrap();
        }
        assert_eq!(coverage.insert(0, 1), Err(TooFragmented));
        assert_eq!(coverage.insert(1000, 1001), Err(TooFragmented));
        assert_eq!(coverage.end(), spans * 10 - 4);
        // What joins others needs no place of its own.
        coverage.insert(6, 15).unwrap();
        assert_eq!(coverage.insert(1000, 1001), Ok(()));
        coverage.insert(0, 1000).unwrap();
        assert!(coverage.is_complete(1001));
        coverage.clear();
        assert!(coverage.is_empty() && coverage.end() == 0);
    }

    /// The runs of octets in `octets`, from start to end.
    fn runs(octets: &[bool]) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for (at, _) in octets.iter().enumerate().filter(|(_, here)| **here) {
            let at = at as u32;
            match runs.last_mut() {
                Some((_, end)) if *end == at => *end = at + 1,
                _ => runs.push((at, at + 1)),
            }
        }
        runs
    }

    proptest! {
        /// A coverage is what an array with one flag per octet is.
        #[test]
        fn agrees_with_one_flag_per_octet(
            inserts in proptest::collection::vec((0u32..120, 0u32..12), 0..80),
        ) {
            let mut coverage = Coverage::new();
            let mut octets = vec![false; 140];
            for (start, len) in inserts {
                let before = octets.clone();
                octets[start as usize..(start + len) as usize].fill(true);
                let fits = runs(&octets).len() <= Coverage::SPANS_MAX;
                prop_assert_eq!(coverage.insert(start, start + len).is_ok(), fits);
                if !fits {
                    octets = before;
                }
                let spans: Vec<_> =
                    coverage.spans().iter().map(|span| (span.start, span.end)).collect();
                prop_assert_eq!(spans, runs(&octets));
                for len in 0..140 {
                    let complete = octets[..len].iter().all(|here| *here);
                    prop_assert_eq!(coverage.is_complete(len as u32), complete);
                }
                let end = octets.iter().rposition(|here| *here).map_or(0, |at| at as u32 + 1);
                prop_assert_eq!(coverage.end(), end);
                prop_assert_eq!(coverage.is_empty(), end == 0);
            }
        }
    }
}

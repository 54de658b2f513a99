//! Which octets of a message have been sent: senders should, but need not, keep their order
//! (RFC 5041 s5.3, D22).

/// Separate pieces of one message that are told apart. A message in more of them is not judged.
const SPANS_MAX: usize = 64;

/// The octets of one message that have come, by their offset.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    /// Sorted, neither touching nor overlapping.
    spans: Vec<(u64, u64)>,
    /// There were too many.
    pub(crate) scattered: bool,
}

impl Spread {
    /// Adds the octets from `start` to `end`; tells whether they are new.
    pub(crate) fn insert(&mut self, start: u64, end: u64) -> bool {
        let first = self.spans.partition_point(|span| span.1 < start);
        let last = self.spans.partition_point(|span| span.0 <= end);
        let touching = &self.spans[first..last];
        if touching.iter().any(|span| span.0 < end && start < span.1) {
            return false;
        }
        let low = touching.first().map_or(start, |span| span.0.min(start));
        let high = touching.last().map_or(end, |span| span.1.max(end));
        self.spans.splice(first..last, [(low, high)]);
        if self.spans.len() > SPANS_MAX {
            self.scattered = true;
            self.spans.truncate(SPANS_MAX);
        }
        true
    }

    /// Offset behind the last octet.
    pub(crate) fn end(&self) -> Option<u64> {
        self.spans.last().map(|span| span.1)
    }

    /// Offset of the first octet, if there is no hole behind it.
    pub(crate) fn whole_from(&self) -> Option<u64> {
        match self.spans.as_slice() {
            [span] => Some(span.0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one() {
        let mut spread = Spread::default();
        assert!(spread.insert(10, 20) && spread.insert(30, 40));
        assert_eq!((spread.whole_from(), spread.end()), (None, Some(40)));
        assert!(spread.insert(20, 30));
        assert_eq!((spread.whole_from(), spread.end()), (Some(10), Some(40)));
        for (start, end) in [(0, 11), (39, 50), (15, 16), (5, 50)] {
            assert!(!spread.insert(start, end), "{start}..{end}");
        }
    }

    #[test]
    fn too_many_pieces_are_given_up() {
        let mut spread = Spread::default();
        for piece in 0..1000 {
            assert!(!spread.scattered || piece > SPANS_MAX as u64);
            spread.insert(piece * 10, piece * 10 + 1);
            assert!(spread.spans.len() <= SPANS_MAX);
        }
        assert!(spread.scattered);
    }
}

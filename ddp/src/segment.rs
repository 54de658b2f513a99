//! Cutting a message into segments (RFC 5041 s5.2).
//!
//! A [`Segmenter`] knows one message by its length alone; the octets stay where they are, and each
//! segment names its share of them by a range. Sending messages whole and one after the other
//! (RFC 5041 s5.3, D22) is left to whoever owns the segmenters.

use std::ops::Range;

use thiserror::Error;

use crate::header::{Header, TAGGED_LEN, Tagged, UNTAGGED_LEN, Untagged};
use crate::stag::Stag;

/// The smallest MULPDU there is, in octets (RFC 5044 s3, F02).
pub const MULPDU_MIN: u16 = 128;

/// One segment of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What to write in front of the payload.
    pub header: Header,
    /// Which octets of the message are the payload, counted from its beginning.
    pub payload: Range<u32>,
}

/// One message on its way into segments.
///
/// ```
/// use uwarp_ddp::Segmenter;
///
/// let mut segmenter = Segmenter::untagged(0x43, 0, 0, 1, 2048);
/// assert_eq!(segmenter.next(1500).map(|segment| segment.payload), Some(0..1482));
/// assert_eq!(segmenter.next(1500).map(|segment| segment.payload), Some(1482..2048));
/// assert_eq!(segmenter.next(1500), None);
/// ```
#[derive(Clone, Debug)]
pub struct Segmenter {
    /// The header of a segment that begins where the message does.
    first: Header,
    len: u32,
    sent: u32,
    done: bool,
}

impl Segmenter {
    /// A message of `len` octets for the peer's buffer `stag`, its first octet at offset `to`; a
    /// message may begin at any offset (RFC 5041 s4.2, s5.2; D12, D20). `ulp` is the layer above's
    /// (D11).
    ///
    /// # Errors
    /// [`OffsetWrap`] when `to + len` is 2^64 or more: no buffer has such octets (s7.1, D35).
    pub fn tagged(ulp: u8, stag: Stag, to: u64, len: u32) -> Result<Self, OffsetWrap> {
        to.checked_add(u64::from(len)).ok_or(OffsetWrap)?;
        Ok(Self::new(
            Header::Tagged(Tagged {
                last: false,
                ulp,
                stag,
                to,
            }),
            len,
        ))
    }

    /// Message `msn` of `len` octets for the peer's queue `qn` (RFC 5041 s4.3, s5.2; D14 to D16).
    /// `ulp` and `ulp_word` are the layer above's (D13), and so is whatever stands at the beginning
    /// of the message, for instance the header of a Read Request: to DDP it is payload.
    #[must_use]
    pub fn untagged(ulp: u8, ulp_word: u32, qn: u32, msn: u32, len: u32) -> Self {
        Self::new(
            Header::Untagged(Untagged {
                last: false,
                ulp,
                ulp_word,
                qn,
                msn,
                mo: 0,
            }),
            len,
        )
    }

    fn new(first: Header, len: u32) -> Self {
        Self {
            first,
            len,
            sent: 0,
            done: false,
        }
    }

    /// The next segment, header and payload together at most `mulpdu` octets and as long as that
    /// allows (RFC 5041 s5.2, D18); `None` when there is no more. Payloads come in increasing order
    /// (s5.3, D22; T23). A message without octets is one segment (s5.2, D21).
    ///
    /// `mulpdu` may differ from call to call. A value below [`MULPDU_MIN`] counts as that.
    pub fn next(&mut self, mulpdu: u16) -> Option<Segment> {
        if self.done {
            return None;
        }
        let start = self.sent;
        let end = self.len.min(start.saturating_add(self.room(mulpdu)));
        self.sent = end;
        self.done = end == self.len;
        Some(Segment {
            header: self.header(start, self.done),
            payload: start..end,
        })
    }

    /// Octets of payload that fit in one segment, at least 110.
    fn room(&self, mulpdu: u16) -> u32 {
        let header_len = match self.first {
            Header::Tagged(_) => TAGGED_LEN as u32,
            Header::Untagged(_) => UNTAGGED_LEN as u32,
        };
        u32::from(mulpdu.max(MULPDU_MIN)).saturating_sub(header_len)
    }

    fn header(&self, start: u32, last: bool) -> Header {
        match self.first {
            // The constructor has made sure that this does not wrap.
            Header::Tagged(first) => {
                let to = first.to.saturating_add(u64::from(start));
                Header::Tagged(Tagged { last, to, ..first })
            }
            Header::Untagged(first) => Header::Untagged(Untagged {
                last,
                mo: start,
                ..first
            }),
        }
    }

    /// Whether the last segment has been given out.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Octets of payload in the segments given out so far.
    #[must_use]
    pub const fn sent(&self) -> u32 {
        self.sent
    }
}

/// A message for a tagged buffer would go past the last tagged offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("the tagged offset plus the length of the message exceeds 2^64 - 1")]
pub struct OffsetWrap;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(mut segmenter: Segmenter, mulpdu: u16) -> Vec<Segment> {
        std::iter::from_fn(|| segmenter.next(mulpdu)).collect()
    }

    /// The example of RFC 5041 s5.2: 2048 octets, MULPDU 1500.
    #[test]
    fn the_untagged_example_of_the_rfc() {
        let segments = cut(Segmenter::untagged(0x43, 5, 0, 9, 2048), 1500);
        let header = |last, mo| {
            Header::Untagged(Untagged {
                last,
                ulp: 0x43,
                ulp_word: 5,
                qn: 0,
                msn: 9,
                mo,
            })
        };
        assert_eq!(
            segments,
            [
                Segment {
                    header: header(false, 0),
                    payload: 0..1482
                },
                Segment {
                    header: header(true, 1482),
                    payload: 1482..2048
                },
            ]
        );
    }

    /// The same for a tagged message that begins at offset 16384.
    #[test]
    fn the_tagged_example_of_the_rfc() {
        let stag = Stag(0x1234);
        let segments = cut(Segmenter::tagged(0x40, stag, 16_384, 2048).unwrap(), 1500);
        let header = |last, to| {
            Header::Tagged(Tagged {
                last,
                ulp: 0x40,
                stag,
                to,
            })
        };
        assert_eq!(
            segments,
            [
                Segment {
                    header: header(false, 16_384),
                    payload: 0..1486
                },
                Segment {
                    header: header(true, 17_870),
                    payload: 1486..2048
                },
            ]
        );
    }

    #[test]
    fn an_empty_message_is_one_segment() {
        let tagged = Segmenter::tagged(0x40, Stag(0), u64::MAX, 0).unwrap();
        for segmenter in [Segmenter::untagged(0x43, 0, 0, 1, 0), tagged] {
            assert!(!segmenter.is_done());
            let segments = cut(segmenter, 1500);
            assert_eq!(segments.len(), 1);
            assert!(segments[0].header.is_last());
            assert_eq!(segments[0].payload, 0..0);
        }
    }

    #[test]
    fn a_message_that_fits_exactly_is_not_followed_by_an_empty_segment() {
        assert_eq!(cut(Segmenter::untagged(0x43, 0, 0, 1, 1482), 1500).len(), 1);
        assert_eq!(cut(Segmenter::untagged(0x43, 0, 0, 1, 1483), 1500).len(), 2);
    }

    #[test]
    fn a_mulpdu_below_the_floor_counts_as_the_floor() {
        for mulpdu in [0, 1, 14, 18, 127, 128] {
            let segments = cut(Segmenter::untagged(0x43, 0, 0, 1, 200), mulpdu);
            assert_eq!(segments.len(), 2, "{mulpdu}");
            assert_eq!(segments[0].payload, 0..110, "{mulpdu}");
        }
    }

    #[test]
    fn offsets_that_wrap_are_refused() {
        let tagged = |to, len| Segmenter::tagged(0x40, Stag(1), to, len).map(|_| ());
        assert_eq!(tagged(u64::MAX, 1), Err(OffsetWrap));
        assert_eq!(tagged(u64::MAX - 99, 100), Err(OffsetWrap));
        assert_eq!(tagged(u64::MAX - 100, 100), Ok(()));
        assert_eq!(tagged(u64::MAX - u64::from(u32::MAX), u32::MAX), Ok(()));
    }

    #[test]
    fn the_longest_message_is_cut_to_its_end() {
        let to = u64::MAX - u64::from(u32::MAX);
        let mut segmenter = Segmenter::tagged(0x40, Stag(1), to, u32::MAX).unwrap();
        let mut end = 0;
        while let Some(segment) = segmenter.next(u16::MAX) {
            assert_eq!(segment.payload.start, end);
            end = segment.payload.end;
            assert_eq!(segment.header.is_last(), end == u32::MAX);
        }
        assert_eq!((end, segmenter.sent()), (u32::MAX, u32::MAX));
    }

    proptest! {
        /// Whatever the MULPDU does meanwhile, the segments are the message: gapless, in order, each
        /// as long as allowed, and L on the last and only there.
        #[test]
        fn segments_are_the_message(
            len in 0u32..20_000,
            to in prop_oneof![Just(0u64), any::<u64>(), Just(u64::MAX - 20_000)],
            tagged in any::<bool>(),
            mulpdus in proptest::collection::vec(128u16..3000, 1..20),
        ) {
            let to = to.min(u64::MAX - 20_000);
            let mut segmenter = if tagged {
                Segmenter::tagged(0x40, Stag(7), to, len).unwrap()
            } else {
                Segmenter::untagged(0x43, 3, 0, 8, len)
            };
            let mut mulpdus = mulpdus.iter().cycle();
            let mut next = 0;
            loop {
                prop_assert_eq!(segmenter.sent(), next);
                let mulpdu = *mulpdus.next().unwrap();
                let Some(Segment { header, payload }) = segmenter.next(mulpdu) else { break };
                let size = header.wire_len() + payload.len();
                prop_assert!(size <= usize::from(mulpdu));
                prop_assert_eq!(payload.start, next);
                next = payload.end;
                prop_assert_eq!(header.is_last(), next == len);
                prop_assert!(header.is_last() || size == usize::from(mulpdu));
                prop_assert_eq!(segmenter.is_done(), header.is_last());
                match header {
                    Header::Tagged(header) => {
                        prop_assert_eq!(header.to, to + u64::from(payload.start));
                        prop_assert_eq!((header.ulp, header.stag), (0x40, Stag(7)));
                    }
                    Header::Untagged(header) => {
                        prop_assert_eq!(header.mo, payload.start);
                        prop_assert_eq!((header.ulp, header.ulp_word), (0x43, 3));
                        prop_assert_eq!((header.qn, header.msn), (0, 8));
                    }
                }
            }
            prop_assert_eq!(next, len);
            prop_assert!(segmenter.is_done());
        }
    }
}

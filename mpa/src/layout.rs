//! Where everything in an FPDU is: the geometry the framer and the deframer share.
//!
//! ```text
//!  without markers                       with markers: every 512 octets of the *stream*
//!
//!  +--------+-----------+-----+-----+    +--------+-------+---+--------+-------+-----+---+-----+
//!  | Length |   ULPDU   | PAD | CRC |    | Length | ULPDU | M | ULPDU  | ULPDU | PAD | M | CRC |
//!  +--------+-----------+-----+-----+    +--------+-------+---+--------+-------+-----+---+-----+
//!      2          L       0..3    4                       ^                            ^
//!  |<---------- content ----------->|                     |<--------- 512 octets ----->|
//! ```
//!
//! *Content* is what is left of an FPDU when its markers are taken out: ULPDU_Length, ULPDU, PAD and CRC.
//! Two facts keep the arithmetic short. An FPDU and a marker are multiples of 4 octets, and so is 512: a
//! marker never splits ULPDU_Length, PAD or CRC. And a marker that falls between two FPDUs belongs to the
//! second one (RFC 5044 s4.3, trap T2), so that an FPDU may begin with a marker but never ends with one.
//!
//! Everything here is arithmetic on three numbers. Nothing is stored per marker, nothing is allocated.

use crate::crc::CRC_LEN;
use crate::mulpdu::MULPDU_MAX;
use std::iter::FusedIterator;
use std::ops::Range;

/// A marker begins at every stream octet that is a multiple of this (RFC 5044 s4.3, F14).
pub const MARKER_PERIOD: usize = 512;

/// Octets of a marker: two reserved, two of FPDUPTR.
pub const MARKER_LEN: usize = 4;

/// Octets of ULPDU_Length.
pub const LENGTH_LEN: usize = 2;

/// Octets of content between two markers.
const BETWEEN_MARKERS: usize = MARKER_PERIOD - MARKER_LEN;

/// The most octets one FPDU can have on the wire, in a stream of either kind: with markers there are fewer.
pub const FPDU_MAX: usize = max_wire_len(false);

/// The longest ULPDU that an FPDU of such a stream can hold, in octets.
///
/// With markers it is [`MULPDU_MAX`]: behind a longer one FPDUPTR could overflow. Without them it is all that
/// ULPDU_Length can say; no sender may go beyond [`MULPDU_MAX`] (RFC 5044 s3, F04), but some do where TCP's segments
/// have room for it, and no harm comes of it (G2).
#[must_use]
pub const fn max_ulpdu_len(markers: bool) -> u16 {
    if markers { MULPDU_MAX } else { u16::MAX }
}

/// The most octets one FPDU can have on the wire: that of the [longest ULPDU](max_ulpdu_len).
///
/// ```
/// assert_eq!(uwarp_mpa::max_wire_len(false), 65544);
/// assert_eq!(uwarp_mpa::max_wire_len(true), 65288);
/// ```
#[must_use]
pub const fn max_wire_len(markers: bool) -> usize {
    FpduLayout {
        start: 0,
        ulpdu_len: max_ulpdu_len(markers),
        markers,
    }
    .wire_len()
}

/// The layout of one FPDU at its place in the stream (RFC 5044 s4.1-4.3; F08, F14, F15).
///
/// Offsets that it gives are relative to the FPDU's first octet on the wire, which is its leading
/// marker if there is one and ULPDU_Length otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FpduLayout {
    start: u64,
    ulpdu_len: u16,
    markers: bool,
}

impl FpduLayout {
    /// The layout of an FPDU of `ulpdu_len` octets that begins `start` octets after the first octet
    /// of full operation.
    ///
    /// `None` if `ulpdu_len` is above [`max_ulpdu_len`]. A `start` that is no multiple of 4, as none can be, is
    /// taken as the multiple below it.
    #[must_use]
    pub const fn new(start: u64, ulpdu_len: u16, markers: bool) -> Option<Self> {
        if ulpdu_len > max_ulpdu_len(markers) {
            return None;
        }
        Some(Self {
            start: start & !3,
            ulpdu_len,
            markers,
        })
    }

    /// Where the FPDU begins on the wire, in octets from the start of full operation.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Where the octet after the FPDU is. Wraps, which needs no care: 512 divides 2^64 (F16).
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.wrapping_add(self.wire_len() as u64)
    }

    /// ULPDU_Length: 0..=64768 with markers, 0..=65535 without.
    #[must_use]
    pub const fn ulpdu_len(&self) -> usize {
        self.ulpdu_len as usize
    }

    /// Whether the stream has markers.
    #[must_use]
    pub const fn markers(&self) -> bool {
        self.markers
    }

    /// All octets of the FPDU on the wire: markers, length, ULPDU, padding and CRC.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        self.wire_offset(self.content_len() - 1) + 1
    }

    /// Whether the FPDU begins with a marker.
    #[must_use]
    pub const fn leading_marker(&self) -> bool {
        self.markers && self.start.is_multiple_of(MARKER_PERIOD as u64)
    }

    /// Octets of PAD, 0..=3 (F08).
    #[must_use]
    pub const fn pad(&self) -> usize {
        (LENGTH_LEN + self.ulpdu_len()).wrapping_neg() % 4
    }

    /// Where ULPDU_Length is: 4 behind a leading marker, otherwise 0. A marker's FPDUPTR counts from here.
    #[must_use]
    pub const fn length_offset(&self) -> usize {
        if self.leading_marker() { MARKER_LEN } else { 0 }
    }

    /// The pieces of the FPDU in the order of the wire.
    ///
    /// ```
    /// use uwarp_mpa::{FpduLayout, Piece};
    /// // RFC 5044 Figure 4: 12 octets are sent when the marker is due.
    /// let pieces: Vec<Piece> = FpduLayout::new(500, 16, true).into_iter().flat_map(|l| l.pieces()).collect();
    /// assert_eq!(pieces, [
    ///     Piece::Length,
    ///     Piece::Ulpdu(0..10),
    ///     Piece::Marker { fpduptr: 0x000C },
    ///     Piece::Ulpdu(10..16),
    ///     Piece::Pad(2),
    ///     Piece::Crc,
    /// ]);
    /// ```
    #[must_use]
    pub const fn pieces(&self) -> Pieces {
        Pieces {
            layout: *self,
            content: 0,
            wire: 0,
            room: self.first_room(),
        }
    }

    /// Where the octets `range` of the ULPDU are. One span without markers; with them, a new span
    /// after each. The part of `range` that is not in the ULPDU is left out.
    ///
    /// ```
    /// use uwarp_mpa::FpduLayout;
    /// let spans: Vec<_> = FpduLayout::new(500, 16, true).into_iter().flat_map(|l| l.ulpdu_spans(8..16)).collect();
    /// assert_eq!(spans, [10..12, 16..22]);
    /// ```
    #[must_use]
    pub fn ulpdu_spans(&self, range: Range<usize>) -> Spans {
        let end = range.end.min(self.ulpdu_len());
        let start = range.start.min(end);
        let content = LENGTH_LEN + start;
        Spans {
            wire: self.wire_offset(content),
            left: end - start,
            room: self.room(content),
        }
    }

    /// Where the markers of this FPDU are, first to last.
    pub fn marker_offsets(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let end = if self.markers { self.wire_len() } else { 0 };
        (self.first_marker()..end).step_by(MARKER_PERIOD)
    }

    const fn content_len(&self) -> usize {
        LENGTH_LEN + self.ulpdu_len() + self.pad() + CRC_LEN
    }

    /// Octets from the start of the FPDU to the first multiple of 512 in the stream.
    const fn first_marker(&self) -> usize {
        (self.start.wrapping_neg() % MARKER_PERIOD as u64) as usize
    }

    /// Octets of content before the first marker; no limit without markers.
    const fn first_room(&self) -> usize {
        if self.markers {
            self.first_marker()
        } else {
            usize::MAX
        }
    }

    /// Octets of content from `content` to the next marker, at least 1.
    const fn room(&self, content: usize) -> usize {
        let first = self.first_room();
        if content < first {
            first - content
        } else {
            BETWEEN_MARKERS - (content - first) % BETWEEN_MARKERS
        }
    }

    /// Where the content octet `content` is on the wire, the markers before it counted in.
    const fn wire_offset(&self, content: usize) -> usize {
        let first = self.first_room();
        if content < first {
            return content;
        }
        let markers_before = 1 + (content - first) / BETWEEN_MARKERS;
        content + MARKER_LEN * markers_before
    }
}

/// One piece of an FPDU; see [`FpduLayout::pieces`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A marker: two octets of 0, then FPDUPTR big endian (RFC 5044 s4.2, F11).
    Marker {
        /// Octets from ULPDU_Length to this marker; 0 for a marker before ULPDU_Length.
        fpduptr: u16,
    },
    /// ULPDU_Length, 2 octets big endian.
    Length,
    /// These octets of the ULPDU.
    Ulpdu(Range<usize>),
    /// So many octets of padding, 1..=3.
    Pad(usize),
    /// The CRC field, 4 octets.
    Crc,
}

/// The pieces of an FPDU in wire order; made by [`FpduLayout::pieces`].
#[derive(Clone, Debug)]
pub struct Pieces {
    layout: FpduLayout,
    content: usize,
    wire: usize,
    room: usize,
}

impl Pieces {
    fn marker(&mut self) -> Piece {
        let distance = self.wire.saturating_sub(self.layout.length_offset());
        self.wire += MARKER_LEN;
        self.room = BETWEEN_MARKERS;
        // The limit on ULPDU_Length where there are markers keeps the distance below 65024.
        Piece::Marker {
            fpduptr: distance as u16,
        }
    }

    /// Content from here up to `end`, or to the next marker if that comes first.
    fn take(&mut self, end: usize) -> Range<usize> {
        let start = self.content;
        let len = (end - start).min(self.room);
        self.content += len;
        self.wire += len;
        self.room -= len;
        start..start + len
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let ulpdu_end = LENGTH_LEN + self.layout.ulpdu_len();
        let pad_end = ulpdu_end + self.layout.pad();
        if self.content == self.layout.content_len() {
            None
        } else if self.room == 0 {
            Some(self.marker())
        } else if self.content < LENGTH_LEN {
            self.take(LENGTH_LEN);
            Some(Piece::Length)
        } else if self.content < ulpdu_end {
            let taken = self.take(ulpdu_end);
            Some(Piece::Ulpdu(
                taken.start - LENGTH_LEN..taken.end - LENGTH_LEN,
            ))
        } else if self.content < pad_end {
            Some(Piece::Pad(self.take(pad_end).len()))
        } else {
            self.take(self.layout.content_len());
            Some(Piece::Crc)
        }
    }
}

impl FusedIterator for Pieces {}

/// Where a part of a ULPDU is in its FPDU; made by [`FpduLayout::ulpdu_spans`].
#[derive(Clone, Debug)]
pub struct Spans {
    wire: usize,
    left: usize,
    room: usize,
}

impl Iterator for Spans {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        if self.left == 0 {
            return None;
        }
        let len = self.left.min(self.room);
        let start = self.wire;
        self.wire += len + MARKER_LEN;
        self.left -= len;
        self.room = BETWEEN_MARKERS;
        Some(start..start + len)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let spans = match self.left {
            0 => 0,
            left => 1 + left.saturating_sub(self.room).div_ceil(BETWEEN_MARKERS),
        };
        (spans, Some(spans))
    }
}

impl ExactSizeIterator for Spans {}
impl FusedIterator for Spans {}

#[cfg(test)]
mod tests;

//! Octets that wait to be written.

use std::collections::VecDeque;
use std::ops::Range;

use uwarp_rdmap::Slot;

/// A run of octets in a [`Batch`], in wire order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<H> {
    /// Octets of the batch's own arena: headers, markers, padding, CRCs.
    Octets(Range<usize>),
    /// Octets of the gather list of a posted request.
    Work {
        /// The request.
        slot: Slot,
        /// Octets counted from the beginning of its gather list.
        range: Range<u32>,
    },
    /// Octets of a region that the peer reads.
    Region {
        /// Keeps the memory alive.
        handle: H,
        /// Offsets in the region.
        range: Range<u64>,
    },
}

impl<H> Piece<H> {
    /// Octets in this piece.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Octets(range) => range.len(),
            Self::Work { range, .. } => (range.end - range.start) as usize,
            Self::Region { range, .. } => (range.end - range.start) as usize,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn skip(&mut self, count: usize) {
        match self {
            Self::Octets(range) => range.start += count,
            Self::Work { range, .. } => range.start += count as u32,
            Self::Region { range, .. } => range.start += count as u64,
        }
    }
}

/// So many written pieces are kept until they are dropped together.
const WRITTEN_MAX: usize = 512;

/// So many written octets of the arena are kept, if pieces do not come first: messages without payload
/// make one long piece.
const ARENA_WRITTEN_MAX: usize = 1 << 16;

/// Octets of the longest padding and the CRC behind it.
const TRAILER_MAX: usize = 7;

/// What one vectored write sends: headers from an arena, payload by reference.
///
/// Filled by [`Connection::transmit`](crate::Connection::transmit), emptied by
/// [`advance`](Self::advance) as the socket takes octets. Its buffers are reused, so that the
/// steady state allocates nothing.
///
/// ```text
///   arena   [len|header][pad|crc|len|header]...
///   pieces   ^Octets     ^Work ^Octets       ^Work ...
/// ```
#[derive(Debug)]
pub struct Batch<H> {
    arena: Vec<u8>,
    pieces: Vec<Piece<H>>,
    /// Pieces before this one have been written.
    first: usize,
    /// Octets that wait.
    waiting: usize,
    /// Octets that wait of each frame, in order; of the first one perhaps not all.
    frames: VecDeque<usize>,
    /// Part of the first frame has been written.
    begun: bool,
}

impl<H> Default for Batch<H> {
    fn default() -> Self {
        Self {
            arena: Vec::new(),
            pieces: Vec::new(),
            first: 0,
            waiting: 0,
            frames: VecDeque::new(),
            begun: false,
        }
    }
}

impl<H> Batch<H> {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets that wait to be written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The pieces that wait, in wire order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece<H>] {
        &self.pieces[self.first..]
    }

    /// How many octets to write by one call, over TCP segments of at most `segment` octets (the EMSS), at least 1.
    ///
    /// A call ends where a frame (an FPDU, or a startup frame) ends, so that the next one can begin a TCP
    /// segment (RFC 5044 s5.1, F29): if the last call stopped inside a frame, its rest goes alone. And if segments
    /// that are full would part the padding and the CRC of an FPDU, the call ends before that FPDU, because
    /// there are receivers that then take a right CRC for wrong.
    #[must_use]
    pub fn write_len(&self, segment: usize) -> usize {
        debug_assert_eq!(self.frames.iter().sum::<usize>(), self.waiting);
        let segment = segment.max(1);
        if self.begun {
            return self.frames.front().copied().unwrap_or(self.waiting);
        }
        let (mut end, mut boundary) = (0, segment);
        for len in &self.frames {
            let begin = end;
            end += len;
            if boundary < end {
                let last = boundary + (end - 1 - boundary) / segment * segment;
                if end - last < TRAILER_MAX && begin > 0 {
                    return begin;
                }
                boundary = last + segment;
            }
        }
        self.waiting
    }

    /// The octets of a [`Piece::Octets`] of this batch.
    #[must_use]
    pub fn octets(&self, range: Range<usize>) -> &[u8] {
        &self.arena[range]
    }

    /// The first `count` octets that wait have been written.
    pub fn advance(&mut self, count: usize) {
        let mut left = count.min(self.waiting);
        self.waiting -= left;
        self.advance_frames(left);
        while left > 0 {
            let piece = &mut self.pieces[self.first];
            let len = piece.len();
            if left < len {
                piece.skip(left);
                break;
            }
            left -= len;
            self.first += 1;
        }
        if self.waiting == 0 {
            self.clear();
        } else if self.first >= WRITTEN_MAX || self.arena_written() >= ARENA_WRITTEN_MAX {
            self.drop_written();
        }
    }

    /// Octets that wait and are in the batch's own memory, or a little more.
    pub(crate) fn copied(&self) -> usize {
        self.arena.len() - self.arena_written()
    }

    fn advance_frames(&mut self, mut count: usize) {
        while count > 0
            && let Some(rest) = self.frames.front_mut()
        {
            self.begun = count < *rest;
            if self.begun {
                *rest -= count;
                return;
            }
            count -= *rest;
            self.frames.pop_front();
        }
    }

    /// Octets at the start of the arena that have been written, as far as the next piece tells.
    fn arena_written(&self) -> usize {
        match self.pieces.get(self.first) {
            Some(Piece::Octets(range)) => range.start,
            _ => 0,
        }
    }

    /// Forgets what has been written. A batch that is filled up before it is empty, time and again,
    /// would grow without end otherwise.
    fn drop_written(&mut self) {
        self.pieces.drain(..self.first);
        self.first = 0;
        let octets = |piece: &Piece<H>| match piece {
            Piece::Octets(range) => Some(range.start),
            _ => None,
        };
        let written = (self.pieces.iter().find_map(octets)).unwrap_or(self.arena.len());
        self.arena.drain(..written);
        for piece in &mut self.pieces {
            if let Piece::Octets(range) = piece {
                range.start -= written;
                range.end -= written;
            }
        }
    }

    /// Drops what waits.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.pieces.clear();
        self.first = 0;
        self.waiting = 0;
        self.frames.clear();
        self.begun = false;
    }

    /// The last `len` octets that have been pushed are a frame.
    pub(crate) fn end_frame(&mut self, len: usize) {
        self.frames.push_back(len);
    }

    pub(crate) fn push_octets(&mut self, octets: &[u8]) {
        self.push_with(|arena| arena.extend_from_slice(octets));
    }

    /// What `append` adds to the end of the arena comes next.
    pub(crate) fn push_with(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        append(&mut self.arena);
        let end = self.arena.len();
        debug_assert!(start <= end);
        self.waiting += end - start;
        match self.pieces.last_mut() {
            Some(Piece::Octets(range)) if range.end == start => range.end = end,
            _ => self.pieces.push(Piece::Octets(start..end)),
        }
    }

    /// The last `len` octets that have been pushed into the arena.
    pub(crate) fn last_octets(&self, len: usize) -> &[u8] {
        &self.arena[self.arena.len().saturating_sub(len)..]
    }

    pub(crate) fn push(&mut self, piece: Piece<H>) {
        self.waiting += piece.len();
        self.pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch<()> {
        let mut batch = Batch::new();
        batch.push_octets(b"abc");
        batch.push(Piece::Work {
            slot: Slot(7),
            range: 0..10,
        });
        batch.push_octets(b"de");
        batch.push_octets(b"f");
        batch.push(Piece::Region {
            handle: (),
            range: 100..104,
        });
        batch
    }

    #[test]
    fn neighbouring_octets_become_one_piece() {
        let batch = batch();
        assert_eq!(batch.len(), 20);
        assert_eq!(batch.pieces().len(), 4);
        assert_eq!(batch.octets(3..6), b"def");
    }

    #[test]
    fn any_split_of_the_write_leaves_the_rest() {
        for cut in 0..=20 {
            let mut batch = batch();
            batch.advance(cut);
            let left: usize = batch.pieces().iter().map(Piece::len).sum();
            assert_eq!(left, 20 - cut);
            assert_eq!(batch.len(), 20 - cut);
            batch.advance(20 - cut);
            assert!(batch.is_empty());
            assert!(batch.pieces().is_empty());
        }
    }

    #[test]
    fn a_batch_that_is_never_empty_does_not_grow() {
        let mut batch: Batch<()> = Batch::new();
        let (mut filled, mut written) = (0u32, 0u32);
        let mut most = 0;
        while written < 100_000 {
            while batch.len() < 4_000 {
                batch.push_octets(&filled.to_be_bytes());
                let range = 0..3;
                let slot = Slot(filled);
                batch.push(Piece::Work { slot, range });
                filled += 1;
            }
            // Seven octets belong to each number.
            while batch.len() > 1_000 {
                let [Piece::Octets(range), Piece::Work { slot, .. }, ..] = batch.pieces() else {
                    panic!("{:?}", batch.pieces());
                };
                assert_eq!(batch.octets(range.clone()), &written.to_be_bytes()[..]);
                assert_eq!(*slot, Slot(written));
                batch.advance(7);
                written += 1;
            }
            most = most.max(batch.arena.len()).max(batch.pieces.len());
        }
        assert!(most < 10_000, "{most}");
    }

    #[test]
    fn nor_does_one_without_payload() {
        let mut batch: Batch<()> = Batch::new();
        for turn in 0..100_000u32 {
            batch.push_octets(&turn.to_be_bytes());
            if turn >= 10 {
                let Some(Piece::Octets(range)) = batch.pieces().first().cloned() else {
                    panic!("{:?}", batch.pieces());
                };
                let next = batch.octets(range.start..range.start + 4);
                assert_eq!(next, (turn - 10).to_be_bytes());
                batch.advance(4);
            }
            assert!(batch.arena.len() <= ARENA_WRITTEN_MAX + 44);
        }
    }

    /// A batch of frames of so many octets each.
    fn frames(lens: &[usize]) -> Batch<u8> {
        let mut batch = Batch::new();
        for &len in lens {
            batch.push_octets(&vec![0; len]);
            batch.end_frame(len);
        }
        batch
    }

    #[test]
    fn the_rest_of_a_frame_goes_alone() {
        for cut in 0..=20 {
            let mut batch = frames(&[14, 2, 4]);
            batch.advance(cut);
            let ends = [0, 14, 16, 20];
            let inside = !ends.contains(&cut);
            let next = ends.into_iter().find(|&end| end > cut).unwrap_or(20);
            let rest = if inside { next } else { 20 } - cut;
            assert_eq!(batch.write_len(1460), rest, "{cut}");
            batch.push_octets(b"gh");
            batch.end_frame(2);
            assert_eq!(batch.write_len(1460), if inside { rest } else { 22 - cut });
            batch.clear();
            assert_eq!(batch.write_len(1460), 0, "{cut}");
        }
    }

    #[test]
    fn full_segments_part_no_padding_from_its_crc() {
        // The second frame ends `over` octets behind the end of the first segment.
        for over in 0..20 {
            let batch = frames(&[40, 60 + over, 24]);
            let parted = (1..7).contains(&over);
            let expected = if parted { 40 } else { 124 + over };
            assert_eq!(batch.write_len(100), expected, "{over}");
        }
        // So does one far behind.
        let batch = frames(&[100, 100, 100, 50, 53, 100]);
        assert_eq!(batch.write_len(100), 350);
        // What is longer than a segment cannot be helped, and what follows it is.
        let batch = frames(&[203, 98, 50]);
        assert_eq!(batch.write_len(100), 203);
    }

    #[test]
    fn a_piece_is_entered_where_the_write_stopped() {
        let mut batch = batch();
        batch.advance(3 + 4);
        assert_eq!(
            batch.pieces()[0],
            Piece::Work {
                slot: Slot(7),
                range: 4..10
            }
        );
        batch.advance(6 + 3 + 1);
        assert_eq!(
            batch.pieces(),
            [Piece::Region {
                handle: (),
                range: 101..104
            }]
        );
    }
}

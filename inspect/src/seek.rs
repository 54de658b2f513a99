//! Looking for a startup frame, or failing that for FPDUs, at the start of one direction.

use uwarp_mpa::startup::{HEADER_LEN, KEY_LEN};
use uwarp_mpa::{FPDU_MAX, FrameKind, Progress, StartupError, StartupReader};

use crate::guess::{self, Guess};
use crate::startup::{RawFlags, Seen};

/// Octets of a direction that are searched for a frame: iWARP may follow some other talk (RFC 5044
/// s7.1, U02), but not without end.
const SEEK_MAX: u64 = 1 << 16;

/// Octets that are kept to guess by: two of the largest FPDUs.
const GUESS_MAX: usize = 2 * FPDU_MAX;

/// Octets that are kept behind a hole.
const AHEAD_MAX: usize = 1 << 14;

/// A part of a direction: sequence number and octets.
pub(crate) type Piece = (u32, Vec<u8>);

/// The unread beginning of a direction.
#[derive(Debug)]
pub(crate) struct Seek {
    /// Sequence number of the first of `octets`.
    sequence: u32,
    /// Octets in order, not yet understood.
    octets: Vec<u8>,
    /// Octets in front of them that are done with.
    before: u64,
    /// Pieces behind a hole.
    ahead: Vec<Piece>,
    /// The beginning of the direction is not in the capture, so FPDUs may be guessed.
    middle: bool,
    /// How many octets to have before guessing again.
    guess_at: usize,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// A frame that `position` octets are in front of. What follows it begins at `sequence`.
    Frame {
        seen: Seen,
        position: u64,
        sequence: u32,
        rest: Vec<Piece>,
    },
    /// A frame that cannot be one.
    Refused {
        kind: FrameKind,
        error: StartupError,
        position: u64,
    },
    /// What may be FPDUs, from `sequence` on.
    Guessed {
        guess: Guess,
        sequence: u32,
        rest: Vec<Piece>,
    },
    /// There is no iWARP here.
    Nothing,
}

impl Seek {
    pub(crate) fn new(sequence: u32, middle: bool) -> Self {
        Self {
            sequence,
            octets: Vec::new(),
            before: 0,
            ahead: Vec::new(),
            middle,
            guess_at: 64,
        }
    }

    /// Takes the octets of a segment.
    pub(crate) fn take(&mut self, sequence: u32, octets: &[u8]) {
        let held: usize = self.ahead.iter().map(|(_, octets)| octets.len()).sum();
        if !octets.is_empty() && held + octets.len() <= AHEAD_MAX.max(octets.len()) {
            self.ahead.push((sequence, octets.to_vec()));
        }
        while let Some(index) = self.ahead.iter().position(|piece| self.touches(piece)) {
            let (sequence, octets) = self.ahead.swap_remove(index);
            let overlap = self.next().wrapping_sub(sequence) as usize;
            if let Some(new) = octets.get(overlap..) {
                self.octets.extend_from_slice(new);
            }
        }
    }

    fn next(&self) -> u32 {
        self.sequence.wrapping_add(self.octets.len() as u32)
    }

    /// Whether a piece begins at or before the next octet that is due.
    fn touches(&self, (sequence, _): &Piece) -> bool {
        (self.next().wrapping_sub(*sequence) as i32) >= 0
    }

    /// Looks at what there is. `None`: more is needed. `last`: nothing more will come.
    pub(crate) fn look(&mut self, last: bool) -> Option<Found> {
        if let Some((at, kind)) = find_key(&self.octets) {
            self.discard(at);
            if let Some(found) = self.frame(kind) {
                return Some(found);
            }
            return last.then_some(Found::Nothing);
        }
        if self.middle {
            return self.guess(last);
        }
        self.discard(self.octets.len().saturating_sub(KEY_LEN - 1));
        (last || self.before > SEEK_MAX).then_some(Found::Nothing)
    }

    fn frame(&mut self, kind: FrameKind) -> Option<Found> {
        let position = self.before;
        match StartupReader::new(kind).read(&self.octets) {
            Ok(Progress::Need(_)) => None,
            Err(error) => Some(Found::Refused {
                kind,
                error,
                position,
            }),
            Ok(Progress::Frame { frame, consumed }) => {
                let flags = RawFlags(self.octets.get(KEY_LEN).copied().unwrap_or_default());
                debug_assert!(consumed >= HEADER_LEN);
                self.discard(consumed);
                Some(Found::Frame {
                    seen: Seen { frame, flags },
                    position,
                    sequence: self.sequence,
                    rest: self.rest(),
                })
            }
        }
    }

    fn guess(&mut self, last: bool) -> Option<Found> {
        if self.octets.len() < self.guess_at && !last {
            return None;
        }
        self.guess_at = self.octets.len() * 2;
        if let Some((start, guess)) = guess::find(&self.octets) {
            self.discard(start);
            return Some(Found::Guessed {
                guess,
                sequence: self.sequence,
                rest: self.rest(),
            });
        }
        (last || self.octets.len() > GUESS_MAX).then_some(Found::Nothing)
    }

    fn discard(&mut self, octets: usize) {
        self.octets.drain(..octets);
        self.sequence = self.sequence.wrapping_add(octets as u32);
        self.before += octets as u64;
    }

    fn rest(&mut self) -> Vec<Piece> {
        let mut rest = std::mem::take(&mut self.ahead);
        rest.insert(0, (self.sequence, std::mem::take(&mut self.octets)));
        rest
    }
}

/// Where the first key of a startup frame is, and whose.
fn find_key(octets: &[u8]) -> Option<(usize, FrameKind)> {
    octets
        .windows(KEY_LEN)
        .enumerate()
        .filter(|(_, window)| window[0] == b'M')
        .find_map(|(at, window)| {
            [FrameKind::Request, FrameKind::Reply]
                .into_iter()
                .find(|kind| window == kind.key())
                .map(|kind| (at, kind))
        })
}

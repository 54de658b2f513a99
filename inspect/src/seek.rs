//! Looking for a startup frame, or failing that for FPDUs, where a direction is not yet understood.

use uwarp_mpa::startup::{HEADER_LEN, KEY_LEN};
use uwarp_mpa::{FPDU_MAX, FrameKind, Progress, StartupError, StartupReader};

use crate::guess::{Framing, Guess, Search};
use crate::startup::{RawFlags, Seen};

/// Octets of a direction that are searched for a frame: iWARP may follow some other talk (RFC 5044
/// s7.1, U02), but not without end.
const SEEK_MAX: u64 = 1 << 16;

/// Octets that are kept to guess by: two of the largest FPDUs.
const GUESS_MAX: usize = 2 * FPDU_MAX;

/// Octets to have before guessing.
const GUESS_MIN: usize = 64;

/// Octets that are kept behind a hole, where nothing is known of the direction.
const AHEAD_MAX: usize = 1 << 14;

/// What a piece is counted as at least: it takes memory beside its octets.
const PIECE_COST: usize = 128;

/// Octets of a key that have to be right for a frame whose key is wrong.
const KEY_LIKENESS: usize = 12;

/// A part of a direction: sequence number and octets.
pub(crate) type Piece = (u32, Vec<u8>);

/// What the memory of some pieces is counted as.
pub(crate) fn cost(pieces: &[Piece]) -> usize {
    let cost = |piece: &Piece| piece.1.capacity() + PIECE_COST;
    pieces.iter().map(cost).sum()
}

/// What is known of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// Its first octet: a frame is due, perhaps after some other talk.
    Start,
    /// Nothing.
    Middle,
    /// How it is framed; where markers are, counted from the position and this.
    Lost(Framing, u64),
}

/// A direction, or the rest of one, that is not yet understood.
#[derive(Debug)]
pub(crate) struct Seek {
    /// Sequence number of the first of `octets`.
    sequence: u32,
    /// Octets in order, not yet understood.
    octets: Vec<u8>,
    /// Their position: octets in front of them that are done with.
    before: u64,
    /// Pieces behind a hole.
    ahead: Vec<Piece>,
    ahead_max: usize,
    basis: Basis,
    /// The frame that is due, where the other end has sent its own.
    pub(crate) due: Option<FrameKind>,
    /// How many octets to have before guessing again.
    guess_at: usize,
    /// In front of this octet of `octets` no frame begins: they are looked at once, however they come.
    searched: usize,
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
    /// What may be FPDUs, from `sequence` on, which is at `position`.
    Guessed {
        guess: Guess,
        position: u64,
        sequence: u32,
        rest: Vec<Piece>,
    },
    /// There is no iWARP here.
    Nothing,
}

impl Seek {
    /// A direction from `sequence` on: its first octet, or somewhere in the `middle` of it.
    pub(crate) fn new(sequence: u32, middle: bool) -> Self {
        let basis = if middle { Basis::Middle } else { Basis::Start };
        Self::on(basis, sequence, AHEAD_MAX)
    }

    /// The rest of a direction whose framing is known, from `sequence` on, which is at `position`. Where
    /// position and `phase` together are a multiple of 512, there is a marker, if there are any. Of octets
    /// behind a hole `ahead_max` are kept.
    pub(crate) fn lost(
        framing: Framing,
        phase: u64,
        sequence: u32,
        position: u64,
        ahead_max: usize,
    ) -> Self {
        Self {
            before: position,
            ..Self::on(Basis::Lost(framing, phase), sequence, ahead_max)
        }
    }

    fn on(basis: Basis, sequence: u32, ahead_max: usize) -> Self {
        Self {
            sequence,
            octets: Vec::new(),
            before: 0,
            ahead: Vec::new(),
            ahead_max,
            basis,
            due: None,
            guess_at: GUESS_MIN,
            searched: 0,
        }
    }

    /// Whether its FPDUs have been read before, and are to be read again.
    pub(crate) const fn is_lost(&self) -> bool {
        matches!(self.basis, Basis::Lost(..))
    }

    /// Whether it may still begin with a frame.
    pub(crate) fn is_at_start(&self) -> bool {
        self.basis == Basis::Start
    }

    /// Position of the next octet that is not understood.
    pub(crate) const fn position(&self) -> u64 {
        self.before
    }

    /// Octets that have come and are no frame.
    pub(crate) fn strange(&self) -> u64 {
        self.before + self.octets.len() as u64
    }

    /// What its memory is counted as.
    pub(crate) fn memory(&self) -> usize {
        self.octets.capacity() + cost(&self.ahead)
    }

    /// Takes the octets of a segment. Returns how many octets were given up for it: the hole in front
    /// of what is kept, if there is no more room.
    pub(crate) fn take(&mut self, sequence: u32, octets: &[u8]) -> u64 {
        let mut lost = 0;
        if octets.is_empty() {
            return lost;
        }
        // A repetition must not use the room up.
        let known = |piece: &Piece| piece.0 == sequence && piece.1.len() >= octets.len();
        if self.ahead.iter().any(known) {
            return lost;
        }
        let piece = (sequence, octets.to_vec());
        if self.touches(&piece) {
            self.append(piece);
        } else {
            if cost(&self.ahead) + octets.len() + PIECE_COST > self.ahead_max {
                lost = self.jump();
            }
            self.ahead.push(piece);
        }
        self.absorb();
        lost
    }

    fn append(&mut self, (sequence, octets): Piece) {
        let overlap = self.next().wrapping_sub(sequence) as usize;
        if let Some(new) = octets.get(overlap..) {
            self.octets.extend_from_slice(new);
        }
    }

    fn absorb(&mut self) {
        while let Some(index) = self.ahead.iter().position(|piece| self.touches(piece)) {
            let piece = self.ahead.swap_remove(index);
            self.append(piece);
        }
    }

    /// The startup frame of which there is a beginning, but not all.
    pub(crate) fn partial_frame(&self) -> Option<FrameKind> {
        let start = self.octets.get(..KEY_LEN).filter(|_| !self.is_lost())?;
        find_key(start).map(|(_, kind)| kind)
    }

    /// Sequence number of the octet that is due.
    pub(crate) fn next(&self) -> u32 {
        self.sequence.wrapping_add(self.octets.len() as u32)
    }

    /// Whether a piece begins at or before the next octet that is due.
    fn touches(&self, (sequence, _): &Piece) -> bool {
        (self.next().wrapping_sub(*sequence) as i32) >= 0
    }

    /// Sequence number of the first octet behind the hole, if there is one.
    pub(crate) fn behind_hole(&self) -> Option<u32> {
        let next = self.next();
        let starts = self.ahead.iter().map(|(sequence, _)| *sequence);
        starts.min_by_key(|sequence| sequence.wrapping_sub(next))
    }

    /// Gives the hole up, and all in front of it. Returns how many octets are missing.
    pub(crate) fn jump(&mut self) -> u64 {
        let Some(to) = self.behind_hole() else {
            return 0;
        };
        let missing = to.wrapping_sub(self.next());
        self.discard(self.octets.len());
        self.sequence = to;
        self.before += u64::from(missing);
        if self.basis == Basis::Start {
            self.basis = Basis::Middle;
        }
        self.guess_at = GUESS_MIN;
        self.absorb();
        missing.into()
    }

    /// Looks at what there is. `None`: more is needed. `last`: nothing more will come.
    pub(crate) fn look(&mut self, last: bool) -> Option<Found> {
        if self.is_lost() {
            return self.guess(last);
        }
        while let Some((at, kind)) = self.next_key() {
            self.discard(at);
            match self.frame(kind) {
                None => return last.then_some(Found::Nothing),
                // Behind some other talk, it may be a mention of the key.
                Some(Found::Refused { .. }) if self.before > 0 => self.discard(KEY_LEN),
                found => return found,
            }
        }
        if self.basis == Basis::Middle {
            return self.guess(last);
        }
        if let Some(found) = self.wrong_key() {
            return Some(found);
        }
        self.discard(self.octets.len().saturating_sub(KEY_LEN - 1));
        (last || self.before > SEEK_MAX).then_some(Found::Nothing)
    }

    /// A direction that begins with something like a frame, or with anything else where a Reply is due.
    fn wrong_key(&self) -> Option<Found> {
        let start = self.octets.get(..KEY_LEN).filter(|_| self.before == 0)?;
        let likeness = |kind: FrameKind| {
            let pairs = start.iter().zip(kind.key());
            pairs.filter(|(got, due)| got == due).count()
        };
        let kind = self.due.unwrap_or(
            if likeness(FrameKind::Reply) > likeness(FrameKind::Request) {
                FrameKind::Reply
            } else {
                FrameKind::Request
            },
        );
        let at = start
            .iter()
            .zip(kind.key())
            .position(|(got, due)| got != due)?;
        let named = self.due.is_some() || likeness(kind) >= KEY_LIKENESS;
        named.then_some(Found::Refused {
            kind,
            error: StartupError::Key { at: at as u8 },
            position: 0,
        })
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
        let mut search = Search::new(&self.octets, last);
        let found = match self.basis {
            Basis::Lost(framing, phase) => search.known(framing, self.before.wrapping_add(phase)),
            Basis::Start | Basis::Middle => search.blind(),
        };
        if let Some((start, guess)) = found {
            self.discard(start);
            return Some(Found::Guessed {
                guess,
                position: self.before,
                sequence: self.sequence,
                rest: self.rest(),
            });
        }
        if self.octets.len() > GUESS_MAX {
            if !self.is_lost() {
                return Some(Found::Nothing);
            }
            // It is iWARP, only where is not known: the older half is given up.
            self.discard(self.octets.len() - GUESS_MAX / 2);
        }
        self.guess_at = self.octets.len() * 2;
        last.then_some(Found::Nothing)
    }

    /// Where the next frame begins.
    fn next_key(&mut self) -> Option<(usize, FrameKind)> {
        let from = self.searched;
        let found = find_key(&self.octets[from..]).map(|(at, kind)| (from + at, kind));
        let begun = self.octets.len().saturating_sub(KEY_LEN - 1);
        self.searched = found.map_or(begun, |(at, _)| at);
        found
    }

    fn discard(&mut self, octets: usize) {
        self.octets.drain(..octets);
        self.searched = self.searched.saturating_sub(octets);
        self.sequence = self.sequence.wrapping_add(octets as u32);
        self.before += octets as u64;
    }

    /// All that it holds, which it gives away.
    pub(crate) fn rest(&mut self) -> Vec<Piece> {
        self.searched = 0;
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

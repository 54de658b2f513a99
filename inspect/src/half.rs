//! One direction of a TCP connection.

use crate::blame::Sent;
use crate::open::Open;
use crate::seek::{Piece, Seek, cost};

/// Octets that are kept of an end that goes on before the other one has answered.
const HELD_MAX: usize = 1 << 18;

/// Segments of a connection to wait for octets that its other end has had: a capture may have
/// segments in another order than the receiver saw them.
pub(crate) const PATIENCE: u32 = 32;

/// The largest window that TCP can have.
const WINDOW_MAX: u32 = 1 << 30;

/// How far a direction is understood.
#[derive(Debug)]
pub(crate) enum Stage {
    /// No octet of it has been seen.
    Silent,
    /// What it begins with is looked for.
    Seek(Seek),
    /// It has sent its startup frame; how to read on is in the other one.
    Held(Held),
    /// FPDUs are read.
    Open(Box<Open>),
    /// It is not, or no longer, followed.
    Done,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) stage: Stage,
    /// Sequence number of its first octet, if its SYN was seen.
    pub(crate) first: Option<u32>,
    /// The largest segment that this end takes.
    pub(crate) mss: Option<u16>,
    /// Sequence number of its FIN.
    pub(crate) fin: Option<u32>,
    /// Sequence number of the first octet that the other end has not had.
    pub(crate) acked: Option<u32>,
    /// Segments of the connection since the other end has had what the capture lacks.
    waited: u32,
    /// The framing was guessed, not read in startup frames.
    pub(crate) guessed: bool,
    /// Everything up to its FIN has been read.
    pub(crate) ended: bool,
    /// The headers that a Terminate of the other end may blame.
    pub(crate) sent: Sent,
}

impl Half {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Silent,
            first: None,
            mss: None,
            fin: None,
            acked: None,
            waited: 0,
            guessed: false,
            ended: false,
            sent: Sent::new(),
        }
    }

    /// Notes an acknowledgment number of the other end.
    pub(crate) fn acknowledge(&mut self, number: u32) {
        let newer = |acked: u32| (number.wrapping_sub(acked) as i32) > 0;
        if self.acked.is_none_or(newer) {
            self.acked = Some(number);
        }
    }

    /// Whether the other end has had all octets in front of `sequence`: those of a TCP window.
    pub(crate) fn has_reached(&self, sequence: u32) -> bool {
        self.acked
            .is_some_and(|acked| acked.wrapping_sub(sequence) < WINDOW_MAX)
    }

    /// Whether the other end has had more octets than have been seen, in order and before any hole.
    pub(crate) fn has_unseen(&self) -> bool {
        let seen = match &self.stage {
            Stage::Silent => match self.first {
                Some(first) => first,
                None => return self.acked.is_some(),
            },
            Stage::Seek(seek) => seek.next(),
            Stage::Open(open) => open.front().wrapping_add(open.held() as u32),
            Stage::Held(_) | Stage::Done => return false,
        };
        // A FIN has a sequence number, too.
        let fin = u32::from(self.fin == Some(seen));
        self.has_reached(seen.wrapping_add(1 + fin))
    }

    /// Whether octets that the other end has had are not in the capture, not even out of order.
    pub(crate) fn is_hole_for_good(&mut self) -> bool {
        let behind = match &self.stage {
            Stage::Open(open) => open.behind_hole(),
            Stage::Seek(seek) => seek.behind_hole(),
            Stage::Silent | Stage::Held(_) | Stage::Done => None,
        };
        if !behind.is_some_and(|behind| self.has_reached(behind)) {
            self.waited = 0;
            return false;
        }
        self.waited += 1;
        self.waited > PATIENCE
    }

    /// Octets between what is understood and the FIN, if both are known.
    pub(crate) fn octets_before_fin(&self) -> Option<u64> {
        let Stage::Open(open) = &self.stage else {
            return None;
        };
        let left = self.fin?.wrapping_sub(open.front()) as i32;
        u64::try_from(left).ok()
    }

    /// Whether nothing more is to come that could be understood.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// What its memory is counted as.
    pub(crate) fn memory(&self) -> usize {
        let stage = match &self.stage {
            Stage::Silent | Stage::Done => 0,
            Stage::Seek(seek) => seek.memory(),
            Stage::Held(held) => held.memory(),
            Stage::Open(open) => open.memory(),
        };
        stage + self.sent.memory()
    }
}

/// Octets that wait for the other end's startup frame.
#[derive(Debug)]
pub(crate) struct Held {
    /// Sequence number of the first octet of Full Operation.
    pub(crate) sequence: u32,
    pub(crate) pieces: Vec<Piece>,
    cost: usize,
    /// Segments since the end has had octets of the other one that the capture lacks.
    pub(crate) waited: u32,
}

impl Held {
    pub(crate) fn new(sequence: u32, rest: Vec<Piece>) -> Self {
        let cost = cost(&rest);
        Self {
            sequence,
            pieces: rest,
            cost,
            waited: 0,
        }
    }

    /// Keeps a segment, if there is room.
    pub(crate) fn take(&mut self, sequence: u32, octets: &[u8]) {
        let piece = (sequence, octets.to_vec());
        let cost = cost(std::slice::from_ref(&piece));
        if self.cost + cost <= HELD_MAX && !octets.is_empty() {
            self.cost += cost;
            self.pieces.push(piece);
        }
    }

    /// What its memory is counted as.
    pub(crate) const fn memory(&self) -> usize {
        self.cost
    }

    /// Octets behind the startup frame.
    pub(crate) fn behind(&self) -> usize {
        self.pieces
            .iter()
            .map(|(sequence, octets)| {
                let end = sequence.wrapping_add(octets.len() as u32);
                usize::try_from(end.wrapping_sub(self.sequence) as i32).unwrap_or(0)
            })
            .max()
            .unwrap_or(0)
    }
}

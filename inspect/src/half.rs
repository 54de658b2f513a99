//! One direction of a TCP connection.

use crate::open::Open;
use crate::seek::{Piece, Seek};

/// Octets that are kept of an end that goes on before the other one has answered.
const HELD_MAX: usize = 1 << 18;

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
}

impl Half {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Silent,
            first: None,
            mss: None,
            fin: None,
        }
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
    pub(crate) fn is_over(&self) -> bool {
        match &self.stage {
            Stage::Open(open) => open.broken || self.octets_before_fin() == Some(0),
            Stage::Done => true,
            Stage::Silent | Stage::Seek(_) | Stage::Held(_) => false,
        }
    }
}

/// Octets that wait for the other end's startup frame.
#[derive(Debug)]
pub(crate) struct Held {
    /// Sequence number of the first octet of Full Operation.
    pub(crate) sequence: u32,
    pub(crate) pieces: Vec<Piece>,
    octets: usize,
}

impl Held {
    pub(crate) fn new(sequence: u32, rest: Vec<Piece>) -> Self {
        let octets = rest.iter().map(|(_, octets)| octets.len()).sum();
        Self {
            sequence,
            pieces: rest,
            octets,
        }
    }

    /// Keeps a segment, if there is room.
    pub(crate) fn take(&mut self, sequence: u32, octets: &[u8]) {
        if self.octets + octets.len() <= HELD_MAX {
            self.octets += octets.len();
            self.pieces.push((sequence, octets.to_vec()));
        }
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

//! A direction whose FPDUs are read.

use std::collections::BTreeMap;

use uwarp_mpa::{FpduError, SegmentReceiver, crc, mulpdu};

use crate::fpdu::{Arrival, Collector, oversized};
use crate::messages::Messages;
use crate::seek::Piece;

/// Octets that are kept beyond a hole in the capture.
const WINDOW: usize = 1 << 19;

/// A direction whose FPDUs are read.
#[derive(Debug)]
pub(crate) struct Open {
    receiver: SegmentReceiver,
    /// Sequence number of the receiver's first octet.
    sequence: u32,
    /// Octets before the receiver's first.
    base: u64,
    /// Segments that are not wholly delivered, in case the receiver has to be passed by.
    recent: Vec<Piece>,
    /// The FPDU at the front is larger than any may be, and is read without the receiver.
    large: bool,
    crc: bool,
    markers: bool,
    waiting: BTreeMap<u64, Arrival>,
    pub(crate) messages: Messages,
    /// Nothing more can be made of it.
    pub(crate) broken: bool,
    /// Octets were too far ahead to be kept.
    pub(crate) dropped: bool,
    pub(crate) guess: bool,
    /// FPDUs larger than the other end's MSS allows.
    pub(crate) oversized: u64,
    /// A FIN inside an FPDU has been told of.
    pub(crate) cut: bool,
}

/// What a segment has brought.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) delivered: Vec<Arrival>,
    pub(crate) error: Option<FpduError>,
    /// Octets are dropped for the first time.
    pub(crate) dropping: bool,
}

impl Open {
    pub(crate) fn new(markers: bool, crc: bool, sequence: u32, guess: bool) -> Self {
        Self {
            receiver: SegmentReceiver::new(markers, crc, sequence, WINDOW),
            sequence,
            base: 0,
            recent: Vec::new(),
            large: false,
            crc,
            markers,
            waiting: BTreeMap::new(),
            messages: if guess {
                Messages::guessed()
            } else {
                Messages::new()
            },
            broken: false,
            dropped: false,
            guess,
            oversized: 0,
            cut: false,
        }
    }

    /// Takes the octets of a segment.
    pub(crate) fn receive(&mut self, sequence: u32, octets: &[u8]) -> Step {
        let mut step = Step::default();
        if self.broken || octets.is_empty() {
            return step;
        }
        self.remember(sequence, octets);
        if !self.large {
            self.feed(sequence, octets, &mut step);
        }
        while self.large && !self.broken {
            let Some(arrival) = self.take_large(&mut step) else {
                break;
            };
            self.restart(arrival, &mut step);
        }
        let front = self.front();
        self.recent
            .retain(|piece| (end(piece).wrapping_sub(front) as i32) > 0);
        step
    }

    fn remember(&mut self, sequence: u32, octets: &[u8]) {
        let kept: usize = self.recent.iter().map(|(_, octets)| octets.len()).sum();
        if kept + octets.len() <= WINDOW {
            self.recent.push((sequence, octets.to_vec()));
        }
    }

    fn feed(&mut self, sequence: u32, octets: &[u8], step: &mut Step) {
        let mut collector = Collector {
            base: self.base,
            crc: self.crc,
            waiting: &mut self.waiting,
            delivered: Vec::new(),
            last: None,
        };
        let taken = self.receiver.receive(sequence, octets, &mut collector);
        step.delivered.append(&mut collector.delivered);
        match taken {
            Ok(taken) => {
                step.dropping |= taken.dropped > 0 && !self.dropped;
                self.dropped |= taken.dropped > 0;
            }
            // Without markers, which could not point so far, the length still leads on (G2).
            Err(FpduError::TooLong) if !self.markers => self.large = true,
            Err(error) => {
                self.broken = true;
                step.error = Some(error);
            }
        }
    }

    /// The FPDU at the front, larger than any may be, if it is whole.
    fn take_large(&mut self, step: &mut Step) -> Option<Arrival> {
        let octets = self.in_order();
        let len = u16::from_be_bytes(*octets.first_chunk()?);
        let wire = octets.get(..(usize::from(len) + 2).next_multiple_of(4) + crc::CRC_LEN)?;
        if self.crc && crc::crc32c(wire) != crc::RESIDUE {
            self.broken = true;
            step.error = Some(FpduError::Crc);
            return None;
        }
        Some(oversized(self.position(), len, wire, self.crc))
    }

    /// All octets from the front on, up to the first hole.
    fn in_order(&self) -> Vec<u8> {
        let front = self.front();
        let mut pieces: Vec<_> = self
            .recent
            .iter()
            .map(|(sequence, octets)| (i64::from(sequence.wrapping_sub(front) as i32), octets))
            .collect();
        pieces.sort_by_key(|(at, _)| *at);
        let mut out = Vec::new();
        for (at, octets) in pieces {
            let known = usize::try_from(out.len() as i64 - at);
            out.extend(
                known
                    .ok()
                    .and_then(|known| octets.get(known..))
                    .unwrap_or(&[]),
            );
        }
        out
    }

    /// Goes on with a new receiver behind an FPDU that was read without one.
    fn restart(&mut self, arrival: Arrival, step: &mut Step) {
        self.sequence = self.front().wrapping_add(arrival.wire_len);
        self.base = self.position() + u64::from(arrival.wire_len);
        self.receiver = SegmentReceiver::new(self.markers, self.crc, self.sequence, WINDOW);
        self.waiting.clear();
        self.large = false;
        step.delivered.push(arrival);
        let recent = std::mem::take(&mut self.recent);
        for (sequence, octets) in &recent {
            if !self.large && !self.broken {
                self.feed(*sequence, octets, step);
            }
        }
        self.recent = recent;
    }

    /// Position up to which FPDUs have been delivered.
    pub(crate) const fn position(&self) -> u64 {
        self.base + self.receiver.delivered()
    }

    /// Sequence number of the first octet that is not delivered.
    pub(crate) const fn front(&self) -> u32 {
        self.sequence.wrapping_add(self.receiver.delivered() as u32)
    }

    /// Octets that have come and are not delivered.
    pub(crate) fn held(&self) -> u64 {
        if self.large {
            self.in_order().len() as u64
        } else {
            self.receiver.held()
        }
    }

    /// FPDUs that have arrived and are not delivered.
    pub(crate) fn early(&self) -> usize {
        self.waiting.len()
    }

    /// The largest ULPDU that fits a segment of this size.
    pub(crate) fn mulpdu(&self, mss: u16) -> u16 {
        mulpdu(mss.into(), self.markers)
    }
}

/// Sequence number of the octet behind a piece.
fn end((sequence, octets): &Piece) -> u32 {
    sequence.wrapping_add(octets.len() as u32)
}

//! A direction whose FPDUs are read.

use std::collections::BTreeMap;

use uwarp_mpa::{FPDU_MAX, FpduError, SegmentReceiver, mulpdu};

use crate::fpdu::{Arrival, Collector};
use crate::guess::Framing;
use crate::messages::Messages;
use crate::seek::Piece;

/// Octets that are kept beyond a hole in the capture.
pub(crate) const WINDOW: usize = 1 << 18;

/// What an FPDU that waits is counted as.
const ARRIVAL_COST: usize = size_of::<Arrival>() + 192;

/// Octets that are kept as long as that is enough.
const WINDOW_MIN: usize = FPDU_MAX;

/// What the lists in a receiver are counted as.
const RUNS_COST: usize = 1 << 14;

/// A direction whose FPDUs are read.
#[derive(Debug)]
pub(crate) struct Open {
    receiver: SegmentReceiver,
    /// Octets that it keeps.
    window: usize,
    /// Sequence number of the receiver's first octet.
    sequence: u32,
    /// Octets before the receiver's first.
    base: u64,
    crc: bool,
    markers: bool,
    /// Nothing of it has been read.
    untouched: bool,
    waiting: BTreeMap<u64, Arrival>,
    pub(crate) messages: Messages,
    /// Nothing more can be made of it.
    pub(crate) broken: bool,
    pub(crate) guess: bool,
    /// FPDUs larger than the other end's MSS allows.
    pub(crate) oversized: u64,
    /// Segments in a row that lie too far ahead, and that the other end has had.
    pub(crate) strays: u32,
    /// A FIN inside an FPDU has been told of.
    pub(crate) cut: bool,
}

/// Where the reading of FPDUs begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) framing: Framing,
    /// Sequence number of the first octet of an FPDU.
    pub(crate) sequence: u32,
    /// Its position, as it is told.
    pub(crate) position: u64,
    /// What is to be added to a position to have one that markers are counted from.
    pub(crate) phase: u64,
    /// It is guessed.
    pub(crate) guess: bool,
}

impl Start {
    /// The first octet of Full Operation.
    pub(crate) const fn first(markers: bool, crc: bool, sequence: u32) -> Self {
        Self {
            framing: Framing { markers, crc },
            sequence,
            position: 0,
            phase: 0,
            guess: false,
        }
    }

    /// Whether it is the beginning of the direction.
    const fn is_first(&self) -> bool {
        self.position == 0 && self.phase == 0 && !self.guess
    }
}

/// What a segment has brought.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) delivered: Vec<Arrival>,
    pub(crate) error: Option<FpduError>,
    /// There was no room for all of it.
    pub(crate) dropped: bool,
}

impl Open {
    pub(crate) fn new(start: Start) -> Self {
        let Framing { markers, crc } = start.framing;
        let place = start.position.wrapping_add(start.phase);
        Self {
            receiver: SegmentReceiver::resume(markers, crc, start.sequence, place, WINDOW_MIN),
            window: WINDOW_MIN,
            sequence: start.sequence.wrapping_sub(place as u32),
            base: start.phase.wrapping_neg(),
            crc,
            markers,
            untouched: start.is_first(),
            waiting: BTreeMap::new(),
            messages: if start.is_first() {
                Messages::new()
            } else {
                Messages::guessed()
            },
            broken: false,
            guess: start.guess,
            oversized: 0,
            strays: 0,
            cut: false,
        }
    }

    /// How it is framed.
    pub(crate) const fn framing(&self) -> Framing {
        Framing {
            markers: self.markers,
            crc: self.crc,
        }
    }

    /// What is to be added to a position to have one that markers are counted from.
    pub(crate) const fn phase(&self) -> u64 {
        self.base.wrapping_neg()
    }

    /// Whether these are the first octets of the direction, the next ones that are due.
    pub(crate) fn is_beginning(&self, sequence: u32) -> bool {
        self.untouched && sequence == self.front() && self.held() == 0
    }

    /// Sequence number of the first octet behind a hole, if octets behind one are held.
    pub(crate) fn behind_hole(&self) -> Option<u32> {
        let behind = self.receiver.behind_hole()?;
        Some(self.sequence.wrapping_add(behind as u32))
    }

    /// The octets that have come and are not delivered.
    pub(crate) fn take_held(&self) -> Vec<Piece> {
        let held = self.receiver.held_octets();
        held.map(|(position, octets)| (self.sequence.wrapping_add(position as u32), octets))
            .collect()
    }

    /// What its memory is counted as.
    pub(crate) fn memory(&self) -> usize {
        let receiver = self.window + FPDU_MAX + RUNS_COST;
        receiver + self.waiting.len() * ARRIVAL_COST
    }

    /// Takes the octets of a segment.
    pub(crate) fn receive(&mut self, sequence: u32, octets: &[u8]) -> Step {
        let mut step = Step::default();
        if self.broken || octets.is_empty() {
            return step;
        }
        self.untouched = false;
        self.feed(sequence, octets, &mut step);
        if step.dropped && self.window < WINDOW {
            step.dropped = false;
            for (sequence, octets) in self.widen() {
                self.feed(sequence, &octets, &mut step);
            }
            self.feed(sequence, octets, &mut step);
        }
        step
    }

    /// Goes on with the largest window. Returns what was held, which is to be taken again.
    fn widen(&mut self) -> Vec<Piece> {
        let held = self.take_held();
        let (front, place) = (self.front(), self.receiver.delivered());
        self.window = WINDOW;
        self.receiver = SegmentReceiver::resume(self.markers, self.crc, front, place, WINDOW);
        self.waiting.clear();
        held
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
                step.dropped |= taken.dropped > 0;
            }
            Err(error) => {
                self.broken = true;
                step.error = Some(error);
            }
        }
    }

    /// Position up to which FPDUs have been delivered.
    pub(crate) const fn position(&self) -> u64 {
        self.base.wrapping_add(self.receiver.delivered())
    }

    /// Sequence number of the first octet that is not delivered.
    pub(crate) const fn front(&self) -> u32 {
        self.sequence.wrapping_add(self.receiver.delivered() as u32)
    }

    /// Octets that have come and are not delivered.
    pub(crate) fn held(&self) -> u64 {
        self.receiver.held()
    }

    /// FPDUs that have arrived and are not delivered.
    pub(crate) fn early(&self) -> usize {
        self.waiting.len()
    }

    /// What is left over at the end.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if self.oversized > 1 {
            let count = self.oversized;
            texts.push(format!(
                "D18: {count} ULPDUs are larger than the MSS has room for"
            ));
        }
        let held = self.held();
        if held > 0 && !self.broken && !self.cut {
            let early = self.early();
            texts.push(format!(
                "{held} octets, {early} whole FPDUs among them, stay behind a hole in the capture or have no end"
            ));
        }
        texts
    }

    /// The largest ULPDU that fits a segment of this size.
    pub(crate) fn mulpdu(&self, mss: u16) -> u16 {
        mulpdu(mss.into(), self.markers)
    }
}

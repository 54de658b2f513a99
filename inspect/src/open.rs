//! A direction whose FPDUs are read.

use std::collections::BTreeMap;

use uwarp_mpa::{FpduError, SegmentReceiver, mulpdu};

use crate::fpdu::{Arrival, Collector};
use crate::messages::Messages;

/// Octets that are kept beyond a hole in the capture.
const WINDOW: usize = 1 << 19;

/// A direction whose FPDUs are read.
#[derive(Debug)]
pub(crate) struct Open {
    receiver: SegmentReceiver,
    /// Sequence number of the receiver's first octet.
    sequence: u32,
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
        let mut collector = Collector {
            crc: self.crc,
            waiting: &mut self.waiting,
            delivered: Vec::new(),
            last: None,
        };
        let taken = self.receiver.receive(sequence, octets, &mut collector);
        step.delivered = collector.delivered;
        match taken {
            Ok(taken) => {
                step.dropping = taken.dropped > 0 && !self.dropped;
                self.dropped |= taken.dropped > 0;
            }
            Err(error) => {
                self.broken = true;
                step.error = Some(error);
            }
        }
        step
    }

    /// Position up to which FPDUs have been delivered.
    pub(crate) const fn position(&self) -> u64 {
        self.receiver.delivered()
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

    /// The largest ULPDU that fits a segment of this size.
    pub(crate) fn mulpdu(&self, mss: u16) -> u16 {
        mulpdu(mss.into(), self.markers)
    }
}

//! FPDUs in TCP segments that come in any order (RFC 5044 s6).
//!
//! An input is a stream and then segments: pieces of the stream with holes between them, again, across each
//! other, in any order; octets that are not the stream's; and sequence numbers that have nothing to do with
//! it. The stream begins anywhere in the space of sequence numbers, so that it may wrap.
//!
//! After each segment:
//!
//! * what is delivered is what [`Deframer`](uwarp_mpa::Deframer) finds in the octets that have come without
//!   a hole, down to the error that ends it;
//! * every FPDU that is whole, and behind a hole that has a start that is known, has arrived;
//! * nothing arrives twice, and what arrives is an FPDU of the octets that were kept;
//! * octets that came first stay, and what is dropped is beyond the window or behind one hole too many.
//!
//! And over the whole of it the receiver never holds more memory than [`memory_bound`].

mod model;
mod stream;

use std::collections::{BTreeMap, BTreeSet};

use uwarp_mpa::{Arrivals, Fpdu, FpduError, SegmentReceiver, max_wire_len};

use crate::input::Input;
use crate::memory;
use model::Model;

/// What an input reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// FPDUs that were delivered.
    pub delivered: usize,
    /// FPDUs that arrived behind a hole.
    pub early: usize,
    /// As many of them as are kept were waiting at once.
    pub early_full: bool,
    /// Octets that came again.
    pub repeated: usize,
    /// Octets that were dropped beyond the window.
    pub beyond: usize,
    /// Segments that were dropped since they would have made one hole too many.
    pub one_hole_too_many: usize,
    /// The sequence numbers have wrapped.
    pub wrapped: bool,
    /// Something that is no FPDU of the stream arrived behind a hole.
    pub forged: usize,
    /// What ended the stream, if anything did.
    pub error: Option<FpduError>,
}

/// A segment: its sequence number, and what is in it.
type Segment = (u32, Vec<u8>);

/// Octets of memory that a receiver with this window may hold: the window, the largest FPDU where it
/// is put together, and what the limits of [`SegmentReceiver`] allow for holes and early FPDUs.
#[must_use]
pub fn memory_bound(markers: bool, window: usize) -> u64 {
    let fpdu = max_wire_len(markers);
    (window.max(fpdu) + fpdu + SegmentReceiver::BOOKKEEPING_MAX) as u64
}

/// Sends segments to a receiver.
///
/// # Panics
/// When the receiver differs from the model, or holds too much.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let bits = input.u8();
    let (markers, crc) = (bits & 1 != 0, bits & 2 != 0);
    let window = match bits >> 2 & 3 {
        0 | 1 => 0,
        2 => 1 << 17,
        _ => 70_000 + usize::from(input.u8()),
    };
    let first = if bits & 16 == 0 {
        input.u32()
    } else {
        u32::MAX - u32::from(input.u16())
    };
    let stream = stream::stream(&mut input, markers, crc);
    let segments = stream::segments(&mut input, first, &stream);
    let mut reached = compare(&stream, &segments, markers, crc, first, window);
    reached.wrapped = reached.delivered > 0
        && first.checked_add(stream.wire.len() as u32).is_none()
        && reached.error.is_none();
    hold(&segments, markers, crc, first, window);
    reached
}

/// The receiver beside the model.
fn compare(
    stream: &stream::Stream,
    segments: &[Segment],
    markers: bool,
    crc: bool,
    first: u32,
    window: usize,
) -> Reached {
    let mut receiver = SegmentReceiver::new(markers, crc, first, window);
    let mut model = Model::new(stream, markers, crc, first, window);
    let mut record = Record::default();
    let mut reached = Reached::default();
    for (sequence, octets) in segments {
        let received = receiver.receive(*sequence, octets, &mut record);
        if let Some(error) = reached.error {
            assert_eq!(received, Err(error), "an error is for ever");
            assert_eq!(record.delivered.len(), reached.delivered);
            continue;
        }
        let outcome = model.receive(*sequence, octets);
        let due = model.deliveries();
        assert_eq!(record.delivered, due.positions);
        let new = due.positions.iter().zip(&due.ulpdus);
        for (position, ulpdu) in new.skip(reached.delivered) {
            assert!(record.arrived[position] == *ulpdu, "it is what arrived");
        }
        reached.delivered = due.positions.len();
        reached.early_full |= receiver.early() == SegmentReceiver::EARLY_MAX;
        match (received, due.error) {
            (Ok(taken), None) => assert_eq!(taken, outcome.taken),
            (Err(error), Some(due)) if error == due => reached.error = Some(error),
            (received, due) => panic!("{received:?} instead of {due:?}"),
        }
        reached.repeated += outcome.repeated;
        reached.beyond += outcome.beyond;
        reached.one_hole_too_many += usize::from(outcome.one_hole_too_many);
        let front = model.front();
        if reached.error.is_none() {
            assert_eq!(receiver.delivered(), front);
            assert_eq!(receiver.held(), model.held());
            assert_eq!(
                receiver.early(),
                record.arrived.range(front..).count(),
                "what waits for its delivery"
            );
        }
        if outcome.taken.new > 0
            && receiver.early() < SegmentReceiver::EARLY_MAX
            && reached.error.is_none()
        {
            for position in model.knowable() {
                assert!(
                    record.arrived.contains_key(&position),
                    "the FPDU at {position} is there and known"
                );
            }
        }
    }
    for position in record.arrived.keys() {
        if record.early.contains(position) {
            reached.early += 1;
            reached.forged += usize::from(!model.is_of_the_stream(*position));
        }
    }
    model.assert_kept(&record.arrived);
    reached
}

/// Only the receiver, and what it allocates.
fn hold(segments: &[Segment], markers: bool, crc: bool, first: u32, window: usize) {
    let most = memory::peak(|| {
        let mut receiver = SegmentReceiver::new(markers, crc, first, window);
        for (sequence, octets) in segments {
            let _ = receiver.receive(*sequence, octets, &mut Nobody);
        }
    });
    let bound = memory_bound(markers, window);
    assert!(most <= bound, "it holds {most} octets, not {bound}");
}

/// What the receiver has said.
#[derive(Debug, Default)]
struct Record {
    /// The ULPDU of each FPDU that has arrived.
    arrived: BTreeMap<u64, Vec<u8>>,
    /// Those that arrived and were not delivered at once.
    early: BTreeSet<u64>,
    /// What has arrived last.
    latest: Option<u64>,
    delivered: Vec<u64>,
}

impl Arrivals for Record {
    fn arrived(&mut self, position: u64, fpdu: &Fpdu, wire: &[u8]) {
        assert_eq!(fpdu.layout().start(), position);
        let mut ulpdu = vec![0; fpdu.ulpdu_len()];
        assert_eq!(
            fpdu.copy_ulpdu(wire, 0..usize::MAX, &mut ulpdu),
            ulpdu.len()
        );
        let before = self.arrived.insert(position, ulpdu);
        assert_eq!(before, None, "an FPDU arrives once");
        self.early.insert(position);
        self.latest = Some(position);
    }

    fn deliver(&mut self, position: u64) {
        assert!(
            self.arrived.contains_key(&position),
            "delivered before it arrived"
        );
        assert!(
            self.delivered.last().is_none_or(|&last| last < position),
            "delivered in order"
        );
        // What is delivered right after its arrival has not waited.
        if self.latest == Some(position) {
            self.early.remove(&position);
        }
        self.delivered.push(position);
    }
}

/// Takes everything and keeps nothing.
struct Nobody;

impl Arrivals for Nobody {
    fn arrived(&mut self, _: u64, _: &Fpdu, _: &[u8]) {}
    fn deliver(&mut self, _: u64) {}
}

//! What a receiver of segments should do, with one entry for each octet of the stream.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use memchr::{memchr, memchr_iter, memrchr};
use uwarp_mpa::{Deframed, Deframer, FpduError, SegmentReceiver, Taken, max_wire_len};

use super::stream::Stream;
use crate::wire;

/// What has been delivered, and what ended it.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    pub(super) positions: Vec<u64>,
    pub(super) ulpdus: Vec<Vec<u8>>,
    pub(super) error: Option<FpduError>,
}

/// What becomes of a segment.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) taken: Taken,
    /// Octets that have come before.
    pub(super) repeated: usize,
    /// Octets that lie beyond the window.
    pub(super) beyond: usize,
    pub(super) one_hole_too_many: bool,
}

pub(super) struct Model<'a> {
    stream: &'a Stream,
    markers: bool,
    crc: bool,
    first: u32,
    window: u64,
    /// The octet at each position: the first that came, 0 if none has.
    kept: Vec<u8>,
    /// 1 for each of them that has come.
    here: Vec<u8>,
    /// Where the octet is another than that of the stream.
    wrong: BTreeSet<usize>,
    /// The octets that have come without a hole.
    in_order: Vec<u8>,
    deframer: Deframer,
    /// Octets of `in_order` that the deframer has consumed.
    front: usize,
    deliveries: Deliveries,
}

impl<'a> Model<'a> {
    pub(super) fn new(
        stream: &'a Stream,
        markers: bool,
        crc: bool,
        first: u32,
        window: usize,
    ) -> Self {
        Self {
            stream,
            markers,
            crc,
            first,
            window: window.max(max_wire_len(markers)) as u64,
            kept: Vec::new(),
            here: Vec::new(),
            wrong: BTreeSet::new(),
            in_order: Vec::new(),
            deframer: Deframer::new(markers, crc),
            front: 0,
            deliveries: Deliveries::default(),
        }
    }

    /// Where the first FPDU is that is not delivered.
    pub(super) const fn front(&self) -> u64 {
        self.front as u64
    }

    /// Octets that have come and are not delivered.
    pub(super) fn held(&self) -> u64 {
        memchr_iter(1, self.waiting()).count() as u64
    }

    /// Which octets behind the front have come.
    fn waiting(&self) -> &[u8] {
        self.here.get(self.front..).unwrap_or_default()
    }

    /// Keeps the octets of a segment that are new.
    pub(super) fn receive(&mut self, sequence: u32, octets: &[u8]) -> Outcome {
        // Sequence numbers are read as what is nearest to the front.
        let front_sequence = self.first.wrapping_add(self.front as u32);
        let ahead = i64::from(sequence.wrapping_sub(front_sequence).cast_signed());
        let start = self.front as i64 + ahead;
        let end = self.front as i64 + self.window as i64;
        // Of the segment: what lies before the front, and what lies beyond the window.
        let index = |place: i64| (place - start).clamp(0, octets.len() as i64) as usize;
        let fits = index(self.front as i64)..index(end);
        let mut outcome = Outcome {
            beyond: octets.len() - fits.end,
            ..Outcome::default()
        };
        outcome.taken.dropped = outcome.beyond;
        if fits.is_empty() {
            return outcome;
        }
        let place = |index: usize| (start + index as i64) as usize;
        let places = place(fits.start)..place(fits.end);
        if !self.touches(&places) && self.runs() >= SegmentReceiver::RUNS_MAX {
            outcome.one_hole_too_many = true;
            outcome.taken.dropped = octets.len() - fits.start;
            return outcome;
        }
        outcome.taken.new = self.keep(places, &octets[fits.clone()]);
        outcome.repeated = fits.len() - outcome.taken.new;
        self.deframe();
        outcome
    }

    /// Keeps octets where none have come before, and tells how many. (Here and below octets are compared by
    /// the thousand: one by one they would be slow under a fuzzer's instruments.)
    fn keep(&mut self, places: Range<usize>, octets: &[u8]) -> usize {
        if places.end > self.kept.len() {
            self.kept.resize(places.end, 0);
            self.here.resize(places.end, 0);
        }
        let (mut at, mut new) = (places.start, 0);
        while let Some(hole) = memchr(0, &self.here[at..places.end]) {
            at += hole;
            let end = memchr(1, &self.here[at..places.end]).map_or(places.end, |next| at + next);
            let came = &octets[at - places.start..end - places.start];
            self.kept[at..end].copy_from_slice(came);
            self.here[at..end].fill(1);
            if self.stream.wire.get(at..end) != Some(came) {
                let wrong = |at: &usize| self.stream.wire.get(*at) != Some(&self.kept[*at]);
                self.wrong.extend((at..end).filter(wrong));
            }
            new += end - at;
            at = end;
        }
        new
    }

    /// Whether octets are kept in or right beside `places`.
    fn touches(&self, places: &Range<usize>) -> bool {
        let from = places.start.saturating_sub(1).max(self.front);
        let beside = from..(places.end + 1).min(self.here.len());
        let beside = self.here.get(beside).unwrap_or_default();
        memchr(1, beside).is_some()
    }

    /// Runs of octets without a gap that are not delivered.
    fn runs(&self) -> usize {
        let mut rest = self.waiting();
        let mut runs = 0;
        while let Some(start) = memchr(1, rest) {
            runs += 1;
            rest = &rest[start..];
            rest = &rest[memchr(0, rest).unwrap_or(rest.len())..];
        }
        runs
    }

    fn deframe(&mut self) {
        let new = &self.here[self.in_order.len()..];
        let new = memchr(0, new).unwrap_or(new.len());
        let new = self.in_order.len()..self.in_order.len() + new;
        self.in_order.extend_from_slice(&self.kept[new]);
        loop {
            let buf = &self.in_order[self.front..];
            match self.deframer.next(buf) {
                Ok(Deframed::Need(_)) => return,
                Ok(Deframed::Fpdu(fpdu)) => {
                    let mut ulpdu = vec![0; fpdu.ulpdu_len()];
                    fpdu.copy_ulpdu(buf, 0..usize::MAX, &mut ulpdu);
                    self.deliveries.positions.push(self.front as u64);
                    self.deliveries.ulpdus.push(ulpdu);
                    self.deframer.consume(&fpdu);
                    self.front += fpdu.wire_len();
                }
                Err(error) => {
                    self.deliveries.error = Some(error);
                    return;
                }
            }
        }
    }

    pub(super) const fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// FPDUs of an undamaged stream that must have arrived: whole, and the one before is known or a marker
    /// of their own shows where they begin. In runs that hold a wrong octet nothing is demanded, nor in what follows in
    /// order on a delivered FPDU whose wrong length has moved the bounds of the next.
    pub(super) fn knowable(&self) -> Vec<u64> {
        let mut known = Vec::new();
        let mut previous = false;
        // Where the run that a position lies in is known to be right.
        let (mut run, mut right) = (0..0, true);
        for &(start, end) in &self.stream.fpdus {
            let (start, end) = (start as usize, end as usize);
            // What has been delivered is compared elsewhere; wrong octets may have moved its bounds.
            if start < self.front {
                continue;
            }
            let whole = (self.here.get(start..end)).is_some_and(|here| memchr(0, here).is_none());
            if whole && !run.contains(&start) {
                run = self.run_around(start);
                right = self.wrong.range(run.clone()).next().is_none()
                    && (run.start != self.front || self.is_of_the_stream(self.front()));
            }
            let marked = self.markers && (start..end).any(|at| at % 512 == 0);
            previous = whole && right && (previous || marked || start == self.front);
            if previous {
                known.push(start as u64);
            }
        }
        known
    }

    fn run_around(&self, at: usize) -> Range<usize> {
        let before = &self.here[self.front..at];
        let after = &self.here[at..];
        let start = memrchr(0, before).map_or(self.front, |hole| self.front + hole + 1);
        start..at + memchr(0, after).unwrap_or(after.len())
    }

    /// Whether an FPDU of the stream begins here.
    pub(super) fn is_of_the_stream(&self, position: u64) -> bool {
        let fpdus = &self.stream.fpdus;
        let by_start = fpdus.binary_search_by_key(&position, |&(start, _)| start);
        by_start.is_ok()
    }

    /// FPDUs that arrived are FPDUs, of the octets that were kept.
    pub(super) fn assert_kept(&self, arrived: &BTreeMap<u64, Vec<u8>>) {
        for (&position, ulpdu) in arrived {
            let at = position as usize;
            let (found, end) = wire::ulpdu_at(&self.kept, at, self.markers, self.crc)
                .unwrap_or_else(|| panic!("no FPDU at {position}"));
            assert!(found == *ulpdu, "another ULPDU at {position}");
            assert_eq!(memchr(0, &self.here[at..end]), None);
        }
    }
}

//! The receive side for raw TCP segments: FPDUs are handed on as soon as they are whole, in whatever
//! order their octets come (RFC 5044 s6).
//!
//! An ordinary socket gives octets in order, and [`Deframer`](crate::Deframer) serves there. Whoever
//! sees TCP segments themselves (a capture, or a TCP of one's own) can do better: behind a hole, an
//! FPDU whose start is known beyond doubt may be validated and placed at once. Two things make a
//! start known: a marker, which points at it, and an FPDU before it that has been validated.
//! Everything else is held until the hole closes. *Delivery* stays in the order of the stream.
//!
//! ```text
//!   stream   |--- FPDU 1 ---|--- FPDU 2 ---|----- FPDU 3 -----|--- FPDU 4 ---|
//!   received  xxxxxxxxxxxxxx       hole     xxxxxxMxxxxxxxxxxx xxxxxxxxxxxxxx
//!             arrived,                      arrived: M points  arrived: follows
//!             delivered                     at its start       a valid FPDU
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use crate::deframer::{Deframed, FPDUPTR_MASK, Fpdu, examine};
use crate::error::FpduError;
use crate::layout::{MARKER_LEN, MARKER_PERIOD, max_wire_len};

/// Separate runs of octets that are kept: one for each hole. A segment that would make one more is
/// dropped, as if the network had lost it.
const RUNS_MAX: usize = 256;

/// FPDUs behind a hole that are handed on early; more are held until the hole closes.
const EARLY_MAX: usize = 4096;

/// Takes what a [`SegmentReceiver`] finds.
pub trait Arrivals {
    /// The FPDU at stream position `position` is whole and valid. Called once for each FPDU, in any
    /// order. `wire` holds its octets, for the methods of [`Fpdu`].
    fn arrived(&mut self, position: u64, fpdu: &Fpdu, wire: &[u8]);

    /// The FPDU at `position`, which has arrived, and all before it have arrived too. Called once for
    /// each FPDU, in the order of the stream.
    fn deliver(&mut self, position: u64);
}

/// What became of the octets of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Octets that are new and kept.
    pub new: usize,
    /// Octets that are not kept since they lie beyond the window, or behind one hole too many: TCP
    /// has to send them again.
    pub dropped: usize,
}

/// Octets that have come without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u64,
    end: u64,
    /// What looked like an FPDU here was none: nothing more is guessed before the hole closes.
    doubtful: bool,
}

/// Finds FPDUs in TCP segments that come in any order, overlapping and repeated.
///
/// The memory that it uses is bounded by its window, the octets of the largest FPDU, and
/// [`BOOKKEEPING_MAX`](Self::BOOKKEEPING_MAX).
#[derive(Debug)]
pub struct SegmentReceiver {
    markers: bool,
    crc: bool,
    /// TCP sequence number of stream position 0.
    first_sequence: u32,
    /// Everything before it has been delivered; it is the start of an FPDU.
    front: u64,
    /// The octets of the window, each at its position modulo the window.
    window: Box<[u8]>,
    /// Sorted, neither touching nor overlapping, all at or after `front`.
    runs: Vec<Run>,
    /// FPDUs that have arrived early, and where they end.
    early: BTreeMap<u64, u64>,
    broken: Option<FpduError>,
    /// An FPDU whose octets wrap around the end of the window, put together.
    scratch: Vec<u8>,
}

impl SegmentReceiver {
    /// Separate runs of octets that are kept: one for each hole. A segment that would make one more is dropped.
    pub const RUNS_MAX: usize = RUNS_MAX;

    /// FPDUs that may have arrived and not been delivered; more are held as octets until the hole closes.
    pub const EARLY_MAX: usize = EARLY_MAX;

    /// Octets of memory for what is known of the window: runs, and FPDUs that have arrived early.
    pub const BOOKKEEPING_MAX: usize = 1 << 18;

    /// A receiver for the direction whose first octet of Full Operation has the TCP sequence number
    /// `first_sequence`. It keeps octets up to `window` beyond the first hole; at least as many as
    /// the largest FPDU has are always kept.
    #[must_use]
    pub fn new(markers: bool, crc: bool, first_sequence: u32, window: usize) -> Self {
        let window = window.max(max_wire_len(markers));
        Self {
            markers,
            crc,
            first_sequence,
            front: 0,
            window: vec![0; window].into_boxed_slice(),
            runs: Vec::new(),
            early: BTreeMap::new(),
            broken: None,
            scratch: Vec::new(),
        }
    }

    /// A receiver that takes the stream up somewhere in the middle: at `position`, which must be the
    /// start of an FPDU and has the TCP sequence number `sequence`. Where markers are is counted from
    /// position 0, so of a stream with markers the position must be right modulo 512.
    ///
    /// ```
    /// use uwarp_mpa::SegmentReceiver;
    /// let receiver = SegmentReceiver::resume(true, true, 7, 1024, 0);
    /// assert_eq!(receiver.delivered(), 1024);
    /// ```
    #[must_use]
    pub fn resume(markers: bool, crc: bool, sequence: u32, position: u64, window: usize) -> Self {
        let first_sequence = sequence.wrapping_sub(position as u32);
        let mut receiver = Self::new(markers, crc, first_sequence, window);
        receiver.front = position;
        receiver
    }

    /// The octets that have come and have not been delivered, as runs without a gap: the stream
    /// position of each, and its octets. Whoever knows that a hole will never close can go on behind it.
    pub fn held_octets(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.runs.iter().map(|run| {
            let mut octets = vec![0; (run.end - run.start) as usize];
            self.load(run.start, &mut octets);
            (run.start, octets)
        })
    }

    /// Stream position of the first octet behind the first hole, if octets behind a hole are held.
    #[must_use]
    pub fn behind_hole(&self) -> Option<u64> {
        let runs = self.runs.iter().map(|run| run.start);
        runs.filter(|&start| start > self.front).min()
    }

    /// Stream position up to which everything has been delivered.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.front
    }

    /// Octets that have come and have not been delivered.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// FPDUs that have arrived and not been delivered.
    #[must_use]
    pub fn early(&self) -> usize {
        self.early.len()
    }

    /// Takes the octets of a segment that begins with TCP sequence number `sequence`. Sequence numbers
    /// wrap; a segment must lie within 2^31 octets of what has been delivered, which TCP's windows
    /// see to.
    ///
    /// # Errors
    /// When the stream is broken at the place where it is to be delivered next; the same error ever
    /// after (RFC 5044 s8, F37). What is wrong behind a hole is not judged before the hole has closed.
    pub fn receive(
        &mut self,
        sequence: u32,
        octets: &[u8],
        arrivals: &mut impl Arrivals,
    ) -> Result<Taken, FpduError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let taken = self.keep(sequence, octets);
        self.advance_front(arrivals)
            .inspect_err(|error| self.broken = Some(*error))?;
        self.look_behind_holes(arrivals);
        Ok(taken)
    }

    /// Stores what is new of a segment.
    fn keep(&mut self, sequence: u32, octets: &[u8]) -> Taken {
        let front_sequence = self.first_sequence.wrapping_add(self.front as u32);
        let ahead = i64::from(sequence.wrapping_sub(front_sequence) as i32);
        // What lies before the front has been delivered.
        let stale = usize::try_from(-ahead).unwrap_or(0).min(octets.len());
        let octets = &octets[stale..];
        let start = self.front.saturating_add_signed(ahead.max(0));
        let room = (self.front + self.window.len() as u64).saturating_sub(start);
        let kept = octets
            .len()
            .min(usize::try_from(room).unwrap_or(usize::MAX));
        let mut taken = Taken {
            new: 0,
            dropped: octets.len() - kept,
        };
        if kept == 0 {
            return taken;
        }
        let end = start + kept as u64;
        let touched = self.touched(start, end);
        if touched.is_empty() && self.runs.len() >= RUNS_MAX {
            taken.dropped = octets.len();
            return taken;
        }
        // First come, first kept: a repetition does not change what may have been validated.
        let mut position = start;
        for index in touched {
            let run = self.runs[index];
            taken.new += self.fill(position, run.start, start, octets);
            position = run.end.min(end);
        }
        taken.new += self.fill(position, end, start, octets);
        self.join(start, end);
        taken
    }

    /// The runs that overlap or touch `start..end`.
    fn touched(&self, start: u64, end: u64) -> Range<usize> {
        let first = self.runs.partition_point(|run| run.end < start);
        let behind = self.runs.partition_point(|run| run.start <= end);
        first..behind
    }

    /// Stores `from..to`, if there is such a range, of a segment that begins at `start`; returns how many octets
    /// that is.
    fn fill(&mut self, from: u64, to: u64, start: u64, octets: &[u8]) -> usize {
        let len = to.saturating_sub(from) as usize;
        let at = (from - start) as usize;
        self.store(from, &octets[at..at + len]);
        len
    }

    /// Where in the window the octet at this position stands.
    const fn place(&self, position: u64) -> usize {
        (position % self.window.len() as u64) as usize
    }

    fn store(&mut self, position: u64, octets: &[u8]) {
        let at = self.place(position);
        let before_wrap = octets.len().min(self.window.len() - at);
        let (head, tail) = octets.split_at(before_wrap);
        self.window[at..at + head.len()].copy_from_slice(head);
        self.window[..tail.len()].copy_from_slice(tail);
    }

    /// Adds `start..end` to the runs.
    fn join(&mut self, start: u64, end: u64) {
        let touched = self.touched(start, end);
        let first = touched.start;
        let mut joined = Run {
            start,
            end,
            doubtful: false,
        };
        for run in self.runs.drain(touched) {
            joined.start = joined.start.min(run.start);
            joined.end = joined.end.max(run.end);
            joined.doubtful |= run.doubtful;
        }
        self.runs.insert(first, joined);
    }

    /// Delivers what is next in order, and validates it if it has not arrived early.
    fn advance_front(&mut self, arrivals: &mut impl Arrivals) -> Result<(), FpduError> {
        loop {
            if let Some(end) = self.early.remove(&self.front) {
                arrivals.deliver(self.front);
                self.move_front(end);
                continue;
            }
            let Some(&run) = self.runs.first().filter(|run| run.start == self.front) else {
                return Ok(());
            };
            let position = self.front;
            let Some((fpdu, wire)) = self.whole_fpdu(position, run.end)? else {
                return Ok(());
            };
            let end = fpdu.layout().end();
            arrivals.arrived(position, &fpdu, wire);
            arrivals.deliver(position);
            self.move_front(end);
        }
    }

    fn move_front(&mut self, front: u64) {
        self.front = front;
        self.runs.retain_mut(|run| {
            run.start = run.start.max(front);
            run.start < run.end
        });
    }

    /// Validates FPDUs behind holes, where a start is known.
    fn look_behind_holes(&mut self, arrivals: &mut impl Arrivals) {
        for index in 0..self.runs.len() {
            let run = self.runs[index];
            if run.doubtful || run.start == self.front {
                continue;
            }
            if let Some(start) = self.start_by_marker(&run) {
                self.runs[index].doubtful = !self.walk(start, run.end, arrivals);
            }
        }
    }

    /// Hands on the whole FPDUs from `start` on, each of which shows where the next one begins. Returns whether
    /// everything was in order.
    fn walk(&mut self, start: u64, end: u64, arrivals: &mut impl Arrivals) -> bool {
        let mut position = start;
        loop {
            if let Some(&known) = self.early.get(&position) {
                position = known;
                continue;
            }
            if self.early.len() >= EARLY_MAX {
                return true;
            }
            match self.whole_fpdu(position, end) {
                Ok(Some((fpdu, wire))) => {
                    let fpdu_end = fpdu.layout().end();
                    arrivals.arrived(position, &fpdu, wire);
                    self.early.insert(position, fpdu_end);
                    position = fpdu_end;
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// The FPDU at `position`, if it is whole within a run that ends at `end`.
    fn whole_fpdu(&mut self, position: u64, end: u64) -> Result<Option<(Fpdu, &[u8])>, FpduError> {
        let available = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
        // First the length alone, which may be behind a marker, so that a partial FPDU is not put together again
        // and again.
        let mut beginning = [0; 8];
        let seen = available.min(beginning.len());
        self.load(position, &mut beginning[..seen]);
        let needed = match examine(position, self.markers, false, &beginning[..seen])? {
            Deframed::Need(needed) => needed,
            Deframed::Fpdu(fpdu) => fpdu.wire_len(),
        };
        if needed > available {
            return Ok(None);
        }
        let (markers, crc) = (self.markers, self.crc);
        let wire = self.contiguous(position, needed);
        match examine(position, markers, crc, wire)? {
            Deframed::Fpdu(fpdu) => Ok(Some((fpdu, wire))),
            Deframed::Need(_) => Ok(None),
        }
    }

    fn load(&self, position: u64, out: &mut [u8]) {
        let at = self.place(position);
        let before_wrap = out.len().min(self.window.len() - at);
        let (head, tail) = out.split_at_mut(before_wrap);
        head.copy_from_slice(&self.window[at..at + head.len()]);
        tail.copy_from_slice(&self.window[..tail.len()]);
    }

    fn contiguous(&mut self, position: u64, len: usize) -> &[u8] {
        let at = self.place(position);
        let end = at + len;
        if end <= self.window.len() {
            return &self.window[at..end];
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(len, 0);
        self.load(position, &mut scratch);
        self.scratch = scratch;
        &self.scratch
    }

    /// The first FPDU of the run that a marker in the run points at. A marker whose FPDU begins before
    /// the run says nothing: that FPDU is not whole.
    fn start_by_marker(&self, run: &Run) -> Option<u64> {
        if !self.markers {
            return None;
        }
        let first = run.start.next_multiple_of(MARKER_PERIOD as u64);
        let last = run.end.checked_sub(MARKER_LEN as u64)?;
        for at in (first..=last).step_by(MARKER_PERIOD) {
            let mut marker = [0; MARKER_LEN];
            self.load(at, &mut marker);
            let pointer = u64::from(u16::from_be_bytes([marker[2], marker[3]]) & FPDUPTR_MASK);
            if let Some(start) = at
                .checked_sub(pointer)
                .map(|length| fpdu_start(length, pointer))
                .filter(|&start| start >= run.start)
            {
                return Some(start);
            }
        }
        None
    }
}

/// Where an FPDU begins on the wire whose ULPDU_Length is at `length`, as a marker with this pointer
/// says: a marker that stands right before ULPDU_Length belongs to the FPDU (F17).
fn fpdu_start(length: u64, pointer: u64) -> u64 {
    let marker_before = length
        .checked_sub(MARKER_LEN as u64)
        .filter(|at| at.is_multiple_of(MARKER_PERIOD as u64));
    // A marker between two FPDUs points at itself: the FPDU begins with it.
    if pointer == 0 {
        length
    } else {
        marker_before.unwrap_or(length)
    }
}

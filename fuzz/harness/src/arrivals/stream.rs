//! From an input to a stream and to the segments that carry it.

use uwarp_mpa::max_wire_len;

use super::Segment;
use crate::deframer;
use crate::input::Input;
use crate::wire;

/// A stream stops growing here; one of the largest FPDUs fits.
const STREAM_MAX: usize = 70_000;
const PARTS_MAX: usize = 40;
/// Segments and their octets are bounded, so that an input takes milliseconds.
const SEGMENTS_MAX: usize = 800;
const OCTETS_MAX: usize = 300_000;
/// Octets of the stream times segments: what the model looks at.
const WORK_MAX: usize = 2_500_000;

/// What the other end has sent.
pub(super) struct Stream {
    pub(super) wire: Vec<u8>,
    /// Start and end of each FPDU; empty if the stream is not all FPDUs.
    pub(super) fpdus: Vec<(u64, u64)>,
}

/// As many parts as the input says, each of them an FPDU, many small ones, or damaged.
pub(super) fn stream(input: &mut Input<'_>, markers: bool, crc: bool) -> Stream {
    let mut stream = Stream {
        wire: Vec::new(),
        fpdus: Vec::new(),
    };
    let mut clean = true;
    for _ in 0..usize::from(input.u8()) % PARTS_MAX {
        if stream.wire.len() > STREAM_MAX {
            break;
        }
        let position = stream.wire.len() as u64;
        match input.u8() % 8 {
            0..=2 => stream.push(input.short_slice(), markers, crc),
            3 | 4 => {
                let ulpdu = vec![input.u8(); (input.u16() % 3000).into()];
                stream.push(&ulpdu, markers, crc);
            }
            5 => {
                let ulpdu = vec![input.u8(); rarely(input, 60_000, 3000)];
                stream.push(&ulpdu, markers, crc);
            }
            6 => {
                let ulpdu = vec![0x77; (input.u8() % 32).into()];
                for _ in 0..rarely(input, 5000, 100) {
                    stream.push(&ulpdu, markers, crc);
                }
            }
            _ => {
                clean = false;
                stream
                    .wire
                    .extend(deframer::part(input, position, markers, crc));
            }
        }
    }
    if !clean {
        stream.fpdus.clear();
    }
    stream
}

impl Stream {
    fn push(&mut self, ulpdu: &[u8], markers: bool, crc: bool) {
        if self.wire.len() > STREAM_MAX {
            return;
        }
        let start = self.wire.len() as u64;
        self.wire.extend(wire::frame(start, ulpdu, markers, crc));
        self.fpdus.push((start, self.wire.len() as u64));
    }

    fn piece(&self, at: usize, len: usize) -> &[u8] {
        let start = at.min(self.wire.len());
        &self.wire[start..self.wire.len().min(start.saturating_add(len))]
    }

    /// The FPDU with this number, counted around.
    fn fpdu(&self, number: usize) -> (usize, &[u8]) {
        match self.fpdus.get(number % self.fpdus.len().max(1)) {
            Some(&(start, end)) => (start as usize, &self.wire[start as usize..end as usize]),
            None => (0, &[]),
        }
    }
}

/// The segments, as they arrive.
struct Arriving<'a> {
    first: u32,
    stream: &'a Stream,
    segments: Vec<Segment>,
    octets: usize,
    /// Where the next piece in order begins.
    next: usize,
}

impl Arriving<'_> {
    fn push(&mut self, at: u32, octets: &[u8]) {
        let work = self.segments.len() * self.stream.wire.len();
        if self.segments.len() < SEGMENTS_MAX
            && self.octets + octets.len() <= OCTETS_MAX
            && work <= WORK_MAX
        {
            self.octets += octets.len();
            self.segments
                .push((self.first.wrapping_add(at), octets.to_vec()));
        }
    }

    fn piece(&mut self, at: usize, len: usize) {
        let octets = self.stream.piece(at, len);
        self.push(at as u32, octets);
    }
}

/// What arrives, in this order. In the end the whole stream may come, so that all holes are closed.
pub(super) fn segments(input: &mut Input<'_>, first: u32, stream: &Stream) -> Vec<Segment> {
    let mut arriving = Arriving {
        first,
        stream,
        segments: Vec::new(),
        octets: 0,
        next: 0,
    };
    let close_holes = input.u8() & 1 == 0;
    for _ in 0..SEGMENTS_MAX {
        if input.is_empty() {
            break;
        }
        arriving.step(input);
    }
    if close_holes {
        let step = max_wire_len(false) / 2;
        let mut last = Vec::new();
        for at in (0..stream.wire.len()).step_by(step) {
            let sequence = first.wrapping_add(at as u32);
            last.push((sequence, stream.piece(at, step).to_vec()));
        }
        arriving.segments.extend(last);
    }
    arriving.segments
}

impl Arriving<'_> {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 12 {
            // The next octets in order.
            0 => {
                let len = usize::from(input.u16());
                self.piece(self.next, len);
                self.next += len;
            }
            // Any piece.
            1 | 2 => self.piece(place(input), input.u16().into()),
            // A hole, and the next octets behind it.
            3 => {
                self.next += usize::from(input.u8());
                let len = usize::from(input.u8());
                self.piece(self.next, len);
                self.next += len;
            }
            // A whole FPDU.
            4 => {
                let (at, octets) = self.stream.fpdu(input.u8().into());
                self.push(at as u32, octets);
            }
            // Again, what has come before.
            5 => {
                let which = usize::from(input.u8());
                if let Some((sequence, octets)) = self.segments.iter().rev().nth(which).cloned() {
                    self.push(sequence.wrapping_sub(self.first), &octets);
                }
            }
            // One octet of a piece is wrong.
            6 => {
                let at = place(input);
                let mut octets = self.stream.piece(at, input.u16().into()).to_vec();
                let spoiled = usize::from(input.u16()) % octets.len().max(1);
                if let Some(octet) = octets.get_mut(spoiled) {
                    *octet ^= input.u8();
                }
                self.push(at as u32, &octets);
            }
            // Octets of the input, in or near the stream.
            7 => {
                let at = place(input);
                self.push(at as u32, input.short_slice());
            }
            // An FPDU that belongs to another place of the stream.
            8 => {
                let at = place(input);
                let (_, octets) = self.stream.fpdu(input.u8().into());
                self.push(at as u32, octets);
            }
            // Any sequence number.
            9 => {
                let sequence = input.u32();
                self.push(sequence, input.short_slice());
            }
            // Pieces with holes between them.
            10 => {
                let (mut at, len) = (place(input), usize::from(input.u8() % 32) + 1);
                let stride = len + usize::from(input.u8() % 32);
                for _ in 0..input.u16() % 400 {
                    self.piece(at, len);
                    at += stride;
                }
            }
            // All that has not come in order, from the end to the front.
            _ => {
                let step = usize::from(input.u16()) + 40;
                for at in (self.next..self.stream.wire.len()).step_by(step).rev() {
                    self.piece(at, step);
                }
            }
        }
    }
}

/// A number below `few`, or once in a while below `many`: what is large takes long.
fn rarely(input: &mut Input<'_>, many: u16, few: u16) -> usize {
    let below = if input.u8() < 8 { many } else { few };
    (input.u16() % below).into()
}

/// A place in the stream or up to 65,535 octets behind it.
fn place(input: &mut Input<'_>) -> usize {
    match input.u8() {
        // Near a marker.
        near @ 0x80.. => usize::from(near & 0x7f) * 512 + usize::from(input.u8() % 16),
        high => usize::from(high) << 9 | usize::from(input.u16() & 0x1ff),
    }
}

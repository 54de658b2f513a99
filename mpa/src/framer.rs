//! The way out: ULPDUs become FPDUs (RFC 5044 s4; F01, F08-F15, F24).
//!
//! A ULPDU is a header, which is short and copied, and payload, which stays where it is. The framer therefore
//! writes to an [`FpduSink`] instead of a buffer: it *gives* the sink the octets it made up itself and
//! *names* the payload octets that go between them.
//!
//! ```text
//!   octets()                     payload()   octets()  payload()   octets()
//!  [ marker | length | header ] [ 0..476   ] [ marker ] [ 476..900 ] [ pad | CRC ]
//! ```
//!
//! It keeps no payload, no queue and no memory of what it sent except how far it is, which decides where
//! the next marker falls.

use crate::crc;
use crate::error::FrameError;
use crate::layout::{FpduLayout, Piece};
use crate::mulpdu::MULPDU_MAX;
use std::ops::Range;

/// Where FPDUs go, piece by piece in the order of the wire.
///
/// The payload ranges have whatever meaning the caller of [`Framer::frame`] gave them; the framer only
/// cuts them.
pub trait FpduSink {
    /// These octets come next. They are gone when the call returns, so the sink copies them.
    fn octets(&mut self, octets: &[u8]);

    /// This part of the payload comes next. Never empty; parts come in order and leave no gap.
    fn payload(&mut self, range: Range<u32>);

    /// Continues `crc` over this part of the payload, as [`crc::append`] does.
    ///
    /// Called once after each [`payload`](Self::payload), and only when the connection has CRC on.
    fn payload_crc(&mut self, crc: u32, range: Range<u32>) -> u32;
}

/// The sending half of one connection.
#[derive(Clone, Debug)]
pub struct Framer {
    position: u64,
    markers: bool,
    crc: bool,
}

impl Framer {
    /// A framer at the first octet of full operation.
    ///
    /// `markers`: the peer asked for markers (F13). `crc`: at least one end asked for CRC (F22); otherwise the
    /// CRC field is sent as zero (F10, F23).
    #[must_use]
    pub const fn new(markers: bool, crc: bool) -> Self {
        Self {
            position: 0,
            markers,
            crc,
        }
    }

    /// Octets sent since full operation began, markers included.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The layout of the next FPDU, if its ULPDU were to have `ulpdu_len` octets. `None` above
    /// [`MULPDU_MAX`].
    #[must_use]
    pub const fn layout(&self, ulpdu_len: u16) -> Option<FpduLayout> {
        // A receiver takes longer ones where there are no markers (G2), but none may be sent (F04).
        if ulpdu_len > MULPDU_MAX {
            return None;
        }
        FpduLayout::new(self.position, ulpdu_len, self.markers)
    }

    /// Frames the ULPDU that is `header` followed by the octets `payload` names, and returns the
    /// number of octets this takes on the wire.
    ///
    /// # Errors
    /// If header and payload together are not within 1..=64768 octets (RFC 5044 s3, F04), or `payload` ends
    /// before it begins. The sink has then not been called and the position is unchanged.
    pub fn frame(
        &mut self,
        header: &[u8],
        payload: Range<u32>,
        sink: &mut impl FpduSink,
    ) -> Result<usize, FrameError> {
        let len = ulpdu_len(header, &payload)?;
        let (ulpdu_len, layout) = u16::try_from(len)
            .ok()
            .and_then(|len| Some((len, self.layout(len)?)))
            .ok_or(FrameError::TooLong { len })?;
        let mut stage = Stage::new(sink, self.crc);
        for piece in layout.pieces() {
            match piece {
                Piece::Marker { fpduptr } => {
                    let [high, low] = fpduptr.to_be_bytes();
                    stage.put(&[0, 0, high, low]);
                }
                Piece::Length => stage.put(&ulpdu_len.to_be_bytes()),
                Piece::Ulpdu(range) => stage.ulpdu(header, payload.start, range),
                Piece::Pad(len) => stage.put(&[0; 3][..len]),
                Piece::Crc => stage.put_crc(),
            }
        }
        stage.flush();
        self.position = layout.end();
        Ok(layout.wire_len())
    }
}

fn ulpdu_len(header: &[u8], payload: &Range<u32>) -> Result<usize, FrameError> {
    let Some(payload_len) = payload.end.checked_sub(payload.start) else {
        return Err(FrameError::PayloadRange);
    };
    match header.len().saturating_add(payload_len as usize) {
        0 => Err(FrameError::Empty),
        len => Ok(len),
    }
}

/// Room for everything that surrounds the payload of any RDMAP message.
const STAGE_LEN: usize = 128;

/// Gathers octets so that the sink sees few, large pieces, and runs the CRC over all that passes.
struct Stage<'s, S> {
    sink: &'s mut S,
    octets: [u8; STAGE_LEN],
    len: usize,
    /// The CRC of everything the sink has; `None` once it is written, or when it is off.
    crc: Option<u32>,
}

impl<'s, S: FpduSink> Stage<'s, S> {
    fn new(sink: &'s mut S, crc: bool) -> Self {
        Self {
            sink,
            octets: [0; STAGE_LEN],
            len: 0,
            crc: crc.then_some(0),
        }
    }

    fn put(&mut self, octets: &[u8]) {
        if octets.len() > STAGE_LEN - self.len {
            self.flush();
        }
        if let Some(room) = self.octets[self.len..].get_mut(..octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        } else {
            self.sum(octets);
            self.sink.octets(octets);
        }
    }

    /// The octets `range` of the ULPDU: first those of the header, then those of the payload.
    fn ulpdu(&mut self, header: &[u8], payload_start: u32, range: Range<usize>) {
        let split = header.len().clamp(range.start, range.end);
        if let Some(octets) = header.get(range.start..split) {
            self.put(octets);
        }
        if split < range.end {
            // Both are within a ULPDU, so they fit.
            let from = payload_start + (split - header.len()) as u32;
            self.payload(from..from + (range.end - split) as u32);
        }
    }

    fn payload(&mut self, range: Range<u32>) {
        self.flush();
        self.sink.payload(range.clone());
        if let Some(crc) = self.crc {
            self.crc = Some(self.sink.payload_crc(crc, range));
        }
    }

    /// The CRC field is itself not part of what the CRC covers.
    fn put_crc(&mut self) {
        let covered = &self.octets[..self.len];
        let field = match self.crc.take() {
            Some(crc) => crc::to_wire(crc::append(crc, covered)),
            None => [0; crc::CRC_LEN],
        };
        self.put(&field);
    }

    fn flush(&mut self) {
        if self.len == 0 {
            return;
        }
        let staged = &self.octets[..self.len];
        if let Some(crc) = self.crc {
            self.crc = Some(crc::append(crc, staged));
        }
        self.sink.octets(staged);
        self.len = 0;
    }

    fn sum(&mut self, octets: &[u8]) {
        if let Some(crc) = self.crc {
            self.crc = Some(crc::append(crc, octets));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down the calls it gets.
    #[derive(Debug, PartialEq)]
    enum Call {
        Octets(Vec<u8>),
        Payload(Range<u32>),
        PayloadCrc(Range<u32>),
    }

    #[derive(Default)]
    struct Calls(Vec<Call>);

    impl FpduSink for Calls {
        fn octets(&mut self, octets: &[u8]) {
            self.0.push(Call::Octets(octets.to_vec()));
        }
        fn payload(&mut self, range: Range<u32>) {
            self.0.push(Call::Payload(range));
        }
        fn payload_crc(&mut self, crc: u32, range: Range<u32>) -> u32 {
            self.0.push(Call::PayloadCrc(range));
            !crc
        }
    }

    fn calls(framer: &mut Framer, header: &[u8], payload: Range<u32>) -> Vec<Call> {
        let mut sink = Calls::default();
        framer.frame(header, payload, &mut sink).unwrap();
        sink.0
    }

    #[test]
    fn without_markers_there_is_one_piece_before_and_one_after_the_payload() {
        let calls = calls(&mut Framer::new(false, false), b"head", 100..105);
        assert_eq!(
            calls,
            [
                Call::Octets(b"\x00\x09head".to_vec()),
                Call::Payload(100..105),
                Call::Octets(vec![0; 5]),
            ]
        );
    }

    #[test]
    fn a_message_without_payload_is_one_piece() {
        let calls = calls(&mut Framer::new(true, true), &[7; 70], 0..0);
        assert!(matches!(&calls[..], [Call::Octets(octets)] if octets.len() == 4 + 2 + 70 + 4));
    }

    #[test]
    fn a_marker_cuts_the_payload_and_the_crc_follows_each_part() {
        let mut framer = Framer::new(true, true);
        let calls = calls(&mut framer, &[1; 14], 1000..1500);
        let cut = 1000 + 508 - 16;
        assert!(matches!(&calls[0], Call::Octets(octets) if octets.len() == 4 + 2 + 14));
        assert_eq!(calls[1], Call::Payload(1000..cut));
        assert_eq!(calls[2], Call::PayloadCrc(1000..cut));
        assert_eq!(calls[3], Call::Octets(vec![0, 0, 0x01, 0xfc]));
        assert_eq!(calls[4], Call::Payload(cut..1500));
        assert_eq!(calls[5], Call::PayloadCrc(cut..1500));
        assert!(matches!(&calls[6], Call::Octets(octets) if octets.len() == 4));
        assert_eq!(calls.len(), 7);
        assert_eq!(framer.position(), 528);
    }

    /// Whatever room the stage has left for it; what fits is not cut.
    #[test]
    fn headers_of_every_length_come_out_whole() {
        for len in (100..140).chain([254, 1000]) {
            let header: Vec<u8> = (0..=255).cycle().take(len).collect();
            let pieces: Vec<Vec<u8>> = calls(&mut Framer::new(false, true), &header, 0..0)
                .into_iter()
                .map(|call| match call {
                    Call::Octets(octets) => octets,
                    other => panic!("{other:?}"),
                })
                .collect();
            let wire = pieces.concat();
            assert_eq!(wire.len(), (2 + len).next_multiple_of(4) + 4);
            assert_eq!(wire[2..2 + len], header);
            assert_eq!(crc::crc32c(&wire), crc::RESIDUE, "{len}");
            let staged = pieces[0].len() >= 2 + len;
            assert_eq!(staged, 2 + len <= STAGE_LEN, "{len}");
        }
    }

    #[test]
    fn illegal_lengths_leave_no_trace() {
        let mut framer = Framer::new(true, true);
        let mut sink = Calls::default();
        let cases = [
            (0..0, FrameError::Empty),
            (5..69774, FrameError::TooLong { len: 69769 }),
            (0..64769, FrameError::TooLong { len: 64769 }),
            (
                0..u32::MAX,
                FrameError::TooLong {
                    len: u32::MAX as usize,
                },
            ),
            (Range { start: 9, end: 8 }, FrameError::PayloadRange),
        ];
        for (payload, error) in cases {
            assert_eq!(framer.frame(&[], payload, &mut sink), Err(error));
        }
        assert_eq!(
            framer.frame(&[0; 14], 0..64755, &mut sink),
            Err(FrameError::TooLong { len: 64769 })
        );
        assert_eq!(sink.0, []);
        assert_eq!(framer.position(), 0);
        assert_eq!(framer.frame(&[0; 14], 0..64754, &mut sink), Ok(65288));
    }

    #[test]
    fn payload_may_end_at_the_last_address() {
        let calls = calls(
            &mut Framer::new(false, false),
            b"hh",
            u32::MAX - 4..u32::MAX,
        );
        assert_eq!(calls[1], Call::Payload(u32::MAX - 4..u32::MAX));
    }
}

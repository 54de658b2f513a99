//! The way in: FPDUs are found in the stream, proven intact, and give up their ULPDUs
//! (RFC 5044 s4, s6, s8; F18, F25, F31-F38).
//!
//! The octets stay in the caller's buffer, which begins where the next FPDU begins:
//!
//! ```text
//!   buf   |<------------- FPDU ------------->|<---- next FPDU, perhaps not whole ----
//!         next() says "whole, and right"     |
//!                                            consume() moves on; the caller drops these octets
//! ```
//!
//! Nothing is passed on before the whole FPDU is there and, with CRC on, its CRC is right (F32, trap T6). After
//! the first error nothing is passed on at all (F37).

use crate::crc;
use crate::error::FpduError;
use crate::layout::{FpduLayout, LENGTH_LEN, MARKER_LEN, MARKER_PERIOD, Spans};
use std::iter::FusedIterator;
use std::ops::Range;

/// The low two bits of FPDUPTR are not part of the pointer (RFC 5044 s4.2, F12).
pub(crate) const FPDUPTR_MASK: u16 = !3;

/// What [`Deframer::next`] found at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deframed {
    /// Not a whole FPDU yet. Ask again when the buffer holds so many octets, counted from its
    /// start; at most [`max_wire_len`](crate::max_wire_len), more than is there.
    Need(usize),
    /// A whole FPDU that passed all checks.
    Fpdu(Fpdu),
}

/// The receiving half of one connection.
#[derive(Clone, Debug)]
pub struct Deframer {
    position: u64,
    markers: bool,
    crc: bool,
    broken: Option<FpduError>,
}

impl Deframer {
    /// A deframer at the first octet of full operation.
    ///
    /// `markers`: we asked the peer for markers. `crc`: at least one end asked for CRC (F22); otherwise the CRC
    /// field is never looked at (F10).
    #[must_use]
    pub const fn new(markers: bool, crc: bool) -> Self {
        Self {
            position: 0,
            markers,
            crc,
            broken: None,
        }
    }

    /// Octets consumed since full operation began, markers included: where the buffer's first octet
    /// is in the stream.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The layout of the FPDU at the start of `buf`, as soon as its ULPDU_Length is there.
    ///
    /// Nothing of it is verified. This is for a driver that, *with CRC off*, knows the whole FPDU to wait in the
    /// socket and means to read the payload straight into its place; see [`skip`](Self::skip). `None` if the
    /// length is not there yet or illegal, or after an error.
    #[must_use]
    pub fn peek(&self, buf: &[u8]) -> Option<FpduLayout> {
        if self.broken.is_some() {
            return None;
        }
        FpduLayout::new(self.position, self.announced_len(buf)?, self.markers)
    }

    /// ULPDU_Length of the FPDU at the start of `buf`, as soon as it is there, whatever it says.
    #[must_use]
    pub fn announced_len(&self, buf: &[u8]) -> Option<u16> {
        read_length(self.position, self.markers, buf)
    }

    /// Looks for a whole FPDU at the start of `buf`, which must begin at [`position`](Self::position).
    ///
    /// Checks in this order: that the length is legal, as soon as it is seen; then, when the FPDU is whole, its
    /// CRC; then its markers. Call [`consume`](Self::consume) before asking for the next one.
    ///
    /// # Errors
    /// [`FpduError::TooLong`], [`FpduError::Crc`] or [`FpduError::Marker`]. The same error is then
    /// returned for ever (RFC 5044 s8, F37).
    pub fn next(&mut self, buf: &[u8]) -> Result<Deframed, FpduError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        examine(self.position, self.markers, self.crc, buf)
            .inspect_err(|error| self.broken = Some(*error))
    }

    /// Moves on to the octet after `fpdu`. The caller drops [`Fpdu::wire_len`] octets from its buffer.
    pub fn consume(&mut self, fpdu: &Fpdu) {
        self.position = fpdu.layout.end();
    }

    /// Moves past an FPDU that the driver took off the stream by itself, given its layout from
    /// [`peek`](Self::peek).
    ///
    /// Only with CRC off, and only an FPDU known to be there to its last octet: RFC 5044 s6 allows
    /// nothing else (F32).
    pub fn skip(&mut self, layout: &FpduLayout) {
        self.position = layout.end();
    }

    /// The stream has ended with `leftover` octets that [`next`](Self::next) did not make an FPDU of.
    ///
    /// # Errors
    /// [`FpduError::Truncated`] if the end is inside an FPDU; an earlier error if there was one.
    pub fn eof(&self, leftover: usize) -> Result<(), FpduError> {
        match (self.broken, leftover) {
            (Some(error), _) => Err(error),
            (None, 0) => Ok(()),
            (None, _) => Err(FpduError::Truncated),
        }
    }
}

/// Looks for a whole, valid FPDU at the start of `buf`, whose first octet is at `position` of the
/// stream.
pub(crate) fn examine(
    position: u64,
    markers: bool,
    crc: bool,
    buf: &[u8],
) -> Result<Deframed, FpduError> {
    let Some(ulpdu_len) = read_length(position, markers, buf) else {
        return Ok(Deframed::Need(
            length_offset(position, markers) + LENGTH_LEN,
        ));
    };
    let layout = FpduLayout::new(position, ulpdu_len, markers).ok_or(FpduError::TooLong)?;
    let Some(wire) = buf.get(..layout.wire_len()) else {
        return Ok(Deframed::Need(layout.wire_len()));
    };
    // Coverage begins with a leading marker and ends at the CRC, which the residue takes in (F24).
    if crc && crc::crc32c(wire) != crc::RESIDUE {
        return Err(FpduError::Crc);
    }
    check_markers(&layout, wire)?;
    Ok(Deframed::Fpdu(Fpdu { layout }))
}

fn read_length(position: u64, markers: bool, buf: &[u8]) -> Option<u16> {
    let field = buf
        .get(length_offset(position, markers)..)?
        .first_chunk::<LENGTH_LEN>()?;
    Some(u16::from_be_bytes(*field))
}

fn length_offset(position: u64, markers: bool) -> usize {
    if markers && position.is_multiple_of(MARKER_PERIOD as u64) {
        MARKER_LEN
    } else {
        0
    }
}

/// Every marker points back at ULPDU_Length; a leading one holds 0 (F15, F35). Its reserved half is
/// ignored (F11).
fn check_markers(layout: &FpduLayout, wire: &[u8]) -> Result<(), FpduError> {
    for offset in layout.marker_offsets() {
        let due = offset.saturating_sub(layout.length_offset());
        let marker = wire
            .get(offset..)
            .and_then(<[u8]>::first_chunk::<MARKER_LEN>);
        let points_home = marker.is_some_and(|&[_, _, high, low]| {
            usize::from(u16::from_be_bytes([high, low]) & FPDUPTR_MASK) == due
        });
        if !points_home {
            return Err(FpduError::Marker);
        }
    }
    Ok(())
}

/// A whole, verified FPDU at the start of the buffer given to [`Deframer::next`].
///
/// It borrows nothing. The methods that take the buffer again want it as it was then; given a shorter
/// one they do as if the ULPDU ended with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fpdu {
    layout: FpduLayout,
}

impl Fpdu {
    /// Octets of the ULPDU: 0..=64768 with markers, 0..=65535 without. (No sender may send 0; DDP refuses it,
    /// being shorter than any header. Nor may it send more than 64768; we take what has room, G2.)
    #[must_use]
    pub const fn ulpdu_len(&self) -> usize {
        self.layout.ulpdu_len()
    }

    /// Octets of the FPDU in the buffer.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        self.layout.wire_len()
    }

    /// Where everything is.
    #[must_use]
    pub const fn layout(&self) -> FpduLayout {
        self.layout
    }

    /// Where in the buffer the octets `range` of the ULPDU are; see [`FpduLayout::ulpdu_spans`].
    #[must_use]
    pub fn spans(&self, range: Range<usize>) -> Spans {
        self.layout.ulpdu_spans(range)
    }

    /// The octets `range` of the ULPDU, as slices of `buf`: one without markers.
    #[must_use]
    pub fn octets<'a>(&self, buf: &'a [u8], range: Range<usize>) -> Octets<'a> {
        Octets {
            buf,
            spans: self.spans(range),
        }
    }

    /// Copies the octets `range` of the ULPDU to the start of `out`, and returns how many there were.
    ///
    /// That is fewer than `range` asks for only if `range` reaches beyond the ULPDU or `out` is too short.
    pub fn copy_ulpdu(&self, buf: &[u8], range: Range<usize>, out: &mut [u8]) -> usize {
        let mut copied = 0;
        for octets in self.octets(buf, range) {
            let room = &mut out[copied..];
            let len = octets.len().min(room.len());
            room[..len].copy_from_slice(&octets[..len]);
            copied += len;
        }
        copied
    }
}

/// Part of a ULPDU as slices of the receive buffer; made by [`Fpdu::octets`].
#[derive(Clone, Debug)]
pub struct Octets<'a> {
    buf: &'a [u8],
    spans: Spans,
}

impl<'a> Iterator for Octets<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.buf.get(self.spans.next()?)
    }
}

impl FusedIterator for Octets<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use hex::decode;

    /// RFC 5044 Figure 5: markers, CRC, 42 octets of ULPDU.
    fn figure_5() -> Vec<u8> {
        let mut wire = decode("00000000002a41430000000000000000000000010000000000").unwrap();
        wire.resize(48, 0);
        wire.extend([0x52, 0x23, 0x99, 0x83]);
        wire
    }

    fn whole(deframer: &mut Deframer, buf: &[u8]) -> Fpdu {
        match deframer.next(buf) {
            Ok(Deframed::Fpdu(fpdu)) => fpdu,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_asks_for_the_length_and_then_for_the_rest() {
        let wire = figure_5();
        let mut deframer = Deframer::new(true, true);
        for len in 0..wire.len() {
            let need = if len < 6 { 6 } else { 52 };
            assert_eq!(
                deframer.next(&wire[..len]),
                Ok(Deframed::Need(need)),
                "{len}"
            );
            assert_eq!(deframer.peek(&wire[..len]).is_some(), len >= 6);
        }
        let fpdu = whole(&mut deframer, &wire);
        assert_eq!((fpdu.ulpdu_len(), fpdu.wire_len()), (42, 52));
        assert_eq!(deframer.position(), 0);
        deframer.consume(&fpdu);
        assert_eq!(deframer.position(), 52);
    }

    #[test]
    fn after_an_error_it_says_nothing_else() {
        let mut wrong = figure_5();
        wrong[20] ^= 1;
        let mut deframer = Deframer::new(true, true);
        assert_eq!(deframer.next(&wrong), Err(FpduError::Crc));
        assert_eq!(deframer.next(&figure_5()), Err(FpduError::Crc));
        assert_eq!(deframer.peek(&figure_5()), None);
        assert_eq!(deframer.eof(0), Err(FpduError::Crc));
    }

    #[test]
    fn without_crc_the_field_is_not_looked_at() {
        let mut wire = figure_5();
        wire[50] ^= 0xff;
        wire[30] ^= 0xff;
        whole(&mut Deframer::new(true, false), &wire);
    }

    #[test]
    fn padding_may_hold_anything() {
        let wire = decode("0001aa5500000000").unwrap();
        let fpdu = whole(&mut Deframer::new(false, false), &wire);
        assert_eq!(fpdu.octets(&wire, 0..9).collect::<Vec<_>>(), [[0xaa]]);
    }

    #[test]
    fn an_empty_ulpdu_is_passed_on() {
        let fpdu = whole(&mut Deframer::new(false, false), &[0; 8]);
        assert_eq!((fpdu.ulpdu_len(), fpdu.wire_len()), (0, 8));
    }

    /// The first octets of a stream whose first ULPDU has this length.
    fn beginning(markers: bool, len: u16) -> Vec<u8> {
        let mut octets = vec![0; if markers { MARKER_LEN } else { 0 }];
        octets.extend(len.to_be_bytes());
        octets
    }

    #[test]
    fn with_markers_an_oversized_ulpdu_is_refused_at_its_length() {
        for (len, result) in [
            (64_768, Ok(Deframed::Need(65_288))),
            (64_769, Err(FpduError::TooLong)),
            (65_535, Err(FpduError::TooLong)),
        ] {
            let mut deframer = Deframer::new(true, true);
            let octets = beginning(true, len);
            assert_eq!(deframer.next(&octets), result, "{len}");
            assert_eq!(deframer.peek(&octets).is_some(), result.is_ok());
            assert_eq!(deframer.announced_len(&octets), Some(len));
        }
    }

    #[test]
    fn without_markers_every_length_is_taken() {
        for (len, need) in [
            (64_768, 64_776),
            (64_769, 64_776),
            (64_771, 64_780),
            (65_480, 65_488),
            (65_535, 65_544),
        ] {
            let mut deframer = Deframer::new(false, true);
            let mut wire = beginning(false, len);
            assert_eq!(deframer.next(&wire), Ok(Deframed::Need(need)), "{len}");
            let octet = |at: usize| (at % 251) as u8;
            wire.extend((0..len.into()).map(octet));
            wire.resize(need - crc::CRC_LEN, 0);
            wire.extend(crc::to_wire(crc::crc32c(&wire)));
            assert_eq!(
                deframer.next(&wire[..need - 1]),
                Ok(Deframed::Need(need)),
                "{len}"
            );
            let fpdu = whole(&mut deframer, &wire);
            assert_eq!((fpdu.ulpdu_len(), fpdu.wire_len()), (len.into(), need));
            let mut ulpdu = vec![0xff; len.into()];
            assert_eq!(
                fpdu.copy_ulpdu(&wire, 0..usize::MAX, &mut ulpdu),
                len.into()
            );
            assert!(ulpdu.into_iter().eq((0..len.into()).map(octet)), "{len}");
            deframer.consume(&fpdu);
            assert_eq!(deframer.position(), need as u64);
            let last = need - crc::CRC_LEN - 4;
            wire[last] ^= 1;
            let mut deframer = Deframer::new(false, true);
            assert_eq!(deframer.next(&wire), Err(FpduError::Crc), "{len}");
        }
    }

    #[test]
    fn a_leading_marker_must_hold_zero() {
        for (marker, good) in [
            ("00000000", true),
            ("ffff0000", true), // reserved octets are ignored
            ("00000003", true), // and so are the low bits of the pointer
            ("00000004", false),
            ("00000100", false),
        ] {
            let wire = decode(format!("{marker}0001aa0000000000")).unwrap();
            let result = Deframer::new(true, false).next(&wire);
            assert_eq!(result.is_ok(), good, "{marker}");
            assert!(good || result == Err(FpduError::Marker), "{marker}");
        }
    }

    #[test]
    fn the_end_of_the_stream_belongs_between_fpdus() {
        let deframer = Deframer::new(false, true);
        assert_eq!(deframer.eof(0), Ok(()));
        assert_eq!(deframer.eof(1), Err(FpduError::Truncated));
    }

    #[test]
    fn a_driver_may_take_an_fpdu_itself() {
        let mut deframer = Deframer::new(false, false);
        let Some(layout) = deframer.peek(&[0x10, 0x00]) else {
            panic!("the length is there")
        };
        assert!(layout.ulpdu_spans(14..4096).eq(Some(16..4098)));
        deframer.skip(&layout);
        assert_eq!(deframer.position(), 4104);
    }

    #[test]
    fn copying_stops_at_the_shortest_of_all() {
        let wire = figure_5();
        let fpdu = whole(&mut Deframer::new(true, true), &wire);
        let mut out = [0xff; 50];
        assert_eq!(fpdu.copy_ulpdu(&wire, 0..100, &mut out), 42);
        assert_eq!(fpdu.copy_ulpdu(&wire, 0..2, &mut out[..1]), 1);
        assert_eq!(out[..2], [0x41, 0x43]);
        assert_eq!(fpdu.copy_ulpdu(&wire, 42..43, &mut out), 0);
        assert_eq!(fpdu.copy_ulpdu(&wire[..10], 0..42, &mut out), 0);
    }
}

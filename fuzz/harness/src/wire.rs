//! FPDUs made and read one octet at a time, as the text of RFC 5044 s4 tells it.
//!
//! Slow, and without the formulas of `uwarp-mpa`, so that the two can be held against each other.

use uwarp_mpa::{FpduError, MULPDU_MAX, crc};

/// Octets of the CRC field.
pub const CRC_LEN: usize = crc::CRC_LEN;

/// The FPDU of `ulpdu`, to be sent `position` octets after the start of full operation.
///
/// # Panics
/// When `ulpdu` has more than 65,535 octets.
#[must_use]
pub fn frame(position: u64, ulpdu: &[u8], markers: bool, crc: bool) -> Vec<u8> {
    let len = u16::try_from(ulpdu.len()).expect("ULPDU_Length has 16 bits");
    let mut content = len.to_be_bytes().to_vec();
    content.extend_from_slice(ulpdu);
    content.resize(content.len().next_multiple_of(4), 0);
    let mut wire = Vec::with_capacity(content.len() + content.len() / 100 + 8);
    let mut length_at = None;
    let marker_if_due = |wire: &mut Vec<u8>, length_at: Option<usize>| {
        if markers && (position + wire.len() as u64).is_multiple_of(512) {
            let back = length_at.map_or(0, |at| wire.len() - at) as u32;
            wire.extend_from_slice(&back.to_be_bytes());
        }
    };
    for octet in content {
        marker_if_due(&mut wire, length_at);
        length_at.get_or_insert(wire.len());
        wire.push(octet);
    }
    marker_if_due(&mut wire, length_at);
    wire.extend_from_slice(&[0; CRC_LEN]);
    if crc {
        fix_crc(&mut wire);
    }
    wire
}

/// Makes the last four octets the CRC of those before them.
pub fn fix_crc(wire: &mut [u8]) {
    if let Some((covered, field)) = wire.split_last_chunk_mut::<CRC_LEN>() {
        *field = crc::to_wire(crc::crc32c(covered));
    }
}

/// The ULPDUs that a stream begins with, and the error that ends them, if any does.
#[must_use]
pub fn ulpdus(wire: &[u8], markers: bool, crc: bool) -> (Vec<Vec<u8>>, Option<FpduError>) {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        match Reading::new(wire, at, markers).fpdu(crc) {
            Ok(Some((ulpdu, end))) => {
                found.push(ulpdu);
                at = end;
            }
            Ok(None) => return (found, None),
            Err(error) => return (found, Some(error)),
        }
    }
}

/// The ULPDU of the FPDU at `at`, and where the FPDU ends; `None` if it is not whole or not valid.
#[must_use]
pub fn ulpdu_at(wire: &[u8], at: usize, markers: bool, crc: bool) -> Option<(Vec<u8>, usize)> {
    Reading::new(wire, at, markers).fpdu(crc).ok().flatten()
}

/// One FPDU being read.
struct Reading<'a> {
    wire: &'a [u8],
    start: usize,
    at: usize,
    markers: bool,
    /// Where each marker stands, and its FPDUPTR.
    seen: Vec<(usize, u16)>,
}

impl<'a> Reading<'a> {
    const fn new(wire: &'a [u8], start: usize, markers: bool) -> Self {
        Self {
            wire,
            start,
            at: start,
            markers,
            seen: Vec::new(),
        }
    }

    /// The ULPDU and the end of its FPDU; `None` if it is not whole.
    fn fpdu(mut self, crc: bool) -> Result<Option<(Vec<u8>, usize)>, FpduError> {
        let Some(high) = self.octet() else {
            return Ok(None);
        };
        let length_at = self.at - 1;
        let Some(low) = self.octet() else {
            return Ok(None);
        };
        let len = u16::from_be_bytes([high, low]);
        if self.markers && len > MULPDU_MAX {
            return Err(FpduError::TooLong);
        }
        let padded = (2 + usize::from(len)).next_multiple_of(4) - 2;
        let content: Option<Vec<u8>> = (0..padded + CRC_LEN).map(|_| self.octet()).collect();
        let Some(mut content) = content else {
            return Ok(None);
        };
        let field = self.at - CRC_LEN;
        if crc
            && self.wire[field..self.at] != crc::to_wire(crc::crc32c(&self.wire[self.start..field]))
        {
            return Err(FpduError::Crc);
        }
        let points_home =
            |&(at, ptr): &(usize, u16)| usize::from(ptr & !3) == at.saturating_sub(length_at);
        if !self.seen.iter().all(points_home) {
            return Err(FpduError::Marker);
        }
        content.truncate(len.into());
        Ok(Some((content, self.at)))
    }

    /// The next octet that is not of a marker.
    fn octet(&mut self) -> Option<u8> {
        if self.markers && self.at.is_multiple_of(512) {
            let &[_, _, high, low] = self.wire.get(self.at..)?.first_chunk()?;
            self.seen.push((self.at, u16::from_be_bytes([high, low])));
            self.at += 4;
        }
        let octet = *self.wire.get(self.at)?;
        self.at += 1;
        Some(octet)
    }
}

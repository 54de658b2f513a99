//! Guessing where FPDUs begin, in a capture that does not have the beginning of a connection.
//!
//! A CRC that is right for a plausible header is as good as certain. Without CRC, headers that lead
//! to one another are taken as a sign. Streams with markers are not guessed.

use uwarp_ddp::TAGGED_LEN;
use uwarp_mpa::{FpduLayout, crc};

use crate::segment;

/// FPDUs in a row that make a guess, when there is no CRC to go by.
const CHAIN: usize = 3;

/// What a direction seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    pub(crate) crc: bool,
}

/// Looks for the first FPDU in `octets`.
pub(crate) fn find(octets: &[u8]) -> Option<(usize, Guess)> {
    (0..octets.len()).find_map(|start| {
        let wire = fpdu(&octets[start..])?;
        if crc::crc32c(wire) == crc::RESIDUE {
            return Some((start, Guess { crc: true }));
        }
        leads_on(&octets[start..]).then_some((start, Guess { crc: false }))
    })
}

/// The octets of a whole FPDU that could begin here.
fn fpdu(octets: &[u8]) -> Option<&[u8]> {
    let len = u16::from_be_bytes(*octets.first_chunk()?);
    if usize::from(len) < TAGGED_LEN || !segment::plausible(octets.get(2..)?) {
        return None;
    }
    octets.get(..FpduLayout::new(0, len, false)?.wire_len())
}

fn leads_on(octets: &[u8]) -> bool {
    let mut at = 0;
    (0..CHAIN).all(|_| {
        let Some(wire) = octets.get(at..).and_then(fpdu) else {
            return false;
        };
        at += wire.len();
        true
    })
}

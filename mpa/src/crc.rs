//! The CRC-32C that closes every FPDU (RFC 5044 s4.4, F24).
//!
//! It is the digest of iSCSI: generator 0x11EDC6F41, bits taken least significant first, all ones
//! to begin with, complemented at the end. The one surprise is its place on the wire: everything else in
//! MPA is big endian, the CRC is sent least significant octet first (trap T1). [`to_wire`] is
//! therefore the only way this crate turns a CRC into octets.

use crc_fast::{CrcAlgorithm, Digest};

/// What [`crc32c()`] gives over octets that are followed by their own CRC field.
///
/// A receiver can run over an FPDU once, CRC field included, and compare with this constant.
pub const RESIDUE: u32 = 0x4867_4BC7;

/// Octets of the CRC field.
pub const CRC_LEN: usize = 4;

/// The CRC-32C of `octets`.
///
/// ```
/// use uwarp_mpa::crc;
/// assert_eq!(crc::to_wire(crc::crc32c(&[0; 32])), [0xaa, 0x36, 0x91, 0x8a]);
/// ```
#[inline]
#[must_use]
pub fn crc32c(octets: &[u8]) -> u32 {
    append(0, octets)
}

/// The CRC-32C of everything `crc` was computed over, followed by `octets`.
///
/// `crc` is a finished value as [`crc32c()`] returns it; 0 stands for "nothing yet".
///
/// ```
/// use uwarp_mpa::crc;
/// assert_eq!(crc::append(crc::crc32c(b"mar"), b"ker"), crc::crc32c(b"marker"));
/// ```
#[inline]
#[must_use]
pub fn append(crc: u32, octets: &[u8]) -> u32 {
    let state = u64::from(!crc);
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state);
    digest.update(octets);
    digest.finalize() as u32
}

/// The CRC field as it is sent: least significant octet first (RFC 5044 s4.4, Figure 5).
#[inline]
#[must_use]
pub const fn to_wire(crc: u32) -> [u8; CRC_LEN] {
    crc.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_order_is_that_of_figure_5() {
        assert_eq!(to_wire(0x8399_2352), [0x52, 0x23, 0x99, 0x83]);
    }

    #[test]
    fn octets_and_their_crc_leave_the_residue() {
        for len in 0..70_u8 {
            let mut octets: Vec<u8> = (0..len).collect();
            octets.extend(to_wire(crc32c(&octets)));
            assert_eq!(crc32c(&octets), RESIDUE, "{len} octets");
        }
    }

    #[test]
    fn appending_equals_one_pass() {
        let octets: Vec<u8> = (0..=255).collect();
        for cut in 0..octets.len() {
            let (head, tail) = octets.split_at(cut);
            assert_eq!(append(append(0, head), tail), crc32c(&octets));
        }
    }
    #[test]
    fn another_implementation_agrees_at_every_length() {
        let octets: Vec<u8> = (0..3000_u32).map(|i| (i * 7 + i / 256) as u8).collect();
        for len in (0..600).chain((600..=3000).step_by(61)) {
            let part = &octets[3000 - len..];
            let expected = ::crc32c::crc32c_append(0x1234_5678, part);
            assert_eq!(append(0x1234_5678, part), expected, "{len} octets");
        }
    }
}

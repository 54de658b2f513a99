//! How large a ULPDU should be, so that its FPDU fills one TCP segment (RFC 5044 s3, s4.5).
//!
//! This is for the sender only. A receiver takes every ULPDU up to
//! [`max_ulpdu_len`](crate::max_ulpdu_len), however TCP cut the stream (F30).

/// The smallest MULPDU there is, whatever the path (RFC 5044 s3, F02, F27). Octets.
pub const MULPDU_MIN: u16 = 128;

/// The largest MULPDU, and the largest ULPDU that may be sent at all (RFC 5044 s3, F02, F04). Octets.
pub const MULPDU_MAX: u16 = 64768;

/// The Maximum ULPDU for an effective maximum segment size of `emss` octets
/// (RFC 5044 s4.5, F26).
///
/// `markers` tells whether the peer asked for markers, that is, whether we send them. The result is
/// within [`MULPDU_MIN`]`..=`[`MULPDU_MAX`] for any `emss`; only where the lower limit was applied
/// may an FPDU of that size be larger than a segment. Compute it anew when the EMSS changes.
///
/// ```
/// use uwarp_mpa::mulpdu;
/// assert_eq!(mulpdu(1460, false), 1454);
/// assert_eq!(mulpdu(1460, true), 1442);
/// assert_eq!(mulpdu(65483, false), 64768); // loopback
/// ```
#[must_use]
pub fn mulpdu(emss: u32, markers: bool) -> u16 {
    let marker_octets = if markers { 4 * emss.div_ceil(512) } else { 0 };
    let overhead = 6 + marker_octets + emss % 4;
    let fitting = emss
        .saturating_sub(overhead)
        .clamp(MULPDU_MIN.into(), MULPDU_MAX.into());
    u16::try_from(fitting).unwrap_or(MULPDU_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::FpduLayout;

    #[test]
    fn extremes_are_clamped() {
        for markers in [false, true] {
            for emss in [0, 1, 5, 127, 128] {
                assert_eq!(mulpdu(emss, markers), MULPDU_MIN, "{emss}");
            }
            for emss in [65_535, 1 << 20, u32::MAX] {
                assert_eq!(mulpdu(emss, markers), MULPDU_MAX, "{emss}");
            }
        }
    }

    #[test]
    fn an_fpdu_of_mulpdu_octets_never_exceeds_the_segment() {
        for emss in (144..1200).chain(64_900..65_300) {
            for markers in [false, true] {
                let ulpdu = mulpdu(emss, markers);
                for start in (0..512).step_by(4) {
                    let Some(layout) = FpduLayout::new(start, ulpdu, markers) else {
                        panic!("{ulpdu} is a legal length");
                    };
                    assert!(
                        layout.wire_len() <= emss as usize,
                        "{emss} {markers} {start}"
                    );
                    if !markers {
                        break;
                    }
                }
            }
        }
    }
}

//! Seeds that are a stream of FPDUs.

use crate::Seed;

const MARKERS: u8 = 1;
const CRC: u8 = 2;

/// A stream whose octets arrive `step` at a time.
struct Stream(Vec<u8>);

impl Stream {
    fn new(bits: u8, step: u16) -> Self {
        let [high, low] = (step - 1).to_be_bytes();
        Self(vec![bits, high, low])
    }

    /// Octets outside of any FPDU.
    fn octets(mut self, octets: &[u8]) -> Self {
        self.0.extend([0, octets.len() as u8]);
        self.0.extend(octets);
        self
    }

    /// A short FPDU.
    fn fpdu(mut self, ulpdu: &[u8]) -> Self {
        self.0.extend([1, ulpdu.len() as u8]);
        self.0.extend(ulpdu);
        self
    }

    /// An FPDU whose ULPDU has `len` octets.
    fn long(mut self, len: u16) -> Self {
        self.0.push(2);
        self.0.extend(len.to_be_bytes());
        self.0.push(0x5a);
        self
    }

    /// An FPDU with a wrong octet and a CRC that tells.
    fn broken(mut self, at: u16) -> Self {
        self.0.extend([3, 3, b'a', b'b', b'c']);
        self.0.extend(at.to_be_bytes());
        self.0.push(1);
        self
    }

    /// An FPDU with a wrong octet and a CRC that was made for it.
    fn forged(mut self, len: u16, at: u16, flip: u8) -> Self {
        self.0.push(4);
        self.0.extend(len.to_be_bytes());
        self.0.extend(at.to_be_bytes());
        self.0.push(flip);
        self
    }

    /// Octets with their CRC behind them.
    fn summed(mut self, octets: &[u8]) -> Self {
        self.0.extend([5, octets.len() as u8]);
        self.0.extend(octets);
        self
    }
}

/// Inputs of the target `deframer`.
pub(crate) fn deframer() -> Vec<Seed> {
    let both = MARKERS | CRC;
    vec![
        ("figure_5", Stream::new(both, 5).fpdu(&[0; 42])),
        ("figure_6", Stream::new(both, 1000).long(480).fpdu(&[0; 42])),
        (
            "marker_between",
            Stream::new(both, 7).long(502).fpdu(&[0; 42]),
        ),
        (
            "marker_before_crc",
            Stream::new(both, 512).long(506).fpdu(&[1; 18]),
        ),
        (
            "largest",
            Stream::new(both, 5000).long(64_768).fpdu(&[1; 14]),
        ),
        (
            "largest_plain",
            Stream::new(0, 4999).long(64_768).long(64_767),
        ),
        (
            "larger_plain",
            Stream::new(CRC, 4998).long(65_535).long(64_769).fpdu(&[1]),
        ),
        (
            "pad_sweep",
            Stream::new(CRC, 3)
                .fpdu(&[1; 18])
                .fpdu(&[2; 19])
                .fpdu(&[3; 20])
                .fpdu(&[4; 21]),
        ),
        (
            "too_long",
            Stream::new(both, 100)
                .fpdu(&[0; 20])
                .octets(&[0xfd, 1, 0, 0]),
        ),
        ("empty_ulpdu", Stream::new(CRC, 4).summed(&[0, 0, 0, 0])),
        (
            "zero_crc",
            Stream::new(CRC, 9).octets(&[0, 1, 7, 0, 0, 0, 0, 0]),
        ),
        (
            "no_crc",
            Stream::new(0, 9).octets(&[0, 1, 7, 0, 1, 2, 3, 4]),
        ),
        ("wrong_crc", Stream::new(both, 64).fpdu(&[9; 30]).broken(3)),
        (
            "wrong_crc_field",
            Stream::new(CRC, 64).fpdu(&[9; 30]).broken(9),
        ),
        (
            "wrong_octet_without_crc",
            Stream::new(0, 64).broken(4).fpdu(&[9; 30]),
        ),
        (
            "wrong_leading_marker",
            Stream::new(both, 64).forged(30, 3, 0xff),
        ),
        (
            "wrong_inner_marker",
            Stream::new(both, 600).forged(700, 515, 0x10),
        ),
        (
            "reserved_marker_bits",
            Stream::new(both, 600).forged(700, 512, 0xff),
        ),
        (
            "low_marker_bits",
            Stream::new(both, 600).forged(700, 515, 0x03),
        ),
        ("forged_length", Stream::new(CRC, 64).forged(40, 1, 0x04)),
        ("noise", Stream::new(both, 2).octets(&[0xff; 60])),
        (
            "cut_off",
            Stream::new(CRC, 11)
                .fpdu(&[9; 30])
                .octets(&[0, 40, 1, 2, 3]),
        ),
        (
            "octet_by_octet",
            Stream::new(both, 1).fpdu(b"a").fpdu(b"bc").long(1000),
        ),
    ]
    .into_iter()
    .map(|(name, Stream(octets))| (name, octets))
    .collect()
}

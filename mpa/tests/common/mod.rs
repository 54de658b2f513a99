//! What the integration tests share: a sink that gathers, and a model of FPDUs that knows nothing of formulas.
#![allow(dead_code, reason = "every test file uses its part of this")]

use std::ops::Range;
use uwarp_mpa::{Deframed, Deframer, FpduError, FpduSink, Framer, crc};

/// A sink whose payload is in `memory` and whose wire is a `Vec`.
pub(crate) struct Gather<'a> {
    pub(crate) memory: &'a [u8],
    pub(crate) wire: Vec<u8>,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(memory: &'a [u8]) -> Self {
        Self {
            memory,
            wire: Vec::new(),
        }
    }

    fn at(&self, range: Range<u32>) -> &'a [u8] {
        assert!(!range.is_empty(), "a sink is never given an empty range");
        &self.memory[range.start as usize..range.end as usize]
    }
}

impl FpduSink for Gather<'_> {
    fn octets(&mut self, octets: &[u8]) {
        assert!(!octets.is_empty(), "a sink is never given nothing");
        self.wire.extend_from_slice(octets);
    }
    fn payload(&mut self, range: Range<u32>) {
        let octets = self.at(range);
        self.wire.extend_from_slice(octets);
    }
    fn payload_crc(&mut self, crc: u32, range: Range<u32>) -> u32 {
        crc::append(crc, self.at(range))
    }
}

/// The wire of one ULPDU whose first `header` octets are header.
pub(crate) fn frame(framer: &mut Framer, ulpdu: &[u8], header: usize) -> Vec<u8> {
    let mut sink = Gather::new(ulpdu);
    let payload = header as u32..ulpdu.len() as u32;
    let before = framer.position();
    let len = framer.frame(&ulpdu[..header], payload, &mut sink).unwrap();
    assert_eq!(len, sink.wire.len());
    assert_eq!(framer.position(), before + len as u64);
    sink.wire
}

/// Everything a deframer makes of `wire`, given in parts that end at `cuts`.
pub(crate) fn deframe(
    deframer: &mut Deframer,
    wire: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<Vec<Vec<u8>>, FpduError> {
    let mut ulpdus = Vec::new();
    let mut consumed = 0;
    for end in cuts.into_iter().chain([wire.len()]) {
        loop {
            let buf = &wire[consumed..end.max(consumed)];
            match deframer.next(buf)? {
                Deframed::Need(need) => {
                    assert!(need > buf.len(), "it asked for what it had");
                    break;
                }
                Deframed::Fpdu(fpdu) => {
                    let mut ulpdu = vec![0; fpdu.ulpdu_len()];
                    assert_eq!(fpdu.copy_ulpdu(buf, 0..usize::MAX, &mut ulpdu), ulpdu.len());
                    assert_eq!(
                        fpdu.octets(buf, 0..ulpdu.len())
                            .collect::<Vec<_>>()
                            .concat(),
                        ulpdu
                    );
                    ulpdus.push(ulpdu);
                    deframer.consume(&fpdu);
                    consumed += fpdu.wire_len();
                }
            }
        }
    }
    deframer.eof(wire.len() - consumed)?;
    Ok(ulpdus)
}

/// A sender that follows the text of RFC 5044 s4 one octet at a time: no spans, no formulas, and a CRC
/// of its own, bit by bit.
pub(crate) struct NaiveSender {
    pub(crate) sent: Vec<u8>,
    markers: bool,
    crc: bool,
}

impl NaiveSender {
    pub(crate) fn new(markers: bool, crc: bool) -> Self {
        Self {
            sent: Vec::new(),
            markers,
            crc,
        }
    }

    pub(crate) fn send(&mut self, ulpdu: &[u8]) {
        let covered_from = self.sent.len();
        let mut content = (ulpdu.len() as u16).to_be_bytes().to_vec();
        content.extend(ulpdu);
        while !content.len().is_multiple_of(4) {
            content.push(0);
        }
        let mut length_at = None;
        for octet in content {
            self.marker_if_due(length_at);
            length_at.get_or_insert(self.sent.len());
            self.sent.push(octet);
        }
        self.marker_if_due(length_at);
        let crc = if self.crc {
            bitwise_crc(&self.sent[covered_from..])
        } else {
            0
        };
        self.sent.extend(crc.to_le_bytes());
    }

    fn marker_if_due(&mut self, length_at: Option<usize>) {
        if self.markers && self.sent.len().is_multiple_of(512) {
            let distance = length_at.map_or(0, |at| self.sent.len() - at) as u16;
            self.sent.extend([0, 0]);
            self.sent.extend(distance.to_be_bytes());
        }
    }
}

/// The register of the iSCSI digest, shifted one bit at a time, least significant bit of an octet first.
pub(crate) fn bitwise_crc(octets: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for octet in octets {
        register ^= u32::from(*octet);
        for _ in 0..8 {
            register = (register >> 1) ^ if register & 1 == 1 { 0x82F6_3B78 } else { 0 };
        }
    }
    !register
}

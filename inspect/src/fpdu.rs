//! One FPDU as it comes out of the receiver: what is looked at while its octets are there.

use uwarp_ddp::UNTAGGED_LEN;
use uwarp_mpa::{Arrivals, Fpdu, Piece, crc};

use crate::control::CONTROL_MAX;
use crate::record::CrcState;

/// Octets of a ULPDU that are kept: a DDP header and a control message.
const HEAD_MAX: usize = UNTAGGED_LEN + CONTROL_MAX;

/// An FPDU that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) position: u64,
    pub(crate) ulpdu_len: u16,
    pub(crate) wire_len: u32,
    pub(crate) markers: u32,
    pub(crate) pad: u8,
    pub(crate) crc: CrcState,
    /// It was known before everything in front of it had come.
    pub(crate) early: bool,
    /// Its padding holds something.
    pub(crate) bad_pad: bool,
    /// The reserved half of a marker holds something.
    pub(crate) bad_marker: bool,
    /// One of the low two bits of a marker's pointer is set.
    pub(crate) odd_pointer: bool,
    pub(crate) head: Vec<u8>,
    /// CRC-32C of what is behind the DDP header.
    pub(crate) payload_crc: u32,
}

/// Gathers what a [`SegmentReceiver`](uwarp_mpa::SegmentReceiver) finds.
pub(crate) struct Collector<'a> {
    /// Position of the receiver's first octet.
    pub(crate) base: u64,
    pub(crate) crc: bool,
    /// FPDUs that have arrived and are not delivered.
    pub(crate) waiting: &'a mut std::collections::BTreeMap<u64, Arrival>,
    /// FPDUs in the order of the stream.
    pub(crate) delivered: Vec<Arrival>,
    /// The last one that has arrived in this call.
    pub(crate) last: Option<u64>,
}

impl Arrivals for Collector<'_> {
    fn arrived(&mut self, position: u64, fpdu: &Fpdu, wire: &[u8]) {
        self.last = Some(position);
        self.waiting.insert(
            position,
            look(self.base.wrapping_add(position), fpdu, wire, self.crc),
        );
    }

    fn deliver(&mut self, position: u64) {
        if let Some(mut arrival) = self.waiting.remove(&position) {
            // What is in order is delivered right when it arrives.
            arrival.early = self.last != Some(position);
            self.delivered.push(arrival);
        }
    }
}

fn look(position: u64, fpdu: &Fpdu, wire: &[u8], crc_in_use: bool) -> Arrival {
    let layout = fpdu.layout();
    let mut arrival = Arrival {
        position,
        ulpdu_len: fpdu.ulpdu_len() as u16,
        wire_len: fpdu.wire_len() as u32,
        markers: 0,
        pad: layout.pad() as u8,
        crc: CrcState::Checked,
        early: false,
        bad_pad: false,
        bad_marker: false,
        odd_pointer: false,
        head: vec![0; fpdu.ulpdu_len().min(HEAD_MAX)],
        payload_crc: 0,
    };
    let mut at = 0;
    for piece in layout.pieces() {
        let octets = |len| wire.get(at..at + len).unwrap_or_default();
        at += match piece {
            Piece::Length => 2,
            Piece::Ulpdu(range) => range.len(),
            Piece::Marker { .. } => {
                arrival.markers += 1;
                if let Some(&[high, low, _, pointer]) = octets(4).first_chunk::<4>() {
                    arrival.bad_marker |= high != 0 || low != 0;
                    arrival.odd_pointer |= pointer & 3 != 0;
                }
                4
            }
            Piece::Pad(len) => {
                arrival.bad_pad = octets(len).iter().any(|&octet| octet != 0);
                len
            }
            Piece::Crc => {
                arrival.crc = crc_state(crc_in_use, octets(4));
                4
            }
        };
    }
    let kept = arrival.head.len();
    fpdu.copy_ulpdu(wire, 0..kept, &mut arrival.head);
    if let Some(header) = uwarp_ddp::Header::octets(&arrival.head) {
        let payload = header.len()..fpdu.ulpdu_len();
        arrival.payload_crc = fpdu.octets(wire, payload).fold(0, crc::append);
    }
    arrival
}

fn crc_state(in_use: bool, field: &[u8]) -> CrcState {
    match field.iter().all(|&octet| octet == 0) {
        _ if in_use => CrcState::Checked,
        true => CrcState::Absent,
        false => CrcState::Unused,
    }
}

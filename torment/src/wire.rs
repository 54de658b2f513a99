//! What the broken peer sends: proper segments and frames, and ways to spoil them.

use uwarp_ddp::{Header, Stag, Tagged, UNTAGGED_LEN, Untagged};
use uwarp_mpa::{FpduLayout, Piece, crc};
use uwarp_rdmap::header::{Control, QN_READ_REQUEST, ReadRequest};
use uwarp_rdmap::{Opcode, atomic::AtomicRequest};

/// The STag that our own Reads name as their sink; nothing is registered here.
pub(crate) const OUR_STAG: u32 = 0x0c0f_fee0;
/// The tagged offset that our own Reads name as their sink.
pub(crate) const OUR_TO: u64 = 0x7000_0000_0000_0100;

/// A ULPDU of a tagged segment.
pub(crate) fn tagged(opcode: Opcode, last: bool, stag: u32, to: u64, payload: &[u8]) -> Vec<u8> {
    let header = Header::Tagged(Tagged {
        last,
        ulp: Control::new(opcode).0,
        stag: Stag(stag),
        to,
    });
    with_header(&header, payload)
}

/// The last (and mostly only) segment of an RDMA Write.
pub(crate) fn write(stag: u32, to: u64, payload: &[u8]) -> Vec<u8> {
    tagged(Opcode::WRITE, true, stag, to, payload)
}

/// Where an untagged segment belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) qn: u32,
    pub(crate) msn: u32,
    pub(crate) mo: u32,
    pub(crate) last: bool,
}

impl At {
    /// The only segment of message `msn` on queue `qn`.
    pub(crate) const fn whole(qn: u32, msn: u32) -> Self {
        Self {
            qn,
            msn,
            mo: 0,
            last: true,
        }
    }

    /// A segment of message `msn` on queue 0.
    pub(crate) const fn part(msn: u32, mo: u32, last: bool) -> Self {
        Self {
            qn: 0,
            msn,
            mo,
            last,
        }
    }
}

/// A ULPDU of an untagged segment; `word` is what a Send with Invalidate has its STag in.
pub(crate) fn untagged(opcode: Opcode, at: At, word: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header::Untagged(Untagged {
        last: at.last,
        ulp: Control::new(opcode).0,
        ulp_word: word,
        qn: at.qn,
        msn: at.msn,
        mo: at.mo,
    });
    with_header(&header, payload)
}

/// A Send in one segment.
pub(crate) fn send(msn: u32, payload: &[u8]) -> Vec<u8> {
    untagged(Opcode::SEND, At::whole(0, msn), 0, payload)
}

/// An RDMA Read Request for `size` octets.
pub(crate) fn read(msn: u32, stag: u32, to: u64, size: u32) -> Vec<u8> {
    let request = ReadRequest {
        sink_stag: Stag(OUR_STAG),
        sink_to: OUR_TO,
        size,
        source_stag: Stag(stag),
        source_to: to,
    };
    read_request(msn, &request)
}

/// An RDMA Read Request as given.
pub(crate) fn read_request(msn: u32, request: &ReadRequest) -> Vec<u8> {
    untagged(
        Opcode::READ_REQUEST,
        At::whole(QN_READ_REQUEST, msn),
        0,
        &request.encode(),
    )
}

/// An Atomic Request.
pub(crate) fn atomic(msn: u32, request: &AtomicRequest) -> Vec<u8> {
    untagged(
        Opcode::ATOMIC_REQUEST,
        At::whole(QN_READ_REQUEST, msn),
        0,
        &request.encode(),
    )
}

fn with_header(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut octets = [0; UNTAGGED_LEN];
    let len = header.encode(&mut octets);
    [&octets[..len], payload].concat()
}

/// The opcode of our own that has these four bits, defined or not.
pub(crate) fn opcode(bits: u8) -> Opcode {
    Control(bits & 0x0f).opcode()
}

/// One octet of `octets` changed.
pub(crate) fn altered(mut octets: Vec<u8>, at: usize, change: impl Fn(u8) -> u8) -> Vec<u8> {
    if let Some(octet) = octets.get_mut(at) {
        *octet = change(*octet);
    }
    octets
}

/// How an FPDU is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Not at all.
    Nothing,
    /// The CRC is XORed with this.
    CrcXor(u32),
    /// The CRC is sent most significant octet first.
    CrcSwapped,
    /// ULPDU_Length says this; the CRC is right for it.
    Length(u16),
    /// The pad octets are this; the CRC is right for them.
    Pad(u8),
    /// The pointers of the markers are XORed with this; the CRC is right for them.
    MarkerXor(u16),
    /// The reserved half of the markers is this; the CRC is right for it.
    MarkerReserved(u16),
}

/// The sending half: knows where in the stream it is, for the markers.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(crate) position: u64,
    pub(crate) markers: bool,
    pub(crate) crc: bool,
}

impl Encoder {
    /// The FPDU of `ulpdu`, spoiled.
    ///
    /// A ULPDU longer than markers can point over is framed without them.
    pub(crate) fn frame(&mut self, ulpdu: &[u8], spoil: Spoil) -> Vec<u8> {
        let len = u16::try_from(ulpdu.len()).unwrap_or(u16::MAX);
        let Some(layout) = FpduLayout::new(self.position, len, self.markers) else {
            return self.oversized(ulpdu, len);
        };
        let mut out = Vec::with_capacity(layout.wire_len());
        for piece in layout.pieces() {
            match piece {
                Piece::Marker { fpduptr } => out.extend(marker(fpduptr, spoil)),
                Piece::Length => out.extend(said_length(len, spoil).to_be_bytes()),
                Piece::Ulpdu(range) => out.extend(&ulpdu[range]),
                Piece::Pad(count) => {
                    let pad = if let Spoil::Pad(octet) = spoil {
                        octet
                    } else {
                        0
                    };
                    out.extend(std::iter::repeat_n(pad, count));
                }
                Piece::Crc => out.extend(self.crc_field(&out, spoil)),
            }
        }
        self.position = layout.end();
        out
    }

    fn oversized(&mut self, ulpdu: &[u8], len: u16) -> Vec<u8> {
        let mut out = [&len.to_be_bytes()[..], ulpdu].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        let field = self.crc_field(&out, Spoil::Nothing);
        out.extend(field);
        self.position += out.len() as u64;
        out
    }

    fn crc_field(&self, covered: &[u8], spoil: Spoil) -> [u8; crc::CRC_LEN] {
        if !self.crc && !matches!(spoil, Spoil::CrcXor(_)) {
            return [0; crc::CRC_LEN];
        }
        let crc = crc::crc32c(covered);
        match spoil {
            Spoil::CrcXor(change) => crc::to_wire(crc ^ change),
            Spoil::CrcSwapped => crc::to_wire(crc.swap_bytes()),
            _ => crc::to_wire(crc),
        }
    }
}

fn said_length(len: u16, spoil: Spoil) -> u16 {
    match spoil {
        Spoil::Length(said) => said,
        _ => len,
    }
}

fn marker(fpduptr: u16, spoil: Spoil) -> [u8; 4] {
    let (reserved, pointer) = match spoil {
        Spoil::MarkerXor(change) => (0, fpduptr ^ change),
        Spoil::MarkerReserved(reserved) => (reserved, fpduptr),
        _ => (0, fpduptr),
    };
    let [r0, r1] = u16::to_be_bytes(reserved);
    let [p0, p1] = u16::to_be_bytes(pointer);
    [r0, r1, p0, p1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwarp_mpa::{Deframed, Deframer, FpduError};

    fn read_back(wire: &[u8], markers: bool) -> Result<Vec<u8>, FpduError> {
        match Deframer::new(markers, true).next(wire)? {
            Deframed::Fpdu(fpdu) => {
                let mut ulpdu = vec![0; fpdu.ulpdu_len()];
                fpdu.copy_ulpdu(wire, 0..fpdu.ulpdu_len(), &mut ulpdu);
                Ok(ulpdu)
            }
            Deframed::Need(need) => panic!("{need} octets missing"),
        }
    }

    fn framed(markers: bool, spoil: Spoil) -> Vec<u8> {
        let mut encoder = Encoder {
            position: 0,
            markers,
            crc: true,
        };
        encoder.frame(&write(7, 9, &[3; 1001]), spoil)
    }

    #[test]
    fn what_is_not_spoiled_is_right() {
        for markers in [false, true] {
            let wire = framed(markers, Spoil::Nothing);
            assert_eq!(read_back(&wire, markers), Ok(write(7, 9, &[3; 1001])));
        }
    }

    #[test]
    fn each_way_to_spoil_does_what_it_says() {
        let crc = Err(FpduError::Crc);
        assert_eq!(read_back(&framed(false, Spoil::CrcXor(1)), false), crc);
        assert_eq!(read_back(&framed(false, Spoil::CrcSwapped), false), crc);
        assert_eq!(
            read_back(&framed(true, Spoil::MarkerXor(0x40)), true),
            Err(FpduError::Marker)
        );
        for fine in [
            Spoil::Pad(0xff),
            Spoil::MarkerReserved(0xffff),
            Spoil::MarkerXor(3),
        ] {
            assert_ne!(framed(true, fine), framed(true, Spoil::Nothing), "{fine:?}");
            assert!(read_back(&framed(true, fine), true).is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn one_octet_is_altered_and_no_other() {
        assert_eq!(altered(vec![1, 2, 3], 1, |octet| octet ^ 0xff), [1, 253, 3]);
        assert_eq!(altered(vec![1], 1, |_| 0), [1]);
    }
}

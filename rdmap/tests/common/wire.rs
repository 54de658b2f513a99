//! Segments as a peer may send them, whatever it may.

use uwarp_ddp::{Header, Stag, Tagged, Untagged};
use uwarp_rdmap::header::{Control, ReadRequest};
use uwarp_rdmap::{Opcode, RdmapError};

use super::Side;

pub(crate) fn segment(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut out = [0; 18];
    let len = header.encode(&mut out);
    [&out[..len], payload].concat()
}

pub(crate) fn untagged(opcode: Opcode, qn: u32, msn: u32) -> Untagged {
    Untagged {
        last: true,
        ulp: Control::new(opcode).0,
        ulp_word: 0,
        qn,
        msn,
        mo: 0,
    }
}

pub(crate) fn tagged(opcode: Opcode, stag: Stag, to: u64) -> Tagged {
    Tagged {
        last: true,
        ulp: Control::new(opcode).0,
        stag,
        to,
    }
}

pub(crate) fn read_request(size: u32, source_stag: Stag, source_to: u64) -> ReadRequest {
    ReadRequest {
        sink_stag: Stag(1),
        sink_to: 0,
        size,
        source_stag,
        source_to,
    }
}

pub(crate) fn refused(side: &mut Side, header: impl Into<Wire>, payload: &[u8]) -> RdmapError {
    side.take(&segment(&header.into().0, payload)).unwrap_err()
}

pub(crate) struct Wire(Header);

impl From<Untagged> for Wire {
    fn from(header: Untagged) -> Self {
        Self(Header::Untagged(header))
    }
}

impl From<Tagged> for Wire {
    fn from(header: Tagged) -> Self {
        Self(Header::Tagged(header))
    }
}

//! Requests of ours that wait for their answer: RDMA Reads and atomic operations, in one order
//! (RFC 5040 s5.5, R16; RFC 7306 s7, X14).

use uwarp_ddp::{Coverage, Stag};

use crate::error::RdmapError;
use crate::header::ReadRequest;
use crate::work::Slot;

/// What the answer has to be.
#[derive(Debug)]
enum Expected {
    Read {
        request: ReadRequest,
        coverage: Coverage,
    },
    Atomic {
        id: u32,
    },
}

/// One request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The posted request; `None` for the Read of a peer-to-peer set-up, which nobody posted.
    owner: Option<(u64, Slot)>,
    expected: Expected,
}

impl Pending {
    pub(crate) fn read(owner: Option<(u64, Slot)>, request: ReadRequest) -> Self {
        Self {
            owner,
            expected: Expected::Read {
                request,
                coverage: Coverage::new(),
            },
        }
    }

    pub(crate) fn atomic(owner: (u64, Slot), id: u32) -> Self {
        Self {
            owner: Some(owner),
            expected: Expected::Atomic { id },
        }
    }

    /// Sequence number of the posted request.
    pub(crate) fn seq(&self) -> Option<u64> {
        self.owner.map(|(seq, _)| seq)
    }

    /// Whether `sink_to` is an offset of this Read's sink; an empty Read holds its start.
    pub(crate) fn holds(&self, sink_to: u64) -> bool {
        let Expected::Read { request, .. } = &self.expected else {
            return false;
        };
        let offset = sink_to.wrapping_sub(request.sink_to);
        offset == 0 || offset < u64::from(request.size)
    }

    /// The posted Read that `len` octets at `sink_to` of `stag` belong to, and where in its sink.
    pub(crate) fn sink(&self, stag: Stag, sink_to: u64, len: u32) -> Option<(Slot, u32)> {
        let Expected::Read { request, .. } = &self.expected else {
            return None;
        };
        let (_, slot) = self.owner?;
        Some((slot, sink_offset(request, stag, sink_to, len)?))
    }

    /// Takes note of a segment of this Read's Response; `true` when it was the last and all octets
    /// have come. The STag and TO of an empty segment mean nothing (RFC 5041 s5.2, D21).
    pub(crate) fn take_response(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
        last: bool,
    ) -> Result<bool, RdmapError> {
        let Expected::Read { request, coverage } = &mut self.expected else {
            return Err(RdmapError::ResponseMismatch);
        };
        if len > 0 {
            let offset = sink_offset(request, stag, to, len).ok_or(RdmapError::ResponseMismatch)?;
            coverage
                .insert(offset, offset + len)
                .map_err(|_| RdmapError::ResponseMismatch)?;
        }
        match (last, coverage.is_complete(request.size)) {
            (true, false) => Err(RdmapError::ResponseMismatch),
            (last, _) => Ok(last),
        }
    }

    /// Whether an Atomic Response with this identifier answers this request.
    pub(crate) fn is_atomic(&self, response_id: u32) -> bool {
        matches!(self.expected, Expected::Atomic { id } if id == response_id)
    }
}

/// Offset in the sink of `len` octets at `sink_to`, if they lie in it.
fn sink_offset(request: &ReadRequest, stag: Stag, sink_to: u64, len: u32) -> Option<u32> {
    if stag != request.sink_stag {
        return None;
    }
    let offset = u32::try_from(sink_to.checked_sub(request.sink_to)?).ok()?;
    (offset.checked_add(len)? <= request.size).then_some(offset)
}

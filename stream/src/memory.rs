//! What a connection asks of the driver's memory.

use std::ops::Range;

use uwarp_ddp::{AccessError, Stag};
use uwarp_mpa::Octets;
use uwarp_rdmap::{AtomicError, AtomicOperation, Regions, Slot};

/// A piece of a region that the peer may read.
#[derive(Clone, Debug)]
pub struct Source<H> {
    /// The driver's handle; it keeps the memory alive while octets of it wait to be written.
    pub handle: H,
    /// Offset of the first octet in the region.
    pub offset: u64,
    /// Peers may write to the region, so that it may change while it is being sent.
    pub volatile: bool,
}

/// The driver's registered memory, as seen by one connection.
///
/// The driver knows who asks: the implementation carries the protection domain and the stream of
/// its connection. Whether a remote access is allowed is decided by
/// [`StagTable::check`](uwarp_ddp::StagTable::check) alone, in [`write`](Self::write),
/// [`source`](Self::source) and [`check_read`](Regions::check_read).
pub trait Memory: Regions {
    /// Keeps a region's memory alive; cheap to clone.
    type Handle: Clone;

    /// Places the payload of an RDMA Write. `octets` yields `len` octets in all, more than 0.
    ///
    /// # Errors
    /// The access that is not allowed; then nothing has been placed.
    fn write(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
        octets: Octets<'_>,
    ) -> Result<(), AccessError>;

    /// Places payload at `offset` of the scatter list of a posted receive or Read. The range has
    /// been checked against the length that was posted.
    fn fill(&mut self, slot: Slot, offset: u32, octets: Octets<'_>);

    /// Continues a CRC32c over part of the gather list of a posted Send or Write.
    fn crc_work(&mut self, crc: u32, slot: Slot, range: Range<u32>) -> u32;

    /// Appends a copy of part of the gather list of a posted Send or Write to `out`.
    fn copy_work(&mut self, slot: Slot, range: Range<u32>, out: &mut Vec<u8>);

    /// The octets of a Read Response.
    ///
    /// # Errors
    /// The access that is not allowed (any more).
    fn source(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
    ) -> Result<Source<Self::Handle>, AccessError>;

    /// Performs an atomic operation on the word at `to` for the peer, in one step for every other stream
    /// and for the local program (RFC 7306 s5, X03); returns the word as it was before.
    ///
    /// # Errors
    /// Why it is not performed; the word is then unchanged.
    fn atomic(
        &mut self,
        stag: Stag,
        to: u64,
        operation: &AtomicOperation,
    ) -> Result<u64, AtomicError>;

    /// Continues a CRC32c over octets of a source.
    fn crc_source(&mut self, crc: u32, handle: &Self::Handle, range: Range<u64>) -> u32;

    /// Appends a copy of octets of a source to `out`.
    fn copy_source(&mut self, handle: &Self::Handle, range: Range<u64>, out: &mut Vec<u8>);
}

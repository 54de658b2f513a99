//! Named buffers: what rsockets calls riomap and riowrite.

use std::io;

use uwarp::Region;
use uwarp_rsockets::{Entry, IomapEntry, Place};

use crate::failure;
use crate::socket::StreamSocket;

impl StreamSocket {
    /// Names a region to the peer's program: `offset` stands for its first octet. The region has been registered in
    /// the [domain](crate::OneSided::domain) of this stream, with the right of remote write. What is written to the
    /// stream from now on arrives later than the name. Returns the place in the peer's table.
    ///
    /// # Errors
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory) when the peer has no place left for a name (many have none at all),
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the region is empty or revoked.
    pub fn map(&self, region: &Region, offset: u64) -> io::Result<u16> {
        self.inner.check_owner()?;
        let remote = region
            .remote()
            .ok_or_else(|| failure::errno(libc::EINVAL))?;
        let entry = IomapEntry {
            offset,
            buffer: Entry {
                place: Place {
                    to: remote.to,
                    stag: remote.stag.0,
                },
                len: remote.len,
            },
        };
        self.inner
            .with(|state| state.map(entry, self.inner.buffers()))
    }

    /// Frees a place that [`map`](Self::map) has returned. The peer may use the region until it is revoked.
    pub fn unmap(&self, index: u16) {
        if self.inner.check_owner().is_ok() {
            self.inner.with(|state| state.unmap(index));
        }
    }

    /// Writes octets to the buffer that the peer's program has named `offset`, and returns how many, at most 65,536. The
    /// peer is not told; what is written to the stream later arrives later.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) until all that was written to the stream is on its way,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when nothing has that name, and as
    /// [`try_write`](Self::try_write).
    pub fn write_mapped(&self, octets: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.check_owner()?;
        self.inner
            .with(|state| state.write_mapped(octets, offset, self.inner.buffers()))?
            .ok_or_else(failure::would_block)
    }
}

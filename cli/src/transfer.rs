//! Moving one file between the two ends of a session, and checking that what arrived is what was sent.
//!
//! | | who moves the octets | sending end | receiving end |
//! | --- | --- | --- | --- |
//! | put | the client, by RDMA Write | [`push()`] | [`land()`] |
//! | get | the client, by RDMA Read | [`offer()`] | [`pull()`] |
//!
//! At either end a block is looked at once: it is copied between the registered slot and a buffer of our own,
//! which is what is digested and stored, so that a peer who changes a slot meanwhile changes nothing else.

mod land;
mod offer;
mod pull;
mod push;

use std::io;
use std::time::{Duration, Instant};

use uwarp::{Region, Sge, SpanError};

pub(crate) use land::land;
pub(crate) use offer::offer;
pub(crate) use pull::pull;
pub(crate) use push::push;

use crate::session::{Session, SessionError};
use crate::wire::{Digest, Window};

/// Slots of a window, and their size.
pub(crate) const SLOTS: u32 = 8;
/// Octets of a slot.
pub(crate) const SLOT_LEN: u32 = 1 << 20;

/// Octets of a whole window.
pub(crate) const WINDOW_LEN: u32 = SLOTS * SLOT_LEN;

/// The storage may take this long for so many octets, when it has to bring them to the disk.
const STORE_RATE: u64 = 16 << 20;

/// How a transfer went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) octets: u64,
    pub(crate) time: Duration,
    pub(crate) digest: Digest,
}

/// A transfer did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error("{0}")]
    Session(#[from] SessionError),
    /// The file at this end.
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("what arrived is not what was sent: its digest is {arrived}, but should be {sent}")]
    Digest { sent: Digest, arrived: Digest },
}

impl From<SpanError> for TransferError {
    fn from(error: SpanError) -> Self {
        Self::Session(error.into())
    }
}

impl TransferError {
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Session(error) => error.remedy(),
            Self::File(error) => crate::error::file_remedy(error.kind()),
            Self::Digest { .. } => "try again, and leave the CRC on",
        }
    }
}

/// Tells the client why its transfer has failed. The window must still exist, for else what the client has
/// under way would end the connection before it has read this.
fn tell(session: &mut Session, error: &TransferError) {
    use SessionError::{Message, Unexpected};
    match error {
        TransferError::Session(Message(_) | Unexpected(_))
        | TransferError::File(_)
        | TransferError::Digest { .. } => session.give_up(error),
        // There is no connection any more, or the client has given up itself.
        TransferError::Session(_) => {}
    }
}

/// Compares the digests of the two ends.
pub(crate) fn compare(sent: Digest, arrived: Digest) -> Result<(), TransferError> {
    if sent == arrived {
        Ok(())
    } else {
        Err(TransferError::Digest { sent, arrived })
    }
}

/// How long to wait for the peer to bring `octets` to its disk.
fn store_patience(patience: Duration, octets: u64) -> Duration {
    patience.saturating_add(Duration::from_secs(octets / STORE_RATE))
}

/// A local counterpart of the peer's window, with a buffer for the block at hand.
#[derive(Debug)]
struct Slots {
    region: Region,
    slots: u64,
    slot_len: u32,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    begun: Instant,
    octets: u64,
}

impl Slots {
    fn new(region: Region, slots: u32, slot_len: u32) -> Self {
        Self {
            region,
            slots: u64::from(slots),
            slot_len,
            buffer: vec![0; slot_len as usize],
            hasher: blake3::Hasher::new(),
            begun: Instant::now(),
            octets: 0,
        }
    }

    /// What others have to know of it.
    fn window(&self) -> Result<Window, SessionError> {
        let place = self
            .region
            .remote()
            .ok_or(SessionError::Unexpected("the window was invalidated"))?
            .into();
        let slots = u32::try_from(self.slots).unwrap_or(u32::MAX);
        Ok(Window {
            place,
            slots,
            slot_len: self.slot_len,
        })
    }

    fn start(&self, block: u64) -> u64 {
        block % self.slots * u64::from(self.slot_len)
    }

    /// Length of the next block when `left` octets are left.
    fn block_len(&self, left: u64) -> u32 {
        u32::try_from(left).map_or(self.slot_len, |left| left.min(self.slot_len))
    }

    fn sge(&self, block: u64, len: u32) -> Result<Sge, SpanError> {
        let start = self.start(block) as usize;
        self.region.slice(start..start + len as usize)
    }

    /// Puts the next `len` octets of a source into a block.
    fn load(
        &mut self,
        block: u64,
        len: u32,
        source: &mut crate::content::Source,
    ) -> Result<(), TransferError> {
        let start = self.start(block);
        let buffer = &mut self.buffer[..len as usize];
        source.fill(buffer)?;
        self.hasher.update(buffer);
        self.octets += u64::from(len);
        Ok(self.region.write_at(start, buffer)?)
    }

    /// Gives the octets of a block to a sink.
    fn unload(
        &mut self,
        block: u64,
        len: u32,
        sink: &mut crate::content::Sink<'_>,
    ) -> Result<(), TransferError> {
        let start = self.start(block);
        let buffer = &mut self.buffer[..len as usize];
        self.region.read_at(start, buffer)?;
        self.hasher.update(buffer);
        self.octets += u64::from(len);
        Ok(sink.take(buffer)?)
    }

    fn moved(&self) -> Moved {
        Moved {
            octets: self.octets,
            time: self.begun.elapsed(),
            digest: Digest(self.hasher.finalize()),
        }
    }
}

#[cfg(test)]
mod tests;

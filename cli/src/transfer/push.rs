//! The client's part of a put: RDMA Writes into the server's window.

use std::time::Duration;

use indicatif::ProgressBar;
use uwarp::Rights;

use super::{Moved, Slots, TransferError, compare, store_patience};
use crate::content::Source;
use crate::session::{Event, Session, SessionError};
use crate::wire::Message;

/// Stores the octets of `source` at the server under `name`. The time in the result is that until the server
/// has taken the last block out of its window.
pub(crate) fn push(
    session: &mut Session,
    name: &str,
    source: &mut Source,
    patience: Duration,
    progress: &ProgressBar,
) -> Result<Moved, TransferError> {
    let size = source.size();
    session.send(&Message::Put {
        name: name.to_owned(),
        size,
    })?;
    let Message::Window { window, .. } = session.message(patience)? else {
        return Err(SessionError::Unexpected("a put was not answered by a window").into());
    };
    let total = window.slots as usize * window.slot_len as usize;
    let region = session.region(total, Rights::empty())?;
    let mut slots = Slots::new(region, window.slots, window.slot_len);
    let (mut sent, mut gone, mut freed) = (0u64, 0u64, 0u64);
    while slots.octets < size || freed < sent || gone < sent {
        while slots.octets < size && sent - freed.min(gone) < slots.slots {
            let len = slots.block_len(size - slots.octets);
            slots.load(sent, len, source)?;
            let slot = window
                .slot(sent, len)
                .ok_or(SessionError::Unexpected("a window that ends too early"))?;
            session.write(slots.sge(sent, len)?, slot)?;
            session.send(&Message::Filled { len })?;
            sent += 1;
            progress.inc(u64::from(len));
        }
        match session.next()? {
            Event::Moved => gone += 1,
            Event::Message(Message::Free) if freed < sent => freed += 1,
            Event::Message(Message::Failed { reason }) => {
                return Err(SessionError::Failed(reason).into());
            }
            Event::Message(_) => {
                return Err(SessionError::Unexpected("no free slot was announced").into());
            }
        }
    }
    let moved = slots.moved();
    session.send(&Message::End {
        digest: moved.digest,
    })?;
    let Message::Stored { digest } = session.message(store_patience(patience, size))? else {
        return Err(SessionError::Unexpected("the end of a put was not answered").into());
    };
    compare(moved.digest, digest)?;
    Ok(moved)
}

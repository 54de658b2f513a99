//! The server's part of a get: a window that the client reads from.

use uwarp::Rights;

use super::{Moved, SLOT_LEN, SLOTS, Slots, TransferError, WINDOW_LEN, tell};
use crate::content::Source;
use crate::session::{Event, Session, SessionError};
use crate::wire::Message;

/// Lets the client read the octets of `source`. Of a failure it has been told.
pub(crate) fn offer(session: &mut Session, source: &mut Source) -> Result<Moved, TransferError> {
    let region = session.region(WINDOW_LEN as usize, Rights::REMOTE_READ)?;
    let mut slots = Slots::new(region, SLOTS, SLOT_LEN);
    let outcome = give(session, &mut slots, source);
    if let Err(error) = &outcome {
        tell(session, error);
    }
    outcome
}

fn give(
    session: &mut Session,
    slots: &mut Slots,
    source: &mut Source,
) -> Result<Moved, TransferError> {
    let size = source.size();
    let window = slots.window()?;
    session.send(&Message::Window { size, window })?;
    let (mut filled, mut freed) = (0u64, 0u64);
    while slots.octets < size || freed < filled {
        while slots.octets < size && filled - freed < slots.slots {
            let len = slots.block_len(size - slots.octets);
            slots.load(filled, len, source)?;
            session.send(&Message::Filled { len })?;
            filled += 1;
        }
        match session.next()? {
            Event::Message(Message::Free) if freed < filled => freed += 1,
            Event::Message(Message::Failed { reason }) => {
                return Err(SessionError::Failed(reason).into());
            }
            _ => return Err(SessionError::Unexpected("no free slot was announced").into()),
        }
    }
    let moved = slots.moved();
    session.send(&Message::End {
        digest: moved.digest,
    })?;
    Ok(moved)
}

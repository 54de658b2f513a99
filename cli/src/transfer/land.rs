//! The server's part of a put: a window that the client writes into.

use uwarp::Rights;

use super::{Moved, SLOT_LEN, SLOTS, Slots, TransferError, WINDOW_LEN, compare, tell};
use crate::content::Sink;
use crate::session::{Event, Session, SessionError};
use crate::wire::Message;

/// Takes `size` octets from the client and gives them to `sink`. The caller then tells the client that they
/// are stored; of a failure it has been told.
pub(crate) fn land(
    session: &mut Session,
    size: u64,
    sink: &mut Sink<'_>,
) -> Result<Moved, TransferError> {
    let region = session.region(WINDOW_LEN as usize, Rights::REMOTE_WRITE)?;
    let mut slots = Slots::new(region, SLOTS, SLOT_LEN);
    let outcome = take(session, &mut slots, size, sink);
    if let Err(error) = &outcome {
        tell(session, error);
    }
    outcome
}

fn take(
    session: &mut Session,
    slots: &mut Slots,
    size: u64,
    sink: &mut Sink<'_>,
) -> Result<Moved, TransferError> {
    let window = slots.window()?;
    session.send(&Message::Window { size, window })?;
    for block in 0.. {
        let left = size - slots.octets;
        match session.next()? {
            Event::Message(Message::Filled { len }) if len == slots.block_len(left) => {
                slots.unload(block, len, sink)?;
                session.send(&Message::Free)?;
            }
            Event::Message(Message::End { digest }) if left == 0 => {
                sink.finish()?;
                let moved = slots.moved();
                compare(digest, moved.digest)?;
                return Ok(moved);
            }
            Event::Message(Message::Failed { reason }) => {
                return Err(SessionError::Failed(reason).into());
            }
            _ => break,
        }
    }
    Err(SessionError::Unexpected("neither the next block nor the end of a put").into())
}

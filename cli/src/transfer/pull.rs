//! The client's part of a get: RDMA Reads from the server's window.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::ProgressBar;
use uwarp::Rights;

use super::{Moved, Slots, TransferError, compare};
use crate::content::Sink;
use crate::session::{Event, Session, SessionError};
use crate::wire::{Message, Window};

/// Asks the server for `name`; gives the size and the window that it comes through.
fn ask(
    session: &mut Session,
    name: &str,
    patience: Duration,
) -> Result<(u64, Window), SessionError> {
    session.send(&Message::Get {
        name: name.to_owned(),
    })?;
    match session.message(patience)? {
        Message::Window { size, window } => Ok((size, window)),
        _ => Err(SessionError::Unexpected(
            "a get was not answered by a window",
        )),
    }
}

/// Fetches the octets of the server's file `name` into `sink`.
pub(crate) fn pull(
    session: &mut Session,
    name: &str,
    sink: &mut Sink<'_>,
    patience: Duration,
    progress: &ProgressBar,
) -> Result<Moved, TransferError> {
    let (size, window) = ask(session, name, patience)?;
    progress.set_length(size);
    let total = window.slots as usize * window.slot_len as usize;
    let region = session.region(total, Rights::empty())?;
    let mut slots = Slots::new(region, window.slots, window.slot_len);
    // Lengths of the blocks that are being read, and the octets that were announced.
    let (mut reading, mut announced, mut block) = (VecDeque::new(), 0u64, 0u64);
    loop {
        match session.next()? {
            Event::Message(Message::Filled { len })
                if len == slots.block_len(size - announced)
                    && (reading.len() as u64) < slots.slots =>
            {
                let number = block + reading.len() as u64;
                let slot = window
                    .slot(number, len)
                    .ok_or(SessionError::Unexpected("a window that ends too early"))?;
                session.read(slots.sge(number, len)?, slot)?;
                reading.push_back(len);
                announced += u64::from(len);
            }
            Event::Moved => {
                let Some(len) = reading.pop_front() else {
                    return Err(SessionError::Unexpected("a block is complete out of turn").into());
                };
                slots.unload(block, len, sink)?;
                session.send(&Message::Free)?;
                block += 1;
                progress.inc(u64::from(len));
            }
            Event::Message(Message::End { digest }) if slots.octets == size => {
                let moved = slots.moved();
                compare(digest, moved.digest)?;
                sink.finish()?;
                return Ok(moved);
            }
            Event::Message(Message::Failed { reason }) => {
                return Err(SessionError::Failed(reason).into());
            }
            Event::Message(_) => {
                return Err(SessionError::Unexpected(
                    "neither the next block nor the end of a get",
                )
                .into());
            }
        }
    }
}

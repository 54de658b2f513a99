//! What one client asks for.

use std::ffi::OsStr;

use super::Shared;
use crate::content::{Sink, Source};
use crate::names::SafeName;
use crate::session::{Event, Session, SessionError};
use crate::store::Directory;
use crate::transfer::{Moved, TransferError, land, offer};
use crate::units;
use crate::wire::{Message, plain};

/// Serves one request after the other, until the connection ends.
pub(super) fn serve(shared: &Shared, session: &mut Session) -> Result<(), SessionError> {
    loop {
        let (name, outcome) = match session.next()? {
            Event::Message(Message::Put { name, size }) => {
                let outcome = put(shared, session, &name, size);
                (name, outcome)
            }
            Event::Message(Message::Get { name }) => {
                let outcome = get(shared, session, &name);
                (name, outcome)
            }
            _ => {
                session.give_up("neither a put nor a get");
                return Err(SessionError::Unexpected("neither a put nor a get"));
            }
        };
        let name = plain(&name);
        match outcome {
            Ok(Done::Put(moved)) => {
                tracing::info!("stored {name:?}, {}", units::size(moved.octets))
            }
            Ok(Done::Got(moved)) => tracing::info!("gave {name:?}, {}", units::size(moved.octets)),
            Err(Refusal::Before(reason)) => {
                tracing::warn!("refused {name:?}: {reason}");
                session.send(&Message::failed(reason))?;
            }
            Err(Refusal::Amid(TransferError::Session(error))) => {
                // If the connection is over, this has no effect.
                session.give_up(&error);
                return Err(error);
            }
            Err(Refusal::Amid(error)) => {
                tracing::warn!("gave up on {name:?}: {error}");
                session.give_up(error);
                return Ok(());
            }
        }
    }
}

enum Done {
    Put(Moved),
    Got(Moved),
}

/// Why a request was not met.
enum Refusal {
    /// Nothing has been moved: the client may ask for something else.
    Before(String),
    /// The connection may be in any state.
    Amid(TransferError),
}

impl<E: Into<TransferError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Amid(error.into())
    }
}

fn put(shared: &Shared, session: &mut Session, name: &str, size: u64) -> Result<Done, Refusal> {
    if !shared.writable {
        let reason = "the server does not let anyone write: start it with --writable";
        return Err(Refusal::Before(reason.to_owned()));
    }
    let name = check(name)?;
    let directory = served(shared)?;
    directory.check_target(name).map_err(before)?;
    let partial = directory.begin().map_err(before)?;
    let moved = land(session, size, &mut Sink::file(partial.file()))?;
    partial.publish(name)?;
    session.send(&Message::Stored {
        digest: moved.digest,
    })?;
    Ok(Done::Put(moved))
}

fn get(shared: &Shared, session: &mut Session, name: &str) -> Result<Done, Refusal> {
    let file = served(shared)?.file(check(name)?).map_err(before)?;
    let mut source = Source::file(file).map_err(before)?;
    Ok(Done::Got(offer(session, &mut source)?))
}

fn served(shared: &Shared) -> Result<&Directory, Refusal> {
    let none = || Refusal::Before("this server has no files".to_owned());
    shared.directory.as_ref().ok_or_else(none)
}

fn check(name: &str) -> Result<&OsStr, Refusal> {
    match SafeName::new(name) {
        Ok(name) => Ok(OsStr::new(name.as_str())),
        Err(error) => Err(Refusal::Before(error.to_string())),
    }
}

fn before(error: std::io::Error) -> Refusal {
    Refusal::Before(error.to_string())
}

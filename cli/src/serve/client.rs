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

/// Serves one request after the other, until the client closes the connection or it fails.
pub(super) fn serve(shared: &Shared, session: &mut Session) -> Result<(), SessionError> {
    loop {
        let request = match session.next() {
            Ok(Event::Message(request)) => request,
            Ok(Event::Moved) => return Err(SessionError::Unexpected("a block out of turn")),
            // That is how a client takes its leave.
            Err(SessionError::PeerClosed) => return Ok(()),
            Err(error) => return Err(part(session, error)),
        };
        let (name, outcome) = match request {
            Message::Put { name, size } => {
                let outcome = put(shared, session, &name, size);
                (name, outcome)
            }
            Message::Get { name } => {
                let outcome = get(shared, session, &name);
                (name, outcome)
            }
            _ => {
                let error = SessionError::Unexpected("neither a put nor a get");
                return Err(part(session, error));
            }
        };
        let name = plain(&name);
        match outcome {
            Ok(Done::Put(moved)) => {
                tracing::info!("stored {name:?}, {}", units::size(moved.octets));
            }
            Ok(Done::Got(moved)) => tracing::info!("gave {name:?}, {}", units::size(moved.octets)),
            Err(Refusal::Answered(reason)) => {
                tracing::warn!("refused {name:?}: {reason}");
                session.send(&Message::failed(reason))?;
            }
            Err(Refusal::Broken(error)) => {
                tracing::warn!("gave up on {name:?}: {error}");
                return match error {
                    TransferError::Session(error) => Err(error),
                    TransferError::File(_) | TransferError::Digest { .. } => Ok(()),
                };
            }
        }
    }
}

/// Tells the client what it did wrong, if there still is a connection to tell it over.
fn part(session: &mut Session, error: SessionError) -> SessionError {
    if matches!(
        error,
        SessionError::Message(_) | SessionError::Unexpected(_)
    ) {
        session.give_up(&error);
    }
    error
}

enum Done {
    Put(Moved),
    Got(Moved),
}

/// Why a request was not met.
enum Refusal {
    /// Nothing is under way: the client is told, and may ask for something else.
    Answered(String),
    /// The transfer broke off, as the client knows.
    Broken(TransferError),
}

impl From<TransferError> for Refusal {
    fn from(error: TransferError) -> Self {
        Self::Broken(error)
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Answered(error.to_string())
    }
}

fn put(shared: &Shared, session: &mut Session, name: &str, size: u64) -> Result<Done, Refusal> {
    if !shared.writable {
        let reason = "the server does not let anyone write: start it with --writable";
        return Err(Refusal::Answered(reason.to_owned()));
    }
    let name = check(name)?;
    let directory = served(shared)?;
    directory.check_target(name)?;
    let partial = directory.begin()?;
    let moved = land(session, size, &mut Sink::file(partial.file()))?;
    partial.publish(name)?;
    session
        .send(&Message::Stored {
            digest: moved.digest,
        })
        .map_err(TransferError::from)?;
    Ok(Done::Put(moved))
}

fn get(shared: &Shared, session: &mut Session, name: &str) -> Result<Done, Refusal> {
    let file = served(shared)?.file(check(name)?)?;
    let mut source = Source::file(file)?;
    Ok(Done::Got(offer(session, &mut source)?))
}

fn served(shared: &Shared) -> Result<&Directory, Refusal> {
    let none = || Refusal::Answered("this server has no files".to_owned());
    shared.directory.as_ref().ok_or_else(none)
}

fn check(name: &str) -> Result<&OsStr, Refusal> {
    match SafeName::new(name) {
        Ok(name) => Ok(OsStr::new(name.as_str())),
        Err(error) => Err(Refusal::Answered(error.to_string())),
    }
}

//! Connections that have been accepted, and whose first octets tell what they are.

use std::ffi::c_int;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::convert;
use crate::endpoint::Role;
use crate::process::{self, Count};
use crate::sys;
use crate::table::{self, Entry};

/// What an MPA Request begins with (RFC 5044 s7.1.1).
const KEY: &[u8; 16] = b"MPA ID Req Frame";

/// What the first octets tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Whatever it is, the table knows.
    Decided,
    /// Nothing has come.
    Nothing,
    /// The beginning of a Request's key has come.
    Some,
}

/// Looks at what has come, without waiting, and makes a stream or a plain socket of it if that tells.
///
/// # Errors
/// The system's, when it would be a stream.
pub(crate) fn decide(fd: c_int, entry: &Arc<Entry>) -> io::Result<Decision> {
    let mut octets = [0; KEY.len()];
    let got = match sys::peek(fd, &mut octets) {
        Ok(0) => {
            settle_as_plain(fd, entry);
            return Ok(Decision::Decided);
        }
        Ok(got) => got,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Decision::Nothing),
        Err(_) => {
            // The program shall see the error itself.
            settle_as_plain(fd, entry);
            return Ok(Decision::Decided);
        }
    };
    if octets[..got] != KEY[..got] {
        settle_as_plain(fd, entry);
    } else if got < KEY.len() {
        return Ok(Decision::Some);
    } else if let Some(endpoint) = convert::convert(fd, Some(entry), None)? {
        endpoint.begin(Role::Responder);
    }
    Ok(Decision::Decided)
}

/// It is plain TCP from now on, and none of ours.
pub(crate) fn settle_as_plain(fd: c_int, entry: &Arc<Entry>) {
    let change = table::change();
    if table::get(fd).is_some_and(|found| Arc::ptr_eq(&found, entry)) {
        for number in entry.numbers() {
            change.remove(number);
        }
        process::count(Count::Plain);
    }
}

/// How long a write is still to wait for a Request to come.
pub(crate) fn patience(since: Instant) -> Duration {
    let wait = crate::config::get().server_first_wait;
    wait.saturating_sub(since.elapsed())
}

//! Connections that have been accepted, and whose first octets tell what they are.

use std::ffi::c_int;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connector;
use crate::convert;
use crate::endpoint::Role;
use crate::process::{self, Count};
use crate::sys;
use crate::table::{self, Entry};

/// What an MPA Request begins with (RFC 5044 s7.1.1).
const KEY: &[u8; 16] = b"MPA ID Req Frame";

/// The same, as a socket option wants it.
const KEY_LEN: c_int = KEY.len() as c_int;

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
    if octets[..got] != KEY[..got] || (got < KEY.len() && no_more_comes(fd)) {
        settle_as_plain(fd, entry);
        return Ok(Decision::Decided);
    }
    if got < KEY.len() {
        wait_for_the_key(fd, entry);
        return Ok(Decision::Some);
    }
    if let Some(endpoint) = convert::convert(fd, Some(entry), None)? {
        endpoint.begin(Role::Responder);
    }
    Ok(Decision::Decided)
}

/// Puts a signal in its place that is ready for nothing until it is known what it is, or the wait for a Request is over.
/// So a program that writes first and does not wait is told when it may go on, whatever tells it.
///
/// # Errors
/// The system's. Everything is then as it was.
pub(crate) fn decide_later(fd: c_int, entry: &Arc<Entry>, patience: Duration) -> io::Result<()> {
    if let Some(endpoint) = convert::convert(fd, Some(entry), None)? {
        connector::decide(endpoint, Instant::now() + patience);
    }
    Ok(())
}

/// Has the kernel tell of octets only when the whole key is there: poll and epoll would tell of the part again and
/// again. When no more comes for the time that a Request may take, it is plain TCP.
fn wait_for_the_key(fd: c_int, entry: &Arc<Entry>) {
    let change = table::change();
    let is_new = table::get(fd).is_some_and(|found| Arc::ptr_eq(&found, entry))
        && low_water(fd) < KEY_LEN
        && set_low_water(fd, KEY_LEN);
    drop(change);
    if is_new {
        let until = Instant::now() + crate::config::get().server_first_wait;
        if connector::settle(entry, until).is_err() {
            settle_as_plain(fd, entry);
        }
    }
}

/// Whether the first octets of a TCP socket that is hidden are those of a Request.
pub(crate) fn is_request(tcp: c_int) -> bool {
    let mut octets = [0; KEY.len()];
    sys::peek(tcp, &mut octets).is_ok_and(|got| octets[..got] == KEY[..])
}

/// Whether no more has to come to tell what it is, when something has. If it is a part of the key, the kernel tells of
/// the rest only.
pub(crate) fn tells_what_it_is(tcp: c_int) -> bool {
    let mut octets = [0; KEY.len()];
    match sys::peek(tcp, &mut octets) {
        Ok(got) if got < KEY.len() && octets[..got] == KEY[..got] && got > 0 => {
            set_low_water(tcp, KEY_LEN);
            no_more_comes(tcp)
        }
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Whether the peer has said its last.
fn no_more_comes(fd: c_int) -> bool {
    let mut ask = libc::pollfd {
        fd,
        events: libc::POLLRDHUP,
        revents: 0,
    };
    sys::poll_now(&mut ask)
}

fn low_water(fd: c_int) -> c_int {
    sys::option(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT).unwrap_or(1)
}

/// Has the kernel tell of octets when there are so many.
fn set_low_water(fd: c_int, octets: c_int) -> bool {
    sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &octets).is_ok()
}

/// Undoes it, when it is decided. The kernel tells of a part that has come.
pub(crate) fn wait_for_no_key(fd: c_int) {
    if low_water(fd) == KEY_LEN {
        set_low_water(fd, 1);
    }
}

/// It is plain TCP from now on, and none of ours.
pub(crate) fn settle_as_plain(fd: c_int, entry: &Arc<Entry>) {
    let change = table::change();
    if table::get(fd).is_some_and(|found| Arc::ptr_eq(&found, entry)) {
        entry.fate().become_plain();
        for number in entry.numbers() {
            change.remove(number);
        }
        // After it: whoever is woken finds it settled.
        wait_for_no_key(fd);
        process::count(Count::Plain);
    }
}

/// How long a write is still to wait for a Request to come.
pub(crate) fn patience(since: Instant) -> Duration {
    let wait = crate::config::get().server_first_wait;
    wait.saturating_sub(since.elapsed())
}

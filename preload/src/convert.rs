//! From plain TCP to DDPMODE, and back.
//!
//! The object behind the program's numbers is another one afterwards. The numbers, close-on-exec, O_NONBLOCK and what is
//! registered with epoll stay.

use std::ffi::c_int;
use std::io;
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::fallback::Fallback;
use crate::process::{self, Count};
use crate::real::real;
use crate::signal::Signal;
use crate::sys;
use crate::table::{self, Change, Entry, Kind, Registration};
use crate::undecided;

/// Puts a signal in the place of the TCP socket `fd`, and of what has been made from it by dup. The set-up is yet to begin.
///
/// `expected` is what the caller found in the table. `None` says that somebody else has changed it.
///
/// # Errors
/// The system's: no numbers left, no memory. Everything is then as it was.
pub(crate) fn convert(
    fd: c_int,
    expected: Option<&Arc<Entry>>,
    fallback: Option<Fallback>,
) -> io::Result<Option<Arc<Endpoint>>> {
    let change = table::change();
    let found = table::get(fd);
    match (&found, expected) {
        (None, None) => {}
        (Some(found), Some(expected)) if Arc::ptr_eq(found, expected) => {}
        _ => return Ok(None),
    }
    let status = sys::fcntl(fd, libc::F_GETFL, 0)?;
    let nonblocking = status & libc::O_NONBLOCK != 0;
    let tcp = sys::hidden_copy(fd)?;
    let (signal, new) = match Signal::new() {
        Ok(made) => made,
        Err(error) => {
            sys::close(tcp);
            return Err(error);
        }
    };
    sys::note_stream(tcp);
    undecided::wait_for_no_key(tcp);
    if !nonblocking {
        let _ = sys::fcntl(new, libc::F_SETFL, 0);
    }
    let time = sys::option::<libc::timeval>(tcp, libc::SOL_SOCKET, libc::SO_RCVTIMEO);
    if let Ok(time) = time {
        let _ = sys::set_option(new, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time);
    }
    let entry = match found {
        Some(entry) => entry,
        None => {
            // It is put in as what it will be in a moment; only its numbers matter until then.
            change.insert(fd, Kind::Marked);
            table::get(fd).ok_or(io::ErrorKind::Other)?
        }
    };
    for copy in sys::copies(fd) {
        if !table::has(copy) {
            change.share(&entry, copy);
        }
    }
    let fate = Arc::clone(entry.fate());
    let endpoint = Arc::new(Endpoint::new(signal, tcp, nonblocking, fallback, fate));
    let kind = Kind::Stream(Arc::clone(&endpoint));
    if !matches!(entry.kind, Kind::Undecided(_)) {
        // Until now, or until it was marked, nobody has noted what is registered for it.
        note_registrations(&entry);
    }
    let moved = exchange(&entry, new);
    endpoint.renumber(fd);
    sys::close(new);
    for registration in entry.registrations() {
        endpoint.watch_for_good(registration.events & libc::EPOLLET as u32 != 0);
    }
    change.become_kind(&entry, kind);
    register_again(&moved);
    Ok(Some(endpoint))
}

/// Puts the connected plain TCP socket `plain` in the place of an endpoint's signal, and takes its numbers out of the
/// table.
pub(crate) fn replace(endpoint: &Arc<Endpoint>, plain: c_int) -> io::Result<()> {
    let change = table::change();
    let Some(entry) = entry_of(endpoint) else {
        // The program has closed it meanwhile.
        return Ok(());
    };
    sys::set_nonblocking(plain, endpoint.is_nonblocking())?;
    if endpoint.is_read_shut() {
        sys::shutdown(plain, libc::SHUT_RD);
    }
    if endpoint.is_write_shut() {
        sys::shutdown(plain, libc::SHUT_WR);
    }
    // Whoever waits for the signal, or is about to, is not told by the program's numbers any more.
    let signal = (entry.numbers().first())
        .and_then(|&number| sys::fcntl(number, libc::F_DUPFD_CLOEXEC, 0).ok());
    endpoint.renumber(-1);
    let moved = exchange(&entry, plain);
    entry.fate().become_plain();
    for number in entry.numbers() {
        remove(&change, number);
    }
    register_again(&moved);
    if let Some(signal) = signal {
        sys::shutdown(signal, libc::SHUT_RDWR);
        sys::close(signal);
    }
    process::count(Count::Plain);
    Ok(())
}

fn remove(change: &Change, number: c_int) {
    if let Some((entry, true)) = change.remove(number)
        && let Kind::Stream(endpoint) = &entry.kind
    {
        endpoint.finish();
    }
}

fn entry_of(endpoint: &Arc<Endpoint>) -> Option<Arc<Entry>> {
    table::present(0, sys::NUMBERS - 1)
        .filter_map(table::get)
        .find(|entry| matches!(&entry.kind, Kind::Stream(its) if Arc::ptr_eq(its, endpoint)))
}

/// Notes what the program's epoll descriptors know of an entry's numbers.
fn note_registrations(entry: &Entry) {
    for set in sys::epolls() {
        for number in entry.numbers() {
            if let Some((events, data)) = sys::registered(set, number) {
                entry.register(Registration {
                    set,
                    number,
                    events,
                    data,
                });
            }
        }
    }
}

/// Lets all numbers of an entry refer to what `new` refers to, and returns what was registered for them, for
/// [`register_again`] when the table says what they are: whoever is woken by that has to find it settled.
#[must_use]
fn exchange(entry: &Entry, new: c_int) -> Vec<Registration> {
    // What epoll knows belongs to the object and not to the number: it has to be taken from the old one while the
    // number still leads there.
    let mut moved = Vec::new();
    for mut registration in entry.registrations() {
        if registration.events & libc::EPOLLONESHOT as u32 != 0
            && let Some((events, _)) = sys::registered(registration.set, registration.number)
        {
            // If it has been told, it is asleep until the program asks again.
            registration.events = events;
        }
        if control(libc::EPOLL_CTL_DEL, &registration) {
            moved.push(registration);
        } else {
            entry.unregister(registration.set, registration.number);
        }
    }
    for number in entry.numbers() {
        let flags = sys::fcntl(number, libc::F_GETFD, 0).unwrap_or(0);
        let flags = if flags & libc::FD_CLOEXEC != 0 {
            libc::O_CLOEXEC
        } else {
            0
        };
        // SAFETY: it touches no memory; the number is one of the program's that is to change.
        unsafe { real::dup3(new, number, flags) };
    }
    moved
}

/// Registers it for what the numbers refer to now.
fn register_again(moved: &[Registration]) {
    for registration in moved {
        control(libc::EPOLL_CTL_ADD, registration);
    }
}

fn control(operation: c_int, registration: &Registration) -> bool {
    let mut event = libc::epoll_event {
        events: registration.events,
        u64: registration.data,
    };
    // SAFETY: the structure is this frame's.
    unsafe { real::epoll_ctl(registration.set, operation, registration.number, &mut event) == 0 }
}

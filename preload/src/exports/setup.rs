//! Connections that begin: connect, accept.

use std::ffi::c_int;
use std::time::Instant;

use libc::{sockaddr, socklen_t};

use super::failed;
use crate::border::{Step, guarded, step};
use crate::endpoint::{Progress, Role};
use crate::fallback::Fallback;
use crate::fate::Waiter;
use crate::real::real;
use crate::sys::{self, Address};
use crate::table::{self, Kind};
use crate::{config, connector, convert, errno};

pub(crate) unsafe fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    // SAFETY: the address is the caller's.
    let Some(how) = guarded(|| unsafe { chosen(fd, address, len) }) else {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::connect(fd, address, len) };
    };
    let (nonblocking, fallback) = match how {
        Chosen::Again(0) => return 0,
        // TCP waits here, too, after a connect that a signal or SO_SNDTIMEO has ended.
        Chosen::Again(libc::EALREADY) if is_blocking(fd) => return wait_until_open(fd),
        Chosen::Again(number) => return failed(number),
        Chosen::Ddp {
            nonblocking,
            fallback,
        } => (nonblocking, fallback),
    };
    let waits_for_set_up = fallback.is_some();
    // SAFETY: the arguments are the caller's.
    let result = unsafe { real::connect(fd, address, len) };
    // Without O_NONBLOCK these say that a signal or SO_SNDTIMEO has ended the wait. The kernel goes on.
    let number = errno::get();
    let under_way = result < 0 && matches!(number, libc::EINPROGRESS | libc::EINTR);
    if result < 0 && !under_way {
        return result;
    }
    let begun = step(|| {
        let found = table::get(fd);
        match convert::convert(fd, found.as_ref(), fallback.map(|plain| *plain)) {
            Ok(Some(endpoint)) if nonblocking || under_way => {
                connector::begin(endpoint);
                Step::Failed(if under_way { number } else { libc::EINPROGRESS })
            }
            Ok(Some(endpoint)) => {
                endpoint.begin(Role::Initiator);
                endpoint.tell();
                Step::Done(0)
            }
            Ok(None) => Step::Failed(libc::EBADF),
            Err(error) => Step::Failed(errno::of(&error)),
        }
    });
    if let Step::Failed(number) = begun {
        return failed(number);
    }
    if !waits_for_set_up {
        // As TCP's, it does not wait until the peer's program has accepted; the first read or write does.
        return 0;
    }
    wait_until_open(fd)
}

fn is_blocking(fd: c_int) -> bool {
    sys::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags & libc::O_NONBLOCK == 0)
}

/// Waits until it is known whether the peer speaks MPA.
fn wait_until_open(fd: c_int) -> c_int {
    let mut waited: Option<Waiter> = None;
    loop {
        let last = waited.take();
        let now = step(|| {
            if let Some(waiter) = last
                && let Err(number) = waiter.done(fd)
            {
                return Step::Failed(number);
            }
            let Some(entry) = table::get(fd) else {
                // It is plain TCP by now, connected.
                return Step::Plain;
            };
            let Kind::Stream(endpoint) = &entry.kind else {
                return Step::Plain;
            };
            match endpoint.progress() {
                Progress::Open => {
                    endpoint.tell();
                    Step::Done(0)
                }
                Progress::Failed(number) => {
                    Step::Failed(endpoint.failure(number).unwrap_or(libc::ECONNABORTED))
                }
                Progress::Pending if endpoint.sees_connected() => {
                    endpoint.tell();
                    Step::Done(0)
                }
                Progress::Pending => Step::WaitForRoom(-1, Waiter::watch(endpoint)),
            }
        });
        match now {
            Step::WaitForRoom(_, waiter) => waited = Some(waiter),
            Step::Failed(number) => return failed(number),
            _ => return 0,
        }
        let ask = libc::pollfd {
            fd,
            events: libc::POLLOUT,
            revents: 0,
        };
        if crate::wait::wait(&mut [ask], -1) < 0 {
            // A signal: it goes on without the caller.
            let number = errno::get();
            guarded(|| waited.take()?.done(fd).ok());
            return failed(number);
        }
    }
}

enum Chosen {
    /// It has been called before; this is what it returns now.
    Again(c_int),
    /// The connection is to be in DDPMODE.
    Ddp {
        nonblocking: bool,
        fallback: Option<Box<Fallback>>,
    },
}

/// `None` for plain TCP and what is no TCP.
unsafe fn chosen(fd: c_int, address: *const sockaddr, len: socklen_t) -> Option<Chosen> {
    let mut entry = table::get(fd);
    if let Some(Kind::Stream(endpoint)) = entry.as_ref().map(|entry| &entry.kind)
        && endpoint.is_falling_back()
    {
        // A plain connection may just be taking its place.
        let change = table::change();
        entry = table::get(fd);
        drop(change);
    }
    let marked = match entry.as_ref().map(|entry| &entry.kind) {
        Some(Kind::Stream(endpoint)) => {
            return Some(Chosen::Again(match endpoint.progress() {
                Progress::Pending if !endpoint.sees_connected() => libc::EALREADY,
                Progress::Pending | Progress::Open if endpoint.tell() => 0,
                Progress::Pending | Progress::Open => libc::EISCONN,
                Progress::Failed(number) => endpoint.failure(number).unwrap_or(libc::ECONNABORTED),
            }));
        }
        Some(Kind::Undecided(_) | Kind::Message) => return None,
        Some(Kind::Marked) => true,
        None => false,
    };
    let config = config::get();
    if !marked && config.connects_nowhere() {
        return None;
    }
    // SAFETY: the address is the caller's.
    let address = unsafe { Address::read(address, len) }?;
    let to = address.internet()?;
    if !(marked || config.connects_to(&to)) || !sys::is_tcp(fd) || Address::peer(fd).is_ok() {
        return None;
    }
    let status = sys::fcntl(fd, libc::F_GETFL, 0).ok()?;
    Some(Chosen::Ddp {
        nonblocking: status & libc::O_NONBLOCK != 0,
        fallback: config
            .fallback
            .then(|| Box::new(Fallback::new(fd, address))),
    })
}

/// What a connection in DDPMODE refuses, as any connection does.
fn is_connection(fd: c_int) -> bool {
    let is_stream = || {
        let entry = table::get(fd)?;
        matches!(entry.kind, Kind::Stream(_)).then_some(())
    };
    table::has(fd) && guarded(is_stream).is_some()
}

pub(crate) unsafe fn bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    if is_connection(fd) {
        return failed(libc::EINVAL);
    }
    // SAFETY: the arguments are the caller's.
    unsafe { real::bind(fd, address, len) }
}

pub(crate) unsafe fn listen(fd: c_int, backlog: c_int) -> c_int {
    if is_connection(fd) {
        return failed(libc::EINVAL);
    }
    // SAFETY: it touches no memory.
    unsafe { real::listen(fd, backlog) }
}

pub(crate) unsafe fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    if is_connection(fd) {
        return failed(libc::EINVAL);
    }
    // SAFETY: the arguments are the caller's.
    accepted(fd, unsafe { real::accept(fd, address, len) })
}

pub(crate) unsafe fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    if is_connection(fd) {
        return failed(libc::EINVAL);
    }
    // SAFETY: the arguments are the caller's.
    accepted(fd, unsafe { real::accept4(fd, address, len, flags) })
}

/// Puts what has been accepted into the table, if it may be in DDPMODE.
fn accepted(listener: c_int, new: c_int) -> c_int {
    if new < 0 {
        return new;
    }
    // What it was before, if nobody has seen that closed.
    super::numbers::forget(new);
    guarded(|| {
        sys::note_accepted(new);
        let of_listener = table::get(listener);
        let of_listener = of_listener.as_ref().map(|entry| &entry.kind);
        if let Some(Kind::Message) = of_listener {
            if !table::is_borrowed() {
                table::change().insert(new, Kind::Message);
            }
            return None;
        }
        let config = config::get();
        if !matches!(of_listener, Some(Kind::Marked)) {
            if config.listens_nowhere() {
                return None;
            }
            let local = Address::local(new).ok()?.internet()?;
            if !config.listens_at(&local) {
                return None;
            }
        }
        if sys::is_tcp(new) && !table::is_borrowed() {
            table::change().insert(new, Kind::Undecided(Instant::now()));
        }
        Some(())
    });
    new
}

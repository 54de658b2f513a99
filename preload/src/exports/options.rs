//! Options and names.

use std::ffi::{c_int, c_ulong, c_void};
use std::sync::Arc;

use libc::{sockaddr, socklen_t, timeval};

use super::{failed, numbers};
use crate::border::{Step, guarded, step};
use crate::convert;
use crate::endpoint::{Endpoint, Role};
use crate::errno;
use crate::real::real;
use crate::sys::{self, Address};
use crate::table::{self, Kind};
use crate::undecided;

/// The level of DDPMODE; this and what follows is that of `uwarp-ddpmode.h`.
const SOL_DDP: c_int = 0x4444_5031;
/// The option.
const DDPMODE: c_int = 1;
const OFF: c_int = 0;
const STREAM: c_int = 1;
const MESSAGE: c_int = 2;
const INITIATOR: c_int = 0x100;
const RESPONDER: c_int = 0x200;

/// The stream of a number, if it is one.
fn endpoint(fd: c_int) -> Option<Arc<Endpoint>> {
    match &table::get(fd)?.kind {
        Kind::Stream(endpoint) => Some(Arc::clone(endpoint)),
        _ => None,
    }
}

pub(crate) unsafe fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    if level == SOL_DDP {
        if name != DDPMODE {
            return failed(libc::ENOPROTOOPT);
        }
        if value.is_null() || len as usize != size_of::<c_int>() {
            return failed(libc::EINVAL);
        }
        // SAFETY: it is the caller's, not null and of this size.
        let mode = unsafe { value.cast::<c_int>().read_unaligned() };
        return match step(|| set_mode(fd, mode)) {
            Step::Failed(number) => failed(number),
            _ => 0,
        };
    }
    // SAFETY: the arguments are the caller's.
    let plain = |fd| unsafe { real::setsockopt(fd, level, name, value, len) };
    if !table::has(fd) {
        return plain(fd);
    }
    let Some(result) = guarded(|| {
        let endpoint = endpoint(fd)?;
        let number = (level, name);
        if number == (libc::IPPROTO_TCP, libc::TCP_CORK) {
            // FPDUs are sent as they are made.
            return Some(Ok(0));
        }
        if number == (libc::SOL_SOCKET, libc::SO_RCVTIMEO) {
            // This is the one that the kernel waits for.
            plain(fd);
        }
        if number == (libc::SOL_SOCKET, libc::SO_SNDTIMEO)
            && !value.is_null()
            && len as usize >= size_of::<timeval>()
        {
            // SAFETY: it is the caller's, not null and large enough.
            let time = unsafe { value.cast::<timeval>().read_unaligned() };
            endpoint.set_send_timeout(&time);
        }
        if number == (libc::SOL_SOCKET, libc::SO_ZEROCOPY) {
            // Nobody would tell the program when its octets are its own again.
            return Some(Err(libc::EOPNOTSUPP));
        }
        if !value.is_null() {
            // SAFETY: it is the caller's, not null and of this size.
            let value = unsafe { std::slice::from_raw_parts(value.cast(), len as usize) };
            endpoint.has_set(level, name, value);
        }
        Some(with_errno(|| endpoint.with_tcp(plain)))
    }) else {
        return plain(fd);
    };
    returned(result)
}

/// The result of a call on the hidden socket, with its errno; a socket that is gone has ENOTCONN.
fn with_errno(call: impl FnOnce() -> Option<c_int>) -> Result<c_int, c_int> {
    match call() {
        Some(result) if result >= 0 => Ok(result),
        Some(_) => Err(errno::get()),
        None => Err(libc::ENOTCONN),
    }
}

fn returned(result: Result<c_int, c_int>) -> c_int {
    match result {
        Ok(result) => result,
        Err(number) => failed(number),
    }
}

fn set_mode(fd: c_int, mode: c_int) -> Step {
    let role = match mode & !0xff {
        0 => None,
        INITIATOR => Some(Role::Initiator),
        RESPONDER => Some(Role::Responder),
        _ => return Step::Failed(libc::EINVAL),
    };
    match mode & 0xff {
        OFF | STREAM => {}
        MESSAGE if role.is_none() => {}
        _ => return Step::Failed(libc::EINVAL),
    }
    if let Err(error) = sys::fcntl(fd, libc::F_GETFD, 0) {
        return Step::Failed(errno::of(&error));
    }
    if mode == MESSAGE {
        return set_message(fd);
    }
    let entry = table::get(fd);
    let on = mode & 0xff == STREAM;
    match entry.as_ref().map(|entry| &entry.kind) {
        Some(Kind::Stream(_)) if on => return Step::Done(0),
        Some(Kind::Stream(_)) => return Step::Failed(libc::EBUSY),
        Some(Kind::Marked | Kind::Message) if !on => {
            take_out(fd);
            return Step::Done(0);
        }
        Some(Kind::Undecided(_)) if !on => {
            if let Some(entry) = &entry {
                undecided::settle_as_plain(fd, entry);
            }
            return Step::Done(0);
        }
        _ if !on => return Step::Done(0),
        _ => {}
    }
    if !sys::is_tcp(fd) {
        return Step::Failed(libc::EOPNOTSUPP);
    }
    if Address::peer(fd).is_err() {
        // Not connected: this is for connections to come.
        let change = table::change();
        match table::get(fd) {
            None => {
                change.insert(fd, Kind::Marked);
            }
            Some(entry) if matches!(entry.kind, Kind::Message) => {
                change.become_kind(&entry, Kind::Marked);
            }
            Some(_) => {}
        }
        return Step::Done(0);
    }
    let accepted = matches!(
        entry.as_ref().map(|entry| &entry.kind),
        Some(Kind::Undecided(_))
    ) || sys::was_accepted(fd);
    let role = role.unwrap_or(if accepted {
        Role::Responder
    } else {
        Role::Initiator
    });
    match convert::convert(fd, entry.as_ref(), None) {
        Ok(Some(endpoint)) => {
            endpoint.begin(role);
            Step::Done(0)
        }
        Ok(None) => Step::Failed(libc::EBUSY),
        Err(error) => Step::Failed(errno::of(&error)),
    }
}

/// The socket, and what it accepts, is plain TCP until `uwarp.h`'s calls take it.
fn set_message(fd: c_int) -> Step {
    let mut entry = table::get(fd);
    if entry.is_none() && !sys::is_tcp(fd) {
        return Step::Failed(libc::EOPNOTSUPP);
    }
    if let Some(undecided) = &entry
        && matches!(undecided.kind, Kind::Undecided(_))
    {
        undecided::settle_as_plain(fd, undecided);
        entry = None;
    }
    let change = table::change();
    match entry.as_ref().map(|entry| (entry, &entry.kind)) {
        None => {
            change.insert(fd, Kind::Message);
        }
        Some((entry, Kind::Marked)) => change.become_kind(entry, Kind::Message),
        Some((_, Kind::Message)) => {}
        Some(_) => return Step::Failed(libc::EBUSY),
    }
    Step::Done(0)
}

/// Nothing is asked for any more of a socket that is not in DDPMODE, by any of its numbers.
fn take_out(fd: c_int) {
    let change = table::change();
    if let Some(entry) = table::get(fd) {
        entry.fate().become_plain();
        for number in entry.numbers() {
            change.remove(number);
        }
    }
}

fn mode(fd: c_int) -> c_int {
    match table::get(fd).as_ref().map(|entry| &entry.kind) {
        Some(Kind::Stream(_) | Kind::Marked) => STREAM,
        Some(Kind::Message) => MESSAGE,
        _ => OFF,
    }
}

/// Writes an option's value as the kernel does: cut to the room, with its length.
///
/// # Safety
/// `len` is null or valid, and `value` null or valid for as many octets as it says.
unsafe fn give(number: c_int, value: *mut c_void, len: *mut socklen_t) -> Result<c_int, c_int> {
    if value.is_null() || len.is_null() {
        return Err(libc::EFAULT);
    }
    // SAFETY: it is the caller's and not null.
    let room = unsafe { *len } as usize;
    let octets = number.to_ne_bytes();
    let given = room.min(octets.len());
    // SAFETY: there is room for as much.
    unsafe { std::ptr::copy_nonoverlapping(octets.as_ptr(), value.cast(), given) };
    // SAFETY: it is the caller's and not null.
    unsafe { *len = given as socklen_t };
    Ok(0)
}

pub(crate) unsafe fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    // SAFETY: the arguments are the caller's.
    let plain = |fd| unsafe { real::getsockopt(fd, level, name, value, len) };
    if level == SOL_DDP {
        let Some(mode) = guarded(|| Some(mode(fd))) else {
            return failed(libc::EIO);
        };
        if let Err(error) = sys::fcntl(fd, libc::F_GETFD, 0) {
            return failed(errno::of(&error));
        }
        if name != DDPMODE {
            return failed(libc::ENOPROTOOPT);
        }
        // SAFETY: the pointers are the caller's.
        return returned(unsafe { give(mode, value, len) });
    }
    if !table::has(fd) {
        return plain(fd);
    }
    let Some(result) = guarded(|| {
        let endpoint = endpoint(fd)?;
        if (level, name) == (libc::SOL_SOCKET, libc::SO_ERROR) {
            let error = endpoint.socket_error();
            // SAFETY: the pointers are the caller's.
            return Some(unsafe { give(error, value, len) });
        }
        Some(with_errno(|| endpoint.with_tcp(plain)))
    }) else {
        return plain(fd);
    };
    returned(result)
}

pub(crate) unsafe fn getsockname(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: the arguments are the caller's.
    let plain = |fd| unsafe { real::getsockname(fd, address, len) };
    if !table::has(fd) {
        return plain(fd);
    }
    let Some(result) = guarded(|| {
        let endpoint = endpoint(fd)?;
        Some(match endpoint.names() {
            Some((local, _)) => {
                // SAFETY: the pointers are the caller's.
                unsafe { local.write(address, len) };
                Ok(0)
            }
            None => with_errno(|| endpoint.with_tcp(plain)),
        })
    }) else {
        return plain(fd);
    };
    returned(result)
}

pub(crate) unsafe fn getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: the arguments are the caller's.
    let plain = |fd| unsafe { real::getpeername(fd, address, len) };
    if !table::has(fd) {
        return plain(fd);
    }
    let Some(result) = guarded(|| {
        let endpoint = endpoint(fd)?;
        Some(match endpoint.names() {
            Some((_, peer)) => {
                // SAFETY: the pointers are the caller's.
                unsafe { peer.write(address, len) };
                Ok(0)
            }
            None => with_errno(|| endpoint.with_tcp(plain)),
        })
    }) else {
        return plain(fd);
    };
    returned(result)
}

/// There is no urgent octet in a stream.
pub(crate) unsafe fn sockatmark(fd: c_int) -> c_int {
    if table::has(fd) && guarded(|| endpoint(fd)).is_some() {
        return 0;
    }
    // SAFETY: it touches no memory.
    unsafe { real::sockatmark(fd) }
}

pub(crate) unsafe fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int {
    // SAFETY: the arguments are the caller's.
    let plain = |fd| unsafe { real::ioctl(fd, request, argument) };
    if !table::has(fd) {
        return plain(fd);
    }
    let number: *mut c_int = std::ptr::with_exposed_provenance_mut(argument);
    let Some(result) = guarded(|| {
        if request == libc::FIONREAD
            && let Some(entry) = table::get(fd)
            && let Kind::Undecided(_) = &entry.kind
        {
            let _ = undecided::decide(fd, &entry);
        }
        let endpoint = endpoint(fd)?;
        Some(match request {
            libc::FIONREAD => {
                let octets = endpoint
                    .stream()
                    .map_or(0, |stream| stream.readable_octets());
                let octets = c_int::try_from(octets).unwrap_or(c_int::MAX);
                // SAFETY: this request has a pointer to a number, the caller's.
                unsafe { number.write_unaligned(octets) };
                Ok(0)
            }
            libc::FIONBIO => {
                let result = with_errno(|| Some(plain(fd)));
                if result.is_ok() {
                    // SAFETY: this request has a pointer to a number, the caller's.
                    let on = unsafe { number.read_unaligned() } != 0;
                    numbers::note_nonblocking(fd, on);
                }
                result
            }
            libc::FIOCLEX | libc::FIONCLEX => with_errno(|| Some(plain(fd))),
            _ => with_errno(|| endpoint.with_tcp(plain)),
        })
    }) else {
        return plain(fd);
    };
    returned(result)
}

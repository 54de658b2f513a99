//! Octets out: write, send and their kin, and shutdown.

use std::ffi::{c_int, c_uint, c_void};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use libc::{iovec, mmsghdr, msghdr, off64_t, sockaddr, socklen_t};

use super::failed;
use crate::border::{Step, step};
use crate::endpoint::{Endpoint, Progress};
use crate::errno;
use crate::fate::Waiter;
use crate::real::real;
use crate::sys::Address;
use crate::table::{self, Kind};
use crate::undecided::{self, Decision};

/// Elements of one call, as the kernel's.
const PARTS_MAX: usize = 1024;

pub(crate) unsafe fn write(fd: c_int, from: *const c_void, len: usize) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, from, len, 0) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::write(fd, from, len) },
    }
}

pub(crate) unsafe fn writev(fd: c_int, parts: *const iovec, count: c_int) -> isize {
    let elements = usize::try_from(count).unwrap_or(usize::MAX);
    // SAFETY: the list is the caller's.
    match unsafe { transmit(fd, parts, elements, 0, libc::EINVAL) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::writev(fd, parts, count) },
    }
}

pub(crate) unsafe fn send(fd: c_int, from: *const c_void, len: usize, flags: c_int) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, from, len, flags) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::send(fd, from, len, flags) },
    }
}

pub(crate) unsafe fn sendto(
    fd: c_int,
    from: *const c_void,
    len: usize,
    flags: c_int,
    address: *const sockaddr,
    address_len: socklen_t,
) -> isize {
    // SAFETY: the octets are the caller's. A connected TCP socket does not look at the address.
    match unsafe { one(fd, from, len, flags) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::sendto(fd, from, len, flags, address, address_len) },
    }
}

pub(crate) unsafe fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize {
    if !table::has(fd) || message.is_null() {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::sendmsg(fd, message, flags) };
    }
    // SAFETY: it is the caller's and not null.
    let header = unsafe { &*message };
    // SAFETY: the list is the caller's.
    let (parts, count) = (header.msg_iov, header.msg_iovlen);
    // SAFETY: the list is the caller's.
    match unsafe { transmit(fd, parts, count, flags, libc::EMSGSIZE) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::sendmsg(fd, message, flags) },
    }
}

pub(crate) unsafe fn sendmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    if !table::has(fd) || messages.is_null() {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::sendmmsg(fd, messages, count, flags) };
    }
    let mut done = 0;
    for index in 0..count as usize {
        // SAFETY: the caller's list has so many elements.
        let at = unsafe { messages.add(index) };
        // SAFETY: as above.
        let message = unsafe { &mut *at };
        // SAFETY: the message is the caller's.
        let sent = unsafe { sendmsg(fd, &message.msg_hdr, flags) };
        let Ok(sent) = c_uint::try_from(sent) else {
            break;
        };
        message.msg_len = sent;
        done += 1;
    }
    if done == 0 && count > 0 { -1 } else { done }
}

/// What sendfile reads at once.
const CHUNK: usize = 1 << 16;

pub(crate) unsafe fn sendfile(to: c_int, from: c_int, offset: *mut off64_t, len: usize) -> isize {
    if !table::has(to) {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::sendfile64(to, from, offset, len) };
    }
    // SAFETY: it touches no memory.
    let here = unsafe { libc::lseek64(from, 0, libc::SEEK_CUR) };
    if here < 0 {
        return failed(libc::EINVAL) as isize;
    }
    // SAFETY: it is null or the caller's.
    let start = unsafe { offset.as_ref() }.copied().unwrap_or(here);
    let mut octets = vec![0u8; CHUNK.min(len)];
    let mut sent = 0;
    let mut result = 0;
    while sent < len {
        let at = octets.as_mut_ptr().cast();
        let wanted = octets.len().min(len - sent);
        // SAFETY: there is room for as much.
        let got = unsafe { libc::pread64(from, at, wanted, start + sent as off64_t) };
        if got <= 0 {
            result = got;
            break;
        }
        // SAFETY: as many octets are there.
        let put = unsafe { send(to, at, got.cast_unsigned(), 0) };
        if put < 0 {
            result = put;
            break;
        }
        sent += put.cast_unsigned();
        if put < got {
            break;
        }
    }
    let end = start + sent as off64_t;
    // SAFETY: it is null or the caller's.
    match unsafe { offset.as_mut() } {
        Some(offset) => *offset = end,
        None => {
            let number = errno::get();
            // SAFETY: it touches no memory.
            unsafe { libc::lseek64(from, end, libc::SEEK_SET) };
            errno::set(number);
        }
    }
    if sent > 0 { sent.cast_signed() } else { result }
}

/// Refused for streams, as for descriptors that cannot be spliced; programs then copy.
pub(crate) unsafe fn splice(
    from: c_int,
    from_offset: *mut off64_t,
    to: c_int,
    to_offset: *mut off64_t,
    len: usize,
    flags: c_uint,
) -> isize {
    for fd in [from, to] {
        if let Step::Failed(number) = step(|| refuse_stream(fd)) {
            return failed(number) as isize;
        }
    }
    // SAFETY: the arguments are the caller's.
    unsafe { real::splice(from, from_offset, to, to_offset, len, flags) }
}

fn refuse_stream(fd: c_int) -> Step {
    if let Some(entry) = table::get(fd) {
        if let Kind::Undecided(_) = &entry.kind
            && !matches!(undecided::decide(fd, &entry), Ok(Decision::Decided))
        {
            return Step::Failed(libc::EINVAL);
        }
        if let Some(entry) = table::get(fd)
            && let Kind::Stream(_) = &entry.kind
        {
            return Step::Failed(libc::EINVAL);
        }
    }
    Step::Plain
}

pub(crate) unsafe fn shutdown(fd: c_int, how: c_int) -> c_int {
    match step(|| shut(fd, how)) {
        Step::Done(_) => 0,
        Step::Failed(number) => failed(number),
        // SAFETY: it touches no memory.
        _ => unsafe { real::shutdown(fd, how) },
    }
}

fn shut(fd: c_int, how: c_int) -> Step {
    let Some(mut entry) = table::get(fd) else {
        return Step::Plain;
    };
    let how = match how {
        libc::SHUT_RD => Shutdown::Read,
        libc::SHUT_WR => Shutdown::Write,
        libc::SHUT_RDWR => Shutdown::Both,
        _ => return Step::Failed(libc::EINVAL),
    };
    if let Kind::Undecided(since) = &entry.kind {
        // TCP's own would keep a Reply from being sent. A Request may be on its way.
        let outcome = match undecided::decide(fd, &entry) {
            Ok(Decision::Decided) => Ok(()),
            Ok(_) => {
                let later = undecided::decide_later(fd, &entry, undecided::patience(*since));
                if later.is_err() {
                    // Without descriptors it cannot be a stream.
                    undecided::settle_as_plain(fd, &entry);
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            return Step::Failed(errno::of(&error));
        }
        let Some(now) = table::get(fd) else {
            return Step::Plain;
        };
        entry = now;
    }
    let Kind::Stream(endpoint) = &entry.kind else {
        return Step::Plain;
    };
    match (endpoint.progress(), endpoint.stream()) {
        (Progress::Open, Some(stream)) => {
            let now = stream.readiness();
            if now.hung_up && !endpoint.is_write_shut() {
                return Step::Failed(libc::ENOTCONN);
            }
        }
        // TCP is connected; the set-up goes on.
        (Progress::Pending, _)
            if endpoint.with_tcp(|tcp| Address::peer(tcp).is_ok()) == Some(true) => {}
        _ => return Step::Failed(libc::ENOTCONN),
    }
    endpoint.shut_down(how);
    Step::Done(0)
}

unsafe fn one(fd: c_int, from: *const c_void, len: usize, flags: c_int) -> Option<isize> {
    if !table::has(fd) {
        return None;
    }
    let part = iovec {
        iov_base: from.cast_mut(),
        iov_len: len,
    };
    // SAFETY: it is a list of one element, whose octets are the caller's.
    unsafe { transmit(fd, &part, 1, flags, libc::EMSGSIZE) }
}

/// `None` when the number is none of ours. `too_many` is the error for a list that is too long.
unsafe fn transmit(
    fd: c_int,
    parts: *const iovec,
    count: usize,
    flags: c_int,
    too_many: c_int,
) -> Option<isize> {
    if !table::has(fd) {
        return None;
    }
    let mut sent = 0;
    let mut waited: Option<Waiter> = None;
    loop {
        let last = waited.take();
        let list = (parts, count, too_many);
        // SAFETY: the list is the caller's.
        let number = match step(|| unsafe { put(fd, list, flags, &mut sent, last) }) {
            Step::Plain if sent > 0 => return Some(sent.cast_signed()),
            Step::Plain => return None,
            Step::Done(all) => return Some(all.cast_signed()),
            Step::Failed(number) => number,
            Step::WaitForRoom(milliseconds, waiter) => {
                waited = Some(waiter);
                match wait(fd, libc::POLLOUT, milliseconds) {
                    Ok(()) => continue,
                    Err(number) => number,
                }
            }
            Step::WaitForOctets(milliseconds, waiter) => {
                waited = Some(waiter);
                match wait(fd, libc::POLLIN, c_int::try_from(milliseconds).unwrap_or(0)) {
                    // Time is up: the next step sees that itself.
                    Ok(()) | Err(libc::EAGAIN) => continue,
                    Err(number) => number,
                }
            }
            Step::Pause => libc::EIO,
        };
        if let Some(waiter) = waited {
            step(|| {
                waiter
                    .done(fd)
                    .map_or_else(Step::Failed, |()| Step::Done(0))
            });
        }
        if sent > 0 {
            return Some(sent.cast_signed());
        }
        if number == libc::EPIPE && flags & libc::MSG_NOSIGNAL == 0 {
            // SAFETY: it has no condition.
            let own = unsafe { libc::pthread_self() };
            // SAFETY: it is the calling thread.
            unsafe { libc::pthread_kill(own, libc::SIGPIPE) };
        }
        errno::set(number);
        return Some(-1);
    }
}

/// Waits in the outermost frame; EAGAIN when time is up.
fn wait(fd: c_int, events: i16, milliseconds: c_int) -> Result<(), c_int> {
    let ask = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    match crate::wait::wait(&mut [ask], milliseconds) {
        0 => Err(libc::EAGAIN),
        answer if answer < 0 => Err(errno::get()),
        _ => Ok(()),
    }
}

/// One step of it. `sent` counts what earlier steps have put.
unsafe fn put(
    fd: c_int,
    list: (*const iovec, usize, c_int),
    flags: c_int,
    sent: &mut usize,
    waited: Option<Waiter>,
) -> Step {
    if let Some(waiter) = waited
        && let Err(number) = waiter.done(fd)
    {
        return Step::Failed(number);
    }
    loop {
        let Some(entry) = table::get(fd) else {
            return Step::Plain;
        };
        match &entry.kind {
            Kind::Marked | Kind::Message => return Step::Plain,
            Kind::Stream(endpoint) => {
                // SAFETY: the list is the caller's.
                return unsafe { put_to(endpoint, list, flags, sent) };
            }
            Kind::Undecided(since) => match undecided::decide(fd, &entry) {
                Ok(Decision::Decided) => {}
                Ok(_) => {
                    // The program speaks before its peer has spoken. A Request may be on its way.
                    let patience = undecided::patience(*since);
                    if patience.is_zero() {
                        undecided::settle_as_plain(fd, &entry);
                    } else {
                        let waits = flags & libc::MSG_DONTWAIT == 0
                            && crate::sys::fcntl(fd, libc::F_GETFL, 0)
                                .is_ok_and(|flags| flags & libc::O_NONBLOCK == 0);
                        if !waits && undecided::decide_later(fd, &entry, patience).is_ok() {
                            continue;
                        }
                        let milliseconds = patience.as_millis() as usize + 1;
                        return Step::WaitForOctets(milliseconds, Waiter::undecided(&entry));
                    }
                }
                Err(error) => return Step::Failed(errno::of(&error)),
            },
        }
    }
}

unsafe fn put_to(
    endpoint: &Arc<Endpoint>,
    (parts, count, too_many): (*const iovec, usize, c_int),
    flags: c_int,
    sent: &mut usize,
) -> Step {
    if flags & libc::MSG_OOB != 0 {
        return Step::Failed(libc::EOPNOTSUPP);
    }
    if count > PARTS_MAX {
        return Step::Failed(too_many);
    }
    // SAFETY: the list is the caller's.
    let mut slices = unsafe { slices(parts, count) };
    let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
    let stream = match (endpoint.progress(), endpoint.stream()) {
        (Progress::Open, Some(stream)) => stream,
        (Progress::Failed(number), _) => {
            return Step::Failed(endpoint.failure(number).unwrap_or(libc::EPIPE));
        }
        _ if endpoint.is_write_shut() => return Step::Failed(libc::EPIPE),
        _ => return wait_for_room(endpoint, flags, *sent),
    };
    if *sent == 0
        && let Some(number) = endpoint.kept_write_error()
    {
        return Step::Failed(number);
    }
    if endpoint.is_write_shut() {
        // The error of the connection goes before.
        return Step::Failed(match endpoint.take_error() {
            0 => libc::EPIPE,
            number => number,
        });
    }
    let mut rest: &mut [IoSlice<'_>] = &mut slices;
    IoSlice::advance_slices(&mut rest, *sent);
    loop {
        match stream.try_write(rest) {
            Ok(put) => {
                *sent += put;
                if *sent == wanted {
                    endpoint.has_written();
                    return Step::Done(*sent);
                }
                IoSlice::advance_slices(&mut rest, put);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return wait_for_room(endpoint, flags, *sent);
            }
            Err(error) if *sent > 0 => {
                // What has been written is told first, as TCP does.
                endpoint.keep_write_error(errno::of(&error));
                return Step::Done(*sent);
            }
            Err(error) => return Step::Failed(errno::of(&error)),
        }
    }
}

fn wait_for_room(endpoint: &Arc<Endpoint>, flags: c_int, sent: usize) -> Step {
    // While it is being set up there is no room, whatever has been shown.
    endpoint.sees_connected();
    if flags & libc::MSG_DONTWAIT != 0 || endpoint.is_nonblocking() {
        endpoint.has_no_room();
        return if sent > 0 {
            Step::Done(sent)
        } else {
            Step::Failed(libc::EAGAIN)
        };
    }
    let patience = endpoint.send_timeout().map_or(-1, |time: Duration| {
        c_int::try_from(time.as_millis())
            .unwrap_or(c_int::MAX)
            .max(1)
    });
    Step::WaitForRoom(patience, Waiter::watch(endpoint))
}

/// The program's list as Rust knows it.
unsafe fn slices<'a>(parts: *const iovec, count: usize) -> Vec<IoSlice<'a>> {
    if parts.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's list has so many elements.
    let parts = unsafe { std::slice::from_raw_parts(parts, count) };
    parts
        .iter()
        .map(|part| {
            let (at, len) = if part.iov_base.is_null() {
                (std::ptr::NonNull::dangling().as_ptr(), 0)
            } else {
                (part.iov_base.cast::<u8>(), part.iov_len)
            };
            // SAFETY: the program lends the octets for as long as the call takes.
            IoSlice::new(unsafe { std::slice::from_raw_parts(at, len) })
        })
        .collect()
}

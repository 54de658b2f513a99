//! Octets in: read, recv and their kin.

use std::ffi::{c_int, c_uint, c_void};
use std::io::{self, IoSliceMut};

use libc::{iovec, mmsghdr, msghdr, sockaddr, socklen_t, timespec};

use crate::border::{Step, Waiter, step};
use crate::endpoint::{Endpoint, Progress};
use crate::errno;
use crate::real::real;
use crate::table::{self, Kind};
use crate::undecided::{self, Decision};

/// Elements of one call, as the kernel's.
const PARTS_MAX: usize = 1024;

pub(crate) unsafe fn read(fd: c_int, at: *mut c_void, len: usize) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len, 0) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::read(fd, at, len) },
    }
}

pub(crate) unsafe fn read_chk(fd: c_int, at: *mut c_void, len: usize, room: usize) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len.min(room), 0) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::__read_chk(fd, at, len, room) },
    }
}

pub(crate) unsafe fn readv(fd: c_int, parts: *const iovec, count: c_int) -> isize {
    let elements = usize::try_from(count).unwrap_or(usize::MAX);
    // SAFETY: the list is the caller's.
    match unsafe { receive(fd, parts, elements, 0) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::readv(fd, parts, count) },
    }
}

pub(crate) unsafe fn recv(fd: c_int, at: *mut c_void, len: usize, flags: c_int) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len, flags) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::recv(fd, at, len, flags) },
    }
}

pub(crate) unsafe fn recv_chk(
    fd: c_int,
    at: *mut c_void,
    len: usize,
    room: usize,
    flags: c_int,
) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len.min(room), flags) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::__recv_chk(fd, at, len, room, flags) },
    }
}

pub(crate) unsafe fn recvfrom(
    fd: c_int,
    at: *mut c_void,
    len: usize,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len, flags) } {
        // SAFETY: the pointer is the caller's.
        Some(result) => unsafe { without_address(result, address, address_len) },
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::recvfrom(fd, at, len, flags, address, address_len) },
    }
}

pub(crate) unsafe fn recvfrom_chk(
    fd: c_int,
    at: *mut c_void,
    len: usize,
    room: usize,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len.min(room), flags) } {
        // SAFETY: the pointer is the caller's.
        Some(result) => unsafe { without_address(result, address, address_len) },
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::__recvfrom_chk(fd, at, len, room, flags, address, address_len) },
    }
}

/// TCP sockets name nobody.
unsafe fn without_address(result: isize, address: *mut sockaddr, len: *mut socklen_t) -> isize {
    if result >= 0 && !address.is_null() && !len.is_null() {
        // SAFETY: it is the caller's and not null.
        unsafe { *len = 0 };
    }
    result
}

pub(crate) unsafe fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize {
    if !table::has(fd) || message.is_null() {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::recvmsg(fd, message, flags) };
    }
    // SAFETY: it is the caller's and not null.
    let header = unsafe { &mut *message };
    // SAFETY: the list is the caller's.
    match unsafe { receive(fd, header.msg_iov, header.msg_iovlen, flags) } {
        Some(result) => {
            if result >= 0 {
                header.msg_namelen = 0;
                header.msg_controllen = 0;
                header.msg_flags = 0;
            }
            result
        }
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::recvmsg(fd, message, flags) },
    }
}

pub(crate) unsafe fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    if !table::has(fd) || messages.is_null() || count == 0 {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::recvmmsg(fd, messages, count, flags, timeout) };
    }
    // A stream has no messages: what there is goes into the first.
    // SAFETY: there is at least one.
    let first = unsafe { &mut *messages };
    // SAFETY: the message is the caller's.
    let result = unsafe { recvmsg(fd, &mut first.msg_hdr, flags & !libc::MSG_WAITFORONE) };
    match c_uint::try_from(result) {
        Ok(got) => {
            first.msg_len = got;
            1
        }
        Err(_) => -1,
    }
}

unsafe fn one(fd: c_int, at: *mut c_void, len: usize, flags: c_int) -> Option<isize> {
    if !table::has(fd) {
        return None;
    }
    let part = iovec {
        iov_base: at,
        iov_len: len,
    };
    // SAFETY: it is a list of one element, whose octets are the caller's.
    unsafe { receive(fd, &part, 1, flags) }
}

/// `None` when the number is none of ours.
unsafe fn receive(fd: c_int, parts: *const iovec, count: usize, flags: c_int) -> Option<isize> {
    if !table::has(fd) {
        return None;
    }
    let mut got = 0;
    let mut waited = None;
    loop {
        // SAFETY: the list is the caller's.
        match step(|| unsafe { take(fd, parts, count, flags, &mut got, waited) }) {
            Step::Plain if got > 0 => return Some(got.cast_signed()),
            Step::Plain => return None,
            Step::Done(all) => return Some(all.cast_signed()),
            Step::Failed(_) if got > 0 => return Some(got.cast_signed()),
            Step::Failed(number) => {
                errno::set(number);
                return Some(-1);
            }
            Step::WaitForOctets(wanted, waiter) => {
                let seen = if wanted > 1 {
                    wait_for_key(fd)
                } else {
                    // The kernel's own call waits: it knows O_NONBLOCK, SO_RCVTIMEO, cancellation, and which signal
                    // handlers let a call go on.
                    let mut octet = [0u8; 1];
                    let at = octet.as_mut_ptr().cast();
                    // SAFETY: there is room for one octet.
                    unsafe { real::recv(fd, at, 1, libc::MSG_PEEK) }
                };
                waited = Some((waiter, wanted));
                if seen < 0 {
                    let number = errno::get();
                    step(|| {
                        waiter.done();
                        Step::Done(0)
                    });
                    if got > 0 {
                        return Some(got.cast_signed());
                    }
                    errno::set(number);
                    return Some(-1);
                }
            }
            Step::WaitForRoom(..) => return Some(super::failed(libc::EIO) as isize),
        }
    }
}

/// Waits for the rest of a Request's key, for as long as it may take. Negative when a signal has come.
fn wait_for_key(fd: c_int) -> isize {
    let time = crate::config::get().server_first_wait;
    let mut ask = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: it is one structure of this frame's.
    unsafe { real::poll(&mut ask, 1, time.as_millis() as c_int + 1) as isize }
}

/// One step of it. `got` counts what earlier steps have taken, `waited` is what the wait before was and for how many
/// octets.
unsafe fn take(
    fd: c_int,
    parts: *const iovec,
    count: usize,
    flags: c_int,
    got: &mut usize,
    waited: Option<(Waiter, usize)>,
) -> Step {
    if let Some((waiter, _)) = waited {
        waiter.done();
    }
    loop {
        let Some(entry) = table::get(fd) else {
            return Step::Plain;
        };
        match &entry.kind {
            Kind::Marked => return Step::Plain,
            Kind::Stream(endpoint) => {
                // SAFETY: the list is the caller's.
                return unsafe {
                    take_from(fd, endpoint, parts, count, flags, got, waited.is_some())
                };
            }
            Kind::Undecided(_) => {
                let immediate = flags & libc::MSG_DONTWAIT != 0;
                let nothing = Step::WaitForOctets(1, Waiter::none());
                match undecided::decide(fd, &entry) {
                    Ok(Decision::Decided) => {}
                    Ok(_) if immediate => return Step::Failed(libc::EAGAIN),
                    Ok(Decision::Nothing) => return nothing,
                    Ok(Decision::Some) if is_nonblocking(fd) => return Step::Failed(libc::EAGAIN),
                    Ok(Decision::Some) if waited.is_some_and(|(_, wanted)| wanted > 1) => {
                        // It waited for the whole key: no more comes.
                        undecided::settle_as_plain(fd, &entry);
                    }
                    Ok(Decision::Some) => return Step::WaitForOctets(16, Waiter::none()),
                    Err(error) => return Step::Failed(errno::of(&error)),
                }
            }
        }
    }
}

fn is_nonblocking(fd: c_int) -> bool {
    crate::sys::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0)
}

unsafe fn take_from(
    fd: c_int,
    endpoint: &std::sync::Arc<Endpoint>,
    parts: *const iovec,
    count: usize,
    flags: c_int,
    got: &mut usize,
    waited: bool,
) -> Step {
    if flags & libc::MSG_ERRQUEUE != 0 {
        return Step::Failed(libc::EAGAIN);
    }
    if flags & libc::MSG_OOB != 0 || count > PARTS_MAX {
        return Step::Failed(libc::EINVAL);
    }
    let peek = flags & libc::MSG_PEEK != 0;
    // SAFETY: the list is the caller's.
    let mut slices = unsafe { slices(parts, count) };
    let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
    if wanted == 0 {
        return Step::Done(0);
    }
    let stream = match (endpoint.progress(), endpoint.stream()) {
        (Progress::Open, Some(stream)) => stream,
        (Progress::Failed(number), _) => {
            let number = match endpoint.take_error() {
                0 => number,
                number => number,
            };
            return Step::Failed(number);
        }
        _ => return wait(fd, endpoint, flags, waited),
    };
    if let Some(number) = endpoint.kept_error() {
        return Step::Failed(number);
    }
    let mut rest: &mut [IoSliceMut<'_>] = &mut slices;
    IoSliceMut::advance_slices(&mut rest, *got);
    loop {
        match stream.try_read(rest, peek) {
            Ok(0) => {
                endpoint.has_read();
                return Step::Done(*got);
            }
            Ok(read) => {
                *got += read;
                if peek || *got == wanted {
                    endpoint.has_taken();
                    return Step::Done(*got);
                }
                // A read that brings less than was asked for says that there is no more, to some programs. So it is
                // tried until that is true.
                IoSliceMut::advance_slices(&mut rest, read);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if *got > 0 && flags & libc::MSG_WAITALL == 0 {
                    endpoint.has_taken();
                    return Step::Done(*got);
                }
                return wait(fd, endpoint, flags, waited);
            }
            Err(error) if *got > 0 => {
                endpoint.keep_error(errno::of(&error));
                return Step::Done(*got);
            }
            Err(error) => {
                endpoint.has_read();
                return Step::Failed(errno::of(&error));
            }
        }
    }
}

fn wait(fd: c_int, endpoint: &std::sync::Arc<Endpoint>, flags: c_int, waited: bool) -> Step {
    if flags & libc::MSG_DONTWAIT != 0 || endpoint.is_nonblocking() {
        endpoint.has_read_in_vain();
        return Step::Failed(libc::EAGAIN);
    }
    if waited {
        endpoint.misled();
    }
    Step::WaitForOctets(1, Waiter::watch(fd, endpoint))
}

/// The program's list as Rust knows it.
unsafe fn slices<'a>(parts: *const iovec, count: usize) -> Vec<IoSliceMut<'a>> {
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
            // SAFETY: the program lends the octets for writing, for as long as the call takes.
            IoSliceMut::new(unsafe { std::slice::from_raw_parts_mut(at, len) })
        })
        .collect()
}

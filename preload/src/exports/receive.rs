//! Octets in: read, recv and their kin.

use std::ffi::{c_int, c_uint, c_void};
use std::io::{self, IoSliceMut};

use libc::{iovec, mmsghdr, msghdr, sockaddr, socklen_t, timespec};
use uwarp_streams::StreamSocket;

use crate::border::{Step, guarded, step};
use crate::endpoint::{Endpoint, Progress};
use crate::errno;
use crate::fate::Waiter;
use crate::real::real;
use crate::table::{self, Kind};
use crate::undecided::{self, Decision};

/// Elements of one call, as the kernel's.
const PARTS_MAX: usize = 1024;

/// How a call receives.
#[derive(Clone, Copy, Debug)]
struct How {
    flags: c_int,
    /// It is read or readv, which refuse other things, and do not look when there is no room.
    is_read: bool,
}

impl How {
    const READ: Self = Self {
        flags: 0,
        is_read: true,
    };

    fn receive(flags: c_int) -> Self {
        Self {
            flags,
            is_read: false,
        }
    }

    fn has(self, flag: c_int) -> bool {
        self.flags & flag != 0
    }
}

pub(crate) unsafe fn read(fd: c_int, at: *mut c_void, len: usize) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len, How::READ) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::read(fd, at, len) },
    }
}

pub(crate) unsafe fn read_chk(fd: c_int, at: *mut c_void, len: usize, room: usize) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len.min(room), How::READ) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::__read_chk(fd, at, len, room) },
    }
}

pub(crate) unsafe fn readv(fd: c_int, parts: *const iovec, count: c_int) -> isize {
    let elements = usize::try_from(count).unwrap_or(usize::MAX);
    // SAFETY: the list is the caller's.
    match unsafe { receive(fd, parts, elements, How::READ) } {
        Some(result) => result,
        // SAFETY: the arguments are the caller's.
        None => unsafe { real::readv(fd, parts, count) },
    }
}

pub(crate) unsafe fn recv(fd: c_int, at: *mut c_void, len: usize, flags: c_int) -> isize {
    // SAFETY: the octets are the caller's.
    match unsafe { one(fd, at, len, How::receive(flags)) } {
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
    match unsafe { one(fd, at, len.min(room), How::receive(flags)) } {
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
    match unsafe { one(fd, at, len, How::receive(flags)) } {
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
    match unsafe { one(fd, at, len.min(room), How::receive(flags)) } {
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
        let result = unsafe { real::recvmsg(fd, message, flags) };
        if result >= 0 {
            // SAFETY: the kernel has filled the message.
            unsafe { take_over(message) };
        }
        return result;
    }
    // SAFETY: it is the caller's and not null.
    let header = unsafe { &mut *message };
    // SAFETY: the list is the caller's.
    let how = How::receive(flags);
    // SAFETY: the list is the caller's.
    match unsafe { receive(fd, header.msg_iov, header.msg_iovlen, how) } {
        Some(result) => {
            if result >= 0 {
                if !header.msg_name.is_null() {
                    header.msg_namelen = 0;
                }
                header.msg_controllen = 0;
                header.msg_flags = flags & libc::MSG_CMSG_CLOEXEC;
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
        let result = unsafe { real::recvmmsg(fd, messages, count, flags, timeout) };
        let filled = usize::try_from(result).unwrap_or(0).min(count as usize);
        if filled > 0 {
            // SAFETY: the caller's list has at least so many elements, which the kernel has filled.
            for message in unsafe { std::slice::from_raw_parts(messages, filled) } {
                // SAFETY: as above.
                unsafe { take_over(&message.msg_hdr) };
            }
        }
        return result;
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

/// Takes over what a message of a UNIX socket has brought by SCM_RIGHTS.
unsafe fn take_over(message: *const msghdr) {
    // SAFETY: it is the caller's.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: it is null or points to one that the kernel has filled.
    while let Some(header) = unsafe { at.as_ref() } {
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: as above.
            let data: *const c_int = unsafe { libc::CMSG_DATA(at) }.cast();
            let count =
                header.cmsg_len.saturating_sub(data.addr() - at.addr()) / size_of::<c_int>();
            guarded(|| {
                let mut numbers = vec![0; count];
                // SAFETY: the kernel has written so many numbers, and the header is aligned for them.
                unsafe { data.copy_to_nonoverlapping(numbers.as_mut_ptr(), count) };
                if !table::is_borrowed() {
                    crate::fork::take_over_passed(&numbers);
                }
                Some(())
            });
        }
        // SAFETY: as above.
        at = unsafe { libc::CMSG_NXTHDR(message, at) };
    }
}

unsafe fn one(fd: c_int, at: *mut c_void, len: usize, how: How) -> Option<isize> {
    if !table::has(fd) {
        return None;
    }
    let part = iovec {
        iov_base: at,
        iov_len: len,
    };
    // SAFETY: it is a list of one element, whose octets are the caller's.
    unsafe { receive(fd, &part, 1, how) }
}

/// `None` when the number is none of ours.
unsafe fn receive(fd: c_int, parts: *const iovec, count: usize, how: How) -> Option<isize> {
    if !table::has(fd) {
        return None;
    }
    let mut got = 0;
    let mut waited = None;
    let mut pauses = 0;
    loop {
        let last = waited.take();
        // SAFETY: the list is the caller's.
        match step(|| unsafe { take(fd, parts, count, how, &mut got, last, pauses) }) {
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
                        waiter
                            .done(fd)
                            .map_or_else(Step::Failed, |()| Step::Done(0))
                    });
                    if got > 0 {
                        return Some(got.cast_signed());
                    }
                    errno::set(number);
                    return Some(-1);
                }
            }
            Step::Pause => {
                pauses += 1;
                // SAFETY: there is no list.
                if unsafe { real::poll(std::ptr::null_mut(), 0, PAUSE) } < 0 && got == 0 {
                    return Some(-1);
                }
            }
            Step::WaitForRoom(..) => return Some(super::failed(libc::EIO) as isize),
        }
    }
}

/// Milliseconds from one look at what has come to the next, while some has to be left where it is.
const PAUSE: c_int = 2;

/// Waits for the rest of a Request's key, for as long as it may take. Negative when a signal has come.
fn wait_for_key(fd: c_int) -> isize {
    let time = crate::config::get().server_first_wait;
    let ask = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    crate::wait::wait(&mut [ask], time.as_millis() as c_int + 1) as isize
}

/// One step of it. `got` counts what earlier steps have taken, `waited` is what the wait before was and for how many
/// octets, `pauses` how often it has only looked.
unsafe fn take(
    fd: c_int,
    parts: *const iovec,
    count: usize,
    how: How,
    got: &mut usize,
    waited: Option<(Waiter, usize)>,
    pauses: u32,
) -> Step {
    if let Some((waiter, _)) = waited
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
                return unsafe {
                    take_from(endpoint, parts, count, how, got, waited.is_some(), || {
                        is_patient(fd, pauses)
                    })
                };
            }
            Kind::Undecided(_) => {
                let immediate = how.has(libc::MSG_DONTWAIT);
                match undecided::decide(fd, &entry) {
                    Ok(Decision::Decided) => {}
                    Ok(_) if immediate => return Step::Failed(libc::EAGAIN),
                    Ok(Decision::Nothing) => {
                        return Step::WaitForOctets(1, Waiter::undecided(&entry));
                    }
                    Ok(Decision::Some) if is_nonblocking(fd) => return Step::Failed(libc::EAGAIN),
                    Ok(Decision::Some) if waited.is_some_and(|(_, wanted)| wanted > 1) => {
                        // It waited for the whole key: no more comes.
                        undecided::settle_as_plain(fd, &entry);
                    }
                    Ok(Decision::Some) => {
                        return Step::WaitForOctets(16, Waiter::undecided(&entry));
                    }
                    Err(error) => return Step::Failed(errno::of(&error)),
                }
            }
        }
    }
}

fn is_nonblocking(fd: c_int) -> bool {
    crate::sys::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0)
}

/// Whether SO_RCVTIMEO lets somebody go on who has looked so often.
fn is_patient(fd: c_int, pauses: u32) -> bool {
    let time = crate::sys::option::<libc::timeval>(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO);
    let limit = time.map_or(0, |time| time.tv_sec * 1000 + time.tv_usec / 1000);
    limit == 0 || i64::from(pauses) * i64::from(PAUSE) < limit
}

unsafe fn take_from(
    endpoint: &std::sync::Arc<Endpoint>,
    parts: *const iovec,
    count: usize,
    how: How,
    got: &mut usize,
    waited: bool,
    is_patient: impl Fn() -> bool,
) -> Step {
    if how.has(libc::MSG_ERRQUEUE) {
        return Step::Failed(libc::EAGAIN);
    }
    if how.has(libc::MSG_OOB) {
        return Step::Failed(libc::EINVAL);
    }
    if count > PARTS_MAX {
        return Step::Failed(if how.is_read {
            libc::EINVAL
        } else {
            libc::EMSGSIZE
        });
    }
    let peek = how.has(libc::MSG_PEEK);
    let discard = how.has(libc::MSG_TRUNC);
    // SAFETY: the list is the caller's.
    let wanted = unsafe { room(parts, count) };
    if wanted == 0 && how.is_read {
        return Step::Done(0);
    }
    let mut slices = if discard {
        Vec::new()
    } else {
        // SAFETY: the list is the caller's.
        unsafe { slices(parts, count) }
    };
    let stream = match (endpoint.progress(), endpoint.stream()) {
        (Progress::Open, Some(stream)) => stream,
        (Progress::Failed(number), _) => {
            return endpoint.failure(number).map_or(Step::Done(0), Step::Failed);
        }
        _ if endpoint.is_read_shut() => return Step::Done(0),
        _ => return wait(endpoint, how, waited),
    };
    if let Some(number) = endpoint.kept_error() {
        return Step::Failed(number);
    }
    if wanted == 0 {
        // recv with no room waits for octets, and takes none.
        return if stream.readiness().readable || endpoint.is_read_shut() {
            Step::Done(0)
        } else {
            wait(endpoint, how, waited)
        };
    }
    let mut rest: &mut [IoSliceMut<'_>] = &mut slices;
    if !discard {
        IoSliceMut::advance_slices(&mut rest, *got);
    }
    loop {
        let read = if discard {
            throw_away(stream, wanted - *got, peek)
        } else {
            stream.try_read(rest, peek)
        };
        match read {
            Ok(0) => {
                endpoint.has_read();
                return Step::Done(*got);
            }
            Ok(read) => {
                if peek {
                    let more_comes = how.has(libc::MSG_WAITALL)
                        && read < wanted
                        && !how.has(libc::MSG_DONTWAIT)
                        && !endpoint.is_nonblocking()
                        && !endpoint.is_read_shut()
                        && !stream.readiness().read_closed;
                    if more_comes && is_patient() {
                        return Step::Pause;
                    }
                    return Step::Done(read);
                }
                *got += read;
                if *got == wanted {
                    endpoint.has_taken();
                    return Step::Done(*got);
                }
                // A read that brings less than was asked for says that there is no more, to some programs. So it is
                // tried until that is true.
                if !discard {
                    IoSliceMut::advance_slices(&mut rest, read);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if endpoint.is_read_shut() {
                    endpoint.has_read();
                    return Step::Done(*got);
                }
                if *got > 0 && !how.has(libc::MSG_WAITALL) {
                    endpoint.has_taken();
                    return Step::Done(*got);
                }
                return wait(endpoint, how, waited);
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

/// What MSG_TRUNC asks for: octets are taken, and copied nowhere.
fn throw_away(stream: &StreamSocket, len: usize, peek: bool) -> io::Result<usize> {
    let mut octets = vec![0; len.min(THROWN_AWAY_MAX)];
    let there = stream.try_read(&mut [IoSliceMut::new(&mut octets)], peek)?;
    Ok(if peek {
        stream.readable_octets().clamp(there, len.max(there))
    } else {
        there
    })
}

/// Octets that are thrown away at once.
const THROWN_AWAY_MAX: usize = 1 << 16;

fn wait(endpoint: &std::sync::Arc<Endpoint>, how: How, waited: bool) -> Step {
    if how.has(libc::MSG_DONTWAIT) || endpoint.is_nonblocking() {
        endpoint.has_read_in_vain();
        return Step::Failed(libc::EAGAIN);
    }
    if waited {
        endpoint.misled();
    }
    Step::WaitForOctets(1, Waiter::watch(endpoint))
}

/// How many octets the program's list has room for.
unsafe fn room(parts: *const iovec, count: usize) -> usize {
    if parts.is_null() {
        return 0;
    }
    // SAFETY: the caller's list has so many elements.
    let parts = unsafe { std::slice::from_raw_parts(parts, count) };
    let sum = |sum: usize, part: &iovec| sum.saturating_add(part.iov_len);
    parts.iter().fold(0, sum)
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

//! Numbers: close, dup, fcntl and their kin.

use std::ffi::{c_int, c_uint};
use std::sync::Arc;

use libc::FILE;

use super::failed;
use crate::border::{guarded, is_in_call, is_inside};
use crate::real::real;
use crate::sys;
use crate::table::{self, Change, Kind};

/// Takes a number out of the table before it is closed or made to refer to something else.
///
/// The right to change the table is given back before the stream is closed, but not before its signal has forgotten
/// the number.
pub(crate) fn forget(fd: c_int) {
    guarded(|| {
        if table::has(fd) && !table::is_borrowed() {
            let change = table::change();
            let removed = change.remove(fd);
            drop(change);
            finish(removed);
        }
        Some(())
    });
}

fn finish(removed: Option<(Arc<table::Entry>, bool)>) {
    if let Some((entry, true)) = removed
        && let Kind::Stream(endpoint) = &entry.kind
    {
        endpoint.finish();
    }
}

pub(crate) unsafe fn close(fd: c_int) -> c_int {
    if sys::is_hidden(fd) && !table::is_borrowed() {
        if !is_inside() {
            return failed(libc::EBADF);
        }
        sys::unhide(fd);
    }
    forget(fd);
    sys::note_closed(fd);
    super::stdio::settle(fd);
    // SAFETY: the number is the caller's.
    unsafe { real::close(fd) }
}

pub(crate) unsafe fn fclose(file: *mut FILE) -> c_int {
    if let Some(fd) = super::stdio::standard(file) {
        // SAFETY: it is the caller's.
        let flushed = unsafe { libc::fflush(file) };
        // SAFETY: the number is that of the stream, which the caller closes.
        return flushed.min(unsafe { close(fd) });
    }
    if !file.is_null() {
        // SAFETY: it is the caller's.
        let fd = unsafe { real::fileno(file) };
        if table::has(fd) {
            // SAFETY: it is the caller's. What is left in its buffer goes the way of the C library's own writes.
            unsafe { libc::fflush(file) };
            forget(fd);
        }
        sys::note_closed(fd);
    }
    // SAFETY: it is the caller's.
    unsafe { real::fclose(file) }
}

pub(crate) unsafe fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    let closes = flags.cast_unsigned() & libc::CLOSE_RANGE_CLOEXEC == 0;
    if !closes || table::is_borrowed() {
        // SAFETY: the numbers are the caller's.
        return unsafe { real::close_range(first, last, flags) };
    }
    let end = last.min(sys::NUMBERS as c_uint - 1);
    guarded(|| {
        table::present(first as usize, end as usize).for_each(forget);
        sys::note_closed_range(first as usize, end as usize);
        Some(())
    });
    // What is hidden stays.
    let mut from = first;
    for hidden in sys::hidden(first as usize, end as usize) {
        let hidden = hidden.cast_unsigned();
        if hidden > from {
            // SAFETY: the numbers are the caller's.
            let result = unsafe { real::close_range(from, hidden - 1, flags) };
            if result != 0 {
                return result;
            }
        }
        from = hidden + 1;
    }
    if from > last {
        return 0;
    }
    // SAFETY: the numbers are the caller's.
    unsafe { real::close_range(from, last, flags) }
}

pub(crate) unsafe fn closefrom(first: c_int) {
    // SAFETY: the numbers are the caller's.
    unsafe { close_range(first.max(0).cast_unsigned(), c_uint::MAX, 0) };
}

/// Calls what makes `new` of `old`, with the table told.
fn copy(old: c_int, replaces: Option<c_int>, make: impl FnOnce() -> c_int) -> c_int {
    let concerns = table::has(old) || replaces.is_some_and(table::has);
    if !concerns || table::is_borrowed() || replaces == Some(old) {
        return make();
    }
    if let Err(error) = sys::fcntl(old, libc::F_GETFD, 0) {
        return failed(crate::errno::of(&error));
    }
    let mut number = crate::errno::get();
    let made = guarded(|| {
        let change = table::change();
        let removed = replaces.and_then(|new| change.remove(new));
        let new = make();
        if new < 0 {
            number = crate::errno::get();
            // Nothing has changed.
            if let (Some((entry, _)), Some(replaced)) = (&removed, replaces) {
                change.restore(entry, replaced);
            }
        } else {
            share(&change, old, new);
            drop(change);
            finish(removed);
        }
        Some(new)
    });
    crate::errno::set(number);
    made.unwrap_or_else(|| failed(libc::EIO))
}

/// Notes of `new`, made of `old`, what is noted of that.
fn noted(old: c_int, new: c_int) -> c_int {
    if new >= 0 && new != old && !table::is_borrowed() {
        sys::note_copied(old, new);
        super::stdio::settle(new);
    }
    new
}

fn share(change: &Change, old: c_int, new: c_int) {
    if let Some(entry) = table::get(old) {
        change.share(&entry, new);
    }
}

/// The same, when the number that is replaced is a hidden one: nobody can want that.
fn is_ours(new: c_int) -> bool {
    sys::is_hidden(new) && !table::is_borrowed() && !is_inside()
}

pub(crate) unsafe fn dup(fd: c_int) -> c_int {
    // SAFETY: it touches no memory.
    noted(fd, copy(fd, None, || unsafe { real::dup(fd) }))
}

pub(crate) unsafe fn dup2(fd: c_int, new: c_int) -> c_int {
    if is_ours(new) {
        return failed(libc::EBUSY);
    }
    // SAFETY: it touches no memory.
    noted(fd, copy(fd, Some(new), || unsafe { real::dup2(fd, new) }))
}

pub(crate) unsafe fn dup3(fd: c_int, new: c_int, flags: c_int) -> c_int {
    if is_ours(new) {
        return failed(libc::EBUSY);
    }
    // SAFETY: it touches no memory.
    noted(
        fd,
        copy(fd, Some(new), || unsafe { real::dup3(fd, new, flags) }),
    )
}

pub(crate) unsafe fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    if command == libc::F_DUPFD_CLOEXEC && is_in_call() {
        return sys::hidden_copy(fd).unwrap_or(-1);
    }
    // SAFETY: the arguments are the caller's.
    let make = || unsafe { real::fcntl64(fd, command, argument) };
    if !table::has(fd) {
        return match command {
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => noted(fd, make()),
            _ => make(),
        };
    }
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => noted(fd, copy(fd, None, make)),
        libc::F_SETFL => {
            let result = make();
            if result >= 0 {
                note_nonblocking(fd, argument as c_int & libc::O_NONBLOCK != 0);
            }
            result
        }
        _ => make(),
    }
}

/// O_NONBLOCK has been set or taken away.
pub(super) fn note_nonblocking(fd: c_int, on: bool) {
    guarded(|| {
        if let Some(entry) = table::get(fd)
            && let Kind::Stream(endpoint) = &entry.kind
            && !table::is_borrowed()
        {
            endpoint.set_nonblocking(on);
        }
        Some(())
    });
}

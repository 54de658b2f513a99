//! Descriptors that this library makes for itself: the worker's.
//!
//! A program may give any low number to something of its own, with dup2. So what is made by a thread that is in this
//! library gets a high number, and is hidden.

use std::ffi::{c_int, c_uint};

use crate::border::is_in_call;
use crate::real::real;
use crate::sys;

/// A new descriptor, with a high number if it is this library's.
fn settle(fd: c_int) -> c_int {
    if fd >= 0 && is_in_call() {
        sys::hide(fd).unwrap_or(-1)
    } else {
        fd
    }
}

pub(crate) unsafe fn epoll_create1(flags: c_int) -> c_int {
    // SAFETY: it touches no memory.
    settle(unsafe { real::epoll_create1(flags) })
}

pub(crate) unsafe fn eventfd(count: c_uint, flags: c_int) -> c_int {
    // SAFETY: it touches no memory.
    settle(unsafe { real::eventfd(count, flags) })
}

pub(crate) unsafe fn timerfd_create(clock: c_int, flags: c_int) -> c_int {
    // SAFETY: it touches no memory.
    settle(unsafe { real::timerfd_create(clock, flags) })
}

pub(crate) unsafe fn socketpair(
    domain: c_int,
    kind: c_int,
    protocol: c_int,
    pair: *mut c_int,
) -> c_int {
    // SAFETY: the arguments are the caller's.
    let result = unsafe { real::socketpair(domain, kind, protocol, pair) };
    if result == 0 && is_in_call() {
        // SAFETY: there are two numbers.
        for fd in unsafe { std::slice::from_raw_parts_mut(pair, 2) } {
            *fd = settle(*fd);
        }
    }
    result
}

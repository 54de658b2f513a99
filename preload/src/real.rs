//! The exported functions, and the ways to those that they stand before.

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{
    FILE, epoll_event, fd_set, iovec, mmsghdr, msghdr, nfds_t, off64_t, pollfd, sigset_t, sockaddr,
    socklen_t, timespec, timeval,
};

use crate::exports::{numbers, options, own, receive, send, setup, stdio, waiting};
use crate::process;

/// The function behind ours in the order of look-up, null if there is none.
fn next(known: &AtomicPtr<c_void>, name: &'static str) -> *mut c_void {
    let mut at = known.load(Ordering::Relaxed);
    if at.is_null() {
        // SAFETY: the name ends in a zero octet, as all of `interpose` do.
        at = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast()) };
        known.store(at, Ordering::Relaxed);
    }
    at
}

/// What a function returns that failed.
trait Failed {
    const FAILED: Self;
}

impl Failed for c_int {
    const FAILED: Self = -1;
}

impl Failed for isize {
    const FAILED: Self = -1;
}

impl Failed for *mut FILE {
    const FAILED: Self = std::ptr::null_mut();
}

impl Failed for () {
    const FAILED: Self = ();
}

macro_rules! interpose {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty => $ours:path;)*) => {
        /// The C library's own functions, or those of another library that stands between.
        #[allow(clippy::missing_safety_doc, reason = "the contract is that of the C function")]
        pub(crate) mod real {
            use super::*;

            $(
                #[allow(dead_code, reason = "another name of a function that is used")]
                #[allow(non_snake_case, reason = "the name is the C library's")]
                #[inline]
                pub(crate) unsafe fn $name($($argument: $type),*) -> $result {
                    static AT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
                    let function = next(&AT, concat!(stringify!($name), "\0"));
                    if function.is_null() {
                        crate::errno::set(libc::ENOSYS);
                        return <$result as Failed>::FAILED;
                    }
                    type Function = unsafe extern "C-unwind" fn($($type),*) -> $result;
                    // SAFETY: the C library's function of this name has this type.
                    let function: Function = unsafe { std::mem::transmute(function) };
                    // SAFETY: the caller keeps the contract of the C function.
                    unsafe { function($($argument),*) }
                }
            )*
        }

        $(
            /// Stands before the C library's function of this name.
            ///
            /// # Safety
            /// As that of the C function.
            #[allow(non_snake_case, reason = "the name is the C library's")]
            #[cfg_attr(not(test), unsafe(no_mangle))]
            pub(crate) unsafe extern "C-unwind" fn $name($($argument: $type),*) -> $result {
                // SAFETY: the caller keeps the contract of the C function.
                unsafe { $ours($($argument),*) }
            }
        )*
    };
}

include!("list.rs");

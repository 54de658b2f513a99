//! The number that C programs look up when a call has failed.

use std::ffi::c_int;
use std::io;

/// Sets it for this thread.
pub(crate) fn set(number: c_int) {
    // SAFETY: the C library's function has no condition.
    let at = unsafe { libc::__errno_location() };
    // SAFETY: it points to the calling thread's own variable.
    unsafe { *at = number };
}

/// What it is in this thread.
pub(crate) fn get() -> c_int {
    // SAFETY: the C library's function has no condition.
    let at = unsafe { libc::__errno_location() };
    // SAFETY: it points to the calling thread's own variable.
    unsafe { *at }
}

/// The number of an error of Rust's.
pub(crate) fn of(error: &io::Error) -> c_int {
    use io::ErrorKind as Kind;
    error.raw_os_error().unwrap_or(match error.kind() {
        Kind::WouldBlock => libc::EAGAIN,
        Kind::Interrupted => libc::EINTR,
        Kind::BrokenPipe => libc::EPIPE,
        Kind::ConnectionReset | Kind::UnexpectedEof => libc::ECONNRESET,
        Kind::ConnectionAborted => libc::ECONNABORTED,
        Kind::ConnectionRefused => libc::ECONNREFUSED,
        Kind::NotConnected => libc::ENOTCONN,
        Kind::TimedOut => libc::ETIMEDOUT,
        Kind::InvalidInput => libc::EINVAL,
        Kind::OutOfMemory => libc::ENOMEM,
        Kind::Unsupported => libc::EOPNOTSUPP,
        Kind::InvalidData => libc::EPROTO,
        _ => libc::EIO,
    })
}

//! What went wrong, as programs that use sockets are told.

use std::io;

use uwarp::Error;
use uwarp_rsockets::{ConfigError, IomapError, WriteError};

/// An error of this number.
pub(crate) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// The call would have to wait.
pub(crate) fn would_block() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

/// The stream belongs to the parent process.
pub(crate) fn forked() -> io::Error {
    io::Error::other(Error::Forked)
}

/// Sizes that no stream can have.
pub(crate) fn unfit(error: ConfigError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// A failure before the set-up began.
pub(crate) fn of_begin(error: Error) -> io::Error {
    match error {
        Error::System { source, .. } => source,
        error => io::Error::other(error),
    }
}

/// The number for a set-up that failed.
pub(crate) fn of_setup(error: &Error) -> i32 {
    match error {
        Error::SetupTimeout(_) => libc::ETIMEDOUT,
        Error::Rejected { .. } => libc::ECONNREFUSED,
        Error::SetupClosed => libc::ECONNRESET,
        _ => libc::EPROTO,
    }
}

/// A buffer cannot be named, or has no name.
pub(crate) fn of_iomap(error: IomapError) -> io::Error {
    match error {
        IomapError::Full => errno(libc::ENOMEM),
        IomapError::Place | IomapError::Unknown => errno(libc::EINVAL),
        IomapError::Write(error) => of_write(error),
    }
}

/// The number for a write that nothing can take.
pub(crate) fn of_write(_error: WriteError) -> io::Error {
    errno(libc::EPIPE)
}

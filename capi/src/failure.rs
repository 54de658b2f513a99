//! What went wrong: a number for the program, a text for its user, and no panic across the border.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use uwarp::{End, EndText, Error, PostError, RegisterError, SpanError, WaitError};

/// A number of errno.h, and a text.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) errno: c_int,
    text: String,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(errno: c_int, text: impl Into<String>) -> Self {
        Self {
            errno,
            text: text.into(),
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(libc::EINVAL, text)
    }

    fn from_error(errno: c_int, error: impl std::fmt::Display) -> Self {
        Self::new(errno, error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // What is not the system's was made by the library for an object of the parent process.
        Self::from_error(error.raw_os_error().unwrap_or(libc::EPERM), error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let errno = match &error {
            Error::Connect { source, .. }
            | Error::Listen { source, .. }
            | Error::System { source, .. } => match (source.raw_os_error(), source.kind()) {
                (Some(errno), _) => errno,
                (None, io::ErrorKind::TimedOut) => libc::ETIMEDOUT,
                (None, io::ErrorKind::AddrNotAvailable) => libc::EADDRNOTAVAIL,
                // No name, or no number of a port.
                (None, _) => libc::EINVAL,
            },
            Error::SetupClosed => libc::ECONNRESET,
            Error::NotMpa(_) => libc::EPROTO,
            Error::SetupTimeout(_) => libc::ETIMEDOUT,
            Error::Rejected { .. } => libc::ECONNREFUSED,
            Error::Options(_) => libc::EINVAL,
            Error::PrivateDataTooLong { .. } => libc::EMSGSIZE,
            Error::Setup(end) => errno_of(end),
            Error::AcceptTimeout(_) => libc::EAGAIN,
            Error::ListenerClosed => libc::ENOTCONN,
            Error::Forked => libc::EPERM,
            _ => libc::EIO,
        };
        Self::from_error(errno, error)
    }
}

impl From<PostError> for Failure {
    fn from(error: PostError) -> Self {
        let errno = match error {
            PostError::Full => libc::EAGAIN,
            PostError::Closed => libc::EPIPE,
            PostError::TooManyElements => libc::E2BIG,
            PostError::TooLong => libc::EMSGSIZE,
            PostError::OtherDomain => libc::EXDEV,
            PostError::ReadsDisabled => libc::EOPNOTSUPP,
            PostError::RemoteTooShort { .. } => libc::ERANGE,
            PostError::OffsetWrap => libc::EOVERFLOW,
            PostError::Forked => libc::EPERM,
            _ => libc::EIO,
        };
        Self::from_error(errno, error)
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        let errno = match &error {
            WaitError::TimedOut => libc::ETIMEDOUT,
            WaitError::Over(end) => errno_of(end),
            WaitError::Forked => libc::EPERM,
            _ => libc::EIO,
        };
        Self::from_error(errno, error)
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        let errno = match error {
            RegisterError::TooMany => libc::ENOSPC,
            RegisterError::OtherDomain => libc::EXDEV,
            RegisterError::Forked => libc::EPERM,
            _ => libc::EIO,
        };
        Self::from_error(errno, error)
    }
}

impl From<SpanError> for Failure {
    fn from(error: SpanError) -> Self {
        Self::from_error(libc::ERANGE, error)
    }
}

impl From<uwarp::MemoryError> for Failure {
    fn from(error: uwarp::MemoryError) -> Self {
        let errno = match error {
            uwarp::MemoryError::Null { .. } => libc::EFAULT,
            uwarp::MemoryError::NoRoom { .. } => libc::ENOMEM,
            _ => libc::EINVAL,
        };
        Self::from_error(errno, error)
    }
}

fn errno_of(end: &End) -> c_int {
    match end {
        End::Graceful => libc::ENOTCONN,
        End::Aborted => libc::ECONNABORTED,
        End::Fault(_) => libc::EPROTO,
        End::Terminated(_) => libc::EREMOTEIO,
        End::Lost => libc::ECONNRESET,
        End::StartupTimeout | End::CloseTimeout => libc::ETIMEDOUT,
    }
}

/// Says in words how a connection ended.
pub(crate) fn end_text(end: Option<&End>) -> String {
    end.map_or_else(
        || "the connection lives".to_owned(),
        |end| EndText(end).to_string(),
    )
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
    static REJECTION: RefCell<Option<Rejection>> = const { RefCell::new(None) };
}

/// What a peer said when it rejected a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rejection {
    pub(crate) private_data: Vec<u8>,
    pub(crate) required_ord: Option<u16>,
}

/// Keeps the text of the thread's last failure. A thread that is ending has none any more.
fn remember(text: &str) {
    let text = CString::new(text.replace('\0', "?")).unwrap_or_default();
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = text;
        }
    });
}

/// The text of the thread's last failure; it stays where it is until the next one.
pub(crate) fn last_text() -> *const c_char {
    LAST.try_with(|last| last.try_borrow().map_or(c"".as_ptr(), |last| last.as_ptr()))
        .unwrap_or(c"".as_ptr())
}

/// Keeps what a rejecting peer said, and passes the error on.
pub(crate) fn keep_rejection(error: Error) -> Error {
    if let Error::Rejected {
        private_data,
        required_ord,
        ..
    } = &error
    {
        let rejection = Rejection {
            private_data: private_data.clone(),
            required_ord: *required_ord,
        };
        let _ = REJECTION.try_with(|last| last.replace(Some(rejection)));
    }
    error
}

/// What the peer said that was the last to reject a connection of this thread's.
pub(crate) fn last_rejection() -> Option<Rejection> {
    REJECTION
        .try_with(|last| last.borrow().clone())
        .ok()
        .flatten()
}

/// The border. What the body returns is C's return value; a failure becomes its negative number, and a panic
/// -ENOTRECOVERABLE.
pub(crate) fn border(body: impl FnOnce() -> Outcome<c_int>) -> c_int {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::new(
            libc::ENOTRECOVERABLE,
            format!(
                "a bug in uwarp: {}",
                panic_text(panic.as_ref()).unwrap_or("a panic")
            ),
        ),
    };
    remember(&failure.text);
    -failure.errno
}

fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// A short text for a number that a function has returned, its sign left out.
pub(crate) const fn text_of(errno: c_int) -> &'static std::ffi::CStr {
    match errno {
        0 => c"success",
        libc::E2BIG => c"too many elements in a gather or scatter list",
        libc::EAGAIN => c"the queue is full, or nothing has come in time: try again",
        libc::EBADF => c"not a handle of this kind, or one that was given up",
        libc::EBUSY => c"posted work still refers to the region",
        libc::ECANCELED => c"the connection ended before the request was done",
        libc::ECONNABORTED => c"this end aborted the connection",
        libc::ECONNREFUSED => c"nobody listens there, or the peer rejected the connection",
        libc::ECONNRESET => c"the connection was lost: the peer went away, or the network did",
        libc::EFAULT => c"a null pointer",
        libc::EINVAL => c"an argument out of its range",
        libc::EMFILE => c"the process has no descriptor left",
        libc::EMSGSIZE => c"too many octets",
        libc::ENODATA => c"there is no such thing to tell",
        libc::ENOMEM => c"no room in memory",
        libc::ENOSPC => c"the table of handles or regions is full",
        libc::ENOTCONN => c"the connection has been closed in order, or is not set up",
        libc::ENOTRECOVERABLE => c"a bug in uwarp",
        libc::EOPNOTSUPP => c"Reads and atomic operations are not agreed with this peer",
        libc::EOVERFLOW => c"offset plus length exceeds 2^64",
        libc::EPERM => c"the object belongs to the process that this one was forked from",
        libc::EPIPE => c"the connection is closing or closed",
        libc::EPROTO => c"the peer broke a rule, or does not speak iWARP",
        libc::ERANGE => c"a range that leaves its region",
        libc::EREMOTEIO => c"the peer refused: it sent a Terminate",
        libc::ETIMEDOUT => c"nothing happened in time",
        libc::EXDEV => c"the region, the socket or the queue belongs to another domain",
        _ => c"an error of the operating system: see strerror(3)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn last() -> String {
        let text = LAST.with(|last| last.borrow().clone());
        text.into_string().expect("it is UTF-8")
    }

    #[test]
    fn a_panic_stays_on_this_side() {
        let value = border(|| panic!("on {} purpose", "some"));
        assert_eq!(value, -libc::ENOTRECOVERABLE);
        assert_eq!(last(), "a bug in uwarp: on some purpose");
        let value = border(|| std::panic::panic_any(7));
        assert_eq!(value, -libc::ENOTRECOVERABLE);
        assert_eq!(last(), "a bug in uwarp: a panic");
    }

    #[test]
    fn failures_are_negative_and_leave_a_text() {
        assert_eq!(border(|| Ok(5)), 5);
        let value = border(|| Err(Failure::invalid("a text\0 with a zero")));
        assert_eq!(value, -libc::EINVAL);
        assert_eq!(last(), "a text? with a zero");
        // Success does not touch it.
        assert_eq!(border(|| Ok(0)), 0);
        assert_eq!(last(), "a text? with a zero");
        assert!(
            std::thread::spawn(last)
                .join()
                .expect("no panic")
                .is_empty()
        );
    }

    #[test]
    fn every_kind_of_error_has_its_number() {
        let numbers = [
            (Failure::from(PostError::Full), libc::EAGAIN),
            (Failure::from(PostError::Closed), libc::EPIPE),
            (Failure::from(PostError::OffsetWrap), libc::EOVERFLOW),
            (Failure::from(Error::SetupClosed), libc::ECONNRESET),
            (Failure::from(Error::Forked), libc::EPERM),
            (
                Failure::from(WaitError::Over(End::Graceful)),
                libc::ENOTCONN,
            ),
            (Failure::from(WaitError::Over(End::Lost)), libc::ECONNRESET),
            (Failure::from(RegisterError::OtherDomain), libc::EXDEV),
        ];
        let unknown = text_of(-1);
        for (failure, errno) in numbers {
            assert_eq!(failure.errno, errno, "{}", failure.text);
            assert!(!failure.text.is_empty());
            assert_ne!(text_of(errno), unknown);
        }
        let text: &CStr = text_of(libc::EBADF);
        assert!(text.to_string_lossy().contains("handle"));
    }
}

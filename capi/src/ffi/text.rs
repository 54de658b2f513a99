//! Texts about errors.

use std::ffi::{c_char, c_int, c_void};

use crate::failure::{self, Failure, border};
use crate::raw;

/// A short text for a number that a function has returned, negative or not. It is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_strerror(error: c_int) -> *const c_char {
    failure::text_of(error.checked_abs().unwrap_or(c_int::MAX)).as_ptr()
}

/// What went wrong in the last call of this thread's that failed, with the cause and, where there is one, the
/// remedy; an empty text if none has. It stays until the thread's next failure, or its end.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_last_error() -> *const c_char {
    failure::last_text()
}

/// The version of the library, as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What the peer said that was the last to reject a connection of this thread's: up to `size` octets of private
/// data go to `data`, and the ORD that it needs, or -1, to `required_ord` unless that is null. Returns how many
/// octets there are; -ENODATA if none has rejected one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_last_rejection(
    data: *mut c_void,
    size: usize,
    required_ord: *mut c_int,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends `size` octets.
        let data = unsafe { raw::places(data.cast::<u8>(), size) }?;
        let rejection = failure::last_rejection()
            .ok_or_else(|| Failure::new(libc::ENODATA, "no peer has rejected a connection"))?;
        if !required_ord.is_null() {
            // SAFETY: the caller lends a place for one number.
            unsafe { raw::place(required_ord) }?
                .write(rejection.required_ord.map_or(-1, c_int::from));
        }
        raw::give(&rejection.private_data, data)
    })
}

//! Between C and Rust: no panic crosses, errno is what the program expects, and waiting is done outside.
//!
//! A call that has to wait does so in the outermost frame, in a call of the C library's own, while nothing of Rust's
//! is to be dropped: a thread may be cancelled there, or a signal handler may jump out of it. So each function is a loop
//! around [`guarded`] steps that never wait.

use std::cell::Cell;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::errno;
use crate::fate::Waiter;

thread_local! {
    /// How many of this thread's frames are this library's.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Whether the calling thread is in this library, or is one of its own.
pub(crate) fn is_inside() -> bool {
    is_in_call() || is_own_thread()
}

/// Whether this is a thread of the program's that is in this library.
pub(crate) fn is_in_call() -> bool {
    INSIDE.with(Cell::get) > 0
}

/// This library's threads, and those of the libraries that it is made of, are called so.
fn is_own_thread() -> bool {
    let mut name = [0u8; 16];
    // SAFETY: it writes 16 octets at the most.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.starts_with(b"uwarp")
}

/// Runs a step that does not wait. errno is left as it was. `None` after a panic.
pub(crate) fn guarded<T>(step: impl FnOnce() -> Option<T>) -> Option<T> {
    let number = errno::get();
    INSIDE.with(|inside| inside.set(inside.get() + 1));
    let result = catch_unwind(AssertUnwindSafe(step));
    INSIDE.with(|inside| inside.set(inside.get() - 1));
    errno::set(number);
    result.unwrap_or(None)
}

/// What a step of a call for a number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The number is none of ours: the C library's own function does it.
    Plain,
    /// It is done.
    Done(usize),
    /// It has failed.
    Failed(c_int),
    /// It has to wait for octets that come, at least so many, and to be told what to undo then.
    WaitForOctets(usize, Waiter),
    /// It has to wait for room, for so many milliseconds at the most if they are not negative.
    WaitForRoom(c_int, Waiter),
    /// It has to look again in a moment.
    Pause,
}

/// A guarded [`Step`]; a panic has failed.
pub(crate) fn step(step: impl FnOnce() -> Step) -> Step {
    guarded(|| Some(step())).unwrap_or(Step::Failed(libc::EIO))
}

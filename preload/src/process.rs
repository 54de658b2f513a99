//! The beginning and the end of the process.

use std::ffi::c_int;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::table::{self, Kind};
use crate::{config, fork, sys};

/// The loader calls this before the program begins.
#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

#[cfg_attr(
    test,
    allow(dead_code, reason = "the tests are no program under this library")
)]
extern "C" fn begin() {
    // Now: some programs clear their environment.
    config::get();
    table::settle();
    fork::prepare();
    // SAFETY: the function has no condition and may be called at any time.
    unsafe { libc::atexit(exit) };
    fork::take_over();
}

/// Connections in DDPMODE that came about as initiator, as responder, and those that turned out to be plain TCP.
static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// What is counted for the report.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    Begun,
    Accepted,
    Plain,
}

/// Counts one.
pub(crate) fn count(what: Count) {
    COUNTS[what as usize].fetch_add(1, Ordering::Relaxed);
}

/// A forked child has none yet.
pub(crate) fn forked() {
    ENDING.store(false, Ordering::Relaxed);
    for count in &COUNTS {
        count.store(0, Ordering::Relaxed);
    }
}

/// Adds a line to the file that UWARP_REPORT names: the process, its program, and what it has had.
fn report() {
    let Some(path) = &config::get().report else {
        return;
    };
    let [begun, accepted, plain] = &COUNTS;
    let program = std::env::current_exe().unwrap_or_default();
    let line = format!(
        "{} {} begun {} accepted {} plain {}\n",
        std::process::id(),
        program.file_name().unwrap_or_default().to_string_lossy(),
        begun.swap(0, Ordering::Relaxed),
        accepted.swap(0, Ordering::Relaxed),
        plain.swap(0, Ordering::Relaxed),
    );
    let file = OpenOptions::new().append(true).create(true).open(path);
    if let Ok(mut file) = file {
        let _ = file.write_all(line.as_bytes());
    }
}

/// The program returns from main, or calls exit.
extern "C" fn exit() {
    // A signal handler that interrupts this library would wait for locks that its own thread holds.
    if crate::border::is_in_call() {
        ABANDONED.store(true, Ordering::Relaxed);
        return;
    }
    crate::exports::stdio::flush();
    end();
}

/// The process ends, and its other threads shall not see it give its connections up.
static ENDING: AtomicBool = AtomicBool::new(false);

/// The process ends, and nothing may wait for this library's locks any more.
static ABANDONED: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_abandoned() -> bool {
    ABANDONED.load(Ordering::Relaxed)
}

pub(crate) fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// The kernel sends what a process has written when it has ended; this does it before. The wait is bounded.
pub(crate) extern "C" fn end() {
    if table::is_borrowed() {
        return;
    }
    ENDING.store(true, Ordering::Relaxed);
    for fd in table::present(0, sys::NUMBERS - 1) {
        let removed = table::change().remove(fd);
        if let Some((entry, true)) = removed
            && let Kind::Stream(endpoint) = &entry.kind
        {
            endpoint.finish();
        }
    }
    // The worker closes a TCP socket when both ends have said their last.
    let until = Instant::now() + config::get().exit_wait;
    while sys::has_streams() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    if COUNTS.iter().any(|count| count.load(Ordering::Relaxed) > 0) {
        report();
    }
}

/// _exit, which calls no handlers.
///
/// # Safety
/// As that of _exit.
pub(crate) unsafe fn exit_now(status: c_int) {
    // A signal handler that interrupts this library would wait for locks that its own thread holds.
    if !crate::border::is_in_call() {
        crate::border::guarded(|| {
            end();
            Some(())
        });
    }
    // SAFETY: the same as the caller's.
    unsafe { crate::real::real::_exit(status) };
}

/// Runs something that starts a thread, which is to leave all signals to the program's own.
pub(crate) fn without_signals<T>(task: impl FnOnce() -> T) -> T {
    // SAFETY: zeros are a value of it.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut old: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is this frame's.
    unsafe { libc::sigfillset(&mut all) };
    // SAFETY: both sets are this frame's.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old) };
    let result = task();
    // SAFETY: the set is this frame's.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut()) };
    result
}

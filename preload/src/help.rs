//! Waiting in epoll_wait: the program's thread does the worker's work meanwhile.
//!
//! Otherwise each arrival would wake the worker, and the worker the program. How the worker is lent, and what becomes of it
//! when the program does not come back, says [`Helper`].

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libc::{epoll_event, pollfd, sigset_t, timespec};
use uwarp::{Alone, Helper, Sleep, Workers};

use crate::border::guarded;
use crate::real::real;
use crate::sys::NUMBERS;

/// The way to the worker, never freed; null before there is one. A forked child forgets its parent's.
static HELPER: AtomicPtr<Helper> = AtomicPtr::new(std::ptr::null_mut());

/// A bit for each number that has been an epoll set with a stream in it.
static SETS: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];

fn helper() -> Option<&'static Helper> {
    // SAFETY: it comes from a box that is never freed.
    unsafe { HELPER.load(Ordering::Acquire).as_ref() }
}

/// There is a stream, and so a worker.
pub(crate) fn begin() {
    if helper().is_some() {
        return;
    }
    let found = Workers::global().and_then(|workers| workers.helper());
    if let Ok(Some(found)) = found {
        let new = Box::into_raw(Box::new(found));
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let null = std::ptr::null_mut();
        if HELPER
            .compare_exchange(null, new, order.0, order.1)
            .is_err()
        {
            // SAFETY: it comes from a box, and nobody else has seen it.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

/// In a forked child, which has no worker yet.
pub(crate) fn forked() {
    HELPER.store(std::ptr::null_mut(), Ordering::Release);
}

/// A stream is in this set.
pub(crate) fn note_set(set: c_int) {
    if let Some(word) = usize::try_from(set).ok().and_then(|set| SETS.get(set / 64)) {
        word.fetch_or(1 << (set % 64), Ordering::Relaxed);
    }
}

fn is_noted(set: c_int) -> bool {
    usize::try_from(set)
        .ok()
        .and_then(|set| SETS.get(set / 64))
        .is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (set % 64) != 0)
}

/// A thread begins to wait elsewhere, and does not help.
pub(crate) fn waits() {
    if let Some(helper) = helper() {
        helper.waits(Alone::No);
    }
}

/// It waits no more.
pub(crate) fn waited() {
    if let Some(helper) = helper() {
        helper.waited(Alone::No);
    }
}

/// The program makes use of what has come, and will soon wait again.
pub(crate) fn is_busy() {
    if let Some(helper) = helper() {
        helper.is_busy();
    }
}

/// The worker's work, which is not to be broken off when the thread is cancelled.
fn work(helper: &Helper) {
    guarded(|| {
        let mut before = 0;
        // SAFETY: it writes to this frame's number.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
        helper.work();
        // SAFETY: it is null.
        unsafe { pthread_setcancelstate(before, std::ptr::null_mut()) };
        Some(())
    });
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

pub(crate) unsafe fn epoll_wait(
    set: c_int,
    events: *mut epoll_event,
    room: c_int,
    timeout: c_int,
) -> c_int {
    let Some(helper) = helper().filter(|_| is_noted(set)) else {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::epoll_wait(set, events, room, timeout) };
    };
    let deadline = u64::try_from(timeout)
        .ok()
        .map(|time| Instant::now() + Duration::from_millis(time));
    loop {
        work(helper);
        // SAFETY: the room is the caller's.
        let count = unsafe { real::epoll_wait(set, events, room, 0) };
        if count != 0 || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            helper.leaves();
            return count;
        }
        match guarded(|| Some(helper.sleeps())) {
            Some(Sleep::NotNow) => {}
            Some(Sleep::Helping(nap)) => {
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                let time = [nap, left].into_iter().flatten().min().map(time);
                let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
                let ask = |fd| pollfd {
                    fd,
                    events: libc::POLLIN,
                    revents: 0,
                };
                let mut asks = [ask(set), ask(helper.descriptor().as_raw_fd())];
                // SAFETY: list and time are this frame's.
                let answer = unsafe { real::ppoll(asks.as_mut_ptr(), 2, time, std::ptr::null()) };
                guarded(|| {
                    helper.woke();
                    Some(())
                });
                if answer < 0 {
                    helper.leaves();
                    return answer;
                }
            }
            Some(Sleep::AsEver) | None => break,
        }
    }
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    let left = left.map_or(-1, |left| left.as_micros().div_ceil(1000) as c_int);
    helper.waits(Alone::Perhaps);
    // SAFETY: the room is the caller's.
    let count = unsafe { real::epoll_wait(set, events, room, left) };
    helper.waited(Alone::Perhaps);
    count
}

fn time(time: Duration) -> timespec {
    timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}

pub(crate) unsafe fn epoll_pwait(
    set: c_int,
    events: *mut epoll_event,
    room: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    if mask.is_null() {
        // SAFETY: the arguments are the caller's.
        return unsafe { epoll_wait(set, events, room, timeout) };
    }
    let helper = helper().filter(|_| is_noted(set));
    if let Some(helper) = helper {
        helper.waits(Alone::No);
    }
    // SAFETY: the arguments are the caller's.
    let count = unsafe { real::epoll_pwait(set, events, room, timeout, mask) };
    if let Some(helper) = helper {
        helper.waited(Alone::No);
    }
    count
}

//! What forks, and programs that another one starts, find.
//!
//! | what | in the child of a fork | in the program after exec |
//! |---|---|---|
//! | a plain TCP socket | as ever | as ever |
//! | accepted, its first octets not looked at | whoever reads first, parent or child, decides and serves it | the same, if its local port is one of `UWARP_LISTEN` |
//! | in DDPMODE | stays with the parent; the child's number is a socket whose peer has closed | ends; the number, unless it is close-on-exec, is a socket whose peer has closed |
//! | being connected | as in DDPMODE | as in DDPMODE |
//!
//! A process to which another one passes a descriptor, by SCM_RIGHTS, finds what a program after exec does. If it has
//! passed that to itself, it is one more number for what it has, unless it has closed all others meanwhile.
//!
//! A child of vfork or posix_spawn changes nothing of its parent's before it is another program.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use crate::exports::{numbers, stdio};
use crate::real::real;
use crate::signal;
use crate::sys;
use crate::table::{self, Entry, Kind};
use crate::{config, connector, process};

/// Says what is to be done around forks.
pub(crate) fn prepare() {
    // SAFETY: the handlers use what may be used around a fork; see there.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

extern "C" fn before() {
    table::before_fork();
}

extern "C" fn in_parent() {
    table::after_fork();
}

/// Runs in the child, in its only thread, with the table as it was. The C library allows memory to be allocated here.
extern "C" fn in_child() {
    table::after_fork();
    table::settle();
    connector::forked();
    signal::forked();
    process::forked();
    sys::forked();
    let entries = table::forked();
    let change = table::change();
    for entry in entries {
        let mut numbers = entry.numbers().into_iter();
        match &entry.kind {
            Kind::Stream(_) => numbers.for_each(bury),
            kind => {
                if let Some(first) = numbers.next() {
                    change.insert(first, kind.clone());
                    if let Some(new) = table::get(first) {
                        numbers.for_each(|number| change.share(&new, number));
                    }
                }
            }
        }
        // What the parent's threads may have held is not touched any more.
        std::mem::forget(entry);
    }
}

/// A socket whose peer has closed.
static DEAD: AtomicI32 = AtomicI32::new(-1);

/// Lets a number refer to a socket whose peer has closed.
fn bury(number: c_int) {
    let mut dead = DEAD.load(Ordering::Relaxed);
    if dead < 0 {
        let mut pair = [-1; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        // SAFETY: there is room for two numbers.
        unsafe { real::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) };
        sys::close(pair[1]);
        let Ok(hidden) = sys::hide(pair[0]) else {
            return;
        };
        dead = hidden;
        DEAD.store(dead, Ordering::Relaxed);
    }
    let flags = sys::fcntl(number, libc::F_GETFD, 0).unwrap_or(0);
    let flags = if flags & libc::FD_CLOEXEC != 0 {
        libc::O_CLOEXEC
    } else {
        0
    };
    // SAFETY: it touches no memory; the number is one that refers to a signal.
    unsafe { real::dup3(dead, number, flags) };
}

/// Takes over what this program has inherited from the one before.
pub(crate) fn take_over() {
    let Ok(list) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<c_int> = list
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.into_iter().for_each(adopt);
}

/// Takes over numbers that another process has passed, by SCM_RIGHTS. What they were before, if nobody has seen that
/// closed, ends.
pub(crate) fn take_over_passed(numbers: &[c_int]) {
    for &number in numbers {
        numbers::forget(number);
        sys::note_closed(number);
        adopt(number);
    }
}

/// Looks at what a number refers to that the program has got from another process, or has passed to itself.
fn adopt(number: c_int) {
    let Ok(local) = sys::Address::local(number) else {
        return;
    };
    let is_signal = local.is_signal();
    if !is_signal && !sys::is_tcp(number) {
        return;
    }
    let change = table::change();
    if let Some(entry) = own(number, is_signal.then_some(&local)) {
        // Another number for the same: standard input and output, or one that this process has passed to itself.
        change.share(&entry, number);
    } else if is_signal {
        bury(number);
    } else if let Some(address) = local.internet()
        && config::get().listens_at(&address)
        && sys::Address::peer(number).is_ok()
        && sys::is_accepted_anew(number)
    {
        change.insert(number, Kind::Undecided(Instant::now()));
    }
    drop(change);
    stdio::settle(number);
}

/// What this process has under another number already: the stream of the signal with that name, or the same TCP socket.
fn own(number: c_int, signal: Option<&sys::Address>) -> Option<Arc<Entry>> {
    let socket = match signal {
        None => Some(sys::identity(number)?),
        Some(_) => None,
    };
    table::present(0, sys::NUMBERS - 1).find_map(|other| {
        let entry = table::get(other)?;
        let is_it = match (&entry.kind, signal, &socket) {
            (Kind::Stream(endpoint), Some(name), _) => endpoint.is_behind(name),
            (Kind::Stream(_), None, _) | (_, Some(_), _) => false,
            (_, None, socket) => sys::identity(other) == *socket,
        };
        is_it.then_some(entry)
    })
}

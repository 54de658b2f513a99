//! What forks, and programs that another one starts, find.
//!
//! | what | in the child of a fork | in the program after exec |
//! |---|---|---|
//! | a plain TCP socket | as ever | as ever |
//! | accepted, its first octets not looked at | whoever reads first, parent or child, decides and serves it | the same, if its local port is one of `UWARP_LISTEN` |
//! | in DDPMODE | stays with the parent; the child's number is a socket whose peer has closed | ends; the number, unless it is close-on-exec, is a socket whose peer has closed |
//! | being connected | as in DDPMODE | as in DDPMODE |
//!
//! A process to which another one passes a descriptor, by SCM_RIGHTS, finds what a program after exec does.
//!
//! A child of vfork or posix_spawn changes nothing of its parent's before it is another program.

use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use crate::exports::{numbers, stdio};
use crate::real::real;
use crate::signal;
use crate::sys;
use crate::table::{self, Kind};
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
    let mut found = Vec::new();
    for number in numbers {
        adopt(number, &mut found);
    }
}

/// Takes over numbers that another process has passed, by SCM_RIGHTS. What they were before, if nobody has seen that
/// closed, ends.
pub(crate) fn take_over_passed(numbers: &[c_int]) {
    let mut found = Vec::new();
    for &number in numbers {
        numbers::forget(number);
        sys::note_closed(number);
        adopt(number, &mut found);
    }
}

/// Looks at what a number refers to that another process has made. `found` are the connections that are not decided yet.
fn adopt(number: c_int, found: &mut Vec<(c_int, Option<PathBuf>)>) {
    let Ok(local) = sys::Address::local(number) else {
        return;
    };
    if local.is_signal() {
        bury(number);
    } else if let Some(address) = local.internet()
        && config::get().listens_at(&address)
        && sys::is_tcp(number)
        && sys::Address::peer(number).is_ok()
        && sys::is_accepted_anew(number)
    {
        let change = table::change();
        let socket = sys::identity(number);
        let first = found
            .iter()
            .find(|(_, its)| socket.is_some() && *its == socket);
        match first.and_then(|&(first, _)| table::get(first)) {
            // Another number for the same connection: standard input and output.
            Some(entry) => change.share(&entry, number),
            None => {
                change.insert(number, Kind::Undecided(Instant::now()));
                found.push((number, socket));
            }
        }
        drop(change);
        stdio::settle(number);
    }
}

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
use std::io;
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
    let hidden = sys::take_streams();
    let entries = table::forked();
    let change = table::change();
    let mut shown = Vec::new();
    for entry in entries {
        let mut numbers = entry.numbers().into_iter();
        match &entry.kind {
            Kind::Stream(_) => shown.extend(numbers),
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
    let_go(&hidden, &shown);
}

/// Lets all numbers for the parent's streams refer to a socket whose peer has closed, in a forked child: the TCP
/// connections, which would live on with it otherwise though nobody serves them, and the signals. The hidden numbers stay
/// hidden, for what the parent's objects may still do with them.
///
/// A child at its limit of descriptors gives up some of these numbers to make that socket. What cannot refer to it is
/// closed, and hidden no more.
fn let_go(hidden: &[c_int], shown: &[c_int]) {
    if hidden.is_empty() && shown.is_empty() {
        return;
    }
    let flags: Vec<c_int> = shown.iter().map(|&number| on_exec(number)).collect();
    let mut room = hidden.iter().chain(shown);
    let mut dead = DEAD.load(Ordering::Relaxed);
    while dead < 0 {
        match dead_socket() {
            Ok(made) => dead = made,
            Err(_) => match room.next() {
                Some(&number) => close_this(number),
                None => break,
            },
        }
    }
    for &number in hidden {
        if number != dead && !refer(number, dead, libc::O_CLOEXEC) {
            close_this(number);
            sys::unhide(number);
        }
    }
    for (&number, flags) in shown.iter().zip(flags) {
        if number == dead {
            let keeps = c_int::from(flags != 0) * libc::FD_CLOEXEC;
            let _ = sys::fcntl(number, libc::F_SETFD, keeps as usize);
        } else if !refer(number, dead, flags) {
            close_this(number);
        }
    }
    if dead < 0 || DEAD.load(Ordering::Relaxed) >= 0 {
        return;
    }
    if let Some(&one) = hidden.iter().find(|&&number| sys::is_hidden(number)) {
        DEAD.store(one, Ordering::Relaxed);
    }
    if !hidden.contains(&dead) && !shown.contains(&dead) {
        close_this(dead);
    }
}

/// Closes a number, whatever this library knows of it.
fn close_this(number: c_int) {
    // SAFETY: callers give up a number that is not used any more.
    unsafe { real::close(number) };
}

/// Lets a number refer to what `to` does.
fn refer(number: c_int, to: c_int, flags: c_int) -> bool {
    // SAFETY: it touches no memory; the number is one of a stream's that is given up.
    unsafe { real::dup3(to, number, flags) >= 0 }
}

/// What dup3 takes to leave a number's close-on-exec as it is.
fn on_exec(number: c_int) -> c_int {
    match sys::fcntl(number, libc::F_GETFD, 0) {
        Ok(flags) if flags & libc::FD_CLOEXEC != 0 => libc::O_CLOEXEC,
        _ => 0,
    }
}

/// A socket whose peer has closed, hidden; negative before it is needed.
static DEAD: AtomicI32 = AtomicI32::new(-1);

/// Makes one.
fn dead_socket() -> io::Result<c_int> {
    let mut pair = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: there is room for two numbers.
    sys::outcome(unsafe { real::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    close_this(pair[1]);
    Ok(pair[0])
}

/// Lets a number that refers to another process's signal refer to a socket whose peer has closed; where there is no number
/// to make one, to a file that has no octets and takes none.
fn bury(number: c_int) {
    let flags = on_exec(number);
    let mut dead = DEAD.load(Ordering::Relaxed);
    if dead < 0
        && let Ok(hidden) = dead_socket().and_then(sys::hide)
    {
        dead = hidden;
        DEAD.store(dead, Ordering::Relaxed);
    }
    if refer(number, dead, flags) {
        return;
    }
    close_this(number);
    // SAFETY: the name ends in a zero octet.
    let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | flags) };
    if null >= 0 && null != number {
        refer(number, null, flags);
        close_this(null);
    }
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

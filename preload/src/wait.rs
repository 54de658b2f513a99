//! Waiting in the kernel for descriptors, also where poll refuses to.
//!
//! Poll takes no more descriptors than the process may have (RLIMIT_NOFILE), and a program may have given that up
//! altogether: then it fails with EINVAL, at once. Select has no such limit.
//!
//! Calls wait by this with nothing of Rust's to be dropped: a thread that is cancelled meanwhile loses some octets of
//! memory.

use std::ffi::{c_int, c_ulong};

use crate::errno;
use crate::real::real;

/// Waits as poll does, for so many milliseconds or, when that is negative, for ever. Where poll is refused, only POLLIN and
/// POLLOUT are waited for and told.
pub(crate) fn wait(list: &mut [libc::pollfd], milliseconds: c_int) -> c_int {
    let kept = errno::get();
    // SAFETY: the list is the caller's.
    let answer = unsafe { real::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, milliseconds) };
    if answer < 0 && errno::get() == libc::EINVAL {
        errno::set(kept);
        select(list, milliseconds)
    } else {
        answer
    }
}

const BITS: usize = c_ulong::BITS as usize;

/// What poll would have done, but for what is neither to read nor to write.
#[cold]
fn select(list: &mut [libc::pollfd], milliseconds: c_int) -> c_int {
    let numbers = list.iter().filter_map(|ask| usize::try_from(ask.fd).ok());
    let words = numbers.max().map_or(0, |highest| highest / BITS + 1);
    // The sets of those that wait to read and to write, one behind the other.
    let sets: *mut [c_ulong] = Box::into_raw(vec![0; 2 * words].into_boxed_slice());
    // SAFETY: it comes from a box of this frame's that nobody else knows.
    let both = unsafe { &mut *sets };
    for ask in list.iter() {
        for (part, event) in [(0, libc::POLLIN), (words, libc::POLLOUT)] {
            if let Ok(number) = usize::try_from(ask.fd)
                && ask.events & event != 0
            {
                both[part + number / BITS] |= 1 << (number % BITS);
            }
        }
    }
    let mut time = libc::timeval {
        tv_sec: (milliseconds / 1000).into(),
        tv_usec: (milliseconds % 1000 * 1000).into(),
    };
    let time = if milliseconds < 0 {
        std::ptr::null_mut()
    } else {
        &raw mut time
    };
    let end = c_int::try_from(words * BITS).unwrap_or(c_int::MAX);
    let read: *mut libc::fd_set = both.as_mut_ptr().cast();
    // SAFETY: the second set is behind the first.
    let write: *mut libc::fd_set = unsafe { both.as_mut_ptr().add(words).cast() };
    // SAFETY: the kernel looks at as many bits as it is told of, which both sets have.
    let answer = unsafe { real::select(end, read, write, std::ptr::null_mut(), time) };
    let number = errno::get();
    // SAFETY: it comes from a box, and goes back there once.
    let both = unsafe { Box::from_raw(sets) };
    if answer < 0 && number == libc::EBADF {
        // One of them is closed. Whoever has waited looks which.
        for ask in list.iter_mut() {
            ask.revents = libc::POLLNVAL;
        }
        return c_int::try_from(list.len()).unwrap_or(c_int::MAX);
    }
    if answer < 0 {
        errno::set(number);
        return answer;
    }
    let mut ready = 0;
    for ask in list.iter_mut() {
        ask.revents = 0;
        for (part, event) in [(0, libc::POLLIN), (words, libc::POLLOUT)] {
            if let Ok(number) = usize::try_from(ask.fd)
                && ask.events & event != 0
                && both[part + number / BITS] >> (number % BITS) & 1 != 0
            {
                ask.revents |= event;
            }
        }
        ready += c_int::from(ask.revents != 0);
    }
    ready
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    fn ask(fd: c_int, events: i16) -> libc::pollfd {
        libc::pollfd {
            fd,
            events,
            revents: 0,
        }
    }

    #[test]
    fn select_tells_what_poll_tells() {
        let (one, mut other) = UnixStream::pair().expect("a pair");
        other.write_all(b"x").expect("there is room");
        let list = || {
            [
                ask(one.as_raw_fd(), libc::POLLIN | libc::POLLOUT),
                ask(other.as_raw_fd(), libc::POLLIN),
                ask(other.as_raw_fd(), libc::POLLOUT),
                ask(-1, libc::POLLIN),
            ]
        };
        let (mut by_poll, mut by_select) = (list(), list());
        assert_eq!(wait(&mut by_poll, -1), 2);
        assert_eq!(select(&mut by_select, -1), 2);
        let told = |list: &[libc::pollfd]| list.iter().map(|ask| ask.revents).collect::<Vec<_>>();
        assert_eq!(told(&by_select), told(&by_poll));
        assert_eq!(select(&mut [ask(other.as_raw_fd(), libc::POLLIN)], 1), 0);
        assert_eq!(select(&mut [], 1), 0);
    }

    #[test]
    fn what_is_closed_is_not_waited_for() {
        let (one, other) = UnixStream::pair().expect("a pair");
        // A number that nobody has, and that another test does not get meanwhile.
        let high = crate::sys::hidden_copy(one.as_raw_fd()).expect("a number");
        crate::sys::close(high);
        let mut list = [
            ask(other.as_raw_fd(), libc::POLLIN),
            ask(high, libc::POLLIN),
        ];
        assert_eq!(select(&mut list, -1), 2);
        assert_eq!(list[1].revents, libc::POLLNVAL);
    }
}

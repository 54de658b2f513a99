//! The descriptor that the program sees in place of its TCP socket.
//!
//! It is a kernel object that poll, select and epoll understand by themselves, level and edge-triggered: an AF_UNIX
//! datagram socket with a name of its own and, by default, no peer.
//!
//! | state | how |
//! |---|---|
//! | readable | a datagram of one octet, which it has sent to itself, lies in its queue |
//! | not writable | it is connected to the sink, a socket whose queue is full for good |
//! | writable | it is connected to nothing |
//! | end of the octets | shut down for reading, which cannot be undone |
//! | hung up | shut down for both |
//!
//! When a connection to the sink is undone the kernel wakes those who wait to write, and discards what lies in the
//! queue; the octet is then sent again. Only a peer may send to a socket that has one, so an octet cannot be sent while
//! it is connected to the sink: it is taken from it for a moment, in which somebody may see it writable. He then
//! finds that it is not.
//!
//! Names of such sockets are those of the network namespace, and any process in it can send to one without a peer.
//! It can wake the program for nothing, and no more.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys;

/// What the names of all signals begin with, behind the zero octet of abstract names.
pub(crate) const PREFIX: &[u8] = b"uwarp/";

/// What the program is to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) read_closed: bool,
    pub(crate) hung_up: bool,
}

/// The signal of one connection. Its number is one of the program's.
#[derive(Debug)]
pub(crate) struct Signal {
    name: Name,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Any of the program's numbers for it, negative when it has none left.
    fd: c_int,
    shown: Shown,
}

impl Signal {
    /// A new one that is neither readable nor writable, and its first number, close-on-exec.
    ///
    /// # Errors
    /// The system's: no numbers left, no memory.
    pub(crate) fn new() -> io::Result<(Self, c_int)> {
        let (fd, name) = named_socket()?;
        let signal = Self {
            name,
            state: Mutex::new(State {
                fd,
                shown: Shown {
                    writable: true,
                    ..Shown::default()
                },
            }),
        };
        signal.lock().block().inspect_err(|_| sys::close(fd))?;
        Ok((signal, fd))
    }

    /// Whether that is its name.
    pub(crate) fn is_named(&self, name: &sys::Address) -> bool {
        name.unix_name() == Some(&self.name.octets)
    }

    /// Says by which number it is reached from now on; none when `fd` is negative, and then nothing is shown any more.
    /// What the old number refers to may be changed when this returns.
    pub(crate) fn renumber(&self, fd: c_int) {
        self.lock().fd = fd;
    }

    /// Shows what `now` tells, which is called when nobody else shows anything.
    pub(crate) fn show(&self, now: impl FnOnce() -> Shown) {
        let mut state = self.lock();
        let now = now();
        state.show(now, &self.name);
    }

    /// Shows `last`, and nothing any more: its numbers are to refer to something else.
    pub(crate) fn show_the_last(&self, last: Shown) {
        let mut state = self.lock();
        state.show(last, &self.name);
        state.fd = -1;
    }

    /// As [`show`](Self::show), but what is readable then is readable anew, for those who wait for edges.
    pub(crate) fn show_reads_anew(&self, now: impl FnOnce() -> Shown) {
        let mut state = self.lock();
        state.unread_all();
        let now = now();
        state.show(now, &self.name);
    }

    /// As [`show`](Self::show), but what is writable then is writable anew.
    pub(crate) fn show_writes_anew(&self, now: impl FnOnce() -> Shown) {
        let mut state = self.lock();
        if state.fd >= 0 && state.shown.writable && !state.shown.hung_up {
            let _ = state.block();
        }
        let now = now();
        state.show(now, &self.name);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn show(&mut self, now: Shown, name: &Name) {
        if self.fd < 0 || self.shown.hung_up {
            return;
        }
        if now.hung_up {
            self.release(name);
            sys::shutdown(self.fd, libc::SHUT_RDWR);
            self.shown = now;
            return;
        }
        if now.read_closed && !self.shown.read_closed {
            // From here on it is readable by itself.
            sys::shutdown(self.fd, libc::SHUT_RD);
            self.shown.read_closed = true;
            self.shown.readable = false;
        }
        let readable = now.readable && !self.shown.read_closed;
        match (self.shown.writable, now.writable) {
            (true, true) | (false, false) => {}
            (true, false) => {
                let _ = self.block();
            }
            (false, true) => self.release(name),
        }
        match (self.shown.readable, readable) {
            (true, true) | (false, false) => {}
            (true, false) => self.unread(),
            (false, true) => {
                let blocked = !self.shown.writable;
                if blocked {
                    self.release(name);
                }
                self.send(name);
                if blocked {
                    let _ = self.block();
                }
            }
        }
    }

    /// Takes its own octet from the queue.
    fn unread(&mut self) {
        sys::receive(self.fd, &mut [0]);
        self.shown.readable = false;
    }

    /// Takes all that lies in the queue.
    fn unread_all(&mut self) {
        while self.fd >= 0 && sys::receive(self.fd, &mut [0]) > 0 {}
        self.shown.readable = false;
    }

    fn send(&mut self, name: &Name) {
        sys::send_to(self.fd, b"!", name.address());
        self.shown.readable = true;
    }

    /// Not writable from here on.
    fn block(&mut self) -> io::Result<()> {
        let sink = sink()?;
        sys::connect(self.fd, sink.address())?;
        // Whoever waits for edges has been told that it is writable, and asks no more: so that the kernel knows
        // somebody to wake, it is asked here.
        let mut ask = libc::pollfd {
            fd: self.fd,
            events: libc::POLLOUT,
            revents: 0,
        };
        sys::poll_now(&mut ask);
        self.shown.writable = false;
        Ok(())
    }

    /// Writable from here on, still readable if it was.
    fn release(&mut self, name: &Name) {
        if self.shown.writable {
            return;
        }
        sys::disconnect(self.fd);
        self.shown.writable = true;
        if self.shown.readable {
            self.send(name);
        }
    }
}

/// An abstract name.
#[derive(Clone, Copy, Debug)]
struct Name {
    octets: [u8; NAME_LEN],
}

/// The zero octet, the prefix, the number of the process in 16 digits, that of the socket, mixed, in 16.
const NAME_LEN: usize = 1 + PREFIX.len() + 32;

impl Name {
    fn new(process: u64, socket: u64) -> Self {
        let mut octets = [0; NAME_LEN];
        octets[1..=PREFIX.len()].copy_from_slice(PREFIX);
        for (at, octet) in octets[1 + PREFIX.len()..].iter_mut().enumerate() {
            let number = if at < 16 { process } else { mixed(socket) };
            let digit = (number >> (60 - 4 * (at % 16))) & 15;
            *octet = b"0123456789abcdef"[digit as usize];
        }
        Self { octets }
    }

    fn address(&self) -> (libc::sockaddr_un, libc::socklen_t) {
        sys::unix_address(&self.octets)
    }
}

/// Another number for each, as if drawn at random (the finalizer of SplitMix64). The kernel finds a name by the sum of its
/// octets: those of numbers in a row are much alike, and what is sent to one of 10,000 would be looked for among hundreds.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Random, so that processes do not meet; zero before the first use and in a forked child.
static PROCESS: AtomicU64 = AtomicU64::new(0);
static SOCKETS: AtomicU64 = AtomicU64::new(0);

fn named_socket() -> io::Result<(c_int, Name)> {
    let fd = sys::unix_socket()?;
    loop {
        let mut process = PROCESS.load(Ordering::Relaxed);
        if process == 0 {
            process = sys::random() | 1;
            PROCESS.store(process, Ordering::Relaxed);
        }
        let name = Name::new(process, SOCKETS.fetch_add(1, Ordering::Relaxed));
        match sys::bind(fd, name.address()) {
            Ok(()) => return Ok((fd, name)),
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {}
            Err(error) => {
                sys::close(fd);
                return Err(error);
            }
        }
    }
}

/// The sink's name, never freed; null before it is needed. A forked child has its parent's.
static SINK: AtomicPtr<Name> = AtomicPtr::new(std::ptr::null_mut());

/// The socket whose queue is full for good. Its number is hidden and never closed. No lock is held, which a forked child
/// might find held for ever.
fn sink() -> io::Result<Name> {
    // SAFETY: it comes from a box that is never freed.
    if let Some(name) = unsafe { SINK.load(Ordering::Acquire).as_ref() } {
        return Ok(*name);
    }
    let (fd, name) = named_socket()?;
    let fd = sys::hide(fd)?;
    fill(name).inspect_err(|_| sys::close(fd))?;
    let new = Box::into_raw(Box::new(name));
    let order = (Ordering::AcqRel, Ordering::Acquire);
    match SINK.compare_exchange(std::ptr::null_mut(), new, order.0, order.1) {
        Ok(_) => Ok(name),
        Err(other) => {
            sys::close(fd);
            // SAFETY: it comes from a box, and nobody else has seen it.
            drop(unsafe { Box::from_raw(new) });
            // SAFETY: it comes from a box that is never freed.
            Ok(unsafe { *other })
        }
    }
}

/// Fills a queue. A socket that sends may be full itself before the queue is, so there are as many as it takes: until one
/// that has sent nothing yet cannot.
fn fill(name: Name) -> io::Result<()> {
    loop {
        let filler = sys::unix_socket()?;
        let mut sent = 0;
        while sys::send_to(filler, b"", name.address()) >= 0 {
            sent += 1;
        }
        sys::close(filler);
        if sent == 0 {
            return Ok(());
        }
    }
}

/// What a forked child does before it makes its first.
pub(crate) fn forked() {
    PROCESS.store(0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel sums words of two octets, and finds a name among those with the same 8 bits of that.
    #[test]
    fn names_in_a_row_are_in_all_of_the_kernels_lists() {
        let mut lists = [0u32; 256];
        for socket in 0..10_000 {
            let octets = Name::new(1, socket).octets;
            let sum: u32 = octets
                .chunks(2)
                .map(|pair| {
                    pair.iter()
                        .rev()
                        .fold(0, |word, &octet| word << 8 | u32::from(octet))
                })
                .sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            lists[((folded ^ (folded >> 8)) & 255) as usize] += 1;
        }
        assert!(
            lists.iter().all(|&names| (1..160).contains(&names)),
            "{lists:?}"
        );
    }

    const NOTHING: Shown = Shown {
        readable: false,
        writable: false,
        read_closed: false,
        hung_up: false,
    };
    const READABLE: Shown = Shown {
        readable: true,
        ..NOTHING
    };
    const WRITABLE: Shown = Shown {
        writable: true,
        ..NOTHING
    };
    const BOTH: Shown = Shown {
        readable: true,
        ..WRITABLE
    };

    const ALL: c_int = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP;
    const IN: c_int = libc::EPOLLIN;
    const OUT: c_int = libc::EPOLLOUT;

    /// A signal with two epoll descriptors that look at it: one for its level, one for its edges.
    struct Seen {
        signal: Signal,
        fd: c_int,
        level: c_int,
        edge: c_int,
    }

    impl Seen {
        fn new() -> Self {
            let (signal, fd) = Signal::new().expect("a signal");
            let set = |how: c_int| {
                // SAFETY: it touches no memory.
                let set = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
                let mut event = libc::epoll_event {
                    events: (ALL | how).cast_unsigned(),
                    u64: 0,
                };
                // SAFETY: the structure is this frame's.
                let added = unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, &mut event) };
                assert_eq!(added, 0);
                set
            };
            Self {
                level: set(0),
                edge: set(libc::EPOLLET),
                signal,
                fd,
            }
        }

        fn show(&self, now: Shown) {
            self.signal.show(|| now);
        }

        fn told_by(set: c_int) -> c_int {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: the structure is this frame's.
            let count = unsafe { libc::epoll_wait(set, &mut event, 1, 0) };
            if count == 1 {
                event.events.cast_signed()
            } else {
                0
            }
        }

        fn edge(&self) -> c_int {
            Self::told_by(self.edge)
        }

        /// What epoll sees, which poll and select have to see as well.
        fn level(&self) -> c_int {
            let level = Self::told_by(self.level);
            let mut ask = libc::pollfd {
                fd: self.fd,
                events: libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP,
                revents: 0,
            };
            sys::poll_now(&mut ask);
            assert_eq!(c_int::from(ask.revents), level);
            let select = |write: bool| {
                // SAFETY: zeros are a value of it.
                let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
                // SAFETY: the number is below FD_SETSIZE.
                unsafe { libc::FD_SET(self.fd, &mut set) };
                let mut none = libc::timeval {
                    tv_sec: 0,
                    tv_usec: 0,
                };
                let null = std::ptr::null_mut;
                let (read, write) = if write {
                    (null(), &raw mut set)
                } else {
                    (&raw mut set, null())
                };
                // SAFETY: set and time are this frame's.
                unsafe { libc::select(self.fd + 1, read, write, null(), &mut none) }
            };
            assert_eq!(select(false), c_int::from(level & IN != 0));
            assert_eq!(select(true), c_int::from(level & OUT != 0));
            level
        }
    }

    impl Drop for Seen {
        fn drop(&mut self) {
            sys::close(self.level);
            sys::close(self.edge);
            sys::close(self.fd);
        }
    }

    fn events(shown: Shown) -> c_int {
        (c_int::from(shown.readable) * IN) | (c_int::from(shown.writable) * OUT)
    }

    #[test]
    fn a_new_one_is_ready_for_nothing() {
        let seen = Seen::new();
        assert_eq!((seen.level(), seen.edge()), (0, 0));
    }

    #[test]
    fn every_state_follows_every_other() {
        let states = [NOTHING, READABLE, WRITABLE, BOTH];
        let seen = Seen::new();
        for from in states {
            for to in states {
                seen.show(from);
                assert_eq!(seen.level(), events(from));
                seen.edge();
                seen.show(to);
                assert_eq!(seen.level(), events(to), "{from:?} {to:?}");
                let new = events(to) & !events(from);
                assert_eq!(seen.edge() & new, new, "{from:?} {to:?}");
                assert_eq!(seen.edge(), 0);
                assert_eq!(seen.level(), events(to));
            }
        }
    }

    #[test]
    fn what_has_come_and_gone_unseen_is_no_edge_lost() {
        let seen = Seen::new();
        for _ in 0..20 {
            seen.show(WRITABLE);
            seen.show(NOTHING);
            seen.show(WRITABLE);
            assert_eq!(seen.edge() & OUT, OUT);
            seen.show(BOTH);
            seen.show(NOTHING);
            seen.show(READABLE);
            assert_eq!(seen.edge() & IN, IN);
            seen.show(NOTHING);
        }
    }

    #[test]
    fn what_stays_is_shown_anew() {
        let seen = Seen::new();
        seen.show(BOTH);
        seen.edge();
        seen.signal.show_reads_anew(|| BOTH);
        assert_eq!(seen.edge() & IN, IN);
        seen.signal.show_writes_anew(|| BOTH);
        assert_eq!(seen.edge() & OUT, OUT);
        assert_eq!(seen.level(), IN | OUT);
        seen.show(READABLE);
        seen.edge();
        seen.signal.show_reads_anew(|| READABLE);
        assert_eq!(seen.edge() & IN, IN);
        assert_eq!(seen.level(), IN);
    }

    #[test]
    fn ends_are_shown_and_stay() {
        let seen = Seen::new();
        seen.show(READABLE);
        let closed = Shown {
            read_closed: true,
            ..READABLE
        };
        seen.show(closed);
        assert_eq!(seen.level(), IN | libc::EPOLLRDHUP);
        assert_eq!(seen.edge(), IN | libc::EPOLLRDHUP);
        seen.show(Shown {
            writable: true,
            ..closed
        });
        assert_eq!(seen.level(), IN | OUT | libc::EPOLLRDHUP);
        assert_eq!(seen.edge() & OUT, OUT);
        seen.show(Shown {
            hung_up: true,
            ..BOTH
        });
        let all = ALL | libc::EPOLLHUP;
        assert_eq!((seen.level(), seen.edge()), (all, all));
        seen.show(NOTHING);
        assert_eq!(seen.level(), all);
    }

    #[test]
    fn a_stranger_can_wake_and_no_more() {
        let seen = Seen::new();
        seen.show(WRITABLE);
        let stranger = sys::unix_socket().expect("a socket");
        while sys::send_to(stranger, b"x", seen.signal.name.address()) > 0 {}
        assert_eq!(seen.level(), IN | OUT);
        seen.signal.show_reads_anew(|| WRITABLE);
        assert_eq!(seen.level(), OUT);
        sys::close(stranger);
    }

    #[test]
    fn many_are_blocked_by_one_sink() {
        let seen: Vec<_> = (0..100).map(|_| Seen::new()).collect();
        for one in &seen {
            one.show(WRITABLE);
        }
        for one in seen.iter().step_by(2) {
            one.show(NOTHING);
        }
        for (index, one) in seen.iter().enumerate() {
            assert_eq!(one.level(), if index % 2 == 0 { 0 } else { OUT });
        }
    }

    #[test]
    fn nothing_is_shown_to_a_number_that_has_been_given_up() {
        let seen = Seen::new();
        seen.signal.renumber(-1);
        seen.show(BOTH);
        assert_eq!(seen.level(), 0);
    }
}

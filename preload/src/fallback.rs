//! What a plain connection needs to take the place of one that should have been in DDPMODE: where to, from where, and what
//! the program has set on the socket.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::socklen_t;

use crate::real::real;
use crate::sys::{self, Address};

/// Linux's options that say something about the socket itself, and that can be asked for as they are set.
const OPTIONS: &[(c_int, c_int)] = &[
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
    (libc::SOL_SOCKET, libc::SO_BUSY_POLL),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    (libc::SOL_SOCKET, RECEIVE_BUFFER),
    (libc::SOL_SOCKET, SEND_BUFFER),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_FREEBIND),
    (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND),
];

/// The kernel tells twice what has been set of these two.
const RECEIVE_BUFFER: c_int = libc::SO_RCVBUF;
const SEND_BUFFER: c_int = libc::SO_SNDBUF;

/// More than any of them takes.
const VALUE_MAX: usize = 64;

/// One option's value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    level: c_int,
    name: c_int,
    value: Vec<u8>,
}

impl Set {
    fn of(fd: c_int, level: c_int, name: c_int) -> Option<Self> {
        let mut value = [0u8; VALUE_MAX];
        let mut len = VALUE_MAX as socklen_t;
        let at = value.as_mut_ptr().cast();
        // SAFETY: there is room for as much as `len` says.
        sys::outcome(unsafe { real::getsockopt(fd, level, name, at, &mut len) }).ok()?;
        let value = value.get(..len as usize)?.to_vec();
        Some(Self { level, name, value })
    }

    fn apply(&self, fd: c_int) {
        let at: *const c_void = self.value.as_ptr().cast();
        let len = self.value.len() as socklen_t;
        // SAFETY: the value is valid for its length.
        unsafe { real::setsockopt(fd, self.level, self.name, at, len) };
    }

    /// As it has to be set to be told as it was.
    fn into_setting(mut self) -> Self {
        if self.level == libc::SOL_SOCKET
            && matches!(self.name, RECEIVE_BUFFER | SEND_BUFFER)
            && let Ok(octets) = self.value.as_slice().try_into()
        {
            self.value = (c_int::from_ne_bytes(octets) / 2).to_ne_bytes().to_vec();
        }
        self
    }
}

/// A plain connection that may be made.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    to: Address,
    /// What the program has bound the socket to.
    from: Option<Address>,
    options: Vec<Set>,
}

impl Fallback {
    /// Of a socket that is about to be connected.
    pub(crate) fn new(fd: c_int, to: Address) -> Self {
        let of = |&(level, name): &(c_int, c_int)| Set::of(fd, level, name);
        Self {
            to,
            from: Address::local(fd).ok().filter(Address::is_bound),
            options: OPTIONS
                .iter()
                .filter_map(of)
                .map(Set::into_setting)
                .collect(),
        }
    }

    /// The program has set an option since.
    pub(crate) fn has_set(&mut self, level: c_int, name: c_int, value: &[u8]) {
        let value = value.to_vec();
        self.options
            .retain(|set| (set.level, set.name) != (level, name));
        self.options.push(Set { level, name, value });
    }

    /// A socket with what the program has set, which is being connected.
    ///
    /// # Errors
    /// The system's. The socket is then closed.
    pub(crate) fn connect(&self) -> io::Result<c_int> {
        match self.connect_from(self.from) {
            // The port that the program has bound it to may still be the first connection's.
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                self.connect_from(self.from.map(Address::without_port))
            }
            other => other,
        }
    }

    fn connect_from(&self, from: Option<Address>) -> io::Result<c_int> {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let family = c_int::from(self.to.storage.ss_family);
        // SAFETY: it touches no memory.
        let fd = sys::outcome(unsafe { libc::socket(family, kind, 0) })?;
        // The program may close all that it does not know, or use that number itself.
        let fd = sys::hide(fd)?;
        for set in &self.options {
            // What is as ever stays the kernel's to change: buffers that nobody has set grow.
            if Set::of(fd, set.level, set.name)
                .map(Set::into_setting)
                .as_ref()
                != Some(set)
            {
                set.apply(fd);
            }
        }
        if let Some(from) = from
            && from.bind(fd).is_err()
        {
            // It goes on without the port if it has to.
            let _ = from.without_port().bind(fd);
        }
        let at = (&raw const self.to.storage).cast();
        // SAFETY: the address is valid for its length.
        match sys::outcome(unsafe { real::connect(fd, at, self.to.len) }) {
            Ok(_) => Ok(fd),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(fd),
            Err(error) => {
                sys::close(fd);
                Err(error)
            }
        }
    }
}

const NONE: u8 = 0;
const TO_COME: u8 = 1;
const BEGUN: u8 = 2;

/// The plain connection of one endpoint: there is none, it may come, or it has begun. One word says which, so that
/// whoever looks while it begins is not told that there is none.
#[derive(Debug)]
pub(crate) struct Resort {
    state: AtomicU8,
    /// There while it is to come; changed together with the state.
    plain: Mutex<Option<Fallback>>,
}

impl Resort {
    pub(crate) fn new(plain: Option<Fallback>) -> Self {
        let state = if plain.is_some() { TO_COME } else { NONE };
        Self {
            state: AtomicU8::new(state),
            plain: Mutex::new(plain),
        }
    }

    fn plain(&self) -> MutexGuard<'_, Option<Fallback>> {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins it, once, if there is one.
    pub(crate) fn begin(&self) -> Option<Fallback> {
        let mut plain = self.plain();
        let taken = plain.take()?;
        self.state.store(BEGUN, Ordering::Release);
        Some(taken)
    }

    /// It is not needed any more, unless it has begun.
    pub(crate) fn give_up(&self) {
        let mut plain = self.plain();
        if plain.take().is_some() {
            self.state.store(NONE, Ordering::Release);
        }
    }

    /// The program has set an option.
    pub(crate) fn has_set(&self, level: c_int, name: c_int, value: &[u8]) {
        if let Some(plain) = self.plain().as_mut() {
            plain.has_set(level, name, value);
        }
    }

    /// Whether it may come, or has begun.
    pub(crate) fn is_expected(&self) -> bool {
        self.state.load(Ordering::Acquire) != NONE
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.state.load(Ordering::Acquire) == BEGUN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    fn resort() -> Resort {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let to = Address::local(listener.as_raw_fd()).expect("its address");
        Resort::new(Some(Fallback::new(listener.as_raw_fd(), to)))
    }

    #[test]
    fn it_begins_once_and_not_after_it_was_given_up() {
        let begun = resort();
        assert!(begun.is_expected() && !begun.has_begun());
        assert!(begun.begin().is_some() && begun.begin().is_none());
        begun.give_up();
        assert!(begun.is_expected() && begun.has_begun());
        let given_up = resort();
        given_up.give_up();
        assert!(!given_up.is_expected() && given_up.begin().is_none());
        assert!(!Resort::new(None).is_expected());
    }
}

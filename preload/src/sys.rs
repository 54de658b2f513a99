//! System calls for this library's own ends, by the C library's own functions: none of them looks at the table.
//!
//! None of them changes what the program finds in errno but by failing; who cares keeps it ([`crate::errno`]).

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use libc::{sockaddr_un, socklen_t};

use crate::real::real;

/// Numbers below this one can be in the table or be hidden.
pub(crate) const NUMBERS: usize = 1 << 20;

/// A set of numbers, a bit for each.
struct Numbers([AtomicU64; NUMBERS / 64]);

impl Numbers {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; NUMBERS / 64])
    }

    fn bit(&self, fd: c_int) -> Option<(&AtomicU64, u64)> {
        let number = usize::try_from(fd).ok()?;
        Some((self.0.get(number / 64)?, 1 << (number % 64)))
    }

    fn insert(&self, fd: c_int) {
        if let Some((word, bit)) = self.bit(fd) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn remove(&self, fd: c_int) {
        if let Some((word, bit)) = self.bit(fd)
            && word.load(Ordering::Relaxed) & bit != 0
        {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn has(&self, fd: c_int) -> bool {
        self.bit(fd)
            .is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Those from `first` to `last`.
    fn members(&self, first: usize, last: usize) -> impl Iterator<Item = c_int> + '_ {
        let last = last.min(NUMBERS - 1);
        (first / 64..=last / 64)
            .flat_map(move |word| {
                let bits = self.0[word].load(Ordering::Relaxed);
                (0..64)
                    .filter(move |bit| bits >> bit & 1 != 0)
                    .map(move |bit| word * 64 + bit)
            })
            .filter(move |number| (first..=last).contains(number))
            .filter_map(|number| c_int::try_from(number).ok())
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }
}

/// Numbers that are this library's alone: TCP sockets in DDPMODE, the sink, what the worker has.
static HIDDEN: Numbers = Numbers::new();

/// Those of them that are TCP sockets in DDPMODE.
static STREAMS: Numbers = Numbers::new();

/// Numbers that accept has returned and close has not taken.
static ACCEPTED: Numbers = Numbers::new();

/// Numbers by which something has been registered with epoll. What they are now is to be seen.
static EPOLLS: Numbers = Numbers::new();

/// Numbers that share what they refer to with another one, made by dup while nobody knew what would become of it.
static COPIED: Numbers = Numbers::new();

/// What tells one socket from another: its number in the file system.
pub(crate) fn identity(fd: c_int) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}

/// The program's other numbers for what `fd` refers to.
pub(crate) fn copies(fd: c_int) -> Vec<c_int> {
    if !COPIED.has(fd) {
        return Vec::new();
    }
    let Some(own) = identity(fd) else {
        return Vec::new();
    };
    COPIED
        .members(0, NUMBERS - 1)
        .filter(|&other| other != fd && identity(other).as_ref() == Some(&own))
        .collect()
}

/// Notes that something has been registered with the epoll descriptor.
pub(crate) fn note_epoll(fd: c_int) {
    if !EPOLLS.has(fd) && !is_hidden(fd) {
        EPOLLS.insert(fd);
    }
}

/// The program's epoll descriptors.
pub(crate) fn epolls() -> impl Iterator<Item = c_int> {
    EPOLLS.members(0, NUMBERS - 1)
}

/// What an epoll descriptor has registered for a number: the events, without those that have been told when it was to
/// be told once, and the data. `None` if there is nothing, or the kernel does not say.
pub(crate) fn registered(set: c_int, number: c_int) -> Option<(u32, u64)> {
    // kcmp answers at once where it is allowed: KCMP_EPOLL_TFD compares a file with the target of a registration.
    let slot = [set.cast_unsigned(), number.cast_unsigned(), 0];
    // SAFETY: it has no condition.
    let process = unsafe { libc::getpid() };
    // SAFETY: the kernel reads the three words.
    let same = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            process,
            process,
            KCMP_EPOLL_TFD,
            number,
            slot.as_ptr(),
        )
    };
    if same < 0 && crate::errno::get() == libc::ENOENT {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{set}")).ok()?;
    text.lines().find_map(|line| {
        // tfd:        5 events:       1d data:                5  pos:0 ...
        let mut words = line.strip_prefix("tfd:")?.split_whitespace();
        if words.next()?.parse() != Ok(number) || words.next()? != "events:" {
            return None;
        }
        let events = u32::from_str_radix(words.next()?, 16).ok()?;
        let data = words.nth(1)?;
        Some((events, u64::from_str_radix(data, 16).ok()?))
    })
}

/// Of kcmp's types.
const KCMP_EPOLL_TFD: c_int = 7;

/// Notes that accept has returned the number.
pub(crate) fn note_accepted(fd: c_int) {
    ACCEPTED.insert(fd);
}

/// Notes that the number is closed.
pub(crate) fn note_closed(fd: c_int) {
    ACCEPTED.remove(fd);
    EPOLLS.remove(fd);
    COPIED.remove(fd);
}

/// Notes that all numbers from `first` to `last` are closed, but for what is hidden.
pub(crate) fn note_closed_range(first: usize, last: usize) {
    for noted in [&ACCEPTED, &EPOLLS, &COPIED] {
        noted.members(first, last).for_each(|fd| noted.remove(fd));
    }
}

/// Notes that a number refers to what another one does, whatever it was before.
pub(crate) fn note_copied(old: c_int, new: c_int) {
    COPIED.insert(old);
    COPIED.insert(new);
    for noted in [&ACCEPTED, &EPOLLS] {
        if noted.has(old) {
            noted.insert(new);
        } else {
            noted.remove(new);
        }
    }
}

/// Whether accept has returned the number.
pub(crate) fn was_accepted(fd: c_int) -> bool {
    ACCEPTED.has(fd)
}

/// Notes that a hidden number is a TCP socket in DDPMODE.
pub(crate) fn note_stream(fd: c_int) {
    STREAMS.insert(fd);
}

/// Whether any TCP socket in DDPMODE is left.
pub(crate) fn has_streams() -> bool {
    !STREAMS.is_empty()
}

/// The numbers of all TCP sockets in DDPMODE, which are none any more from here on, though still hidden: a forked child
/// lets go of its parent's.
pub(crate) fn take_streams() -> Vec<c_int> {
    let streams: Vec<c_int> = STREAMS.members(0, NUMBERS - 1).collect();
    streams.iter().for_each(|&fd| STREAMS.remove(fd));
    streams
}

/// Whether the number is hidden from the program.
pub(crate) fn is_hidden(fd: c_int) -> bool {
    HIDDEN.has(fd)
}

/// The hidden numbers from `first` to `last`.
pub(crate) fn hidden(first: usize, last: usize) -> impl Iterator<Item = c_int> {
    HIDDEN.members(first, last)
}

/// How often each number has ceased to be hidden. Pages that are never touched cost nothing.
static USES: [AtomicU32; NUMBERS] = [const { AtomicU32::new(0) }; NUMBERS];

/// Tells one use of a hidden number from the next.
pub(crate) fn hidden_use(fd: c_int) -> u32 {
    let uses = usize::try_from(fd).ok().and_then(|fd| USES.get(fd));
    uses.map_or(0, |uses| uses.load(Ordering::Relaxed))
}

/// Says that a number is not hidden any more, when it is closed.
pub(crate) fn unhide(fd: c_int) {
    if let Some(uses) = usize::try_from(fd).ok().and_then(|fd| USES.get(fd)) {
        uses.fetch_add(1, Ordering::Relaxed);
    }
    HIDDEN.remove(fd);
    STREAMS.remove(fd);
}

/// Moves what `fd` refers to to a high number, close-on-exec and hidden, and closes `fd`.
///
/// # Errors
/// That of fcntl: no numbers left. `fd` is closed then as well.
pub(crate) fn hide(fd: c_int) -> io::Result<c_int> {
    let hidden = hidden_copy(fd);
    close(fd);
    hidden
}

/// What `fd` refers to under a high number, close-on-exec and hidden.
///
/// Programs take the lowest numbers, and some keep their own arrays of them, or select. The upper half of what the
/// soft limit allows is ours as long as they leave it.
///
/// # Errors
/// That of fcntl: no numbers left.
pub(crate) fn hidden_copy(fd: c_int) -> io::Result<c_int> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is this frame's.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let half = usize::try_from(limit.rlim_cur)
        .unwrap_or(NUMBERS)
        .min(NUMBERS)
        / 2;
    // SAFETY: it makes a number and touches no memory.
    let mut hidden = unsafe { real::fcntl(fd, libc::F_DUPFD_CLOEXEC, half) };
    if hidden < 0 {
        // SAFETY: as above.
        hidden = unsafe { real::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    }
    let hidden = outcome(hidden)?;
    HIDDEN.insert(hidden);
    Ok(hidden)
}

/// -1 and errno as a result.
pub(crate) fn outcome(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(crate) fn close(fd: c_int) {
    unhide(fd);
    // SAFETY: callers give up a number of their own.
    unsafe { real::close(fd) };
}

pub(crate) fn shutdown(fd: c_int, how: c_int) {
    // SAFETY: it touches no memory.
    unsafe { real::shutdown(fd, how) };
}

/// Octets received without waiting, 0 or less when there are none.
pub(crate) fn receive(fd: c_int, octets: &mut [u8]) -> isize {
    // SAFETY: the slice is valid for its length.
    unsafe {
        real::recv(
            fd,
            octets.as_mut_ptr().cast(),
            octets.len(),
            libc::MSG_DONTWAIT,
        )
    }
}

/// Looks at the first octets without taking them and without waiting. 0 says that there will be none.
///
/// # Errors
/// Those of recv, EAGAIN when there are none yet.
pub(crate) fn peek(fd: c_int, octets: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_PEEK;
    // SAFETY: the slice is valid for its length.
    let got = unsafe { real::recv(fd, octets.as_mut_ptr().cast(), octets.len(), flags) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

pub(crate) fn send_to(fd: c_int, octets: &[u8], to: (sockaddr_un, socklen_t)) -> isize {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: slice and address are valid for their lengths.
    unsafe {
        real::sendto(
            fd,
            octets.as_ptr().cast(),
            octets.len(),
            flags,
            (&raw const to.0).cast(),
            to.1,
        )
    }
}

pub(crate) fn unix_socket() -> io::Result<c_int> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: it touches no memory.
    let fd = outcome(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    Ok(fd)
}

/// The address of a socket with an abstract name; the name begins with a zero octet.
pub(crate) fn unix_address(name: &[u8]) -> (sockaddr_un, socklen_t) {
    let mut address = sockaddr_un {
        sun_family: libc::AF_UNIX as libc::sa_family_t,
        sun_path: [0; 108],
    };
    for (to, from) in address.sun_path.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    let len = std::mem::offset_of!(sockaddr_un, sun_path) + name.len().min(108);
    (address, len as socklen_t)
}

pub(crate) fn bind(fd: c_int, to: (sockaddr_un, socklen_t)) -> io::Result<()> {
    // SAFETY: the address is valid for its length.
    outcome(unsafe { real::bind(fd, (&raw const to.0).cast(), to.1) }).map(drop)
}

pub(crate) fn connect(fd: c_int, to: (sockaddr_un, socklen_t)) -> io::Result<()> {
    // SAFETY: the address is valid for its length.
    outcome(unsafe { real::connect(fd, (&raw const to.0).cast(), to.1) }).map(drop)
}

/// Undoes [`connect`].
pub(crate) fn disconnect(fd: c_int) {
    let nothing = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: the address is valid for its length.
    unsafe { real::connect(fd, &nothing, size_of::<libc::sockaddr>() as socklen_t) };
}

/// Asks the kernel about one descriptor, without waiting.
pub(crate) fn poll_now(ask: &mut libc::pollfd) -> bool {
    crate::wait::wait(std::slice::from_mut(ask), 0) > 0
}

/// 64 random bits.
pub(crate) fn random() -> u64 {
    let mut octets = [0; 8];
    // SAFETY: the array is valid for its length.
    unsafe { libc::getrandom(octets.as_mut_ptr().cast(), octets.len(), 0) };
    u64::from_ne_bytes(octets)
}

/// File status flags, those of the number, or what else `command` asks for.
pub(crate) fn fcntl(fd: c_int, command: c_int, argument: usize) -> io::Result<c_int> {
    // SAFETY: only commands without pointers are used.
    outcome(unsafe { real::fcntl(fd, command, argument) })
}

/// Says whether calls on what the number refers to are to wait.
pub(crate) fn set_nonblocking(fd: c_int, on: bool) -> io::Result<()> {
    let status = fcntl(fd, libc::F_GETFL, 0)?;
    let wanted = if on {
        status | libc::O_NONBLOCK
    } else {
        status & !libc::O_NONBLOCK
    };
    if wanted != status {
        fcntl(fd, libc::F_SETFL, wanted as usize)?;
    }
    Ok(())
}

/// An option of a socket whose value is a `T`.
pub(crate) fn option<T: Copy>(fd: c_int, level: c_int, name: c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as socklen_t;
    // SAFETY: the kernel writes no more than `len` octets.
    outcome(unsafe { real::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &mut len) })?;
    // SAFETY: callers use integers and structures of integers, for which zeros are a value.
    Ok(unsafe { value.assume_init() })
}

/// Sets an option of a socket.
pub(crate) fn set_option<T: Copy>(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    let at: *const c_void = std::ptr::from_ref(value).cast();
    // SAFETY: the value is valid for its size.
    outcome(unsafe { real::setsockopt(fd, level, name, at, size_of::<T>() as socklen_t) }).map(drop)
}

/// A socket address as the kernel gives it.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub(crate) storage: libc::sockaddr_storage,
    pub(crate) len: socklen_t,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.internet())
    }
}

impl Address {
    fn empty() -> Self {
        Self {
            // SAFETY: zeros are a value of it.
            storage: unsafe { std::mem::zeroed() },
            len: size_of::<libc::sockaddr_storage>() as socklen_t,
        }
    }

    /// Takes over what a program passes; nothing if it is none.
    ///
    /// # Safety
    /// `at` is null or valid for `len` octets.
    pub(crate) unsafe fn read(at: *const libc::sockaddr, len: socklen_t) -> Option<Self> {
        let mut address = Self::empty();
        if at.is_null() || len > address.len {
            return None;
        }
        let to: *mut u8 = (&raw mut address.storage).cast();
        // SAFETY: `len` octets are valid at `at`, and there is room for them.
        unsafe { std::ptr::copy_nonoverlapping(at.cast::<u8>(), to, len as usize) };
        address.len = len;
        Some(address)
    }

    /// Writes it where a program wants it, cut to its room, and its full length.
    ///
    /// # Safety
    /// `len` is null or valid, and `at` is valid for `*len` octets.
    pub(crate) unsafe fn write(&self, at: *mut libc::sockaddr, len: *mut socklen_t) {
        if at.is_null() || len.is_null() {
            return;
        }
        // SAFETY: the caller says so.
        let room = unsafe { *len }.min(self.len);
        let from: *const u8 = (&raw const self.storage).cast();
        // SAFETY: there is room for as much, and the storage holds as much.
        unsafe { std::ptr::copy_nonoverlapping(from, at.cast::<u8>(), room as usize) };
        // SAFETY: the caller says so.
        unsafe { *len = self.len };
    }

    pub(crate) fn local(fd: c_int) -> io::Result<Self> {
        let mut address = Self::empty();
        let at = (&raw mut address.storage).cast();
        // SAFETY: the storage is as large as its length says.
        outcome(unsafe { real::getsockname(fd, at, &mut address.len) })?;
        Ok(address)
    }

    pub(crate) fn peer(fd: c_int) -> io::Result<Self> {
        let mut address = Self::empty();
        let at = (&raw mut address.storage).cast();
        // SAFETY: the storage is as large as its length says.
        outcome(unsafe { real::getpeername(fd, at, &mut address.len) })?;
        Ok(address)
    }

    /// Whether it names a port or a host.
    pub(crate) fn is_bound(&self) -> bool {
        self.internet()
            .is_some_and(|at| at.port() != 0 || !at.ip().is_unspecified())
    }

    /// The same address, and any port.
    pub(crate) fn without_port(mut self) -> Self {
        // The port is at the same place in addresses of IPv4 and IPv6.
        let at: *mut libc::sockaddr_in = (&raw mut self.storage).cast();
        if self.internet().is_some() {
            // SAFETY: the storage is larger and aligned for every kind of address.
            unsafe { (*at).sin_port = 0 };
        }
        self
    }

    /// Binds a socket to it.
    pub(crate) fn bind(&self, fd: c_int) -> io::Result<()> {
        let at = (&raw const self.storage).cast();
        // SAFETY: the address is valid for its length.
        outcome(unsafe { real::bind(fd, at, self.len) }).map(drop)
    }

    /// Whether it is the name of a signal.
    pub(crate) fn is_signal(&self) -> bool {
        self.unix_name()
            .and_then(|name| name.strip_prefix(b"\0"))
            .is_some_and(|name| name.starts_with(crate::signal::PREFIX))
    }

    /// The octets of a UNIX socket's name; of an abstract one the first is zero.
    pub(crate) fn unix_name(&self) -> Option<&[u8]> {
        if c_int::from(self.storage.ss_family) != libc::AF_UNIX {
            return None;
        }
        let at: *const u8 = (&raw const self.storage).cast();
        let all = (self.len as usize).min(size_of::<libc::sockaddr_storage>());
        // SAFETY: the storage is borrowed, and as long.
        let octets = unsafe { std::slice::from_raw_parts(at, all) };
        octets.get(std::mem::offset_of!(sockaddr_un, sun_path)..)
    }

    /// It as an address of IPv4 or IPv6.
    pub(crate) fn internet(&self) -> Option<std::net::SocketAddr> {
        let at = &raw const self.storage;
        match c_int::from(self.storage.ss_family) {
            libc::AF_INET if self.len as usize >= size_of::<libc::sockaddr_in>() => {
                // SAFETY: the storage is larger and aligned for every kind of address.
                let address = unsafe { &*at.cast::<libc::sockaddr_in>() };
                let ip = std::net::Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
                Some((ip, u16::from_be(address.sin_port)).into())
            }
            libc::AF_INET6 if self.len as usize >= size_of::<libc::sockaddr_in6>() => {
                // SAFETY: as above.
                let address = unsafe { &*at.cast::<libc::sockaddr_in6>() };
                let ip = std::net::Ipv6Addr::from(address.sin6_addr.s6_addr);
                let ip = ip.to_ipv4_mapped().map_or(ip.into(), std::net::IpAddr::V4);
                Some((ip, u16::from_be(address.sin6_port)).into())
            }
            _ => None,
        }
    }
}

/// Whether it is a TCP socket.
pub(crate) fn is_tcp(fd: c_int) -> bool {
    option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL).is_ok_and(|it: c_int| it == libc::IPPROTO_TCP)
}

/// Whether a connected TCP socket has been accepted, and nobody has read from it or written to it.
pub(crate) fn is_accepted_anew(fd: c_int) -> bool {
    // Words of the kernel's structure tcp_info: 15 counts the octets that the peer has acknowledged, 16 those that it
    // has sent.
    let Ok(info) = option::<[u64; 17]>(fd, libc::IPPROTO_TCP, libc::TCP_INFO) else {
        return false;
    };
    let mut unread: c_int = 0;
    // SAFETY: this request writes one number.
    unsafe { real::ioctl(fd, libc::FIONREAD, (&raw mut unread).addr()) };
    // The end that has connected counts its SYN as an octet that was acknowledged; the one that has accepted does not.
    info[15] == 0 && info[16] == u64::try_from(unread).unwrap_or(0)
}

//! What fork and exec do to sockets in DDPMODE.
//!
//! | event | parent | child |
//! | --- | --- | --- |
//! | `fork` | keeps everything: sockets, regions, workers | every uwarp object made before the fork is refused with a `Forked` error; dropping one does nothing to the connection; it may make its own |
//! | `exec` | as a process that ends: every descriptor of uwarp is close-on-exec | as the parent |
//! | parent exits or is killed | connections end, the peer learns it | is not affected |
//!
//! A forked child has a copy of every descriptor. A TCP connection would live on as long as the
//! child does, though nobody serves it, and its peer would not learn that the parent has gone. So in
//! the child, right after the fork, every TCP descriptor of uwarp is replaced by one of `/dev/null`.
//! Registered memory in the child is an ordinary copy that no peer can reach.
//!
//! What a child does with its parent's objects must not touch what the two still share, nor take a
//! lock that a thread of the parent's held when it forked: methods without an error to return say
//! that there is nothing.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Counts the forks between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Descriptors below this number can be guarded.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// A bit for each guarded descriptor.
static GUARDED: [AtomicU64; DESCRIPTORS_MAX / 64] =
    [const { AtomicU64::new(0) }; DESCRIPTORS_MAX / 64];

/// Words of [`GUARDED`] that have ever been used.
static USED_WORDS: AtomicUsize = AtomicUsize::new(0);

/// The handler is registered. Threads that come at the same time all register it, which does no harm; a lock would stay
/// locked in the child of a thread that forks meanwhile.
static PREPARED: AtomicBool = AtomicBool::new(false);

/// How often the process's line has forked; an object made at another number belongs to another
/// process.
pub(crate) fn generation() -> u32 {
    prepare();
    GENERATION.load(Ordering::Relaxed)
}

/// Whether an object made at `generation` belongs to this process.
pub(crate) fn check(made_at: u32) -> Result<(), ()> {
    if GENERATION.load(Ordering::Relaxed) == made_at {
        Ok(())
    } else {
        Err(())
    }
}

/// The process that something was made in, for what is built upon uwarp and has state of its own.
///
/// ```
/// let owner = uwarp::fork::Owner::here();
/// assert!(owner.is_here());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u32);

impl Owner {
    /// This process.
    #[must_use]
    pub fn here() -> Self {
        Self(generation())
    }

    /// Whether this process is it, and not one forked from it. Costs no system call.
    #[must_use]
    pub fn is_here(self) -> bool {
        check(self.0).is_ok()
    }
}

/// Has `descriptor` replaced in forked children.
pub(crate) fn guard(descriptor: BorrowedFd<'_>) {
    prepare();
    if let Some((word, bit)) = place(descriptor) {
        GUARDED[word].fetch_or(bit, Ordering::Relaxed);
        USED_WORDS.fetch_max(word + 1, Ordering::Relaxed);
    }
}

/// Takes the guard off, before the descriptor is closed or given away.
pub(crate) fn forget(descriptor: BorrowedFd<'_>) {
    if let Some((word, bit)) = place(descriptor) {
        GUARDED[word].fetch_and(!bit, Ordering::Relaxed);
    }
}

fn place(descriptor: BorrowedFd<'_>) -> Option<(usize, u64)> {
    let number = usize::try_from(descriptor.as_raw_fd())
        .ok()
        .filter(|&number| number < DESCRIPTORS_MAX)?;
    Some((number / 64, 1 << (number % 64)))
}

fn prepare() {
    if PREPARED.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: the handler only uses atomics and calls that may be made after a fork.
    let registered = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    if registered != 0 {
        tracing::warn!("no fork handler: a forked child keeps its parent's connections open");
    }
    PREPARED.store(true, Ordering::Release);
}

/// Runs in the child of every fork, in the only thread that is left; more than once if it is registered so.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // Opened here: one that is kept from before may have been closed by a program that closes all that it does not know,
    // and its number be something of the program's.
    let mut in_its_place = -1;
    let mut stays = false;
    for (index, word) in GUARDED
        .iter()
        .enumerate()
        .take(USED_WORDS.load(Ordering::Relaxed))
    {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let number = (index * 64 + bits.trailing_zeros() as usize) as libc::c_int;
            bits &= bits - 1;
            if !is_internet(number) {
                // An earlier handler has put something else there.
                continue;
            }
            if in_its_place < 0 {
                in_its_place = nothing();
            }
            if in_its_place < 0 {
                // All numbers are in use: this one is given up for it.
                // SAFETY: close is safe to call after a fork.
                unsafe { libc::close(number) };
                in_its_place = nothing();
                if in_its_place == number {
                    stays = true;
                    continue;
                }
            }
            // SAFETY: dup3 is, too. It replaces a descriptor of the child that only uwarp knows; its owner may still
            // close it.
            if unsafe { libc::dup3(in_its_place, number, libc::O_CLOEXEC) } < 0 {
                // SAFETY: as above.
                unsafe { libc::close(number) };
            }
        }
    }
    if in_its_place >= 0 && !stays {
        // SAFETY: it is this frame's.
        unsafe { libc::close(in_its_place) };
    }
}

/// Whether a descriptor is a socket of IPv4 or IPv6, as TCP's are.
fn is_internet(number: libc::c_int) -> bool {
    let mut domain: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_DOMAIN);
    // SAFETY: there is room for the number, and the call is safe after a fork.
    let asked =
        unsafe { libc::getsockopt(number, level, name, (&raw mut domain).cast(), &mut len) };
    asked == 0 && (domain == libc::AF_INET || domain == libc::AF_INET6)
}

/// A descriptor that leads nowhere, also where there is no `/dev/null`; -1 if there are no numbers left.
fn nothing() -> libc::c_int {
    // SAFETY: the name ends in a zero octet, and open is safe to call after a fork.
    let device = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if device >= 0 {
        return device;
    }
    // SAFETY: it touches no memory.
    unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }
}

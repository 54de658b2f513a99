//! Waiting: poll, select, and what epoll is told.
//!
//! The kernel waits, for signals as for anything else. Before it does, the signals are made right; and a connection that
//! has only brought an MPA Request is not readable.

use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::{epoll_event, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};

use crate::border::guarded;
use crate::endpoint::Endpoint;
use crate::real::real;
use crate::sys::{self, NUMBERS};
use crate::table::{self, Kind, Registration};
use crate::undecided::{self, Decision};

pub(crate) unsafe fn poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    // SAFETY: the list is the caller's.
    if !unsafe { concerns(list, count) } {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::poll(list, count, timeout) };
    }
    let deadline = u64::try_from(timeout)
        .ok()
        .map(|time| Instant::now() + Duration::from_millis(time));
    // SAFETY: the list is the caller's.
    unsafe { poll_list(list, count, deadline, std::ptr::null()) }
}

pub(crate) unsafe fn poll_chk(
    list: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
    room: usize,
) -> c_int {
    if room / size_of::<pollfd>() < count as usize {
        // SAFETY: the arguments are the caller's; it complains.
        return unsafe { real::__poll_chk(list, count, timeout, room) };
    }
    // SAFETY: the arguments are the caller's.
    unsafe { poll(list, count, timeout) }
}

pub(crate) unsafe fn ppoll(
    list: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the list is the caller's, and so is the time if it is not null.
    if !unsafe { concerns(list, count) } || !unsafe { is_sound(timeout) } {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::ppoll(list, count, timeout, mask) };
    }
    // SAFETY: it is null or the caller's.
    let deadline = unsafe { timeout.as_ref() }.map(|time| Instant::now() + duration(time));
    // SAFETY: the list and the mask are the caller's.
    unsafe { poll_list(list, count, deadline, mask) }
}

pub(crate) unsafe fn ppoll_chk(
    list: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    room: usize,
) -> c_int {
    if room / size_of::<pollfd>() < count as usize {
        // SAFETY: the arguments are the caller's; it complains.
        return unsafe { real::__ppoll_chk(list, count, timeout, mask, room) };
    }
    // SAFETY: the arguments are the caller's.
    unsafe { ppoll(list, count, timeout, mask) }
}

/// Whether the kernel takes it for a time.
unsafe fn is_sound(time: *const timespec) -> bool {
    // SAFETY: it is null or the caller's.
    unsafe { time.as_ref() }
        .is_none_or(|time| time.tv_sec >= 0 && (0..1_000_000_000).contains(&time.tv_nsec))
}

fn duration(time: &timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::from_secs(seconds.min(1 << 40)) + Duration::from_nanos(nanoseconds.into())
}

/// What is left until then, as the kernel wants it.
fn left(deadline: Instant) -> timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    timespec {
        tv_sec: left.as_secs().cast_signed(),
        tv_nsec: left.subsec_nanos().into(),
    }
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// The program's list.
unsafe fn elements<'a>(list: *mut pollfd, count: nfds_t) -> &'a mut [pollfd] {
    if list.is_null() {
        return &mut [];
    }
    // SAFETY: the caller's list has so many elements, and nobody else uses it while the call takes.
    unsafe { std::slice::from_raw_parts_mut(list, count as usize) }
}

/// Whether any of them is in the table.
unsafe fn concerns(list: *mut pollfd, count: nfds_t) -> bool {
    // SAFETY: the list is the caller's.
    let list = unsafe { elements(list, count) };
    list.iter().any(|element| table::has(element.fd))
}

unsafe fn poll_list(
    list: *mut pollfd,
    count: nfds_t,
    deadline: Option<Instant>,
    mask: *const sigset_t,
) -> c_int {
    loop {
        let begun = guarded(|| {
            // SAFETY: the list is the caller's.
            let elements = unsafe { elements(list, count) };
            Some(Watched::new(elements.iter().map(|element| element.fd)))
        });
        let look = begun.as_ref().and_then(|watched| watched.look_again());
        let time = deadline.into_iter().chain(look).min().map(left);
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: list and mask are the caller's, the time is this frame's.
        let mut answer = unsafe { real::ppoll(list, count, time, mask) };
        let (mut decided, mut replaced) = (false, false);
        guarded(|| {
            replaced = Watched::done(begun);
            if replaced {
                return Some(());
            }
            // A number may be in the list twice.
            let mut requests = Vec::new();
            // SAFETY: the list is the caller's.
            for element in unsafe { elements(list, count) } {
                if answer > 0
                    && element.revents & libc::POLLIN != 0
                    && (requests.contains(&element.fd) || is_only_a_request(element.fd))
                {
                    requests.push(element.fd);
                    element.revents &= !(libc::POLLIN | libc::POLLRDNORM);
                    decided = true;
                    if element.revents == 0 {
                        answer -= 1;
                    }
                }
            }
            Some(())
        });
        if replaced && answer > 0 {
            // That may be of an object to which the number does not refer any more.
            continue;
        }
        // Of a part of the key the kernel does not tell again: see `undecided`.
        if answer != 0 || !(decided || look.is_some()) || is_over(deadline) {
            return answer;
        }
    }
}

/// How long a wait for a connection that may still become plain TCP takes at the most.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Endpoints whose signals are right while somebody waits for them. A thread that is cancelled meanwhile loses it.
struct Watched(Vec<Arc<Endpoint>>);

impl Watched {
    /// Begins, for those of the numbers that are streams.
    fn new(numbers: impl Iterator<Item = c_int>) -> ManuallyDrop<Self> {
        let stream_of = |fd| match &table::get(fd)?.kind {
            Kind::Stream(endpoint) => Some(Arc::clone(endpoint)),
            _ => None,
        };
        let endpoints: Vec<_> = numbers.filter_map(stream_of).collect();
        endpoints.iter().for_each(|endpoint| endpoint.watch());
        ManuallyDrop::new(Self(endpoints))
    }

    /// When to look again, at the latest. A wait that is woken by the object that was behind a number looks at the one that
    /// is behind it by then, and the kernel does not wake it when something happens to that.
    fn look_again(&self) -> Option<Instant> {
        let any = self.0.iter().any(|endpoint| endpoint.may_be_replaced());
        any.then(|| Instant::now() + LOOKS_AGAIN_AFTER)
    }

    /// Ends it for those with whom it has begun, whatever their numbers are by now.
    ///
    /// Whether plain connections have taken the place of some of them.
    fn done(begun: Option<ManuallyDrop<Self>>) -> bool {
        let Some(watched) = begun.map(ManuallyDrop::into_inner) else {
            return false;
        };
        let mut replaced = false;
        for endpoint in &watched.0 {
            endpoint.unwatch();
            replaced |= endpoint.fate().is_plain();
        }
        replaced
    }
}

/// Looks at what has come on a connection that has been accepted. True if that is not for the program.
fn is_only_a_request(fd: c_int) -> bool {
    let Some(entry) = table::get(fd) else {
        return false;
    };
    if !matches!(entry.kind, Kind::Undecided(_)) {
        return false;
    }
    match undecided::decide(fd, &entry) {
        Ok(Decision::Decided) => table::has(fd),
        Ok(Decision::Nothing | Decision::Some) => true,
        Err(_) => false,
    }
}

pub(crate) unsafe fn select(
    count: c_int,
    reads: *mut fd_set,
    writes: *mut fd_set,
    excepts: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    let sets = [reads, writes, excepts];
    // SAFETY: it is null or the caller's.
    let is_sound =
        unsafe { timeout.as_ref() }.is_none_or(|time| time.tv_sec >= 0 && time.tv_usec >= 0);
    // SAFETY: the sets are the caller's.
    if !is_sound || !unsafe { concern(count, sets) } {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::select(count, reads, writes, excepts, timeout) };
    }
    // SAFETY: it is null or the caller's.
    let time = unsafe { timeout.as_ref() }.map(|time| timespec {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_usec.saturating_mul(1000),
    });
    let deadline = time.map(|time| Instant::now() + duration(&time));
    // SAFETY: the sets are the caller's.
    let answer = unsafe { select_sets(count, sets, deadline, std::ptr::null()) };
    // Linux says what is left.
    // SAFETY: it is null or the caller's.
    if let (Some(timeout), Some(deadline)) = (unsafe { timeout.as_mut() }, deadline) {
        let left = left(deadline);
        timeout.tv_sec = left.tv_sec;
        timeout.tv_usec = left.tv_nsec / 1000;
    }
    answer
}

pub(crate) unsafe fn pselect(
    count: c_int,
    reads: *mut fd_set,
    writes: *mut fd_set,
    excepts: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let sets = [reads, writes, excepts];
    // SAFETY: the sets are the caller's, and so is the time if it is not null.
    if !unsafe { concern(count, sets) } || !unsafe { is_sound(timeout) } {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::pselect(count, reads, writes, excepts, timeout, mask) };
    }
    // SAFETY: it is null or the caller's.
    let deadline = unsafe { timeout.as_ref() }.map(|time| Instant::now() + duration(time));
    // SAFETY: sets and mask are the caller's.
    unsafe { select_sets(count, sets, deadline, mask) }
}

/// A set is an array of words, as long as the caller says.
type Sets = [*mut fd_set; 3];

/// The words of a set that the call concerns, none if there is no set.
unsafe fn words<'a>(set: *mut fd_set, count: c_int) -> &'a mut [u64] {
    if set.is_null() {
        return &mut [];
    }
    let len = usize::try_from(count)
        .unwrap_or(0)
        .min(NUMBERS)
        .div_ceil(64);
    // SAFETY: the caller's set is so long, and nobody else uses it while the call takes.
    unsafe { std::slice::from_raw_parts_mut(set.cast(), len) }
}

/// Whether any of them is in the table.
unsafe fn concern(count: c_int, sets: Sets) -> bool {
    sets.iter().any(|&set| {
        // SAFETY: the set is the caller's.
        let words = unsafe { words(set, count) }.iter().enumerate();
        words
            .map(|(index, word)| word & table::present_word(index))
            .any(|word| word != 0)
    })
}

/// Whose signals a wait concerns, each once.
unsafe fn concerned(count: c_int, sets: Sets) -> Vec<c_int> {
    let mut found = Vec::new();
    for (at, &set) in sets.iter().enumerate() {
        // SAFETY: the set is the caller's.
        for (index, word) in unsafe { words(set, count) }.iter().enumerate() {
            let mut bits = word & table::present_word(index);
            for &earlier in &sets[..at] {
                // SAFETY: the set is the caller's.
                bits &= !unsafe { words(earlier, count) }
                    .get(index)
                    .copied()
                    .unwrap_or(0);
            }
            while bits != 0 {
                found.push((index * 64) as c_int + bits.trailing_zeros().cast_signed());
                bits &= bits - 1;
            }
        }
    }
    found
}

unsafe fn select_sets(
    count: c_int,
    sets: Sets,
    deadline: Option<Instant>,
    mask: *const sigset_t,
) -> c_int {
    let asked = guarded(|| {
        // SAFETY: the set is the caller's.
        let copy = |set| unsafe { words(set, count) }.to_vec();
        Some(Asked(sets.map(copy)))
    });
    let Some(asked) = asked else {
        return super::failed(libc::ENOMEM);
    };
    // Given back at the end. A thread that is cancelled meanwhile loses it.
    let asked = ManuallyDrop::new(asked);
    let answer = loop {
        let begun = guarded(|| {
            // SAFETY: the sets are the caller's.
            let list = unsafe { concerned(count, sets) };
            let watched = Watched::new(list.iter().copied());
            Some((watched, ManuallyDrop::new(list)))
        });
        let look = begun.as_ref().and_then(|(watched, _)| watched.look_again());
        let time = deadline.into_iter().chain(look).min().map(left);
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: sets and mask are the caller's, the time is this frame's.
        let mut answer = unsafe { real::pselect(count, sets[0], sets[1], sets[2], time, mask) };
        let (mut decided, mut replaced) = (false, false);
        guarded(|| {
            let (watched, list) = begun?;
            replaced = Watched::done(Some(watched));
            for fd in ManuallyDrop::into_inner(list) {
                let (index, bit) = (fd as usize / 64, 1u64 << (fd % 64));
                // SAFETY: the set is the caller's.
                if let Some(word) = unsafe { words(sets[0], count) }.get_mut(index)
                    && answer > 0
                    && *word & bit != 0
                    && is_only_a_request(fd)
                {
                    *word &= !bit;
                    answer -= 1;
                    decided = true;
                }
            }
            Some(())
        });
        // What a set says may be of an object to which the number does not refer any more.
        let again = decided || look.is_some();
        if !(replaced && answer > 0) && (answer != 0 || !again || is_over(deadline)) {
            break answer;
        }
        for (&set, asked) in sets.iter().zip(&asked.0) {
            // SAFETY: the set is the caller's.
            unsafe { words(set, count) }.copy_from_slice(asked);
        }
    };
    drop(ManuallyDrop::into_inner(asked));
    answer
}

/// What select was asked, for it overwrites that.
struct Asked([Vec<u64>; 3]);

pub(crate) unsafe fn epoll_ctl(
    set: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    if !table::has(fd) {
        // SAFETY: the arguments are the caller's.
        let result = unsafe { real::epoll_ctl(set, operation, fd, event) };
        if result == 0 && operation == libc::EPOLL_CTL_ADD {
            sys::note_epoll(set);
        }
        return result;
    }
    // The number must not become something else between the call and the note of it.
    let change = (!table::is_borrowed()).then(table::change);
    // SAFETY: the arguments are the caller's.
    let result = unsafe { real::epoll_ctl(set, operation, fd, event) };
    if result == 0 && change.is_some() {
        guarded(|| {
            let entry = table::get(fd)?;
            if operation == libc::EPOLL_CTL_DEL {
                entry.unregister(set, fd);
                return Some(());
            }
            // SAFETY: it is the caller's; the kernel has read it.
            let event = unsafe { event.read_unaligned() };
            let (events, data) = (event.events, event.u64);
            entry.register(Registration {
                set,
                number: fd,
                events,
                data,
            });
            if let Kind::Stream(endpoint) = &entry.kind {
                endpoint.watch_for_good(events & libc::EPOLLET as u32 != 0);
            }
            Some(())
        });
    }
    drop(change);
    result
}

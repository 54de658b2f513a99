//! Callers that wait: they drive the connection themselves while they have nothing else to do.
//!
//! A completion that the worker makes for a sleeping caller costs two wake-ups, the worker's and the caller's. So a
//! caller that waits *attends* to its socket: it takes the input away from the worker's poll, drives the engine as the
//! worker would, looks for itself for as long as [`Options::busy_poll`](crate::Options::busy_poll) says, and then
//! sleeps on the TCP socket and the completion queue together. One caller attends at a time; others sleep on the
//! queue. The rules, and why nothing is overlooked, are those of [`Baton`](crate::ring) and
//! [`Attendance`](crate::ring).
//!
//! | the caller | and then |
//! |------------|----------|
//! | has waited long | gives the input back when it goes |
//! | comes back again and again | leaves the input taken when it goes, and the worker looks in at each tick |
//! | only polls, again and again | takes the input and polls the TCP socket as well; the worker looks in |
//! | waits at another socket | first gives back what it has left here, and the worker has all of it |
//! | does something else | after two ticks at the most the worker has the input again |

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::bell::Bell;
use crate::completion::{Completion, NAP};
use crate::engine::Turn;
use crate::link::Link;
use crate::ring::Leave;

/// Who has waited longer than this gives the input back: the system calls for it are few.
const LONG: Duration = Duration::from_micros(300);

/// So many short waits one after the other, and the next one leaves the input taken.
const SHORT_WAITS: u32 = 8;

/// So many polls in vain one after the other, and the next one looks at the TCP socket itself.
const VAIN_POLLS: u32 = 8;

/// How long a caller looks for itself if the options leave it open: longer than a peer on the same machine takes for an
/// answer of some ten thousand octets, and a few times as long as being woken takes.
const LOOK: Duration = Duration::from_micros(50);

/// After so many times in vain to drive, a caller that sleeps leaves the input to whoever drives, for this long.
const DRIVES_IN_VAIN: u32 = 4;
const WHILE_DRIVEN: Duration = Duration::from_millis(1);

/// A caller that has looked in vain `n` times one after the other does not look for the next 2^n - 1 times, and this is
/// the greatest `n`.
const VAIN_LOOKS_MAX: u32 = 6;

/// Whether another thread can run while one looks.
fn has_processors() -> bool {
    /// The answer; 0 while nobody has asked. Not a lock, which a thread that forks meanwhile would leave to its child.
    static SEVERAL: AtomicU32 = AtomicU32::new(0);
    const NO: u32 = 1;
    const YES: u32 = 2;
    let mut several = SEVERAL.load(Ordering::Relaxed);
    if several == 0 {
        let count = std::thread::available_parallelism();
        several = if count.is_ok_and(|count| count.get() > 1) {
            YES
        } else {
            NO
        };
        SEVERAL.store(several, Ordering::Relaxed);
    }
    several == YES
}

/// How callers of a socket have been waiting.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    /// Looks in vain one after the other, up to [`VAIN_LOOKS_MAX`].
    vain_looks: AtomicU32,
    /// So many waits from now are without a look.
    rests: AtomicU32,
    /// Short waits one after the other.
    short_waits: AtomicU32,
    /// Polls in vain one after the other.
    vain_polls: AtomicU32,
    /// The last wait had to sleep.
    slept: AtomicBool,
}

impl Habits {
    /// How long the next wait looks before it sleeps, if the options say `chosen`.
    fn look(&self, chosen: Option<Duration>) -> Duration {
        if let Some(chosen) = chosen {
            return chosen;
        }
        let rests = self.rests.load(Ordering::Relaxed);
        if rests > 0 {
            self.rests.store(rests - 1, Ordering::Relaxed);
            return Duration::ZERO;
        }
        if has_processors() {
            LOOK
        } else {
            Duration::ZERO
        }
    }

    /// A wait has looked; whether in vain.
    fn looked(&self, in_vain: bool) {
        let before = self.vain_looks.load(Ordering::Relaxed);
        if in_vain {
            let vain = (before + 1).min(VAIN_LOOKS_MAX);
            self.vain_looks.store(vain, Ordering::Relaxed);
            self.rests.store((1 << vain) - 1, Ordering::Relaxed);
        } else if before != 0 {
            self.vain_looks.store(0, Ordering::Relaxed);
        }
    }

    /// A poll has found a completion.
    fn polled_well(&self) {
        if self.vain_polls.load(Ordering::Relaxed) != 0 {
            self.vain_polls.store(0, Ordering::Relaxed);
        }
    }

    /// A poll has found none; whether that is a habit.
    fn polled_in_vain(&self) -> bool {
        let before = self.vain_polls.load(Ordering::Relaxed);
        let habit = before >= VAIN_POLLS;
        self.vain_polls
            .store(if habit { 0 } else { before + 1 }, Ordering::Relaxed);
        habit
    }

    /// A wait has ended; whether short ones are a habit.
    fn waited(&self, long: bool) -> bool {
        let before = self.short_waits.load(Ordering::Relaxed);
        let now = if long { 0 } else { before.saturating_add(1) };
        self.short_waits.store(now, Ordering::Relaxed);
        now > SHORT_WAITS
    }
}

thread_local! {
    /// Where this thread has left something to the ticks: taken input, or requests not sent.
    static LEFT_BEHIND: RefCell<Weak<Link>> = const { RefCell::new(Weak::new()) };
}

/// This thread leaves something at `link` to the ticks. It can do so at one socket.
pub(crate) fn leave_behind(link: &Arc<Link>) {
    // A thread that ends has no such memory any more; then the ticks see to it.
    let before = LEFT_BEHIND.try_with(|left| {
        let same = left.borrow().as_ptr() == Arc::as_ptr(link);
        (!same).then(|| left.replace(Arc::downgrade(link)))
    });
    if let Ok(Some(before)) = before {
        hand_over(&before);
    }
}

/// This thread is about to wait at `link`: what it has left elsewhere it will not be back for soon.
fn come_from_elsewhere(link: &Arc<Link>) {
    let before = LEFT_BEHIND.try_with(|left| {
        let elsewhere = left.borrow().as_ptr() != Arc::as_ptr(link);
        elsewhere.then(|| left.take())
    });
    if let Ok(Some(before)) = before {
        hand_over(&before);
    }
}

/// The worker takes over what was left at a socket.
fn hand_over(link: &Weak<Link>) {
    let Some(link) = link.upgrade() else { return };
    // What this thread has left behind before a fork is not the child's.
    if link.attendance.is_ticking() && link.completions.is_ours() {
        let given = link.try_drive(|engine| {
            link.attendance.stop_ticking();
            engine.give_input(&link) == Turn::Again || engine.has_rest()
        });
        // What was left to the next tick is left to none now.
        if given.is_none_or(|given| given.called || given.result) || link.has_sends() {
            link.schedule();
        }
    }
}

/// A caller goes, though the connection has more to do: the next tick sees to it, or the worker at once.
fn leave_rest(link: &Arc<Link>) {
    if !link.attendance.leave_to_tick() {
        link.schedule();
    }
}

/// Takes a completion if there is one, driving the connection if the caller polls again and again. Does not block.
pub(crate) fn poll(link: &Arc<Link>) -> Option<Completion> {
    let completions = &link.completions;
    let mut completion = completions.take();
    if completion.is_none() && look_in(link) {
        completion = completions.take();
    }
    match completion {
        Some(_) => link.habits.polled_well(),
        None => completions.found_empty(),
    }
    completion
}

/// Drives the connection once, if that is the caller's habit; whether it was driven.
fn look_in(link: &Arc<Link>) -> bool {
    if link.attendance.touch() {
        return drive_once(link);
    }
    // Somebody who sleeps on the descriptor wants to be woken without a tick between.
    if !link.habits.polled_in_vain() || link.completions.is_watched() {
        return false;
    }
    linger(link) && drive_once(link)
}

/// Drives the connection once for a caller that does so again and again.
pub(crate) fn spin(link: &Arc<Link>) {
    if link.attendance.touch() || linger(link) {
        drive_once(link);
    }
    std::hint::spin_loop();
}

/// Takes the input for callers that come and go; whether it is taken.
fn linger(link: &Arc<Link>) -> bool {
    let taken =
        link.try_drive(|engine| engine.take_input(link, || link.attendance.take_and_linger()));
    let Some(taken) = taken else { return false };
    if taken.result.is_some() || taken.called {
        // The worker's clock has to tick.
        link.schedule();
        leave_behind(link);
    }
    taken.result.is_some()
}

/// What came of driving a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Driving {
    drove: Drove,
    /// Octets have come or gone.
    moved: bool,
    /// Octets have gone, which the peer may answer.
    sent: bool,
}

/// How far a connection was driven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Drove {
    /// Nothing: somebody else drives it, who has been called.
    #[default]
    InVain,
    /// What there was to do has been done, or the worker has been told.
    All,
    /// A turn's worth, and there is more to do. Whoever goes now leaves it to the worker.
    Some,
}

/// Turns that a caller takes at the most because others come meanwhile; then the worker looks for them.
const CALLS_MAX: u32 = 8;

/// Drives the connection for about a turn, however much the peer sends.
fn drive(link: &Arc<Link>) -> Driving {
    let mut driving = Driving::default();
    driving.drove = drive_on(link, &mut driving);
    driving
}

fn drive_on(link: &Arc<Link>, driving: &mut Driving) -> Drove {
    let mut owed = false;
    for _ in 0..CALLS_MAX {
        let Some(driven) = link.try_drive(|engine| engine.attend(link)) else {
            return Drove::InVain;
        };
        driving.moved |= driven.result.moved;
        driving.sent |= driven.result.sent;
        if driven.result.worker || driven.called && link.is_commanded() {
            link.schedule();
            return Drove::All;
        }
        if driven.result.refused {
            if owed || driven.called {
                link.schedule();
            }
            return Drove::All;
        }
        if driven.result.again {
            return Drove::Some;
        }
        if !driven.called {
            return Drove::All;
        }
        owed = true;
        if !link.completions.is_empty() {
            // There is something to go for.
            break;
        }
    }
    link.schedule();
    Drove::All
}

/// Drives the connection for a caller that goes then; `false` if somebody else drives it.
fn drive_once(link: &Arc<Link>) -> bool {
    match drive(link).drove {
        Drove::InVain => false,
        Drove::All => true,
        Drove::Some => {
            leave_rest(link);
            true
        }
    }
}

/// Waits for a completion, for a while and at most until the deadline; `None` also when a socket of the queue has come
/// to its end.
pub(crate) fn wait(link: &Arc<Link>, deadline: Option<Instant>) -> io::Result<Option<Completion>> {
    let completions = &link.completions;
    let Some(visit) = Visit::begin(link) else {
        return completions.nap(deadline);
    };
    visit.wait(
        deadline,
        || completions.take(),
        |input, until| completions.doze(input, until),
    )
}

/// Waits until `done` gives something, for a while and at most until the deadline, sleeping by `bell`, which whoever
/// else changes what `done` looks at [rings](crate::Bell::ring). `None` if it may not attend.
pub(crate) fn wait_until<T>(
    link: &Arc<Link>,
    bell: &Bell,
    deadline: Option<Instant>,
    done: impl FnMut() -> Option<T>,
) -> Option<io::Result<Option<T>>> {
    let visit = Visit::begin(link)?;
    // Shared with the naps of this wait.
    let done = RefCell::new(done);
    let look = || (done.borrow_mut())();
    Some(visit.wait(deadline, look, |input, until| {
        bell.doze(input, until, || (done.borrow_mut())().is_some())
    }))
}

/// A caller that attends; ends when it is dropped.
struct Visit<'a> {
    link: &'a Arc<Link>,
    begun: Instant,
}

impl<'a> Visit<'a> {
    /// `None` when another caller attends, or after the end, when there is nothing to attend to.
    fn begin(link: &'a Arc<Link>) -> Option<Self> {
        come_from_elsewhere(link);
        (!link.is_closed() && link.attendance.claim()).then(|| Self {
            link,
            begun: Instant::now(),
        })
    }

    /// Waits until `take` gives something, sleeping by `doze`, which is told of the input and of the time.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut take: impl FnMut() -> Option<T>,
        doze: impl Fn(Option<BorrowedFd<'_>>, Instant) -> io::Result<()>,
    ) -> io::Result<Option<T>> {
        let link = self.link;
        let mut end = self.begun + NAP;
        if let Some(deadline) = deadline {
            end = end.min(deadline);
        }
        let look = link.habits.look(link.busy_poll);
        let mut look_until = self.begun.checked_add(look).unwrap_or(end);
        let mut looks = !look.is_zero();
        // If it is like the last time there is nothing yet, and input that has come shows when going to sleep.
        let taken = link.attendance.is_taken();
        let mut skip = !looks && taken && link.habits.slept.load(Ordering::Relaxed);
        skip &= !link.has_sends();
        let (mut idle, mut slept, mut in_vain) = (false, false, 0);
        loop {
            let (mut more, mut sent) = (false, false);
            if !skip {
                let driving = drive(link);
                more = driving.drove == Drove::Some;
                sent = driving.sent;
                if driving.drove == Drove::InVain {
                    in_vain += 1;
                    if slept {
                        // Whoever drives may wait for this very processor.
                        std::thread::yield_now();
                    }
                } else {
                    in_vain = 0;
                }
                if let Some(taken) = take() {
                    if more {
                        leave_rest(link);
                    }
                    link.habits.slept.store(slept, Ordering::Relaxed);
                    if looks && idle {
                        link.habits.looked(false);
                    }
                    return Ok(Some(taken));
                }
                if driving.moved && looks && idle {
                    link.habits.looked(false);
                }
                if link.is_closed() {
                    return Ok(None);
                }
            }
            skip = false;
            if !link.attendance.is_taken() {
                let taken = link
                    .try_drive(|engine| engine.take_input(link, || link.attendance.take_input()));
                if taken.is_some_and(|taken| taken.called || taken.result == Some(Turn::Again)) {
                    link.schedule();
                }
            }
            if !idle {
                link.completions.found_empty();
                idle = true;
            }
            let now = Instant::now();
            if now >= end {
                if more {
                    leave_rest(link);
                }
                return Ok(None);
            }
            if more {
                continue;
            }
            if sent {
                // The peer has been answered, without anything to tell the caller. It will say more before long, if it is
                // like the last time.
                let look = link.habits.look(link.busy_poll);
                look_until = now.checked_add(look).unwrap_or(end);
                looks = !look.is_zero();
            }
            if looks {
                if now < look_until {
                    std::hint::spin_loop();
                    continue;
                }
                looks = false;
                link.habits.looked(true);
            }
            let Some(socket) = link.socket() else {
                return Ok(None);
            };
            slept = true;
            if in_vain < DRIVES_IN_VAIN {
                // Where the peer's last octet has been read, there is always "input".
                let input = (!link.has_read_all()).then_some(socket);
                doze(input.as_ref().map(|socket| socket.as_fd()), end)?;
            } else {
                drop(socket);
                // Whoever drives takes its time, and the input that it has not read would wake this thread at once.
                let soon = Instant::now() + WHILE_DRIVEN;
                doze(None, end.min(soon))?;
            }
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let link = self.link;
        if link.attendance.leave() == Leave::Done {
            return;
        }
        if !link.habits.waited(self.begun.elapsed() > LONG) {
            let given = link.try_drive(|engine| {
                link.attendance.give_input();
                engine.give_input(link)
            });
            if let Some(given) = given {
                if given.called || given.result == Turn::Again {
                    link.schedule();
                }
                return;
            }
        }
        link.attendance.linger();
        // The worker's clock has to tick.
        link.schedule();
        leave_behind(link);
    }
}

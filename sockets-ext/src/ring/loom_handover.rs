//! What the model checker is asked about driving a connection: whoever comes in vain is heard of, and input that has
//! come is looked at by somebody, whichever of caller and worker comes first.

use super::attendance::Tick;
use super::mpmc::Ring;
use super::slab::Slab;
use super::{Attendance, Baton, Leave};
use loom::sync::atomic::AtomicBool;
use loom::sync::{Arc, Mutex};
use loom::thread;
use std::sync::atomic::Ordering::AcqRel;

/// Runs `body` over every interleaving with at most `preemptions` forced switches of thread.
fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn loom_baton_leaves_nothing_behind() {
    model(3, || {
        let shared = Arc::new((Ring::with_capacity(4), Baton::new(Vec::new())));
        let post = |shared: &(Ring<u32>, Baton<Vec<u32>>), value| {
            let (ring, baton) = shared;
            ring.push(value).expect("room");
            let drain = |taken: &mut Vec<u32>| {
                while let Some(value) = ring.pop() {
                    taken.push(value);
                }
            };
            // Whoever was called looks again.
            while baton.try_drive(drain).is_some_and(|driven| driven.called) {}
        };
        let others = [1, 2].map(|value| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || post(&shared, value))
        });
        post(&shared, 3);
        for other in others {
            other.join().expect("a thread ends");
        }
        let (ring, baton) = &*shared;
        assert_eq!(ring.pop(), None);
        let taken = baton.try_drive(|taken| {
            taken.sort_unstable();
            taken.clone()
        });
        assert_eq!(taken.expect("nobody drives").result, [1, 2, 3]);
    });
}

/// A TCP socket with input, and the edge-triggered poll that may watch it.
#[derive(Default)]
struct Kernel {
    unread: u32,
    watched: bool,
    /// The poll has something to say.
    event: bool,
}

/// What has been done by whoever had the baton.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    read: u32,
    sent: u32,
}

struct Socket {
    kernel: Mutex<Kernel>,
    /// Requests that have been posted.
    sends: Ring<u32>,
    engine: Baton<Done>,
    attendance: Attendance,
    /// The worker has been asked for a turn.
    scheduled: AtomicBool,
}

impl Socket {
    fn new() -> Self {
        Self {
            kernel: Mutex::new(Kernel {
                watched: true,
                ..Kernel::default()
            }),
            sends: Ring::with_capacity(2),
            engine: Baton::new(Done::default()),
            attendance: Attendance::new(),
            scheduled: AtomicBool::new(false),
        }
    }

    fn arrive(&self) {
        let mut kernel = self.kernel.lock().expect("not poisoned");
        kernel.unread += 1;
        kernel.event |= kernel.watched;
    }

    /// Has the poll say what it is to say, as the engine does with the baton.
    fn watch(&self) {
        let mut kernel = self.kernel.lock().expect("not poisoned");
        let wanted = !self.attendance.is_taken();
        if kernel.watched != wanted {
            kernel.watched = wanted;
            kernel.event |= wanted && kernel.unread > 0;
        }
    }

    /// One turn.
    fn run(&self, done: &mut Done) {
        while self.sends.pop().is_some() {
            done.sent += 1;
        }
        done.read += std::mem::take(&mut self.kernel.lock().expect("not poisoned").unread);
    }

    fn drive(&self) {
        while (self.engine.try_drive(|done| self.run(done))).is_some_and(|driven| driven.called) {}
    }

    fn schedule(&self) {
        self.scheduled.swap(true, AcqRel);
    }

    /// A caller posts. It sends one request itself if it `carries`, and does not look at the input; what it does not send
    /// it leaves to a tick or to the worker.
    fn post(&self, carries: bool) {
        self.sends.push(1).expect("room");
        let ticking = self.attendance.is_ticking();
        let mut left = true;
        if carries {
            let driven = self.engine.try_drive(|done| {
                done.sent += u32::from(self.sends.pop().is_some());
                self.sends.is_empty()
            });
            if driven.as_ref().is_some_and(|driven| driven.called) {
                return self.schedule();
            }
            left = driven.is_some_and(|driven| !driven.result);
        }
        if left && !(ticking && self.attendance.leave_to_tick()) {
            self.schedule();
        }
    }

    /// What has been done in all, when all is quiet.
    fn done(&self) -> Done {
        while self.work() {}
        assert!(!self.attendance.is_taken());
        let done = self.engine.try_drive(|done| *done);
        done.expect("nobody drives").result
    }

    /// A caller that waits, and finds something or not. Whether it leaves the input to ticks.
    fn visit(&self, linger: bool) {
        assert!(self.attendance.claim());
        let taken = self.engine.try_drive(|_| {
            self.attendance.take_input();
            self.watch();
        });
        if taken.is_some_and(|taken| taken.called) {
            self.drive();
        }
        self.drive();
        if self.attendance.leave() == Leave::Done {
            return;
        }
        if !linger {
            let given = self.engine.try_drive(|_| {
                self.attendance.give_input();
                self.watch();
            });
            if let Some(given) = given {
                if given.called {
                    self.drive();
                }
                return;
            }
        }
        self.attendance.linger();
    }

    /// What the worker does when it wakes. Whether there was anything to do.
    fn work(&self) -> bool {
        let mut worked = false;
        if std::mem::take(&mut self.kernel.lock().expect("not poisoned").event) {
            self.drive();
            worked = true;
        }
        if self.scheduled.swap(false, AcqRel) {
            self.drive();
            worked = true;
        }
        if self.attendance.is_ticking() {
            self.tick();
            worked = true;
        }
        worked
    }

    /// What the worker does when its clock has ticked. Whether it goes on ticking.
    fn tick(&self) -> bool {
        let end = || {
            let ended = self.engine.try_drive(|_| {
                let ended = self.attendance.end_ticking();
                self.watch();
                ended
            });
            ended.is_some_and(|driven| driven.result)
        };
        self.attendance.at_tick(end, || self.drive())
    }
}

/// A caller visits while input arrives and the worker works. When all is quiet, all has been read.
fn input_is_looked_at(linger: bool) {
    model(3, move || {
        let socket = Arc::new(Socket::new());
        let arrival = thread::spawn({
            let socket = Arc::clone(&socket);
            move || (0..2).for_each(|_| socket.arrive())
        });
        let caller = thread::spawn({
            let socket = Arc::clone(&socket);
            move || socket.visit(linger)
        });
        socket.work();
        arrival.join().expect("a thread ends");
        caller.join().expect("a thread ends");
        assert_eq!(socket.done(), Done { read: 2, sent: 0 });
    });
}

#[test]
fn loom_input_given_back_is_looked_at() {
    input_is_looked_at(false);
}

#[test]
fn loom_input_left_to_ticks_is_looked_at() {
    input_is_looked_at(true);
}

#[test]
fn loom_a_caller_that_comes_while_ticking_ends_is_not_left_alone() {
    model(3, || {
        let socket = Arc::new(Socket::new());
        socket.visit(true);
        assert_eq!(socket.attendance.tick(), Tick::Skip, "it was here");
        let caller = thread::spawn({
            let socket = Arc::clone(&socket);
            move || {
                socket.visit(true);
                socket.arrive();
            }
        });
        socket.work();
        caller.join().expect("a thread ends");
        assert_eq!(socket.done(), Done { read: 1, sent: 0 });
    });
}

#[test]
fn loom_what_is_left_to_a_tick_is_seen_by_it() {
    // A request whose caller was told that a tick follows is found by the worker, though another caller sleeps on the
    // input.
    model(3, || {
        let shared = Arc::new((Ring::with_capacity(2), Attendance::new()));
        shared.1.take_and_linger();
        assert!(shared.1.claim());
        let poster = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (ring, attendance) = &*shared;
                ring.push(1).expect("room");
                attendance.leave_to_tick()
            }
        });
        let (ring, attendance) = &*shared;
        let mut found = false;
        let mut tick = || {
            let tick = attendance.tick();
            if tick == Tick::Drive {
                found |= ring.pop().is_some();
            }
            tick != Tick::Dormant
        };
        let mut on = tick() && tick();
        let left_to_ticks = poster.join().expect("a thread ends");
        while on {
            on = tick();
        }
        assert!(found || !left_to_ticks);
    });
}

/// A caller posts some requests, carrying as told, while ticks go on, end, or are over, and input comes before the last.
/// Every request is sent: by the caller, by a tick, by the turn behind the last one, or by the turn that the caller asks
/// for. And the input is read.
fn posting_loses_nothing(ticking: bool, carries: &'static [bool]) {
    let sends = carries.len();
    model(3, move || {
        let socket = Arc::new(Socket::new());
        if ticking {
            socket.visit(true);
        }
        let poster = thread::spawn({
            let socket = Arc::clone(&socket);
            move || {
                for (at, &carries) in carries.iter().enumerate() {
                    if at + 1 == sends {
                        socket.arrive();
                    }
                    socket.post(carries);
                }
            }
        });
        socket.work();
        socket.work();
        poster.join().expect("a thread ends");
        let sent = sends as u32;
        assert_eq!(socket.done(), Done { read: 1, sent });
    });
}

#[test]
fn loom_a_caller_that_posts_and_never_looks_loses_nothing() {
    posting_loses_nothing(true, &[false, false]);
}

#[test]
fn loom_a_caller_that_sends_itself_at_times_loses_nothing() {
    posting_loses_nothing(true, &[false, true]);
    posting_loses_nothing(true, &[true, false]);
}

#[test]
fn loom_input_that_comes_while_a_caller_sends_is_looked_at() {
    posting_loses_nothing(false, &[true]);
    posting_loses_nothing(false, &[false, true]);
}

#[test]
fn loom_slab_values_go_round() {
    // Loom watches the cells: a value read before it was put in, or after it was taken out, is a race.
    model(3, || {
        let shared = Arc::new((Slab::with_capacity(1), Ring::with_capacity(2)));
        let posters = [1, 2].map(|value: u32| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (slab, ring) = &*shared;
                let Ok(ticket) = slab.insert(Box::new(value)) else {
                    return 0;
                };
                assert!(ring.push(ticket).is_ok());
                value
            })
        });
        let (slab, ring) = &*shared;
        let take = || {
            ring.pop().map_or(0, |ticket| {
                assert!(**slab.get(&ticket) > 0);
                slab.remove(ticket, |value| **value)
            })
        };
        let early = take();
        let posted: u32 = posters
            .map(|poster| poster.join().expect("a thread ends"))
            .iter()
            .sum();
        assert_eq!(early + take() + take(), posted);
        assert_eq!(slab.count(), 0);
    });
}

#[test]
fn loom_slab_has_a_place_for_each_that_is_free() {
    // However far the other thread has come: what is free can be had, by each thread for itself.
    model(3, || {
        let slab = Arc::new(Slab::with_capacity(2));
        let use_it = |slab: &Slab<Box<u32>>, value| {
            for _ in 0..2 {
                let ticket = slab.insert(Box::new(value)).expect("two places for two");
                assert_eq!(slab.remove(ticket, |value| **value), value);
            }
        };
        let other = thread::spawn({
            let slab = Arc::clone(&slab);
            move || use_it(&slab, 1)
        });
        use_it(&slab, 2);
        other.join().expect("the thread ends");
        assert_eq!(slab.count(), 0);
    });
}

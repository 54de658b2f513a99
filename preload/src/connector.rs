//! The thread that waits for connections that a program begins without waiting for them.
//!
//! The program sees the signal from the beginning; so that somebody learns when TCP is connected, and begins the
//! set-up of DDPMODE then, this thread polls the hidden sockets. It also makes the plain connection where the peer turned
//! out not to speak MPA, gives up waiting for the rest of a Request's key, and shows a program after a moment that TCP is
//! connected while the set-up goes on. It is started by the first that needs it.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::border::guarded;
use crate::convert;
use crate::endpoint::{Endpoint, Role};
use crate::fallback::Fallback;
use crate::real::real;
use crate::sys;
use crate::table::Entry;
use crate::undecided;

/// What becomes of a TCP socket when it is connected.
enum Task {
    /// The endpoint's own socket: the set-up begins.
    Begin,
    /// A new one, which takes the endpoint's place.
    Replace(Plain),
    /// The endpoint's own, which has been accepted: its first octets tell, until then.
    Decide(Instant),
}

/// What is done then, if nothing has changed.
struct Late {
    what: Waiting,
    until: Instant,
}

enum Waiting {
    /// It has been accepted, and has brought a part of a Request's key: it becomes plain TCP.
    Undecided(Arc<Entry>),
    /// It is being set up: the program sees that TCP is connected.
    Connected(Weak<Endpoint>),
}

impl Waiting {
    fn end(self) {
        match self {
            Self::Undecided(entry) => {
                if let Some(&number) = entry.numbers().first() {
                    undecided::settle_as_plain(number, &entry);
                }
            }
            Self::Connected(endpoint) => {
                if let Some(endpoint) = endpoint.upgrade() {
                    endpoint.show_connected();
                }
            }
        }
    }
}

/// How long a connection that a program has begun without waiting may be set up before the program sees that TCP is
/// connected. Before that it sees the set-up's end, and its first write finds room.
const SET_UP_SHOWN_FOR: Duration = Duration::from_millis(100);

/// A plain TCP socket, closed with this.
struct Plain(c_int);

impl Drop for Plain {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

struct Job {
    endpoint: Arc<Endpoint>,
    task: Task,
}

impl Job {
    fn fd(&self) -> c_int {
        match &self.task {
            Task::Begin | Task::Decide(_) => self.endpoint.with_tcp(|tcp| tcp).unwrap_or(-1),
            Task::Replace(plain) => plain.0,
        }
    }

    /// What is waited for.
    fn events(&self) -> i16 {
        match &self.task {
            Task::Decide(_) => libc::POLLIN,
            Task::Begin | Task::Replace(_) => libc::POLLOUT,
        }
    }

    fn until(&self) -> Option<Instant> {
        match &self.task {
            Task::Decide(until) => Some(*until),
            Task::Begin | Task::Replace(_) => None,
        }
    }

    fn is_ready(&self) -> bool {
        let mut ask = libc::pollfd {
            fd: self.fd(),
            events: self.events(),
            revents: 0,
        };
        if ask.fd < 0 {
            return true;
        }
        let tells = sys::poll_now(&mut ask);
        match &self.task {
            Task::Decide(until) => {
                *until <= Instant::now() || tells && undecided::tells_what_it_is(ask.fd)
            }
            Task::Begin | Task::Replace(_) => tells,
        }
    }

    /// It is known what it is, or no more is waited for.
    fn decide(self) {
        let endpoint = self.endpoint;
        let Some(tcp) = endpoint.with_tcp(|tcp| tcp) else {
            return;
        };
        undecided::wait_for_no_key(tcp);
        if undecided::is_request(tcp) {
            endpoint.begin(Role::Responder);
        } else if let Err(error) = convert::replace(&endpoint, tcp) {
            endpoint.fail(crate::errno::of(&error));
        }
    }

    /// Called when TCP is connected, or never will be.
    fn finish(self, error: c_int) {
        match self.task {
            Task::Begin | Task::Replace(_) if error != 0 => self.endpoint.fail(error),
            Task::Begin => self.endpoint.begin(Role::Initiator),
            Task::Decide(_) => self.decide(),
            Task::Replace(plain) => {
                if let Err(error) = convert::replace(&self.endpoint, plain.0) {
                    self.endpoint.fail(crate::errno::of(&error));
                }
            }
        }
    }
}

struct Connector {
    jobs: Mutex<Vec<Job>>,
    late: Mutex<Vec<Late>>,
    /// There is a thread that runs it.
    runs: AtomicBool,
    bell: c_int,
}

/// This process's; leaked, for the thread never ends. Null before it is needed, and in a forked child.
static CONNECTOR: AtomicPtr<Connector> = AtomicPtr::new(std::ptr::null_mut());

/// A forked child has no such thread.
pub(crate) fn forked() {
    CONNECTOR.store(std::ptr::null_mut(), Ordering::Release);
}

/// Begins the set-up when the endpoint's TCP socket is connected.
pub(crate) fn begin(endpoint: Arc<Endpoint>) {
    hand_over(Job {
        endpoint,
        task: Task::Begin,
    });
}

/// Finds out what an accepted connection is, and makes a stream or a plain socket of it: then at the latest.
pub(crate) fn decide(endpoint: Arc<Endpoint>, until: Instant) {
    hand_over(Job {
        endpoint,
        task: Task::Decide(until),
    });
}

/// Connects as plain TCP, and puts that in the endpoint's place. Does not wait.
pub(crate) fn fall_back(endpoint: Arc<Endpoint>, fallback: &Fallback) {
    match fallback.connect().map(Plain) {
        Ok(plain) => hand_over(Job {
            endpoint,
            task: Task::Replace(plain),
        }),
        Err(error) => endpoint.fail(crate::errno::of(&error)),
    }
}

/// Settles a connection as plain TCP then, if nothing has been decided.
///
/// # Errors
/// The system's: no numbers left, no thread.
pub(crate) fn settle(entry: &Arc<Entry>, until: Instant) -> io::Result<()> {
    let connector = connector()?;
    let late = Late {
        what: Waiting::Undecided(Arc::clone(entry)),
        until,
    };
    locked(&connector.late).push(late);
    connector.ring();
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hand_over(job: Job) {
    let endpoint = Arc::clone(&job.endpoint);
    match connector() {
        Ok(connector) => {
            locked(&connector.jobs).push(job);
            connector.ring();
        }
        Err(error) => endpoint.fail(crate::errno::of(&error)),
    }
}

/// This process's, and its thread. No lock is held, which a forked child might find held for ever.
fn connector() -> io::Result<&'static Connector> {
    let mut at = CONNECTOR.load(Ordering::Acquire);
    if at.is_null() {
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: it touches no memory.
        let bell = sys::outcome(unsafe { real::eventfd(0, flags) })?;
        let new = Box::into_raw(Box::new(Connector {
            jobs: Mutex::default(),
            late: Mutex::default(),
            runs: AtomicBool::new(false),
            bell: sys::hide(bell)?,
        }));
        let order = (Ordering::AcqRel, Ordering::Acquire);
        at = match CONNECTOR.compare_exchange(std::ptr::null_mut(), new, order.0, order.1) {
            Ok(_) => new,
            Err(other) => {
                // SAFETY: it comes from a box, and nobody else has seen it.
                let new = unsafe { Box::from_raw(new) };
                sys::close(new.bell);
                other
            }
        };
    }
    // SAFETY: it comes from a box that is never freed once others may see it.
    let connector: &'static Connector = unsafe { &*at };
    if !connector.runs.swap(true, Ordering::AcqRel) {
        crate::process::without_signals(|| {
            std::thread::Builder::new()
                .name("uwarp-connect".to_owned())
                .spawn(|| connector.run())
        })
        .inspect_err(|_| connector.runs.store(false, Ordering::Release))?;
    }
    Ok(connector)
}

/// What is left until then, rounded up, as poll wants it.
fn milliseconds_until(then: Instant) -> c_int {
    let left = then.saturating_duration_since(Instant::now());
    c_int::try_from(left.as_millis() + 1).unwrap_or(c_int::MAX)
}

impl Connector {
    fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the array is valid for its length.
        unsafe { real::write(self.bell, one.as_ptr().cast(), one.len()) };
    }

    fn run(&self) {
        loop {
            let ask = |fd, events| libc::pollfd {
                fd,
                events,
                revents: 0,
            };
            let mut list = vec![ask(self.bell, libc::POLLIN)];
            let jobs = locked(&self.jobs);
            list.extend(jobs.iter().map(|job| ask(job.fd(), job.events())));
            let first = jobs.iter().filter_map(Job::until).min();
            drop(jobs);
            let late = locked(&self.late).iter().map(|late| late.until).min();
            let first = first.into_iter().chain(late).min();
            let time = first.map_or(-1, milliseconds_until);
            crate::wait::wait(&mut list, time);
            let mut number = [0; 8];
            // SAFETY: the array is valid for its length.
            unsafe { real::read(self.bell, number.as_mut_ptr().cast(), number.len()) };
            for job in self.take_ready() {
                // A socket without an error is a number of this process's no more: the program has given it up. What was
                // accepted keeps its error for the program.
                let error = match job.task {
                    Task::Decide(_) => Ok(0),
                    Task::Begin | Task::Replace(_) => {
                        sys::option(job.fd(), libc::SOL_SOCKET, libc::SO_ERROR)
                    }
                };
                let begun = matches!(job.task, Task::Begin).then(|| Arc::downgrade(&job.endpoint));
                // The first one starts a worker, whose descriptors are to be hidden: this library's calls make them.
                guarded(|| {
                    job.finish(error.unwrap_or(libc::ECONNABORTED));
                    Some(())
                });
                if let Some(endpoint) = begun {
                    locked(&self.late).push(Late {
                        what: Waiting::Connected(endpoint),
                        until: Instant::now() + SET_UP_SHOWN_FOR,
                    });
                }
            }
            let now = Instant::now();
            let is_over = |late: &mut Late| late.until <= now;
            let over: Vec<Late> = locked(&self.late).extract_if(.., is_over).collect();
            over.into_iter().for_each(|late| late.what.end());
        }
    }

    fn take_ready(&self) -> Vec<Job> {
        let mut jobs = locked(&self.jobs);
        jobs.extract_if(.., |job| job.is_ready()).collect()
    }
}

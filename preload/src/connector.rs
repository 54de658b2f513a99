//! The thread that waits for connections that a program begins without waiting for them.
//!
//! The program sees the signal from the beginning; so that somebody learns when TCP is connected, and begins the
//! set-up of DDPMODE then, this thread polls the hidden sockets. It also makes the plain connection where the peer turned
//! out not to speak MPA, and gives up waiting for the rest of a Request's key. It is started by the first that needs it.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::convert;
use crate::endpoint::{Endpoint, Role};
use crate::real::real;
use crate::sys::{self, Address};
use crate::table::Entry;
use crate::undecided;

/// What becomes of a TCP socket when it is connected.
enum Task {
    /// The endpoint's own socket: the set-up begins.
    Begin,
    /// A new one, which takes the endpoint's place.
    Replace(Plain),
}

/// A connection that has been accepted, has brought a part of a Request's key, and is plain TCP if it is still like
/// that then.
struct Late {
    entry: Arc<Entry>,
    until: Instant,
}

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
            Task::Begin => self.endpoint.with_tcp(|tcp| tcp).unwrap_or(-1),
            Task::Replace(plain) => plain.0,
        }
    }

    /// Called when TCP is connected, or never will be.
    fn finish(self, error: c_int) {
        match self.task {
            _ if error != 0 => self.endpoint.fail(error),
            Task::Begin => self.endpoint.begin(Role::Initiator),
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

/// Connects to `address` as plain TCP, and puts that in the endpoint's place. Does not wait.
pub(crate) fn fall_back(endpoint: Arc<Endpoint>, address: Address) {
    match connect(&address) {
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
        entry: Arc::clone(entry),
        until,
    };
    locked(&connector.late).push(late);
    connector.ring();
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(address: &Address) -> io::Result<Plain> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let family = c_int::from(address.storage.ss_family);
    // SAFETY: it touches no memory.
    let plain = Plain(sys::outcome(unsafe { libc::socket(family, kind, 0) })?);
    let at = (&raw const address.storage).cast();
    // SAFETY: the address is valid for its length.
    match sys::outcome(unsafe { real::connect(plain.0, at, address.len) }) {
        Ok(_) => Ok(plain),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(plain),
        Err(error) => Err(error),
    }
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
            list.extend(jobs.iter().map(|job| ask(job.fd(), libc::POLLOUT)));
            drop(jobs);
            let first = locked(&self.late).iter().map(|late| late.until).min();
            let time = first.map_or(-1, milliseconds_until);
            // SAFETY: the list is this frame's.
            unsafe { real::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, time) };
            let mut number = [0; 8];
            // SAFETY: the array is valid for its length.
            unsafe { real::read(self.bell, number.as_mut_ptr().cast(), number.len()) };
            for job in self.take_ready() {
                // A socket without an error is a number of this process's no more: the program has given it up.
                let error = sys::option(job.fd(), libc::SOL_SOCKET, libc::SO_ERROR);
                job.finish(error.unwrap_or(libc::ECONNABORTED));
            }
            let now = Instant::now();
            let is_over = |late: &mut Late| late.until <= now;
            let over: Vec<Late> = locked(&self.late).extract_if(.., is_over).collect();
            for Late { entry, .. } in over {
                if let Some(&number) = entry.numbers().first() {
                    undecided::settle_as_plain(number, &entry);
                }
            }
        }
    }

    fn take_ready(&self) -> Vec<Job> {
        let mut jobs = locked(&self.jobs);
        let is_ready = |job: &mut Job| {
            let mut ask = libc::pollfd {
                fd: job.fd(),
                events: libc::POLLOUT,
                revents: 0,
            };
            ask.fd < 0 || sys::poll_now(&mut ask)
        };
        jobs.extract_if(.., is_ready).collect()
    }
}

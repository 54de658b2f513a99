//! The thread that waits for connections that a program begins without waiting for them.
//!
//! The program sees the signal from the beginning; so that somebody learns when TCP is connected, and begins the
//! set-up of DDPMODE then, this thread polls the hidden sockets. It also makes the plain connection where the peer turned
//! out not to speak MPA. It is started by the first such connection.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::convert;
use crate::endpoint::{Endpoint, Role};
use crate::real::real;
use crate::sys::{self, Address};

/// What becomes of a TCP socket when it is connected.
enum Task {
    /// The endpoint's own socket: the set-up begins.
    Begin,
    /// A new one, which takes the endpoint's place.
    Replace(Plain),
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
            let jobs = connector.jobs.lock();
            jobs.unwrap_or_else(PoisonError::into_inner).push(job);
            connector.ring();
        }
        Err(error) => endpoint.fail(crate::errno::of(&error)),
    }
}

fn connector() -> io::Result<&'static Connector> {
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let at = CONNECTOR.load(Ordering::Acquire);
    // SAFETY: it comes from a box that is never freed.
    if let Some(connector) = unsafe { at.as_ref() } {
        return Ok(connector);
    }
    let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
    // SAFETY: it touches no memory.
    let bell = sys::outcome(unsafe { real::eventfd(0, flags) })?;
    let connector: &'static Connector = Box::leak(Box::new(Connector {
        jobs: Mutex::default(),
        bell: sys::hide(bell)?,
    }));
    crate::process::without_signals(|| {
        std::thread::Builder::new()
            .name("uwarp-connect".to_owned())
            .spawn(|| connector.run())
    })?;
    CONNECTOR.store(std::ptr::from_ref(connector).cast_mut(), Ordering::Release);
    Ok(connector)
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
            {
                let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                list.extend(jobs.iter().map(|job| ask(job.fd(), libc::POLLOUT)));
            }
            // SAFETY: the list is this frame's.
            unsafe { real::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, -1) };
            let mut number = [0; 8];
            // SAFETY: the array is valid for its length.
            unsafe { real::read(self.bell, number.as_mut_ptr().cast(), number.len()) };
            for job in self.take_ready() {
                // A socket without an error is a number of this process's no more: the program has given it up.
                let error = sys::option(job.fd(), libc::SOL_SOCKET, libc::SO_ERROR);
                job.finish(error.unwrap_or(libc::ECONNABORTED));
            }
        }
    }

    fn take_ready(&self) -> Vec<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
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

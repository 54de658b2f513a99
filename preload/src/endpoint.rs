//! A connection in DDPMODE: its stream, and the signal that the program sees of it.

use std::ffi::c_int;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use uwarp_streams::{Readiness, StreamOptions, StreamSocket, Watch};

use crate::fallback::{Fallback, Resort};
use crate::fate::Fate;
use crate::process::{self, Count};
use crate::signal::{Shown, Signal};
use crate::sys::{self, Address};
use crate::{config, connector, errno};

/// Which end sends the MPA Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// One connection in DDPMODE, or one that is to be.
#[derive(Debug)]
pub(crate) struct Endpoint {
    signal: Signal,
    /// Made when TCP is connected.
    stream: OnceLock<Arc<StreamSocket>>,
    /// The hidden TCP socket.
    tcp: Mutex<Tcp>,
    /// The local address and the peer's, once connected.
    names: OnceLock<(Address, Address)>,
    /// What becomes of it, and how many wait for the signal now. While nobody does and nothing is registered, it need
    /// not be right.
    fate: Arc<Fate>,
    /// It is in some epoll set, and is kept right for good.
    registered: AtomicBool,
    /// Somebody waits for edges.
    edges: AtomicBool,
    /// Arrivals that have been shown to those who wait for edges.
    shown_arrivals: AtomicU32,
    /// Reads without waiting that have found nothing since one found something.
    in_vain: AtomicU32,
    /// O_NONBLOCK of the program's descriptor.
    nonblocking: AtomicBool,
    /// SO_SNDTIMEO in microseconds, 0 for none.
    send_timeout: AtomicU64,
    /// Why no connection came about; taken by SO_ERROR.
    failure: AtomicI32,
    /// No connection came about.
    failed: AtomicBool,
    /// The program knows that none came about.
    failure_told: AtomicBool,
    /// The program reads no more; what still comes stays where it is, as TCP has it.
    read_shut: AtomicBool,
    /// The program writes no more.
    write_shut: AtomicBool,
    /// The stream knows that, which it can when it is set up.
    write_shut_told: AtomicBool,
    /// What the stream has told, to be told to the next read; 0 for nothing.
    kept: AtomicI32,
    kept_write: AtomicI32,
    /// A second connect has been told that the first has succeeded.
    told: AtomicBool,
    /// What the program, which does not wait, may know of the connection while it is being set up.
    connected: AtomicU8,
    /// A plain connection that may take this one's place; when it has begun, what becomes of this one is not shown, but
    /// that the plain one has failed is.
    fallback: Resort,
    /// It is the responder.
    accepted: AtomicBool,
    /// It is in the report.
    counted: AtomicBool,
}

#[derive(Debug)]
struct Tcp {
    fd: c_int,
    /// The number is another connection's when this is not its use any more.
    hidden_use: u32,
    /// It has been given to the stream, which closes it.
    given: bool,
}

/// Reads that may find nothing before it is looked why.
const IN_VAIN_MAX: u32 = 8;

/// Of a connection that is being set up: the program knows nothing, it is shown that TCP is connected, or it has seen that.
const UNKNOWN: u8 = 0;
const TO_BE_SEEN: u8 = 1;
const SEEN: u8 = 2;

/// How far the set-up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Pending,
    Open,
    Failed(c_int),
}

impl Endpoint {
    /// For the TCP socket `tcp`, a hidden number that it owns from now on.
    pub(crate) fn new(
        signal: Signal,
        tcp: c_int,
        nonblocking: bool,
        fallback: Option<Fallback>,
        fate: Arc<Fate>,
    ) -> Self {
        let timeout = sys::option::<libc::timeval>(tcp, libc::SOL_SOCKET, libc::SO_SNDTIMEO);
        Self {
            signal,
            stream: OnceLock::new(),
            tcp: Mutex::new(Tcp {
                fd: tcp,
                hidden_use: sys::hidden_use(tcp),
                given: false,
            }),
            names: OnceLock::new(),
            fate,
            registered: AtomicBool::new(false),
            edges: AtomicBool::new(false),
            shown_arrivals: AtomicU32::new(0),
            in_vain: AtomicU32::new(0),
            nonblocking: AtomicBool::new(nonblocking),
            send_timeout: AtomicU64::new(timeout.map_or(0, |time| microseconds(&time))),
            failure: AtomicI32::new(0),
            failed: AtomicBool::new(false),
            failure_told: AtomicBool::new(false),
            read_shut: AtomicBool::new(false),
            write_shut: AtomicBool::new(false),
            write_shut_told: AtomicBool::new(false),
            kept: AtomicI32::new(0),
            kept_write: AtomicI32::new(0),
            told: AtomicBool::new(false),
            connected: AtomicU8::new(UNKNOWN),
            fallback: Resort::new(fallback),
            accepted: AtomicBool::new(false),
            counted: AtomicBool::new(false),
        }
    }

    /// Begins the set-up on its TCP socket, which is connected. What goes wrong is shown.
    pub(crate) fn begin(self: &Arc<Self>, role: Role) {
        if let Err(error) = self.try_begin(role) {
            self.fail(errno::of(&error));
        }
    }

    fn try_begin(self: &Arc<Self>, role: Role) -> io::Result<()> {
        let mut tcp = self.tcp.lock().unwrap_or_else(PoisonError::into_inner);
        if tcp.fd < 0 || tcp.given {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let names = (Address::local(tcp.fd)?, Address::peer(tcp.fd)?);
        let _ = self.names.set(names);
        self.accepted
            .store(role == Role::Responder, Ordering::Relaxed);
        // SAFETY: the number is this endpoint's own and is given away once.
        let socket = unsafe { TcpStream::from_raw_fd(tcp.fd) };
        tcp.given = true;
        drop(tcp);
        let watch = Arc::new(Bell(Arc::downgrade(self)));
        let options = options();
        // The first one starts a worker.
        let stream = process::without_signals(|| match role {
            Role::Initiator => StreamSocket::initiate(socket, &options, watch),
            Role::Responder => StreamSocket::respond(socket, &options, watch),
        })?;
        let _ = self.stream.set(stream);
        self.changed(None);
        Ok(())
    }

    /// Says that no connection comes about.
    pub(crate) fn fail(&self, number: c_int) {
        self.failure.store(number, Ordering::Relaxed);
        self.failed.store(true, Ordering::Release);
        self.signal.show(|| self.shown());
    }

    /// The stream, if there is one yet.
    pub(crate) fn stream(&self) -> Option<&Arc<StreamSocket>> {
        self.stream.get()
    }

    pub(crate) fn progress(&self) -> Progress {
        if self.failed.load(Ordering::Acquire) {
            return match self.failure.load(Ordering::Relaxed) {
                0 => Progress::Failed(libc::ENOTCONN),
                number => Progress::Failed(number),
            };
        }
        let Some(stream) = self.stream.get() else {
            return Progress::Pending;
        };
        let now = stream.readiness();
        if now.established {
            Progress::Open
        } else if let Some(error) = now.error {
            if self.fallback.is_expected() {
                Progress::Pending
            } else {
                Progress::Failed(error)
            }
        } else if now.hung_up && !self.fallback.is_expected() {
            Progress::Failed(libc::ECONNABORTED)
        } else {
            Progress::Pending
        }
    }

    /// Whether a plain connection takes its place just now.
    pub(crate) fn is_falling_back(&self) -> bool {
        self.fallback.has_begun()
    }

    /// Whether a plain connection may still take its place.
    pub(crate) fn may_be_replaced(&self) -> bool {
        self.progress() == Progress::Pending
            && (self.stream.get().is_none() || self.fallback.is_expected())
    }

    /// The error that has not been told yet.
    pub(crate) fn take_error(&self) -> c_int {
        if self.failed.load(Ordering::Acquire) {
            return self.failure.swap(0, Ordering::Relaxed);
        }
        match self.progress() {
            Progress::Pending => 0,
            _ => self
                .stream
                .get()
                .and_then(|stream| stream.take_error())
                .unwrap_or(0),
        }
    }

    /// Why no connection came about, of what [`progress`](Self::progress) tells; once, `None` after it.
    pub(crate) fn failure(&self, number: c_int) -> Option<c_int> {
        let told = self.failure_told.swap(true, Ordering::Relaxed);
        match self.take_error() {
            0 if told => None,
            0 => Some(number),
            number => Some(number),
        }
    }

    /// The error that SO_ERROR tells, once, of a connection that may not have come about.
    pub(crate) fn socket_error(&self) -> c_int {
        match self.progress() {
            Progress::Failed(number) => self.failure(number).unwrap_or(0),
            Progress::Pending => {
                self.sees_connected();
                0
            }
            Progress::Open => self.take_error(),
        }
    }

    /// Keeps an error for the next read.
    pub(crate) fn keep_error(&self, number: c_int) {
        self.kept.store(number, Ordering::Relaxed);
    }

    /// Keeps the error that has ended a write of which a part had been done, for the next one.
    pub(crate) fn keep_write_error(&self, number: c_int) {
        self.kept_write.store(number, Ordering::Relaxed);
    }

    /// That error, once.
    pub(crate) fn kept_write_error(&self) -> Option<c_int> {
        Some(self.kept_write.swap(0, Ordering::Relaxed)).filter(|&number| number != 0)
    }

    /// The error that was kept, once.
    pub(crate) fn kept_error(&self) -> Option<c_int> {
        Some(self.kept.swap(0, Ordering::Relaxed)).filter(|&number| number != 0)
    }

    /// Whether connect, called again, shall say that it has succeeded.
    pub(crate) fn tell(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// Shows a program that does not wait that TCP is connected, though the set-up goes on: its peer may accept only when
    /// it is told on another connection. The first write finds that there is no room.
    pub(crate) fn show_connected(&self) {
        if self.progress() == Progress::Pending
            && self.stream.get().is_some()
            && !self.fallback.is_expected()
            && self.connected.swap(TO_BE_SEEN, Ordering::Relaxed) == UNKNOWN
        {
            fence(Ordering::SeqCst);
            if self.is_watched() {
                self.signal.show(|| self.shown());
            }
        }
    }

    /// Whether the program may know, or is to see, that TCP is connected. It has seen it now.
    pub(crate) fn sees_connected(&self) -> bool {
        let known = self.connected.load(Ordering::Relaxed);
        if known == TO_BE_SEEN {
            self.connected.store(SEEN, Ordering::Relaxed);
            if self.is_watched() {
                self.signal.show(|| self.shown());
            }
        }
        known != UNKNOWN
    }

    fn shown(&self) -> Shown {
        if self.fallback.has_begun() && !self.failed.load(Ordering::Acquire) {
            return Shown::default();
        }
        match self.progress() {
            Progress::Pending => Shown {
                readable: self.is_read_shut(),
                writable: self.connected.load(Ordering::Relaxed) == TO_BE_SEEN,
                ..Shown::default()
            },
            Progress::Failed(_) => Shown {
                readable: true,
                writable: true,
                read_closed: true,
                hung_up: true,
            },
            Progress::Open => self.stream.get().map_or_else(Shown::default, |stream| {
                let now = stream.readiness();
                let read_closed = now.read_closed || self.is_read_shut();
                Shown {
                    readable: now.readable || self.is_read_shut(),
                    writable: now.writable,
                    read_closed,
                    hung_up: now.hung_up || read_closed && self.is_write_shut(),
                }
            }),
        }
    }

    /// Counts the connection, when it has come about.
    fn count(&self, now: Readiness) {
        if now.established
            && !self.counted.load(Ordering::Relaxed)
            && !self.counted.swap(true, Ordering::Relaxed)
        {
            process::count(if self.accepted.load(Ordering::Relaxed) {
                Count::Accepted
            } else {
                Count::Begun
            });
        }
    }

    /// Something may have changed; with what is known of it.
    fn changed(self: &Arc<Self>, now: Option<Readiness>) {
        if let Some(now) = now {
            self.count(now);
        }
        if let Some(now) = now
            && !now.established
            && (now.error.is_some() || now.hung_up)
            && let Some(plain) = self.fallback.begin()
        {
            connector::fall_back(Arc::clone(self), &plain);
            return;
        }
        self.tell_of_shutdown();
        // With `watch`: either this sees the watcher, or that sees what has changed.
        fence(Ordering::SeqCst);
        if !self.is_watched() {
            return;
        }
        if self.edges.load(Ordering::Relaxed)
            && let Some(now) = now
            && self.shown_arrivals.swap(now.arrivals, Ordering::Relaxed) != now.arrivals
        {
            self.signal.show_reads_anew(|| self.shown());
        } else {
            self.signal.show(|| self.shown());
        }
    }

    fn is_watched(&self) -> bool {
        self.registered.load(Ordering::Relaxed) || self.fate.is_watched()
    }

    /// From now on the signal is right, until as many [`unwatch`](Self::unwatch) have been called.
    pub(crate) fn watch(&self) {
        self.fate.add_watcher();
        fence(Ordering::SeqCst);
        self.signal.show(|| self.shown());
    }

    pub(crate) fn unwatch(&self) {
        self.fate.remove_watcher();
    }

    /// What becomes of it.
    pub(crate) fn fate(&self) -> &Arc<Fate> {
        &self.fate
    }

    pub(crate) fn is_read_shut(&self) -> bool {
        self.read_shut.load(Ordering::Relaxed)
    }

    pub(crate) fn is_write_shut(&self) -> bool {
        self.write_shut.load(Ordering::Relaxed)
    }

    /// Ends one direction or both. While the connection is being set up the peer is told later.
    pub(crate) fn shut_down(&self, how: Shutdown) {
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.read_shut.store(true, Ordering::Relaxed);
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.write_shut.store(true, Ordering::SeqCst);
            self.tell_of_shutdown();
        }
        if self.is_watched() {
            self.signal.show(|| self.shown());
        }
    }

    /// Tells the stream, when it is set up, that the program writes no more.
    fn tell_of_shutdown(&self) {
        if self.write_shut.load(Ordering::SeqCst)
            && let Some(stream) = self.stream.get()
            && stream.readiness().established
            && !self.write_shut_told.swap(true, Ordering::SeqCst)
        {
            // It fails on a connection that has ended, which needs no word.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Notes an option that the program has set, for a plain connection that may follow.
    pub(crate) fn has_set(&self, level: c_int, name: c_int, value: &[u8]) {
        self.fallback.has_set(level, name, value);
    }

    /// From now on the signal is right for good.
    pub(crate) fn watch_for_good(&self, edges: bool) {
        if edges {
            self.edges.store(true, Ordering::Relaxed);
        }
        self.registered.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.signal.show(|| self.shown());
    }

    /// The program has taken octets.
    pub(crate) fn has_taken(&self) {
        self.in_vain.store(0, Ordering::Relaxed);
        self.has_read();
    }

    /// The program has looked for octets.
    pub(crate) fn has_read(&self) {
        if self.is_watched() {
            self.signal.show(|| self.shown());
        }
    }

    /// The program found no octets, though the signal had told of some.
    pub(crate) fn misled(&self) {
        self.in_vain.store(0, Ordering::Relaxed);
        self.signal.show_reads_anew(|| self.shown());
    }

    /// The program, which does not wait, found no octets. If that comes again and again, somebody else may have sent
    /// something to the signal.
    pub(crate) fn has_read_in_vain(&self) {
        if self.in_vain.fetch_add(1, Ordering::Relaxed) < IN_VAIN_MAX {
            self.has_read();
        } else {
            self.misled();
        }
    }

    /// The program has put octets, and there may be no room any more.
    pub(crate) fn has_written(&self) {
        if self.is_watched() {
            self.signal.show(|| self.shown());
        }
    }

    /// The program has been told that there is no room.
    pub(crate) fn has_no_room(&self) {
        if !self.is_watched() {
            return;
        }
        if self.edges.load(Ordering::Relaxed) {
            self.signal.show_writes_anew(|| self.shown());
        } else {
            self.signal.show(|| self.shown());
        }
    }

    /// Whether its signal has that name.
    pub(crate) fn is_behind(&self, name: &Address) -> bool {
        self.signal.is_named(name)
    }

    /// The program's number for it from now on, negative for none.
    pub(crate) fn renumber(&self, fd: c_int) {
        self.signal.renumber(fd);
    }

    /// It has no number any more. Whoever waits for it is woken, as he would wait for ever.
    pub(crate) fn leave(&self) {
        if self.fate.is_watched() && !self.fate.is_plain() && !process::is_ending() {
            self.signal.show_the_last(Shown {
                readable: true,
                writable: true,
                read_closed: true,
                hung_up: true,
            });
        } else {
            self.signal.renumber(-1);
        }
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn set_nonblocking(&self, on: bool) {
        self.nonblocking.store(on, Ordering::Relaxed);
    }

    pub(crate) fn set_send_timeout(&self, time: &libc::timeval) {
        self.send_timeout
            .store(microseconds(time), Ordering::Relaxed);
    }

    pub(crate) fn send_timeout(&self) -> Option<Duration> {
        match self.send_timeout.load(Ordering::Relaxed) {
            0 => None,
            time => Some(Duration::from_micros(time)),
        }
    }

    /// The local address and the peer's.
    pub(crate) fn names(&self) -> Option<&(Address, Address)> {
        self.names.get()
    }

    /// Does something with the TCP socket; `None` if it is gone.
    pub(crate) fn with_tcp<T>(&self, task: impl FnOnce(c_int) -> T) -> Option<T> {
        let tcp = self.tcp.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there =
            tcp.fd >= 0 && sys::is_hidden(tcp.fd) && sys::hidden_use(tcp.fd) == tcp.hidden_use;
        is_there.then(|| task(tcp.fd))
    }

    /// The program has closed its last number. What was written is still sent, for as long as `linger` if it is given.
    pub(crate) fn finish(&self) {
        let linger = self.with_tcp(|tcp| {
            sys::option::<libc::linger>(tcp, libc::SOL_SOCKET, libc::SO_LINGER).ok()
        });
        self.fallback.give_up();
        {
            let mut tcp = self.tcp.lock().unwrap_or_else(PoisonError::into_inner);
            if !tcp.given && tcp.fd >= 0 {
                sys::close(tcp.fd);
            }
            tcp.fd = -1;
        }
        if let Some(stream) = self.stream.get() {
            let linger = linger.flatten().filter(|linger| linger.l_onoff != 0);
            stream.close(linger.map(|linger| Duration::from_secs(linger.l_linger.max(0) as u64)));
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.finish();
    }
}

fn microseconds(time: &libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000) + u64::try_from(time.tv_usec).unwrap_or(0)
}

fn options() -> StreamOptions {
    let config = config::get();
    StreamOptions {
        crc: config.crc,
        startup_timeout: config.startup_timeout,
        ..StreamOptions::default()
    }
}

/// What a stream rings.
struct Bell(Weak<Endpoint>);

impl Watch for Bell {
    fn changed(&self, now: Readiness) {
        if let Some(endpoint) = self.0.upgrade() {
            endpoint.changed(Some(now));
        }
    }
}

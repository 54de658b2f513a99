//! stdio on a socket.
//!
//! The C library's streams call its own read and write, which nobody stands before. So a FILE that a program opens for one
//! of the table's numbers is one whose read, write and close are ours; and while the numbers of the standard streams are in
//! the table, so are the standard streams.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use libc::{FILE, off64_t};

use super::{numbers, receive, send};
use crate::border::is_inside;
use crate::process;
use crate::real::real;
use crate::table;

type Read = unsafe extern "C-unwind" fn(*mut c_void, *mut c_char, usize) -> isize;
type Write = unsafe extern "C-unwind" fn(*mut c_void, *const c_char, usize) -> isize;
type Seek = unsafe extern "C-unwind" fn(*mut c_void, *mut off64_t, c_int) -> c_int;
type Close = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;

/// cookie_io_functions_t.
#[repr(C)]
struct Functions {
    read: Option<Read>,
    write: Option<Write>,
    seek: Option<Seek>,
    close: Option<Close>,
}

unsafe extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut FILE;

    fn ftrylockfile(file: *mut FILE) -> c_int;
    fn funlockfile(file: *mut FILE);

    static mut stdin: *mut FILE;
    static mut stdout: *mut FILE;
    static mut stderr: *mut FILE;
}

/// A FILE of ours and its number.
struct Known {
    file: AtomicPtr<FILE>,
    fd: AtomicI32,
}

/// Those that a program may ask for their number. No lock is held, which a forked child might find held for ever.
static KNOWN: [Known; 1024] = [const {
    Known {
        file: AtomicPtr::new(null_mut()),
        fd: AtomicI32::new(-1),
    }
}; 1024];

fn remember(file: *mut FILE, fd: c_int) {
    let order = Ordering::AcqRel;
    for known in &KNOWN {
        let free = known
            .file
            .compare_exchange(null_mut(), file, order, Ordering::Relaxed);
        if free.is_ok() {
            known.fd.store(fd, Ordering::Release);
            return;
        }
    }
}

fn forget(fd: c_int) {
    for known in &KNOWN {
        let is_it = known
            .fd
            .compare_exchange(fd, -1, Ordering::AcqRel, Ordering::Relaxed);
        if is_it.is_ok() {
            known.file.store(null_mut(), Ordering::Release);
        }
    }
}

fn number(cookie: *mut c_void) -> c_int {
    c_int::try_from(cookie.addr()).unwrap_or(-1)
}

unsafe extern "C-unwind" fn read(cookie: *mut c_void, at: *mut c_char, len: usize) -> isize {
    // SAFETY: the C library lends the octets.
    unsafe { receive::read(number(cookie), at.cast(), len) }
}

/// 0 is an error, to the C library.
unsafe extern "C-unwind" fn write(cookie: *mut c_void, from: *const c_char, len: usize) -> isize {
    let mut done = 0;
    while done < len && !process::is_abandoned() {
        // SAFETY: the C library lends the octets, of which these are left.
        let rest = unsafe { from.add(done) };
        // SAFETY: as above.
        let put = unsafe { send::write(number(cookie), rest.cast(), len - done) };
        match usize::try_from(put) {
            Ok(put) if put > 0 => done += put,
            _ => break,
        }
    }
    done.cast_signed()
}

unsafe extern "C-unwind" fn close(cookie: *mut c_void) -> c_int {
    let fd = number(cookie);
    forget(fd);
    // SAFETY: the number is the program's, which has given it to the FILE.
    unsafe { numbers::close(fd) }
}

/// A standard stream does not take its number with it: the program has not opened it.
unsafe extern "C-unwind" fn leave(_cookie: *mut c_void) -> c_int {
    0
}

/// A FILE for a number, with what it does when it is closed.
unsafe fn open(fd: c_int, mode: *const c_char, close: Close) -> *mut FILE {
    let functions = Functions {
        read: Some(read),
        write: Some(write),
        seek: None,
        close: Some(close),
    };
    let cookie = std::ptr::without_provenance_mut(fd.cast_unsigned() as usize);
    // SAFETY: the mode is a text; the functions have the contract of the C library's.
    unsafe { fopencookie(cookie, mode, functions) }
}

pub(crate) unsafe fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE {
    if !table::has(fd) || table::is_borrowed() || mode.is_null() {
        // SAFETY: the arguments are the caller's.
        return unsafe { real::fdopen(fd, mode) };
    }
    // SAFETY: it is the caller's and not null.
    let wanted = unsafe { CStr::from_ptr(mode) }.to_bytes();
    if wanted.contains(&b'e') {
        // SAFETY: it touches no memory.
        unsafe { real::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC as usize) };
    }
    // SAFETY: the mode is the caller's.
    let file = unsafe { open(fd, mode, close) };
    if !file.is_null() {
        remember(file, fd);
    }
    file
}

pub(crate) unsafe fn fileno(file: *mut FILE) -> c_int {
    let before = crate::errno::get();
    // SAFETY: the file is the caller's.
    let fd = unsafe { real::fileno(file) };
    if fd >= 0 || file.is_null() {
        return fd;
    }
    for known in &KNOWN {
        if known.file.load(Ordering::Acquire) == file {
            crate::errno::set(before);
            return known.fd.load(Ordering::Acquire);
        }
    }
    fd
}

/// The standard streams that are the C library's own, while ours stand in for them.
static OWN: [AtomicPtr<FILE>; 3] = [const { AtomicPtr::new(null_mut()) }; 3];
/// Ours, once made.
static OURS: [AtomicPtr<FILE>; 3] = [const { AtomicPtr::new(null_mut()) }; 3];

/// Whether it stands in for a standard stream, and then for which. Such a FILE is never freed.
pub(super) fn standard(file: *mut FILE) -> Option<c_int> {
    let is_it = |ours: &AtomicPtr<FILE>| ours.load(Ordering::Acquire) == file;
    let index = OURS.iter().position(is_it).filter(|_| !file.is_null())?;
    c_int::try_from(index).ok()
}

/// Writes what waits in ours, before the streams behind them are closed: the C library does so at the very end. Those that
/// somebody uses are left alone.
pub(crate) fn flush() {
    let of_program = KNOWN.iter().map(|known| &known.file);
    for file in of_program.chain(&OURS) {
        let file = file.load(Ordering::Acquire);
        // SAFETY: a FILE that is known is not closed yet.
        if !file.is_null() && unsafe { ftrylockfile(file) } == 0 {
            // SAFETY: as above, and this thread holds its lock.
            unsafe { libc::fflush(file) };
            // SAFETY: as above.
            unsafe { funlockfile(file) };
        }
    }
}

/// Called when a number may have become something else: lets the standard stream of that number be the right one.
pub(crate) fn settle(fd: c_int) {
    let Some(index) = usize::try_from(fd).ok().filter(|&index| index < 3) else {
        return;
    };
    if is_inside() || table::is_borrowed() {
        return;
    }
    let is_ours = !OWN[index].load(Ordering::Acquire).is_null();
    if table::has(fd) == is_ours {
        return;
    }
    let place = match index {
        0 => &raw mut stdin,
        1 => &raw mut stdout,
        _ => &raw mut stderr,
    };
    if is_ours {
        let own = OWN[index].swap(null_mut(), Ordering::AcqRel);
        // SAFETY: it is the C library's variable, which programs may set; whoever changes what a standard number refers
        // to does so while nobody else uses its stream.
        let now = unsafe { place.read() };
        if now == OURS[index].load(Ordering::Acquire) {
            // SAFETY: as above.
            unsafe { place.write(own) };
        }
        return;
    }
    let mut ours = OURS[index].load(Ordering::Acquire);
    if ours.is_null() {
        let mode = if index == 0 { c"r" } else { c"w" };
        // SAFETY: the mode is a text.
        ours = unsafe { open(fd, mode.as_ptr(), leave) };
        if ours.is_null() {
            return;
        }
        if index == 2 {
            // SAFETY: it has just been made.
            unsafe { libc::setvbuf(ours, null_mut(), libc::_IONBF, 0) };
        }
        remember(ours, fd);
        OURS[index].store(ours, Ordering::Release);
    }
    // SAFETY: as above.
    let own = unsafe { place.read() };
    OWN[index].store(own, Ordering::Release);
    // SAFETY: as above.
    unsafe { place.write(ours) };
}

//! Vectored reads and writes between a socket and registered memory.
//!
//! Registered memory may change at any time, so it never becomes a slice; the kernel gets plain
//! addresses. Everything an address points into is borrowed, or kept alive by an `Arc`, for the
//! length of the call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use uwarp_stream::{Batch, Piece};

use crate::descriptor::Works;
use crate::memory::{RegionMemory, Span};

/// As many elements as one system call takes (IOV_MAX of Linux).
const VECTORS_MAX: usize = 1024;

/// The list of addresses for one system call; empty between calls, so that only its allocation is
/// kept.
#[derive(Default)]
pub(crate) struct Vectors(Vec<libc::iovec>);

// SAFETY: the list is empty between calls, and a call is made from one thread.
unsafe impl Send for Vectors {}

impl std::fmt::Debug for Vectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vectors")
    }
}

/// What became of a vectored write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Octets that the socket has taken.
    pub(crate) taken: usize,
    /// Octets that were offered, which need not be all; fewer taken means that the socket is full.
    pub(crate) offered: usize,
}

impl Vectors {
    fn push(&mut self, span: Span) {
        self.0.push(libc::iovec {
            iov_base: span.ptr.cast(),
            iov_len: span.len,
        });
    }

    fn is_full(&self) -> bool {
        self.0.len() >= VECTORS_MAX
    }

    /// Writes what waits in `batch`, as much of it as the socket takes, by one system call.
    ///
    /// A call that is not cut short ends where [`Batch::write_len`] says, and what TCP sends of the next one begins a
    /// segment of at most `segment` octets (RFC 5044 s5.1, F29).
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        batch: &Batch<Arc<RegionMemory>>,
        works: &Works,
        segment: usize,
    ) -> io::Result<Sent> {
        self.0.clear();
        let whole = batch.write_len(segment);
        let mut left = whole;
        for piece in batch.pieces() {
            if self.is_full() || left == 0 {
                break;
            }
            let len = piece.len().min(left);
            left -= len;
            match piece {
                Piece::Octets(range) => {
                    let octets = &batch.octets(range.clone())[..len];
                    self.push(Span {
                        ptr: octets.as_ptr().cast_mut(),
                        len: octets.len(),
                    });
                }
                Piece::Work { slot, range } => {
                    works.pieces(*slot, range.start, len, |element, offset, len| {
                        if let Ok(span) = element.memory.iovec(offset, len) {
                            self.push(span);
                        }
                    });
                }
                Piece::Region { handle, range } => {
                    if let Ok(span) = handle.iovec(range.start, len) {
                        self.push(span);
                    }
                }
            }
        }
        let count = self.0.len().min(VECTORS_MAX);
        let offered = self.0[..count].iter().map(|vector| vector.iov_len).sum();
        // "End of record": TCP puts nothing that is written later into the same segment.
        let record = if offered == whole { libc::MSG_EOR } else { 0 };
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | record;
        let sent = if let [only] = self.0[..count] {
            // A list costs the kernel more than an address.
            // SAFETY: as below.
            unsafe { libc::send(socket.as_raw_fd(), only.iov_base, only.iov_len, flags) }
        } else {
            // SAFETY: all-zero is a valid msghdr.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = self.0.as_mut_ptr();
            message.msg_iovlen = count as _;
            // SAFETY: the first `count` elements are initialised; the arena is borrowed with `batch`, and
            // the regions are kept alive by the batch's and the works' handles, both borrowed here. The
            // kernel only reads them.
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) }
        };
        self.0.clear();
        match usize::try_from(sent) {
            Ok(taken) => Ok(Sent { taken, offered }),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Reads by one system call: first into `spans`, then into `staging`.
    ///
    /// # Safety
    /// The memory of each span stays allocated for the length of the call, and is registered
    /// memory, which nobody borrows as a slice.
    pub(crate) unsafe fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        spans: impl Iterator<Item = Span>,
        staging: &mut [u8],
    ) -> io::Result<usize> {
        self.0.clear();
        for span in spans {
            self.push(span);
        }
        self.push(Span {
            ptr: staging.as_mut_ptr(),
            len: staging.len(),
        });
        // SAFETY: all-zero is a valid msghdr.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = self.0.as_mut_ptr();
        message.msg_iovlen = self.0.len() as _;
        // SAFETY: the caller vouches for the spans, and `staging` is borrowed exclusively.
        let read =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        self.0.clear();
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }
}

/// Reads into `staging` alone, which costs the kernel less than a list.
pub(crate) fn receive(socket: BorrowedFd<'_>, staging: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `staging` is borrowed exclusively.
    let read = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            staging.as_mut_ptr().cast(),
            staging.len(),
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Octets that wait in the socket's receive queue.
pub(crate) fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD stores one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(count.max(0) as usize)
    }
}

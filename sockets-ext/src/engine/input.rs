//! What a connection's socket has: read, and given to the protocol; large payload straight into its place.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use uwarp_stream::Direct;

use super::memory::EngineMemory;
use super::{Engine, TURN_OCTETS};
use crate::iov;
use crate::link::Link;

/// Without a CRC, as much is read into the staging buffer at a time: large payload behind it goes
/// straight into its place.
const SMALL_READ: usize = 4096;

/// Payload of at least so many octets is worth a system call of its own into its place.
const DIRECT_MIN: usize = 4096;

/// FPDUs of fewer octets are read as many at a time as there are, and copied: a system call for each would cost more.
const BULK_MAX: usize = 16 * 1024;

/// Between two glances as many pauses, 100 ns to 300 ns: each glance holds the socket's lock, for which what arrives has
/// to wait.
const REST: u32 = 6;

/// Behind a large FPDU that is read into its place, as much of the next one: length and header.
const NEXT_HEADER: usize = 16;

impl Engine {
    /// Reads and processes what the socket has; returns the octets moved, at least 1 if anything
    /// happened.
    pub(super) fn read(&mut self, link: &Link, now: Instant) -> usize {
        if self.end_of_stream && self.failed && !self.connection.is_over() {
            // After the peer's FIN there is nothing to read that would tell of a reset.
            self.connection.transport_lost();
            return 1;
        }
        let mut moved = 0;
        while self.readable
            && !self.end_of_stream
            && !self.connection.is_over()
            && moved < TURN_OCTETS
        {
            let limit = self.read_limit();
            if limit == 0 {
                break;
            }
            let result = if let Some((read, asked)) = self.glanced.take() {
                read.inspect(|&count| self.staged(count, asked, link, now))
            } else if let Some(direct) = self.direct() {
                self.read_direct(&direct, link, now)
            } else {
                self.read_staged(limit, link, now)
            };
            match result {
                Ok(0) => {
                    self.end_of_stream = true;
                    link.set_read_all();
                    self.connection.end_of_stream(self.staging.filled().len());
                    return moved + 1;
                }
                Ok(count) => moved += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "reading from the TCP connection failed");
                    self.connection.transport_lost();
                    return moved + 1;
                }
            }
        }
        moved
    }

    /// How much may be read now. A starting connection gets exactly what its frame needs, since
    /// what follows a rejection belongs to the application.
    fn read_limit(&self) -> usize {
        if self.connection.is_starting() {
            return self.connection.startup_need();
        }
        if self.connection.wants_direct() {
            let missing = self.staging.missing();
            return if self.direct_run {
                missing.max(NEXT_HEADER)
            } else if self.bulk {
                usize::MAX
            } else {
                // Of a large FPDU that has not come in full, not too little, so that system calls are few, and not
                // too much, so that the rest may go straight to its place.
                missing.clamp(SMALL_READ, BULK_MAX)
            };
        }
        usize::MAX
    }

    fn read_staged(&mut self, limit: usize, link: &Link, now: Instant) -> io::Result<usize> {
        let Some(socket) = &self.socket else {
            return Ok(0);
        };
        let room = self.staging.room(limit);
        let asked = room.len();
        let count = iov::receive(socket.as_fd(), room)?;
        self.staged(count, asked, link, now);
        Ok(count)
    }

    /// `count` octets have been read into the staging buffer, of `asked` that there was room for.
    fn staged(&mut self, count: usize, asked: usize, link: &Link, now: Instant) {
        self.staging.grow(count);
        self.unread = self.unread.saturating_sub(count);
        if count > 0 {
            self.process(link, now);
        }
        self.note_read(count, asked);
        self.direct_run = false;
    }

    /// For a caller that looks again and again: whether there is nothing to do at all. Takes one system call and little
    /// else; what it reads is left to the next [`read`](Self::read).
    pub(super) fn glance(&mut self, link: &Link) -> bool {
        let calm = self.interest.is_some_and(|interest| !interest.input)
            && link.attendance.is_taken()
            && !link.has_readiness()
            && !link.has_sends()
            && self.connection.is_open()
            && self.connection.is_receiving()
            && !self.end_of_stream
            && self.glanced.is_none()
            // A glance does not look at the time.
            && self.connection.deadline().is_none()
            && self.staging.filled().is_empty()
            && !self.has_rest();
        if !calm {
            return false;
        }
        let limit = self.read_limit();
        let Some(socket) = &self.socket else {
            return false;
        };
        let room = self.staging.room(limit);
        let asked = room.len();
        match iov::receive(socket.as_fd(), room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                for _ in 0..REST {
                    std::hint::spin_loop();
                }
                true
            }
            read => {
                self.glanced = Some((read, asked));
                false
            }
        }
    }

    /// A short read has emptied the socket; the poll tells of what comes later. After the end of the
    /// stream it tells of nothing more.
    fn note_read(&mut self, count: usize, asked: usize) {
        if count > 0 && count < asked && !self.read_closed {
            self.readable = false;
        }
    }

    /// Gives what has been read to the connection. A receive that was posted before its Send was
    /// is in the ring by now, and must be found.
    fn process(&mut self, link: &Link, now: Instant) {
        self.take_receives(link);
        let mut memory = EngineMemory {
            domain: &self.domain,
            peer: self.peer,
            works: &self.works,
        };
        let before = self.connection.stats().fpdus_received;
        let received = self
            .connection
            .receive(self.staging.filled(), &mut memory, now);
        self.staging.consume(received.consumed, received.need);
        let fpdus = (self.connection.stats().fpdus_received - before) as usize;
        let small = fpdus == 0 || received.consumed / fpdus < BULK_MAX;
        self.bulk = small && received.need < BULK_MAX;
    }

    /// The FPDU at the front, if its payload should be read straight into its place and all of it
    /// waits in the socket.
    fn direct(&mut self) -> Option<Direct> {
        if !self.connection.wants_direct() {
            return None;
        }
        let direct = self.connection.direct(self.staging.filled())?;
        let socket = self.socket.as_ref()?;
        if direct.missing < DIRECT_MIN {
            return None;
        }
        let expected = direct.missing + direct.tail;
        if self.unread < expected {
            // What waits becomes less by reading only, so it is asked for when it might not be enough.
            self.unread = iov::unread(socket.as_fd()).unwrap_or(0);
        }
        (self.unread >= expected).then_some(direct)
    }

    fn read_direct(&mut self, direct: &Direct, link: &Link, now: Instant) -> io::Result<usize> {
        let Some(socket) = &self.socket else {
            return Ok(0);
        };
        let mut memory = EngineMemory {
            domain: &self.domain,
            peer: self.peer,
            works: &self.works,
        };
        // Behind the payload: padding, CRC field and the next header go to the staging buffer, behind
        // the header and payload that stand there already. What stands there is not needed once the
        // buffered part has been copied, but the connection wants to see the header again.
        let mut tail = [0u8; 8 + NEXT_HEADER];
        let tail = &mut tail[..direct.tail + NEXT_HEADER];
        let read = memory.place_direct(direct, self.staging.filled(), |spans| {
            // SAFETY: `place_direct` gives spans of registered memory that it keeps alive and, for a
            // tagged buffer, keeps from being revoked, until this returns.
            unsafe {
                self.vectors
                    .receive(socket.as_fd(), spans.into_iter(), tail)
            }
        });
        let read = match read {
            Ok(read) => read?,
            Err(_) => {
                // Not allowed: the ordinary way finds that out again, and tells the peer.
                return self.read_staged(direct.missing + direct.tail, link, now);
            }
        };
        self.unread = self.unread.saturating_sub(read);
        let expected = direct.missing + direct.tail;
        if read < expected {
            // The octets were counted before they were read, so the socket has failed meanwhile.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.connection
            .direct_done(direct, self.staging.filled(), &mut memory, now);
        self.staging.clear();
        let behind = read - expected;
        if behind > 0 {
            self.staging.room(behind)[..behind]
                .copy_from_slice(&tail[direct.tail..direct.tail + behind]);
            self.staging.grow(behind);
        }
        self.process(link, now);
        self.note_read(read, expected + NEXT_HEADER);
        self.direct_run = true;
        Ok(read)
    }
}

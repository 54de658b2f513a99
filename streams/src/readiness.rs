//! What a stream is ready for, and who is told.

/// What a stream is ready for, as poll would say it of a TCP socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The set-up has come to a good end.
    pub established: bool,
    /// A read would not block: octets, the end or an error wait.
    pub readable: bool,
    /// A write would not block: there is a good deal of room, or it would fail.
    pub writable: bool,
    /// The peer sends no more (RDHUP); octets may still wait.
    pub read_closed: bool,
    /// Nothing can be sent or received any more (HUP); octets may still wait.
    pub hung_up: bool,
    /// Number of the error that the next read, write or [`take_error`](crate::StreamSocket::take_error) tells.
    pub error: Option<i32>,
    /// Counts what has come from the peer, wrapping: when it differs there is something new to read, though the stream
    /// may have been readable before. It is what an edge-triggered poll is about.
    pub arrivals: u32,
}

const ESTABLISHED: u64 = 1;
const READABLE: u64 = 1 << 1;
const WRITABLE: u64 = 1 << 2;
const READ_CLOSED: u64 = 1 << 3;
const HUNG_UP: u64 = 1 << 4;

impl Readiness {
    /// In one word.
    pub(crate) fn pack(self) -> u64 {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        // Numbers of errors are small and positive; 0 is none.
        let error = self.error.and_then(|error| u16::try_from(error).ok());
        bit(self.established, ESTABLISHED)
            | bit(self.readable, READABLE)
            | bit(self.writable, WRITABLE)
            | bit(self.read_closed, READ_CLOSED)
            | bit(self.hung_up, HUNG_UP)
            | u64::from(error.unwrap_or(0)) << 16
            | u64::from(self.arrivals) << 32
    }

    pub(crate) fn unpack(word: u64) -> Self {
        let error = (word >> 16) as u16;
        Self {
            established: word & ESTABLISHED != 0,
            readable: word & READABLE != 0,
            writable: word & WRITABLE != 0,
            read_closed: word & READ_CLOSED != 0,
            hung_up: word & HUNG_UP != 0,
            error: (error != 0).then_some(i32::from(error)),
            arrivals: (word >> 32) as u32,
        }
    }

    /// Whether any of `wants` is the case.
    pub(crate) fn meets(self, wants: Wants) -> bool {
        wants.contains(Wants::READABLE) && self.readable
            || wants.contains(Wants::WRITABLE) && self.writable
            || wants.contains(Wants::ESTABLISHED)
                && (self.established || self.error.is_some() || self.hung_up)
    }
}

bitflags::bitflags! {
    /// What somebody waits for: any of these.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Wants: u8 {
        /// A read would not block.
        const READABLE = 1;
        /// A write would not block.
        const WRITABLE = 1 << 1;
        /// The set-up has come to an end, good or bad.
        const ESTABLISHED = 1 << 2;
        /// The connection is over: after [`close`](crate::StreamSocket::close) everything written has been handed to
        /// TCP, and both ends have said that they have no more; or it has failed.
        const CLOSED = 1 << 3;
    }
}

/// Told when the readiness of a stream may have changed.
///
/// It is called by whatever thread noticed, one at a time for each stream, and the last call has the latest state. The
/// stream may be used from within it. It must not block: the thread may be a worker that serves other connections.
pub trait Watch: Send + Sync {
    /// The readiness is this now.
    fn changed(&self, now: Readiness);
}

/// A [`Watch`] that does nothing, for programs that only [`wait`](crate::StreamSocket::wait).
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn changed(&self, _now: Readiness) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_all_of_it() {
        for bits in 0..32u32 {
            for (error, arrivals) in [(None, 0), (Some(libc::ECONNRESET), u32::MAX), (Some(1), 7)] {
                let readiness = Readiness {
                    established: bits & 1 != 0,
                    readable: bits & 2 != 0,
                    writable: bits & 4 != 0,
                    read_closed: bits & 8 != 0,
                    hung_up: bits & 16 != 0,
                    error,
                    arrivals,
                };
                assert_eq!(Readiness::unpack(readiness.pack()), readiness);
            }
        }
    }
}

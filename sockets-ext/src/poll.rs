//! The kernel's word on what is ready: an epoll whose interests can be changed by whoever drives a socket.
//!
//! Everything is watched edge-triggered: an event tells of a change since the last one, and changing an interest
//! tells anew of what is ready by then. So no readiness is lost when an interest is dropped and taken up again.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Events that one wait takes at the most.
const EVENTS_MAX: usize = 1024;

/// What a watcher wants to be told, besides errors and hang-ups, which are always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest {
    /// Octets, connections or the end of the stream have come.
    pub(crate) input: bool,
    /// The socket takes octets again.
    pub(crate) output: bool,
}

impl Interest {
    pub(crate) const INPUT: Self = Self {
        input: true,
        output: false,
    };

    /// A socket that need not be watched.
    pub(crate) const NONE: Self = Self {
        input: false,
        output: false,
    };

    fn event(self, token: usize) -> EpollEvent {
        let mut flags = EpollFlags::EPOLLET;
        if self.input {
            flags |= EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
        }
        if self.output {
            flags |= EpollFlags::EPOLLOUT;
        }
        EpollEvent::new(flags, token as u64)
    }
}

/// What an event says of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The stream of the peer ends, or the connection is gone.
    pub(crate) read_closed: bool,
    pub(crate) failed: bool,
}

impl Readiness {
    /// As bits, to be kept in an atomic word.
    pub(crate) const fn bits(self) -> u32 {
        self.readable as u32
            | (self.writable as u32) << 1
            | (self.read_closed as u32) << 2
            | (self.failed as u32) << 3
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self {
            readable: bits & 1 != 0,
            writable: bits & 2 != 0,
            read_closed: bits & 4 != 0,
            failed: bits & 8 != 0,
        }
    }

    fn from_flags(flags: EpollFlags) -> Self {
        let failed = flags.contains(EpollFlags::EPOLLERR);
        let read_closed = failed || flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP);
        Self {
            readable: read_closed || flags.contains(EpollFlags::EPOLLIN),
            writable: flags.contains(EpollFlags::EPOLLOUT),
            read_closed,
            failed,
        }
    }
}

/// An epoll. Any thread may change what is watched; one waits.
#[derive(Debug)]
pub(crate) struct Poll(Epoll);

/// Room for the events of one wait.
pub(crate) struct Events {
    room: Vec<EpollEvent>,
    count: usize,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            room: vec![EpollEvent::empty(); EVENTS_MAX],
            count: 0,
        }
    }

    /// The events of the last wait: whose they are, and what they say.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Readiness)> {
        (self.room[..self.count].iter())
            .map(|event| (event.data() as usize, Readiness::from_flags(event.events())))
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches `fd`; its events come with `token`.
    pub(crate) fn add(&self, fd: impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        Ok(self.0.add(fd, interest.event(token))?)
    }

    /// Changes what is told of `fd`; what is ready of it by now is told.
    pub(crate) fn change(&self, fd: impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        Ok(self.0.modify(fd, &mut interest.event(token))?)
    }

    /// Watches `fd` no more. Closing the last descriptor of a file does the same.
    pub(crate) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Waits for events, at most `timeout` (rounded up to the millisecond), for ever if `None`.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |time| {
            let millis = time.as_nanos().div_ceil(1_000_000);
            (i32::try_from(millis).ok())
                .and_then(|millis| EpollTimeout::try_from(millis).ok())
                .unwrap_or(EpollTimeout::MAX)
        });
        events.count = 0;
        match self.0.wait(&mut events.room, timeout) {
            Ok(count) => events.count = count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn told(poll: &Poll) -> Vec<(usize, Readiness)> {
        let mut events = Events::new();
        poll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().collect()
    }

    #[test]
    fn bits_come_back() {
        for bits in 0..16 {
            assert_eq!(Readiness::from_bits(bits).bits(), bits);
        }
    }

    #[test]
    fn what_is_ready_is_told_once_and_anew_after_a_change() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let poll = Poll::new().unwrap();
        poll.add(&far, 7, Interest::INPUT).unwrap();
        assert_eq!(told(&poll), []);
        near.write_all(b"x").unwrap();
        let input = Readiness {
            readable: true,
            ..Readiness::default()
        };
        assert_eq!(told(&poll), [(7, input)]);
        assert_eq!(told(&poll), [], "told already");
        let nothing = Interest {
            input: false,
            output: false,
        };
        poll.change(&far, 7, nothing).unwrap();
        near.write_all(b"y").unwrap();
        assert_eq!(told(&poll), [], "not wanted");
        poll.change(&far, 7, Interest::INPUT).unwrap();
        assert_eq!(told(&poll), [(7, input)]);
        (&far).read_exact(&mut [0; 2]).unwrap();
        poll.change(
            &far,
            7,
            Interest {
                output: true,
                ..nothing
            },
        )
        .unwrap();
        assert!(matches!(
            told(&poll)[..],
            [(
                7,
                Readiness {
                    writable: true,
                    readable: false,
                    ..
                }
            )]
        ));
        drop(near);
        assert!(
            told(&poll)
                .iter()
                .any(|(_, ready)| ready.read_closed && ready.readable)
        );
    }
}

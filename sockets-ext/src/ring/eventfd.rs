//! A doorbell that the kernel rings: an eventfd, made when somebody first asks for it.

use super::doorbell::Doorbell;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// An eventfd that is readable while it rings. It is closed on exec and never blocks.
#[derive(Debug, Default)]
pub(crate) struct EventBell {
    fd: OnceLock<EventFd>,
}

impl EventBell {
    /// The descriptor, made now if there is none yet.
    ///
    /// # Errors
    ///
    /// What the system says if it has no descriptor left.
    pub(crate) fn open(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_fd());
        }
        let fresh =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        // If another thread was quicker, ours is closed here and theirs is used.
        Ok(self.fd.get_or_init(|| fresh).as_fd())
    }

    /// Waits until it rings, `also` has input, or `deadline` has passed; `None` waits for ever. Returns whether there
    /// is time left: it may be woken for no reason, and the caller asks again.
    ///
    /// # Errors
    ///
    /// What the system says to `eventfd` or `poll`, but not that a signal came.
    pub(crate) fn listen(
        &self,
        also: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        let bell = self.open()?;
        let mut fds = [bell, also.unwrap_or(bell)].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let fds = &mut fds[..1 + usize::from(also.is_some())];
        match poll(fds, left.map_or(PollTimeout::NONE, whole_millis)) {
            Ok(_) | Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Doorbell for EventBell {
    fn ring(&self) {
        // Nobody can have listened before the descriptor was made. The write fails only at a count of 2^64 - 2, and
        // then the descriptor is readable.
        if let Some(fd) = self.fd.get() {
            let _ = fd.write(1);
        }
    }

    fn silence(&self) {
        // Reading takes the whole count. It fails only if the count is zero, which is silence; or if whoever was lent
        // the descriptor has spoilt it, which is theirs to bear.
        if let Some(fd) = self.fd.get() {
            let _ = fd.read();
        }
    }
}

/// A time as `poll` takes it: in milliseconds, rounded up so as not to wake early and spin.
fn whole_millis(time: Duration) -> PollTimeout {
    let millis = time.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis)
        .ok()
        .and_then(|millis| PollTimeout::try_from(millis).ok())
        .unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up() {
        assert_eq!(whole_millis(Duration::from_nanos(1)).as_millis(), Some(1));
        assert_eq!(
            whole_millis(Duration::from_micros(2_001)).as_millis(),
            Some(3)
        );
        assert_eq!(whole_millis(Duration::MAX), PollTimeout::MAX);
    }

    #[test]
    fn a_bell_nobody_opened_has_no_descriptor() {
        let bell = EventBell::default();
        bell.ring();
        bell.silence();
        assert!(bell.fd.get().is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "miri has no poll")]
    fn it_rings_until_it_is_silenced() {
        let bell = EventBell::default();
        bell.open().expect("a descriptor");
        let readable = || {
            let fd = bell.open().expect("the same descriptor");
            poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
        };
        assert!(!readable());
        bell.ring();
        bell.ring();
        assert!(readable() && readable());
        bell.silence();
        assert!(!readable());
    }
}

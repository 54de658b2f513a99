//! What an end may choose.

use crate::error::ConfigError;
use crate::message::DATA_MAX;

/// Fewest messages that an end must be ready to take: with fewer there would be no room beside the data
/// for the messages that keep it flowing.
pub const CREDITS_MIN: u16 = 16;

/// Most messages that an end can announce; one less than the range of the counters, which both ends compare
/// modulo 2^16.
pub const CREDITS_MAX: u16 = 65_534;

/// Receives beyond the credits that the driver keeps posted. The peer's grants and its last words cost no
/// credit, and iWARP has no way to hold a Send back: without a receive it ends the connection.
///
/// How many there can be at once: as long as the driver is silent the peer has two buffers at the most to give back
/// and half of its credits twice, and then its last words. The rest is to be on the safe side.
pub const SPARE_RECEIVES: u32 = 16;

/// Requests that are kept free for grants and for the last message, when data would fill the queue.
pub(crate) const CONTROL_POSTS: u32 = 4;

/// The sizes of one end. They are fixed when the connection is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Octets of the ring that the peer writes into. It is handed out in two halves, so the number is even.
    pub receive_ring: u32,
    /// Octets that the program may have written and that are not acknowledged by their completion.
    pub send_ring: u32,
    /// Messages that the peer may send before its first grant, [`CREDITS_MIN`] to [`CREDITS_MAX`].
    pub credits: u16,
    /// Requests that may be posted and incomplete, at least 8.
    pub send_queue: u32,
    /// Octets of one RDMA Write at the most, at least 1. The peer may read what it has when the Write's
    /// message has come, so that large ones are cheap and small ones are early.
    pub write_max: u32,
    /// Entries that the peer may fill in our iomap: 0 to 128, or a multiple of 256 up to 32,512.
    pub iomap: u16,
}

impl Default for Config {
    /// What rsockets has: rings of 128 KiB, 384 credits and requests, Writes of 64 KiB, no iomap.
    fn default() -> Self {
        Self {
            receive_ring: 1 << 17,
            send_ring: 1 << 17,
            credits: 384,
            send_queue: 384,
            write_max: 1 << 16,
            iomap: 0,
        }
    }
}

impl Config {
    /// Whether a stream can be made of it.
    ///
    /// # Errors
    /// The first size that is out of its range.
    pub const fn check(&self) -> Result<(), ConfigError> {
        let half = self.receive_ring / 2;
        if !self.receive_ring.is_multiple_of(2) || half == 0 || half > DATA_MAX {
            return Err(ConfigError::ReceiveRing(self.receive_ring));
        }
        if self.send_ring == 0 {
            return Err(ConfigError::SendRing);
        }
        if self.credits < CREDITS_MIN || self.credits > CREDITS_MAX {
            return Err(ConfigError::Credits(self.credits));
        }
        if self.send_queue < 2 * CONTROL_POSTS {
            return Err(ConfigError::SendQueue(self.send_queue));
        }
        if self.write_max == 0 || self.write_max > DATA_MAX {
            return Err(ConfigError::WriteMax(self.write_max));
        }
        if self.iomap > 128 && !(self.iomap.is_multiple_of(256) && self.iomap <= 127 << 8) {
            return Err(ConfigError::Iomap(self.iomap));
        }
        Ok(())
    }

    /// Receives of [`MESSAGE_LEN`](crate::MESSAGE_LEN) octets that the driver keeps posted.
    #[must_use]
    pub const fn receives(&self) -> u32 {
        self.credits as u32 + SPARE_RECEIVES
    }

    /// Octets of the target table and the iomap behind it, which the peer writes into.
    #[must_use]
    pub const fn table_len(&self) -> usize {
        crate::connect::TABLE_ENTRIES as usize * crate::entry::ENTRY_LEN
            + self.iomap as usize * crate::entry::IOMAP_ENTRY_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let good = Config::default();
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.receives(), 400);
        let with = |change: &dyn Fn(&mut Config)| {
            let mut config = good;
            change(&mut config);
            config.check()
        };
        for ring in [0, 1, 65_537, 1 << 30 | 2] {
            assert_eq!(
                with(&|config| config.receive_ring = ring),
                Err(ConfigError::ReceiveRing(ring))
            );
        }
        assert_eq!(with(&|config| config.receive_ring = 2), Ok(()));
        assert_eq!(
            with(&|config| config.send_ring = 0),
            Err(ConfigError::SendRing)
        );
        for credits in [0, 15, 65_535] {
            assert_eq!(
                with(&|config| config.credits = credits),
                Err(ConfigError::Credits(credits))
            );
        }
        assert_eq!(
            with(&|config| config.send_queue = 7),
            Err(ConfigError::SendQueue(7))
        );
        for len in [0, 1 << 29] {
            assert_eq!(
                with(&|config| config.write_max = len),
                Err(ConfigError::WriteMax(len))
            );
        }
        for (iomap, good) in [
            (128, true),
            (129, false),
            (256, true),
            (300, false),
            (127 << 8, true),
            (128 << 8, false),
        ] {
            assert_eq!(with(&|config| config.iomap = iomap).is_ok(), good);
        }
    }
}

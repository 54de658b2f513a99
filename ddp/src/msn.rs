//! Message sequence numbers, which wrap (RFC 5041 s4.3).

use crate::queue::QueueError;

/// A message sequence number: the place of a message among those of its queue and direction.
///
/// The first is 1 and each message adds 1; after 0xFFFFFFFF comes 0 (RFC 5041 s4.3, D15; T10). So
/// there is no order among numbers as such, only a distance from one to another: up to 2^31 - 1
/// ahead, anything else behind.
///
/// ```
/// use uwarp_ddp::SerialMsn;
///
/// let late = SerialMsn::new(0xffff_fffe);
/// assert_eq!(late.next().next().get(), 0);
/// assert_eq!(late.distance(SerialMsn::FIRST), Some(3));
/// assert_eq!(SerialMsn::FIRST.distance(late), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SerialMsn(u32);

impl SerialMsn {
    /// The number of a queue's first message.
    pub const FIRST: Self = Self(1);

    /// How far ahead a number can be.
    pub const DISTANCE_MAX: u32 = u32::MAX >> 1;

    /// The number as a header has it.
    #[must_use]
    pub const fn new(msn: u32) -> Self {
        Self(msn)
    }

    /// The number for a header.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How many messages `later` is ahead of this one, 0 if they are the same; `None` if it is
    /// behind.
    #[must_use]
    pub const fn distance(self, later: Self) -> Option<u32> {
        let ahead = later.0.wrapping_sub(self.0);
        if ahead <= Self::DISTANCE_MAX {
            Some(ahead)
        } else {
            None
        }
    }

    /// Which of `buffers` buffers message `msn` belongs to, if the first of them is for the message
    /// with this number; counted from 0. This is the range check of RFC 5041 s7.1 (D33) for every
    /// queue, including those whose buffers are implied, as by the IRD (G6, G9).
    ///
    /// # Errors
    /// * [`QueueError::MsnRange`] when `msn` is behind: that message is over.
    /// * [`QueueError::NoBuffer`] when it is ahead of all buffers.
    pub fn buffer_for(self, msn: u32, buffers: u32) -> Result<u32, QueueError> {
        let index = self.distance(Self(msn)).ok_or(QueueError::MsnRange)?;
        if index < buffers {
            Ok(index)
        } else {
            Err(QueueError::NoBuffer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_comes_after_the_largest() {
        assert_eq!(SerialMsn::new(u32::MAX).next(), SerialMsn::new(0));
        assert_eq!(SerialMsn::new(0).next(), SerialMsn::FIRST);
    }

    #[test]
    fn half_of_the_numbers_are_ahead() {
        let first = SerialMsn::FIRST;
        assert_eq!(first.distance(first), Some(0));
        assert_eq!(
            first.distance(SerialMsn::new(1 + 0x7fff_ffff)),
            Some(0x7fff_ffff)
        );
        assert_eq!(first.distance(SerialMsn::new(1 + 0x8000_0000)), None);
        assert_eq!(first.distance(SerialMsn::new(0)), None);
    }

    #[test]
    fn behind_is_out_of_range_and_ahead_is_out_of_buffers() {
        let first = SerialMsn::new(u32::MAX);
        let table = [
            (u32::MAX, Ok(0)),
            (0, Ok(1)),
            (1, Ok(2)),
            (2, Err(QueueError::NoBuffer)),
            (0x7fff_fffe, Err(QueueError::NoBuffer)),
            (0x7fff_ffff, Err(QueueError::MsnRange)),
            (u32::MAX - 1, Err(QueueError::MsnRange)),
        ];
        for (msn, expected) in table {
            assert_eq!(first.buffer_for(msn, 3), expected, "{msn:#x}");
        }
        assert_eq!(first.buffer_for(u32::MAX, 0), Err(QueueError::NoBuffer));
    }

    proptest! {
        #[test]
        fn distance_is_how_often_next_was_taken(start in any::<u32>(), steps in 0u32..200) {
            let start = SerialMsn::new(start);
            let end = (0..steps).fold(start, |msn, _| msn.next());
            prop_assert_eq!(start.distance(end), Some(steps));
            prop_assert_eq!(end.distance(start), (steps == 0).then_some(0));
        }
    }
}

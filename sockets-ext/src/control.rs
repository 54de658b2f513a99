//! The messages on the UNIX socket to a worker.
//!
//! Descriptors travel through rings; this socket wakes a worker that sleeps in its poll, and tells
//! it to stop. A message is 8 octets:
//!
//! ```text
//! +----------------+----------------+
//! |  kind (4, BE)  |  zero (4)      |
//! +----------------+----------------+
//! ```

/// A message to a worker.
///
/// A message orders nothing by itself: what is to be done stands in queues and flags, which the worker looks at
/// whenever it wakes. So a message that is lost in a full socket, comes twice, or is none at all does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Look at the queues.
    Wake,
    /// Look at the listeners: one is new, closed, or has a place free again.
    Listeners,
    /// End the thread once every socket it serves is over.
    Stop,
}

impl Message {
    /// Octets of a message.
    pub const LEN: usize = 8;

    /// The message as it is sent, one datagram.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        let kind = match self {
            Self::Wake => 1,
            Self::Listeners => 2,
            Self::Stop => 3,
        };
        [0, 0, 0, kind, 0, 0, 0, 0]
    }

    /// The message that a datagram is; `None` for anything that is no message, which the receiver drops. A
    /// receiver offers room for more than [`LEN`](Self::LEN) octets, so that a longer datagram that is cut to
    /// its room is no message.
    #[must_use]
    pub fn decode(octets: &[u8]) -> Option<Self> {
        match octets {
            [0, 0, 0, 1, 0, 0, 0, 0] => Some(Self::Wake),
            [0, 0, 0, 2, 0, 0, 0, 0] => Some(Self::Listeners),
            [0, 0, 0, 3, 0, 0, 0, 0] => Some(Self::Stop),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_nothing_else_does() {
        for message in [Message::Wake, Message::Listeners, Message::Stop] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        for noise in [
            &[][..],
            &[0, 0, 0, 1],
            &[0, 0, 0, 4, 0, 0, 0, 0],
            &[0, 0, 0, 1, 0, 0, 0, 1],
            &[0; 9],
        ] {
            assert_eq!(Message::decode(noise), None);
        }
    }
}

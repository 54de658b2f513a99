//! The 32-bit message: all that a Send of this protocol carries.

use crate::order::ByteOrder;

/// Octets of every message.
pub const MESSAGE_LEN: usize = 4;

/// The greatest number that fits beside the operation.
pub const DATA_MAX: u32 = (1 << 29) - 1;

/// What one Send says: an operation in the upper 3 bits and a number in the other 29.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// So many octets have been written to the ring, 1 to [`DATA_MAX`]. It costs a credit.
    Data(u32),
    /// The sum of all credits given so far, modulo 2^16. Before it an entry of the table may have been
    /// written.
    Grant(u16),
    /// The entry of the iomap with this index has been written. It costs a credit.
    Iomap(u16),
    /// Neither end sends any more.
    Disconnect,
    /// The sender sends no more data, but goes on reading.
    Shutdown,
    /// To be ignored: a keep-alive of old releases, a control code that nobody knows, or the operation
    /// that rsockets uses for itself only.
    Ignored,
    /// One of the operations 1, 3 and 5, which have no meaning.
    Reserved(u8),
}

const DATA: u32 = 0;
const WRITE: u32 = 2;
const GRANT: u32 = 4;
const IOMAP: u32 = 6;
const CONTROL: u32 = 7;

const CONTROL_DISCONNECT: u32 = 0;
const CONTROL_KEEPALIVE: u32 = 1;
const CONTROL_SHUTDOWN: u32 = 2;

impl Message {
    /// The octets of the message.
    #[must_use]
    pub const fn encode(self, order: ByteOrder) -> [u8; MESSAGE_LEN] {
        let (operation, data) = match self {
            Self::Data(len) => (DATA, len & DATA_MAX),
            Self::Grant(limit) => (GRANT, limit as u32),
            Self::Iomap(index) => (IOMAP, index as u32),
            Self::Disconnect => (CONTROL, CONTROL_DISCONNECT),
            Self::Shutdown => (CONTROL, CONTROL_SHUTDOWN),
            Self::Ignored => (CONTROL, CONTROL_KEEPALIVE),
            Self::Reserved(operation) => (operation as u32, 0),
        };
        order.u32_to(operation << 29 | data)
    }

    /// Reads a message.
    #[must_use]
    pub const fn decode(octets: [u8; MESSAGE_LEN], order: ByteOrder) -> Self {
        let word = order.u32_from(octets);
        let data = word & DATA_MAX;
        match word >> 29 {
            DATA => Self::Data(data),
            // It may carry a seventeenth bit; limits are compared modulo 2^16.
            GRANT => Self::Grant(data as u16),
            IOMAP => Self::Iomap(data as u16),
            CONTROL if data == CONTROL_DISCONNECT => Self::Disconnect,
            CONTROL if data == CONTROL_SHUTDOWN => Self::Shutdown,
            CONTROL | WRITE => Self::Ignored,
            reserved => Self::Reserved(reserved as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_captures() {
        for (message, octets) in [
            (Message::Data(16), [0x10, 0, 0, 0]),
            (Message::Data(2048), [0, 8, 0, 0]),
            (Message::Grant(384), [0x80, 1, 0, 0x80]),
            (Message::Iomap(0), [0, 0, 0, 0xc0]),
            (Message::Disconnect, [0, 0, 0, 0xe0]),
            (Message::Shutdown, [2, 0, 0, 0xe0]),
        ] {
            assert_eq!(message.encode(ByteOrder::Little), octets);
            assert_eq!(Message::decode(octets, ByteOrder::Little), message);
            let mut turned = octets;
            turned.reverse();
            assert_eq!(message.encode(ByteOrder::Big), turned);
            assert_eq!(Message::decode(turned, ByteOrder::Big), message);
        }
    }

    #[test]
    fn what_has_no_meaning_is_told_apart_from_what_is_ignored() {
        let decode = |word: u32| Message::decode(word.to_le_bytes(), ByteOrder::Little);
        for operation in [1, 3, 5] {
            assert_eq!(
                decode(operation << 29 | 7),
                Message::Reserved(operation as u8)
            );
        }
        for word in [2 << 29, 7 << 29 | 1, 7 << 29 | 5, 7 << 29 | DATA_MAX] {
            assert_eq!(decode(word), Message::Ignored);
        }
        assert_eq!(decode(4 << 29 | 0x1_0005), Message::Grant(5));
    }
}

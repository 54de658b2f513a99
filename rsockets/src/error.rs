//! What can go wrong: with our own settings, with what the peer says, and for the program.

use thiserror::Error;

/// A size that no stream can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The receive ring has no two equal halves, or halves of 2^29 octets and more.
    #[error("a receive ring of {0} octets has no two halves of 1 to 2^29 - 1 octets")]
    ReceiveRing(u32),
    /// The send ring holds nothing.
    #[error("a send ring of no octets")]
    SendRing,
    /// The credits are out of their range.
    #[error("{0} credits, but 16 to 65534 can be given")]
    Credits(u16),
    /// There would be no request left for control messages.
    #[error("a send queue of {0}, but 8 is the least")]
    SendQueue(u32),
    /// The octets of a Write are out of their range.
    #[error("Writes of {0} octets, but 1 to 2^29 - 1 can be announced")]
    WriteMax(u32),
    /// The private data has no way to say it.
    #[error("an iomap of {0} entries: 0 to 128 or a multiple of 256 up to 32512 can be announced")]
    Iomap(u16),
    /// The table or the ring would run past the end of the tagged offsets.
    #[error("the table or the ring does not fit behind its tagged offset")]
    Place,
}

/// Why no stream can be made with this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// Our own settings are at fault.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The private data is too short: the peer does not speak this protocol.
    #[error("{0} octets of private data where rsockets has 40: the peer does not speak rsockets")]
    Short(usize),
    /// The peer speaks another version, or another protocol.
    #[error("version {0} where rsockets has 1: the peer does not speak rsockets")]
    Version(u8),
    /// The peer gives too few credits for data and the messages that keep it flowing.
    #[error("the peer gives {0} credits, fewer than 8")]
    Credits(u16),
    /// A table of fewer than two entries cannot take the two halves of a ring.
    #[error("the peer's table has {0} entries where two are needed")]
    Table(u32),
    /// The peer's table or buffer is empty or leaves the tagged offsets.
    #[error("the peer's table or buffer is empty or leaves the range of tagged offsets")]
    Place,
    /// The peer does not use the order of octets that our Request asked for.
    #[error("the peer's words have another order of octets than ours")]
    ByteOrder,
}

/// A rule of the protocol that the peer broke. The stream is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// A Send of another length than four octets.
    #[error("a message of {0} octets where each has 4")]
    MessageLen(usize),
    /// An operation that has no meaning.
    #[error("a message with the reserved operation {0}")]
    Reserved(u8),
    /// More messages than credits.
    #[error("more messages than there were credits")]
    Credits,
    /// Data was announced, but no octets.
    #[error("a message announces no octets at all")]
    Empty,
    /// More octets than the buffers handed out have left.
    #[error("{len} octets announced where {room} had room")]
    Overrun {
        /// Octets announced.
        len: u32,
        /// Octets left in the buffer that was in use.
        room: u32,
    },
    /// Data behind the peer's announcement that there would be no more.
    #[error("data after the end of data")]
    AfterEnd,
    /// A limit that takes credits back, or one for messages that were never sent.
    #[error("a limit of {limit}, where {sent} messages were sent with {credits} credits")]
    Limit {
        /// The limit, modulo 2^16.
        limit: u16,
        /// Messages sent so far, modulo 2^16.
        sent: u16,
        /// The peer's credits.
        credits: u16,
    },
    /// An entry of the table that leaves the range of tagged offsets.
    #[error("a buffer of {len} octets at {to:#x} leaves the range of tagged offsets")]
    Entry {
        /// Tagged offset.
        to: u64,
        /// Octets.
        len: u32,
    },
    /// An index outside the iomap that we announced.
    #[error("entry {index} of an iomap of {size}")]
    Iomap {
        /// The index.
        index: u16,
        /// Entries that there are.
        size: u16,
    },
}

/// Nothing can be written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// This end has said that it sends no more.
    #[error("this end has ended its data")]
    Shut,
    /// The peer has disconnected.
    #[error("the peer has disconnected")]
    Disconnected,
    /// The connection ended without a word.
    #[error("the connection was lost")]
    Lost,
    /// The peer broke a rule.
    #[error("the peer broke a rule of the stream: {0}")]
    Fault(Fault),
}

/// A buffer cannot be named in the peer's iomap, or written to by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IomapError {
    /// The peer's iomap has no such place, or no place left.
    #[error("the peer's iomap has no place left")]
    Full,
    /// An empty buffer, or one that leaves the range of tagged offsets.
    #[error("the buffer is empty or leaves the range of tagged offsets")]
    Place,
    /// No entry has that name.
    #[error("no buffer of the peer's has that name")]
    Unknown,
    /// The stream has ended for writing.
    #[error("{0}")]
    Write(#[from] WriteError),
}

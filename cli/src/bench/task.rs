//! What is measured: one task is one kind of operation, of one size, so and so often.

use serde::{Deserialize, Serialize};

/// What the operations are. The last two are what plain TCP does in comparison.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// RDMA Writes one after the other, as many outstanding as the queue takes
    Write,
    /// Sends one after the other into posted buffers
    Send,
    /// RDMA Reads, 16 outstanding
    Read,
    /// A Send there, a Send back
    SendPing,
    /// A Write there and a Write back; each end spins on the last word
    WritePing,
    /// Writes of so many octets one after the other to a stream in DDPMODE
    Bytes,
    /// So many octets there and back on a stream in DDPMODE
    BytesPing,
    /// Whole messages one after the other over plain TCP
    #[value(skip)]
    Stream,
    /// A message there and a message back over plain TCP
    #[value(skip)]
    Ping,
}

impl Kind {
    /// What plain TCP does in comparison.
    pub(super) const fn plain(self) -> Self {
        match self {
            Self::Write | Self::Send | Self::Read | Self::Bytes | Self::Stream => Self::Stream,
            Self::SendPing | Self::WritePing | Self::BytesPing | Self::Ping => Self::Ping,
        }
    }

    /// Whether an operation is there and back, so that its time counts.
    pub(super) const fn is_ping(self) -> bool {
        matches!(self.plain(), Self::Ping)
    }

    /// Whether the octets of a stream are counted, and not messages.
    pub(super) const fn is_bytes(self) -> bool {
        matches!(self, Self::Bytes | Self::BytesPing)
    }

    /// For people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Write => "Write",
            Self::Send => "Send",
            Self::Read => "Read",
            Self::SendPing => "Send ping-pong",
            Self::WritePing => "Write ping-pong",
            Self::Bytes => "Byte stream",
            Self::BytesPing => "Byte stream ping-pong",
            Self::Stream => "stream",
            Self::Ping => "ping-pong",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) kind: Kind,
    /// Both ends poll instead of sleeping.
    pub(super) busy: bool,
    /// Octets of a message.
    pub(super) size: u32,
    /// Operations that are timed.
    pub(super) count: u32,
    /// System calls are counted, which costs time.
    pub(super) counted: bool,
}

/// Octets that a stream moves, unless that were too many messages.
const STREAM_OCTETS: u64 = 256 << 20;
const STREAM_MESSAGES: u64 = 100_000;
/// Octets that a ping-pong moves one way, unless that were too many.
const PING_OCTETS: u64 = 128 << 20;
const PING_MESSAGES: u64 = 10_000;

impl Task {
    /// A task that takes a few tenths of a second, times `effort` in percent.
    pub(super) fn new(kind: Kind, busy: bool, size: u32, effort: u32) -> Self {
        let (octets, most) = if kind.is_ping() {
            (PING_OCTETS, PING_MESSAGES)
        } else {
            (STREAM_OCTETS, STREAM_MESSAGES)
        };
        let count = (octets / u64::from(size.max(1))).clamp(16, most) * u64::from(effort) / 100;
        Self {
            kind,
            busy,
            size,
            count: count.max(4) as u32,
            counted: false,
        }
    }

    /// Operations before those that are timed.
    pub(super) const fn warm_up(&self) -> u32 {
        self.count / 10 + 1
    }

    /// The same task for plain TCP.
    pub(super) const fn plain(self) -> Self {
        Self {
            kind: self.kind.plain(),
            ..self
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        serde_json::from_slice(octets).ok()
    }
}

/// Sizes of the curves, from the smallest that holds a word.
const SIZES: [u32; 11] = [
    8,
    64,
    512,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    4 << 20,
    8 << 20,
];

/// The sizes that are aimed at, and the ends of the curves.
const FEW_SIZES: [u32; 6] = [8, 64, 4 << 10, 64 << 10, 1 << 20, 8 << 20];

/// All that is measured; fewer sizes unless it is to be `full`.
pub(super) fn plan(effort: u32, full: bool) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut add = |kind, busy, size| tasks.push(Task::new(kind, busy, size, effort));
    let sizes: &[u32] = if full { &SIZES } else { &FEW_SIZES };
    for &size in sizes {
        add(Kind::Write, false, size);
        add(Kind::SendPing, false, size);
        add(Kind::SendPing, true, size);
    }
    for size in [64, 4 << 10, 64 << 10, 1 << 20] {
        add(Kind::Send, false, size);
    }
    for size in [4 << 10, 64 << 10, 1 << 20] {
        add(Kind::Read, false, size);
    }
    for size in [64, 64 << 10, 1 << 20] {
        add(Kind::WritePing, true, size);
    }
    add(Kind::Bytes, false, 64 << 10);
    add(Kind::BytesPing, false, 64);
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_fits_into_private_data_and_comes_back() {
        for task in plan(100, true) {
            let octets = task.encode();
            assert!(octets.len() < 400, "{}", octets.len());
            assert_eq!(Task::decode(&octets), Some(task));
        }
        assert_eq!(Task::decode(b"{}"), None);
    }

    #[test]
    fn every_task_has_operations_and_a_warm_up() {
        for task in plan(1, false) {
            assert!(task.count >= 4 && task.warm_up() >= 1, "{task:?}");
        }
    }

    #[test]
    fn no_task_is_there_twice() {
        let tasks = plan(100, true);
        for (at, task) in tasks.iter().enumerate() {
            assert!(!tasks[..at].contains(task), "{task:?}");
        }
    }
}

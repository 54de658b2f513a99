//! What a program may choose for a stream.

use std::time::Duration;

use uwarp::{Keepalive, Workers};
use uwarp_rsockets::Config;

/// The options of a stream. They are fixed when its set-up begins.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Octets of the ring that the peer writes into, an even number from 2 to 2^30 - 2.
    pub recv_buffer: u32,
    /// Octets that may be written and not yet be taken by TCP, at least 1.
    pub send_buffer: u32,
    /// Messages that the peer may send before it is given more, 16 to 65,534. Each needs a posted receive, some 800
    /// octets of memory.
    pub credits: u16,
    /// Writes and Sends of the stream that may be posted and incomplete, at least 8.
    pub send_queue: u32,
    /// One-sided operations beside the stream that may be posted and incomplete, or whose completions have not been
    /// taken.
    pub one_sided_queue: u32,
    /// Buffers that the peer's program may name for [`write_mapped`](crate::StreamSocket::write_mapped): 0 to 128, or a
    /// multiple of 256 up to 32,512.
    pub iomap: u16,
    /// Whether a CRC32c protects each FPDU. It is off only when both ends decline it.
    pub crc: bool,
    /// How long the peer may take for the set-up.
    pub startup_timeout: Duration,
    /// How long the peer may take to close TCP when the stream has ended.
    pub close_timeout: Duration,
    /// How a silently dead peer is found; `None` leaves it to TCP's own patience.
    pub keepalive: Option<Keepalive>,
    /// The workers that drive the stream; `None` for the process's own.
    pub workers: Option<Workers>,
    /// RDMA Reads and atomic operations beside the stream that may be outstanding, each way.
    pub read_depth: u16,
}

impl Default for StreamOptions {
    /// Rings of 512 and 256 KiB, with which bulk data keeps flowing while threads sleep and wake; 48 credits and queues
    /// of 56 and 7, which keep an idle connection small; and TCP's own patience, as a program over TCP has it.
    fn default() -> Self {
        Self {
            recv_buffer: 1 << 19,
            send_buffer: 1 << 18,
            credits: 48,
            send_queue: 56,
            one_sided_queue: 7,
            iomap: 0,
            crc: true,
            startup_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            keepalive: None,
            workers: None,
            read_depth: 8,
        }
    }
}

impl StreamOptions {
    /// What the protocol has to know of them.
    pub(crate) fn config(&self) -> Config {
        Config {
            receive_ring: self.recv_buffer,
            send_ring: self.send_buffer,
            credits: self.credits,
            send_queue: self.send_queue,
            write_max: WRITE_MAX,
            iomap: self.iomap,
        }
    }
}

/// Octets of one RDMA Write of the stream.
const WRITE_MAX: u32 = 1 << 16;

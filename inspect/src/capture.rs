//! Packets out of a capture file, pcap or pcapng.

use std::io::Read;

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use thiserror::Error;

/// Octets asked for at a time.
const BUFFER: usize = 1 << 18;

/// The largest block that is believed; a packet of 64 KiB is far below.
const BLOCK_MAX: usize = 16 << 20;

/// Interfaces of a pcapng section that are remembered.
const INTERFACES_MAX: usize = 4096;

const NANOS: u64 = 1_000_000_000;

/// One packet as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// What `octets` begin with: a LINKTYPE of the pcap format.
    pub link: i32,
    /// The octets that were kept.
    pub octets: &'a [u8],
    /// How many octets the packet had.
    pub original: usize,
}

/// A capture that cannot be read.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It is in no format that we know.
    #[error("this is neither a pcap nor a pcapng capture")]
    Format,
    /// The file cannot be read.
    #[error("the capture cannot be read to its end")]
    Read,
    /// A block makes no sense, or is too large to be one.
    #[error("the capture is damaged behind octet {0}")]
    Damaged(usize),
}

/// How a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind a packet.
    Whole,
    /// Inside a packet: whoever wrote it was interrupted.
    Cut,
}

/// Time and link type of one interface, as pcapng describes them.
struct Interface {
    link: i32,
    /// Units per second.
    resolution: u64,
    offset: i64,
}

/// What the packets that follow are to be read by.
#[derive(Default)]
struct Context {
    interfaces: Vec<Interface>,
    nanoseconds: bool,
    link: i32,
}

/// Gives every packet of a capture to `each`, in the order of the file.
///
/// # Errors
/// When the capture is in no known format, or damaged.
pub fn read(
    source: impl Read + Send,
    mut each: impl FnMut(&Packet<'_>),
) -> Result<End, CaptureError> {
    let mut reader = create_reader(BUFFER, source).map_err(|error| match error {
        PcapError::ReadError => CaptureError::Read,
        _ => CaptureError::Format,
    })?;
    let mut context = Context::default();
    let mut size = BUFFER;
    loop {
        let starved = match reader.next() {
            Ok((used, block)) => {
                context.block(&block, &mut each);
                reader.consume(used);
                false
            }
            Err(PcapError::Eof) => return Ok(End::Whole),
            Err(PcapError::UnexpectedEof) => return Ok(End::Cut),
            Err(PcapError::ReadError) => return Err(CaptureError::Read),
            Err(PcapError::Incomplete(_)) => true,
            Err(_) => return Err(CaptureError::Damaged(reader.consumed())),
        };
        if !starved {
            continue;
        }
        if reader.reader_exhausted() {
            return Ok(End::Cut);
        }
        // A block that fills most of the buffer needs a larger one.
        if reader.data().len() * 2 > size {
            size *= 2;
            if size > BLOCK_MAX || !reader.grow(size) {
                return Err(CaptureError::Damaged(reader.consumed()));
            }
        }
        reader.refill().map_err(|_| CaptureError::Read)?;
    }
}

impl Context {
    fn block(&mut self, block: &PcapBlockOwned<'_>, each: &mut impl FnMut(&Packet<'_>)) {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.nanoseconds = header.is_nanosecond_precision();
                self.link = header.network.0;
            }
            PcapBlockOwned::Legacy(packet) => {
                let unit = if self.nanoseconds { 1 } else { 1000 };
                each(&Packet {
                    time: u64::from(packet.ts_sec) * NANOS + u64::from(packet.ts_usec) * unit,
                    link: self.link,
                    octets: packet.data,
                    original: packet.origlen as usize,
                });
            }
            PcapBlockOwned::NG(block) => self.block_ng(block, each),
        }
    }

    fn block_ng(&mut self, block: &Block<'_>, each: &mut impl FnMut(&Packet<'_>)) {
        match block {
            Block::SectionHeader(_) => self.interfaces.clear(),
            Block::InterfaceDescription(interface) if self.interfaces.len() < INTERFACES_MAX => {
                self.interfaces.push(Interface {
                    link: interface.linktype.0,
                    resolution: interface.ts_resolution().unwrap_or(1_000_000).max(1),
                    offset: interface.ts_offset(),
                });
            }
            Block::EnhancedPacket(packet) => {
                if let Some(interface) = self.interfaces.get(packet.if_id as usize) {
                    let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                    each(&Packet {
                        time: interface.nanoseconds(ticks),
                        link: interface.link,
                        octets: packet.packet_data(),
                        original: packet.origlen as usize,
                    });
                }
            }
            // It has no time of its own.
            Block::SimplePacket(packet) => {
                if let Some(interface) = self.interfaces.first() {
                    let octets = packet.packet_data();
                    let len = octets.len().min(packet.origlen as usize);
                    each(&Packet {
                        time: 0,
                        link: interface.link,
                        octets: &octets[..len],
                        original: packet.origlen as usize,
                    });
                }
            }
            _ => {}
        }
    }
}

impl Interface {
    fn nanoseconds(&self, ticks: u64) -> u64 {
        let nanos = u128::from(ticks) * u128::from(NANOS) / u128::from(self.resolution);
        let offset = i128::from(self.offset) * i128::from(NANOS);
        u64::try_from(nanos as i128 + offset).unwrap_or_default()
    }
}

/// The link types whose packets are understood.
pub(crate) mod link {
    use super::Linktype;

    pub(crate) const NULL: i32 = Linktype::NULL.0;
    pub(crate) const ETHERNET: i32 = Linktype::ETHERNET.0;
    pub(crate) const RAW: i32 = Linktype::RAW.0;
    pub(crate) const LOOP: i32 = 108;
    pub(crate) const LINUX_SLL: i32 = 113;
    pub(crate) const IPV4: i32 = 228;
    pub(crate) const IPV6: i32 = 229;
    pub(crate) const LINUX_SLL2: i32 = 276;
}

//! Packets out of a capture file, pcap or pcapng.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use thiserror::Error;

/// Octets asked for at a time.
const BUFFER: usize = 1 << 18;

/// The largest block that is believed; a packet of 64 KiB is far below.
const BLOCK_MAX: usize = 16 << 20;

/// Interfaces of a pcapng section that are remembered.
const INTERFACES_MAX: usize = 4096;

/// Octets of the shortest header of a capture.
const HEADER_MIN: usize = 24;

/// The bits of a link type in the header of a pcap file; the others tell of checksums.
const LINK_MASK: i32 = 0xffff;

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

/// A capture that cannot be read: why, and what to do.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It is in no format that we know.
    #[error(
        "this is neither a pcap nor a pcapng capture; make one with `tcpdump -w FILE tcp`, or save it as one of these from the tool that made it"
    )]
    Format,
    /// It is compressed.
    #[error("this is compressed by {0}; unpack it first")]
    Compressed(&'static str),
    /// There is nothing, or not enough to tell what it is.
    #[error(
        "the file has only {0} octets, fewer than the header of a capture; was the capture stopped before it began?"
    )]
    Empty(usize),
    /// The file cannot be read.
    #[error("the capture cannot be read to its end: {0}")]
    Read(String),
    /// A block makes no sense, or is too large to be one.
    #[error(
        "the capture is damaged behind octet {0}; what is before is shown, the rest may be saved by `editcap` or `pcapfix`"
    )]
    Damaged(usize),
    /// No packet could be looked into.
    #[error(
        "all packets are of link type {0}, which is not understood; capture on an Ethernet, loopback, raw IP or Linux cooked (`-i any`) interface"
    )]
    Link(i32),
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

/// A source that remembers why reading failed, which the parser does not tell.
struct Source<R> {
    source: R,
    failed: Arc<Mutex<Option<String>>>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.read(buf).inspect_err(|error| {
            if let Ok(mut failed) = self.failed.lock() {
                *failed = Some(error.to_string());
            }
        })
    }
}

/// Gives every packet of a capture to `each`, in the order of the file.
///
/// # Errors
/// When the capture is in no known format, or damaged. What is before the damage has been given.
pub fn read(
    mut source: impl Read + Send,
    mut each: impl FnMut(&Packet<'_>),
) -> Result<End, CaptureError> {
    let failed = Arc::new(Mutex::new(None));
    let read_error = || {
        let why = failed.lock().ok().and_then(|mut failed| failed.take());
        CaptureError::Read(why.unwrap_or_else(|| "unknown error".to_owned()))
    };
    let start = first_block(&mut source)?;
    let source = Source {
        source: io::Cursor::new(start).chain(source),
        failed: Arc::clone(&failed),
    };
    let mut reader = create_reader(BUFFER, source).map_err(|error| match error {
        PcapError::ReadError => read_error(),
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
            Err(PcapError::ReadError) => return Err(read_error()),
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
        reader.refill().map_err(|_| read_error())?;
    }
}

/// The first block of the file, as a whole: the parser does not come back for more of it.
fn first_block(source: &mut impl Read) -> Result<Vec<u8>, CaptureError> {
    let mut start = Vec::new();
    let mut fill = |start: &mut Vec<u8>, len: usize| {
        let missing = len.saturating_sub(start.len());
        source
            .take(missing as u64)
            .read_to_end(start)
            .map_err(|error| CaptureError::Read(error.to_string()))
    };
    fill(&mut start, HEADER_MIN)?;
    check_start(&start)?;
    if let &[0x0a, 0x0d, 0x0d, 0x0a, l0, l1, l2, l3, order, ..] = start.as_slice() {
        // Of the byte-order magic the first octet is enough.
        let len = if order == 0x1a {
            u32::from_be_bytes([l0, l1, l2, l3])
        } else {
            u32::from_le_bytes([l0, l1, l2, l3])
        };
        fill(&mut start, (len as usize).min(BUFFER))?;
    }
    Ok(start)
}

/// Whether a file that begins like this may be a capture.
fn check_start(start: &[u8]) -> Result<(), CaptureError> {
    let compressed = match start {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("lz4"),
        _ => None,
    };
    if let Some(by) = compressed {
        return Err(CaptureError::Compressed(by));
    }
    // The magic numbers of pcap with microseconds and nanoseconds, and of pcapng, in both byte orders.
    let known = match start.first_chunk::<4>() {
        None => start.is_empty(),
        Some(magic) => matches!(
            u32::from_le_bytes(*magic),
            0xa1b2_c3d4 | 0xd4c3_b2a1 | 0xa1b2_3c4d | 0x4d3c_b2a1 | 0x0a0d_0d0a
        ),
    };
    if !known {
        return Err(CaptureError::Format);
    }
    if start.len() < HEADER_MIN {
        return Err(CaptureError::Empty(start.len()));
    }
    Ok(())
}

impl Context {
    fn block(&mut self, block: &PcapBlockOwned<'_>, each: &mut impl FnMut(&Packet<'_>)) {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.nanoseconds = header.is_nanosecond_precision();
                self.link = header.network.0 & LINK_MASK;
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

    /// Whether packets of this type can be looked into.
    pub(crate) fn is_known(link: i32) -> bool {
        matches!(
            link,
            NULL | ETHERNET | RAW | LOOP | LINUX_SLL | IPV4 | IPV6 | LINUX_SLL2
        )
    }

    pub(crate) const NULL: i32 = Linktype::NULL.0;
    pub(crate) const ETHERNET: i32 = Linktype::ETHERNET.0;
    pub(crate) const RAW: i32 = Linktype::RAW.0;
    pub(crate) const LOOP: i32 = 108;
    pub(crate) const LINUX_SLL: i32 = 113;
    pub(crate) const IPV4: i32 = 228;
    pub(crate) const IPV6: i32 = 229;
    pub(crate) const LINUX_SLL2: i32 = 276;
}

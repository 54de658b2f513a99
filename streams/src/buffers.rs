//! The registered memory of a stream.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::OnceLock;

use uwarp::{Domain, Memory, Region, Rights, Sge, SpanError};
use uwarp_rsockets::{
    ENTRY_LEN, IOMAP_ENTRY_LEN, MESSAGE_LEN, Memory as Places, Place, TABLE_ENTRIES, pieces,
};

use crate::options::StreamOptions;

/// Octets that each request has for a small source: an entry of the peer's table or iomap, or a message.
const SLOT_LEN: usize = IOMAP_ENTRY_LEN;

/// The regions of a stream, in a domain of its own: nothing of it can be reached over another socket.
#[derive(Debug)]
pub(crate) struct Buffers {
    domain: Domain,
    /// Written by the peer, and nothing else beside it.
    table: Region,
    /// Written by the peer.
    ring: Region,
    /// Made at the first write.
    send_ring: OnceLock<Region>,
    /// Of the posted receives, and behind them of the posted requests.
    slots: Region,
    receives: u32,
    recv_len: u32,
    send_len: u32,
    iomap: u16,
}

impl Buffers {
    pub(crate) fn new(options: &StreamOptions) -> io::Result<Self> {
        let config = options.config();
        let domain = Domain::new();
        let register = |memory: Memory, rights| {
            domain
                .register(memory, rights)
                .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))
        };
        let slots =
            config.receives() as usize * MESSAGE_LEN + options.send_queue as usize * SLOT_LEN;
        Ok(Self {
            table: register(vec![0; config.table_len()].into(), Rights::REMOTE_WRITE)?,
            ring: register(pages(options.recv_buffer)?, Rights::REMOTE_WRITE)?,
            send_ring: OnceLock::new(),
            slots: register(vec![0; slots].into(), Rights::empty())?,
            receives: config.receives(),
            recv_len: options.recv_buffer,
            send_len: options.send_buffer,
            iomap: options.iomap,
            domain,
        })
    }

    pub(crate) fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Receives to keep posted.
    pub(crate) fn receives(&self) -> u32 {
        self.receives
    }

    /// Octets of the send ring.
    pub(crate) fn send_len(&self) -> u32 {
        self.send_len
    }

    /// Where the peer finds what it writes into; `None` in a forked child.
    pub(crate) fn places(&self) -> Option<Places> {
        let place = |region: &Region| {
            region.remote().map(|remote| Place {
                to: remote.to,
                stag: remote.stag.0,
            })
        };
        Some(Places {
            table: place(&self.table)?,
            ring: place(&self.ring)?,
        })
    }

    /// The buffer of a receive.
    pub(crate) fn receive(&self, index: u32) -> Result<Sge, SpanError> {
        let start = index as usize * MESSAGE_LEN;
        self.slots.slice(start..start + MESSAGE_LEN)
    }

    /// What a receive has brought.
    pub(crate) fn received(&self, index: u32) -> [u8; MESSAGE_LEN] {
        let mut octets = [0; MESSAGE_LEN];
        let read = self
            .slots
            .read_at(u64::from(index) * MESSAGE_LEN as u64, &mut octets);
        debug_assert!(read.is_ok(), "the receive was posted with this buffer");
        octets
    }

    /// Puts the small source of a request into its slot.
    pub(crate) fn small(&self, slot: u32, octets: &[u8]) -> Result<Sge, SpanError> {
        let start = self.receives as usize * MESSAGE_LEN + slot as usize * SLOT_LEN;
        self.slots.write_at(start as u64, octets)?;
        self.slots.slice(start..start + octets.len())
    }

    /// Takes an entry out of our table. The peer may be writing it, so it is read until two readings agree.
    pub(crate) fn take_entry(&self, index: u32) -> [u8; ENTRY_LEN] {
        let at = u64::from(index) * ENTRY_LEN as u64;
        let look = || {
            let mut entry = [0; ENTRY_LEN];
            let read = self.table.read_at(at, &mut entry);
            debug_assert!(read.is_ok(), "the table has two entries");
            entry
        };
        let mut entry = look();
        // A peer that writes all the time gets what it deserves, but does not hold us up.
        for _ in 0..100 {
            let again = look();
            if again == entry {
                break;
            }
            entry = again;
        }
        let cleared = self.table.write_at(at, &[0; ENTRY_LEN]);
        debug_assert!(cleared.is_ok(), "the table has two entries");
        entry
    }

    /// The entries of our iomap, as they are now.
    pub(crate) fn iomap(&self) -> impl Iterator<Item = [u8; IOMAP_ENTRY_LEN]> {
        (0..u64::from(self.iomap)).map(|index| {
            let at = u64::from(TABLE_ENTRIES) * ENTRY_LEN as u64 + index * IOMAP_ENTRY_LEN as u64;
            let mut entry = [0; IOMAP_ENTRY_LEN];
            let read = self.table.read_at(at, &mut entry);
            debug_assert!(read.is_ok(), "the iomap lies behind the table");
            entry
        })
    }

    /// Octets of the program's as the source of one Write, which keeps them.
    pub(crate) fn copied(&self, octets: &[u8]) -> io::Result<Sge> {
        let region = self
            .domain
            .register(octets.to_vec(), Rights::empty())
            .map_err(io::Error::other)?;
        region.slice(..).map_err(io::Error::other)
    }

    /// Where the octets `range` of the stream lie in the send ring.
    pub(crate) fn data(&self, range: Range<u64>) -> io::Result<Vec2> {
        let ring = self.send_ring()?;
        let mut list = Vec2::default();
        for (place, piece) in list.0.iter_mut().zip(pieces(range, self.send_len)) {
            if !piece.is_empty() {
                let piece = piece.start as usize..piece.end as usize;
                *place = Some(ring.slice(piece).map_err(io::Error::other)?);
            }
        }
        Ok(list)
    }

    fn send_ring(&self) -> io::Result<&Region> {
        if let Some(ring) = self.send_ring.get() {
            return Ok(ring);
        }
        let ring = self
            .domain
            .register(pages(self.send_len)?, Rights::empty())
            .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        Ok(self.send_ring.get_or_init(|| ring))
    }

    /// Copies octets out of `bufs`, from `skip` on, to the place of `range` in the send ring.
    pub(crate) fn fill(
        &self,
        range: Range<u64>,
        bufs: &[IoSlice<'_>],
        skip: usize,
    ) -> io::Result<()> {
        let ring = self.send_ring()?;
        let mut sources = Cursor::new(bufs.iter().map(|buf| &buf[..]), skip);
        for piece in pieces(range, self.send_len) {
            let mut at = u64::from(piece.start);
            while at < u64::from(piece.end) {
                let wanted = (u64::from(piece.end) - at) as usize;
                let Some(octets) = sources.take(wanted) else {
                    return Ok(());
                };
                ring.write_at(at, octets).map_err(io::Error::other)?;
                at += octets.len() as u64;
            }
        }
        Ok(())
    }

    /// Copies the octets `range` of what has been received into `bufs`; returns how many fitted.
    pub(crate) fn drain(
        &self,
        range: Range<u64>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        let mut count = 0;
        let mut bufs = bufs.iter_mut();
        let mut room: &mut [u8] = &mut [];
        for piece in pieces(range, self.recv_len) {
            let mut at = u64::from(piece.start);
            while at < u64::from(piece.end) {
                if room.is_empty() {
                    match bufs.next() {
                        Some(buf) => room = buf,
                        None => return Ok(count),
                    }
                    continue;
                }
                let len = room.len().min((u64::from(piece.end) - at) as usize);
                let (now, rest) = room.split_at_mut(len);
                self.ring.read_at(at, now).map_err(io::Error::other)?;
                room = rest;
                at += len as u64;
                count += len;
            }
        }
        Ok(count)
    }
}

/// Up to two pieces of a ring.
#[derive(Debug, Default)]
pub(crate) struct Vec2([Option<Sge>; 2]);

impl Vec2 {
    /// Calls `act` with the pieces as a gather list.
    pub(crate) fn with<R>(self, act: impl FnOnce(&[Sge]) -> R) -> R {
        match self.0 {
            [Some(first), Some(second)] => act(&[first, second]),
            [Some(only), None] | [None, Some(only)] => act(&[only]),
            [None, None] => act(&[]),
        }
    }
}

/// Zeroed pages, which cost nothing before they are used.
fn pages(len: u32) -> io::Result<Memory> {
    Memory::zeroed(len as usize).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))
}

/// Goes through the octets of several buffers.
struct Cursor<'a, I> {
    bufs: I,
    current: &'a [u8],
    skip: usize,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Cursor<'a, I> {
    fn new(bufs: I, skip: usize) -> Self {
        Self {
            bufs,
            current: &[],
            skip,
        }
    }

    /// The next octets that lie together, at least 1 and at most `len` of them.
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        while self.current.is_empty() {
            let next = self.bufs.next()?;
            let skipped = self.skip.min(next.len());
            self.skip -= skipped;
            self.current = &next[skipped..];
        }
        let (now, rest) = self.current.split_at(len.min(self.current.len()));
        self.current = rest;
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers() -> Buffers {
        Buffers::new(&StreamOptions {
            recv_buffer: 8,
            send_buffer: 8,
            ..StreamOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn octets_go_round_the_rings() {
        let buffers = buffers();
        let bufs = [b"ab".as_slice(), b"", b"cdef", b"gh"].map(IoSlice::new);
        buffers.fill(6..12, &bufs, 1).unwrap();
        let list = buffers.data(6..12).unwrap();
        assert_eq!(list.with(|list| list.iter().map(Sge::len).sum::<u32>()), 6);
        let mut octets = [0; 8];
        buffers
            .send_ring()
            .unwrap()
            .read_at(0, &mut octets)
            .unwrap();
        assert_eq!(&octets, b"defg\0\0bc");
    }

    #[test]
    fn what_was_received_is_spread_over_the_buffers() {
        let buffers = buffers();
        buffers.ring.write_at(0, b"01234567").unwrap();
        let (mut one, mut two, mut three) = ([0; 3], [0; 0], [0; 4]);
        let mut bufs = [&mut one[..], &mut two, &mut three].map(IoSliceMut::new);
        assert_eq!(buffers.drain(13..18, &mut bufs).unwrap(), 5);
        assert_eq!((&one, &three), (b"567", b"01\0\0"));
        assert_eq!(
            buffers
                .drain(8..16, &mut [IoSliceMut::new(&mut one)])
                .unwrap(),
            3
        );
        assert_eq!(&one, b"012");
    }

    #[test]
    fn an_entry_is_taken_once() {
        let buffers = buffers();
        buffers.table.write_at(16, &[7; 16]).unwrap();
        assert_eq!(buffers.take_entry(0), [0; 16]);
        assert_eq!(buffers.take_entry(1), [7; 16]);
        assert_eq!(buffers.take_entry(1), [0; 16]);
    }
}

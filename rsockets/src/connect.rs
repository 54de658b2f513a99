//! What both ends tell each other in the private data of the connection's set-up.

use crate::config::Config;
use crate::entry::{ENTRY_LEN, Entry, IOMAP_ENTRY_LEN, Place};
use crate::error::{ConfigError, ConnectError};
use crate::order::ByteOrder;

/// Octets of the private data.
pub const PRIVATE_DATA_LEN: usize = 40;

/// Entries of our target table. There is never more to hand out than the two halves of the ring.
pub const TABLE_ENTRIES: u32 = 2;

/// The only version that there is.
const VERSION: u8 = 1;

/// Fewest credits of a peer with which data and grants find room beside each other.
const PEER_CREDITS_MIN: u16 = 8;

const FLAG_NET: u8 = 0x01;
const FLAG_IOMAP: u8 = 0x02;

/// Where our memory is that the peer writes into, as the peer reaches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The target table, with the iomap right behind it: [`Config::table_len`] octets, all zero.
    pub table: Place,
    /// The receive ring: [`Config::receive_ring`] octets.
    pub ring: Place,
}

/// The private data of one end. It has the same form in both directions, and is big-endian throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The order in which the sender's words will be.
    pub order: ByteOrder,
    /// Messages that may be sent to it before its first grant.
    pub credits: u16,
    /// Entries of its iomap.
    pub iomap: u16,
    /// Its target table; the length counts entries of 16 octets.
    pub table: Entry,
    /// The first buffer that it hands out.
    pub buffer: Entry,
}

impl Hello {
    /// What an end of this configuration says.
    ///
    /// # Errors
    /// A size out of its range, or memory that does not fit behind its tagged offset.
    pub fn ours(config: &Config, memory: &Memory, order: ByteOrder) -> Result<Self, ConfigError> {
        config.check()?;
        let fits = |place: Place, len: u64| place.to.checked_add(len).is_some();
        if !fits(memory.table, config.table_len() as u64)
            || !fits(memory.ring, u64::from(config.receive_ring))
        {
            return Err(ConfigError::Place);
        }
        Ok(Self {
            order,
            credits: config.credits,
            iomap: config.iomap,
            table: Entry {
                place: memory.table,
                len: TABLE_ENTRIES,
            },
            buffer: Entry {
                place: memory.ring,
                len: config.receive_ring / 2,
            },
        })
    }

    /// The octets of the private data.
    #[must_use]
    pub fn encode(&self) -> [u8; PRIVATE_DATA_LEN] {
        let mut out = [0; PRIVATE_DATA_LEN];
        out[0] = VERSION;
        out[1] = FLAG_IOMAP
            | match self.order {
                ByteOrder::Little => 0,
                ByteOrder::Big => FLAG_NET,
            };
        out[2..4].copy_from_slice(&self.credits.to_be_bytes());
        // Small numbers stand for themselves, large ones for multiples of 256.
        out[7] = if self.iomap <= 128 {
            self.iomap as u8
        } else {
            0x80 | (self.iomap >> 8) as u8
        };
        out[8..24].copy_from_slice(&self.table.encode(ByteOrder::Big));
        out[24..].copy_from_slice(&self.buffer.encode(ByteOrder::Big));
        out
    }

    /// Reads a peer's private data. What follows the 40 octets is ignored.
    ///
    /// # Errors
    /// When it is not of this protocol, or says something that no stream can be made of.
    pub fn decode(octets: &[u8]) -> Result<Self, ConnectError> {
        let Some(octets) = octets.first_chunk::<PRIVATE_DATA_LEN>() else {
            return Err(ConnectError::Short(octets.len()));
        };
        if octets[0] != VERSION {
            return Err(ConnectError::Version(octets[0]));
        }
        let flags = octets[1];
        let (mut table, mut buffer) = ([0; ENTRY_LEN], [0; ENTRY_LEN]);
        table.copy_from_slice(&octets[8..24]);
        buffer.copy_from_slice(&octets[24..]);
        let hello = Self {
            order: if flags & FLAG_NET == 0 {
                ByteOrder::Little
            } else {
                ByteOrder::Big
            },
            credits: u16::from_be_bytes([octets[2], octets[3]]),
            iomap: match octets[7] {
                _ if flags & FLAG_IOMAP == 0 => 0,
                size if size <= 128 => u16::from(size),
                size => u16::from(size & 0x7f) << 8,
            },
            table: Entry::decode(table, ByteOrder::Big),
            buffer: Entry::decode(buffer, ByteOrder::Big),
        };
        hello.check()
    }

    fn check(self) -> Result<Self, ConnectError> {
        if self.credits < PEER_CREDITS_MIN {
            return Err(ConnectError::Credits(self.credits));
        }
        if self.table.len < TABLE_ENTRIES {
            return Err(ConnectError::Table(self.table.len));
        }
        let table_len = u64::from(self.table.len) * ENTRY_LEN as u64
            + u64::from(self.iomap) * IOMAP_ENTRY_LEN as u64;
        if self.table.place.to.checked_add(table_len).is_none() || !self.buffer.is_sound() {
            return Err(ConnectError::Place);
        }
        Ok(self)
    }

    /// Where the entry with this index of its target table is.
    pub(crate) fn entry_place(&self, index: u32) -> Place {
        self.table.place.plus(u64::from(index) * ENTRY_LEN as u64)
    }

    /// Where the entry with this index of its iomap is.
    pub(crate) fn iomap_place(&self, index: u16) -> Place {
        self.entry_place(self.table.len)
            .plus(u64::from(index) * IOMAP_ENTRY_LEN as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Request of a client, from a capture.
    const CAPTURED: &str = "0102018000000000\
                            0000555d653ac000310c220000000002\
                            00007f0e696060001f59f80000080000";

    fn captured() -> Hello {
        Hello {
            order: ByteOrder::Little,
            credits: 384,
            iomap: 0,
            table: Entry {
                place: Place {
                    to: 0x555d_653a_c000,
                    stag: 0x310c_2200,
                },
                len: 2,
            },
            buffer: Entry {
                place: Place {
                    to: 0x7f0e_6960_6000,
                    stag: 0x1f59_f800,
                },
                len: 524_288,
            },
        }
    }

    #[test]
    fn private_data_is_that_of_a_capture() {
        let octets = hex::decode(CAPTURED).expect("it is hex");
        assert_eq!(Hello::decode(&octets), Ok(captured()));
        assert_eq!(captured().encode().as_slice(), octets);
        let config = Config {
            receive_ring: 1 << 20,
            ..Config::default()
        };
        let memory = Memory {
            table: captured().table.place,
            ring: captured().buffer.place,
        };
        assert_eq!(
            Hello::ours(&config, &memory, ByteOrder::Little),
            Ok(captured())
        );
    }

    #[test]
    fn what_follows_is_ignored_and_what_lacks_is_not() {
        let mut octets = hex::decode(CAPTURED).expect("it is hex");
        octets.push(9);
        assert_eq!(Hello::decode(&octets), Ok(captured()));
        for len in 0..PRIVATE_DATA_LEN {
            assert_eq!(Hello::decode(&octets[..len]), Err(ConnectError::Short(len)));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good: [u8; PRIVATE_DATA_LEN] = captured().encode();
        let with = |at: usize, octets: &[u8]| {
            let mut changed = good;
            changed[at..at + octets.len()].copy_from_slice(octets);
            Hello::decode(&changed).err()
        };
        assert_eq!(with(0, &[2]), Some(ConnectError::Version(2)));
        assert_eq!(with(2, &[0, 7]), Some(ConnectError::Credits(7)));
        assert_eq!(with(2, &[0, 8]), None);
        assert_eq!(with(20, &[0, 0, 0, 1]), Some(ConnectError::Table(1)));
        assert_eq!(with(20, &[0, 0, 0, 3]), None);
        assert_eq!(with(8, &[0xff; 8]), Some(ConnectError::Place));
        assert_eq!(with(24, &[0xff; 8]), Some(ConnectError::Place));
        assert_eq!(with(36, &[0; 4]), Some(ConnectError::Place));
        // Flags that nobody knows are no reason to refuse.
        assert_eq!(with(1, &[0xfe]), None);
    }

    #[test]
    fn the_size_of_an_iomap_is_rounded_in_one_octet() {
        for size in [0, 1, 128, 256, 512, 127 << 8] {
            let hello = Hello {
                iomap: size,
                ..captured()
            };
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
        let mut octets = captured().encode();
        (octets[1], octets[7]) = (0, 5);
        assert_eq!(Hello::decode(&octets).map(|hello| hello.iomap), Ok(0));
    }

    #[test]
    fn places_follow_one_another_in_the_table() {
        let hello = captured();
        assert_eq!(hello.entry_place(1).to, 0x555d_653a_c010);
        assert_eq!(hello.iomap_place(0).to, 0x555d_653a_c020);
        assert_eq!(hello.iomap_place(2).to, 0x555d_653a_c050);
    }

    #[test]
    fn memory_at_the_end_of_the_offsets_is_refused() {
        let memory = Memory {
            table: Place {
                to: u64::MAX,
                stag: 1,
            },
            ring: Place::default(),
        };
        assert_eq!(
            Hello::ours(&Config::default(), &memory, ByteOrder::Little),
            Err(ConfigError::Place)
        );
    }
}

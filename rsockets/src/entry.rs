//! What one end writes into the other's table: places that octets may be written to.

use crate::order::ByteOrder;

/// Octets of an entry of the target table.
pub const ENTRY_LEN: usize = 16;

/// Octets of an entry of the iomap.
pub const IOMAP_ENTRY_LEN: usize = 24;

/// A place in a peer's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Tagged offset of its first octet.
    pub to: u64,
    /// Its STag.
    pub stag: u32,
}

impl Place {
    /// The place `by` octets further on.
    #[must_use]
    pub(crate) const fn plus(self, by: u64) -> Self {
        Self {
            // Whoever makes a place looks whether all of it can be addressed.
            to: self.to.wrapping_add(by),
            stag: self.stag,
        }
    }
}

/// A buffer: address, key, length, as they lie in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins.
    pub place: Place,
    /// Its octets; 0 says that there is none.
    pub len: u32,
}

impl Entry {
    /// The octets of the entry.
    #[must_use]
    pub fn encode(self, order: ByteOrder) -> [u8; ENTRY_LEN] {
        let mut out = [0; ENTRY_LEN];
        out[..8].copy_from_slice(&order.u64_to(self.place.to));
        out[8..12].copy_from_slice(&order.u32_to(self.place.stag));
        out[12..].copy_from_slice(&order.u32_to(self.len));
        out
    }

    /// Reads an entry.
    #[must_use]
    pub const fn decode(octets: [u8; ENTRY_LEN], order: ByteOrder) -> Self {
        let [t0, t1, t2, t3, t4, t5, t6, t7, rest @ ..] = octets;
        let [s0, s1, s2, s3, l0, l1, l2, l3] = rest;
        Self {
            place: Place {
                to: order.u64_from([t0, t1, t2, t3, t4, t5, t6, t7]),
                stag: order.u32_from([s0, s1, s2, s3]),
            },
            len: order.u32_from([l0, l1, l2, l3]),
        }
    }

    /// Whether it names octets at all, and all of them can be addressed.
    pub(crate) const fn is_sound(self) -> bool {
        self.len > 0 && self.place.to.checked_add(self.len as u64).is_some()
    }
}

/// A buffer that the program at the other end has given a name: an offset of its own choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IomapEntry {
    /// The name of its first octet.
    pub offset: u64,
    /// The buffer.
    pub buffer: Entry,
}

impl IomapEntry {
    /// The octets of the entry.
    #[must_use]
    pub fn encode(self, order: ByteOrder) -> [u8; IOMAP_ENTRY_LEN] {
        let mut out = [0; IOMAP_ENTRY_LEN];
        out[..8].copy_from_slice(&order.u64_to(self.offset));
        out[8..].copy_from_slice(&self.buffer.encode(order));
        out
    }

    /// Reads an entry.
    #[must_use]
    pub const fn decode(octets: [u8; IOMAP_ENTRY_LEN], order: ByteOrder) -> Self {
        let [o0, o1, o2, o3, o4, o5, o6, o7, buffer @ ..] = octets;
        Self {
            offset: order.u64_from([o0, o1, o2, o3, o4, o5, o6, o7]),
            buffer: Entry::decode(buffer, order),
        }
    }

    /// The place of the octet called `offset`, and how many octets there are from it on; `None` if it is
    /// not in this buffer.
    ///
    /// ```
    /// use uwarp_rsockets::{Entry, IomapEntry, Place};
    ///
    /// let buffer = Entry { place: Place { to: 4096, stag: 7 }, len: 100 };
    /// let entry = IomapEntry { offset: 1000, buffer };
    /// assert_eq!(entry.find(1040), Some((Place { to: 4136, stag: 7 }, 60)));
    /// assert_eq!(entry.find(1100), None);
    /// ```
    #[must_use]
    pub fn find(&self, offset: u64) -> Option<(Place, u32)> {
        let by = offset.checked_sub(self.offset)?;
        if by >= u64::from(self.buffer.len) || !self.buffer.is_sound() {
            return None;
        }
        Some((self.buffer.place.plus(by), self.buffer.len - by as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_that_of_a_capture() {
        // The first entry that a client wrote into its server's table.
        let entry = Entry {
            place: Place {
                to: 0x7f0e_6968_6000,
                stag: 0x1f59_f800,
            },
            len: 524_288,
        };
        let octets = hex::decode("006068690e7f000000f8591f00000800").expect("it is hex");
        assert_eq!(entry.encode(ByteOrder::Little).as_slice(), octets);
        let octets: [u8; ENTRY_LEN] = octets.try_into().expect("16 octets");
        assert_eq!(Entry::decode(octets, ByteOrder::Little), entry);
        let turned = entry.encode(ByteOrder::Big);
        assert_eq!(turned[..8], 0x7f0e_6968_6000_u64.to_be_bytes());
        assert_eq!(Entry::decode(turned, ByteOrder::Big), entry);
    }

    #[test]
    fn an_iomap_entry_has_its_name_first() {
        let entry = IomapEntry {
            offset: 3,
            buffer: Entry {
                place: Place { to: 5, stag: 7 },
                len: 9,
            },
        };
        let octets = entry.encode(ByteOrder::Little);
        assert_eq!(
            hex::encode(octets),
            "030000000000000005000000000000000700000009000000"
        );
        assert_eq!(IomapEntry::decode(octets, ByteOrder::Little), entry);
    }

    #[test]
    fn places_outside_an_iomap_entry_are_not_found() {
        let entry = |to, len| IomapEntry {
            offset: 10,
            buffer: Entry {
                place: Place { to, stag: 1 },
                len,
            },
        };
        assert_eq!(entry(0, 5).find(9), None);
        assert_eq!(entry(0, 5).find(15), None);
        assert_eq!(entry(0, 0).find(10), None);
        assert_eq!(entry(u64::MAX, 5).find(10), None);
        assert_eq!(
            entry(20, 5).find(14).map(|(place, len)| (place.to, len)),
            Some((24, 1))
        );
    }
}

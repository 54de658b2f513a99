//! The order of octets in words that are written as memory.

/// The order of octets in messages, in entries of the table and in entries of the iomap.
///
/// rsockets copies these from its memory as they are. The private data, by contrast, is always big-endian, and
/// says which order its sender has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant octet first: nearly every machine.
    #[default]
    Little,
    /// Most significant octet first.
    Big,
}

impl ByteOrder {
    pub(crate) const fn u32_to(self, word: u32) -> [u8; 4] {
        match self {
            Self::Little => word.to_le_bytes(),
            Self::Big => word.to_be_bytes(),
        }
    }

    pub(crate) const fn u32_from(self, octets: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        }
    }

    pub(crate) const fn u64_to(self, word: u64) -> [u8; 8] {
        match self {
            Self::Little => word.to_le_bytes(),
            Self::Big => word.to_be_bytes(),
        }
    }

    pub(crate) const fn u64_from(self, octets: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(octets),
            Self::Big => u64::from_be_bytes(octets),
        }
    }
}

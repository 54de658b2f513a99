//! Atomic operations: their headers, and what they do to a word (RFC 7306 s5).

use uwarp_ddp::Stag;
use zerocopy::byteorder::network_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Octets of an Atomic Request header.
pub const ATOMIC_REQUEST_LEN: usize = 52;
/// Octets of an Atomic Response header.
pub const ATOMIC_RESPONSE_LEN: usize = 12;
/// Octets of the word that an atomic operation works on; its address is a multiple of it.
pub const ATOMIC_WORD: u32 = 8;

const FETCH_ADD: u32 = 0x0;
const COMPARE_SWAP: u32 = 0x2;
const CODE_BITS: u32 = 0x0f;

/// What is done to a 64-bit word in one step (RFC 7306 s5.1).
///
/// Values are numbers; the word in memory has the byte order of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomicOperation {
    /// Adds, field by field.
    FetchAdd {
        /// What to add.
        add: u64,
        /// A bit that is 1 is the most significant one of a field: the carry out of it is dropped.
        /// 0 makes the word one field.
        mask: u64,
    },
    /// Compares some bits, and if they are equal replaces some bits.
    CompareSwap {
        /// What to compare with.
        compare: u64,
        /// The bits that are compared.
        compare_mask: u64,
        /// What to put in.
        swap: u64,
        /// The bits that are replaced.
        swap_mask: u64,
    },
}

impl AtomicOperation {
    /// The word after the operation.
    ///
    /// ```
    /// use uwarp_rdmap::AtomicOperation;
    /// // Two fields of 32 bits: the carry of the lower one is dropped.
    /// let add = AtomicOperation::FetchAdd { add: 1, mask: 0x8000_0000_8000_0000 };
    /// assert_eq!(add.apply(u64::MAX), 0xffff_ffff_0000_0000);
    /// ```
    #[must_use]
    pub const fn apply(&self, word: u64) -> u64 {
        match *self {
            Self::FetchAdd { add, mask } => {
                // Without the top bit of each field no carry leaves a field; the top bits are then
                // added without one. Out of bit 63 no carry goes anywhere.
                (word & !mask).wrapping_add(add & !mask) ^ ((word ^ add) & mask)
            }
            Self::CompareSwap {
                compare,
                compare_mask,
                swap,
                swap_mask,
            } => {
                if (compare ^ word) & compare_mask == 0 {
                    word ^ ((word ^ swap) & swap_mask)
                } else {
                    word
                }
            }
        }
    }
}

/// What an Atomic Request asks for (RFC 7306 s5.2.1).
///
/// ```text
/// +----------------------------------+
/// | reserved (28 bits) | AOpCode (4) |
/// | Request Identifier          (4)  |
/// | Remote STag                 (4)  |
/// | Remote Tagged Offset        (8)  |
/// | Add or Swap Data            (8)  |
/// | Add or Swap Mask            (8)  |
/// | Compare Data                (8)  |
/// | Compare Mask                (8)  |
/// +----------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtomicRequest {
    /// Comes back in the Response.
    pub id: u32,
    /// The responder's STag.
    pub stag: Stag,
    /// Tagged offset of the word.
    pub to: u64,
    /// What to do.
    pub operation: AtomicOperation,
}

/// An Atomic Request that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomicRequestError {
    /// It has another length.
    Length,
    /// Its AOpCode is none that is defined (X09).
    Operation(u8),
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RequestWire {
    code: U32,
    id: U32,
    stag: U32,
    to: U64,
    data: U64,
    mask: U64,
    compare: U64,
    compare_mask: U64,
}

impl AtomicRequest {
    /// Reads the header.
    ///
    /// # Errors
    /// When it has another length or an unknown operation.
    pub fn parse(octets: &[u8]) -> Result<Self, AtomicRequestError> {
        let wire = RequestWire::ref_from_bytes(octets).map_err(|_| AtomicRequestError::Length)?;
        let (data, mask) = (wire.data.get(), wire.mask.get());
        let operation = match wire.code.get() & CODE_BITS {
            FETCH_ADD => AtomicOperation::FetchAdd { add: data, mask },
            COMPARE_SWAP => AtomicOperation::CompareSwap {
                compare: wire.compare.get(),
                compare_mask: wire.compare_mask.get(),
                swap: data,
                swap_mask: mask,
            },
            other => return Err(AtomicRequestError::Operation(other as u8)),
        };
        Ok(Self {
            id: wire.id.get(),
            stag: Stag(wire.stag.get()),
            to: wire.to.get(),
            operation,
        })
    }

    /// The header as it goes on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; ATOMIC_REQUEST_LEN] {
        let (code, data, mask, compare, compare_mask) = match self.operation {
            // A FetchAdd compares with nothing, and says so in this form.
            AtomicOperation::FetchAdd { add, mask } => (FETCH_ADD, add, mask, 0, u64::MAX),
            AtomicOperation::CompareSwap {
                compare,
                compare_mask,
                swap,
                swap_mask,
            } => (COMPARE_SWAP, swap, swap_mask, compare, compare_mask),
        };
        let wire = RequestWire {
            code: U32::new(code),
            id: U32::new(self.id),
            stag: U32::new(self.stag.0),
            to: U64::new(self.to),
            data: U64::new(data),
            mask: U64::new(mask),
            compare: U64::new(compare),
            compare_mask: U64::new(compare_mask),
        };
        let mut out = [0; ATOMIC_REQUEST_LEN];
        out.copy_from_slice(wire.as_bytes());
        out
    }
}

/// The answer to an Atomic Request (RFC 7306 s5.2.2).
///
/// ```text
/// +----------------------------------+
/// | Original Request Identifier (4)  |
/// | Original Remote Data Value  (8)  |
/// +----------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtomicResponse {
    /// The Request's identifier.
    pub id: u32,
    /// The word before the operation.
    pub original: u64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ResponseWire {
    id: U32,
    original: U64,
}

impl AtomicResponse {
    /// Reads the header; `None` unless `octets` has exactly [`ATOMIC_RESPONSE_LEN`] octets.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let wire = ResponseWire::ref_from_bytes(octets).ok()?;
        Some(Self {
            id: wire.id.get(),
            original: wire.original.get(),
        })
    }

    /// The header as it goes on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; ATOMIC_RESPONSE_LEN] {
        let wire = ResponseWire {
            id: U32::new(self.id),
            original: U64::new(self.original),
        };
        let mut out = [0; ATOMIC_RESPONSE_LEN];
        out.copy_from_slice(wire.as_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_request_matches_its_vector() {
        let request = AtomicRequest {
            id: 7,
            stag: Stag(0x5566_7788),
            to: 0x2000,
            operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
        };
        let wire = "00000000000000075566778800000000000020000000000000000001\
                    00000000000000000000000000000000ffffffffffffffff";
        assert_eq!(hex::encode(request.encode()), wire);
        assert_eq!(
            AtomicRequest::parse(&hex::decode(wire).unwrap()),
            Ok(request)
        );
    }

    #[test]
    fn the_response_matches_its_vector() {
        let response = AtomicResponse {
            id: 7,
            original: 0x0123_4567_89ab_cdef,
        };
        assert_eq!(hex::encode(response.encode()), "000000070123456789abcdef");
        assert_eq!(AtomicResponse::parse(&response.encode()), Some(response));
        assert_eq!(AtomicResponse::parse(&[0; 11]), None);
        assert_eq!(AtomicResponse::parse(&[0; 13]), None);
    }

    #[test]
    fn other_lengths_and_operations_are_refused_and_reserved_bits_are_not() {
        assert_eq!(
            AtomicRequest::parse(&[0; 51]),
            Err(AtomicRequestError::Length)
        );
        assert_eq!(
            AtomicRequest::parse(&[0; 53]),
            Err(AtomicRequestError::Length)
        );
        let mut wire = [0; ATOMIC_REQUEST_LEN];
        for code in 0..16 {
            wire[..4].copy_from_slice(&(0xffff_fff0u32 | code).to_be_bytes());
            let known = matches!(code, FETCH_ADD | COMPARE_SWAP);
            let parsed = AtomicRequest::parse(&wire);
            assert_eq!(parsed.is_ok(), known, "{code}");
            assert!(known || parsed == Err(AtomicRequestError::Operation(code as u8)));
        }
    }

    #[test]
    fn the_published_results() {
        let add = |word: u64, add, mask| AtomicOperation::FetchAdd { add, mask }.apply(word);
        assert_eq!(add(u64::MAX, 1, 0), 0);
        assert_eq!(
            add(u64::MAX, 1, 0x8000_0000_8000_0000),
            0xffff_ffff_0000_0000
        );
        assert_eq!(add(0x7fff_ffff_ffff_ffff, 1, 0), 0x8000_0000_0000_0000);
        assert_eq!(add(0x1234, 0, 0), 0x1234);
        let all = u64::MAX;
        let swap = |word: u64, compare| {
            AtomicOperation::CompareSwap {
                compare,
                compare_mask: all,
                swap: 9,
                swap_mask: all,
            }
            .apply(word)
        };
        assert_eq!(swap(5, 5), 9);
        assert_eq!(swap(5, 6), 5);
    }

    /// Bit by bit, with a carry, as RFC 7306 s5.1.1 puts it.
    fn add_bit_by_bit(word: u64, add: u64, mask: u64) -> u64 {
        let (mut sum, mut carry) = (0, 0);
        for bit in 0..64 {
            let total = (word >> bit & 1) + (add >> bit & 1) + carry;
            sum |= (total & 1) << bit;
            carry = if mask >> bit & 1 == 1 { 0 } else { total >> 1 };
        }
        sum
    }

    proptest! {
        #[test]
        fn fields_are_added_apart(word: u64, add: u64, mask: u64, sparse: u64) {
            for mask in [mask, mask & sparse, 0, 1 << 63, u64::MAX] {
                prop_assert_eq!(AtomicOperation::FetchAdd { add, mask }.apply(word), add_bit_by_bit(word, add, mask));
            }
        }

        #[test]
        fn masked_bits_are_compared_and_swapped(word: u64, compare: u64, compare_mask: u64, swap: u64, swap_mask: u64) {
            let apply = |compare| AtomicOperation::CompareSwap { compare, compare_mask, swap, swap_mask }.apply(word);
            let equal = (compare & !compare_mask) | (word & compare_mask);
            prop_assert_eq!(apply(equal), (word & !swap_mask) | (swap & swap_mask));
            if compare_mask != 0 {
                let lowest = compare_mask & compare_mask.wrapping_neg();
                prop_assert_eq!(apply(equal ^ lowest), word);
            }
        }

        #[test]
        fn requests_come_back(id: u32, stag: u32, to: u64, a: u64, b: u64, c: u64, d: u64, add: bool) {
            let operation = if add {
                AtomicOperation::FetchAdd { add: a, mask: b }
            } else {
                AtomicOperation::CompareSwap { compare: a, compare_mask: b, swap: c, swap_mask: d }
            };
            let request = AtomicRequest { id, stag: Stag(stag), to, operation };
            prop_assert_eq!(AtomicRequest::parse(&request.encode()), Ok(request));
        }
    }
}

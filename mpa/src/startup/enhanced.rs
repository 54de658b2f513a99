//! The four octets at the head of an enhanced frame's private data (RFC 6581 s9, E04).
//!
//! ```text
//!    0                   1                   2                   3
//!    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!   +-+-+---------------------------+-+-+---------------------------+
//!   |A|B|           IRD             |C|D|           ORD             |
//!   +-+-+---------------------------+-+-+---------------------------+
//!
//!    A  peer-to-peer: the initiator opens with a ready-to-receive indication (RTR)
//!    B, C, D  that RTR may be a zero-length Send, Write, Read
//! ```

use std::ops::{BitAnd, BitOr};

/// An IRD or ORD of all ones is no number: its sender does not want that value negotiated
/// (RFC 6581 s9.1, E13).
pub const NO_NEGOTIATION: u16 = 0x3FFF;

/// The largest IRD or ORD that is a number.
pub const MAX_DEPTH: u16 = NO_NEGOTIATION - 1;

const DEPTH_MASK: u16 = 0x3FFF;
const HIGH_FLAG: u16 = 0x8000;
const LOW_FLAG: u16 = 0x4000;

/// What an initiator can open a peer-to-peer connection with (RFC 6581 s9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rtr {
    /// A zero-length Send. It takes a message number, and at some peers a posted receive (G15).
    Send,
    /// A zero-length RDMA Write.
    Write,
    /// A zero-length RDMA Read. It takes one slot of ORD, and one of the responder's IRD (G16).
    Read,
}

/// A set of [`Rtr`].
///
/// ```
/// use uwarp_mpa::{Rtr, RtrSet};
/// let ours = RtrSet::WRITE | RtrSet::READ;
/// assert!(ours.contains(Rtr::Read));
/// assert!((ours & RtrSet::SEND).is_empty());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtrSet(u8);

impl RtrSet {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// Flag B.
    pub const SEND: Self = Self(1);
    /// Flag C.
    pub const WRITE: Self = Self(2);
    /// Flag D.
    pub const READ: Self = Self(4);
    /// All of them.
    pub const ALL: Self = Self(7);

    /// Whether `rtr` is in the set.
    #[must_use]
    pub fn contains(self, rtr: Rtr) -> bool {
        !(self & rtr.into()).is_empty()
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set without `rtr`.
    #[must_use]
    pub fn without(self, rtr: Rtr) -> Self {
        Self(self.0 & !Self::from(rtr).0)
    }
}

impl From<Rtr> for RtrSet {
    fn from(rtr: Rtr) -> Self {
        match rtr {
            Rtr::Send => Self::SEND,
            Rtr::Write => Self::WRITE,
            Rtr::Read => Self::READ,
        }
    }
}

impl BitOr for RtrSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for RtrSet {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The enhanced connection data of one frame; see the figure above.
///
/// ```
/// use uwarp_mpa::{Enhanced, RtrSet};
/// let words = Enhanced { ird: 16, ord: 32, peer_to_peer: true, rtr: RtrSet::WRITE | RtrSet::READ };
/// assert_eq!(words.encode(), [0x80, 0x10, 0xc0, 0x20]);
/// assert_eq!(Enhanced::decode([0x80, 0x10, 0xc0, 0x20]), words);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced {
    /// How many reads the sender takes at a time: 0..=16382 or [`NO_NEGOTIATION`].
    pub ird: u16,
    /// How many reads the sender issues at a time: 0..=16382 or [`NO_NEGOTIATION`].
    pub ord: u16,
    /// A.
    pub peer_to_peer: bool,
    /// B, C and D. Empty if not `peer_to_peer` (E19).
    pub rtr: RtrSet,
}

impl Enhanced {
    /// Octets of the enhanced data.
    pub const LEN: usize = 4;

    /// The words as they are sent. Without A the other flags are sent as 0 (E19); of `ird` and
    /// `ord` the low 14 bits are sent.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let flag = |rtr: Rtr| self.peer_to_peer && self.rtr.contains(rtr);
        let [i0, i1] = word(self.peer_to_peer, flag(Rtr::Send), self.ird);
        let [o0, o1] = word(flag(Rtr::Write), flag(Rtr::Read), self.ord);
        [i0, i1, o0, o1]
    }

    /// The words as they were received. Without A the other flags are ignored (E19).
    #[must_use]
    pub fn decode([i0, i1, o0, o1]: [u8; Self::LEN]) -> Self {
        let inbound = u16::from_be_bytes([i0, i1]);
        let outbound = u16::from_be_bytes([o0, o1]);
        let peer_to_peer = inbound & HIGH_FLAG != 0;
        let flags = [
            (inbound & LOW_FLAG, RtrSet::SEND),
            (outbound & HIGH_FLAG, RtrSet::WRITE),
            (outbound & LOW_FLAG, RtrSet::READ),
        ];
        let rtr = flags
            .into_iter()
            .filter(|(flag, _)| peer_to_peer && *flag != 0)
            .fold(RtrSet::NONE, |set, (_, rtr)| set | rtr);
        Self {
            ird: inbound & DEPTH_MASK,
            ord: outbound & DEPTH_MASK,
            peer_to_peer,
            rtr,
        }
    }
}

fn word(high: bool, low: bool, depth: u16) -> [u8; 2] {
    let high = if high { HIGH_FLAG } else { 0 };
    let low = if low { LOW_FLAG } else { 0 };
    (high + low + (depth & DEPTH_MASK)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_its_bit() {
        for (rtr, octets) in [
            (RtrSet::NONE, [0x80, 0, 0, 0]),
            (RtrSet::SEND, [0xc0, 0, 0, 0]),
            (RtrSet::WRITE, [0x80, 0, 0x80, 0]),
            (RtrSet::READ, [0x80, 0, 0x40, 0]),
            (RtrSet::ALL, [0xc0, 0, 0xc0, 0]),
        ] {
            let words = Enhanced {
                ird: 0,
                ord: 0,
                peer_to_peer: true,
                rtr,
            };
            assert_eq!(words.encode(), octets);
            assert_eq!(Enhanced::decode(octets), words);
        }
    }

    #[test]
    fn sets_are_joined_and_cut() {
        let sets = [RtrSet::NONE, RtrSet::SEND, RtrSet::WRITE, RtrSet::READ];
        for set in sets {
            assert_eq!((set | set, set & set), (set, set));
            assert_eq!((set | RtrSet::ALL, set & RtrSet::ALL), (RtrSet::ALL, set));
            assert_eq!(
                (set | RtrSet::NONE, set & RtrSet::NONE),
                (set, RtrSet::NONE)
            );
        }
        let two = RtrSet::SEND | RtrSet::READ;
        assert_eq!(two & (RtrSet::READ | RtrSet::WRITE), RtrSet::READ);
        assert_eq!(two.without(Rtr::Send), RtrSet::READ);
        assert_eq!(two.without(Rtr::Write), two);
    }

    #[test]
    fn without_a_the_other_flags_mean_nothing() {
        let words = Enhanced {
            ird: 1,
            ord: 2,
            peer_to_peer: false,
            rtr: RtrSet::ALL,
        };
        assert_eq!(words.encode(), [0, 1, 0, 2]);
        assert_eq!(
            Enhanced::decode([0x40, 1, 0xc0, 2]),
            Enhanced {
                rtr: RtrSet::NONE,
                ..words
            }
        );
    }

    #[test]
    fn depths_are_14_bits() {
        for depth in [0, 1, 128, MAX_DEPTH, NO_NEGOTIATION] {
            let words = Enhanced {
                ird: depth,
                ord: 7,
                peer_to_peer: true,
                rtr: RtrSet::ALL,
            };
            assert_eq!(Enhanced::decode(words.encode()), words);
            let words = Enhanced {
                ird: 7,
                ord: depth,
                ..words
            };
            assert_eq!(Enhanced::decode(words.encode()), words);
        }
        assert_eq!(Enhanced::decode([0xff; 4]).ird, NO_NEGOTIATION);
    }
}

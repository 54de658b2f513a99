//! What a target offers to be tormented with: regions of known rights, posted receives, favours.
//!
//! A target tells it as JSON, in a file or on the standard output of a command, or in the private data
//! of its Reply; `torment/PROFILE.md` describes both for whoever writes a target. The second form is
//! for those who see the magic in the private data of the Request. All numbers are big-endian:
//!
//! ```text
//!  Request   "uwTM"  version (1)  favour (1)  port (2)  4 octets of 0
//!
//!  Reply     "uwTM"  version (1)  damage (1)  receives (1)  favours (1)
//!            receive length (2)  IRD (2)  port that wants markers and no CRC (2)  startup timeout, ms (2)
//!            abilities (1)  more favours (1)  2 octets of 0
//!            then of each region, in the order of RegionKind, 16 octets: STag (4) length (4) offset (8)
//! ```
//!
//! *Damage* has a bit for each region that nobody may ever change (bit 0 for the first kind), set
//! when its contents are not what they were; *favours* a bit for each kind of favour that the target
//! does, from the ninth kind on in the second octet; *abilities* bit 0 for Atomics and bit 1 for Immediate Data. A region of length 0 is not there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uwarp::{RemoteRegion, Stag};

const MAGIC: [u8; 4] = *b"uwTM";
const VERSION: u8 = 2;
const HEAD_LEN: usize = 20;
const ASK_LEN: usize = 12;
/// Largest offset of a region's first octet.
const TO_MAX: u64 = 1 << 62;

/// A region by what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RegionKind {
    /// May be written and read by every stream and, by a target with Atomics, changed atomically; at
    /// least 4096 octets, at an address that is a multiple of 8.
    Open,
    /// May be read only; at least 1 MiB.
    Steady,
    /// May be written and read; at least 128 KiB.
    Wide,
    /// May be written only; at least 64 octets.
    WriteOnly,
    /// Of another protection domain, where everything is allowed; like those below of at least 64
    /// octets.
    Foreign,
    /// Of the right domain, but tied to another stream, to which everything is allowed.
    OtherStream,
    /// Everything was allowed, until its STag was revoked.
    Revoked,
    /// May be written and read by every stream; a peer that could invalidate it would harm the others.
    Spare,
}

impl RegionKind {
    /// All of them, in the order of the Reply.
    pub const ALL: [Self; 8] = [
        Self::Open,
        Self::Steady,
        Self::Wide,
        Self::WriteOnly,
        Self::Foreign,
        Self::OtherStream,
        Self::Revoked,
        Self::Spare,
    ];

    /// Octets that a region of this kind must have.
    #[must_use]
    pub const fn min_len(self) -> u32 {
        match self {
            Self::Steady => 1 << 20,
            Self::Wide => 128 << 10,
            Self::Open => 4096,
            Self::WriteOnly | Self::Foreign | Self::OtherStream | Self::Revoked | Self::Spare => 64,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The same as in a profile.
impl std::fmt::Display for RegionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Steady => "steady",
            Self::Wide => "wide",
            Self::WriteOnly => "write-only",
            Self::Foreign => "foreign",
            Self::OtherStream => "other-stream",
            Self::Revoked => "revoked",
            Self::Spare => "spare",
        })
    }
}

/// Something that a target may do when the private data of a Request asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FavourKind {
    /// To answer every received message with a receipt.
    Receipts,
    /// To read from us.
    Read,
    /// To change a word of ours atomically.
    Atomic,
    /// To lend a region that this stream may invalidate.
    Lend,
    /// To reject, and to leave TCP open.
    Reject,
    /// To take its time before it accepts.
    Slow,
    /// To send at once.
    TalkFirst,
    /// To connect to a port of ours.
    Call,
    /// To read from us several times at once.
    Reads,
}

impl FavourKind {
    /// All of them, in the order of their bits.
    pub const ALL: [Self; 9] = [
        Self::Receipts,
        Self::Read,
        Self::Atomic,
        Self::Lend,
        Self::Reject,
        Self::Slow,
        Self::TalkFirst,
        Self::Call,
        Self::Reads,
    ];

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// The same as in a profile.
impl std::fmt::Display for FavourKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Receipts => "receipts",
            Self::Read => "read",
            Self::Atomic => "atomic",
            Self::Lend => "lend",
            Self::Reject => "reject",
            Self::Slow => "slow",
            Self::TalkFirst => "talk-first",
            Self::Call => "call",
            Self::Reads => "reads",
        })
    }
}

/// Where a region is: the three numbers that its owner tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// STag.
    pub stag: u32,
    /// Tagged offset of its first octet.
    #[serde(default)]
    pub to: u64,
    /// Length in octets.
    pub len: u32,
}

/// What a target offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Its regions.
    pub regions: BTreeMap<RegionKind, Place>,
    /// Receives that it has posted on each new connection.
    pub receives: u8,
    /// Length of each of them in octets.
    pub receive_len: u16,
    /// Reads that it answers at a time.
    pub ird: u16,
    /// How long it waits for startup frames, in milliseconds.
    pub startup_timeout_ms: Option<u16>,
    /// A second port, where it asks for markers and does not ask for CRC.
    pub markers_port: Option<u16>,
    /// Whether it performs Atomics (RFC 7306 s5).
    pub atomics: bool,
    /// Whether it takes Immediate Data (RFC 7306 s6).
    pub immediate_data: bool,
    /// The favours that it does for a Request that asks for them.
    pub favours: BTreeSet<FavourKind>,
    /// The regions that somebody has changed who must not.
    pub damage: BTreeSet<RegionKind>,
}

impl Profile {
    /// The private data that tells it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let damage = self.damage.iter().fold(0, |bits, kind| bits | kind.bit());
        let favours = self.favours.iter().fold(0, |bits, kind| bits | kind.bit());
        let [more_favours, favours] = u16::to_be_bytes(favours);
        out.extend([VERSION, damage, self.receives, favours]);
        for number in [
            self.receive_len,
            self.ird,
            self.markers_port.unwrap_or(0),
            self.startup_timeout_ms.unwrap_or(0),
        ] {
            out.extend(number.to_be_bytes());
        }
        let abilities = u8::from(self.atomics) | u8::from(self.immediate_data) << 1;
        out.extend([abilities, more_favours, 0, 0]);
        for kind in RegionKind::ALL {
            let place = self.regions.get(&kind).copied();
            let Place { stag, to, len } = place.unwrap_or(Place {
                stag: 0,
                to: 0,
                len: 0,
            });
            let region = RemoteRegion {
                stag: Stag(stag),
                to,
                len,
            };
            out.extend(region.to_bytes());
        }
        out
    }

    /// Whether the cases can do with it: each region is as long as its kind wants it, and far from
    /// the ends of the 64-bit offsets, behind which the cases aim.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        for (kind, place) in &self.regions {
            let (len, due) = (place.len, kind.min_len());
            if len < due {
                return Err(format!(
                    "region '{kind}' has {len} octets, fewer than {due}"
                ));
            }
            if place.to > TO_MAX {
                return Err(format!("the offset of region '{kind}' is above 2^62"));
            }
        }
        Ok(())
    }

    /// A region that every stream may read, and that lasts: for proofs that a stream works.
    pub(crate) fn readable(&self) -> Option<Place> {
        [RegionKind::Steady, RegionKind::Wide, RegionKind::Open]
            .iter()
            .find_map(|kind| self.regions.get(kind).copied())
    }

    /// Reads private data; `None` unless it has the magic.
    #[must_use]
    pub fn decode(private_data: &[u8]) -> Option<Self> {
        let (head, table) = private_data.split_first_chunk::<HEAD_LEN>()?;
        let &[
            m0,
            m1,
            m2,
            m3,
            version,
            damage,
            receives,
            favours,
            ref numbers @ ..,
        ] = head;
        if [m0, m1, m2, m3] != MAGIC || version != VERSION {
            return None;
        }
        let favours = u16::from_be_bytes([numbers[9], favours]);
        let number = |at: usize| u16::from_be_bytes([numbers[at], numbers[at + 1]]);
        let some = |number: u16| (number != 0).then_some(number);
        let (places, _) = table.as_chunks::<{ RemoteRegion::WIRE_LEN }>();
        let regions = RegionKind::ALL
            .into_iter()
            .zip(places)
            .map(|(kind, octets)| {
                let RemoteRegion { stag, to, len } = RemoteRegion::from_bytes(octets);
                (
                    kind,
                    Place {
                        stag: stag.0,
                        to,
                        len,
                    },
                )
            })
            .filter(|(_, place)| place.len > 0)
            .collect();
        Some(Self {
            regions,
            receives,
            receive_len: number(0),
            ird: number(2),
            markers_port: some(number(4)),
            startup_timeout_ms: some(number(6)),
            atomics: numbers[8] & 1 != 0,
            immediate_data: numbers[8] & 2 != 0,
            favours: FavourKind::ALL
                .into_iter()
                .filter(|kind| favours & kind.bit() != 0)
                .collect(),
            damage: RegionKind::ALL
                .into_iter()
                .filter(|kind| damage & kind.bit() != 0)
                .collect(),
        })
    }
}

/// What a case asks of a target of ours, beyond accepting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Favour {
    /// Nothing.
    #[default]
    None,
    /// Answer every received message with a [`Receipt`].
    Receipts,
    /// Read [`READ_SIZE`] octets from the sink of ours, and send a receipt when they are there.
    Read,
    /// Add 1 to a word of ours, and send a receipt with what it was.
    Atomic,
    /// Register a region for this stream alone, which the peer may invalidate, and send its place.
    Lend,
    /// Reject, then say [`PLAIN`] over the TCP connection.
    Reject,
    /// Accept after [`SLOW`].
    Slow,
    /// Send at once, not waiting to be spoken to.
    TalkFirst,
    /// Connect to this port of the peer's as initiator.
    Call { port: u16, manner: Manner },
    /// As [`Read`](Self::Read), [`READS`] times at once.
    Reads,
}

/// How a target calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    PeerToPeer,
    ClientServer,
    /// In peer-to-peer mode, and reads [`READS`] times at once.
    Reading,
}

/// How many Reads the favour Reads is, and a call that reads.
pub(crate) const READS: u8 = 3;
/// Octets that the favour Read asks for.
pub(crate) const READ_SIZE: u32 = 64;
/// What a target says after it has rejected.
pub(crate) const PLAIN: &[u8] = b"still open";
/// How long the favour Slow takes.
pub(crate) const SLOW: std::time::Duration = std::time::Duration::from_millis(120);

impl Favour {
    const fn numbers(self) -> (u8, u16) {
        match self {
            Self::None => (0, 0),
            Self::Receipts => (1, 0),
            Self::Read => (2, 0),
            Self::Atomic => (3, 0),
            Self::Lend => (4, 0),
            Self::Reject => (5, 0),
            Self::Slow => (6, 0),
            Self::TalkFirst => (7, 0),
            Self::Call { port, manner } => match manner {
                Manner::PeerToPeer => (8, port),
                Manner::ClientServer => (9, port),
                Manner::Reading => (11, port),
            },
            Self::Reads => (10, 0),
        }
    }

    /// The private data of the Request that asks for it.
    pub(crate) fn encode(self) -> [u8; ASK_LEN] {
        let (code, port) = self.numbers();
        let mut out = [0; ASK_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&[VERSION, code]);
        out[6..8].copy_from_slice(&port.to_be_bytes());
        out
    }

    /// Reads private data; `None` without the magic or for a favour that is not known.
    pub(crate) fn decode(private_data: &[u8]) -> Option<Self> {
        let &[m0, m1, m2, m3, VERSION, code, p0, p1, ..] = private_data.first_chunk::<ASK_LEN>()?
        else {
            return None;
        };
        let port = u16::from_be_bytes([p0, p1]);
        let favour = match code {
            0 => Self::None,
            1 => Self::Receipts,
            2 => Self::Read,
            3 => Self::Atomic,
            4 => Self::Lend,
            5 => Self::Reject,
            6 => Self::Slow,
            7 => Self::TalkFirst,
            8 | 9 | 11 => Self::Call {
                port,
                manner: match code {
                    8 => Manner::PeerToPeer,
                    9 => Manner::ClientServer,
                    _ => Manner::Reading,
                },
            },
            10 => Self::Reads,
            _ => return None,
        };
        ([m0, m1, m2, m3] == MAGIC).then_some(favour)
    }
}

/// What a target says about something that has completed: 16 octets.
///
/// ```text
///  kind (1)  flags (1)  place (2)  octets (4)  check (8): CRC of the octets, immediate data, or the old word
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// 'r' for a receive, 'd' for an RDMA Read, 'a' for an atomic operation.
    pub(crate) kind: u8,
    pub(crate) solicited: bool,
    pub(crate) invalidated: bool,
    pub(crate) immediate: bool,
    /// Which of the posted receives it was.
    pub(crate) place: u16,
    pub(crate) len: u32,
    pub(crate) check: u64,
}

impl Receipt {
    pub(crate) const LEN: usize = 16;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let flags = u8::from(self.solicited)
            | u8::from(self.invalidated) << 1
            | u8::from(self.immediate) << 2;
        let mut out = [0; Self::LEN];
        out[..2].copy_from_slice(&[self.kind, flags]);
        out[2..4].copy_from_slice(&self.place.to_be_bytes());
        out[4..8].copy_from_slice(&self.len.to_be_bytes());
        out[8..].copy_from_slice(&self.check.to_be_bytes());
        out
    }

    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        let &[kind, flags, p0, p1, l0, l1, l2, l3, ref check @ ..] =
            <&[u8; Self::LEN]>::try_from(octets).ok()?;
        Some(Self {
            kind,
            solicited: flags & 1 != 0,
            invalidated: flags & 2 != 0,
            immediate: flags & 4 != 0,
            place: u16::from_be_bytes([p0, p1]),
            len: u32::from_be_bytes([l0, l1, l2, l3]),
            check: u64::from_be_bytes(*check),
        })
    }
}

/// What the octets of a region are before anybody writes into it.
pub(crate) fn pattern(kind: RegionKind, len: usize) -> Vec<u8> {
    let seed = kind as usize;
    (0..len)
        .map(|at| (at * 7 + at / 251 + seed * 31 + 1) as u8)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_travels_whole() {
        let place = |at: u32| Place {
            stag: 0x1000_0000 + at,
            to: u64::from(at) << 40,
            len: 4096 * (at + 1),
        };
        let profile = Profile {
            regions: RegionKind::ALL.into_iter().zip((0..).map(place)).collect(),
            receives: 4,
            receive_len: 1024,
            ird: 8,
            startup_timeout_ms: Some(400),
            markers_port: Some(4711),
            atomics: true,
            immediate_data: false,
            favours: [FavourKind::Receipts, FavourKind::Call, FavourKind::Reads].into(),
            damage: [RegionKind::Foreign, RegionKind::Revoked].into(),
        };
        let octets = profile.encode();
        assert!(octets.len() <= uwarp_mpa::MAX_PRIVATE_DATA_ENHANCED);
        assert_eq!(Profile::decode(&octets), Some(profile));
        for len in 0..HEAD_LEN {
            assert_eq!(Profile::decode(&octets[..len]), None);
        }
        assert_eq!(Profile::decode(&[0; 128]), None);
    }

    #[test]
    fn favours_travel_and_strangers_get_none() {
        let call = |manner| Favour::Call { port: 4711, manner };
        for favour in [
            Favour::None,
            Favour::Lend,
            Favour::TalkFirst,
            Favour::Reads,
            call(Manner::PeerToPeer),
            call(Manner::ClientServer),
            call(Manner::Reading),
        ] {
            assert_eq!(Favour::decode(&favour.encode()), Some(favour));
        }
        assert_eq!(Favour::decode(b"hello, world"), None);
        assert_eq!(Favour::decode(b"uwTM"), None);
        let mut unknown = Favour::None.encode();
        unknown[5] = 200;
        assert_eq!(Favour::decode(&unknown), None);
    }

    #[test]
    fn receipts_travel() {
        let receipt = Receipt {
            kind: b'r',
            solicited: true,
            invalidated: false,
            immediate: true,
            place: 3,
            len: 77,
            check: 0x0102_0304_0506_0708,
        };
        assert_eq!(Receipt::decode(&receipt.encode()), Some(receipt));
        assert_eq!(Receipt::decode(&[0; 15]), None);
    }

    #[test]
    fn kinds_are_shown_as_a_profile_names_them() {
        for kind in RegionKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
        for kind in FavourKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
    }

    #[test]
    fn regions_that_the_cases_cannot_do_with_are_refused() {
        let with = |kind, to, len| {
            let place = Place { stag: 1, to, len };
            let regions = [(kind, place)].into();
            Profile {
                regions,
                ..Profile::default()
            }
        };
        assert!(with(RegionKind::Steady, 0, 1 << 20).check().is_ok());
        let short = with(RegionKind::Steady, 0, (1 << 20) - 1).check();
        assert!(short.unwrap_err().contains("'steady'"));
        assert!(with(RegionKind::Foreign, TO_MAX + 1, 64).check().is_err());
    }

    /// The cells of the first row that begins with `name` in backticks.
    fn described(name: &str) -> Vec<&'static str> {
        let rows = include_str!("../PROFILE.md").lines();
        let head = format!("| `{name}` |");
        let mut found = rows.filter(|row| row.starts_with(&head));
        let row = found.next().unwrap_or_else(|| panic!("{name}"));
        row.split('|').map(str::trim).collect()
    }

    #[test]
    fn the_description_has_every_part() {
        let profile = Profile {
            startup_timeout_ms: Some(1),
            markers_port: Some(1),
            ..Profile::default()
        };
        let parts = serde_json::to_value(&profile).unwrap();
        for (part, _) in parts.as_object().unwrap() {
            described(part);
        }
        for kind in RegionKind::ALL {
            let len = kind.min_len().to_string();
            assert_eq!(described(&kind.to_string())[3], len, "{kind}");
        }
        let call = |manner| Favour::Call { port: 1, manner };
        let favours = [
            (FavourKind::Receipts, vec![Favour::Receipts]),
            (FavourKind::Read, vec![Favour::Read]),
            (FavourKind::Atomic, vec![Favour::Atomic]),
            (FavourKind::Lend, vec![Favour::Lend]),
            (FavourKind::Reject, vec![Favour::Reject]),
            (FavourKind::Slow, vec![Favour::Slow]),
            (FavourKind::TalkFirst, vec![Favour::TalkFirst]),
            (
                FavourKind::Call,
                vec![call(Manner::PeerToPeer), call(Manner::ClientServer)],
            ),
            (
                FavourKind::Reads,
                vec![Favour::Reads, call(Manner::Reading)],
            ),
        ];
        for (kind, asked) in favours {
            let codes: Vec<_> = asked.iter().map(|f| f.numbers().0.to_string()).collect();
            assert_eq!(described(&kind.to_string())[2], codes.join(", "), "{kind}");
        }
        assert_eq!(Profile::default().encode().len(), 148);
    }

    #[test]
    fn a_file_may_say_little() {
        let profile: Profile =
            serde_json::from_str(r#"{"regions": {"open": {"stag": 5, "len": 4096}}, "ird": 1}"#)
                .unwrap();
        let open = profile.regions[&RegionKind::Open];
        assert_eq!((open.stag, open.to, open.len), (5, 0, 4096));
        assert!(profile.favours.is_empty() && !profile.atomics);
        assert!(serde_json::from_str::<Profile>(r#"{"region": {}}"#).is_err());
    }
}

//! Guessing where FPDUs begin: in a capture that does not have the beginning of a connection, and
//! behind octets that the capture lacks.
//!
//! Every octet is tried as the start of an FPDU. A start is believed when what follows from it would
//! be an odd chance otherwise: a CRC that is right, headers that lead to one another, queue numbers
//! that fit the opcode, markers that point home. Each of these counts as so many bits of evidence as
//! noise would have to guess. Where it is known that there are markers, and where, none of this is
//! needed: a marker points at the start.

use uwarp_ddp::{Header, TAGGED_LEN, UNTAGGED_LEN};
use uwarp_mpa::{FpduLayout, crc};

use crate::segment;

/// Bits of evidence that make a guess. A search tries up to 2^17 starts.
const EVIDENCE: u32 = 48;

/// Bits of evidence that it is to have the place of a segment where the one before it leaves off.
const LINK: u32 = 40;

/// Octets that a guess of an unknown kind of stream has to explain: more than a marker's period, so
/// that markers do not go unnoticed.
const EXPLAINED: usize = 600;

/// FPDUs in a row that are looked at.
const CHAIN_MAX: usize = 64;

/// Octets of CRC that one search may spend.
const CRC_OCTETS_MAX: usize = 8 << 20;

/// A marker's period.
const PERIOD: u64 = 512;

/// Octets of a marker.
const MARKER: usize = 4;

/// How a direction is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    pub(crate) markers: bool,
    pub(crate) crc: bool,
}

/// The start of an FPDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    pub(crate) framing: Framing,
    /// Its position in the stream; if nothing is known, one that gives markers their places.
    pub(crate) position: u64,
    /// A marker at a known place points at it.
    pub(crate) anchored: bool,
}

/// What one FPDU shows.
struct Sight {
    wire_len: usize,
    crc_right: bool,
    evidence: u32,
    /// What the header of the next segment would be, if it went on in the same message.
    next: Follower,
}

/// Where a segment goes that goes on behind another: STag or MSN, and offset.
type Follower = (bool, u32, u64);

/// Looks for FPDUs in some octets.
pub(crate) struct Search<'a> {
    octets: &'a [u8],
    /// Nothing more will come.
    last: bool,
    crc_octets: usize,
}

impl<'a> Search<'a> {
    pub(crate) const fn new(octets: &'a [u8], last: bool) -> Self {
        Self {
            octets,
            last,
            crc_octets: CRC_OCTETS_MAX,
        }
    }

    /// The first FPDU of a stream of which nothing is known.
    pub(crate) fn blind(&mut self) -> Option<(usize, Guess)> {
        let plain = Framing {
            markers: false,
            crc: true,
        };
        let plain =
            (0..self.octets.len()).find_map(|start| Some((start, self.believe(start, 0, plain)?)));
        let before = plain.map_or(self.octets.len(), |(start, _)| start);
        let marked = (0..self.octets.len()).find_map(|at| {
            let start = self.marked_start(at).filter(|&start| start < before)?;
            Some((start, self.by_unknown_marker(start, at)?))
        });
        marked.or(plain)
    }

    /// The next FPDU of a stream that is framed like this; `position` is that of the first octet.
    pub(crate) fn known(&mut self, framing: Framing, position: u64) -> Option<(usize, Guess)> {
        if framing.markers {
            return self.by_known_marker(framing, position);
        }
        (0..self.octets.len()).find_map(|start| {
            let sight = self.sight(start, 0, framing)?;
            let sure = if framing.crc {
                sight.crc_right
            } else {
                self.evidence(start, 0, framing)?.0 >= EVIDENCE
            };
            let position = position + start as u64;
            sure.then_some((
                start,
                Guess {
                    framing,
                    position,
                    anchored: false,
                },
            ))
        })
    }

    fn by_known_marker(&mut self, framing: Framing, position: u64) -> Option<(usize, Guess)> {
        let first = (position.next_multiple_of(PERIOD) - position) as usize;
        (first..self.octets.len())
            .step_by(PERIOD as usize)
            .find_map(|at| {
                let start = self.marked_start(at)?;
                let position = position + start as u64;
                let sight = self.sight(start, position, framing)?;
                (sight.crc_right || !framing.crc).then_some((
                    start,
                    Guess {
                        framing,
                        position,
                        anchored: true,
                    },
                ))
            })
    }

    /// Where the FPDU begins that a marker at `at` points at.
    fn marked_start(&self, at: usize) -> Option<usize> {
        let &[0, 0, high, low] = self.octets.get(at..)?.first_chunk::<MARKER>()? else {
            return None;
        };
        let pointer = usize::from(u16::from_be_bytes([high, low]));
        let length = at.checked_sub(pointer).filter(|_| pointer % 4 == 0)?;
        let before = length.checked_sub(MARKER);
        // A marker right before the length belongs to the FPDU.
        Some(
            match before.filter(|&before| pointer > 0 && is_apart(before, at)) {
                Some(before) => before,
                None => length,
            },
        )
    }

    /// Whether an FPDU begins at `start` in a stream that has a marker at `at`.
    fn by_unknown_marker(&mut self, start: usize, at: usize) -> Option<Guess> {
        let framing = Framing {
            markers: true,
            crc: true,
        };
        let position = (PERIOD - (at - start) as u64 % PERIOD) % PERIOD;
        self.believe(start, position, framing)
    }

    /// Whether enough speaks for an FPDU at `start`, and nothing against it.
    fn believe(&mut self, start: usize, position: u64, framing: Framing) -> Option<Guess> {
        let first = self.sight(start, position, framing)?;
        let framing = Framing {
            crc: first.crc_right,
            ..framing
        };
        let (evidence, explained) = self.evidence(start, position, framing)?;
        let enough = explained >= EXPLAINED || self.last;
        (enough && evidence >= EVIDENCE).then_some(Guess {
            framing,
            position,
            anchored: false,
        })
    }

    /// The bits of evidence for a run of FPDUs from `start` on, and how many octets of it were looked
    /// at. `None` if there is no such run.
    fn evidence(&mut self, start: usize, position: u64, framing: Framing) -> Option<(u32, usize)> {
        let mut at = start;
        let mut evidence = 0;
        let mut due = None;
        for _ in 0..CHAIN_MAX {
            let rest = &self.octets[at.min(self.octets.len())..];
            let position = position + (at - start) as u64;
            let Some(layout) = layout(rest, position, framing.markers) else {
                // Too few octets for a length tell nothing; a length that cannot be tells against it.
                return (rest.len() < MARKER + 2).then_some((evidence, at - start));
            };
            let head = rest.get(layout.length_offset() + 2..).unwrap_or_default();
            let seen = head.len() >= 2;
            let plausible = segment::plausible(&ulpdu_head(rest, &layout));
            if layout.ulpdu_len() < TAGGED_LEN || seen && !plausible {
                return None;
            }
            if plausible && due.is_some() && follower(&ulpdu_head(rest, &layout), 0) == due {
                evidence += LINK;
            }
            if at - start >= EXPLAINED && evidence >= EVIDENCE {
                break;
            }
            let Some(sight) = self.sight(at, position, framing) else {
                let whole = rest.len() >= layout.wire_len();
                return (!whole).then_some((evidence, rest.len() + at - start));
            };
            if framing.crc && !sight.crc_right {
                return None;
            }
            evidence += sight.evidence;
            due = Some(sight.next);
            at += sight.wire_len;
        }
        Some((evidence, at - start))
    }

    /// The FPDU at `start`, if it is whole and could be one.
    fn sight(&mut self, start: usize, position: u64, framing: Framing) -> Option<Sight> {
        let rest = self.octets.get(start..)?;
        let layout = layout(rest, position, framing.markers)?;
        let wire = rest.get(..layout.wire_len())?;
        let head = ulpdu_head(wire, &layout);
        if head.len() < TAGGED_LEN || !segment::plausible(&head) {
            return None;
        }
        // Versions, reserved bits, opcode and T; the number of the queue.
        let mut evidence = if head[0] & 0x80 == 0 { 43 } else { 11 };
        for at in layout.marker_offsets() {
            let due = at.saturating_sub(layout.length_offset()) as u32;
            if wire.get(at..at + MARKER)? != due.to_be_bytes() {
                return None;
            }
            // There may be many zeros in what is no marker.
            evidence += if due > 0 { 30 } else { 4 };
        }
        let (_, field) = wire.split_at(wire.len() - crc::CRC_LEN);
        if field.iter().all(|&octet| octet == 0) {
            evidence += 12;
        }
        let affordable = wire.len() <= self.crc_octets;
        let crc_right = framing.crc && affordable && {
            self.crc_octets -= wire.len();
            crc::crc32c(wire) == crc::RESIDUE
        };
        evidence += if crc_right { 48 } else { 0 };
        Some(Sight {
            wire_len: wire.len(),
            crc_right,
            evidence,
            next: follower(&head, layout.ulpdu_len())?,
        })
    }
}

/// Where the segment with this header goes, or, given the length of its ULPDU, the one that goes on behind
/// it in the same message.
fn follower(head: &[u8], ulpdu_len: usize) -> Option<Follower> {
    let (header, len) = Header::parse(head, head.len()).ok()?;
    let payload = ulpdu_len.saturating_sub(len) as u64;
    Some(match header {
        Header::Tagged(header) => (true, header.stag.0, header.to.wrapping_add(payload)),
        Header::Untagged(header) => (false, header.msn, u64::from(header.mo) + payload),
    })
}

/// Whether two places are a multiple of a marker's period apart.
const fn is_apart(a: usize, b: usize) -> bool {
    (b - a).is_multiple_of(PERIOD as usize)
}

/// The layout of an FPDU that begins with `octets`, if its length is there and could be one.
fn layout(octets: &[u8], position: u64, markers: bool) -> Option<FpduLayout> {
    let before = if markers && position.is_multiple_of(PERIOD) {
        MARKER
    } else {
        0
    };
    let len = u16::from_be_bytes(*octets.get(before..)?.first_chunk()?);
    FpduLayout::new(position, len, markers)
}

/// The first octets of the ULPDU, without markers, as far as they are there.
fn ulpdu_head(octets: &[u8], layout: &FpduLayout) -> Vec<u8> {
    let kept = layout.ulpdu_len().min(UNTAGGED_LEN);
    let spans = layout.ulpdu_spans(0..kept);
    spans
        .flat_map(|span| {
            let end = span.end.min(octets.len());
            octets.get(span.start..end).unwrap_or_default().to_vec()
        })
        .collect()
}

/// Whether octets at the start of a direction are of a stream with, or without, markers, contrary to
/// what was agreed (`markers`).
pub(crate) fn contradicts(octets: &[u8], markers: bool) -> bool {
    let plausible_at = |at: usize| {
        octets
            .get(at..)
            .is_some_and(|ulpdu| ulpdu.len() >= UNTAGGED_LEN && segment::plausible(ulpdu))
    };
    let marker_first = octets.first_chunk::<MARKER>() == Some(&[0; MARKER]);
    if markers {
        !marker_first && plausible_at(2)
    } else {
        marker_first && plausible_at(MARKER + 2)
    }
}

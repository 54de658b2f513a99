//! Direct placement out of order, from raw TCP segments to registered memory: whatever the order,
//! the cuts and the repetitions, the same octets end up in memory and the same messages are delivered
//! in the same order; and an FPDU is placed as soon as it can be known (RFC 5044 s6, RFC 5041 s5.3).

use proptest::prelude::*;
use uwarp_ddp::{AccessError, Header, Segmenter, Stag, UNTAGGED_LEN};
use uwarp_mpa::{Arrivals, Fpdu, FpduSink, Framer, SegmentReceiver, crc};
use uwarp_rdmap::header::{Control, Opcode};
use uwarp_rdmap::{AtomicError, Completion, Endpoint, Limits, Regions, Slot, Target};

const STAG: Stag = Stag(0x1234_5678);
const REGION: usize = 1 << 16;
const RECEIVE: usize = 4096;
const RECEIVES: u32 = 16;

struct NoRegions;

impl Regions for NoRegions {
    fn check_read(&mut self, _: Stag, _: u64, _: u32) -> Result<(), AccessError> {
        Err(AccessError::InvalidStag)
    }
    fn check_atomic(&mut self, _: Stag, _: u64) -> Result<(), AtomicError> {
        Err(AtomicError::Misaligned)
    }
    fn invalidate(&mut self, stag: Stag) -> Result<(), AccessError> {
        if stag == STAG {
            Ok(())
        } else {
            Err(AccessError::InvalidStag)
        }
    }
}

/// A receiver of RDMA: memory, and an endpoint that says what goes where.
struct Sink {
    endpoint: Endpoint,
    region: Vec<u8>,
    receives: Vec<Vec<u8>>,
    /// Header and payload length of what has been placed and not been delivered.
    placed: std::collections::BTreeMap<u64, (Header, u32)>,
    /// Positions in the order of delivery.
    delivered: Vec<u64>,
    placed_early: usize,
    last: Option<u64>,
}

impl Sink {
    fn new() -> Self {
        let limits = Limits {
            send_queue: 4,
            receive_queue: RECEIVES as usize,
            ird: 4,
            ord: 4,
        };
        let mut endpoint = Endpoint::new(limits, Stag(1));
        for slot in 0..RECEIVES {
            endpoint.post_receive(Slot(slot), RECEIVE as u32).unwrap();
        }
        Self {
            endpoint,
            region: vec![0xee; REGION],
            receives: vec![vec![0xee; RECEIVE]; RECEIVES as usize],
            placed: std::collections::BTreeMap::new(),
            delivered: Vec::new(),
            placed_early: 0,
            last: None,
        }
    }

    fn completions(&mut self) -> Vec<Completion> {
        std::iter::from_fn(|| self.endpoint.poll_completion()).collect()
    }
}

impl Arrivals for Sink {
    fn arrived(&mut self, position: u64, fpdu: &Fpdu, wire: &[u8]) {
        let mut head = [0; UNTAGGED_LEN];
        let kept = fpdu.copy_ulpdu(wire, 0..UNTAGGED_LEN, &mut head);
        let (header, header_len) = Header::parse(&head[..kept], fpdu.ulpdu_len()).unwrap();
        let mut payload = vec![0; fpdu.ulpdu_len() - header_len];
        fpdu.copy_ulpdu(wire, header_len..fpdu.ulpdu_len(), &mut payload);
        let len = payload.len() as u32;
        match self.endpoint.place(&header, len).unwrap() {
            Target::None => {}
            Target::Tagged { stag, to, .. } => {
                assert_eq!(stag, STAG);
                self.region[to as usize..to as usize + payload.len()].copy_from_slice(&payload);
            }
            Target::Work { slot, offset, .. } => {
                let at = offset as usize;
                self.receives[slot.0 as usize][at..at + payload.len()].copy_from_slice(&payload);
            }
            Target::Control => panic!("no control message was sent"),
        }
        assert_eq!(
            self.placed.insert(position, (header, len)),
            None,
            "placed once"
        );
        self.last = Some(position);
    }

    fn deliver(&mut self, position: u64) {
        let (header, len) = self.placed.remove(&position).expect("placed before");
        self.placed_early += usize::from(self.last != Some(position));
        let notice = self.endpoint.deliver(&header, len, &[], &mut NoRegions);
        assert_eq!(notice, Ok(None));
        self.delivered.push(position);
    }
}

struct Wire<'a> {
    payload: &'a [u8],
    out: Vec<u8>,
}

impl FpduSink for Wire<'_> {
    fn octets(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }
    fn payload(&mut self, range: std::ops::Range<u32>) {
        self.out
            .extend_from_slice(&self.payload[range.start as usize..range.end as usize]);
    }
    fn payload_crc(&mut self, crc: u32, range: std::ops::Range<u32>) -> u32 {
        crc::append(crc, &self.payload[range.start as usize..range.end as usize])
    }
}

/// Writes and Sends of these lengths as a stream, with the start of each FPDU.
fn stream(messages: &[(bool, u32)], markers: bool, mulpdu: u16) -> (Vec<u8>, Vec<(u64, u64)>) {
    let mut framer = Framer::new(markers, true);
    let (mut wire, mut fpdus, mut msn) = (Vec::new(), Vec::new(), 0);
    for (index, &(write, len)) in messages.iter().enumerate() {
        let payload: Vec<u8> = (0..len)
            .map(|at| (at as usize * 7 + index * 31) as u8)
            .collect();
        let mut segmenter = if write {
            // Each to octets of its own: where Writes overlap, placement has no order, and the
            // result none that could be compared (R27).
            let to = index as u64 * 4096;
            Segmenter::tagged(Control::new(Opcode::WRITE).0, STAG, to, len).unwrap()
        } else {
            msn += 1;
            let opcode = Opcode::send(index % 2 == 0, index % 3 == 0);
            let word = if opcode.invalidates() { STAG.0 } else { 0 };
            Segmenter::untagged(Control::new(opcode).0, word, 0, msn, len)
        };
        while let Some(segment) = segmenter.next(mulpdu) {
            let mut head = [0; UNTAGGED_LEN];
            let head_len = segment.header.encode(&mut head);
            let start = framer.position();
            let mut sink = Wire {
                payload: &payload,
                out: Vec::new(),
            };
            framer
                .frame(&head[..head_len], segment.payload, &mut sink)
                .unwrap();
            wire.append(&mut sink.out);
            fpdus.push((start, framer.position()));
        }
    }
    (wire, fpdus)
}

/// FPDUs that are whole and follow a marker of their own or an FPDU that was known: by the rule.
fn knowable(fpdus: &[(u64, u64)], seen: &[bool], markers: bool) -> usize {
    let mut previous = true;
    let known = fpdus.iter().filter(|&&(start, end)| {
        let whole = seen[start as usize..end as usize]
            .iter()
            .all(|&octet| octet);
        let marked = markers && (start..end).any(|at| at % 512 == 0);
        previous = whole && (previous || marked);
        previous
    });
    known.count()
}

fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for end in (1..items.len()).rev() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        items.swap(end, (seed >> 33) as usize % (end + 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_order_places_and_delivers_the_same(
        messages in proptest::collection::vec((any::<bool>(), 0u32..4000), 1..12),
        markers: bool,
        mulpdu in 128u16..1500,
        first in prop_oneof![any::<u32>(), Just(u32::MAX - 900)],
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 1usize..3000), 0..30),
        step in 50usize..1500,
        seed: u64,
    ) {
        let (wire, fpdus) = stream(&messages, markers, mulpdu);
        let mut ordered = Sink::new();
        SegmentReceiver::new(markers, true, first, 1 << 20).receive(first, &wire, &mut ordered).unwrap();
        prop_assert_eq!(ordered.delivered.len(), fpdus.len());
        prop_assert_eq!(ordered.placed_early, 0);

        let total = wire.len();
        let mut pieces: Vec<_> = (0..total).step_by(step).map(|at| (at, (at + step).min(total))).collect();
        pieces.extend(cuts.iter().map(|(at, len)| (at.index(total), (at.index(total) + len).min(total))));
        shuffle(&mut pieces, seed);
        let mut sink = Sink::new();
        let mut receiver = SegmentReceiver::new(markers, true, first, 1 << 20);
        let mut seen = vec![false; total];
        let mut early = 0;
        for (start, end) in pieces {
            let front = seen.iter().take_while(|&&octet| octet).count() as u64;
            seen[start..end].fill(true);
            sink.last = None;
            receiver.receive(first.wrapping_add(start as u32), &wire[start..end], &mut sink).unwrap();
            prop_assert_eq!(sink.placed.len() + sink.delivered.len(), knowable(&fpdus, &seen, markers));
            prop_assert!(receiver.delivered() <= front.max(seen.iter().take_while(|&&octet| octet).count() as u64));
            early = early.max(sink.placed.len());
        }
        prop_assert!(sink.placed_early >= early);
        prop_assert_eq!(&sink.delivered, &ordered.delivered);
        prop_assert_eq!(&sink.region, &ordered.region);
        prop_assert_eq!(&sink.receives, &ordered.receives);
        prop_assert_eq!(sink.completions(), ordered.completions());
    }
}

/// The first octets of a stream come last: with markers all but the first FPDU are placed before
/// that hole closes, without markers none is.
#[test]
fn a_hole_at_the_front_does_not_delay_placement() {
    let messages: Vec<_> = (0..12).map(|index| (index % 2 == 0, 3000)).collect();
    for markers in [true, false] {
        let (wire, fpdus) = stream(&messages, markers, 1442);
        let mut sink = Sink::new();
        let mut receiver = SegmentReceiver::new(markers, true, 7, 1 << 20);
        receiver.receive(7 + 100, &wire[100..], &mut sink).unwrap();
        let placed = sink.placed.len();
        assert_eq!(placed, if markers { fpdus.len() - 1 } else { 0 });
        assert!(sink.delivered.is_empty());
        receiver.receive(7, &wire[..100], &mut sink).unwrap();
        assert_eq!(sink.placed_early, placed);
        assert_eq!(sink.delivered.len(), fpdus.len());
        println!(
            "markers {markers}: {placed} of {} FPDUs placed before the hole closed",
            fpdus.len()
        );
    }
}

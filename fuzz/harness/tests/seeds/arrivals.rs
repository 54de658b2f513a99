//! Seeds that are a stream and the segments that carry it.

use crate::Seed;

const MARKERS: u8 = 1;
const CRC: u8 = 2;
const WIDE: u8 = 2 << 2;
const WRAPS: u8 = 16;

/// A stream, and then its segments: parts and steps of `arrivals/stream.rs`, in the order of its `match`es.
#[derive(Clone)]
struct Arriving {
    head: Vec<u8>,
    parts: Vec<Vec<u8>>,
    steps: Vec<u8>,
}

impl Arriving {
    /// Sequence numbers begin at 7, or 512 before they wrap.
    fn new(bits: u8) -> Self {
        let mut head = vec![bits];
        if bits & WRAPS == 0 {
            head.extend([0, 0, 0, 7]);
        } else {
            head.extend([2, 0]);
        }
        Self {
            head,
            parts: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// An FPDU whose ULPDU has these octets.
    fn fpdu(mut self, ulpdu: &[u8]) -> Self {
        self.parts.push([&[0, ulpdu.len() as u8], ulpdu].concat());
        self
    }

    /// An FPDU whose ULPDU has `len` octets, fewer than 60,000.
    fn long(mut self, len: u16) -> Self {
        let [high, low] = len.to_be_bytes();
        self.parts.push(vec![5, 0x5a, 0, high, low]);
        self
    }

    /// `count` FPDUs of `len` octets.
    fn many(mut self, count: u16, len: u8) -> Self {
        let [high, low] = count.to_be_bytes();
        self.parts.push(vec![6, len, 0, high, low]);
        self
    }

    /// Octets that are no FPDU, with their CRC behind them.
    fn damage(mut self, octets: &[u8]) -> Self {
        let head = [7, 5, octets.len() as u8];
        self.parts.push([&head, octets].concat());
        self
    }

    fn step(mut self, octets: &[u8]) -> Self {
        self.steps.extend(octets);
        self
    }

    fn at(self, step: u8, place: u16) -> Self {
        let [high, low] = (place & 0x1ff).to_be_bytes();
        self.step(&[step, (place >> 9) as u8, high, low])
    }

    fn in_order(self, len: u16) -> Self {
        self.step(&[0]).step(&len.to_be_bytes())
    }

    fn piece(self, place: u16, len: u16) -> Self {
        self.at(1, place).step(&len.to_be_bytes())
    }

    fn behind_a_hole(self, hole: u8, len: u8) -> Self {
        self.step(&[3, hole, len])
    }

    fn whole(self, number: u8) -> Self {
        self.step(&[4, number])
    }

    fn again(self, back: u8) -> Self {
        self.step(&[5, back])
    }

    fn spoiled(self, place: u16, len: u16, at: u16, with: u8) -> Self {
        let piece = self.at(6, place).step(&len.to_be_bytes());
        piece.step(&at.to_be_bytes()).step(&[with])
    }

    fn octets(self, place: u16, octets: &[u8]) -> Self {
        self.at(7, place).step(&[octets.len() as u8]).step(octets)
    }

    fn misplaced(self, place: u16, number: u8) -> Self {
        self.at(8, place).step(&[number])
    }

    fn anywhere(self, sequence: u32, octets: &[u8]) -> Self {
        let [a, b, c, d] = sequence.to_be_bytes();
        self.step(&[9, a, b, c, d, octets.len() as u8]).step(octets)
    }

    fn comb(self, place: u16, len: u8, gap: u8, count: u16) -> Self {
        let comb = self.at(10, place).step(&[len - 1, gap]);
        comb.step(&count.to_be_bytes())
    }

    fn backwards(self, step: u16) -> Self {
        self.step(&[11]).step(&step.to_be_bytes())
    }

    /// Whether everything comes in the end.
    fn octets_of(self, close_holes: bool) -> Vec<u8> {
        let count = vec![self.parts.len() as u8];
        let parts = self.parts.concat();
        [
            self.head,
            count,
            parts,
            vec![u8::from(!close_holes)],
            self.steps,
        ]
        .concat()
    }
}

/// Three FPDUs, of which the second has a marker in its middle.
fn three(bits: u8) -> Arriving {
    Arriving::new(bits)
        .fpdu(&[1; 100])
        .long(600)
        .fpdu(&[3; 100])
}

/// Inputs of the target `arrivals`.
pub(crate) fn arrivals() -> Vec<Seed> {
    let both = MARKERS | CRC;
    let mut seeds = orders(both);
    seeds.extend(limits(both));
    seeds.extend(damages(both));
    let made = |(name, arriving): (_, Arriving)| (name, arriving.octets_of(true));
    let mut seeds: Vec<Seed> = seeds.into_iter().map(made).collect();
    seeds.push((
        "holes_stay",
        three(both).piece(300, 1000).piece(20, 60).octets_of(false),
    ));
    seeds
}

fn orders(both: u8) -> Vec<(&'static str, Arriving)> {
    vec![
        (
            "in_order",
            three(both).in_order(90).in_order(200).in_order(2000),
        ),
        ("backwards", three(both).backwards(60)),
        ("backwards_plain", three(CRC).backwards(60)),
        ("backwards_without_crc", three(MARKERS).backwards(9)),
        (
            "wraps",
            three(both | WRAPS).in_order(200).behind_a_hole(9, 250),
        ),
        ("wraps_backwards", three(both | WRAPS).backwards(100)),
        ("whole_fpdus", three(both).whole(2).whole(1).whole(0)),
        ("whole_fpdus_plain", three(CRC).whole(1).whole(2).whole(0)),
        (
            "overlaps",
            three(both).piece(200, 300).piece(100, 300).piece(450, 400),
        ),
        ("again", three(both).piece(200, 300).again(0).again(0)),
        ("comb", three(both).comb(0, 3, 3, 200).comb(3, 3, 3, 100)),
        (
            "a_marker_first",
            Arriving::new(both).many(40, 30).piece(512, 700),
        ),
        (
            "octet_by_octet",
            Arriving::new(both)
                .fpdu(&[1; 20])
                .long(480)
                .comb(0, 1, 0, 399),
        ),
    ]
}

fn limits(both: u8) -> Vec<(&'static str, Arriving)> {
    vec![
        (
            "beyond_the_window",
            Arriving::new(both)
                .long(50_000)
                .long(19_000)
                .octets(65_530, &[7; 40]),
        ),
        (
            "inside_a_wide_window",
            Arriving::new(both | WIDE)
                .long(59_000)
                .long(9000)
                .backwards(1400),
        ),
        (
            "the_largest_in_order",
            Arriving::new(both)
                .long(59_999)
                .in_order(40_000)
                .in_order(30_000),
        ),
        (
            "one_hole_too_many",
            Arriving::new(both)
                .many(200, 30)
                .comb(1, 1, 3, 300)
                .piece(1600, 1),
        ),
        (
            "too_many_early",
            Arriving::new(MARKERS).many(4999, 0).backwards(700),
        ),
        (
            "the_window_wraps",
            Arriving::new(both)
                .many(1500, 30)
                .in_order(60_000)
                .backwards(900),
        ),
    ]
}

fn damages(both: u8) -> Vec<(&'static str, Arriving)> {
    vec![
        ("wrong_octet", three(both).spoiled(0, 300, 50, 1)),
        (
            "wrong_octet_behind_a_hole",
            three(both).spoiled(200, 900, 500, 1).in_order(300),
        ),
        (
            "wrong_octet_comes_second",
            three(both).piece(0, 90).spoiled(0, 90, 30, 1),
        ),
        (
            "wrong_octet_without_crc",
            three(MARKERS).spoiled(200, 900, 10, 0xff),
        ),
        (
            "too_long",
            three(both).damage(&[0xff, 0xff, 0, 0]).in_order(900),
        ),
        (
            "empty_ulpdu",
            Arriving::new(CRC)
                .damage(&[0; 4])
                .fpdu(&[1; 9])
                .backwards(1),
        ),
        (
            "marker_that_lies",
            three(MARKERS)
                .octets(
                    500,
                    &[0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0],
                )
                .whole(2),
        ),
        (
            "forged_fpdu",
            Arriving::new(MARKERS)
                .long(900)
                .octets(512, &[0, 0, 0, 0, 0, 1, 9, 9, 0, 0, 0, 0]),
        ),
        (
            "forged_and_overtaken",
            Arriving::new(MARKERS)
                .long(505)
                .long(20)
                .octets(508, &[0, 0, 0, 0, 0, 0, 0, 4])
                .octets(516, &[0, 0, 0, 0]),
        ),
        ("misplaced", three(both).misplaced(512, 0).misplaced(300, 2)),
        (
            "long_ago",
            three(both)
                .in_order(800)
                .anywhere(0, &[1, 2, 3])
                .anywhere(0x8000_0000, &[4; 20]),
        ),
        ("noise", Arriving::new(both).anywhere(7, &[0xa5; 200])),
        ("noise_plain", Arriving::new(0).anywhere(7, &[0; 200])),
    ]
}

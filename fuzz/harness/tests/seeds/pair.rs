//! Seeds that are what two programs do with their connections.

use crate::Seed;

/// Bits of a policy.
const NO_CRC: u8 = 2;
const MARKERS: u8 = 4;
const NOT_PEER_TO_PEER: u8 = 8;
const RTR_SEND: u8 = 1 << 5;
const RTR_READ: u8 = 3 << 5;

/// Set in a step, the responder does it.
const FAR: u8 = 0x80;

/// Steps of `pair/script.rs`.
#[derive(Clone)]
struct Two(Vec<u8>);

impl Two {
    /// The same policy at both ends, IRD and ORD 4, queues of 22, an Ethernet's segments.
    fn new(policy: u8) -> Self {
        Self::with([policy, policy], [4, 4], 0x3f, 0)
    }

    fn with(policies: [u8; 2], depths: [u8; 2], sizes: u8, options: u8) -> Self {
        let mut octets = Vec::new();
        for policy in policies {
            octets.extend([policy, depths[0], depths[1], sizes]);
        }
        octets.push(options);
        Self(octets)
    }

    fn step(mut self, octets: &[u8]) -> Self {
        self.0.extend(octets);
        self
    }

    fn with_len(self, octets: &[u8], len: u16) -> Self {
        self.step(octets).step(&len.to_be_bytes())
    }

    fn receive(self, side: u8, len: u16) -> Self {
        self.with_len(&[side], len)
    }

    fn send(self, side: u8, bits: u8, len: u16) -> Self {
        self.with_len(&[side | 16, bits & 1], len)
    }

    fn send_invalidate(self, side: u8, region: u8, len: u16) -> Self {
        self.with_len(&[side | 16, 7, region], len)
    }

    fn tagged(self, step: u8, region: u8, offset: i16, len: u16) -> Self {
        let [high, low] = offset.to_be_bytes();
        self.with_len(&[step, region, high, low], len)
    }

    fn write(self, side: u8, region: u8, offset: i16, len: u16) -> Self {
        self.tagged(side | 24, region, offset, len)
    }

    fn read(self, side: u8, region: u8, offset: i16, len: u16) -> Self {
        self.tagged(side | 32, region, offset, len)
    }

    fn add(self, side: u8, offset: i16, add: u64) -> Self {
        let [high, low] = offset.to_be_bytes();
        let add = add.to_be_bytes();
        self.step(&[side | 40, 9, high, low, 0])
            .step(&add)
            .step(&0x8000_0000_u64.to_be_bytes())
    }

    fn swap(self, side: u8, offset: i16, compare: u64, swap: u64) -> Self {
        let [high, low] = offset.to_be_bytes();
        let mask = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let step = self.step(&[side | 40, 9, high, low, 1]);
        let compared = step.step(&compare.to_be_bytes()).step(&mask);
        compared.step(&swap.to_be_bytes()).step(&mask)
    }

    fn immediate(self, side: u8) -> Self {
        self.step(&[side | 45, 1, 2, 3, 4, 5, 6, 7, 8])
    }

    fn revoke(self, side: u8, region: u8) -> Self {
        self.step(&[side | 48, region])
    }

    /// The driver of one end reads so many octets and writes so many.
    fn drive(self, side: u8, read: u8, write: u16) -> Self {
        self.with_len(&[side | 52, read], write)
    }

    fn writes(self, side: u8) -> Self {
        self.step(&[side | 72])
    }

    fn reads(self, side: u8) -> Self {
        self.step(&[side | 68])
    }

    fn settle(self) -> Self {
        self.step(&[76])
    }

    /// Both ends, many times, in small parts.
    fn drizzle(mut self, count: usize, grain: u8) -> Self {
        for _ in 0..count {
            self = self.drive(0, grain, u16::from(grain) + 1);
            self = self.drive(FAR, grain, u16::from(grain) + 2);
        }
        self
    }

    fn close(self, side: u8) -> Self {
        self.step(&[side | 100])
    }

    fn disturb(self, side: u8, what: u8) -> Self {
        self.step(&[side | (100 + what)])
    }

    fn pass(self, milliseconds: u16) -> Self {
        self.with_len(&[107], milliseconds)
    }
}

/// Every operation both ways, so that each succeeds.
fn everything(two: Two) -> Two {
    let mut two = two.settle();
    for (side, peer) in [(0, FAR), (FAR, 0)] {
        two = two
            .receive(peer, 4000)
            .receive(peer, 4000)
            .receive(peer, 10)
            .write(side, 0, 16, 3000)
            .send(side, 1, 4000)
            .read(side, 0, 0, 5000)
            .add(side, 8, 0xffff_ffff)
            .swap(side, 16, 0xa5a5_a5a5, 7)
            .immediate(side)
            .send_invalidate(side, 1, 0)
            .read(side, 2, 500, 1500)
            .write(side, 9, 0, 68);
    }
    two
}

/// Inputs of the target `pair`.
pub(crate) fn pair() -> Vec<Seed> {
    [in_order(), faults(), endings()]
        .into_iter()
        .flatten()
        .map(|(name, Two(octets))| (name, octets))
        .collect()
}

fn in_order() -> Vec<(&'static str, Two)> {
    vec![
        ("everything", everything(Two::new(0))),
        ("everything_with_markers", everything(Two::new(MARKERS))),
        ("everything_without_crc", everything(Two::new(NO_CRC))),
        (
            "everything_with_markers_one_way",
            everything(Two::with([MARKERS, 0], [9, 2], 0x7f, 0)),
        ),
        (
            "everything_on_a_small_path",
            everything(Two::with([0, 0], [1, 1], 0x7f | 0x80, 2)),
        ),
        (
            "everything_on_a_large_path",
            everything(Two::with([NO_CRC; 2], [1, 1], 0xff, 4)),
        ),
        (
            "everything_with_batches_of_one",
            everything(Two::with([0, 0], [4, 4], 0x3f, 1 << 3)),
        ),
        (
            "everything_through_a_small_window",
            everything(Two::with([0, 0], [4, 4], 0x3f, 3 << 1)),
        ),
        (
            "everything_in_small_parts",
            everything(Two::new(0)).drizzle(100, 90),
        ),
        (
            "everything_in_small_parts_with_markers",
            everything(Two::new(MARKERS)).drizzle(100, 255),
        ),
        ("rtr_send", everything(Two::new(RTR_SEND))),
        ("rtr_read", everything(Two::new(RTR_READ))),
        (
            "not_peer_to_peer",
            everything(Two::new(NOT_PEER_TO_PEER).send(0, 0, 0)),
        ),
        ("nothing", Two::new(0)),
        (
            "responder_is_not_let_speak",
            Two::new(NOT_PEER_TO_PEER)
                .settle()
                .receive(0, 50)
                .send(FAR, 0, 50),
        ),
        (
            "reads_beyond_the_ord",
            (0..12).fold(Two::with([0, 0], [2, 2], 0x3f, 0).settle(), |two, at| {
                two.read(0, 0, at * 100, 1000)
            }),
        ),
        (
            "changed_while_it_is_read",
            Two::new(NO_CRC)
                .settle()
                .read(0, 0, 0, 5000)
                .write(0, 0, 0, 5000)
                .writes(0)
                .drive(FAR, 0, 0)
                .reads(FAR)
                .writes(FAR),
        ),
        (
            "read_and_write_with_crc",
            Two::new(0)
                .settle()
                .read(0, 0, 0, 5000)
                .write(0, 0, 0, 5000)
                .drizzle(60, 200),
        ),
        (
            "orders_of_many",
            (0..8).fold(Two::new(0).settle(), |two, at| {
                two.receive(FAR, 100)
                    .write(0, 0, at * 7, 90)
                    .send(0, 0, 100)
                    .add(0, 0, 1)
            }),
        ),
        (
            "direct",
            Two::with([NO_CRC; 2], [4, 4], 0xff, 0)
                .settle()
                .receive(FAR, 3000)
                .write(0, 0, 0, 5000)
                .writes(0)
                .drive(FAR, 40, 0)
                .settle()
                .send(0, 0, 3000)
                .writes(0)
                .drive(FAR, 100, 0)
                .settle()
                .read(0, 0, 0, 3000)
                .writes(0)
                .drive(FAR, 255, 9999)
                .drive(0, 30, 0),
        ),
        (
            "the_path_changes",
            everything(Two::new(0).settle())
                .step(&[111, 10])
                .drive(0, 0, 2000)
                .step(&[111, 250]),
        ),
        (
            "revoked_between_uses",
            Two::new(0)
                .settle()
                .write(0, 0, 0, 900)
                .settle()
                .revoke(FAR, 0),
        ),
    ]
}

fn faults() -> Vec<(&'static str, Two)> {
    let two = || Two::new(0).settle();
    vec![
        ("write_out_of_bounds", two().write(0, 0, 4000, 1001)),
        ("write_to_a_revoked_region", two().write(0, 8, 0, 1)),
        (
            "write_without_the_right",
            two().write(0, 6, 900, 99).write(0, 2, 1999, 1),
        ),
        (
            "write_revoked_on_its_way",
            two()
                .write(0, 0, 0, 5000)
                .drive(0, 0, 3000)
                .reads(FAR)
                .revoke(FAR, 0),
        ),
        ("write_to_another_stream", two().write(0, 3, 0, 8)),
        (
            "direct_write_refused",
            Two::new(NO_CRC)
                .settle()
                .write(0, 3, 0, 1400)
                .writes(0)
                .drive(FAR, 40, 0),
        ),
        ("read_without_the_right", two().read(0, 1, 0, 8)),
        (
            "read_refused_behind_another",
            two().read(0, 0, 0, 8).read(0, 4, 0, 8),
        ),
        (
            "revoked_while_it_is_read",
            Two::with([0, 0], [4, 4], 0x3f, 1 << 3)
                .settle()
                .read(0, 0, 0, 5000)
                .writes(0)
                .drive(FAR, 255, 100)
                .revoke(FAR, 0),
        ),
        ("atomic_without_alignment", two().add(0, 4, 1)),
        (
            "atomic_revoked_before_its_turn",
            Two::with([0, 0], [4, 4], 0x3f, 1 << 3)
                .settle()
                .read(0, 0, 0, 5000)
                .add(0, 8, 1)
                .writes(0)
                .drive(FAR, 255, 100)
                .revoke(FAR, 9),
        ),
        (
            "invalidate_refused",
            two().receive(FAR, 50).send_invalidate(0, 0, 50),
        ),
        ("no_receive", two().send(0, 0, 10)),
        ("immediate_without_a_receive", two().immediate(0)),
        ("send_too_long", two().receive(FAR, 1000).send(0, 0, 3000)),
        (
            "faults_both_ways",
            two().write(0, 8, 0, 1).write(FAR, 8, 0, 1),
        ),
        ("noise", Two(vec![0xa5; 300])),
    ]
}

fn endings() -> Vec<(&'static str, Two)> {
    let busy = || everything(Two::new(0)).drizzle(10, 200);
    vec![
        ("rejected", Two::with([0, 0], [4, 4], 0x3f, 0xe0)),
        ("closed_with_much_to_do", busy().close(0)),
        ("closed_by_the_responder", busy().close(FAR)),
        ("closed_by_both", busy().close(0).close(FAR)),
        (
            "closed_before_it_is_set_up",
            Two::new(0).writes(0).close(FAR),
        ),
        (
            "closed_by_half",
            Two::new(0).settle().close(0).settle().send(FAR, 0, 9),
        ),
        ("killed", busy().disturb(0, 4)),
        ("killed_responder", busy().disturb(FAR, 4)),
        ("aborted", busy().disturb(FAR, 5)),
        ("reset", busy().disturb(0, 6)),
        ("local_failure", busy().disturb(0, 10)),
        ("startup_takes_too_long", Two::new(0).writes(0).pass(6000)),
        (
            "close_takes_too_long",
            Two::new(0).settle().close(0).drive(0, 0, 999).pass(6000),
        ),
        ("time_passes", busy().pass(7000).settle().pass(7000)),
    ]
}

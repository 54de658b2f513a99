//! Seeds that are the life of a connection.

use crate::Seed;

/// The other end is the initiator, with CRC, without markers; it opens with an empty Write.
const RESPONDER: u8 = 0;
const INITIATOR: u8 = 1;
const NO_CRC: u8 = 2;
const MARKERS_IN: u8 = 4;
const MARKERS_OUT: u8 = 8;
const NO_RTR: u8 = 16;
const RTR_READ: u8 = 1 << 5;
const RTR_SEND: u8 = 2 << 5;

/// Steps of `script.rs`, in the order of its `match`.
#[derive(Clone)]
struct Life(Vec<u8>);

impl Life {
    /// IRD and ORD 7, queues of 8, an Ethernet's segments.
    fn new(bits: u8) -> Self {
        Self(vec![bits, 0x3f, 0x3f])
    }

    fn sized(bits: u8, depths: u8, sizes: u8) -> Self {
        Self(vec![bits, depths, sizes])
    }

    fn step(mut self, octets: &[u8]) -> Self {
        self.0.extend(octets);
        self
    }

    /// A segment of a Send: bit 0 not the last, bit 1 solicited.
    fn send(self, bits: u8, len: u8) -> Self {
        self.step(&[0, bits, len])
    }

    fn send_invalidate(self, region: u8) -> Self {
        self.step(&[0, 4, region, 5])
    }

    fn write(self, region: u8, offset: i16, len: u8) -> Self {
        let [high, low] = offset.to_be_bytes();
        self.step(&[1, region, high, low, 0, len])
    }

    fn read(self, region: u8, offset: i16, size: u16) -> Self {
        let [high, low] = offset.to_be_bytes();
        let [size_high, size_low] = size.to_be_bytes();
        self.step(&[2, region, high, low, 1, size_high, size_low])
    }

    /// A segment of a Read Response; mistake 0 is none.
    fn answer(self, mistake: u8, len: u16) -> Self {
        let [high, low] = len.to_be_bytes();
        self.step(&[3, mistake, high, low])
    }

    fn segment(self, wire: &str) -> Self {
        let ulpdu = hex::decode(wire).unwrap();
        self.step(&[7, ulpdu.len() as u8]).step(&ulpdu)
    }

    fn receive(self, len: u16) -> Self {
        let [high, low] = len.to_be_bytes();
        self.step(&[10, high, low])
    }

    fn post(self, step: &[u8], len: u16) -> Self {
        self.step(step).step(&len.to_be_bytes())
    }

    fn post_send(self, len: u16) -> Self {
        self.post(&[11, 1, 0], len)
    }

    fn post_write(self, len: u16) -> Self {
        self.post(&[12, 0, 0, 0, 0, 0, 0, 1, 0], len)
    }

    fn post_read(self, len: u16) -> Self {
        self.post(&[13, 0, 0, 0, 0, 0, 0, 1, 0], len)
    }

    /// The driver reads so many octets.
    fn arrive(self, count: u16) -> Self {
        self.post(&[14], count)
    }

    /// The driver reads and writes all there is.
    fn turn(self) -> Self {
        self.step(&[19])
    }

    /// The peer's atomic operation on region 9, which adds.
    fn add(self, offset: i16, add: u64) -> Self {
        let [high, low] = offset.to_be_bytes();
        let add = add.to_be_bytes();
        self.step(&[20, 9, high, low, 7, 0])
            .step(&add)
            .step(&[0; 8])
    }

    fn compare_and_swap(self, region: u8, compare: u64, swap: u64) -> Self {
        let all = [0xff; 8];
        let step = self.step(&[20, region, 0, 8, 8, 1]);
        let compared = step.step(&compare.to_be_bytes()).step(&all);
        compared.step(&swap.to_be_bytes()).step(&all)
    }

    fn immediate(self, solicited: u8) -> Self {
        self.step(&[21, solicited, 1, 2, 3, 4, 5, 6, 7, 8])
    }

    /// The answer to an atomic operation; 0 is the right one.
    fn tell_the_word(self, wrong: u8) -> Self {
        self.step(&[22, wrong, 0, 0, 0, 0, 0, 0, 0, 9])
    }

    fn post_immediate(self) -> Self {
        self.step(&[23, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    }

    fn post_atomic(self) -> Self {
        self.step(&[24]).step(&[0; 8]).step(&[0]).step(&[1; 16])
    }

    fn rare(self, what: u8) -> Self {
        self.step(&[18, what])
    }
}

/// Inputs of the target `segments`.
pub(crate) fn segments() -> Vec<Seed> {
    [well_behaved(), endings(), faults()]
        .into_iter()
        .flatten()
        .map(|(name, Life(octets))| (name, octets))
        .collect()
}

fn everything(bits: u8) -> Life {
    Life::new(bits)
        .turn()
        .receive(100)
        .receive(3000)
        .send(0, 50)
        .send(1, 60)
        .send(2, 60)
        .write(0, 10, 100)
        .read(0, 0, 3000)
        .turn()
        .post_send(2000)
        .post_write(5000)
        .post_read(2000)
        .turn()
        .answer(0, 1400)
        .answer(0, 1400)
        .turn()
}

fn well_behaved() -> Vec<(&'static str, Life)> {
    vec![
        ("everything", everything(RESPONDER)),
        (
            "atomics_and_immediate_data",
            Life::new(RESPONDER)
                .turn()
                .receive(20)
                .immediate(1)
                .add(8, 3)
                .compare_and_swap(9, 3, 4)
                .read(9, 0, 68)
                .turn()
                .post_atomic()
                .post_immediate()
                .turn()
                .tell_the_word(0)
                .turn(),
        ),
        (
            "atomic_without_alignment",
            Life::new(RESPONDER).add(4, 1).turn(),
        ),
        (
            "atomic_beyond_the_region",
            Life::new(RESPONDER).add(64, 1).turn(),
        ),
        (
            "atomic_without_the_right",
            Life::new(RESPONDER).compare_and_swap(0, 0, 1).turn(),
        ),
        (
            "word_of_another_request",
            Life::new(RESPONDER)
                .turn()
                .post_atomic()
                .turn()
                .tell_the_word(1)
                .turn(),
        ),
        ("everything_as_initiator", everything(INITIATOR)),
        (
            "everything_with_markers",
            everything(MARKERS_IN | MARKERS_OUT),
        ),
        ("everything_without_crc", everything(NO_CRC)),
        ("everything_without_rtr", everything(NO_RTR)),
        ("rtr_read", everything(RTR_READ)),
        ("rtr_send", everything(RTR_SEND)),
        ("rtr_read_as_initiator", everything(INITIATOR | RTR_READ)),
        ("rtr_send_as_initiator", everything(INITIATOR | RTR_SEND)),
        (
            "direct_write",
            Life::new(NO_CRC)
                .turn()
                .step(&[1, 0, 0, 10, 0, 0x90, 0])
                .arrive(40)
                .turn(),
        ),
        (
            "direct_send",
            Life::new(NO_CRC)
                .turn()
                .receive(3000)
                .step(&[0, 0, 0x90, 0])
                .arrive(100)
                .turn(),
        ),
        (
            "send_invalidate",
            Life::new(RESPONDER)
                .receive(9)
                .write(1, 0, 100)
                .send_invalidate(1)
                .turn()
                .write(1, 0, 1),
        ),
        (
            "empty_messages",
            Life::new(RESPONDER)
                .receive(0)
                .send(0, 0)
                .write(200, 0, 0)
                .read(8, 0, 0)
                .post_send(0)
                .post_write(0)
                .post_read(0)
                .turn()
                .answer(0, 0)
                .turn(),
        ),
        (
            "tiny_segments",
            Life::sized(RESPONDER, 0x3f, 0x7f)
                .turn()
                .read(2, 0, 2000)
                .post_send(1000)
                .turn(),
        ),
        (
            "slow_socket",
            everything(RESPONDER)
                .post_send(5000)
                .step(&[16, 0, 1, 0, 7])
                .step(&[16, 1, 0, 0, 200])
                .read(0, 0, 500)
                .turn(),
        ),
        (
            "reads_beyond_the_ord",
            Life::sized(RESPONDER, 0x11, 0x3f)
                .turn()
                .post_read(10)
                .post_read(20)
                .post_read(30)
                .turn()
                .answer(0, 10)
                .turn()
                .answer(0, 20)
                .turn()
                .answer(0, 30)
                .turn(),
        ),
    ]
}

fn endings() -> Vec<(&'static str, Life)> {
    let busy = Life::new(RESPONDER)
        .turn()
        .receive(100)
        .post_send(3000)
        .post_read(100);
    vec![
        ("close", everything(RESPONDER).rare(0).turn()),
        (
            "close_with_a_read_outstanding",
            busy.clone().turn().rare(0).turn(),
        ),
        (
            "close_before_the_rtr",
            Life::new(RESPONDER).post_send(10).rare(0),
        ),
        ("abort", busy.clone().rare(1).turn()),
        ("transport_lost", busy.clone().turn().rare(2)),
        ("end_of_stream", busy.clone().turn().rare(3).turn()),
        (
            "end_inside_an_fpdu",
            Life::new(RESPONDER)
                .turn()
                .write(0, 0, 100)
                .arrive(20)
                .rare(3),
        ),
        ("local_failure", busy.clone().rare(4).turn()),
        (
            "timeout_of_the_rtr",
            Life::new(RESPONDER).rare(5).rare(5).rare(6),
        ),
        (
            "timeout_of_closing",
            busy.clone().turn().rare(0).rare(5).rare(5).rare(6),
        ),
        (
            "terminated",
            busy.clone().turn().step(&[6, 4, 0x20, 2, 0, 0, 1]).turn(),
        ),
        ("read_refused", busy.clone().turn().step(&[6, 0, 0]).turn()),
        (
            "malformed_terminate",
            busy.turn().step(&[6, 2, 0x20, 2, 1]).turn(),
        ),
        (
            "revoked_while_it_is_read",
            Life::new(RESPONDER)
                .turn()
                .read(0, 0, 4000)
                .arrive(1000)
                .step(&[16, 0, 1, 0, 9])
                .step(&[17, 0])
                .turn(),
        ),
    ]
}

fn faults() -> Vec<(&'static str, Life)> {
    let open = || Life::new(RESPONDER).turn();
    let reading = || open().post_read(100).post_read(100).turn();
    vec![
        ("no_receive", open().send(0, 10)),
        ("send_too_long", open().receive(10).send(0, 11)),
        (
            "send_with_a_hole",
            open()
                .receive(100)
                .step(&[5, 0x60, 0x43, 0, 0, 0, 0, 50, 10]),
        ),
        ("invalidate_refused", open().receive(10).send_invalidate(0)),
        (
            "invalidate_unknown",
            open().receive(10).step(&[0, 4, 99, 1, 2, 3, 4, 5]),
        ),
        ("write_out_of_bounds", open().write(0, 4990, 11)),
        ("write_below_the_base", open().write(1, -1, 2)),
        ("write_wraps", open().write(6, 990, 20)),
        ("write_without_the_right", open().write(2, 0, 1)),
        ("write_to_another_stream", open().write(3, 0, 1)),
        ("write_to_another_domain", open().write(4, 0, 1)),
        ("write_to_a_revoked_region", open().write(8, 0, 1)),
        ("write_to_an_empty_region", open().write(7, 0, 1)),
        ("read_out_of_bounds", open().read(0, 4990, 11)),
        ("read_without_the_right", open().read(1, 0, 1)),
        ("read_of_another_stream", open().read(3, 0, 1)),
        ("read_of_a_revoked_region", open().read(8, 0, 1)),
        ("read_wraps", open().read(2, 1990, 100)),
        (
            "read_into_a_sink_that_wraps",
            open().step(&[2, 0, 0, 0, 0]).step(&[0xff; 8]).step(&[0, 9]),
        ),
        (
            "more_reads_than_the_ird",
            Life::sized(RESPONDER, 0x09, 0x3f)
                .turn()
                .read(0, 0, 1)
                .read(0, 0, 1),
        ),
        (
            "answer_without_a_read",
            open().segment("c1420000000900000000000001005a"),
        ),
        ("answer_to_another_sink", reading().answer(1, 50)),
        ("answer_at_another_place", reading().answer(2, 50)),
        ("answer_too_long", reading().answer(3, 101)),
        ("answer_ends_early", reading().answer(4, 50)),
        ("answer_goes_on", reading().answer(4, 100).answer(0, 1)),
        (
            "version_of_ddp",
            open().segment("c2400000000900000000000001005a"),
        ),
        (
            "version_of_rdmap",
            open().segment("c1000000000900000000000001005a"),
        ),
        (
            "unknown_opcode",
            open().segment("c14f0000000900000000000001005a"),
        ),
        (
            "atomic_request",
            open().segment("414a00000000000000010000000100000000"),
        ),
        (
            "send_that_is_tagged",
            open().segment("c1430000000900000000000001005a"),
        ),
        (
            "queue_of_nobody",
            open().segment("414300000000000000040000000100000000"),
        ),
        (
            "immediate",
            open()
                .receive(9)
                .segment("4148000000000000000000000001000000000001020304050607"),
        ),
        (
            "atomic_of_nothing",
            open().segment(concat!(
                "414a00000000000000010000000100000000",
                "00000000000000075566778800000000000020000000000000000001",
                "00000000000000000000000000000000ffffffffffffffff",
            )),
        ),
        (
            "message_from_the_past",
            open()
                .receive(9)
                .receive(9)
                .send(0, 1)
                .step(&[5, 0, 0x43, 0, 1]),
        ),
        (
            "message_from_the_future",
            open()
                .receive(9)
                .segment("414300000000000000000000000900000000"),
        ),
        ("short_segment", open().segment("c140000000")),
        ("wrong_crc", open().step(&[8, 0, 3, 1, 1])),
        (
            "wrong_marker",
            Life::new(NO_RTR | MARKERS_IN).step(&[8, 0, 3, 0xf0, 0]),
        ),
        (
            "too_long",
            Life::new(RESPONDER | MARKERS_IN)
                .turn()
                .step(&[9, 4, 0xff, 0xff, 0, 0]),
        ),
        (
            "first_fpdu_is_no_rtr",
            Life::new(NO_RTR | RESPONDER).write(3, 0, 1),
        ),
        ("noise", open().step(&[9, 40]).step(&[0x3c; 40])),
    ]
}

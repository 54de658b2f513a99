//! A TCP connection with iWARP on it, written packet by packet, right or wrong.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use uwarp_inspect::Rule;
use uwarp_mpa::{Enhanced, FpduSink, Frame, FrameKind, Framer, RtrSet, crc};

use super::file::Stamped;

/// The initiator.
pub(crate) const I: usize = 0;
/// The responder.
pub(crate) const R: usize = 1;

/// Nanoseconds from packet to packet.
const STEP: u64 = 1_234_000;

/// Time of the first packet.
const START: u64 = 1_700_000_000_000_000_000;

/// A rule that a talk breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Breach {
    pub(crate) id: String,
    pub(crate) time: u64,
    pub(crate) connection: u64,
    pub(crate) sender: &'static str,
    pub(crate) position: u64,
}

/// What is put around the TCP segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrap {
    Ethernet,
    Vlan,
    DoubleVlan,
    /// Nothing: an IP packet.
    Raw,
    /// An address family in the writer's byte order.
    Null,
    /// One in network byte order.
    Loop,
    Sll,
    Sll2,
}

/// A connection, and the packets of it.
pub(crate) struct Talk {
    pub(crate) packets: Vec<Stamped>,
    pub(crate) breaches: Vec<Breach>,
    pub(crate) wrap: Wrap,
    pub(crate) addresses: [IpAddr; 2],
    pub(crate) ports: [u16; 2],
    /// Sequence number of the next octet of each end.
    pub(crate) next: [u32; 2],
    framers: [Framer; 2],
    crc: bool,
    time: u64,
    connection: u64,
}

struct Sink(Vec<u8>);

impl FpduSink for Sink {
    fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }
    fn payload(&mut self, _: std::ops::Range<u32>) {}
    fn payload_crc(&mut self, crc: u32, _: std::ops::Range<u32>) -> u32 {
        crc
    }
}

/// Enhanced words without any flags.
pub(crate) const WORDS: Enhanced = Enhanced {
    ird: 4,
    ord: 4,
    peer_to_peer: false,
    rtr: RtrSet::NONE,
};

/// A frame of revision 2 with CRC and without markers.
pub(crate) fn startup(kind: FrameKind, words: Enhanced) -> Frame {
    Frame {
        kind,
        markers: false,
        crc: true,
        rejected: false,
        enhanced: true,
        revision: 2,
        private_data: words.encode().to_vec(),
    }
}

/// Puts the right CRC under what has been changed in an FPDU.
pub(crate) fn reseal(mut wire: Vec<u8>) -> Vec<u8> {
    let at = wire.len() - 4;
    let crc = crc::crc32c(&wire[..at]);
    wire[at..].copy_from_slice(&crc.to_le_bytes());
    wire
}

impl Talk {
    /// A connection that nothing has been said on, not even its SYN.
    pub(crate) fn silent(port: u16) -> Self {
        Self {
            packets: Vec::new(),
            breaches: Vec::new(),
            wrap: Wrap::Ethernet,
            addresses: [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()],
            ports: [40_000 + port, 5000],
            next: [1000, 7000],
            framers: [Framer::new(false, true), Framer::new(false, true)],
            crc: true,
            time: START,
            connection: 1,
        }
    }

    /// A connection whose SYNs have been sent.
    pub(crate) fn new(port: u16) -> Self {
        let mut talk = Self::silent(port);
        talk.connect();
        talk
    }

    /// The second connection of a capture whose first one breaks no rule.
    pub(crate) fn second() -> Self {
        let mut first = Self::new(1);
        first.set_up();
        first.say(I, &super::ulpdu::send(1, b"hello"));
        first.say(R, &super::ulpdu::send(1, b"and to you"));
        let mut talk = Self {
            packets: first.packets,
            time: first.time,
            connection: 2,
            ..Self::silent(2)
        };
        talk.connect();
        talk
    }

    /// SYN and SYN ACK.
    pub(crate) fn connect(&mut self) {
        for who in [I, R] {
            let flags = Flags {
                syn: true,
                ..Flags::default()
            };
            self.packet(who, self.next[who].wrapping_sub(1), &[], flags);
        }
    }

    /// Startup frames: CRC, no markers, client and server, an IRD and ORD of 4.
    pub(crate) fn set_up(&mut self) {
        self.set_up_with(
            &startup(FrameKind::Request, WORDS),
            &startup(FrameKind::Reply, WORDS),
        );
    }

    /// These startup frames, and what follows framed as they say.
    pub(crate) fn set_up_with(&mut self, request: &Frame, reply: &Frame) {
        self.frame(I, request);
        self.frame(R, reply);
        self.framing([reply.markers, request.markers], request.crc || reply.crc);
    }

    /// How FPDUs are framed from here on; without either, the CRC field is 0.
    pub(crate) fn framing(&mut self, markers: [bool; 2], crc: bool) {
        self.framers = markers.map(|markers| Framer::new(markers, crc));
        self.crc = crc;
    }

    pub(crate) fn frame(&mut self, who: usize, frame: &Frame) {
        self.send(who, &frame.encode().unwrap());
    }

    /// Position of the next FPDU of an end.
    pub(crate) fn position(&self, who: usize) -> u64 {
        self.framers[who].position()
    }

    /// The octets of an FPDU.
    pub(crate) fn fpdu(&mut self, who: usize, ulpdu: &[u8]) -> Vec<u8> {
        let mut sink = Sink(Vec::new());
        self.framers[who].frame(ulpdu, 0..0, &mut sink).unwrap();
        let mut wire = sink.0;
        if !self.crc {
            let at = wire.len() - 4;
            wire[at..].fill(0);
        }
        wire
    }

    /// Sends an FPDU as one TCP segment.
    pub(crate) fn say(&mut self, who: usize, ulpdu: &[u8]) {
        let wire = self.fpdu(who, ulpdu);
        self.send(who, &wire);
    }

    /// The next packet of `who` breaks a rule in what it sends from here on.
    pub(crate) fn breaks(&mut self, rule: Rule, who: usize) {
        self.breaks_at(rule, who, self.position(who));
    }

    /// The next packet brings to light that `who` has broken a rule at this position.
    pub(crate) fn breaks_at(&mut self, rule: Rule, who: usize, position: u64) {
        self.breaches.push(Breach {
            id: rule.id().to_owned(),
            time: self.time,
            connection: self.connection,
            sender: ["initiator", "responder"][who],
            position,
        });
    }

    /// The octets of one TCP segment.
    pub(crate) fn send(&mut self, who: usize, octets: &[u8]) {
        self.packet(who, self.next[who], octets, Flags::default());
        self.next[who] = self.next[who].wrapping_add(octets.len() as u32);
    }

    /// Octets that the capture lacks.
    pub(crate) fn lose(&mut self, who: usize, octets: &[u8]) {
        self.next[who] = self.next[who].wrapping_add(octets.len() as u32);
        self.time += STEP;
    }

    /// A segment without octets, which tells what has arrived.
    pub(crate) fn acknowledge(&mut self, who: usize) {
        self.packet(who, self.next[who], &[], Flags::default());
    }

    pub(crate) fn fin(&mut self, who: usize) {
        let flags = Flags {
            fin: true,
            ..Flags::default()
        };
        self.packet(who, self.next[who], &[], flags);
        self.next[who] = self.next[who].wrapping_add(1);
    }

    pub(crate) fn reset(&mut self, who: usize) {
        let flags = Flags {
            rst: true,
            ..Flags::default()
        };
        self.packet(who, self.next[who], &[], flags);
    }

    /// Any packet.
    pub(crate) fn packet(&mut self, who: usize, sequence: u32, octets: &[u8], flags: Flags) {
        let acknowledgment = self.next[1 - who];
        let tcp = |builder: etherparse::PacketBuilderStep<etherparse::IpHeaders>| {
            let mut step = builder.tcp(self.ports[who], self.ports[1 - who], sequence, 60_000);
            if !(flags.syn && who == I) {
                step = step.ack(acknowledgment);
            }
            if flags.syn {
                step = step.syn();
            }
            if flags.fin {
                step = step.fin();
            }
            if flags.rst {
                step = step.rst();
            }
            let mut out = Vec::new();
            step.write(&mut out, octets).unwrap();
            out
        };
        let packet = match (self.addresses[who], self.addresses[1 - who]) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (from.octets(), to.octets());
                let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
                match self.wrap {
                    Wrap::Vlan => tcp(link.single_vlan(7.try_into().unwrap()).ipv4(from, to, 64)),
                    Wrap::DoubleVlan => tcp(link
                        .double_vlan(7.try_into().unwrap(), 8.try_into().unwrap())
                        .ipv4(from, to, 64)),
                    Wrap::Ethernet => tcp(link.ipv4(from, to, 64)),
                    _ => tcp(PacketBuilder::ipv4(from, to, 64)),
                }
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (from, to) = (from.octets(), to.octets());
                let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
                match self.wrap {
                    Wrap::Vlan => tcp(link.single_vlan(7.try_into().unwrap()).ipv6(from, to, 64)),
                    Wrap::DoubleVlan => tcp(link
                        .double_vlan(7.try_into().unwrap(), 8.try_into().unwrap())
                        .ipv6(from, to, 64)),
                    Wrap::Ethernet => tcp(link.ipv6(from, to, 64)),
                    _ => tcp(PacketBuilder::ipv6(from, to, 64)),
                }
            }
            _ => panic!("addresses of two kinds"),
        };
        let packet = self.wrapped(packet);
        self.packets.push((self.time, packet));
        self.time += STEP;
    }

    fn wrapped(&self, packet: Vec<u8>) -> Vec<u8> {
        let six = self.addresses[0].is_ipv6();
        let (family, ether_type) = if six { (10u32, 0x86dd) } else { (2, 0x0800) };
        let ether_type = u16::to_be_bytes(ether_type);
        let header = match self.wrap {
            Wrap::Ethernet | Wrap::Vlan | Wrap::DoubleVlan | Wrap::Raw => Vec::new(),
            Wrap::Null => family.to_le_bytes().to_vec(),
            Wrap::Loop => family.to_be_bytes().to_vec(),
            // Packet type, ARPHRD, length of the address and the address; last the protocol.
            Wrap::Sll => [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], &ether_type[..]].concat(),
            // First the protocol; interface, ARPHRD, packet type and the address.
            Wrap::Sll2 => [
                &ether_type[..],
                &[0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0],
            ]
            .concat(),
        };
        [header, packet].concat()
    }
}

/// Flags of a TCP segment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
}

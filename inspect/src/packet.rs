//! The TCP segment in a captured packet.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    EtherType, LaxNetSlice, LaxSlicedPacket, TcpOptionElement, TcpSlice, TransportSlice,
};

use crate::capture::{Packet, link};

/// A TCP segment, with what is needed to follow its connection.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Sequence number of its first octet, or of its SYN.
    pub sequence: u32,
    /// Sequence number of the octet that it waits for, if the ACK flag is set.
    pub acknowledgment: u32,
    /// The SYN flag.
    pub syn: bool,
    /// The ACK flag.
    pub ack: bool,
    /// The FIN flag.
    pub fin: bool,
    /// The RST flag.
    pub rst: bool,
    /// The maximum segment size option, which a SYN may have.
    pub mss: Option<u16>,
    /// The octets it carries, as far as they were captured.
    pub payload: &'a [u8],
    /// How many octets behind these it carried that were not captured.
    pub missing: usize,
}

/// The TCP segment in `packet`, if there is one that can be read.
///
/// A packet that the capture has cut gives the octets that are left of it.
#[must_use]
pub fn segment<'a>(packet: &Packet<'a>) -> Option<Segment<'a>> {
    let sliced = slice(packet)?;
    let (source, destination, incomplete) = match sliced.net? {
        LaxNetSlice::Ipv4(ip) => (
            IpAddr::from(ip.header().source_addr()),
            IpAddr::from(ip.header().destination_addr()),
            ip.payload().incomplete,
        ),
        LaxNetSlice::Ipv6(ip) => (
            IpAddr::from(ip.header().source_addr()),
            IpAddr::from(ip.header().destination_addr()),
            ip.payload().incomplete,
        ),
        LaxNetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
        return None;
    };
    Some(Segment {
        time: packet.time,
        source: SocketAddr::new(source, tcp.source_port()),
        destination: SocketAddr::new(destination, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledgment: tcp.acknowledgment_number(),
        syn: tcp.syn(),
        ack: tcp.ack(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        mss: mss(&tcp),
        payload: tcp.payload(),
        missing: if incomplete {
            packet.original.saturating_sub(packet.octets.len())
        } else {
            0
        },
    })
}

fn slice<'a>(packet: &Packet<'a>) -> Option<LaxSlicedPacket<'a>> {
    let octets = packet.octets;
    match packet.link {
        link::ETHERNET => LaxSlicedPacket::from_ethernet(octets).ok(),
        link::RAW | link::IPV4 | link::IPV6 => LaxSlicedPacket::from_ip(octets).ok(),
        // Four octets of address family, whose numbers differ from system to system.
        link::NULL | link::LOOP => LaxSlicedPacket::from_ip(octets.get(4..)?).ok(),
        link::LINUX_SLL => cooked(octets.get(14..)?, octets.get(16..)?),
        link::LINUX_SLL2 => cooked(octets, octets.get(20..)?),
        _ => None,
    }
}

/// Linux "cooked" captures name the protocol by its EtherType.
fn cooked<'a>(protocol: &[u8], payload: &'a [u8]) -> Option<LaxSlicedPacket<'a>> {
    let ether_type = EtherType(u16::from_be_bytes(*protocol.first_chunk()?));
    Some(LaxSlicedPacket::from_ether_type(ether_type, payload))
}

fn mss(tcp: &TcpSlice<'_>) -> Option<u16> {
    if !tcp.syn() {
        return None;
    }
    tcp.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::MaximumSegmentSize(mss)) => Some(mss),
        _ => None,
    })
}

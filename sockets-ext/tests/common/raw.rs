//! A peer that speaks MPA by hand, octet by octet, so that it can do what ours never does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use uwarp_mpa::{
    Deframed, Deframer, Frame, FrameKind, Policy, Progress, StartupReader, crc, negotiate,
};

use super::LIMIT;

/// A peer that has made the MPA connection as initiator, in revision 1.
pub(crate) struct RawPeer {
    pub(crate) tcp: TcpStream,
    /// Whether the listener wants markers.
    pub(crate) markers: bool,
    crc: bool,
}

impl RawPeer {
    /// Connects and exchanges startup frames.
    pub(crate) fn connect(address: SocketAddr, crc: bool) -> Self {
        let mut tcp = TcpStream::connect(address).expect("a listener");
        tcp.set_read_timeout(Some(LIMIT)).expect("a timeout");
        tcp.set_nodelay(true).expect("an option");
        let request = Frame {
            kind: FrameKind::Request,
            markers: false,
            crc,
            rejected: false,
            enhanced: false,
            revision: 1,
            private_data: Vec::new(),
        };
        tcp.write_all(&request.encode().expect("a frame"))
            .expect("a peer");
        let reply = read_frame(&mut tcp, FrameKind::Reply);
        assert!(!reply.rejected);
        Self {
            tcp,
            markers: reply.markers,
            crc: crc | reply.crc,
        }
    }

    /// Frames `ulpdu`, which may be longer than ours ever are, without markers. Returns the FPDU's octets.
    pub(crate) fn frame(&self, ulpdu: &[u8]) -> Vec<u8> {
        let len = u16::try_from(ulpdu.len()).expect("what ULPDU_Length can say");
        let mut wire = len.to_be_bytes().to_vec();
        wire.extend_from_slice(ulpdu);
        wire.resize(wire.len().next_multiple_of(4), 0);
        let field = if self.crc {
            crc::to_wire(crc::crc32c(&wire))
        } else {
            [0; crc::CRC_LEN]
        };
        wire.extend_from_slice(&field);
        wire
    }

    /// Sends octets as they are.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.tcp.write_all(octets).expect("a peer");
    }
}

/// Reads one startup frame.
pub(crate) fn read_frame(tcp: &mut TcpStream, kind: FrameKind) -> Frame {
    let mut reader = StartupReader::new(kind);
    let mut need = uwarp_mpa::startup::HEADER_LEN;
    loop {
        let mut octets = vec![0; need];
        tcp.read_exact(&mut octets).expect("a startup frame");
        match reader.read(&octets).expect("a proper frame") {
            Progress::Need(more) => need = more,
            Progress::Frame { frame, .. } => return frame,
        }
    }
}

/// An RDMA Write's only segment.
pub(crate) fn write_segment(stag: u32, to: u64, payload: &[u8]) -> Vec<u8> {
    // DDP: tagged, last, version 1. RDMAP: version 1, opcode 0.
    let mut segment = vec![0xc1, 0x40];
    segment.extend(stag.to_be_bytes());
    segment.extend(to.to_be_bytes());
    segment.extend(payload);
    segment
}

/// A responder that only listens: it answers the Request by these rules, and then takes what comes.
pub(crate) struct Audience {
    pub(crate) tcp: TcpStream,
    deframer: Deframer,
    octets: Vec<u8>,
}

/// What one FPDU held: an RDMA Write's segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) ulpdu_len: u16,
    /// Octets of the FPDU.
    pub(crate) wire_len: usize,
    pub(crate) last: bool,
}

impl Audience {
    /// Reads the Request and answers it.
    pub(crate) fn accept(mut tcp: TcpStream, policy: &Policy) -> Self {
        tcp.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let frame = read_frame(&mut tcp, FrameKind::Request);
        let request = negotiate::examine_request(policy, &frame).expect("a proper Request");
        let (reply, agreement) = negotiate::accept(policy, &request, b"").expect("acceptable");
        tcp.write_all(&reply.encode().expect("a frame"))
            .expect("a peer");
        Self {
            tcp,
            deframer: Deframer::new(agreement.rx_markers, agreement.crc),
            octets: Vec::new(),
        }
    }

    /// The next FPDU; `None` when there are no more.
    pub(crate) fn hear(&mut self) -> Option<Heard> {
        loop {
            if let Deframed::Fpdu(fpdu) = self.deframer.next(&self.octets).expect("sound FPDUs") {
                let mut control = [0];
                fpdu.copy_ulpdu(&self.octets, 0..1, &mut control);
                self.deframer.consume(&fpdu);
                self.octets.drain(..fpdu.wire_len());
                return Some(Heard {
                    ulpdu_len: fpdu.ulpdu_len() as u16,
                    wire_len: fpdu.wire_len(),
                    last: control[0] & 0x40 != 0,
                });
            }
            let mut more = [0; 1 << 16];
            match self.tcp.read(&mut more).expect("octets in time") {
                0 => return None,
                len => self.octets.extend_from_slice(&more[..len]),
            }
        }
    }

    /// The segments of the next message.
    pub(crate) fn message(&mut self) -> Vec<Heard> {
        let mut segments = Vec::new();
        while segments.last().is_none_or(|segment: &Heard| !segment.last) {
            segments.push(self.hear().expect("a whole message"));
        }
        segments
    }
}

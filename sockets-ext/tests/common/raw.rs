//! A peer that speaks MPA by hand, octet by octet, so that it can do what ours never does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use uwarp_mpa::{Frame, FrameKind, Progress, StartupReader, crc};

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

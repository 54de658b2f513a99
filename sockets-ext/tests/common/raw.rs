//! A peer that speaks MPA by hand, octet by octet, so that it can do what ours never does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use uwarp_mpa::{FpduSink, Frame, FrameKind, Framer, MULPDU_MAX, Progress, StartupReader};

use super::LIMIT;

/// A peer that has made the MPA connection as initiator, in revision 1.
pub(crate) struct RawPeer {
    pub(crate) tcp: TcpStream,
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
            crc: crc | reply.crc,
        }
    }

    /// Frames `ulpdu` and returns the FPDU's octets.
    pub(crate) fn frame(&self, ulpdu: &[u8]) -> Vec<u8> {
        let mut wire = Wire(Vec::new());
        assert!(ulpdu.len() <= usize::from(MULPDU_MAX));
        Framer::new(false, self.crc)
            .frame(ulpdu, 0..0, &mut wire)
            .expect("a ULPDU that is not too long");
        wire.0
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

struct Wire(Vec<u8>);

impl FpduSink for Wire {
    fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn payload(&mut self, _: std::ops::Range<u32>) {
        unreachable!("everything is in the head");
    }

    fn payload_crc(&mut self, crc: u32, _: std::ops::Range<u32>) -> u32 {
        crc
    }
}

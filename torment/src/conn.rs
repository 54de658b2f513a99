//! One raw connection to the target: we frame, they answer, every wait has an end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use uwarp_ddp::{Header, Tagged};
use uwarp_mpa::{Deframed, Deframer, Frame, FrameKind, Progress, StartupReader};
use uwarp_rdmap::{Opcode, header::Control};

use crate::seen::{Ending, Seen};
use crate::wire::{Encoder, OUR_STAG, OUR_TO, Spoil, read, write};

/// A case could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("no TCP connection: {0}")]
    Connect(std::io::Error),
    #[error("{0}")]
    Setup(String),
    /// The rules leave it to the target whether it offers what the case needs.
    #[error("{0}")]
    NotOffered(String),
    #[error("TCP failed: {0}")]
    Tcp(#[from] std::io::Error),
}

/// The time that a target has for its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For an answer that is due.
    pub(crate) answer: Duration,
    /// For an answer that is not.
    pub(crate) quiet: Duration,
    /// Between its Reply and what we send next.
    pub(crate) settle: Duration,
}

/// The most octets that are taken from a target in one case.
const HEARD_MAX: usize = 64 << 20;

/// A connection, from its startup on.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    pub(crate) patience: Patience,
    encoder: Encoder,
    deframer: Deframer,
    buf: Vec<u8>,
    heard: usize,
    /// MSN of the next Read or Atomic Request.
    pub(crate) request_msn: u32,
    seen: Seen,
    frozen: bool,
}

impl Conn {
    /// A TCP connection, with little room for what we do not read at once.
    pub(crate) fn open(address: SocketAddr, patience: Patience) -> Result<Self, Trouble> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
            .map_err(Trouble::Connect)?;
        socket
            .set_recv_buffer_size(64 << 10)
            .and_then(|()| socket.connect_timeout(&address.into(), patience.answer))
            .map_err(Trouble::Connect)?;
        Self::adopt(socket.into(), patience)
    }

    /// A connection that the target made.
    pub(crate) fn adopt(stream: TcpStream, patience: Patience) -> Result<Self, Trouble> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience.answer))?;
        Ok(Self {
            stream,
            patience,
            encoder: Encoder {
                position: 0,
                markers: false,
                crc: true,
            },
            deframer: Deframer::new(false, true),
            buf: Vec::new(),
            heard: 0,
            request_msn: 1,
            seen: Seen::default(),
            frozen: false,
        })
    }

    /// Full operation begins: what was agreed about markers and CRC.
    pub(crate) fn operate(&mut self, send_markers: bool, hear_markers: bool, crc: bool) {
        self.encoder.markers = send_markers;
        self.encoder.crc = crc;
        self.deframer = Deframer::new(hear_markers, crc);
    }

    /// Puts markers into what is sent, agreed or not.
    pub(crate) fn set_markers(&mut self, on: bool) {
        self.encoder.markers = on;
    }

    /// Sends octets as they are. A target that has closed already is found out by hearing.
    pub(crate) fn raw(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets);
    }

    /// Sends one octet at a time, each in a segment of its own.
    pub(crate) fn trickle(&mut self, octets: &[u8], pause: Duration) {
        for octet in octets {
            if self.stream.write_all(&[*octet]).is_err() {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// Sends a ULPDU; a Terminate must blame the last one sent this way.
    pub(crate) fn say(&mut self, ulpdu: &[u8]) {
        self.say_spoiled(ulpdu, Spoil::Nothing);
    }

    /// As [`say`](Self::say), with a spoiled FPDU.
    pub(crate) fn say_spoiled(&mut self, ulpdu: &[u8], spoil: Spoil) {
        let wire = self.framed(ulpdu, spoil);
        self.raw(&wire);
    }

    /// Sends several ULPDUs in one write.
    pub(crate) fn say_together(&mut self, ulpdus: &[Vec<u8>]) {
        let wire: Vec<u8> = ulpdus
            .iter()
            .flat_map(|ulpdu| self.framed(ulpdu, Spoil::Nothing))
            .collect();
        self.raw(&wire);
    }

    /// The octets of an FPDU, to be sent by [`raw`](Self::raw) or [`trickle`](Self::trickle).
    pub(crate) fn framed(&mut self, ulpdu: &[u8], spoil: Spoil) -> Vec<u8> {
        if !self.frozen {
            self.seen.blamed = ulpdu.to_vec();
        }
        self.encoder.frame(ulpdu, spoil)
    }

    /// The last ULPDU is the one to blame, whatever follows.
    pub(crate) fn blame(&mut self) {
        self.frozen = true;
    }

    /// A proper first FPDU, after which the target may speak: an RDMA Write of nothing.
    pub(crate) fn hello(&mut self) {
        self.say(&write(0, 0, b""));
    }

    /// Our FIN; we still hear.
    pub(crate) fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) -> Result<(), Trouble> {
        Ok(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?)
    }

    /// Reads into the buffer until `deadline`; what it cannot read is the end.
    fn fill(&mut self, deadline: Instant) -> Result<(), Ending> {
        let mut chunk = [0; 64 << 10];
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Ending::Silence);
        }
        if self.stream.set_read_timeout(Some(left)).is_err() {
            return Err(Ending::Reset);
        }
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Ending::Fin),
            Ok(count) => {
                self.heard += count;
                self.buf.extend_from_slice(&chunk[..count]);
                if self.heard > HEARD_MAX {
                    self.seen.breaks("the target sends without end");
                    return Err(Ending::Silence);
                }
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Ending::Silence)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Ending::Reset),
        }
    }

    /// The target's startup frame, or how the connection ended instead.
    pub(crate) fn frame(&mut self, kind: FrameKind) -> Result<Frame, Ending> {
        let deadline = Instant::now() + self.patience.answer;
        loop {
            match StartupReader::new(kind).read(&self.buf) {
                Ok(Progress::Frame { frame, consumed }) => {
                    self.buf.drain(..consumed);
                    if kind == FrameKind::Reply && !frame.rejected {
                        std::thread::sleep(self.patience.settle);
                    }
                    return Ok(frame);
                }
                Ok(Progress::Need(_)) => {}
                Err(error) => {
                    self.seen.breaks(format!("improper {kind}: {error}"));
                    return Err(Ending::Silence);
                }
            }
            self.fill(deadline)?;
        }
    }

    /// The next ULPDU, or how the connection ended.
    pub(crate) fn ulpdu(&mut self, deadline: Instant) -> Result<Vec<u8>, Ending> {
        loop {
            match self.deframer.next(&self.buf) {
                Ok(Deframed::Fpdu(fpdu)) => {
                    let mut ulpdu = vec![0; fpdu.ulpdu_len()];
                    fpdu.copy_ulpdu(&self.buf, 0..fpdu.ulpdu_len(), &mut ulpdu);
                    self.deframer.consume(&fpdu);
                    self.buf.drain(..fpdu.wire_len());
                    return Ok(ulpdu);
                }
                Ok(Deframed::Need(_)) => {}
                Err(error) => {
                    self.seen.breaks(format!("improper FPDU: {error}"));
                    return Err(Ending::Silence);
                }
            }
            self.fill(deadline)?;
        }
    }

    /// Everything until the target closes, or `wait` has passed without an octet of it closing.
    pub(crate) fn listen_for(mut self, wait: Duration) -> Seen {
        let deadline = Instant::now() + wait;
        self.seen.ending = loop {
            match self.ulpdu(deadline) {
                Ok(ulpdu) => self.seen.hear(ulpdu),
                Err(ending) => break ending,
            }
        };
        let inside = self.seen.ending == Ending::Fin && !self.buf.is_empty();
        self.seen
            .require(!inside, "the target closed inside an FPDU");
        self.seen
    }

    /// Everything until the target closes or its time is over.
    pub(crate) fn listen(self) -> Seen {
        let wait = self.patience.answer;
        self.listen_for(wait)
    }

    /// Plain octets, after MPA is over.
    pub(crate) fn plain(&mut self, len: usize) -> Vec<u8> {
        let deadline = Instant::now() + self.patience.answer;
        while self.buf.len() < len && self.fill(deadline).is_ok() {}
        self.buf.clone()
    }

    /// What the target has said so far must have been nothing.
    pub(crate) fn expect_quiet(&mut self, rule: &str) {
        let deadline = Instant::now() + self.patience.quiet;
        match self.fill(deadline) {
            Err(Ending::Silence) => {}
            _ => self.seen.breaks(format!("not quiet: {rule}")),
        }
    }

    /// The next ULPDU, if one comes in a time in which none should.
    pub(crate) fn stray(&mut self) -> Option<Vec<u8>> {
        let deadline = Instant::now() + self.patience.quiet;
        self.ulpdu(deadline).ok()
    }

    /// What is known so far, to be added to.
    pub(crate) fn seen(&mut self) -> &mut Seen {
        &mut self.seen
    }

    /// Ends the case here.
    pub(crate) fn finish(self) -> Seen {
        self.seen
    }

    /// The next message that is not a Terminate; a Terminate or the end is taken note of.
    pub(crate) fn message(&mut self) -> Option<Vec<u8>> {
        let deadline = Instant::now() + self.patience.answer;
        match self.ulpdu(deadline) {
            Ok(ulpdu) => {
                self.seen.hear(ulpdu.clone());
                self.seen.terminate.is_none().then_some(ulpdu)
            }
            Err(ending) => {
                self.seen.ending = ending;
                None
            }
        }
    }

    /// Reads `len` octets at `to` of `stag` over this connection.
    pub(crate) fn fetch(&mut self, stag: u32, to: u64, len: u32) -> Option<Vec<u8>> {
        let request = read(self.request_msn, stag, to, len);
        self.request_msn = self.request_msn.wrapping_add(1);
        self.say(&request);
        self.response(len)
    }

    /// The answer to a Read of `len` octets, checked; `None` if something else comes.
    pub(crate) fn response(&mut self, len: u32) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        loop {
            let ulpdu = self.message()?;
            let (header, header_len) = Header::parse(&ulpdu, ulpdu.len()).ok()?;
            let Header::Tagged(Tagged {
                last,
                ulp,
                stag,
                to,
            }) = header
            else {
                // A message of another kind may come between Responses.
                continue;
            };
            if Control(ulp).opcode() != Opcode::READ_RESPONSE {
                self.seen.breaks("a tagged message that nobody asked for");
                return None;
            }
            let due = OUR_TO.wrapping_add(data.len() as u64);
            if stag.0 != OUR_STAG || to != due {
                let what = format!("Read Response for {stag} at {to:#x}, due at {due:#x} (R07)");
                self.seen.breaks(what);
                return None;
            }
            data.extend_from_slice(&ulpdu[header_len..]);
            if last {
                let got = data.len();
                self.seen
                    .require(got == len as usize, format!("{got} octets of {len} read"));
                return Some(data);
            }
        }
    }
}

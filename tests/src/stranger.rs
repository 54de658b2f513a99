//! A peer made by hand: it sets the connection up as it should, and then says whatever the test
//! wants it to say.

use std::time::{Duration, Instant};

use uwarp_ddp::{Header, Stag, TAGGED_LEN, Tagged, UNTAGGED_LEN, Untagged};
use uwarp_mpa::{
    Agreement, Conclusion, Deframed, Deframer, FpduSink, Frame, FrameKind, Framer, Policy,
    Progress, Rtr, StartupReader, crc, negotiate,
};
use uwarp_rdmap::header::{Control, ReadRequest};
use uwarp_rdmap::{Completion, Opcode, Operation, PostError, Slot, Terminate, Work};
use uwarp_stream::{Batch, Config, Connection, End, Event};

use crate::drive::gather;
use crate::memory::Ram;

/// Names the sinks of the connection's own Reads.
pub const SINK_STAG: Stag = Stag(0x51_4b_00_01);

/// A segment that the connection has sent: its DDP header and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The DDP header.
    pub header: Header,
    /// The octets behind it.
    pub body: Vec<u8>,
}

impl Heard {
    /// What the message is.
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        Control(self.header.ulp()).opcode()
    }

    /// The Terminate message that it is, if it is one.
    #[must_use]
    pub fn terminate(&self) -> Option<Terminate> {
        let terminates = self.opcode() == Opcode::TERMINATE;
        terminates.then(|| Terminate::parse(&self.body)).flatten()
    }

    /// The Read Request that it is, if it is one.
    #[must_use]
    pub fn read_request(&self) -> Option<ReadRequest> {
        let asks = self.opcode() == Opcode::READ_REQUEST;
        asks.then(|| ReadRequest::parse(&self.body)).flatten()
    }
}

/// Our connection, its memory, and the pen of whoever is at the other end.
#[derive(Debug)]
pub struct Bench {
    /// The connection under test.
    pub connection: Connection,
    /// Its memory.
    pub ram: Ram,
    /// The virtual time.
    pub now: Instant,
    /// What it has told, until the test takes it.
    pub events: Vec<Event>,
    /// What has completed, until the test takes it.
    pub completions: Vec<Completion>,
    /// Whether its FIN has been sent.
    pub fin: bool,
    framer: Framer,
    deframer: Deframer,
    /// Octets of the connection's that are no whole FPDU yet.
    pub unread: Vec<u8>,
    staged: Vec<u8>,
    batch: Batch<usize>,
}

impl Bench {
    /// A connection that waits for a Request.
    #[must_use]
    pub fn responder(config: Config) -> Self {
        let now = Instant::now();
        Self::new(Connection::responder(config, SINK_STAG, now), now)
    }

    /// A connection that sends a Request.
    ///
    /// # Panics
    /// When its policy cannot be put into one.
    #[must_use]
    pub fn initiator(config: Config) -> Self {
        let now = Instant::now();
        let connection = Connection::initiator(config, b"out", SINK_STAG, now);
        Self::new(connection.expect("the policy is sound"), now)
    }

    fn new(connection: Connection, now: Instant) -> Self {
        Self {
            connection,
            ram: Ram::default(),
            now,
            events: Vec::new(),
            completions: Vec::new(),
            fin: false,
            framer: Framer::new(false, true),
            deframer: Deframer::new(false, true),
            unread: Vec::new(),
            staged: Vec::new(),
            batch: Batch::new(),
        }
    }

    /// A responder in full operation, which has heard an RTR if there was to be one.
    ///
    /// # Panics
    /// When the two policies do not fit.
    #[must_use]
    pub fn accepted(config: Config, theirs: &Policy) -> Self {
        let mut bench = Self::silent(config, theirs);
        let peer_to_peer = bench.agreement().peer_to_peer;
        if peer_to_peer {
            bench.send(&empty_write());
            assert!(bench.fpdus_received() == 1 && !bench.is_ending());
        }
        bench
    }

    /// A responder that has accepted and not heard an FPDU.
    ///
    /// # Panics
    /// When the two policies do not fit.
    #[must_use]
    pub fn silent(config: Config, theirs: &Policy) -> Self {
        let mut bench = Self::responder(config);
        let request = negotiate::request(theirs, b"in").expect("the policy is sound");
        bench.feed(&request.encode().expect("it can be sent"));
        bench.accept();
        let reply = bench.take_frame(FrameKind::Reply);
        let conclusion = negotiate::conclude(theirs, &reply).expect("the Reply is proper");
        let Conclusion::Accepted { agreement, .. } = conclusion else {
            panic!("the policies fit: {conclusion:?}");
        };
        bench.open(&agreement);
        bench
    }

    /// An initiator in full operation; its RTR, if there is one, has been heard.
    ///
    /// # Panics
    /// When the two policies do not fit.
    #[must_use]
    pub fn connected(config: Config, theirs: &Policy) -> Self {
        let mut bench = Self::initiator(config);
        let request = bench.take_frame(FrameKind::Request);
        let request = negotiate::examine_request(theirs, &request).expect("a proper Request");
        let (reply, agreement) = negotiate::accept(theirs, &request, b"in").expect("acceptable");
        bench.feed(&reply.encode().expect("it can be sent"));
        bench.open(&agreement);
        if bench.agreement().rtr == Some(Rtr::Read) {
            let request = bench.hear()[0].read_request().expect("the RTR is a Read");
            bench.send(&response(&request, 0, &[], true));
        } else if bench.agreement().rtr.is_some() {
            assert_eq!(bench.hear().len(), 1, "the RTR");
        }
        bench
    }

    /// The Request has come: it is accepted.
    ///
    /// # Panics
    /// When it has not.
    pub fn accept(&mut self) {
        let last = self.events.pop();
        assert!(matches!(last, Some(Event::Request(_))), "{last:?}");
        self.connection
            .accept(b"out", self.now)
            .expect("it can be accepted");
        self.drain();
    }

    /// The other end begins full operation.
    pub fn open(&mut self, theirs: &Agreement) {
        self.framer = Framer::new(theirs.tx_markers, theirs.crc);
        self.deframer = Deframer::new(theirs.rx_markers, theirs.crc);
        self.events
            .retain(|event| !matches!(event, Event::Established(_)));
    }

    fn agreement(&self) -> &Agreement {
        self.connection.agreement().expect("it is set up")
    }

    fn fpdus_received(&self) -> u64 {
        self.connection.stats().fpdus_received
    }

    fn is_ending(&self) -> bool {
        !self.events.is_empty() || self.connection.is_over()
    }

    /// The startup frame that the connection has written.
    ///
    /// # Panics
    /// When it has not written one, or something else as well.
    pub fn take_frame(&mut self, kind: FrameKind) -> Frame {
        self.drain();
        let octets = std::mem::take(&mut self.unread);
        match StartupReader::new(kind).read(&octets) {
            Ok(Progress::Frame { frame, consumed }) if consumed == octets.len() => frame,
            other => panic!("{other:?} instead of one frame"),
        }
    }

    /// Octets arrive, and nothing is written yet.
    pub fn take(&mut self, octets: &[u8]) {
        self.staged.extend_from_slice(octets);
        let received = self
            .connection
            .receive(&self.staged, &mut self.ram, self.now);
        self.staged.drain(..received.consumed);
    }

    /// Octets arrive.
    pub fn feed(&mut self, octets: &[u8]) {
        self.take(octets);
        self.drain();
    }

    /// The FPDU of a segment, in its place in the stream.
    #[must_use]
    pub fn frame(&mut self, ulpdu: &[u8]) -> Vec<u8> {
        let mut wire = Wire(Vec::new());
        let framed = self.framer.frame(ulpdu, 0..0, &mut wire);
        framed.expect("a ULPDU of legal length");
        wire.0
    }

    /// A segment arrives.
    pub fn send(&mut self, ulpdu: &[u8]) {
        let fpdu = self.frame(ulpdu);
        self.feed(&fpdu);
    }

    /// The other end's FIN arrives.
    pub fn finish(&mut self) {
        self.connection.end_of_stream(self.staged.len());
        self.drain();
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.connection.timeout(self.now);
        self.drain();
    }

    /// The driver writes what there is to write, and takes what there is to tell.
    pub fn drain(&mut self) {
        loop {
            self.connection
                .transmit(&mut self.batch, &mut self.ram, 1 << 16, self.now);
            let octets = gather(&self.batch, &self.ram, usize::MAX);
            assert!(octets.is_empty() || !self.fin, "nothing follows the FIN");
            self.batch.advance(octets.len());
            self.connection.written(octets.len());
            self.unread.extend_from_slice(&octets);
            if octets.is_empty() {
                break;
            }
        }
        if self.connection.wants_shutdown() {
            self.connection.shut_down();
            self.fin = true;
        }
        self.events
            .extend(std::iter::from_fn(|| self.connection.poll_event()));
        self.completions
            .extend(std::iter::from_fn(|| self.connection.poll_completion()));
    }

    /// Writes only what one segment takes, so that a message stays unfinished.
    pub fn drain_one(&mut self) {
        self.fill(1);
        self.write(usize::MAX);
    }

    /// Frames segments until the batch holds `budget` octets, and writes none of it.
    pub fn fill(&mut self, budget: usize) {
        self.connection
            .transmit(&mut self.batch, &mut self.ram, budget, self.now);
    }

    /// Writes at most so many octets of what the batch holds.
    pub fn write(&mut self, most: usize) {
        let octets = gather(&self.batch, &self.ram, most);
        self.batch.advance(octets.len());
        self.connection.written(octets.len());
        self.unread.extend_from_slice(&octets);
    }

    /// The segments that have been sent since it was last asked.
    ///
    /// # Panics
    /// When there is something that is no FPDU.
    pub fn hear(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut at = 0;
        while let Deframed::Fpdu(fpdu) =
            (self.deframer.next(&self.unread[at..])).expect("it sends proper FPDUs")
        {
            let mut ulpdu = vec![0; fpdu.ulpdu_len()];
            fpdu.copy_ulpdu(&self.unread[at..], 0..usize::MAX, &mut ulpdu);
            self.deframer.consume(&fpdu);
            at += fpdu.wire_len();
            let (header, len) = Header::parse(&ulpdu, ulpdu.len()).expect("a proper header");
            let body = ulpdu.split_off(len);
            heard.push(Heard { header, body });
        }
        self.unread.drain(..at);
        heard
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.events.iter().find_map(|event| match event {
            Event::Over(end) => Some(end),
            _ => None,
        })
    }

    /// The connection's own program posts a request, which is not transmitted yet.
    ///
    /// # Errors
    /// Those of [`Connection::post`].
    pub fn post(&mut self, operation: Operation, len: u32) -> Result<Slot, PostError> {
        let slot = self.ram.slot(vec![0x5a; len as usize]);
        let work = Work {
            slot,
            operation,
            len,
        };
        self.connection.post(work).map(|()| slot)
    }

    /// It posts a receive buffer.
    ///
    /// # Errors
    /// Those of [`Connection::post_receive`].
    pub fn post_receive(&mut self, len: u32) -> Result<Slot, PostError> {
        let slot = self.ram.slot(vec![0; len as usize]);
        self.connection.post_receive(slot, len).map(|()| slot)
    }
}

/// Takes an FPDU whose payload is part of its header.
struct Wire(Vec<u8>);

impl FpduSink for Wire {
    fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn payload(&mut self, _: std::ops::Range<u32>) {}

    fn payload_crc(&mut self, crc: u32, _: std::ops::Range<u32>) -> u32 {
        crc
    }
}

/// An FPDU without markers that says any length, with a CRC that is right.
#[must_use]
pub fn raw_fpdu(ulpdu_len: u16, ulpdu: &[u8]) -> Vec<u8> {
    let mut wire = ulpdu_len.to_be_bytes().to_vec();
    wire.extend_from_slice(ulpdu);
    wire.resize(wire.len().next_multiple_of(4), 0);
    wire.extend_from_slice(&crc::to_wire(crc::crc32c(&wire)));
    wire
}

/// Makes the last four octets of an FPDU the CRC of those before them.
pub fn fix_crc(fpdu: &mut [u8]) {
    if let Some((covered, field)) = fpdu.split_last_chunk_mut::<4>() {
        *field = crc::to_wire(crc::crc32c(covered));
    }
}

/// A tagged segment.
#[must_use]
pub fn tagged(opcode: Opcode, stag: Stag, to: u64, payload: &[u8], last: bool) -> Vec<u8> {
    let ulp = Control::new(opcode).0;
    let header = Header::Tagged(Tagged {
        last,
        ulp,
        stag,
        to,
    });
    let mut octets = [0; UNTAGGED_LEN];
    header.encode(&mut octets);
    [&octets[..TAGGED_LEN], payload].concat()
}

/// An untagged segment.
#[must_use]
pub fn untagged(header: Untagged, payload: &[u8]) -> Vec<u8> {
    let mut octets = [0; UNTAGGED_LEN];
    Header::Untagged(header).encode(&mut octets);
    [&octets[..], payload].concat()
}

/// The header of a message of one segment.
#[must_use]
pub const fn single(opcode: Opcode, qn: u32, msn: u32) -> Untagged {
    Untagged {
        last: true,
        ulp: Control::new(opcode).0,
        ulp_word: 0,
        qn,
        msn,
        mo: 0,
    }
}

/// A Send of one segment.
#[must_use]
pub fn send(msn: u32, payload: &[u8]) -> Vec<u8> {
    untagged(single(Opcode::SEND, 0, msn), payload)
}

/// An RDMA Write of one segment.
#[must_use]
pub fn write(stag: Stag, to: u64, payload: &[u8]) -> Vec<u8> {
    tagged(Opcode::WRITE, stag, to, payload, true)
}

/// The RDMA Write that does nothing.
#[must_use]
pub fn empty_write() -> Vec<u8> {
    write(Stag(0), 0, &[])
}

/// A Read Request.
#[must_use]
pub fn read(msn: u32, request: &ReadRequest) -> Vec<u8> {
    untagged(single(Opcode::READ_REQUEST, 1, msn), &request.encode())
}

/// A Terminate message.
#[must_use]
pub fn terminate(body: &[u8]) -> Vec<u8> {
    untagged(single(Opcode::TERMINATE, 2, 1), body)
}

/// A segment of the answer to `request`.
#[must_use]
pub fn response(request: &ReadRequest, offset: u64, payload: &[u8], last: bool) -> Vec<u8> {
    let to = request.sink_to + offset;
    tagged(Opcode::READ_RESPONSE, request.sink_stag, to, payload, last)
}

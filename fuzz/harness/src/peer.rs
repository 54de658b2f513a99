//! The other end of the wire: it sends whatever the input wants, and listens carefully.

use std::collections::VecDeque;

use uwarp_ddp::{Control as DdpControl, Header, Stag, TAGGED_LEN, Tagged, UNTAGGED_LEN, Untagged};
use uwarp_mpa::{Agreement, Deframed, Deframer};
use uwarp_rdmap::atomic::{AtomicRequest, AtomicResponse};
use uwarp_rdmap::header::{Control, IMMEDIATE_LEN, ReadRequest};
use uwarp_rdmap::{Opcode, Terminate};

use crate::wire;

/// A Read of the connection under test, and how much of it has been answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeardRead {
    pub(crate) request: ReadRequest,
    pub(crate) answered: u32,
}

/// A Read of the peer's, and how much of the answer has been heard.
#[derive(Clone, Copy, Debug)]
struct Asked {
    request: ReadRequest,
    heard: u32,
}

/// The peer's half of the wire, in both directions.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What the connection under test agreed to.
    agreement: Agreement,
    /// The largest segment that it may send.
    pub(crate) mulpdu: u16,
    /// Octets sent in full operation.
    sent: u64,
    deframer: Deframer,
    heard: Vec<u8>,
    send_msn: u32,
    request_msn: u32,
    /// Reads that were heard and not answered to the end.
    pub(crate) reads: VecDeque<HeardRead>,
    /// Identifiers of atomic operations that were heard and not answered.
    pub(crate) atomics: VecDeque<u32>,
    /// Reads of the peer's own that have not been answered to the end.
    asked: VecDeque<Asked>,
    /// Terminates that were heard.
    pub(crate) terminates: usize,
    /// Whether the peer has sent nothing behind the back of `reads` and `asked`.
    pub(crate) orderly: bool,
    /// Where the Send is that the peer is in the middle of.
    pub(crate) next_msn: u32,
    pub(crate) next_mo: u32,
    /// MSN of the peer's next Read or Atomic Request.
    pub(crate) next_request_msn: u32,
    /// MSN of the peer's next Atomic Response.
    pub(crate) next_answer_msn: u32,
}

impl Peer {
    pub(crate) const fn new(agreement: Agreement, mulpdu: u16) -> Self {
        Self {
            agreement,
            mulpdu,
            sent: 0,
            deframer: Deframer::new(agreement.tx_markers, agreement.crc),
            heard: Vec::new(),
            send_msn: 1,
            request_msn: 1,
            reads: VecDeque::new(),
            atomics: VecDeque::new(),
            asked: VecDeque::new(),
            terminates: 0,
            orderly: true,
            next_msn: 1,
            next_mo: 0,
            next_request_msn: 1,
            next_answer_msn: 1,
        }
    }

    /// The peer asks for a Read.
    pub(crate) fn ask(&mut self, request: ReadRequest) -> u32 {
        self.asked.push_back(Asked { request, heard: 0 });
        self.next_request_msn += 1;
        self.next_request_msn - 1
    }

    /// The FPDU of a segment, as the connection under test expects it.
    pub(crate) fn frame(&self, ulpdu: &[u8]) -> Vec<u8> {
        let Agreement {
            rx_markers, crc, ..
        } = self.agreement;
        wire::frame(self.sent, ulpdu, rx_markers, crc)
    }

    /// Octets are on their way to the connection under test.
    pub(crate) const fn note_sent(&mut self, octets: usize) {
        self.sent += octets as u64;
    }

    /// Makes the CRC of a spoiled FPDU right.
    pub(crate) fn fix_crc(&self, fpdu: &mut [u8]) {
        if self.agreement.crc {
            wire::fix_crc(fpdu);
        }
    }

    /// Octets of the connection under test.
    ///
    /// # Panics
    /// When they break a rule.
    pub(crate) fn hear(&mut self, octets: &[u8]) {
        self.heard.extend_from_slice(octets);
        let mut consumed = 0;
        loop {
            let buf = &self.heard[consumed..];
            match self.deframer.next(buf).expect("it sends proper FPDUs") {
                Deframed::Need(_) => break,
                Deframed::Fpdu(fpdu) => {
                    let mut ulpdu = vec![0; fpdu.ulpdu_len()];
                    fpdu.copy_ulpdu(buf, 0..usize::MAX, &mut ulpdu);
                    self.deframer.consume(&fpdu);
                    consumed += fpdu.wire_len();
                    self.hear_segment(&ulpdu);
                }
            }
        }
        self.heard.drain(..consumed);
    }

    fn hear_segment(&mut self, ulpdu: &[u8]) {
        assert_eq!(self.terminates, 0, "nothing follows a Terminate (R25)");
        let (header, header_len) =
            Header::parse(ulpdu, ulpdu.len()).expect("its headers are proper");
        let body = &ulpdu[header_len..];
        match header {
            Header::Tagged(header) => {
                self.bounded(ulpdu);
                match Control(header.ulp).opcode() {
                    Opcode::WRITE => {}
                    Opcode::READ_RESPONSE if self.orderly => self.hear_answer(&header, body),
                    Opcode::READ_RESPONSE => {}
                    other => panic!("{other:?} in a tagged segment"),
                }
            }
            Header::Untagged(header) => self.hear_untagged(&header, ulpdu, body),
        }
    }

    /// Answers come in the order of the Reads, each from its beginning to its end (R16).
    fn hear_answer(&mut self, header: &Tagged, body: &[u8]) {
        let asked = self.asked.front_mut().expect("it answers what was asked");
        let request = &asked.request;
        let to = request.sink_to.wrapping_add(asked.heard.into());
        assert_eq!((header.stag, header.to), (request.sink_stag, to));
        asked.heard += body.len() as u32;
        assert_eq!(header.last, asked.heard == request.size);
        if header.last {
            self.asked.pop_front();
        }
    }

    fn hear_untagged(&mut self, header: &Untagged, ulpdu: &[u8], body: &[u8]) {
        match (Control(header.ulp).opcode(), header.qn) {
            (opcode, 0) if opcode.is_send() => {
                self.bounded(ulpdu);
                assert_eq!(header.msn, self.send_msn);
                self.send_msn += u32::from(header.last);
            }
            (Opcode::IMMEDIATE | Opcode::IMMEDIATE_SOLICITED, 0) => {
                assert_eq!((header.msn, header.last), (self.send_msn, true));
                assert_eq!(body.len(), IMMEDIATE_LEN);
                self.send_msn += 1;
            }
            (Opcode::ATOMIC_REQUEST, 1) => {
                let request = AtomicRequest::parse(body).expect("its requests are proper");
                assert_eq!(header.msn, self.request_msn);
                self.request_msn += 1;
                self.atomics.push_back(request.id);
            }
            (Opcode::READ_REQUEST, 1) => {
                let request = ReadRequest::parse(body).expect("its Read Requests are proper");
                assert_eq!(header.msn, self.request_msn);
                self.request_msn += 1;
                self.reads.push_back(HeardRead {
                    request,
                    answered: 0,
                });
                let kept = self.reads.len() <= self.agreement.ord.into();
                assert!(kept || !self.orderly, "the ORD is kept (R37)");
            }
            (Opcode::ATOMIC_RESPONSE, 3) => {
                assert!(AtomicResponse::parse(body).is_some());
            }
            (Opcode::TERMINATE, 2) => {
                assert!(Terminate::parse(body).is_some());
                self.terminates += 1;
            }
            (opcode, qn) => panic!("{opcode:?} on queue {qn}"),
        }
    }

    fn bounded(&self, ulpdu: &[u8]) {
        assert!(ulpdu.len() <= self.mulpdu.into(), "the MULPDU is kept");
    }
}

/// A tagged segment.
pub(crate) fn tagged(last: bool, ulp: u8, stag: Stag, to: u64, payload: &[u8]) -> Vec<u8> {
    let header = Header::Tagged(Tagged {
        last,
        ulp,
        stag,
        to,
    });
    segment(&header, TAGGED_LEN, payload)
}

/// An untagged segment.
pub(crate) fn untagged(header: Untagged, payload: &[u8]) -> Vec<u8> {
    segment(&Header::Untagged(header), UNTAGGED_LEN, payload)
}

fn segment(header: &Header, header_len: usize, payload: &[u8]) -> Vec<u8> {
    let mut octets = [0; UNTAGGED_LEN];
    assert_eq!(header.encode(&mut octets), header_len);
    assert_eq!(DdpControl(octets[0]).header_len(), header_len);
    let mut ulpdu = octets[..header_len].to_vec();
    ulpdu.extend_from_slice(payload);
    ulpdu
}

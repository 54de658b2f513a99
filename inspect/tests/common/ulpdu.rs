//! ULPDUs: a DDP header, and what it carries.

use uwarp_ddp::{Header, Stag, Tagged, UNTAGGED_LEN, Untagged};
use uwarp_rdmap::atomic::{AtomicRequest, AtomicResponse};
use uwarp_rdmap::header::{
    Control, QN_ATOMIC_RESPONSE, QN_READ_REQUEST, QN_SEND, QN_TERMINATE, ReadRequest,
};
use uwarp_rdmap::{AtomicOperation, Opcode};

pub(crate) const SINK: Stag = Stag(0x5111_0001);
pub(crate) const SOURCE: Stag = Stag(0x5222_0002);

fn ulpdu(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut head = [0; UNTAGGED_LEN];
    let len = header.encode(&mut head);
    [&head[..len], payload].concat()
}

/// A segment of a message for a buffer.
pub(crate) fn tagged(opcode: Opcode, last: bool, stag: Stag, to: u64, payload: &[u8]) -> Vec<u8> {
    let ulp = Control::new(opcode).0;
    let header = Tagged {
        last,
        ulp,
        stag,
        to,
    };
    ulpdu(Header::Tagged(header), payload)
}

/// Where an untagged segment goes: queue, MSN and MO.
#[derive(Clone, Copy)]
pub(crate) struct Place(pub(crate) u32, pub(crate) u32, pub(crate) u32);

/// A segment of a message for a queue.
pub(crate) fn untagged(
    opcode: Opcode,
    last: bool,
    word: u32,
    Place(qn, msn, mo): Place,
    payload: &[u8],
) -> Vec<u8> {
    let header = Untagged {
        last,
        ulp: Control::new(opcode).0,
        ulp_word: word,
        qn,
        msn,
        mo,
    };
    ulpdu(Header::Untagged(header), payload)
}

/// Send number `msn`.
pub(crate) fn send(msn: u32, payload: &[u8]) -> Vec<u8> {
    untagged(Opcode::SEND, true, 0, Place(QN_SEND, msn, 0), payload)
}

/// A part of Send number `msn`.
pub(crate) fn send_part(msn: u32, mo: u32, last: bool, payload: &[u8]) -> Vec<u8> {
    untagged(Opcode::SEND, last, 0, Place(QN_SEND, msn, mo), payload)
}

/// A Write of one segment.
pub(crate) fn write(to: u64, payload: &[u8]) -> Vec<u8> {
    tagged(Opcode::WRITE, true, SINK, to, payload)
}

/// The body of a Read Request for so many octets.
pub(crate) fn read_body(sink_to: u64, size: u32, source_to: u64) -> Vec<u8> {
    let request = ReadRequest {
        sink_stag: SINK,
        sink_to,
        size,
        source_stag: SOURCE,
        source_to,
    };
    request.encode().to_vec()
}

/// Read Request number `msn`.
pub(crate) fn read(msn: u32, sink_to: u64, size: u32) -> Vec<u8> {
    request(Opcode::READ_REQUEST, msn, &read_body(sink_to, size, 0x9000))
}

/// Read or Atomic Request number `msn` with this body.
pub(crate) fn request(opcode: Opcode, msn: u32, body: &[u8]) -> Vec<u8> {
    untagged(opcode, true, 0, Place(QN_READ_REQUEST, msn, 0), body)
}

/// A Read Response of one segment.
pub(crate) fn response(to: u64, payload: &[u8]) -> Vec<u8> {
    tagged(Opcode::READ_RESPONSE, true, SINK, to, payload)
}

/// The body of a FetchAdd.
pub(crate) fn atomic_body(id: u32) -> Vec<u8> {
    let request = AtomicRequest {
        id,
        stag: SOURCE,
        to: 0x40,
        operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
    };
    request.encode().to_vec()
}

/// Atomic Request number `msn`.
pub(crate) fn atomic(msn: u32, id: u32) -> Vec<u8> {
    request(Opcode::ATOMIC_REQUEST, msn, &atomic_body(id))
}

/// Atomic Response number `msn`.
pub(crate) fn atomic_response(msn: u32, id: u32) -> Vec<u8> {
    let body = AtomicResponse { id, original: 77 }.encode();
    let place = Place(QN_ATOMIC_RESPONSE, msn, 0);
    untagged(Opcode::ATOMIC_RESPONSE, true, 0, place, &body)
}

/// Immediate Data in message `msn` of queue 0.
pub(crate) fn immediate(msn: u32, payload: &[u8]) -> Vec<u8> {
    untagged(Opcode::IMMEDIATE, true, 0, Place(QN_SEND, msn, 0), payload)
}

/// A Terminate with this body: the word and what follows it.
pub(crate) fn terminate(body: &[u8]) -> Vec<u8> {
    untagged(Opcode::TERMINATE, true, 0, Place(QN_TERMINATE, 1, 0), body)
}

/// The same ULPDU with one octet changed.
pub(crate) fn with(mut ulpdu: Vec<u8>, at: usize, octet: u8) -> Vec<u8> {
    ulpdu[at] = octet;
    ulpdu
}

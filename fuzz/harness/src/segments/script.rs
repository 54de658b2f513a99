//! What a step of an input stands for.

use std::time::Duration;

use uwarp_ddp::{Stag, Untagged};
use uwarp_mpa::{Deframed, Deframer, Octets};
use uwarp_rdmap::atomic::{AtomicRequest, AtomicResponse};
use uwarp_rdmap::header::{
    Control, QN_ATOMIC_RESPONSE, QN_READ_REQUEST, QN_SEND, QN_TERMINATE, ReadRequest,
};
use uwarp_rdmap::{AtomicOperation, Opcode, Operation};

use super::Session;
use crate::arena::Arena;
use crate::input::Input;
use crate::peer::{Peer, tagged, untagged};
use crate::wire;

impl Session {
    /// One step; its first octet says which.
    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 25 {
            0 => self.peer_sends(input),
            1 => self.peer_writes(input),
            2 => self.peer_reads(input),
            3 => self.peer_answers(input),
            4 => self.any_tagged(input),
            5 => self.any_untagged(input),
            6 => self.peer_terminates(input),
            7 => self.any_segment(input.short_slice()),
            8 => self.spoiled(input),
            9 => self.send_octets(input.short_slice()),
            10 => self.post(None, input.u16() % 6000),
            11 => {
                let operation = Operation::Send {
                    solicited: input.u8() & 1 != 0,
                    invalidate: (input.u8() & 1 != 0).then_some(Stag(7)),
                };
                self.post(Some(operation), input.u16() % 6000);
            }
            12 => {
                let (stag, to) = (Stag(9), input.u64());
                self.post(Some(Operation::Write { stag, to }), input.u16() % 6000);
            }
            13 => {
                let (stag, to) = (Stag(9), input.u64());
                self.post(Some(Operation::Read { stag, to }), input.u16() % 6000);
            }
            14 | 15 => self.read(usize::from(input.u16())),
            16 => self.write(usize::from(input.u16()), usize::from(input.u16())),
            17 => self.arena.revoke(input.u8().into()),
            18 => self.rare(input),
            20 => self.peer_changes(input),
            21 => self.peer_immediate(input),
            22 => self.peer_tells_the_word(input),
            23 => {
                let operation = Operation::Immediate {
                    data: input.u64().to_be_bytes(),
                    solicited: input.u8() & 1 != 0,
                };
                self.post(Some(operation), 0);
            }
            24 => {
                let operation = Operation::Atomic {
                    stag: Stag(9),
                    to: input.u64(),
                    operation: atomic(input),
                };
                self.post(Some(operation), 0);
            }
            _ => {
                self.read(usize::MAX);
                self.write(usize::MAX, usize::MAX);
            }
        }
    }

    /// What happens once in a connection's life.
    fn rare(&mut self, input: &mut Input<'_>) {
        let (now, leftover) = (self.now, self.staged.len());
        match input.u8() % 8 {
            0 => self.call(|connection, _, _| connection.close(now)),
            1 => self.call(|connection, _, _| connection.abort()),
            2 => self.call(|connection, _, _| connection.transport_lost()),
            3 => {
                self.backlog.clear();
                self.call(|connection, _, _| connection.end_of_stream(leftover));
            }
            4 => self.call(|connection, _, _| connection.local_failure(now)),
            5 => self.now += Duration::from_secs(3),
            _ => self.call(|connection, _, _| connection.timeout(now)),
        }
    }

    /// A segment of a Send that is as it should be.
    fn peer_sends(&mut self, input: &mut Input<'_>) {
        let bits = input.u8();
        let (last, invalidates) = (bits & 1 == 0, bits & 4 != 0);
        let stag = if invalidates {
            stag(input, &self.arena)
        } else {
            Stag(0)
        };
        let payload = payload(input);
        let segment = untagged(
            Untagged {
                last,
                ulp: Control::new(Opcode::send(bits & 2 != 0, invalidates)).0,
                ulp_word: stag.0,
                qn: QN_SEND,
                msn: self.peer.next_msn,
                mo: self.peer.next_mo,
            },
            &payload,
        );
        if last {
            self.peer.next_msn += 1;
            self.peer.next_mo = 0;
        } else {
            self.peer.next_mo += payload.len() as u32;
        }
        self.send_segment(&segment);
    }

    /// An RDMA Write to one of the regions.
    fn peer_writes(&mut self, input: &mut Input<'_>) {
        let (stag, to) = target(input, &self.arena);
        let last = input.u8() & 1 == 0;
        let segment = tagged(
            last,
            Control::new(Opcode::WRITE).0,
            stag,
            to,
            &payload(input),
        );
        self.send_segment(&segment);
    }

    /// An RDMA Read of one of the regions.
    fn peer_reads(&mut self, input: &mut Input<'_>) {
        let (source_stag, source_to) = target(input, &self.arena);
        let request = ReadRequest {
            sink_stag: Stag(0x0511),
            sink_to: if input.u8() == 0 { input.u64() } else { 0 },
            size: input.u16().into(),
            source_stag,
            source_to,
        };
        let segment = read_request(&mut self.peer, &request);
        self.send_segment(&segment);
    }

    /// A segment of the answer to the oldest Read, with or without a mistake.
    fn peer_answers(&mut self, input: &mut Input<'_>) {
        let (mistake, len) = (input.u8(), u32::from(input.u16()));
        let Some(read) = self.peer.reads.front_mut() else {
            return;
        };
        let request = read.request;
        let left = request.size.saturating_sub(read.answered);
        let len = if mistake == 3 { len } else { len.min(left) };
        let last = (len >= left) != (mistake == 4);
        let to = request.sink_to.wrapping_add(read.answered.into());
        read.answered += len;
        if last {
            self.peer.reads.pop_front();
        }
        let segment = tagged(
            last,
            Control::new(Opcode::READ_RESPONSE).0,
            Stag(request.sink_stag.0 ^ u32::from(mistake == 1)),
            to ^ u64::from(mistake == 2),
            &vec![mistake; len.min(60_000) as usize],
        );
        self.send_segment(&segment);
    }

    /// An atomic operation on one of the regions.
    fn peer_changes(&mut self, input: &mut Input<'_>) {
        let (stag, to) = target(input, &self.arena);
        let request = AtomicRequest {
            id: input.u8().into(),
            stag,
            to,
            operation: atomic(input),
        };
        // Its answer comes between those of Reads, which are not counted here then.
        self.peer.orderly = false;
        let msn = self.peer.next_request_msn;
        self.peer.next_request_msn += 1;
        let header = single(Opcode::ATOMIC_REQUEST, QN_READ_REQUEST, msn);
        self.send_segment(&untagged(header, &request.encode()));
    }

    fn peer_immediate(&mut self, input: &mut Input<'_>) {
        let opcode = if input.u8() & 1 == 0 {
            Opcode::IMMEDIATE
        } else {
            Opcode::IMMEDIATE_SOLICITED
        };
        let header = single(opcode, QN_SEND, self.peer.next_msn);
        self.peer.next_msn += 1;
        self.send_segment(&untagged(header, &input.u64().to_be_bytes()));
    }

    /// The answer to the oldest atomic operation, or to one that nobody asked for.
    fn peer_tells_the_word(&mut self, input: &mut Input<'_>) {
        let wrong = u32::from(input.u8());
        let id = self.peer.atomics.pop_front().unwrap_or_default() ^ wrong;
        let response = AtomicResponse {
            id,
            original: input.u64(),
        };
        let msn = self.peer.next_answer_msn;
        self.peer.next_answer_msn += 1;
        let header = single(Opcode::ATOMIC_RESPONSE, QN_ATOMIC_RESPONSE, msn);
        self.send_segment(&untagged(header, &response.encode()));
    }

    fn any_tagged(&mut self, input: &mut Input<'_>) {
        let (last, ulp) = (input.u8() & 1 == 0, input.u8());
        let (stag, to) = target(input, &self.arena);
        self.peer.orderly = false;
        let segment = tagged(last, ulp, stag, to, &payload(input));
        self.send_segment(&segment);
    }

    fn any_untagged(&mut self, input: &mut Input<'_>) {
        let bits = input.u8();
        let near = |bits: u8, next: u32| next.wrapping_add(u32::from(bits & 3)).wrapping_sub(1);
        let qn = u32::from(bits >> 1 & 3);
        let msn = match qn {
            QN_SEND => self.peer.next_msn,
            QN_READ_REQUEST => self.peer.next_request_msn,
            _ => 1,
        };
        let header = Untagged {
            last: bits & 1 == 0,
            ulp: input.u8(),
            ulp_word: stag(input, &self.arena).0,
            qn: if bits & 0x08 == 0 { qn } else { input.u32() },
            msn: if bits & 0x10 == 0 {
                near(bits >> 6, msn)
            } else {
                input.u32()
            },
            mo: if bits & 0x20 == 0 { 0 } else { input.u32() },
        };
        self.peer.orderly = false;
        let segment = untagged(header, &payload(input));
        self.send_segment(&segment);
    }

    fn peer_terminates(&mut self, input: &mut Input<'_>) {
        let mut body = input.short_slice().to_vec();
        // The Read that is blamed is one of the connection's own.
        if input.u8() & 1 == 0
            && let Some(read) = self.peer.reads.front()
        {
            body = vec![0x01, 0x01, 0x20, 0x00];
            body.extend_from_slice(&read.request.encode());
        }
        let header = single(Opcode::TERMINATE, QN_TERMINATE, 1);
        self.send_segment(&untagged(header, &body));
    }

    fn any_segment(&mut self, ulpdu: &[u8]) {
        self.peer.orderly = false;
        self.send_segment(ulpdu);
    }

    /// An FPDU with one wrong octet; its CRC may know or not.
    fn spoiled(&mut self, input: &mut Input<'_>) {
        let (at, with, known) = (usize::from(input.u16()), input.u8(), input.u8() & 1 == 0);
        let mut fpdu = self.peer.frame(&empty_write());
        let at = at % fpdu.len();
        fpdu[at] ^= with;
        if known {
            self.peer.fix_crc(&mut fpdu);
        }
        self.peer.orderly = false;
        self.send_octets(&fpdu);
    }
}

/// The header of a message of one segment.
const fn single(opcode: Opcode, qn: u32, msn: u32) -> Untagged {
    Untagged {
        last: true,
        ulp: Control::new(opcode).0,
        ulp_word: 0,
        qn,
        msn,
        mo: 0,
    }
}

/// What to do to a word.
pub(crate) fn atomic(input: &mut Input<'_>) -> AtomicOperation {
    if input.u8() & 1 == 0 {
        AtomicOperation::FetchAdd {
            add: input.u64(),
            mask: input.u64(),
        }
    } else {
        AtomicOperation::CompareSwap {
            compare: input.u64(),
            compare_mask: input.u64(),
            swap: input.u64(),
            swap_mask: input.u64(),
        }
    }
}

/// Payload of a length that the input chooses; what is in it does not matter.
fn payload(input: &mut Input<'_>) -> Vec<u8> {
    let len = input.u8();
    // The upper half of the octet's values stands for long payloads.
    let len = if len < 0x80 {
        usize::from(len)
    } else {
        usize::from(len & 0x7f) << 6 | usize::from(input.u8() & 0x3f)
    };
    vec![0x5a; len]
}

/// The STag of a region, or one that was never issued.
pub(crate) fn stag(input: &mut Input<'_>, arena: &Arena) -> Stag {
    let which = usize::from(input.u8());
    match arena.regions.get(which) {
        Some(region) => region.stag,
        None => Stag(input.u32()),
    }
}

/// A region and an offset in or near it, or anything.
pub(crate) fn target(input: &mut Input<'_>, arena: &Arena) -> (Stag, u64) {
    let which = usize::from(input.u8());
    match arena.regions.get(which) {
        Some(region) => {
            let offset = i64::from(input.u16().cast_signed());
            (region.stag, region.base.wrapping_add_signed(offset))
        }
        None => (Stag(input.u32()), input.u64()),
    }
}

fn read_request(peer: &mut Peer, request: &ReadRequest) -> Vec<u8> {
    let header = single(Opcode::READ_REQUEST, QN_READ_REQUEST, peer.ask(*request));
    untagged(header, &request.encode())
}

/// The three ways to open a peer-to-peer connection (RFC 6581 s9.2).
pub(super) fn empty_write() -> Vec<u8> {
    tagged(true, Control::new(Opcode::WRITE).0, Stag(0), 0, &[])
}

pub(super) fn empty_send(peer: &mut Peer) -> Vec<u8> {
    let header = single(Opcode::SEND, QN_SEND, peer.next_msn);
    peer.next_msn += 1;
    untagged(header, &[])
}

pub(super) fn empty_read(peer: &mut Peer) -> Vec<u8> {
    let request = ReadRequest {
        sink_stag: Stag(0),
        sink_to: 0,
        size: 0,
        source_stag: Stag(0),
        source_to: 0,
    };
    read_request(peer, &request)
}

/// Gives `payload` in the form in which a received FPDU gives its octets.
pub(crate) fn with_octets<T>(payload: &[u8], use_them: impl FnOnce(Octets<'_>) -> T) -> T {
    let wire = wire::frame(0, payload, false, false);
    let Ok(Deframed::Fpdu(fpdu)) = Deframer::new(false, false).next(&wire) else {
        panic!("it is a whole FPDU");
    };
    use_them(fpdu.octets(&wire, 0..payload.len()))
}

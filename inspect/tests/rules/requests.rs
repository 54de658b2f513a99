//! Reads and atomic operations that break rules of RFC 5040 s4.4, s5.2 and s6.1, and of RFC 7306 s5.

use uwarp_ddp::Stag;
use uwarp_inspect::Rule;
use uwarp_rdmap::Opcode;

use crate::common::talk::{I, R};
use crate::common::ulpdu::{
    Place, atomic, atomic_body, atomic_response, read, read_body, request, response, tagged,
    untagged, with,
};
use crate::{Case, begun};

pub(crate) const CASES: &[Case] = &[
    ("a Read Request that is too long", |talk| {
        begun(talk);
        talk.breaks(Rule::R06, I);
        let body = [read_body(0, 8, 0), vec![0; 2]].concat();
        talk.say(I, &request(Opcode::READ_REQUEST, 1, &body));
    }),
    ("a Read Request that is too short", |talk| {
        begun(talk);
        talk.breaks(Rule::R06, I);
        let body = read_body(0, 8, 0);
        talk.say(I, &request(Opcode::READ_REQUEST, 1, &body[..27]));
    }),
    ("a Read Request without L", |talk| {
        begun(talk);
        talk.breaks(Rule::D07, I);
        talk.say(I, &with(read(1, 0, 8), 0, 0x01));
        talk.say(R, &response(0, &[1; 8]));
        talk.say(I, &read(2, 0, 8));
    }),
    ("a Read Response without a request", |talk| {
        begun(talk);
        talk.breaks(Rule::R16, R);
        talk.say(R, &response(0, b"nobody asked"));
    }),
    ("a second answer", |talk| {
        begun(talk);
        talk.say(I, &read(1, 0, 8));
        talk.say(R, &response(0, &[1; 8]));
        talk.breaks(Rule::R16, R);
        talk.say(R, &response(0, &[1; 8]));
    }),
    ("a Read Response at another offset", |talk| {
        begun(talk);
        talk.say(I, &read(1, 0x100, 8));
        talk.breaks(Rule::R18, R);
        talk.say(R, &response(0x108, &[1; 8]));
    }),
    ("a Read Response to another STag", |talk| {
        begun(talk);
        talk.say(I, &read(1, 0x100, 8));
        talk.breaks(Rule::R18, R);
        talk.say(
            R,
            &tagged(Opcode::READ_RESPONSE, true, Stag(5), 0x100, &[1; 8]),
        );
    }),
    ("a Read Response that is too long", |talk| {
        begun(talk);
        talk.say(I, &read(1, 0, 8));
        talk.breaks(Rule::R18, R);
        talk.say(R, &response(0, &[1; 9]));
    }),
    ("a Read Response that is too short", |talk| {
        begun(talk);
        talk.say(I, &read(1, 0, 8));
        talk.breaks(Rule::R18, R);
        talk.say(R, &response(0, &[1; 7]));
    }),
    ("an answer of octets to a Read of none", |talk| {
        begun(talk);
        talk.say(I, &read(1, 0, 0));
        talk.breaks(Rule::R18, R);
        talk.say(R, &response(0, &[1]));
    }),
    ("Read Responses in the wrong order", |talk| {
        begun(talk);
        talk.say(I, &read(1, 0x100, 8));
        talk.say(I, &read(2, 0x200, 8));
        talk.breaks(Rule::R35, R);
        talk.say(R, &response(0x200, &[1; 8]));
        talk.say(R, &response(0x100, &[1; 8]));
    }),
    ("five Reads for an IRD of four", |talk| {
        begun(talk);
        for msn in 1..=4 {
            talk.say(I, &read(msn, 0, 8));
        }
        talk.breaks(Rule::R37, I);
        talk.say(I, &read(5, 0, 8));
    }),
    ("Reads and atomics share the IRD", |talk| {
        begun(talk);
        for msn in 1..=2 {
            talk.say(I, &read(2 * msn - 1, 0, 8));
            talk.say(I, &atomic(2 * msn, msn));
        }
        talk.breaks(Rule::R37, I);
        talk.say(I, &atomic(5, 5));
    }),
    ("five Reads of the responder", |talk| {
        begun(talk);
        for msn in 1..=4 {
            talk.say(R, &read(msn, 0, 8));
        }
        talk.breaks(Rule::R37, R);
        talk.say(R, &read(5, 0, 8));
    }),
    ("the sink of a Read wraps", |talk| {
        begun(talk);
        talk.breaks(Rule::R42, I);
        talk.say(I, &read(1, u64::MAX - 6, 8));
    }),
    ("the source of a Read wraps", |talk| {
        begun(talk);
        talk.breaks(Rule::R42, I);
        let body = read_body(0, 8, u64::MAX - 6);
        talk.say(I, &request(Opcode::READ_REQUEST, 1, &body));
    }),
    ("RsvdULP of an Atomic Request", |talk| {
        begun(talk);
        talk.breaks(Rule::X02, I);
        let place = Place(1, 1, 0);
        talk.say(
            I,
            &untagged(Opcode::ATOMIC_REQUEST, true, 9, place, &atomic_body(1)),
        );
    }),
    ("an Atomic Request that is too short", |talk| {
        begun(talk);
        talk.breaks(Rule::X08, I);
        talk.say(
            I,
            &request(Opcode::ATOMIC_REQUEST, 1, &atomic_body(1)[..44]),
        );
    }),
    ("reserved bits of an Atomic Request", |talk| {
        begun(talk);
        talk.breaks(Rule::X08, I);
        talk.say(
            I,
            &request(Opcode::ATOMIC_REQUEST, 1, &with(atomic_body(1), 0, 1)),
        );
    }),
    ("a FetchAdd that compares", |talk| {
        begun(talk);
        talk.breaks(Rule::X08, I);
        talk.say(
            I,
            &request(Opcode::ATOMIC_REQUEST, 1, &with(atomic_body(1), 43, 1)),
        );
    }),
    ("AOpCode 1", |talk| {
        begun(talk);
        talk.breaks(Rule::X09, I);
        talk.say(
            I,
            &request(Opcode::ATOMIC_REQUEST, 1, &with(atomic_body(1), 3, 1)),
        );
    }),
    ("an Atomic Response that is too long", |talk| {
        begun(talk);
        talk.say(I, &atomic(1, 7));
        talk.breaks(Rule::X10, R);
        let body = [&[0, 0, 0, 7][..], &[0; 12]].concat();
        talk.say(
            R,
            &untagged(Opcode::ATOMIC_RESPONSE, true, 0, Place(3, 1, 0), &body),
        );
    }),
    ("an Atomic Response without a request", |talk| {
        begun(talk);
        talk.breaks(Rule::X10, R);
        talk.say(R, &atomic_response(1, 7));
    }),
    ("an Atomic Response with another identifier", |talk| {
        begun(talk);
        talk.say(I, &atomic(1, 7));
        talk.breaks(Rule::X10, R);
        talk.say(R, &atomic_response(1, 8));
    }),
    ("an atomic operation is answered before a Read", |talk| {
        begun(talk);
        talk.say(I, &read(1, 0, 8));
        talk.say(I, &atomic(2, 7));
        talk.breaks(Rule::X14, R);
        talk.say(R, &atomic_response(1, 7));
    }),
    ("a Read is answered before an atomic operation", |talk| {
        begun(talk);
        talk.say(I, &atomic(1, 7));
        talk.say(I, &read(2, 0, 8));
        talk.breaks(Rule::X14, R);
        talk.say(R, &response(0, &[1; 8]));
    }),
];

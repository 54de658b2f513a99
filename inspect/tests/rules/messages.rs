//! Segments and messages that break rules of RFC 5041 s4 and s5, and of RFC 5040 s4.

use uwarp_ddp::Stag;
use uwarp_inspect::Rule;
use uwarp_rdmap::Opcode;

use crate::common::talk::{I, R};
use crate::common::ulpdu::{
    Place, SINK, immediate, read_body, request, send, send_part, tagged, untagged, with, write,
};
use crate::{Case, begun};

/// RDMAP's octet of a segment.
const RDMAP: usize = 1;

pub(crate) const CASES: &[Case] = &[
    ("a Send begins inside another", |talk| {
        begun(talk);
        talk.say(I, &send_part(2, 0, false, &[1; 100]));
        talk.breaks(Rule::D07, I);
        talk.say(I, &send(3, b"another"));
    }),
    ("a Write begins inside a Send", |talk| {
        begun(talk);
        talk.say(I, &send_part(2, 0, false, &[1; 100]));
        talk.breaks(Rule::D07, I);
        talk.say(I, &write(0, b"another"));
    }),
    (
        "a Write goes on somewhere else, at another offset",
        |talk| {
            begun(talk);
            talk.say(I, &tagged(Opcode::WRITE, false, SINK, 0, &[1; 100]));
            talk.breaks(Rule::D07, I);
            talk.say(I, &tagged(Opcode::WRITE, true, Stag(9), 0, &[1; 100]));
        },
    ),
    ("the last segment is not the last", |talk| {
        begun(talk);
        talk.say(I, &send_part(2, 100, false, &[1; 100]));
        talk.breaks(Rule::D07, I);
        talk.say(I, &send_part(2, 0, true, &[1; 100]));
    }),
    ("reserved bits of DDP", |talk| {
        begun(talk);
        talk.breaks(Rule::D09, I);
        talk.say(I, &with(send(2, b"x"), 0, 0x45));
    }),
    ("DDP version 0", |talk| {
        begun(talk);
        talk.breaks(Rule::D10, I);
        talk.say(I, &with(send(2, b"x"), 0, 0x40));
    }),
    ("DDP version 2 in a Write", |talk| {
        begun(talk);
        talk.breaks(Rule::D10, R);
        talk.say(R, &with(write(0, b"x"), 0, 0xc2));
    }),
    ("the STag changes", |talk| {
        begun(talk);
        talk.say(I, &tagged(Opcode::WRITE, false, SINK, 0, &[1; 100]));
        talk.breaks(Rule::D12, I);
        talk.say(I, &tagged(Opcode::WRITE, true, Stag(9), 100, &[1; 100]));
    }),
    ("the opcode changes", |talk| {
        begun(talk);
        talk.say(I, &send_part(2, 0, false, &[1; 100]));
        talk.breaks(Rule::D13, I);
        let place = Place(0, 2, 100);
        talk.say(I, &untagged(Opcode::SEND_SOLICITED, true, 0, place, b"x"));
    }),
    ("the STag to invalidate changes", |talk| {
        begun(talk);
        let part = |last, word, mo| {
            untagged(
                Opcode::SEND_INVALIDATE,
                last,
                word,
                Place(0, 2, mo),
                &[1; 9],
            )
        };
        talk.say(I, &part(false, 7, 0));
        talk.breaks(Rule::D13, I);
        talk.say(I, &part(true, 8, 9));
    }),
    ("an MSN is left out", |talk| {
        begun(talk);
        talk.breaks(Rule::D15, I);
        talk.say(I, &send(3, b"the third"));
        talk.say(I, &send(4, b"the fourth"));
    }),
    ("an MSN comes again", |talk| {
        begun(talk);
        talk.breaks(Rule::D15, I);
        talk.say(I, &send(1, b"again"));
    }),
    ("Read Requests begin with MSN 0", |talk| {
        begun(talk);
        talk.breaks(Rule::D15, I);
        talk.say(I, &request(Opcode::READ_REQUEST, 0, &read_body(0, 8, 0)));
    }),
    ("a message begins with MO 5", |talk| {
        begun(talk);
        talk.breaks(Rule::D16, I);
        talk.say(I, &send_part(2, 5, true, b"payload"));
    }),
    ("an empty Send with MO 1", |talk| {
        begun(talk);
        talk.breaks(Rule::D16, I);
        talk.say(I, &send_part(2, 1, true, b""));
    }),
    ("a message of 2^32 octets", |talk| {
        begun(talk);
        talk.breaks(Rule::D18, I);
        talk.say(I, &send_part(2, 0xffff_ff00, true, &[1; 256]));
    }),
    ("a FIN inside a message", |talk| {
        begun(talk);
        talk.say(I, &send_part(2, 0, false, &[1; 100]));
        talk.breaks(Rule::D18, I);
        talk.fin(I);
    }),
    ("octets of a Send are left out", |talk| {
        begun(talk);
        talk.say(I, &send_part(2, 0, false, &[1; 100]));
        talk.breaks(Rule::D20, I);
        talk.say(I, &send_part(2, 101, true, &[1; 100]));
    }),
    ("octets of a Send are left out in its middle", |talk| {
        begun(talk);
        talk.say(I, &send_part(2, 0, false, &[1; 100]));
        let at = talk.position(I);
        talk.say(I, &send_part(2, 200, false, &[1; 100]));
        // Another segment could still have brought them, until the last one has come.
        talk.breaks_at(Rule::D20, I, at);
        talk.say(I, &send_part(2, 300, true, &[1; 100]));
    }),
    ("octets of a Send come twice", |talk| {
        begun(talk);
        talk.say(I, &send_part(2, 0, false, &[1; 100]));
        talk.breaks(Rule::D20, I);
        talk.say(I, &send_part(2, 99, true, &[1; 100]));
    }),
    ("octets of a Write are left out", |talk| {
        begun(talk);
        talk.say(I, &tagged(Opcode::WRITE, false, SINK, 0, &[1; 100]));
        talk.breaks(Rule::D20, I);
        talk.say(I, &tagged(Opcode::WRITE, true, SINK, 104, &[1; 100]));
    }),
    ("a Write beyond the last offset", |talk| {
        begun(talk);
        talk.breaks(Rule::D35, I);
        talk.say(I, &write(u64::MAX - 5, b"ten octets"));
    }),
    ("opcode 12", |talk| {
        begun(talk);
        talk.breaks(Rule::R03, I);
        talk.say(I, &with(send(2, b"x"), RDMAP, 0x4c));
    }),
    ("a tagged Send", |talk| {
        begun(talk);
        talk.breaks(Rule::R03, I);
        talk.say(I, &tagged(Opcode::SEND, true, SINK, 0, b"x"));
    }),
    ("an untagged Write", |talk| {
        begun(talk);
        talk.breaks(Rule::R03, I);
        talk.say(I, &untagged(Opcode::WRITE, true, 0, Place(0, 2, 0), b"x"));
    }),
    ("a Send for queue 1", |talk| {
        begun(talk);
        talk.breaks(Rule::R03, I);
        talk.say(I, &untagged(Opcode::SEND, true, 0, Place(1, 1, 0), b"x"));
    }),
    ("a Send for queue 7", |talk| {
        begun(talk);
        talk.breaks(Rule::R03, I);
        talk.say(I, &untagged(Opcode::SEND, true, 0, Place(7, 1, 0), b"x"));
    }),
    ("a Read Request for queue 0", |talk| {
        begun(talk);
        talk.breaks(Rule::R03, I);
        let body = read_body(0, 8, 0);
        let place = Place(0, 2, 0);
        talk.say(I, &untagged(Opcode::READ_REQUEST, true, 0, place, &body));
    }),
    ("RDMAP version 0", |talk| {
        begun(talk);
        talk.breaks(Rule::R04, I);
        talk.say(I, &with(send(2, b"x"), RDMAP, 0x03));
    }),
    ("reserved bits of RDMAP", |talk| {
        begun(talk);
        talk.breaks(Rule::R04, I);
        talk.say(I, &with(send(2, b"x"), RDMAP, 0x53));
    }),
    ("RsvdULP of a Send", |talk| {
        begun(talk);
        talk.breaks(Rule::R05, I);
        talk.say(I, &untagged(Opcode::SEND, true, 1, Place(0, 2, 0), b"x"));
    }),
    ("RsvdULP of Immediate Data", |talk| {
        begun(talk);
        talk.breaks(Rule::X02, I);
        talk.say(
            I,
            &untagged(Opcode::IMMEDIATE, true, 1, Place(0, 2, 0), &[0; 8]),
        );
    }),
    ("Immediate Data of 7 octets", |talk| {
        begun(talk);
        talk.breaks(Rule::X13, I);
        talk.say(I, &immediate(2, &[0; 7]));
    }),
];

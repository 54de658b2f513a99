//! Terminates that break rules of RFC 5040 s4.8 and s5.4, and of RFC 5041 s7.2.

use uwarp_inspect::Rule;
use uwarp_rdmap::Opcode;

use crate::common::talk::{I, R, Talk};
use crate::common::ulpdu::{Place, read, read_body, send, terminate, untagged, write};
use crate::{Case, begun};

pub(crate) const CASES: &[Case] = &[
    ("a DDP code that is not defined", |talk| {
        blaming(talk, Rule::D37, [0x11, 0x09, 0xc0, 0], 22, blamed());
    }),
    ("an RDMAP code that is not defined", |talk| {
        blaming(talk, Rule::R06, [0x01, 0x07, 0xc0, 0], 22, blamed());
    }),
    ("an LLP code that is not defined", |talk| {
        bare(talk, Rule::R06, &[0x20, 0x08, 0, 0]);
    }),
    ("a layer that is not defined", |talk| {
        bare(talk, Rule::R06, &[0x30, 0x01, 0, 0]);
    }),
    ("reserved bits of the Terminate word", |talk| {
        bare(talk, Rule::R08, &[0x20, 0x02, 0, 1]);
    }),
    ("an LLP error with the header of a segment", |talk| {
        blaming(talk, Rule::R08, [0x20, 0x02, 0xc0, 0], 22, blamed());
    }),
    ("a DDP error without a header", |talk| {
        bare(talk, Rule::R08, &[0x11, 0x00, 0, 0]);
    }),
    ("a header without its segment's length", |talk| {
        blaming(talk, Rule::R08, [0x11, 0x00, 0x40, 0], 22, blamed());
    }),
    ("a DDP error with a Read Request header", |talk| {
        begun(talk);
        let request = read(1, 0, 8);
        talk.say(I, &request);
        talk.breaks(Rule::R08, R);
        let body = [
            &[0x12, 0x02, 0xe0, 0, 0, 46],
            &request[..18],
            &request[18..],
        ]
        .concat();
        talk.say(R, &terminate(&body));
    }),
    ("a Terminate that ends too soon", |talk| {
        bare(talk, Rule::R08, &[0x11, 0x00, 0xc0, 0, 0, 22, 0xc1]);
    }),
    ("siw's layout", |talk| {
        blaming(talk, Rule::R08, [0x11, 0x00, 0x03, 0], 22, blamed());
    }),
    ("siw's layout without headers", |talk| {
        bare(talk, Rule::R08, &[0x02, 0x02, 0, 0]);
    }),
    (
        "an error of an untagged buffer with a tagged header",
        |talk| {
            blaming(talk, Rule::R08, [0x12, 0x02, 0xc0, 0], 22, blamed());
        },
    ),
    ("a header that nobody has sent", |talk| {
        let mut header = blamed();
        header[13] ^= 1;
        blaming(talk, Rule::R08, [0x11, 0x00, 0xc0, 0], 22, header);
    }),
    ("the length of another segment", |talk| {
        blaming(talk, Rule::R08, [0x11, 0x00, 0xc0, 0], 23, blamed());
    }),
    ("a Read Request that nobody has sent", |talk| {
        begun(talk);
        let request = read(1, 0, 8);
        talk.say(I, &request);
        talk.breaks(Rule::R08, R);
        let other = read_body(0, 9, 0x9000);
        let body = [&[0x01, 0x00, 0xe0, 0, 0, 46], &request[..18], &other[..]].concat();
        talk.say(R, &terminate(&body));
    }),
    ("a second Terminate", |talk| {
        begun(talk);
        talk.say(R, &terminate(&[0x20, 2, 0, 0]));
        talk.breaks(Rule::R23, R);
        talk.say(
            R,
            &untagged(Opcode::TERMINATE, true, 0, Place(2, 2, 0), &[0x20, 2, 0, 0]),
        );
    }),
    ("a Send after a Terminate", |talk| {
        begun(talk);
        talk.say(R, &terminate(&[0x20, 2, 0, 0]));
        talk.breaks(Rule::R25, R);
        talk.say(R, &send(1, b"one more thing"));
    }),
    ("a Terminate inside a message", |talk| {
        begun(talk);
        let part = untagged(Opcode::SEND, false, 0, Place(0, 1, 0), &[1; 50]);
        talk.say(R, &part);
        talk.breaks(Rule::D07, R);
        talk.say(R, &terminate(&[0x20, 2, 0, 0]));
    }),
    ("a Terminate with MSN 2", |talk| {
        begun(talk);
        talk.breaks(Rule::D15, R);
        talk.say(
            R,
            &untagged(Opcode::TERMINATE, true, 0, Place(2, 2, 0), &[0x20, 2, 0, 0]),
        );
    }),
];

/// The Write that is blamed, of 22 octets.
fn culprit() -> Vec<u8> {
    write(0x10_0000, &[1; 8])
}

/// Its DDP header.
fn blamed() -> Vec<u8> {
    culprit()[..14].to_vec()
}

/// A Terminate of the responder with this body alone.
fn bare(talk: &mut Talk, rule: Rule, body: &[u8]) {
    begun(talk);
    talk.breaks(rule, R);
    talk.say(R, &terminate(body));
}

/// A Terminate of the responder with a header in it, after a Write that it may blame.
fn blaming(talk: &mut Talk, rule: Rule, word: [u8; 4], len: u16, header: Vec<u8>) {
    begun(talk);
    talk.say(I, &culprit());
    talk.breaks(rule, R);
    let body = [&word[..], &len.to_be_bytes(), &header].concat();
    talk.say(R, &terminate(&body));
}

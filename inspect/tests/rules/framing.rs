//! FPDUs that break rules of RFC 5044 s3 to s6.

use uwarp_inspect::Rule;
use uwarp_mpa::FrameKind;

use crate::common::talk::{I, R, Talk, WORDS, reseal, startup};
use crate::common::ulpdu::{send, write};
use crate::{Case, begun};

pub(crate) const CASES: &[Case] = &[
    ("ULPDU_Length 0", |talk| {
        begun(talk);
        talk.breaks(Rule::F04, I);
        talk.send(I, &reseal(vec![0; 8]));
    }),
    ("ULPDU_Length 65000", |talk| {
        begun(talk);
        let wire = long(65_000);
        talk.send(I, &wire[..40_000]);
        talk.breaks(Rule::F04, I);
        talk.send(I, &wire[40_000..]);
        talk.say(R, &send(1, b"and on"));
    }),
    ("ULPDU_Length 64769 with markers", |talk| {
        marked(talk);
        talk.breaks(Rule::F04, I);
        let mut wire = talk.fpdu(I, &send(1, b"x"));
        wire[4..6].copy_from_slice(&64_769u16.to_be_bytes());
        talk.send(I, &wire);
    }),
    ("padding that is not 0", |talk| {
        begun(talk);
        talk.breaks(Rule::F09, I);
        let mut wire = talk.fpdu(I, &send(2, b"x"));
        wire[21] = 1;
        talk.send(I, &reseal(wire));
    }),
    ("the reserved half of a marker", |talk| {
        marked(talk);
        talk.breaks(Rule::F11, I);
        let mut wire = talk.fpdu(I, &send(1, b"x"));
        wire[1] = 1;
        talk.send(I, &reseal(wire));
    }),
    ("the low bits of FPDUPTR", |talk| {
        marked(talk);
        talk.breaks(Rule::F12, I);
        let mut wire = talk.fpdu(I, &write(0, &[7; 600]));
        wire[512 + 3] |= 2;
        talk.send(I, &reseal(wire));
    }),
    ("a marker that points elsewhere", |talk| {
        marked(talk);
        talk.say(I, &send(1, b"x"));
        talk.breaks(Rule::F15, I);
        let at = talk.position(I) as usize;
        let mut wire = talk.fpdu(I, &write(0, &[7; 600]));
        wire[512 - at + 3] ^= 8;
        talk.send(I, &reseal(wire));
    }),
    ("a first marker that is not 0", |talk| {
        marked(talk);
        talk.breaks(Rule::F15, I);
        let mut wire = talk.fpdu(I, &send(1, b"x"));
        wire[3] = 4;
        talk.send(I, &reseal(wire));
    }),
    ("a wrong CRC", |talk| {
        begun(talk);
        talk.breaks(Rule::F25, I);
        let mut wire = talk.fpdu(I, &send(2, b"payload"));
        wire[22] ^= 1;
        talk.send(I, &wire);
    }),
    ("a CRC with its octets in the wrong order", |talk| {
        begun(talk);
        talk.breaks(Rule::F25, R);
        let mut wire = talk.fpdu(R, &send(1, b"payload"));
        let at = wire.len() - 4;
        wire[at..].reverse();
        talk.send(R, &wire);
    }),
    ("no CRC though one end asked for it", |talk| {
        let mut reply = startup(FrameKind::Reply, WORDS);
        reply.crc = false;
        talk.set_up_with(&startup(FrameKind::Request, WORDS), &reply);
        talk.framing([false; 2], false);
        talk.breaks(Rule::F25, I);
        talk.say(I, &send(1, b"unprotected"));
    }),
    ("a FIN inside an FPDU", |talk| {
        begun(talk);
        let at = talk.position(I);
        let wire = talk.fpdu(I, &send(2, b"payload"));
        talk.send(I, &wire[..30]);
        talk.breaks_at(Rule::F34, I, at);
        talk.fin(I);
    }),
    ("markers that nobody asked for", |talk| {
        talk.set_up();
        talk.framing([true, false], true);
        talk.breaks(Rule::U06, I);
        talk.say(I, &send(1, &[1; 2000]));
        talk.say(R, &send(1, b"x"));
    }),
    ("no markers though they were asked for", |talk| {
        marked(talk);
        talk.framing([false, false], true);
        talk.breaks(Rule::U06, I);
        talk.say(I, &send(1, &[1; 2000]));
        talk.say(R, &send(1, b"x"));
    }),
    ("no markers of the responder", |talk| {
        let mut request = startup(FrameKind::Request, WORDS);
        request.markers = true;
        talk.set_up_with(&request, &startup(FrameKind::Reply, WORDS));
        talk.framing([false, false], true);
        talk.say(I, &send(1, b"x"));
        talk.breaks(Rule::U06, R);
        talk.say(R, &send(1, &[1; 2000]));
    }),
    ("a ULPDU without room for its header", |talk| {
        begun(talk);
        talk.breaks(Rule::G1, I);
        talk.say(I, &send(2, b"")[..17]);
    }),
];

/// The initiator has to send markers.
fn marked(talk: &mut Talk) {
    let mut reply = startup(FrameKind::Reply, WORDS);
    reply.markers = true;
    talk.set_up_with(&startup(FrameKind::Request, WORDS), &reply);
}

/// An FPDU without markers, its ULPDU a Write of `len` octets.
fn long(len: u16) -> Vec<u8> {
    let mut wire = len.to_be_bytes().to_vec();
    wire.extend(write(0, &vec![5; usize::from(len) - 14]));
    wire.resize(wire.len().next_multiple_of(4) + 4, 0);
    reseal(wire)
}

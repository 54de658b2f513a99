//! Startup frames that break rules of RFC 5044 s7.1 and RFC 6581.

use uwarp_inspect::Rule;
use uwarp_mpa::startup::KEY_LEN;
use uwarp_mpa::{Enhanced, Frame, FrameKind, NO_NEGOTIATION, RtrSet};
use uwarp_rdmap::Opcode;

use crate::Case;
use crate::common::talk::{I, R, Talk, WORDS, startup};
use crate::common::ulpdu::{read, send, tagged, terminate, write};
use uwarp_ddp::Stag;

const FLAGS: usize = KEY_LEN;
const REVISION: usize = KEY_LEN + 1;

pub(crate) const CASES: &[Case] = &[
    ("a Request with a wrong key", |talk| {
        talk.breaks(Rule::U04, I);
        talk.send(I, &changed(&request(), 9, b'X'));
    }),
    ("something else than a Request is answered", |talk| {
        talk.send(I, b"GET / HTTP/1.1\r\nHost: anywhere\r\n\r\n");
        talk.breaks(Rule::U04, I);
        talk.breaks(Rule::U12, R);
        talk.frame(R, &reply());
    }),
    ("a Reply with a wrong key", |talk| {
        talk.frame(I, &request());
        talk.breaks(Rule::U05, R);
        talk.send(R, &changed(&reply(), 0, b'm'));
    }),
    ("something else than a Reply", |talk| {
        talk.frame(I, &request());
        talk.breaks(Rule::U05, R);
        talk.send(R, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }),
    ("a reserved bit in a Request", |talk| {
        talk.breaks(Rule::U08, I);
        talk.send(I, &changed(&request(), FLAGS, 0x58));
        talk.frame(R, &reply());
    }),
    ("a reserved bit in a Reply", |talk| {
        talk.frame(I, &request());
        talk.breaks(Rule::U08, R);
        talk.send(R, &changed(&reply(), FLAGS, 0x51));
    }),
    ("R in a Request", |talk| {
        talk.breaks(Rule::U08, I);
        talk.send(I, &changed(&request(), FLAGS, 0x70));
        talk.frame(R, &reply());
    }),
    ("a Request of revision 0", |talk| {
        talk.breaks(Rule::U09, I);
        talk.send(I, &changed(&request(), REVISION, 0));
    }),
    ("a Request of revision 3, and a Reply", |talk| {
        talk.breaks(Rule::U09, I);
        talk.send(I, &changed(&request(), REVISION, 3));
        talk.breaks(Rule::U12, R);
        talk.frame(R, &reply());
    }),
    ("a Reply of revision 3", |talk| {
        talk.frame(I, &request());
        talk.breaks(Rule::U09, R);
        talk.send(R, &changed(&reply(), REVISION, 3));
    }),
    ("PD_Length 513", |talk| {
        talk.breaks(Rule::U10, I);
        let mut octets = changed(&request(), REVISION + 1, 2);
        octets[REVISION + 2] = 1;
        octets.resize(20 + 513, 0);
        talk.send(I, &octets);
    }),
    ("a FIN inside a Request", |talk| {
        let octets = request().encode().unwrap();
        talk.send(I, &octets[..23]);
        talk.breaks(Rule::U10, I);
        talk.fin(I);
    }),
    ("PD_Length beyond what comes", |talk| {
        talk.frame(I, &request());
        talk.send(R, &changed(&reply(), REVISION + 2, 5));
        talk.breaks(Rule::U10, R);
        talk.fin(R);
    }),
    ("an FPDU after an improper Reply", |talk| {
        talk.frame(I, &request());
        talk.breaks(Rule::U09, R);
        talk.send(R, &changed(&reply(), REVISION, 3));
        talk.breaks(Rule::U15, I);
        talk.say(I, &send(1, b"all the same"));
    }),
    ("a Reply before the Request", |talk| {
        talk.breaks(Rule::U12, R);
        talk.frame(R, &reply());
        talk.frame(I, &request());
        talk.say(I, &send(1, b"x"));
    }),
    (
        "an FPDU of the responder before the first of the initiator",
        |talk| {
            talk.set_up();
            talk.breaks(Rule::U18, R);
            talk.say(R, &send(1, b"too early"));
            talk.say(I, &send(1, b"too late"));
        },
    ),
    (
        "a Terminate of the responder before the first FPDU",
        |talk| {
            talk.set_up();
            talk.breaks(Rule::U18, R);
            talk.say(R, &terminate(&[0x20, 5, 0, 0]));
        },
    ),
    ("two Requests", |talk| {
        talk.frame(I, &request());
        talk.breaks(Rule::U20, R);
        talk.frame(R, &request());
    }),
    ("octets behind a Request", |talk| {
        let mut octets = request().encode().unwrap();
        octets.push(0);
        talk.breaks(Rule::U21, I);
        talk.send(I, &octets);
    }),
    ("an FPDU before the Reply", |talk| {
        talk.frame(I, &request());
        talk.breaks(Rule::U21, I);
        talk.say(I, &send(1, b"at once"));
        talk.frame(R, &reply());
    }),
    ("no RTR", |talk| {
        peers(talk, RtrSet::ALL, RtrSet::ALL);
        talk.breaks(Rule::E01, I);
        talk.say(I, &send(1, b"no RTR"));
    }),
    ("an RTR that reads something", |talk| {
        peers(talk, RtrSet::ALL, RtrSet::READ);
        talk.breaks(Rule::E01, I);
        talk.say(I, &read(1, 0, 1));
    }),
    ("an RTR that writes something", |talk| {
        peers(talk, RtrSet::ALL, RtrSet::ALL);
        talk.breaks(Rule::E01, I);
        talk.say(I, &write(0, b"x"));
    }),
    ("S in revision 1", |talk| {
        talk.breaks(Rule::E02, I);
        talk.send(I, &changed(&plain(FrameKind::Request, 1), FLAGS, 0x50));
        talk.frame(R, &plain(FrameKind::Reply, 1));
    }),
    ("S and 3 octets of private data", |talk| {
        talk.breaks(Rule::E04, I);
        let octets = changed(&request(), REVISION + 2, 3);
        talk.send(I, &octets[..23]);
    }),
    ("an ORD beyond the IRD", |talk| {
        words(talk, Rule::E08, WORDS, Enhanced { ord: 5, ..WORDS });
    }),
    ("an ORD for an IRD that is not negotiated", |talk| {
        let asked = Enhanced {
            ird: NO_NEGOTIATION,
            ..WORDS
        };
        words(talk, Rule::E13, asked, WORDS);
    }),
    ("an IRD that is not negotiated for an ORD that is", |talk| {
        let got = Enhanced {
            ird: NO_NEGOTIATION,
            ..WORDS
        };
        words(talk, Rule::E13, WORDS, got);
    }),
    ("A without an RTR in a Request", |talk| {
        talk.breaks(Rule::E14, I);
        peers(talk, RtrSet::NONE, RtrSet::WRITE);
    }),
    ("A is not repeated", |talk| {
        words(talk, Rule::E16, peer(RtrSet::ALL), WORDS);
    }),
    ("A without an RTR in a Reply", |talk| {
        words(talk, Rule::E17, peer(RtrSet::ALL), peer(RtrSet::NONE));
    }),
    ("an RTR that was not agreed on", |talk| {
        peers(talk, RtrSet::ALL, RtrSet::WRITE);
        talk.breaks(Rule::E18, I);
        talk.say(I, &read(1, 0, 0));
    }),
    ("an RTR though none is common", |talk| {
        peers(talk, RtrSet::WRITE, RtrSet::READ);
        talk.breaks(Rule::E18, I);
        talk.say(I, &tagged(Opcode::WRITE, true, Stag(0), 0, b""));
    }),
    ("RTR flags without A", |talk| {
        talk.breaks(Rule::E19, I);
        let stray = Enhanced {
            rtr: RtrSet::READ,
            ..WORDS
        };
        talk.send(I, &with_flags(stray));
        talk.frame(R, &reply());
    }),
    ("A that was not asked for", |talk| {
        words(talk, Rule::E19, WORDS, peer(RtrSet::WRITE));
    }),
    ("a plain Reply to an enhanced Request", |talk| {
        talk.frame(I, &request());
        talk.breaks(Rule::E21, R);
        talk.frame(R, &plain(FrameKind::Reply, 2));
    }),
    ("an enhanced Reply to a plain Request", |talk| {
        talk.frame(I, &plain(FrameKind::Request, 2));
        talk.breaks(Rule::E21, R);
        talk.frame(R, &reply());
    }),
    ("a Reply of another revision", |talk| {
        talk.frame(I, &plain(FrameKind::Request, 2));
        talk.breaks(Rule::G11, R);
        talk.frame(R, &plain(FrameKind::Reply, 1));
    }),
];

fn request() -> Frame {
    startup(FrameKind::Request, WORDS)
}

fn reply() -> Frame {
    startup(FrameKind::Reply, WORDS)
}

/// A frame without enhanced data.
fn plain(kind: FrameKind, revision: u8) -> Frame {
    Frame {
        enhanced: false,
        revision,
        private_data: Vec::new(),
        ..startup(kind, WORDS)
    }
}

fn changed(frame: &Frame, at: usize, octet: u8) -> Vec<u8> {
    let mut octets = frame.encode().unwrap();
    octets[at] = octet;
    octets
}

fn peer(rtr: RtrSet) -> Enhanced {
    Enhanced {
        peer_to_peer: true,
        rtr,
        ..WORDS
    }
}

/// A Request whose words need not make sense.
fn with_flags(words: Enhanced) -> Vec<u8> {
    let mut octets = request().encode().unwrap();
    let mut raw = words.encode();
    if !words.peer_to_peer && words.rtr == RtrSet::READ {
        raw[2] |= 0x40;
    }
    octets[20..].copy_from_slice(&raw);
    octets
}

/// Set-up between peers that offer these RTRs.
fn peers(talk: &mut Talk, offered: RtrSet, taken: RtrSet) {
    talk.set_up_with(
        &startup(FrameKind::Request, peer(offered)),
        &startup(FrameKind::Reply, peer(taken)),
    );
}

/// Startup frames with these words, the latter of which break a rule.
fn words(talk: &mut Talk, rule: Rule, asked: Enhanced, got: Enhanced) {
    talk.frame(I, &startup(FrameKind::Request, asked));
    talk.breaks(rule, R);
    talk.frame(R, &startup(FrameKind::Reply, got));
}

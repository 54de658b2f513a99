//! Requests that are wrong, odd, or right in a way that is easily got wrong.

use uwarp_mpa::{Enhanced, FrameKind, NO_NEGOTIATION};

use crate::bench::{Bench, CLIENT, Dial};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::{Favour, FavourKind, PLAIN, SLOW};
use crate::seen::{Due, Ending, Seen};
use crate::wire::write;

/// Sends octets on a fresh TCP connection and hears what comes.
fn shout(
    octets: impl Fn() -> Vec<u8> + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut conn = bench.open()?;
        conn.raw(&octets());
        Ok(hear_startup(conn))
    }
}

/// A target that answers with a Reply, and does not close, has accepted or rejected.
pub(super) fn hear_startup(mut conn: Conn) -> Seen {
    match conn.frame(FrameKind::Reply) {
        Ok(reply) => {
            let seen = conn.seen();
            seen.rejected = reply.rejected;
            seen.works = !reply.rejected;
        }
        Err(ending) => conn.seen().ending = ending,
    }
    conn.finish()
}

fn keyed(key: &[u8; 16]) -> Vec<u8> {
    let mut octets = Dial::default().request(None);
    octets[..16].copy_from_slice(key);
    octets
}

fn refused(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    octets: impl Fn() -> Vec<u8> + Send + Sync + 'static,
) -> Case {
    Case::new(name, ids, sends, &[Due::Close], shout(octets))
}

/// A Request that must be accepted; `check` looks at the Reply.
fn accepted(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    dial: Dial,
    check: fn(&uwarp_mpa::Frame, &mut Seen),
) -> Case {
    Case::new(name, ids, sends, &[Due::Works], move |bench| {
        let (mut seen, reply) = bench.prove_dial(&dial)?;
        check(&reply, &mut seen);
        Ok(seen)
    })
}

fn words(reply: &uwarp_mpa::Frame) -> Enhanced {
    reply.enhanced_data().unwrap_or(Enhanced {
        ird: 0,
        ord: 0,
        peer_to_peer: false,
        rtr: uwarp_mpa::RtrSet::NONE,
    })
}

fn unenhanced(revision: u8) -> Dial {
    Dial {
        revision,
        words: None,
        ..Dial::default()
    }
}

pub(super) fn cases() -> Vec<Case> {
    [keys_and_revisions(), lengths(), flags(), terms()]
        .into_iter()
        .flatten()
        .collect()
}

fn keys_and_revisions() -> Vec<Case> {
    let mut cases = vec![
        refused(
            "request/not-mpa",
            &["U04", "F36"],
            "an HTTP request",
            || b"GET / HTTP/1.1\r\nHost: example\r\n\r\n".to_vec(),
        ),
        refused(
            "request/reply-key",
            &["U04", "U20"],
            "a Reply where a Request is due",
            || keyed(FrameKind::Reply.key()),
        ),
        refused(
            "request/last-octet-of-key",
            &["U04"],
            "a key that is wrong in its last octet",
            || keyed(b"MPA ID Req FramE"),
        ),
        Case::new(
            "request/rev-0",
            &["U09", "G11"],
            "a Request of revision 0",
            &[Due::Close, Due::Works],
            shout(|| unenhanced(0).request(None)),
        ),
        accepted(
            "request/rev-1",
            &["E03", "E21"],
            "a Request of revision 1",
            unenhanced(1),
            |reply, seen| {
                seen.require(
                    !reply.enhanced && reply.revision == 1,
                    "the Reply is not of revision 1",
                );
            },
        ),
        accepted(
            "request/rev-2-unenhanced",
            &["E02", "E21"],
            "revision 2 without S",
            unenhanced(2),
            |reply, seen| {
                seen.require(
                    !reply.enhanced,
                    "an enhanced Reply to an unenhanced Request",
                );
            },
        ),
        Case::new(
            "request/s-in-rev-1",
            &["E02", "G12"],
            "S in revision 1, where it is a reserved bit",
            &[Due::Works, Due::Close],
            shout(|| {
                Dial {
                    revision: 1,
                    ..Dial::default()
                }
                .request(None)
            }),
        ),
    ];
    for revision in [3, 255] {
        cases.push(Case::new(
            format!("request/rev-{revision}"),
            &["U09", "G11"],
            format!("a Request of revision {revision}"),
            &[Due::Close],
            shout(move || {
                Dial {
                    revision,
                    ..Dial::default()
                }
                .request(None)
            }),
        ));
    }
    cases
}

fn lengths() -> Vec<Case> {
    let mut cases: Vec<Case> = [0u16, 3]
        .map(|len| {
            Case::new(
                format!("request/s-with-{len}-octets"),
                &["E04", "G12"],
                format!("S with a PD_Length of {len}, too little for IRD and ORD"),
                &[Due::Close, Due::Rejects],
                shout(move || {
                    let dial = Dial {
                        words: Some([0; 4]),
                        data: Some(vec![]),
                        ..Dial::default()
                    };
                    let mut octets = dial.request(Some(len));
                    octets.truncate(20 + usize::from(len));
                    octets
                }),
            )
        })
        .into();
    cases.extend([513u16, 65535].map(|len| {
        Case::new(
            format!("request/pd-length-{len}"),
            &["U10", "U21", "T15"],
            format!("a PD_Length of {len}"),
            &[Due::Close],
            shout(move || {
                let dial = Dial {
                    data: Some(vec![0; usize::from(len)]),
                    ..unenhanced(1)
                };
                dial.request(Some(len))
            }),
        )
    }));
    cases.push(refused(
        "request/pd-509-enhanced",
        &["E05", "U10", "U21"],
        "509 octets of private data behind IRD and ORD",
        || {
            let dial = Dial {
                data: Some(vec![0; 509]),
                ..Dial::default()
            };
            dial.request(None)
        },
    ));
    let full = |len| Some(vec![0x5a; len]);
    cases.extend([
        accepted(
            "request/pd-512",
            &["U10", "U14"],
            "512 octets of private data",
            Dial {
                data: full(512),
                ..unenhanced(1)
            },
            |_, _| {},
        ),
        accepted(
            "request/pd-508-enhanced",
            &["E05"],
            "508 octets of private data behind IRD and ORD",
            Dial {
                data: full(508),
                ..Dial::default()
            },
            |_, _| {},
        ),
        refused(
            "request/pd-length-too-short",
            &["U10", "U21", "G13"],
            "16 octets more than PD_Length says",
            || {
                Dial {
                    data: Some(vec![0; 16]),
                    ..unenhanced(1)
                }
                .request(Some(0))
            },
        ),
        refused(
            "request/fpdu-behind",
            &["U12", "G13", "E01"],
            "an FPDU right behind the Request",
            || {
                let mut encoder = crate::wire::Encoder {
                    position: 0,
                    markers: false,
                    crc: true,
                };
                [
                    Dial::default().request(None),
                    encoder.frame(&write(0, 0, b""), crate::wire::Spoil::Nothing),
                ]
                .concat()
            },
        ),
        refused(
            "request/twice",
            &["U12", "G13"],
            "the same Request again behind itself",
            || [Dial::default().request(None), Dial::default().request(None)].concat(),
        ),
        Case::new(
            "request/fpdu-before-reply",
            &["U12", "G13", "E01"],
            "an FPDU while the Request waits for its Reply",
            &[Due::Close],
            |bench| {
                let mut conn = bench.open()?;
                conn.raw(&Dial::asking(Favour::Slow).request(None));
                std::thread::sleep(SLOW / 3);
                conn.hello();
                Ok(hear_startup(conn))
            },
        )
        .needs([Need::Favour(FavourKind::Slow)]),
    ]);
    cases
}

fn flags() -> Vec<Case> {
    let odd_flags = |flags_xor| Dial {
        flags_xor,
        ..Dial::default()
    };
    vec![
        accepted(
            "request/r-set",
            &["U08", "T15"],
            "R in a Request, where it means nothing",
            odd_flags(0x20),
            |reply, seen| {
                seen.require(!reply.rejected, "R came back");
            },
        ),
        accepted(
            "request/reserved-bits",
            &["U08", "T15"],
            "all reserved bits set",
            odd_flags(0x0f),
            |_, _| {},
        ),
        accepted(
            "request/markers-wanted",
            &["F13", "F14", "U06"],
            "M, so that the target sends markers",
            Dial {
                markers: true,
                ..Dial::default()
            },
            |_, _| {},
        ),
        accepted(
            "request/no-words-of-peer-to-peer",
            &["E19"],
            "B, C and D without A",
            Dial {
                words: Some([0x40, 8, 0xc0, 8]),
                ..Dial::default()
            },
            |reply, seen| {
                let raw = reply
                    .private_data
                    .first_chunk()
                    .copied()
                    .unwrap_or([0xff; 4]);
                seen.require(
                    raw[0] & 0xc0 == 0 && raw[2] & 0xc0 == 0,
                    "A, B, C or D in the Reply",
                );
            },
        ),
        Case::new(
            "request/reject",
            &["U13", "U16"],
            "a Request that is declined: TCP stays open",
            &[Due::Rejects],
            |bench| {
                let mut conn = bench.open()?;
                conn.raw(&Dial::asking(Favour::Reject).request(None));
                match conn.frame(FrameKind::Reply) {
                    Ok(reply) => {
                        let plain = conn.plain(PLAIN.len());
                        let seen = conn.seen();
                        seen.rejected = reply.rejected;
                        seen.require(
                            plain == PLAIN,
                            "the TCP connection is not open behind the Reply",
                        );
                    }
                    Err(ending) => conn.seen().ending = ending,
                }
                Ok(conn.finish())
            },
        )
        .needs([Need::Favour(FavourKind::Reject)]),
        Case::new(
            "request/responder-is-silent",
            &["U18", "T07"],
            "nothing, while the target has something to say",
            &[Due::Works],
            |bench| {
                let (mut conn, _) = bench.dial(&Dial::asking(Favour::TalkFirst))?;
                conn.expect_quiet("the responder spoke before the first FPDU (U18)");
                conn.hello();
                Ok(bench.prove(conn))
            },
        )
        .needs([Need::Favour(FavourKind::TalkFirst)]),
        Case::new(
            "request/fin-instead-of-fpdu",
            &["U18", "T24"],
            "a FIN where the first FPDU is due, while the target has something to say",
            &[Due::Close],
            |bench| {
                let (mut conn, _) = bench.dial(&Dial::asking(Favour::TalkFirst))?;
                conn.half_close();
                let mut seen = conn.listen();
                let quiet = seen.messages.is_empty() && seen.ending != Ending::Silence;
                seen.require(quiet, "the responder spoke without an FPDU (U18)");
                Ok(seen)
            },
        )
        .needs([Need::Favour(FavourKind::TalkFirst)]),
    ]
}

fn terms() -> Vec<Case> {
    let words_of = |words: Enhanced| Dial {
        words: Some(words.encode()),
        ..Dial::default()
    };
    let unlimited = Enhanced {
        ird: NO_NEGOTIATION,
        ord: NO_NEGOTIATION,
        ..CLIENT
    };
    vec![
        accepted(
            "request/0x3fff",
            &["E13"],
            "0x3FFF for IRD and ORD",
            words_of(unlimited),
            |reply, seen| {
                let words = words(reply);
                let as_due = (words.ird, words.ord) == (NO_NEGOTIATION, NO_NEGOTIATION);
                seen.require(
                    as_due,
                    format!("IRD {:#x} and ORD {:#x} in the Reply", words.ird, words.ord),
                );
            },
        ),
        accepted(
            "request/ird-0",
            &["E08", "E11"],
            "an IRD of 0",
            words_of(Enhanced { ird: 0, ..CLIENT }),
            |reply, seen| {
                seen.require(words(reply).ord == 0, "an ORD above the IRD of the Request");
            },
        ),
        accepted(
            "request/ird-2",
            &["E08", "E11"],
            "an IRD of 2",
            words_of(Enhanced { ird: 2, ..CLIENT }),
            |reply, seen| {
                seen.require(words(reply).ord <= 2, "an ORD above the IRD of the Request");
            },
        ),
        accepted(
            "request/crc-declined",
            &["F19", "U07"],
            "C=0: the Reply decides, and the FPDUs follow it",
            Dial {
                crc: false,
                ..Dial::default()
            },
            |_, _| {},
        ),
    ]
}

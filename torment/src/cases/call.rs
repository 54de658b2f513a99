//! The target as initiator: Replies that are wrong, and the indication it opens with.
//!
//! An initiator of ours calls as a favour, in peer-to-peer mode unless the case is about the other one.
//! One that its user makes call does as it likes: what its Request does not fit is skipped. It has to
//! say something as soon as it is connected; without that, no case can show that the connection works.

use uwarp_ddp::{Header, Tagged};
use uwarp_mpa::{Enhanced, Frame, NO_NEGOTIATION, RtrSet};
use uwarp_rdmap::{Opcode, header::Control};

use crate::bench::{Bench, Call};
use crate::case::{Case, Need};
use crate::conn::Trouble;
use crate::seen::{Carries, Due, Seen};

const TERMS: Enhanced = Enhanced {
    ird: 4,
    ord: 4,
    peer_to_peer: true,
    rtr: RtrSet::WRITE,
};

/// Code 2/0/`code`, as all of RFC 6581 s8 have it.
const fn setup(code: u8) -> Due {
    Due::Terminate(2, 0, code, Carries::Nothing)
}

pub(super) fn called(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    play: impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static,
) -> Case {
    let mut case = Case::new(name, ids, sends, due, play);
    case.needs = vec![Need::Call];
    case
}

/// Answers the target's Request with these octets.
fn answered(
    octets: impl Fn(&Call) -> Vec<u8> + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut call = bench.called(true)?;
        let reply = octets(&call);
        call.conn.raw(&reply);
        Ok(call.conn.listen())
    }
}

/// An FPDU with CRC and without markers, the first of its stream.
fn fpdu(ulpdu: &[u8]) -> Vec<u8> {
    let mut encoder = crate::wire::Encoder {
        position: 0,
        markers: false,
        crc: true,
    };
    encoder.frame(ulpdu, crate::wire::Spoil::Nothing)
}

/// The octets of a proper Reply, one of them changed.
fn changed(call: &Call, at: usize, change: impl Fn(u8) -> u8) -> Vec<u8> {
    let octets = call.reply(call.terms()).encode().unwrap_or_default();
    crate::wire::altered(octets, at, change)
}

/// Accepts on these terms.
fn on_terms(words: Enhanced) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync {
    move |bench| {
        let mut call = bench.called_in_mode(true)?;
        let reply = call.reply(words);
        call.answer(&reply)?;
        Ok(call.conn.listen())
    }
}

/// Accepts, and looks at the first FPDU, which must be the indication `opcode`.
fn opens_with(
    reply: impl Fn(&Call) -> Frame + Send + Sync + 'static,
    opcode: Opcode,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut call = bench.called_in_mode(true)?;
        let reply = reply(&call);
        call.answer(&reply)?;
        let first = call.conn.message();
        let mut seen = call.conn.finish();
        let Some(first) = first else { return Ok(seen) };
        let (got, is_empty) = describe(&first);
        let as_due = got == Some(opcode) && is_empty;
        seen.require(
            as_due,
            format!("the first FPDU is {got:?}, not the RTR (E01, E18)"),
        );
        seen.works = as_due;
        Ok(seen)
    }
}

/// Accepts, and hears that the target goes on: it says something and, in peer-to-peer mode, an
/// indication first.
fn takes(
    reply: impl Fn(&Call) -> Frame + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut call = bench.called(true)?;
        let reply = reply(&call);
        call.answer(&reply)?;
        Ok(goes_on(call))
    }
}

/// The target says something on a connection that we have accepted.
fn goes_on(mut call: Call) -> Seen {
    let peer_to_peer = call.terms().peer_to_peer;
    let first = call.conn.message();
    let mut seen = call.conn.finish();
    if let Some(first) = &first {
        let (opcode, is_empty) = describe(first);
        seen.require(
            !peer_to_peer || is_empty,
            format!("the first FPDU is {opcode:?}, not the RTR (E01, E18)"),
        );
    }
    seen.works = first.is_some();
    seen
}

/// A call whose Request has the words of RFC 6581.
fn enhanced(bench: &Bench) -> Result<Call<'_>, Trouble> {
    let call = bench.called(true)?;
    match call.request.enhanced_data() {
        Some(_) => Ok(call),
        None => Err(Trouble::NotOffered(
            "the target's Request is not enhanced".to_owned(),
        )),
    }
}

/// As [`answered`], where the rule is about enhanced Requests.
fn answered_enhanced(
    octets: impl Fn(&Call) -> Vec<u8> + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut call = enhanced(bench)?;
        let reply = octets(&call);
        call.conn.raw(&reply);
        Ok(call.conn.listen())
    }
}

/// The opcode of a segment, and whether the operation it stands for has no octets.
fn describe(ulpdu: &[u8]) -> (Option<Opcode>, bool) {
    let Ok((header, header_len)) = Header::parse(ulpdu, ulpdu.len()) else {
        return (None, false);
    };
    let body = &ulpdu[header_len..];
    let opcode = Control(header.ulp()).opcode();
    let is_empty = match header {
        Header::Tagged(Tagged { last, .. }) => body.is_empty() && last,
        Header::Untagged(_) if opcode == Opcode::READ_REQUEST => {
            uwarp_rdmap::header::ReadRequest::parse(body).is_some_and(|request| request.size == 0)
        }
        Header::Untagged(_) => body.is_empty(),
    };
    (Some(opcode), is_empty)
}

pub(super) fn cases() -> Vec<Case> {
    improper().into_iter().chain(terms()).collect()
}

fn improper() -> Vec<Case> {
    let close = &[Due::Close];
    vec![
        called(
            "reply/not-mpa",
            &["U05", "F36"],
            "a Reply with a wrong key",
            close,
            answered(|call| changed(call, 3, |_| b'-')),
        ),
        called(
            "reply/request-key",
            &["U05", "U20"],
            "a Request where a Reply is due: two initiators",
            close,
            answered(|call| changed(call, 10, |_| b'q')),
        ),
        called(
            "reply/rev-1",
            &["U09", "G11"],
            "revision 1 in answer to 2",
            close,
            answered_enhanced(|call| {
                let octets = changed(call, 17, |_| 1);
                crate::wire::altered(octets, 16, |flags| flags & !0x10)
            }),
        ),
        called(
            "reply/rev-3",
            &["U09", "G11"],
            "revision 3 in answer to 2",
            close,
            answered(|call| changed(call, 17, |_| 3)),
        ),
        called(
            "reply/without-s",
            &["E21", "G12"],
            "an unenhanced Reply to an enhanced Request",
            close,
            answered_enhanced(|call| changed(call, 16, |flags| flags & !0x10)),
        ),
        called(
            "reply/s-without-words",
            &["E04", "G12"],
            "S with a PD_Length of 2",
            close,
            answered_enhanced(|call| {
                let mut octets = changed(call, 19, |_| 2);
                octets.truncate(22);
                octets
            }),
        ),
        called(
            "reply/pd-length-513",
            &["U10", "U21"],
            "a PD_Length of 513",
            close,
            answered(|call| {
                let mut octets = changed(call, 18, |_| 2);
                octets[19] = 1;
                octets.resize(20 + 513, 0);
                octets
            }),
        ),
        called(
            "reply/fpdu-instead",
            &["U05", "U15", "E01"],
            "an FPDU where the Reply is due",
            close,
            answered(|_| fpdu(&crate::wire::write(0, 0, b""))),
        ),
        called(
            "reply/fpdu-before",
            &["U05", "U15"],
            "an FPDU, and a proper Reply behind it",
            close,
            answered(|call| {
                let reply = changed(call, 0, |octet| octet);
                [fpdu(&crate::wire::write(0, 0, b"")), reply].concat()
            }),
        ),
        called(
            "reply/twice",
            &["U15", "F31"],
            "the same Reply again behind itself, which is no FPDU",
            &[Due::Close, Due::AnyTerminate],
            |bench| {
                let mut call = bench.called(true)?;
                let reply = changed(&call, 0, |octet| octet);
                call.conn.raw(&[&reply[..], &reply[..]].concat());
                call.conn.operate(call.request.markers, false, true);
                call.conn.half_close();
                let mut seen = call.conn.listen();
                // What the target had to say may have come before.
                seen.messages.clear();
                Ok(seen)
            },
        ),
        called(
            "reply/cut-by-fin",
            &["U15", "U21"],
            "half a Reply and a FIN",
            close,
            |bench| {
                let mut call = bench.called(true)?;
                let octets = changed(&call, 0, |octet| octet);
                call.conn.raw(&octets[..13]);
                call.conn.half_close();
                Ok(call.conn.listen())
            },
        ),
        called(
            "reply/silence",
            &["U22"],
            "nothing, where the Reply is due",
            close,
            |bench| {
                let call = bench.called(true)?;
                let limit = bench.profile.startup_timeout_ms.unwrap_or(0);
                let wait = bench.patience.answer + std::time::Duration::from_millis(limit.into());
                Ok(call.conn.listen_for(wait))
            },
        )
        .needs([Need::StartupTimeout]),
        called(
            "reply/rejects",
            &["U16", "E07"],
            "a Reply that rejects",
            close,
            |bench| {
                let mut call = bench.called(true)?;
                let reply = Frame {
                    rejected: true,
                    ..call.reply(call.terms())
                };
                call.answer(&reply)?;
                Ok(call.conn.listen())
            },
        ),
        called(
            "reply/initiator-is-silent",
            &["E01", "U15"],
            "nothing at first, while the target has something to say",
            &[Due::Works],
            |bench| {
                let mut call = bench.called(true)?;
                call.conn
                    .expect_quiet("an initiator spoke before the Reply");
                call.accept()?;
                Ok(goes_on(call))
            },
        ),
    ]
}

fn terms() -> Vec<Case> {
    let works = &[Due::Works];
    let with_rtr = |rtr| Enhanced { rtr, ..TERMS };
    vec![
        called(
            "reply/without-a",
            &["E16", "G14", "E20"],
            "no A in answer to A",
            &[setup(5), Due::Close],
            on_terms(Enhanced {
                peer_to_peer: false,
                ..TERMS
            }),
        ),
        called(
            "reply/a-unasked",
            &["E19", "G14", "E20"],
            "A in answer to none",
            &[setup(5), Due::Close],
            |bench| {
                let mut call = bench.called_in_mode(false)?;
                let reply = call.reply(TERMS);
                call.answer(&reply)?;
                Ok(call.conn.listen())
            },
        ),
        called(
            "reply/ord-too-large",
            &["E11", "E12", "E24"],
            "an ORD beyond any IRD",
            &[setup(6)],
            |bench| {
                let mut call = enhanced(bench)?;
                let reply = call.reply(Enhanced {
                    ord: 16382,
                    ..call.terms()
                });
                call.answer(&reply)?;
                Ok(call.conn.listen())
            },
        ),
        called(
            "reply/no-common-rtr",
            &["E18"],
            "B alone, which was not offered",
            &[setup(7)],
            on_terms(with_rtr(RtrSet::SEND)),
        ),
        called(
            "reply/no-rtr",
            &["E17", "E18"],
            "A without B, C and D",
            &[setup(7)],
            on_terms(with_rtr(RtrSet::NONE)),
        ),
        called(
            "reply/write-rtr",
            &["E01", "E18"],
            "C alone: the RTR is a Write, and nothing comes before it",
            works,
            opens_with(|call| call.reply(TERMS), Opcode::WRITE),
        ),
        called(
            "reply/read-rtr",
            &["E01", "E18", "G16"],
            "D alone: the RTR is a Read",
            works,
            opens_with(
                move |call| call.reply(with_rtr(RtrSet::READ)),
                Opcode::READ_REQUEST,
            ),
        ),
        called(
            "reply/0x3fff",
            &["E13"],
            "0x3FFF for IRD and ORD",
            works,
            takes(|call| {
                call.reply(Enhanced {
                    ird: NO_NEGOTIATION,
                    ord: NO_NEGOTIATION,
                    ..call.terms()
                })
            }),
        ),
        called(
            "reply/markers",
            &["F13", "U06", "U19"],
            "M: the first FPDU has its marker",
            works,
            takes(|call| Frame {
                markers: true,
                ..call.reply(call.terms())
            }),
        ),
        called(
            "reply/crc-declined",
            &["U07"],
            "C=0 in answer to C=1: the CRC is on",
            works,
            takes(|call| Frame {
                crc: false,
                ..call.reply(call.terms())
            }),
        ),
        called(
            "reply/reserved-bits",
            &["U08"],
            "all reserved bits set",
            works,
            |bench| {
                let mut call = bench.called(true)?;
                let octets = changed(&call, 16, |flags| flags | 0x0f);
                call.conn.raw(&octets);
                call.conn.operate(call.request.markers, false, true);
                Ok(goes_on(call))
            },
        ),
        called(
            "reply/key-alone-then-rest",
            &["U21", "F30"],
            "a Reply octet by octet",
            works,
            |bench| {
                let mut call = bench.called(true)?;
                let octets = changed(&call, 0, |octet| octet);
                call.conn
                    .trickle(&octets, std::time::Duration::from_micros(200));
                call.conn.operate(call.request.markers, false, true);
                Ok(goes_on(call))
            },
        ),
        called(
            "reply/request-is-proper",
            &["U11", "E14", "E19"],
            "nothing: the target's own Request is looked at",
            works,
            |bench| {
                let call = bench.called(true)?;
                let words = call.request.enhanced_data();
                let raw = call.request.private_data.first_chunk::<4>().copied();
                let mut seen = call.conn.finish();
                if let (Some(words), Some(raw)) = (words, raw) {
                    seen.require(
                        !words.peer_to_peer || !words.rtr.is_empty(),
                        "the Request asks for peer-to-peer and offers no RTR (E14)",
                    );
                    seen.require(
                        words.peer_to_peer || (raw[0] | raw[2]) & 0xc0 == 0,
                        "B, C or D in a client-server Request (E19)",
                    );
                }
                seen.works = true;
                Ok(seen)
            },
        ),
    ]
}

//! Untagged segments: queues, message numbers, offsets, receives; Sends and Immediate Data.

use uwarp_rdmap::Opcode;

use super::{odd, provoke};
use crate::bench::{Bench, receipt};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::{Favour, Receipt};
use crate::seen::{Carries, Due, Seen};
use crate::wire::{At, altered, opcode, read, send, untagged};

const fn untagged_code(code: u8) -> Due {
    Due::Terminate(1, 2, code, Carries::Segment)
}

const fn operation(code: u8) -> Due {
    Due::Terminate(0, 2, code, Carries::Segment)
}

pub(super) fn cases() -> Vec<Case> {
    [
        queues(),
        numbers(),
        offsets(),
        receives(),
        receipts(),
        immediate(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A segment of one of our own messages.
fn part(msn: u32, mo: u32, last: bool, payload: &[u8]) -> Vec<u8> {
    untagged(Opcode::SEND, At::part(msn, mo, last), 0, payload)
}

fn bad(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    mischief: impl Fn(&mut Conn, &Bench) + Send + Sync + 'static,
) -> Case {
    Case::new(name, ids, sends, due, provoke(mischief)).needs([Need::Receives])
}

fn queues() -> Vec<Case> {
    let mut cases: Vec<Case> = [4u32, 0x8000_0000, u32::MAX]
        .map(|qn| {
            Case::new(
                format!("qn/{qn:#x}"),
                &["D33", "D37"],
                format!("a Send on queue {qn:#x}"),
                &[untagged_code(1)],
                provoke(move |conn, _| {
                    conn.say(&untagged(Opcode::SEND, At::whole(qn, 1), 0, b"x"))
                }),
            )
        })
        .into();
    let wrong = [
        ("send-on-1", Opcode::SEND, 1),
        ("send-on-2", Opcode::SEND, 2),
        ("send-on-3", Opcode::SEND, 3),
        ("read-request-on-0", Opcode::READ_REQUEST, 0),
        ("terminate-on-0", Opcode::TERMINATE, 0),
        ("atomic-request-on-0", Opcode::ATOMIC_REQUEST, 0),
        ("immediate-on-1", Opcode::IMMEDIATE, 1),
    ];
    cases.extend(wrong.map(|(name, opcode, qn)| {
        Case::new(
            format!("qn/{name}"),
            &["R03", "G4"],
            format!("{opcode:?} on queue {qn}"),
            &[operation(6), untagged_code(1)],
            provoke(move |conn, _| conn.say(&untagged(opcode, At::whole(qn, 1), 0, &[0; 8]))),
        )
    }));
    cases.extend([0u8, 2, 3].map(|version| {
        Case::new(
            format!("version/ddp-{version}-untagged"),
            &["D10", "D37"],
            format!("a Send of DDP version {version}"),
            &[untagged_code(6)],
            provoke(move |conn, _| conn.say(&altered(send(1, b"x"), 0, |ctl| ctl & !3 | version))),
        )
    }));
    cases
}

fn numbers() -> Vec<Case> {
    let range = &[untagged_code(3)];
    let ahead = &[untagged_code(3), untagged_code(2)];
    vec![
        bad(
            "msn/0",
            &["D15", "D33", "T10"],
            "MSN 0 where 1 is due",
            range,
            |conn, _| conn.say(&send(0, b"x")),
        ),
        bad(
            "msn/one-skipped",
            &["D15", "G6"],
            "MSN 2 where 1 is due",
            ahead,
            |conn, _| conn.say(&send(2, b"x")),
        ),
        bad(
            "msn/repeated",
            &["D15", "D23", "G6"],
            "MSN 1 twice",
            range,
            |conn, _| {
                conn.say(&send(1, b"x"));
                conn.say(&send(1, b"y"));
            },
        ),
        bad(
            "msn/beyond-the-receives",
            &["D33", "G6"],
            "an MSN far beyond the posted receives",
            ahead,
            |conn, bench| {
                conn.say(&send(u32::from(bench.profile.receives) + 1, b"x"));
            },
        ),
        bad(
            "msn/half-way-round",
            &["D15", "D33"],
            "an MSN 2^31 ahead",
            ahead,
            |conn, _| conn.say(&send(0x8000_0001, b"x")),
        ),
        bad(
            "msn/interleaved",
            &["D22", "G6"],
            "the second message before the first is over",
            range,
            |conn, _| {
                conn.say(&part(1, 0, false, b"first half"));
                conn.say(&send(2, b"x"));
            },
        ),
    ]
}

fn offsets() -> Vec<Case> {
    let mo = &[untagged_code(4)];
    let len = |bench: &Bench| u32::from(bench.profile.receive_len);
    vec![
        bad(
            "mo/beyond-the-receive",
            &["D33"],
            "an MO behind the posted receive",
            mo,
            move |conn, bench| {
                conn.say(&part(1, len(bench) + 1, true, b"x"));
            },
        ),
        bad(
            "mo/first-octets-missing",
            &["D16", "D24", "G7"],
            "a message that begins at MO 8",
            mo,
            |conn, _| {
                conn.say(&part(1, 8, true, b"12345678"));
            },
        ),
        bad(
            "mo/hole",
            &["D24", "G7"],
            "a message with a hole",
            mo,
            |conn, _| {
                conn.say(&part(1, 0, false, b"1234"));
                conn.say(&part(1, 8, true, b"9abc"));
            },
        ),
        bad(
            "mo/wrap",
            &["D33", "D20"],
            "an MO that wraps with the length",
            &[untagged_code(4), untagged_code(5)],
            |conn, _| {
                conn.say(&part(1, u32::MAX - 3, true, b"12345678"));
            },
        ),
        bad(
            "mo/l-is-not-the-highest",
            &["D07", "G7"],
            "L on a segment below another one",
            mo,
            |conn, _| {
                conn.say(&part(1, 100, false, &[1; 50]));
                conn.say(&part(1, 0, true, &[2; 100]));
            },
        ),
        bad(
            "length/too-long-for-the-receive",
            &["D33", "R20", "G8"],
            "a Send that is one octet longer than the receive",
            &[untagged_code(5), untagged_code(2)],
            move |conn, bench| {
                conn.say(&send(1, &vec![0; len(bench) as usize + 1]));
            },
        ),
        bad(
            "length/second-segment-too-long",
            &["D33", "R20", "G8"],
            "a Send whose second segment leaves the receive",
            &[untagged_code(5), untagged_code(2)],
            move |conn, bench| {
                conn.say(&part(1, 0, false, &vec![0; len(bench) as usize]));
                conn.say(&part(1, len(bench), true, b"x"));
            },
        ),
        Case::new(
            "mo/never-ending",
            &["D24", "D33"],
            "segments of one octet with holes between them, without end",
            &[untagged_code(4), Due::Works],
            move |bench| {
                let ulpdus: Vec<_> = (0..len(bench) / 2)
                    .map(|at| part(1, 2 * at, false, b"x"))
                    .collect();
                let mut conn = bench.connected()?;
                conn.say_together(&ulpdus);
                let mut seen = super::prove_or_listen(bench, conn);
                seen.blame_among(&ulpdus);
                Ok(seen)
            },
        )
        .needs([Need::Receives]),
    ]
}

fn receives() -> Vec<Case> {
    vec![
        bad(
            "send/no-receive",
            &["D33", "D34", "R19"],
            "one Send more than there are receives",
            &[untagged_code(2)],
            |conn, bench| {
                for msn in 1..=u32::from(bench.profile.receives) + 1 {
                    conn.say(&send(msn, b"x"));
                }
            },
        ),
        bad(
            "send/nothing-needs-a-receive",
            &["R21", "T09"],
            "Sends of nothing, one more than there are receives",
            &[untagged_code(2)],
            |conn, bench| {
                for msn in 1..=u32::from(bench.profile.receives) + 1 {
                    conn.say(&send(msn, b""));
                }
            },
        ),
        bad(
            "send/unfinished-then-fin",
            &["D24", "T24"],
            "a Send without its end, then a FIN",
            &[Due::Close],
            |conn, _| {
                conn.say(&part(1, 0, false, b"half"));
                conn.half_close();
            },
        ),
    ]
}

/// What must arrive at the target's user.
fn arrives(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    ulpdus: impl Fn() -> Vec<Vec<u8>> + Send + Sync + 'static,
    receipts: &'static [Receipt],
) -> Case {
    Case::new(name, ids, sends, due, move |bench| {
        let mut conn = bench.asking(Favour::Receipts)?;
        let ulpdus = ulpdus();
        for ulpdu in &ulpdus {
            conn.say(ulpdu);
        }
        take_receipts(conn, bench, receipts)
    })
    .needs([Need::Favours])
}

fn take_receipts(mut conn: Conn, bench: &Bench, due: &[Receipt]) -> Result<Seen, Trouble> {
    for due in due {
        match receipt(&mut conn) {
            Some(got) => conn.seen().require(
                got == *due,
                format!("{got:?} arrived where {due:?} was due"),
            ),
            None => return Ok(conn.listen()),
        }
    }
    Ok(bench.prove(conn))
}

const RECEIVED: Receipt = Receipt {
    kind: b'r',
    solicited: false,
    invalidated: false,
    immediate: false,
    place: 0,
    len: 0,
    check: 0,
};

/// CRCs of what is sent, which the tests below prove.
const CRC_SIX: u64 = 0x53bc_eff1;
/// Immediate Data as a number.
const DIGITS: u64 = u64::from_be_bytes(*b"12345678");

fn receipts() -> Vec<Case> {
    let works = &[Due::Works];
    let policy = &[Due::Works, untagged_code(4)];
    let six: &'static [Receipt] = &[Receipt {
        len: 6,
        check: CRC_SIX,
        ..RECEIVED
    }];
    vec![
        arrives(
            "send/nothing",
            &["R21", "T09"],
            "a Send of nothing, which uses a receive",
            works,
            || vec![send(1, b"")],
            &[RECEIVED],
        ),
        arrives(
            "send/segments",
            &["D20", "D24", "D25"],
            "a Send in three segments",
            works,
            || {
                vec![
                    part(1, 0, false, b"ab"),
                    part(1, 2, false, b"cd"),
                    part(1, 4, true, b"ef"),
                ]
            },
            six,
        ),
        arrives(
            "mo/out-of-order",
            &["D23", "G7", "T23"],
            "a Send whose second segment comes first",
            policy,
            || {
                vec![
                    part(1, 2, false, b"cd"),
                    part(1, 0, false, b"ab"),
                    part(1, 4, true, b"ef"),
                ]
            },
            six,
        ),
        arrives(
            "mo/repeated",
            &["D23", "G7"],
            "a Send one of whose segments comes twice",
            policy,
            || {
                vec![
                    part(1, 0, false, b"abcd"),
                    part(1, 2, false, b"cd"),
                    part(1, 4, true, b"ef"),
                ]
            },
            six,
        ),
        arrives(
            "send/empty-last-segment",
            &["G19"],
            "a Send whose last segment has no octets",
            works,
            || vec![part(1, 0, false, b"abcdef"), part(1, 6, true, b"")],
            six,
        ),
        arrives(
            "send/solicited",
            &["R02", "R20"],
            "a Send with Solicited Event",
            works,
            || {
                vec![untagged(
                    Opcode::SEND_SOLICITED,
                    At::whole(0, 1),
                    0,
                    b"abcdef",
                )]
            },
            &[Receipt {
                solicited: true,
                len: 6,
                check: CRC_SIX,
                ..RECEIVED
            }],
        ),
        arrives(
            "send/reserved-word",
            &["R05", "D13"],
            "a Send whose reserved octets are not zero",
            works,
            || {
                let at = At::whole(0, 1);
                vec![altered(
                    untagged(Opcode::SEND, at, 0xdead_beef, b"abcdef"),
                    0,
                    |ctl| ctl | 0x3c,
                )]
            },
            six,
        ),
        arrives(
            "send/between-write-segments",
            &["D22", "D23"],
            "a Send between the segments of a Write",
            works,
            || {
                vec![
                    crate::wire::tagged(Opcode::WRITE, false, 1, 1, b""),
                    send(1, b"abcdef"),
                    crate::wire::write(1, 1, b""),
                ]
            },
            six,
        ),
        Case::new(
            "send/read-in-between",
            &["R29", "T13"],
            "a Read between two Sends",
            works,
            odd(|conn, bench| {
                let place = bench.place(crate::profile::RegionKind::Steady);
                conn.say(&send(1, b"a"));
                conn.say(&read(1, place.stag, place.to, 8));
                conn.request_msn = 2;
                let back = conn.response(8);
                conn.seen()
                    .require(back.is_some(), "the Read was not answered");
                conn.say(&send(2, b"b"));
            }),
        )
        .needs([Need::Receives]),
    ]
}

fn immediate() -> Vec<Case> {
    let whole = |msn| At::whole(0, msn);
    let size = &[operation(0xff)];
    vec![
        arrives(
            "immediate/arrives",
            &["X13", "T22"],
            "Immediate Data",
            &[Due::Works],
            move || vec![untagged(Opcode::IMMEDIATE, whole(1), 0, b"12345678")],
            &[Receipt {
                immediate: true,
                check: DIGITS,
                ..RECEIVED
            }],
        ),
        arrives(
            "immediate/solicited",
            &["X13"],
            "Immediate Data with Solicited Event, and a Send behind it",
            &[Due::Works],
            move || {
                vec![
                    untagged(opcode(9), whole(1), 0, b"12345678"),
                    send(2, b"abcdef"),
                ]
            },
            &[
                Receipt {
                    immediate: true,
                    solicited: true,
                    check: DIGITS,
                    ..RECEIVED
                },
                Receipt {
                    place: 1,
                    len: 6,
                    check: CRC_SIX,
                    ..RECEIVED
                },
            ],
        ),
        bad(
            "immediate/7-octets",
            &["X13", "G3"],
            "7 octets of Immediate Data",
            size,
            move |conn, _| {
                conn.say(&untagged(Opcode::IMMEDIATE, whole(1), 0, b"1234567"));
            },
        ),
        bad(
            "immediate/9-octets",
            &["X13", "G3"],
            "9 octets of Immediate Data",
            size,
            move |conn, _| {
                conn.say(&untagged(Opcode::IMMEDIATE, whole(1), 0, b"123456789"));
            },
        ),
        bad(
            "immediate/nothing",
            &["X13", "G3"],
            "no octets of Immediate Data",
            size,
            move |conn, _| {
                conn.say(&untagged(Opcode::IMMEDIATE, whole(1), 0, b""));
            },
        ),
        bad(
            "immediate/with-mo",
            &["X13", "D16"],
            "Immediate Data at MO 4",
            &[untagged_code(4), operation(0xff)],
            |conn, _| {
                conn.say(&untagged(
                    Opcode::IMMEDIATE,
                    At::part(1, 4, true),
                    0,
                    b"12345678",
                ));
            },
        ),
        bad(
            "immediate/no-receive",
            &["X13", "D33"],
            "one more than there are receives",
            &[untagged_code(2)],
            move |conn, bench| {
                for msn in 1..=u32::from(bench.profile.receives) + 1 {
                    conn.say(&untagged(Opcode::IMMEDIATE, whole(msn), 0, b"12345678"));
                }
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_is_that_of_what_is_sent() {
        assert_eq!(u64::from(uwarp_mpa::crc::crc32c(b"abcdef")), super::CRC_SIX);
    }
}

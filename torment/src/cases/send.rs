//! Untagged segments: queues, message numbers, offsets, receives.

use uwarp_rdmap::Opcode;

use super::provoke;
use crate::bench::Bench;
use crate::case::{Case, Need};
use crate::conn::Conn;
use crate::seen::{Carries, Due};
use crate::wire::{At, altered, send, untagged};

pub(super) const fn untagged_code(code: u8) -> Due {
    Due::Terminate(1, 2, code, Carries::Segment)
}

pub(super) const fn operation(code: u8) -> Due {
    Due::Terminate(0, 2, code, Carries::Segment)
}

pub(super) fn cases() -> Vec<Case> {
    [queues(), numbers(), offsets(), receives()]
        .into_iter()
        .flatten()
        .collect()
}

/// A segment of one of our own messages.
pub(super) fn part(msn: u32, mo: u32, last: bool, payload: &[u8]) -> Vec<u8> {
    untagged(Opcode::SEND, At::part(msn, mo, last), 0, payload)
}

pub(super) fn bad(
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

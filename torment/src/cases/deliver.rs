//! Messages that arrive at the target's user: Sends in all their forms, and Immediate Data.

use uwarp_rdmap::Opcode;

use super::odd;
use super::send::{bad, operation, part, untagged_code};
use crate::bench::{Bench, receipt};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::{Favour, FavourKind, Receipt};
use crate::seen::{Due, Seen};
use crate::wire::{At, altered, opcode, read, send, untagged};

pub(super) fn cases() -> Vec<Case> {
    let immediate = immediate()
        .into_iter()
        .map(|case| case.needs([Need::ImmediateData]));
    receipts().into_iter().chain(immediate).collect()
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
        if bench.profile.favours.contains(&FavourKind::Receipts) {
            return take_receipts(conn, bench, receipts);
        }
        let mut seen = super::prove_or_listen(bench, conn);
        seen.remarks
            .push("no receipts: what arrived is not known".to_owned());
        Ok(seen)
    })
    .needs([Need::Receives])
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
            &["D20", "D24", "D25", "D08"],
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
                let place = bench.readable();
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
            "immediate/reserved-word",
            &["X02", "D13"],
            "Immediate Data where an Invalidate STag would stand",
            &[Due::Works],
            move || {
                vec![untagged(
                    Opcode::IMMEDIATE,
                    whole(1),
                    0xdead_beef,
                    b"12345678",
                )]
            },
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

//! Tagged segments: STags, bounds, rights, versions, opcodes.

use uwarp_rdmap::Opcode;

use super::framing::trace;
use super::{odd, provoke};
use crate::bench::{Bench, Dial};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::{Favour, FavourKind, RegionKind};
use crate::seen::{Carries, Due, Seen};
use crate::wire::{At, altered, opcode, tagged, untagged, write};

const fn tagged_code(code: u8) -> Due {
    Due::Terminate(1, 1, code, Carries::Segment)
}

const fn operation(code: u8) -> Due {
    Due::Terminate(0, 2, code, Carries::Segment)
}

pub(super) fn cases() -> Vec<Case> {
    [places(), afterwards(), nothing(), versions(), opcodes()]
        .into_iter()
        .flatten()
        .collect()
}

/// A Write to a place in a region of this kind, `len` octets of it.
fn aimed(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    kind: RegionKind,
    aim: fn(u64, u64) -> (u64, usize),
) -> Case {
    Case::new(
        name,
        ids,
        sends,
        due,
        provoke(move |conn, bench| {
            let place = bench.place(kind);
            let (to, len) = aim(place.to, place.len.into());
            conn.say(&write(place.stag, to, &vec![0xee; len]));
        }),
    )
    .on(kind)
}

fn places() -> Vec<Case> {
    let bounds = &[tagged_code(1)];
    let wrap = &[tagged_code(3), tagged_code(1)];
    let stranger = &[tagged_code(2), tagged_code(0)];
    vec![
        Case::new(
            "write/unknown-stag",
            &["D35", "D12"],
            "a Write to an STag that was never issued",
            &[tagged_code(0)],
            provoke(|conn, bench| {
                conn.say(&write(bench.free_stag(), 0, &[0xee; 16]));
            }),
        )
        .guarding(RegionKind::Open),
        aimed(
            "write/revoked-stag",
            &["D35", "D40", "S03"],
            "a Write to an STag that has been revoked",
            &[tagged_code(0)],
            RegionKind::Revoked,
            |to, _| (to, 16),
        ),
        aimed(
            "write/other-domain",
            &["D38", "S01"],
            "a Write to an STag of another protection domain",
            stranger,
            RegionKind::Foreign,
            |to, _| (to, 16),
        ),
        aimed(
            "write/other-stream",
            &["D38", "S01"],
            "a Write to an STag of another stream",
            stranger,
            RegionKind::OtherStream,
            |to, _| (to, 16),
        ),
        aimed(
            "write/read-only",
            &["D35", "G5", "T20"],
            "a Write to a region that may only be read",
            &[tagged_code(0), Due::Terminate(0, 1, 2, Carries::Segment)],
            RegionKind::Steady,
            |to, _| (to, 16),
        ),
        aimed(
            "write/one-octet-too-long",
            &["D35", "S02"],
            "a Write that ends one octet behind its region",
            bounds,
            RegionKind::Open,
            |to, len| (to + len - 15, 16),
        )
        .guarding(RegionKind::Open),
        aimed(
            "write/behind-the-end",
            &["D35", "S02"],
            "a Write of one octet right behind its region",
            bounds,
            RegionKind::Open,
            |to, len| (to + len, 1),
        )
        .guarding(RegionKind::Open),
        aimed(
            "write/far-away",
            &["D35", "S02"],
            "a Write at an offset of 2^63",
            bounds,
            RegionKind::Open,
            |to, _| (to ^ (1 << 63), 16),
        )
        .guarding(RegionKind::Open),
        aimed(
            "write/4-gib-away",
            &["D35", "S02"],
            "a Write at an offset of 2^32, which is 0 in 32 bits",
            bounds,
            RegionKind::Open,
            |to, _| (to + (1 << 32), 16),
        )
        .guarding(RegionKind::Open),
        aimed(
            "write/wrap",
            &["D35", "T18"],
            "a Write across the end of the 64-bit offsets",
            &[tagged_code(3)],
            RegionKind::Open,
            |_, _| (u64::MAX - 7, 16),
        )
        .guarding(RegionKind::Open),
        aimed(
            "write/wrap-to-zero",
            &["D35", "T18"],
            "a Write that ends at 2^64 exactly",
            wrap,
            RegionKind::Open,
            |_, _| (u64::MAX - 15, 16),
        )
        .guarding(RegionKind::Open),
        aimed(
            "write/last-octets",
            &["D19", "D35"],
            "a Write of the last octets of a region, then one octet too many",
            bounds,
            RegionKind::Wide,
            |to, len| (to + len - 1, 2),
        ),
    ]
}

/// Something bad, and something good right behind it in the same TCP segment.
fn followed(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    good: fn(&Bench) -> Vec<u8>,
) -> Case {
    Case::new(
        name,
        ids,
        sends,
        &[tagged_code(0)],
        provoke(move |conn, bench| {
            let stag = bench.invalid_stag();
            let bad = write(stag, 0, &[0xee; 8]);
            let mut wire = conn.framed(&bad, crate::wire::Spoil::Nothing);
            conn.blame();
            for _ in 0..3 {
                wire.extend(conn.framed(&good(bench), crate::wire::Spoil::Nothing));
            }
            conn.raw(&wire);
        }),
    )
    .on(RegionKind::Open)
    .guarding(RegionKind::Open)
}

fn afterwards() -> Vec<Case> {
    vec![
        followed(
            "after-error/write",
            &["D36", "T08", "R25", "R39"],
            "proper Writes behind a bad one: not placed, and one Terminate",
            trace,
        ),
        followed(
            "after-error/read",
            &["D36", "R29", "T08"],
            "proper Reads behind a bad Write: not answered",
            |bench| {
                let place = bench.place(RegionKind::Open);
                crate::wire::read(1, place.stag, place.to, 16)
            },
        ),
        followed(
            "after-error/atomic",
            &["D36", "X12"],
            "proper Atomics behind a bad Write: not performed",
            |bench| super::atomic::fetch_add(bench, 1, 0),
        )
        .needs([Need::Atomics]),
        Case::new(
            "after-error/while-answering",
            &["D07", "G18", "R25"],
            "Reads of a megabyte and a bad Write: an answer ends with L before the Terminate, and none follows",
            &[tagged_code(0), Due::Close],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                let count = u32::from(bench.profile.ird.min(3));
                for msn in 1..=count {
                    conn.say(&crate::wire::read(msn, place.stag, place.to, 1 << 20));
                }
                let begins = conn.message();
                conn.say(&write(bench.invalid_stag(), 0, &[0xee; 8]));
                let mut seen = conn.listen();
                let last = seen.messages.last().or(begins.as_ref());
                let cut = last.is_some_and(|ulpdu| ulpdu.first().is_some_and(|ctl| ctl & 0x40 == 0));
                seen.require(
                    !cut || seen.terminate.is_none(),
                    "a Terminate inside another message (G18)",
                );
                Ok(seen)
            },
        )
        .on(RegionKind::Steady)
        .needs([Need::Reads]),
        Case::new(
            "after-error/as-first-fpdu",
            &["U18", "D35", "R40"],
            "a Write to an STag that is not valid as first FPDU, which yet lets the target speak",
            &[tagged_code(0), Due::Close],
            |bench| {
                let (mut conn, _) = bench.dial(&Dial::default())?;
                conn.say(&write(bench.invalid_stag(), 0, &[0xee; 8]));
                Ok(conn.listen())
            },
        ),
        Case::new(
            "after-error/with-something-to-say",
            &["R25", "R26", "R39"],
            "a Write to an STag that is not valid, to a target that waits to say something: not behind its Terminate",
            &[tagged_code(0), Due::Close],
            |bench| {
                let (mut conn, _) = bench.dial(&Dial::asking(Favour::TalkFirst))?;
                // Let it post what it has to say, which it may not send yet.
                conn.expect_quiet("the responder spoke before the first FPDU (U18)");
                conn.say(&write(bench.invalid_stag(), 0, &[0xee; 8]));
                Ok(conn.listen())
            },
        )
        .needs([Need::Favour(FavourKind::TalkFirst)]),
        Case::new(
            "after-error/much",
            &["D36", "T08", "G24"],
            "a bad Write and 4 MiB behind it: the Terminate still arrives",
            &[tagged_code(0)],
            provoke(|conn, bench| {
                let stag = bench.invalid_stag();
                conn.say(&write(stag, 0, &[0xee; 8]));
                conn.blame();
                for _ in 0..128 {
                    conn.say(&write(stag, 0, &[0xee; 32 << 10]));
                }
            }),
        ),
    ]
}

fn nothing() -> Vec<Case> {
    let works = &[Due::Works];
    vec![
        Case::new(
            "write/nothing-anywhere",
            &["D21", "R10", "T09"],
            "a Write of nothing to an STag that does not exist",
            works,
            odd(|conn, _| conn.say(&write(0xdead_beef, 3, b""))),
        ),
        Case::new(
            "write/nothing-at-the-end-of-time",
            &["D21", "T09"],
            "a Write of nothing at the last offset",
            works,
            odd(|conn, bench| {
                conn.say(&write(bench.place(RegionKind::Steady).stag, u64::MAX, b""));
            }),
        ),
        Case::new(
            "write/nothing-without-l",
            &["D21", "G19"],
            "a segment of nothing without L, then one with L",
            works,
            odd(|conn, _| {
                conn.say(&tagged(Opcode::WRITE, false, 7, 7, b""));
                conn.say(&write(7, 7, b""));
            }),
        ),
        Case::new(
            "write/without-l",
            &["D26", "R09"],
            "a Write whose last segment does not say so",
            works,
            odd(|conn, bench| {
                let place = bench.place(RegionKind::Wide);
                conn.say(&tagged(
                    Opcode::WRITE,
                    false,
                    place.stag,
                    place.to,
                    &[1; 20],
                ));
            }),
        )
        .on(RegionKind::Wide),
        Case::new(
            "write/nothing-beside",
            &["D19", "S02"],
            "a Write of 13 octets between two Reads of them and those beside them",
            works,
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Wide);
                let before = conn.fetch(place.stag, place.to + 256, 64);
                let octets: Vec<u8> = (before.iter().flatten().skip(20).take(13))
                    .map(|octet| !octet)
                    .collect();
                conn.say(&write(place.stag, place.to + 256 + 20, &octets));
                let after = conn.fetch(place.stag, place.to + 256, 64);
                let (Some(mut due), Some(after)) = (before, after) else {
                    return Ok(conn.listen());
                };
                due[20..33].copy_from_slice(&octets);
                conn.seen().require(
                    after == due,
                    "other octets than those of the Write have changed",
                );
                Ok(bench.prove(conn))
            },
        )
        .on(RegionKind::Wide),
        Case::new(
            "write/segments-in-any-order",
            &["D20", "D23"],
            "a Write whose second half comes first",
            works,
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Wide);
                conn.say(&tagged(
                    Opcode::WRITE,
                    false,
                    place.stag,
                    place.to + 1000,
                    &[2; 1000],
                ));
                conn.say(&tagged(
                    Opcode::WRITE,
                    true,
                    place.stag,
                    place.to,
                    &[1; 1000],
                ));
                placed(conn, place.stag, place.to, &[[1; 1000], [2; 1000]].concat())
            },
        )
        .on(RegionKind::Wide),
        Case::new(
            "write/reserved-bits",
            &["D09", "R04"],
            "a Write with all reserved bits of both control octets set",
            works,
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Wide);
                let ulpdu = altered(write(place.stag, place.to, &[0x3c; 33]), 0, |ctl| {
                    ctl | 0x3c
                });
                conn.say(&altered(ulpdu, 1, |ctl| ctl | 0x30));
                placed(conn, place.stag, place.to, &[0x3c; 33])
            },
        )
        .on(RegionKind::Wide),
    ]
}

/// Reads back what must have been placed.
fn placed(mut conn: Conn, stag: u32, to: u64, due: &[u8]) -> Result<Seen, Trouble> {
    let back = conn.fetch(stag, to, due.len() as u32);
    let mut seen = conn.finish();
    seen.works = back.is_some();
    seen.require(
        back.is_none_or(|back| back == due),
        "the octets were not placed as they were sent",
    );
    Ok(seen)
}

fn versions() -> Vec<Case> {
    let ddp = [0u8, 2, 3].map(|version| {
        Case::new(
            format!("version/ddp-{version}-tagged"),
            &["D10", "D37"],
            format!("a Write of DDP version {version}"),
            &[tagged_code(4)],
            provoke(move |conn, bench| {
                conn.say(&altered(trace(bench), 0, |ctl| ctl & !3 | version))
            }),
        )
        .guarding(RegionKind::Open)
    });
    let rdmap = [0u8, 2, 3].map(|version| {
        Case::new(
            format!("version/rdmap-{version}"),
            &["R04", "R41"],
            format!("a Write of RDMAP version {version}"),
            &[operation(5)],
            provoke(move |conn, bench| {
                conn.say(&altered(trace(bench), 1, |ctl| ctl & 0x3f | version << 6));
            }),
        )
        .guarding(RegionKind::Open)
    });
    ddp.into_iter().chain(rdmap).collect()
}

fn opcodes() -> Vec<Case> {
    let unexpected = &[operation(6)];
    let mut cases: Vec<Case> = [0xcu8, 0xd, 0xe, 0xf]
        .into_iter()
        .flat_map(|bits| {
            let tag = move |tagged_too: bool| {
                Case::new(
                    format!(
                        "opcode/{bits:x}-{}",
                        if tagged_too { "tagged" } else { "untagged" }
                    ),
                    &["R41", "G4"],
                    format!("opcode {bits:#x}, which is not assigned"),
                    unexpected,
                    provoke(move |conn, bench| {
                        let place = bench.place(RegionKind::Open);
                        conn.say(&if tagged_too {
                            tagged(opcode(bits), true, place.stag, place.to, &[0xee; 8])
                        } else {
                            untagged(opcode(bits), At::whole(0, 1), 0, &[0xee; 8])
                        });
                    }),
                )
            };
            [tag(true), tag(false)]
        })
        .collect();
    let names = [
        (1u8, "read-request"),
        (3, "send"),
        (7, "terminate"),
        (8, "immediate"),
        (0xa, "atomic-request"),
    ];
    cases.extend(names.map(|(bits, name)| {
        Case::new(
            format!("t-flag/tagged-{name}"),
            &["R03", "D06", "G4"],
            format!("a {name} with T set"),
            &[operation(6), Due::Close],
            provoke(move |conn, bench| {
                let place = bench.place(RegionKind::Open);
                conn.say(&tagged(
                    opcode(bits),
                    true,
                    place.stag,
                    place.to,
                    &[0xee; 28],
                ));
            }),
        )
        .guarding(RegionKind::Open)
    }));
    cases.extend([(0u8, "write"), (2, "read-response")].map(|(bits, name)| {
        Case::new(
            format!("t-flag/untagged-{name}"),
            &["R03", "D06", "G4"],
            format!("a {name} with T clear"),
            unexpected,
            provoke(move |conn, _| conn.say(&untagged(opcode(bits), At::whole(0, 1), 0, b"data"))),
        )
    }));
    cases
}

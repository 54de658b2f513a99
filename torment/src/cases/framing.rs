//! FPDUs: lengths that lie, CRCs that are wrong, octets that come slowly or not at all.

use std::time::Duration;

use super::{markers, odd, provoke};
use crate::bench::{Bench, Dial};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::RegionKind;
use crate::seen::{Carries, Due, Seen};
use crate::wire::{Spoil, write};

const CRC: Due = Due::Terminate(2, 0, 2, Carries::Nothing);
const SHORT: Due = Due::Terminate(1, 0, 0, Carries::Length);

/// A Write of the region 'open' that would leave a trace.
pub(super) fn trace(bench: &Bench) -> Vec<u8> {
    let place = bench.place(RegionKind::Open);
    write(place.stag, place.to + 512, &[0xee; 48])
}

pub(super) fn cases() -> Vec<Case> {
    [lengths(), crcs(), segmentation()]
        .into_iter()
        .flatten()
        .collect()
}

fn lengths() -> Vec<Case> {
    // The first octets of a tagged and an untagged segment.
    let short = |len: usize, ctl: u8| {
        Case::new(
            format!("length/{len}"),
            &["G1", "D31"],
            format!("a ULPDU of {len} octets, less than its DDP header"),
            &[SHORT, Due::AnyTerminate],
            provoke(move |conn, _| {
                let ulpdu = [&[ctl, 0x40][..], &[0; 16]].concat();
                conn.say(&ulpdu[..len]);
            }),
        )
    };
    // Some receivers take what their peers should not send; markers could not point over it.
    let long = |len: usize| {
        Case::new(
            format!("length/{len}"),
            &["F04", "G2"],
            format!("a ULPDU of {len} octets, more than any may have"),
            &[Due::Works, SHORT, Due::AnyTerminate],
            move |bench| Ok(oversized(bench, bench.connected()?, len)),
        )
        .on(RegionKind::Wide)
    };
    let long_with_markers = |len: usize| {
        Case::new(
            format!("length/{len}-with-markers"),
            &["F04", "G2"],
            format!("a ULPDU of {len} octets where there are markers"),
            &[SHORT, Due::AnyTerminate],
            move |bench| {
                let mut conn = markers::start(bench)?;
                conn.hello();
                Ok(oversized(bench, conn, len))
            },
        )
        .guarding(RegionKind::Wide)
        .needs([Need::Markers])
    };
    vec![
        short(0, 0xc1),
        short(1, 0xc1),
        short(2, 0xc1),
        short(13, 0xc1),
        short(14, 0x41),
        short(17, 0x41),
        long(64769),
        long(65535),
        long_with_markers(64769),
        long_with_markers(65535),
        Case::new(
            "length/too-short-for-what-follows",
            &["F25", "F31"],
            "a ULPDU_Length that is 8 less than what follows",
            &[CRC],
            provoke(|conn, bench| {
                let ulpdu = trace(bench);
                let said = ulpdu.len() as u16 - 8;
                conn.say_spoiled(&ulpdu, Spoil::Length(said));
            }),
        )
        .guarding(RegionKind::Open),
        Case::new(
            "length/too-long-then-fin",
            &["F32", "T24"],
            "a ULPDU_Length that is 8 more than what follows, then a FIN",
            &[Due::Close],
            provoke(|conn, bench| {
                let ulpdu = trace(bench);
                let said = ulpdu.len() as u16 + 8;
                conn.say_spoiled(&ulpdu, Spoil::Length(said));
                conn.half_close();
            }),
        )
        .guarding(RegionKind::Open),
        Case::new(
            "length/0-as-first",
            &["G1", "U18"],
            "a ULPDU of no octets as first FPDU",
            &[SHORT, Due::AnyTerminate, Due::Close],
            |bench| {
                let (mut conn, _) = bench.dial(&Dial::default())?;
                conn.say(&[]);
                Ok(conn.listen())
            },
        ),
        Case::new(
            "length/largest",
            &["F04", "T16"],
            "a ULPDU of 64768 octets",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Wide);
                let data: Vec<u8> = (0..64754usize).map(|at| (at / 3) as u8).collect();
                conn.say(&write(place.stag, place.to, &data));
                let back = conn.fetch(place.stag, place.to, 64754);
                let mut seen = conn.finish();
                seen.works = back.is_some();
                seen.require(
                    back.is_none_or(|back| back == data),
                    "the octets were not placed as they were sent",
                );
                Ok(seen)
            },
        )
        .on(RegionKind::Wide),
        Case::new(
            "length/smallest",
            &["F04", "D21"],
            "FPDUs with nothing but a DDP header, many in one write",
            &[Due::Works],
            odd(|conn, _| {
                conn.say_together(&vec![write(1, 2, b""); 300]);
            }),
        ),
    ]
}

/// A Write in one ULPDU of `len` octets, and what becomes of it.
fn oversized(bench: &Bench, mut conn: Conn, len: usize) -> Seen {
    let place = bench.place(RegionKind::Wide);
    let data: Vec<u8> = (0..len - 14).map(|at| (at / 7) as u8 ^ 0x5e).collect();
    conn.say(&write(place.stag, place.to, &data));
    conn.blame();
    let Some(back) = conn.fetch(place.stag, place.to, data.len() as u32) else {
        return conn.listen();
    };
    let mut seen = conn.finish();
    seen.works = true;
    seen.require(back == data, "the octets were not placed as they were sent");
    seen
}

fn spoiled(spoil: Spoil) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync {
    provoke(move |conn, bench| conn.say_spoiled(&trace(bench), spoil))
}

/// A wrong CRC somewhere, and nothing of it in the target's memory.
fn crc(
    name: &'static str,
    sends: &'static str,
    play: impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static,
) -> Case {
    Case::new(name, &["F24", "F25", "F38", "T06"], sends, &[CRC], play).guarding(RegionKind::Open)
}

fn crcs() -> Vec<Case> {
    vec![
        Case::new(
            "crc/first",
            &["F25", "U18", "G17"],
            "a wrong CRC on the first FPDU, before which a responder may not speak",
            &[Due::Close],
            |bench| {
                let (mut conn, _) = bench.dial(&Dial::default())?;
                conn.say_spoiled(&trace(bench), Spoil::CrcXor(0x8000_0000));
                Ok(conn.listen())
            },
        )
        .guarding(RegionKind::Open),
        crc(
            "crc/one-bit",
            "a CRC with one wrong bit",
            spoiled(Spoil::CrcXor(1)),
        ),
        crc(
            "crc/swapped",
            "a CRC with its most significant octet first",
            spoiled(Spoil::CrcSwapped),
        ),
        crc(
            "crc/payload-bit",
            "a payload in which one bit has changed since the CRC",
            provoke(|conn, bench| {
                let mut wire = conn.framed(&trace(bench), Spoil::Nothing);
                wire[30] ^= 0x10;
                conn.raw(&wire);
            }),
        ),
        crc(
            "crc/header-bit",
            "an STag in which one bit has changed since the CRC",
            provoke(|conn, bench| {
                let mut wire = conn.framed(&trace(bench), Spoil::Nothing);
                wire[5] ^= 0x01;
                conn.raw(&wire);
            }),
        ),
        crc(
            "crc/pad-bit",
            "a pad octet that has changed since the CRC",
            provoke(|conn, bench| {
                let place = bench.place(RegionKind::Open);
                let ulpdu = write(place.stag, place.to, &[0xee; 45]);
                let mut wire = conn.framed(&ulpdu, Spoil::Nothing);
                let pad = wire.len() - 5;
                wire[pad] ^= 0x01;
                conn.raw(&wire);
            }),
        ),
        Case::new(
            "crc/then-a-good-one",
            &["F37", "T08"],
            "a wrong CRC, and a proper Write behind it in the same segment",
            &[CRC],
            provoke(|conn, bench| {
                let bad = conn.framed(&write(0, 0, b""), Spoil::CrcXor(1));
                let good = conn.framed(&trace(bench), Spoil::Nothing);
                conn.raw(&[bad, good].concat());
            }),
        )
        .guarding(RegionKind::Open),
        Case::new(
            "crc/one-wish-is-enough",
            &["U07", "F22"],
            "a wrong CRC after C=0 in the Request and C=1 in the Reply",
            &[CRC],
            |bench| {
                let (mut conn, reply) = bench.dial(&Dial {
                    crc: false,
                    ..Dial::default()
                })?;
                if !reply.crc {
                    return Err(Trouble::NotOffered(
                        "the target does not ask for CRC".to_owned(),
                    ));
                }
                conn.hello();
                conn.say_spoiled(&trace(bench), Spoil::CrcXor(1));
                Ok(conn.listen())
            },
        )
        .guarding(RegionKind::Open),
        Case::new(
            "crc/nobody-wants-it",
            &["F10", "F23", "T05"],
            "a wrong CRC where both ends declined it",
            &[Due::Works],
            |bench| {
                let (mut conn, reply) = bench.dial(&Dial {
                    crc: false,
                    ..Dial::to_markers_port()
                })?;
                if reply.crc {
                    return Err(Trouble::NotOffered("the target asks for CRC".to_owned()));
                }
                conn.say_spoiled(&write(0, 0, b""), Spoil::CrcXor(0x1234_5678));
                Ok(bench.prove(conn))
            },
        )
        .needs([Need::Markers]),
        Case::new(
            "pad/not-zero",
            &["F09"],
            "pad octets that are not zero",
            &[Due::Works],
            odd(|conn, bench| {
                let place = bench.place(RegionKind::Wide);
                for len in 1..4 {
                    let ulpdu = write(place.stag, place.to, &[7; 3][..len]);
                    conn.say_spoiled(&ulpdu, Spoil::Pad(0xff));
                }
            }),
        )
        .on(RegionKind::Wide),
    ]
}

/// Part of a proper FPDU, then a FIN.
fn cut(name: &'static str, sends: &'static str, keep: fn(usize) -> usize) -> Case {
    Case::new(
        name,
        &["F32", "F33", "T24"],
        sends,
        &[Due::Close],
        provoke(move |conn, bench| {
            let wire = conn.framed(&trace(bench), Spoil::Nothing);
            conn.raw(&wire[..keep(wire.len())]);
            conn.half_close();
        }),
    )
    .guarding(RegionKind::Open)
}

fn segmentation() -> Vec<Case> {
    let placed = |mut conn: Conn, bench: &Bench| {
        let place = bench.place(RegionKind::Wide);
        let back = conn.fetch(place.stag, place.to + 64, 200);
        let mut seen = conn.finish();
        seen.works = back.is_some();
        seen.require(
            back.is_none_or(|back| back == [0x77; 200]),
            "the octets were not placed",
        );
        seen
    };
    let wide = |bench: &Bench| {
        let place = bench.place(RegionKind::Wide);
        write(place.stag, place.to + 64, &[0x77; 200])
    };
    vec![
        cut(
            "fin/in-length",
            "one octet of ULPDU_Length, then a FIN",
            |_| 1,
        ),
        cut("fin/in-payload", "half an FPDU, then a FIN", |len| len / 2),
        cut(
            "fin/in-crc",
            "all of an FPDU but one octet of its CRC, then a FIN",
            |len| len - 1,
        ),
        Case::new(
            "fpdu/half-then-nothing",
            &["F32"],
            "half a Write, then silence: nothing is placed",
            &[Due::Close],
            |bench| {
                let mut conn = bench.connected()?;
                let wire = conn.framed(&trace(bench), Spoil::Nothing);
                conn.raw(&wire[..wire.len() - 4]);
                conn.expect_quiet("something came for half an FPDU");
                conn.half_close();
                Ok(conn.listen())
            },
        )
        .guarding(RegionKind::Open),
        Case::new(
            "fpdu/octet-by-octet",
            &["F30", "F31"],
            "an FPDU in segments of one octet",
            &[Due::Works],
            move |bench| {
                let mut conn = bench.connected()?;
                let wire = conn.framed(&wide(bench), Spoil::Nothing);
                conn.trickle(&wire, Duration::from_micros(100));
                Ok(placed(conn, bench))
            },
        )
        .on(RegionKind::Wide),
        Case::new(
            "fpdu/cut-in-crc",
            &["F30", "F31", "F18"],
            "an FPDU of which two octets of the CRC come later",
            &[Due::Works],
            move |bench| {
                let mut conn = bench.connected()?;
                let wire = conn.framed(&wide(bench), Spoil::Nothing);
                let (most, rest) = wire.split_at(wire.len() - 2);
                conn.raw(most);
                std::thread::sleep(Duration::from_millis(20));
                conn.raw(rest);
                Ok(placed(conn, bench))
            },
        )
        .on(RegionKind::Wide),
        Case::new(
            "fpdu/odd-cuts",
            &["F30", "F31", "F18"],
            "three FPDUs, cut in the middle of length and CRC",
            &[Due::Works],
            move |bench| {
                let mut conn = bench.connected()?;
                let wire: Vec<u8> = (0..3)
                    .flat_map(|_| conn.framed(&wide(bench), Spoil::Nothing))
                    .collect();
                for piece in wire.chunks(wire.len() / 3 + 1) {
                    conn.raw(piece);
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(placed(conn, bench))
            },
        )
        .on(RegionKind::Wide),
        Case::new(
            "fpdu/request-inside",
            &["G13", "F31"],
            "an MPA Request in the middle of full operation: a length nobody sends",
            &[Due::Close, Due::AnyTerminate],
            |bench| {
                let mut conn = bench.connected()?;
                conn.raw(&Dial::default().request(None));
                conn.half_close();
                Ok(conn.listen())
            },
        ),
        Case::new(
            "fpdu/garbage",
            &["F25"],
            "a megabyte of noise",
            &[CRC, Due::AnyTerminate],
            provoke(|conn, _| {
                let noise: Vec<u8> = (0u32..1 << 20)
                    .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
                    .collect();
                conn.raw(&noise);
            }),
        )
        .guarding(RegionKind::Open),
    ]
}

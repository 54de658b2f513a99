//! Markers in what we send: right, wrong, missing, unasked.

use crate::bench::{Bench, Dial};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::RegionKind;
use crate::seen::{Carries, Due, Ending, Seen};
use crate::wire::{Spoil, write};

const MARKER: Due = Due::Terminate(2, 0, 3, Carries::Nothing);

pub(super) fn start(bench: &Bench) -> Result<Conn, Trouble> {
    let (conn, reply) = bench.dial(&Dial::to_markers_port())?;
    if !reply.markers {
        return Err(Trouble::NotOffered(
            "the target does not ask for markers".to_owned(),
        ));
    }
    Ok(conn)
}

/// A Write of `len` octets with spoiled markers, and the Read that shows whether it was placed.
fn spoiled(len: usize, spoil: Spoil) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync {
    move |bench| {
        let mut conn = start(bench)?;
        conn.hello();
        let place = bench.place(RegionKind::Wide);
        let data: Vec<u8> = (0..len).map(|at| (at / 5) as u8 ^ len as u8).collect();
        conn.say_spoiled(&write(place.stag, place.to, &data), spoil);
        let back = conn.fetch(place.stag, place.to, len as u32);
        let works = back.is_some();
        let mut seen = if works { conn.finish() } else { conn.listen() };
        seen.works = works;
        seen.require(
            back.is_none_or(|back| back == data),
            "the octets were not placed as they were sent",
        );
        Ok(seen)
    }
}

pub(super) fn cases() -> Vec<Case> {
    let good = |name, sends, len, spoil| {
        Case::new(
            name,
            &["F11", "F12", "F14", "F15"],
            sends,
            &[Due::Works],
            spoiled(len, spoil),
        )
        .on(RegionKind::Wide)
        .needs([Need::Markers])
    };
    let bad = |name, sends, len, spoil| {
        Case::new(
            name,
            &["F35", "F34", "F38"],
            sends,
            &[MARKER, Due::Works],
            spoiled(len, spoil),
        )
        .on(RegionKind::Wide)
        .needs([Need::Markers])
    };
    vec![
        good(
            "markers/several-in-one-fpdu",
            "a Write across four markers",
            2000,
            Spoil::Nothing,
        ),
        good(
            "markers/behind-the-pad",
            "a Write whose marker is between pad and CRC",
            449,
            Spoil::Nothing,
        ),
        good(
            "markers/largest",
            "the largest ULPDU, across 127 markers",
            64754,
            Spoil::Nothing,
        ),
        good(
            "markers/reserved",
            "markers whose reserved half is not zero",
            2000,
            Spoil::MarkerReserved(0xbeef),
        ),
        good(
            "markers/low-bits",
            "markers whose pointers have their low two bits set",
            2000,
            Spoil::MarkerXor(3),
        ),
        bad(
            "markers/pointer-too-large",
            "a marker that points before its FPDU, with a CRC that is right",
            700,
            Spoil::MarkerXor(0x4000),
        ),
        bad(
            "markers/pointer-off-by-4",
            "a marker that points 4 octets off, with a CRC that is right",
            700,
            Spoil::MarkerXor(4),
        ),
        Case::new(
            "markers/changed-since-the-crc",
            &["F17", "F11", "F25"],
            "a marker between two FPDUs, one reserved bit of which has changed since the CRC",
            &[Due::Terminate(2, 0, 2, Carries::Nothing)],
            |bench| {
                let mut conn = start(bench)?;
                // 24 octets and 488: the third begins with the second marker.
                conn.say(&write(0, 0, b""));
                let place = bench.place(RegionKind::Wide);
                conn.say(&write(place.stag, place.to, &[0x33; 468]));
                let mut wire = conn.framed(&write(0, 0, b""), Spoil::Nothing);
                if wire.get(..4) != Some(&[0; 4]) {
                    return Err(Trouble::Setup("the marker is elsewhere".to_owned()));
                }
                wire[0] ^= 0x40;
                conn.raw(&wire);
                Ok(conn.listen())
            },
        )
        .on(RegionKind::Wide)
        .needs([Need::Markers]),
        Case::new(
            "markers/missing",
            &["F14", "U19", "G17"],
            "no markers where they were asked for",
            &[Due::Close],
            |bench| {
                let mut conn = start(bench)?;
                conn.set_markers(false);
                conn.say(&write(0, 0, &[0; 40]));
                // Without a marker the target waits for more octets than there are.
                conn.raw(&[0xff; 4096]);
                conn.half_close();
                Ok(conn.listen())
            },
        )
        .needs([Need::Markers]),
        Case::new(
            "markers/first-is-wrong",
            &["F35", "G17", "U18"],
            "a wrong pointer in the first marker of the stream",
            &[Due::Close, Due::Works],
            |bench| {
                let mut conn = start(bench)?;
                conn.say_spoiled(&write(0, 0, b""), Spoil::MarkerXor(0x100));
                let place = bench.readable();
                let works = conn.fetch(place.stag, place.to, 8).is_some();
                let mut seen = conn.finish();
                seen.works = works;
                let silent = seen.ending == Ending::Silence && !works;
                seen.require(!silent, "neither taken nor refused");
                Ok(seen)
            },
        )
        .needs([Need::Markers]),
        Case::new(
            "markers/unasked",
            &["U06", "F25", "G17"],
            "markers that nobody asked for",
            &[Due::Close],
            |bench| {
                let (mut conn, reply) = bench.dial(&Dial::default())?;
                if reply.markers {
                    return Err(Trouble::NotOffered(
                        "the target asks for markers".to_owned(),
                    ));
                }
                conn.set_markers(true);
                conn.hello();
                Ok(conn.listen())
            },
        ),
    ]
}

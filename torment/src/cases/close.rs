//! The end: Terminates of ours, FINs and resets.

use uwarp_rdmap::{Layer, Opcode};

use super::provoke;
use crate::bench::Dial;
use crate::case::{Case, Need};
use crate::conn::Conn;
use crate::profile::{Favour, FavourKind, RegionKind};
use crate::seen::{Carries, Due, Seen, terminate};
use crate::wire::{At, read, untagged};

fn our_terminate(at: At, body: &[u8]) -> Vec<u8> {
    untagged(Opcode::TERMINATE, at, 0, body)
}

fn proper() -> Vec<u8> {
    our_terminate(At::whole(2, 1), &terminate(Layer::Llp, 0, 2))
}

/// A Terminate of ours, after which the target closes and says nothing.
fn ends(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    ulpdus: impl Fn() -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> Case {
    Case::new(
        name,
        ids,
        sends,
        due,
        provoke(move |conn, _| conn.say_together(&ulpdus())),
    )
}

pub(super) fn cases() -> Vec<Case> {
    terminates().into_iter().chain(fins()).collect()
}

fn terminates() -> Vec<Case> {
    let close = &[Due::Close];
    let bad = &[Due::Close, Due::AnyTerminate];
    vec![
        ends(
            "terminate/proper",
            &["R24", "R25", "R38"],
            "a Terminate",
            close,
            || vec![proper()],
        ),
        ends(
            "terminate/twice",
            &["R23", "R25"],
            "two Terminates in one write",
            close,
            || vec![proper(), proper()],
        ),
        ends(
            "terminate/then-read",
            &["R25", "R38"],
            "a Terminate, and a Read behind it",
            close,
            || vec![proper(), read(1, 0, 0, 0)],
        ),
        ends(
            "terminate/unknown-code",
            &["R08", "R24"],
            "a Terminate whose layer, type and code nobody knows",
            close,
            || vec![our_terminate(At::whole(2, 1), &[0xff, 0xee, 0, 0])],
        ),
        ends(
            "terminate/reserved-bits",
            &["R08"],
            "a Terminate with its reserved bits set",
            close,
            || vec![our_terminate(At::whole(2, 1), &[0x20, 2, 0x1f, 0xff])],
        ),
        ends(
            "terminate/trailing-octets",
            &["G20"],
            "a Terminate with octets behind what its flags announce",
            close,
            || {
                vec![our_terminate(
                    At::whole(2, 1),
                    &[0x20, 2, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
                )]
            },
        ),
        ends(
            "terminate/bits-swapped",
            &["R08"],
            "a Terminate in the layout of Linux siw",
            close,
            || {
                let header = [
                    &[0x11, 0, 0x03, 0, 0, 14][..],
                    &crate::wire::write(7, 0, b""),
                ]
                .concat();
                vec![our_terminate(At::whole(2, 1), &header)]
            },
        ),
        ends(
            "terminate/short",
            &["G3", "R23"],
            "a Terminate shorter than its flags announce",
            close,
            || vec![our_terminate(At::whole(2, 1), &[0x11, 0, 0xc0, 0, 0])],
        ),
        ends(
            "terminate/nothing",
            &["G3", "R23"],
            "a Terminate of no octets",
            close,
            || vec![our_terminate(At::whole(2, 1), b"")],
        ),
        ends(
            "terminate/200-octets",
            &["G3", "R23"],
            "a Terminate longer than any can be",
            bad,
            || vec![our_terminate(At::whole(2, 1), &[0x20; 200])],
        ),
        ends(
            "terminate/without-l",
            &["G3", "D07"],
            "a Terminate without L",
            bad,
            || {
                let at = At {
                    last: false,
                    ..At::whole(2, 1)
                };
                vec![our_terminate(at, &terminate(Layer::Llp, 0, 2))]
            },
        ),
        ends(
            "terminate/with-mo",
            &["G3", "D16"],
            "a Terminate at MO 4",
            bad,
            || {
                let at = At {
                    mo: 4,
                    ..At::whole(2, 1)
                };
                vec![our_terminate(at, &terminate(Layer::Llp, 0, 2))]
            },
        ),
        ends(
            "terminate/msn-2",
            &["D33", "R23"],
            "a Terminate with MSN 2",
            &[
                Due::Terminate(1, 2, 3, Carries::Segment),
                Due::Terminate(1, 2, 2, Carries::Segment),
                Due::Close,
            ],
            || vec![our_terminate(At::whole(2, 2), &terminate(Layer::Llp, 0, 2))],
        ),
        Case::new(
            "terminate/while-reading",
            &["R25", "R38"],
            "a Terminate while a Read of ours is answered",
            &[Due::Close],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                conn.say(&read(1, place.stag, place.to, 1 << 20));
                conn.say(&proper());
                let mut seen = conn.listen();
                // What was under way may have come, whole or not.
                seen.messages.clear();
                Ok(seen)
            },
        )
        .on(RegionKind::Steady)
        .needs([Need::Reads]),
    ]
}

fn fins() -> Vec<Case> {
    vec![
        Case::new(
            "fin/after-hello",
            &["D30", "T24", "R38"],
            "a FIN between FPDUs",
            &[Due::Close],
            provoke(|conn, _| conn.half_close()),
        ),
        Case::new(
            "fin/after-reply",
            &["U18", "D30"],
            "a FIN before the first FPDU",
            &[Due::Close],
            |bench| {
                let (mut conn, _) = bench.dial(&Dial::default())?;
                conn.half_close();
                Ok(conn.listen())
            },
        ),
        Case::new(
            "fin/while-reading",
            &["D30", "T24"],
            "a Read of a megabyte and a FIN: it is answered all the same",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                conn.say(&read(1, place.stag, place.to, 1 << 20));
                conn.half_close();
                let answered = conn.response(1 << 20).is_some();
                let mut seen = conn.listen();
                seen.works = answered;
                Ok(seen)
            },
        )
        .on(RegionKind::Steady),
        Case::new(
            "fin/while-sending",
            &["D30", "T24"],
            "a FIN while the target has something to say: it says it",
            &[Due::Works],
            |bench| {
                let (mut conn, _) = bench.dial(&Dial::asking(Favour::TalkFirst))?;
                conn.expect_quiet("the responder spoke before the first FPDU (U18)");
                conn.hello();
                conn.half_close();
                let said = conn.message().is_some();
                let mut seen = conn.listen();
                seen.works = said;
                Ok(seen)
            },
        )
        .needs([Need::Favour(FavourKind::TalkFirst)]),
        Case::new(
            "reset/in-an-fpdu",
            &["F34", "D31"],
            "a reset in the middle of an FPDU: other connections live on",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let half = conn.framed(&super::framing::trace(bench), crate::wire::Spoil::Nothing);
                conn.raw(&half[..half.len() / 2]);
                conn.reset()?;
                let conn: Conn = bench.connected()?;
                Ok(bench.prove(conn))
            },
        )
        .guarding(RegionKind::Open),
        Case::new(
            "reset/while-reading",
            &["R38", "D31"],
            "a reset while a Read is answered: other connections live on",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                conn.say(&read(1, place.stag, place.to, 1 << 20));
                conn.reset()?;
                let conn: Conn = bench.connected()?;
                let seen: Seen = bench.prove(conn);
                Ok(seen)
            },
        )
        .on(RegionKind::Steady),
    ]
}

//! RDMA Read Requests: sources, sizes, numbers, limits.

use uwarp_ddp::Stag;
use uwarp_rdmap::Opcode;
use uwarp_rdmap::header::ReadRequest;

use super::{either, provoke};
use crate::bench::{Bench, CLIENT};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::RegionKind;
use crate::seen::{Carries, Due, Ending, Seen};
use crate::wire::{At, OUR_STAG, OUR_TO, read, read_request, untagged};

const fn protection(code: u8) -> Due {
    Due::Terminate(0, 1, code, Carries::Read)
}

const fn untagged_code(code: u8) -> Due {
    Due::Terminate(1, 2, code, Carries::Segment)
}

const SIZE: Due = Due::Terminate(0, 2, 0xff, Carries::Segment);

pub(super) fn cases() -> Vec<Case> {
    [sources(), sizes(), nothing(), limits()]
        .into_iter()
        .flatten()
        .collect()
}

/// A Read of a place in a region of this kind, which must not be answered.
fn refused(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    kind: RegionKind,
    aim: fn(u64, u64) -> (u64, u32),
) -> Case {
    Case::new(name, ids, sends, due, move |bench| {
        let mut conn = bench.connected()?;
        let place = bench.place(kind);
        let (to, size) = aim(place.to, place.len.into());
        conn.say(&read(1, place.stag, to, size));
        Ok(unanswered(conn))
    })
    .on(kind)
    .needs([Need::Reads])
}

/// No octet of a refused Read may come back.
fn unanswered(conn: Conn) -> Seen {
    let mut seen = conn.listen();
    let given = !seen.messages.is_empty();
    seen.require(!given, "octets of a refused Read came back (R42)");
    seen
}

fn sources() -> Vec<Case> {
    let stranger = &[protection(3), protection(0)];
    let bounds = &[protection(1)];
    vec![
        Case::new(
            "read/unknown-stag",
            &["R42"],
            "a Read of an STag that was never issued",
            &[protection(0)],
            |bench| {
                let mut conn = bench.connected()?;
                conn.say(&read(1, bench.free_stag(), 0, 16));
                Ok(unanswered(conn))
            },
        )
        .needs([Need::Reads]),
        refused(
            "read/revoked-stag",
            &["R42", "S03"],
            "a Read of an STag that has been revoked",
            &[protection(0)],
            RegionKind::Revoked,
            |to, _| (to, 16),
        ),
        refused(
            "read/other-domain",
            &["R42", "S01", "D38"],
            "a Read of an STag of another protection domain",
            stranger,
            RegionKind::Foreign,
            |to, _| (to, 16),
        ),
        refused(
            "read/other-stream",
            &["R42", "S01", "D38"],
            "a Read of an STag of another stream",
            stranger,
            RegionKind::OtherStream,
            |to, _| (to, 16),
        ),
        refused(
            "read/write-only",
            &["R42", "S04"],
            "a Read of a region that may only be written",
            &[protection(2)],
            RegionKind::WriteOnly,
            |to, _| (to, 16),
        ),
        refused(
            "read/one-octet-too-long",
            &["R42", "S02"],
            "a Read that ends one octet behind its region",
            bounds,
            RegionKind::Steady,
            |to, len| (to + len - 15, 16),
        ),
        refused(
            "read/behind-the-end",
            &["R42", "S02"],
            "a Read of the octet behind a region",
            bounds,
            RegionKind::Steady,
            |to, len| (to + len, 1),
        ),
        refused(
            "read/4-gib",
            &["R42", "S02"],
            "a Read of 2^32 - 1 octets",
            bounds,
            RegionKind::Steady,
            |to, _| (to, u32::MAX),
        ),
        refused(
            "read/4-gib-away",
            &["R42", "S02"],
            "a Read at an offset of 2^32",
            bounds,
            RegionKind::Steady,
            |to, _| (to + (1 << 32), 16),
        ),
        refused(
            "read/wrap",
            &["R42", "T18"],
            "a Read across the end of the 64-bit offsets",
            &[protection(4), protection(1)],
            RegionKind::Steady,
            |_, _| (u64::MAX - 7, 16),
        ),
    ]
}

fn request(size: u32) -> ReadRequest {
    ReadRequest {
        sink_stag: Stag(OUR_STAG),
        sink_to: OUR_TO,
        size,
        source_stag: Stag(0),
        source_to: 0,
    }
}

fn sizes() -> Vec<Case> {
    let with_body = |name: &'static str, sends: &'static str, len: usize| {
        Case::new(
            name,
            &["R06", "G3"],
            sends,
            &[SIZE],
            provoke(move |conn, _| {
                let mut body = request(0).encode().to_vec();
                body.resize(len, 0);
                conn.say(&untagged(Opcode::READ_REQUEST, At::whole(1, 1), 0, &body));
            }),
        )
        .needs([Need::Reads])
    };
    vec![
        with_body(
            "read/no-header",
            "a Read Request that ends behind its DDP header",
            0,
        ),
        with_body("read/27-octets", "a Read Request of 27 octets", 27),
        with_body("read/29-octets", "a Read Request of 29 octets", 29),
        with_body("read/200-octets", "a Read Request of 200 octets", 200),
        Case::new(
            "read/without-l",
            &["D07", "R06", "G3"],
            "a Read Request without L",
            &[SIZE],
            provoke(|conn, _| {
                let at = At {
                    last: false,
                    ..At::whole(1, 1)
                };
                conn.say(&untagged(Opcode::READ_REQUEST, at, 0, &request(0).encode()));
            }),
        )
        .needs([Need::Reads]),
        Case::new(
            "read/with-mo",
            &["D16", "R12"],
            "a Read Request at MO 4",
            &[untagged_code(4), SIZE],
            provoke(|conn, _| {
                let at = At {
                    mo: 4,
                    ..At::whole(1, 1)
                };
                conn.say(&untagged(Opcode::READ_REQUEST, at, 0, &request(0).encode()));
            }),
        )
        .needs([Need::Reads]),
        Case::new(
            "read/msn-0",
            &["D15", "D33", "T10"],
            "a Read Request with MSN 0",
            &[untagged_code(3)],
            provoke(|conn, _| {
                conn.say(&read(0, 0, 0, 0));
            }),
        )
        .needs([Need::Reads]),
        Case::new(
            "read/msn-2",
            &["D15", "R12"],
            "a Read Request with MSN 2 where 1 is due",
            &[untagged_code(3), untagged_code(2)],
            provoke(|conn, _| {
                conn.say(&read(2, 0, 0, 0));
            }),
        )
        .needs([Need::Reads]),
        Case::new(
            "read/msn-repeated",
            &["D15", "D23"],
            "a Read Request with the MSN of one that was answered",
            &[untagged_code(3)],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.readable();
                if conn.fetch(place.stag, place.to, 8).is_none() {
                    return Ok(conn.finish());
                }
                conn.say(&read(1, place.stag, place.to, 8));
                Ok(conn.listen())
            },
        )
        .needs([Need::Reads]),
    ]
}

/// A Read of nothing, which must be answered whatever its source is.
fn of_nothing(name: &'static str, sends: &'static str, kind: Option<RegionKind>) -> Case {
    let mut case = Case::new(
        name,
        &["R15", "T09", "S04"],
        sends,
        &[Due::Works],
        move |bench| {
            let mut conn = bench.connected()?;
            let stag = kind.map_or(0xdead_beef, |kind| bench.place(kind).stag);
            let answered = conn.fetch(stag, u64::MAX, 0).is_some();
            if !answered {
                return Ok(conn.listen());
            }
            Ok(bench.prove(conn))
        },
    );
    if let Some(kind) = kind {
        case = case.on(kind);
    }
    case
}

fn nothing() -> Vec<Case> {
    vec![
        of_nothing(
            "read/nothing-from-nowhere",
            "a Read of nothing from an STag that does not exist",
            None,
        ),
        of_nothing(
            "read/nothing-from-write-only",
            "a Read of nothing from a region that may only be written",
            Some(RegionKind::WriteOnly),
        ),
        of_nothing(
            "read/nothing-from-other-domain",
            "a Read of nothing from another protection domain",
            Some(RegionKind::Foreign),
        ),
        Case::new(
            "read/reserved-word",
            &["R05", "D13"],
            "a Read Request whose reserved octets and bits are not zero",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.readable();
                let mut request = read(1, place.stag, place.to, 16);
                request[0] |= 0x3c;
                request[1] |= 0x30;
                request[2..6].fill(0xff);
                conn.say(&request);
                conn.request_msn = 2;
                if conn.response(16).is_none() {
                    return Ok(conn.listen());
                }
                Ok(bench.prove(conn))
            },
        ),
        Case::new(
            "read/last-octets",
            &["R14", "R42", "R13"],
            "a Read of the last octets of a region",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                let end = place.to + u64::from(place.len) - 16;
                let works = conn.fetch(place.stag, end, 16).is_some();
                let mut seen = conn.finish();
                seen.works = works;
                Ok(seen)
            },
        )
        .on(RegionKind::Steady),
        Case::new(
            "read/all-of-it",
            &["R14", "D18", "F03"],
            "a Read of a whole megabyte",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                let works = conn.fetch(place.stag, place.to, 1 << 20).is_some();
                let mut seen = conn.finish();
                seen.works = works;
                Ok(seen)
            },
        )
        .on(RegionKind::Steady),
        Case::new(
            "read/wrapping-sink",
            &["R07", "R42"],
            "a Read into a sink that wraps, which is the requester's affair",
            &[Due::Works, protection(4)],
            either(|conn, bench| {
                let place = bench.readable();
                let request = ReadRequest {
                    sink_to: u64::MAX - 3,
                    size: 8,
                    source_stag: Stag(place.stag),
                    source_to: place.to,
                    ..request(8)
                };
                conn.say(&read_request(1, &request));
                conn.blame();
                // Whatever the target makes of it, it is said now or not at all.
                conn.request_msn = 2;
                let _ = conn.message();
            }),
        ),
    ]
}

fn limits() -> Vec<Case> {
    let flood = |bench: &Bench, count: u32| -> Vec<Vec<u8>> {
        let place = bench.place(RegionKind::Steady);
        (1..=count)
            .map(|msn| read(msn, place.stag, place.to, 1 << 20))
            .collect()
    };
    vec![
        Case::new(
            "read/ird-exceeded",
            &["R37", "G9", "S07", "T12"],
            "many more Reads at a time than the IRD allows, and no room for the answers",
            &[
                untagged_code(2),
                Due::Terminate(0, 2, 7, Carries::Segment),
                Due::AnyTerminate,
            ],
            move |bench| {
                let mut conn = bench.connected()?;
                let count = u32::from(bench.profile.ird) + 32;
                let requests = flood(bench, count);
                conn.say_together(&requests);
                let mut seen = conn.listen();
                seen.blame_among(&requests);
                Ok(seen)
            },
        )
        .on(RegionKind::Steady)
        .needs([Need::Reads]),
        Case::new(
            "read/one-more-than-ird",
            &["R37", "G9", "S07"],
            "one Read more than the IRD allows, in one write",
            &[
                untagged_code(2),
                Due::Terminate(0, 2, 7, Carries::Segment),
                Due::AnyTerminate,
            ],
            move |bench| {
                let mut conn = bench.connected()?;
                let requests = flood(bench, u32::from(bench.profile.ird) + 1);
                conn.say_together(&requests);
                let mut seen = conn.listen();
                if seen.terminate.is_none() && seen.ending == Ending::Silence {
                    let why = "the target answers so fast that its IRD is not used up";
                    return Err(Trouble::NotOffered(why.to_owned()));
                }
                seen.blame_among(&requests);
                Ok(seen)
            },
        )
        .needs([Need::Reads])
        .on(RegionKind::Steady),
        Case::new(
            "read/ird-used-up",
            &["R16", "R35", "R37", "R17"],
            "as many Reads at a time as the IRD allows: answered in order",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                // No more than our Request says.
                let count = u32::from(bench.profile.ird.min(CLIENT.ord));
                let requests: Vec<_> = (1..=count)
                    .map(|msn| read(msn, place.stag, place.to, 100 + msn))
                    .collect();
                conn.say_together(&requests);
                conn.request_msn = count + 1;
                for msn in 1..=count {
                    if conn.response(100 + msn).is_none() {
                        return Ok(conn.listen());
                    }
                }
                Ok(bench.prove(conn))
            },
        )
        .on(RegionKind::Steady),
    ]
}

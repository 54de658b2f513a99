//! Atomic Requests (RFC 7306).

use uwarp_ddp::{Stag, UNTAGGED_LEN};
use uwarp_rdmap::atomic::{AtomicRequest, AtomicResponse};
use uwarp_rdmap::{AtomicOperation, Opcode};

use super::provoke;
use crate::bench::Bench;
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::RegionKind;
use crate::seen::{Carries, Due, Ending};
use crate::wire::{At, altered, atomic, untagged};

const fn operation(code: u8) -> Due {
    Due::Terminate(0, 2, code, Carries::Segment)
}

const fn protection(code: u8) -> Due {
    Due::Terminate(0, 1, code, Carries::Segment)
}

/// A FetchAdd of 1 to a word of the region 'open'.
pub(super) fn fetch_add(bench: &Bench, msn: u32, offset: u64) -> Vec<u8> {
    let place = bench.place(RegionKind::Open);
    add_at(msn, place.stag, place.to.wrapping_add(offset))
}

fn add_at(msn: u32, stag: u32, to: u64) -> Vec<u8> {
    let request = AtomicRequest {
        id: 0x1d00 + msn,
        stag: Stag(stag),
        to,
        operation: AtomicOperation::FetchAdd { add: 1, mask: 0 },
    };
    atomic(msn, &request)
}

/// The old word, out of the next message: the `nth` Atomic Response, to request `msn`.
fn old_word(conn: &mut Conn, nth: u32, msn: u32) -> Option<u64> {
    let ulpdu = conn.message()?;
    let due = untagged(Opcode::ATOMIC_RESPONSE, At::whole(3, nth), 0, b"");
    let is_response = ulpdu.starts_with(&due);
    conn.seen().require(
        is_response,
        "not an Atomic Response with its MSN on queue 3 (X10)",
    );
    let response = AtomicResponse::parse(&ulpdu[UNTAGGED_LEN..])?;
    conn.seen().require(
        response.id == 0x1d00 + msn,
        "an Atomic Response with another identifier",
    );
    Some(response.original)
}

/// The second of three words.
fn word(octets: &[u8]) -> [u8; 8] {
    octets
        .get(8..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .unwrap_or_default()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [works(), refused()].into_iter().flatten().collect();
    for case in &mut cases {
        // A target without Atomics refuses them all alike, which shows nothing.
        (case.needs).extend([Need::Atomics, Need::Region(RegionKind::Open)]);
    }
    cases
}

fn works() -> Vec<Case> {
    vec![
        Case::new(
            "atomic/fetch-add",
            &["X08", "X10", "X03"],
            "two FetchAdds, whose answers differ by what was added",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                conn.say(&fetch_add(bench, 1, 2048));
                let first = old_word(&mut conn, 1, 1);
                conn.say(&altered(fetch_add(bench, 2, 2048), UNTAGGED_LEN, |_| 0xff));
                let second = old_word(&mut conn, 2, 2);
                conn.request_msn = 3;
                let (Some(first), Some(second)) = (first, second) else {
                    return Ok(conn.listen());
                };
                conn.seen().require(
                    second == first.wrapping_add(1),
                    "the addition was not made once (X03)",
                );
                Ok(bench.prove(conn))
            },
        ),
        Case::new(
            "atomic/one-word-alone",
            &["X06", "S02"],
            "a FetchAdd between two Reads of its word and those beside it",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Open);
                let before = conn.fetch(place.stag, place.to + 1024, 24);
                conn.say(&fetch_add(bench, 2, 1032));
                let old = old_word(&mut conn, 1, 2);
                conn.request_msn = 3;
                let after = conn.fetch(place.stag, place.to + 1024, 24);
                let (Some(before), Some(old), Some(after)) = (before, old, after) else {
                    return Ok(conn.listen());
                };
                let new = old.wrapping_add(1);
                let beside = before[..8] == after[..8] && before[16..] == after[16..];
                // In memory it stands as the target's processor has it (RFC 7306 s5.1.1).
                let there = [new.to_be_bytes(), new.to_le_bytes()].contains(&word(&after));
                conn.seen().require(
                    beside && there,
                    "the addition was not made to its word alone (X06)",
                );
                Ok(bench.prove(conn))
            },
        ),
        Case::new(
            "atomic/compare-fails",
            &["X07", "X04"],
            "a CmpSwap whose comparison fails",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Open);
                let mut swap = |msn, compare| {
                    let request = AtomicRequest {
                        id: 0x1d00 + msn,
                        stag: Stag(place.stag),
                        to: place.to + 3072,
                        operation: AtomicOperation::CompareSwap {
                            compare,
                            compare_mask: u64::MAX,
                            swap: 0,
                            swap_mask: u64::MAX,
                        },
                    };
                    conn.say(&atomic(msn, &request));
                    old_word(&mut conn, msn, msn)
                };
                let Some(word) = swap(1, 0x0123) else {
                    return Ok(conn.listen());
                };
                let again = swap(2, 0x4567);
                conn.request_msn = 3;
                conn.seen()
                    .require(again == Some(word), "the word was swapped (X07)");
                Ok(bench.prove(conn))
            },
        )
        .guarding(RegionKind::Open),
        Case::new(
            "atomic/compare-of-a-fetch-add",
            &["X02", "X08"],
            "a FetchAdd whose compare fields and reserved octets are not those that are sent",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let mut request = fetch_add(bench, 1, 2048);
                request[2..6].fill(0xff);
                request[UNTAGGED_LEN + 36..].fill(0x5a);
                conn.say(&request);
                conn.request_msn = 2;
                if old_word(&mut conn, 1, 1).is_none() {
                    return Ok(conn.listen());
                }
                Ok(bench.prove(conn))
            },
        ),
        Case::new(
            "atomic/after-read",
            &["X12", "X14", "R35"],
            "a Read and an Atomic in one write: answered in this order",
            &[Due::Works],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                conn.say_together(&[
                    crate::wire::read(1, place.stag, place.to, 5000),
                    fetch_add(bench, 2, 2048),
                ]);
                conn.request_msn = 3;
                let read = conn.response(5000).is_some();
                if !read || old_word(&mut conn, 1, 2).is_none() {
                    return Ok(conn.listen());
                }
                Ok(bench.prove(conn))
            },
        )
        .on(RegionKind::Steady),
    ]
}

fn refused() -> Vec<Case> {
    let aimed = |name, ids, sends, due: &[Due], kind, aim: fn(u64, u64) -> u64| {
        Case::new(
            name,
            ids,
            sends,
            due,
            provoke(move |conn, bench| {
                let place = bench.place(kind);
                conn.say(&add_at(1, place.stag, aim(place.to, place.len.into())));
            }),
        )
        .on(kind)
        .guarding(RegionKind::Open)
    };
    let sized = |name, sends, len: usize| {
        Case::new(
            name,
            &["R06", "G3"],
            sends,
            &[operation(0xff)],
            provoke(move |conn, bench| {
                let mut ulpdu = fetch_add(bench, 1, 2048);
                ulpdu.resize(UNTAGGED_LEN + len, 0);
                conn.say(&ulpdu);
            }),
        )
        .guarding(RegionKind::Open)
    };
    let coded = |name, sends, code: u8| {
        Case::new(
            name,
            &["X09", "X16", "G23"],
            sends,
            &[operation(6)],
            provoke(move |conn, bench| {
                conn.say(&altered(
                    fetch_add(bench, 1, 2048),
                    UNTAGGED_LEN + 3,
                    |_| code,
                ));
            }),
        )
        .guarding(RegionKind::Open)
    };
    vec![
        aimed(
            "atomic/off-by-4",
            &["X06", "T21", "X15"],
            "an address that is a multiple of 4 only",
            &[operation(7)],
            RegionKind::Open,
            |to, _| to + 2048 + 4,
        ),
        aimed(
            "atomic/off-by-1",
            &["X06", "T21"],
            "an odd address",
            &[operation(7)],
            RegionKind::Open,
            |to, _| to + 2048 + 1,
        ),
        aimed(
            "atomic/unknown-stag",
            &["G22"],
            "an STag that has been revoked",
            &[protection(0)],
            RegionKind::Revoked,
            |to, _| to,
        ),
        aimed(
            "atomic/other-domain",
            &["G22", "S01"],
            "a word of another protection domain",
            &[protection(3), protection(0)],
            RegionKind::Foreign,
            |to, _| to,
        ),
        aimed(
            "atomic/other-stream",
            &["G22", "S01"],
            "a word that is tied to another stream",
            &[protection(3), protection(0)],
            RegionKind::OtherStream,
            |to, _| to,
        ),
        aimed(
            "atomic/read-only",
            &["G22"],
            "a word that may only be read",
            &[protection(2)],
            RegionKind::Steady,
            |to, _| to,
        ),
        aimed(
            "atomic/write-and-read-only",
            &["G22"],
            "a word that may be read and written, not changed atomically",
            &[protection(2)],
            RegionKind::Wide,
            |to, _| to,
        ),
        aimed(
            "atomic/behind-the-end",
            &["G22", "S02"],
            "the word behind a region",
            &[protection(1)],
            RegionKind::Open,
            |to, len| to + len,
        ),
        aimed(
            "atomic/wrap",
            &["G22", "T18"],
            "the last word of the 64-bit offsets",
            &[protection(4), protection(1)],
            RegionKind::Open,
            |_, _| u64::MAX - 7,
        ),
        sized(
            "atomic/no-header",
            "an Atomic Request that ends behind its DDP header",
            0,
        ),
        sized("atomic/51-octets", "an Atomic Request of 51 octets", 51),
        sized("atomic/53-octets", "an Atomic Request of 53 octets", 53),
        coded("atomic/aopcode-1", "AOpCode 1, which is reserved", 1),
        coded("atomic/aopcode-15", "AOpCode 15, which does not exist", 15),
        Case::new(
            "atomic/ird-exceeded",
            &["X11", "G21", "R37"],
            "as many Reads as the IRD allows and an Atomic, in one write",
            &[
                Due::Terminate(1, 2, 2, Carries::Segment),
                operation(7),
                Due::AnyTerminate,
            ],
            |bench| {
                let mut conn = bench.connected()?;
                let place = bench.place(RegionKind::Steady);
                let ird = u32::from(bench.profile.ird);
                let reads =
                    (1..=ird).map(|msn| crate::wire::read(msn, place.stag, place.to, 1 << 20));
                let last = fetch_add(bench, ird + 1, 2048);
                let requests: Vec<_> = reads.chain([last]).collect();
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
        .on(RegionKind::Steady)
        .needs([Need::Reads]),
        Case::new(
            "atomic/msn-2",
            &["D15", "X08"],
            "MSN 2 on queue 1 where 1 is due",
            &[
                Due::Terminate(1, 2, 3, Carries::Segment),
                Due::Terminate(1, 2, 2, Carries::Segment),
            ],
            provoke(|conn, bench| {
                conn.say(&fetch_add(bench, 2, 2048));
            }),
        )
        .guarding(RegionKind::Open),
    ]
}

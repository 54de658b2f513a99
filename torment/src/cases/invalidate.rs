//! Sends with Invalidate.

use uwarp::RemoteRegion;
use uwarp_ddp::UNTAGGED_LEN;
use uwarp_rdmap::Opcode;

use super::provoke;
use crate::bench::{Bench, receipt};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::{Favour, FavourKind, RegionKind};
use crate::seen::{Carries, Due, Seen};
use crate::wire::{At, read, untagged, write};

const REFUSED: [Due; 2] = [
    Due::Terminate(0, 1, 9, Carries::Segment),
    Due::Terminate(0, 2, 9, Carries::Segment),
];

fn invalidate(msn: u32, stag: u32) -> Vec<u8> {
    untagged(Opcode::SEND_INVALIDATE, At::whole(0, msn), stag, b"bye")
}

/// A region that was lent to this stream, to be invalidated by us.
fn borrow(bench: &Bench) -> Result<(Conn, RemoteRegion), Trouble> {
    let mut conn = bench.asking(Favour::Lend)?;
    let told = conn.message();
    let place = told
        .as_deref()
        .and_then(|ulpdu| ulpdu.get(UNTAGGED_LEN..)?.first_chunk())
        .map(RemoteRegion::from_bytes);
    match place {
        Some(place) => Ok((conn, place)),
        None => Err(Trouble::Setup("the target lent no region".to_owned())),
    }
}

/// Borrows a region, invalidates it, and then does something with it.
fn after(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    then: fn(&RemoteRegion) -> Vec<u8>,
) -> Case {
    Case::new(name, ids, sends, due, move |bench| {
        let (mut conn, place) = borrow(bench)?;
        conn.say(&invalidate(1, place.stag.0));
        let told = receipt(&mut conn);
        conn.seen().require(
            told.is_some_and(|receipt| receipt.invalidated),
            "the target's user was not told that the STag is invalid",
        );
        conn.say(&then(&place));
        let mut seen = conn.listen();
        // The region's place and the receipt are what may have come.
        let answered = seen.messages.len() > 2;
        seen.require(!answered, "an invalidated region was read");
        Ok(seen)
    })
    .needs([Need::Favour(FavourKind::Lend)])
}

fn refused(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    kind: RegionKind,
) -> Case {
    Case::new(
        name,
        ids,
        sends,
        &REFUSED,
        provoke(move |conn, bench| {
            conn.say(&invalidate(1, bench.place(kind).stag));
        }),
    )
    .on(kind)
    .needs([Need::Receives])
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        refused(
            "invalidate/shared",
            &["S05", "R43", "T18"],
            "a Send that invalidates an STag which other streams use",
            RegionKind::Spare,
        ),
        refused(
            "invalidate/other-domain",
            &["R22", "R41", "S01"],
            "a Send that invalidates an STag of another domain",
            RegionKind::Foreign,
        ),
        refused(
            "invalidate/other-stream",
            &["R22", "R41", "S01"],
            "a Send that invalidates an STag of another stream",
            RegionKind::OtherStream,
        ),
        refused(
            "invalidate/revoked",
            &["R22", "R41"],
            "a Send that invalidates an STag which has been revoked",
            RegionKind::Revoked,
        ),
        Case::new(
            "invalidate/stag-0",
            &["R22", "R41"],
            "a Send that invalidates STag 0",
            &REFUSED,
            provoke(|conn, _| conn.say(&invalidate(1, 0))),
        )
        .needs([Need::Receives]),
        Case::new(
            "invalidate/unknown",
            &["R22", "R41"],
            "a Send that invalidates an STag that was never issued",
            &REFUSED,
            provoke(|conn, bench| conn.say(&invalidate(1, bench.free_stag()))),
        )
        .needs([Need::Receives]),
        Case::new(
            "invalidate/solicited",
            &["R22", "R41"],
            "a Send with Solicited Event that invalidates a shared STag",
            &REFUSED,
            provoke(|conn, bench| {
                let stag = bench.place(RegionKind::Spare).stag;
                conn.say(&untagged(
                    Opcode::SEND_SOLICITED_INVALIDATE,
                    At::whole(0, 1),
                    stag,
                    b"bye",
                ));
            }),
        )
        .on(RegionKind::Spare)
        .needs([Need::Receives]),
        Case::new(
            "invalidate/the-shared-one-still-works",
            &["S05"],
            "a refused invalidation, after which other streams still use the STag",
            &[Due::Works],
            |bench| {
                let mut bad = bench.connected()?;
                let place = bench.place(RegionKind::Spare);
                bad.say(&invalidate(1, place.stag));
                let _ = bad.listen();
                let mut conn = bench.connected()?;
                let works = conn.fetch(place.stag, place.to, 8).is_some();
                let mut seen: Seen = conn.finish();
                seen.works = works;
                Ok(seen)
            },
        )
        .on(RegionKind::Spare),
        after(
            "invalidate/twice",
            &["R22", "R41"],
            "the same STag invalidated twice",
            &REFUSED,
            |place| invalidate(2, place.stag.0),
        ),
        after(
            "invalidate/then-write",
            &["D35", "R22", "S03"],
            "a Write to an STag that we have invalidated",
            &[Due::Terminate(1, 1, 0, Carries::Segment)],
            |place| write(place.stag.0, place.to, &[0xee; 16]),
        ),
        after(
            "invalidate/then-read",
            &["R42", "R22", "S03"],
            "a Read of an STag that we have invalidated",
            &[Due::Terminate(0, 1, 0, Carries::Read)],
            |place| read(1, place.stag.0, place.to, 16),
        ),
    ]
}

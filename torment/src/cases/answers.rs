//! Answers to Reads and Atomics of the target's that are wrong, odd, or not asked for.

use uwarp_ddp::UNTAGGED_LEN;
use uwarp_mpa::crc;
use uwarp_rdmap::Opcode;
use uwarp_rdmap::header::ReadRequest;

use super::provoke;
use crate::bench::{Bench, our_octets, receipt};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::{Favour, FavourKind, READ_SIZE, RegionKind};
use crate::seen::{Carries, Due, Seen};
use crate::wire::{At, OUR_STAG, OUR_TO, tagged, untagged};

const UNEXPECTED: Due = Due::Terminate(0, 2, 6, Carries::Segment);
const BOUNDS: Due = Due::Terminate(1, 1, 1, Carries::Segment);

/// A segment of the Response, `skip` octets into the sink.
fn response(last: bool, skip: u64, payload: &[u8]) -> Vec<u8> {
    tagged(
        Opcode::READ_RESPONSE,
        last,
        OUR_STAG,
        OUR_TO.wrapping_add(skip),
        payload,
    )
}

/// A connection on which the target has asked for octets of ours.
fn asked(bench: &Bench) -> Result<Conn, Trouble> {
    let mut conn = bench.asking(Favour::Read)?;
    let request = conn.message();
    let size = request
        .as_deref()
        .and_then(|ulpdu| ReadRequest::parse(ulpdu.get(UNTAGGED_LEN..)?))
        .map(|request| (request.source_stag.0, request.source_to, request.size));
    if size != Some((OUR_STAG, OUR_TO, READ_SIZE)) {
        return Err(Trouble::Setup(format!("the target read {size:?}")));
    }
    Ok(conn)
}

/// The sink that the target named: where its Response has to go.
fn sink(conn: &mut Conn) -> (u32, u64) {
    let request = conn.seen().messages.first().cloned().unwrap_or_default();
    request
        .get(UNTAGGED_LEN..)
        .and_then(ReadRequest::parse)
        .map_or((0, 0), |request| (request.sink_stag.0, request.sink_to))
}

/// Segments of a Response: whether it has L, STag and offset relative to what is due, octets.
type Piece = (bool, u32, i64, &'static [u8]);

const FULL: &[u8] = &[9; READ_SIZE as usize];
const HALF: &[u8] = &[9; READ_SIZE as usize / 2];
const MORE: &[u8] = &[9; READ_SIZE as usize + 1];

fn answering(
    name: &'static str,
    sends: &'static str,
    due: &[Due],
    pieces: &'static [Piece],
) -> Case {
    Case::new(name, &["R18", "G10", "T19"], sends, due, move |bench| {
        let mut conn = asked(bench)?;
        let (stag, to) = sink(&mut conn);
        for &(last, stag_xor, skip, octets) in pieces {
            let to = to.wrapping_add_signed(skip);
            conn.say(&tagged(
                Opcode::READ_RESPONSE,
                last,
                stag ^ stag_xor,
                to,
                octets,
            ));
        }
        let mut seen = conn.listen();
        let done = seen.messages.len() > 1 && due_is_refusal(pieces);
        seen.require(!done, "a wrong Response completed the Read");
        Ok(seen)
    })
    .needs([Need::Favour(FavourKind::Read)])
}

/// Whether no proper Response is among the pieces.
fn due_is_refusal(pieces: &[Piece]) -> bool {
    !matches!(pieces.first(), Some((true, 0, 0, octets)) if octets.len() == FULL.len())
}

pub(super) fn cases() -> Vec<Case> {
    reads().into_iter().chain(atomics()).collect()
}

fn reads() -> Vec<Case> {
    let bad = &[BOUNDS, UNEXPECTED];
    vec![
        Case::new(
            "response/right",
            &["R16", "R18"],
            "the Response in two segments, as it was asked for",
            &[Due::Works],
            |bench| {
                let mut conn = asked(bench)?;
                let (stag, to) = sink(&mut conn);
                let octets = our_octets();
                let (head, tail) = octets.split_at(24);
                conn.say(&tagged(Opcode::READ_RESPONSE, false, stag, to, head));
                conn.say(&tagged(
                    Opcode::READ_RESPONSE,
                    true,
                    stag,
                    to.wrapping_add(24),
                    tail,
                ));
                let told = receipt(&mut conn);
                let check = u64::from(crc::crc32c(&octets));
                let as_due = told.is_some_and(|told| (told.kind, told.check) == (b'd', check));
                conn.seen()
                    .require(as_due, format!("the target read something else: {told:?}"));
                Ok(bench.prove(conn))
            },
        )
        .needs([Need::Favour(FavourKind::Read)]),
        answering(
            "response/past-the-end",
            "a Response of one octet more than was asked for",
            bad,
            &[(true, 0, 0, MORE)],
        ),
        answering(
            "response/other-stag",
            "a Response for another STag",
            bad,
            &[(true, 1, 0, FULL)],
        ),
        answering(
            "response/before-the-start",
            "a Response that begins one octet before the sink",
            bad,
            &[(true, 0, -1, FULL)],
        ),
        answering(
            "response/far-away",
            "a Response at an offset of 2^62",
            bad,
            &[(true, 0, 1 << 62, FULL)],
        ),
        answering(
            "response/early-l",
            "a Response that ends half-way",
            bad,
            &[(true, 0, 0, HALF)],
        ),
        answering(
            "response/nothing",
            "a Response of nothing where octets were asked for",
            bad,
            &[(true, 0, 0, b"")],
        ),
        answering(
            "response/first-half-missing",
            "a Response of the second half only",
            bad,
            &[(true, 0, READ_SIZE as i64 / 2, HALF)],
        ),
        answering(
            "response/without-l-and-more",
            "a whole Response without L, and more behind it",
            bad,
            &[(false, 0, 0, FULL), (true, 0, READ_SIZE as i64, b"x")],
        ),
        answering(
            "response/twice",
            "the same Response twice",
            &[UNEXPECTED],
            &[(true, 0, 0, FULL), (true, 0, 0, FULL)],
        ),
        Case::new(
            "response/unasked",
            &["R18", "G10", "T19"],
            "a Response to no Read, for a region that may be written",
            &[UNEXPECTED, BOUNDS],
            provoke(|conn, bench| {
                let place = bench.place(RegionKind::Open);
                conn.say(&tagged(
                    Opcode::READ_RESPONSE,
                    true,
                    place.stag,
                    place.to,
                    &[0xee; 16],
                ));
            }),
        )
        .on(RegionKind::Open)
        .guarding(RegionKind::Open),
        Case::new(
            "response/unasked-nothing",
            &["R18", "G10"],
            "a Response of nothing to no Read",
            &[UNEXPECTED],
            provoke(|conn, _| {
                conn.say(&response(true, 0, b""));
            }),
        ),
        Case::new(
            "response/fin-instead",
            &["R38", "T24"],
            "a FIN where a Response is due",
            &[Due::Close],
            |bench| {
                let mut conn = asked(bench)?;
                conn.half_close();
                Ok(conn.listen())
            },
        )
        .needs([Need::Favour(FavourKind::Read)]),
    ]
}

/// A connection on which the target has asked for an atomic operation; its identifier.
fn atomic_asked(bench: &Bench) -> Result<(Conn, [u8; 4]), Trouble> {
    let mut conn = bench.asking(Favour::Atomic)?;
    let request = conn.message();
    let id = request
        .as_deref()
        .and_then(|ulpdu| ulpdu.get(UNTAGGED_LEN + 4..)?.first_chunk().copied());
    match id {
        Some(id) => Ok((conn, id)),
        None => Err(Trouble::Setup(
            "the target asked for no atomic operation".to_owned(),
        )),
    }
}

fn atomic_answer(
    name: &'static str,
    ids: &'static [&'static str],
    sends: &'static str,
    due: &[Due],
    answer: fn([u8; 4]) -> Vec<u8>,
) -> Case {
    Case::new(name, ids, sends, due, move |bench| {
        let (mut conn, id) = atomic_asked(bench)?;
        conn.say(&answer(id));
        let mut seen: Seen = conn.listen();
        let done = seen.messages.len() > 1;
        seen.require(!done, "a wrong Atomic Response completed the operation");
        Ok(seen)
    })
    .needs([Need::Favour(FavourKind::Atomic)])
}

fn atomic_response(at: At, id: [u8; 4], len: usize) -> Vec<u8> {
    let mut body = [&id[..], &77u64.to_be_bytes()].concat();
    body.resize(len, 0);
    untagged(Opcode::ATOMIC_RESPONSE, at, 0, &body)
}

fn atomics() -> Vec<Case> {
    let msn = &[
        Due::Terminate(1, 2, 3, Carries::Segment),
        Due::Terminate(1, 2, 2, Carries::Segment),
    ];
    let size = &[Due::Terminate(0, 2, 0xff, Carries::Segment)];
    vec![
        Case::new(
            "atomic-response/right",
            &["X10", "X12"],
            "the Atomic Response that was asked for",
            &[Due::Works],
            |bench| {
                let (mut conn, id) = atomic_asked(bench)?;
                conn.say(&atomic_response(At::whole(3, 1), id, 12));
                let told = receipt(&mut conn);
                let as_due = told.is_some_and(|told| (told.kind, told.check) == (b'a', 77));
                conn.seen()
                    .require(as_due, format!("the target got something else: {told:?}"));
                Ok(bench.prove(conn))
            },
        )
        .needs([Need::Favour(FavourKind::Atomic)]),
        atomic_answer(
            "atomic-response/other-id",
            &["X10"],
            "another Request Identifier",
            &[UNEXPECTED],
            |id| atomic_response(At::whole(3, 1), [id[0], id[1], id[2], id[3] ^ 1], 12),
        ),
        atomic_answer(
            "atomic-response/msn-2",
            &["X10", "D15"],
            "MSN 2 where 1 is due",
            msn,
            |id| atomic_response(At::whole(3, 2), id, 12),
        ),
        atomic_answer(
            "atomic-response/msn-0",
            &["X10", "D15"],
            "MSN 0 where 1 is due",
            msn,
            |id| atomic_response(At::whole(3, 0), id, 12),
        ),
        atomic_answer(
            "atomic-response/11-octets",
            &["X10", "G3"],
            "11 octets",
            size,
            |id| atomic_response(At::whole(3, 1), id, 11),
        ),
        atomic_answer(
            "atomic-response/32-octets",
            &["X10", "G3"],
            "32 octets, as a misprint of the RFC has it",
            size,
            |id| atomic_response(At::whole(3, 1), id, 32),
        ),
        atomic_answer(
            "atomic-response/on-queue-1",
            &["X10", "G4"],
            "queue 1",
            &[UNEXPECTED],
            |id| atomic_response(At::whole(1, 1), id, 12),
        ),
        atomic_answer(
            "atomic-response/a-read-response",
            &["X14", "G10"],
            "a Read Response of nothing instead",
            &[BOUNDS, UNEXPECTED],
            |_| response(true, 0, b""),
        ),
        Case::new(
            "atomic-response/unasked",
            &["X11", "G9"],
            "an Atomic Response to nothing",
            &[Due::Terminate(1, 2, 2, Carries::Segment), UNEXPECTED],
            provoke(|conn, _| {
                conn.say(&atomic_response(At::whole(3, 1), [0; 4], 12));
            }),
        ),
    ]
}

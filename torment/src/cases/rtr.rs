//! The first FPDU of a peer-to-peer set-up.

use std::time::Duration;

use uwarp_mpa::{Frame, Rtr, RtrSet};
use uwarp_rdmap::Layer;

use crate::bench::{Bench, Dial};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::seen::{Carries, Due, Seen, terminate};
use crate::wire::{At, opcode, read, send, untagged, write};

const NO_MATCH: Due = Due::Terminate(2, 0, 7, Carries::Nothing);

/// A peer-to-peer set-up in which the target accepts one of the indications that are offered.
fn start(bench: &Bench, offered: RtrSet) -> Result<(Conn, RtrSet, Frame), Trouble> {
    let (conn, reply) = bench.dial(&Dial::peer_to_peer(offered))?;
    let words = reply.enhanced_data();
    let accepted = words.map_or(RtrSet::NONE, |words| words.rtr);
    Ok((conn, accepted, reply))
}

/// Opens with `first` after offering Write and Read.
fn opening(
    first: impl Fn(&mut Conn, &Bench) + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let (mut conn, _, _) = start(bench, RtrSet::WRITE | RtrSet::READ)?;
        first(&mut conn, bench);
        conn.blame();
        Ok(super::prove_or_listen(bench, conn))
    }
}

/// Opens with an indication, provided that the Reply has it.
fn indication(
    rtr: Rtr,
    first: impl Fn(&mut Conn) + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let (mut conn, accepted, _) = start(bench, rtr.into())?;
        if !accepted.contains(rtr) {
            let what = format!("the target takes no {rtr:?} as RTR");
            return Err(Trouble::NotOffered(what));
        }
        first(&mut conn);
        Ok(bench.prove(conn))
    }
}

/// Offers these indications and looks at the flags of the Reply.
fn flags(name: &'static str, sends: &'static str, offered: RtrSet) -> Case {
    Case::new(
        name,
        &["E15", "E16", "E17"],
        sends,
        &[Due::Close],
        move |bench| {
            let (mut conn, accepted, reply) = start(bench, offered)?;
            let peer_to_peer = reply
                .enhanced_data()
                .is_some_and(|words| words.peer_to_peer);
            conn.seen().require(peer_to_peer, "no A in the Reply (E16)");
            conn.seen()
                .require(!accepted.is_empty(), "no B, C or D in the Reply (E17)");
            // An initiator that cannot go on says so.
            let body = terminate(Layer::Llp, 0, 7);
            conn.say(&untagged(opcode(7), At::whole(2, 1), 0, &body));
            Ok(conn.listen())
        },
    )
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "rtr/write",
            &["E18", "D21"],
            "a Write of nothing as RTR, to an STag and offset that mean nothing",
            &[Due::Works],
            indication(Rtr::Write, |conn| {
                conn.say(&write(0xffff_ffff, u64::MAX, b""))
            }),
        ),
        Case::new(
            "rtr/read",
            &["E18", "R15", "G16", "E09"],
            "a Read of nothing as RTR, answered by a Response of nothing",
            &[Due::Works],
            indication(Rtr::Read, |conn| {
                let octets = conn.fetch(0xffff_ffff, u64::MAX, 0);
                conn.seen().require(
                    octets.is_some(),
                    "the Read of nothing was not answered (R15)",
                );
            }),
        ),
        flags("rtr/none-offered", "A without B, C and D", RtrSet::NONE),
        flags("rtr/send-offered", "A with B alone", RtrSet::SEND),
        flags("rtr/all-offered", "A with B, C and D", RtrSet::ALL),
        Case::new(
            "rtr/send-not-accepted",
            &["E17", "E18"],
            "a Send of nothing where the Reply took Write and Read only",
            &[NO_MATCH, Due::AnyTerminate, Due::Close],
            opening(|conn, _| conn.say(&send(1, b""))),
        ),
        Case::new(
            "rtr/with-data",
            &["E18"],
            "a Send with data as first FPDU",
            &[NO_MATCH, Due::AnyTerminate, Due::Close],
            opening(|conn, _| conn.say(&send(1, b"not an RTR"))),
        ),
        Case::new(
            "rtr/immediate",
            &["E18"],
            "Immediate Data as first FPDU",
            &[NO_MATCH, Due::AnyTerminate, Due::Close],
            opening(|conn, _| conn.say(&untagged(opcode(8), At::whole(0, 1), 0, b"12345678"))),
        ),
        Case::new(
            "rtr/unknown-opcode",
            &["E18", "R41"],
            "an opcode that does not exist as first FPDU",
            &[
                NO_MATCH,
                Due::Terminate(0, 2, 6, Carries::Segment),
                Due::Close,
            ],
            opening(|conn, _| conn.say(&untagged(opcode(0xf), At::whole(0, 1), 0, b""))),
        ),
        Case::new(
            "rtr/write-twice",
            &["E18", "R10"],
            "the RTR a second time, when it is a Write like any other",
            &[Due::Works],
            opening(|conn, _| {
                conn.say(&write(0, 0, b""));
                conn.say(&write(0, 0, b""));
            }),
        ),
        Case::new(
            "rtr/read-with-msn-2",
            &["D15", "G16"],
            "a Read of nothing as RTR that claims to be the second",
            &[
                Due::Terminate(1, 2, 3, Carries::Segment),
                Due::Terminate(1, 2, 2, Carries::Segment),
                NO_MATCH,
            ],
            opening(|conn, _| conn.say(&read(2, 0, 0, 0))),
        ),
        Case::new(
            "rtr/bad-crc",
            &["F25", "G17", "U18"],
            "an RTR with a wrong CRC",
            &[Due::Close],
            |bench| {
                let (mut conn, _, _) = start(bench, RtrSet::WRITE)?;
                conn.say_spoiled(&write(0, 0, b""), crate::wire::Spoil::CrcXor(1));
                Ok(conn.listen())
            },
        ),
        Case::new(
            "rtr/missing",
            &["U22", "U18"],
            "nothing, where the RTR is due",
            &[Due::Close],
            |bench| {
                let (conn, _, _) = start(bench, RtrSet::WRITE)?;
                let limit = bench.profile.startup_timeout_ms.unwrap_or(0);
                let wait = bench.patience.answer + Duration::from_millis(limit.into());
                Ok(conn.listen_for(wait))
            },
        )
        .needs([Need::StartupTimeout]),
    ]
}

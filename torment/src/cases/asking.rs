//! Reads of the target's: how many at a time, and in which order they complete.

use uwarp_ddp::UNTAGGED_LEN;
use uwarp_mpa::Enhanced;
use uwarp_rdmap::Opcode;
use uwarp_rdmap::header::ReadRequest;

use super::call::called;
use crate::bench::{Bench, CLIENT, Dial, our_octets};
use crate::case::{Case, Need};
use crate::conn::{Conn, Trouble};
use crate::profile::{Favour, FavourKind, Manner, READS};
use crate::seen::{Due, Seen};
use crate::wire::tagged;

/// What of a ULPDU makes it a Read Request.
fn read_request(ulpdu: &[u8]) -> Option<ReadRequest> {
    let control = *ulpdu.get(1)?;
    let opcode = uwarp_rdmap::header::Control(control).opcode();
    (opcode == Opcode::READ_REQUEST)
        .then(|| ReadRequest::parse(ulpdu.get(UNTAGGED_LEN..)?))
        .flatten()
}

/// Answers [`READS`] Reads, of which no more than `limit` may wait at a time.
fn answer_all(conn: &mut Conn, limit: usize) -> bool {
    let mut waiting: Vec<ReadRequest> = Vec::new();
    let mut answered = 0;
    while answered < usize::from(READS) {
        while waiting.is_empty() {
            // Whatever else it says may come in between.
            match conn.message() {
                Some(ulpdu) => waiting.extend(read_request(&ulpdu)),
                None => return false,
            }
        }
        // All that it asks at once has come when there is silence.
        let more = std::iter::from_fn(|| conn.stray());
        waiting.extend(more.filter_map(|ulpdu| read_request(&ulpdu)));
        conn.seen().require(
            waiting.len() <= limit,
            format!(
                "{} Reads at a time, {limit} are allowed (R37)",
                waiting.len()
            ),
        );
        let request = waiting.remove(0);
        conn.say(&tagged(
            Opcode::READ_RESPONSE,
            true,
            request.sink_stag.0,
            request.sink_to,
            &our_octets(),
        ));
        answered += 1;
    }
    true
}

/// The Request says how many Reads we take.
fn limited(name: &'static str, sends: &'static str, ird: u16) -> Case {
    Case::new(
        name,
        &["E08", "R37", "T12"],
        sends,
        &[Due::Works],
        move |bench| {
            let words = Enhanced { ird, ..CLIENT };
            let (mut conn, _) = bench.dial(&Dial {
                words: Some(words.encode()),
                ..Dial::asking(Favour::Reads)
            })?;
            conn.hello();
            Ok(match answer_all(&mut conn, usize::from(ird)) {
                true => bench.prove(conn),
                false => conn.listen(),
            })
        },
    )
    .needs([Need::Favour(FavourKind::Reads)])
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        limited(
            "ord/one-at-a-time",
            "an IRD of 1, and answers to Reads that the target would make all at once",
            1,
        ),
        limited(
            "ord/two-at-a-time",
            "an IRD of 2, and answers to Reads that the target would make all at once",
            2,
        ),
        called(
            "ord/of-an-initiator",
            &["E11", "R37", "T12"],
            "an IRD of 1 in the Reply, and answers to Reads that the target would make all at once",
            &[Due::Works],
            |bench: &Bench| {
                let mut call = bench.called_to(Manner::Reading)?;
                let reply = call.reply(Enhanced {
                    ird: 1,
                    ..call.terms()
                });
                if !reply.enhanced {
                    let why = "the target's Request is not enhanced: it cannot be told an IRD";
                    return Err(Trouble::NotOffered(why.to_owned()));
                }
                call.answer(&reply)?;
                if call.terms().peer_to_peer {
                    // The RTR.
                    let _ = call.conn.message();
                }
                let works = answer_all(&mut call.conn, 1);
                let mut seen: Seen = call.conn.finish();
                let said = seen
                    .messages
                    .iter()
                    .any(|ulpdu| read_request(ulpdu).is_some());
                if !works && !said {
                    return Err(Trouble::NotOffered("the target does not read".to_owned()));
                }
                seen.works = works;
                Ok(seen)
            },
        ),
    ]
}

//! The cases, by subject.

mod answers;
mod atomic;
mod call;
mod close;
mod deliver;
mod framing;
mod invalidate;
mod markers;
mod read;
mod request;
mod rtr;
mod send;
mod slow;
mod tagged;

use crate::bench::Bench;
use crate::case::Case;
use crate::conn::{Conn, Trouble};
use crate::seen::Seen;

/// All cases, in the order in which they are played.
pub(crate) fn all() -> Vec<Case> {
    [
        request::cases(),
        slow::cases(),
        rtr::cases(),
        call::cases(),
        framing::cases(),
        markers::cases(),
        tagged::cases(),
        send::cases(),
        deliver::cases(),
        read::cases(),
        atomic::cases(),
        invalidate::cases(),
        answers::cases(),
        close::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A connection on which the target may speak, some mischief, and what comes of it.
fn provoke(
    mischief: impl Fn(&mut Conn, &Bench) + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut conn = bench.connected()?;
        mischief(&mut conn, bench);
        Ok(conn.listen())
    }
}

/// A connection on which something odd but right is said, and the proof that it goes on.
fn odd(
    oddity: impl Fn(&mut Conn, &Bench) + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut conn = bench.connected()?;
        oddity(&mut conn, bench);
        Ok(bench.prove(conn))
    }
}

/// Something that one target takes and another refuses: whatever comes of it.
fn either(
    mischief: impl Fn(&mut Conn, &Bench) + Send + Sync + 'static,
) -> impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static {
    move |bench| {
        let mut conn = bench.connected()?;
        mischief(&mut conn, bench);
        conn.blame();
        Ok(prove_or_listen(bench, conn))
    }
}

/// The proof that the connection works or, if it does not, all that comes.
fn prove_or_listen(bench: &Bench, mut conn: Conn) -> Seen {
    let place = bench.place(crate::profile::RegionKind::Steady);
    if conn.fetch(place.stag, place.to, 16).is_some() {
        let mut seen = conn.finish();
        seen.works = true;
        seen
    } else {
        conn.listen()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_name_of_its_own_an_id_and_an_answer() {
        let cases = super::all();
        let names: BTreeSet<_> = cases.iter().map(|case| case.name.clone()).collect();
        assert_eq!(names.len(), cases.len());
        assert!(cases.len() >= 100, "{}", cases.len());
        for case in &cases {
            assert!(
                !case.due.is_empty() && !case.sends.is_empty(),
                "{}",
                case.name
            );
            assert!(!case.ids.is_empty(), "{}", case.name);
            for id in case.ids {
                let (letter, number) = id.split_at(1);
                assert!("FUEDRXSGT".contains(letter), "{id}");
                assert!(number.parse::<u8>().is_ok(), "{id}");
            }
        }
    }

    #[test]
    fn every_code_that_can_be_provoked_is_provoked() {
        use crate::seen::Due;
        let due: BTreeSet<_> = super::all()
            .into_iter()
            .flat_map(|case| case.due)
            .filter_map(|due| match due {
                Due::Terminate(layer, etype, code, _) => Some((layer, etype, code)),
                _ => None,
            })
            .collect();
        // Not here: 0/0/xx, 0/1/ff and 0/2/08 are failures of the target's own; 2/0/01 has no
        // connection left to travel on, and 2/0/04 none yet.
        #[rustfmt::skip]
        let all = [
            (0, 1, 0),
            (0, 1, 1),
            (0, 1, 2),
            (0, 1, 3),
            (0, 1, 4),
            (0, 1, 9),
            (0, 2, 5),
            (0, 2, 6),
            (0, 2, 7),
            (0, 2, 9),
            (0, 2, 0xff),
            (1, 0, 0),
            (1, 1, 0),
            (1, 1, 1),
            (1, 1, 2),
            (1, 1, 3),
            (1, 1, 4),
            (1, 2, 1),
            (1, 2, 2),
            (1, 2, 3),
            (1, 2, 4),
            (1, 2, 5),
            (1, 2, 6),
            (2, 0, 2),
            (2, 0, 3),
            (2, 0, 5),
            (2, 0, 6),
            (2, 0, 7),
        ];
        for code in all {
            assert!(due.contains(&code), "{code:?}");
        }
    }
}

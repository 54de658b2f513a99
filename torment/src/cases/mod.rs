//! The cases, by subject.

mod answers;
mod asking;
mod atomic;
mod call;
mod close;
mod deliver;
mod framing;
mod initiator;
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
        initiator::cases(),
        framing::cases(),
        markers::cases(),
        tagged::cases(),
        send::cases(),
        deliver::cases(),
        read::cases(),
        atomic::cases(),
        invalidate::cases(),
        answers::cases(),
        asking::cases(),
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
    let place = bench.readable();
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
}

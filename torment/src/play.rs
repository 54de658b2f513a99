//! Plays one case: what it needs, what must not change, what came, whether the target is still there.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Damage};
use crate::case::Case;
use crate::conn::Trouble;
use crate::offer::Offer;
use crate::report::{Row, Verdict};
use crate::seen::{Ending, Seen};

/// Connections in a row that a target may refuse before the rest of the cases is given up.
const REFUSALS_MAX: u32 = 3;
/// How often a target that is gone is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// The state of a run.
pub(crate) struct Run {
    pub(crate) bench: Bench,
    pub(crate) offer: Offer,
    /// When it has to be over.
    pub(crate) deadline: Instant,
    /// How long a target may be gone.
    pub(crate) recovery: Duration,
    /// What brings one back, to be run by the shell.
    pub(crate) restart: Option<String>,
    /// Whether a proper connection was taken the last time.
    pub(crate) alive: bool,
    /// Connections that were refused in a row.
    pub(crate) refusals: u32,
    /// The damages that are known.
    pub(crate) damage: Damage,
}

/// What becomes of a case.
struct Judged {
    verdict: Verdict,
    answer: Option<usize>,
    seen: String,
    brief: String,
    remarks: Vec<String>,
}

impl Judged {
    fn bare(verdict: Verdict, seen: String) -> Self {
        Self {
            verdict,
            answer: None,
            seen,
            brief: String::new(),
            remarks: Vec::new(),
        }
    }
}

/// What a region held; nothing if it was not looked at.
type Contents = Option<Vec<u8>>;

impl Run {
    pub(crate) fn new(bench: Bench, offer: Offer, alive: bool, limit: Duration) -> Self {
        Self {
            bench,
            offer,
            deadline: Instant::now() + limit,
            recovery: Duration::ZERO,
            restart: None,
            alive,
            refusals: 0,
            damage: Damage::new(),
        }
    }

    pub(crate) fn play(&mut self, case: &Case) -> Row {
        let start = Instant::now();
        let judged = match self.reason_to_skip(case) {
            Some(reason) => Judged::bare(Verdict::Skipped, reason),
            None => self.judge(case),
        };
        Row {
            name: case.name.to_string(),
            requirements: case.ids.to_vec(),
            sends: case.sends.to_string(),
            expected: case.due_in_words(),
            answer: judged.answer,
            seen: judged.seen,
            verdict: judged.verdict,
            remarks: judged.remarks,
            millis: start.elapsed().as_millis() as u64,
            brief: (case.due_in_brief(), judged.brief),
        }
    }

    fn reason_to_skip(&self, case: &Case) -> Option<String> {
        if self.refusals >= REFUSALS_MAX {
            return Some("the target no longer accepts connections".to_owned());
        }
        if Instant::now() >= self.deadline {
            return Some("the time limit of the run is over".to_owned());
        }
        case.unplayable(&self.bench)
    }

    fn judge(&mut self, case: &Case) -> Judged {
        self.bench.case.clear();
        self.bench.case.push_str(&case.name);
        let mut judged = self.watch(case).unwrap_or_else(|trouble| match trouble {
            Trouble::NotOffered(why) => Judged::bare(Verdict::Skipped, why),
            trouble => {
                self.refusals += u32::from(matches!(trouble, Trouble::Connect(_)));
                Judged::bare(Verdict::NoAnswer, trouble.to_string())
            }
        });
        if let Some(death) = self
            .bench
            .callers
            .as_ref()
            .and_then(|callers| callers.death())
        {
            (judged.verdict, judged.answer) = (Verdict::Gone, None);
            judged.seen = format!("{}; afterwards {death}", judged.seen);
        }
        judged
    }

    /// Plays the case between two looks at what it must not change.
    fn watch(&mut self, case: &Case) -> Result<Judged, Trouble> {
        let guard = case.guard.filter(|kind| self.bench.can_look(*kind));
        let before = match guard {
            Some(kind) => Some(self.bench.look(kind)?.0),
            None => None,
        };
        let seen = (case.play)(&self.bench)?;
        let (mut seen, after) = match self.afterwards(case, seen)? {
            Ok(both) => both,
            Err(gone) => return Ok(gone),
        };
        if let (Some(before), Some(after)) = (&before, &after)
            && before != after
        {
            let what = difference(before, after);
            seen.breaks(format!("the guarded region has changed: {what}"));
        }
        if let (Some(kind), None) = (case.guard, guard) {
            seen.remarks.push(format!(
                "region '{kind}' cannot be read: whether it changed is not known"
            ));
        }
        Ok(match seen.judge(&case.due) {
            Ok((answer, remarks)) => Judged {
                verdict: Verdict::Pass,
                answer: Some(answer),
                seen: seen.describe(),
                brief: seen.in_brief(),
                remarks: [remarks, seen.remarks].concat(),
            },
            Err(wrong) => Judged {
                verdict: if is_silence(&seen) {
                    Verdict::NoAnswer
                } else {
                    Verdict::Deviates
                },
                answer: None,
                seen: wrong,
                brief: seen.in_brief(),
                remarks: seen.remarks,
            },
        })
    }

    /// Whether the target is still there, what the guarded region holds now, and the damages.
    fn afterwards(
        &mut self,
        case: &Case,
        mut seen: Seen,
    ) -> Result<Result<(Seen, Contents), Judged>, Trouble> {
        if self.bench.address.is_none() {
            return Ok(Ok((seen, None)));
        }
        let start = Instant::now();
        let (after, damage) = match self.visit(case) {
            Ok(visit) => visit,
            // It never was there: that is no doing of this case.
            Err(trouble) if !self.alive => return Err(trouble),
            Err(trouble) => match self.await_return(case) {
                Some(visit) if self.restart.is_none() => {
                    seen.remarks.push(format!(
                        "for {} ms it took no connection: {trouble}",
                        start.elapsed().as_millis()
                    ));
                    visit
                }
                back => {
                    self.alive = back.is_some();
                    self.refusals += u32::from(back.is_none());
                    let brief = seen.in_brief();
                    let what = format!("{}; afterwards: {trouble}", seen.describe());
                    return Ok(Err(Judged {
                        verdict: Verdict::Gone,
                        answer: None,
                        seen: what,
                        brief,
                        remarks: seen.remarks,
                    }));
                }
            },
        };
        self.alive = true;
        self.refusals = 0;
        let damage = damage.into_iter().chain(self.refresh(&mut seen));
        for kind in damage {
            let fresh = self.damage.insert(kind);
            seen.require(!fresh, format!("the region '{kind}' has changed"));
        }
        Ok(Ok((seen, after)))
    }

    fn visit(&self, case: &Case) -> Result<(Contents, Damage), Trouble> {
        match case.guard.filter(|kind| self.bench.can_look(*kind)) {
            Some(kind) => {
                let (octets, damage) = self.bench.look(kind)?;
                Ok((Some(octets), damage))
            }
            None => Ok((None, self.bench.probe()?)),
        }
    }

    /// Waits for a target that is gone, and starts it again if that was asked for.
    fn await_return(&mut self, case: &Case) -> Option<(Contents, Damage)> {
        if let Some(restart) = &self.restart {
            // Whether it worked shows below.
            let _ = Command::new("sh")
                .args(["-c", restart])
                .env("TORMENT_CASE", &case.name[..])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status();
            let _ = self.offer.again(&mut self.bench);
        }
        let end = (Instant::now() + self.recovery).min(self.deadline);
        while Instant::now() < end {
            std::thread::sleep(LOOK);
            if let Ok(visit) = self.visit(case) {
                return Some(visit);
            }
        }
        None
    }

    /// Asks for the profile again, if it may change, and tells the damages in it.
    fn refresh(&mut self, seen: &mut Seen) -> Damage {
        match self.offer.again(&mut self.bench) {
            Ok(()) => self.bench.profile.damage.clone(),
            Err(error) => {
                seen.remarks.push(error.to_string());
                Damage::new()
            }
        }
    }
}

fn is_silence(seen: &Seen) -> bool {
    seen.ending == Ending::Silence
        && seen.broken.is_none()
        && seen.terminate.is_none()
        && seen.messages.is_empty()
        && !seen.works
        && !seen.rejected
}

fn difference(before: &[u8], after: &[u8]) -> String {
    let changed = before.iter().zip(after).filter(|(old, new)| old != new);
    let first = before.iter().zip(after).position(|(old, new)| old != new);
    match first {
        Some(first) => format!("{} octets, the first at {first}", changed.count()),
        None => format!("{} octets before, {} after", before.len(), after.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Patience;
    use crate::profile::RegionKind;
    use crate::seen::Due;
    use crate::target::Target;
    use crate::wire::write;

    fn run(target: &Target) -> Run {
        let bench = Bench {
            address: Some(target.local_addr()),
            profile: target.profile(),
            patience: Patience {
                answer: Duration::from_secs(5),
                quiet: Duration::from_millis(10),
                settle: Duration::ZERO,
            },
            callers: None,
            case: String::new(),
        };
        Run::new(bench, Offer::Asked, true, Duration::from_secs(60))
    }

    /// A proper Write, in a case that says that nothing may change.
    fn writing(guard: Option<RegionKind>) -> Case {
        let mut case = Case::new("", &[], "", &[Due::Works], |bench| {
            let mut conn = bench.connected()?;
            let place = bench.place(RegionKind::Open);
            conn.say(&write(place.stag, place.to + 100, &[0; 3]));
            Ok(bench.prove(conn))
        });
        case.guard = guard;
        case
    }

    #[test]
    fn what_is_placed_where_it_must_not_be_is_seen() {
        let target = Target::start("127.0.0.1:0").unwrap();
        let mut run = run(&target);
        let guarded = run.play(&writing(Some(RegionKind::Open)));
        assert_eq!(guarded.verdict, Verdict::Deviates);
        assert!(
            guarded.seen.contains("3 octets, the first at 100"),
            "{guarded:?}"
        );
        assert_eq!(run.play(&writing(None)).verdict, Verdict::Pass);
    }

    #[test]
    fn what_comes_after_the_time_limit_is_skipped() {
        let target = Target::start("127.0.0.1:0").unwrap();
        let mut run = run(&target);
        run.deadline = Instant::now();
        let row = run.play(&writing(None));
        assert_eq!(row.verdict, Verdict::Skipped);
        assert!(row.seen.contains("time limit"));
    }
}

//! Plays the cases one by one, and never dies of what a target does.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Dial};
use crate::case::Case;
use crate::cases;
use crate::conn::{Patience, Trouble};
use crate::profile::{Profile, RegionKind};
use crate::report::{Outcome, Row, Verdict};
use crate::seen::{Ending, Seen};
use crate::target::{Target, TargetError};

/// Connections in a row that a target may refuse before the rest of the cases is given up.
const REFUSALS_MAX: u32 = 3;

/// What `uwarp torment` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The target, as HOST:PORT; `uwarp target` offers everything that the cases need
    #[arg(required_unless_present = "list")]
    target: Option<String>,

    /// Play only the cases whose name contains this; may be given several times
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,

    /// List the cases, with what is sent and what must come back, and play none
    #[arg(long)]
    list: bool,

    /// Write the results as JSON
    #[arg(long)]
    json: bool,

    /// What the target offers, as JSON; without it the target is asked
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,

    /// How long an answer may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1500)]
    patience: u64,

    /// How long silence must last to count as silence, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 80)]
    quiet: u64,

    /// How long the whole run may take, in seconds; what is left then is skipped
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    time_limit: u64,
}

/// What `uwarp target` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct TargetArgs {
    /// The address to listen on
    #[arg(default_value = "127.0.0.1:0")]
    listen: String,

    /// Write what is offered as JSON, in the form that `uwarp torment --profile` reads
    #[arg(long)]
    json: bool,
}

/// The cases cannot be played at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The target's name means nothing.
    #[error("{name} is not an address: {source}")]
    Address {
        /// What was given.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The profile cannot be read.
    #[error("cannot read the profile {}: {why}", .file.display())]
    Profile {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// Nobody accepts connections there.
    #[error("{0} does not accept connections")]
    Unreachable(SocketAddr),
    /// The results cannot be written.
    #[error("cannot write the results: {0}")]
    Output(#[from] std::io::Error),
    /// The target cannot be set up.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// Plays the cases and prints the results: the exit status is 0 when the target passed all that it
/// can serve, 1 when it did not, 2 when there was nothing to be played.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match run_to(args, &mut std::io::stdout().lock()) {
        Ok(_) if args.list => ExitCode::SUCCESS,
        Ok(outcome) if outcome.is_clean() => ExitCode::SUCCESS,
        Ok(outcome) if outcome.rows.is_empty() => {
            eprintln!("no case has such a name: see --list");
            ExitCode::from(2)
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Offers a target until the process is ended.
#[must_use]
pub fn run_target(args: &TargetArgs) -> ExitCode {
    let shown = Target::start(args.listen.as_str())
        .map_err(RunError::from)
        .and_then(|target| {
            let mut out = std::io::stdout().lock();
            if args.json {
                let profile = serde_json::to_string_pretty(&target.profile());
                writeln!(out, "{}", profile.map_err(std::io::Error::from)?)?;
            } else {
                writeln!(out, "listening on {}", target.local_addr())?;
            }
            out.flush()?;
            Ok(target)
        });
    match shown {
        Ok(target) => {
            target.wait();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// As [`run`], but writes to `out` and gives the results back.
///
/// # Errors
/// When nothing can be played, or the results cannot be written.
pub fn run_to(args: &Args, out: &mut dyn Write) -> Result<Outcome, RunError> {
    let mut cases = cases::all();
    if !args.only.is_empty() {
        cases.retain(|case| args.only.iter().any(|only| case.name.contains(only)));
    }
    if args.list {
        for case in &cases {
            list(case, out)?;
        }
        return Ok(Outcome::default());
    }
    let name = args.target.clone().unwrap_or_default();
    let bench = bench(args, &name)?;
    let mut run = Run {
        bench,
        deadline: Instant::now() + Duration::from_secs(args.time_limit),
        refusals: 0,
        damage: 0,
    };
    let mut outcome = Outcome {
        target: name,
        rows: Vec::new(),
    };
    for case in &cases {
        let row = run.play(case);
        if !args.json {
            row.write(out)?;
        }
        outcome.rows.push(row);
    }
    if args.json {
        let json = serde_json::to_string_pretty(&outcome).map_err(std::io::Error::from)?;
        writeln!(out, "{json}")?;
    } else {
        outcome.write_summary(out)?;
    }
    Ok(outcome)
}

fn list(case: &Case, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{:<36}  {}", case.name, case.ids.join(" "))?;
    writeln!(out, "    sent: {}", case.sends)?;
    writeln!(out, "    due:  {}", case.due_in_words())
}

fn bench(args: &Args, name: &str) -> Result<Bench, RunError> {
    let bad = |source| RunError::Address {
        name: name.to_owned(),
        source,
    };
    let address = name
        .to_socket_addrs()
        .map_err(bad)?
        .next()
        .ok_or_else(|| bad(std::io::ErrorKind::NotFound.into()))?;
    let mut bench = Bench {
        address,
        profile: Profile::default(),
        patience: Patience {
            answer: Duration::from_millis(args.patience.max(1)),
            quiet: Duration::from_millis(args.quiet.max(1)),
        },
    };
    if let Err(Trouble::Connect(_)) = bench.open() {
        return Err(RunError::Unreachable(address));
    }
    bench.profile = match &args.profile {
        Some(file) => read_profile(file)?,
        None => ask_for_profile(&bench),
    };
    Ok(bench)
}

fn read_profile(file: &PathBuf) -> Result<Profile, RunError> {
    let failed = |why: String| RunError::Profile {
        file: file.clone(),
        why,
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

/// A target that does not tell a profile has an empty one.
fn ask_for_profile(bench: &Bench) -> Profile {
    bench
        .dial(&Dial::default())
        .ok()
        .and_then(|(_, reply)| Profile::decode(reply.user_data()))
        .unwrap_or_default()
}

/// The state of a run.
struct Run {
    bench: Bench,
    deadline: Instant,
    /// Connections that were refused in a row.
    refusals: u32,
    /// The damages that are known.
    damage: u8,
}

impl Run {
    fn play(&mut self, case: &Case) -> Row {
        let start = Instant::now();
        let (verdict, came, remarks) = match self.reason_to_skip(case) {
            Some(reason) => (Verdict::Skipped, reason, Vec::new()),
            None => self.judge(case),
        };
        Row {
            name: case.name.to_string(),
            ids: case.ids.to_vec(),
            sends: case.sends.to_string(),
            due: case.due_in_words(),
            verdict,
            came,
            remarks,
            millis: start.elapsed().as_millis() as u64,
        }
    }

    fn reason_to_skip(&self, case: &Case) -> Option<String> {
        if self.refusals >= REFUSALS_MAX {
            return Some("the target no longer accepts connections".to_owned());
        }
        if Instant::now() >= self.deadline {
            return Some("the time limit of the run is over".to_owned());
        }
        case.unplayable(&self.bench.profile)
    }

    fn judge(&mut self, case: &Case) -> (Verdict, String, Vec<String>) {
        match self.watched(case) {
            Ok(seen) => {
                self.refusals = 0;
                match seen.judge(&case.due) {
                    Ok(remarks) => (Verdict::Pass, seen.describe(), remarks),
                    Err(_) if is_silence(&seen) => (Verdict::NoAnswer, seen.describe(), Vec::new()),
                    Err(wrong) => (Verdict::Deviates, wrong, Vec::new()),
                }
            }
            Err(Trouble::NotOffered(why)) => (Verdict::Skipped, why, Vec::new()),
            Err(trouble) => {
                if matches!(trouble, Trouble::Connect(_)) {
                    self.refusals += 1;
                }
                (Verdict::NoAnswer, trouble.to_string(), Vec::new())
            }
        }
    }

    /// Plays the case between two looks at what it must not change.
    fn watched(&mut self, case: &Case) -> Result<Seen, Trouble> {
        let before = self.look(case.guard)?;
        let mut seen = (case.play)(&self.bench)?;
        let (after, damage) = match case.guard {
            Some(kind) => self.bench.look(kind)?,
            None => (Vec::new(), self.bench.probe()?),
        };
        if case.guard.is_some() && after != before {
            seen.breaks(format!(
                "the guarded region has changed: {}",
                difference(&before, &after)
            ));
        }
        let fresh = damage & !self.damage;
        self.damage |= damage;
        for kind in RegionKind::ALL {
            let harmed = fresh & kind.bit() != 0;
            seen.require(!harmed, format!("the region {kind:?} has changed"));
        }
        Ok(seen)
    }

    fn look(&self, guard: Option<RegionKind>) -> Result<Vec<u8>, Trouble> {
        guard.map_or(Ok(Vec::new()), |kind| Ok(self.bench.look(kind)?.0))
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
    use crate::seen::Due;
    use crate::wire::write;

    fn run(target: &Target) -> Run {
        Run {
            bench: Bench {
                address: target.local_addr(),
                profile: target.profile(),
                patience: Patience {
                    answer: Duration::from_secs(5),
                    quiet: Duration::from_millis(10),
                },
            },
            deadline: Instant::now() + Duration::from_secs(60),
            refusals: 0,
            damage: 0,
        }
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
            guarded.came.contains("3 octets, the first at 100"),
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
        assert!(row.came.contains("time limit"));
    }
}

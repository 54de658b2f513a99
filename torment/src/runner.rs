//! What the commands take, and what they do with it.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::bench::{Bench, Dial};
use crate::callers::Callers;
use crate::case::Case;
use crate::cases;
use crate::codes;
use crate::conn::{Patience, Trouble};
use crate::offer::{Offer, ProfileError};
use crate::play::Run;
use crate::profile::Profile;
use crate::reach;
use crate::report::{Outcome, Row};
use crate::target::{Target, TargetError};

/// What stands behind the options of `uwarp torment`.
const MORE: &str = "\
Without --profile and --profile-command the target is asked for its profile: it may tell it in the \
private data of its Replies, as `uwarp target` does. A profile in JSON is like this; every part of it \
may be missing, and what needs it is skipped:

    {
      \"regions\": {
        \"open\":    {\"stag\": 258, \"to\": 140737353000000, \"len\": 4096},
        \"steady\":  {\"stag\": 515, \"to\": 140737354000000, \"len\": 1048576},
        \"wide\":    {\"stag\": 772, \"to\": 140737356000000, \"len\": 131072},
        \"foreign\": {\"stag\": 1029, \"to\": 140737357000000, \"len\": 4096}
      },
      \"receives\": 4, \"receive_len\": 1024, \"ird\": 8
    }

Regions: open (peers may write and read it), steady (read it), wide (write and read it), write-only, \
foreign (of another protection domain), other-stream (of another stream), revoked, spare (as open, for \
invalidations that must be refused). STags must be good on every connection. `receives` receives of \
`receive_len` octets are posted on each new connection before it is accepted. Further parts: \
startup_timeout_ms, markers_port, atomics, immediate_data, favours, damage. The file PROFILE.md of the crate \
uwarp-torment tells all about them, and what a target in C has to do.

With --call-me the target's own initiator is tormented. It shall connect to the address that is printed, \
again and again, or once for each run of the command of --on-call, and send something as soon as it is \
connected.

The exit status is 0 if all cases that could be played have passed, 1 if not, 2 if none could be played.";

/// What `uwarp torment` takes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub struct Args {
    /// The target, as HOST:PORT; `uwarp target` offers everything that the cases need
    #[arg(required_unless_present_any = ["list", "call_me"])]
    target: Option<String>,

    /// Play only the cases whose name contains this; may be given several times
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,

    /// Leave the cases out whose name contains this; may be given several times
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<String>,

    /// List the cases, with what is sent and what must come back, and play none
    #[arg(long)]
    list: bool,

    /// Write the results as JSON
    #[arg(long)]
    json: bool,

    /// What the target offers, as JSON; see below
    #[arg(long, value_name = "FILE", conflicts_with = "profile_command")]
    profile: Option<PathBuf>,

    /// A command that writes what the target offers now, as JSON; run before the first case and after each
    #[arg(long, value_name = "COMMAND")]
    profile_command: Option<String>,

    /// Listen here, as ADDRESS:PORT, for the target to call us in the cases about initiators
    #[arg(long, value_name = "ADDRESS")]
    call_me: Option<String>,

    /// A command that makes the target call once; run for each such case with TORMENT_ADDRESS,
    /// TORMENT_PORT and TORMENT_CASE in its environment, and killed 1 s after the case if it is still there
    #[arg(long, value_name = "COMMAND", requires = "call_me")]
    on_call: Option<String>,

    /// How long a call may take to come, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    call_patience: u64,

    /// How long an answer may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1500)]
    patience: u64,

    /// How long silence must last to count as silence, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 80)]
    quiet: u64,

    /// How long to wait after a Reply before anything is sent, in milliseconds: for a target that would
    /// overlook what comes at once, which is no matter of the cases
    #[arg(long, value_name = "MS", default_value_t = 0)]
    settle: u64,

    /// How long a target that takes no connections after a case is waited for, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    recovery: u64,

    /// A command that starts the target again when it is gone after a case
    #[arg(long, value_name = "COMMAND")]
    restart: Option<String>,

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
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The address for calls cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was given.
        address: String,
        /// Why.
        source: std::io::Error,
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
    let has = |case: &Case, names: &[String]| {
        let mut names = names.iter();
        names.any(|name| case.name.contains(name.as_str()))
    };
    cases.retain(|case| args.only.is_empty() || has(case, &args.only));
    cases.retain(|case| !has(case, &args.skip));
    if args.list {
        for case in &cases {
            list(case, out)?;
        }
        codes::list(out)?;
        reach::list(out)?;
        return Ok(Outcome::default());
    }
    let mut run = set_up(args)?;
    if let Some(callers) = &run.bench.callers {
        // Not among the results, which may be JSON for another program.
        eprintln!("waiting for calls on {}", callers.address());
    }
    let mut outcome = Outcome {
        target: args.target.clone().unwrap_or_default(),
        rows: Vec::new(),
    };
    if !args.json {
        Row::write_head(out)?;
    }
    for case in &cases {
        let row = run.play(case);
        if !args.json {
            row.write(out)?;
            out.flush()?;
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
    writeln!(out, "    due:  {}", case.due_in_words().join(" or "))
}

fn resolve(name: &str) -> Result<SocketAddr, RunError> {
    let bad = |source| RunError::Address {
        name: name.to_owned(),
        source,
    };
    name.to_socket_addrs()
        .map_err(bad)?
        .next()
        .ok_or_else(|| bad(std::io::ErrorKind::NotFound.into()))
}

fn set_up(args: &Args) -> Result<Run, RunError> {
    let millis = |count: u64| Duration::from_millis(count.max(1));
    let callers = match &args.call_me {
        Some(address) => Some(
            Callers::listen(address, args.on_call.clone(), millis(args.call_patience)).map_err(
                |source| RunError::Listen {
                    address: address.clone(),
                    source,
                },
            )?,
        ),
        None => None,
    };
    let mut bench = Bench {
        address: args.target.as_deref().map(resolve).transpose()?,
        profile: Profile::default(),
        patience: Patience {
            answer: millis(args.patience),
            quiet: millis(args.quiet),
            settle: Duration::from_millis(args.settle),
        },
        callers,
        case: String::new(),
    };
    // A connection that is closed at once is too much for some targets.
    let reply = bench.dial(&Dial::default()).map(|(_, reply)| reply);
    if let (Some(address), Err(Trouble::Connect(_))) = (bench.address, &reply) {
        return Err(RunError::Unreachable(address));
    }
    let offer = match (&args.profile, &args.profile_command) {
        (Some(file), _) => Offer::File(file.clone()),
        (None, Some(command)) => Offer::Command(command.clone()),
        (None, None) => Offer::Asked,
    };
    let alive = reply.is_ok();
    offer.first(&mut bench, reply.ok().as_ref())?;
    let mut run = Run::new(bench, offer, alive, Duration::from_secs(args.time_limit));
    run.recovery = Duration::from_millis(args.recovery);
    run.restart.clone_from(&args.restart);
    Ok(run)
}

//! `uwarp bench`: RDMA next to plain TCP, in turns, between the same two processes, and next to other libraries.

mod bytes;
mod peer;
mod plot;
mod rdma;
mod report;
mod results;
mod scenes;
mod targets;
mod task;
mod tcp;
mod tools;
mod usage;

use std::time::{Duration, Instant};

use serde::Serialize;

pub(crate) use peer::run as peer;
pub(crate) use task::Kind;

use crate::args::BenchArgs;
use crate::error::Failure;
use crate::report::say;
use bytes::Bytes;
use peer::Peer;
use rdma::{Outcome, Rdma};
use results::Results;
use task::Task;
use tcp::Plain;
use tools::Others;
use usage::{Meter, Usage};

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Contestant {
    /// Plain TCP
    Tcp,
    /// uwarp, with CRC
    Crc,
    /// uwarp, both ends doing without
    NoCrc,
}

impl Contestant {
    const ALL: [Self; 3] = [Self::Tcp, Self::Crc, Self::NoCrc];

    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "plain TCP",
            Self::Crc => "with CRC",
            Self::NoCrc => "without CRC",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Tcp => "#555",
            Self::Crc => "#c40",
            Self::NoCrc => "#06c",
        }
    }
}

/// How long all rounds together take, about, unless the command line says otherwise.
const SECONDS: u64 = 25;
const FULL_SECONDS: u64 = 600;

/// The effort of the second round, in percent.
const PILOT: u32 = 5;

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    // Before there is any other thread.
    let mut meter = Meter::new();
    let mut peer = Peer::start(args)?;
    let plan = |effort| {
        let mut plan = task::plan(effort, args.full);
        plan.retain(|task| {
            (args.sizes.is_empty() || args.sizes.contains(&u64::from(task.size)))
                && (args.kinds.is_empty() || args.kinds.contains(&task.kind))
        });
        plan
    };
    let budget = Duration::from_secs(
        args.seconds
            .map_or_else(|| if args.full { FULL_SECONDS } else { SECONDS }, u64::from),
    );
    let begun = Instant::now();
    let (mut results, mut others) = (Results::default(), Others::new(&args.sizes));
    let mut order = Contestant::ALL.to_vec();
    order.retain(|one| args.contestants.is_empty() || args.contestants.contains(one));
    let mut round = |plan: &[Task], order: &[Contestant], results: &mut Results| {
        let begun = Instant::now();
        for task in plan {
            turns(&mut peer, &mut meter, order, task, results)?;
        }
        Ok::<_, Failure>(begun.elapsed())
    };
    // Two short rounds tell how long the others may be. In the second one system calls are counted and nothing else.
    let counted: Vec<_> = (plan(PILOT).into_iter())
        .map(|task| Task {
            counted: true,
            ..task
        })
        .collect();
    let least = round(&plan(1), &order, &mut Results::default())?;
    let more = round(&counted, &order, &mut results)?;
    let left = budget.saturating_sub(begun.elapsed()) / (args.rounds + 2);
    let each = more.saturating_sub(least) / (PILOT - 1);
    let effort = left.saturating_sub(least).as_secs_f64() / each.as_secs_f64().max(1e-6);
    let mut effort = (effort as u32).clamp(1, 100);
    for done in 0..args.rounds {
        let started = Instant::now();
        round(&plan(effort), &order, &mut results)?;
        if args.others || args.full {
            others.round();
        }
        // Nobody is always the first.
        order.rotate_left(1);
        tracing::debug!(done, effort, "round");
        // The others' time was not known before.
        let left = budget.saturating_sub(begun.elapsed()).as_secs_f64();
        let wanted = started.elapsed().as_secs_f64() * f64::from(args.rounds - done - 1);
        if wanted > left {
            effort = ((f64::from(effort) * left / wanted) as u32).clamp(1, effort);
        }
    }
    peer.finish()?;
    let is_part = !(args.sizes.is_empty() && args.kinds.is_empty() && args.contestants.is_empty());
    let scenes = if is_part || args.netns.is_some() {
        scenes::Scenes::default()
    } else {
        scenes::run(args.full)
    };
    if let Some(path) = &args.plot {
        std::fs::write(path, plot::svg(&results)).map_err(|error| {
            let what = format!("cannot write {}", path.display());
            Failure::file(what, &error)
        })?;
    }
    let others = others.into_results();
    if args.json {
        say(format_args!(
            "{}",
            report::json(args.rounds, &results, &others, &scenes)
        ))
    } else {
        say(format_args!(
            "{}",
            report::text(args.rounds, &results, &others, &scenes)
        ))
    }
}

/// Lets each contestant do a task once.
fn turns(
    peer: &mut Peer,
    meter: &mut Meter,
    order: &[Contestant],
    task: &Task,
    results: &mut Results,
) -> Result<(), Failure> {
    for &contestant in order {
        let part = match contestant {
            Contestant::Tcp => task.plain(),
            _ => *task,
        };
        let (time, used) = lead(peer, meter, contestant, &part).map_err(|error| {
            let what = format!("{task:?} {} failed", contestant.name());
            Failure::new(what, error, "look at what happened to the second process")
        })?;
        let used = used.plus(peer.usage()?);
        results.add(contestant, task, time, used);
    }
    Ok(())
}

/// Does this end's part of a task; returns the time that it took and what it used.
fn lead(
    peer: &Peer,
    meter: &mut Meter,
    contestant: Contestant,
    task: &Task,
) -> Outcome<(Duration, Usage)> {
    let crc = match contestant {
        Contestant::Tcp => {
            let mut end = Plain::connect(peer.tcp(), *task)?;
            end.lead(task.warm_up())?;
            return metered(meter, task, || Ok(end.lead(task.count)?));
        }
        Contestant::Crc => true,
        Contestant::NoCrc => false,
    };
    if task.kind.is_bytes() {
        let mut end = Bytes::connect(peer.bytes(crc), *task, crc)?;
        end.lead(task.warm_up())?;
        return metered(meter, task, || end.lead(task.count));
    }
    let mut end = Rdma::connect(peer.rdma(crc), *task, crc, peer.emss())?;
    end.lead(task.warm_up())?;
    let measured = metered(meter, task, || end.lead(task.count))?;
    end.close()?;
    Ok(measured)
}

fn metered(
    meter: &mut Meter,
    task: &Task,
    part: impl FnOnce() -> Outcome<()>,
) -> Outcome<(Duration, Usage)> {
    meter.count(task.counted);
    let (before, begun) = (meter.read(), Instant::now());
    part()?;
    let time = begun.elapsed();
    let used = meter.read().since(before);
    meter.count(false);
    Ok((time, used))
}

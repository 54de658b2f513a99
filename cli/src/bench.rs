//! `uwarp bench`: RDMA next to plain TCP, in turns, between the same two processes, and next to other libraries.

mod peer;
mod plot;
mod rdma;
mod report;
mod results;
mod targets;
mod task;
mod tcp;
mod tools;
mod usage;

use std::time::{Duration, Instant};

use serde::Serialize;

pub(crate) use peer::run as peer;

use crate::args::BenchArgs;
use crate::error::Failure;
use crate::report::say;
use peer::Peer;
use rdma::{Outcome, Rdma};
use results::Results;
use task::Task;
use tcp::Plain;
use tools::Others;
use usage::{Meter, Usage};

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Contestant {
    Tcp,
    Crc,
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

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    // Before there is any other thread.
    let mut meter = Meter::new();
    let mut peer = Peer::start()?;
    let mut plan = task::plan(args.effort);
    plan.retain(|task| args.sizes.is_empty() || args.sizes.contains(&u64::from(task.size)));
    let (mut results, mut others) = (Results::default(), Others::new());
    let mut order = Contestant::ALL;
    for number in 0..args.rounds {
        for task in &plan {
            turns(&mut peer, &mut meter, order, task, &mut results)?;
        }
        if args.others {
            others.round();
        }
        // Nobody is always the first.
        order.rotate_left(1);
        tracing::debug!(number, "round");
    }
    for task in &plan {
        let task = Task {
            counted: true,
            ..*task
        };
        turns(&mut peer, &mut meter, order, &task, &mut results)?;
    }
    peer.finish()?;
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
            report::json(args.rounds, &results, &others)
        ))
    } else {
        say(format_args!(
            "{}",
            report::text(args.rounds, &results, &others)
        ))
    }
}

/// Lets each contestant do a task once.
fn turns(
    peer: &mut Peer,
    meter: &mut Meter,
    order: [Contestant; 3],
    task: &Task,
    results: &mut Results,
) -> Result<(), Failure> {
    for contestant in order {
        let task = match contestant {
            Contestant::Tcp => task.plain(),
            _ => *task,
        };
        let (time, used) = lead(peer, meter, contestant, &task).map_err(|error| {
            let what = format!("{task:?} {} failed", contestant.name());
            Failure::new(what, error, "look at what happened to the second process")
        })?;
        let used = used.plus(peer.usage()?);
        results.add(contestant, &task, time, used);
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
    let mut end = Rdma::connect(peer.rdma(crc), *task, crc)?;
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

//! `uwarp bench`: RDMA next to plain TCP, in turns, between the same two processes.

mod peer;
mod report;
mod tcp;

use std::time::{Duration, Instant};

pub(crate) use peer::run as peer;

use crate::args::BenchArgs;
use crate::child::Child;
use crate::echo::Echo;
use crate::error::Failure;
use crate::ping;
use crate::report::say;
use crate::session::SessionError;
use crate::terms::Terms;
use peer::Addresses;
use report::Report;
use tcp::{Stream, Task};

/// Octets of each Write.
const WRITE_SIZE: u32 = 1 << 20;
/// Octets of each Send.
const SEND_SIZE: u32 = 64;

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let mut child = Child::start(Child::command("bench-peer")?)?;
    let addresses = Addresses::parse(&child.line()?)?;
    let mut contestants = contestants(&addresses)?;
    let mut report = Report::new(args, contestants.iter().map(|contestant| contestant.name));
    round(&mut contestants, 8, 100, &mut |_, _, _| {})?;
    for number in 0..args.rounds {
        round(
            &mut contestants,
            args.writes,
            args.sends,
            &mut |name, rate, latency| {
                report.add(name, rate, latency);
            },
        )?;
        // Nobody is always the first.
        contestants.rotate_left(1);
        tracing::debug!(number, "round");
    }
    for contestant in contestants {
        contestant.close()?;
    }
    child.finish()?;
    say(format_args!("{}", report.text(args.json)))
}

/// One of those that are compared, with a connection for each measurement.
struct Contestant {
    name: &'static str,
    lane: Lane,
}

enum Lane {
    Tcp { bulk: Stream, small: Stream },
    Rdma { bulk: Box<Echo>, small: Box<Echo> },
}

fn contestants(addresses: &Addresses) -> Result<Vec<Contestant>, Failure> {
    let rdma = |address: &str, crc| -> Result<Lane, Failure> {
        let terms = Terms {
            crc,
            ..Terms::default()
        };
        Ok(Lane::Rdma {
            bulk: Box::new(ping::connect(address, WRITE_SIZE, &terms)?),
            small: Box::new(ping::connect(address, SEND_SIZE, &terms)?),
        })
    };
    let tcp = |task| Stream::connect(&addresses.tcp, task).map_err(plain_failed);
    Ok(vec![
        Contestant {
            name: "plain TCP",
            lane: Lane::Tcp {
                bulk: tcp(Task::Take)?,
                small: tcp(Task::Echo)?,
            },
        },
        Contestant {
            name: "RDMA with CRC",
            lane: rdma(&addresses.crc, true)?,
        },
        Contestant {
            name: "RDMA without CRC",
            lane: rdma(&addresses.no_crc, false)?,
        },
    ])
}

/// Lets each contestant have its turn; `done` gets the name, the octets a second and the median time there and
/// back.
fn round(
    contestants: &mut [Contestant],
    writes: u32,
    sends: u32,
    done: &mut impl FnMut(&'static str, f64, Duration),
) -> Result<(), Failure> {
    let octets = u64::from(writes) * u64::from(WRITE_SIZE);
    for contestant in contestants {
        let begun = Instant::now();
        contestant.write(writes)?;
        let rate = crate::units::per_second(octets, begun.elapsed());
        let mut times = contestant.send(sends)?;
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        done(contestant.name, rate, median);
    }
    Ok(())
}

impl Contestant {
    /// Moves `count` Writes' worth of octets, all of which have arrived when this returns.
    fn write(&mut self, count: u32) -> Result<(), Failure> {
        match &mut self.lane {
            Lane::Tcp { bulk, .. } => bulk.give(count).map_err(plain_failed),
            Lane::Rdma { bulk, .. } => bulk.write_many(count).map_err(rdma_failed),
        }
    }

    /// Sends and waits for the echo, `count` times; gives the time of each.
    fn send(&mut self, count: u32) -> Result<Vec<Duration>, Failure> {
        match &mut self.lane {
            Lane::Tcp { small, .. } => {
                let mut time = || {
                    let begun = Instant::now();
                    small.echo().map(|()| begun.elapsed())
                };
                (0..count)
                    .map(|_| time())
                    .collect::<Result<_, _>>()
                    .map_err(plain_failed)
            }
            Lane::Rdma { small, .. } => {
                ping::measure(count, || small.send(SEND_SIZE)).map_err(rdma_failed)
            }
        }
    }

    fn close(self) -> Result<(), Failure> {
        match self.lane {
            Lane::Tcp { .. } => Ok(()),
            Lane::Rdma { bulk, small } => bulk
                .close()
                .and_then(|()| small.close())
                .map_err(rdma_failed),
        }
    }
}

fn rdma_failed(error: SessionError) -> Failure {
    Failure::session("the RDMA connection to the second process failed", &error)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "this is what map_err hands over"
)]
fn plain_failed(error: std::io::Error) -> Failure {
    let remedy = "look at what happened to the second process";
    Failure::new(
        "the TCP connection to the second process failed",
        error,
        remedy,
    )
}

//! `uwarp ping`: how long one operation takes.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::args::PingArgs;
use crate::echo::Echo;
use crate::error::Failure;
use crate::report::say;
use crate::session::{ConnectError, SessionError};
use crate::terms::{Terms, describe};

/// Operations before those that are measured.
const WARM_UP: u32 = 100;

pub(crate) fn run(args: &PingArgs) -> Result<(), Failure> {
    let mut echo = connect(&args.peer, args.size, &args.terms.terms())?;
    let latencies =
        measure_all(&mut echo, args.count, args.size).map_err(|error| lost(&args.peer, &error))?;
    let terms = echo.established().map(|established| describe(&established));
    echo.close().map_err(|error| lost(&args.peer, &error))?;
    if args.json {
        let report = Report {
            peer: &args.peer,
            count: args.count,
            size: args.size,
            latencies,
        };
        let json = serde_json::to_string(&report).unwrap_or_default();
        return say(format_args!("{json}"));
    }
    say(format_args!("{}: {}", args.peer, terms.unwrap_or_default()))?;
    say(format_args!(
        "{} times {} octets each; latency in microseconds:",
        args.count, args.size
    ))?;
    say(format_args!(
        "{:11}{:>10}{:>10}{:>10}{:>10}",
        "", "p50", "p90", "p99", "max"
    ))?;
    for latency in latencies {
        say(format_args!(
            "{:11}{:10.1}{:10.1}{:10.1}{:10.1}",
            latency.operation, latency.p50, latency.p90, latency.p99, latency.max
        ))?;
    }
    Ok(())
}

pub(crate) fn connect(peer: &str, size: u32, terms: &Terms) -> Result<Echo, Failure> {
    Echo::connect(peer, size, terms).map_err(|error| match error {
        ConnectError::Setup(error) => Failure::setup(peer, &error),
        ConnectError::Session(error) => Failure::session(format!("cannot talk to {peer}"), &error),
    })
}

fn lost(peer: &str, error: &SessionError) -> Failure {
    Failure::session(format!("cannot measure {peer}"), error)
}

fn measure_all(echo: &mut Echo, count: u32, size: u32) -> Result<[Latency; 3], SessionError> {
    Ok([
        Latency::of("send", measure(count, || echo.send(size))?),
        Latency::of("write+send", measure(count, || echo.write_and_send())?),
        Latency::of("read", measure(count, || echo.read())?),
    ])
}

/// How long each of `count` calls takes.
pub(crate) fn measure(
    count: u32,
    mut operation: impl FnMut() -> Result<(), SessionError>,
) -> Result<Vec<Duration>, SessionError> {
    for _ in 0..WARM_UP.min(count) {
        operation()?;
    }
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            operation()?;
            Ok(begun.elapsed())
        })
        .collect()
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    peer: &'a str,
    count: u32,
    size: u32,
    latencies: [Latency; 3],
}

/// Percentiles of an operation's latency, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) operation: &'static str,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    pub(crate) fn of(operation: &'static str, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let percentile = |percent: usize| {
            // The smallest time that so many of a hundred do not exceed.
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times
                .get(rank - 1)
                .map_or(0.0, |time| time.as_nanos() as f64 / 1e3)
        };
        Self {
            operation,
            p50: percentile(50),
            p90: percentile(90),
            p99: percentile(99),
            max: percentile(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let times = (1..=200).rev().map(Duration::from_micros).collect();
        let latency = Latency::of("send", times);
        let found = [latency.p50, latency.p90, latency.p99, latency.max];
        assert_eq!(found, [100.0, 180.0, 198.0, 200.0]);
        let one = Latency::of("send", vec![Duration::from_micros(7)]);
        assert_eq!([one.p50, one.max], [7.0, 7.0]);
    }
}

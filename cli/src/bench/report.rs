//! What the rounds come to.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::{SEND_SIZE, WRITE_SIZE};
use crate::args::BenchArgs;
use crate::units;

/// The results of all rounds; the first contestant is the one that others are compared with.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    rounds: u32,
    writes_per_round: u32,
    write_size: u32,
    sends_per_round: u32,
    send_size: u32,
    contestants: Vec<Results>,
}

/// One contestant's results.
#[derive(Debug, Default, Serialize)]
struct Results {
    name: &'static str,
    /// Octets a second, each round.
    throughput: Vec<f64>,
    throughput_median: f64,
    /// Relative to the first contestant's median; larger is better.
    throughput_ratio: f64,
    /// Microseconds for a Send and its echo, the median of each round.
    round_trip_us: Vec<f64>,
    round_trip_us_median: f64,
    /// Relative to the first contestant's median; smaller is better.
    round_trip_ratio: f64,
}

impl Report {
    pub(super) fn new(args: &BenchArgs, names: impl Iterator<Item = &'static str>) -> Self {
        let contestants = names.map(|name| Results {
            name,
            ..Results::default()
        });
        Self {
            rounds: args.rounds,
            writes_per_round: args.writes,
            write_size: WRITE_SIZE,
            sends_per_round: args.sends,
            send_size: SEND_SIZE,
            contestants: contestants.collect(),
        }
    }

    pub(super) fn add(&mut self, name: &str, rate: f64, round_trip: Duration) {
        let contestant = self.contestants.iter_mut().find(|found| found.name == name);
        if let Some(results) = contestant {
            results.throughput.push(rate);
            results
                .round_trip_us
                .push(round_trip.as_nanos() as f64 / 1e3);
        }
    }

    pub(super) fn text(mut self, json: bool) -> String {
        self.compare();
        if json {
            serde_json::to_string(&self).unwrap_or_default()
        } else {
            self.table()
        }
    }

    fn compare(&mut self) {
        for results in &mut self.contestants {
            results.throughput_median = median(&results.throughput);
            results.round_trip_us_median = median(&results.round_trip_us);
        }
        let (rate, time) = self.contestants.first().map_or((1.0, 1.0), |first| {
            (first.throughput_median, first.round_trip_us_median)
        });
        for results in &mut self.contestants {
            results.throughput_ratio = ratio(results.throughput_median, rate);
            results.round_trip_ratio = ratio(results.round_trip_us_median, time);
        }
    }

    fn table(&self) -> String {
        let mut out = format!(
            "medians of {} rounds: {} Writes of {}, then {} Sends of {} octets and their echoes\n",
            self.rounds,
            self.writes_per_round,
            units::size(self.write_size.into()),
            self.sends_per_round,
            self.send_size
        );
        let _ = write!(
            out,
            "{:18}{:>12}{:>8}{:>16}{:>8}",
            "", "throughput", "ratio", "there and back", "ratio"
        );
        for results in &self.contestants {
            let _ = write!(
                out,
                "\n{:18}{:>12}{:8.2}{:>13.1} us{:8.2}",
                results.name,
                format!("{}/s", units::size(results.throughput_median as u64)),
                results.throughput_ratio,
                results.round_trip_us_median,
                results.round_trip_ratio
            );
        }
        out
    }
}

fn ratio(value: f64, base: f64) -> f64 {
    if base > 0.0 { value / base } else { 0.0 }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => 0.0,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(*upper, values[middle - 1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn ratios_are_those_of_the_medians() {
        let args = BenchArgs {
            rounds: 1,
            writes: 2,
            sends: 3,
            json: false,
        };
        let mut report = Report::new(&args, ["a", "b"].into_iter());
        report.add("b", 3e9, Duration::from_micros(30));
        report.add("a", 4e9, Duration::from_micros(10));
        report.compare();
        let b = &report.contestants[1];
        assert_eq!((b.throughput_ratio, b.round_trip_ratio), (0.75, 3.0));
        let table = report.table();
        assert_eq!(table.lines().count(), 4);
        let json: serde_json::Value = serde_json::from_str(&report.text(true)).unwrap();
        assert_eq!(json["contestants"][1]["throughput_ratio"], 0.75);
    }
}

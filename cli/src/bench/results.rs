//! What the rounds come to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::Contestant;
use super::task::{Kind, Task};
use super::usage::Usage;

/// What one contestant was measured doing. Plain TCP is measured next to each kind of operation anew, and has that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(super) struct Key {
    pub(super) contestant: Contestant,
    pub(super) kind: Kind,
    pub(super) busy: bool,
    pub(super) size: u32,
}

/// The measurements of one key.
#[derive(Clone, Debug, Default)]
struct Samples {
    /// Seconds for an operation; there and back for a ping-pong.
    seconds: Vec<f64>,
    /// Processor seconds of both ends for an operation.
    cpu: Vec<f64>,
    /// Of both ends, for an operation.
    switches: Vec<f64>,
    allocations: Vec<f64>,
    /// The same, once.
    calls: Option<f64>,
}

/// The medians of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) rounds: usize,
    /// Median of the rounds: microseconds for an operation, one way (half of there and back).
    pub(super) us: f64,
    /// The fastest and the slowest round.
    pub(super) us_min: f64,
    pub(super) us_max: f64,
    /// Octets a second, one way.
    pub(super) octets_per_second: f64,
    pub(super) messages_per_second: f64,
    /// Processor seconds of both ends for 10^9 octets.
    pub(super) cpu_seconds_per_gb: f64,
    /// Processor time of both ends for an operation, in microseconds.
    pub(super) cpu_us: f64,
    pub(super) context_switches: f64,
    pub(super) allocations: f64,
    /// Of both ends; absent where the kernel does not let us count.
    pub(super) system_calls: Option<f64>,
}

/// A median and its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            median: median(values)?,
            least: values.iter().copied().reduce(f64::min)?,
            greatest: values.iter().copied().reduce(f64::max)?,
        })
    }

    /// The same of one divided by the values.
    pub(super) fn inverse(self) -> Self {
        Self {
            median: 1.0 / self.median,
            least: 1.0 / self.greatest,
            greatest: 1.0 / self.least,
        }
    }
}

/// All measurements.
#[derive(Debug, Default)]
pub(super) struct Results(BTreeMap<Key, Samples>);

impl Results {
    /// Adds what a task took. Of a task whose system calls were counted nothing else counts.
    pub(super) fn add(&mut self, contestant: Contestant, task: &Task, time: Duration, used: Usage) {
        let key = Key {
            contestant,
            kind: task.kind,
            busy: task.busy,
            size: task.size,
        };
        let samples = self.0.entry(key).or_default();
        let count = f64::from(task.count);
        if task.counted {
            samples.calls = used.calls.map(|calls| calls as f64 / count);
            return;
        }
        samples.seconds.push(time.as_secs_f64() / count);
        samples.cpu.push(used.cpu / count);
        samples.switches.push(used.switches as f64 / count);
        samples.allocations.push(used.allocations as f64 / count);
    }

    pub(super) fn summary(&self, key: Key) -> Option<Summary> {
        let samples = self.0.get(&key)?;
        let ways = if key.kind.is_ping() { 2.0 } else { 1.0 };
        let us = |seconds: f64| seconds * 1e6 / ways;
        let of = |choose: fn(f64, f64) -> f64| samples.seconds.iter().copied().reduce(choose);
        let second = median(&samples.seconds)? / ways;
        let octets = f64::from(key.size) * ways;
        let cpu = median(&samples.cpu)?;
        Some(Summary {
            key,
            rounds: samples.seconds.len(),
            us: second * 1e6,
            us_min: us(of(f64::min)?),
            us_max: us(of(f64::max)?),
            octets_per_second: f64::from(key.size) / second,
            messages_per_second: 1.0 / second,
            cpu_seconds_per_gb: cpu / octets * 1e9,
            cpu_us: cpu * 1e6,
            context_switches: median(&samples.switches)?,
            allocations: median(&samples.allocations)?,
            system_calls: samples.calls,
        })
    }

    /// The time for an operation divided by that of `base` in the same round: the median of the rounds, the least and
    /// the greatest.
    pub(super) fn time_ratio(&self, key: Key, base: Key) -> Option<Spread> {
        self.ratio(key, base, |samples| &samples.seconds)
    }

    /// The same of the processor time of both ends.
    pub(super) fn cpu_ratio(&self, key: Key, base: Key) -> Option<Spread> {
        self.ratio(key, base, |samples| &samples.cpu)
    }

    fn ratio(&self, key: Key, base: Key, of: fn(&Samples) -> &Vec<f64>) -> Option<Spread> {
        let (ours, theirs) = (of(self.0.get(&key)?), of(self.0.get(&base)?));
        let ratios: Vec<f64> = (ours.iter().zip(theirs))
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        Spread::of(&ratios)
    }

    pub(super) fn summaries(&self) -> Vec<Summary> {
        (self.0.keys())
            .filter_map(|&key| self.summary(key))
            .collect()
    }
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(match values.len() % 2 {
        1 => upper,
        _ => f64::midpoint(upper, values[middle - 1]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn rounds_become_medians_and_counting_rounds_do_not() {
        let mut results = Results::default();
        let mut task = Task::new(Kind::SendPing, true, 1000, 100);
        task.count = 10;
        let used = |cpu: f64| Usage {
            cpu,
            switches: 20,
            allocations: 0,
            calls: Some(60),
        };
        for millis in [3, 1, 2] {
            let time = Duration::from_millis(millis);
            results.add(Contestant::Crc, &task, time, used(1e-3));
        }
        task.counted = true;
        results.add(Contestant::Crc, &task, Duration::from_secs(9), used(9.0));
        let key = Key {
            contestant: Contestant::Crc,
            kind: Kind::SendPing,
            busy: true,
            size: 1000,
        };
        let summary = results.summary(key).unwrap();
        // 2 ms for 10 there and back.
        assert!((summary.us - 100.0).abs() < 1e-6, "{summary:?}");
        assert!((summary.us_max - 150.0).abs() < 1e-6, "{summary:?}");
        assert!((summary.cpu_us - 100.0).abs() < 1e-6, "{summary:?}");
        assert_eq!((summary.rounds, summary.context_switches), (3, 2.0));
        assert_eq!(summary.system_calls, Some(6.0));
        assert_eq!(results.summaries().len(), 1);
    }
}

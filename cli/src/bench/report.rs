//! The results as text and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;

use super::Contestant;
use super::results::{Key, Results, Summary};
use super::scenes::Scenes;
use super::targets::{Verdict, verdicts};
use super::task::Kind;
use super::tools::{self, Other};
use crate::units;

/// Everything, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    rounds: u32,
    measurements: Vec<Summary>,
    targets: Vec<Verdict>,
    other_libraries: &'a [Other],
    scenes: &'a Scenes,
}

fn all_verdicts(results: &Results, others: &[Other], scenes: &Scenes) -> Vec<Verdict> {
    let mut all = verdicts(results);
    all.extend(tools::verdicts(others, results));
    all.extend(scenes.verdicts());
    all
}

pub(super) fn json(rounds: u32, results: &Results, others: &[Other], scenes: &Scenes) -> String {
    let report = Report {
        rounds,
        measurements: results.summaries(),
        targets: all_verdicts(results, others, scenes),
        other_libraries: others,
        scenes,
    };
    serde_json::to_string(&report).unwrap_or_default()
}

pub(super) fn text(rounds: u32, results: &Results, others: &[Other], scenes: &Scenes) -> String {
    let mut out = format!(
        "Medians of {rounds} rounds, in brackets the fastest and the slowest. The ratio is that to plain TCP in the same \
         round, its\nmedian. The columns behind it are for one operation (of a ping-pong: there and back), both ends \
         together:\nprocessor time, context switches, system calls, allocations.\n"
    );
    for (kind, busy) in [
        (Kind::Write, false),
        (Kind::Send, false),
        (Kind::Read, false),
        (Kind::SendPing, false),
        (Kind::SendPing, true),
        (Kind::WritePing, true),
        (Kind::Bytes, false),
        (Kind::BytesPing, false),
    ] {
        curve(&mut out, results, kind, busy);
    }
    out.push_str(&scenes.text());
    let _ = writeln!(
        out,
        "\nRatios that are aimed at: median of the rounds, least and greatest"
    );
    for verdict in all_verdicts(results, others, scenes) {
        let sign = if verdict.larger_is_better { ">=" } else { "<=" };
        let _ = writeln!(
            out,
            "  {:66}{:12}{:7.2} {:17} {sign} {:5.2}  {}",
            verdict.what,
            verdict.contestant.name(),
            verdict.ratio,
            format!("[{:.2} .. {:.2}]", verdict.least, verdict.greatest),
            verdict.target,
            if verdict.reached { "met" } else { "missed" }
        );
    }
    let _ = write!(out, "\nOther libraries over TCP, in the same rounds");
    for other in others {
        let _ = write!(out, "\n  {}", other.line(results));
    }
    out
}

/// The sizes of one kind of operation.
fn curve(out: &mut String, results: &Results, kind: Kind, busy: bool) {
    let summaries = results.summaries();
    let sizes: BTreeSet<u32> = (summaries.iter())
        .filter(|summary| (summary.key.kind, summary.key.busy) == (kind, busy))
        .map(|summary| summary.key.size)
        .collect();
    if sizes.is_empty() {
        return;
    }
    let way = match (kind.is_ping(), busy) {
        (false, _) => "",
        (true, false) => ", blocking: time one way",
        (true, true) => ", busy: time one way",
    };
    let _ = writeln!(
        out,
        "\n{:42}{:>28}{:>7}{:>10}{:>9}{:>9}{:>8}",
        format!("{}{way}", kind.name()),
        "",
        "ratio",
        "cpu us",
        "switches",
        "calls",
        "allocs"
    );
    for size in sizes {
        let tcp = Key {
            contestant: Contestant::Tcp,
            kind,
            busy,
            size,
        };
        for contestant in Contestant::ALL {
            let key = Key { contestant, ..tcp };
            if let Some(summary) = results.summary(key) {
                let ratio = results.time_ratio(key, tcp).map(|time| {
                    let ratio = if kind.is_ping() { time } else { time.inverse() };
                    ratio.median
                });
                line(out, &summary, ratio);
            }
        }
    }
}

fn line(out: &mut String, summary: &Summary, ratio: Option<f64>) {
    let key = summary.key;
    let latency = key.kind.is_ping();
    let value = |us: f64| {
        if latency {
            format!("{us:.1} us")
        } else if key.size < 4096 {
            format!("{:.2} M/s", 1.0 / us)
        } else {
            format!("{:.2} GB/s", f64::from(key.size) / us / 1e3)
        }
    };
    let spread = format!("[{} .. {}]", value(summary.us_min), value(summary.us_max));
    let calls =
        (summary.system_calls).map_or_else(|| "?".to_owned(), |calls| format!("{calls:.2}"));
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    let _ = writeln!(
        out,
        "  {:11}{:13}{:>13} {:30}{:>7}{:10.2}{:9.3}{:>9}{:8.3}",
        units::size(key.size.into()),
        key.contestant.name(),
        value(summary.us),
        spread,
        ratio,
        summary.cpu_us,
        summary.context_switches,
        calls,
        summary.allocations
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::task::Task;
    use super::super::usage::Usage;
    use super::*;

    fn results() -> Results {
        let mut results = Results::default();
        for contestant in Contestant::ALL {
            let task = Task::new(Kind::Write, false, 64, 100);
            let time = Duration::from_millis(100);
            results.add(contestant, &task, time, Usage::default());
        }
        results
    }

    #[test]
    fn each_contestant_has_a_line() {
        let text = text(1, &results(), &[], &Scenes::default());
        for name in Contestant::ALL.map(Contestant::name) {
            let lines = text.lines().filter(|line| line.contains("64 octets"));
            assert!(
                lines.into_iter().any(|line| line.contains(name)),
                "{name} in {text}"
            );
        }
        assert!(text.contains("missed"), "{text}");
    }

    #[test]
    fn programs_get_everything() {
        let json = json(1, &results(), &[], &Scenes::default());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let measurements = json["measurements"].as_array().unwrap();
        assert_eq!(measurements.len(), 3);
        assert_eq!(measurements[0]["contestant"], "tcp");
        assert_eq!(measurements[1]["size"], 64);
        assert_eq!(json["targets"].as_array().unwrap().len(), 2);
    }
}

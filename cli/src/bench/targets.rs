//! What is aimed at: ratios to plain TCP in the same run.

use serde::Serialize;

use super::Contestant;
use super::results::{Key, Results, Spread};
use super::task::Kind;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Octets a second; larger is better.
    Throughput,
    /// Time one way; smaller is better.
    Latency,
    /// Processor time for an octet, of both ends; smaller is better.
    Cpu,
}

impl Measure {
    const fn larger_is_better(self) -> bool {
        matches!(self, Self::Throughput)
    }
}

/// One thing that is aimed at.
#[derive(Clone, Copy, Debug)]
struct Target {
    measure: Measure,
    kind: Kind,
    busy: bool,
    size: u32,
    /// Compared with RDMA Writes of that size rather than with plain TCP.
    with_writes: bool,
    crc: f64,
    no_crc: f64,
}

const fn against_tcp(
    measure: Measure,
    (kind, busy, size): (Kind, bool, u32),
    crc: f64,
    no_crc: f64,
) -> Target {
    Target {
        measure,
        kind,
        busy,
        size,
        with_writes: false,
        crc,
        no_crc,
    }
}

const fn reads(size: u32) -> Target {
    Target {
        with_writes: true,
        ..against_tcp(Measure::Throughput, (Kind::Read, false, size), 0.9, 0.9)
    }
}

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

const TARGETS: [Target; 16] = [
    against_tcp(Measure::Throughput, (Kind::Write, false, MIB), 0.78, 0.98),
    against_tcp(
        Measure::Throughput,
        (Kind::Write, false, 64 * KIB),
        0.78,
        1.0,
    ),
    against_tcp(Measure::Throughput, (Kind::Write, false, 4 * KIB), 2.5, 3.0),
    against_tcp(Measure::Throughput, (Kind::Write, false, 64), 8.0, 10.0),
    against_tcp(Measure::Throughput, (Kind::Send, false, 64), 8.0, 10.0),
    against_tcp(
        Measure::Throughput,
        (Kind::Send, false, 64 * KIB),
        0.75,
        0.92,
    ),
    reads(MIB),
    reads(64 * KIB),
    reads(4 * KIB),
    against_tcp(Measure::Latency, (Kind::SendPing, false, 64), 1.15, 1.12),
    against_tcp(Measure::Latency, (Kind::SendPing, true, 64), 1.18, 1.15),
    against_tcp(Measure::Latency, (Kind::WritePing, true, 64), 1.18, 1.15),
    against_tcp(
        Measure::Latency,
        (Kind::WritePing, true, 64 * KIB),
        1.3,
        1.08,
    ),
    against_tcp(Measure::Latency, (Kind::WritePing, true, MIB), 1.3, 1.08),
    against_tcp(
        Measure::Throughput,
        (Kind::Bytes, false, 64 * KIB),
        0.75,
        0.85,
    ),
    against_tcp(Measure::Cpu, (Kind::Write, false, MIB), 1.5, 1.08),
];

/// A target and what was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) contestant: Contestant,
    /// The median of the rounds, the least and the greatest.
    pub(super) ratio: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
    /// The least that the ratio should be, or the most.
    pub(super) target: f64,
    pub(super) larger_is_better: bool,
    pub(super) reached: bool,
}

impl Verdict {
    pub(super) fn new(
        what: String,
        contestant: Contestant,
        spread: Spread,
        target: f64,
        larger_is_better: bool,
    ) -> Self {
        let ratio = spread.median;
        Self {
            what,
            contestant,
            ratio,
            least: spread.least,
            greatest: spread.greatest,
            target,
            larger_is_better,
            reached: if larger_is_better {
                ratio >= target
            } else {
                ratio <= target
            },
        }
    }
}

/// The targets whose measurements are there.
pub(super) fn verdicts(results: &Results) -> Vec<Verdict> {
    let judge = |target: &Target, contestant| {
        let key = Key {
            contestant,
            kind: target.kind,
            busy: target.busy,
            size: target.size,
        };
        let base = if target.with_writes {
            Key {
                kind: Kind::Write,
                ..key
            }
        } else {
            Key {
                contestant: Contestant::Tcp,
                ..key
            }
        };
        let spread = match target.measure {
            Measure::Throughput => results.time_ratio(key, base)?.inverse(),
            Measure::Latency => results.time_ratio(key, base)?,
            Measure::Cpu => results.cpu_ratio(key, base)?,
        };
        let aim = match contestant {
            Contestant::NoCrc => target.no_crc,
            _ => target.crc,
        };
        let larger_is_better = target.measure.larger_is_better();
        Some(Verdict::new(
            describe(target),
            contestant,
            spread,
            aim,
            larger_is_better,
        ))
    };
    (TARGETS.iter())
        .flat_map(|target| {
            [Contestant::Crc, Contestant::NoCrc].map(|contestant| judge(target, contestant))
        })
        .flatten()
        .collect()
}

fn describe(target: &Target) -> String {
    let measure = match target.measure {
        Measure::Throughput => "throughput",
        Measure::Latency => "latency",
        Measure::Cpu => "processor time",
    };
    let way = match (target.kind.is_ping(), target.busy) {
        (false, _) => "",
        (true, false) => ", blocking",
        (true, true) => ", busy",
    };
    let base = if target.with_writes {
        "Writes"
    } else {
        "plain TCP"
    };
    format!(
        "{} of {}{way}: {measure} against {base}",
        target.kind.name(),
        crate::units::size(target.size.into())
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::task::Task;
    use super::super::usage::Usage;
    use super::*;

    #[test]
    fn ratios_are_judged_by_what_is_better() {
        let mut results = Results::default();
        let mut add = |contestant, kind, busy, millis| {
            let task = Task::new(kind, busy, 64, 100);
            let time = Duration::from_millis(millis);
            results.add(contestant, &task, time, Usage::default());
        };
        add(Contestant::Tcp, Kind::Write, false, 900);
        add(Contestant::Crc, Kind::Write, false, 100);
        add(Contestant::NoCrc, Kind::Write, false, 100);
        add(Contestant::Tcp, Kind::SendPing, true, 100);
        add(Contestant::Crc, Kind::SendPing, true, 117);
        add(Contestant::NoCrc, Kind::SendPing, true, 117);
        let verdicts = verdicts(&results);
        let seen: Vec<_> = (verdicts.iter())
            .map(|verdict| (verdict.contestant, verdict.reached))
            .collect();
        let (with, without) = (Contestant::Crc, Contestant::NoCrc);
        assert_eq!(
            seen,
            [
                (with, true),
                (without, false),
                (with, true),
                (without, false)
            ]
        );
        assert!((verdicts[0].ratio - 9.0).abs() < 1e-9, "{verdicts:?}");
        assert!((verdicts[2].ratio - 1.17).abs() < 1e-9, "{verdicts:?}");
    }
}

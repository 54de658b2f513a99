//! Scenes that are not one connection alone: many busy connections, one busy connection among many that are open, and
//! an other end whose processors have something else to do.

mod crowd;
mod one_sided;
mod ping;

use std::fmt::Write;

use serde::Serialize;

use super::Contestant;
use super::results::Spread;
use super::targets::Verdict;

/// What the scenes came to; empty where they could not be set up.
#[derive(Debug, Default, Serialize)]
pub(super) struct Scenes {
    crowd: Option<Crowd>,
    open: Vec<Open>,
    one_sided: Vec<OneSided>,
    /// What went wrong.
    missing: Vec<String>,
}

/// Many connections that are busy with Sends of 4 KiB.
#[derive(Debug, Serialize)]
struct Crowd {
    connections: usize,
    /// Messages a second on all connections together: over plain TCP, with CRC, without.
    messages_per_second: [Spread; 3],
    /// Divided by those over plain TCP in the same round: with CRC, without.
    ratios: [Spread; 2],
}

/// Sends there and back on one connection while others are open.
#[derive(Clone, Copy, Debug, Serialize)]
struct Open {
    connections: usize,
    /// Microseconds one way.
    us: Spread,
    /// Processor time of both ends for there and back, in microseconds.
    cpu_us: Spread,
}

/// How long single operations take, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct OneSided {
    operation: &'static str,
    /// Threads of the responder compute on all processors.
    busy: bool,
    p50: f64,
    p99: f64,
    count: usize,
}

/// Connections of the crowd.
const CONNECTIONS: usize = 1_000;

/// Plays all scenes.
pub(super) fn run(full: bool) -> Scenes {
    let mut scenes = Scenes::default();
    match crowd::run(CONNECTIONS, if full { 7 } else { 3 }) {
        Ok(crowd) => scenes.crowd = Some(crowd),
        Err(error) => scenes.missing.push(format!("busy connections: {error}")),
    }
    let counts: &[usize] = if full {
        &[1, 10, 100, 1_000, 10_000]
    } else {
        &[1, 100, 1_000]
    };
    if let Err(error) = ping::among(counts, &mut scenes.open) {
        scenes.missing.push(format!("open connections: {error}"));
    }
    if let Err(error) = one_sided::run(&mut scenes.one_sided) {
        scenes.missing.push(format!("a busy responder: {error}"));
    }
    scenes
}

impl Scenes {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if let Some(crowd) = &self.crowd {
            let _ = writeln!(
                out,
                "\n{} connections busy with Sends of 4.0 KiB, thousand messages a second together",
                crowd.connections
            );
            for (contestant, rate) in Contestant::ALL.iter().zip(&crowd.messages_per_second) {
                let _ = writeln!(
                    out,
                    "  {:13}{:9.1} [{:.1} .. {:.1}]",
                    contestant.name(),
                    rate.median / 1e3,
                    rate.least / 1e3,
                    rate.greatest / 1e3
                );
            }
        }
        if !self.open.is_empty() {
            let _ = writeln!(
                out,
                "\nSend ping-pong of 64 octets on one connection with CRC, blocking, while others are open"
            );
        }
        for open in &self.open {
            let _ = writeln!(
                out,
                "  {:6} open {:9.1} us one way [{:.1} .. {:.1}], processor time there and back {:.1} us",
                open.connections,
                open.us.median,
                open.us.least,
                open.us.greatest,
                open.cpu_us.median
            );
        }
        if !self.one_sided.is_empty() {
            let _ = writeln!(
                out,
                "\n64 octets from the other end, whose own threads are idle or compute on all processors"
            );
        }
        for seen in &self.one_sided {
            let _ = writeln!(
                out,
                "  {:34}{:6} p50 {:9.1} us   p99 {:9.1} us   ({} times)",
                seen.operation,
                if seen.busy { "busy" } else { "idle" },
                seen.p50,
                seen.p99,
                seen.count
            );
        }
        for missing in &self.missing {
            let _ = writeln!(out, "\nnot measured: {missing}");
        }
        out
    }

    /// What is aimed at.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if let Some(crowd) = &self.crowd {
            let aims = [(Contestant::Crc, 1.0), (Contestant::NoCrc, 1.2)];
            for ((contestant, aim), ratio) in aims.into_iter().zip(crowd.ratios) {
                let what = format!(
                    "Sends on {} connections: rate against plain TCP",
                    crowd.connections
                );
                verdicts.push(Verdict::new(what, contestant, ratio, aim, true));
            }
        }
        if let (Some(one), Some(many)) = (self.open.first(), self.open.last())
            && many.connections > one.connections
        {
            let ratio = Spread {
                median: many.cpu_us.median / one.cpu_us.median,
                least: many.cpu_us.least / one.cpu_us.greatest,
                greatest: many.cpu_us.greatest / one.cpu_us.least,
            };
            let what = format!(
                "Processor time of an operation, {} connections open against 1",
                many.connections
            );
            verdicts.push(Verdict::new(what, Contestant::Crc, ratio, 1.3, false));
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_crowd_gets_all_its_messages() {
        let crowd = crowd::run(20, 2).unwrap();
        assert_eq!(crowd.connections, 20);
        let positive = |spread: &Spread| spread.least > 0.0 && spread.greatest.is_finite();
        assert!(crowd.messages_per_second.iter().all(positive), "{crowd:?}");
        assert!(crowd.ratios.iter().all(positive), "{crowd:?}");
    }

    #[test]
    fn one_connection_is_measured_among_each_number() {
        let mut open = Vec::new();
        ping::among(&[1, 3], &mut open).unwrap();
        let counts: Vec<_> = open.iter().map(|open| open.connections).collect();
        assert_eq!(counts, [1, 3]);
        assert!(open.iter().all(|open| open.us.least > 0.0), "{open:?}");
    }

    #[test]
    fn what_was_measured_is_told_and_judged() {
        let even = |median| Spread {
            median,
            least: median,
            greatest: median,
        };
        let open = |connections, us| Open {
            connections,
            us: even(us),
            cpu_us: even(us),
        };
        let scenes = Scenes {
            crowd: Some(Crowd {
                connections: 7,
                messages_per_second: [even(1e5), even(9e4), even(2e5)],
                ratios: [even(0.9), even(2.0)],
            }),
            open: vec![open(1, 10.0), open(10, 12.0)],
            one_sided: Vec::new(),
            missing: vec!["a scene: why".to_owned()],
        };
        let reached: Vec<_> = (scenes.verdicts().iter())
            .map(|verdict| verdict.reached)
            .collect();
        assert_eq!(reached, [false, true, true]);
        let text = scenes.text();
        for part in ["7 connections", "100.0", "10 open", "a scene: why"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

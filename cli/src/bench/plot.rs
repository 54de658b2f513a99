//! Curves of throughput and latency against the size of messages, as one SVG picture.

use std::fmt::Write;

use super::Contestant;
use super::results::{Key, Results, Summary};
use super::task::Kind;
use crate::units;

const WIDTH: f64 = 900.0;
const PANEL: f64 = 380.0;
const MARGIN: (f64, f64) = (80.0, 150.0);
const TOP: f64 = 40.0;
const PLOT_HEIGHT: f64 = 280.0;
/// Of the name of a size.
const NAME_WIDTH: f64 = 56.0;

/// A picture of all curves.
pub(super) fn svg(results: &Results) -> String {
    let throughput = Panel {
        title: "Write, pipelined: GB/s",
        kind: Kind::Write,
        busy: false,
        value: |summary| summary.octets_per_second / 1e9,
    };
    let latency = |title, busy| Panel {
        title,
        kind: Kind::SendPing,
        busy,
        value: |summary| summary.us,
    };
    let panels = [
        throughput,
        latency("Send ping-pong, blocking: us one way", false),
        latency("Send ping-pong, busy: us one way", true),
    ];
    let height = PANEL * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        panel.draw(&mut out, results, PANEL * at as f64);
    }
    out.push_str("</svg>\n");
    out
}

/// One diagram; both axes are logarithmic.
struct Panel {
    title: &'static str,
    kind: Kind,
    busy: bool,
    value: fn(&Summary) -> f64,
}

/// Where a value is between the ends of a logarithmic axis, from 0 to 1.
fn place(value: f64, (least, most): (f64, f64)) -> f64 {
    (value / least).ln() / (most / least).ln()
}

impl Panel {
    fn points(&self, results: &Results, contestant: Contestant) -> Vec<(f64, f64)> {
        let wanted = (contestant, self.kind, self.busy);
        let ours = |key: &Key| (key.contestant, key.kind, key.busy) == wanted;
        (results.summaries().iter())
            .filter(|summary| ours(&summary.key))
            .map(|summary| (f64::from(summary.key.size), (self.value)(summary)))
            .filter(|&(_, value)| value > 0.0)
            .collect()
    }

    fn draw(&self, out: &mut String, results: &Results, top: f64) {
        let curves = Contestant::ALL.map(|contestant| self.points(results, contestant));
        let all = || curves.iter().flatten();
        let (Some(sizes), Some(values)) = (
            range(all().map(|point| point.0)),
            range(all().map(|point| point.1)),
        ) else {
            return;
        };
        let (left, right) = (MARGIN.0, WIDTH - MARGIN.1);
        let bottom = top + TOP + PLOT_HEIGHT;
        let x = |size: f64| left + (right - left) * place(size, sizes);
        let y = |value: f64| bottom - PLOT_HEIGHT * place(value, values);
        let _ = writeln!(
            out,
            "<text x=\"{left}\" y=\"{}\" font-size=\"15\">{}</text>",
            top + 25.0,
            self.title
        );
        for value in decades(values) {
            let at = y(value);
            let _ = writeln!(
                out,
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                left - 6.0,
                at + 4.0
            );
        }
        let mut named = f64::NEG_INFINITY;
        for &(size, _) in &curves[0] {
            let at = x(size);
            let _ = writeln!(
                out,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{bottom}\" stroke=\"#eee\"/>",
                top + TOP,
            );
            // A name needs its place.
            if at - named >= NAME_WIDTH {
                named = at;
                let _ = writeln!(
                    out,
                    "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"10\">{}</text>",
                    bottom + 16.0,
                    units::size(size as u64)
                );
            }
        }
        for (at, (contestant, curve)) in Contestant::ALL.iter().zip(&curves).enumerate() {
            let colour = contestant.colour();
            let points: String = (curve.iter())
                .map(|&(size, value)| format!("{:.1},{:.1} ", x(size), y(value)))
                .collect();
            let label = top + TOP + 20.0 * (at as f64 + 1.0);
            let _ = writeln!(
                out,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{}\" y=\"{label}\" fill=\"{colour}\">{}</text>",
                right + 12.0,
                contestant.name()
            );
        }
    }
}

/// From the least to the greatest, never the same.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let ends = values.map(|value| (value, value));
    let (least, most) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    Some((least, most.max(least * 1.01)))
}

/// Powers of ten, their doubles and their halves, within a range.
fn decades((least, most): (f64, f64)) -> Vec<f64> {
    (-4..7)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)))
        .filter(|value| (least..=most).contains(value))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::task::Task;
    use super::super::usage::Usage;
    use super::*;

    #[test]
    fn every_contestant_has_a_curve() {
        let mut results = Results::default();
        for contestant in Contestant::ALL {
            for size in [8, 64, 4096] {
                let task = Task::new(Kind::Write, false, size, 100);
                let time = Duration::from_millis(100);
                results.add(contestant, &task, time, Usage::default());
            }
        }
        let svg = svg(&results);
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn axes_hold_what_is_measured() {
        assert_eq!(range([3.0, 1.0, 2.0].into_iter()), Some((1.0, 3.0)));
        assert_eq!(range([].into_iter()), None);
        assert_eq!(decades((0.9, 6.0)), [1.0, 2.0, 5.0]);
        assert!((place(10.0, (1.0, 100.0)) - 0.5).abs() < 1e-9);
    }
}

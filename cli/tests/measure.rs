//! `uwarp ping` and `uwarp bench` measure, and say it in a form that programs can read. How fast it is, is not
//! tested.

mod common;

use common::{Server, run};
use serde_json::Value;

fn parse(out: &str) -> Value {
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(out).unwrap()
}

#[test]
fn ping_gives_ordered_percentiles_of_each_operation() {
    let server = Server::start(&[]);
    for size in ["1", "64", "1M"] {
        let count = ["--count", "20", "--size", size, "--json"];
        let args = ["ping", &server.address].into_iter().chain(count);
        let json = parse(&run(args).succeeded());
        assert_eq!(json["count"], 20);
        let latencies = json["latencies"].as_array().unwrap();
        let operations: Vec<_> = latencies
            .iter()
            .map(|latency| latency["operation"].as_str().unwrap())
            .collect();
        assert_eq!(operations, ["send", "write+send", "read"]);
        for latency in latencies {
            let times = ["p50", "p90", "p99", "max"]
                .map(|percentile| latency[percentile].as_f64().unwrap());
            assert!(times[0] > 0.0 && times.is_sorted(), "{latency}");
        }
    }
}

#[test]
fn ping_prints_a_table() {
    let server = Server::start(&["--no-crc"]);
    let out = run(["ping", &server.address, "--count", "5", "--no-crc"]).succeeded();
    assert!(out.contains("CRC off"), "{out}");
    for word in ["p50", "p90", "p99", "max", "send", "write+send", "read"] {
        assert!(out.contains(word), "{word} in {out}");
    }
}

/// Few rounds of little.
const BRIEF: [&str; 7] = [
    "bench",
    "--rounds",
    "2",
    "--seconds",
    "1",
    "--sizes",
    "64,64K",
];

#[test]
fn bench_compares_with_plain_tcp() {
    let json = parse(&run(BRIEF.into_iter().chain(["--json"])).succeeded());
    let measurements = json["measurements"].as_array().unwrap();
    for contestant in ["tcp", "crc", "no_crc"] {
        let mine: Vec<_> = (measurements.iter())
            .filter(|measurement| measurement["contestant"] == contestant)
            .collect();
        assert!(mine.len() >= 6, "{contestant} in {json}");
        for measurement in mine {
            assert_eq!(measurement["rounds"], 2);
            for value in ["us", "octets_per_second", "messages_per_second"] {
                assert!(measurement[value].as_f64().unwrap() > 0.0, "{measurement}");
            }
        }
    }
    let targets = json["targets"].as_array().unwrap();
    assert!(
        targets
            .iter()
            .all(|target| target["ratio"].as_f64().unwrap() > 0.0)
    );
    assert!(targets.len() >= 12, "{json}");
}

#[test]
fn bench_prints_tables_and_draws_curves() {
    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("curves.svg");
    let plot = ["--plot", picture.to_str().unwrap()];
    let table = run(BRIEF.into_iter().chain(plot)).succeeded();
    for name in [
        "plain TCP",
        "with CRC",
        "without CRC",
        "Write",
        "Read",
        "Send ping-pong, busy",
        "Ratios that are aimed at",
    ] {
        assert!(table.contains(name), "{name} in {table}");
    }
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
}

#[test]
fn bench_measures_a_part_alone() {
    let part = ["--kinds", "read", "--contestants", "no-crc"];
    let table = run(BRIEF.into_iter().chain(part)).succeeded();
    let measured: Vec<_> = (table.lines())
        .filter(|line| line.contains("GB/s"))
        .collect();
    // No ratio, since there is nothing to compare with.
    assert!(
        matches!(measured[..], [line] if line.contains("64.0 KiB") && line.contains(" - ")),
        "{table}"
    );
    assert!(!table.contains("Send ping-pong"), "{table}");
}

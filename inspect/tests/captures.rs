//! Real kernel traffic: every capture is decoded to its end, with exactly the violations that are
//! written beside it, and as tshark decodes it.

mod common;

use std::path::PathBuf;

use serde_json::{Value, json};
use uwarp_inspect::{Args, Summary, VIOLATIONS, run, status};

const CAPTURES: [&str; 5] = [
    "siw-ibread",
    "siw-ibsend",
    "siw-ibwlat",
    "siw-ibwrite64k",
    "siw-rping",
];

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The objects of an output in JSON.
fn lines(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn dump(name: &str) -> (Summary, Vec<Value>) {
    let args = Args {
        capture: data(&format!("{name}.pcap")),
        json: true,
        quiet: false,
    };
    let mut out = Vec::new();
    let summary = run(&args, &mut out).unwrap();
    (summary, lines(&out))
}

/// Only what a reader of the capture could not change: counts, and the violations with an example.
fn gist(summary: &Summary) -> Value {
    json!({
        "connections": summary.connections,
        "fpdus": summary.fpdus,
        "fpdu_octets": summary.fpdu_octets,
        "operations": summary.operations,
        "crc": summary.crc,
        "violations": summary.violations,
    })
}

#[test]
fn violations_are_those_written_down() {
    for name in CAPTURES {
        let (summary, lines) = dump(name);
        let expected = std::fs::read_to_string(data(&format!("{name}.expected.json"))).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(gist(&summary), expected, "{name}");
        assert_eq!(
            status(&summary) == VIOLATIONS,
            name != "siw-rping",
            "{name}"
        );
        let last = lines.last().unwrap();
        assert_eq!(last["kind"], "summary");
        assert_eq!(last["fpdus"], json!(summary.fpdus));
        assert!(!lines.iter().any(|line| line["guess"] == json!(true)));
    }
}

#[test]
fn fpdus_are_those_of_tshark() {
    for name in CAPTURES {
        let (_, lines) = dump(name);
        common::tshark::agrees_with_tshark(&data(&format!("{name}.pcap")), &lines);
    }
}

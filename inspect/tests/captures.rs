//! Real traffic, of Linux's siw and of uwarp: every capture is decoded to its end, with exactly the
//! violations that are written beside it, and FPDU by FPDU as tshark decodes it.

mod common;

use std::path::{Path, PathBuf};

use common::dump::lines;
use common::tshark;
use serde_json::{Value, json};
use uwarp_inspect::{Args, CLEAN, Summary, VIOLATIONS, run, status};

/// A capture, and what is to be compared with tshark.
struct Capture {
    name: &'static str,
    /// Startup frames and FPDUs that tshark 4.0 decodes.
    compared: usize,
    /// These are all that there are.
    all: bool,
}

const fn whole(name: &'static str, compared: usize) -> Capture {
    Capture {
        name,
        compared,
        all: true,
    }
}

/// One with markers: tshark decodes a part.
const fn part(name: &'static str, compared: usize) -> Capture {
    Capture {
        name,
        compared,
        all: false,
    }
}

const CAPTURES: [Capture; 11] = [
    whole("siw-ibread", 356),
    whole("siw-ibsend", 330),
    whole("siw-ibwlat", 64),
    whole("siw-ibwrite64k", 61),
    whole("siw-rping", 46),
    whole("uwarp-crc", 15),
    whole("uwarp-plain", 15),
    part("uwarp-markers", 11),
    part("uwarp-markers-long", 5),
    whole("uwarp-atomics", 62),
    whole("uwarp-terminate", 64),
];

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn dump(capture: &Path) -> (Summary, Vec<Value>) {
    let args = Args {
        capture: capture.to_owned(),
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
        "markers": summary.markers,
        "operations": summary.operations,
        "crc": summary.crc,
        "violations": summary.violations,
    })
}

#[test]
fn violations_are_those_written_down() {
    for Capture { name, .. } in CAPTURES {
        let (summary, lines) = dump(&data(&format!("{name}.pcap")));
        let expected = std::fs::read_to_string(data(&format!("{name}.expected.json"))).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(gist(&summary), expected, "{name}: {:#}", gist(&summary));
        let clean = expected["violations"] == json!({});
        let due = if clean { CLEAN } else { VIOLATIONS };
        assert_eq!(status(&summary), due, "{name}");
        let last = lines.last().unwrap();
        assert_eq!(last["kind"], "summary");
        assert_eq!(last["fpdus"], json!(summary.fpdus));
        // Nothing is guessed but what is behind an FPDU that cannot be read.
        let broken = summary.crc.bad > 0;
        assert_eq!(summary.guessed > 0, broken && summary.guessed > 0, "{name}");
    }
}

#[test]
fn every_capture_is_tried() {
    let files = std::fs::read_dir(data("")).unwrap();
    for file in files {
        let name = file.unwrap().file_name().into_string().unwrap();
        if let Some(stem) = name.strip_suffix(".pcap") {
            assert!(
                CAPTURES.iter().any(|capture| capture.name == stem),
                "{name}"
            );
        }
    }
}

#[test]
fn fpdus_are_those_of_tshark() {
    if !tshark::is_there() {
        return;
    }
    for capture in CAPTURES {
        let path = data(&format!("{}.pcap", capture.name));
        let (_, lines) = dump(&path);
        let compared = tshark::compare(&path, &lines, capture.all);
        println!("{}: {compared} frames and FPDUs", capture.name);
        assert!(compared >= capture.compared, "{} {compared}", capture.name);
    }
}

/// The comparison is one: a field that differs is found.
#[test]
fn a_difference_is_found() {
    if !tshark::is_there() {
        return;
    }
    let path = data("siw-rping.pcap");
    let (_, lines) = dump(&path);
    for field in [
        "ulpdu_length",
        "last",
        "opcode",
        "stag",
        "to",
        "msn",
        "mo",
        "size",
    ] {
        let mut changed = lines.clone();
        let line = changed
            .iter_mut()
            .rev()
            .find(|line| line["kind"] == "fpdu" && !line[field].is_null());
        let line = line.unwrap();
        line[field] = match &line[field] {
            Value::Bool(set) => json!(!set),
            value => json!(value.as_u64().unwrap() ^ 4),
        };
        let compared = std::panic::catch_unwind(|| tshark::compare(&path, &changed, true));
        assert!(compared.is_err(), "{field}");
    }
}

/// The captures in a directory that the environment names, made a moment ago: see
/// `tests/tshark/check.sh`. A name tells what to expect; `markers` in it, that tshark sees only a part.
#[test]
fn fresh_captures_are_those_of_tshark() {
    let Some(directory) = std::env::var_os("UWARP_CAPTURES") else {
        return;
    };
    let mut compared = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".pcap") || name.contains("spoiled") {
            continue;
        }
        let (summary, lines) = dump(&path);
        assert!(summary.violations.is_empty(), "{name}: {summary}");
        let found = tshark::compare(&path, &lines, !name.contains("markers"));
        println!(
            "{name}: {found} of {} FPDUs and frames",
            summary.fpdus + summary.frames
        );
        compared += found;
    }
    assert!(
        compared >= 1000,
        "only {compared} FPDUs and frames were compared"
    );
}

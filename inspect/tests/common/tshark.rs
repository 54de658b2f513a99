//! What the tests share: tshark as a second opinion.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Fields that both have, in this order: ULPDU_Length, L, opcode, STag, TO, QN, MSN, MO.
const FIELDS: [&str; 8] = [
    "iwarp_mpa.ulpdulength",
    "iwarp_ddp.last_flag",
    "iwarp_rdma.opcode",
    "iwarp_ddp.stag",
    "iwarp_ddp.tagged_offset",
    "iwarp_ddp.qn",
    "iwarp_ddp.msn",
    "iwarp_ddp.mo",
];

/// How often each field has each value, over the whole capture: tshark gives the FPDUs of a frame
/// field by field.
type Counts = BTreeMap<(usize, u64), usize>;

/// Whether there is a tshark to ask. Where tests must be complete, there has to be.
fn tshark_is_there() -> bool {
    let there = Command::new("tshark")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "tshark is missing, and CI must not skip the comparison with it"
        );
        eprintln!("skipped: tshark is not installed");
    }
    there
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => match text {
            "True" => 1,
            "False" => 0,
            _ => text.parse().unwrap(),
        },
    }
}

/// All values that tshark gives.
fn tshark(capture: &Path) -> Counts {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture);
    // What Sends carry is not looked into; segments are put in order first.
    command.args(["--disable-protocol", "rpcordma"]);
    command.args(["-o", "tcp.reassemble_out_of_order:TRUE"]);
    command.args(["-Y", "iwarp_mpa.fpdu", "-T", "fields", "-E", "separator=;"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut counts = Counts::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        for (field, values) in line.split(';').enumerate() {
            for value in values.split(',').filter(|value| !value.is_empty()) {
                *counts.entry((field, number(value))).or_default() += 1;
            }
        }
    }
    counts
}

fn ours(lines: &[Value]) -> Counts {
    const NAMES: [&str; 8] = [
        "ulpdu_length",
        "last",
        "opcode",
        "stag",
        "to",
        "qn",
        "msn",
        "mo",
    ];
    let mut counts = Counts::new();
    for line in lines.iter().filter(|line| line["kind"] == "fpdu") {
        for (field, name) in NAMES.iter().enumerate() {
            let value = match &line[name] {
                Value::Bool(set) => u64::from(*set),
                value => match value.as_u64() {
                    Some(value) => value,
                    None => continue,
                },
            };
            *counts.entry((field, value)).or_default() += 1;
        }
    }
    counts
}

/// Compares the FPDUs in `lines` with those that tshark finds in the same capture.
pub(crate) fn agrees_with_tshark(capture: &Path, lines: &[Value]) {
    if !tshark_is_there() {
        return;
    }
    let (ours, theirs) = (ours(lines), tshark(capture));
    assert!(!ours.is_empty(), "{capture:?}");
    let missing: Vec<_> = theirs
        .iter()
        .filter(|(key, n)| ours.get(key) != Some(n))
        .collect();
    let extra: Vec<_> = ours
        .iter()
        .filter(|(key, n)| theirs.get(key) != Some(n))
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{capture:?}\ntshark {missing:?}\nours {extra:?}"
    );
}

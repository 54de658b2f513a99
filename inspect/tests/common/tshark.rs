//! tshark as a second opinion, FPDU by FPDU and field by field.
//!
//! Three things to know of tshark (seen in 4.0):
//!
//! * Its dissector `rpcordma` claims Sends that are not its own, so it is disabled.
//! * In a stream with markers it takes a TCP segment for exactly one FPDU. Of such streams it decodes
//!   fewer FPDUs than there are, and those are compared, in their order.
//! * An FPDU with a wrong CRC is decoded, and what is behind it, too; we stop there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// A direction of a connection: the address and port of who sends.
type Source = String;

/// Frames and FPDUs of a direction, in the order of the stream.
type Streams = BTreeMap<Source, Vec<Value>>;

/// What tshark calls a field, and what we do. Numbers alone, decimal or hexadecimal.
const FIELDS: [(&str, &str); 31] = [
    ("iwarp_mpa.marker_flag", "markers_flag"),
    ("iwarp_mpa.crc_flag", "crc_flag"),
    ("iwarp_mpa.rej_flag", "rejected"),
    ("iwarp_mpa.rev", "revision"),
    ("iwarp_mpa.pdlength", "private_data_length"),
    ("iwarp_mpa.ulpdulength", "ulpdu_length"),
    ("iwarp_ddp.tagged_flag", "tagged"),
    ("iwarp_ddp.last_flag", "last"),
    ("iwarp_ddp.dv", "ddp_version"),
    ("iwarp_ddp.stag", "stag"),
    ("iwarp_ddp.tagged_offset", "to"),
    ("iwarp_ddp.qn", "qn"),
    ("iwarp_ddp.msn", "msn"),
    ("iwarp_ddp.mo", "mo"),
    ("iwarp_rdma.version", "rdmap_version"),
    ("iwarp_rdma.opcode", "opcode"),
    ("iwarp_rdma.inval_stag", "invalidates"),
    ("iwarp_rdma.sinkstag", "sink_stag"),
    ("iwarp_rdma.sinkto", "sink_to"),
    ("iwarp_rdma.rdmardsz", "size"),
    ("iwarp_rdma.srcstag", "source_stag"),
    ("iwarp_rdma.srcto", "source_to"),
    ("iwarp_rdma.term_layer", "layer"),
    ("iwarp_rdma.term_etype_rdma", "etype"),
    ("iwarp_rdma.term_etype_ddp", "etype"),
    ("iwarp_rdma.term_etype_llp", "etype"),
    ("iwarp_rdma.term_errcode_rdma", "error"),
    ("iwarp_rdma.term_errcode_ddp_tagged", "error"),
    ("iwarp_rdma.term_errcode_ddp_untagged", "error"),
    ("iwarp_rdma.term_errcode_llp", "error"),
    ("iwarp_rdma.atomic.request_identifier", "id"),
];

/// Whether there is a tshark to ask. Where tests must be complete, there has to be.
pub(crate) fn is_there() -> bool {
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

fn number(value: &str) -> Option<u64> {
    match value.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None => value.parse().ok(),
    }
}

/// The value of an attribute in a line of PDML.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = line.find(&format!(" {name}=\""))? + name.len() + 3;
    let end = start + line[start..].find('"')?;
    Some(&line[start..end])
}

/// What tshark makes of a capture.
fn theirs(capture: &Path) -> Streams {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture);
    command.args(["--disable-protocol", "rpcordma"]);
    // Segments are put in order first.
    command.args(["-o", "tcp.reassemble_out_of_order:TRUE"]);
    command.args(["-Y", "iwarp_mpa", "-T", "pdml"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut streams = Streams::new();
    let (mut address, mut port) = (String::new(), String::new());
    for line in text.lines().map(str::trim_start) {
        let Some(name) = attribute(line, "name") else {
            continue;
        };
        let show = attribute(line, "show").unwrap_or_default();
        let stream = streams.entry(format!("{address}:{port}")).or_default();
        match name {
            "ip.src" => show.clone_into(&mut address),
            "tcp.srcport" => show.clone_into(&mut port),
            "iwarp_mpa.req" | "iwarp_mpa.rep" | "iwarp_mpa.fpdu" => stream.push(json!({})),
            "iwarp_mpa.crc_check" => {
                let good = line.contains("(Good CRC32)");
                stream.last_mut().unwrap()["crc_good"] = json!(good);
            }
            _ => {
                let field = FIELDS.iter().find(|(theirs, _)| *theirs == name);
                if let (Some((_, ours)), Some(value)) = (field, number(show)) {
                    // The header that a Terminate blames has fields of the same names behind it.
                    let item = stream.last_mut().unwrap();
                    if item.get(ours).is_none() {
                        item[*ours] = json!(value);
                    }
                }
            }
        }
    }
    streams.retain(|_, items| !items.is_empty());
    streams
}

/// What we make of it, in the same form.
fn ours(lines: &[Value]) -> Streams {
    let mut streams = Streams::new();
    // Who sends, by connection and role: a frame tells.
    let mut sources = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for line in lines {
        let key = (line["connection"].as_u64(), line["sender"].to_string());
        match line["kind"].as_str().unwrap() {
            "connection" => {
                for end in ["first", "second"] {
                    let key = (line["connection"].as_u64(), format!("\"{end}\""));
                    ends.insert(key, line[end].as_str().unwrap().to_owned());
                }
            }
            "frame" => {
                let source = line["source"].as_str().unwrap().to_owned();
                let stream = streams.entry(source.clone()).or_default();
                stream.push(json!({
                    "markers_flag": u64::from(line["markers"].as_bool().unwrap()),
                    "crc_flag": u64::from(line["crc"].as_bool().unwrap()),
                    "rejected": u64::from(line["rejected"].as_bool().unwrap()),
                    "revision": line["revision"],
                    "private_data_length": line["private_data_length"],
                }));
                sources.insert(key, source);
            }
            "fpdu" => {
                let source = sources.get(&key).or_else(|| ends.get(&key)).unwrap();
                streams.entry(source.clone()).or_default().push(fpdu(line));
            }
            _ => {}
        }
    }
    streams
}

fn fpdu(line: &Value) -> Value {
    let mut item = json!({
        "tagged": u64::from(line["model"] == "tagged"),
        "last": u64::from(line["last"] == true),
    });
    let names = FIELDS.iter().map(|(_, ours)| *ours);
    for name in names.filter(|name| !["id", "last"].contains(name)) {
        if line[name].is_u64() {
            item[name] = line[name].clone();
        }
    }
    if line["control"] == "atomic_request" {
        item["id"] = line["id"].clone();
    }
    if line["ulp_word"].as_u64().is_some_and(|word| word > 0) {
        item["invalidates"] = line["ulp_word"].clone();
    }
    if let Some(code) = line["code"].as_str() {
        let parts: Vec<_> = code.split('/').collect();
        let hexadecimal = |part: &str| u64::from_str_radix(part, 16).unwrap();
        item["layer"] = json!(hexadecimal(parts[0]));
        item["etype"] = json!(hexadecimal(parts[1]));
        item["error"] = json!(hexadecimal(parts[2]));
    }
    if line["crc"] == "checked" {
        item["crc_good"] = json!(true);
    }
    // Header and payload together are the ULPDU.
    let header = if line["model"] == "tagged" { 14 } else { 18 };
    assert_eq!(
        line["payload"].as_u64().unwrap() + header,
        line["ulpdu_length"].as_u64().unwrap()
    );
    item
}

/// Whether all that tshark says of an FPDU or frame is what we say. Its number of fields depends on the
/// kind; but none of them may be missing on our side.
fn agrees(theirs: &Value, ours: &Value) -> bool {
    let theirs = theirs.as_object().unwrap();
    theirs.len() >= 5
        && theirs.iter().all(|(name, value)| {
            // Where it cannot be told apart, there is nothing to say.
            ours.get(name) == Some(value) || name == "invalidates" && *value == 0
        })
}

/// Compares what we say of a capture with what tshark says. With `all`, tshark has to find every FPDU
/// that we find, and to find their CRCs as we do; without it, those that it finds have to be among ours, in the same order. Returns how
/// many FPDUs and frames were compared.
pub(crate) fn compare(capture: &Path, lines: &[Value], all: bool) -> usize {
    let (mut theirs, ours) = (theirs(capture), ours(lines));
    assert!(!ours.is_empty(), "{capture:?}");
    // An FPDU whose CRC is wrong is a violation, and not among our FPDUs.
    let mut bad = 0;
    for items in theirs.values_mut() {
        let before = items.len();
        items.retain(|item| item.get("crc_good") != Some(&json!(false)));
        bad += before - items.len();
    }
    let named = lines.iter().filter(|line| line["id"] == "F25").count();
    assert!(
        bad == named || !all,
        "{capture:?}: {bad} wrong CRCs, {named} named"
    );
    let mut compared = bad;
    for (source, theirs) in &theirs {
        let ours = ours.get(source);
        let ours = ours.unwrap_or_else(|| panic!("{capture:?}: we have nothing from {source}"));
        if all {
            assert_eq!(theirs.len(), ours.len(), "{capture:?} {source}");
        }
        let mut rest = ours.iter();
        for item in theirs {
            let next = if all {
                rest.next().filter(|ours| agrees(item, ours))
            } else {
                rest.find(|ours| agrees(item, ours))
            };
            assert!(
                next.is_some(),
                "{capture:?} {source}: tshark has {item}, we have {ours:#?}"
            );
            compared += 1;
        }
    }
    if all {
        let missing: Vec<_> = ours
            .keys()
            .filter(|key| !theirs.contains_key(*key))
            .collect();
        assert!(
            missing.is_empty(),
            "{capture:?}: tshark has nothing from {missing:?}"
        );
    }
    compared
}

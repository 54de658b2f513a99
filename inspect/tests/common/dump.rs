//! `uwarp dump --json` over a file.

use serde_json::Value;
use uwarp_inspect::{Args, DumpError, Summary, run};

/// What it says of these octets as a capture file: its lines, and the summary.
pub(crate) fn dump(file: &[u8]) -> Result<(Vec<Value>, Summary), DumpError> {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut path, file).unwrap();
    let args = Args {
        capture: path.path().to_owned(),
        json: true,
        quiet: false,
    };
    let mut out = Vec::new();
    let summary = run(&args, &mut out)?;
    Ok((lines(&out), summary))
}

/// The objects of an output in JSON.
pub(crate) fn lines(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The lines of one kind.
pub(crate) fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

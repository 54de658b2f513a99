//! Whether `include/uwarp.h` is what the sources say, and the exported symbols are what the header says.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use common::{libraries, room, run};

/// The sources, in the order in which a reader wants them.
const SOURCES: [&str; 9] = [
    "types",
    "ffi/text",
    "ffi/domain",
    "ffi/region",
    "ffi/remote",
    "ffi/options",
    "ffi/queue",
    "ffi/setup",
    "ffi/post",
];

fn generated() -> String {
    let config = cbindgen::Config::from_file(room().join("cbindgen.toml")).expect("its settings");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES.iter().chain(&["ffi/socket"]) {
        builder = builder.with_src(room().join("src").join(source).with_extension("rs"));
    }
    let mut header = Vec::new();
    builder
        .generate()
        .expect("the sources parse")
        .write(&mut header);
    String::from_utf8(header).expect("it is UTF-8")
}

#[test]
fn the_header_is_what_the_sources_say() {
    let path = room().join("include/uwarp.h");
    let generated = generated();
    if std::env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&path, &generated).expect("it can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "capi/include/uwarp.h is old: UPDATE_HEADER=1 cargo test -p uwarp-capi --test header"
    );
}

#[test]
fn the_versions_agree() {
    let version = env!("CARGO_PKG_VERSION");
    let numbers: Vec<&str> = version.split('.').collect();
    for (name, number) in ["MAJOR", "MINOR", "PATCH"].iter().zip(numbers) {
        let line = format!("#define UWARP_VERSION_{name} {number}\n");
        assert!(generated().contains(&line), "{line}");
    }
}

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let header = generated();
    // Comments name functions too.
    let code = header
        .split("/*")
        .map(|part| part.rsplit("*/").next().unwrap_or_default());
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.flat_map(|code| code.match_indices('(').map(|(at, _)| code[..at].to_owned()))
        .filter_map(|before| before.rsplit(|c| !is_word(c)).next().map(str::to_owned))
        .filter(|name| name.starts_with("uwarp_"))
        .collect()
}

#[test]
fn what_is_exported_is_what_is_declared() {
    let symbols = run(Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(libraries().join("libuwarp.so")));
    let exported: BTreeSet<String> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(str::to_owned)
        .collect();
    assert_eq!(exported, declared());
}

#[test]
fn the_manual_pages_name_every_function() {
    let page = fs::read_to_string(room().join("man/uwarp.3")).expect("the page");
    let missing: Vec<String> = declared()
        .into_iter()
        .filter(|name| !page.contains(&format!("{name}(")))
        .collect();
    assert!(missing.is_empty(), "not in uwarp(3): {missing:?}");
}

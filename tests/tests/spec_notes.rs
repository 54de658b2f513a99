//! Whether `spec-notes/` is complete and true to the tree: every requirement has its row, every row names places and
//! tests that exist, every gap of the RFCs has its decision.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The pages, and the ids that each has to have: a letter and the highest number.
const PAGES: [(&str, &[(char, usize)]); 6] = [
    ("rfc5044.md", &[('F', 40), ('U', 24)]),
    ("rfc6581.md", &[('E', 24)]),
    ("rfc5041.md", &[('D', 43)]),
    ("rfc5040.md", &[('R', 44)]),
    ("rfc7306.md", &[('X', 16)]),
    ("rfc5042.md", &[('S', 14)]),
];

/// Gaps of the RFCs, G1 to this one, each decided in `choices.md`.
const GAPS: usize = 24;

/// Traps, T1 to this one. Each of them and each gap has its tests in `traps.md`.
const TRAPS: usize = 24;

/// Directories of the tree; what stands in backticks and begins with one of them is a reference.
const ROOMS: [&str; 15] = [
    "mpa",
    "ddp",
    "rdmap",
    "stream",
    "sockets-ext",
    "inspect",
    "torment",
    "rsockets",
    "streams",
    "capi",
    "preload",
    "cli",
    "tests",
    "fuzz",
    "spec-notes",
];

const LEVELS: [&str; 6] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "none"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    let path = root().join("spec-notes").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of every row of a page's tables, headings and rules left out.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = page.lines().map(str::trim).collect();
    let is_rule = |line: &str| line.starts_with("|-") || line.starts_with("| -");
    let is_heading = |at: usize| lines.get(at + 1).is_some_and(|next| is_rule(next));
    (0..lines.len())
        .filter(|&at| lines[at].starts_with('|') && !is_rule(lines[at]) && !is_heading(at))
        .map(|at| {
            let inner = lines[at].trim_start_matches('|').trim_end_matches('|');
            inner.split('|').map(str::trim).collect()
        })
        .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Something that a page says to be in the tree.
enum Reference<'a> {
    /// `path` or `path#item`.
    Place {
        path: &'a str,
        item: Option<&'a str>,
    },
    /// `path::test`; in a script, a function that it calls.
    Test { path: &'a str, name: &'a str },
}

impl<'a> Reference<'a> {
    /// `None` for a word in backticks that is no reference.
    fn parse(word: &'a str) -> Option<Self> {
        let room = word.split('/').next()?;
        if !word.contains('/') || !ROOMS.contains(&room) {
            return None;
        }
        Some(if let Some((path, item)) = word.split_once('#') {
            let item = Some(item);
            Self::Place { path, item }
        } else if let Some((path, name)) = word.split_once("::") {
            Self::Test { path, name }
        } else {
            let (path, item) = (word, None);
            Self::Place { path, item }
        })
    }

    /// What is wrong with it.
    fn problem(&self) -> Option<String> {
        let (Self::Place { path, .. } | Self::Test { path, .. }) = *self;
        let full = root().join(path);
        if !full.exists() {
            return Some(format!("there is no {path}"));
        }
        let source = || fs::read_to_string(&full).unwrap_or_default();
        match *self {
            Self::Place { item: None, .. } => None,
            Self::Place {
                item: Some(item), ..
            } => {
                let source = source();
                let known = item.split("::").all(|word| has_word(&source, word));
                (!known).then(|| format!("there is no {item} in {path}"))
            }
            Self::Test { name, .. } => {
                let known = if path.ends_with(".sh") {
                    calls(&source(), name)
                } else {
                    has_test(&source(), name)
                };
                (!known).then(|| format!("there is no test {name} in {path}"))
            }
        }
    }
}

/// Whether `word` is in `source`, comments left out.
fn has_word(source: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    source
        .lines()
        .filter_map(|line| line.split("//").next())
        .flat_map(|code| code.split(|c| !is_part(c)))
        .any(|other| other == word)
}

/// Whether `source` has a function `name` with the attribute `test`, as it stands in a `proptest!` too.
fn has_test(source: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let marked = |at: usize| {
        let above = lines[..at].iter().rev();
        let mut above = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        above.any(|line| *line == "#[test]")
    };
    (0..lines.len()).any(|at| lines[at].starts_with(&head) && marked(at))
}

/// Whether the script `source` has a function `name`, and calls it without condition.
fn calls(source: &str, name: &str) -> bool {
    let has = |what: &str| source.lines().any(|line| line.starts_with(what));
    has(&format!("{name}() {{")) && has(&format!("{name} "))
}

/// What is wrong with the row of a requirement.
fn problems(cells: &[&str]) -> Vec<String> {
    let &[_, section, level, asks, places, tests, status] = cells else {
        return vec![format!("it has {} cells", cells.len())];
    };
    let mut found = Vec::new();
    if section.is_empty() || asks.is_empty() {
        found.push("it does not say where it is from or what it asks".to_owned());
    }
    if !LEVELS.contains(&level) {
        found.push(format!("{level:?} is no level"));
    }
    let (mut places_named, mut tests_named) = (0, 0);
    for (cell, tests_wanted) in [(places, false), (tests, true)] {
        for word in quoted(cell) {
            match Reference::parse(word) {
                Some(reference @ Reference::Test { .. }) if tests_wanted => {
                    tests_named += 1;
                    found.extend(reference.problem());
                }
                Some(reference @ Reference::Place { .. }) if !tests_wanted => {
                    places_named += 1;
                    found.extend(reference.problem());
                }
                _ => found.push(format!("{word:?} is not what belongs there")),
            }
        }
    }
    let reason = |kind: &str| status.strip_prefix(kind).is_some_and(|why| !why.is_empty());
    if status == "met" {
        if places_named == 0 || tests_named == 0 {
            found.push("it is met, but nowhere or by no test".to_owned());
        }
    } else if !reason("open: ") && !reason("n/a: ") {
        found.push(format!("{status:?} is no status"));
    }
    found
}

/// What is wrong with the ids of the first column: each expected one is there once, and no other.
fn count_ids(rows: &[Vec<&str>], expected: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(row[0]).or_default() += 1;
    }
    let mut found: Vec<String> = expected
        .iter()
        .filter(|id| !counts.contains_key(id.as_str()))
        .map(|id| format!("{id} is missing"))
        .collect();
    for (id, count) in counts {
        if !expected.iter().any(|known| known == id) {
            found.push(format!("{id} does not belong here"));
        } else if count > 1 {
            found.push(format!("{id} is there {count} times"));
        }
    }
    found
}

fn expected_ids(ids: &[(char, usize)]) -> Vec<String> {
    ids.iter()
        .flat_map(|&(letter, last)| (1..=last).map(move |number| format!("{letter}{number:02}")))
        .collect()
}

fn none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_requirement_has_one_row() {
    let mut found = Vec::new();
    for (name, ids) in PAGES {
        let page = page(name);
        let counted = count_ids(&rows(&page), &expected_ids(ids));
        found.extend(counted.into_iter().map(|what| format!("{name}: {what}")));
    }
    none(&found);
}

#[test]
fn every_row_is_true() {
    let mut found = Vec::new();
    for (name, _) in PAGES {
        for row in rows(&page(name)) {
            let wrong = problems(&row);
            found.extend(
                wrong
                    .iter()
                    .map(|what| format!("{name} {}: {what}", row[0])),
            );
        }
    }
    none(&found);
}

/// What is wrong with the row of a gap or a trap on the page of tests.
fn untested(cells: &[&str]) -> Vec<String> {
    let Some((shown_by, before)) = cells.split_last() else {
        return Vec::new();
    };
    let references: Vec<_> = quoted(shown_by).map(Reference::parse).collect();
    let mut found = Vec::new();
    if before.iter().any(|cell| cell.is_empty()) || references.is_empty() {
        found.push("it does not say what it is, or no test".to_owned());
    }
    for reference in references {
        match reference {
            Some(reference @ Reference::Test { .. }) => found.extend(reference.problem()),
            _ => found.push("it is shown by something that is no test".to_owned()),
        }
    }
    found
}

#[test]
fn every_gap_and_trap_has_a_test() {
    let page = page("traps.md");
    let rows = rows(&page);
    let numbered = |letter, last| (1..=last).map(move |number| format!("{letter}{number}"));
    let expected: Vec<String> = numbered('G', GAPS).chain(numbered('T', TRAPS)).collect();
    let mut found = count_ids(&rows, &expected);
    for row in rows {
        let wrong = untested(&row);
        found.extend(wrong.iter().map(|what| format!("{}: {what}", row[0])));
    }
    none(&found);
}

#[test]
fn every_gap_has_a_decision() {
    let page = page("choices.md");
    let rows = rows(&page);
    let gaps: Vec<Vec<&str>> = rows
        .into_iter()
        .filter(|row| {
            row[0]
                .strip_prefix('G')
                .is_some_and(|number| number.parse::<usize>().is_ok())
        })
        .collect();
    let expected: Vec<String> = (1..=GAPS).map(|number| format!("G{number}")).collect();
    let mut found = count_ids(&gaps, &expected);
    for gap in gaps {
        if gap.len() != 5 || gap.iter().any(|cell| cell.is_empty()) {
            found.push(format!(
                "{} is not decided with a reason and a place",
                gap[0]
            ));
        }
    }
    none(&found);
}

#[test]
fn every_reference_leads_somewhere() {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("spec-notes")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let references: Vec<Reference<'_>> = quoted(&text).filter_map(Reference::parse).collect();
        let wrong = references.iter().filter_map(Reference::problem);
        found.extend(wrong.map(|what| format!("{name}: {what}")));
    }
    none(&found);
}

/// A check that passes everything proves nothing.
#[test]
fn what_is_wrong_is_found() {
    let place = "`mpa/src/crc.rs#to_wire`";
    let test = "`mpa/src/crc.rs::appending_equals_one_pass`";
    let good = ["F01", "s1", "MUST", "something", place, test, "met"];
    assert_eq!(problems(&good), Vec::<String>::new());
    let mut script = good;
    script[5] = "`tests/tshark/check.sh::alignment`";
    assert_eq!(problems(&script), Vec::<String>::new());
    for (cell, wrong) in [
        (1, ""),
        (2, "PERHAPS"),
        (3, ""),
        (4, ""),
        (4, "`mpa/src/nowhere.rs`"),
        (4, "`mpa/src/crc.rs#nothing`"),
        (4, test),
        (5, ""),
        (5, "`mpa/src/nowhere.rs::appending_equals_one_pass`"),
        (5, "`mpa/src/crc.rs::appending_equals`"),
        (5, "`mpa/src/crc.rs::to_wire`"),
        (5, "`tests/tshark/check.sh::align`"),
        (5, "`tests/tshark/check.sh::capture`"),
        (5, place),
        (6, "almost"),
        (6, "open"),
        (6, "n/a: "),
    ] {
        let mut row = good;
        row[cell] = wrong;
        assert_ne!(problems(&row), Vec::<String>::new(), "{cell} {wrong:?}");
    }
    assert_eq!(problems(&good[..6]).len(), 1);
    for status in ["open: no test", "n/a: of no use"] {
        let row = ["F01", "s1", "MAY", "something", "", "", status];
        assert_eq!(problems(&row), Vec::<String>::new());
    }

    assert_eq!(untested(&["G1", test]), Vec::<String>::new());
    for row in [
        vec!["G1", ""],
        vec!["G1", "no test"],
        vec!["G1", place],
        vec!["T1", "", test],
        vec!["T1", "something", "`mpa/src/crc.rs::appending_equals`"],
    ] {
        assert_ne!(untested(&row), Vec::<String>::new(), "{row:?}");
    }

    let table = "text\n| id | x |\n|---|---|\n| F01 | a |\n| F03 | b |\n| F01 | `c` |\n| G1 | d |";
    let found = count_ids(&rows(table), &expected_ids(&[('F', 3)]));
    assert_eq!(
        found,
        [
            "F02 is missing",
            "F01 is there 2 times",
            "G1 does not belong here"
        ]
    );
}

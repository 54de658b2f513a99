//! `uwarp dump`: its exit status, and what it says of files that are no captures.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../inspect/tests/data")
        .join(name)
}

fn dump(args: &[&str], capture: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_uwarp"))
        .arg("dump")
        .args(args)
        .arg(capture)
        .output()
        .unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn the_status_tells_whether_rules_are_broken() {
    for (name, due) in [("siw-rping.pcap", 0), ("siw-ibread.pcap", 3)] {
        for args in [&[][..], &["--json"], &["--quiet"], &["-q", "--json"]] {
            let output = dump(args, &data(name));
            assert_eq!(code(&output), Some(due), "{name} {args:?}");
            assert!(output.stderr.is_empty());
            let out = String::from_utf8(output.stdout).unwrap();
            if args.contains(&"--json") {
                let last = out.lines().last().unwrap();
                assert!(last.starts_with("{\"kind\":\"summary\""), "{last}");
            } else {
                assert!(out.contains("violations:"), "{out}");
                assert_eq!(out.contains("VIOLATION F09"), due == 3);
            }
        }
    }
}

#[test]
fn what_is_no_capture_has_status_1_and_a_remedy() {
    let garbage = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(garbage.path(), [0x5a; 3000]).unwrap();
    for (path, says) in [
        (garbage.path(), "tcpdump -w"),
        (Path::new("/nowhere/at-all.pcap"), "No such file"),
        (Path::new("/"), "directory"),
    ] {
        let output = dump(&[], path);
        assert_eq!(code(&output), Some(1), "{path:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(says), "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
}

/// A capture may come through a pipe, in pieces.
#[test]
fn a_capture_may_come_through_a_pipe() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_uwarp"))
        .args(["dump", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let file = std::fs::read(data("siw-rping.pcap")).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for piece in file.chunks(777) {
            stdin.write_all(piece).unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(code(&output), Some(0));
    assert_eq!(
        output.stdout,
        dump(&["--json"], &data("siw-rping.pcap")).stdout
    );
}

//! What Cargo builds for no test: the shared and static libraries, and the command. This does, for the tests of the C
//! interface and of the library to preload.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// They are built as one, since Cargo chooses the features of what they need for all packages of a command. With the
/// command among them those are the features of the whole workspace, so that `cargo test --workspace` has built what they
/// need, and each test that comes later finds all of it built.
const PACKAGES: [&str; 6] = ["-p", "uwarp-capi", "-p", "uwarp-preload", "-p", "uwarp-cli"];

/// The directory with the libraries, built from these sources.
pub(crate) fn libraries() -> &'static Path {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| build(&["--lib"]));
    directory()
}

/// The directory with the libraries and the command, which this builds unless something else has: for `cargo test` Cargo
/// builds it along with the other tests, and with features that it would not have here.
pub(crate) fn libraries_and_command() -> &'static Path {
    if !is_current(&libraries().join("uwarp")) {
        build(&["--bin", "uwarp"]);
    }
    directory()
}

/// Whether no source of the program, by the list that Cargo puts beside it, is newer.
fn is_current(program: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let Ok(built) = time(program) else {
        return false;
    };
    let list = std::fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let mut sources = list.split_whitespace().skip(1).peekable();
    sources.peek().is_some()
        && sources.all(|source| time(Path::new(source)).is_ok_and(|time| time <= built))
}

/// Where Cargo puts what it builds as it has built this test: `target/debug` for `target/debug/deps/<this test>`.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<std::path::PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let test = std::env::current_exe().expect("the test's own path");
        test.ancestors().nth(2).expect("it is in deps").to_owned()
    })
}

fn build(targets: &[&str]) {
    let directory = directory();
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("release") => "release",
        _ => "dev",
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", profile])
        .args(PACKAGES)
        .args(targets)
        .arg("--manifest-path")
        .arg(workspace)
        .arg("--target-dir")
        .arg(directory.parent().expect("the directory of all profiles")));
}

/// Runs a program that has to succeed, and returns what it says.
pub(crate) fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{command:?}: {status}\n{text}{}",
        String::from_utf8_lossy(&stderr)
    );
    text
}

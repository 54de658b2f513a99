//! What the tests share: the library, and C programs that run under it.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// This crate's directory.
pub(crate) fn room() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The library, built from these sources. Cargo builds no shared library for a test; so this does, once.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // target/debug/deps/<this test>
        let test = std::env::current_exe().expect("the test's own path");
        let directory = test.ancestors().nth(2).expect("it is in deps");
        let profile = match directory.file_name().and_then(|name| name.to_str()) {
            Some("release") => "release",
            _ => "dev",
        };
        let target = directory.parent().expect("the directory of all profiles");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--lib", "--profile", profile])
            .arg("--manifest-path")
            .arg(room().join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target);
        run(&mut cargo);
        directory.join("libuwarp_preload.so")
    })
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

/// A C program of `tests/c`, compiled once.
pub(crate) struct Program {
    path: PathBuf,
}

impl Program {
    pub(crate) fn compile(source: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(source)
            .with_extension("");
        run(Command::new("cc")
            .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
            .args(["-Wno-clobbered", "-Wno-unused-function"])
            .arg("-I")
            .arg(room().join("include"))
            .arg(room().join("tests/c").join(source))
            .arg("-o")
            .arg(&path)
            .arg("-lpthread"));
        Self { path }
    }

    /// Runs one of its cases under the library.
    pub(crate) fn case(&self, name: &str, variables: &[(&str, &str)]) {
        let said = run(Command::new(&self.path)
            .arg(name)
            .env("LD_PRELOAD", library())
            .envs(variables.iter().copied()));
        assert!(said.lines().any(|line| line == "done"), "{said}");
    }

    /// Runs one of its cases without the library.
    pub(crate) fn without_library(&self, name: &str, variables: &[(&str, &str)]) {
        let mut command = Command::new(&self.path);
        command.arg(name).env_remove("LD_PRELOAD");
        let said = run(command.envs(variables.iter().copied()));
        assert!(said.lines().any(|line| line == "done"), "{said}");
    }
}

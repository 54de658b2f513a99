//! What the tests share: the library, and C programs that run under it.

#![allow(dead_code, reason = "each test uses its part")]

#[path = "../../../capi/tests/common/built.rs"]
pub(crate) mod built;

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use built::{libraries, run};

/// This crate's directory.
pub(crate) fn room() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The library, built from these sources.
pub(crate) fn library() -> PathBuf {
    libraries().join("libuwarp_preload.so")
}

/// The compiler of the programs in `tests/c`.
pub(crate) fn compiler(source: &str) -> Command {
    let mut compiler = Command::new("cc");
    compiler
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
        .args(["-Wno-clobbered", "-Wno-unused-function"])
        .arg("-I")
        .arg(room().join("include"))
        .arg(room().join("tests/c").join(source));
    compiler
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
        run(compiler(source).arg("-o").arg(&path).arg("-lpthread"));
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

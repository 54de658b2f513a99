//! What the tests of the C interface share: the libraries, an installation of them, and a C compiler.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

/// This crate's directory.
pub(crate) fn room() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the libraries are that have been built from these sources. Cargo builds no shared library for a test; so
/// this does, once.
pub(crate) fn library_dir() -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        // target/debug/deps/<this test>
        let test = std::env::current_exe().expect("the test's own path");
        let directory = test.ancestors().nth(2).expect("it is in deps").to_owned();
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
        directory
    };
    DIRECTORY.get_or_init(build).clone()
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

/// The library, installed by `install.sh` into a directory of its own.
pub(crate) struct Installed {
    directory: TempDir,
}

impl Installed {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        run(Command::new("sh")
            .arg(room().join("install.sh"))
            .arg(directory.path())
            .env("UWARP_LIBRARIES", library_dir()));
        Self { directory }
    }

    pub(crate) fn path(&self, of: &str) -> PathBuf {
        self.directory.path().join(of)
    }

    /// What pkg-config says, if there is one.
    pub(crate) fn pkg_config(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("pkg-config");
        command
            .args(arguments)
            .arg("uwarp")
            .env("PKG_CONFIG_PATH", self.path("lib/pkgconfig"))
            .env("PKG_CONFIG_ALLOW_SYSTEM_LIBS", "1");
        command.output().ok()?;
        Some(run(&mut command))
    }

    /// Compiles a C program of one file, against the shared or the static library.
    pub(crate) fn compile(&self, source: &Path, kind: Kind, extra: &[&str]) -> PathBuf {
        let name = source.file_stem().expect("a name").to_string_lossy();
        let program = self.path(&format!("{name}-{kind:?}"));
        let mut compiler = Command::new("cc");
        compiler
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"])
            .args(extra)
            .arg("-I")
            .arg(self.path("include"))
            .arg(source)
            .arg("-o")
            .arg(&program);
        match kind {
            Kind::Shared => {
                compiler.arg("-L").arg(self.path("lib"));
                compiler.arg("-luwarp").arg("-lpthread");
            }
            Kind::Static => {
                compiler.arg(self.path("lib/libuwarp.a"));
                compiler.args(["-lgcc_s", "-lpthread", "-lm", "-ldl", "-lc"]);
            }
        }
        run(&mut compiler);
        program
    }

    /// A program that finds the shared library here.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.path("lib"));
        command
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Shared,
    Static,
}

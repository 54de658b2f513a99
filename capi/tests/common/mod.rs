//! What the tests of the C interface share: the libraries, an installation of them, and a C compiler.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod built;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub(crate) use built::{libraries, run};

/// This crate's directory.
pub(crate) fn room() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
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
            .env("UWARP_LIBRARIES", libraries()));
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

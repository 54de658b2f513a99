//! Runs a program whose TCP sockets are in DDPMODE: finds the library to preload, and says what is wanted.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Failure;

/// The library's file.
const LIBRARY: &str = "libuwarp_preload.so";

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Connections that the program begins in DDPMODE: all, or ports, ranges of ports (6000-6010), addresses, and
    /// addresses with a port, between commas
    #[arg(long, value_name = "all|LIST")]
    ddp: Option<String>,
    /// Local ports where connections that it accepts may be in DDPMODE: all, or ports and ranges, between commas
    #[arg(long, value_name = "all|PORTS")]
    listen: Option<String>,
    /// Connect again as plain TCP where the other end does not speak MPA
    #[arg(long)]
    fallback: bool,
    /// How long the first write to an accepted connection waits for an MPA Request before it is plain TCP
    #[arg(long, value_name = "MS")]
    server_first_wait: Option<u32>,
    /// Do without the CRC32c on every frame, if the other end does too
    #[arg(long)]
    no_crc: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Becomes the program; returns only if that fails.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let library = library()?;
    let (program, arguments) = args.command.split_first().ok_or_else(|| {
        Failure::new(
            "there is nothing to run",
            "no program is named",
            "name one behind --",
        )
    })?;
    let mut command = Command::new(program);
    command.args(arguments);
    let mut preload = library.into_os_string();
    if let Some(others) = env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    command.env("LD_PRELOAD", preload);
    for (name, value) in [("UWARP_DDP", &args.ddp), ("UWARP_LISTEN", &args.listen)] {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    if args.fallback {
        command.env("UWARP_FALLBACK", "1");
    }
    if args.no_crc {
        command.env("UWARP_CRC", "0");
    }
    if let Some(wait) = args.server_first_wait {
        command.env("UWARP_SERVER_FIRST_WAIT_MS", wait.to_string());
    }
    let error = command.exec();
    Err(Failure::new(
        format!("cannot run {}", Path::new(program).display()),
        error,
        "check its name and its rights",
    ))
}

/// Where the library is: where UWARP_PRELOAD says, beside this command, or in the lib directory beside its bin.
fn library() -> Result<PathBuf, Failure> {
    let candidates = match env::var_os("UWARP_PRELOAD") {
        Some(path) => vec![PathBuf::from(path)],
        None => {
            let own = env::current_exe().unwrap_or_default();
            let directory = own.parent().unwrap_or(Path::new("/"));
            vec![
                directory.join(LIBRARY),
                directory.join("../lib").join(LIBRARY),
            ]
        }
    };
    let found = candidates.iter().find_map(|path| path.canonicalize().ok());
    found.ok_or_else(|| {
        let looked = candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>();
        Failure::new(
            format!("{LIBRARY} is not there"),
            format!("looked for {}", looked.join(" and ")),
            "build it (cargo build --release -p uwarp-preload), or set UWARP_PRELOAD to its path",
        )
    })
}

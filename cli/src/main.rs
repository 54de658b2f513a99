//! The command `uwarp`: files and measurements by remote direct memory access over plain TCP.

mod args;
mod bench;
mod child;
mod content;
mod demo;
mod echo;
mod error;
mod get;
mod names;
mod ping;
mod put;
mod report;
mod rping;
mod run;
mod serve;
mod session;
mod store;
mod terms;
mod transfer;
mod units;
mod wire;

use std::io::{self, BufWriter};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};
use crate::error::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    log(&args.command);
    match run(&args.command) {
        Ok(status) => status,
        Err(failure) => {
            report::complain(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Demo(args) => demo::run(args)?,
        Command::Serve(args) => serve::run(args)?,
        Command::Put(args) => put::run(args)?,
        Command::Get(args) => get::run(args)?,
        Command::Ping(args) => ping::run(args)?,
        Command::Bench(args) => bench::run(args)?,
        Command::Dump(args) => return Ok(dump(args)),
        Command::Torment(args) => return Ok(uwarp_torment::run(args)),
        Command::Target(args) => return Ok(uwarp_torment::run_target(args)),
        Command::Rping(args) => rping::run(args)?,
        Command::Run(args) => run::run(args)?,
        Command::DemoListener(args) => demo::listen(args)?,
        Command::BenchPeer(args) => bench::peer(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn dump(args: &uwarp_inspect::Args) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    match uwarp_inspect::run(args, &mut out) {
        Ok(summary) => uwarp_inspect::status(&summary).into(),
        Err(error) => {
            eprintln!("uwarp: {error}");
            uwarp_inspect::UNREADABLE.into()
        }
    }
}

/// Logs to standard error: what a server does, and for all else what UWARP_LOG asks for.
fn log(command: &Command) {
    let default = match command {
        Command::Serve(_) => "uwarp=info",
        _ => "off",
    };
    let filter = EnvFilter::try_from_env("UWARP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .log_internal_errors(false)
        .init();
}

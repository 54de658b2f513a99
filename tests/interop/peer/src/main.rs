//! The other end of programs that speak iWARP through the Linux kernel: of rdma-core's examples, of perftest, and of
//! the verbs program beside this one. Each command fails unless all that arrived is what it should be.

mod cmatose;
mod end;
mod perftest;
mod simple;
mod stream;
mod verbs;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::end::Place;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Side {
    /// Listen there, and say so
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Connect to there
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
}

impl Side {
    fn place(self) -> Place {
        match (self.listen, self.connect) {
            (Some(address), _) => Place::Listen(address),
            (None, Some(address)) => Place::Connect(address),
            // clap has seen to it that there is one.
            (None, None) => unreachable!("neither listens nor connects"),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// rdma_client's and rdma_server's other end: a message of 16 octets each way
    Simple {
        #[command(flatten)]
        side: Side,
    },
    /// ucmatose's other end
    Cmatose {
        #[command(flatten)]
        side: Side,
        #[command(flatten)]
        options: cmatose::Settings,
    },
    /// perftest's other end, for the programs with -R
    Perftest {
        #[command(flatten)]
        side: Side,
        #[command(flatten)]
        options: perftest::Settings,
    },
    /// The other end of rstream with -T v
    Rstream {
        #[command(flatten)]
        side: Side,
        #[command(flatten)]
        options: stream::RstreamSettings,
    },
    /// The other end of riostream with -T v
    Riostream {
        #[command(flatten)]
        side: Side,
        #[command(flatten)]
        options: stream::RstreamSettings,
    },
    /// rcopy's other end
    Rcopy {
        #[command(flatten)]
        side: Side,
        #[command(flatten)]
        options: stream::RcopySettings,
    },
    /// The other end of the verbs program beside this one
    Verbs {
        #[command(flatten)]
        side: Side,
        #[command(flatten)]
        options: verbs::Settings,
    },
    /// The other end of the verbs program's long run, in both roles at the same time
    Long(verbs::LongSettings),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Simple { side } => simple::run(side.place()),
        Command::Cmatose { side, options } => cmatose::run(side.place(), &options),
        Command::Perftest { side, options } => perftest::run(side.place(), &options),
        Command::Rstream { side, options } => stream::rstream(side.place(), &options),
        Command::Riostream { side, options } => stream::riostream(side.place(), &options),
        Command::Rcopy { side, options } => stream::rcopy(side.place(), &options),
        Command::Verbs { side, options } => verbs::run(side.place(), &options),
        Command::Long(settings) => verbs::run_long(&settings),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uwarp-interop: {error}");
            ExitCode::FAILURE
        }
    }
}

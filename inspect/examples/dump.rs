//! `uwarp dump` by itself.

use std::io::{self, BufWriter};
use std::process::ExitCode;

use clap::Parser;
use uwarp_inspect::{Args, UNREADABLE, run, status};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    match run(&Command::parse().args, &mut out) {
        Ok(summary) => status(&summary).into(),
        Err(error) => {
            eprintln!("{error}");
            UNREADABLE.into()
        }
    }
}

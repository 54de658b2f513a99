//! What the command prints.

use std::fmt::Arguments;
use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::error::Failure;

/// Prints a line on standard output. A reader that has gone away is an error and no reason to panic.
pub(crate) fn say(line: Arguments<'_>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::file("cannot write the report", &error))
}

/// Prints what has failed on standard error.
pub(crate) fn complain(failure: &Failure) {
    // There is nowhere else to tell it.
    let _ = writeln!(io::stderr().lock(), "uwarp: {failure}");
}

/// A progress bar on standard error, which shows only on a terminal and goes when it is dropped.
pub(crate) fn progress(what: &'static str, octets: u64) -> ProgressBar {
    let template =
        "{msg:6} [{bar:40}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
    let bar = ProgressBar::new(octets)
        .with_message(what)
        .with_finish(ProgressFinish::AndClear);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

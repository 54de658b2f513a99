//! The command: a capture in, lines out.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;
use thiserror::Error;

use crate::capture::{self, CaptureError, End};
use crate::inspector::Inspector;
use crate::record::{Record, What};
use crate::summary::Summary;
use crate::text::Line;

/// Follow the iWARP connections in a packet capture, and name every rule that is broken.
///
/// Exits with 0 if no rule is broken, 3 if one is, and 1 if the capture cannot be read. What rests on
/// a guess does not count.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// A pcap or pcapng capture; - for standard input.
    pub capture: PathBuf,
    /// One JSON object a line, the summary last.
    #[arg(long)]
    pub json: bool,
    /// Only violations and the summary.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Why there is no, or only half, an answer.
#[derive(Debug, Error)]
pub enum DumpError {
    /// The file cannot be opened.
    #[error("{path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The capture cannot be read.
    #[error("{path}: {source}")]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: CaptureError,
    },
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Exit status when no rule is broken.
pub const CLEAN: u8 = 0;
/// Exit status when the capture cannot be read.
pub const UNREADABLE: u8 = 1;
/// Exit status when a rule is broken.
pub const VIOLATIONS: u8 = 3;

/// The summary, as the last line of JSON.
#[derive(Serialize)]
struct Last<'a> {
    kind: &'static str,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// Writes what is in the capture to `out`, and returns its summary. The exit status that belongs to
/// it is [`status`].
///
/// # Errors
/// When the capture cannot be read, or the output not written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Summary, DumpError> {
    let open = |source| DumpError::Open {
        path: args.capture.clone(),
        source,
    };
    if args.capture.as_os_str() == "-" {
        dump(io::stdin(), args, out)
    } else {
        dump(File::open(&args.capture).map_err(open)?, args, out)
    }
}

/// The exit status for a capture with this summary.
#[must_use]
pub fn status(summary: &Summary) -> u8 {
    if summary.violations.is_empty() {
        CLEAN
    } else {
        VIOLATIONS
    }
}

fn dump(
    source: impl io::Read + Send,
    args: &Args,
    out: &mut impl Write,
) -> Result<Summary, DumpError> {
    let mut inspector = Inspector::new();
    let mut printer = Printer {
        args,
        out,
        start: None,
        failed: None,
        summary: Summary::default(),
    };
    let end = capture::read(source, |packet| {
        printer.start.get_or_insert(packet.time);
        inspector.packet(packet);
        printer.records(&inspector.take_records());
    });
    while inspector.finish_one() {
        printer.records(&inspector.take_records());
    }
    let traffic = inspector.traffic();
    let end = match end {
        Ok(_) if traffic.packets > 0 && traffic.unknown_link == traffic.packets => {
            Err(CaptureError::Link(traffic.link))
        }
        end => end,
    };
    match end {
        Ok(end) => printer.finish(&inspector, end),
        Err(source) => {
            printer.flush()?;
            Err(DumpError::Capture {
                path: args.capture.clone(),
                source,
            })
        }
    }
}

struct Printer<'a, W> {
    args: &'a Args,
    out: &'a mut W,
    /// Time of the first packet.
    start: Option<u64>,
    failed: Option<io::Error>,
    summary: Summary,
}

impl<W: Write> Printer<'_, W> {
    fn records(&mut self, records: &[Record]) {
        for record in records {
            self.summary.count(record);
            if self.failed.is_none() {
                self.failed = self.record(record).err();
            }
        }
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        if self.args.quiet && !matches!(record.what, What::Violation { .. }) {
            return Ok(());
        }
        if self.args.json {
            serde_json::to_writer(&mut *self.out, record)?;
            return writeln!(self.out);
        }
        let start = self.start.unwrap_or(0);
        writeln!(self.out, "{}", Line { record, start })
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }

    fn finish(mut self, inspector: &Inspector, end: End) -> Result<Summary, DumpError> {
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        self.summary.traffic(inspector.traffic(), end == End::Cut);
        let summary = &self.summary;
        if self.args.json {
            let kind = "summary";
            serde_json::to_writer(&mut *self.out, &Last { kind, summary })
                .map_err(io::Error::from)?;
            writeln!(self.out)?;
        } else {
            write!(self.out, "{summary}")?;
        }
        self.out.flush()?;
        Ok(self.summary)
    }
}

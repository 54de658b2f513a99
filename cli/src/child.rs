//! The second process of `demo` and `bench`: this command again, with another task.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, Stdio};

use crate::error::Failure;

/// A process that lives as long as this one: it watches its standard input, which this one holds open.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    out: BufReader<ChildStdout>,
}

/// What to do when a process cannot be had.
const REMEDY: &str = "this machine may be short of processes or memory";

impl Child {
    /// This command with the hidden subcommand `task`.
    pub(crate) fn command(task: &str) -> Result<Command, Failure> {
        // The program may have been replaced on the disk while it runs; this is the one that runs.
        let mut command = Command::new("/proc/self/exe");
        command.arg(task);
        Ok(command)
    }

    pub(crate) fn start(mut command: Command) -> Result<Self, Failure> {
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new("cannot start the second process", cause, REMEDY)
        };
        // A group of its own, so that Ctrl-C reaches only this process: the other one goes when this one
        // has gone, and cleans up.
        let mut process = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let out = process
            .stdout
            .take()
            .ok_or_else(|| failed(&"it has no standard output"))?;
        Ok(Self {
            process,
            out: BufReader::new(out),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        let cause = match self.out.read_line(&mut line) {
            Ok(0) => "it ended early".to_owned(),
            Ok(_) => return Ok(line.trim_end().to_owned()),
            Err(error) => error.to_string(),
        };
        let remedy = "see what it said above";
        Err(Failure::new("the second process failed", cause, remedy))
    }

    /// Tells it to end, and waits for that.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        drop(self.process.stdin.take());
        match self.process.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::new(
                "the second process failed",
                status,
                "see what it said above",
            )),
            Err(error) => Err(Failure::new("the second process is lost", error, REMEDY)),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It ends by itself; this only keeps it from becoming a zombie.
        drop(self.process.wait());
    }
}

//! Running the command, and a server of it.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What takes longer than this hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The command with these arguments, with nothing on its standard input.
pub(crate) fn uwarp(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uwarp"));
    command
        .args(args)
        .env_remove("UWARP_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// How a run of the command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None` when it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.err, "");
        self.out
    }

    /// It failed, and said so in one line that names cause and remedy; gives the line.
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        let line = self.err.trim_end();
        assert_eq!(line.lines().count(), 1, "{self:?}");
        assert!(line.starts_with("uwarp: "), "{self:?}");
        let (cause, remedy) = line.split_once("; ").expect("no remedy");
        assert!(cause.matches(": ").count() >= 2 && !remedy.is_empty());
        line.to_owned()
    }
}

/// A running command, which does not outlive the test.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(Some(command.spawn().expect("it starts")))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it has not been waited for")
    }

    /// Ends it without giving it a chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.child().kill().expect("it can be killed");
    }

    /// Waits for its end.
    pub(crate) fn outcome(self) -> Outcome {
        self.outcome_within(LIMIT)
    }

    /// As [`outcome`](Self::outcome), for what takes long.
    pub(crate) fn outcome_within(mut self, limit: Duration) -> Outcome {
        let child = self.child();
        let deadline = Instant::now() + limit;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let out = thread::spawn(move || read_all(out));
        let err = thread::spawn(move || read_all(err));
        let status = loop {
            match child.try_wait().expect("it can be waited for") {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "it hangs"),
            }
            thread::sleep(Duration::from_millis(2));
        };
        Outcome {
            code: status.code(),
            out: out.join().unwrap(),
            err: err.join().unwrap(),
        }
    }
}

fn read_all(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_string(&mut text).expect("it prints UTF-8");
    }
    text
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs the command to its end.
pub(crate) fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome {
    Running::start(uwarp(args)).outcome()
}

/// A `uwarp serve` on a directory of its own and a free port.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) directory: TempDir,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = uwarp(["serve", "--listen", "127.0.0.1:0"]);
        command.args(options).arg(directory.path());
        command.stderr(Stdio::null());
        let mut process = Running::start(command);
        let out = process.child().stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_once(';'))
            .unwrap_or_else(|| panic!("no address in {line:?}"))
            .0
            .to_owned();
        Self {
            process,
            directory,
            address,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// All that is in its directory, hidden files too.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.directory.path())
    }

    pub(crate) fn put(&self, file: &Path, options: &[&str]) -> Outcome {
        let mut command = uwarp(["put"]);
        command.arg(file).arg(&self.address).args(options);
        Running::start(command).outcome()
    }

    pub(crate) fn get(&self, name: &str, output: &Path) -> Outcome {
        let mut command = uwarp(["get", name, &self.address, "--output"]);
        command.arg(output);
        Running::start(command).outcome()
    }
}

/// The names in a directory, in order.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A file of `len` octets in which no two blocks are equal.
pub(crate) fn file(directory: &Path, name: &str, len: usize) -> PathBuf {
    let path = directory.join(name);
    let octets: Vec<u8> = (0..len.div_ceil(8) as u64)
        .flat_map(|word| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes())
        .take(len)
        .collect();
    std::fs::write(&path, octets).unwrap();
    path
}

/// A file of so many zeros that take no room.
pub(crate) fn sparse(directory: &Path, name: &str, len: u64) -> PathBuf {
    let path = directory.join(name);
    std::fs::File::create(&path).unwrap().set_len(len).unwrap();
    path
}

/// Waits until something is the case.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "not within the limit: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Both files have the same contents.
pub(crate) fn same(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(|path| std::fs::read(path).unwrap());
    assert!(one == other, "the contents differ");
}

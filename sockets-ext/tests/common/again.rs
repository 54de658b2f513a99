//! The test binary run again, as a process that a test may kill or fork.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Says to a process which part it plays.
const ROLE: &str = "UWARP_TEST_ROLE";

/// Prefixes what a part says, amid what the test harness prints.
const MARK: &str = "\u{1}uwarp ";

/// A process that plays a part. It is killed when dropped.
pub(crate) struct Actor {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    /// Runs the test function named `test` in a process of its own, as `role`.
    pub(crate) fn start(test: &str, role: &str) -> Self {
        let mut child = command(test, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            stdin,
            stdout,
        }
    }

    /// Tells the part something.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("a listening process");
    }

    /// What the part says next.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let count = self.stdout.read_line(&mut line).expect("text");
            assert_ne!(count, 0, "the process ended without a word");
            if let Some((_, said)) = line.split_once(MARK) {
                return said.trim_end().to_owned();
            }
        }
    }

    /// Kills the process as the kernel does when memory runs out.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a living process");
        self.child.wait().expect("a dead process");
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end well, having run its one test.
    pub(crate) fn finish(mut self) {
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).expect("text");
        let status = self.child.wait().expect("an ended process");
        assert!(status.success(), "{status}: {said}");
        assert!(said.contains("1 passed"), "the test was not found: {said}");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that runs the test function named `test` as `role`.
pub(crate) fn command(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role);
    command
}

/// The part that this process plays, if a test started it.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Says something to the test that started this process.
pub(crate) fn say(words: &str) {
    // Not `println`, which a harness may capture.
    let mut stdout = std::io::stdout();
    let line = format!("\n{MARK}{words}\n");
    stdout.write_all(line.as_bytes()).expect("a pipe");
    stdout.flush().expect("a pipe");
}

/// What the test that started this process says next.
pub(crate) fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("text");
    line.trim_end().to_owned()
}

//! Other libraries over TCP, where their own measuring programs are installed: UCX and libfabric.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Contestant;
use super::results::{Key, Results, Spread, median};
use super::targets::Verdict;
use super::task::Kind;
use crate::units;

/// How long one of their measurements may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a program may take to listen. They do not say when they do.
const TO_LISTEN: Duration = Duration::from_millis(300);

/// What their programs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Test {
    tool: Tool,
    name: &'static str,
    /// What of ours it is compared with.
    kind: Kind,
    size: u32,
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Ucx,
    Libfabric,
    /// Of the same library, but hardly ever packaged.
    Fabtests,
}

const fn ucx(name: &'static str, kind: Kind, size: u32, count: u32) -> Test {
    Test {
        tool: Tool::Ucx,
        name,
        kind,
        size,
        count,
    }
}

const fn libfabric(size: u32, count: u32) -> Test {
    Test {
        tool: Tool::Libfabric,
        name: "msg ping-pong",
        kind: Kind::SendPing,
        size,
        count,
    }
}

const fn fabtests(size: u32, count: u32) -> Test {
    Test {
        tool: Tool::Fabtests,
        name: "RMA write",
        kind: Kind::Write,
        size,
        count,
    }
}

const TESTS: [Test; 16] = [
    ucx("ucp_put_bw", Kind::Write, 64, 100_000),
    ucx("ucp_am_bw", Kind::Write, 64, 100_000),
    ucx("ucp_put_bw", Kind::Write, 4 << 10, 20_000),
    ucx("ucp_am_bw", Kind::Write, 4 << 10, 20_000),
    ucx("ucp_put_bw", Kind::Write, 64 << 10, 2_000),
    ucx("ucp_am_bw", Kind::Write, 64 << 10, 2_000),
    ucx("ucp_put_bw", Kind::Write, 1 << 20, 50),
    ucx("ucp_am_bw", Kind::Write, 1 << 20, 200),
    ucx("ucp_am_lat", Kind::SendPing, 64, 10_000),
    libfabric(64, 10_000),
    libfabric(64 << 10, 1_000),
    libfabric(1 << 20, 100),
    fabtests(64, 100_000),
    fabtests(4 << 10, 20_000),
    fabtests(64 << 10, 5_000),
    fabtests(1 << 20, 500),
];

/// What one of their measurements came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Other {
    library: &'static str,
    test: &'static str,
    kind: Kind,
    size: u32,
    /// Microseconds for an operation, one way; empty when the program is not installed or fails.
    us: Vec<f64>,
    /// Why there is nothing.
    missing: Option<String>,
}

impl Other {
    /// For people, next to ours.
    pub(super) fn line(&self, results: &Results) -> String {
        let name = format!(
            "{} {} {}",
            self.library,
            self.test,
            units::size(self.size.into())
        );
        let Some(us) = median(&self.us) else {
            let missing = (self.missing.as_deref()).unwrap_or("not measured: that takes --others");
            return format!("{name:44}{missing}");
        };
        let ours = |contestant| {
            let key = Key {
                contestant,
                kind: self.kind,
                busy: self.kind.is_ping(),
                size: self.size,
            };
            results.summary(key).map_or(f64::NAN, |ours| {
                if self.kind.is_ping() {
                    ours.us / us
                } else {
                    us / ours.us
                }
            })
        };
        format!(
            "{name:44}{us:10.2} us; ours {} is {:.2} times with CRC, {:.2} without",
            if self.kind.is_ping() {
                "busy"
            } else {
                "in throughput"
            },
            ours(Contestant::Crc),
            ours(Contestant::NoCrc)
        )
    }
}

/// What is aimed at next to the better of a library's ways to stream: size, with CRC, without.
const STREAMS: [(&str, u32, f64, f64); 8] = [
    ("UCX", 1 << 20, 0.75, 1.0),
    ("UCX", 64 << 10, 1.1, 1.3),
    ("UCX", 4 << 10, 2.5, 3.0),
    ("UCX", 64, 3.5, 4.5),
    ("libfabric", 1 << 20, 0.75, 1.0),
    ("libfabric", 64 << 10, 0.75, 1.0),
    ("libfabric", 4 << 10, 2.5, 3.0),
    ("libfabric", 64, 7.0, 8.0),
];

/// The targets whose measurements are there.
pub(super) fn verdicts(others: &[Other], results: &Results) -> Vec<Verdict> {
    let judge = |&(library, size, crc, no_crc): &(&str, u32, f64, f64)| {
        let streams = others.iter().filter(|other| {
            (other.library, other.kind, other.size) == (library, Kind::Write, size)
        });
        let best = streams
            .filter_map(|other| median(&other.us))
            .reduce(f64::min);
        [(Contestant::Crc, crc), (Contestant::NoCrc, no_crc)].map(|(contestant, target)| {
            let ours = results.summary(Key {
                contestant,
                kind: Kind::Write,
                busy: false,
                size,
            })?;
            let best = best?;
            let spread = Spread {
                median: best / ours.us,
                least: best / ours.us_max,
                greatest: best / ours.us_min,
            };
            let what = format!(
                "Write of {}: throughput against {library}",
                units::size(size.into())
            );
            Some(Verdict::new(what, contestant, spread, target, true))
        })
    };
    STREAMS.iter().flat_map(judge).flatten().collect()
}

/// The measurements of other libraries, round by round.
#[derive(Debug)]
pub(super) struct Others(Vec<(Test, Other)>);

impl Others {
    /// Of messages of these sizes, or of all that are of interest.
    pub(super) fn new(sizes: &[u64]) -> Self {
        let wanted = |test: &Test| sizes.is_empty() || sizes.contains(&test.size.into());
        let other = |test: Test| Other {
            library: match test.tool {
                Tool::Ucx => "UCX",
                Tool::Libfabric | Tool::Fabtests => "libfabric",
            },
            test: test.name,
            kind: test.kind,
            size: test.size,
            us: Vec::new(),
            missing: None,
        };
        let tests = TESTS.into_iter().filter(wanted);
        Self(tests.map(|test| (test, other(test))).collect())
    }

    /// One round of all that is installed.
    pub(super) fn round(&mut self) {
        for (test, other) in &mut self.0 {
            if other.missing.is_some() {
                continue;
            }
            match measure(test) {
                Ok(us) => other.us.push(us),
                Err(error) => other.missing = Some(error),
            }
        }
    }

    pub(super) fn into_results(self) -> Vec<Other> {
        self.0.into_iter().map(|(_, other)| other).collect()
    }
}

/// A process that is killed when it is not wanted any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Microseconds for an operation, one way.
fn measure(test: &Test) -> Result<f64, String> {
    let port = free_port().map_err(|error| error.to_string())?;
    let command = |client: bool| match test.tool {
        Tool::Ucx => ucx_command(test, port, client),
        Tool::Libfabric => libfabric_command("fi_pingpong", &[], test, port, client),
        Tool::Fabtests => libfabric_command("fi_rma_bw", &["-o", "write"], test, port, client),
    };
    let start = |mut command: Command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("{} is not installed", command.get_program().display())
                }
                _ => error.to_string(),
            })
    };
    let server = Running(start(command(false))?);
    std::thread::sleep(TO_LISTEN);
    let mut client = Running(start(command(true))?);
    let deadline = Instant::now() + PATIENCE;
    while client.0.try_wait().is_ok_and(|status| status.is_none()) {
        if Instant::now() > deadline {
            return Err(format!("took more than {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(server);
    let mut output = String::new();
    if let Some(mut out) = client.0.stdout.take() {
        io::Read::read_to_string(&mut out, &mut output).map_err(|error| error.to_string())?;
    }
    let parsed = match test.tool {
        Tool::Ucx => parse_ucx(test, &output),
        Tool::Libfabric | Tool::Fabtests => parse_libfabric(&output),
    };
    parsed.ok_or_else(|| "its output is not understood".to_owned())
}

/// A port that nobody listened on a moment ago.
fn free_port() -> io::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

fn ucx_command(test: &Test, port: u16, client: bool) -> Command {
    let mut command = Command::new("ucx_perftest");
    command.env("UCX_TLS", "tcp").env("UCX_NET_DEVICES", "lo");
    command.args(["-p", &port.to_string()]);
    if client {
        let (size, count) = (test.size.to_string(), test.count.to_string());
        let warm_up = (test.count / 10).to_string();
        command.args(["127.0.0.1", "-f", "-t", test.name]);
        command.args(["-s", &size, "-n", &count, "-w", &warm_up]);
    }
    command
}

/// The last line of numbers ends in the rate of messages; before it, of latencies, is the overall time one way.
fn parse_ucx(test: &Test, output: &str) -> Option<f64> {
    let numbers = (output.lines().rev())
        .map(|line| {
            line.split_whitespace()
                .map_while(|word| word.parse::<f64>().ok())
                .collect::<Vec<_>>()
        })
        .find(|numbers| numbers.len() >= 8)?;
    if test.kind.is_ping() {
        return numbers.get(3).copied();
    }
    let rate = *numbers.last()?;
    (rate > 0.0).then(|| 1e6 / rate)
}

fn libfabric_command(
    program: &str,
    more: &[&str],
    test: &Test,
    port: u16,
    client: bool,
) -> Command {
    let mut command = Command::new(program);
    let (size, count) = (test.size.to_string(), test.count.to_string());
    command.args(["-p", "tcp", "-e", "msg", "-I", &count, "-S", &size]);
    command.args(more);
    let port = port.to_string();
    if client {
        command.args(["-P", &port, "127.0.0.1"]);
    } else {
        command.args(["-B", &port]);
    }
    command
}

/// A line of names, among them `usec/xfer`, and a line of numbers.
fn parse_libfabric(output: &str) -> Option<f64> {
    let mut lines = output.lines().filter(|line| !line.trim().is_empty());
    let names = lines.find(|line| line.contains("usec/xfer"))?;
    let column = names
        .split_whitespace()
        .position(|name| name == "usec/xfer")?;
    let numbers = lines.next_back()?;
    numbers.split_whitespace().nth(column)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_outputs_are_understood() {
        let put = ucx("ucp_put_bw", Kind::Write, 4096, 20_000);
        let text = "+----+\n 20000      1.641    26.805    26.805      145.73     145.73       37306       40000\n";
        assert_eq!(parse_ucx(&put, text), Some(25.0));
        let latency = ucx("ucp_am_lat", Kind::SendPing, 64, 10);
        assert_eq!(parse_ucx(&latency, text), Some(26.805));
        assert_eq!(parse_ucx(&put, "no numbers\n"), None);
        let text = "bytes   #sent   #ack     total       time     MB/sec    usec/xfer   Mxfers/sec\n\
                    64      1k      =1k      125k        0.43s      0.30     216.39       0.00\n";
        assert_eq!(parse_libfabric(text), Some(216.39));
        assert_eq!(parse_libfabric(""), None);
    }
}

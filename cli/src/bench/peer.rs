//! The second process: it does its part of every task, and then says what it has used.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};
use uwarp::{Domain, Incoming, Listener};

use super::bytes::Bytes;
use super::rdma::{self, Outcome, Rdma};
use super::task::Task;
use super::tcp::Plain;
use super::usage::{Meter, Usage};
use crate::args::{BenchArgs, BenchPeerArgs};
use crate::child::Child;
use crate::error::Failure;
use crate::report::say;

/// Where the second process listens; its first line of output.
#[derive(Debug, Serialize, Deserialize)]
struct Addresses {
    crc: String,
    no_crc: String,
    tcp: String,
    bytes_crc: String,
    bytes_no_crc: String,
}

/// The second process, as the first sees it.
#[derive(Debug)]
pub(super) struct Peer {
    child: Child,
    addresses: Addresses,
    emss: Option<u32>,
}

impl Peer {
    pub(super) fn start(args: &BenchArgs) -> Result<Self, Failure> {
        let mut command = match &args.netns {
            None => Child::command("bench-peer")?,
            Some((name, address)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]);
                command.arg(format!("/proc/{}/exe", std::process::id()));
                command.args(["bench-peer", "--address", &address.to_string()]);
                command
            }
        };
        if let Some(emss) = args.emss {
            command.arg("--emss").arg(emss.to_string());
        }
        let mut child = Child::start(command)?;
        let addresses = parse(&child.line()?)?;
        Ok(Self {
            child,
            addresses,
            emss: args.emss,
        })
    }

    /// The segment size that messages are cut for, if it is chosen.
    pub(super) const fn emss(&self) -> Option<u32> {
        self.emss
    }

    pub(super) fn tcp(&self) -> &str {
        &self.addresses.tcp
    }

    pub(super) fn rdma(&self, crc: bool) -> &str {
        if crc {
            &self.addresses.crc
        } else {
            &self.addresses.no_crc
        }
    }

    /// Where the stream's responder is.
    pub(super) fn bytes(&self, crc: bool) -> &str {
        if crc {
            &self.addresses.bytes_crc
        } else {
            &self.addresses.bytes_no_crc
        }
    }

    /// What it has used for the task that it has done.
    pub(super) fn usage(&mut self) -> Result<Usage, Failure> {
        parse(&self.child.line()?)
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        self.child.finish()
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, Failure> {
    serde_json::from_str(line).map_err(|error| {
        let remedy = "see what the second process said above";
        Failure::new("the second process is not understood", error, remedy)
    })
}

/// Serves until standard input ends, that is, until the first process has gone.
pub(crate) fn run(args: &BenchPeerArgs) -> Result<(), Failure> {
    // Before there is any other thread.
    let meter = Arc::new(Mutex::new(Meter::new()));
    let addresses = Addresses {
        tcp: serve_tcp(args, &meter, follow_tcp)?,
        bytes_crc: serve_tcp(args, &meter, |stream, meter| {
            follow_bytes(stream, true, meter)
        })?,
        bytes_no_crc: serve_tcp(args, &meter, |stream, meter| {
            follow_bytes(stream, false, meter)
        })?,
        crc: serve(args, true, &meter)?,
        no_crc: serve(args, false, &meter)?,
    };
    say(format_args!("{}", to_json(&addresses)))?;
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
    Ok(())
}

fn serve_tcp(
    args: &BenchPeerArgs,
    meter: &Arc<Mutex<Meter>>,
    follow: impl Fn(TcpStream, &Mutex<Meter>) -> Outcome<()> + Send + 'static,
) -> Result<String, Failure> {
    // Any free port.
    let listener = TcpListener::bind((args.address, 0)).map_err(no_tcp)?;
    let address = listener.local_addr().map_err(no_tcp)?.to_string();
    let meter = Arc::clone(meter);
    thread::spawn(move || {
        // One after the other, as the first process asks.
        for stream in listener.incoming().flatten() {
            complain(follow(stream, &meter));
        }
    });
    Ok(address)
}

fn serve(args: &BenchPeerArgs, crc: bool, meter: &Arc<Mutex<Meter>>) -> Result<String, Failure> {
    let domain = Domain::new();
    let options = rdma::options(&domain, crc, args.emss);
    let address = SocketAddr::new(args.address, 0);
    let listener = Listener::bind(address, &options).map_err(|error| {
        let remedy = "look at the network of this machine";
        Failure::new("cannot listen", error, remedy)
    })?;
    let address = listener.local_addr().to_string();
    let meter = Arc::clone(meter);
    thread::spawn(move || {
        while let Ok(incoming) = listener.accept() {
            complain(follow_rdma(incoming, &domain, &meter));
        }
    });
    Ok(address)
}

fn follow_rdma(incoming: Incoming, domain: &Domain, meter: &Mutex<Meter>) -> Outcome<()> {
    let mut end = Rdma::accept(incoming, domain)?;
    let task = *end.task();
    end.follow(task.warm_up())?;
    metered(meter, &task, || end.follow(task.count))?;
    end.finish();
    Ok(())
}

fn follow_tcp(stream: TcpStream, meter: &Mutex<Meter>) -> Outcome<()> {
    let mut end = Plain::accept(stream)?;
    let task = *end.task();
    end.follow(task.warm_up())?;
    metered(meter, &task, || Ok(end.follow(task.count)?))
}

fn follow_bytes(stream: TcpStream, crc: bool, meter: &Mutex<Meter>) -> Outcome<()> {
    let mut end = Bytes::accept(stream, crc)?;
    let task = *end.task();
    end.follow(task.warm_up())?;
    metered(meter, &task, || end.follow(task.count))
}

/// Does a part, and says what was used for it.
fn metered(meter: &Mutex<Meter>, task: &Task, part: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
    meter.count(task.counted);
    let before = meter.read();
    let done = part();
    let usage = meter.read().since(before);
    meter.count(false);
    done?;
    say(format_args!("{}", to_json(&usage))).map_err(|failure| failure.to_string().into())
}

fn complain(outcome: Outcome<()>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "the second process failed");
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "this is what map_err hands over"
)]
fn no_tcp(error: std::io::Error) -> Failure {
    Failure::new(
        "cannot listen",
        error,
        "look at the network of this machine",
    )
}

//! `uwarp demo`: two processes on this machine, and everything between them.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use crate::args::{DemoArgs, DemoListenerArgs};
use crate::child::Child;
use crate::content::{Sink, Source};
use crate::error::Failure;
use crate::ping;
use crate::put::{self, connect};
use crate::report::{progress, say};
use crate::serve::{Config, Server};
use crate::terms::{Terms, describe};
use crate::transfer::{self, Moved, TransferError};
use crate::units;

/// The name under which the listening process stores the file.
const NAME: &str = "demo";

/// Octets of each Send.
const SEND_SIZE: u32 = 64;

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let mut source = match &args.file {
        Some(file) => put::open(file)?,
        None => Source::generated(args.size),
    };
    let directory = tempfile::Builder::new()
        .prefix("uwarp-demo-")
        .tempdir()
        .map_err(|error| Failure::file("cannot make a temporary directory", &error))?;
    let terms = args.terms.terms();
    let mut listener = start(args, directory.path())?;
    let address = listener.line()?;
    say(format_args!(
        "process {} listens on {address}, process {} connects to it",
        listener.id(),
        std::process::id()
    ))?;
    exchange(args, &address, &mut source, &terms)?;
    listener.finish()?;
    say(format_args!("ok: all that arrived is what was sent"))
}

fn start(args: &DemoArgs, directory: &Path) -> Result<Child, Failure> {
    let mut command = Child::command("demo-listener")?;
    command.arg(directory);
    command.arg(format!("--port={}", args.port));
    command.arg(format!("--timeout={}", args.terms.timeout));
    if args.terms.no_crc {
        command.arg("--no-crc");
    }
    if args.terms.markers {
        command.arg("--markers");
    }
    Child::start(command)
}

fn exchange(
    args: &DemoArgs,
    address: &str,
    source: &mut Source,
    terms: &Terms,
) -> Result<(), Failure> {
    let written = files(address, source, terms)?;
    if args.sends > 0 {
        sends(address, args.sends, terms)?;
    }
    say(format_args!("blake3 {} at both ends", written.digest))
}

/// Moves the file there and back over one connection.
fn files(address: &str, source: &mut Source, terms: &Terms) -> Result<Moved, Failure> {
    let failed =
        |what: &'static str| move |error: TransferError| Failure::new(what, &error, error.remedy());
    let mut session = connect(address, terms)?;
    if let Some(established) = session.socket().established() {
        say(format_args!("agreed: {}", describe(&established)))?;
    }
    let bar = progress("Write", source.size());
    let written = transfer::push(&mut session, NAME, source, terms.patience, &bar)
        .map_err(failed("cannot move the data by RDMA Write"))?;
    drop(bar);
    report("Write", &written)?;

    let bar = progress("Read", source.size());
    let mut sink = Sink::Discard;
    let read = transfer::pull(&mut session, NAME, &mut sink, terms.patience, &bar)
        .map_err(failed("cannot move the data back by RDMA Read"))?;
    drop(bar);
    report("Read", &read)?;
    transfer::compare(written.digest, read.digest)
        .map_err(failed("what was read is not what was written"))?;
    session
        .close()
        .map_err(|error| Failure::session("cannot close the connection", &error))?;
    Ok(written)
}

fn report(operation: &str, moved: &Moved) -> Result<(), Failure> {
    say(format_args!(
        "{operation:5}  {} in {:.2} s: {}",
        units::size(moved.octets),
        moved.time.as_secs_f64(),
        units::rate(moved.octets, moved.time)
    ))
}

/// Sends messages to the listener, which sends them back.
fn sends(address: &str, count: u32, terms: &Terms) -> Result<(), Failure> {
    let mut echo = ping::connect(address, SEND_SIZE, terms)?;
    let begun = Instant::now();
    echo.flood(count)
        .map_err(|error| Failure::session("cannot exchange Sends", &error))?;
    let time = begun.elapsed();
    echo.close()
        .map_err(|error| Failure::session("cannot close the connection", &error))?;
    say(format_args!(
        "Send   {count} of {SEND_SIZE} octets and as many back in {:.2} s: {:.0} Sends/s",
        time.as_secs_f64(),
        units::per_second(2 * u64::from(count), time)
    ))
}

/// The listening process: serves until the other process goes away, by whatever way it goes.
pub(crate) fn listen(args: &DemoListenerArgs) -> Result<(), Failure> {
    let server = Server::bind(Config {
        directory: Some(&args.directory),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
        writable: true,
        clients: 2,
        terms: args.terms.terms(),
    })?;
    say(format_args!("{}", server.address()))?;
    std::thread::spawn(move || server.run());
    // The other end of standard input is closed when the other process has gone.
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
    std::fs::remove_dir_all(&args.directory)
        .map_err(|error| Failure::file("cannot remove the temporary directory", &error))
}

//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::bench::{Contestant, Kind};
use crate::terms::Terms;

/// Where `serve` listens, and where clients look for it, unless told otherwise: "iwrp" on the keys of a
/// telephone.
pub(crate) const DEFAULT_PORT: u16 = 4977;

/// Move files by remote direct memory access (RDMA) over an ordinary TCP connection.
///
/// uwarp speaks iWARP, the RDMA protocol that runs over TCP, in user space: it needs no RDMA device, no kernel
/// module and no privilege. Begin with `uwarp demo`, which shows all of it on this machine. Between machines,
/// run `uwarp serve DIR` on one, and `uwarp put`, `uwarp get` or `uwarp ping` on the other.
///
/// There is no encryption and no authentication: use it on networks that you trust.
#[derive(Debug, Parser)]
#[command(
    name = "uwarp",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 when all went well, 1 when something failed (one line on stderr says what, why, \
                  and what to do), 2 when the command line was wrong.\n\
                  Set UWARP_LOG=debug to see what the library does."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything on this machine: move a file by RDMA Write and back by RDMA Read, and exchange Sends.
    ///
    /// Starts a second process that listens on loopback, and connects to it. The file (without one: generated
    /// data) is written into that process's memory and stored in a temporary directory, then read back; then
    /// small messages go to and fro. Digests are compared at both ends, and the rate of each operation is
    /// printed. The exit status is 0 only if everything that arrived is what was sent.
    Demo(DemoArgs),
    /// Serve the files of a directory to `uwarp get`, `uwarp ping` and, if allowed, `uwarp put`.
    ///
    /// Listens on loopback only and lets nobody write unless told otherwise. Only regular files that lie
    /// right in DIR and whose names do not begin with a dot are served; symbolic links are not followed. A
    /// file that is put appears under its name only when it is whole, its digest has been checked, and it is
    /// on the disk; it then replaces what had that name. Runs until it is stopped.
    Serve(ServeArgs),
    /// Store a file at a server, by RDMA Write.
    Put(PutArgs),
    /// Fetch a file from a server, by RDMA Read.
    Get(GetArgs),
    /// Measure the latency of Send, Write followed by Send, and Read.
    ///
    /// "send" is the time for a Send and its echo; "write+send" that for an RDMA Write and a Send that tells of
    /// it, answered in the same way; "read" that for an RDMA Read, in which the server's program has no part.
    Ping(PingArgs),
    /// Compare with plain TCP on this machine: throughput of large Writes, latency of small Sends.
    ///
    /// Both ends are processes of this command's own, on loopback. RDMA and plain TCP take turns, round by
    /// round, and the medians of the rounds are compared.
    Bench(BenchArgs),
    /// Follow the iWARP connections in a capture (pcap or pcapng), and name the rules that are broken.
    ///
    /// The exit status is 0 when no rule is broken, 3 when one is, 1 when the capture cannot be read.
    Dump(uwarp_inspect::Args),
    /// Play the broken peer against an iWARP implementation: one case for each rule.
    ///
    /// What the cases need of it is offered by `uwarp target`; for other programs it is given in a file.
    Torment(uwarp_torment::Args),
    /// Offer a target with everything that `torment` needs.
    Target(uwarp_torment::TargetArgs),
    /// Ping as rdma-core's program of that name does, which may be the other end.
    ///
    /// The server reads the client's data by RDMA Read and writes it back by RDMA Write.
    Rping(crate::rping::Args),
    /// Run a program with its TCP connections in DDPMODE, which it need not know.
    ///
    /// Its sockets carry what it reads and writes by RDMA, to another program that is run so, or to one that uses
    /// rsockets. The connections that it begins are chosen by --ddp; one that it accepts at a port of --listen is in
    /// DDPMODE if the other end asks for it, and plain TCP otherwise.
    Run(crate::run::RunArgs),
    /// The listening process of `demo`.
    #[command(name = "demo-listener", hide = true)]
    DemoListener(DemoListenerArgs),
    /// The other process of `bench`.
    #[command(name = "bench-peer", hide = true)]
    BenchPeer(BenchPeerArgs),
}

/// What is asked of every connection.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct TermsArgs {
    /// Do without the CRC32c on every frame, if the other end does too
    #[arg(long)]
    pub(crate) no_crc: bool,
    /// Ask the other end to put MPA markers into what it sends
    #[arg(long)]
    pub(crate) markers: bool,
    /// Give up when the other end is silent for so many seconds when it is its turn
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
}

impl TermsArgs {
    pub(crate) const fn terms(&self) -> Terms {
        Terms {
            crc: !self.no_crc,
            markers: self.markers,
            patience: Duration::from_secs(self.timeout),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// The file to move [default: generated data]
    pub(crate) file: Option<PathBuf>,
    /// How much data to generate, such as 64M or 4G
    #[arg(long, default_value = "256M", value_parser = crate::units::parse_size, conflicts_with = "file")]
    pub(crate) size: u64,
    /// How many Sends to exchange
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) sends: u32,
    /// The TCP port that the listening process uses [default: any that is free]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) port: u16,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoListenerArgs {
    pub(crate) directory: PathBuf,
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The directory whose files are served
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The address to listen on, as ADDRESS:PORT; 0.0.0.0:4977 serves other machines too
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)))]
    pub(crate) listen: SocketAddr,
    /// Let clients put files into the directory, and replace those that are there
    #[arg(long)]
    pub(crate) writable: bool,
    /// How many clients are served at a time; each costs about 10 MiB of memory
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) clients: u32,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PutArgs {
    /// The file to store
    pub(crate) file: PathBuf,
    /// The server
    #[arg(value_name = "HOST[:PORT]", value_parser = parse_peer)]
    pub(crate) peer: String,
    /// The name that it gets at the server [default: that of FILE]
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The file's name at the server
    pub(crate) name: String,
    /// The server
    #[arg(value_name = "HOST[:PORT]", value_parser = parse_peer)]
    pub(crate) peer: String,
    /// Where to store it [default: under NAME in this directory]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PingArgs {
    /// The server
    #[arg(value_name = "HOST[:PORT]", value_parser = parse_peer)]
    pub(crate) peer: String,
    /// How often each operation is measured
    #[arg(long, short, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// Octets of each operation, at most 1M
    #[arg(long, short, value_name = "SIZE", default_value = "64", value_parser = parse_echo_size)]
    pub(crate) size: u32,
    /// Print one line of JSON, times in microseconds
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// How many rounds RDMA and TCP take in turn
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// How long all rounds together take, about [default: 25, with --full 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) seconds: Option<u32>,
    /// Measure more sizes, UCX and libfabric as with --others, and up to 10000 connections
    #[arg(long)]
    pub(crate) full: bool,
    /// Measure one connection and messages of these sizes only, of those from 8 octets to 8M that are measured
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = crate::units::parse_size)]
    pub(crate) sizes: Vec<u64>,
    /// Measure these kinds of operation only
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',')]
    pub(crate) kinds: Vec<Kind>,
    /// Measure these only, say one of them to see where its time goes
    #[arg(long, value_name = "CONTESTANT", value_enum, value_delimiter = ',')]
    pub(crate) contestants: Vec<Contestant>,
    /// Measure UCX and libfabric as well, where their programs ucx_perftest and fi_pingpong are installed
    #[arg(long)]
    pub(crate) others: bool,
    /// Run the second process in this network namespace, where it has this IP address, instead of on loopback
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = parse_netns, conflicts_with_all = ["others", "full"])]
    pub(crate) netns: Option<(String, IpAddr)>,
    /// Cut messages for this segment size of TCP's instead of the connection's own
    #[arg(long, value_name = "OCTETS", value_parser = clap::value_parser!(u32).range(200..=65_535))]
    pub(crate) emss: Option<u32>,
    /// Draw throughput and latency against size into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The second process of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchPeerArgs {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    #[arg(long)]
    pub(crate) emss: Option<u32>,
}

fn parse_netns(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("write NAME=ADDRESS")?;
    let address = address.parse().map_err(|_| "it has no IP address")?;
    Ok((name.to_owned(), address))
}

/// A host with or without a port; gives it with one.
fn parse_peer(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the name of the server is empty".to_owned());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::from((address, DEFAULT_PORT)).to_string());
    }
    match text.rsplit_once(':') {
        None => Ok(format!("{text}:{DEFAULT_PORT}")),
        Some(("", _)) => Err("the name of the server is empty".to_owned()),
        Some((_, port)) => match port.parse::<u16>() {
            Ok(1..) => Ok(text.to_owned()),
            _ => Err(format!(
                "{port:?} is not a port: write a number from 1 to 65535"
            )),
        },
    }
}

fn parse_echo_size(text: &str) -> Result<u32, String> {
    let max = crate::wire::ECHO_SIZE_MAX;
    match crate::units::parse_size(text)?.try_into() {
        Ok(size) if (1..=max).contains(&size) => Ok(size),
        _ => Err(format!("the size must be from 1 to {max}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn a_port_may_be_left_out() {
        let peer = |text| parse_peer(text).unwrap();
        assert_eq!(peer("host"), "host:4977");
        assert_eq!(peer("host:1"), "host:1");
        assert_eq!(peer("10.0.0.1"), "10.0.0.1:4977");
        assert_eq!(peer("::1"), "[::1]:4977");
        assert_eq!(peer("[::1]:80"), "[::1]:80");
        for wrong in ["", ":1", "host:", "host:0", "host:65536", "host:http"] {
            assert!(parse_peer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_echo_has_at_least_an_octet_and_at_most_a_mebioctet() {
        assert_eq!(parse_echo_size("1M"), Ok(1 << 20));
        assert!(parse_echo_size("0").is_err());
        assert!(parse_echo_size("1048577").is_err());
        assert!(parse_echo_size("8G").is_err());
    }
}

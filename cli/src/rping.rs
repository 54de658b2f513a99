//! `uwarp rping`: the pings of rdma-core's program of that name, whose other end is that program or ours.
//!
//! A ping takes data there and back by RDMA alone; four Sends of 16 octets carry nothing but where it is:
//!
//! ```text
//!   client                                         server
//!     | ---- Send: the data is here -----------------> |
//!     | <--- RDMA Read, ---- Read Response ----------> |
//!     | <--- Send: go ahead -------------------------- |
//!     | ---- Send: put it there ---------------------> |
//!     | <--- RDMA Write of the same data ------------- |
//!     | <--- Send: done ------------------------------ |
//! ```

mod client;
mod link;
mod pattern;
mod server;

use std::net::{IpAddr, SocketAddr};

use crate::args::TermsArgs;
use crate::error::Failure;

/// Where rdma-core's rping listens.
const PORT: u16 = 7174;
/// Octets of the buffers of rdma-core's rping; data is smaller.
const BUFFER: u32 = 64 * 1024;
/// What data has at least: room for the longest heading and a 0.
const SIZE_MIN: u32 = 24;

/// The options that rdma-core's program has by the same names.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Be the server, which listens
    #[arg(
        short = 's',
        long,
        conflicts_with = "client",
        required_unless_present = "client"
    )]
    server: bool,
    /// Be the client, which connects
    #[arg(short = 'c', long)]
    client: bool,
    /// The address to listen on or to connect to
    #[arg(short = 'a', long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    address: IpAddr,
    /// The TCP port
    #[arg(short = 'p', long, default_value_t = PORT)]
    port: u16,
    /// How many pings [default: no end; for a server: as many as the client likes]
    #[arg(short = 'C', long, value_name = "N")]
    count: Option<u32>,
    /// Octets of data in a ping, less than 64 KiB
    #[arg(short = 'S', long, value_name = "OCTETS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(i64::from(SIZE_MIN)..i64::from(BUFFER)))]
    size: u32,
    /// Show the data
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Check the data; a server checks what it has read, too
    #[arg(short = 'V', long)]
    validate: bool,
    /// As server: serve one client after the other
    #[arg(short = 'P', long, requires = "server")]
    persistent: bool,
    #[command(flatten)]
    terms: TermsArgs,
}

impl Args {
    const fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.server {
        server::run(args)
    } else {
        client::run(args)
    }
}

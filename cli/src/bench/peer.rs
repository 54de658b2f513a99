//! The second process: an echo server with CRC, one without, and one over plain TCP.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use serde::{Deserialize, Serialize};

use super::tcp;
use crate::error::Failure;
use crate::report::say;
use crate::serve::{Config, Server};
use crate::terms::Terms;

/// Any free port on loopback.
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Connections of each kind at a time.
const CLIENTS: u32 = 4;

/// Where the servers listen; the second process's only line of output.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Addresses {
    pub(super) crc: String,
    pub(super) no_crc: String,
    pub(super) tcp: String,
}

impl Addresses {
    pub(super) fn parse(line: &str) -> Result<Self, Failure> {
        serde_json::from_str(line).map_err(|error| {
            let remedy = "see what the second process said above";
            Failure::new("the second process gives no addresses", error, remedy)
        })
    }
}

/// Serves until standard input ends, that is, until the first process has gone.
pub(crate) fn run() -> Result<(), Failure> {
    let listener = TcpListener::bind(ANYWHERE).map_err(no_tcp)?;
    let addresses = Addresses {
        crc: serve(true)?,
        no_crc: serve(false)?,
        tcp: listener.local_addr().map_err(no_tcp)?.to_string(),
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || tcp::serve(stream));
        }
    });
    say(format_args!(
        "{}",
        serde_json::to_string(&addresses).unwrap_or_default()
    ))?;
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
    Ok(())
}

fn serve(crc: bool) -> Result<String, Failure> {
    let server = Server::bind(Config {
        directory: None,
        listen: ANYWHERE,
        writable: false,
        clients: CLIENTS,
        terms: Terms {
            crc,
            ..Terms::default()
        },
    })?;
    let address = server.address().to_string();
    thread::spawn(move || server.run());
    Ok(address)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "this is what map_err hands over"
)]
fn no_tcp(error: std::io::Error) -> Failure {
    Failure::new(
        "cannot listen on loopback",
        error,
        "look at the network of this machine",
    )
}

//! Every operation once: a listener and a client in one process, over TCP on loopback.
//!
//! ```text
//!   client                                             server
//!     | ---- Send: the client is ready ----------------> |
//!     | <--- Send: three regions ----------------------- |
//!     | ---- RDMA Write to the first of them ----------> |
//!     | ---- RDMA Read Request, <--- Read Response ----- |
//!     | ---- Send with Solicited Event ----------------> |  raises an event
//!     | ---- Send with Invalidate ---------------------> |  revokes the second region
//!     | ---- Send with Solicited Event and Invalidate -> |  revokes the third
//!     | ---- close ------------------------------------> |
//! ```
//!
//! `cargo run -p uwarp --example session -- [--no-crc] [--markers] [--len OCTETS]` shows the same with the CRC
//! declined by both ends, with markers asked for by both, or with more or less to write and read. Captured, it
//! is a specimen of the protocol's whole vocabulary: `tests/tshark/check.sh` has tshark judge it.

use std::error::Error;
use std::thread;

use uwarp::{
    Completion, Domain, Listener, Options, Region, RemoteRegion, Rights, SendFlags, Socket,
};

/// Octets of the message in which the server describes its regions.
const DESCRIPTION_LEN: usize = 3 * RemoteRegion::WIRE_LEN;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let settings = Settings::from_args()?;
    let domain = Domain::new();
    let listener = Listener::bind("127.0.0.1:0", &settings.options(&domain))?;
    let address = listener.local_addr();
    println!("listening on {address}");
    let server = thread::spawn(move || serve(&listener, &domain, settings.len));

    let domain = Domain::new();
    let socket = uwarp::connect(address, &settings.options(&domain))?;
    use_everything(&socket, &domain, settings.len)?;
    socket.close()?;
    server.join().map_err(|_| "the server panicked")??;
    println!("done");
    Ok(())
}

/// What the command line chooses for both ends.
#[derive(Clone, Copy)]
struct Settings {
    crc: bool,
    markers: bool,
    /// Octets that are written and read back.
    len: usize,
}

impl Settings {
    fn from_args() -> Outcome<Self> {
        let mut settings = Self {
            crc: true,
            markers: false,
            // Many segments' worth, and no multiple of 4.
            len: 300_001,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--no-crc" => settings.crc = false,
                "--markers" => settings.markers = true,
                "--len" => settings.len = args.next().ok_or("--len needs a number")?.parse()?,
                other => return Err(format!("{other}: use --no-crc, --markers or --len").into()),
            }
        }
        Ok(settings)
    }

    fn options(self, domain: &Domain) -> Options {
        Options::new(domain).crc(self.crc).markers(self.markers)
    }
}

/// The server offers memory, and then only watches.
fn serve(listener: &Listener, domain: &Domain, len: usize) -> Outcome<()> {
    let inbox = domain.register(vec![0; 64], Rights::empty())?;
    let incoming = listener.accept()?;
    for id in 0..4 {
        incoming.post_recv(id, &[inbox.slice(..)?])?;
    }
    let socket = incoming.accept(b"")?;
    succeeded(&socket)?;

    let both = Rights::REMOTE_READ | Rights::REMOTE_WRITE;
    let lasting = domain.register(vec![0; len], both)?;
    let brief = || domain.register_for(&socket, vec![0; 8], both | Rights::REMOTE_INVALIDATE);
    let (second, third) = (brief()?, brief()?);
    let mut description = Vec::new();
    for region in [&lasting, &second, &third] {
        description.extend(region.remote().ok_or("revoked")?.to_bytes());
    }
    let outbox = domain.register(description, Rights::empty())?;
    socket.post_send(10, &[outbox.slice(..)?], SendFlags::default())?;
    succeeded(&socket)?;

    let solicited = succeeded(&socket)?;
    println!(
        "server: a Send that asks for an event: {}",
        solicited.solicited
    );
    for region in [second, third] {
        let completion = succeeded(&socket)?;
        let invalidated = completion.invalidated.ok_or("nothing was invalidated")?;
        println!("server: the peer has invalidated {invalidated}");
        if region.stag().is_some() {
            return Err("an invalidated region is still open".into());
        }
    }
    holds(&lasting, len)?;
    println!("server: the client's {len} octets are there");
    socket.close()?;
    Ok(())
}

/// The client does it all.
fn use_everything(socket: &Socket, domain: &Domain, len: usize) -> Outcome<()> {
    let inbox = domain.register(vec![0; DESCRIPTION_LEN], Rights::empty())?;
    let hello = domain.register(b"hello".to_vec(), Rights::empty())?;
    // The receive comes first: the server answers to the Send.
    socket.post_recv(0, &[inbox.slice(..)?])?;
    send(socket, &hello, SendFlags::default())?;
    succeeded(socket)?;
    let [lasting, second, third] = described(&inbox)?;

    let source = domain.register(pattern(len), Rights::empty())?;
    socket.post_write(2, &[source.slice(..)?], lasting)?;
    succeeded(socket)?;
    // That the Write has completed here says nothing of the other end; but a Read sees what the Writes
    // before it have written (RFC 5040 s5.5).
    let sink = domain.register(vec![0; len], Rights::empty())?;
    socket.post_read(3, &[sink.slice(..)?], lasting)?;
    succeeded(socket)?;
    holds(&sink, len)?;
    println!("client: what was written was read back");

    for (solicited, invalidate) in [(true, None), (false, Some(second)), (true, Some(third))] {
        let flags = SendFlags {
            solicited,
            invalidate: invalidate.map(|region| region.stag),
        };
        send(socket, &hello, flags)?;
    }
    Ok(())
}

fn send(socket: &Socket, message: &Region, flags: SendFlags) -> Outcome<()> {
    socket.post_send(1, &[message.slice(..)?], flags)?;
    succeeded(socket).map(|_| ())
}

/// Waits for one request, which must have done what it was asked to do.
fn succeeded(socket: &Socket) -> Outcome<Completion> {
    let completion = socket.wait(None)?;
    if completion.is_success() {
        Ok(completion)
    } else {
        Err(format!("{:?}: {:?}", completion.kind, completion.status).into())
    }
}

/// The regions that a description names.
fn described(inbox: &Region) -> Outcome<[RemoteRegion; 3]> {
    let mut regions = Vec::new();
    for at in 0..3 {
        let mut octets = [0; RemoteRegion::WIRE_LEN];
        inbox.read_at(at * RemoteRegion::WIRE_LEN as u64, &mut octets)?;
        regions.push(RemoteRegion::from_bytes(&octets));
    }
    regions.try_into().map_err(|_| "three regions".into())
}

/// Whether a region holds what the client wrote.
fn holds(region: &Region, len: usize) -> Outcome<()> {
    let mut octets = vec![0; len];
    region.read_at(0, &mut octets)?;
    if octets == pattern(len) {
        Ok(())
    } else {
        Err("other octets than were written".into())
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

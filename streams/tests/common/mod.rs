//! Pairs of streams over loopback.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use uwarp_streams::{StreamOptions, StreamSocket, Unwatched, Wants, Watch};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Two ends of a TCP connection.
pub(crate) fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

pub(crate) fn pair(options: &StreamOptions) -> (Arc<StreamSocket>, Arc<StreamSocket>) {
    watched_pair(options, Arc::new(Unwatched), Arc::new(Unwatched))
}

/// An initiator and a responder, both set up.
pub(crate) fn watched_pair(
    options: &StreamOptions,
    watch_initiator: Arc<dyn Watch>,
    watch_responder: Arc<dyn Watch>,
) -> (Arc<StreamSocket>, Arc<StreamSocket>) {
    let (client, server) = tcp();
    let server = StreamSocket::respond(server, options, watch_responder).unwrap();
    let client = StreamSocket::initiate(client, options, watch_initiator).unwrap();
    for end in [&client, &server] {
        assert!(end.wait(Wants::ESTABLISHED, Some(PATIENCE)).unwrap());
        assert!(end.readiness().established);
    }
    (client, server)
}

/// Rings and queues so small that everything runs full.
pub(crate) fn narrow() -> StreamOptions {
    StreamOptions {
        recv_buffer: 4096,
        send_buffer: 3000,
        credits: 16,
        send_queue: 12,
        ..StreamOptions::default()
    }
}

/// Reads once, waiting for it.
pub(crate) fn read(end: &StreamSocket, out: &mut [u8]) -> io::Result<usize> {
    loop {
        match end.try_read(&mut [IoSliceMut::new(out)], false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(
                    end.wait(Wants::READABLE, Some(PATIENCE))?,
                    "nothing to read"
                );
            }
            outcome => return outcome,
        }
    }
}

/// Reads to the end of the stream.
pub(crate) fn read_to_end(end: &StreamSocket) -> io::Result<Vec<u8>> {
    let (mut all, mut octets) = (Vec::new(), vec![0; 100_000]);
    loop {
        match read(end, &mut octets)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&octets[..count]),
        }
    }
}

/// Writes all of it, waiting where it must.
pub(crate) fn write_all(end: &StreamSocket, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        match end.try_write(&[IoSlice::new(octets)]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(
                    end.wait(Wants::WRITABLE, Some(PATIENCE))?,
                    "no room to write"
                );
            }
            outcome => octets = &octets[outcome?..],
        }
    }
    Ok(())
}

/// Octets that differ from place to place.
pub(crate) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed)
        .collect()
}

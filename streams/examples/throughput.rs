//! How fast a stream carries octets, next to plain TCP: the same amount over both, turn by turn in one run on loopback.
//!
//! ```sh
//! cargo run --release -p uwarp-streams --example throughput -- [WRITE [MIB [ROUNDS [RING]]]]
//! ```
//!
//! `WRITE` octets a call (65536), `MIB` a round (512), `ROUNDS` (7), `RING` octets of the streams' rings.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use uwarp::Workers;
use uwarp_streams::{StreamOptions, StreamSocket, Unwatched, Wants};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<usize>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (write, mib, rounds, ring) = (next(65_536)?, next(512)?, next(7)?, next(0)?);
    let total = mib << 20;
    let workers = [Workers::start(1)?, Workers::start(1)?];
    let options = |crc, workers: &Workers| {
        let mut options = StreamOptions {
            crc,
            workers: Some(workers.clone()),
            ..StreamOptions::default()
        };
        if ring > 0 {
            (options.recv_buffer, options.send_buffer) = (ring as u32, ring as u32);
        }
        options
    };
    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..=rounds {
        let results = [
            over_tcp(write, total)?,
            over_stream(
                write,
                total,
                [true, true].map(|crc| options(crc, &workers[0])),
                &workers[1],
            )?,
            over_stream(
                write,
                total,
                [false, false].map(|crc| options(crc, &workers[0])),
                &workers[1],
            )?,
        ];
        // The first round warms up.
        if round > 0 {
            for (times, result) in times.iter_mut().zip(results) {
                times.push(result);
            }
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("medians of {rounds} rounds of {mib} MiB in writes of {write} octets");
    for (name, median) in ["plain TCP", "stream with CRC", "stream without CRC"]
        .iter()
        .zip(medians)
    {
        println!(
            "{name:<20} {:>6.2} GiB/s  ratio {:.2}",
            mib as f64 / 1024.0 / median,
            medians[0] / median
        );
    }
    Ok(())
}

fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

/// Seconds.
fn over_tcp(write: usize, total: usize) -> io::Result<f64> {
    let (mut client, mut server) = connected()?;
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || -> io::Result<()> {
            let octets = vec![7; write];
            for _ in 0..total / write {
                client.write_all(&octets)?;
            }
            Ok(())
        });
        let mut octets = vec![0; write];
        while server.read(&mut octets)? > 0 {}
        Ok(start.elapsed().as_secs_f64())
    })
}

fn over_stream(
    write: usize,
    total: usize,
    [here, there]: [StreamOptions; 2],
    workers: &Workers,
) -> io::Result<f64> {
    let (client, server) = connected()?;
    let there = StreamOptions {
        workers: Some(workers.clone()),
        ..there
    };
    let server = StreamSocket::respond(server, &there, Arc::new(Unwatched))?;
    let client = StreamSocket::initiate(client, &here, Arc::new(Unwatched))?;
    client.wait(Wants::ESTABLISHED, None)?;
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || -> io::Result<()> {
            let octets = vec![7; write];
            for _ in 0..total / write {
                let mut left = &octets[..];
                while !left.is_empty() {
                    match client.try_write(&[IoSlice::new(left)]) {
                        Ok(count) => left = &left[count..],
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            client.wait(Wants::WRITABLE, None)?;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            client.shutdown(Shutdown::Write)
        });
        let mut octets = vec![0; write];
        loop {
            match server.try_read(&mut [IoSliceMut::new(&mut octets)], false) {
                Ok(0) => return Ok(start.elapsed().as_secs_f64()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    server.wait(Wants::READABLE, None)?;
                }
                Err(error) => return Err(error),
            }
        }
    })
}

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
    let mut costs = [0.0; 3];
    for round in 0..=rounds {
        for (index, crc) in [None, Some(true), Some(false)].into_iter().enumerate() {
            let before = processor_time()?;
            let time = match crc {
                None => over_tcp(write, total)?,
                Some(crc) => {
                    over_stream(write, total, [0, 1].map(|end| options(crc, &workers[end])))?
                }
            };
            // The first round warms up.
            if round > 0 {
                times[index].push(time);
                costs[index] += processor_time()? - before;
            }
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("medians of {rounds} rounds of {mib} MiB in writes of {write} octets");
    for (index, name) in ["plain TCP", "stream with CRC", "stream without CRC"]
        .iter()
        .enumerate()
    {
        let median = medians[index];
        println!(
            "{name:<20} {:>6.2} GiB/s  ratio {:.2}  processor time {:.2} s/GiB, both ends",
            mib as f64 / 1024.0 / median,
            medians[0] / median,
            costs[index] / (rounds * mib) as f64 * 1024.0
        );
    }
    Ok(())
}

/// What this process has used so far, in seconds.
fn processor_time() -> io::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name in brackets, user's and system's time are the 12th and 13th, in ticks of 10 ms.
    let fields = status.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Ok(ticks / 100.0)
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

fn over_stream(write: usize, total: usize, [here, there]: [StreamOptions; 2]) -> io::Result<f64> {
    let (client, server) = connected()?;
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

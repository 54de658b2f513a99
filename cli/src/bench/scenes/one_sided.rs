//! What it is worth that the other end's threads have no part in an operation: they compute, on all processors.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uwarp::{Domain, Listener, Options, RemoteRegion, Rights, Workers, connect};

use super::super::rdma::Outcome;
use super::OneSided;

/// Octets of an operation.
const SIZE: usize = 64;
/// Operations of each kind, unless they take too long.
const COUNT: usize = 3_000;
const TIME: Duration = Duration::from_millis(800);
/// Time between two looks for a request.
const LOOK: Duration = Duration::from_millis(1);
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures each operation with an idle responder and with a busy one.
pub(super) fn run(seen: &mut Vec<OneSided>) -> Outcome<()> {
    let (near, far) = (Domain::new(), Domain::new());
    let target = far.register(vec![7; SIZE], Rights::REMOTE_READ | Rights::REMOTE_WRITE)?;
    let told = target.remote().ok_or("revoked")?.to_bytes();
    let workers = Workers::start(1)?;
    let listener = Listener::bind("127.0.0.1:0", &Options::new(&far).workers(&workers))?;
    let address = listener.local_addr();
    // The responder's application does nothing more than this for the operations.
    let accepting = thread::spawn(move || -> Outcome<_> { Ok(listener.accept()?.accept(&told)?) });
    let socket = connect(address, &Options::new(&near))?;
    let responder = accepting.join().map_err(|_| "accepting panicked")??;
    let established = socket.established().ok_or("not set up")?;
    let remote = established.private_data.first_chunk().ok_or("no region")?;
    let remote = RemoteRegion::from_bytes(remote);
    let region = near.register(vec![0; SIZE], Rights::empty())?;
    let list = [region.slice(..)?];
    let empty = remote.slice(0, 0).ok_or("no region")?;
    let read = || -> Outcome<()> {
        socket.post_read(1, &list, remote)?;
        socket.wait(Some(PATIENCE))?;
        Ok(())
    };
    // That the octets have come an empty Read tells, which is answered behind them.
    let write = || -> Outcome<()> {
        socket.post_write(1, &list, remote)?;
        socket.post_read(2, &[], empty)?;
        while socket.wait(Some(PATIENCE))?.id != 2 {}
        Ok(())
    };
    let ask = |stream: &mut TcpStream| -> Outcome<()> {
        let mut octets = [0; SIZE];
        stream.write_all(&octets)?;
        Ok(stream.read_exact(&mut octets)?)
    };
    for busy in [false, true] {
        let mut add = |operation, times: Outcome<Vec<f64>>| -> Outcome<()> {
            seen.push(summary(operation, busy, times?)?);
            Ok(())
        };
        while_computing(busy, || {
            add("RDMA Read", time(read))?;
            add("RDMA Write, known to have come", time(write))?;
            let mut stream = served(false)?;
            add(
                "plain TCP, a thread for requests",
                time(|| ask(&mut stream)),
            )?;
            if busy {
                let mut stream = served(true)?;
                add("plain TCP, asked for each ms", time(|| ask(&mut stream)))?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })?;
    }
    drop(responder);
    Ok(())
}

/// Runs `measure` while threads compute on all processors, if there are to be any.
fn while_computing<T>(busy: bool, measure: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(!busy);
    let count = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    compute();
                }
            });
        }
        let result = measure();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// A little work that is of no use.
fn compute() {
    let mut word = 1u64;
    for _ in 0..1_000 {
        word = std::hint::black_box(word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word >> 7);
    }
}

/// A connection whose other end is served by a thread that does nothing else and sleeps in `read`, or by one that
/// computes and looks for requests each millisecond.
fn served(computes: bool) -> Outcome<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut other, _) = listener.accept()?;
    for stream in [&stream, &other] {
        stream.set_nodelay(true)?;
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    other.set_nonblocking(computes)?;
    thread::spawn(move || {
        let mut octets = [0; SIZE];
        loop {
            let begun = Instant::now();
            while computes && begun.elapsed() < LOOK {
                compute();
            }
            match other.read_exact(&mut octets) {
                Ok(()) => drop(other.write_all(&octets)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    });
    Ok(stream)
}

/// Microseconds of each of many operations, after some that do not count.
fn time(mut operation: impl FnMut() -> Outcome<()>) -> Outcome<Vec<f64>> {
    for _ in 0..20 {
        operation()?;
    }
    let (mut times, all) = (Vec::new(), Instant::now());
    while times.len() < COUNT && (times.len() < 20 || all.elapsed() < TIME) {
        let begun = Instant::now();
        operation()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

fn summary(operation: &'static str, busy: bool, mut times: Vec<f64>) -> Outcome<OneSided> {
    times.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied();
    Ok(OneSided {
        operation,
        busy,
        p50: at(50).ok_or("no operations")?,
        p99: at(99).ok_or("no operations")?,
        count: times.len(),
    })
}

//! Many streams in one server process: memory of an idle one, how fast they are set up, and the latency of a few busy
//! ones beside them; next to plain TCP.
//!
//! ```sh
//! cargo run --release -p uwarp-streams --example scale -- [IDLE [BUSY [SECONDS]]]
//! ```
//!
//! `IDLE` connections (1000; up to about 19,000 fit the descriptors of a process), `BUSY` ones that send 64 octets there
//! and back for `SECONDS` (100, 2). The server is a process of its own.

use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use uwarp_streams::{Readiness, StreamOptions, StreamSocket, Unwatched, Wants, Watch};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const MESSAGE: usize = 64;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, kind] = &arguments[..]
        && first == "serve"
    {
        return serve(kind == "ddp");
    }
    let number = |index: usize, default| {
        arguments
            .get(index)
            .map_or(Ok(default), |text| text.parse::<usize>())
    };
    let (idle, busy, seconds) = (number(0, 1000)?, number(1, 100)?, number(2, 2)?);
    let time = Duration::from_secs(seconds as u64);
    println!("{idle} idle connections, {busy} busy ones with {MESSAGE} octets there and back");
    println!(
        "              idle one       set up | busy alone: median       99 %      all | beside: median       99 %      all"
    );
    for (name, ddp) in [("plain TCP", false), ("stream", true)] {
        let mut server = Server::start(if ddp { "ddp" } else { "tcp" })?;
        let alone = ping_pong(connections(server.address, busy, ddp)?, time)?;
        let before = server.resident()?;
        let start = Instant::now();
        let idlers = connections(server.address, idle, ddp)?;
        let rate = idle as f64 / start.elapsed().as_secs_f64();
        let each = (server.resident()? - before) as f64 / idle.max(1) as f64;
        let beside = ping_pong(connections(server.address, busy, ddp)?, time)?;
        println!(
            "{name:<10} {each:>7.1} KiB {rate:>9.0}/s | {} | {}",
            alone.text(20),
            beside.text(16)
        );
        drop(idlers);
    }
    Ok(())
}

enum Connection {
    Tcp(TcpStream),
    Ddp(Arc<StreamSocket>),
}

impl Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(octets),
            // A message is small, and the one before it has come back.
            Self::Ddp(stream) => stream.try_write(&[IoSlice::new(octets)]).map(|_| ()),
        }
    }

    fn read(&mut self, octets: &mut [u8]) -> io::Result<()> {
        let stream = match self {
            Self::Tcp(stream) => return stream.read_exact(octets),
            Self::Ddp(stream) => stream,
        };
        let mut count = 0;
        while count < octets.len() {
            match stream.try_read(&mut [IoSliceMut::new(&mut octets[count..])], false) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    stream.wait(Wants::READABLE, None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// So many connections, set up one after the other, each with one message there and back.
fn connections(address: SocketAddr, count: usize, ddp: bool) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        let mut connection = if ddp {
            let options = StreamOptions::default();
            let stream = StreamSocket::initiate(tcp, &options, Arc::new(Unwatched))?;
            stream.wait(Wants::WRITABLE, None)?;
            Connection::Ddp(stream)
        } else {
            Connection::Tcp(tcp)
        };
        connection.write(&[1; MESSAGE])?;
        connection.read(&mut [0; MESSAGE])?;
        connections.push(connection);
    }
    Ok(connections)
}

/// What a message takes there and back.
struct Latency {
    /// Median and 99th percentile, in microseconds.
    median: f64,
    late: f64,
    /// Messages a second, of all connections.
    rate: f64,
}

impl Latency {
    fn text(&self, width: usize) -> String {
        format!(
            "{:>width$.1} us {:>8.1} us {:>6.0}/s",
            self.median, self.late, self.rate
        )
    }
}

fn ping_pong(connections: Vec<Connection>, time: Duration) -> Result<Latency, Failure> {
    let end = Instant::now() + time;
    let threads: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            thread::spawn(move || -> io::Result<Vec<f64>> {
                let mut times = Vec::new();
                while Instant::now() < end {
                    let start = Instant::now();
                    connection.write(&[2; MESSAGE])?;
                    connection.read(&mut [0; MESSAGE])?;
                    times.push(start.elapsed().as_secs_f64() * 1e6);
                }
                Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a thread has panicked")??);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied();
    Ok(Latency {
        median: at(0.5).unwrap_or(0.0),
        late: at(0.99).unwrap_or(0.0),
        rate: times.len() as f64 / time.as_secs_f64(),
    })
}

struct Server {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no pipe")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        Ok(Self {
            child,
            orders,
            answers,
            address: line.trim().parse()?,
        })
    }

    /// Resident memory in KiB.
    fn resident(&mut self) -> Result<u64, Failure> {
        self.orders.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Echoes; tells its address, and its resident memory for each line that comes.
fn serve(ddp: bool) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    thread::spawn(move || -> io::Result<()> {
        let streams = Mutex::new(Vec::new());
        for tcp in listener.incoming() {
            if ddp {
                let echo = Arc::new(Echo::default());
                let options = StreamOptions::default();
                let stream = StreamSocket::respond(tcp?, &options, Arc::clone(&echo) as _)?;
                let _ = echo.0.set(Arc::downgrade(&stream));
                // What came before it was known is looked at now.
                echo.changed(stream.readiness());
                streams
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(stream);
            } else {
                let mut tcp = tcp?;
                thread::Builder::new().stack_size(1 << 16).spawn(move || {
                    let mut octets = [0; MESSAGE];
                    while tcp.read_exact(&mut octets).is_ok() && tcp.write_all(&octets).is_ok() {}
                })?;
            }
        }
        Ok(())
    });
    for line in io::stdin().lines() {
        line?;
        let status = std::fs::read_to_string("/proc/self/status")?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .ok_or("no VmRSS")?;
        println!("{}", resident.trim().trim_end_matches(" kB"));
    }
    Ok(())
}

/// Sends back whatever comes, from the thread that notices it.
#[derive(Default)]
struct Echo(OnceLock<Weak<StreamSocket>>);

impl Watch for Echo {
    fn changed(&self, now: Readiness) {
        let Some(stream) = self
            .0
            .get()
            .and_then(Weak::upgrade)
            .filter(|_| now.readable)
        else {
            return;
        };
        let mut octets = [0; MESSAGE];
        while let Ok(count @ 1..) = stream.try_read(&mut [IoSliceMut::new(&mut octets)], false) {
            let _ = stream.try_write(&[IoSlice::new(&octets[..count])]);
        }
    }
}

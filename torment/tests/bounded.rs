//! What a peer can make the target hold: so much for each connection, whatever it sends.
//!
//! The target runs in a process of its own, this test executable started again, so that its memory can
//! be told from ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use uwarp_ddp::{Header, Stag, Tagged, Untagged};
use uwarp_mpa::{FpduSink, Framer};
use uwarp_torment::Target;

/// Octets of memory that one connection may cost the target: a staging buffer of 256 KiB, rings and queues
/// of the depths that the target has chosen, and its thread's stack.
const BOUND: u64 = 512 << 10;
/// Octets that the process may gain besides, for arenas of the allocator and the like.
const SLACK: u64 = 24 << 20;
const CONNECTIONS: usize = 120;
const CHILD: &str = "UWARP_TORMENT_CHILD";

/// Not a test of its own: what the child process does.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let target = Target::start("127.0.0.1:0").unwrap();
    println!("\nlistening on {}", target.local_addr());
    // Until the parent closes the pipe.
    let _ = std::io::stdin().read(&mut [0]);
}

struct Remote {
    child: Child,
    /// Kept open, so that the child has somewhere to write.
    _output: Box<dyn BufRead>,
    address: SocketAddr,
}

impl Remote {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let address = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
            .unwrap();
        Self {
            child,
            address,
            _output: Box::new(output),
        }
    }

    /// Octets of memory that the target occupies.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.split_whitespace().next())
            .unwrap();
        kib.parse::<u64>().unwrap() << 10
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// A connection in full operation.
    fn operate(&self) -> TcpStream {
        let mut stream = self.connect();
        stream
            .write_all(b"MPA ID Req Frame\x40\x01\x00\x00")
            .unwrap();
        let mut reply = [0; 20];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply[..16], b"MPA ID Rep Frame");
        stream
    }

    /// Opens connections, lets `mischief` loose on each of them while all are open, and compares.
    fn hold(&self, name: &str, mut mischief: impl FnMut(&Self) -> Option<TcpStream>) {
        let before = self.resident();
        let held: Vec<_> = (0..CONNECTIONS).filter_map(|_| mischief(self)).collect();
        std::thread::sleep(Duration::from_millis(150));
        let gained = self.resident().saturating_sub(before);
        println!(
            "{name}: {} octets for each of {CONNECTIONS}",
            gained / CONNECTIONS as u64
        );
        assert!(
            gained < BOUND * CONNECTIONS as u64 + SLACK,
            "{name}: {gained}"
        );
        drop(held);
        // The target is alive, and takes the next.
        drop(self.operate());
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Wire(Vec<u8>);

impl FpduSink for Wire {
    fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }
    fn payload(&mut self, range: std::ops::Range<u32>) {
        self.0.extend(range.map(|at| at as u8));
    }
    fn payload_crc(&mut self, crc: u32, range: std::ops::Range<u32>) -> u32 {
        let octets: Vec<u8> = range.map(|at| at as u8).collect();
        uwarp_mpa::crc::append(crc, &octets)
    }
}

fn framed(headers: impl Iterator<Item = Header>, payload: u32) -> Vec<u8> {
    let mut framer = Framer::new(false, true);
    let mut wire = Wire::default();
    for header in headers {
        let mut octets = [0; uwarp_ddp::UNTAGGED_LEN];
        let len = header.encode(&mut octets);
        framer.frame(&octets[..len], 0..payload, &mut wire).unwrap();
    }
    wire.0
}

fn send_part(mo: u32) -> Header {
    Header::Untagged(Untagged {
        last: false,
        ulp: 0x43,
        ulp_word: 0,
        qn: 0,
        msn: 1,
        mo,
    })
}

const EMPTY_WRITE: Header = Header::Tagged(Tagged {
    last: true,
    ulp: 0x40,
    stag: Stag(0),
    to: 0,
});

#[test]
fn memory_for_each_connection_is_bounded() {
    let remote = Remote::start();
    // The first connections make the process grow to its working size.
    for _ in 0..8 {
        drop(remote.operate());
    }
    remote.hold("half-open startups", |remote| {
        let mut stream = remote.connect();
        stream
            .write_all(&b"MPA ID Req Frame\x50\x02\x02\x00"[..19])
            .unwrap();
        Some(stream)
    });
    let big = framed(std::iter::once(EMPTY_WRITE), 64_754);
    remote.hold("the largest FPDU without its end", |remote| {
        let mut stream = remote.operate();
        stream.write_all(&big[..big.len() - 1]).unwrap();
        Some(stream)
    });
    let trickle = framed(std::iter::once(send_part(0)), 900);
    remote.hold("trickled FPDUs", |remote| {
        let mut stream = remote.operate();
        stream.set_nodelay(true).unwrap();
        for octet in &trickle[..100] {
            stream.write_all(&[*octet]).unwrap();
        }
        Some(stream)
    });
    let holes = framed((0..500).map(|at| send_part(2 * at)), 1);
    remote.hold("segments of one octet with holes", |remote| {
        let mut stream = remote.operate();
        let _ = stream.write_all(&holes);
        Some(stream)
    });
    let nothing = framed(std::iter::repeat_n(EMPTY_WRITE, 2000), 0);
    remote.hold("endless segments of nothing", |remote| {
        let mut stream = remote.operate();
        for _ in 0..4 {
            // Whoever reads so much may be slower than we are.
            let _ = stream.write_all(&nothing);
        }
        Some(stream)
    });
    remote.hold("much behind an error", |remote| {
        let mut stream = remote.operate();
        stream
            .write_all(&framed(std::iter::once(EMPTY_WRITE), 0))
            .unwrap();
        for _ in 0..16 {
            // The first is an error already; all else is dropped, or waits in the kernel.
            let _ = stream.write_all(&[0xff; 32 << 10]);
        }
        Some(stream)
    });
}

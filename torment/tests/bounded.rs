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
use uwarp_rdmap::header::ReadRequest;
use uwarp_torment::{Profile, RegionKind, Target};

/// Octets of memory that one connection may cost the target, whatever the peer does: a staging buffer of
/// 256 KiB; a batch of 256 KiB that is exceeded by one FPDU at the most, and of which 64 KiB may have been
/// written already; rings and queues of the depths that the target has chosen, its receives and its
/// thread's stack, which are less than 64 KiB together. `spec-notes/bounds.md` lists them all.
const BOUND: u64 = (256 + 256 + 64 + 64 + 64) << 10;
/// Octets that the process may gain besides, for arenas of the allocator and the like.
const SLACK: u64 = 8 << 20;
const CONNECTIONS: usize = 120;
/// Connections that a listener takes from the kernel before it has their Requests; one descriptor each.
const UNDER_WAY_MAX: usize = 256;
const CHILD: &str = "UWARP_TORMENT_CHILD";

/// Not a test of its own: what the child process does.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let target = Target::start("127.0.0.1:0").unwrap();
    println!("\nlistening on {}", target.local_addr());
    let profile = serde_json::to_string(&target.profile()).unwrap();
    println!("offering {profile}");
    // Until the parent closes the pipe.
    let _ = std::io::stdin().read(&mut [0]);
}

struct Remote {
    child: Child,
    /// Kept open, so that the child has somewhere to write.
    _output: Box<dyn BufRead>,
    address: SocketAddr,
    profile: Profile,
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
        let mut said = |prefix: &str| {
            let mut lines = output.by_ref().lines().map_while(Result::ok);
            lines
                .find_map(|line| Some(line.strip_prefix(prefix)?.to_owned()))
                .unwrap()
        };
        let address = said("listening on ").parse().unwrap();
        let profile = serde_json::from_str(&said("offering ")).unwrap();
        Self {
            child,
            address,
            profile,
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

    /// Descriptors that the target has open.
    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// FPDUs of as many Reads of a region as the target takes at a time.
    fn reads(&self, kind: RegionKind) -> Vec<u8> {
        let place = self.profile.regions[&kind];
        let requests = (1..=u32::from(self.profile.ird)).map(|msn| {
            let request = ReadRequest {
                sink_stag: Stag(1),
                sink_to: 0,
                size: place.len,
                source_stag: Stag(place.stag),
                source_to: place.to,
            };
            let header = Header::Untagged(Untagged {
                last: true,
                ulp: 0x41,
                ulp_word: 0,
                qn: 1,
                msn,
                mo: 0,
            });
            (header, request.encode().to_vec())
        });
        framed(requests)
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

    /// Opens connections, lets `mischief` loose on each of them while all are open, and compares. Each
    /// time with a target of its own: what an allocator has once had it does not ask for again.
    fn hold(name: &str, mut mischief: impl FnMut(&Self) -> Option<TcpStream>) {
        let remote = Self::start();
        // The first connections make the process grow to its working size.
        for _ in 0..8 {
            drop(remote.operate());
        }
        let before = remote.resident();
        let held: Vec<_> = (0..CONNECTIONS).filter_map(|_| mischief(&remote)).collect();
        std::thread::sleep(Duration::from_millis(150));
        let gained = remote.resident().saturating_sub(before);
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
        drop(remote.operate());
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What is framed: octets of headers as they are, payload out of the list.
#[derive(Default)]
struct Wire {
    octets: Vec<u8>,
    payload: Vec<u8>,
}

impl FpduSink for Wire {
    fn octets(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }
    fn payload(&mut self, range: std::ops::Range<u32>) {
        let range = range.start as usize..range.end as usize;
        self.octets.extend_from_slice(&self.payload[range]);
    }
    fn payload_crc(&mut self, crc: u32, range: std::ops::Range<u32>) -> u32 {
        let range = range.start as usize..range.end as usize;
        uwarp_mpa::crc::append(crc, &self.payload[range])
    }
}

fn framed(segments: impl Iterator<Item = (Header, Vec<u8>)>) -> Vec<u8> {
    let mut framer = Framer::new(false, true);
    let mut wire = Wire::default();
    for (header, payload) in segments {
        let mut octets = [0; uwarp_ddp::UNTAGGED_LEN];
        let len = header.encode(&mut octets);
        let all = 0..payload.len() as u32;
        wire.payload = payload;
        framer.frame(&octets[..len], all, &mut wire).unwrap();
    }
    wire.octets
}

/// Segments with so many octets of payload each.
fn alike(headers: impl Iterator<Item = Header>, payload: usize) -> Vec<u8> {
    framed(headers.map(|header| (header, vec![0x5a; payload])))
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
    Remote::hold("half-open startups", |remote| {
        let mut stream = remote.connect();
        stream
            .write_all(&b"MPA ID Req Frame\x50\x02\x02\x00"[..19])
            .unwrap();
        Some(stream)
    });
    let big = alike(std::iter::once(EMPTY_WRITE), 64_754);
    Remote::hold("the largest FPDU without its end", |remote| {
        let mut stream = remote.operate();
        stream.write_all(&big[..big.len() - 1]).unwrap();
        Some(stream)
    });
    let trickle = alike(std::iter::once(send_part(0)), 900);
    Remote::hold("trickled FPDUs", |remote| {
        let mut stream = remote.operate();
        stream.set_nodelay(true).unwrap();
        for octet in &trickle[..100] {
            stream.write_all(&[*octet]).unwrap();
        }
        Some(stream)
    });
    let holes = alike((0..500).map(|at| send_part(2 * at)), 1);
    Remote::hold("segments of one octet with holes", |remote| {
        let mut stream = remote.operate();
        let _ = stream.write_all(&holes);
        Some(stream)
    });
    let nothing = alike(std::iter::repeat_n(EMPTY_WRITE, 2000), 0);
    Remote::hold("endless segments of nothing", |remote| {
        let mut stream = remote.operate();
        for _ in 0..4 {
            // Whoever reads so much may be slower than we are.
            let _ = stream.write_all(&nothing);
        }
        Some(stream)
    });
    for (name, kind) in [
        ("answers that nobody takes", RegionKind::Steady),
        // Peers may write there, so that what is sent under a CRC has to be copied first.
        ("copied answers that nobody takes", RegionKind::Wide),
    ] {
        Remote::hold(name, |remote| {
            let mut stream = remote.operate();
            stream.write_all(&remote.reads(kind)).unwrap();
            // And the other direction in its worst state.
            let _ = stream.write_all(&big[..big.len() - 1]);
            Some(stream)
        });
    }
    Remote::hold("much behind an error", |remote| {
        let mut stream = remote.operate();
        stream
            .write_all(&alike(std::iter::once(EMPTY_WRITE), 0))
            .unwrap();
        for _ in 0..16 {
            // The first is an error already; all else is dropped, or waits in the kernel.
            let _ = stream.write_all(&[0xff; 32 << 10]);
        }
        Some(stream)
    });
}

#[test]
fn strangers_do_not_pile_up_in_a_listener() {
    let remote = Remote::start();
    drop(remote.operate());
    let before = remote.descriptors();
    let mut most = 0;
    let mut held = Vec::new();
    for at in 0..1000usize {
        let mut stream = remote.connect();
        let _ = match at % 4 {
            0 => Ok(()),
            1 => stream.write_all(b"MPA ID Req"),
            2 => stream.write_all(b"MPA ID Req Frame\x40\x01\x02\x00"),
            _ => stream.write_all(b"GET / HTTP/1.1\r\n\r\n"),
        };
        held.push(stream);
        most = most.max(remote.descriptors());
    }
    // Under way are 256 at the most; the others wait in the kernel, which has not told the target of them.
    let under_way = most - before;
    assert!(
        (100..=UNDER_WAY_MAX + 8).contains(&under_way),
        "{under_way}"
    );
    // Whoever comes last waits for those before it to be given up, and is served.
    drop(remote.operate());
    drop(held);
}

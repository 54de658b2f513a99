//! A target that offers everything the cases need, on the public API of `uwarp`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uwarp::{
    AtomicOperation, Completion, DdpMode, Domain, Incoming, Listener, Memory, OperationKind,
    Options, Region, RemoteRegion, Rights, SendFlags, Socket, Stag, WaitError,
};
use uwarp_mpa::crc;

use crate::profile::{
    Favour, FavourKind, Manner, PLAIN, Place, Profile, READ_SIZE, READS, Receipt, RegionKind, SLOW,
    pattern,
};
use crate::wire::{OUR_STAG, OUR_TO};

/// Receives that are posted on each connection.
const RECEIVES: u8 = 4;
/// Octets of each.
const RECEIVE_LEN: usize = 1024;
/// Reads that are answered at a time.
const IRD: u16 = 4;
const STARTUP_TIMEOUT: Duration = Duration::from_millis(400);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(800);
/// No connection of a case lasts longer.
const LIFETIME: Duration = Duration::from_secs(20);
/// Connections that are served at a time; further ones are closed at once.
const CONNECTIONS_MAX: usize = 512;
/// How often a thread looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(50);
/// Messages that a connection of a case may be sent.
const MESSAGES_MAX: usize = 16;

/// Where the peer says that it has something to read.
const OUR_OCTETS: RemoteRegion = RemoteRegion {
    stag: Stag(OUR_STAG),
    to: OUR_TO,
    len: READ_SIZE,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The target could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the target cannot be set up: {0}")]
pub struct TargetError(#[from] Failure);

/// A running target; dropping it ends it.
#[derive(Debug)]
pub struct Target {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Target {
    /// Starts a target that listens on `listen`, and on a port of the system's choice beside it for
    /// the cases with markers.
    ///
    /// # Errors
    /// When an address cannot be used, or there is no memory.
    pub fn start(listen: impl ToSocketAddrs + std::fmt::Debug) -> Result<Self, TargetError> {
        Self::build(listen).map_err(TargetError)
    }

    fn build(listen: impl ToSocketAddrs + std::fmt::Debug) -> Result<Self, Failure> {
        let domain = Domain::new();
        let options = options(&domain);
        let main = Listener::bind(listen, &options)?;
        let address = main.local_addr();
        let beside = SocketAddr::new(address.ip(), 0);
        let second = Listener::bind(beside, &options.clone().markers(true).crc(false))?;
        let shared = Arc::new(Shared::new(domain, second.local_addr().port())?);
        let threads = [main, second]
            .into_iter()
            .map(|listener| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.listen(&listener))
            })
            .collect();
        Ok(Self {
            shared,
            address,
            threads,
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it offers, as of now.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.shared.profile()
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        for thread in self.threads.drain(..) {
            // A thread that has panicked serves no more, which is all there is to know.
            let _ = thread.join();
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn options(domain: &Domain) -> Options {
    Options::new(domain)
        .ird(IRD)
        .ord(IRD)
        .startup_timeout(STARTUP_TIMEOUT)
        .close_timeout(CLOSE_TIMEOUT)
        .send_queue(MESSAGES_MAX as u32)
        .receive_queue(u32::from(RECEIVES))
}

/// A region and the place that was told of it, which outlives its STag.
#[derive(Debug)]
struct Offered {
    kind: RegionKind,
    region: Region,
    /// What was in it at first.
    contents: Vec<u8>,
    place: Place,
}

#[derive(Debug)]
struct Shared {
    domain: Domain,
    offered: Vec<Offered>,
    /// The stream that one of the regions is tied to.
    _other_stream: (Socket, Socket),
    markers_port: u16,
    stop: AtomicBool,
    connections: AtomicUsize,
}

impl Shared {
    fn new(domain: Domain, markers_port: u16) -> Result<Self, Failure> {
        let other_stream = pair(&domain)?;
        let offered = RegionKind::ALL
            .into_iter()
            .map(|kind| offer(kind, &domain, &other_stream.0))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            domain,
            offered,
            _other_stream: other_stream,
            markers_port,
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        })
    }

    fn profile(&self) -> Profile {
        Profile {
            regions: self
                .offered
                .iter()
                .map(|offered| (offered.kind, offered.place))
                .collect(),
            receives: RECEIVES,
            receive_len: RECEIVE_LEN as u16,
            ird: IRD,
            startup_timeout_ms: Some(STARTUP_TIMEOUT.as_millis() as u16),
            markers_port: Some(self.markers_port),
            atomics: true,
            immediate_data: true,
            favours: FavourKind::ALL.into(),
            damage: self.damage(),
        }
    }

    fn damage(&self) -> BTreeSet<RegionKind> {
        self.offered
            .iter()
            .filter(|offered| is_untouchable(offered.kind) && offered.is_changed())
            .map(|offered| offered.kind)
            .collect()
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn listen(self: &Arc<Self>, listener: &Listener) {
        while !self.stopping() {
            let Ok(incoming) = listener.accept_timeout(GLANCE) else {
                continue;
            };
            if self.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
                self.connections.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                // How a case ends its connection is the case's affair; the next one starts afresh.
                let _ = shared.serve(incoming);
                shared.connections.fetch_sub(1, Ordering::AcqRel);
            });
        }
    }

    fn serve(&self, incoming: Incoming) -> Result<(), Failure> {
        let asked = Favour::decode(incoming.private_data());
        let favour = asked.unwrap_or_default();
        if favour == Favour::Reject {
            return self.reject(incoming);
        }
        if favour == Favour::Slow {
            std::thread::sleep(SLOW);
        }
        let table = asked.map_or_else(Vec::new, |_| self.profile().encode());
        let peer = incoming.peer_addr();
        let mut visit = Visit::new(self, incoming, &table)?;
        match (favour, peer) {
            (Favour::Read, _) => visit.read()?,
            (Favour::Reads, _) => {
                for _ in 0..READS {
                    visit.read()?;
                }
            }
            (Favour::Atomic, _) => visit.atomic()?,
            (Favour::Lend, _) => visit.lend()?,
            (Favour::TalkFirst, _) => visit.say(b"may I?")?,
            (Favour::Call { port, manner }, Some(peer)) => {
                return self.call(peer.ip(), port, manner);
            }
            _ => {}
        }
        visit.attend(favour != Favour::None)
    }

    /// Rejects, and shows that the TCP connection is still there.
    fn reject(&self, incoming: Incoming) -> Result<(), Failure> {
        let mut stream = incoming.reject(b"not today", None)?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(STARTUP_TIMEOUT))?;
        stream.write_all(PLAIN)?;
        let mut rest = [0; 64];
        while stream.read(&mut rest)? > 0 {}
        Ok(())
    }

    /// Plays the initiator, with a Send that is posted at once or Reads.
    fn call(&self, peer: IpAddr, port: u16, manner: Manner) -> Result<(), Failure> {
        let peer_to_peer = manner != Manner::ClientServer;
        let stream = TcpStream::connect_timeout(&SocketAddr::new(peer, port), STARTUP_TIMEOUT)?;
        let socket = stream.set_ddp_mode(&options(&self.domain).peer_to_peer(peer_to_peer))?;
        let inbox = self
            .domain
            .register(vec![0u8; RECEIVE_LEN], Rights::empty())?;
        socket.post_recv(0, &[inbox.slice(..)?])?;
        let sink = self
            .domain
            .register(vec![0u8; READ_SIZE as usize], Rights::empty())?;
        if manner == Manner::Reading {
            for _ in 0..READS {
                socket.post_read(0, &[sink.slice(..)?], OUR_OCTETS)?;
            }
            return self.until_over(&socket, |_| Ok(()));
        }
        let words = self
            .domain
            .register(b"good day".to_vec(), Rights::empty())?;
        socket.post_send(0, &[words.slice(..)?], SendFlags::default())?;
        self.until_over(&socket, |_| Ok(()))
    }

    fn until_over(
        &self,
        socket: &Socket,
        mut each: impl FnMut(Completion) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let end = Instant::now() + LIFETIME;
        while !self.stopping() && Instant::now() < end {
            match socket.wait(Some(GLANCE)) {
                Ok(completion) => each(completion)?,
                Err(WaitError::TimedOut) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }
}

/// Regions that no case has the right to change, so that they show what was placed wrongly.
const fn is_untouchable(kind: RegionKind) -> bool {
    matches!(
        kind,
        RegionKind::Steady | RegionKind::Foreign | RegionKind::OtherStream | RegionKind::Revoked
    )
}

impl Offered {
    fn is_changed(&self) -> bool {
        let mut seen = vec![0; self.region.len()];
        let readable = self.region.read_at(0, &mut seen).is_ok();
        !readable || seen != self.contents
    }
}

fn offer(kind: RegionKind, domain: &Domain, other: &Socket) -> Result<Offered, Failure> {
    let everything = Rights::REMOTE_READ | Rights::REMOTE_WRITE | Rights::REMOTE_ATOMIC;
    let len = match kind {
        RegionKind::Steady => 1 << 20,
        RegionKind::Wide => 128 << 10,
        _ => 4096,
    };
    let mut memory = Memory::zeroed(len)?;
    let contents = pattern(kind, len);
    memory.copy_from_slice(&contents);
    let region = match kind {
        RegionKind::Open | RegionKind::Revoked => domain.register(memory, everything)?,
        RegionKind::Steady => domain.register(memory, Rights::REMOTE_READ)?,
        RegionKind::Wide => domain.register(memory, Rights::REMOTE_READ | Rights::REMOTE_WRITE)?,
        // The right is granted, and yet it must not be had by one of many streams (S05).
        RegionKind::Spare => domain.register(memory, everything | Rights::REMOTE_INVALIDATE)?,
        RegionKind::WriteOnly => domain.register(memory, Rights::REMOTE_WRITE)?,
        RegionKind::Foreign => Domain::new().register(memory, everything)?,
        RegionKind::OtherStream => {
            domain.register_for(other, memory, everything | Rights::REMOTE_INVALIDATE)?
        }
    };
    let RemoteRegion { stag, to, len } = region.remote().ok_or("a new region has no STag")?;
    if kind == RegionKind::Revoked {
        region.revoke();
    }
    Ok(Offered {
        kind,
        region,
        contents,
        place: Place {
            stag: stag.0,
            to,
            len,
        },
    })
}

/// A connection of the target's with itself.
fn pair(domain: &Domain) -> Result<(Socket, Socket), Failure> {
    let options = Options::new(domain);
    let listener = Listener::bind("127.0.0.1:0", &options)?;
    let address = listener.local_addr();
    let connecting = std::thread::spawn(move || uwarp::connect(address, &options));
    let accepted = listener
        .accept_timeout(Duration::from_secs(5))?
        .accept(&[])?;
    let connected = connecting
        .join()
        .map_err(|_| "the connecting thread died")??;
    Ok((accepted, connected))
}

/// One connection of a case.
struct Visit<'t> {
    shared: &'t Shared,
    socket: Socket,
    inbox: Region,
    outbox: Region,
    /// Sink of the favour Read.
    sink: Region,
    /// Kept for the peer as long as the connection lasts.
    lent: Option<Region>,
    sent: usize,
}

impl<'t> Visit<'t> {
    fn new(shared: &'t Shared, incoming: Incoming, table: &[u8]) -> Result<Self, Failure> {
        let local = |len: usize| shared.domain.register(vec![0u8; len], Rights::empty());
        let inbox = local(usize::from(RECEIVES) * RECEIVE_LEN)?;
        for place in 0..usize::from(RECEIVES) {
            let span = place * RECEIVE_LEN..(place + 1) * RECEIVE_LEN;
            incoming.post_recv(place as u64, &[inbox.slice(span)?])?;
        }
        Ok(Self {
            outbox: local(MESSAGES_MAX * Receipt::LEN)?,
            sink: local(READ_SIZE as usize)?,
            socket: incoming.accept(table)?,
            shared,
            inbox,
            lent: None,
            sent: 0,
        })
    }

    fn say(&mut self, octets: &[u8]) -> Result<(), Failure> {
        if self.sent == MESSAGES_MAX {
            return Err("enough has been said".into());
        }
        let start = self.sent * Receipt::LEN;
        self.outbox.write_at(start as u64, octets)?;
        let list = [self.outbox.slice(start..start + octets.len())?];
        self.sent += 1;
        self.socket.post_send(0, &list, SendFlags::default())?;
        Ok(())
    }

    fn read(&self) -> Result<(), Failure> {
        Ok(self
            .socket
            .post_read(0, &[self.sink.slice(..)?], OUR_OCTETS)?)
    }

    fn atomic(&self) -> Result<(), Failure> {
        let word = RemoteRegion {
            stag: Stag(OUR_STAG),
            to: OUR_TO,
            len: 8,
        };
        let add = AtomicOperation::FetchAdd { add: 1, mask: 0 };
        Ok(self.socket.post_atomic(0, add, word)?)
    }

    fn lend(&mut self) -> Result<(), Failure> {
        let rights = Rights::REMOTE_WRITE | Rights::REMOTE_READ | Rights::REMOTE_INVALIDATE;
        let region = self
            .shared
            .domain
            .register_for(&self.socket, vec![0u8; 256], rights)?;
        let place = region.remote().ok_or("a new region has no STag")?;
        self.lent = Some(region);
        self.say(&place.to_bytes())
    }

    /// Waits for the end, and sends receipts if they are wanted.
    fn attend(mut self, receipts: bool) -> Result<(), Failure> {
        let shared = self.shared;
        let end = Instant::now() + LIFETIME;
        while !shared.stopping() && Instant::now() < end {
            match self.socket.wait(Some(GLANCE)) {
                Ok(completion) if receipts && completion.is_success() => {
                    if let Some(receipt) = self.receipt(&completion)? {
                        self.say(&receipt.encode())?;
                    }
                }
                Ok(_) | Err(WaitError::TimedOut) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn receipt(&self, completion: &Completion) -> Result<Option<Receipt>, Failure> {
        let mut receipt = Receipt {
            kind: b'r',
            solicited: completion.solicited,
            invalidated: completion.invalidated.is_some(),
            immediate: completion.immediate.is_some(),
            place: completion.id as u16,
            len: completion.len,
            check: 0,
        };
        let mut octets = vec![0; completion.len as usize];
        match completion.kind {
            OperationKind::Receive => {
                let start = completion.id * RECEIVE_LEN as u64;
                self.inbox.read_at(start, &mut octets)?;
                receipt.check = completion
                    .immediate
                    .map_or_else(|| crc::crc32c(&octets).into(), u64::from_be_bytes);
            }
            OperationKind::Read => {
                receipt.kind = b'd';
                self.sink.read_at(0, &mut octets)?;
                receipt.check = crc::crc32c(&octets).into();
            }
            OperationKind::Atomic => {
                receipt.kind = b'a';
                receipt.check = completion.original.unwrap_or(0);
            }
            _ => return Ok(None),
        }
        Ok(Some(receipt))
    }
}

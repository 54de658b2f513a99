//! The other end of perftest's programs with -R: ib_write_bw (also with -b), ib_read_bw, ib_send_bw, and the three
//! that measure latency.
//!
//! There are two connections to one port. The first is for the agreement: messages in turn, the client's first, each
//! answered by the server's of the same kind. The second is for what is measured.
//!
//! ```text
//!   version (16), MTU (4), inline size (4), a text (2), an empty place (56)   then the second connection
//!   an empty place (56), places (56 each), the measurement, places and results (8 each) as the program likes
//! ```
//!
//! A place says where the other end may write or read; all numbers are big-endian:
//!
//! ```text
//!   LID (4)  reads at a time (4)  QP number (4)  PSN (4)  STag (4)  unused (4)  address (8)  GID (16)  SRQ (4)  index (4)
//! ```
//!
//! ib_send_bw's receiver tells by RDMA Writes of 4 octets, in the byte order of its machine, how many messages it has taken.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use uwarp::{Domain, Listener, Options, Region, RemoteRegion, Rights, Stag};

use crate::end::{End, Outcome, PATIENCE, Place, Receives, listen};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Test {
    WriteBw,
    ReadBw,
    SendBw,
    /// ib_write_bw -b: both ends write
    WriteBothBw,
    WriteLat,
    ReadLat,
    SendLat,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Which of the programs
    test: Test,
    /// Octets of an operation
    #[arg(short = 's', default_value_t = 65536)]
    size: usize,
    /// How many operations
    #[arg(short = 'n', default_value_t = 1000)]
    count: usize,
}

/// Receives that ib_send_bw has posted.
const DEPTH: usize = 512;
/// Octets over which perftest spreads small operations.
const CYCLE: usize = 4096;
const PLACE_LEN: usize = 56;
const RESULT_LEN: usize = 8;
/// Each octet of a Write.
const WRITTEN: u8 = 0xa5;
const AGREEMENT: Receives = Receives { count: 4, len: 64 };

pub(crate) fn run(place: Place, settings: &Settings) -> Outcome<()> {
    match place {
        Place::Listen(address) => serve(address, settings),
        Place::Connect(address) => call(address, settings),
    }
}

/// What one end has of the measurement.
struct Measure {
    settings: Settings,
    domain: Domain,
    /// Where the other end writes and reads; in ib_send_bw: where it counts what it has taken.
    region: Region,
}

impl Measure {
    fn new(settings: &Settings) -> Outcome<Self> {
        let domain = Domain::new();
        let len = 2 * settings.size.max(CYCLE);
        let octets = (0..len).map(|at| (at % 251) as u8).collect();
        let octets = match settings.test {
            Test::SendBw | Test::SendLat | Test::WriteLat => vec![0; len],
            Test::WriteBw | Test::WriteBothBw | Test::ReadBw | Test::ReadLat => octets,
        };
        Ok(Self {
            settings: *settings,
            region: domain.register(octets, Rights::REMOTE_READ | Rights::REMOTE_WRITE)?,
            domain,
        })
    }

    fn options(&self) -> Options {
        Options::new(&self.domain)
            .ird(128)
            .ord(128)
            .send_queue(1024)
            .receive_queue(1024)
            // ib_write_lat's server writes first, without peer-to-peer mode.
            .speak_unasked(Duration::from_millis(200))
    }

    fn receives(&self, server: bool) -> Receives {
        match self.settings.test {
            Test::SendBw if !server => Receives { count: 1, len: 8 },
            Test::SendBw | Test::SendLat => Receives {
                count: DEPTH,
                len: self.settings.size,
            },
            _ => Receives { count: 1, len: 8 },
        }
    }

    /// What we say of our region.
    fn place(&self) -> Outcome<[u8; PLACE_LEN]> {
        let RemoteRegion { stag, to, .. } = self.region.remote().ok_or("revoked")?;
        let mut place = [0; PLACE_LEN];
        place[4..8].copy_from_slice(&128u32.to_be_bytes());
        place[8..12].copy_from_slice(&7u32.to_be_bytes());
        place[16..20].copy_from_slice(&stag.0.to_be_bytes());
        place[24..32].copy_from_slice(&to.to_be_bytes());
        Ok(place)
    }

    /// What the other end has said of its region.
    fn remote(&self, place: &[u8]) -> Outcome<RemoteRegion> {
        let stag = place[16..20].try_into().map(u32::from_be_bytes)?;
        let to = place[24..32].try_into().map(u64::from_be_bytes)?;
        Ok(RemoteRegion {
            stag: Stag(stag),
            to,
            len: self.settings.size.max(4) as u32,
        })
    }

    /// The client's part of the measurement.
    fn initiate(&self, data: &mut End, remote: RemoteRegion) -> Outcome<()> {
        let Settings { size, count, .. } = self.settings;
        match self.settings.test {
            Test::WriteBw | Test::WriteBothBw => {
                let source = data.region(vec![WRITTEN; size], Rights::empty())?;
                (0..count).try_for_each(|_| data.write(&source, remote))
            }
            Test::ReadBw | Test::ReadLat => {
                let mut first = vec![0; size];
                let mut octets = vec![0; size];
                for index in 0..count {
                    let sink = data.region(vec![index as u8; size], Rights::empty())?;
                    data.read(&sink, remote)?;
                    sink.read_at(0, &mut octets)?;
                    if index == 0 {
                        first.copy_from_slice(&octets);
                    } else if first != octets {
                        return Err("two Reads of the same memory differ".into());
                    }
                }
                Ok(())
            }
            Test::SendBw => {
                let message = data.region(vec![0xa5; size], Rights::empty())?;
                for sent in 0..count {
                    self.await_taken(sent)?;
                    data.post_send(&message)?;
                    data.work()?;
                }
                Ok(())
            }
            Test::WriteLat => self.ping_pong(data, remote, false),
            Test::SendLat => (0..count).try_for_each(|_| {
                data.send(&vec![0xa5; size])?;
                self.take(data)
            }),
        }
    }

    /// Reads what the client has written last. The server closes when it is told on the other connection that this end
    /// is done: by then all Writes must be there, or TCP would end this connection by a reset. ib_write_bw lends its
    /// memory for Writes only, but siw does not look at that when it reads.
    fn read_back(&self, data: &mut End, remote: RemoteRegion) -> Outcome<()> {
        let mut octets = vec![0; self.settings.size];
        let sink = data.region(octets.clone(), Rights::empty())?;
        data.read(&sink, remote)?;
        sink.read_at(0, &mut octets)?;
        if octets.iter().all(|&octet| octet == WRITTEN) {
            Ok(())
        } else {
            Err("what has been read back is not what was written".into())
        }
    }

    /// Waits until the receiver has room for another message.
    fn await_taken(&self, sent: usize) -> Outcome<()> {
        let begun = Instant::now();
        let mut taken = [0; 4];
        loop {
            self.region.read_at(0, &mut taken)?;
            if sent - (u32::from_le_bytes(taken) as usize) < DEPTH {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{sent} messages sent, {taken:?} taken").into());
            }
            thread::yield_now();
        }
    }

    /// The server's part of the measurement.
    fn respond(&self, data: &mut End, remote: RemoteRegion) -> Outcome<()> {
        match self.settings.test {
            Test::WriteBw | Test::ReadBw | Test::ReadLat => Ok(()),
            Test::WriteBothBw => self.initiate(data, remote),
            Test::SendLat => (0..self.settings.count).try_for_each(|_| {
                self.take(data)?;
                data.send(&vec![0xa5; self.settings.size])
            }),
            Test::SendBw => {
                let told = data.region(vec![0; 4], Rights::empty())?;
                for taken in 1..=self.settings.count {
                    self.take(data)?;
                    if taken % (DEPTH / 4) == 0 || taken == self.settings.count {
                        told.write_at(0, &(taken as u32).to_le_bytes())?;
                        data.write(&told, remote)?;
                    }
                }
                Ok(())
            }
            Test::WriteLat => self.ping_pong(data, remote, true),
        }
    }

    /// Takes a message, which has the length that was agreed.
    fn take(&self, data: &mut End) -> Outcome<()> {
        let len = data.message()?.octets.len();
        if len == self.settings.size {
            Ok(())
        } else {
            Err(format!("a message of {len} octets").into())
        }
    }

    /// Each end waits until the last octet of its region is the number of the round, and writes it back.
    fn ping_pong(&self, data: &mut End, remote: RemoteRegion, server: bool) -> Outcome<()> {
        let Settings { size, count, .. } = self.settings;
        for round in 1..=count {
            let source = data.region(vec![round as u8; size], Rights::empty())?;
            // The server writes first: its peer waits for it.
            if server {
                data.write(&source, remote)?;
            }
            self.await_round(size, round as u8)?;
            if !server {
                data.write(&source, remote)?;
            }
        }
        Ok(())
    }

    fn await_round(&self, size: usize, round: u8) -> Outcome<()> {
        let begun = Instant::now();
        let mut last = [0];
        loop {
            self.region.read_at(size as u64 - 1, &mut last)?;
            if last[0] == round {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("round {round}: the octet is still {}", last[0]).into());
            }
            thread::yield_now();
        }
    }

    /// What there is to check when all is over.
    fn check(&self) -> Outcome<()> {
        let mut octets = vec![0; self.region.len()];
        self.region.read_at(0, &mut octets)?;
        let untouched = octets
            .iter()
            .enumerate()
            .all(|(at, &octet)| octet == (at % 251) as u8);
        match self.settings.test {
            Test::WriteBw | Test::WriteBothBw if untouched => {
                Err("nothing has been written".into())
            }
            Test::ReadBw | Test::ReadLat if !untouched => {
                Err("what was only read has changed".into())
            }
            _ => Ok(()),
        }
    }
}

fn is_empty_place(octets: &[u8]) -> bool {
    octets.iter().all(|&octet| octet == 0)
}

fn serve(address: SocketAddr, settings: &Settings) -> Outcome<()> {
    let measure = Measure::new(settings)?;
    let listener = listen(address, &measure.options())?;
    let mut agreement = End::accept(listener.accept()?, &measure.domain, b"", AGREEMENT)?;
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (not_done, done) = mpsc::channel();
        let (measure, listener) = (&measure, &listener);
        let measuring = scope.spawn(move || measure_for(measure, listener, &told, not_done));
        let mut told_place = false;
        // Every message is answered by one of its kind, until the client has closed.
        while let Ok(message) = agreement.message() {
            let answer = match message.octets.len() {
                PLACE_LEN if !is_empty_place(&message.octets) => {
                    if !told_place {
                        told_place = true;
                        tell.send(measure.remote(&message.octets)?)?;
                    }
                    measure.place()?.to_vec()
                }
                RESULT_LEN => {
                    // The client closes when it has our results: they say that our part is done. Nothing is sent
                    // here; it is over when the other end of the channel is dropped.
                    let _: Result<(), _> = done.recv();
                    message.octets
                }
                _ => message.octets,
            };
            agreement.send(&answer)?;
        }
        drop(tell);
        measuring.join().map_err(|_| "the measurement panicked")?
    })?;
    measure.check()
}

fn measure_for(
    measure: &Measure,
    listener: &Listener,
    told: &Receiver<RemoteRegion>,
    not_done: Sender<()>,
) -> Outcome<()> {
    let incoming = listener.accept_timeout(PATIENCE)?;
    let mut data = End::accept(incoming, &measure.domain, b"", measure.receives(true))?;
    let remote = told
        .recv()
        .map_err(|_| "the client has not said where it is")?;
    measure.respond(&mut data, remote)?;
    drop(not_done);
    match data.closed_by_peer() {
        // ib_write_bw -b allows no Reads that would tell when it has all that was written. It closes when it is done
        // with its own Writes, and if some of ours are on their way then, TCP ends the connection by a reset.
        Err(_) if measure.settings.test == Test::WriteBothBw && data.is_lost() => Ok(()),
        closed => closed,
    }
}

/// The server listens anew for the second connection, and may take its time.
fn connect_again(
    address: SocketAddr,
    measure: &Measure,
    options: &Options,
    receives: Receives,
) -> Outcome<End> {
    let begun = Instant::now();
    loop {
        match End::connect(address, &measure.domain, options, receives) {
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(100)),
            connected => return connected,
        }
    }
}

fn call(address: SocketAddr, settings: &Settings) -> Outcome<()> {
    let measure = Measure::new(settings)?;
    let options = measure.options();
    let mut agreement = End::connect(address, &measure.domain, &options, AGREEMENT)?;
    let mut say = |octets: &[u8]| -> Outcome<Vec<u8>> {
        agreement.send(octets)?;
        let answer = agreement.message()?.octets;
        if answer.len() == octets.len() {
            Ok(answer)
        } else {
            let lengths = (octets.len(), answer.len());
            Err(format!("{lengths:?}: the answer is of another kind").into())
        }
    };
    let mut version = [0; 16];
    version[..4].copy_from_slice(b"6.06");
    say(&version)?;
    say(&4096u32.to_be_bytes())?;
    say(&64u32.to_be_bytes())?;
    say(b"3\0")?;
    say(&[0; PLACE_LEN])?;
    let receives = measure.receives(false);
    let mut data = connect_again(address, &measure, &options, receives)?;
    say(&[0; PLACE_LEN])?;
    let ours = measure.place()?;
    let (before, after, results) = match settings.test {
        Test::WriteBw | Test::ReadBw => (3, 1, 5),
        Test::SendBw => (4, 1, 0),
        Test::WriteBothBw => (4, 0, 5),
        Test::WriteLat => (4, 0, 0),
        Test::ReadLat | Test::SendLat => (4, 1, 0),
    };
    let mut theirs = Vec::new();
    for _ in 0..before {
        theirs = say(&ours)?;
    }
    let remote = measure.remote(&theirs)?;
    measure.initiate(&mut data, remote)?;
    if matches!(settings.test, Test::WriteBw | Test::WriteBothBw) {
        measure.read_back(&mut data, remote)?;
    }
    for _ in 0..after {
        say(&ours)?;
    }
    if results > 0 {
        for _ in 0..results {
            say(&[0; RESULT_LEN])?;
        }
        say(&ours)?;
    }
    data.close_after_peer()?;
    agreement.close_after_peer()
}

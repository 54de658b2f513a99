//! The other end of the verbs program in `tests/interop/verbs/`, whose comments tell what the two say to each other.

mod cases;
mod long;
mod mix;
mod serve;

use std::time::Duration;

use uwarp::{Domain, Error, Listener, Options, Region, RemoteRegion, Rights, RtrSet, Stag};

pub(crate) use long::{Settings as LongSettings, run as run_long};

use crate::end::{End, Outcome, PATIENCE, Place, Receives, listen};

/// Octets of a half of the main region, and of each of the other regions.
const HALF: usize = 1 << 20;
const SMALL: usize = 64 << 10;
/// Octets of a message.
const MESSAGE_MAX: usize = 8192;
const RECEIVES: Receives = Receives {
    count: 32,
    len: MESSAGE_MAX,
};
/// Octets that tell of one region.
const PLACE_LEN: usize = 16;
/// Seeds of the sources: of the other end, and of ours.
const THEIR_SEED: u32 = 1;
const OUR_SEED: u32 = 2;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// `serve`, `mix`, or the name of a case
    case: String,
    /// Reads that we answer at a time
    #[arg(long, default_value_t = 16)]
    ird: u16,
    /// Reads that we make at a time
    #[arg(long, default_value_t = 16)]
    ord: u16,
    /// Decline the CRC
    #[arg(long)]
    no_crc: bool,
    /// Ask for markers
    #[arg(long)]
    markers: bool,
    /// Ask with a Request of revision 1
    #[arg(long)]
    revision_1: bool,
    /// Do not ask for peer-to-peer mode
    #[arg(long)]
    client_server: bool,
    /// The RTRs that we offer: some of the letters w, r and s
    #[arg(long)]
    rtr: Option<String>,
    /// So many octets of private data, which the other end expects
    #[arg(long, value_name = "OCTETS", default_value_t = 0)]
    private: usize,
    /// So many octets of private data must come
    #[arg(long, value_name = "OCTETS")]
    expect: Option<usize>,
    /// Reject, or be rejected
    #[arg(long)]
    reject: bool,
    /// Make so many connections, one after the other
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// `mix`: operations of each end on each connection
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// `mix`: makes other operations
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The octet at a place of a source.
const fn octet(at: usize, seed: u32) -> u8 {
    ((at * 7 + at / 251) as u32).wrapping_add(seed.wrapping_mul(31)) as u8
}

/// `len` octets of a source, from `at` on.
fn pattern(at: usize, len: usize, seed: u32) -> Vec<u8> {
    (at..at + len).map(|at| octet(at, seed)).collect()
}

/// Fails unless the octets are the source's, from `at` on.
fn check(octets: &[u8], at: usize, seed: u32, what: &str) -> Outcome<()> {
    match (octets.iter().enumerate()).find(|&(offset, &found)| found != octet(at + offset, seed)) {
        None => Ok(()),
        Some((offset, found)) => Err(format!(
            "{what}: octet {offset} of {} is {found:#04x} instead of {:#04x}",
            octets.len(),
            octet(at + offset, seed)
        )
        .into()),
    }
}

/// A connection, and the regions of both ends.
struct Session {
    end: End,
    /// Half source, half sink.
    main: Region,
    /// Keeps the regions of one right alive.
    _others: [Region; 2],
    theirs: [RemoteRegion; 3],
}

/// The other end's regions by what may be done with them.
const MAIN: usize = 0;
const READ_ONLY: usize = 1;
const WRITE_ONLY: usize = 2;

impl Session {
    /// Tells of our regions and hears of theirs; whoever connected speaks first.
    fn new(mut end: End, speaks_first: bool) -> Outcome<Self> {
        let mut octets = pattern(0, HALF, OUR_SEED);
        octets.resize(2 * HALF, 0);
        let main = end.region(octets, Rights::REMOTE_READ | Rights::REMOTE_WRITE)?;
        let read_only = end.region(pattern(0, SMALL, OUR_SEED), Rights::REMOTE_READ)?;
        let write_only = end.region(vec![0; SMALL], Rights::REMOTE_WRITE)?;
        let mut places = Vec::new();
        for region in [&main, &read_only, &write_only] {
            places.extend(place(region)?);
        }
        if speaks_first {
            end.send(&places)?;
        }
        let message = end.message()?.octets;
        let (theirs, rest) = message.as_chunks::<PLACE_LEN>();
        let &[a, b, c] = theirs else {
            return Err("the other end does not tell its places".into());
        };
        if !rest.is_empty() {
            return Err("the other end tells more than its places".into());
        }
        if !speaks_first {
            end.send(&places)?;
        }
        Ok(Self {
            end,
            main,
            _others: [read_only, write_only],
            theirs: [a, b, c].map(|octets| remote(&octets)),
        })
    }
}

/// Where a region is, as the verbs program wants to be told.
fn place(region: &Region) -> Outcome<[u8; PLACE_LEN]> {
    let RemoteRegion { stag, to, len } = region.remote().ok_or("revoked")?;
    let mut octets = [0; PLACE_LEN];
    octets[..8].copy_from_slice(&to.to_be_bytes());
    octets[8..12].copy_from_slice(&stag.0.to_be_bytes());
    octets[12..].copy_from_slice(&len.to_be_bytes());
    Ok(octets)
}

fn remote(octets: &[u8; PLACE_LEN]) -> RemoteRegion {
    let &[ref to @ .., s0, s1, s2, s3, l0, l1, l2, l3] = octets;
    RemoteRegion {
        stag: Stag(u32::from_be_bytes([s0, s1, s2, s3])),
        to: u64::from_be_bytes(*to),
        len: u32::from_be_bytes([l0, l1, l2, l3]),
    }
}

impl Settings {
    fn options(&self, domain: &Domain) -> Outcome<Options> {
        let mut options = Options::new(domain)
            .ird(self.ird)
            .ord(self.ord)
            .crc(!self.no_crc)
            .markers(self.markers)
            .private_data(&self.private_data())
            .send_queue(512)
            .receive_queue(64)
            .close_timeout(Duration::from_secs(20));
        if self.revision_1 {
            options = options.revision_1();
        }
        if self.client_server {
            options = options.peer_to_peer(false);
        }
        if let Some(letters) = &self.rtr {
            let mut kinds = RtrSet::NONE;
            for letter in letters.chars() {
                kinds = kinds
                    | match letter {
                        'w' => RtrSet::WRITE,
                        'r' => RtrSet::READ,
                        's' => RtrSet::SEND,
                        _ => return Err(format!("there is no RTR {letter}").into()),
                    };
            }
            options = options.rtr(kinds);
        }
        Ok(options)
    }

    fn private_data(&self) -> Vec<u8> {
        pattern(0, self.private, OUR_SEED)
    }

    /// Fails unless the private data is what the other end was told to send. Behind it may be zeros: what
    /// rdma_cm adds.
    fn expect_private(&self, octets: &[u8]) -> Outcome<()> {
        match self.expect {
            Some(len) if len != octets.len() => {
                Err(format!("{} octets of private data instead of {len}", octets.len()).into())
            }
            Some(_) => check(octets, 0, THEIR_SEED, "private data"),
            None => Ok(()),
        }
    }
}

pub(crate) fn run(place: Place, settings: &Settings) -> Outcome<()> {
    let domain = Domain::new();
    let options = settings.options(&domain)?;
    let listener = match place {
        Place::Listen(address) => Some(listen(address, &options)?),
        Place::Connect(_) => None,
    };
    let mut early = None;
    for time in 0..settings.times {
        let Some(session) = open(place, listener.as_ref(), settings, &options, &domain)? else {
            return Ok(());
        };
        match settings.case.as_str() {
            "serve" => serve::serve(session)?,
            "mix" => {
                let mut session = session;
                let plan = mix::Plan {
                    count: settings.count,
                    seed: settings.seed + u64::from(time),
                    time: None,
                    after: mix::After::Finish,
                };
                mix::run(&mut session, plan)?;
                session.end.close()?;
            }
            name => cases::run(session, name)?,
        }
        // By then everything has its size.
        if time == settings.times / 10 {
            early = Some(resident()?);
        }
    }
    if let Some(early) = early.filter(|_| settings.times > 1) {
        let late = resident()?;
        println!(
            "note: {} connections, resident {early} KiB after {}, {late} KiB at the end",
            settings.times,
            settings.times / 10 + 1
        );
        if late > early + early / 4 + 1024 {
            return Err("the resident memory has grown".into());
        }
    }
    Ok(())
}

/// Makes a connection; `None` if there was to be none, and there is none.
fn open(
    place: Place,
    listener: Option<&Listener>,
    settings: &Settings,
    options: &Options,
    domain: &Domain,
) -> Outcome<Option<Session>> {
    let end = match place {
        Place::Connect(address) => match connect(address, domain, options, settings)? {
            Some(end) => end,
            None => return Ok(None),
        },
        Place::Listen(_) => {
            let incoming = listener.ok_or("no listener")?.accept()?;
            settings.expect_private(incoming.private_data())?;
            if settings.reject {
                let mut stream = incoming.reject(&settings.private_data(), None)?;
                // siw closes when it has read the Reply, and may overlook it if the FIN comes first.
                stream.set_read_timeout(Some(PATIENCE))?;
                std::io::copy(&mut stream, &mut std::io::sink())?;
                return Ok(None);
            }
            End::accept(incoming, domain, &settings.private_data(), RECEIVES)?
        }
    };
    let established = end.socket.established().ok_or("not set up")?;
    let agreement = established.agreement;
    if settings.times == 1 {
        println!("{agreement:?}");
    }
    if agreement.crc == settings.no_crc {
        return Err("the CRC is not as it was asked for".into());
    }
    if matches!(place, Place::Connect(_)) {
        settings.expect_private(&established.private_data)?;
    }
    Session::new(end, matches!(place, Place::Connect(_))).map(Some)
}

/// Connects, again if the other end does not listen yet.
fn connect(
    address: std::net::SocketAddr,
    domain: &Domain,
    options: &Options,
    settings: &Settings,
) -> Outcome<Option<End>> {
    for _ in 0..200 {
        match End::connect(address, domain, options, RECEIVES) {
            Err(error) => match error.downcast_ref::<Error>() {
                Some(Error::Rejected { private_data, .. }) if settings.reject => {
                    settings.expect_private(private_data)?;
                    return Ok(None);
                }
                Some(Error::Connect { source, .. })
                    if source.kind() == std::io::ErrorKind::ConnectionRefused
                        && settings.times > 1 =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return Err(error),
            },
            Ok(_) if settings.reject => return Err("it was not rejected".into()),
            Ok(end) => return Ok(Some(end)),
        }
    }
    Err("nobody listens there any more".into())
}

/// Resident memory of this process, in KiB.
fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

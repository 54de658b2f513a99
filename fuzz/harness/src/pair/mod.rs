//! Two connections, one on each end of a link, and two programs that use them.
//!
//! An input chooses the options of both ends, and then what happens: posts of every kind with good and bad
//! addresses, revocations, octets that are written and read in parts, time that passes, closing, and the ends
//! that a connection may come to. A model beside it knows all that has been posted. Whatever happens:
//!
//! * what lands in memory is the next octets of what was posted, in its place; all other octets stay;
//! * what a Read finds was there between its Request and its completion, and an atomic operation tells the
//!   word that it found;
//! * an access is refused exactly if it is not permitted, and an end blames its peer for nothing else;
//! * every posted request completes once, in order;
//! * the octets on the link are proper FPDUs, with at most one Terminate, and nothing behind it;
//! * when nothing more can happen, nothing is outstanding, unless the peer has not let us speak;
//! * both ends come to an end in time, in order if nobody has done anything wrong;
//! * neither connection holds more memory than [`connection_bound`](crate::memory::connection_bound) says.

mod end;
mod lane;
mod ram;
mod script;

use std::time::{Duration, Instant};

use uwarp_ddp::Stag;
use uwarp_mpa::RtrSet;
use uwarp_stream::{Config, Connection, End, Role};

use crate::arena::Arena;
use crate::input::Input;
use crate::memory::Account;
use crate::startup;
use end::{Host, Link};
use lane::Lane;

/// What an input reached.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// Successful completions of each kind of operation.
    pub succeeded: [usize; 6],
    /// Completions of another kind.
    pub flushed: usize,
    /// Reads that the peer has refused.
    pub refused: usize,
    /// Ends that were set up.
    pub set_up: usize,
    /// A Request was rejected.
    pub rejected: bool,
    /// Accesses that were not permitted.
    pub denied: usize,
    /// Octets that did not pass a staging buffer.
    pub direct: usize,
    /// Regions that the peer has invalidated.
    pub invalidated: usize,
    /// Octets of a Read that changed between its Request and its completion.
    pub changed_while_read: usize,
    /// Terminates sent.
    pub terminates: usize,
    /// Nobody did anything wrong, and all that was posted succeeded.
    pub in_order: bool,
    /// How the two connections ended, if they came to be.
    pub ends: [Option<End>; 2],
    /// The most octets of memory that a connection has held, and its bound.
    pub held: (u64, u64),
}

/// Steps are bounded, so that an input takes milliseconds.
const STEPS_MAX: usize = 300;
/// Times that a clock is moved before two ends have to be over.
const WAITS_MAX: usize = 20;

/// Lets two programs loose on each other.
///
/// # Panics
/// When a connection breaks a rule.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mut session = Session::new(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        session.step(&mut input);
    }
    session.finish();
    session.reached
}

/// Everything there is.
struct Session {
    hosts: [Host; 2],
    /// `links[i]` carries what `hosts[i]` sends.
    links: [Link; 2],
    arenas: [Arena; 2],
    /// `lanes[i]` is what `hosts[i]` has posted.
    lanes: [Lane; 2],
    now: Instant,
    /// What the program at the responder says to a Request.
    rejects: bool,
    /// Something has happened that may end a connection before its time.
    disturbed: bool,
    reached: Reached,
}

impl Session {
    /// The first octets of an input are the options.
    fn new(input: &mut Input<'_>) -> Self {
        let now = Instant::now();
        let configs = [config(input), config(input)];
        let bits = input.u8();
        let window = [1 << 16, 3000, 70_000, 600][usize::from(bits >> 1 & 3)];
        let budget = [1 << 16, 1, 2000, 20_000][usize::from(bits >> 3 & 3)];
        let mut accounts = [Account::default(), Account::default()];
        let [ours, theirs] = configs.clone();
        let initiator = accounts[0].of(|| Connection::initiator(ours, b"may I", SINKS[0], now));
        let initiator = initiator.expect("the policy is sound");
        let responder = accounts[1].of(|| Connection::responder(theirs, SINKS[1], now));
        let [near, far] = accounts;
        let [ours, theirs] = configs;
        Self {
            hosts: [
                Host::new(initiator, near, &ours, budget),
                Host::new(responder, far, &theirs, budget),
            ],
            links: [Link::new(window), Link::new(window)],
            arenas: [Arena::new(), Arena::new()],
            lanes: [Lane::default(), Lane::default()],
            now,
            rejects: bits & 0xe0 == 0xe0,
            disturbed: bits & 0xe0 == 0xe0,
            reached: Reached::default(),
        }
    }

    /// Nothing more is posted, and everything comes to its end.
    fn finish(&mut self) {
        self.settle();
        let live = |host: &Host| host.end.is_none() && host.connection().agreement().is_some();
        let done = self.lanes.iter().all(|lane| lane.incomplete.is_empty());
        let undisturbed = !self.disturbed && done && self.hosts.iter().all(live);
        for side in 0..2 {
            self.close(side);
        }
        for _ in 0..WAITS_MAX {
            self.settle();
            if self.hosts.iter().all(Host::is_over) {
                break;
            }
            self.pass(Duration::from_secs(2));
        }
        for (side, host) in self.hosts.iter().enumerate() {
            assert!(host.is_over(), "{side} ends in time");
            assert_eq!(self.arenas[side].incomplete(), 0, "everything completes");
            self.assert_end(side);
        }
        self.arenas[0].assert_as_expected();
        self.arenas[1].assert_as_expected();
        if undisturbed {
            let ends = [0, 1].map(|side: usize| self.hosts[side].end.clone());
            assert_eq!(ends, [Some(End::Graceful), Some(End::Graceful)]);
            assert!(self.lanes.iter().all(Lane::has_succeeded));
            self.reached.in_order = true;
        }
        self.account();
    }

    fn account(&mut self) {
        for (side, host) in self.hosts.iter_mut().enumerate() {
            self.reached.ends[side] = host.end.clone();
            self.reached.terminates += host.terminates();
            let held = host.account.most().unsigned_abs();
            self.reached.held = self.reached.held.max((held, host.bound));
            self.reached.invalidated += self.arenas[side].invalidated;
            self.reached.denied += usize::from(host.denied);
            self.reached.changed_while_read += self.lanes[side].changed_while_read;
            host.give_back();
        }
    }

    /// Drives both ends until nothing happens without time, and demands that nothing is left then.
    fn settle(&mut self) {
        while self.drive(0, usize::MAX, usize::MAX) | self.drive(1, usize::MAX, usize::MAX) {}
        for side in 0..2 {
            let host = &self.hosts[side];
            if host.is_over() || host.connection().agreement().is_none() {
                continue;
            }
            let unheard = host.connection().stats().fpdus_received == 0;
            let silent = host.connection().role() == Role::Responder && unheard;
            if !silent {
                let waiting = &self.lanes[side].incomplete;
                assert!(waiting.is_empty(), "{side} waits for ever: {waiting:?}");
                assert!(!host.connection().has_output(), "{side} has more to say");
            }
        }
    }

    /// Time passes at both ends.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for side in 0..2 {
            if !self.hosts[side].is_over() {
                let now = self.now;
                self.hosts[side].call(|connection, _| connection.timeout(now));
                self.take_reports(side);
            }
        }
    }

    fn close(&mut self, side: usize) {
        if !self.hosts[side].is_over() {
            let now = self.now;
            self.hosts[side].call(|connection, _| connection.close(now));
            self.take_reports(side);
        }
    }

    /// An end must have its reason.
    fn assert_end(&self, side: usize) {
        use uwarp_ddp::DdpError::{NoBuffer, TooLong};
        use uwarp_mpa::StartupError;
        use uwarp_rdmap::RdmapError;
        use uwarp_stream::Fault;
        let (host, peer) = (&self.hosts[side], &self.hosts[1 - side]);
        let from_peer = &self.lanes[1 - side];
        let Some(end) = &host.end else {
            assert!(host.rejected, "an end is told");
            return;
        };
        assert!(!host.denied || *end != End::Graceful);
        match end {
            End::Graceful => assert!(peer.saw_fin || self.disturbed),
            End::Terminated(_) => assert_eq!(peer.terminates(), 1, "it was told so"),
            // The two policies may not fit.
            End::Fault(Fault::Setup(_)) => {
                assert_eq!(self.lanes[0].delivered() + self.lanes[1].delivered(), 0);
            }
            // Of two revisions only the lower one is known to both.
            End::Fault(Fault::Startup(StartupError::Revision { .. })) => {
                assert_ne!(host.config.policy.revision, peer.config.policy.revision);
            }
            End::Fault(Fault::Rdmap(RdmapError::Ddp(NoBuffer))) => {
                let unbounded = peer.depths().1 > host.depths().0;
                assert!(
                    from_peer.lacks_a_receive() || unbounded,
                    "there was a buffer"
                );
            }
            End::Fault(Fault::Rdmap(RdmapError::Ddp(TooLong))) => {
                assert!(from_peer.exceeds_its_receive(), "it would have fitted");
            }
            End::Fault(
                Fault::Write(_)
                | Fault::Rdmap(
                    RdmapError::ReadSource(_)
                    | RdmapError::AtomicTarget(_)
                    | RdmapError::Invalidate(_),
                ),
            ) => assert!(host.denied, "{end:?}"),
            End::Fault(fault) => panic!("the peer has done nothing of this: {fault:?}"),
            End::Aborted | End::Lost | End::StartupTimeout | End::CloseTimeout => {
                assert!(self.disturbed || peer.end.is_some(), "{end:?}");
            }
        }
    }
}

/// Name the sinks of Reads.
const SINKS: [Stag; 2] = [Stag(0x51_4b_00_01), Stag(0x51_4b_00_02)];

/// A policy and the sizes of one end.
fn config(input: &mut Input<'_>) -> Config {
    let policy = startup::policy(input);
    let sizes = input.u8();
    Config {
        policy: uwarp_mpa::Policy {
            ird: policy.ird % 16,
            ord: policy.ord % 16,
            // An end that takes no RTR that the other sends is no use here; `startup` has those.
            rtr: if sizes & 0x38 == 0 {
                policy.rtr
            } else {
                RtrSet::ALL
            },
            ..policy
        },
        send_queue: usize::from(sizes & 7) * 3 + 1,
        receive_queue: usize::from(sizes >> 3 & 7) * 3 + 1,
        emss: [1460, 0, 400, 9000][usize::from(sizes >> 6)],
        ..Config::default()
    }
}

impl Host {
    /// Frees the connection and its batch; nothing of them is left then.
    fn give_back(&mut self) {
        let (connection, batch) = (self.connection.take(), std::mem::take(&mut self.batch));
        self.account.of(|| drop((connection, batch)));
        assert_eq!(self.account.held(), 0, "all memory is given back");
    }
}

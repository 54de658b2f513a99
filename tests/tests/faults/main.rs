//! Every rule that a peer can break, and what it is told.
//!
//! One end is our connection; the other is made by hand and, after a proper set-up, says what it must
//! not say. What is wrong with segments is in `segments`, with messages that take some preparation in
//! `messages`, with what RFC 7306 adds in `extensions`, with Terminates in `terminates`, with set-up in `startup`; what must be tolerated is
//! in `tolerance`, and what Linux's siw does in `siw`.

mod extensions;
mod messages;
mod segments;
mod siw;
mod startup;
mod terminates;
mod tolerance;

use std::time::Duration;

use uwarp_ddp::{DomainId, Registration, Rights, Scope, Stag, StreamId};
use uwarp_mpa::Policy;
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::{Layer, Operation, Slot, Status, TerminateCode};
use uwarp_stream::{Config, End};
use uwarp_tests::memory::PEER;
use uwarp_tests::stranger::{Bench, send, write};

/// Octets of a posted receive.
const RECEIVE_LEN: u32 = 64;
/// Tagged offset of the regions' first octet, and their length.
const BASE: u64 = 0x1000;
const LEN: u64 = 256;
/// Octets of the Read that our side has posted.
const READ_LEN: u32 = 100;

/// Which headers a Terminate carries (RFC 5040 s4.8, Figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    Nothing,
    Length,
    Ddp,
    DdpAndRead,
}

/// A code as the RFCs write it.
fn code(layer: u8, etype: u8, code: u8) -> TerminateCode {
    let layer = [Layer::Rdmap, Layer::Ddp, Layer::Llp][usize::from(layer)];
    TerminateCode::new(layer, etype, code)
}

/// The octets of the Terminate that blames `ulpdu`.
fn terminate_body(code: TerminateCode, carries: Carries, ulpdu: &[u8]) -> Vec<u8> {
    let flags = match carries {
        Carries::Nothing => 0x00,
        Carries::Length => 0x80,
        Carries::Ddp => 0xc0,
        Carries::DdpAndRead => 0xe0,
    };
    let mut body = vec![code.layer.bits() << 4 | code.etype, code.code, flags, 0];
    let header_len = if ulpdu.first().is_some_and(|control| control & 0x80 != 0) {
        14
    } else {
        18
    };
    if carries != Carries::Nothing {
        body.extend_from_slice(&(ulpdu.len() as u16).to_be_bytes());
    }
    if matches!(carries, Carries::Ddp | Carries::DdpAndRead) {
        body.extend_from_slice(&ulpdu[..header_len]);
    }
    if carries == Carries::DdpAndRead {
        body.extend_from_slice(&ulpdu[18..46]);
    }
    body
}

/// A connection in full operation that has something to lose.
struct Ground {
    bench: Bench,
    /// May be read and written.
    open: Stag,
    readable: Stag,
    writable: Stag,
    /// May be invalidated, and nothing else.
    fleeting: Stag,
    /// Written and invalidated by any stream of the domain, or so it says.
    shared: Stag,
    of_other_stream: Stag,
    of_other_domain: Stag,
    revoked: Stag,
    /// Ends where the tagged offsets end.
    high: Stag,
    receives: Vec<Slot>,
    works: Vec<Slot>,
    /// The Request of the Read that waits for its answer.
    asked: ReadRequest,
}

fn region(bench: &mut Bench, domain: u64, scope: Scope, rights: Rights, base: u64) -> Stag {
    let registration = Registration {
        domain: DomainId(domain),
        scope,
        rights,
        base,
        len: LEN,
    };
    let octets = (0..LEN).map(|octet| octet as u8).collect();
    bench.ram.register_as(registration, octets)
}

impl Ground {
    /// With the default policies at both ends, but room for two Reads of the peer's only, and for one
    /// of our own.
    fn new() -> Self {
        let policy = Policy {
            ird: 2,
            ..Policy::default()
        };
        Self::of(policy, &Policy::default())
    }

    fn of(ours: Policy, theirs: &Policy) -> Self {
        let config = Config {
            policy: Policy { ord: 1, ..ours },
            ..Config::default()
        };
        Self::on(Bench::accepted(config, theirs))
    }

    fn on(mut bench: Bench) -> Self {
        let mine = Scope::Stream(PEER.stream);
        let both = Rights::REMOTE_READ | Rights::REMOTE_WRITE;
        let b = &mut bench;
        let mut ground = Self {
            open: region(b, 1, mine, both, BASE),
            readable: region(b, 1, mine, Rights::REMOTE_READ, BASE),
            writable: region(b, 1, mine, Rights::REMOTE_WRITE, BASE),
            fleeting: region(b, 1, mine, Rights::REMOTE_INVALIDATE, BASE),
            shared: region(b, 1, Scope::Domain, both | Rights::REMOTE_INVALIDATE, BASE),
            of_other_stream: region(b, 1, Scope::Stream(StreamId(9)), Rights::all(), BASE),
            of_other_domain: region(b, 9, Scope::Domain, Rights::all(), BASE),
            revoked: region(b, 1, mine, both, BASE),
            high: region(b, 1, mine, both, u64::MAX - LEN),
            receives: Vec::new(),
            works: Vec::new(),
            asked: ReadRequest {
                sink_stag: Stag(0),
                sink_to: 0,
                size: 0,
                source_stag: Stag(0),
                source_to: 0,
            },
            bench,
        };
        ground.bench.ram.revoke(ground.revoked);
        ground.keep_busy();
        ground
    }

    /// Two receives; a Read that is not answered; another one that has to wait for it, and a Send that
    /// has to wait behind that (RFC 5040 s5.5, R33).
    fn keep_busy(&mut self) {
        let bench = &mut self.bench;
        let send = Operation::Send {
            solicited: false,
            invalidate: None,
        };
        let read = Operation::Read {
            stag: Stag(7),
            to: 0,
        };
        self.receives = (0..2)
            .map(|_| bench.post_receive(RECEIVE_LEN).expect("there is room"))
            .collect();
        self.works = [(read, READ_LEN), (read, 10), (send, 10)]
            .map(|(operation, len)| bench.post(operation, len).expect("there is room"))
            .to_vec();
        bench.drain();
        let heard = bench.hear();
        self.asked = heard[0].read_request().expect("a Read Request");
        assert_eq!((heard.len(), bench.completions.len()), (1, 0));
    }

    /// After the other end's mistake: it is told once, and nothing else happens.
    fn assert_told(&mut self, code: TerminateCode, carries: Carries, ulpdu: &[u8]) {
        let heard = self.bench.hear();
        let [terminate] = &heard[..] else {
            panic!("one Terminate and nothing else: {heard:?}");
        };
        let told = terminate.terminate().expect("a Terminate");
        assert_eq!(told.code, code);
        assert_eq!(terminate.body, terminate_body(code, carries, ulpdu));
        self.assert_ended();
        match self.bench.end() {
            Some(End::Fault(fault)) => assert_eq!(fault.code(), code),
            other => panic!("{other:?} instead of the fault"),
        }
    }

    /// The FIN has been sent; what comes from now on is dropped; everything is flushed; and with the
    /// other end's FIN the connection is over.
    fn assert_ended(&mut self) {
        assert!(self.bench.fin, "the FIN follows");
        assert!(self.bench.end().is_none(), "the other end's FIN is awaited");
        let before = self.bench.ram.snapshot();
        let open = self.open;
        self.bench.send(&write(open, BASE, b"late"));
        self.bench.send(&send(1, b"late"));
        assert!(
            self.bench.ram.snapshot() == before,
            "nothing lands any more"
        );
        assert_eq!(self.bench.hear(), [], "nothing is said any more");
        self.bench.finish();
        assert!(self.bench.connection.is_over());
        self.assert_flushed();
        self.bench.pass(Duration::from_secs(60));
        assert_eq!(self.bench.events.len(), 1, "{:?}", self.bench.events);
    }

    fn assert_flushed(&self) {
        for slots in [&self.receives, &self.works] {
            let mut done = Vec::new();
            for completion in &self.bench.completions {
                if slots.contains(&completion.slot) {
                    assert_eq!(completion.status, Status::Flushed, "{completion:?}");
                    done.push(completion.slot);
                }
            }
            assert_eq!(done, *slots, "each once, in order");
        }
        let posted = self.receives.len() + self.works.len();
        assert_eq!(self.bench.completions.len(), posted);
    }
}

/// A segment that breaks a rule: nothing of it lands, and the other end is told.
fn assert_refused(mut ground: Ground, ulpdu: &[u8], expected: TerminateCode, carries: Carries) {
    let before = ground.bench.ram.snapshot();
    ground.bench.send(ulpdu);
    assert!(ground.bench.ram.snapshot() == before, "nothing lands");
    ground.assert_told(expected, carries, ulpdu);
}

//! A connection in full operation, whose peer sends whatever it likes.
//!
//! An input is a set-up and then a sequence of steps, of the peer, of the application and of the
//! driver. The peer's segments are framed, with CRC and markers, so that they get as far as they can.
//! Whatever happens, at the end:
//!
//! * no octet has been written, and none has left, that was not open to the peer then;
//! * every posted request has completed exactly once, and in the order of posting;
//! * the octets that were sent are proper FPDUs, with at most one Terminate, and nothing behind it;
//! * the connection is over, and has said so once;
//! * it has never held more memory than [`connection_bound`] says.

mod script;
mod setup;

pub(crate) use script::{atomic, stag, target, with_octets};

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwarp_mpa::Rtr;
use uwarp_rdmap::{Completion, Operation, OperationKind, PostError, Slot, Status, Target, Work};
use uwarp_stream::{Batch, Connection, Direct, End, Event, Memory, Piece};

use crate::arena::Arena;
use crate::input::Input;
use crate::memory::{Account, connection_bound};
use crate::peer::Peer;

/// What an input reached.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// Successful completions of each kind of operation.
    pub succeeded: [usize; 6],
    /// Completions of another kind.
    pub flushed: usize,
    /// Octets of the peer's that have been placed.
    pub placed: u64,
    /// Those of them that did not pass the staging buffer.
    pub direct: u64,
    /// Regions that the peer has invalidated.
    pub invalidated: usize,
    /// Terminates sent.
    pub terminates: usize,
    /// How the connection ended.
    pub end: Option<End>,
}

/// Steps and octets in flight are bounded, so that an input takes milliseconds.
const STEPS_MAX: usize = 400;
const BACKLOG_MAX: usize = 1 << 18;
/// The driver fills a batch no further.
const BUDGET_MAX: usize = 1 << 16;

/// Sets a connection up and lets things happen to it.
///
/// # Panics
/// When the connection breaks a rule.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mut session = Session::new(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        session.step(&mut input);
        session.drain();
    }
    session.finish();
    session.reached
}

/// The driver: what lies between the connection, the application and the peer.
struct Session {
    connection: Connection,
    /// What the connection and its batch hold, and how much that may be.
    account: Account,
    bound: u64,
    arena: Arena,
    peer: Peer,
    now: Instant,
    /// Octets of the peer's that wait in the socket.
    backlog: Vec<u8>,
    /// Octets that have been read from it and not been used.
    staged: Vec<u8>,
    batch: Batch<usize>,
    /// Whether octets may go from the backlog straight to their place.
    direct: bool,
    /// Posted requests in order: Sends, Writes and Reads; and receives.
    order: [VecDeque<Slot>; 2],
    reached: Reached,
}

impl Session {
    fn new(input: &mut Input<'_>) -> Self {
        let now = Instant::now();
        let mut arena = Arena::new();
        let setup::SetUp {
            connection,
            config,
            agreement,
            opening,
            direct,
        } = setup::set_up(input, &mut arena, now);
        let mulpdu = connection.mulpdu().unwrap_or_default();
        let mut session = Self {
            connection,
            account: Account::default(),
            bound: connection_bound(&config, BUDGET_MAX),
            arena,
            peer: Peer::new(agreement, mulpdu),
            now,
            backlog: Vec::new(),
            staged: Vec::new(),
            batch: Batch::new(),
            direct,
            order: [VecDeque::new(), VecDeque::new()],
            reached: Reached::default(),
        };
        session.open(opening);
        session
    }

    /// The peer opens as agreed.
    fn open(&mut self, opening: Option<Rtr>) {
        let segment = match opening {
            None => return,
            Some(Rtr::Write) => script::empty_write(),
            Some(Rtr::Read) => script::empty_read(&mut self.peer),
            Some(Rtr::Send) => script::empty_send(&mut self.peer),
        };
        self.send_segment(&segment);
    }

    /// Calls the connection, and counts what it allocates.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection, &mut Batch<usize>, &mut Arena) -> T,
    ) -> T {
        let (connection, batch, arena) = (&mut self.connection, &mut self.batch, &mut self.arena);
        let result = self.account.of(|| call(connection, batch, arena));
        let (held, bound) = (self.account.most(), self.bound);
        assert!(held <= bound as i64, "it holds {held}, not {bound}");
        result
    }

    /// The peer sends a segment.
    fn send_segment(&mut self, ulpdu: &[u8]) {
        let fpdu = self.peer.frame(ulpdu);
        self.send_octets(&fpdu);
    }

    fn send_octets(&mut self, octets: &[u8]) {
        if self.backlog.len() + octets.len() <= BACKLOG_MAX {
            self.peer.note_sent(octets.len());
            self.backlog.extend_from_slice(octets);
        }
    }

    /// The driver reads at most `count` octets from the socket.
    fn read(&mut self, count: usize) {
        if self.direct && self.read_direct() {
            return;
        }
        let count = count.min(self.backlog.len());
        self.staged.extend(self.backlog.drain(..count));
        let (mut staged, now) = (std::mem::take(&mut self.staged), self.now);
        let received = self.call(|connection, _, arena| connection.receive(&staged, arena, now));
        staged.drain(..received.consumed);
        self.staged = staged;
    }

    /// Places the rest of an FPDU without staging it, if the connection lets us.
    fn read_direct(&mut self) -> bool {
        let Some(direct) = self.connection.direct(&self.staged) else {
            return false;
        };
        let Direct { missing, tail, .. } = direct;
        if self.backlog.len() < missing + tail || !self.place_direct(&direct) {
            return false;
        }
        let (staged, now) = (std::mem::take(&mut self.staged), self.now);
        self.call(|connection, _, arena| connection.direct_done(&direct, &staged, arena, now));
        self.backlog.drain(..missing + tail);
        self.reached.direct += missing as u64;
        true
    }

    fn place_direct(&mut self, direct: &Direct) -> bool {
        let mut payload = self.staged[direct.buffered.clone()].to_vec();
        payload.extend_from_slice(&self.backlog[..direct.missing]);
        match direct.target {
            Target::Tagged { stag, to, len } => {
                assert_eq!(payload.len(), len as usize);
                script::with_octets(&payload, |octets| self.arena.write(stag, to, len, octets))
                    .is_ok()
            }
            Target::Work { slot, offset, len } => {
                assert_eq!(payload.len(), len as usize);
                script::with_octets(&payload, |octets| self.arena.fill(slot, offset, octets));
                true
            }
            Target::None | Target::Control => panic!("there is nothing to place"),
        }
    }

    /// The driver fills a batch, and the socket takes at most `count` octets of it.
    fn write(&mut self, budget: usize, count: usize) {
        let (budget, now) = (budget.min(BUDGET_MAX), self.now);
        self.call(|connection, batch, arena| connection.transmit(batch, arena, budget, now));
        let mut octets = Vec::new();
        for piece in self.batch.pieces() {
            match piece {
                Piece::Octets(range) => octets.extend_from_slice(self.batch.octets(range.clone())),
                Piece::Work { slot, range } => {
                    octets.extend_from_slice(self.arena.outgoing(*slot, range.clone()));
                }
                Piece::Region { handle, range } => {
                    octets.extend_from_slice(self.arena.leaving(*handle, range.clone()));
                }
            }
        }
        assert_eq!(octets.len(), self.batch.len());
        octets.truncate(count);
        self.peer.hear(&octets);
        self.call(|connection, batch, _| {
            batch.advance(octets.len());
            connection.written(octets.len());
        });
        if self.connection.wants_shutdown() {
            self.connection.shut_down();
        }
    }

    /// The application posts a request.
    fn post(&mut self, operation: Option<Operation>, len: u16) {
        let kind = operation.map_or(OperationKind::Receive, |operation| operation.kind());
        let Some(slot) = self.arena.post(kind, len.into()) else {
            return;
        };
        let len = len.into();
        let posted = match operation {
            None => self.call(|connection, _, _| connection.post_receive(slot, len)),
            Some(operation) => {
                let work = Work {
                    slot,
                    operation,
                    len,
                };
                self.call(|connection, _, _| connection.post(work))
            }
        };
        match posted {
            Ok(()) => self.order[usize::from(operation.is_none())].push_back(slot),
            Err(error) => {
                assert!(error == PostError::Closed || !self.connection.is_over());
                self.arena.close(slot);
            }
        }
    }

    /// Takes events and completions.
    fn drain(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            assert!(self.reached.end.is_none(), "{event:?} after the end");
            match event {
                Event::Over(end) => self.reached.end = Some(end),
                Event::PeerClosed => {}
                Event::Request(_) | Event::Established(_) | Event::Rejected { .. } => {
                    panic!("{event:?} after the set-up")
                }
            }
        }
        while let Some(completion) = self.connection.poll_completion() {
            self.complete(&completion);
        }
    }

    fn complete(&mut self, completion: &Completion) {
        let posted = self.arena.close(completion.slot);
        assert_eq!(posted.kind, completion.kind);
        let queue = &mut self.order[usize::from(posted.kind == OperationKind::Receive)];
        assert_eq!(queue.pop_front(), Some(completion.slot), "out of order");
        if completion.status == Status::Success {
            assert!(completion.len as usize <= posted.len());
            self.reached.succeeded[posted.kind as usize] += 1;
        } else {
            assert_eq!(completion.len, 0);
            self.reached.flushed += 1;
        }
    }

    /// The connection is brought to its end, whatever its state, and the account is made.
    fn finish(&mut self) {
        while !self.backlog.is_empty() {
            self.read(4000);
            self.write(usize::MAX, usize::MAX);
            self.drain();
        }
        let now = self.now;
        self.call(|connection, _, _| connection.close(now));
        self.write(usize::MAX, usize::MAX);
        self.drain();
        let leftover = self.staged.len();
        self.call(|connection, _, _| connection.end_of_stream(leftover));
        self.drain();
        while !self.batch.is_empty() || self.connection.has_output() {
            self.write(usize::MAX, usize::MAX);
            self.drain();
        }
        self.now += Duration::from_secs(60);
        let now = self.now;
        self.call(|connection, _, _| connection.timeout(now));
        self.drain();
        assert!(self.connection.is_over(), "it ends in time");
        assert!(self.reached.end.is_some(), "the end is told");
        assert_eq!(self.arena.incomplete(), 0, "everything completes");
        self.post(None, 10);
        assert_eq!(self.arena.incomplete(), 0, "nothing is accepted any more");
        self.reached.placed = self.arena.placed;
        self.reached.invalidated = self.arena.invalidated;
        self.reached.terminates = self.peer.terminates;
    }
}

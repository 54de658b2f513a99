//! One end, and one direction of the link: the driver, which moves octets in parts as the input wants.

use std::collections::VecDeque;

use uwarp_mpa::{Frame, FrameKind, Progress, StartupReader, max_wire_len};
use uwarp_rdmap::{Slot, Target};
use uwarp_stream::{Batch, Config, Connection, Direct, End, Event, Memory, Piece, Role};

use super::Session;
use super::ram::Ram;
use crate::arena::Arena;
use crate::memory::{Account, connection_bound};
use crate::peer::Peer;
use crate::segments::with_octets;

/// One direction of a TCP connection.
pub(super) struct Link {
    octets: VecDeque<u8>,
    window: usize,
    /// The writer has sent its FIN.
    pub(super) fin: bool,
    pub(super) reset: bool,
    /// The reader is gone: what is written vanishes.
    pub(super) deaf: bool,
}

impl Link {
    pub(super) const fn new(window: usize) -> Self {
        Self {
            octets: VecDeque::new(),
            window,
            fin: false,
            reset: false,
            deaf: false,
        }
    }

    fn room(&self) -> usize {
        self.window.saturating_sub(self.octets.len())
    }

    fn write(&mut self, octets: &[u8]) {
        assert!(
            octets.is_empty() || !self.fin,
            "nothing is written behind the FIN"
        );
        if !self.deaf {
            self.octets.extend(octets);
        }
    }

    fn read(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.octets.len());
        self.octets.drain(..count).collect()
    }

    pub(super) fn lose(&mut self) {
        self.octets.clear();
    }
}

/// Who listens on the link.
enum Tap {
    /// The startup frame has not passed.
    Startup(StartupReader),
    /// It has; what follows is made of FPDUs.
    Open,
}

/// One end: a connection and the driver's side of it.
pub(super) struct Host {
    /// Until the end of the session.
    pub(super) connection: Option<Connection>,
    pub(super) account: Account,
    pub(super) batch: Batch<usize>,
    /// As it was chosen.
    pub(super) config: Config,
    pub(super) bound: u64,
    budget: usize,
    staged: Vec<u8>,
    tap: Tap,
    peer: Option<Peer>,
    pub(super) saw_fin: bool,
    /// The driver has given the socket up.
    closed: bool,
    pub(super) end: Option<End>,
    pub(super) rejected: bool,
    /// The peer has asked for an access that was not permitted.
    pub(super) denied: bool,
    /// Receives that have not completed, in the order of posting.
    pub(super) receives: VecDeque<Slot>,
}

impl Host {
    pub(super) fn new(
        connection: Connection,
        account: Account,
        config: &Config,
        budget: usize,
    ) -> Self {
        let kind = match connection.role() {
            Role::Initiator => FrameKind::Request,
            Role::Responder => FrameKind::Reply,
        };
        Self {
            connection: Some(connection),
            account,
            batch: Batch::new(),
            config: config.clone(),
            bound: connection_bound(config, budget),
            budget,
            staged: Vec::new(),
            tap: Tap::Startup(StartupReader::new(kind)),
            peer: None,
            saw_fin: false,
            closed: false,
            end: None,
            rejected: false,
            denied: false,
            receives: VecDeque::new(),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("the session goes on")
    }

    /// Calls the connection, and counts what it allocates.
    pub(super) fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection, &mut Batch<usize>) -> T,
    ) -> T {
        let connection = self.connection.as_mut().expect("the session goes on");
        let result = self.account.of(|| call(connection, &mut self.batch));
        let (held, bound) = (self.account.most(), self.bound);
        assert!(held.unsigned_abs() <= bound, "it holds {held}, not {bound}");
        result
    }

    pub(super) fn is_over(&self) -> bool {
        self.connection().is_over()
    }

    /// IRD and ORD, which without negotiation need not be those of the peer.
    pub(super) fn depths(&self) -> (u16, u16) {
        let agreement = self.connection().agreement();
        agreement.map_or((0, 0), |agreed| (agreed.ird, agreed.ord))
    }

    /// Terminates that it has sent.
    pub(super) fn terminates(&self) -> usize {
        self.peer.as_ref().map_or(0, |peer| peer.terminates)
    }

    /// The path to the peer has another segment size. What is sent from now on may be larger.
    pub(super) fn set_emss(&mut self, emss: u32) {
        self.config.emss = self.config.emss.max(emss);
        self.bound = connection_bound(&self.config, self.budget);
        self.call(|connection, _| connection.set_emss(emss));
        let mulpdu = self.connection().mulpdu();
        if let (Some(peer), Some(mulpdu)) = (&mut self.peer, mulpdu) {
            peer.mulpdu = peer.mulpdu.max(mulpdu);
        }
    }

    /// Octets on their way to the peer: a startup frame, and then proper FPDUs.
    fn overhear(&mut self, mut octets: &[u8]) {
        if let Tap::Startup(reader) = &mut self.tap {
            match reader.read(octets).expect("its startup frame is proper") {
                Progress::Need(_) => return,
                Progress::Frame { consumed, frame } => {
                    assert_eq!(frame_kind(&frame), self.connection().role());
                    octets = &octets[consumed..];
                    self.tap = Tap::Open;
                }
            }
        }
        if octets.is_empty() {
            return;
        }
        if self.peer.is_none() {
            let connection = self.connection();
            let agreement = *connection.agreement().expect("FPDUs follow an agreement");
            let mut peer = Peer::new(agreement, connection.mulpdu().unwrap_or_default());
            peer.orderly = false;
            self.peer = Some(peer);
        }
        if let Some(peer) = &mut self.peer {
            peer.hear(octets);
        }
    }
}

const fn frame_kind(frame: &Frame) -> Role {
    match frame.kind {
        FrameKind::Request => Role::Initiator,
        FrameKind::Reply => Role::Responder,
    }
}

/// The octets at the beginning of `batch`, as many as `most`.
fn gather(batch: &Batch<usize>, arena: &Arena, most: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    for piece in batch.pieces() {
        if octets.len() >= most {
            break;
        }
        octets.extend_from_slice(match piece {
            Piece::Octets(range) => batch.octets(range.clone()),
            Piece::Work { slot, range } => arena.outgoing(*slot, range.clone()),
            Piece::Region { handle, range } => arena.leaving(*handle, range.clone()),
        });
    }
    octets.truncate(most);
    octets
}

impl Session {
    /// The driver of one end reads and writes at most so many octets; whether anything happened.
    pub(super) fn drive(&mut self, side: usize, read: usize, write: usize) -> bool {
        if self.hosts[side].closed {
            return false;
        }
        let moved = if self.links[side].reset {
            self.hosts[side].call(|connection, _| connection.transport_lost());
            true
        } else {
            // Both, always.
            self.read(side, read) | self.write(side, write)
        };
        self.take_reports(side);
        if self.hosts[side].is_over() {
            self.give_up(side);
            return true;
        }
        moved
    }

    fn read(&mut self, side: usize, most: usize) -> bool {
        let starting = self.hosts[side].connection().is_starting();
        if self.read_direct(side, most) {
            return true;
        }
        let most = if starting {
            most.min(self.hosts[side].connection().startup_need())
        } else {
            most
        };
        let link = &mut self.links[1 - side];
        let octets = link.read(most);
        let ended = link.fin && link.octets.is_empty();
        let host = &mut self.hosts[side];
        if octets.is_empty() {
            if !ended || host.saw_fin {
                return false;
            }
            host.saw_fin = true;
            let leftover = host.staged.len();
            host.call(|connection, _| connection.end_of_stream(leftover));
            return true;
        }
        let mut staged = std::mem::take(&mut host.staged);
        staged.extend_from_slice(&octets);
        let now = self.now;
        let consumed = self.with_ram(side, |connection, _, ram| {
            connection.receive(&staged, ram, now).consumed
        });
        staged.drain(..consumed);
        let most = max_wire_len(true).max(max_wire_len(false));
        assert!(staged.len() < most, "less than an FPDU is left");
        self.hosts[side].staged = staged;
        true
    }

    /// Places the rest of an FPDU without staging it, if the connection lets us.
    fn read_direct(&mut self, side: usize, most: usize) -> bool {
        let host = &mut self.hosts[side];
        let staged = std::mem::take(&mut host.staged);
        let direct = host.call(|connection, _| connection.direct(&staged));
        let waiting = self.links[1 - side].octets.len().min(most);
        let done = direct.is_some_and(|direct| {
            let Direct { missing, tail, .. } = direct;
            missing + tail <= waiting && self.place_direct(side, &direct, &staged)
        });
        self.hosts[side].staged = if done { Vec::new() } else { staged };
        done
    }

    fn place_direct(&mut self, side: usize, direct: &Direct, staged: &[u8]) -> bool {
        let waiting = &self.links[1 - side].octets;
        let mut payload = staged[direct.buffered.clone()].to_vec();
        payload.extend(waiting.iter().take(direct.missing));
        let now = self.now;
        let target = direct.target;
        let placed = self.with_ram(side, |_, _, ram| match target {
            Target::Tagged { stag, to, len } => {
                with_octets(&payload, |octets| ram.write(stag, to, len, octets)).is_ok()
            }
            Target::Work { slot, offset, .. } => {
                with_octets(&payload, |octets| ram.fill(slot, offset, octets));
                true
            }
            Target::None | Target::Control => panic!("there is nothing to place"),
        });
        if placed {
            self.with_ram(side, |connection, _, ram| {
                connection.direct_done(direct, staged, ram, now);
            });
            self.links[1 - side].read(direct.missing + direct.tail);
            self.reached.direct += direct.missing;
        }
        // If it is refused, it is read and refused again in the ordinary way.
        placed
    }

    /// Fills the batch, and writes at most `most` octets of it.
    fn write(&mut self, side: usize, most: usize) -> bool {
        if self.hosts[side].is_over() {
            return false;
        }
        let (now, budget) = (self.now, self.hosts[side].budget);
        self.with_ram(side, |connection, batch, ram| {
            connection.transmit(batch, ram, budget, now);
        });
        let most = most.min(self.links[side].room());
        let host = &mut self.hosts[side];
        let octets = gather(&host.batch, &self.arenas[side], most);
        host.overhear(&octets);
        self.links[side].write(&octets);
        host.call(|connection, batch| {
            batch.advance(octets.len());
            connection.written(octets.len());
        });
        if host.connection().wants_shutdown() {
            self.links[side].fin = true;
            host.call(|connection, _| connection.shut_down());
            return true;
        }
        !octets.is_empty()
    }

    /// Calls the connection with its memory, whose work is not the connection's.
    fn with_ram<T>(
        &mut self,
        side: usize,
        call: impl FnOnce(&mut Connection, &mut Batch<usize>, &mut Ram<'_>) -> T,
    ) -> T {
        let mut ram = Ram {
            arenas: &mut self.arenas,
            lanes: &mut self.lanes,
            side,
            denied: false,
        };
        let result = self.hosts[side].call(|connection, batch| call(connection, batch, &mut ram));
        self.hosts[side].denied |= ram.denied;
        result
    }

    /// Takes events and completions.
    pub(super) fn take_reports(&mut self, side: usize) {
        while let Some(event) = self.hosts[side].call(|connection, _| connection.poll_event()) {
            let host = &mut self.hosts[side];
            assert!(
                host.end.is_none() && !host.rejected,
                "{event:?} after the end"
            );
            match &event {
                Event::Request(_) => self.answer(side),
                Event::Established(_) => self.reached.set_up += 1,
                Event::PeerClosed => assert!(self.links[1 - side].fin),
                Event::Rejected { .. } => {
                    host.rejected = true;
                    self.reached.rejected = true;
                }
                Event::Over(end) => host.end = Some(end.clone()),
            }
            // What is in it has been counted.
            self.hosts[side].account.of(|| drop(event));
        }
        loop {
            let host = &mut self.hosts[side];
            let Some(completion) = host.call(|connection, _| connection.poll_completion()) else {
                return;
            };
            self.complete(side, &completion);
        }
    }

    fn answer(&mut self, side: usize) {
        let (now, rejects) = (self.now, self.rejects);
        self.hosts[side].call(|connection, _| {
            if rejects {
                connection
                    .reject(b"no", Some(3))
                    .expect("there is a Request");
            } else {
                connection
                    .accept(b"you may", now)
                    .expect("it can be accepted");
            }
        });
    }

    /// The driver gives the socket up: a connection that did not end in order is reset, unless MPA has given
    /// the socket back.
    fn give_up(&mut self, side: usize) {
        let host = &mut self.hosts[side];
        host.closed = true;
        let in_order = host.saw_fin && self.links[side].fin;
        if host.end.is_some() && !in_order {
            for link in &mut self.links {
                link.reset = true;
                link.lose();
            }
        }
    }

    /// The process of one end dies: TCP closes its half behind what it has written.
    pub(super) fn kill(&mut self, side: usize) {
        if self.hosts[side].closed {
            return;
        }
        self.hosts[side].call(|connection, _| connection.abort());
        self.take_reports(side);
        self.hosts[side].closed = true;
        self.links[side].fin = true;
        self.links[1 - side].deaf = true;
        self.links[1 - side].lose();
    }
}

//! One TCP connection, and the iWARP connection on it.

use std::collections::VecDeque;

use crate::exchange::Exchange;
use crate::half::{Half, Stage};
use crate::packet::Segment;
use crate::record::{Record, Sender, What};
use crate::rule::{Fault, Rule};
use crate::seek::{Piece, Seek};
use crate::startup::Seen;

/// What a connection is counted as beside its buffers.
const BASE_COST: usize = size_of::<Connection>() + 512;

/// A TCP connection that is watched.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its number, once it is known to be iWARP.
    pub(crate) number: Option<u32>,
    /// Time of its last packet.
    pub(crate) seen: u64,
    /// Address and port of each.
    pub(crate) ends: [String; 2],
    pub(crate) halves: [Half; 2],
    /// Which end is the initiator.
    pub(crate) initiator: Option<usize>,
    pub(crate) request: Option<Seen>,
    /// A Reply whose Request is still to come, and who has sent it.
    pub(crate) reply: Option<(usize, Seen)>,
    /// Who has sent a frame that is none.
    pub(crate) refused: Option<usize>,
    pub(crate) exchange: Exchange,
    /// Octets behind the Request have been told of.
    pub(crate) hasty: bool,
    /// Octets that were held and are to be read, and which end sent them; empty between two packets.
    pub(crate) backlog: VecDeque<(usize, Piece)>,
    /// The backlog is being read.
    pub(crate) working: bool,
}

/// Where records go, and what numbers connections.
pub(crate) struct Output<'a> {
    pub(crate) records: &'a mut Vec<Record>,
    pub(crate) numbers: &'a mut u32,
    pub(crate) time: u64,
}

impl Connection {
    pub(crate) fn new(first: &Segment<'_>) -> Self {
        Self {
            number: None,
            seen: first.time,
            ends: [first.source.to_string(), first.destination.to_string()],
            halves: [Half::new(), Half::new()],
            initiator: None,
            request: None,
            reply: None,
            refused: None,
            exchange: Exchange::guessed(),
            hasty: false,
            backlog: VecDeque::new(),
            working: false,
        }
    }

    /// Whether a SYN with this sequence number opens another connection between the same ends.
    pub(crate) fn is_superseded(&self, who: usize, segment: &Segment<'_>) -> bool {
        let first = segment.sequence.wrapping_add(1);
        segment.syn && !segment.ack && self.halves[who].first != Some(first)
    }

    /// Whether nothing more is to be read.
    pub(crate) fn is_over(&self) -> bool {
        self.halves.iter().all(Half::is_over)
    }

    /// What its memory is counted as.
    pub(crate) fn memory(&self) -> usize {
        let halves = self.halves.iter().map(Half::memory).sum::<usize>();
        BASE_COST + halves + self.exchange.memory()
    }

    /// Takes a segment that end `who` has sent.
    pub(crate) fn segment(&mut self, who: usize, segment: &Segment<'_>, out: &mut Output<'_>) {
        self.seen = segment.time;
        let mut sequence = segment.sequence;
        if segment.ack {
            self.halves[1 - who].acknowledge(segment.acknowledgment);
        }
        if segment.syn {
            sequence = sequence.wrapping_add(1);
            self.halves[who].first = Some(sequence);
            self.halves[who].mss = segment.mss.or(self.halves[who].mss);
        }
        if matches!(self.halves[who].stage, Stage::Silent) && !segment.payload.is_empty() {
            let first = self.halves[who].first;
            let seek = Seek::new(first.unwrap_or(sequence), first.is_none());
            self.halves[who].stage = Stage::Seek(seek);
        }
        if segment.fin {
            let len = segment.payload.len() + segment.missing;
            self.halves[who].fin = Some(sequence.wrapping_add(len as u32));
        }
        self.octets(who, sequence, segment.payload, out);
        self.pass_holes(out);
        self.check_frame_fin(who, out);
        self.check_fin(who, out);
        if segment.rst {
            self.finish(out);
        }
    }

    /// Octets of end `who`, whatever is being made of that direction.
    pub(crate) fn octets(
        &mut self,
        who: usize,
        sequence: u32,
        octets: &[u8],
        out: &mut Output<'_>,
    ) {
        match &mut self.halves[who].stage {
            Stage::Seek(_) => self.seek(who, sequence, octets, out),
            Stage::Held(held) => {
                held.take(sequence, octets);
                self.check_haste(who, out);
            }
            Stage::Open(_) => self.receive(who, sequence, octets, out),
            Stage::Silent | Stage::Done => {}
        }
    }

    /// Goes on behind holes that will not close: the other end has had the octets, the capture lacks them.
    fn pass_holes(&mut self, out: &mut Output<'_>) {
        for who in 0..2 {
            if !self.halves[who].is_hole_for_good() {
                continue;
            }
            match self.halves[who].stage {
                Stage::Open(_) => self.lose(who, true, out),
                _ => self.jump(who, out),
            }
        }
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self, out: &mut Output<'_>) {
        // What is found behind the holes of one direction may be what the other waits for.
        for who in [0, 1, 0] {
            while self.read_on(who, out) {}
        }
        for who in 0..2 {
            let position = self.position(who);
            for text in self.leftovers(who) {
                self.tell(who, position, What::Note { text }, out);
            }
            self.halves[who].stage = Stage::Done;
        }
    }

    /// Makes something of what is held of a direction to which nothing more will come; tells whether
    /// there may be more to make.
    fn read_on(&mut self, who: usize, out: &mut Output<'_>) -> bool {
        match &self.halves[who].stage {
            Stage::Open(open) if open.behind_hole().is_some() => {
                self.lose(who, true, out);
                true
            }
            Stage::Seek(seek) => {
                let hole = seek.behind_hole().is_some();
                self.look(who, true, out);
                match self.halves[who].stage {
                    Stage::Seek(_) if hole => {
                        self.jump(who, out);
                        true
                    }
                    Stage::Seek(_) => {
                        self.nothing(who, out);
                        false
                    }
                    _ => true,
                }
            }
            Stage::Held(_) => self.go_on_unanswered(who, out),
            _ => false,
        }
    }

    /// What is left over in a direction at its end.
    pub(crate) fn leftovers(&self, who: usize) -> Vec<String> {
        let unanswered = self.exchange.unanswered(self.role(who));
        match &self.halves[who].stage {
            Stage::Held(held) if self.request.is_some() && self.refused.is_none() => {
                let behind = held.behind();
                vec![format!(
                    "no Reply is in the capture; {behind} octets not read"
                )]
            }
            Stage::Open(open) => {
                let mut texts = open.leftovers();
                if unanswered > 0 {
                    texts.push(format!("{unanswered} requests have no answer"));
                }
                texts
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn position(&self, who: usize) -> u64 {
        match &self.halves[who].stage {
            Stage::Open(open) => open.position(),
            Stage::Seek(seek) => seek.position(),
            _ => 0,
        }
    }

    /// The connection is iWARP: it gets a number.
    pub(crate) fn identify(&mut self, out: &mut Output<'_>) {
        if self.number.is_some() {
            return;
        }
        *out.numbers += 1;
        self.number = Some(*out.numbers);
        let [first, second] = self.ends.clone();
        self.tell(0, 0, What::Connection { first, second }, out);
    }

    /// The end's index among the roles: 0 for the initiator, where that is known.
    pub(crate) fn role(&self, who: usize) -> usize {
        self.initiator.map_or(who, |initiator| who ^ initiator)
    }

    fn sender(&self, who: usize) -> Sender {
        match (self.initiator.is_some(), self.role(who)) {
            (true, 0) => Sender::Initiator,
            (true, _) => Sender::Responder,
            (false, 0) => Sender::First,
            (false, _) => Sender::Second,
        }
    }

    pub(crate) fn tell(&self, who: usize, position: u64, what: What, out: &mut Output<'_>) {
        let guess = matches!(&self.halves[who].stage, Stage::Open(open) if open.guess);
        out.records.push(Record {
            time: out.time,
            connection: self.number.unwrap_or(0),
            sender: self.sender(who),
            position,
            guess,
            what,
        });
    }

    pub(crate) fn note(&self, who: usize, position: u64, text: String, out: &mut Output<'_>) {
        self.tell(who, position, What::Note { text }, out);
    }

    pub(crate) fn faults(
        &self,
        who: usize,
        position: u64,
        faults: Vec<Fault>,
        out: &mut Output<'_>,
    ) {
        for (id, detail) in faults {
            self.tell(who, position, What::Violation { id, detail }, out);
        }
    }

    pub(crate) fn fault(
        &self,
        who: usize,
        position: u64,
        rule: Rule,
        text: &str,
        out: &mut Output<'_>,
    ) {
        self.faults(who, position, vec![(rule, text.to_owned())], out);
    }
}

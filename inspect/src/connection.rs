//! One TCP connection, and the iWARP connection on it.

use uwarp_mpa::{FpduError, FrameKind};

use crate::control::{self, Fault};
use crate::exchange::Exchange;
use crate::fpdu::Arrival;
use crate::half::{Half, Held, Stage};
use crate::open::Open;
use crate::packet::Segment;
use crate::record::{FpduInfo, Record, Sender, What};
use crate::seek::{Found, Piece, Seek};
use crate::segment;
use crate::startup::{self, Seen};

/// A TCP connection that is watched.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its number, once it is known to be iWARP.
    pub(crate) number: Option<u32>,
    /// Time of its last packet.
    pub(crate) seen: u64,
    ends: [String; 2],
    halves: [Half; 2],
    /// Which end is the initiator.
    initiator: Option<usize>,
    request: Option<Seen>,
    exchange: Exchange,
    /// Octets behind the Request have been told of.
    hasty: bool,
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
            exchange: Exchange::guessed(),
            hasty: false,
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

    /// Whether FPDUs of it are being read, which takes memory.
    pub(crate) fn is_followed(&self) -> bool {
        let open = |half: &Half| matches!(half.stage, Stage::Open(_));
        self.halves.iter().any(open)
    }

    /// Takes a segment that end `who` has sent.
    pub(crate) fn segment(&mut self, who: usize, segment: &Segment<'_>, out: &mut Output<'_>) {
        self.seen = segment.time;
        let mut sequence = segment.sequence;
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
            let end = sequence.wrapping_add(segment.payload.len() as u32);
            self.halves[who].fin = Some(end);
        }
        self.octets(who, sequence, segment.payload, out);
        self.check_fin(who, out);
        if segment.rst {
            self.finish(out);
        }
    }

    fn octets(&mut self, who: usize, sequence: u32, octets: &[u8], out: &mut Output<'_>) {
        match &mut self.halves[who].stage {
            Stage::Seek(seek) => {
                seek.take(sequence, octets);
                self.look(who, false, out);
            }
            Stage::Held(held) => {
                held.take(sequence, octets);
                self.check_haste(who, out);
            }
            Stage::Open(_) => self.receive(who, sequence, octets, out),
            Stage::Silent | Stage::Done => {}
        }
    }

    fn look(&mut self, who: usize, last: bool, out: &mut Output<'_>) {
        let Stage::Seek(seek) = &mut self.halves[who].stage else {
            return;
        };
        match seek.look(last) {
            None => {}
            Some(Found::Nothing) => self.halves[who].stage = Stage::Done,
            Some(Found::Refused {
                kind,
                error,
                position,
            }) => {
                self.identify(out);
                self.take_role(who, kind);
                self.faults(who, position, vec![startup::refusal(kind, error)], out);
                self.halves[who].stage = Stage::Done;
            }
            Some(Found::Frame {
                seen,
                position,
                sequence,
                rest,
            }) => self.frame(who, seen, position, Held::new(sequence, rest), out),
            Some(Found::Guessed {
                guess,
                sequence,
                rest,
            }) => {
                self.identify(out);
                self.open(who, Open::new(false, guess.crc, sequence, true), rest, out);
            }
        }
    }

    fn take_role(&mut self, who: usize, kind: FrameKind) {
        self.initiator.get_or_insert(match kind {
            FrameKind::Request => who,
            FrameKind::Reply => 1 - who,
        });
    }

    fn frame(&mut self, who: usize, seen: Seen, position: u64, held: Held, out: &mut Output<'_>) {
        self.identify(out);
        let kind = seen.frame.kind;
        self.take_role(who, kind);
        self.tell(
            who,
            position,
            What::Frame(startup::describe(&seen.frame)),
            out,
        );
        let mut faults = Vec::new();
        startup::check(&seen, &mut faults);
        if self.initiator
            != Some(if kind == FrameKind::Request {
                who
            } else {
                1 - who
            })
        {
            faults.push(("U20", format!("both ends send a {kind}")));
        }
        if kind == FrameKind::Reply
            && let Some(request) = &self.request
        {
            startup::check_reply(&request.frame, &seen.frame, &mut faults);
        }
        self.faults(who, position, faults, out);
        match (kind, self.request.take()) {
            (FrameKind::Request, _) => {
                self.request = Some(seen);
                self.halves[who].stage = Stage::Held(held);
                self.check_haste(who, out);
            }
            (FrameKind::Reply, Some(request)) => self.agree(who, &request, &seen, held, out),
            (FrameKind::Reply, None) => self.agree_blindly(who, held, out),
        }
    }

    /// Octets behind a Request that has no Reply yet.
    fn check_haste(&mut self, who: usize, out: &mut Output<'_>) {
        let Stage::Held(held) = &self.halves[who].stage else {
            return;
        };
        let behind = held.behind();
        if behind > 0 && !self.hasty {
            self.hasty = true;
            let text = format!("{behind} octets behind the Request, before the Reply");
            self.faults(who, 0, vec![("U21", text)], out);
        }
    }

    fn agree(
        &mut self,
        who: usize,
        request: &Seen,
        reply: &Seen,
        held: Held,
        out: &mut Output<'_>,
    ) {
        let (request, reply) = (&request.frame, &reply.frame);
        let other = std::mem::replace(&mut self.halves[1 - who].stage, Stage::Done);
        if reply.rejected {
            self.halves[who].stage = Stage::Done;
            return;
        }
        self.exchange = Exchange::new(startup::terms(request, reply));
        let crc = request.crc || reply.crc;
        let responder = Open::new(request.markers, crc, held.sequence, false);
        if let Stage::Held(waiting) = other {
            let initiator = Open::new(reply.markers, crc, waiting.sequence, false);
            self.open(1 - who, initiator, waiting.pieces, out);
        }
        self.open(who, responder, held.pieces, out);
    }

    /// A Reply to a Request that is not in the capture.
    fn agree_blindly(&mut self, who: usize, held: Held, out: &mut Output<'_>) {
        let text = "its Request is not in the capture: what follows is guessed".to_owned();
        self.tell(who, 0, What::Note { text }, out);
        let mut seek = Seek::new(held.sequence, true);
        for (sequence, octets) in held.pieces {
            seek.take(sequence, &octets);
        }
        self.halves[who].stage = Stage::Seek(seek);
    }

    fn open(&mut self, who: usize, open: Open, pieces: Vec<Piece>, out: &mut Output<'_>) {
        self.halves[who].stage = Stage::Open(Box::new(open));
        for (sequence, octets) in pieces {
            self.receive(who, sequence, &octets, out);
        }
    }

    fn receive(&mut self, who: usize, sequence: u32, octets: &[u8], out: &mut Output<'_>) {
        let Stage::Open(open) = &mut self.halves[who].stage else {
            return;
        };
        let step = open.receive(sequence, octets);
        for arrival in step.delivered {
            self.fpdu(who, &arrival, out);
        }
        if let Some(error) = step.error {
            self.broken(who, error, out);
        }
        if step.dropping {
            let text = "octets are too far behind a hole in the capture to be kept".to_owned();
            self.tell(who, self.position(who), What::Note { text }, out);
        }
    }

    fn position(&self, who: usize) -> u64 {
        match &self.halves[who].stage {
            Stage::Open(open) => open.position(),
            _ => 0,
        }
    }

    fn broken(&mut self, who: usize, error: FpduError, out: &mut Output<'_>) {
        let rule = match error {
            FpduError::Crc => "F25",
            FpduError::Marker => "F15",
            FpduError::TooLong => "F04",
            FpduError::Truncated => "F34",
        };
        let text = format!("{error}; nothing behind it can be read");
        self.faults(who, self.position(who), vec![(rule, text)], out);
    }

    /// One FPDU, in the order of its direction.
    fn fpdu(&mut self, who: usize, arrival: &Arrival, out: &mut Output<'_>) {
        let mut faults = Vec::new();
        segment::check_framing(arrival, &mut faults);
        let header = segment::read(arrival, &mut faults);
        let (info, header_len) = header.unzip();
        let header_len = header_len.unwrap_or(0);
        let payload = u32::from(arrival.ulpdu_len).saturating_sub(header_len as u32);
        let body = arrival.head.get(header_len..).unwrap_or_default();
        let opcode = info.map(|_| uwarp_rdmap::header::Control(arrival.head[1]).opcode());
        let control =
            opcode.and_then(|opcode| control::read(opcode, body, payload as usize, &mut faults));
        let role = self.role(who);
        let doubt = self.is_in_doubt(1 - who);
        self.exchange
            .fpdu(role, info.as_ref(), payload, doubt, &mut faults);
        if let Some(info) = &info {
            self.exchange
                .message(role, info, payload, control.as_ref(), &mut faults);
        }
        let message = match (&mut self.halves[who].stage, &info) {
            (Stage::Open(open), Some(info)) => open.messages.segment(info, payload, &mut faults),
            _ => None,
        };
        let fpdu = FpduInfo {
            ulpdu_length: arrival.ulpdu_len,
            wire_octets: arrival.wire_len,
            markers: arrival.markers,
            pad: arrival.pad,
            crc: arrival.crc,
            early: arrival.early,
            header: info,
            payload,
            payload_crc32c: arrival.payload_crc,
            control,
        };
        self.tell(who, arrival.position, What::Fpdu(fpdu), out);
        self.faults(who, arrival.position, faults, out);
        self.note_size(who, arrival, out);
        if let Some(message) = message {
            self.tell(who, arrival.position, What::Message(message), out);
        }
    }

    /// An FPDU that does not fit a TCP segment, by what the other end's SYN said.
    fn note_size(&mut self, who: usize, arrival: &Arrival, out: &mut Output<'_>) {
        let mss = self.halves[1 - who].mss;
        let (Stage::Open(open), Some(mss)) = (&mut self.halves[who].stage, mss) else {
            return;
        };
        let limit = open.mulpdu(mss);
        if arrival.ulpdu_len <= limit {
            return;
        }
        open.oversized += 1;
        if open.oversized == 1 {
            let len = arrival.ulpdu_len;
            let text =
                format!("D18: a ULPDU of {len} octets, an MSS of {mss} has room for {limit}");
            self.tell(who, arrival.position, What::Note { text }, out);
        }
    }

    /// Octets of this end are missing or not yet in order: its silence proves nothing.
    fn is_in_doubt(&self, who: usize) -> bool {
        match &self.halves[who].stage {
            Stage::Open(open) => open.broken || open.held() > 0,
            _ => true,
        }
    }

    fn check_fin(&mut self, who: usize, out: &mut Output<'_>) {
        let left = self.halves[who].octets_before_fin();
        let Stage::Open(open) = &mut self.halves[who].stage else {
            return;
        };
        // All octets up to the FIN are there, and yet no FPDU.
        let inside = left.is_some_and(|left| left > 0 && left == open.held());
        if inside && !open.broken && !open.cut {
            open.cut = true;
            let text = "the connection ends inside an FPDU".to_owned();
            let position = open.position();
            self.faults(who, position, vec![("F34", text)], out);
        }
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self, out: &mut Output<'_>) {
        for who in 0..2 {
            self.look(who, true, out);
            let texts = match &self.halves[who].stage {
                Stage::Open(open) => open_end(open),
                Stage::Held(held) if self.request.is_some() => {
                    let behind = held.behind();
                    vec![format!(
                        "no Reply is in the capture; {behind} octets not read"
                    )]
                }
                _ => Vec::new(),
            };
            let position = self.position(who);
            for text in texts {
                self.tell(who, position, What::Note { text }, out);
            }
            self.halves[who].stage = Stage::Done;
        }
    }

    /// The connection is iWARP: it gets a number.
    fn identify(&mut self, out: &mut Output<'_>) {
        if self.number.is_some() {
            return;
        }
        *out.numbers += 1;
        self.number = Some(*out.numbers);
        let [first, second] = self.ends.clone();
        self.tell(0, 0, What::Connection { first, second }, out);
    }

    /// The end's index among the roles: 0 for the initiator, where that is known.
    fn role(&self, who: usize) -> usize {
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

    fn tell(&self, who: usize, position: u64, what: What, out: &mut Output<'_>) {
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

    fn faults(&self, who: usize, position: u64, faults: Vec<Fault>, out: &mut Output<'_>) {
        for (id, detail) in faults {
            self.tell(who, position, What::Violation { id, detail }, out);
        }
    }
}

/// What is left over in a direction at its end.
fn open_end(open: &Open) -> Vec<String> {
    let mut texts = Vec::new();
    if open.oversized > 1 {
        let count = open.oversized;
        texts.push(format!(
            "D18: {count} ULPDUs are larger than the MSS has room for"
        ));
    }
    let (held, early) = (open.held(), open.early());
    if held > 0 && !open.broken && !open.cut {
        texts.push(format!(
            "{held} octets, {early} whole FPDUs among them, stay behind a hole in the capture or have no end"
        ));
    }
    texts
}

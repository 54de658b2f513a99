//! FPDUs of a connection: each direction's, in the order of its stream.

use uwarp_mpa::FpduError;
use uwarp_rdmap::Opcode;
use uwarp_rdmap::header::Control;
use uwarp_rdmap::terminate::Terminate;

use crate::connection::{Connection, Output};
use crate::control;
use crate::fpdu::Arrival;
use crate::guess::{self, Framing};
use crate::half::{PATIENCE, Stage};
use crate::messages::Outcome;
use crate::open::{Open, Start, WINDOW};
use crate::record::{FpduInfo, HeaderInfo, What};
use crate::rule::Rule;
use crate::seek::{Piece, Seek};
use crate::segment;

impl Connection {
    pub(crate) fn open(
        &mut self,
        who: usize,
        open: Open,
        pieces: Vec<Piece>,
        out: &mut Output<'_>,
    ) {
        self.halves[who].stage = Stage::Open(Box::new(open));
        for piece in pieces.into_iter().rev() {
            self.backlog.push_front((who, piece));
        }
        self.work_off(out);
    }

    /// Reads what is in the backlog. What comes to it meanwhile is read here as well, before the rest: a
    /// direction that is lost and found again at every other FPDU needs no more stack and memory than any.
    fn work_off(&mut self, out: &mut Output<'_>) {
        if self.working {
            return;
        }
        self.working = true;
        while let Some((who, (sequence, octets))) = self.backlog.pop_front() {
            self.octets(who, sequence, &octets, out);
        }
        self.working = false;
    }

    pub(crate) fn receive(
        &mut self,
        who: usize,
        sequence: u32,
        octets: &[u8],
        out: &mut Output<'_>,
    ) {
        if octets.is_empty() {
            return;
        }
        self.check_markers(who, sequence, octets, out);
        let Stage::Open(open) = &mut self.halves[who].stage else {
            return;
        };
        let step = open.receive(sequence, octets);
        let mut lost = false;
        for arrival in step.delivered {
            lost |= self.fpdu(who, &arrival, out);
        }
        if let Some(error) = step.error {
            self.broken(who, error, out);
        } else if lost {
            let text = "what was guessed leads to no FPDU; the next one is looked for".to_owned();
            self.note(who, self.position(who), text, out);
            self.lose(who, false, out);
        } else if step.dropped {
            self.overflow(who, sequence, octets, out);
        }
    }

    /// Markers, or none, contrary to what was agreed: it shows in the first octets.
    fn check_markers(&mut self, who: usize, sequence: u32, octets: &[u8], out: &mut Output<'_>) {
        let Stage::Open(open) = &mut self.halves[who].stage else {
            return;
        };
        let Framing { markers, crc } = open.framing();
        if !open.is_beginning(sequence) || !guess::contradicts(octets, markers) {
            return;
        }
        **open = Open::new(Start::first(!markers, crc, sequence));
        let text = if markers {
            "there are no markers, and the other end has asked for them"
        } else {
            "there are markers, and the other end has not asked for them"
        };
        self.fault(who, 0, Rule::U06, text, out);
    }

    /// A segment is too far ahead to be kept.
    fn overflow(&mut self, who: usize, sequence: u32, octets: &[u8], out: &mut Output<'_>) {
        let reached = self.halves[who].has_unseen();
        let Stage::Open(open) = &mut self.halves[who].stage else {
            return;
        };
        if open.behind_hole().is_some() {
            // What is found behind the hole comes before it.
            self.backlog.push_front((who, (sequence, octets.to_vec())));
            self.lose(who, true, out);
            self.work_off(out);
            return;
        }
        // All that would have to come first is missing, or this segment does not belong here.
        open.strays = if reached { open.strays + 1 } else { 0 };
        let ahead = sequence.wrapping_sub(open.front()) as i32;
        if open.strays > PATIENCE && ahead > 0 {
            let position = open.position() + ahead as u64;
            let seek = Seek::lost(open.framing(), open.phase(), sequence, position, WINDOW);
            self.start_over(who, seek);
            self.missing(who, ahead as u64, out);
            self.octets(who, sequence, octets, out);
        }
    }

    /// An FPDU at the front that is none.
    fn broken(&mut self, who: usize, error: FpduError, out: &mut Output<'_>) {
        let rule = match error {
            FpduError::Crc => Rule::F25,
            FpduError::Marker => Rule::F15,
            FpduError::TooLong => Rule::F04,
            FpduError::Truncated => Rule::F34,
        };
        let text = format!("{error}; behind it FPDUs have to be found again");
        self.fault(who, self.position(who), rule, &text, out);
        self.lose(who, false, out);
    }

    /// The next FPDU of a direction has to be found: behind a hole in the capture, or behind what could
    /// not be read.
    pub(crate) fn lose(&mut self, who: usize, hole: bool, out: &mut Output<'_>) {
        let Stage::Open(open) = &mut self.halves[who].stage else {
            return;
        };
        let held = open.take_held();
        let seek = Seek::lost(
            open.framing(),
            open.phase(),
            open.front(),
            open.position(),
            2 * WINDOW,
        );
        self.start_over(who, seek);
        if let Stage::Seek(seek) = &mut self.halves[who].stage {
            for (sequence, octets) in held {
                seek.take(sequence, &octets);
            }
        }
        if hole {
            self.jump(who, out);
        } else {
            self.look(who, false, out);
        }
    }

    fn start_over(&mut self, who: usize, seek: Seek) {
        self.halves[who].stage = Stage::Seek(seek);
        self.halves[who].sent.lose();
        self.exchange.lose_from(self.role(who));
    }

    /// One FPDU, in the order of its direction. Tells whether it shows a guess to be wrong.
    fn fpdu(&mut self, who: usize, arrival: &Arrival, out: &mut Output<'_>) -> bool {
        let mut faults = Vec::new();
        segment::check_framing(arrival, &mut faults);
        let header = segment::read(arrival, &mut faults);
        let (info, header_len) = header.unzip();
        let header_len = header_len.unwrap_or(0);
        let payload = u32::from(arrival.ulpdu_len).saturating_sub(header_len as u32);
        let (head, body) = arrival.head.split_at(header_len.min(arrival.head.len()));
        let opcode = info.map(|_| Control(arrival.head[1]).opcode());
        // In a segment of the wrong kind, the body is not where it should be.
        let misplaced = faults.iter().any(|(rule, _)| *rule == Rule::R03);
        let control = opcode
            .filter(|_| !misplaced)
            .and_then(|opcode| control::read(opcode, body, payload as usize, &mut faults));
        if opcode == Some(Opcode::TERMINATE)
            && !misplaced
            && let Some(message) = Terminate::parse(body)
        {
            let other = &self.halves[1 - who];
            if other.ended || !self.is_in_doubt(1 - who) {
                other.sent.check(&message, &mut faults);
            }
        }
        let role = self.role(who);
        let doubt = self.is_in_doubt(1 - who);
        self.exchange
            .fpdu(role, info.as_ref(), payload, doubt, &mut faults);
        if let Some(info) = &info {
            self.exchange
                .message(role, info, payload, control.as_ref(), doubt, &mut faults);
            let is_read = opcode == Some(Opcode::READ_REQUEST);
            self.halves[who]
                .sent
                .note(head, body, arrival.ulpdu_len, is_read);
        }
        // A message that can be read is whole, whatever L says.
        let last = info.is_some_and(|info| info.last) || control.is_some();
        if last && let Some(info) = info.filter(|info| !info.last) {
            let text = format!("a {} is whole, and L is clear", info.operation);
            faults.push((Rule::D07, text));
        }
        let tracked = info.map(|info| HeaderInfo { last, ..info });
        let outcome = match (&mut self.halves[who].stage, &tracked) {
            (Stage::Open(open), Some(info)) => {
                open.messages
                    .segment(arrival.position, info, payload, &mut faults)
            }
            _ => Outcome::default(),
        };
        let guess = self.halves[who].guessed;
        let wrong = guess && !segment::plausible(&arrival.head);
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
        self.outcome(who, arrival.position, outcome, out);
        wrong
    }

    fn outcome(&mut self, who: usize, position: u64, outcome: Outcome, out: &mut Output<'_>) {
        if let Some((position, fault)) = outcome.earlier {
            self.faults(who, position, vec![fault], out);
        }
        if outcome.shuffled {
            let text = "D22: the segments of the message are not in the order of their offsets";
            self.note(who, position, text.to_owned(), out);
        }
        if let Some(message) = outcome.message {
            self.tell(who, position, What::Message(message), out);
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
            self.note(who, arrival.position, text, out);
        }
    }

    /// Octets of this end are missing or not yet in order, or the capture does not keep the order of the
    /// two directions: its silence proves nothing.
    fn is_in_doubt(&self, who: usize) -> bool {
        match &self.halves[who].stage {
            Stage::Open(open) => open.broken || open.held() > 0 || self.halves[who].has_unseen(),
            _ => !self.halves[who].ended,
        }
    }

    /// Whether a direction has come to its end, and how.
    pub(crate) fn check_fin(&mut self, who: usize, out: &mut Output<'_>) {
        let left = self.halves[who].octets_before_fin();
        let terminated = self.exchange.is_terminated();
        let Stage::Open(open) = &mut self.halves[who].stage else {
            return;
        };
        let position = open.position();
        // All octets up to the FIN are there, and yet no FPDU.
        let inside = left.is_some_and(|left| left > 0 && left == open.held());
        if inside && open.behind_hole().is_none() && !open.cut {
            open.cut = true;
            let text = "the connection ends inside an FPDU";
            self.fault(who, position, Rule::F34, text, out);
        } else if left == Some(0) {
            // After a Terminate nobody has to go on (R25).
            let unfinished = open.messages.unfinished().filter(|_| !terminated);
            if let Some(text) = unfinished {
                let text = format!("the connection ends inside a {text}");
                self.fault(who, position, Rule::D18, &text, out);
            }
            for text in self.leftovers(who) {
                self.note(who, position, text, out);
            }
            self.halves[who].stage = Stage::Done;
            self.halves[who].ended = true;
        }
    }
}

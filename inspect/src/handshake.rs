//! How a connection begins: its startup frames are looked for, judged and joined.

use uwarp_mpa::{FrameKind, StartupError};

use crate::connection::{Connection, Output};
use crate::exchange::Exchange;
use crate::half::{Held, PATIENCE, Stage};
use crate::open::{Open, Start};
use crate::record::What;
use crate::rule::Rule;
use crate::seek::{Found, Seek};
use crate::startup::{self, Seen};

impl Connection {
    /// Takes octets of a direction that is not yet understood.
    pub(crate) fn seek(&mut self, who: usize, sequence: u32, octets: &[u8], out: &mut Output<'_>) {
        let reply_due = self.is_reply_due(who);
        let Stage::Seek(seek) = &mut self.halves[who].stage else {
            return;
        };
        if reply_due && seek.is_at_start() && seek.strange() == 0 {
            seek.due = Some(FrameKind::Reply);
        }
        let missing = seek.take(sequence, octets);
        if missing > 0 {
            self.missing(who, missing, out);
        }
        self.look(who, false, out);
    }

    /// Whether the next octets of `who` have been sent in answer to a whole Request.
    fn is_reply_due(&self, who: usize) -> bool {
        let other = &self.halves[1 - who];
        let request = self.request.is_some() && self.initiator == Some(1 - who);
        match &other.stage {
            Stage::Held(held) => request && other.has_reached(held.sequence),
            _ => false,
        }
    }

    /// Octets of a direction are not in the capture.
    pub(crate) fn missing(&mut self, who: usize, missing: u64, out: &mut Output<'_>) {
        if self.number.is_some() {
            let text = format!("{missing} octets are missing in the capture");
            self.note(who, self.position(who), text, out);
        }
        self.give_up_pending(who, out);
    }

    /// Goes on behind a hole in a direction that is not understood.
    pub(crate) fn jump(&mut self, who: usize, out: &mut Output<'_>) {
        let Stage::Seek(seek) = &mut self.halves[who].stage else {
            return;
        };
        let missing = seek.jump();
        if missing > 0 {
            self.missing(who, missing, out);
        }
        self.look(who, false, out);
    }

    /// Looks at what there is of a direction that is not yet understood; `last`: there will be no more.
    pub(crate) fn look(&mut self, who: usize, last: bool, out: &mut Output<'_>) {
        let Stage::Seek(seek) = &mut self.halves[who].stage else {
            return;
        };
        match seek.look(last) {
            None => {}
            // At the end there may be something behind a hole.
            Some(Found::Nothing) if last => {}
            Some(Found::Nothing) => self.nothing(who, out),
            Some(Found::Refused {
                kind,
                error,
                position,
            }) => self.refuse(who, kind, error, position, out),
            Some(Found::Frame {
                seen,
                position,
                sequence,
                rest,
            }) => self.frame(who, seen, position, Held::new(sequence, rest), out),
            Some(Found::Guessed {
                guess,
                position,
                sequence,
                rest,
            }) => {
                self.identify(out);
                self.give_up_pending(who, out);
                let half = &mut self.halves[who];
                half.guessed |= !guess.anchored;
                let start = Start {
                    framing: guess.framing,
                    sequence,
                    position,
                    phase: guess.position.wrapping_sub(position),
                    guess: half.guessed,
                };
                self.halves[who].sent.lose();
                self.open(who, Open::new(start), rest, out);
            }
        }
    }

    /// Whether a direction ends inside a startup frame.
    pub(crate) fn check_frame_fin(&mut self, who: usize, out: &mut Output<'_>) {
        let half = &self.halves[who];
        let Stage::Seek(seek) = &half.stage else {
            return;
        };
        let ended = half.fin == Some(seek.next());
        if ended && let Some(kind) = seek.partial_frame() {
            let error = StartupError::Truncated;
            self.refuse(who, kind, error, seek.position(), out);
        }
    }

    /// There is nothing to understand in a direction.
    pub(crate) fn nothing(&mut self, who: usize, out: &mut Output<'_>) {
        self.halves[who].stage = Stage::Done;
        self.give_up_pending(who, out);
    }

    fn refuse(
        &mut self,
        who: usize,
        kind: FrameKind,
        error: StartupError,
        position: u64,
        out: &mut Output<'_>,
    ) {
        self.identify(out);
        self.take_role(who, kind);
        self.faults(who, position, vec![startup::refusal(kind, error)], out);
        self.halves[who].stage = Stage::Done;
        self.refused = Some(who);
        if let Some((other, _)) = self.reply.as_ref().filter(|_| kind == FrameKind::Request) {
            self.answers_nothing(*other, out);
        }
        self.give_up_pending(who, out);
    }

    fn answers_nothing(&self, who: usize, out: &mut Output<'_>) {
        let text = "a Reply to what is no proper Request";
        self.fault(who, 0, Rule::U12, text, out);
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
        let what = What::Frame(startup::describe(&seen.frame, &self.ends[who]));
        self.tell(who, position, what, out);
        let mut faults = Vec::new();
        startup::check(&seen, &mut faults);
        let due = if self.initiator == Some(who) {
            FrameKind::Request
        } else {
            FrameKind::Reply
        };
        if kind != due {
            faults.push((Rule::U20, format!("both ends send a {kind}")));
        }
        if kind == FrameKind::Reply
            && let Some(request) = &self.request
        {
            startup::check_reply(&request.frame, &seen.frame, &mut faults);
        }
        self.faults(who, position, faults, out);
        match (kind, self.request.take(), self.reply.take()) {
            (FrameKind::Request, _, Some((other, reply))) if other != who => {
                self.late_request(who, seen, held, (other, reply), out);
            }
            (FrameKind::Request, ..) => {
                self.request = Some(seen);
                self.halves[who].stage = Stage::Held(held);
                self.check_haste(who, out);
            }
            (FrameKind::Reply, Some(request), _) => self.agree(who, &request, &seen, held, out),
            (FrameKind::Reply, None, pending) => {
                if let Some((other, _)) = pending {
                    self.agree_blindly(other, out);
                }
                self.early_reply(who, seen, held, out);
            }
        }
    }

    /// A Request behind its Reply: the capture does not keep the order.
    fn late_request(
        &mut self,
        who: usize,
        request: Seen,
        held: Held,
        (other, reply): (usize, Seen),
        out: &mut Output<'_>,
    ) {
        let mut faults = Vec::new();
        startup::check_reply(&request.frame, &reply.frame, &mut faults);
        self.faults(other, 0, faults, out);
        self.halves[who].stage = Stage::Held(held);
        let waiting = std::mem::replace(&mut self.halves[other].stage, Stage::Done);
        if let Stage::Held(waiting) = waiting {
            self.agree(other, &request, &reply, waiting, out);
        }
    }

    /// A Reply whose Request has not been seen.
    fn early_reply(&mut self, who: usize, seen: Seen, held: Held, out: &mut Output<'_>) {
        let other = &self.halves[1 - who];
        let started = other.first.is_some();
        // All that its end has had of the other one is a SYN.
        let unasked = started && other.acked == other.first;
        let (may_come, strange) = match &other.stage {
            Stage::Silent => (started, false),
            Stage::Seek(seek) => {
                let strange = seek.behind_hole().is_none() && seek.strange() >= 16;
                (
                    seek.is_at_start() && !strange,
                    seek.is_at_start() && strange,
                )
            }
            _ => (false, false),
        };
        if unasked {
            let text = "a Reply before there is a Request";
            self.fault(who, 0, Rule::U12, text, out);
        } else if strange {
            let text =
                "what the other end answers by a Reply does not begin with the key of a Request";
            self.fault(1 - who, 0, Rule::U04, text, out);
            self.answers_nothing(who, out);
        } else if self.refused == Some(1 - who) {
            self.answers_nothing(who, out);
        }
        self.halves[who].stage = Stage::Held(held);
        if may_come {
            self.reply = Some((who, seen));
        } else {
            self.agree_blindly(who, out);
        }
    }

    /// Octets behind a Request that has no Reply yet.
    pub(crate) fn check_haste(&mut self, who: usize, out: &mut Output<'_>) {
        let answered = self.is_answered_unseen(who);
        let Stage::Held(held) = &mut self.halves[who].stage else {
            return;
        };
        let behind = held.behind();
        if behind == 0 || self.request.is_none() {
            return;
        }
        if answered {
            held.waited += 1;
            if held.waited > PATIENCE {
                self.go_on_unanswered(who, out);
            }
        } else if !self.hasty {
            self.hasty = true;
            if self.refused == Some(1 - who) {
                let text = "FPDUs although the Reply is improper";
                self.fault(who, 0, Rule::U15, text, out);
            } else {
                let text = format!("{behind} octets behind the Request, before the Reply");
                self.fault(who, 0, Rule::U21, &text, out);
            }
        }
    }

    /// Whether an end that waits for a Reply has had octets that have not been seen.
    fn is_answered_unseen(&self, who: usize) -> bool {
        let waits = matches!(self.halves[who].stage, Stage::Held(_)) && self.request.is_some();
        let other = &self.halves[1 - who];
        waits
            && match &other.stage {
                Stage::Silent => other.has_unseen(),
                Stage::Seek(seek) => other.has_unseen() || !seek.is_at_start(),
                Stage::Held(_) | Stage::Open(_) => true,
                Stage::Done => self.refused.is_none(),
            }
    }

    /// Reads on behind a Request whose Reply is not in the capture; tells whether that is so.
    pub(crate) fn go_on_unanswered(&mut self, who: usize, out: &mut Output<'_>) -> bool {
        if !self.is_answered_unseen(who) {
            return false;
        }
        let stage = std::mem::replace(&mut self.halves[who].stage, Stage::Done);
        let Stage::Held(held) = stage else {
            return false;
        };
        self.request = None;
        let text = "its Reply is not in the capture: what follows is guessed".to_owned();
        self.note(who, 0, text, out);
        self.read_blindly(who, held, out);
        true
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
        let responder = Start::first(request.markers, crc, held.sequence);
        // So that it is known to be read when the other direction is.
        self.halves[who].stage = Stage::Open(Box::new(Open::new(responder)));
        if let Stage::Held(waiting) = other {
            let initiator = Start::first(reply.markers, crc, waiting.sequence);
            self.open(1 - who, Open::new(initiator), waiting.pieces, out);
        }
        for (sequence, octets) in held.pieces {
            self.octets(who, sequence, &octets, out);
        }
    }

    /// The Request that a Reply waits for will not come.
    fn give_up_pending(&mut self, who: usize, out: &mut Output<'_>) {
        if let Some((other, _)) = self.reply.take_if(|(other, _)| *other != who) {
            self.agree_blindly(other, out);
        }
    }

    /// A Reply to a Request that is not in the capture.
    fn agree_blindly(&mut self, who: usize, out: &mut Output<'_>) {
        let stage = std::mem::replace(&mut self.halves[who].stage, Stage::Done);
        let Stage::Held(held) = stage else {
            self.halves[who].stage = stage;
            return;
        };
        let text = "its Request is not in the capture: what follows is guessed".to_owned();
        self.note(who, 0, text, out);
        self.read_blindly(who, held, out);
    }

    /// Guesses at what follows a frame.
    fn read_blindly(&mut self, who: usize, held: Held, out: &mut Output<'_>) {
        self.halves[who].stage = Stage::Seek(Seek::new(held.sequence, true));
        for (sequence, octets) in held.pieces {
            self.octets(who, sequence, &octets, out);
        }
    }
}

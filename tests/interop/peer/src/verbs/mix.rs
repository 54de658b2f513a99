//! Random operations of both ends at the same time; `tests/interop/verbs/mix.c` does the same.
//!
//! An end has eight slots of 128 KiB. An operation uses the next of them in turn, once what was there before is done:
//!
//! * an RDMA Write into the other end's sink at the slot's place, and a message that says so;
//! * a message with the data itself;
//! * an RDMA Read from any place of the other end's source, whose data is known.
//!
//! The other end checks what was written or sent, and acknowledges it. Messages have 16 octets in front: 'w' (written),
//! 'm' (data follows), 'a' (acknowledged) or 'd' (no more operations), 3 octets, then the operation's number, its length,
//! and 4 octets of 0.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uwarp::{OperationKind, Region, RemoteRegion, Rights, SendFlags, Socket};

use super::{HALF, MAIN, MESSAGE_MAX, Session, THEIR_SEED, check, pattern};
use crate::end::{Message, Outcome};

const SLOTS: usize = 8;
const SLOT: usize = HALF / SLOTS;
const HEAD: usize = 16;
/// More than can be under way: the other end has no more than a slot's operation to acknowledge each.
const ACKS: usize = 64;
/// Completions of Reads have their slot's number, those of all else this.
const OTHER: u64 = u64::MAX;

/// siw answers Reads of up to so many octets with wrong ones if their source crosses the end of a page
/// (siw_try_1seg), so such Reads are not made.
const SIW_SHORT: usize = 32;
const PAGE: usize = 4096;

/// How long a mix goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Operations of this end, unless the time is over before.
    pub(super) count: u32,
    /// Makes other operations.
    pub(super) seed: u64,
    /// `None` if only the operations count.
    pub(super) time: Option<Duration>,
    pub(super) after: After,
}

/// What happens when the time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Both ends begin nothing more, and finish what they have begun.
    Finish,
    /// This end leaves with all that is under way.
    Leave,
    /// The other end leaves, and this goes on until then.
    BeLeft,
}

struct Mix<'a> {
    session: &'a mut Session,
    /// What is written, read and sent from, a slot each.
    slots: Region,
    /// Announcements of each slot.
    heads: Region,
    /// Acknowledgements, used in turn.
    acks: Region,
    acked: usize,
    busy: [Option<Busy>; SLOTS],
    random: SmallRng,
    /// Operations begun, and finished.
    begun: u32,
    finished: &'a mut u32,
    count: u32,
    told_end: bool,
    heard_end: bool,
}

/// What is done in a slot.
#[derive(Clone, Copy, Debug)]
struct Busy {
    number: u32,
    len: usize,
    /// For a Read: where from.
    at: usize,
}

/// Gives the number of operations that this end has finished.
pub(super) fn run(session: &mut Session, plan: Plan) -> Outcome<u32> {
    let mut finished = 0;
    run_until_lost(session, plan, &mut finished).map(|()| finished)
}

/// The same; the number is right even if the connection ended meanwhile.
pub(super) fn run_until_lost(session: &mut Session, plan: Plan, finished: &mut u32) -> Outcome<()> {
    let slots = session.end.region(vec![0; SLOTS * SLOT], Rights::empty())?;
    let heads = session.end.region(vec![0; SLOTS * HEAD], Rights::empty())?;
    let acks = session.end.region(vec![0; ACKS * HEAD], Rights::empty())?;
    let mut mix = Mix {
        session,
        slots,
        heads,
        acks,
        acked: 0,
        busy: [None; SLOTS],
        random: SmallRng::seed_from_u64(plan.seed),
        begun: 0,
        finished,
        count: plan.count,
        told_end: false,
        heard_end: false,
    };
    let until = plan.time.map(|time| Instant::now() + time);
    while !(mix.told_end && mix.heard_end) {
        if until.is_some_and(|until| Instant::now() > until) {
            match plan.after {
                After::Finish => mix.count = mix.count.min(mix.begun),
                After::Leave => return Ok(()),
                After::BeLeft => {}
            }
        }
        while mix.begun < mix.count && mix.busy[mix.begun as usize % SLOTS].is_none() {
            mix.begin()?;
        }
        if *mix.finished == mix.count && !mix.told_end {
            mix.told_end = true;
            mix.say(b'd', 0)?;
        } else {
            mix.take()?;
        }
    }
    Ok(())
}

fn head(letter: u8, number: u32, len: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[0] = letter;
    head[4..8].copy_from_slice(&number.to_be_bytes());
    head[8..12].copy_from_slice(&(len as u32).to_be_bytes());
    head
}

impl Mix<'_> {
    fn socket(&self) -> &Socket {
        &self.session.end.socket
    }

    /// Begins the next operation in its slot.
    fn begin(&mut self) -> Outcome<()> {
        let number = self.begun;
        let index = number as usize % SLOTS;
        let start = index * SLOT;
        let kind = self.random.random_range(0..3);
        let most = match (kind, self.random.random_range(0..4)) {
            (_, 0) => 64,
            (1, _) => MESSAGE_MAX - HEAD,
            (_, 1) => SLOT,
            _ => 8192,
        };
        // A Read of nothing may be answered with something; see `empty_reads`.
        let least = usize::from(kind == 0);
        let len = self.random.random_range(least..=most);
        let mut at = self.random.random_range(0..=HALF - len);
        if len <= SIW_SHORT && at % PAGE + len > PAGE {
            at -= len;
        }
        self.busy[index] = Some(Busy { number, len, at });
        self.begun += 1;
        let theirs = self.session.theirs[MAIN];
        let remote = |offset: usize| RemoteRegion {
            to: theirs.to + offset as u64,
            len: u32::MAX,
            ..theirs
        };
        let data = self.slots.slice(start..start + len)?;
        let letter = match kind {
            0 => {
                self.slots.write_at(start as u64, &vec![0xee; len])?;
                self.socket().post_read(index as u64, &[data], remote(at))?;
                self.session.end.posted += 1;
                return Ok(());
            }
            1 => b'm',
            _ => b'w',
        };
        self.slots
            .write_at(start as u64, &pattern(0, len, number))?;
        self.heads
            .write_at((index * HEAD) as u64, &head(letter, number, len))?;
        let head = self.heads.slice(index * HEAD..(index + 1) * HEAD)?;
        let flags = SendFlags::default();
        if letter == b'm' {
            self.socket().post_send(OTHER, &[head, data], flags)?;
        } else {
            self.socket()
                .post_write(OTHER, &[data], remote(HALF + start))?;
            self.session.end.posted += 1;
            self.socket().post_send(OTHER, &[head], flags)?;
        }
        self.session.end.posted += 1;
        Ok(())
    }

    /// Takes what comes next.
    fn take(&mut self) -> Outcome<()> {
        if let Some(done) = self.session.end.poll_work() {
            if done.kind == OperationKind::Read {
                self.read_done(done.id as usize)?;
            }
            return Ok(());
        }
        match self.session.end.poll_message() {
            Some(message) => self.hear(&message),
            None => self.session.end.step(),
        }
    }

    fn read_done(&mut self, index: usize) -> Outcome<()> {
        let Busy { len, at, .. } = self.busy[index].take().ok_or("an idle slot was read")?;
        let mut octets = vec![0; len];
        self.slots.read_at((index * SLOT) as u64, &mut octets)?;
        *self.finished += 1;
        check(&octets, at, THEIR_SEED, "Read")
    }

    fn hear(&mut self, message: &Message) -> Outcome<()> {
        let (head_octets, data) = message
            .octets
            .split_first_chunk::<HEAD>()
            .ok_or("a short message")?;
        let &[letter, _, _, _, n0, n1, n2, n3, l0, l1, l2, l3, ..] = head_octets;
        let number = u32::from_be_bytes([n0, n1, n2, n3]);
        let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let index = number as usize % SLOTS;
        match letter {
            b'a' => {
                let busy = self.busy[index].take().ok_or("an idle slot's answer")?;
                if busy.number != number {
                    return Err(format!("{number} was acknowledged instead of {busy:?}").into());
                }
                *self.finished += 1;
                return Ok(());
            }
            b'd' => {
                self.heard_end = true;
                return Ok(());
            }
            b'm' if data.len() == len => check(data, 0, number, "message")?,
            b'w' => {
                let mut octets = vec![0; len];
                let at = HALF + index * SLOT;
                self.session.main.read_at(at as u64, &mut octets)?;
                check(&octets, 0, number, "Write")?;
            }
            _ => return Err(format!("an unknown message of {} octets", data.len()).into()),
        }
        self.say(b'a', number)
    }

    fn say(&mut self, letter: u8, number: u32) -> Outcome<()> {
        let at = self.acked % ACKS * HEAD;
        self.acked += 1;
        self.acks.write_at(at as u64, &head(letter, number, 0))?;
        let list = [self.acks.slice(at..at + HEAD)?];
        self.socket()
            .post_send(OTHER, &list, SendFlags::default())?;
        self.session.end.posted += 1;
        Ok(())
    }
}

//! What one end has posted, and what must come of it at the other: the model.
//!
//! TCP keeps the order, and an end sends its messages in the order of posting. So what happens at the other end
//! happens in that order too: every placement, every check and every completion there has one message to
//! belong to, the next that is not over.

use std::collections::VecDeque;
use std::ops::Range;

use uwarp_ddp::Stag;
use uwarp_rdmap::{AtomicOperation, Completion, Operation, OperationKind, Slot};

/// A posted request of the send queue.
#[derive(Debug)]
struct Message {
    slot: Slot,
    operation: Operation,
    /// What is sent, or room for what is read.
    len: usize,
    data: Vec<u8>,
    /// Octets that have landed: at the peer, or of a Read at its own end.
    placed: usize,
    /// Octets of a Read that the peer has been asked for.
    sourced: usize,
    /// It has had its effect at the peer, apart from placing.
    seen: bool,
    /// Of a Read: what its source holds and held since the Request came.
    found: Option<Found>,
    /// Of an atomic operation: the word before it.
    original: Option<u64>,
}

impl Message {
    /// Whether the peer is done with it, as far as its memory tells.
    fn is_over(&self) -> bool {
        match self.operation {
            Operation::Send { invalidate, .. } => {
                self.placed == self.len && (invalidate.is_none() || self.seen)
            }
            Operation::Write { .. } => self.placed == self.len,
            Operation::Read { .. } => self.len == 0 || self.seen,
            Operation::Atomic { .. } => self.seen,
            Operation::Immediate { .. } => true,
        }
    }

    fn takes_a_receive(&self) -> bool {
        matches!(
            self.operation.kind(),
            OperationKind::Send | OperationKind::Immediate
        )
    }
}

/// The source of a Read.
#[derive(Debug)]
struct Found {
    /// Where it lies in the peer's arena.
    at: Range<usize>,
    octets: Vec<u8>,
    /// What has changed since: the place and the new octets.
    changes: Vec<(usize, Vec<u8>)>,
}

impl Found {
    /// Whether the peer could have read this octet there.
    fn may_be(&self, index: usize, octet: u8) -> bool {
        let place = self.at.start + index;
        let changed = |(at, octets): &(usize, Vec<u8>)| {
            place.checked_sub(*at).and_then(|index| octets.get(index)) == Some(&octet)
        };
        self.octets[index] == octet || self.changes.iter().any(changed)
    }
}

/// What one end has posted for the other.
#[derive(Debug, Default)]
pub(super) struct Lane {
    messages: Vec<Message>,
    /// The first message that may have an effect at the peer now.
    cursor: usize,
    /// Reads and atomic operations that the peer has to answer.
    answering: VecDeque<usize>,
    /// Messages that take a receive.
    arrivals: Vec<usize>,
    /// How many of them have come.
    arrived: usize,
    /// The receives that the peer has posted.
    receives: Vec<(Slot, usize)>,
    /// Messages whose requests have not completed.
    pub(super) incomplete: VecDeque<usize>,
    failed: bool,
    pub(super) changed_while_read: usize,
}

impl Lane {
    /// A request has been posted.
    pub(super) fn post(&mut self, slot: Slot, operation: Operation, len: usize, data: Vec<u8>) {
        let index = self.messages.len();
        self.messages.push(Message {
            slot,
            operation,
            len,
            data,
            placed: 0,
            sourced: 0,
            seen: false,
            found: None,
            original: None,
        });
        if self.messages[index].takes_a_receive() {
            self.arrivals.push(index);
        }
        self.incomplete.push_back(index);
    }

    /// The peer has posted a receive.
    pub(super) fn post_receive(&mut self, slot: Slot, len: usize) {
        self.receives.push((slot, len));
    }

    /// Messages that have had all their effect on the peer's memory.
    pub(super) const fn delivered(&self) -> usize {
        self.cursor
    }

    /// Everything posted has completed with success.
    pub(super) fn has_succeeded(&self) -> bool {
        !self.failed && self.incomplete.is_empty()
    }

    /// The next message that takes a receive would find none.
    pub(super) const fn lacks_a_receive(&self) -> bool {
        self.receives.len() <= self.arrived && self.arrived < self.arrivals.len()
    }

    /// The next message that takes a receive is longer than the receive.
    pub(super) fn exceeds_its_receive(&self) -> bool {
        match (
            self.arrivals.get(self.arrived),
            self.receives.get(self.arrived),
        ) {
            (Some(&message), Some(&(_, room))) => self.messages[message].len > room,
            _ => false,
        }
    }

    /// The message whose turn it is at the peer.
    fn current(&mut self) -> (usize, &mut Message) {
        while self.messages.get(self.cursor).is_some_and(Message::is_over) {
            self.cursor += 1;
        }
        let message = self.messages.get_mut(self.cursor);
        (self.cursor, message.expect("somebody has posted it"))
    }

    /// Octets of a Write have come.
    pub(super) fn writes(&mut self, stag: Stag, to: u64, came: &[u8], placed: bool) {
        let (_, message) = self.current();
        let Operation::Write {
            stag: target,
            to: start,
        } = message.operation
        else {
            panic!("a Write instead of {message:?}");
        };
        let offset = message.placed;
        assert_eq!((stag, to), (target, start + offset as u64));
        assert!(came == &message.data[offset..offset + came.len()]);
        if placed {
            message.placed += came.len();
        }
    }

    /// Octets of a Send have come into this receive of the peer.
    pub(super) fn fills(&mut self, slot: Slot, offset: u32, came: &[u8]) {
        let (index, _) = self.current();
        let turn = self.arrivals.iter().position(|&arrival| arrival == index);
        let receive = turn.and_then(|turn| self.receives.get(turn));
        assert_eq!(receive.map(|receive| receive.0), Some(slot));
        let message = &mut self.messages[index];
        assert_eq!(message.operation.kind(), OperationKind::Send);
        let at = message.placed;
        assert_eq!(offset as usize, at);
        assert!(came == &message.data[at..at + came.len()]);
        message.placed += came.len();
    }

    /// A Send asks the peer to invalidate an STag.
    pub(super) fn invalidates(&mut self, stag: Stag) {
        let (_, message) = self.current();
        let Operation::Send { invalidate, .. } = message.operation else {
            panic!("a Send with Invalidate instead of {message:?}");
        };
        assert_eq!((invalidate, message.placed), (Some(stag), message.len));
        message.seen = true;
    }

    /// A Read has come to the peer; its source holds `found`, if it is permitted.
    pub(super) fn read_begins(
        &mut self,
        stag: Stag,
        to: u64,
        len: u32,
        found: Option<(usize, Vec<u8>)>,
    ) {
        let (index, message) = self.current();
        assert_eq!(message.operation, Operation::Read { stag, to });
        assert_eq!(message.len, len as usize);
        message.seen = true;
        if let Some((at, octets)) = found {
            message.found = Some(Found {
                at: at..at + octets.len(),
                octets,
                changes: Vec::new(),
            });
            self.answering.push_back(index);
        }
    }

    /// The peer is about to send a part of the oldest Read's answer.
    pub(super) fn read_goes_on(&mut self, stag: Stag, to: u64, len: u32) {
        let index = *self.answering.front().expect("it answers what was asked");
        let message = &mut self.messages[index];
        let Operation::Read {
            stag: source,
            to: start,
        } = message.operation
        else {
            panic!("a Read instead of {message:?}");
        };
        assert_eq!((stag, to), (source, start + message.sourced as u64));
        message.sourced += len as usize;
        assert!(message.sourced <= message.len);
        if message.sourced == message.len {
            self.answering.pop_front();
        }
    }

    /// Octets of the peer's memory have changed.
    pub(super) fn region_changes(&mut self, at: usize, octets: &[u8]) {
        let read = |index: &usize| self.messages[*index].found.is_some();
        let reads: Vec<usize> = self.incomplete.iter().copied().filter(read).collect();
        for index in reads {
            if let Some(found) = &mut self.messages[index].found
                && at < found.at.end
                && found.at.start < at + octets.len()
            {
                found.changes.push((at, octets.to_vec()));
            }
        }
    }

    /// An atomic operation has come to the peer.
    pub(super) fn atomic_begins(&mut self, stag: Stag, to: u64, permitted: bool) {
        let (index, message) = self.current();
        assert!(
            matches!(message.operation, Operation::Atomic { stag: target, to: at, .. }
                if (target, at) == (stag, to)),
            "an atomic operation at {to:#x} instead of {message:?}"
        );
        message.seen = true;
        if permitted {
            self.answering.push_back(index);
        }
    }

    /// The peer performs the oldest atomic operation; `original` is the word, if it is still permitted.
    pub(super) fn atomic_happens(
        &mut self,
        stag: Stag,
        to: u64,
        operation: &AtomicOperation,
        original: Option<u64>,
    ) {
        let index = self
            .answering
            .pop_front()
            .expect("it answers what was asked");
        let message = &mut self.messages[index];
        let operation = *operation;
        assert_eq!(
            message.operation,
            Operation::Atomic {
                stag,
                to,
                operation
            }
        );
        message.original = original;
    }

    /// Octets of an answer have come to this Read of ours.
    pub(super) fn answered(&mut self, slot: Slot, offset: u32, len: usize) {
        let reads = |index: &&usize| {
            let message = &self.messages[**index];
            message.operation.kind() == OperationKind::Read && message.placed < message.len
        };
        let oldest = *self.incomplete.iter().find(reads).expect("a Read is due");
        let message = &mut self.messages[oldest];
        assert_eq!((message.slot, message.placed), (slot, offset as usize));
        message.placed += len;
        assert!(message.placed <= message.sourced, "the peer has read it");
    }

    /// A receive of the peer has completed with success.
    pub(super) fn arrives(&mut self, completion: &Completion) {
        let index = self.arrivals[self.arrived];
        assert_eq!(self.receives[self.arrived].0, completion.slot);
        self.arrived += 1;
        while self.messages.get(self.cursor).is_some_and(Message::is_over) {
            self.cursor += 1;
        }
        assert!(index < self.cursor, "what was posted before it is over");
        let message = &self.messages[index];
        match message.operation {
            Operation::Send {
                solicited,
                invalidate,
            } => {
                assert_eq!(completion.len as usize, message.len);
                assert_eq!(completion.solicited, solicited);
                assert_eq!(completion.invalidated, invalidate);
                assert_eq!(completion.immediate, None);
            }
            Operation::Immediate { data, solicited } => {
                assert_eq!(completion.immediate, Some(data));
                assert_eq!(completion.solicited, solicited);
                assert_eq!(completion.invalidated, None);
            }
            other => panic!("{other:?} takes no receive"),
        }
    }

    /// The oldest request has completed. `buffer` is what its buffer holds.
    pub(super) fn completes(&mut self, completion: &Completion, success: bool, buffer: &[u8]) {
        let index = self.incomplete.pop_front().expect("something was posted");
        let message = &mut self.messages[index];
        assert_eq!(message.slot, completion.slot, "in the order of posting");
        let found = message.found.take();
        if !success {
            self.failed = true;
            return;
        }
        assert_eq!(completion.len as usize, message.len);
        match message.operation {
            Operation::Read { .. } => {
                assert_eq!(message.placed, message.len, "the answer is whole");
                let Some(found) = found else {
                    assert_eq!(message.len, 0, "its Request has been seen");
                    return;
                };
                if found.octets != buffer {
                    let was_there = |(index, octet): (usize, &u8)| found.may_be(index, *octet);
                    assert!(buffer.iter().enumerate().all(was_there));
                    self.changed_while_read += 1;
                }
            }
            Operation::Atomic { .. } => assert_eq!(completion.original, message.original),
            _ => {}
        }
    }
}

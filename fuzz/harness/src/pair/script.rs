//! What a step of an input stands for.

use std::time::Duration;

use uwarp_rdmap::{Completion, Operation, OperationKind, PostError, Status, Work};

use super::Session;
use crate::input::Input;
use crate::segments::{atomic, stag, target};

impl Session {
    /// One step; its first octet says which, and its highest bit on which side.
    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        let step = input.u8();
        let side = usize::from(step >> 7);
        let peer = 1 - side;
        match step & 0x7f {
            0..=15 => self.post_receive(side, input.u16() % 6000),
            16..=23 => {
                let bits = input.u8();
                let operation = Operation::Send {
                    solicited: bits & 1 != 0,
                    invalidate: (bits & 6 == 6).then(|| stag(input, &self.arenas[peer])),
                };
                self.post(side, operation, input.u16() % 6000);
            }
            24..=31 => {
                let (stag, to) = target(input, &self.arenas[peer]);
                self.post(side, Operation::Write { stag, to }, input.u16() % 6000);
            }
            32..=39 => {
                let (stag, to) = target(input, &self.arenas[peer]);
                self.post(side, Operation::Read { stag, to }, input.u16() % 6000);
            }
            40..=43 => {
                let (stag, to) = target(input, &self.arenas[peer]);
                let operation = atomic(input);
                let operation = Operation::Atomic {
                    stag,
                    to,
                    operation,
                };
                self.post(side, operation, 0);
            }
            44..=47 => {
                let operation = Operation::Immediate {
                    data: input.u64().to_be_bytes(),
                    solicited: step & 1 != 0,
                };
                self.post(side, operation, 0);
            }
            48..=51 => self.arenas[side].revoke(input.u8().into()),
            // Octets move in parts.
            52..=59 => {
                self.drive(side, input.u8().into(), input.u16().into());
            }
            60..=67 => {
                self.drive(side, input.u16().into(), input.u8().into());
            }
            68..=71 => {
                self.drive(side, usize::MAX, 0);
            }
            72..=75 => {
                self.drive(side, 0, usize::MAX);
            }
            76..=79 => self.settle(),
            80..=99 => {
                self.drive(0, usize::MAX, usize::MAX);
                self.drive(1, usize::MAX, usize::MAX);
            }
            other => self.disturb(other - 100, side, input),
        }
    }

    /// What ends connections.
    fn disturb(&mut self, what: u8, side: usize, input: &mut Input<'_>) {
        match what {
            0..=3 => {
                self.disturbed = true;
                self.close(side);
            }
            4 => {
                self.disturbed = true;
                self.kill(side);
            }
            5 if !self.hosts[side].is_over() => {
                self.disturbed = true;
                self.hosts[side].call(|connection, _| connection.abort());
                self.take_reports(side);
            }
            6 => {
                self.disturbed = true;
                for link in &mut self.links {
                    link.reset = true;
                    link.lose();
                }
            }
            7..=9 => {
                self.disturbed = true;
                self.pass(Duration::from_millis(u64::from(input.u16()) % 8000));
            }
            10 if !self.hosts[side].is_over() => {
                self.disturbed = true;
                let now = self.now;
                self.hosts[side].call(|connection, _| connection.local_failure(now));
                self.take_reports(side);
            }
            // The path to the peer changes.
            11 if !self.hosts[side].is_over() => {
                let emss = u32::from(input.u8()) * 40;
                self.hosts[side].set_emss(emss);
            }
            _ => {}
        }
    }

    /// The program posts a request. Its buffer's octets are like those of no other.
    fn post(&mut self, side: usize, operation: Operation, len: u16) {
        let sink = matches!(operation, Operation::Read { .. });
        let len = usize::from(len);
        let Some(slot) = self.arenas[side].post(operation.kind(), len) else {
            return;
        };
        let mut data = Vec::new();
        if !sink {
            let seed = slot.0 as usize * 31 + side;
            data.extend((0..len).map(|at| (seed + at * 7 + (at >> 8)) as u8));
            self.arenas[side].store(slot, &data);
        }
        let work = Work {
            slot,
            operation,
            len: len as u32,
        };
        match self.hosts[side].call(|connection, _| connection.post(work)) {
            Ok(()) => self.lanes[side].post(slot, operation, len, data),
            Err(error) => {
                self.refused(side, operation, len, error);
                self.arenas[side].close(slot);
            }
        }
    }

    /// A request is refused for a reason.
    fn refused(&self, side: usize, operation: Operation, len: usize, error: PostError) {
        let host = &self.hosts[side];
        match error {
            PostError::Closed => {}
            PostError::Full => {
                assert_eq!(self.lanes[side].incomplete.len(), host.config.send_queue);
            }
            PostError::ReadsDisabled => {
                let agreement = host.connection().agreement().expect("it is set up");
                assert!(operation.is_answered() && agreement.ord == 0);
            }
            PostError::OffsetWrap => {
                let (Operation::Write { to, .. } | Operation::Read { to, .. }) = operation else {
                    panic!("{operation:?} has no end");
                };
                assert!(to.checked_add(len as u64).is_none());
            }
        }
    }

    fn post_receive(&mut self, side: usize, len: u16) {
        let len = usize::from(len);
        let Some(slot) = self.arenas[side].post(OperationKind::Receive, len) else {
            return;
        };
        let host = &mut self.hosts[side];
        match host.call(|connection, _| connection.post_receive(slot, len as u32)) {
            Ok(()) => {
                host.receives.push_back(slot);
                self.lanes[1 - side].post_receive(slot, len);
            }
            Err(error) => {
                assert!(
                    error == PostError::Closed || host.receives.len() == host.config.receive_queue,
                    "{error:?}"
                );
                self.arenas[side].close(slot);
            }
        }
    }

    /// A request has completed: its buffer is the program's again.
    pub(super) fn complete(&mut self, side: usize, completion: &Completion) {
        let buffer = self.arenas[side].buffer(completion.slot);
        let posted = self.arenas[side].close(completion.slot);
        assert_eq!(posted.kind, completion.kind);
        let success = completion.status == Status::Success;
        if success {
            assert!(completion.len as usize <= posted.len());
            self.reached.succeeded[posted.kind as usize] += 1;
        } else {
            assert_eq!(completion.len, 0);
            self.reached.flushed += usize::from(completion.status == Status::Flushed);
            self.reached.refused += usize::from(completion.status != Status::Flushed);
        }
        if posted.kind != OperationKind::Receive {
            self.lanes[side].completes(completion, success, &buffer);
            return;
        }
        let oldest = self.hosts[side].receives.pop_front();
        assert_eq!(oldest, Some(completion.slot), "in the order of posting");
        if success {
            self.lanes[1 - side].arrives(completion);
        }
    }
}

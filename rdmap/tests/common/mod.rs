//! Two endpoints joined by nothing but segments: no FPDUs, no sockets, memory in vectors.
#![allow(dead_code, reason = "every test file uses its part of this")]

pub(crate) mod wire;

use std::collections::HashMap;

use uwarp_ddp::{AccessError, Header, Stag};
use uwarp_rdmap::atomic::ATOMIC_WORD;
use uwarp_rdmap::{
    AtomicError, AtomicOperation, Completion, Endpoint, Limits, Notice, Operation, Outgoing,
    Payload, PostError, RdmapError, Regions, Slot, Status, Target, Terminate, Work,
};

pub(crate) const MULPDU: u16 = 128;

/// Regions of memory by STag; tagged offsets begin at 0 and addresses are taken to be aligned.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) regions: HashMap<Stag, Vec<u8>>,
    pub(crate) invalidated: Vec<Stag>,
}

impl Memory {
    fn range(&self, stag: Stag, to: u64, len: u32) -> Result<std::ops::Range<usize>, AccessError> {
        let region = self.regions.get(&stag).ok_or(AccessError::InvalidStag)?;
        let end = to.checked_add(u64::from(len)).ok_or(AccessError::Wrap)?;
        if end > region.len() as u64 {
            return Err(AccessError::Bounds);
        }
        Ok(to as usize..end as usize)
    }

    fn atomic(&mut self, stag: Stag, to: u64, operation: &AtomicOperation) -> u64 {
        let range = self.range(stag, to, ATOMIC_WORD).unwrap();
        let word = &mut self.regions.get_mut(&stag).unwrap()[range];
        let before = u64::from_ne_bytes(word.try_into().unwrap());
        word.copy_from_slice(&operation.apply(before).to_ne_bytes());
        before
    }
}

impl Regions for Memory {
    fn check_read(&mut self, stag: Stag, to: u64, len: u32) -> Result<(), AccessError> {
        self.range(stag, to, len).map(|_| ())
    }

    fn check_atomic(&mut self, stag: Stag, to: u64) -> Result<(), AtomicError> {
        self.range(stag, to, ATOMIC_WORD)?;
        if to.is_multiple_of(8) {
            Ok(())
        } else {
            Err(AtomicError::Misaligned)
        }
    }

    fn invalidate(&mut self, stag: Stag) -> Result<(), AccessError> {
        self.regions.remove(&stag).ok_or(AccessError::InvalidStag)?;
        self.invalidated.push(stag);
        Ok(())
    }
}

/// One end: its endpoint, its regions and the buffers of its posted work.
pub(crate) struct Side {
    pub(crate) endpoint: Endpoint,
    pub(crate) memory: Memory,
    pub(crate) buffers: HashMap<Slot, Vec<u8>>,
    next_slot: u32,
}

pub(crate) fn limits() -> Limits {
    Limits {
        send_queue: 16,
        receive_queue: 4,
        ird: 2,
        ord: 2,
    }
}

impl Side {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            endpoint: Endpoint::new(limits, Stag(0x5151_5151)),
            memory: Memory::default(),
            buffers: HashMap::new(),
            next_slot: 0,
        }
    }

    pub(crate) fn region(&mut self, stag: u32, octets: &[u8]) -> Stag {
        self.memory.regions.insert(Stag(stag), octets.to_vec());
        Stag(stag)
    }

    fn slot(&mut self, buffer: Vec<u8>) -> Slot {
        let slot = Slot(self.next_slot);
        self.next_slot += 1;
        self.buffers.insert(slot, buffer);
        slot
    }

    pub(crate) fn post(&mut self, operation: Operation, buffer: &[u8]) -> Result<Slot, PostError> {
        let slot = self.slot(buffer.to_vec());
        self.endpoint.post(Work {
            slot,
            operation,
            len: buffer.len() as u32,
        })?;
        Ok(slot)
    }

    pub(crate) fn send(&mut self, octets: &[u8]) -> Slot {
        self.post(
            Operation::Send {
                solicited: false,
                invalidate: None,
            },
            octets,
        )
        .unwrap()
    }

    pub(crate) fn receive(&mut self, len: usize) -> Slot {
        let slot = self.slot(vec![0; len]);
        self.endpoint.post_receive(slot, len as u32).unwrap();
        slot
    }

    /// The next segment as octets: its DDP header with what follows it, and whether there was one.
    pub(crate) fn transmit(&mut self) -> Option<Vec<u8>> {
        let outgoing = match self.endpoint.atomic_due() {
            Some(request) => {
                let before = self
                    .memory
                    .atomic(request.stag, request.to, &request.operation);
                self.endpoint.answer_atomic(before)
            }
            None => self.endpoint.next_segment(MULPDU),
        }?;
        let octets = self.octets(&outgoing);
        assert!(
            octets.len() <= usize::from(MULPDU),
            "a segment is no longer than the MULPDU"
        );
        self.endpoint.framed();
        if let Some(token) = outgoing.token {
            self.endpoint.sent(token);
        }
        Some(octets)
    }

    fn octets(&self, outgoing: &Outgoing) -> Vec<u8> {
        let mut octets = outgoing.head().to_vec();
        match &outgoing.payload {
            Payload::None => {}
            Payload::Work { slot, range } => {
                octets.extend_from_slice(
                    &self.buffers[slot][range.start as usize..range.end as usize],
                );
            }
            Payload::Region { stag, to, len } => {
                let range = self.memory.range(*stag, *to, *len).unwrap();
                octets.extend_from_slice(&self.memory.regions[stag][range]);
            }
        }
        octets
    }

    /// Places and delivers a segment.
    pub(crate) fn take(&mut self, octets: &[u8]) -> Result<Option<Notice>, RdmapError> {
        let (header, header_len) = Header::parse(octets, octets.len()).unwrap();
        let payload = &octets[header_len..];
        self.place(&header, payload)?;
        self.endpoint
            .deliver(&header, payload.len() as u32, payload, &mut self.memory)
    }

    pub(crate) fn place(&mut self, header: &Header, payload: &[u8]) -> Result<Target, RdmapError> {
        let target = self.endpoint.place(header, payload.len() as u32)?;
        match target {
            Target::None | Target::Control => {}
            Target::Tagged { stag, to, len } => {
                let range = self.memory.range(stag, to, len).unwrap();
                self.memory.regions.get_mut(&stag).unwrap()[range].copy_from_slice(payload);
            }
            Target::Work { slot, offset, len } => {
                let range = offset as usize..(offset + len) as usize;
                self.buffers.get_mut(&slot).unwrap()[range].copy_from_slice(payload);
            }
        }
        Ok(target)
    }

    pub(crate) fn completions(&mut self) -> Vec<Completion> {
        std::iter::from_fn(|| self.endpoint.poll_completion()).collect()
    }

    /// Slots and outcomes of what has completed.
    pub(crate) fn outcomes(&mut self) -> Vec<(Slot, Status)> {
        self.completions()
            .iter()
            .map(|done| (done.slot, done.status))
            .collect()
    }
}

/// Moves segments both ways until there are none; all of them must be good.
pub(crate) fn settle(a: &mut Side, b: &mut Side) {
    loop {
        let (to_b, to_a) = (a.transmit(), b.transmit());
        if let Some(octets) = &to_b {
            b.take(octets).unwrap();
        }
        if let Some(octets) = &to_a {
            a.take(octets).unwrap();
        }
        if to_a.is_none() && to_b.is_none() {
            return;
        }
    }
}

/// The Terminate in a segment, if it is one.
pub(crate) fn terminate_of(octets: &[u8]) -> Option<Terminate> {
    let (header, len) = Header::parse(octets, octets.len()).ok()?;
    match header {
        Header::Untagged(header) if header.qn == 2 => Terminate::parse(&octets[len..]),
        _ => None,
    }
}

//! Descriptors of posted work, and where they are from posting to completion.

use std::sync::Arc;

use arrayvec::ArrayVec;
use uwarp_rdmap::{Operation, Slot};

use crate::domain::Sge;
use crate::ring::{Ring, Slab, Ticket};

/// Elements of a gather or scatter list at the most.
pub const MAX_SGE: usize = 6;

/// A gather or scatter list.
pub(crate) type SgeList = ArrayVec<Sge, MAX_SGE>;

/// One posted work request.
#[derive(Debug)]
pub(crate) struct Descriptor {
    /// The caller's number.
    pub(crate) id: u64,
    /// `None` for a receive.
    pub(crate) operation: Option<Operation>,
    pub(crate) list: SgeList,
    /// Octets of the list.
    pub(crate) len: u32,
}

/// Requests of one kind from posting to completion: where they are, and which has not been taken yet.
#[derive(Debug)]
struct Queue {
    descriptors: Slab<Descriptor>,
    /// In the order of posting.
    posted: Ring<Ticket>,
}

impl Queue {
    fn with_capacity(capacity: u32) -> Self {
        Self {
            descriptors: Slab::with_capacity(capacity),
            posted: Ring::with_capacity(capacity as usize),
        }
    }

    fn push(&self, descriptor: Descriptor) -> bool {
        let Ok(ticket) = self.descriptors.insert(descriptor) else {
            return false;
        };
        // There are no more tickets than places, and one is free again only after it has left the ring.
        let pushed = self.posted.push(ticket);
        debug_assert!(pushed.is_ok());
        true
    }
}

/// The requests of a socket from posting to completion. Callers put them in, and whoever drives takes them.
#[derive(Debug)]
pub(crate) struct Posts {
    sends: Queue,
    receives: Queue,
}

impl Posts {
    /// Places for so many requests to be sent, and so many receives.
    pub(crate) fn new(sends: u32, receives: u32) -> Self {
        Self {
            sends: Queue::with_capacity(sends),
            receives: Queue::with_capacity(receives),
        }
    }

    /// Queues a request; `false` if there is no place.
    pub(crate) fn push(&self, descriptor: Descriptor) -> bool {
        match descriptor.operation {
            Some(_) => self.sends.push(descriptor),
            None => self.receives.push(descriptor),
        }
    }

    /// Requests to be sent that nobody has taken.
    pub(crate) fn waiting_sends(&self) -> usize {
        self.sends.posted.len()
    }

    /// Whether all places are free.
    pub(crate) fn is_empty(&self) -> bool {
        self.sends.descriptors.is_empty() && self.receives.descriptors.is_empty()
    }
}

/// The requests that whoever drives has taken and that are not complete, by their [`Slot`].
#[derive(Debug)]
pub(crate) struct Works {
    posts: Arc<Posts>,
    /// First those to be sent, then the receives.
    taken: Vec<Option<Ticket>>,
    /// The slot of the first receive.
    receives: u32,
}

impl Works {
    /// None of `posts`, which has places for so many requests to be sent and so many receives.
    pub(crate) fn new(posts: Arc<Posts>, sends: u32, receives: u32) -> Self {
        Self {
            posts,
            taken: (0..sends + receives).map(|_| None).collect(),
            receives: sends,
        }
    }

    /// Takes the Send, Write, Read or other request that is next in the order of posting.
    pub(crate) fn take_send(&mut self) -> Option<Slot> {
        let ticket = self.posts.sends.posted.pop()?;
        let slot = ticket.index();
        self.taken[slot as usize] = Some(ticket);
        Some(Slot(slot))
    }

    /// Takes the receive that is next in the order of posting.
    pub(crate) fn take_receive(&mut self) -> Option<Slot> {
        let ticket = self.posts.receives.posted.pop()?;
        let slot = self.receives + ticket.index();
        self.taken[slot as usize] = Some(ticket);
        Some(Slot(slot))
    }

    fn descriptors(&self, slot: Slot) -> &Slab<Descriptor> {
        if slot.0 < self.receives {
            &self.posts.sends.descriptors
        } else {
            &self.posts.receives.descriptors
        }
    }

    /// A request that has been taken.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Descriptor> {
        let ticket = self.taken.get(slot.0 as usize)?.as_ref()?;
        Some(self.descriptors(slot).get(ticket))
    }

    /// Forgets a request, lets go of its memory and frees its place; returns the caller's number for it.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<u64> {
        let ticket = self.taken.get_mut(slot.0 as usize)?.take()?;
        Some(
            self.descriptors(slot)
                .remove(ticket, |descriptor| descriptor.id),
        )
    }

    /// Calls `visit` with each piece (element of the list, offset in the element, length) of the
    /// octets `offset..offset + len` of a request's list.
    pub(crate) fn pieces(
        &self,
        slot: Slot,
        offset: u32,
        len: usize,
        mut visit: impl FnMut(&Sge, u64, usize),
    ) {
        let Some(descriptor) = self.get(slot) else {
            return;
        };
        let (mut skip, mut left) = (u64::from(offset), len);
        for element in &descriptor.list {
            let room = u64::from(element.len);
            if skip >= room {
                skip -= room;
                continue;
            }
            let take = left.min((room - skip) as usize);
            if take == 0 {
                return;
            }
            visit(element, element.offset + skip, take);
            left -= take;
            skip = 0;
        }
    }
}

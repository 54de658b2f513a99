//! Descriptors of posted work, and where they are from posting to completion.

use std::sync::Arc;

use smallvec::SmallVec;
use uwarp_rdmap::{Operation, Slot};

use crate::domain::Sge;
use crate::ring::{Intake, Queue, Ticket};

/// Elements of a gather or scatter list at the most.
pub const MAX_SGE: usize = 6;

/// A gather or scatter list. A socket has a place for each request that it may have, so longer lists, which are rare,
/// have their elements elsewhere.
pub(crate) type SgeList = SmallVec<[Sge; 2]>;

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

impl Descriptor {
    /// A request with a list of at most [`MAX_SGE`] elements, of `len` octets.
    #[inline]
    pub(crate) fn new(id: u64, operation: Option<Operation>, list: &[Sge], len: u32) -> Self {
        let mut elements = SgeList::new();
        elements.extend(list.iter().take(MAX_SGE).cloned());
        Self {
            id,
            operation,
            list: elements,
            len,
        }
    }
}

/// The requests of a socket from posting to completion. Callers put them in, and whoever drives takes them.
pub(crate) type Posts = Intake<Descriptor>;

/// The requests that whoever drives has taken and that are not complete, by their [`Slot`].
#[derive(Debug)]
pub(crate) struct Works {
    posts: Arc<Posts>,
    /// First those to be sent, then the receives.
    taken: Vec<Option<Ticket>>,
    /// How many those are.
    count: usize,
    /// The slot of the first receive.
    receives: u32,
}

impl Works {
    /// None of `posts`, which has places for so many requests to be sent and so many receives.
    pub(crate) fn new(posts: Arc<Posts>, sends: u32, receives: u32) -> Self {
        Self {
            posts,
            taken: (0..sends + receives).map(|_| None).collect(),
            count: 0,
            receives: sends,
        }
    }

    /// Takes the Send, Write, Read or other request that is next in the order of posting.
    pub(crate) fn take_send(&mut self) -> Option<Slot> {
        let ticket = self.posts.take(Queue::Sends)?;
        let slot = ticket.index();
        Some(self.take(slot, ticket))
    }

    /// Takes the receive that is next in the order of posting.
    pub(crate) fn take_receive(&mut self) -> Option<Slot> {
        let ticket = self.posts.take(Queue::Receives)?;
        let slot = self.receives + ticket.index();
        Some(self.take(slot, ticket))
    }

    fn take(&mut self, slot: u32, ticket: Ticket) -> Slot {
        self.taken[slot as usize] = Some(ticket);
        self.count += 1;
        Slot(slot)
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn queue(&self, slot: Slot) -> Queue {
        if slot.0 < self.receives {
            Queue::Sends
        } else {
            Queue::Receives
        }
    }

    /// A request that has been taken.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Descriptor> {
        let ticket = self.taken.get(slot.0 as usize)?.as_ref()?;
        Some(self.posts.get(self.queue(slot), ticket))
    }

    /// Forgets a request, lets go of its memory and frees its place; returns the caller's number for it.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<u64> {
        let ticket = self.taken.get_mut(slot.0 as usize)?.take()?;
        self.count -= 1;
        let id = |descriptor: &Descriptor| descriptor.id;
        Some(self.posts.complete(self.queue(slot), ticket, id))
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

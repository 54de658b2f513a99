//! Descriptors of posted work, and the driver's table of them.

use smallvec::SmallVec;
use uwarp_rdmap::{Operation, Slot};

use crate::domain::Sge;

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

/// The work requests that a connection has not completed, by their [`Slot`].
#[derive(Debug, Default)]
pub(crate) struct Works {
    slots: Vec<Option<Descriptor>>,
    free: Vec<u32>,
}

impl Works {
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Slot {
        if let Some(index) = self.free.pop() {
            self.slots[index as usize] = Some(descriptor);
            return Slot(index);
        }
        self.slots.push(Some(descriptor));
        Slot(self.slots.len() as u32 - 1)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Descriptor> {
        let descriptor = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.free.push(slot.0);
        Some(descriptor)
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
        let Some(Some(descriptor)) = self.slots.get(slot.0 as usize) else {
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

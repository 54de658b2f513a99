//! The buffers that this end has named in the peer's iomap.

use std::collections::{BTreeSet, VecDeque};

use crate::entry::IomapEntry;

#[derive(Debug)]
pub(crate) struct Maps {
    size: u16,
    used: BTreeSet<u16>,
    /// Those that the peer has not been told.
    waiting: VecDeque<(u16, IomapEntry)>,
}

impl Maps {
    pub(crate) fn new(size: u16) -> Self {
        Self {
            size,
            used: BTreeSet::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Takes the lowest place that is free.
    pub(crate) fn add(&mut self, entry: IomapEntry) -> Option<u16> {
        let index = (0..self.size).find(|index| !self.used.contains(index))?;
        self.used.insert(index);
        self.waiting.push_back((index, entry));
        Some(index)
    }

    pub(crate) fn remove(&mut self, index: u16) {
        self.used.remove(&index);
        self.waiting.retain(|(waiting, _)| *waiting != index);
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn next(&mut self) -> Option<(u16, IomapEntry)> {
        self.waiting.pop_front()
    }
}

//! STags that were revoked and are not to be issued again for a while.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::stag::Stag;

/// The last few STags that were revoked, in order of revocation.
#[derive(Debug)]
pub(super) struct Quarantine {
    order: VecDeque<Stag>,
    members: HashSet<Stag, StagHashBuilder>,
    capacity: usize,
}

impl Quarantine {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            order: VecDeque::new(),
            members: HashSet::default(),
            capacity,
        }
    }

    pub(super) fn holds(&self, stag: Stag) -> bool {
        self.members.contains(&stag)
    }

    /// Takes in an STag that is not here yet; if there is no room, the oldest one leaves.
    pub(super) fn admit(&mut self, stag: Stag) {
        self.order.push_back(stag);
        self.members.insert(stag);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.members.remove(&oldest);
        }
    }
}

/// Hashes STags by one multiplication.
///
/// A peer can ask for any STag, but only those that we have drawn at random are stored; so it has
/// no means to make stored ones collide, and there is nothing to defend by a slower hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StagHasher(u64);

pub(super) type StagHashBuilder = BuildHasherDefault<StagHasher>;

impl StagHasher {
    /// 2^64 divided by the golden ratio, odd: multiplying by it spreads 32 bits over the upper half.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
}

impl Hasher for StagHasher {
    fn write_u32(&mut self, word: u32) {
        self.0 = self.0.wrapping_add(word.into()).wrapping_mul(Self::SPREAD);
    }

    fn write(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.write_u32(u32::from(octet));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves_first() {
        let mut quarantine = Quarantine::new(2);
        for stag in 1..=3 {
            quarantine.admit(Stag(stag));
        }
        let held: Vec<u32> = (0..5)
            .filter(|&stag| quarantine.holds(Stag(stag)))
            .collect();
        assert_eq!(held, [2, 3]);
    }

    /// STags that differ in a few bits only have hashes of their own, in the upper bits too.
    #[test]
    fn stags_are_spread() {
        use std::hash::BuildHasher;
        let hash = |stag| StagHashBuilder::default().hash_one(Stag(stag));
        let rows: [fn(u32) -> u32; 3] = [|stag| stag, |stag| stag << 22, |stag| stag << 11];
        for row in rows {
            let hashes: HashSet<u64> = (1..=1024).map(|stag| hash(row(stag))).collect();
            assert_eq!(hashes.len(), 1024);
            let tops: HashSet<u64> = hashes.iter().map(|hash| hash >> 48).collect();
            assert!(tops.len() > 900, "{}", tops.len());
        }
    }

    #[test]
    fn whatever_is_hashed_counts() {
        let hash = |octets: &[u8]| {
            let mut hasher = StagHasher::default();
            hasher.write(octets);
            hasher.finish()
        };
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[1]), hash(&[2]));
        assert_ne!(hash(&[1]), hash(&[1, 1]));
    }

    #[test]
    fn without_room_nothing_stays() {
        let mut quarantine = Quarantine::new(0);
        quarantine.admit(Stag(1));
        assert!(!quarantine.holds(Stag(1)));
        assert!(quarantine.order.is_empty() && quarantine.members.is_empty());
    }

    #[test]
    fn what_has_left_may_be_admitted_again() {
        let mut quarantine = Quarantine::new(1);
        for stag in [1, 2, 1, 2, 1] {
            quarantine.admit(Stag(stag));
        }
        assert!(quarantine.holds(Stag(1)) && !quarantine.holds(Stag(2)));
        assert_eq!(quarantine.members.len(), 1);
    }
}

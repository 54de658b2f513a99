//! The STags in force, and the one function that decides about remote access.
//!
//! [`StagTable::check`] is the only way to a [`Placement`], and a placement borrows the table. So
//! no octet can be moved on behalf of a peer without having been checked, and none after the STag
//! has been revoked: revoking needs the table for itself (RFC 5042 s6.2.2, S03).
//!
//! STags are drawn at random from all 32 bits and come back late (RFC 5042 s6.1.1, S10; RFC 5040
//! s8.1, R43), so that a peer can neither guess one nor hit the successor of one it once knew.

mod quarantine;

use std::collections::HashMap;

use thiserror::Error;

use crate::stag::{Access, AccessError, Peer, Registration, Rights, Stag};
use quarantine::{Quarantine, StagHashBuilder};

/// How often an STag is drawn before giving up. Even a table with a million entries makes a draw
/// fail only once in 4000 times, so that many failures in a row mean that the source of randomness
/// is broken.
const DRAWS_MAX: usize = 64;

/// The buffers that peers may reach. `H` is whatever leads the caller to a buffer's memory.
///
/// ```
/// use uwarp_ddp::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut table = StagTable::new(16, 16);
/// let stag = table.register(
///     Registration {
///         domain: DomainId(1),
///         scope: Scope::Domain,
///         rights: Rights::REMOTE_READ,
///         base: 0x1000,
///         len: 100,
///     },
///     "handle",
///     &mut || 0x0bad_cafe, // the operating system's randomness, in earnest
/// )?;
///
/// let peer = Peer { domain: DomainId(1), stream: StreamId(5) };
/// let place = table.check(peer, stag, 0x1010, 84, Access::Read)?;
/// assert_eq!((place.handle(), place.offset(), place.len()), (&"handle", 0x10, 84));
///
/// let refused = table.check(peer, stag, 0x1010, 85, Access::Read).map(|place| place.offset());
/// assert_eq!(refused, Err(AccessError::Bounds));
///
/// assert_eq!(table.revoke(stag), Some("handle"));
/// # Ok(())
/// # }
/// ```
///
/// A placement does not outlive its STag; this does not compile:
///
/// ```compile_fail,E0502
/// # use uwarp_ddp::*;
/// fn late(table: &mut StagTable<()>, peer: Peer, stag: Stag) -> Result<u64, AccessError> {
///     let place = table.check(peer, stag, 0, 1, Access::Write)?;
///     table.revoke(stag);
///     Ok(place.offset())
/// }
/// ```
#[derive(Debug)]
pub struct StagTable<H> {
    entries: HashMap<Stag, Entry<H>, StagHashBuilder>,
    capacity: usize,
    quarantine: Quarantine,
}

#[derive(Debug)]
struct Entry<H> {
    registration: Registration,
    handle: H,
}

impl<H> StagTable<H> {
    /// An empty table that holds at most `capacity` STags, and issues none of the last `quarantine`
    /// ones that were revoked. Memory is taken as it is needed.
    #[must_use]
    pub fn new(capacity: usize, quarantine: usize) -> Self {
        Self {
            entries: HashMap::default(),
            capacity,
            quarantine: Quarantine::new(quarantine),
        }
    }

    /// Issues an STag for a buffer (RFC 5041 s8.3, D39). `random` yields 32 unpredictable bits at
    /// each call. STag 0 is never issued.
    ///
    /// # Errors
    /// * [`RegisterError::Full`] when the table holds `capacity` STags.
    /// * [`RegisterError::OffsetWrap`] when `base + len` is 2^64 or more.
    /// * [`RegisterError::NoFreeStag`] when `random` does not come up with an unused STag.
    pub fn register(
        &mut self,
        registration: Registration,
        handle: H,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Stag, RegisterError> {
        if self.entries.len() >= self.capacity {
            return Err(RegisterError::Full);
        }
        registration
            .base
            .checked_add(registration.len)
            .ok_or(RegisterError::OffsetWrap)?;
        let stag = std::iter::repeat_with(|| Stag(random()))
            .take(DRAWS_MAX)
            .find(|&stag| self.is_free(stag))
            .ok_or(RegisterError::NoFreeStag)?;
        self.entries.insert(
            stag,
            Entry {
                registration,
                handle,
            },
        );
        Ok(stag)
    }

    fn is_free(&self, stag: Stag) -> bool {
        stag != Stag(0) && !self.entries.contains_key(&stag) && !self.quarantine.holds(stag)
    }

    /// Decides whether `peer` may access `len` octets at tagged offset `to`. Nothing else does.
    ///
    /// The order of the checks is that of [`AccessError`]: the STag is in force; it belongs to the
    /// peer's domain and stream; it grants the right; the offset does not wrap; the octets are in
    /// the buffer (RFC 5041 s7.1, s8.2, s8.3.1; D35, D38, D40; S01, S02, S04).
    ///
    /// A segment or a Read without octets must *not* be checked (RFC 5041 s5.2, D21; T9), so
    /// callers do not come here with it; `len` 0 is checked like any other length all the same.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check(
        &self,
        peer: Peer,
        stag: Stag,
        to: u64,
        len: u32,
        access: Access,
    ) -> Result<Placement<'_, H>, AccessError> {
        let Entry {
            registration,
            handle,
        } = self.associated(peer, stag)?;
        if !registration.rights.contains(access.right()) {
            return Err(AccessError::Rights);
        }
        let offset = registration.offset_of(to, len)?;
        Ok(Placement {
            handle,
            offset,
            len,
            rights: registration.rights,
        })
    }

    /// The entry of `stag`, if `peer` may use it at all.
    fn associated(&self, peer: Peer, stag: Stag) -> Result<&Entry<H>, AccessError> {
        let entry = self.entries.get(&stag).ok_or(AccessError::InvalidStag)?;
        if entry.registration.is_associated(peer) {
            Ok(entry)
        } else {
            Err(AccessError::NotAssociated)
        }
    }

    /// Revokes `stag` on behalf of `peer`, and drops its handle. When this has returned, nothing is
    /// placed through it any more.
    ///
    /// # Errors
    /// * [`AccessError::InvalidStag`], [`AccessError::NotAssociated`] as for [`check`](Self::check).
    /// * [`AccessError::CannotInvalidate`] when the STag may be used by several streams, or does not
    ///   grant [`Rights::REMOTE_INVALIDATE`](crate::Rights::REMOTE_INVALIDATE) (RFC 5042 s6.4.5, S05;
    ///   RFC 5040 s8.1, R43; T18).
    pub fn invalidate(&mut self, peer: Peer, stag: Stag) -> Result<(), AccessError> {
        if !self
            .associated(peer, stag)?
            .registration
            .is_remotely_invalidable()
        {
            return Err(AccessError::CannotInvalidate);
        }
        self.revoke(stag);
        Ok(())
    }

    /// Revokes `stag` on behalf of the local side and gives its handle back; `None` if it was not in
    /// force. When this has returned, nothing is placed through it any more (RFC 5041 s8.3.1, D40;
    /// S03).
    pub fn revoke(&mut self, stag: Stag) -> Option<H> {
        let entry = self.entries.remove(&stag)?;
        self.quarantine.admit(stag);
        Some(entry.handle)
    }

    /// What `stag` was registered with, if it is in force. This is the local side's view: for a
    /// peer's access there is [`check`](Self::check).
    #[must_use]
    pub fn get(&self, stag: Stag) -> Option<(&Registration, &H)> {
        self.entries
            .get(&stag)
            .map(|entry| (&entry.registration, &entry.handle))
    }

    /// How many STags are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no STag is in force.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Octets that a peer may access: the answer of [`StagTable::check`], which alone can make one.
///
/// ```compile_fail,E0451
/// let forged = uwarp_ddp::Placement { handle: &(), offset: 0, len: 1, rights: uwarp_ddp::Rights::all() };
/// ```
#[derive(Debug)]
#[must_use = "nothing has been moved yet"]
pub struct Placement<'t, H> {
    handle: &'t H,
    offset: u64,
    len: u32,
    rights: Rights,
}

impl<'t, H> Placement<'t, H> {
    /// What leads to the memory.
    #[must_use]
    pub const fn handle(&self) -> &'t H {
        self.handle
    }

    /// Where the octets begin, counted from the first octet of the buffer.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many octets there are. `offset() + len()` is at most the length of the buffer.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All that peers may do with the buffer, the access that was asked for among it.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }
}

/// Why a buffer was not given an STag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum RegisterError {
    /// The table holds as many STags as it may.
    #[error("the STag table is full: revoke STags that are no longer needed")]
    Full,
    /// The buffer would go past the last tagged offset.
    #[error("the base offset plus the length of the buffer exceeds 2^64 - 1")]
    OffsetWrap,
    /// Every STag that was drawn is in use, or was until recently.
    #[error("no unused STag in {DRAWS_MAX} draws: the source of randomness is broken")]
    NoFreeStag,
}

#[cfg(test)]
mod tests;

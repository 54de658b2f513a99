//! Protection domains and the regions registered in them.

use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use uwarp_ddp::{DomainId, Registration, Rights, Scope, Stag};

use crate::access::{AccessTable, Ticket};
use crate::memory::{Memory, RegionMemory, SpanError};
use crate::socket::Socket;

/// STags that a domain may have registered at a time.
const REGIONS_MAX: usize = 1 << 20;
/// Revoked STags that are kept from being issued again (RFC 5042 s6.1.1, S10).
const QUARANTINE: usize = 1 << 16;

/// A protection domain: an STag registered in it can be reached only over sockets of the same
/// domain (RFC 5042 s6.1.1, S01).
///
/// Put the sockets of peers who distrust each other into different domains, or register what each of them may reach
/// with [`register_for`](Self::register_for): a region of the domain is open to the peers of all its sockets
/// (RFC 5042 s6.3.6, S12).
///
/// Cloning it makes another handle to the same domain.
#[derive(Clone)]
pub struct Domain(Arc<Inner>);

struct Inner {
    id: DomainId,
    table: AccessTable<Arc<RegionMemory>>,
    random: Mutex<StdRng>,
    /// The process that made it.
    generation: u32,
}

impl std::fmt::Debug for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Domain")
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::new()
    }
}

impl Domain {
    /// A new domain with nothing registered.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(Arc::new(Inner {
            id: DomainId(NEXT.fetch_add(1, Ordering::Relaxed)),
            table: AccessTable::new(REGIONS_MAX, QUARANTINE),
            random: Mutex::new(StdRng::from_os_rng()),
            generation: crate::fork::generation(),
        }))
    }

    /// Registers `memory`, so that it can be the source or the sink of operations. `rights` says
    /// what peers on this domain's sockets may do with it; with [`Rights::empty`] it serves local
    /// operations only. Its tagged offsets begin at 0.
    ///
    /// All of it is open to all of them, so register what they need and no more, and clear what they may read
    /// (RFC 5042 s6.3, App. A; S11). Peers who distrust each other get regions of their own, by
    /// [`register_for`](Self::register_for) (S12).
    ///
    /// # Errors
    /// When the domain's table is full.
    pub fn register(
        &self,
        memory: impl Into<Memory>,
        rights: Rights,
    ) -> Result<Region, RegisterError> {
        self.register_scoped(memory.into(), rights, Scope::Domain)
    }

    /// As [`register`](Self::register), but only the peer of `socket` can reach it
    /// (RFC 5041 s8.2, D38). Only such an STag may be invalidated by the peer, if `rights` say so.
    ///
    /// # Errors
    /// When the domain's table is full, or `socket` is of another domain.
    pub fn register_for(
        &self,
        socket: &Socket,
        memory: impl Into<Memory>,
        rights: Rights,
    ) -> Result<Region, RegisterError> {
        if !self.is(socket.domain()) {
            return Err(RegisterError::OtherDomain);
        }
        self.register_scoped(memory.into(), rights, Scope::Stream(socket.stream_id()))
    }

    fn register_scoped(
        &self,
        memory: Memory,
        rights: Rights,
        scope: Scope,
    ) -> Result<Region, RegisterError> {
        let memory = Arc::new(RegionMemory::new(memory));
        let ticket = Ticket::none();
        self.issue(&ticket, &memory, rights, scope)?;
        Ok(Region {
            domain: self.clone(),
            memory,
            ticket,
            rights,
            scope,
        })
    }

    fn issue(
        &self,
        ticket: &Ticket,
        memory: &Arc<RegionMemory>,
        rights: Rights,
        scope: Scope,
    ) -> Result<Stag, RegisterError> {
        if !self.is_ours() {
            return Err(RegisterError::Forked);
        }
        let registration = Registration {
            domain: self.0.id,
            scope,
            rights,
            base: 0,
            len: memory.len() as u64,
        };
        let mut random = self.0.random.lock().unwrap_or_else(PoisonError::into_inner);
        self.table()
            .issue(ticket, registration, Arc::clone(memory), &mut || {
                random.next_u32()
            })
            .map_err(|_| RegisterError::TooMany)
    }

    /// Whether this process made it. In a forked child its locks may be held for ever.
    pub(crate) fn is_ours(&self) -> bool {
        crate::fork::check(self.0.generation).is_ok()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn id(&self) -> DomainId {
        self.0.id
    }

    pub(crate) fn random_stag(&self) -> Stag {
        Stag(
            self.0
                .random
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next_u32(),
        )
    }

    /// The STags in force.
    pub(crate) fn table(&self) -> &AccessTable<Arc<RegionMemory>> {
        &self.0.table
    }
}

/// Registering memory failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The domain holds as many regions as it may.
    #[error("the domain already holds {REGIONS_MAX} regions: deregister some")]
    TooMany,
    /// The socket belongs to another domain.
    #[error(
        "the socket belongs to another domain: register in the domain that the socket's options named"
    )]
    OtherDomain,
    /// The domain belongs to the parent process.
    #[error("the domain belongs to the parent process: a forked child has to make its own")]
    Forked,
}

/// A registered region of memory.
///
/// It owns its memory. While it exists a remote peer may read or write it, as its rights say, so no
/// `&[u8]` of it is ever given out: [`read_at`](Self::read_at) and [`write_at`](Self::write_at)
/// copy, and the `u64` methods are atomic. Dropping it revokes all remote access;
/// [`deregister`](Self::deregister) gives the memory back.
///
/// The memory is the region's alone, and at most one STag leads to it at a time (RFC 5042 s6.3.6, S12). How
/// to be careful with what is open to a peer is told in the [crate's documentation](crate#security).
#[derive(Debug)]
pub struct Region {
    domain: Domain,
    memory: Arc<RegionMemory>,
    ticket: Ticket,
    rights: Rights,
    scope: Scope,
}

impl Region {
    /// Length in octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether it has no octets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The STag that peers use, as long as it is in force.
    #[must_use]
    pub fn stag(&self) -> Option<Stag> {
        if !self.domain.is_ours() {
            return None;
        }
        self.domain.table().in_force(&self.ticket)
    }

    /// What a peer needs to know in order to reach the region: at most its first 2^32 - 1 octets.
    /// `None` when access has been revoked.
    #[must_use]
    pub fn remote(&self) -> Option<RemoteRegion> {
        let len = u32::try_from(self.len()).unwrap_or(u32::MAX);
        self.stag().map(|stag| RemoteRegion { stag, to: 0, len })
    }

    /// Copies octets from `offset` on into `out`.
    ///
    /// A peer that writes at the same time may leave a mixture of old and new octets; RDMA promises
    /// contents only after a later message has been delivered (RFC 5040 s5.5).
    ///
    /// # Errors
    /// When the range leaves the region.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), SpanError> {
        self.memory.read_at(offset, out)
    }

    /// Copies `octets` to `offset` and on.
    ///
    /// # Errors
    /// When the range leaves the region.
    pub fn write_at(&self, offset: u64, octets: &[u8]) -> Result<(), SpanError> {
        self.memory.write_at(offset, octets)
    }

    /// Atomic access to 64-bit words of the region, for flags and counters.
    #[must_use]
    pub fn memory(&self) -> &RegionMemory {
        &self.memory
    }

    /// A part of the region, for a gather or scatter list.
    ///
    /// # Errors
    /// When the range leaves the region, or has 2^32 octets or more.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Sge, SpanError> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        let (offset, len) = (start as u64, end.saturating_sub(start));
        self.memory.iovec(offset, len)?;
        let outside = SpanError::OutOfBounds {
            offset,
            len,
            size: self.len(),
        };
        let len = u32::try_from(len).map_err(|_| outside)?;
        Ok(Sge {
            memory: Arc::clone(&self.memory),
            offset,
            len,
            domain: self.domain.id(),
        })
    }

    /// Revokes remote access: when it has returned, no octet lands any more (RFC 5042 s6.2.2, S03).
    /// Local operations go on.
    ///
    /// Do so before you check and use what a peer has written, or it may change in between; and as soon as the peer
    /// does not need access any more (RFC 5042 s6.2, s6.3, App. A; S11):
    ///
    /// ```
    /// use uwarp::{Domain, Listener, Options, RemoteRegion, Rights, SendFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let peers = Domain::new();
    /// # let listener = Listener::bind("127.0.0.1:0", &Options::new(&peers))?;
    /// # let address = listener.local_addr();
    /// # let peer = std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// #     let place = peers.register(vec![0; RemoteRegion::WIRE_LEN], Rights::empty())?;
    /// #     let incoming = listener.accept()?;
    /// #     incoming.post_recv(0, &[place.slice(..)?])?;
    /// #     let socket = incoming.accept(&[])?;
    /// #     socket.wait(None)?;
    /// #     let mut octets = [0; RemoteRegion::WIRE_LEN];
    /// #     place.read_at(0, &mut octets)?;
    /// #     let order = peers.register(b"3 pears".to_vec(), Rights::empty())?;
    /// #     socket.post_write(1, &[order.slice(..)?], RemoteRegion::from_bytes(&octets))?;
    /// #     socket.post_send(2, &[], SendFlags::default())?;
    /// #     while socket.wait(None).is_ok() {}
    /// #     Ok(())
    /// # });
    /// let domain = Domain::new();
    /// let socket = uwarp::connect(address, &Options::new(&domain))?;
    /// // Clean, of the size that is needed, and open to this peer alone and for writing alone.
    /// let order = domain.register_for(&socket, vec![0; 7], Rights::REMOTE_WRITE)?;
    /// let place = order.remote().ok_or("revoked")?.to_bytes().to_vec();
    /// let place = domain.register(place, Rights::empty())?;
    /// socket.post_recv(1, &[])?;
    /// socket.post_send(2, &[place.slice(..)?], SendFlags::default())?;
    /// for _ in 0..2 {
    ///     assert!(socket.wait(None)?.is_success());
    /// }
    ///
    /// // The peer has said that it is done. First the door is shut, then what came is looked at.
    /// order.revoke();
    /// let mut octets = [0; 7];
    /// order.read_at(0, &mut octets)?;
    /// assert_eq!(&octets, b"3 pears");
    /// # socket.close()?;
    /// # peer.join().expect("it does not panic").map_err(|error| error.to_string())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Answers to Reads that have been framed before it may still leave, and then read the region as it
    /// is: do not put secrets into it before [`deregister`](Self::deregister) has succeeded, which says
    /// that nothing refers to the memory any more.
    pub fn revoke(&self) {
        if self.domain.is_ours() {
            self.domain.table().revoke(&self.ticket);
        }
    }

    /// Revokes the STag in force and issues a new one with the same rights: for a region that the
    /// peer has invalidated, or as a precaution.
    ///
    /// # Errors
    /// When the domain's table is full.
    pub fn renew(&self) -> Result<Stag, RegisterError> {
        self.domain
            .issue(&self.ticket, &self.memory, self.rights, self.scope)
    }

    /// Revokes remote access and gives the memory back.
    ///
    /// # Errors
    /// When posted work or an answer under way still refers to the region, which then comes back
    /// in the error, already revoked: wait for the completions and try again.
    pub fn deregister(self) -> Result<Memory, StillInUse> {
        self.revoke();
        let uses = Arc::strong_count(&self.memory) - 1;
        if uses > 0 {
            return Err(StillInUse { region: self, uses });
        }
        // Nobody can make a new reference: the STag is gone, and `self` is ours alone.
        let memory = Arc::clone(&self.memory);
        let (domain, rights, scope) = (self.domain.clone(), self.rights, self.scope);
        drop(self);
        let memory = Arc::try_unwrap(memory).map_err(|memory| StillInUse {
            region: Self {
                domain,
                memory,
                ticket: Ticket::none(),
                rights,
                scope,
            },
            uses: 1,
        })?;
        Ok(memory.into_memory().unwrap_or_else(|| Vec::new().into()))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.ticket.peek().is_some() {
            self.revoke();
        }
    }
}

/// A region cannot be deregistered yet.
#[derive(Debug, thiserror::Error)]
#[error(
    "{uses} posted operations still refer to the region: wait for their completions and try again"
)]
pub struct StillInUse {
    /// The region, whose remote access has been revoked.
    pub region: Region,
    /// How many references there are.
    pub uses: usize,
}

/// A part of a region, as an element of a gather or scatter list. It keeps the memory alive.
#[derive(Clone, Debug)]
pub struct Sge {
    pub(crate) memory: Arc<RegionMemory>,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) domain: DomainId,
}

impl Sge {
    /// Length in octets.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it has no octets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A region of the peer's, as the peer described it.
///
/// Programs exchange it in 16 octets, all numbers big-endian:
///
/// ```text
/// +----------------+----------------+--------------------------------+
/// |   STag (4)     |  length (4)    |       tagged offset (8)        |
/// +----------------+----------------+--------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteRegion {
    /// The peer's STag.
    pub stag: Stag,
    /// Tagged offset of the first octet.
    pub to: u64,
    /// Length in octets.
    pub len: u32,
}

impl RemoteRegion {
    /// Octets of the exchanged form.
    pub const WIRE_LEN: usize = 16;

    /// The exchanged form.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::WIRE_LEN] {
        let mut out = [0; Self::WIRE_LEN];
        out[..4].copy_from_slice(&self.stag.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.len.to_be_bytes());
        out[8..].copy_from_slice(&self.to.to_be_bytes());
        out
    }

    /// Reads the exchanged form. Nothing in it is trusted: the peer that it names checks every
    /// access.
    #[must_use]
    pub fn from_bytes(octets: &[u8; Self::WIRE_LEN]) -> Self {
        let [s0, s1, s2, s3, l0, l1, l2, l3, to @ ..] = *octets;
        Self {
            stag: Stag(u32::from_be_bytes([s0, s1, s2, s3])),
            len: u32::from_be_bytes([l0, l1, l2, l3]),
            to: u64::from_be_bytes(to),
        }
    }

    /// `len` octets of it from `offset` on; `None` when they leave it.
    #[must_use]
    pub fn slice(&self, offset: u32, len: u32) -> Option<Self> {
        (offset.checked_add(len)? <= self.len).then_some(())?;
        Some(Self {
            stag: self.stag,
            to: self.to.checked_add(u64::from(offset))?,
            len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchanged_form_is_fixed() {
        let region = RemoteRegion {
            stag: Stag(0x0102_0304),
            to: 0x1122_3344_5566_7788,
            len: 0x0a0b_0c0d,
        };
        let wire = region.to_bytes();
        assert_eq!(
            wire,
            [
                1, 2, 3, 4, 10, 11, 12, 13, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88
            ]
        );
        assert_eq!(RemoteRegion::from_bytes(&wire), region);
    }

    #[test]
    fn memory_comes_back_after_deregistration() {
        let domain = Domain::new();
        let region = domain
            .register(vec![1u8, 2, 3], Rights::REMOTE_READ)
            .unwrap();
        region.write_at(1, &[9]).unwrap();
        assert_eq!(region.deregister().unwrap().into_vec(), [1, 9, 3]);
    }

    #[test]
    fn a_region_in_use_is_revoked_but_stays() {
        let domain = Domain::new();
        let region = domain.register(vec![0u8; 8], Rights::REMOTE_WRITE).unwrap();
        let sge = region.slice(..).unwrap();
        let refused = region.deregister().unwrap_err();
        assert_eq!((refused.uses, refused.region.stag()), (1, None));
        drop(sge);
        assert!(refused.region.deregister().is_ok());
    }

    #[test]
    fn renewing_changes_the_stag() {
        let region = Domain::new()
            .register(vec![0u8; 8], Rights::REMOTE_WRITE)
            .unwrap();
        let first = region.stag().unwrap();
        let second = region.renew().unwrap();
        assert_ne!(first, second);
        assert_eq!(region.stag(), Some(second));
    }

    /// RFC 5042 s6.3.6 (S12): there is no second way to a buffer.
    #[test]
    fn one_stag_at_a_time_leads_to_a_buffer() {
        let domain = Domain::new();
        let region = domain.register(vec![0u8; 8], Rights::all()).unwrap();
        for _ in 0..3 {
            let before = region.stag().unwrap();
            let now = region.renew().unwrap();
            assert!(before != now && region.stag() == Some(now));
            assert_eq!(domain.table().len(), 1);
        }
        region.revoke();
        assert_eq!(domain.table().len(), 0);
    }

    #[test]
    fn slices_of_a_remote_region_stay_inside() {
        let region = RemoteRegion {
            stag: Stag(1),
            to: u64::MAX - 10,
            len: 100,
        };
        assert_eq!(
            region.slice(0, 5).map(|slice| slice.to),
            Some(u64::MAX - 10)
        );
        assert_eq!(region.slice(96, 5), None);
        assert_eq!(region.slice(u32::MAX, 2), None);
        assert_eq!(region.slice(50, 5), None);
    }
}

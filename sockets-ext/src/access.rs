//! The STags of a domain behind their lock, which is what makes revoking synchronous (RFC 5042 s6.2.2, S03).
//!
//! ```text
//!     a connection:  read lock [ check --> placement --> copy ]        the owner:  write lock [ take the STag out ]
//! ```
//!
//! A placement never leaves [`AccessTable::with`], and that holds the lock for reading until all has been done that is
//! done with it. Revoking, renewing and invalidating hold it for writing. So when one of them returns, every copy that
//! was allowed before has ended and none is allowed any more.
//!
//! Nothing here knows what the octets of a region are, so that the model checker can run it over memory of its own.

use uwarp_ddp::{
    Access, AccessError, Peer, Placement, RegisterError, Registration, Stag, StagTable,
};

#[cfg(loom)]
use loom::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicU32};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
#[cfg(not(loom))]
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicU32};

/// The STags in force; `H` leads to a region's memory.
#[derive(Debug)]
pub(crate) struct AccessTable<H> {
    table: RwLock<StagTable<H>>,
}

/// Which STag leads to a region, if one does. It is changed under the table's lock for writing alone: were it taken
/// out before, a second thread that revokes would find nothing to do, and return while the STag is still in force.
#[derive(Debug)]
pub(crate) struct Ticket(AtomicU32);

/// An STag that is never issued.
const NONE: u32 = 0;

impl Ticket {
    /// No STag leads to the region.
    pub(crate) fn none() -> Self {
        Self(AtomicU32::new(NONE))
    }

    /// The STag that was issued last, unless it has been revoked by this end. Without a lock, so it may be out of date.
    pub(crate) fn peek(&self) -> Option<Stag> {
        let stag = self.0.load(Relaxed);
        (stag != NONE).then_some(Stag(stag))
    }
}

impl<H> AccessTable<H> {
    /// An empty table; see [`StagTable::new`].
    pub(crate) fn new(capacity: usize, quarantine: usize) -> Self {
        Self {
            table: RwLock::new(StagTable::new(capacity, quarantine)),
        }
    }

    /// Lets `act` use the placement of `len` octets at tagged offset `to`, if `peer` may have it. Whoever revokes
    /// waits for the end of `act`, which therefore must not block.
    ///
    /// # Errors
    /// Those of [`StagTable::check`].
    pub(crate) fn with<T>(
        &self,
        peer: Peer,
        stag: Stag,
        to: u64,
        len: u32,
        access: Access,
        act: impl FnOnce(&Placement<'_, H>) -> T,
    ) -> Result<T, AccessError> {
        let table = self.read();
        let place = table.check(peer, stag, to, len, access)?;
        Ok(act(&place))
    }

    /// The STag that leads to the region, if it is in force; a peer may have invalidated it.
    pub(crate) fn in_force(&self, ticket: &Ticket) -> Option<Stag> {
        let table = self.read();
        ticket.peek().filter(|stag| table.get(*stag).is_some())
    }

    /// Revokes the STag of `ticket`, if it has one, and issues another; see [`StagTable::register`].
    ///
    /// # Errors
    /// Those of `register`; then the ticket has none.
    pub(crate) fn issue(
        &self,
        ticket: &Ticket,
        registration: Registration,
        handle: H,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Stag, RegisterError> {
        let mut table = self.write();
        table.revoke(Stag(ticket.0.swap(NONE, Relaxed)));
        let stag = table.register(registration, handle, random)?;
        ticket.0.store(stag.0, Relaxed);
        Ok(stag)
    }

    /// Revokes the STag of `ticket`, if it has one. When this has returned, nothing is placed through it any more.
    pub(crate) fn revoke(&self, ticket: &Ticket) {
        let mut table = self.write();
        table.revoke(Stag(ticket.0.swap(NONE, Relaxed)));
    }

    /// Revokes `stag` for `peer`. When this has returned, nothing is placed through it any more.
    ///
    /// # Errors
    /// Those of [`StagTable::invalidate`].
    pub(crate) fn invalidate(&self, peer: Peer, stag: Stag) -> Result<(), AccessError> {
        self.write().invalidate(peer, stag)
    }

    /// How many STags are in force.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    // A panic of `act` leaves the table as it was.
    fn read(&self) -> RwLockReadGuard<'_, StagTable<H>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, StagTable<H>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    //! Over every interleaving: what has been revoked is not touched any more.
    //!
    //! The region is one octet in a cell, and loom reports whoever touches it while another writes it.

    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;
    use uwarp_ddp::{DomainId, Rights, Scope, StreamId};

    const PEER: Peer = Peer {
        domain: DomainId(1),
        stream: StreamId(2),
    };

    /// An octet that several threads may read at a time, or one write.
    struct Octet(UnsafeCell<u8>);

    // SAFETY: loom watches the cell and fails the test at two accesses that are not ordered.
    unsafe impl Sync for Octet {}

    impl Octet {
        fn write(&self, value: u8) {
            // SAFETY: as above; the pointer is good while the closure runs.
            self.0.with_mut(|at| unsafe { *at = value });
        }

        fn read(&self) -> u8 {
            // SAFETY: as above.
            self.0.with(|at| unsafe { *at })
        }
    }

    struct Scene {
        table: AccessTable<Arc<Octet>>,
        ticket: Ticket,
        octet: Arc<Octet>,
    }

    impl Scene {
        /// A region that the peer may write to.
        fn new() -> (Arc<Self>, Stag) {
            let scene = Arc::new(Self {
                table: AccessTable::new(4, 4),
                ticket: Ticket::none(),
                octet: Arc::new(Octet(UnsafeCell::new(0))),
            });
            let stag = scene.issue(7);
            (scene, stag)
        }

        fn issue(&self, stag: u32) -> Stag {
            let registration = Registration {
                domain: PEER.domain,
                scope: Scope::Stream(PEER.stream),
                rights: Rights::REMOTE_WRITE | Rights::REMOTE_INVALIDATE,
                base: 0,
                len: 1,
            };
            let handle = Arc::clone(&self.octet);
            self.table
                .issue(&self.ticket, registration, handle, &mut || stag)
                .expect("there is room")
        }

        /// What a connection does with a segment of a Write; whether it was allowed.
        fn land(&self, stag: Stag) -> bool {
            let land = |place: &Placement<'_, Arc<Octet>>| place.handle().write(1);
            self.table
                .with(PEER, stag, 0, 1, Access::Write, land)
                .is_ok()
        }
    }

    fn spawn<T: 'static>(
        scene: &Arc<Scene>,
        act: impl FnOnce(&Scene) -> T + 'static,
    ) -> thread::JoinHandle<T> {
        let scene = Arc::clone(scene);
        thread::spawn(move || act(&scene))
    }

    fn model(body: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(4);
        builder.check(body);
    }

    #[test]
    fn loom_revocation_is_over_when_it_returns() {
        model(|| {
            let (scene, stag) = Scene::new();
            let connection = spawn(&scene, move |scene| (scene.land(stag), scene.land(stag)));
            scene.table.revoke(&scene.ticket);
            // The octet is ours alone: loom would report a write that is not over.
            let before = scene.octet.read();
            scene.octet.write(9);
            assert!(!scene.land(stag));
            let (first, second) = connection.join().expect("it ends");
            assert_eq!(scene.octet.read(), 9);
            assert_eq!(before == 1, first, "what was allowed has been seen");
            assert!(first || !second, "what is gone stays gone");
        });
    }

    #[test]
    fn loom_revocation_by_two_threads_is_over_for_both() {
        model(|| {
            let (scene, stag) = Scene::new();
            let connection = spawn(&scene, move |scene| scene.land(stag));
            let other = spawn(&scene, |scene| {
                scene.table.revoke(&scene.ticket);
                scene.octet.read()
            });
            scene.table.revoke(&scene.ticket);
            let seen = scene.octet.read();
            assert_eq!(other.join().expect("it ends"), seen);
            assert_eq!(connection.join().expect("it ends"), seen == 1);
        });
    }

    #[test]
    fn loom_revocation_by_renewing_shuts_the_old_way() {
        model(|| {
            let (scene, old) = Scene::new();
            let connection = spawn(&scene, move |scene| scene.land(old));
            let new = scene.issue(8);
            let seen = scene.octet.read();
            assert_eq!(scene.table.in_force(&scene.ticket), Some(new));
            assert!(!scene.land(old));
            assert_eq!(connection.join().expect("it ends"), seen == 1);
            assert!(scene.land(new));
        });
    }

    #[test]
    fn loom_revocation_while_renewing_leaves_one_stag_or_none() {
        model(|| {
            let (scene, old) = Scene::new();
            let other = spawn(&scene, |scene| scene.issue(8));
            scene.table.revoke(&scene.ticket);
            let new = other.join().expect("it ends");
            let left = scene.table.in_force(&scene.ticket);
            assert!(left.is_none() || left == Some(new));
            assert_eq!(scene.table.len(), usize::from(left.is_some()));
            assert!(!scene.land(old));
        });
    }

    #[test]
    fn loom_revocation_by_the_peer_is_over_when_it_returns() {
        model(|| {
            let (scene, stag) = Scene::new();
            let connection = spawn(&scene, move |scene| scene.land(stag));
            let owner = spawn(&scene, |scene| scene.table.revoke(&scene.ticket));
            // Whether the peer or the owner was first, it is over now.
            let _ = scene.table.invalidate(PEER, stag);
            let seen = scene.octet.read();
            assert_eq!(connection.join().expect("it ends"), seen == 1);
            owner.join().expect("it ends");
            assert_eq!(scene.table.in_force(&scene.ticket), None);
        });
    }
}

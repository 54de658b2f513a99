//! Memory that is held, counted at the allocator.
//!
//! Only what the calling thread allocates and frees within a call is counted, so that tests may run beside
//! each other.

use uwarp_stream::Config;

/// Octets of memory that a connection and its batch may hold. Nothing of it depends on what the peer does: so
/// much for each place in a queue, for each Read or atomic operation that may be outstanding either way, and for a
/// batch that is filled up to `budget` octets. (A vector that grows holds what it had and twice that for a moment.)
#[must_use]
pub fn connection_bound(config: &Config, budget: usize) -> u64 {
    let places = config.send_queue + config.receive_queue;
    let outstanding = usize::from(config.policy.ird) + usize::from(config.policy.ord) + 1;
    let segment = usize::from(uwarp_mpa::mulpdu(config.emss, false)) + SEGMENT;
    let batch = 3 * (budget + segment + WRITTEN);
    (BASE + PLACE * places + OUTSTANDING * outstanding + batch + 3 * segment) as u64
}

/// Octets for startup frames with their private data, events, and the pieces of a batch.
const BASE: usize = 80 << 10;
/// Octets for a place in the send or the receive queue, and for its completion.
const PLACE: usize = 384;
/// Octets for a Read or an atomic operation that is outstanding.
const OUTSTANDING: usize = 512;
/// Octets of an FPDU that are not its payload, with markers.
const SEGMENT: usize = 1024;
/// Octets of a batch that are kept a little longer than until they are written.
const WRITTEN: usize = 1 << 16;

/// The most octets that `work` holds at a time.
pub fn peak(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).bytes_max
}

/// An account of what somebody holds, over many calls.
#[derive(Debug, Default)]
pub struct Account {
    held: i64,
    most: i64,
}

impl Account {
    /// Does `work`, and takes what it allocates and frees into the account.
    pub fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let mut result = None;
        let info = allocation_counter::measure(|| result = Some(work()));
        self.most = self.most.max(self.held + info.bytes_max as i64);
        self.held += info.bytes_current;
        result.expect("the work is done")
    }

    /// Octets that are held now.
    #[must_use]
    pub const fn held(&self) -> i64 {
        self.held
    }

    /// The most octets that have been held at a time.
    #[must_use]
    pub const fn most(&self) -> i64 {
        self.most
    }
}

/// Does `work` for the account of nobody.
pub fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    let mut result = None;
    allocation_counter::opt_out(|| result = Some(work()));
    result.expect("the work is done")
}

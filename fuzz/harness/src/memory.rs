//! Memory that is held, counted at the allocator.
//!
//! Only what the calling thread allocates and frees within a call is counted, so that tests may run beside
//! each other.

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

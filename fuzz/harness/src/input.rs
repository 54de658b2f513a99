//! The fuzzer's octets as a source of decisions.

/// Octets that are used up from the front.
///
/// When they run out, every further decision is 0: no input is too short for a target.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `data`.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether everything is used up.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// At most `max` octets.
    pub fn take(&mut self, max: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(max.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.take(N);
        let mut array = [0; N];
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// One octet.
    pub fn u8(&mut self) -> u8 {
        let [octet] = self.array();
        octet
    }

    /// Two octets, most significant first, like everything below.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    /// Four octets.
    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    /// Eight octets.
    pub fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// Octets behind a length of their own, of one octet.
    pub fn short_slice(&mut self) -> &'a [u8] {
        let len = self.u8();
        self.take(len.into())
    }
}

//! Counters of one connection.

/// What a connection has done since it was made; all counts wrap at 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// FPDUs framed.
    pub fpdus_sent: u64,
    /// FPDUs received whole and valid.
    pub fpdus_received: u64,
    /// ULP payload octets framed, headers excluded.
    pub payload_sent: u64,
    /// ULP payload octets placed by copying from the staging buffer.
    pub payload_copied: u64,
    /// ULP payload octets that the socket delivered straight into their place.
    pub payload_direct: u64,
}

//! Structures and numbers that both languages know.
//!
//! Nothing here may change its size, its place or its number within one interface version.

/// A protection domain. 0 is never one.
pub type uwarp_domain = u64;
/// Registered memory. 0 is never one.
pub type uwarp_region = u64;
/// What a program chooses for its sockets. 0 is never one.
pub type uwarp_options = u64;
/// A completion queue that several sockets share. 0 is never one.
pub type uwarp_queue = u64;
/// A listener. 0 is never one.
pub type uwarp_listener = u64;
/// A connection that waits to be accepted or rejected. 0 is never one.
pub type uwarp_incoming = u64;
/// A TCP connection in DDPMODE. 0 is never one.
pub type uwarp_socket = u64;

/// Right of peers: the memory may be read by RDMA Reads.
pub const UWARP_REMOTE_READ: u32 = 1;
/// Right of peers: the memory may be written by RDMA Writes.
pub const UWARP_REMOTE_WRITE: u32 = 2;
/// Right of peers: the memory may be changed by atomic operations.
pub const UWARP_REMOTE_ATOMIC: u32 = 4;
/// Right of peers: the STag may be invalidated, if only one socket can use it.
pub const UWARP_REMOTE_INVALIDATE: u32 = 8;

/// Elements of a gather or scatter list at the most.
pub const UWARP_MAX_SGE: usize = 6;
/// Octets in which a region is described to the peer.
pub const UWARP_REMOTE_LEN: usize = 16;
/// Octets of Immediate Data.
pub const UWARP_IMMEDIATE_LEN: usize = 8;

/// Send: ask the peer to raise an event (Send with Solicited Event).
pub const UWARP_SOLICITED: u32 = 1;
/// Send: invalidate an STag of the peer's (Send with Invalidate).
pub const UWARP_INVALIDATE: u32 = 2;

/// Kind of a completion: a Send.
pub const UWARP_SEND: u32 = 1;
/// Kind of a completion: an RDMA Write.
pub const UWARP_WRITE: u32 = 2;
/// Kind of a completion: an RDMA Read.
pub const UWARP_READ: u32 = 3;
/// Kind of a completion: a receive.
pub const UWARP_RECEIVE: u32 = 4;
/// Kind of a completion: Immediate Data.
pub const UWARP_IMMEDIATE: u32 = 5;
/// Kind of a completion: an atomic operation.
pub const UWARP_ATOMIC: u32 = 6;

/// Completion of a receive: the peer asked for an event.
pub const UWARP_HAS_SOLICITED: u32 = 1;
/// Completion of a receive: the field `invalidated` is an STag that was invalidated by the message.
pub const UWARP_HAS_INVALIDATED: u32 = 2;
/// Completion of a receive: the field `immediate` has come, and nothing else.
pub const UWARP_HAS_IMMEDIATE: u32 = 4;
/// Completion of an atomic operation: the field `original` is the word as it was before.
pub const UWARP_HAS_ORIGINAL: u32 = 8;

/// Option, 0 or 1: a CRC32c on every FPDU; off only if both ends decline it. Default 1.
pub const UWARP_OPTION_CRC: u32 = 1;
/// Option, 0 or 1: ask the peer to send markers. Default 0.
pub const UWARP_OPTION_MARKERS: u32 = 2;
/// Option, 1 or 2: revision of the startup frames. Default 2. With 1 the peer-to-peer set-up is off.
pub const UWARP_OPTION_REVISION: u32 = 3;
/// Option, 0 or 1: as initiator, ask for the peer-to-peer set-up. Default 1.
pub const UWARP_OPTION_PEER_TO_PEER: u32 = 4;
/// Option, 0 to 16382: Reads and atomic operations of the peer's that are answered at a time. Default 32.
pub const UWARP_OPTION_IRD: u32 = 5;
/// Option, 0 to 16382: Reads and atomic operations of ours that may be outstanding. Default 32.
pub const UWARP_OPTION_ORD: u32 = 6;
/// Option, 1 to 65536: Sends, Writes, Reads and atomic operations that may be posted. Default 128.
pub const UWARP_OPTION_SEND_QUEUE: u32 = 7;
/// Option, 1 to 65536: receives that may be posted. Default 128.
pub const UWARP_OPTION_RECEIVE_QUEUE: u32 = 8;
/// Option, milliseconds, at least 1: how long the peer may take for its startup frame. Default 5000.
pub const UWARP_OPTION_STARTUP_TIMEOUT: u32 = 9;
/// Option, milliseconds, at least 1: how long closing may take. Default 5000.
pub const UWARP_OPTION_CLOSE_TIMEOUT: u32 = 10;
/// Option, 0 or 1: find a peer that is silently dead, within half a minute. Default 1.
pub const UWARP_OPTION_KEEPALIVE: u32 = 11;
/// Option, 0 or 1: stay open for sending when the peer has closed. Default 0.
pub const UWARP_OPTION_HALF_CLOSE: u32 = 12;

/// How a connection is, or ended: it lives.
pub const UWARP_END_NONE: i32 = 0;
/// How a connection ended: both ends closed in order.
pub const UWARP_END_GRACEFUL: i32 = 1;
/// How a connection ended: this end aborted it.
pub const UWARP_END_ABORTED: i32 = 2;
/// How a connection ended: the peer broke a rule.
pub const UWARP_END_FAULT: i32 = 3;
/// How a connection ended: the peer sent a Terminate.
pub const UWARP_END_TERMINATED: i32 = 4;
/// How a connection ended: TCP failed, or the peer went away.
pub const UWARP_END_LOST: i32 = 5;
/// How a connection ended: the set-up or the closing took too long.
pub const UWARP_END_TIMEOUT: i32 = 6;

/// A part of a region, for a gather or scatter list.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct uwarp_sge {
    /// The region.
    pub region: uwarp_region,
    /// Octets from the beginning of the region.
    pub offset: u64,
    /// Octets.
    pub length: u32,
    /// Not used; 0.
    pub reserved: u32,
}

/// A region of the peer's, or a part of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct uwarp_remote {
    /// Tagged offset of the first octet.
    pub to: u64,
    /// The peer's STag.
    pub stag: u32,
    /// Octets.
    pub length: u32,
}

/// The end of one posted request.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct uwarp_completion {
    /// The number that the request was posted with.
    pub id: u64,
    /// The socket's name, as uwarp_socket_id() tells it.
    pub socket_id: u64,
    /// With UWARP_HAS_ORIGINAL: the word before an atomic operation.
    pub original: u64,
    /// With UWARP_HAS_IMMEDIATE: the data.
    pub immediate: [u8; UWARP_IMMEDIATE_LEN],
    /// What it was: UWARP_SEND and so on.
    pub kind: u32,
    /// 0 for success, -ECANCELED if the connection ended before it was done, -EREMOTEIO if the peer refused it.
    pub status: i32,
    /// Octets sent, read or received; 0 unless it succeeded.
    pub length: u32,
    /// Which of the other fields have a meaning: UWARP_HAS_IMMEDIATE and so on.
    pub flags: u32,
    /// With UWARP_HAS_INVALIDATED: the STag.
    pub invalidated: u32,
    /// With -EREMOTEIO: the peer's reason: layer, type and code, in octets 2, 1 and 0.
    pub terminate: u32,
}

/// What both ends have agreed.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct uwarp_info {
    /// Revision of the startup frames.
    pub revision: u32,
    /// Whether FPDUs have a CRC.
    pub crc: u32,
    /// Whether this end sends markers.
    pub markers_sent: u32,
    /// Whether the peer does.
    pub markers_received: u32,
    /// Reads and atomic operations of the peer's that are answered at a time.
    pub ird: u32,
    /// Reads and atomic operations of ours that may be outstanding.
    pub ord: u32,
    /// Whether the set-up was peer-to-peer.
    pub peer_to_peer: u32,
    /// Octets of the peer's private data, which uwarp_private_data() gives.
    pub private_data_length: u32,
}

/// What a connection has done.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct uwarp_stats {
    /// FPDUs framed.
    pub fpdus_sent: u64,
    /// FPDUs received whole and valid.
    pub fpdus_received: u64,
    /// Octets of payload framed.
    pub payload_sent: u64,
    /// Octets of payload placed by copying.
    pub payload_copied: u64,
    /// Octets of payload that the kernel put into their place.
    pub payload_direct: u64,
}

const _: () = assert!(UWARP_MAX_SGE == uwarp::MAX_SGE);
const _: () = assert!(UWARP_REMOTE_LEN == uwarp::RemoteRegion::WIRE_LEN);
const _: () = assert!(size_of::<uwarp_sge>() == 24);
const _: () = assert!(size_of::<uwarp_remote>() == 16);
const _: () = assert!(size_of::<uwarp_completion>() == 56);
const _: () = assert!(size_of::<uwarp_info>() == 32);
const _: () = assert!(size_of::<uwarp_stats>() == 40);

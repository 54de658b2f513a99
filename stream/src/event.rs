//! What a connection tells its driver, completions apart.

use uwarp_mpa::{Agreement, PeerRequest};
use uwarp_rdmap::TerminateCode;

use crate::fault::Fault;

/// Something that happened to the connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// A responder has a valid Request: answer with [`accept`](crate::Connection::accept) or
    /// [`reject`](crate::Connection::reject).
    Request(PeerRequest),
    /// The connection is set up.
    Established(Established),
    /// Our Request was rejected, or our rejecting Reply has been queued. MPA is over, and the TCP
    /// connection belongs to the application again (RFC 5044 s7.1.2 r3, U16).
    Rejected {
        /// The peer's private data; empty when we rejected.
        private_data: Vec<u8>,
        /// The ORD that the peer says it needs (RFC 6581 s9.1, E10).
        required_ord: Option<u16>,
        /// The IRD that the peer stated (RFC 6581 s9.1, E07).
        peer_ird: Option<u16>,
    },
    /// The peer has sent its last octet; sending is still possible (RFC 5041 s6.2.1, D30).
    PeerClosed,
    /// The connection is over. Nothing follows.
    Over(End),
}

/// The terms of a connection that is set up.
#[derive(Clone, Debug)]
pub struct Established {
    /// What both ends agreed.
    pub agreement: Agreement,
    /// The peer's private data, without the words of RFC 6581.
    pub private_data: Vec<u8>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Both ends closed in order, all work done.
    Graceful,
    /// The application aborted it.
    Aborted,
    /// The peer broke a rule; it has been told if that was possible.
    Fault(Fault),
    /// The peer ended it with a Terminate.
    Terminated(TerminateCode),
    /// TCP failed, or the peer closed while an answer was owed or inside an FPDU
    /// (RFC 5044 s8, error 1).
    Lost,
    /// The peer did not finish the set-up in time (RFC 5044 s7.1.2 r10, U22).
    StartupTimeout,
    /// The peer did not take part in closing in time.
    CloseTimeout,
}

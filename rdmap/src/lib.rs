//! RDMAP: the operations of one iWARP stream (RFC 5040, RFC 7306).
//!
//! This room turns posted work requests into DDP messages and DDP messages into completions. It
//! knows opcodes, the order in which operations start, finish and answer each other, the limits on
//! outstanding Reads (IRD and ORD) and the Terminate message. It does no I/O, keeps no payload and
//! has no clock: a [`Work`] names its buffer by the driver's [`Slot`], and what has to be moved
//! comes out as a [`Target`] or a [`Payload`] for the driver to act on.
//!
//! * [`Endpoint`] is one stream's state; everything else here is what goes in or comes out of it.
//! * [`header`] and [`terminate`] are the wire forms.
//! * [`RdmapError`] lists what a peer can do wrong at this layer and below it in DDP.
//!
//! It does not know MPA: FPDUs, markers and CRCs are another room's, and the `uwarp-stream` crate
//! joins the two.
#![forbid(unsafe_code)]

pub mod atomic;
mod endpoint;
mod error;
pub mod header;
mod inbound;
mod outbound;
mod pending;
pub mod terminate;
mod work;

pub use atomic::AtomicOperation;
pub use endpoint::{Endpoint, Limits};
pub use error::{AtomicError, PostError, RdmapError};
pub use header::Opcode;
pub use inbound::{Notice, Regions, Target};
pub use outbound::{Outgoing, Payload, Request, SentToken};
pub use terminate::{Layer, Terminate, TerminateCode};
pub use work::{Completion, Operation, OperationKind, Slot, Status, Work};

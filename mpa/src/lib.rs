//! MPA: a TCP octet stream on one side, ULPDUs on the other (RFC 5044, RFC 6581).
//!
//! This room knows how an iWARP connection starts and how messages keep their boundaries on a
//! stream that has none. It is pure arithmetic over octets somebody else moves: it does no I/O, has
//! no clock, and never holds payload. What a ULPDU *means* is DDP's business, in another room.
//!
//! A connection passes through here in this order:
//!
//! | Step | Module |
//! |---|---|
//! | The two ends exchange a Request and a Reply frame | [`startup`] |
//! | and agree on CRC, markers, IRD/ORD and who speaks first | [`negotiate`] |
//! | The path decides how large a ULPDU should be | [`mulpdu`](mod@mulpdu) |
//! | Every ULPDU goes out as one FPDU | [`framer`] |
//! | and is found again, and proven intact, at the other end | [`deframer`] |
//! | Both by the same geometry of lengths, padding and markers | [`layout`] |
//!
//! What can go wrong, and the code it goes by on the wire, is in [`error`].
//!
//! # A round trip
//!
//! The sending side names the payload by range; its sink is where the octets really are. Here the
//! sink gathers them in a `Vec`, while a driver would build the list for one vectored write.
//!
//! ```
//! use std::ops::Range;
//! use uwarp_mpa::{crc, Deframed, Deframer, FpduSink, Framer};
//!
//! struct Gather<'a> { memory: &'a [u8], wire: Vec<u8> }
//!
//! impl FpduSink for Gather<'_> {
//!     fn octets(&mut self, octets: &[u8]) {
//!         self.wire.extend_from_slice(octets);
//!     }
//!     fn payload(&mut self, range: Range<u32>) {
//!         self.wire.extend_from_slice(&self.memory[range.start as usize..range.end as usize]);
//!     }
//!     fn payload_crc(&mut self, crc: u32, range: Range<u32>) -> u32 {
//!         crc::append(crc, &self.memory[range.start as usize..range.end as usize])
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut sink = Gather { memory: b"a message in memory", wire: Vec::new() };
//! let mut framer = Framer::new(true, true); // with markers, with CRC
//! framer.frame(b"header: ", 2..9, &mut sink)?;
//!
//! let mut deframer = Deframer::new(true, true);
//! let Deframed::Fpdu(fpdu) = deframer.next(&sink.wire)? else { panic!("not whole") };
//! let mut ulpdu = vec![0; fpdu.ulpdu_len()];
//! fpdu.copy_ulpdu(&sink.wire, 0..fpdu.ulpdu_len(), &mut ulpdu);
//! assert_eq!(ulpdu, b"header: message");
//!
//! deframer.consume(&fpdu);
//! assert_eq!(deframer.position(), framer.position());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod crc;
pub mod deframer;
pub mod error;
pub mod framer;
pub mod layout;
pub mod mulpdu;
pub mod negotiate;
pub mod segments;
pub mod startup;

pub use deframer::{Deframed, Deframer, Fpdu, Octets};
pub use error::{FpduError, FrameError, LlpErrorCode, LocalError, StartupError};
pub use framer::{FpduSink, Framer};
pub use layout::{FPDU_MAX, FpduLayout, Piece, Pieces, Spans, max_ulpdu_len, max_wire_len};
pub use mulpdu::{MULPDU_MAX, MULPDU_MIN, mulpdu};
pub use negotiate::{AbortReason, Agreement, Conclusion, PeerRequest, Policy, Revision};
pub use segments::{Arrivals, SegmentReceiver, Taken};
pub use startup::{
    Enhanced, Frame, FrameKind, MAX_PRIVATE_DATA, MAX_PRIVATE_DATA_ENHANCED, NO_NEGOTIATION,
    Progress, Rtr, RtrSet, StartupReader, looks_like_request,
};

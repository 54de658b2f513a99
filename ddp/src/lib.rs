//! DDP: ULPDUs on one side, placements and messages on the other (RFC 5041).
//!
//! A DDP segment says by itself where its octets belong, so that they can be put there before
//! anything is known about the segments around it. This room reads and writes the headers that say
//! so, and decides whether what they say is allowed. It does no I/O and holds no payload: answers
//! are offsets and lengths, and a driver moves the octets. How ULPDUs get across a TCP stream is
//! MPA's business, what a message means is RDMAP's; both are other rooms.
//!
//! | Question | Module |
//! |---|---|
//! | What does a segment's header say? | [`header`] |
//! | How is a message cut into segments? | [`segment`] |
//! | What is an STag, and what may a peer do with it? | [`stag`] |
//! | May *this* access to *that* buffer happen? | [`table`] |
//! | Which posted buffer takes a Send, and when is the Send whole? | [`queue`] |
//! | Which octets of a message have arrived? | [`coverage`] |
//! | Which message comes next, when numbers wrap? | [`msn`] |
//! | Which code does an error have on the wire? | [`error`] |
//!
//! Two words are kept apart throughout. A segment is *placed* when its octets are put where they
//! belong, in any order and as often as one likes. A message is *delivered* when it and everything
//! before it is complete: in order, and once (RFC 5041 s5.3, s5.4; D23, D24).
//!
//! # From one end to the other
//!
//! ```
//! use uwarp_ddp::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One end has a buffer that the peer of stream 7 may write to, and advertises its STag. A real
//! // program takes the randomness from the operating system.
//! let mut table = StagTable::new(1024, 256);
//! let mut random = || 0x5eed_1e55;
//! let buffer = Registration {
//!     domain: DomainId(1),
//!     scope: Scope::Stream(StreamId(7)),
//!     rights: Rights::REMOTE_WRITE,
//!     base: 16_384,
//!     len: 4096,
//! };
//! let stag = table.register(buffer, "my buffer", &mut random)?;
//!
//! // The other end cuts a message of 2048 octets for it into segments.
//! let mut segmenter = Segmenter::tagged(0x40, stag, 16_384, 2048)?;
//! let mut wire = [0; UNTAGGED_LEN];
//! let peer = Peer { domain: DomainId(1), stream: StreamId(7) };
//! while let Some(segment) = segmenter.next(1500) {
//!     let header_len = segment.header.encode(&mut wire);
//!     let ulpdu_len = header_len + segment.payload.len();
//!
//!     // Each of them finds its place when it arrives.
//!     let (header, header_len) = Header::parse(&wire, ulpdu_len)?;
//!     let Header::Tagged(Tagged { stag, to, .. }) = header else { panic!("it was tagged") };
//!     let len = u32::try_from(ulpdu_len - header_len)?;
//!     let place = table.check(peer, stag, to, len, Access::Write)?;
//!     assert_eq!(place.handle(), &"my buffer");
//!     assert_eq!(place.offset(), u64::from(segment.payload.start));
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod coverage;
pub mod error;
pub mod header;
pub mod msn;
pub mod queue;
pub mod segment;
pub mod stag;
pub mod table;

pub use coverage::{Coverage, TooFragmented};
pub use error::DdpError;
pub use header::{Control, Header, HeaderError, TAGGED_LEN, Tagged, UNTAGGED_LEN, Untagged};
pub use msn::SerialMsn;
pub use queue::{Delivered, Full, QueueError, UntaggedPlacement, UntaggedQueue};
pub use segment::{MULPDU_MIN, OffsetWrap, Segment, Segmenter};
pub use stag::{Access, AccessError, DomainId, Peer, Registration, Rights, Scope, Stag, StreamId};
pub use table::{Placement, RegisterError, StagTable};

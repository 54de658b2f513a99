//! Looks into packet captures: follows iWARP connections and checks them against the RFCs.
//!
//! Every TCP connection is watched for an MPA Request and Reply, from whichever end they come. Where
//! they are found, each direction goes through [`uwarp_mpa::SegmentReceiver`], which takes TCP
//! segments in any order, repeated and cut anew, and finds FPDUs as soon as they can be known. What
//! they carry is decoded in the order of the stream. Whoever watches sees no memory and no queues,
//! so only what the wire itself gives away is judged; each [`What::Violation`] names the requirement
//! that its sender has broken.
//!
//! | Question | Module |
//! |---|---|
//! | What packets are in the file, and which TCP segments? | `capture`, `packet` |
//! | Which connection is iWARP? | `inspector`, `connection`, `half`, `seek` |
//! | What do its ends agree on? | `handshake`, `startup` |
//! | Where are the FPDUs? | `open`, `fpdu`, `reading`; and `guess` where that is not known |
//! | What do they say? | `segment`, `control` |
//! | Do segments make messages? | `messages`, `spread` |
//! | Does one end act on what the other said? | `exchange`, `blame` |
//! | Which rules can be seen to be broken? | `rule` |
//! | What is told? | `record`, `text`, `summary`, `run` |
//!
//! A capture may lack something: the beginning of a connection, packets in its middle, a whole direction.
//! Octets that the other end has acknowledged and that do not come are passed by. FPDUs are then found again:
//! for certain by a marker in its known place, else by guessing. All that follows from a guess says so,
//! and does not count as a violation. What a capture lacks is never held against anybody.
//!
//! ```no_run
//! use uwarp_inspect::{Args, run, status};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let args = Args { capture: "capture.pcap".into(), json: false, quiet: true };
//! let summary = run(&args, &mut std::io::stdout())?;
//! std::process::exit(status(&summary).into());
//! # }
//! ```
#![forbid(unsafe_code)]

mod blame;
mod capture;
mod connection;
mod control;
mod exchange;
mod fpdu;
mod guess;
mod half;
mod handshake;
mod inspector;
mod messages;
mod open;
mod packet;
mod reading;
mod record;
mod rule;
mod run;
mod seek;
mod segment;
mod spread;
mod startup;
mod summary;
mod text;

pub use capture::{CaptureError, End, Packet, read};
pub use control::ControlInfo;
pub use inspector::{Inspector, Traffic};
pub use packet::{Segment, segment};
pub use record::{
    CrcState, FpduInfo, FrameInfo, HeaderInfo, MessageInfo, Record, Sender, TargetInfo, What,
    WordsInfo,
};
pub use rule::Rule;
pub use run::{Args, CLEAN, DumpError, UNREADABLE, VIOLATIONS, run, status};
pub use summary::{CrcCounts, Operations, Summary, Violations};

//! Plays the broken peer: some three hundred cases, one for each rule, against any iWARP over TCP.
//!
//! A case connects to the target, says something that is wrong (or odd, and yet right), and compares what
//! comes back with what the RFCs demand: a Terminate of a given layer, type and code with the right copies
//! of headers, a close without a word, or a connection that goes on working. Where something must
//! not be placed, a second, proper connection reads the target's memory before and after.
//!
//! What a case needs from the target, such as an STag that may only be read or a receive of known
//! length, is in the target's [`Profile`]. A [`Target`] of this crate offers all of it; other programs
//! tell as much as they have, and cases that need more are skipped, with the reason.
//!
//! Cases in which the target is the initiator are played when it calls us: as a favour, or because its
//! user makes it, see `--call-me`. After each case a proper connection shows whether the target is still
//! there; one that is not is [`Gone`](Verdict::Gone), and the run goes on when it comes back.
//!
//! ```
//! use clap::Parser;
//! use uwarp_torment::{Args, Target, run_to};
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     args: Args,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let target = Target::start("127.0.0.1:0")?;
//! let address = target.local_addr().to_string();
//! let cli = Cli::parse_from(["torment", &address, "--only", "write/unknown-stag"]);
//! let mut table = Vec::new();
//! let outcome = run_to(&cli.args, &mut table)?;
//! assert!(outcome.is_clean());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod bench;
mod callers;
mod case;
mod cases;
mod codes;
mod conn;
mod offer;
mod play;
mod profile;
mod reach;
mod report;
mod runner;
mod seen;
mod target;
mod wire;

pub use offer::ProfileError;
pub use profile::{FavourKind, Place, Profile, RegionKind};
pub use report::{Outcome, Row, Verdict};
pub use runner::{Args, RunError, TargetArgs, run, run_target, run_to};
pub use target::{Target, TargetError};

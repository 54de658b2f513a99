//! The client, whose memory is read and written.

use uwarp::{Domain, Rights};

use super::link::{Link, region};
use super::{Args, pattern};
use crate::error::Failure;
use crate::report::say;
use crate::session::{ConnectError, SessionError};

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let peer = args.socket_address().to_string();
    let domain = Domain::new();
    let failed = |error: SessionError| Failure::session(format!("cannot ping {peer}"), &error);
    let mut link = Link::connect(args, &domain).map_err(|error| match error {
        ConnectError::Setup(error) => Failure::setup(&peer, &error),
        ConnectError::Session(error) => failed(error),
    })?;
    let source = region(&domain, args.size as usize, Rights::REMOTE_READ).map_err(failed)?;
    let sink = region(&domain, args.size as usize, Rights::REMOTE_WRITE).map_err(failed)?;
    let mut arrived = vec![0; args.size as usize];
    let pings = args.count.unwrap_or(u32::MAX);
    for ping in 0..pings {
        let mut there_and_back = || {
            source.write_at(0, &pattern::data(ping, args.size))?;
            link.say(&source, args.size)?;
            link.message()?.ok_or(SessionError::PeerClosed)?;
            link.say(&sink, args.size)?;
            link.message()?.ok_or(SessionError::PeerClosed)?;
            sink.read_at(0, &mut arrived)?;
            Ok(())
        };
        there_and_back().map_err(failed)?;
        if args.validate
            && let Some(difference) = pattern::difference(ping, &arrived)
        {
            return Err(Failure::new(
                format!("cannot ping {peer}"),
                difference,
                "one of the two ends, or the way between them, spoils data",
            ));
        }
        if args.verbose {
            say(format_args!("ping data: {}", pattern::text(&arrived)))?;
        }
    }
    link.close().map_err(failed)?;
    say(format_args!(
        "{peer}: {pings} pings of {} octets{}",
        args.size,
        if args.validate { ", all good" } else { "" }
    ))
}

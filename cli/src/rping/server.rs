//! The server, which reads the client's data and writes it back.

use uwarp::{Domain, Listener, Rights};

use super::link::{Link, region};
use super::{Args, BUFFER, pattern};
use crate::error::Failure;
use crate::report::{complain, say};
use crate::session::{ConnectError, SessionError};

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let domain = Domain::new();
    let address = args.socket_address();
    let options = args.terms.terms().options(&domain);
    let listener = Listener::bind(address, &options).map_err(|error| {
        Failure::new(
            format!("cannot listen on {address}"),
            error,
            "choose another address or port",
        )
    })?;
    say(format_args!("listening on {}", listener.local_addr()))?;
    loop {
        let incoming = listener.accept().map_err(|error| {
            Failure::new("cannot accept", error, "see whether the network is up")
        })?;
        let client = incoming.peer_addr();
        let name = client.map_or_else(|| "somebody".to_owned(), |client| client.to_string());
        let outcome = Link::accept(args, &domain, incoming)
            .map_err(|error| match error {
                ConnectError::Setup(error) => Failure::setup(&name, &error),
                ConnectError::Session(error) => {
                    Failure::session(format!("cannot serve {name}"), &error)
                }
            })
            .and_then(|link| serve(args, &domain, link, &name));
        match outcome {
            Err(failure) if args.persistent => complain(&failure),
            outcome if !args.persistent => return outcome,
            _ => {}
        }
    }
}

/// Serves a client until it closes the connection.
fn serve(args: &Args, domain: &Domain, mut link: Link, name: &str) -> Result<(), Failure> {
    let what = || format!("cannot serve {name}");
    let failed = |error: SessionError| Failure::session(what(), &error);
    let buffer = region(domain, BUFFER as usize, Rights::empty()).map_err(failed)?;
    let mut pings = 0;
    while let Some(source) = link.message().map_err(failed)? {
        if source.len > BUFFER {
            return Err(failed(SessionError::Unexpected("the data is too long")));
        }
        let mut data = vec![0; source.len as usize];
        link.read(&buffer, source)
            .and_then(|()| Ok(buffer.read_at(0, &mut data)?))
            .map_err(failed)?;
        if args.verbose {
            say(format_args!("server ping data: {}", pattern::text(&data)))?;
        }
        if args.validate
            && let Some(difference) = pattern::difference(pings, &data)
        {
            let remedy = "one of the two ends, or the way between them, spoils data";
            return Err(Failure::new(what(), difference, remedy));
        }
        let mut answer = || {
            link.go_ahead()?;
            let sink = link.message()?.ok_or(SessionError::PeerClosed)?;
            link.write(&buffer, source.len, sink)?;
            link.go_ahead()
        };
        answer().map_err(failed)?;
        pings += 1;
    }
    if let Some(count) = args.count.filter(|&count| count != pings) {
        let cause = format!("it has sent {pings} pings instead of {count}");
        return Err(Failure::new(what(), cause, "start it with the same -C"));
    }
    say(format_args!("{name}: {pings} pings"))
}

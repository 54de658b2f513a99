//! `uwarp serve`: files of a directory for others.

mod client;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use uwarp::{Domain, Incoming, Listener};

use crate::args::ServeArgs;
use crate::echo;
use crate::error::{Failure, file_remedy};
use crate::report::say;
use crate::session::{ConnectError, Session};
use crate::store::Directory;
use crate::terms::Terms;
use crate::wire::{Hello, Purpose, refusal_to_private_data};

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let server = Server::bind(Config {
        directory: Some(&args.directory),
        listen: args.listen,
        writable: args.writable,
        clients: args.clients,
        terms: args.terms.terms(),
    })?;
    let access = if args.writable {
        "can be read and written"
    } else {
        "can only be read"
    };
    say(format_args!(
        "listening on {}; {} {access}",
        server.address(),
        args.directory.display()
    ))?;
    server.run()
}

/// What a server is to do.
#[derive(Debug)]
pub(crate) struct Config<'a> {
    /// Without one, files are neither put nor got.
    pub(crate) directory: Option<&'a Path>,
    pub(crate) listen: SocketAddr,
    pub(crate) writable: bool,
    pub(crate) clients: u32,
    pub(crate) terms: Terms,
}

/// A server, ready to accept.
#[derive(Debug)]
pub(crate) struct Server {
    listener: Listener,
    shared: Arc<Shared>,
}

/// What the threads that serve the clients share.
#[derive(Debug)]
struct Shared {
    domain: Domain,
    directory: Option<Directory>,
    writable: bool,
    clients_max: u32,
    clients: AtomicU32,
    terms: Terms,
}

/// A client's place among those that are served at a time.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let more = |clients| (clients < shared.clients_max).then_some(clients + 1);
        shared
            .clients
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Server {
    pub(crate) fn bind(config: Config<'_>) -> Result<Self, Failure> {
        let open = |path: &Path| {
            let what = || format!("cannot serve {}", path.display());
            Directory::open(path).map_err(|error| Failure::file(what(), &error))
        };
        let directory = config.directory.map(open).transpose()?;
        let domain = Domain::new();
        let options = config.terms.options(&domain);
        let listener = Listener::bind(config.listen, &options).map_err(|error| {
            let cause = match error {
                uwarp::Error::Listen { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            let remedy = "choose another address with --listen, or stop what listens there";
            Failure::new(format!("cannot listen on {}", config.listen), cause, remedy)
        })?;
        let shared = Arc::new(Shared {
            domain,
            directory,
            writable: config.writable,
            clients_max: config.clients,
            clients: AtomicU32::new(0),
            terms: config.terms,
        });
        Ok(Self { listener, shared })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves for ever.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        loop {
            let incoming = self.listener.accept().map_err(|error| {
                Failure::new("cannot accept clients", error, "start the server anew")
            })?;
            self.welcome(incoming);
        }
    }

    /// Gives a client a thread of its own, or turns it away.
    fn welcome(&self, incoming: Incoming) {
        let client = incoming
            .peer_addr()
            .map_or_else(|| "a client".to_owned(), |address| address.to_string());
        let hello = match Hello::from_private_data(incoming.private_data()) {
            Ok(hello) => hello,
            Err(error) => return turn_away(incoming, &client, &error.to_string()),
        };
        let Some(place) = Place::take(&self.shared) else {
            let reason = format!("it already serves {} clients", self.shared.clients_max);
            return turn_away(incoming, &client, &reason);
        };
        let thread = std::thread::Builder::new().name("client".to_owned());
        let serve = move || {
            match place.0.serve(incoming, hello.purpose) {
                Ok(()) => tracing::debug!(client, "done"),
                Err(error) => tracing::warn!(client, "{error}"),
            }
            drop(place);
        };
        if let Err(error) = thread.spawn(serve) {
            tracing::error!(%error, "cannot start a thread: {}", file_remedy(error.kind()));
        }
    }
}

fn turn_away(incoming: Incoming, client: &str, reason: &str) {
    tracing::warn!(client, "turned away: {reason}");
    if let Err(error) = incoming.reject(&refusal_to_private_data(reason), None) {
        tracing::debug!(client, %error, "it did not wait for the answer");
    }
}

impl Shared {
    fn serve(&self, incoming: Incoming, purpose: Purpose) -> Result<(), ConnectError> {
        let patience = self.terms.patience;
        match purpose {
            Purpose::Echo { size, place } => {
                echo::serve(incoming, &self.domain, size, place, patience)
            }
            Purpose::Files => {
                let mut session = Session::accept(incoming, &self.domain, patience)?;
                client::serve(self, &mut session)?;
                session.leave();
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! `uwarp put`: a file goes to a server.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use crate::args::PutArgs;
use crate::content::Source;
use crate::error::Failure;
use crate::report::{progress, say};
use crate::session::{ConnectError, Session};
use crate::terms::Terms;
use crate::transfer::{Moved, push};
use crate::units;

pub(crate) fn run(args: &PutArgs) -> Result<(), Failure> {
    let what = format!("cannot put {}", args.file.display());
    let mut source = open(&args.file)?;
    let name = match (&args.name, args.file.file_name().and_then(OsStr::to_str)) {
        (Some(name), _) => name,
        (None, Some(name)) => name,
        (None, None) => {
            let remedy = "say --name, with a name that is valid Unicode";
            return Err(Failure::new(what, "it has no name for the server", remedy));
        }
    };
    let terms = args.terms.terms();
    let mut session = connect(&args.peer, &terms)?;
    let bar = progress("put", source.size());
    let moved = push(&mut session, name, &mut source, terms.patience, &bar)
        .map_err(|error| Failure::new(&what, &error, error.remedy()))?;
    drop(bar);
    session.leave();
    say(format_args!("put {name}: {}", summary(&moved)))
}

/// Opens a regular file to be sent.
pub(crate) fn open(path: &Path) -> Result<Source, Failure> {
    let what = format!("cannot read {}", path.display());
    let metadata = path
        .metadata()
        .map_err(|error| Failure::file(&what, &error))?;
    if !metadata.is_file() {
        return Err(Failure::new(
            what,
            "it is no regular file",
            "name a regular file",
        ));
    }
    File::open(path)
        .and_then(Source::file)
        .map_err(|error| Failure::file(what, &error))
}

/// Connects to a server of files.
pub(crate) fn connect(peer: &str, terms: &Terms) -> Result<Session, Failure> {
    Session::connect(peer, terms).map_err(|error| match error {
        ConnectError::Setup(error) => Failure::setup(peer, &error),
        ConnectError::Session(error) => Failure::session(format!("cannot talk to {peer}"), &error),
    })
}

/// What was moved, how fast, and its digest.
pub(crate) fn summary(moved: &Moved) -> String {
    format!(
        "{} in {:.2} s, {}, blake3 {}",
        units::size(moved.octets),
        moved.time.as_secs_f64(),
        units::rate(moved.octets, moved.time),
        moved.digest
    )
}

//! `uwarp get`: a file comes from a server.

use std::path::{Path, PathBuf};

use crate::args::GetArgs;
use crate::content::Sink;
use crate::error::Failure;
use crate::put::{connect, summary};
use crate::report::{progress, say};
use crate::store::Directory;
use crate::transfer::pull;
use crate::wire::plain;

pub(crate) fn run(args: &GetArgs) -> Result<(), Failure> {
    let what = format!("cannot get {}", plain(&args.name));
    let output = output(args);
    let Some(file_name) = output.file_name() else {
        let remedy = "say --output, with the path of a file";
        return Err(Failure::new(
            what,
            "there is no name to store it under",
            remedy,
        ));
    };
    let cannot_store = |error| Failure::file(format!("cannot store {}", output.display()), &error);
    let directory = Directory::open(parent(&output)).map_err(cannot_store)?;
    directory.check_target(file_name).map_err(cannot_store)?;
    let partial = directory.begin().map_err(cannot_store)?;

    let terms = args.terms.terms();
    let mut session = connect(&args.peer, &terms)?;
    let bar = progress("get", 0);
    let mut sink = Sink::file(partial.file());
    let moved = pull(&mut session, &args.name, &mut sink, terms.patience, &bar)
        .map_err(|error| Failure::new(&what, &error, error.remedy()))?;
    partial.publish(file_name).map_err(cannot_store)?;
    drop(bar);
    session.leave();
    say(format_args!(
        "got {}: {}",
        plain(&args.name),
        summary(&moved)
    ))
}

fn output(args: &GetArgs) -> PathBuf {
    match &args.output {
        Some(output) => output.clone(),
        // Of a name that leads elsewhere only the end is used; the server refuses it anyway.
        None => PathBuf::from(Path::new(&args.name).file_name().unwrap_or_default()),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

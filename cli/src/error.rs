//! What the user is told when something fails: what was tried, why it failed, what to do.

use std::fmt;
use std::io;

use uwarp::EndText;

use crate::session::SessionError;

/// A failure as the user sees it, in one line: `<what>: <cause>; <remedy>`.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    cause: String,
    remedy: String,
}

impl Failure {
    pub(crate) fn new(
        what: impl Into<String>,
        cause: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            cause: cause.to_string(),
            remedy: remedy.into(),
        }
    }

    /// A file operation failed.
    pub(crate) fn file(what: impl Into<String>, error: &io::Error) -> Self {
        Self::new(what, error, file_remedy(error.kind()))
    }

    /// The connection with the peer failed, or what it said.
    pub(crate) fn session(what: impl Into<String>, error: &SessionError) -> Self {
        Self::new(what, error, error.remedy())
    }

    /// A connection could not be set up.
    pub(crate) fn setup(peer: &str, error: &uwarp::Error) -> Self {
        let what = format!("cannot connect to {peer}");
        let cause = setup_cause(error);
        Self::new(what, cause, setup_remedy(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.cause, self.remedy)
    }
}

fn setup_cause(error: &uwarp::Error) -> String {
    match error {
        uwarp::Error::Connect { source, .. } => source.to_string(),
        uwarp::Error::Rejected { private_data, .. } => crate::wire::refusal(private_data),
        uwarp::Error::Setup(end) => EndText(end).to_string(),
        other => other.to_string(),
    }
}

fn setup_remedy(error: &uwarp::Error) -> &'static str {
    match error {
        uwarp::Error::Connect { source, .. } => match source.kind() {
            io::ErrorKind::ConnectionRefused => {
                "nobody listens there: check the port, and that `uwarp serve` runs"
            }
            io::ErrorKind::TimedOut => "check the address and the firewall",
            _ => "check the name or address of the peer, and the network",
        },
        uwarp::Error::Rejected { .. } => {
            "look at what the server allows, or try again when it is less busy"
        }
        uwarp::Error::SetupTimeout(_)
        | uwarp::Error::NotMpa(_)
        | uwarp::Error::SetupClosed
        | uwarp::Error::Setup(_) => "check that the port is that of `uwarp serve`",
        _ => "this machine may be short of descriptors or memory",
    }
}

pub(crate) fn file_remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "check the permissions of the file and its directory",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space",
        io::ErrorKind::UnexpectedEof => {
            "the file became shorter while it was read: try again when nobody writes to it"
        }
        io::ErrorKind::ReadOnlyFilesystem => "choose a directory that can be written to",
        io::ErrorKind::BrokenPipe => "whoever read the output has gone away",
        _ => "check the file and its directory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_cause_and_remedy() {
        let failure = Failure::file(
            "cannot read a.txt",
            &io::Error::from(io::ErrorKind::NotFound),
        );
        assert_eq!(
            failure.to_string(),
            "cannot read a.txt: entity not found; check the path"
        );
    }
}

//! Where a target's profile comes from.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use uwarp_mpa::Frame;

use crate::bench::Bench;
use crate::profile::Profile;

/// Where the profile comes from.
#[derive(Clone, Debug)]
pub(crate) enum Offer {
    /// From the private data of the target's Reply, or from nowhere.
    Asked,
    /// From a file that is read once.
    File(PathBuf),
    /// From a command that is run before the first case and after each, with the case's name in
    /// `TORMENT_CASE`.
    Command(String),
}

/// The profile cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the profile {origin}: {why}")]
pub struct ProfileError {
    /// The file or the command.
    origin: String,
    why: String,
}

impl Offer {
    /// The profile at the beginning; `reply` is what the target said to a proper Request. A target that
    /// does not tell a profile has an empty one.
    pub(crate) fn first(
        &self,
        bench: &mut Bench,
        reply: Option<&Frame>,
    ) -> Result<(), ProfileError> {
        match self {
            Self::Asked => {
                bench.profile = reply
                    .and_then(|reply| Profile::decode(reply.user_data()))
                    .filter(|profile| profile.check().is_ok())
                    .unwrap_or_default();
            }
            Self::File(path) => {
                let failed = |why: String| failed(path.display(), why);
                let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
                bench.profile = parse(&text).map_err(failed)?;
            }
            Self::Command(_) => self.again(bench)?,
        }
        Ok(())
    }

    /// The profile anew, if it comes from a command.
    pub(crate) fn again(&self, bench: &mut Bench) -> Result<(), ProfileError> {
        let Self::Command(command) = self else {
            return Ok(());
        };
        let failed = |why: String| failed(command, why);
        let output = Command::new("sh")
            .args(["-c", command])
            .env("TORMENT_CASE", &bench.case)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(output.status.to_string()));
        }
        bench.profile = parse(&output.stdout).map_err(failed)?;
        Ok(())
    }
}

fn failed(origin: impl std::fmt::Display, why: String) -> ProfileError {
    ProfileError {
        origin: origin.to_string(),
        why,
    }
}

fn parse(text: &[u8]) -> Result<Profile, String> {
    let profile: Profile = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    profile.check()?;
    Ok(profile)
}

//! Names of files that a peer may ask for: one component, visible, and nothing but a regular file.

/// Octets of a file's name at the most, as Linux file systems have it.
const NAME_MAX: usize = 255;

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name has {0} octets, but at most {NAME_MAX} are allowed")]
    TooLong(usize),
    #[error("the name has a '/': only files right in the served directory can be named")]
    Separator,
    #[error("the name begins with a dot: hidden files and the directories . and .. are not served")]
    Hidden,
    #[error("the name has a control character or NUL in it")]
    Control,
}

/// A name that cannot lead out of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SafeName<'a>(&'a str);

impl<'a> SafeName<'a> {
    /// Checks a name that a peer sent.
    pub(crate) fn new(name: &'a str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_MAX {
            return Err(NameError::TooLong(name.len()));
        }
        if name.contains('/') {
            return Err(NameError::Separator);
        }
        if name.starts_with('.') {
            return Err(NameError::Hidden);
        }
        if name.contains(char::is_control) {
            return Err(NameError::Control);
        }
        Ok(Self(name))
    }

    pub(crate) const fn as_str(&self) -> &'a str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_taken() {
        for name in ["a", "a.b", "two words", "a..", "-", "~"] {
            assert_eq!(SafeName::new(name).unwrap().as_str(), name);
        }
        let longest = "\u{e9}x".repeat(85);
        assert!(SafeName::new(&longest).is_ok());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        for (name, error) in [
            ("", NameError::Empty),
            (long.as_str(), NameError::TooLong(256)),
            ("/etc/passwd", NameError::Separator),
            ("../x", NameError::Separator),
            ("a/../../x", NameError::Separator),
            ("a/", NameError::Separator),
            ("..", NameError::Hidden),
            (".", NameError::Hidden),
            (".uwarp-1", NameError::Hidden),
            ("a\0b", NameError::Control),
            ("a\nb", NameError::Control),
        ] {
            assert_eq!(SafeName::new(name), Err(error), "{name:?}");
        }
    }
}

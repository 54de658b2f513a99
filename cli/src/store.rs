//! A directory whose files are read, and that gets new files only whole.
//!
//! A file that is being received has no name at all where the file system can do that (O_TMPFILE), and else a
//! hidden one, which is removed when it is given up. It gets its name in one step, by a rename, once its
//! octets have reached the disk. All names are looked up relative to the directory as it was opened, and
//! symbolic links are not followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// A directory, held open.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

impl Directory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    /// Opens a regular file of the directory for reading.
    pub(crate) fn file(&self, name: &OsStr) -> io::Result<File> {
        // A named pipe would block without O_NONBLOCK.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ELOOP) => return Err(not_regular()),
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(not_regular())
        }
    }

    /// Whether `name` is free, or that of a regular file, which a new one may replace.
    pub(crate) fn check_target(&self, name: &OsStr) -> io::Result<()> {
        match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status)
                if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG =>
            {
                Ok(())
            }
            Ok(_) => Err(not_regular()),
            Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a new file.
    pub(crate) fn begin(&self) -> io::Result<Partial<'_>> {
        match self.begin_nameless() {
            Some(partial) => Ok(partial),
            None => self.begin_hidden(),
        }
    }

    /// A file without a name, if the file system has such files, and /proc is there to name it later.
    fn begin_nameless(&self) -> Option<Partial<'_>> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_TMPFILE;
        let file = openat(&self.0, ".", flags, NEW_FILE).ok()?;
        let partial = Partial::new(self, file, None);
        Path::new(&partial.own_path()).exists().then_some(partial)
    }

    fn begin_hidden(&self) -> io::Result<Partial<'_>> {
        let hidden = hidden_name();
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = openat(&self.0, hidden.as_str(), flags, NEW_FILE)?;
        Ok(Partial::new(self, file, Some(hidden)))
    }
}

/// The mode of a new file, less what the umask takes away.
const NEW_FILE: Mode = Mode::from_bits_truncate(0o666);

fn not_regular() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is no regular file (symbolic links are not followed)",
    )
}

/// Such names can be neither put nor got: they begin with a dot.
fn hidden_name() -> String {
    format!(".uwarp-partial-{:016x}", StdRng::from_os_rng().next_u64())
}

/// A new file that does not have its name yet. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Partial<'a> {
    directory: &'a Directory,
    file: File,
    hidden: Option<String>,
}

impl<'a> Partial<'a> {
    fn new(directory: &'a Directory, file: OwnedFd, hidden: Option<String>) -> Self {
        Self {
            directory,
            file: File::from(file),
            hidden,
        }
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    fn own_path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    /// Brings it to the disk and gives it its name, in place of what had that name.
    pub(crate) fn publish(mut self, name: &OsStr) -> io::Result<()> {
        self.file.sync_all()?;
        let directory = &self.directory.0;
        self.directory.check_target(name)?;
        let hidden = match self.hidden.take() {
            Some(hidden) => hidden,
            None => self.link()?,
        };
        if let Err(error) = renameat(directory, hidden.as_str(), directory, name) {
            self.hidden = Some(hidden);
            return Err(error.into());
        }
        Ok(fsync(directory)?)
    }

    /// Gives a nameless file a hidden name: unlike a rename, a link cannot replace a file.
    fn link(&self) -> io::Result<String> {
        let hidden = hidden_name();
        linkat(
            AT_FDCWD,
            self.own_path().as_str(),
            &self.directory.0,
            hidden.as_str(),
            AtFlags::AT_SYMLINK_FOLLOW,
        )?;
        Ok(hidden)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            // There is nobody to tell if it cannot be removed.
            let _ = unlinkat(
                &self.directory.0,
                hidden.as_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_under_its_name_only_when_published() {
        let path = tempfile::tempdir().unwrap();
        let directory = Directory::open(path.path()).unwrap();
        std::fs::write(path.path().join("new"), b"old").unwrap();
        let begin = [Directory::begin, Directory::begin_hidden];
        for (begin, contents) in begin.into_iter().zip(["nameless", "hidden"]) {
            let before = std::fs::read(path.path().join("new")).unwrap();
            let partial = begin(&directory).unwrap();
            partial.file().write_all(contents.as_bytes()).unwrap();
            assert_eq!(std::fs::read(path.path().join("new")).unwrap(), before);
            partial.publish(OsStr::new("new")).unwrap();
            assert_eq!(names(path.path()), ["new"]);
            let mut text = String::new();
            let mut file = directory.file(OsStr::new("new")).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, contents);
        }
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let path = tempfile::tempdir().unwrap();
        let directory = Directory::open(path.path()).unwrap();
        let hidden = directory.begin_hidden().unwrap();
        assert_eq!(names(path.path()).len(), 1);
        drop(hidden);
        assert_eq!(names(path.path()), [""; 0]);
        drop(directory.begin().unwrap());
        assert_eq!(names(path.path()), [""; 0]);
    }

    #[test]
    fn a_failed_publication_leaves_nothing() {
        let path = tempfile::tempdir().unwrap();
        std::fs::create_dir(path.path().join("taken")).unwrap();
        let directory = Directory::open(path.path()).unwrap();
        for partial in [
            directory.begin().unwrap(),
            directory.begin_hidden().unwrap(),
        ] {
            assert!(partial.publish(OsStr::new("taken")).is_err());
        }
        assert_eq!(names(path.path()), ["taken"]);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let path = tempfile::tempdir().unwrap();
        let directory = Directory::open(path.path()).unwrap();
        std::fs::write(path.path().join("target"), b"x").unwrap();
        symlink("target", path.path().join("link")).unwrap();
        std::fs::create_dir(path.path().join("directory")).unwrap();
        nix::unistd::mkfifo(&path.path().join("pipe"), Mode::S_IRWXU).unwrap();
        for name in ["link", "directory", "pipe"] {
            let error = directory.file(OsStr::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            assert!(directory.check_target(OsStr::new(name)).is_err());
        }
        assert!(directory.check_target(OsStr::new("target")).is_ok());
        assert!(directory.check_target(OsStr::new("free")).is_ok());
        let missing = directory.file(OsStr::new("free")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}

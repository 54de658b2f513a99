//! Where octets come from and where they go: files, and data made up for the demo.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Octets to be sent, of a known number.
#[derive(Debug)]
pub(crate) enum Source {
    /// The octets of a file.
    File {
        /// The file, read from where it stands.
        file: File,
        /// Its size when it was opened.
        size: u64,
    },
    /// Data made up for the demo.
    Generated {
        /// Makes it.
        generator: Generator,
        /// How many octets.
        size: u64,
    },
}

impl Source {
    pub(crate) fn file(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::File { file, size })
    }

    pub(crate) fn generated(size: u64) -> Self {
        Self::Generated {
            generator: Generator::new(),
            size,
        }
    }

    pub(crate) const fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Generated { size, .. } => *size,
        }
    }

    /// Gives the next octets.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File { file, .. } => file.read_exact(buffer),
            Self::Generated { generator, .. } => {
                generator.fill(buffer);
                Ok(())
            }
        }
    }
}

/// Length of the noise that generated data consists of.
const NOISE: usize = 64 * 1024;

/// Makes the same data each time: noise over and over, each time with its number in front, so that no two
/// blocks are equal and making it costs little more than a copy.
#[derive(Debug)]
pub(crate) struct Generator {
    noise: Vec<u8>,
    position: u64,
}

impl Generator {
    fn new() -> Self {
        let mut noise = vec![0; NOISE];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        Self { noise, position: 0 }
    }

    fn fill(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let number = self.position / NOISE as u64;
            self.noise[..8].copy_from_slice(&number.to_be_bytes());
            let start = (self.position % NOISE as u64) as usize;
            let len = buffer.len().min(NOISE - start);
            let (now, later) = buffer.split_at_mut(len);
            now.copy_from_slice(&self.noise[start..start + len]);
            self.position += len as u64;
            buffer = later;
        }
    }
}

/// A run of zeros of this length is left out of a file.
const HOLE: usize = 64 * 1024;

static ZEROS: [u8; HOLE] = [0; HOLE];

/// Takes octets that have arrived.
#[derive(Debug)]
pub(crate) enum Sink<'a> {
    /// Writes them to a new file, with holes where there are only zeros.
    File {
        /// The file, empty at first.
        file: &'a File,
        /// Octets taken so far.
        taken: u64,
    },
    /// Lets them go; somebody else looks at the digest.
    Discard,
}

impl<'a> Sink<'a> {
    pub(crate) const fn file(file: &'a File) -> Self {
        Self::File { file, taken: 0 }
    }

    pub(crate) fn take(&mut self, octets: &[u8]) -> io::Result<()> {
        let Self::File { file, taken } = self else {
            return Ok(());
        };
        for piece in octets.chunks(HOLE) {
            if *piece != ZEROS[..piece.len()] {
                file.write_all_at(piece, *taken)?;
            }
            *taken += piece.len() as u64;
        }
        Ok(())
    }

    /// All octets have been taken: holes at the end become part of the file.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::File { file, taken } => file.set_len(*taken),
            Self::Discard => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn generated_data_is_the_same_at_any_cut_and_has_no_equal_blocks() {
        let mut whole = vec![0; 3 * NOISE];
        Source::generated(whole.len() as u64)
            .fill(&mut whole)
            .unwrap();
        let mut again = Source::generated(whole.len() as u64);
        let mut pieces = vec![0; whole.len()];
        for piece in pieces.chunks_mut(NOISE - 3) {
            again.fill(piece).unwrap();
        }
        assert!(whole == pieces);
        assert_ne!(whole[..NOISE], whole[NOISE..2 * NOISE]);
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), b"four").unwrap();
        let mut source = Source::file(File::open(path.path()).unwrap()).unwrap();
        assert_eq!(source.size(), 4);
        path.as_file().set_len(2).unwrap();
        let error = source.fill(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn holes_come_back_as_zeros_and_take_no_room() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut sink = Sink::file(path.as_file());
        let mut octets = vec![0; 16 * HOLE + 5];
        octets[3 * HOLE] = 1;
        for piece in octets.chunks(4 * HOLE) {
            sink.take(piece).unwrap();
        }
        sink.finish().unwrap();
        assert_eq!(std::fs::read(path.path()).unwrap(), octets);
        assert!(path.as_file().metadata().unwrap().blocks() * 512 < octets.len() as u64 / 2);
    }
}

//! Where octets come from and where they go: files, and data made up for the demo.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// Octets to be sent, of a known number.
#[derive(Debug)]
pub(crate) enum Source {
    /// The octets of a file, without reading its holes.
    File {
        /// The file.
        file: File,
        /// Its size when it was opened.
        size: u64,
        /// How far it has been read.
        position: u64,
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
        Ok(Self::File {
            file,
            size,
            position: 0,
        })
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
            Self::File { file, position, .. } => {
                read_sparse(file, *position, buffer)?;
                *position += buffer.len() as u64;
                Ok(())
            }
            Self::Generated { generator, .. } => {
                generator.fill(buffer);
                Ok(())
            }
        }
    }
}

/// What comes next in a file.
enum Extent {
    Data { end: u64 },
    Hole { end: u64 },
}

fn extent(file: &File, position: u64) -> io::Result<Extent> {
    let offset = i64::try_from(position).map_err(io::Error::other)?;
    let data = match lseek(file, offset, Whence::SeekData) {
        Ok(data) => data.cast_unsigned(),
        // There is no data any more.
        Err(Errno::ENXIO) => {
            let end = file.metadata()?.len();
            return Ok(Extent::Hole { end });
        }
        Err(error) => return Err(error.into()),
    };
    if data > position {
        return Ok(Extent::Hole { end: data });
    }
    let end = lseek(file, offset, Whence::SeekHole)?.cast_unsigned();
    Ok(Extent::Data { end })
}

/// Reads as if there were zeros in the holes, which spares the kernel from filling its cache with them.
fn read_sparse(file: &File, mut position: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        let extent = extent(file, position)?;
        let (Extent::Data { end } | Extent::Hole { end }) = extent;
        let len = end
            .checked_sub(position)
            .filter(|&len| len > 0)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let len = usize::try_from(len).map_or(buffer.len(), |len| len.min(buffer.len()));
        let (now, later) = buffer.split_at_mut(len);
        match extent {
            Extent::Data { .. } => file.read_exact_at(now, position)?,
            Extent::Hole { .. } => now.fill(0),
        }
        position += len as u64;
        buffer = later;
    }
    Ok(())
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
    fn a_file_with_holes_is_read_as_any_other() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = path.as_file();
        for (position, octet) in [(3 * HOLE + 7, 1), (5 * HOLE, 2), (9 * HOLE - 1, 3)] {
            file.write_all_at(&[octet; 5], position as u64).unwrap();
        }
        file.set_len(20 * HOLE as u64 + 1).unwrap();
        let expected = std::fs::read(path.path()).unwrap();
        let mut source = Source::file(File::open(path.path()).unwrap()).unwrap();
        let mut octets = vec![9; expected.len()];
        for piece in octets.chunks_mut(HOLE + 1) {
            source.fill(piece).unwrap();
        }
        assert!(octets == expected);
        let error = source.fill(&mut [0]).unwrap_err();
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

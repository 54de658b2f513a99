//! Reads one startup frame out of a stream, cut anywhere (RFC 5044 s7.1.1, s7.1.2; U04, U05, U10, U21).
//!
//! The peer is a stranger at this point. So every octet is judged as soon as it is there, nothing beyond
//! the frame is touched, and no more than 532 octets are ever held.

use super::{Enhanced, Flags, Frame, FrameKind, HEADER_LEN, Header, KEY_LEN, MAX_PRIVATE_DATA};
use crate::error::StartupError;
use zerocopy::FromBytes;

/// How far a [`StartupReader`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All input was taken, and at least so many more octets are to come.
    ///
    /// Do not ask the socket for more than that: what follows the frame belongs to somebody else.
    Need(usize),
    /// The frame is complete.
    Frame {
        /// The frame.
        frame: Frame,
        /// How many octets of this input belonged to it.
        consumed: usize,
    },
}

/// Reads the one startup frame of one direction.
///
/// ```
/// use uwarp_mpa::{FrameKind, Progress, StartupError, StartupReader};
/// let mut reader = StartupReader::new(FrameKind::Request);
/// assert_eq!(reader.read(b"MPA ID "), Ok(Progress::Need(13)));
/// assert_eq!(reader.read(b"card, please"), Err(StartupError::Key { at: 7 }));
/// ```
#[derive(Clone, Debug)]
pub struct StartupReader {
    kind: FrameKind,
    octets: Vec<u8>,
    refused: Option<StartupError>,
}

impl StartupReader {
    /// A reader for a frame of this kind: a responder reads a Request, an initiator a Reply.
    #[must_use]
    pub const fn new(kind: FrameKind) -> Self {
        Self {
            kind,
            octets: Vec::new(),
            refused: None,
        }
    }

    /// Takes the next octets of the stream, but none beyond the frame.
    ///
    /// After [`Progress::Frame`] further calls return the frame again and take nothing.
    ///
    /// # Errors
    /// As soon as it is certain that this is no proper frame: a wrong key, the other role's key, a revision other
    /// than 1 and 2, PD_Length above 512, or S without room for its data. Later calls return the same error.
    pub fn read(&mut self, input: &[u8]) -> Result<Progress, StartupError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        self.advance(input)
            .inspect_err(|error| self.refused = Some(*error))
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`StartupError::Truncated`] if the frame is not complete; an earlier error if there was one.
    pub fn eof(&self) -> Result<(), StartupError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        match self.header()? {
            Some(header) if self.octets.len() == frame_len(&header) => Ok(()),
            _ => Err(StartupError::Truncated),
        }
    }

    fn advance(&mut self, input: &[u8]) -> Result<Progress, StartupError> {
        let before = self.octets.len();
        let mut rest = self.fill(input, HEADER_LEN);
        self.check_key(before)?;
        let Some(header) = self.header()? else {
            return Ok(Progress::Need(HEADER_LEN - self.octets.len()));
        };
        rest = self.fill(rest, frame_len(&header));
        match frame_len(&header).saturating_sub(self.octets.len()) {
            0 => Ok(Progress::Frame {
                frame: self.frame(&header),
                consumed: input.len() - rest.len(),
            }),
            missing => Ok(Progress::Need(missing)),
        }
    }

    /// Takes octets until there are `len`, and returns the rest.
    fn fill<'i>(&mut self, input: &'i [u8], len: usize) -> &'i [u8] {
        let missing = len.saturating_sub(self.octets.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.octets.extend_from_slice(taken);
        rest
    }

    fn check_key(&self, already_checked: usize) -> Result<(), StartupError> {
        let due = self.kind.key();
        let mut pairs = self
            .octets
            .iter()
            .zip(due)
            .enumerate()
            .skip(already_checked);
        let Some((at, _)) = pairs.find(|(_, (got, due))| got != due) else {
            return Ok(());
        };
        let got = self.kind.other();
        if self.octets.get(..=at) == got.key().get(..=at) {
            return Err(StartupError::Role { got });
        }
        Err(StartupError::Key { at: at as u8 })
    }

    /// The header, once it is complete and nothing is wrong with it.
    fn header(&self) -> Result<Option<Header>, StartupError> {
        let Ok((header, _)) = Header::read_from_prefix(&self.octets) else {
            return Ok(None);
        };
        if !(1..=2).contains(&header.revision) {
            return Err(StartupError::Revision {
                got: header.revision,
            });
        }
        let len = header.pd_length.get();
        if usize::from(len) > MAX_PRIVATE_DATA {
            return Err(StartupError::PrivateDataTooLong { len });
        }
        if is_enhanced(&header) && usize::from(len) < Enhanced::LEN {
            return Err(StartupError::EnhancedDataMissing { len });
        }
        Ok(Some(header))
    }

    fn frame(&self, header: &Header) -> Frame {
        Frame {
            kind: self.kind,
            markers: header.flags.has(Flags::M),
            crc: header.flags.has(Flags::C),
            rejected: self.kind == FrameKind::Reply && header.flags.has(Flags::R),
            enhanced: is_enhanced(header),
            revision: header.revision,
            private_data: self.octets.get(HEADER_LEN..).unwrap_or_default().to_vec(),
        }
    }
}

fn frame_len(header: &Header) -> usize {
    HEADER_LEN + usize::from(header.pd_length.get())
}

/// In revision 1 the S bit is one of the reserved ones (G12).
fn is_enhanced(header: &Header) -> bool {
    header.revision >= 2 && header.flags.has(Flags::S)
}

const _: () = assert!(
    KEY_LEN <= u8::MAX as usize,
    "the place of a wrong octet is a u8"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(kind: FrameKind, flags: u8, revision: u8, pd_length: u16, data: &[u8]) -> Vec<u8> {
        let mut octets = kind.key().to_vec();
        octets.extend([flags, revision]);
        octets.extend(pd_length.to_be_bytes());
        octets.extend(data);
        octets
    }

    fn read(octets: &[u8]) -> Result<Progress, StartupError> {
        StartupReader::new(FrameKind::Request).read(octets)
    }

    fn frame(octets: &[u8]) -> Frame {
        match read(octets) {
            Ok(Progress::Frame { frame, consumed }) if consumed == octets.len() => frame,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_key_is_refused_at_its_first_wrong_octet() {
        let key = FrameKind::Request.key();
        for at in 0..KEY_LEN {
            let mut octets = key[..=at].to_vec();
            octets[at] = b'\n';
            let mut reader = StartupReader::new(FrameKind::Request);
            for octet in &octets[..at] {
                assert!(reader.read(&[*octet]).is_ok());
            }
            let error = StartupError::Key { at: at as u8 };
            assert_eq!(reader.read(&octets[at..]), Err(error));
            assert_eq!(reader.read(&key[at..]), Err(error), "the error stays");
            assert_eq!(reader.eof(), Err(error));
        }
        assert_eq!(read(b"GET /"), Err(StartupError::Key { at: 0 }));
    }

    #[test]
    fn the_other_roles_frame_is_recognised() {
        for kind in [FrameKind::Request, FrameKind::Reply] {
            let error = Err(StartupError::Role { got: kind.other() });
            let octets = wire(kind.other(), 0x40, 1, 0, &[]);
            assert_eq!(StartupReader::new(kind).read(&octets), error);
            assert_eq!(StartupReader::new(kind).read(&octets[..10]), error);
            assert!(StartupReader::new(kind).read(&octets[..9]).is_ok());
        }
    }

    #[test]
    fn headers_that_are_refused() {
        let kind = FrameKind::Request;
        for (octets, error) in [
            (wire(kind, 0, 0, 0, &[]), StartupError::Revision { got: 0 }),
            (wire(kind, 0, 3, 0, &[]), StartupError::Revision { got: 3 }),
            (
                wire(kind, 0, 255, 0, &[]),
                StartupError::Revision { got: 255 },
            ),
            (
                wire(kind, 0, 1, 513, &[]),
                StartupError::PrivateDataTooLong { len: 513 },
            ),
            (
                wire(kind, 0, 2, 65535, &[]),
                StartupError::PrivateDataTooLong { len: 65535 },
            ),
            (
                wire(kind, 0x10, 2, 0, &[]),
                StartupError::EnhancedDataMissing { len: 0 },
            ),
            (
                wire(kind, 0x10, 2, 3, &[0; 3]),
                StartupError::EnhancedDataMissing { len: 3 },
            ),
        ] {
            assert_eq!(read(&octets), Err(error));
            assert!(read(&octets[..19]).is_ok());
        }
    }

    #[test]
    fn the_largest_private_data_is_accepted() {
        for (flags, revision) in [(0x40, 1), (0x50, 2)] {
            let octets = wire(FrameKind::Request, flags, revision, 512, &[7; 512]);
            assert_eq!(frame(&octets).private_data, [7; 512]);
        }
    }

    #[test]
    fn reserved_bits_and_r_are_not_checked_in_a_request() {
        let read = frame(&wire(FrameKind::Request, 0x2f, 2, 0, &[]));
        assert!(!read.rejected && !read.enhanced && !read.crc && !read.markers);
    }

    #[test]
    fn s_is_reserved_in_revision_1() {
        assert!(!frame(&wire(FrameKind::Request, 0x10, 1, 0, &[])).enhanced);
        assert!(frame(&wire(FrameKind::Request, 0x10, 2, 4, &[0; 4])).enhanced);
    }

    #[test]
    fn a_frame_may_be_cut_anywhere_and_nothing_behind_it_is_touched() {
        let data: Vec<u8> = (0..=255).collect();
        let mut octets = wire(FrameKind::Reply, 0xf0, 2, 256, &data);
        let len = octets.len();
        octets.extend(b"FPDUs");
        for cut in 0..len {
            let mut reader = StartupReader::new(FrameKind::Reply);
            let need = if cut < 20 { 20 - cut } else { len - cut };
            assert_eq!(
                reader.read(&octets[..cut]),
                Ok(Progress::Need(need)),
                "{cut}"
            );
            assert_eq!(reader.eof(), Err(StartupError::Truncated));
            let Ok(Progress::Frame { frame, consumed }) = reader.read(&octets[cut..]) else {
                panic!("{cut}");
            };
            assert_eq!(consumed, len - cut);
            assert!(frame.markers && frame.crc && frame.rejected && frame.enhanced);
            assert_eq!(frame.private_data, data);
            assert_eq!(frame.user_data(), &data[4..]);
            assert_eq!(reader.eof(), Ok(()));
            assert_eq!(
                reader.read(b"more"),
                Ok(Progress::Frame { frame, consumed: 0 })
            );
        }
    }

    #[test]
    fn octet_by_octet() {
        let octets = wire(FrameKind::Request, 0x40, 1, 2, b"ok");
        let mut reader = StartupReader::new(FrameKind::Request);
        for octet in &octets[..21] {
            assert!(matches!(reader.read(&[*octet]), Ok(Progress::Need(1..=20))));
        }
        assert!(matches!(
            reader.read(b"k"),
            Ok(Progress::Frame { consumed: 1, .. })
        ));
    }
}

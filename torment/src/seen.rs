//! What comes back from a target, and what should.

use uwarp_ddp::Header;
use uwarp_rdmap::header::{Control, QN_TERMINATE};
use uwarp_rdmap::terminate::{TERMINATE_MAX, Terminate, TerminateCode};
use uwarp_rdmap::{Layer, Opcode};

/// Which copies a Terminate has to carry (RFC 5040 s4.8, Figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// None.
    Nothing,
    /// The segment's length only, when it is too short to have a header.
    Length,
    /// The segment's length and its DDP header.
    Segment,
    /// These, and the RDMA Read Request.
    Read,
}

/// One way in which a target may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A Terminate with this layer, type and code, then a close.
    Terminate(u8, u8, u8, Carries),
    /// A Terminate of any code, then a close, where the RFCs name no code.
    AnyTerminate,
    /// A close without a word.
    Close,
    /// The connection goes on working.
    Works,
    /// A Reply with the Reject bit.
    Rejects,
}

impl std::fmt::Display for Due {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Terminate(layer, etype, code, carries) => {
                write!(f, "Terminate {layer}/{etype}/{code:02x}")?;
                f.write_str(match carries {
                    Carries::Nothing => "",
                    Carries::Length => " with length",
                    Carries::Segment => " with DDP header",
                    Carries::Read => " with DDP and Read headers",
                })
            }
            Self::AnyTerminate => f.write_str("any Terminate"),
            Self::Close => f.write_str("close without Terminate"),
            Self::Works => f.write_str("works on"),
            Self::Rejects => f.write_str("Reply that rejects"),
        }
    }
}

impl Due {
    /// For a column of a table.
    pub(crate) fn in_brief(&self) -> String {
        match self {
            Self::Terminate(layer, etype, code, _) => format!("{layer}/{etype}/{code:02x}"),
            Self::AnyTerminate => "*/*/**".to_owned(),
            Self::Close => "close".to_owned(),
            Self::Works => "works".to_owned(),
            Self::Rejects => "reject".to_owned(),
        }
    }
}

/// How hearing came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing more came within the time.
    #[default]
    Silence,
    /// The target closed.
    Fin,
    /// The target reset the connection.
    Reset,
}

/// Everything that came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) ending: Ending,
    /// The first Terminate, as it stood behind its DDP header.
    pub(crate) terminate: Option<Vec<u8>>,
    /// Other ULPDUs, in order.
    pub(crate) messages: Vec<Vec<u8>>,
    /// The case has proven that the connection works.
    pub(crate) works: bool,
    pub(crate) rejected: bool,
    /// The segment that a Terminate must blame.
    pub(crate) blamed: Vec<u8>,
    /// A rule that the target broke whatever the answer is; the first one counts.
    pub(crate) broken: Option<String>,
    /// What is to be told with the verdict, whatever it is.
    pub(crate) remarks: Vec<String>,
}

impl Seen {
    /// Takes note of a broken rule.
    pub(crate) fn breaks(&mut self, what: impl Into<String>) {
        self.broken.get_or_insert_with(|| what.into());
    }

    /// As [`breaks`](Self::breaks) unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.breaks(what);
        }
    }

    /// One of these may be blamed, whichever it is: which one was too many is the target's choice.
    pub(crate) fn blame_among(&mut self, ulpdus: &[Vec<u8>]) {
        let message = self.terminate.as_deref().and_then(Terminate::parse);
        if let Some(header) = message.and_then(|message| message.ddp_header) {
            let found = ulpdus
                .iter()
                .find(|ulpdu| ulpdu.starts_with(header.octets()));
            self.blamed = found.cloned().unwrap_or_default();
        }
    }

    /// Takes a ULPDU that the target sent.
    pub(crate) fn hear(&mut self, ulpdu: Vec<u8>) {
        if self.terminate.is_some() {
            return self.breaks("something was sent after a Terminate (R25)");
        }
        let (header, header_len) = match Header::parse(&ulpdu, ulpdu.len()) {
            Ok(parsed) => parsed,
            Err(error) => return self.breaks(format!("improper segment: {error}")),
        };
        if Control(header.ulp()).opcode() != Opcode::TERMINATE {
            return self.messages.push(ulpdu);
        }
        let Header::Untagged(at) = header else {
            return self.breaks("a tagged Terminate (R23)");
        };
        self.require(
            (at.qn, at.msn, at.mo, at.last) == (QN_TERMINATE, 1, 0, true),
            format!(
                "Terminate on queue {}, MSN {}, MO {}, L {} (R23)",
                at.qn, at.msn, at.mo, at.last
            ),
        );
        self.terminate = Some(ulpdu[header_len..].to_vec());
    }

    /// What came, for a column of a table.
    pub(crate) fn in_brief(&self) -> String {
        let code = self.terminate.as_deref().map(|octets| {
            Terminate::parse(octets).map_or("?/?/??".to_owned(), |message| {
                let TerminateCode { layer, etype, code } = message.code;
                format!("{}/{etype}/{code:02x}", layer.bits())
            })
        });
        match (code, self.ending) {
            (Some(code), Ending::Fin) => code,
            (Some(code), Ending::Reset) => format!("{code} reset"),
            (Some(code), Ending::Silence) => format!("{code} open"),
            (None, _) if self.rejected => "reject".to_owned(),
            (None, _) if self.works => "works".to_owned(),
            (None, Ending::Fin) => "close".to_owned(),
            (None, Ending::Reset) => "reset".to_owned(),
            (None, Ending::Silence) => "silence".to_owned(),
        }
    }

    /// What came, in a few words.
    pub(crate) fn describe(&self) -> String {
        let end = match self.ending {
            Ending::Silence => "silence",
            Ending::Fin => "close",
            Ending::Reset => "reset",
        };
        let mut parts = Vec::new();
        if self.rejected {
            parts.push("Reply that rejects".to_owned());
        }
        if !self.messages.is_empty() && !self.works {
            parts.push(format!("{} other segments", self.messages.len()));
        }
        if self.works {
            parts.push("works on".to_owned());
        }
        if let Some(octets) = &self.terminate {
            parts.push(match Terminate::parse(octets) {
                Some(message) => format!("Terminate {}", message.code),
                None => "a Terminate that cannot be read".to_owned(),
            });
        }
        if !self.works && !self.rejected || self.terminate.is_some() {
            parts.push(end.to_owned());
        }
        parts.join(", ")
    }

    /// Whether this is one of the answers that are due. `Err` says what is wrong; `Ok` has which one
    /// it is, and remarks: recommendations that were not followed.
    pub(crate) fn judge(&self, due: &[Due]) -> Result<(usize, Vec<String>), String> {
        if let Some(broken) = &self.broken {
            return Err(format!("{broken}; {}", self.describe()));
        }
        for (at, due) in due.iter().enumerate() {
            if let Some(remarks) = self.meets(due)? {
                return Ok((at, remarks));
            }
        }
        Err(self.describe())
    }

    /// `Ok(None)` when the answer is of another kind.
    fn meets(&self, due: &Due) -> Result<Option<Vec<String>>, String> {
        let closed = self.ending != Ending::Silence;
        let fits = match due {
            Due::Terminate(layer, etype, code, carries) => {
                return self.check_terminate((*layer, *etype, *code), *carries);
            }
            Due::AnyTerminate => self.terminate.is_some() && !self.works,
            Due::Close => self.terminate.is_none() && closed && !self.works && !self.rejected,
            Due::Works => self.works && self.terminate.is_none(),
            Due::Rejects => self.rejected && self.terminate.is_none(),
        };
        Ok(fits.then(Vec::new))
    }

    fn check_terminate(
        &self,
        due: (u8, u8, u8),
        carries: Carries,
    ) -> Result<Option<Vec<String>>, String> {
        let Some(octets) = &self.terminate else {
            return Ok(None);
        };
        let Some(message) = Terminate::parse(octets) else {
            return Err("a Terminate that cannot be read".to_owned());
        };
        let TerminateCode { layer, etype, code } = message.code;
        if (layer.bits(), etype, code) != due {
            return Ok(None);
        }
        let mut remarks = Vec::new();
        if is_swapped(&message, octets) {
            remarks.push("bits of the Terminate in swapped order, as siw has them".to_owned());
        }
        self.check_copies(&message, carries, &mut remarks)?;
        match self.ending {
            Ending::Fin => {}
            Ending::Reset => remarks.push("reset behind the Terminate (R38)".to_owned()),
            Ending::Silence => remarks.push("left open behind the Terminate (R38)".to_owned()),
        }
        Ok(Some(remarks))
    }

    /// The copies of a Terminate must be right if they are there (R08); that they are is recommended.
    fn check_copies(
        &self,
        message: &Terminate,
        carries: Carries,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        let blamed_len = u16::try_from(self.blamed.len()).ok();
        match message.segment_len {
            Some(len) if carries != Carries::Nothing && Some(len) != blamed_len => {
                let due = self.blamed.len();
                return Err(format!(
                    "the Terminate says {len} for a segment of {due} (R08)"
                ));
            }
            Some(_) if carries == Carries::Nothing => {
                remarks.push("segment length where none belongs (R08)".to_owned());
            }
            None if carries != Carries::Nothing => {
                remarks.push("no segment length (R08)".to_owned())
            }
            _ => {}
        }
        match &message.ddp_header {
            Some(_) if matches!(carries, Carries::Nothing | Carries::Length) => {
                remarks.push("a DDP header where none belongs (R08)".to_owned());
            }
            Some(header) if !self.blamed.starts_with(header.octets()) => {
                return Err("the Terminate blames another DDP header (R08)".to_owned());
            }
            None if matches!(carries, Carries::Segment | Carries::Read) => {
                remarks.push("no DDP header (R08)".to_owned());
            }
            _ => {}
        }
        match &message.read_request {
            // Of an Atomic Request nothing is copied (RFC 7306 s8.1, X15).
            Some(_) if carries != Carries::Read => {
                remarks.push("a Read Request header where none belongs (R08, X15)".to_owned());
                Ok(())
            }
            Some(request) if !self.blamed.ends_with(request) => {
                Err("the Terminate blames another Read Request (R08)".to_owned())
            }
            None if carries == Carries::Read => {
                remarks.push("no Read Request header (R08)".to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether the message was understood only by reading its bits the other way round.
fn is_swapped(message: &Terminate, octets: &[u8]) -> bool {
    let mut proper = [0; TERMINATE_MAX];
    message.encode(&mut proper);
    octets.first() != proper.first()
}

/// The Terminate code of a message that a case sends.
pub(crate) fn terminate(layer: Layer, etype: u8, code: u8) -> Vec<u8> {
    let mut out = [0; TERMINATE_MAX];
    let len = Terminate::bare(TerminateCode::new(layer, etype, code)).encode(&mut out);
    out[..len].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{At, untagged, write};

    const BAD_STAG: Due = Due::Terminate(1, 1, 0, Carries::Segment);

    fn told(body: &[u8], blamed: Vec<u8>) -> Seen {
        let mut seen = Seen {
            ending: Ending::Fin,
            blamed,
            ..Seen::default()
        };
        seen.hear(untagged(Opcode::TERMINATE, At::whole(2, 1), 0, body));
        seen
    }

    fn body(blamed: &[u8], segment_len: u16) -> Vec<u8> {
        let mut out = vec![0x11, 0, 0xc0, 0];
        out.extend(segment_len.to_be_bytes());
        out.extend(&blamed[..14]);
        out
    }

    #[test]
    fn a_proper_terminate_is_what_was_due() {
        let blamed = write(5, 6, b"four");
        let seen = told(&body(&blamed, 18), blamed);
        assert_eq!(seen.judge(&[Due::Close, BAD_STAG]), Ok((1, vec![])));
        assert!(seen.judge(&[Due::Close]).is_err());
        assert!(seen.judge(&[Due::Works]).is_err());
        let other = Due::Terminate(1, 1, 1, Carries::Segment);
        assert!(seen.judge(&[other]).unwrap_err().contains("1/1/00"));
    }

    #[test]
    fn wrong_copies_are_wrong_and_missing_ones_are_remarked() {
        let blamed = write(5, 6, b"four");
        let wrong_len = told(&body(&blamed, 19), blamed.clone());
        assert!(wrong_len.judge(&[BAD_STAG]).unwrap_err().contains("19"));
        let wrong_header = told(&body(&write(7, 7, b""), 18), blamed.clone());
        assert!(wrong_header.judge(&[BAD_STAG]).is_err());
        let bare = told(&[0x11, 0, 0, 0], blamed);
        let remarks = bare.judge(&[BAD_STAG]).map(|(_, remarks)| remarks.len());
        assert_eq!(remarks, Ok(2));
    }

    #[test]
    fn the_layout_of_siw_is_remarked() {
        let seen = told(&[0x02, 0x02, 0, 0], vec![]);
        let remarks = seen.judge(&[Due::Terminate(2, 0, 2, Carries::Nothing)]);
        assert!(remarks.unwrap().1[0].contains("siw"));
    }

    #[test]
    fn nothing_may_follow_a_terminate_and_it_has_its_queue() {
        let mut seen = told(&[0x20, 2, 0, 0], vec![]);
        seen.hear(write(1, 2, b""));
        let due = [Due::Terminate(2, 0, 2, Carries::Nothing)];
        assert!(seen.judge(&due).unwrap_err().contains("R25"));

        let mut seen = Seen::default();
        seen.hear(untagged(
            Opcode::TERMINATE,
            At::whole(1, 1),
            0,
            &[0x20, 2, 0, 0],
        ));
        assert!(seen.judge(&due).unwrap_err().contains("R23"));
    }

    #[test]
    fn silence_is_no_answer_that_is_ever_due() {
        let seen = Seen::default();
        for due in [
            BAD_STAG,
            Due::AnyTerminate,
            Due::Close,
            Due::Works,
            Due::Rejects,
        ] {
            assert!(seen.judge(&[due]).is_err(), "{due}");
        }
    }
}

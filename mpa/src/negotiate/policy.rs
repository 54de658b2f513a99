//! What one end of a connection wants.

use crate::error::LocalError;
use crate::startup::{Enhanced, MAX_DEPTH, NO_NEGOTIATION, RtrSet};

/// IRD and ORD of the default policy.
pub const DEFAULT_DEPTH: u16 = 32;

/// The version of the startup frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// RFC 5044: no IRD, no ORD, no ready-to-receive indications.
    One,
    /// RFC 6581. As initiator: enhanced frames. As responder: the peer's choice of both.
    Two,
}

impl Revision {
    /// The Rev field.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// What one end of a connection wants, and what it can do.
///
/// The default is revision 2, CRC (F19), no markers asked for, peer-to-peer with Write and Read indications,
/// and [`DEFAULT_DEPTH`] for both IRD and ORD.
///
/// ```
/// use uwarp_mpa::{negotiate, Conclusion, Policy, Rtr};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = (Policy::default(), Policy { ird: 4, ord: 100, ..Policy::default() });
///
/// let request = negotiate::request(&ours, b"may I?")?;
/// let seen = negotiate::examine_request(&theirs, &request)?;
/// assert_eq!((seen.private_data.as_slice(), seen.ird), (&b"may I?"[..], Some(32)));
///
/// let (reply, at_responder) = negotiate::accept(&theirs, &seen, b"do")?;
/// let Conclusion::Accepted { agreement, .. } = negotiate::conclude(&ours, &reply)? else { panic!() };
/// assert_eq!((agreement.ord, agreement.rtr), (4, Some(Rtr::Write)));
/// assert_eq!(at_responder.ord, 32);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The revision to ask in, and the highest to answer.
    pub revision: Revision,
    /// We want CRC. RFC 5044 s4.4 allows `false` only if the administrator says so (F19, F20), and CRC
    /// stays on if the peer wants it (F22).
    pub crc: bool,
    /// We ask the peer to send markers. (Whether we send them is the peer's to say.)
    pub markers: bool,
    /// As initiator in revision 2: ask for the peer-to-peer model, so that the responder may speak
    /// first. Of no effect in revision 1, which cannot say it.
    pub peer_to_peer: bool,
    /// The ready-to-receive indications we can generate as initiator and take as responder. Not empty in
    /// revision 2 (E14, E15).
    pub rtr: RtrSet,
    /// How many reads of the peer we take at a time: 0..=16382.
    pub ird: u16,
    /// How many reads we want to issue at a time: 0..=16382.
    pub ord: u16,
    /// As initiator in revision 2: have IRD and ORD negotiated. Otherwise the Request says 0x3FFF for both, and
    /// our own values stay as they are if the responder plays along (E13).
    pub negotiate_depths: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            revision: Revision::Two,
            crc: true,
            markers: false,
            peer_to_peer: true,
            rtr: RtrSet::WRITE | RtrSet::READ,
            ird: DEFAULT_DEPTH,
            ord: DEFAULT_DEPTH,
            negotiate_depths: true,
        }
    }
}

impl Policy {
    /// Whether this can be said in startup frames.
    ///
    /// # Errors
    /// [`LocalError::Depth`] if an IRD or ORD is above 16382; [`LocalError::NoRtr`] if `rtr` is empty in
    /// revision 2.
    pub fn check(&self) -> Result<(), LocalError> {
        check_depth(self.ird)?;
        check_depth(self.ord)?;
        if self.revision == Revision::Two && self.rtr.is_empty() {
            return Err(LocalError::NoRtr);
        }
        Ok(())
    }

    /// The enhanced words of our Request; `None` in revision 1.
    pub(super) fn words(&self) -> Option<Enhanced> {
        if self.revision == Revision::One {
            return None;
        }
        let depth = |value| {
            if self.negotiate_depths {
                value
            } else {
                NO_NEGOTIATION
            }
        };
        Some(Enhanced {
            ird: depth(self.ird),
            ord: depth(self.ord),
            peer_to_peer: self.peer_to_peer,
            rtr: if self.peer_to_peer {
                self.rtr
            } else {
                RtrSet::NONE
            },
        })
    }
}

pub(super) fn check_depth(depth: u16) -> Result<(), LocalError> {
    if depth > MAX_DEPTH {
        Err(LocalError::Depth { depth })
    } else {
        Ok(())
    }
}

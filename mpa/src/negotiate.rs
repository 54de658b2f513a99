//! What the two ends make of their startup frames (RFC 5044 s7.1, RFC 6581 s9).
//!
//! Pure functions over frames and a local [`Policy`]; the order in which they are called is the connection's:
//!
//! ```text
//!      initiator                                  responder
//!      request()   ---------- Request -------->   examine_request()
//!                                                    the user decides
//!      conclude()  <---------- Reply ----------   accept()  or  reject()
//! ```
//!
//! Both sides end with an [`Agreement`]. The two agreements of a connection mirror each other: CRC is on for both
//! or neither, one side's sent markers are the other's received ones, and nobody issues more reads
//! than the other takes.
//!
//! There are three ways not to agree, and they look different on the wire. A frame that makes no sense is a
//! [`StartupError`]: close TCP at once. A rejection is an answer: TCP stays open for the user (U16). And a
//! proper acceptance whose terms cannot be met is an [`Conclusion::Abort`]: a Terminate is sent, then TCP is
//! closed (E12, E18, E20).

mod policy;

pub use policy::{DEFAULT_DEPTH, Policy, Revision};

use crate::error::{LlpErrorCode, LocalError, StartupError};
use crate::startup::{
    Enhanced, Frame, FrameKind, MAX_PRIVATE_DATA, MAX_PRIVATE_DATA_ENHANCED, NO_NEGOTIATION, Rtr,
    RtrSet,
};

/// A proper Request, as the responder's user gets to see it (E07).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRequest {
    /// The revision of the Request, which the Reply repeats (G11).
    pub revision: u8,
    /// Whether the peer asked for enhanced setup.
    pub enhanced: bool,
    /// The peer wants CRC.
    pub crc: bool,
    /// The peer wants markers in what we send.
    pub markers: bool,
    /// The peer will open with a ready-to-receive indication.
    pub peer_to_peer: bool,
    /// Those the peer can generate; empty unless `peer_to_peer`.
    pub rtr: RtrSet,
    /// The peer's IRD as it came, possibly [`NO_NEGOTIATION`]; `None` if the Request is unenhanced.
    pub ird: Option<u16>,
    /// The peer's ORD as it came, possibly [`NO_NEGOTIATION`]; `None` if the Request is unenhanced.
    pub ord: Option<u16>,
    /// The peer's private data, without the enhanced words.
    pub private_data: Vec<u8>,
}

/// The terms of a connection, as one end sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The revision both frames had.
    pub revision: u8,
    /// Whether both frames were enhanced.
    pub enhanced: bool,
    /// CRC is generated and checked, in both directions (U07).
    pub crc: bool,
    /// We put markers in what we send (U06).
    pub tx_markers: bool,
    /// The peer puts markers in what it sends.
    pub rx_markers: bool,
    /// How many reads of the peer we take at a time.
    pub ird: u16,
    /// How many reads we issue at a time.
    pub ord: u16,
    /// The IRD in the peer's frame as it came; `None` if unenhanced (E07).
    pub peer_ird: Option<u16>,
    /// The ORD in the peer's frame as it came; `None` if unenhanced (E07).
    pub peer_ord: Option<u16>,
    /// The initiator opens with a ready-to-receive indication, and with nothing else (E01).
    pub peer_to_peer: bool,
    /// Initiator: the indication to open with. `None` at the responder, and unless `peer_to_peer`.
    pub rtr: Option<Rtr>,
    /// Responder: the indications that may come. Empty at the initiator, and unless `peer_to_peer`.
    pub rtr_accepted: RtrSet,
}

/// What the initiator makes of a proper Reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Enter full operation (U17).
    Accepted {
        /// The terms.
        agreement: Agreement,
        /// The responder's private data, without the enhanced words.
        private_data: Vec<u8>,
    },
    /// The responder declined. Leave MPA and leave TCP open to the user (U16).
    Rejected {
        /// The responder's private data, without the enhanced words.
        private_data: Vec<u8>,
        /// The responder's IRD as it came; `None` if unenhanced.
        peer_ird: Option<u16>,
        /// The responder's ORD as it came, perhaps the one it requires (E10); `None` if unenhanced.
        peer_ord: Option<u16>,
    },
    /// The responder accepted on terms we cannot meet. Send a Terminate with
    /// [`reason.code()`](AbortReason::code), framed as below, then close TCP.
    Abort {
        /// Why.
        reason: AbortReason,
        /// Whether the Terminate's FPDU has a CRC.
        crc: bool,
        /// Whether it has markers.
        tx_markers: bool,
        /// The responder's private data, without the enhanced words.
        private_data: Vec<u8>,
        /// The responder's IRD as it came.
        peer_ird: Option<u16>,
        /// The responder's ORD as it came.
        peer_ord: Option<u16>,
    },
}

/// Why an initiator cannot go on although it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// Request and Reply differ in flag A (E16, E19, G14).
    ConnectionModel,
    /// The responder wants to issue more reads than we take (E12).
    InsufficientIrd {
        /// The responder's ORD.
        required: u16,
    },
    /// There is no ready-to-receive indication that we can send and it accepts (E18).
    NoMatchingRtr,
}

impl AbortReason {
    /// The code of the Terminate message.
    #[must_use]
    pub const fn code(self) -> LlpErrorCode {
        match self {
            Self::ConnectionModel => LlpErrorCode::LocalCatastrophic,
            Self::InsufficientIrd { .. } => LlpErrorCode::InsufficientIrd,
            Self::NoMatchingRtr => LlpErrorCode::NoMatchingRtr,
        }
    }
}

/// Initiator: the Request to send (U11, E14, E22).
///
/// # Errors
/// If the policy is not [sound](Policy::check), or there is too much private data.
pub fn request(policy: &Policy, private_data: &[u8]) -> Result<Frame, LocalError> {
    policy.check()?;
    Ok(Frame {
        kind: FrameKind::Request,
        markers: policy.markers,
        crc: policy.crc,
        rejected: false,
        enhanced: policy.revision == Revision::Two,
        revision: policy.revision.number(),
        private_data: with_words(policy.words().as_ref(), private_data)?,
    })
}

/// Responder: whether a Request is one we can answer, and what is in it (U12, E03, E07).
///
/// # Errors
/// If it is no Request, or of a revision that we do not speak: an unenhanced responder refuses all but
/// revision 1 (E23), any other takes 1 and 2 (G11).
pub fn examine_request(policy: &Policy, frame: &Frame) -> Result<PeerRequest, StartupError> {
    expect_kind(frame, FrameKind::Request)?;
    if !(1..=policy.revision.number()).contains(&frame.revision) {
        return Err(StartupError::Revision {
            got: frame.revision,
        });
    }
    let words = enhanced_words(frame)?;
    Ok(PeerRequest {
        revision: frame.revision,
        enhanced: words.is_some(),
        crc: frame.crc,
        markers: frame.markers,
        peer_to_peer: words.is_some_and(|words| words.peer_to_peer),
        rtr: words.map_or(RtrSet::NONE, |words| words.rtr),
        ird: words.map(|words| words.ird),
        ord: words.map(|words| words.ord),
        private_data: frame.user_data().to_vec(),
    })
}

/// Responder: the Reply that accepts, and the terms it sets (U14, E08, E09, E13, E16, E17, E19, E21).
///
/// # Errors
/// If the policy is not [sound](Policy::check), there is too much private data, or the peer wants a
/// ready-to-receive indication and the policy has none we can take.
pub fn accept(
    policy: &Policy,
    request: &PeerRequest,
    private_data: &[u8],
) -> Result<(Frame, Agreement), LocalError> {
    policy.check()?;
    let terms = Terms::answering(policy, request);
    if request.peer_to_peer && terms.rtr.is_empty() {
        return Err(LocalError::NoRtr);
    }
    let words = terms.words(request);
    let frame = reply(policy, request, false, words, private_data)?;
    let agreement = Agreement {
        revision: request.revision,
        enhanced: request.enhanced,
        crc: frame.crc,
        tx_markers: request.markers,
        rx_markers: policy.markers,
        ird: terms.ird,
        ord: terms.ord,
        peer_ird: request.ird,
        peer_ord: request.ord,
        peer_to_peer: request.peer_to_peer,
        rtr: None,
        rtr_accepted: terms.rtr,
    };
    Ok((frame, agreement))
}

/// Responder: the Reply that declines (U13).
///
/// If the reason is that the peer's IRD is too small, `required_ord` tells it what the user needs (E10);
/// an unenhanced Reply cannot say that.
///
/// # Errors
/// If the policy is not [sound](Policy::check), there is too much private data, or `required_ord` is above
/// 16382.
pub fn reject(
    policy: &Policy,
    request: &PeerRequest,
    private_data: &[u8],
    required_ord: Option<u16>,
) -> Result<Frame, LocalError> {
    policy.check()?;
    let mut words = Terms::answering(policy, request).words(request);
    if let Some(ord) = required_ord {
        policy::check_depth(ord)?;
        words.ord = ord;
    }
    reply(policy, request, true, words, private_data)
}

/// Initiator: what to do with the Reply to the [`request`] this same policy made
/// (U15, U16, U17, E07, E11-E13, E18-E20).
///
/// # Errors
/// If the Reply is improper: of another revision than the Request, or enhanced when the Request was not, or
/// not enhanced when it was (G11, G12).
pub fn conclude(policy: &Policy, reply: &Frame) -> Result<Conclusion, StartupError> {
    expect_kind(reply, FrameKind::Reply)?;
    let asked = policy.revision.number();
    if reply.revision != asked {
        return Err(StartupError::RevisionMismatch {
            asked,
            got: reply.revision,
        });
    }
    let theirs = enhanced_words(reply)?;
    let ours = policy.words();
    if ours.is_some() != theirs.is_some() {
        return Err(StartupError::EnhancedMismatch {
            asked: ours.is_some(),
        });
    }
    let private_data = reply.user_data().to_vec();
    let peer_ird = theirs.map(|words| words.ird);
    let peer_ord = theirs.map(|words| words.ord);
    if reply.rejected {
        return Ok(Conclusion::Rejected {
            private_data,
            peer_ird,
            peer_ord,
        });
    }
    let crc = policy.crc || reply.crc;
    let tx_markers = reply.markers;
    Ok(match Outcome::of(policy, theirs.as_ref()) {
        Ok(outcome) => Conclusion::Accepted {
            agreement: Agreement {
                revision: reply.revision,
                enhanced: theirs.is_some(),
                crc,
                tx_markers,
                rx_markers: policy.markers,
                ird: policy.ird,
                ord: outcome.ord,
                peer_ird,
                peer_ord,
                peer_to_peer: outcome.rtr.is_some(),
                rtr: outcome.rtr,
                rtr_accepted: RtrSet::NONE,
            },
            private_data,
        },
        Err(reason) => Conclusion::Abort {
            reason,
            crc,
            tx_markers,
            private_data,
            peer_ird,
            peer_ord,
        },
    })
}

/// The responder's side of an agreement.
struct Terms {
    ird: u16,
    ord: u16,
    rtr: RtrSet,
}

impl Terms {
    fn answering(policy: &Policy, request: &PeerRequest) -> Self {
        let rtr = rtr_answer(policy, request);
        let for_the_rtr = u16::from(rtr.contains(Rtr::Read));
        let ord = match request.ird {
            None | Some(NO_NEGOTIATION) => policy.ord,
            Some(limit) => policy.ord.min(limit),
        };
        Self {
            ird: policy.ird.max(for_the_rtr),
            ord,
            rtr,
        }
    }

    /// A value the initiator does not want negotiated is answered with the same non-value (E13).
    fn words(&self, request: &PeerRequest) -> Enhanced {
        let unless_unwanted = |theirs: Option<u16>, ours: u16| match theirs {
            Some(NO_NEGOTIATION) => NO_NEGOTIATION,
            _ => ours,
        };
        Enhanced {
            ird: unless_unwanted(request.ord, self.ird),
            ord: unless_unwanted(request.ird, self.ord),
            peer_to_peer: request.peer_to_peer,
            rtr: self.rtr,
        }
    }
}

/// Those of the offered indications that we take; if there are none, those we would take (E17).
///
/// A zero-length Read needs a slot of our IRD. If that is 0, another indication is preferred; failing that the
/// IRD becomes 1 (E09), unless the initiator does not want it touched (E13).
fn rtr_answer(policy: &Policy, request: &PeerRequest) -> RtrSet {
    if !request.peer_to_peer {
        return RtrSet::NONE;
    }
    let fixed_at_zero = policy.ird == 0 && request.ord == Some(NO_NEGOTIATION);
    let usable = if fixed_at_zero {
        policy.rtr.without(Rtr::Read)
    } else {
        policy.rtr
    };
    let common = usable & request.rtr;
    let answer = if common.is_empty() { usable } else { common };
    let without_read = answer.without(Rtr::Read);
    if policy.ird == 0 && !without_read.is_empty() {
        without_read
    } else {
        answer
    }
}

fn reply(
    policy: &Policy,
    request: &PeerRequest,
    rejected: bool,
    words: Enhanced,
    private_data: &[u8],
) -> Result<Frame, LocalError> {
    let words = request.enhanced.then_some(words);
    Ok(Frame {
        kind: FrameKind::Reply,
        markers: policy.markers,
        // The peer's own wish is repeated, for peers that look at nothing but the Reply.
        crc: policy.crc || request.crc,
        rejected,
        enhanced: request.enhanced,
        revision: request.revision,
        private_data: with_words(words.as_ref(), private_data)?,
    })
}

/// The part of the initiator's agreement that the enhanced words decide.
struct Outcome {
    ord: u16,
    rtr: Option<Rtr>,
}

impl Outcome {
    /// Unenhanced, each side keeps what it is configured to.
    fn of(policy: &Policy, theirs: Option<&Enhanced>) -> Result<Self, AbortReason> {
        match theirs {
            None => Ok(Self {
                ord: policy.ord,
                rtr: None,
            }),
            Some(theirs) => Self::enhanced(policy, theirs),
        }
    }

    fn enhanced(policy: &Policy, theirs: &Enhanced) -> Result<Self, AbortReason> {
        if theirs.peer_to_peer != policy.peer_to_peer {
            return Err(AbortReason::ConnectionModel);
        }
        if theirs.ord != NO_NEGOTIATION && theirs.ord > policy.ird {
            return Err(AbortReason::InsufficientIrd {
                required: theirs.ord,
            });
        }
        let ord = match theirs.ird {
            NO_NEGOTIATION => policy.ord,
            limit => policy.ord.min(limit),
        };
        if !policy.peer_to_peer {
            return Ok(Self { ord, rtr: None });
        }
        // A zero-length Read takes a slot even if the user wants none (G16).
        let ord_for_read = match theirs.ird {
            0 => 0,
            NO_NEGOTIATION => ord,
            _ => ord.max(1),
        };
        let rtr = choose_rtr(policy.rtr & theirs.rtr, ord_for_read > 0)?;
        Ok(Self {
            ord: if rtr == Rtr::Read { ord_for_read } else { ord },
            rtr: Some(rtr),
        })
    }
}

/// A Write leaves no trace; a Read takes a slot for a moment; a Send takes a message number and at some
/// peers a receive (G15).
fn choose_rtr(common: RtrSet, read_possible: bool) -> Result<Rtr, AbortReason> {
    [Rtr::Write, Rtr::Read, Rtr::Send]
        .into_iter()
        .filter(|rtr| *rtr != Rtr::Read || read_possible)
        .find(|rtr| common.contains(*rtr))
        .ok_or(AbortReason::NoMatchingRtr)
}

fn expect_kind(frame: &Frame, kind: FrameKind) -> Result<(), StartupError> {
    if frame.kind == kind {
        Ok(())
    } else {
        Err(StartupError::Role { got: frame.kind })
    }
}

/// The enhanced words of a frame. In revision 1 the S bit is one of the reserved ones (G12).
fn enhanced_words(frame: &Frame) -> Result<Option<Enhanced>, StartupError> {
    if !frame.enhanced || frame.revision < 2 {
        return Ok(None);
    }
    let len = u16::try_from(frame.private_data.len()).unwrap_or(u16::MAX);
    frame
        .enhanced_data()
        .map(Some)
        .ok_or(StartupError::EnhancedDataMissing { len })
}

fn with_words(words: Option<&Enhanced>, private_data: &[u8]) -> Result<Vec<u8>, LocalError> {
    let max = if words.is_some() {
        MAX_PRIVATE_DATA_ENHANCED
    } else {
        MAX_PRIVATE_DATA
    };
    if private_data.len() > max {
        return Err(LocalError::PrivateDataTooLong {
            len: private_data.len(),
            max,
        });
    }
    let words = words.map(Enhanced::encode);
    Ok([words.as_ref().map_or(&[][..], |words| words), private_data].concat())
}

#[cfg(test)]
mod tests;

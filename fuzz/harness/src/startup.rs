//! Startup frames and what the two ends make of them (RFC 5044 s7.1, RFC 6581).
//!
//! An input is two policies, a way to cut the stream, and octets that are read as a Request and as a
//! Reply. Apart from the octets, the two policies always set a connection up with each other.

use uwarp_mpa::{
    Agreement, Conclusion, Frame, FrameKind, NO_NEGOTIATION, PeerRequest, Policy, Progress,
    Revision, Rtr, RtrSet, StartupError, StartupReader, looks_like_request, negotiate,
};

use crate::input::Input;

/// What an input reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The octets were a Request that could be answered.
    pub request_accepted: bool,
    /// The octets were a Reply that set the connection up.
    pub reply_accepted: bool,
    /// The octets were a Reply that declined.
    pub reply_rejected: bool,
    /// The octets were a Reply whose terms cannot be met.
    pub reply_aborted: bool,
    /// The two policies came to an agreement.
    pub agreed: bool,
}

/// Plays both roles.
///
/// # Panics
/// When a reader depends on how the stream is cut, or an agreement breaks a rule.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let (first, second) = (policy(&mut input), policy(&mut input));
    let cuts = input.u8();
    let octets = input.rest();
    let mut reached = Reached {
        agreed: set_up(&first, &second, cuts),
        ..Reached::default()
    };
    if let Some(request) = read(FrameKind::Request, octets, cuts) {
        assert_eq!(looks_like_request(octets), Some(true));
        reached.request_accepted = answer(&first, &request);
    }
    if let Some(reply) = read(FrameKind::Reply, octets, cuts) {
        match negotiate::conclude(&first, &reply) {
            Ok(Conclusion::Accepted { agreement, .. }) => {
                check_initiator(&first, &reply, &agreement);
                reached.reply_accepted = true;
            }
            Ok(Conclusion::Rejected { .. }) => {
                assert!(reply.rejected);
                reached.reply_rejected = true;
            }
            Ok(Conclusion::Abort { reason, .. }) => {
                assert!((5..=7).contains(&reason.code().code()));
                reached.reply_aborted = true;
            }
            Err(_) => {}
        }
    }
    reached
}

/// A policy that can be said in startup frames.
pub(crate) fn policy(input: &mut Input<'_>) -> Policy {
    let bits = input.u8();
    let rtr = [
        RtrSet::WRITE | RtrSet::READ,
        RtrSet::SEND,
        RtrSet::WRITE,
        RtrSet::READ,
        RtrSet::SEND | RtrSet::READ,
        RtrSet::ALL,
    ];
    let policy = Policy {
        revision: if bits & 1 == 0 {
            Revision::Two
        } else {
            Revision::One
        },
        crc: bits & 2 == 0,
        markers: bits & 4 != 0,
        peer_to_peer: bits & 8 == 0,
        negotiate_depths: bits & 16 == 0,
        rtr: rtr[usize::from(bits >> 5) % rtr.len()],
        ird: depth(input.u8()),
        ord: depth(input.u8()),
    };
    assert_eq!(policy.check(), Ok(()));
    policy
}

/// Small depths, and with the top bit set the largest ones.
const fn depth(octet: u8) -> u16 {
    if octet < 0x80 {
        octet as u16
    } else {
        NO_NEGOTIATION - 0x80 + (octet & 0x7f) as u16
    }
}

/// Reads a frame at once and in pieces; both ways must agree, octet for octet.
fn read(kind: FrameKind, octets: &[u8], cuts: u8) -> Option<Frame> {
    let whole = StartupReader::new(kind).read(octets);
    let pieces = read_in_pieces(kind, octets, usize::from(cuts % 31) + 1);
    match (whole, pieces) {
        (
            Ok(Progress::Frame { frame, consumed }),
            Ok(Progress::Frame {
                frame: same,
                consumed: there,
            }),
        ) => {
            assert_eq!((&frame, consumed), (&same, there));
            reads_back(&frame);
            Some(frame)
        }
        (Ok(Progress::Need(more)), Ok(Progress::Need(same))) => {
            assert!(more > 0 && more == same);
            None
        }
        (Err(error), Err(same)) => {
            assert_eq!(error, same);
            None
        }
        (whole, pieces) => panic!("at once {whole:?}, in pieces {pieces:?}"),
    }
}

/// The last word of a reader that gets `step` octets at a time, `consumed` counted from the start.
fn read_in_pieces(kind: FrameKind, octets: &[u8], step: usize) -> Result<Progress, StartupError> {
    let mut reader = StartupReader::new(kind);
    let mut taken = 0;
    let mut last = reader.read(&[]);
    for piece in octets.chunks(step) {
        last = reader.read(piece);
        match &last {
            Ok(Progress::Need(_)) => taken += piece.len(),
            Ok(Progress::Frame { frame, consumed }) => {
                assert_eq!(reader.eof(), Ok(()));
                return Ok(Progress::Frame {
                    frame: frame.clone(),
                    consumed: taken + consumed,
                });
            }
            Err(error) => {
                assert_eq!(reader.read(octets), Err(*error), "an error is for ever");
                return last;
            }
        }
    }
    assert!(reader.eof().is_err());
    last
}

/// What was read is what would be sent, apart from reserved bits.
fn reads_back(frame: &Frame) {
    let wire = frame.encode().expect("a frame that was read can be sent");
    let read = StartupReader::new(frame.kind).read(&wire);
    let same = Progress::Frame {
        frame: frame.clone(),
        consumed: wire.len(),
    };
    assert_eq!(read, Ok(same));
}

/// A responder's answers to a Request of the peer's.
fn answer(policy: &Policy, frame: &Frame) -> bool {
    let Ok(request) = negotiate::examine_request(policy, frame) else {
        return false;
    };
    let declined = negotiate::reject(policy, &request, b"no", Some(3)).expect("it can be declined");
    assert!(declined.rejected);
    reads_back(&declined);
    let Ok((reply, agreement)) = negotiate::accept(policy, &request, b"yes") else {
        return false;
    };
    assert!(!reply.rejected);
    reads_back(&reply);
    check_responder(policy, &request, &agreement);
    true
}

/// U06, U07, E08 to E19 at the responder.
fn check_responder(policy: &Policy, request: &PeerRequest, agreement: &Agreement) {
    assert_eq!(agreement.crc, policy.crc || request.crc);
    assert_eq!(agreement.tx_markers, request.markers);
    assert_eq!(agreement.rx_markers, policy.markers);
    assert!(agreement.ord <= policy.ord);
    if let Some(limit) = request.ird.filter(|&ird| ird != NO_NEGOTIATION) {
        assert!(agreement.ord <= limit, "more reads than the peer takes");
    }
    assert_eq!(agreement.peer_to_peer, request.peer_to_peer);
    assert_eq!(agreement.rtr_accepted.is_empty(), !request.peer_to_peer);
    if agreement.rtr_accepted.contains(Rtr::Read) {
        assert!(agreement.ird > 0, "no place for the Read that opens");
    }
}

/// U06, U07, E11 to E19 at the initiator.
fn check_initiator(policy: &Policy, reply: &Frame, agreement: &Agreement) {
    assert_eq!(agreement.crc, policy.crc || reply.crc);
    assert_eq!(agreement.tx_markers, reply.markers);
    assert_eq!(agreement.rx_markers, policy.markers);
    assert_eq!(agreement.rtr.is_some(), agreement.peer_to_peer);
    let Some(theirs) = reply.enhanced_data() else {
        return;
    };
    if theirs.ird != NO_NEGOTIATION {
        assert!(
            agreement.ord <= theirs.ird,
            "more reads than the peer takes"
        );
    }
    if theirs.ord != NO_NEGOTIATION {
        assert!(theirs.ord <= agreement.ird, "more reads than we take");
    }
    if let Some(rtr) = agreement.rtr {
        assert!((policy.rtr & theirs.rtr).contains(rtr));
        assert!(rtr != Rtr::Read || agreement.ord > 0);
    }
}

/// Lets two policies set a connection up over the wire; the agreements must mirror each other.
fn set_up(initiator: &Policy, responder: &Policy, cuts: u8) -> bool {
    let request = negotiate::request(initiator, b"request").expect("the policy is sound");
    let wire = request.encode().expect("a Request can be sent");
    let seen = read(FrameKind::Request, &wire, cuts).expect("a Request can be read");
    let Ok(seen) = negotiate::examine_request(responder, &seen) else {
        assert_eq!(
            (initiator.revision, responder.revision),
            (Revision::Two, Revision::One)
        );
        return false;
    };
    let Ok((reply, theirs)) = negotiate::accept(responder, &seen, b"reply") else {
        return false;
    };
    let wire = reply.encode().expect("a Reply can be sent");
    let reply = read(FrameKind::Reply, &wire, cuts).expect("a Reply can be read");
    match negotiate::conclude(initiator, &reply).expect("our own Reply is proper") {
        Conclusion::Accepted {
            agreement: ours, ..
        } => {
            mirror(initiator, &ours, &theirs);
            true
        }
        Conclusion::Rejected { .. } => panic!("an acceptance was read as a rejection"),
        Conclusion::Abort { .. } => false,
    }
}

fn mirror(initiator: &Policy, ours: &Agreement, theirs: &Agreement) {
    assert_eq!(ours.crc, theirs.crc);
    assert_eq!(ours.tx_markers, theirs.rx_markers);
    assert_eq!(ours.rx_markers, theirs.tx_markers);
    assert_eq!(ours.peer_to_peer, theirs.peer_to_peer);
    if let Some(rtr) = ours.rtr {
        assert!(theirs.rtr_accepted.contains(rtr));
    }
    if ours.enhanced && initiator.negotiate_depths {
        assert!(ours.ord <= theirs.ird && theirs.ord <= ours.ird);
    }
}

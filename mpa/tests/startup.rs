//! Two ends meet: any policies, any frames, any octets.

use proptest::collection::vec;
use proptest::prelude::*;
use uwarp_mpa::negotiate::{accept, conclude, examine_request, reject, request};
use uwarp_mpa::{
    AbortReason, Agreement, Conclusion, Frame, FrameKind, LocalError, NO_NEGOTIATION, PeerRequest,
    Policy, Progress, Revision, Rtr, RtrSet, StartupError, StartupReader, looks_like_request,
};

fn rtr_set() -> impl Strategy<Value = RtrSet> {
    any::<(bool, bool, bool)>().prop_map(|(send, write, read)| {
        let pick = |set: bool, rtr| if set { rtr } else { RtrSet::NONE };
        pick(send, RtrSet::SEND) | pick(write, RtrSet::WRITE) | pick(read, RtrSet::READ)
    })
}

/// Mostly small, often 0, sometimes as large as it gets.
fn depth() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(0),
        0..4_u16,
        0..NO_NEGOTIATION,
        Just(NO_NEGOTIATION - 1)
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (any::<[bool; 5]>(), rtr_set(), depth(), depth()).prop_map(
        |([two, crc, markers, peer_to_peer, negotiate_depths], rtr, ird, ord)| Policy {
            revision: if two { Revision::Two } else { Revision::One },
            crc,
            markers,
            peer_to_peer,
            rtr: if rtr.is_empty() { RtrSet::WRITE } else { rtr },
            ird,
            ord,
            negotiate_depths,
        },
    )
}

fn frame() -> impl Strategy<Value = Frame> {
    (any::<[bool; 5]>(), 0..4_u8, vec(any::<u8>(), 0..12)).prop_map(
        |([request, markers, crc, rejected, enhanced], revision, private_data)| Frame {
            kind: if request {
                FrameKind::Request
            } else {
                FrameKind::Reply
            },
            markers,
            crc,
            rejected,
            enhanced,
            revision,
            private_data,
        },
    )
}

/// Over the wire, in two parts.
fn carried(frame: &Frame, cut: usize) -> Frame {
    let wire = frame.encode().unwrap();
    let (head, tail) = wire.split_at(cut % wire.len());
    let mut reader = StartupReader::new(frame.kind);
    assert_eq!(
        reader.read(head),
        Ok(Progress::Need(if head.len() < 20 {
            20 - head.len()
        } else {
            tail.len()
        }))
    );
    match reader.read(tail) {
        Ok(Progress::Frame { frame, consumed }) if consumed == tail.len() => frame,
        other => panic!("{other:?}"),
    }
}

/// Whether the two agreements of a connection describe the same connection.
fn assert_mirrored(ours: &Agreement, theirs: &Agreement) {
    assert_eq!(ours.revision, theirs.revision);
    assert_eq!(ours.enhanced, theirs.enhanced);
    assert_eq!(ours.crc, theirs.crc);
    assert_eq!(ours.tx_markers, theirs.rx_markers);
    assert_eq!(ours.rx_markers, theirs.tx_markers);
    assert_eq!(ours.peer_to_peer, theirs.peer_to_peer);
    assert_eq!(theirs.rtr, None);
    assert_eq!(ours.peer_to_peer, ours.rtr.is_some());
    assert!(ours.rtr.is_none_or(|rtr| theirs.rtr_accepted.contains(rtr)));
    if ours.rtr == Some(Rtr::Read) {
        assert!(ours.ord >= 1 && theirs.ird >= 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any two sound policies: the ends agree, or one of them knows exactly why not.
    #[test]
    fn both_ends_reach_the_same_agreement(
        initiator in policy(),
        responder in policy(),
        question in vec(any::<u8>(), 0..40),
        answer in vec(any::<u8>(), 0..40),
        cut: usize,
    ) {
        let asked = carried(&request(&initiator, &question).unwrap(), cut);
        let seen = match examine_request(&responder, &asked) {
            Ok(seen) => seen,
            Err(error) => {
                prop_assert_eq!(error, StartupError::Revision { got: 2 });
                prop_assert_eq!((initiator.revision, responder.revision), (Revision::Two, Revision::One));
                return Ok(());
            }
        };
        prop_assert_eq!(&seen.private_data, &question);
        let (reply, theirs) = match accept(&responder, &seen, &answer) {
            Ok(accepted) => accepted,
            Err(error) => {
                prop_assert_eq!(error, LocalError::NoRtr);
                prop_assert_eq!((responder.rtr, responder.ird), (RtrSet::READ, 0));
                prop_assert!(!initiator.negotiate_depths);
                return Ok(());
            }
        };
        let reply = carried(&reply, cut);
        match conclude(&initiator, &reply).unwrap() {
            Conclusion::Accepted { agreement: ours, private_data } => {
                prop_assert_eq!(private_data, answer);
                assert_mirrored(&ours, &theirs);
                if ours.enhanced && initiator.negotiate_depths {
                    prop_assert!(ours.ord <= theirs.ird && theirs.ord <= ours.ird);
                    prop_assert_eq!(ours.peer_ird, Some(theirs.ird));
                    prop_assert_eq!(ours.peer_ord, Some(theirs.ord));
                } else {
                    prop_assert_eq!((ours.ird, ours.ord), (initiator.ird, initiator.ord));
                    prop_assert_eq!(theirs.ord, responder.ord);
                }
            }
            Conclusion::Abort { reason, crc, tx_markers, .. } => {
                prop_assert_eq!(reason, AbortReason::NoMatchingRtr);
                prop_assert_eq!((crc, tx_markers), (theirs.crc, theirs.rx_markers));
                let common = initiator.rtr & responder.rtr;
                prop_assert!(common.without(Rtr::Read).is_empty());
                prop_assert!(common.is_empty() || theirs.ird == 0 || initiator.ord == 0);
            }
            Conclusion::Rejected { .. } => prop_assert!(false, "nobody declined"),
        }
    }

    /// A rejection always arrives as one.
    #[test]
    fn a_rejection_arrives(
        initiator in policy(),
        responder in policy(),
        required in prop::option::of(depth()),
        cut: usize,
    ) {
        let asked = carried(&request(&initiator, &[]).unwrap(), cut);
        if let Ok(seen) = examine_request(&responder, &asked) {
            let reply = carried(&reject(&responder, &seen, b"no", required).unwrap(), cut);
            let Ok(Conclusion::Rejected { private_data, peer_ord, .. }) = conclude(&initiator, &reply) else {
                panic!("{reply:?}");
            };
            prop_assert_eq!(private_data, b"no");
            if let (Some(required), true) = (required, seen.enhanced) {
                prop_assert_eq!(peer_ord, Some(required));
            }
        }
    }

    /// Any frame of any peer: no panic, and never terms beyond our own.
    #[test]
    fn no_frame_gets_more_than_the_policy_allows(policy in policy(), frame in frame()) {
        let read_slot = |rtr: bool| u16::from(rtr);
        if let Ok(seen) = examine_request(&policy, &frame) {
            prop_assert_eq!(frame.kind, FrameKind::Request);
            prop_assert!(seen.enhanced == (frame.enhanced && frame.revision == 2));
            if let Ok((reply, agreement)) = accept(&policy, &seen, &[]) {
                let slot = read_slot(agreement.rtr_accepted.contains(Rtr::Read));
                prop_assert!(agreement.ird <= policy.ird.max(slot) && agreement.ord <= policy.ord);
                prop_assert_eq!((reply.revision, reply.enhanced), (seen.revision, seen.enhanced));
                prop_assert!(reply.encode().is_ok());
            }
        }
        if let Ok(Conclusion::Accepted { agreement, .. }) = conclude(&policy, &frame) {
            prop_assert_eq!(frame.kind, FrameKind::Reply);
            let slot = read_slot(agreement.rtr == Some(Rtr::Read));
            prop_assert_eq!(agreement.ird, policy.ird);
            prop_assert!(agreement.ord <= policy.ord.max(slot));
            prop_assert!(agreement.crc || !policy.crc);
        }
    }

    /// Any octets, in any parts: the reader never takes more than one frame, and never changes its mind.
    #[test]
    fn noise_behind_a_key_is_survived(
        keep in prop_oneof![Just(16), 0..=16_usize],
        (flags, revision, pd_length) in (any::<u8>(), 0..4_u8, 0..530_u16),
        data in vec(any::<u8>(), 0..700),
        parts in 1..50_usize,
    ) {
        let [high, low] = pd_length.to_be_bytes();
        let noise = [&[flags, revision, high, low], &data[..]].concat();
        let mut octets = FrameKind::Request.key()[..keep].to_vec();
        octets.extend(&noise);
        let mut reader = StartupReader::new(FrameKind::Request);
        let mut taken = 0;
        let mut done = false;
        for part in octets.chunks(parts) {
            match reader.read(part) {
                Ok(Progress::Need(need)) => {
                    prop_assert!(!done && (1..=512).contains(&need));
                    taken += part.len();
                }
                Ok(Progress::Frame { frame, consumed }) => {
                    prop_assert!(consumed == 0 || !done);
                    taken += consumed;
                    done = true;
                    prop_assert_eq!(taken, 20 + frame.private_data.len());
                }
                Err(error) => {
                    prop_assert!(!done);
                    prop_assert_eq!(reader.read(b"M"), Err(error));
                    break;
                }
            }
        }
        prop_assert!(taken <= 532);
        if keep < 16 && noise[0] != FrameKind::Request.key()[keep] {
            prop_assert_eq!(looks_like_request(&octets), Some(false));
            prop_assert!(reader.eof().is_err());
        }
    }
}

/// A user can see from the Request alone whether its own needs are met (E10).
#[test]
fn the_user_sees_what_the_peer_offers() {
    let asked = request(
        &Policy {
            ird: 3,
            ord: 5,
            ..Policy::default()
        },
        b"hello",
    )
    .unwrap();
    let seen = examine_request(&Policy::default(), &asked).unwrap();
    let due = PeerRequest {
        revision: 2,
        enhanced: true,
        crc: true,
        markers: false,
        peer_to_peer: true,
        rtr: RtrSet::WRITE | RtrSet::READ,
        ird: Some(3),
        ord: Some(5),
        private_data: b"hello".to_vec(),
    };
    assert_eq!(seen, due);
}

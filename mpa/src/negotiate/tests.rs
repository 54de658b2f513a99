//! Tables of requests and replies, and the outcomes the RFCs give them.

use super::*;

mod terms;

fn plain() -> Policy {
    Policy {
        revision: Revision::One,
        ..Policy::default()
    }
}

fn client_server() -> Policy {
    Policy {
        peer_to_peer: false,
        ..Policy::default()
    }
}

fn examined(responder: &Policy, initiator: &Policy) -> PeerRequest {
    examine_request(responder, &request(initiator, b"question").unwrap()).unwrap()
}

/// Both ends' agreements.
fn agree(initiator: &Policy, responder: &Policy) -> (Agreement, Agreement) {
    let (reply, theirs) = accept(responder, &examined(responder, initiator), b"answer").unwrap();
    match conclude(initiator, &reply).unwrap() {
        Conclusion::Accepted {
            agreement,
            private_data,
        } => {
            assert_eq!(private_data, b"answer");
            (agreement, theirs)
        }
        other => panic!("{other:?}"),
    }
}

fn accepting_reply(initiator: &Policy) -> Frame {
    let responder = Policy::default();
    accept(&responder, &examined(&responder, initiator), &[])
        .unwrap()
        .0
}

/// A Reply to `Policy::default()` with these words.
fn reply_with(words: Enhanced) -> Frame {
    Frame {
        private_data: words.encode().to_vec(),
        ..accepting_reply(&Policy::default())
    }
}

fn abort_reason(policy: &Policy, reply: &Frame) -> AbortReason {
    match conclude(policy, reply) {
        Ok(Conclusion::Abort { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

const BOTH: [bool; 2] = [false, true];
/// U06, U07: CRC is an OR over both frames, markers are each receiver's own choice.
#[test]
fn every_combination_of_c_and_m() {
    for revision in [Revision::One, Revision::Two] {
        for bits in 0..16_u8 {
            let [ci, cr, mi, mr] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let initiator = Policy {
                revision,
                crc: ci,
                markers: mi,
                ..Policy::default()
            };
            let responder = Policy {
                crc: cr,
                markers: mr,
                ..Policy::default()
            };
            let asked = request(&initiator, &[]).unwrap();
            assert_eq!((asked.crc, asked.markers), (ci, mi));
            let (ours, theirs) = agree(&initiator, &responder);
            assert_eq!((ours.crc, theirs.crc), (ci || cr, ci || cr), "{bits:04b}");
            assert_eq!((ours.tx_markers, ours.rx_markers), (mr, mi), "{bits:04b}");
            assert_eq!(
                (theirs.tx_markers, theirs.rx_markers),
                (mi, mr),
                "{bits:04b}"
            );
        }
    }
}

/// E16, E19, G14.
#[test]
fn the_reply_must_have_the_requests_connection_model() {
    let words = Enhanced {
        ird: 32,
        ord: 32,
        peer_to_peer: true,
        rtr: RtrSet::ALL,
    };
    let with_a = reply_with(words);
    let without_a = reply_with(Enhanced {
        peer_to_peer: false,
        ..words
    });
    assert_eq!(
        abort_reason(&Policy::default(), &without_a),
        AbortReason::ConnectionModel
    );
    assert_eq!(
        abort_reason(&client_server(), &with_a),
        AbortReason::ConnectionModel
    );
    assert_eq!(AbortReason::ConnectionModel.code().code(), 5);
}

#[test]
fn an_abort_says_how_its_terminate_is_framed() {
    for bits in 0..8_u8 {
        let [ours, theirs, markers] = [1, 2, 4].map(|bit| bits & bit != 0);
        let policy = Policy {
            crc: ours,
            peer_to_peer: false,
            ..Policy::default()
        };
        let reply = Frame {
            crc: theirs,
            markers,
            ..accepting_reply(&Policy::default())
        };
        let Ok(Conclusion::Abort {
            crc, tx_markers, ..
        }) = conclude(&policy, &reply)
        else {
            panic!("A differs");
        };
        assert_eq!((crc, tx_markers), (ours || theirs, markers));
    }
}

/// E02, E03, E21, E22, E23, G11, G12.
#[test]
fn like_is_answered_with_like() {
    let default = Policy::default();
    let (ours, theirs) = agree(&plain(), &default);
    for agreement in [ours, theirs] {
        assert_eq!((agreement.revision, agreement.enhanced), (1, false));
        assert_eq!(
            (agreement.ird, agreement.ord),
            (DEFAULT_DEPTH, DEFAULT_DEPTH)
        );
        assert_eq!((agreement.peer_ird, agreement.peer_ord), (None, None));
        assert_eq!((agreement.peer_to_peer, agreement.rtr), (false, None));
    }
    let asked = request(&plain(), b"question").unwrap();
    assert_eq!((asked.revision, asked.enhanced), (1, false));
    assert_eq!(asked.private_data, b"question");

    // Revision 2 without S.
    let unenhanced = Frame {
        revision: 2,
        ..asked.clone()
    };
    let seen = examine_request(&default, &unenhanced).unwrap();
    let (reply, _) = accept(&default, &seen, &[]).unwrap();
    assert_eq!((reply.revision, reply.enhanced), (2, false));

    // S without revision 2 is a reserved bit.
    let reserved = Frame {
        enhanced: true,
        ..asked.clone()
    };
    assert!(!examine_request(&default, &reserved).unwrap().enhanced);

    for (policy, revision, good) in [
        (default, 0, false),
        (default, 1, true),
        (default, 2, true),
        (default, 3, false),
        (plain(), 0, false),
        (plain(), 1, true),
        (plain(), 2, false),
    ] {
        let frame = Frame {
            revision,
            ..asked.clone()
        };
        let result = examine_request(&policy, &frame);
        assert_eq!(result.is_ok(), good, "{revision}");
        assert!(good || result == Err(StartupError::Revision { got: revision }));
    }
}

#[test]
fn improper_replies_are_refused() {
    let (default, plain) = (Policy::default(), plain());
    let good = accepting_reply(&default);
    let plain_good = accepting_reply(&plain);
    let table = [
        (
            default,
            Frame {
                revision: 1,
                ..good.clone()
            },
            StartupError::RevisionMismatch { asked: 2, got: 1 },
        ),
        (
            plain,
            Frame {
                revision: 2,
                ..plain_good.clone()
            },
            StartupError::RevisionMismatch { asked: 1, got: 2 },
        ),
        (
            default,
            Frame {
                enhanced: false,
                ..good.clone()
            },
            StartupError::EnhancedMismatch { asked: true },
        ),
        (
            default,
            Frame {
                private_data: vec![0; 3],
                ..good.clone()
            },
            { StartupError::EnhancedDataMissing { len: 3 } },
        ),
        (
            default,
            request(&default, &[]).unwrap(),
            StartupError::Role {
                got: FrameKind::Request,
            },
        ),
    ];
    for (policy, frame, error) in table {
        for rejected in BOTH {
            let frame = Frame {
                rejected,
                ..frame.clone()
            };
            assert_eq!(conclude(&policy, &frame), Err(error), "{frame:?}");
        }
        assert_eq!(error.code(), LlpErrorCode::StartupFrame);
    }
    assert_eq!(
        examine_request(&default, &good),
        Err(StartupError::Role {
            got: FrameKind::Reply
        })
    );
    let reserved = Frame {
        enhanced: true,
        ..plain_good
    };
    assert!(
        conclude(&plain, &reserved).is_ok(),
        "S is reserved in revision 1"
    );
}

/// U13, U16, E07, E10.
#[test]
fn a_rejection_tells_the_required_ord() {
    let initiator = Policy {
        ird: 2,
        ..Policy::default()
    };
    let responder = Policy {
        ird: 7,
        ord: 9,
        ..Policy::default()
    };
    let seen = examined(&responder, &initiator);
    for (required, told) in [(None, 2), (Some(64), 64), (Some(0), 0)] {
        let reply = reject(&responder, &seen, b"no", required).unwrap();
        assert!(reply.rejected && reply.enhanced);
        assert!(
            reply
                .enhanced_data()
                .is_some_and(|words| words.peer_to_peer)
        );
        let concluded = conclude(&initiator, &reply).unwrap();
        assert_eq!(
            concluded,
            Conclusion::Rejected {
                private_data: b"no".to_vec(),
                peer_ird: Some(7),
                peer_ord: Some(told),
            }
        );
    }
    let too_much = reject(&responder, &seen, &[], Some(NO_NEGOTIATION));
    assert_eq!(
        too_much,
        Err(LocalError::Depth {
            depth: NO_NEGOTIATION
        })
    );

    let reply = reject(&responder, &examined(&responder, &plain()), b"no", Some(64)).unwrap();
    assert_eq!(
        (reply.enhanced, &reply.private_data[..]),
        (false, &b"no"[..])
    );
    let concluded = conclude(&plain(), &reply).unwrap();
    assert!(matches!(
        concluded,
        Conclusion::Rejected { peer_ord: None, .. }
    ));
}

#[test]
fn private_data_has_its_limits() {
    for (initiator, max) in [(plain(), 512), (Policy::default(), 508)] {
        let responder = Policy::default();
        let seen = examined(&responder, &initiator);
        let (most, more) = (vec![1; max], vec![1; max + 1]);
        let error = LocalError::PrivateDataTooLong { len: max + 1, max };
        assert_eq!(request(&initiator, &most).unwrap().private_data.len(), 512);
        assert_eq!(request(&initiator, &more), Err(error));
        assert_eq!(
            accept(&responder, &seen, &most)
                .unwrap()
                .0
                .private_data
                .len(),
            512
        );
        assert_eq!(accept(&responder, &seen, &more), Err(error));
        assert_eq!(reject(&responder, &seen, &more, None), Err(error));
    }
}

#[test]
fn unsound_policies_are_refused() {
    let default = Policy::default();
    let seen = examined(&default, &default);
    for (policy, error) in [
        (
            Policy {
                ird: 0x3fff,
                ..default
            },
            LocalError::Depth { depth: 0x3fff },
        ),
        (
            Policy {
                ord: 0xffff,
                ..default
            },
            LocalError::Depth { depth: 0xffff },
        ),
        (
            Policy {
                rtr: RtrSet::NONE,
                ..default
            },
            LocalError::NoRtr,
        ),
    ] {
        assert_eq!(request(&policy, &[]), Err(error));
        assert_eq!(accept(&policy, &seen, &[]), Err(error));
        assert_eq!(reject(&policy, &seen, &[], None), Err(error));
    }
    assert!(
        request(
            &Policy {
                rtr: RtrSet::NONE,
                ..plain()
            },
            &[]
        )
        .is_ok()
    );
}

//! IRD, ORD and ready-to-receive indications (RFC 6581 s9.1, s9.2).

use super::*;

/// All eight sets.
fn every_rtr() -> impl Iterator<Item = RtrSet> + Clone {
    let pick = |set: bool, rtr| if set { rtr } else { RtrSet::NONE };
    (0..8_u8).map(move |bits| {
        pick(bits & 1 != 0, RtrSet::SEND)
            | pick(bits & 2 != 0, RtrSet::WRITE)
            | pick(bits & 4 != 0, RtrSet::READ)
    })
}
/// E14, E16-E19: what the responder says to each offer, and what the initiator makes of it.
#[test]
fn every_combination_of_a_b_c_d() {
    for (offered, supported) in every_rtr().flat_map(|a| every_rtr().map(move |b| (a, b))) {
        for peer_to_peer in BOTH {
            let initiator = Policy {
                peer_to_peer,
                rtr: offered,
                ..Policy::default()
            };
            let responder = Policy {
                rtr: supported,
                ..Policy::default()
            };
            if offered.is_empty() || supported.is_empty() {
                continue;
            }
            let seen = examined(&responder, &initiator);
            assert_eq!(seen.peer_to_peer, peer_to_peer);
            assert_eq!(seen.rtr, if peer_to_peer { offered } else { RtrSet::NONE });
            let (reply, theirs) = accept(&responder, &seen, &[]).unwrap();
            let words = reply.enhanced_data().unwrap();
            assert_eq!(words.peer_to_peer, peer_to_peer);
            assert_eq!(words.rtr, theirs.rtr_accepted);

            let common = offered & supported;
            let conclusion = conclude(&initiator, &reply).unwrap();
            match conclusion {
                Conclusion::Accepted { agreement, .. } if !peer_to_peer => {
                    assert_eq!((agreement.rtr, theirs.rtr_accepted), (None, RtrSet::NONE));
                }
                Conclusion::Accepted { agreement, .. } => {
                    assert_eq!(theirs.rtr_accepted, common);
                    assert!(agreement.rtr.is_some_and(|rtr| common.contains(rtr)));
                }
                Conclusion::Abort { reason, .. } => {
                    assert!(
                        peer_to_peer && common.is_empty(),
                        "{offered:?} {supported:?}"
                    );
                    assert_eq!(reason, AbortReason::NoMatchingRtr);
                    assert_eq!(reason.code().code(), 7);
                    assert_eq!(words.rtr, supported, "one it supports is set even so");
                }
                Conclusion::Rejected { .. } => panic!("nobody declined"),
            }
        }
    }
}

#[test]
fn the_quietest_indication_is_chosen() {
    for (rtr, chosen) in [
        (RtrSet::ALL, Rtr::Write),
        (RtrSet::SEND | RtrSet::READ, Rtr::Read),
        (RtrSet::SEND, Rtr::Send),
    ] {
        let policy = Policy {
            rtr,
            ..Policy::default()
        };
        assert_eq!(agree(&policy, &policy).0.rtr, Some(chosen));
    }
}

/// E07, E08, E11, E13 at the responder.
#[test]
fn the_responders_depths() {
    const NO: u16 = NO_NEGOTIATION;
    // Request (IRD, ORD), own (IRD, ORD) -> Reply (IRD, ORD), kept (IRD, ORD)
    let table = [
        ((16, 16), (16, 16), (16, 16), (16, 16)),
        ((8, 16), (16, 32), (16, 8), (16, 8)),
        ((0, 0), (16, 16), (16, 0), (16, 0)),
        ((16, 32), (0, 0), (0, 0), (0, 0)),
        ((16, 32), (4, 4), (4, 4), (4, 4)),
        ((NO, 16), (4, 99), (4, NO), (4, 99)),
        ((16, NO), (4, 99), (NO, 16), (4, 16)),
        ((NO, NO), (4, 99), (NO, NO), (4, 99)),
        ((NO, NO), (0, 0), (NO, NO), (0, 0)),
        (
            (0x3ffe, 0x3ffe),
            (0x3ffe, 0x3ffe),
            (0x3ffe, 0x3ffe),
            (0x3ffe, 0x3ffe),
        ),
    ];
    for ((ird, ord), (own_ird, own_ord), answered, kept) in table {
        let responder = Policy {
            ird: own_ird,
            ord: own_ord,
            ..Policy::default()
        };
        let seen = PeerRequest {
            ird: Some(ird),
            ord: Some(ord),
            ..examined(&responder, &client_server())
        };
        let (reply, agreement) = accept(&responder, &seen, &[]).unwrap();
        let words = reply.enhanced_data().unwrap();
        assert_eq!((words.ird, words.ord), answered, "{seen:?}");
        assert_eq!((agreement.ird, agreement.ord), kept, "{seen:?}");
        assert_eq!(
            (agreement.peer_ird, agreement.peer_ord),
            (Some(ird), Some(ord))
        );
    }
}

/// E11, E12, E13 at the initiator. `Err` holds the IRD that would be required.
#[test]
fn the_initiators_depths() {
    const NO: u16 = NO_NEGOTIATION;
    // own (IRD, ORD), Reply (IRD, ORD) -> kept (IRD, ORD)
    let table = [
        ((16, 16), (16, 16), Ok((16, 16))),
        ((16, 16), (4, 8), Ok((16, 4))),
        ((16, 16), (99, 16), Ok((16, 16))),
        ((16, 16), (0, 0), Ok((16, 0))),
        ((0, 0), (16, 0), Ok((0, 0))),
        ((16, 16), (16, 17), Err(17)),
        ((0, 16), (16, 1), Err(1)),
        ((16, 16), (16, 0x3ffe), Err(0x3ffe)),
        ((16, 99), (NO, 8), Ok((16, 99))),
        ((16, 99), (8, NO), Ok((16, 8))),
        ((0, 0), (NO, NO), Ok((0, 0))),
    ];
    for ((ird, ord), (reply_ird, reply_ord), outcome) in table {
        for negotiate_depths in BOTH {
            let policy = Policy {
                ird,
                ord,
                negotiate_depths,
                ..client_server()
            };
            let reply = reply_with(Enhanced {
                ird: reply_ird,
                ord: reply_ord,
                peer_to_peer: false,
                rtr: RtrSet::NONE,
            });
            match (conclude(&policy, &reply).unwrap(), outcome) {
                (Conclusion::Accepted { agreement, .. }, Ok(kept)) => {
                    assert_eq!((agreement.ird, agreement.ord), kept);
                    assert_eq!(agreement.peer_ird, Some(reply_ird));
                    assert_eq!(agreement.peer_ord, Some(reply_ord));
                }
                (
                    Conclusion::Abort {
                        reason, peer_ord, ..
                    },
                    Err(required),
                ) => {
                    assert_eq!(reason, AbortReason::InsufficientIrd { required });
                    assert_eq!(reason.code().code(), 6);
                    assert_eq!(peer_ord, Some(reply_ord));
                }
                (other, _) => panic!("{other:?} for {reply:?}"),
            }
        }
    }
}

#[test]
fn a_request_may_ask_not_to_negotiate_depths() {
    let initiator = Policy {
        ird: 3,
        ord: 99,
        negotiate_depths: false,
        ..Policy::default()
    };
    let responder = Policy {
        ird: 5,
        ord: 77,
        ..Policy::default()
    };
    let asked = request(&initiator, &[]).unwrap().enhanced_data().unwrap();
    assert_eq!((asked.ird, asked.ord), (NO_NEGOTIATION, NO_NEGOTIATION));
    let (ours, theirs) = agree(&initiator, &responder);
    assert_eq!((ours.ird, ours.ord), (3, 99));
    assert_eq!((theirs.ird, theirs.ord), (5, 77));
}

/// E09, G16: a zero-length Read needs a slot.
#[test]
fn a_read_indication_has_a_slot_or_is_not_used() {
    let read_only = Policy {
        rtr: RtrSet::READ,
        ird: 0,
        ord: 0,
        ..Policy::default()
    };
    let (ours, theirs) = agree(&read_only, &read_only);
    assert_eq!((ours.rtr, ours.ord), (Some(Rtr::Read), 1));
    assert_eq!((theirs.ird, theirs.rtr_accepted), (1, RtrSet::READ));

    let flexible = Policy {
        rtr: RtrSet::ALL,
        ..read_only
    };
    let (ours, theirs) = agree(&flexible, &flexible);
    assert_eq!((ours.rtr, ours.ord), (Some(Rtr::Write), 0));
    assert_eq!(
        (theirs.ird, theirs.rtr_accepted),
        (0, RtrSet::SEND | RtrSet::WRITE)
    );

    // The initiator does not want the IRD touched.
    let fixed = Policy {
        negotiate_depths: false,
        ..read_only
    };
    let seen = examined(&read_only, &fixed);
    assert_eq!(accept(&read_only, &seen, &[]), Err(LocalError::NoRtr));
    let (_, theirs) = accept(&flexible, &seen, &[]).unwrap();
    assert_eq!(
        (theirs.ird, theirs.rtr_accepted),
        (0, RtrSet::SEND | RtrSet::WRITE)
    );

    // A responder that promises a Read it has no room for.
    let words = Enhanced {
        ird: 0,
        ord: 0,
        peer_to_peer: true,
        rtr: RtrSet::READ,
    };
    let reply = reply_with(words);
    assert_eq!(
        abort_reason(&Policy::default(), &reply),
        AbortReason::NoMatchingRtr
    );
    let either = reply_with(Enhanced {
        rtr: RtrSet::READ | RtrSet::SEND,
        ..words
    });
    let both = Policy {
        rtr: RtrSet::ALL,
        ..Policy::default()
    };
    assert!(matches!(
        conclude(&both, &either),
        Ok(Conclusion::Accepted {
            agreement: Agreement {
                rtr: Some(Rtr::Send),
                ..
            },
            ..
        })
    ));
    // One that leaves the depths to the users: then ours has to allow a Read.
    let left_open = reply_with(Enhanced {
        ird: NO_NEGOTIATION,
        ..words
    });
    assert_eq!(
        abort_reason(&read_only, &left_open),
        AbortReason::NoMatchingRtr
    );
}

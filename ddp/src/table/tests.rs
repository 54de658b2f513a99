use super::*;
use crate::stag::{DomainId, Rights, Scope, StreamId};
use proptest::prelude::*;

const DOMAIN: DomainId = DomainId(1);
const STREAM: StreamId = StreamId(10);
const PEER: Peer = Peer {
    domain: DOMAIN,
    stream: STREAM,
};
const ALL_ACCESSES: [Access; 3] = [Access::Read, Access::Write, Access::Atomic];

fn registration(scope: Scope, rights: Rights, base: u64, len: u64) -> Registration {
    Registration {
        domain: DOMAIN,
        scope,
        rights,
        base,
        len,
    }
}

/// A table with one STag in it.
fn table_with(registration: Registration) -> (StagTable<&'static str>, Stag) {
    let mut table = StagTable::new(8, 8);
    let stag = table
        .register(registration, "memory", &mut || 0xfeed_f00d)
        .unwrap();
    (table, stag)
}

fn outcome(checked: Result<Placement<'_, &'static str>, AccessError>) -> Result<u64, AccessError> {
    checked.map(|place| place.offset())
}

/// Yields the given numbers, and then the last of them for ever.
fn draws(numbers: &'static [u32]) -> impl FnMut() -> u32 {
    let mut next = 0;
    move || {
        let number = numbers[next.min(numbers.len() - 1)];
        next += 1;
        number
    }
}

/// A small generator of good pseudo-random numbers (splitmix64).
fn generator(mut state: u64) -> impl FnMut() -> u32 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 32) as u32
    }
}

#[test]
fn a_placement_says_how_much_and_under_which_rights() {
    let rights = Rights::REMOTE_WRITE | Rights::REMOTE_ATOMIC;
    let (table, stag) = table_with(registration(Scope::Domain, rights, 1000, 2));
    for (len, is_empty) in [(0, true), (1, false), (2, false)] {
        let place = table.check(PEER, stag, 1000, len, Access::Write).unwrap();
        assert_eq!((place.len(), place.is_empty()), (len, is_empty));
        assert_eq!(place.rights(), rights);
    }
}

#[test]
fn bounds_are_exact_to_the_octet() {
    use AccessError::{Bounds, Wrap};
    let table = [
        // base, len, to, octets, expected
        (1000, 100, 1000, 100, Ok(0)),
        (1000, 100, 1000, 1, Ok(0)),
        (1000, 100, 1099, 1, Ok(99)),
        (1000, 100, 1050, 50, Ok(50)),
        (1000, 100, 1050, 51, Err(Bounds)),
        (1000, 100, 1000, 101, Err(Bounds)),
        (1000, 100, 999, 1, Err(Bounds)),
        (1000, 100, 999, 2, Err(Bounds)),
        (1000, 100, 999, 102, Err(Bounds)),
        (1000, 100, 1100, 1, Err(Bounds)),
        (1000, 100, 0, 1, Err(Bounds)),
        // no octets
        (1000, 100, 1000, 0, Ok(0)),
        (1000, 100, 1100, 0, Ok(100)),
        (1000, 100, 1101, 0, Err(Bounds)),
        (1000, 100, 999, 0, Err(Bounds)),
        (1000, 100, u64::MAX, 0, Err(Bounds)),
        // wrapping comes before bounds, even where the wrapped end would be inside
        (1000, 100, u64::MAX, 1, Err(Wrap)),
        (1000, 100, u64::MAX - 9, 1100, Err(Wrap)),
        (1000, 100, u64::MAX, u32::MAX, Err(Wrap)),
        (1000, 100, u64::MAX - 1, 1, Err(Bounds)),
        // at the ends of the offsets
        (0, 100, 0, 100, Ok(0)),
        (0, 0, 0, 0, Ok(0)),
        (0, 0, 0, 1, Err(Bounds)),
        (u64::MAX - 100, 100, u64::MAX - 100, 100, Ok(0)),
        (u64::MAX - 100, 100, u64::MAX - 1, 1, Ok(99)),
        (u64::MAX - 100, 100, u64::MAX - 1, 2, Err(Wrap)),
        // all offsets there are, less the one that no sum reaches
        (0, u64::MAX, u64::MAX - 1, 1, Ok(u64::MAX - 1)),
        (0, u64::MAX, 1 << 40, u32::MAX, Ok(1 << 40)),
    ];
    for (base, len, to, octets, expected) in table {
        let (table, stag) = table_with(registration(Scope::Domain, Rights::all(), base, len));
        for access in ALL_ACCESSES {
            let checked = outcome(table.check(PEER, stag, to, octets, access));
            assert_eq!(checked, expected, "{octets} at {to}, of {len} at {base}");
        }
    }
}

#[test]
fn only_associated_streams_get_in() {
    use AccessError::NotAssociated;
    let other_domain = Peer {
        domain: DomainId(2),
        stream: STREAM,
    };
    let other_stream = Peer {
        domain: DOMAIN,
        stream: StreamId(11),
    };
    let table = [
        (Scope::Domain, PEER, Ok(0)),
        (Scope::Domain, other_stream, Ok(0)),
        (Scope::Domain, other_domain, Err(NotAssociated)),
        (Scope::Stream(STREAM), PEER, Ok(0)),
        (Scope::Stream(STREAM), other_stream, Err(NotAssociated)),
        // the stream alone is not enough
        (Scope::Stream(STREAM), other_domain, Err(NotAssociated)),
    ];
    for (scope, peer, expected) in table {
        let (table, stag) = table_with(registration(scope, Rights::all(), 0, 10));
        let checked = outcome(table.check(peer, stag, 0, 10, Access::Write));
        assert_eq!(checked, expected, "{scope:?} {peer:?}");
    }
}

#[test]
fn each_right_stands_for_itself() {
    for bits in 0..=Rights::all().bits() {
        let rights = Rights::from_bits(bits).unwrap();
        let (table, stag) = table_with(registration(Scope::Domain, rights, 0, 8));
        let wanted = [
            (Access::Read, Rights::REMOTE_READ),
            (Access::Write, Rights::REMOTE_WRITE),
            (Access::Atomic, Rights::REMOTE_ATOMIC),
        ];
        for (access, right) in wanted {
            let expected = if rights.contains(right) {
                Ok(0)
            } else {
                Err(AccessError::Rights)
            };
            let checked = outcome(table.check(PEER, stag, 0, 8, access));
            assert_eq!(checked, expected, "{rights:?} {access:?}");
        }
    }
}

#[test]
fn the_first_reason_is_the_one_given() {
    let scope = Scope::Stream(STREAM);
    let (table, stag) = table_with(registration(scope, Rights::REMOTE_READ, 0, 10));
    let stranger = Peer {
        domain: DOMAIN,
        stream: StreamId(99),
    };
    let check = |peer, stag, to, len, access| outcome(table.check(peer, stag, to, len, access));
    let unknown = Stag(stag.0 ^ 1);
    let table = [
        (
            stranger,
            unknown,
            u64::MAX,
            2,
            Access::Write,
            AccessError::InvalidStag,
        ),
        (
            stranger,
            stag,
            u64::MAX,
            2,
            Access::Write,
            AccessError::NotAssociated,
        ),
        (PEER, stag, u64::MAX, 2, Access::Write, AccessError::Rights),
        (PEER, stag, u64::MAX, 2, Access::Read, AccessError::Wrap),
        (PEER, stag, 9, 2, Access::Read, AccessError::Bounds),
    ];
    for (peer, stag, to, len, access, expected) in table {
        assert_eq!(check(peer, stag, to, len, access), Err(expected));
    }
    assert_eq!(check(PEER, stag, 9, 1, Access::Read), Ok(9));
}

#[test]
fn every_bit_of_an_stag_counts() {
    let (table, stag) = table_with(registration(Scope::Domain, Rights::all(), 0, 10));
    for bit in 0..32 {
        let other = Stag(stag.0 ^ (1 << bit));
        let checked = outcome(table.check(PEER, other, 0, 1, Access::Read));
        assert_eq!(checked, Err(AccessError::InvalidStag), "bit {bit}");
    }
    assert_eq!(
        outcome(table.check(PEER, Stag(0), 0, 1, Access::Read)),
        Err(AccessError::InvalidStag)
    );
}

#[test]
fn a_revoked_stag_is_gone() {
    let (mut table, stag) = table_with(registration(Scope::Domain, Rights::all(), 0, 10));
    assert_eq!((table.len(), table.is_empty()), (1, false));
    assert_eq!(
        table
            .get(stag)
            .map(|(registration, handle)| (registration.len, *handle)),
        Some((10, "memory"))
    );

    assert_eq!(table.revoke(stag), Some("memory"));
    assert_eq!((table.len(), table.is_empty()), (0, true));
    assert!(table.get(stag).is_none());
    assert_eq!(
        outcome(table.check(PEER, stag, 0, 1, Access::Read)),
        Err(AccessError::InvalidStag)
    );
    assert_eq!(table.invalidate(PEER, stag), Err(AccessError::InvalidStag));
    assert_eq!(table.revoke(stag), None);
}

#[test]
fn a_peer_may_invalidate_only_what_is_its_own() {
    use AccessError::{CannotInvalidate, NotAssociated};
    let other_stream = Peer {
        domain: DOMAIN,
        stream: StreamId(11),
    };
    let other_domain = Peer {
        domain: DomainId(2),
        stream: STREAM,
    };
    let own = Scope::Stream(STREAM);
    let without = Rights::all().difference(Rights::REMOTE_INVALIDATE);
    let table = [
        (own, Rights::all(), PEER, Ok(())),
        (own, Rights::REMOTE_INVALIDATE, PEER, Ok(())),
        (own, without, PEER, Err(CannotInvalidate)),
        (own, Rights::all(), other_stream, Err(NotAssociated)),
        (own, Rights::all(), other_domain, Err(NotAssociated)),
        // what several streams may use is not for one of them to take away
        (Scope::Domain, Rights::all(), PEER, Err(CannotInvalidate)),
        (
            Scope::Domain,
            Rights::all(),
            other_domain,
            Err(NotAssociated),
        ),
    ];
    for (scope, rights, peer, expected) in table {
        let (mut table, stag) = table_with(registration(scope, rights, 0, 10));
        assert_eq!(
            table.invalidate(peer, stag),
            expected,
            "{scope:?} {rights:?} {peer:?}"
        );
        assert_eq!(table.get(stag).is_some(), expected.is_err());
        let again = table.invalidate(peer, stag);
        assert_eq!(again, expected.and(Err(AccessError::InvalidStag)));
    }
}

#[test]
fn stag_zero_is_never_issued() {
    let mut table = StagTable::new(8, 0);
    let registration = registration(Scope::Domain, Rights::all(), 0, 10);
    assert_eq!(
        table.register(registration, (), &mut draws(&[0, 0, 5])),
        Ok(Stag(5))
    );
}

#[test]
fn an_stag_in_use_is_not_issued_twice() {
    let mut table = StagTable::new(8, 0);
    let registration = registration(Scope::Domain, Rights::all(), 0, 10);
    assert_eq!(
        table.register(registration, 'a', &mut draws(&[5])),
        Ok(Stag(5))
    );
    assert_eq!(
        table.register(registration, 'b', &mut draws(&[5, 5, 6])),
        Ok(Stag(6))
    );
    assert_eq!(table.get(Stag(5)).map(|(_, handle)| *handle), Some('a'));
}

#[test]
fn revoked_stags_come_back_late() {
    let registration = registration(Scope::Stream(STREAM), Rights::all(), 0, 10);
    let mut table = StagTable::new(8, 2);
    let register = |table: &mut StagTable<()>, numbers| {
        table
            .register(registration, (), &mut draws(numbers))
            .unwrap()
            .0
    };
    assert_eq!(register(&mut table, &[1]), 1);
    assert_eq!(register(&mut table, &[2]), 2);
    assert_eq!(register(&mut table, &[3]), 3);
    table.revoke(Stag(1));
    assert_eq!(register(&mut table, &[1, 4]), 4);
    // A peer's revocation counts like our own.
    table.invalidate(PEER, Stag(2)).unwrap();
    assert_eq!(register(&mut table, &[1, 2, 5]), 5);
    table.revoke(Stag(3));
    // Now two others have been revoked after 1.
    assert_eq!(register(&mut table, &[2, 3, 1]), 1);
}

#[test]
fn broken_randomness_ends_in_an_error() {
    let registration = registration(Scope::Domain, Rights::all(), 0, 10);
    let mut table = StagTable::new(8, 8);
    let mut drawn = 0;
    let mut random = || {
        drawn += 1;
        0
    };
    assert_eq!(
        table.register(registration, (), &mut random),
        Err(RegisterError::NoFreeStag)
    );
    assert_eq!(drawn, DRAWS_MAX);
    assert!(table.is_empty());
}

#[test]
fn a_full_table_takes_no_more() {
    let registration = registration(Scope::Domain, Rights::all(), 0, 10);
    let mut table = StagTable::new(2, 8);
    let mut random = generator(1);
    let first = table.register(registration, (), &mut random).unwrap();
    table.register(registration, (), &mut random).unwrap();
    assert_eq!(
        table.register(registration, (), &mut random),
        Err(RegisterError::Full)
    );
    table.revoke(first);
    assert!(table.register(registration, (), &mut random).is_ok());
}

#[test]
fn a_buffer_whose_offsets_wrap_is_refused() {
    let mut table = StagTable::new(8, 8);
    for (base, len, fits) in [
        (u64::MAX, 0, true),
        (u64::MAX, 1, false),
        (1, u64::MAX, false),
        (0, u64::MAX, true),
        (u64::MAX - 100, 100, true),
        (u64::MAX - 100, 101, false),
    ] {
        let registration = registration(Scope::Domain, Rights::all(), base, len);
        let registered = table.register(registration, (), &mut generator(base ^ len));
        assert_eq!(
            registered.err(),
            (!fits).then_some(RegisterError::OffsetWrap)
        );
    }
}

/// All of the randomness goes into the STag, unchanged: no bit is fixed, and no number is small.
#[test]
fn issued_stags_use_all_32_bits() {
    const COUNT: u32 = 4096;
    let registration = registration(Scope::Domain, Rights::all(), 0, 10);
    let mut table = StagTable::new(COUNT as usize, 0);
    let mut random = generator(7);
    let stags: Vec<Stag> = (0..COUNT)
        .map(|_| table.register(registration, (), &mut random).unwrap())
        .collect();
    for bit in 0..32 {
        let ones = stags.iter().filter(|stag| stag.0 >> bit & 1 == 1).count() as u32;
        // Half of them, give or take more than 10 standard deviations.
        assert!(
            ones.abs_diff(COUNT / 2) < COUNT / 12,
            "bit {bit} is set in {ones} of {COUNT}"
        );
    }
    assert!(
        stags.windows(2).any(|pair| pair[1] < pair[0]),
        "issued in rising order"
    );
}

proptest! {
    /// The decision about a range agrees with arithmetic that has room enough.
    #[test]
    fn ranges_agree_with_wide_arithmetic(
        (base, len) in prop_oneof![
            (0u64..50, 0u64..50),
            (u64::MAX - 100..u64::MAX - 50, 0u64..50),
            any::<u64>().prop_flat_map(|base| (Just(base), 0..=u64::MAX - base)),
        ],
        near in -60i64..60,
        at_end in any::<bool>(),
        octets in prop_oneof![0u32..60, any::<u32>()],
    ) {
        let (table, stag) = table_with(registration(Scope::Domain, Rights::all(), base, len));
        let anchor = if at_end { base + len } else { base };
        let to = anchor.wrapping_add_signed(near);
        let (wide_to, wide_end) = (u128::from(to), u128::from(to) + u128::from(octets));
        let expected = if wide_end > u128::from(u64::MAX) {
            Err(AccessError::Wrap)
        } else if wide_to < u128::from(base) || wide_end > u128::from(base) + u128::from(len) {
            Err(AccessError::Bounds)
        } else {
            Ok((to - base, octets))
        };
        let checked = table.check(PEER, stag, to, octets, Access::Write);
        prop_assert_eq!(checked.map(|place| (place.offset(), place.len())), expected);
    }

    /// Whatever is registered and revoked, exactly what is in force can be reached, and nothing
    /// that was revoked a short while ago is issued.
    #[test]
    fn exactly_what_is_in_force_can_be_reached(
        steps in proptest::collection::vec((any::<bool>(), 0u32..24, 0u32..24), 1..120),
    ) {
        const QUARANTINE: usize = 5;
        let registration = registration(Scope::Domain, Rights::all(), 0, 10);
        let mut table = StagTable::new(8, QUARANTINE);
        let mut in_force: Vec<u32> = Vec::new();
        let mut revoked: Vec<u32> = Vec::new();
        for (register, one, two) in steps {
            if register {
                let drawn = [one, two];
                let mut next = 0;
                let mut random = || { next += 1; drawn[next % 2] };
                let recent = &revoked[revoked.len().saturating_sub(QUARANTINE)..];
                let free = |stag: &u32| *stag != 0 && !in_force.contains(stag) && !recent.contains(stag);
                let expected = if in_force.len() == 8 {
                    Err(RegisterError::Full)
                } else {
                    [two, one].into_iter().find(free).map(Stag).ok_or(RegisterError::NoFreeStag)
                };
                let issued = table.register(registration, one, &mut random);
                prop_assert_eq!(issued, expected);
                in_force.extend(issued.ok().map(|stag| stag.0));
            } else if table.revoke(Stag(one)).is_some() {
                prop_assert!(in_force.contains(&one));
                in_force.retain(|stag| *stag != one);
                revoked.push(one);
            }
            for stag in 0..24 {
                let reached = table.check(PEER, Stag(stag), 0, 1, Access::Read).is_ok();
                prop_assert_eq!(reached, in_force.contains(&stag));
            }
            prop_assert_eq!(table.len(), in_force.len());
        }
    }
}

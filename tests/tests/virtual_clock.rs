//! Two connections under a virtual clock, over a link that cuts, delays and coalesces.
//!
//! Random programs run at both ends at once. When all goes well, memory and completions are those of
//! a simple model; when something ends the connection, every request still completes once, and in
//! time.

use std::time::Duration;

use proptest::prelude::*;
use uwarp_ddp::Rights;
use uwarp_mpa::{Policy, Revision, RtrSet};
use uwarp_stream::{Config, End};
use uwarp_tests::link::Weather;
use uwarp_tests::model::{Op, World};
use uwarp_tests::pair::{INITIATOR, Pair, RESPONDER};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(7);

/// Lengths of the regions of each end. The last is for messages of several segments.
const REGIONS: [usize; 6] = [1, 300, 5000, 5000, 9000, 200_000];

/// What a peer may do with each of them.
fn rights(region: usize) -> Rights {
    match region {
        0 | 2 => Rights::REMOTE_WRITE,
        1 => Rights::REMOTE_READ,
        3 => Rights::REMOTE_READ | Rights::REMOTE_WRITE | Rights::REMOTE_INVALIDATE,
        _ => Rights::REMOTE_READ | Rights::REMOTE_WRITE,
    }
}

/// The length of a message, before it is known what an FPDU holds.
#[derive(Clone, Copy, Debug)]
enum Size {
    Octets(u32),
    /// So many whole segments, and so many octets more or less.
    Segments(u32, i32),
}

/// An operation, before it is known which regions there are.
#[derive(Clone, Copy, Debug)]
struct Draft {
    kind: u8,
    region: usize,
    offset: u64,
    size: Size,
}

#[derive(Clone, Debug)]
struct Setup {
    configs: [Config; 2],
    weather: Weather,
    budgets: [usize; 2],
    seed: u64,
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        2 => (0u32..=2).prop_map(Size::Octets),
        3 => (1u32..=3, -1i32..=1).prop_map(|(count, more)| Size::Segments(count, more)),
        3 => (0u32..6000).prop_map(Size::Octets),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    (any::<u8>(), 0..REGIONS.len(), any::<u64>(), size()).prop_map(
        |(kind, region, offset, size)| Draft {
            kind,
            region,
            offset,
            size,
        },
    )
}

fn rtr() -> impl Strategy<Value = RtrSet> {
    prop::sample::select(vec![RtrSet::SEND, RtrSet::WRITE, RtrSet::READ, RtrSet::ALL])
}

fn emss() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 128u32..1501, 1 => Just(1460), 1 => Just(9000), 1 => Just(65_483)]
}

fn config() -> impl Strategy<Value = Config> {
    let flags = (any::<bool>(), any::<bool>());
    let depths = (1u16..9, 1u16..9);
    let queues = (1usize..9, 1usize..9);
    (flags, depths, queues, emss()).prop_map(|((crc, markers), (ird, ord), queues, emss)| Config {
        policy: Policy {
            crc,
            markers,
            ird,
            ord,
            ..Policy::default()
        },
        send_queue: queues.0,
        receive_queue: queues.1,
        emss,
        close_timeout: CLOSE_TIMEOUT,
        ..Config::default()
    })
}

fn weather() -> impl Strategy<Value = Weather> {
    let grain = prop_oneof![1 => 1usize..50, 4 => 50usize..2000, 2 => Just(1 << 16)];
    (0u64..40, 1usize..100_000, grain).prop_map(|(delay, window, grain)| Weather {
        delay: Duration::from_millis(delay),
        window,
        grain,
    })
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        (config(), config()),
        (any::<bool>(), any::<bool>(), rtr()),
        weather(),
        (1usize..70_000, 1usize..70_000),
        any::<u64>(),
    )
        .prop_map(
            |((mut ours, mut theirs), (old, peer_to_peer, rtr), mut weather, budgets, seed)| {
                if ours.emss.max(theirs.emss) > 1500 {
                    // Large messages octet by octet would take minutes.
                    weather.grain = weather.grain.max(1000);
                    weather.window = weather.window.max(1000);
                }
                ours.policy.peer_to_peer = peer_to_peer;
                ours.policy.rtr = rtr;
                theirs.policy.rtr = RtrSet::ALL;
                // With an IRD that would not do, there is no connection.
                theirs.policy.ord = theirs.policy.ord.min(ours.policy.ird);
                if old {
                    ours.policy.revision = Revision::One;
                    ours.policy.ord = ours.policy.ord.min(theirs.policy.ird);
                }
                Setup {
                    configs: [ours, theirs],
                    weather,
                    budgets: [budgets.0, budgets.1],
                    seed,
                }
            },
        )
}

fn drafts(most: usize) -> impl Strategy<Value = [Vec<Draft>; 2]> {
    let one = move || prop::collection::vec(draft(), 0..most);
    (one(), one()).prop_map(|(left, right)| [left, right])
}

/// Octets of payload in a full segment of an untagged (tagged) message.
fn segment_payload(config: &Config, peer: &Config, tagged: bool) -> u32 {
    let mulpdu = uwarp_mpa::mulpdu(config.emss, peer.policy.markers);
    u32::from(mulpdu) - if tagged { 14 } else { 18 }
}

/// Makes operations of drafts: within the regions, and none on what has been invalidated.
fn ops(drafts: &[Draft], config: &Config, peer: &Config) -> Vec<Op> {
    let mut invalidated = false;
    let mut ops = Vec::new();
    for draft in drafts {
        let tagged = draft.kind % 3 != 0;
        let wanted = match draft.size {
            Size::Octets(len) => len,
            Size::Segments(count, more) => {
                (segment_payload(config, peer, tagged) * count).saturating_add_signed(more)
            }
        };
        let right = match draft.kind % 3 {
            1 => Rights::REMOTE_WRITE,
            _ => Rights::REMOTE_READ,
        };
        let usable =
            |region: &usize| rights(*region).contains(right) && !(invalidated && *region == 3);
        let region = (draft.region..REGIONS.len()).find(usable).unwrap_or(5);
        let len = wanted.min(REGIONS[region] as u32);
        let offset = draft.offset % (REGIONS[region] as u64 - u64::from(len) + 1);
        ops.push(match draft.kind % 3 {
            0 => {
                let invalidate = (draft.kind & 0x60 == 0 && !invalidated).then_some(3);
                invalidated |= invalidate.is_some();
                Op::Send {
                    len: wanted,
                    solicited: draft.kind & 0x80 != 0,
                    invalidate,
                }
            }
            1 => Op::Write {
                region,
                offset,
                len,
            },
            _ => Op::Read {
                region,
                offset,
                len,
            },
        });
    }
    ops
}

/// A world with its regions and its scripts.
fn world(setup: &Setup, drafts: &[Vec<Draft>; 2]) -> World {
    let [ours, theirs] = &setup.configs;
    let mut pair = Pair::new(setup.configs.clone(), setup.weather, setup.seed);
    for (host, budget) in pair.hosts.iter_mut().zip(setup.budgets) {
        host.budget = budget;
    }
    let mut world = World::new(pair);
    for (region, len) in REGIONS.into_iter().enumerate() {
        let base = [0, 4096, u64::MAX - (1 << 20)][region % 3];
        world.region(INITIATOR, rights(region), base, len);
        world.region(RESPONDER, rights(region), base, len);
    }
    if !ours.policy.peer_to_peer || ours.policy.revision == Revision::One {
        // Somebody has to speak first, and only the initiator can (RFC 5044 s7.1.2 r4).
        let hello = Op::Write {
            region: 2,
            offset: 0,
            len: 0,
        };
        world.script(INITIATOR, [hello]);
    }
    world.script(INITIATOR, ops(&drafts[INITIATOR], ours, theirs));
    world.script(RESPONDER, ops(&drafts[RESPONDER], theirs, ours));
    world
}

fn close(world: &mut World, side: usize) {
    let now = world.pair.now;
    world.pair.hosts[side].connection.close(now);
}

fn both_over(world: &mut World) -> bool {
    world.end(INITIATOR).is_some() && world.end(RESPONDER).is_some()
}

/// The segment size of one end changes to `emss` at that turn.
#[derive(Clone, Copy, Debug)]
struct Change {
    turn: u32,
    side: usize,
    emss: u32,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    // Not so large that a link of small grain takes minutes.
    let one = (0u32..400, 0usize..2, 128u32..1501).prop_map(|(turn, side, emss)| Change {
        turn,
        side,
        emss,
    });
    prop::collection::vec(one, 1..30)
}

/// Everything succeeds, and both ends close in order.
fn run_well(world: World, closes: usize) {
    run_well_while(world, closes, |_, _| {});
}

/// The same, while `act` does something before each turn.
fn run_well_while(mut world: World, closes: usize, mut act: impl FnMut(&mut World, u32)) {
    let mut turn = 0;
    world.run_until(|world| {
        act(world, turn);
        turn += 1;
        (world.is_done() && world.is_set_up(INITIATOR) && world.is_set_up(RESPONDER))
            || world.end(INITIATOR).is_some()
            || world.end(RESPONDER).is_some()
    });
    assert!(world.is_done(), "{:?} {:?}", world.end(0), world.end(1));
    assert_eq!((world.account(0).1, world.account(1).1), (0, 0));
    close(&mut world, closes);
    world.run_until(both_over);
    world.assert_memory();
    assert_eq!(world.end(INITIATOR), Some(&End::Graceful));
    assert_eq!(world.end(RESPONDER), Some(&End::Graceful));
}

/// How a connection comes to its end.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The network resets it when one end has sent so many octets.
    Reset(usize, u64),
    /// The process at one end dies when it has sent so many octets: a FIN, anywhere.
    Death(usize, u64),
    /// One end closes after so many turns.
    Close(usize, u32),
    /// Both do, in the same turn.
    CloseBoth(u32),
    /// One end aborts.
    Abort(usize, u32),
}

fn ending() -> impl Strategy<Value = Ending> {
    let octets = || prop_oneof![2 => 0u64..200, 3 => 0u64..20_000];
    let turns = || prop_oneof![1 => 0u32..20, 3 => 0u32..600];
    let side = 0usize..2;
    prop_oneof![
        (side.clone(), octets()).prop_map(|(side, at)| Ending::Reset(side, at)),
        (side.clone(), octets()).prop_map(|(side, at)| Ending::Death(side, at)),
        (side.clone(), turns()).prop_map(|(side, at)| Ending::Close(side, at)),
        turns().prop_map(Ending::CloseBoth),
        (side, turns()).prop_map(|(side, at)| Ending::Abort(side, at)),
    ]
}

impl Ending {
    fn prepare(self, world: &mut World) {
        if let Self::Reset(side, at) | Self::Death(side, at) = self {
            world.pair.links[side].limit(at);
        }
    }

    /// Makes it happen if it is time; whether it has happened.
    fn strike(self, world: &mut World, turn: u32) -> bool {
        match self {
            Self::Reset(side, _) if world.pair.links[side].is_spent() => world.pair.reset(),
            Self::Death(side, _) if world.pair.links[side].is_spent() => {
                world.stop(side);
                world.pair.kill(side);
            }
            Self::Close(side, at) if turn >= at => close(world, side),
            Self::CloseBoth(at) if turn >= at => {
                close(world, INITIATOR);
                close(world, RESPONDER);
            }
            Self::Abort(side, at) if turn >= at => world.pair.hosts[side].connection.abort(),
            _ => return false,
        }
        true
    }
}

/// Whatever ends it, everything completes, and in time.
fn run_to(mut world: World, ending: Ending) {
    ending.prepare(&mut world);
    let (mut turn, mut struck) = (0, false);
    world.run_until(|world| {
        turn += 1;
        struck = struck || ending.strike(world, turn);
        struck || world.is_done() && world.is_set_up(RESPONDER)
    });
    if !struck {
        // It was over before it could be disturbed.
        close(&mut world, INITIATOR);
    }
    let begun = world.pair.now;
    world.run_until(both_over);
    world.assert_all_complete();
    for host in &world.pair.hosts {
        let (end, at) = host.end.as_ref().expect("both ends are over");
        assert!(
            matches!(
                end,
                End::Graceful | End::Lost | End::Aborted | End::CloseTimeout
            ),
            "{end:?}"
        );
        // The end that learns of it from the other may begin to close when that has closed.
        assert!(at.duration_since(begun) <= 2 * CLOSE_TIMEOUT, "in time");
        assert_eq!(host.connection.deadline(), None);
    }
}

proptest! {
    #![proptest_config(config_of(100))]

    #[test]
    fn memory_and_completions_are_those_of_the_model(
        setup in setup(), drafts in drafts(40), closes in 0usize..2,
    ) {
        run_well(world(&setup, &drafts), closes);
    }

    /// RFC 5041 s3 (D01): the segment size may change at any time, at either end.
    #[test]
    fn the_segment_size_changes_meanwhile(
        setup in setup(), drafts in drafts(20), closes in 0usize..2, changes in changes(),
    ) {
        run_well_while(world(&setup, &drafts), closes, |world, turn| {
            for change in changes.iter().filter(|change| change.turn == turn) {
                world.pair.hosts[change.side].connection.set_emss(change.emss);
            }
        });
    }

    #[test]
    fn whatever_ends_it_everything_completes_once(
        setup in setup(), drafts in drafts(25), ending in ending(),
    ) {
        run_to(world(&setup, &drafts), ending);
    }
}

/// Fewer cases than proptest's own number; `PROPTEST_CASES` asks for more.
fn config_of(cases: u32) -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: wanted.and_then(|count| count.parse().ok()).unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    }
}

fn config_with(policy: Policy, emss: u32) -> Config {
    Config {
        policy,
        emss,
        close_timeout: CLOSE_TIMEOUT,
        ..Config::default()
    }
}

/// Messages of several MiB, in both directions at once.
#[test]
fn several_mebibytes_at_once() {
    const LEN: u32 = (3 << 20) + 1;
    let off = Policy {
        crc: false,
        markers: true,
        ..Policy::default()
    };
    for (policy, emss) in [(Policy::default(), 1460), (off, 9000), (off, 65_483)] {
        let configs = [config_with(policy, emss), config_with(policy, emss)];
        let mut world = World::new(Pair::new(configs, Weather::default(), 3));
        for side in [INITIATOR, RESPONDER] {
            let both = Rights::REMOTE_READ | Rights::REMOTE_WRITE;
            world.region(side, both, 77, LEN as usize);
        }
        let (region, offset, len) = (0, 0, LEN);
        let ops = [
            Op::Read {
                region,
                offset,
                len,
            },
            Op::Write {
                region,
                offset,
                len,
            },
            Op::Send {
                len,
                solicited: true,
                invalidate: None,
            },
            Op::Read {
                region,
                offset: 1,
                len: len - 1,
            },
        ];
        world.script(INITIATOR, ops);
        world.script(RESPONDER, ops);
        run_well(world, RESPONDER);
    }
}

/// A process that is stopped holds nobody up for longer than was agreed.
#[test]
fn a_peer_that_is_stopped() {
    for side in [INITIATOR, RESPONDER] {
        let configs = [
            config_with(Policy::default(), 1460),
            config_with(Policy::default(), 1460),
        ];
        let weather = Weather {
            window: 5000,
            ..Weather::default()
        };
        let mut world = World::new(Pair::new(configs, weather, 5));
        world.region(side, Rights::REMOTE_WRITE, 0, 9000);
        let write = Op::Write {
            region: 0,
            offset: 0,
            len: 9000,
        };
        let send = Op::Send {
            len: 100,
            solicited: false,
            invalidate: None,
        };
        world.script(side, [send]);
        world.run_until(|world| world.is_done() && world.is_set_up(1 - side));
        world.pair.hosts[side].stopped = true;
        world.script(1 - side, [write, write]);
        world.run_until(|_| false);
        // The window is full; nothing more can be said, and nothing will be heard.
        assert_eq!(world.end(1 - side), None);
        let begun = world.pair.now;
        close(&mut world, 1 - side);
        world.run_until(|world| world.end(1 - side).is_some());
        assert_eq!(world.end(1 - side), Some(&End::CloseTimeout));
        assert_eq!(world.pair.now - begun, CLOSE_TIMEOUT);
        assert_eq!(world.account(1 - side), (1, 2));
    }
}

/// The set-up has its own limit, whichever end does not do its part.
#[test]
fn a_peer_that_is_stopped_from_the_beginning() {
    for side in [INITIATOR, RESPONDER] {
        let configs = [Config::default(), Config::default()];
        let limit = configs[1 - side].startup_timeout;
        let mut world = World::new(Pair::new(configs, Weather::default(), 5));
        world.pair.hosts[side].stopped = true;
        let begun = world.pair.now;
        world.run_until(|world| world.end(1 - side).is_some());
        assert_eq!(world.end(1 - side), Some(&End::StartupTimeout));
        assert_eq!(world.pair.now - begun, limit);
    }
}

/// A responder that closes as soon as it has accepted answers the RTR frame first, which may be a Read.
#[test]
fn a_responder_that_closes_before_the_rtr_frame() {
    for rtr in [RtrSet::SEND, RtrSet::WRITE, RtrSet::READ, RtrSet::ALL] {
        let policy = |rtr| Policy {
            peer_to_peer: true,
            rtr,
            ..Policy::default()
        };
        let setup = Setup {
            configs: [rtr, RtrSet::ALL].map(|rtr| config_with(policy(rtr), 128)),
            weather: Weather {
                delay: Duration::ZERO,
                window: 1,
                grain: 1,
            },
            budgets: [1, 1],
            seed: 0,
        };
        for closes in [INITIATOR, RESPONDER] {
            run_well(world(&setup, &[vec![], vec![]]), closes);
        }
    }
}

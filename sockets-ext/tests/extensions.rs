//! The operations of RFC 7306 over real connections: atomics and Immediate Data.

use std::sync::atomic::Ordering;
use std::time::Duration;

use uwarp::{
    AtomicOperation, Completion, Domain, End, Fault, Listener, OperationKind, Options, PostError,
    Region, RemoteRegion, Rights, Socket, Status, TerminateCode, WaitError,
};

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// A connected pair: the accepting end and the connecting end.
fn pair(served: &Domain, options: Options) -> (Socket, Socket) {
    let listener = Listener::bind("127.0.0.1:0", &Options::new(served)).unwrap();
    let address = listener.local_addr();
    let connecting = std::thread::spawn(move || uwarp::connect(address, &options).unwrap());
    let accepted = listener.accept().unwrap().accept(&[]).unwrap();
    (accepted, connecting.join().unwrap())
}

fn done(socket: &Socket) -> Completion {
    socket.wait(PATIENCE).unwrap()
}

/// Waits for the end of the connection; what was posted is taken on the way.
fn end(socket: &Socket) -> End {
    loop {
        match socket.wait(PATIENCE) {
            Ok(_) => {}
            Err(WaitError::Over(end)) => return end,
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
}

fn word(region: &Region, offset: u64) -> u64 {
    region.memory().load_u64(offset, Ordering::SeqCst).unwrap()
}

fn aligned(domain: &Domain, rights: Rights) -> Region {
    let memory = uwarp::Memory::zeroed(4096).unwrap();
    domain.register(memory, rights).unwrap()
}

#[test]
fn a_word_is_added_to_and_swapped() {
    let served = Domain::new();
    let region = aligned(&served, Rights::REMOTE_ATOMIC);
    region.memory().store_u64(8, 40, Ordering::SeqCst).unwrap();
    let (_accepted, socket) = pair(&served, Options::new(&Domain::new()));
    let remote = region.remote().unwrap().slice(8, 8).unwrap();

    socket
        .post_atomic(1, AtomicOperation::FetchAdd { add: 2, mask: 0 }, remote)
        .unwrap();
    let first = done(&socket);
    assert_eq!(
        (first.id, first.kind, first.status, first.original),
        (1, OperationKind::Atomic, Status::Success, Some(40))
    );
    assert_eq!(word(&region, 8), 42);

    let all = u64::MAX;
    for (compare, before, after) in [(41, 42, 42), (42, 42, 7)] {
        let swap = AtomicOperation::CompareSwap {
            compare,
            compare_mask: all,
            swap: 7,
            swap_mask: all,
        };
        socket.post_atomic(2, swap, remote).unwrap();
        assert_eq!(done(&socket).original, Some(before));
        assert_eq!(word(&region, 8), after);
    }
    assert_eq!((word(&region, 0), word(&region, 16)), (0, 0));
    socket.close().unwrap();
}

/// Adds 1 to the word `count` times, as fast as the ORD allows; the words that were found.
fn add_all(socket: &Socket, remote: RemoteRegion, count: u64) -> Vec<u64> {
    let add = AtomicOperation::FetchAdd { add: 1, mask: 0 };
    let (mut posted, mut found) = (0, Vec::new());
    while found.len() < count as usize {
        while posted < count && socket.post_atomic(posted, add, remote).is_ok() {
            posted += 1;
        }
        found.push(done(socket).original.expect("it succeeded"));
    }
    found
}

/// Tries `count` times to add 1 to the word by comparing and swapping; the words that were found where it worked.
fn swap_all(socket: &Socket, remote: RemoteRegion, count: u64) -> Vec<u64> {
    let (mut compare, mut found) = (0, Vec::new());
    for id in 0..count {
        let swap = AtomicOperation::CompareSwap {
            compare,
            compare_mask: u64::MAX,
            swap: compare + 1,
            swap_mask: u64::MAX,
        };
        socket.post_atomic(id, swap, remote).unwrap();
        let original = done(socket).original.expect("it succeeded");
        if original == compare {
            found.push(original);
            compare += 1;
        } else {
            // Others have been quicker.
            compare = original;
        }
    }
    found
}

/// RFC 7306 s5.3 (X03): four connections on two workers, and two threads of this program, at one word and all at
/// once. Every step finds another word, and none is lost.
#[test]
fn additions_from_everywhere_are_not_lost() {
    const EACH: u64 = 4000;
    let served = Domain::new();
    let region = aligned(&served, Rights::REMOTE_ATOMIC);
    let remote = region.remote().unwrap();
    let workers = uwarp::Workers::start(2).unwrap();
    let listener = Listener::bind("127.0.0.1:0", &Options::new(&served).workers(&workers)).unwrap();
    let address = listener.local_addr();
    let connected = std::sync::Barrier::new(6);
    let busy = std::sync::atomic::AtomicUsize::new(4);
    let (found, added) = std::thread::scope(|scope| {
        let accepting = scope.spawn(|| {
            (0..4)
                .map(|_| listener.accept().unwrap().accept(&[]).unwrap())
                .collect::<Vec<_>>()
        });
        let (connected, busy, memory) = (&connected, &busy, region.memory());
        let peers: Vec<_> = (0..4)
            .map(|who| {
                scope.spawn(move || {
                    let socket = uwarp::connect(address, &Options::new(&Domain::new())).unwrap();
                    connected.wait();
                    let found = match who {
                        0 => swap_all(&socket, remote, EACH),
                        _ => add_all(&socket, remote, EACH),
                    };
                    busy.fetch_sub(1, Ordering::SeqCst);
                    socket.close().unwrap();
                    found
                })
            })
            .collect();
        // How often it has added. In bursts: only while nobody rests does one meet another in the middle of its step.
        let local = |add: fn(&uwarp::RegionMemory) -> u64| {
            scope.spawn(move || {
                connected.wait();
                let (mut count, mut last) = (0, None);
                while busy.load(Ordering::SeqCst) > 0 {
                    for _ in 0..1000 {
                        let found = Some(add(memory));
                        assert!(last < found, "the word goes up");
                        last = found;
                        count += 1;
                    }
                    std::thread::yield_now();
                }
                count
            })
        };
        let locals = [
            local(|memory| memory.fetch_add_u64(0, 1, Ordering::SeqCst).unwrap()),
            local(|memory| {
                let add = |word| word + 1;
                memory.fetch_update_u64(0, Ordering::SeqCst, add).unwrap()
            }),
        ];
        let found: Vec<Vec<u64>> = peers.into_iter().map(|peer| peer.join().unwrap()).collect();
        let added: u64 = locals.into_iter().map(|local| local.join().unwrap()).sum();
        for socket in accepting.join().unwrap() {
            assert_eq!(end(&socket), End::Graceful);
        }
        (found, added)
    });
    for one in &found {
        assert!(one.is_sorted(), "nobody sees the word go back");
    }
    let mut all = found.concat();
    let total = all.len() as u64 + added;
    assert_eq!(word(&region, 0), total, "no addition is lost");
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len() as u64 + added, total, "no two find the same word");
}

#[test]
fn reads_and_atomics_are_answered_in_one_order() {
    let served = Domain::new();
    let region = aligned(&served, Rights::REMOTE_ATOMIC | Rights::REMOTE_READ);
    let home = Domain::new();
    let (_accepted, socket) = pair(&served, Options::new(&home).ord(3));
    let remote = region.remote().unwrap().slice(0, 8).unwrap();
    let sink = home.register(vec![0u8; 8 * 10], Rights::empty()).unwrap();
    for step in 0..10 {
        socket
            .post_read(
                100 + step,
                &[sink
                    .slice(8 * step as usize..8 * (step as usize + 1))
                    .unwrap()],
                remote,
            )
            .unwrap();
        socket
            .post_atomic(
                200 + step,
                AtomicOperation::FetchAdd { add: 1, mask: 0 },
                remote,
            )
            .unwrap();
    }
    for step in 0..10 {
        assert_eq!(done(&socket).id, 100 + step);
        let mut seen = [0; 8];
        sink.read_at(8 * step, &mut seen).unwrap();
        assert_eq!(
            u64::from_ne_bytes(seen),
            step,
            "the Read sees the additions before it and no other"
        );
        let atomic = done(&socket);
        assert_eq!((atomic.id, atomic.original), (200 + step, Some(step)));
    }
    socket.close().unwrap();
}

#[test]
fn what_may_not_be_changed_is_not() {
    type Aim = fn(&Region) -> uwarp::RemoteRegion;
    type Case = (&'static str, Rights, Aim, (u8, u8, u8));
    let cases: [Case; 4] = [
        (
            "misaligned",
            Rights::REMOTE_ATOMIC,
            |region| region.remote().unwrap().slice(4, 8).unwrap(),
            (0, 2, 7),
        ),
        (
            "without the right",
            Rights::REMOTE_READ.union(Rights::REMOTE_WRITE),
            |region| region.remote().unwrap(),
            (0, 1, 2),
        ),
        (
            "out of bounds",
            Rights::REMOTE_ATOMIC,
            |region| uwarp::RemoteRegion {
                to: 4096,
                ..region.remote().unwrap()
            },
            (0, 1, 1),
        ),
        (
            "unknown STag",
            Rights::REMOTE_ATOMIC,
            |region| uwarp::RemoteRegion {
                stag: uwarp::Stag(region.stag().unwrap().0 ^ 1),
                ..region.remote().unwrap()
            },
            (0, 1, 0),
        ),
    ];
    for (name, rights, aim, code) in cases {
        let served = Domain::new();
        let region = aligned(&served, rights);
        let (accepted, socket) = pair(&served, Options::new(&Domain::new()));
        let target = aim(&region);
        socket
            .post_atomic(1, AtomicOperation::FetchAdd { add: 1, mask: 0 }, target)
            .unwrap();
        assert_eq!(done(&socket).status, Status::Flushed, "{name}");
        let told = match end(&socket) {
            End::Terminated(TerminateCode { layer, etype, code }) => (layer.bits(), etype, code),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(told, code, "{name}");
        assert!(
            matches!(end(&accepted), End::Fault(Fault::Rdmap(_))),
            "{name}"
        );
        assert_eq!(word(&region, 0), 0, "{name}");
    }
}

#[test]
fn immediate_data_arrives_in_the_completion() {
    let served = Domain::new();
    let inbox = served.register(vec![0x55u8; 16], Rights::empty()).unwrap();
    let listener = Listener::bind("127.0.0.1:0", &Options::new(&served)).unwrap();
    let address = listener.local_addr();
    let connecting = std::thread::spawn(move || {
        let socket = uwarp::connect(address, &Options::new(&Domain::new())).unwrap();
        socket.post_immediate(1, *b"12345678", false).unwrap();
        socket.post_immediate(2, *b"abcdefgh", true).unwrap();
        assert_eq!(done(&socket).kind, OperationKind::Immediate);
        assert!(done(&socket).is_success());
        socket.close().unwrap();
    });
    let incoming = listener.accept().unwrap();
    incoming.post_recv(10, &[inbox.slice(..).unwrap()]).unwrap();
    incoming.post_recv(11, &[]).unwrap();
    let socket = incoming.accept(&[]).unwrap();
    for (id, data, solicited) in [(10, *b"12345678", false), (11, *b"abcdefgh", true)] {
        let received = done(&socket);
        assert_eq!(
            (received.id, received.len, received.solicited),
            (id, 0, solicited)
        );
        assert_eq!(received.immediate, Some(data));
    }
    let mut untouched = [0; 16];
    inbox.read_at(0, &mut untouched).unwrap();
    assert_eq!(untouched, [0x55; 16]);
    socket.close().unwrap();
    connecting.join().unwrap();
}

#[test]
fn without_ord_there_are_no_atomics() {
    let served = Domain::new();
    let region = aligned(&served, Rights::REMOTE_ATOMIC);
    let (_accepted, socket) = pair(&served, Options::new(&Domain::new()).ord(0));
    let refused = socket.post_atomic(
        1,
        AtomicOperation::FetchAdd { add: 1, mask: 0 },
        region.remote().unwrap(),
    );
    assert_eq!(refused, Err(PostError::ReadsDisabled));
}

//! In the steady state no operation allocates memory, neither at the caller nor in the worker.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Node, pair_with, remote};
use uwarp::{Options, RemoteRegion, Rights, SendFlags, Sge};

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, octets: *mut u8, layout: Layout) {
        // SAFETY: the octets came from the system's allocator with this layout.
        unsafe { System.dealloc(octets, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, octets: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the octets came from the system's allocator with this layout.
        unsafe { System.realloc(octets, layout, size) }
    }
}

/// Requests that are under way at a time.
const DEPTH: u64 = 16;

/// Both ends and what moves between them.
struct Scene {
    client: Node,
    server: Node,
    source: [Sge; 1],
    sink: [Sge; 1],
    inbox: [Sge; 1],
    target: RemoteRegion,
    origin: RemoteRegion,
}

impl Scene {
    fn round(&self) {
        let post = &self.client.socket;
        let flags = SendFlags::default();
        for id in 0..DEPTH {
            self.server.socket.post_recv(id, &self.inbox).unwrap();
        }
        for id in 0..DEPTH {
            post.post_send(3 * id, &self.source, flags).unwrap();
            post.post_write(3 * id + 1, &self.source, self.target)
                .unwrap();
            post.post_read(3 * id + 2, &self.sink, self.origin).unwrap();
        }
        for id in 0..DEPTH {
            self.server.done(id);
        }
        for id in 0..3 * DEPTH {
            self.client.done(id);
        }
    }
}

/// Allocations of the whole process in so many rounds.
fn allocations(scene: &Scene, rounds: u64) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..rounds {
        scene.round();
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

// One test, so that nobody else in the process allocates.
#[test]
fn operations_do_not_allocate() {
    for (crc, markers, len, operations) in [
        (true, false, 64, 10_000),
        (false, false, 64, 10_000),
        (true, true, 3_000, 2_000),
        (true, false, 100_000, 500),
        (false, false, 100_000, 500),
    ] {
        let options = |options: Options| options.crc(crc).markers(markers);
        let (client, server) = pair_with(options, options);
        let regions = [
            client.local(vec![1; len]),
            client.local(vec![0; len]),
            server.local(vec![0; len]),
            server.shared(vec![0; len], Rights::REMOTE_WRITE),
            server.shared(vec![0; len], Rights::REMOTE_READ),
        ];
        let list = |index: usize| [regions[index].slice(..).unwrap()];
        let scene = Scene {
            client,
            server,
            source: list(0),
            sink: list(1),
            inbox: list(2),
            target: remote(&regions[3]),
            origin: remote(&regions[4]),
        };
        let rounds = operations / DEPTH;
        allocations(&scene, rounds.min(100));
        let count = allocations(&scene, rounds);
        // A buffer may still have found its size.
        assert!(
            count <= 8,
            "{count} allocations in {operations} Sends, Writes and Reads of {len} octets each (CRC: {crc})"
        );
    }
}

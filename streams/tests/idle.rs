//! What an idle stream costs: no thread, no descriptor but TCP's, and little memory. In a test binary of its own, as it
//! counts what the process has.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{pair, read, write_all};
use uwarp_streams::{StreamOptions, Wants};

const PAIRS: usize = 250;

/// Of one end, after a message there and back; it was about 60 KiB when this was written.
const KIB_MAX: usize = 96;

fn entries(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

#[test]
fn an_idle_stream_costs_little() {
    let exchange = || {
        let (client, server) = pair(&StreamOptions::default());
        for (one, other) in [(&client, &server), (&server, &client)] {
            write_all(one, &[1; 64]).unwrap();
            assert_eq!(read(other, &mut [0; 64]).unwrap(), 64);
        }
        (client, server)
    };
    // Whatever the first of them makes for all, and the first wait that has to sleep.
    let (client, server) = exchange();
    assert!(
        !client
            .wait(Wants::READABLE, Some(Duration::from_millis(5)))
            .unwrap()
    );
    drop((client, server));
    let settled = |count: usize| {
        let start = Instant::now();
        while entries("/proc/self/fd") > count {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // Standard streams, the worker's poll and UNIX socket and what else there is.
    std::thread::sleep(Duration::from_millis(200));
    let (descriptors, threads) = (entries("/proc/self/fd"), entries("/proc/self/task"));
    let before = resident_kib();
    let pairs: Vec<_> = (0..PAIRS).map(|_| exchange()).collect();
    let each = (resident_kib() - before) / (2 * PAIRS);
    assert_eq!(entries("/proc/self/fd"), descriptors + 2 * PAIRS);
    assert_eq!(entries("/proc/self/task"), threads);
    assert!(each <= KIB_MAX, "{each} KiB each");
    drop(pairs);
    settled(descriptors);
}

//! A caller that does the worker's work while it waits.

use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use uwarp::{
    Alone, Domain, Helper, Listener, Options, Rights, SendFlags, Sge, Sleep, Socket, Workers,
    connect,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A connection whose near end is served by a worker of its own.
struct Ends {
    near: Socket,
    far: Socket,
    near_memory: Sge,
    far_memory: Sge,
    helper: Helper,
    /// Ended, they lend themselves no more.
    _workers: Workers,
}

impl Ends {
    fn new() -> Self {
        let workers = Workers::start(1).unwrap();
        let helper = workers.helper().unwrap().expect("one worker");
        let (near, far) = (Domain::new(), Domain::new());
        let memory = |domain: &Domain| {
            let region = domain.register(vec![7; 64], Rights::empty()).unwrap();
            region.slice(..).unwrap()
        };
        let (near_memory, far_memory) = (memory(&near), memory(&far));
        let listener = Listener::bind("127.0.0.1:0", &Options::new(&far)).unwrap();
        let address = listener.local_addr();
        let server = std::thread::spawn(move || listener.accept().unwrap().accept(b"").unwrap());
        let near = connect(address, &Options::new(&near).workers(&workers)).unwrap();
        Self {
            near,
            far: server.join().unwrap(),
            near_memory,
            far_memory,
            helper,
            _workers: workers,
        }
    }

    /// The far end sends something that the near end has a receive for.
    fn send(&self) {
        let memory = std::slice::from_ref(&self.near_memory);
        self.near.post_recv(1, memory).unwrap();
        let memory = std::slice::from_ref(&self.far_memory);
        self.far.post_send(2, memory, SendFlags::default()).unwrap();
        assert!(self.far.wait(Some(PATIENCE)).unwrap().is_success());
    }

    fn has_come(&self) -> bool {
        self.near.completion_queue().poll_one().is_some()
    }

    /// Works and sleeps until something has come.
    fn help(&self) {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "nothing has come");
            self.helper.work();
            if self.has_come() {
                self.helper.leaves();
                return;
            }
            match self.helper.sleeps() {
                Sleep::NotNow => {}
                Sleep::Helping(_) => {
                    let mut ask = [PollFd::new(self.helper.descriptor(), PollFlags::POLLIN)];
                    poll(&mut ask, PollTimeout::from(1000u16)).unwrap();
                    self.helper.woke();
                }
                Sleep::AsEver => std::thread::yield_now(),
            }
        }
    }

    /// Waits until the worker has lent itself.
    fn borrow(&self) {
        let begun = Instant::now();
        while !self.helper.work() {
            assert!(begun.elapsed() < PATIENCE, "it is not lent");
            // It lends after a turn.
            self.send();
            while !self.has_come() {
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn a_helper_finds_what_has_come() {
    let ends = Ends::new();
    for _ in 0..2000 {
        ends.send();
        ends.help();
    }
}

#[test]
fn a_helper_is_woken() {
    let ends = Ends::new();
    ends.borrow();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let sender = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(5));
                ends.send();
            });
            ends.help();
            sender.join().unwrap();
        }
    });
}

#[test]
fn the_worker_goes_on_when_its_helper_has_gone() {
    let ends = Ends::new();
    for _ in 0..20 {
        ends.borrow();
        ends.send();
        let begun = Instant::now();
        while !ends.has_come() {
            assert!(begun.elapsed() < PATIENCE, "nobody drives");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_helper_that_never_wakes_is_done_without() {
    let ends = Ends::new();
    ends.borrow();
    // As a thread that is cancelled in its sleep.
    while !matches!(ends.helper.sleeps(), Sleep::Helping(_)) {
        ends.borrow();
    }
    ends.send();
    let begun = Instant::now();
    while !ends.has_come() {
        assert!(begun.elapsed() < PATIENCE, "nobody drives");
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_lent_while_others_wait() {
    let ends = Ends::new();
    ends.borrow();
    ends.helper.waits(Alone::No);
    let begun = Instant::now();
    while ends.helper.work() {
        assert!(begun.elapsed() < PATIENCE, "it is still lent");
        std::thread::yield_now();
    }
    for _ in 0..50 {
        ends.send();
        while !ends.has_come() {
            std::thread::yield_now();
        }
        assert!(!ends.helper.work());
    }
    ends.helper.waited(Alone::No);
    ends.borrow();
}

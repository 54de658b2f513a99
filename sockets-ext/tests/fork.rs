//! Fork and exec: what a child may do with its parent's objects, that it harms nothing, and that the peer learns of
//! the parent's end though a child lives on. Each test runs in a process of its own with one test in it.

mod common;

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::again::{self, Actor};
use common::{LIMIT, Node, contents, eventually, listen, noise, pair, pair_with, remote};
use uwarp::{
    CompletionQueue, Domain, End, Error, Listener, Options, Outgoing, PostError, RegisterError,
    Rights, SendFlags, WaitError, Workers, connect,
};

/// Runs the test `name` in a process of its own; false in that process.
fn elsewhere(name: &str) -> bool {
    if again::role().is_none() {
        Actor::start(name, "alone").finish();
        return true;
    }
    end_in_time();
    false
}

/// Ends this process, should it hang.
fn end_in_time() {
    // SAFETY: sets a timer.
    unsafe { libc::alarm(LIMIT.as_secs() as u32) };
}

/// Forks. The child does `act` and ends.
fn fork(act: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child uses what its C library keeps usable after a fork, and ends without unwinding into its
    // parent's frames.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            // SAFETY: ends the child at once, without the parent's exit handlers.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        child => child,
    }
}

/// Does `act` in a forked child and waits for it to end well.
fn in_child(act: impl FnOnce()) {
    let child = fork(|| {
        end_in_time();
        act();
    });
    let mut status = 0;
    // SAFETY: waits for our own child; the status is ours.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((ended, status), (child, 0));
}

/// A Write told by a Send, in each direction.
fn works(one: &Node, other: &Node) {
    for (from, to) in [(one, other), (other, one)] {
        let octets = noise(100_000, 1);
        let source = from.local(octets.clone());
        let target = to.shared(vec![0; octets.len()], Rights::REMOTE_WRITE);
        to.socket.post_recv(1, &[]).unwrap();
        let list = [source.slice(..).unwrap()];
        from.socket.post_write(2, &list, remote(&target)).unwrap();
        let flags = SendFlags::default();
        from.socket.post_send(3, &[], flags).unwrap();
        to.done(1);
        from.done(2);
        from.done(3);
        assert!(contents(&target) == octets);
    }
}

#[test]
fn a_child_is_refused_and_the_parent_goes_on() {
    if elsewhere("a_child_is_refused_and_the_parent_goes_on") {
        return;
    }
    let (client, server) = pair();
    let region = client.shared(vec![0; 8], Rights::REMOTE_WRITE);
    let list = [region.slice(..).unwrap()];
    let listener = listen(&Options::new(&server.domain));
    let options = Options::new(&client.domain);
    let mut outgoing = Some(Outgoing::dial(listener.local_addr(), &options).unwrap());
    in_child(|| {
        let socket = &client.socket;
        let flags = SendFlags::default();
        assert_eq!(socket.post_send(1, &[], flags), Err(PostError::Forked));
        assert_eq!(socket.post_recv(1, &list), Err(PostError::Forked));
        assert_eq!(socket.wait(None), Err(WaitError::Forked));
        assert_eq!(socket.shutdown(), Err(WaitError::Forked));
        assert_eq!(socket.close(), Err(WaitError::Forked));
        socket.abort();
        assert_eq!((socket.poll(), socket.end()), (None, None));
        assert!(socket.completion_descriptor().is_err());
        assert!(matches!(listener.accept(), Err(Error::Forked)));
        let outgoing = outgoing.take().expect("it was made before the fork");
        assert!(matches!(outgoing.connect(), Err(Error::Forked)));
        let refused = client.domain.register(vec![0], Rights::empty());
        assert_eq!(refused.unwrap_err(), RegisterError::Forked);
        assert_eq!(region.remote(), None);
        region.revoke();
        let text = PostError::Forked.to_string();
        assert!(text.contains("has to make its own"), "{text}");
    });
    works(&client, &server);
    assert!(region.remote().is_some());
    client.socket.shutdown().unwrap();
    server.socket.close().unwrap();
    client.socket.close().unwrap();
}

#[test]
fn what_a_child_drops_stays_the_parents() {
    if elsewhere("what_a_child_drops_stays_the_parents") {
        return;
    }
    let queue = CompletionQueue::new(100);
    let (client, server) = pair_with(|it| it, |it| it.completion_queue(&queue));
    let listener = listen(&Options::new(&Domain::new()));
    let region = server.shared(vec![0; 64], Rights::REMOTE_WRITE);
    let mut held = Some((client, server, listener, queue, region));
    in_child(|| drop(held.take()));
    let (client, server, listener, _, region) = held.as_ref().unwrap();
    works(client, server);
    assert!(region.remote().is_some());
    let address = listener.local_addr();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| connect(address, &Options::new(&Domain::new())));
        let accepted = listener.accept_timeout(LIMIT).unwrap().accept(b"");
        assert!(accepted.is_ok() && asked.join().unwrap().is_ok());
    });
}

#[test]
fn workers_that_a_child_drops_go_on() {
    if elsewhere("workers_that_a_child_drops_go_on") {
        return;
    }
    let mut held = Some(Workers::start(1).unwrap());
    in_child(|| drop(held.take()));
    let workers = held.as_ref().unwrap();
    let (client, server) = pair_with(|it| it.workers(workers), |it| it.workers(workers));
    works(&client, &server);
}

#[test]
fn a_childs_polling_takes_no_wake_up_of_the_parents() {
    if elsewhere("a_childs_polling_takes_no_wake_up_of_the_parents") {
        return;
    }
    let (client, server) = pair();
    server.socket.completion_descriptor().unwrap();
    server.socket.post_recv(1, &[]).unwrap();
    let flags = SendFlags::default();
    client.socket.post_send(2, &[], flags).unwrap();
    client.done(2);
    let mut watched = {
        let descriptor = server.socket.completion_descriptor().unwrap();
        [nix::poll::PollFd::new(
            descriptor,
            nix::poll::PollFlags::POLLIN,
        )]
    };
    assert_eq!(nix::poll::poll(&mut watched, 10_000u16), Ok(1));
    in_child(|| {
        while server.socket.poll().is_some() {}
        assert_eq!(server.socket.completion_queue().poll_one(), None);
        let waited = server.socket.completion_queue().wait_one(None);
        assert!(waited.is_err());
    });
    assert_eq!(nix::poll::poll(&mut watched, 0u8), Ok(1));
    server.done(1);
}

#[test]
fn a_child_makes_its_own_connections() {
    if elsewhere("a_child_makes_its_own_connections") {
        return;
    }
    let (client, server) = pair();
    let workers = Workers::start(1).unwrap();
    in_child(|| {
        // Not with what belongs to the parent.
        for options in [
            Options::new(&client.domain),
            Options::new(&Domain::new()).workers(&workers),
            Options::new(&Domain::new()).completion_queue(client.socket.completion_queue()),
        ] {
            let bound = Listener::bind("127.0.0.1:0", &options);
            assert!(matches!(bound, Err(Error::Forked)));
            let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let refused = connect(somebody.local_addr().unwrap(), &options);
            assert!(matches!(refused, Err(Error::Forked)));
        }
        let (mine, also_mine) = pair();
        works(&mine, &also_mine);
        // And a child of the child once more.
        in_child(|| {
            let flags = SendFlags::default();
            let refused = mine.socket.post_send(1, &[], flags);
            assert_eq!(refused, Err(PostError::Forked));
            let (mine, also_mine) = pair();
            works(&mine, &also_mine);
        });
        works(&mine, &also_mine);
    });
    works(&client, &server);
}

/// Whoever starts a worker is held in the middle of it.
static HOLD: AtomicBool = AtomicBool::new(false);

/// Threads that have been held so far.
static HELD: AtomicU32 = AtomicU32::new(0);

/// Stands before the C library's, and holds whoever makes a poll.
// SAFETY: it does what the C library's does; every caller in this binary may wait.
#[unsafe(no_mangle)]
extern "C" fn epoll_create1(flags: libc::c_int) -> libc::c_int {
    if HOLD.load(Ordering::SeqCst) {
        HELD.fetch_add(1, Ordering::SeqCst);
        while HOLD.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // SAFETY: it touches no memory.
    unsafe { libc::syscall(libc::SYS_epoll_create1, flags) as libc::c_int }
}

/// Starts the process's own worker in `N` threads, each held in the middle of it.
fn begin_to_start<const N: usize>() -> [std::thread::JoinHandle<Workers>; N] {
    HOLD.store(true, Ordering::SeqCst);
    let threads = [(); N].map(|()| std::thread::spawn(|| Workers::global().unwrap()));
    eventually("held", || HELD.load(Ordering::SeqCst) == N as u32);
    threads
}

#[test]
fn a_child_forked_while_the_worker_is_starting_starts_its_own() {
    if elsewhere("a_child_forked_while_the_worker_is_starting_starts_its_own") {
        return;
    }
    let threads = begin_to_start::<1>();
    in_child(|| {
        HOLD.store(false, Ordering::SeqCst);
        let (mine, also_mine) = pair();
        works(&mine, &also_mine);
    });
    HOLD.store(false, Ordering::SeqCst);
    for thread in threads {
        thread.join().unwrap();
    }
    let (client, server) = pair();
    works(&client, &server);
}

#[test]
fn threads_that_start_the_worker_at_once_have_one_between_them() {
    if elsewhere("threads_that_start_the_worker_at_once_have_one_between_them") {
        return;
    }
    let threads = begin_to_start::<2>();
    HOLD.store(false, Ordering::SeqCst);
    for thread in threads {
        thread.join().unwrap();
    }
    let workers = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        // A thread that has just ended has no name.
        tasks
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .filter(|name| name.starts_with("uwarp-"))
            .count()
    };
    eventually("one has ended", || workers() == 1);
    let (client, server) = pair();
    works(&client, &server);
    assert_eq!(workers(), 1);
}

#[test]
fn forking_amid_traffic_hurts_nobody() {
    if elsewhere("forking_amid_traffic_hurts_nobody") {
        return;
    }
    let (client, server) = pair();
    let source = client.local(noise(1 << 20, 1));
    let target = server.shared(vec![0; 1 << 20], Rights::REMOTE_WRITE);
    let list = [source.slice(..).unwrap()];
    let mut next = 0;
    for _ in 0..20 {
        let posted = next..next + 20;
        for id in posted.clone() {
            client
                .socket
                .post_write(id, &list, remote(&target))
                .unwrap();
        }
        next = posted.end;
        in_child(|| {
            // Whatever lock the worker held when the process was forked, none of this waits for it.
            assert_eq!(target.remote(), None);
            assert_eq!(client.socket.poll(), None);
            assert_eq!(client.socket.stats(), uwarp::Stats::default());
            target.revoke();
        });
        for id in posted {
            client.done(id);
        }
    }
    works(&client, &server);
}

#[test]
fn a_descriptor_number_that_is_free_again_is_not_guarded() {
    if elsewhere("a_descriptor_number_that_is_free_again_is_not_guarded") {
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // The descriptors of the process's own worker stay.
    let _workers = Workers::global().unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    let before = open();
    // The listener and both sockets end, each in its own way.
    let (client, server) = pair();
    client.socket.abort();
    server.to_the_end();
    drop((client, server));
    eventually("closed", || open() <= before);
    let mut writes: Vec<_> = (0..16).map(|_| write.try_clone().unwrap()).collect();
    in_child(|| {
        for write in &mut writes {
            write.write_all(b"x").unwrap();
        }
    });
    drop((write, writes));
    let mut heard = String::new();
    read.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "x".repeat(16));
}

/// The family of a socket; `None` for what is none.
fn family(number: libc::c_int) -> Option<libc::c_int> {
    let mut family: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    let (level, name, at) = (libc::SOL_SOCKET, libc::SO_DOMAIN, (&raw mut family).cast());
    // SAFETY: there is room for the number.
    (unsafe { libc::getsockopt(number, level, name, at, &raw mut len) } == 0).then_some(family)
}

#[test]
fn a_child_without_free_descriptors_has_none_of_its_parents_connections() {
    if elsewhere("a_child_without_free_descriptors_has_none_of_its_parents_connections") {
        return;
    }
    let (client, server) = pair();
    let numbers: Vec<_> = (0..256)
        .filter(|&number| family(number) == Some(libc::AF_INET))
        .collect();
    assert!(numbers.len() >= 2);
    let limit = libc::rlimit {
        rlim_cur: 256,
        rlim_max: 256,
    };
    // SAFETY: the structure is this frame's.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let one = std::fs::File::open("/dev/null").unwrap();
    let all: Vec<_> = std::iter::from_fn(|| one.try_clone().ok()).collect();
    in_child(|| {
        for number in numbers {
            assert_eq!(family(number), None);
            // Not free either: who has it in the parent's objects may still close it.
            // SAFETY: it touches no memory.
            assert!(unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0);
        }
    });
    drop(all);
    works(&client, &server);
}

/// Connects to the test, forks a child that lives on, and waits.
fn parent_of_a_survivor(address: &str) {
    let socket = connect(address, &Options::new(&Domain::new())).unwrap();
    let child = fork(|| std::thread::sleep(10 * LIMIT));
    again::say(&child.to_string());
    // Until killed, or told to exit.
    again::listen();
    std::mem::forget(socket);
}

fn is_alive(process: libc::pid_t) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat"));
    state.is_ok_and(|state| !state.contains(") Z "))
}

/// The peer of a process that ends while its forked child lives on.
fn learns_of_the_end(test: &str, end: impl FnOnce(&mut Actor)) {
    let domain = Domain::new();
    let listener = listen(&Options::new(&domain));
    let mut parent = Actor::start(test, &listener.local_addr().to_string());
    let socket = listener.accept_timeout(LIMIT).unwrap().accept(b"").unwrap();
    let node = Node { domain, socket };
    let child = parent.hear().parse().unwrap();
    node.socket.post_recv(1, &[]).unwrap();
    assert!(is_alive(child));
    end(&mut parent);
    assert!(!node.next().is_success());
    assert!(is_alive(child), "it is the parent whose end is learnt");
    // SAFETY: ends the process that the part has forked.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let _ = node.socket.close();
    let (_, end) = node.to_the_end();
    assert!(matches!(end, End::Lost | End::Graceful), "{end:?}");
}

#[test]
fn the_peer_learns_that_the_parent_was_killed_though_a_child_lives() {
    if let Some(address) = again::role() {
        return parent_of_a_survivor(&address);
    }
    let test = "the_peer_learns_that_the_parent_was_killed_though_a_child_lives";
    learns_of_the_end(test, Actor::kill);
}

#[test]
fn the_peer_learns_that_the_parent_exited_though_a_child_lives() {
    if let Some(address) = again::role() {
        return parent_of_a_survivor(&address);
    }
    let test = "the_peer_learns_that_the_parent_exited_though_a_child_lives";
    learns_of_the_end(test, |parent| parent.tell("exit"));
}

#[test]
fn exec_ends_the_connections() {
    let test = "exec_ends_the_connections";
    match again::role().as_deref() {
        Some("idle") => {
            again::say("idle");
            again::listen();
        }
        Some(address) => {
            let _socket = connect(address, &Options::new(&Domain::new())).unwrap();
            again::say("connected");
            again::listen();
            panic!("{}", again::command(test, "idle").exec());
        }
        None => {
            let listener = listen(&Options::new(&Domain::new()));
            let mut process = Actor::start(test, &listener.local_addr().to_string());
            let socket = listener.accept_timeout(LIMIT).unwrap().accept(b"").unwrap();
            socket.post_recv(1, &[]).unwrap();
            assert_eq!(process.hear(), "connected");
            assert_eq!(socket.wait(Some(Duration::ZERO)), Err(WaitError::TimedOut));
            process.tell("exec");
            assert!(!socket.wait(Some(LIMIT)).unwrap().is_success());
            assert_eq!(process.hear(), "idle");
            process.tell("exit");
            process.finish();
        }
    }
}

#[test]
fn a_program_that_is_started_has_none_of_our_descriptors() {
    let test = "a_program_that_is_started_has_none_of_our_descriptors";
    if again::role().is_some() {
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            let path = entry.unwrap().path();
            // What this listing itself uses is gone when it is looked at.
            if let Ok(target) = std::fs::read_link(&path) {
                again::say(&format!("{} {}", path.display(), target.display()));
            }
        }
        return again::say("end");
    }
    let (client, server) = pair();
    client.socket.completion_descriptor().unwrap();
    let mut program = Actor::start(test, "list");
    loop {
        let line = program.hear();
        if line == "end" {
            break;
        }
        let standard = (0..3).any(|number| line.starts_with(&format!("/proc/self/fd/{number} ")));
        let ours = ["socket:", "eventfd", "eventpoll"]
            .iter()
            .any(|kind| line.contains(kind));
        assert!(standard || !ours, "{line}");
    }
    program.finish();
    works(&client, &server);
}

//! Programs that do not wait: they are told of completions, set up in the background, and post in batches.

mod common;

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use common::{LIMIT, eventually, pair, pair_with, remote};
use uwarp::{
    CompletionQueue, Domain, Error, Notify, Options, RemoteRegion, Rights, SendFlags, SettingUp,
    Sge, Socket,
};

/// Counts how often it was told.
#[derive(Default)]
struct Bell {
    told: Mutex<u64>,
    rung: Condvar,
}

impl Notify for Bell {
    fn notify(&self) {
        *self.told.lock().unwrap() += 1;
        self.rung.notify_all();
    }
}

impl Bell {
    /// Looks at once and whenever it has been told, and at no other time.
    fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let mut told = self.told.lock().unwrap();
        loop {
            let before = *told;
            drop(told);
            if let Some(found) = look() {
                return found;
            }
            told = self.told.lock().unwrap();
            if *told == before {
                let (guard, outcome) = self.rung.wait_timeout(told, LIMIT).unwrap();
                assert!(!outcome.timed_out(), "never told");
                told = guard;
            }
        }
    }
}

struct End {
    bell: Arc<Bell>,
    domain: Domain,
    setup: Option<SettingUp>,
}

impl End {
    fn new(tcp: TcpStream, initiator: bool) -> Self {
        let (bell, domain) = (Arc::new(Bell::default()), Domain::new());
        let queue = CompletionQueue::with_notify(64, Arc::clone(&bell) as _);
        let options = Options::new(&domain).completion_queue(&queue);
        let setup = if initiator {
            SettingUp::initiator(tcp, &options)
        } else {
            SettingUp::responder(tcp, &options)
        };
        let setup = Some(setup.unwrap());
        Self {
            bell,
            domain,
            setup,
        }
    }

    fn setup(&self) -> &SettingUp {
        self.setup.as_ref().unwrap()
    }

    fn finish(&mut self) -> Result<Socket, Error> {
        let setup = self.setup.take().unwrap();
        self.bell.until(|| setup.outcome())?;
        Ok(setup.into_socket())
    }
}

fn ends() -> [End; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    [End::new(client, true), End::new(server, false)]
}

#[test]
fn who_is_told_overlooks_nothing() {
    let [mut client, mut server] = ends();
    let inbox = server.domain.register(vec![0; 4], Rights::empty()).unwrap();
    for id in 0..20 {
        server
            .setup()
            .post_recv(id, &[inbox.slice(..).unwrap()])
            .unwrap();
    }
    server.setup().begin();
    assert!(server.setup().outcome().is_none());
    assert!(
        server.setup().accept(b"").is_err(),
        "there is no Request yet"
    );
    client.setup().begin();
    let request = server.bell.until(|| server.setup().request());
    assert!(request.private_data.is_empty());
    server.setup().accept(b"welcome").unwrap();
    let socket = client.finish().unwrap();
    assert_eq!(socket.established().unwrap().private_data, b"welcome");
    let there = server.finish().unwrap();
    let source = client.domain.register(vec![1; 4], Rights::empty()).unwrap();
    for id in 0..20 {
        let list = [source.slice(..).unwrap()];
        socket.post_send(id, &list, SendFlags::default()).unwrap();
        for (socket, bell) in [(&socket, &client.bell), (&there, &server.bell)] {
            let completion = bell.until(|| socket.completion_queue().poll_one());
            assert!(completion.is_success() && completion.id == id);
        }
    }
    socket.shutdown().unwrap();
    server.bell.until(|| there.peer_closed().then_some(()));
    for (socket, bell) in [(&socket, &client.bell), (&there, &server.bell)] {
        bell.until(|| socket.end());
    }
}

#[test]
fn who_is_rejected_is_told() {
    let [mut client, mut server] = ends();
    server.setup().begin();
    client.setup().begin();
    server.bell.until(|| server.setup().request());
    server.setup().reject(b"no").unwrap();
    for end in [&mut client, &mut server] {
        assert!(matches!(end.finish(), Err(Error::Rejected { .. })));
    }
}

/// Posts another Write for each that is complete, in the call that tells of it.
struct Reposter {
    work: OnceLock<(Socket, CompletionQueue, Sge, RemoteRegion)>,
    posted: AtomicU64,
    done: AtomicU64,
    inside: AtomicU64,
    /// Calls at the same time, at the most.
    deepest: AtomicU64,
}

/// Writes in all.
const REPOSTED: u64 = 20_000;

impl Notify for Reposter {
    fn notify(&self) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.deepest.fetch_max(inside, Ordering::SeqCst);
        if let Some((socket, queue, source, target)) = self.work.get() {
            while let Some(completion) = queue.poll_one() {
                assert!(completion.is_success(), "{completion:?}");
                let id = self.posted.fetch_add(1, Ordering::SeqCst);
                if id < REPOSTED {
                    let list = [source.clone()];
                    socket.post_write(id, &list, *target).unwrap();
                }
                self.done.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn who_posts_in_the_call_is_not_called_meanwhile() {
    let reposter = Arc::new(Reposter {
        work: OnceLock::new(),
        posted: AtomicU64::new(2),
        done: AtomicU64::new(0),
        inside: AtomicU64::new(0),
        deepest: AtomicU64::new(0),
    });
    let queue = CompletionQueue::with_notify(64, Arc::clone(&reposter) as _);
    let (client, server) = pair_with(
        |options| options.completion_queue(&queue),
        |options| options,
    );
    let region = server.shared(vec![0; 8], Rights::REMOTE_WRITE);
    let source = client.local(vec![1; 8]).slice(..).unwrap();
    let socket = client.socket;
    let work = (socket, queue, source.clone(), remote(&region));
    assert!(reposter.work.set(work).is_ok());
    // Two at a time: one may be complete before the other has been posted.
    let (socket, ..) = reposter.work.get().unwrap();
    for id in 0..2 {
        let list = [source.clone()];
        socket.post_write(id, &list, remote(&region)).unwrap();
    }
    eventually("the last Write", || {
        reposter.done.load(Ordering::SeqCst) == REPOSTED
    });
    assert_eq!(reposter.deepest.load(Ordering::SeqCst), 1);
}

#[test]
fn a_batch_leaves_in_its_order() {
    let (client, server) = pair();
    let target = server
        .domain
        .register(vec![0; 64], Rights::REMOTE_WRITE)
        .unwrap();
    let inbox = server.domain.register(vec![0; 8], Rights::empty()).unwrap();
    let source = client
        .domain
        .register(vec![7; 64], Rights::empty())
        .unwrap();
    for round in 0..50u8 {
        server
            .socket
            .post_recv(1, &[inbox.slice(..).unwrap()])
            .unwrap();
        source.write_at(0, &[round; 64]).unwrap();
        let mut batch = client.socket.batch();
        let list = [source.slice(..).unwrap()];
        batch.post_write(1, &list, remote(&target)).unwrap();
        batch
            .post_send(2, &[source.slice(..4).unwrap()], SendFlags::default())
            .unwrap();
        drop(batch);
        assert!(server.socket.wait(Some(LIMIT)).unwrap().is_success());
        let mut octets = [0; 64];
        target.read_at(0, &mut octets).unwrap();
        assert_eq!(octets, [round; 64]);
        for id in [1, 2] {
            assert_eq!(client.socket.wait(Some(LIMIT)).unwrap().id, id);
        }
    }
    // One that nothing was posted to has nothing to send.
    drop(client.socket.batch());
    assert!(client.socket.wait(Some(Duration::from_millis(1))).is_err());
}

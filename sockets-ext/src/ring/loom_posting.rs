//! What the model checker is asked about posting: every request that was accepted completes exactly once, whatever else
//! goes on; nothing that was refused does; and all places come back.
//!
//! The caller's half is the code that sockets use. Of the worker, which serves sockets as well, only the part that
//! concerns posting is here: how it sleeps, what it takes from its queue, and in which order it looks at things.

use super::loom_tests::{model, until};
use super::mpmc::Ring;
use super::{BelledRing, Credits, Doorbell, Intake, Queue, Refusal};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// The bell of a worker: messages in a box, which it empties whenever it wakes. Other than an eventfd it is heard only
/// once for each ring, and silencing it does nothing.
#[derive(Default)]
struct Inbox {
    messages: Mutex<u32>,
    arrived: Condvar,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        *self.messages.lock().expect("not poisoned") == 0
    }

    /// Sleeps until there is a message, and empties the box.
    fn listen(&self) {
        let mut messages = self.messages.lock().expect("not poisoned");
        while *messages == 0 {
            messages = self.arrived.wait(messages).expect("not poisoned");
        }
        *messages = 0;
    }
}

impl Doorbell for Inbox {
    fn ring(&self) {
        *self.messages.lock().expect("not poisoned") += 1;
        self.arrived.notify_all();
    }

    fn silence(&self) {}
}

/// One socket, its worker's queue, and its completions.
struct Scene {
    intake: Intake<u32>,
    run: BelledRing<(), Inbox>,
    places: Credits,
    completions: Ring<u32>,
}

impl Scene {
    fn new(requests: u32, completions: usize) -> Arc<Self> {
        Arc::new(Self {
            intake: Intake::new(requests, requests),
            run: BelledRing::new(2, Inbox::default()),
            places: Credits::new(completions),
            completions: Ring::with_capacity(completions),
        })
    }

    /// As a socket posts.
    fn post(&self, queue: Queue, request: u32) -> Result<(), Refusal> {
        self.intake.post(queue, || request, &self.places)?;
        if !self.intake.rests(queue) {
            self.schedule();
        }
        Ok(())
    }

    fn schedule(&self) {
        if self.intake.schedule() {
            assert_eq!(self.run.push(()), Ok(()), "a socket is queued once");
        }
    }

    /// As an application polls.
    fn poll(&self) -> Option<u32> {
        let completion = self.completions.pop()?;
        self.places.give(1);
        Some(completion)
    }

    /// The worker sleeps until the socket is in its queue, as `Worker::sleep` does, and takes it.
    fn await_turn(&self) {
        loop {
            let asleep = self.run.sleep();
            if self.run.ring().is_empty() && self.run.is_silent() {
                self.run.bell().listen();
            } else {
                thread::yield_now();
                if !self.run.bell().is_empty() {
                    self.run.bell().listen();
                }
            }
            drop(asleep);
            let mut turn = false;
            // Once more than there are, as `Worker::run_queue`.
            for _ in 0..=self.run.ring().len() {
                match self.run.pop() {
                    Some(()) => turn = true,
                    None => break,
                }
            }
            if turn {
                return self.intake.unschedule();
            }
        }
    }

    /// The worker takes all requests that there are, and completes them.
    fn serve(&self) -> u32 {
        let mut served = 0;
        for queue in [Queue::Receives, Queue::Sends] {
            while let Some(ticket) = self.intake.take(queue) {
                let request = self.intake.complete(queue, ticket, |&request| request);
                let pushed = self.completions.push(request);
                assert!(pushed.is_ok(), "a completion's place is reserved");
                served += 1;
            }
        }
        served
    }

    /// Nothing is queued, under way or unseen, and all places are free.
    fn assert_at_rest(&self, completions: usize) {
        assert_eq!(self.serve(), 0);
        assert_eq!(self.poll(), None);
        assert_eq!(self.places.available(), completions);
    }
}

fn spawn<T: 'static>(
    scene: &Arc<Scene>,
    act: impl FnOnce(&Scene) -> T + 'static,
) -> thread::JoinHandle<T> {
    let scene = Arc::clone(scene);
    thread::spawn(move || act(&scene))
}

#[test]
fn loom_posting_two_callers_complete_once_each() {
    // Three threads, so that one switch more takes half a minute.
    model(2, || {
        let scene = Scene::new(2, 2);
        let callers = [1, 2].map(|request| {
            spawn(&scene, move |scene| {
                assert_eq!(scene.post(Queue::Sends, request), Ok(()));
            })
        });
        let mut served = 0;
        while served < 2 {
            scene.await_turn();
            served += scene.serve();
        }
        for caller in callers {
            caller.join().expect("a caller ends");
        }
        let mut seen = [scene.poll(), scene.poll()];
        seen.sort_unstable();
        assert_eq!(seen, [Some(1), Some(2)]);
        scene.assert_at_rest(2);
    });
}

#[test]
fn loom_posting_again_and_again_wakes_the_worker_each_time() {
    model(3, || {
        let scene = Scene::new(1, 1);
        let caller = spawn(&scene, |scene| {
            for request in 1..=2 {
                assert_eq!(scene.post(Queue::Sends, request), Ok(()));
                assert_eq!(until(|| scene.poll()), request, "in order");
            }
        });
        let mut served = 0;
        while served < 2 {
            scene.await_turn();
            served += scene.serve();
        }
        caller.join().expect("the caller ends");
        scene.assert_at_rest(1);
    });
}

#[test]
fn loom_posting_without_a_place_leaves_no_trace() {
    model(3, || {
        // Two may be queued, and one may complete.
        let scene = Scene::new(2, 1);
        let other = spawn(&scene, |scene| scene.post(Queue::Receives, 1).is_ok());
        let one = scene.post(Queue::Sends, 2).is_ok();
        let other = other.join().expect("it ends");
        assert!(one || other, "there is a place for one of them");
        assert!(!(one && other), "there is no place for both");
        scene.await_turn();
        assert_eq!(scene.serve(), 1);
        assert_eq!(scene.poll(), Some(if one { 2 } else { 1 }));
        scene.assert_at_rest(1);
    });
}

#[test]
fn loom_posting_while_the_connection_ends_completes_what_was_accepted() {
    model(3, || {
        let scene = Scene::new(2, 2);
        let caller = spawn(&scene, |scene| {
            let accepted = [1, 2].map(|request| scene.post(Queue::Receives, request).is_ok());
            // The handle goes.
            scene.intake.set_orphaned();
            scene.schedule();
            accepted
        });
        // The connection is over: as `Engine::turn`, and then as `Worker::over`.
        scene.intake.set_closed();
        scene.serve();
        while !scene.intake.is_orphaned() {
            scene.await_turn();
            scene.serve();
        }
        // As `Engine::retire`.
        scene.serve();
        let accepted = caller.join().expect("the caller ends");
        let seen: Vec<u32> = std::iter::from_fn(|| scene.poll()).collect();
        let expected = [1, 2]
            .into_iter()
            .zip(accepted)
            .filter_map(|(request, accepted)| accepted.then_some(request));
        assert_eq!(seen, expected.collect::<Vec<_>>(), "each once, in order");
        scene.assert_at_rest(2);
    });
}

#[test]
fn loom_posting_refuses_sends_once_closing_has_been_asked_for() {
    model(3, || {
        let scene = Scene::new(2, 2);
        // As `Link::command`, of another thread than the one that posts.
        let closer = spawn(&scene, |scene| {
            scene.intake.set_closing();
            scene.schedule();
            let send = scene.post(Queue::Sends, 1);
            assert_eq!(send, Err(Refusal::Closed));
        });
        let early = scene.post(Queue::Sends, 2).is_ok();
        scene.await_turn();
        let mut served = scene.serve();
        closer.join().expect("it ends");
        assert_eq!(scene.post(Queue::Receives, 3), Ok(()));
        scene.await_turn();
        served += scene.serve();
        assert_eq!(served, 1 + u32::from(early));
        assert_eq!(std::iter::from_fn(|| scene.poll()).count(), served as usize);
        scene.assert_at_rest(2);
    });
}

//! An initiator that hears nothing reminds its responder, who may have overlooked what was sent first: Linux's siw
//! looks at its socket only when new octets arrive.

use std::time::Duration;

use uwarp_ddp::Header;
use uwarp_mpa::Policy;
use uwarp_rdmap::{Opcode, Operation};
use uwarp_stream::Config;
use uwarp_tests::stranger::{Bench, Heard, send};

fn config(peer_to_peer: bool) -> Config {
    Config {
        policy: Policy {
            peer_to_peer,
            ..Policy::default()
        },
        ..Config::default()
    }
}

fn post_send(bench: &mut Bench, len: u32) {
    let operation = Operation::Send {
        solicited: false,
        invalidate: None,
    };
    bench.post(operation, len).expect("there is room");
}

fn is_reminder(heard: &Heard) -> bool {
    heard.opcode() == Opcode::WRITE
        && heard.body.is_empty()
        && matches!(heard.header, Header::Tagged(header) if header.last)
}

#[test]
fn a_silent_responder_is_reminded_three_times() {
    let mut bench = Bench::connected(config(true), &Policy::default());
    let mut reminders = Vec::new();
    for elapsed in 0..5000 {
        bench.pass(Duration::from_millis(1));
        for heard in bench.hear() {
            assert!(is_reminder(&heard), "{heard:?}");
            reminders.push(elapsed + 1);
        }
    }
    assert_eq!(reminders, [50, 250, 1250]);
    assert_eq!(bench.connection.deadline(), None);
    assert!(bench.end().is_none() && bench.completions.is_empty());
}

#[test]
fn the_deadline_tells_when() {
    let mut bench = Bench::connected(config(true), &Policy::default());
    let deadline = bench.connection.deadline().expect("a reminder is armed");
    bench.pass(deadline - bench.now);
    assert_eq!(bench.hear().len(), 1);
}

#[test]
fn a_responder_that_has_spoken_is_not_reminded() {
    let mut bench = Bench::connected(config(true), &Policy::default());
    bench.post_receive(16).expect("there is room");
    bench.send(&send(1, b"here I am"));
    assert_eq!(bench.connection.deadline(), None);
    bench.pass(Duration::from_secs(10));
    assert!(bench.hear().is_empty());
}

/// Where the responder speaks of itself, hearing it proves nothing.
#[test]
fn a_responder_that_speaks_unasked_is_reminded_if_that_is_chosen() {
    let chosen = Config {
        remind_always: true,
        ..config(true)
    };
    let mut bench = Bench::connected(chosen, &Policy::default());
    bench.post_receive(16).expect("there is room");
    bench.send(&send(1, b"good morning"));
    bench.pass(Duration::from_millis(50));
    assert!(bench.hear().iter().all(is_reminder));
    assert!(bench.connection.deadline().is_some());
}

#[test]
fn without_peer_to_peer_there_is_something_to_remind_of_first() {
    let mut bench = Bench::connected(config(false), &Policy::default());
    bench.pass(Duration::from_secs(10));
    assert!(bench.hear().is_empty(), "nothing has been sent yet");
    post_send(&mut bench, 5);
    bench.drain();
    assert_eq!(bench.hear().len(), 1);
    bench.pass(Duration::from_millis(50));
    assert!(bench.hear().iter().all(is_reminder));
}

#[test]
fn a_reminder_waits_for_the_end_of_a_message() {
    let mut bench = Bench::connected(config(true), &Policy::default());
    post_send(&mut bench, 10_000);
    bench.drain_one();
    bench.now += Duration::from_millis(60);
    bench.connection.timeout(bench.now);
    bench.drain();
    let heard = bench.hear();
    let (reminder, message) = heard.split_last().expect("something was sent");
    assert!(is_reminder(reminder));
    assert!(message.len() > 5 && message.iter().all(|heard| heard.opcode() == Opcode::SEND));
}

#[test]
fn nobody_is_reminded_after_the_end() {
    let mut bench = Bench::connected(config(true), &Policy::default());
    bench.connection.close(bench.now);
    bench.drain();
    assert!(bench.fin);
    bench.pass(Duration::from_millis(60));
    assert!(bench.hear().is_empty());
}

#[test]
fn a_responder_reminds_nobody() {
    let mut bench = Bench::accepted(config(true), &Policy::default());
    post_send(&mut bench, 5);
    bench.drain();
    bench.hear();
    bench.pass(Duration::from_secs(3));
    assert!(bench.hear().is_empty());
}

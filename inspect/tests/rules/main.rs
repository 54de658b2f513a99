//! Every rule that can be named has captures that break it: exactly that rule is named, at that octet
//! of that direction of that connection, at the time of the packet that shows it.

#[path = "../common/mod.rs"]
mod common;
mod framing;
mod messages;
mod requests;
mod startup;
mod terminates;

use std::collections::BTreeSet;

use common::dump::{dump, of_kind};
use common::file::{ETHERNET, Format};
use common::talk::{Breach, I, Talk};
use common::ulpdu::send;
use serde_json::Value;
use uwarp_inspect::{CLEAN, Rule, VIOLATIONS, status};

/// What a capture does, and its name.
type Case = (&'static str, fn(&mut Talk));

/// Past the startup frames and the first FPDU, Send 1 of the initiator.
fn begun(talk: &mut Talk) {
    talk.set_up();
    talk.say(I, &send(1, b"the first"));
}

fn cases() -> impl Iterator<Item = Case> {
    [
        startup::CASES,
        framing::CASES,
        messages::CASES,
        requests::CASES,
        terminates::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

fn play((_, build): Case) -> Talk {
    let mut talk = Talk::second();
    build(&mut talk);
    talk
}

fn breach(line: &Value) -> Breach {
    Breach {
        id: line["id"].as_str().unwrap().to_owned(),
        time: line["time"].as_u64().unwrap(),
        connection: line["connection"].as_u64().unwrap(),
        sender: match line["sender"].as_str().unwrap() {
            "initiator" => "initiator",
            "responder" => "responder",
            other => panic!("{other}"),
        },
        position: line["position"].as_u64().unwrap(),
    }
}

#[test]
fn exactly_the_broken_rules_are_named() {
    for case in cases() {
        let talk = play(case);
        assert!(!talk.breaches.is_empty(), "{}", case.0);
        let file = Format::PLAIN.write(ETHERNET, 1 << 18, &talk.packets);
        let (lines, summary) = dump(&file).unwrap();
        let named = of_kind(&lines, "violation");
        let details: Vec<_> = named.iter().map(|line| &line["detail"]).collect();
        let mut found: Vec<_> = named.iter().map(|line| breach(line)).collect();
        let mut due = talk.breaches;
        found.sort();
        due.sort();
        assert_eq!(found, due, "{}: {details:?}", case.0);
        assert!(
            named.iter().all(|line| line["guess"] == false),
            "{}",
            case.0
        );
        assert_eq!(status(&summary), VIOLATIONS, "{}", case.0);
        assert_eq!(summary.connections, 2, "{}", case.0);
    }
}

/// A rule that is added and that nothing breaks fails here.
#[test]
fn every_rule_is_broken_somewhere() {
    let broken: BTreeSet<String> = cases()
        .flat_map(|case| play(case).breaches)
        .map(|breach| breach.id)
        .collect();
    let missing: Vec<_> = Rule::ALL
        .iter()
        .filter(|rule| !broken.contains(rule.id()))
        .collect();
    assert!(missing.is_empty(), "no capture breaks {missing:?}");
}

/// What the cases begin with breaks nothing.
#[test]
fn sound_talks_are_clean() {
    let mut talk = Talk::second();
    begun(&mut talk);
    let file = Format::PLAIN.write(ETHERNET, 1 << 18, &talk.packets);
    let (lines, summary) = dump(&file).unwrap();
    assert_eq!(of_kind(&lines, "violation"), Vec::<&Value>::new());
    assert_eq!(of_kind(&lines, "note"), Vec::<&Value>::new());
    assert_eq!(status(&summary), CLEAN);
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<_> = cases().map(|case| case.0).collect();
    assert_eq!(names.len(), cases().count());
}

//! Every file of `fuzz/corpus/` through its target, on any compiler.
//!
//! That they pass is one half; the other is that they still get where they were made to get. A change of a
//! harness that turns its seeds into noise fails here.

use std::fs;
use std::path::{Path, PathBuf};

use uwarp_fuzz_harness::{arrivals, control, deframer, pair, segments, startup, terminate};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target)
}

/// What `run` says of each file of a target's corpus; a panic names the file.
fn replay<T>(target: &str, run: impl Fn(&[u8]) -> T) -> Vec<T> {
    let mut files: Vec<_> = fs::read_dir(corpus(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 10, "the corpus of {target} is missing");
    files
        .iter()
        .map(|path| {
            println!("{}", path.display());
            run(&fs::read(path).unwrap())
        })
        .collect()
}

fn some<T>(reached: &[T], what: impl Fn(&T) -> bool) -> bool {
    reached.iter().any(what)
}

#[test]
fn startup_corpus() {
    let reached = replay("startup", startup::run);
    assert!(some(&reached, |input| input.request_accepted));
    assert!(some(&reached, |input| input.reply_accepted));
    assert!(some(&reached, |input| input.reply_rejected));
    assert!(some(&reached, |input| input.reply_aborted));
    assert!(some(&reached, |input| input.agreed));
    assert!(some(&reached, |input| !input.agreed));
}

#[test]
fn deframer_corpus() {
    use uwarp_mpa::FpduError::{Crc, Marker, TooLong};
    let reached = replay("deframer", deframer::run);
    for error in [Crc, Marker, TooLong] {
        assert!(
            some(&reached, |input| input.error == Some(error)),
            "{error}"
        );
    }
    assert!(some(&reached, |input| input.ulpdus > 3));
}

#[test]
fn arrivals_corpus() {
    use uwarp_mpa::FpduError::{Crc, Marker, TooLong};
    let reached = replay("arrivals", arrivals::run);
    for error in [Crc, Marker, TooLong] {
        assert!(
            some(&reached, |input| input.error == Some(error)),
            "{error}"
        );
    }
    assert!(some(&reached, |input| input.early > 100));
    assert!(some(&reached, |input| input.early_full));
    assert!(some(&reached, |input| input.repeated > 100));
    assert!(some(&reached, |input| input.beyond > 0));
    assert!(some(&reached, |input| input.one_hole_too_many > 0));
    assert!(some(&reached, |input| input.wrapped));
    assert!(some(&reached, |input| input.forged > 0));
    assert!(some(&reached, |input| input.delivered > 1000));
}

#[test]
fn control_corpus() {
    let reached = replay("control", control::run);
    for kind in 0..3 {
        assert!(some(&reached, |input| input.messages[kind] > 0), "{kind}");
    }
    assert!(some(&reached, |input| input.noise > 0));
    assert!(some(&reached, |input| input.cut > 0));
}

#[test]
fn terminate_corpus() {
    let reached = replay("terminate", terminate::run);
    assert!(some(&reached, |input| input.ddp_header));
    assert!(some(&reached, |input| input.read_request));
    assert!(some(&reached, |input| !input.parsed));
}

#[test]
fn segments_corpus() {
    use uwarp_stream::End;
    let reached = replay("segments", segments::run);
    for kind in 0..6 {
        assert!(some(&reached, |input| input.succeeded[kind] > 0), "{kind}");
    }
    assert!(some(&reached, |input| input.flushed > 0));
    assert!(some(&reached, |input| input.placed > 1000));
    assert!(some(&reached, |input| input.direct > 0));
    assert!(some(&reached, |input| input.invalidated > 0));
    assert!(some(&reached, |input| input.terminates == 1));
    let ends: Vec<&End> = reached
        .iter()
        .filter_map(|input| input.end.as_ref())
        .collect();
    assert_eq!(ends.len(), reached.len());
    for end in [
        End::Graceful,
        End::Aborted,
        End::Lost,
        End::StartupTimeout,
        End::CloseTimeout,
    ] {
        assert!(ends.contains(&&end), "{end:?}");
    }
    assert!(some(&ends, |end| matches!(end, End::Terminated(_))));
}

/// The errors of RFC 5040 s4.8 and RFC 5041 s7.2 that a peer can bring about (R41, R42, D35, D36), and
/// those of RFC 5044 s8 after the set-up: each by the seed that was made for it.
#[test]
fn segments_corpus_reaches_the_terminate_codes() {
    let expected = [
        ("read_of_a_revoked_region", "0/1/00"),
        ("revoked_while_it_is_read", "0/1/00"),
        ("atomic_of_nothing", "0/1/00"),
        ("read_out_of_bounds", "0/1/01"),
        ("atomic_beyond_the_region", "0/1/01"),
        ("atomic_without_the_right", "0/1/02"),
        ("read_without_the_right", "0/1/02"),
        ("read_of_another_stream", "0/1/03"),
        ("read_into_a_sink_that_wraps", "0/1/04"),
        ("invalidate_refused", "0/1/09"),
        ("version_of_rdmap", "0/2/05"),
        ("unknown_opcode", "0/2/06"),
        ("answer_without_a_read", "0/2/06"),
        ("word_of_another_request", "0/2/06"),
        ("atomic_without_alignment", "0/2/07"),
        ("malformed_terminate", "0/2/ff"),
        ("short_segment", "1/0/00"),
        ("too_long", "1/0/00"),
        ("write_to_a_revoked_region", "1/1/00"),
        ("write_out_of_bounds", "1/1/01"),
        ("answer_too_long", "1/1/01"),
        ("write_to_another_domain", "1/1/02"),
        ("write_to_another_stream", "1/1/02"),
        ("write_wraps", "1/1/03"),
        ("version_of_ddp", "1/1/04"),
        ("queue_of_nobody", "1/2/01"),
        ("no_receive", "1/2/02"),
        ("more_reads_than_the_ird", "1/2/02"),
        ("message_from_the_past", "1/2/03"),
        ("send_with_a_hole", "1/2/04"),
        ("send_too_long", "1/2/05"),
        ("wrong_crc", "2/0/02"),
        ("wrong_marker", "2/0/03"),
    ];
    for (seed, code) in expected {
        let octets = fs::read(corpus("segments").join(seed)).unwrap();
        let end = segments::run(&octets).end;
        let Some(uwarp_stream::End::Fault(fault)) = end else {
            panic!("{seed}: {end:?}");
        };
        assert_eq!(&fault.code().to_string()[..6], code, "{seed}");
    }
}

#[test]
fn pair_corpus() {
    use uwarp_stream::End;
    let reached = replay("pair", pair::run);
    for kind in 0..6 {
        assert!(some(&reached, |input| input.succeeded[kind] > 0), "{kind}");
        let in_order = |input: &pair::Reached| input.in_order && input.succeeded[kind] > 0;
        assert!(some(&reached, in_order), "{kind}");
    }
    assert!(some(&reached, |input| input.flushed > 0));
    assert!(some(&reached, |input| input.refused > 0));
    assert!(some(&reached, |input| input.rejected));
    assert!(some(&reached, |input| input.denied > 0));
    assert!(some(&reached, |input| input.direct > 0));
    assert!(some(&reached, |input| input.invalidated > 0));
    assert!(some(&reached, |input| input.changed_while_read > 0));
    assert!(some(&reached, |input| input.terminates == 1));
    assert!(some(&reached, |input| input.set_up == 0));
    let ends: Vec<&End> = reached
        .iter()
        .flat_map(|input| input.ends.iter().flatten())
        .collect();
    for end in [
        End::Graceful,
        End::Aborted,
        End::Lost,
        End::StartupTimeout,
        End::CloseTimeout,
    ] {
        assert!(ends.contains(&&end), "{end:?}");
    }
    assert!(some(&ends, |end| matches!(end, End::Terminated(_))));
    let most = reached.iter().map(|input| input.held).max();
    println!("octets held by a connection, and the bound: at most {most:?}");
}

/// Ends of the connections, by the seed that was made for each: the initiator's Terminate codes, as they arrive.
#[test]
fn pair_corpus_reaches_the_terminate_codes() {
    use uwarp_stream::End;
    let expected = [
        ("write_out_of_bounds", "1/1/01"),
        ("write_to_a_revoked_region", "1/1/00"),
        ("write_without_the_right", "1/1/00"),
        ("read_without_the_right", "0/1/02"),
        ("revoked_while_it_is_read", "0/1/00"),
        ("atomic_without_alignment", "0/2/07"),
        ("invalidate_refused", "0/1/09"),
        ("no_receive", "1/2/02"),
        ("send_too_long", "1/2/05"),
    ];
    for (seed, code) in expected {
        let octets = fs::read(corpus("pair").join(seed)).unwrap();
        let [near, far] = pair::run(&octets).ends;
        let Some(End::Terminated(told)) = near else {
            panic!("{seed}: {near:?}, {far:?}");
        };
        assert_eq!(&told.to_string()[..6], code, "{seed}");
    }
}

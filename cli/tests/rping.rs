//! `uwarp rping` against itself. Against rdma-core's program it is tested in `tests/interop/`.

mod common;

use std::io::{BufRead, BufReader};

use common::{Outcome, Running, run, uwarp};

/// A server on a free port, and the port.
fn server(args: &[&str]) -> (Running, String) {
    let listen = ["rping", "-s", "-a", "127.0.0.1", "-p", "0"];
    let mut server = Running::start(uwarp(listen.into_iter().chain(args.iter().copied())));
    let out = server.child().stdout.as_mut().expect("it is piped");
    let mut line = String::new();
    // The rest of the output stays in the pipe: it is a line that is awaited.
    BufReader::with_capacity(1, out)
        .read_line(&mut line)
        .expect("it says where");
    let port = line.trim().rsplit(':').next().unwrap_or_default();
    (server, port.to_owned())
}

fn client(port: &str, args: &[&str]) -> Outcome {
    let connect = ["rping", "-c", "-a", "127.0.0.1", "-p", port];
    run(connect.into_iter().chain(args.iter().copied()))
}

#[test]
fn data_goes_there_and_back_in_every_size() {
    for size in ["24", "64", "1000", "1001", "4096", "65000", "65535"] {
        let (server, port) = server(&["-V", "-C", "20"]);
        let out = client(&port, &["-V", "-C", "20", "-S", size]).succeeded();
        assert!(out.contains(&format!("20 pings of {size} octets, all good")));
        assert!(server.outcome().succeeded().contains("20 pings"));
    }
}

#[test]
fn the_data_is_shown() {
    let (server, port) = server(&["-v"]);
    let out = client(&port, &["-v", "-C", "2", "-S", "24"]).succeeded();
    assert!(out.contains("ping data: rdma-ping-1: BCDEFGHIJK\n"));
    let out = server.outcome().succeeded();
    assert!(out.contains("server ping data: rdma-ping-0: ABCDEFGHIJ\n"));
}

#[test]
fn terms_are_those_that_were_asked_for() {
    for terms in [
        &["--no-crc"][..],
        &["--markers"],
        &["--no-crc", "--markers"],
    ] {
        let (server, port) = server(terms);
        client(&port, &[&["-V", "-C", "5", "-S", "5000"], terms].concat()).succeeded();
        server.outcome().succeeded();
    }
}

#[test]
fn a_persistent_server_serves_one_after_the_other() {
    let (mut server, port) = server(&["-P", "-V"]);
    for _ in 0..3 {
        client(&port, &["-V", "-C", "3"]).succeeded();
    }
    server.kill();
}

#[test]
fn a_server_counts() {
    let (server, port) = server(&["-C", "3"]);
    client(&port, &["-C", "2"]).succeeded();
    assert!(server.outcome().failed().contains("2 pings instead of 3"));
}

#[test]
fn nobody_there_is_told() {
    let (server, port) = server(&["-C", "1"]);
    client(&port, &["-C", "1"]).succeeded();
    server.outcome().succeeded();
    client(&port, &["-C", "1"]).failed();
}

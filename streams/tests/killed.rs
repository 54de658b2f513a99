//! The peer's process is killed at any time: what it had written is read up to some place, and then comes an error and
//! never a clean end.

mod common;

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{PATIENCE, narrow, pattern, read, tcp, write_all};
use uwarp_streams::{StreamOptions, StreamSocket, Unwatched, Wants};

/// In its environment a child finds whom to write to, and whether in small pieces.
const ADDRESS: &str = "UWARP_STREAMS_TEST_ADDRESS";
const NARROW: &str = "UWARP_STREAMS_TEST_NARROW";

const SEED: u8 = 5;
const ROUND: usize = 100_000;

fn options(small: bool) -> StreamOptions {
    if small {
        narrow()
    } else {
        StreamOptions::default()
    }
}

/// Not a test but the child: writes for ever.
#[test]
fn child() {
    let Ok(address) = std::env::var(ADDRESS) else {
        return;
    };
    let options = options(std::env::var_os(NARROW).is_some());
    let tcp = TcpStream::connect(address).unwrap();
    let stream = StreamSocket::initiate(tcp, &options, Arc::new(Unwatched)).unwrap();
    assert!(stream.wait(Wants::WRITABLE, Some(PATIENCE)).unwrap());
    println!("ready");
    let octets = pattern(ROUND, SEED);
    while write_all(&stream, &octets).is_ok() {}
}

#[test]
fn a_killed_peer_is_no_end_of_file() {
    let octets = pattern(ROUND, SEED);
    for round in 0..24u64 {
        let small = round % 2 == 0;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "child", "--nocapture"])
            .env(ADDRESS, listener.local_addr().unwrap().to_string())
            .stdout(Stdio::piped());
        if small {
            command.env(NARROW, "");
        }
        let mut child = command.spawn().unwrap();
        let (tcp, _) = listener.accept().unwrap();
        let stream = StreamSocket::respond(tcp, &options(small), Arc::new(Unwatched)).unwrap();
        let killer = thread::spawn(move || {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            while lines.next().unwrap().unwrap() != "ready" {}
            thread::sleep(Duration::from_micros(700 * round));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        // Some never read before it is over.
        if round % 3 == 0 {
            assert!(stream.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
        }
        let (mut at, mut out) = (0, vec![0; 9999]);
        loop {
            match read(&stream, &mut out) {
                Ok(0) => panic!("a clean end"),
                Ok(count) => {
                    for octet in &out[..count] {
                        assert_eq!(*octet, octets[at % ROUND]);
                        at += 1;
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    break;
                }
            }
        }
        assert!(stream.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
        killer.join().unwrap();
    }
}

/// Without a stream at the other end: TCP goes away in the middle of the set-up.
#[test]
fn a_connection_that_is_lost_during_the_set_up_is_an_error() {
    let (client, server) = tcp();
    let stream =
        StreamSocket::respond(server, &StreamOptions::default(), Arc::new(Unwatched)).unwrap();
    drop(client);
    assert!(stream.wait(Wants::ESTABLISHED, Some(PATIENCE)).unwrap());
    assert_eq!(stream.take_error(), Some(libc::ECONNRESET));
    assert!(stream.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
}

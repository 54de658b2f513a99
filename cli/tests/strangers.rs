//! The other end is not there, or is something else: an error in bounded time that names cause and remedy.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use common::{Running, Server, file, names, run, uwarp};
use tempfile::TempDir;

/// Listens on loopback and does `act` to each connection.
fn stranger(act: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().flatten().for_each(act));
    address
}

fn something() -> (TempDir, PathBuf) {
    let local = tempfile::tempdir().unwrap();
    let path = file(local.path(), "file", 10);
    (local, path)
}

/// What `put`, `get` and `ping` say about a server at `address`; a get leaves nothing behind.
fn complaints(address: &str) -> [String; 3] {
    let (local, path) = something();
    let path = path.to_str().unwrap();
    let mut get = uwarp(["get", "name", address, "--timeout", "1"]);
    get.current_dir(local.path());
    let lines = [
        run(["put", path, address, "--timeout", "1"]),
        Running::start(get).outcome(),
        run(["ping", address, "--timeout", "1"]),
    ];
    assert_eq!(names(local.path()), ["file"]);
    lines.map(common::Outcome::failed)
}

#[test]
fn nobody_listens() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for line in complaints(&address) {
        assert!(line.contains(&address), "{line}");
        assert!(line.contains("Connection refused"), "{line}");
        assert!(line.contains("`uwarp serve` runs"), "{line}");
    }
}

#[test]
fn a_name_that_nobody_knows() {
    let line = run(["ping", "no-such-host.invalid:1"]).failed();
    assert!(line.contains("no-such-host.invalid:1"), "{line}");
    assert!(line.contains("check the name"), "{line}");
}

#[test]
fn a_server_that_speaks_http() {
    let address = stranger(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    for line in complaints(&address) {
        assert!(line.contains("does not speak iWARP"), "{line}");
        assert!(line.contains("check that the port"), "{line}");
    }
}

#[test]
fn a_server_that_closes_at_once() {
    let address = stranger(drop);
    for line in complaints(&address) {
        assert!(line.contains("closed the connection"), "{line}");
        assert!(line.contains("check that the port"), "{line}");
    }
}

#[test]
fn a_server_that_says_nothing() {
    let address = stranger(|mut stream| {
        thread::spawn(move || stream.read_to_end(&mut Vec::new()));
    });
    for line in complaints(&address) {
        assert!(line.contains("within 1s"), "{line}");
        assert!(line.contains("check that the port"), "{line}");
    }
}

#[test]
fn clients_that_are_none_do_not_disturb_a_server() {
    let server = Server::start(&["--writable"]);
    let silent: Vec<_> = (0..40)
        .map(|_| TcpStream::connect(&server.address).unwrap())
        .collect();
    let mut browser = TcpStream::connect(&server.address).unwrap();
    let _ = browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answer = Vec::new();
    let _ = browser.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    let (_local, path) = something();
    server.put(&path, &[]).succeeded();
    common::same(&path, &server.path("file"));
    drop(silent);
}

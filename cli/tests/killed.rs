//! One end is killed in the middle of a transfer: the other ends with an error, and nothing is left under the
//! file's name.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::{Running, Server, eventually, file, names, uwarp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// So large that no test sees its end.
const ENDLESS: u64 = 1 << 40;

/// Octets of traffic after which a transfer is well under way.
const UNDER_WAY: u64 = 1 << 20;

/// A file that begins with a page of data every now and then, which can be seen in the traffic of who moves it,
/// and goes on with nothing.
fn endless(directory: &Path) -> PathBuf {
    let path = directory.join("file");
    let file = File::create(&path).unwrap();
    for number in 0..4 * UNDER_WAY / 4096 {
        file.write_all_at(&[1; 4096], number * 65536).unwrap();
    }
    file.set_len(ENDLESS).unwrap();
    path
}

/// Octets that a process has read and written, as its kernel counts them.
fn traffic(process: u32) -> u64 {
    let counters = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let count = |line: &str| {
        let (name, count) = line.split_once(": ")?;
        ["rchar", "wchar"]
            .contains(&name)
            .then(|| count.parse::<u64>().ok())?
    };
    counters.lines().filter_map(count).sum()
}

/// A put of an endless file that is well under way.
fn putting(server: &Server) -> (Running, TempDir) {
    let local = tempfile::tempdir().unwrap();
    let path = endless(local.path());
    let mut command = uwarp(["put"]);
    command.arg(path).arg(&server.address);
    let client = Running::start(command);
    eventually("the put is under way", || traffic(client.id()) > UNDER_WAY);
    (client, local)
}

/// A get of an endless file that is well under way, and where it will be stored.
fn getting(server: &Server) -> (Running, TempDir, PathBuf) {
    endless(server.directory.path());
    let local = tempfile::tempdir().unwrap();
    let output = local.path().join("output");
    let mut command = uwarp(["get", "file", &server.address, "--output"]);
    command.arg(&output);
    let client = Running::start(command);
    let server = server.process.id();
    eventually("the get is under way", || traffic(server) > UNDER_WAY);
    (client, local, output)
}

/// The only place that the server has is free again, and a file comes through it.
fn serves_again(server: &Server, name: &str) {
    let local = tempfile::tempdir().unwrap();
    let path = file(local.path(), name, 1000);
    eventually("the place is free", || {
        server.put(&path, &[]).code == Some(0)
    });
    common::same(&path, &server.path(name));
}

fn nothing_in(path: &Path) {
    assert_eq!(names(path), [""; 0]);
}

#[test]
fn a_client_that_puts() {
    let server = Server::start(&["--writable", "--clients", "1"]);
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let (client, _local) = putting(&server);
        assert!(!server.path("file").exists());
        kill(Pid::from_raw(client.id() as i32), signal).unwrap();
        assert_eq!(client.outcome().code, None);
        serves_again(&server, "other");
        assert_eq!(server.names(), ["other"]);
        std::fs::remove_file(server.path("other")).unwrap();
    }
}

#[test]
fn a_client_that_gets() {
    let server = Server::start(&["--writable", "--clients", "1"]);
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let (client, local, _) = getting(&server);
        kill(Pid::from_raw(client.id() as i32), signal).unwrap();
        assert_eq!(client.outcome().code, None);
        nothing_in(local.path());
        serves_again(&server, "other");
    }
}

#[test]
fn a_server_that_is_put_to() {
    let mut server = Server::start(&["--writable"]);
    let (client, _local) = putting(&server);
    server.process.kill();
    let line = client.outcome().failed();
    assert!(line.contains("cannot put"), "{line}");
    assert!(!server.path("file").exists());
}

#[test]
fn a_server_that_is_got_from() {
    let mut server = Server::start(&[]);
    let (client, local, output) = getting(&server);
    std::fs::write(&output, b"before").unwrap();
    server.process.kill();
    let line = client.outcome().failed();
    assert!(line.contains("cannot get file"), "{line}");
    assert_eq!(names(local.path()), ["output"]);
    assert_eq!(std::fs::read(&output).unwrap(), b"before");
}

#[test]
fn a_client_that_stops_without_leaving_is_given_up() {
    let server = Server::start(&["--writable", "--clients", "1", "--timeout", "1"]);
    let (client, _local) = putting(&server);
    kill(Pid::from_raw(client.id() as i32), Signal::SIGSTOP).unwrap();
    serves_again(&server, "other");
    assert_eq!(server.names(), ["other"]);
}

#[test]
fn a_file_that_shrinks_while_it_is_put_is_an_error() {
    let server = Server::start(&["--writable"]);
    let (client, local) = putting(&server);
    let path = local.path().join("file");
    let shorter = File::options().write(true).open(path).unwrap();
    shorter.set_len(0).unwrap();
    let line = client.outcome().failed();
    assert!(line.contains("became shorter"), "{line}");
    assert_eq!(server.names(), [""; 0]);
}

#[test]
fn a_file_that_shrinks_while_it_is_got_is_an_error() {
    let server = Server::start(&[]);
    let (client, local, _) = getting(&server);
    let shorter = File::options()
        .write(true)
        .open(server.path("file"))
        .unwrap();
    shorter.set_len(0).unwrap();
    let line = client.outcome().failed();
    assert!(line.contains("the peer says: "), "{line}");
    nothing_in(local.path());
}

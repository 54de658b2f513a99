//! `uwarp serve`, `put` and `get`: files arrive whole or not at all, and only where they may.

mod common;

use std::os::unix::fs::symlink;
use std::thread;

use common::{Server, file, names, run, same, sparse};

#[test]
fn files_of_any_size_are_put_and_got() {
    let server = Server::start(&["--writable"]);
    let local = tempfile::tempdir().unwrap();
    let block = 1 << 20;
    for len in [0, 1, block - 1, block, block + 1, 8 * block, 20 * block + 7] {
        let path = file(local.path(), "file", len);
        let out = server.put(&path, &[]).succeeded();
        let digest = blake3::hash(&std::fs::read(&path).unwrap()).to_string();
        assert!(
            out.starts_with("put file: ") && out.contains(&digest),
            "{out}"
        );
        same(&path, &server.path("file"));
        let back = local.path().join("back");
        let out = server.get("file", &back).succeeded();
        assert!(
            out.starts_with("got file: ") && out.contains(&digest),
            "{out}"
        );
        same(&path, &back);
    }
    assert_eq!(server.names(), ["file"]);
    assert_eq!(names(local.path()), ["back", "file"]);
}

#[test]
fn holes_are_zeros() {
    let server = Server::start(&["--writable"]);
    let local = tempfile::tempdir().unwrap();
    let path = sparse(local.path(), "holes", (10 << 20) + 3);
    server.put(&path, &[]).succeeded();
    same(&path, &server.path("holes"));
}

#[test]
fn a_file_is_put_under_another_name_and_replaces_what_was_there() {
    let server = Server::start(&["--writable"]);
    std::fs::write(server.path("name"), b"before").unwrap();
    let local = tempfile::tempdir().unwrap();
    let path = file(local.path(), "file", 100);
    server.put(&path, &["--name", "name"]).succeeded();
    same(&path, &server.path("name"));
    assert_eq!(server.names(), ["name"]);
}

#[test]
fn without_output_a_file_is_stored_under_its_name() {
    let server = Server::start(&[]);
    let served = file(server.directory.path(), "file", 100);
    let local = tempfile::tempdir().unwrap();
    let mut command = common::uwarp(["get", "file", &server.address]);
    command.current_dir(local.path());
    common::Running::start(command).outcome().succeeded();
    same(&served, &local.path().join("file"));
}

#[test]
fn a_server_is_read_only_unless_told_otherwise() {
    let server = Server::start(&[]);
    std::fs::write(server.path("file"), b"before").unwrap();
    let local = tempfile::tempdir().unwrap();
    let line = server.put(&file(local.path(), "file", 100), &[]).failed();
    assert!(line.contains("does not let anyone write"), "{line}");
    assert!(line.contains("--writable"), "{line}");
    assert_eq!(std::fs::read(server.path("file")).unwrap(), b"before");
}

#[test]
fn names_that_lead_out_of_the_directory_are_refused() {
    let server = Server::start(&["--writable"]);
    let outside = tempfile::tempdir().unwrap();
    let secret = file(outside.path(), "secret", 10);
    symlink(&secret, server.path("link")).unwrap();
    symlink(outside.path(), server.path("way")).unwrap();
    let absolute = secret.to_str().unwrap();
    let output = outside.path().join("output");
    for name in ["..", "../secret", "way/secret", absolute, "link", "way", ""] {
        let line = server.get(name, &output).failed();
        assert!(line.contains("the peer says: "), "{name}: {line}");
        let line = server.put(&secret, &["--name", name]).failed();
        assert!(line.contains("the peer says: "), "{name}: {line}");
    }
    assert_eq!(names(outside.path()), ["secret"]);
    assert_eq!(server.names(), ["link", "way"]);
}

#[test]
fn hidden_files_are_neither_put_nor_got() {
    let server = Server::start(&["--writable"]);
    std::fs::write(server.path(".hidden"), b"x").unwrap();
    let local = tempfile::tempdir().unwrap();
    let line = server.get(".hidden", &local.path().join("x")).failed();
    assert!(line.contains("begins with a dot"), "{line}");
    let path = file(local.path(), ".uwarp-partial-0", 1);
    let line = server.put(&path, &[]).failed();
    assert!(line.contains("begins with a dot"), "{line}");
    assert_eq!(server.names(), [".hidden"]);
}

#[test]
fn a_file_that_is_not_there_leaves_no_output() {
    let server = Server::start(&[]);
    let local = tempfile::tempdir().unwrap();
    let output = local.path().join("output");
    let line = server.get("missing", &output).failed();
    assert!(line.contains("No such file"), "{line}");
    assert_eq!(names(local.path()), [""; 0]);
    std::fs::write(&output, b"before").unwrap();
    server.get("missing", &output).failed();
    assert_eq!(std::fs::read(&output).unwrap(), b"before");
}

#[test]
fn what_is_no_regular_file_is_not_replaced() {
    let server = Server::start(&["--writable"]);
    std::fs::write(server.path("file"), b"x").unwrap();
    std::fs::create_dir(server.path("directory")).unwrap();
    let local = tempfile::tempdir().unwrap();
    let line = server.get("file", local.path()).failed();
    assert!(line.contains("no regular file"), "{line}");
    let path = file(local.path(), "file", 1);
    let line = server.put(&path, &["--name", "directory"]).failed();
    assert!(line.contains("no regular file"), "{line}");
}

#[test]
fn several_clients_are_served_at_once() {
    let server = Server::start(&["--writable"]);
    let local = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (1..=4)
        .map(|number| file(local.path(), &format!("file{number}"), number * 1_500_000))
        .collect();
    thread::scope(|scope| {
        for path in &paths {
            scope.spawn(|| server.put(path, &[]).succeeded());
        }
    });
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        same(path, &server.path(name));
    }
}

#[test]
fn a_directory_that_is_not_there_or_an_address_in_use_is_an_error() {
    let line = run(["serve", "/nowhere"]).failed();
    assert!(line.contains("cannot serve /nowhere"), "{line}");
    let server = Server::start(&[]);
    let directory = server.directory.path().to_str().unwrap();
    let line = run(["serve", directory, "--listen", &server.address]).failed();
    assert!(
        line.contains("in use") && line.contains("--listen"),
        "{line}"
    );
}

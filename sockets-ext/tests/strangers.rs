//! Peers that do not speak MPA, say nothing, go away, or were never there: each a typed error whose message names
//! cause and remedy.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::{LIMIT, listen};
use uwarp::{DdpMode, Domain, Error, Options, SendFlags, connect};

/// So long that an error that waits for it is noticed.
const PATIENT: Duration = Duration::from_secs(3600);
const HASTY: Duration = Duration::from_millis(200);

fn options() -> Options {
    Options::new(&Domain::new()).startup_timeout(PATIENT)
}

/// A TCP server that deals with its first caller by `deal`.
fn server(deal: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || deal(listener.accept().unwrap().0));
    (address, served)
}

/// Reads until the peer has gone; whether by FIN or reset does not matter.
fn hear_the_end(tcp: &mut TcpStream) {
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    let mut octets = [0; 512];
    loop {
        match tcp.read(&mut octets) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn a_web_server_is_found_out_at_once() {
    let (address, served) = server(|mut tcp| {
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        hear_the_end(&mut tcp);
    });
    let error = connect(address, &options()).unwrap_err();
    assert!(matches!(error, Error::NotMpa(_)), "{error:?}");
    says(&error, &["does not speak iWARP", "on this port"]);
    served.join().unwrap();
}

#[test]
fn a_web_browser_is_found_out_at_once() {
    let (address, served) = server(|tcp| {
        let error = tcp.await_ddp_mode(&options()).unwrap_err();
        assert!(matches!(error, Error::NotMpa(_)), "{error:?}");
        says(&error, &["does not speak iWARP"]);
    });
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n")
        .unwrap();
    hear_the_end(&mut tcp);
    served.join().unwrap();
}

#[test]
fn a_listener_turns_a_web_browser_away_and_goes_on() {
    let listener = listen(&options());
    let mut tcp = TcpStream::connect(listener.local_addr()).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    hear_the_end(&mut tcp);
    let error = listener.accept_timeout(HASTY).unwrap_err();
    assert!(matches!(error, Error::AcceptTimeout(_)), "{error:?}");
    serves(&listener);
}

/// Shows that the listener still serves a good peer.
fn serves(listener: &uwarp::Listener) {
    let address = listener.local_addr();
    let client = thread::spawn(move || {
        let socket = connect(address, &options()).unwrap();
        socket.post_send(1, &[], SendFlags::default()).unwrap();
        socket.close().unwrap();
    });
    let incoming = listener.accept_timeout(LIMIT).unwrap();
    incoming.post_recv(2, &[]).unwrap();
    let socket = incoming.accept(b"").unwrap();
    assert!(socket.wait(Some(LIMIT)).unwrap().is_success());
    socket.close().unwrap();
    client.join().unwrap();
}

#[test]
fn a_silent_server_is_given_up() {
    let (address, served) = server(|mut tcp| hear_the_end(&mut tcp));
    let error = connect(address, &options().startup_timeout(HASTY)).unwrap_err();
    assert!(matches!(error, Error::SetupTimeout(HASTY)), "{error:?}");
    says(
        &error,
        &["no MPA startup frame", "raise the startup timeout"],
    );
    served.join().unwrap();
}

#[test]
fn a_silent_client_is_given_up() {
    let (address, served) = server(|tcp| {
        let error = tcp
            .await_ddp_mode(&options().startup_timeout(HASTY))
            .unwrap_err();
        assert!(matches!(error, Error::SetupTimeout(HASTY)), "{error:?}");
    });
    hear_the_end(&mut TcpStream::connect(address).unwrap());
    served.join().unwrap();
}

#[test]
fn half_a_request_counts_as_silence() {
    let listener = listen(&options().startup_timeout(HASTY));
    let mut tcp = TcpStream::connect(listener.local_addr()).unwrap();
    tcp.write_all(b"MPA ID Req Fra").unwrap();
    hear_the_end(&mut tcp);
    serves(&listener);
}

#[test]
fn a_server_that_hangs_up_is_told_apart() {
    let (address, served) = server(drop);
    let error = connect(address, &options()).unwrap_err();
    assert!(matches!(error, Error::SetupClosed), "{error:?}");
    says(
        &error,
        &["closed the connection", "does not speak iWARP", "refused"],
    );
    served.join().unwrap();
}

#[test]
fn a_client_that_hangs_up_costs_nothing() {
    let listener = listen(&options());
    for sent in [&b""[..], b"MPA", b"MPA ID Req Frame\x40\x01\x00"] {
        let mut tcp = TcpStream::connect(listener.local_addr()).unwrap();
        tcp.write_all(sent).unwrap();
    }
    serves(&listener);
}

#[test]
fn a_refused_connection_says_what_to_look_at() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = connect(address, &options()).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    let address = address.to_string();
    says(&error, &[&address, "refused", "check the port"]);
}

#[test]
fn a_wrong_address_is_named() {
    for wrong in ["nowhere", "127.0.0.1", "127.0.0.1:99999"] {
        let error = connect(wrong, &options()).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        says(&error, &[wrong, "cannot connect"]);
    }
}

#[test]
fn an_address_in_use_is_named() {
    let listener = listen(&options());
    let error = uwarp::Listener::bind(listener.local_addr(), &options()).unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
    says(&error, &["cannot listen", "127.0.0.1", "in use"]);
}

#[test]
fn silent_connections_do_not_shut_good_ones_out() {
    let listener = listen(&options().startup_timeout(Duration::from_secs(1)));
    let silent: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(listener.local_addr()).unwrap())
        .collect();
    serves(&listener);
    drop(silent);
}

#[test]
fn two_initiators_do_not_wait_for_each_other() {
    let (address, served) = server(|tcp| {
        let error = tcp.set_ddp_mode(&options()).unwrap_err();
        assert!(
            matches!(error, Error::NotMpa(_) | Error::SetupClosed),
            "{error:?}"
        );
    });
    let error = connect(address, &options()).unwrap_err();
    assert!(
        matches!(error, Error::NotMpa(_) | Error::SetupClosed),
        "{error:?}"
    );
    served.join().unwrap();
}

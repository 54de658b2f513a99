//! Each message survives the wire, and nothing that a peer may send does harm.

use super::*;

const PLACE: Place = Place {
    stag: 7,
    to: 1 << 40,
    len: 8 << 20,
};

fn messages() -> Vec<Message> {
    let digest = Digest(blake3::hash(b"abc"));
    let window = Window {
        place: PLACE,
        slots: 8,
        slot_len: 1 << 20,
    };
    vec![
        Message::Put {
            name: "a \"file\"\u{e9}".to_owned(),
            size: u64::MAX,
        },
        Message::Get {
            name: String::new(),
        },
        Message::Window { size: 0, window },
        Message::Filled { len: 1 },
        Message::Free,
        Message::End { digest },
        Message::Stored { digest },
        Message::failed("no"),
    ]
}

#[test]
fn every_message_survives_the_wire() {
    for message in messages() {
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn a_cut_or_changed_message_is_an_error_or_another_message() {
    for message in messages() {
        let octets = message.encode();
        for cut in 0..octets.len() {
            assert!(Message::decode(&octets[..cut]).is_err());
        }
        for index in 0..octets.len() {
            let mut changed = octets.clone();
            changed[index] ^= 0x15;
            if let Ok(other) = Message::decode(&changed) {
                assert_ne!(other, message);
            }
        }
    }
}

#[test]
fn the_longest_name_and_reason_fit_a_message() {
    let name = "\u{1}".repeat(255);
    assert!(
        Message::Put {
            name,
            size: u64::MAX
        }
        .encode()
        .len()
            <= MESSAGE_MAX
    );
    let failed = Message::failed("\"".repeat(5000));
    assert!(failed.encode().len() <= MESSAGE_MAX);
    assert!(refusal_to_private_data(&"x".repeat(5000)).len() <= 508);
}

#[test]
fn numbers_out_of_range_are_refused() {
    let window = |slots, slot_len, len| {
        let place = Place { len, ..PLACE };
        Message::decode(
            &Message::Window {
                size: 1,
                window: Window {
                    place,
                    slots,
                    slot_len,
                },
            }
            .encode(),
        )
    };
    assert!(window(8, 1024, 8192).is_ok());
    assert!(window(0, 1024, 0).is_err());
    assert!(window(8, 0, 0).is_err());
    assert!(window(SLOTS_MAX + 1, 1, SLOTS_MAX + 1).is_err());
    assert!(window(1, SLOT_LEN_MAX + 1, SLOT_LEN_MAX + 1).is_err());
    assert!(window(8, 1024, 8191).is_err());
    assert!(Message::decode(&Message::Filled { len: 0 }.encode()).is_err());
    assert_eq!(
        Message::decode(&[b' '; MESSAGE_MAX + 1]),
        Err(MessageError::TooLong(MESSAGE_MAX + 1))
    );
}

#[test]
fn the_slots_of_a_window_are_used_in_turn_and_stay_inside() {
    let window = Window {
        place: PLACE,
        slots: 8,
        slot_len: 1 << 20,
    };
    let second = window.slot(9, 5).unwrap();
    assert_eq!((second.to, second.len), ((1 << 40) + (1 << 20), 5));
    assert_eq!(window.slot(7, (1 << 20) + 1), None);
}

#[test]
fn hello_and_welcome_survive_and_are_checked() {
    let echo = |size, len| {
        let place = Place { len, ..PLACE };
        Hello::new(Purpose::Echo { size, place })
    };
    for hello in [Hello::new(Purpose::Files), echo(64, 64)] {
        let octets = hello.to_private_data();
        assert!(octets.len() <= 508);
        assert_eq!(Hello::from_private_data(&octets), Ok(hello));
    }
    for wrong in [
        echo(0, 0),
        echo(64, 63),
        echo(ECHO_SIZE_MAX + 1, ECHO_SIZE_MAX + 1),
    ] {
        assert!(Hello::from_private_data(&wrong.to_private_data()).is_err());
    }
    let other = br#"{"uwarp":2,"purpose":"files"}"#;
    assert_eq!(
        Hello::from_private_data(other),
        Err(MessageError::Version(2))
    );
    assert!(Hello::from_private_data(b"GET / HTTP/1.1").is_err());
    let welcome = Welcome::new(Some(EchoWelcome {
        place: PLACE,
        depth: 8,
    }));
    assert_eq!(
        Welcome::from_private_data(&welcome.to_private_data()),
        Ok(welcome)
    );
}

#[test]
fn what_a_peer_says_cannot_steer_the_terminal() {
    assert_eq!(plain("a\u{1b}[2Jb\nc"), "a [2Jb c");
    assert!(refusal(&[0xff]).contains("no reason"));
    assert_eq!(refusal(b"busy"), "the peer rejected the connection: busy");
}

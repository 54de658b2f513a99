//! Datagrams on the UNIX socket to a worker.
//!
//! An input is a sequence of datagrams: any octets, messages, and messages with something wrong. The worker
//! reads each into room for one octet more than a message has; what is longer is cut. What decodes must be the
//! one form of that message, and every message must decode.
//!
//! That a worker which gets all this keeps serving its sockets is shown by `sockets-ext/tests/control.rs`.

use uwarp::control::Message;

use crate::input::Input;

/// What an input reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Datagrams that were messages: to wake, about listeners, to stop.
    pub messages: [usize; 3],
    /// Datagrams that were none.
    pub noise: usize,
    /// Datagrams that were cut.
    pub cut: usize,
}

const MESSAGES: [Message; 3] = [Message::Wake, Message::Listeners, Message::Stop];

/// Reads datagrams as the worker does.
///
/// # Panics
/// When a datagram is taken for what it is not.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mut reached = Reached::default();
    while !input.is_empty() {
        let datagram = datagram(&mut input);
        let room = datagram.len().min(Message::LEN + 1);
        reached.cut += usize::from(room < datagram.len());
        let kind = kind(&datagram);
        assert_eq!(Message::decode(&datagram[..room]), kind, "{datagram:?}");
        match kind {
            Some(message) => {
                assert_eq!(message.encode().as_slice(), datagram, "it has one form");
                let index = MESSAGES.iter().position(|known| *known == message);
                reached.messages[index.expect("one of the three")] += 1;
            }
            None => reached.noise += 1,
        }
    }
    reached
}

/// What the figure in `sockets-ext/src/control.rs` says: a kind of 4 octets, then 4 that are zero.
fn kind(datagram: &[u8]) -> Option<Message> {
    let octets: &[u8; 8] = datagram.try_into().ok()?;
    match u64::from_be_bytes(*octets) {
        0x1_0000_0000 => Some(Message::Wake),
        0x2_0000_0000 => Some(Message::Listeners),
        0x3_0000_0000 => Some(Message::Stop),
        _ => None,
    }
}

fn datagram(input: &mut Input<'_>) -> Vec<u8> {
    let step = input.u8();
    let mut octets = MESSAGES[usize::from(step >> 2) % 3].encode().to_vec();
    match step & 3 {
        0 => return input.short_slice().to_vec(),
        1 => {}
        // Longer or shorter.
        2 => octets.resize(usize::from(input.u8() % 32), 0),
        _ => {
            let at = usize::from(input.u8()) % octets.len();
            octets[at] ^= input.u8();
        }
    }
    octets
}

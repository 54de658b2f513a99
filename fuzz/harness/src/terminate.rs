//! Terminate messages (RFC 5040 s4.8; R08): octets to message to octets.

use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::terminate::{BlamedHeader, TERMINATE_MAX};
use uwarp_rdmap::{Layer, Terminate, TerminateCode};

use crate::input::Input;

/// What an input reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The octets were a Terminate.
    pub parsed: bool,
    /// It carried a DDP header.
    pub ddp_header: bool,
    /// It carried a Read Request.
    pub read_request: bool,
}

/// Reads `data` as a message, and makes a message from it.
///
/// # Panics
/// When a message is not read back as it was written.
pub fn run(data: &[u8]) -> Reached {
    let parsed = Terminate::parse(data);
    if let Some(message) = &parsed {
        survives_the_wire(message);
        if let Some(request) = message.read_request.as_ref() {
            read_request_survives(request);
        }
    }
    survives_the_wire(&made_of(data));
    Reached {
        parsed: parsed.is_some(),
        ddp_header: parsed.is_some_and(|message| message.ddp_header.is_some()),
        read_request: parsed.is_some_and(|message| message.read_request.is_some()),
    }
}

fn survives_the_wire(message: &Terminate) {
    assert!(!message.code.to_string().is_empty());
    let mut wire = [0; TERMINATE_MAX];
    let len = message.encode(&mut wire);
    let read = Terminate::parse(&wire[..len]);
    if is_taken_for_siw(message) {
        assert!(read.is_some());
        return;
    }
    assert_eq!(read.as_ref(), Some(message));
    for shorter in 0..len {
        assert_eq!(Terminate::parse(&wire[..shorter]), None);
    }
}

/// Without headers, the unassigned codes 0/2/01 to 0/2/04 and 2/1/06 look like siw's way to write 2/0/01 to
/// 2/0/04 and 1/2/06, and are read as such.
fn is_taken_for_siw(message: &Terminate) -> bool {
    let TerminateCode { layer, etype, code } = message.code;
    *message == Terminate::bare(message.code)
        && matches!(
            (layer, etype, code),
            (Layer::Rdmap, 2, 1..=4) | (Layer::Llp, 1, 6)
        )
}

fn read_request_survives(octets: &[u8]) {
    let request = ReadRequest::parse(octets).expect("28 octets are a Read Request");
    assert_eq!(request.encode(), octets);
    let rest = request.remainder(request.size);
    assert_eq!(rest.size, 0);
}

/// A message whose every field is the input's choice.
fn made_of(data: &[u8]) -> Terminate {
    let mut input = Input::new(data);
    let which = input.u8();
    let layer = match which >> 4 & 0x03 {
        0 => Layer::Rdmap,
        1 => Layer::Ddp,
        2 => Layer::Llp,
        _ => Layer::Other(3 + input.u8() % 13),
    };
    let code = TerminateCode::new(layer, input.u8() & 0x0f, input.u8());
    Terminate {
        code,
        segment_len: (which & 1 != 0).then(|| input.u16()),
        ddp_header: (which & 2 != 0)
            .then(|| BlamedHeader::of(input.take(18)))
            .flatten(),
        read_request: (which & 4 != 0).then(|| {
            let mut octets = [0; 28];
            let taken = input.take(28);
            octets[..taken.len()].copy_from_slice(taken);
            octets
        }),
    }
}

//! From an input to a connection that is set up.

use std::time::Instant;

use uwarp_ddp::Stag;
use uwarp_mpa::{
    Agreement, Conclusion, Frame, FrameKind, Policy, Progress, Rtr, RtrSet, StartupReader,
    negotiate,
};
use uwarp_stream::{Batch, Config, Connection, Event, Piece};

use crate::arena::Arena;
use crate::input::Input;

/// Names the sinks of the Reads of the connection under test.
const SINK_STAG: Stag = Stag(0x51_4b_00_01);

/// A connection in full operation, and how it came there.
pub(super) struct SetUp {
    pub(super) connection: Connection,
    pub(super) config: Config,
    pub(super) agreement: Agreement,
    /// The RTR that the other end, as initiator, is to open with.
    pub(super) opening: Option<Rtr>,
    /// Payload may go straight from the socket to its place, if the connection allows it.
    pub(super) direct: bool,
}

/// Decides everything that is decided before full operation, and gets there.
pub(super) fn set_up(input: &mut Input<'_>, arena: &mut Arena, now: Instant) -> SetUp {
    let (bits, depths, sizes) = (input.u8(), input.u8(), input.u8());
    let ours = Policy {
        crc: bits & 2 == 0,
        markers: bits & 4 != 0,
        peer_to_peer: bits & 16 == 0,
        ird: (depths & 7).into(),
        ord: (depths >> 3 & 7).into(),
        ..Policy::default()
    };
    let rtr = [Rtr::Write, Rtr::Read, Rtr::Send, Rtr::Write][usize::from(bits >> 5 & 3)];
    let (ours, theirs) = (
        Policy {
            rtr: RtrSet::ALL,
            ..ours
        },
        Policy {
            markers: bits & 8 != 0,
            rtr: rtr.into(),
            ird: 7,
            ord: 7,
            ..ours
        },
    );
    let config = Config {
        policy: ours,
        send_queue: usize::from(sizes & 7) + 1,
        receive_queue: usize::from(sizes >> 3 & 7) + 1,
        emss: [1460, 0, 400, 9000][usize::from(sizes >> 6)],
        ..Config::default()
    };
    let (connection, opening) = if bits & 1 == 0 {
        as_responder(config.clone(), &theirs, arena, now)
    } else {
        (as_initiator(config.clone(), &theirs, arena, now), None)
    };
    let agreement = *connection.agreement().expect("it is set up");
    SetUp {
        connection,
        config,
        agreement,
        opening,
        direct: bits & 0x80 == 0,
    }
}

fn as_responder(
    config: Config,
    theirs: &Policy,
    arena: &mut Arena,
    now: Instant,
) -> (Connection, Option<Rtr>) {
    let mut connection = Connection::responder(config, SINK_STAG, now);
    let request = negotiate::request(theirs, b"in").expect("the policy is sound");
    feed(&mut connection, &request, arena, now);
    let Some(Event::Request(_)) = connection.poll_event() else {
        panic!("the Request is proper");
    };
    connection.accept(b"out", now).expect("it can be accepted");
    established(&mut connection);
    let reply = read(FrameKind::Reply, &write(&mut connection, arena, now));
    let conclusion = negotiate::conclude(theirs, &reply).expect("the Reply is proper");
    let Conclusion::Accepted { agreement, .. } = conclusion else {
        panic!("the policies fit");
    };
    (connection, agreement.rtr)
}

fn as_initiator(config: Config, theirs: &Policy, arena: &mut Arena, now: Instant) -> Connection {
    let mut connection =
        Connection::initiator(config, b"out", SINK_STAG, now).expect("the policy is sound");
    let request = read(FrameKind::Request, &write(&mut connection, arena, now));
    let request = negotiate::examine_request(theirs, &request).expect("the Request is proper");
    let (reply, _) = negotiate::accept(theirs, &request, b"in").expect("it can be accepted");
    feed(&mut connection, &reply, arena, now);
    established(&mut connection);
    connection
}

fn established(connection: &mut Connection) {
    let Some(Event::Established(_)) = connection.poll_event() else {
        panic!("the frames fit");
    };
}

fn feed(connection: &mut Connection, frame: &Frame, arena: &mut Arena, now: Instant) {
    let wire = frame.encode().expect("a frame that we made");
    let received = connection.receive(&wire, arena, now);
    assert_eq!(received.consumed, wire.len());
}

fn read(kind: FrameKind, octets: &[u8]) -> Frame {
    match StartupReader::new(kind).read(octets) {
        Ok(Progress::Frame { frame, consumed }) if consumed == octets.len() => frame,
        other => panic!("{other:?} instead of one whole frame"),
    }
}

/// Lets the connection write its startup frame.
fn write(connection: &mut Connection, arena: &mut Arena, now: Instant) -> Vec<u8> {
    let mut batch = Batch::new();
    connection.transmit(&mut batch, arena, 1, now);
    let [Piece::Octets(range)] = batch.pieces() else {
        panic!("a startup frame is one piece");
    };
    let octets = batch.octets(range.clone()).to_vec();
    connection.written(octets.len());
    octets
}

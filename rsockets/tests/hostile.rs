//! What a peer may do wrong, and what each event does in each state.

mod common;

use common::{End, Pair, memory};
use proptest::prelude::*;
use uwarp_rsockets::{
    ByteOrder, Config, ENTRY_LEN, Entry, Fault, Hello, IOMAP_ENTRY_LEN, IomapEntry, IomapError,
    Message, Place, Post, ReadEnd, Stream, WriteError,
};

const NO_ENTRY: [u8; ENTRY_LEN] = [0; ENTRY_LEN];

fn peer(credits: u16) -> Hello {
    Hello {
        order: ByteOrder::Little,
        credits,
        iomap: 2,
        table: Entry {
            place: Place { to: 0, stag: 7 },
            len: 2,
        },
        buffer: Entry {
            place: Place { to: 0, stag: 8 },
            len: 1000,
        },
    }
}

fn config() -> Config {
    Config {
        receive_ring: 200,
        credits: 16,
        iomap: 3,
        ..Config::default()
    }
}

/// An end whose peer is the test, and that has nothing left to post.
fn end() -> Stream {
    let (mut stream, _) =
        Stream::responder(&config(), &memory(), &peer(16).encode()).expect("a good request");
    run(&mut stream);
    stream
}

/// Posts and completes all that there is.
fn run(stream: &mut Stream) -> Vec<Post> {
    let mut posts = Vec::new();
    while let Some(request) = stream.next_request() {
        posts.push(request.post);
        stream.completed();
    }
    posts
}

fn tell(stream: &mut Stream, message: Message) -> Result<(), Fault> {
    stream.received(&message.encode(ByteOrder::Little), |_| NO_ENTRY)
}

fn is_broken(stream: &mut Stream, fault: Fault) -> bool {
    stream.is_over()
        && stream.read_end() == Some(ReadEnd::Fault(fault))
        && stream.write(1) == Err(WriteError::Fault(fault))
        && stream.next_request().is_none()
        && tell(stream, Message::Reserved(1)).is_ok()
}

#[test]
fn each_broken_rule_has_its_fault() {
    let cases: [(Message, Fault); 8] = [
        (Message::Reserved(1), Fault::Reserved(1)),
        (Message::Reserved(3), Fault::Reserved(3)),
        (Message::Reserved(5), Fault::Reserved(5)),
        (Message::Data(0), Fault::Empty),
        (
            Message::Data(101),
            Fault::Overrun {
                len: 101,
                room: 100,
            },
        ),
        (
            Message::Data((1 << 29) - 1),
            Fault::Overrun {
                len: (1 << 29) - 1,
                room: 100,
            },
        ),
        (Message::Iomap(3), Fault::Iomap { index: 3, size: 3 }),
        (
            Message::Grant(17),
            Fault::Limit {
                limit: 17,
                sent: 0,
                credits: 16,
            },
        ),
    ];
    for (message, fault) in cases {
        let mut stream = end();
        assert_eq!(tell(&mut stream, message), Err(fault), "{message:?}");
        assert!(is_broken(&mut stream, fault), "{message:?}");
    }
}

#[test]
fn messages_have_four_octets() {
    for len in [0, 1, 3, 5, 8, 100] {
        let mut stream = end();
        let fault = Fault::MessageLen(len);
        assert_eq!(stream.received(&vec![0; len], |_| NO_ENTRY), Err(fault));
        assert!(is_broken(&mut stream, fault));
    }
}

#[test]
fn a_message_stays_in_its_half_of_the_ring() {
    let mut stream = end();
    assert_eq!(tell(&mut stream, Message::Data(60)), Ok(()));
    let fault = Fault::Overrun { len: 41, room: 40 };
    assert_eq!(tell(&mut stream, Message::Data(41)), Err(fault));
    // What came before the fault is still there.
    assert_eq!(stream.readable(), 0..60);
    assert_eq!(stream.read_end(), None);
    stream.consumed(60);
    assert!(is_broken(&mut stream, fault));
}

#[test]
fn a_full_ring_has_no_room() {
    let mut stream = end();
    for _ in 0..2 {
        assert_eq!(tell(&mut stream, Message::Data(100)), Ok(()));
    }
    assert_eq!(
        tell(&mut stream, Message::Data(1)),
        Err(Fault::Overrun { len: 1, room: 0 })
    );
}

#[test]
fn credits_are_counted() {
    let mut stream = end();
    for _ in 0..15 {
        assert_eq!(tell(&mut stream, Message::Data(1)), Ok(()));
    }
    assert_eq!(tell(&mut stream, Message::Iomap(0)), Ok(()));
    assert_eq!(tell(&mut stream, Message::Data(1)), Err(Fault::Credits));
    let mut stream = end();
    for _ in 0..16 {
        assert_eq!(tell(&mut stream, Message::Iomap(1)), Ok(()));
    }
    // Nobody reads these; so the credits come back by themselves, unlike rsockets'.
    assert_eq!(run(&mut stream), [Post::Message([32, 0, 0, 0x80])]);
    assert_eq!(tell(&mut stream, Message::Iomap(1)), Ok(()));
}

#[test]
fn limits_only_grow() {
    let mut stream = end();
    for at in 0..12 {
        assert_eq!(stream.write(1), Ok(at..at + 1));
        assert_eq!(run(&mut stream).len(), 2);
    }
    assert_eq!(tell(&mut stream, Message::Grant(24)), Ok(()));
    assert_eq!(tell(&mut stream, Message::Grant(24)), Ok(()));
    let fault = Fault::Limit {
        limit: 23,
        sent: 12,
        credits: 16,
    };
    assert_eq!(tell(&mut stream, Message::Grant(23)), Err(fault));
    assert!(is_broken(&mut stream, fault));
}

#[test]
fn a_buffer_fits_behind_its_offset() {
    let mut stream = end();
    let entry = Entry {
        place: Place {
            to: u64::MAX - 5,
            stag: 1,
        },
        len: 7,
    };
    let grant = Message::Grant(16).encode(ByteOrder::Little);
    let fault = Fault::Entry {
        to: u64::MAX - 5,
        len: 7,
    };
    assert_eq!(
        stream.received(&grant, |_| entry.encode(ByteOrder::Little)),
        Err(fault)
    );
    assert!(is_broken(&mut stream, fault));
}

#[test]
fn the_table_is_read_only_for_a_buffer_that_may_be_there() {
    let mut stream = end();
    let grant = Message::Grant(16).encode(ByteOrder::Little);
    let entry = Entry {
        place: Place { to: 5000, stag: 9 },
        len: 10,
    };
    let entry = entry.encode(ByteOrder::Little);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let outcome = stream.received(&grant, |index| {
            asked.push(index);
            entry
        });
        assert_eq!(outcome, Ok(()));
    }
    // The first buffer is in use and the second waits: a third one cannot be.
    assert_eq!(asked, [1]);
    assert_eq!(stream.write(1005), Ok(0..1005));
    let posts = run(&mut stream);
    let data: Vec<_> = posts
        .iter()
        .filter_map(|post| match post {
            Post::Data { len, to, .. } => Some((*len, to.stag, to.to)),
            _ => None,
        })
        .collect();
    assert_eq!(data, [(1000, 8, 0), (5, 9, 5000)]);
    let outcome = stream.received(&grant, |index| {
        asked.push(index);
        NO_ENTRY
    });
    assert_eq!((outcome, asked), (Ok(()), vec![1, 0]));
}

/// A state, by how one gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// We have ended our data.
    WeEnded,
    /// We would like to, but the peer has no room for what was written.
    Ending,
    /// The peer has ended its data.
    TheyEnded,
    /// We read no more.
    Deaf,
    /// We have disconnected, or the peer has.
    Disconnected,
    TheyDisconnected,
    Lost,
    Broken,
}

const STATES: [State; 9] = [
    State::Open,
    State::WeEnded,
    State::Ending,
    State::TheyEnded,
    State::Deaf,
    State::Disconnected,
    State::TheyDisconnected,
    State::Lost,
    State::Broken,
];

fn at(state: State) -> Stream {
    let mut stream = end();
    match state {
        State::Open => (),
        State::WeEnded => stream.shutdown_write(),
        State::Ending => {
            stream.write(2000).expect("it is open");
            stream.shutdown_write();
        }
        State::TheyEnded => tell(&mut stream, Message::Shutdown).expect("it may"),
        State::Deaf => stream.shutdown_read(),
        State::Disconnected => stream.close(),
        State::TheyDisconnected => tell(&mut stream, Message::Disconnect).expect("it may"),
        State::Lost => stream.lost(),
        State::Broken => assert!(tell(&mut stream, Message::Reserved(1)).is_err()),
    }
    run(&mut stream);
    stream
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Data,
    Shutdown,
    Disconnect,
    Grant,
    Iomap,
    Ignored,
    Reserved,
    Write,
    ShutdownWrite,
    ShutdownRead,
    Close,
    Lost,
    KeepAlive,
}

const EVENTS: [Event; 13] = [
    Event::Data,
    Event::Shutdown,
    Event::Disconnect,
    Event::Grant,
    Event::Iomap,
    Event::Ignored,
    Event::Reserved,
    Event::Write,
    Event::ShutdownWrite,
    Event::ShutdownRead,
    Event::Close,
    Event::Lost,
    Event::KeepAlive,
];

/// What an event is answered with.
fn happen(stream: &mut Stream, event: Event) -> &'static str {
    let told = |outcome: Result<(), Fault>| if outcome.is_ok() { "" } else { "fault" };
    match event {
        Event::Data => told(tell(stream, Message::Data(5))),
        Event::Shutdown => told(tell(stream, Message::Shutdown)),
        Event::Disconnect => told(tell(stream, Message::Disconnect)),
        Event::Grant => told(tell(stream, Message::Grant(16))),
        Event::Iomap => told(tell(stream, Message::Iomap(0))),
        Event::Ignored => told(tell(stream, Message::Ignored)),
        Event::Reserved => told(tell(stream, Message::Reserved(5))),
        Event::Write => match stream.write(5) {
            Ok(_) => "",
            Err(_) => "refused",
        },
        Event::ShutdownWrite => {
            stream.shutdown_write();
            ""
        }
        Event::ShutdownRead => {
            stream.shutdown_read();
            ""
        }
        Event::Close => {
            stream.close();
            ""
        }
        Event::Lost => {
            stream.lost();
            ""
        }
        Event::KeepAlive => {
            stream.keep_alive();
            ""
        }
    }
}

/// Which Sends and Writes follow.
fn said(posts: &[Post]) -> String {
    let word = |post: &Post| match post {
        Post::Data { .. } => "write ",
        Post::Keepalive => "empty ",
        Post::Entry { .. } => "entry ",
        Post::Iomap { .. } | Post::Direct { .. } => "other ",
        Post::Message(octets) => match Message::decode(*octets, ByteOrder::Little) {
            Message::Data(_) => "data ",
            Message::Shutdown => "shutdown ",
            Message::Disconnect => "disconnect ",
            Message::Grant(_) => "grant ",
            _ => "? ",
        },
    };
    posts.iter().map(word).collect::<String>().trim().to_owned()
}

/// The answer to an event in a state, what is said then, how many octets are readable, and whether it is over.
fn expected(state: State, event: Event) -> (&'static str, &'static str, u64, bool) {
    use Event as E;
    use State as S;
    let was_over = matches!(
        state,
        S::Disconnected | S::TheyDisconnected | S::Lost | S::Broken
    );
    let reading = matches!(state, S::Open | S::WeEnded | S::Ending);
    match event {
        // Over is over: whatever comes is ignored, and whatever is wanted is refused.
        E::Write if was_over => ("refused", "", 0, true),
        _ if was_over => ("", "", 0, true),
        E::Data | E::Iomap if state == S::TheyEnded => ("fault", "", 0, true),
        E::Data => ("", "", if reading { 5 } else { 0 }, false),
        E::Shutdown if state == S::WeEnded => ("", "", 0, true),
        E::Disconnect | E::Lost => ("", "", 0, true),
        E::Reserved => ("fault", "", 0, true),
        E::Shutdown | E::Grant | E::Iomap | E::Ignored => ("", "", 0, false),
        E::Write if matches!(state, S::WeEnded | S::Ending) => ("refused", "", 0, false),
        E::Write => ("", "write data", 0, false),
        E::ShutdownWrite | E::Close if state == S::TheyEnded => ("", "disconnect", 0, true),
        E::ShutdownWrite if state == S::Deaf => ("", "disconnect", 0, true),
        E::ShutdownWrite if state == S::Open => ("", "shutdown", 0, false),
        E::ShutdownWrite => ("", "", 0, false),
        E::Close | E::ShutdownRead if state == S::WeEnded => ("", "disconnect", 0, true),
        E::Close if state == S::Ending => ("", "", 0, false),
        E::Close => ("", "disconnect", 0, true),
        E::ShutdownRead => ("", "", 0, false),
        E::KeepAlive => ("", "empty", 0, false),
    }
}

#[test]
fn every_event_in_every_state() {
    for state in STATES {
        for event in EVENTS {
            let mut stream = at(state);
            let answer = happen(&mut stream, event);
            let posts = run(&mut stream);
            let readable = stream.readable();
            let seen = (
                answer,
                said(&posts),
                readable.end - readable.start,
                stream.is_over(),
            );
            let (answer, said, readable, over) = expected(state, event);
            let expected = (answer, said.to_owned(), readable, over);
            assert_eq!(seen, expected, "{event:?} in {state:?}");
            assert_eq!(stream.is_finished(), over);
            // What is over stays so, and nothing more is said.
            if over {
                for event in EVENTS {
                    happen(&mut stream, event);
                    assert!(stream.is_over() && run(&mut stream).is_empty());
                }
            }
        }
    }
}

#[test]
fn an_end_that_waits_for_room_says_so_when_there_is() {
    let mut stream = at(State::Ending);
    let entry = Entry {
        place: Place { to: 0, stag: 9 },
        len: 5000,
    };
    let grant = Message::Grant(16).encode(ByteOrder::Little);
    let outcome = stream.received(&grant, |_| entry.encode(ByteOrder::Little));
    assert_eq!(outcome, Ok(()));
    assert_eq!(said(&run(&mut stream)), "write data shutdown");
}

#[derive(Clone, Debug)]
enum Attack {
    Send(Vec<u8>),
    Message(u8, u32),
    Table(Vec<u8>),
    Write(usize),
    Consume(u64),
    Complete,
}

fn attack() -> impl Strategy<Value = Attack> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Attack::Send),
        6 => (0..8u8, 0..40u32).prop_map(|(op, data)| Attack::Message(op, data)),
        2 => (0..8u8, any::<u32>()).prop_map(|(op, data)| Attack::Message(op, data)),
        2 => prop::collection::vec(any::<u8>(), ENTRY_LEN).prop_map(Attack::Table),
        4 => (0..4000usize).prop_map(Attack::Write),
        4 => (0..200u64).prop_map(Attack::Consume),
        4 => Just(Attack::Complete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a peer sends, an end stays within its sizes, writes only where it was told to, and says
    /// nothing more after the first broken rule.
    #[test]
    fn nothing_a_peer_sends_does_harm(attacks in prop::collection::vec(attack(), 0..200)) {
        let mut stream = end();
        let mut table = vec![NO_ENTRY; 2];
        let mut given = vec![peer(16).buffer];
        let mut broken = false;
        for attack in attacks {
            let octets = match attack {
                Attack::Send(octets) => octets,
                Attack::Message(op, data) => {
                    (u32::from(op) << 29 | data & 0x1fff_ffff).to_le_bytes().to_vec()
                }
                Attack::Table(octets) => {
                    let entry: [u8; ENTRY_LEN] = octets.try_into().expect("16 octets");
                    table = vec![entry; 2];
                    continue;
                }
                Attack::Write(len) => {
                    let _ = stream.write(len);
                    Vec::new()
                }
                Attack::Consume(len) => {
                    let waiting = stream.readable();
                    stream.consumed(len.min(waiting.end - waiting.start));
                    Vec::new()
                }
                Attack::Complete => {
                    if stream.outstanding() > 0 {
                        stream.completed();
                    }
                    Vec::new()
                }
            };
            if !octets.is_empty() {
                let outcome = stream.received(&octets, |index| {
                    given.push(Entry::decode(table[index as usize], ByteOrder::Little));
                    std::mem::take(&mut table[index as usize])
                });
                prop_assert!(!(broken && outcome.is_err()));
                broken |= outcome.is_err();
            }
            let waiting = stream.readable();
            prop_assert!(waiting.end - waiting.start <= 200);
            while let Some(request) = stream.next_request() {
                prop_assert!(!broken && !matches!(request.post, Post::Message([_, _, _, 0xe0])));
                if let Post::Data { len, to, .. } = request.post {
                    let within = given.iter().any(|entry| {
                        entry.place.stag == to.stag
                            && to.to >= entry.place.to
                            && to.to + u64::from(len) <= entry.place.to + u64::from(entry.len)
                    });
                    prop_assert!(within, "a Write of {len} to {to:?}");
                }
            }
            prop_assert!(stream.outstanding() <= 384);
        }
    }

    #[test]
    fn any_private_data_is_taken_or_refused(octets in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut with_version = octets.clone();
        if let Some(version) = with_version.first_mut() {
            *version = 1;
        }
        for octets in [octets, with_version] {
            let taken = Stream::responder(&config(), &memory(), &octets);
            prop_assert_eq!(taken.is_ok(), Hello::decode(&octets).is_ok());
        }
    }
}

fn named(offset: u64, to: u64, len: u32) -> IomapEntry {
    IomapEntry {
        offset,
        buffer: Entry {
            place: Place {
                to,
                stag: common::PROGRAM_STAG,
            },
            len,
        },
    }
}

fn iomap(end: &End) -> Vec<[u8; IOMAP_ENTRY_LEN]> {
    let behind = end.table.octets[2 * ENTRY_LEN..].chunks_exact(IOMAP_ENTRY_LEN);
    behind.map(|entry| entry.try_into().expect("24")).collect()
}

#[test]
fn a_named_buffer_is_written_to_directly() {
    let config = Config {
        iomap: 2,
        ..Config::default()
    };
    let mut pair = Pair::new([config, config]);
    let theirs = &mut pair.ends[1].stream;
    assert_eq!(theirs.map(named(500, 9000, 100)), Ok(0));
    assert_eq!(theirs.map(named(0, 8000, 50)), Ok(1));
    assert_eq!(theirs.map(named(0, 8000, 50)), Err(IomapError::Full));
    theirs.unmap(1);
    assert_eq!(theirs.map(named(1 << 32, 7000, 50)), Ok(1));
    assert_eq!(theirs.map(named(0, u64::MAX, 2)), Err(IomapError::Place));
    assert_eq!(pair.ends[1].write(3), 3);
    pair.drain();
    // The names came before the octets, and cost credits that come back.
    assert_eq!(pair.ends[0].read, 3);
    let names = iomap(&pair.ends[0]);
    assert_eq!(
        IomapEntry::decode(names[1], ByteOrder::Little),
        named(1 << 32, 7000, 50)
    );

    let ours = &mut pair.ends[0].stream;
    let post = |ours: &mut Stream, offset, len| {
        ours.write_direct(offset, len, names.iter().copied())
            .map(|request| request.map(|request| request.post))
    };
    let to = |to| Place {
        to,
        stag: common::PROGRAM_STAG,
    };
    assert_eq!(
        post(ours, 540, 1000),
        Ok(Some(Post::Direct {
            len: 60,
            to: to(9040)
        }))
    );
    assert_eq!(
        post(ours, 1 << 32, 7),
        Ok(Some(Post::Direct {
            len: 7,
            to: to(7000)
        }))
    );
    assert_eq!(post(ours, 600, 1), Err(IomapError::Unknown));
    assert_eq!(post(ours, 500, 0), Ok(None));
    ours.completed();
    ours.completed();
    // What was written before goes first.
    ours.write(5).expect("it is open");
    assert_eq!(post(ours, 500, 10), Ok(None));
    ours.close();
    assert_eq!(
        post(ours, 500, 10),
        Err(IomapError::Write(WriteError::Shut))
    );
}

#[test]
fn names_wait_for_credit_as_octets_do() {
    let config = Config {
        iomap: 128,
        ..self::config()
    };
    let mut pair = Pair::new([config, config]);
    for round in 0..100u64 {
        let index = pair.ends[0].stream.map(named(round, round, 1));
        assert_eq!(index.map(u64::from), Ok(round));
    }
    pair.ends[0].pump();
    pair.ends[0].write(10);
    pair.drain();
    assert_eq!(pair.ends[1].read, 10);
    let last = IomapEntry::decode(iomap(&pair.ends[1])[99], ByteOrder::Little);
    assert_eq!(last, named(99, 99, 1));
}

#[test]
fn a_peer_of_the_other_order_is_answered_in_its_order() {
    let request = Hello {
        order: ByteOrder::Big,
        ..peer(16)
    };
    let (mut stream, reply) =
        Stream::responder(&config(), &memory(), &request.encode()).expect("a good request");
    assert_eq!(reply[1] & 1, 1);
    let posts = run(&mut stream);
    assert_eq!(posts[1], Post::Message([0x80, 0, 0, 16]));
    assert_eq!(stream.received(&[0, 0, 0, 5], |_| NO_ENTRY), Ok(()));
    assert_eq!(stream.readable(), 0..5);
    // We ask in the usual order, and cannot do otherwise when the answer has come.
    assert_eq!(
        Stream::initiator(&config(), &memory(), &request.encode()).err(),
        Some(uwarp_rsockets::ConnectError::ByteOrder)
    );
}

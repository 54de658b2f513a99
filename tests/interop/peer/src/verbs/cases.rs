//! What the active end does, case by case; the names are those in `tests/interop/verbs/cases.c`.

use uwarp::{End as Ending, RemoteRegion, Rights, SendFlags, Stag, WaitError};

use super::{
    HALF, MAIN, MESSAGE_MAX, OUR_SEED, PLACE_LEN, READ_ONLY, Session, THEIR_SEED, WRITE_ONLY,
    check, pattern, remote,
};
use crate::end::{Message, Outcome, PATIENCE};

const LENGTHS: [usize; 36] = [
    0, 1, 2, 3, 4, 5, 31, 32, 33, 1000, 1423, 1424, 1425, 1426, 1427, 1428, 1429, 1430, 1431, 1432,
    2856, 2857, 4096, 8191, 8192, 16384, 32768, 65480, 65535, 65536, 65537, 100_001, 262_144,
    524_288, 1_048_575, 1_048_576,
];

pub(super) fn run(mut session: Session, name: &str) -> Outcome<()> {
    let session = &mut session;
    match name {
        "messages" => messages(session),
        "solicited" => solicited(session),
        "invalidate" => invalidate(session, false),
        "invalidate-solicited" => invalidate(session, true),
        "reads" => reads(session),
        "empty-reads" => empty_reads(session),
        "writes" => writes(session),
        "many-reads" => many_reads(session),
        "burst" => burst(session),
        "gathers" => gathers(session),
        "write-stag" => write_refused(session, MAIN, 0, true, "1/1/00"),
        "write-bounds" => write_refused(session, MAIN, 2 * HALF as u64 - 63, false, "1/1/01"),
        "write-right" => write_refused(session, READ_ONLY, 0, false, "1/1/00"),
        "read-stag" => read_refused(session, MAIN, 0, true, "0/1/00"),
        "read-bounds" => read_refused(session, MAIN, 2 * HALF as u64 - 63, false, "0/1/01"),
        "read-right" => read_refused(session, WRITE_ONLY, 0, false, "0/1/02"),
        "no-receive" => no_receive(session),
        "quit" => done(session),
        other => Err(format!("there is no case {other}").into()),
    }
}

fn command(letter: u8, numbers: [u32; 3]) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[0] = letter;
    for (at, number) in (4..).step_by(4).zip(numbers) {
        octets[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    octets
}

fn number(message: &Message, index: usize) -> Outcome<u32> {
    let at = 4 + 4 * index;
    let octets = message.octets.get(at..at + 4).ok_or("a short answer")?;
    Ok(u32::from_be_bytes(octets.try_into()?))
}

/// Asks for something, and gives the answer.
fn ask_with(
    session: &mut Session,
    letter: u8,
    numbers: [u32; 3],
    flags: SendFlags,
) -> Outcome<Message> {
    session.end.send_with(&command(letter, numbers), flags)?;
    let answer = session.end.message()?;
    if answer.octets.len() < 16 || answer.octets[0] != letter {
        return Err(format!("no answer to {:?}: {answer:?}", char::from(letter)).into());
    }
    Ok(answer)
}

/// Asks, and fails unless the answer is yes; gives its second number.
fn ask(session: &mut Session, letter: u8, numbers: [u32; 3]) -> Outcome<u32> {
    let answer = ask_with(session, letter, numbers, SendFlags::default())?;
    if number(&answer, 0)? != 1 {
        return Err(format!("the answer to {:?} {numbers:?} is no", char::from(letter)).into());
    }
    number(&answer, 1)
}

fn done(session: &mut Session) -> Outcome<()> {
    ask(session, b'q', [0; 3])?;
    session.end.close()
}

/// A part of the other end's region; where it ends is not our business here.
fn part(session: &Session, region: usize, at: usize) -> RemoteRegion {
    let place = session.theirs[region];
    RemoteRegion {
        to: place.to + at as u64,
        len: u32::MAX,
        ..place
    }
}

fn messages(session: &mut Session) -> Outcome<()> {
    for len in LENGTHS.into_iter().filter(|&len| len <= MESSAGE_MAX) {
        let mut octets = pattern(0, len, len as u32);
        if let Some(first) = octets.first_mut() {
            *first = b'e';
        }
        session.end.send(&octets)?;
        if session.end.message()?.octets != octets {
            return Err(format!("the echo of {len} octets is another").into());
        }
    }
    done(session)
}

fn solicited(session: &mut Session) -> Outcome<()> {
    for _ in 0..3 {
        for solicited in [true, false] {
            let flags = SendFlags {
                solicited,
                ..SendFlags::default()
            };
            let answer = ask_with(session, b's', [0; 3], flags)?;
            // siw never raises an event because of a Send with Solicited Event (siw_rqe_complete).
            if number(&answer, 0)? != 0 {
                println!("note: siw has raised an event");
            }
        }
    }
    done(session)
}

fn invalidate(session: &mut Session, solicited: bool) -> Outcome<()> {
    let answer = ask_with(session, b'w', [0; 3], SendFlags::default())?;
    let place: &[u8; PLACE_LEN] = answer.octets.get(16..).ok_or("no window")?.try_into()?;
    let window = remote(place);
    let octets = session.end.region(pattern(0, 100, 5), Rights::empty())?;
    session.end.write(&octets, window)?;
    let flags = SendFlags {
        solicited,
        invalidate: Some(window.stag),
    };
    let answer = ask_with(session, b'i', [0; 3], flags)?;
    let told = (number(&answer, 0)?, number(&answer, 1)?);
    // siw invalidates, but does not tell a program in user space (siw_rqe_complete).
    if told != (1, window.stag.0) && told != (0, 0) {
        return Err(format!("{} was to be invalidated: {told:x?}", window.stag).into());
    }
    // What was invalidated cannot be used again.
    ask(session, b'f', [0x01_01_00, 0, 0])?;
    session.end.write(&octets, window)?;
    terminated(session, "1/1/00")
}

fn reads(session: &mut Session) -> Outcome<()> {
    for len in LENGTHS.into_iter().filter(|&len| len > 0) {
        let at = (HALF - len) / 3;
        let sink = session.end.region(vec![0xee; len + 8], Rights::empty())?;
        let list = [sink.slice(..len)?];
        session
            .end
            .socket
            .post_read(1, &list, part(session, MAIN, at))?;
        session.end.work()?;
        let mut octets = vec![0; len + 8];
        sink.read_at(0, &mut octets)?;
        check(&octets[..len], at, THEIR_SEED, "Read")?;
        if octets[len..] != [0xee; 8] {
            return Err(format!("a Read of {len} octets has changed more").into());
        }
    }
    done(session)
}

/// siw answers a Read of nothing with octets of what it sent before, if it is sending when the Read comes
/// (siw_activate_tx), and then we end the connection (RFC 5041 s7.1, D35). So these come when it is idle.
fn empty_reads(session: &mut Session) -> Outcome<()> {
    let sink = session.end.region(vec![0xee; 8], Rights::empty())?;
    for _ in 0..10 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let list = [sink.slice(..0)?];
        session
            .end
            .socket
            .post_read(1, &list, part(session, MAIN, 5))?;
        session.end.work()?;
    }
    done(session)
}

fn writes(session: &mut Session) -> Outcome<()> {
    for len in LENGTHS {
        let at = (HALF - len) / 3;
        ask(session, b'z', [0; 3])?;
        let source = session
            .end
            .region(pattern(at, len, len as u32), Rights::empty())?;
        let place = part(session, MAIN, HALF + at);
        session.end.write(&source, place)?;
        ask(session, b'c', [at as u32, len as u32, len as u32])?;
    }
    done(session)
}

/// More Reads than can be under way.
fn many_reads(session: &mut Session) -> Outcome<()> {
    const COUNT: usize = 400;
    const PIECE: usize = 2048;
    for _ in 0..3 {
        let sink = session
            .end
            .region(vec![0; COUNT * PIECE], Rights::empty())?;
        // None is empty; see `empty_reads`.
        let len = |index: usize| 1 + index * 37 % PIECE;
        for index in 0..COUNT {
            let at = index * PIECE;
            let list = [sink.slice(at..at + len(index))?];
            session
                .end
                .socket
                .post_read(index as u64, &list, part(session, MAIN, at))?;
        }
        for _ in 0..COUNT {
            session.end.work()?;
        }
        for index in 0..COUNT {
            let mut octets = vec![0; len(index)];
            let at = index * PIECE;
            sink.read_at(at as u64, &mut octets)?;
            check(&octets, at, THEIR_SEED, "one of many Reads")?;
        }
    }
    done(session)
}

/// Writes and messages that are all posted before any is waited for.
fn burst(session: &mut Session) -> Outcome<()> {
    const WRITES: usize = 400;
    const PIECE: usize = 1500;
    const MESSAGES: u32 = 24;
    const LEN: usize = 100;
    for turn in 50..55 {
        ask(session, b'z', [0; 3])?;
        let source = session
            .end
            .region(pattern(0, WRITES * PIECE, turn), Rights::empty())?;
        for at in (0..WRITES * PIECE).step_by(PIECE) {
            let list = [source.slice(at..at + PIECE)?];
            let place = part(session, MAIN, HALF + at);
            session.end.socket.post_write(1, &list, place)?;
        }
        for _ in 0..WRITES {
            session.end.work()?;
        }
        ask(session, b'c', [0, (WRITES * PIECE) as u32, turn])?;
        let numbers = [MESSAGES, LEN as u32, 0];
        let announced = session
            .end
            .region(command(b'b', numbers).to_vec(), Rights::empty())?;
        session.end.post_send(&announced)?;
        let messages: Result<Vec<_>, _> = (0..MESSAGES)
            .map(|index| session.end.region(pattern(0, LEN, index), Rights::empty()))
            .collect();
        for message in &messages? {
            session.end.post_send(message)?;
        }
        for _ in 0..=MESSAGES {
            session.end.work()?;
        }
        let answer = session.end.message()?;
        if answer.octets[0] != b'b' || number(&answer, 0)? != 1 {
            return Err("the messages of a burst were not what they should be".into());
        }
    }
    done(session)
}

/// A Write that is gathered from four elements.
fn gathers(session: &mut Session) -> Outcome<()> {
    let source = session
        .end
        .region(pattern(0, 5334, OUR_SEED), Rights::empty())?;
    let list = [0..1, 1..5001, 5001..5002, 5002..5334].map(|range| source.slice(range));
    let list: Result<Vec<_>, _> = list.into_iter().collect();
    let place = part(session, MAIN, HALF);
    session.end.socket.post_write(1, &list?, place)?;
    session.end.work()?;
    ask(session, b'c', [0, 5334, OUR_SEED])?;
    done(session)
}

/// The place of a request that must be refused.
pub(super) fn wrong_place(
    session: &Session,
    region: usize,
    at: u64,
    wrong_stag: bool,
) -> RemoteRegion {
    let RemoteRegion { stag, to, .. } = session.theirs[region];
    RemoteRegion {
        stag: Stag(stag.0 ^ if wrong_stag { 0x00a5_a500 } else { 0 }),
        to: to + at,
        len: u32::MAX,
    }
}

fn write_refused(
    session: &mut Session,
    region: usize,
    at: u64,
    wrong_stag: bool,
    code: &str,
) -> Outcome<()> {
    let source = session.end.region(vec![0xa5; 64], Rights::empty())?;
    ask(session, b'f', [0; 3])?;
    let place = wrong_place(session, region, at, wrong_stag);
    session.end.write(&source, place)?;
    terminated(session, code)
}

fn read_refused(
    session: &mut Session,
    region: usize,
    at: u64,
    wrong_stag: bool,
    code: &str,
) -> Outcome<()> {
    let sink = session.end.region(vec![0xa5; 64], Rights::empty())?;
    ask(session, b'f', [0; 3])?;
    let place = wrong_place(session, region, at, wrong_stag);
    let list = [sink.slice(..)?];
    session.end.socket.post_read(1, &list, place)?;
    terminated(session, code)
}

fn no_receive(session: &mut Session) -> Outcome<()> {
    let left = ask(session, b'h', [0; 3])?;
    ask(session, b'f', [0; 3])?;
    let message = session.end.region(vec![b'x'; 16], Rights::empty())?;
    // One is gone for the command before.
    for _ in 0..left {
        session.end.post_send(&message)?;
    }
    terminated(session, "1/2/02")
}

/// The other end ends the connection by a Terminate with this code.
fn terminated(session: &Session, code: &str) -> Outcome<()> {
    let end = loop {
        match session.end.socket.wait(Some(PATIENCE)) {
            Ok(_) => {}
            Err(WaitError::Over(end)) => break end,
            Err(error) => return Err(error.to_string().into()),
        }
    };
    match &end {
        Ending::Terminated(said) if said.to_string().starts_with(code) => {
            println!("note: siw ended it with Terminate {said}");
            Ok(())
        }
        _ => Err(format!("it ended with {end:?} instead of Terminate {code}").into()),
    }
}

//! What the passive end does: whatever the other end asks for. The commands stand in `tests/interop/verbs/serve.c`.

use uwarp::{End as Ending, Region, Rights, Stag, WaitError};

use super::{HALF, PLACE_LEN, RECEIVES, Session, octet, place};
use crate::end::{Message, Outcome, PATIENCE};

/// Octets of a command and of an answer.
const COMMAND: usize = 16;

pub(super) fn serve(mut session: Session) -> Outcome<()> {
    // A window stays open until it is invalidated.
    let mut windows: Vec<Region> = Vec::new();
    loop {
        let message = session.end.message()?;
        let letter = message.octets.first().copied().unwrap_or(b'e');
        let number = |index| number(&message, index);
        match letter {
            b'e' => session.end.send(&message.octets)?,
            b'c' => {
                let (at, len, seed) = (number(0)?, number(1)?, number(2)?);
                let good = sink_holds(&session, at as usize, len as usize, seed)?;
                answer(&mut session, letter, good, 0)?;
            }
            b'z' => {
                session.main.write_at(HALF as u64, &vec![0; HALF])?;
                answer(&mut session, letter, true, 0)?;
            }
            b's' => answer(&mut session, letter, message.solicited, 0)?,
            b'w' => {
                let rights = Rights::REMOTE_WRITE | Rights::REMOTE_READ | Rights::REMOTE_INVALIDATE;
                let socket = &session.end.socket;
                let window = session
                    .end
                    .domain
                    .register_for(socket, vec![0; 4096], rights)?;
                let mut octets = reply(letter, true, 0).to_vec();
                octets.extend(place(&window)?);
                debug_assert_eq!(octets.len(), COMMAND + PLACE_LEN);
                windows.push(window);
                session.end.send(&octets)?;
            }
            b'i' => {
                let stag = message.invalidated.unwrap_or(Stag(0));
                answer(&mut session, letter, message.invalidated.is_some(), stag.0)?;
            }
            b'h' => {
                session.end.reposts = false;
                answer(&mut session, letter, true, RECEIVES.count as u32)?;
            }
            b'f' => {
                let code = number(0)?;
                answer(&mut session, letter, true, 0)?;
                return fault(&session, code);
            }
            b'b' => {
                let (count, len) = (number(0)?, number(1)?);
                let good = burst(&mut session, count, len)?;
                answer(&mut session, letter, good, 0)?;
            }
            b'q' => {
                answer(&mut session, letter, true, 0)?;
                return session.end.closed_by_peer();
            }
            other => return Err(format!("an unknown command: {other:#04x}").into()),
        }
    }
}

fn number(message: &Message, index: usize) -> Outcome<u32> {
    let at = 4 + 4 * index;
    let octets = message.octets.get(at..at + 4).ok_or("a short command")?;
    Ok(u32::from_be_bytes(octets.try_into()?))
}

fn reply(letter: u8, yes: bool, second: u32) -> [u8; COMMAND] {
    let mut octets = [0; COMMAND];
    octets[0] = letter;
    octets[4..8].copy_from_slice(&u32::from(yes).to_be_bytes());
    octets[8..12].copy_from_slice(&second.to_be_bytes());
    octets
}

fn answer(session: &mut Session, letter: u8, yes: bool, second: u32) -> Outcome<()> {
    session.end.send(&reply(letter, yes, second))
}

fn sink_holds(session: &Session, at: usize, len: usize, seed: u32) -> Outcome<bool> {
    let mut octets = vec![0; len];
    session.main.read_at((HALF + at) as u64, &mut octets)?;
    Ok((octets.iter().enumerate()).all(|(offset, &found)| found == octet(at + offset, seed)))
}

fn burst(session: &mut Session, count: u32, len: u32) -> Outcome<bool> {
    let mut good = true;
    for index in 0..count {
        let octets = session.end.message()?.octets;
        good &= octets.len() == len as usize;
        good &= (octets.iter().enumerate()).all(|(at, &found)| found == octet(at, index));
    }
    Ok(good)
}

/// The other end breaks a rule now: our end has to be a fault with this Terminate code.
fn fault(session: &Session, code: u32) -> Outcome<()> {
    let end = loop {
        match session.end.socket.wait(Some(PATIENCE)) {
            // What came before the fault, and what is flushed after it.
            Ok(_) => {}
            Err(WaitError::Over(end)) => break end,
            Err(error) => return Err(error.to_string().into()),
        }
    };
    let Ending::Fault(fault) = &end else {
        return Err(format!("it ended otherwise: {end:?}").into());
    };
    let said = fault.code();
    let [_, layer, etype, wanted] = code.to_be_bytes();
    if (said.layer.bits(), said.etype, said.code) == (layer, etype, wanted) {
        println!("note: we ended it with Terminate {said}");
        Ok(())
    } else {
        Err(format!("it ended with {said} instead of {layer}/{etype}/{wanted:02x}").into())
    }
}

//! The other end of ucmatose: several connections, on which the server sends messages and the client answers.

use std::time::Duration;

use uwarp::{Domain, Options, Rights};

use crate::end::{End, Outcome, Place, Receives, listen};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Connections
    #[arg(short = 'c', default_value_t = 1)]
    connections: usize,
    /// Messages each way on each connection
    #[arg(short = 'C', default_value_t = 10)]
    messages: usize,
    /// Octets of a message
    #[arg(short = 'S', default_value_t = 100)]
    size: usize,
}

pub(crate) fn run(place: Place, settings: &Settings) -> Outcome<()> {
    let domain = Domain::new();
    let depth = settings.messages.max(1) as u32;
    let options = Options::new(&domain)
        .ird(1)
        .ord(1)
        // Its client waits for our messages without peer-to-peer mode.
        .speak_unasked(Duration::from_millis(200))
        .send_queue(depth)
        .receive_queue(depth);
    let receives = Receives {
        count: settings.messages,
        len: settings.size,
    };
    let mut ends = Vec::new();
    match place {
        Place::Listen(address) => {
            let listener = listen(address, &options)?;
            for _ in 0..settings.connections {
                ends.push(End::accept(listener.accept()?, &domain, b"", receives)?);
            }
        }
        Place::Connect(address) => {
            for _ in 0..settings.connections {
                ends.push(End::connect(address, &domain, &options, receives)?);
            }
        }
    }
    // The server speaks first, and the client answers.
    let first = matches!(place, Place::Listen(_));
    for sending in [first, !first] {
        for end in &mut ends {
            if sending {
                send_all(end, settings)?;
            } else {
                take_all(end, settings)?;
            }
        }
    }
    // Whether it is the server or the client, it waits for us to disconnect, or does so itself.
    ends.iter().try_for_each(End::close)
}

fn send_all(end: &mut End, settings: &Settings) -> Outcome<()> {
    let message = end.region(vec![0x5a; settings.size], Rights::empty())?;
    for _ in 0..settings.messages {
        end.post_send(&message)?;
    }
    for _ in 0..settings.messages {
        end.work()?;
    }
    Ok(())
}

fn take_all(end: &mut End, settings: &Settings) -> Outcome<()> {
    for _ in 0..settings.messages {
        let len = end.message()?.octets.len();
        if len != settings.size {
            return Err(format!("a message of {len} octets").into());
        }
    }
    Ok(())
}

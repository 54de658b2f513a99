//! The other end of the programs that speak rsockets: rstream, riostream and rcopy. As these do it, over a byte stream of ours.

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uwarp::{EndText, Region, Rights};
use uwarp_streams::{StreamOptions, StreamSocket, Unwatched, Wants};

use crate::end::{Outcome, PATIENCE, Place};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StreamSettings {
    /// Octets of the stream's rings
    #[arg(long)]
    ring: Option<u32>,
    /// Messages that the other end may send before it is given more
    #[arg(long)]
    credits: Option<u16>,
    /// Do without a CRC
    #[arg(long)]
    no_crc: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RstreamSettings {
    #[command(flatten)]
    stream: StreamSettings,
    /// How often all is done
    #[arg(short = 'I', default_value_t = 10)]
    iterations: usize,
    /// Transfers each way
    #[arg(short = 'C', default_value_t = 10)]
    transfers: usize,
    /// Octets of a transfer
    #[arg(short = 'S', default_value_t = 1000)]
    size: usize,
}

/// Octets that the two ends send each other before they begin.
const SYNC: usize = 16;

/// rstream with `-T v`: octets that count up, over the whole run, both ways in turns.
pub(crate) fn rstream(place: Place, settings: &RstreamSettings) -> Outcome<()> {
    let connects = matches!(place, Place::Connect(_));
    let mut end = End::new(place, &settings.stream)?;
    count_both_ways(&mut end, connects, settings).map_err(|error| end.why(error))
}

fn count_both_ways(end: &mut End, connects: bool, settings: &RstreamSettings) -> Outcome<()> {
    let turns = |end: &mut End, count: usize, size: usize| -> Outcome<()> {
        for sends in [connects, !connects] {
            for _ in 0..count {
                if sends {
                    end.send_counting(size)?;
                } else {
                    end.expect_counting(size)?;
                }
            }
        }
        Ok(())
    };
    turns(end, 1, SYNC)?;
    for _ in 0..settings.iterations {
        turns(end, settings.transfers, settings.size)?;
    }
    end.finish()
}

/// riostream with `-T v`: Writes into a buffer that the other end has named, of which the last octet tells that they have
/// come.
pub(crate) fn riostream(place: Place, settings: &RstreamSettings) -> Outcome<()> {
    let connects = matches!(place, Place::Connect(_));
    let mut end = End::new(place, &settings.stream)?;
    write_both_ways(&mut end, connects, settings).map_err(|error| end.why(error))
}

fn write_both_ways(end: &mut End, connects: bool, settings: &RstreamSettings) -> Outcome<()> {
    let size = settings.size;
    let domain = end.stream.one_sided().domain();
    let region = domain.register(vec![0xff; size], Rights::REMOTE_WRITE)?;
    end.stream.map(&region, 0)?;
    for sends in [connects, !connects] {
        if sends {
            end.write_all(&[0; SYNC])?;
        } else {
            end.read_exact(&mut [0; SYNC])?;
        }
    }
    // Its last octet is no marker.
    let mut octets = vec![0xff; size];
    for turn in 0..2 * settings.iterations {
        let marker = turn as u8;
        if (turn % 2 == 0) == connects {
            for _ in 1..settings.transfers {
                end.write_mapped(&octets)?;
            }
            for octet in &mut octets[..size - 1] {
                *octet = end.sent;
                end.sent = end.sent.wrapping_add(1);
            }
            octets[size - 1] = marker;
            end.write_mapped(&octets)?;
        } else {
            end.expect_mapped(&region, marker)?;
        }
    }
    end.finish()
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RcopySettings {
    #[command(flatten)]
    stream: StreamSettings,
    /// The file to send, or to write what comes to
    file: PathBuf,
    /// The name that the other end is to give it
    #[arg(long, default_value = "/tmp/rcopy.out")]
    name: String,
}

const OPEN: u8 = 1;
const CLOSE: u8 = 2;
const WRITE: u8 = 3;
const ANSWER: u8 = 0x80;
const HEADER: usize = 16;

/// rcopy: a file, from the end that connects to the one that listens.
pub(crate) fn rcopy(place: Place, settings: &RcopySettings) -> Outcome<()> {
    let connects = matches!(place, Place::Connect(_));
    let end = End::new(place, &settings.stream)?;
    copy(&end, connects, settings).map_err(|error| end.why(error))
}

fn copy(end: &End, connects: bool, settings: &RcopySettings) -> Outcome<()> {
    if connects {
        let content = fs::read(&settings.file)?;
        let mut name = settings.name.clone().into_bytes();
        name.push(0);
        end.order(OPEN, &name, 0)?;
        end.write_all(&header(WRITE, 8, 0))?;
        end.write_all(&(content.len() as u64).to_le_bytes())?;
        end.write_all(&content)?;
        end.expect_answer(WRITE)?;
        end.order(CLOSE, &[], 0)?;
    } else {
        end.serve_copy(&settings.file)?;
    }
    end.finish()
}

fn header(command: u8, rest: usize, data: u32) -> [u8; HEADER] {
    let mut octets = [0; HEADER];
    octets[1] = command;
    octets[2..4].copy_from_slice(&((HEADER + rest) as u16).to_le_bytes());
    octets[4..8].copy_from_slice(&data.to_le_bytes());
    octets
}

/// A stream, and where its patterns are.
struct End {
    stream: Arc<StreamSocket>,
    sent: u8,
    expected: u8,
}

impl End {
    fn new(place: Place, settings: &StreamSettings) -> Outcome<Self> {
        let mut options = StreamOptions {
            crc: !settings.no_crc,
            iomap: 1,
            ..StreamOptions::default()
        };
        if let Some(ring) = settings.ring {
            (options.recv_buffer, options.send_buffer) = (ring, ring);
        }
        options.credits = settings.credits.unwrap_or(options.credits);
        let stream = match place {
            Place::Listen(address) => {
                let listener = TcpListener::bind(address)?;
                println!("listening on {}", listener.local_addr()?);
                StreamSocket::respond(listener.accept()?.0, &options, Arc::new(Unwatched))?
            }
            Place::Connect(address) => {
                let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
                StreamSocket::initiate(tcp, &options, Arc::new(Unwatched))?
            }
        };
        if !stream.wait(Wants::ESTABLISHED, Some(PATIENCE))? {
            return Err("the set-up takes too long".into());
        }
        if let Some(error) = stream.take_error() {
            return Err(io::Error::from_raw_os_error(error).into());
        }
        Ok(Self {
            stream,
            sent: 0,
            expected: 0,
        })
    }

    fn write_all(&self, mut octets: &[u8]) -> Outcome<()> {
        while !octets.is_empty() {
            match self.stream.try_write(&[IoSlice::new(octets)]) {
                Ok(count) => octets = &octets[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(Wants::WRITABLE)?
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read(&self, octets: &mut [u8]) -> Outcome<usize> {
        loop {
            match self.stream.try_read(&mut [IoSliceMut::new(octets)], false) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(Wants::READABLE)?
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    fn read_exact(&self, octets: &mut [u8]) -> Outcome<()> {
        let mut count = 0;
        while count < octets.len() {
            match self.read(&mut octets[count..])? {
                0 => {
                    return Err(format!("the end, after {count} of {} octets", octets.len()).into());
                }
                more => count += more,
            }
        }
        Ok(())
    }

    fn wait(&self, wants: Wants) -> Outcome<()> {
        if self.stream.wait(wants, Some(PATIENCE))? {
            Ok(())
        } else {
            Err(format!(
                "nothing happens; the stream is {:?}",
                self.stream.readiness()
            )
            .into())
        }
    }

    fn send_counting(&mut self, len: usize) -> Outcome<()> {
        let octets: Vec<u8> = (0..len)
            .map(|at| self.sent.wrapping_add(at as u8))
            .collect();
        self.sent = self.sent.wrapping_add(len as u8);
        self.write_all(&octets)
    }

    fn expect_counting(&mut self, len: usize) -> Outcome<()> {
        let mut octets = vec![0; len];
        self.read_exact(&mut octets)?;
        for (at, octet) in octets.into_iter().enumerate() {
            let expected = self.expected.wrapping_add(at as u8);
            if octet != expected {
                return Err(format!("octet {at} is {octet} and not {expected}").into());
            }
        }
        self.expected = self.expected.wrapping_add(len as u8);
        Ok(())
    }

    fn write_mapped(&self, octets: &[u8]) -> Outcome<()> {
        let mut done = 0;
        while done < octets.len() {
            match self.stream.write_mapped(&octets[done..], done as u64) {
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn expect_mapped(&mut self, region: &Region, marker: u8) -> Outcome<()> {
        let last = region.len() - 1;
        let start = Instant::now();
        loop {
            let mut octet = [0];
            region.read_at(last as u64, &mut octet)?;
            if octet[0] == marker {
                break;
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("the marker {marker} does not come").into());
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        let mut octets = vec![0; last];
        region.read_at(0, &mut octets)?;
        for octet in octets {
            if octet != self.expected {
                return Err(format!("{octet} and not {}", self.expected).into());
            }
            self.expected = self.expected.wrapping_add(1);
        }
        Ok(())
    }

    /// Asks for something and waits until it is done.
    fn order(&self, command: u8, rest: &[u8], data: u32) -> Outcome<()> {
        self.write_all(&header(command, rest.len(), data))?;
        self.write_all(rest)?;
        self.expect_answer(command)
    }

    fn expect_answer(&self, command: u8) -> Outcome<()> {
        let mut octets = [0; HEADER];
        self.read_exact(&mut octets)?;
        let status = u32::from_le_bytes([octets[4], octets[5], octets[6], octets[7]]);
        if octets[0] != 0 || octets[1] != command | ANSWER || status != 0 {
            return Err(format!("the answer to {command} is {octets:?}").into());
        }
        // What an answer has beyond its header.
        let len = usize::from(u16::from_le_bytes([octets[2], octets[3]]));
        self.read_exact(&mut vec![0; len.saturating_sub(HEADER)])
    }

    fn serve_copy(&self, file: &PathBuf) -> Outcome<()> {
        loop {
            let mut octets = [0; HEADER];
            self.read_exact(&mut octets)?;
            let command = octets[1];
            let len = usize::from(u16::from_le_bytes([octets[2], octets[3]]));
            let mut rest = vec![
                0;
                len.checked_sub(HEADER)
                    .ok_or("a header that is too short")?
            ];
            self.read_exact(&mut rest)?;
            match command {
                OPEN | CLOSE => {}
                WRITE => {
                    let size = u64::from_le_bytes(rest.as_slice().try_into()?);
                    let mut content = vec![0; usize::try_from(size)?];
                    self.read_exact(&mut content)?;
                    fs::write(file, content)?;
                }
                other => return Err(format!("command {other}").into()),
            }
            self.write_all(&header(command | ANSWER, 0, 0))?;
            if command == CLOSE {
                return Ok(());
            }
        }
    }

    /// An error of the stream's, with what has become of the connection.
    fn why(&self, error: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
        // The one may be told a moment before the other.
        let _ = self
            .stream
            .wait(Wants::CLOSED, Some(Duration::from_secs(1)));
        match self.stream.end() {
            Some(end) => format!("{error}: {}", EndText(&end)).into(),
            None => error,
        }
    }

    /// Neither end has anything more to say.
    fn finish(&self) -> Outcome<()> {
        self.stream.shutdown(Shutdown::Write)?;
        if self.read(&mut [0; 16])? > 0 {
            return Err("there is more than should be".into());
        }
        self.stream.close(Some(PATIENCE));
        Ok(())
    }
}

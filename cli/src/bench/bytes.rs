//! The work over a stream of octets in DDPMODE, used as [plain TCP](super::tcp) is.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use uwarp_streams::{StreamOptions, StreamSocket, Unwatched, Wants};

use super::rdma::Outcome;
use super::task::Task;

/// How long the other end may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

fn options(crc: bool) -> StreamOptions {
    StreamOptions {
        crc,
        ..StreamOptions::default()
    }
}

/// One end of a stream.
#[derive(Debug)]
pub(super) struct Bytes {
    stream: Arc<StreamSocket>,
    task: Task,
    buffer: Vec<u8>,
}

impl Bytes {
    pub(super) fn connect(address: &str, task: Task, crc: bool) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        let stream = StreamSocket::initiate(stream, &options(crc), Arc::new(Unwatched))?;
        let octets = task.encode();
        give(&stream, &(octets.len() as u16).to_be_bytes())?;
        give(&stream, &octets)?;
        Ok(Self::new(stream, task))
    }

    /// The other end, which reads what the task is.
    pub(super) fn accept(stream: TcpStream, crc: bool) -> Outcome<Self> {
        let stream = StreamSocket::respond(stream, &options(crc), Arc::new(Unwatched))?;
        let mut len = [0; 2];
        take(&stream, &mut len)?;
        let mut octets = vec![0; usize::from(u16::from_be_bytes(len))];
        take(&stream, &mut octets)?;
        let task = Task::decode(&octets).ok_or("no task")?;
        Ok(Self::new(stream, task))
    }

    fn new(stream: Arc<StreamSocket>, task: Task) -> Self {
        Self {
            stream,
            task,
            buffer: vec![0; task.size as usize],
        }
    }

    pub(super) const fn task(&self) -> &Task {
        &self.task
    }

    /// Does the task `count` times; returns when the other end has done its part.
    pub(super) fn lead(&mut self, count: u32) -> Outcome<()> {
        for _ in 0..count {
            self.give()?;
            if self.task.kind.is_ping() {
                self.take()?;
            }
        }
        if !self.task.kind.is_ping() {
            take(&self.stream, &mut [0])?;
        }
        Ok(())
    }

    /// The other end's part.
    pub(super) fn follow(&mut self, count: u32) -> Outcome<()> {
        for _ in 0..count {
            self.take()?;
            if self.task.kind.is_ping() {
                self.give()?;
            }
        }
        if !self.task.kind.is_ping() {
            give(&self.stream, &[0])?;
        }
        Ok(())
    }

    fn give(&self) -> io::Result<()> {
        give(&self.stream, &self.buffer)
    }

    fn take(&mut self) -> io::Result<()> {
        take(&self.stream, &mut self.buffer)
    }
}

fn wait(stream: &StreamSocket, wants: Wants) -> io::Result<()> {
    if stream.wait(wants, Some(PATIENCE))? {
        Ok(())
    } else {
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Writes all.
fn give(stream: &StreamSocket, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        match stream.try_write(&[IoSlice::new(octets)]) {
            Ok(count) => octets = &octets[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(stream, Wants::WRITABLE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills the buffer.
fn take(stream: &StreamSocket, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match stream.try_read(&mut [IoSliceMut::new(buffer)], false) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(stream, Wants::READABLE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::task::Kind;
    use super::*;

    #[test]
    fn both_ends_do_their_parts() {
        for (kind, crc) in [(Kind::Bytes, true), (Kind::BytesPing, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = std::thread::spawn(move || {
                let mut end = Bytes::accept(listener.accept().unwrap().0, crc).unwrap();
                assert_eq!(end.task().kind, kind);
                end.follow(3).unwrap();
                end.follow(2).unwrap();
            });
            let mut end = Bytes::connect(&address, Task::new(kind, false, 1000, 1), crc).unwrap();
            end.lead(3).unwrap();
            end.lead(2).unwrap();
            server.join().unwrap();
        }
    }
}

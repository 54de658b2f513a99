//! The same work over plain TCP, as a program would do it: a `write` a message, one thread at each end, which blocks
//! or polls.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::task::{Kind, Task};

/// How long the other end may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a plain connection.
#[derive(Debug)]
pub(super) struct Plain {
    stream: TcpStream,
    task: Task,
    buffer: Vec<u8>,
}

impl Plain {
    pub(super) fn connect(address: &str, task: Task) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        let octets = task.encode();
        stream.write_all(&(octets.len() as u16).to_be_bytes())?;
        stream.write_all(&octets)?;
        Self::new(stream, task)
    }

    /// The other end, which reads what the task is.
    pub(super) fn accept(mut stream: TcpStream) -> io::Result<Self> {
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut octets = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut octets)?;
        let task = Task::decode(&octets).ok_or(io::ErrorKind::InvalidData)?;
        Self::new(stream, task)
    }

    fn new(stream: TcpStream, task: Task) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nonblocking(task.busy)?;
        let buffer = vec![0; task.size as usize];
        Ok(Self {
            stream,
            task,
            buffer,
        })
    }

    pub(super) const fn task(&self) -> &Task {
        &self.task
    }

    /// Does the task `count` times; returns when the other end has done its part.
    pub(super) fn lead(&mut self, count: u32) -> io::Result<()> {
        if self.task.kind == Kind::Ping {
            for _ in 0..count {
                self.give()?;
                self.take()?;
            }
            return Ok(());
        }
        for _ in 0..count {
            self.give()?;
        }
        take(&mut self.stream, &mut [0], self.task.busy)
    }

    /// The other end's part.
    pub(super) fn follow(&mut self, count: u32) -> io::Result<()> {
        if self.task.kind == Kind::Ping {
            for _ in 0..count {
                self.take()?;
                self.give()?;
            }
            return Ok(());
        }
        for _ in 0..count {
            self.take()?;
        }
        give(&mut self.stream, &[0], self.task.busy)
    }

    fn give(&mut self) -> io::Result<()> {
        give(&mut self.stream, &self.buffer, self.task.busy)
    }

    fn take(&mut self) -> io::Result<()> {
        take(&mut self.stream, &mut self.buffer, self.task.busy)
    }
}

/// Writes all; polls if the stream does not block.
fn give(stream: &mut TcpStream, mut octets: &[u8], polls: bool) -> io::Result<()> {
    while !octets.is_empty() {
        match stream.write(octets) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => octets = &octets[count..],
            Err(error) if again(&error, polls) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills the buffer; polls if the stream does not block.
fn take(stream: &mut TcpStream, mut buffer: &mut [u8], polls: bool) -> io::Result<()> {
    while !buffer.is_empty() {
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) if again(&error, polls) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A stream that blocks says the same when it has waited too long, but takes its time for it.
fn again(error: &io::Error, polls: bool) -> bool {
    match error.kind() {
        io::ErrorKind::Interrupted => true,
        io::ErrorKind::WouldBlock => polls,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn both_ends_do_their_parts() {
        for (kind, busy) in [
            (Kind::Stream, false),
            (Kind::Ping, false),
            (Kind::Ping, true),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = std::thread::spawn(move || {
                let mut end = Plain::accept(listener.accept().unwrap().0).unwrap();
                assert_eq!(end.task().kind, kind);
                end.follow(3).unwrap();
                end.follow(2).unwrap();
            });
            let mut end = Plain::connect(&address, Task::new(kind, busy, 1000, 1)).unwrap();
            end.lead(3).unwrap();
            end.lead(2).unwrap();
            server.join().unwrap();
        }
    }
}

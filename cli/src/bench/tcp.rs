//! The same work over plain TCP, as a program would do it with blocking sockets.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{SEND_SIZE, WRITE_SIZE};

/// How long the other end may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the other end of a connection does; its first octet says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Takes as many messages as a count in front of them says, then answers by one octet.
    Take = 1,
    /// Sends each small message back.
    Echo = 2,
}

/// A plain connection to the second process.
#[derive(Debug)]
pub(super) struct Stream {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Stream {
    pub(super) fn connect(address: &str, task: Task) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&[task as u8])?;
        let buffer = vec![0; WRITE_SIZE as usize];
        Ok(Self { stream, buffer })
    }

    /// Sends large messages; returns when the other end has read them all.
    pub(super) fn give(&mut self, count: u32) -> io::Result<()> {
        self.stream.write_all(&count.to_be_bytes())?;
        for _ in 0..count {
            self.stream.write_all(&self.buffer)?;
        }
        self.stream.read_exact(&mut [0])
    }

    /// Sends a small message and waits for it to come back.
    pub(super) fn echo(&mut self) -> io::Result<()> {
        let message = &mut self.buffer[..SEND_SIZE as usize];
        self.stream.write_all(message)?;
        self.stream.read_exact(message)
    }
}

/// The second process's end of a connection; returns when the first has closed it.
pub(super) fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut task = [0];
    stream.read_exact(&mut task)?;
    match task {
        [task] if task == Task::Take as u8 => take(&mut stream),
        _ => echo(&mut stream),
    }
}

fn take(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; WRITE_SIZE as usize];
    let mut count = [0; 4];
    loop {
        stream.read_exact(&mut count)?;
        let mut left = u64::from(u32::from_be_bytes(count)) * u64::from(WRITE_SIZE);
        while left > 0 {
            let room = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            match stream.read(&mut buffer[..room])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => left -= read as u64,
            }
        }
        stream.write_all(&[0])?;
    }
}

fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut message = [0; SEND_SIZE as usize];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn both_tasks_are_done() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = listener.accept().unwrap();
                let error = serve(stream).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        });
        let mut stream = Stream::connect(&address, Task::Take).unwrap();
        stream.give(3).unwrap();
        stream.give(0).unwrap();
        drop(stream);
        let mut stream = Stream::connect(&address, Task::Echo).unwrap();
        stream.buffer[5] = 7;
        stream.echo().unwrap();
        assert_eq!(stream.buffer[5], 7);
        drop(stream);
        server.join().unwrap();
    }
}

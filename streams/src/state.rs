//! What a stream is doing: its set-up, its life, its end.

use std::io;
use std::ops::Range;

use uwarp::{Attendant, Batch, Completion, End, PostError, SendFlags, SettingUp, Sge, Socket};
use uwarp_rsockets::{IomapEntry, Post, ReadEnd, Request, Stream, WriteError};

use crate::buffers::Buffers;
use crate::failure;
use crate::one_sided::Beside;
use crate::options::StreamOptions;
use crate::readiness::Readiness;

/// What a completion belongs to: these bits of its number say it.
const KIND: u64 = 3 << 62;
const STREAM: u64 = 0;
const RECEIVE: u64 = 1 << 62;
const BESIDE: u64 = 2 << 62;

/// A write finds the stream ready when this part of the send ring is free.
const WRITABLE_PART: u32 = 4;

/// Octets of a Write to a named buffer at the most, which are copied first.
const MAPPED_MAX: usize = 1 << 16;

/// What a read finds.
pub(crate) enum Readable {
    /// These octets of the stream.
    Octets(Range<u64>),
    /// Nothing, now or ever.
    End,
    /// Nothing yet.
    Nothing,
}

/// Everything of a stream that changes.
#[derive(Debug)]
pub(crate) struct State {
    /// Until the set-up has come to an end.
    setup: Option<SettingUp>,
    /// While the connection lives.
    socket: Option<Socket>,
    /// From the end of the set-up on; as responder from the Reply on.
    stream: Option<Stream>,
    /// The error that the program has not been told.
    error: Option<i32>,
    /// The set-up has failed, or the connection is over.
    over: bool,
    /// How the connection ended.
    end: Option<End>,
    /// The connection ended without a word or by a fault, and the program has been told or will be by `error`.
    reset: bool,
    /// A reader knows of it, too.
    read_told: bool,
    write_shut: bool,
    closed: bool,
    /// TCP has been asked to close.
    hung_up: bool,
    arrivals: u32,
    /// Requests that are posted and have not completed.
    under_way: u32,
    pub(crate) beside: Beside,
}

impl State {
    pub(crate) fn new(options: &StreamOptions) -> Self {
        Self {
            setup: None,
            socket: None,
            stream: None,
            error: None,
            over: false,
            end: None,
            reset: false,
            read_told: false,
            write_shut: false,
            closed: false,
            hung_up: false,
            arrivals: 0,
            under_way: 0,
            beside: Beside::new(options.one_sided_queue),
        }
    }

    /// The set-up is under way from now on; so many receives are posted.
    pub(crate) fn begin(&mut self, setup: SettingUp, receives: u32) {
        self.under_way = receives;
        setup.begin();
        self.setup = Some(setup);
    }

    /// Looks at everything that may have changed.
    pub(crate) fn progress(&mut self, buffers: &Buffers, options: &StreamOptions) {
        self.progress_setup(buffers, options);
        self.progress_stream(buffers);
    }

    fn progress_setup(&mut self, buffers: &Buffers, options: &StreamOptions) {
        let Some(setup) = &self.setup else {
            return;
        };
        if self.stream.is_none()
            && let Some(request) = setup.request()
        {
            let made = buffers.places().and_then(|memory| {
                Stream::responder(&options.config(), &memory, &request.private_data)
                    .inspect_err(|error| tracing::debug!(%error, "not a stream's Request"))
                    .ok()
            });
            match made {
                Some((stream, reply)) if setup.accept(&reply).is_ok() => self.stream = Some(stream),
                // The outcome tells that it has been rejected.
                _ => drop(setup.reject(&[])),
            }
        }
        let Some(outcome) = setup.outcome() else {
            return;
        };
        let Some(setup) = self.setup.take() else {
            return;
        };
        match outcome {
            Ok(()) => self.establish(setup.into_socket(), buffers, options),
            Err(error) => {
                tracing::debug!(%error, "a stream could not be set up");
                self.stream = None;
                self.fail(failure::of_setup(&error));
            }
        }
    }

    fn establish(&mut self, socket: Socket, buffers: &Buffers, options: &StreamOptions) {
        if self.stream.is_none() {
            let private_data = socket
                .established()
                .map(|established| established.private_data);
            let made = buffers.places().zip(private_data).map(|(memory, reply)| {
                Stream::initiator(&options.config(), &memory, &reply)
                    .inspect_err(|error| tracing::debug!(%error, "not a stream's Reply"))
            });
            let Some(Ok(stream)) = made else {
                socket.abort();
                return self.fail(libc::EPROTO);
            };
            self.stream = Some(stream);
        }
        self.socket = Some(socket);
        if let Some(stream) = &mut self.stream {
            if self.closed {
                stream.close();
            } else if self.write_shut {
                stream.shutdown_write();
            }
        }
    }

    /// Nothing can be done any more, and the program is told why.
    fn fail(&mut self, error: i32) {
        self.error = Some(error);
        self.over = true;
        self.reset = true;
    }

    fn progress_stream(&mut self, buffers: &Buffers) {
        let Some(socket) = &self.socket else {
            return;
        };
        // The order matters: what has completed before the end is taken before the end is told.
        let end = socket.end();
        let over = end.is_some();
        let ended = over || socket.peer_closed();
        // Not asked of the socket itself, which would take us for a caller that has nothing else to do.
        let queue = socket.completion_queue().clone();
        while let Some(completion) = queue.poll_one() {
            self.under_way -= 1;
            self.completed(&completion, buffers);
        }
        // Some may still be on their way; then we are told again.
        let ended = ended && !over || over && self.under_way == 0;
        let over = over && self.under_way == 0;
        if ended && let Some(stream) = &mut self.stream {
            stream.lost();
        }
        self.post(buffers);
        if over {
            // The worker may forget the connection, and the queue its notifier.
            self.socket = None;
            self.over = true;
            self.end = end;
        }
    }

    fn completed(&mut self, completion: &Completion, buffers: &Buffers) {
        let number = completion.id & !KIND;
        match completion.id & KIND {
            RECEIVE => self.received(number as u32, completion, buffers),
            BESIDE => self.beside.completed(number, completion),
            _ => {
                let Some(stream) = &mut self.stream else {
                    return;
                };
                if completion.is_success() {
                    stream.completed();
                } else {
                    stream.lost();
                }
            }
        }
    }

    fn received(&mut self, index: u32, completion: &Completion, buffers: &Buffers) {
        let (Some(stream), Some(socket)) = (&mut self.stream, &self.socket) else {
            return;
        };
        if !completion.is_success() {
            // Flushed: the connection is closing or over.
            return;
        }
        let octets = buffers.received(index);
        // Immediate Data are no message, and use a receive without touching its buffer.
        let len = match completion.immediate {
            None => completion.len as usize,
            Some(_) => 0,
        };
        // Before the message is looked at, which may let the peer send more.
        let posted = post_receive(buffers, index, |id, list| socket.post_recv(id, list));
        match posted {
            Ok(()) => self.under_way += 1,
            Err(error) => tracing::trace!(%error, "a receive is not posted again"),
        }
        let outcome = stream.received(&octets[..len.min(octets.len())], |entry| {
            buffers.take_entry(entry)
        });
        self.arrivals = self.arrivals.wrapping_add(1);
        if let Err(fault) = outcome {
            tracing::debug!(%fault, "the peer of a stream broke a rule");
            self.error = Some(libc::EPROTO);
            self.reset = true;
            socket.abort();
        }
    }

    /// Posts whatever the stream asks for, and hangs up when it has nothing more to ask for.
    pub(crate) fn post(&mut self, buffers: &Buffers) {
        let (Some(stream), Some(socket)) = (&mut self.stream, &self.socket) else {
            return;
        };
        let mut batch = socket.batch();
        while let Some(request) = stream.next_request() {
            match post(&mut batch, &request, buffers, None) {
                Ok(()) => self.under_way += 1,
                // The connection is about to end, and the peer's last words may wait in the queue behind what has been
                // looked at. Whether the stream is lost is told with the end.
                Err(error) if is_closed(&error) => break,
                Err(error) => {
                    tracing::debug!(%error, "a stream's request is refused");
                    stream.lost();
                    break;
                }
            }
        }
        // A Write and the Send that tells of it leave together.
        drop(batch);
        if stream.is_finished() && !self.hung_up {
            self.hung_up = true;
            // Posted work is done, and both ends know that the stream is over.
            let _ = socket.shutdown();
        }
        if stream.is_lost() && !self.reset {
            self.reset = true;
            self.error = Some(libc::ECONNRESET);
        }
    }

    /// Octets that may be written now.
    pub(crate) fn room(&self) -> Result<u32, io::Error> {
        if let Some(stream) = &self.stream
            && self.socket.is_some()
            && !self.write_is_over()
        {
            return Ok(stream.writable());
        }
        if self.write_is_over() {
            return Err(failure::errno(libc::EPIPE));
        }
        Ok(0)
    }

    fn write_is_over(&self) -> bool {
        self.over
            || self.write_shut
            || self.closed
            || self.stream.as_ref().is_some_and(Stream::is_over)
    }

    /// The program's octets are in the send ring; so many are to be sent.
    pub(crate) fn write(&mut self, len: usize, buffers: &Buffers) -> Result<usize, WriteError> {
        let Some(stream) = &mut self.stream else {
            return Err(WriteError::Lost);
        };
        let taken = stream.write(len)?;
        self.post(buffers);
        Ok((taken.end - taken.start) as usize)
    }

    /// Writes octets to a buffer that the peer's program has named; `None` if it cannot be done yet.
    pub(crate) fn write_mapped(
        &mut self,
        octets: &[u8],
        offset: u64,
        buffers: &Buffers,
    ) -> io::Result<Option<usize>> {
        self.post(buffers);
        let (Some(stream), Some(socket)) = (&mut self.stream, &self.socket) else {
            return Ok(None);
        };
        let len = octets.len().min(MAPPED_MAX);
        let request = stream
            .write_direct(offset, len as u32, buffers.iomap())
            .map_err(failure::of_iomap)?;
        let Some(request) = request else {
            return Ok(None);
        };
        let len = match request.post {
            Post::Direct { len, .. } => len as usize,
            _ => 0,
        };
        let source = buffers.copied(&octets[..len])?;
        match post(&mut socket.batch(), &request, buffers, Some(source)) {
            Ok(()) => self.under_way += 1,
            Err(error) => {
                stream.lost();
                return Err(error);
            }
        }
        Ok(Some(len))
    }

    /// Names a buffer of ours to the peer's program.
    pub(crate) fn map(&mut self, entry: IomapEntry, buffers: &Buffers) -> io::Result<u16> {
        let stream = self.stream.as_mut().filter(|_| self.setup.is_none());
        let stream = stream.ok_or_else(|| failure::errno(libc::ENOTCONN))?;
        let index = stream.map(entry).map_err(failure::of_iomap)?;
        self.post(buffers);
        Ok(index)
    }

    /// The place of a name is free again.
    pub(crate) fn unmap(&mut self, index: u16) {
        if let Some(stream) = &mut self.stream {
            stream.unmap(index);
        }
    }

    /// What a read finds.
    pub(crate) fn readable(&self) -> Readable {
        match &self.stream {
            Some(stream) if self.setup.is_none() => {
                let octets = stream.readable();
                if !octets.is_empty() {
                    Readable::Octets(octets)
                } else if self.over || stream.read_end().is_some() {
                    Readable::End
                } else {
                    Readable::Nothing
                }
            }
            _ if self.over || self.closed => Readable::End,
            _ => Readable::Nothing,
        }
    }

    /// The program has so many octets.
    pub(crate) fn consumed(&mut self, len: usize, buffers: &Buffers) {
        if let Some(stream) = &mut self.stream {
            stream.consumed(len as u64);
        }
        self.post(buffers);
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.end.clone()
    }

    pub(crate) fn take_error(&mut self) -> Option<i32> {
        self.read_told |= self.error.is_some();
        self.error.take()
    }

    /// The error for a write.
    pub(crate) fn take_write_error(&mut self) -> Option<i32> {
        self.error.take()
    }

    /// The error for a read that has found nothing. Even if a write has told of it: what was read is not all that
    /// there was.
    pub(crate) fn take_read_error(&mut self) -> Option<i32> {
        let broken = match self.stream.as_ref().and_then(Stream::read_end) {
            Some(ReadEnd::Lost) => Some(libc::ECONNRESET),
            Some(ReadEnd::Fault(_)) => Some(libc::EPROTO),
            _ => None,
        };
        let error = self.error.take().or(broken.filter(|_| !self.read_told));
        self.read_told |= error.is_some();
        error
    }

    pub(crate) fn shutdown_read(&mut self, buffers: &Buffers) {
        if let Some(stream) = &mut self.stream {
            stream.shutdown_read();
        }
        self.post(buffers);
    }

    pub(crate) fn shutdown_write(&mut self, buffers: &Buffers) {
        self.write_shut = true;
        if let Some(stream) = &mut self.stream {
            stream.shutdown_write();
        }
        self.post(buffers);
    }

    pub(crate) fn close(&mut self, abort: bool, buffers: &Buffers) {
        self.closed = true;
        if self.setup.take().is_some() {
            self.over = true;
        }
        if abort && let Some(socket) = &self.socket {
            socket.abort();
        }
        if let Some(stream) = &mut self.stream {
            if abort {
                // Not a word more.
                stream.lost();
            }
            stream.close();
        }
        self.post(buffers);
    }

    /// The set-up has come to an end, good or bad.
    pub(crate) fn is_established(&self) -> bool {
        self.setup.is_none() && self.stream.is_some()
    }

    /// Everything written has been handed to TCP, and the peer knows that it is all; or nothing can be any more.
    pub(crate) fn is_drained(&self) -> bool {
        self.over || self.stream.as_ref().is_some_and(Stream::is_finished)
    }

    /// The set-up failed, or the connection ended without a word.
    pub(crate) fn is_reset(&self) -> bool {
        self.reset
    }

    /// The connection is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The connection, while it lives.
    pub(crate) fn attendant(&self) -> Option<Attendant> {
        self.socket.as_ref().map(Socket::attendant)
    }

    /// Posts a one-sided operation.
    pub(crate) fn post_beside(
        &mut self,
        id: u64,
        post: impl FnOnce(&Socket, u64) -> Result<(), PostError>,
    ) -> Result<(), PostError> {
        let socket = self.socket.as_ref().filter(|_| !self.closed);
        let socket = socket.ok_or(PostError::Closed)?;
        let number = self.beside.reserve(id).ok_or(PostError::Full)?;
        match post(socket, BESIDE | number) {
            Ok(()) => self.under_way += 1,
            Err(error) => {
                self.beside.release(number);
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn readiness(&self, buffers: &Buffers) -> Readiness {
        let stream = self.stream.as_ref();
        let room = self
            .room()
            .map(|room| room >= buffers.send_len().div_ceil(WRITABLE_PART));
        let peer_ended = stream.is_some_and(Stream::peer_has_ended);
        Readiness {
            established: self.is_established(),
            readable: self.error.is_some() || !matches!(self.readable(), Readable::Nothing),
            writable: self.error.is_some() || room.unwrap_or(true),
            read_closed: self.over || peer_ended,
            hung_up: self.reset || (self.over || peer_ended) && (self.write_shut || self.closed),
            error: self.error,
            arrivals: self.arrivals,
        }
    }
}

/// Posts the receive of this index by `post`.
pub(crate) fn post_receive(
    buffers: &Buffers,
    index: u32,
    post: impl FnOnce(u64, &[uwarp::Sge]) -> Result<(), PostError>,
) -> io::Result<()> {
    let buffer = buffers.receive(index).map_err(io::Error::other)?;
    post(RECEIVE | u64::from(index), &[buffer]).map_err(io::Error::other)
}

/// Whether the socket takes no more work.
fn is_closed(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(PostError::Closed))
}

fn post(
    batch: &mut Batch<'_>,
    request: &Request,
    buffers: &Buffers,
    mut direct: Option<Sge>,
) -> io::Result<()> {
    let id = STREAM | u64::from(request.slot);
    let remote = |place: uwarp_rsockets::Place, len: u32| uwarp::RemoteRegion {
        stag: uwarp::Stag(place.stag),
        to: place.to,
        len,
    };
    let small = |octets: &[u8]| {
        buffers
            .small(request.slot, octets)
            .map_err(io::Error::other)
    };
    let posted = match &request.post {
        Post::Data { from, len, to } => buffers
            .data(*from..*from + u64::from(*len))?
            .with(|list| batch.post_write(id, list, remote(*to, *len))),
        Post::Entry { octets, to } => {
            batch.post_write(id, &[small(octets)?], remote(*to, octets.len() as u32))
        }
        Post::Message(octets) => batch.post_send(id, &[small(octets)?], SendFlags::default()),
        Post::Keepalive => batch.post_write(id, &[], remote(uwarp_rsockets::Place::default(), 0)),
        Post::Iomap { octets, to } => {
            batch.post_write(id, &[small(octets)?], remote(*to, octets.len() as u32))
        }
        Post::Direct { len, to } => {
            let source = direct
                .take()
                .ok_or(PostError::Closed)
                .map_err(io::Error::other)?;
            batch.post_write(id, &[source], remote(*to, *len))
        }
    };
    posted.map_err(io::Error::other)
}

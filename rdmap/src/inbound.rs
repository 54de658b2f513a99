//! The receiving half: what a segment's payload may touch, and what a delivered message means.
//!
//! A segment passes here twice. [`Inbound::place`] says where its payload goes; it may be called
//! for segments in any order and repeatedly. [`Inbound::deliver`] is called once for each segment,
//! in the order of the stream, after its payload has been placed; only then does a message count
//! (RFC 5041 s5.4, D24).

use std::collections::VecDeque;

use uwarp_ddp::{AccessError, DdpError, Header, SerialMsn, Stag, Tagged, Untagged, UntaggedQueue};

use crate::atomic::{
    ATOMIC_REQUEST_LEN, ATOMIC_RESPONSE_LEN, AtomicRequest, AtomicRequestError, AtomicResponse,
};
use crate::endpoint::Limits;
use crate::error::{AtomicError, PostError, RdmapError};
use crate::header::{
    Control, IMMEDIATE_LEN, Opcode, QN_ATOMIC_RESPONSE, QN_READ_REQUEST, QN_SEND, QN_TERMINATE,
    READ_REQUEST_LEN, ReadRequest, VERSION,
};
use crate::outbound::{Outbound, Request, Response};
use crate::terminate::{TERMINATE_MAX, Terminate};
use crate::work::{Completion, OperationKind, Slot, Status};

/// Where the payload of a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// There is no payload to place.
    None,
    /// A tagged buffer of ours, if the STag table allows it (RDMA Write).
    Tagged {
        /// The STag.
        stag: Stag,
        /// Tagged offset of the first octet.
        to: u64,
        /// Octets, more than 0.
        len: u32,
    },
    /// The buffers of a posted request: a receive, or the sink of an RDMA Read.
    Work {
        /// The request.
        slot: Slot,
        /// Offset of the first octet in the request's scatter list.
        offset: u32,
        /// Octets, more than 0.
        len: u32,
    },
    /// Control information for this room; it comes back as the `body` of
    /// [`Endpoint::deliver`](crate::Endpoint::deliver).
    Control,
}

/// What the driver's registered memory answers to a delivered message.
pub trait Regions {
    /// Whether this stream's peer may read these octets (never asked for 0 octets).
    ///
    /// # Errors
    /// The reason why not.
    fn check_read(&mut self, stag: Stag, to: u64, len: u32) -> Result<(), AccessError>;

    /// Whether this stream's peer may change the 64-bit word at `to`.
    ///
    /// # Errors
    /// The reason why not.
    fn check_atomic(&mut self, stag: Stag, to: u64) -> Result<(), AtomicError>;

    /// Invalidates `stag` on behalf of this stream's peer. When it has returned, no octet lands
    /// through that STag any more.
    ///
    /// # Errors
    /// The reason why the STag cannot be invalidated.
    fn invalidate(&mut self, stag: Stag) -> Result<(), AccessError>;
}

/// Something other than a completion that a delivered message brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The peer ended the stream with this message.
    Terminated(Terminate),
}

#[derive(Debug)]
pub(crate) struct Inbound {
    limits: Limits,
    receives: UntaggedQueue,
    /// MSN of the next Read or Atomic Request to be delivered.
    request_msn: SerialMsn,
    /// MSN of the next Atomic Response.
    atomic_response_msn: SerialMsn,
}

impl Inbound {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            receives: UntaggedQueue::new(limits.receive_queue),
            request_msn: SerialMsn::FIRST,
            atomic_response_msn: SerialMsn::FIRST,
        }
    }

    pub(crate) fn post(&mut self, slot: Slot, len: u32) -> Result<(), PostError> {
        self.receives.post(slot.0, len).map_err(|_| PostError::Full)
    }

    /// An empty Send that releases the responder of a peer-to-peer set-up uses an MSN but no
    /// posted receive (RFC 6581 s9.2; G15).
    pub(crate) fn skip_rtr_send(&mut self) {
        self.receives.skip();
    }

    /// Ends every posted receive (RFC 5040 s6.2.1, R38).
    pub(crate) fn flush(&mut self, completions: &mut VecDeque<Completion>) {
        completions.extend(
            self.receives.flush().map(|token| {
                Completion::failed(Slot(token), OperationKind::Receive, Status::Flushed)
            }),
        );
    }

    /// Decides where `len` octets of payload behind `header` go.
    pub(crate) fn place(
        &mut self,
        header: &Header,
        len: u32,
        out: &Outbound,
    ) -> Result<Target, RdmapError> {
        match header {
            Header::Tagged(header) => Self::place_tagged(header, len, out),
            Header::Untagged(header) => self.place_untagged(header, len, out),
        }
    }

    fn place_tagged(header: &Tagged, len: u32, out: &Outbound) -> Result<Target, RdmapError> {
        match opcode(header.ulp)? {
            Opcode::WRITE if len == 0 => Ok(Target::None),
            Opcode::WRITE => Ok(Target::Tagged {
                stag: header.stag,
                to: header.to,
                len,
            }),
            Opcode::READ_RESPONSE => {
                if out.pending().is_empty() {
                    return Err(RdmapError::UnsolicitedResponse);
                }
                if len == 0 {
                    return Ok(Target::None);
                }
                out.pending()
                    .iter()
                    .find_map(|pending| pending.sink(header.stag, header.to, len))
                    .map(|(slot, offset)| Target::Work { slot, offset, len })
                    .ok_or(RdmapError::ResponseMismatch)
            }
            other => Err(RdmapError::UnexpectedOpcode(other.bits())),
        }
    }

    fn place_untagged(
        &mut self,
        header: &Untagged,
        len: u32,
        out: &Outbound,
    ) -> Result<Target, RdmapError> {
        if header.qn > QN_ATOMIC_RESPONSE {
            return Err(DdpError::InvalidQn.into());
        }
        let opcode = opcode(header.ulp)?;
        match (header.qn, opcode) {
            (QN_SEND, opcode) if opcode.is_send() => {
                let place = self
                    .receives
                    .place(header.msn, header.mo, len)
                    .map_err(DdpError::from)?;
                Ok(if len == 0 {
                    Target::None
                } else {
                    Target::Work {
                        slot: Slot(place.token),
                        offset: place.offset,
                        len,
                    }
                })
            }
            // The data arrives in the completion; the posted buffer is used but not filled.
            (QN_SEND, opcode) if opcode.is_immediate() => {
                single_segment(header, len, IMMEDIATE_LEN)?;
                self.receives
                    .place(header.msn, 0, 0)
                    .map_err(DdpError::from)?;
                Ok(Target::Control)
            }
            (QN_READ_REQUEST, Opcode::READ_REQUEST) => {
                self.request_in_range(header)?;
                single_segment(header, len, READ_REQUEST_LEN)?;
                Ok(Target::Control)
            }
            (QN_READ_REQUEST, Opcode::ATOMIC_REQUEST) => {
                self.request_in_range(header)?;
                single_segment(header, len, ATOMIC_REQUEST_LEN)?;
                Ok(Target::Control)
            }
            (QN_ATOMIC_RESPONSE, Opcode::ATOMIC_RESPONSE) => {
                // One buffer for each request that waits (X11), of which there are no more than the ORD.
                self.atomic_response_msn
                    .buffer_for(header.msn, out.pending().len() as u32)
                    .map_err(DdpError::from)?;
                single_segment(header, len, ATOMIC_RESPONSE_LEN)?;
                Ok(Target::Control)
            }
            (QN_TERMINATE, Opcode::TERMINATE) => {
                if header.msn != 1 {
                    return Err(DdpError::MsnRange.into());
                }
                if len as usize > TERMINATE_MAX || !header.last || header.mo != 0 {
                    return Err(RdmapError::BadTerminate);
                }
                Ok(Target::Control)
            }
            (_, other) => Err(RdmapError::UnexpectedOpcode(other.bits())),
        }
    }

    /// Whether a Request has a buffer: as many as the IRD may wait (RFC 5040 s5.2.2, R17; G9).
    fn request_in_range(&self, header: &Untagged) -> Result<(), RdmapError> {
        self.request_msn
            .buffer_for(header.msn, u32::from(self.limits.ird))
            .map_err(DdpError::from)?;
        Ok(())
    }

    /// Takes note of a segment whose payload has been placed.
    pub(crate) fn deliver<R: Regions>(
        &mut self,
        header: &Header,
        len: u32,
        body: &[u8],
        out: &mut Outbound,
        regions: &mut R,
        completions: &mut VecDeque<Completion>,
    ) -> Result<Option<Notice>, RdmapError> {
        match header {
            Header::Tagged(header) => {
                if opcode(header.ulp)? == Opcode::READ_RESPONSE {
                    deliver_response(header, len, out, completions)?;
                }
                Ok(None)
            }
            Header::Untagged(header) => match opcode(header.ulp)? {
                Opcode::READ_REQUEST => {
                    let request = read_request(body, regions)?;
                    self.accept_request(header.msn, Request::Read(request), out)?;
                    Ok(None)
                }
                Opcode::ATOMIC_REQUEST => {
                    let request = atomic_request(body, regions)?;
                    self.accept_request(header.msn, Request::Atomic(request), out)?;
                    Ok(None)
                }
                Opcode::ATOMIC_RESPONSE => {
                    self.deliver_atomic_response(header, body, out, completions)?;
                    Ok(None)
                }
                opcode if opcode.is_immediate() => {
                    self.deliver_immediate(header, body, completions)?;
                    Ok(None)
                }
                Opcode::TERMINATE => Terminate::parse(body)
                    .map(|message| Some(Notice::Terminated(message)))
                    .ok_or(RdmapError::BadTerminate),
                _ => self
                    .deliver_send(header, len, regions, completions)
                    .map(|()| None),
            },
        }
    }

    fn deliver_send<R: Regions>(
        &mut self,
        header: &Untagged,
        len: u32,
        regions: &mut R,
        completions: &mut VecDeque<Completion>,
    ) -> Result<(), RdmapError> {
        let Some(delivered) = self
            .receives
            .deliver(header.msn, header.mo, len, header.last)
            .map_err(DdpError::from)?
        else {
            return Ok(());
        };
        let opcode = Control(header.ulp).opcode();
        let slot = Slot(delivered.token);
        let mut invalidated = None;
        if opcode.invalidates() {
            let stag = Stag(header.ulp_word);
            if let Err(error) = regions.invalidate(stag) {
                completions.push_back(Completion::failed(
                    slot,
                    OperationKind::Receive,
                    Status::Flushed,
                ));
                return Err(RdmapError::Invalidate(error));
            }
            invalidated = Some(stag);
        }
        completions.push_back(Completion {
            solicited: opcode.is_solicited(),
            invalidated,
            ..Completion::success(slot, OperationKind::Receive, delivered.len)
        });
        Ok(())
    }

    fn deliver_immediate(
        &mut self,
        header: &Untagged,
        body: &[u8],
        completions: &mut VecDeque<Completion>,
    ) -> Result<(), RdmapError> {
        let delivered = self
            .receives
            .deliver(header.msn, 0, 0, true)
            .map_err(DdpError::from)?;
        if let Some(delivered) = delivered {
            completions.push_back(Completion {
                solicited: Control(header.ulp).opcode().is_solicited(),
                immediate: body.first_chunk().copied(),
                ..Completion::success(Slot(delivered.token), OperationKind::Receive, 0)
            });
        }
        Ok(())
    }

    /// Queues the answer to a Request, whose operands have been checked.
    fn accept_request(
        &mut self,
        msn: u32,
        request: Request,
        out: &mut Outbound,
    ) -> Result<(), RdmapError> {
        if msn != self.request_msn.get() {
            return Err(DdpError::MsnRange.into());
        }
        if out.responses_owed() >= usize::from(self.limits.ird) {
            return Err(DdpError::NoBuffer.into());
        }
        self.request_msn = self.request_msn.next();
        out.respond(Response { request, msn });
        Ok(())
    }

    fn deliver_atomic_response(
        &mut self,
        header: &Untagged,
        body: &[u8],
        out: &mut Outbound,
        completions: &mut VecDeque<Completion>,
    ) -> Result<(), RdmapError> {
        if header.msn != self.atomic_response_msn.get() {
            return Err(DdpError::MsnRange.into());
        }
        let response = AtomicResponse::parse(body).ok_or(RdmapError::AtomicMismatch)?;
        let oldest = out.oldest_pending().ok_or(RdmapError::AtomicMismatch)?;
        if !oldest.is_atomic(response.id) {
            return Err(RdmapError::AtomicMismatch);
        }
        self.atomic_response_msn = self.atomic_response_msn.next();
        out.finish_oldest(Some(response.original), completions);
        Ok(())
    }
}

/// The Read Request in `body`, if the peer may read its source.
fn read_request<R: Regions>(body: &[u8], regions: &mut R) -> Result<ReadRequest, RdmapError> {
    let request = ReadRequest::parse(body).ok_or(RdmapError::MessageSize {
        expected: READ_REQUEST_LEN as u32,
        actual: body.len() as u32,
    })?;
    if request.size > 0 {
        regions
            .check_read(request.source_stag, request.source_to, request.size)
            .map_err(RdmapError::ReadSource)?;
        // The sink is the requester's affair, but a wrapping one could not be put on the wire.
        if request
            .sink_to
            .checked_add(u64::from(request.size))
            .is_none()
        {
            return Err(RdmapError::ReadSource(AccessError::Wrap));
        }
    }
    Ok(request)
}

/// The Atomic Request in `body`, if the peer may change its word.
fn atomic_request<R: Regions>(body: &[u8], regions: &mut R) -> Result<AtomicRequest, RdmapError> {
    let request = AtomicRequest::parse(body).map_err(|error| match error {
        AtomicRequestError::Length => RdmapError::MessageSize {
            expected: ATOMIC_REQUEST_LEN as u32,
            actual: body.len() as u32,
        },
        AtomicRequestError::Operation(code) => RdmapError::AtomicOperation(code),
    })?;
    regions
        .check_atomic(request.stag, request.to)
        .map_err(RdmapError::AtomicTarget)?;
    Ok(request)
}

/// Checks a Read Response segment against the oldest request; answers come in the order of their
/// requests (R16).
fn deliver_response(
    header: &Tagged,
    len: u32,
    out: &mut Outbound,
    completions: &mut VecDeque<Completion>,
) -> Result<(), RdmapError> {
    let oldest = out
        .oldest_pending()
        .ok_or(RdmapError::UnsolicitedResponse)?;
    if oldest.take_response(header.stag, header.to, len, header.last)? {
        out.finish_oldest(None, completions);
    }
    Ok(())
}

/// The opcode of a control octet whose version is right.
fn opcode(ulp: u8) -> Result<Opcode, RdmapError> {
    let control = Control(ulp);
    if control.version() == VERSION {
        Ok(control.opcode())
    } else {
        Err(RdmapError::Version(control.version()))
    }
}

/// Control messages come in one segment, which is what every MULPDU has room for.
fn single_segment(header: &Untagged, len: u32, expected: usize) -> Result<(), RdmapError> {
    let expected = expected as u32;
    if header.mo != 0 {
        return Err(DdpError::InvalidMo.into());
    }
    if !header.last || len != expected {
        return Err(RdmapError::MessageSize {
            expected,
            actual: len,
        });
    }
    Ok(())
}

//! The receiving half: what a segment's payload may touch, and what a delivered message means.
//!
//! A segment passes here twice. [`Inbound::place`] says where its payload goes; it may be called
//! for segments in any order and repeatedly. [`Inbound::deliver`] is called once for each segment,
//! in the order of the stream, after its payload has been placed; only then does a message count
//! (RFC 5041 s5.4, D24).

use std::collections::VecDeque;

use uwarp_ddp::{AccessError, Coverage, DdpError, Header, Stag, Tagged, Untagged, UntaggedQueue};

use crate::endpoint::Limits;
use crate::error::{PostError, RdmapError};
use crate::header::{
    Control, Opcode, QN_READ_REQUEST, QN_SEND, QN_TERMINATE, READ_REQUEST_LEN, ReadRequest, VERSION,
};
use crate::outbound::{Outbound, Response};
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

/// An RDMA Read of ours that waits for its Response.
#[derive(Debug)]
pub(crate) struct PendingRead {
    /// The posted request; `None` for the Read of a peer-to-peer set-up, which nobody posted.
    pub(crate) seq: Option<u64>,
    slot: Option<Slot>,
    request: ReadRequest,
    coverage: Coverage,
}

impl PendingRead {
    pub(crate) fn new(owner: Option<(u64, Slot)>, request: ReadRequest) -> Self {
        Self {
            seq: owner.map(|(seq, _)| seq),
            slot: owner.map(|(_, slot)| slot),
            request,
            coverage: Coverage::new(),
        }
    }

    /// Whether `sink_to` is an offset of this Read's sink; an empty Read holds its start.
    pub(crate) fn holds(&self, sink_to: u64) -> bool {
        let offset = sink_to.wrapping_sub(self.request.sink_to);
        offset == 0 || offset < u64::from(self.request.size)
    }

    /// Offset in the sink of `len` octets at `sink_to`, if they lie in it.
    fn offset(&self, sink_to: u64, len: u32) -> Option<u32> {
        let offset = u32::try_from(sink_to.checked_sub(self.request.sink_to)?).ok()?;
        (offset.checked_add(len)? <= self.request.size).then_some(offset)
    }
}

#[derive(Debug)]
pub(crate) struct Inbound {
    limits: Limits,
    receives: UntaggedQueue,
    /// MSN of the next Read Request to be delivered.
    request_msn: u32,
}

impl Inbound {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            receives: UntaggedQueue::new(limits.receive_queue),
            request_msn: 1,
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
            Header::Untagged(header) => self.place_untagged(header, len),
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
                if out.reads().is_empty() {
                    return Err(RdmapError::UnsolicitedResponse);
                }
                if len == 0 {
                    return Ok(Target::None);
                }
                out.reads()
                    .iter()
                    .filter(|read| read.request.sink_stag == header.stag)
                    .find_map(|read| Some((read.slot?, read.offset(header.to, len)?)))
                    .map(|(slot, offset)| Target::Work { slot, offset, len })
                    .ok_or(RdmapError::ResponseMismatch)
            }
            other => Err(RdmapError::UnexpectedOpcode(other.bits())),
        }
    }

    fn place_untagged(&mut self, header: &Untagged, len: u32) -> Result<Target, RdmapError> {
        if header.qn > QN_TERMINATE {
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
            (QN_READ_REQUEST, Opcode::READ_REQUEST) => {
                let ahead = header.msn.wrapping_sub(self.request_msn);
                if ahead > u32::MAX / 2 {
                    return Err(DdpError::MsnRange.into());
                }
                if ahead >= u32::from(self.limits.ird) {
                    return Err(DdpError::NoBuffer.into());
                }
                single_segment(header, len, READ_REQUEST_LEN as u32)?;
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
                Opcode::READ_REQUEST => self
                    .deliver_request(header, body, out, regions)
                    .map(|()| None),
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
            slot,
            kind: OperationKind::Receive,
            status: Status::Success,
            len: delivered.len,
            solicited: opcode.is_solicited(),
            invalidated,
        });
        Ok(())
    }

    fn deliver_request<R: Regions>(
        &mut self,
        header: &Untagged,
        body: &[u8],
        out: &mut Outbound,
        regions: &mut R,
    ) -> Result<(), RdmapError> {
        if header.msn != self.request_msn {
            return Err(DdpError::MsnRange.into());
        }
        if out.responses_owed() >= usize::from(self.limits.ird) {
            return Err(DdpError::NoBuffer.into());
        }
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
        self.request_msn = self.request_msn.wrapping_add(1);
        out.respond(Response {
            request,
            msn: header.msn,
        });
        Ok(())
    }
}

/// Checks a Read Response segment against the oldest Read; Responses come in the order of their
/// Requests (R16).
fn deliver_response(
    header: &Tagged,
    len: u32,
    out: &mut Outbound,
    completions: &mut VecDeque<Completion>,
) -> Result<(), RdmapError> {
    let read = out.oldest_read().ok_or(RdmapError::UnsolicitedResponse)?;
    // The STag and TO of an empty segment mean nothing (RFC 5041 s5.2, D21).
    if len > 0 {
        if read.request.sink_stag != header.stag {
            return Err(RdmapError::ResponseMismatch);
        }
        let offset = read
            .offset(header.to, len)
            .ok_or(RdmapError::ResponseMismatch)?;
        read.coverage
            .insert(offset, offset + len)
            .map_err(|_| RdmapError::ResponseMismatch)?;
    }
    let complete = read.coverage.is_complete(read.request.size);
    match (header.last, complete) {
        (true, true) => out.finish_read(completions),
        (true, false) => return Err(RdmapError::ResponseMismatch),
        (false, _) => {}
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
fn single_segment(header: &Untagged, len: u32, expected: u32) -> Result<(), RdmapError> {
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

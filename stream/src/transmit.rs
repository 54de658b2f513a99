//! From messages to octets.

use std::ops::Range;
use std::time::Instant;

use uwarp_ddp::UNTAGGED_LEN;
use uwarp_mpa::{FpduSink, Rtr};
use uwarp_rdmap::atomic::ATOMIC_REQUEST_LEN;
use uwarp_rdmap::header::{Opcode, READ_REQUEST_LEN, request_ddp_header};
use uwarp_rdmap::terminate::BlamedHeader;
use uwarp_rdmap::{Outgoing, Payload, RdmapError, Request, Slot, Terminate};

use crate::batch::{Batch, Piece};
use crate::connection::{Connection, Role, Sending};
use crate::event::End;
use crate::fault::Fault;
use crate::memory::{Memory, Source};

/// Read Responses up to this many octets are copied when they are framed, if there is a CRC, and so are
/// those from a region that peers may write to: a change between the CRC and the write would end the
/// connection at the peer, who may well have posted a Write behind its Read. Longer ones from other
/// regions are sent in place; the program that serves them holds them still.
const SNAPSHOT_MAX: u32 = 4096;

/// Posted payload up to this many octets is copied when it is framed: that costs less than a piece of its own in
/// a vectored write, and many small messages become one piece.
const SMALL_MAX: usize = 512;

/// A batch with this many octets of its own (headers and what is copied) is full, whatever else it may hold.
const COPIED_MAX: usize = 256 * 1024;

/// A batch with this many pieces is full, whatever its length: a vectored write takes no more.
const PIECES_MAX: usize = 512;

impl Connection {
    /// Adds to `batch` what may be sent now, until it holds `budget` octets or a little more, or has copied 256 KiB.
    ///
    /// Report what the transport takes of it by [`written`](Self::written) and
    /// [`Batch::advance`].
    pub fn transmit<M: Memory>(
        &mut self,
        batch: &mut Batch<M::Handle>,
        memory: &mut M,
        budget: usize,
        now: Instant,
    ) {
        if std::mem::take(&mut self.drop_batch) {
            batch.clear();
        }
        let before = batch.len();
        if let Some(frame) = self.frame.take() {
            batch.push_octets(&frame);
            batch.end_frame(frame.len());
        }
        self.batched += (batch.len() - before) as u64;
        self.transmit_rtr(batch, memory);
        while matches!(
            self.sending,
            Sending::Open | Sending::Finishing | Sending::LastWords
        ) && batch.len() < budget
            && batch.copied() < COPIED_MAX
            && batch.pieces().len() < PIECES_MAX
        {
            if !self.transmit_segment(batch, memory, now) {
                break;
            }
        }
        self.transmit_reminder(batch, memory, now);
        self.finish_half();
        self.settle_rejection();
    }

    /// Whether [`transmit`](Self::transmit) would add something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.frame.is_some()
            || self.link.as_ref().is_some_and(|link| match self.sending {
                Sending::Open | Sending::Finishing | Sending::LastWords => {
                    link.endpoint.has_output()
                        || (link.rtr_pending && self.role == Role::Initiator)
                        || self.reminder.is_due()
                }
                _ => false,
            })
    }

    /// Octets of the peer's Reads that are not answered in full: [`transmit`](Self::transmit) gives them next.
    #[must_use]
    pub fn octets_owed(&self) -> u64 {
        (self.link.as_ref()).map_or(0, |link| link.endpoint.octets_owed())
    }

    /// The RTR frame goes before everything else (RFC 6581 s5, E01).
    fn transmit_rtr<M: Memory>(&mut self, batch: &mut Batch<M::Handle>, memory: &mut M) {
        let Some(link) = &mut self.link else { return };
        let may_speak = matches!(
            self.sending,
            Sending::Open | Sending::Finishing | Sending::LastWords
        );
        if self.role != Role::Initiator || !link.rtr_pending || !may_speak {
            return;
        }
        link.rtr_pending = false;
        let Some(rtr) = link.agreement.rtr else {
            return;
        };
        let outgoing = match rtr {
            Rtr::Write => link.endpoint.rtr_write(),
            Rtr::Read => link.endpoint.rtr_read(),
            Rtr::Send => link.endpoint.rtr_send(),
        };
        self.transmit_empty(&outgoing, batch, memory);
    }

    /// What an initiator says that has heard nothing, between two messages.
    fn transmit_reminder<M: Memory>(
        &mut self,
        batch: &mut Batch<M::Handle>,
        memory: &mut M,
        now: Instant,
    ) {
        if self.stats.fpdus_sent > 0 {
            self.reminder.begin(now);
        }
        let Some(link) = &mut self.link else { return };
        let at_boundary = !link.endpoint.has_output();
        if matches!(self.sending, Sending::Open | Sending::Finishing)
            && at_boundary
            && self.reminder.take(now)
        {
            let outgoing = link.endpoint.rtr_write();
            self.transmit_empty(&outgoing, batch, memory);
        }
    }

    /// Frames a message without payload that nobody has posted.
    fn transmit_empty<M: Memory>(
        &mut self,
        outgoing: &Outgoing,
        batch: &mut Batch<M::Handle>,
        memory: &mut M,
    ) {
        let Some(link) = &mut self.link else { return };
        let mut sink = Sink {
            batch,
            memory,
            payload: Resolved::None,
            snapshot: false,
        };
        let framed = link.framer.frame(outgoing.head(), 0..0, &mut sink);
        let octets = framed.unwrap_or_default();
        batch.end_frame(octets);
        self.batched += octets as u64;
        self.stats.fpdus_sent += 1;
    }

    /// Frames one segment; `false` if there is none.
    fn transmit_segment<M: Memory>(
        &mut self,
        batch: &mut Batch<M::Handle>,
        memory: &mut M,
        now: Instant,
    ) -> bool {
        let Some(link) = &mut self.link else {
            return false;
        };
        let outgoing = if let Some(request) = link.endpoint.atomic_due() {
            match memory.atomic(request.stag, request.to, &request.operation) {
                Ok(original) => link.endpoint.answer_atomic(original),
                Err(error) => {
                    self.source_lost(RdmapError::AtomicTarget(error), now);
                    return true;
                }
            }
        } else {
            link.endpoint.next_segment(link.mulpdu)
        };
        let Some(outgoing) = outgoing else {
            return false;
        };
        let payload = match resolve(&outgoing, memory) {
            Ok(payload) => payload,
            Err(error) => {
                self.source_lost(RdmapError::ReadSource(error), now);
                return true;
            }
        };
        let framed = if let Resolved::Work(slot, range) = &payload
            && range.len() <= SMALL_MAX
        {
            self.scratch.clear();
            self.scratch.extend_from_slice(outgoing.head());
            memory.copy_work(*slot, range.clone(), &mut self.scratch);
            let mut sink = Sink {
                batch,
                memory,
                payload: Resolved::None,
                snapshot: false,
            };
            link.framer.frame(&self.scratch, 0..0, &mut sink)
        } else {
            let range = payload.range();
            let mut sink = Sink {
                batch,
                memory,
                snapshot: link.agreement.crc && may_change(&payload),
                payload,
            };
            link.framer.frame(outgoing.head(), range, &mut sink)
        };
        let Ok(octets) = framed else {
            // Only a MULPDU that was computed wrongly could bring this about.
            self.local_failure(now);
            return false;
        };
        link.endpoint.framed();
        batch.end_frame(octets);
        self.batched += octets as u64;
        self.stats.fpdus_sent += 1;
        self.stats.payload_sent += u64::from(payload_len(&outgoing.payload));
        if let Some(token) = outgoing.token {
            link.marks.push_back((self.batched, token));
        }
        true
    }

    /// The peer has asked for something that it may no longer reach: its Request is refused, as far as it
    /// is not served (RFC 5040 s4.8).
    fn source_lost(&mut self, error: RdmapError, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let Some((rest, msn)) = link.endpoint.abandon_response() else {
            return;
        };
        let (opcode, segment_len, read_request) = match rest {
            Request::Read(rest) => (Opcode::READ_REQUEST, READ_REQUEST_LEN, Some(rest.encode())),
            Request::Atomic(_) => (Opcode::ATOMIC_REQUEST, ATOMIC_REQUEST_LEN, None),
        };
        let fault = Fault::Rdmap(error);
        let message = Terminate {
            code: fault.code(),
            segment_len: Some((UNTAGGED_LEN + segment_len) as u16),
            ddp_header: BlamedHeader::of(&request_ddp_header(opcode, msn)),
            read_request,
        };
        self.end_with(Some(message), End::Fault(fault), now);
    }

    /// Nothing more to say in this state?
    fn finish_half(&mut self) {
        let Some(link) = &self.link else { return };
        let done = match self.sending {
            Sending::LastWords => !link.endpoint.has_output(),
            Sending::Finishing => link.endpoint.is_idle(),
            _ => false,
        };
        if done {
            self.sending = Sending::Fin;
        }
    }
}

/// Whether a payload may well change before it is written.
fn may_change<H>(payload: &Resolved<H>) -> bool {
    match payload {
        Resolved::None | Resolved::Work(..) => false,
        Resolved::Region(source, len) => source.volatile || *len <= SNAPSHOT_MAX,
    }
}

fn payload_len(payload: &Payload) -> u32 {
    match payload {
        Payload::None => 0,
        Payload::Work { range, .. } => range.end - range.start,
        Payload::Region { len, .. } => *len,
    }
}

/// A payload whose source has been looked up.
enum Resolved<H> {
    None,
    Work(Slot, Range<u32>),
    Region(Source<H>, u32),
}

impl<H> Resolved<H> {
    /// The range as the framer counts it: offsets in the request or in the segment.
    fn range(&self) -> Range<u32> {
        match self {
            Self::None => 0..0,
            Self::Work(_, range) => range.clone(),
            Self::Region(_, len) => 0..*len,
        }
    }
}

fn resolve<M: Memory>(
    outgoing: &Outgoing,
    memory: &mut M,
) -> Result<Resolved<M::Handle>, uwarp_ddp::AccessError> {
    Ok(match &outgoing.payload {
        Payload::None => Resolved::None,
        Payload::Work { slot, range } => Resolved::Work(*slot, range.clone()),
        Payload::Region { stag, to, len } => {
            Resolved::Region(memory.source(*stag, *to, *len)?, *len)
        }
    })
}

/// Puts an FPDU's parts into a batch.
struct Sink<'a, M: Memory> {
    batch: &'a mut Batch<M::Handle>,
    memory: &'a mut M,
    payload: Resolved<M::Handle>,
    /// The payload of a region is copied into the batch rather than sent from where it is.
    snapshot: bool,
}

impl<M: Memory> Sink<'_, M> {
    /// A range of the payload as offsets in the region.
    fn in_region(source: &Source<M::Handle>, range: &Range<u32>) -> Range<u64> {
        source.offset + u64::from(range.start)..source.offset + u64::from(range.end)
    }
}

impl<M: Memory> FpduSink for Sink<'_, M> {
    fn octets(&mut self, octets: &[u8]) {
        self.batch.push_octets(octets);
    }

    fn payload(&mut self, range: Range<u32>) {
        match &self.payload {
            Resolved::None => {}
            Resolved::Work(slot, _) => self.batch.push(Piece::Work { slot: *slot, range }),
            Resolved::Region(source, _) => {
                let octets = Self::in_region(source, &range);
                if self.snapshot {
                    let Self { batch, memory, .. } = self;
                    batch.push_with(|arena| memory.copy_source(&source.handle, octets, arena));
                } else {
                    self.batch.push(Piece::Region {
                        handle: source.handle.clone(),
                        range: octets,
                    });
                }
            }
        }
    }

    fn payload_crc(&mut self, crc: u32, range: Range<u32>) -> u32 {
        match &self.payload {
            Resolved::None => crc,
            Resolved::Work(slot, _) => self.memory.crc_work(crc, *slot, range),
            // What has been copied last.
            Resolved::Region(..) if self.snapshot => {
                uwarp_mpa::crc::append(crc, self.batch.last_octets(range.len()))
            }
            Resolved::Region(source, _) => {
                let octets = Self::in_region(source, &range);
                self.memory.crc_source(crc, &source.handle, octets)
            }
        }
    }
}

//! What a Terminate blames: whether the segment that it quotes has been sent (RFC 5040 s4.8, R08).

use std::collections::VecDeque;

use uwarp_rdmap::header::READ_REQUEST_LEN;
use uwarp_rdmap::header::ReadRequest;
use uwarp_rdmap::terminate::Terminate;

use crate::rule::{Fault, Rule};

/// Segments of a direction that are remembered. A Terminate that comes later blames one of them, or one
/// of which nothing can be said.
const SENT_MAX: usize = 1024;

/// One segment.
#[derive(Debug)]
struct Segment {
    /// Its DDP header.
    header: Box<[u8]>,
    ulpdu_len: u16,
    read: Option<[u8; READ_REQUEST_LEN]>,
}

/// The last segments that an end has sent.
#[derive(Debug)]
pub(crate) struct Sent {
    segments: VecDeque<Segment>,
    /// There were others.
    incomplete: bool,
}

impl Sent {
    pub(crate) const fn new() -> Self {
        Self {
            segments: VecDeque::new(),
            incomplete: false,
        }
    }

    /// Segments are missing in the capture.
    pub(crate) fn lose(&mut self) {
        self.incomplete = true;
        self.segments = VecDeque::new();
    }

    /// Notes a segment: its DDP header, what follows it, and how long it is.
    pub(crate) fn note(&mut self, header: &[u8], body: &[u8], ulpdu_len: u16, is_read: bool) {
        if self.segments.len() >= SENT_MAX {
            self.segments.pop_front();
            self.incomplete = true;
        }
        self.segments.push_back(Segment {
            header: header.into(),
            ulpdu_len,
            read: body.first_chunk().copied().filter(|_| is_read),
        });
    }

    /// What its memory is counted as.
    pub(crate) fn memory(&self) -> usize {
        self.segments.capacity() * (size_of::<Segment>() + 32)
    }

    /// Checks what a Terminate of the other end says about a segment of this one.
    pub(crate) fn check(&self, message: &Terminate, faults: &mut Vec<Fault>) {
        let Some(blamed) = &message.ddp_header else {
            return;
        };
        let blamed = blamed.octets();
        // A field without meaning may be 0 (G20).
        if blamed.iter().all(|&octet| octet == 0) {
            return;
        }
        let same = || {
            let segments = self.segments.iter().rev();
            segments.filter(|segment| *segment.header == *blamed)
        };
        if same().next().is_none() {
            if !self.incomplete {
                let text = "a Terminate quotes a DDP header that the other end has not sent";
                faults.push((Rule::R08, text.to_owned()));
            }
            return;
        }
        if let Some(len) = message.segment_len
            && !same().any(|segment| segment.ulpdu_len == len)
        {
            let sent = same().next().map_or(0, |segment| segment.ulpdu_len);
            let text = format!("DDP Segment Length is {len}, the segment has {sent} octets");
            faults.push((Rule::R08, text));
        }
        if let Some(quoted) = &message.read_request
            && !same().any(|segment| is_remainder(segment.read.as_ref(), quoted))
        {
            let text = "a Terminate quotes a Read Request that the other end has not sent";
            faults.push((Rule::R08, text.to_owned()));
        }
    }
}

/// Whether `quoted` is the Read Request `sent`, or what is left of it.
fn is_remainder(sent: Option<&[u8; READ_REQUEST_LEN]>, quoted: &[u8]) -> bool {
    let sent = sent.and_then(|octets| ReadRequest::parse(octets));
    let (Some(sent), Some(quoted)) = (sent, ReadRequest::parse(quoted)) else {
        return false;
    };
    let done = sent.size.checked_sub(quoted.size);
    done.is_some_and(|done| sent.remainder(done) == quoted)
}

//! Payload that the socket delivers straight into its place.
//!
//! With CRC and markers off, the payload of a large FPDU need not pass the staging buffer: once its
//! headers have been read and the rest of it waits in the socket, the driver reads the rest
//! directly into the memory that it belongs to. RFC 5044 s6 (F32) forbids it earlier: nothing may be
//! placed before the whole FPDU is there, nor before its CRC is right.

use std::time::Instant;

use uwarp_ddp::{Header, UNTAGGED_LEN};
use uwarp_rdmap::Target;

use crate::connection::{Connection, Receiving, Sending};
use crate::memory::Memory;

/// An FPDU whose payload may be read straight into its place.
///
/// ```text
///   buffer:  [length|header|begin of payload]          socket:  [rest of payload][pad|CRC]...
///                           <-- buffered ---->                   <-- missing ---> <- tail ->
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direct {
    /// Where the payload belongs: [`Target::Tagged`] or [`Target::Work`].
    pub target: Target,
    /// Where in the buffer the part of the payload stands that has been read already; it ends where
    /// the buffer ends.
    pub buffered: std::ops::Range<usize>,
    /// Octets of the payload that wait in the socket.
    pub missing: usize,
    /// Octets of padding and CRC behind the payload.
    pub tail: usize,
    header: Header,
    header_len: usize,
}

impl Connection {
    /// Whether payload may go straight from the socket into its place on this connection: neither CRC
    /// nor markers come with it.
    #[must_use]
    pub fn wants_direct(&self) -> bool {
        let silent = matches!(self.sending, Sending::Silent | Sending::SilentFinishing);
        let open = self.receiving == Receiving::Open && !silent;
        open && self
            .link
            .as_ref()
            .is_some_and(|link| !link.agreement.crc && !link.agreement.rx_markers)
    }

    /// Whether the FPDU at the start of `buf`, of which the headers but not all octets have been
    /// read, may be placed by reading the rest into its place.
    ///
    /// The driver checks that [`Direct::missing`] and [`Direct::tail`] octets wait in the socket,
    /// looks the target up, copies the buffered part, reads the rest, and calls
    /// [`direct_done`](Self::direct_done). If it cannot, it reads into the buffer as usual.
    pub fn direct(&mut self, buf: &[u8]) -> Option<Direct> {
        if !self.wants_direct() {
            return None;
        }
        let link = self.link.as_mut()?;
        let layout = link.deframer.peek(buf)?;
        let ulpdu_len = layout.ulpdu_len();
        let payload_end = 2 + ulpdu_len;
        if buf.len() >= payload_end {
            return None;
        }
        let ulpdu = &buf[2..];
        let (header, header_len) =
            Header::parse(&ulpdu[..ulpdu.len().min(UNTAGGED_LEN)], ulpdu_len).ok()?;
        let target = link
            .endpoint
            .place(&header, (ulpdu_len - header_len) as u32)
            .ok()?;
        matches!(target, Target::Tagged { .. } | Target::Work { .. }).then(|| Direct {
            target,
            buffered: 2 + header_len..buf.len(),
            missing: payload_end - buf.len(),
            tail: layout.wire_len() - payload_end,
            header,
            header_len,
        })
    }

    /// The FPDU has been read whole and its payload is in place. `buf` is the buffer as it was given
    /// to [`direct`](Self::direct).
    pub fn direct_done<M: Memory>(
        &mut self,
        direct: &Direct,
        buf: &[u8],
        memory: &mut M,
        now: Instant,
    ) {
        let Some(link) = &mut self.link else { return };
        let Some(layout) = link.deframer.peek(buf) else {
            return;
        };
        link.deframer.skip(&layout);
        let len = layout.ulpdu_len() as u32 - direct.header_len as u32;
        self.stats.fpdus_received += 1;
        self.reminder.stop();
        self.stats.payload_direct += direct.missing as u64;
        self.stats.payload_copied += direct.buffered.len() as u64;
        if let Err(error) = link.endpoint.deliver(&direct.header, len, &[], memory) {
            self.fail(error.into(), &buf[2..], layout.ulpdu_len() as u16, now);
        }
    }
}

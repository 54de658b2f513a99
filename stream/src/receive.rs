//! From octets to placements and deliveries.

use std::time::Instant;

use uwarp_ddp::{Header, UNTAGGED_LEN};
use uwarp_mpa::{Deframed, Fpdu, LlpErrorCode, Rtr};
use uwarp_rdmap::header::Control;
use uwarp_rdmap::terminate::TERMINATE_MAX;
use uwarp_rdmap::{Notice, Opcode, Target};

use crate::connection::{Connection, Link, Receiving, Role, Sending};
use crate::fault::Fault;
use crate::memory::Memory;

/// What [`Connection::receive`] made of its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Octets from the start of the buffer that are done with.
    pub consumed: usize,
    /// Octets that must stand behind these before the next call makes sense. While the connection
    /// starts, a driver must not read more than this: what follows a rejecting Reply belongs to the
    /// application.
    pub need: usize,
}

/// The DDP header and, of a control message, the whole segment.
type Head = [u8; HEAD_LEN];

const HEAD_LEN: usize = UNTAGGED_LEN + TERMINATE_MAX;

impl Connection {
    /// Takes octets that the peer sent: `buf` holds all that have been read and not yet consumed,
    /// in order. Every whole FPDU in it is checked, placed through `memory` and delivered.
    ///
    /// A peer's fault is not an error of this call: it ends the connection, which the events tell.
    pub fn receive<M: Memory>(&mut self, buf: &[u8], memory: &mut M, now: Instant) -> Received {
        let mut consumed = 0;
        loop {
            let rest = &buf[consumed..];
            let (used, need) = match self.receiving {
                Receiving::Startup => self.receive_startup(rest, now),
                Receiving::Open => self.receive_fpdu(rest, memory, now),
                Receiving::Ended | Receiving::Discarding => {
                    return Received {
                        consumed: buf.len(),
                        need: 1,
                    };
                }
            };
            consumed += used;
            if used == 0 {
                return Received { consumed, need };
            }
        }
    }

    /// One FPDU at the start of `buf`. Returns the octets used (0 if it is not whole) and the
    /// octets that it needs.
    fn receive_fpdu<M: Memory>(
        &mut self,
        buf: &[u8],
        memory: &mut M,
        now: Instant,
    ) -> (usize, usize) {
        let Some(link) = &mut self.link else {
            return (0, 0);
        };
        let fpdu = match link.deframer.next(buf) {
            Ok(Deframed::Fpdu(fpdu)) => fpdu,
            Ok(Deframed::Need(need)) => return (0, need),
            Err(error) => {
                let announced = link.deframer.announced_len(buf).unwrap_or_default();
                self.fail(error.into(), &[], announced, now);
                return (buf.len(), 0);
            }
        };
        link.deframer.consume(&fpdu);
        let mut head: Head = [0; HEAD_LEN];
        let head_len = fpdu.ulpdu_len().min(UNTAGGED_LEN);
        fpdu.copy_ulpdu(buf, 0..head_len, &mut head[..head_len]);
        if let Err(fault) = self.take_fpdu(buf, &fpdu, &mut head, memory, now) {
            self.fail(fault, &head, fpdu.ulpdu_len() as u16, now);
        }
        (fpdu.wire_len(), 0)
    }

    fn take_fpdu<M: Memory>(
        &mut self,
        buf: &[u8],
        fpdu: &Fpdu,
        head: &mut Head,
        memory: &mut M,
        now: Instant,
    ) -> Result<(), Fault> {
        self.may_speak();
        if !self.config.remind_always {
            self.reminder.stop();
        }
        self.stats.fpdus_received += 1;
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let (header, header_len) = Header::parse(
            &head[..fpdu.ulpdu_len().min(UNTAGGED_LEN)],
            fpdu.ulpdu_len(),
        )?;
        let len = (fpdu.ulpdu_len() - header_len) as u32;
        if link.rtr_pending && self.role == Role::Responder {
            link.rtr_pending = false;
            if self.sending == Sending::Open {
                // Otherwise it is the deadline of closing.
                self.deadline = None;
            }
            if take_rtr(link, &header, len)? {
                return Ok(());
            }
        }
        let target = link.endpoint.place(&header, len)?;
        let payload = header_len..fpdu.ulpdu_len();
        let mut body = 0..0;
        match target {
            Target::None => {}
            Target::Tagged { stag, to, len } => {
                memory
                    .write(stag, to, len, fpdu.octets(buf, payload))
                    .map_err(Fault::Write)?;
                self.stats.payload_copied += u64::from(len);
            }
            Target::Work { slot, offset, len } => {
                memory.fill(slot, offset, fpdu.octets(buf, payload));
                self.stats.payload_copied += u64::from(len);
            }
            Target::Control => {
                body = header_len..header_len + payload.len().min(TERMINATE_MAX);
                fpdu.copy_ulpdu(buf, body.clone(), &mut head[body.clone()]);
            }
        }
        let notice = link.endpoint.deliver(&header, len, &head[body], memory)?;
        if let Some(Notice::Terminated(message)) = notice {
            self.terminated(&message, now);
        }
        Ok(())
    }

    /// A responder may speak once it has validated one FPDU (RFC 5044 s7.1.2 r4, U18), or when it has been
    /// told not to wait any longer.
    pub(crate) fn may_speak(&mut self) {
        self.unasked_at = None;
        self.sending = match self.sending {
            Sending::Silent => Sending::Open,
            Sending::SilentFinishing => Sending::Finishing,
            other => other,
        };
    }
}

/// The first FPDU of a peer-to-peer set-up must be an RTR that was agreed on (RFC 6581 s9.2, E18).
/// Returns whether it is dealt with already.
fn take_rtr(link: &mut Link, header: &Header, len: u32) -> Result<bool, Fault> {
    let accepted = link.agreement.rtr_accepted;
    let (Header::Tagged(uwarp_ddp::Tagged { ulp, .. })
    | Header::Untagged(uwarp_ddp::Untagged { ulp, .. })) = header;
    let mismatch = Fault::Setup(LlpErrorCode::NoMatchingRtr);
    match Control(*ulp).opcode() {
        Opcode::WRITE if len == 0 && accepted.contains(Rtr::Write) => Ok(false),
        // That the Read is empty shows when it is delivered; one that is not is served as well.
        Opcode::READ_REQUEST if accepted.contains(Rtr::Read) => Ok(false),
        Opcode::SEND if len == 0 && accepted.contains(Rtr::Send) => match header {
            Header::Untagged(header) if header.qn == 0 && header.msn == 1 && header.last => {
                link.endpoint.skip_rtr_send();
                Ok(true)
            }
            _ => Err(mismatch),
        },
        // The initiator's way to say that it cannot go on (E12, E18).
        Opcode::TERMINATE => Ok(false),
        _ => Err(mismatch),
    }
}

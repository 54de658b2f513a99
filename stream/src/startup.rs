//! Setting a connection up: frames in both directions, the decision, the terms (RFC 5044 s7.1,
//! RFC 6581).

use std::time::Instant;

use uwarp_ddp::Stag;
use uwarp_mpa::negotiate::{self, Agreement, Conclusion, PeerRequest};
use uwarp_mpa::startup::HEADER_LEN;
use uwarp_mpa::{
    Frame, FrameKind, LlpErrorCode, LocalError, Progress, RtrSet, StartupError, StartupReader,
};
use uwarp_rdmap::{Layer, Terminate, TerminateCode};

use crate::config::Config;
use crate::connection::{Connection, Receiving, Role, Sending};
use crate::event::{End, Established, Event};
use crate::fault::Fault;

/// A Request could not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// There is no Request that waits for an answer.
    #[error("there is no Request that waits for an answer")]
    NoRequest,
    /// The answer cannot be put into a Reply.
    #[error(transparent)]
    Local(#[from] LocalError),
}

/// How far the startup frames have come.
#[derive(Debug)]
pub(crate) enum Startup {
    /// The peer's frame is being read, and at least `need` more octets of it are to come.
    Reading { reader: StartupReader, need: usize },
    /// The application has the Request and decides.
    Deciding(PeerRequest),
    /// Nothing more is expected.
    Done,
}

impl Startup {
    fn reading(kind: FrameKind) -> Self {
        Self::Reading {
            reader: StartupReader::new(kind),
            need: HEADER_LEN,
        }
    }
}

impl Connection {
    /// A connection that sends the Request.
    ///
    /// `sink_stag` is an unpredictable STag that names the sinks of this connection's RDMA Reads.
    ///
    /// # Errors
    /// When `private_data` or the policy cannot be put into a Request.
    pub fn initiator(
        config: Config,
        private_data: &[u8],
        sink_stag: Stag,
        now: Instant,
    ) -> Result<Self, LocalError> {
        let request = negotiate::request(&config.policy, private_data)?.encode()?;
        let startup = Startup::reading(FrameKind::Reply);
        let mut connection = Self::new(Role::Initiator, config, sink_stag, startup, now);
        connection.frame = Some(request);
        Ok(connection)
    }

    /// A connection that waits for the Request.
    #[must_use]
    pub fn responder(config: Config, sink_stag: Stag, now: Instant) -> Self {
        let startup = Startup::reading(FrameKind::Request);
        Self::new(Role::Responder, config, sink_stag, startup, now)
    }

    /// Accepts the Request that [`Event::Request`] told of.
    ///
    /// From now on FPDUs are received; they are sent from the first valid FPDU of the peer's on
    /// (RFC 5044 s7.1.2 r4, U18).
    ///
    /// # Errors
    /// When `private_data` is too long, or there is no Request to accept.
    pub fn accept(&mut self, private_data: &[u8], now: Instant) -> Result<(), AnswerError> {
        let request = self.undecided()?.clone();
        let (reply, agreement) = negotiate::accept(&self.config.policy, &request, private_data)?;
        self.frame = Some(reply.encode()?);
        let established = Established {
            agreement,
            private_data: request.private_data,
        };
        // An application that speaks first depends on the RTR frame; without peer-to-peer mode the
        // initiator may take as long as it likes.
        self.deadline = agreement
            .peer_to_peer
            .then(|| now.checked_add(self.config.startup_timeout))
            .flatten();
        self.unasked_at = (self.config.speak_unasked)
            .filter(|_| !agreement.peer_to_peer)
            .and_then(|pause| now.checked_add(pause));
        self.open_link(agreement);
        self.startup = Startup::Done;
        self.receiving = Receiving::Open;
        self.sending = Sending::Silent;
        self.events.push_back(Event::Established(established));
        Ok(())
    }

    /// Rejects the Request that [`Event::Request`] told of. `required_ord` tells the peer the ORD
    /// that our side needs, if that is the reason (RFC 6581 s9.1, E10).
    ///
    /// When the Reply has been written, [`Event::Rejected`] follows and the TCP connection is the
    /// application's again (RFC 5044 s7.1.2 r2, U13).
    ///
    /// # Errors
    /// When `private_data` is too long, or there is no Request to reject.
    pub fn reject(
        &mut self,
        private_data: &[u8],
        required_ord: Option<u16>,
    ) -> Result<(), AnswerError> {
        let request = self.undecided()?;
        let reply = negotiate::reject(&self.config.policy, request, private_data, required_ord)?;
        self.frame = Some(reply.encode()?);
        self.startup = Startup::Done;
        self.receiving = Receiving::Ended;
        self.verdict = Some(End::Aborted);
        Ok(())
    }

    /// The Request that waits for an answer. A connection that has ended while it waited, as one with
    /// octets behind its Request does (G13), has none.
    fn undecided(&self) -> Result<&PeerRequest, AnswerError> {
        match &self.startup {
            Startup::Deciding(request) if !self.over => Ok(request),
            _ => Err(AnswerError::NoRequest),
        }
    }

    /// Whether our rejecting Reply has been written; then the connection is over.
    pub(crate) fn settle_rejection(&mut self) {
        let rejecting = self.role == Role::Responder
            && self.link.is_none()
            && matches!(self.startup, Startup::Done)
            && self.frame.is_none();
        if rejecting && self.written == self.batched && !self.over {
            self.step_aside(Vec::new(), None, None);
        }
    }

    fn step_aside(
        &mut self,
        private_data: Vec<u8>,
        required_ord: Option<u16>,
        peer_ird: Option<u16>,
    ) {
        self.over = true;
        self.deadline = None;
        self.startup = Startup::Done;
        self.sending = Sending::Ended;
        self.receiving = Receiving::Ended;
        self.events.push_back(Event::Rejected {
            private_data,
            required_ord,
            peer_ird,
        });
    }

    /// Octets of startup frames. Returns how many were used, and how many more are wanted.
    pub(crate) fn receive_startup(&mut self, buf: &[u8], now: Instant) -> (usize, usize) {
        match &mut self.startup {
            Startup::Reading { reader, need } => match reader.read(buf) {
                Ok(Progress::Need(more)) => {
                    *need = more;
                    (buf.len(), more)
                }
                Ok(Progress::Frame { frame, consumed }) => {
                    match self.role {
                        Role::Initiator => self.take_reply(&frame, now),
                        Role::Responder => self.take_request(&frame, &buf[consumed..], now),
                    }
                    (consumed, 0)
                }
                Err(error) => {
                    self.fail(Fault::Startup(error), &[], 0, now);
                    (buf.len(), 0)
                }
            },
            // The initiator may not send before it has our Reply: what is here belongs to a frame
            // that lied about its length (U10, G13).
            Startup::Deciding(_) if !buf.is_empty() => {
                self.fail(Fault::Startup(StartupError::TrailingOctets), &[], 0, now);
                (buf.len(), 0)
            }
            Startup::Deciding(_) | Startup::Done => (0, 0),
        }
    }

    fn take_request(&mut self, frame: &Frame, rest: &[u8], now: Instant) {
        let request = match negotiate::examine_request(&self.config.policy, frame) {
            Ok(_) if !rest.is_empty() => {
                return self.fail(Fault::Startup(StartupError::TrailingOctets), &[], 0, now);
            }
            Ok(request) => request,
            Err(error) => return self.fail(Fault::Startup(error), &[], 0, now),
        };
        // From here on the application's own time limit counts.
        self.deadline = None;
        self.startup = Startup::Deciding(request.clone());
        self.events.push_back(Event::Request(request));
    }

    fn take_reply(&mut self, frame: &Frame, now: Instant) {
        match negotiate::conclude(&self.config.policy, frame) {
            Ok(Conclusion::Accepted {
                agreement,
                private_data,
            }) => {
                self.enter_initiator(agreement);
                self.events.push_back(Event::Established(Established {
                    agreement,
                    private_data,
                }));
            }
            Ok(Conclusion::Rejected {
                private_data,
                peer_ord,
                peer_ird,
            }) => self.step_aside(private_data, peer_ord, peer_ird),
            Ok(Conclusion::Abort {
                reason,
                crc,
                tx_markers,
                peer_ird,
                peer_ord,
                ..
            }) => {
                // The link serves to say the Terminate, and for nothing else.
                self.enter_initiator(Agreement {
                    revision: frame.revision,
                    enhanced: frame.enhanced,
                    crc,
                    tx_markers,
                    rx_markers: self.config.policy.markers,
                    ird: 0,
                    ord: 0,
                    peer_ird,
                    peer_ord,
                    peer_to_peer: false,
                    rtr: None,
                    rtr_accepted: RtrSet::NONE,
                });
                let terminate =
                    Terminate::bare(TerminateCode::new(Layer::Llp, 0, reason.code().code()));
                self.end_with(
                    Some(terminate),
                    End::Fault(Fault::Setup(reason.code())),
                    now,
                );
            }
            Err(error) => self.fail(Fault::Startup(error), &[], 0, now),
        }
    }

    fn enter_initiator(&mut self, agreement: Agreement) {
        self.open_link(agreement);
        self.startup = Startup::Done;
        self.receiving = Receiving::Open;
        self.sending = Sending::Open;
        self.deadline = None;
    }

    /// The peer cannot be served for a reason of our own (RFC 6581 s9.3, E20).
    pub fn local_failure(&mut self, now: Instant) {
        let terminate = Terminate::bare(TerminateCode::new(
            Layer::Llp,
            0,
            LlpErrorCode::LocalCatastrophic.code(),
        ));
        self.end_with(Some(terminate), End::Aborted, now);
    }
}

//! Everything a peer can do wrong, and the one table of Terminate codes.

use uwarp_ddp::{AccessError, DdpError, HeaderError};
use uwarp_mpa::{FpduError, LlpErrorCode, StartupError};
use uwarp_rdmap::{AtomicError, Layer, RdmapError, TerminateCode};

/// A rule that the peer broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its startup frame is improper; no Terminate is owed for that (RFC 5044 s8, F36).
    #[error("improper MPA startup frame: {0}")]
    Startup(#[from] StartupError),
    /// The set-up cannot be completed, for a reason that RFC 6581 s8 gives a code for.
    #[error("MPA set-up failed: {}", llp(*.0).meaning())]
    Setup(LlpErrorCode),
    /// An FPDU is invalid.
    #[error("{0}")]
    Fpdu(#[from] FpduError),
    /// A segment's DDP header is invalid.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// An RDMA Write went where it may not.
    #[error("RDMA Write refused: {0}")]
    Write(AccessError),
    /// A DDP or RDMAP rule was broken.
    #[error("{0}")]
    Rdmap(#[from] RdmapError),
}

/// Which headers a Terminate for a fault carries (RFC 5040 s4.8, Figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Headers {
    None,
    /// The length only: the segment is too short to have a DDP header.
    Length,
    Ddp,
    DdpAndRead,
}

const fn rdmap(etype: u8, code: u8) -> TerminateCode {
    TerminateCode::new(Layer::Rdmap, etype, code)
}

const fn ddp(etype: u8, code: u8) -> TerminateCode {
    TerminateCode::new(Layer::Ddp, etype, code)
}

const fn llp(code: LlpErrorCode) -> TerminateCode {
    TerminateCode::new(Layer::Llp, 0, code.code())
}

impl Fault {
    /// The code that describes the fault, whether or not a Terminate can be sent.
    #[must_use]
    pub fn code(&self) -> TerminateCode {
        self.verdict().0
    }

    /// The code and the headers of the Terminate; the codes are those of RFC 5040 s4.8,
    /// RFC 5041 s7.2, RFC 5044 s8 and RFC 6581 s8, and where these are silent the choices of
    /// `spec-notes/` (G1 to G10).
    pub(crate) fn verdict(&self) -> (TerminateCode, Headers) {
        match self {
            Self::Startup(_) => (llp(LlpErrorCode::StartupFrame), Headers::None),
            Self::Setup(code) => (llp(*code), Headers::None),
            // A ULPDU too long for its markers is as fatal to DDP as one that is too short (G2, G1).
            Self::Fpdu(error) => error.code().map_or((ddp(0, 0), Headers::Length), |code| {
                (llp(code), Headers::None)
            }),
            Self::Header(HeaderError::Short) => (ddp(0, 0), Headers::Length),
            Self::Header(HeaderError::Version { tagged: true }) => (ddp(1, 4), Headers::Ddp),
            Self::Header(HeaderError::Version { tagged: false }) => (ddp(2, 6), Headers::Ddp),
            Self::Write(error) => {
                let error = DdpError::from(*error);
                (ddp(error.etype(), error.code()), Headers::Ddp)
            }
            Self::Rdmap(error) => rdmap_verdict(error),
        }
    }
}

fn rdmap_verdict(error: &RdmapError) -> (TerminateCode, Headers) {
    match error {
        RdmapError::Ddp(error) => (ddp(error.etype(), error.code()), Headers::Ddp),
        RdmapError::Version(_) => (rdmap(2, 0x05), Headers::Ddp),
        RdmapError::UnexpectedOpcode(_)
        | RdmapError::UnsolicitedResponse
        | RdmapError::AtomicOperation(_)
        | RdmapError::AtomicMismatch => (rdmap(2, 0x06), Headers::Ddp),
        // Unlike a Read Request's, an Atomic Request's header is not copied (RFC 7306 s8.1, X15).
        RdmapError::AtomicTarget(AtomicError::Access(error)) => {
            (rdmap(1, protection(*error)), Headers::Ddp)
        }
        RdmapError::AtomicTarget(AtomicError::Misaligned) => (rdmap(2, 0x07), Headers::Ddp),
        RdmapError::MessageSize { .. } | RdmapError::BadTerminate => (rdmap(2, 0xff), Headers::Ddp),
        RdmapError::ReadSource(error) => (rdmap(1, protection(*error)), Headers::DdpAndRead),
        RdmapError::Invalidate(_) => (rdmap(1, 0x09), Headers::Ddp),
        RdmapError::ResponseMismatch => (ddp(1, 0x01), Headers::Ddp),
    }
}

/// The Remote Protection code of a refused Read (RFC 5040 s4.8).
const fn protection(error: AccessError) -> u8 {
    match error {
        AccessError::InvalidStag => 0x00,
        AccessError::Bounds => 0x01,
        AccessError::Rights => 0x02,
        AccessError::NotAssociated => 0x03,
        AccessError::Wrap => 0x04,
        AccessError::CannotInvalidate => 0x09,
    }
}

//! What is chosen for a connection before it begins.

use std::time::Duration;

use uwarp_mpa::Policy;

/// The settings of one connection.
#[derive(Clone, Debug)]
pub struct Config {
    /// What we ask of the peer and accept from it during set-up.
    pub policy: Policy,
    /// Posted Sends, Writes and Reads that may be incomplete at a time.
    pub send_queue: usize,
    /// Posted receive buffers that may be incomplete at a time.
    pub receive_queue: usize,
    /// Effective maximum segment size of the TCP connection in octets; the MULPDU follows from it
    /// (RFC 5044 s4.5, F28).
    pub emss: u32,
    /// How long the peer may take for its whole startup frame, and in a peer-to-peer set-up for
    /// its first FPDU (RFC 5044 s7.1.2 r10, U22).
    pub startup_timeout: Duration,
    /// How long closing may take: to send what is queued or the Terminate, and to see the peer's
    /// FIN.
    pub close_timeout: Duration,
    /// As responder without peer-to-peer mode: speak so long after the Reply though nothing has come from the
    /// initiator. RFC 5044 forbids it (s7.1.2 r4, U18); some applications cannot do without, and Linux's siw
    /// allows them to.
    pub speak_unasked: Option<Duration>,
    /// As initiator: send the reminders for a peer that may have overlooked what we sent first though it has been
    /// heard. For protocols whose responder speaks of itself, so that hearing it proves nothing.
    pub remind_always: bool,
}

impl Default for Config {
    /// The default policy, queues of 256, the TCP segment size of an Ethernet of 1,500 octets, 5 s
    /// to start and 5 s to close, and a responder that waits to be spoken to.
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            send_queue: 256,
            receive_queue: 256,
            emss: 1460,
            startup_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            speak_unasked: None,
            remind_always: false,
        }
    }
}

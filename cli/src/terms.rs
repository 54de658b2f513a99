//! The terms on which the command makes its connections.

use std::time::Duration;

use uwarp::{Domain, Established, Options};

/// What the user chose for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Want a CRC32c on every FPDU.
    pub(crate) crc: bool,
    /// Ask the peer for markers.
    pub(crate) markers: bool,
    /// How long the peer may be silent when it is its turn.
    pub(crate) patience: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            crc: true,
            markers: false,
            patience: Duration::from_secs(30),
        }
    }
}

impl Terms {
    /// The socket options for them.
    pub(crate) fn options(&self, domain: &Domain) -> Options {
        Options::new(domain)
            .crc(self.crc)
            .markers(self.markers)
            .startup_timeout(self.patience.min(STARTUP_MAX))
    }
}

/// How long a peer may take for its startup frame, at the most: it needs no disk for it.
const STARTUP_MAX: Duration = Duration::from_secs(5);

/// What both ends agreed, in words.
pub(crate) fn describe(established: &Established) -> String {
    let on = |on| if on { "on" } else { "off" };
    let agreement = &established.agreement;
    format!(
        "MPA revision {}, CRC {}, markers {} (sent) and {} (received), IRD {}, ORD {}",
        agreement.revision,
        on(agreement.crc),
        on(agreement.tx_markers),
        on(agreement.rx_markers),
        agreement.ird,
        agreement.ord
    )
}

//! The target as initiator of its own accord: we listen, its user makes it call.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use uwarp_mpa::{Frame, FrameKind};

use crate::conn::{Conn, Patience, Trouble};

/// How often something that should happen is looked for.
const GLANCE: Duration = Duration::from_millis(2);
/// Time for a command to end by itself once its connection is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where the target calls.
#[derive(Debug)]
pub(crate) struct Callers {
    listener: TcpListener,
    address: SocketAddr,
    /// What makes it call, to be run by the shell once for each case.
    command: Option<String>,
    /// How long a call may take to come.
    patience: Duration,
    /// How the last command died, if it did.
    death: Mutex<Option<String>>,
}

/// A command that is running; it is ended when the case is over.
#[derive(Debug)]
pub(crate) struct Running<'c> {
    child: Child,
    callers: &'c Callers,
}

impl Callers {
    pub(crate) fn listen(
        address: &str,
        command: Option<String>,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            command,
            patience,
            death: Mutex::new(None),
        })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection of the target's, and its Request.
    ///
    /// A target that calls in a loop may have given up connections that wait here; those are passed over.
    pub(crate) fn next(
        &self,
        case: &str,
        patience: Patience,
    ) -> Result<(Conn, Frame, Option<Running<'_>>), Trouble> {
        let mut running = self.start(case)?;
        let deadline = Instant::now() + self.patience;
        let mut last = "the target did not call".to_owned();
        while Instant::now() < deadline {
            match self.listener.accept() {
                Ok((stream, _)) => match take(stream, patience) {
                    Ok((conn, request)) => return Ok((conn, request, running)),
                    Err(why) => last = why,
                },
                Err(_) if running.as_mut().is_some_and(|running| running.failed()) => {
                    last = "the command that makes the target call has failed".to_owned();
                    break;
                }
                Err(_) => std::thread::sleep(GLANCE),
            }
        }
        Err(Trouble::Setup(last))
    }

    fn start(&self, case: &str) -> Result<Option<Running<'_>>, Trouble> {
        let Some(command) = &self.command else {
            return Ok(None);
        };
        let child = Command::new("sh")
            .args(["-c", command])
            .env("TORMENT_CASE", case)
            .env("TORMENT_ADDRESS", self.address.to_string())
            .env("TORMENT_PORT", self.address.port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| Trouble::Setup(format!("{command}: {error}")))?;
        Ok(Some(Running {
            child,
            callers: self,
        }))
    }

    /// How the command of the last case died, if a signal ended it.
    pub(crate) fn death(&self) -> Option<String> {
        self.death.lock().ok()?.take()
    }
}

/// The Request on a connection that is still there.
fn take(stream: TcpStream, patience: Patience) -> Result<(Conn, Frame), String> {
    let failed = |error: std::io::Error| error.to_string();
    stream.set_nonblocking(false).map_err(failed)?;
    let watch = stream.try_clone().map_err(failed)?;
    let mut conn = Conn::adopt(stream, patience).map_err(|trouble| trouble.to_string())?;
    let request = conn
        .frame(FrameKind::Request)
        .map_err(|ending| format!("no Request from the target: {ending:?}"))?;
    watch.set_nonblocking(true).map_err(failed)?;
    let gone = match watch.peek(&mut [0]) {
        Ok(waiting) => waiting == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    watch.set_nonblocking(false).map_err(failed)?;
    if gone {
        return Err("the target did not wait for the Reply".to_owned());
    }
    Ok((conn, request))
}

impl Running<'_> {
    /// Whether it has ended without success, so that no call is to be expected of it.
    fn failed(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(status)) if !status.success())
    }

    fn end(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + LAST_WORDS;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(GLANCE);
        }
        // It had its time; what it dies of now is our doing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        None
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // The shell tells of a signal that ended its child by 128 and more.
        let signal = self.end().and_then(|status| {
            let told = status.code().filter(|code| (129..160).contains(code));
            status.signal().or(told.map(|code| code - 128))
        });
        if let (Some(signal), Ok(mut death)) = (signal, self.callers.death.lock()) {
            *death = Some(format!("the initiator died of signal {signal}"));
        }
    }
}

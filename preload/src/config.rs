//! What the environment asks for.
//!
//! | variable | what |
//! |---|---|
//! | `UWARP_DDP` | connections that are begun in DDPMODE: `all`, or a list of ports, ranges of ports (`6000-6010`), addresses, and addresses with a port (`10.0.0.1:80`, `[::1]:80`), between commas |
//! | `UWARP_LISTEN` | local ports where accepted connections may be in DDPMODE: `all`, or a list of ports and ranges |
//! | `UWARP_FALLBACK` | `1`: what has been begun in DDPMODE at a peer that does not speak MPA is connected again as plain TCP |
//! | `UWARP_SERVER_FIRST_WAIT_MS` | how long the first write to an accepted connection waits for the peer's Request; 200 |
//! | `UWARP_CRC` | `0`: no CRC, if the peer agrees |
//! | `UWARP_STARTUP_TIMEOUT_MS` | how long the peer may take for the set-up; 60000, with `UWARP_FALLBACK` 5000. It begins when TCP is connected, and ends when the peer's program has accepted and reads |
//! | `UWARP_REPORT` | a file to which each process that had such connections adds a line at its end: how many came about as initiator, how many as responder, and how many turned out to be plain |
//! | `UWARP_EXIT_WAIT_MS` | how long a program's end waits for what it has written to be taken, and for the peers to close; 2000 |
//!
//! What cannot be read as that is told on standard error, and taken as not there.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// What the environment asked for when this process began.
#[derive(Debug)]
pub(crate) struct Config {
    connect: Vec<Rule>,
    listen: Vec<Rule>,
    pub(crate) fallback: bool,
    pub(crate) server_first_wait: Duration,
    pub(crate) crc: bool,
    pub(crate) startup_timeout: Duration,
    pub(crate) exit_wait: Duration,
    pub(crate) report: Option<PathBuf>,
}

/// One element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    All,
    Ports(u16, u16),
    Address(IpAddr),
    Exactly(SocketAddr),
}

impl Rule {
    fn read(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        if let Ok(port) = text.parse() {
            return Some(Self::Ports(port, port));
        }
        if let Some((first, last)) = text.split_once('-')
            && let (Ok(first), Ok(last)) = (first.parse(), last.parse())
        {
            return Some(Self::Ports(first, last));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        text.parse().ok().map(Self::Exactly)
    }

    fn list(name: &str, text: &str) -> Vec<Self> {
        let mut rules = Vec::new();
        for element in text.split(',').map(str::trim) {
            match Self::read(element) {
                Some(rule) => rules.push(rule),
                None if element.is_empty() => {}
                None => complain(name, element),
            }
        }
        rules
    }

    fn meets(self, address: &SocketAddr) -> bool {
        match self {
            Self::All => true,
            Self::Ports(first, last) => (first..=last).contains(&address.port()),
            Self::Address(ip) => ip == address.ip(),
            Self::Exactly(exactly) => exactly == *address,
        }
    }
}

fn complain(name: &str, text: &str) {
    eprintln!("uwarp: {name}: \"{text}\" is not understood, and left out");
}

impl Config {
    fn read(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let rules = |name| look_up(name).map_or_else(Vec::new, |text| Rule::list(name, &text));
        let milliseconds = |name, default| {
            let text = look_up(name);
            let number = text.as_ref().and_then(|text| {
                let number = text.trim().parse().ok();
                if number.is_none() {
                    complain(name, text);
                }
                number
            });
            Duration::from_millis(number.unwrap_or(default))
        };
        let fallback = look_up("UWARP_FALLBACK").is_some_and(|text| text.trim() == "1");
        let patience = if fallback { 5000 } else { 60_000 };
        Self {
            connect: rules("UWARP_DDP"),
            listen: rules("UWARP_LISTEN"),
            fallback,
            server_first_wait: milliseconds("UWARP_SERVER_FIRST_WAIT_MS", 200),
            crc: look_up("UWARP_CRC").is_none_or(|text| text.trim() != "0"),
            startup_timeout: milliseconds("UWARP_STARTUP_TIMEOUT_MS", patience),
            report: look_up("UWARP_REPORT").map(PathBuf::from),
            exit_wait: milliseconds("UWARP_EXIT_WAIT_MS", 2000),
        }
    }

    /// Whether a connection to this address is begun in DDPMODE.
    pub(crate) fn connects_to(&self, address: &SocketAddr) -> bool {
        self.connect.iter().any(|rule| rule.meets(address))
    }

    /// Whether connections accepted at this address may be in DDPMODE.
    pub(crate) fn listens_at(&self, address: &SocketAddr) -> bool {
        self.listen.iter().any(|rule| rule.meets(address))
    }

    /// Whether none is begun unless the program asks.
    pub(crate) fn connects_nowhere(&self) -> bool {
        self.connect.is_empty()
    }

    /// Whether accepted connections are plain unless the program asks.
    pub(crate) fn listens_nowhere(&self) -> bool {
        self.listen.is_empty()
    }
}

/// The configuration of this process.
pub(crate) fn get() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| Config::read(|name| std::env::var(name).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        Config::read(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn nothing_is_asked_for_by_default() {
        let config = config(&[]);
        assert!(config.connects_nowhere() && config.listens_nowhere());
        assert!(!config.connects_to(&at("127.0.0.1:80")));
        assert!(config.crc && !config.fallback);
        assert_eq!(config.server_first_wait, Duration::from_millis(200));
    }

    #[test]
    fn ports_ranges_and_addresses_are_understood_and_the_rest_left_out() {
        let list = "80, 6000-6002,10.0.0.1,10.0.0.2:5,[::1]:7,nonsense,,70000";
        let config = config(&[("UWARP_DDP", list), ("UWARP_CRC", "0")]);
        for meant in [
            "1.2.3.4:80",
            "[::1]:80",
            "1.2.3.4:6000",
            "1.2.3.4:6002",
            "10.0.0.1:1",
            "10.0.0.2:5",
            "[::1]:7",
        ] {
            assert!(config.connects_to(&at(meant)), "{meant}");
        }
        for other in ["1.2.3.4:81", "1.2.3.4:6003", "10.0.0.2:6", "[::2]:7"] {
            assert!(!config.connects_to(&at(other)), "{other}");
        }
        assert!(!config.crc);
    }

    #[test]
    fn all_is_all() {
        let config = config(&[("UWARP_LISTEN", "all"), ("UWARP_SERVER_FIRST_WAIT_MS", "x")]);
        assert!(config.listens_at(&at("[::]:1")));
        assert_eq!(config.server_first_wait, Duration::from_millis(200));
    }
}

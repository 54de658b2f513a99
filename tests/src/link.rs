//! One direction of a TCP connection: octets in order, cut and held up at random.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::SmallRng;

/// How a link treats its octets.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Longest time that an octet is on its way.
    pub delay: Duration,
    /// Octets that the link holds; a write beyond that is taken in part.
    pub window: usize,
    /// Most octets that one read or write moves.
    pub grain: usize,
}

impl Default for Weather {
    /// A few milliseconds, and no cuts to speak of.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(3),
            window: 1 << 20,
            grain: 1 << 16,
        }
    }
}

/// Octets that were written together. Read together with others or in parts, as the reader likes.
#[derive(Debug)]
struct Burst {
    arrives: Instant,
    octets: Vec<u8>,
    read: usize,
}

/// One direction of a TCP connection.
#[derive(Debug)]
pub struct Link {
    weather: Weather,
    bursts: VecDeque<Burst>,
    waiting: usize,
    /// Octets that the writer has handed over.
    accepted: u64,
    /// The writer's process ends after so many octets.
    lifetime: Option<u64>,
    finished: bool,
    reset: bool,
    /// Nobody reads any more: what is written vanishes.
    deaf: bool,
}

impl Link {
    /// A link in this weather.
    #[must_use]
    pub const fn new(weather: Weather) -> Self {
        Self {
            weather,
            bursts: VecDeque::new(),
            waiting: 0,
            accepted: 0,
            lifetime: None,
            finished: false,
            reset: false,
            deaf: false,
        }
    }

    /// Most octets that one write moves.
    #[must_use]
    pub const fn grain(&self) -> usize {
        self.weather.grain
    }

    /// Lets the writer write only so many octets.
    pub const fn limit(&mut self, octets: u64) {
        self.lifetime = Some(octets);
    }

    /// Whether the writer has come to its [`limit`](Self::limit).
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.lifetime.is_some_and(|limit| self.accepted >= limit)
    }

    /// Takes octets from the beginning of `octets` and tells how many.
    pub fn write(&mut self, octets: &[u8], now: Instant, rng: &mut SmallRng) -> usize {
        assert!(!self.finished, "nothing is written behind the FIN");
        let left = self
            .lifetime
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.accepted));
        let room =
            (self.weather.window - self.waiting).min(usize::try_from(left).unwrap_or(usize::MAX));
        let most = octets.len().min(room).min(self.weather.grain);
        if most == 0 {
            return 0;
        }
        let count = rng.random_range(1..=most);
        self.accepted += count as u64;
        if !self.deaf {
            let delay = rng.random_range(0..=self.weather.delay.as_micros() as u64);
            let arrives = now + Duration::from_micros(delay);
            let last = self.bursts.back().map_or(now, |burst| burst.arrives);
            self.bursts.push_back(Burst {
                arrives: arrives.max(last),
                octets: octets[..count].to_vec(),
                read: 0,
            });
            self.waiting += count;
        }
        count
    }

    /// Up to `most` octets that have arrived.
    pub fn read(&mut self, most: usize, now: Instant, rng: &mut SmallRng) -> Vec<u8> {
        let mut out = Vec::new();
        let most = most.min(self.weather.grain);
        if most == 0 {
            return out;
        }
        let count = rng.random_range(1..=most);
        while out.len() < count {
            let Some(burst) = self.bursts.front_mut().filter(|burst| burst.arrives <= now) else {
                break;
            };
            let end = burst.octets.len().min(burst.read + count - out.len());
            out.extend_from_slice(&burst.octets[burst.read..end]);
            burst.read = end;
            if burst.read == burst.octets.len() {
                self.bursts.pop_front();
            }
        }
        self.waiting -= out.len();
        out
    }

    /// The writer sends its FIN.
    pub const fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether the FIN has come, and everything before it.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished && self.bursts.is_empty()
    }

    /// Whether the FIN has been sent.
    #[must_use]
    pub const fn has_fin(&self) -> bool {
        self.finished
    }

    /// The connection is reset: what is on its way is lost.
    pub fn reset(&mut self) {
        self.reset = true;
        self.bursts.clear();
        self.waiting = 0;
    }

    /// Whether the connection has been reset.
    #[must_use]
    pub const fn is_reset(&self) -> bool {
        self.reset
    }

    /// The reader is gone.
    pub fn deafen(&mut self) {
        self.deaf = true;
        self.bursts.clear();
        self.waiting = 0;
    }

    /// When the next octets arrive that are not there yet.
    #[must_use]
    pub fn next_arrival(&self, now: Instant) -> Option<Instant> {
        let mut arrivals = self.bursts.iter().map(|burst| burst.arrives);
        arrivals.find(|arrives| *arrives > now)
    }
}

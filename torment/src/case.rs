//! A case: one rule, what is sent, what must come back, what must not happen.

use std::borrow::Cow;

use crate::bench::Bench;
use crate::conn::Trouble;
use crate::profile::{FavourKind, RegionKind};
use crate::seen::{Due, Seen};

/// What a target must offer for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// An address that takes connections; every case has it but those in which the target calls.
    Target,
    /// That the target calls us: by a favour, or of its user's own accord.
    Call,
    /// A region of this kind.
    Region(RegionKind),
    /// Posted receives of known number and length.
    Receives,
    /// Reads, and a region to read.
    Reads,
    /// A favour.
    Favour(FavourKind),
    /// Atomics.
    Atomics,
    /// Immediate Data.
    ImmediateData,
    /// A port that wants markers.
    Markers,
    /// A known time limit for startup frames.
    StartupTimeout,
}

impl Need {
    /// Why the case is skipped; `None` if the target offers it.
    fn missing(self, bench: &Bench) -> Option<String> {
        let profile = &bench.profile;
        let (met, what) = match self {
            Self::Target => {
                let why = "no target was given: only the cases in which it calls are played";
                return bench.address.is_none().then(|| why.to_owned());
            }
            Self::Call => {
                let met = bench.callers.is_some() || profile.favours.contains(&FavourKind::Call);
                let why = "the target does not call us: see --call-me";
                return (!met).then(|| why.to_owned());
            }
            Self::Region(kind) => (
                profile.regions.contains_key(&kind),
                format!("region '{kind}'"),
            ),
            Self::Receives => (
                profile.receives > 0 && profile.receive_len > 0,
                "posted receives".to_owned(),
            ),
            Self::Reads => (
                profile.ird > 0 && profile.readable().is_some(),
                "Reads of a region 'steady', 'wide' or 'open'".to_owned(),
            ),
            Self::Favour(kind) => (profile.favours.contains(&kind), format!("favour '{kind}'")),
            Self::Atomics => (profile.atomics, "Atomics".to_owned()),
            Self::ImmediateData => (profile.immediate_data, "Immediate Data".to_owned()),
            Self::Markers => (
                profile.markers_port.is_some(),
                "port that wants markers".to_owned(),
            ),
            Self::StartupTimeout => (
                profile.startup_timeout_ms.is_some(),
                "known startup timeout".to_owned(),
            ),
        };
        (!met).then(|| format!("the target's profile has no {what}"))
    }
}

type Play = Box<dyn Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync>;

/// One case.
pub(crate) struct Case {
    pub(crate) name: Cow<'static, str>,
    pub(crate) ids: &'static [&'static str],
    pub(crate) sends: Cow<'static, str>,
    pub(crate) due: Vec<Due>,
    pub(crate) guard: Option<RegionKind>,
    pub(crate) needs: Vec<Need>,
    pub(crate) play: Play,
}

impl Case {
    /// A case that ends in one of the answers `due`.
    pub(crate) fn new(
        name: impl Into<Cow<'static, str>>,
        ids: &'static [&'static str],
        sends: impl Into<Cow<'static, str>>,
        due: &[Due],
        play: impl Fn(&Bench) -> Result<Seen, Trouble> + Send + Sync + 'static,
    ) -> Self {
        let mut needs = vec![Need::Target];
        if due.contains(&Due::Works) {
            needs.push(Need::Reads);
        }
        Self {
            name: name.into(),
            ids,
            sends: sends.into(),
            due: due.to_vec(),
            guard: None,
            needs,
            play: Box::new(play),
        }
    }

    /// Nothing may change in this region, which is looked at if the target lets it be read.
    pub(crate) fn guarding(mut self, kind: RegionKind) -> Self {
        self.guard = Some(kind);
        self
    }

    /// What the target must offer.
    pub(crate) fn needs(mut self, needs: impl IntoIterator<Item = Need>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// A region that it must offer.
    pub(crate) fn on(self, kind: RegionKind) -> Self {
        self.needs([Need::Region(kind)])
    }

    /// Why it cannot be played with this target.
    pub(crate) fn unplayable(&self, bench: &Bench) -> Option<String> {
        self.needs.iter().find_map(|need| need.missing(bench))
    }

    /// What must come back, in words: one of these.
    pub(crate) fn due_in_words(&self) -> Vec<String> {
        self.due.iter().map(Due::to_string).collect()
    }

    /// The same, for a column of a table.
    pub(crate) fn due_in_brief(&self) -> String {
        let words: Vec<String> = self.due.iter().map(Due::in_brief).collect();
        words.join(" | ")
    }
}

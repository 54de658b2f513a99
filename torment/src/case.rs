//! A case: one rule, what is sent, what must come back, what must not happen.

use std::borrow::Cow;

use crate::bench::Bench;
use crate::conn::Trouble;
use crate::profile::{Profile, RegionKind};
use crate::seen::{Due, Seen};

/// What a target must offer for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A region of this kind.
    Region(RegionKind),
    /// Posted receives of known number and length.
    Receives,
    /// Reads, and a steady region to read.
    Reads,
    /// The favours of a target of ours.
    Favours,
    /// A port that wants markers.
    Markers,
    /// A known time limit for startup frames.
    StartupTimeout,
}

impl Need {
    /// Why the case is skipped; `None` if the target offers it.
    fn missing(self, profile: &Profile) -> Option<String> {
        let has = |kind| profile.regions.contains_key(&kind);
        let (met, what) = match self {
            Self::Region(kind) => (has(kind), format!("region '{}'", kebab(kind))),
            Self::Receives => (
                profile.receives > 0 && profile.receive_len > 0,
                "posted receives".to_owned(),
            ),
            Self::Reads => (
                profile.ird > 0 && has(RegionKind::Steady),
                "Reads of a region 'steady'".to_owned(),
            ),
            Self::Favours => (profile.favours, "favours".to_owned()),
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

fn kebab(kind: RegionKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
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
        let needs = if due.contains(&Due::Works) {
            vec![Need::Reads]
        } else {
            Vec::new()
        };
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

    /// Nothing may change in this region.
    pub(crate) fn guarding(mut self, kind: RegionKind) -> Self {
        self.guard = Some(kind);
        self.needs([Need::Region(kind)])
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
    pub(crate) fn unplayable(&self, profile: &Profile) -> Option<String> {
        self.needs.iter().find_map(|need| need.missing(profile))
    }

    /// What must come back, in words.
    pub(crate) fn due_in_words(&self) -> String {
        let words: Vec<String> = self.due.iter().map(Due::to_string).collect();
        words.join(" or ")
    }
}

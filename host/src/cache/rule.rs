//! How long what a store says is kept.

use std::time::Duration;

/// Longer than this nothing is kept: a year.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// How long what a store says is kept.
///
/// A value is never given out when it is older than 1.1 times `ttl` and `stale` together, counted from
/// when the store was asked for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CacheRule {
    /// How long a value is good, give or take a tenth that is drawn for each, so that what is read
    /// at one time does not run out at one time.
    pub ttl: Duration,
    /// How long it is known that a secret does not exist, give or take a tenth; zero for not at all,
    /// as by default.
    pub negative_ttl: Duration,
    /// How long after its time a value is given out while the store cannot be reached, answers
    /// nothing in two seconds, or refuses because of too many requests; zero for not at all, as by
    /// default. Needs a tokio runtime with timers.
    pub stale: Duration,
}

impl CacheRule {
    /// Keeps values for so long, and nothing else; at most a year.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl: ttl.min(LONGEST),
            ..Self::default()
        }
    }

    /// Keeps for so long that a secret does not exist; at most a year.
    #[must_use]
    pub fn with_negative_ttl(mut self, negative_ttl: Duration) -> Self {
        self.negative_ttl = negative_ttl.min(LONGEST);
        self
    }

    /// Gives values out for so long after their time while the store cannot be reached; at most a
    /// year.
    #[must_use]
    pub fn with_stale(mut self, stale: Duration) -> Self {
        self.stale = stale.min(LONGEST);
        self
    }

    /// The same, where each time is one that can be reckoned with.
    pub(crate) fn bounded(self) -> Self {
        let Self {
            ttl,
            negative_ttl,
            stale,
        } = self;
        Self::new(ttl)
            .with_negative_ttl(negative_ttl)
            .with_stale(stale)
    }

    /// Whether anything is kept.
    pub(crate) fn keeps_anything(&self) -> bool {
        *self != Self::default()
    }
}

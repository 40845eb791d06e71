//! How often something is tried again, and after which pauses.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// The shortest pause: a policy without any would keep a core busy.
const SHORTEST: Duration = Duration::from_millis(1);
/// The first pause of those that grow, by how much they do, and how far chance moves them.
const FIRST: Duration = Duration::from_millis(500);
const GROWTH: f64 = 1.5;
const SPREAD: f64 = 0.5;

/// A retry policy, with Dapr's defaults.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Retry {
    pub(super) backoff: Backoff,
    /// How often it is tried again; without a bound where there is nothing.
    pub(super) most: Option<u64>,
}

/// The pauses between attempts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Backoff {
    Constant(Duration),
    Exponential {
        longest: Duration,
        /// How long after the first attempt it is given up.
        until: Duration,
    },
}

impl Retry {
    pub(super) const DEFAULT_PAUSE: Duration = Duration::from_secs(5);
    pub(super) const DEFAULT_LONGEST: Duration = Duration::from_mins(1);
    pub(super) const DEFAULT_UNTIL: Duration = Duration::from_mins(15);

    pub(super) fn constant(pause: Duration, most: u64) -> Self {
        Self {
            backoff: Backoff::Constant(pause),
            most: Some(most),
        }
    }

    /// The pauses from now on.
    pub(super) fn pauses(&self) -> Pauses {
        Pauses {
            retry: self.clone(),
            begin: Instant::now(),
            next: FIRST,
            taken: 0,
        }
    }
}

/// The pauses of one operation.
#[derive(Debug)]
pub(super) struct Pauses {
    retry: Retry,
    begin: Instant,
    next: Duration,
    taken: u64,
}

impl Pauses {
    /// How long to wait before the next attempt, if there is one.
    pub(super) fn take(&mut self) -> Option<Duration> {
        if self.retry.most.is_some_and(|most| self.taken >= most) {
            return None;
        }
        self.taken += 1;
        match self.retry.backoff {
            Backoff::Constant(pause) => Some(pause.max(SHORTEST)),
            Backoff::Exponential { longest, until } => {
                let pause = about(self.next, chance());
                // As the library that Dapr has: the longest bounds what comes after the first.
                self.next = self.next.mul_f64(GROWTH).min(longest);
                let is_over = self.begin.elapsed() + pause > until;
                (!is_over).then(|| pause.max(SHORTEST))
            }
        }
    }
}

/// A pause moved by chance, of which 0 is the least and 1 the most.
fn about(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * chance)
}

/// A number from 0 to 1. The standard library's seeds of hash maps are its only source of chance.
fn chance() -> f64 {
    let number = RandomState::new().hash_one(0_u8) % 10_000;
    f64::from(u32::try_from(number).unwrap_or_default()) / 10_000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Retry};

    #[tokio::test(start_paused = true)]
    async fn constant_pauses_end_after_their_number() {
        let mut pauses = Retry::constant(Duration::from_secs(2), 2).pauses();
        assert_eq!(pauses.take(), Some(Duration::from_secs(2)));
        assert_eq!(pauses.take(), Some(Duration::from_secs(2)));
        assert_eq!(pauses.take(), None);
        assert_eq!(Retry::constant(Duration::ZERO, 0).pauses().take(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn growing_pauses_are_bounded_and_end_after_their_time() {
        let retry = Retry {
            backoff: Backoff::Exponential {
                longest: Duration::from_secs(2),
                until: Duration::from_mins(15),
            },
            most: None,
        };
        let mut pauses = retry.pauses();
        for whole in [500, 750, 1_125, 1_687, 2_000, 2_000] {
            let pause = pauses.take().unwrap();
            let whole = Duration::from_millis(whole);
            assert!(
                pause >= whole / 2 && pause <= whole * 2,
                "{whole:?}: {pause:?}"
            );
            assert!(pause <= whole.mul_f64(1.51), "{whole:?}: {pause:?}");
        }
        tokio::time::advance(Duration::from_mins(15)).await;
        assert_eq!(pauses.take(), None);
    }
}

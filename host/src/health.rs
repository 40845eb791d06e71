//! How a store has answered so far. It is noted with each fetch, so without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Class;

/// How a store has answered since it was opened. What a [`Cache`](crate::Cache) answers is not among
/// it, since the store is not asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// How often it was asked.
    pub asked: u64,
    /// How often it could not answer. That a secret does not exist is an answer.
    pub failed: u64,
    /// How often nobody waited for its answer any more.
    pub abandoned: u64,
    /// How many answers are awaited now.
    pub under_way: u64,
    /// What came of it the last time.
    pub last: Option<LastAnswer>,
    /// What came of it when there was no answer for the last time.
    pub last_failure: Option<LastAnswer>,
}

/// What came of asking a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LastAnswer {
    /// How long ago that was.
    pub ago: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How it ended that a store was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It answered, be it that a secret does not exist.
    Answered,
    /// Nobody waited any longer.
    Abandoned,
    /// It could not answer.
    Failed(Class),
}

impl Outcome {
    /// `answered`, `abandoned` or the code of the class.
    pub fn code(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Abandoned => "abandoned",
            Self::Failed(class) => class.code(),
        }
    }

    /// As a number that is never 0.
    fn number(self) -> u64 {
        match self {
            Self::Answered => 1,
            Self::Abandoned => 2,
            Self::Failed(class) => 3 + class as u64,
        }
    }

    fn of_number(number: u64) -> Option<Self> {
        match number {
            0 => None,
            1 => Some(Self::Answered),
            2 => Some(Self::Abandoned),
            number => {
                let index = usize::try_from(number - 3).ok()?;
                Class::ALL.get(index).copied().map(Self::Failed)
            }
        }
    }
}

/// Takes note of how a store answers.
#[derive(Debug)]
pub(crate) struct Recorder {
    begin: Instant,
    asked: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    /// When and how it ended last: milliseconds since the beginning, and in the lowest byte a number.
    last: AtomicU64,
    last_failure: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        let none = AtomicU64::default;
        Self {
            begin: Instant::now(),
            asked: none(),
            answered: none(),
            failed: none(),
            abandoned: none(),
            last: none(),
            last_failure: none(),
        }
    }
}

impl Recorder {
    /// The store is being asked, since this time.
    pub(crate) fn ask(&self, begin: Instant) -> Asking<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Asking {
            recorder: self,
            begin,
            is_over: false,
        }
    }

    fn end(&self, at: Instant, outcome: Outcome) {
        let count = match outcome {
            Outcome::Answered => &self.answered,
            Outcome::Abandoned => &self.abandoned,
            Outcome::Failed(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let millis = at.saturating_duration_since(self.begin).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let last = (millis << 8) | outcome.number();
        self.last.store(last, Ordering::Relaxed);
        if outcome != Outcome::Answered {
            self.last_failure.store(last, Ordering::Relaxed);
        }
    }

    /// How it has answered so far.
    pub(crate) fn health(&self) -> Health {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // What is counted last is read first, so that nothing ends before it has begun.
        let ended = [&self.answered, &self.failed, &self.abandoned].map(count);
        let asked = count(&self.asked);
        let age = self.begin.elapsed();
        let last = |last: &AtomicU64| {
            let last = count(last);
            let outcome = Outcome::of_number(last & 0xff)?;
            let ago = age.saturating_sub(Duration::from_millis(last >> 8));
            Some(LastAnswer { ago, outcome })
        };
        let [_, failed, abandoned] = ended;
        Health {
            asked,
            failed,
            abandoned,
            under_way: asked.saturating_sub(ended.iter().sum()),
            last: last(&self.last),
            last_failure: last(&self.last_failure),
        }
    }
}

/// A store that is being asked. Dropped before it has ended, it was given up.
pub(crate) struct Asking<'r> {
    recorder: &'r Recorder,
    pub(crate) begin: Instant,
    is_over: bool,
}

impl Asking<'_> {
    /// It has ended, after this time.
    pub(crate) fn ends(mut self, elapsed: Duration, failure: Option<Class>) {
        self.is_over = true;
        let outcome = failure.map_or(Outcome::Answered, Outcome::Failed);
        self.recorder.end(self.begin + elapsed, outcome);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.recorder.end(Instant::now(), Outcome::Abandoned);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{Outcome, Recorder};
    use crate::error::Class;

    #[test]
    fn each_class_has_a_number_of_its_own() {
        for &class in Class::ALL {
            let outcome = Outcome::Failed(class);
            assert_eq!(Outcome::of_number(outcome.number()), Some(outcome));
            assert!(outcome.number() < 0x100);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_and_the_last_failure_are_known_and_what_was_given_up() {
        let recorder = Recorder::default();
        assert_eq!(recorder.health().last, None);
        let second = Duration::from_secs(1);
        let failure = Some(Class::Unreachable);
        recorder.ask(Instant::now()).ends(Duration::ZERO, failure);
        advance(second).await;
        let slow = recorder.ask(Instant::now());
        recorder.ask(Instant::now()).ends(Duration::ZERO, None);
        advance(second).await;
        let health = recorder.health();
        assert_eq!((health.asked, health.failed, health.under_way), (3, 1, 1));
        let (last, failed) = (health.last.unwrap(), health.last_failure.unwrap());
        assert_eq!((last.ago, last.outcome), (second, Outcome::Answered));
        let outcome = Outcome::Failed(Class::Unreachable);
        assert_eq!((failed.ago, failed.outcome), (2 * second, outcome));
        drop(slow);
        let health = recorder.health();
        assert_eq!((health.abandoned, health.under_way), (1, 0));
        assert_eq!(health.last.unwrap().outcome, Outcome::Abandoned);
    }
}

//! What is done about one target: a timeout for each attempt, within a circuit breaker, within
//! retries, as Dapr nests them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::metrics::Counter;
use crate::error::Class;
use crate::resiliency::breaker::{Breaker, BreakerState, Refused};
use crate::resiliency::retry::{Pauses, Retry};
use crate::stores::StoreError;

/// What is done about one target.
#[derive(Debug)]
pub(crate) struct Policy {
    /// What it is about, as Dapr writes it.
    pub(super) name: String,
    pub(super) timeout: Option<Duration>,
    pub(super) retry: Option<Retry>,
    pub(super) breaker: Option<Arc<Breaker>>,
    /// What is counted of it, if anything is.
    pub(super) counters: Option<PolicyCounters>,
}

/// What is counted of a policy, for each part that it has.
#[derive(Debug)]
pub(crate) struct PolicyCounters {
    pub(crate) timeout: Option<Counters>,
    pub(crate) retry: Option<Counters>,
    /// For each state, in their order.
    pub(crate) breaker: Option<[Counters; 3]>,
}

/// How often a part was gone by, and how often it did something.
type Counters = [Arc<Counter>; 2];

/// Why an attempt has no outcome of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cut {
    TimedOut,
    /// The breaker let nothing pass.
    Refused(Refused),
}

impl Cut {
    /// In Dapr's words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::TimedOut => "context deadline exceeded",
            Self::Refused(Refused::Open) => "circuit breaker is open",
            Self::Refused(Refused::TooMany) => "too many requests",
        }
    }
}

impl From<Cut> for StoreError {
    fn from(cut: Cut) -> Self {
        let class = match cut {
            Cut::TimedOut => Class::TimedOut,
            Cut::Refused(_) => Class::CircuitOpen,
        };
        Self::new(class, cut.text())
    }
}

impl Policy {
    /// The circuit breaker, if there is one.
    pub(crate) fn breaker(&self) -> Option<&Breaker> {
        self.breaker.as_deref()
    }

    /// Asks a store, and asks it again where it fails to answer, until somebody no longer wants the
    /// answer. What it answers, be it that there is nothing or that it may not, is its answer.
    pub(crate) async fn ask<T, F>(
        self: &Arc<Self>,
        until: Option<Instant>,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut execution = Execution::begin(Arc::clone(self), until);
        loop {
            let has_failed = |error: &StoreError| error.class.retry_helps();
            let (error, is_over) = match execution.attempt(attempt(), has_failed).await {
                Ok(Err(error)) if has_failed(&error) => (error, false),
                Ok(answer) => {
                    if answer.is_ok() {
                        execution.succeeded();
                    }
                    return answer;
                }
                Err(cut) => (cut.into(), cut != Cut::TimedOut),
            };
            let Some(pause) = execution.pause().filter(|_| !is_over) else {
                return Err(error);
            };
            execution.note_retry(pause, error.class.code());
            tokio::time::sleep(pause).await;
        }
    }
}

/// One operation under a policy, however many attempts it takes.
#[derive(Debug)]
pub(crate) struct Execution {
    policy: Arc<Policy>,
    pauses: Option<Pauses>,
    until: Option<Instant>,
    retries: u64,
    is_cut: bool,
}

impl Execution {
    /// Begins an operation that is of no use after this time.
    pub(crate) fn begin(policy: Arc<Policy>, until: Option<Instant>) -> Self {
        policy.count_execution();
        Self {
            pauses: policy.retry.as_ref().map(Retry::pauses),
            policy,
            until,
            retries: 0,
            is_cut: false,
        }
    }

    /// Whether anything is tried again.
    pub(crate) fn has_retry(&self) -> bool {
        self.pauses.is_some()
    }

    /// Whether this is under that policy.
    pub(crate) fn is_under(&self, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.policy, policy)
    }

    /// Makes an attempt, where the breaker lets it pass, for as long as one may take.
    pub(crate) async fn attempt<T, E>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
        has_failed: impl Fn(&E) -> bool,
    ) -> Result<Result<T, E>, Cut> {
        let breaker = self.policy.breaker.as_ref();
        let pass = breaker.map(|breaker| breaker.enter(self.until));
        let pass = pass.transpose().map_err(Cut::Refused)?;
        let ended = match self.policy.timeout {
            None => Ok(work.await),
            Some(timeout) => {
                let ended = tokio::time::timeout(timeout, work).await;
                ended.map_err(|_| Cut::TimedOut)
            }
        };
        let is_failure = match &ended {
            Ok(Ok(_)) => false,
            Ok(Err(error)) => has_failed(error),
            Err(_) => true,
        };
        if let Some(state) = pass.and_then(|pass| pass.end(!is_failure)) {
            self.policy.count_breaker(state, ACTIVATED);
        }
        if ended.is_err() && !std::mem::replace(&mut self.is_cut, true) {
            self.policy
                .count(|counters| counters.timeout.as_ref(), ACTIVATED);
        }
        ended
    }

    /// How long to wait before the next attempt, if there is one in time.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let pause = self.pauses.as_mut()?.take()?;
        let is_late = |until| Instant::now().checked_add(pause) >= Some(until);
        (!self.until.is_some_and(is_late)).then_some(pause)
    }

    /// Says, once, that what has failed is tried again.
    pub(crate) fn note_retry(&mut self, pause: Duration, reason: &str) {
        self.retries += 1;
        if self.retries == 1 {
            self.policy
                .count(|counters| counters.retry.as_ref(), ACTIVATED);
            let name = &self.policy.name;
            tracing::warn!(
                reason,
                "Error processing operation {name}. Retrying in {pause:?}…"
            );
        }
    }

    /// Says that what had failed has succeeded.
    pub(crate) fn succeeded(&self) {
        let (name, attempts) = (&self.policy.name, self.retries + 1);
        if attempts > 1 {
            tracing::info!("Recovered processing operation {name} after {attempts} attempts");
        }
    }
}

/// Which of two counters: how often a part was gone by, or did something.
const EXECUTED: usize = 0;
const ACTIVATED: usize = 1;

impl Policy {
    fn count(&self, part: impl FnOnce(&PolicyCounters) -> Option<&Counters>, which: usize) {
        let counters = self.counters.as_ref().and_then(part);
        if let Some(counter) = counters.and_then(|counters| counters.get(which)) {
            counter.increment();
        }
    }

    fn count_execution(&self) {
        self.count(|counters| counters.timeout.as_ref(), EXECUTED);
        self.count(|counters| counters.retry.as_ref(), EXECUTED);
        if let Some(breaker) = &self.breaker {
            self.count_breaker(breaker.state(), EXECUTED);
        }
    }

    fn count_breaker(&self, state: BreakerState, which: usize) {
        let mut states = BreakerState::ALL.into_iter();
        let number = states.position(|other| other == state).unwrap_or_default();
        self.count(|counters| counters.breaker.as_ref()?.get(number), which);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Policy;
    use crate::error::Class;
    use crate::resiliency::breaker::{Breaker, BreakerRule};
    use crate::resiliency::retry::Retry;
    use crate::resiliency::trip::Trip;
    use crate::stores::StoreError;

    fn policy(timeout: Option<u64>, retries: Option<u64>, trip: Option<&str>) -> Arc<Policy> {
        let rule = |trip| BreakerRule {
            trip: Trip::parse(trip).unwrap(),
            ..BreakerRule::default()
        };
        let breaker = trip.map(|trip| Arc::new(Breaker::new("b".to_owned(), rule(trip))));
        Arc::new(Policy {
            name: "component[s] output".to_owned(),
            timeout: timeout.map(Duration::from_secs),
            retry: retries.map(|most| Retry::constant(Duration::from_secs(1), most)),
            breaker,
            counters: None,
        })
    }

    /// Asks something that fails so often, and how often it was asked.
    async fn ask(
        policy: &Arc<Policy>,
        until: Option<Instant>,
        failures: u32,
        class: Class,
    ) -> (Result<u32, Class>, u32) {
        let asked = AtomicU32::new(0);
        let attempt = || async {
            let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
            if number > failures {
                Ok(number)
            } else {
                Err(StoreError::new(class, "no"))
            }
        };
        let answer = policy.ask(until, attempt).await;
        let answer = answer.map_err(|error| error.class);
        (answer, asked.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_failed_to_answer_is_asked_again() {
        let policy = policy(None, Some(2), None);
        let begin = Instant::now();
        let answer = ask(&policy, None, 2, Class::Unreachable).await;
        assert_eq!(answer, (Ok(3), 3));
        assert_eq!(begin.elapsed(), Duration::from_secs(2));
        let answer = ask(&policy, None, 9, Class::Throttled).await;
        assert_eq!(answer, (Err(Class::Throttled), 3));
        for class in [
            Class::PolicyDenied,
            Class::BackendDenied,
            Class::SecretAbsent,
        ] {
            let answer = ask(&policy, None, 9, class).await;
            assert_eq!(answer, (Err(class), 1), "{class}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_tried_that_would_come_too_late() {
        let policy = policy(None, Some(1000), None);
        let until = Instant::now() + Duration::from_millis(2500);
        let answer = ask(&policy, Some(until), 9, Class::Unreachable).await;
        assert_eq!(answer, (Err(Class::Unreachable), 3));
        assert!(Instant::now() < until);
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_has_its_time() {
        let policy = policy(Some(5), Some(1), None);
        let begin = Instant::now();
        let answer: Result<(), _> = policy.ask(None, std::future::pending).await;
        let error = answer.unwrap_err();
        assert_eq!(error.class, Class::TimedOut);
        assert_eq!(error.message, "context deadline exceeded");
        assert_eq!(begin.elapsed(), Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_ends_retries_and_a_refusal_is_an_answer() {
        let policy = policy(None, Some(10), Some("consecutiveFailures >= 2"));
        for _ in 0..5 {
            let answer = ask(&policy, None, 9, Class::BackendDenied).await;
            assert_eq!(answer, (Err(Class::BackendDenied), 1));
        }
        let answer = ask(&policy, None, 9, Class::Unreachable).await;
        assert_eq!(answer, (Err(Class::CircuitOpen), 2));
        let answer = ask(&policy, None, 0, Class::Unreachable).await;
        assert_eq!(answer, (Err(Class::CircuitOpen), 0));
        tokio::time::advance(Duration::from_secs(61)).await;
        let answer = ask(&policy, None, 0, Class::Unreachable).await;
        assert_eq!(answer, (Ok(1), 1));
    }
}

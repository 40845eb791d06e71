//! A circuit breaker: after failures it lets nothing pass for a time, then a few to see whether
//! they succeed. It counts as the library that Dapr has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::resiliency::trip::Trip;

/// What a breaker goes by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BreakerRule {
    /// How many may pass while it is half open, and have to succeed one after the other.
    pub(super) most_requests: u32,
    /// After which time a closed one forgets what it has counted; never where there is nothing.
    pub(super) interval: Option<Duration>,
    /// How long it stays open.
    pub(super) open_for: Duration,
    /// When it opens.
    pub(super) trip: Trip,
}

impl Default for BreakerRule {
    fn default() -> Self {
        Self {
            most_requests: 1,
            interval: None,
            open_for: Duration::from_mins(1),
            trip: Trip::default(),
        }
    }
}

/// Whether requests pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BreakerState {
    Closed,
    HalfOpen,
    Open,
}

impl BreakerState {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// Dapr's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    Open,
    /// As many as may pass while it is half open are under way.
    TooMany,
}

/// What a breaker has counted since it was last in another state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u32,
    pub(super) successes: u32,
    pub(super) failures: u32,
    pub(super) consecutive_successes: u32,
    pub(super) consecutive_failures: u32,
}

/// A breaker, which lasts as long as its rule.
#[derive(Debug)]
pub(crate) struct Breaker {
    name: String,
    rule: BreakerRule,
    circuit: Mutex<Circuit>,
}

#[derive(Debug)]
struct Circuit {
    state: BreakerState,
    /// What began before the last change does not count.
    generation: u64,
    counts: Counts,
    expires: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(name: String, rule: BreakerRule) -> Self {
        let mut circuit = Circuit {
            state: BreakerState::Closed,
            generation: 0,
            counts: Counts::default(),
            expires: None,
        };
        circuit.begin(&rule, Instant::now());
        Self {
            name,
            rule,
            circuit: Mutex::new(circuit),
        }
    }

    /// Whether this is the breaker of a name and a rule.
    pub(super) fn is_of(&self, name: &str, rule: &BreakerRule) -> bool {
        self.name == name && self.rule == *rule
    }

    /// Its state now.
    pub(crate) fn state(&self) -> BreakerState {
        self.circuit().state
    }

    /// Lets a request pass, or not. One that is given up before this time counts for nothing; one
    /// that is given up later has failed.
    pub(super) fn enter(self: &Arc<Self>, until: Option<Instant>) -> Result<Pass, Refused> {
        let mut circuit = self.circuit();
        match circuit.state {
            BreakerState::Open => return Err(Refused::Open),
            BreakerState::HalfOpen if circuit.counts.requests >= self.rule.most_requests => {
                return Err(Refused::TooMany);
            }
            _ => {}
        }
        circuit.counts.requests = circuit.counts.requests.saturating_add(1);
        Ok(Pass {
            breaker: Arc::clone(self),
            generation: circuit.generation,
            until,
            is_ended: false,
        })
    }

    /// The circuit, as it is at this time.
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if circuit.expires.is_some_and(|expires| expires < now) {
            match circuit.state {
                BreakerState::Closed => circuit.begin(&self.rule, now),
                BreakerState::Open => self.change(&mut circuit, BreakerState::HalfOpen, now),
                BreakerState::HalfOpen => {}
            }
        }
        circuit
    }

    fn change(&self, circuit: &mut Circuit, state: BreakerState, now: Instant) {
        let (name, from, to) = (&self.name, circuit.state.name(), state.name());
        tracing::info!("Circuit breaker \"{name}\" changed state from {from} to {to}");
        circuit.state = state;
        circuit.begin(&self.rule, now);
    }

    /// Counts how a request ended; the new state where that changes it.
    fn end(&self, generation: u64, is_success: bool) -> Option<BreakerState> {
        let mut circuit = self.circuit();
        if circuit.generation != generation {
            return None;
        }
        let before = circuit.state;
        circuit.counts.add(is_success);
        let after = match (before, is_success) {
            (BreakerState::Closed, false) if self.rule.trip.is_met(&circuit.counts) => {
                BreakerState::Open
            }
            (BreakerState::HalfOpen, false) => BreakerState::Open,
            (BreakerState::HalfOpen, true)
                if circuit.counts.consecutive_successes >= self.rule.most_requests =>
            {
                BreakerState::Closed
            }
            _ => return None,
        };
        self.change(&mut circuit, after, Instant::now());
        Some(after)
    }

    /// Takes a request back of which nobody knows how it would have ended.
    fn withdraw(&self, generation: u64) {
        let mut circuit = self.circuit();
        if circuit.generation == generation {
            circuit.counts.requests = circuit.counts.requests.saturating_sub(1);
        }
    }
}

impl Circuit {
    fn begin(&mut self, rule: &BreakerRule, now: Instant) {
        self.generation += 1;
        self.counts = Counts::default();
        self.expires = match self.state {
            BreakerState::Closed => rule.interval.and_then(|interval| now.checked_add(interval)),
            BreakerState::Open => now.checked_add(rule.open_for),
            BreakerState::HalfOpen => None,
        };
    }
}

impl Counts {
    fn add(&mut self, is_success: bool) {
        let (sum, run, other) = if is_success {
            (
                &mut self.successes,
                &mut self.consecutive_successes,
                &mut self.consecutive_failures,
            )
        } else {
            (
                &mut self.failures,
                &mut self.consecutive_failures,
                &mut self.consecutive_successes,
            )
        };
        *sum = sum.saturating_add(1);
        *run = run.saturating_add(1);
        *other = 0;
    }
}

/// A request that a breaker has let pass.
#[derive(Debug)]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    generation: u64,
    until: Option<Instant>,
    is_ended: bool,
}

impl Pass {
    /// Says how it ended; the breaker's new state where that changes it.
    pub(super) fn end(mut self, is_success: bool) -> Option<BreakerState> {
        self.is_ended = true;
        self.breaker.end(self.generation, is_success)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        if self.until.is_some_and(|until| Instant::now() >= until) {
            self.breaker.end(self.generation, false);
        } else {
            self.breaker.withdraw(self.generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{Breaker, BreakerRule, BreakerState, Refused};
    use crate::resiliency::trip::Trip;

    fn breaker(rule: BreakerRule) -> Arc<Breaker> {
        Arc::new(Breaker::new("b".to_owned(), rule))
    }

    fn rule(trip: &str) -> BreakerRule {
        BreakerRule {
            trip: Trip::parse(trip).unwrap(),
            open_for: Duration::from_secs(10),
            ..BreakerRule::default()
        }
    }

    fn end(breaker: &Arc<Breaker>, is_success: bool) -> Option<BreakerState> {
        breaker.enter(None).unwrap().end(is_success)
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_lets_one_pass_and_closes() {
        let breaker = breaker(rule("consecutiveFailures >= 2"));
        assert_eq!(end(&breaker, false), None);
        assert_eq!(end(&breaker, true), None);
        assert_eq!(end(&breaker, false), None);
        assert_eq!(end(&breaker, false), Some(BreakerState::Open));
        assert_eq!(breaker.enter(None).unwrap_err(), Refused::Open);
        advance(Duration::from_secs(10) + Duration::from_millis(1)).await;
        let pass = breaker.enter(None).unwrap();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.enter(None).unwrap_err(), Refused::TooMany);
        assert_eq!(pass.end(false), Some(BreakerState::Open));
        advance(Duration::from_secs(11)).await;
        assert_eq!(end(&breaker, true), Some(BreakerState::Closed));
        assert_eq!(end(&breaker, false), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_one_forgets_and_what_began_before_does_not_count() {
        let mut rule = rule("totalFailures >= 2");
        rule.interval = Some(Duration::from_secs(5));
        let breaker = breaker(rule);
        assert_eq!(end(&breaker, false), None);
        let old = breaker.enter(None).unwrap();
        advance(Duration::from_secs(6)).await;
        assert_eq!(end(&breaker, false), None);
        assert_eq!(old.end(false), None);
        assert_eq!(end(&breaker, false), Some(BreakerState::Open));
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_is_more_than_five_in_a_row() {
        let breaker = breaker(BreakerRule::default());
        for _ in 0..5 {
            assert_eq!(end(&breaker, false), None);
        }
        assert_eq!(end(&breaker, false), Some(BreakerState::Open));
    }

    /// A caller that goes away is not the store's fault, and must not keep the breaker half open.
    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_counts_only_after_its_time() {
        let breaker = breaker(rule("requests >= 1"));
        assert_eq!(end(&breaker, false), Some(BreakerState::Open));
        advance(Duration::from_secs(11)).await;
        drop(breaker.enter(None).unwrap());
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let until = Instant::now() + Duration::from_secs(1);
        let pass = breaker.enter(Some(until)).unwrap();
        advance(Duration::from_secs(1)).await;
        drop(pass);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}

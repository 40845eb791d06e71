//! Policies of Resiliency: how often they were gone by and did something, and the states of breakers.

use std::sync::Arc;

use crate::api::metrics::family::{Family, Metric};
use crate::api::metrics::rule::LabelRule;
use crate::api::metrics::series::Counter;
use crate::api::metrics::{definitions, text};
use crate::resiliency::{BreakerState, Policies, PolicyCounters, Resiliency};

/// What is counted of policies.
#[derive(Debug)]
pub(crate) struct ResiliencyMetrics {
    app_id: String,
    loaded: Family<Counter>,
    executed: Family<Counter>,
    activated: Family<Counter>,
}

impl ResiliencyMetrics {
    pub(crate) fn new(app_id: &str, rules: &[LabelRule]) -> Self {
        Self {
            app_id: app_id.to_owned(),
            loaded: Family::counters(definitions::RESILIENCY_LOADED, rules),
            executed: Family::counters(definitions::RESILIENCY_COUNT, rules),
            activated: Family::counters(definitions::RESILIENCY_ACTIVATIONS, rules),
        }
    }

    /// Counts documents that were read.
    pub(crate) fn load(&self, resiliency: &Resiliency) {
        for (name, namespace) in resiliency.documents() {
            self.loaded
                .with(&[&self.app_id, name, namespace])
                .increment();
        }
    }

    /// What is counted of a target's policy, which has a timeout, retries and a breaker, or not.
    pub(crate) fn counters(
        &self,
        (name, namespace): (&str, &str),
        (direction, target): (&str, &str),
        has: [bool; 3],
    ) -> PolicyCounters {
        let [has_timeout, has_retry, has_breaker] = has;
        let both = |policy, status: &str| -> [Arc<Counter>; 2] {
            let app_id = self.app_id.as_str();
            let values = [app_id, direction, name, namespace, policy, status, target];
            [self.executed.with(&values), self.activated.with(&values)]
        };
        PolicyCounters {
            timeout: has_timeout.then(|| both("timeout", "")),
            retry: has_retry.then(|| both("retry", "")),
            breaker: has_breaker
                .then(|| BreakerState::ALL.map(|state| both("circuitbreaker", state.name()))),
        }
    }

    /// Writes the states of the breakers: as in Dapr one for each state, of which 1 is the one.
    pub(super) fn write_states(&self, into: &mut String, policies: &Policies) {
        let name = definitions::RESILIENCY_STATE;
        let help = "A resiliency policy's current CircuitBreakerState state. 0 is closed, 1 is half-open, 2 is open, and -1 is unknown.";
        let mut has_head = false;
        let (document, namespace) = policies.document();
        for (direction, target, breaker) in policies.breakers() {
            if !std::mem::replace(&mut has_head, true) {
                text::head(into, name, help, "gauge");
            }
            let now = breaker.state();
            let states = BreakerState::ALL.map(|state| (state.name(), u64::from(state == now)));
            for (status, number) in states.into_iter().chain([("unknown", 0)]) {
                let labels = [
                    ("app_id", self.app_id.as_str()),
                    ("flow_direction", direction),
                    ("name", document),
                    ("namespace", namespace),
                    ("policy", "circuitbreaker"),
                    ("status", status),
                    ("target", target.as_str()),
                ];
                text::sample(into, name, &text::labels(labels.into_iter()), number);
            }
        }
    }

    pub(crate) fn metrics(&self) -> [&dyn Metric; 3] {
        [&self.loaded, &self.executed, &self.activated]
    }
}

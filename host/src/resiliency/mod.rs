//! Dapr's Resiliency: timeouts, retries and circuit breakers for the stores that are asked, and for
//! the app that is told of configuration.
//!
//! A policy stands between the door and the store, behind policy and cache: what is denied, or is
//! known already, never meets it.

mod bound;
mod breaker;
mod codes;
mod definitions;
mod document;
mod duration;
mod fields;
mod place;
mod policies;
mod policy;
mod retry;
mod targets;
mod trip;

use std::sync::Arc;

pub(crate) use self::bound::Policies;
use self::breaker::Breaker;
pub(crate) use self::breaker::BreakerState;
use self::definitions::{Definitions, Flow};
use self::document::Read;
pub(crate) use self::policy::{Execution, Policy, PolicyCounters};
use crate::api::metrics::ResiliencyMetrics;
use crate::document::Document;
use crate::mode::Mode;
use crate::problem::Problem;

/// What Resiliency documents say. Cheap to clone.
///
/// ```
/// use keyref::api::Resiliency;
/// use keyref::{Document, Mode};
///
/// let text = "
/// apiVersion: dapr.io/v1alpha1
/// kind: Resiliency
/// metadata: {name: patience}
/// spec:
///   policies:
///     retries: {thrice: {policy: constant, duration: 200ms, maxRetries: 3}}
///   targets:
///     components: {vault: {outbound: {retry: thrice}}}
/// ";
/// let documents = [Document::new("resiliency.yaml", text)];
/// let (resiliency, problems) = Resiliency::read(&documents, Some("myapp"), Mode::Strict);
/// assert!(problems.is_empty() && !resiliency.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resiliency(Arc<Definitions>);

impl Resiliency {
    /// Reads the Resiliency documents among these; others are passed over. A document with `scopes`
    /// is for the apps that they name.
    ///
    /// What is wrong is returned as well, in Dapr mode as warnings: a document that cannot be read
    /// does not count.
    pub fn read(documents: &[Document], app_id: Option<&str>, mode: Mode) -> (Self, Vec<Problem>) {
        let mut read = Read::default();
        for document in documents {
            read.add(document, app_id, mode);
        }
        read.look_for_named(mode);
        read.definitions.without_effect.sort();
        read.definitions.without_effect.dedup();
        (Self(Arc::new(read.definitions)), read.problems)
    }

    /// Whether there is no such document.
    pub fn is_empty(&self) -> bool {
        self.0.documents.is_empty()
    }

    /// Targets that have no meaning here, such as `spec.targets.actors`.
    pub fn without_effect(&self) -> &[String] {
        &self.0.without_effect
    }

    /// The name and the namespace of each document.
    pub(crate) fn documents(&self) -> &[(String, String)] {
        &self.0.documents
    }

    /// The document that metrics name: as in Dapr, the last one.
    fn document(&self) -> (String, String) {
        self.documents().last().cloned().unwrap_or_default()
    }

    /// What is done about a store, if anything; with the breaker of before, where its rule is the same.
    fn policy(
        &self,
        store: &str,
        flow: Flow,
        before: Option<&Arc<Policy>>,
        metrics: Option<&ResiliencyMetrics>,
    ) -> Option<Policy> {
        let names = self.0.names(store, flow);
        let timeout = self.0.timeouts.get(&names.timeout).copied();
        let timeout = timeout.filter(|timeout| !timeout.is_zero());
        let retry = self.0.retry(&names.retry);
        let rule = self.0.breakers.get(&names.breaker);
        let breaker = rule.map(|rule| {
            let name = format!("{}-{store}", names.breaker);
            let known = before.and_then(|policy| policy.breaker.as_ref());
            let known = known
                .filter(|known| known.is_of(&name, rule))
                .map(Arc::clone);
            known.unwrap_or_else(|| Arc::new(Breaker::new(name, rule.clone())))
        });
        if timeout.is_none() && retry.is_none() && breaker.is_none() {
            return None;
        }
        let direction = flow.label();
        let (document, namespace) = self.document();
        let counters = metrics.map(|metrics| {
            let has = [timeout.is_some(), retry.is_some(), breaker.is_some()];
            let target = flow.target(store);
            metrics.counters((&document, &namespace), (direction, &target), has)
        });
        let operation = match flow {
            Flow::Secrets | Flow::Configuration => "output",
            Flow::Notification => "input",
        };
        Some(Policy {
            name: format!("component[{store}] {operation}"),
            timeout,
            retry,
            breaker,
            counters,
        })
    }
}

#[cfg(test)]
mod tests;

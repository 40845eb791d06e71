//! Who asks, for whom, and until when.

#[cfg(feature = "serve")]
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "serve")]
use crate::resiliency::Policy;
use crate::stores::StoreError;

/// What a call carries through the door, the stores and the observer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Context {
    /// Who asks, for the embedder's own records.
    pub caller: Option<String>,
    /// The app id that components are loaded for. Without one, `scopes` exclude nobody.
    pub app_id: Option<String>,
    /// The namespace that components are loaded for. Without one, none is excluded by it.
    pub namespace: Option<String>,
    /// When the answer is no longer wanted.
    pub deadline: Option<Instant>,
    /// How long stores may take for what a call refers to, where that is less than the deadline.
    pub fetch_time: Option<Duration>,
    /// What is done where the store fails to answer.
    #[cfg(feature = "serve")]
    pub(crate) policy: Option<Arc<Policy>>,
}

/// What is left of a call's time for its own work, at most: stores that say nothing take the rest.
const RESERVE: Duration = Duration::from_secs(1);

impl Context {
    /// A context that excludes nothing and never ends.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says who asks.
    #[must_use]
    pub fn with_caller(mut self, caller: impl Into<String>) -> Self {
        self.caller = Some(caller.into());
        self
    }

    /// Loads only components whose `scopes` name this app id, or nobody.
    #[must_use]
    pub fn with_app_id(mut self, app_id: impl Into<String>) -> Self {
        self.app_id = Some(app_id.into());
        self
    }

    /// Loads only components of this namespace, or of none.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Ends every wait that lasts longer than this from now, be it for a store or for a turn in the
    /// sandbox; never, where that is later than the clock can tell. Needs a tokio runtime with
    /// timers.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.deadline = Instant::now().checked_add(timeout);
        self
    }

    /// Lets stores take no longer than this for what a call refers to: what has been answered by then
    /// is placed, and the rest is a problem of its component.
    #[must_use]
    pub fn with_fetch_time(mut self, time: Duration) -> Self {
        self.fetch_time = Some(time);
        self
    }

    /// The same for asking stores, from now on: it ends so early that what was answered can still be
    /// placed before the deadline.
    pub(crate) fn asking(&self) -> Self {
        let mut asking = self.leaving(10, RESERVE);
        let bound = |time| Instant::now().checked_add(time);
        let bound = self.fetch_time.and_then(bound);
        asking.deadline = asking.deadline.into_iter().chain(bound).min();
        asking
    }

    /// The same, but ending earlier: by so many parts of the time that is left, and by no more than
    /// that.
    pub(crate) fn leaving(&self, parts: u32, most: Duration) -> Self {
        let earlier = |deadline: Instant| {
            let left = deadline.saturating_duration_since(Instant::now());
            deadline - (left / parts.max(1)).min(most)
        };
        Self {
            deadline: self.deadline.map(earlier),
            ..self.clone()
        }
    }

    /// Asks a store, as often as is to be done before that time.
    pub(crate) async fn ask<T, F>(
        &self,
        until: Option<Instant>,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        #[cfg(feature = "serve")]
        if let Some(policy) = &self.policy {
            return policy.ask(until, attempt).await;
        }
        let _ = until;
        attempt().await
    }
}

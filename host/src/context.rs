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
    /// How long to wait for a store each time that it is asked.
    pub patience: Option<Duration>,
    /// What is done where the store fails to answer.
    #[cfg(feature = "serve")]
    pub(crate) policy: Option<Arc<Policy>>,
}

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

    /// Waits for a store no longer than this each time that it is asked, so that one that does not
    /// answer leaves time for the others. Needs a tokio runtime with timers.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Until when a store is waited for that is asked now.
    pub(crate) fn until(&self) -> Option<Instant> {
        let patience = self.patience;
        let over = patience.and_then(|patience| Instant::now().checked_add(patience));
        self.deadline.into_iter().chain(over).min()
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

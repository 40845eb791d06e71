//! A store whose own settings come from secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::context::Context;
use crate::secret::Secret;
use crate::stores::{BulkRequest, SecretRequest, SecretStore, StoreError};

/// A store that does not show what is wrong, because its messages name its settings (a path, a
/// namespace), and those are values of secrets.
pub(crate) struct Discreet(pub(crate) Arc<dyn SecretStore>);

impl Discreet {
    /// The error without what it says.
    pub(crate) fn hide(error: &StoreError) -> StoreError {
        StoreError::new(error.class, "the store cannot be used as it is set up")
            .with_hint("what is wrong is not shown, because its settings come from a secret")
    }
}

#[async_trait]
impl SecretStore for Discreet {
    async fn get(
        &self,
        request: &SecretRequest,
        context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        self.0
            .get(request, context)
            .await
            .map_err(|error| Self::hide(&error))
    }

    async fn bulk(
        &self,
        request: &BulkRequest,
        context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        self.0
            .bulk(request, context)
            .await
            .map_err(|error| Self::hide(&error))
    }

    fn is_namespaced(&self) -> bool {
        self.0.is_namespaced()
    }

    fn answers_at_once(&self) -> bool {
        self.0.answers_at_once()
    }

    fn known_names(&self) -> Vec<&str> {
        self.0.known_names()
    }

    fn absence(&self, name: &str) -> String {
        self.0.absence(name)
    }

    fn watch(&self) -> Option<BoxStream<'static, String>> {
        self.0.watch()
    }
}

//! Secrets held in memory, for tests and examples.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::context::Context;
use crate::secret::Secret;
use crate::stores::{BulkRequest, SecretRequest, SecretStore, StoreError};

/// A store of secrets that it was made with.
///
/// ```
/// use keyref::stores::Memory;
///
/// let store = Memory::new().with("redis", [("password", "s3cr3t")]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<String, Secret>);

impl Memory {
    /// A store without secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secret with its keys and values.
    #[must_use]
    pub fn with<'a>(
        mut self,
        name: &str,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        self.0
            .insert(name.to_owned(), entries.into_iter().collect());
        self
    }
}

impl FromIterator<(String, Secret)> for Memory {
    fn from_iter<I: IntoIterator<Item = (String, Secret)>>(secrets: I) -> Self {
        Self(secrets.into_iter().collect())
    }
}

#[async_trait]
impl SecretStore for Memory {
    async fn get(
        &self,
        request: &SecretRequest,
        _context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        Ok(self.0.get(&request.name).cloned())
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Ok(self.0.clone())
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn known_names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

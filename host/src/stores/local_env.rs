//! `secretstores.local.env`: environment variables, each a secret with one key of its own name.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::context::Context;
use crate::env::{self, Environment};
use crate::secret::Secret;
use crate::stores::{BulkRequest, Registration, SecretRequest, SecretStore, StoreError};

pub(super) const REGISTRATION: Registration = Registration {
    kind: "secretstores.local.env",
    summary: "environment variables, with a prefix or without",
    argument: "prefix",
    argument_is_path: false,
    is_namespaced: false,
    files: |_| Vec::new(),
    build: |config| {
        let prefix = config.text("prefix")?.unwrap_or_default();
        let store = LocalEnv::new(prefix, config.environment.clone());
        Ok(Arc::new(LocalEnv {
            absent_is_empty: config.dapr_mode,
            ..store
        }))
    },
};

/// Environment variables that begin with a prefix, under their names without it.
///
/// As in Dapr, `APP_API_TOKEN` and names that begin with `DAPR_` (in any case, the prefix included)
/// do not exist here.
#[derive(Debug)]
pub struct LocalEnv {
    prefix: String,
    /// Dapr answers for a variable that is not set as if it were empty.
    absent_is_empty: bool,
    environment: Environment,
}

impl LocalEnv {
    /// A store of these variables.
    pub fn new(prefix: impl Into<String>, environment: Environment) -> Self {
        Self {
            prefix: prefix.into(),
            absent_is_empty: false,
            environment,
        }
    }
}

#[async_trait]
impl SecretStore for LocalEnv {
    async fn get(
        &self,
        request: &SecretRequest,
        _context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        let variable = format!("{}{}", self.prefix, request.name);
        let value = if env::is_refused(&variable) {
            tracing::warn!("access to this environment variable is forbidden");
            None
        } else {
            self.environment.get(&variable)
        };
        let value = value.or_else(|| self.absent_is_empty.then(|| "".into()));
        Ok(value.map(|value| [(request.name.as_str(), value)].into_iter().collect()))
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        let secrets = self
            .environment
            .list()
            .into_iter()
            .filter_map(|(variable, value)| {
                let name = variable
                    .strip_prefix(&self.prefix)
                    .filter(|name| !name.is_empty())?;
                let secret = || [(name, value)].into_iter().collect();
                (!env::is_refused(&variable)).then(|| (name.to_owned(), secret()))
            });
        Ok(secrets.collect())
    }

    fn answers_at_once(&self) -> bool {
        true
    }
}

//! Stores: what serves secrets under a name.
//!
//! A store of your own implements [`SecretStore`]. The kinds that documents can declare stand in
//! [`REGISTRY`], one file and one line each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::context::Context;
use crate::error::{Class, SecretError};
use crate::problem::{Problem, printable};
use crate::secret::Secret;
use crate::suggest;

mod config;
mod discreet;
#[cfg(feature = "kubernetes")]
pub(crate) mod kubernetes;
mod local_env;
#[cfg(feature = "local-file")]
mod local_file;
mod memory;
mod unopened;

pub use self::config::{Grants, StoreConfig};
pub(crate) use self::discreet::Discreet;
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::Kubernetes;
pub use self::local_env::LocalEnv;
#[cfg(feature = "local-file")]
pub use self::local_file::{LocalFile, LocalFileOptions};
pub use self::memory::Memory;
pub use self::unopened::Unopened;

/// Reads secrets.
///
/// Only keyref's own door calls these, after policy has been asked, and once for each secret
/// however many references name it. Implementations need no cache and no policy of their own.
///
/// Callers who ask for one secret at the same time share one fetch, which has the context of the
/// first of them, without its deadline: a store must not decide by the caller. One that answers at
/// once is asked by each of them.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// Reads one secret; `None` where it does not exist, which is not a failure.
    async fn get(
        &self,
        request: &SecretRequest,
        context: &Context,
    ) -> Result<Option<Secret>, StoreError>;

    /// Reads all secrets, by name.
    async fn bulk(
        &self,
        request: &BulkRequest,
        context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError>;

    /// Whether the store reads different secrets for different namespaces. Where it does not, it
    /// is never told one.
    fn is_namespaced(&self) -> bool {
        false
    }

    /// Whether it has its secrets at hand, so that no call waits for anything. Then callers who ask
    /// for one secret at the same time need not share a fetch.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// Names of secrets that have been read already, for "did you mean"; asks no backend.
    fn known_names(&self) -> Vec<&str> {
        Vec::new()
    }

    /// What the store says where a secret of this name does not exist: Dapr's text for its kind.
    fn absence(&self, name: &str) -> String {
        format!("secret {name} not found")
    }

    /// The names of secrets that change, as they change; `None` where the store cannot tell.
    fn watch(&self) -> Option<BoxStream<'static, String>> {
        None
    }
}

/// A secret to read.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct SecretRequest {
    /// The secret's name.
    pub name: String,
    /// The namespace, or empty for the store's own.
    pub namespace: String,
    /// What the store's kind understands beside the name, such as a `version_id`.
    pub options: Vec<(String, String)>,
}

impl SecretRequest {
    /// A request for a secret of the store's own namespace.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The same in a namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }
}

/// Secrets to read, all that there are.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BulkRequest {
    /// The namespace, or empty for the store's own.
    pub namespace: String,
    /// What the store's kind understands beside it.
    pub options: Vec<(String, String)>,
}

impl BulkRequest {
    /// A request for all secrets of a namespace; empty for the store's own.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            options: Vec::new(),
        }
    }
}

/// Why a store could not answer.
///
/// The message must not hold text of a backend, of a file or of another's parser: those can quote a
/// value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct StoreError {
    /// The class: [`Class::StoreMisconfigured`], [`Class::BackendDenied`], [`Class::Throttled`],
    /// [`Class::TimedOut`], [`Class::Unreachable`] or [`Class::Internal`].
    pub class: Class,
    /// What happened, in one line.
    pub message: String,
    /// What to do about it, or empty.
    pub hint: String,
    /// The property that is at fault, where it is one.
    pub property: Option<&'static str>,
}

impl StoreError {
    /// An error without a hint.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hint: String::new(),
            property: None,
        }
    }

    /// The store's settings are wrong.
    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Class::StoreMisconfigured, message)
    }

    /// The store cannot be opened yet because of this problem with what it refers to itself.
    pub fn waiting(problem: &Problem) -> Self {
        let reason = &problem.message;
        Self::new(problem.class, format!("it cannot be opened yet: {reason}"))
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same about a property.
    #[must_use]
    pub fn of_property(mut self, property: &'static str) -> Self {
        self.property = Some(property);
        self
    }
}

impl From<StoreError> for SecretError {
    fn from(error: StoreError) -> Self {
        Self::new(error.class, error.message).with_hint(error.hint)
    }
}

/// A kind of store that a document can declare.
#[derive(Debug)]
#[non_exhaustive]
pub struct Registration {
    /// The `spec.type`, such as `secretstores.local.file`.
    pub kind: &'static str,
    /// What it reads, in a few words.
    pub summary: &'static str,
    /// The property that the argument of `--store NAME=KIND:ARGUMENT` sets.
    pub argument: &'static str,
    /// Whether that property is the path of a file or folder.
    pub argument_is_path: bool,
    /// As [`SecretStore::is_namespaced`] says of each store of this kind.
    pub(crate) is_namespaced: bool,
    /// The files and folders that a store of these settings reads; they may not be readable.
    pub(crate) files: fn(&StoreConfig) -> Vec<PathBuf>,
    /// Makes a store from its settings, without a look at its secrets where that costs time.
    pub(crate) build: fn(&StoreConfig) -> Result<Arc<dyn SecretStore>, StoreError>,
}

/// The kinds that this build knows, sorted.
pub const REGISTRY: &[Registration] = &[
    #[cfg(feature = "kubernetes")]
    kubernetes::REGISTRATION,
    local_env::REGISTRATION,
    #[cfg(feature = "local-file")]
    local_file::REGISTRATION,
];

/// The name of Dapr's built-in store in Kubernetes.
pub const BUILTIN_KUBERNETES: &str = "kubernetes";

/// Opens a store of a known kind.
///
/// # Errors
/// Fails where the kind is unknown or its settings are wrong.
pub fn open(config: &StoreConfig) -> Result<Arc<dyn SecretStore>, StoreError> {
    (check_kind(&config.kind, &config.version)?.build)(config)
}

/// Refuses kinds and versions that this build does not know. As in Dapr, the kind matches in any
/// case after its `secretstores.`, and versions `v1`, `v0` and none are the same.
pub(crate) fn check_kind(kind: &str, version: &str) -> Result<&'static Registration, StoreError> {
    let Some(registration) = registration(kind) else {
        return Err(unknown_kind(kind));
    };
    if !["", "v0", "v1"]
        .iter()
        .any(|known| version.eq_ignore_ascii_case(known))
    {
        let message = format!(
            "store kind `{}` has no version `{}`",
            printable(kind),
            printable(version)
        );
        return Err(StoreError::misconfigured(message).with_hint("write `version: v1`"));
    }
    Ok(registration)
}

fn unknown_kind(kind: &str) -> StoreError {
    let known = REGISTRY.iter().map(|registration| registration.kind);
    StoreError::misconfigured(format!("unknown store kind `{}`", printable(kind)))
        .with_hint(suggest::among("known kinds", kind, known))
}

/// The registration of a kind.
pub fn registration(kind: &str) -> Option<&'static Registration> {
    kind.strip_prefix("secretstores.")?;
    REGISTRY
        .iter()
        .find(|registration| registration.kind.eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use super::REGISTRY;

    #[test]
    fn registry_is_sorted_and_unique() {
        assert!(REGISTRY.is_sorted_by(|a, b| a.kind < b.kind));
    }
}

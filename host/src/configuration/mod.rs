//! Configuration stores: what serves items that change, under a name.
//!
//! A store of your own implements [`ConfigurationStore`]. The kinds that documents can declare stand
//! in [`REGISTRY`], one file and one line each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::context::Context;
use crate::problem::printable;
use crate::stores::{StoreConfig, StoreError};
use crate::suggest;

#[cfg(any(
    feature = "configuration-postgresql",
    feature = "configuration-redis",
    feature = "kubernetes"
))]
mod hub;
mod known;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod local_file;
#[cfg(feature = "configuration-postgresql")]
mod postgresql;
#[cfg(any(
    feature = "configuration-postgresql",
    feature = "configuration-redis",
    feature = "kubernetes"
))]
mod property;
#[cfg(feature = "configuration-redis")]
mod redis;

pub(crate) use self::known::Known;
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::Kubernetes;
pub use self::local_file::LocalFile;
#[cfg(feature = "configuration-postgresql")]
pub use self::postgresql::Postgresql;
#[cfg(feature = "configuration-redis")]
pub use self::redis::Redis;

/// An item of configuration. Its value is not shown by `Debug`: people put secrets there, too.
#[derive(Clone, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Item {
    /// The value.
    pub value: String,
    /// What changes when the value does, or empty.
    pub version: String,
    /// What else the store says of it.
    pub metadata: BTreeMap<String, String>,
}

impl Item {
    /// An item without metadata.
    pub fn new(value: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            version: version.into(),
            metadata: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Items by key.
pub type Items = BTreeMap<String, Item>;

/// Items to read or to watch.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ItemsRequest {
    /// The keys; none for all.
    pub keys: Vec<String>,
    /// What the store's kind understands beside them.
    pub metadata: BTreeMap<String, String>,
}

impl ItemsRequest {
    /// A request for these keys; none for all.
    pub fn new(keys: Vec<String>, metadata: BTreeMap<String, String>) -> Self {
        Self { keys, metadata }
    }

    /// Whether a key is asked for.
    pub fn wants(&self, key: &str) -> bool {
        self.keys.is_empty() || self.keys.iter().any(|wanted| wanted == key)
    }
}

/// Reads items that change.
#[async_trait]
pub trait ConfigurationStore: Send + Sync + 'static {
    /// Reads items; keys that do not exist are left out.
    async fn get(&self, request: &ItemsRequest, context: &Context) -> Result<Items, StoreError>;

    /// The items as they are now, and as they are after each change. States that nobody has looked
    /// at in time may be passed over, the last one never; what was not asked for may be among them.
    async fn watch(
        &self,
        request: &ItemsRequest,
        context: &Context,
    ) -> Result<watch::Receiver<Arc<Items>>, StoreError>;

    /// Whether a subscriber is first told the items that are there.
    fn begins_with_all(&self) -> bool {
        false
    }

    /// Whether somebody subscribes, and changes are not heard of for now.
    fn is_deaf(&self) -> bool {
        false
    }

    /// Whether subscribers need not be told of an item that was the one and is the other now.
    fn is_same(&self, last: &Item, now: &Item) -> bool {
        last == now
    }

    /// What subscribers are told of an item that is no longer there, given what it was last.
    fn deletion(&self, _last: &Item) -> Item {
        Item::default()
    }
}

/// A kind of configuration store that a document can declare.
#[derive(Debug)]
#[non_exhaustive]
pub struct Registration {
    /// The `spec.type`, such as `configuration.local.file`.
    pub kind: &'static str,
    /// What it reads, in a few words.
    pub summary: &'static str,
    pub(crate) build: fn(&StoreConfig) -> Result<Arc<dyn ConfigurationStore>, StoreError>,
}

/// The kinds that this build knows, sorted.
pub const REGISTRY: &[Registration] = &[
    #[cfg(feature = "kubernetes")]
    kubernetes::REGISTRATION,
    local_file::REGISTRATION,
    #[cfg(feature = "configuration-postgresql")]
    postgresql::ALIAS,
    #[cfg(feature = "configuration-postgresql")]
    postgresql::REGISTRATION,
    #[cfg(feature = "configuration-redis")]
    redis::REGISTRATION,
];

/// Stands for a store that cannot be opened yet: each request fails.
#[derive(Clone, Debug)]
pub struct Unopened(StoreError);

impl Unopened {
    /// What each request fails with.
    pub fn because(reason: StoreError) -> Self {
        Self(reason)
    }
}

#[async_trait]
impl ConfigurationStore for Unopened {
    async fn get(&self, _request: &ItemsRequest, _context: &Context) -> Result<Items, StoreError> {
        Err(self.0.clone())
    }

    async fn watch(
        &self,
        _request: &ItemsRequest,
        _context: &Context,
    ) -> Result<watch::Receiver<Arc<Items>>, StoreError> {
        Err(self.0.clone())
    }
}

/// Whether a component of this type is a configuration store.
pub fn is_configuration(component_type: &str) -> bool {
    component_type.starts_with("configuration.")
}

/// Opens a store of a known kind. As in Dapr, the kind matches in any case after its
/// `configuration.`.
///
/// # Errors
/// Fails where the kind is unknown or its settings are wrong.
pub fn open(config: &StoreConfig) -> Result<Arc<dyn ConfigurationStore>, StoreError> {
    let kind = &config.kind;
    let mut known = REGISTRY.iter();
    let found = known.find(|registration| registration.kind.eq_ignore_ascii_case(kind));
    let Some(registration) = found.filter(|_| is_configuration(kind)) else {
        let kinds = REGISTRY.iter().map(|registration| registration.kind);
        let message = format!("unknown configuration store kind `{}`", printable(kind));
        let hint = suggest::among("known kinds", kind, kinds);
        return Err(StoreError::misconfigured(message).with_hint(hint));
    };
    (registration.build)(config)
}

#[cfg(test)]
mod tests {
    use super::{Item, REGISTRY, open};
    use crate::stores::StoreConfig;

    #[test]
    fn registry_is_sorted_and_unique() {
        assert!(REGISTRY.is_sorted_by(|a, b| a.kind < b.kind));
    }

    #[test]
    fn unknown_kinds_are_named() {
        let error = open(&StoreConfig::new("c", "configuration.local.fil"))
            .err()
            .unwrap();
        assert_eq!(
            error.message,
            "unknown configuration store kind `configuration.local.fil`"
        );
        assert!(
            error.hint.contains("configuration.local.file"),
            "{}",
            error.hint
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let item = Item::new("s3cr3t", "1");
        assert_eq!(format!("{item:?}"), r#"Item { version: "1", .. }"#);
    }
}

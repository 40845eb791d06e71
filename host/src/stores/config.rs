//! The settings of a store, and what they may reach.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::Environment;
use crate::secret::SecretValue;
use crate::stores::StoreError;

/// The settings of one store, from its component or from a command line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The store's name.
    pub name: String,
    /// Its kind, such as `secretstores.local.file`.
    pub kind: String,
    /// `spec.version`, or empty.
    pub version: String,
    /// Its properties, by name in lower case: Dapr matches them in any case.
    properties: BTreeMap<String, SecretValue>,
    /// The namespace that the resolver works for.
    pub namespace: Option<String>,
    /// Where environment variables are read.
    pub(crate) environment: Environment,
    /// Whether Dapr's own text is wanted where it differs from what was meant.
    pub dapr_mode: bool,
    /// What a document's own store may reach; nothing is withheld from an operator's.
    pub(crate) grants: Option<Arc<Grants>>,
}

impl StoreConfig {
    /// Settings without properties.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            version: String::new(),
            properties: BTreeMap::new(),
            namespace: None,
            environment: Environment::none(),
            dapr_mode: false,
            grants: None,
        }
    }

    /// Sets a property. The last of one name wins, as in Dapr.
    #[must_use]
    pub fn with_property(mut self, name: &str, value: impl Into<SecretValue>) -> Self {
        self.properties.insert(name.to_lowercase(), value.into());
        self
    }

    /// Reads environment variables through this.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Says that the settings stand in a document, which may reach no more than this.
    #[must_use]
    pub fn of_document(mut self, grants: Grants) -> Self {
        self.grants = Some(Arc::new(grants));
        self
    }

    /// A property as text; `None` where it is absent.
    ///
    /// # Errors
    /// Fails where the value is not text.
    pub fn text(&self, property: &str) -> Result<Option<&str>, StoreError> {
        // Settings of a store, such as a path, are read here by the store itself.
        self.properties
            .get(&property.to_lowercase())
            .map(|value| {
                value.reveal_text().map_err(|_| {
                    StoreError::misconfigured(format!("property `{property}` is not text"))
                })
            })
            .transpose()
    }

    /// A property that is true or false, by Dapr's rule: `y`, `yes`, `true`, `t`, `on` and `1` in
    /// any case are true, everything else is false.
    ///
    /// # Errors
    /// Fails where the value is not text.
    pub fn flag(&self, property: &str) -> Result<bool, StoreError> {
        let value = self
            .text(property)?
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        Ok(matches!(
            value.as_str(),
            "y" | "yes" | "true" | "t" | "on" | "1"
        ))
    }

    /// The path to read for a property that names one.
    ///
    /// # Errors
    /// Fails where a document names a path outside the folders that it was granted.
    pub fn readable_path(&self, path: &str) -> Result<PathBuf, StoreError> {
        let path = Path::new(path);
        let Some(grants) = &self.grants else {
            return Ok(path.to_owned());
        };
        grants.readable(path)
    }

    /// The files and folders that a store of these settings reads when it is opened or first asked,
    /// but for those that may not be read.
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(registration) = super::registration(&self.kind) else {
            return Vec::new();
        };
        let mut files = (registration.files)(self);
        files.retain(|path| match &self.grants {
            Some(grants) => grants.readable(path).is_ok(),
            None => true,
        });
        files
    }

    /// Whether a store that was opened with other settings is the one that these mean.
    pub fn is_as(&self, other: &Self) -> bool {
        let properties = self.properties.iter();
        // Compared with each other, and shown to nobody.
        let is_same = |((name, value), (other_name, other)): (
            (&String, &SecretValue),
            (&String, &SecretValue),
        )| { name == other_name && value.reveal() == other.reveal() };
        (&self.name, &self.kind, &self.version) == (&other.name, &other.kind, &other.version)
            && (&self.namespace, self.dapr_mode) == (&other.namespace, other.dapr_mode)
            && self.properties.len() == other.properties.len()
            && properties.zip(&other.properties).all(is_same)
    }

    /// Whether the settings stand in a document, and not on the operator's command line or in the
    /// embedder's code.
    pub fn is_from_document(&self) -> bool {
        self.grants.is_some()
    }

    /// What a document's settings may reach; `None` where nothing is withheld.
    pub fn grants(&self) -> Option<&Grants> {
        self.grants.as_deref()
    }
}

/// What stores that stand in documents may reach. Nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    kinds: BTreeSet<String>,
    folders: Vec<PathBuf>,
    any_folder: bool,
    hosts: BTreeSet<String>,
    any_host: bool,
    namespaces: BTreeSet<String>,
    any_namespace: bool,
}

impl Grants {
    /// Grants nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Grants every kind, folder, host and namespace: for documents that an operator trusts as much as a
    /// command line.
    pub fn all() -> Self {
        let mut grants = Self {
            any_folder: true,
            any_host: true,
            any_namespace: true,
            ..Self::default()
        };
        grants.kinds.extend(
            super::REGISTRY
                .iter()
                .map(|registration| registration.kind.to_owned()),
        );
        grants
    }

    /// Grants a kind, such as `secretstores.local.file`.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        self.kinds.insert(kind.to_lowercase());
        self
    }

    /// Grants files below a folder.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// Grants a host, by name or address, with any port.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.hosts.insert(host.to_lowercase());
        self
    }

    /// Grants a namespace, which a store may then take for its own.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespaces.insert(namespace.to_owned());
        self
    }

    /// Whether a kind is granted.
    pub fn allows_kind(&self, kind: &str) -> bool {
        self.kinds.contains(&kind.to_lowercase())
    }

    /// Whether a host is granted.
    pub fn allows_host(&self, host: &str) -> bool {
        self.any_host || self.hosts.contains(&host.to_lowercase())
    }

    /// Whether a namespace is granted.
    pub fn allows_namespace(&self, namespace: &str) -> bool {
        self.any_namespace || self.namespaces.contains(namespace)
    }

    /// The real path, where it is below a granted folder once links are followed.
    fn readable(&self, path: &Path) -> Result<PathBuf, StoreError> {
        if self.any_folder {
            return Ok(path.to_owned());
        }
        // One answer for what is absent and what is not granted, so that nothing can be probed.
        let denied = || {
            StoreError::misconfigured("the path is not in a folder that documents may read")
                .with_hint("grant its folder, or give the store itself")
        };
        let real = path.canonicalize().map_err(|_| denied())?;
        let granted = self
            .folders
            .iter()
            .filter_map(|folder| folder.canonicalize().ok())
            .any(|folder| real.starts_with(folder));
        if granted { Ok(real) } else { Err(denied()) }
    }
}

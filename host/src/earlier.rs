//! What is kept of stores that were opened earlier.

use std::collections::BTreeSet;

use crate::resolver::Resolver;
use crate::secrets::Secrets;
use crate::stores::StoreConfig;

/// A resolver whose stores need not be opened again: one that a document declares with the settings
/// that it was opened with is taken over as it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Earlier {
    resolver: Resolver,
    /// Stores that are opened again all the same: what they read has changed.
    pub renewed: BTreeSet<String>,
    /// Stores that are kept as they are, whatever their documents say now.
    pub kept: BTreeSet<String>,
}

impl Earlier {
    /// All stores of a resolver that documents declared.
    pub fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            renewed: BTreeSet::new(),
            kept: BTreeSet::new(),
        }
    }

    /// Takes a store over that is kept whatever is said of it; whether there is one.
    pub(crate) fn keeps(&self, name: &str, secrets: &Secrets) -> bool {
        self.kept.contains(name) && secrets.take_over(self.resolver.secrets(), name, None)
    }

    /// Takes over the store that was opened with these settings; whether there is one.
    pub(crate) fn has(&self, settings: &StoreConfig, secrets: &Secrets) -> bool {
        let name = &settings.name;
        let is_renewed = self.renewed.contains(name);
        !is_renewed && secrets.take_over(self.resolver.secrets(), name, Some(settings))
    }
}

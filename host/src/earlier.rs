//! What is kept of stores that were opened earlier.

use std::collections::BTreeSet;

use crate::resolver::Resolver;
use crate::secrets::Secrets;
use crate::stores::StoreConfig;

/// A resolver whose stores need not be opened again: one that a document declares, or that is given,
/// with the settings that it was opened with is taken over as it is.
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
    /// All stores of a resolver that were opened from their settings.
    pub fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            renewed: BTreeSet::new(),
            kept: BTreeSet::new(),
        }
    }

    /// Takes a store over that is kept whatever is said of it; whether there is one.
    pub(crate) fn keeps(&self, name: &str, secrets: &Secrets) -> bool {
        self.kept.contains(name) && self.take_over(name, secrets)
    }

    /// Takes over the store that was opened with these settings; whether there is one.
    pub(crate) fn has(&self, settings: &StoreConfig, secrets: &Secrets) -> bool {
        self.is_same(settings) && self.take_over(&settings.name, secrets)
    }

    /// Whether there is a store for these settings: one that is kept, or the same.
    pub(crate) fn offers(&self, settings: &StoreConfig) -> bool {
        let name = &settings.name;
        let is_kept = self.kept.contains(name) && self.secrets().has_opened(name, None);
        is_kept || self.is_same(settings)
    }

    /// Takes over the store of this name; whether there is one.
    pub(crate) fn take_over(&self, name: &str, secrets: &Secrets) -> bool {
        secrets.take_over(self.secrets(), name)
    }

    fn is_same(&self, settings: &StoreConfig) -> bool {
        let name = &settings.name;
        !self.renewed.contains(name) && self.secrets().has_opened(name, Some(settings))
    }

    fn secrets(&self) -> &Secrets {
        self.resolver.secrets()
    }
}

//! Stores that were opened from their settings, and the files that they were opened from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Secrets, read, write};
use crate::stamp::Stamps;
use crate::stores::{SecretStore, StoreConfig};

impl Secrets {
    /// Adds a store with what it was opened with.
    pub(crate) fn insert_opened(&self, settings: StoreConfig, store: Arc<dyn SecretStore>) {
        self.insert_with(
            settings.name.clone(),
            store,
            Some(Arc::new(settings)),
            false,
        );
    }

    /// Whether there is a store that was opened with these settings, or with any.
    pub(crate) fn has_opened(&self, name: &str, settings: Option<&StoreConfig>) -> bool {
        let stores = read(&self.door.stores);
        let opened = stores.get(name).and_then(|named| named.settings.as_ref());
        opened.is_some_and(|opened| settings.is_none_or(|settings| settings.is_as(opened)))
    }

    /// Whether another door has the very store of this name.
    #[cfg(feature = "serve")]
    pub(crate) fn has_same(&self, other: &Self, name: &str) -> bool {
        let of = |secrets: &Self| {
            let stores = read(&secrets.door.stores);
            stores.get(name).map(|named| Arc::clone(&named.store))
        };
        let both = of(self).zip(of(other));
        both.is_some_and(|(one, other)| Arc::ptr_eq(&one, &other))
    }

    /// Adds the store of this name that another door has, where that one was opened from its
    /// settings; whether there is such a store. What is kept of it stays, where both doors have one
    /// cache.
    pub(crate) fn take_over(&self, other: &Self, name: &str) -> bool {
        let named = read(&other.door.stores).get(name).cloned();
        let Some(named) = named.filter(|named| named.settings.is_some()) else {
            return false;
        };
        let files = read(&other.door.files).get(name).cloned();
        self.insert_files(name, files.unwrap_or_default());
        if self.cache().is(other.cache()) {
            write(&self.door.stores).insert(name.to_owned(), named);
        } else {
            let store = Arc::clone(&named.store);
            self.insert_with(name.to_owned(), store, named.settings.clone(), false);
        }
        true
    }

    /// Records the files that a store is opened from, as they were just before.
    pub(crate) fn insert_files(&self, name: &str, files: Stamps) {
        write(&self.door.files).insert(name.to_owned(), files);
    }

    /// The files that stores were opened from, or could not be, by the store's name.
    pub(crate) fn files(&self) -> BTreeMap<String, Stamps> {
        let mut files = read(&self.door.files).clone();
        files.retain(|_, files| !files.is_empty());
        files
    }
}

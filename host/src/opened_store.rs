//! A store that is opened from its settings.

use std::fmt;
use std::sync::Arc;

use crate::aside;
use crate::context::Context;
use crate::deadline::within;
use crate::earlier::Earlier;
use crate::error::Class;
use crate::secrets::Secrets;
use crate::stamp::Stamps;
use crate::stores::{self, SecretStore, StoreConfig, StoreError};

/// A store with the settings that it was opened with, for
/// [`ResolverBuilder::opened_store`](crate::ResolverBuilder::opened_store).
pub struct OpenedStore {
    settings: StoreConfig,
    way: Way,
}

/// How there came to be a store.
enum Way {
    Opened(Stamps, Arc<dyn SecretStore>),
    /// This one opened it.
    TakenOver(Earlier),
}

impl fmt::Debug for OpenedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedStore")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl OpenedStore {
    /// Opens a store, which may read files, or takes it over from an earlier resolver. Where there is
    /// one, all that it serves would wait as well: then reading takes no longer than stores may.
    ///
    /// # Errors
    /// Fails where the settings are wrong, and at the context's deadline.
    pub async fn open(
        settings: StoreConfig,
        context: &Context,
        earlier: Option<&Earlier>,
    ) -> Result<Self, StoreError> {
        if let Some(earlier) = earlier.filter(|earlier| earlier.offers(&settings)) {
            let way = Way::TakenOver(earlier.clone());
            return Ok(Self { settings, way });
        }
        let opened = match earlier {
            Some(_) => open(&settings, &context.asking()).await,
            None => open(&settings, context).await,
        };
        let way = Way::Opened(opened.0, opened.1?);
        Ok(Self { settings, way })
    }

    pub(crate) fn insert(self, secrets: &Secrets) {
        match self.way {
            Way::Opened(files, store) => {
                secrets.insert_files(&self.settings.name, files);
                secrets.insert_opened(self.settings, store);
            }
            Way::TakenOver(earlier) => {
                earlier.take_over(&self.settings.name, secrets);
            }
        }
    }
}

/// Opens a store, within the context's deadline; with its files as they were just before.
pub(crate) async fn open(
    settings: &StoreConfig,
    context: &Context,
) -> (Stamps, Result<Arc<dyn SecretStore>, StoreError>) {
    let settings = settings.clone();
    let opening = aside::begin(move || (Stamps::of(settings.files()), stores::open(&settings)));
    let Some(opening) = opening else {
        let error = StoreError::new(Class::Internal, "there can be no more threads");
        return (Stamps::default(), Err(error));
    };
    let opened = within(context, async { Ok(aside::end(opening).await) }).await;
    opened.unwrap_or_else(|error| (Stamps::default(), Err(error)))
}

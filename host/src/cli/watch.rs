//! The files of a server, looked at until something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::inputs::{Inputs, Snapshot, StoreFile};

/// How often files are looked at. A change counts at the second look after it, at the latest.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Files, and what they held at the last look.
pub(super) struct Watch {
    files: Arc<Mutex<Files>>,
    seen: Snapshot,
    /// Why files could not be looked at, as it was told.
    failing: Option<String>,
}

struct Files {
    inputs: Inputs,
    /// Those that secret stores read, by the store's name.
    of_stores: BTreeMap<String, StoreFile>,
}

/// What has changed.
pub(super) struct Change {
    /// Whether somebody wants all to be read again, changed or not.
    pub(super) at_once: bool,
    /// What the files hold.
    pub(super) snapshot: Snapshot,
    /// The files of stores, as they were seen.
    pub(super) of_stores: BTreeMap<String, StoreFile>,
    /// Stores whose own files have changed.
    pub(super) renewed: BTreeSet<String>,
}

impl Watch {
    pub(super) fn new(
        inputs: Inputs,
        seen: Snapshot,
        of_stores: BTreeMap<String, StoreFile>,
    ) -> Self {
        Self {
            files: Arc::new(Mutex::new(Files { inputs, of_stores })),
            seen,
            failing: None,
        }
    }

    /// Watches these files of stores from now on. What is known of those that were not read again
    /// stays.
    pub(super) fn set_files_of_stores(&self, mut of_stores: BTreeMap<String, StoreFile>) {
        let mut files = self.lock();
        for (name, file) in &mut of_stores {
            if let Some(known) = files.of_stores.remove(name)
                && known.is_of(file)
            {
                *file = known;
            }
        }
        files.of_stores = of_stores;
    }

    /// Takes the files of stores for read as they are: they count again once they change.
    pub(super) fn take_files_of_stores(&self) {
        let mut files = self.lock();
        let files = files.of_stores.values_mut();
        files.for_each(|file| *file = file.taken());
    }

    /// Waits until something has changed, or somebody hangs up. Unless they are hot, files are not
    /// looked at before that. Nothing is lost where this is dropped meanwhile.
    pub(super) async fn change(&mut self, hang_up: &mut Signal, is_hot: bool) -> Change {
        loop {
            let at_once = tokio::select! {
                _ = hang_up.recv() => true,
                () = tokio::time::sleep(LOOK_EVERY), if is_hot => false,
            };
            if let Some(change) = self.look(at_once).await {
                return change;
            }
        }
    }

    /// Looks at the files. At once, nothing that changes is waited for.
    async fn look(&mut self, at_once: bool) -> Option<Change> {
        let files = Arc::clone(&self.files);
        let looking = tokio::task::spawn_blocking(move || {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            let Files { inputs, of_stores } = &mut *files;
            let snapshot = inputs.look(at_once);
            for skipped in inputs.skipped() {
                tracing::warn!("{skipped}");
            }
            let changed = of_stores
                .iter_mut()
                .filter_map(|(name, file)| file.look().then(|| name.clone()));
            let changed: BTreeSet<_> = changed.collect();
            (snapshot, changed, of_stores.clone())
        });
        let (snapshot, renewed, of_stores) = looking.await.ok()?;
        match snapshot {
            Ok(snapshot) => {
                self.failing = None;
                let is_changed = at_once || !renewed.is_empty() || snapshot != self.seen;
                self.seen = snapshot.clone();
                is_changed.then_some(Change {
                    at_once,
                    snapshot,
                    of_stores,
                    renewed,
                })
            }
            Err(error) => {
                let error = format!("{error:#}");
                if at_once || self.failing.as_ref() != Some(&error) {
                    tracing::error!("not reloaded: {error}");
                }
                self.failing = Some(error);
                None
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

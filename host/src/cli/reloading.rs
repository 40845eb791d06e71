//! What a server takes over while it runs: files that have changed, or all of them at SIGHUP.
//!
//! What is broken does not keep the rest from being taken over: a file counts as it was before, and
//! a store that can no longer be opened stays as it is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use keyref::api::Handle;
use keyref::problem::Problem;
use tokio::signal::unix::Signal;

use super::arguments::{Global, ServeArguments};
use super::inputs::{Inputs, Snapshot};
use super::loading::{self, Before, Served, load};
use super::serve::effective;

/// How often files are looked at. A change counts at the second look after it, at the latest.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// What is served, and what it was read from.
pub(super) struct Reloading<'s> {
    global: &'s Global,
    arguments: &'s ServeArguments,
    handle: &'s Handle,
    inputs: Arc<Mutex<Inputs>>,
    /// The files as they were at the last look.
    seen: Snapshot,
    /// The files that are served: as they were seen, but for those that are broken.
    good: Snapshot,
    served: Served,
    /// Why files could not be looked at, as it was told.
    failing: Option<String>,
}

impl<'s> Reloading<'s> {
    pub(super) fn new(
        global: &'s Global,
        arguments: &'s ServeArguments,
        handle: &'s Handle,
        inputs: Inputs,
        snapshot: Snapshot,
        served: Served,
    ) -> Self {
        Self {
            global,
            arguments,
            handle,
            inputs: Arc::new(Mutex::new(inputs)),
            seen: snapshot.clone(),
            good: snapshot,
            served,
            failing: None,
        }
    }

    /// Takes over what changes, for ever.
    pub(super) async fn run(&mut self, hang_up: &mut Signal) {
        loop {
            let is_hot = self.served.settings.hot_reload != Some(false);
            tokio::select! {
                _ = hang_up.recv() => self.look(true).await,
                () = tokio::time::sleep(LOOK_EVERY), if is_hot => self.look(false).await,
            }
        }
    }

    /// Looks at the files, and takes over what has changed. At once, nothing that changes is waited
    /// for, and stores are opened again.
    async fn look(&mut self, at_once: bool) {
        let inputs = Arc::clone(&self.inputs);
        let mut files = std::mem::take(&mut self.served.files);
        let looking = tokio::task::spawn_blocking(move || {
            let mut inputs = inputs.lock().unwrap_or_else(PoisonError::into_inner);
            let snapshot = inputs.look(at_once);
            let changed = files
                .iter_mut()
                .filter_map(|(name, file)| file.look().then(|| name.clone()));
            let changed: BTreeSet<_> = changed.collect();
            (snapshot, inputs.skipped(), files, changed)
        });
        let Ok((snapshot, skipped, files, mut renewed)) = looking.await else {
            return;
        };
        self.served.files = files;
        if at_once {
            renewed.extend(self.served.loaded.resolver.stores());
        }
        for skipped in skipped {
            tracing::warn!("{skipped}");
        }
        match snapshot {
            Ok(snapshot) => {
                self.failing = None;
                if at_once || !renewed.is_empty() || snapshot != self.seen {
                    self.seen = snapshot;
                    self.reload(renewed).await;
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                if at_once || self.failing.as_ref() != Some(&error) {
                    tracing::error!("not reloaded: {error}");
                }
                self.failing = Some(error);
            }
        }
    }

    /// Serves the files as they were seen, as far as that can be.
    async fn reload(&mut self, renewed: BTreeSet<String>) {
        match self.load(renewed).await {
            Ok(Some((snapshot, served))) => {
                self.handle.note_reload(snapshot == self.seen);
                if served.settings.metrics != self.served.settings.metrics {
                    tracing::warn!("a change of `spec.metric` counts at the next start");
                }
                if served.settings != self.served.settings {
                    let settings = effective(served.settings.clone(), self.arguments);
                    self.handle.set(settings);
                }
                self.handle.load(served.loaded.clone());
                (self.good, self.served) = (snapshot, served);
                tracing::info!("reloaded");
                return;
            }
            Ok(None) => {
                tracing::error!("not reloaded: what was loaded before is still served");
            }
            Err(error) => tracing::error!("not reloaded: {error:#}"),
        }
        self.handle.note_reload(false);
        // Not before it changes once more.
        let files = self.served.files.values_mut();
        files.for_each(|file| *file = file.taken());
    }

    /// Loads what was seen. A file that is broken is loaded as it was before; a store that cannot be
    /// opened, whose own file has not changed, is kept.
    async fn load(&self, renewed: BTreeSet<String>) -> Result<Option<(Snapshot, Served)>> {
        let mut reverted = BTreeSet::new();
        let mut before = Before {
            served: Some(&self.served),
            cache: self.served.loaded.resolver.cache().clone(),
            renewed,
            kept: BTreeSet::new(),
        };
        loop {
            let snapshot = self.seen.with(&self.good, &reverted);
            let loaded = load(self.global, &snapshot, &before).await?;
            let tried = reverted.len() + before.kept.len();
            match &loaded {
                Ok(served) => {
                    let losses = served.losses(&before);
                    self.give_way(losses.into_iter(), &mut reverted, &mut before);
                }
                Err(refusal) => {
                    refusal.problems.iter().for_each(loading::log);
                    self.give_way(refusal.problems.iter(), &mut reverted, &mut before);
                    if reverted.len() + before.kept.len() == tried {
                        // What is wrong stands where nothing has changed: no document counts, and
                        // policy still does.
                        reverted.extend(self.seen.changed_documents(&self.good));
                    }
                }
            }
            if reverted.len() + before.kept.len() == tried {
                return Ok(loaded.ok().map(|served| (snapshot, served)));
            }
        }
    }

    /// Notes what is to be as it was before, for each thing that is wrong.
    fn give_way<'p>(
        &self,
        problems: impl Iterator<Item = &'p Problem>,
        reverted: &mut BTreeSet<String>,
        before: &mut Before<'_>,
    ) {
        for problem in problems {
            let is_changed =
                |name: &String| !reverted.contains(name) && self.seen.differs(&self.good, name);
            let document = document(problem).filter(is_changed);
            let subject = problem.subject.as_ref();
            let store = subject.map(|subject| &subject.component);
            let store = store.filter(|name| before.has(name));
            if let Some(name) = document {
                tracing::error!("`{name}` is served as it was before");
                reverted.insert(name);
            } else if let Some(name) = store {
                before.kept.insert(name.clone());
            }
        }
    }
}

/// The file that a problem is in.
fn document(problem: &Problem) -> Option<String> {
    let place = problem.place.as_ref()?;
    Some(place.document.to_string())
}

//! The files of a server, looked at until something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::documents::Missing;
use super::inputs::{Entries, Files, Inputs, Snapshot, StoreFile};

/// How often files are looked at. A change counts at the second look after it, at the latest.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// How long files are waited for that somebody wants to be read at once. Others are not waited for:
/// what is slow is seen a look later.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Files, and what they held at the last look.
pub(super) struct Watch {
    configurations: Watched,
    documents: Watched,
    /// Files that secret stores read, by the store's name.
    of_stores: Arc<Mutex<BTreeMap<String, StoreFile>>>,
    stores: Looker<BTreeSet<String>>,
    seen: Snapshot,
    /// Whether somebody has hung up, and all has not been read since.
    hung_up: bool,
}

/// Files that documents are read from.
struct Watched {
    files: Arc<Mutex<Files>>,
    looker: Looker<(Entries, Vec<Missing>)>,
    /// What to say where they cannot be looked at, and why that was when it was said last.
    failure: &'static str,
    failing: Vec<String>,
}

/// What looks at files, on a thread of its own: a disk far away, or a pipe, may hold it for ever, and
/// not what others look at.
struct Looker<R> {
    /// The look that has not ended, and whether it is one at once.
    under_way: Option<(bool, JoinHandle<R>)>,
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
        let Inputs {
            documents,
            configurations,
        } = inputs;
        Self {
            configurations: Watched::new(configurations, "error loading configuration"),
            documents: Watched::new(documents, "failed to load components"),
            of_stores: Arc::new(Mutex::new(of_stores)),
            stores: Looker { under_way: None },
            seen,
            hung_up: false,
        }
    }

    /// Watches these files of stores from now on. What is known of those that were not read again
    /// stays.
    pub(super) fn set_files_of_stores(&self, mut of_stores: BTreeMap<String, StoreFile>) {
        let mut watched = lock(&self.of_stores);
        keep(&mut of_stores, &mut watched);
        *watched = of_stores;
    }

    /// Takes the files of stores for read as they are: they count again once they change.
    pub(super) fn take_files_of_stores(&self) {
        let mut files = lock(&self.of_stores);
        let files = files.values_mut();
        files.for_each(|file| *file = file.taken());
    }

    /// Waits until something has changed, or somebody hangs up. Unless they are hot, files are not
    /// looked at before that. Nothing is lost where this is dropped meanwhile.
    pub(super) async fn change(&mut self, hang_up: &mut Signal, is_hot: bool) -> Change {
        loop {
            if !self.hung_up {
                tokio::select! {
                    _ = hang_up.recv() => self.hung_up = true,
                    () = tokio::time::sleep(LOOK_EVERY), if is_hot => {}
                }
            }
            if let Some(change) = self.look().await {
                return change;
            }
        }
    }

    /// Looks at the files. Where somebody has hung up, nothing that changes is waited for.
    async fn look(&mut self) -> Option<Change> {
        let at_once = self.hung_up;
        let patience = if at_once { LONGEST_LOOK } else { LOOK_EVERY };
        let until = Instant::now() + patience;
        let of_stores = Arc::clone(&self.of_stores);
        let (configurations, documents, renewed) = tokio::join!(
            self.configurations.look(at_once, until),
            self.documents.look(at_once, until),
            self.stores
                .look(at_once, until, move || renewed(&of_stores)),
        );
        let renewed = renewed.unwrap_or_default();
        let snapshot = Snapshot {
            documents: documents.unwrap_or_else(|| self.seen.documents.clone()),
            configurations: configurations.unwrap_or_else(|| self.seen.configurations.clone()),
        };
        let is_changed = at_once || !renewed.is_empty() || snapshot != self.seen;
        (self.seen, self.hung_up) = (snapshot.clone(), false);
        is_changed.then(|| Change {
            at_once,
            snapshot,
            of_stores: lock(&self.of_stores).clone(),
            renewed,
        })
    }
}

impl Watched {
    fn new(files: Files, failure: &'static str) -> Self {
        Self {
            files: Arc::new(Mutex::new(files)),
            looker: Looker { under_way: None },
            failure,
            failing: Vec::new(),
        }
    }

    /// What the files hold; nothing where they count as they were before.
    async fn look(&mut self, at_once: bool, until: Instant) -> Option<Entries> {
        let files = Arc::clone(&self.files);
        let look = move || {
            let mut files = lock(&files);
            let looked = files.look(at_once);
            for skipped in files.skipped() {
                tracing::warn!("{skipped}");
            }
            looked
        };
        let Some((entries, missing)) = self.looker.look(at_once, until, look).await else {
            if at_once {
                tracing::error!("not reloaded: {}: no answer in time", self.failure);
            }
            return None;
        };
        let missed = missing.iter().filter(|missing| !missing.is_empty);
        let failing: Vec<_> = missed.map(|missed| format!("{:#}", missed.error)).collect();
        let is_told = |error| !at_once && self.failing.contains(error);
        for error in failing.iter().filter(|error| !is_told(error)) {
            let failure = self.failure;
            tracing::error!("{failure}: {error}: what was there is served as it was before");
        }
        self.failing = failing;
        Some(entries)
    }
}

impl<R: Send + 'static> Looker<R> {
    /// Looks, where no look is under way any more; what came of it, where it has ended in time.
    /// Otherwise it goes on, also where this is dropped.
    async fn look(
        &mut self,
        at_once: bool,
        until: Instant,
        look: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        if let Some((false, earlier)) = &mut self.under_way
            && at_once
        {
            // It may have passed over what is wanted now. What it has found, the next one finds.
            let _ended = timeout_at(until, earlier).await.ok()?;
            self.under_way = None;
        }
        let begin = || (at_once, tokio::task::spawn_blocking(look));
        let (_, looking) = self.under_way.get_or_insert_with(begin);
        let looked = timeout_at(until, looking).await.ok()?;
        self.under_way = None;
        looked.ok()
    }
}

/// Looks at the files of stores; the names of those that are to be read again.
fn renewed(of_stores: &Mutex<BTreeMap<String, StoreFile>>) -> BTreeSet<String> {
    // Others need not wait for a disk far away.
    let mut looked = lock(of_stores).clone();
    let renewed = looked.iter_mut();
    let renewed = renewed.filter_map(|(name, file)| file.look().then(|| name.clone()));
    let mut renewed: BTreeSet<_> = renewed.collect();
    let mut watched = lock(of_stores);
    keep(&mut watched, &mut looked);
    // What is left has been opened anew meanwhile.
    renewed.retain(|name| !looked.contains_key(name));
    renewed
}

/// Keeps what others know of the same files, and takes it from them.
fn keep(files: &mut BTreeMap<String, StoreFile>, known: &mut BTreeMap<String, StoreFile>) {
    for (name, file) in files {
        if known.get(name).is_some_and(|known| known.is_of(file))
            && let Some(known) = known.remove(name)
        {
            *file = known;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::time::{Instant, timeout};

    use super::{Looker, Watch, lock};
    use crate::cli::inputs::{Arguments, Files, Inputs, Snapshot};

    #[tokio::test]
    async fn whoever_hangs_up_is_heard_though_a_look_is_given_up() {
        let files = || Files::new(Arguments::Paths(Vec::new()));
        let inputs = Inputs {
            documents: files(),
            configurations: files(),
        };
        let mut watch = Watch::new(inputs, Snapshot::default(), BTreeMap::new());
        let mut hang_up = signal(SignalKind::hangup()).unwrap();
        let documents = Arc::clone(&watch.documents.files);
        let ((begin, begun), (end, ended)) = (channel(), channel::<()>());
        let hanging = std::thread::spawn(move || {
            let _locked = lock(&documents);
            begin.send(()).unwrap();
            ended.recv().unwrap();
        });
        begun.recv().unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        let soon = Duration::from_millis(200);
        let given_up = timeout(soon, watch.change(&mut hang_up, false)).await;
        assert!(given_up.is_err());
        end.send(()).unwrap();
        hanging.join().unwrap();
        let late = Duration::from_secs(20);
        let change = timeout(late, watch.change(&mut hang_up, false)).await;
        assert!(change.unwrap().at_once);
        // It counts once.
        let silence = timeout(soon, watch.change(&mut hang_up, false)).await;
        assert!(silence.is_err());
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_not_waited_for_and_counts_once_it_ends() {
        let soon = || Instant::now() + Duration::from_millis(20);
        let late = || Instant::now() + Duration::from_secs(20);
        let mut looker = Looker { under_way: None };
        let (end, ended) = channel::<()>();
        let hanging = move || {
            ended.recv().unwrap();
            "first"
        };
        assert_eq!(looker.look(false, soon(), hanging).await, None);
        // Nothing else is begun meanwhile.
        assert_eq!(looker.look(false, soon(), || "second").await, None);
        end.send(()).unwrap();
        assert_eq!(looker.look(false, late(), || "third").await, Some("first"));
        // One at once does not take what was begun before it was asked for.
        let (end, ended) = channel::<()>();
        let hanging = move || {
            ended.recv().unwrap();
            "fourth"
        };
        assert_eq!(looker.look(false, soon(), hanging).await, None);
        assert_eq!(looker.look(true, soon(), || "fifth").await, None);
        end.send(()).unwrap();
        assert_eq!(looker.look(true, late(), || "sixth").await, Some("sixth"));
    }
}

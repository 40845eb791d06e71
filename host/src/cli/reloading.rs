//! What a server takes over while it runs: files that have changed, or all of them at SIGHUP, and
//! stores that could not be opened before.
//!
//! What is broken does not keep the rest from being taken over: a file counts as it was before, and
//! a store that can no longer be opened stays as it is. All of that is tried again and again, and so
//! is a store that needs another one which does not answer.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use keyref::api::{Handle, Reload};
use keyref::error::Class;
use keyref::problem::Problem;
use tokio::signal::unix::Signal;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::arguments::{Global, ServeArguments};
use super::inputs::{Snapshot, StoreFile};
use super::loading::{Before, Served, load};
use super::refusal;
use super::serve::effective;
use super::watch::{Change, Watch};

/// How long a change waits for stores that others need.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long until it is tried again what could not be taken over. Doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest of these times.
const LAST_RETRY: Duration = Duration::from_mins(1);
/// How long that waits for stores that others need.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);

/// What is served, and what it was read from.
pub(super) struct Reloading<'s> {
    global: &'s Global,
    arguments: &'s ServeArguments,
    handle: &'s Handle,
    /// The files as they were seen last.
    seen: Snapshot,
    /// The files that are served: as they were seen, but for those that are broken.
    good: Snapshot,
    served: Served,
    left: BTreeSet<Left>,
    /// Stores whose files have changed since they were opened.
    renewed: BTreeSet<String>,
    retry: Option<Retry>,
}

/// What is not served as it was seen.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Left {
    /// Nothing of what was seen last is served.
    All,
    /// A file that counts as it was before.
    File(String),
    /// A store that is as it was before, or waits for another one.
    Store(String),
}

/// When it is tried again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

/// What came of a load.
struct Reloaded {
    /// Nothing where what was loaded before is still served.
    served: Option<(Snapshot, Served)>,
    left: BTreeSet<Left>,
    /// Stores whose files have changed, and that were not opened again.
    renewed: BTreeSet<String>,
    /// What is wrong and counts as it was before.
    wrong: Vec<Problem>,
}

impl<'s> Reloading<'s> {
    pub(super) fn new(
        global: &'s Global,
        arguments: &'s ServeArguments,
        handle: &'s Handle,
        snapshot: Snapshot,
        served: Served,
    ) -> Self {
        let left: BTreeSet<_> = served.waiting().map(Left::Store).collect();
        Self {
            global,
            arguments,
            handle,
            seen: snapshot.clone(),
            good: snapshot,
            served,
            retry: Retry::after(None, &left),
            left,
            renewed: BTreeSet::new(),
        }
    }

    /// Takes over what changes, for ever.
    pub(super) async fn run(&mut self, watch: &mut Watch, hang_up: &mut Signal) -> Infallible {
        watch.set_files_of_stores(self.served.files.clone());
        loop {
            let is_hot = self.served.settings.hot_reload != Some(false);
            // A change does not wait for what is tried again: that is tried once more then.
            tokio::select! {
                biased;
                change = watch.change(hang_up, is_hot) => {
                    let Change { at_once, snapshot, of_stores, renewed } = change;
                    self.renewed.extend(renewed);
                    if at_once {
                        let stores = self.served.loaded.resolver.stores().into_iter();
                        let is_pipe = |name: &String| of_stores.get(name).is_some_and(StoreFile::is_pipe);
                        self.renewed.extend(stores.filter(|name| !is_pipe(name)));
                    }
                    (self.seen, self.served.files) = (snapshot, of_stores);
                    let reloaded = self.load(PATIENCE).await;
                    self.take(reloaded, watch);
                    self.retry = Retry::after(None, &self.left);
                }
                reloaded = self.try_again() => {
                    // One thing can have come while another has gone.
                    if !self.left.is_subset(&reloaded.left) {
                        self.take(reloaded, watch);
                    }
                    self.retry = Retry::after(self.retry.take(), &self.left);
                }
            }
        }
    }

    /// Serves what was loaded.
    fn take(&mut self, reloaded: Reloaded, watch: &Watch) {
        (self.left, self.renewed) = (reloaded.left, reloaded.renewed);
        let wrong = &reloaded.wrong;
        let Some((snapshot, served)) = reloaded.served else {
            self.handle.note_reload(Reload::Failed, wrong);
            // Not before they change once more.
            watch.take_files_of_stores();
            return;
        };
        let is_whole = snapshot == self.seen && wrong.is_empty();
        let outcome = if is_whole {
            Reload::Whole
        } else {
            Reload::Partial
        };
        if served.settings.metrics != self.served.settings.metrics {
            tracing::warn!("a change of `spec.metric` counts at the next start");
        }
        if served.settings.traces != self.served.settings.traces {
            tracing::warn!("a change of `spec.tracing` counts at the next start");
        }
        if served.settings != self.served.settings {
            let settings = effective(served.settings.clone(), self.arguments);
            self.handle.set(settings);
        }
        self.handle.load(served.loaded.clone());
        // Whoever reads of it finds it served.
        self.handle.note_reload(outcome, wrong);
        watch.set_files_of_stores(served.files.clone());
        (self.good, self.served) = (snapshot, served);
        tracing::info!("reloaded");
    }

    /// Waits until it is time, and tries again, without a word and with more patience, what is not
    /// served as it was seen.
    async fn try_again(&self) -> Reloaded {
        let Some(Retry { at, wait }) = self.retry else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(at).await;
        let loading = self.load(wait.min(LONGEST_PATIENCE));
        loading.with_subscriber(NoSubscriber::default()).await
    }

    /// Loads what was seen. A file that is broken is loaded as it was before; a store that cannot be
    /// opened, whose own file has not changed, is kept. What is wrong with them is noted.
    async fn load(&self, patience: Duration) -> Reloaded {
        let mut before = Before {
            served: Some(&self.served),
            cache: self.served.loaded.resolver.cache().clone(),
            renewed: self.renewed.clone(),
            kept: BTreeSet::new(),
        };
        let (mut reverted, mut wrong) = (BTreeSet::new(), Vec::new());
        let served = loop {
            let snapshot = self.seen.with(&self.good, &reverted);
            let loaded = match load(self.global, &snapshot, &before, patience).await {
                Ok(loaded) => loaded,
                Err(error) => {
                    tracing::error!("not reloaded: {error:#}");
                    let message = "the files could not be loaded: the log says why";
                    wrong.push(Problem::new(Class::Internal, None, message, ""));
                    break None;
                }
            };
            let tried = reverted.len() + before.kept.len();
            match &loaded {
                Ok(served) => {
                    let losses = served.losses(&before).into_iter();
                    self.give_way(losses, &mut reverted, &mut before, &mut wrong);
                }
                Err(refusal) => {
                    refusal.problems.iter().for_each(refusal::log);
                    let problems = refusal.problems.iter();
                    self.give_way(problems.clone(), &mut reverted, &mut before, &mut wrong);
                    problems.for_each(|problem| note(&mut wrong, problem));
                    if reverted.len() + before.kept.len() == tried {
                        // What is wrong stands where nothing has changed: no document counts, and
                        // policy still does.
                        reverted.extend(self.seen.changed_documents(&self.good));
                    }
                }
            }
            if reverted.len() + before.kept.len() == tried {
                if loaded.is_err() {
                    tracing::error!("not reloaded: what was loaded before is still served");
                }
                break loaded.ok().map(|served| (snapshot, served));
            }
        };
        let now = served.as_ref().map(|(_, served)| served);
        let (left, renewed) = self.left(now, before, reverted);
        Reloaded {
            served,
            left,
            renewed,
            wrong,
        }
    }

    /// What is not served as it was seen, and the stores that have to be opened once more.
    fn left(
        &self,
        served: Option<&Served>,
        before: Before<'_>,
        reverted: BTreeSet<String>,
    ) -> (BTreeSet<Left>, BTreeSet<String>) {
        let Some(served) = served else {
            let left = self.left.iter().cloned().chain([Left::All]);
            return (left.collect(), before.renewed);
        };
        let stores = before.kept.into_iter().chain(served.waiting());
        let stores: BTreeSet<_> = stores.collect();
        let renewed = before.renewed.intersection(&stores).cloned().collect();
        let files = reverted.into_iter().map(Left::File);
        let left = files.chain(stores.into_iter().map(Left::Store));
        (left.collect(), renewed)
    }

    /// Notes what is to be as it was before, for each thing that is wrong.
    fn give_way<'p>(
        &self,
        problems: impl Iterator<Item = &'p Problem>,
        reverted: &mut BTreeSet<String>,
        before: &mut Before<'_>,
        wrong: &mut Vec<Problem>,
    ) {
        for problem in problems {
            let is_changed =
                |name: &String| !reverted.contains(name) && self.seen.differs(&self.good, name);
            // Nothing is wrong with a document whose store only has to wait.
            let places = [&problem.place, &problem.other].into_iter().flatten();
            let mut documents = places.map(|place| place.document.to_string());
            let document = documents.find(|name| !problem.class.retry_helps() && is_changed(name));
            let subject = problem.subject.as_ref();
            let store = subject.map(|subject| &subject.component);
            let store = store.filter(|name| before.has(name));
            if let Some(name) = document {
                tracing::error!("`{name}` is served as it was before");
                reverted.insert(name);
                note(wrong, problem);
            } else if let Some(name) = store {
                before.kept.insert(name.clone());
                note(wrong, problem);
            }
        }
    }
}

impl Retry {
    /// The one after another, where anything is left.
    fn after(last: Option<Self>, left: &BTreeSet<Left>) -> Option<Self> {
        let wait = last.map_or(FIRST_RETRY, |last| (last.wait * 2).min(LAST_RETRY));
        (!left.is_empty()).then(|| Self {
            at: Instant::now() + wait,
            wait,
        })
    }
}

/// Takes note of what is wrong, once.
fn note(wrong: &mut Vec<Problem>, problem: &Problem) {
    if !wrong.contains(problem) {
        wrong.push(problem.clone());
    }
}

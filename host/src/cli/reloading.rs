//! What a server takes over while it runs: files that have changed, or all of them at SIGHUP, and
//! stores that could not be opened before.
//!
//! What is broken does not keep the rest from being taken over: a file counts as it was before, and
//! a store that can no longer be opened stays as it is. A store that needs another one which does not
//! answer is tried again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use keyref::api::{Handle, Reload};
use keyref::error::Class;
use keyref::problem::Problem;
use tokio::signal::unix::Signal;
use tokio::time::Instant;

use super::arguments::{Global, ServeArguments};
use super::inputs::Snapshot;
use super::loading::{self, Before, Served, load};
use super::serve::effective;
use super::watch::{Change, Watch};

/// How long a change waits for stores that others need.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long until stores are tried that wait for others. Doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest of these times.
const LAST_RETRY: Duration = Duration::from_mins(1);
/// How long a retry waits for those others.
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
    retry: Option<Retry>,
}

/// When stores are tried again that wait for others.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

/// What came of a load.
struct Reloaded {
    /// Nothing where what was loaded before is still served.
    served: Option<(Snapshot, Served)>,
    /// Whether a store waits for others, or is kept while its new form does.
    is_waiting: bool,
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
        let retry = served.is_waiting().then(Retry::first);
        Self {
            global,
            arguments,
            handle,
            seen: snapshot.clone(),
            good: snapshot,
            served,
            retry,
        }
    }

    /// Takes over what changes, for ever.
    pub(super) async fn run(&mut self, watch: &mut Watch, hang_up: &mut Signal) {
        watch.set_files_of_stores(self.served.files.clone());
        loop {
            let is_hot = self.served.settings.hot_reload != Some(false);
            // A change does not wait for stores that are tried again: they are tried once more then.
            let reloaded = tokio::select! {
                biased;
                change = watch.change(hang_up, is_hot) => {
                    let Change { at_once, snapshot, mut renewed } = change;
                    if at_once {
                        renewed.extend(self.served.loaded.resolver.stores());
                    }
                    self.seen = snapshot;
                    let reloaded = self.load(renewed, PATIENCE).await;
                    self.take(reloaded, watch)
                }
                reloaded = self.retry() => match &reloaded {
                    // Nothing has come of it.
                    Reloaded { served: Some((_, served)), is_waiting: true, .. }
                        if served.waiting() == self.served.waiting() => true,
                    _ => self.take(reloaded, watch),
                },
            };
            self.retry = reloaded.then(|| Retry::after(self.retry));
        }
    }

    /// Serves what was loaded; whether stores wait for others.
    fn take(&mut self, reloaded: Reloaded, watch: &Watch) -> bool {
        let wrong = &reloaded.wrong;
        let Some((snapshot, served)) = reloaded.served else {
            self.handle.note_reload(Reload::Failed, wrong);
            // Not before they change once more.
            watch.take_files_of_stores();
            return self.served.is_waiting();
        };
        let is_whole = snapshot == self.seen && wrong.is_empty();
        let outcome = if is_whole {
            Reload::Whole
        } else {
            Reload::Partial
        };
        self.handle.note_reload(outcome, wrong);
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
        watch.set_files_of_stores(served.files.clone());
        (self.good, self.served) = (snapshot, served);
        tracing::info!("reloaded");
        reloaded.is_waiting
    }

    /// Waits until it is time, and tries stores again that wait for others.
    async fn retry(&self) -> Reloaded {
        let Some(Retry { at, wait }) = self.retry else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(at).await;
        self.load(BTreeSet::new(), wait.min(LONGEST_PATIENCE)).await
    }

    /// Loads what was seen. A file that is broken is loaded as it was before; a store that cannot be
    /// opened, whose own file has not changed, is kept. What is wrong with them is noted.
    async fn load(&self, renewed: BTreeSet<String>, patience: Duration) -> Reloaded {
        let mut before = Before {
            served: Some(&self.served),
            cache: self.served.loaded.resolver.cache().clone(),
            renewed,
            kept: BTreeSet::new(),
        };
        let (mut reverted, mut is_waiting, mut wrong) = (BTreeSet::new(), false, Vec::new());
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
                    is_waiting |= served.is_waiting();
                    self.give_way(losses, &mut reverted, &mut before, &mut wrong);
                }
                Err(refusal) => {
                    refusal.problems.iter().for_each(loading::log);
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
        Reloaded {
            served,
            is_waiting,
            wrong,
        }
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
            let document = document(problem).filter(|_| !problem.class.retry_helps());
            let document = document.filter(is_changed);
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
    fn first() -> Self {
        Self {
            at: Instant::now() + FIRST_RETRY,
            wait: FIRST_RETRY,
        }
    }

    /// The one after this, if there was one.
    fn after(last: Option<Self>) -> Self {
        let Some(Self { wait, .. }) = last else {
            return Self::first();
        };
        let wait = (wait * 2).min(LAST_RETRY);
        Self {
            at: Instant::now() + wait,
            wait,
        }
    }
}

/// Takes note of what is wrong, once.
fn note(wrong: &mut Vec<Problem>, problem: &Problem) {
    if !wrong.contains(problem) {
        wrong.push(problem.clone());
    }
}

/// The file that a problem is in.
fn document(problem: &Problem) -> Option<String> {
    let place = problem.place.as_ref()?;
    Some(place.document.to_string())
}

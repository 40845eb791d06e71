//! Resolves the components again: whenever what is loaded is exchanged, and from time to time, so
//! that secrets that have changed arrive.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use uuid::Uuid;

use crate::api::components::state::{
    Pass, Revisions, State, state_after, state_within, tells_same,
};
use crate::api::loaded::Loaded;
use crate::api::service::Service;
use crate::context::Context;
use crate::problem::Problem;
use crate::resolution::Resolution;

/// How long stores may take to answer: what is missing then is a problem of its component.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// After how long what has answered is shown, while the others are waited for.
const SOON: Duration = Duration::from_millis(300);
/// How long parsing and placing may take beside that.
const WORK_TIME: Duration = Duration::from_secs(15);
/// How long something new that is loaded waits for what is being resolved.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it is tried again where that may help. Each time after it is twice as late, until it is
/// as late as ever.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Keeps what the components are up.
pub(crate) struct Refreshing<'r> {
    pub(crate) service: &'r Service,
    pub(crate) states: &'r watch::Sender<Option<Arc<State>>>,
    /// When that was done last.
    pub(crate) refreshed: &'r Mutex<Option<SystemTime>>,
    /// How often all is resolved again.
    pub(crate) interval: Duration,
}

impl Refreshing<'_> {
    /// Does so for ever.
    pub(crate) async fn run(&self) {
        let mut loads = self.service.loads();
        let mut revisions = Revisions::default();
        let mut retry = FIRST_RETRY;
        loop {
            let loaded = loads.borrow_and_update().clone();
            let mut next = Duration::MAX;
            if let Some(loaded) = loaded {
                // What this one sees, the loop has not seen yet.
                let mut newer = loads.clone();
                let is_newer = async {
                    // The sender is there for as long as the service is.
                    drop(newer.changed().await);
                    tokio::time::sleep(PATIENCE).await;
                };
                let state = tokio::select! {
                    state = self.resolve(&loaded, &mut revisions) => state,
                    () = is_newer => continue,
                };
                let mut refreshed = self.refreshed.lock();
                **refreshed.as_mut().unwrap_or_else(|error| error.get_mut()) =
                    Some(SystemTime::now());
                drop(refreshed);
                let mut problems = state.values().flat_map(|shown| &shown.problems);
                if problems.any(|problem| problem.class.retry_helps()) {
                    next = retry.min(self.interval);
                    retry = retry.saturating_mul(2);
                } else {
                    (next, retry) = (self.interval, FIRST_RETRY);
                }
            }
            tokio::select! {
                changed = loads.changed() => drop(changed),
                () = tokio::time::sleep(jittered(next)) => {}
            }
        }
    }

    /// Resolves all components, and shows what they are now. What is permitted no longer goes first,
    /// and what depends on slow stores comes last.
    async fn resolve(&self, loaded: &Loaded, revisions: &mut Revisions) -> Arc<State> {
        let before = self.states.borrow().clone();
        if let Some(before) = &before {
            let context = self.context(ANSWER_TIME);
            let secrets = loaded.resolver.secrets();
            let permits = |origin: &_| secrets.check_origin(origin, &context);
            self.show(state_within(before, permits, revisions));
        }
        let resolve = async |time| {
            let documents = loaded.documents.to_vec();
            loaded
                .resolver
                .resolve(documents, &self.context(time))
                .await
        };
        let quick = async {
            tokio::time::sleep(SOON).await;
            resolve(SOON).await
        };
        let mut whole = pin!(resolve(ANSWER_TIME));
        let resolution = tokio::select! {
            biased;
            resolution = &mut whole => resolution,
            // The first state is shown once it is whole.
            resolution = quick, if before.is_some() => {
                self.show_after(Pass::Quick, resolution, loaded, revisions);
                whole.await
            }
        };
        self.show_after(Pass::Whole, resolution, loaded, revisions)
    }

    /// Shows what came of resolving.
    fn show_after(
        &self,
        pass: Pass,
        resolution: Resolution,
        loaded: &Loaded,
        revisions: &mut Revisions,
    ) -> Arc<State> {
        let before = self.states.borrow().clone().unwrap_or_default();
        let context = self.context(ANSWER_TIME);
        // Others may be loaded by now, and permit less.
        let newest = self.service.loaded();
        let secrets = newest.as_deref().unwrap_or(loaded).resolver.secrets();
        let permits = |origin: &_| secrets.check_origin(origin, &context);
        self.show(state_after(&before, pass, resolution, permits, revisions))
    }

    /// A context that ends some time after stores must have answered.
    fn context(&self, time: Duration) -> Context {
        let timeout = self.service.timeout.min(time);
        let context = self.service.context().with_caller("components");
        let context = context.with_fetch_time(timeout);
        let mut context = context.with_timeout(timeout + WORK_TIME);
        // Without one, none is left out for its scopes.
        context.app_id = context.app_id.filter(|id| !id.is_empty());
        context
    }

    /// Shows a state, where it is another one.
    fn show(&self, now: State) -> Arc<State> {
        let now = Arc::new(now);
        self.states.send_if_modified(|state| {
            let before = state.clone().unwrap_or_default();
            let is_new = state.is_none() || !is_same(&before, &now);
            if is_new {
                tell(&before, &now);
                *state = Some(Arc::clone(&now));
            }
            is_new
        });
        now
    }
}

/// Whether nothing has changed: what has not is taken over as it is.
fn is_same(before: &State, now: &State) -> bool {
    let mut both = before.iter().zip(now);
    before.len() == now.len()
        && both.all(|((key, shown), (now_key, now))| key == now_key && Arc::ptr_eq(shown, now))
}

/// Logs what is wrong, once.
fn tell(before: &State, now: &State) {
    for (key, shown) in now {
        let known = before.get(key).map_or(&[][..], |shown| &shown.problems);
        let new = shown.problems.iter();
        let is_known = |problem: &Problem| known.iter().any(|known| tells_same(known, problem));
        for problem in new.filter(|problem| !is_known(problem)) {
            let place = problem.place.as_ref().map(ToString::to_string);
            let (place, class) = (place.as_deref(), problem.class.code());
            let is_kept = shown.properties.is_some();
            let component = key.name.as_str();
            tracing::warn!(component, place, class, is_kept, "{}", problem.message);
        }
        if shown.problems.is_empty() && !known.is_empty() {
            tracing::info!(component = key.name.as_str(), "resolved again");
        }
    }
}

/// A tenth more or less, so that servers that were started together do not ask together.
fn jittered(time: Duration) -> Duration {
    let [random, ..] = *Uuid::new_v4().as_bytes();
    time.saturating_mul(900 + u32::from(random) * 200 / 255) / 1_000
}

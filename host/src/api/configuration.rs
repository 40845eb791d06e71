//! Configuration items: reading them, and subscriptions to what changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::api::app::deliver;
use crate::api::end::Phase;
use crate::api::fault::{Code, Fault};
use crate::api::grant::Grant;
use crate::api::loaded::Loaded;
use crate::api::metrics::Operation;
use crate::api::service::Service;
use crate::configuration::{ConfigurationStore, Items, ItemsRequest, Known};
use crate::context::Context;
use crate::pause::pause;
use crate::resiliency::Policy;

/// How many subscriptions there may be: those over HTTP stay when their request has ended.
const MOST_SUBSCRIPTIONS: usize = 10_000;

/// How long until a store that cannot be watched is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The subscriptions that can be ended by their id, each with its store.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<HashMap<String, (String, oneshot::Sender<()>)>>);

/// A subscription, which ends when dropped.
pub(crate) struct Subscription {
    id: String,
    /// The store's name.
    name: String,
    /// Whether its end is that of a request, and so counted with the operations.
    counts_end: bool,
    request: ItemsRequest,
    store: Arc<dyn ConfigurationStore>,
    /// What is loaded: another store may take the place of this one.
    loads: watch::Receiver<Option<Arc<Loaded>>>,
    states: watch::Receiver<Arc<Items>>,
    known: Known,
    /// Whether the state that is there already may hold something new.
    is_first: bool,
    /// When it is tried again to watch a store that has taken the place of this one, and how often it
    /// was.
    again: Option<(Instant, u32)>,
    ended: oneshot::Receiver<()>,
    service: Arc<Service>,
}

impl Service {
    /// Reads items; keys that do not exist are left out.
    pub(crate) async fn items(&self, store: &str, request: &ItemsRequest) -> Result<Items, Fault> {
        let opened = self.configuration_store(store)?;
        let begin = Instant::now();
        let context = self.configuration_context(store);
        let read = context
            .ask(context.deadline, || opened.get(request, &context))
            .await;
        let failure = read.as_ref().err().map(|error| error.class);
        self.count(store, Operation::GetConfiguration, failure, begin);
        read.map_err(|error| {
            let keys = shown(&request.keys);
            let reason = error.message;
            let message =
                format!("failed to get {keys} from Configuration store {store}: {reason}");
            Fault::new(Code::ConfigurationGet, message).of_class(error.class)
        })
    }

    /// Subscribes to what changes from now on, or first of all to what is there where the store
    /// begins with that.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        store: &str,
        request: ItemsRequest,
    ) -> Result<Subscription, Fault> {
        let loads = self.loads();
        let opened = self.configuration_store(store)?;
        let refused = |reason: &str| {
            let keys = shown(&request.keys);
            let message =
                format!("failed to subscribe {keys} from Configuration store {store}: {reason}");
            Fault::new(Code::ConfigurationSubscribe, message)
        };
        let begin = Instant::now();
        let context = self.configuration_context(store);
        let watching = context
            .ask(context.deadline, || opened.watch(&request, &context))
            .await;
        let failure = watching.as_ref().err().map(|error| error.class);
        self.count(store, Operation::SubscribeConfiguration, failure, begin);
        let mut states = watching.map_err(|error| refused(&error.message).of_class(error.class))?;
        let known = if opened.begins_with_all() {
            Known::default()
        } else {
            Known::of(&states.borrow_and_update(), &request)
        };
        let (id, (end, ended)) = (Uuid::new_v4().to_string(), oneshot::channel());
        let mut listed = self.subscriptions.lock();
        if listed.len() >= MOST_SUBSCRIPTIONS {
            return Err(refused("there are too many subscriptions"));
        }
        listed.insert(id.clone(), (store.to_owned(), end));
        drop(listed);
        Ok(Subscription {
            id,
            name: store.to_owned(),
            counts_end: true,
            loads,
            is_first: opened.begins_with_all(),
            request,
            store: opened,
            again: None,
            states,
            known,
            ended,
            service: Arc::clone(self),
        })
    }

    /// Subscribes for the app, which is told each change by a request of its own for as long as the
    /// grant holds.
    pub(crate) async fn subscribe_app(
        self: &Arc<Self>,
        store: &str,
        request: ItemsRequest,
        grant: Grant,
    ) -> Result<String, Fault> {
        self.configuration_store(store)?;
        let Some(app) = self.app.clone() else {
            let message =
                "app channel is not initialized. cannot subscribe to configuration updates";
            return Err(Fault::new(Code::AppChannelNil, message));
        };
        let mut subscription = self.subscribe(store, request).await?;
        subscription.counts_end = false;
        let id = subscription.id.clone();
        let delivering = deliver(app, store.to_owned(), subscription);
        let (store, of) = (store.to_owned(), id.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = delivering => {}
                _ = grant.withdrawn() => {
                    tracing::info!(store, id = of, "the subscription ends: its API is denied now");
                }
            }
        });
        Ok(id)
    }

    /// What is done where the app does not take what it is told of a store now.
    pub(crate) fn notification_policy(&self, store: &str) -> Option<Arc<Policy>> {
        let loaded = self.loaded()?;
        loaded.policies.notification(store).map(Arc::clone)
    }

    /// Ends a subscription; whether there was one of this id.
    pub(crate) fn unsubscribe(&self, store: &str, id: &str) -> Result<bool, Fault> {
        self.configuration_store(store)?;
        let begin = Instant::now();
        let is_ended = self.subscriptions.end(id, Some(store));
        self.count_end(store, is_ended, begin);
        Ok(is_ended)
    }

    /// The same, whatever store it is of.
    pub(crate) fn unsubscribe_any(&self, id: &str) -> bool {
        self.subscriptions.end(id, None)
    }

    fn count_end(&self, store: &str, is_ended: bool, begin: Instant) {
        if let Some(metrics) = &self.metrics {
            let (operation, elapsed) = (Operation::UnsubscribeConfiguration, begin.elapsed());
            metrics
                .operations
                .count(store, operation, is_ended, elapsed);
        }
    }

    /// What a configuration store is asked with.
    fn configuration_context(&self, store: &str) -> Context {
        let loaded = self.loaded();
        let policies = loaded.as_deref().map(|loaded| &loaded.policies);
        self.context_of(policies.and_then(|policies| policies.configuration(store)))
    }

    fn configuration_store(&self, store: &str) -> Result<Arc<dyn ConfigurationStore>, Fault> {
        let loaded = self.loaded();
        let has_any = |loaded: &Arc<Loaded>| !loaded.configurations.is_empty();
        let Some(loaded) = loaded.filter(has_any) else {
            let message = "configuration stores not configured";
            return Err(Fault::new(Code::ConfigurationStoresNotConfigured, message));
        };
        let found = loaded.configurations.get(store).cloned();
        found.ok_or_else(|| {
            let message = format!("configuration store {store} not found");
            Fault::new(Code::ConfigurationStoreNotFound, message)
        })
    }
}

impl Subscriptions {
    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// How many are open, by the names of their stores.
    pub(crate) fn by_store(&self) -> HashMap<String, usize> {
        let mut numbers = HashMap::new();
        for (store, _) in self.lock().values() {
            *numbers.entry(store.clone()).or_default() += 1;
        }
        numbers
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (String, oneshot::Sender<()>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends one, where it is of this store.
    fn end(&self, id: &str, store: Option<&str>) -> bool {
        let mut listed = self.lock();
        let is_meant = listed
            .get(id)
            .is_some_and(|(of, _)| store.is_none_or(|store| store == of));
        is_meant && listed.remove(id).is_some()
    }
}

impl Subscription {
    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The service that it is of.
    pub(crate) fn service(&self) -> Arc<Service> {
        Arc::clone(&self.service)
    }

    /// Waits for what differs from what was told last; nothing where the subscription or the server
    /// has ended, or the store is no longer there.
    pub(crate) async fn next(&mut self) -> Option<Items> {
        loop {
            if std::mem::take(&mut self.is_first) {
                self.states.mark_changed();
            }
            tokio::select! {
                biased;
                _ = &mut self.ended => return None,
                () = self.service.end.reaches(Phase::Ending) => return None,
                loaded = self.loads.changed() => {
                    loaded.ok()?;
                    self.again = None;
                    self.follow().await?;
                }
                () = reach(self.again) => self.follow().await?,
                changed = self.states.changed() => changed.ok()?,
            }
            let state = Arc::clone(&self.states.borrow_and_update());
            let differences = self.known.differences(&state, &self.request, &self.store);
            if !differences.is_empty() {
                return Some(differences);
            }
        }
    }

    /// Watches the store that has this name now; nothing where there is none. One that does not answer
    /// is tried again, and what is known is that of the other until then.
    async fn follow(&mut self) -> Option<()> {
        let loaded = self.loads.borrow_and_update().clone()?;
        let store = Arc::clone(loaded.configurations.get(&self.name)?);
        let tried = self.again.take().map_or(0, |(_, tried)| tried);
        if Arc::ptr_eq(&store, &self.store) {
            return Some(());
        }
        let context = self.service.context();
        let watching = tokio::select! {
            biased;
            _ = &mut self.ended => return None,
            () = self.service.end.reaches(Phase::Ending) => return None,
            watching = store.watch(&self.request, &context) => watching,
        };
        match watching {
            Ok(states) => {
                (self.store, self.states) = (store, states);
                self.states.mark_changed();
                Some(())
            }
            Err(error) if error.class.retry_helps() => {
                let (store, id) = (self.name.as_str(), self.id.as_str());
                let reason = error.message;
                if tried == 0 {
                    tracing::warn!(store, id, "the subscription waits for its store: {reason}");
                }
                let tried = tried.saturating_add(1);
                let wait = pause(tried, FIRST_PAUSE, LONGEST_PAUSE);
                self.again = Some((Instant::now() + wait, tried));
                Some(())
            }
            Err(error) => {
                let (store, id) = (self.name.as_str(), self.id.as_str());
                let reason = error.message;
                tracing::error!(store, id, "the subscription ends: {reason}");
                None
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let begin = Instant::now();
        self.service.subscriptions.end(&self.id, None);
        if self.counts_end {
            self.service.count_end(&self.name, true, begin);
        }
    }
}

/// Waits for a time, or for ever.
async fn reach(time: Option<(Instant, u32)>) {
    match time {
        Some((time, _)) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Keys as Go prints a list.
fn shown(keys: &[String]) -> String {
    format!("[{}]", keys.join(" "))
}

/// A query's keys and metadata.
pub(crate) fn request_of(
    pairs: impl Iterator<Item = (String, String)>,
    metadata: BTreeMap<String, String>,
) -> ItemsRequest {
    let keys = pairs.filter(|(name, _)| name == "key");
    ItemsRequest::new(keys.map(|(_, key)| key).collect(), metadata)
}

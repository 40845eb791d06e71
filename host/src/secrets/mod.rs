//! The one door to every store: policy first, then what is kept, then what is already being fetched
//! (unless the store answers at once), then the store.
//!
//! No other code calls a store.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::FutureExt as _;
use futures_util::future;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use crate::cache::{Cache, Look, StoreCache};
use crate::component::Origin;
use crate::context::Context;
use crate::deadline::within;
use crate::env::{self, Environment};
use crate::error::{Class, SecretError};
use crate::failure;
use crate::health::{Asking, Health, Recorder};
use crate::inflight::Inflight;
use crate::observer::{DenyEvent, FetchEvent, Observer};
use crate::policy::{Decision, Policy};
use crate::request::{AnswerMap, Request};
use crate::run::{Fetch, FetchKey, Fetched, Run};
use crate::secret::{Secret, SecretValue};
use crate::stamp::Stamps;
use crate::stores::{BulkRequest, SecretRequest, SecretStore, StoreConfig, StoreError};

mod opened;

/// Named stores with the policy that guards them.
#[derive(Clone)]
pub(crate) struct Secrets {
    door: Arc<Door>,
}

struct Door {
    stores: RwLock<BTreeMap<String, Arc<Named>>>,
    /// Names of stores that exist and cannot be used, each with the reason.
    broken: RwLock<BTreeMap<String, StoreError>>,
    files: RwLock<BTreeMap<String, Stamps>>,
    shared: Arc<Shared>,
}

/// What a door has in common with its forks.
struct Shared {
    setup: Setup,
    inflight: Inflight,
    calls: AtomicU64,
}

struct Named {
    store: Arc<dyn SecretStore>,
    /// Distinguishes a store from one that had its name before.
    instance: u64,
    /// What it was opened with, where it was opened from settings.
    settings: Option<Arc<StoreConfig>>,
    /// What it has said, where that is kept.
    cache: Option<Arc<StoreCache>>,
    /// Whether it stands for one that cannot be opened yet.
    is_waiting: bool,
    /// How it has answered.
    recorder: Recorder,
}

/// Settings of the door.
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) environment: Environment,
    /// Namespaces that documents may name beside that of the context; `None` for all.
    pub(crate) namespaces: Option<BTreeSet<String>>,
    /// The store of references whose component names none.
    pub(crate) default_store: Option<String>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) cache: Cache,
}

impl Secrets {
    pub(crate) fn new(setup: Setup) -> Self {
        let shared = Shared {
            setup,
            inflight: Inflight::default(),
            calls: AtomicU64::new(0),
        };
        Self::sharing(Arc::new(shared))
    }

    fn sharing(shared: Arc<Shared>) -> Self {
        Self {
            door: Arc::new(Door {
                stores: RwLock::default(),
                broken: RwLock::default(),
                files: RwLock::default(),
                shared,
            }),
        }
    }

    /// A door of its own with the same settings and stores, for one run's document stores.
    pub(crate) fn fork(&self) -> Self {
        let fork = Self::sharing(Arc::clone(&self.door.shared));
        *write(&fork.door.stores) = read(&self.door.stores).clone();
        *write(&fork.door.broken) = read(&self.door.broken).clone();
        *write(&fork.door.files) = read(&self.door.files).clone();
        fork
    }

    fn setup(&self) -> &Setup {
        &self.door.shared.setup
    }

    /// Adds a store, in place of one of the same name.
    pub(crate) fn insert(&self, name: impl Into<String>, store: Arc<dyn SecretStore>) {
        self.insert_with(name.into(), store, None, false);
    }

    /// Adds what stands for a store that cannot be opened yet, and fails.
    pub(crate) fn insert_waiting(&self, name: impl Into<String>, store: Arc<dyn SecretStore>) {
        self.insert_with(name.into(), store, None, true);
    }

    fn insert_with(
        &self,
        name: String,
        store: Arc<dyn SecretStore>,
        settings: Option<Arc<StoreConfig>>,
        is_waiting: bool,
    ) {
        let cache = self.cache();
        let instance = cache.number();
        let cache = cache.of_store(&name, instance).map(Arc::new);
        let named = Named {
            store,
            instance,
            settings,
            cache,
            is_waiting,
            recorder: Recorder::default(),
        };
        write(&self.door.stores).insert(name, Arc::new(named));
    }

    /// Records why a store cannot be used.
    pub(crate) fn insert_broken(&self, name: impl Into<String>, error: StoreError) {
        write(&self.door.broken).insert(name.into(), error);
    }

    /// The names of all stores.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        read(&self.door.stores).keys().cloned().collect()
    }

    /// The names of all stores, those that cannot be used as well.
    pub(crate) fn declared(&self) -> Vec<String> {
        let mut names = self.names();
        names.extend(read(&self.door.broken).keys().cloned());
        names.into_iter().collect()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        read(&self.door.stores).contains_key(name) || read(&self.door.broken).contains_key(name)
    }

    /// Whether a store of this name is open.
    pub(crate) fn is_open(&self, name: &str) -> bool {
        read(&self.door.stores).contains_key(name)
    }

    /// Whether a store of this name cannot be opened yet.
    pub(crate) fn is_waiting(&self, name: &str) -> bool {
        read(&self.door.stores)
            .get(name)
            .is_some_and(|named| named.is_waiting)
    }

    /// How a store that is open has answered.
    pub(crate) fn health(&self, name: &str) -> Option<Health> {
        let named = read(&self.door.stores).get(name).cloned()?;
        Some(named.recorder.health())
    }

    /// Whether any store is open.
    pub(crate) fn any_open(&self) -> bool {
        !read(&self.door.stores).is_empty()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.setup().policy
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.setup().cache
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.setup().environment
    }

    /// The name to look up for a reference that names a store, or none.
    pub(crate) fn effective_store<'s>(&'s self, store: &'s str) -> &'s str {
        if store.is_empty() {
            self.setup().default_store.as_deref().unwrap_or_default()
        } else {
            store
        }
    }

    /// Where a value comes from, with the store that is asked in fact.
    pub(crate) fn origin(&self, wanted: &Request) -> Origin {
        match wanted {
            Request::Variable(name) => Origin::Variable(name.clone()),
            Request::Key {
                store,
                secret,
                key,
                namespace,
                ..
            } => Origin::Secret {
                store: self.effective_store(store).to_owned(),
                secret: secret.clone(),
                key: key.clone(),
                namespace: namespace.clone(),
            },
        }
    }

    /// How often a store was asked.
    pub(crate) fn calls(&self) -> u64 {
        self.door.shared.calls.load(Ordering::Relaxed)
    }

    /// Whether policy and grants let this through. Asks no store.
    pub(crate) fn check(
        &self,
        wanted: &Request,
        context: &Context,
        run: &Run,
    ) -> Result<(), SecretError> {
        match wanted {
            Request::Variable(name) => self.check_variable(name),
            Request::Key {
                store,
                secret,
                namespace,
                ..
            } => {
                let (store, named) = self.named(store, run)?;
                self.decide(store, secret)?;
                self.granted_namespace(&named, namespace, context).map(drop)
            }
        }
    }

    /// Whether policy and grants let pass what was read from here before. Asks no store, and needs
    /// none.
    #[cfg(feature = "serve")]
    pub(crate) fn check_origin(
        &self,
        origin: &Origin,
        context: &Context,
    ) -> Result<(), SecretError> {
        match origin {
            Origin::Variable(name) => self.check_variable(name),
            Origin::Secret {
                store,
                secret,
                namespace,
                ..
            } => {
                self.decide(store, secret)?;
                let named = read(&self.door.stores).get(store).cloned();
                match named {
                    Some(named) => self.granted_namespace(&named, namespace, context).map(drop),
                    // One that cannot be used now may be usable again.
                    None if self.contains(store) => Ok(()),
                    None => self.named(store, &Run::of_one()).map(drop),
                }
            }
        }
    }

    /// Reads values, several of each store at a time: one that does not answer holds up no other.
    pub(crate) async fn values(
        &self,
        wanted: BTreeSet<Request>,
        context: &Context,
        run: &Run,
        at_a_time: usize,
    ) -> AnswerMap {
        let mut by_store: BTreeMap<String, Vec<Request>> = BTreeMap::new();
        for wanted in wanted {
            let store = match &wanted {
                Request::Variable(_) => "",
                Request::Key { store, .. } => self.effective_store(store),
            };
            // Those that do not exist are answered at once, and documents can make names up.
            let store = if self.is_open(store) { store } else { "" };
            by_store.entry(store.to_owned()).or_default().push(wanted);
        }
        let values = by_store.into_values().map(|wanted| {
            stream::iter(wanted)
                .map(|wanted| async move {
                    let value = self.value(&wanted, context, run).await;
                    (wanted, value.map_err(Arc::new))
                })
                .buffer_unordered(at_a_time.max(1))
        });
        stream::select_all(values.map(Box::pin)).collect().await
    }

    /// Reads a value: one key of a secret, or a variable.
    async fn value(
        &self,
        wanted: &Request,
        context: &Context,
        run: &Run,
    ) -> Result<SecretValue, SecretError> {
        match wanted {
            Request::Variable(name) => self.variable(name, context),
            Request::Key {
                store,
                secret,
                key,
                namespace,
                options,
            } => {
                let request = SecretRequest {
                    name: secret.clone(),
                    namespace: namespace.clone(),
                    options: options.clone(),
                };
                self.key(store, request, key, context, run).await
            }
        }
    }

    /// Reads one key of a secret.
    pub(crate) async fn key(
        &self,
        store: &str,
        request: SecretRequest,
        key: &str,
        context: &Context,
        run: &Run,
    ) -> Result<SecretValue, SecretError> {
        let secret = request.name.clone();
        let found = self.get(store, request, context, run).await?;
        let value = found.get(key).cloned();
        value.ok_or_else(|| failure::no_key(&secret, key, &found, run))
    }

    /// Reads a secret.
    pub(crate) async fn get(
        &self,
        store: &str,
        mut request: SecretRequest,
        context: &Context,
        run: &Run,
    ) -> Result<Secret, SecretError> {
        let (store, named) = self.named(store, run)?;
        let granted = self
            .decide(store, &request.name)
            .and_then(|()| self.granted_namespace(&named, &request.namespace, context));
        request.namespace = granted.inspect_err(|_| {
            self.deny(context, &DenyEvent::of_secret(store, Some(&request.name)));
        })?;
        let is_shared = run.remembers() || named.cache.is_some() || !named.store.answers_at_once();
        let found = if is_shared {
            let key = FetchKey {
                store: store.to_owned(),
                instance: named.instance,
                request: request.clone(),
            };
            let fetch = match run.fetch(&key) {
                Some(fetch) => fetch,
                None => run.remember(key.clone(), self.read(key, &named, context, run)),
            };
            within(context, fetch).await
        } else {
            let until = context.deadline;
            let answer = pin!(self.ask(store, &named, &request, context, until));
            within(context, answer).await
        };
        let name = &request.name;
        let found = found.map_err(|error| failure::of_store(error, store, name))?;
        found.ok_or_else(|| failure::no_secret(store, &*named.store, name, self.policy(), run))
    }

    /// Reads all secrets that policy allows.
    pub(crate) async fn bulk(
        &self,
        store: &str,
        mut request: BulkRequest,
        context: &Context,
    ) -> Result<BTreeMap<String, Secret>, SecretError> {
        let (store, named) = self.named(store, &Run::of_one())?;
        let granted = self.granted_namespace(&named, &request.namespace, context);
        request.namespace = granted.inspect_err(|_| {
            self.deny(context, &DenyEvent::of_secret(store, None));
        })?;
        if !self.setup().policy.allows_any(store) {
            self.deny(context, &DenyEvent::of_secret(store, None));
            return Ok(BTreeMap::new());
        }
        let attempt = async || {
            self.door.shared.calls.fetch_add(1, Ordering::Relaxed);
            let asking = named.recorder.ask(Instant::now());
            let answer = named.store.bulk(&request, context).await;
            self.observe(context, store, None, asking, answer.as_ref().err());
            answer
        };
        let answer = within(context, context.ask(context.deadline, attempt)).await;
        let mut secrets = answer.map_err(|error| failure::of_store(error, store, ""))?;
        secrets.retain(|name, _| self.setup().policy.decide(store, name) == Decision::Allow);
        Ok(secrets)
    }

    /// Reads an environment variable.
    fn variable(&self, name: &str, context: &Context) -> Result<SecretValue, SecretError> {
        self.check_variable(name).inspect_err(|_| {
            self.deny(context, &DenyEvent::of_variable(name));
        })?;
        let value = self.setup().environment.get(name);
        value.ok_or_else(|| failure::no_variable(name))
    }

    fn check_variable(&self, name: &str) -> Result<(), SecretError> {
        if env::is_referable(name, &self.setup().environment) {
            return Ok(());
        }
        Err(failure::refused_variable(name))
    }

    /// What a store says of a secret: as it is kept, or as it is now.
    fn read(&self, key: FetchKey, named: &Arc<Named>, context: &Context, run: &Run) -> Fetch {
        let Some(cache) = &named.cache else {
            return self.start(key, named, context, run).0;
        };
        match cache.look(&key) {
            Look::Known(found) => future::ready(Ok(found)).boxed().shared(),
            Look::Ask(None) => self.start(key, named, context, run).0,
            Look::Ask(Some(last)) => {
                let started = self.start(key, named, context, run);
                let answer = Arc::clone(cache).within_reach(last, started, context.deadline);
                answer.boxed().shared()
            }
        }
    }

    /// The fetch of a secret, shared with whoever is waiting for the same one, and whether it was
    /// begun here.
    fn start(
        &self,
        key: FetchKey,
        named: &Arc<Named>,
        context: &Context,
        run: &Run,
    ) -> (Fetch, bool) {
        let mut is_begun = false;
        let asked = key.clone();
        let begin = || {
            is_begun = true;
            run.count_call();
            let (secrets, named) = (self.clone(), Arc::clone(named));
            // The fetch may outlive the caller that began it, so its deadline is not that caller's.
            let mut context = context.clone();
            let until = context.deadline.take();
            let fetch = async move {
                let begin = Instant::now();
                let FetchKey { store, request, .. } = &asked;
                let answer = secrets.ask(store, &named, request, &context, until).await;
                if let Some(cache) = &named.cache {
                    cache.keep(&asked, begin, &answer);
                }
                answer
            };
            fetch.boxed()
        };
        let fetch = self.door.shared.inflight.join(key, begin);
        (fetch, is_begun)
    }

    /// Asks a store for a secret, as often as is to be done before that time.
    async fn ask(
        &self,
        store: &str,
        named: &Named,
        request: &SecretRequest,
        context: &Context,
        until: Option<Instant>,
    ) -> Fetched {
        let attempt = async || {
            self.door.shared.calls.fetch_add(1, Ordering::Relaxed);
            let asking = named.recorder.ask(Instant::now());
            let answer = named.store.get(request, context).await;
            let (name, failure) = (Some(request.name.as_str()), answer.as_ref().err());
            self.observe(context, store, name, asking, failure);
            answer
        };
        context.ask(until, attempt).await
    }

    fn observe(
        &self,
        context: &Context,
        store: &str,
        secret: Option<&str>,
        asking: Asking<'_>,
        failure: Option<&StoreError>,
    ) {
        let failure = failure.map(|error| error.class);
        let elapsed = asking.begin.elapsed();
        asking.ends(elapsed, failure);
        tracing::debug!(
            store,
            secret,
            ?elapsed,
            failure = failure.map(Class::code),
            "fetched"
        );
        if let Some(observer) = &self.setup().observer {
            observer.fetched(
                context,
                &FetchEvent {
                    store,
                    secret,
                    elapsed,
                    failure,
                },
            );
        }
    }

    fn named<'s>(
        &'s self,
        store: &'s str,
        run: &Run,
    ) -> Result<(&'s str, Arc<Named>), SecretError> {
        self.look_up(store, run).map_err(|mut error| {
            error.without_store = true;
            error
        })
    }

    fn look_up<'s>(
        &'s self,
        store: &'s str,
        run: &Run,
    ) -> Result<(&'s str, Arc<Named>), SecretError> {
        let effective = self.effective_store(store);
        if let Some(named) = read(&self.door.stores).get(effective) {
            return Ok((effective, Arc::clone(named)));
        }
        if let Some(error) = read(&self.door.broken).get(effective) {
            return Err(failure::of_store(error.clone(), effective, ""));
        }
        let stores = read(&self.door.stores);
        let names = stores.keys().map(String::as_str);
        Err(failure::no_store(effective, names, run))
    }

    fn decide(&self, store: &str, secret: &str) -> Result<(), SecretError> {
        match self.setup().policy.decide(store, secret) {
            Decision::Allow => Ok(()),
            Decision::Deny(rule) => Err(failure::denied(store, secret, rule)),
        }
    }

    fn deny(&self, context: &Context, event: &DenyEvent<'_>) {
        let DenyEvent {
            store,
            secret,
            variable,
        } = event;
        tracing::info!(store, secret, variable, "denied");
        if let Some(observer) = &self.setup().observer {
            observer.denied(context, event);
        }
    }

    /// The namespace that the store is told. A document's own is a name that it gave itself, so it
    /// counts only where the context or the builder says it, too.
    fn granted_namespace(
        &self,
        named: &Named,
        namespace: &str,
        context: &Context,
    ) -> Result<String, SecretError> {
        if !named.store.is_namespaced() {
            return Ok(String::new());
        }
        if namespace.is_empty() {
            return Ok(context.namespace.clone().unwrap_or_default());
        }
        let granted = context.namespace.as_deref() == Some(namespace)
            || self
                .setup()
                .namespaces
                .as_ref()
                .is_none_or(|granted| granted.contains(namespace));
        if granted {
            return Ok(namespace.to_owned());
        }
        Err(failure::no_namespace(namespace))
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

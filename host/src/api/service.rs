//! What is served, whatever the protocol: requests in Dapr's order of checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::api::access::{Access, ApiLists};
use crate::api::app::App;
use crate::api::asked::Asked;
use crate::api::audit::{Audit, AuditCounts, AuditDecision, Caller};
use crate::api::configuration::Subscriptions;
use crate::api::end::{End, Phase};
use crate::api::fault::{Code, Fault};
use crate::api::go;
use crate::api::identity::Identity;
use crate::api::loaded::Loaded;
use crate::api::metrics::{Denial, Metrics, Operation};
use crate::api::settings::Settings;
use crate::api::status::Kept;
use crate::api::traces::Traces;
use crate::api::unread::AllUnread;
use crate::context::Context;
use crate::error::{Class, SecretError};
use crate::mode::Mode;
use crate::policy::Decision;
use crate::resiliency::{Policies, Policy};
use crate::secret::{Secret, SecretValue};
use crate::stores::{BulkRequest, SecretRequest};

/// The version of Dapr whose behavior is served.
pub const DAPR_VERSION: &str = "1.18.3";

/// The state behind every listener.
pub(crate) struct Service {
    pub(crate) identity: Identity,
    pub(crate) access: Access,
    pub(crate) end: End,
    /// The app, if it has a port.
    pub(crate) app: Option<Arc<App>>,
    pub(crate) subscriptions: Subscriptions,
    /// What is recorded, if anything is.
    pub(crate) metrics: Option<Metrics>,
    /// What makes traces, if anybody wants them.
    pub(crate) traces: Option<Arc<Traces>>,
    /// Who is told of requests for secrets.
    pub(crate) audit: Option<Arc<dyn Audit>>,
    /// What is kept for the status page, if there is one.
    pub(crate) kept: Option<Arc<Kept>>,
    /// How long a request may take.
    pub(crate) timeout: Duration,
    /// How many bytes of bodies may be held at a time, of all requests together.
    pub(crate) bodies: Arc<Semaphore>,
    /// What clients have not read yet of what they were answered.
    pub(crate) unread: Arc<AllUnread>,
    settings: watch::Sender<Arc<Settings>>,
    loaded: watch::Sender<Option<Arc<Loaded>>>,
    app_ready: AtomicBool,
    /// What callers have added to the metadata.
    extended: Mutex<BTreeMap<String, String>>,
    /// Dapr's other APIs that somebody has called.
    unserved: Mutex<BTreeSet<String>>,
}

/// How many bytes of bodies are held at a time; more of them wait.
const MOST_BODIES: usize = 64 << 20;

/// How much callers may add to the metadata, in bytes: it stays for as long as the process does.
const MOST_EXTENDED: usize = 1 << 20;

/// What a caller has to read the answer in before a forced end, as in Dapr.
const FORCED_AFTER: Duration = Duration::from_millis(100);

/// How many names of APIs are remembered: Dapr has about a hundred.
const MOST_UNSERVED: usize = 128;

/// The header, and the metadata of gRPC, that says that a secret's store cannot be reached and this is
/// what it said before.
pub(crate) const STALE: &str = "keyref-stale";

/// Secrets by name, each with its keys and values as they go out.
pub(crate) type Bulk = BTreeMap<String, Secret>;

impl Service {
    pub(crate) fn new(
        identity: Identity,
        access: Access,
        app: Option<App>,
        timeout: Duration,
        metrics: Option<Metrics>,
    ) -> Self {
        let app_ready = AtomicBool::new(identity.app_port.is_none());
        Self {
            identity,
            access,
            end: End::default(),
            app: app.map(Arc::new),
            subscriptions: Subscriptions::default(),
            metrics,
            traces: None,
            audit: None,
            kept: None,
            timeout,
            bodies: Arc::new(Semaphore::new(MOST_BODIES)),
            unread: Arc::default(),
            settings: watch::Sender::default(),
            loaded: watch::Sender::default(),
            app_ready,
            extended: Mutex::default(),
            unserved: Mutex::default(),
        }
    }

    pub(crate) fn with_settings(self, settings: Settings) -> Self {
        self.set(settings);
        self
    }

    /// Tells an audit trail of requests for secrets.
    pub(crate) fn with_audit(self, audit: Option<Arc<dyn Audit>>) -> Self {
        Self { audit, ..self }
    }

    /// Makes traces of requests.
    pub(crate) fn with_traces(self, traces: Option<Traces>) -> Self {
        Self {
            traces: traces.map(Arc::new),
            ..self
        }
    }

    /// Keeps what a status page tells, the last records of the trail among it.
    pub(crate) fn with_kept(mut self) -> Self {
        let kept = Arc::new(Kept::new(self.audit.take()));
        self.audit = Some(Arc::clone(&kept.recent) as Arc<dyn Audit>);
        self.kept = Some(kept);
        self
    }

    /// What has become of the records of the trail, where there is one.
    pub(crate) fn audit_counts(&self) -> Option<AuditCounts> {
        match &self.kept {
            Some(kept) => kept.recent.trail(),
            None => self.audit.as_ref().map(|audit| audit.counts()),
        }
    }

    /// Goes by these settings from now on.
    pub(crate) fn set(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Waits until the lists of APIs close what was open.
    pub(crate) async fn closes(&self, is_open: fn(&ApiLists) -> bool) {
        let mut settings = self.settings.subscribe();
        // The sender is there for as long as this is.
        drop(settings.wait_for(|settings| !is_open(&settings.api)).await);
    }

    /// Serves this from now on. Requests that have begun end with what was there before.
    pub(crate) fn load(&self, mut loaded: Loaded) {
        if let Some(metrics) = &self.metrics {
            metrics.load(&loaded);
        }
        let metrics = self.metrics.as_ref().map(|metrics| &metrics.resiliency);
        loaded.policies = Policies::of(&loaded, self.loaded().as_deref(), metrics);
        if let Some(kept) = &self.kept {
            let before = self.loaded();
            let before = before.as_ref().map(|before| &before.configurations);
            let none = BTreeMap::new();
            kept.answers
                .load(before.unwrap_or(&none), &loaded.configurations);
            kept.history.load();
        }
        self.loaded.send_replace(Some(Arc::new(loaded)));
    }

    pub(crate) fn loaded(&self) -> Option<Arc<Loaded>> {
        self.loaded.borrow().clone()
    }

    /// Sees each exchange of what is loaded.
    pub(crate) fn loads(&self) -> watch::Receiver<Option<Arc<Loaded>>> {
        self.loaded.subscribe()
    }

    /// Takes note that the app answers. Where it is not asked for its health, it is healthy.
    pub(crate) fn set_app_ready(&self) {
        self.app_ready.store(true, Ordering::Release);
        if let (Some(app), None) = (&self.app, &self.identity.app_health) {
            app.health.set(true);
        }
    }

    /// Whether components are loaded: what an app waits for before it asks.
    pub(crate) fn outbound_health(&self) -> Result<(), Fault> {
        match self.loaded() {
            Some(_) => Ok(()),
            None => Err(Fault::new(
                Code::OutboundHealthNotReady,
                "dapr outbound is not ready",
            )),
        }
    }

    /// What is waited for until all is ready.
    pub(crate) fn waiting(&self) -> Vec<&'static str> {
        let mut waiting = Vec::new();
        if self.loaded().is_none() {
            waiting.push("components");
        }
        if !self.app_ready.load(Ordering::Acquire) {
            waiting.push("app");
        }
        waiting
    }

    /// Whether components are loaded and the app answers.
    pub(crate) fn health(&self) -> Result<(), Fault> {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return Ok(());
        }
        let message = format!("dapr is not ready: [{}]", waiting.join(" "));
        Err(Fault::new(Code::HealthNotReady, message))
    }

    /// Reads one secret.
    pub(crate) async fn secret(
        &self,
        store: &str,
        name: &str,
        metadata: BTreeMap<String, String>,
        caller: Option<Caller>,
    ) -> Result<Secret, Fault> {
        let asked = Asked::new(self, caller.as_ref(), "get", store, Some(name));
        let read = self.read_secret(store, name, metadata).await;
        asked.answered(read.as_ref().map(|_| None));
        read
    }

    async fn read_secret(
        &self,
        store: &str,
        name: &str,
        metadata: BTreeMap<String, String>,
    ) -> Result<Secret, Fault> {
        let loaded = self.store(store)?;
        let (namespace, options) = request_metadata(metadata);
        let mut request = SecretRequest::new(name).with_namespace(namespace);
        request.options = options;
        let begin = Instant::now();
        let context = self.context_of(loaded.policies.secrets(store));
        let read = loaded.resolver.get(store, request, &context).await;
        let failure = read.as_ref().err().map(|error| error.class);
        self.count(store, Operation::GetSecret, failure, begin);
        let secret = read.map_err(|error| get_fault(store, name, &error))?;
        match loaded.resolver.mode() {
            Mode::Dapr => {}
            Mode::Strict if secret.iter().all(|(_, value)| value.reveal_text().is_ok()) => {}
            Mode::Strict => return Err(get_failed(store, name, Class::ValueNotText, NOT_TEXT)),
        }
        Ok(secret)
    }

    /// Reads all secrets of a store that policy allows.
    pub(crate) async fn secrets(
        &self,
        store: &str,
        metadata: BTreeMap<String, String>,
        caller: Option<Caller>,
    ) -> Result<Bulk, Fault> {
        let asked = Asked::new(self, caller.as_ref(), "bulk", store, None);
        let read = self.read_secrets(store, metadata).await;
        asked.answered(read.as_ref().map(Some));
        read
    }

    /// What decided about a request. Of all secrets of a store, each was decided about by itself.
    pub(crate) fn rule(
        &self,
        store: &str,
        secret: Option<&str>,
        decision: AuditDecision,
    ) -> &'static str {
        let Some(loaded) = self.loaded() else {
            return "none";
        };
        let policy = loaded.resolver.policy();
        let is_denied = decision == AuditDecision::Denied;
        match secret {
            Some(secret) if is_denied && policy.decide(store, secret) == Decision::Allow => {
                "namespace"
            }
            Some(secret) => policy.decided_by(store, secret),
            None if is_denied => "namespace",
            None if policy.scopes().any(|scope| scope.store == store) => "scope",
            None => "none",
        }
    }

    async fn read_secrets(
        &self,
        store: &str,
        metadata: BTreeMap<String, String>,
    ) -> Result<Bulk, Fault> {
        let loaded = self.store(store)?;
        let (namespace, options) = request_metadata(metadata);
        let mut request = BulkRequest::new(namespace);
        request.options = options;
        let begin = Instant::now();
        let context = self.context_of(loaded.policies.secrets(store));
        let read = loaded.resolver.bulk(store, request, &context).await;
        let failure = read.as_ref().err().map(|error| error.class);
        self.count(store, Operation::BulkGetSecret, failure, begin);
        let secrets = read.map_err(|error| bulk_failed(store, error.class, error.reason()))?;
        let is_text = |value: &SecretValue| value.reveal_text().is_ok();
        let all_text = || {
            let mut values = secrets.values().flat_map(Secret::iter);
            values.all(|(_, value)| is_text(value))
        };
        if loaded.resolver.mode() == Mode::Strict && !all_text() {
            return Err(bulk_failed(store, Class::ValueNotText, NOT_TEXT));
        }
        Ok(secrets)
    }

    /// What is loaded, where a store of this name is among it.
    fn store(&self, store: &str) -> Result<Arc<Loaded>, Fault> {
        let none = |class| {
            let message = "secret store is not configured";
            Fault::new(Code::SecretStoresNotConfigured, message).of_class(class)
        };
        // Dapr says the same of stores that are not loaded yet.
        let loaded = self.loaded().ok_or_else(|| none(Class::Unreachable))?;
        if !loaded.resolver.has_stores() {
            return Err(none(Class::StoreUnknown));
        }
        if !loaded.resolver.has_store(store) {
            let message = format!("failed finding secret store with key {store}");
            let fault = Fault::new(Code::SecretStoreNotFound, message);
            return Err(fault.of_class(Class::StoreUnknown));
        }
        Ok(loaded)
    }

    /// Counts an operation on a store that is loaded. One that policy refuses asks no store.
    pub(crate) fn count(
        &self,
        store: &str,
        operation: Operation,
        failure: Option<Class>,
        begin: Instant,
    ) {
        if let Some(kept) = self.kept.as_ref().filter(|_| !operation.is_of_secrets()) {
            kept.answers.note(store, begin, failure);
        }
        let Some(metrics) = &self.metrics else {
            return;
        };
        if failure == Some(Class::PolicyDenied) {
            metrics.deny(Denial::Policy);
            return;
        }
        let (operations, elapsed) = (&metrics.operations, begin.elapsed());
        operations.count(store, operation, failure.is_none(), elapsed);
        if let Some(class) = failure {
            operations.fail(store, class);
        }
    }

    pub(crate) fn context(&self) -> Context {
        let mut context = Context::new()
            .with_caller("api")
            .with_app_id(&self.identity.app_id)
            .with_timeout(self.timeout);
        context.namespace.clone_from(&self.identity.namespace);
        context
    }

    /// The same for a store that is asked under a policy.
    pub(crate) fn context_of(&self, policy: Option<&Arc<Policy>>) -> Context {
        let mut context = self.context();
        context.policy = policy.cloned();
        context
    }

    /// Ends the server because a caller asks for it: at once where it is forced, as soon as the
    /// caller can have its answer.
    pub(crate) fn shut_down(self: &Arc<Self>, is_forced: bool) {
        tracing::info!("Shutdown requested via API");
        if !is_forced {
            self.end.advance(Phase::Ending);
            return;
        }
        let service = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(FORCED_AFTER).await;
            service.end.advance(Phase::Now);
        });
    }

    /// Names an API of Dapr that is not served in the log, once.
    pub(crate) fn note_unserved(&self, api: &str) {
        let mut unserved = self.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        // Callers can make names up.
        if unserved.len() < MOST_UNSERVED && unserved.insert(api.to_owned()) {
            tracing::warn!(api, "this API of Dapr is not served");
        }
    }

    /// Adds to the metadata. Without a name nothing is added, as in Dapr.
    pub(crate) fn extend(&self, name: String, value: String) -> Result<(), Fault> {
        if name.is_empty() {
            return Ok(());
        }
        let mut extended = self.extended.lock().unwrap_or_else(PoisonError::into_inner);
        let others = extended.iter().filter(|(other, _)| **other != name);
        let bytes: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        if bytes + name.len() + value.len() > MOST_EXTENDED {
            let message = "failed to read request body: the metadata is full";
            return Err(Fault::new(Code::BodyRead, message));
        }
        extended.insert(name, value);
        Ok(())
    }

    /// What callers have added, and which versions these are.
    pub(crate) fn extended(&self) -> BTreeMap<String, String> {
        let extended = self.extended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut extended = extended.clone();
        extended.insert("daprRuntimeVersion".to_owned(), DAPR_VERSION.to_owned());
        extended.insert(
            "keyrefVersion".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        );
        extended
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A request's metadata: the namespace, which the door decides about, and all else.
fn request_metadata(mut metadata: BTreeMap<String, String>) -> (String, Vec<(String, String)>) {
    let namespace = metadata.remove("namespace").unwrap_or_default();
    (namespace, metadata.into_iter().collect())
}

/// Why one secret could not be read, in Dapr's words.
fn get_fault(store: &str, name: &str, error: &SecretError) -> Fault {
    // A namespace that is not granted is refused by the same door.
    if error.class == Class::PolicyDenied {
        let (name, store) = (go::quoted(name), go::quoted(store));
        let message = format!("access denied by policy to get {name} from {store}");
        return Fault::new(Code::PermissionDenied, message).of_class(error.class);
    }
    get_failed(store, name, error.class, error.reason())
}

/// The reason where a value is needed as text and is not.
pub(crate) const NOT_TEXT: &str = "a value is not UTF-8";

/// One secret could not be read.
pub(crate) fn get_failed(store: &str, name: &str, class: Class, reason: &str) -> Fault {
    let message =
        format!("failed getting secret with key {name} from secret store {store}: {reason}");
    Fault::new(Code::SecretGet, message).of_class(class)
}

/// All secrets of a store could not be read.
pub(crate) fn bulk_failed(store: &str, class: Class, reason: &str) -> Fault {
    let message = format!("failed getting secrets from secret store {store}: {reason}");
    Fault::new(Code::SecretGet, message).of_class(class)
}

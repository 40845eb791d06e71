//! Operations on stores: how many, how long, and what went wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::api::metrics::definitions;
use crate::api::metrics::family::{Family, Metric};
use crate::api::metrics::series::{Bounds, Counter, Histogram};
use crate::api::metrics::settings::MetricsSettings;
use crate::error::Class;

/// What is done with a store.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Operation {
    GetSecret,
    BulkGetSecret,
    GetConfiguration,
    SubscribeConfiguration,
    UnsubscribeConfiguration,
}

impl Operation {
    /// Dapr's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::GetSecret | Self::GetConfiguration => "get",
            Self::BulkGetSecret => "bulk_get",
            Self::SubscribeConfiguration => "subscribe",
            Self::UnsubscribeConfiguration => "unsubscribe",
        }
    }

    pub(crate) fn is_of_secrets(self) -> bool {
        matches!(self, Self::GetSecret | Self::BulkGetSecret)
    }
}

/// How many operations ended so, and how long they took.
type Ended = (Arc<Counter>, Arc<Histogram>);

/// The series of a store, by operation and success.
type OfStore = BTreeMap<(Operation, bool), Arc<Ended>>;

/// What is counted of operations.
#[derive(Debug)]
pub(crate) struct Operations {
    app_id: String,
    namespace: String,
    secret_count: Family<Counter>,
    secret_latency: Family<Histogram>,
    configuration_count: Family<Counter>,
    configuration_latency: Family<Histogram>,
    errors: Family<Counter>,
    /// Each is looked up once by its labels: by store, and then by operation and success.
    ended: RwLock<BTreeMap<String, OfStore>>,
}

impl Operations {
    pub(crate) fn new(
        (app_id, namespace): (&str, &str),
        settings: &MetricsSettings,
        latencies: &Bounds,
    ) -> Self {
        let rules = settings.rules.as_slice();
        let latency = |definition| Family::histograms(definition, rules, latencies);
        let count = |definition| Family::counters(definition, rules);
        Self {
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
            secret_count: count(definitions::SECRET_COUNT),
            secret_latency: latency(definitions::SECRET_LATENCY),
            configuration_count: count(definitions::CONFIGURATION_COUNT),
            configuration_latency: latency(definitions::CONFIGURATION_LATENCY),
            errors: count(definitions::STORE_ERRORS),
            ended: RwLock::default(),
        }
    }

    /// Forgets the stores that are not loaded, but for what they have counted so far.
    pub(crate) fn retain(&self, is_loaded: impl Fn(&str) -> bool) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|store, _| is_loaded(store));
    }

    /// Counts an operation on a store that is loaded.
    pub(crate) fn count(
        &self,
        store: &str,
        operation: Operation,
        is_success: bool,
        elapsed: Duration,
    ) {
        let key = (operation, is_success);
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        let found = ended.get(store).and_then(|ended| ended.get(&key)).cloned();
        drop(ended);
        let ended = found.unwrap_or_else(|| self.resolve(store, key));
        let (count, latency) = ended.as_ref();
        count.increment();
        latency.observe(elapsed.as_secs_f64() * 1000.0);
    }

    /// Counts why an operation on a store that is loaded failed.
    pub(crate) fn fail(&self, store: &str, class: Class) {
        let values = [self.app_id.as_str(), class.code(), store];
        self.errors.with(&values).increment();
    }

    fn resolve(&self, store: &str, key: (Operation, bool)) -> Arc<Ended> {
        let (operation, is_success) = key;
        let (count, latency) = if operation.is_of_secrets() {
            (&self.secret_count, &self.secret_latency)
        } else {
            (&self.configuration_count, &self.configuration_latency)
        };
        let success = if is_success { "true" } else { "false" };
        let (app_id, namespace) = (self.app_id.as_str(), self.namespace.as_str());
        let values = [app_id, store, namespace, operation.name(), success];
        let found = Arc::new((count.with(&values), latency.with(&values)));
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        let ended = ended.entry(store.to_owned()).or_default();
        Arc::clone(ended.entry(key).or_insert(found))
    }

    pub(crate) fn metrics(&self) -> [&dyn Metric; 5] {
        [
            &self.secret_count,
            &self.secret_latency,
            &self.configuration_count,
            &self.configuration_latency,
            &self.errors,
        ]
    }
}

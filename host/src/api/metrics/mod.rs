//! What the server does, in numbers: Dapr's metrics for the APIs that are served, by its names,
//! labels and buckets, and keyref's own beside them.
//!
//! No label is what a caller made up: a path is told by its form, and a store by its name where it
//! is loaded.

mod cache;
mod calls;
mod definitions;
mod family;
mod operations;
mod pattern;
mod requests;
mod resiliency;
mod rule;
mod series;
mod settings;
mod text;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use self::calls::{Calls, Method};
use self::family::{Family, Metric};
pub(crate) use self::operations::{Operation, Operations};
pub use self::pattern::{PathPattern, UnreadablePath};
pub(crate) use self::requests::{Place, Requests};
pub(crate) use self::resiliency::ResiliencyMetrics;
pub use self::rule::{LabelRule, UnreadablePattern};
pub(crate) use self::series::Counter;
use self::series::{Bounds, Histogram};
pub(crate) use self::settings::MetricsFields;
pub use self::settings::MetricsSettings;
pub(crate) use self::text::CONTENT_TYPE;
use crate::api::audit::AuditCounts;
use crate::api::fault::Code;
use crate::api::identity::Identity;
use crate::api::loaded::{Loaded, LoadedComponent};
use crate::api::service::DAPR_VERSION;
use crate::cache::CacheStats;
use crate::resiliency::Policies;

/// Dapr's buckets of sizes, in bytes.
const SIZES: [f64; 13] = [
    1_024.0,
    2_048.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

/// Dapr's buckets of latencies, in milliseconds.
const LATENCIES: [u32; 34] = [
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400,
    500, 650, 800, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
];

/// Why a request is refused before any store is asked, or by its policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Denial {
    /// Without the API token.
    Token,
    /// By the host that it asks for.
    Host,
    /// By the lists of APIs.
    Api,
    /// By the policy of a secret store.
    Policy,
}

impl Denial {
    /// As a label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Host => "host",
            Self::Api => "api",
            Self::Policy => "policy",
        }
    }
}

/// All that is recorded.
#[derive(Debug)]
pub(crate) struct Metrics {
    app_id: String,
    pub(crate) requests: Requests,
    pub(crate) calls: Calls,
    pub(crate) operations: Operations,
    pub(crate) resiliency: ResiliencyMetrics,
    error_codes: Option<Family<Counter>>,
    loaded: Family<Counter>,
    initialized: Family<Counter>,
    not_initialized: Family<Counter>,
    denied: Family<Counter>,
    denials: [Arc<Counter>; 4],
    reloads: Family<Counter>,
    probes: Family<Counter>,
    probe_latency: Family<Histogram>,
    /// What was loaded last, and what was not.
    components: Mutex<[Vec<LoadedComponent>; 2]>,
}

impl Metrics {
    pub(crate) fn new(identity: &Identity, settings: &MetricsSettings) -> Self {
        let app_id = identity.app_id.as_str();
        let namespace = identity.namespace.as_deref().unwrap_or_default();
        let latencies: Bounds = if settings.latency_buckets.is_empty() {
            LATENCIES.into_iter().map(f64::from).collect()
        } else {
            let bounds = settings.latency_buckets.iter();
            bounds.map(|bound| requests::bytes(*bound)).collect()
        };
        let counters = |definition| Family::counters(definition, &settings.rules);
        let records_codes = settings.records_error_codes;
        let denied = counters(definitions::DENIED);
        let denials = [Denial::Token, Denial::Host, Denial::Api, Denial::Policy];
        Self {
            app_id: app_id.to_owned(),
            requests: Requests::new(app_id, settings, &latencies),
            calls: Calls::new(app_id, settings, &latencies),
            operations: Operations::new((app_id, namespace), settings, &latencies),
            resiliency: ResiliencyMetrics::new(app_id, &settings.rules),
            error_codes: records_codes.then(|| counters(definitions::ERROR_CODE)),
            loaded: counters(definitions::COMPONENT_LOADED),
            initialized: counters(definitions::COMPONENT_INIT),
            not_initialized: counters(definitions::COMPONENT_INIT_FAIL),
            denials: denials.map(|denial| denied.with(&[app_id, denial.name()])),
            denied,
            reloads: counters(definitions::RELOADS),
            probes: counters(definitions::PROBE_COUNT),
            probe_latency: Family::histograms(
                definitions::PROBE_LATENCY,
                &settings.rules,
                &latencies,
            ),
            components: Mutex::default(),
        }
    }

    /// Counts what is loaded now and was not there, or was another, before.
    pub(crate) fn load(&self, loaded: &Loaded) {
        let mut stores: BTreeSet<String> = loaded.resolver.stores().into_iter().collect();
        stores.extend(loaded.configurations.keys().cloned());
        self.operations.retain(|store| stores.contains(store));
        self.requests.know(stores.into_iter());
        let app_id = self.app_id.as_str();
        let mut before = self
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let [was_loaded, was_lost] = &mut *before;
        for component in &loaded.components {
            if !was_loaded.contains(component) {
                self.loaded.with(&[app_id]).increment();
                let values = [app_id, &component.component_type];
                self.initialized.with(&values).increment();
            }
        }
        for component in &loaded.failed {
            if !was_lost.contains(component) {
                let values = [app_id, &component.component_type, &component.name, "init"];
                self.not_initialized.with(&values).increment();
            }
        }
        was_loaded.clone_from(&loaded.components);
        was_lost.clone_from(&loaded.failed);
    }

    /// Counts that documents were read again.
    pub(crate) fn reloaded(&self, is_taken_over: bool) {
        let outcome = if is_taken_over { "ok" } else { "failed" };
        self.reloads.with(&[&self.app_id, outcome]).increment();
    }

    /// Counts that the app was asked for its health.
    pub(crate) fn probed(&self, status: u16, elapsed: Duration) {
        let status = status.to_string();
        let values = [self.app_id.as_str(), &status];
        self.probes.with(&values).increment();
        let latency = self.probe_latency.with(&values);
        latency.observe(whole_milliseconds(elapsed));
    }

    /// Counts an error of Dapr's, where its codes are counted.
    pub(crate) fn error(&self, code: Code) {
        if let Some(codes) = &self.error_codes {
            let values = [self.app_id.as_str(), code.category(), code.name()];
            codes.with(&values).increment();
        }
    }

    /// Whether Dapr's codes of errors are counted.
    pub(crate) fn counts_errors(&self) -> bool {
        self.error_codes.is_some()
    }

    /// Counts a request that is refused.
    pub(crate) fn deny(&self, denial: Denial) {
        let [token, host, api, policy] = &self.denials;
        match denial {
            Denial::Token => token.increment(),
            Denial::Host => host.increment(),
            Denial::Api => api.increment(),
            Denial::Policy => policy.increment(),
        }
    }

    /// All of it as Prometheus reads it.
    pub(crate) fn text(
        &self,
        subscriptions: usize,
        audit: Option<AuditCounts>,
        cache: Option<&CacheStats>,
        policies: Option<&Policies>,
    ) -> String {
        let mut metrics: Vec<&dyn Metric> = vec![
            &self.loaded,
            &self.initialized,
            &self.not_initialized,
            &self.denied,
            &self.reloads,
            &self.probes,
            &self.probe_latency,
        ];
        metrics.extend(self.requests.metrics());
        metrics.extend(self.calls.metrics());
        metrics.extend(self.operations.metrics());
        metrics.extend(self.resiliency.metrics());
        metrics.extend(self.error_codes.as_ref().map(|codes| codes as &dyn Metric));
        metrics.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = String::new();
        for metric in metrics {
            metric.write(&mut text);
        }
        let help = "Which version of keyref runs, and of Dapr's behavior.";
        text::head(&mut text, definitions::BUILD, help, "gauge");
        let versions = [
            ("dapr_version", DAPR_VERSION),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        let labels = text::labels(versions.into_iter());
        text::sample(&mut text, definitions::BUILD, &labels, 1);
        let help = "The number of subscriptions to configuration that are open.";
        text::head(&mut text, definitions::SUBSCRIPTIONS, help, "gauge");
        let labels = text::labels([("app_id", self.app_id.as_str())].into_iter());
        let subscriptions = u64::try_from(subscriptions).unwrap_or(u64::MAX);
        text::sample(
            &mut text,
            definitions::SUBSCRIPTIONS,
            &labels,
            subscriptions,
        );
        if let Some(policies) = policies {
            self.resiliency.write_states(&mut text, policies);
        }
        if let Some(cache) = cache {
            cache::write(&mut text, &self.app_id, cache);
        }
        if let Some(audit) = audit {
            let name = definitions::AUDIT;
            let help = "The number of records of the audit trail, by what has become of them.";
            text::head(&mut text, name, help, "counter");
            for (outcome, number) in [
                ("failed", audit.failed),
                ("lost", audit.lost),
                ("written", audit.written),
            ] {
                let labels = [("app_id", self.app_id.as_str()), ("outcome", outcome)];
                let labels = text::labels(labels.into_iter());
                text::sample(&mut text, name, &labels, number);
            }
        }
        text
    }
}

/// A time in milliseconds without their fractions, as Dapr has it.
fn whole_milliseconds(elapsed: Duration) -> f64 {
    u32::try_from(elapsed.as_millis()).map_or(f64::from(u32::MAX), f64::from)
}

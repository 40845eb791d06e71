//! The policies of the stores that are loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::Loaded;
use crate::api::metrics::ResiliencyMetrics;
use crate::resiliency::Resiliency;
use crate::resiliency::breaker::Breaker;
use crate::resiliency::definitions::Flow;
use crate::resiliency::policy::Policy;

/// The policies of the stores that are loaded, each looked up once. A breaker goes on counting where
/// its rule and its store are the same as before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies(Arc<Flows>);

#[derive(Debug, Default)]
struct Flows {
    secrets: Bound,
    configurations: Bound,
    notifications: Bound,
    /// The document that metrics name, and its namespace.
    document: (String, String),
}

/// By the store's name.
type Bound = BTreeMap<String, Arc<Policy>>;

impl Policies {
    /// The policies of what is about to be loaded in place of what was before. Documents that were
    /// not there before are counted.
    pub(crate) fn of(
        loaded: &Loaded,
        before: Option<&Loaded>,
        metrics: Option<&ResiliencyMetrics>,
    ) -> Self {
        let is_new = before.is_none_or(|before| before.resiliency != loaded.resiliency);
        if let Some(metrics) = metrics.filter(|_| is_new) {
            metrics.load(&loaded.resiliency);
        }
        let secrets = loaded.resolver.stores();
        let configurations: Vec<_> = loaded.configurations.keys().cloned().collect();
        let stores = (secrets.as_slice(), configurations.as_slice());
        let before = before.map(|before| before.policies.of_unchanged(before, loaded));
        Self::bind(
            &loaded.resiliency,
            stores,
            &before.unwrap_or_default(),
            metrics,
        )
    }

    /// Without those of stores that were exchanged: what a breaker knows of a backend says nothing of
    /// another one.
    fn of_unchanged(&self, before: &Loaded, loaded: &Loaded) -> Self {
        let (secrets, others) = (loaded.resolver.secrets(), before.resolver.secrets());
        let configuration = |store: &str| {
            let known = before.configurations.get(store);
            known.zip(loaded.configurations.get(store))
        };
        let filtered = |bound: &Bound, is_unchanged: &dyn Fn(&str) -> bool| -> Bound {
            let kept = bound.iter().filter(|(store, _)| is_unchanged(store));
            kept.map(|(store, policy)| (store.clone(), Arc::clone(policy)))
                .collect()
        };
        let flows = &self.0;
        Self(Arc::new(Flows {
            secrets: filtered(&flows.secrets, &|store| secrets.has_same(others, store)),
            configurations: filtered(&flows.configurations, &|store| {
                configuration(store).is_some_and(|(known, store)| Arc::ptr_eq(known, store))
            }),
            // Those are about the app.
            notifications: flows.notifications.clone(),
            document: flows.document.clone(),
        }))
    }

    /// The policies of these secret stores and configuration stores.
    pub(super) fn bind(
        resiliency: &Resiliency,
        (secrets, configurations): (&[String], &[String]),
        before: &Self,
        metrics: Option<&ResiliencyMetrics>,
    ) -> Self {
        if resiliency.is_empty() {
            return Self::default();
        }
        let bind = |flow, stores: &[String], before: &Bound| -> Bound {
            let bound = stores.iter().filter_map(|store| {
                let known = before.get(store);
                let policy = resiliency.policy(store, flow, known, metrics)?;
                Some((store.clone(), Arc::new(policy)))
            });
            bound.collect()
        };
        let before = &before.0;
        let told = &before.notifications;
        Self(Arc::new(Flows {
            secrets: bind(Flow::Secrets, secrets, &before.secrets),
            configurations: bind(Flow::Configuration, configurations, &before.configurations),
            notifications: bind(Flow::Notification, configurations, told),
            document: resiliency.document(),
        }))
    }

    /// For asking a secret store.
    pub(crate) fn secrets(&self, store: &str) -> Option<&Arc<Policy>> {
        self.0.secrets.get(store)
    }

    /// For asking a configuration store.
    pub(crate) fn configuration(&self, store: &str) -> Option<&Arc<Policy>> {
        self.0.configurations.get(store)
    }

    /// For telling the app of configuration.
    pub(crate) fn notification(&self, store: &str) -> Option<&Arc<Policy>> {
        self.0.notifications.get(store)
    }

    /// The breakers, each with Dapr's names of its direction and its target.
    pub(crate) fn breakers(&self) -> impl Iterator<Item = (&'static str, String, &Breaker)> {
        let flows = [
            (Flow::Secrets, &self.0.secrets),
            (Flow::Configuration, &self.0.configurations),
            (Flow::Notification, &self.0.notifications),
        ];
        flows.into_iter().flat_map(|(flow, bound)| {
            bound.iter().filter_map(move |(store, policy)| {
                Some((flow.label(), flow.target(store), policy.breaker()?))
            })
        })
    }

    /// The document that metrics name, and its namespace.
    pub(crate) fn document(&self) -> (&str, &str) {
        let (name, namespace) = &self.0.document;
        (name, namespace)
    }
}

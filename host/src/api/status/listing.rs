//! What is loaded, as it is listed: read from the documents once for each load, when it is first
//! asked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use tokio::sync::Mutex;

use crate::api::loaded::{Loaded, LoadedComponent};
use crate::api::service::Service;
use crate::api::status::Kept;
use crate::api::status::facts::{HealthFacts, StoreFacts};
use crate::api::status::reference::{ComponentFacts, Resolved};
use crate::configuration::is_configuration;
use crate::error::Class;
use crate::health::Health;

/// The listing of what is loaded.
#[derive(Debug, Default)]
pub(super) struct Listings(Mutex<Option<(Weak<Loaded>, Arc<Listing>)>>);

/// What is loaded, as it is listed.
#[derive(Debug)]
pub(super) struct Listing {
    components: Arc<[ComponentFacts]>,
    /// The components that may fail.
    optional: BTreeSet<String>,
}

impl Listings {
    /// The listing of this; others who ask meanwhile wait for it.
    pub(super) async fn of(&self, service: &Service, loaded: &Arc<Loaded>) -> Arc<Listing> {
        let mut last = self.0.lock().await;
        if let Some((of, listing)) = &*last
            && std::ptr::eq(of.as_ptr(), Arc::as_ptr(loaded))
        {
            return Arc::clone(listing);
        }
        let listing = Arc::new(Listing::read(service, loaded).await);
        // What is no longer loaded is not kept for its listing.
        *last = Some((Arc::downgrade(loaded), Arc::clone(&listing)));
        listing
    }
}

impl Listing {
    async fn read(service: &Service, loaded: &Loaded) -> Self {
        let mut context = service.context().with_caller("status");
        // Without one, none is left out for its scopes.
        context.app_id = context.app_id.filter(|id| !id.is_empty());
        let documents = loaded.documents.to_vec();
        let inspected = loaded.resolver.inspect(documents, &context).await;
        let components = &inspected.components;
        let optional = components.iter().map(|inspected| &inspected.component);
        let optional = optional.filter(|component| component.ignore_errors);
        Self {
            optional: optional.map(|component| component.name.clone()).collect(),
            components: components.iter().map(ComponentFacts::of).collect(),
        }
    }

    /// The components, with what came of resolving them.
    pub(super) fn components(&self, resolved: Option<&Resolved>) -> Arc<[ComponentFacts]> {
        match resolved.and_then(|resolved| resolved.state.as_ref()) {
            None => Arc::clone(&self.components),
            Some(state) => {
                let components = self.components.iter();
                components.map(|facts| facts.resolved(state)).collect()
            }
        }
    }

    /// All stores, those that are not open as well.
    pub(super) fn stores(
        &self,
        service: &Service,
        kept: &Kept,
        loaded: &Loaded,
        now: SystemTime,
    ) -> Vec<StoreFacts> {
        let mut stores = Vec::new();
        let known = Known::of(loaded);
        let subscriptions = service.subscriptions.by_store();
        let resolver = &loaded.resolver;
        for name in resolver.stores() {
            let is_open = resolver.has_store(&name);
            let mut store = self.store(&known, "secret", &name, is_open);
            store.health = health(resolver.health(&name), now);
            let rule = resolver.cache().rule(&name);
            store.cache = rule.filter(|_| is_open).map(Into::into);
            stores.push(store);
        }
        for (name, configuration) in &loaded.configurations {
            let mut store = self.store(&known, "configuration", name, true);
            store.health = health(kept.answers.health(name), now);
            let number = subscriptions.get(name).copied().unwrap_or_default();
            store.subscriptions = Some(number);
            store.deaf = number > 0 && configuration.is_deaf();
            stores.push(store);
        }
        let open = stores.iter().map(|store| (store.kind, store.name.clone()));
        let mut listed: HashSet<_> = open.collect();
        for lost in &loaded.failed {
            let kind = kind(lost);
            if listed.insert((kind, lost.name.clone())) {
                stores.push(self.store(&known, kind, &lost.name, false));
            }
        }
        stores.sort_by(|one, other| (other.kind, &one.name).cmp(&(one.kind, &other.name)));
        stores
    }

    fn store(
        &self,
        known: &Known<'_>,
        kind: &'static str,
        name: &str,
        is_open: bool,
    ) -> StoreFacts {
        let component = known.components.get(&(kind, name));
        let class = known.classes.get(name).filter(|_| !is_open);
        StoreFacts {
            name: name.to_owned(),
            kind,
            store_type: component.map_or_else(String::new, |found| found.component_type.clone()),
            version: component.map_or_else(String::new, |found| found.version.clone()),
            open: is_open,
            ignore_errors: self.optional.contains(name),
            class: class.map(|class| class.code()),
            health: None,
            subscriptions: None,
            deaf: false,
            cache: None,
        }
    }
}

/// What is loaded, by name.
struct Known<'l> {
    /// With the kind of the store.
    components: HashMap<(&'static str, &'l str), &'l LoadedComponent>,
    /// The first of each component's problems.
    classes: HashMap<&'l str, Class>,
}

impl<'l> Known<'l> {
    fn of(loaded: &'l Loaded) -> Self {
        // The last one of a key stays: those that are open before those that are not.
        let components = loaded.failed.iter().chain(&loaded.components);
        let problems = loaded.problems.iter().rev();
        Self {
            components: components
                .map(|component| ((kind(component), component.name.as_str()), component))
                .collect(),
            classes: problems
                .filter_map(|problem| {
                    let subject = problem.subject.as_ref()?;
                    Some((subject.component.as_str(), problem.class))
                })
                .collect(),
        }
    }
}

fn kind(component: &LoadedComponent) -> &'static str {
    if is_configuration(&component.component_type) {
        "configuration"
    } else {
        "secret"
    }
}

fn health(health: Option<Health>, now: SystemTime) -> Option<HealthFacts> {
    health.map(|health| HealthFacts::of(health, now))
}

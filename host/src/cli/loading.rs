//! What a server serves, from documents: their stores, opened, and what to say where one cannot be.
//!
//! What has been served before is kept where it is the same, or where what is there now is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use keyref::api::{Loaded, LoadedComponent, Resiliency, Settings};
use keyref::component::{Component, Origin, Property};
use keyref::configuration::{self, ConfigurationStore, Unopened};
use keyref::env::Environment;
use keyref::error::Class;
use keyref::problem::{Problem, terminal_safe};
use keyref::stores::{Grants, StoreConfig, StoreError};
use keyref::{
    Cache, Context, Document, Earlier, InspectedComponent, ResolvedComponent, Resolver, Value,
};

use super::arguments::Global;
use super::diagnostics;
use super::findings::Findings;
use super::given::Need;
use super::inputs::{Snapshot, StoreFile};
use super::refusal::Refusal;
use super::session::{self, Session, Surroundings};

/// What a component can do, in Dapr's words: the kinds that can keep several values in a secret.
const MULTIPLE_VALUES: &str = "MULTIPLE_KEY_VALUES_PER_SECRET";

/// What was loaded, and what a later load may keep of it.
pub(super) struct Served {
    pub(super) loaded: Loaded,
    /// The settings that configuration stores were opened with.
    configurations: BTreeMap<String, StoreConfig>,
    /// The files that secret stores read, by the store's name.
    pub(super) files: BTreeMap<String, StoreFile>,
    /// What the configurations say of the server.
    pub(super) settings: Settings,
    /// What is wrong and does not keep the rest from being served.
    tolerated: Vec<Problem>,
    /// Stores that cannot be opened yet.
    waiting: BTreeSet<String>,
}

/// What a load may keep of an earlier one.
#[derive(Default)]
pub(super) struct Before<'s> {
    pub(super) served: Option<&'s Served>,
    /// What secret stores have said.
    pub(super) cache: Cache,
    /// Stores whose files have changed.
    pub(super) renewed: BTreeSet<String>,
    /// Stores that are kept as they are, since what is there now is broken.
    pub(super) kept: BTreeSet<String>,
}

/// Opens the stores of the documents and lists the components, or says why that cannot be. Those that
/// need a store which does not answer within the patience wait, and fail until they are loaded again.
pub(super) async fn load(
    global: &Global,
    snapshot: &Snapshot,
    before: &Before<'_>,
    patience: Duration,
) -> Result<std::result::Result<Served, Refusal>> {
    let mut surroundings = Surroundings::of(global)?;
    surroundings.cache = before.cache.clone();
    surroundings.earlier = before.earlier();
    surroundings.context.fetch_time = Some(patience);
    let known = before.served.map(|served| &served.settings);
    let settings = match settings(global, snapshot, known) {
        Ok(settings) => settings,
        Err(problems) => return Ok(Err(problems.into())),
    };
    let (read, configurations) = (snapshot.read(), snapshot.configurations());
    let beginning = session::begin(global, surroundings, read, configurations, Need::Values);
    let mut session = match beginning.await? {
        Ok(session) => session,
        Err(refused) => return Ok(Err(refused.problems.into())),
    };
    let inspected = session
        .resolver
        .inspect(session.documents.clone(), &session.context);
    let components = inspected.await.components;
    let (resolver, problems) = before.open(&session).await;
    let files = before.files(&resolver);
    let mut all = std::mem::take(&mut session.problems);
    all.extend(problems);
    all.extend(session.slips(&resolver.stores(), &[]));
    let (resiliency, problems) = resiliency(global, &session, before);
    all.extend(problems);
    let mut findings = Findings::of(&components, session.resolver.mode());
    findings.is_reload = before.served.is_some();
    if let Err(refusal) = findings.judge(all) {
        return Ok(Err(refusal));
    }
    let listed = list(&session.given, &components, &resolver);
    let shown = std::mem::take(&mut session.documents);
    let wanted = components.iter().map(|inspected| &inspected.component);
    let (context, environment) = (&session.context, session::environment(global));
    let context = (context, &environment);
    let opening = open_configurations(&resolver, &shown, wanted, context, before);
    let (configurations, problems) = opening.await;
    let waiting = findings.waiting(&problems);
    if let Err(refusal) = findings.judge(problems) {
        return Ok(Err(refusal));
    }
    let loaded = Loaded::new(resolver, listed)
        .with_documents(shown)
        .with_resiliency(resiliency);
    let mut served = Served {
        loaded,
        configurations: BTreeMap::new(),
        files,
        settings,
        tolerated: findings.tolerated,
        waiting: BTreeSet::new(),
    };
    served.add(configurations, waiting);
    served.note_lost(&components);
    served.loaded.problems.clone_from(&served.tolerated);
    Ok(Ok(served))
}

/// What Resiliency documents say, and what is wrong with them.
fn resiliency(
    global: &Global,
    session: &Session,
    before: &Before<'_>,
) -> (Resiliency, Vec<Problem>) {
    let (app_id, mode) = (global.app_id.as_deref(), session.resolver.mode());
    let (resiliency, problems) = Resiliency::read(&session.documents, app_id, mode);
    let known = before.served.map(|served| &served.loaded.resiliency);
    if known != Some(&resiliency) {
        for target in resiliency.without_effect() {
            tracing::warn!("`{target}` has no effect here");
        }
    }
    (resiliency, problems)
}

/// What the configurations say of the server. None may lose the `spec` that it had before.
pub(super) fn settings(
    global: &Global,
    snapshot: &Snapshot,
    before: Option<&Settings>,
) -> std::result::Result<Settings, Vec<Problem>> {
    let (configurations, mode) = (snapshot.configurations(), session::mode(global));
    let environment = session::environment(global);
    let settings = if global.serving.ignores_http_pipeline {
        Settings::read_without_handlers(&configurations, &environment, mode)?
    } else {
        Settings::read(&configurations, &environment, mode)?
    };
    let lost = before.map(|before| settings.lost_since(before, &configurations));
    match lost {
        Some(lost) if !lost.is_empty() => Err(lost),
        _ => Ok(settings),
    }
}

impl Before<'_> {
    /// Nothing but a cache.
    pub(super) fn with_cache(cache: Cache) -> Self {
        Self {
            cache,
            ..Self::default()
        }
    }

    /// The files of secret stores, as they were when these were opened, or when that was tried last.
    fn files(&self, resolver: &Resolver) -> BTreeMap<String, StoreFile> {
        let earlier = self.served.map(|served| served.loaded.resolver.files());
        let earlier = earlier.unwrap_or_default();
        let files = resolver.files().into_iter().map(|(name, stamps)| {
            let known = self.served.and_then(|served| served.files.get(&name));
            let file = match known {
                Some(file) if self.kept.contains(&name) => file.taken(),
                // It was not opened again.
                Some(file) if earlier.get(&name) == Some(&stamps) => file.clone(),
                _ => StoreFile::new(stamps),
            };
            (name, file)
        });
        files.collect()
    }

    /// Opens the secret stores that documents declare.
    async fn open(&self, session: &Session) -> (Resolver, Vec<Problem>) {
        let (resolver, context) = (&session.resolver, &session.context);
        let documents = session.documents.clone();
        match self.earlier() {
            Some(earlier) => {
                let opening = resolver.with_stores_since(documents, context, &earlier);
                opening.await
            }
            None => resolver.with_stores_of(documents, context).await,
        }
    }

    /// The secret stores that need not be opened again.
    fn earlier(&self) -> Option<Earlier> {
        let mut earlier = Earlier::new(self.served?.loaded.resolver.clone());
        earlier.renewed.clone_from(&self.renewed);
        earlier.kept.clone_from(&self.kept);
        Some(earlier)
    }

    /// A configuration store of before, where it was opened with these settings, or with any.
    fn configuration(&self, name: &str, settings: Option<&StoreConfig>) -> Option<Configured> {
        let served = self.served?;
        let opened = served.configurations.get(name)?;
        let is_meant = settings.is_none_or(|settings| settings.is_as(opened));
        let store = served.loaded.configurations.get(name)?;
        is_meant.then(|| (opened.clone(), Arc::clone(store)))
    }

    /// Whether a store of this name was open.
    pub(super) fn has(&self, name: &str) -> bool {
        self.served.is_some_and(|served| served.has(name))
    }
}

impl Served {
    /// Adds configuration stores, and what stands for those that cannot be opened yet.
    fn add(&mut self, configured: Vec<Configured>, mut waiting: BTreeMap<String, StoreError>) {
        let loaded = &mut self.loaded;
        for (config, store) in configured {
            waiting.remove(&config.name);
            loaded.configurations.insert(config.name.clone(), store);
            self.configurations.insert(config.name.clone(), config);
        }
        for (name, error) in waiting {
            let unopened = Arc::new(Unopened::because(error));
            loaded.configurations.insert(name.clone(), unopened);
            self.waiting.insert(name);
        }
        let stores = loaded.resolver.stores().into_iter();
        let waiting = stores.filter(|name| loaded.resolver.is_waiting(name));
        self.waiting.extend(waiting);
    }

    /// Takes note of the stores that are not open: they have failed, and are not listed.
    fn note_lost(&mut self, components: &[InspectedComponent]) {
        let lost = components.iter().map(|inspected| &inspected.component);
        let lost = lost.filter(|component| self.lacks(component));
        let lost =
            lost.map(|lost| LoadedComponent::new(&lost.name, &lost.component_type, &lost.version));
        let lost: Vec<_> = lost.collect();
        let is_lost = |listed: &LoadedComponent| {
            let mut lost = lost.iter();
            lost.any(|lost| {
                lost.name == listed.name && lost.component_type == listed.component_type
            })
        };
        self.loaded.components.retain(|listed| !is_lost(listed));
        self.loaded.failed = lost;
    }

    /// Whether a component is a store that is not open.
    fn lacks(&self, component: &Component) -> bool {
        let is_store = component.is_secret_store()
            || configuration::is_configuration(&component.component_type);
        is_store && !self.has(&component.name)
    }

    /// Whether a store of this name is open.
    fn has(&self, name: &str) -> bool {
        let is_secrets = self.loaded.resolver.has_store(name);
        let is_any = is_secrets || self.loaded.configurations.contains_key(name);
        is_any && !self.waiting.contains(name)
    }

    /// The stores that cannot be opened yet.
    pub(super) fn waiting(&self) -> impl Iterator<Item = String> {
        self.waiting.iter().cloned()
    }

    /// What is wrong and could be served as it was before: an error, or why a store is not open that
    /// was. What policy denies is no loss.
    pub(super) fn losses(&self, before: &Before<'_>) -> Vec<&Problem> {
        let wrong = self.tolerated.iter().filter(|problem| {
            let subject = problem.subject.as_ref();
            let is_lost = subject.is_some_and(|subject| {
                let name = &subject.component;
                before.has(name) && !self.has(name)
            });
            problem.class != Class::PolicyDenied && (diagnostics::is_error(problem) || is_lost)
        });
        wrong.collect()
    }
}

/// A configuration store with the settings that it was opened with.
type Configured = (StoreConfig, Arc<dyn ConfigurationStore>);

/// The components for the metadata: stores of `--store`, and what documents declare but for stores
/// that are not open.
fn list(
    given: &[(String, String)],
    components: &[InspectedComponent],
    resolver: &Resolver,
) -> Vec<LoadedComponent> {
    let mut listed: Vec<_> = given
        .iter()
        .map(|(name, kind)| LoadedComponent::new(name, kind, "v1"))
        .collect();
    for inspected in components {
        let component = &inspected.component;
        let is_given = given.iter().any(|(name, _)| *name == component.name);
        let is_lost = component.is_secret_store() && !resolver.has_store(&component.name);
        if component.name.is_empty() || is_given || is_lost || is_pending(inspected, resolver) {
            continue;
        }
        let (name, kind) = (&component.name, &component.component_type);
        let listing = LoadedComponent::new(name, kind, &component.version);
        let capabilities = capabilities(component);
        listed.push(listing.with_capabilities(capabilities));
    }
    // As in Dapr, which loads these before the others.
    listed.sort_by_key(|listing| !listing.component_type.starts_with("secretstores."));
    listed
}

/// Whether a component waits for a secret store that is not there. As in Dapr, one that names no store
/// does not wait.
fn is_pending(inspected: &InspectedComponent, resolver: &Resolver) -> bool {
    inspected.references.iter().any(|reference| {
        let Origin::Secret { store, .. } = &reference.origin else {
            return false;
        };
        !store.is_empty() && !resolver.has_store(store)
    })
}

/// Opens the configuration stores that documents declare, their references resolved.
async fn open_configurations(
    resolver: &Resolver,
    documents: &[Document],
    declared: impl Iterator<Item = &Component>,
    (context, environment): (&Context, &Environment),
    before: &Before<'_>,
) -> (Vec<Configured>, Vec<Problem>) {
    let (mut stores, mut problems) = (Vec::new(), Vec::new());
    let mut wanted: BTreeMap<&str, &str> = declared
        .filter(|component| configuration::is_configuration(&component.component_type))
        .map(|component| (component.name.as_str(), &*component.position.document))
        .collect();
    wanted.retain(|name, _| {
        let kept = before.kept.contains(*name);
        let kept = kept.then(|| before.configuration(name, None)).flatten();
        let is_wanted = kept.is_none();
        stores.extend(kept);
        is_wanted
    });
    if wanted.is_empty() {
        return (stores, problems);
    }
    // What others refer to is not asked for: its stores may take their time.
    let files: BTreeSet<_> = wanted.values().copied().collect();
    let documents = documents.iter();
    let documents = documents.filter(|document| files.contains(&*document.name));
    let resolution = resolver.resolve(documents.cloned().collect(), context);
    let resolution = resolution.await;
    // Those of others have been told, or do not matter to what is served.
    let about = |problem: &Problem| {
        let subject = problem.subject.as_ref();
        subject.is_some_and(|subject| wanted.contains_key(subject.component.as_str()))
    };
    problems.extend(resolution.problems.into_iter().filter(about));
    for resolved in &resolution.components {
        let component = &resolved.component;
        if !wanted.contains_key(component.name.as_str()) {
            continue;
        }
        let mut config = StoreConfig::new(&component.name, &component.component_type)
            .with_environment(environment.clone())
            .of_document(Grants::all());
        config.namespace.clone_from(&context.namespace);
        for property in &resolved.properties {
            config = match &property.value {
                Value::Plain(text) => config.with_property(&property.name, text.as_str()),
                Value::Secret(value) => config.with_property(&property.name, value.clone()),
                _ => config,
            };
        }
        if let Some(same) = before.configuration(&component.name, Some(&config)) {
            stores.push(same);
            continue;
        }
        match configuration::open(&config) {
            Ok(store) => stores.push((config, store)),
            Err(error) => problems.push(unusable(resolved, error)),
        }
    }
    (stores, problems)
}

/// Why a configuration store cannot be used. What may be about a setting that comes from a secret is
/// not shown.
fn unusable(resolved: &ResolvedComponent, error: StoreError) -> Problem {
    let component = &resolved.component;
    let item = error.property.and_then(|name| {
        let mut items = component.items.iter();
        items.find(|item| item.name.eq_ignore_ascii_case(name))
    });
    let place = item.map_or(&component.type_position, |item| &item.position);
    let is_secret = |property: &Property| matches!(property.value, Value::Secret(_));
    // A setting can go by another name than the one that the error has.
    let is_plain = error.property.is_some_and(|name| {
        let mut properties = resolved.properties.iter();
        let meant = properties.find(|property| property.name.eq_ignore_ascii_case(name));
        meant.is_some_and(|property| !is_secret(property))
    });
    let reason = if is_plain || !resolved.properties.iter().any(is_secret) {
        error.message.as_str()
    } else {
        "the store cannot be used as it is set up"
    };
    let name = terminal_safe(&component.name);
    let message = format!("configuration store `{name}`: {reason}");
    Problem::new(error.class, Some(place.clone()), message, error.hint).about(&component.name, "")
}

/// What the metadata says that a store can do.
fn capabilities(component: &Component) -> Vec<String> {
    let kind = component.component_type.to_ascii_lowercase();
    let is_multiple = || {
        let mut items = component.items.iter();
        items.any(|item| {
            let is_set = item.value.as_deref().is_some_and(|text| {
                ["y", "yes", "true", "t", "on", "1"]
                    .contains(&text.trim().to_ascii_lowercase().as_str())
            });
            item.name.eq_ignore_ascii_case("multiValued") && is_set
        })
    };
    match kind.as_str() {
        "secretstores.kubernetes" => vec![MULTIPLE_VALUES.to_owned()],
        "secretstores.local.file" if is_multiple() => vec![MULTIPLE_VALUES.to_owned()],
        _ => Vec::new(),
    }
}

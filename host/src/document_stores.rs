//! Stores that stand in the documents themselves, opened in the order of what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::batch::Batch;
use crate::component::{Component, Property, ResolvedComponent, Value};
use crate::context::Context;
use crate::error::Class;
use crate::finish::{self, Finished};
use crate::load::Loaded;
use crate::problem::{Place, Problem, Severity, Subject, printable};
use crate::request::Request;
use crate::resolver::{Mode, Resolver, fetch_all};
use crate::schedule::{self, Placing};
use crate::secret::Secret;
use crate::secrets::{Run, Secrets};
use crate::stores::{
    self, BulkRequest, Discreet, Grants, SecretRequest, SecretStore, StoreConfig, StoreError,
};

/// The components that declare a store of a name that is not taken.
pub(crate) fn declared<'l>(loaded: &'l Loaded, secrets: &Secrets) -> Vec<&'l Component> {
    let places = pending(loaded, secrets);
    places
        .into_iter()
        .filter_map(|(batch, index)| loaded.batches.get(batch)?.component(index))
        .collect()
}

/// Opens them: those first that need no other, then those that need these. Stores that need each
/// other are refused, and the problem shows the circle.
pub(crate) async fn open(
    resolver: &Resolver,
    loaded: &mut Loaded,
    grants: &Arc<Grants>,
    secrets: &Secrets,
    context: &Context,
    run: &Run,
) {
    let mut waiting = pending(loaded, secrets);
    while !waiting.is_empty() {
        let names: BTreeMap<String, BTreeSet<String>> = waiting
            .iter()
            .filter_map(|place| needs(loaded, *place, secrets))
            .collect();
        let ready = |place: &(usize, u32)| {
            needs(loaded, *place, secrets)
                .is_some_and(|(_, needs)| needs.iter().all(|store| !names.contains_key(store)))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.iter().copied().partition(ready);
        if ready.is_empty() {
            refuse_circle(resolver, loaded, &waiting, &names, secrets);
            return;
        }
        for place in ready {
            open_one(resolver, loaded, place, grants, secrets, context, run).await;
        }
        waiting = rest;
    }
}

/// Where the components stand that declare a store of a name that is not taken.
fn pending(loaded: &Loaded, secrets: &Secrets) -> Vec<(usize, u32)> {
    let mut places = Vec::new();
    for (batch, selected) in loaded.selected.iter().enumerate() {
        for &index in selected {
            let component = loaded
                .batches
                .get(batch)
                .and_then(|batch| batch.component(index));
            if component.is_some_and(|component| {
                component.is_secret_store() && !secrets.contains(&component.name)
            }) {
                places.push((batch, index));
            }
        }
    }
    places
}

/// The name of a store and the names of those that it needs.
fn needs(
    loaded: &Loaded,
    (batch, index): (usize, u32),
    secrets: &Secrets,
) -> Option<(String, BTreeSet<String>)> {
    let batch = loaded.batches.get(batch)?;
    let component = batch.component(index)?;
    let stores = batch.wanted(component).filter_map(|wanted| match wanted {
        Request::Key { store, .. } => Some(secrets.effective_store(store).to_owned()),
        Request::Variable(_) => None,
    });
    Some((component.name.clone(), stores.collect()))
}

async fn open_one(
    resolver: &Resolver,
    loaded: &mut Loaded,
    (batch_index, index): (usize, u32),
    grants: &Arc<Grants>,
    secrets: &Secrets,
    context: &Context,
    run: &Run,
) {
    let inner = resolver.inner();
    let batch = loaded.batches.get(batch_index);
    let Some(component) = batch.and_then(|batch| batch.component(index)).cloned() else {
        return;
    };
    if let Err(error) = check_kind(&component, grants) {
        refuse(
            resolver,
            &mut loaded.problems,
            &component,
            &component.type_position,
            error,
            secrets,
        );
        return;
    }
    let resolving = resolve_one(resolver, loaded, batch_index, index, secrets, context, run);
    let Some(resolved) = resolving.await else {
        secrets.insert_broken(
            &component.name,
            StoreError::misconfigured("a reference of its own cannot be resolved"),
        );
        return;
    };
    let config = config(
        &component,
        &resolved.properties,
        grants,
        secrets,
        context,
        inner.mode,
    );
    let from_secrets = resolved
        .properties
        .iter()
        .any(|property| matches!(property.value, Value::Secret(_)));
    let opened = match stores::open(&config) {
        Ok(store) if from_secrets => Ok(Arc::new(Discreet(store)) as Arc<dyn SecretStore>),
        Err(error) if from_secrets => Err(Discreet::hide(&error)),
        opened => opened,
    };
    match opened {
        Ok(store) => secrets.insert(&component.name, store),
        Err(error) => refuse(
            resolver,
            &mut loaded.problems,
            &component,
            &component.position,
            error,
            secrets,
        ),
    }
}

/// Resolves the references of one component. It is finished once more with all the others, which
/// then reports its problems.
async fn resolve_one(
    resolver: &Resolver,
    loaded: &mut Loaded,
    batch_index: usize,
    index: u32,
    secrets: &Secrets,
    context: &Context,
    run: &Run,
) -> Option<Box<ResolvedComponent>> {
    let inner = resolver.inner();
    let batch = loaded.batches.get_mut(batch_index)?;
    let component = batch.component(index)?.clone();
    let wanted: BTreeSet<Request> = batch.wanted(&component).cloned().collect();
    let answers = fetch_all(wanted, secrets, context, run, inner.limits.fetches).await;
    let placing = Placing {
        indices: batch.with_requests(&[index]),
        answers: batch.answers(&answers, inner.limits.handles),
        batch: std::mem::replace(batch, Batch::empty()),
        more: true,
    };
    let placed = schedule::place(&inner.guest, vec![placing], &loaded.budget).await;
    let (placed, mut placement) = placed.into_iter().next()?;
    let values = placement.values(index, &component, &placed.requests, &answers, secrets);
    *loaded.batches.get_mut(batch_index)? = placed;
    let finished = finish::finish(
        component,
        values,
        inner.mode,
        context,
        secrets.environment(),
        &mut Vec::new(),
    );
    match finished {
        Finished::Resolved(resolved) => Some(resolved),
        Finished::Failed | Finished::Parked => None,
    }
}

fn config(
    component: &Component,
    properties: &[Property],
    grants: &Arc<Grants>,
    secrets: &Secrets,
    context: &Context,
    mode: Mode,
) -> StoreConfig {
    let mut config = StoreConfig::new(&component.name, &component.component_type)
        .with_environment(secrets.environment().clone());
    config.version.clone_from(&component.version);
    config.namespace.clone_from(&context.namespace);
    config.grants = Some(Arc::clone(grants));
    config.dapr_mode = mode == Mode::Dapr;
    for property in properties {
        config = match &property.value {
            Value::Plain(text) => config.with_property(&property.name, text.as_str()),
            Value::Secret(value) => config.with_property(&property.name, value.clone()),
        };
    }
    config
}

/// Refuses kinds that are not granted, and says which are known where it is unknown.
pub(crate) fn check_kind(component: &Component, grants: &Grants) -> Result<(), StoreError> {
    let kind = &component.component_type;
    if stores::registration(kind).is_some() && !grants.allows_kind(kind) {
        return Err(StoreError::new(
            Class::PolicyDenied,
            format!(
                "documents may not declare stores of kind `{}`",
                printable(kind)
            ),
        )
        .with_hint("grant the kind with `allow_document_stores`, or give the store itself"));
    }
    stores::check_kind(kind, &component.version)
}

/// The problems of declared stores that can be told without opening them.
pub(crate) fn kind_problems(loaded: &Loaded, grants: &Grants, secrets: &Secrets) -> Vec<Problem> {
    declared(loaded, secrets)
        .into_iter()
        .filter_map(|component| {
            let error = check_kind(component, grants).err()?;
            Some(problem(
                component,
                &component.type_position,
                error,
                Severity::Error,
            ))
        })
        .collect()
}

fn refuse(
    resolver: &Resolver,
    problems: &mut Vec<Problem>,
    component: &Component,
    place: &Place,
    error: StoreError,
    secrets: &Secrets,
) {
    // Dapr ends here, or goes on without the store where it says `ignoreErrors`.
    let ignored = resolver.inner().mode == Mode::Dapr && component.ignore_errors;
    let severity = if ignored {
        Severity::Warning
    } else {
        Severity::Error
    };
    secrets.insert_broken(&component.name, error.clone());
    problems.push(problem(component, place, error, severity));
}

fn problem(component: &Component, place: &Place, error: StoreError, severity: Severity) -> Problem {
    Problem {
        class: error.class,
        severity,
        place: Some(place.clone()),
        message: format!(
            "secret store `{}`: {}",
            printable(&component.name),
            error.message
        ),
        hint: error.hint,
        subject: Some(Subject {
            component: component.name.clone(),
            property: String::new(),
            names: Vec::new(),
        }),
    }
}

fn refuse_circle(
    resolver: &Resolver,
    loaded: &mut Loaded,
    waiting: &[(usize, u32)],
    names: &BTreeMap<String, BTreeSet<String>>,
    secrets: &Secrets,
) {
    for &(batch, index) in waiting {
        let component = loaded
            .batches
            .get(batch)
            .and_then(|batch| batch.component(index));
        let Some(component) = component.cloned() else {
            continue;
        };
        let path = path_of(&component.name, names);
        let error = StoreError::misconfigured(format!(
            "it needs itself to be opened: {}",
            path.iter()
                .map(|name| printable(name))
                .collect::<Vec<_>>()
                .join(" -> ")
        ))
        .with_hint("give one of these stores its settings without a reference");
        // Dapr waits for the other store for ever, and starts without both.
        let severity = match resolver.inner().mode {
            Mode::Strict => Severity::Error,
            Mode::Dapr => Severity::Warning,
        };
        secrets.insert_broken(&component.name, error.clone());
        let place = component.secret_store_position.clone();
        loaded
            .problems
            .push(problem(&component, &place, error, severity));
    }
}

/// The way from a store over those that it needs until one is met again.
fn path_of(name: &str, names: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut path = vec![name.to_owned()];
    while let Some(next) = path
        .last()
        .and_then(|last| names.get(last))
        .and_then(|needs| needs.iter().find(|store| names.contains_key(*store)))
    {
        let met = path.contains(next);
        path.push(next.clone());
        if met {
            break;
        }
    }
    path
}

/// A store that is declared and not opened, where nothing is to be fetched.
#[derive(Debug)]
pub(crate) struct Unopened;

#[async_trait]
impl SecretStore for Unopened {
    async fn get(
        &self,
        _request: &SecretRequest,
        _context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        Err(unopened())
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Err(unopened())
    }
}

fn unopened() -> StoreError {
    StoreError::new(Class::Internal, "the store is not open")
}

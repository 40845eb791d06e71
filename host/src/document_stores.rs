//! Stores that stand in the documents themselves, opened in the order of what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::advice;
use crate::batch::{self, Batch};
use crate::component::{Component, Property, ResolvedComponent, Value};
use crate::context::Context;
use crate::earlier::Earlier;
use crate::error::Class;
use crate::finish::{self, Finished};
use crate::guest::GuestError;
use crate::inner::Inner;
use crate::load::Loaded;
use crate::mode::Mode;
use crate::opened_store;
use crate::order::{self, Circular, End, Node, Order};
use crate::placement::Placement;
use crate::problem::{Place, Problem, Severity, printable};
use crate::request::{Answer, AnswerMap, Request};
use crate::run::Run;
use crate::schedule::{self, Placing};
use crate::secrets::Secrets;
use crate::stores::{self, Discreet, Grants, Registration, StoreConfig, StoreError, Unopened};
use crate::suggest;

/// Opens them, where that is granted: those first that need no other, then those that need these. Stores that need each
/// other are refused, and the problem shows the circle.
pub(crate) async fn open(
    inner: &Inner,
    loaded: &mut Loaded,
    secrets: &Secrets,
    context: &Context,
    run: &Run,
    earlier: Option<&Earlier>,
) -> Opened {
    let Some(grants) = &inner.document_stores else {
        return Opened::default();
    };
    let Order { ready, circular } = in_order(loaded, secrets);
    let mut opening = Opening {
        inner,
        grants,
        secrets,
        context,
        run,
        earlier,
        opened: Opened::default(),
        spent: Duration::ZERO,
    };
    for level in ready {
        opening.open_all(loaded, level).await;
    }
    let opened = opening.opened;
    refuse_circles(inner.mode, loaded, circular, secrets);
    opened
}

/// What came of opening stores.
#[derive(Default)]
pub(crate) struct Opened {
    /// What their own references were answered with.
    pub(crate) answers: AnswerMap,
    /// What is wrong with their own items. It is found again where they are resolved like all other
    /// components.
    pub(crate) problems: Vec<Problem>,
}

/// Takes note of them without opening any, and refuses those that could not be opened.
pub(crate) fn declare(inner: &Inner, loaded: &mut Loaded, grants: &Grants, secrets: &Secrets) {
    let mode = inner.mode;
    let Order { ready, circular } = in_order(loaded, secrets);
    for (batch, index) in ready.into_iter().flatten() {
        let batch = loaded.batches.get(batch);
        let Some(component) = batch.and_then(|batch| batch.component(index)) else {
            continue;
        };
        match check_kind(component, grants) {
            Ok(registration) => {
                secrets.insert(&component.name, Arc::new(Unopened::of(registration)));
            }
            Err(error) => {
                let place = &component.type_position;
                let problem = refuse(mode, component, place, error, secrets);
                loaded.problems.push(problem);
            }
        }
    }
    refuse_circles(mode, loaded, circular, secrets);
}

/// A component: its batch and its index there.
type ComponentPlace = (usize, u32);

/// The components that declare a store of a name that is not taken, sorted by what they need.
fn in_order(loaded: &Loaded, secrets: &Secrets) -> Order<ComponentPlace> {
    let mut nodes = Vec::new();
    for ((place, batch), selected) in (0..).zip(&loaded.batches).zip(&loaded.selected) {
        for &index in selected {
            let Some(component) = batch.component(index) else {
                continue;
            };
            if !component.is_secret_store() || secrets.contains(&component.name) {
                continue;
            }
            let needs = batch.wanted(component).filter_map(|wanted| match wanted {
                Request::Key { store, .. } => Some(secrets.effective_store(store).to_owned()),
                Request::Variable(_) => None,
            });
            nodes.push(Node {
                name: component.name.clone(),
                needs: needs.collect(),
                thing: (place, index),
            });
        }
    }
    order::order(nodes)
}

/// A component and its batch.
fn component_at(loaded: &Loaded, place: ComponentPlace) -> Option<(&Batch, &Component)> {
    let (batch, index) = place;
    let batch = loaded.batches.get(batch)?;
    Some((batch, batch.component(index)?))
}

/// What opening works with.
struct Opening<'o> {
    inner: &'o Inner,
    grants: &'o Arc<Grants>,
    secrets: &'o Secrets,
    context: &'o Context,
    run: &'o Run,
    /// Stores that need not be opened again.
    earlier: Option<&'o Earlier>,
    opened: Opened,
    /// How long the guest has placed answers.
    spent: Duration,
}

impl Opening<'_> {
    /// Opens stores that need none of each other.
    async fn open_all(&mut self, loaded: &mut Loaded, places: Vec<ComponentPlace>) {
        let (mut unopened, mut wanted) = (Vec::new(), BTreeSet::new());
        for place in places {
            if let Some(component) = self.admitted(loaded, place) {
                if let Some((batch, component)) = component_at(loaded, place) {
                    wanted.extend(batch.wanted(component).cloned());
                }
                unopened.push((place, component));
            }
        }
        let (inner, secrets) = (self.inner, self.secrets);
        let answers = if wanted.is_empty() {
            AnswerMap::new()
        } else {
            // The rest is for those that need these, and for all that is no store.
            let asking = self.context.leaving(2, Duration::MAX);
            let fetching = secrets.values(wanted, &asking, self.run, inner.limits.fetches);
            fetching.await
        };
        for (place, component) in unopened {
            self.open(loaded, place, component, &answers).await;
        }
        // A store that is not there yet may be there soon, and has cost nothing.
        let lasting = |answer: &Answer| !matches!(answer, Err(error) if error.without_store);
        let answers = answers.into_iter();
        self.opened
            .answers
            .extend(answers.filter(|(_, answer)| lasting(answer)));
    }

    /// The component, where it is to be opened. It is refused where it may not be.
    fn admitted(&self, loaded: &mut Loaded, place: ComponentPlace) -> Option<Component> {
        let (_, component) = component_at(loaded, place)?;
        let component = component.clone();
        if self
            .earlier
            .is_some_and(|earlier| earlier.keeps(&component.name, self.secrets))
        {
            return None;
        }
        let is_late = || StoreError::new(Class::TimedOut, "it was not opened before the deadline");
        let admitted = if loaded.budget.is_late() {
            Err(is_late())
        } else {
            check_kind(&component, self.grants).map(drop)
        };
        if let Err(error) = admitted {
            self.refuse(loaded, &component, error);
            return None;
        }
        Some(component)
    }

    async fn open(
        &mut self,
        loaded: &mut Loaded,
        place: ComponentPlace,
        component: Component,
        answers: &AnswerMap,
    ) {
        let Some(resolved) = self.resolve(loaded, place, answers).await else {
            self.unresolved(&component);
            return;
        };
        let from_secrets = resolved
            .properties
            .iter()
            .any(|property| matches!(property.value, Value::Secret(_)));
        let opened = match self.config(&component, &resolved.properties) {
            Ok(config)
                if self
                    .earlier
                    .is_some_and(|earlier| earlier.has(&config, self.secrets)) =>
            {
                return;
            }
            Ok(config) => {
                let (files, opened) = opened_store::open(&config, self.context).await;
                self.secrets.insert_files(&config.name, files);
                opened.map(|store| (config, store))
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok((config, store)) if from_secrets => {
                self.secrets
                    .insert_opened(config, Arc::new(Discreet(store)));
            }
            Ok((config, store)) => self.secrets.insert_opened(config, store),
            Err(mut error) => {
                if from_secrets {
                    error = Discreet::hide(&error);
                }
                self.refuse(loaded, &component, error);
            }
        }
    }

    /// Takes note of a store whose own references have no answer: it cannot be used, or not yet.
    fn unresolved(&self, component: &Component) {
        let name = &component.name;
        let about = |problem: &&Problem| {
            let subject = problem.subject.as_ref();
            subject.is_some_and(|subject| subject.component == *name)
                && problem.severity == Severity::Error
        };
        let problems = self.opened.problems.iter().rev().filter(about);
        let problems: Vec<&Problem> = problems.collect();
        let is_passing = problems.iter().all(|problem| problem.class.retry_helps());
        let registration = check_kind(component, self.grants).ok();
        if let (Some(reason), Some(registration), true) =
            (problems.first(), registration, is_passing)
        {
            let error = StoreError::waiting(reason);
            let unopened = Unopened::because(registration, error);
            self.secrets.insert_waiting(name, Arc::new(unopened));
        } else {
            let error = StoreError::misconfigured("its own settings cannot be resolved");
            self.secrets.insert_broken(name, error);
        }
    }

    fn refuse(&self, loaded: &mut Loaded, component: &Component, mut error: StoreError) {
        let place = place_of(component, &mut error);
        let problem = refuse(self.inner.mode, component, place, error, self.secrets);
        loaded.problems.push(problem);
    }

    /// Resolves the references of one component. It is finished once more with all the others,
    /// which then reports its problems.
    async fn resolve(
        &mut self,
        loaded: &mut Loaded,
        place: ComponentPlace,
        answers: &AnswerMap,
    ) -> Option<Box<ResolvedComponent>> {
        let Self {
            inner,
            secrets,
            context,
            ..
        } = *self;
        let (batch_index, index) = place;
        let (batch, component) = component_at(loaded, place)?;
        let (is_plain, component) = (batch.wanted(component).next().is_none(), component.clone());
        let values = if is_plain {
            BTreeMap::new()
        } else {
            let placement = self
                .place(loaded, batch_index, index, &component, answers)
                .await;
            let requests = &loaded.batches.get(batch_index)?.requests;
            match placement {
                Ok(mut placement) => {
                    placement.values(index, &component, requests, answers, secrets)
                }
                Err(error) => {
                    let problem = batch::failed(component.position, error);
                    loaded.problems.push(problem);
                    return None;
                }
            }
        };
        let (mode, environment) = (inner.mode, secrets.environment());
        let problems = &mut self.opened.problems;
        let finished = finish::finish(component, values, mode, context, environment, problems);
        match finished {
            Finished::Resolved(resolved) => Some(resolved),
            Finished::Failed(_) | Finished::Parked(_) => None,
        }
    }

    /// Lets the guest place the answers of one component. Where others have the memory, they give it
    /// up and are parsed again later.
    async fn place(
        &mut self,
        loaded: &mut Loaded,
        batch_index: usize,
        index: u32,
        component: &Component,
        answers: &AnswerMap,
    ) -> Result<Placement, GuestError> {
        let (guest, limits) = (&self.inner.guest, &self.inner.limits);
        for is_last in [false, true] {
            // Where its instance was not kept, the whole batch is parsed again for each store.
            if self.spent > limits.time * 2 {
                return Err(GuestError::Limit("time"));
            }
            let Some(batch) = loaded.batches.get_mut(batch_index) else {
                break;
            };
            let placing = Placing {
                indices: vec![index],
                answers: batch.answers_for(component, answers, limits.handles),
                batch: std::mem::replace(batch, Batch::empty()),
                more: true,
            };
            let begin = Instant::now();
            let placed = schedule::place(guest, vec![placing], &loaded.budget).await;
            self.spent += begin.elapsed();
            let Some((placed, placement)) = placed.into_iter().next() else {
                break;
            };
            *batch = placed;
            match placement.failure(index) {
                None => return Ok(placement),
                Some(error) if is_last || !error.is_crowded() => return Err(error),
                Some(_) => loaded.batches.iter_mut().for_each(Batch::release),
            }
        }
        Err(GuestError::Failed)
    }

    fn config(
        &self,
        component: &Component,
        properties: &[Property],
    ) -> Result<StoreConfig, StoreError> {
        let mut names = BTreeSet::new();
        let repeated = properties
            .iter()
            .map(|property| property.name.to_lowercase())
            .find(|name| !names.insert(name.clone()));
        if let Some(name) = repeated {
            let name = printable(&name);
            let message = format!("key {name} is duplicate in the metadata");
            return Err(StoreError::misconfigured(message)
                .with_hint("names of settings are the same in any case: remove one of the two"));
        }
        let mut config = StoreConfig::new(&component.name, &component.component_type)
            .with_environment(self.secrets.environment().clone());
        config.version.clone_from(&component.version);
        config.namespace.clone_from(&self.context.namespace);
        config.grants = Some(Arc::clone(self.grants));
        config.dapr_mode = self.inner.mode == Mode::Dapr;
        for property in properties {
            config = match &property.value {
                Value::Plain(text) => config.with_property(&property.name, text.as_str()),
                Value::Secret(value) => config.with_property(&property.name, value.clone()),
            };
        }
        Ok(config)
    }
}

/// Refuses kinds that are not granted, and says which are known where it is unknown.
fn check_kind(component: &Component, grants: &Grants) -> Result<&'static Registration, StoreError> {
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

/// Where the setting stands that is at fault: the item of its name, or of nearly that, which the
/// hint then tells; else the store's type.
fn place_of<'c>(component: &'c Component, error: &mut StoreError) -> &'c Place {
    let Some(property) = error.property else {
        return &component.type_position;
    };
    let item = |name: &str| {
        let mut items = component.items.iter();
        items.find(|item| item.name.eq_ignore_ascii_case(name))
    };
    if let Some(item) = item(property) {
        return &item.position;
    }
    let names = component.items.iter().map(|item| item.name.as_str());
    match names
        .filter(|name| suggest::nearest(name, [property]).is_some())
        .find_map(item)
    {
        Some(meant) => {
            error.hint = format!("did you mean `{property}`?");
            &meant.position
        }
        None => &component.type_position,
    }
}

/// Takes note of why a store cannot be used.
fn refuse(
    mode: Mode,
    component: &Component,
    place: &Place,
    error: StoreError,
    secrets: &Secrets,
) -> Problem {
    // Dapr ends here, or goes on without the store where it says `ignoreErrors`.
    let ignored = mode == Mode::Dapr && component.ignore_errors;
    let severity = if ignored {
        Severity::Warning
    } else {
        Severity::Error
    };
    secrets.insert_broken(&component.name, error.clone());
    problem(component, place, error, severity)
}

fn problem(component: &Component, place: &Place, error: StoreError, severity: Severity) -> Problem {
    let name = printable(&component.name);
    let message = format!("secret store `{name}`: {}", error.message);
    let hint = advice::or_of_store(error.hint, error.class);
    Problem::new(error.class, Some(place.clone()), message, hint)
        .about(&component.name, "")
        .with_severity(severity)
}

fn refuse_circles(
    mode: Mode,
    loaded: &mut Loaded,
    circular: Vec<Circular<ComponentPlace>>,
    secrets: &Secrets,
) {
    for circle in circular {
        let (batch, index) = circle.thing;
        let batch = loaded.batches.get(batch);
        let Some(component) = batch.and_then(|batch| batch.component(index)) else {
            continue;
        };
        let names: Vec<_> = circle.path.iter().map(|name| printable(name)).collect();
        let (what, path) = (circle.end, names.join(" -> "));
        let message = match what {
            End::Itself => format!("it needs itself to be opened: {path}"),
            End::Another => format!("it needs stores that need each other: {path}"),
            End::NotShown => format!("it needs stores that need each other: {path} -> ..."),
        };
        let error = StoreError::misconfigured(message)
            .with_hint("give one of these stores its settings without a reference");
        // Dapr waits for the other store for ever, and starts without both.
        let severity = match mode {
            Mode::Strict => Severity::Error,
            Mode::Dapr => Severity::Warning,
        };
        secrets.insert_broken(&component.name, error.clone());
        let problem = problem(component, &component.secret_store_position, error, severity);
        loaded.problems.push(problem);
    }
}

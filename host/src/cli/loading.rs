//! What a server serves, from documents: their stores, opened, and what to say where one cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use keyref::api::{Loaded, LoadedComponent};
use keyref::component::Component;
use keyref::configuration::{self, ConfigurationStore};
use keyref::error::Class;
use keyref::problem::{Problem, terminal_safe};
use keyref::stores::{StoreConfig, StoreError};
use keyref::{Context, Document, InspectedComponent, Mode, ResolvedComponent, Resolver, Value};

use super::arguments::{Global, ServeArguments};
use super::given::Need;
use super::session::{self, Session};
use super::{Status, diagnostics};

/// What a component can do, in Dapr's words: the kinds that can keep several values in a secret.
const MULTIPLE_VALUES: &str = "MULTIPLE_KEY_VALUES_PER_SECRET";

/// Opens the stores of the documents and lists the components, or says why that cannot be.
pub(super) async fn load(
    global: &Global,
    arguments: &ServeArguments,
) -> Result<std::result::Result<Loaded, Refusal>> {
    let mut session = match session::open(global, &arguments.resources, Need::Values).await? {
        Ok(session) => session,
        Err(refused) => return Ok(Err(refused.problems.into())),
    };
    let inspected = session
        .resolver
        .inspect(session.documents.clone(), &session.context);
    let components = inspected.await.components;
    let documents = session.documents.clone();
    let opening = session.resolver.with_stores_of(documents, &session.context);
    let (resolver, problems) = opening.await;
    let mut all = session.problems.clone();
    all.extend(problems);
    all.extend(session.slips(&resolver.stores(), &[]));
    let refusal = |problems| {
        let components = components.iter().map(|inspected| &inspected.component);
        let types = components.map(|component| {
            (
                component.name.clone(),
                terminal_safe(&session::type_of(component)),
            )
        });
        Refusal {
            problems,
            types: types.collect(),
        }
    };
    let optional: BTreeSet<&str> = components
        .iter()
        .filter(|inspected| inspected.component.ignore_errors)
        .map(|inspected| inspected.component.name.as_str())
        .collect();
    let (errors, warnings): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|problem| is_fatal(problem, &session, &optional));
    if !errors.is_empty() {
        return Ok(Err(refusal(errors)));
    }
    warnings.iter().for_each(log);
    let listed = list(&session.given, &components, &resolver);
    let documents = std::mem::take(&mut session.documents);
    let wanted = components.iter().map(|inspected| &inspected.component);
    let opening = open_configurations(&resolver, documents, wanted, &session.context);
    let (configurations, problems) = opening.await;
    let (errors, warnings): (Vec<_>, Vec<_>) = problems
        .into_iter()
        .partition(|problem| is_fatal(problem, &session, &optional));
    if !errors.is_empty() {
        return Ok(Err(refusal(errors)));
    }
    warnings.iter().for_each(log);
    let mut loaded = Loaded::new(resolver, listed);
    loaded.configurations = configurations;
    Ok(Ok(loaded))
}

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
        if component.name.is_empty() || is_given || is_lost {
            continue;
        }
        let (name, kind) = (&component.name, &component.component_type);
        let listing = LoadedComponent::new(name, kind, &component.version);
        let capabilities = capabilities(component);
        listed.push(listing.with_capabilities(capabilities));
    }
    listed
}

/// Opens the configuration stores that documents declare, their references resolved.
async fn open_configurations(
    resolver: &Resolver,
    documents: Vec<Document>,
    declared: impl Iterator<Item = &Component>,
    context: &Context,
) -> (BTreeMap<String, Arc<dyn ConfigurationStore>>, Vec<Problem>) {
    let (mut stores, mut problems) = (BTreeMap::new(), Vec::new());
    let wanted: BTreeSet<&str> = declared
        .filter(|component| configuration::is_configuration(&component.component_type))
        .map(|component| component.name.as_str())
        .collect();
    if wanted.is_empty() {
        return (stores, problems);
    }
    let resolution = resolver.resolve(documents, context).await;
    // Those of others have been told, or do not matter to what is served.
    let about = |problem: &Problem| {
        let subject = problem.subject.as_ref();
        subject.is_some_and(|subject| wanted.contains(subject.component.as_str()))
    };
    problems.extend(resolution.problems.into_iter().filter(about));
    for resolved in &resolution.components {
        let component = &resolved.component;
        if !configuration::is_configuration(&component.component_type) {
            continue;
        }
        let mut config = StoreConfig::new(&component.name, &component.component_type);
        config.namespace.clone_from(&context.namespace);
        for property in &resolved.properties {
            config = match &property.value {
                Value::Plain(text) => config.with_property(&property.name, text.as_str()),
                Value::Secret(value) => config.with_property(&property.name, value.clone()),
                _ => config,
            };
        }
        match configuration::open(&config) {
            Ok(store) => {
                stores.insert(component.name.clone(), store);
            }
            Err(error) => problems.push(unusable(resolved, error)),
        }
    }
    (stores, problems)
}

/// Why a configuration store cannot be used. Nothing is shown where its settings come from a secret.
fn unusable(resolved: &ResolvedComponent, error: StoreError) -> Problem {
    let component = &resolved.component;
    let item = error.property.and_then(|name| {
        let mut items = component.items.iter();
        items.find(|item| item.name.eq_ignore_ascii_case(name))
    });
    let place = item.map_or(&component.type_position, |item| &item.position);
    let mut properties = resolved.properties.iter();
    let is_secret = properties.any(|property| matches!(property.value, Value::Secret(_)));
    let reason = if is_secret {
        "the store cannot be used as it is set up"
    } else {
        error.message.as_str()
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

/// Whether a problem ends the start. As in Dapr, what `ignoreErrors` marks does not; in Dapr mode a
/// document that is not YAML does not either.
fn is_fatal(problem: &Problem, session: &Session, optional: &BTreeSet<&str>) -> bool {
    let subject = problem.subject.as_ref();
    let is_optional = subject.is_some_and(|subject| optional.contains(subject.component.as_str()));
    let is_left_out =
        session.resolver.mode() == Mode::Dapr && problem.class == Class::DocumentSyntax;
    diagnostics::is_error(problem) && !is_optional && !is_left_out
}

/// Why nothing could be loaded.
#[derive(Default)]
pub(super) struct Refusal {
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
    /// The components, each with its type as Dapr shows it.
    types: BTreeMap<String, String>,
}

impl From<Vec<Problem>> for Refusal {
    fn from(problems: Vec<Problem>) -> Self {
        Self {
            problems,
            types: BTreeMap::new(),
        }
    }
}

impl Refusal {
    /// Logs it, at last in Dapr's words, and says how the command ends.
    pub(super) fn end(&self) -> Status {
        self.problems.iter().for_each(log);
        let mut errors = self.problems.iter();
        let text = match errors.find(|problem| diagnostics::is_error(problem)) {
            None => "nothing could be loaded".to_owned(),
            Some(problem) => self.text(problem),
        };
        fatal(&text);
        session::status(&self.problems)
    }

    fn text(&self, problem: &Problem) -> String {
        let message = &problem.message;
        let subject = problem.subject.as_ref();
        let name = subject.map_or("", |subject| subject.component.as_str());
        let Some(component_type) = self.types.get(name) else {
            return message.clone();
        };
        let name = terminal_safe(name);
        format!(
            "process component {name} error: [INIT_COMPONENT_FAILURE]: initialization error \
             occurred for {name} ({component_type}): {message}"
        )
    }
}

/// Logs what ends the start, and says how the command ends.
pub(super) fn fatal(message: &str) -> Status {
    tracing::error!(fatal = true, "Fatal error from runtime: {message}");
    Status::Fault
}

/// Logs a problem with its place and what to do about it.
pub(super) fn log(problem: &Problem) {
    let place = problem.place.as_ref().map(ToString::to_string);
    let (place, hint) = (place.as_deref(), Some(problem.hint.as_str()));
    let hint = hint.filter(|hint| !hint.is_empty());
    let class = problem.class.code();
    if diagnostics::is_error(problem) {
        tracing::error!(place, hint, class, "{}", problem.message);
    } else {
        tracing::warn!(place, hint, class, "{}", problem.message);
    }
}

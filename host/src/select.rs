//! Which of the components are loaded: Dapr's filters, in Dapr's order.
//!
//! Namespace first, then names that occur twice, then scopes, then types that are denied. A component outside its scope does
//! not count as there for those after it, but one that is there clashes with it.

use std::collections::BTreeMap;

use crate::component::{Component, Kind};
use crate::context::Context;
use crate::denied_types::DeniedTypes;
use crate::error::Class;
use crate::mode::Mode;
use crate::problem::{Problem, Severity, printable};
use crate::run::Run;
use crate::suggest;

/// Why a component is not loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exclusion {
    Namespace,
    Name,
    Scope,
    /// Its type is denied.
    Type,
    /// Dapr ignores a component without a name without a word.
    Nameless,
}

/// Decides for each component, in the order of the documents.
pub(crate) fn select<'c>(
    components: impl Iterator<Item = &'c Component>,
    denied: &DeniedTypes,
    context: &Context,
    mode: Mode,
    run: &Run,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Exclusion>> {
    let mut known: BTreeMap<(&str, &str), (usize, &Component)> = BTreeMap::new();
    let mut exclusions = Vec::new();
    let mut clashed = false;
    for (index, component) in components.enumerate() {
        let exclusion = if excluded_by_namespace(component, context) {
            Some(Exclusion::Namespace)
        } else if let Some(&(first, existing)) =
            known.get(&(component.kind.as_str(), component.name.as_str()))
        {
            problems.push(clash(component, existing));
            // Which of the two was meant cannot be known, so neither is loaded.
            if let Some(first) = exclusions.get_mut(first) {
                *first = Some(Exclusion::Name);
            }
            clashed = true;
            Some(Exclusion::Name)
        } else if excluded_by_scope(component, context) {
            Some(Exclusion::Scope)
        } else {
            known.insert(
                (component.kind.as_str(), &component.name),
                (index, component),
            );
            if denied.denies(component) {
                problems.push(denied_type(component));
                Some(Exclusion::Type)
            } else {
                problems.extend(unknown_type(component, run));
                component.name.is_empty().then(|| {
                    problems.push(nameless(component));
                    Exclusion::Nameless
                })
            }
        };
        exclusions.push(exclusion);
    }
    if clashed && mode == Mode::Dapr {
        // There, the process ends.
        exclusions.fill(Some(Exclusion::Name));
    }
    exclusions
}

fn excluded_by_namespace(component: &Component, context: &Context) -> bool {
    match context.namespace.as_deref() {
        None | Some("") => false,
        Some(namespace) => !component.namespace.is_empty() && component.namespace != namespace,
    }
}

fn excluded_by_scope(component: &Component, context: &Context) -> bool {
    match &context.app_id {
        None => false,
        Some(app_id) => !component.scopes.is_empty() && !component.scopes.contains(app_id),
    }
}

fn clash(component: &Component, existing: &Component) -> Problem {
    let log_name = |component: &Component| {
        let name = printable(&component.name);
        let kind = printable(&component.component_type);
        match component.kind {
            Kind::Component => {
                format!("{name} ({kind}/{})", printable(&component.version))
            }
            Kind::HttpEndpoint => format!("{name} ({kind})"),
        }
    };
    let message = format!(
        "duplicate definition of {} name {} with existing {}",
        component.kind.as_str(),
        log_name(component),
        log_name(existing)
    );
    let hint = format!(
        "the other one stands at {}: rename one of the two, or say the app id where their \
         scopes differ",
        existing.position
    );
    let place = Some(component.position.clone());
    Problem::new(Class::DocumentSchema, place, message, hint)
        .about(&component.name, "")
        .against(&existing.position)
}

/// As in Dapr, which says nothing else of such a component.
fn denied_type(component: &Component) -> Problem {
    let (name, kind) = (&component.name, &component.component_type);
    let (shown, kind) = (printable(name), printable(kind));
    let message = format!(
        "component `{shown}` is not loaded because components of type `{kind}` are not allowed"
    );
    let hint = "the configuration's `components.deny` names this type";
    let place = Some(component.type_position.clone());
    Problem::new(Class::PolicyDenied, place, message, hint)
        .about(name, "")
        .with_severity(Severity::Warning)
}

fn nameless(component: &Component) -> Problem {
    let place = Some(component.position.clone());
    let message = "a component without a name is ignored";
    let hint = "add `metadata: {name: NAME}`";
    Problem::new(Class::DocumentSchema, place, message, hint)
        .about(&component.name, "")
        .with_severity(Severity::Warning)
}

/// What component types begin with, before their first point.
const CATEGORIES: [&str; 12] = [
    "bindings",
    "configuration",
    "conversation",
    "crypto",
    "lock",
    "middleware",
    "nameresolution",
    "pubsub",
    "secretstores",
    "state",
    "workflow",
    "workflowbackend",
];

/// A type that Dapr does not know, which it ends at: a secret store whose type is misspelt would
/// otherwise be a component like any other. Not an error, since keyref itself needs no type.
fn unknown_type(component: &Component, run: &Run) -> Option<Problem> {
    let category = component.component_type.split('.').next()?;
    if component.kind != Kind::Component || CATEGORIES.contains(&category) {
        return None;
    }
    let meant = suggest::nearest_within(category, CATEGORIES, |cost| run.spend(cost));
    let (message, hint) = match (category, meant) {
        ("", _) => (
            "the component has no type, and Dapr ends at it".to_owned(),
            "add `type: CATEGORY.NAME` under `spec`".to_owned(),
        ),
        (_, Some(meant)) => (
            format!("no component type begins with `{}`", printable(category)),
            format!("did you mean `{meant}`?"),
        ),
        (_, None) => (
            "Dapr knows no component type of this category, and ends at it".to_owned(),
            format!("categories: {}", CATEGORIES.join(", ")),
        ),
    };
    let place = Some(component.type_position.clone());
    let problem = Problem::new(Class::DocumentSchema, place, message, hint);
    Some(
        problem
            .about(&component.name, "")
            .with_severity(Severity::Warning),
    )
}

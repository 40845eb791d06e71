//! Which of the components are loaded: Dapr's filters, in Dapr's order.
//!
//! Namespace first, then names that occur twice, then scopes. A component outside its scope does
//! not count as there for those after it, but one that is there clashes with it.

use std::collections::BTreeMap;

use crate::component::Component;
use crate::context::Context;
use crate::error::Class;
use crate::problem::{Problem, Severity, Subject, printable};
use crate::resolver::Mode;

/// Why a component is not loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exclusion {
    Namespace,
    Name,
    Scope,
    /// Dapr ignores a component without a name without a word.
    Nameless,
}

/// Decides for each component, in the order of the documents.
pub(crate) fn select<'c>(
    components: impl Iterator<Item = &'c Component>,
    context: &Context,
    mode: Mode,
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
            component.name.is_empty().then(|| {
                problems.push(nameless(component));
                Exclusion::Nameless
            })
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
            crate::component::Kind::Component => {
                format!("{name} ({kind}/{})", printable(&component.version))
            }
            crate::component::Kind::HttpEndpoint => format!("{name} ({kind})"),
        }
    };
    problem(
        component,
        Class::DocumentSchema,
        Severity::Error,
        format!(
            "duplicate definition of {} name {} with existing {}",
            component.kind.as_str(),
            log_name(component),
            log_name(existing)
        ),
        format!(
            "the other one stands at {}: rename one of the two, or say `--app-id` where their \
             scopes differ",
            existing.position
        ),
    )
}

fn nameless(component: &Component) -> Problem {
    problem(
        component,
        Class::DocumentSchema,
        Severity::Warning,
        "a component without a name is ignored".to_owned(),
        "add `metadata: {name: NAME}`".to_owned(),
    )
}

fn problem(
    component: &Component,
    class: Class,
    severity: Severity,
    message: String,
    hint: String,
) -> Problem {
    let subject = Subject {
        component: component.name.clone(),
        property: String::new(),
        names: Vec::new(),
    };
    Problem {
        class,
        severity,
        place: Some(component.position.clone()),
        message,
        hint,
        subject: Some(subject),
    }
}

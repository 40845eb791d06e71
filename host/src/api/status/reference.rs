//! Components and what they refer to, as they are shown.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::api::components::{Key, State};
use crate::api::status::facts::{ResolvingFacts, Time};
use crate::component::{Component, Kind, Origin};
use crate::inspection::{InspectedComponent, InspectedReference};
use crate::problem::Problem;

/// A component with its references. What its items say in plain text is not among it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ComponentFacts {
    /// `Component` or `HTTPEndpoint`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) namespace: String,
    /// Nothing for an `HTTPEndpoint`, whose address may hold a password.
    #[serde(rename = "type")]
    pub(super) component_type: Option<String>,
    pub(super) version: String,
    pub(super) document: String,
    pub(super) line: u32,
    /// `resolved`; `kept` where it has the values of an earlier time; `failed`; nothing where
    /// components are not resolved here.
    pub(super) state: Option<&'static str>,
    pub(super) references: Vec<ReferenceFacts>,
}

/// A reference of a component.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReferenceFacts {
    pub(super) property: String,
    pub(super) store: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) key: Option<String>,
    /// The environment variable, in place of the three.
    pub(super) variable: Option<String>,
    /// `resolved`, the class of the failure, or nothing where nobody has asked.
    pub(super) state: Option<&'static str>,
}

impl ComponentFacts {
    /// What documents say, and policy of it.
    pub(super) fn of(inspected: &InspectedComponent) -> Self {
        let component = &inspected.component;
        let is_component = component.kind == Kind::Component;
        let references = inspected.references.iter();
        Self {
            kind: component.kind.as_str(),
            name: component.name.clone(),
            namespace: component.namespace.clone(),
            component_type: is_component.then(|| component.component_type.clone()),
            version: component.version.clone(),
            document: component.position.document.to_string(),
            line: component.position.line,
            state: None,
            references: references
                .filter_map(|reference| ReferenceFacts::of(component, reference))
                .collect(),
        }
    }

    /// The same with what came of resolving it.
    pub(super) fn resolved(&self, state: &State) -> Self {
        let mut facts = self.clone();
        let key = Key {
            kind: self.kind,
            name: self.name.clone(),
        };
        let Some(shown) = state.get(&key) else {
            return facts;
        };
        let is_sound = shown.problems.is_empty();
        facts.state = Some(match &shown.properties {
            Some(_) if is_sound => "resolved",
            Some(_) => "kept",
            None => "failed",
        });
        for reference in &mut facts.references {
            let is_about = |problem: &&Problem| {
                let subject = problem.subject.as_ref();
                subject.is_some_and(|subject| subject.property == reference.property)
            };
            let problem = shown.problems.iter().find(is_about);
            if let Some(problem) = problem {
                reference.state = Some(problem.class.code());
            } else if is_sound {
                reference.state = Some("resolved");
            }
        }
        facts
    }
}

impl ReferenceFacts {
    fn of(component: &Component, reference: &InspectedReference) -> Option<Self> {
        let item = component.items.get(reference.item)?;
        let refusal = reference.refusal.as_ref();
        let mut facts = Self {
            property: item.name.clone(),
            store: None,
            secret: None,
            key: None,
            variable: None,
            state: refusal.map(|refusal| refusal.class.code()),
        };
        match &reference.origin {
            Origin::Variable(name) => facts.variable = Some(name.clone()),
            Origin::Secret {
                store, secret, key, ..
            } => {
                facts.store = Some(store.clone());
                facts.secret = Some(secret.clone());
                facts.key = Some(key.clone());
            }
        }
        Some(facts)
    }
}

/// What came of resolving the components, where that is done here.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) state: Option<Arc<State>>,
    /// When that was done last.
    pub(crate) refreshed: Option<SystemTime>,
    /// How often it is done.
    pub(crate) every: Duration,
}

impl Resolved {
    pub(super) fn facts(&self) -> ResolvingFacts {
        ResolvingFacts {
            refreshed: self.refreshed.map(Time),
            every: self.every,
        }
    }
}

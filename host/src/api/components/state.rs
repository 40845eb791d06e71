//! What the components are now: each with its properties, or with why there are none.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::component::{Component, Kind, Origin, Property, ResolvedComponent, Value};
use crate::error::{Class, SecretError};
use crate::problem::{Place, Problem, Severity, printable};
use crate::resolution::Resolution;

/// What a component is known by, in the order of lists.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind: kind.as_str(),
            name: name.into(),
        }
    }

    fn of(component: &Component) -> Self {
        Self::new(component.kind, component.name.as_str())
    }
}

/// A component as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) namespace: String,
    pub(crate) component_type: String,
    pub(crate) version: String,
    pub(crate) scopes: Vec<String>,
    /// Those of the last time that all could be resolved; nothing where there was none.
    pub(crate) properties: Option<Vec<Property>>,
    /// Why it cannot be resolved now.
    pub(crate) problems: Vec<Problem>,
    /// Another one whenever anything else has changed.
    pub(crate) revision: Arc<str>,
    /// The document that it stands in.
    document: Arc<str>,
}

impl Shown {
    fn new(component: Component, properties: Option<Vec<Property>>) -> Self {
        Self {
            namespace: component.namespace,
            component_type: component.component_type,
            version: component.version,
            scopes: component.scopes,
            properties,
            problems: Vec::new(),
            revision: Arc::default(),
            document: component.position.document,
        }
    }

    /// Where the values came from that are no text of its document.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &Origin> {
        let properties = self.properties.iter().flatten();
        properties.filter_map(|property| property.origin.as_ref())
    }

    /// Whether nothing is to be told of the difference. Where something random is filled in, the
    /// earlier one is as good.
    fn is_as(&self, other: &Self) -> bool {
        let properties = match (&self.properties, &other.properties) {
            (None, None) => true,
            (Some(these), Some(those)) => {
                these.len() == those.len() && these.iter().zip(those).all(|(a, b)| is_same(a, b))
            }
            _ => false,
        };
        properties
            && self.namespace == other.namespace
            && self.component_type == other.component_type
            && self.version == other.version
            && self.scopes == other.scopes
            && self.problems.len() == other.problems.len()
            && self
                .problems
                .iter()
                .zip(&other.problems)
                .all(|(a, b)| tells_same(a, b))
    }

    /// Takes the properties away where they were made of what is not permitted, and says so unless
    /// there are problems already; whether that was so.
    fn withdraw(
        &mut self,
        key: &Key,
        permits: &impl Fn(&Origin) -> Result<(), SecretError>,
    ) -> bool {
        let refusal = |property: &Property| {
            let error = permits(property.origin.as_ref()?).err()?;
            let place = Some(property.position.clone());
            let problem = Problem::new(error.class, place, error.message, error.hint);
            Some(problem.about(&key.name, &property.name))
        };
        let properties = self.properties.iter().flatten();
        let refusals: Vec<_> = properties.filter_map(refusal).collect();
        let is_refused = !refusals.is_empty();
        if is_refused {
            self.properties = None;
            if self.problems.is_empty() {
                self.problems = refusals;
            }
        }
        is_refused
    }
}

/// Whether two problems are shown as one.
pub(crate) fn tells_same(one: &Problem, other: &Problem) -> bool {
    let property = |problem: &Problem| {
        let subject = problem.subject.as_ref();
        subject.map_or_else(String::new, |subject| subject.property.clone())
    };
    one.class == other.class
        && one.message == other.message
        && one.hint == other.hint
        && one.place == other.place
        && property(one) == property(other)
}

fn is_same(one: &Property, other: &Property) -> bool {
    let source = |property: &Property| property.unfilled.clone().unwrap_or(property.value.clone());
    let value = match (source(one), source(other)) {
        (Value::Plain(one), Value::Plain(other)) => one == other,
        // Compared with each other, and shown to nobody.
        (Value::Secret(one), Value::Secret(other)) => one.reveal() == other.reveal(),
        _ => false,
    };
    value
        && one.name == other.name
        && one.place == other.place
        && one.unfilled.is_some() == other.unfilled.is_some()
}

/// All components at a time.
pub(crate) type State = BTreeMap<Key, Arc<Shown>>;

/// Gives each content a revision. It is not made of the content, which could be guessed from it.
#[derive(Debug)]
pub(crate) struct Revisions {
    /// Tells those of this process from those of others.
    process: String,
    last: u64,
}

impl Default for Revisions {
    fn default() -> Self {
        Self {
            process: Uuid::new_v4().simple().to_string(),
            last: 0,
        }
    }
}

impl Revisions {
    fn next(&mut self) -> Arc<str> {
        self.last += 1;
        format!("{}-{}", self.process, self.last).into()
    }
}

/// How long stores had to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pass {
    /// So little that one that has not is not said to have failed: its components stay as they are.
    Quick,
    Whole,
}

/// What the components are once they have been resolved again. One that cannot be keeps the
/// properties that it had.
pub(crate) fn state_after(
    before: &State,
    pass: Pass,
    resolution: Resolution,
    permits: impl Fn(&Origin) -> Result<(), SecretError>,
    revisions: &mut Revisions,
) -> State {
    let mut now = BTreeMap::new();
    let losses = Losses::of(resolution.problems);
    let resolved = resolution.components.into_iter();
    let resolved = resolved.map(
        |ResolvedComponent {
             component,
             properties,
         }| (component, Some(properties)),
    );
    let failed = resolution.failed.into_iter();
    for (component, properties) in resolved.chain(failed.map(|component| (component, None))) {
        let key = Key::of(&component);
        let problems = losses.about(&component, properties.is_some());
        let is_late = |problem: &Problem| problem.class == Class::TimedOut;
        if pass == Pass::Quick && problems.iter().any(is_late) {
            let earlier = before.get(&key);
            now.extend(earlier.map(|earlier| (key, Shown::clone(earlier))));
            continue;
        }
        let shown = if problems.is_empty() {
            Shown::new(component, properties)
        } else {
            let kept = before.get(&key).filter(|kept| kept.properties.is_some());
            Shown {
                problems,
                ..kept.map_or_else(|| Shown::new(component, None), |kept| Shown::clone(kept))
            }
        };
        now.insert(key, shown);
    }
    // Those of documents that could not be read are not gone.
    for (key, earlier) in before {
        if !now.contains_key(key)
            && let Some(problem) = losses.of_missing(key, &earlier.document)
        {
            let problems = vec![problem];
            let kept = Shown::clone(earlier);
            now.insert(key.clone(), Shown { problems, ..kept });
        }
    }
    let now = now.into_iter().map(|(key, mut shown)| {
        shown.withdraw(&key, &permits);
        let shown = match before.get(&key) {
            Some(earlier) if shown.is_as(earlier) => Arc::clone(earlier),
            _ => {
                shown.revision = revisions.next();
                Arc::new(shown)
            }
        };
        (key, shown)
    });
    now.collect()
}

/// The same state without properties that were made of what is permitted no longer.
pub(crate) fn state_within(
    before: &State,
    permits: impl Fn(&Origin) -> Result<(), SecretError>,
    revisions: &mut Revisions,
) -> State {
    let now = before.iter().map(|(key, earlier)| {
        let mut shown = Shown::clone(earlier);
        let shown = if shown.withdraw(key, &permits) {
            shown.revision = revisions.next();
            Arc::new(shown)
        } else {
            Arc::clone(earlier)
        };
        (key.clone(), shown)
    });
    now.collect()
}

/// Why components are not resolved.
#[derive(Default)]
struct Losses {
    /// By the name of the component.
    of_components: BTreeMap<String, Vec<Problem>>,
    /// By where the component begins.
    at_places: BTreeMap<Place, Vec<Problem>>,
    /// The first error about a document as a whole.
    of_documents: BTreeMap<Arc<str>, Problem>,
}

impl Losses {
    fn of(problems: Vec<Problem>) -> Self {
        let mut losses = Self::default();
        for problem in problems {
            if let Some(subject) = &problem.subject {
                let name = named(&subject.component);
                losses.of_components.entry(name).or_default().push(problem);
            } else if let (Some(place), Severity::Error) = (problem.place.clone(), problem.severity)
            {
                let first = losses.of_documents.entry(Arc::clone(&place.document));
                first.or_insert_with(|| problem.clone());
                losses.at_places.entry(place).or_default().push(problem);
            }
        }
        losses
    }

    /// Why a component is not to be had as a whole. Dapr mode resolves those that lack a secret as
    /// well; here they are lost, since nobody could tell them from others.
    fn about(&self, component: &Component, is_resolved: bool) -> Vec<Problem> {
        let known = self.of_components.get(&named(&component.name));
        let is_here = |problem: &&Problem| {
            let place = problem.place.as_ref();
            place.is_none_or(|place| place.document == component.position.document)
        };
        let is_loss = |problem: &&Problem| {
            let is_error = problem.severity == Severity::Error && !is_resolved;
            is_error || is_of_value(problem)
        };
        let known = known.into_iter().flatten();
        let mut losses: Vec<_> = known.filter(is_here).filter(is_loss).cloned().collect();
        if is_resolved {
            return losses;
        }
        let here = self.at_places.get(&component.position);
        losses.extend(here.into_iter().flatten().cloned());
        if losses.is_empty() {
            let message = format!("`{}` could not be resolved", printable(&component.name));
            let place = Some(component.position.clone());
            losses.push(Problem::new(Class::Internal, place, message, ""));
        }
        losses
    }

    /// Why a component that was there is missing, though nobody has removed it.
    fn of_missing(&self, key: &Key, document: &Arc<str>) -> Option<Problem> {
        let known = self.of_components.get(&named(&key.name));
        let mut known = known.into_iter().flatten();
        let error = known.find(|problem| problem.severity == Severity::Error);
        error.or_else(|| self.of_documents.get(document)).cloned()
    }
}

/// A component's name as problems have it at most.
fn named(component: &str) -> String {
    component.chars().take(250).collect()
}

/// Whether a problem is about a value that could not be had.
fn is_of_value(problem: &Problem) -> bool {
    let subject = problem.subject.as_ref();
    let is_of_property = subject.is_some_and(|subject| !subject.property.is_empty());
    is_of_property && problem.class != Class::DocumentSchema
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Pass, Revisions, State, state_after};
    use crate::component::Kind;
    use crate::context::Context;
    use crate::document::Document;
    use crate::mode::Mode;
    use crate::resolver::Resolver;
    use crate::stores::Memory;

    /// What resolving a component makes of an earlier state; its one item is this.
    async fn after(before: &State, revisions: &mut Revisions, secret: &str, item: &str) -> State {
        let store = Memory::new().with("s", [("k", secret)]);
        let resolver = Resolver::builder().mode(Mode::Dapr).store("vault", store);
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: c}}\n\
             spec: {{type: state.redis, version: v1, metadata: [{item}]}}\n\
             auth: {{secretStore: vault}}\n"
        );
        let documents = vec![Document::new("c.yaml", text)];
        let resolver = resolver.build().unwrap();
        let resolution = resolver.resolve(documents, &Context::new()).await;
        state_after(before, Pass::Whole, resolution, |_| Ok(()), revisions)
    }

    #[tokio::test]
    async fn what_is_random_is_filled_in_once() {
        let literal = "{name: a, value: 'x-{uuid}'}";
        let secret = "{name: a, secretKeyRef: {name: s, key: k}}";
        for (item, changed, value) in [
            (literal, "{name: a, value: 'y-{uuid}'}", "x-{uuid}"),
            (secret, secret, "y-{uuid}"),
        ] {
            let revisions = &mut Revisions::default();
            let key = &super::Key::new(Kind::Component, "c");
            let first = after(&State::new(), revisions, "x-{uuid}", item).await;
            let again = after(&first, revisions, "x-{uuid}", item).await;
            assert!(Arc::ptr_eq(&first[key], &again[key]), "{item}");
            let other = after(&first, revisions, value, changed).await;
            assert_ne!(first[key].revision, other[key].revision, "{item}");
        }
    }

    #[tokio::test]
    async fn components_of_documents_that_could_not_be_read_are_not_gone() {
        let revisions = &mut Revisions::default();
        let item = "{name: a, value: x}";
        let first = after(&State::new(), revisions, "", item).await;
        let broken = after(&first, revisions, "", "{").await;
        let [shown] = &broken.values().collect::<Vec<_>>()[..] else {
            panic!("one is there");
        };
        assert!(shown.properties.is_some());
        assert_eq!(shown.problems.len(), 1);
        let mended = after(&broken, revisions, "", item).await;
        assert!(mended.values().all(|shown| shown.problems.is_empty()));
    }
}

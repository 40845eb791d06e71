//! What depends on a value: the rules by which a component's properties come out, by mode.
//!
//! Strict mode takes each value as it is and refuses what cannot be had. Dapr mode copies
//! Dapr 1.18.3: an empty or missing secret leaves the literal, Go's quotes are taken off, and
//! templates are applied to secrets, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::component::{
    Component, Item, ItemPlace, Kind, Origin, Property, ResolvedComponent, Value,
};
use crate::context::Context;
use crate::env::{self, Environment};
use crate::error::{Class, SecretError};
use crate::mode::Mode;
use crate::problem::{Place, Problem, Severity, Subject};
use crate::request::Answer;
use crate::secret::SecretValue;
use crate::unquote::unquote;

/// What the items of one component come to: for each item that holds a reference, its value or why
/// there is none.
pub(crate) type Answers = BTreeMap<usize, (Origin, Answer)>;

/// How a component ended.
pub(crate) enum Finished {
    /// All of it is resolved.
    Resolved(Box<ResolvedComponent>),
    /// Something is missing; the problems say what.
    Failed(Box<Component>),
    /// Its store is not there: Dapr waits for it, for ever. Endpoints it takes without the secret.
    Parked(Box<Component>),
}

/// Puts values in their places.
pub(crate) fn finish(
    component: Component,
    mut answers: Answers,
    mode: Mode,
    context: &Context,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Finished {
    let templates = Templates::of(context, environment);
    let mut properties: Vec<Property> = Vec::with_capacity(component.items.len());
    let mut by_name = BTreeMap::new();
    let slips = slips(&component, mode);
    let mut failed = slips.iter().any(|slip| slip.severity == Severity::Error);
    problems.extend(slips);
    let mut waiting = false;
    let items = component.items.iter().enumerate();
    for (index, item) in items.filter(|(_, item)| !is_none(item)) {
        // Once its store is missing, Dapr leaves all further items as they are.
        let answer = if waiting {
            None
        } else {
            answers.remove(&index)
        };
        let outcome = match (answer, mode) {
            (None, _) => Ok(literal(item)),
            (Some((origin, answer)), Mode::Strict) => {
                answer.map(|value| (Value::Secret(value), Some(origin)))
            }
            // Nothing that Dapr has: what a defect left out must not become a literal.
            (Some((_, Err(error))), Mode::Dapr) if error.class == Class::Internal => Err(error),
            (Some((origin, answer)), Mode::Dapr) => {
                let unready = matches!(&answer, Err(error) if is_unready(error, &origin));
                waiting |= unready;
                let (value, error) = lenient(item, origin, answer);
                problems.extend(
                    error.map(|error| problem(&component, item, &error, Severity::Warning)),
                );
                Ok(value)
            }
        };
        let applied = outcome.and_then(|(value, origin)| {
            let property = property(item, value, origin);
            templates.fill(component.kind, property, mode)
        });
        match applied {
            Ok(property) => {
                // The last of one name counts.
                let known = by_name.entry((item.place, item.name.as_str()));
                let place = *known.or_insert(properties.len());
                match properties.get_mut(place) {
                    Some(earlier) => *earlier = property,
                    None => properties.push(property),
                }
            }
            Err(error) => {
                problems.push(problem(&component, item, &error, Severity::Error));
                failed = true;
            }
        }
    }
    if failed {
        Finished::Failed(Box::new(component))
    } else if waiting && !component.secret_store.is_empty() && component.kind == Kind::Component {
        Finished::Parked(Box::new(component))
    } else {
        Finished::Resolved(Box::new(ResolvedComponent {
            component,
            properties,
        }))
    }
}

/// What Dapr passes over in items without a word.
///
/// An item that comes out empty is an error in strict mode where a reference stands that names
/// nothing, or a field that is not known and may be a misspelt one. Both names empty beside a value
/// is what Go writes for no reference, and is none.
pub(crate) fn slips(component: &Component, mode: Mode) -> Vec<Problem> {
    let slip = |item: &Item| {
        let (fault, at) = Slip::of(item).filter(|(fault, _)| fault.is_told(mode))?;
        let error =
            SecretError::new(Class::DocumentSchema, fault.message()).with_hint(fault.hint());
        let severity = match mode {
            Mode::Strict if fault.is_error() => Severity::Error,
            _ => Severity::Warning,
        };
        let mut problem = problem(component, item, &error, severity);
        problem.place = Some(at.clone());
        Some(problem)
    };
    component.items.iter().filter_map(slip).collect()
}

/// What is probably not meant in an item.
#[derive(Clone, Copy)]
enum Slip {
    /// A reference without the secret's name.
    NamesNothing,
    /// A field that is not known, in an item that has nothing else.
    UnknownAlone,
    /// The same beside a value or a reference.
    Unknown,
    /// Nothing but a name.
    Empty,
}

impl Slip {
    /// The slip of an item, and where it stands.
    fn of(item: &Item) -> Option<(Self, &Place)> {
        let has_value = item.request.is_some() || item.value.is_some();
        let unknown = item.unknown_field.as_ref();
        match (&item.secret_key_ref, unknown) {
            (Some(reference), _)
                if reference.name.is_empty()
                    && item.env_ref.is_empty()
                    && (!has_value || !reference.key.is_empty()) =>
            {
                Some((Self::NamesNothing, &item.position))
            }
            (_, Some(at)) if has_value => Some((Self::Unknown, at)),
            (_, Some(at)) => Some((Self::UnknownAlone, at)),
            (_, None) if has_value => None,
            (_, None) => Some((Self::Empty, &item.position)),
        }
    }

    /// Dapr has a word for none of them, and nothing at all is what its users may mean.
    fn is_told(self, mode: Mode) -> bool {
        mode == Mode::Strict || !matches!(self, Self::Empty)
    }

    fn is_error(self) -> bool {
        matches!(self, Self::NamesNothing | Self::UnknownAlone)
    }

    fn message(self) -> &'static str {
        match self {
            Self::NamesNothing => "the reference names no secret",
            Self::UnknownAlone => "this field is not known, and without it the item is empty",
            Self::Unknown => "this field is not known and has no effect",
            Self::Empty => "the item has no `value`, `secretKeyRef` or `envRef`, so it is empty",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::NamesNothing => "add `name: SECRET` under `secretKeyRef`",
            Self::UnknownAlone | Self::Unknown => {
                "known are `name`, `value`, `secretKeyRef` and `envRef` in an item, `value` and \
                 `secretKeyRef` in `clientTLS`, `name` and `key` in a reference; check the \
                 indentation, too"
            }
            Self::Empty => "write `value: \"\"` where that is meant",
        }
    }
}

/// Whether an item is a document of `clientTLS` that says nothing, which is none.
fn is_none(item: &Item) -> bool {
    item.place == ItemPlace::ClientTls && item.request.is_none() && item.value.is_none()
}

fn property(item: &Item, value: Value, origin: Option<Origin>) -> Property {
    Property {
        name: item.name.clone(),
        place: item.place,
        value,
        origin,
        position: item.position.clone(),
        unfilled: None,
    }
}

/// Whether templates fill something into a value that is another each time.
fn is_random(value: &Value, mode: Mode) -> bool {
    match (value, mode) {
        (Value::Plain(text), _) => text.contains(UUID),
        // Read here because Dapr fills in what it finds in a secret.
        (Value::Secret(value), Mode::Dapr) => {
            value.reveal_text().is_ok_and(|text| text.contains(UUID))
        }
        (Value::Secret(_), Mode::Strict) => false,
    }
}

/// Whether Dapr would wait for this store.
fn is_unready(error: &SecretError, origin: &Origin) -> bool {
    matches!(origin, Origin::Secret { .. }) && error.without_store
}

/// Dapr's outcome for an item, and what it says only in its log.
fn lenient(
    item: &Item,
    origin: Origin,
    answer: Answer,
) -> ((Value, Option<Origin>), Option<Arc<SecretError>>) {
    match (answer, &origin) {
        (Ok(value), Origin::Secret { .. }) if value.is_empty() => (literal(item), None),
        (Ok(value), _) => ((Value::Secret(unquote(&value)), Some(origin)), None),
        (Err(error), _) => (literal(item), Some(error)),
    }
}

/// What the document says itself.
fn literal(item: &Item) -> (Value, Option<Origin>) {
    (Value::Plain(item.value.clone().unwrap_or_default()), None)
}

/// A failure to get the value of an item, where it stands.
pub(crate) fn problem(
    component: &Component,
    item: &Item,
    error: &SecretError,
    severity: Severity,
) -> Problem {
    let names_no_store = error.class == Class::StoreUnknown && !component.secret_store.is_empty();
    let place = match &item.secret_key_ref {
        _ if names_no_store => &component.secret_store_position,
        Some(reference) if error.class == Class::KeyAbsent => &reference.key_position,
        _ => &item.position,
    };
    let mut names = vec![cut(&component.secret_store), cut(&item.env_ref)];
    if let Some(reference) = &item.secret_key_ref {
        names.extend([cut(&reference.name), cut(&reference.key)]);
    }
    let mut problem = Problem::new(
        error.class,
        Some(place.clone()),
        error.message.as_str(),
        error.hint.as_str(),
    );
    problem.subject = Some(Subject {
        component: cut(&component.name),
        property: first_word(&item.name),
        names,
    });
    problem.with_severity(severity)
}

/// A name for a problem, which has its own copy: there can be as many problems as items.
fn cut(name: &str) -> String {
    name.chars().take(250).collect()
}

/// An item's name up to its first blank, after which a password may have slipped in: no name has
/// one.
fn first_word(name: &str) -> String {
    cut(name.split(char::is_whitespace).next().unwrap_or_default())
}

/// What Dapr fills in anew each time.
const UUID: &str = "{uuid}";

/// What Dapr writes in place of `{appID}` and the like.
struct Templates {
    /// Dapr always has one; without it, what depends on it stays as it is.
    app: Option<App>,
    pod_name: Option<String>,
}

struct App {
    id: String,
    namespace: String,
}

impl Templates {
    fn of(context: &Context, environment: &Environment) -> Self {
        let app = context.app_id.as_ref().map(|id| {
            let namespace = context.namespace.as_deref().unwrap_or("default");
            App {
                id: id.clone(),
                namespace: format!("{namespace}.{id}"),
            }
        });
        Self {
            app,
            pod_name: environment
                .text(env::POD_NAME)
                .filter(|name| !name.is_empty()),
        }
    }

    /// Fills in a property: Dapr has templates in the metadata of components alone.
    fn fill(
        &self,
        kind: Kind,
        mut property: Property,
        mode: Mode,
    ) -> Result<Property, Arc<SecretError>> {
        if kind == Kind::Component {
            let unfilled = is_random(&property.value, mode).then(|| property.value.clone());
            property.unfilled = unfilled;
            property.value = self.apply(property.value, mode, &property.name)?;
        }
        Ok(property)
    }

    /// Applies the templates: to text of documents always, to secrets in Dapr mode alone, since it
    /// changes them.
    fn apply(&self, value: Value, mode: Mode, name: &str) -> Result<Value, Arc<SecretError>> {
        match (value, mode) {
            (Value::Plain(text), _) => self
                .apply_to(&text, name)
                .map(|applied| Value::Plain(applied.unwrap_or(text))),
            (Value::Secret(value), Mode::Dapr) => {
                // Read here because Dapr rewrites what it finds in a secret.
                let applied = match value.reveal_text() {
                    Ok(text) => self.apply_to(text, name)?,
                    Err(_) => None,
                };
                Ok(Value::Secret(applied.map_or(value, SecretValue::from)))
            }
            (value, Mode::Strict) => Ok(value),
        }
    }

    /// The text with its templates filled in; nothing where it has none.
    fn apply_to(&self, text: &str, name: &str) -> Result<Option<String>, Arc<SecretError>> {
        if !text.contains('{') {
            return Ok(None);
        }
        let mut out = replaced(text, UUID, || uuid::Uuid::new_v4().to_string());
        if out.contains("{podName}") {
            let Some(pod_name) = &self.pod_name else {
                let message = format!(
                    "failed to parse metadata: property {} refers to {{podName}} but podName is not set",
                    crate::problem::printable(&first_word(name))
                );
                let error = SecretError::new(Class::DocumentSchema, message)
                    .with_hint("set the environment variable `POD_NAME`");
                return Err(Arc::new(error));
            };
            out = replaced(&out, "{podName}", || pod_name.clone());
        }
        if let Some(app) = &self.app {
            out = replaced(&out, "{namespace}", || app.namespace.clone());
            out = replaced(&out, "{appID}", || app.id.clone());
        }
        Ok(Some(std::mem::take(&mut *out)))
    }
}

/// The text with each occurrence of a template filled in. It may be a secret, so what it is made of
/// is wiped, and it never grows, which would leave a copy behind.
fn replaced(text: &str, template: &str, fill: impl Fn() -> String) -> Zeroizing<String> {
    let fills: Vec<_> = text.matches(template).map(|_| fill()).collect();
    let length = text.len() + fills.iter().map(String::len).sum::<usize>();
    let mut out = Zeroizing::new(String::with_capacity(length));
    let mut pieces = text.split(template);
    out.push_str(pieces.next().unwrap_or_default());
    for (fill, piece) in fills.iter().zip(pieces) {
        out.push_str(fill);
        out.push_str(piece);
    }
    out
}

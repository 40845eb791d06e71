//! The shapes of the output for programs. `docs/schema/` has a schema for each.

use std::collections::BTreeMap;

use keyref::component::{Component, ItemPlace, Origin, Property, ResolvedComponent, Value};
use keyref::error::Class;
use keyref::problem::{Problem, Severity, terminal_safe};
use keyref::secret::{Secret, SecretValue};
use keyref::{InspectedComponent, InspectedReference};
use serde::Serialize;

/// What stands for the value of a secret unless it is revealed.
pub(super) const MASKED: &str = "***";

#[derive(Serialize)]
pub(super) struct ProblemShape<'p> {
    class: &'static str,
    severity: &'static str,
    document: &'p str,
    line: u32,
    column: u32,
    message: &'p str,
    hint: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    property: Option<&'p str>,
}

impl<'p> From<&'p Problem> for ProblemShape<'p> {
    fn from(problem: &'p Problem) -> Self {
        let subject = problem.subject.as_ref();
        Self {
            class: problem.class.code(),
            severity: match problem.severity {
                Severity::Error => "error",
                _ => "warning",
            },
            document: problem.place.as_ref().map_or("", |place| &place.document),
            line: problem.place.as_ref().map_or(0, |place| place.line),
            column: problem.place.as_ref().map_or(0, |place| place.column),
            message: &problem.message,
            hint: &problem.hint,
            component: subject.map(|subject| subject.component.as_str()),
            property: subject
                .map(|subject| subject.property.as_str())
                .filter(|property| !property.is_empty()),
        }
    }
}

pub(super) fn problems(problems: &[Problem]) -> Vec<ProblemShape<'_>> {
    problems.iter().map(ProblemShape::from).collect()
}

#[derive(Serialize)]
pub(super) struct Resolved<'r> {
    pub(super) components: Vec<ResolvedShape<'r>>,
    pub(super) problems: Vec<ProblemShape<'r>>,
}

#[derive(Serialize)]
pub(super) struct ResolvedShape<'r> {
    name: &'r str,
    kind: &'static str,
    namespace: &'r str,
    #[serde(rename = "type")]
    component_type: &'r str,
    version: &'r str,
    properties: BTreeMap<&'r str, &'r str>,
    secret: Vec<&'r str>,
}

impl<'r> ResolvedShape<'r> {
    /// The shape of a component; values of secrets only where they are to be revealed.
    pub(super) fn new(resolved: &'r ResolvedComponent, reveal: bool) -> Result<Self, Box<Problem>> {
        let component = &resolved.component;
        let mut properties = BTreeMap::new();
        let mut secret = Vec::new();
        for property in &resolved.properties {
            let value = match &property.value {
                Value::Secret(value) => {
                    secret.push(property.name.as_str());
                    if reveal {
                        text(value, component, property)?
                    } else {
                        MASKED
                    }
                }
                Value::Plain(value) => value.as_str(),
                _ => MASKED,
            };
            if properties.insert(property.name.as_str(), value).is_some() {
                let name = terminal_safe(&property.name);
                let problem = Problem::new(
                    Class::DocumentSchema,
                    Some(property.position.clone()),
                    format!("a header and a document of `clientTLS` are both named `{name}`"),
                    "rename the header",
                );
                return Err(Box::new(problem.about(&component.name, &property.name)));
            }
        }
        Ok(Self {
            name: &component.name,
            kind: component.kind.as_str(),
            namespace: &component.namespace,
            component_type: &component.component_type,
            version: &component.version,
            properties,
            secret,
        })
    }
}

/// A value that was asked for, as text.
pub(super) fn text<'v>(
    value: &'v SecretValue,
    component: &Component,
    property: &Property,
) -> Result<&'v str, Box<Problem>> {
    // Revealed because `--reveal` asks for it.
    value.reveal_text().map_err(|_| {
        let problem = Problem::new(
            Class::ValueNotText,
            Some(property.position.clone()),
            "the value is not text",
            "read it with the library, or with `keyref get STORE SECRET KEY`, which prints bytes",
        );
        Box::new(problem.about(&component.name, &property.name))
    })
}

#[derive(Serialize)]
pub(super) struct Inspected<'i> {
    pub(super) components: Vec<InspectedShape<'i>>,
    pub(super) problems: Vec<ProblemShape<'i>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InspectedShape<'i> {
    name: &'i str,
    kind: &'static str,
    namespace: &'i str,
    #[serde(rename = "type")]
    component_type: &'i str,
    version: &'i str,
    ignore_errors: bool,
    init_timeout: &'i str,
    secret_store: &'i str,
    scopes: &'i [String],
    labels: BTreeMap<&'i str, &'i str>,
    annotations: BTreeMap<&'i str, &'i str>,
    metadata: Vec<ItemShape<'i>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemShape<'i> {
    name: &'i str,
    place: &'static str,
    value: Option<&'i str>,
    secret_key_ref: Option<KeyRefShape<'i>>,
    env_ref: &'i str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<ReferenceShape<'i>>,
}

#[derive(Serialize)]
struct KeyRefShape<'i> {
    name: &'i str,
    key: &'i str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceShape<'i> {
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'i str>,
    document: &'i str,
    line: u32,
    column: u32,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'i str>,
}

impl<'i> From<&'i InspectedComponent> for InspectedShape<'i> {
    fn from(inspected: &'i InspectedComponent) -> Self {
        let component = &inspected.component;
        let strings = |pairs: &'i [(String, String)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect()
        };
        // Both are in the order of the items.
        let mut references = inspected.references.iter().peekable();
        let metadata = component
            .items
            .iter()
            .enumerate()
            .map(|(index, item)| ItemShape {
                name: &item.name,
                place: match item.place {
                    ItemPlace::Header => "header",
                    ItemPlace::ClientTls => "clientTLS",
                    _ => "metadata",
                },
                value: item.value.as_deref(),
                secret_key_ref: item.secret_key_ref.as_ref().map(|reference| KeyRefShape {
                    name: &reference.name,
                    key: &reference.key,
                }),
                env_ref: &item.env_ref,
                reference: references
                    .next_if(|reference| reference.item == index)
                    .map(|reference| reference_shape(reference, component)),
            });
        Self {
            name: &component.name,
            kind: component.kind.as_str(),
            namespace: &component.namespace,
            component_type: &component.component_type,
            version: &component.version,
            ignore_errors: component.ignore_errors,
            init_timeout: &component.init_timeout,
            secret_store: &component.secret_store,
            scopes: &component.scopes,
            labels: strings(&component.labels),
            annotations: strings(&component.annotations),
            metadata: metadata.collect(),
        }
    }
}

fn reference_shape<'i>(
    reference: &'i InspectedReference,
    component: &'i Component,
) -> ReferenceShape<'i> {
    let place = component
        .items
        .get(reference.item)
        .map_or(&component.position, |item| &item.position);
    let (store, secret, key, variable) = match &reference.origin {
        Origin::Secret {
            store, secret, key, ..
        } => (Some(store), Some(secret), Some(key), None),
        Origin::Variable(name) => (None, None, None, Some(name)),
        _ => (None, None, None, None),
    };
    ReferenceShape {
        store: store.map(String::as_str),
        secret: secret.map(String::as_str),
        key: key.map(String::as_str),
        variable: variable.map(String::as_str),
        document: &place.document,
        line: place.line,
        column: place.column,
        allowed: reference.refusal.is_none(),
        refusal: reference
            .refusal
            .as_ref()
            .map(|refusal| refusal.class.code()),
    }
}

/// A secret's keys and values, which `get` and `bulk` print because they are asked for, and the keys
/// of those values that are not text.
pub(super) fn secret(secret: &Secret) -> (BTreeMap<&str, &str>, Vec<&str>) {
    let mut keys = BTreeMap::new();
    let mut others = Vec::new();
    for (key, value) in secret.iter() {
        match value.reveal_text() {
            Ok(text) => drop(keys.insert(key, text)),
            Err(_) => others.push(key),
        }
    }
    (keys, others)
}

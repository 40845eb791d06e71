//! The shapes that Dapr's Go types demand, as tables, and the check of a document against them.
//!
//! The rules are those of `sigs.k8s.io/yaml` and `encoding/json`: field names match in any case,
//! unknown fields are ignored, null fits everything, and a number or a boolean stands for a string
//! wherever the target is a string field (but not where the field is of an inlined struct).

use alloc::borrow::{Cow, ToOwned as _};
use alloc::vec::Vec;

use crate::fault::Fault;
use crate::timestamp;
use crate::tree::{Id, Tree, Value};

/// What a field takes.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Whatever JSON can hold.
    Any,
    /// A boolean.
    Bool,
    /// What [`check_resource`] has checked.
    Checked,
    /// A 64-bit integer.
    Integer,
    /// A list.
    List(&'static Self),
    /// A string, and nothing that would have to be turned into one.
    PlainText,
    /// A mapping with known fields.
    Struct(&'static [(&'static str, Self)]),
    /// A string, or a number or boolean to be turned into one.
    Text,
    /// A mapping of strings to strings.
    TextMap,
    /// A date as in RFC 3339.
    Time,
}

/// `metadata` of every Kubernetes resource.
const OBJECT_META: Shape = Shape::Struct(&[
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("labels", Shape::TextMap),
    ("annotations", Shape::TextMap),
    ("generateName", Shape::Text),
    ("selfLink", Shape::Text),
    ("uid", Shape::Text),
    ("resourceVersion", Shape::Text),
    ("generation", Shape::Integer),
    ("creationTimestamp", Shape::Time),
    ("deletionTimestamp", Shape::Time),
    ("deletionGracePeriodSeconds", Shape::Integer),
    ("ownerReferences", Shape::List(&OWNER_REFERENCE)),
    ("finalizers", Shape::List(&Shape::Text)),
    ("managedFields", Shape::List(&MANAGED_FIELDS)),
]);

const OWNER_REFERENCE: Shape = Shape::Struct(&[
    ("apiVersion", Shape::Text),
    ("kind", Shape::Text),
    ("name", Shape::Text),
    ("uid", Shape::Text),
    ("controller", Shape::Bool),
    ("blockOwnerDeletion", Shape::Bool),
]);

const MANAGED_FIELDS: Shape = Shape::Struct(&[
    ("manager", Shape::Text),
    ("operation", Shape::Text),
    ("apiVersion", Shape::Text),
    ("time", Shape::Time),
    ("fieldsType", Shape::Text),
    ("fieldsV1", Shape::Any),
    ("subresource", Shape::Text),
]);

/// A Component, but for what every resource has.
pub(crate) const COMPONENT: Shape = Shape::Struct(&[
    ("metadata", Shape::Checked),
    (
        "spec",
        Shape::Struct(&[
            ("type", Shape::Text),
            ("version", Shape::Text),
            ("ignoreErrors", Shape::Bool),
            ("metadata", Shape::List(&NAME_VALUE_PAIR)),
            ("initTimeout", Shape::Text),
        ]),
    ),
    ("auth", AUTH),
    ("scopes", Shape::List(&Shape::PlainText)),
]);

/// An `HTTPEndpoint`, but for what every resource has.
pub(crate) const HTTP_ENDPOINT: Shape = Shape::Struct(&[
    ("metadata", Shape::Checked),
    (
        "spec",
        Shape::Struct(&[
            ("baseUrl", Shape::Text),
            ("headers", Shape::List(&NAME_VALUE_PAIR)),
            (
                "clientTLS",
                Shape::Struct(&[
                    ("rootCA", TLS_DOCUMENT),
                    ("certificate", TLS_DOCUMENT),
                    ("privateKey", TLS_DOCUMENT),
                    ("renegotiation", Shape::Text),
                ]),
            ),
        ]),
    ),
    ("auth", AUTH),
    ("scopes", Shape::List(&Shape::PlainText)),
]);

const AUTH: Shape = Shape::Struct(&[("secretStore", Shape::Text)]);

const NAME_VALUE_PAIR: Shape = Shape::Struct(&[
    ("name", Shape::Text),
    ("value", Shape::Any),
    ("secretKeyRef", SECRET_KEY_REF),
    ("envRef", Shape::Text),
]);

const SECRET_KEY_REF: Shape = Shape::Struct(&[("name", Shape::Text), ("key", Shape::Text)]);

const TLS_DOCUMENT: Shape =
    Shape::Struct(&[("value", Shape::Any), ("secretKeyRef", SECRET_KEY_REF)]);

/// Faults of one document that are told: who pastes a wrong list need not read each element.
const MOST_FAULTS: usize = 20;

/// Checks a document, and keeps what is wrong with it.
#[derive(Debug)]
pub(crate) struct Checker<'t> {
    tree: &'t Tree,
    faults: Vec<Fault>,
}

impl<'t> Checker<'t> {
    pub(crate) fn new(tree: &'t Tree) -> Self {
        Self {
            tree,
            faults: Vec::new(),
        }
    }

    /// What was wrong, in the order in which it was found.
    pub(crate) fn finish(self) -> Result<(), Vec<Fault>> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(self.faults)
        }
    }

    /// Checks what every resource has, and that the rest can become JSON at all.
    ///
    /// Dapr decodes a document into this first, to learn its kind.
    pub(crate) fn resource(&mut self) {
        let root = self.tree.root();
        match self.tree.value(root) {
            Value::Null => {}
            Value::Mapping(entries) => {
                self.take(self.tree.check_keys(root));
                for (key, _, value) in entries {
                    if folds_to(key, "metadata") {
                        self.check(value, &OBJECT_META, "metadata");
                    } else if folds_to(key, "apiVersion") {
                        self.check(value, &Shape::PlainText, "apiVersion");
                    } else if folds_to(key, "kind") {
                        self.check(value, &Shape::PlainText, "kind");
                    } else {
                        self.take(self.tree.check_json(value));
                    }
                }
            }
            _ => self.schema(root, "a resource is a mapping".to_owned()),
        }
    }

    /// Checks a node against a shape; `field` is its name in messages.
    pub(crate) fn check(&mut self, id: Id, shape: &Shape, field: &str) {
        let tree = self.tree;
        match (shape, tree.value(id)) {
            (Shape::Checked, _)
            | (_, Value::Null)
            | (Shape::Bool, Value::Bool(_))
            | (Shape::Integer, Value::Int(_))
            | (Shape::PlainText, Value::Text(_))
            | (
                Shape::Text,
                Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_),
            ) => {}
            (Shape::Any, _) => self.take(tree.check_json(id)),
            (Shape::Integer, Value::Float(float)) if is_integer(float) => {}
            (Shape::Time, Value::Text(text)) if timestamp::is_rfc3339(text) => {}
            (Shape::List(element), Value::Sequence(elements)) => {
                for id in elements {
                    self.check(id, element, field);
                }
            }
            (Shape::TextMap, Value::Mapping(entries)) => {
                self.take(tree.check_keys(id));
                for (_, _, value) in entries {
                    self.check(value, &Shape::Text, field);
                }
            }
            (Shape::Struct(fields), Value::Mapping(entries)) => {
                self.take(tree.check_keys(id));
                for (key, _, value) in entries {
                    match fields.iter().find(|(name, _)| folds_to(key, name)) {
                        Some((name, shape)) => self.check(value, shape, name),
                        None => self.take(tree.check_json(value)),
                    }
                }
            }
            (shape, _) => self.schema(id, ["`", field, "` takes ", expected(shape)].concat()),
        }
    }

    /// Says what is wrong with a node.
    pub(crate) fn schema(&mut self, id: Id, message: impl Into<Cow<'static, str>>) {
        self.take(Err(Fault::schema(self.tree.mark(id), message)));
    }

    /// Keeps the first fault of each place: both checks meet what is no JSON, and aliases do again.
    fn take(&mut self, checked: Result<(), Fault>) {
        if let Err(fault) = checked
            && self.faults.len() < MOST_FAULTS
            && self.faults.iter().all(|known| known.mark != fault.mark)
        {
            self.faults.push(fault);
        }
    }
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Any | Shape::Checked => "a value",
        Shape::Bool => "a boolean",
        Shape::Integer => "an integer",
        Shape::List(_) => "a list",
        Shape::PlainText | Shape::Text => "a string",
        Shape::Struct(_) => "a mapping",
        Shape::TextMap => "a mapping of strings to strings",
        Shape::Time => "a date and time as in RFC 3339",
    }
}

/// Whether Go writes this float to JSON as digits alone, and reads those as an `int64`.
fn is_integer(float: f64) -> bool {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a round trip is the test"
    )]
    let round_trip = float as i64 as f64;
    // 2^63 itself is out of range, and the first cast saturates there; Go writes its negative with
    // digits that are out of range.
    round_trip.to_bits() == float.to_bits() && float.abs() < 9_223_372_036_854_775_808.0
        || float == 0.0
}

/// Whether Go's JSON decoder takes `key` for the field: equal, or equal in another case.
#[inline]
pub(crate) fn folds_to(key: &str, field: &str) -> bool {
    // No letter is shorter than the ASCII letter that it folds to, so most keys are told apart by
    // their length.
    key.len() >= field.len() && folds(key, field)
}

fn folds(key: &str, field: &str) -> bool {
    if key.len() == field.len() {
        return key.eq_ignore_ascii_case(field);
    }
    !key.is_ascii() && folds_beyond_ascii(key, field)
}

fn folds_beyond_ascii(key: &str, field: &str) -> bool {
    let fold = |character: char| match character {
        // The two characters outside ASCII that fold to an ASCII letter.
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(field
        .chars()
        .map(|character| character.to_ascii_lowercase()))
}

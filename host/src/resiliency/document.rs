//! Resiliency documents as Dapr reads them, and as strict mode does: what is misspelt or cannot be
//! read is told with its place.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize as _;
use serde_yaml::Value;

use crate::document::Document;
use crate::error::Class;
use crate::mode::Mode;
use crate::problem::{Place, Problem, Severity};
use crate::resiliency::definitions::Definitions;
use crate::resiliency::fields::Fields;
use crate::resiliency::{place, policies, targets};

/// The kind of the documents that are read here.
const KIND: &str = "Resiliency";

/// What was read, and what is wrong.
#[derive(Default)]
pub(super) struct Read {
    pub(super) definitions: Definitions,
    pub(super) problems: Vec<Problem>,
    /// Policies that targets name, to be looked for once all documents are read.
    pub(super) named: Vec<Named>,
}

/// A policy that a target names.
pub(super) struct Named {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) place: Place,
}

/// The kinds of policies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Timeout,
    Retry,
    CircuitBreaker,
}

impl Read {
    /// Reads the Resiliency documents of a text. As in Dapr, a document with scopes is for the apps
    /// that they name; in Dapr mode the first document of a text alone is read.
    pub(super) fn add(&mut self, document: &Document, app_id: Option<&str>, mode: Mode) {
        let Ok(text) = std::str::from_utf8(&document.text) else {
            return;
        };
        // Most documents are of other kinds, and need not be read again for this.
        if !text.contains(KIND) {
            return;
        }
        for part in parts(text) {
            let has_kind = text
                .get(part.clone())
                .is_some_and(|part| part.contains(KIND));
            let is_first = part.start == 0 || is_bare(text.get(..part.start).unwrap_or_default());
            if has_kind && (is_first || mode == Mode::Strict) {
                self.add_part(&padded(text, part), &document.name, app_id, mode);
            }
        }
    }

    fn add_part(&mut self, text: &str, name: &Arc<str>, app_id: Option<&str>, mode: Mode) {
        let read = Value::deserialize(serde_yaml::Deserializer::from_str(text));
        let read = read.and_then(|mut value| value.apply_merge().map(|()| value));
        let value = match read {
            Ok(value) if value.get("kind").and_then(Value::as_str) == Some(KIND) => value,
            Ok(_) => return,
            Err(error) => {
                // What else it might be is read, and told of, by the guest.
                if text.lines().any(is_kind) {
                    let (line, column) = error.location().map_or((1, 1), |at| place::position(&at));
                    let message = "the Resiliency document cannot be read";
                    let hint =
                        "check quotes, brackets and indentation, and that no name is repeated";
                    let at = Some(Place::new(name, line, column));
                    let problem = Problem::new(Class::DocumentSyntax, at, message, hint);
                    self.problems.push(of_mode(problem, mode));
                }
                return;
            }
        };
        let mut fields = Fields::new(text, name, mode);
        if !fields.scopes(&value, app_id) {
            self.problems.extend(fields.problems);
            return;
        }
        let mut definitions = Definitions::default();
        definitions.documents.push(fields.identity(&value));
        let mut named = Vec::new();
        fields.each(
            &value,
            &["apiVersion", "kind", "metadata", "scopes", "spec"],
            |fields, field, spec| {
                if field == "spec" {
                    fields.each(
                        spec,
                        &["policies", "targets"],
                        |fields, field, value| match field {
                            "policies" => policies::read(fields, value, &mut definitions),
                            _ => targets::read(fields, value, &mut definitions, &mut named),
                        },
                    );
                }
            },
        );
        // As in Dapr, one with something that cannot be read does not count.
        if !fields.is_unreadable {
            self.definitions.extend(definitions);
            self.named.extend(named);
        }
        self.problems.extend(fields.problems);
    }

    /// Tells of policies that no document has.
    pub(super) fn look_for_named(&mut self, mode: Mode) {
        for Named { kind, name, place } in std::mem::take(&mut self.named) {
            let (what, is_known) = match kind {
                Kind::Timeout => ("timeout", self.definitions.timeouts.contains_key(&name)),
                Kind::Retry => ("retry", self.definitions.retry(&name).is_some()),
                Kind::CircuitBreaker => {
                    let is_known = self.definitions.breakers.contains_key(&name);
                    ("circuit breaker", is_known)
                }
            };
            if !is_known {
                let message = format!("there is no {what} policy of this name");
                let hint = "write it as it stands in `spec.policies`, or add it there";
                let problem = Problem::new(Class::DocumentSchema, Some(place), message, hint);
                self.problems.push(of_mode(problem, mode));
            }
        }
    }
}

/// As in Dapr, what is wrong is a line in the log in its mode.
pub(super) fn of_mode(mut problem: Problem, mode: Mode) -> Problem {
    if mode == Mode::Dapr {
        problem.severity = Severity::Warning;
    }
    problem
}

/// The parts of a text between lines of `---`, each from its line on.
fn parts(text: &str) -> Vec<Range<usize>> {
    let mut begins = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        let is_marker = rest.is_some_and(|rest| {
            let next = rest.chars().next();
            next.is_none_or(char::is_whitespace)
        });
        if is_marker && at > 0 {
            begins.push(at);
        }
        at += line.len();
    }
    let ends = begins.iter().copied().skip(1).chain([text.len()]);
    begins
        .iter()
        .copied()
        .zip(ends)
        .map(|(begin, end)| begin..end)
        .collect()
}

/// A part with as many empty lines before it that its own are counted as in the whole.
fn padded(text: &str, part: Range<usize>) -> String {
    let before = text.get(..part.start).unwrap_or_default();
    let mut padded = "\n".repeat(before.matches('\n').count());
    padded.push_str(text.get(part).unwrap_or_default());
    padded
}

/// Whether nothing stands in a text but comments and markers.
fn is_bare(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with(['#', '%']) || line == "---")
}

/// Whether a line says that this is the kind.
fn is_kind(line: &str) -> bool {
    let rest = line.trim_start().strip_prefix("kind:");
    rest.is_some_and(|rest| {
        rest.trim_matches([' ', '\t', '"', '\'', '\r'])
            .starts_with(KIND)
    })
}

#[cfg(test)]
mod tests {
    use super::{padded, parts};

    #[test]
    fn parts_keep_their_lines() {
        let text = "---\na\n--- # x\nb\n----\n---\nc";
        let parts: Vec<_> = parts(text)
            .into_iter()
            .map(|part| padded(text, part))
            .collect();
        let expected = ["---\na\n", "\n\n--- # x\nb\n----\n", "\n\n\n\n\n---\nc"];
        assert_eq!(parts, expected);
    }
}

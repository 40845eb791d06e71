//! Resiliency documents as Dapr reads them, and as strict mode does: what is misspelt or cannot be
//! read is told with its place.

use std::sync::Arc;

use serde::Deserialize as _;
use serde_yaml::Value;

use crate::document::Document;
use crate::error::Class;
use crate::mode::Mode;
use crate::problem::{Place, Problem, Severity};
use crate::resiliency::definitions::Definitions;
use crate::resiliency::fields::{self, Fields};
use crate::resiliency::place::Spot;
use crate::resiliency::{place, policies, targets};

/// The kind of the documents that are read here.
const KIND: &str = "Resiliency";

/// How many bytes such a document may have, and how many brackets may open in it: the parser looks
/// at every open one for each token.
const MOST_BYTES: usize = 256 << 10;
const MOST_BRACKETS: usize = 5_000;

/// How many problems of a document are told: for each it is read once more.
pub(super) const MOST_PROBLEMS: usize = 50;

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
    pub(super) spot: Spot,
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
        for part in parts(text, &document.name) {
            let is_read = part.is_first || mode == Mode::Strict;
            if is_read && part.text.contains(KIND) {
                self.add_part(&part, app_id, mode);
            }
        }
    }

    fn add_part(&mut self, part: &Part<'_>, app_id: Option<&str>, mode: Mode) {
        let value = match part.value() {
            Ok(Some(value)) => value,
            Ok(None) => return,
            Err(problem) => {
                // What else it might be is read, and told of, by the guest.
                if part.text.lines().any(is_kind) {
                    self.problems.push(of_mode(*problem, mode));
                }
                return;
            }
        };
        let spot = Spot::of(part.name, part.text, part.lines);
        let mut fields = Fields::new(spot, mode);
        if fields.scopes(&value, app_id) {
            let mut read = Self::default();
            read.definitions.documents.push(fields::identity(&value));
            read.add_fields(&mut fields, &value);
            // As in Dapr, one with something that cannot be read does not count.
            if !fields.is_unreadable {
                self.definitions.extend(read.definitions);
                self.named.extend(read.named);
            }
        }
        self.problems.extend(fields.problems);
    }

    fn add_fields(&mut self, fields: &mut Fields, value: &Value) {
        const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "scopes", "spec"];
        let Self {
            definitions, named, ..
        } = self;
        fields.each(value, &FIELDS, |fields, field, spec| {
            if field != "spec" {
                return;
            }
            fields.each(spec, &["policies", "targets"], |fields, field, value| {
                if field == "policies" {
                    policies::read(fields, value, definitions);
                } else {
                    targets::read(fields, value, definitions, named);
                }
            });
        });
    }

    /// Tells of policies that no document has.
    pub(super) fn look_for_named(&mut self, mode: Mode) {
        let mut unknown = 0;
        for Named { kind, name, spot } in std::mem::take(&mut self.named) {
            let (what, is_known) = match kind {
                Kind::Timeout => ("timeout", self.definitions.timeouts.contains_key(&name)),
                Kind::Retry => ("retry", self.definitions.retry(&name).is_some()),
                Kind::CircuitBreaker => {
                    let is_known = self.definitions.breakers.contains_key(&name);
                    ("circuit breaker", is_known)
                }
            };
            unknown += usize::from(!is_known);
            if !is_known && unknown <= MOST_PROBLEMS {
                let message = format!("there is no {what} policy of this name");
                let hint = "write it as it stands in `spec.policies`, or add it there";
                let problem =
                    Problem::new(Class::DocumentSchema, Some(spot.place()), message, hint);
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

/// What stands between lines of `---`, and from such a line on.
struct Part<'t> {
    name: &'t Arc<str>,
    text: &'t str,
    /// How many lines there are before it.
    lines: u32,
    /// Whether there are none but comments before it.
    is_first: bool,
}

impl Part<'_> {
    /// The document, if it is of this kind.
    fn value(&self) -> Result<Option<Value>, Box<Problem>> {
        let text = self.text;
        let refused = |class, (line, column): (u32, u32), message: &str, hint: &str| {
            let at = Place::new(self.name, line.saturating_add(self.lines), column);
            Err(Box::new(Problem::new(class, Some(at), message, hint)))
        };
        let brackets = || text.bytes().filter(|byte| b"[{".contains(byte)).count();
        if text.len() > MOST_BYTES || brackets() > MOST_BRACKETS {
            let message = "the Resiliency document is larger than any that is read";
            let hint = "put some of it into a document of its own";
            return refused(Class::DocumentLimit, (1, 1), message, hint);
        }
        let read = Value::deserialize(serde_yaml::Deserializer::from_str(text));
        let read = read.and_then(|mut value| value.apply_merge().map(|()| value));
        match read {
            Ok(value) => {
                let is_meant = value.get("kind").and_then(Value::as_str) == Some(KIND);
                Ok(is_meant.then_some(value))
            }
            Err(error) => {
                let place = error.location().map_or((1, 1), |at| place::position(&at));
                let message = "the Resiliency document cannot be read";
                let hint = "check quotes, brackets and indentation, and that no name is repeated";
                refused(Class::DocumentSyntax, place, message, hint)
            }
        }
    }
}

fn parts<'t>(text: &'t str, name: &'t Arc<str>) -> Vec<Part<'t>> {
    let mut begins = vec![(0, 0, true)];
    let (mut at, mut is_bare) = (0, true);
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let after = line.strip_prefix("---");
        let is_marker = after.is_some_and(|after| {
            let next = after.chars().next();
            next.is_none_or(char::is_whitespace)
        });
        if is_marker && at > 0 {
            begins.push((at, number, is_bare));
        }
        let content = after.filter(|_| is_marker).unwrap_or(line).trim();
        is_bare &= content.is_empty() || content.starts_with(['#', '%']);
        at += line.len();
    }
    let ends = begins.iter().skip(1).map(|(begin, _, _)| *begin);
    let ends: Vec<_> = ends.chain([text.len()]).collect();
    let parts = begins.into_iter().zip(ends);
    parts
        .map(|((begin, lines, is_first), end)| Part {
            name,
            text: text.get(begin..end).unwrap_or_default(),
            lines,
            is_first,
        })
        .collect()
}

/// Whether a line seems to say that this is the kind.
fn is_kind(line: &str) -> bool {
    let mut after = line.split("kind").skip(1);
    after.any(|rest| {
        let rest = rest.trim_start_matches([' ', '\t', '"', '\'', ':']);
        rest.starts_with(KIND)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::parts;

    #[test]
    fn parts_know_their_lines_and_whether_they_are_the_first() {
        let text = "---\n# y\n--- # x\nb\n----\n---\nc";
        let name = Arc::from("r.yaml");
        let parts = parts(text, &name);
        let parts: Vec<_> = parts
            .iter()
            .map(|part| (part.text, part.lines, part.is_first))
            .collect();
        let expected = [
            ("---\n# y\n", 0, true),
            ("--- # x\nb\n----\n", 2, true),
            ("---\nc", 5, false),
        ];
        assert_eq!(parts, expected);
    }
}

//! The fields of a document, read one by one as Go's JSON does: names in any case, numbers as text
//! where text is wanted.

use std::time::Duration;

use serde_yaml::Value;

use crate::error::Class;
use crate::mode::Mode;
use crate::problem::{Problem, printable};
use crate::resiliency::document::{MOST_PROBLEMS, of_mode};
use crate::resiliency::duration;
use crate::resiliency::place::Spot;
use crate::suggest;

/// A document on the way through its fields.
pub(super) struct Fields {
    mode: Mode,
    spot: Spot,
    pub(super) problems: Vec<Problem>,
    /// Whether something cannot be read, so that all of it does not count.
    pub(super) is_unreadable: bool,
}

impl Fields {
    pub(super) fn new(spot: Spot, mode: Mode) -> Self {
        Self {
            mode,
            spot,
            problems: Vec::new(),
            is_unreadable: false,
        }
    }

    /// Goes through the fields of a mapping. One that is not known is misspelt: in Dapr mode it is
    /// passed over.
    pub(super) fn each(
        &mut self,
        value: &Value,
        known: &[&'static str],
        mut read: impl FnMut(&mut Self, &'static str, &Value),
    ) {
        self.entries(value, |fields, name, value| {
            let mut names = known.iter().copied();
            match names.find(|field| field.eq_ignore_ascii_case(name)) {
                Some(field) => read(fields, field, value),
                None if fields.mode == Mode::Strict => fields.refuse_unknown(name, known),
                None => {}
            }
        });
    }

    /// Goes through a mapping whose names are the author's own.
    pub(super) fn entries(&mut self, value: &Value, mut read: impl FnMut(&mut Self, &str, &Value)) {
        let mapping = match value {
            Value::Mapping(mapping) => mapping,
            Value::Null => return,
            _ => return self.refuse("a mapping is expected here", "write `name: value` below it"),
        };
        for (name, value) in mapping {
            let Some(name) = scalar(name) else {
                self.refuse("a name here is no text", "write it in quotes");
                continue;
            };
            self.spot.names.push(name.clone());
            read(self, &name, value);
            self.spot.names.pop();
        }
    }

    /// A text; empty where there is nothing.
    pub(super) fn text(&mut self, value: &Value) -> String {
        scalar(value).unwrap_or_else(|| {
            self.refuse("a text is expected here", "write it in quotes");
            String::new()
        })
    }

    /// A whole number, if there is one.
    pub(super) fn number(&mut self, value: &Value) -> Option<i64> {
        let number = value.as_i64();
        if number.is_none() && !value.is_null() {
            self.refuse("a whole number is expected here", "write it without quotes");
        }
        number
    }

    /// A duration, if there is one.
    pub(super) fn duration(&mut self, value: &Value) -> Option<Duration> {
        const HINT: &str = "write a number with its unit, such as `500ms`, `5s` or `1m30s`";
        let text = self.text(value);
        if text.is_empty() {
            return None;
        }
        match duration::parse(&text) {
            None => {
                self.refuse("this is no duration", HINT);
                None
            }
            Some((_, true)) if self.mode == Mode::Strict => {
                self.refuse("a duration cannot be less than nothing", HINT);
                None
            }
            Some((duration, _)) => Some(duration),
        }
    }

    /// Whether the document is for this app. Without an id it is, whatever the scopes are.
    pub(super) fn scopes(&mut self, value: &Value, app_id: Option<&str>) -> bool {
        let mut is_meant = true;
        let is_scopes = |name: &&Value| {
            let name = name.as_str();
            name.is_some_and(|name| name.eq_ignore_ascii_case("scopes"))
        };
        let mapping = value.as_mapping();
        let scopes = mapping.and_then(|mapping| {
            let name = mapping.keys().find(is_scopes)?;
            Some((scalar(name)?, mapping.get(name)?))
        });
        if let Some((name, scopes)) = scopes.filter(|(_, scopes)| !scopes.is_null()) {
            self.spot.names.push(name);
            match scopes.as_sequence() {
                None => {
                    self.refuse("a list of app ids is expected here", "begin each with `- `");
                    is_meant = false;
                }
                Some(apps) => {
                    let apps: Vec<_> = apps.iter().map(|app| self.text(app)).collect();
                    let is_named = |id: &str| apps.iter().any(|app| app == id);
                    is_meant = apps.is_empty() || app_id.is_none_or(is_named);
                }
            }
            self.spot.names.pop();
        }
        is_meant
    }

    /// What is here.
    pub(super) fn spot(&self) -> Spot {
        self.spot.clone()
    }

    /// Refuses what is here. What it is can be anything, so nothing of it is shown.
    pub(super) fn refuse(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.is_unreadable = true;
        let (message, hint) = (message.into(), hint.into());
        self.tell(|spot| Problem::new(Class::DocumentSchema, Some(spot.place()), message, hint));
    }

    /// Says something of what is here that changes nothing.
    pub(super) fn warn(&mut self, message: &str) {
        self.tell(|spot| {
            let problem = Problem::new(Class::DocumentSchema, Some(spot.place()), message, "");
            of_mode(problem, Mode::Dapr)
        });
    }

    fn refuse_unknown(&mut self, name: &str, known: &[&'static str]) {
        self.is_unreadable = true;
        let hint = match suggest::nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known fields: {}", known.join(", ")),
        };
        let message = format!("Dapr does not know the field `{}`", printable(name));
        self.tell(|spot| {
            let place = Some(spot.place_of_name());
            Problem::new(Class::DocumentSchema, place, message, hint)
        });
    }

    fn tell(&mut self, problem: impl FnOnce(&Spot) -> Problem) {
        if self.problems.len() < MOST_PROBLEMS {
            let problem = problem(&self.spot);
            self.problems.push(of_mode(problem, self.mode));
        }
    }
}

/// A document's name and namespace.
pub(super) fn identity(value: &Value) -> (String, String) {
    let metadata = value.get("metadata");
    let field = |name| {
        let field = metadata.and_then(|metadata| metadata.get(name));
        field.and_then(scalar).unwrap_or_default()
    };
    (field("name"), field("namespace"))
}

/// What stands here as text; a value is converted as Go does where text is wanted.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

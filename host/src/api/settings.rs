//! What Dapr Configurations say of the server: `spec.api` and `spec.logging`. Nothing of them may
//! fail open: what is not honored is refused, where it guards something, or named.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::Value;

use crate::api::access::ApiRule;
use crate::document::Document;
use crate::env::Environment;
use crate::error::Class;
use crate::expansion::Expansion;
use crate::limits::Limits;
use crate::mode::Mode;
use crate::problem::{Place, Problem};

/// What configurations say of the server. Of several, each field is the last one's that has it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// `spec.api.allowed`
    pub allowed: Vec<ApiRule>,
    /// `spec.api.denied`
    pub denied: Vec<ApiRule>,
    /// `spec.logging.apiLogging.enabled`
    pub log_calls: bool,
    /// Fields that have no effect here, such as `spec.mtls`.
    pub without_effect: Vec<String>,
}

/// Fields of `spec` that have no effect here and guard nothing that is served here.
const WITHOUT_EFFECT: &[&str] = &[
    "accessControl",
    "appHttpPipeline",
    "features",
    "metric",
    "metrics",
    "mtls",
    "nameResolution",
    "tracing",
    "wasm",
    "workflow",
];

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    spec: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Api {
    allowed: Option<Vec<Rule>>,
    denied: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    protocol: String,
}

#[derive(Deserialize)]
struct Logging {
    #[serde(rename = "apiLogging")]
    api_logging: Option<ApiLogging>,
}

#[derive(Deserialize)]
struct ApiLogging {
    enabled: Option<bool>,
}

impl Settings {
    /// Reads configurations, variables filled in from the environment. Scopes of secrets are read
    /// by [`ResolverBuilder::configuration`](crate::ResolverBuilder::configuration).
    ///
    /// # Errors
    /// Fails where a field cannot be read, or guards something and is not honored.
    pub fn read(
        configurations: &[Document],
        environment: &Environment,
        mode: Mode,
    ) -> Result<Self, Vec<Problem>> {
        let (mut settings, mut problems) = (Self::default(), Vec::new());
        for document in configurations {
            if let Err(wrong) = settings.overlay(document, environment, mode) {
                problems.extend(wrong);
            }
        }
        settings.without_effect.sort();
        settings.without_effect.dedup();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }

    fn overlay(
        &mut self,
        document: &Document,
        environment: &Environment,
        mode: Mode,
    ) -> Result<(), Vec<Problem>> {
        let refused = |refusal: Refusal| vec![refusal.problem(document)];
        let unreadable = || refused(Refusal::unreadable("spec"));
        let text = std::str::from_utf8(&document.text).map_err(|_| unreadable())?;
        let most = Limits::default().document_bytes;
        let expansion = Expansion::of(&document.name, text, environment, mode, most)?;
        let mut documents = serde_yaml::Deserializer::from_str(&expansion.text);
        let Some(first) = documents.next() else {
            return Ok(());
        };
        let configuration = Configuration::deserialize(first).map_err(|_| unreadable())?;
        for (field, value) in configuration.spec.unwrap_or_default() {
            self.set(&field, value).map_err(refused)?;
        }
        Ok(())
    }

    /// Takes one field of `spec` over.
    fn set(&mut self, field: &str, value: Value) -> Result<(), Refusal> {
        match field {
            // The policy has been made of it already.
            "secrets" => {}
            "api" => {
                let api: Option<Api> =
                    serde_yaml::from_value(value).map_err(|_| Refusal::unreadable("api"))?;
                if let Some(Api { allowed, denied }) = api {
                    self.allowed = allowed.map_or(std::mem::take(&mut self.allowed), rules);
                    self.denied = denied.map_or(std::mem::take(&mut self.denied), rules);
                }
            }
            "logging" => {
                let logging: Option<Logging> =
                    serde_yaml::from_value(value).map_err(|_| Refusal::unreadable("logging"))?;
                let enabled = logging.and_then(|logging| logging.api_logging?.enabled);
                self.log_calls = enabled.unwrap_or(self.log_calls);
            }
            "httpPipeline" if has_entries(&value, "handlers") => {
                return Err(Refusal {
                    field: "httpPipeline",
                    message: "`httpPipeline` has handlers, which are not run here",
                    hint: "remove them, or serve secrets behind a proxy that does their work",
                });
            }
            "components" if has_entries(&value, "deny") => {
                return Err(Refusal {
                    field: "components",
                    message: "`components.deny` is not honored here",
                    hint: "remove the components themselves, or name others in `--resources`",
                });
            }
            field if WITHOUT_EFFECT.contains(&field) && !value.is_null() => {
                self.without_effect.push(format!("spec.{field}"));
            }
            // Others have been told as misspelt, or are empty.
            _ => {}
        }
        Ok(())
    }
}

/// Why a field is refused. What stands in it can be a variable's value, so nothing of it is shown.
struct Refusal {
    field: &'static str,
    message: &'static str,
    hint: &'static str,
}

impl Refusal {
    fn unreadable(field: &'static str) -> Self {
        Self {
            field,
            message: "the field cannot be read",
            hint: "compare it with Dapr's Configuration schema",
        }
    }

    fn problem(&self, document: &Document) -> Problem {
        let line = line_of(&document.text, self.field);
        let place = Place::new(&document.name, line, 1);
        Problem::new(Class::DocumentSchema, Some(place), self.message, self.hint)
    }
}

fn rules(rules: Vec<Rule>) -> Vec<ApiRule> {
    let rules = rules.into_iter();
    let rules = rules.map(|rule| ApiRule::new(rule.name, rule.version, rule.protocol));
    rules.collect()
}

fn has_entries(value: &Value, field: &str) -> bool {
    let entries = value.get(field);
    entries.is_some_and(|entries| !entries.is_null() && entries.as_sequence() != Some(&Vec::new()))
}

/// The line on which a field is first written, from 1.
fn line_of(text: &[u8], field: &str) -> u32 {
    let mut lines = (1..).zip(text.split(|&byte| byte == b'\n'));
    let is_here = |line: &[u8]| {
        let line = line.trim_ascii_start();
        line.starts_with(field.as_bytes()) && line.get(field.len()) == Some(&b':')
    };
    lines
        .find_map(|(number, line)| is_here(line).then_some(number))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::document::Document;
    use crate::env::Environment;
    use crate::mode::Mode;

    fn read(texts: &[&str]) -> Result<Settings, Vec<String>> {
        let documents: Vec<_> = texts
            .iter()
            .map(|text| Document::new("c.yaml", *text))
            .collect();
        let environment = Environment::of([("API", "state")]);
        let settings = Settings::read(&documents, &environment, Mode::Strict);
        settings.map_err(|problems| {
            let shown = |problem: &crate::problem::Problem| {
                let place = problem.place.as_ref().map(ToString::to_string);
                format!("{} {}", place.unwrap_or_default(), problem.message)
            };
            problems.iter().map(shown).collect()
        })
    }

    #[test]
    fn later_fields_replace_earlier_ones() {
        let first = "spec:\n  api:\n    allowed:\n    - {name: secrets, version: v1, protocol: http}\n    \
                     denied:\n    - {name: metadata, version: v1, protocol: http}\n";
        let second = "spec:\n  api:\n    allowed:\n    - {name: '${API}', version: v1}\n  \
                      logging: {apiLogging: {enabled: true}}\n  tracing: {samplingRate: '1'}\n  mtls:\n";
        let settings = read(&[first, second]).unwrap();
        assert_eq!(settings.allowed[0].name, "state");
        assert_eq!(settings.denied[0].name, "metadata");
        assert!(settings.log_calls);
        assert_eq!(settings.without_effect, ["spec.tracing"]);
    }

    #[test]
    fn what_guards_and_is_not_honored_is_refused() {
        for (text, expected) in [
            (
                "spec:\n  httpPipeline:\n    handlers: [{name: x, type: y}]\n",
                "c.yaml:2:1 `httpPipeline` has handlers, which are not run here",
            ),
            (
                "spec:\n  components:\n    deny: [secretstores.local.file]\n",
                "c.yaml:2:1 `components.deny` is not honored here",
            ),
            ("spec:\n  api: 3\n", "c.yaml:2:1 the field cannot be read"),
            ("spec: [", "c.yaml:1:1 the field cannot be read"),
        ] {
            assert_eq!(read(&[text]).unwrap_err(), [expected], "{text}");
        }
        assert!(read(&["spec:\n  httpPipeline: {handlers: []}\n  components: {deny: }\n"]).is_ok());
    }
}

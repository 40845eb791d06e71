//! What Dapr Configurations say of the server: all of `spec` but scopes of secrets. Nothing of it may
//! fail open: what is not honored is refused, where it guards something, or named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_yaml::Value;

use crate::api::access::{ApiLists, ApiRule};
use crate::api::metrics::{MetricsFields, MetricsSettings};
use crate::api::traces::{TracesFields, TracesSettings, Unfit};
use crate::denied_types::DeniedTypes;
use crate::document::Document;
use crate::env::Environment;
use crate::error::Class;
use crate::expansion::Expansion;
use crate::limits::Limits;
use crate::mode::Mode;
use crate::problem::{Place, Problem, printable};

/// What configurations say of the server. Of several, each field is the last one's that has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// `spec.api`
    pub api: ApiLists,
    /// `spec.logging.apiLogging`
    pub log: CallLog,
    /// The feature `HotReload`: whether files are read again when they change. On where nothing is
    /// said.
    pub hot_reload: Option<bool>,
    /// `spec.metric` and `spec.metrics`
    pub metrics: MetricsSettings,
    /// The handlers of `spec.httpPipeline`, which are not run: as they are written, variables not
    /// filled in.
    pub handlers: Vec<String>,
    /// `spec.tracing`, and `OTEL_*` of the environment
    pub traces: TracesSettings,
    /// Fields that have no effect here, such as `spec.mtls`.
    pub without_effect: Vec<String>,
    /// The names of the configurations that have a `spec`.
    with_spec: BTreeSet<Arc<str>>,
}

/// Which calls are logged, and how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CallLog {
    /// Whether calls are logged at all.
    pub is_on: bool,
    /// Whether the name of the API stands for the path, which names secrets.
    pub hides_paths: bool,
    /// Whether calls for health are left out.
    pub omits_health: bool,
}

/// The feature of Dapr that has files watched.
pub(crate) const HOT_RELOAD: &str = "HotReload";

/// The field of handlers that requests pass before they are answered.
const HTTP_PIPELINE: &str = "httpPipeline";

/// Fields of `spec` that have no effect here and guard nothing that is served here.
const WITHOUT_EFFECT: &[&str] = &[
    "accessControl",
    "appHttpPipeline",
    "mtls",
    "nameResolution",
    "wasm",
    "workflow",
];

/// What several configurations say together.
#[derive(Default)]
struct Fields {
    metrics: MetricsFields,
    traces: TracesFields,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    spec: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Api {
    allowed: Option<Vec<Rule>>,
    denied: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    protocol: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Components {
    deny: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Feature {
    name: String,
    enabled: bool,
}

#[derive(Deserialize)]
struct Logging {
    #[serde(rename = "apiLogging")]
    api_logging: Option<ApiLogging>,
}

#[derive(Deserialize)]
struct ApiLogging {
    enabled: Option<bool>,
    #[serde(rename = "obfuscateURLs")]
    obfuscate_urls: Option<bool>,
    #[serde(rename = "omitHealthChecks")]
    omit_health_checks: Option<bool>,
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
        let settings = Self::read_without_handlers(configurations, environment, mode)?;
        if settings.handlers.is_empty() {
            return Ok(settings);
        }
        let mut documents = configurations.iter();
        let has_it = |document: &&Document| line_of(&document.text, HTTP_PIPELINE).is_some();
        let document = documents.find(has_it).or(configurations.first());
        let refusal = Refusal {
            field: HTTP_PIPELINE,
            message: "`httpPipeline` has handlers, which are not run here",
            hint: "remove them, serve secrets behind a proxy that does their work, or serve without \
                   them with `--ignore-http-pipeline`",
        };
        let problems = document.map(|document| refusal.problem(document));
        Err(problems.into_iter().collect())
    }

    /// The same, and the handlers of `spec.httpPipeline`, which guard what is served, may be there:
    /// whoever calls this serves without them.
    ///
    /// # Errors
    /// Fails where a field cannot be read, or guards something else and is not honored.
    pub fn read_without_handlers(
        configurations: &[Document],
        environment: &Environment,
        mode: Mode,
    ) -> Result<Self, Vec<Problem>> {
        let (mut settings, mut problems) = (Self::default(), Vec::new());
        let mut fields = Fields::default();
        for document in configurations {
            if let Err(wrong) = settings.overlay(document, environment, mode, &mut fields) {
                problems.extend(wrong);
            }
        }
        match fields.metrics.settings() {
            Ok(metrics) => settings.metrics = metrics,
            Err(field) => {
                let refusal = Refusal::unreadable(field);
                problems.push(refusal.problem_of(configurations, "metric"));
            }
        }
        match fields.traces.settings(environment, mode) {
            Ok(traces) => settings.traces = traces,
            Err(unfit) => {
                let refusal = Refusal::from(unfit);
                problems.push(refusal.problem_of(configurations, "tracing"));
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

    /// What is wrong with configurations that had a `spec` before and have none now: a file that has
    /// been cut would guard nothing any more.
    pub fn lost_since(&self, before: &Self, configurations: &[Document]) -> Vec<Problem> {
        let is_lost = |document: &&Document| {
            let has_one = |settings: &Self| settings.with_spec.contains(&document.name);
            has_one(before) && !has_one(self)
        };
        let lost = configurations.iter().filter(is_lost);
        lost.map(|document| NO_SPEC.problem(document)).collect()
    }

    fn overlay(
        &mut self,
        document: &Document,
        environment: &Environment,
        mode: Mode,
        fields: &mut Fields,
    ) -> Result<(), Vec<Problem>> {
        let Some(spec) = spec(document, environment, mode)? else {
            return Ok(());
        };
        self.with_spec.insert(Arc::clone(&document.name));
        for (field, value) in spec {
            let refused = |refusal: Refusal| vec![refusal.problem(document)];
            let set = match field.as_str() {
                "metric" => fields.metrics.set_metric(value),
                "metrics" => fields.metrics.set_metrics(value),
                HTTP_PIPELINE if !is_empty(&value, "handlers") => {
                    self.handlers.extend(handlers(document));
                    continue;
                }
                "tracing" => {
                    let set = fields.traces.set(value, mode);
                    set.map_err(|unfit| {
                        let here = std::slice::from_ref(document);
                        vec![Refusal::from(unfit).problem_of(here, "tracing")]
                    })?;
                    continue;
                }
                _ => {
                    self.set(&field, value, mode).map_err(refused)?;
                    continue;
                }
            };
            set.map_err(|field| refused(Refusal::unreadable(field)))?;
        }
        Ok(())
    }

    /// Takes one field of `spec` over.
    fn set(&mut self, field: &str, value: Value, mode: Mode) -> Result<(), Refusal> {
        match field {
            // The policy has been made of it already, and components have been selected.
            "secrets" | "components" => {}
            "api" => {
                let api: Option<Api> =
                    serde_yaml::from_value(value).map_err(|_| Refusal::unreadable("api"))?;
                if let Some(Api { allowed, denied }) = api {
                    let lists = &mut self.api;
                    for (list, read) in [(&mut lists.allowed, allowed), (&mut lists.denied, denied)]
                    {
                        if let Some(read) = read {
                            *list = rules(read, mode)?;
                        }
                    }
                }
            }
            "logging" => {
                let logging: Option<Logging> =
                    serde_yaml::from_value(value).map_err(|_| Refusal::unreadable("logging"))?;
                if let Some(read) = logging.and_then(|logging| logging.api_logging) {
                    let log = &mut self.log;
                    log.is_on = read.enabled.unwrap_or(log.is_on);
                    log.hides_paths = read.obfuscate_urls.unwrap_or(log.hides_paths);
                    log.omits_health = read.omit_health_checks.unwrap_or(log.omits_health);
                }
            }
            "features" => {
                let features: Option<Vec<Feature>> =
                    serde_yaml::from_value(value).map_err(|_| Refusal::unreadable("features"))?;
                for Feature { name, enabled } in features.into_iter().flatten() {
                    if name == HOT_RELOAD {
                        self.hot_reload = Some(enabled);
                    } else {
                        self.without_effect.push("spec.features".to_owned());
                    }
                }
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

/// The `spec.components.deny` of the last configuration that has one.
///
/// # Errors
/// Fails where a configuration, or that field, cannot be read.
pub fn denied_types(
    configurations: &[Document],
    environment: &Environment,
    mode: Mode,
) -> Result<DeniedTypes, Vec<Problem>> {
    let mut denied = DeniedTypes::default();
    for document in configurations {
        let spec = spec(document, environment, mode)?;
        let Some(components) = spec.and_then(|mut spec| spec.remove("components")) else {
            continue;
        };
        let components: Option<Components> = serde_yaml::from_value(components)
            .map_err(|_| vec![Refusal::unreadable("components").problem(document)])?;
        if let Some(deny) = components.and_then(|components| components.deny) {
            if mode == Mode::Strict && !deny.iter().all(|entry| DeniedTypes::is_entry(entry)) {
                return Err(vec![NO_TYPE.problem(document)]);
            }
            denied = deny.into_iter().collect();
        }
    }
    Ok(denied)
}

/// The names of the handlers of a configuration, as they are written: what a variable holds is not
/// shown. At least one, since there are some.
fn handlers(document: &Document) -> Vec<String> {
    let mut documents = serde_yaml::Deserializer::from_slice(&document.text);
    let first = documents.next();
    let written = first.and_then(|first| Value::deserialize(first).ok());
    let handlers = written.as_ref().and_then(|written| {
        let handlers = written.get("spec")?.get(HTTP_PIPELINE)?.get("handlers")?;
        handlers.as_sequence()
    });
    let name = |handler: &Value| Some(printable(handler.get("name")?.as_str()?));
    let names: Vec<_> = handlers.into_iter().flatten().filter_map(name).collect();
    if names.is_empty() {
        vec!["without a name".to_owned()]
    } else {
        names
    }
}

/// The fields of a configuration's `spec`, if it has one, variables filled in.
fn spec(
    document: &Document,
    environment: &Environment,
    mode: Mode,
) -> Result<Option<BTreeMap<String, Value>>, Vec<Problem>> {
    let unreadable = || vec![Refusal::unreadable("spec").problem(document)];
    let text = std::str::from_utf8(&document.text).map_err(|_| unreadable())?;
    let most = Limits::default().document_bytes;
    let expansion = Expansion::of(&document.name, text, environment, mode, most)?;
    let mut documents = serde_yaml::Deserializer::from_str(&expansion.text);
    let Some(first) = documents.next() else {
        return Ok(None);
    };
    let mut configuration = Value::deserialize(first).map_err(|_| unreadable())?;
    configuration.apply_merge().map_err(|_| unreadable())?;
    let configuration: Option<Configuration> =
        serde_yaml::from_value(configuration).map_err(|_| unreadable())?;
    match configuration.and_then(|configuration| configuration.spec) {
        // A file that has been cut would guard nothing any more.
        None if mode == Mode::Strict => Err(vec![NO_SPEC.problem(document)]),
        spec => Ok(spec),
    }
}

/// Why a field is refused. What stands in it can be a variable's value, so nothing of it is shown.
struct Refusal {
    field: &'static str,
    message: &'static str,
    hint: &'static str,
}

/// In strict mode, what would deny nothing is a slip.
const NO_TYPE: Refusal = Refusal {
    field: "deny",
    message: "an entry of `components.deny` names no type",
    hint: "write `state.redis`, or `state.redis/v1`: each type in full",
};

/// In strict mode, what would guard nothing is a slip.
const NO_SPEC: Refusal = Refusal {
    field: "spec",
    message: "the Configuration has no `spec`, so it would leave all stores open",
    hint: "write `spec: {secrets: {scopes: []}}` where that is meant",
};

impl Refusal {
    fn unreadable(field: &'static str) -> Self {
        Self {
            field,
            message: "the field cannot be read",
            hint: "compare it with Dapr's Configuration schema",
        }
    }

    /// The problem at the last place where the field is written, or the one that it stands in;
    /// nowhere where it is a variable of the environment.
    fn problem_of(&self, configurations: &[Document], within: &str) -> Problem {
        if self.field.starts_with("OTEL_") {
            let message = format!("`{}`: {}", self.field, self.message);
            return Problem::new(Class::DocumentSchema, None, message, self.hint);
        }
        let mut places = [self.field, within].into_iter().flat_map(|field| {
            let documents = configurations.iter().rev();
            documents.filter_map(move |document| {
                let line = line_of(&document.text, field)?;
                Some(Place::new(&document.name, line, 1))
            })
        });
        let place = places.next();
        Problem::new(Class::DocumentSchema, place, self.message, self.hint)
    }

    fn problem(&self, document: &Document) -> Problem {
        let line = line_of(&document.text, self.field).unwrap_or(1);
        let place = Place::new(&document.name, line, 1);
        Problem::new(Class::DocumentSchema, Some(place), self.message, self.hint)
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self {
            field: unfit.name,
            message: unfit.message,
            hint: unfit.hint,
        }
    }
}

/// Rules. In strict mode one that names no API of a protocol is refused: it is a slip, and leaves
/// open, or closes, what was meant.
fn rules(rules: Vec<Rule>, mode: Mode) -> Result<Vec<ApiRule>, Refusal> {
    let rule = |rule: Rule| {
        let is_http = rule.protocol.eq_ignore_ascii_case("http");
        let names_one = !rule.name.is_empty() && !rule.version.is_empty();
        if mode == Mode::Strict && !(names_one && (is_http || rule.protocol == "grpc")) {
            return Err(Refusal {
                field: "api",
                message: "a rule of `api` names no API",
                hint: "write `name`, `version` and `protocol: http` or `protocol: grpc`",
            });
        }
        Ok(ApiRule::new(rule.name, rule.version, rule.protocol))
    };
    rules.into_iter().map(rule).collect()
}

/// Whether nothing stands here, or this one field and nothing in it.
fn is_empty(value: &Value, field: &str) -> bool {
    let is_nothing = |value: &Value| value.is_null() || value.as_sequence() == Some(&Vec::new());
    let is_field = |mapping: &serde_yaml::Mapping| {
        let mut entries = mapping.iter();
        entries.all(|(name, value)| name.as_str() == Some(field) && is_nothing(value))
    };
    value.is_null() || value.as_mapping().is_some_and(is_field)
}

/// The line on which a field is first written, from 1, if it is.
fn line_of(text: &[u8], field: &str) -> Option<u32> {
    let mut lines = (1..).zip(text.split(|&byte| byte == b'\n'));
    let is_here = |line: &[u8]| {
        let line = line.trim_ascii_start();
        line.starts_with(field.as_bytes()) && line.get(field.len()) == Some(&b':')
    };
    lines.find_map(|(number, line)| is_here(line).then_some(number))
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
        let second = "spec:\n  api:\n    allowed:\n    - {name: '${API}', version: v1, protocol: http}\n  \
                      logging: {apiLogging: {enabled: true}}\n  wasm: {strictSandbox: true}\n  mtls:\n";
        let settings = read(&[first, second]).unwrap();
        assert_eq!(settings.api.allowed[0].name, "state");
        assert_eq!(settings.api.denied[0].name, "metadata");
        assert!(settings.log.is_on && !settings.log.hides_paths);
        assert_eq!(settings.without_effect, ["spec.wasm"]);
    }

    /// As in Dapr, whose parser applies merge keys.
    #[test]
    fn rules_that_are_merged_count() {
        let text = "spec:\n  api:\n    allowed: [&r {name: secrets, version: v1, protocol: grpc}]\n    \
                    denied: [{<<: *r, protocol: http}]\n";
        let settings = read(&[text]).unwrap();
        assert_eq!(settings.api.denied[0].name, "secrets");
        assert_eq!(settings.api.denied[0].protocol, "http");
    }

    #[test]
    fn what_guards_and_is_not_honored_is_refused() {
        for (text, expected) in [
            (
                "spec:\n  httpPipeline:\n    handlers: [{name: x, type: y}]\n",
                "c.yaml:2:1 `httpPipeline` has handlers, which are not run here",
            ),
            (
                "spec:\n  httpPipeline: {handler: [{name: x}]}\n",
                "c.yaml:2:1 `httpPipeline` has handlers, which are not run here",
            ),
            (
                "spec:\n  api: {deny: [{name: secrets, version: v1, protocol: http}]}\n",
                "c.yaml:2:1 the field cannot be read",
            ),
            (
                "spec:\n  api: {denied: [{Name: secrets, version: v1, protocol: http}]}\n",
                "c.yaml:2:1 the field cannot be read",
            ),
            (
                "spec:\n  api: {denied: [{name: secrets, version: v1, protocol: GRPC}]}\n",
                "c.yaml:2:1 a rule of `api` names no API",
            ),
            ("spec:\n  api: 3\n", "c.yaml:2:1 the field cannot be read"),
            ("spec: [", "c.yaml:1:1 the field cannot be read"),
        ] {
            assert_eq!(read(&[text]).unwrap_err(), [expected], "{text}");
        }
        assert!(read(&["spec:\n  httpPipeline: {handlers: []}\n"]).is_ok());
    }

    #[test]
    fn handlers_that_are_not_run_are_named_as_they_are_written() {
        let names = |text: &str| {
            let documents = [Document::new("c.yaml", text)];
            let environment = Environment::of([("HANDLER", "s3cr3t")]);
            let read = Settings::read_without_handlers(&documents, &environment, Mode::Strict);
            read.unwrap().handlers
        };
        let two = "spec:\n  httpPipeline:\n    handlers:\n    - {name: x, type: y}\n    \
                   - {name: '${HANDLER}'}\n";
        assert_eq!(names(two), ["x", "${HANDLER}"]);
        let misspelt = "spec:\n  httpPipeline: {handler: [{name: x}]}\n";
        assert_eq!(names(misspelt), ["without a name"]);
        assert!(names("spec:\n  httpPipeline: {handlers: []}\n").is_empty());
    }
}

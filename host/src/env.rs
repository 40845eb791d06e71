//! The environment: the one place that reads it, and every variable of keyref's own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::secret::SecretValue;

/// The namespace to load components for, as Dapr has it.
pub const NAMESPACE: &str = "NAMESPACE";
/// The pod's name, for `{podName}` in a value.
pub const POD_NAME: &str = "POD_NAME";
/// What callers of the server must send as `dapr-api-token`, as Dapr has it.
pub const API_TOKEN: &str = "DAPR_API_TOKEN";
/// What callers of resolved components must send as `authorization: Bearer TOKEN`.
pub const COMPONENTS_TOKEN: &str = "KEYREF_COMPONENTS_TOKEN";
/// What callers of the status page must send as a password, or as `authorization: Bearer TOKEN`.
pub const ADMIN_TOKEN: &str = "KEYREF_ADMIN_TOKEN";
/// What the app asks for as `dapr-api-token` where it is told something, as Dapr has it.
pub const APP_API_TOKEN: &str = "APP_API_TOKEN";
/// Where spans go over OTLP, for traces and for all signals, as OpenTelemetry and Dapr have it.
pub const OTLP_TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// The same for all signals.
pub const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// What is spoken there: `grpc`, or whatever begins with `http`.
pub const OTLP_TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
/// The same for all signals.
pub const OTLP_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// Whether that is without TLS.
pub const OTLP_TRACES_INSECURE: &str = "OTEL_EXPORTER_OTLP_TRACES_INSECURE";
/// The same for all signals.
pub const OTLP_INSECURE: &str = "OTEL_EXPORTER_OTLP_INSECURE";
/// What is sent with spans, such as a password: `name=value,…`.
pub const OTLP_TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
/// The same for all signals.
pub const OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// How many milliseconds sending may take.
pub const OTLP_TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
/// The same for all signals.
pub const OTLP_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
/// What describes the server in traces: `name=value,…`.
pub const OTEL_RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// The server's name in traces; otherwise its app id.
pub const OTEL_SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Keeps messages without color on a terminal, whatever it holds (<https://no-color.org>).
pub const NO_COLOR: &str = "NO_COLOR";
/// In Kubernetes, the variables that components may reference, by Dapr's injector.
pub const DAPR_ENV_KEYS: &str = "DAPR_ENV_KEYS";

/// Environment variables, real or given.
///
/// A library has none unless its embedder gives it one: a document must not read the environment
/// by naming a variable.
#[derive(Clone)]
pub struct Environment(Variables);

#[derive(Clone)]
enum Variables {
    /// Those of the process, read each time that one is asked for, but for these, which stand before
    /// them.
    Process(Arc<BTreeMap<String, SecretValue>>),
    Given(Arc<BTreeMap<String, SecretValue>>),
}

impl Environment {
    /// No variables.
    pub fn none() -> Self {
        Self::of([])
    }

    /// These variables.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }

    /// The process's own variables, read each time that they are asked for. Those that are not
    /// UTF-8 are left out.
    pub fn process() -> Self {
        Self(Variables::Process(Arc::default()))
    }

    /// The same with these variables, whatever they were.
    #[must_use]
    pub fn with(self, variables: impl IntoIterator<Item = (String, SecretValue)>) -> Self {
        let set = |before: &BTreeMap<String, SecretValue>| {
            let mut after = before.clone();
            after.extend(variables);
            Arc::new(after)
        };
        Self(match &self.0 {
            Variables::Process(before) => Variables::Process(set(before)),
            Variables::Given(before) => Variables::Given(set(before)),
        })
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<SecretValue> {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the environment"
            )]
            Variables::Process(set) => match set.get(name) {
                Some(value) => Some(value.clone()),
                None => Some(std::env::var(name).ok()?.into()),
            },
            Variables::Given(given) => given.get(name).cloned(),
        }
    }

    /// Whether a variable is set, be it to bytes that are not UTF-8.
    pub fn is_set(&self, name: &str) -> bool {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the environment"
            )]
            Variables::Process(set) => set.contains_key(name) || std::env::var_os(name).is_some(),
            Variables::Given(given) => given.contains_key(name),
        }
    }

    /// A variable that is no secret, as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.reveal_text().ok().map(str::to_owned)
    }

    /// All variables, sorted by name where they were given.
    pub fn list(&self) -> Vec<(String, SecretValue)> {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the environment"
            )]
            Variables::Process(set) => std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?.into()))
                })
                .filter(|(name, _)| !set.contains_key(name))
                .chain(
                    set.iter()
                        .map(|(name, value)| (name.clone(), value.clone())),
                )
                .collect(),
            Variables::Given(given) => given
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }
}

impl FromIterator<(String, SecretValue)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, SecretValue)>>(variables: I) -> Self {
        Self(Variables::Given(Arc::new(variables.into_iter().collect())))
    }
}

impl fmt::Debug for Environment {
    /// Shows nothing: names of variables can tell as much as values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// Whether nobody may read a variable of this name: Dapr's own, the app's token, those of our own
/// which open every component and the status page, and the keys of whoever receives traces.
pub(crate) fn is_refused(name: &str) -> bool {
    let name = name.to_uppercase();
    let own = [
        ADMIN_TOKEN,
        APP_API_TOKEN,
        COMPONENTS_TOKEN,
        OTLP_HEADERS,
        OTLP_TRACES_HEADERS,
    ];
    own.contains(&name.as_str()) || name.starts_with("DAPR_")
}

/// Whether an `envRef` may name this variable: by Dapr's list of refusals, and by the allow-list
/// that its injector sets in Kubernetes.
///
/// Dapr looks at the first place where the name occurs in that list and nowhere else, so that
/// `FOO` is refused by `FOOBAR FOO`; here the list is read word by word.
pub(crate) fn is_referable(name: &str, environment: &Environment) -> bool {
    if name.is_empty() || name.contains(' ') || is_refused(name) {
        return false;
    }
    match environment.text(DAPR_ENV_KEYS) {
        None => true,
        Some(allowed) if allowed.is_empty() => true,
        Some(allowed) => allowed
            .split(' ')
            .any(|allowed| allowed == name.to_uppercase()),
    }
}

//! Every flag of `daprd` 1.18.3.

/// A flag of `daprd`.
pub(super) struct Flag {
    /// Its name.
    pub(super) name: &'static str,
    /// What its value is.
    pub(super) kind: Kind,
    /// What it is without being given: no news where it has no meaning here.
    pub(super) default: &'static str,
}

/// What a value is, by the rules of Go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// Texts with commas between them; can be repeated.
    List,
    /// A boolean, which may be left out.
    Switch,
    /// An integer.
    Number,
    /// An integer that is not below zero.
    Count,
    /// A duration.
    Time,
}

/// The flag of this name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    let found = FLAGS.binary_search_by_key(&name, |flag| flag.name).ok()?;
    FLAGS.get(found)
}

/// Those that are no flag of the same name and form in `keyref serve`.
pub(super) const REWRITTEN: &[&str] = &[
    "app-protocol",
    "app-ssl",
    "build-info",
    "components-path",
    "dapr-graceful-shutdown-seconds",
    "dapr-http-max-request-size",
    "dapr-http-read-buffer-size",
    "disable-builtin-k8s-secret-store",
    "max-body-size",
    "mode",
    "read-buffer-size",
    "version",
    "wait",
];

/// In the order of their names. What `keyref serve` has under the same name means what it does there;
/// the others have no meaning here.
#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    flag("actors-disseminate-timeout", Kind::Time, "30s"),
    flag("actors-service", Kind::Text, ""),
    flag("allowed-origins", Kind::Text, ""),
    flag("app-binding-options-timeout", Kind::Time, "3s"),
    flag("app-channel-address", Kind::Text, "127.0.0.1"),
    flag("app-health-check-path", Kind::Text, "/healthz"),
    flag("app-health-probe-interval", Kind::Number, "5"),
    flag("app-health-probe-timeout", Kind::Number, "500"),
    flag("app-health-threshold", Kind::Number, "3"),
    flag("app-id", Kind::Text, ""),
    flag("app-max-concurrency", Kind::Number, "-1"),
    flag("app-port", Kind::Text, ""),
    flag("app-protocol", Kind::Text, "http"),
    flag("app-ssl", Kind::Switch, "false"),
    flag("build-info", Kind::Switch, "false"),
    flag("components-path", Kind::Text, ""),
    flag("config", Kind::List, ""),
    flag("control-plane-address", Kind::Text, ""),
    flag("control-plane-namespace", Kind::Text, "default"),
    flag("control-plane-trust-domain", Kind::Text, "localhost"),
    flag("dapr-block-shutdown-duration", Kind::Time, "0s"),
    flag("dapr-graceful-shutdown-seconds", Kind::Number, "5"),
    flag("dapr-grpc-port", Kind::Text, "50001"),
    flag("dapr-http-max-request-size", Kind::Number, "4"),
    flag("dapr-http-port", Kind::Text, "3500"),
    flag("dapr-http-read-buffer-size", Kind::Number, "4"),
    flag("dapr-internal-grpc-listen-address", Kind::Text, ""),
    flag("dapr-internal-grpc-port", Kind::Text, ""),
    flag("dapr-listen-addresses", Kind::Text, ""),
    flag("dapr-public-listen-address", Kind::Text, ""),
    flag("dapr-public-port", Kind::Text, ""),
    flag("disable-builtin-k8s-secret-store", Kind::Switch, "false"),
    flag("disable-init-endpoints", Kind::List, ""),
    flag("enable-api-logging", Kind::Switch, "false"),
    flag("enable-app-health-check", Kind::Switch, "false"),
    flag("enable-metrics", Kind::Switch, "true"),
    flag("enable-mtls", Kind::Switch, "false"),
    flag("enable-profiling", Kind::Switch, "false"),
    flag("hot-reload-reconcile-interval", Kind::Time, "0s"),
    flag("log-as-json", Kind::Switch, "false"),
    flag("log-file", Kind::Text, ""),
    flag("log-level", Kind::Text, "info"),
    flag("max-body-size", Kind::Text, "4Mi"),
    flag("metrics-listen-address", Kind::Text, "0.0.0.0"),
    flag("metrics-port", Kind::Text, "9090"),
    flag("mode", Kind::Text, "standalone"),
    flag("placement-host-address", Kind::Text, ""),
    flag("profile-port", Kind::Text, "7777"),
    flag("read-buffer-size", Kind::Text, "4Ki"),
    flag("reminders-service", Kind::Text, ""),
    flag("resources-path", Kind::List, ""),
    flag("scheduler-host-address", Kind::List, ""),
    flag("scheduler-job-streams", Kind::Count, "3"),
    flag("sentry-address", Kind::Text, ""),
    flag("sentry-request-jwt-audiences", Kind::List, ""),
    flag("unix-domain-socket", Kind::Text, ""),
    flag("version", Kind::Switch, "false"),
    flag("wait", Kind::Switch, "false"),
];

const fn flag(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    Flag {
        name,
        kind,
        default,
    }
}

/// The variables that `daprd` reads and that have no meaning here.
pub(super) const VARIABLES: &[&str] = &[
    "DAPR_COMPONENTS_SOCKETS_FOLDER",
    "DAPR_CONTROLPLANE_NAMESPACE",
    "DAPR_CONTROLPLANE_TRUST_DOMAIN",
    "DAPR_HTTP_DISABLE_H2C",
    "DAPR_SCHEDULER_HOST_ADDRESS_DNS_A",
    "DAPR_SENTRY_TOKEN_FILE",
    "DAPR_TRUST_ANCHORS",
    "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK",
    "SENTRY_LOCAL_IDENTITY",
];

//! Metrics: Dapr's by name, type, labels and buckets, and nothing in a label that a caller made up.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use keyref_tests::dapr::{
    Change, DAPR, Empty, GetItems, GetSecret, STORES, Text, Unsubscribed, bulk, get,
};
use keyref_tests::metrics::{Metrics, scrape};
use keyref_tests::server::{Reply, Server, Stream, ask_at, refused};
use keyref_tests::{folder, workspace};
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;

/// A store of configuration, and a store of secrets that cannot be opened and may fail.
const MORE: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cfg}
spec:
  type: configuration.local.file
  version: v1
  metadata:
  - {name: configFile, value: items.yaml}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: lost}
spec:
  type: secretstores.local.file
  version: v1
  ignoreErrors: true
  metadata:
  - {name: secretsFile, value: nowhere.json}
";

const SCOPES: &str = "{storeName: file, deniedSecrets: [denied]}";

fn start(spec: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (TempDir, Server) {
    let configuration =
        format!("kind: Configuration\nspec: {{secrets: {{scopes: [{SCOPES}]}}{spec}}}\n");
    let work = folder(&[
        ("resources/stores.yaml", STORES.as_bytes()),
        ("resources/more.yaml", MORE.as_bytes()),
        ("items.yaml", b"a: one\n"),
        (
            "secrets.json",
            br#"{"redis": "s3cr3t-one", "denied": "s3cr3t-two"}"#,
        ),
        ("config.yaml", configuration.as_bytes()),
    ]);
    let given = [
        "--app-id",
        "shop",
        "--resources",
        "resources",
        "--config",
        "config.yaml",
    ];
    let server = Server::start(work.path(), &[&given, arguments].concat(), variables);
    (work, server)
}

/// Makes something of everything happen.
fn use_all(server: &Server) {
    for path in [
        "secrets/file/redis",
        "secrets/file/denied",
        "secrets/file/nothing-of-this-name",
        "secrets/file/bulk",
        "secrets/no-such-store/x",
        "configuration/cfg?key=a",
        "configuration/cfg/no-such-id/unsubscribe",
        "healthz",
        "no-such-path/at/all",
    ] {
        drop(server.ask(&format!("GET /v1.0/{path}")));
    }
    drop(server.ask("PUT /v1.0/metadata/odd-key"));
    drop(server.ask("BREW /v1.0/healthz"));
    drop(get(server, "file", "redis", &[]));
    drop(get(server, "file", "denied", &[]));
    drop(bulk(server, "file", &[]));
}

fn known() -> Value {
    let path = workspace().join("tests/cases/metrics/dapr-1.18.3.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn metrics_are_daprs_by_name_type_labels_and_buckets() {
    let (_work, server) = start(", metric: {recordErrorCodes: true}", &[], &[]);
    use_all(&server);
    let metrics = scrape(&server, "/metrics");
    let known = known();
    let families = known["families"].as_object().unwrap();
    for (name, family) in families {
        let head = &metrics.heads.get(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(head.0, family["help"], "{name}");
        assert_eq!(head.1, family["type"], "{name}");
        let labels = family["labels"].as_array().unwrap();
        let labels: BTreeSet<_> = labels.iter().map(|label| label.as_str().unwrap()).collect();
        let suffix = if head.1 == "histogram" { "_sum" } else { "" };
        let series = metrics.labels(&format!("{name}{suffix}"));
        assert!(!series.is_empty(), "{name}");
        for one in series {
            let names: BTreeSet<_> = one.keys().map(String::as_str).collect();
            assert_eq!(names, labels, "{name}");
        }
        if let Some(bounds) = family["buckets"].as_str() {
            let bounds = known["buckets"][bounds].as_array().unwrap().iter();
            let bounds: Vec<_> = bounds.map(|bound| bound.as_str().unwrap()).collect();
            for buckets in metrics.buckets(name) {
                let found = buckets.iter().map(|(bound, _)| bound.as_str());
                let mut found: Vec<_> = found.collect();
                assert_eq!(found.pop().unwrap(), "+Inf");
                assert_eq!(bounds, found, "{name}");
                assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{name}");
            }
        }
    }
    for name in metrics.heads.keys() {
        let is_known = families.contains_key(name) || name.starts_with("keyref_");
        assert!(is_known, "{name} is none of Dapr's");
    }
    // In Dapr, too, every path has them.
    for path in ["/", "/anything?x=y"] {
        assert!(scrape(&server, path).heads.len() > families.len(), "{path}");
    }
}

#[test]
fn nothing_that_a_caller_made_up_is_a_label() {
    let (_work, server) = start(", metric: {recordErrorCodes: true}", &[], &[]);
    use_all(&server);
    let metrics = scrape(&server, "/");
    for part in [
        "no-such",
        "nothing-of",
        "odd-key",
        "redis",
        "denied\"",
        "s3cr3t",
        "BREW",
    ] {
        assert!(!metrics.text.contains(part), "{part}: {}", metrics.text);
    }
    let paths: Vec<_> = metrics.values_of("path").into_iter().collect();
    let expected = [
        "",
        "/v1.0/configuration/cfg",
        "/v1.0/configuration/cfg/{configurationSubscribeID}/unsubscribe",
        "/v1.0/healthz",
        "/v1.0/metadata/{key}",
        "/v1.0/secrets/file",
        "/v1.0/secrets/{storeName}",
    ];
    assert_eq!(paths, expected);
    let methods: Vec<_> = metrics.values_of("method").into_iter().collect();
    assert_eq!(methods, ["GET", "PUT", "UNKNOWN"]);
}

fn counted(metrics: &Metrics, name: &str, labels: &[(&str, &str)], expected: f64) {
    let found = metrics.sum(name, labels);
    let is_expected = (found - expected).abs() < f64::EPSILON;
    assert!(
        is_expected,
        "{name} {labels:?} is {found}: {}",
        metrics.text
    );
}

/// Scrapes until something is so.
fn until(server: &Server, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
    let begin = Instant::now();
    loop {
        let metrics = scrape(server, "/");
        if is_so(&metrics) || begin.elapsed() > Duration::from_secs(20) {
            return metrics;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn requests_are_counted_once() {
    let (_work, server) = start(", metric: {recordErrorCodes: true}", &[], &[]);
    use_all(&server);
    let metrics = scrape(&server, "/");
    let path = ("path", "/v1.0/secrets/file");
    for name in [
        "dapr_http_server_request_count",
        "dapr_http_server_latency_count",
    ] {
        counted(
            &metrics,
            name,
            &[("method", "GET"), path, ("status", "200")],
            2.0,
        );
        counted(&metrics, name, &[path, ("status", "403")], 1.0);
        counted(&metrics, name, &[path, ("status", "500")], 1.0);
        counted(&metrics, name, &[("app_id", "shop")], 11.0);
    }
    counted(&metrics, "dapr_http_server_response_bytes_count", &[], 11.0);
}

#[test]
fn calls_are_counted_once() {
    let (_work, server) = start("", &[], &[]);
    use_all(&server);
    let metrics = scrape(&server, "/");
    let (ok, denied) = (
        ("grpc_server_status", "OK"),
        ("grpc_server_status", "PermissionDenied"),
    );
    let name = "dapr_grpc_io_server_completed_rpcs";
    let method = (
        "grpc_server_method",
        "/dapr.proto.runtime.v1.Dapr/GetSecret",
    );
    counted(&metrics, name, &[method, ok], 1.0);
    counted(&metrics, name, &[method, denied], 1.0);
    let asked = |key: &str| GetSecret {
        store: "file".to_owned(),
        key: key.to_owned(),
        metadata: std::collections::BTreeMap::new(),
    };
    let size = asked("redis").encoded_len() + asked("denied").encoded_len();
    let size = f64::from(u32::try_from(size).unwrap());
    counted(
        &metrics,
        "dapr_grpc_io_server_received_bytes_per_rpc_sum",
        &[method],
        size,
    );
    // `redis` and its value, in an entry of a map.
    counted(
        &metrics,
        "dapr_grpc_io_server_sent_bytes_per_rpc_sum",
        &[method],
        21.0,
    );
}

#[test]
fn operations_are_counted_once() {
    let (_work, server) = start("", &[], &[]);
    use_all(&server);
    let metrics = scrape(&server, "/");
    let of = |operation, success| {
        [
            ("component", "file"),
            ("operation", operation),
            ("success", success),
        ]
    };
    for name in [
        "dapr_component_secret_count",
        "dapr_component_secret_latencies_count",
    ] {
        counted(&metrics, name, &of("get", "true"), 2.0);
        counted(&metrics, name, &of("get", "false"), 1.0);
        counted(&metrics, name, &of("bulk_get", "true"), 2.0);
    }
    let name = "dapr_component_configuration_count";
    counted(
        &metrics,
        name,
        &[("operation", "get"), ("success", "true")],
        1.0,
    );
    counted(
        &metrics,
        name,
        &[("operation", "unsubscribe"), ("success", "false")],
        1.0,
    );
}

#[test]
fn errors_components_and_denials_are_counted() {
    let (_work, server) = start(", metric: {recordErrorCodes: true}", &[], &[]);
    use_all(&server);
    let metrics = scrape(&server, "/");
    for (code, category, expected) in [
        ("ERR_PERMISSION_DENIED", "secret", 2.0),
        ("ERR_SECRET_GET", "secret", 1.0),
        ("ERR_SECRET_STORE_NOT_FOUND", "secret", 1.0),
        ("ERR_DIRECT_INVOKE", "service-invocation", 2.0),
    ] {
        let labels = [("error_code", code), ("category", category)];
        counted(&metrics, "dapr_error_code_total", &labels, expected);
    }
    counted(&metrics, "dapr_runtime_component_loaded", &[], 3.0);
    let file = ("component", "secretstores.local.file");
    counted(&metrics, "dapr_runtime_component_init_total", &[file], 1.0);
    let lost = [file, ("componentName", "lost"), ("reason", "init")];
    counted(
        &metrics,
        "dapr_runtime_component_init_fail_total",
        &lost,
        1.0,
    );
    counted(
        &metrics,
        "keyref_denied_requests_total",
        &[("reason", "policy")],
        2.0,
    );
    let absent = [("class", "secret-absent"), ("component", "file")];
    counted(&metrics, "keyref_store_errors_total", &absent, 1.0);
    let ours = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("dapr_version", "1.18.3"),
    ];
    counted(&metrics, "keyref_build_info", &ours, 1.0);
}

#[test]
fn refused_callers_are_counted() {
    let api = ", api: {denied: [{name: metadata, version: v1, protocol: http}, \
               {name: metadata, version: v1, protocol: grpc}]}";
    let (_work, server) = start(api, &[], &[("DAPR_API_TOKEN", "t0ken")]);
    let token = ("dapr-api-token", "t0ken");
    assert_eq!(server.ask("GET /v1.0/secrets/file/redis").status, 401);
    assert_eq!(
        ask_at(server.http, "GET /v1.0/metadata", &[token], "").status,
        404
    );
    assert_eq!(get(&server, "file", "redis", &[]).status, 16);
    let method = format!("{DAPR}/GetMetadata");
    let reply: Reply<Empty> = server.call(&method, &Empty {}, &[token]);
    assert_eq!(reply.status, 12);
    let metrics = scrape(&server, "/");
    counted(
        &metrics,
        "keyref_denied_requests_total",
        &[("reason", "token")],
        2.0,
    );
    counted(
        &metrics,
        "keyref_denied_requests_total",
        &[("reason", "api")],
        2.0,
    );
    // As in Dapr, a call that is not admitted is none.
    assert!(
        !metrics
            .heads
            .contains_key("dapr_grpc_io_server_completed_rpcs")
    );
    counted(
        &metrics,
        "dapr_http_server_request_count",
        &[("status", "401")],
        1.0,
    );
}

#[test]
fn subscriptions_and_reloads_are_counted() {
    let (work, server) = start("", &[], &[]);
    let request = GetItems {
        store: "cfg".to_owned(),
        keys: Vec::new(),
    };
    let method = format!("{DAPR}/SubscribeConfiguration");
    let mut stream = Stream::open(server.grpc, &method, &request, &[]);
    let first: Change = stream.receive().unwrap();
    counted(&scrape(&server, "/"), "keyref_subscriptions", &[], 1.0);
    let text = Text {
        key: "cfg".to_owned(),
        value: first.id,
    };
    let method = format!("{DAPR}/UnsubscribeConfiguration");
    let ended: Reply<Unsubscribed> = server.call(&method, &text, &[]);
    assert!(ended.message.unwrap().ok);
    while stream.receive::<Change>().is_some() {}
    let metrics = scrape(&server, "/");
    counted(&metrics, "keyref_subscriptions", &[], 0.0);
    let name = "dapr_component_configuration_count";
    counted(
        &metrics,
        name,
        &[("operation", "subscribe"), ("success", "true")],
        1.0,
    );
    counted(
        &metrics,
        name,
        &[("operation", "unsubscribe"), ("success", "true")],
        1.0,
    );

    server.signal("HUP");
    server.wait_for_log("\"msg\":\"reloaded\"");
    fs::write(work.path().join("resources/stores.yaml"), "kind: [").unwrap();
    server.signal("HUP");
    server.wait_for_log("is served as it was before");
    let failed = [("outcome", "failed")];
    let metrics = until(&server, |metrics| {
        metrics.sum("keyref_reloads_total", &failed) > 0.0
    });
    counted(&metrics, "keyref_reloads_total", &[("outcome", "ok")], 1.0);
    // What had not changed was not loaded again.
    counted(&metrics, "dapr_runtime_component_loaded", &[], 3.0);
}

#[test]
fn a_configuration_says_what_is_recorded() {
    let (_work, server) = start(", metric: {enabled: false}", &[], &[]);
    use_all(&server);
    assert_eq!(scrape(&server, "/").text, "");

    let spec = ", metrics: {http: {increasedCardinality: false, excludeVerbs: true}, \
                latencyDistributionBuckets: [10, 50]}";
    let (_work, server) = start(spec, &[], &[]);
    use_all(&server);
    let metrics = scrape(&server, "/");
    assert!(
        !metrics
            .heads
            .contains_key("dapr_http_server_response_count")
    );
    assert!(!metrics.heads.contains_key("dapr_error_code_total"));
    for label in ["path", "method"] {
        let values: Vec<_> = metrics.values_of(label).into_iter().collect();
        assert_eq!(values, [""]);
    }
    for buckets in metrics.buckets("dapr_component_secret_latencies") {
        let bounds: Vec<_> = buckets.iter().map(|(bound, _)| bound.as_str()).collect();
        assert_eq!(bounds, ["10", "50", "+Inf"]);
    }

    let spec = ", metric: {http: {increasedCardinality: false, pathMatching: \
                [/v1.0/healthz, '/v1.0/secrets/{store}/{key}']}, rules: [{name: \
                dapr_component_secret_count, labels: [{name: component, regex: {store: \
                '^f.le'}}]}]}";
    let (_work, server) = start(spec, &[], &[]);
    use_all(&server);
    let metrics = scrape(&server, "/");
    let paths: Vec<_> = metrics.values_of("path").into_iter().collect();
    assert_eq!(paths, ["", "/v1.0/healthz", "/v1.0/secrets/{store}/{key}"]);
    counted(
        &metrics,
        "dapr_component_secret_count",
        &[("component", "store")],
        5.0,
    );
}

#[test]
fn what_a_configuration_says_wrongly_is_refused() {
    let work = folder(&[("config.yaml", b"kind: Configuration\nspec:\n  metric:\n    rules: [{name: x, labels: [{name: y, regex: {a: '('}}]}]\n")]);
    let (status, log) = refused(work.path(), &["--config", "config.yaml"], &[]);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("config.yaml:4:1") && log.contains("the field cannot be read"),
        "{log}"
    );
}

#[test]
fn a_port_that_is_taken_ends_the_start_and_none_is_taken_without_metrics() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let work = folder(&[]);
    let (status, log) = refused(work.path(), &["--metrics-port", &port], &[]);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("could not listen on any endpoint for metrics"),
        "{log}"
    );
    let arguments = ["--metrics-port", &port, "--enable-metrics=false"];
    let server = Server::start(work.path(), &arguments, &[]);
    assert_eq!(server.metrics, None);
}

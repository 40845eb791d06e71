//! The app's health: asked for as Dapr does, told in metadata and metrics, and what depends on it.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use keyref_tests::app::App;
use keyref_tests::dapr::DAPR;
use keyref_tests::folder;
use keyref_tests::server::{Reply, Server, ask_at, refused};
use serde_json::Value;
use tempfile::TempDir;

const STORE: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cfg}
spec:
  type: configuration.local.file
  version: v1
  metadata:
  - {name: configFile, value: items.yaml}
";
const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Asked every second, unhealthy at the first failure.
const CHECK: [&str; 6] = [
    "--enable-app-health-check",
    "--app-health-probe-interval=1",
    "--app-health-probe-timeout=900",
    "--app-health-threshold=1",
    "--app-health-check-path=up",
    "--dapr-block-shutdown-duration=60s",
];

fn server(app: SocketAddr, protocol: &str, arguments: &[&str]) -> (TempDir, Server) {
    let work = folder(&[
        ("r/cfg.yaml", STORE.as_bytes()),
        ("items.yaml", b"a: one\n"),
    ]);
    let port = app.port().to_string();
    let given = [
        "--resources=r",
        "--app-port",
        &port,
        "--app-protocol",
        protocol,
    ];
    let server = Server::start(work.path(), &[&given, arguments].concat(), &[]);
    (work, server)
}

#[test]
fn the_app_is_asked_over_what_it_speaks_and_its_end_ends_what_was_put_off() {
    for (protocol, path) in [
        ("http", "/up"),
        ("h2c", "/up"),
        (
            "grpc",
            "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck",
        ),
    ] {
        let app = App::start(FREE, protocol, None, &[]);
        let (_work, mut server) = server(app.address, protocol, &CHECK);
        server.wait_for_log("App entered healthy status");
        assert_eq!(app.told().path, path, "{protocol}");
        // It is served for as long as the app is healthy.
        server.signal("TERM");
        server.wait_for_log("before the end, or until the app is unhealthy");
        app.told();
        assert_eq!(server.ask("GET /v1.0/healthz").status, 204, "{protocol}");
        drop(app);
        let begin = Instant::now();
        server.wait_for_log("App entered un-healthy status");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        assert!(begin.elapsed() < Duration::from_secs(30), "{protocol}");
    }
}

#[test]
fn an_app_that_is_unhealthy_is_told_nothing_until_it_is_healthy_again() {
    // The first answers are those to questions for its health.
    let app = App::start(FREE, "http", None, &[503, 503, 503]);
    let (work, server) = server(app.address, "http", &CHECK);
    let answer = server.ask("GET /v1.0/configuration/cfg/subscribe");
    assert_eq!(answer.status, 200, "{answer:?}");
    // It listens, so the server is ready; that it is unhealthy does not matter to that.
    server.wait_for_log("application discovered");
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
    fs::write(work.path().join("items.yaml"), "a: two\n").unwrap();
    server.wait_for_log("app is not in a healthy state");
    let told: Vec<_> = (0..8).map(|_| app.told().path).collect();
    let first = told.iter().position(|path| path == "/configuration/cfg/a");
    assert!(first.is_some_and(|first| first >= 3), "{told:?}");
    assert!(!server.log().contains("status 503"), "{}", server.log());
}

#[test]
fn an_app_that_has_never_been_healthy_puts_nothing_off() {
    let app = App::start(FREE, "http", None, &[302; 100]);
    let (_work, mut server) = server(app.address, "http", &CHECK);
    app.told();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(
        server
            .log()
            .contains("the app is unhealthy: no longer put off")
    );
}

/// `GetMetadataResponse`, as far as it is about the app.
#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(message, optional, tag = "7")]
    app: Option<AppProperties>,
    #[prost(string, repeated, tag = "9")]
    features: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AppProperties {
    #[prost(message, optional, tag = "5")]
    health: Option<HealthProperties>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthProperties {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    interval: String,
    #[prost(string, tag = "3")]
    timeout: String,
    #[prost(int32, tag = "4")]
    threshold: i32,
}

#[test]
fn how_the_app_is_asked_stands_in_the_metadata_and_what_it_says_in_the_metrics() {
    let app = App::start(FREE, "http", None, &[]);
    let arguments = ["--app-id=myapp", "--enable-app-health-check"];
    let (_work, server) = server(app.address, "http", &arguments);
    server.wait_for_log("App entered healthy status");
    let metadata: Value = serde_json::from_str(&server.ask("GET /v1.0/metadata").body).unwrap();
    assert_eq!(
        metadata["appConnectionProperties"]["health"].to_string(),
        r#"{"healthCheckPath":"/healthz","healthProbeInterval":"5s","healthProbeTimeout":"500ms","healthThreshold":3}"#
    );
    let reply: Reply<Metadata> = server.call(
        &format!("{DAPR}/GetMetadata"),
        &keyref_tests::dapr::Empty {},
        &[],
    );
    let metadata = reply.message.unwrap();
    assert_eq!(metadata.features, ["HotReload"]);
    let health = metadata.app.unwrap().health.unwrap();
    assert_eq!(
        (
            health.path.as_str(),
            health.interval.as_str(),
            health.timeout.as_str(),
            health.threshold
        ),
        ("/healthz", "5s", "500ms", 3)
    );
    let text = ask_at(server.metrics.unwrap(), "GET /", &[], "").body;
    let count = "dapr_http_healthprobes_completed_count{app_id=\"myapp\",status=\"200\"} ";
    assert!(text.contains(count), "{text}");
    let latency = "dapr_http_healthprobes_roundtrip_latency_bucket{app_id=\"myapp\",status=\"200\"";
    assert!(text.contains(latency), "{text}");
}

#[test]
fn an_answer_may_not_take_longer_than_until_the_next_question() {
    let work = folder(&[]);
    for wrong in [
        "--app-health-probe-timeout=1001",
        "--app-health-probe-timeout=6000",
    ] {
        let arguments = [wrong, "--app-health-probe-interval=1"];
        let (status, log) = refused(work.path(), &arguments, &[]);
        assert_eq!(status.code(), Some(1), "{log}");
        let text = "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'";
        assert!(log.contains(text), "{log}");
    }
    // Below the least is Dapr's word for its default.
    let zero = ["--app-health-probe-interval=0", "--app-health-threshold=-1"];
    let server = Server::start(work.path(), &zero, &[]);
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
}

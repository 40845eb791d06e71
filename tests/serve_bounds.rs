//! Rows of `docs/differences.md` that bound what Dapr does not, or refuse what it takes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyref::api::{Identity, Loaded, Options};
use keyref::secret::Secret;
use keyref::stores::{BulkRequest, SecretRequest, SecretStore, StoreError};
use keyref::{Context, Resolver};
use keyref_tests::dapr::{DAPR, Empty, GetSecret, two_stores};
use keyref_tests::folder;
use keyref_tests::server::{Reply, Server, ask_at, call_at, command, refused};

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

/// Reads one answer of a connection that goes on.
fn answer(stream: &mut BufReader<TcpStream>) -> (u16, String) {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(number) = line.to_lowercase().strip_prefix("content-length: ") {
            length = number.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

/// H13.
#[test]
fn subscriptions_over_http_are_bounded() {
    const MOST: usize = 10_000;
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = app.local_addr().unwrap().port().to_string();
    let work = folder(&[
        ("r/cfg.yaml", STORE.as_bytes()),
        ("items.yaml", b"a: one\n"),
    ]);
    let server = Server::start(work.path(), &["--resources=r", "--app-port", &port], &[]);
    let stream = TcpStream::connect(server.http).unwrap();
    let patience = Duration::from_mins(1);
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut reading = BufReader::new(stream.try_clone().unwrap());
    let mut writing = stream;
    let ask = "GET /v1.0/configuration/cfg/subscribe HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = String::new();
    for number in 0..MOST {
        // Some at a time, so that neither side waits for the other.
        if number % 100 == 0 {
            writing.write_all(ask.repeat(100).as_bytes()).unwrap();
        }
        let (status, body) = answer(&mut reading);
        assert_eq!(status, 200, "{number}: {body}");
        if number == 0 {
            first = body;
        }
    }
    let refused = server.ask("GET /v1.0/configuration/cfg/subscribe");
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (
            500,
            "{\"errorCode\":\"ERR_CONFIGURATION_SUBSCRIBE\",\"message\":\"failed to subscribe [] \
             from Configuration store cfg: there are too many subscriptions\"}"
        )
    );
    // One that ends makes room.
    let id: serde_json::Value = serde_json::from_str(&first).unwrap();
    let id = id["id"].as_str().unwrap();
    let end = server.ask(&format!("GET /v1.0/configuration/cfg/{id}/unsubscribe"));
    assert_eq!(end.status, 200, "{end:?}");
    let again = server.ask("GET /v1.0/configuration/cfg/subscribe");
    assert_eq!(again.status, 200, "{again:?}");
}

/// H16.
#[test]
fn a_name_that_is_not_text_is_asked_for_with_marks_in_its_place() {
    let work = folder(&[
        ("r/stores.yaml", keyref_tests::dapr::STORES.as_bytes()),
        ("secrets.json", "{\"a\u{fffd}b\": \"v\"}".as_bytes()),
    ]);
    let server = Server::start(work.path(), &["--resources=r"], &[]);
    let found = server.ask("GET /v1.0/secrets/file/a%FFb");
    assert_eq!(found.body, "{\"a\u{fffd}b\":\"v\"}\n");
    let absent = server.ask("GET /v1.0/secrets/file/%FE");
    assert_eq!(absent.status, 500);
    assert!(
        absent.body.contains("secret \u{fffd} not found"),
        "{absent:?}"
    );
}

/// H10.
#[test]
fn what_is_no_request_is_refused_without_a_word() {
    let (_work, server) = two_stores(&[], &[]);
    for path in ["/v1.0/secrets/file/a b", "/v1.0/secrets/file/<>"] {
        let answer = server.ask(&format!("GET {path}"));
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{path}");
    }
    assert_eq!(server.ask("GET /v1.0/secrets/file/redis").status, 200);
}

/// H17.
#[test]
fn a_list_for_grpc_that_names_no_api_allows_none() {
    let config = "kind: Configuration\nspec:\n  api:\n    allowed:\n    \
                  - {name: secret, version: v1, protocol: grpc}\n";
    let (work, _) = two_stores(&[], &[]);
    std::fs::write(work.path().join("list.yaml"), config).unwrap();
    let arguments = ["--resources", "resources", "--config", "list.yaml"];
    let server = Server::start(work.path(), &arguments, &[]);
    for method in ["GetSecret", "GetMetadata", "Shutdown"] {
        let reply: Reply<Empty> = server.call(&format!("{DAPR}/{method}"), &Empty {}, &[]);
        assert_eq!(reply.status, 12, "{method}: {}", reply.text);
    }
    // HTTP has a list of its own.
    assert_eq!(server.ask("GET /v1.0/secrets/file/redis").status, 200);
}

/// H33.
#[test]
fn a_pattern_with_unicode_classes_ends_the_start() {
    let config = "kind: Configuration\nspec:\n  metric:\n    rules:\n    - name: dapr_x\n      \
                  labels: [{name: path, regex: {'/x': '^\\p{L}+$'}}]\n";
    let work = folder(&[("c.yaml", config.as_bytes())]);
    let (status, log) = refused(work.path(), &["--config", "c.yaml"], &[]);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("c.yaml:4:1"), "{log}");
}

/// H35.
#[test]
fn metrics_that_change_count_at_the_next_start() {
    let config =
        |is_on: bool| format!("kind: Configuration\nspec: {{metric: {{enabled: {is_on}}}}}\n");
    let work = folder(&[("c.yaml", config(true).as_bytes())]);
    let server = Server::start(work.path(), &["--config", "c.yaml"], &[]);
    std::fs::write(work.path().join("c.yaml"), config(false)).unwrap();
    server.wait_for_log("a change of `spec.metric` counts at the next start");
    let text = ask_at(server.metrics.unwrap(), "GET /", &[], "").body;
    assert!(text.contains("keyref_build_info"), "{text}");
}

/// H40.
#[test]
fn who_waits_in_vain_does_not_go_on() {
    // It listens, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let arguments = ["--wait", "--timeout=1", "--dapr-http-port", &port];
    let work = folder(&[]);
    let output =
        keyref_tests::server::program(keyref_tests::keyref(), work.path(), &arguments, &[])
            .output()
            .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("timeout waiting for Dapr to become outbound ready"),
        "{errors}"
    );
}

/// A store that does not answer.
struct Silent;

#[async_trait]
impl SecretStore for Silent {
    async fn get(&self, _: &SecretRequest, _: &Context) -> Result<Option<Secret>, StoreError> {
        std::future::pending().await
    }

    async fn bulk(
        &self,
        _: &BulkRequest,
        _: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        std::future::pending().await
    }
}

/// H9: the minute is a setting, which is shorter here.
#[test]
fn a_request_that_lasts_too_long_fails_as_timed_out() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut options = Options::new(Identity::new("myapp"));
    assert_eq!(options.request_time, Duration::from_mins(1));
    options.request_time = Duration::from_millis(200);
    let server = runtime.block_on(async { keyref::api::Server::bind(options).await.unwrap() });
    let (http, grpc) = (server.http()[0], server.grpc()[0]);
    let resolver = Resolver::builder()
        .shared_store("slow", Arc::new(Silent))
        .build()
        .unwrap();
    server.handle().load(Loaded::new(resolver, Vec::new()));
    runtime.spawn(server.run());
    let answer = ask_at(http, "GET /v1.0/secrets/slow/x", &[], "");
    assert_eq!(
        (answer.status, answer.headers["keyref-class"].as_str()),
        (500, "timed-out")
    );
    assert!(
        answer.body.starts_with("{\"errorCode\":\"ERR_SECRET_GET\""),
        "{answer:?}"
    );
    let request = GetSecret {
        store: "slow".to_owned(),
        key: "x".to_owned(),
        metadata: [].into(),
    };
    let reply: Reply<Empty> = call_at(grpc, &format!("{DAPR}/GetSecret"), &request, &[]);
    assert_eq!(
        (reply.status, reply.details[0].reason.as_str()),
        (13, "ERR_SECRET_GET")
    );
    assert_eq!(reply.details[0].metadata["keyref-class"], "timed-out");
}

/// H6.
#[test]
fn handlers_of_the_pipeline_are_left_out_where_that_is_asked_for_and_named() {
    let config = "kind: Configuration\nspec:\n  httpPipeline:\n    handlers:\n    \
                  - {name: oauth, type: middleware.http.oauth2}\n    - {name: limit, type: x}\n";
    let work = folder(&[("c.yaml", config.as_bytes())]);
    let (status, log) = refused(work.path(), &["--config", "c.yaml"], &[]);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("--ignore-http-pipeline"), "{log}");
    let arguments = ["--config", "c.yaml", "--ignore-http-pipeline"];
    let server = Server::run(command(work.path(), &arguments, &[]));
    let named = "served without the handlers of `spec.httpPipeline`: `oauth`, `limit`";
    server.wait_for_log(named);
    assert_eq!(server.log().matches(named).count(), 1);
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
}

#[test]
fn names_are_listened_on_and_guarded_by_what_they_stand_for() {
    let work = folder(&[]);
    let server = Server::start(work.path(), &["--dapr-listen-addresses", "localhost"], &[]);
    assert!(server.http.ip().is_loopback());
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
    // One of several is enough.
    let some = ["--dapr-listen-addresses", "no-such-host.invalid,localhost"];
    let server = Server::start(work.path(), &some, &[]);
    assert!(
        server
            .log()
            .contains("there is no host `no-such-host.invalid`")
    );
    for (hosts, status, part) in [
        (
            "no-such-host.invalid",
            1,
            "`no-such-host.invalid`: no such host",
        ),
        ("localhost,0.0.0.0", 2, "--allow-public-without-token"),
    ] {
        let (ended, log) = refused(work.path(), &["--dapr-listen-addresses", hosts], &[]);
        assert_eq!(ended.code(), Some(status), "{hosts}: {log}");
        assert!(log.contains(part), "{hosts}: {log}");
    }
}

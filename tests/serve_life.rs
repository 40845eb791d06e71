//! How `keyref serve` begins, reloads and ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use keyref_tests::dapr::{DAPR, Empty, STORES, two_stores};
use keyref_tests::files;
use keyref_tests::folder;
use keyref_tests::library::block_on;
use keyref_tests::server::{Reply, Server, ask_at, command, connect, refused};
use serde_json::Value;

/// How long nothing may happen before nothing happens.
const SILENCE: Duration = Duration::from_millis(500);

/// A way to end a server.
type End<'e> = &'e dyn Fn(&Server);

#[test]
fn callers_and_signals_end_the_server() {
    let shut_down = |server: &Server| {
        assert_eq!(server.ask("POST /v1.0/shutdown").status, 204);
    };
    let over_grpc = |server: &Server| {
        let reply: Reply<Empty> = server.call(&format!("{DAPR}/Shutdown"), &Empty {}, &[]);
        assert_eq!(reply.status, 0);
    };
    let forced = |server: &Server| {
        let force = [("dapr-force-shutdown", "TRUE")];
        assert_eq!(
            ask_at(server.http, "POST /v1.0/shutdown", &force, "").status,
            204
        );
    };
    let terminated = |server: &Server| server.signal("TERM");
    let interrupted = |server: &Server| server.signal("INT");
    let ends: [(End<'_>, i32); 5] = [
        (&shut_down, 0),
        (&over_grpc, 0),
        (&forced, 1),
        (&terminated, 0),
        (&interrupted, 0),
    ];
    for (number, (end, status)) in ends.into_iter().enumerate() {
        let (_work, mut server) = two_stores(&[], &[]);
        end(&server);
        assert_eq!(
            server.wait().code(),
            Some(status),
            "{number}: {}",
            server.log()
        );
    }
}

#[test]
fn a_request_under_way_may_finish_and_a_second_signal_ends_at_once() {
    let (_work, mut server) = two_stores(&["--dapr-graceful-shutdown-seconds", "60"], &[]);
    let mut stream = TcpStream::connect(server.http).unwrap();
    let head = "PUT /v1.0/metadata/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // It is under way once another one, begun later, is answered.
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
    server.signal("TERM");
    server.wait_for_log("shutting down");
    stream.write_all(b"ab").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(server.wait().code(), Some(0));

    let (_work, mut server) = two_stores(&["--dapr-graceful-shutdown-seconds", "60"], &[]);
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
    server.signal("TERM");
    server.wait_for_log("shutting down");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn a_second_signal_ends_at_once_also_a_call_under_way_over_grpc() {
    let (_work, mut server) = two_stores(&["--dapr-graceful-shutdown-seconds", "60"], &[]);
    block_on(async {
        let socket = connect(server.grpc).await;
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::post(format!("http://localhost/{DAPR}/GetSecret"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = request.body(()).unwrap();
        let mut client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        // A message of nine bytes, of which one comes.
        let part = bytes::Bytes::from_static(&[0, 0, 0, 0, 9, 0x0a]);
        body.send_data(part, false).unwrap();
        let mut answer = std::pin::pin!(answer);
        // It is under way once others, begun later, are answered, and is waited for.
        for _ in 0..10 {
            let waited = tokio::time::timeout(SILENCE / 10, &mut answer).await;
            assert!(waited.is_err(), "it is answered");
        }
        let begin = Instant::now();
        server.signal("TERM");
        let waited = tokio::time::timeout(SILENCE, &mut answer).await;
        assert!(waited.is_err() && !connection.is_finished(), "it is cut");
        server.signal("TERM");
        assert!(answer.await.is_err());
        assert_eq!(server.wait().code(), Some(1), "{}", server.log());
        assert!(begin.elapsed() < Duration::from_secs(30), "{begin:?}");
    });
}

#[test]
fn hanging_up_reloads_and_what_is_broken_keeps_what_was_there() {
    let (work, server) = two_stores(&[], &[]);
    let read = || server.ask("GET /v1.0/secrets/file/redis").body;
    assert_eq!(read(), "{\"redis\":\"s3cr3t-one\"}\n");
    let file = work.path().join("secrets.json");
    fs::write(&file, r#"{"redis": "s3cr3t-new"}"#).unwrap();
    server.signal("HUP");
    server.wait_for_log("\"msg\":\"reloaded\"");
    assert_eq!(read(), "{\"redis\":\"s3cr3t-new\"}\n");
    fs::write(&file, "{broken s3cr3t-broken").unwrap();
    server.signal("HUP");
    server.wait_for_log("secret store `file`");
    assert_eq!(read(), "{\"redis\":\"s3cr3t-new\"}\n");
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn what_changes_counts_until_the_end() {
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("secrets.json", b"{\"key\": \"s3cr3t-1\"}"),
        ("c.yaml", b"kind: Configuration\nspec: {}\n"),
    ]);
    let arguments = [
        &["--resources", "r", "--config", "c.yaml"][..],
        &["--dapr-block-shutdown-duration", "60s"],
    ];
    let mut server = Server::start(work.path(), &arguments.concat(), &[]);
    server.signal("TERM");
    server.wait_for_log("before the end");
    files::write(&work, "secrets.json", "{\"key\": \"s3cr3t-2\"}");
    files::until(&server, "file", "s3cr3t-2");
    files::write(&work, "c.yaml", &files::denial("file"));
    server.signal("HUP");
    files::until(&server, "file", files::DENIED);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn health_waits_for_the_app() {
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = app.local_addr().unwrap().port().to_string();
    drop(app);
    let (_work, server) = two_stores(&["--app-port", &port], &[]);
    let health = server.ask("GET /v1.0/healthz");
    assert_eq!(health.status, 500);
    assert_eq!(
        health.body,
        r#"{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [app]"}"#
    );
    assert_eq!(server.ask("GET /v1.0/healthz/outbound").status, 204);
    let _app = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    server.wait_for_log("application discovered");
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
}

#[test]
fn what_is_misconfigured_ends_the_start_unless_it_is_optional() {
    let broken = STORES.replace("secrets.json", "nope.json");
    let optional = broken.replace("spec:\n  type", "spec:\n  ignoreErrors: true\n  type");
    let work = folder(&[
        ("r/stores.yaml", broken.as_bytes()),
        ("o/stores.yaml", optional.as_bytes()),
    ]);
    for mode in ["strict", "dapr"] {
        let (status, log) = refused(work.path(), &["--resources", "r", "--mode", mode], &[]);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(
            log.contains("Fatal error from runtime: ") && log.contains("\"level\":\"fatal\""),
            "{log}"
        );
        assert!(log.contains("r/stores.yaml:8:"), "{log}");
        let server = Server::start(work.path(), &["--resources", "o", "--mode", mode], &[]);
        assert_eq!(server.ask("GET /v1.0/secrets/file/x").status, 401);
        assert_eq!(server.ask("GET /v1.0/secrets/env/bulk").status, 200);
    }
}

#[test]
fn what_would_fail_open_is_refused() {
    let pipeline = "kind: Configuration\nspec:\n  httpPipeline: {handlers: [{name: a, type: b}]}\n";
    let work = folder(&[("pipeline.yaml", pipeline.as_bytes())]);
    let public = ["--dapr-listen-addresses", "127.0.0.1,0.0.0.0"];
    for (arguments, status, part) in [
        (&["--config", "pipeline.yaml"][..], 1, "pipeline.yaml:3:1"),
        (&public, 2, "--allow-public-without-token"),
        (
            &["--app-id", "a.b"],
            1,
            "parameter app-id cannot contain dots",
        ),
        (&["--no-such-flag"], 2, "--no-such-flag"),
        (
            &[
                "--dapr-listen-addresses",
                "192.0.2.1",
                "--allow-public-without-token",
            ],
            1,
            "could not listen on any endpoint",
        ),
    ] {
        let (ended, log) = refused(work.path(), arguments, &[]);
        assert_eq!(ended.code(), Some(status), "{arguments:?}: {log}");
        assert!(log.contains(part), "{arguments:?}: {log}");
    }
    // One of several addresses is enough.
    for allowed in [
        Server::start(work.path(), &public, &[("DAPR_API_TOKEN", "t")]),
        Server::start(
            work.path(),
            &[&public[..], &["--allow-public-without-token"]].concat(),
            &[],
        ),
        Server::start(
            work.path(),
            &[
                "--dapr-listen-addresses",
                "192.0.2.1,[::1],127.0.0.1",
                "--allow-public-without-token",
            ],
            &[],
        ),
    ] {
        assert_eq!(allowed.ask("GET /v1.0/healthz").status, 204);
    }
}

#[test]
fn types_that_are_denied_are_not_loaded() {
    for (deny, is_denied) in [
        ("secretstores.local.env", true),
        ("secretstores.local.env/v1", true),
        // Dapr would open it: it compares types as they are written.
        ("SecretStores.Local.env/V1", true),
        // It opens the same component.
        ("secretstores.local.env/v0", true),
        ("secretstores.local.env/v2", false),
    ] {
        let config = format!("kind: Configuration\nspec: {{components: {{deny: ['{deny}']}}}}\n");
        let work = folder(&[
            ("r/stores.yaml", STORES.as_bytes()),
            ("secrets.json", b"{\"key\": \"v\"}"),
            ("c.yaml", config.as_bytes()),
        ]);
        let arguments = ["--resources", "r", "--config", "c.yaml"];
        let server = Server::start(work.path(), &arguments, &[("key", "v")]);
        assert_eq!(server.ask("GET /v1.0/secrets/file/key").status, 200);
        let denied = server.ask("GET /v1.0/secrets/env/key");
        assert_eq!(
            denied.body.contains("ERR_SECRET_STORE_NOT_FOUND"),
            is_denied,
            "{deny}"
        );
        let log = server.log();
        let part = "component `env` is not loaded because components of type";
        assert_eq!(log.contains(part), is_denied, "{deny}: {log}");
    }
    let no_type = "an entry of `components.deny` names no type";
    for (spec, reason) in [
        (
            "spec: {components: {denied: [x]}}",
            "the field cannot be read",
        ),
        ("spec: {components: {deny: ['']}}", no_type),
        ("spec: {components: {deny: [x/]}}", no_type),
        (
            "spec: {components: {deny: [secretstores.local.env/v1/x]}}",
            no_type,
        ),
        ("spec: {components: {deny: [secretstores.*]}}", no_type),
        (
            "spec: {components: {deny: ['secretstores.local.env ']}}",
            no_type,
        ),
        ("spec: {components: {deny: [secretstores]}}", no_type),
        ("spec:", "the Configuration has no `spec`"),
        ("", "the Configuration has no `spec`"),
    ] {
        let config = format!("kind: Configuration\n{spec}\n");
        let work = folder(&[("c.yaml", config.as_bytes())]);
        let (status, log) = refused(work.path(), &["--config", "c.yaml"], &[]);
        assert_eq!(status.code(), Some(1), "{spec}");
        assert!(log.contains(reason), "{spec}: {log}");
    }
}

#[test]
fn what_opens_keyref_itself_is_no_secret_of_a_store() {
    let own = [
        "KEYREF_COMPONENTS_TOKEN",
        "KEYREF_ADMIN_TOKEN",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    ];
    let mut variables: Vec<_> = own.iter().map(|name| (*name, "key=t0ken")).collect();
    variables.push(("OTHER", "v"));
    let (_work, server) = two_stores(&[], &variables);
    let read = |ask: &str| server.ask(&format!("GET /v1.0/secrets/env/{ask}")).body;
    assert_eq!(read("OTHER"), "{\"OTHER\":\"v\"}\n");
    for name in own {
        assert!(!read(name).contains("t0ken"), "{name}");
    }
    assert!(!read("bulk").contains("t0ken"));
}

#[test]
fn a_token_that_cannot_be_read_is_not_none() {
    use std::os::unix::ffi::OsStrExt as _;

    let work = folder(&[]);
    let mut command = command(work.path(), &[], &[]);
    let token = std::ffi::OsStr::from_bytes(b"t0ken\xff");
    let output = command.env("DAPR_API_TOKEN", token).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(
        log.contains("`DAPR_API_TOKEN` is not UTF-8") && !log.contains("t0ken"),
        "{log}"
    );
}

#[test]
fn paths_are_hidden_in_the_log_where_it_is_asked_for() {
    let logging = "kind: Configuration\nspec: {logging: {apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}}\n";
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("secrets.json", b"{\"hidden\": \"v\"}"),
        ("c.yaml", logging.as_bytes()),
    ]);
    let server = Server::start(
        work.path(),
        &["--resources", "r", "--config", "c.yaml"],
        &[],
    );
    server.ask("GET /v1.0/healthz");
    server.ask("GET /v1.0/secrets/file/hidden");
    server.wait_for_log("\"method\":\"GetSecret\"");
    let log = server.log();
    assert_eq!(log.matches("HTTP API Called").count(), 1, "{log}");
    assert!(!log.contains("/v1.0/"), "{log}");
}

#[test]
fn lines_of_the_log_have_the_fields_that_pipelines_read() {
    let (_work, server) = two_stores(&["--app-id", "myapp", "--enable-api-logging"], &[]);
    server.ask("GET /v1.0/secrets/file/redis");
    server.wait_for_log("HTTP API Called");
    for line in server.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for field in [
            "time", "level", "msg", "app_id", "instance", "scope", "type", "ver",
        ] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        assert_eq!(line["app_id"], "myapp");
    }
    let log = server.log();
    let called = log
        .lines()
        .find(|line| line.contains("HTTP API Called"))
        .unwrap();
    let called: Value = serde_json::from_str(called).unwrap();
    assert_eq!(called["method"], "GET /v1.0/secrets/file/redis");
    assert_eq!(called["code"], 200);
}

#[test]
fn as_many_threads_answer_as_are_wanted() {
    let threads = |number| {
        let (_work, server) = two_stores(&["--worker-threads", number], &[]);
        assert_eq!(server.ask("GET /v1.0/secrets/file/redis").status, 200);
        server.threads()
    };
    // Others come and go, but not that many.
    assert!(threads("33") > threads("1") + 24);
    let (status, log) = refused(
        tempfile::tempdir().unwrap().path(),
        &["--worker-threads", "0"],
        &[],
    );
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("--worker-threads"), "{log}");
}

//! How an app is told of configuration: over each protocol, and again where it was away.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use keyref_tests::app::{App, Told};
use keyref_tests::folder;
use keyref_tests::server::{Server, refused};
use keyref_tests::tls::{Authority, acceptor};
use prost::Message as _;
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
/// How long nothing may come before nothing comes.
const SILENCE: Duration = Duration::from_millis(1500);

/// `InvokeRequest`
#[derive(Clone, PartialEq, prost::Message)]
struct Invoke {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(message, optional, tag = "2")]
    data: Option<Data>,
    #[prost(string, tag = "3")]
    content_type: String,
    #[prost(message, optional, tag = "4")]
    extension: Option<Extension>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Data {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Extension {
    #[prost(int32, tag = "1")]
    verb: i32,
    #[prost(string, tag = "2")]
    query: String,
}

fn work() -> TempDir {
    folder(&[
        ("r/cfg.yaml", STORE.as_bytes()),
        ("items.yaml", b"a: one\nb/2 x: two\n"),
    ])
}

/// Exchanges the items, so that nobody sees a half.
fn write(work: &TempDir, items: &str) {
    let [new, path] = ["new.yaml", "items.yaml"].map(|name| work.path().join(name));
    fs::write(&new, items).unwrap();
    fs::rename(new, path).unwrap();
}

fn server(work: &TempDir, app: SocketAddr, protocol: &str, arguments: &[&str]) -> Server {
    let port = app.port().to_string();
    let given = [
        "--resources",
        "r",
        "--app-port",
        &port,
        "--app-protocol",
        protocol,
    ];
    let token = [("APP_API_TOKEN", "app-t0ken")];
    let server = Server::start(work.path(), &[&given, arguments].concat(), &token);
    let answer = server.ask("GET /v1.0/configuration/cfg/subscribe");
    assert_eq!(answer.status, 200, "{answer:?}");
    server
}

/// The path and the body that a message tells of, over whatever it came.
fn said(told: &Told, protocol: &str) -> (String, Value) {
    assert_eq!(told.headers["dapr-api-token"], "app-t0ken");
    if !protocol.starts_with("grpc") {
        assert_eq!(told.headers["content-type"], "application/json");
        return (
            told.path.clone(),
            serde_json::from_slice(&told.body).unwrap(),
        );
    }
    assert_eq!(told.path, "/dapr.proto.runtime.v1.AppCallback/OnInvoke");
    let invoke = Invoke::decode(&told.body[5..]).unwrap();
    let data = invoke.data.unwrap();
    assert_eq!(
        (invoke.content_type.as_str(), data.kind.as_str()),
        ("application/json", "")
    );
    let extension = invoke.extension.unwrap();
    assert_eq!((extension.verb, extension.query.as_str()), (3, ""));
    (invoke.method, serde_json::from_slice(&data.value).unwrap())
}

fn value(told: &Told, protocol: &str) -> String {
    let (_, body) = said(told, protocol);
    body["items"]["a"]["value"].as_str().unwrap().to_owned()
}

#[test]
fn an_app_is_told_over_what_it_speaks_and_again_when_it_comes_back() {
    let work = work();
    let authority = Authority::make(work.path(), "authority");
    authority.sign("app");
    for protocol in ["http", "https", "h2c", "grpc", "GRPCS"] {
        write(&work, "a: one\nb/2 x: two\n");
        let is_tls = ["https", "GRPCS"].contains(&protocol);
        let alpn = if protocol == "https" {
            "http/1.1"
        } else {
            "h2"
        };
        let lower = protocol.to_lowercase();
        let start = |address| {
            let tls = is_tls.then(|| acceptor(work.path(), "app", alpn));
            App::start(address, &lower, tls, &[])
        };
        let app = start(FREE);
        let server = server(&work, app.address, protocol, &[]);
        write(&work, "a: two\nb/2 x: three\n");
        let is_escaped = !lower.starts_with("grpc");
        let second = if is_escaped { "b/2%20x" } else { "b/2 x" };
        for key in ["a", second] {
            let (path, body) = said(&app.told(), &lower);
            assert_eq!(path, format!("/configuration/cfg/{key}"), "{protocol}");
            assert_eq!(body["items"]["a"]["value"], "two");
            assert_eq!(body["items"]["b/2 x"]["value"], "three");
        }
        let address = app.address;
        drop(app);
        write(&work, "a: three\nb/2 x: three\n");
        server.wait_for_log("which is tried again");
        write(&work, "a: four\nb/2 x: three\n");
        let app = start(address);
        // What came first may be told until the newest is; the newest is the last.
        let mut last = value(&app.told(), &lower);
        while last != "four" {
            assert_eq!(last, "three", "{protocol}");
            last = value(&app.told(), &lower);
        }
        assert!(app.is_silent(SILENCE), "{protocol}");
        server.wait_for_log("the app was told what it had missed");
        let log = server.log();
        assert_eq!(log.matches("which is tried again").count(), 1, "{log}");
        assert!(!log.contains("t0ken") && !log.contains("three"), "{log}");
    }
}

#[test]
fn what_the_app_refuses_is_not_told_again_and_what_it_cannot_take_now_is() {
    for (protocol, busy, refusal) in [("http", 503, 500), ("grpc", 14, 13), ("grpc", 8, 12)] {
        let work = work();
        let app = App::start(FREE, protocol, None, &[busy, busy, refusal]);
        let server = server(&work, app.address, protocol, &[]);
        write(&work, "a: two\nb/2 x: two\n");
        for _ in 0..3 {
            assert_eq!(value(&app.told(), protocol), "two");
        }
        server.wait_for_log(&format!("to the app: status {refusal}"));
        assert!(app.is_silent(SILENCE));
        write(&work, "a: three\nb/2 x: two\n");
        assert_eq!(value(&app.told(), protocol), "three");
    }
}

#[test]
fn an_authority_that_is_given_must_have_signed_the_app_s_certificate() {
    let work = work();
    Authority::make(work.path(), "authority").sign("app");
    Authority::make(work.path(), "other");
    let app = App::start(
        FREE,
        "https",
        Some(acceptor(work.path(), "app", "http/1.1")),
        &[],
    );
    {
        let server = server(&work, app.address, "https", &["--app-tls-ca", "other.pem"]);
        write(&work, "a: two\n");
        server.wait_for_log("which is tried again");
        assert!(app.is_silent(SILENCE));
    }
    let _server = server(
        &work,
        app.address,
        "https",
        &["--app-tls-ca", "authority.pem"],
    );
    write(&work, "a: three\n");
    assert_eq!(value(&app.told(), "https"), "three");
}

#[test]
fn an_app_that_nobody_can_speak_to_ends_the_start() {
    let work = folder(&[("empty", b"")]);
    for (arguments, part) in [
        (
            &["--app-protocol", "spdy"][..],
            "invalid value for 'app-protocol': spdy",
        ),
        (
            &[
                "--app-protocol",
                "https",
                "--app-port",
                "1",
                "--app-tls-ca",
                "empty",
            ],
            "`empty` holds no certificate authority",
        ),
    ] {
        let (status, log) = refused(work.path(), arguments, &[]);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(part), "{log}");
    }
}

#[test]
fn the_app_s_token_is_exchanged_in_its_file() {
    let work = work();
    fs::write(work.path().join("token"), "app-t0ken\n").unwrap();
    let app = App::start(FREE, "http", None, &[]);
    let port = app.address.port().to_string();
    let arguments = [
        "--resources",
        "r",
        "--app-port",
        &port,
        "--app-api-token-file",
        "token",
    ];
    let server = Server::start(work.path(), &arguments, &[]);
    let answer = server.ask("GET /v1.0/configuration/cfg/subscribe?key=a");
    assert_eq!(answer.status, 200, "{answer:?}");
    write(&work, "a: two\n");
    assert_eq!(value(&app.told(), "http"), "two");
    fs::write(work.path().join("token"), "new-t0ken\n").unwrap();
    let mut round = 0;
    while {
        round += 1;
        write(&work, &format!("a: {round}\n"));
        app.told().headers["dapr-api-token"] != "new-t0ken"
    } {}
    while !app.is_silent(SILENCE) {}
    // Without one, it waits for one.
    fs::write(work.path().join("token"), "").unwrap();
    server.wait_for_log("`token` holds no token");
    write(&work, "a: last\n");
    server.wait_for_log("there is no token to send to it");
    assert!(app.is_silent(Duration::from_millis(300)));
    fs::write(work.path().join("token"), "app-t0ken").unwrap();
    assert_eq!(value(&app.told(), "http"), "last");
}

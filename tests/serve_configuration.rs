//! Configuration: items that change, subscribers that are told, and an app that is slow or away.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use keyref_tests::dapr::{Change, DAPR, GetItems, Items, Text, Unsubscribed};
use keyref_tests::folder;
use keyref_tests::server::{Reply, Server, Stream};
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

/// How long nothing may come before nothing comes.
const SILENCE: Duration = Duration::from_millis(900);
/// What an app has to be told something in, and more.
const PATIENCE: Duration = Duration::from_secs(20);

fn server(items: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (TempDir, Server) {
    let work = folder(&[
        ("r/cfg.yaml", STORE.as_bytes()),
        ("items.yaml", items.as_bytes()),
    ]);
    let arguments = [&["--resources", "r"], arguments].concat();
    let server = Server::start(work.path(), &arguments, variables);
    (work, server)
}

fn write(work: &TempDir, items: &str) {
    fs::write(work.path().join("items.yaml"), items).unwrap();
}

fn subscribe(server: &Server, method: &str, keys: &[&str]) -> (String, Stream) {
    let request = GetItems {
        store: "cfg".to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    let mut stream = Stream::open(server.grpc, &format!("{DAPR}/{method}"), &request, &[]);
    assert_eq!(stream.status, None);
    let first: Change = stream.receive().unwrap();
    assert!(first.items.is_empty());
    (first.id, stream)
}

fn values(change: &Change) -> Vec<(&str, &str)> {
    let items = change.items.iter();
    items
        .map(|(key, item)| (key.as_str(), item.value.as_str()))
        .collect()
}

#[test]
fn items_are_read_over_grpc() {
    let (_work, server) = server("a: one\nb: two\n", &[], &[]);
    for method in ["GetConfiguration", "GetConfigurationAlpha1"] {
        let get = |store: &str, keys: &[&str]| -> Reply<Items> {
            let request = GetItems {
                store: store.to_owned(),
                keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            };
            server.call(&format!("{DAPR}/{method}"), &request, &[])
        };
        let all = get("cfg", &[]).message.unwrap().items;
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(all["a"].value, "one");
        assert_eq!(all["a"].version.len(), 16);
        let some = get("cfg", &["b", "nope"]).message.unwrap().items;
        assert_eq!(some.keys().collect::<Vec<_>>(), ["b"]);
        let unknown = get("none", &[]);
        assert_eq!(
            (unknown.status, unknown.text.as_str()),
            (3, "configuration store none not found")
        );
        assert_eq!(
            unknown.details[0].reason,
            "ERR_CONFIGURATION_STORE_NOT_FOUND"
        );
    }
}

#[test]
fn changes_arrive_once_and_the_last_one_always() {
    let (work, server) = server("a: one\nb: two\nc: s3cr3t\n", &[], &[]);
    let (id, mut some) = subscribe(&server, "SubscribeConfiguration", &["a", "b"]);
    let (other, mut all) = subscribe(&server, "SubscribeConfigurationAlpha1", &[]);
    assert_ne!(id, other);
    write(&work, "a: one\nb: changed\nc: s3cr3t\n");
    let change: Change = some.receive().unwrap();
    assert_eq!(
        (change.id.as_str(), values(&change)),
        (id.as_str(), vec![("b", "changed")])
    );
    assert_eq!(values(&all.receive().unwrap()), [("b", "changed")]);
    // A deletion is an item without anything.
    write(&work, "a: one\nc: s3cr3t-new\n");
    assert_eq!(values(&some.receive().unwrap()), [("b", "")]);
    assert_eq!(
        values(&all.receive().unwrap()),
        [("b", ""), ("c", "s3cr3t-new")]
    );
    // What is broken is told in the log, once, and changes nothing.
    write(&work, "a: [s3cr3t");
    server.wait_for_log("configuration is not taken over");
    assert!(some.is_silent(SILENCE));
    for round in 0..50 {
        write(&work, &format!("a: {round}\n"));
    }
    let mut last = String::new();
    while last != "49" {
        let change: Change = some.receive().unwrap();
        last.clone_from(&change.items["a"].value);
    }
    assert!(some.is_silent(SILENCE));
    let log = server.log();
    assert_eq!(
        log.matches("configuration is not taken over").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("s3cr3t"), "{log}");
}

#[test]
fn a_subscription_ends_when_it_is_asked_to() {
    let (_work, mut server) = server("a: one\n", &[], &[]);
    let unsubscribe = |server: &Server, method: &str, id: &str| -> Unsubscribed {
        let request = Text {
            key: "cfg".to_owned(),
            value: id.to_owned(),
        };
        let reply: Reply<Unsubscribed> = server.call(&format!("{DAPR}/{method}"), &request, &[]);
        assert_eq!(reply.status, 0);
        reply.message.unwrap()
    };
    for method in ["UnsubscribeConfiguration", "UnsubscribeConfigurationAlpha1"] {
        let (id, mut stream) = subscribe(&server, "SubscribeConfiguration", &[]);
        assert!(unsubscribe(&server, method, &id).ok);
        assert_eq!(stream.receive::<Change>(), None);
        let again = unsubscribe(&server, method, &id);
        let expected = format!(
            "failed to unsubscribe to configuration request {id}: subscription does not exist"
        );
        assert_eq!((again.ok, again.message), (false, expected));
    }
    // One whose client has gone away is forgotten.
    let (id, stream) = subscribe(&server, "SubscribeConfiguration", &[]);
    drop(stream);
    let begin = Instant::now();
    while unsubscribe(&server, "UnsubscribeConfiguration", &id).ok {
        assert!(begin.elapsed() < PATIENCE);
    }
    // An open stream does not keep the server from its end.
    let (_id, mut stream) = subscribe(&server, "SubscribeConfiguration", &[]);
    let begin = Instant::now();
    server.signal("TERM");
    assert_eq!(stream.receive::<Change>(), None);
    // This client does nothing any more, not even say that it has heard.
    drop(stream);
    assert_eq!(server.wait().code(), Some(0));
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
}

/// A subscription in the name of a token.
fn subscribe_with(server: &Server, method: &str, token: &str) -> Stream {
    let request = GetItems {
        store: "cfg".to_owned(),
        keys: Vec::new(),
    };
    let token = [("dapr-api-token", token)];
    let mut stream = Stream::open(server.grpc, &format!("{DAPR}/{method}"), &request, &token);
    assert_eq!(stream.status, None);
    assert!(stream.receive::<Change>().unwrap().items.is_empty());
    stream
}

#[test]
fn a_token_that_is_no_longer_one_ends_its_subscriptions() {
    let work = folder(&[
        ("r/cfg.yaml", STORE.as_bytes()),
        ("items.yaml", b"a: one\n"),
        ("tokens", b"0ld\nn3w\n"),
    ]);
    let arguments = ["--resources", "r", "--dapr-api-token-file", "tokens"];
    let server = Server::start(work.path(), &arguments, &[]);
    let mut old = subscribe_with(&server, "SubscribeConfiguration", "0ld");
    let mut new = subscribe_with(&server, "SubscribeConfigurationAlpha1", "n3w");
    fs::write(work.path().join("tokens"), "n3w\n").unwrap();
    assert_eq!(old.end(), Some(16));
    write(&work, "a: two\n");
    assert_eq!(values(&new.receive().unwrap()), [("a", "two")]);
    assert!(!server.log().contains("n3w"), "{}", server.log());
}

#[test]
fn an_api_that_is_denied_ends_its_subscriptions() {
    let (listener, address) = listen("127.0.0.1:0");
    let told = app(listener, 9);
    let work = folder(&[
        ("r/cfg.yaml", STORE.as_bytes()),
        ("items.yaml", b"a: one\n"),
        ("c.yaml", b"kind: Configuration\nspec: {}\n"),
    ]);
    let port = address.port().to_string();
    let arguments = [
        "--resources",
        "r",
        "--config",
        "c.yaml",
        "--app-port",
        &port,
    ];
    let server = Server::start(work.path(), &arguments, &[]);
    let (_, mut stream) = subscribe(&server, "SubscribeConfiguration", &[]);
    let (_, mut alpha) = subscribe(&server, "SubscribeConfigurationAlpha1", &[]);
    let _id = subscribe_app(&server, "");
    write(&work, "a: two\n");
    assert_eq!(
        told.recv_timeout(PATIENCE).unwrap().body["items"]["a"]["value"],
        "two"
    );
    let deny = |protocol: &str| {
        let rule = format!("{{name: configuration, version: v1, protocol: {protocol}}}");
        format!("kind: Configuration\nspec: {{api: {{denied: [{rule}]}}}}\n")
    };
    fs::write(work.path().join("c.yaml"), deny("grpc")).unwrap();
    // One change more, which had come before.
    let change: Change = stream.receive().unwrap();
    assert_eq!(values(&change), [("a", "two")]);
    assert_eq!(stream.end(), Some(12));
    assert_eq!(values(&alpha.receive().unwrap()), [("a", "two")]);
    // The app's is one over HTTP.
    write(&work, "a: three\n");
    assert_eq!(values(&alpha.receive().unwrap()), [("a", "three")]);
    assert_eq!(
        told.recv_timeout(PATIENCE).unwrap().body["items"]["a"]["value"],
        "three"
    );
    fs::write(work.path().join("c.yaml"), deny("http")).unwrap();
    server.wait_for_log("the subscription ends: its API is denied now");
    write(&work, "a: four\n");
    assert_eq!(values(&alpha.receive().unwrap()), [("a", "four")]);
    assert!(told.recv_timeout(SILENCE).is_err());
}

/// What an app was told: the path, the headers and the body.
struct Told {
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

/// An app that says what it was told, and goes away after so many requests.
fn app(listener: TcpListener, mut requests: usize) -> Receiver<Told> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if lines.read_line(&mut line).unwrap_or_default() <= 2 {
                    break;
                }
                head.push(line.trim_end().to_owned());
            }
            // The server looks whether somebody listens.
            let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
                continue;
            };
            let headers = head.iter().filter_map(|line| line.split_once(": "));
            let headers: BTreeMap<_, _> = headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            lines.read_exact(&mut body).unwrap();
            let told = Told {
                path: path.to_owned(),
                headers,
                body: serde_json::from_slice(&body).unwrap(),
            };
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).unwrap();
            sender.send(told).unwrap();
            requests -= 1;
            if requests == 0 {
                return;
            }
        }
    });
    receiver
}

fn subscribe_app(server: &Server, query: &str) -> String {
    let answer = server.ask(&format!("GET /v1.0/configuration/cfg/subscribe{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

fn listen(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn the_app_is_told_once_for_each_key_and_may_restart() {
    let (listener, address) = listen("127.0.0.1:0");
    let port = address.port().to_string();
    let told = app(listener, 2);
    let (work, server) = server(
        "a: one\nb/2 x: two\n",
        &["--app-port", &port],
        &[("APP_API_TOKEN", "app-t0ken")],
    );
    let id = subscribe_app(&server, "?key=a&key=b/2+x");
    write(&work, "a: changed\nb/2 x: changed\n");
    let items = serde_json::json!({
        "a": {"value": "changed"},
        "b/2 x": {"value": "changed"},
    });
    for path in ["/configuration/cfg/a", "/configuration/cfg/b/2%20x"] {
        let mut told = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(told.path, path);
        assert_eq!(told.headers["content-type"], "application/json");
        assert_eq!(told.headers["dapr-api-token"], "app-t0ken");
        assert_eq!(told.body["id"], id);
        for item in told.body["items"].as_object_mut().unwrap().values_mut() {
            item.as_object_mut().unwrap().remove("version");
        }
        assert_eq!(told.body["items"], items);
    }
    // The app has gone away, which is a line in the log, and is told once it comes back.
    write(&work, "a: seen by nobody\nb/2 x: changed\n");
    server.wait_for_log("error sending configuration item to the app");
    let told = app(listen(&address.to_string()).0, 2);
    let missed = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(missed.body["items"]["a"]["value"], "seen by nobody");
    write(&work, "a: last\nb/2 x: changed\n");
    let last = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(last.body["items"]["a"]["value"], "last");
    let answer = server.ask(&format!("GET /v1.0/configuration/cfg/{id}/unsubscribe"));
    assert_eq!(answer.body, "{\"ok\":true}\n");
    assert_eq!(
        server
            .ask(&format!("GET /v1.0/configuration/cfg/{id}/unsubscribe"))
            .status,
        500
    );
    assert!(!server.log().contains("t0ken"));
}

#[test]
fn an_app_that_hangs_or_fails_delays_nobody_else() {
    // Accepts and never answers.
    let (_hanging, address) = listen("127.0.0.1:0");
    let port = address.port().to_string();
    let (work, server) = server("a: one\n", &["--app-port", &port], &[]);
    let _id = subscribe_app(&server, "");
    let (_, mut stream) = subscribe(&server, "SubscribeConfiguration", &[]);
    for value in ["two", "three"] {
        write(&work, &format!("a: {value}\n"));
        assert_eq!(values(&stream.receive().unwrap()), [("a", value)]);
    }
}

#[test]
fn a_store_that_is_misconfigured_ends_the_start() {
    for (store, part) in [
        (STORE.replace("items.yaml", "nope.yaml"), "r/cfg.yaml:8:"),
        (
            STORE.replace("configFile", "configfle"),
            "`configFile` is missing",
        ),
        (STORE.replace("local.file", "local.fil"), "known kinds"),
    ] {
        let work = folder(&[
            ("r/cfg.yaml", store.as_bytes()),
            ("items.yaml", b"a: one\n"),
        ]);
        let (status, log) = keyref_tests::server::refused(work.path(), &["--resources", "r"], &[]);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(part), "{log}");
        let optional = store.replace("spec:\n", "spec:\n  ignoreErrors: true\n");
        fs::write(work.path().join("r/cfg.yaml"), optional).unwrap();
        let server = Server::start(work.path(), &["--resources", "r"], &[]);
        assert_eq!(server.ask("GET /v1.0/configuration/cfg").status, 500);
    }
}

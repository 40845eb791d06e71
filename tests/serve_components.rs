//! Resolved components as a service: what a gateway is told, over HTTP and gRPC.

use std::fs;
use std::time::Duration;

use keyref_tests::dapr::Empty;
use keyref_tests::folder;
use keyref_tests::gateway::{COMPONENTS, Component, Event, Lines, List, brief, classes, component};
use keyref_tests::server::{Reply, Server, Stream, ask_at, call_at, refused};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long nothing may happen before nothing happens.
const SILENCE: Duration = Duration::from_millis(900);

/// A store of the file or folder `secrets`, and what it holds.
const STORE: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: vault}\n\
    spec: {type: secretstores.local.file, version: v1, metadata: \
    [{name: secretsFile, value: secrets.json}]}\n";
const SECRETS: &[u8] = br#"{"one": "s3cr3t-1", "two": "s3cr3t-2"}"#;

/// Two components with a secret each, in a folder `r` with their store, and a server of them.
fn server(arguments: &[&str], variables: &[(&str, &str)]) -> (TempDir, Server) {
    let work = folder(&[
        ("r/vault.yaml", STORE.as_bytes()),
        ("r/a.yaml", component("a", "one").as_bytes()),
        ("r/b.yaml", component("b", "two").as_bytes()),
        ("secrets.json", SECRETS),
        ("c.yaml", b"kind: Configuration\nspec: {}\n"),
    ]);
    let fixed = ["--resources", "r", "--config", "c.yaml"];
    let port = ["--components-port", "0"];
    let server = Server::start(
        work.path(),
        &[&fixed[..], &port, arguments].concat(),
        variables,
    );
    (work, server)
}

fn write(work: &TempDir, path: &str, text: &str) {
    fs::write(work.path().join(path), text).unwrap();
}

/// Asks for JSON.
fn get(server: &Server, path: &str) -> (u16, Value) {
    let ask = format!("GET {path}");
    let answer = ask_at(server.components.unwrap(), &ask, &[], "");
    let json = serde_json::from_str(&answer.body).unwrap();
    (answer.status, json)
}

/// Begins to watch over HTTP; what is there at the beginning, by name.
fn watch(server: &Server) -> (Lines, Vec<Value>) {
    let mut lines = Lines::open(server.components.unwrap());
    let mut first = Vec::new();
    loop {
        let event = lines.receive().unwrap();
        if event == json!({"complete": {}}) {
            return (lines, first);
        }
        first.push(event["component"].clone());
    }
}

#[test]
fn the_service_is_off_by_default() {
    let work = folder(&[]);
    let server = Server::start(work.path(), &[], &[]);
    assert_eq!(server.components, None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list, whole")]
fn lists_over_http_and_grpc_are_equal() {
    let endpoint = "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: a}\nspec:\n  \
        baseUrl: https://example.com\n  headers: [{name: h, secretKeyRef: {name: one, key: one}}]\n  \
        clientTLS: {rootCA: {value: ca}}\nauth: {secretStore: vault}\nscopes: [x]\n";
    let bytes = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: é <b>, namespace: n}\n\
        spec: {type: bindings.x, version: v2, metadata: [{name: k, secretKeyRef: {name: raw, key: raw}}]}\n\
        auth: {secretStore: files}\n";
    let (work, server) = server(&[], &[]);
    fs::create_dir(work.path().join("files")).unwrap();
    fs::write(work.path().join("files/raw"), b"\xff\x00s3cr3t\xfe").unwrap();
    let files = STORE
        .replace("vault", "files")
        .replace("secrets.json", "files");
    let (mut lines, first) = watch(&server);
    assert_eq!(first.len(), 3, "{first:?}");
    write(
        &work,
        "r/more.yaml",
        &format!("{files}---\n{endpoint}---\n{bytes}"),
    );
    for _ in 0..3 {
        lines.receive().unwrap();
    }
    let (status, listed) = get(&server, "/v1/components");
    assert_eq!(status, 200);
    let address = server.components.unwrap();
    let method = format!("{COMPONENTS}/List");
    let reply: Reply<List> = call_at(address, &method, &Empty {}, &[]);
    let components = reply.message.unwrap().components;
    let shapes: Vec<_> = components.iter().map(Component::to_json).collect();
    assert_eq!(listed, json!({"components": shapes}));
    // And what a watcher is told.
    let mut stream = Stream::open(address, &format!("{COMPONENTS}/Watch"), &Empty {}, &[]);
    for shape in &shapes {
        let event: Event = stream.receive().unwrap();
        assert_eq!(event.to_json(), json!({"component": shape}));
    }
    let event: Event = stream.receive().unwrap();
    assert_eq!(event.to_json(), json!({"complete": {}}));

    let (_, mut found) = get(&server, "/v1/components/a?kind=HTTPEndpoint");
    let fields = found.as_object_mut().unwrap();
    let revision = fields.remove("revision").unwrap();
    assert!(!revision.as_str().unwrap().is_empty());
    let expected = json!({
        "kind": "HTTPEndpoint", "name": "a", "namespace": "", "type": "https://example.com",
        "version": "", "scopes": ["x"], "problems": [],
        "properties": [
            {"name": "h", "value": "s3cr3t-1", "secret": true, "place": "header"},
            {"name": "rootCA", "value": "ca", "secret": false, "place": "clientTLS"},
        ],
    });
    assert_eq!(found, expected);
    let (_, found) = get(&server, "/v1/components/%C3%A9%20%3Cb%3E");
    let property =
        json!({"name": "k", "base64": "/wBzM2NyM3T+", "secret": true, "place": "metadata"});
    assert_eq!(found["properties"], json!([property]));
    assert_eq!(get(&server, "/v1/components/a").1["kind"], "Component");
    for (ask, status) in [
        ("GET /v1/components/c", 404),
        ("GET /v1/components/%zz", 404),
        ("GET /v1/componentsa", 404),
        ("GET /", 404),
        ("POST /v1/components", 405),
    ] {
        assert_eq!(ask_at(address, ask, &[], "").status, status, "{ask}");
    }
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn denied_and_absent_secrets_are_problems_and_never_empty() {
    for mode in ["strict", "dapr"] {
        let (work, server) = server(&["--mode", mode], &[]);
        let (mut lines, _) = watch(&server);
        // A literal beside a reference that leads nowhere is what Dapr falls back to.
        let absent = component("c", "none").replace("password,", "password, value: d3fault,");
        write(&work, "r/c.yaml", &absent);
        let told = lines.receive().unwrap();
        assert_eq!(brief(&told["component"]), ("c", None), "{mode}");
        assert_eq!(told["component"].get("properties"), None, "{mode}: {told}");
        assert_eq!(classes(&told["component"]), ["secret-absent"], "{mode}");
        let problem = &told["component"]["problems"][0];
        let place = (&problem["document"], &problem["line"], &problem["property"]);
        assert_eq!(place, (&json!("r/c.yaml"), &json!(9), &json!("password")));

        let scopes = "kind: Configuration\nspec: {secrets: {scopes: [{storeName: vault, deniedSecrets: [two]}]}}\n";
        write(&work, "c.yaml", scopes);
        let told = lines.receive().unwrap();
        assert_eq!(brief(&told["component"]), ("b", None), "{mode}");
        assert_eq!(classes(&told["component"]), ["policy-denied"], "{mode}");
        // In Dapr a component waits for its store, without an end.
        let parked = component("d", "one").replace("vault", "nowhere");
        write(&work, "r/d.yaml", &parked);
        let told = lines.receive().unwrap();
        assert_eq!(brief(&told["component"]), ("d", None), "{mode}");
        assert_eq!(classes(&told["component"]), ["store-unknown"], "{mode}");
        let log = server.log();
        assert!(!log.contains("s3cr3t") && !log.contains("d3fault"), "{log}");
    }
}

#[test]
fn a_secret_that_changes_comes_again_and_nothing_else_does() {
    let (work, server) = server(&[], &[]);
    let (mut lines, first) = watch(&server);
    let first: Vec<_> = first.iter().map(brief).collect();
    let expected = [
        ("a", Some("s3cr3t-1")),
        ("b", Some("s3cr3t-2")),
        ("vault", None),
    ];
    assert_eq!(first, expected);
    let mut stream = Stream::open(
        server.components.unwrap(),
        &format!("{COMPONENTS}/Watch"),
        &Empty {},
        &[],
    );
    while stream.receive::<Event>().unwrap().complete.is_none() {}
    let before = get(&server, "/v1/components/b").1;
    write(
        &work,
        "secrets.json",
        r#"{"one": "s3cr3t-1", "two": "s3cr3t-3"}"#,
    );
    let told = lines.receive().unwrap();
    assert_eq!(brief(&told["component"]), ("b", Some("s3cr3t-3")));
    assert_ne!(told["component"]["revision"], before["revision"]);
    let event: Event = stream.receive().unwrap();
    assert_eq!(event.to_json(), told);
    // A reload that changes nothing is no news.
    server.signal("HUP");
    assert!(stream.is_silent(SILENCE));
    assert_eq!(get(&server, "/v1/components/b").1, told["component"]);
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn components_come_and_go() {
    let (work, server) = server(&[], &[]);
    let (mut lines, _) = watch(&server);
    write(&work, "r/c.yaml", &component("c", "one"));
    let told = lines.receive().unwrap();
    assert_eq!(brief(&told["component"]), ("c", Some("s3cr3t-1")));
    write(&work, "r/c.yaml", &component("c", "two"));
    let told = lines.receive().unwrap();
    assert_eq!(brief(&told["component"]), ("c", Some("s3cr3t-2")));
    fs::remove_file(work.path().join("r/c.yaml")).unwrap();
    let told = lines.receive().unwrap();
    assert_eq!(told, json!({"removed": {"kind": "Component", "name": "c"}}));
    assert_eq!(get(&server, "/v1/components/c").0, 404);
}

#[test]
fn what_was_resolved_is_kept_until_policy_forbids_it() {
    let (work, server) = server(&[], &[]);
    let (mut lines, _) = watch(&server);
    write(&work, "secrets.json", r#"{"one": "s3cr3t-1"}"#);
    let told = lines.receive().unwrap();
    assert_eq!(brief(&told["component"]), ("b", Some("s3cr3t-2")));
    assert_eq!(classes(&told["component"]), ["secret-absent"]);
    // Nor is it kept where the document refers to something else by now.
    write(&work, "r/b.yaml", &component("b", "none"));
    let told = lines.receive().unwrap();
    assert_eq!(brief(&told["component"]), ("b", Some("s3cr3t-2")));
    let scopes = "kind: Configuration\nspec: {secrets: {scopes: [{storeName: vault, deniedSecrets: [two]}]}}\n";
    write(&work, "c.yaml", scopes);
    let told = lines.receive().unwrap();
    assert_eq!(brief(&told["component"]), ("b", None));
    assert_eq!(classes(&told["component"]), ["secret-absent"]);
    // And well again.
    write(
        &work,
        "secrets.json",
        r#"{"one": "s3cr3t-1", "none": "s3cr3t-4"}"#,
    );
    let told = lines.receive().unwrap();
    assert_eq!(brief(&told["component"]), ("b", Some("s3cr3t-4")));
    assert!(classes(&told["component"]).is_empty());
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn a_slow_watcher_misses_states_and_never_the_last() {
    let (work, server) = server(&[], &[]);
    let method = format!("{COMPONENTS}/Watch");
    // More than a connection takes in before somebody reads.
    let secrets = |last: &str| {
        let long = "x".repeat(256 << 10);
        json!({"one": format!("{long}-{last}"), "two": "s3cr3t-2"}).to_string()
    };
    let mut slow = Stream::open(server.components.unwrap(), &method, &Empty {}, &[]);
    let (mut quick, _) = watch(&server);
    for number in 0..10 {
        let last = number.to_string();
        write(&work, "secrets.json", &secrets(&last));
        let told = quick.receive().unwrap();
        let (name, password) = brief(&told["component"]);
        assert_eq!(name, "a");
        assert!(password.unwrap().ends_with(&format!("-{last}")), "{last}");
    }
    let mut told = Vec::new();
    while told.last() != Some(&b'9') {
        let event: Event = slow.receive().unwrap();
        let component = event.component.filter(|found| found.name == "a");
        if let Some(component) = component {
            let password = &component.properties.unwrap().items[1].value;
            told.push(*password.last().unwrap());
        }
    }
    assert!(told.len() < 6, "{told:?}");
    assert!(slow.is_silent(SILENCE));
}

#[test]
fn a_name_that_anybody_can_point_here_needs_the_token() {
    let other = ("host", "evil.example");
    for (variables, refusals) in [
        (&[][..], (403, 7)),
        (&[("KEYREF_COMPONENTS_TOKEN", "t0ken")], (200, 0)),
    ] {
        let (_work, server) = server(&[], variables);
        let address = server.components.unwrap();
        let headers = [other, ("authorization", "Bearer t0ken")];
        let ask = "GET /v1/components";
        assert_eq!(ask_at(address, ask, &headers[1..], "").status, 200);
        let answer = ask_at(address, ask, &headers, "");
        assert_eq!(answer.status, refusals.0);
        assert_eq!(answer.body.contains("s3cr3t"), refusals.0 == 200);
        let method = format!("{COMPONENTS}/List");
        let reply: Reply<List> = call_at(address, &method, &Empty {}, &headers);
        assert_eq!(reply.status, refusals.1);
        assert_eq!(reply.message.is_some(), refusals.1 == 0);
    }
}

#[test]
fn only_the_token_admits() {
    let (_work, server) = server(&[], &[("KEYREF_COMPONENTS_TOKEN", "t0ken")]);
    let address = server.components.unwrap();
    for (sent, status) in [
        (None, 401),
        (Some("t0ken"), 401),
        (Some("Bearer t0ke"), 401),
        (Some("Basic t0ken"), 401),
        (Some("Bearer t0ken"), 200),
        (Some("bearer t0ken"), 200),
    ] {
        let headers: Vec<_> = sent
            .map(|sent| ("authorization", sent))
            .into_iter()
            .collect();
        for path in ["/v1/components", "/v1/components/a"] {
            let answer = ask_at(address, &format!("GET {path}"), &headers, "");
            assert_eq!(answer.status, status, "{sent:?}");
            assert_eq!(answer.body.contains("s3cr3t"), status == 200, "{sent:?}");
            assert_eq!(answer.headers["cache-control"], "no-store");
        }
        let reply: Reply<List> =
            call_at(address, &format!("{COMPONENTS}/List"), &Empty {}, &headers);
        assert_eq!(reply.status, if status == 200 { 0 } else { 16 }, "{sent:?}");
        if status != 200 {
            let ask = "GET /v1/components?watch=true";
            assert_eq!(ask_at(address, ask, &headers, "").status, 401, "{sent:?}");
            let method = format!("{COMPONENTS}/Watch");
            let stream = Stream::open(address, &method, &Empty {}, &headers);
            assert_eq!(stream.status, Some(16), "{sent:?}");
        }
    }
    assert!(!server.log().contains("t0ken"), "{}", server.log());
}

#[test]
fn a_token_that_is_no_longer_one_ends_what_it_watches() {
    let work = folder(&[
        ("r/a.yaml", component("a", "one").as_bytes()),
        ("secrets.json", b"{\"one\": \"s3cr3t-1\"}"),
        ("tokens", b"t0ken\n"),
    ]);
    let arguments = [
        "--resources",
        "r",
        "--store",
        "vault=local.file:secrets.json",
        "--components-port",
        "0",
        "--components-token-file",
        "tokens",
    ];
    let server = Server::start(work.path(), &arguments, &[]);
    let address = server.components.unwrap();
    let headers = [("authorization", "Bearer t0ken")];
    let watching = std::thread::spawn(move || {
        // To the end.
        ask_at(address, "GET /v1/components?watch=true", &headers, "")
    });
    let mut stream = Stream::open(address, &format!("{COMPONENTS}/Watch"), &Empty {}, &headers);
    for _ in 0..2 {
        assert!(stream.receive::<Empty>().is_some());
    }
    fs::write(work.path().join("tokens"), "other\n").unwrap();
    assert_eq!(stream.end(), Some(16));
    let told = watching.join().unwrap().body;
    assert!(told.contains("s3cr3t-1"), "{told}");
    let last = told.lines().rfind(|line| line.starts_with('{')).unwrap();
    let expected = "{\"code\":\"unauthenticated\",\"message\":\"the token of `authorization: \
                    Bearer TOKEN` is missing or wrong\"}";
    assert_eq!(last, expected);
}

#[test]
fn the_trail_has_each_secret_that_is_given_out() {
    let arguments = ["--audit-log", "trail.jsonl"];
    let (work, mut server) = server(&arguments, &[("KEYREF_COMPONENTS_TOKEN", "t0ken")]);
    let address = server.components.unwrap();
    let token = [("authorization", "Bearer t0ken")];
    ask_at(address, "GET /v1/components", &[], "");
    ask_at(address, "GET /v1/components/b", &token, "");
    let method = format!("{COMPONENTS}/Watch");
    let mut stream = Stream::open(address, &method, &Empty {}, &token);
    while stream.receive::<Event>().unwrap().complete.is_none() {}
    drop(stream);
    server.signal("TERM");
    server.wait();
    let trail = fs::read_to_string(work.path().join("trail.jsonl")).unwrap();
    let records = trail
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let records = records.map(|record: Value| {
        let caller = &record["caller"];
        let parts = [
            &record["operation"],
            &caller["protocol"],
            &caller["token"],
            &record["secret"],
            &record["outcome"],
        ];
        parts
            .map(|part| part.to_string().replace('"', ""))
            .join(" ")
    });
    assert_eq!(
        records.collect::<Vec<_>>(),
        [
            "component http false null denied",
            "component http true two found",
            "component grpc true one found",
            "component grpc true two found",
        ]
    );
    assert!(
        !trail.contains("s3cr3t") && !trail.contains("t0ken"),
        "{trail}"
    );
}

#[test]
fn an_address_that_others_can_reach_needs_the_token() {
    let work = folder(&[]);
    let public = [
        "--components-port",
        "0",
        "--components-listen-address",
        "0.0.0.0",
    ];
    let (status, log) = refused(work.path(), &public, &[]);
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("KEYREF_COMPONENTS_TOKEN"), "{log}");
    let token = [("KEYREF_COMPONENTS_TOKEN", "t")];
    assert!(
        Server::start(work.path(), &public, &token)
            .components
            .is_some()
    );
    let allowed = [&public[..], &["--allow-public-without-token"]].concat();
    assert!(
        Server::start(work.path(), &allowed, &[])
            .components
            .is_some()
    );
}

#[test]
fn watchers_do_not_hold_up_the_end() {
    let (_work, mut server) = server(&["--dapr-graceful-shutdown-seconds", "60"], &[]);
    let (mut lines, _) = watch(&server);
    let method = format!("{COMPONENTS}/Watch");
    let mut stream = Stream::open(server.components.unwrap(), &method, &Empty {}, &[]);
    while stream.receive::<Event>().unwrap().complete.is_none() {}
    server.signal("TERM");
    assert_eq!(lines.receive(), None);
    assert!(stream.receive::<Event>().is_none());
    drop((lines, stream));
    assert_eq!(server.wait().code(), Some(0));
}

//! `keyref serve` tells more than Dapr does to those who ask, and takes whatever name there is. What it
//! has in common with Dapr is in `serve_recorded.rs`.

use std::collections::BTreeMap;

use keyref_tests::dapr::{DAPR, Empty, STORES, Text, get, two_stores};
use keyref_tests::folder;
use keyref_tests::server::{Reply, Server, ask_at};
use serde_json::Value;

#[test]
fn absent_denied_and_failed_are_told_apart() {
    let (_work, server) = two_stores(&[], &[]);
    for (store, secret, class) in [
        ("file", "nope", "secret-absent"),
        ("file", "denied", "policy-denied"),
        ("env", "NOPE", "secret-absent"),
        ("none", "x", "store-unknown"),
    ] {
        let answer = server.ask(&format!("GET /v1.0/secrets/{store}/{secret}"));
        let case = format!("{store}/{secret}: {answer:?}");
        assert_eq!(answer.headers.get("keyref-class").unwrap(), class, "{case}");
        let reply = get(&server, store, secret, &[]);
        assert_eq!(reply.details[0].metadata["keyref-class"], class, "{case}");
    }
    assert!(!server.log().contains("s3cr3t"));
}

#[test]
fn a_token_is_asked_for_everywhere_but_for_health() {
    let (_work, server) = two_stores(
        &[
            "--dapr-public-port",
            "0",
            "--dapr-public-listen-address",
            "127.0.0.1",
        ],
        &[("DAPR_API_TOKEN", "t0ken")],
    );
    let token = [("dapr-api-token", "t0ken")];
    let path = "GET /v1.0/secrets/file/redis";
    assert_eq!(server.ask(path).body, "invalid api token\n");
    assert_eq!(
        ask_at(server.http, path, &[("dapr-api-token", "t0ke")], "").status,
        401
    );
    assert_eq!(ask_at(server.http, path, &token, "").status, 200);
    for open in ["GET /v1.0/healthz", "GET //v1.0/healthz/outbound/"] {
        assert_eq!(server.ask(open).status, 204, "{open}");
    }
    for closed in [
        "POST /v1.0/healthz",
        "GET /v1.0/unknown",
        "GET /v1.0/metadata",
    ] {
        assert_eq!(server.ask(closed).status, 401, "{closed}");
    }
    for (sent, detail) in [
        (vec![], "missing api token in request metadata"),
        (
            vec![("dapr-api-token", "wrong")],
            "authentication error: api token mismatch",
        ),
    ] {
        let reply = get(&server, "file", "redis", &sent);
        assert_eq!((reply.status, reply.text.as_str()), (16, "Unauthorized"));
        assert_eq!(reply.details[0].metadata["http.code"], "401");
        assert_eq!(reply.details[0].metadata["http.error_message"], detail);
    }
    assert_eq!(get(&server, "file", "redis", &token).status, 0);
    // The public port has health and metadata without a token, and nothing else.
    let public = server.public.unwrap();
    assert_eq!(ask_at(public, "GET /v1.0/metadata", &[], "").status, 200);
    assert_eq!(ask_at(public, "GET /v1.0/healthz", &[], "").status, 204);
    let secret = ask_at(public, path, &token, "");
    assert_eq!(
        (secret.status, secret.body.as_str()),
        (404, "404 page not found\n")
    );
    assert!(!server.log().contains("t0ken"));
}

#[test]
fn metadata_names_what_is_loaded_and_what_was_added() {
    let (_work, server) = two_stores(&["--app-id", "myapp"], &[]);
    let added = ask_at(server.http, "PUT /v1.0/metadata/team%20name", &[], "a<b");
    assert_eq!((added.status, added.body.as_str()), (204, ""));
    let set = Text {
        key: "k".to_owned(),
        value: "v".to_owned(),
    };
    assert_eq!(
        server
            .call::<Empty>(&format!("{DAPR}/SetMetadata"), &set, &[])
            .status,
        0
    );
    let metadata: Value = serde_json::from_str(&server.ask("GET /v1.0/metadata").body).unwrap();
    assert_eq!(metadata["id"], "myapp");
    assert_eq!(metadata["runtimeVersion"], "1.18.3");
    assert_eq!(metadata["extended"]["team name"], "a<b");
    assert_eq!(metadata["extended"]["k"], "v");
    assert_eq!(metadata["components"][0]["name"], "file");
    assert_eq!(metadata["components"][1]["type"], "secretstores.local.env");
    // What callers add stays bounded.
    let large = "x".repeat(600 << 10);
    assert_eq!(
        ask_at(server.http, "PUT /v1.0/metadata/a", &[], &large).status,
        204
    );
    assert_eq!(
        ask_at(server.http, "PUT /v1.0/metadata/b", &[], &large).status,
        400
    );
}

#[test]
fn other_apis_are_refused_and_named_once() {
    let (_work, server) = two_stores(&[], &[]);
    for _ in 0..2 {
        assert_eq!(server.ask("GET /v1.0/state/s/k").status, 404);
        let reply: Reply<Empty> = server.call(&format!("{DAPR}/GetState"), &Empty {}, &[]);
        assert_eq!(reply.status, 12);
    }
    server.wait_for_log("GetState");
    for api in ["v1.0/state", "GetState"] {
        assert_eq!(
            server.log().matches(&format!("\"api\":\"{api}\"")).count(),
            1,
            "{api}"
        );
    }
}

#[test]
fn what_is_too_large_is_refused_and_others_are_served() {
    let (_work, server) = two_stores(&[], &[]);
    let path = "GET /v1.0/secrets/file/redis";
    let long = "x".repeat(9 << 10);
    assert_eq!(ask_at(server.http, path, &[("x", &long)], "").status, 431);
    let fields = vec![("x", "y"); 150];
    assert_eq!(ask_at(server.http, path, &fields, "").status, 431);
    let (_work, lenient) = two_stores(&["--read-buffer-size", "8Ki"], &[]);
    assert_eq!(ask_at(lenient.http, path, &fields, "").status, 200);
    let body = ask_at(server.http, path, &[], &"x".repeat((4 << 20) + 1));
    assert_eq!(body.status, 400);
    assert!(body.body.contains("stream too large"), "{body:?}");
    let reply = get(&server, "file", &"x".repeat(4 << 20), &[]);
    assert_eq!(reply.status, 8, "{}", reply.text);
    assert_eq!(server.ask(path).status, 200);
}

/// Secrets whose names need escapes are each reached over both protocols.
/// Parts of names that mean something to URLs, JSON, YAML, shells or terminals.
const ODD: [&str; 20] = [
    "\"",
    "'",
    "%",
    "%20",
    "\u{e9}",
    "\u{1f511}",
    "a b",
    "a/b",
    "a+b",
    "?",
    "#",
    "..",
    "\\",
    "&",
    "<>",
    "{}",
    "\u{202e}",
    "$HOME",
    "`",
    "\u{4e2d}",
];

/// Names of two odd parts and a number.
fn odd_names(count: usize) -> Vec<String> {
    let part = |n: usize| ODD[n % ODD.len()];
    let names = (0..count).map(|n| format!("{}{n}{}", part(n), part(n / ODD.len())));
    names.collect()
}

/// As a client writes a name that can hold anything.
fn escaped(name: &str) -> String {
    let bytes: Vec<_> = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    bytes.concat()
}

#[test]
fn odd_names_are_reachable() {
    let names = odd_names(150);
    let secrets: BTreeMap<_, _> = names.iter().map(|name| (name, "v")).collect();
    let secrets = serde_json::to_vec(&secrets).unwrap();
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("secrets.json", &secrets),
    ]);
    let server = Server::start(work.path(), &["--resources", "r"], &[]);
    for name in &names {
        let answer = server.ask(&format!("GET /v1.0/secrets/file/{}", escaped(name)));
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        let answer: BTreeMap<String, String> = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer[name], "v");
        let reply = get(&server, "file", name, &[]);
        assert_eq!(reply.message.unwrap().data[name], "v");
    }
}

#[test]
fn a_thousand_stores_with_odd_names_are_reachable() {
    let names = odd_names(1000);
    let store = |name: &String| {
        // JSON is YAML, but for characters that YAML does not print.
        let name = serde_json::to_string(name)
            .unwrap()
            .replace('\u{202e}', "\\u202e");
        STORES
            .replace("name: file", &format!("name: {name}"))
            .split("---")
            .next()
            .unwrap()
            .to_owned()
    };
    // Dapr takes no such names from documents; the command line has no such rule.
    let (given, declared): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.contains(['/', '%']));
    let manifests: Vec<_> = declared.into_iter().map(store).collect();
    let given = given
        .iter()
        .map(|name| format!("--store={name}=local.file:secrets.json"));
    let given: Vec<_> = given.collect();
    let mut arguments = vec!["--resources", "r"];
    arguments.extend(given.iter().map(String::as_str));
    let work = folder(&[
        ("r/stores.yaml", manifests.join("---\n").as_bytes()),
        ("secrets.json", b"{\"key\": \"v\"}"),
    ]);
    let server = Server::start(work.path(), &arguments, &[]);
    for name in &names {
        let answer = server.ask(&format!("GET /v1.0/secrets/{}/key", escaped(name)));
        assert_eq!(answer.body, "{\"key\":\"v\"}\n", "{name}");
        let reply = get(&server, name, "key", &[]);
        assert_eq!(reply.message.unwrap().data["key"], "v", "{name}");
    }
}

#[test]
fn values_that_are_not_text_are_refused_in_strict_mode() {
    let store = STORES.replace(
        "{name: secretsFile, value: secrets.json}",
        "{name: secretsFile, value: folder}",
    );
    let work = folder(&[
        ("r/stores.yaml", store.as_bytes()),
        ("folder/key", b"a\xff"),
    ]);
    let start = |mode| Server::start(work.path(), &["--resources", "r", "--mode", mode], &[]);
    let strict = start("strict").ask("GET /v1.0/secrets/file/key");
    assert_eq!(
        (strict.status, strict.headers["keyref-class"].as_str()),
        (500, "value-not-text")
    );
    let dapr = start("dapr");
    assert_eq!(
        dapr.ask("GET /v1.0/secrets/file/key").body,
        "{\"key\":\"a\\ufffd\"}\n"
    );
    assert_eq!(get(&dapr, "file", "key", &[]).status, 13);
}

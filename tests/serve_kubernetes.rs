//! `keyref serve` on the secrets of a real API server: what callers are answered, also while it is away.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyref_tests::dapr::{bulk, get};
use keyref_tests::folder;
use keyref_tests::kubernetes::{self, server};
use keyref_tests::server::{Answer, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The cluster is that of all tests, and one takes it away.
static ALONE: Mutex<()> = Mutex::new(());

/// What anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

const FILE: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: file}
spec: {type: secretstores.local.file, version: v1, metadata: [{name: secretsFile, value: secrets.json}]}
";

/// A server of the secrets of a namespace as `cluster`, and of a file as `file`.
fn serve(cluster: &kubernetes::Server, namespace: &str) -> (TempDir, Server) {
    let component = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: cluster}}\nspec: {{type: \
         secretstores.kubernetes, version: v1, metadata: [{{name: defaultNamespace, value: \
         {namespace}}}]}}\n"
    );
    let work = folder(&[
        ("r/cluster.yaml", component.as_bytes()),
        ("r/file.yaml", FILE.as_bytes()),
        ("secrets.json", br#"{"key": "s3cr3t-of-the-file"}"#),
    ]);
    let kubeconfig = cluster.kubeconfig.to_str().unwrap();
    let variables = [("KUBECONFIG", kubeconfig)];
    let server = Server::start(work.path(), &["--resources", "r"], &variables);
    (work, server)
}

fn ask(server: &Server, path: &str) -> Answer {
    server.ask(&format!("GET /v1.0/secrets/cluster/{path}"))
}

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// The status, and keyref's class of a failure.
fn class(answer: &Answer) -> (u16, &str) {
    let class = answer.headers.get("keyref-class");
    (answer.status, class.map_or("", String::as_str))
}

/// That a secret is read with this value, over both.
fn has(server: &Server, name: &str, value: &str) {
    assert_eq!(body(&ask(server, name)), json!({ "k": value }));
    let reply = get(server, "cluster", name, &[]);
    assert_eq!(reply.status, 0, "{reply:?}");
    assert_eq!(reply.message.unwrap().data["k"], value);
}

#[test]
fn secrets_of_a_cluster_are_served_and_what_changes_is_read_anew() {
    let Some(cluster) = server() else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = cluster.namespace("served");
    cluster.secret(&namespace, "one", &["k=s3cr3t-1"]);
    cluster.secret(&namespace, "two", &["k=s3cr3t-2", "empty=", "l=w: \"x\"\n"]);
    let (_work, server) = serve(cluster, &namespace);
    has(&server, "one", "s3cr3t-1");
    let two = json!({ "k": "s3cr3t-2", "empty": "", "l": "w: \"x\"\n" });
    assert_eq!(body(&ask(&server, "two")), two);
    let all = json!({ "one": { "k": "s3cr3t-1" }, "two": two });
    assert_eq!(body(&ask(&server, "bulk")), all);
    let reply = bulk(&server, "cluster", &[]);
    let found: serde_json::Map<_, _> = reply
        .message
        .unwrap()
        .data
        .into_iter()
        .map(|(name, secret)| (name, json!(secret.data)))
        .collect();
    assert_eq!(Value::from(found), all);
    // What is absent is told from what has failed.
    let absent = ask(&server, "none");
    assert_eq!(class(&absent), (500, "secret-absent"), "{absent:?}");
    assert!(absent.body.contains("ERR_SECRET_GET"), "{absent:?}");
    let reply = get(&server, "cluster", "none", &[]);
    assert_eq!(reply.status, 13);
    assert_eq!(reply.details[0].metadata["keyref-class"], "secret-absent");

    let changed = json!({ "stringData": { "k": "s3cr3t-3" } }).to_string();
    let patch = [
        "patch",
        "secret",
        "one",
        "--namespace",
        &namespace,
        "--patch",
        &changed,
    ];
    cluster.kubectl(&patch);
    has(&server, "one", "s3cr3t-3");
    cluster.kubectl(&["delete", "secret", "one", "--namespace", &namespace]);
    assert_eq!(class(&ask(&server, "one")), (500, "secret-absent"));
    assert_eq!(body(&ask(&server, "bulk")), json!({ "two": two }));
    cluster.secret(&namespace, "one", &["k=s3cr3t-4"]);
    has(&server, "one", "s3cr3t-4");
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn a_cluster_that_is_away_fails_alone_and_answers_again() {
    let Some(cluster) = server() else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = cluster.namespace("away");
    cluster.secret(&namespace, "one", &["k=s3cr3t-1"]);
    let (_work, server) = serve(cluster, &namespace);
    has(&server, "one", "s3cr3t-1");
    if !cluster.stop() {
        return;
    }
    let reason = "cannot reach";
    for path in ["one", "bulk"] {
        let answer = ask(&server, path);
        assert_eq!(class(&answer), (500, "unreachable"), "{answer:?}");
        assert!(answer.body.contains(reason), "{answer:?}");
    }
    let one = get(&server, "cluster", "one", &[]);
    let all = bulk(&server, "cluster", &[]);
    for (status, text, details) in [
        (one.status, one.text, one.details),
        (all.status, all.text, all.details),
    ] {
        assert_eq!(status, 13, "{text}");
        assert!(text.contains(reason), "{text}");
        assert_eq!(details[0].metadata["keyref-class"], "unreachable");
    }
    // Nobody else is concerned.
    let file = server.ask("GET /v1.0/secrets/file/key");
    assert_eq!(file.body, "{\"key\":\"s3cr3t-of-the-file\"}\n");
    assert_eq!(get(&server, "file", "key", &[]).status, 0);
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
    // Nor does one that starts meanwhile end.
    let (_other, started) = serve(cluster, &namespace);
    assert_eq!(class(&ask(&started, "one")), (500, "unreachable"));
    assert_eq!(started.ask("GET /v1.0/secrets/file/key").status, 200);

    cluster.restart();
    for server in [&server, &started] {
        let begin = Instant::now();
        while ask(server, "one").status != 200 {
            assert!(begin.elapsed() < PATIENCE, "{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        has(server, "one", "s3cr3t-1");
        assert!(!server.log().contains("s3cr3t"), "{}", server.log());
    }
}

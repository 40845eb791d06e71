//! Stores that refer to another one which does not answer: they wait, and nothing else does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyref_tests::folder;
use keyref_tests::server::{Answer, Server};
use tempfile::TempDir;

/// What anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Two stores whose files are named by a secret of the cluster, and one that needs nothing.
const RESOURCES: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cluster}
spec:
  type: secretstores.kubernetes
  version: v1
  metadata: [{name: kubeconfigPath, value: kubeconfig}, {name: defaultNamespace, value: default}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: nested}
spec:
  type: secretstores.local.file
  version: v1
  metadata: [{name: secretsFile, secretKeyRef: {name: files, key: secrets}}]
auth: {secretStore: cluster}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cfg}
spec:
  type: configuration.local.file
  version: v1
  metadata: [{name: configFile, secretKeyRef: {name: files, key: items}}]
auth: {secretStore: cluster}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: deeper}
spec:
  type: secretstores.local.file
  version: v1
  metadata: [{name: secretsFile, secretKeyRef: {name: path, key: path}}]
auth: {secretStore: nested}
";

const FILE: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: file}
spec:
  type: secretstores.local.file
  version: v1
  metadata: [{name: secretsFile, value: nested.json}]
";

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn kubeconfig(api_server: SocketAddr) -> String {
    format!(
        "clusters: [{{name: c, cluster: {{server: 'http://{api_server}'}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
         users: [{{name: u, user: {{}}}}]\ncurrent-context: x\n"
    )
}

fn work(api_server: SocketAddr) -> TempDir {
    let kubeconfig = kubeconfig(api_server);
    folder(&[
        ("r/waiting.yaml", RESOURCES.as_bytes()),
        ("r/file.yaml", FILE.as_bytes()),
        ("kubeconfig", kubeconfig.as_bytes()),
        ("c.yaml", b"kind: Configuration\nspec: {}\n"),
        (
            "nested.json",
            br#"{"key": "s3cr3t", "path": "deeper.json"}"#,
        ),
        ("deeper.json", br#"{"key": "s3cr3t-deeper"}"#),
        ("items.yaml", b"a: one\n"),
    ])
}

fn server(work: &TempDir) -> Server {
    let arguments = ["--resources", "r", "--config", "c.yaml"];
    Server::start(work.path(), &arguments, &[])
}

/// Answers each request for the Secret `files`, for ever.
fn serve(listener: TcpListener) {
    serve_unless(listener, Arc::default());
}

/// The same, but for the time that it is away.
fn serve_unless(listener: TcpListener, is_away: Arc<AtomicBool>) {
    thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            if !is_away.load(Ordering::Relaxed) {
                answer(stream);
            }
        }
    });
}

fn answer(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or_default() == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /api/v1/namespaces/default/secrets/files"));
    // `nested.json` and `items.yaml`
    let body = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"files"},
        "data":{"secrets":"bmVzdGVkLmpzb24=","items":"aXRlbXMueWFtbA=="}}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    drop(stream.write_all(answer.as_bytes()));
}

fn secret(server: &Server, store: &str) -> Answer {
    server.ask(&format!("GET /v1.0/secrets/{store}/key"))
}

fn class(answer: &Answer) -> (u16, &str) {
    let class = answer.headers.get("keyref-class");
    (answer.status, class.map_or("", String::as_str))
}

/// Waits until both stores are open.
fn until_open(server: &Server) {
    let begin = Instant::now();
    while secret(server, "deeper").status != 200 {
        assert!(begin.elapsed() < PATIENCE, "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(secret(server, "nested").body, "{\"key\":\"s3cr3t\"}\n");
    assert_eq!(
        secret(server, "deeper").body,
        "{\"key\":\"s3cr3t-deeper\"}\n"
    );
    let items = server.ask("GET /v1.0/configuration/cfg?key=a");
    assert!(items.body.contains("\"one\""), "{items:?}");
}

#[test]
fn an_unreachable_backend_ends_no_start_and_is_tried_again() {
    let address = nobody();
    let work = work(address);
    let server = server(&work);
    assert_eq!(secret(&server, "file").status, 200);
    for store in ["cluster", "nested", "deeper"] {
        let answer = secret(&server, store);
        assert_eq!(class(&answer), (500, "unreachable"), "{store}: {answer:?}");
        let part = if store == "cluster" {
            ""
        } else {
            "cannot be opened yet: secret"
        };
        assert!(answer.body.contains(part), "{store}: {answer:?}");
    }
    let items = server.ask("GET /v1.0/configuration/cfg?key=a");
    assert_eq!(class(&items), (500, "unreachable"), "{items:?}");
    let subscribed = server.ask("GET /v1.0/configuration/cfg/subscribe?key=a");
    assert_eq!(subscribed.status, 500, "{subscribed:?}");
    serve(TcpListener::bind(address).unwrap());
    until_open(&server);
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn a_backend_that_hangs_delays_no_change() {
    // Takes connections and says nothing.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let work = work(hanging.local_addr().unwrap());
    let server = server(&work);
    assert_eq!(secret(&server, "file").status, 200);
    assert_eq!(class(&secret(&server, "nested")), (500, "timed-out"));
    let scopes = "kind: Configuration\nspec: {secrets: {scopes: [\
                  {storeName: file, deniedSecrets: [key]}, {storeName: nested, deniedSecrets: [key]}]}}\n";
    fs::write(work.path().join("c.yaml"), scopes).unwrap();
    let begin = Instant::now();
    while secret(&server, "file").status != 403 {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{}",
            server.log()
        );
        thread::sleep(Duration::from_millis(20));
    }
    // What waits is guarded as well.
    assert_eq!(secret(&server, "nested").status, 403);
    fs::write(
        work.path().join("c.yaml"),
        "kind: Configuration\nspec: {}\n",
    )
    .unwrap();
    serve(hanging);
    until_open(&server);
}

#[test]
fn a_store_that_is_open_stays_while_its_new_form_waits() {
    let work = work(nobody());
    fs::remove_file(work.path().join("r/waiting.yaml")).unwrap();
    let server = server(&work);
    assert_eq!(secret(&server, "file").body, "{\"key\":\"s3cr3t\"}\n");
    let (address, cluster) = (nobody(), RESOURCES.split("---\n").next().unwrap());
    fs::write(work.path().join("kubeconfig"), kubeconfig(address)).unwrap();
    let waiting = FILE.replace(
        "value: nested.json}]",
        "secretKeyRef: {name: files, key: items}}]\nauth: {secretStore: cluster}",
    );
    fs::write(work.path().join("r/cluster.yaml"), cluster).unwrap();
    fs::write(work.path().join("r/file.yaml"), waiting).unwrap();
    server.wait_for_log("reloaded");
    assert_eq!(secret(&server, "file").body, "{\"key\":\"s3cr3t\"}\n");
    serve(TcpListener::bind(address).unwrap());
    let begin = Instant::now();
    // It is in the other file.
    while server.ask("GET /v1.0/secrets/file/a").status != 200 {
        assert!(begin.elapsed() < PATIENCE, "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(secret(&server, "file").status, 500);
    assert!(!server.log().contains("not reloaded"), "{}", server.log());
}

/// Waits until a store's secret is answered so.
fn until(server: &Server, store: &str, expected: &str) {
    let begin = Instant::now();
    loop {
        let answer = secret(server, store);
        if answer.body.contains(expected) {
            return;
        }
        let is_late = begin.elapsed() > PATIENCE;
        assert!(!is_late, "{store}: {answer:?}\n{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_kubeconfig_that_changes_is_read_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let work = work(listener.local_addr().unwrap());
    serve(listener);
    let server = server(&work);
    let ask = || server.ask("GET /v1.0/secrets/cluster/files");
    assert_eq!(ask().status, 200);
    fs::write(work.path().join("kubeconfig"), kubeconfig(nobody())).unwrap();
    let begin = Instant::now();
    while class(&ask()) != (500, "unreachable") {
        assert!(begin.elapsed() < PATIENCE, "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// A store whose file stands in the document, and that needs a secret as well.
const PARTLY: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: partly}
spec:
  type: secretstores.local.file
  version: v1
  metadata:
  - {name: secretsFile, value: partly.json}
  - {name: nestedSeparator, secretKeyRef: {name: files, key: secrets}}
auth: {secretStore: cluster}
";

#[test]
fn a_file_that_changes_while_its_store_waits_is_read_after_another_change_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let work = work(listener.local_addr().unwrap());
    let write = |path: &str, text: &str| fs::write(work.path().join(path), text).unwrap();
    write("r/partly.yaml", PARTLY);
    write("partly.json", "{\"key\": \"s3cr3t-old\"}");
    let is_away = Arc::<AtomicBool>::default();
    serve_unless(listener, Arc::clone(&is_away));
    let server = server(&work);
    until(&server, "partly", "s3cr3t-old");
    is_away.store(true, Ordering::Relaxed);
    write("partly.json", "{\"key\": \"s3cr3t-rotated\"}");
    server.wait_for_log("\"msg\":\"reloaded\"");
    let another = FILE.replace("name: file}", "name: another}");
    write("r/another.yaml", &another);
    until(&server, "another", "s3cr3t");
    assert_eq!(secret(&server, "partly").body, "{\"key\":\"s3cr3t-old\"}\n");
    is_away.store(false, Ordering::Relaxed);
    until(&server, "partly", "s3cr3t-rotated");
    assert!(!server.log().contains("s3cr3t-"), "{}", server.log());
}

#[test]
fn a_backend_that_comes_counts_though_another_goes() {
    let address = nobody();
    let work = work(address);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let write = |path: &str, text: &str| fs::write(work.path().join(path), text).unwrap();
    write("other", &kubeconfig(other.local_addr().unwrap()));
    let of_other = |text: &str| {
        let text = text.replace("cluster}", "other}");
        text.replace("value: kubeconfig}", "value: other}")
    };
    let mut stores = RESOURCES.split("---\n");
    let (cluster, nested) = (stores.next().unwrap(), stores.next().unwrap());
    write("r/waiting.yaml", &format!("{cluster}---\n{nested}"));
    let resources = [
        cluster.replace("name: cluster", "name: other"),
        PARTLY.to_owned(),
    ];
    write("r/other.yaml", &of_other(&resources.join("---\n")));
    write("partly.json", "{\"key\": \"s3cr3t-partly\"}");
    let is_away = Arc::<AtomicBool>::default();
    serve_unless(other, Arc::clone(&is_away));
    let server = server(&work);
    until(&server, "partly", "s3cr3t-partly");
    is_away.store(true, Ordering::Relaxed);
    serve(TcpListener::bind(address).unwrap());
    until(&server, "nested", "s3cr3t");
    until(&server, "partly", "s3cr3t-partly");
}

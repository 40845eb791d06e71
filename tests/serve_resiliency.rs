//! Dapr's Resiliency: stores that fail and are asked again, wait no longer, or are left alone; an app
//! that is told again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use keyref_tests::app::App;
use keyref_tests::dapr::{Change, DAPR, GetItems, get};
use keyref_tests::metrics::scrape;
use keyref_tests::server::{Answer, Server, Stream, refused};
use keyref_tests::{Run, folder, stderr};
use tempfile::TempDir;

/// What anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long nothing may come before nothing comes.
const SILENCE: Duration = Duration::from_millis(1200);
const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What an API server does with a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mood {
    Well,
    /// Answers with this status. The store itself asks again after 500 and more, and not after 418,
    /// which is none of an API server.
    Status(u16),
    Silent,
}

/// An API server that has one Secret and one ConfigMap, and its moods.
struct Backend {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    asked: AtomicUsize,
    /// What is done with the next questions, and with all after them.
    moods: Mutex<(Vec<Mood>, Mood)>,
}

impl Backend {
    fn start() -> Self {
        let listener = TcpListener::bind(FREE).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            asked: AtomicUsize::new(0),
            moods: Mutex::new((Vec::new(), Mood::Well)),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.answer(stream.unwrap()));
            }
        });
        Self { address, state }
    }

    /// Does these next, and then that.
    fn set(&self, next: &[Mood], then: Mood) {
        *self.state.moods.lock().unwrap() = (next.to_vec(), then);
        self.state.asked.store(0, Ordering::Relaxed);
    }

    /// How often it was asked since then.
    fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).unwrap_or_default() == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let mood = {
            let mut moods = self.moods.lock().unwrap();
            let is_more = !moods.0.is_empty();
            if is_more { moods.0.remove(0) } else { moods.1 }
        };
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (status, body) = match mood {
            Mood::Silent => {
                // Until the other side gives up.
                drop(stream.read(&mut byte));
                return;
            }
            Mood::Status(status) => (status, "{}"),
            Mood::Well => content(&String::from_utf8(head).unwrap()),
        };
        let answer = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        drop(stream.write_all(answer.as_bytes()));
    }
}

fn content(head: &str) -> (u16, &'static str) {
    let is_for = |path: &str| head.starts_with(&format!("GET /api/v1/namespaces/default/{path}"));
    if is_for("secrets/redis") {
        // `s3cr3t`
        let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"redis"},"data":{"key":"czNjcjN0"}}"#;
        (200, secret)
    } else if is_for("configmaps") {
        let list = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"map","resourceVersion":"1"},"data":{"a":"one"}}]}"#;
        (200, list)
    } else {
        let absent = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","details":{"kind":"secrets"},"code":404}"#;
        (404, absent)
    }
}

const STORES: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: kube}
spec: {type: secretstores.kubernetes, version: v1, metadata: []}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: map}
spec:
  type: configuration.kubernetes
  version: v1
  metadata:
  - {name: configMapName, value: map}
";

/// A Resiliency document.
fn resiliency(policies: &str, targets: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: patience}}\n\
         spec:\n  policies:\n    {policies}\n  targets:\n    {targets}\n"
    )
}

/// A server of both stores.
fn kubeconfig(backend: &Backend) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
         users: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u, namespace: default}}}}]\n",
        backend.address
    )
}

fn serve(backend: &Backend, resiliency: &str, arguments: &[&str]) -> (TempDir, Server) {
    let config = kubeconfig(backend);
    let scopes = "kind: Configuration\nspec:\n  secrets:\n    scopes:\n    \
                  - {storeName: kube, deniedSecrets: [denied]}\n";
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("r/resiliency.yaml", resiliency.as_bytes()),
        ("c.yaml", scopes.as_bytes()),
        ("kubeconfig", config.as_bytes()),
    ]);
    let given = ["--resources", "r", "--config", "c.yaml", "--app-id", "app"];
    let path = work.path().join("kubeconfig");
    let variables = [
        ("KUBECONFIG", path.to_str().unwrap()),
        ("NAMESPACE", "default"),
    ];
    let server = Server::start(work.path(), &[&given, arguments].concat(), &variables);
    (work, server)
}

fn read(server: &Server, secret: &str) -> Answer {
    server.ask(&format!("GET /v1.0/secrets/kube/{secret}"))
}

/// The status, and keyref's class of a failure.
fn class(answer: &Answer) -> (u16, &str) {
    let class = answer.headers.get("keyref-class");
    (answer.status, class.map_or("", String::as_str))
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

const FAILING: Mood = Mood::Status(418);

#[test]
fn a_store_that_fails_is_asked_again_and_what_it_answers_is_its_answer() {
    let backend = Backend::start();
    let document = resiliency(
        "retries: {thrice: {duration: 20ms, maxRetries: 3}}",
        "components: {kube: {outbound: {retry: thrice}}, map: {outbound: {retry: thrice}}}",
    );
    let (_work, server) = serve(&backend, &document, &[]);
    backend.set(&[FAILING; 2], Mood::Well);
    let answer = read(&server, "redis");
    assert_eq!(answer.body, "{\"key\":\"s3cr3t\"}\n");
    assert_eq!(backend.asked(), 3);
    server.wait_for_log("Error processing operation component[kube] output. Retrying in 20ms");
    server.wait_for_log("Recovered processing operation component[kube] output after 3 attempts");
    backend.set(&[FAILING; 3], Mood::Well);
    assert_eq!(get(&server, "kube", "redis", &[]).status, 0);
    assert_eq!(backend.asked(), 4);
    backend.set(&[FAILING; 3], Mood::Well);
    let items = server.ask("GET /v1.0/configuration/map?key=a");
    assert!(items.body.contains("one"), "{items:?}");
    assert_eq!(backend.asked(), 4);
    // As often as is said, and no more.
    backend.set(&[], FAILING);
    assert_eq!(class(&read(&server, "redis")), (500, "unreachable"));
    assert_eq!(backend.asked(), 4);
    // That there is nothing, or that it may not, is an answer.
    for (mood, secret, expected, asked) in [
        (Mood::Well, "nobody", (500, "secret-absent"), 1),
        (Mood::Status(403), "redis", (500, "backend-denied"), 1),
        (FAILING, "denied", (403, "policy-denied"), 0),
    ] {
        backend.set(&[], mood);
        assert_eq!(class(&read(&server, secret)), expected, "{secret}");
        assert_eq!(backend.asked(), asked, "{secret}");
    }
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn retries_without_pauses_do_not_keep_a_core_busy() {
    let backend = Backend::start();
    let document = resiliency(
        "retries: {now: {duration: 0s, maxRetries: 3}}",
        "components: {kube: {outbound: {retry: now}}}",
    );
    let (_work, server) = serve(&backend, &document, &[]);
    backend.set(&[], FAILING);
    assert_eq!(class(&read(&server, "redis")), (500, "unreachable"));
    assert_eq!(backend.asked(), 4);
    server.wait_for_log("Error processing operation component[kube] output. Retrying in 1ms");
}

#[test]
fn in_dapr_mode_a_breaker_that_is_not_there_is_told_and_is_none() {
    let backend = Backend::start();
    let document = resiliency(
        "circuitBreakers: {cb: {trip: 'consecutiveFailures >= 1', timeout: 1h}}",
        "components: {kube: {outbound: {circuitBreaker: nobody}}, map: {outbound: {circuitBreaker: cb}}}",
    );
    let (_work, server) = serve(&backend, &document, &["--mode", "dapr"]);
    server.wait_for_log("there is no circuit breaker policy of this name");
    backend.set(&[], FAILING);
    for _ in 0..10 {
        assert_eq!(class(&read(&server, "redis")), (500, "unreachable"));
    }
    backend.set(&[], Mood::Well);
    assert_eq!(read(&server, "redis").status, 200);
    // What else the document says counts.
    backend.set(&[], FAILING);
    let items = || server.ask("GET /v1.0/configuration/map?key=a");
    assert_eq!(class(&items()), (500, "unreachable"));
    assert_eq!(class(&items()), (500, "circuit-open"));
}

#[test]
fn a_timeout_cuts_what_hangs_and_each_attempt_has_its_own() {
    let backend = Backend::start();
    let document = resiliency(
        "timeouts: {DefaultTimeoutPolicy: 300ms}\n    \
         retries: {DefaultComponentOutboundRetryPolicy: {duration: 10ms, maxRetries: 1}}",
        "{}",
    );
    let (_work, server) = serve(&backend, &document, &[]);
    backend.set(&[], Mood::Silent);
    let begin = Instant::now();
    let answer = read(&server, "redis");
    assert_eq!(class(&answer), (500, "timed-out"));
    assert!(
        answer.body.contains("context deadline exceeded"),
        "{answer:?}"
    );
    // Without it the store itself gives up after 10 s.
    assert!(begin.elapsed() < Duration::from_secs(8), "{begin:?}");
    assert!(begin.elapsed() >= Duration::from_millis(600), "{begin:?}");
    backend.set(&[Mood::Silent], Mood::Well);
    assert_eq!(read(&server, "redis").status, 200);
    assert_eq!(backend.asked(), 2);
    let metrics = scrape(&server, "/");
    let name = "dapr_resiliency_activations_total";
    for policy in ["timeout", "retry"] {
        let labels = [("policy", policy), ("target", "Secretstore_kube")];
        assert!(
            (metrics.sum(name, &labels) - 2.0).abs() < f64::EPSILON,
            "{policy}"
        );
    }
}

fn breaker(trip: &str, timeout: &str) -> String {
    resiliency(
        &format!("circuitBreakers: {{cb: {{timeout: {timeout}, trip: '{trip}'}}}}"),
        "components: {kube: {outbound: {circuitBreaker: cb}}}",
    )
}

fn number(server: &Server, name: &str, labels: &[(&str, &str)]) -> u32 {
    let sum = scrape(server, "/").sum(name, labels);
    (0..100)
        .find(|number| (f64::from(*number) - sum).abs() < 0.5)
        .unwrap()
}

#[test]
fn a_breaker_opens_answers_for_itself_and_closes() {
    let backend = Backend::start();
    let document = breaker("consecutiveFailures >= 2", "1s");
    let (_work, server) = serve(&backend, &document, &[]);
    let state = |status| number(&server, "dapr_resiliency_cb_state", &[("status", status)]);
    assert_eq!(
        (state("closed"), state("open"), state("unknown")),
        (1, 0, 0)
    );
    backend.set(&[], Mood::Status(403));
    for _ in 0..4 {
        assert_eq!(class(&read(&server, "redis")), (500, "backend-denied"));
    }
    backend.set(&[], FAILING);
    for _ in 0..2 {
        assert_eq!(class(&read(&server, "redis")), (500, "unreachable"));
    }
    let answer = read(&server, "redis");
    assert_eq!(class(&answer), (500, "circuit-open"));
    assert_eq!(
        answer.body,
        "{\"errorCode\":\"ERR_SECRET_GET\",\"message\":\"failed getting secret with key redis \
         from secret store kube: circuit breaker is open\"}"
    );
    let reply = get(&server, "kube", "redis", &[]);
    assert_eq!(reply.status, 13);
    assert!(reply.text.ends_with("circuit breaker is open"), "{reply:?}");
    assert_eq!(backend.asked(), 2);
    // Policy is asked first, whatever the breaker says.
    assert_eq!(class(&read(&server, "denied")), (403, "policy-denied"));
    let labels = [
        ("flow_direction", "outbound"),
        ("name", "patience"),
        ("policy", "circuitbreaker"),
        ("status", "open"),
        ("target", "Secretstore_kube"),
    ];
    assert_eq!(
        number(&server, "dapr_resiliency_activations_total", &labels),
        1
    );
    assert_eq!(number(&server, "dapr_resiliency_count", &labels), 2);
    assert_eq!(number(&server, "dapr_resiliency_loaded", &labels[1..2]), 1);
    backend.set(&[], Mood::Well);
    until("it closes", || read(&server, "redis").status == 200);
    assert_eq!((state("closed"), state("open")), (1, 0));
    server.wait_for_log("changed state from closed to open");
    server.wait_for_log("changed state from half-open to closed");
}

/// What is kept needs no store, so no breaker stands before it.
#[test]
fn what_is_kept_is_given_out_while_a_breaker_is_open() {
    let backend = Backend::start();
    let document = breaker("consecutiveFailures >= 1", "1h");
    let (_work, server) = serve(&backend, &document, &["--cache", "kube=500ms,stale=1h"]);
    assert_eq!(read(&server, "redis").status, 200);
    backend.set(&[], FAILING);
    until("the breaker opens", || {
        assert_eq!(read(&server, "redis").status, 200);
        number(&server, "dapr_resiliency_cb_state", &[("status", "open")]) == 1
    });
    // For longer than a store that cannot be reached is left alone.
    thread::sleep(Duration::from_millis(1500));
    let answer = read(&server, "redis");
    assert_eq!(answer.headers["keyref-stale"], "true");
    assert_eq!(backend.asked(), 1);
}

#[test]
fn a_breaker_says_nothing_of_another_backend() {
    let (backend, other) = (Backend::start(), Backend::start());
    let document = breaker("consecutiveFailures >= 1", "1h");
    let (work, server) = serve(&backend, &document, &[]);
    backend.set(&[], FAILING);
    assert_eq!(class(&read(&server, "redis")), (500, "unreachable"));
    assert_eq!(class(&read(&server, "redis")), (500, "circuit-open"));
    let path = work.path().join("other");
    fs::write(&path, kubeconfig(&other)).unwrap();
    let item = format!("[{{name: kubeconfigPath, value: {}}}]", path.display());
    let exchanged = STORES.replacen("[]", &item, 1);
    fs::write(work.path().join("r/stores.yaml"), exchanged).unwrap();
    until("it is exchanged", || read(&server, "redis").status == 200);
    assert_eq!(other.asked(), 1);
}

#[test]
fn documents_that_change_count_at_once_and_broken_ones_count_as_before() {
    let backend = Backend::start();
    let open = breaker("consecutiveFailures >= 1", "1h");
    let (work, server) = serve(&backend, &open, &[]);
    let path = work.path().join("r/resiliency.yaml");
    backend.set(&[], FAILING);
    assert_eq!(class(&read(&server, "redis")), (500, "unreachable"));
    assert_eq!(class(&read(&server, "redis")), (500, "circuit-open"));
    // What is loaded anew without a change of the rule does not close it.
    fs::write(
        work.path().join("r/other.yaml"),
        STORES.replace("kube", "other").replace("map", "other"),
    )
    .unwrap();
    until("it is loaded", || server.log().contains("reloaded"));
    assert_eq!(class(&read(&server, "redis")), (500, "circuit-open"));
    fs::write(&path, open.replace("timeout:", "timeOut: 1h, time:")).unwrap();
    server.wait_for_log("Dapr does not know the field `time`");
    server.wait_for_log("resiliency.yaml` is served as it was before");
    assert_eq!(class(&read(&server, "redis")), (500, "circuit-open"));
    fs::write(&path, resiliency("timeouts: {a: 5s}", "components: {}")).unwrap();
    until("it no longer counts", || {
        class(&read(&server, "redis")) == (500, "unreachable")
    });
}

#[test]
fn a_broken_document_ends_the_start_with_its_place() {
    let run = |text: &str, arguments: &[&str]| {
        let work = folder(&[("r/resiliency.yaml", text.as_bytes())]);
        let arguments = [&["--resources", "r", "--app-id", "app"], arguments].concat();
        let (status, log) = refused(work.path(), &arguments, &[]);
        (status.code(), log)
    };
    let document = resiliency(
        "timeouts: {a: 5 seconds}",
        "components: {kube: {outbound: {retry: a}}}",
    );
    let (status, log) = run(&document, &[]);
    assert_eq!(status, Some(1));
    for part in ["r/resiliency.yaml:6:19", "this is no duration"] {
        assert!(log.contains(part), "{log}");
    }
    let (_, log) = run(&document.replace(" seconds", "s"), &[]);
    assert!(log.contains("r/resiliency.yaml:8:43"), "{log}");
    assert!(
        log.contains("there is no retry policy of this name"),
        "{log}"
    );
    // What would end the start is told before it.
    let work = folder(&[("r.yaml", document.as_bytes())]);
    let checked = Run::new(work.path(), &["check", "r.yaml"]).output();
    assert_eq!(checked.status.code(), Some(1));
    assert!(stderr(&checked).contains("r.yaml:6:19"), "{checked:?}");
    // As in Dapr, it does not count then; nor does one for other apps.
    let (_, log) = run(&document, &["--mode", "dapr"]);
    assert!(
        log.contains("this is no duration") && log.contains("dapr initialized"),
        "{log}"
    );
    let (_, log) = run(&format!("scopes: [other]\n{document}"), &[]);
    assert!(log.contains("dapr initialized"), "{log}");
}

const ITEMS: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cfg}
spec:
  type: configuration.local.file
  version: v1
  metadata:
  - {name: configFile, value: items.yaml}
";

/// A server of a file of items, and how to change it.
fn items(resiliency: &str, arguments: &[&str]) -> (TempDir, Server) {
    let work = folder(&[
        ("r/cfg.yaml", ITEMS.as_bytes()),
        ("r/resiliency.yaml", resiliency.as_bytes()),
        ("items.yaml", b"a: one\n"),
    ]);
    let arguments = [&["--resources", "r"], arguments].concat();
    let server = Server::start(work.path(), &arguments, &[]);
    (work, server)
}

fn write_items(work: &TempDir, items: &str) {
    fs::write(work.path().join("new.yaml"), items).unwrap();
    let [new, path] = ["new.yaml", "items.yaml"].map(|name| work.path().join(name));
    fs::rename(new, path).unwrap();
}

#[test]
fn an_app_that_refuses_is_told_again_as_often_as_is_said() {
    let document = resiliency(
        "retries: {twice: {duration: 50ms, maxRetries: 2}}",
        "components: {cfg: {inbound: {retry: twice}}}",
    );
    let app = App::start(FREE, "http", None, &[500, 500, 200, 500, 500, 500]);
    let port = app.address.port().to_string();
    let (work, server) = items(&document, &["--app-port", &port]);
    let answer = server.ask("GET /v1.0/configuration/cfg/subscribe");
    assert_eq!(answer.status, 200, "{answer:?}");
    let write = |items: &str| write_items(&work, items);
    let told = || String::from_utf8(app.told().body).unwrap();
    write("a: two\n");
    for _ in 0..3 {
        assert!(told().contains("two"));
    }
    server.wait_for_log("Recovered processing operation component[cfg] input after 3 attempts");
    write("a: three\n");
    for _ in 0..3 {
        assert!(told().contains("three"));
    }
    server.wait_for_log("error sending configuration item to the app: status 500");
    assert!(app.is_silent(SILENCE));
    write("a: four\n");
    assert!(told().contains("four"));
    let labels = [
        ("flow_direction", "inbound"),
        ("target", "Configuration_cfg"),
    ];
    assert_eq!(number(&server, "dapr_resiliency_count", &labels), 3);
    assert_eq!(
        number(&server, "dapr_resiliency_activations_total", &labels),
        2
    );
}

#[test]
fn a_breaker_that_an_app_opens_is_not_that_of_the_store() {
    let document = resiliency(
        "circuitBreakers: {cb: {trip: 'consecutiveFailures >= 1', timeout: 1h}}",
        "components: {cfg: {inbound: {circuitBreaker: cb}, outbound: {circuitBreaker: cb}}}",
    );
    let app = App::start(FREE, "http", None, &[500; 100]);
    let port = app.address.port().to_string();
    let (work, server) = items(&document, &["--app-port", &port]);
    let read = || server.ask("GET /v1.0/configuration/cfg?key=a");
    assert_eq!(read().status, 200);
    let answer = server.ask("GET /v1.0/configuration/cfg/subscribe");
    assert_eq!(answer.status, 200, "{answer:?}");
    write_items(&work, "a: two\n");
    app.told();
    let state = |flow, status| {
        let labels = [("flow_direction", flow), ("status", status)];
        number(&server, "dapr_resiliency_cb_state", &labels)
    };
    until("its breaker opens", || state("inbound", "open") == 1);
    assert_eq!(
        (state("outbound", "closed"), state("outbound", "open")),
        (1, 0)
    );
    for _ in 0..3 {
        assert!(read().body.contains("two"), "{:?}", read());
    }
    let answer = server.ask("GET /v1.0/configuration/cfg/subscribe?key=a");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_timeout_is_for_beginning_a_subscription_which_goes_on() {
    let document = resiliency(
        "timeouts: {short: 300ms}",
        "components: {cfg: {outbound: {timeout: short}, inbound: {timeout: short}}}",
    );
    let (work, server) = items(&document, &[]);
    let request = GetItems {
        store: "cfg".to_owned(),
        keys: vec!["a".to_owned()],
    };
    let method = format!("{DAPR}/SubscribeConfiguration");
    let mut stream = Stream::open(server.grpc, &method, &request, &[]);
    let first: Change = stream.receive().unwrap();
    assert!(!first.id.is_empty());
    let labels = [("flow_direction", "outbound"), ("policy", "timeout")];
    assert_eq!(number(&server, "dapr_resiliency_count", &labels), 1);
    // Several times as long.
    assert!(stream.is_silent(SILENCE));
    for value in ["two", "three"] {
        write_items(&work, &format!("a: {value}\n"));
        let change: Change = stream.receive().expect("it goes on");
        assert_eq!(change.items["a"].value, value);
    }
}

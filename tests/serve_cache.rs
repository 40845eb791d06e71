//! `keyref serve --cache` where the backend of a store goes away and comes back.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use keyref_tests::dapr::{DAPR, GetSecret, Secret};
use keyref_tests::folder;
use keyref_tests::metrics::scrape;
use keyref_tests::server::{Answer, Reply, Server, refused};

/// What anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// An API server that has one Secret, and can go away.
struct Backend {
    address: SocketAddr,
    is_away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (is_away, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stop, count) = (Arc::clone(&is_away), Arc::clone(&asked));
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                answer(stream.unwrap(), &count);
            }
        });
        Self {
            address,
            is_away,
            asked,
            thread: Some(thread),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Goes away; its address.
    fn go(mut self) -> SocketAddr {
        self.is_away.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
        self.address
    }
}

fn answer(mut stream: TcpStream, asked: &AtomicUsize) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or_default() == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let (status, body) = if head.starts_with("GET /api/v1/namespaces/default/secrets/redis") {
        asked.fetch_add(1, Ordering::Relaxed);
        // `s3cr3t`
        let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"redis"},"data":{"key":"czNjcjN0"}}"#;
        ("200 OK", secret)
    } else {
        let absent = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","details":{"kind":"secrets"},"code":404}"#;
        ("404 Not Found", absent)
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    drop(stream.write_all(answer.as_bytes()));
}

fn serve(work: &Path, backend: &Backend, arguments: &[&str]) -> Server {
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
         users: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u, namespace: default}}}}]\n",
        backend.address
    );
    fs::write(work.join("kubeconfig"), config).unwrap();
    let arguments = [&["--resources", "r", "--config", "c.yaml"], arguments].concat();
    let path = work.join("kubeconfig");
    let variables = [
        ("KUBECONFIG", path.to_str().unwrap()),
        ("NAMESPACE", "default"),
    ];
    Server::start(work, &arguments, &variables)
}

const STORE: &[u8] = b"apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: kube}\n\
                       spec: {type: secretstores.kubernetes, version: v1, metadata: []}\n";

fn work() -> tempfile::TempDir {
    folder(&[
        ("r/kube.yaml", STORE),
        ("c.yaml", b"kind: Configuration\nspec: {}\n"),
    ])
}

fn read(server: &Server) -> Answer {
    server.ask("GET /v1.0/secrets/kube/redis")
}

/// Reads until an answer is as it should be; when that one was asked for.
fn until(server: &Server, expected: (u16, Option<&str>)) -> Instant {
    let begin = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = read(server);
        let stale = answer.headers.get("keyref-stale").map(String::as_str);
        if (answer.status, stale) == expected {
            return asked;
        }
        let is_late = begin.elapsed() > PATIENCE;
        assert!(!is_late, "{answer:?}, not {expected:?}\n{}", server.log());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_backend_that_goes_away_is_answered_for_until_the_bound_and_heard_when_it_is_back() {
    let work = work();
    let backend = Backend::start("127.0.0.1:0".parse().unwrap());
    let server = serve(work.path(), &backend, &["--cache", "kube=2s,stale=4s"]);
    let first = read(&server);
    assert_eq!(
        (first.status, first.body.as_str()),
        (200, "{\"key\":\"s3cr3t\"}\n")
    );
    let last = Instant::now();
    assert_eq!(first.headers.get("keyref-stale"), None);
    assert_eq!(read(&server).status, 200);
    assert_eq!(backend.asked(), 1);
    let address = backend.go();
    // Kept, then given out after its time, which the answer says over both protocols.
    until(&server, (200, Some("true")));
    let ask = GetSecret {
        store: "kube".to_owned(),
        key: "redis".to_owned(),
        ..GetSecret::default()
    };
    let reply: Reply<Secret> = server.call(&format!("{DAPR}/GetSecret"), &ask, &[]);
    assert_eq!(reply.status, 0, "{}", reply.text);
    assert_eq!(reply.head["keyref-stale"], "true");
    assert_eq!(reply.message.unwrap().data["key"], "s3cr3t");
    server.wait_for_log("the store cannot be reached");
    // And not once more after the bound: 1.1 times 2 s, and 4 s.
    let bound = Duration::from_millis(6_200);
    while last.elapsed() < bound {
        read(&server);
        thread::sleep(Duration::from_millis(20));
    }
    let beyond = read(&server);
    assert_eq!(beyond.status, 500, "{beyond:?}");
    assert_eq!(beyond.headers["keyref-class"], "unreachable");
    let backend = Backend::start(address);
    until(&server, (200, None));
    assert!(backend.asked() > 0);
    server.wait_for_log("the store answers again");
    let metrics = scrape(&server, "/metrics");
    for outcome in ["hit", "miss", "stale"] {
        let reads = metrics.sum("keyref_cache_reads_total", &[("outcome", outcome)]);
        assert!(reads >= 1.0, "{outcome}: {}", metrics.text);
    }
    assert!((metrics.sum("keyref_cache_entries", &[]) - 1.0).abs() < f64::EPSILON);
    let log = server.log();
    assert_eq!(log.matches("cannot be reached: what").count(), 1, "{log}");
    assert!(!log.contains("s3cr3t"), "{log}");
    backend.go();
}

#[test]
fn without_cache_each_read_asks_and_with_it_a_denial_and_a_reload_count_at_once() {
    let work = work();
    let backend = Backend::start("127.0.0.1:0".parse().unwrap());
    let plain = serve(work.path(), &backend, &[]);
    for _ in 0..3 {
        assert_eq!(read(&plain).status, 200);
    }
    assert_eq!(backend.asked(), 3);
    assert!(!scrape(&plain, "/metrics").text.contains("keyref_cache"));
    drop(plain);
    let arguments = ["--cache", "*=1h,stale=1h", "--cache", "slip=1s"];
    let server = serve(work.path(), &backend, &arguments);
    server.wait_for_log("is for a secret store that is not there");
    for _ in 0..3 {
        assert_eq!(read(&server).status, 200);
    }
    assert_eq!(backend.asked(), 4);
    // A store that is taken over keeps what it said.
    fs::write(work.path().join("r/other.yaml"), STORE_OF_VARIABLES).unwrap();
    server.wait_for_log("reloaded");
    assert_eq!(read(&server).status, 200);
    assert_eq!(backend.asked(), 4);
    // One that is opened again does not.
    server.signal("HUP");
    let begin = Instant::now();
    while backend.asked() == 4 {
        assert_eq!(read(&server).status, 200);
        assert!(begin.elapsed() < PATIENCE, "{}", server.log());
    }
    let scope = "kind: Configuration\nspec: {secrets: {scopes: [{storeName: kube, \
                 deniedSecrets: [redis]}]}}\n";
    fs::write(work.path().join("c.yaml"), scope).unwrap();
    until(&server, (403, None));
    backend.go();
}

const STORE_OF_VARIABLES: &[u8] =
    b"apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: env}\n\
      spec: {type: secretstores.local.env, version: v1, metadata: []}\n";

#[test]
fn a_rule_that_is_none_is_refused_with_what_would_be_one() {
    let work = work();
    for (rules, said) in [
        (&["--cache", "kube=5"][..], "write one such as `30s`"),
        (&["--cache", "kube=5s,stail=1m"], "there is no `stail`"),
        (
            &["--cache", "kube=5s", "--cache", "kube=6s"],
            "is given twice",
        ),
    ] {
        let (status, log) = refused(work.path(), rules, &[]);
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains(said), "{log}");
    }
}

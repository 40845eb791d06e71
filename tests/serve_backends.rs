//! What backends do wrong: the request that needs one fails in time and says of what class, all others
//! are answered meanwhile, and nothing that a backend said is in the log.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyref_tests::backends::{Backend, PASSWORD, Postgresql, Redis};
use keyref_tests::dapr::{DAPR, GetItems, GetSecret, Secret, bulk, get};
use keyref_tests::faulty::{ApiServer, CANARY, Fault, Gateway};
use keyref_tests::library::{block_on, shortest};
use keyref_tests::server::{Answer, Reply, Server, Stream, call_over};
use keyref_tests::tls::Authority;
use keyref_tests::{Run, folder, json, keyref};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a request may take.
const TIME: Duration = Duration::from_secs(4);
/// What it may take beyond that on a machine that others use as well.
const NOISE: Duration = Duration::from_secs(4);
/// How long anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

fn component(name: &str, kind: &str, items: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
         spec: {{type: {kind}, version: v1, metadata: [{items}]}}\n"
    )
}

/// A file in `r` for a store of secrets from an API server, whose kubeconfig is `NAME.kube`.
fn add(work: &TempDir, name: &str, server: &ApiServer) {
    let text = server.store(name, work.path());
    fs::write(work.path().join(format!("r/{name}.yaml")), text).unwrap();
}

/// A folder with a store of a file that has nothing to do with any backend.
fn work() -> TempDir {
    let file = component(
        "file",
        "secretstores.local.file",
        "{name: secretsFile, value: secrets.json}",
    );
    folder(&[
        ("r/file.yaml", file.as_bytes()),
        ("secrets.json", br#"{"key": "s3cr3t"}"#),
    ])
}

fn start(work: &TempDir, arguments: &[&str]) -> Server {
    let arguments = [&["--resources", "r", "--namespace", "default"], arguments].concat();
    Server::start(work.path(), &arguments, &[])
}

/// Asks for somebody else's secrets over and over while some work goes on, and sees that each is
/// answered at once.
fn others_are_answered<T>(server: &Server, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            loop {
                let begin = Instant::now();
                assert_eq!(server.ask("GET /v1.0/secrets/file/key").status, 200);
                assert_eq!(get(server, "file", "key", &[]).status, 0);
                assert!(begin.elapsed() < Duration::from_secs(2));
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        // Ends the other thread where this one fails.
        let ending = Ending(&is_over);
        let done = work();
        drop(ending);
        asking.join().unwrap();
        done
    })
}

/// Tells others that it is over, however it ends.
struct Ending<'e>(&'e AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn is_discreet(server: &Server) {
    let log = server.log();
    assert!(!log.contains("s3cr3t") && !log.contains(CANARY), "{log}");
}

fn class(answer: &Answer) -> &str {
    &answer.headers["keyref-class"]
}

/// The classes that a fault may be of.
fn expected(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Hang | Fault::Drip => &["timed-out"],
        Fault::Throttle => &["throttled"],
        // As much as is read of it takes a while.
        Fault::Endless => &["unreachable", "timed-out"],
        _ => &["unreachable"],
    }
}

#[test]
fn secrets_of_an_api_server_that_misbehaves_fail_alone() {
    let work = work();
    let backends = Fault::ALL.map(ApiServer::start);
    let name = |fault: Fault| format!("{fault:?}").to_lowercase();
    for (fault, backend) in Fault::ALL.into_iter().zip(&backends) {
        add(&work, &name(fault), backend);
    }
    let server = start(&work, &["--timeout", "4"]);
    let before = server.resident();
    others_are_answered(&server, || {
        thread::scope(|scope| {
            for fault in Fault::ALL {
                let (server, name) = (&server, name(fault));
                scope.spawn(move || {
                    for path in ["key", "bulk"] {
                        let begin = Instant::now();
                        let answer = server.ask(&format!("GET /v1.0/secrets/{name}/{path}"));
                        let elapsed = begin.elapsed();
                        assert_eq!(answer.status, 500, "{fault:?}: {answer:?}");
                        assert!(answer.body.contains("ERR_SECRET_GET"), "{answer:?}");
                        assert!(!answer.body.contains(CANARY), "{answer:?}");
                        let class = class(&answer);
                        assert!(expected(fault).contains(&class), "{fault:?}: {answer:?}");
                        assert!(elapsed < TIME + NOISE, "{fault:?}: {elapsed:?}");
                    }
                    let reply = get(server, &name, "key", &[]);
                    let class = reply.details[0].metadata["keyref-class"].as_str();
                    assert_eq!(reply.status, 13, "{fault:?}: {}", reply.text);
                    assert!(expected(fault).contains(&class), "{fault:?}: {class}");
                    assert!(!reply.text.contains(CANARY), "{}", reply.text);
                    assert_eq!(bulk(server, &name, &[]).status, 13, "{fault:?}");
                });
            }
        });
    });
    // An answer is read up to 256 MiB, one at a time, and held twice while its place grows.
    let grown = server.most_resident().saturating_sub(before);
    assert!(grown < 640 << 10, "{grown} KiB");
    is_discreet(&server);
    // And is well again as soon as the backend is.
    for (fault, backend) in Fault::ALL.into_iter().zip(&backends) {
        backend.set(Fault::None);
        let begin = Instant::now();
        let ask = format!("GET /v1.0/secrets/{}/key", name(fault));
        while server.ask(&ask).body != "{\"key\":\"s3cr3t\"}\n" {
            assert!(
                begin.elapsed() < PATIENCE,
                "{fault:?}: {:?}",
                server.ask(&ask)
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn many_requests_of_a_store_that_hangs_hold_up_no_other_and_little_memory() {
    let work = work();
    let backend = ApiServer::start(Fault::Hang);
    add(&work, "hangs", &backend);
    let server = start(&work, &["--timeout", "4"]);
    let before = server.resident();
    others_are_answered(&server, || {
        thread::scope(|scope| {
            for number in 0..200 {
                let server = &server;
                scope.spawn(move || {
                    let answer = server.ask(&format!("GET /v1.0/secrets/hangs/s{number}"));
                    assert_eq!(class(&answer), "timed-out");
                });
            }
        });
    });
    let grown = server.most_resident().saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} KiB");
    is_discreet(&server);
}

#[test]
fn items_of_an_api_server_that_misbehaves_fail_alone() {
    let work = work();
    let backends = Fault::ALL.map(ApiServer::start);
    let name = |fault: Fault| format!("{fault:?}").to_lowercase();
    for (fault, backend) in Fault::ALL.into_iter().zip(&backends) {
        let path = work.path().join(format!("{}.kube", name(fault)));
        fs::write(&path, backend.kubeconfig()).unwrap();
        let items = format!(
            "{{name: kubeconfigPath, value: {}}}, {{name: configMapName, value: settings}}",
            path.display()
        );
        let text = component(&name(fault), "configuration.kubernetes", &items);
        fs::write(work.path().join(format!("r/{}.yaml", name(fault))), text).unwrap();
    }
    let server = start(&work, &["--timeout", "4"]);
    others_are_answered(&server, || {
        thread::scope(|scope| {
            for fault in Fault::ALL {
                let (server, name) = (&server, name(fault));
                scope.spawn(move || items_fail(server, &name, expected(fault)));
            }
        });
    });
    is_discreet(&server);
    for (fault, backend) in Fault::ALL.into_iter().zip(&backends) {
        backend.set(Fault::None);
        comes_back(&server, &name(fault), "key", "value");
    }
}

/// That items cannot be read, nor subscribed to, and that it is said in time of what class that is.
fn items_fail(server: &Server, store: &str, expected: &[&str]) {
    let begin = Instant::now();
    let answer = server.ask(&format!("GET /v1.0/configuration/{store}?key=key"));
    let elapsed = begin.elapsed();
    assert_eq!(answer.status, 500, "{store}: {answer:?}");
    assert!(expected.contains(&class(&answer)), "{store}: {answer:?}");
    assert!(!answer.body.contains(CANARY), "{answer:?}");
    assert!(elapsed < TIME + NOISE, "{store}: {elapsed:?}");
    let request = GetItems {
        store: store.to_owned(),
        keys: vec!["key".to_owned()],
    };
    let begin = Instant::now();
    let method = format!("{DAPR}/SubscribeConfiguration");
    let stream = Stream::open(server.grpc, &method, &request, &[]);
    // Dapr's own status for it.
    assert_eq!(stream.status, Some(3), "{store}");
    let elapsed = begin.elapsed();
    assert!(elapsed < TIME + NOISE, "{store}: {elapsed:?}");
}

/// Waits until an item is read.
fn comes_back(server: &Server, store: &str, key: &str, value: &str) {
    let begin = Instant::now();
    loop {
        let answer = server.ask(&format!("GET /v1.0/configuration/{store}?key={key}"));
        if answer.status == 200 && answer.body.contains(&format!("\"value\":\"{value}\"")) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{store}: {answer:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// How bytes go astray on the way to a backend.
const ASTRAY: [Fault; 6] = [
    Fault::Hang,
    Fault::Refuse,
    Fault::NoHttp,
    Fault::Endless,
    Fault::HalfClose,
    Fault::Drip,
];

/// A backend behind a gateway: each fault of it, and the time after.
fn behind_a_gateway(mut backend: impl Backend, port: u16, faults: &[Fault]) {
    let work = work();
    let gateway = Gateway::to(port);
    let text = backend.component();
    let there = text.replace(&port.to_string(), &gateway.port.to_string());
    assert_ne!(text, there);
    let vault = component(
        "vault",
        "secretstores.local.file",
        "{name: secretsFile, value: vault.json}, {name: multiValued, value: 'true'}",
    );
    let secrets = format!(r#"{{"backend": {{"password": "{PASSWORD}"}}}}"#);
    for (path, text) in [
        ("r/cfg.yaml", &there),
        ("r/vault.yaml", &vault),
        ("vault.json", &secrets),
    ] {
        fs::write(work.path().join(path), text).unwrap();
    }
    let server = start(&work, &["--timeout", "4"]);
    backend.set("key", "first");
    comes_back(&server, "cfg", "key", "first");
    let before = server.resident();
    for &fault in faults {
        gateway.set(fault);
        // A client that speaks of its own accord may find a refusal, or silence.
        let classes = ["unreachable", "timed-out"];
        let classes = if matches!(fault, Fault::Hang | Fault::Drip) {
            &classes[1..]
        } else {
            &classes[..]
        };
        others_are_answered(&server, || items_fail(&server, "cfg", classes));
        gateway.set(Fault::None);
        let value = format!("after-{fault:?}");
        backend.set("key", &value);
        comes_back(&server, "cfg", "key", &value);
    }
    let grown = server.most_resident().saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} KiB");
    is_discreet(&server);
}

#[test]
fn redis_behind_a_faulty_gateway_fails_alone_and_comes_back() {
    let Some(redis) = Redis::new(&[]) else { return };
    let port = redis.port;
    behind_a_gateway(redis, port, &ASTRAY);
}

#[test]
fn postgresql_behind_a_faulty_gateway_fails_alone_and_comes_back() {
    let Some(postgresql) = Postgresql::new() else {
        return;
    };
    let port = postgresql.port;
    // The library believes a message's length, of up to 2 GiB, for as long as the request lasts.
    let bounded = ASTRAY.iter().copied();
    let bounded: Vec<_> = bounded.filter(|fault| *fault != Fault::Endless).collect();
    behind_a_gateway(postgresql, port, &bounded);
}

/// A component with a property from a store.
fn reference(name: &str, kind: &str, property: &str, store: &str) -> String {
    let item = format!("{{name: {property}, secretKeyRef: {{name: key, key: key}}}}");
    format!(
        "{}auth: {{secretStore: {store}}}\n",
        component(name, kind, &item)
    )
}

#[test]
fn a_store_that_hangs_takes_the_time_of_no_other_where_documents_are_resolved() {
    let work = work();
    let backend = ApiServer::start(Fault::Hang);
    add(&work, "hangs", &backend);
    let write = |name: &str, text: String| {
        fs::write(work.path().join(format!("r/{name}.yaml")), text).unwrap();
    };
    for number in 0..40 {
        let name = format!("a{number}");
        write(&name, reference(&name, "state.redis", "p", "hangs"));
    }
    // A store that needs the one that hangs, and one that needs another.
    let local = "secretstores.local.file";
    write("b", reference("b", local, "secretsFile", "hangs"));
    write("c", reference("c", local, "secretsFile", "names"));
    let names = component("names", local, "{name: secretsFile, value: names.json}");
    write("names", names);
    fs::write(work.path().join("names.json"), r#"{"key": "secrets.json"}"#).unwrap();
    write("needs-c", reference("needs-c", "state.redis", "p", "c"));
    write(
        "needs-file",
        reference("needs-file", "state.redis", "p", "file"),
    );
    let run = |arguments: &[&str]| Run::new(work.path(), arguments).output();
    // Before time counts.
    keyref();
    let begin = Instant::now();
    let resolve = ["resolve", "r", "--timeout", "3", "--namespace", "default"];
    let resolved = json(&run(
        &[&resolve[..], &["--reveal", "--format", "json"]].concat()
    ));
    let elapsed = begin.elapsed();
    let components = resolved["components"].as_array().unwrap();
    let find = |name: &str| {
        components
            .iter()
            .find(|component| component["name"] == name)
    };
    for name in ["needs-c", "needs-file"] {
        let component = find(name).unwrap_or_else(|| panic!("{name}: {resolved}"));
        assert_eq!(component["properties"]["p"], "s3cr3t", "{resolved}");
    }
    assert!(find("a0").is_none() && find("b").is_none(), "{resolved}");
    let problems = resolved["problems"].as_array().unwrap();
    assert!(
        problems
            .iter()
            .all(|problem| problem["class"] == "timed-out"),
        "{resolved}"
    );
    assert!(elapsed < Duration::from_secs(3) + NOISE, "{elapsed:?}");
    let get = ["get", "c", "key", "--resources", "r", "--timeout", "3"];
    let read = json(&run(&[
        &get[..],
        &["--namespace", "default", "--format", "json"],
    ]
    .concat()));
    assert_eq!(read["key"], "s3cr3t");
}

#[test]
fn a_store_that_hangs_delays_no_change_of_others_and_counts_once_it_answers() {
    let work = work();
    let backend = ApiServer::start(Fault::Hang);
    add(&work, "hangs", &backend);
    let server = start(&work, &[]);
    let local = "secretstores.local.file";
    let needy = reference("needy", local, "secretsFile", "hangs");
    fs::write(work.path().join("r/needy.yaml"), needy).unwrap();
    let items = reference("items", "configuration.local.file", "configFile", "hangs");
    fs::write(work.path().join("r/items.yaml"), items).unwrap();
    server.wait_for_log("there was no answer before the deadline");
    let mut round = 0;
    let mut change = |store: &str, write: &dyn Fn(&str)| {
        round += 1;
        let value = format!("v{round}");
        write(&value);
        let begin = Instant::now();
        let ask = format!("GET /v1.0/secrets/{store}/key");
        while !server.ask(&ask).body.contains(&value) {
            assert!(begin.elapsed() < PATIENCE, "{}", server.log());
            thread::sleep(Duration::from_millis(10));
        }
        begin.elapsed()
    };
    let limit = Duration::from_secs(1);
    for _ in 0..5 {
        let elapsed = shortest(limit, || {
            change("file", &|value| {
                let text = format!("{{\"key\": \"{value}\"}}");
                fs::write(work.path().join("secrets.json"), text).unwrap();
            })
        });
        assert!(elapsed < limit, "{elapsed:?}");
        let elapsed = shortest(limit, || {
            change("other", &|value| {
                let name = format!("{value}.json");
                let text = format!("{{\"key\": \"{value}\"}}");
                fs::write(work.path().join(&name), text).unwrap();
                let item = format!("{{name: secretsFile, value: {name}}}");
                let text = component("other", local, &item);
                fs::write(work.path().join("r/other.yaml"), text).unwrap();
            })
        });
        assert!(elapsed < limit, "{elapsed:?}");
        // In the middle of a longer attempt, now and then.
        thread::sleep(Duration::from_millis(700));
    }
    is_discreet(&server);
    // The value is the path of a file.
    fs::write(work.path().join("s3cr3t"), r#"{"key": "found"}"#).unwrap();
    backend.set(Fault::None);
    let begin = Instant::now();
    while !server
        .ask("GET /v1.0/secrets/needy/key")
        .body
        .contains("found")
    {
        assert!(begin.elapsed() < PATIENCE, "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Asks over HTTP for a secret that takes a while, in a connection that is there.
async fn ask_late(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let head = "GET /v1.0/secrets/late/key HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("{\"key\":\"s3cr3t\"}\n"), "{answer}");
}

/// The same over gRPC.
async fn call_late(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let request = GetSecret {
        store: "late".to_owned(),
        key: "key".to_owned(),
        metadata: [].into(),
    };
    let method = format!("{DAPR}/GetSecret");
    let reply: Reply<Secret> = call_over(stream, &method, &request, &[]).await;
    assert_eq!(reply.status, 0, "{}", reply.text);
    assert_eq!(reply.message.unwrap().data["key"], "s3cr3t");
}

/// Tells the server to end a while later, and waits until nobody can connect; when it was told.
async fn end_soon(server: &Server) -> Instant {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    server.signal("TERM");
    server.wait_for_log("shutting down");
    for address in [server.http, server.grpc] {
        // The listener goes a moment after it is said.
        while TcpStream::connect(address).await.is_ok() {
            assert!(begin.elapsed() < PATIENCE, "it still listens");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    begin
}

/// A folder with a store that takes a while, and items; the server of it must end in order.
fn late(arguments: &[&str]) -> (TempDir, Server) {
    let work = work();
    let backend = ApiServer::start(Fault::Late(Duration::from_secs(2)));
    add(&work, "late", &backend);
    let items = "{name: configFile, value: items.yaml}";
    let items = component("items", "configuration.local.file", items);
    fs::write(work.path().join("r/items.yaml"), items).unwrap();
    fs::write(work.path().join("items.yaml"), "a: 1\n").unwrap();
    let graceful = ["--dapr-graceful-shutdown-seconds", "40"];
    let server = start(&work, &[&graceful, arguments].concat());
    (work, server)
}

fn has_ended(mut server: Server, begin: Instant) {
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    let elapsed = begin.elapsed();
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    is_discreet(&server);
}

#[test]
fn requests_under_way_are_answered_at_the_end() {
    let (_work, server) = late(&[]);
    // One that watches, and does not even listen, is no reason to wait.
    let request = GetItems {
        store: "items".to_owned(),
        keys: Vec::new(),
    };
    let method = format!("{DAPR}/SubscribeConfiguration");
    let watching = Stream::open(server.grpc, &method, &request, &[]);
    let begin = block_on(async {
        let ask = async { ask_late(TcpStream::connect(server.http).await.unwrap()).await };
        let call = async { call_late(TcpStream::connect(server.grpc).await.unwrap()).await };
        tokio::join!(ask, call, end_soon(&server)).2
    });
    has_ended(server, begin);
    drop(watching);
}

#[test]
fn requests_under_way_are_answered_at_the_end_over_tls() {
    let keys = tempfile::tempdir().unwrap();
    let authority = Authority::make(keys.path(), "authority");
    authority.sign("server");
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("server.pem"), path("server.key"));
    let (_work, server) = late(&["--tls-cert", &certificate, "--tls-key", &key]);
    let begin = block_on(async {
        let client = |protocol| authority.client(None, &[protocol]);
        let ask = async { ask_late(client("http/1.1").connect(server.http).await.unwrap()).await };
        let call = async { call_late(client("h2").connect(server.grpc).await.unwrap()).await };
        tokio::join!(ask, call, end_soon(&server)).2
    });
    has_ended(server, begin);
}

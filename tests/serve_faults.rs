//! What clients do wrong, by mistake or on purpose: others are answered meanwhile, memory stays
//! bounded, and no value is in the log.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use keyref_tests::dapr::{DAPR, STORES, Secret, get, two_stores};
use keyref_tests::faulty::{ApiServer, Fault};
use keyref_tests::folder;
use keyref_tests::library::block_on;
use keyref_tests::server::{Reply, Server, ask_at, call_frame, connect};
use tempfile::TempDir;

const SECRET: &str = "GET /v1.0/secrets/file/redis";
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many connections are idle.
const IDLE: usize = 10_000;

fn stream(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What is answered to these bytes, until the server has had enough of them.
fn answered(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = stream(address);
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    answer
}

/// Ports besides those of Dapr's APIs.
const ALL_PORTS: [&str; 6] = [
    "--components-port",
    "0",
    "--dapr-public-port",
    "0",
    "--admin-port",
    "0",
];

/// The addresses of these ports, and that of metrics.
fn others(server: &Server) -> [SocketAddr; 4] {
    let ports = [
        server.components,
        server.public,
        server.metrics,
        server.status,
    ];
    ports.map(Option::unwrap)
}

/// That somebody else is answered over both and at the other ports, and that nothing was told.
fn is_well(server: &Server) {
    for (address, path) in [
        (server.components, "/v1/components"),
        (server.public, "/v1.0/metadata"),
        (server.metrics, "/metrics"),
        (server.status, "/status.json"),
    ] {
        if let Some(address) = address {
            let answer = ask_at(address, &format!("GET {path}"), &[], "");
            assert_eq!(answer.status, 200, "{path}");
        }
    }
    assert_eq!(server.ask(SECRET).status, 200);
    assert_eq!(get(server, "file", "redis", &[]).status, 0);
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn broken_requests_are_answered_or_cut_and_harm_nobody() {
    let (_work, server) = two_stores(&ALL_PORTS, &[]);
    let head = |line: &[u8]| [line, b"\r\nHost: localhost\r\nConnection: close\r\n\r\n"].concat();
    let long = [
        b"GET / HTTP/1.1\r\nx: ",
        vec![b'x'; 10 << 20].as_slice(),
        b"\r\n\r\n",
    ]
    .concat();
    for (bytes, status) in [
        (long, "431"),
        (head(b"GET /v1.0/secrets/file/\xff HTTP/1.1"), "400"),
        (head(b"GET /v1.0/secrets/file/%ff HTTP/1.1"), "500"),
        (head(b"GET / HTTP/1.1\r\n\xff: x"), "400"),
        (head(b"GET /v1.0/healthz HTTP/1.1\r\nx: \xff"), "204"),
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), "400"),
        (vec![0; 1 << 16], "400"),
    ] {
        for address in others(&server) {
            answered(address, &bytes);
        }
        let answer = answered(server.http, &bytes);
        let answer = String::from_utf8_lossy(&answer);
        let expected = format!("HTTP/1.1 {status}");
        let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
        // What is not read to its end is cut, and its answer may be lost with it.
        let is_lost = answer.is_empty() && bytes.len() > 1 << 15;
        assert!(
            answer.starts_with(&expected) || is_lost,
            "{begin:?}: {answer:?}"
        );
    }
    // HTTP/2: no settings; a frame that is too long; headers without end.
    let mut endless = [HTTP2, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    endless.extend([0, 0x40, 0, 1, 0, 0, 0, 0, 1]);
    endless.extend(vec![0x40; 0x4000]);
    for _ in 0..640 {
        endless.extend([0, 0x40, 0, 9, 0, 0, 0, 0, 1]);
        endless.extend(vec![0x40; 0x4000]);
    }
    for frames in [
        [HTTP2, vec![0xff; 1 << 16].as_slice()].concat(),
        [
            HTTP2,
            &[0, 0, 0, 4, 0, 0, 0, 0, 0],
            &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1],
        ]
        .concat(),
        endless,
    ] {
        for address in [server.http, server.grpc]
            .into_iter()
            .chain(others(&server))
        {
            answered(address, &frames);
        }
    }
    is_well(&server);
}

#[test]
fn broken_messages_over_grpc_are_refused() {
    let (_work, server) = two_stores(&[], &[]);
    let call = |frame: &[u8]| -> Reply<Secret> {
        let frame = frame.to_vec();
        block_on(async {
            let stream = connect(server.grpc).await;
            call_frame(stream, &format!("{DAPR}/GetSecret"), frame, &[]).await
        })
    };
    for (frame, status) in [
        // A store that is not UTF-8, no protobuf, less than is said, more than is taken.
        (&[0, 0, 0, 0, 3, 0x0a, 1, 0xff][..], 13),
        (&[0, 0, 0, 0, 2, 0xff, 0xff], 13),
        (&[0, 0, 0, 0, 9, 0x0a], 13),
        (&[0, 0xff, 0xff, 0xff, 0xff, 0x0a], 8),
    ] {
        assert_eq!(call(frame).status, status, "{frame:?}");
    }
    is_well(&server);
}

/// Asks by messages of gRPC that hold back their last byte; the answers, which may not come.
async fn ask_in_part(
    address: SocketAddr,
    method: &str,
    count: usize,
) -> Vec<(h2::client::ResponseFuture, h2::SendStream<bytes::Bytes>)> {
    const LENGTH: usize = 3 << 20;
    let mut begun = vec![0; LENGTH - 1];
    begun[1..5].copy_from_slice(&u32::try_from(LENGTH - 5).unwrap().to_be_bytes());
    let begun = bytes::Bytes::from(begun);
    let (client, connection) = h2::client::handshake(connect(address).await).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..count {
        let request = http::Request::post(format!("http://localhost/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = request.body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        body.send_data(begun.clone(), false).unwrap();
        client = client.ready().await.unwrap();
        calls.push((answer, body));
    }
    calls
}

#[test]
fn messages_that_do_not_end_are_cut_and_hold_little() {
    const TIME: Duration = Duration::from_secs(3);
    let time = TIME.as_secs().to_string();
    let arguments = [&["--timeout", &time], &ALL_PORTS[..]].concat();
    let (_work, server) = two_stores(&arguments, &[]);
    is_well(&server);
    let before = server.resident();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begin = Instant::now();
    let calls = runtime.block_on(async {
        let secrets = format!("{DAPR}/GetSecret");
        let components = "keyref.components.v1.Components/List";
        let mut calls = ask_in_part(server.grpc, &secrets, 90).await;
        calls.extend(ask_in_part(server.components.unwrap(), components, 10).await);
        calls
    });
    // Whoever asks for little need not wait for them.
    while begin.elapsed() < TIME / 2 {
        is_well(&server);
        std::thread::sleep(Duration::from_millis(100));
    }
    runtime.block_on(async {
        for (answer, _body) in calls {
            let answer = tokio::time::timeout(PATIENCE, answer).await;
            let head = answer.expect("it is held for ever").unwrap();
            // The deadline is exceeded.
            assert_eq!(head.headers()["grpc-status"], "4", "{head:?}");
        }
    });
    assert!(begin.elapsed() >= TIME);
    let grown = server.most_resident().saturating_sub(before);
    // 64 MiB, and what is on its way; 300 MiB are sent.
    assert!(grown < 130 << 10, "{grown} KiB");
    is_well(&server);
}

#[test]
fn a_client_that_is_done_speaking_may_still_listen() {
    let (work, server) = two_stores(&[], &[]);
    let ask = |ask: &str| {
        let head = format!("{ask} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = answered(server.http, head.as_bytes());
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = ask(SECRET);
    assert!(answer.ends_with("{\"redis\":\"s3cr3t-one\"}\n"), "{answer}");
    // For a while.
    let backend = ApiServer::start(Fault::Late(Duration::from_secs(2)));
    let store = backend.store("late", work.path());
    std::fs::write(work.path().join("resources/late.yaml"), store).unwrap();
    server.wait_for_log("\"msg\":\"reloaded\"");
    let answer = ask("GET /v1.0/secrets/late/one");
    assert!(answer.ends_with("{\"key\":\"s3cr3t\"}\n"), "{answer}");
}

#[test]
fn a_head_that_follows_a_request_at_once_is_timed_as_well() {
    let (_work, server) = two_stores(&[], &[]);
    let ask = |more: &str| {
        let mut stream = stream(server.http);
        let sent = format!("{SECRET} HTTP/1.1\r\nHost: x\r\n{more}");
        stream.write_all(sent.as_bytes()).unwrap();
        stream
    };
    let half = "GET /v1.0/healthz HTTP/1.1\r\nx: x";
    // Whoever has a body, and whoever has none; and one that is idle.
    let mut cut = ["\r\n", "Content-Length: 2\r\n\r\n{}"].map(|more| ask(&format!("{more}{half}")));
    let mut idle = ask("Content-Length: 2\r\n\r\n{}");
    let begin = Instant::now();
    for stream in &mut cut {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("{\"redis\":\"s3cr3t-one\"}\n"), "{answer}");
    }
    let waited = begin.elapsed();
    assert!(
        waited > Duration::from_secs(9) && waited < Duration::from_secs(40),
        "{waited:?}"
    );
    // All that it is answered, and the next answer.
    idle.write_all(b"GET /v1.0/healthz HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answers = String::new();
    idle.read_to_string(&mut answers).unwrap();
    assert!(answers.contains("HTTP/1.1 204"), "{answers}");
}

#[test]
fn floods_are_answered_or_cut() {
    let (_work, server) = two_stores(&ALL_PORTS, &[]);
    // Many requests at once, all of which are answered.
    let [components, public, metrics, status] = others(&server);
    for (address, ask, count) in [
        (server.http, SECRET, 5000),
        (components, "GET /v1/components", 5000),
        (public, "GET /v1.0/metadata", 5000),
        (metrics, "GET /metrics", 500),
        (status, "GET /", 500),
        (status, "GET /status.json", 500),
    ] {
        let mut requests = String::new();
        for _ in 0..count {
            let _ = write!(requests, "{ask} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        let answer = answered(address, requests.as_bytes());
        let answers = String::from_utf8_lossy(&answer)
            .matches("HTTP/1.1 200")
            .count();
        assert_eq!(answers, count, "{ask}");
    }
    // Requests that are taken back as soon as they are made.
    let mut frames = [HTTP2, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    for number in 0..20_000_u32 {
        let stream = (number * 2 + 1).to_be_bytes();
        // `:method: POST`, `:scheme: http`, `:path: /`, which every table has.
        frames.extend([&[0, 0, 3, 1, 5][..], &stream, &[0x83, 0x86, 0x84]].concat());
        frames.extend([&[0, 0, 4, 3, 0][..], &stream, &[0, 0, 0, 8]].concat());
    }
    for address in [server.http, server.grpc]
        .into_iter()
        .chain(others(&server))
    {
        answered(address, &frames);
    }
    is_well(&server);
}

const LARGE: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: state}\n\
    spec: {type: state.redis, version: v1, metadata: [{name: p, secretKeyRef: {name: large, key: \
    large}}]}\nauth: {secretStore: file}\n";

/// A server with a megabyte in a store, and in a component.
fn large() -> (TempDir, Server) {
    let secrets = format!(
        "{{\"redis\": \"s3cr3t-one\", \"large\": \"{}\"}}",
        "x".repeat(1 << 20)
    );
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("r/state.yaml", LARGE.as_bytes()),
        ("secrets.json", secrets.as_bytes()),
    ]);
    let arguments = [&["--resources", "r"], &ALL_PORTS[..]].concat();
    let server = Server::start(work.path(), &arguments, &[]);
    (work, server)
}

/// Waits until a client is cut.
fn until_cut(client: &mut TcpStream, begin: Instant) {
    // Writing fails then; until then it may have to wait as well.
    let short = Duration::from_millis(200);
    client.set_write_timeout(Some(short)).unwrap();
    let is_cut = |error: &std::io::Error| {
        let is_waiting = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
        !is_waiting
    };
    while !client.write(b"\r\n").is_err_and(|error| is_cut(&error)) {
        assert!(begin.elapsed() < PATIENCE, "it is held for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn many_clients_that_do_not_read_hold_little_in_all() {
    const CLIENTS: u32 = 300;
    let (_work, server) = large();
    is_well(&server);
    let before = server.resident();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (connections, _streams) = runtime.block_on(async {
        let (mut connections, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..CLIENTS {
            // Windows that nobody opens, of each stream for itself.
            let socket = connect(server.http).await;
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(0);
            let (client, connection) = builder.handshake::<_, bytes::Bytes>(socket).await.unwrap();
            connections.push(tokio::spawn(connection));
            let mut client = client.ready().await.unwrap();
            for _ in 0..20 {
                let uri = "http://x/v1.0/secrets/file/large";
                let request = http::Request::get(uri).body(()).unwrap();
                let Ok((answer, _)) = client.send_request(request, true) else {
                    break;
                };
                streams.push(answer);
                match client.ready().await {
                    Ok(ready) => client = ready,
                    Err(_) => break,
                }
            }
        }
        (connections, streams)
    });
    server.wait_for_log("answers unread");
    is_well(&server);
    let grown = server.most_resident().saturating_sub(before);
    // 128 MiB, and what is being written and cut meanwhile; 6 GiB are asked for.
    assert!(grown < 400 << 10, "{grown} KiB");
    // Those that were not cut for all are cut for themselves.
    let ended = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            for connection in connections {
                drop(connection.await);
            }
        })
        .await
    });
    assert!(ended.is_ok(), "they are held for ever");
    is_well(&server);
}

#[test]
fn a_client_that_does_not_read_is_cut_and_holds_little() {
    let (_work, server) = large();
    is_well(&server);
    // So that the status page has something to tell.
    for number in 0..100 {
        let name = "x".repeat(200);
        server.ask(&format!("GET /v1.0/secrets/file/{number}-{name}"));
    }
    let before = server.resident();
    let begin = Instant::now();
    // HTTP/1: answers that nobody reads.
    let mut stalling = stream(server.http);
    let request = "GET /v1.0/secrets/file/large HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stalling.write_all(request.repeat(500).as_bytes()).unwrap();
    let request = "GET /v1/components HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut other = stream(server.components.unwrap());
    other.write_all(request.repeat(500).as_bytes()).unwrap();
    let request = "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut page = stream(server.status.unwrap());
    page.write_all(request.repeat(500).as_bytes()).unwrap();
    // HTTP/2: windows that nobody opens.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (ended, _streams) = runtime.block_on(async {
        let socket = connect(server.http).await;
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        let ended = tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let mut streams = Vec::new();
        for _ in 0..50 {
            let uri = "http://x/v1.0/secrets/file/large";
            let request = http::Request::get(uri).body(()).unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            streams.push(answer);
            client = client.ready().await.unwrap();
        }
        (ended, streams)
    });
    is_well(&server);
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, ended).await });
    assert!(ended.is_ok(), "its streams are held for ever");
    for stalling in [&mut stalling, &mut other, &mut page] {
        until_cut(stalling, begin);
    }
    // The kernel's buffers are all that there is to read.
    let mut read = Vec::new();
    drop(stalling.read_to_end(&mut read));
    assert!(read.len() < 400 << 20, "{}", read.len());
    let waited = begin.elapsed();
    assert!(
        waited > Duration::from_secs(25) && waited < PATIENCE,
        "{waited:?}"
    );
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 150 << 10, "{grown} KiB");
    is_well(&server);
}

#[test]
fn idle_connections_stay_and_hold_little() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let (_work, server) = two_stores(&ALL_PORTS, &[]);
    let [components, _, metrics, status] = others(&server);
    let ask = |stream: &mut TcpStream, ask: &str, end: &[u8]| {
        let request = format!("{ask} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(end) {
            let mut part = [0; 4096];
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "it is cut");
            answer.extend_from_slice(&part[..read]);
        }
    };
    let kinds = [
        (server.http, IDLE, SECRET, &b"}\n"[..]),
        (components, IDLE / 10, "GET /v1/components", b"}\n"),
        // The last line of all is a number.
        (metrics, IDLE / 10, "HEAD /metrics", b"\r\n\r\n"),
        (status, IDLE / 10, "HEAD /", b"\r\n\r\n"),
    ];
    let before = server.resident();
    // Each asks at once: one that has said nothing for ten seconds is cut.
    let begun = kinds
        .into_iter()
        .flat_map(|(address, count, request, end)| {
            (0..count).map(move |_| {
                let mut stream = stream(address);
                ask(&mut stream, request, end);
                (stream, request, end)
            })
        });
    let mut connections: Vec<_> = begun.collect();
    let last = Instant::now();
    let grown = server.resident().saturating_sub(before);
    assert!(
        grown < u64::try_from(connections.len()).unwrap() * 40,
        "{grown} KiB"
    );
    // Longer than a head may take.
    while last.elapsed() < Duration::from_secs(12) {
        is_well(&server);
        std::thread::sleep(Duration::from_millis(500));
    }
    for (stream, request, end) in connections.iter_mut().step_by(50) {
        ask(stream, request, end);
    }
}

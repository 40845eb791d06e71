//! What `keyref serve` is reached by: sockets that are files, TLS, tokens in files, and pages in a
//! browser.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use keyref_tests::dapr::{DAPR, GetSecret, STORES, Secret, get, two_stores};
use keyref_tests::folder;
use keyref_tests::library::block_on;
use keyref_tests::metrics::scrape;
use keyref_tests::server::{Reply, Server, ask_at, ask_over, call_over, refused};
use keyref_tests::tls::{Authority, Client, certificates};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

type Stream = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

const SECRET: &str = "GET /v1.0/secrets/file/redis";
/// How long anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn request() -> GetSecret {
    GetSecret {
        store: "file".to_owned(),
        key: "redis".to_owned(),
        metadata: [].into(),
    }
}

fn until(what: &str, is_met: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_met() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks over HTTP/1; the answer as it came.
async fn ask(client: &Client, address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = client.connect(address).await?;
    let head = format!("{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[test]
fn sockets_are_private_and_replace_only_what_is_dead() {
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("secrets.json", br#"{"redis": "s3cr3t-one"}"#),
    ]);
    let sockets = work.path().join("s");
    fs::create_dir(&sockets).unwrap();
    let arguments = [
        "--resources",
        "r",
        "--unix-domain-socket",
        "s",
        "--app-id",
        "app",
        // Nobody is reached by it.
        "--dapr-listen-addresses",
        "0.0.0.0",
    ];
    let start = || Server::start(work.path(), &arguments, &[("DAPR_API_TOKEN", "t0ken")]);
    let [http, grpc] = ["http", "grpc"].map(|name| sockets.join(format!("dapr-app-{name}.socket")));
    let token = [("dapr-api-token", "t0ken")];
    let is_served = || {
        for path in [&http, &grpc] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        let stream = || UnixStream::connect(&http).unwrap();
        assert_eq!(ask_over(stream(), SECRET, &[], "").status, 401);
        let answer = ask_over(stream(), SECRET, &token, "");
        assert_eq!(answer.body, "{\"redis\":\"s3cr3t-one\"}\n");
        let reply: Reply<Secret> = block_on(async {
            let stream = tokio::net::UnixStream::connect(&grpc).await.unwrap();
            call_over(stream, &format!("{DAPR}/GetSecret"), &request(), &token).await
        });
        assert_eq!(reply.message.unwrap().data["redis"], "s3cr3t-one");
    };
    let mut server = start();
    is_served();
    let (status, log) = refused(work.path(), &arguments, &[]);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("could not listen on the UNIX socket `s/dapr-app-http.socket`"),
        "{log}"
    );
    is_served();
    server.signal("KILL");
    server.wait();
    assert!(http.exists() && grpc.exists());
    let mut server = start();
    is_served();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    let broken = ["--unix-domain-socket", "s", "--resources", "nope"];
    assert_ne!(refused(work.path(), &broken, &[]).0.code(), Some(0));
    assert_eq!(fs::read_dir(&sockets).unwrap().count(), 0);
}

/// A folder with an authority, another one, and certificates; a server on it.
fn tls(arguments: &[&str]) -> (tempfile::TempDir, Authority, Server) {
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("secrets.json", br#"{"redis": "s3cr3t-one"}"#),
    ]);
    let authority = Authority::make(work.path(), "authority");
    authority.sign("server");
    authority.sign("client");
    let given = [
        "--resources",
        "r",
        "--tls-cert",
        "server.pem",
        "--tls-key",
        "server.key",
    ];
    let server = Server::start(work.path(), &[&given, arguments].concat(), &[]);
    (work, authority, server)
}

#[test]
fn tls_is_spoken_by_http_and_grpc() {
    let (_work, authority, server) = tls(&["--dapr-public-port", "0"]);
    block_on(async {
        // A client that says nothing is cut as one that does not end its request.
        let mut silent = tokio::net::TcpStream::connect(server.http).await.unwrap();
        let begin = Instant::now();
        for protocols in [&[][..], &["http/1.1"]] {
            let client = authority.client(None, protocols);
            let answer = ask(&client, server.http, SECRET).await.unwrap();
            assert!(answer.ends_with("{\"redis\":\"s3cr3t-one\"}\n"), "{answer}");
        }
        let client = authority.client(None, &["h2", "http/1.1"]);
        let stream = client.connect(server.http).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let stream = client.connect(server.grpc).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let method = format!("{DAPR}/GetSecret");
        let reply: Reply<Secret> = call_over(stream, &method, &request(), &[]).await;
        assert_eq!(reply.message.unwrap().data["redis"], "s3cr3t-one");
        // What is not TLS is not answered.
        let mut plain = tokio::net::TcpStream::connect(server.http).await.unwrap();
        let head = format!("{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n");
        plain.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        drop(plain.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            !answer.contains("HTTP") && !answer.contains("s3cr3t"),
            "{answer}"
        );
        drop(silent.read(&mut [0]).await);
        let waited = begin.elapsed();
        assert!(
            waited > Duration::from_secs(9) && waited < PATIENCE,
            "{waited:?}"
        );
    });
    // Health alone needs neither.
    assert_eq!(
        ask_at(server.public.unwrap(), "GET /v1.0/healthz", &[], "").status,
        204
    );
}

#[test]
fn clients_are_known_by_their_certificates() {
    // With them, others may reach the server.
    let (work, authority, server) = tls(&[
        "--tls-client-ca",
        "authority.pem",
        "--dapr-listen-addresses",
        "0.0.0.0",
    ]);
    Authority::make(work.path(), "other").sign("foreign");
    block_on(async {
        let client = authority.client(Some("client"), &[]);
        let answer = ask(&client, server.http, SECRET).await.unwrap();
        assert!(answer.ends_with("{\"redis\":\"s3cr3t-one\"}\n"), "{answer}");
        for certificate in [None, Some("foreign")] {
            let client = authority.client(certificate, &[]);
            for address in [server.http, server.grpc] {
                let refused = ask(&client, address, SECRET).await;
                assert!(refused.is_err(), "{certificate:?}: {refused:?}");
            }
        }
    });
    assert!(!server.log().contains("s3cr3t"));
}

#[test]
fn certificates_are_read_again_and_unfit_ones_are_not_taken_over() {
    let (work, authority, server) = tls(&["--tls-client-ca", "authority.pem"]);
    let shown = |client: &Client| {
        block_on(async {
            let stream = client.connect(server.http).await.unwrap();
            let certificates = stream.get_ref().1.peer_certificates();
            certificates.unwrap()[0].clone()
        })
    };
    let client = authority.client(Some("client"), &[]);
    let old = shown(&client);
    let copy = |from: &str, to: &str| {
        let path = |name: &str, end| work.path().join(format!("{name}.{end}"));
        fs::copy(path(from, "pem"), path(to, "pem")).unwrap();
        fs::copy(path(from, "key"), path(to, "key")).unwrap();
    };
    authority.sign("next");
    copy("next", "server");
    server.wait_for_log("the certificate is read again");
    let new = shown(&client);
    assert_ne!(old, new);
    assert_eq!(new, certificates(work.path(), "next")[0]);
    // A key of another certificate.
    fs::copy(
        work.path().join("client.key"),
        work.path().join("server.key"),
    )
    .unwrap();
    server
        .wait_for_log("the certificate is not read again: `server.key` is no key that can be used");
    assert_eq!(shown(&client), new);
    copy("next", "server");
    // Clients of an authority that is gone are not served any more.
    let other = Authority::make(work.path(), "other");
    other.sign("later");
    fs::copy(
        work.path().join("authority.pem"),
        work.path().join("first.pem"),
    )
    .unwrap();
    let first = Authority::at(work.path(), "first");
    let cut = |name| {
        let client = first.client(Some(name), &[]);
        block_on(ask(&client, server.http, SECRET)).is_err()
    };
    assert!(!cut("client") && cut("later"));
    fs::copy(
        work.path().join("other.pem"),
        work.path().join("authority.pem"),
    )
    .unwrap();
    until("the new authority counts", || !cut("later"));
    assert!(cut("client"));
}

#[test]
fn who_is_not_known_any_more_is_cut_and_who_is_stays() {
    let work = folder(&[]);
    let kept = Authority::make(work.path(), "kept");
    kept.sign("one");
    let pem = fs::read_to_string(work.path().join("kept.pem")).unwrap();
    let trust = work.path().join("trust.pem");
    fs::write(&trust, &pem).unwrap();
    let (folder, authority, server) = tls(&["--tls-client-ca", trust.to_str().unwrap()]);
    let first = fs::read_to_string(folder.path().join("authority.pem")).unwrap();
    fs::write(&trust, format!("{first}{pem}")).unwrap();
    for end in ["pem", "key"] {
        let name = format!("one.{end}");
        fs::copy(work.path().join(&name), folder.path().join(&name)).unwrap();
    }
    server.wait_for_log("the certificate is read again");
    block_on(async {
        let ask = async |stream: &mut Stream| {
            let head = format!("{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let mut answer = [0; 4096];
            let read = stream.read(&mut answer).await?;
            Ok::<_, std::io::Error>(read > 0)
        };
        let mut streams = Vec::new();
        for name in ["client", "one"] {
            let client = authority.client(Some(name), &["http/1.1"]);
            let mut stream = client.connect(server.http).await.unwrap();
            assert!(ask(&mut stream).await.unwrap(), "{name}");
            streams.push(stream);
        }
        // A call that does not end.
        let client = authority.client(Some("client"), &["h2"]);
        let stream = client.connect(server.grpc).await.unwrap();
        let (mut calls, connection) = h2::client::handshake(stream).await.unwrap();
        let calling = tokio::spawn(connection);
        let call = http::Request::post(format!("https://localhost/{DAPR}/GetSecret"));
        let call = call.header("content-type", "application/grpc").body(());
        let _call = calls.send_request(call.unwrap(), false).unwrap();
        fs::write(&trust, &pem).unwrap();
        let cut = tokio::time::timeout(PATIENCE, calling).await;
        assert!(cut.is_ok(), "a stream goes on");
        assert!(
            !ask(&mut streams[0]).await.unwrap_or_default(),
            "it is served"
        );
        assert!(ask(&mut streams[1]).await.unwrap(), "it is cut");
    });
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table of files and what is said of each"
)]
fn files_that_make_no_tls_end_the_start() {
    let work = folder(&[("empty", b"")]);
    Authority::make(work.path(), "a").sign("one");
    Authority::make(work.path(), "b").sign("two");
    for (certificate, key, authority, status, part) in [
        (
            "one.pem",
            "two.key",
            None,
            1,
            "`two.key` is no key that can be used",
        ),
        ("empty", "one.key", None, 1, "`empty` holds no certificate"),
        (
            "one.pem",
            "one.pem",
            None,
            1,
            "`one.pem` holds no private key",
        ),
        (
            "nope",
            "one.key",
            None,
            1,
            "failed to read `nope`: entity not found",
        ),
        (
            "one.pem",
            "one.key",
            Some("empty"),
            1,
            "`empty` holds no certificate",
        ),
        (
            "one.pem",
            "one.key",
            Some("one.key"),
            1,
            "`one.key` holds no certificate",
        ),
    ] {
        let mut arguments = vec!["--tls-cert", certificate, "--tls-key", key];
        arguments.extend(
            authority
                .into_iter()
                .flat_map(|file| ["--tls-client-ca", file]),
        );
        let (ended, log) = refused(work.path(), &arguments, &[]);
        assert_eq!(ended.code(), Some(status), "{arguments:?}: {log}");
        assert!(log.contains(part), "{arguments:?}: {log}");
        assert!(!log.contains("BEGIN"), "{log}");
    }
    for arguments in [
        &["--tls-cert", "one.pem"][..],
        &["--tls-client-ca", "a.pem"],
        &[
            "--tls-cert",
            "one.pem",
            "--tls-key",
            "one.key",
            "--unix-domain-socket",
            "s",
        ],
    ] {
        let (ended, log) = refused(work.path(), arguments, &[]);
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {log}");
    }
}

#[test]
fn tls_alone_does_not_tell_who_calls() {
    let work = folder(&[]);
    Authority::make(work.path(), "a").sign("one");
    let tls = ["--tls-cert", "one.pem", "--tls-key", "one.key"];
    let public = [&tls[..], &["--dapr-listen-addresses", "0.0.0.0"]].concat();
    let (ended, log) = refused(work.path(), &public, &[]);
    assert_eq!(ended.code(), Some(2), "{log}");
    assert!(log.contains("--tls-client-ca"), "{log}");
    let allowed = [&public[..], &["--allow-public-without-token"]].concat();
    Server::start(work.path(), &allowed, &[]);
}

#[test]
fn a_token_is_exchanged_in_its_file() {
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("secrets.json", br#"{"redis": "s3cr3t-one"}"#),
        ("token", b"t0ken-one\n"),
        ("empty", b"\n"),
    ]);
    let arguments = ["--resources", "r", "--dapr-api-token-file"];
    let server = Server::start(work.path(), &[&arguments[..], &["token"]].concat(), &[]);
    let status = |token: &str| {
        let token = [("dapr-api-token", token)];
        let http = ask_at(server.http, SECRET, &token, "").status;
        let grpc = get(&server, "file", "redis", &token).status;
        assert_eq!(http == 200, grpc == 0);
        http
    };
    assert_eq!([status("t0ken-one"), status("t0ken-two")], [200, 401]);
    let exchange = |text: &str| fs::write(work.path().join("token"), text).unwrap();
    exchange("t0ken-two\n");
    until("the new token counts", || {
        status_of(server.http, "t0ken-two") == 200
    });
    assert_eq!(status("t0ken-one"), 401);
    exchange("");
    server.wait_for_log("nobody is admitted: `token` holds no token");
    assert_eq!([status("t0ken-two"), status("")], [401, 401]);
    exchange("t0ken-three");
    until("a token is there again", || {
        status_of(server.http, "t0ken-three") == 200
    });
    assert!(!server.log().contains("t0ken-"), "{}", server.log());
    for (file, variables, part) in [
        ("empty", &[][..], "`empty` holds no token"),
        (
            "nope",
            &[],
            "failed to read the token in `nope`: entity not found",
        ),
        (
            "token",
            &[("DAPR_API_TOKEN", "t0ken-four")],
            "`DAPR_API_TOKEN` is set",
        ),
    ] {
        let arguments = [&arguments[..], &[file]].concat();
        let (ended, log) = refused(work.path(), &arguments, variables);
        assert_eq!(ended.code(), Some(2), "{log}");
        assert!(log.contains(part) && !log.contains("t0ken-"), "{log}");
    }
}

fn status_of(address: SocketAddr, token: &str) -> u16 {
    ask_at(address, SECRET, &[("dapr-api-token", token)], "").status
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table of requests and their answers"
)]
fn pages_are_answered_as_dapr_answers_them() {
    const ORIGIN: &str = "access-control-allow-origin";
    let preflight = [
        ("Origin", "https://App.test"),
        ("Access-Control-Request-Method", "get"),
        ("Access-Control-Request-Headers", "dapr-api-token,x-y"),
    ];
    let token = ("dapr-api-token", "t0ken");
    for (origins, allowed) in [
        ("*", Some("*")),
        (
            "https://one.test,https://app.test",
            Some("https://App.test"),
        ),
        ("https://other.test", None),
    ] {
        let (_work, server) = two_stores(
            &["--allowed-origins", origins],
            &[("DAPR_API_TOKEN", "t0ken")],
        );
        // A browser has no token to ask with.
        let answer = ask_at(
            server.http,
            "OPTIONS /v1.0/secrets/file/redis",
            &preflight,
            "",
        );
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, ""),
            "{origins}"
        );
        let header = |name: &str| answer.headers.get(name).map(String::as_str);
        assert_eq!(header(ORIGIN), allowed, "{origins}");
        let is_allowed = allowed.is_some();
        assert_eq!(
            header("access-control-allow-methods"),
            is_allowed.then_some("GET")
        );
        let names = is_allowed.then_some("Dapr-Api-Token, X-Y");
        assert_eq!(header("access-control-allow-headers"), names);
        assert_eq!(header("content-length"), Some("0"));
        let ask = |headers: &[(&str, &str)]| {
            let answer = ask_at(server.http, SECRET, headers, "");
            let allowed = answer.headers.get(ORIGIN).cloned();
            (answer.status, answer.headers["vary"].clone(), allowed)
        };
        let vary = "Origin".to_owned();
        let allowed = allowed.map(str::to_owned);
        assert_eq!(
            ask(&[preflight[0], token]),
            (200, vary.clone(), allowed.clone())
        );
        assert_eq!(ask(&[preflight[0]]), (401, vary.clone(), allowed));
        assert_eq!(ask(&[token]), (200, vary, None));
    }
    let (_work, server) = two_stores(&[], &[]);
    let answer = ask_at(server.http, SECRET, &preflight[..1], "");
    assert_eq!(
        (answer.headers.get("vary"), answer.headers.get(ORIGIN)),
        (None, None)
    );
    let answer = ask_at(
        server.http,
        "OPTIONS /v1.0/secrets/file/redis",
        &preflight,
        "",
    );
    assert_eq!(answer.status, 404);
}

#[test]
fn every_page_may_call_only_where_it_needs_a_token() {
    let work = folder(&[]);
    for origins in ["*", "https://app.test,*"] {
        let (ended, log) = refused(work.path(), &["--allowed-origins", origins], &[]);
        assert_eq!(ended.code(), Some(2), "{log}");
        assert!(log.contains("every page"), "{log}");
    }
    for (origins, variables) in [
        ("https://app.test", &[][..]),
        ("*", &[("DAPR_API_TOKEN", "t0ken")]),
    ] {
        Server::start(work.path(), &["--allowed-origins", origins], variables);
    }
}

/// The status for who asks for a host, with these headers.
fn status_for(server: &Server, path: &str, host: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = std::net::TcpStream::connect(server.http).unwrap();
    let mut head = format!("{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(answer.contains("s3cr3t"), status == "200", "{answer}");
    status
}

#[test]
fn a_page_that_points_a_name_here_reads_nothing() {
    const EVIL: &str = "evil.example:3500";
    let page = ("Origin", "http://evil.example:3500");
    for mode in ["strict", "dapr"] {
        let arguments = ["--mode", mode, "--allowed-origins", "http://app.test"];
        let (_work, server) = two_stores(&arguments, &[]);
        let ask = |host, headers: &[(&str, &str)]| status_for(&server, SECRET, host, headers);
        // To a name with plain HTTP, a browser tells nothing but its language of a page's reads.
        for header in [
            page,
            ("Sec-Fetch-Site", "same-origin"),
            ("Referer", "http://evil.example:3500/"),
            ("Accept-Language", ""),
            ("User-Agent", "Mozilla/5.0 (X11)"),
        ] {
            assert_eq!(ask(EVIL, &[header]), "403", "{mode}: {header:?}");
            for host in ["localhost:3500", "127.0.0.1:3500", "[::1]:3500"] {
                assert_eq!(ask(host, &[header]), "200", "{host}: {header:?}");
            }
        }
        // To end the server, a page need not read what it is answered.
        let shutdown = "POST /v1.0/shutdown";
        assert_eq!(
            status_for(&server, shutdown, "127.0.0.1:3500", &[page]),
            "403"
        );
        // An app has none of these headers; a page that may call is no stranger.
        assert_eq!(ask(EVIL, &[("User-Agent", "dapr-sdk")]), "200");
        assert_eq!(ask(EVIL, &[("Origin", "http://app.test")]), "200");
        let health = status_for(&server, "GET /v1.0/healthz", EVIL, &[page]);
        assert_eq!(health, "204");
        let metrics = scrape(&server, "/");
        let denied = metrics.sum("keyref_denied_requests_total", &[("reason", "host")]);
        assert!((denied - 6.0).abs() < f64::EPSILON, "{denied}");
    }
    let (_work, server) = two_stores(&[], &[("DAPR_API_TOKEN", "t0ken")]);
    let token = ("dapr-api-token", "t0ken");
    assert_eq!(status_for(&server, SECRET, EVIL, &[page, token]), "200");
}

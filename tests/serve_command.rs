//! `keyref serve -- COMMAND`: the app that a server starts, and how both end.

use std::time::{Duration, Instant};

use keyref_tests::dapr::two_stores;
use keyref_tests::server::{Process, Server, command};
use keyref_tests::tls::Authority;
use keyref_tests::{folder, keyref};

/// An app that says when it is up and what it is told, and ends with 7 at SIGTERM or SIGINT.
const OBEDIENT: &str = "trap 'echo app-terminated; kill $!; exit 7' TERM; \
    trap 'echo app-interrupted; kill $!; exit 7' INT; trap 'echo app-user1' USR1; \
    trap 'echo app-hung-up' HUP; sleep 300 & echo app-up; while :; do wait; done";

/// An app that hears SIGTERM and goes on.
const STUBBORN: &str = "trap 'echo app-goes-on' TERM; trap 'kill $!' EXIT; sleep 300 & \
    echo app-up $$ $!; while :; do wait; done";

fn serve(arguments: &[&str], script: &str) -> Server {
    let work = folder(&[]);
    let app = ["--", "sh", "-c", script];
    let server = Server::start(work.path(), &[arguments, &app].concat(), &[]);
    server.wait_for_log("app-up");
    server
}

#[test]
fn the_status_is_the_app_s() {
    let work = folder(&[]);
    for (app, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 3"], 3),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["no-such-command"], 127),
        (&["./no/such/file", "--flag"], 127),
        (&["/"], 126),
    ] {
        let arguments = [&["--"], app].concat();
        let started = Process::start(command(work.path(), &arguments, &[]));
        let (ended, log) = started.output();
        assert_eq!(ended.code(), Some(status), "{app:?}: {log}");
        let has_failed = log.contains("cannot be started");
        assert_eq!(has_failed, matches!(status, 126 | 127), "{app:?}: {log}");
    }
}

#[test]
fn the_app_starts_when_the_server_is_ready_and_finds_it() {
    let work = folder(&[]);
    let path = keyref().to_str().unwrap();
    let script = format!("env; exec {path} --wait --dapr-http-port $DAPR_HTTP_PORT");
    let arguments = [
        "--app-id",
        "orders",
        "--app-port",
        "4711",
        "--app-protocol",
        "http",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let variables = [
        ("DAPR_API_TOKEN", "t0ken"),
        ("APP_API_TOKEN", "app-t0ken"),
        ("DAPR_TRUST_ANCHORS", "anchors"),
        ("DAPR_CERT_KEY", "cert-key"),
        ("DAPR_HTTP_ENDPOINT", "https://elsewhere"),
        ("DAPR_GRPC_ENDPOINT", "https://elsewhere"),
        ("DAPR_HTTP_PORT", "1"),
        ("OTHER", "kept"),
    ];
    let started = Process::start(command(work.path(), &arguments, &variables));
    let (status, log) = started.output();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("Dapr is outbound ready!"), "{log}");
    let address = |protocol: &str| {
        let begin = format!("\"{protocol} server listening on TCP address: 127.0.0.1:");
        let (_, rest) = log.split_once(&begin).unwrap();
        rest.split_once('"').unwrap().0
    };
    let has = |line: &str| log.lines().any(|logged| logged == line);
    for line in [
        &format!("DAPR_HTTP_PORT={}", address("HTTP")),
        &format!("DAPR_GRPC_PORT={}", address("gRPC")),
        "APP_ID=orders",
        "APP_PORT=4711",
        "APP_PROTOCOL=http",
        "APP_CHANNEL_ADDRESS=127.0.0.1",
        "DAPR_API_TOKEN=t0ken",
        "APP_API_TOKEN=app-t0ken",
        "OTHER=kept",
    ] {
        assert!(has(line), "{line}: {log}");
    }
    for other in ["anchors", "cert-key", "elsewhere"] {
        assert!(!log.contains(other), "{other}: {log}");
    }
}

#[test]
fn an_app_is_pointed_to_an_address_that_is_not_the_usual_one() {
    let work = folder(&[]);
    let arguments = ["--dapr-listen-addresses", "127.0.0.2", "--", "env"];
    let started = Process::start(command(work.path(), &arguments, &[]));
    let (_, log) = started.output();
    for name in ["DAPR_HTTP_ENDPOINT", "DAPR_GRPC_ENDPOINT"] {
        let line = format!("{name}=http://127.0.0.2:");
        assert!(log.contains(&line), "{log}");
    }
}

#[test]
fn an_app_is_told_what_it_needs_to_reach_a_server_that_is_guarded() {
    let work = folder(&[("token", b"first-t0ken\nsecond-t0ken\n")]);
    Authority::make(work.path(), "authority").sign("server");
    let env = ["--", "env"];
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &env].concat();
        let variables = [
            ("DAPR_METRICS_PORT", "1"),
            ("DAPR_GRPC_ENDPOINT", "elsewhere"),
        ];
        let started = Process::start(command(work.path(), &arguments, &variables));
        let (status, log) = started.output();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("elsewhere"), "{log}");
        log
    };
    let port = |log: &str, protocol: &str| {
        let begin = format!("\"{protocol} server listening on TCP address: 127.0.0.1:");
        let (_, rest) = log.split_once(&begin).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let has = |log: &str, line: &str| {
        assert!(log.lines().any(|logged| logged == line), "{line}: {log}");
    };
    let tls = [
        "--tls-cert=server.pem",
        "--tls-key=server.key",
        "--dapr-api-token-file=token",
    ];
    let log = run(&tls);
    for (name, protocol) in [("HTTP", "HTTP"), ("GRPC", "gRPC")] {
        let port = port(&log, protocol);
        has(
            &log,
            &format!("DAPR_{name}_ENDPOINT=https://localhost:{port}"),
        );
        has(&log, &format!("DAPR_{name}_PORT={port}"));
    }
    has(
        &log,
        &format!("DAPR_METRICS_PORT={}", port(&log, "metrics")),
    );
    has(&log, "DAPR_API_TOKEN=first-t0ken");
    assert!(!log.contains("second-t0ken"), "{log}");
    std::fs::create_dir(work.path().join("s")).unwrap();
    let log = run(&[
        "--unix-domain-socket=s",
        "--app-id=orders",
        "--enable-metrics=false",
    ]);
    let folder = work.path().canonicalize().unwrap();
    let socket = folder.join("s/dapr-orders-grpc.socket");
    has(
        &log,
        &format!("DAPR_GRPC_ENDPOINT=unix://{}", socket.display()),
    );
    assert!(!log.contains("DAPR_METRICS_PORT"), "{log}");
    assert!(!log.contains("DAPR_GRPC_PORT"), "{log}");
}

#[test]
fn signals_are_passed_on_but_for_the_one_that_reloads() {
    for (signal, told) in [("TERM", "app-terminated"), ("INT", "app-interrupted")] {
        let mut server = serve(&[], OBEDIENT);
        server.signal("USR1");
        server.wait_for_log("app-user1");
        server.signal("HUP");
        server.wait_for_log("\"msg\":\"reloaded\"");
        assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
        server.signal(signal);
        server.wait_for_log(told);
        assert_eq!(server.wait().code(), Some(7), "{}", server.log());
        assert!(!server.log().contains("app-hung-up"), "{}", server.log());
    }
    let mut server = serve(&[], OBEDIENT);
    server.signal("QUIT");
    assert_eq!(server.wait().code(), Some(128 + 3), "{}", server.log());
}

#[test]
fn an_app_is_terminated_when_a_caller_ends_the_server() {
    let mut server = serve(&[], OBEDIENT);
    assert_eq!(server.ask("POST /v1.0/shutdown").status, 204);
    server.wait_for_log("app-terminated");
    assert_eq!(server.wait().code(), Some(7), "{}", server.log());
}

#[test]
fn an_app_that_does_not_end_is_served_meanwhile_and_then_killed() {
    let mut server = serve(&["--dapr-graceful-shutdown-seconds", "1"], STUBBORN);
    server.signal("TERM");
    server.wait_for_log("app-goes-on");
    assert_eq!(server.ask("GET /v1.0/healthz").status, 204);
    assert_eq!(server.wait().code(), Some(137), "{}", server.log());
    server.wait_for_log("has not ended in time and is killed");
    end_of(&server);
}

#[test]
fn a_second_signal_ends_the_app_as_well() {
    let mut server = serve(&["--dapr-graceful-shutdown-seconds", "60"], STUBBORN);
    server.signal("TERM");
    server.wait_for_log("app-goes-on");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1), "{}", server.log());
    end_of(&server);
}

/// Asserts that the app is gone, and ends what it has left behind.
fn end_of(server: &Server) {
    let log = server.log();
    let up = log.lines().find(|line| line.contains("app-up")).unwrap();
    let ids: Vec<&str> = up.split(' ').skip(1).collect();
    let kill = |arguments: &[&str]| {
        let status = std::process::Command::new("kill").args(arguments).output();
        status.unwrap().status.success()
    };
    // It is killed, and its remains are somebody else's to bury.
    let begin = Instant::now();
    while kill(&["-0", ids[0]]) {
        let is_late = begin.elapsed() > Duration::from_secs(10);
        assert!(!is_late, "the app is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(&[ids[1]]);
}

#[test]
fn an_end_is_put_off_for_as_long_as_it_should_be() {
    let (_work, mut server) = two_stores(&["--dapr-block-shutdown-duration", "60s"], &[]);
    server.signal("TERM");
    server.wait_for_log("serving for 60s before the end");
    assert_eq!(server.ask("GET /v1.0/secrets/file/redis").status, 200);
    // A caller's word counts at once.
    assert_eq!(server.ask("POST /v1.0/shutdown").status, 204);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());

    let (_work, mut server) = two_stores(&["--dapr-block-shutdown-duration=60s"], &[]);
    server.signal("INT");
    server.wait_for_log("before the end");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(1), "{}", server.log());

    let (_work, mut server) = two_stores(&["--dapr-block-shutdown-duration=50ms"], &[]);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn the_app_s_end_ends_what_was_put_off() {
    let mut server = serve(&["--dapr-block-shutdown-duration=60s"], OBEDIENT);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(7), "{}", server.log());
}

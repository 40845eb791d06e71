//! keyref in the place of `daprd`: its flags in all their spellings, its answers, its log.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keyref_tests::dapr::STORES;
use keyref_tests::server::{Process, Server, program};
use keyref_tests::{folder, keyref};
use serde_json::Value;

/// Name, type and default of each flag, from Dapr's source.
const FLAGS: &str = include_str!("cases/daprd/flags.tsv");

/// A folder with stores, and the command under the name of `daprd`.
fn work() -> (tempfile::TempDir, PathBuf) {
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("secrets.json", b"{\"redis\": \"s3cr3t-one\"}"),
        ("empty.yaml", b"kind: Configuration\nspec: {}\n"),
    ]);
    let daprd = work.path().join("daprd");
    std::os::unix::fs::symlink(keyref(), &daprd).unwrap();
    (work, daprd)
}

/// `daprd` in such a folder.
fn daprd(arguments: &[&str]) -> (tempfile::TempDir, Command) {
    let (work, daprd) = work();
    let command = program(&daprd, work.path(), arguments, &[]);
    (work, command)
}

/// Runs `daprd` to its end; its status, standard output and standard error.
fn ended(arguments: &[&str]) -> (Option<i32>, String, String) {
    let (_work, mut command) = daprd(arguments);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A value for a flag: not the default, where another one is well formed.
fn sample<'f>(name: &str, kind: &str, default: &'f str) -> &'f str {
    match (name, kind) {
        ("app-port" | "dapr-public-port" | "metrics-port", _) => "8001",
        ("dapr-listen-addresses", _) => "[::1],127.0.0.1",
        (name, "string") if name.ends_with("-listen-address") => "127.0.0.1",
        ("allowed-origins", _) => "https://example.com",
        ("log-file", _) => "daprd.log",
        (_, "bool") => "true",
        (_, "int" | "uint") => "7",
        (_, "duration") => "1m30s",
        (_, "strings") => "empty.yaml",
        (_, "string") if default.is_empty() => "x",
        _ => default,
    }
}

#[test]
fn every_flag_is_taken_in_every_spelling() {
    let spellings: [fn(&str, &str) -> Vec<String>; 4] = [
        |name, value| vec![format!("--{name}={value}")],
        |name, value| vec![format!("-{name}={value}")],
        |name, value| vec![format!("--{name}"), value.to_owned()],
        |name, value| vec![format!("-{name}"), value.to_owned()],
    ];
    for spell in spellings {
        let mut arguments = Vec::new();
        for line in FLAGS.lines() {
            let [name, kind, default] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            if ["version", "build-info", "wait"].contains(&name) {
                continue;
            }
            let spelt = spell(name, sample(name, kind, default));
            // A boolean takes no next argument.
            let spelt = spelt.into_iter();
            arguments.extend(spelt.take(if kind == "bool" { 1 } else { 2 }));
        }
        assert!(arguments.len() >= 55, "{arguments:?}");
        arguments.push("--version".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (status, output, errors) = ended(&arguments);
        assert_eq!(
            (status, output.as_str()),
            (Some(0), "1.18.3\n"),
            "{arguments:?}: {errors}"
        );
    }
}

#[test]
fn what_an_injector_says_is_served_and_what_has_no_meaning_named_once() {
    let (_work, command) = daprd(&[
        "--app-id=orders",
        "--mode",
        "standalone",
        "--dapr-http-port",
        "0",
        "--dapr-grpc-port=0",
        "--metrics-port=0",
        "--dapr-internal-grpc-port",
        "50002",
        "--dapr-listen-addresses",
        "[::1],127.0.0.1",
        "--allow-public-without-token",
        "-resources-path=r",
        "--config",
        "empty.yaml",
        "--app-protocol",
        "http",
        "--app-max-concurrency",
        "-1",
        "--max-body-size",
        "-1",
        "--dapr-http-read-buffer-size",
        "16",
        "--control-plane-address",
        "dapr-api:443",
        "--placement-host-address",
        "localhost:50005",
        "--profile-port=7777",
        "--enable-mtls",
        "--log-as-json",
        "--enable-api-logging",
    ]);
    let mut server = Server::run(command);
    assert_eq!(
        server.ask("GET /v1.0/secrets/file/redis").body,
        "{\"redis\":\"s3cr3t-one\"}\n"
    );
    server.wait_for_log("HTTP API Called");
    let log = server.log();
    let named: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("without a meaning here"))
        .collect();
    let [named] = named[..] else {
        panic!("{log}");
    };
    let named: Value = serde_json::from_str(named).unwrap();
    assert_eq!(
        named["msg"],
        "without a meaning here: --control-plane-address, --dapr-internal-grpc-port, \
         --enable-mtls, --placement-host-address"
    );
    assert_eq!(named["level"], "warning");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn flags_first_serve_without_the_name() {
    let (work, _) = work();
    let arguments = [
        "-app-id",
        "resolve",
        "--dapr-http-port=0",
        "--dapr-grpc-port=0",
        "--metrics-port=0",
        "--components-path",
        "r",
    ];
    let server = Server::run(program(keyref(), work.path(), &arguments, &[]));
    assert_eq!(server.ask("GET /v1.0/secrets/file/redis").status, 200);
    server.wait_for_log(" app_id=resolve ");
}

#[test]
fn what_daprd_does_not_know_exits_2() {
    for (arguments, part) in [
        (&["--no-such-flag"][..], "unknown flag: --no-such-flag"),
        (&["-app-idd", "x"], "did you mean `--app-id`?"),
        (&["--app-id"], "`--app-id` needs a value"),
        (&["--enable-mtls=perhaps"], "true or false"),
        (&["--dapr-http-port", "x"], "--dapr-http-port"),
        (&["--max-body-size", "0"], "--max-body-size"),
        (&["--mode", "swarm"], "swarm"),
        (&["--log-level", "loud"], "loud"),
        (&["--version", "--no-such-flag"], "unknown flag"),
    ] {
        let (status, output, errors) = ended(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(part), "{arguments:?}: {errors}");
        assert_eq!(output, "", "{arguments:?}");
    }
}

#[test]
fn the_version_is_the_one_that_is_served() {
    for arguments in [
        &["--version"][..],
        &["-version"],
        &["--build-info", "--version"],
    ] {
        let (status, output, _) = ended(arguments);
        assert_eq!(
            (status, output.as_str()),
            (Some(0), "1.18.3\n"),
            "{arguments:?}"
        );
    }
    let (status, output, _) = ended(&["--build-info"]);
    assert_eq!(status, Some(0));
    let begin = "Version: 1.18.3\nGit Commit: none\nGit Version: keyref ";
    assert!(output.starts_with(begin), "{output}");
    let (status, output, _) = ended(&["--help"]);
    assert_eq!(status, Some(0));
    assert!(output.contains("--dapr-http-port"), "{output}");
}

#[test]
fn waiting_ends_when_the_server_is_ready() {
    // Nobody listens there yet.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let (_work, command) = daprd(&["--wait", "--dapr-http-port", &port]);
    let waiting = Process::start(command);
    waiting.wait_for_log("Dapr outbound NOT ready yet");
    let (_work, command) = daprd(&[
        "--dapr-http-port",
        &port,
        "--dapr-grpc-port=0",
        "--metrics-port=0",
    ]);
    let _server = Server::run(command);
    let (status, log) = waiting.output();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("Dapr is outbound ready!"), "{log}");
}

/// What is logged at these flags by a server that names something without a meaning (`warning`),
/// says that it runs (`info`) and fails in the end (`fatal`).
fn levels(arguments: &[&str]) -> (String, String) {
    let failing = [
        "--dapr-http-port=0",
        "--dapr-grpc-port=0",
        "--metrics-port=0",
        "--enable-mtls",
        "--",
        "no-such-command",
    ];
    let (status, output, errors) = ended(&[arguments, &failing].concat());
    assert_eq!(status, Some(127), "{errors}");
    (output, errors)
}

#[test]
fn the_log_has_the_levels_of_daprd() {
    for (arguments, wanted) in [
        (&[][..], &["info", "warning", "fatal"][..]),
        (&["--log-level=debug"], &["info", "warning", "fatal"]),
        (&["--log-level", "WARN"], &["warning", "fatal"]),
        (&["--log-level=error"], &["fatal"]),
        (&["-log-level=fatal"], &["fatal"]),
        (&["-q"], &["fatal"]),
    ] {
        let (output, errors) = levels(arguments);
        assert_eq!(errors, "", "{arguments:?}");
        for level in ["info", "warning", "fatal"] {
            let is_there = output.contains(&format!(" level={level} "));
            assert_eq!(is_there, wanted.contains(&level), "{arguments:?}: {output}");
        }
        assert!(output.starts_with("time=\"20"), "{output}");
    }
}

#[test]
fn the_log_goes_to_a_file_where_one_is_named() {
    let (work, daprd) = work();
    fs::write(work.path().join("daprd.log"), "first\n").unwrap();
    let arguments = ["--log-file", "daprd.log", "--", "no-such-command"];
    let ports = [
        "--dapr-http-port=0",
        "--dapr-grpc-port=0",
        "--metrics-port=0",
    ];
    let mut command = program(&daprd, work.path(), &[&ports[..], &arguments].concat(), &[]);
    let output = command.output().unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
    let log = fs::read_to_string(work.path().join("daprd.log")).unwrap();
    assert!(log.starts_with("first\ntime="), "{log}");
    assert!(log.contains(" level=fatal "), "{log}");

    let (status, _, errors) = ended(&["--log-file=no/such/folder"]);
    assert_eq!(status, Some(2), "{errors}");
    assert!(errors.contains("`no/such/folder`"), "{errors}");
}

#[test]
fn whatever_a_server_says_of_its_start_is_a_line_of_its_log() {
    let (_work, mut command) = daprd(&["--log-as-json", "--config=none.yaml"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["level"], "fatal");
    let message = line["msg"].as_str().unwrap();
    assert!(message.contains("failed to read `none.yaml`"), "{message}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn what_was_asked_of_stores_is_logged_at_the_end() {
    let (_work, command) = daprd(&[
        "--stats",
        "--resources-path=r",
        "--dapr-http-port=0",
        "--dapr-grpc-port=0",
        "--metrics-port=0",
    ]);
    let mut server = Server::run(command);
    for _ in 0..2 {
        server.ask("GET /v1.0/secrets/file/redis");
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    server.wait_for_log("backend calls: 2, failed: 0, denied requests: 0");
}

#[test]
fn a_server_gives_up_what_lasts_longer_than_its_timeout() {
    let (_work, command) = daprd(&[
        "--timeout=1",
        "--dapr-http-port=0",
        "--dapr-grpc-port=0",
        "--metrics-port=0",
    ]);
    let server = Server::run(command);
    // A body that does not end.
    let mut stream = TcpStream::connect(server.http).unwrap();
    let head = "PUT /v1.0/metadata/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na";
    stream.write_all(head.as_bytes()).unwrap();
    let patience = Duration::from_secs(20);
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}

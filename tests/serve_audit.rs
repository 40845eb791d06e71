//! The audit trail: who asked for which secret, what decided, how it ended, and never a value.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use keyref_tests::dapr::{bulk, get, two_stores};
use keyref_tests::faulty::{ApiServer, Fault, ask_and_close, ask_and_leave, call_and_leave};
use keyref_tests::folder;
use keyref_tests::metrics::scrape;
use keyref_tests::server::{Server, ask_at, refused};
use serde_json::{Value, json};

/// Reads the trail once it has this many lines.
fn trail(path: &Path, lines: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        assert!(text.is_ascii());
        let is_whole = text.is_empty() || text.ends_with('\n');
        if (is_whole && text.lines().count() >= lines) || begin.elapsed() > Duration::from_secs(20)
        {
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            return lines.collect();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The members of a record that are the same each time: `-` where there is nothing.
fn steady(record: &Value) -> String {
    let members = [
        "operation",
        "store",
        "secret",
        "served",
        "decision",
        "rule",
        "outcome",
    ];
    let text = |member: &&str| match &record[*member] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let texts: Vec<_> = members.iter().map(text).collect();
    texts.join(" ")
}

#[test]
fn each_request_for_secrets_leaves_a_line() {
    let arguments = ["--audit-log", "audit.jsonl", "--app-id", "shop"];
    let (work, server) = two_stores(&arguments, &[]);
    let path = work.path().join("audit.jsonl");
    let agent = [("User-Agent", "curl/8 \u{202e}")];
    assert_eq!(
        ask_at(server.http, "GET /v1.0/secrets/file/redis", &agent, "").status,
        200
    );
    let asks = [
        "file/denied",
        "file/%E2%80%AE%0A",
        "file/bulk",
        "nowhere/redis",
    ];
    for ask in asks {
        server.ask(&format!("GET /v1.0/secrets/{ask}"));
    }
    get(&server, "file", "redis", &[("user-agent", "grpc-test/1")]);
    get(&server, "file", "denied", &[]);
    bulk(&server, "file", &[]);
    // What asks for no secret leaves none.
    server.ask("GET /v1.0/metadata");

    let records = trail(&path, 8);
    let found = "get file redis - allowed defaultAccess found";
    let denied = "get file denied - denied deniedSecrets denied";
    let all = "bulk file - [\"redis\"] allowed scope found";
    let expected = [
        found,
        denied,
        "get file \u{202e}\n - allowed defaultAccess absent",
        all,
        "get nowhere redis - none none store-unknown",
        found,
        denied,
        all,
    ];
    let steady: Vec<_> = records.iter().map(steady).collect();
    assert_eq!(steady, expected);
    each_names_its_caller(&records);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("s3cr3t"), "{text}");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let metrics = scrape(&server, "/");
    let written = metrics.sum("keyref_audit_records_total", &[("outcome", "written")]);
    assert!((written - 8.0).abs() < f64::EPSILON, "{}", metrics.text);
}

fn each_names_its_caller(records: &[Value]) {
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record["app_id"], "shop");
        let time = record["time"].as_str().unwrap();
        assert!(
            time.len() == 27 && time.ends_with('Z') && time.contains('T'),
            "{time}"
        );
        assert!(record["latency_ms"].as_f64().unwrap() < 10_000.0);
        let caller = &record["caller"];
        assert_eq!(caller["protocol"], if number < 5 { "http" } else { "grpc" });
        assert!(caller["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert_eq!(caller["token"], false);
    }
    // A header's bytes are what they are in UTF-8.
    assert_eq!(records[0]["caller"]["agent"], "curl/8 \u{202e}");
    assert_eq!(records[5]["caller"]["agent"], "grpc-test/1");
}

#[test]
fn callers_without_the_token_leave_a_line() {
    let token = [("DAPR_API_TOKEN", "t0ken")];
    let (work, server) = two_stores(&["--audit-log", "audit.jsonl"], &token);
    server.ask("GET /v1.0/secrets/file/redis");
    get(&server, "file", "redis", &[]);
    let right = [("dapr-api-token", "t0ken")];
    ask_at(server.http, "GET /v1.0/secrets/env/bulk", &right, "");
    get(&server, "file", "redis", &right);
    let records = trail(&work.path().join("audit.jsonl"), 4);
    assert_eq!(steady(&records[0]), "get file redis - denied token denied");
    assert_eq!(steady(&records[1]), "get - - - denied token denied");
    let tokens: Vec<_> = records
        .iter()
        .map(|record| &record["caller"]["token"])
        .collect();
    assert_eq!(
        tokens,
        [&json!(false), &json!(false), &json!(true), &json!(true)]
    );
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("t0ken"), "{text}");
}

#[test]
fn a_trail_that_is_moved_away_is_opened_again_and_the_last_records_are_written() {
    let (work, mut server) = two_stores(&["--audit-log", "audit.jsonl"], &[]);
    let (path, old) = (work.path().join("audit.jsonl"), work.path().join("audit.1"));
    server.ask("GET /v1.0/secrets/file/redis");
    assert_eq!(trail(&path, 1).len(), 1);
    fs::rename(&path, &old).unwrap();
    server.signal("HUP");
    server.wait_for_log("\"msg\":\"reloaded\"");
    server.ask("GET /v1.0/secrets/file/denied");
    assert_eq!(trail(&path, 1)[0]["secret"], "denied");
    assert_eq!(trail(&old, 1).len(), 1);
    for _ in 0..20 {
        server.ask("GET /v1.0/secrets/file/redis");
    }
    server.signal("TERM");
    assert!(server.wait().success());
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 21);
}

#[test]
fn a_trail_that_cannot_be_opened_ends_the_start() {
    let work = folder(&[]);
    let (status, log) = refused(work.path(), &["--audit-log", "no/such/folder"], &[]);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("failed to open the audit log `no/such/folder`"),
        "{log}"
    );
}

/// `/dev/full` refuses each write, as a full disk does.
#[test]
fn a_trail_that_cannot_be_written_is_told_and_counted_and_no_request_waits() {
    let (_work, server) = two_stores(&["--audit-log", "/dev/full"], &[]);
    for _ in 0..3 {
        assert_eq!(server.ask("GET /v1.0/secrets/file/redis").status, 200);
    }
    server.wait_for_log("the audit trail cannot be written");
    let begin = Instant::now();
    let failed = |server: &Server| {
        let metrics = scrape(server, "/");
        metrics.sum("keyref_audit_records_total", &[("outcome", "failed")])
    };
    while failed(&server) < 3.0 {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    // Once, not for each record.
    let told = server
        .log()
        .matches("the audit trail cannot be written")
        .count();
    assert_eq!(told, 1);
}

#[test]
fn a_request_that_nobody_waits_for_any_longer_leaves_a_line() {
    let backend = ApiServer::start(Fault::Hang);
    let work = folder(&[]);
    let store = backend.store("slow", work.path());
    fs::write(work.path().join("slow.yaml"), store).unwrap();
    let arguments = ["--resources", "slow.yaml", "--audit-log", "audit.jsonl"];
    let server = Server::start(work.path(), &arguments, &[]);
    ask_and_leave(&server, "/v1.0/secrets/slow/one");
    ask_and_leave(&server, "/v1.0/secrets/slow/bulk");
    call_and_leave(&server, "slow", "two");
    let records = trail(&work.path().join("audit.jsonl"), 3);
    let lines: Vec<_> = records.iter().map(steady).collect();
    assert_eq!(
        lines,
        [
            "get slow one - allowed none abandoned",
            "bulk slow - [] allowed none abandoned",
            "get slow two - allowed none abandoned",
        ]
    );
    let late = |record: &Value| record["latency_ms"].as_f64() > Some(100.0);
    assert!(records.iter().all(late));
    // Over HTTP/1 it may just have said all, and listen.
    ask_and_close(&server, "/v1.0/secrets/slow/three", true);
    ask_and_close(&server, "/v1.0/secrets/slow/four", false);
    let records = trail(&work.path().join("audit.jsonl"), 5);
    for (record, name, times) in [
        (&records[3], "three", 0.0..4_000.0),
        (&records[4], "four", 5_000.0..20_000.0),
    ] {
        let expected = format!("get slow {name} - allowed none abandoned");
        assert_eq!(steady(record), expected);
        let latency = record["latency_ms"].as_f64().unwrap();
        assert!(times.contains(&latency), "{name}: {latency} ms");
    }
}

#[test]
fn a_writer_that_is_stuck_holds_no_request_up_and_what_is_lost_is_told() {
    let (work, server) = {
        let work = folder(&[("secrets.json", br#"{"redis": "s3cr3t-one"}"#)]);
        let pipe = work.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        // Without a reader, opening would wait.
        let reader = fs::File::options()
            .read(true)
            .write(true)
            .open(&pipe)
            .unwrap();
        let store = [
            "--store",
            "file=local.file:secrets.json",
            "--audit-log",
            "pipe",
        ];
        let server = Server::start(work.path(), &store, &[]);
        ((work, reader), server)
    };
    let mut stream = std::net::TcpStream::connect(server.http).unwrap();
    let ask = "GET /v1.0/secrets/file/redis HTTP/1.1\r\nHost: x\r\n\r\n";
    let lost = || {
        let metrics = scrape(&server, "/");
        metrics.sum("keyref_audit_records_total", &[("outcome", "lost")])
    };
    let reading = stream.try_clone().unwrap();
    let drain = std::thread::spawn(move || {
        let mut reading = reading;
        drop(std::io::copy(&mut reading, &mut std::io::sink()));
    });
    let begin = Instant::now();
    while lost() < 1.0 {
        assert!(begin.elapsed() < Duration::from_mins(1), "nothing is lost");
        for _ in 0..500 {
            stream.write_all(ask.as_bytes()).unwrap();
        }
    }
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    drain.join().unwrap();
    // Once it is read, the trail says how many are missing.
    let (_work, mut reader) = work;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(&mut reader));
    let mut told = 0;
    while told == 0 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        told = line["lost"].as_u64().unwrap_or_default();
    }
    assert!(told > 0);
}

//! Traces of requests: what is told of them, to whom, and what becomes of it where nobody listens.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use keyref_tests::app::{App, Told};
use keyref_tests::collector::{Collector, Sent, attribute};
use keyref_tests::dapr::{Change, DAPR, GetItems, STORES, get};
use keyref_tests::faulty::{ApiServer, Fault, ask_and_leave, call_and_leave};
use keyref_tests::folder;
use keyref_tests::library::shortest;
use keyref_tests::server::{Answer, Server, Stream, ask_at, ask_over, refused};
use keyref_tests::tls::Authority;
use serde_json::Value;
use tempfile::TempDir;

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
const SECRETS: &[u8] = br#"{"redis": "s3cr3t-one", "denied": "s3cr3t-two"}"#;
const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Spans wait for others only this long.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "50");
/// What anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing may come before nothing comes.
const SILENCE: Duration = Duration::from_secs(1);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A folder with stores, and a configuration with these fields of `spec`.
fn work(spec: &str) -> TempDir {
    let scopes = "secrets: {scopes: [{storeName: file, deniedSecrets: [denied]}]}";
    let configuration = format!("kind: Configuration\nspec:\n  {scopes}\n{spec}");
    folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("r/cfg.yaml", ITEMS.as_bytes()),
        ("items.yaml", b"a: one\n"),
        ("secrets.json", SECRETS),
        ("config.yaml", configuration.as_bytes()),
    ])
}

const GIVEN: &[&str] = &[
    "--resources",
    "r",
    "--config",
    "config.yaml",
    "--app-id",
    "myapp",
];

fn server(spec: &str, variables: &[(&str, &str)]) -> (TempDir, Server) {
    let work = work(spec);
    let server = Server::start(work.path(), GIVEN, variables);
    (work, server)
}

/// `spec.tracing` for a collector without TLS.
fn otel(rate: &str, protocol: &str, address: SocketAddr) -> String {
    format!(
        "  tracing:\n    samplingRate: '{rate}'\n    otel: {{endpointAddress: '{address}', \
         isSecure: false, protocol: {protocol}, headers: ['authorization=Bearer c0llector']}}\n"
    )
}

fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask_at(server.http, &format!("GET {path}"), headers, "")
}

fn named<'s>(spans: &'s [Sent], name: &str) -> &'s Sent {
    let found = spans.iter().find(|sent| sent.text("name") == name);
    found.unwrap_or_else(|| panic!("`{name}` is not among {spans:?}"))
}

/// Nothing of what was sent holds a value, or a token.
fn assert_clean(spans: &[Sent]) {
    for sent in spans {
        let text = format!("{} {}", sent.span, sent.resource);
        for secret in ["s3cr3t", "t0ken", "c0llector"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn requests_are_spans_with_the_names_and_attributes_of_dapr() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    for (protocol, address) in [("grpc", collector.grpc), ("http", collector.http)] {
        let variables = [
            SOON,
            ("DAPR_API_TOKEN", "t0ken"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b,service.name=other"),
        ];
        let (_work, server) = server(&otel("1", protocol, address), &variables);
        let token = ("dapr-api-token", "t0ken");
        let headers = [
            token,
            ("traceparent", PARENT),
            ("tracestate", "v=1"),
            ("dapr-note", "x"),
        ];
        let answer = ask(&server, "/v1.0/secrets/file/redis?metadata.a=b", &headers);
        assert_eq!(answer.status, 200, "{answer:?}");
        ask(&server, "/v1.0/secrets/file/denied", &[token]);
        let wrong = ("dapr-api-token", "wr0ng-t0ken");
        ask(&server, "/v1.0/secrets/file/redis/", &[wrong]);
        ask(&server, "/v1.0/healthz", &[]);
        ask(&server, "/v1.0/metadata", &[token]);
        let spans = collector.spans(4);
        assert_clean(&spans);
        check_first(named(&spans, "/v1.0/secrets/file/redis"), &answer);
        let denied = named(&spans, "/v1.0/secrets/file/denied");
        let status = &denied.span["status"];
        assert_eq!(status["message"], "Code(403): Forbidden");
        assert_eq!(status["code"], 2);
        assert_eq!(denied.attribute("db.name"), Some("file"));
        assert!(denied.text("parentSpanId").is_empty() && denied.text("traceId") != TRACE);
        // Without the token it is not asked of a store.
        let unknown = named(&spans, "/v1.0/secrets/file/redis/");
        assert_eq!(unknown.attribute("dapr.status_code"), Some("401"));
        assert_eq!(unknown.attribute("db.name"), None);
        named(&spans, "/v1.0/metadata");
    }
}

/// The span of a read with a parent, and its answer.
fn check_first(sent: &Sent, answer: &Answer) {
    let id = sent.text("spanId");
    assert_eq!(answer.headers["traceparent"], format!("00-{TRACE}-{id}-01"));
    assert_eq!(answer.headers["tracestate"], "v=1");
    assert_eq!(sent.text("traceId"), TRACE);
    assert_eq!(sent.text("parentSpanId"), "b7ad6b7169203331");
    assert_eq!(sent.text("traceState"), "v=1");
    assert_eq!(
        (&sent.span["kind"], sent.scope.as_str()),
        (&Value::from(3), "dapr-diagnostics")
    );
    let time = |name: &str| sent.text(name).parse::<u64>().unwrap();
    assert!(time("startTimeUnixNano") < time("endTimeUnixNano"));
    let path = "GET /v1.0/secrets/file/redis";
    for (name, value) in [
        ("dapr.api", path),
        ("dapr.protocol", "http"),
        ("dapr.status_code", "200"),
        ("dapr-note", "x"),
        ("db.system", "secrets"),
        ("db.connection_string", "secrets"),
        ("db.statement", path),
        ("db.name", "file"),
        ("http.request.method", "GET"),
        ("url.full", "/v1.0/secrets/file/redis?metadata.a=b"),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(sent.attribute(name), Some(value), "{name}");
    }
    assert_eq!(sent.attributes().len(), 12, "{:?}", sent.attributes());
    assert_eq!(attribute(&sent.resource, "service.name"), Some("other"));
    assert_eq!(attribute(&sent.resource, "team"), Some("a b"));
    assert_eq!(sent.headers["authorization"], "Bearer c0llector");
}

#[test]
fn calls_are_spans_and_a_subscription_is_one_as_long_as_it_lasts() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    let (_work, server) = server(&otel("1", "grpc", collector.grpc), &[SOON]);
    // `PARENT`, as OpenCensus writes it.
    let parent = [("grpc-trace-bin", "AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE=")];
    let reply = get(&server, "file", "redis", &parent);
    assert_eq!(reply.status, 0);
    let method = format!("/{DAPR}/GetSecret");
    let spans = collector.spans(1);
    let sent = named(&spans, &method);
    assert_eq!(sent.text("traceId"), TRACE);
    assert_eq!(sent.text("parentSpanId"), "b7ad6b7169203331");
    let expected = [
        ("dapr.api", method.as_str()),
        ("dapr.protocol", "grpc"),
        ("db.connection_string", "secrets"),
        ("db.name", "file"),
        ("db.statement", &method),
        ("db.system", "secrets"),
        ("rpc.service", "Dapr"),
    ];
    assert_eq!(sent.attributes(), expected.map(|(name, _)| name));
    for (name, value) in expected {
        assert_eq!(sent.attribute(name), Some(value), "{name}");
    }
    let place = reply.head["grpc-trace-bin"].to_str().unwrap();
    assert!(place.starts_with("AAAK92UZFs1D3YRI6yEcgDGcA") && place.len() == 39);
    assert_eq!(get(&server, "file", "denied", &[]).status, 7);
    let spans = collector.spans(1);
    let status = &spans[0].span["status"];
    assert_eq!(
        status["message"],
        "access denied by policy to get \"denied\" from \"file\""
    );
    let items = GetItems {
        store: "cfg".to_owned(),
        keys: vec!["a".to_owned()],
    };
    let method = format!("{DAPR}/SubscribeConfiguration");
    let traced = [("traceparent", PARENT)];
    let mut stream = Stream::open(server.grpc, &method, &items, &traced);
    let first: Change = stream.receive().unwrap();
    assert!(!first.id.is_empty() && collector.is_silent(SILENCE));
    drop(stream);
    let spans = collector.spans(1);
    let sent = named(&spans, &format!("/{method}"));
    assert_eq!(sent.text("traceId"), TRACE);
    assert_eq!(sent.attributes(), ["dapr.api", "dapr.protocol"]);
}

#[test]
fn a_request_that_nobody_waits_for_any_longer_is_a_span_that_failed() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    let work = work(&otel("1", "grpc", collector.grpc));
    let backend = ApiServer::start(Fault::Hang);
    let store = backend.store("slow", work.path());
    fs::write(work.path().join("r/slow.yaml"), store).unwrap();
    let server = Server::start(work.path(), GIVEN, &[SOON]);
    ask_and_leave(&server, "/v1.0/secrets/slow/one");
    call_and_leave(&server, "slow", "two");
    let spans = collector.spans(2);
    for name in ["/v1.0/secrets/slow/one", &format!("/{DAPR}/GetSecret")] {
        let status = &named(&spans, name).span["status"];
        assert_eq!(status["message"], "abandoned", "{name}");
        assert_eq!(status["code"], 2, "{name}");
    }
}

#[test]
fn the_caller_s_decision_counts_and_without_one_the_rate_does() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    let path = "/v1.0/secrets/file/redis";
    for (rate, without, is_sampled) in [("1", "-01", true), ("0.0000000001", "-00", false)] {
        let (_work, server) = server(&otel(rate, "grpc", collector.grpc), &[SOON]);
        let answer = ask(&server, path, &[("traceparent", UNSAMPLED)]);
        let place = &answer.headers["traceparent"];
        assert!(place.starts_with(&UNSAMPLED[..36]) && place.ends_with("-00"));
        let answer = ask(&server, path, &[]);
        assert!(
            answer.headers["traceparent"].ends_with(without),
            "{answer:?}"
        );
        if is_sampled {
            assert_ne!(collector.spans(1)[0].text("traceId"), TRACE);
        }
        assert!(collector.is_silent(SILENCE), "{rate}");
        ask(&server, path, &[("traceparent", PARENT)]);
        assert_eq!(collector.spans(1)[0].text("traceId"), TRACE);
    }
}

#[test]
fn a_caller_over_ipv6_has_an_address_and_a_port() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let work = work(&otel("1", "grpc", collector.grpc));
    let listen = ["--dapr-listen-addresses", "::1"];
    let server = Server::start(work.path(), &[GIVEN, &listen].concat(), &[SOON]);
    let stream = TcpStream::connect(server.http).unwrap();
    let caller = stream.local_addr().unwrap();
    assert!(caller.is_ipv6());
    let path = "/v1.0/secrets/file/redis";
    assert_eq!(
        ask_over(stream, &format!("GET {path}"), &[], "").status,
        200
    );
    let spans = collector.spans(1);
    let sent = named(&spans, path);
    assert_eq!(sent.attribute("server.address"), Some("::1"));
    let port = caller.port().to_string();
    assert_eq!(sent.attribute("server.port"), Some(port.as_str()));
}

/// What a collector over HTTP is told, as far as it is text.
fn text(told: &Told) -> String {
    String::from_utf8_lossy(&told.body).into_owned()
}

#[test]
fn variables_that_compress_or_cut_spans_have_no_effect() {
    let app = App::start(FREE, "http", None, &[]);
    let variables = [
        SOON,
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1"),
    ];
    let (_work, server) = server(&otel("1", "http", app.address), &variables);
    ask(&server, "/v1.0/secrets/file/redis", &[]);
    let told = app.told();
    assert!(!told.headers.contains_key("content-encoding"), "{told:?}");
    let text = text(&told);
    for part in [
        "dapr.api",
        "GET /v1.0/secrets/file/redis",
        "dapr.protocol",
        "db.name",
        "server.address",
        "127.0.0.1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn tracing_that_changes_counts_at_the_next_start() {
    let [before, after] = [(); 2].map(|()| App::start(FREE, "http", None, &[]));
    let (work, server) = server(&otel("1", "http", before.address), &[SOON]);
    let path = "/v1.0/secrets/file/redis";
    ask(&server, path, &[]);
    assert!(text(&before.told()).contains("200"));
    let config = work.path().join("config.yaml");
    let changed = fs::read_to_string(&config).unwrap();
    let changed = changed.replace(&before.address.to_string(), &after.address.to_string());
    fs::write(config, changed.replace("[denied]", "[redis]")).unwrap();
    server.wait_for_log("a change of `spec.tracing` counts at the next start");
    // The rest of it counts.
    let begin = Instant::now();
    while ask(&server, path, &[("traceparent", UNSAMPLED)]).status != 403 {
        assert!(begin.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    ask(&server, path, &[]);
    assert!(text(&before.told()).contains("403"));
    assert!(after.is_silent(SILENCE));
    drop(server);
    let server = Server::start(work.path(), GIVEN, &[SOON]);
    ask(&server, path, &[]);
    assert!(text(&after.told()).contains("403"));
    assert!(before.is_silent(SILENCE));
}

#[test]
fn without_traces_nothing_is_answered_and_with_a_rate_alone_the_place_is() {
    for (spec, is_answered) in [
        ("", false),
        ("  tracing: {samplingRate: '0', stdout: true}\n", false),
        ("  tracing: {samplingRate: '1'}\n", true),
    ] {
        let (_work, server) = server(spec, &[]);
        let answer = ask(
            &server,
            "/v1.0/secrets/file/redis",
            &[("traceparent", PARENT)],
        );
        assert_eq!(
            answer.headers.contains_key("traceparent"),
            is_answered,
            "{spec}"
        );
        let reply = get(&server, "file", "redis", &[]);
        assert_eq!(
            reply.head.contains_key("grpc-trace-bin"),
            is_answered,
            "{spec}"
        );
    }
}

#[test]
fn names_of_secrets_are_hidden_where_the_log_hides_them() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    let spec =
        otel("1", "grpc", collector.grpc) + "  logging: {apiLogging: {obfuscateURLs: true}}\n";
    let (_work, server) = server(&spec, &[SOON]);
    ask(&server, "/v1.0/secrets/file/denied?metadata.x=denied", &[]);
    ask(&server, "/denied", &[]);
    get(&server, "file", "denied", &[]);
    let spans = collector.spans(3);
    named(&spans, "/v1.0/secrets/{secretStoreName}/{key}");
    for sent in spans {
        let text = sent.span.to_string();
        assert!(!text.contains("denied"), "{text}");
    }
}

#[test]
fn the_environment_says_where_and_a_certificate_must_fit() {
    let keys = folder(&[]);
    let authority = Authority::make(keys.path(), "authority");
    authority.sign("collector");
    Authority::make(keys.path(), "other");
    let Some(collector) = Collector::start(Some((keys.path(), "collector"))) else {
        return;
    };
    let file = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let (grpc, http) = (
        format!("https://{}", collector.grpc),
        format!("https://{}", collector.http),
    );
    for (name, address, protocol) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &grpc, "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &http, "http/protobuf"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{http}/v1/traces"),
            "http/protobuf",
        ),
    ] {
        let certificate = file("authority.pem");
        let mut variables = vec![
            SOON,
            (name, address.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &certificate),
            ("OTEL_SERVICE_NAME", "named"),
        ];
        let (_work, traced) = server("", &variables);
        ask(&traced, "/v1.0/secrets/file/redis", &[]);
        let spans = collector.spans(1);
        assert_eq!(attribute(&spans[0].resource, "service.name"), Some("named"));
        assert_eq!(spans[0].headers["x-key"], "a b");
        drop(traced);
        let certificate = file("other.pem");
        variables[4].1 = &certificate;
        let (_work, server) = server("", &variables);
        ask(&server, "/v1.0/secrets/file/redis", &[]);
        server.wait_for_log("its certificate is of an authority not known here");
    }
    assert!(collector.is_silent(SILENCE));
}

#[test]
fn the_end_sends_what_is_left() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    let late = ("OTEL_BSP_SCHEDULE_DELAY", "600000");
    let (_work, mut server) = server(&otel("1", "http", collector.http), &[late]);
    for _ in 0..3 {
        ask(&server, "/v1.0/secrets/file/redis", &[]);
    }
    server.signal("TERM");
    assert!(server.wait().success());
    collector.spans(3);
    assert!(!server.log().contains("were not sent"), "{}", server.log());
}

/// A collector that takes connections and says nothing.
#[test]
fn a_collector_that_hangs_holds_up_nothing() {
    let hanging = TcpListener::bind(FREE).unwrap();
    let address = hanging.local_addr().unwrap();
    let variables = [SOON, ("OTEL_BSP_MAX_QUEUE_SIZE", "10")];
    for protocol in ["grpc", "http"] {
        let took = shortest(Duration::from_secs(4), || {
            let (_work, mut server) = server(&otel("1", protocol, address), &variables);
            let begin = Instant::now();
            for _ in 0..50 {
                let answer = ask(&server, "/v1.0/secrets/file/redis", &[]);
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            server.signal("TERM");
            assert!(server.wait().success());
            server.wait_for_log("spans were not sent");
            let log = server.log();
            assert_eq!(log.matches("spans are dropped").count(), 1, "{log}");
            assert!(log.contains("\"count\":50"), "{log}");
            begin.elapsed()
        });
        assert!(took < Duration::from_secs(4), "{protocol}: {took:?}");
    }
}

#[test]
fn a_collector_that_comes_back_is_told_what_waits() {
    let app = App::start(FREE, "http", None, &[]);
    let address = app.address;
    drop(app);
    let (_work, server) = server(&otel("1", "http", address), &[SOON]);
    ask(&server, "/v1.0/secrets/file/redis", &[]);
    server.wait_for_log(&format!("spans cannot be sent to {address}"));
    ask(&server, "/v1.0/metadata", &[]);
    // Busy at first.
    let app = App::start(address, "http", None, &[503]);
    let told = app.told();
    assert_eq!(told.path, "/v1/traces");
    assert_eq!(told.headers["content-type"], "application/x-protobuf");
    assert_eq!(told.body, app.told().body);
    assert!(String::from_utf8_lossy(&app.told().body).contains("/v1.0/metadata"));
    server.wait_for_log("again");
    let log = server.log();
    assert_eq!(log.matches("spans cannot be sent").count(), 1, "{log}");
    // What it refuses is not sent again.
    drop(app);
    let app = App::start(address, "http", None, &[400]);
    ask(&server, "/v1.0/secrets/file/redis", &[]);
    app.told();
    assert!(app.is_silent(SILENCE));
}

#[test]
fn zipkin_and_the_log_are_told_as_well() {
    let app = App::start(FREE, "http", None, &[]);
    let spec = format!(
        "  tracing:\n    samplingRate: '1'\n    stdout: true\n    zipkin: {{endpointAddress: \
         'http://{}/api/v2/spans'}}\n",
        app.address
    );
    let (_work, server) = server(&spec, &[SOON]);
    ask(
        &server,
        "/v1.0/secrets/file/Denied",
        &[("traceparent", PARENT)],
    );
    let told = app.told();
    assert_eq!(told.path, "/api/v2/spans");
    assert_eq!(told.headers["content-type"], "application/json");
    let spans: Value = serde_json::from_slice(&told.body).unwrap();
    let span = &spans[0];
    assert_eq!(span["traceId"], TRACE);
    assert_eq!(span["parentId"], "b7ad6b7169203331");
    assert_eq!(span["name"], "/v1.0/secrets/file/denied");
    assert_eq!(span["kind"], "CLIENT");
    assert_eq!(span["localEndpoint"]["serviceName"], "myapp");
    assert_eq!(span["remoteEndpoint"]["serviceName"], "127.0.0.1");
    assert!(span["timestamp"].as_u64() > Some(1 << 50) && span["duration"].as_u64() > Some(0));
    let tags = &span["tags"];
    assert_eq!(tags["dapr.api"], "GET /v1.0/secrets/file/Denied");
    assert_eq!(tags["otel.status_code"], "ERROR");
    assert_eq!(tags["error"], "Code(500): Internal Server Error");
    assert_eq!(tags["otel.scope.name"], "dapr-diagnostics");
    let id = span["id"].as_str().unwrap();
    let line =
        format!("[/v1.0/secrets/file/Denied] Trace: {TRACE} Span: b7ad6b7169203331/{id} Time: [");
    server.wait_for_log(&line);
    assert!(server.log().contains("\"scope\":\"dapr.runtime.trace\""));
}

#[test]
fn what_cannot_be_honored_ends_the_start_and_shows_no_header() {
    let header = "headers: [authorization, 'x=c0llector']";
    for (spec, variables, expected) in [
        (
            "  tracing: {samplingRate: often}\n",
            vec![],
            "config.yaml:4:1",
        ),
        (
            "  tracing:\n    otel: {protocol: smoke, endpointAddress: a}\n",
            vec![],
            "neither `http`",
        ),
        ("  tracing:\n    otle: {}\n", vec![], "is not known"),
        (
            &format!("  tracing:\n    otel:\n      {header}\n"),
            vec![],
            "config.yaml:6:1",
        ),
        (
            "",
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "c0llector"),
            ],
            "`OTEL_EXPORTER_OTLP_HEADERS`: the variable cannot be read",
        ),
        (
            "",
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:c0llector@b:1")],
            "`OTEL_EXPORTER_OTLP_ENDPOINT`: the variable cannot be read",
        ),
    ] {
        let work = work(spec);
        let (status, log) = refused(work.path(), GIVEN, &variables);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(expected), "{expected}: {log}");
        assert!(!log.contains("c0llector"), "{log}");
    }
}

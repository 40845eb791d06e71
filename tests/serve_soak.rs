//! A server under traffic of all kinds for a while: its memory, open files and threads must not grow.
//!
//! `KEYREF_SOAK_SECONDS=3600 cargo test --workspace --test serve_soak -- --nocapture` runs for an hour,
//! and prints the figures. Without the variable it takes half a minute.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyref_tests::dapr::{Change, DAPR, GetItems, bulk, get};
use keyref_tests::folder;
use keyref_tests::gateway::{COMPONENTS, Event, Lines};
use keyref_tests::metrics::scrape;
use keyref_tests::server::{Server, Stream, ask_at};
use tempfile::TempDir;

/// How long it runs where nobody says otherwise.
const SECONDS: u64 = 30;
/// How much memory may grow from the end of the warm-up to the end by the line of best fit, in KiB,
/// however long that is.
const MOST_GROWTH: f64 = 4096.0;
/// How many more threads there may be at the end than after the warm-up.
const MOST_MORE: u64 = 8;
/// The same of open files: connections that end are some dozens, more or fewer by what else the machine
/// does. Of those that stayed there would be thousands.
const MOST_MORE_FILES: u64 = 64;
/// Between two rounds of requests, and between two changes.
const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_millis(700);
/// Between two looks at the status page.
const OFTEN: Duration = Duration::from_millis(100);

fn component(name: &str, kind: &str, items: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
         spec: {{type: {kind}, version: v1, metadata: [{items}]}}\n"
    )
}

/// All that a store may be under.
const RESILIENCY: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: soak}
spec:
  policies:
    timeouts: {short: 20s}
    retries: {twice: {duration: 10ms, maxRetries: 2}}
    circuitBreakers: {five: {timeout: 1s, trip: 'consecutiveFailures >= 5'}}
  targets:
    components:
      file: {outbound: {timeout: short, retry: twice, circuitBreaker: five}}
      kept: {outbound: {timeout: short, retry: twice, circuitBreaker: five}}
      items: {outbound: {timeout: short, retry: twice, circuitBreaker: five}, inbound: {retry: twice}}
";

/// A folder with stores of all kinds that need no server, and components that refer to them.
fn work() -> TempDir {
    let file = "secretstores.local.file";
    let secrets = "{name: secretsFile, value: secrets.json}";
    let config = "{name: configFile, value: items.yaml}";
    let reference = "{name: p, secretKeyRef: {name: key, key: key}}";
    let referring = component("state", "state.redis", reference);
    folder(&[
        ("r/file.yaml", component("file", file, secrets).as_bytes()),
        ("r/kept.yaml", component("kept", file, secrets).as_bytes()),
        ("r/env.yaml", component("env", "secretstores.local.env", "").as_bytes()),
        ("r/items.yaml", component("items", "configuration.local.file", config).as_bytes()),
        ("r/state.yaml", format!("{referring}auth: {{secretStore: file}}\n").as_bytes()),
        ("secrets.json", br#"{"key": "s3cr3t", "denied": "s3cr3t"}"#),
        ("items.yaml", b"a: 1\n"),
        (
            "c.yaml",
            b"kind: Configuration\nspec: {secrets: {scopes: [{storeName: file, deniedSecrets: [denied]}]}}\n",
        ),
        ("r/resiliency.yaml", RESILIENCY.as_bytes()),
    ])
}

/// Runs one kind of traffic over and over.
struct Traffic<'t> {
    is_over: &'t AtomicBool,
    asked: &'t AtomicU64,
}

impl Traffic<'_> {
    /// Until it is over, with a pause each time.
    fn repeat(&self, pause: Duration, mut work: impl FnMut(u64)) {
        let _ending = Ending(self.is_over);
        for round in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            work(round);
            self.asked.fetch_add(1, Ordering::Relaxed);
            thread::sleep(pause);
        }
    }
}

/// Ends all where one fails.
struct Ending<'e>(&'e AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks for a secret in a connection that stays.
fn ask_again(stream: &mut TcpStream) {
    let request = "GET /v1.0/secrets/file/key HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}\n") {
        let mut part = [0; 512];
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "it is cut");
        answer.extend_from_slice(&part[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

/// One of each request, over HTTP and gRPC: secrets that are there, denied and absent, stores that
/// are not, items, metadata, and metrics.
fn ask_all(server: &Server, round: u64) {
    for (path, status) in [
        ("secrets/file/key", 200),
        ("secrets/kept/key", 200),
        ("secrets/env/bulk", 200),
        ("secrets/file/bulk", 200),
        ("secrets/file/denied", 403),
        (&format!("secrets/file/absent-{round}"), 500),
        (&format!("secrets/kept/absent-{round}"), 500),
        (&format!("secrets/unknown-{round}/key"), 401),
        ("configuration/items?key=a", 200),
        (&format!("nothing-{round}"), 404),
        ("metadata", 200),
        ("healthz", 204),
    ] {
        let answer = server.ask(&format!("GET /v1.0/{path}"));
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    for (store, key, status) in [
        ("file", "key", 0),
        ("file", "denied", 7),
        ("file", "absent", 13),
        ("unknown", "key", 3),
    ] {
        assert_eq!(get(server, store, key, &[]).status, status, "{store}/{key}");
    }
    assert_eq!(bulk(server, "file", &[]).status, 0);
    let at = |address: Option<SocketAddr>, path: &str| {
        assert_eq!(
            ask_at(address.unwrap(), path, &[], "").status,
            200,
            "{path}"
        );
    };
    at(server.metrics, "GET /metrics");
    at(server.components, "GET /v1/components");
}

/// Looks at the status page, as people and as scripts do.
fn look(server: &Server) {
    for path in ["/", "/?refresh=5", "/status.json"] {
        let answer = ask_at(server.status.unwrap(), &format!("GET {path}"), &[], "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.contains("kept") && !answer.body.contains("s3cr3t"));
    }
}

/// Subscribes and watches, and goes away in the middle.
fn subscribe(server: &Server, round: u64) {
    let request = GetItems {
        store: "items".to_owned(),
        keys: Vec::new(),
    };
    let method = format!("{DAPR}/SubscribeConfiguration");
    let mut stream = Stream::open(server.grpc, &method, &request, &[]);
    let first: Change = stream.receive().unwrap();
    let id = &first.id;
    if round.is_multiple_of(2) {
        let path = format!("GET /v1.0/configuration/items/{id}/unsubscribe");
        assert_eq!(server.ask(&path).status, 200);
    }
    let components = server.components.unwrap();
    let mut lines = Lines::open(components);
    assert!(lines.receive().is_some());
    let empty = keyref_tests::dapr::Empty {};
    let mut watching = Stream::open(components, &format!("{COMPONENTS}/Watch"), &empty, &[]);
    assert!(watching.receive::<Event>().is_some());
}

/// Changes a value, an item and a component that comes and goes.
fn change(work: &TempDir, round: u64) {
    let write = |path: &str, text: &str| {
        let new = work.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, work.path().join(path)).unwrap();
    };
    write(
        "secrets.json",
        &format!("{{\"key\": \"s3cr3t-{round}\", \"denied\": \"x\"}}"),
    );
    write("items.yaml", &format!("a: {round}\n"));
    if round.is_multiple_of(2) {
        let item = "{name: secretsFile, value: secrets.json}";
        write(
            "r/more.yaml",
            &component("more", "secretstores.local.file", item),
        );
    } else {
        fs::remove_file(work.path().join("r/more.yaml")).unwrap();
    }
}

/// The server with everything on that may keep something.
fn server() -> (TempDir, Server) {
    let work = work();
    let server = Server::start(
        work.path(),
        &[
            "--resources",
            "r",
            "--config",
            "c.yaml",
            "--components-port",
            "0",
            "--admin-port",
            "0",
            "--audit-log",
            "/dev/null",
            "--cache",
            "kept=1s",
            "--app-id",
            "soak",
        ],
        &[("VARIABLE", "value")],
    );
    (work, server)
}

/// What the server holds at one time.
struct Sample {
    seconds: f64,
    resident: u64,
    files: u64,
    threads: u64,
}

#[test]
#[expect(clippy::print_stdout, reason = "figures of the run")]
fn nothing_grows_under_traffic_of_all_kinds() {
    let time = Duration::from_secs(seconds());
    let (work, server) = server();
    let (is_over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let traffic = Traffic {
        is_over: &is_over,
        asked: &asked,
    };
    let samples = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(server.http).unwrap();
                traffic.repeat(Duration::ZERO, |_| ask_again(&mut stream));
            });
        }
        scope.spawn(|| traffic.repeat(SHORT, |round| ask_all(&server, round)));
        scope.spawn(|| traffic.repeat(SHORT, |round| subscribe(&server, round)));
        scope.spawn(|| traffic.repeat(LONG, |round| change(&work, round)));
        scope.spawn(|| traffic.repeat(OFTEN, |_| look(&server)));
        sample(&server, time, &is_over)
    });
    assert!(!server.log().contains("s3cr3t"));
    is_under_policies(&server);
    let warm = &samples[samples.len() / 4..];
    let (early, late) = (&warm[..warm.len() / 3], &warm[warm.len() / 3 * 2..]);
    let growth = slope(warm) * (warm[warm.len() - 1].seconds - warm[0].seconds);
    println!(
        "soak of {time:?}: {} rounds of requests; memory grows by {growth:.0} KiB by the line of best \
         fit",
        asked.load(Ordering::Relaxed)
    );
    for (what, figure) in [
        (
            "KiB resident",
            (|sample| sample.resident) as fn(&Sample) -> u64,
        ),
        ("open files", |sample| sample.files),
        ("threads", |sample| sample.threads),
    ] {
        let (before, after) = (median(early, figure), median(late, figure));
        println!("  {before} {what} after the warm-up, {after} at the end");
        let most = match what {
            "threads" => MOST_MORE,
            _ => MOST_MORE_FILES,
        };
        assert!(
            what == "KiB resident" || after <= before + most,
            "{what}: {before}, then {after}"
        );
    }
    assert!(growth < MOST_GROWTH, "{growth} KiB");
}

/// That policies counted for each store, and no breaker opened: nothing has failed.
fn is_under_policies(server: &Server) {
    let metrics = scrape(server, "/");
    for (target, flow) in [
        ("Secretstore_file", "outbound"),
        ("Secretstore_kept", "outbound"),
        ("Configuration_items", "outbound"),
    ] {
        let labels = [("target", target), ("flow_direction", flow)];
        let count = metrics.sum("dapr_resiliency_count", &labels);
        assert!(count > 0.0, "{target}: {count}");
        let labels = [("target", target), ("status", "open")];
        let open = metrics.sum("dapr_resiliency_cb_state", &labels);
        assert!(open < 0.5, "{target}: {open}");
    }
}

fn median(samples: &[Sample], figure: fn(&Sample) -> u64) -> u64 {
    let mut figures: Vec<_> = samples.iter().map(figure).collect();
    figures.sort_unstable();
    figures[figures.len() / 2]
}

/// Looks at the server two hundred times while it is under traffic.
fn sample(server: &Server, time: Duration, is_over: &AtomicBool) -> Vec<Sample> {
    let _ending = Ending(is_over);
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < time {
        assert!(!is_over.load(Ordering::Relaxed), "some traffic has failed");
        samples.push(Sample {
            seconds: begin.elapsed().as_secs_f64(),
            resident: server.resident(),
            files: server.files(),
            threads: server.threads(),
        });
        thread::sleep(time / 200);
    }
    samples
}

/// How fast memory grows by the line of best fit, in KiB a second.
#[expect(clippy::cast_precision_loss, reason = "KiB of memory")]
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let mean = |figure: fn(&Sample) -> f64| samples.iter().map(figure).sum::<f64>() / count;
    let (time, resident) = (
        mean(|sample| sample.seconds),
        mean(|sample| sample.resident as f64),
    );
    let (mut together, mut alone) = (0.0, 0.0);
    for sample in samples {
        let later = sample.seconds - time;
        together += later * (sample.resident as f64 - resident);
        alone += later * later;
    }
    together / alone
}

#[expect(clippy::disallowed_methods, reason = "a setting of the tests")]
fn seconds() -> u64 {
    let given = std::env::var("KEYREF_SOAK_SECONDS").ok();
    given.map_or(SECONDS, |text| text.parse().unwrap())
}

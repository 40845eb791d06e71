//! What the server does under load, against bare handlers that return a constant of the same size;
//! and how long it takes to be ready. Whether it grows is seen by `tests/serve_soak.rs`. The bare
//! handlers run as tokio has it by default, with a thread for each processor.
//!
//! `cargo bench --bench serve` prints it. Linux only.
#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and ends where anything is wrong"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use self::bare::Bare;
use self::child::Child;
use self::load::{Load, Target};

#[path = "serve/bare.rs"]
mod bare;
#[path = "serve/child.rs"]
mod child;
#[path = "serve/load.rs"]
mod load;
#[expect(
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::empty_structs_with_brackets,
    missing_debug_implementations,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    reason = "generated from proto/dapr/runtime.proto"
)]
#[rustfmt::skip]
#[path = "../src/api/grpc/proto.rs"]
mod proto;

/// How many secrets the store has.
const KEYS: usize = 1000;
/// What callers send.
const TOKEN: &str = "t0ken";
/// How long each server is under load at a time.
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 7;

fn main() {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            start();
            under_load();
        }
        ["bare", protocol] => Bare::of(protocol).serve(),
        _ => panic!("nothing is to be said"),
    }
}

/// The value of a secret, as long as each other.
fn value(key: usize) -> String {
    format!("the-value-of-the-secret-{key:04}")
}

fn name(key: usize) -> String {
    format!("key-{key:04}")
}

fn component(name: &str, kind: &str, items: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
         spec: {{type: {kind}, version: v1, metadata: [{items}]}}\n"
    )
}

/// A folder with a store of a thousand secrets, scopes, and this many components that refer to it.
fn folder(components: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).unwrap();
    fs::create_dir(folder.path().join("r")).unwrap();
    let mut secrets = String::from("{");
    for key in 0..KEYS {
        let comma = if key == 0 { "" } else { "," };
        let _ = write!(secrets, "{comma}\"{}\":\"{}\"", name(key), value(key));
    }
    write("secrets.json", &format!("{secrets}}}"));
    let file = "{name: secretsFile, value: secrets.json}";
    write(
        "r/vault.yaml",
        &component("vault", "secretstores.local.file", file),
    );
    write(
        "config.yaml",
        "kind: Configuration\nspec: {secrets: {scopes: [{storeName: vault, defaultAccess: allow, \
         deniedSecrets: [root-token]}]}}\n",
    );
    for index in 0..components {
        let item = format!(
            "{{name: password, secretKeyRef: {{name: {}}}}}",
            name(index % KEYS)
        );
        let text = component(&format!("c{index}"), "state.redis", &item);
        write(
            &format!("r/c{index}.yaml"),
            &format!("{text}auth: {{secretStore: vault}}\n"),
        );
    }
    folder
}

/// The server with everything on that costs something.
fn keyref(folder: &Path) -> Child {
    let arguments = [
        "serve",
        "--resources",
        "r",
        "--config",
        "config.yaml",
        "--dapr-http-port",
        "0",
        "--dapr-grpc-port",
        "0",
        "--metrics-port",
        "0",
        "--audit-log",
        "audit.jsonl",
        "--app-id",
        "bench",
    ];
    Child::keyref(folder, &arguments, &[("DAPR_API_TOKEN", TOKEN)])
}

/// From the start of the process to the line that says it is ready.
fn start() {
    const RUNS: usize = 21;
    println!("from the start of the process to ready, the median of {RUNS}");
    let empty = tempfile::tempdir().unwrap();
    let ports = [
        "serve",
        "--dapr-http-port",
        "0",
        "--dapr-grpc-port",
        "0",
        "--metrics-port",
        "0",
    ];
    let none = || {
        let begin = Instant::now();
        drop(Child::keyref(empty.path(), &ports, &[]));
        begin.elapsed()
    };
    let components = folder(500);
    let many = || {
        let begin = Instant::now();
        drop(keyref(components.path()));
        begin.elapsed()
    };
    for (what, most, run) in [
        ("without components", 15, &none as &dyn Fn() -> Duration),
        ("with 500 components that refer to secrets", 60, &many),
    ] {
        let mut runs: Vec<_> = (0..RUNS).map(|_| run()).collect();
        runs.sort();
        let median = runs[RUNS / 2].as_secs_f64() * 1e3;
        println!("  {median:>8.1} ms {what}    at most {most}");
    }
}

/// Requests for one secret each, over 64 connections, in turn with a bare handler.
fn under_load() {
    let folder = folder(0);
    let server = keyref(folder.path());
    for (protocol, address) in [("HTTP", server.http), ("gRPC", server.grpc)] {
        let bare = Child::bare(&protocol.to_lowercase());
        let (ours, theirs) = (
            Target::of(protocol, address),
            Target::of(protocol, bare.http),
        );
        // Warm.
        ours.load(ROUND / 4);
        theirs.load(ROUND / 4);
        let mut pairs: Vec<(Load, Load)> = (0..ROUNDS)
            .map(|_| (theirs.load(ROUND), ours.load(ROUND)))
            .collect();
        println!(
            "{protocol} GetSecret, {} connections, {ROUNDS} pairs of {ROUND:?}",
            load::CONNECTIONS
        );
        for (who, loads) in [
            (
                "bare  ",
                pairs.iter().map(|pair| &pair.0).collect::<Vec<_>>(),
            ),
            ("keyref", pairs.iter().map(|pair| &pair.1).collect()),
        ] {
            let median = |figure: fn(&Load) -> f64| {
                let mut figures: Vec<_> = loads.iter().map(|load| figure(load)).collect();
                figures.sort_by(f64::total_cmp);
                figures[figures.len() / 2]
            };
            println!(
                "  {who} {:>8.0} requests a second, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
                median(|load| load.rate),
                median(|load| load.percentile(0.5)),
                median(|load| load.percentile(0.99)),
                median(|load| load.percentile(0.999)),
            );
        }
        let ratio = |pairs: &mut Vec<(Load, Load)>, figure: fn(&Load) -> f64| {
            let ratio = |pair: &(Load, Load)| figure(&pair.1) / figure(&pair.0);
            pairs.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
            ratio(&pairs[ROUNDS / 2])
        };
        let rate = ratio(&mut pairs, |load| load.rate);
        let p99 = ratio(&mut pairs, |load| load.percentile(0.99));
        println!("  {rate:>6.2} of the bare handler's requests    at least 0.7");
        println!("  {p99:>6.2} of its p99                         at most 1.5");
    }
    println!(
        "  {:>6.1} MB resident, the most                at most 25",
        server.most_resident()
    );
    let trail = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    assert!(!trail.contains("\"lost\":"), "records are missing");
}

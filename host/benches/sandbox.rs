//! What the sandbox costs: every figure is a ratio of two measurements of one run.
//!
//! `cargo bench --bench sandbox` prints them. Native is the guest's own code compiled for this
//! machine, with its allocator. With Go on the machine, Dapr's own decoder is measured as well.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    unsafe_code,
    reason = "a benchmark prints, ends where anything is wrong, and loads code of the build script"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use keyref::guest::{Answers, Handle, add_to_linker};
use keyref::stores::Memory;
use keyref::{Context, Document, Limits, Request, Resolver};
use keyref_guest::DocumentSet;
use keyref_guest::bindings as native;
use keyref_guest::resolve::SecretStore;
use tokio::time::Instant;
use wasmtime::component::{Component, Linker, ResourceAny};
use wasmtime::{Engine, Store};

#[path = "../src/guest/config.rs"]
mod config;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "secrets-resolver",
        with: { "keyref:secrets/secret-store.secret": ::keyref::guest::Handle },
        imports: { default: trappable },
    });
}

use bindings::SecretsResolverPre;
use bindings::exports::keyref::secrets::resolver as wit;

const MANIFEST: &str = include_str!("../../examples/tutorial/kafka-pubsub.yaml");
const BATCH: usize = 100;
/// Measurements of each thing.
const ROUNDS: usize = 101;

/// The code that the build script compiled ahead of time.
const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keyref_guest.cwasm"));

fn main() {
    // Cargo passes arguments of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let sandbox = Sandbox::new(&runtime);
    let (one, hundred) = (wit_documents(1), wit_documents(BATCH));
    let mut instance = sandbox.instance();

    println!("one document: kafka-pubsub.yaml, four items, two references");
    let [native, reused, fresh] = in_turn([
        &mut || per_document(1, 50, || native_resolve(1)),
        &mut || per_document(1, 50, || sandbox.resolve(&mut instance, &one)),
        &mut || per_document(1, 50, || sandbox.resolve(&mut sandbox.instance(), &one)),
    ]);
    figure("native", &native, None, &native);
    figure("a reused instance", &reused, Some(1.6), &native);
    figure("a fresh instance", &fresh, Some(3.0), &native);

    println!("a batch of {BATCH} documents in a fresh instance, per document");
    let mut batch = || {
        let resolve = || sandbox.resolve(&mut sandbox.instance(), &hundred);
        per_document(BATCH, 1, resolve)
    };
    let [native, sandboxed] = in_turn([
        &mut || per_document(BATCH, 1, || native_resolve(BATCH)),
        &mut batch,
    ]);
    figure("native", &native, None, &native);
    figure("sandbox", &sandboxed, Some(1.6), &native);
    match go_decoder() {
        Some(go) => {
            let [go, sandboxed] = in_turn([&mut || decoded_by(&go), &mut batch]);
            figure("Dapr's decoder in Go", &go, None, &go);
            figure("sandbox against it", &sandboxed, Some(0.2), &go);
        }
        None => println!("  Dapr's decoder: not measured, there is no Go or it cannot be built"),
    }

    println!("the whole path (parse, policy, fetch from memory, place), per document");
    let [few, many, sandboxed] = in_turn([
        &mut || whole_path(&runtime, 100),
        &mut || whole_path(&runtime, 10_000),
        &mut batch,
    ]);
    figure("100 documents", &few, None, &few);
    figure("10000 documents against 100", &many, Some(1.1), &few);
    figure("the batch in the sandbox alone", &sandboxed, None, &few);

    println!("documents that threads resolve, each in a fresh instance, per document");
    let [one, two] = in_turn([&mut || sandbox.threads(1), &mut || sandbox.threads(2)]);
    figure("one thread", &one, None, &one);
    // At least 1.7 times as many documents in the same time.
    figure("two threads", &two, Some(1.0 / 1.7), &one);
}

/// Measures things in turn, so that whatever else the machine does meets all of them alike.
fn in_turn<const N: usize>(mut things: [&mut dyn FnMut() -> Duration; N]) -> [Vec<Duration>; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (thing, times) in things.iter_mut().zip(&mut times) {
            times.push(thing());
        }
    }
    times
}

/// Prints the median of the ratios of all rounds, what it may be at most, and the least time.
fn figure(name: &str, times: &[Duration], limit: Option<f64>, base: &[Duration]) {
    let ratio = |(time, base): (&Duration, &Duration)| time.as_secs_f64() / base.as_secs_f64();
    let mut ratios: Vec<_> = times.iter().zip(base).map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios.into_iter().nth(ROUNDS / 2).unwrap();
    let limit = limit.map_or(String::new(), |limit| format!("at most {limit:.2}"));
    let micros = times.iter().min().unwrap().as_secs_f64() * 1e6;
    println!("  {median:>7.2}  {limit:<13} {micros:>8.2} us  {name}");
}

/// The time per document of some calls, each for so many documents.
fn per_document<R>(documents: usize, calls: usize, mut call: impl FnMut() -> R) -> Duration {
    let begin = Instant::now();
    for _ in 0..calls {
        std::hint::black_box(call());
    }
    begin.elapsed() / u32::try_from(documents * calls).unwrap()
}

/// The manifest with a name of its own.
fn text(index: usize) -> Vec<u8> {
    MANIFEST
        .replace("name: kafka-pubsub", &format!("name: kafka-pubsub-{index}"))
        .into_bytes()
}

fn native_resolve(count: usize) -> usize {
    struct Numbers(u32);
    impl SecretStore for Numbers {
        type Secret = u32;

        fn get_many(&mut self, requests: &[native::Request]) -> Vec<Result<u32, native::Failure>> {
            let answers = requests.iter().map(|_| {
                self.0 += 1;
                Ok(self.0)
            });
            answers.collect()
        }
    }
    thread_local! {
        static DOCUMENTS: Vec<native::Document> = (0..BATCH)
            .map(|index| native::Document {
                name: String::new(),
                kind: native::DocumentKind::Manifest,
                text: text(index),
            })
            .collect();
    }
    DOCUMENTS.with(|documents| {
        // The sandbox owns its documents, so each call copies them there as well.
        let documents = documents.iter().take(count).cloned().collect::<Vec<_>>();
        let set = DocumentSet::parse(&documents);
        let all: Vec<u32> = (0..u32::try_from(set.components().len()).unwrap()).collect();
        let resolution = set.resolve(&all, &mut Numbers(0));
        assert!(set.problems().is_empty());
        resolution.answers.len() + set.requests().len()
    })
}

fn wit_documents(count: usize) -> Vec<wit::Document> {
    let document = |index| wit::Document {
        name: String::new(),
        kind: wit::DocumentKind::Manifest,
        text: text(index),
    };
    (0..count).map(document).collect()
}

/// The guest as the library runs it, without what the library does around it.
struct Sandbox {
    engine: Engine,
    pre: SecretsResolverPre<Answers>,
    answers: Answers,
}

struct Instance {
    store: Store<Answers>,
    exports: bindings::SecretsResolver,
}

impl Sandbox {
    fn new(runtime: &tokio::runtime::Runtime) -> Self {
        let engine = Engine::new(&config::config()).unwrap();
        // SAFETY: the bytes are those that the build script made.
        let component = unsafe { Component::deserialize(&engine, GUEST) }.unwrap();
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, |answers: &mut Answers| answers).unwrap();
        let pre = SecretsResolverPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        let key =
            |key: &str| Request::key("kubernetes-secrets", "kafka-credentials", key, "default");
        let requests = ["username", "password"].map(key).to_vec();
        let answers = runtime.block_on(resolver().answers(requests, &Context::new()));
        let ticking = engine.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(10));
                ticking.increment_epoch();
            }
        });
        Self {
            engine,
            pre,
            answers,
        }
    }

    fn instance(&self) -> Instance {
        let mut store = Store::new(&self.engine, Answers::default());
        store.set_epoch_deadline(u64::MAX / 2);
        let exports = self.pre.instantiate(&mut store).unwrap();
        Instance { store, exports }
    }

    fn resolve(&self, instance: &mut Instance, documents: &[wit::Document]) -> usize {
        let Instance { store, exports } = instance;
        *store.data_mut() = self.answers.clone();
        let set = exports.keyref_secrets_resolver().document_set();
        let handle: ResourceAny = set.call_constructor(&mut *store, documents).unwrap();
        let components = set.call_components(&mut *store, handle).unwrap();
        let problems = set.call_problems(&mut *store, handle).unwrap();
        let requests = set.call_requests(&mut *store, handle).unwrap();
        let all: Vec<u32> = (0..u32::try_from(components.len()).unwrap()).collect();
        let outcome = set.call_resolve(&mut *store, handle, &all).unwrap();
        assert!(problems.is_empty() && outcome.answers.iter().all(|answer| answer.secret.is_ok()));
        let found = outcome.answers.len() + requests.len();
        for answer in outcome.answers {
            let secret: wasmtime::component::Resource<Handle> = answer.secret.unwrap();
            std::hint::black_box(secret.rep());
        }
        handle.resource_drop(&mut *store).unwrap();
        found
    }

    /// The time per document where threads resolve side by side.
    fn threads(&self, threads: usize) -> Duration {
        const CALLS: usize = 500;
        let barrier = Barrier::new(threads + 1);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let documents = wit_documents(1);
                    barrier.wait();
                    for _ in 0..CALLS {
                        self.resolve(&mut self.instance(), &documents);
                    }
                    barrier.wait();
                });
            }
            barrier.wait();
            let begin = Instant::now();
            barrier.wait();
            begin.elapsed() / u32::try_from(threads * CALLS).unwrap()
        })
    }
}

fn resolver() -> Resolver {
    let credentials = [("username", "user"), ("password", "s3cr3t")];
    Resolver::builder()
        .store(
            "kubernetes-secrets",
            Memory::new().with("kafka-credentials", credentials),
        )
        .limits(Limits::default())
        .build()
        .unwrap()
}

/// The time per document of the library's own path.
fn whole_path(runtime: &tokio::runtime::Runtime, count: usize) -> Duration {
    let resolver = resolver();
    let documents: Vec<_> = (0..count)
        .map(|index| Document::new(format!("{index}.yaml"), text(index)))
        .collect();
    let begin = Instant::now();
    let resolution = runtime.block_on(resolver.resolve(documents, &Context::new()));
    let time = begin.elapsed();
    assert_eq!(resolution.components.len(), count);
    assert!(resolution.problems.is_empty());
    time / u32::try_from(count).unwrap()
}

/// A program that decodes with Dapr's own types and YAML library.
fn go_decoder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(folder)
        .status();
    built.is_ok_and(|status| status.success()).then_some(binary)
}

/// The time per document that it takes for the batch.
fn decoded_by(decoder: &Path) -> Duration {
    let mut child = Command::new(decoder)
        .arg("-bench=20")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for document in (0..BATCH).map(text) {
        let length = u32::try_from(document.len()).unwrap();
        input.write_all(&length.to_le_bytes()).unwrap();
        input.write_all(&document).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let nanos = figures.get("nanosecondsPerDocument").unwrap().as_u64();
    Duration::from_nanos(nanos.unwrap())
}

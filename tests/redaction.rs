//! A canary: a known value in every store, in broken files of every format and pasted as plain
//! text, and every way to run the command. It may show only where it was asked for.

use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};

use keyref::env::Environment;
use keyref::stores::{BulkRequest, Grants, LocalFile, Memory, SecretRequest};
use keyref::{Context, Document, Mode, Resolver};
use keyref_tests::library::{block_on, manifest};
use keyref_tests::{Run, folder};

/// Has what JSON, URLs, YAML and base64 change.
const CANARY: &str = "c4n4ry<&>\"'/+=: secr3t";
/// A value that a name can hold, with the part of the canary that no encoding changes.
const PLAIN: &str = "c4n4ry-secr3t";

/// The canary as it could leak: a part that no encoding changes, and whole encodings.
const TRACES: &[&str] = &[
    "c4n4ry",
    "secr3t",
    // Base64 of the canary, in its three alignments, without the ends that depend on neighbours.
    "YzRuNHJ5PCY+Iic",
    "M0bjRyeTwmPiIn",
    "jNG40cnk8Jj4iJ",
    "c4n4ry%3C",
    "c4n4ry\\u003c",
];

fn traces(text: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(text);
    TRACES
        .iter()
        .copied()
        .filter(|trace| text.contains(trace))
        .collect()
}

/// Secrets files of every format, whole and broken, each with the canary.
fn files() -> Vec<(String, String)> {
    let json = serde_json::json!({ "s": { "k": CANARY }, "k": CANARY }).to_string();
    let quoted = serde_json::to_string(CANARY).unwrap();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{k: {quoted}}}\n"
    );
    let mut files = vec![
        ("good.json".to_owned(), json.clone()),
        ("good.yaml".to_owned(), secret.clone()),
        (
            "good.toml".to_owned(),
            format!("k = {quoted}\n[s]\nk = {quoted}\n"),
        ),
        ("good.env".to_owned(), "k='c4n4ry secr3t'\n".to_owned()),
        ("dir/k".to_owned(), CANARY.to_owned()),
    ];
    for (index, broken) in [
        json.replace('}', ""),
        format!("{json} {CANARY}"),
        format!("{{\"s\": {CANARY}}}"),
        format!("{{\"s\": {{\"k\": {quoted}}}, \"s:k\": {quoted}}}"),
        format!("[{quoted}]"),
    ]
    .into_iter()
    .enumerate()
    {
        files.push((format!("broken{index}.json"), broken));
    }
    for (index, broken) in [
        format!("s: [{CANARY}"),
        format!("k: {CANARY}\n k: x"),
        secret.replace("stringData", "data"),
        format!("kind: Secret\napiVersion: v1\nmetadata: {{name: s}}\nstringData: {CANARY}x"),
        format!("? {{{CANARY}}}\n: *x"),
    ]
    .into_iter()
    .enumerate()
    {
        files.push((format!("broken{index}.yaml"), broken));
    }
    files.push(("broken.toml".to_owned(), format!("k = {CANARY}\n")));
    files.push((
        "twice.toml".to_owned(),
        format!("k = {quoted}\nk = {quoted}\n"),
    ));
    files.push((
        "broken.env".to_owned(),
        format!("{CANARY}\nk=\"{CANARY}\nx"),
    ));
    files
}

/// Documents with references of every kind, and the canary pasted where people paste.
fn documents() -> Vec<(&'static str, String)> {
    let component = |name: &str, items: &str| {
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  \
             type: state.redis\n  version: v1\n  metadata:\n{items}auth:\n  secretStore: vault\n"
        )
    };
    let quoted = serde_json::to_string(CANARY).unwrap();
    let references = "  - name: a\n    secretKeyRef: {name: s, key: k}\n  - name: b\n    \
                      secretKeyRef: {name: k}\n  - name: c\n    envRef: CANARY\n  - name: d\n    \
                      secretKeyRef: {name: s, key: no}\n";
    vec![
        ("references.yaml", component("references", references)),
        (
            "good.yaml",
            component("good", "  - name: a\n    secretKeyRef: {name: s, key: k}\n"),
        ),
        (
            "plain.yaml",
            component("plain", &format!("  - name: a\n    value: {quoted}\n")),
        ),
        (
            "broken1.yaml",
            component("broken", &format!("  - name: a\n    value: {CANARY}\n")),
        ),
        (
            "broken2.yaml",
            component("broken", &format!("  - name: a\n   value: \"{CANARY}\n")),
        ),
        (
            "broken3.yaml",
            component("broken", &format!("  - name: a\n    value: @{CANARY}\n")),
        ),
        (
            "broken4.yaml",
            component("broken", &format!("  - name: a\n    value: *{CANARY}\n")),
        ),
        ("schema1.yaml", component("x", &format!("  {CANARY}\n"))),
        (
            "schema2.yaml",
            component("x", &format!("  - name: a\n    secretKeyRef: {quoted}\n")),
        ),
        (
            "schema3.yaml",
            component("x", "").replace("version: v1", &format!("ignoreErrors: {quoted}")),
        ),
        (
            "twice.yaml",
            component(
                "x",
                &format!("  - name: a\n    value: {quoted}\n    value: {quoted}\n"),
            ),
        ),
        (
            "tag.yaml",
            component("x", &format!("  - name: a\n    value: !!int {quoted}\n")),
        ),
    ]
}

/// Configurations with the canary where a value was pasted, or what looks like a variable in it.
fn configurations() -> Vec<(&'static str, String)> {
    let quoted = serde_json::to_string(CANARY).unwrap();
    let scope = |fields: &str| format!("spec: {{secrets: {{scopes: [{{{fields}}}]}}}}\n");
    vec![
        (
            "access.yaml",
            scope(&format!("storeName: vault, defaultAccess: {quoted}")),
        ),
        (
            "list.yaml",
            scope(&format!("storeName: vault, deniedSecrets: {quoted}")),
        ),
        (
            "open.yaml",
            format!("a: \"pre${{oops\n  password: {CANARY}\nb: z}}\"\n"),
        ),
        (
            "name.yaml",
            "spec: {tracing: \"http://user:pa$c4n4ry@secr3t\"}\n".to_owned(),
        ),
        (
            "broken.yaml",
            format!("spec:\n  secrets: {CANARY}\n   scopes: [\n"),
        ),
        (
            "second.yaml",
            format!("spec: {{}}\n---\npassword: {quoted}\n"),
        ),
        ("text.yaml", format!("{quoted}\n")),
        ("variable-store.yaml", scope("storeName: $CANARY")),
        (
            "variable-name.yaml",
            scope("storeName: vault, allowedSecrets: [k, $CANARY, 'x${CANARY}y']"),
        ),
        ("variable-key.yaml", scope("$CANARY: vault")),
        (
            "variable-access.yaml",
            scope("storeName: vault, defaultAccess: $CANARY"),
        ),
        (
            "variable-twice.yaml",
            "spec: {secrets: {scopes: [{storeName: $CANARY}, {storeName: $CANARY}]}}\n".to_owned(),
        ),
        (
            "variable-plain.yaml",
            scope("storeName: $PLAIN, allowedSecrets: [$PLAIN], deniedSecrets: [a$PLAIN]"),
        ),
        (
            "variable-plain-twice.yaml",
            "spec: {secrets: {scopes: [{storeName: $PLAIN}, {storeName: $PLAIN}]}}\n".to_owned(),
        ),
    ]
}

fn assert_clean(what: &str, output: &Output, data_may_show: bool) {
    let shown = traces(&output.stderr);
    assert!(
        shown.is_empty(),
        "{what} shows {shown:?} on standard error: {output:?}"
    );
    if !data_may_show {
        let shown = traces(&output.stdout);
        assert!(
            shown.is_empty(),
            "{what} shows {shown:?} on standard output: {output:?}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of all commands")]
fn no_command_shows_a_value_that_it_was_not_asked_for() {
    let files = files();
    let documents = documents();
    let mut all: Vec<(String, &[u8])> = files
        .iter()
        .map(|(name, text)| (name.clone(), text.as_bytes()))
        .collect();
    all.extend(
        documents
            .iter()
            .map(|(name, text)| (format!("docs/{name}"), text.as_bytes())),
    );
    let configurations = configurations();
    let texts = configurations.iter();
    all.extend(texts.map(|(name, text)| ((*name).to_owned(), text.as_bytes())));
    let all: Vec<(&str, &[u8])> = all
        .iter()
        .map(|(name, text)| (name.as_str(), *text))
        .collect();
    let work = folder(&all);
    let run = |arguments: &[&str]| {
        Run::new(work.path(), arguments)
            .env("CANARY", CANARY)
            .env("MY_k", CANARY)
            // One that a name can be.
            .env("PLAIN", PLAIN)
            .output()
    };
    let mut stores: Vec<String> = files
        .iter()
        .map(|(name, _)| format!("vault=local.file:{name}"))
        .collect();
    stores.push("vault=local.file:dir".to_owned());
    stores.push("vault=local.env:MY_".to_owned());
    for store in &stores {
        for mode in ["strict", "dapr"] {
            let common = ["--store", store, "--mode", mode, "-vvv"];
            let check = run(&[&["check", "docs", "--format", "json"], &common[..]].concat());
            assert_clean(&format!("check {common:?}"), &check, false);
            let resolve = run(&[
                &["resolve", "docs/references.yaml", "docs/good.yaml"],
                &common[..],
            ]
            .concat());
            assert_clean(&format!("resolve {common:?}"), &resolve, false);
            let get = run(&[&["get", "vault", "s", "no"], &common[..]].concat());
            assert_clean(&format!("get {common:?}"), &get, false);
            let bulk = run(&[&["bulk", "vault"], &common[..]].concat());
            assert_clean(&format!("bulk {common:?}"), &bulk, true);
        }
    }
    let common = ["--store", "vault=local.file:good.json", "-vvv", "--stats"];
    for (name, text) in &documents {
        let path = format!("docs/{name}");
        // Plain text of a document is its data; secrets are masked in every format.
        let is_pasted = !traces(text.as_bytes()).is_empty();
        for format in ["text", "json", "yaml", "sarif"] {
            let output = run(&[&["check", &path, "--format", format], &common[..]].concat());
            assert_clean(&format!("check {name} {format}"), &output, false);
            let output = run(&[
                &["check", "--offline", &path, "--format", format],
                &common[..],
            ]
            .concat());
            assert_clean(&format!("check --offline {name} {format}"), &output, false);
        }
        for format in ["text", "json", "yaml"] {
            for verb in ["resolve", "inspect"] {
                let output = run(&[&[verb, &path, "--format", format], &common[..]].concat());
                assert_clean(&format!("{verb} {name} {format}"), &output, is_pasted);
            }
        }
        let output = run(&[&["stores", &path], &common[..]].concat());
        assert_clean(&format!("stores {name}"), &output, false);
    }
    for (name, _) in &configurations {
        let common = [&["--config", name], &common[..]].concat();
        for verb in [
            &["check", "docs"][..],
            &["resolve", "docs/references.yaml"],
            &["resolve", "docs/references.yaml", "--format", "env"],
            &["inspect", "docs/references.yaml"],
            &["stores"],
            &["get", "vault", "s", "no"],
        ] {
            let output = run(&[verb, &common].concat());
            assert_clean(&format!("{verb:?} {name}"), &output, false);
        }
        let output = run(&[&["bulk", "vault"], &common[..]].concat());
        assert_clean(&format!("bulk {name}"), &output, true);
    }
    let asked = run(&["get", "vault", "k", "k", "--store", "vault=local.env:MY_"]);
    assert_eq!(
        asked.stdout,
        CANARY.as_bytes(),
        "the canary is there: {asked:?}"
    );
}

/// A subscriber that keeps every event of every target.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Recorded {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_library_shows_no_value_to_a_subscriber_or_in_debug() {
    let work = folder(&[
        (
            "s.json",
            serde_json::json!({ "s": CANARY }).to_string().as_bytes(),
        ),
        ("c4n4ry.json", br#"{"s": {"k": "v"}, "left out": 1}"#),
    ]);
    let recorded = Recorded::default();
    let sink = recorded.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || sink.clone())
        .finish();
    // For all threads: nothing else in this process logs.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let debug = library(work.path());
    assert_eq!(traces(debug.as_bytes()), Vec::<&str>::new(), "{debug}");
    let log = recorded
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    assert!(!log.is_empty(), "nothing was recorded");
    assert_eq!(
        traces(&log),
        Vec::<&str>::new(),
        "{}",
        String::from_utf8_lossy(&log)
    );
}

/// Drives the library and prints all that it gives, by `Debug` and `Display`.
fn library(work: &Path) -> String {
    let mut debug = Vec::new();
    for mode in [Mode::Strict, Mode::Dapr] {
        let store = LocalFile::open(work.join("s.json")).unwrap();
        let environment = Environment::of([("CANARY", CANARY)]);
        let path = work.join("c4n4ry.json");
        let path = path.to_str().unwrap();
        debug.push(format!("{store:?} {environment:?}"));
        let resolver = Resolver::builder()
            .store("vault", store)
            .store("memory", Memory::new().with("s", [("k", CANARY)]))
            .store("paths", Memory::new().with("path", [("path", path)]))
            .environment(environment)
            .allow_document_stores(Grants::all())
            .mode(mode)
            .build()
            .unwrap();
        let texts = documents().into_iter();
        let mut documents: Vec<_> = texts
            .map(|(name, text)| Document::new(name, text))
            .collect();
        // A setting of a store that is a secret itself.
        let items = [
            "{name: secretsFile, secretKeyRef: {name: path}}",
            "{name: multiValued, value: \"true\"}",
        ];
        let inner = manifest("inner", &items, "paths");
        let inner = inner.replace("state.redis", "secretstores.local.file");
        documents.push(Document::new("inner.yaml", inner));
        let context = Context::new();
        let resolution = block_on(resolver.resolve(documents, &context));
        for problem in &resolution.problems {
            debug.push(format!("{problem} {problem:?} {}", problem.hint));
        }
        debug.push(format!(
            "{:?} {:?}",
            resolution.components, resolution.stats
        ));
        for store in ["vault", "memory"] {
            let secret = block_on(resolver.get(store, SecretRequest::new("s"), &context));
            let all = block_on(resolver.bulk(store, BulkRequest::default(), &context));
            debug.push(format!("{secret:?} {all:?}"));
        }
        debug.push(format!("{resolver:?} {context:?}"));
    }
    debug.concat()
}

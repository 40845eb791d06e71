//! Mutated documents through Dapr's own types and through the guest: accept or refuse, and every
//! field of the component.
//!
//! `KEYREF_DIFFERENTIAL_DOCUMENTS` sets how many (20,000), `KEYREF_DIFFERENTIAL_SEED` the seed,
//! which is printed. The oracle is a Go program; where Go is missing the test says so and, with
//! `KEYREF_REQUIRE_SERVERS=1`, fails.

#![expect(
    clippy::cast_precision_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the figures are what is asked for"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use keyref_guest::DocumentSet;
use keyref_guest::bindings::{Component, ComponentKind, Document, DocumentKind, Problem, Severity};
use keyref_tests::mutate::Mutator;
use keyref_tests::workspace;
use serde_json::{Value, json};

const BATCH: usize = 1_000;

#[derive(Default)]
struct Tally {
    documents: usize,
    accepted: usize,
    differ: usize,
    accepted_differ: usize,
    classes: BTreeMap<&'static str, usize>,
    examples: Vec<String>,
}

#[test]
fn dapr_and_the_guest_agree() {
    let Some(oracle) = oracle() else {
        return;
    };
    let documents = number("KEYREF_DIFFERENTIAL_DOCUMENTS", 20_000);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let seed = number("KEYREF_DIFFERENTIAL_SEED", usize::try_from(now).unwrap());
    println!("seed {seed}, {documents} documents");
    let mut mutator = Mutator::new(u64::try_from(seed).unwrap(), corpus());
    let mut tally = Tally::default();
    while tally.documents < documents {
        let batch: Vec<_> = (0..BATCH.min(documents - tally.documents))
            .map(|_| mutator.next())
            .collect();
        let answers = ask(oracle, &batch);
        for (document, answer) in batch.iter().zip(answers) {
            compare(oracle, document, &answer, &mut tally);
        }
    }
    let share = |part: usize, whole: usize| 100.0 * (whole - part) as f64 / whole as f64;
    println!(
        "equal: {:.3} % of {} documents, {:.3} % of the {} that Dapr accepts",
        share(tally.differ, tally.documents),
        tally.documents,
        share(tally.accepted_differ, tally.accepted),
        tally.accepted
    );
    for (class, count) in &tally.classes {
        println!("  {class}: {count}");
    }
    for example in &tally.examples {
        println!("{example}");
    }
    assert!(
        2 * tally.accepted >= tally.documents,
        "too few documents are accepted by Dapr"
    );
    assert!(
        1000 * tally.differ <= tally.documents,
        "more than 0.1 % differ"
    );
    assert!(
        1000 * tally.accepted_differ <= tally.accepted,
        "more than 0.1 % of those accepted differ"
    );
    let unnamed = tally.classes.get("unnamed").copied().unwrap_or(0);
    assert_eq!(unnamed, 0, "differences without a class");
}

/// Documents at which they differed once, and their like.
#[test]
fn dapr_and_the_guest_agree_on_what_once_was_a_difference() {
    let Some(oracle) = oracle() else {
        return;
    };
    let folder = workspace().join("tests/cases/differential");
    let paths = std::fs::read_dir(folder).unwrap();
    let documents = paths.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let documents: Vec<_> = documents.collect();
    let mut tally = Tally::default();
    for (document, answer) in documents.iter().zip(ask(oracle, &documents)) {
        compare(oracle, document, &answer, &mut tally);
    }
    assert!(tally.documents > 0);
    assert_eq!(tally.examples, [""; 0]);
}

fn compare(oracle: &PathBuf, document: &[u8], answer: &Value, tally: &mut Tally) {
    tally.documents += 1;
    let accepted = answer["outcome"] == "component";
    tally.accepted += usize::from(accepted);
    let mut found = guest(document);
    let refusal = found
        .as_object_mut()
        .and_then(|found| found.remove("error"));
    let mut expected = answer.clone();
    expected.as_object_mut().unwrap().remove("error");
    if found == expected {
        return;
    }
    // Dapr itself is not always of one mind: keys that become one string collide at random, though
    // not with equal chances.
    let again = ask(oracle, &vec![document.to_vec(); 100]);
    if again.iter().any(|other| other != answer) {
        *tally.classes.entry("random in Dapr").or_default() += 1;
        return;
    }
    tally.differ += 1;
    tally.accepted_differ += usize::from(accepted);
    let class = class(document, answer, refusal.as_ref());
    let of_class = tally.classes.entry(class).or_default();
    *of_class += 1;
    if *of_class <= 2 || (class == "unnamed" && *of_class <= 50) {
        let text = String::from_utf8_lossy(document);
        tally.examples.push(format!(
            "--- {class}\nDapr:  {answer}\nguest: {found} {refusal:?}\n{text:?}"
        ));
    }
}

/// The classes that `docs/differences.md` names.
fn class(document: &[u8], answer: &Value, refusal: Option<&Value>) -> &'static str {
    let text = decoded(document);
    let refused = |with: &str| {
        refusal.is_some_and(|text| text.as_str().unwrap_or_default().starts_with(with))
    };
    let flow_colon = [":,", ":]", ":}", ":[", ":{", ":?"]
        .iter()
        .any(|pair| text.contains(pair));
    if text.contains('\u{feff}') {
        "byte order mark within the text"
    } else if flow_colon && answer["outcome"] != "error" {
        "colon before an indicator in a flow collection"
    } else if answer.to_string().contains("\\\\ufffd") && text.contains("!!binary") {
        "bytes that are not UTF-8 as a key"
    } else if refused("a mapping or a sequence cannot be a key")
        || (text.trim_start().starts_with(['{', '['])
            && answer["outcome"] == "skip"
            && refusal.is_some())
    {
        "collection as the first key of a document"
    } else if tags(&text).any(|tag| tag.contains(['?', ',', '[', ']', '{', '}'])) {
        "indicator in a tag"
    } else if refused("found unknown escape character") {
        "escaped apostrophe beside rare escapes"
    } else if refused("control characters are not allowed") && answer["outcome"] != "error" {
        "control character after the document"
    } else {
        "unnamed"
    }
}

/// The text without its byte order mark.
fn decoded(document: &[u8]) -> String {
    let units = |unit: fn([u8; 2]) -> u16| -> Vec<u16> {
        let (pairs, _) = document.as_chunks();
        pairs.iter().skip(1).map(|&pair| unit(pair)).collect()
    };
    match document {
        [0xFF, 0xFE, ..] => String::from_utf16_lossy(&units(u16::from_le_bytes)),
        [0xFE, 0xFF, ..] => String::from_utf16_lossy(&units(u16::from_be_bytes)),
        _ => String::from_utf8_lossy(document).into_owned(),
    }
}

/// What stands after each exclamation mark, up to the next blank.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split('!')
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
}

fn guest(document: &[u8]) -> Value {
    let set = DocumentSet::parse(&[Document {
        name: String::new(),
        kind: DocumentKind::Manifest,
        text: document.to_vec(),
    }]);
    let refused = |problem: &&Problem| problem.severity == Severity::Error;
    if let Some(problem) = set.problems().iter().find(refused) {
        return json!({ "outcome": "error", "error": problem.message });
    }
    match set.components() {
        [component] if component.kind == ComponentKind::Component => {
            json!({ "outcome": "component", "component": shape(component) })
        }
        _ => json!({ "outcome": "skip" }),
    }
}

fn shape(component: &Component) -> Value {
    let map = |pairs: &[(String, String)]| {
        pairs
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
    };
    let items = component.items.iter().map(|item| {
        let (name, key) = item
            .secret_key_ref
            .as_ref()
            .map(|reference| (reference.name.as_str(), reference.key.as_str()))
            .unwrap_or_default();
        json!({
            "name": item.name,
            "value": item.value,
            "secretKeyRef": { "name": name, "key": key },
            "envRef": item.env_ref,
        })
    });
    json!({
        "name": component.name,
        "namespace": component.namespace,
        "labels": map(&component.labels),
        "annotations": map(&component.annotations),
        "type": component.component_type,
        "version": component.version,
        "ignoreErrors": component.ignore_errors,
        "initTimeout": component.init_timeout,
        "secretStore": component.secret_store,
        "scopes": component.scopes,
        "metadata": items.collect::<Vec<_>>(),
    })
}

/// Sends documents to the oracle and reads one answer for each.
fn ask(oracle: &PathBuf, documents: &[Vec<u8>]) -> Vec<Value> {
    let mut child = Command::new(oracle)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut frames = Vec::new();
    for document in documents {
        frames.extend(u32::try_from(document.len()).unwrap().to_le_bytes());
        frames.extend(document);
    }
    let writer = std::thread::spawn(move || input.write_all(&frames));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let answers: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success(), "the oracle failed");
    assert_eq!(
        answers.len(),
        documents.len(),
        "the oracle answered too little"
    );
    answers
}

/// The oracle, built once; nothing where Go is missing and may be.
fn oracle() -> Option<&'static PathBuf> {
    static ORACLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let oracle = ORACLE.get_or_init(build_oracle).as_ref();
    if oracle.is_none() {
        assert!(
            !required(),
            "go is not installed, and the servers are required"
        );
        eprintln!("skipped: go is not installed");
    }
    oracle
}

fn build_oracle() -> Option<PathBuf> {
    Command::new("go").arg("version").output().ok()?;
    let binary = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("oracle");
    let status = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(workspace().join("tests/oracle"))
        .status()
        .unwrap();
    assert!(status.success(), "the oracle cannot be built");
    Some(binary)
}

fn required() -> bool {
    variable("KEYREF_REQUIRE_SERVERS").is_some_and(|value| value == "1")
}

fn number(name: &str, default: usize) -> usize {
    variable(name).map_or(default, |value| value.parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "settings of the test itself")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The recorded cases and the tutorial, split as Dapr splits them.
fn corpus() -> Vec<String> {
    let cases = std::fs::read_to_string(workspace().join("tests/cases/dapr/cases.jsonl")).unwrap();
    let mut texts = Vec::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let files = case["files"].as_object().unwrap().values();
        texts.extend(files.filter_map(|file| file.as_str().map(str::to_owned)));
    }
    for file in std::fs::read_dir(workspace().join("examples/tutorial")).unwrap() {
        texts.push(std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let parts = texts.iter().flat_map(|text| text.split("\n---"));
    parts
        .filter(|part| part.contains(':'))
        .map(str::to_owned)
        .collect()
}
